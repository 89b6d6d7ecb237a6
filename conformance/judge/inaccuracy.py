"""Tells a result that deviates because a formula loses digits from one that deviates by a mistake.

A loss of digits shrinks with u, a mistake does not. So the same implementation computes a *twin*, the same
numbers in the other dtype, and the ratios r of error to tolerance are compared, element by element. The
tolerance is proportional to u: a loss of digits has about the same r in both dtypes, and a mistake has an r
that is 2²⁹ times as large in float64. docs/tolerances.md ("Losing digits is not a mistake") derives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conformance.judge.comparison import Judged, Key
from conformance.judge.gates import rounds_every_value, steps_of, whole_of
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.problem import QUANTITIES, Floats, Problem, Runs, Trace
from conformance.model.results import SYMBOLS, Finding, Result
from conformance.model.results import Step as StepRow
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.reading import Reading
from conformance.truth.readings import in_steps
from conformance.truth.rounding import ALGEBRAIC, Accuracy, Model, Reals
from conformance.truth.tape import Tape

__all__ = ["inaccurate", "small_losses"]

MIDDLE = 2.0**14.5
"""The geometric mean of 1, where digits are lost, and 2²⁹, where there is a mistake: u of float32 over u of
float64."""

NEIGHBOURS = 16
"""How many twins are computed at most: in the first, rounding errors may be small by chance. Their X and
biases are multiplied by 1, 65/64, 63/64, 66/64, …: larger numbers may overflow where smaller ones do not."""

LOGARITHMS = ("minus_log", "minus_log1m")

Place = tuple[str, str, int]
"""A gate, a quantity and its layer."""
Run = Callable[[Problem], Trace | None]
Mask = NDArray[np.bool_]

# σ and σ' by formulas that lose no digits; a is A_l, z is Z_l
_MINUS_ONE = "np.expm1(a), not np.exp(a) - 1"
_SHIFTED = "subtract the maximum of the row before np.exp: exp(a - max) / sum(exp(a - max))"
_LOG_SHIFTED = "b = a - max of the row, then b - np.log(np.sum(np.exp(b)))"
_SOFT = "np.logaddexp(0, a), or np.maximum(a, 0) + np.log1p(np.exp(-abs(a)))"
STABLE: Mapping[str, Mapping[str, str]] = {
    "Z": {
        "elu": _MINUS_ONE,
        "selu": _MINUS_ONE,
        "celu": _MINUS_ONE,
        "tanh": "np.tanh(a)",
        "sigmoid": "1 / (1 + np.exp(-a)), and exp(a) / (1 + exp(a)) for a < 0",
        "silu": "a times a stable sigmoid, 1 / (1 + np.exp(-a))",
        "softplus": _SOFT,
        "logsigmoid": "-np.logaddexp(0, -a), or np.minimum(a, 0) - np.log1p(np.exp(-abs(a)))",
        "mish": f"a * np.tanh(softplus), softplus = {_SOFT}",
        "gelu": "a * erfc(-a / sqrt(2)) / 2, which does not cancel for a < 0",
        "gelu_tanh": "a times the sigmoid of 2u, not 1 + tanh(u), which cancels for u < 0",
        "softmax": _SHIFTED,
        "log_softmax": _LOG_SHIFTED,
    },
    "delta": {
        "elu": "np.exp(a) for a < 0, not z + 1",
        "selu": "λα np.exp(a) for a < 0, not z + λα",
        "celu": "np.exp(a) for a < 0, not z + 1",
        "tanh": "1 - z*z while |a| is small, else 1 / np.cosh(a)**2",
        "sigmoid": "s(a) * s(-a), not s(a) * (1 - s(a))",
        "logsigmoid": "the sigmoid of -a, not 1 minus the sigmoid of a",
        "softmax": "s * (G - sum(s * G)), with the maximum of the row subtracted in s",
        "log_softmax": "G - exp(z) * sum(G)",
    },
    "loss": {
        "binary_cross_entropy": "np.log1p(-z), not np.log(1 - z)",
        "cross_entropy": "the logarithm of z itself, with nothing added to it or subtracted from it",
        "log_softmax_cross_entropy": "-y * z, z as it is",
    },
}
_ANY = "a formula in which no two large numbers cancel (np.expm1, np.log1p, np.hypot)"


def inaccurate(
    subject: Subject, like: str, ran: Runs, result: Result, run: Run, rounded: bool | None
) -> Result | None:
    """`result`, which deviates, as one that loses digits; None if something else is wrong.

    `run` computes another problem; it returns None if the implementation cannot.
    """
    if any(r["gate"] in ("exact", "repeat") and float(r["ratio"]) > 1 for r in result["records"]):
        return None
    runs = [_Deviations(subject, like, ran.first, run, rounded)]
    if subject.alone is not None and ran.alone is not None:
        runs.append(_Deviations(subject.alone, like, ran.alone, run, rounded))
    deviating = [d for d in runs if d.errors]
    if deviating and all(d.lose_digits() for d in deviating):
        return _losing_digits(result, deviating[0])
    return None


def small_losses(subject: Subject, like: str, t: Trace, rounded: bool | None) -> dict[Place, str]:
    """The places that deviate by no more than unstable formulas lose, each with the stable formula. For a
    trace whose implementation cannot be run again."""
    wrong = {k: j for k, j in _judged(subject, like, t, rounded).items() if j.verdict == "deviates"}
    if not wrong:
        return {}
    wider, small = _wider_tolerances(subject, like, t, rounded), {}
    for k, j in wrong.items():
        c = j.comparison
        if bool((c.truth.distance(c.value) <= np.maximum(wider(k), c.tolerance)).all()):
            small[k] = _stable(subject.problem, *k[1:])
    return small


# --- one run, and its twins -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Errors:
    """The errors at one place: absolute, over the tolerance, and over the truth."""

    error: Reals
    ratio: Reals
    relative: Reals
    small: Mask  # at most the loss of formulas with intermediates as large as 1, a and σ
    telling: Mask  # finite, and not so near 0 that 0 itself would be accepted

    @property
    def deviates(self) -> Mask:
        return self.ratio > 1


class _Deviations:
    """The places at which one run deviates, with their errors, and the errors of its twins there."""

    def __init__(
        self, subject: Subject, like: str, t: Trace, run: Run, rounded: bool | None
    ) -> None:
        self.subject, self.like, self.run, self.rounded = subject, like, run, rounded
        self.twins = 0  # how many were computed
        judged = _judged(subject, like, t, rounded)
        wrong = {k: j for k, j in judged.items() if j.verdict == "deviates"}
        steps = {k: j for k, j in wrong.items() if k[0] == "step" or ("step", *k[1:]) not in judged}
        self.wrong = steps or wrong  # errors end to end follow from wrong steps, if there are any
        self.errors = self._errors(subject, t, self.wrong)

    def lose_digits(self) -> bool:
        """Whether every deviating element of every place is a loss of digits."""
        if not all(np.isfinite(e.error).all() for e in self.errors.values()):
            return False
        in_twins: dict[Place, list[_Errors]] = {k: [] for k in self.errors}
        for twin in _twins(self.subject):
            t = self.run(twin.problem)
            if t is None:
                break
            self.twins += 1
            judged = _judged(twin, self.like, t, self.rounded)
            same = {k: judged[k] for k in self.errors if k in judged}
            for k, of_twin in self._errors(twin, t, same).items():
                in_twins[k].append(of_twin)
            verdicts = [self._explained(e, in_twins[k]) for k, e in self.errors.items()]
            if all(explained.all() for explained, _ in verdicts):
                return True
            if any(never.any() for _, never in verdicts):
                return False
        return not self.twins and all((e.small | ~e.deviates).all() for e in self.errors.values())

    def _explained(self, here: _Errors, twins: Sequence[_Errors]) -> tuple[Mask, Mask]:
        """Two masks over the elements of a place, by the errors of twins there: those that are right or lose
        digits, and those that no other twin will explain.

        A loss of digits is small, and its r is of the same size in both dtypes. A mistake that shows in both
        has an r in float64 that is at least 2¹⁴·⁵ times that in float32. A mistake below the rounding of
        float32 looks right there; so where float32 loses nothing at all, float64 must lose nothing either. Or
        no digit is left in float32, and few or none in float64: then r says nothing, and both errors must be
        small. Where no twin is telling, a small error counts as explained.
        """
        if not twins:
            return here.small | ~here.deviates, ~here.small & here.deviates
        telling = np.array([e.telling for e in twins])
        there = np.where(telling, [e.ratio for e in twins], 0).max(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = here.ratio / there if self._wide else there / here.ratio
        same = (quotient < MIDDLE) & (not self._wide or bool((there > 1).any()))
        narrow = np.max([e.relative for e in twins], axis=0) if self._wide else here.relative
        small_there = np.all([e.small for e in twins] | ~telling, axis=0)
        none_left = (there > 1) & (narrow >= 0.5) & small_there
        silent = ~telling.any(axis=0)
        never = (there > 1) & (quotient >= MIDDLE) & ~none_left | ~here.small
        return ~here.deviates | here.small & (same | none_left | silent), here.deviates & never

    @property
    def _wide(self) -> bool:
        return self.subject.problem.dtype == np.float64

    def _errors(
        self, subject: Subject, t: Trace, judged: Mapping[Place, Judged]
    ) -> dict[Place, _Errors]:
        if not judged:
            return {}
        wider = _wider_tolerances(subject, self.like, t, self.rounded)
        by_place = {}
        with np.errstate(all="ignore"):
            for k, j in judged.items():
                c = j.comparison
                error = c.truth.distance(c.value)
                truth = np.abs(c.truth.hi)
                ratio = np.where(error == 0, 0, error / c.tolerance)
                by_place[k] = _Errors(
                    error=error,
                    ratio=ratio,
                    relative=np.where(error == 0, 0, error / truth),
                    small=error <= wider(k),
                    telling=np.isfinite(error) & ((ratio > 1) | (truth > c.tolerance)),
                )
        return by_place


def _judged(subject: Subject, like: str, t: Trace, rounded: bool | None) -> dict[Place, Judged]:
    """Each quantity of each layer, judged by its step and end to end."""
    judged = [*steps_of(subject, like, t, rounded), *whole_of(subject, like, t)]
    return {(j.comparison.gate, *j.key): j for j in judged}


def _wider_tolerances(
    subject: Subject, like: str, t: Trace, rounded: bool | None
) -> Callable[[Place], Reals]:
    """The tolerances for a formula that loses digits: those of the gates, if intermediates were as large as 1
    and a. They allow as many roundings of 1 as σ and σ' may have of themselves, and two of a in σ. Formulas
    without exponentials and logarithms have no such intermediates, unless they bend elsewhere than at 0:
    hardtanh is (|a + 1| − |a − 1|)/2."""

    def accuracy(name: str) -> Accuracy:
        row = subject.accuracy(like, name)
        bends = ACTIVATIONS[name].breaks if name in ACTIVATIONS else ()
        if name in ALGEBRAIC and name not in LOGARITHMS and not any(bends):
            return row
        return replace(row, e=max(2, row.e), h=row.c, d=max(row.c1, row.d), ends=np.inf)

    depth, unamended = subject.problem.depth, subject.amend(())
    network, arithmetic = subject.network(unamended), subject.arithmetic(unamended)
    given: dict[Key, Floats] = {(q, l): M for q in QUANTITIES for l, M in t.layers(q).items()}
    if t.loss is not None:
        given["loss", depth] = t.loss
    each = rounds_every_value(like) if rounded is None else rounded
    model = Model(arithmetic, accuracy, worst=True, unrounded=not each)
    exact, bounds = in_steps(network.tape, given, model, subject.memo)
    underflows = _of_jacobians(subject.problem, network.tape, exact, arithmetic.normal)

    spread = network.spread(arithmetic, accuracy, LAMBDA, afresh=True)

    def tolerance(k: Place) -> Reals:
        gate, q, l = k
        whole = spread.loss if q == "loss" else spread.layers(q)[l]
        lost = underflows.get(l, 0.0) if q == "delta" else 0.0
        return np.asarray((bounds[q, l] if gate == "step" else LAMBDA * whole) + lost)

    return tolerance


def _of_jacobians(p: Problem, tape: Tape, exact: Reading, normal: float) -> dict[int, Reals]:
    """What δ_l of a softmax may lose if its Jacobian is formed and the entries s_j s_k underflow: a normal
    number times each |G_k|."""
    # in the order of the sweep
    rows = [l for l in range(p.depth, 0, -1) if p.sigma[l] == "softmax"]
    again = [i for i, node in enumerate(tape.nodes) if node.rule.name == "again"]
    weighed = {
        node.operands[1]: exact.values[node.operands[0]]
        for node in tape.nodes
        if node.rule.name == "multiply" and node.operands[1] in again
    }
    return {
        l: normal * np.abs(weighed[i]).sum(axis=-1, keepdims=True)
        for l, i in zip(rows, again, strict=True)
        if weighed[i] is not None
    }


def _twins(subject: Subject) -> Iterator[Subject]:
    """The same numbers in the other dtype, and then neighbours of them: other examples, and other biases.

    A number that float32 cannot hold is replaced by the nearest normal number, since a zero loses nothing.
    """
    p = subject.problem
    name = "float32" if p.dtype == np.float64 else "float64"
    f = np.finfo(name)
    least, most = float(f.smallest_normal), float(f.max)

    def other(M: Floats) -> Floats:
        size = np.abs(M)
        kept = np.where(size > 0, np.clip(size, least, most), 0) if name == "float32" else size
        return np.copysign(kept, M).astype(name)

    for j in range(NEIGHBOURS):
        by = (j + 1) // 2 / (64 if j % 2 else -64)
        twin = replace(
            p,
            W={l: other(_moved(M, by) if p.bias else M) for l, M in p.W.items()},
            X=other(p.X.astype(float) * (1 + by)),
            Y=other(p.Y),
            alpha=float(np.dtype(name).type(p.alpha)),
        )
        case = replace(subject.case, dtype=name)
        yield Subject(case, subject.own, given=twin, memo=subject.memo)


def _moved(W: Floats, by: float) -> Floats:
    """W with its bias times 1 + by: where X is 0, or nearly, scaling X alone would change nothing."""
    return np.vstack([W[:-1], W[-1:].astype(float) * (1 + by)])


# --- in words -------------------------------------------------------------------------------------


def _losing_digits(result: Result, deviations: _Deviations) -> Result:
    """The result with the verdict `inaccurate`: what loses digits, and the formula that does not."""
    p = deviations.subject.problem
    (_, q, l), first = next(iter(deviations.wrong.items()))
    e = first.element
    where = SYMBOLS[q] if q == "loss" else f"{SYMBOLS[q]}_{l}"
    at = f"[{', '.join(map(str, e['index']))}]" if e["index"] else ""
    why = (
        "as many roundings in float64 as in float32, so it is rounding and no mistake"
        if deviations.twins
        else f"there is {p.dtype} alone of it, and this is no more than rounding 1, a and σ does"
    )
    message = (
        f"{where}{at} loses digits: got {e['got']}, expected {e['expected']}, off by {e['error']} where "
        f"{e['tolerance']} is allowed ({float(e['ratio']):.4g} times); {why}. Stable: {_stable(p, q, l)}."
    )
    steps = [StepRow(quantity=q, layer=l) for _, q, l in deviations.wrong]
    findings = []
    for quantity in dict.fromkeys(s["quantity"] for s in steps):
        own = [s for s in steps if s["quantity"] == quantity]
        layers = ", ".join(str(s["layer"]) for s in own)
        findings.append(
            Finding(
                fault="",
                steps=own,
                text=f"{SYMBOLS[quantity]} of layer {layers} loses digits: {why}.",
                suggestion=f"Stable: {_stable(p, quantity, own[0]['layer'])}.",
            )
        )
    return {
        **result,
        "verdict": "inaccurate",
        "message": message,
        "blame": steps,
        "diagnosis": findings,
    }


def _stable(p: Problem, q: str, l: int) -> str:
    """The formula of a quantity that loses no digits, in a few words of Python."""
    return STABLE.get(q, {}).get(p.loss if q == "loss" else p.sigma[l], _ANY)
