"""The results file: what a run found, and everything that is shown of it.

Whatever comes after a run (report, terminal, exit code) reads only this, so that an old file renders
again on a machine with no framework installed. All numbers are finite: where a value was NaN or
infinite, the string "nan", "inf" or "-inf" stands.

The types here are also what a file is held to when it is read: keys that they do not name are let be, a later
program may write more; everything else must be as they have it, and the parts must not contradict each other.
"""

from __future__ import annotations

import gc
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from conformance.contradictions import contradictions, of_trials
from conformance.trouble import RefusedError
from conformance.typed import AtLeast, Exactly, Having, MisfitError, OneOf, as_json, hold, size

__all__ = [
    "GATES",
    "SCHEMA_VERSION",
    "SYMBOLS",
    "VERDICTS",
    "Dialled",
    "FaultRow",
    "GateCell",
    "Results",
    "ResultsError",
    "Trials",
    "number",
    "read",
    "read_trials",
    "size",
    "try_to_write",
    "write_atomically",
    "write_results",
]

SCHEMA_VERSION = 2
TRIALS_VERSION = 1

Verdict = Literal[
    "conforms", "deviates", "known-difference", "inaccurate", "undecided", "not-run", "error"
]
VERDICTS: tuple[Verdict, ...] = (
    "error",
    "deviates",
    "undecided",
    "inaccurate",
    "known-difference",
    "not-run",
    "conforms",
)
"""The seven answers, the worst first. They are never merged."""

VerdictName = Annotated[str, OneOf(*VERDICTS)]

SYMBOLS = {"A": "A", "Z": "Z", "delta": "δ", "dW": "∂L/∂W", "W_new": "new W", "loss": "the loss"}
"""The quantities, in the order in which they are computed, as they are written for a reader."""

Number = float | Annotated[str, OneOf("nan", "inf", "-inf")]
"""A finite float, or "nan", "inf", "-inf"."""
Size = Annotated[Number, AtLeast(0)]
Count = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]
ExitCode = Annotated[int, OneOf(0, 1, 2)]
Quantity = Annotated[str, OneOf(*SYMBOLS, "all")]
"""In the order in which they are computed; "all" for the gate `repeat`."""
GATES = ("step", "end-to-end", "exact", "row", "repeat")
"""In the order in which they are explained."""
Gate = Annotated[str, OneOf(*GATES)]


class Record(TypedDict):
    """One quantity, layer and gate: the worst element of it, by error over tolerance."""

    quantity: Quantity
    layer: Count  # 1 … L; the loss stands at L; "all" at 0
    gate: Gate
    error: Size  # |value − truth| of the worst element
    tolerance: Size  # what that element may be off
    ratio: Size  # error over tolerance; conforms while ≤ 1
    ulps: Size  # largest error of all elements, in ulps (of the case's dtype) of the largest truth
    index: list[Count]  # of the worst element, counted from 0: [row, column], [] for the loss


class Element(TypedDict):
    """One number, held against its truth: the worst element of a record."""

    quantity: Quantity
    layer: Count
    gate: Gate
    index: list[Count]
    got: Number
    got_hex: str
    expected: Number
    expected_hex: str
    error: Size
    tolerance: Size
    ratio: Size


class Step(TypedDict):
    """One equation of one layer."""

    quantity: Quantity
    layer: Count


class Finding(TypedDict):
    """What a deviation looks like: a known mistake, or the pattern of its error."""

    fault: str  # its name among the faults; "" where it is none of them
    steps: list[Step]  # the steps that it explains
    text: str
    suggestion: str


class Result(TypedDict):
    """What one implementation did with one case."""

    case: str
    implementation: str
    verdict: Verdict
    message: str
    first_deviation: Element | None  # of the first record that does not conform, in order
    worst: Element | None  # of the record with the largest ratio
    known_differences: list[str]  # the ids of the rows without which it would deviate
    straddling: Count  # entries so near a kink that either one-sided derivative was accepted
    not_returned: list[Quantity]  # quantities that the implementation leaves out: not judged
    blame: list[Step]  # the steps that are wrong given their own operands, not their consequences
    diagnosis: list[Finding]
    records: list[Record]


class Implementation(TypedDict):
    """Something that ran, or the reason why it did not."""

    name: str
    description: str
    status: Literal["ran", "not-run", "error"]
    reason: str  # why not, or what was left out; "" where there is nothing to say
    versions: dict[str, str]
    device: str
    dtypes: list[str]
    cases: Count  # how many cases it ran
    probes: dict[str, str]  # e.g. {"tf32": "no", "x64": "yes", "subnormals": "flushed to zero"}


class CaseRow(TypedDict):
    """One network with its data."""

    id: str
    why: str
    activation: str  # σ_1 … σ_{L-1}, but for
    others: list[str]  # σ_2, σ_3, … up to σ_{L-1}, where they differ from it
    output: str  # σ_L
    depth: Positive
    batch: Positive
    widths: list[Positive]  # d_0 … d_L
    dtype: str
    loss: str
    bias: bool
    family: str
    seed: int


class Family(TypedDict):
    """Why a group of cases exists, and what failing one means."""

    name: str
    why: str
    failing_means: str
    cases: Count


class KnownDifference(TypedDict):
    """A row of known_differences.toml, and whether this run still saw it."""

    id: str
    implementation: str
    activation: str
    what: str
    reason: str
    source: str
    status: Literal["differs", "stale", "not-run"]
    seen: Count  # results that conform only with this row


