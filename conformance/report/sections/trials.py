"""The planted faults, and how small a mistake is seen: fault × gate, and the sensitivity curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from conformance.model.results import GATES, Dialled, Trials
from conformance.report import svg
from conformance.report.numbers import size
from conformance.report.view import View

__all__ = ["context", "number", "shown"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 200, 40, 292, 24, 158
VERDICTS = {"caught": "conforms", "survives": "deviates", "not shown": "undecided"}


def context(view: View) -> dict[str, object]:
    """Variables for the trials, if the results have them."""
    trials = view.results.get("faults")
    return {"trials": None} if trials is None else shown(trials)


def number(view: View) -> int:
    """How many faults were planted."""
    trials = view.results.get("faults")
    return len(trials["faults"]) if trials else 0


def shown(trials: Trials) -> dict[str, object]:
    """Variables for the templates of the matrix and the curves."""
    return {
        "trials": trials,
        "gates": GATES,
        "verdicts": VERDICTS,
        "panels": _panels(trials["dials"]),
        "thresholds": _thresholds(trials["dials"]),
        "series": _series(),
    }


def _series() -> list[tuple[str, str, str, str]]:
    """(gate, dtype, class, shape): colour and dashes show the gate, the marker shows the dtype."""
    return [
        (gate, dtype, f"s{i}", svg.SHAPES[j])
        for i, gate in enumerate(GATES[:3])
        for j, dtype in enumerate(("float64", "float32"))
    ]


def _panels(dials: Sequence[Dialled]) -> list[Markup]:
    """A panel a dial: the largest error over tolerance, against ε."""
    names = list(dict.fromkeys(d["dial"] for d in dials))
    return [
        _panel(i, name, [d for d in dials if d["dial"] == name]) for i, name in enumerate(names)
    ]


def _panel(i: int, name: str, dials: Sequence[Dialled]) -> Markup:
    x = svg.LogAxis(-17, 0, LEFT, RIGHT)
    y = svg.LogAxis(-3, 16, BOTTOM, TOP)
    parts = [svg.text(LEFT, 13, name, "heading")]
    for at, label in y.ticks(6):
        parts += [svg.path([(LEFT, at), (RIGHT, at)], "grid")]
        parts += [svg.text(LEFT - 5, at + 3.5, label, "tick end")]
    for at, label in x.ticks(7):
        parts += [svg.text(at, BOTTOM + 13, label, "tick middle")]
    parts += [
        svg.text((LEFT + RIGHT) / 2, BOTTOM + 28, "ε", "tick middle"),
        svg.path([(LEFT, y(1)), (RIGHT, y(1))], "limit"),
        svg.text(RIGHT, y(1) + 11, "the tolerance", "tick end"),
    ]
    for gate, dtype, class_, shape in _series():
        for d in (d for d in dials if (d["gate"], d["dtype"]) == (gate, dtype)):
            curve = [(x(size(e)), y(max(size(r), 1e-3))) for e, r in d["curve"] if size(r) > 0]
            if curve:
                parts += [
                    svg.path(curve, f"median {class_}"),
                    svg.mark(shape, *_crossing(d, x, y), f"mark {class_}", 4),
                ]
    told = "; ".join(
        f"{d['gate']} gate, {d['case']}: caught from {size(d['smallest']):.1e} on" for d in dials
    )
    return svg.plot(f"dial-{i}", WIDTH, HEIGHT, f"{name}: error over tolerance", told, parts)


def _crossing(d: Dialled, x: svg.LogAxis, y: svg.LogAxis) -> tuple[float, float]:
    """Where the curve passes the tolerance."""
    return x(size(d["smallest"])), y(1)


def _thresholds(dials: Sequence[Dialled]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """The thresholds: rows by dial and case, columns by gate."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for d in dials:
        rows.setdefault((d["dial"], d["case"]), {})[d["gate"]] = d["smallest"]
    return rows
