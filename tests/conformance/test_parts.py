"""A run in parts, put together, is the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.judge import runner
from conformance.judge.parts import of_part, part_of
from conformance.judge.runner import run
from conformance.model.results import Results
from conformance.model.results_file import read, write_results
from conformance.tools.trouble import RefusedError

WANTED = "family=typical,activation=tanh"


def without_environment(found: Results) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "environment"}


def parts(n: int, *names: str, wanted: str = WANTED) -> list[Results]:
    return [run("quick", names, wanted, jobs=0, shard=(i, n)) for i in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_put_together_they_are_what_one_run_gives(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHUNK", 2)  # so that there are some groups
    whole = run("quick", ["refbp"], WANTED, jobs=0)
    made = parts(n, "refbp")
    assert sum(len(p["results"]) for p in made) == len(whole["results"]) > 4
    again = run("quick", ["refbp"], WANTED, jobs=0, parts=made[::-1])
    assert without_environment(again) == without_environment(whole)


def test_as_files_they_are_the_same_to_the_byte(tmp_path: Path) -> None:
    whole = run("quick", ["refbp"], WANTED, jobs=0)
    for i, part in enumerate(parts(2, "refbp")):
        write_results(tmp_path / f"{i}.json", part)
    made = [read(tmp_path / f"{i}.json") for i in range(2)]
    again = run("quick", ["refbp"], WANTED, jobs=0, parts=made)
    again["environment"] = whole["environment"]
    write_results(tmp_path / "whole.json", whole)
    write_results(tmp_path / "again.json", again)
    assert (tmp_path / "whole.json").read_bytes() == (tmp_path / "again.json").read_bytes()


class Own:
    """Says what it can do: networks are made for it."""

    name, activations, losses = "own", ("tanh",), ("mean_squared_error",)

    def run(self, problem: Any) -> Any:
        from conformance.judge.start import started_now

        ready = started_now("refbp").ready
        assert ready is not None
        return ready.run(problem)


@pytest.mark.slow
def test_networks_made_for_an_object_are_in_a_part_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHUNK", 4)
    own: Any = Own()
    whole = run("quick", [own], jobs=0)
    made = [run("quick", [own], jobs=0, shard=(i, 2)) for i in (1, 2)]
    assert all(p["results"] for p in made)
    again = run("quick", [own], jobs=0, parts=made)
    assert without_environment(again) == without_environment(whole)
    assert "judged on all that it says" in again["summary"]["message"]


def test_a_part_that_is_not_there_is_no_verdict() -> None:
    made = parts(3, "refbp")
    some = [p for p in made if p["results"]][1:]
    found = run("quick", ["refbp"], WANTED, jobs=0, parts=some)
    assert found["summary"]["exit_code"] == 2
    assert found["summary"]["verdict"] == "not-run"
    assert found["summary"]["message"].startswith("not given: part")
    lost = [r for r in found["results"] if r["verdict"] == "not-run"]
    assert lost
    assert {r["message"] for r in lost} == {"not run: it is in no part that is given."}


def test_what_did_not_run_in_one_of_the_parts_is_no_verdict() -> None:
    made = [p for p in parts(2, "refbp") if p["results"]]
    made[0]["results"] = made[0]["results"][1:]
    found = run("quick", ["refbp"], WANTED, jobs=0, parts=[*made])
    assert found["summary"]["exit_code"] == 2
    if len(made) == 2:
        assert "refbp did not run in every part: 1 results" in found["summary"]["message"]


def test_parts_of_other_runs_are_refused() -> None:
    made = parts(2, "refbp")
    whole = run("quick", ["refbp"], WANTED, jobs=0)
    for wrong, why in (
        ([made[0], made[0]], "file 2 is part 1 again"),
        ([made[0], whole], "file 2 is a whole run"),
        (
            [made[0], run("quick", ["refbp"], WANTED, jobs=0, shard=(2, 3))],
            "of another run than file 1",
        ),
        (
            parts(1, "refbp", wanted=f"{WANTED},dtype=float32"),
            "another run than this code makes of its words",
        ),
    ):
        with pytest.raises(RefusedError, match=why):
            run("quick", ["refbp"], WANTED, jobs=0, parts=wrong)


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/1001", "a/b", "1/2/3", "१/2"]
)
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(RefusedError, match="expected I/N"):
        part_of(text)
    assert part_of("2/5") == (2, 5)


def test_parts_are_balanced_and_each_has_its_own() -> None:
    groups = [[k] * k for k in range(1, 40)]
    made = [of_part(groups, len, i, 5) for i in range(1, 6)]
    assert sorted(x for part in made for x in part) == sorted(x for g in groups for x in g)
    assert max(map(len, made)) - min(map(len, made)) <= 4
    assert of_part(groups, len, 1, 1) == [x for g in reversed(groups) for x in g]


def test_at_the_command_line(tmp_path: Path) -> None:
    def called(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(main, ["--no-cache", *words])
        return found.exit_code, found.output

    of = [
        "run",
        "--profile",
        "quick",
        "--implementation",
        "refbp",
        "--select",
        WANTED,
        "--jobs",
        "0",
    ]
    files = [str(tmp_path / f"{i}.json") for i in (1, 2)]
    for i, path in enumerate(files, 1):
        code, _ = called(*of, "--shard", f"{i}/2", "--json", path)
        assert code in (0, 2)  # a part may have none
    code, text = called(
        "merge", *files, "--json", str(tmp_path / "whole.json"), "--junit", str(tmp_path / "j.xml")
    )
    assert code == 0
    assert "all conform" in text
    assert (tmp_path / "j.xml").is_file()
    assert "part" not in json.loads((tmp_path / "whole.json").read_text())
    code, text = called("merge", files[0])
    assert code == 2
    assert "not given: part 2/2" in text
    code, text = called("merge", str(tmp_path / "whole.json"))
    assert (code, "is a whole run; expected" in text) == (2, True)
    code, text = called("merge", files[0], "--json", files[0])
    assert code == 2
    code, text = called(*of, "--shard", "2/1")
    assert (code, "expected I/N" in text) == (2, True)
