"""The results file: numbers without NaN, whole or not there at all, and read or refused in a line."""

from __future__ import annotations

import copy
import gc
import gzip
import json
import math
import os
import random
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_report import _deviate as deviate
from test_report import synthetic

from conformance.commands.diff.compare import compare
from conformance.commands.diff.page import render as render_diff
from conformance.commands.faults.trials import trials
from conformance.commands.main import main
from conformance.judge.runner import run
from conformance.judge.summary import summary
from conformance.model.compact import empty
from conformance.model.contradictions import contradictions
from conformance.model.packed import column, packed
from conformance.model.results import SCHEMA_VERSION, VERDICTS, Record, Results, Trials, number
from conformance.model.results_file import (
    FAULTS,
    RUN,
    WRITERS,
    _lines,
    read,
    read_trials,
    write_results,
)
from conformance.report import render
from conformance.tools.files import FileError, write_atomically, write_json


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
        (sys.float_info.max, sys.float_info.max),  # four digits of it are infinity
        (-sys.float_info.max, -sys.float_info.max),
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
    with pytest.raises(FileError) as refusal:
        write_atomically(tmp_path / "x.txt", "text")
    assert refusal.value.args == (f"cannot write {tmp_path / 'x.txt'}: No space left on device.",)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "why"),
    [("missing/x.json", "No such file or directory"), ("file/x.json", "Not a directory")],
)
def test_a_path_that_cannot_be_written(where: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as refusal:
        write_atomically(tmp_path / where, "text")
    assert refusal.value.args == (
        f"cannot write {tmp_path / where}: {why}. Expected a folder that exists and may be written to.",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Is a directory"):
        write_atomically(tmp_path, "text")
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


# --- in memory ------------------------------------------------------------------------------------


def test_packed_records_are_the_records(whole: Results) -> None:
    for r in whole["results"]:
        records = [*r["records"]]
        found = packed({**r, "records": records})["records"]
        assert found == records == [*found] == found[:]
        assert len(found) == len(records)
        assert [found[i] for i in range(len(found))] == records
        assert bool(found) == bool(records)
        for key in Record.__annotations__:
            values: list[Any] = [x[key] for x in records]  # type: ignore[literal-required]
            assert column(found, key) == column(records, key) == values
        assert [*map(type, column(found, "ratio"))] == [*map(type, column(records, "ratio"))]
        assert packed({**r, "records": found})["records"] is found


def test_packed_records_are_no_others(results: Results) -> None:
    found = packed(results["results"][0])["records"]
    assert found != [*found][1:]
    assert found != [*found[:-1], {**found[-1], "layer": 9}]
    assert found != 3


# --- the file -------------------------------------------------------------------------------------


def alike(one: Results, other: Results) -> None:
    """They are equal, but for the errors of records: those have three digits or so."""
    one, other = copy.deepcopy(one), copy.deepcopy(other)
    for r, s in zip(one["results"], other["results"], strict=True):
        r["records"], s["records"] = [*r["records"]], [*s["records"]]
        for a, b in zip(r["records"], s["records"], strict=True):
            was, now = float(a.pop("error")), float(b.pop("error"))  # type: ignore[misc]
            assert now == pytest.approx(was, rel=3e-3, abs=0, nan_ok=True)
    assert one == other


def test_what_is_written_is_read_again(results: Results, tmp_path: Path) -> None:
    path, again = tmp_path / "r.json", tmp_path / "again.json"
    write_results(path, results)
    alike(read(path), results)
    assert read(str(path))["schema_version"] == SCHEMA_VERSION == 3
    write_results(again, read(path))
    assert again.read_bytes() == path.read_bytes()


def test_whatever_may_be_in_a_result_is_read_again(whole: Results, tmp_path: Path) -> None:
    """All verdicts, names that attack, what is not finite, errors that do not follow, strange indices."""
    for found in (whole, summed(synthetic(30))):
        write_results(tmp_path / "r.json", found)
        alike(read(tmp_path / "r.json"), found)
    rng = random.Random(0)
    sizes = [0.0, 5e-324, 1.234e-300, 0.3333, 1.7e308, "inf", "nan"]
    for _ in range(20):
        found = copy.deepcopy(whole)
        for r in found["results"]:
            r["verdict"], r["first_deviation"], r["worst"], r["blame"] = "deviates", None, None, []
            for record in r["records"]:
                if rng.random() < 0.1:
                    record |= {
                        key: rng.choice(sizes) for key in ("error", "tolerance", "ratio", "ulps")
                    }
                    record["index"] = rng.choice([[], [3], [0, 10**6], [5, 0], [1, 2, 3]])
        write_results(tmp_path / "r.json", summed(found))
        alike(read(tmp_path / "r.json"), summed(found))


def test_the_worst_of_the_gate_repeat_is_read_again(whole: Results, tmp_path: Path) -> None:
    """Its record is of all quantities, and its worst element of one."""
    found: Any = copy.deepcopy(whole)
    r = found["results"][0]
    r["records"][-1] |= {"error": 2.0, "ratio": "inf", "index": [3, 2]}
    r["worst"] |= {**r["records"][-1], "quantity": "dW", "layer": 1}
    del r["worst"]["ulps"]
    r["first_deviation"], r["verdict"] = {**r["worst"]}, "deviates"
    write_results(tmp_path / "r.json", summed(found))
    alike(read(tmp_path / "r.json"), summed(found))


def test_a_file_of_version_2_is_read() -> None:
    """As a program wrote it that had no other version: a network of two layers, right and wrong."""
    found = read(V2)
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["results"] == json.loads(V2.read_text("utf-8"))["results"]
    right, wrong = found["results"]
    assert (right["verdict"], len(right["records"])) == ("conforms", 29)
    assert (wrong["verdict"], wrong["blame"]) == ("deviates", [{"quantity": "delta", "layer": 1}])
    assert compare(found, found)["exit_code"] == 0
    assert render(found).endswith("</html>")


def test_a_record_is_small(tmp_path: Path) -> None:
    """So that `standard`, with its 233,000 records, is less than 8 MB."""
    found = run("quick", ["refbp"], "family=typical,dtype=float32", jobs=0)
    write_results(tmp_path / "r.json", found)
    lines = (tmp_path / "r.json").read_bytes().splitlines()
    records = sum(len(r["records"]) for r in found["results"])
    assert records > 500
    assert sum(len(line) for line in lines if line.startswith(b'{"case"')) < 40 * records


def write_summary(path: Path, results: Results) -> None:
    write_json(path, results["summary"])


@pytest.mark.parametrize("writer", [write_results, write_summary])
def test_a_name_that_ends_in_gz_is_compressed(
    writer: Callable[..., None], results: Results, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "r.json", tmp_path / "r.json.gz"
    for path in (plain, packed):
        writer(path, results)
    was = packed.read_bytes()
    assert gzip.decompress(was) == plain.read_bytes()
    writer(packed, results)
    assert packed.read_bytes() == was
    if writer is write_results:
        assert read(packed) == read(plain)


def test_every_command_reads_and_writes_gz(tmp_path: Path) -> None:
    faults, results, html = (tmp_path / name for name in ("f.json.gz", "r.json.gz", "r.html"))
    few = ["--select", "family=integers,depth=1", "--jobs", "0"]
    for arguments in (
        ["faults", "--fault", "sign-flipped", "--json", faults, *few],
        ["run", "--profile", "quick", *few, "--implementation", "refbp", "--json", results,
         "--faults", faults],
        ["report", results, "--html", html],
        ["diff", results, results, "--json", tmp_path / "d.json.gz"],
    ):  # fmt: skip
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
    assert read(results)["faults"] == read_trials(faults)
    assert json.loads(gzip.decompress((tmp_path / "d.json.gz").read_bytes()))["changes"] == []


def test_what_only_says_that_it_is_gzip(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json.gz"
    write_results(path, results)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content in (b"{}", whole[:-9], whole[: len(whole) // 2], bytes(damaged)):
        path.write_bytes(content)
        assert refusal(path) == (
            "it is not gzip, or cut off; expected what its ending .gz says. "
            + AGAIN.format(path=path)
        )


def test_the_file_is_strict_json_with_a_result_a_line(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results)
    text = path.read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)  # no NaN, no Infinity
    lines = text.splitlines()
    assert sum('"implementation":"refbp","verdict"' in line for line in lines) == len(
        results["results"]
    )
    assert text.endswith("}\n")
    assert '"select":"activation=tanh,family=square"' in text


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
        "conforms", "deviates", "known-difference", "inaccurate", "undecided", "not-run", "error",
    }  # fmt: skip
    assert set(results["summary"]["verdicts"]["refbp"]) == set(VERDICTS)


def test_a_bare_nan_cannot_be_written(results: Results, tmp_path: Path) -> None:
    broken: Any = {**results, "environment": {"seconds": math.nan}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results(tmp_path / "r.json", broken)
    assert list(tmp_path.iterdir()) == []


def test_nothing_at_all_is_still_a_list(results: Results, tmp_path: Path) -> None:
    empty: Any = {**results, "results": []}
    write_results(tmp_path / "r.json", summed(empty))
    assert read(tmp_path / "r.json")["results"] == []


# --- reading: a file that is none -----------------------------------------------------------------

AGAIN = "Write it again with `conformance run --json {path}`."
OURS = "expected what `{}` writes: name such a file, or write one."


def refusal(path: Path, reader: Callable[[Path], Any] = read) -> str:
    """What is said of a file, after its name."""
    with pytest.raises(FileError) as found:
        reader(path)
    (said,) = found.value.args
    assert "\n" not in said
    assert len(said) < 500
    return str(said).removeprefix(f"cannot read {path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "it is empty; expected JSON.", id="empty"),
        pytest.param(b" \n", "it is empty; expected JSON.", id="blank"),
        pytest.param(b"{\n\x89PNG", "it is not UTF-8 text, in line 2; expected JSON.", id="binary"),
        pytest.param(b"\xff\xfe{\0", "it is not UTF-8 text, in line 1; expected JSON.", id="UTF-16"),
        pytest.param(b"<a>", "it is not JSON, from line 1, column 1 on; expected JSON.", id="html"),
        pytest.param(b"{\n x}", "it is not JSON, from line 2, column 2 on; expected JSON.", id="word"),
        pytest.param(b"{}\n{}", "it is not JSON, from line 2, column 1 on; expected JSON.", id="two"),
        pytest.param(b"[\n1,", "it is cut off at its end, line 2; expected JSON.", id="cut"),
        pytest.param(b'{"a": "b}', "it is cut off at its end, line 1; expected JSON.", id="cut }"),
        pytest.param(
            b"[" * 100_000, "it is too deep, lists within lists; expected a few levels.", id="deep"
        ),
        pytest.param(
            b"[%s]" % (b"9" * 5000), "it has a number of thousands of digits; expected fewer.", id="long"
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_no_json(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    assert refusal(path) == f"{message} {AGAIN.format(path=path)}"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[]", "a list"),
        ("null", "null"),
        ("17", "17"),
        ('"text\\u202e"', '"text\\u202e"'),
        ("{}", "JSON of another kind"),
        ('{"schema_version": 2, "a": 1}', "JSON of another kind"),
    ],
)
def test_a_file_of_something_else(content: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    assert refusal(path) == f"it is {what}; {OURS.format(RUN)}"


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(tmp_path / "no.json") == "No such file or directory."
    assert refusal(tmp_path) == "Is a directory."

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert refusal(tmp_path / "r.json") == "Permission denied."


def test_a_file_that_is_cut_off(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results)
    text = path.read_text(encoding="utf-8").rstrip()
    for at in (*range(1, 60), *range(60, len(text), 97), len(text) - 1):
        path.write_text(text[:at], encoding="utf-8")
        line = text[:at].rstrip().count("\n") + 1
        assert refusal(path).startswith(f"it is cut off at its end, line {line}; expected JSON."), (
            at
        )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "0"),
        (4, "4, of a later program than this"),
        ("1", '"1"'),
        (None, "null"),
        (True, "true"),
        (2.0, "2.0"),
        ([2], "a list"),
    ],
)
def test_another_schema_version(results: Results, version: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, {**results, "schema_version": version})
    expected = f"schema_version is {said}; expected 1, 2 or 3. {AGAIN.format(path=path)}"
    assert refusal(path) == expected
    less: Any = {k: v for k, v in results.items() if k != "schema_version"}
    write_results(path, less)
    assert refusal(path).startswith("schema_version is missing; expected 1, 2 or 3.")


def test_the_other_files_of_this_project_are_told_by_their_keys() -> None:
    """Every kind has keys that no other has all of; the types say so, so that none can change unseen."""
    from conformance.commands.activation.check import Check
    from conformance.commands.diff.compare import Diff
    from conformance.commands.grading.grade import Grade
    from conformance.commands.vectors.files import Index

    types: dict[str, Any] = {
        RUN: Results, FAULTS: Trials, "conformance activation --json": Check,
        "conformance diff --json": Diff, "conformance grade --to json": Grade,
        "conformance vectors export": Index,
    }  # fmt: skip
    kinds = {command: set(type_.__annotations__) for command, type_ in types.items()}
    kinds["conformance audit --to json"] = set(
        json.loads(CliRunner().invoke(main, ["audit", "--to", "json"]).stdout)
    )
    assert kinds.keys() == WRITERS.keys()
    for command, keys in kinds.items():
        assert [w for w, own in WRITERS.items() if set(own) <= keys] == [command]


@pytest.mark.parametrize("writer", WRITERS)
def test_another_file_of_this_project(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({key: [] for key in WRITERS[writer]}))
    for reader, own in ((read, RUN), (read_trials, FAULTS)):
        if writer != own:
            assert refusal(path, reader) == f"it is what `{writer}` writes; {OURS.format(own)}"


# --- reading: what is in it -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Results:
    """Something of everything: all verdicts but error, a deviation with its diagnosis, planted faults."""
    found: Any = synthetic(4, hostile=False)
    deviate(next(r for r in found["results"] if r["implementation"] == "torch-cpu"), 0, 250.0)
    found["faults"] = trials("quick", "family=integers", ["sign-flipped"], dials=False, jobs=0)
    dial = {"dial": "d", "dtype": "float64", "gate": "step", "case": "c", "smallest": 1e-15}
    found["faults"]["dials"] = [{**dial, "curve": [[1e-17, 0.5], [1e-15, "inf"]]}]
    return summed(found)


def version_2(found: Results) -> Any:
    results = [{**r, "records": [*r["records"]]} for r in found["results"]]
    return {**found, "results": results, "schema_version": 2}


def version_3(found: Results) -> Any:
    """The result that deviates first."""
    results = sorted(found["results"], key=lambda r: not r["blame"])
    return json.loads("".join(_lines({**found, "results": results})))


def write_changed(found: Any, path: Path, value: Any, *at: str | int) -> Path:
    copied = copy.deepcopy(found)
    within = copied
    for step in at[:-1]:
        within = within[step]
    if value is GONE:
        del within[at[-1]]
    else:
        within[at[-1]] = value
    path.write_text(json.dumps(copied), encoding="utf-8")
    return path


@pytest.fixture
def changed(whole: Results, tmp_path: Path) -> Callable[..., Path]:
    """A file of version 2 with one thing in it changed: `changed(value, "results", 0, "case")`."""
    return partial(write_changed, version_2(whole), tmp_path / "r.json")


@pytest.fixture
def compacted(whole: Results, tmp_path: Path) -> Callable[..., Path]:
    """The same of version 3."""
    return partial(write_changed, version_3(whole), tmp_path / "r.json")


GONE = object()
V2 = Path(__file__).with_name("results_v2.json")
VERSIONS = pytest.mark.parametrize("version", [version_2, version_3])
Place = tuple[str | int, ...]


def places(x: Any, at: Place = ()) -> Iterator[Place]:
    """Everything in a file but the file itself; of a list, the first and the last."""
    if at:
        yield at
    if isinstance(x, dict):
        for key in x:
            yield from places(x[key], (*at, key))
    elif isinstance(x, list):
        for i in sorted({0, len(x) - 1} if x else ()):
            yield from places(x[i], (*at, i))


def said(at: Place) -> str:
    steps = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in at)
    return steps.removeprefix(".")


@pytest.mark.slow
@VERSIONS
def test_whatever_is_of_another_kind_is_refused_where_it_stands(
    version: Callable[[Results], Any], whole: Results, tmp_path: Path
) -> None:
    """Every field of every type: the walk has no list of them."""
    tried, found = 0, version(whole)
    for at in places(found):
        if "environment" in at[:-1] or at == ("schema_version",):
            continue  # of which nothing is said
        or_null = at[0] == "results" and at[-1] in ("first_deviation", "worst")
        wrong: Any = [None] if or_null else None
        assert refusal(write_changed(found, tmp_path / "r.json", wrong, *at)).startswith(
            f"{said(at)} is {'a list' if wrong else 'null'}"
        )
        tried += 1
    assert tried > 250


@VERSIONS
def test_whatever_is_missing_is_refused_where_it_was(
    version: Callable[[Results], Any], whole: Results, tmp_path: Path
) -> None:
    tried, found = 0, version(whole)
    without = partial(write_changed, found, tmp_path / "r.json", GONE)
    for at in places(found):
        free = {"environment", "versions", "probes", "verdicts", "other"} & set(at[:-1])
        if version is version_3 and at[0] == "results" and at[-1] in (*empty(), "error"):
            continue  # left out where there is nothing to say
        if at[-2:-1] == ("gates",):
            assert refusal(without(*at)).startswith(
                f"{said(at[:-1])} is an object; expected an object of 5."
            )
        elif not isinstance(at[-1], int) and not free and at != ("faults",):
            assert refusal(without(*at)).startswith(f"{said(at)} is missing; expected "), at
            tried += 1
    assert tried > 170
    assert "faults" not in read(without("faults"))


@VERSIONS
def test_what_a_later_program_may_write_is_let_be(
    version: Callable[[Results], Any], whole: Results, tmp_path: Path
) -> None:
    found = version(whole)
    with_ = partial(write_changed, found, tmp_path / "r.json")
    for at in places(found):
        if isinstance(at[-1], int) or at[-1] in ("summary", "profile", "worst", "row"):
            path = with_({**_at(found, at), "new": [math.pi]}, *at) if _is_row(found, at) else None
            assert path is None or read(path)
    assert read(with_("new", "new"))


def _at(x: Any, at: Place) -> Any:
    for step in at:
        x = x[step]
    return x


def _is_row(whole: Any, at: Place) -> bool:
    return isinstance(_at(whole, at), dict)


SIZE = 'expected a number from 0 on, "nan" or "inf".'
NUMBER = 'expected a number, "nan", "inf" or "-inf".'
COUNT = "expected a whole number from 0 on."
POSITIVE = "expected a whole number from 1 on."
FINITE = "expected a finite number."
WHOLE_TEXT = "expected text, without halves of surrogate pairs."
VERDICT = (
    'expected "conforms", "deviates", "known-difference", "inaccurate", "undecided", "not-run" or '
    '"error".'
)
GATE = 'expected "step", "end-to-end", "exact", "row" or "repeat".'
QUANTITY = 'expected "A", "Z", "delta", "dW", "W_new", "loss" or "all".'
RECORD = ("results", 2, "records", 3)


@pytest.mark.parametrize(
    ("value", "at", "message"),
    [
        ("x", (*RECORD, "ratio"), f'is "x"; {SIZE}'),
        (-0.5, (*RECORD, "ratio"), f"is -0.5; {SIZE}"),
        (True, (*RECORD, "ratio"), f"is true; {SIZE}"),
        ("-inf", (*RECORD, "ulps"), f'is "-inf"; {SIZE}'),
        (math.nan, (*RECORD, "error"), f"is NaN; {FINITE}"),
        (10**400, (*RECORD, "tolerance"), f"is 1{'0' * 55} …; {SIZE}"),
        (math.inf, ("results", 2, "worst", "got"), f"is Infinity; {FINITE}"),
        ("+inf", ("results", 2, "worst", "got"), f'is "+inf"; {NUMBER}'),
        (3, ("results", 2, "worst"), "is 3; expected an object or null."),
        (-1, ("results", 2, "straddling"), f"is -1; {COUNT}"),
        (True, ("results", 2, "straddling"), f"is true; {COUNT}"),
        (1.0, ("results", 2, "straddling"), f"is 1.0; {COUNT}"),
        (
            2**53 + 1,
            ("cases", 1, "seed"),
            f"is {2**53 + 1}; expected a whole number of at most 2^53.",
        ),
        (0, ("cases", 1, "batch"), f"is 0; {POSITIVE}"),
        (0, ("cases", 1, "widths", 1), f"is 0; {POSITIVE}"),
        (1, ("cases", 1, "bias"), "is 1; expected true or false."),
        ("pass", ("results", 2, "verdict"), f'is "pass"; {VERDICT}'),
        ("all-round", (*RECORD, "gate"), f'is "all-round"; {GATE}'),
        ("W", (*RECORD, "quantity"), f'is "W"; {QUANTITY}'),
        ("x", ("implementations", 1, "status"), 'is "x"; expected "ran", "not-run" or "error".'),
        (3, ("summary", "exit_code"), "is 3; expected 0, 1 or 2."),
        ({}, ("summary", "message"), "is an object; expected a text."),
        ("a\ud800", ("cases", 1, "why"), f'is "a\\ud800"; {WHOLE_TEXT}'),
        ([], ("faults", "dials", 0, "curve", 1), "is a list; expected a list of 2."),
        (2, ("faults", "schema_version"), "is 2; expected 1."),
        ("X", ("faults", "faults", 0, "where"), 'is "X"; expected "L", "<L", ">1" or "any".'),
        (math.nan, ("environment", "machine", "cores"), f"is NaN; {FINITE}"),
        ("a\ud800", ("environment", "command", 2), f'is "a\\ud800"; {WHOLE_TEXT}'),
    ],
)
def test_a_value_that_does_not_fit(
    value: Any, at: Place, message: str, changed: Callable[..., Path]
) -> None:
    path = changed(value, *at)
    assert refusal(path) == f"{said(at)} {message} {AGAIN.format(path=path)}"


@pytest.mark.parametrize(
    ("value", "at", "message"),
    [
        ("x", ("results", 1, "ratio", 3), f'is "x"; {SIZE}'),
        (-0.5, ("results", 1, "ulps", 0), f"is -0.5; {SIZE}"),
        (
            [1.0] * 3,
            ("results", 1, "tolerance"),
            "is a list of 3; expected {length}, as its layout has.",
        ),
        ([], ("results", 1, "error"), "is a list of 0; expected {length}, as its layout has."),
        (-1, ("results", 1, "index", 2), "is -1; expected a whole number from 0 on or a list."),
        ([0, -1], ("results", 1, "index", 2), "[1] is -1; expected a whole number from 0 on."),
        (
            99,
            ("results", 1, "layout"),
            "is 99; expected less than {layouts}, as many as there are.",
        ),
        (
            99,
            ("results", 1, "worst", "record"),
            "is 99; expected less than {length}, as many as there are.",
        ),
        ("all", ("layouts", 0, 1, 2), f'is "all"; {GATE}'),
        (["A", 1], ("layouts", 0, 1), "is a list; expected a list of 3."),
        ("0x1p+1", ("results", 0, "first_deviation", "got"), f'is "0x1p+1"; {NUMBER}'),
    ],
)
def test_a_value_that_does_not_fit_in_version_3(
    value: Any, at: Place, message: str, compacted: Callable[..., Path], whole: Results
) -> None:
    path, found = compacted(value, *at), version_3(whole)
    message = message.format(
        layouts=len(found["layouts"]), length=len(found["results"][1]["ratio"])
    )
    between = "" if message.startswith("[") else " "
    assert refusal(path) == f"{said(at)}{between}{message} {AGAIN.format(path=path)}"


def test_columns_may_contradict_too(compacted: Callable[..., Path], whole: Results) -> None:
    layer = ("layouts", version_3(whole)["results"][1]["layout"], 1, 1)
    for value, at, message in (
        (1.5, ("results", 1, "ratio", 1), "is 1.5; expected at most 1, as its verdict is conforms."),
        (2, layer, "is 2; expected at most 1, its case's depth."),
        ("no", ("results", 1, "case"), 'is "no"; expected the id of one of the cases.'),
    ):  # fmt: skip
        assert message in refusal(compacted(value, *at))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("pass", 'a key of summary.verdicts.refbp is "pass"; expected "error", "deviates"'),
        ("deviates", 'summary.verdicts.refbp.deviates is "1"; expected a whole number from 0 on.'),
    ],
)
def test_a_key_that_does_not_fit(key: str, message: str, changed: Callable[..., Path]) -> None:
    assert refusal(changed({key: "1"}, "summary", "verdicts", "refbp")).startswith(message)


def test_a_key_is_written_so_that_it_reads(changed: Callable[..., Path]) -> None:
    path = changed({"a b\n\u202e": {"conforms": None}}, "summary", "verdicts")
    assert refusal(path).startswith('summary.verdicts["a b\\n\\u202e"].conforms is null; expected ')


def test_an_environment_that_is_too_deep(changed: Callable[..., Path]) -> None:
    deep: Any = "end"
    for _ in range(20):
        deep = {"a": deep}
    assert read(changed({"b": deep}, "environment"))
    deep, where = {"a": deep}, f"environment.b{'.a' * 21}"
    expected = f'{where} is "end"; expected at most 20 lists and objects within each other.'
    assert refusal(changed({"b": deep}, "environment")).startswith(expected)


def test_a_key_that_is_torn(changed: Callable[..., Path]) -> None:
    torn = {"a\ud800": 1}
    for value, where in ((torn, "environment"), ({"b": [torn]}, "environment.b[0]")):
        said = refusal(changed(value, "environment"))
        assert said.startswith(f'a key of {where} is "a\\ud800"; {WHOLE_TEXT}')


def test_a_whole_number_is_a_number(changed: Callable[..., Path]) -> None:
    """Other writers of JSON write 1 for 1.0."""
    path = changed(0, "results", 0, "records", 0, "error")
    assert read(path)["results"][0]["records"][0]["error"] == 0


def test_version_1_is_read(whole: Results, tmp_path: Path) -> None:
    first: Any = copy.deepcopy(whole)
    first["schema_version"] = 1
    for r in first["results"]:
        for key in ("not_returned", "blame", "diagnosis"):
            del r[key]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(first))
    assert read(path)["schema_version"] == SCHEMA_VERSION
    assert {len(r["blame"]) for r in read(path)["results"]} == {0}
    for broken in ("x", {}, [1]):
        path.write_text(json.dumps({**first, "results": broken}))
        assert refusal(path).startswith("results")


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_as_it_was(on: bool, whole: Results, tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", whole)
    before = gc.isenabled()  # a command that ran in this process may have switched it off
    try:
        (gc.enable if on else gc.disable)()
        read(tmp_path / "r.json")
        refusal(tmp_path / "no.json")
        assert gc.isenabled() == on
    finally:
        (gc.enable if before else gc.disable)()


# --- reading: what contradicts itself -------------------------------------------------------------


def again(part: str, at: int) -> Callable[[Any], None]:
    """A row once more."""
    return lambda within: within[part].append(within[part][at])


ANSWER = 'summary has the verdict "{}" and exit code 0; expected "error" and 2, by the results.'
PLANTED = "faults.exit_code is 0; expected {}, by its faults and false alarms."
DEPTH = "layer is 2; expected at most 1, its case's depth."
DEEP = {"quantity": "A", "layer": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (again("results", 3), "results[20] has the implementation and case of results[3]; {once}"),
        (again("cases", 3), "cases[4] has the id of cases[3]; {once}"),
        (again("implementations", 0), "implementations[7] has the name of implementations[0]; {once}"),
        (again("families", 0), "families[6] has the name of families[0]; {once}"),
        (again("known_differences", 1), "known_differences[3] has the id of known_differences[1]; {once}"),
        (lambda w: again("faults", 0)(w["faults"]),
         "faults.faults[1] has the name of faults.faults[0]; {once}"),
        (lambda w: again("worst", 0)(w["summary"]),
         "summary.worst[{worst}] has the gate and implementation of summary.worst[0]; {once}"),
        (lambda w: w["results"][3].update(case="no"),
         'results[3].case is "no"; expected the id of one of the cases.'),
        (lambda w: w["results"][3].update(implementation="no"),
         'results[3].implementation is "no"; expected the name of an implementation.'),
        (lambda w: w["profile"].update(cases=3), "profile.cases is 3; expected {cases}, as there are."),
        (lambda w: w["results"][3]["records"][1].update(ratio=1.5),
         "results[3].records[1].ratio is 1.5; expected at most 1, as its verdict is conforms."),
        (lambda w: w["results"][3].update(blame=[{"quantity": "A", "layer": 1}]),
         "results[3] has a first deviation, or something to blame; expected none, as it conforms."),
        (lambda w: w["results"][3]["worst"].update(ratio=1e-5),
         "results[3].worst.ratio is 1e-05; expected {own:g}, the largest of its records."),
        (lambda w: w["cases"][3]["widths"].pop(),
         "cases[3].widths is a list of 1; expected 2, for its depth."),
        (lambda w: w["cases"][3].update(depth=10**9),
         "cases[3].widths is a list of 2; expected 1000000001, for its depth."),
        (lambda w: w["results"][3]["records"][1].update(layer=2), f"results[3].records[1].{DEPTH}"),
        (lambda w: w["results"][3]["worst"].update(layer=2), f"results[3].worst.{DEPTH}"),
        (lambda w: w["results"][4]["first_deviation"].update(layer=2),
         f"results[4].first_deviation.{DEPTH}"),
        (lambda w: w["results"][4].update(blame=[DEEP]), f"results[4].blame[0].{DEPTH}"),
        (lambda w: w["results"][4]["diagnosis"][0].update(steps=[DEEP]),
         f"results[4].diagnosis[0].steps[0].{DEPTH}"),
        (lambda w: w["summary"]["verdicts"]["torch-cpu"].update(deviates=0),
         'summary.verdicts has 0 deviates of "torch-cpu"; expected 1, as the results.'),
        (lambda w: w["summary"]["verdicts"].pop("refbp"),
         'summary.verdicts has 0 conforms of "refbp"; expected 4, as the results.'),
        (lambda w: w["summary"]["verdicts"].update(ghost={"conforms": 4}),
         'summary.verdicts has 4 conforms of "ghost"; expected 0, as the results.'),
        (lambda w: w["summary"].update(verdict="conforms", exit_code=0), ANSWER.format("conforms")),
        (lambda w: w["summary"].update(exit_code=0), ANSWER.format("error")),
        (lambda w: w["summary"]["worst"][0].update(ratio=0.5),
         'summary.worst[0].ratio is 0.5; expected {largest}, the largest ratio of "refbp" at the gate step.'),
        (lambda w: w["summary"]["worst"].pop(0),
         'summary.worst has no row of "refbp" at the gate step; expected one.'),
        (lambda w: w["summary"]["worst"][0].update(implementation="torch-cuda"),
         'summary.worst[0] is of "torch-cuda" at the gate step; expected none, as there are no records '
         "of it."),
        (lambda w: w["faults"]["false_alarms"].append("c"), PLANTED.format(1)),
        (lambda w: w["faults"]["faults"][0].update(verdict="survives"), PLANTED.format(1)),
        (lambda w: w["faults"]["faults"][0].update(verdict="not shown"), PLANTED.format(2)),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself(
    change: Callable[[Any], Any], message: str, whole: Results, tmp_path: Path
) -> None:
    path, wrong = tmp_path / "r.json", copy.deepcopy(whole)
    worst = whole["summary"]["worst"]
    change(wrong)
    path.write_text(json.dumps(version_2(wrong)))
    message = message.format(
        largest=worst[0]["ratio"],
        worst=len(worst),
        once="expected each once.",
        cases=len(whole["cases"]),
        own=whole["results"][3]["worst"]["ratio"],
    )
    assert refusal(path) == f"{message} {AGAIN.format(path=path)}"


def test_a_ratio_that_is_no_number_does_not_contradict(whole: Results, tmp_path: Path) -> None:
    for at in (0, 3):
        for ratio in ("nan", "inf", 10**30):
            found: Any = copy.deepcopy(whole)
            row = found["results"][at]
            row["records"][0]["ratio"] = ratio
            row["verdict"] = "deviates"
            row["worst"] = row["worst"] and {**row["worst"], "ratio": ratio}
            (tmp_path / "r.json").write_text(json.dumps(version_2(summed(found))))
            assert read(tmp_path / "r.json")


def test_zeros_may_be_left_out_of_the_counts(whole: Results, tmp_path: Path) -> None:
    less: Any = copy.deepcopy(whole)
    counts = less["summary"]["verdicts"]
    for name, of in counts.items():
        counts[name] = {verdict: n for verdict, n in of.items() if n}
    write_results(tmp_path / "r.json", less)
    assert read(tmp_path / "r.json")


STATES = [
    [("ran", found)]
    for n in range(4)
    for found in combinations_with_replacement(VERDICTS, n)
] + [
    [("ran", first), (status, second)]
    for first in (("conforms",), ("error",), ("not-run",), ("undecided", "conforms"))
    for status, second in (
        ("not-run", ()), ("not-run", ("error",)), ("error", ()), ("ran", ("error", "not-run")),
        ("ran", ("deviates",)),
    )
]  # fmt: skip


@pytest.mark.parametrize("stale", [False, True])
def test_the_answer_is_the_runs_or_worse(whole: Results, stale: bool) -> None:
    """Of every verdict and exit code those are read that `summary` gives, whoever was asked for by name,
    exit code 2, which is for what does not stand in the results, and 1 where an older one gave it."""
    for state in STATES:
        found: Any = copy.deepcopy({**whole, "results": [], "implementations": []})
        found["known_differences"][1]["status"] = "stale" if stale else "not-run"
        for n, (status, verdicts) in enumerate(state):
            row = {**whole["implementations"][0], "name": f"i{n}", "status": status}
            found["implementations"].append(row)
            for case, verdict in zip(whole["cases"], verdicts, strict=False):
                plain = {**whole["results"][0], "records": [], "worst": None, "verdict": verdict}
                found["results"].append({**plain, "implementation": f"i{n}", "case": case["id"]})
        answers = set()
        for asked in (False, True):
            found["summary"] = _summary(found, asked)
            answers.add((found["summary"]["verdict"], found["summary"]["exit_code"]))
            if not asked:
                (least,) = answers
        taken = {
            (verdict, code)
            for verdict in VERDICTS
            for code in (0, 1, 2)
            if not list(contradictions(_with_answer(found, verdict, code)))
        }
        assert answers <= taken, state
        worse = "not-run" if least[1] == 0 else least[0]
        errors = sum(r["verdict"] == "error" for r in found["results"])
        older = {("error" if errors else "deviates", 1)} if errors or stale else set()
        assert taken == {least, (worse, 2)} | older, state


def _summary(found: Results, asked: bool) -> Any:
    rows = found["implementations"]
    names = [row["name"] for row in rows] if asked else []
    return summary(rows, found["results"], found["known_differences"], names)


def _with_answer(found: Results, verdict: str, code: int) -> Any:
    return {**found, "summary": {**found["summary"], "verdict": verdict, "exit_code": code}}


def summed(found: Results) -> Results:
    """With the summary that follows."""
    return {**found, "summary": _summary(found, asked=False)}


# --- reading: whoever reads -----------------------------------------------------------------------


def test_planted_faults_are_read_as_strictly(whole: Results, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    planted: Any = whole["faults"]
    path.write_text(json.dumps(planted))
    assert read_trials(path) == planted
    again = f"Write it again with `conformance faults --json {path}`."
    row = planted["faults"][0]
    for change, message in (
        ({"cases": "4"}, 'cases is "4"; expected a whole number from 0 on.'),
        ({"faults": [{**row, "caught": -1}]}, "faults[0].caught is -1; expected a whole number from 0 on."),
        ({"faults": [row, row]}, "faults[1] has the name of faults[0]; expected each once."),
        ({"exit_code": 2}, "exit_code is 2; expected 0, by its faults and false alarms."),
        ({"schema_version": 2}, "schema_version is 2, of a later program than this; expected 1."),
    ):  # fmt: skip
        path.write_text(json.dumps({**planted, **change}))
        assert refusal(path, read_trials) == f"{message} {again}"
    path.write_bytes(b"{\xff")
    assert refusal(path, read_trials) == f"it is not UTF-8 text, in line 1; expected JSON. {again}"


def test_every_command_says_it_in_one_sentence(
    changed: Callable[..., Path], tmp_path: Path
) -> None:
    bad, html = changed(None, "cases", 0, "id"), tmp_path / "r.html"
    good, planted = tmp_path / "good.json", tmp_path / "f.json"
    write_results(good, summed(synthetic(12, hostile=False)))
    planted.write_text(json.dumps({"schema_version": 1, "faults": []}))
    said = f"conformance: cannot read {bad}: cases[0].id is null; expected a text. {AGAIN.format(path=bad)}\n"
    for arguments, expected in (
        (["report", bad, "--html", html], said),
        (["diff", good, bad, "--html", html], said),
        (["diff", bad, good, "--html", html], said),
        (["run", "--faults", planted, "--report", html],
         f"conformance: cannot read {planted}: environment is missing; expected an object. "
         f"Write it again with `conformance faults --json {planted}`.\n"),
    ):  # fmt: skip
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        assert (done.exit_code, done.stderr) == (2, expected)
        assert not html.exists()


STRANGE: tuple[Any, ...] = (
    GONE, None, True, 0, 1, -1, 2**53, 10**400, 0.5, 1e308, 5e-324, math.nan, math.inf, "", "x", "nan",
    "-inf", "\u202e<b>", "\ud800", "error", "not-run", [], [None], [[]], {}, {"a": 1}, {"a": None},
)  # fmt: skip


@pytest.mark.slow
def test_what_is_read_can_be_shown(whole: Results, changed: Callable[..., Path]) -> None:
    """One thing at a time is replaced by something strange: it is refused, or every page is made of it."""
    every = [(at, value) for at in places(whole) for value in STRANGE]
    shown = 0
    for at, value in random.Random(0).sample(every, 300):
        path = changed(value, *at)
        try:
            found = read(path)
        except FileError:
            continue
        shown += 1
        assert render(found).endswith("</html>")
        for old, new in ((whole, found), (found, whole)):
            with suppress(FileError):  # of two that have nothing in common
                d = compare(old, new)
                assert render_diff(d).endswith("</html>")
                json.dumps(d, allow_nan=False, ensure_ascii=False).encode()
    assert 30 < shown < 150


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
