"""Plants every fault and tries every gate on it: the matrix fault × gate, and how small a mistake is seen.

A fault is planted in refbp's own lines, which run as an implementation would and are judged by refbp's
tolerances. It must be caught if it changes a number, unless it changes all of them by less than rounding:
such cases are counted separately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple, Self

import numpy as np
from pebble import ProcessExpired

from conformance.cases.catalogue import Case
from conformance.cases.profiles import cases, select
from conformance.judge.gates import judge
from conformance.judge.mistakes.diagnosis import diagnosis
from conformance.judge.mistakes.loop import Loop, State, Step, Wrap, planted
from conformance.judge.mistakes.table import FAULTS, Fault, fault
from conformance.judge.result import runs
from conformance.judge.subject import Subject
from conformance.judge.summary import environment
from conformance.model.problem import QUANTITIES, Floats, Runs
from conformance.model.results import GATES, Dialled, FaultRow, GateCell, Result, Trials, number
from conformance.tools.pool import pools, processes
from conformance.tools.trouble import RefusedError

__all__ = ["DIALS", "FaultRow", "TrialError", "Trials", "smallest_seen", "trials", "tried"]

Progress = Callable[[int, int, str], None]
TIMEOUT = 1800.0  # seconds for one fault in all cases


class TrialError(RefusedError):
    """A fault that could not be tried."""


# --- one fault ------------------------------------------------------------------------------------


@cache
def _subject(case: Case) -> Subject:
    return Subject(case)


def _bits(ran: Runs) -> tuple[bytes, ...]:
    """The bytes of every number of every run."""
    bits: list[bytes] = []
    for t in (ran.first, ran.between, ran.again, ran.alone):
        if t is not None:
            bits += [M.tobytes() for q in QUANTITIES for M in t.layers(q).values()]
            bits.append(np.asarray(t.loss).tobytes())
    return tuple(bits)


@cache
def _right(case: Case) -> tuple[bytes, ...]:
    return _bits(runs(_subject(case), Loop()))


def tried(name: str, chosen: Sequence[Case]) -> FaultRow:
    """One fault, planted in every case."""
    f = fault(name)
    row = FaultRow(
        name=f.name, what=f.what, shows=f.shows, where=f.where, gate=f.gate, hint=f.hint,
        equals=f.equals, changes=0, caught=0, below=0, misplaced=0, raised=0,
        gates={g: GateCell(caught=0, smallest=0.0, case="") for g in GATES},
        named=0, alike=0, other={}, verdict="not shown",
    )  # fmt: skip
    with np.errstate(all="ignore"):
        for case in chosen:
            _try(f, case, row)
    row["below"] = row["changes"] - row["caught"]
    if row["changes"]:
        caught = row["gates"][f.gate]["caught"] and not row["misplaced"]
        row["verdict"] = "caught" if caught else "survives"
    return row


def _try(f: Fault, case: Case, row: FaultRow) -> None:
    """Plant a fault in one case, and count the outcome in its row."""
    subject = _subject(case)
    try:
        ran = runs(subject, Loop(planted(f.wrong)))
    except (ValueError, ArithmeticError):
        row["raised"] += 1
        return
    if _bits(ran) == _right(case):
        return
    row["changes"] += 1
    result = judge(subject, "refbp", ran.first, ran.again, ran.alone)
    if result["verdict"] == "deviates":
        row["caught"] += 1
        row["misplaced"] += not _in_its_place(f, result, case)
        _count_gates(result, row)
        _count_name(subject, ran, result, row)


def _count_gates(result: Result, row: FaultRow) -> None:
    """Count the gates that caught it, and keep the smallest margin of each."""
    for gate in GATES:
        ratios = [float(r["ratio"]) for r in result["records"] if r["gate"] == gate]
        largest, cell = max(ratios, default=0.0), row["gates"][gate]
        if largest > 1 and (not cell["caught"] or largest < float(cell["smallest"])):
            cell["smallest"], cell["case"] = number(largest), result["case"]
        cell["caught"] += largest > 1


def _count_name(subject: Subject, ran: Runs, result: Result, row: FaultRow) -> None:
    """Count whether the diagnosis names the fault, or another one with the same outcome in this case."""
    _, findings = diagnosis(subject, "refbp", ran, result)
    first = findings[0]["fault"] if findings else ""
    if row["name"] in first.split(" + "):
        row["named"] += 1
    elif first and _same_outcome(subject, ran, first):
        row["alike"] += 1
    else:
        row["other"][first or "nothing"] = row["other"].get(first or "nothing", 0) + 1


def _same_outcome(subject: Subject, ran: Runs, names: str) -> bool:
    """Whether the fault that the diagnosis named gives the same numbers as this one, to rounding."""
    wrong = [FAULTS[n].wrong for n in names.split(" + ") if n in FAULTS]
    try:
        other = runs(subject, Loop(planted(*wrong)))
    except (ValueError, ArithmeticError):
        return False
    u = float(np.finfo(subject.problem.dtype).eps)
    pairs = [
        (a, b)
        for s, t in ((ran.first, other.first), (ran.again, other.again))
        if s is not None and t is not None
        for q in QUANTITIES
        for a, b in zip(s.layers(q).values(), t.layers(q).values(), strict=True)
    ]
    return all(
        bool((np.abs(a - b) <= 64 * u * np.abs(b).max(initial=0)).all())
        or a.tobytes() == b.tobytes()
        for a, b in pairs
    )


def _in_its_place(fault: Fault, result: Result, case: Case) -> bool:
    """Whether the first deviation is in a quantity and a layer of the fault."""
    first = result["first_deviation"]
    if first is None:
        return False
    L, l = case.depth, first["layer"]
    fits = {"L": l == L, "<L": l < L, ">1": l > 1, "any": True}[fault.where]
    # in the gate `row` only the worst layer of each quantity is kept
    return first["quantity"] in (fault.shows, fault.or_in) and (fits or first["gate"] == "row")


# --- how small a mistake is seen ------------------------------------------------------------------

Dial = Callable[[float], Mapping[str, Wrap]]
"""Makes a mistake of relative size ε."""


def _everywhere(step: str) -> Dial:
    def dial(e: float) -> Mapping[str, Wrap]:
        return {step: lambda right: lambda s, l, *G: _scaled(right(s, l, *G), e)}

    return dial


def _scaled(M: Floats, e: float) -> Floats:
    return np.asarray(M * M.dtype.type(1 + e))


def _in_one(step: str) -> Dial:
    """A mistake in one element of the middle layer: the one of median size among those that are not 0."""

    def dial(e: float) -> Mapping[str, Wrap]:
        def wrap(right: Step) -> Step:
            def wrong(s: State, l: int, *G: Floats) -> Floats:
                M = right(s, l, *G)
                return _one_scaled(M, e) if l == (s.L + 1) // 2 else M

            return wrong

        return {step: wrap}

    return dial


def _one_scaled(M: Floats, e: float) -> Floats:
    M, sizes = M.copy(), np.abs(M).ravel()
    order = [i for i in np.argsort(sizes, kind="stable") if sizes[i] > 0]
    if order:
        M.flat[order[len(order) // 2]] *= M.dtype.type(1 + e)
    return M


DIALS: Mapping[str, Dial] = {
    "every A scaled by 1 + ε": _everywhere("A"),
    "every δ scaled by 1 + ε": _everywhere("delta"),
    "one element of a δ scaled by 1 + ε": _in_one("delta"),
    "every ∂L/∂W scaled by 1 + ε": _everywhere("dW"),
    "one element of a ∂L/∂W scaled by 1 + ε": _in_one("dW"),
}
DIALLED_IN = ("typical/tanh/L3/n7", "typical/gelu/L5/n7", "integers/relu/L2/n64")
STEPS_A_DECADE = 2


def _dial_cases() -> Iterator[Case]:
    """The cases of both dtypes, with and without a bias, that the profile `standard` has."""
    every = {c.id: c for c in cases("standard")}
    for start in DIALLED_IN:
        for dtype in ("float64", "float32"):
            for tail in ("", "/bias"):
                if (id := f"{start}/{dtype}{tail}") in every:
                    yield every[id]


def _ratios(dial: Dial, subject: Subject, e: float) -> dict[str, float]:
    """The largest error over tolerance of each gate."""
    result = judge(subject, "refbp", Loop(planted(dial(e))).run(subject.problem))
    largest: dict[str, float] = {}
    for r in result["records"]:
        largest[r["gate"]] = max(largest.get(r["gate"], 0.0), float(r["ratio"]))
    return largest


def smallest_seen(name: str, case: Case) -> list[Dialled]:
    """One dial in one case: for each gate the curve, and the smallest ε that is caught."""
    dial, subject = DIALS[name], _subject(case)
    least = -17 if case.dtype == "float64" else -9
    grid = [10.0 ** (k / STEPS_A_DECADE) for k in range(least * STEPS_A_DECADE, 1)]
    with np.errstate(all="ignore"):
        seen = {e: _ratios(dial, subject, e) for e in grid}
        gates = [g for g in GATES if g in seen[grid[-1]]]
        return [
            Dialled(
                dial=name, dtype=case.dtype, gate=g, case=case.id,
                smallest=number(_threshold(dial, subject, g, {e: r[g] for e, r in seen.items()}), 3),
                curve=[[number(e), number(r[g])] for e, r in seen.items()],
            )
            for g in gates
        ]  # fmt: skip


def _threshold(dial: Dial, subject: Subject, gate: str, curve: Mapping[float, float]) -> float:
    """The ε above which every mistake is caught: by bisection, above the largest ε of the curve that is not
    caught."""
    missed = [e for e, r in curve.items() if r <= 1]
    if not missed:
        return min(curve)
    low = max(missed)
    above = [e for e in curve if e > low]
    if not above:
        return float("inf")
    high = min(above)
    while high / low > 1.05:
        middle = (low * high) ** 0.5
        if _ratios(dial, subject, middle)[gate] > 1:
            high = middle
        else:
            low = middle
    return high


# --- all faults -----------------------------------------------------------------------------------


def _false_alarms(chosen: Iterable[Case]) -> list[str]:
    """The ids of cases in which the lines without a fault do not conform."""
    alarms = []
    with np.errstate(all="ignore"):
        for case in chosen:
            ran = runs(_subject(case), Loop())
            result = judge(_subject(case), "refbp", ran.first, ran.again, ran.alone)
            if result["verdict"] != "conforms":
                alarms.append(case.id)
    return alarms


class Task(NamedTuple):
    """A worker's task: one fault in all cases, one dial in one case, or no fault at all."""

    kind: Literal["right", "fault", "dial"]
    name: str
    cases: Sequence[Case]

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}" if self.name else "the lines with no fault in them"


