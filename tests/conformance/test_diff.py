"""Two runs held against each other: each kind of change is planted, and found."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_report import HOSTILE, Page, synthetic

from conformance.commands.diff.compare import compare, direction, gathered
from conformance.commands.diff.page import render
from conformance.commands.main import main
from conformance.judge.summary import summary
from conformance.model.results import VERDICTS, Results
from conformance.model.results_file import write_results
from conformance.tools.files import FileError

CASES = 12


def conforming() -> Results:
    """A run in which every result conforms, but for torch-cuda's."""
    run = synthetic(CASES, hostile=False)
    run["environment"]["packages"] = {"numpy": "2.4.6", "torch": "2.12.0"}
    for i in run["implementations"]:
        if i["name"] == "torch-cpu":
            i["versions"] = {"torch": "2.12.0"}
    for r in run["results"]:
        if r["records"]:
            r |= {"verdict": "conforms", "message": "", "known_differences": []}
    run["results"] = [
        r for r in run["results"] if r["records"] or r["implementation"] == "torch-cuda"
    ]
    run["summary"] |= {"verdict": "conforms", "exit_code": 0}
    return run


@pytest.fixture
def old() -> Results:
    return conforming()


@pytest.fixture
def new(old: Results) -> Results:
    return copy.deepcopy(old)


def summed(run: Results) -> Results:
    """With the summary that follows from what was planted."""
    rows = run["implementations"], run["results"], run["known_differences"]
    return {**run, "summary": summary(*rows, required=())}


def result(run: Results, name: str = "torch-cpu", at: int = 3) -> Any:
    return [r for r in run["results"] if r["implementation"] == name][at]


def deviate(r: Any, ratio: float | str = 250.0) -> None:
    r |= {"verdict": "deviates", "message": "δ_1[0, 0] is wrong given its own operands"}
    r["records"][0]["ratio"] = ratio
    own = {key: r["records"][0][key] for key in r["records"][0] if key != "ulps"}
    r["worst"] = r["worst"] and {**r["worst"], **own}


# ---- verdicts ----


@pytest.mark.parametrize(
    ("old", "new", "way"),
    [
        ("conforms", "deviates", "worse"),
        ("conforms", "known-difference", "worse"),
        ("known-difference", "undecided", "worse"),
        ("conforms", "inaccurate", "worse"),
        ("inaccurate", "known-difference", "better"),
        ("inaccurate", "deviates", "worse"),
        ("deviates", "error", "worse"),
        ("deviates", "undecided", "better"),
        ("error", "conforms", "better"),
        ("conforms", "not-run", "worse"),
        ("error", "not-run", "worse"),
        ("deviates", "absent", "worse"),
        ("not-run", "conforms", "better"),
        ("not-run", "known-difference", "better"),
        ("not-run", "deviates", "worse"),
        ("absent", "conforms", "better"),
        ("absent", "undecided", "worse"),
        ("absent", "not-run", None),
        ("not-run", "absent", None),
    ],
)
def test_direction(old: Any, new: Any, way: str | None) -> None:
    assert direction(old, new) == way


def test_what_stays_has_no_direction_and_of_two_that_ran_one_way_is_worse() -> None:
    for a in VERDICTS:
        assert direction(a, a) is None
        for b in VERDICTS:
            if a != b and "not-run" not in (a, b):
                assert {direction(a, b), direction(b, a)} == {"worse", "better"}


def test_nothing_changed(old: Results, new: Results) -> None:
    new["environment"] |= {"finished": "later", "seconds": 3, "command": "other", "processes": 9}
    d = compare(old, new)
    assert (d["exit_code"], d["message"]) == (0, "no verdict changed.")
    for key in ("changes", "ratios", "implementations", "settings", "known_differences"):
        assert d[key] == [], key  # type: ignore[literal-required]
    assert d["new_cases"] == d["gone_cases"] == []
    assert all(
        c["worse"] == c["better"] == c["new"] == c["gone"] == 0 for c in d["counts"].values()
    )


