"""The results as text for a terminal: the verdict, what is wrong and where, and what cannot be seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from conformance.model.results import badness, size

if TYPE_CHECKING:
    from conformance.judge.functions.judged import Judged
    from conformance.judge.functions.trial import FunctionResults

__all__ = ["MARK", "describe", "kept", "most_blind", "not_returned", "worst_lines", "worst_of"]

MARK = {
    "conforms": "✓",
    "deviates": "✗",
    "inaccurate": "≈",
    "undecided": "?",
    "not-run": "–",
    "error": "!",
}


def badness_of(j: Judged) -> float:
    """Error over tolerance, to sort by."""
    return badness(j["verdict"], j["worst"] and j["worst"]["ratio"])


def describe(found: FunctionResults) -> str:
    """The whole text."""
    return "\n".join(_lines(found))


def _lines(found: FunctionResults) -> Iterator[str]:
    yield f"{found['verdict']}: {found['function']}: {found['message']}"
    yield ""
    yield f"reference  {found['reference']}, its gradient certified; nobody's derivative was read"
    shapes = ", ".join(f"{n}={s}" for n, s in found["inputs"].items())
    others = kept(found)
    yield f"inputs     {shapes}, {found['dtype']}{f' ({others})' if others else ''}"
    if found["mistake"]:
        yield f"it looks   {found['mistake']}"
        if found["advice"]:
            yield f"           {found['advice']}"
    yield ""
    yield from _table(found)
    for j in worst_of(found):
        yield from worst_lines(j)
    for row in found["families"]:
        if row["status"] == "error":
            yield f"! {row['name']} data: {row['reason']}"
    for finding in found["findings"]:
        yield f"• {finding['text']}"
    yield from _notes(found)
    yield from _audit(found)


def kept(found: FunctionResults) -> str:
    """The dtypes that differ from the storage: "accumulate float32"."""
    return ", ".join(f"{k} {v}" for k, v in found["precision"].items() if k != "storage")


def worst_of(found: FunctionResults) -> list[Judged]:
    """For each quantity that does not conform on some data, the worst set of data."""
    bad = [j for j in found["judged"] if j["verdict"] not in ("conforms", "not-run")]
    return [
        max((j for j in bad if j["quantity"] == quantity), key=badness_of)
        for quantity in dict.fromkeys(j["quantity"] for j in bad)
    ]


def not_returned(found: FunctionResults) -> list[str]:
    """Quantities that the code leaves out."""
    return sorted(
        {j["quantity"] for j in found["judged"] if j["verdict"] == "not-run" and not j["dtype"]}
    )


def most_blind(found: FunctionResults) -> list[Judged]:
    """For each quantity, the set of data with the most elements in which nothing is seen, if there is one."""
    each: dict[str, Judged] = {}
    for j in found["judged"]:
        if j["blind"] > each.get(j["quantity"], {"blind": 0})["blind"]:
            each[j["quantity"]] = j
    return list(each.values())


def _table(found: FunctionResults) -> Iterator[str]:
    """A line for each quantity: its verdict, and the largest error over tolerance on all data."""
    names = list(dict.fromkeys(j["quantity"] for j in found["judged"]))
    width = max(map(len, names), default=0)
    for name in names:
        of = [j for j in found["judged"] if j["quantity"] == name]
        wrong = [j for j in of if j["verdict"] not in ("conforms", "not-run")]
        right = [j for j in of if j["verdict"] == "conforms"]
        top = max(wrong or right or of, key=badness_of)
        verdict = top["verdict"]
        ratio = f", at most {badness_of(top):.3g} of the tolerance" if top["worst"] else ""
        where = f"{len(wrong)} of {len(of)}" if wrong else f"{len(right or of)}"
        mark = MARK.get(verdict, "?")
        yield f"  {mark} {name:<{width}}  {verdict:<10}  {where} sets of data{ratio}"
    yield ""


def worst_lines(j: Judged) -> Iterator[str]:
    """The worst element, in full."""
    where = f"{j['family']} data, cotangent {j['cotangent']}"
    w = j["worst"]
    if w is None:
        yield f"{j['quantity']}, {where}: {j['reason']}"
        return
    at = ", ".join(map(str, w["index"]))
    yield (
        f"{j['quantity']}[{at}], {where}: got {w['got']}, "
        f"expected {w['expected']}, off by {w['error']} where {w['tolerance']} is allowed "
        f"({size(w['ratio']):.3g} times, {size(w['ulps']):.3g} ulp); "
        f"{j['wrong']} elements are wrong."
    )
    if j["reason"]:
        yield f"  {j['reason']}"


def _notes(found: FunctionResults) -> Iterator[str]:
    if missing := not_returned(found):
        yield f"not returned, so not judged: {', '.join(missing)}."
    if found["straddling"]:
        yield f"at a kink or a tie: {found['straddling']} comparisons, for which either side is accepted."
    for u in found["unseen"]:
        unseen = ", ".join(u["mistakes"])
        yield f"in {found['dtype']} the tolerance does not see, in {u['quantity']}: {unseen}."
    skipped = [r["name"] for r in found["families"] if r["status"] == "not there"]
    if skipped:
        yield f"not tried, since the function does not take them: {', '.join(skipped)} data."
    for j in most_blind(found):
        yield (
            f"smaller than its tolerance, or no number, so that not judged: at most {j['blind']} elements of "
            f"{j['quantity']}, on {j['family']} data."
        )


def _audit(found: FunctionResults) -> Iterator[str]:
    """A user's own test compared with the derived tolerance, on ordinary data."""
    if not found["allclose"]:
        return
    yield f"allclose({found['allclose']}) on the certified gradients, ordinary data:"
    for a in found["audit"]:
        named = f": {', '.join(a['through'])}" if a["through"] else ""
        yield (
            f"  {a['quantity']}  lets {len(a['through'])} of {a['planted']} planted mistakes through"
            f" (ours {len(a['ours'])}), and fails {a['accused']} of {a['right']} right implementations{named}"
        )
        yield (
            f"      derived tolerance: at most {a['absolute']}; "
            f"relative to an element, at most {a['relative']}"
        )
    if not found["audit"]:
        yield "  no gradient on ordinary data to audit it with"
