"""The first screen: does it conform, what ran, what did not, how close to the limit."""

from __future__ import annotations

from markupsafe import Markup

from conformance.model.results import VERDICTS, Number, Worst
from conformance.report import svg
from conformance.report.explain import headlines
from conformance.report.numbers import over, short, size
from conformance.report.view import View, isolate, where

__all__ = ["context"]

ROW, LEFT, LIMIT, RIGHT = 36, 122, 338, 398


def context(view: View) -> dict[str, object]:
    summary = view.results["summary"]
    worst = summary["worst"]
    return {
        "headlines": headlines(view.results),
        "totals": [(v, view.verdicts[v]) for v in VERDICTS],
        "counts": {
            i["name"]: {v: summary["verdicts"].get(i["name"], {}).get(v, 0) for v in VERDICTS}
            for i in view.results["implementations"]
        },
        "worst": {(w["implementation"], w["gate"]): w for w in worst},
        "largest": max(worst, key=lambda w: size(w["ratio"]), default=None),
        "nearest": _nearest(view),
        "values": sum(len(j.result["records"]) for j in view.judged),
        "not_ran": [i for i in view.results["implementations"] if i["status"] != "ran"],
        "limit": _limit(view, worst) if worst else None,
        "shapes": {g: svg.SHAPES[n % len(svg.SHAPES)] for n, g in enumerate(view.gates)},
    }


def _nearest(view: View) -> dict[str, object] | None:
    """The conforming record that came nearest to its limit."""
    conforming = [j for j in view.judged if j.result["verdict"] == "conforms" and j.worst]
    if not conforming:
        return None
    j = max(conforming, key=lambda j: size(j.worst["ratio"]) if j.worst else -1)
    return {"result": j.result, "record": j.worst}


def _limit(view: View, worst: list[Worst]) -> Markup:
    """Every gate's largest error over tolerance: linear up to the limit, logarithmic beyond it."""
    names = [i["name"] for i in view.ran]
    beyond = svg.LogAxis.around((float(w["ratio"]) for w in worst), (0, 1), LIMIT + 6, RIGHT)

    def x(ratio: Number) -> float:
        return beyond(size(ratio)) if over(ratio) else LEFT + float(ratio) * (LIMIT - LEFT)

    bottom = 8.0 + ROW * len(names)
    parts = [
        svg.el("rect", x=LIMIT, y=4, width=RIGHT + 8 - LIMIT, height=bottom - 4, class_="beyond"),
        svg.text((LIMIT + RIGHT + 8) / 2, bottom + 15, "above 1", "tick middle"),
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        class_ = "limit" if tick == 1 else "grid"
        parts.append(svg.path([(x(tick), 4), (x(tick), bottom)], class_))
        parts.append(svg.text(x(tick), bottom + 15, f"{tick:g}", "tick middle"))
    for row, name in enumerate(names):
        y = 6 + ROW * (row + 0.5)
        parts.append(svg.name(LEFT - 14, y + 4, view.called[name], "label end"))
        parts.append(svg.path([(LEFT, y), (RIGHT, y)], "grid"))
        for n, gate in enumerate(view.gates):
            lane = y + 5.5 * (n - (len(view.gates) - 1) / 2)
            for w in worst:
                if w["implementation"] == name and w["gate"] == gate:
                    class_ = "mark over" if over(w["ratio"]) else "mark"
                    shape = svg.SHAPES[n % len(svg.SHAPES)]
                    parts.append(svg.mark(shape, x(w["ratio"]), lane, class_, 4))
    lines = "; ".join(
        f"{isolate(w['implementation'])}, {w['gate']}: {short(w['ratio'])}"
        f" ({where(w['quantity'], w['layer'])})"
        for w in worst
    )
    return svg.plot(
        "limit",
        RIGHT + 20,
        int(bottom) + 22,
        "Largest error over tolerance of each gate, by implementation",
        f"Linear from 0 to the limit 1, by magnitude beyond it. {lines}.",
        parts,
    )
