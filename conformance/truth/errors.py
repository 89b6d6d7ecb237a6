"""A tape, read in errors: how far an implementation that rounds may be from the truth at each mark.

Bounds add the sizes of errors up. Root mean squares are taken over `DRAWS` sets of random errors, carried
through the tape together, so that errors with a common cause stay alike and may cancel. Sets depend on one
another in one thing alone: what is rounded at some places (the second order of a function, a kink within
reach) depends on the root mean square of an operand's error over all of them. Between two such places, in a
*run*, a few sets at a time go through: arrays stay in the cache, and the errors of a gradient, on which
nothing depends, are never all there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.truth.reading import Reading, last_uses, only_of
from conformance.truth.rounding import DRAWS, EXACT, Arithmetic, Model, Reals, rms, signed, signs
from conformance.truth.rules import OF_NETWORKS
from conformance.truth.tape import Key, Tape

__all__ = ["draws", "errors", "roundings_alone"]

Given = Mapping[Any, NDArray[Any]]

AT_ONCE = 2**18  # numbers of an array of sets: they stay in the cache, which is faster


def errors(
    tape: Tape, reading: Reading, model: Model, given: Given | None = None
) -> dict[Key, Reals]:
    """How far each mark may be off: root mean squares, or bounds where `model.worst`.

    `given` are an implementation's numbers where bounds are cut.
    """
    with np.errstate(all="ignore"):  # what is infinite has errors without bound
        if model.worst:
            return _bounds(tape, reading, model, given)
        if not model.dtypes and _in_single(tape, reading):
            sets = _Sets(tape, reading, trial := replace(model), np.float32)
            found = sets.means()
            if sets.nothing_lost():
                model.straddling += trial.straddling
                return found
        return _Sets(tape, reading, model).means()


def draws(tape: Tape, reading: Reading, model: Model) -> dict[Key, Reals]:
    """The error of each mark in each of `DRAWS` implementations that round at random; DRAWS×its shape."""
    with np.errstate(all="ignore"):
        found: dict[Key, Reals] = {}
        sets = _Sets(tape, reading, model)

        def see(i: int, e: Any) -> None:
            if i in sets.marks:
                found[sets.marks[i]] = np.broadcast_to(e, (DRAWS, *tape.nodes[i].shape))

        sets.carry(DRAWS * 2**40, set(), see)
        return found


# --- in single precision --------------------------------------------------------------------------

LARGE = 300  # numbers for each primitive, on average
SMALLEST, LARGEST = 2.0**-60, 2.0**60  # of numbers
LEAST = 2.0**-89  # of errors
# roundings below this are of numbers that underflow: of others they are u·SMALLEST at least
UNDERFLOWS = 2.0**-113


def _in_single(tape: Tape, reading: Reading) -> bool:
    """Whether sets of errors, of which a few digits are used, can be carried along in float32.

    What is lost to underflow is less than 2⁻¹⁴⁹. Where no number but 0 is below `SMALLEST`, an error above
    `LEAST` is passed on by any of them; and where the errors of all marks are above that, nothing that counts
    was lost. What underflow may lose is left out, and stands beside. Only tapes of networks are read so, and
    large ones.
    """
    large = only_of(tape, OF_NETWORKS, LARGE)
    return large and all(_within(v) for v in reading.values if v is not None)


def _within(v: Reals) -> bool:
    size = np.abs(v)
    return bool(((size <= LARGEST) & ((size >= SMALLEST) | (size == 0))).all())


# --- sets of random errors ------------------------------------------------------------------------

UNASKED = OF_NETWORKS - {"expand"}
"""Primitives whose rounding does not depend on the errors of operands, on average."""


class _Mean:
    """The root mean square over sets of errors that come a few at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._root: Any = np.zeros(shape)
        self._squares: Any = None
        self._whole: Any = None

    def add(self, e: Any) -> None:
        if isinstance(e, float):
            return
        if e.dtype == np.float32:  # whose squares neither over- nor underflow in double
            more = np.einsum("d...,d...->...", e, e, dtype=np.float64)
            self._squares = more if self._squares is None else self._squares + more
        elif len(e) == DRAWS:
            self._whole = rms(e)
        else:
            self._root = np.hypot(self._root, rms(e) * sqrt(len(e)))

    @property
    def value(self) -> Reals:
        if self._whole is not None:
            return np.asarray(self._whole)
        if self._squares is not None:
            return np.asarray(np.sqrt(self._squares / DRAWS))
        return np.asarray(self._root / sqrt(DRAWS))


