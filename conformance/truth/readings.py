"""A tape, read: in balls, which is the truth, and in errors, which are its tolerance.

Either reading may be *cut* at marks. The value at a mark is then compared with an implementation's number,
and the tape continues with that number: each piece between marks is judged on its own operands, and no error
passes from one piece to the next. A piece is not judged if the implementation did not return one of its
operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.truth.balls import (
    Ball,
    Enclosure,
    certified,
    enclosure,
    midpoints,
    precision,
    working_precision,
)
from conformance.truth.definitions import Definition, Point
from conformance.truth.errorfree import exact_products
from conformance.truth.pairs import BITS, Pairs, UnfitError
from conformance.truth.rounding import DRAWS, EXACT, Arithmetic, Model, Reals, rms, signed
from conformance.truth.rules import IN_PAIRS, LEAF, balls_of, exactly
from conformance.truth.tape import Key, Tape

__all__ = ["KNOWN_ENOUGH", "Memo", "Reading", "continued", "draws", "errors", "in_balls"]

Memo = dict[tuple[Definition, int], dict[float, Point]]
"""f at floats already seen, for each f and precision: implementations often agree on A_l to the last bit."""

Given = Mapping[Any, NDArray[Any]]


@dataclass(frozen=True)
class Reading:
    """Enclosures at the marks, and at every place the midpoint as a float, or None where nothing is known.

    `decided` is False where the side of a kink is not known: what depends on it encloses both sides.
    """

    at: Mapping[Key, Enclosure]
    values: list[Any]
    decided: bool
    # of roundings; they do not depend on the model
    keys: dict[int, Any] = field(default_factory=dict)


@dataclass
class _Context:
    """What a rule may need while it is read in balls."""

    memo: Memo = field(default_factory=dict)
    floats: Any = None  # the operand in floats, where it is exact
    decided: bool = True

    def points(self, a: Any, sigma: Definition) -> list[Point]:
        """f, f' and f'' at every element."""
        balls: list[Ball] = a.ravel().tolist()
        if self.floats is None:
            found = [sigma(x) for x in balls]
        else:
            seen, found = self.memo.setdefault((sigma, precision()), {}), []
            for x, b in zip(np.ravel(self.floats).tolist(), balls, strict=True):
                point = seen.get(x)
                if point is None:
                    point = seen[x] = sigma(b)
                found.append(point)
        self.decided = self.decided and all(p.decided for p in found)
        return found


def in_balls(
    tape: Tape,
    given: Given | None = None,
    memo: Memo | None = None,
    enough: Callable[[Reading], bool] | None = None,
    pairs: bool = True,
) -> Reading:
    """The truth of every mark; cut at the marks for which `given` has an implementation's numbers.

    Many numbers are read in `pairs` of floats first (`pairs.py`). Where that does not suffice, precision is
    raised until every mark is known far more closely than a unit in the last place (`certified`), or until
    `enough` accepts the reading: a number that is exactly 0, by cancelling, is never known to a unit in its
    own last place. What no mark depends on is not computed, and balls are dropped after their last use.
    """
    names = {i: key for key, i in tape.marks.items()}
    exact: dict[int, Any] = {
        i: n.params["numbers"] for i, n in enumerate(tape.nodes) if n.rule is LEAF
    }
    exact |= {i: given[key] for i, key in names.items() if given is not None and key in given}
    whole = given is None or all(bool(np.isfinite(M).all()) for M in given.values())
    at: dict[Key, Enclosure] = {}
    context = _Context(memo={} if memo is None else memo)
    last = _last_uses(tape)
    values: list[Any] = []
    readings: list[Reading] = []  # the last one, if `enough` was given it

    def compute(exactly: Callable[[Any], Any] = exactly) -> tuple[Enclosure, ...]:
        at.clear()
        values.clear()
        readings.clear()
        context.decided = True
        env: list[Any] = []
        for i, node in enumerate(tape.nodes):
            B = None
            operands = [env[j] for j in node.operands]
            if node.rule is LEAF and i in last:
                B = exactly(node.params["numbers"])
            elif i in last and all(x is not None for x in operands):
                context.floats = exact.get(node.operands[0]) if node.operands else None
                B = node.rule.ball(context, *operands, **node.params)
                if not isinstance(B, np.ndarray | Pairs):
                    B = balls_of([B], ())  # from an array without axes NumPy returns the element
                if isinstance(B, Pairs):
                    B = B.fit()
            if i in names and B is not None:
                at[names[i]] = _enclosed(B)
            if i in names and given is not None:
                B = exactly(exact[i]) if i in exact else None
            values.append(_value(tape, i, B, exact, values))
            env.append(B)
            for j in node.operands:
                if last.get(j) == i:
                    env[j] = None
        return tuple(at.values())

    def read() -> Reading:
        if not readings:
            readings.append(Reading(dict(at), list(values), context.decided))
        return readings[0]

    if pairs and whole and _in_pairs(tape):
        with suppress(UnfitError), np.errstate(all="ignore"), working_precision(BITS):
            compute(Pairs.exactly)
            own = _own(tape, values)
            if all(_known(e, own[tape.marks[key]]) for key, e in at.items()):
                return read()
    certified(compute, whole, None if enough is None else lambda: enough(read()))
    return read()