@dataclass
class Outcomes:
    """The results of the tasks."""

    alarms: list[str] = field(default_factory=list)
    faults: list[FaultRow] = field(default_factory=list)
    dials: list[Dialled] = field(default_factory=list)

    def __iadd__(self, more: Outcomes) -> Self:
        self.alarms += more.alarms
        self.faults += more.faults
        self.dials += more.dials
        return self


def _task(task: Task) -> Outcomes:
    if task.kind == "fault":
        return Outcomes(faults=[tried(task.name, task.cases)])
    if task.kind == "dial":
        return Outcomes(dials=smallest_seen(task.name, task.cases[0]))
    return Outcomes(alarms=_false_alarms(task.cases))


def _tasks(names: Sequence[str], chosen: Sequence[Case], dials: bool) -> list[Task]:
    tasks = [Task("right", "", chosen), *(Task("fault", name, chosen) for name in names)]
    if dials:
        tasks += [Task("dial", name, [case]) for name in DIALS for case in _dial_cases()]
    return tasks


def _done(tasks: Sequence[Task], jobs: int, progress: Progress) -> Outcomes:
    """The outcomes of the tasks, in order. Raises TrialError."""
    found = Outcomes()
    if jobs < 2:
        for i, task in enumerate(tasks, start=1):
            found += _task(task)
            progress(i, len(tasks), task.name)
        return found
    with pools([jobs]) as (pool,):
        futures = [pool.schedule(_task, args=[task], timeout=TIMEOUT) for task in tasks]
        for i, (future, task) in enumerate(zip(futures, tasks, strict=True), start=1):
            try:
                found += future.result()
            except FutureTimeoutError as e:
                raise TrialError(f"{task} took more than {TIMEOUT:g} s.") from e
            except ProcessExpired as e:
                raise TrialError(f"{task} ended its process ({e.exitcode}).") from e
            progress(i, len(tasks), task.name)
        return found