class _Sets:
    """Sets of random errors, carried through a tape."""

    def __init__(self, tape: Tape, reading: Reading, model: Model, dtype: Any = np.float64) -> None:
        self.tape, self.reading, self.model, self.dtype = tape, reading, model, np.dtype(dtype)
        self.marks = {i: key for key, i in tape.marks.items()}
        self._single = self.dtype == np.float32
        self._underflows: dict[int, Any] = {}  # of what underflow may lose, in single precision
        self._numbers: dict[int, Any] = {}
        self._means: dict[int, _Mean] = {}
        self._live = self._ordered()
        self._alive = {*self._live}
        names = ("softmax", "log_softmax")
        self._of_rows = [
            i
            for i in self._live
            if tape.nodes[i].rule.name in names and tape.nodes[i].operands[0] in self._alive
        ]
        # the place in this order of the last use of each
        self._last = {i: at for at, i in enumerate(self._live)}
        for at, i in enumerate(self._live):
            self._last |= dict.fromkeys(tape.nodes[i].operands, at)

    def _ordered(self) -> list[int]:
        """The places that some mark depends on, in order, but those that only move the numbers of another
        about, or some of them, directly after it: what is then not used again need not be kept."""
        last, nodes = last_uses(self.tape), self.tape.nodes
        known = [v is not None for v in self.reading.values]
        found: list[int] = []
        after: dict[int, list[int]] = {}
        live = [i for i, n in enumerate(nodes) if i in last and n.operands]
        live = [i for i in live if all(known[j] for j in nodes[i].operands)]
        alive = {*live}
        first = []
        for i in reversed(live):
            j = max(nodes[i].operands)
            others = (alive & {*nodes[i].operands}) - {j, *nodes[j].operands}  # may come after j
            no_larger = prod(nodes[i].shape) <= prod(nodes[j].shape)
            if nodes[i].rule.moves and j in alive and not others and no_larger:
                after.setdefault(j, []).append(i)
            else:
                first.append(i)
        while first:
            i = first.pop()
            found.append(i)
            first += after.get(i, [])
        return found

    def means(self) -> dict[Key, Reals]:
        """The root mean square error of each mark."""
        rows = self._of_rows
        asked = {j for i in rows for j in self.tape.nodes[i].operands if j in self._alive}
        self.carry(AT_ONCE, {*self.marks, *rows, *asked} if self._single else {*self.marks})
        means = {i: self._means[i].value for i in self.marks if i in self._means}
        if self._single:
            means = {i: np.maximum(s, self._underflow(i)) for i, s in means.items()}
        return {self.marks[i]: s for i, s in means.items()}

    def nothing_lost(self) -> bool:
        """Whether the sets may have been in single precision: no error is too small or too large for it, and
        what is left of errors that all of a row have, by rounding them, is little beside the others."""
        means = (mean.value for mean in self._means.values())
        if not all(bool((((s > LEAST) & np.isfinite(s)) | (s == 0)).all()) for s in means):
            return False
        for i in self._of_rows:
            left = self._means[self.tape.nodes[i].operands[0]].value.max(axis=-1, keepdims=True)
            if self.tape.nodes[i].rule.name == "softmax":
                left = left * self.reading.values[i]
            if (2.0**-20 * left > self._means[i].value).any():
                return False
        return True

    def _underflow(self, i: int) -> Any:
        """What underflow may lose in the last rounding of a mark."""
        j = i
        while self.tape.nodes[j].rule.name == "mark":
            j = self.tape.nodes[j].operands[0]
        if self.tape.nodes[j].rule.name == "value":
            found = self._underflows.get(self.tape.nodes[j].operands[0])
            return 0.0 if found is None else found[0]
        return self._underflows.get(j, 0.0)

    def carry(
        self,
        numbers: int,
        measured: set[int],
        see: Callable[[int, Any], None] = lambda i, e: None,
    ) -> None:
        """Carries as many sets at a time through each run as have so many numbers; `see` is shown the errors
        of each place."""
        nodes, last = self.tape.nodes, self._last
        measured = measured.union(j for i in self._live if self._asks(i) for j in nodes[i].operands)
        E: dict[int, Any] = {}  # the errors that later runs use, in all sets
        end = 0
        for run in self._runs():
            begin, end = end, end + len(run)
            self._means |= {i: _Mean(nodes[i].shape) for i in run if i in measured}
            later = [i for i in run if last[i] >= end]
            rounded = {i: self._rounded(i) for i in run}
            most = max(prod(nodes[i].shape) for i in run)
            step = min(DRAWS, max(1, numbers // max(most, 1)))
            for at in range(0, DRAWS, step):
                sets = slice(at, at + step)
                now: dict[int, Any] = {}
                for place, i in enumerate(run, begin):
                    of = [
                        now[j] if j in now else _part(E[j], sets) if j in self._alive else 0.0
                        for j in nodes[i].operands
                    ]
                    e = now[i] = self._error(i, of, rounded[i], sets)
                    see(i, e)
                    if i in measured:
                        self._means[i].add(e)
                    for j in nodes[i].operands:
                        if last[j] <= place:
                            now.pop(j, None)  # not used again
                for i in later:
                    E[i] = _kept(E.get(i), now[i], sets)
            for j in [j for j in E if last[j] < end]:
                del E[j]

    def _runs(self) -> Iterator[list[int]]:
        """The places in order, cut where one asks for the errors of an operand in the same run."""
        run: list[int] = []
        inside: set[int] = set()
        for i in self._live:
            if self._asks(i) and not inside.isdisjoint(self.tape.nodes[i].operands):
                yield run
                run, inside = [], set()
            run.append(i)
            inside.add(i)
        if run:
            yield run

    def _asks(self, i: int) -> bool:
        rule = self.tape.nodes[i].rule
        return rule.rounding is not None and rule.name not in UNASKED

    def _error(self, i: int, off: list[Any], rounded: Any, sets: slice) -> Any:
        """The errors of a place: what those of its operands carry into it, and its own rounding."""
        node = self.tape.nodes[i]
        carried: Any = 0.0
        if not all(isinstance(e, float) for e in off):
            operands = [self._number(j) for j in node.operands]
            carried = node.rule.carry(_itself, off, self._number(i), operands, **node.params)
        if rounded is None:
            return carried
        noise = signed(rounded[0], rounded[1], sets)
        noise += carried
        return noise

    def _rounded(self, i: int) -> Any:
        """The sizes of what is rounded at a place, and the random bits that its signs are made of."""
        node, reading = self.tape.nodes[i], self.reading
        rule, model = node.rule, self.model.of(node.dtype)
        if rule.rounding is None or rule.keys is None:
            return None

        def s(k: int) -> Any:
            j = node.operands[k]
            return self._means[j].value if j in self._alive else 0.0

        size = _finite(i, _rounding(i, self.tape, reading, model, s), reading, model)
        if i not in reading.keys:
            operands = [reading.values[j] for j in node.operands]
            reading.keys[i] = rule.keys(i, reading.values[i], operands, **node.params)
        if self._single and (small := size < UNDERFLOWS).any():
            self._underflows[i], size = np.where(small, size, 0.0), np.where(small, 0.0, size)
        return np.ascontiguousarray(size, self.dtype), signs(reading.keys[i], i)

    def _number(self, i: int) -> Any:
        if not self._single:
            return self.reading.values[i]
        if i not in self._numbers:
            node, v = self.tape.nodes[i], self.reading.values[i]
            if node.rule.moves:  # most often views
                v = node.rule.ball(None, *map(self._number, node.operands), **node.params)
            self._numbers[i] = None if v is None else v.astype(self.dtype, copy=False)
        return self._numbers[i]


def _part(e: Any, sets: slice) -> Any:
    return e if isinstance(e, float) else e[sets]


def _kept(whole: Any, e: Any, sets: slice) -> Any:
    """All sets, with those of this part filled in."""
    if isinstance(e, float) or len(e) == DRAWS:
        return e
    if whole is None:
        whole = np.empty((DRAWS, *e.shape[1:]), e.dtype)
    whole[sets] = e
    return whole


def _itself(x: Any) -> Any:
    return x


# --- bounds ---------------------------------------------------------------------------------------


def _bounds(tape: Tape, reading: Reading, model: Model, given: Given | None) -> dict[Key, Reals]:
    values = reading.values
    names = {i: key for key, i in tape.marks.items()}
    last = last_uses(tape)
    E: list[Any] = []
    found: dict[Key, Reals] = {}
    for i, node in enumerate(tape.nodes):
        known = i in last and all(values[j] is not None for j in node.operands)
        E.append(_bound(i, tape, reading, E, model) if known and node.operands else 0.0)
        if i in names and known:
            found[names[i]] = np.zeros(node.shape) if isinstance(E[i], float) else E[i][0]
        if i in names and given is not None:
            handed = model.unrounded and values[i] is not None
            E[i] = (model.u * np.abs(values[i]) + model.arithmetic.tiny)[None] if handed else 0.0
        for j in node.operands:
            if last.get(j) == i:
                E[j] = 0.0  # not used again
    return found


def _bound(i: int, tape: Tape, reading: Reading, E: list[Any], model: Model) -> Any:
    """The bound of a place: what those of its operands carry into it, and its own rounding."""
    node, values = tape.nodes[i], reading.values
    rule, model = node.rule, model.of(node.dtype)
    off = [E[j] for j in node.operands]
    carried: Any = 0.0
    if not all(isinstance(e, float) for e in off):
        operands = [values[j] for j in node.operands]
        carried = rule.carry(np.abs, off, values[i], operands, **node.params)
    if rule.rounding is None or rule.keys is None:
        return carried

    def s(k: int) -> Any:
        return off[k] if isinstance(off[k], float) else off[k][0]

    size = _finite(i, _rounding(i, tape, reading, model, s), reading, model)
    return carried * (1 + 16 * model.u) + size[None]  # the number that is rounded is off already


# --- one rounding ---------------------------------------------------------------------------------


def _finite(i: int, size: Any, reading: Reading, model: Model) -> Any:
    """The size of a rounding where the number is infinite, which is not rounded, and beyond the range of the
    dtype, where it may become anything."""
    y = reading.values[i]
    of = (
        y if np.shape(y) == np.shape(size) else y[: len(size)]
    )  # of an expansion, f and f' without f''
    if (far := np.abs(of) > model.arithmetic.largest).any() or not np.isfinite(size).all():
        size = np.where(np.isinf(of), 0.0, np.where(far, np.inf, size))
    return size


def _rounding(i: int, tape: Tape, reading: Reading, model: Model, s: Callable[[int], Any]) -> Any:
    """What is rounded at a place; the mean size for a sum is the same for every accuracy of functions."""
    node, values = tape.nodes[i], reading.values
    key = i, model.arithmetic
    kept = node.rule.name in ("matmul", "sum") and not model.worst
    if kept and key in reading.sizes:
        return reading.sizes[key]
    assert node.rule.rounding is not None
    size = node.rule.rounding(
        model, values[i], [values[j] for j in node.operands], s, **node.params
    )
    if kept:
        reading.sizes[key] = size
    return size


SUMMED = ("matmul", "sum", "softmax", "log_softmax")  # in these, errors of one operand may cancel
# in these, errors of one operand may cancel those of another
ADDED = ("add", "subtract", "onto", "total")


def roundings_alone(tape: Tape, reading: Reading, arithmetic: Arithmetic) -> list[Any]:
    """The least error of each place, on average: that of the roundings since the last sum."""
    model = Model(arithmetic, lambda name: EXACT, worst=False)
    values = reading.values
    own: list[Any] = []
    for i, (node, y) in enumerate(zip(tape.nodes, values, strict=True)):
        rule, operands = node.rule, [values[j] for j in node.operands]
        E = [own[j] if isinstance(own[j], float) else own[j][None] for j in node.operands]
        size: Any = 0.0
        if y is not None and all(x is not None for x in operands):
            if rule.rounding is not None:
                size = _rounding(i, tape, reading, model, lambda k: 0.0)
            off = sum(not isinstance(e, float) for e in E)
            if off and rule.name not in SUMMED and (off == 1 or rule.name not in ADDED):
                carried = rule.carry(np.abs, E, y, operands, **node.params)
                size = size + (carried if isinstance(carried, float) else carried[0])
        own.append(size)
    return own
