"""A trace, held against the truth in every gate: records, and one verdict.

`step`  every equation alone, on the operands the implementation itself returned: names the wrong step
        and does not blame the steps after it.
`end-to-end`  every quantity against the exact one: how far the whole is from the truth.
`exact`  where every sum fits the significand: no error at all.
`row`  one example alone, end to end: a batch is its rows.
`repeat`  the same input twice, another batch in between: the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.cases.catalogue import Case
from conformance.implementations import IMPLEMENTATIONS
from conformance.judge.known_differences import Amended, Difference, amend, known_differences
from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import QUANTITIES, Floats, Problem, Trace
from conformance.model.results import SYMBOLS, Element, Record, Result, Verdict, number, size
from conformance.tools.plain import plain
from conformance.truth.balls import Enclosure
from conformance.truth.definitions import Definition
from conformance.truth.network import Network, Spread, Truth
from conformance.truth.readings import Memo
from conformance.truth.rounding import Accuracy, Arithmetic

__all__ = [
    "Judged",
    "Own",
    "Subject",
    "compared",
    "judge",
    "judge_exception",
    "right_as_a_whole",
    "rounds_every_value",
    "steps_of",
    "whole_of",
]


class Comparison(NamedTuple):
    """One quantity of one layer in one gate, all elements."""

    quantity: str
    layer: int
    gate: str
    value: Floats
    truth: Enclosure
    tolerance: NDArray[np.float64]
    hull: bool = False  # part of the truth is an interval between one-sided derivatives


class Own(NamedTuple):
    """A σ that no table knows: its mathematics, and what its code may lose."""

    definition: Definition
    accuracy: Accuracy


@dataclass
class Subject:
    """A case with all that is known of it: shared by the implementations that run it."""

    case: Case
    own: Mapping[str, Own] = field(default_factory=dict)
    _networks: dict[tuple[str, ...], Network] = field(default_factory=dict)
    _spreads: dict[tuple[Any, ...], Spread] = field(default_factory=dict)
    memo: Memo = field(default_factory=dict)

    @cached_property
    def problem(self) -> Problem:
        """The numbers, made once."""
        return self.case.problem()

    @cached_property
    def alone(self) -> Subject | None:
        """One example of the batch by itself, where the case is chosen for it."""
        if not self.case.closely:
            return None
        subject = Subject(self.case, self.own)
        subject.__dict__["problem"] = self.problem.row(self.case.batch // 2)
        subject.__dict__["alone"] = None
        return subject

    def amend(self, rows: Sequence[Difference]) -> Amended:
        """The expectation under some rows of the known differences."""
        amended = amend(rows)
        if not self.own:
            return amended
        activations = {
            **amended.maths.activations,
            **{s: o.definition for s, o in self.own.items()},
        }
        return replace(amended, maths=replace(amended.maths, activations=activations))

    def accuracy(self, implementation: str, activation: str) -> Accuracy:
        """What an evaluation of σ by an implementation may lose."""
        if activation in self.own:
            return self.own[activation].accuracy
        return accuracy(implementation, self.problem.dtype.name, activation)

    def arithmetic(self, amended: Amended) -> Arithmetic:
        """That of the dtype, under an expectation."""
        return Arithmetic.of(self.problem.dtype, amended.flushes)

    def network(self, amended: Amended) -> Network:
        """The problem on its tape, under an expectation."""
        if amended.key not in self._networks:
            self._networks[amended.key] = Network(self.problem, amended.maths, self.memo)
        return self._networks[amended.key]

    def truth(self, amended: Amended) -> Truth:
        """The exact value of every quantity, under an expectation."""
        return self.network(amended).truth

    def spread(self, implementation: str, amended: Amended) -> Spread:
        """The root mean square errors that an implementation may have."""
        key = (implementation, *amended.key)
        if key not in self._spreads:
            self._spreads[key] = self.network(amended).spread(
                self.arithmetic(amended), partial(self.accuracy, implementation), LAMBDA
            )
        return self._spreads[key]


def malformed(p: Problem, t: Trace, whole: bool = True) -> str:
    """What is wrong with a trace's form, in a sentence; "" where nothing is.

    `whole`: nothing may be left out.
    """
    n, L = p.X.shape[0], p.depth
    if not isinstance(t, Trace):
        return f"it returned a {type(t).__name__}; expected a Trace."
    if not whole and set(t.missing) >= set(QUANTITIES):
        return "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least."
    for quantity in QUANTITIES:
        layers = t.layers(quantity)
        if not whole and isinstance(layers, Mapping) and not layers:
            continue
        if not isinstance(layers, Mapping):
            return (
                f"{quantity} is a {type(layers).__name__}; expected a mapping of layers 1 to {L}."
            )
        if set(layers) != set(range(1, L + 1)):
            return f"{quantity} has the layers {sorted(layers, key=str)}; expected 1 to {L}."
        for l, M in layers.items():
            shape = p.W[l].shape if quantity in ("dW", "W_new") else (n, p.W[l].shape[1])
            if type(M) is not np.ndarray:  # a subclass computes as it likes
                return f"{quantity}_{l} is a {type(M).__name__}; expected a numpy.ndarray."
            if M.shape != shape:
                return f"{quantity}_{l} has shape {M.shape}; expected {shape}."
            if M.dtype != p.dtype:
                return f"{quantity}_{l} has dtype {M.dtype}; expected {p.dtype}, as given."
    one: Any = t.loss
    if one is None and not whole:
        return ""
    if not isinstance(one, (np.ndarray, np.generic)):
        return f"the loss is a {type(one).__name__}; expected an array of shape ()."
    if one.shape != () or one.dtype != p.dtype:
        return f"the loss is {one.dtype} of shape {one.shape}; expected one number of {p.dtype}."
    return ""


def _in_order(L: int) -> Iterator[tuple[str, int]]:
    """The quantities in the order in which the algorithm computes them."""
    for l in range(1, L + 1):
        yield from (("A", l), ("Z", l))
    yield ("loss", L)
    for l in range(L, 0, -1):
        yield from (("delta", l), ("dW", l))
    for l in range(1, L + 1):
        yield ("W_new", l)


def _step_by_step(
    subject: Subject, t: Trace, name: str, amended: Amended, rounded: bool
) -> dict[Any, Comparison]:
    """Each equation on the implementation's own operands, where it returned them."""
    steps = subject.network(amended).steps(
        t, subject.arithmetic(amended), partial(subject.accuracy, name), not rounded
    )
    found = {}
    for (q, l), (exact, within) in steps.items():
        value: Any = t.loss if q == "loss" else t.layers(q)[l]
        found[q, l] = Comparison(q, l, "step", value, exact, within)
    return found


