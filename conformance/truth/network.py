"""The notes' networks on a tape: FORWARD-PASS is recorded, BACKWARDPROP is its reverse sweep.

    A_l = Z̃_{l−1} W_l      Z_l = σ_l(A_l)      L = (1/n) Σ terms(Z_L, Y)      W_l − α ∂L/∂W_l

Where the network has a bias, the rows of W_l are [W_l; b_l] and z̃ = [z | 1] multiplies them. δ_l = ∂L/∂A_l
and ∂L/∂W_l are the cotangents that the sweep finds at A_l and at W_l. Every quantity is a mark, by its name
and layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.truth.balls import Enclosure
from conformance.truth.definitions import ACTIVATIONS, LOSSES, TERMS, Definition, Term
from conformance.truth.errors import errors
from conformance.truth.nodes import Value, op
from conformance.truth.reading import Reading
from conformance.truth.readings import Memo, closer_than_roundings, in_balls, in_steps
from conformance.truth.rounding import Accuracy, Arithmetic, Model, Reals
from conformance.truth.rules import LEAF, elementwise
from conformance.truth.tape import Tape

__all__ = ["Layered", "Mathematics", "Network", "Spread", "Truth"]

Step = tuple[str, int]

ROWS: Mapping[str, Callable[..., Value]] = {"softmax": op.softmax, "log_softmax": op.log_softmax}


@dataclass(frozen=True)
class Mathematics:
    """What σ and the terms of losses mean. The default is mathematics; a known difference amends it."""

    activations: Mapping[str, Definition] = field(default_factory=lambda: ACTIVATIONS)
    terms: Mapping[str, Definition] = field(default_factory=lambda: TERMS)


T = TypeVar("T")


@dataclass(frozen=True)
class Layered(Generic[T]):
    """Every quantity of a network, by its layer."""

    A: Mapping[int, T]
    Z: Mapping[int, T]
    delta: Mapping[int, T]
    dW: Mapping[int, T]
    W_new: Mapping[int, T]
    loss: T

    def layers(self, quantity: str) -> Mapping[int, T]:
        """{1: …, …, L: …} of one quantity."""
        found: Mapping[int, T] = getattr(self, quantity)
        return found


@dataclass(frozen=True)
class Truth(Layered[Enclosure]):
    """Enclosures; `decided` is False where the side of a kink is not known, and they hold both sides."""

    decided: bool = True


@dataclass(frozen=True)
class Spread(Layered[Reals]):
    """Root mean square errors; `straddling` counts the entries that rounding may put on either side of a
    kink."""

    straddling: int = 0


class Network:
    """A problem on a tape, under some mathematics: its truth, its spread, and its steps."""

    def __init__(
        self, p: Problem, maths: Mathematics | None = None, memo: Memo | None = None
    ) -> None:
        self.problem, self.memo = p, {} if memo is None else memo
        self.tape = _recorded(p, maths or Mathematics())

    @cached_property
    def _exact(self) -> Reading:
        close = partial(closer_than_roundings, self.tape, dtype=self.problem.dtype.name)
        return in_balls(self.tape, in_pairs=close)

    @cached_property
    def truth(self) -> Truth:
        """Every quantity, from the problem's floats, with nothing rounded."""
        return Truth(**_by_layer(self._exact.at), decided=self._exact.decided)

    def spread(
        self,
        arithmetic: Arithmetic,
        accuracy: Callable[[str], Accuracy],
        reach: float,
        afresh: bool = False,
    ) -> Spread:
        """The root mean square error of every quantity, when rounding errors have random signs.

        `accuracy(name)` is what an evaluation of σ may lose; `reach` is the number of errors within which a
        kink counts as reached. `afresh`: the backward pass evaluates softmax again.
        """
        model = Model(arithmetic, _typical(accuracy), reach=reach, afresh=afresh)
        found = errors(self.tape, self._exact, model)
        return Spread(**_by_layer(found), straddling=model.straddling)

    def steps(
        self,
        t: Trace,
        arithmetic: Arithmetic,
        accuracy: Callable[[str], Accuracy],
        unrounded: bool,
    ) -> dict[Step, tuple[Enclosure, Reals]]:
        """Each equation of the notes alone, on the operands in `t`: its exact value, and a bound on its
        error. `unrounded`: an operand may have been passed on before it was rounded.

        A quantity that depends on one that `t` leaves out is not in the result.
        """
        given = {(q, l): M for q in QUANTITIES for l, M in t.layers(q).items()}
        if t.loss is not None:
            given["loss", self.problem.depth] = t.loss
        model = Model(arithmetic, accuracy, worst=True, unrounded=unrounded)
        exact, bounds = in_steps(self.tape, given, model, self.memo)
        return {key: (exact.at[key], bounds[key]) for key in given if key in exact.at}


