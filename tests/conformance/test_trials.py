"""`conformance faults`: what it counts, what it calls survived, what it prints and writes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conformance.cases.catalogue import Case
from conformance.cases.profiles import find
from conformance.commands.faults import trials
from conformance.commands.main import main
from conformance.judge.mistakes import table
from conformance.judge.mistakes.table import FAULTS, Fault
from conformance.model.results import Trials
from conformance.report.faults import render

TYPICAL = find("typical/tanh/L3/n7/float64")
SMALL = find("typical/tanh/L1/n1/float64")
IDENTITY = find("typical/identity/L1/n7/float64")


def conformance(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """planted(fault): in the table too, for this test."""

    def put(fault: Fault) -> str:
        monkeypatch.setattr(table, "FAULTS", {**FAULTS, fault.name: fault})
        return fault.name

    return put


def test_a_row_counts_what_happened() -> None:
    row = trials.tried("sign-flipped", [TYPICAL, SMALL])
    assert (row["verdict"], row["changes"], row["caught"], row["named"]) == ("caught", 2, 2, 2)
    assert (row["below"], row["misplaced"], row["raised"], row["other"]) == (0, 0, 0, {})
    assert {g: c["caught"] for g, c in row["gates"].items()} == {
        "step": 2, "end-to-end": 2, "exact": 0, "row": 1, "repeat": 0,
    }  # fmt: skip
    assert float(row["gates"]["step"]["smallest"]) > 1e10
    assert row["gates"]["step"]["case"] in (TYPICAL.id, SMALL.id)


def test_what_cannot_be_told_apart_is_counted_apart() -> None:
    """With one layer, σ' missing at the output is σ' missing."""
    row = trials.tried("derivative-missing-at-output", [SMALL])
    assert (row["caught"], row["named"], row["alike"]) == (1, 0, 1)


def test_a_fault_that_changes_nothing_was_not_tried(planted: Any) -> None:
    row = trials.tried("derivative-missing", [IDENTITY])
    assert (row["verdict"], row["changes"]) == ("not shown", 0)


def scaled(by: float) -> Any:
    return {"delta": lambda right: lambda s, l, G: right(s, l, G) * by}


def test_a_fault_below_rounding_survives(planted: Any) -> None:
    name = planted(replace(FAULTS["delta-clipped"], name="tiny", wrong=scaled(1 + 2.0**-52)))
    row = trials.tried(name, [TYPICAL])
    assert (row["verdict"], row["changes"], row["caught"], row["below"]) == ("survives", 1, 0, 1)


def test_a_fault_that_another_gate_catches_survives(planted: Any) -> None:
    name = planted(replace(FAULTS["sign-flipped"], name="elsewhere", gate="repeat"))
    assert trials.tried(name, [TYPICAL])["verdict"] == "survives"


@pytest.mark.parametrize("said", [{"shows": "dW"}, {"where": "<L"}])
def test_a_fault_that_is_seen_in_another_place_survives(planted: Any, said: dict[str, str]) -> None:
    name = planted(replace(FAULTS["sign-flipped"], name="misplaced", **said))
    row = trials.tried(name, [TYPICAL])
    assert (row["verdict"], row["misplaced"]) == ("survives", 1)


def test_terms_that_only_the_batch_has_are_lost_in_the_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No width is beyond a tile of 128 and the batch is: ∂L/∂W is the first product that is wrong."""
    name, case = (
        "terms-lost",
        find("wide/tanh>identity+mean_squared_error/L2/n129/float64/w33-65-10"),
    )
    assert trials.tried(name, [case])["verdict"] == "caught"
    monkeypatch.setitem(FAULTS, name, replace(FAULTS[name], or_in=""))
    assert trials.tried(name, [case])["verdict"] == "survives"


def test_where_refbp_itself_refuses_is_counted(planted: Any) -> None:
    name = planted(
        replace(
            FAULTS["activation-missing"],
            name="refused",
            wrong={"G_L": lambda right: lambda s: 1 / 0},
        )
    )
    row = trials.tried(name, [TYPICAL])
    assert (row["raised"], row["verdict"]) == (1, "not shown")