def trials(
    profile: str = "quick",
    wanted: str = "",
    names: Sequence[str] = (),
    dials: bool = True,
    jobs: int | None = None,
    progress: Progress = lambda done, total, name: None,
) -> Trials:
    """Plant every fault, or those named, in every case of a profile.

    `exit_code` is 1 if a fault survives the gate that must catch it, if its first deviation is in another
    place than the fault, or if the lines without a fault deviate; 2 if a fault changes nothing in these
    cases, and so was not tried.

    Raises FaultError and CaseError for names that do not exist, TrialError for a task that timed out or ended
    its worker.
    """
    begun = time.monotonic()
    names = list(dict.fromkeys(names))
    for name in names:
        fault(name)
    chosen = select(cases(profile), wanted)
    jobs = processes(jobs)
    found = _done(_tasks(names or list(FAULTS), chosen, dials), jobs, progress)
    code, message = _summary(found.faults, found.alarms)
    return Trials(
        schema_version=1,
        environment=environment(time.monotonic() - begun, jobs),
        profile=profile,
        select=wanted,
        cases=len(chosen),
        false_alarms=found.alarms,
        faults=found.faults,
        dials=found.dials,
        exit_code=code,
        message=message,
    )


def _summary(rows: Sequence[FaultRow], alarms: Sequence[str]) -> tuple[int, str]:
    """(exit code, message)."""
    survive = [r["name"] for r in rows if r["verdict"] == "survives"]
    unseen = [r["name"] for r in rows if r["verdict"] == "not shown"]
    caught = sum(r["caught"] for r in rows)
    right = sum(r["named"] + r["alike"] for r in rows)
    parts = [f"{len(rows) - len(survive) - len(unseen)} of {len(rows)} faults caught"]
    parts += [f"survive: {', '.join(survive)}"] if survive else []
    parts += (
        [f"not tried, as they change nothing in these cases: {', '.join(unseen)}"] if unseen else []
    )
    parts += [f"false alarms in {len(alarms)} cases: {alarms[0]}"] if alarms else ["no false alarm"]
    if caught:
        parts.append(f"{right:,} of {caught:,} diagnosed by name ({100 * right / caught:.1f}%)")
    return 1 if survive or alarms else 2 if unseen else 0, "; ".join(parts) + "."
