"""The derivative at branch points: the table of what each way gives there, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np

from conformance.commands.activation.branches import Branch, Interval, order
from conformance.commands.activation.facts import Facts
from conformance.commands.activation.findings import Finding, finding
from conformance.model.results import Number, number

__all__ = ["Kink", "branch_findings", "intervals", "kink_findings", "kinks"]

U = 2.0**-53  # unit roundoff of float64
MOST = 12  # rows, where there are too many branch points to list them
WAYS = {"σ'": "derivative", "torch": "torch", "jax": "jax"}


class Kink(TypedDict):
    """A branch point, and the derivative there by each way."""

    at: Number
    exact: bool
    kind: str
    of: str
    left: Number
    right: Number
    left_value: Number
    right_value: Number
    stated: Number | None
    says: dict[str, Number]
    within: dict[str, bool]


def kinks(facts: Facts) -> list[Kink]:
    """The table: the branch points of σ, and those of σ' at which σ has none, in order."""
    found: dict[float, Kink] = {}
    for b in facts.branches.get("derivative", []):
        found[b.at] = _of_derivative(facts, b)
    for b in facts.branches.get("truth", []):
        found[b.at] = _of_sigma(facts, b)
    listed = sorted(found, key=abs)[:MOST] if "truth" in facts.unsearched else found
    return [found[at] for at in sorted(listed)]


def _at(facts: Facts, b: Branch) -> dict[str, float]:
    """σ' at the point, by each way that has a value there."""
    at = np.flatnonzero(facts.x[facts.dtype] == b.at) if facts.x and b.exact else np.zeros(0, int)
    arrays = {"σ'": facts.values.get(("derivative", facts.dtype))}
    for way in ("torch", "jax"):
        if (autodiff := facts.autodiff.get((way, facts.dtype))) is not None:
            arrays[way] = autodiff.result.d
    return {way: float(d[at[0]]) for way, d in arrays.items() if d is not None and len(at)}


def _row(facts: Facts, b: Branch, of: str, kind: str, first: tuple[float, float]) -> Kink:
    """A row of the table. `first`: the derivatives from the left and from the right."""
    says, within = _at(facts, b), {}
    low, high = min(first), max(first)
    if math.isfinite(low + high):
        room = 64 * U * max(1.0, abs(low), abs(high))
        within = {way: low - room <= d <= high + room for way, d in says.items()}
    stated = facts.spec.kinks.get(b.at)
    return Kink(
        at=number(b.at, 17), exact=b.exact, kind=kind, of=of,
        left=number(first[0], 10), right=number(first[1], 10),
        left_value=number(b.left.value, 10), right_value=number(b.right.value, 10),
        stated=None if stated is None else number(stated, 17),
        says={way: number(d, 10) for way, d in says.items()}, within=within,
    )  # fmt: skip


def _of_sigma(facts: Facts, b: Branch) -> Kink:
    return _row(facts, b, "σ", b.kind, (b.left.first, b.right.first))


def _of_derivative(facts: Facts, b: Branch) -> Kink:
    """A branch point of σ' alone: its own values from both sides are shown, and no derivatives."""
    kind = "smooth" if b.kind == "smooth" else f"{b.kind} of σ'"
    return _row(facts, b, "σ'", kind, (math.nan, math.nan))


def branch_findings(facts: Facts) -> Iterator[Finding]:
    """The findings of jumps, and of functions with more branch points than can be examined."""
    for function, where in facts.unsearched.items():
        got, expected, at = "more than can be examined", "a few", intervals(where)
        of = facts.named(function)
        yield finding(facts.spec, "many-branches", of, where=at, got=got, expected=expected)
    for b in facts.branches.get("truth", []) if "truth" not in facts.unsearched else ():
        if b.kind == "jump":
            yield finding(
                facts.spec,
                "jump",
                "sigma",
                x=number(b.at, 17),
                got=f"{b.left.value:.10g} from the left",
                expected=f"{b.right.value:.10g} from the right",
                dtype=facts.dtype,
            )


def intervals(of: Sequence[Interval], most: int = 6) -> str:
    """Intervals in words: the `most` widest, the widest first, and how many more there are."""
    widest = sorted(of, key=lambda i: order(i[0]) - order(i[1]))
    shown = [f"{low:.6g} ≤ x ≤ {high:.6g}" for low, high in widest[:most]]
    more = [f"{len(of) - most} more intervals"] if len(of) > most else []
    return ", ".join(shown + more)


def kink_findings(facts: Facts, found: Sequence[Kink]) -> Iterator[Finding]:
    """Findings where the table contradicts what was declared with --kink, or the one-sided derivatives."""
    if "truth" not in facts.branches:
        return
    real = {float(k["at"]): k for k in found if k["of"] == "σ" and k["kind"] != "smooth"}
    stated = facts.spec.kinks
    for at in stated.keys() - real.keys():
        yield finding(
            facts.spec, "no-such-kink", "sigma", x=number(at, 17), got="smooth", expected="a kink"
        )
    for at, k in real.items():
        if at in stated:
            yield from _against_statement(facts, k, stated[at])
        elif stated and k["kind"] == "kink":
            sides = f"{k['left']} from the left, {k['right']} from the right"
            expected = "declared with --kink"
            yield finding(
                facts.spec, "undeclared-kink", "sigma", x=k["at"], got=sides, expected=expected
            )
        if k["kind"] == "kink":
            yield from _outside(facts, k)


def _judged(facts: Facts, way: str) -> bool:
    """Whether a way is the user's own code: a framework's convention at a kink is no finding."""
    return way == "σ'" or facts.native.get(way, False)


def _against_statement(facts: Facts, k: Kink, value: float) -> Iterator[Finding]:
    for way, got in k["says"].items():
        if _judged(facts, way) and not abs(float(got) - value) <= 1e-9 * max(1.0, abs(value)):
            numbers = f"{float(got):.10g}", f"{value:.10g}, as stated"
            yield _at_kink(facts, "convention", k, way, *numbers)


def _outside(facts: Facts, k: Kink) -> Iterator[Finding]:
    for way, fine in k["within"].items():
        # σ' is judged at all its points elsewhere
        if not fine and way != "σ'" and _judged(facts, way):
            got = f"{float(k['says'][way]):.17g}"
            sides = f"between {k['left']} and {k['right']}"
            yield _at_kink(facts, "outside-clarke", k, way, got, sides)


def _at_kink(facts: Facts, kind: str, k: Kink, way: str, got: str, expected: str) -> Finding:
    return finding(
        facts.spec, kind, WAYS[way], dtype=facts.dtype, x=k["at"], got=got, expected=expected
    )