def test_a_worse_verdict_and_a_better_one(old: Results, new: Results) -> None:
    deviate(result(old, "refbp", 1))
    deviate(result(new, "torch-cpu", 3))
    d = compare(old, new)
    assert (d["exit_code"], d["message"]) == (1, "1 worse; 1 better.")
    worse, better = d["changes"]
    assert (worse["implementation"], worse["direction"]) == ("torch-cpu", "worse")
    assert (worse["old"], worse["new"], worse["new_ratio"]) == ("conforms", "deviates", 250.0)
    assert worse["case"] == result(new)["case"]
    assert worse["message"].startswith("δ_1[0, 0] is wrong")
    assert (better["implementation"], better["new"]) == ("refbp", "conforms")
    assert (d["counts"]["torch-cpu"]["worse"], d["counts"]["refbp"]["better"]) == (1, 1)
    assert d["counts"]["torch-cpu"]["same"] == CASES - 1


def test_only_better_is_exit_0(old: Results, new: Results) -> None:
    deviate(result(old))
    assert compare(old, new)["exit_code"] == 0


def test_the_worst_come_first(old: Results, new: Results) -> None:
    deviate(result(new, "refbp", 0), 10.0)
    deviate(result(new, "refbp", 1), "nan")
    deviate(result(new, "refbp", 2), 1e9)
    result(new, "refbp", 3)["verdict"] = "not-run"
    result(new, "jax-cpu", 4)["verdict"] = "error"
    result(new, "jax-cpu", 5)["verdict"] = "undecided"
    changes = compare(old, new)["changes"]
    assert [c["new"] for c in changes] == [
        "error", "deviates", "deviates", "deviates", "undecided", "not-run",
    ]  # fmt: skip
    assert [c["new_ratio"] for c in changes[1:4]] == ["nan", 1e9, 10.0]


def test_skipped_is_never_green(old: Results, new: Results) -> None:
    deviate(result(old))
    for run in (result(new), result(new, "refbp")):
        run |= {"verdict": "not-run", "message": "too large", "records": []}
    d = compare(old, new)
    assert (d["exit_code"], d["message"]) == (1, "2 worse (2 no longer run).")
    assert {c["old"] for c in d["changes"]} == {"deviates", "conforms"}
    assert {c["message"] for c in d["changes"]} == {"too large"}


def test_a_result_that_is_gone_is_worse(old: Results, new: Results) -> None:
    gone = result(new)
    new["results"] = [r for r in new["results"] if r is not gone]
    d = compare(old, new)
    (change,) = d["changes"]
    assert (change["new"], change["message"], d["exit_code"]) == ("absent", "no result", 1)
    assert d["counts"]["torch-cpu"]["gone"] == 1


# ---- cases and implementations ----


def without(run: Results, case: str) -> None:
    run["cases"] = [c for c in run["cases"] if c["id"] != case]
    run["results"] = [r for r in run["results"] if r["case"] != case]


def test_a_case_that_is_gone_is_listed_and_worse(old: Results, new: Results) -> None:
    case = old["cases"][2]["id"]
    without(new, case)
    d = compare(old, new)
    assert (d["gone_cases"], d["new_cases"], d["exit_code"]) == ([case], [], 1)
    assert {c["message"] for c in d["changes"]} == {"the case is gone"}


def test_a_new_case_is_listed_and_worse_only_where_it_fails(old: Results, new: Results) -> None:
    case = new["cases"][1]["id"]
    without(old, case)
    d = compare(old, new)
    assert (d["new_cases"], d["exit_code"]) == ([case], 0)
    assert d["counts"]["refbp"]["new"] == 1
    deviate(result(new, "refbp", 1))
    d = compare(old, new)
    assert (d["exit_code"], d["changes"][0]["old"]) == (1, "absent")