def rounds_every_value(name: str) -> bool:
    """Whether it is one of ours that hands on what it returned; others may keep more, or contract a product
    and a sum."""
    return name in IMPLEMENTATIONS and not IMPLEMENTATIONS[name].jitted


def _against_truth(
    gate: str, t: Trace, truth: Truth, within: Spread | None
) -> dict[Any, Comparison]:
    """Every quantity against the exact one; within nothing at all where `within` is None."""
    hull = not truth.decided
    found = {}
    for q in QUANTITIES:
        exact: Mapping[int, Enclosure] = getattr(truth, q)
        for l, value in t.layers(q).items():
            allowed = np.zeros(value.shape) if within is None else LAMBDA * within.layers(q)[l]
            found[q, l] = Comparison(q, l, gate, value, exact[l], allowed, hull)
    L = max(truth.A)
    allowed = np.zeros(()) if within is None else LAMBDA * within.loss
    if t.loss is not None:
        found["loss", L] = Comparison("loss", L, gate, t.loss, truth.loss, allowed)
    return found


class Judged(NamedTuple):
    """A record, whether it conforms, and what it was made of."""

    record: Record
    verdict: Verdict
    comparison: Comparison

    @property
    def element(self) -> Element:
        """The worst element, with its values."""
        c, r = self.comparison, self.record
        at = tuple(r["index"])
        got, expected = float(c.value[at]), float(c.truth.hi[at])
        return Element(
            quantity=c.quantity,
            layer=c.layer,
            gate=c.gate,
            index=r["index"],
            got=number(got, 17),
            got_hex=got.hex(),
            expected=number(expected, 17),
            expected_hex=expected.hex(),
            error=r["error"],
            tolerance=r["tolerance"],
            ratio=r["ratio"],
        )


