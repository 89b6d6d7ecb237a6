"""What a tape is read to: enclosures at its marks, and at every place the number in the middle."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Arithmetic, Reals
from conformance.truth.tape import Key, Tape

__all__ = ["KNOWN_ENOUGH", "Reading", "last_uses", "only_of"]

KNOWN_ENOUGH = 2.0**-10  # in rounding errors: how closely a value must be known


@dataclass(frozen=True)
class Reading:
    """Enclosures at the marks, and at every place the midpoint as a float, or None where nothing is known.

    `decided` is False where the side of a kink is not known: what depends on it encloses both sides.
    """

    at: Mapping[Key, Enclosure]
    values: list[Any]
    decided: bool
    # of roundings; keys do not depend on the model, and the size of a sum's on its arithmetic alone
    keys: dict[int, Any] = field(default_factory=dict)
    sizes: dict[tuple[int, Arithmetic], Any] = field(default_factory=dict)

    def known(self, sizes: Mapping[Key, Reals]) -> bool:
        """Whether every mark is known far more closely than these errors, or than a unit in its last
        place."""
        return all(
            bool((e.narrow() | (e.rad <= KNOWN_ENOUGH * sizes[key])).all())
            for key, e in self.at.items()
        )


def only_of(tape: Tape, names: Collection[str], numbers: int) -> bool:
    """Whether a tape has more than so many numbers for each primitive, on average, and none but these
    primitives, and those that only move numbers about."""
    many = sum(prod(node.shape) for node in tape.nodes) > numbers * len(tape.nodes)
    return many and all(n.rule.moves or not n.operands or n.rule.name in names for n in tape.nodes)


def last_uses(tape: Tape) -> dict[int, int]:
    """For each place that some mark depends on, the last place that uses it."""
    last: dict[int, int] = {i: i for i in tape.marks.values()}
    for i in range(len(tape.nodes) - 1, -1, -1):
        if i in last:
            for j in tape.nodes[i].operands:
                last[j] = max(last.get(j, j), i)
    return last
