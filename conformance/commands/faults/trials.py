"""Every fault planted, every gate tried on it: the matrix fault × gate, and how small a mistake is seen.

A fault is planted in refbp's own lines and runs as an implementation would, held to refbp's tolerances.
Where it changes a number it must be caught; what is changed by less than rounding is counted apart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import cache
from typing import Any

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
    """Every number of every run."""
    found: list[bytes] = []
    for t in (ran.first, ran.between, ran.again, ran.alone):
        if t is not None:
            found += [M.tobytes() for q in QUANTITIES for M in t.layers(q).values()]
            found.append(np.asarray(t.loss).tobytes())
    return tuple(found)


@cache
def _right(case: Case) -> tuple[bytes, ...]:
    return _bits(runs(_subject(case), Loop()))


@dataclass
class _Count:
    """A row in the making."""

    fault: Fault
    changes: int = 0
    caught: int = 0
    misplaced: int = 0
    raised: int = 0
    named: int = 0
    alike: int = 0
    other: Counter[str] = field(default_factory=Counter)
    gates: dict[str, GateCell] = field(
        default_factory=lambda: {g: GateCell(caught=0, smallest=0.0, case="") for g in GATES}
    )

    def take(self, case: Case) -> None:
        """Plant it in one case."""
        subject = _subject(case)
        try:
            ran = runs(subject, Loop(planted(self.fault.wrong)))
        except (ValueError, ArithmeticError):
            self.raised += 1
            return
        if _bits(ran) == _right(case):
            return
        self.changes += 1
        result = judge(subject, "refbp", ran.first, ran.again, ran.alone)
        if result["verdict"] == "deviates":
            self.caught += 1
            self.misplaced += not _in_its_place(self.fault, result, case)
            self._by_gate(result)
            self._by_name(subject, ran, result)

    def _by_gate(self, result: Result) -> None:
        for gate in GATES:
            ratios = [float(r["ratio"]) for r in result["records"] if r["gate"] == gate]
            top, cell = max(ratios, default=0.0), self.gates[gate]
            if top > 1 and (not cell["caught"] or top < float(cell["smallest"])):
                cell["smallest"], cell["case"] = number(top), result["case"]
            cell["caught"] += top > 1

    def _by_name(self, subject: Subject, ran: Runs, result: Result) -> None:
        _, findings = diagnosis(subject, "refbp", ran, result)
        first = findings[0]["fault"] if findings else ""
        if self.fault.name in first.split(" + "):
            self.named += 1
        elif first and _same_outcome(subject, ran, first):
            self.alike += 1
        else:
            self.other[first or "nothing"] += 1

    def row(self) -> FaultRow:
        """The row."""
        f = self.fault
        caught = self.gates[f.gate]["caught"]
        verdict = "not shown" if not self.changes else "caught" if caught else "survives"
        return FaultRow(
            name=f.name, what=f.what, shows=f.shows, where=f.where, gate=f.gate, hint=f.hint,
            equals=f.equals, changes=self.changes, caught=self.caught,
            below=self.changes - self.caught, misplaced=self.misplaced, raised=self.raised,
            gates=self.gates, named=self.named, alike=self.alike, other=dict(self.other),
            verdict="survives" if self.misplaced else verdict,
        )  # fmt: skip


def _same_outcome(subject: Subject, ran: Runs, names: str) -> bool:
    """Whether the fault that was named gives the same numbers there, to rounding."""
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
    """Whether the first deviation is in the quantity and layer that the fault is in."""
    first = result["first_deviation"]
    if first is None:
        return False
    L, l = case.depth, first["layer"]
    fits = {"L": l == L, "<L": l < L, ">1": l > 1, "any": True}[fault.where]
    # in the gate `row` only the worst layer of each quantity is kept
    return first["quantity"] in (fault.shows, fault.or_in) and (fits or first["gate"] == "row")


def tried(name: str, chosen: Sequence[Case]) -> FaultRow:
    """One fault, planted in all cases."""
    count = _Count(fault(name))
    with np.errstate(all="ignore"):
        for case in chosen:
            count.take(case)
    return count.row()


# --- how small a mistake is seen ------------------------------------------------------------------

Dial = Callable[[float], Mapping[str, Wrap]]


def _everywhere(step: str) -> Dial:
    def dial(e: float) -> Mapping[str, Wrap]:
        return {step: lambda right: lambda s, l, *of: _scaled(right(s, l, *of), e)}

    return dial


def _scaled(M: Floats, e: float) -> Floats:
    return np.asarray(M * M.dtype.type(1 + e))


def _in_one(step: str) -> Dial:
    """One element of the middle layer's: that of middle size among those that are not 0."""

    def dial(e: float) -> Mapping[str, Wrap]:
        def wrap(right: Step) -> Step:
            def wrong(s: State, l: int, *of: Any) -> Floats:
                M: Floats = right(s, l, *of)
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


def _dial_cases() -> Iterator[tuple[str, Case]]:
    """The cases of both dtypes, with a bias or without, as the profile has them."""
    every = {c.id: c for c in cases("standard")}
    for start in DIALLED_IN:
        for dtype in ("float64", "float32"):
            for tail in ("", "/bias"):
                if (id := f"{start}/{dtype}{tail}") in every:
                    yield dtype, every[id]