def _ratio(error: NDArray[np.float64], tolerance: NDArray[np.float64]) -> NDArray[np.float64]:
    """error/tolerance, where 0/0 is 0: no error, and none allowed."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        r = error / tolerance
    return np.where(error == 0, 0.0, np.where(np.isnan(r), np.inf, r))


def _judge_all(comparisons: Sequence[Comparison]) -> list[Judged]:
    """Each comparison's worst element and verdict; the arithmetic is done for all at once."""

    if not comparisons:
        return []

    def joined(parts: Iterator[NDArray[Any]]) -> NDArray[np.float64]:
        return np.concatenate([np.ravel(p) for p in parts]).astype(np.float64)

    hi = joined(c.truth.hi for c in comparisons)
    lo = joined(c.truth.lo for c in comparisons)
    rad = joined(c.truth.rad for c in comparisons)
    error = Enclosure(hi, lo, rad).distance(joined(c.value for c in comparisons))
    tolerance = joined(c.tolerance for c in comparisons)
    sizes = [np.size(c.value) for c in comparisons]
    hull = np.repeat([c.hull for c in comparisons], sizes)
    # what the radius leaves open is held against the value, unless it is the hull at a kink
    ratio = _ratio(np.where(hull, error, error + rad), tolerance)
    surely = _ratio(np.maximum(error - rad, 0.0), tolerance)
    open_ = (error > 0) & ~(np.isfinite(rad) & np.isfinite(tolerance))  # neither right nor wrong
    ratio, surely = np.where(open_, np.inf, ratio), np.where(open_, 0.0, surely)
    starts = np.cumsum([0, *sizes[:-1]])
    tops, largest, errors = (np.maximum.reduceat(x, starts) for x in (ratio, np.abs(hi), error))
    deviates = np.maximum.reduceat(surely, starts) > 1
    opens = np.logical_or.reduceat(open_, starts)
    judged = []
    for i, c in enumerate(comparisons):
        part = slice(starts[i], starts[i] + sizes[i])
        verdict: Verdict = "conforms"
        ratios = ratio[part]
        if tops[i] > 1:
            within = (
                c.hull and not opens[i]
            )  # both sides of a kink are known, and it is between them
            verdict = "deviates" if deviates[i] else "conforms" if within else "undecided"
            ratios = ratios if verdict == "undecided" else surely[part]
        worst = int(ratios.argmax())
        name = c.value.dtype.name
        ulp = float(np.spacing(c.value.dtype.type(min(largest[i], _LARGEST[name]))))
        record = Record(
            quantity=c.quantity,
            layer=c.layer,
            gate=c.gate,
            error=number(float(error[part][worst])),
            tolerance=number(float(tolerance[part][worst])),
            ratio=number(float(ratios[worst])),
            ulps=number(float(errors[i]) / ulp),
            index=list(divmod(worst, c.value.shape[1])) if c.value.ndim == 2 else [],
        )
        judged.append(Judged(record, verdict, c))
    return judged


_LARGEST = {name: float(np.finfo(name).max) for name in ("float64", "float32")}


def compared(subject: Subject, name: str, t: Trace) -> list[Comparison]:
    """What the gates `step` and `end-to-end` compare of a trace, and what they allow."""
    plain = subject.amend(())
    steps = _step_by_step(subject, t, name, plain, rounds_every_value(name))
    whole = _against_truth("end-to-end", t, subject.truth(plain), subject.spread(name, plain))
    return [*steps.values(), *whole.values()]


def _all_gates(
    subject: Subject,
    name: str,
    t: Trace,
    alone: Trace | None,
    amended: Amended,
    rounded: bool,
) -> list[Judged]:
    """Every comparison of a trace, in the order of the algorithm, the step gate first."""
    p = subject.problem
    gates = [
        _step_by_step(subject, t, name, amended, rounded),
        _against_truth("end-to-end", t, subject.truth(amended), subject.spread(name, amended)),
    ]
    if subject.case.exact:
        gates.append(_against_truth("exact", t, subject.truth(amended), None))
    judged = _judge_all([gate[k] for gate in gates for k in _in_order(p.depth) if k in gate])
    if alone is not None and subject.alone is not None:
        one = subject.alone
        rows = _against_truth("row", alone, one.truth(amended), one.spread(name, amended))
        judged += _worst_layers(_judge_all([rows[k] for k in _in_order(p.depth) if k in rows]))
    return judged


