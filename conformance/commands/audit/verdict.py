"""The verdict on an equation, from all of its tries: where they were right, and how they were wrong.

An equation may be right everywhere; or everywhere one multiple of the right value, its transpose, or the
right value plus a multiple of W_l; or right, or such a multiple, exactly where a condition holds
(`conditions.py`); or none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from conformance.commands.audit.compare import OUTCOMES, TOLERANCE, Tried, slipped
from conformance.commands.audit.conditions import (
    FACTORS,
    explaining,
    fits_any_product,
    most_telling,
)
from conformance.commands.audit.places import Index, Place
from conformance.commands.audit.slips import slips

__all__ = ["KINDS", "Verdict", "judge", "not_judged"]

KINDS = {
    "holds": "holds",
    "holds-only": "holds only for",
    "factor": "wrong by the factor",
    "shapes": "shapes do not fit",
    "incomplete": "leaves something out",
    "wrong": "silently wrong",
    "raises": "raises",
    "no-numbers": "gives no numbers",
    "not-judged": "not judged",
}
"""Every kind of verdict, and how it begins."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one equation: its kind, the same in words, and what happens `elsewhere`.

    `condition`: where it is right. `within`: where it is wrong by the factor, unless that is everywhere.
    `silent`: where it is wrong though the shapes fit. Each is "" where no condition describes it. `cause`:
    the slip that gives what it gave wherever it is wrong. `why`: what is wrong with the equation's code.
    """

    kind: str
    words: str
    elsewhere: str = ""
    condition: str = ""
    within: str = ""
    silent: str = ""
    factor: str = ""
    cause: str = ""
    why: str = ""


def not_judged(why: str) -> Verdict:
    """The verdict on an equation that could not be run, and why."""
    return Verdict("not-judged", KINDS["not-judged"], why=why)


def judge(tried: Sequence[Tried], index: Index) -> Verdict:
    """The verdict that the tries come to; `index` is how the equation writes its layer."""
    outcomes = Counter(t.outcome for t in tried)
    if outcomes["right"] == len(tried):
        return Verdict("holds", "holds")
    condition = _where(tried, index, lambda t: t.outcome == "right")
    if cause := _cause(tried):
        return replace(_pattern(tried, index, condition), cause=cause)
    known = (
        _multiple(tried, condition)
        or _transpose(tried)
        or _step(tried)
        or _decay(tried)
        or _multiple_within(tried, index, condition)
    )
    failing = next((k for k in FAILING if outcomes[k]), "")
    if failing and not known and not condition:
        return Verdict(failing, KINDS[failing], why=_first(failing, tried))
    verdict = known or _pattern(tried, index, condition)
    return replace(verdict, why=_first(failing, tried)) if failing else verdict


def _cause(tried: Sequence[Tried]) -> str:
    """The slip that gives what the equation gave in every wrong try, or the slips; "" where none does."""
    wrong = [t for t in tried if t.outcome != "right"]
    due = wrong[0].due
    known = slips(wrong[0].at.setting.method, due.quantity)
    return ", or ".join(words for words, slip in known if all(slipped(t, slip) for t in wrong))


FAILING = ("raises", "no-numbers")
"""Outcomes for which the equation's code is at fault."""


def _first(kind: str, tried: Sequence[Tried]) -> str:
    """How often the equation's code raised, or gave no numbers, and its first message."""
    bad = [t for t in tried if t.outcome == kind]
    return f"{len(bad)} of {len(tried)} times: {bad[0].message}"


def _where(tried: Sequence[Tried], index: Index, what: Callable[[Tried], bool]) -> str:
    """The condition for `what` to be true; "" where it is true everywhere or nowhere, or none fits."""
    return explaining({t.at: what(t) for t in tried}, index)


# ---- by how much it is wrong ---------------------------------------------------------------------


def _multiple(tried: Sequence[Tried], condition: str) -> Verdict | None:
    """Every try a multiple of what is right, by one factor."""
    for name, fits in _factors(tried):
        if all(map(fits, tried)):
            elsewhere = f"right for {condition}" if condition else ""
            return Verdict(
                "factor", f"wrong by the factor {name}", elsewhere, condition, factor=name
            )
    return None


def _factors(
    tried: Sequence[Tried], of: Callable[[Tried], float | None] = lambda t: t.factor
) -> Iterator[tuple[str, Callable[[Tried], bool]]]:
    """Every factor worth trying, and whether a try is wrong by it: the commonest number, then n, 1/n, …"""
    met = [of(t) for t in tried if t.outcome == "wrong"]
    numbers = Counter(f"{factor:.9g}" for factor in met if factor)
    if numbers:
        most = float(numbers.most_common(1)[0][0])
        yield _numeral(most), lambda t: _close(of(t), most)
    for name, number in FACTORS.items():
        yield name, lambda t, number=number: _close(of(t), number(t.at))  # type: ignore[misc]


def _numeral(number: float) -> str:
    """To six digits; to twelve where six would show 1 for a number that is not 1."""
    near_one = f"{number:.6g}" in ("1", "-1") and abs(number) != 1
    return f"{number:.{12 if near_one else 6}g}".replace("-", "−")


def _close(factor: float | None, to: float) -> bool:
    return factor is not None and abs(factor - to) <= 10 * TOLERANCE * abs(to)