@pytest.mark.parametrize("how", ["not-run", "absent"])
def test_an_implementation_that_ceased_to_run(old: Results, new: Results, how: str) -> None:
    new["results"] = [r for r in new["results"] if r["implementation"] != "jax-cpu"]
    if how == "absent":
        new["implementations"] = [i for i in new["implementations"] if i["name"] != "jax-cpu"]
    else:
        i = next(i for i in new["implementations"] if i["name"] == "jax-cpu")
        i |= {"status": "not-run", "reason": "jax is not installed"}
    d = compare(old, new)
    (presence,) = d["implementations"]
    assert (presence["name"], presence["old"], presence["new"]) == ("jax-cpu", "ran", how)
    assert d["exit_code"] == 1
    assert len(gathered(d["changes"], "worse")) == 1  # one line, not one a case
    said = "jax is not installed" if how == "not-run" else "no result"
    assert d["changes"][0]["message"] == said
    assert d["settings"] == []  # its versions did not change: it is not there


def test_an_implementation_that_began_to_run(old: Results, new: Results) -> None:
    old["results"] = [r for r in old["results"] if r["implementation"] != "jax-cpu"]
    old["implementations"] = [i for i in old["implementations"] if i["name"] != "jax-cpu"]
    d = compare(old, new)
    assert [(i["old"], i["new"]) for i in d["implementations"]] == [("absent", "ran")]
    assert (d["exit_code"], d["counts"]["jax-cpu"]["new"]) == (0, CASES)
    ((change, cases),) = gathered(d["changes"], "better")
    assert (change["implementation"], cases) == ("jax-cpu", CASES)


# ---- ratios ----


def largest(run: Results, name: str, gate: str, ratio: float | str) -> str:
    """Plants the largest ratio of a gate and says in which case."""
    r = result(run, name)
    next(x for x in r["records"] if x["gate"] == gate)["ratio"] = ratio
    return r["case"]


def test_a_ratio_that_grew_below_the_limit_is_shown_and_not_worse(
    old: Results, new: Results
) -> None:
    largest(old, "refbp", "step", 0.91)
    case = largest(new, "refbp", "step", 0.99)
    d = compare(old, new)
    (r,) = d["ratios"]
    assert (r["implementation"], r["gate"], r["old"], r["new"]) == ("refbp", "step", 0.91, 0.99)
    assert (r["new_case"], r["factor"], r["worse"]) == (case, 1.088, False)
    assert d["exit_code"] == 0


@pytest.mark.parametrize(("threshold", "code"), [(1.05, 1), (1.1, 0)])
def test_with_a_threshold_it_may_be(
    old: Results, new: Results, threshold: float, code: int
) -> None:
    largest(old, "refbp", "step", 0.91)
    largest(new, "refbp", "step", 0.99)
    d = compare(old, new, threshold=threshold)
    assert (d["exit_code"], d["ratios"][0]["worse"]) == (code, bool(code))
    assert ("grew more than 1.05 times" in d["message"]) == bool(code)


@pytest.mark.parametrize(
    ("was", "now", "factor"),
    [(0.95, "nan", "inf"), ("inf", "nan", None), ("nan", 0.95, 0.0), (0.95, 1e300, 1.053e300)],
)
def test_factors_where_there_is_no_number(
    old: Results, new: Results, was: Any, now: Any, factor: Any
) -> None:
    largest(old, "refbp", "step", was)
    largest(new, "refbp", "step", now)
    (r,) = compare(old, new)["ratios"]
    assert r["factor"] == (1.0 if factor is None else factor)


def test_a_ratio_from_zero_has_no_factor(old: Results, new: Results) -> None:
    largest(new, "refbp", "repeat", 0.5)
    (r,) = compare(old, new, threshold=1000)["ratios"]
    assert (r["gate"], r["factor"], r["worse"]) == ("repeat", "inf", True)


def test_ratios_are_of_the_cases_that_both_ran(old: Results, new: Results) -> None:
    case = largest(old, "refbp", "step", 0.99)
    without(new, case)
    assert compare(old, new)["ratios"] == []