class Worst(TypedDict):
    """The largest error over tolerance of one gate and implementation, and where it was."""

    gate: Gate
    implementation: str
    ratio: Size
    ulps: Size
    quantity: Quantity
    layer: Count
    case: str


class Summary(TypedDict):
    """The answer."""

    verdict: Verdict  # the worst there is among those asked for
    exit_code: ExitCode
    message: str
    verdicts: dict[str, dict[VerdictName, Count]]  # implementation -> verdict -> count
    worst: list[Worst]


class Profile(TypedDict):
    """Which cases were asked for."""

    name: str
    description: str
    select: str
    cases: Count


class Results(TypedDict):
    """The whole file. Two runs differ only in `environment`."""

    schema_version: int
    environment: dict[str, Any]
    profile: Profile
    implementations: list[Implementation]
    families: list[Family]
    cases: list[CaseRow]
    results: list[Result]
    known_differences: list[KnownDifference]
    summary: Summary
    faults: NotRequired[Trials]  # of `conformance faults`, where they were put in


# --- faults ---------------------------------------------------------------------------------------


class GateCell(TypedDict):
    """What one gate makes of one fault."""

    caught: Count  # cases
    smallest: Size  # of the largest errors over tolerance in those cases, the smallest; 0 for none
    case: str  # where that is


class FaultRow(TypedDict):
    """One fault, over all cases."""

    name: str
    what: str
    shows: Quantity
    where: Annotated[str, OneOf("L", "<L", ">1", "any")]
    gate: Gate  # that must catch it
    hint: str
    equals: str
    changes: Count  # cases in which it changes a number
    caught: Count
    below: Count  # cases in which it changes numbers by less than rounding
    misplaced: Count  # caught, but first seen in another quantity or layer than it is in
    raised: Count  # cases in which it makes refbp itself refuse a value
    gates: Annotated[dict[Gate, GateCell], Having(GATES)]
    named: Count  # of those caught, those that the diagnosis names, alone or beside another
    alike: Count  # named another fault, whose outcome in that case is the same
    other: dict[str, Count]  # what else it was taken for
    verdict: Annotated[str, OneOf("caught", "survives", "not shown")]


class Dialled(TypedDict):
    """The smallest ε at which a gate sees a mistake of that relative size."""

    dial: str
    dtype: str
    gate: Gate
    case: str
    smallest: Size  # ε
    curve: list[Annotated[list[Size], Exactly(2)]]  # [ε, largest error over tolerance]


class Trials(TypedDict):
    """Everything that is found out: what `conformance faults --json` writes."""

    schema_version: Annotated[int, OneOf(TRIALS_VERSION)]
    environment: dict[str, Any]
    profile: str
    select: str
    cases: Count
    false_alarms: list[str]  # cases in which refbp's lines with no fault in them deviate
    faults: list[FaultRow]
    dials: list[Dialled]
    exit_code: ExitCode
    message: str


class ResultsError(RefusedError):
    """A results file that cannot be read, or a path that cannot be written."""


def number(x: float, digits: int = 4) -> Number:
    """x to `digits` significant digits, or its name where JSON has no number for it."""
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    rounded = float(f"{x:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else x  # the largest floats are rounded up to infinity


def _cannot_write(path: Path, e: OSError) -> ResultsError:
    return ResultsError(
        f"cannot write {path}: {e.strerror or e}. Expected a folder that exists and may be written to."
    )


def write_atomically(path: str | Path, text: str | Iterable[str]) -> None:
    """Write a file whole or not at all: a reader never sees half of it."""
    path = Path(path)
    try:
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise _cannot_write(path, e) from e
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="\n") as f:
            f.writelines([text] if isinstance(text, str) else text)
        Path(name).chmod(0o644)  # mkstemp's 0600 would hide a report from the web server beside it
        Path(name).replace(path)
    except OSError as e:
        Path(name).unlink(missing_ok=True)
        raise ResultsError(f"cannot write {path}: {e.strerror or e}.") from e
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def try_to_write(path: Path) -> None:
    """Whether a file could be written there, without doing it."""
    try:
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise _cannot_write(path, e) from e
    os.close(fd)
    Path(name).unlink()


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


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a value as JSON: no bare NaN, atomically. Raises ResultsError."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    write_atomically(path, text + "\n")


def write_results(path: str | Path, results: Results) -> None:
    """Write results as JSON: no bare NaN, atomically. Raises ResultsError."""
    write_atomically(path, _lines(results))


# --- reading --------------------------------------------------------------------------------------

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
    """Read a results file: whole, as the types have it, and without a contradiction. Raises ResultsError,
    in one line, for whatever is wrong with it."""
    found: Results = _read(path, RUN, Results, (1, SCHEMA_VERSION), _upgrade, contradictions)
    return found


def read_trials(path: str | Path) -> Trials:
    """Read what `conformance faults --json` wrote, as strictly. Raises ResultsError."""
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
            raise ResultsError(f"cannot read {path}: {other}; {expected}")
        _must_be_version(data, versions)
        upgrade(data)
        hold(data, hint)
        for wrong in contradicted(data):
            raise MisfitError(wrong)
    except OSError as e:
        raise ResultsError(f"cannot read {path}: {e.strerror or e}.") from e
    except MisfitError as e:
        again = f"Write it again with `{command} {path}`."
        raise ResultsError(f"cannot read {path}: {e} {again}") from e
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