def continued(tape: Tape, env: list[Any], wanted: Sequence[int], bits: int = 128) -> list[Reals]:
    """The midpoints of the wanted places, read once at a precision. `env` has the balls of the first places;
    those of the others that are needed are appended."""
    needed = set(wanted)
    for i in range(len(tape.nodes) - 1, len(env) - 1, -1):
        if i in needed:
            needed.update(tape.nodes[i].operands)
    context = _Context()
    with working_precision(bits):
        for i in range(len(env), len(tape.nodes)):
            node, B = tape.nodes[i], None
            if i in needed:
                B = node.rule.ball(context, *(env[j] for j in node.operands), **node.params)
                B = B if isinstance(B, np.ndarray) else balls_of([B], ())
            env.append(B)
        return [midpoints(env[i].ravel().tolist(), env[i].shape) for i in wanted]


KNOWN_ENOUGH = 2.0**-10  # in rounding errors: how closely a value must be known


def _known(e: Enclosure, s: Any) -> bool:
    return bool((e.narrow() | (e.rad <= KNOWN_ENOUGH * s)).all())


SUMMED = ("matmul", "sum", "softmax", "log_softmax")  # in these, errors of one operand may cancel
# in these, errors of one operand may cancel those of another
ADDED = ("add", "subtract", "onto", "total")


def _own(tape: Tape, values: list[Any]) -> list[Any]:
    """The least error of each place, on average, in float64: that of the roundings since the last sum."""
    model = Model(Arithmetic.named("float64"), lambda name: EXACT, worst=False)
    own: list[Any] = []
    for node, y in zip(tape.nodes, values, strict=True):
        rule, operands = node.rule, [values[j] for j in node.operands]
        E = [own[j] if isinstance(own[j], float) else own[j][None] for j in node.operands]
        size: Any = 0.0
        if y is not None and all(x is not None for x in operands):
            if rule.rounding is not None:
                size = rule.rounding(model, y, operands, lambda k: 0.0, **node.params)
            off = sum(not isinstance(e, float) for e in E)
            if off and rule.name not in SUMMED and (off == 1 or rule.name not in ADDED):
                carried = rule.carry(np.abs, E, y, operands, **node.params)
                size = size + (carried if isinstance(carried, float) else carried[0])
        own.append(size)
    return own


def _enclosed(B: Any) -> Enclosure:
    return B.enclosure if isinstance(B, Pairs) else enclosure(B.ravel().tolist(), B.shape)


PAIRED = 300  # numbers per primitive, on average, above which pairs are faster than FLINT's balls


def _in_pairs(tape: Tape) -> bool:
    """Whether a tape is read in pairs first: it is large, pairs can read every primitive of it, and the
    library that multiplies matrices is as exact as pairs need it."""
    numbers = sum(prod(node.shape) for node in tape.nodes)
    able = (n.rule.moves or n.rule is LEAF or n.rule.name in IN_PAIRS for n in tape.nodes)
    return numbers > PAIRED * len(tape.nodes) and all(able) and exact_products()


def _last_uses(tape: Tape) -> dict[int, int]:
    """For each place that some mark depends on, the last place that uses it."""
    last: dict[int, int] = {i: i for i in tape.marks.values()}
    for i in range(len(tape.nodes) - 1, -1, -1):
        if i in last:
            for j in tape.nodes[i].operands:
                last[j] = max(last.get(j, j), i)
    return last