def test_the_answer() -> None:
    rows = [trials.tried("sign-flipped", [TYPICAL]), trials.tried("mean-twice", [TYPICAL])]
    assert trials._summary(rows, []) == (
        0, "2 of 2 faults caught; no false alarm; 2 of 2 diagnosed by name (100.0%).",
    )  # fmt: skip
    survives = {**rows[0], "verdict": "survives"}
    code, message = trials._summary([survives, rows[1]], ["a case"])  # type: ignore[list-item]
    assert code == 1
    assert "1 of 2 faults caught; survive: sign-flipped; false alarms in 1 cases: a case" in message
    unseen = {**rows[0], "verdict": "not shown"}
    code, message = trials._summary([unseen, rows[1]], [])  # type: ignore[list-item]
    assert code == 2
    assert "not tried, as they change nothing in these cases: sign-flipped" in message


def test_lines_that_deviate_without_a_fault_are_false_alarms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = trials.Loop
    monkeypatch.setattr(trials, "Loop", lambda *steps: real(*steps or (table_of_wrong(),)))
    assert trials._false_alarms([TYPICAL]) == [TYPICAL.id]


def table_of_wrong() -> Any:
    from conformance.judge.mistakes.loop import planted as with_faults

    return with_faults(FAULTS["sign-flipped"].wrong)


# --- how small ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dialled() -> dict[str, Any]:
    found = trials.smallest_seen("every δ scaled by 1 + ε", TYPICAL)
    return {d["gate"]: d for d in found}


def test_how_small_a_mistake_is_seen(dialled: dict[str, Any]) -> None:
    assert set(dialled) == {"step", "end-to-end"}
    assert 1e-16 < float(dialled["step"]["smallest"]) < 3e-15
    assert 1e-16 < float(dialled["end-to-end"]["smallest"]) < 1e-14


def test_the_curve_passes_the_tolerance_where_it_says(dialled: dict[str, Any]) -> None:
    for d in dialled.values():
        for e, ratio in d["curve"]:
            if e > 1.05 * d["smallest"]:
                assert float(ratio) > 1
            if e < d["smallest"] / 1.05 and e > d["smallest"] / 3:
                assert float(ratio) <= 1 or e < 2.0**-53


def test_on_integers_the_last_bit_is_seen() -> None:
    found = trials.smallest_seen(
        "one element of a δ scaled by 1 + ε", find("integers/relu/L2/n64/float64")
    )
    exact = next(d for d in found if d["gate"] == "exact")
    assert 2.0**-54 < float(exact["smallest"]) <= 1.06 * 2.0**-53


def test_a_dial_that_is_never_seen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trials.DIALS, "nothing", lambda e: {})  # type: ignore[index]
    found = trials.smallest_seen("nothing", TYPICAL)
    assert {d["smallest"] for d in found} == {"inf"}


# --- the command ----------------------------------------------------------------------------------

FEW = ("--select", "activation=tanh,depth=3", "--jobs", 0)


def test_the_command(tmp_path: Path) -> None:
    html, written = tmp_path / "f.html", tmp_path / "f.json"
    done = conformance(
        "faults",
        "--fault",
        "sign-flipped",
        "--fault",
        "mean-twice",
        *FEW,
        "--report",
        html,
        "--json",
        written,
    )
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[1].startswith("2 faults in ")
    assert lines[4].split() == [
        "fault", "changes", "caught", "step", "end-to-end", "exact", "row", "repeat", "named", "verdict",
    ]  # fmt: skip
    assert lines[5].startswith("sign-flipped")
    assert "* " in lines[5]
    assert lines[5].endswith("caught")
    assert "2 of 2 faults caught; no false alarm; " in done.stdout
    found: Trials = json.loads(written.read_text())
    assert [r["name"] for r in found["faults"]] == ["sign-flipped", "mean-twice"]
    assert (found["exit_code"], found["dials"], found["false_alarms"]) == (0, [], [])
    assert "<script" not in html.read_text()


def test_a_fault_that_there_is_not() -> None:
    done = conformance("faults", "--fault", "sign-fliped")
    assert (done.exit_code, done.stderr) == (
        2,
        "conformance: unknown fault 'sign-fliped'. Did you mean 'sign-flipped'? `conformance faults "
        "--list` has them all.\n",
    )


def test_what_could_not_be_tried_is_not_green() -> None:
    done = conformance(
        "faults",
        "--fault",
        "bias-twice",
        "--select",
        "activation=tanh,bias=false,depth=3",
        "--jobs",
        0,
    )
    assert done.exit_code == 2
    assert "not tried, as they change nothing in these cases: bias-twice" in done.stdout


