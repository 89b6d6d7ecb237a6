"""Compares every number of a handout with the certified truth, and asks which implementations agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from conformance.cases.catalogue import Case
from conformance.commands.handout.example import Example, Published
from conformance.commands.handout.formulas import LOSSES
from conformance.commands.handout.numbers import certified
from conformance.commands.handout.passes import Key, Numbers, after, moved, of_trace, updated_first
from conformance.commands.handout.step import Step
from conformance.judge.result import judged_by
from conformance.judge.start import started
from conformance.judge.subject import Subject
from conformance.model.problem import Floats
from conformance.truth import definitions
from conformance.truth.balls import Ball, Enclosure, enclosure, interval, scalar, working_precision
from conformance.truth.network import Network, Truth

__all__ = ["ASKED", "Answer", "Compared", "answers", "check", "compared", "digits_of", "truth"]

ASKED = ("refbp", "torch-cpu", "jax-cpu")
NEAR = 1e-9  # of the largest entry: a step farther from the truth is wrong, and not only rounded
ROUNDING = 2.0**-46  # of a sum's terms: a smaller result is rounding alone, and 0 on paper

Enclosures = dict[Key, Enclosure]


def _scaled(e: Enclosure, by: float) -> Enclosure:
    """An enclosure divided by a power of two, which is exact."""
    return Enclosure(e.hi / by, e.lo / by, e.rad / by)


def truth(e: Example, by: Numbers) -> Enclosures:
    """Enclosures of every quantity, as a batch of rows."""
    p = e.problem()
    t = Network(p).truth
    exact: Enclosures = {}
    for l in e.W:
        rows = len(e.W[l])  # a last row, if there is one, is the bias
        exact["A", l], exact["Z", l] = t.A[l], t.Z[l]
        exact["delta", l] = _scaled(t.delta[l], e.scale)
        exact["dW", l] = _scaled(t.dW[l][:rows], e.scale)
        exact["W_new", l] = t.W_new[l][:rows]
        if e.b:
            exact["db", l] = _scaled(t.dW[l][rows:], e.scale)
            exact["b_new", l] = _exactly(e.b[l]) if e.fixed_biases else t.W_new[l][rows:]
    exact["loss", 0] = _one(_scaled(t.loss, e.scale))
    exact.update(_between(e, t, by))
    exact["loss_after", 0] = _loss_after(e)
    return exact


def _one(x: Enclosure) -> Enclosure:
    return Enclosure(*(np.reshape(M, (1, 1)) for M in (x.hi, x.lo, x.rad)))


def _exactly(b: Floats) -> Enclosure:
    """The enclosure of a row of floats, of radius 0."""
    row = b.reshape(1, -1)
    return Enclosure(row, np.zeros_like(row), np.zeros_like(row))


def _balls(e: Enclosure) -> list[Ball]:
    """A ball around each number of an enclosure."""
    parts = zip(*(M.ravel().tolist() for M in (e.hi, e.lo, e.rad)), strict=True)
    return [scalar(hi) + scalar(lo) + interval(-rad, rad) for hi, lo, rad in parts]


def _between(e: Example, t: Truth, by: Numbers) -> Enclosures:
    """σ'_l(A_l), ∂L/∂Z_l and the sums over rows, from the enclosures of A_l, δ_l and Z_L."""
    exact: Enclosures = {}
    with working_precision(256):
        for l, name in e.sigma.items():
            if name in definitions.ACTIVATIONS:
                sigma = definitions.ACTIVATIONS[name]
                exact["D", l] = enclosure([sigma(a).first for a in _balls(t.A[l])], t.A[l].hi.shape)
        loss = LOSSES[e.loss].runs_as
        Z, Y = _balls(t.Z[e.L]), [scalar(y) for y in e.Y.ravel().tolist()]
        G = [
            definitions.loss_at(loss, z, y).first / (e.n * int(e.scale))
            for z, y in zip(Z, Y, strict=True)
        ]
        exact["G", e.L] = enclosure(G, e.Y.shape)
        for l in range(1, e.L):
            exact["G", l] = _through(t.delta[l + 1], e.W[l + 1], e.scale)
        if ("S", e.L) in by:
            soft = e.sigma[e.L] == "softmax"
            exact["S", e.L] = _sums(e, [g * z for g, z in zip(G, Z, strict=True)] if soft else G)
            exact["T", e.L] = _sums(e, [a.exp() for a in _balls(t.A[e.L])])
    return exact


def _through(delta: Enclosure, W: Floats, scale: float) -> Enclosure:
    """δ Wᵀ, over the loss's scale."""
    n, width = delta.hi.shape
    d = _balls(delta)
    rows = [d[i * width : (i + 1) * width] for i in range(n)]
    weights = [[scalar(float(w)) / int(scale) for w in row] for row in W]
    sums = [
        sum((x * w for x, w in zip(r, v, strict=True)), scalar(0.0)) for r in rows for v in weights
    ]
    return enclosure(sums, (n, len(W)))


def _sums(e: Example, terms: list[Ball]) -> Enclosure:
    """The sum of the terms of each row."""
    m = e.Y.shape[1]
    rows = [terms[i : i + m] for i in range(0, len(terms), m)]
    return enclosure([sum(row, scalar(0.0)) for row in rows], (e.n, 1))


def _loss_after(e: Example) -> Enclosure:
    """The loss after the step. Its weights are the floats that refbp rounds the new ones to."""
    from conformance.implementations import implementation

    t = implementation("refbp").run(e.problem())
    return _one(_scaled(Network(moved(e, t)).truth.loss, e.scale))


