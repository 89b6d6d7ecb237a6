"""The truth of a recorded function and of its gradients, and what rounding may do to them.

    y = f(x),   ∂x = Σ_k (∂y_k/∂x)ᵀ c_k

for the given inputs x and cotangents c, in balls; and s, the root mean square of what they are off by when
every operation of the forward and of the reverse sweep is rounded at random (docs/tolerances.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.recording import Recording
from conformance.judge.tolerance import LAMBDA
from conformance.truth.balls import Enclosure
from conformance.truth.nodes import Node, Value
from conformance.truth.readings import Reading, draws, errors, in_balls
from conformance.truth.rounding import ROUNDED, Accuracy, Arithmetic, Model, Reals
from conformance.truth.rules import LEAF

__all__ = ["Certificate", "Precision"]

Quantity = tuple[str, str]
"""("y", its name) of an output, ("d", its name) of an input's gradient."""

KNOWN_ENOUGH = 2.0**-10  # of s: how far below a rounding error a value must be known


@dataclass(frozen=True)
class Precision:
    """How numbers are kept.

    storage     what inputs, outputs and every intermediate are rounded to
    accumulate  what sums and matrix products are added up in; the storage where it is None
    compute     what intermediates are kept in, where only inputs and outputs are stored (a fused kernel)
    products    what the factors of a matrix product are rounded to: "tf32", or nothing
    """

    storage: str
    accumulate: str | None = None
    compute: str | None = None
    products: str | None = None

    @property
    def u(self) -> float:
        """The unit roundoff of what is stored."""
        return Arithmetic.named(self.storage).u

    def model(self, accuracy: Callable[[str], Accuracy]) -> Model:
        """What the errors of a tape are read with: every dtype that a tape may name, as it is kept here."""
        return Model(
            self._arithmetic(self.storage),
            accuracy,
            reach=LAMBDA,
            dtypes={name: self._arithmetic(name) for name in ROUNDED},
        )

    def _arithmetic(self, dtype: str) -> Arithmetic:
        kept = dtype
        if (
            self.compute is not None
            and Arithmetic.named(self.compute).u < Arithmetic.named(dtype).u
        ):
            kept = self.compute
        found = Arithmetic.named(kept)
        if self.accumulate is not None:
            found = replace(found, accumulator=min(found.u, Arithmetic.named(self.accumulate).u))
        return replace(found, factors=2.0**-11) if self.products == "tf32" else found

    def stored(self, s: Reals, exact: Enclosure) -> Reals:
        """s with the last rounding, where intermediates are kept in more."""
        if self.compute is None:
            return s
        at = Arithmetic.named(self.storage)
        with np.errstate(all="ignore"):
            return np.asarray(np.hypot(s, at.u * np.abs(exact.hi) + at.tiny))


@dataclass
class Certificate:
    """What a function's outputs and gradients are, and what they may be off by. Uses its recording up."""

    recording: Recording
    cotangents: Mapping[str, NDArray[np.float64]]
    wrt: tuple[str, ...]
    precision: Precision
    accuracy: Callable[[str], Accuracy]
    straddling: int = 0  # comparisons that rounding may decide: either side is accepted

    @cached_property
    def read(self) -> Reading:
        """The tape in balls."""
        recording, tape = self.recording, self.recording.tape
        seeds: list[tuple[Value, Value]] = []
        for name, y in recording.outputs.items():
            tape.mark(y, ("y", name))
            tape.dtype = None
            if name in self.cotangents:
                seeds.append(
                    (y, tape.record(LEAF, numbers=np.asarray(self.cotangents[name], np.float64)))
                )
        if seeds and self.wrt:
            for name in self.extremes:
                tape.gradients(
                    seeds, [(recording.inputs[n], (name, n)) for n in self.wrt], stopped=name
                )
            tape.gradients(seeds, [(recording.inputs[n], ("d", n)) for n in self.wrt])
        return in_balls(tape, enough=self._enough)

    @cached_property
    def extremes(self) -> list[str]:
        """Primitives that people do not differentiate, where it makes no difference: the maximum that is
        subtracted before an exponential. Their rounding errors cancel in a sweep that goes through it."""
        return ["largest"] if any(n.rule.name == "largest" for n in self._forward) else []

    @cached_property
    def _forward(self) -> list[Node]:
        top = max(y.index for y in self.recording.outputs.values())
        return self.recording.tape.nodes[: top + 1]

    def _enough(self, reading: Reading) -> bool:
        s = errors(self.recording.tape, reading, self._model())
        return all(
            bool((e.narrow() | (e.rad <= KNOWN_ENOUGH * s[key])).all())
            for key, e in reading.at.items()
        )

    def _model(self) -> Model:
        return self.precision.model(self.accuracy)

    @cached_property
    def s(self) -> dict[Quantity, Reals]:
        """Root mean square errors; infinite behind what leaves the range of the dtype."""
        model = self._model()
        found: dict[Any, Reals] = dict(errors(self.recording.tape, self.read, model))
        self.straddling = model.straddled
        if self.straddling:
            beside = errors(self.recording.tape, self.read, replace(model, sides=False))
            found = {key: _both(s, beside[key]) for key, s in found.items()}
        for name in self.extremes:
            for n in self.wrt:
                self._without(found, name, n)
        whole = {
            key: np.where(np.isnan(s), np.inf, self.precision.stored(s, self.read.at[key]))
            for key, s in found.items()
        }
        return {key: whole.get(key, np.zeros(e.hi.shape)) for key, e in self.truth.items()}

    def _without(self, found: dict[Quantity, Reals], name: str, n: str) -> None:
        """Where the gradient is the same without it, whoever leaves it out errs as that sweep does."""
        exact, other = self.read.at.get(("d", n)), self.read.at.get((name, n))
        if exact is None or other is None:
            return
        s, more = found["d", n], found[name, n]
        apart = np.abs((exact.hi - other.hi) + (exact.lo - other.lo))
        if bool((apart <= exact.rad + other.rad + KNOWN_ENOUGH * np.maximum(s, more)).all()):
            found["d", n] = np.maximum(s, more)

    @cached_property
    def truth(self) -> dict[Quantity, Enclosure]:
        """Enclosures. The gradient of an input that no output depends on is 0."""
        at: Mapping[Any, Enclosure] = self.read.at
        found: dict[Quantity, Enclosure] = {q: e for q, e in at.items() if q[0] in ("y", "d")}
        for name in self.wrt:
            zero = np.zeros(self.recording.inputs[name].shape)
            found.setdefault(("d", name), Enclosure(zero, zero, zero))
        return found

    @cached_property
    def draws(self) -> dict[Quantity, Reals]:
        """DRAWS right implementations, as what each is off by."""
        found: dict[Any, Reals] = dict(draws(self.recording.tape, self.read, self._model()))
        return {q: E for q, E in found.items() if q[0] in ("y", "d")}


def _both(s: Reals, beside: Reals) -> Reals:
    """Of errors with the other sides of kinks in them, and without: the other side has roundings too."""
    return np.where(s == beside, s, s + beside)