def _ratios(dial: Dial, subject: Subject, e: float) -> dict[str, float]:
    """The largest error over tolerance of each gate."""
    result = judge(subject, "refbp", Loop(planted(dial(e))).run(subject.problem))
    found: dict[str, float] = {}
    for r in result["records"]:
        found[r["gate"]] = max(found.get(r["gate"], 0.0), float(r["ratio"]))
    return found


def smallest_seen(name: str, case: Case) -> list[Dialled]:
    """One dial in one case, a gate at a time: the curve, and the smallest ε that is caught."""
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
    """Between the last ε that is let through and the first from which on all are caught, by bisection."""
    let = [e for e, r in curve.items() if r <= 1]
    if not let:
        return min(curve)
    low = max(let)
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


# --- all of it ------------------------------------------------------------------------------------


def _false_alarms(chosen: Iterable[Case]) -> list[str]:
    """Cases in which the lines with no fault in them do not conform."""
    found = []
    with np.errstate(all="ignore"):
        for case in chosen:
            ran = runs(_subject(case), Loop())
            result = judge(_subject(case), "refbp", ran.first, ran.again, ran.alone)
            if result["verdict"] != "conforms":
                found.append(case.id)
    return found


def _task(kind: str, name: str, ids: Sequence[Case]) -> Any:
    if kind == "fault":
        return tried(name, ids)
    if kind == "dial":
        return smallest_seen(name, ids[0])
    return _false_alarms(ids)


def _tasks(names: Sequence[str], chosen: Sequence[Case], dials: bool) -> list[tuple[Any, ...]]:
    tasks: list[tuple[Any, ...]] = [("right", "", chosen)]
    tasks += [("fault", name, chosen) for name in names]
    if dials:
        tasks += [("dial", name, [case]) for name in DIALS for _, case in _dial_cases()]
    return tasks


def _done(tasks: Sequence[tuple[Any, ...]], jobs: int, progress: Progress) -> list[Any]:
    """The tasks' outcomes, in their order."""
    if jobs < 2:
        found = []
        for i, task in enumerate(tasks, start=1):
            found.append(_task(*task))
            progress(i, len(tasks), task[1])
        return found
    with pools([jobs]) as (pool,):
        futures = [pool.schedule(_task, args=task, timeout=TIMEOUT) for task in tasks]
        found = []
        for i, (future, task) in enumerate(zip(futures, tasks, strict=True), start=1):
            try:
                found.append(future.result())
            except FutureTimeoutError as e:
                raise TrialError(f"{_told(task)} took more than {TIMEOUT:g} s.") from e
            except ProcessExpired as e:
                raise TrialError(f"{_told(task)} ended its process ({e.exitcode}).") from e
            progress(i, len(tasks), task[1])
        return found


def _told(task: tuple[Any, ...]) -> str:
    return f"the {task[0]} {task[1]}" if task[1] else "the lines with no fault in them"


def trials(
    profile: str = "quick",
    wanted: str = "",
    names: Sequence[str] = (),
    dials: bool = True,
    jobs: int | None = None,
    progress: Progress = lambda done, total, name: None,
) -> Trials:
    """Plant every fault, or those named, in every case of a profile.

    `exit_code` is 1 if one survives the gate that must catch it, is first seen where it is not, or if
    the lines without a fault deviate; 2 if one changes nothing in these cases, and so was not tried.
    Raises FaultError and CaseError for what there is not.
    """
    begun = time.monotonic()
    names = list(dict.fromkeys(names))
    for name in names:
        fault(name)
    chosen = select(cases(profile), wanted)
    jobs = processes(jobs)
    tasks = _tasks(names or list(FAULTS), chosen, dials)
    outcomes = dict(zip(range(len(tasks)), _done(tasks, jobs, progress), strict=True))
    by_kind: dict[str, list[Any]] = {"right": [], "fault": [], "dial": []}
    for i, task in enumerate(tasks):
        by_kind[task[0]].append(outcomes[i])
    rows: list[FaultRow] = by_kind["fault"]
    (alarms,) = by_kind["right"]
    code, message = _summary(rows, alarms)
    return Trials(
        schema_version=1,
        environment=environment(time.monotonic() - begun, jobs),
        profile=profile,
        select=wanted,
        cases=len(chosen),
        false_alarms=alarms,
        faults=rows,
        dials=[d for found in by_kind["dial"] for d in found],
        exit_code=code,
        message=message,
    )


def _summary(rows: Sequence[FaultRow], alarms: Sequence[str]) -> tuple[int, str]:
    """(exit code, the answer)."""
    survive = [r["name"] for r in rows if r["verdict"] == "survives"]
    unseen = [r["name"] for r in rows if r["verdict"] == "not shown"]
    caught = sum(r["caught"] for r in rows)
    right = sum(r["named"] + r["alike"] for r in rows)
    said = [f"{len(rows) - len(survive) - len(unseen)} of {len(rows)} faults caught"]
    said += [f"survive: {', '.join(survive)}"] if survive else []
    said += (
        [f"not tried, as they change nothing in these cases: {', '.join(unseen)}"] if unseen else []
    )
    said += [f"false alarms in {len(alarms)} cases: {alarms[0]}"] if alarms else ["no false alarm"]
    if caught:
        said.append(f"{right:,} of {caught:,} diagnosed by name ({100 * right / caught:.1f}%)")
    return 1 if survive or alarms else 2 if unseen else 0, "; ".join(said) + "."
