"""What deviates, what broke, what stayed undecided: where, by how much, how to see it again."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict

from conformance.report.numbers import size
from conformance.report.view import Judged, View, symbol
from conformance.results import VERDICTS, Verdict

__all__ = ["command", "context", "number"]

FAILING: tuple[Verdict, ...] = ("error", "deviates", "undecided")
OF_A_KIND, CARDS, ROWS = 2, 24, 600
"""How many failures are shown in full, and how many more in a line each: the page stays readable even
where everything fails. The list of cases has them all."""


def number(view: View) -> int:
    return sum(view.verdicts[v] for v in FAILING)


def context(view: View) -> dict[str, object]:
    failing = sorted((j for j in view.judged if j.result["verdict"] in FAILING), key=_order)
    cards = _some_of_each(failing)
    shown = {id(j) for j in cards}
    rest = [j for j in failing if id(j) not in shown]
    return {
        "failing": failing,
        "groups": _groups(failing),
        "cards": sorted(cards, key=_order),
        "rows": rest[:ROWS],
        "unlisted": len(rest[ROWS:]),
    }


def command(j: Judged) -> str:
    """What shows this result again, at a prompt."""
    case, name = j.result["case"], j.result["implementation"]
    return f"conformance show {shlex.quote(case)} --implementation {shlex.quote(name)}"


def _order(j: Judged) -> tuple[int, str, float]:
    """The worst verdict first; within one, an implementation at a time, the largest ratio first."""
    deviation = j.result["first_deviation"]
    ratio = size(deviation["ratio"]) if deviation else 0
    return VERDICTS.index(j.result["verdict"]), j.result["implementation"], -ratio


def _kind(j: Judged) -> tuple[str, str, str, str]:
    """Failures that look alike probably are one failure."""
    deviation = j.result["first_deviation"]
    verdict, name = j.result["verdict"], j.result["implementation"]
    if deviation:
        return verdict, name, deviation["quantity"], deviation["gate"]
    return verdict, name, "", _first_line(j.result["message"])


def _first_line(message: str) -> str:
    return message.partition("\n")[0][:160]


def _groups(failing: list[Judged]) -> list[dict[str, object]]:
    """What the failures have in common, the largest group of each verdict first."""
    groups: dict[tuple[str, str, str, str], list[Judged]] = defaultdict(list)
    for j in failing:
        groups[_kind(j)].append(j)
    rows = []
    for (verdict, name, quantity, gate), members in groups.items():
        deviations = [d for j in members if (d := j.result["first_deviation"])]
        layers = [d["layer"] for d in deviations]
        rows.append(
            {
                "verdict": verdict,
                "implementation": name,
                "cases": len(members),
                "first": f"{symbol(quantity)}, {gate} gate" if deviations else gate,
                "layers": "–".join(str(l) for l in sorted({min(layers), max(layers)})) if layers else "",
                "activations": Counter(j.case["activation"] for j in members).most_common(4),
                "others": max(0, len({j.case["activation"] for j in members}) - 4),
                "dtypes": sorted({j.case["dtype"] for j in members}),
                "example": members[0],
                "ratio": max((d["ratio"] for d in deviations), key=size, default=None),
            }
        )
    return sorted(rows, key=lambda r: (VERDICTS.index(r["verdict"]), -r["cases"]))  # type: ignore[arg-type,operator]


def _some_of_each(failing: list[Judged]) -> list[Judged]:
    """The first failures of each kind, and the first of every kind before the second of any."""
    turns: dict[int, list[Judged]] = defaultdict(list)
    seen: Counter[tuple[str, str, str, str]] = Counter()
    for j in failing:
        turns[seen[_kind(j)]].append(j)
        seen[_kind(j)] += 1
    return [j for turn in range(OF_A_KIND) for j in turns[turn]][:CARDS]