# ---- with what ----


def test_versions_devices_and_probes(old: Results, new: Results) -> None:
    new["environment"]["packages"]["torch"] = "2.13.0"
    torch, jax = (
        next(i for i in new["implementations"] if i["name"] == n) for n in ("torch-cpu", "jax-cpu")
    )
    torch["versions"]["torch"] = "2.13.0"  # the same once more, and said once
    torch["device"] = "another CPU"
    jax["probes"]["tf32"] = "yes"
    new["environment"]["python"] = "3.13"
    settings = {s["what"]: (s["old"], s["new"]) for s in compare(old, new)["settings"]}
    assert settings == {
        "torch": ("2.12.0", "2.13.0"),
        "torch-cpu: device": ("x86_64 CPU", "another CPU"),
        "jax-cpu: tf32": ("no", "yes"),
        "python": ("–", "3.13"),
    }


def test_known_differences(old: Results, new: Results) -> None:
    first, second, third = new["known_differences"]
    first["status"], first["seen"] = "stale", 0
    old["known_differences"].remove(second)
    new["known_differences"].remove(third)
    found = {k["id"]: (k["old"], k["new"]) for k in compare(old, new)["known_differences"]}
    assert found == {
        first["id"]: ("differs", "stale"),
        second["id"]: ("absent", "stale"),
        third["id"]: ("not-run", "absent"),
    }


def test_runs_of_different_profiles_are_said_to_be(old: Results, new: Results) -> None:
    new["profile"]["select"] = "depth=3"
    assert "of different profiles or selections" in compare(old, new)["message"]


def test_packages_that_are_no_table(old: Results, new: Results) -> None:
    """Of the environment nothing is promised."""
    new["environment"]["packages"] = "none"
    settings = {s["what"]: s["new"] for s in compare(old, new)["settings"]}
    assert settings == {"packages": "none", "numpy": "–", "torch": "–"}


# ---- what cannot be compared ----


def test_runs_of_no_case_in_common(old: Results, new: Results, diff: Callable[..., Any]) -> None:
    """Everything would be new, and everything gone: that is no difference between two runs."""
    for case in new["cases"]:
        case["id"] += "/other"
    for r in new["results"]:
        r["case"] += "/other"
    new["profile"] |= {"name": "quick", "select": "depth=3"}
    expected = (
        "cannot compare a and b: they have no case in common "
        '(old: "standard"; new: "quick", "depth=3"). '
        "Run both with the same --profile and --select."
    )
    with pytest.raises(FileError) as refusal:
        compare(old, new, ("a", "b"))
    assert refusal.value.args == (expected,)
    done = diff("--html", "d.html")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "they have no case in common" in done.stderr


def test_runs_of_no_implementation_in_common(old: Results, new: Results) -> None:
    for run, name in ((old, "mine"), (new, "mine.py:Network")):
        run["implementations"] = [{**run["implementations"][0], "name": name}]
    expected = (
        "cannot compare a and b: they have no implementation in common "
        '(old: "mine"; new: "mine.py:Network"). '
        "Run both with the same --implementation."
    )
    with pytest.raises(FileError) as refusal:
        compare(old, new, ("a", "b"))
    assert refusal.value.args == (expected,)
    new["implementations"] = []
    with pytest.raises(FileError, match=r'\(old: "mine"; new: nothing\)'):
        compare(old, new)


def test_one_case_and_one_implementation_in_common_are_enough(old: Results, new: Results) -> None:
    kept = old["cases"][0]["id"]
    new["cases"] = [
        {**c, "id": c["id"] if c["id"] == kept else f"{c['id']}/new"} for c in new["cases"]
    ]
    assert compare(old, new)["gone_cases"] == [c["id"] for c in old["cases"][1:]]


# ---- the page ----


