"""A result that deviates because a formula loses digits, told from one that deviates by a mistake.

A mistake does not shrink with u, a loss of digits does. The same implementation computes the *twin*, the
same numbers in the other dtype, and its errors over tolerance r are compared, element by element: tolerance
is proportional to u, so that a loss of digits has the same r in both, up to chance, and a mistake one that
is 2²⁹ times as large in float64. docs/tolerances.md ("Losing digits is not a mistake") derives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conformance.judge.comparison import Judged
from conformance.judge.gates import rounds_every_value, steps_of, whole_of
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.problem import QUANTITIES, Floats, Problem, Runs, Trace
from conformance.model.results import SYMBOLS, Finding, Result
from conformance.model.results import Step as StepRow
from conformance.truth.readings import errors, in_balls
from conformance.truth.rounding import ALGEBRAIC, Accuracy, Model, Reals

__all__ = ["inaccurate", "small_losses"]

MIDDLE = 2.0**14.5
"""Between 1, a loss of digits, and 2²⁹, a mistake: u of float32 over u of float64."""

NEIGHBOURS = 16
"""Twins that are asked at most, where rounding is kind in the first: X and biases times 1 + j/64."""

LOGARITHMS = ("minus_log", "minus_log1m")

Key = tuple[str, str, int]  # gate, quantity, layer
Run = Callable[[Problem], Trace | None]
Bits = NDArray[np.bool_]

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
    """`result`, which deviates, as one that loses digits; None where something else is wrong.

    `run` computes another problem, or gives None where the implementation does not.
    """
    if any(r["gate"] in ("exact", "repeat") and float(r["ratio"]) > 1 for r in result["records"]):
        return None
    runs = [_Deviations(subject, like, ran.first, run, rounded)]
    if subject.alone is not None and ran.alone is not None:
        runs.append(_Deviations(subject.alone, like, ran.alone, run, rounded))
    found = [d for d in runs if d.places]
    return _told(result, found[0]) if found and all(d.lose_digits() for d in found) else None


def small_losses(subject: Subject, like: str, t: Trace, rounded: bool | None) -> dict[Key, str]:
    """What deviates by no more than formulas lose, by gate, quantity and layer, with the stable one: where
    nothing else can be asked."""
    wrong = {k: j for k, j in _judged(subject, like, t, rounded).items() if j.verdict == "deviates"}
    if not wrong:
        return {}
    large, found = _as_large(subject, like, t, rounded), {}
    for k, j in wrong.items():
        c = j.comparison
        if bool((c.truth.distance(c.value) <= np.maximum(large(k), c.tolerance)).all()):
            found[k] = _stable(subject.problem, *k[1:])
    return found


# --- one run, and its twins -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """One quantity of one layer: its error, that over the tolerance, and that over the truth.

    `small`: no more than formulas lose whose intermediates are as large as 1, a and σ.
    """

    error: Reals
    ratio: Reals
    relative: Reals
    small: Bits
    told: Bits  # whether it says anything: finite, and not so near 0 that 0 would be right

    @property
    def deviates(self) -> Bits:
        return self.ratio > 1


class _Deviations:
    """The places of one run that deviate, and what twins show there."""

    def __init__(
        self, subject: Subject, like: str, t: Trace, run: Run, rounded: bool | None
    ) -> None:
        self.subject, self.like, self.run, self.rounded = subject, like, run, rounded
        self.twins = 0  # how many it took
        judged = _judged(subject, like, t, rounded)
        wrong = {k: j for k, j in judged.items() if j.verdict == "deviates"}
        self.wrong = {
            k: j for k, j in wrong.items() if k[0] == "step" or ("step", *k[1:]) not in judged
        }
        self.wrong = self.wrong or wrong  # else what is off end to end follows from its steps
        self.places = self._places(subject, t, self.wrong)

    def lose_digits(self) -> bool:
        """Whether every deviating element of every place is a loss of digits."""
        if not all(np.isfinite(p.error).all() for p in self.places.values()):
            return False
        seen: dict[Key, list[_Place]] = {k: [] for k in self.places}
        for twin in _twins(self.subject):
            t = self.run(twin.problem)
            if t is None:
                break
            self.twins += 1
            judged = _judged(twin, self.like, t, self.rounded)
            same = {k: judged[k] for k in self.places if k in judged}
            for k, place in self._places(twin, t, same).items():
                seen[k].append(place)
            verdicts = [self._explained(p, seen[k]) for k, p in self.places.items()]
            if all(explained.all() for explained, _ in verdicts):
                return True
            if any(never.any() for _, never in verdicts):
                return False
        return not self.twins and all((p.small | ~p.deviates).all() for p in self.places.values())

    def _explained(self, here: _Place, seen: Sequence[_Place]) -> tuple[Bits, Bits]:
        """Which elements of a place are right or lose digits, by what twins show there; and which no other
        twin will explain.

        A loss is small, and its r of the same size in both: float64 has none 2¹⁴·⁵ times that of float32, as
        a mistake has that both show; and a place right in float32, with what a mistake below its rounding
        looks like, loses none in float64. Or no digit is left in float32, and few or none in float64, which
        is small in both. Where twins say nothing, what is small is explained.
        """
        if not seen:
            return here.small | ~here.deviates, ~here.small & here.deviates
        told = np.array([p.told for p in seen])
        there = np.where(told, [p.ratio for p in seen], 0).max(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = here.ratio / there if self._wide else there / here.ratio
        same = (quotient < MIDDLE) & (not self._wide or bool((there > 1).any()))
        narrow = np.max([p.relative for p in seen], axis=0) if self._wide else here.relative
        none_left = (there > 1) & (narrow >= 0.5) & np.all([p.small for p in seen] | ~told, axis=0)
        silent = ~told.any(axis=0)
        never = (there > 1) & (quotient >= MIDDLE) & ~none_left | ~here.small
        return ~here.deviates | here.small & (same | none_left | silent), here.deviates & never

    @property
    def _wide(self) -> bool:
        return self.subject.problem.dtype == np.float64

    def _places(
        self, subject: Subject, t: Trace, judged: Mapping[Key, Judged]
    ) -> dict[Key, _Place]:
        if not judged:
            return {}
        large = _as_large(subject, self.like, t, self.rounded)
        found = {}
        with np.errstate(all="ignore"):
            for k, j in judged.items():
                c = j.comparison
                error = c.truth.distance(c.value)
                truth = np.abs(c.truth.hi)
                ratio = np.where(error == 0, 0, error / c.tolerance)
                found[k] = _Place(
                    error=error,
                    ratio=ratio,
                    relative=np.where(error == 0, 0, error / truth),
                    small=error <= large(k),
                    told=np.isfinite(error) & ((ratio > 1) | (truth > c.tolerance)),
                )
        return found


def _judged(subject: Subject, like: str, t: Trace, rounded: bool | None) -> dict[Key, Judged]:
    """Each quantity of each layer, by its step and end to end."""
    judged = [*steps_of(subject, like, t, rounded), *whole_of(subject, like, t)]
    return {(j.comparison.gate, j.comparison.quantity, j.comparison.layer): j for j in judged}


def _as_large(
    subject: Subject, like: str, t: Trace, rounded: bool | None
) -> Callable[[Key], Reals]:
    """The tolerances of the gates, if intermediates were as large as 1 and a: as many roundings of 1 as σ
    and σ' may have of themselves, and of a two in σ. Without exponentials and logarithms nothing cancels."""

    def accuracy(name: str) -> Accuracy:
        of = subject.accuracy(like, name)
        if name in ALGEBRAIC and name not in LOGARITHMS:
            return of
        return replace(of, e=max(2, of.e), h=of.c, d=max(of.c1, of.d), ends=np.inf)

    depth, plain = subject.problem.depth, subject.amend(())
    network, arithmetic = subject.network(plain), subject.arithmetic(plain)
    given: dict[tuple[str, int], Floats] = {
        (q, l): M for q in QUANTITIES for l, M in t.layers(q).items()
    }
    if t.loss is not None:
        given["loss", depth] = t.loss
    each = rounds_every_value(like) if rounded is None else rounded
    model = Model(arithmetic, accuracy, worst=True, unrounded=not each)
    bounds = errors(network.tape, in_balls(network.tape, given, subject.memo), model, given)

    spread = network.spread(arithmetic, accuracy, LAMBDA)

    def tolerance(k: Key) -> Reals:
        gate, q, l = k
        whole = spread.loss if q == "loss" else spread.layers(q)[l]
        return np.asarray(bounds[q, l] if gate == "step" else LAMBDA * whole)

    return tolerance


