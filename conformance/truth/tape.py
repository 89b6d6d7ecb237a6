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

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from conformance.truth.nodes import Nodes, Value, op
from conformance.truth.rules import LEAF

__all__ = ["Key", "Tape"]

Key = Hashable


@dataclass(eq=False)
class Tape(Nodes):
    """The list, and where its marks stand."""

    marks: dict[Key, int] = field(default_factory=dict)
    cotangents: dict[int, Key] = field(
        default_factory=dict
    )  # at a mark: what to call its cotangent

    def leaf(self, numbers: NDArray[Any] | float) -> Value:
        """Floats, which are exact."""
        return self.record(LEAF, numbers=numbers)

    def mark(self, x: Value, key: Key, cotangent: Key | None = None) -> Value:
        """x, under a name; `cotangent` is the name of ∂L/∂x, to be marked by the reverse sweep."""
        marked = op.mark(x)
        self.marks[key] = marked.index
        if cotangent is not None:
            self.cotangents[marked.index] = cotangent
        return marked

    def gradients(
        self, y: Value, seed: Value, wrt: Sequence[tuple[Value, Key]]
    ) -> dict[Key, Value]:
        """Record the reverse sweep from y, whose cotangent is `seed`; the gradients, marked by name."""
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
            self.dtype = node.dtype  # a cotangent is rounded as its value
            each = node.rule.reverse(g, Value(self, i), *operands, **node.params)
            for j, c in zip(node.operands, each, strict=True):
                if c is not None and needed[j]:
                    G[j] = c if j not in G else op.add(G[j], c)
        return found
