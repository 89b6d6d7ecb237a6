"""How the distance from the truth grows with the layer, forwards and then backwards."""

from __future__ import annotations

from collections import defaultdict

from markupsafe import Markup

from conformance.report import svg
from conformance.report.numbers import percentile, short, size
from conformance.report.view import DTYPES, QUANTITIES, View, in_order, isolate, symbol

__all__ = ["context"]

SHOWN = ("A", "Z", "delta", "dW")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 240, 158, 34, 234, 22, 128

Points = dict[int, list[float]]  # layer -> the ulps of each case
Series = dict[str, dict[str, dict[str, Points]]]  # implementation -> quantity -> dtype


def context(view: View) -> dict[str, object]:
    deepest = _deepest(view)
    series = _series(view, deepest)
    curves = [points for by in series.values() for own in by.values() for points in own.values()]
    values = [u for points in curves for us in points.values() for u in us]
    axis = svg.LogAxis.around(values, (-1, 2), BOTTOM, TOP)
    dtypes = list(deepest)
    last = max((depth for depth, _ in deepest.values()), default=1)
    rows = {
        name: [
            _panel(f"growth-{i}-{quantity}", name, quantity, by[quantity], dtypes, axis, last)
            for quantity in SHOWN
            if quantity in by
        ]
        for i, (name, by) in enumerate(series.items())
    }
    return {
        "rows": rows,
        "dtypes": {d: f"s{n}" for n, d in enumerate(dtypes)},
        "deepest": {d: (depth, len(ids)) for d, (depth, ids) in deepest.items()},
        "ends": _ends(series),
        "shapes": svg.SHAPES,
    }


def _deepest(view: View) -> dict[str, tuple[int, set[str]]]:
    """dtype -> the depth and the ids of its deepest cases; of the typical ones, if there are any."""
    cases = view.results["cases"]
    found = {}
    for dtype in in_order((c["dtype"] for c in cases), DTYPES):
        own = [c for c in cases if c["dtype"] == dtype]
        own = [c for c in own if c["family"] == "typical" and c["depth"] > 1] or own
        depth = max(c["depth"] for c in own)
        if depth > 1:
            found[dtype] = depth, {c["id"] for c in own if c["depth"] == depth}
    return found


def _series(view: View, deepest: dict[str, tuple[int, set[str]]]) -> Series:
    ids = set().union(*(ids for _, ids in deepest.values()))
    series: Series = {}
    for j, record in view.records("end-to-end"):
        if j.result["case"] in ids and record["quantity"] in SHOWN:
            by = series.setdefault(j.result["implementation"], defaultdict(dict))
            points = by[record["quantity"]].setdefault(j.case["dtype"], defaultdict(list))
            points[record["layer"]].append(size(record["ulps"]))
    return {i["name"]: series[i["name"]] for i in view.ran if i["name"] in series}


def _panel(
    id_: str,
    name: str,
    quantity: str,
    by: dict[str, Points],
    dtypes: list[str],
    axis: svg.LogAxis,
    last: int,
) -> Markup:
    def x(layer: int) -> float:
        return LEFT + 8 + (layer - 1) / max(1, last - 1) * (RIGHT - LEFT - 16)

    parts = [svg.text(LEFT, 13, QUANTITIES[quantity], "heading")]
    for y, label in axis.ticks(5):
        parts += [
            svg.path([(LEFT, y), (RIGHT, y)], "grid"),
            svg.text(LEFT - 5, y + 3.5, label, "tick end"),
        ]
    step = max(1, round(last / 8))
    for layer in range(1, last + 1):
        if layer in (1, last) or (layer % step == 0 and step <= min(layer - 1, last - layer)):
            parts.append(svg.text(x(layer), BOTTOM + 13, str(layer), "tick middle"))
    direction = "layer →" if quantity in ("A", "Z") else "← layer"
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 26, direction, "tick middle"))
    told = []
    for dtype, points in sorted(by.items(), key=lambda item: dtypes.index(item[0])):
        n = dtypes.index(dtype)
        layers = sorted(points)
        middle = [(x(l), axis(percentile(sorted(points[l]), 50))) for l in layers]
        worst = [(x(l), axis(max(points[l]))) for l in layers]
        parts += [
            svg.path(middle + worst[::-1], f"band s{n}", close=True),
            svg.path(worst, f"worst s{n}"),
            svg.path(middle, f"median s{n}"),
            svg.mark(svg.SHAPES[n % len(svg.SHAPES)], *middle[-1], f"mark s{n}", 3.5),
            svg.mark(svg.SHAPES[n % len(svg.SHAPES)], *middle[0], f"mark s{n}", 3.5),
        ]
        told.append(
            f"{dtype}: median {_told(points, layers, 50)}, worst {_told(points, layers, 100)}"
        )
    return svg.plot(
        id_,
        WIDTH,
        HEIGHT,
        f"{symbol(quantity)} of {isolate(name)}: distance from the truth in ulps, by layer",
        f"From layer 1 to the last. {'; '.join(told)}.",
        parts,
    )


def _told(points: Points, layers: list[int], p: float) -> str:
    first, last = (short(percentile(sorted(points[l]), p)) for l in (layers[0], layers[-1]))
    return f"{first} to {last}"


def _ends(series: Series) -> list[tuple[str, str, str, list[float]]]:
    """The same as a table: median and worst at the first layer, median and worst at the last."""
    rows = []
    for name, by in series.items():
        for quantity in SHOWN:
            for dtype, points in by.get(quantity, {}).items():
                ends = [sorted(points[l]) for l in (min(points), max(points))]
                rows.append(
                    (name, quantity, dtype, [percentile(u, p) for u in ends for p in (50, 100)])
                )
    return rows
