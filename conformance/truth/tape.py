"""A function and its gradients as one list of primitives.

The *forward* function is recorded as it is computed: each `Value` remembers the primitive (a row of
`rules.py`) and the operands that it came from. `Tape.gradients` then appends the reverse sweep, by the rule
of each primitive, as more of the same list (reverse-mode differentiation; Griewank and Walther 2008, chapter
3). No derivative of the whole is written anywhere, and nothing is computed while recording: the list is read
afterwards, in balls or in errors (`readings.py`).

A *mark* names a value that an implementation exposes: A_l, δ_l, a gradient. Where a reading is *cut* at its
marks, each piece between them is computed from the implementation's own values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from conformance.truth.nodes import Nodes, Value, op
from conformance.truth.rules import LEAF

__all__ = ["Alter", "Key", "Tape"]

Key = Hashable
Alter = Callable[[Value, Value], Value]


@dataclass(eq=False)
class Tape(Nodes):
    """The list of nodes, with the places of its marks."""

    marks: dict[Key, int] = field(default_factory=dict)
    cotangents: dict[int, Key] = field(
        default_factory=dict
    )  # by the place of a mark: the name of its cotangent
    contributions: list[tuple[int, int]] = field(
        default_factory=list
    )  # the (primitive, operand) pairs that the last sweep added up

    def leaf(self, numbers: NDArray[Any] | float) -> Value:
        """A leaf of floats, which are exact."""
        return self.record(LEAF, numbers=numbers)

    def mark(self, x: Value, key: Key, cotangent: Key | None = None) -> Value:
        """x, under the name `key`; `cotangent` is the name of ∂L/∂x, which the reverse sweep then marks."""
        marked = op.mark(x)
        self.marks[key] = marked.index
        if cotangent is not None:
            self.cotangents[marked.index] = cotangent
        return marked

    def gradients(
        self,
        seeds: Sequence[tuple[Value, Value]],
        wrt: Sequence[tuple[Value, Key]],
        alter: Mapping[tuple[int, int], Alter] | None = None,
        stopped: str = "",
    ) -> dict[Key, Value]:
        """Record the reverse sweep from each y, whose cotangent is its seed; return the gradients, marked by
        name.

        `alter` makes mistakes on purpose: `alter[i, k](g, c)` replaces c, the cotangent that primitive i
        passes to its operand k, where g is the cotangent of primitive i. Nothing is passed through primitives
        of the name `stopped`.
        """
        names = {x.index: key for x, key in wrt}
        top = max(y.index for y, _ in seeds)
        needed = [False] * (top + 1)
        for i in range(top + 1):
            through = self.nodes[i].rule.name != stopped
            needed[i] = i in names or (through and any(needed[j] for j in self.nodes[i].operands))
        G: dict[int, list[Value]] = {}  # the cotangents that were passed to each place
        found: dict[Key, Value] = {}
        self.contributions.clear()
        for y, seed in seeds:
            G.setdefault(y.index, []).append(seed)
        for i in range(top, -1, -1):
            if i not in G or not needed[i]:
                continue
            node = self.nodes[i]
            self.dtype, self.line = node.dtype, node.line  # a cotangent has the dtype of its value
            g = _added(G.pop(i))
            if (key := names.get(i, self.cotangents.get(i))) is not None:
                g = found[key] = self.mark(g, key)
            if i in names or not node.operands:
                continue
            if node.rule.reverse is None:
                raise TypeError(f"{node.rule.name} has no reverse rule.")
            operands = [Value(self, j) for j in node.operands]
            each = node.rule.reverse(g, Value(self, i), *operands, **node.params)
            for k, (j, c) in enumerate(zip(node.operands, each, strict=True)):
                if c is not None and needed[j]:
                    if alter is not None and (i, k) in alter:
                        c = alter[i, k](g, c)
                    self.contributions.append((i, k))
                    G.setdefault(j, []).append(c)
        return found


def _added(of: list[Value]) -> Value:
    """The sum of cotangents; three or more may be added in any order."""
    first, *others = of
    if not others:
        return first
    return op.add(first, *others) if len(others) == 1 else op.total(*of)