def test_the_page(old: Results, new: Results) -> None:
    deviate(result(new))
    d = compare(old, new, ("old.json", "new.json"), 2)
    page = Page(render(d))
    assert page.wrong == []
    assert not [tag for tag, _ in page.elements if tag in ("script", "img", "form")]
    assert "✗ Worse" in page.text
    for said in ("old.json", "✗ deviates", "250 ✗", "The same machine and the same versions"):
        assert said in page.text
    ids = {a["id"] for _, a in page.elements if "id" in a}
    assert all(a["href"][1:] in ids for tag, a in page.elements if tag == "a")
    assert render(d) == render(d)
    assert "✓ Not worse" in Page(render(compare(old, old))).text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(old: Results, new: Results, text: str) -> None:
    deviate(result(new))
    result(new)["case"] = text
    new["cases"][3]["id"] = text
    new["implementations"][0] |= {"device": text}
    new["known_differences"][0] |= {"id": text, "what": text}
    new["environment"][text] = text
    html = render(compare(old, new))
    page = Page(html)
    assert page.wrong == []
    assert text.replace("\ud800", "?") in page.within["bdi"]
    assert "<script" not in html
    assert "<img" not in html


# ---- the command ----


@pytest.fixture
def diff(tmp_path: Path, old: Results, new: Results) -> Callable[..., Any]:
    """Runs the command on the two runs as they are by then."""

    def run(*options: object, files: tuple[str, str] = ("old.json", "new.json")) -> Any:
        for name, value in (("old.json", old), ("new.json", new)):
            if not (tmp_path / name).exists():
                write_results(tmp_path / name, summed(value))
        arguments = [str(tmp_path / f) for f in files] + [str(o) for o in options]
        return CliRunner().invoke(main, ["diff", *arguments])

    return run


@pytest.mark.parametrize("was", ["conforms", "deviates"])
def test_what_is_no_longer_judged_is_worse_though_no_verdict_is(
    was: str, diff: Callable[..., Any], new: Results, old: Results
) -> None:
    """What is not returned cannot be wrong: deleting the wrong function mends nothing."""
    if was == "deviates":
        deviate(result(old))
    gone = result(new)
    kept = [r for r in gone["records"] if r["quantity"] not in ("delta", "dW")]
    assert 0 < len(kept) < len(gone["records"])
    gone["records"], gone["not_returned"] = kept, ["delta", "dW"]
    gone["worst"] = gone["worst"] and {**gone["worst"], "ratio": kept[0]["ratio"]}
    done = diff()
    assert done.exit_code == 1
    assert f"  {was} → conforms  " in done.output
    assert "no longer judged at the step gate: δ, ∂L/∂W" in done.output
    assert "worse: 1 worse (1 judged less)" in done.output


def test_a_gate_that_is_gone_is_worse_too(
    diff: Callable[..., Any], new: Results, old: Results
) -> None:
    kept = [r for r in result(new)["records"] if r["gate"] != "repeat"]
    assert len(kept) == len(result(new)["records"]) - 1
    result(new)["records"] = kept
    done = diff()
    assert done.exit_code == 1
    assert "no longer judged at the repeat gate: everything" in done.output


def test_the_screen(diff: Callable[..., Any], new: Results, old: Results) -> None:
    for at in range(CASES):
        deviate(result(new, "refbp", at), 10.0 ** (at + 1))
    deviate(result(new))
    deviate(result(old, "jax-cpu"))
    new["environment"]["packages"]["torch"] = "2.13.0"
    new["known_differences"].pop()
    done = diff()
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert len(lines) < 40
    worst = f"  refbp  {result(new, 'refbp', 11)['case']}  conforms → deviates  ratio "
    assert lines[4].startswith(worst)
    assert lines[4].endswith("→ 1.0e12")
    assert "  and 1 more; --html and --json have them all" in lines
    for said in (
        "  torch  2.12.0 → 2.13.0",
        "  jax-cuda-tf32  not-run → absent  seen 0 → 0",
        "worse: 13 worse; 1 better.",
    ):
        assert said in lines


