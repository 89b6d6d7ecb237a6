"""What CI systems read: JUnit's XML, a summary in Markdown, annotations, baselines, settings."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from click.testing import CliRunner, Result
from fast import fast
from test_report import HOSTILE, synthetic

from conformance.commands.command import echo
from conformance.commands.diff.baseline import Held, read_baseline
from conformance.commands.main import main
from conformance.commands.settings import read_settings
from conformance.judge.runner import run
from conformance.model.results import Results
from conformance.model.results_file import read
from conformance.report import ci
from conformance.tools.files import FileError

WRONG = Path(__file__).parents[2] / "examples" / "wrong_student.py"
FEW = ("--select", "family=square,activation=tanh", "--jobs", "0")


def conformance(*words: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, (*FEW, *words))])


@pytest.fixture(scope="module")
def results() -> Results:
    return run("standard", ["refbp", str(WRONG)], "family=square,activation=tanh", jobs=0)


def cases_of(text: str) -> list[Xml.Element]:
    return list(Xml.fromstring(text).iter("testcase"))


# --- JUnit ----------------------------------------------------------------------------------------


def test_a_test_case_a_network_implementation_and_dtype(results: Results) -> None:
    root = Xml.fromstring(ci.junit(results))
    assert [s.get("name") for s in root] == [
        f"{name}, {dtype}" for dtype in ("float64", "float32") for name in ("refbp", WRONG)
    ]
    assert len(list(root.iter("testcase"))) == len(results["results"])
    wrong = [t for t in root.iter("testcase") if str(WRONG) in str(t.get("classname"))]
    (failure,) = wrong[0]
    assert failure.tag == "failure"
    assert failure.get("type") == "deviates"
    assert "off by" in str(failure.get("message"))
    assert "instead of the pre-activation" in str(failure.text)
    assert str(failure.text).splitlines()[-1].startswith("conformance show square/")
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("2", "0", "0")


def changed(results: Results, verdict: str, message: str = "why") -> Results:
    found: Any = copy.deepcopy(results)
    found["results"][0] |= {"verdict": verdict, "message": message}
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("verdict", "strict", "tag"),
    [
        ("conforms", True, None), ("known-difference", True, "system-out"),
        ("inaccurate", False, "system-out"), ("inaccurate", True, "failure"),
        ("undecided", False, "error"), ("error", False, "error"), ("not-run", False, "skipped"),
        ("deviates", False, "failure"),
    ],
)  # fmt: skip
def test_what_a_verdict_is(verdict: str, strict: bool, tag: str | None, results: Results) -> None:
    message = "" if verdict == "conforms" else "why"
    first = cases_of(ci.junit(changed(results, verdict, message), strict))[0]
    assert [e.tag for e in first] == ([tag] if tag else [])


def test_what_did_not_start_is_an_error_and_what_is_not_there_is_skipped(results: Results) -> None:
    found: Any = copy.deepcopy(results)
    row = found["implementations"][0]
    found["implementations"] += [
        {**row, "name": "broken", "status": "error", "reason": "undefined symbol"},
        {**row, "name": "torch-cuda", "status": "not-run", "reason": "no CUDA device"},
    ]
    broken, cuda = cases_of(ci.junit(found))[-2:]
    assert [e.tag for e in broken] == ["error"]
    assert [e.tag for e in cuda] == ["skipped"]


def test_many_results_are_gathered_and_the_worst_is_told() -> None:
    found: Any = synthetic(1000, hostile=False)
    assert len(cases_of(ci.junit(found))) >= len(found["results"]) == ci.MOST
    found = synthetic(1200, hostile=False)
    tests = cases_of(ci.junit(found))
    assert len(tests) < 200
    assert any("cases)" in str(t.get("name")) for t in tests)
    assert any(len(t) for t in tests)


def test_hostile_text_is_text_in_all_of_them() -> None:
    found: Any = synthetic(60)
    for r, text in zip(found["results"], HOSTILE * 60, strict=False):
        r["message"] = text + "\x00\x1b[2J\ufffe\ud800 ]]> & ``` | [a](javascript:1)"
    root = Xml.fromstring(ci.junit(found))  # which refuses what is no XML
    assert "\x1b" not in "".join(str(e.attrib) + (e.text or "") for e in root.iter())
    for i in found["implementations"]:
        i["reason"] = "<script>alert(1)</script> ::error::x\n::warning::y | `code` [a](b) %0A"
        i["status"] = "error"
    text = ci.markdown(found)
    spans = re.compile(r"(?<!`)(`+) .*? \1(?!`)")  # of code, in which nothing is Markdown or HTML
    assert "<script" not in spans.sub("", text).replace("\\<", "")
    assert len(spans.findall(text)) > len(found["implementations"])
    assert "\x1b" not in text
    for line in ci.github_annotations(found):
        assert line.startswith("::error ")
        assert "\n" not in line
        assert "%0A" not in line


# --- GitHub ---------------------------------------------------------------------------------------


def test_the_summary_says_what_is_wrong_and_how_to_see_it(results: Results) -> None:
    text = ci.markdown(results)
    assert text.startswith("## ✗ deviates\n")
    assert "| wrong\\_student.py | · | 2 |" in text
    assert f"conformance show square/tanh/L3/n7/float64/w4-4 --implementation {WRONG}" in text


def test_a_summary_is_never_larger_than_github_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci, "LARGEST", 1500)
    found: Any = synthetic(20, hostile=False)
    found["implementations"] = found["implementations"] * 40
    text = ci.markdown(found)
    assert len(text.encode()) <= 1500
    assert "more lines: see the report." in text


def test_annotations_are_on_github_alone_and_at_most_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    words = ("--implementation", WRONG, "--summary", tmp_path / "s.md")
    assert "::error" not in conformance(*words).output
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = conformance(*words).stdout.splitlines()
    (line,) = [x for x in lines if x.startswith("::")]
    assert line.startswith(f"::error file={WRONG},title=conformance%3A {WRONG}::δ is wrong")
    found: Any = copy.deepcopy(results)
    found["implementations"] = [
        {**found["implementations"][0], "name": f"x{n}", "status": "error"} for n in range(30)
    ]
    assert len(ci.github_annotations(found)) == ci.ANNOTATIONS == 10


# --- baselines ------------------------------------------------------------------------------------


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "known.json"
    done = conformance("--implementation", WRONG, "--write-baseline", path)
    assert done.exit_code == 1
    return path


def test_what_is_known_is_no_failure(baseline: Path) -> None:
    done = conformance("--implementation", WRONG, "--baseline", baseline)
    assert done.exit_code == 0, done.output
    assert done.output.endswith(f"not worse than {baseline}: 2 results fail as before.\n")


def edited(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    (column,) = found["implementations"].values()
    column["verdicts"] = changes.pop("verdicts", column["verdicts"])
    path.write_text(json.dumps({**found, **changes}))


def test_what_is_worse_is_1(baseline: Path) -> None:
    edited(baseline, verdicts=["conforms", "deviates"])
    done = conformance("--implementation", WRONG, "--baseline", baseline)
    assert done.exit_code == 1
    assert "float64/w4-4: conforms before, deviates now." in done.output


def test_a_failure_of_what_is_new_is_worse(baseline: Path) -> None:
    edited(baseline, verdicts=[None, "deviates"])
    done = conformance("--implementation", WRONG, "--baseline", baseline)
    assert done.exit_code == 1
    assert "absent before, deviates now" in done.output


def test_what_ran_and_does_not_is_2(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    file = tmp_path / "mine.py"
    file.write_text(WRONG.read_text("utf-8"), "utf-8")
    conformance("--implementation", file, "--implementation", "refbp", "--write-baseline", path)
    file.write_text("raise ImportError('broken')\n")
    words = [*FEW, "--implementation", str(file), "--implementation", "refbp", "--baseline", path]
    command = [sys.executable, "-m", "conformance", "run", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "deviates before, error now" in done.stdout


def test_what_is_required_and_does_not_run_is_2(baseline: Path) -> None:
    words = ("--implementation", WRONG, "--require", "torch-cuda", "--baseline", baseline)
    done = conformance(*words)
    assert done.exit_code == 2
    assert "torch-cuda did not run" in done.output


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"profile": "quick"}, "the baseline is of the profile 'quick', and this run of 'standard'"),
        ({"select": ""}, "the baseline is of the --select ''"),
        ({"baseline": 2}, "baseline is 2; expected 1."),
        ({"verdicts": ["pass", "deviates"]}, 'is "pass"'),
        ({"verdicts": ["deviates"]}, "has 1 values; expected 2"),
        ({"cases": 3}, "cases is 3; expected a list"),
    ],
)  # fmt: skip
def test_what_is_no_baseline_of_this_run_is_refused(
    changes: dict[str, Any], why: str, baseline: Path
) -> None:
    edited(baseline, **changes)
    done = conformance("--implementation", WRONG, "--baseline", baseline)
    assert done.exit_code == 2
    assert why in done.output


def test_one_that_is_not_there_says_what_writes_it(tmp_path: Path) -> None:
    done = conformance("--implementation", "refbp", "--baseline", tmp_path / "none.json")
    assert done.exit_code == 2
    assert "--write-baseline writes one" in done.output


@pytest.mark.slow
def test_that_of_standard_is_under_500_kb(tmp_path: Path) -> None:
    words = ["run", "--implementation", "refbp", "--implementation", "torch-cpu"]
    path = tmp_path / "b.json"
    assert CliRunner().invoke(main, [*words, "--write-baseline", str(path)]).exit_code == 0
    assert path.stat().st_size < 300_000


# --- settings -------------------------------------------------------------------------------------

SETTINGS = """[project]
name = "theirs"