def check(of: Sequence[Step], exact: Enclosures, e: Example) -> None:
    """Raises HandoutError where a step's result is not the certified one: no handout has a mistake."""
    for step in of:
        E = exact[step.key]
        M = step.result if step.scalar else e.shaped(step.result)
        size = float(np.abs(E.hi).max(initial=0.0))
        off = E.distance(M)
        if not (off <= NEAR * size + E.rad).all():
            at = tuple(int(k) for k in np.argwhere(~(off <= NEAR * size + E.rad))[0])
            quantity, l = step.key
            field = "alpha" if quantity == "loss_after" else "loss" if not l else ""
            where = "" if step.scalar else f" in entry {at[0] + 1}, {at[1] + 1}"
            raise e.refused(
                e.table(l) if l else "", field,
                f"gives {float(M[at])!r} as floats{where} of: {step.says}; expected "
                f"{float(E.hi[at])!r}, which is certified: take numbers nearer to 1.",
            )  # fmt: skip


def rounding_alone(e: Example, by: Numbers, exact: Enclosures) -> None:
    """Raises HandoutError where a number is nothing but the rounding of decimals, such as 0.1."""
    for l in e.W:
        size = np.abs(by["Z", l - 1]) @ np.abs(e.W[l]) + (np.abs(e.b[l]) if e.b else 0)
        what = f"gives unit {{}} of layer {l} the pre-activation {{}}"
        _not_rounding(e, e.table(l), "W", what, size, by["A", l], exact["A", l].hi)
    Z = exact["Z", e.L].hi
    size = np.maximum(np.abs(Z), np.abs(e.Y))
    what = "is off output {} by {}"
    _not_rounding(
        e,
        "",
        "y" if e.column else "Y",
        what,
        size,
        by["Z", e.L] - e.Y,
        (Z - e.Y) + exact["Z", e.L].lo,
    )


def _not_rounding(
    e: Example, table: str, field: str, what: str, size: Floats, *sums: Floats
) -> None:
    """Raises HandoutError where a sum is not 0, but no more than the rounding of terms of this size."""
    for M in sums:
        lost = (M != 0) & (np.abs(M) < ROUNDING * size)
        if lost.any():
            i, j = (int(k) for k in np.argwhere(lost)[0])
            raise e.refused(
                table, field,
                f"{what.format(j + 1, f'{M[i, j]:.3g}')}, which is rounding alone: on paper it is 0; "
                "expected another number there, or binary fractions such as 0.25.",
            )  # fmt: skip


# --- who agrees ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What an implementation answered, or why it did not."""

    name: str
    versions: str
    verdict: str  # of the judge: every quantity, every gate
    reason: str
    digits: Mapping[Key, int]  # the fewest certified digits among a quantity's numbers

    @property
    def ran(self) -> bool:
        return bool(self.digits)


def answers(
    e: Example, exact: Enclosures, digits: int, names: Sequence[str] = ASKED
) -> tuple[Answer, ...]:
    """The answers of the implementations, through the adapters that `conformance run` judges."""
    return tuple(_answer(e, exact, digits, name) for name in names)


def _answer(e: Example, exact: Enclosures, digits: int, name: str) -> Answer:
    ready = started(name, False)
    versions = ", ".join(f"{k} {v}" for k, v in ready.row["versions"].items())
    if ready.ready is None:
        return Answer(name, versions, ready.row["status"], ready.row["reason"], {})
    subject = Subject(Case.of(e.problem()))
    result = judged_by(subject, name, ready.ready)
    if result["verdict"] in ("error", "not-run"):
        return Answer(name, versions, result["verdict"], result["message"], {})
    t = ready.ready.run(e.problem())
    answer = of_trace(e, t)
    answer["loss_after", 0] = after(e, ready.ready, t)
    least = {k: _least(M, exact[k], digits) for k, M in answer.items() if k in exact}
    return Answer(name, versions, result["verdict"], result["message"], least)


def _least(M: Floats, E: Enclosure, digits: int) -> int:
    return int(certified(M, E, digits).min(initial=digits))


def digits_of(step: Step, exact: Enclosures, e: Example, digits: int) -> Floats:
    """How many digits of each number of a step are certified, in the shape in which it is displayed."""
    M = step.result if step.scalar else e.shaped(step.result)
    counts = certified(M, exact[step.key], digits)
    return counts if step.scalar else e.shaped(counts)


# --- numbers that somebody printed --------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A printed number beside the certified one."""

    published: Published
    ours: float
    agrees: bool
    instead: float | None = None  # the result of a known mistake, where that is the printed number
    reason: str = ""


def compared(e: Example, exact: Enclosures) -> tuple[Compared, ...]:
    """Each printed number beside ours, rounded to as many places."""
    return tuple(_compared(e, exact, p) for p in e.published)


def _places(x: float, like: Decimal) -> bool:
    """Whether x, rounded to as many places, is the printed number."""
    half = Decimal((0, (5,), int(like.as_tuple().exponent) - 1))
    return abs(Decimal(x) - like) <= half


def _compared(e: Example, exact: Enclosures, p: Published) -> Compared:
    M = exact[p.quantity, p.layer].hi
    ours = float(M[0, 0] if not p.layer else e.shaped(M)[p.at])
    agrees = _places(ours, p.value)
    instead, reason = (None, p.why) if agrees else _other_ways(e, p)
    return Compared(p, ours, agrees, instead, reason)


def _other_ways(e: Example, p: Published) -> tuple[float | None, str]:
    """What a known mistake gives, if it is the printed number, and why that differs from ours."""
    if p.quantity == "loss_after" and _places(value := updated_first(e), p.value):
        text = "It is what comes out where W_{l+1} is updated before δ_l is taken through it."
        return value, f"{text} {p.why}".strip()
    return None, p.why
