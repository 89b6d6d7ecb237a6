"""A tape, read in balls, which is the truth; its errors (`errors.py`) are the tolerance.

Either reading may be *cut* at marks. The value at a mark is then compared with an implementation's number,
and the tape continues with that number: each piece between marks is judged on its own operands, and no error
passes from one piece to the next. A piece is not judged if the implementation did not return one of its
operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
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
from conformance.truth.errorfree import SLICES, exact_products
from conformance.truth.errors import errors, roundings_alone
from conformance.truth.pairs import BITS, Pairs, UnfitError
from conformance.truth.reading import Reading, last_uses, only_of
from conformance.truth.rounding import Arithmetic, Model, Reals
from conformance.truth.rules import IN_PAIRS, LEAF, balls_of, exactly
from conformance.truth.tape import Key, Tape

__all__ = [
    "Memo",
    "closer_than_roundings",
    "continued",
    "in_balls",
    "in_steps",
]

Memo = dict[tuple[Definition, int], dict[float, Point]]
"""f at floats already seen, for each f and precision: implementations often agree on A_l to the last bit."""

Given = Mapping[Any, NDArray[Any]]

# of the factors of a product: errors of a step are not carried on, and need not be as small
SLICES_OF_A_STEP = 2


@dataclass
class _Context:
    """What a rule may need while it is read in balls."""

    memo: Memo = field(default_factory=dict)
    floats: Any = None  # the operand in floats, where it is exact
    decided: bool = True
    slices: int = SLICES

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
    in_pairs: Callable[[Reading], bool] | None = None,
) -> Reading:
    """The truth of every mark; cut at the marks for which `given` has an implementation's numbers.

    Many numbers are read in `pairs` of floats first (`pairs.py`). Where that does not suffice, precision is
    raised until every mark is known far more closely than a unit in the last place (`certified`), or until
    `enough` accepts the reading: a number that is exactly 0, by cancelling, is never known to a unit in its
    own last place. Pairs suffice where `in_pairs` accepts them; without it, where `enough` does, or where
    they are known far more closely than float64 rounds. What no mark depends on is not computed, and balls
    are dropped after their last use.
    """
    names = {i: key for key, i in tape.marks.items()}
    exact: dict[int, Any] = {
        i: n.params["numbers"] for i, n in enumerate(tape.nodes) if n.rule is LEAF
    }
    exact |= {i: given[key] for i, key in names.items() if given is not None and key in given}
    whole = given is None or all(bool(np.isfinite(M).all()) for M in given.values())
    at: dict[Key, Enclosure] = {}
    context = _Context(
        memo={} if memo is None else memo, slices=SLICES if given is None else SLICES_OF_A_STEP
    )
    last = last_uses(tape)
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
            if (in_pairs or enough or partial(closer_than_roundings, tape))(read()):
                return read()
    certified(compute, whole, None if enough is None else lambda: enough(read()))
    return read()


def in_steps(
    tape: Tape, given: Given, model: Model, memo: Memo | None = None
) -> tuple[Reading, dict[Key, Reals]]:
    """The truth of every mark from an implementation's own numbers at the others, and how far it may be off.

    The truth is known far more closely than that, where it can be.
    """
    seen: list[tuple[Reading, dict[Key, Reals]]] = []

    def bounded(reading: Reading) -> bool:
        seen[:] = [(reading, errors(tape, reading, model, given))]
        return reading.known(seen[0][1])

    found = in_balls(tape, given, memo, in_pairs=bounded)
    if not (seen and seen[0][0] is found):
        bounded(found)
    return seen[0]


def closer_than_roundings(tape: Tape, reading: Reading, dtype: str = "float64") -> bool:
    """Whether every mark is known far more closely than the arithmetic of that dtype rounds."""
    own = roundings_alone(tape, reading, Arithmetic.named(dtype))
    return reading.known({key: own[i] for key, i in tape.marks.items()})


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


def _enclosed(B: Any) -> Enclosure:
    return B.enclosure if isinstance(B, Pairs) else enclosure(B.ravel().tolist(), B.shape)


PAIRED = 300  # numbers per primitive, on average, above which pairs are faster than FLINT's balls


def _in_pairs(tape: Tape) -> bool:
    """Whether a tape is read in pairs first: it is large, pairs can read every primitive of it, and the
    library that multiplies matrices is as exact as pairs need it."""
    return only_of(tape, IN_PAIRS, PAIRED) and exact_products()


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