def test_the_list() -> None:
    done = conformance("faults", "--list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(FAULTS)


@pytest.mark.slow
def test_in_parallel_it_is_the_same() -> None:
    names, few = ["sign-flipped", "bias-twice"], "activation=tanh,depth=3"
    one, two = (trials.trials("quick", few, names, dials=False, jobs=j) for j in (0, 2))
    assert one["faults"] == two["faults"]
    assert [r["name"] for r in two["faults"]] == names


# --- the page -------------------------------------------------------------------------------------


def test_what_others_wrote_is_shown_as_text() -> None:
    row = trials.tried("sign-flipped", [SMALL])
    hostile: Any = {
        **row, "name": "<script>alert(1)</script>", "what": "<img src=x onerror=alert(1)>",
        "other": {"\"'><svg onload=alert(1)>": 3},
    }  # fmt: skip
    found = Trials(
        schema_version=1, environment={"command": "<b>"}, profile="<i>", select="", cases=1,
        false_alarms=[], faults=[hostile], dials=[], exit_code=1, message="<script>",
    )  # fmt: skip
    html = render(found)
    assert "<script" not in html
    assert "<img" not in html
    assert "<svg onload" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html == render(found)


def test_the_page_has_a_panel_a_dial(dialled: dict[str, Any]) -> None:
    found = Trials(
        schema_version=1, environment={}, profile="quick", select="", cases=1, false_alarms=[],
        faults=[], dials=list(dialled.values()), exit_code=0, message="fine.",
    )  # fmt: skip
    html = render(found)
    assert html.count('<svg viewBox="0 0 300 200"') == 1
    assert "every δ scaled by 1 + ε: error over tolerance" in html
    assert "All caught" in html


def test_a_case_is_known_by_its_value() -> None:
    """What is computed for one is kept for its equals."""
    assert trials._subject(TYPICAL) is trials._subject(Case(**vars(TYPICAL)))


def test_what_was_found_goes_into_a_report(tmp_path: Path) -> None:
    written, html = tmp_path / "f.json", tmp_path / "r.html"
    conformance("faults", "--fault", "sign-flipped", *FEW, "--json", written)
    run = (
        "run",
        "--implementation",
        "refbp",
        "--select",
        "id=typical/tanh/L1/n1/float64",
        "--jobs",
        0,
    )
    assert conformance(*run, "--report", html).exit_code == 0
    assert "Not run: these results hold no planted faults." in html.read_text()
    results = tmp_path / "r.json"
    assert (
        conformance(*run, "--report", html, "--json", results, "--faults", written).exit_code == 0
    )
    assert "1 of 1 faults caught" in html.read_text()
    assert "sign-flipped" in html.read_text()
    assert conformance("report", results, "--html", tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == html.read_bytes()


def test_trials_that_cannot_be_read(tmp_path: Path) -> None:
    run = (
        "run",
        "--implementation",
        "refbp",
        "--select",
        "id=typical/tanh/L1/n1/float64",
        "--jobs",
        0,
    )
    (tmp_path / "f.json").write_text("[]")
    done = conformance(*run, "--faults", tmp_path / "f.json")
    assert (done.exit_code, done.stderr) == (
        2,
        f"conformance: cannot read {tmp_path}/f.json: it is a list; expected what `conformance faults "
        "--json` writes: name such a file, or write one.\n",
    )
    assert "No such file" in conformance(*run, "--faults", tmp_path / "none.json").stderr


def _dies(task: trials.Task) -> None:
    os._exit(3)


def _hangs(task: trials.Task) -> None:
    time.sleep(300)


@pytest.mark.parametrize(
    ("task", "message"),
    [(_dies, r"ended its process \(3\)\."), (_hangs, r"took more than 0\.2 s\.")],
    ids=["dies", "hangs"],
)
@pytest.mark.parametrize(("name", "who"), [("half", "the fault half"), ("", "the lines with no")])
def test_a_fault_that_takes_its_worker_along_is_said(
    task: Any, message: str, name: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_task", task)
    monkeypatch.setattr(trials, "TIMEOUT", 0.2)
    if task is _dies:
        monkeypatch.setattr(trials, "TIMEOUT", 300.0)
    with pytest.raises(trials.TrialError, match=f"{who}.*{message}"):
        trials._done([trials.Task("fault", name, [])] * 2, 2, lambda done, total, name: None)
