"""Reads and writes the results file: JSON, one result a line. A file that does not fit the types is refused.

Keys that the types do not name are ignored, since a later program may write more. Everything else must fit,
and the parts must not contradict each other. Version 3 has the records in columns (`compact.py`); version 2
had them as they are in memory.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from conformance.model.compact import Compact, compact, empty, expanded
from conformance.model.contradictions import contradictions, of_trials
from conformance.model.results import SCHEMA_VERSION, TRIALS_VERSION, Results, Trials
from conformance.tools.files import FileError, contents, write_atomically
from conformance.tools.trouble import MisfitError
from conformance.tools.typed import as_json, fitting, outline

__all__ = ["read", "read_trials", "write_results"]

T = TypeVar("T")


def _lines(results: Results) -> Iterator[str]:
    """The parts of a JSON text with one result a line, so that a diff of two runs can be read."""
    before = "{"
    for key, value in compact(results):
        yield f"{before}\n{_json(key)}: "
        before = ","
        if isinstance(value, list | Iterator):
            begin = "[\n"
            for row in value:
                yield begin + _json(row)
                begin = ",\n"
            yield "\n]" if begin == ",\n" else "[]"
        else:
            yield _json(value)
    yield "\n}\n"


def _json(x: Any) -> str:
    return json.dumps(x, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def write_results(path: str | Path, results: Results) -> None:
    """Write results as JSON: no bare NaN, atomically. Raises FileError."""
    write_atomically(path, _lines(results))


RUN, FAULTS = "conformance run --json", "conformance faults --json"
WRITERS: dict[str, tuple[str, ...]] = {
    RUN: ("implementations", "cases", "results", "summary"),
    FAULTS: ("false_alarms", "faults", "dials"),
    "conformance activation --json": ("ways", "findings", "kinks"),
    "conformance diff --json": ("old", "new", "changes"),
    "conformance audit --to json": ("format", "networks", "equations"),
    "conformance grade --to json": ("tests", "max_score", "networks"),
    "conformance vectors export": ("format", "problems", "files"),
}
"""The commands that write JSON, with keys that only that command's files have all of: they identify a file
that was written by another command."""


def read(path: str | Path) -> Results:
    """Read a results file. Raises FileError, in one line, unless it is complete, fits the types and does not
    contradict itself."""
    return _read(path, RUN, (1, 2, SCHEMA_VERSION), _results, contradictions)


def read_trials(path: str | Path) -> Trials:
    """Read what `conformance faults --json` wrote, with the same checks. Raises FileError."""
    return _read(path, FAULTS, (TRIALS_VERSION,), lambda data: fitting(data, Trials), of_trials)


def _results(data: dict[str, Any]) -> Results:
    """The results in a file of any version. Version 1 had no blame and no diagnosis, and its traces left
    nothing out."""
    rows = data.get("results")
    if data["schema_version"] == SCHEMA_VERSION:
        if not isinstance(rows, Iterator):
            fitting(data, Compact)  # raises what is wrong
        return expanded(fitting({**data, "results": []}, Compact), rows or ())
    if isinstance(rows, Iterator):
        first = data["schema_version"] == 1
        data["results"] = [{**empty(), **r} if first and isinstance(r, dict) else r for r in rows]
    return {**fitting(data, Results), "schema_version": SCHEMA_VERSION}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: a tree of a million values has no cycle, and the collector would walk it
    again and again."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@_uncollected()
def _read(
    path: str | Path,
    command: str,
    versions: tuple[int, ...],
    held: Callable[[dict[str, Any]], T],
    contradicted: Callable[[T], Iterable[str]],
) -> T:
    try:
        data = outline(contents(Path(path)), "results")
        if other := _of_another(data, command):
            expected = f"expected what `{command}` writes: name such a file, or write one."
            raise FileError(f"cannot read {path}: {other}; {expected}")
        _must_be_version(data, versions)
        found = held(data)
        for wrong in contradicted(found):
            raise MisfitError(wrong)
    except OSError as e:
        raise FileError(f"cannot read {path}: {e.strerror or e}.") from e
    except MisfitError as e:
        again = f"Write it again with `{command} {path}`."
        raise FileError(f"cannot read {path}: {e} {again}") from e
    return found


def _of_another(data: Any, command: str) -> str:
    """What a file is that `command` did not write; "" for a file that it may have written."""
    if not isinstance(data, dict):
        return f"it is {as_json(data)}"
    for writer, keys in WRITERS.items():
        if all(key in data for key in keys):
            return "" if writer == command else f"it is what `{writer}` writes"
    return "" if any(key in data for key in WRITERS[command]) else "it is JSON of another kind"


def _must_be_version(data: dict[str, Any], versions: tuple[int, ...]) -> None:
    *others, last = map(str, versions)
    expected = f"expected {', '.join(others)} or {last}" if others else f"expected {last}"
    if "schema_version" not in data:
        raise MisfitError(f"schema_version is missing; {expected}.")
    version = data["schema_version"]
    if type(version) is not int or version not in versions:
        later = type(version) is int and version > versions[-1]
        whose = ", of a later program than this" if later else ""
        raise MisfitError(f"schema_version is {as_json(version)}{whose}; {expected}.")
