"""The failures of one implementation, for the page: what is to blame, what it looks like, where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model.results import Finding, Verdict
from conformance.report.explain import BAD as FAILING
from conformance.report.explain import common, only_where, told
from conformance.report.view import Judged, View

__all__ = ["FAILING", "Explained", "explained"]

LOOKS = 5  # findings that are listed


@dataclass(frozen=True)
class Explained:
    """One implementation: how often it fails, and why."""

    name: str
    verdicts: list[tuple[Verdict, int]]
    judged: int  # results, except those not run
    blame: list[tuple[str, int]]  # quantity -> cases in which it is wrong given its operands
    looks: list[tuple[Finding, int]]  # each fault once; the most frequent first, the unknown last
    more: int  # findings that are not listed
    where: str  # what all failing cases have and no other has: "loss is not mean_squared_error"
    smallest: Judged


def explained(view: View) -> list[Explained]:
    """The implementations with failures, in the order of the file."""
    found = []
    for i in view.results["implementations"]:
        own = view.of.get(i["name"], [])
        bad = [j for j in own if j.result["verdict"] in FAILING]
        if bad:
            found.append(_explained(view, i["name"], own, bad))
    return found


def _explained(view: View, name: str, own: Sequence[Judged], bad: Sequence[Judged]) -> Explained:
    counts = Counter(j.result["verdict"] for j in bad)
    cases = view.results["cases"]
    failing, every = ([j.result for j in of] for of in (bad, own))
    looks = [(c.finding, c.cases) for c in common(failing, cases)]
    least = told(failing, cases)["case"]
    return Explained(
        name=name,
        verdicts=[(v, counts[v]) for v in FAILING if counts[v]],
        judged=sum(j.result["verdict"] != "not-run" for j in own),
        blame=Counter(q for j in bad for q in _blamed(j)).most_common(),
        looks=looks[:LOOKS],
        more=len(looks[LOOKS:]),
        where=only_where(failing, every, cases),
        smallest=next(j for j in bad if j.result["case"] == least),
    )


def _blamed(j: Judged) -> set[str]:
    return {step["quantity"] for step in j.result["blame"]}