def _value(
    tape: Tape,
    i: int,
    B: Any,
    exact: Mapping[int, Any],
    values: list[Any],
) -> Any:
    """The midpoint at one place; numbers that are only moved about are not converted again."""
    node = tape.nodes[i]
    if i in exact:
        return np.asarray(exact[i], np.float64)
    if B is None:
        return None
    if node.rule.moves and all(values[j] is not None for j in node.operands):
        return node.rule.ball(None, *(values[j] for j in node.operands), **node.params)
    return B.hi if isinstance(B, Pairs) else midpoints(B.ravel().tolist(), B.shape)


def draws(tape: Tape, reading: Reading, model: Model) -> dict[Key, Reals]:
    """The error of each mark in each of `DRAWS` implementations that round at random; DRAWS×its shape."""
    with np.errstate(all="ignore"):
        return _errors(
            tape, reading, model, None, lambda e, shape: np.broadcast_to(e, (DRAWS, *shape))
        )


def errors(
    tape: Tape, reading: Reading, model: Model, given: Given | None = None
) -> dict[Key, Reals]:
    """How far each mark may be off: root mean squares, or bounds where `model.worst`.

    Root mean squares are taken over sets of random errors, carried through the tape together, so that
    errors with a common cause stay alike and may cancel; a bound adds their sizes up.
    """
    with np.errstate(all="ignore"):  # what is infinite has errors without bound
        return _errors(tape, reading, model, given, lambda e, shape: _size(e, shape, model))


def _errors(
    tape: Tape,
    reading: Reading,
    model: Model,
    given: Given | None,
    size: Callable[[Any, tuple[int, ...]], Reals],
) -> dict[Key, Reals]:
    values = reading.values
    names = {i: key for key, i in tape.marks.items()}
    last = _last_uses(tape)
    E: list[Any] = []
    found: dict[Key, Reals] = {}
    for i, node in enumerate(tape.nodes):
        known = i in last and all(values[j] is not None for j in node.operands)
        E.append(_error(i, tape, reading, E, model) if known and node.operands else 0.0)
        if i in names and known:
            found[names[i]] = size(E[i], node.shape)
        if i in names and given is not None:
            handed = model.unrounded and values[i] is not None
            E[i] = (model.u * np.abs(values[i]) + model.arithmetic.tiny)[None] if handed else 0.0
        for j in node.operands:
            if last.get(j) == i:
                E[j] = 0.0  # not used again
    return found


def _error(i: int, tape: Tape, reading: Reading, E: list[Any], model: Model) -> Any:
    """The error of a place: what the errors of its operands carry into it, and its own rounding."""
    node, values = tape.nodes[i], reading.values
    rule, y, model = node.rule, values[i], model.of(node.dtype)
    operands, off = [values[j] for j in node.operands], [E[j] for j in node.operands]
    carried: Any = 0.0
    if not all(isinstance(e, float) for e in off):
        carried = rule.carry(np.abs if model.worst else _itself, off, y, operands, **node.params)
    if rule.rounding is None or rule.keys is None:
        return carried

    def s(k: int) -> Any:
        e = off[k]
        return 0.0 if isinstance(e, float) else e[0] if model.worst else rms(e)

    size = rule.rounding(model, y, operands, s, **node.params)
    # of an expansion, f and f' without f''
    of = y if np.shape(y) == np.shape(size) else y[: len(size)]
    if (far := np.abs(of) > model.arithmetic.largest).any() or not np.isfinite(size).all():
        # an infinite value is not rounded; one beyond the range of the dtype may become anything
        size = np.where(np.isinf(of), 0.0, np.where(far, np.inf, size))
    if model.worst:  # the number that is rounded is off already
        return carried * (1 + 16 * model.u) + size[None]
    if i not in reading.keys:
        reading.keys[i] = rule.keys(i, y, operands, **node.params)
    noise = signed(size, reading.keys[i], i)
    noise += carried
    return noise


def _itself(x: Any) -> Any:
    return x


def _size(e: Any, shape: tuple[int, ...], model: Model) -> Reals:
    if isinstance(e, float):
        return np.zeros(shape)
    return np.asarray(e[0] if model.worst else rms(e))
