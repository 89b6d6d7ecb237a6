"""Why each step is as it is: a few sentences for each kind of step, where it is taken first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.commands.handout.example import Example
from conformance.commands.handout.step import Step

__all__ = ["explained"]

WHY: Mapping[str, str] = {
    "A": "Each unit adds up what it receives, each input times its weight.",
    "Z": "σ is applied to each number by itself. Without its bend, all layers together would be one matrix.",
    "T": "Softmax divides by this sum, so that the outputs of an example are positive and sum to 1.",
    "loss": "One number for how far off the outputs are. Training makes it smaller.",
    "G": "The way back begins at the loss: by how much ℒ grows for each small change of an output.",
    "S": "The outputs of softmax share one sum, so that each a changes every z: the way back has a sum too.",
    "D": "The slope of σ at {a}, and not at {z}: {a} is the number that went into σ.",
    "last": "δ says by how much ℒ grows if a pre-activation grows a little. {a} reaches ℒ through {z} alone, "
    "so that the two slopes on the way are multiplied: of ℒ in {z}, and of σ in {a}.",
    "delta": "A unit of layer {l} reaches ℒ through every unit of layer {m}: its share is the sum of their "
    "δ, each times the weight between the two. On the way forward W_{m} sums over the units of layer {l}, on "
    "the way back over those of layer {m}: that is the transpose. Then comes the slope of σ_{l}. {erratum}",
    "dW": "A weight multiplies one number of {before} on its way to one unit. So ℒ changes with it by that "
    "number times the unit's δ: one product for each weight, shaped like W_{l}.{batch}",
    "db": "A bias is the weight of a unit that is always 1, so that its gradient is δ{summed}.",
    "W_new": "The gradient points to where ℒ grows fastest: a step against it makes ℒ smaller, if α is small "
    "enough. All gradients are computed before any weight is changed.",
    "loss_after": "Did it help? Compare it with the loss of Step 1.",
}
ERRATA = {
    True: "The notes print W_4 without its transpose in Step 2b; with it the shapes fit.",
    False: "The notes print W_l in this line; it is W_{l+1}, through which a_{l+1} was computed.",
}
"""What the notes print otherwise, for a column and for rows: `link` and `delta-weights` of docs/errata.md."""


def explained(of: Sequence[Step], e: Example) -> tuple[Step, ...]:
    """The steps, each first one of its kind with its reason; a note that was made once is not made again."""
    seen: set[str] = set()
    done = []
    for step in of:
        parts = [p for p in (_reason(step, e, seen), step.note) if p and p not in seen]
        seen |= {step.note}
        done.append(replace(step, note=" ".join(parts)))
    return tuple(done)


def _reason(step: Step, e: Example, seen: set[str]) -> str:
    """The reason for a kind of step, once; a σ that takes a row has no slope of its own."""
    quantity, l = step.key
    row_wise = ("S" in seen) and quantity == "delta" and l == e.L
    kind = "last" if quantity == "delta" and l == e.L else quantity
    if kind in seen or kind not in WHY or row_wise or (kind == "Z" and "T" in seen):
        return ""
    seen.add(kind)
    a, z = ("a", "z") if e.column else ("A", "Z")
    many = e.n > 1
    return WHY[kind].format(
        a=f"{a}_{l}", z=f"{z}_{l}", before=f"{z}_{l - 1}", l=l, m=l + 1, erratum=ERRATA[e.column],
        batch=" The product sums over the examples." if many else "",
        summed=", summed over the examples" if many else "",
    )  # fmt: skip
