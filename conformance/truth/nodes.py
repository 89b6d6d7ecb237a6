"""The parts of a tape: primitives, in the order in which they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["RULES", "Node", "Nodes", "Rule", "Shape", "Value", "op", "rules"]

Shape = tuple[int, ...]


class Rule(NamedTuple):
    """One primitive, in every reading; operands and values are arrays with any number of axes.

    shape(*shapes, **params)             of the value
    ball(context, *operands, **params)   the value, from arrays of balls
    reverse(g, y, *operands, **params)   the cotangent of each operand, recorded; None for one that has none
    carry(m, E, y, operands, **params)   what errors E of the operands do to the value; m is the identity
                                         for errors with signs, and the absolute value for bounds
    rounding(model, y, operands, s, **params)  how much the primitive's own rounding may add: a root mean
                                         square, or a bound where model.worst; s(k) is the size of operand k's
                                         error; None where nothing is rounded
    keys(salt, y, operands, **params)    a hash of what each of its roundings depends on
    moves                                only moves numbers about: `ball` does to floats what it does to balls

    A row without its reverse, carry or rounding cannot be made: None says that there is none.
    """

    name: str
    shape: Callable[..., Shape]
    ball: Callable[..., Any]
    reverse: Callable[..., Any] | None
    carry: Callable[..., Any]
    rounding: Callable[..., Any] | None
    keys: Callable[..., Any] | None
    moves: bool = False


class Node(NamedTuple):
    """One primitive on the tape, with the indices of its operands."""

    rule: Rule
    operands: tuple[int, ...]
    params: Mapping[str, Any]
    shape: Shape
    dtype: str | None = None  # the dtype that it is rounded to, if a tape has more than one
    line: str = ""  # the line of the code that it comes from


@dataclass(frozen=True, eq=False)
class Value:
    """The value of one node of a tape."""

    tape: Nodes
    index: int

    @property
    def shape(self) -> Shape:
        return self.tape.nodes[self.index].shape


@dataclass(eq=False)
class Nodes:
    """The list of nodes, and what the next node gets."""

    nodes: list[Node] = field(default_factory=list)
    dtype: str | None = None  # of what is recorded now
    line: str = ""  # of the code that is recorded now

    def record(self, rule: Rule, *operands: Value, **params: Any) -> Value:
        """Append one primitive."""
        shape = rule.shape(*(x.shape for x in operands), **params)
        self.nodes.append(
            Node(rule, tuple(x.index for x in operands), params, shape, self.dtype, self.line)
        )
        return Value(self, len(self.nodes) - 1)


RULES: dict[str, Rule] = {}
"""Every primitive, by its name: `rules.py` has what networks need, `primitives.py` the others."""


def rules(*rows: Rule) -> None:
    """Register primitives by their names."""
    for rule in rows:
        if rule.name in RULES:
            raise ValueError(f"there are two rules of the name {rule.name!r}.")
        RULES[rule.name] = rule


class _Record:
    """`op.multiply(a, b)` records the primitive of that name."""

    def __getattr__(self, name: str) -> Callable[..., Value]:
        return lambda *of, **params: of[0].tape.record(RULES[name], *of, **params)


op = _Record()
