"""What deviates, raises or stays undecided: where, by how much, and how to see it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from conformance.model.results import VERDICTS, Element, Number, Results, Verdict
from conformance.report.common import FAILING, explained
from conformance.report.explain import again
from conformance.report.numbers import size
from conformance.report.view import DTYPES, Judged, View, in_order, symbol

__all__ = ["command", "context", "number"]

OF_A_KIND, CARDS, ROWS = 2, 24, 600
"""How many failures of a kind, and of all, are shown in full, and how many more in a line each: the page
stays readable even if everything fails. The list of cases has them all."""


class Kind(NamedTuple):
    """Failures that look alike probably are one failure."""

    verdict: Verdict
    implementation: str
    first: str  # where they first deviate, or their message


@dataclass(frozen=True)
class Group:
    """The failures of one kind."""

    kind: Kind
    members: list[Judged]

    @property
    def deviations(self) -> list[Element]:
        return [d for j in self.members if (d := j.result["first_deviation"])]

    @property
    def layers(self) -> str:
        found = {d["layer"] for d in self.deviations}
        return "–".join(str(l) for l in sorted({min(found), max(found)})) if found else "–"

    @property
    def ratio(self) -> Number | None:
        return max((d["ratio"] for d in self.deviations), key=size, default=None)

    @property
    def activations(self) -> list[tuple[str, int]]:
        """The activations with their counts, the most frequent first."""
        return Counter(j.case["activation"] for j in self.members).most_common()

    @property
    def dtypes(self) -> list[str]:
        return in_order((j.case["dtype"] for j in self.members), DTYPES)


def number(view: View) -> int:
    return sum(view.verdicts[v] for v in FAILING)


def context(view: View) -> dict[str, object]:
    failing = sorted((j for j in view.judged if j.result["verdict"] in FAILING), key=_order)
    cards = _some_of_each(failing)
    shown = {id(j) for j in cards}
    rest = [j for j in failing if id(j) not in shown]
    return {
        "failing": failing,
        "explained": explained(view),
        "groups": _groups(failing),
        "cards": sorted(cards, key=_order),
        "rows": rest[:ROWS],
        "unlisted": len(rest[ROWS:]),
    }


def command(j: Judged, results: Results) -> str:
    """The command that shows this result again."""
    return again(j.result["case"], j.result["implementation"], results)


def _order(j: Judged) -> tuple[int, str, float]:
    """The worst verdict first; within one, an implementation at a time, the largest ratio first."""
    deviation = j.result["first_deviation"]
    ratio = size(deviation["ratio"]) if deviation else 0
    return VERDICTS.index(j.result["verdict"]), j.result["implementation"], -ratio


def _kind(j: Judged) -> Kind:
    deviation = j.result["first_deviation"]
    verdict, name = j.result["verdict"], j.result["implementation"]
    if deviation:
        return Kind(verdict, name, f"{symbol(deviation['quantity'])}, {deviation['gate']} gate")
    return Kind(verdict, name, j.result["message"].partition("\n")[0][:160])


def _groups(failing: list[Judged]) -> list[Group]:
    """What the failures have in common, the largest group of each verdict first."""
    groups: dict[Kind, list[Judged]] = defaultdict(list)
    for j in failing:
        groups[_kind(j)].append(j)
    by_size = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [Group(*item) for item in sorted(by_size, key=lambda i: VERDICTS.index(i[0].verdict))]


def _some_of_each(failing: list[Judged]) -> list[Judged]:
    """The first failure of every kind, then the second of every kind."""
    turns: dict[int, list[Judged]] = defaultdict(list)
    seen: Counter[Kind] = Counter()
    for j in failing:
        turns[seen[_kind(j)]].append(j)
        seen[_kind(j)] += 1
    return [j for turn in range(OF_A_KIND) for j in turns[turn]][:CARDS]