class _Part(NamedTuple):
    """The places in which an equation is wrong by one factor, and words for them."""

    factor: str
    places: set[Place]
    words: str


def _multiple_within(tried: Sequence[Tried], index: Index, condition: str) -> Verdict | None:
    """Wrong by one factor exactly where a condition holds, and perhaps by a second where another one does.

    Such a part is used only if it says more than `condition` does: if the equation is right in some of its
    places (where the factor is 1), or if `condition` is "".
    """
    right = {t.at for t in tried if t.outcome == "right"}
    parts: list[_Part] = []
    for part in sorted(_parts(tried, index), key=lambda p: -len(p.places)):
        covered = set().union(*(p.places for p in parts))
        if (right < part.places or not condition) and len(part.places - covered) > 2:
            parts.append(part)
    if not parts:
        return None
    first, *more = parts[:2]
    others = [t for t in tried if all(t.at not in p.places for p in (first, *more))]
    elsewhere = [f"by {p.factor} for {p.words}" for p in more]
    if right & first.places:
        there = [t for t in tried if t.at in first.places]
        one = _where(there, index, lambda t: t.outcome == "right")
        elsewhere.append(f"right there for {one}" if one and not more else "right where that is 1")
    elsewhere.append(_elsewhere({t.outcome for t in others}, ""))
    return Verdict(
        "factor", f"wrong by the factor {first.factor} for {first.words}", "; ".join(elsewhere),
        condition, first.words, factor=first.factor,
    )  # fmt: skip


def _parts(tried: Sequence[Tried], index: Index) -> Iterator[_Part]:
    """Every factor that occurs in three places or more, exactly where some condition holds."""
    for name, fits in _factors(tried):
        places = {t.at for t in tried if fits(t)}
        if len(places) > 2:
            words = _where(tried, index, lambda t, places=places: t.at in places)  # type: ignore[misc]
            if words:
                yield _Part(name, places, words)


def _transpose(tried: Sequence[Tried]) -> Verdict | None:
    """Everywhere the transpose of the right value."""
    if not all(t.transposed for t in tried):
        return None
    silent = " or silently wrong" if any(t.outcome == "wrong" for t in tried) else ""
    return Verdict("shapes", f"shapes do not fit{silent}: it is the transpose of what is right")


def _step(tried: Sequence[Tried]) -> Verdict | None:
    """An update whose step from W_l is one multiple of the right step."""
    for name, fits in _factors(tried, lambda t: t.step):
        if all(map(fits, tried)):
            return Verdict("wrong", f"silently wrong: the step is {name} times what is right")
    return None


def _decay(tried: Sequence[Tried]) -> Verdict | None:
    """The right value plus one multiple of W_l. One number alone would be a multiple of any other."""
    if any(t.outcome not in ("right", "wrong") for t in tried):
        return None
    several = [t for t in tried if np.asarray(t.got).size > 1]
    if not several or not all(t.decay for t in several):
        return None
    for name, fits in _factors(several, lambda t: t.decay and abs(t.decay)):
        if all(map(fits, several)):
            much = "much" if (several[0].decay or 0) > 0 else "little"
            declared = several[0].at.setting.method
            hint = "" if declared else '; weight decay is not declared (method="weight decay")'
            return Verdict("wrong", f"silently wrong: {name} W_l too {much}{hint}")
    return None


# ---- by where it is right ------------------------------------------------------------------------


def _pattern(tried: Sequence[Tried], index: Index, condition: str) -> Verdict:
    """No multiple, transpose or decay: right in some places, or in none."""
    wrong = [t for t in tried if t.outcome != "right"]
    outcomes = {t.outcome for t in wrong}
    silent = _where(wrong, index, lambda t: t.outcome == "wrong")
    elsewhere = _elsewhere(outcomes, silent)
    if len(wrong) < len(tried):
        return _partly(tried, index, condition, elsewhere, silent)
    kind = next(k for k in ("incomplete", "shapes", "wrong", "missing") if k in outcomes)
    kind = "shapes" if kind == "missing" else kind
    more = f"silently wrong for {silent}" if silent else elsewhere if "wrong" in outcomes else ""
    return Verdict(kind, KINDS[kind], more if kind == "shapes" else "", silent=silent)


def _partly(
    tried: Sequence[Tried], index: Index, condition: str, elsewhere: str, silent: str
) -> Verdict:
    """Right in some tries. In a layer of one unit any product fits, so being right there shows little."""
    if fits_any_product(condition, index) and not any(t.outcome == "wrong" for t in tried):
        return Verdict(
            "shapes", KINDS["shapes"], f"right for {condition}", condition, silent=silent
        )
    right = {t.at: t.outcome == "right" for t in tried}
    all_with = most_telling(right, index)
    some = f"some networks, all of them with {all_with}" if all_with else "some networks"
    where = condition or f"{some}, {sum(right.values())} of {len(tried)} tries"
    return Verdict("holds-only", f"holds only for {where}", elsewhere, condition, silent=silent)


def _elsewhere(outcomes: set[str], silent: str) -> str:
    """The outcomes where it is not right, in words."""
    others = " or ".join(OUTCOMES[k] for k in OUTCOMES if k in outcomes - {"wrong"})
    if "wrong" not in outcomes:
        return f"else {others}"
    if not others:
        return "else silently wrong"
    return (
        f"silently wrong for {silent}, else {others}"
        if silent
        else f"else silently wrong or {others}"
    )
