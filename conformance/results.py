"""The results file: what a run found, and everything that is shown of it.

Whatever comes after a run (report, terminal, exit code) reads only this, so that an old file renders
again on a machine with no framework installed. All numbers are finite: where a value was NaN or
infinite, the string "nan", "inf" or "-inf" stands.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

__all__ = [
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
    "try_to_write",
    "write_atomically",
    "write_results",
]

SCHEMA_VERSION = 2

Verdict = Literal["conforms", "deviates", "known-difference", "undecided", "not-run", "error"]
VERDICTS: tuple[Verdict, ...] = (
    "error",
    "deviates",
    "undecided",
    "known-difference",
    "not-run",
    "conforms",
)
"""The six answers, the worst first. They are never merged."""

SYMBOLS = {"A": "A", "Z": "Z", "delta": "δ", "dW": "∂L/∂W", "W_new": "new W", "loss": "the loss"}
"""The quantities, in the order in which they are computed, as they are written for a reader."""

Number = float | str
"""A finite float, or "nan", "inf", "-inf"."""


class Record(TypedDict):
    """One quantity, layer and gate: the worst element of it, by error over tolerance."""

    quantity: str  # A, Z, delta, dW, W_new, loss; "all" for the gate `repeat`
    layer: int  # 1 … L; the loss stands at L; "all" at 0
    gate: str  # step, end-to-end, exact, repeat, row
    error: Number  # |value − truth| of the worst element
    tolerance: Number  # what that element may be off
    ratio: Number  # error over tolerance; conforms while ≤ 1
    ulps: (
        Number  # largest error of all elements, in ulps (of the case's dtype) of the largest truth
    )
    index: list[int]  # of the worst element, counted from 0: [row, column], [] for the loss


class Element(TypedDict):
    """One number, held against its truth: the worst element of a record."""

    quantity: str
    layer: int
    gate: str
    index: list[int]
    got: Number
    got_hex: str
    expected: Number
    expected_hex: str
    error: Number
    tolerance: Number
    ratio: Number


class Step(TypedDict):
    """One equation of one layer."""

    quantity: str
    layer: int


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
    straddling: int  # entries so near a kink that either one-sided derivative was accepted
    not_returned: list[str]  # quantities that the implementation leaves out: not judged
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
    cases: int  # how many cases it ran
    probes: dict[str, str]  # e.g. {"tf32": "no", "x64": "yes", "subnormals": "flushed to zero"}


class CaseRow(TypedDict):
    """One network with its data."""

    id: str
    why: str
    activation: str  # σ_1 … σ_{L-1}, but for
    others: list[str]  # σ_2, σ_3, … up to σ_{L-1}, where they differ from it
    output: str  # σ_L
    depth: int
    batch: int
    widths: list[int]  # d_0 … d_L
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
    cases: int


class KnownDifference(TypedDict):
    """A row of known_differences.toml, and whether this run still saw it."""

    id: str
    implementation: str
    activation: str
    what: str
    reason: str
    source: str
    status: Literal["differs", "stale", "not-run"]
    seen: int  # results that conform only with this row


class Worst(TypedDict):
    """The largest error over tolerance of one gate and implementation, and where it was."""

    gate: str
    implementation: str
    ratio: Number
    ulps: Number
    quantity: str
    layer: int
    case: str


class Summary(TypedDict):
    """The answer."""

    verdict: Verdict  # the worst there is among those asked for
    exit_code: int
    message: str
    verdicts: dict[str, dict[str, int]]  # implementation -> verdict -> count
    worst: list[Worst]


class Profile(TypedDict):
    """Which cases were asked for."""

    name: str
    description: str
    select: str
    cases: int


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

    caught: int  # cases
    smallest: (
        Number  # of the largest errors over tolerance in those cases, the smallest; 0 for none
    )
    case: str  # where that is


class FaultRow(TypedDict):
    """One fault, over all cases."""

    name: str
    what: str
    shows: str
    where: str
    gate: str  # that must catch it
    hint: str
    equals: str
    changes: int  # cases in which it changes a number
    caught: int
    below: int  # cases in which it changes numbers by less than rounding
    misplaced: int  # caught, but first seen in another quantity or layer than it is in
    raised: int  # cases in which it makes refbp itself refuse a value
    gates: dict[str, GateCell]
    named: int  # of those caught, how often the diagnosis names it, or two faults that it is one of
    alike: int  # named another fault, whose outcome in that case is the same
    other: dict[str, int]  # what else it was taken for
    verdict: str  # "caught", "survives", "not shown"


class Dialled(TypedDict):
    """The smallest ε at which a gate sees a mistake of that relative size."""

    dial: str
    dtype: str
    gate: str
    case: str
    smallest: Number  # ε
    curve: list[list[Number]]  # [ε, largest error over tolerance]


class Trials(TypedDict):
    """Everything that is found out: what `conformance faults --json` writes."""

    schema_version: int
    environment: dict[str, Any]
    profile: str
    select: str
    cases: int
    false_alarms: list[str]  # cases in which refbp's lines with no fault in them deviate
    faults: list[FaultRow]
    dials: list[Dialled]
    exit_code: int
    message: str


REQUIRED = Results.__annotations__.keys() - {"faults"}


class ResultsError(ValueError):
    """A results file that cannot be read, or a path that cannot be written."""


def number(x: float, digits: int = 4) -> Number:
    """x to `digits` significant digits, or its name where JSON has no number for it."""
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    return float(f"{x:.{digits - 1}e}")


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


def _upgrade(data: dict[str, Any]) -> None:
    """From version 1, which had neither blame nor diagnosis, nor traces that leave something out."""
    results = data["results"] if isinstance(data["results"], list) else []
    for result in results:
        if isinstance(result, dict):
            result.update(not_returned=[], blame=[], diagnosis=[])
    data["schema_version"] = SCHEMA_VERSION


def read(path: str | Path) -> Results:
    """Read a results file. Raises ResultsError, in one line, for whatever is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as e:
        raise ResultsError(f"cannot read {path}: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise ResultsError(f"cannot read {path}: it is not UTF-8 text ({e.reason}).") from e
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ResultsError(f"cannot read {path}: it is not JSON ({e}).") from e
    missing = REQUIRED - (data.keys() if isinstance(data, dict) else set())
    if not isinstance(data, dict) or missing:
        raise ResultsError(
            f"cannot read {path}: expected the results file of a run; "
            f"missing: {', '.join(sorted(missing))}."
        )
    if data["schema_version"] == 1:
        _upgrade(data)
    if data["schema_version"] != SCHEMA_VERSION:
        raise ResultsError(
            f"cannot read {path}: it has schema version {data['schema_version']!r}; this program "
            f"reads {SCHEMA_VERSION}. Make the file again with `conformance run --json {path}`."
        )
    return data  # type: ignore[return-value]  # the reader takes the schema version's word


def read_trials(path: str | Path) -> Trials:
    """Read what `conformance faults --json` wrote. Raises ResultsError."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise ResultsError(f"cannot read {path}: {e.strerror or e}.") from e
    except (ValueError, RecursionError) as e:
        raise ResultsError(f"cannot read {path}: it is not JSON ({e}).") from e
    if not isinstance(data, dict) or Trials.__annotations__.keys() - data.keys():
        raise ResultsError(f"cannot read {path}: expected what `conformance faults --json` writes.")
    return data  # type: ignore[return-value]