def _twins(subject: Subject) -> Iterator[Subject]:
    """The same numbers in the other dtype, and neighbours of them: other examples, and other biases.

    Where float32 has no number of that size, the nearest normal one stands: a zero would lose nothing.
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
        twin = replace(
            p,
            W={l: other(_moved(M, j / 64) if p.bias else M) for l, M in p.W.items()},
            X=other(p.X.astype(float) * (1 + j / 64)),
            Y=other(p.Y),
            alpha=float(np.dtype(name).type(p.alpha)),
        )
        found = Subject(replace(subject.case, dtype=name), subject.own, memo=subject.memo)
        found.__dict__["problem"], found.__dict__["alone"] = twin, None
        yield found


def _moved(W: Floats, by: float) -> Floats:
    """With another bias: where examples are 0, or all but 0, they move nothing."""
    return np.vstack([W[:-1], W[-1:].astype(float) * (1 + by)])


# --- what is said ---------------------------------------------------------------------------------


def _told(result: Result, of: _Deviations) -> Result:
    """The result, with what loses digits and the formula that does not."""
    p = of.subject.problem
    (_, q, l), first = next(iter(of.wrong.items()))
    d = first.element
    where = SYMBOLS[q] if q == "loss" else f"{SYMBOLS[q]}_{l}"
    at = f"[{', '.join(map(str, d['index']))}]" if d["index"] else ""
    why = (
        "as many roundings in float64 as in float32, so it is rounding and no mistake"
        if of.twins
        else f"there is {p.dtype} alone of it, and this is no more than rounding 1, a and σ does"
    )
    stable = _stable(p, q, l)
    message = (
        f"{where}{at} loses digits: got {d['got']}, expected {d['expected']}, off by {d['error']} where "
        f"{d['tolerance']} is allowed ({float(d['ratio']):.4g} times); {why}. Stable: {stable}."
    )
    steps = [StepRow(quantity=q, layer=l) for _, q, l in of.wrong]
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
    return STABLE.get(q, {}).get(p.loss if q == "loss" else p.sigma[l], _ANY)