def steps_of(subject: Subject, name: str, t: Trace, rounded: bool | None = None) -> list[Judged]:
    """The step gate alone, in the order of the algorithm; each step with the known differences, where it
    conforms to those."""

    def judged(rows: Sequence[Difference]) -> list[Judged]:
        found = _step_by_step(subject, t, name, subject.amend(rows), each)
        return _judge_all([found[k] for k in _in_order(subject.problem.depth) if k in found])

    each = rounds_every_value(name) if rounded is None else rounded
    rows = [d for d in known_differences() if d.concerns(name, subject.case)]
    with np.errstate(all="ignore"):
        plain = judged(())
        amended = judged(rows) if rows else plain
    pairs = zip(plain, amended, strict=True)
    return [a if p.verdict == "deviates" != a.verdict else p for p, a in pairs]


def whole_of(subject: Subject, name: str, t: Trace) -> list[Judged]:
    """Every quantity of a trace end to end."""
    plain = subject.amend(())
    with np.errstate(all="ignore"):
        found = _against_truth("end-to-end", t, subject.truth(plain), subject.spread(name, plain))
        return _judge_all([found[k] for k in _in_order(subject.problem.depth) if k in found])


def right_as_a_whole(subject: Subject, name: str, t: Trace) -> set[tuple[str, int]]:
    """The quantities of layers that conform end to end."""
    judged = whole_of(subject, name, t)
    return {(j.comparison.quantity, j.comparison.layer) for j in judged if j.verdict == "conforms"}


def _worst_layers(judged: Sequence[Judged]) -> list[Judged]:
    """Of each quantity, its worst layer."""
    worst: dict[str, Judged] = {}
    for j in judged:
        q = j.record["quantity"]
        if q not in worst or size(j.record["ratio"]) > size(worst[q].record["ratio"]):
            worst[q] = j
    return list(worst.values())


def _same_bits(t: Trace, again: Trace, L: int) -> Judged:
    """The gate `repeat`: how many numbers differ between two runs on the same input, and the first."""
    pairs = [(q, l, M, again.layers(q)[l]) for q in QUANTITIES for l, M in t.layers(q).items()]
    if t.loss is not None:
        pairs.append(("loss", L, np.asarray(t.loss), np.asarray(again.loss)))
    bits = f"u{pairs[0][2].itemsize}"
    unequal = [one.view(bits) != other.view(bits) for _, _, one, other in pairs]
    differing = sum(int(u.sum()) for u in unequal)
    i = next((i for i, u in enumerate(unequal) if u.any()), 0)
    q, l, one, other = pairs[i]
    record = Record(
        quantity="all",
        layer=0,
        gate="repeat",
        error=float(differing),
        tolerance=0.0,
        ratio="inf" if differing else 0.0,
        ulps=0.0,
        index=[int(k) for k in np.argwhere(unequal[i])[0]] if differing else [],
    )
    first_time = Enclosure(one.astype(np.float64), np.zeros(one.shape), np.zeros(one.shape))
    differs = Comparison(q, l, "repeat", other, first_time, np.zeros(one.shape))
    return Judged(record, "deviates" if differing else "conforms", differs)


def _verdict(judged: Sequence[Judged]) -> Verdict:
    verdicts = {j.verdict for j in judged}
    return (
        "deviates"
        if "deviates" in verdicts
        else "undecided"
        if "undecided" in verdicts
        else "conforms"
    )


def _message(judged: Sequence[Judged], verdict: Verdict) -> str:
    """The first record that does not conform, in words."""
    first = next(j for j in judged if j.verdict == verdict)
    d = first.element
    symbol = SYMBOLS[d["quantity"]]
    where = f"{symbol}_{d['layer']}" if d["quantity"] != "loss" else symbol
    at = f"[{', '.join(map(str, d['index']))}]" if d["index"] else ""
    how = {
        "step": "is wrong given its own operands",
        "end-to-end": "is too far from the truth",
        "exact": "is not exact",
        "row": "of one example alone is too far from the truth",
    }.get(d["gate"], "")
    if d["gate"] == "repeat":
        return (
            f"{where}{at} is not the same the second time: got {d['got']}, the first time "
            f"{d['expected']}; {int(float(d['error']))} in all."
        )
    if verdict == "undecided":
        return (
            f"{where}{at} cannot be decided: got {d['got']}, and the exact value, or what rounding may do "
            f"to it, has no bound there ({d['expected']}, {d['tolerance']} allowed)."
            if d["ratio"] == "inf"
            else f"{where}{at} cannot be decided: got {d['got']}, and the exact value, near "
            f"{d['expected']}, is not known narrowly enough."
        )
    return (
        f"{where}{at} {how}: got {d['got']}, expected {d['expected']}, off by {d['error']} where "
        f"{d['tolerance']} is allowed ({float(d['ratio']):.4g} times)."
    )