def _typical(accuracy: Callable[[str], Accuracy]) -> Callable[[str], Accuracy]:
    """For the terms of a loss, half of what they may lose: their root mean square."""

    def found(name: str) -> Accuracy:
        of = accuracy(name)
        return replace(of, c=of.c / 2, c1=of.c1 / 2) if name in TERMS else of

    return found


def _by_layer(found: Mapping[Any, T]) -> dict[str, Any]:
    layered: dict[str, Any] = {q: {} for q in QUANTITIES}
    for (quantity, l), x in sorted(found.items(), key=lambda item: item[0][1]):
        if quantity == "loss":
            layered["loss"] = x
        else:
            layered[quantity][l] = x
    return layered


def _recorded(p: Problem, maths: Mathematics) -> Tape:
    """Record the forward pass, the loss, the reverse sweep and the update."""
    tape, L = Tape(), p.depth
    W = {l: tape.leaf(M) for l, M in p.W.items()}
    Z = tape.leaf(p.X)
    for l in range(1, L + 1):
        A = tape.mark(
            op.matmul(op.with_one(Z) if p.bias else Z, W[l]), ("A", l), cotangent=("delta", l)
        )
        Z = tape.mark(_activated(A, p.sigma[l], maths), ("Z", l))
    dW = _differentiated(tape, Z, W, p, maths)
    alpha = tape.leaf(p.alpha)
    for l in W:
        tape.mark(op.subtract(W[l], op.hadamard(alpha, dW[l])), ("W_new", l))
    return tape


def _differentiated(
    tape: Tape, Z: Value, W: Mapping[int, Value], p: Problem, maths: Mathematics
) -> dict[int, Value]:
    """Record the loss of Z_L and the reverse sweep; return ∂L/∂W_l."""
    before, after = (float(n) for n in p.divisors)
    divisor = tape.leaf(before)
    total = op.sum(_terms(Z, tape.leaf(p.Y), p.loss, maths), axes=(-2, -1))
    loss = op.reshape(op.divide(total, divisor), shape=())
    if after == 1:
        loss = tape.mark(loss, ("loss", p.depth))
        found = tape.gradients([(loss, tape.leaf(1.0))], [(W[l], ("dW", l)) for l in W])
        return {l: found["dW", l] for l in W}
    n = tape.leaf(after)  # δ_l are of each example's own loss
    tape.mark(op.divide(loss, n), ("loss", p.depth))
    sums = tape.gradients([(loss, tape.leaf(1.0))], [(W[l], l) for l in W])
    for l in W:
        del tape.marks[l]  # no implementation returns them
    return {l: tape.mark(op.divide(sums[l], n), ("dW", l)) for l in W}


def _activated(A: Value, sigma: str, maths: Mathematics) -> Value:
    return ROWS[sigma](A) if sigma in ROWS else elementwise(A, maths.activations[sigma], sigma)


def _terms(Z: Value, Y: Value, loss: str, maths: Mathematics) -> Value:
    """The terms of the loss, entry by entry."""
    one = Z.tape.record(LEAF, numbers=1.0)

    def term(of: Term) -> Value:
        f = maths.terms[of.f]
        if of.of == "difference":
            return elementwise(op.subtract(Z, Y), f, of.f)
        weight = Y if of.of == "target" else op.subtract(one, Y)
        return op.weigh(weight, elementwise(Z, f, of.f))

    first, *others = map(term, LOSSES[loss])
    for other in others:
        first = op.add(first, other)
    return first
