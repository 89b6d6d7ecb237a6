"""The results file, read and written: JSON, one result a line, and refused where it is not as the types say.

Keys that the types do not name are passed over, since a later program may write more. Everything else must
be as they have it, and the parts must not contradict each other.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformance.model.contradictions import contradictions, of_trials
from conformance.model.results import SCHEMA_VERSION, TRIALS_VERSION, Results, Trials
from conformance.tools.files import FileError, write_atomically
from conformance.tools.typed import MisfitError, as_json, hold

__all__ = ["read", "read_trials", "write_results"]


def _lines(results: Results) -> Iterable[str]:
    """Valid JSON, one result a line, so that a diff of two runs reads."""
    parts = []
    for key, value in results.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, allow_nan=False, ensure_ascii=False) for row in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]" if value else f"{json.dumps(key)}: []")
        else:
            parts.append(
                f"{json.dumps(key)}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}"
            )
    yield "{\n"
    yield ",\n".join(parts)
    yield "\n}\n"


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
"""The commands that write JSON, and keys that no other has all of: whose file it is, when it is not ours."""


def read(path: str | Path) -> Results:
    """Read a results file: whole, as the types have it, and without a contradiction. Raises FileError,
    in one line, for whatever is wrong with it."""
    found: Results = _read(path, RUN, Results, (1, SCHEMA_VERSION), _upgrade, contradictions)
    return found


def read_trials(path: str | Path) -> Trials:
    """Read what `conformance faults --json` wrote, as strictly. Raises FileError."""
    found: Trials = _read(path, FAULTS, Trials, (TRIALS_VERSION,), lambda data: None, of_trials)
    return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector: a tree of a million values has no cycle, and is walked again and again."""
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
    hint: Any,
    versions: tuple[int, ...],
    upgrade: Callable[[dict[str, Any]], None],
    contradicted: Callable[[Any], Iterable[str]],
) -> Any:
    try:
        data = _parsed(_text(Path(path)))
        if other := _of_another(data, command):
            expected = f"expected what `{command}` writes: name such a file, or write one."
            raise FileError(f"cannot read {path}: {other}; {expected}")
        _must_be_version(data, versions)
        upgrade(data)
        hold(data, hint)
        for wrong in contradicted(data):
            raise MisfitError(wrong)
    except OSError as e:
        raise FileError(f"cannot read {path}: {e.strerror or e}.") from e
    except MisfitError as e:
        again = f"Write it again with `{command} {path}`."
        raise FileError(f"cannot read {path}: {e} {again}") from e
    return data


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise MisfitError(f"it is not UTF-8 text, in line {line}; expected JSON.") from e


def _parsed(text: str) -> Any:
    """What JSON says. Raises MisfitError, in other words than Python's."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise MisfitError(f"it is {_broken(text.rstrip(), e)}; expected JSON.") from e
    except RecursionError as e:
        raise MisfitError("it is too deep, lists within lists; expected a few levels.") from e
    except ValueError as e:  # Python reads no longer ones
        raise MisfitError("it has a number of thousands of digits; expected fewer.") from e


def _broken(text: str, e: json.JSONDecodeError) -> str:
    """Where text ends to be JSON."""
    if not text:
        return "empty"
    begun = text.startswith(("{", "[")) and not text.endswith(("}", "]"))
    if begun or e.pos >= len(text) or e.msg.startswith("Unterminated"):
        last = text.count("\n") + 1
        return f"cut off at its end, line {last}"
    return f"not JSON, from line {e.lineno}, column {e.colno} on"


def _of_another(data: Any, command: str) -> str:
    """What a file is that the command did not write; "" for what it may have written."""
    if not isinstance(data, dict):
        return f"it is {as_json(data)}"
    for writer, keys in WRITERS.items():
        if all(key in data for key in keys):
            return "" if writer == command else f"it is what `{writer}` writes"
    return "" if any(key in data for key in WRITERS[command]) else "it is JSON of another kind"


def _must_be_version(data: dict[str, Any], versions: tuple[int, ...]) -> None:
    expected = f"expected {' or '.join(map(str, versions))}"
    if "schema_version" not in data:
        raise MisfitError(f"schema_version is missing; {expected}.")
    version = data["schema_version"]
    if type(version) is not int or version not in versions:
        later = type(version) is int and version > versions[-1]
        whose = ", of a later program than this" if later else ""
        raise MisfitError(f"schema_version is {as_json(version)}{whose}; {expected}.")


def _upgrade(data: dict[str, Any]) -> None:
    """From version 1, which had neither blame nor diagnosis, nor traces that leave something out."""
    results = data.get("results")
    if data["schema_version"] == 1 and isinstance(results, list):
        for result in results:
            if isinstance(result, dict):
                result.update(not_returned=[], blame=[], diagnosis=[])
    data["schema_version"] = SCHEMA_VERSION