def test_exit_0_where_nothing_is_worse(diff: Callable[..., Any]) -> None:
    done = diff()
    assert done.exit_code == 0
    assert done.output.endswith("not worse: no verdict changed.\n")


def test_writes_the_page_and_the_json(
    diff: Callable[..., Any], new: Results, tmp_path: Path
) -> None:
    deviate(result(new), "nan")
    html, as_json = tmp_path / "d.html", tmp_path / "d.json"
    done = diff("--html", html, "--json", as_json, "--threshold", 1.5)
    assert done.exit_code == 1
    found = json.loads(as_json.read_text(encoding="utf-8"))
    assert (found["changes"][0]["new_ratio"], found["threshold"]) == ("nan", 1.5)
    assert found["old"]["file"].endswith("old.json")
    assert html.read_text(encoding="utf-8") == render(found)
    assert f"differences: {as_json}\npage: {html}\n\nworse: " in done.output


def test_nothing_steers_the_terminal(diff: Callable[..., Any], new: Results, old: Results) -> None:
    for run in (old, new):
        case, steering = run["cases"][3]["id"], "a\x1b[31mred\nline\u202e"
        run["cases"][3]["id"] = steering
        for r in run["results"]:
            r["case"] = steering if r["case"] == case else r["case"]
    deviate(result(new))
    lines = diff().output.splitlines()
    assert any("a\\x1b[31mred\\nline\\u202e  conforms → deviates" in line for line in lines)


def test_an_old_file_of_schema_version_1_is_read(
    diff: Callable[..., Any], old: Results, tmp_path: Path
) -> None:
    first: Any = copy.deepcopy(summed(old))
    first["schema_version"] = 1
    for r in first["results"]:
        for key in ("not_returned", "blame", "diagnosis"):
            del r[key]
    (tmp_path / "old.json").write_text(json.dumps(first), encoding="utf-8")
    assert diff().exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory."),
        ("no JSON", "it is not JSON, from line 1, column 1 on; expected JSON. "),
        ("[]", "it is a list; expected what `conformance run --json` writes: "),
    ],
)
def test_an_unreadable_file_is_exit_2(
    diff: Callable[..., Any], tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    for files in (("bad.json", "new.json"), ("old.json", "bad.json")):
        done = diff(files=files)
        assert done.exit_code == 2
        assert f"cannot read {tmp_path / 'bad.json'}: {said}" in done.output


def test_a_file_that_is_broken_within_is_exit_2(
    diff: Callable[..., Any], new: Results, tmp_path: Path
) -> None:
    broken: Any = {**new, "schema_version": 2, "results": [*new["results"], {"case": 3}]}
    (tmp_path / "new.json").write_text(json.dumps(broken), encoding="utf-8")
    done = diff()
    assert done.exit_code == 2
    assert (
        f"cannot read {tmp_path / 'new.json'}: results[{len(new['results'])}].case is 3;"
        in done.output
    )


def test_a_name_that_is_no_utf_8_is_spelt_out(
    diff: Callable[..., Any], old: Results, tmp_path: Path
) -> None:
    name = os.fsdecode(b"a\xff.json")
    write_results(tmp_path / name, summed(old))
    assert diff("--json", tmp_path / "d.json", files=(name, "new.json")).exit_code == 0
    found = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert found["old"]["file"].endswith("/a\\udcff.json")


def test_it_replaces_neither_file(diff: Callable[..., Any], tmp_path: Path) -> None:
    done = diff("--json", tmp_path / "new.json")
    assert done.exit_code == 2
    assert "it is read by this command. Name another file." in done.output
    done = diff("--json", tmp_path / "same", "--html", tmp_path / "same")
    assert done.exit_code == 2


def test_a_threshold_below_1_is_refused(diff: Callable[..., Any]) -> None:
    assert diff("--threshold", "0.5").exit_code == 2
