"""Activation × depth, one table an implementation: where on the map the error is."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.model.results import VERDICTS, Number
from conformance.report.numbers import LEVELS, level, short, size
from conformance.report.view import Judged, View, in_order

__all__ = ["context"]


@dataclass(frozen=True)
class Cell:
    """All cases of one activation and depth: the worst of them."""

    text: str
    level: str
    verdict: str
    case: str
    cases: int


def context(view: View) -> dict[str, object]:
    return {
        "activations": in_order((c["activation"] for c in view.results["cases"]), ()),
        "depths": sorted({c["depth"] for c in view.results["cases"]}),
        "matrices": {i["name"]: _cells(view.of.get(i["name"], [])) for i in view.ran},
        "levels": [(f"r{i}", label) for i, label in enumerate(LEVELS)],
    }


def _cells(judged: list[Judged]) -> dict[tuple[str, int], Cell]:
    groups: dict[tuple[str, int], list[Judged]] = {}
    for j in judged:
        groups.setdefault((j.case["activation"], j.case["depth"]), []).append(j)
    return {key: _cell(members) for key, members in groups.items()}


def _cell(members: list[Judged]) -> Cell:
    verdict = min((j.result["verdict"] for j in members), key=VERDICTS.index)
    if verdict == "not-run" and any(j.result["verdict"] == "conforms" for j in members):
        verdict = "conforms"  # some dtype was left out: section "Not run" says which
    worst = max(members, key=lambda j: size(j.worst["ratio"]) if j.worst else -1)
    if verdict in ("error", "undecided"):
        worst = next(j for j in members if j.result["verdict"] == verdict)
    record = worst.worst
    return Cell(
        text=_two_digits(record["ratio"]) if record else "",
        level=level(record["ratio"]) if record else "none",
        verdict=verdict,
        case=worst.result["case"],
        cases=len(members),
    )


def _two_digits(ratio: Number) -> str:
    v = size(ratio)
    if 0 < v < 0.01:
        return "<0.01"
    return f"{v:.2f}" if 0 < v < 1 else f"{v:.1f}" if 1 <= v < 10 else short(float(f"{v:.2g}"))