def _amended_verdict(
    subject: Subject, name: str, t: Trace, alone: Trace | None, rounded: bool
) -> tuple[list[Judged], Amended] | None:
    """The smallest set of known differences with which everything conforms, if there is one; else one with
    which nothing deviates."""
    rows = [d for d in known_differences() if d.concerns(name, subject.case)]

    undecided = None
    for of in [*([row] for row in rows), *([rows] if len(rows) > 1 else [])]:
        judged = _all_gates(subject, name, t, alone, amended := subject.amend(of), rounded)
        verdict = _verdict(judged)
        if verdict == "conforms":
            return judged, amended
        if verdict == "undecided" and undecided is None:
            undecided = judged, amended
    return undecided


def judge(
    subject: Subject,
    name: str,
    t: Trace,
    again: Trace | None = None,
    alone: Trace | None = None,
    whole: bool = True,
    rounded: bool | None = None,
) -> Result:
    """The verdict on one implementation's trace of one case.

    `again` is its trace of the same input a second time, another batch in between; `alone` that of
    `subject.alone`. `whole`: nothing may be left out of a trace; else what is left out is not judged.
    `rounded`: it goes on from the numbers that it returned; else it may have kept more of them (wider
    registers, a product and a sum rounded once). Where not said: for those of ours that do.
    """
    p = subject.problem
    rounded = rounds_every_value(name) if rounded is None else rounded
    runs = [("", p, t), ("the second time, ", p, again)]
    runs += [("of one example alone, ", subject.alone.problem, alone)] if subject.alone else []
    for when, problem, of in runs:
        if of is None and when:
            continue
        wrong = malformed(problem, of, whole)  # type: ignore[arg-type]
        if not wrong and of is not None and of.missing != t.missing:
            which = min(set(of.missing) ^ set(t.missing))
            wrong = (
                f"{which} is there or not, as it happens; expected the same quantities each time."
            )
        if wrong:
            return _result(subject.case, name, "deviates", when + wrong)
    plain = subject.amend(())
    with np.errstate(all="ignore"):  # of what an implementation returned, NaN and inf included
        judged, amended = _all_gates(subject, name, t, alone, plain, rounded), plain
        if _verdict(judged) != "conforms" and (
            found := _amended_verdict(subject, name, t, alone, rounded)
        ):
            judged, amended = found
    if again is not None:
        judged = [*judged, _same_bits(t, again, p.depth)]
    verdict = _verdict(judged)
    message = "" if verdict == "conforms" else _message(judged, verdict)
    if verdict == "conforms" and amended.key:
        verdict = "known-difference"
        message = f"conforms to what it is known to compute instead: {', '.join(amended.key)}."
    return _result(
        subject.case,
        name,
        verdict,
        message,
        first_deviation=next((j.element for j in judged if j.verdict != "conforms"), None),
        worst=max(judged, key=lambda j: size(j.record["ratio"])).element,
        known_differences=list(amended.key),
        straddling=subject.spread(name, amended).straddling,
        not_returned=list(t.missing),
        records=[j.record for j in judged],
    )


def judge_malformed(case: Case, name: str, message: str) -> Result:
    """The result of an implementation that returned what cannot be judged."""
    return _result(case, name, "deviates", message)


def judge_exception(case: Case, name: str, message: str) -> Result:
    """The result of an implementation that raised, crashed or took too long."""
    return _result(case, name, "error", message)


def _result(case: Case, name: str, verdict: Verdict, message: str, **more: Any) -> Result:
    found = Result(
        case=case.id,
        implementation=name,
        verdict=verdict,
        message=plain(message),  # an exception may say anything
        first_deviation=None,
        worst=None,
        known_differences=[],
        straddling=0,
        not_returned=[],
        blame=[],
        diagnosis=[],
        records=[],
    )
    found.update(more)  # type: ignore[typeddict-item]
    return found
