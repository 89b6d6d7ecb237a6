"""The results file: what a run found, and everything that is shown of it.

Whatever comes after a run (report, terminal, exit code) reads only this, so that an old file can be rendered
again on a machine without any framework. All numbers are finite: NaN and infinities are the strings "nan",
"inf" and "-inf".

When a file is read, msgspec checks it against the types here. Keys that the types do not name are ignored,
since a later program may write more. Everything else must fit, and the parts must not contradict each other.
`compact.py` has the form in which the file stores the records of a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from conformance.tools.typed import LARGEST, among

__all__ = [
    "GATES",
    "RETURNED",
    "SCHEMA_VERSION",
    "SYMBOLS",
    "VERDICTS",
    "Dialled",
    "FaultRow",
    "GateCell",
    "Part",
    "Results",
    "Trials",
    "number",
    "size",
]

SCHEMA_VERSION = 3
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
"""The seven verdicts, the worst first. They are never merged."""

VerdictName = Annotated[str, among(*VERDICTS)]

SYMBOLS = {"A": "A", "Z": "Z", "delta": "δ", "dW": "∂L/∂W", "W_new": "new W", "loss": "the loss"}
"""The quantities, in the order in which they are computed, with their symbols for a reader."""
RETURNED = {**SYMBOLS, "Z_L": "Z of the last layer"}
"""The quantities that an implementation may leave out."""

Number = float | Annotated[str, among("nan", "inf", "-inf")]
"""A finite float, or "nan", "inf", "-inf"."""
Size = Annotated[float, Meta(ge=0)] | Annotated[str, among("nan", "inf")]
Whole = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
ExitCode = Annotated[int, among(0, 1, 2)]
Quantity = Annotated[str, among(*SYMBOLS, "all")]
"""A quantity; "all" is for the gate `repeat`."""
GATES = ("step", "end-to-end", "exact", "row", "repeat")
"""The gates, in the order in which they are explained."""
Gate = Annotated[str, among(*GATES)]


class Record(TypedDict):
    """One quantity of one layer at one gate: its worst element, by error over tolerance."""

    quantity: Quantity
    layer: Count  # 1 … L; the loss stands at L; "all" at 0
    gate: Gate
    error: Size  # |value − truth| of the worst element
    tolerance: Size  # how far that element may be off
    ratio: Size  # error over tolerance; conforms while ≤ 1
    ulps: Size  # largest error of all elements, in ulps (of the case's dtype) of the largest truth
    index: list[Count]  # of the worst element, counted from 0: [row, column], [] for the loss


class Element(TypedDict):
    """One number beside its truth: the worst element of a record."""

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
    also: NotRequired[list[str]]  # other faults that explain the same steps here


class Result(TypedDict):
    """What one implementation did with one case. In the file it is a `compact.Row`."""

    case: str
    implementation: str
    verdict: Verdict
    message: str
    first_deviation: Element | None  # of the first record, in order, that does not conform
    worst: Element | None  # of the record with the largest ratio
    known_differences: list[str]  # ids of the known differences without which it would deviate
    straddling: Count  # entries so near a kink that either one-sided derivative was accepted
    not_returned: list[Annotated[str, among(*RETURNED)]]  # quantities left out: not judged
    blame: list[Step]  # the steps that are wrong given their own operands, not their consequences
    diagnosis: list[Finding]
    records: Sequence[Record]


class Implementation(TypedDict):
    """An implementation that ran, or the reason why it did not."""

    name: str
    description: str
    status: Literal["ran", "not-run", "error"]
    reason: str  # why not, or what was left out; "" if there is no reason to give
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
    seed: Whole


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

    verdict: Verdict  # the worst verdict of the implementations asked for
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


class Part(TypedDict):
    """Which part of which run a file holds, if it does not hold the whole run."""

    key: str  # names the whole run by its cases, implementations, code and versions
    number: Positive
    of: Positive
    # this and the next fields are options of the run; a merge of its parts uses them again
    profile: str
    implementations: list[str]
    require: list[str]
    networks: list[str]


class Blocks(TypedDict):
    """Everything but the results. Two runs differ only in `environment`."""

    schema_version: int
    environment: dict[str, Any]
    profile: Profile
    implementations: list[Implementation]
    families: list[Family]
    cases: list[CaseRow]
    known_differences: list[KnownDifference]
    summary: Summary
    part: NotRequired[Part]
    faults: NotRequired[Trials]  # what `conformance faults` wrote, if it was put in


class Results(Blocks):
    """All that a run found. A file of version 2 has this form."""

    results: list[Result]


# --- faults ---------------------------------------------------------------------------------------


class GateCell(TypedDict):
    """How one gate judged one fault."""

    caught: Count  # cases in which the gate caught it
    smallest: Size  # the smallest of those cases' largest errors over tolerance; 0 for none
    case: str  # the case of that smallest one


class FaultRow(TypedDict):
    """One fault, over all cases."""

    name: str
    what: str
    shows: Quantity
    where: Annotated[str, among("L", "<L", ">1", "any")]
    gate: Gate  # the gate that must catch it
    hint: str
    equals: str
    changes: Count  # cases in which it changes a number
    caught: Count
    below: Count  # cases in which it changes numbers by less than rounding does
    misplaced: Count  # caught, but first seen in another quantity or layer than the fault's own
    raised: Count  # cases in which it makes refbp itself reject a value
    gates: Annotated[dict[Gate, GateCell], Meta(min_length=len(GATES))]  # one for every gate
    named: Count  # caught cases in which the diagnosis names it, alone or beside another fault
    alike: Count  # caught cases in which another fault is named, whose outcome there is the same
    other: dict[str, Count]  # other faults that it was taken for
    verdict: Annotated[str, among("caught", "survives", "not shown")]


class Dialled(TypedDict):
    """The smallest ε at which a gate sees a mistake of that relative size."""

    dial: str
    dtype: str
    gate: Gate
    case: str
    smallest: Size  # ε
    curve: list[
        Annotated[list[Size], Meta(min_length=2, max_length=2)]
    ]  # [ε, largest error over tolerance]


class Trials(TypedDict):
    """What `conformance faults --json` writes."""

    schema_version: Annotated[int, among(TRIALS_VERSION)]
    environment: dict[str, Any]
    profile: str
    select: str
    cases: Count
    false_alarms: list[str]  # cases in which refbp's lines with no fault in them deviate
    faults: list[FaultRow]
    dials: list[Dialled]
    exit_code: ExitCode
    message: str


def size(x: Number) -> float:
    """A number to sort by: NaN counts as infinite."""
    v = float(x)
    return math.inf if math.isnan(v) else v


def badness(verdict: Verdict, ratio: Number | None) -> float:
    """Error over tolerance; ∞ if there is no such number, and −1 if the result was not judged."""
    if ratio is None:
        return -1.0 if verdict == "not-run" else math.inf
    return size(ratio)


def number(x: float, digits: int = 4) -> Number:
    """x to `digits` significant digits; "nan", "inf" or "-inf" where JSON has no number for it."""
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    rounded = float(f"{x:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else x  # rounding makes the largest floats infinite
