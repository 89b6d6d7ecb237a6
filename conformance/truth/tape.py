"""A function and its gradients as one list of primitives.

The *forward* function is recorded as it is computed: each `Value` remembers the primitive (a row of
`rules.py`) and the operands that it came from. `Tape.gradients` then appends the reverse sweep, by the
rule of each primitive, as more of the same list (reverse-mode differentiation; Griewank and Walther 2008,
chapter 3). No derivative of the whole is written anywhere, and nothing is computed while recording: the
list is read afterwards, in balls or in errors (`readings.py`).

A *mark* names a value that an implementation exposes: A_l, δ_l, a gradient. Where a reading is *cut* at its
marks, each piece between them is fed with the implementation's own values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["Key", "Node", "Rule", "Tape", "Value"]

Shape = tuple[int, ...]
Key = Hashable


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

    A row without its reverse, carry or rounding cannot be made: None says that there is none.
    """

    name: str
    shape: Callable[..., Shape]
    ball: Callable[..., Any]
    reverse: Callable[..., Any] | None
    carry: Callable[..., Any]
    rounding: Callable[..., Any] | None
    keys: Callable[..., Any] | None


class Node(NamedTuple):
    """One primitive on the tape, with the places of its operands."""

    rule: Rule
    operands: tuple[int, ...]
    params: Mapping[str, Any]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Value:
    """A place on a tape."""

    tape: Tape
    index: int

    @property
    def shape(self) -> Shape:
        return self.tape.nodes[self.index].shape


@dataclass(eq=False)
class Tape:
    """The list, and where its marks stand."""

    nodes: list[Node] = field(default_factory=list)
    marks: dict[Key, int] = field(default_factory=dict)
    cotangents: dict[int, Key] = field(
        default_factory=dict
    )  # at a mark: what to call its cotangent

    def record(self, rule: Rule, *operands: Value, **params: Any) -> Value:
        """One primitive more."""
        shape = rule.shape(*(x.shape for x in operands), **params)
        self.nodes.append(Node(rule, tuple(x.index for x in operands), params, shape))
        return Value(self, len(self.nodes) - 1)

    def leaf(self, numbers: NDArray[Any] | float) -> Value:
        """Floats, which are exact."""
        from conformance.truth.rules import LEAF

        return self.record(LEAF, numbers=numbers)

    def mark(self, x: Value, key: Key, cotangent: Key | None = None) -> Value:
        """x, under a name; `cotangent` is the name of ∂L/∂x, to be marked by the reverse sweep."""
        from conformance.truth.rules import op

        marked = op.mark(x)
        self.marks[key] = marked.index
        if cotangent is not None:
            self.cotangents[marked.index] = cotangent
        return marked

    def gradients(
        self, y: Value, seed: Value, wrt: Sequence[tuple[Value, Key]]
    ) -> dict[Key, Value]:
        """Record the reverse sweep from y, whose cotangent is `seed`; the gradients, marked by name."""
        from conformance.truth.rules import op

        names = {x.index: key for x, key in wrt}
        needed = [False] * (y.index + 1)
        for i in range(y.index + 1):
            needed[i] = i in names or any(needed[j] for j in self.nodes[i].operands)
        G: dict[int, Value] = {y.index: seed}
        found: dict[Key, Value] = {}
        for i in range(y.index, -1, -1):
            if i not in G or not needed[i]:
                continue
            g, node = G.pop(i), self.nodes[i]
            if (key := names.get(i, self.cotangents.get(i))) is not None:
                g = found[key] = self.mark(g, key)
            if i in names or not node.operands:
                continue
            if node.rule.reverse is None:
                raise TypeError(f"{node.rule.name} has no reverse rule.")
            operands = [Value(self, j) for j in node.operands]
            each = node.rule.reverse(g, Value(self, i), *operands, **node.params)
            for j, c in zip(node.operands, each, strict=True):
                if c is not None and needed[j]:
                    G[j] = c if j not in G else op.add(G[j], c)
        return found
