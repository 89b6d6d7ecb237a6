"""The results file: numbers without NaN, whole or not there at all, and read or refused in a line."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from conformance.results import (
    SCHEMA_VERSION,
    VERDICTS,
    Results,
    ResultsError,
    number,
    read,
    write_atomically,
    write_results,
)
from conformance.runner import run


@pytest.fixture(scope="module")
def results() -> Results:
    return run("standard", ["refbp"], "activation=tanh,family=square", jobs=0)


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (math.pi, 3.142),
        (-1.23456e-300, -1.235e-300),
        (0.0, 0.0),
        (5e-324, 5e-324),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number(x: float, expected: float | str) -> None:
    assert number(x) == expected


def test_seventeen_digits_are_the_float_itself() -> None:
    for x in (0.1, 1 / 3, math.pi * 1e-200, 2.0**-1074, 1.7976931348623157e308):
        assert number(x, 17) == x


# --- writing --------------------------------------------------------------------------------------


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomically(path, "δ\n")
    assert path.read_bytes() == "δ\n".encode()
    write_atomically(str(path), iter(["a", "b"]))
    assert path.read_text() == "ab"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_that_fails_half_way_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("before")

    def text() -> Any:
        yield "half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, text())
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ResultsError) as refusal:
        write_atomically(tmp_path / "x.txt", "text")
    assert refusal.value.args == (f"cannot write {tmp_path / 'x.txt'}: No space left on device.",)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "why"),
    [("missing/x.json", "No such file or directory"), ("file/x.json", "Not a directory")],
)
def test_a_path_that_cannot_be_written(where: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError) as refusal:
        write_atomically(tmp_path / where, "text")
    assert refusal.value.args == (
        f"cannot write {tmp_path / where}: {why}. Expected a folder that exists and may be written to.",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="Is a directory"):
        write_atomically(tmp_path, "text")
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


# --- the file -------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results)
    assert read(path) == results
    assert read(str(path))["schema_version"] == SCHEMA_VERSION == 2


def test_the_file_is_strict_json_with_a_result_a_line(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results)
    text = path.read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)  # no NaN, no Infinity
    lines = text.splitlines()
    assert sum('"implementation": "refbp", "verdict"' in line for line in lines) == len(
        results["results"]
    )
    assert text.endswith("}\n")
    assert '"select": "activation=tanh,family=square"' in text


def test_the_blocks_of_the_file(results: Results) -> None:
    assert list(results) == [
        "schema_version", "environment", "profile", "implementations", "families", "cases", "results",
        "known_differences", "summary",
    ]  # fmt: skip
    (row,) = results["implementations"]
    assert (row["name"], row["status"], row["device"], row["cases"]) == ("refbp", "ran", "cpu", 2)
    assert {c["id"] for c in results["cases"]} == {r["case"] for r in results["results"]}
    assert [f["name"] for f in results["families"]] == ["square"]
    assert set(VERDICTS) == {
        "conforms", "deviates", "known-difference", "undecided", "not-run", "error",
    }  # fmt: skip
    assert set(results["summary"]["verdicts"]["refbp"]) == set(VERDICTS)


def test_a_bare_nan_cannot_be_written(results: Results, tmp_path: Path) -> None:
    broken: Any = {**results, "environment": {"seconds": math.nan}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path / "r.json", broken)
    assert list(tmp_path.iterdir()) == []


def test_nothing_at_all_is_still_a_list(results: Results, tmp_path: Path) -> None:
    empty: Any = {**results, "results": []}
    write_results(tmp_path / "r.json", empty)
    assert read(tmp_path / "r.json")["results"] == []


# --- what cannot be read --------------------------------------------------------------------------

MISSING = (
    "expected the results file of a run; missing: cases, environment, families, implementations, "
    "known_differences, profile, results, schema_version, summary."
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "it is not JSON (Expecting value: line 1 column 1 (char 0)).", id="empty"),
        pytest.param(b"\x89PNG\r\n", "it is not UTF-8 text (invalid start byte).", id="binary"),
        pytest.param(b"<html>", "it is not JSON (Expecting value: line 1 column 1 (char 0)).", id="html"),
        pytest.param(b"[]", MISSING, id="list"),
        pytest.param(b"null", MISSING, id="null"),
        pytest.param(b"17", MISSING, id="number"),
        pytest.param(b'{"a": 1}', MISSING, id="another object"),
    ],
)  # fmt: skip
def test_a_file_that_is_none(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError) as refusal:
        read(path)
    assert refusal.value.args == (f"cannot read {path}: {message}",)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "no.json", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ResultsError) as refusal:
            read(path)
        assert refusal.value.args == (f"cannot read {path}: {why}.",)


def test_a_file_that_is_cut_off(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results)
    text = path.read_text(encoding="utf-8")
    for at in (1, len(text) // 2, len(text) - 3):
        path.write_text(text[:at], encoding="utf-8")
        with pytest.raises(ResultsError, match=r"^cannot read .*r\.json: it is not JSON \("):
            read(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[" + "9" * 5000 + "]"], ids=["deep", "long"])
def test_a_file_that_is_too_much(content: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ResultsError, match=r"^cannot read .*r\.json: it is not JSON \("):
        read(path)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_schema_version(results: Results, version: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    other: Any = {**results, "schema_version": version}
    write_results(path, other)
    with pytest.raises(ResultsError) as refusal:
        read(path)
    assert refusal.value.args == (
        f"cannot read {path}: it has schema version {version!r}; this program reads 2. "
        f"Make the file again with `conformance run --json {path}`.",
    )


def test_a_block_that_is_missing(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    less: Any = {k: v for k, v in results.items() if k not in ("summary", "cases")}
    write_results(path, less)
    with pytest.raises(ResultsError) as refusal:
        read(path)
    assert refusal.value.args == (
        f"cannot read {path}: expected the results file of a run; missing: cases, summary.",
    )


# --- twice ----------------------------------------------------------------------------------------


def test_the_same_run_writes_the_same_bytes_but_for_the_environment(
    results: Results, tmp_path: Path
) -> None:
    again = run("standard", ["refbp"], "activation=tanh,family=square", jobs=0)
    assert again["environment"].keys() == results["environment"].keys()
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    write_results(one, {**results, "environment": {}})  # type: ignore[typeddict-item]
    write_results(two, {**again, "environment": {}})  # type: ignore[typeddict-item]
    assert one.read_bytes() == two.read_bytes()
    assert os.path.getsize(one) > 1000  # noqa: PTH202
