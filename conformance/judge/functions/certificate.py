"""The truth of a recorded function and of its gradients, and what rounding may do to them.

    y = f(x),   ∂x = Σ_k (∂y_k/∂x)ᵀ c_k

for the given inputs x and cotangents c, in balls; and s, the root mean square of their errors when every
operation of the forward pass and of the reverse sweep is rounded at random (docs/tolerances.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.recording import Recording
from conformance.judge.tolerance import LAMBDA
from conformance.truth.balls import Enclosure
from conformance.truth.errors import draws, errors
from conformance.truth.nodes import Node, Value
from conformance.truth.primitives import SHARED, WAYS
from conformance.truth.reading import KNOWN_ENOUGH, Reading
from conformance.truth.readings import in_balls
from conformance.truth.rounding import ROUNDED, Accuracy, Arithmetic, Model, Reals
from conformance.truth.rules import LEAF
from conformance.truth.tape import Alter, Tape

__all__ = ["Certificate", "Precision", "Sums"]

Quantity = tuple[str, str]
"""("y", its name) of an output, ("d", its name) of an input's gradient."""


@dataclass(frozen=True)
class Precision:
    """How numbers are kept.

    storage     what inputs, outputs and every intermediate are rounded to
    accumulate  what sums and matrix products are accumulated in; None: the storage
    compute     what intermediates are kept in, where only inputs and outputs are stored (a fused kernel)
    products    what the factors of a matrix product are rounded to: "tf32", or None
    """

    storage: str
    accumulate: str | None = None
    compute: str | None = None
    products: str | None = None

    @property
    def u(self) -> float:
        """The unit roundoff of the storage."""
        return Arithmetic.named(self.storage).u

    def model(self, accuracy: Callable[[str], Accuracy]) -> Model:
        """The model with which the errors of a tape are read: every dtype that a tape may name, as it is kept
        here."""
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
        """s with the rounding to the storage added, where intermediates are kept in more bits."""
        if self.compute is None:
            return s
        at = Arithmetic.named(self.storage)
        with np.errstate(all="ignore"):
            return np.asarray(np.hypot(s, at.u * np.abs(exact.hi) + at.tiny))


class Sums(NamedTuple):
    """The sum over the last axes of a gradient, or of several gradients of one shape, and its tolerance; this
    is infinite where the sum depends on how equal numbers share the gradient."""

    names: tuple[str, ...]
    axes: int
    truth: Reals
    allowed: Reals


def _apart(a: Enclosure, b: Enclosure) -> Reals:
    """The differences of their midpoints."""
    return (a.hi - b.hi) + (a.lo - b.lo)


def _shared(tape: Tape, way: str) -> dict[tuple[int, int], Alter]:
    """The alterations of a reverse sweep in which equal numbers get other parts of the gradient."""
    found: dict[tuple[int, int], Alter] = {}
    for i, node in enumerate(tape.nodes):
        if node.rule.name in SHARED:
            for k in range(len(node.operands)):
                found[i, k] = partial(_part, way, i, k)
    return found


def _part(way: str, i: int, k: int, g: Value, c: Value) -> Value:
    node = g.tape.nodes[i]
    of = [Value(g.tape, j) for j in (i, *node.operands)]
    part: Value = SHARED[node.rule.name][way](g, *of, **node.params)[k]
    return part