[tool.conformance]
profile = "quick"
select = "family=typical,activation=tanh,depth=1"
implementations = ["refbp"]
strict = true
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line_goes_before_the_file(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(SETTINGS)
    done = CliRunner().invoke(main, ["run", "--jobs", "0", "--json", "r.json"])
    assert done.exit_code == 0, done.output
    found = read(folder / "r.json")
    assert (found["profile"]["name"], found["profile"]["cases"]) == ("quick", 2)
    assert [i["name"] for i in found["implementations"]] == ["refbp"]
    words = ["run", "--jobs", "0", "--json", "r.json", "--select", "family=square,activation=tanh"]
    assert CliRunner().invoke(main, [*words, "--profile", "standard"]).exit_code == 0
    found = read(folder / "r.json")
    assert (found["profile"]["name"], found["profile"]["cases"]) == ("standard", 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("profil = 'quick'", "line 2: tool.conformance.profil is an unknown field 'profil'. Did you"),
        ("require = 'refbp'", "line 2: tool.conformance.require is 'refbp'; expected a list of names"),
        ("strict = 1", "line 2: tool.conformance.strict is 1; expected true or false."),
        ("profile = ", "cannot read pyproject.toml"),
    ],
)  # fmt: skip
def test_a_field_that_does_not_fit_has_its_line(text: str, why: str, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.conformance]\n{text}\n")
    with pytest.raises(FileError) as e:
        read_settings()
    assert why in str(e.value)
    assert CliRunner().invoke(main, ["run"]).exit_code == 2


def test_no_file_and_no_table_are_no_settings(folder: Path) -> None:
    assert read_settings() == {}
    (folder / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert read_settings() == {}


@pytest.mark.parametrize("option", fast(["--junit", "--summary", "--write-baseline"], "--junit"))
def test_a_path_that_cannot_be_written_is_told_first(option: str, tmp_path: Path) -> None:
    done = conformance("--implementation", "refbp", option, tmp_path / "no" / "folder.x")
    assert done.exit_code == 2
    assert "there is no folder" in done.output


def test_no_output_replaces_another_nor_what_is_read(baseline: Path, tmp_path: Path) -> None:
    before = WRONG.read_bytes(), baseline.read_bytes()
    path = tmp_path / "x"
    for words, why in (
        (("--json", path, "--junit", path), "twice"),
        (("--baseline", baseline, "--write-baseline", baseline), "it is read by this command"),
        (("--junit", WRONG), "it is the file under test"),
    ):
        done = conformance("--implementation", WRONG, *words)
        assert done.exit_code == 2
        assert why in done.output
    assert (WRONG.read_bytes(), baseline.read_bytes()) == before


def test_what_was_named_and_did_not_run_is_2(baseline: Path, tmp_path: Path) -> None:
    """Whatever is not worse."""
    words = ("--implementation", WRONG, "--implementation", "torch-cuda", "--baseline", baseline)
    assert conformance(*words).exit_code == 2


def test_with_a_baseline_what_is_known_fails_nowhere(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    words = ("--implementation", WRONG, "--baseline", baseline)
    files = ("--junit", tmp_path / "j.xml", "--summary", tmp_path / "s.md")
    done = conformance(*words, *files)
    assert done.exit_code == 0
    assert "::error" not in done.output
    assert Xml.parse(tmp_path / "j.xml").getroot().get("failures") == "0"
    assert "2 results fail as before" in (tmp_path / "s.md").read_text()
    edited(baseline, verdicts=["conforms", "deviates"])
    done = conformance(*words, *files)
    assert done.exit_code == 1
    assert "::error" in done.output
    assert Xml.parse(tmp_path / "j.xml").getroot().get("failures") == "1"


def test_an_error_goes_before_what_deviates(baseline: Path, results: Results) -> None:
    found: Any = copy.deepcopy(results)
    old: Any = read_baseline(baseline)
    old["implementations"][str(WRONG)]["verdicts"] = ["conforms", "conforms"]
    assert Held.of(old, found, baseline, ()).exit_code == 1
    next(r for r in found["results"] if r["implementation"] == str(WRONG))["verdict"] = "error"
    assert Held.of(old, found, baseline, ()).exit_code == 2


def test_what_is_in_the_baseline_and_not_run_is_told(baseline: Path) -> None:
    done = conformance("--implementation", "refbp", "--baseline", baseline)
    assert done.exit_code == 0
    assert f"Not run, though in it: {WRONG}." in done.output


def test_githubs_own_summary_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step.md"
    path.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    for n in (1, 2):
        assert conformance("--implementation", "refbp", "--summary", path).exit_code == 0
        assert path.read_text().startswith("earlier\n## ")
        assert path.read_text().count("## ✓ conforms") == n


def test_no_link_is_made_of_a_message(results: Results) -> None:
    found: Any = copy.deepcopy(results)
    found["implementations"][0] |= {"status": "error", "reason": "http://x.y `` @octocat"}
    assert "``` http://x.y `` @octocat ```" in ci.markdown(found)


def test_a_message_is_no_command_of_githubs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    echo("  ::stop-commands::abc\nfine::here\n##[group]x")
    assert capsys.readouterr().out == "  : :stop-commands::abc\nfine::here\n## [group]x\n"


def test_the_folder_of_the_report_has_no_other_file(tmp_path: Path) -> None:
    words = ("--implementation", "refbp", "--html-dir", tmp_path / "d")
    for option, path in (("--json", tmp_path / "d" / "index.html"), ("--report", tmp_path / "d")):
        (tmp_path / "d").mkdir(exist_ok=True)
        assert conformance(*words, option, path).exit_code == 2
    done = conformance(
        "--implementation", "refbp", "--json", tmp_path / "z", "--junit", tmp_path / "z.journal"
    )
    assert done.exit_code == 2
    assert "twice" in done.output


def test_a_setting_can_be_taken_back(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(SETTINGS + 'baseline = "none.json"\n')
    words = ["run", "--jobs", "0", "--no-strict"]
    done = CliRunner().invoke(main, [*words, "--write-baseline", "none.json"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, words).exit_code == 0
    done = CliRunner().invoke(main, [*words, "--summary", "pyproject.toml"])
    assert done.exit_code == 2
    os.mkfifo(folder / "fifo")
    assert read_settings(folder / "fifo") == {}


@pytest.mark.parametrize("verdict", ["inaccurate", "known-difference"])
def test_what_makes_exit_code_1_with_a_baseline_is_a_failure(
    verdict: str, results: Results
) -> None:
    found = changed(results, verdict)
    pair = found["results"][0]["implementation"], found["results"][0]["case"]
    assert [e.tag for e in cases_of(ci.junit(found, worse={pair}))[0]] == ["failure"]
    assert [e.tag for e in cases_of(ci.junit(found, worse=()))[0]] == ["system-out"]