@dataclass
class Certificate:
    """What a function's outputs and gradients are, and how far they may be off. It appends to its recording's
    tape: the recording cannot be used again."""

    recording: Recording
    cotangents: Mapping[str, NDArray[np.float64]]
    wrt: tuple[str, ...]
    precision: Precision
    accuracy: Callable[[str], Accuracy]
    coherent: bool = False  # whether many kinks lie behind one another
    straddling: int = 0  # comparisons that rounding may decide: either side is accepted

    def __post_init__(self) -> None:
        self._unread = self.recording.again()
        self._rounded: tuple[Reading, dict[Any, Reals], Model] | None = None

    def at_zero(self) -> Certificate:
        """The same certificate at cotangents of 0. There the gradient of any right code is exactly 0; nothing
        is computed again."""
        zero = {n: np.zeros_like(c) for n, c in self.cotangents.items()}
        found = replace(self, cotangents=zero, straddling=0)
        known = {q: np.isfinite(e.hi + e.rad) for q, e in self.truth.items() if q[0] == "d"}
        zeros = {
            q: Enclosure(np.where(k, 0.0, np.nan), np.zeros(k.shape), np.where(k, 0.0, np.inf))
            for q, k in known.items()
        }
        vars(found).update(
            truth={**self.truth, **zeros},
            s={**self.s, **{q: np.where(k, 0.0, np.inf) for q, k in known.items()}},
            sums=[],
            choices={},
        )
        return found

    @cached_property
    def read(self) -> Reading:
        """The tape, read in balls."""
        seeds = self._seeds(self.recording)
        if seeds and self.wrt:
            for name in self.extremes:
                self._sweep(self.recording, seeds, name, stopped=name)
            self._sweep(self.recording, seeds, "d")
        return in_balls(self.recording.tape, enough=self._enough)

    def _seeds(self, recording: Recording) -> list[tuple[Value, Value]]:
        """Each output, marked, with its cotangent."""
        tape = recording.tape
        seeds: list[tuple[Value, Value]] = []
        for name, y in recording.outputs.items():
            tape.mark(y, ("y", name))
            tape.dtype = None
            if name in self.cotangents:
                seeds.append(
                    (y, tape.record(LEAF, numbers=np.asarray(self.cotangents[name], np.float64)))
                )
        return seeds

    def _sweep(
        self, recording: Recording, seeds: list[tuple[Value, Value]], mark: str, **how: Any
    ) -> None:
        wrt = [(recording.inputs[n], (mark, n)) for n in self.wrt]
        recording.tape.gradients(seeds, wrt, **how)

    @cached_property
    def sums(self) -> list[Sums]:
        """The sums of gradients that equal numbers share.

        A maximum of equal numbers may pass its gradient to any of them, in any parts: each part may be off by
        all of it. But where the numbers move together the maximum has a derivative, which is the sum of the
        parts. Sharing in other ways shows whether a sum is the same however the numbers share; if so, only
        rounding errors of the parts are allowed.
        """
        _ = self._errors
        if not self.tied or not self.straddling:  # equal numbers are within reach of a kink
            return []
        model = replace(self._model(), free=False)
        shared = self._of_both_sides(errors(self.recording.tape, self.read, model), model)
        known = {n: self.read.at[q] for n in self.wrt if (q := ("d", n)) in self.read.at}
        tied = [n for n in known if (shared["d", n] < self.s["d", n]).any()]
        tied = [n for n in tied if not any(self._same_without(m, n) for m in self.extremes)]
        if not tied:
            return []
        others = [self._where_shared(way) for way in WAYS]
        found = []
        alike = {tuple(m for m in tied if known[m].hi.shape == known[n].hi.shape) for n in tied}
        ways = [((n,), k) for n in tied for k in range(1, known[n].hi.ndim + 1)]
        for names, k in [*ways, *((names, 0) for names in sorted(alike) if len(names) > 1)]:
            axes = tuple(range(-k, 0))
            truth = sum(known[n].hi.sum(axes) for n in names)
            room = sum((LAMBDA * shared["d", n] + known[n].rad).sum(axes) for n in names)
            kept: Any = True
            for other in others:
                apart = sum(_apart(other["d", n], known[n]).sum(axes) for n in names)
                kept &= np.abs(apart) <= room + sum(other["d", n].rad.sum(axes) for n in names)
            found.append(Sums(names, k, np.asarray(truth), np.where(kept, room, np.inf)))
        return found

    @property
    def tied(self) -> bool:
        """Whether there may be equal numbers at a maximum."""
        return any(n.rule.name in SHARED for n in self._forward)

    def _where_shared(self, way: str) -> Mapping[Any, Enclosure]:
        """The gradients if equal numbers share in another way."""
        recording = self._unread.again()
        self._sweep(recording, self._seeds(recording), "d", alter=_shared(recording.tape, way))
        return in_balls(recording.tape, enough=lambda reading: True).at

    @cached_property
    def choices(self) -> Mapping[Quantity, Reals]:
        """How far right code may be from the truth if the first, or the last, of equal numbers gets the whole
        gradient; and, for a whole network, if rounding decides the sides of kinks. All kinks may go one way,
        which random errors do not show. A bound does; for the kink of one function it is too wide."""
        if not self.straddling:
            return {}
        found: dict[Quantity, Reals] = {}
        if self.coherent:
            model = replace(self._model(), worst=True, reach=1.0)
            for q, b in errors(self.recording.tape, self.read, model).items():
                if q in self.truth:
                    found[q] = np.nan_to_num(b, nan=np.inf)
        for way in ("first", "last") if self.tied else ():
            for q, other in self._where_shared(way).items():
                if q in self.truth:
                    exact = self.truth[q]
                    apart = np.abs(_apart(other, exact)) + other.rad + exact.rad
                    found[q] = np.maximum(found.get(q, 0.0), np.nan_to_num(apart, nan=np.inf))
        return found

    @cached_property
    def extremes(self) -> list[str]:
        """Primitives that people leave out of the derivative where that makes no difference: the maximum that
        is subtracted before an exponential. In a sweep that goes through it, its rounding errors cancel."""
        return ["largest"] if any(n.rule.name == "largest" for n in self._forward) else []

    @cached_property
    def _forward(self) -> list[Node]:
        top = max(y.index for y in self.recording.outputs.values())
        return self.recording.tape.nodes[: top + 1]

    def _enough(self, reading: Reading) -> bool:
        _, s, _ = self._rounded = self._read_in_errors(reading)
        return reading.known(s)

    def _model(self) -> Model:
        return self.precision.model(self.accuracy)

    @cached_property
    def s(self) -> dict[Quantity, Reals]:
        """Root mean square errors; infinite for what depends on a number beyond the range of the dtype."""
        found = dict(self._errors)
        for name in self.extremes:
            for n in self.wrt:
                self._without(found, name, n)
        whole = {
            key: np.where(np.isnan(s), np.inf, self.precision.stored(s, self.read.at[key]))
            for key, s in found.items()
        }
        return {key: whole.get(key, np.zeros(e.hi.shape)) for key, e in self.truth.items()}

    def _read_in_errors(self, reading: Reading) -> tuple[Reading, dict[Any, Reals], Model]:
        model = self._model()
        return reading, errors(self.recording.tape, reading, model), model

    @cached_property
    def _errors(self) -> dict[Any, Reals]:
        reading = self.read  # `_enough` may have read its errors already
        if self._rounded is None or self._rounded[0] is not reading:
            self._rounded = self._read_in_errors(reading)
        _, found, model = self._rounded
        self.straddling = model.straddled
        return self._of_both_sides(found, model)

    def _of_both_sides(self, found: dict[Any, Reals], model: Model) -> dict[Any, Reals]:
        """Root mean square errors; where a comparison may go either way, plus the roundings on the other
        side."""
        if not model.straddled:
            return found
        beside = errors(self.recording.tape, self.read, replace(model, sides=False))
        return {key: np.where(s == beside[key], s, s + beside[key]) for key, s in found.items()}

    def _without(self, found: dict[Quantity, Reals], name: str, n: str) -> None:
        """Where the gradient is the same without the primitives of a name, code that leaves them out has the
        errors of that sweep: allow the larger ones."""
        if self._same_without(name, n):
            found["d", n] = np.maximum(found["d", n], found[name, n])

    def _same_without(self, name: str, n: str) -> bool:
        """Whether a gradient is the same if nothing is passed through the primitives of a name."""
        exact, other = self.read.at.get(("d", n)), self.read.at.get((name, n))
        if exact is None or other is None:
            return False
        s = np.maximum(self._errors["d", n], self._errors[name, n])
        apart = np.abs(_apart(exact, other))
        return bool((apart <= exact.rad + other.rad + KNOWN_ENOUGH * s).all())

    @cached_property
    def truth(self) -> dict[Quantity, Enclosure]:
        """Enclosures of the outputs and gradients. The gradient of an input that no output depends on is
        0."""
        at: Mapping[Any, Enclosure] = self.read.at
        found: dict[Quantity, Enclosure] = {q: e for q, e in at.items() if q[0] in ("y", "d")}
        for name in self.wrt:
            zero = np.zeros(self.recording.inputs[name].shape)
            found.setdefault(("d", name), Enclosure(zero, zero, zero))
        return found

    @cached_property
    def draws(self) -> dict[Quantity, Reals]:
        """The errors of DRAWS right implementations."""
        found: dict[Any, Reals] = dict(draws(self.recording.tape, self.read, self._model()))
        return {q: E for q, E in found.items() if q[0] in ("y", "d")}
