"""The pictures: the units, the sizes of the links, and the results of a training.

They are SVG, made by `report.svg`: the same bytes for the same numbers; the page's style sheet colours them.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from conformance.commands.handout.example import Example
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.passes import Trained
from conformance.commands.handout.text import count
from conformance.model.problem import Floats
from conformance.report import svg

__all__ = [
    "Figure",
    "arrow",
    "boundary",
    "data_uri",
    "links",
    "losses",
    "sub",
    "units",
]

_SUB = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 270, 58, 506, 16, 226


@dataclass(frozen=True)
class Figure:
    """A picture, what it shows in words, and its numbers for formats that have no pictures."""

    picture: Markup
    caption: str
    table: tuple[tuple[str, ...], ...] = ()


def data_uri(picture: Markup) -> str:
    """The picture as a data: address for Markdown and notebooks, with colours of its own, on white."""
    whole = str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    at = whole.index(">") + 1
    whole = f'{whole[:at]}<style>{STYLE}</style><rect class="paper" width="100%" height="100%"/>{whole[at:]}'
    return "data:image/svg+xml;base64," + b64encode(whole.encode("utf-8")).decode("ascii")


STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#1c1e22}.paper{fill:#fff}.end{text-anchor:end}"
    ".middle{text-anchor:middle}.heading{font-weight:600;font-size:13px}.tick{fill:#5a5f67}"
    ".grid{stroke:#dcd8cf;fill:none}.axis,.edge{stroke:#5a5f67;fill:none}.node{fill:#fff;stroke:#1c1e22}"
    ".value{fill:#1f5fa6}.grad{fill:#b4500a}"
    ".heads{fill:#5a5f67}"
    ".median{fill:none;stroke-width:2}.s0{stroke:#1f5fa6}.mark.s0,.region{fill:#1f5fa6;stroke:#fff}"
    ".mark.s1{fill:#b4500a;stroke:#fff}.region{opacity:.2;stroke:none}"
    ".halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}"
)


def sub(l: int) -> str:
    """The number below the line."""
    return str(l).translate(_SUB)


def arrow(x: float, y: float, u: float, v: float) -> Iterator[Markup]:
    """A line from (x, y) to (u, v), with a head there."""
    r = math.hypot(u - x, v - y) or 1.0
    c, s = (u - x) / r, (v - y) / r
    neck = (u - 6 * c, v - 6 * s)
    wings = [(u, v), (neck[0] - 3.2 * s, neck[1] + 3.2 * c), (neck[0] + 3.2 * s, neck[1] - 3.2 * c)]
    yield svg.path([(x, y), neck], "edge")
    yield svg.path(wings, "heads", close=True)


# --- the units ----------------------------------------------------------------------------------------


class _Net:
    """Where each unit of a network is drawn; small networks have room for their numbers, `labelled`."""

    def __init__(self, e: Example) -> None:
        self.e = e
        self.widths = (e.X.shape[1], *(W.shape[1] for W in e.W.values()))
        self.labelled = max(self.widths) <= 3 and e.L <= 8
        self.across = 150.0 if self.labelled else 96.0 if e.L <= 8 else 42.0
        self.down = 76.0 if self.labelled else 46.0
        self.top = 58.0
        self.height = int(self.top + self.down * (max(self.widths) - 1) + 46)
        self.width = int(80 + self.across * e.L + 40)

    def at(self, l: int, j: int) -> tuple[float, float]:
        """The centre of unit j of layer l; the inputs are layer 0."""
        middle = (max(self.widths) - 1) / 2
        return 50 + self.across * l, self.top + self.down * (middle - (self.widths[l] - 1) / 2 + j)


def units(e: Example, digits: int) -> Figure:
    """Every unit and every weight; the weights as numbers where they have room."""
    net = _Net(e)
    parts: list[Markup] = []
    for l, W in e.W.items():
        parts += _edges(net, l, W)
    if net.labelled:
        for l, W in e.W.items():
            parts += _weights(net, l, W, min(digits, 4))
    for l, width in enumerate(net.widths):
        parts += _column(net, l, width, min(digits, 4))
    shape = "–".join(map(str, net.widths)) if e.L <= 8 else f"{net.widths[0]} … {net.widths[-1]}"
    words = f"A network of {count(e.L, 'layer')}: {shape} units from the input to the output."
    if net.labelled:
        words += " Each line has its weight" + (", each unit its bias." if e.b else ".")
    caption = f"The network, {shape}" + (": weights on the lines" if net.labelled else "")
    picture = svg.plot("network", net.width, net.height, "The network", words, parts)
    return Figure(picture, caption + (", biases under the units." if net.labelled and e.b else "."))


def _edges(net: _Net, l: int, W: Floats) -> Iterator[Markup]:
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            yield svg.path([net.at(l - 1, i), net.at(l, j)], "edge")


def _weights(net: _Net, l: int, W: Floats, digits: int) -> Iterator[Markup]:
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            (x, y), (u, v) = net.at(l - 1, i), net.at(l, j)
            t = 0.24 if W.shape[0] + W.shape[1] > 2 else 0.5
            label = plain(float(W[i, j]), digits)
            yield svg.text(x + t * (u - x), y + t * (v - y) + 4, label, "middle halo")


def _column(net: _Net, l: int, width: int, digits: int) -> Iterator[Markup]:
    e, x = net.e, net.at(l, 0)[0]
    z = "z" if e.column else "Z"
    few = e.L <= 8
    if few or l in (0, 1, e.L):
        yield svg.text(x, 17, f"{z}{sub(l)}", "middle heading")
        name = ("x" if e.column else "X") if not l else e.sigma[l]
        yield svg.text(x, 32, name if few or l != 1 else f"{name} …", "tick middle")
    for j in range(width):
        u, v = net.at(l, j)
        yield svg.el("circle", cx=u, cy=v, r=14.0 if few else 9.0, class_="node")
        if few:
            yield svg.text(u, v + 4, str(j + 1), "middle")
        if net.labelled and l and e.b:
            yield svg.text(u, v + 27, f"b {plain(float(e.b[l][j]), digits)}", "tick middle halo")


# --- plots --------------------------------------------------------------------------------------------


def _frame(
    x: svg.LinearAxis, y: svg.LinearAxis | svg.LogAxis, across: str, up: str, whole: bool
) -> list[Markup]:
    """Grid, ticks and the names of the axes."""
    parts: list[Markup] = []
    for at, label in y.ticks(6):
        parts += [
            svg.path([(LEFT, at), (RIGHT, at)], "grid"),
            svg.text(LEFT - 6, at + 4, label, "tick end"),
        ]
    for at, label in x.ticks(10):
        if not whole or "." not in label:
            parts.append(svg.text(at, BOTTOM + 16, label, "tick middle"))
    parts.append(svg.path([(LEFT, BOTTOM), (RIGHT, BOTTOM)], "axis"))
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 34, across, "middle"))
    return [*parts, svg.text(6, TOP - 3, up)]


def links(sizes: Sequence[float], digits: int, certified: int) -> Figure:
    """The largest |δ_l| in each layer, on a logarithmic scale."""
    L = len(sizes)
    x = svg.LinearAxis(0.5, L + 0.5, LEFT, RIGHT)
    least, most = (f(v for v in sizes if v > 0) for f in (min, max))
    ends = (
        math.floor(math.log10(least)),
        max(math.ceil(math.log10(most)), math.floor(math.log10(least)) + 1),
    )
    y = svg.LogAxis(*ends, BOTTOM, TOP + 12)
    points = [(x(l), y(v)) for l, v in enumerate(sizes, 1)]
    parts = [
        *_frame(x, y, "layer l", "largest |δ| in layer l", True),
        svg.path(points, "median s0"),
    ]
    parts.append(svg.marks("circle", points, "mark s0"))
    words = f"From {plain(sizes[-1], 3)} in layer {L} to {plain(sizes[0], 3)} in layer 1."
    ratio = plain((sizes[0] / sizes[-1]) ** (1 / max(L - 1, 1)), 3) if sizes[-1] else "–"
    caption = (
        f"The largest |δ_l| by layer: {words[0].lower()}{words[1:-1]}, on average times {ratio} "
    )
    caption += f"a layer; of each δ at least {certified} digits are certified."
    table = (
        ("layer", "largest |δ|"),
        *((str(l), plain(v, digits)) for l, v in enumerate(sizes, 1)),
    )
    return Figure(
        svg.plot("links", WIDTH, HEIGHT, "The links by layer", words, parts), caption, table
    )


def losses(of: Sequence[float], digits: int) -> Figure:
    """The loss before training and after each epoch."""
    last = len(of) - 1
    x = svg.LinearAxis(0, last, LEFT, RIGHT)
    y = svg.LinearAxis(0, max(of) * 1.05 or 1.0, BOTTOM, TOP + 12)
    every = range(0, last + 1, max(1, last // 200))
    points = [(x(k), y(of[k])) for k in sorted({*every, last})]
    parts = [*_frame(x, y, "epoch", "loss", last > 5), svg.path(points, "median s0")]
    verb = "falls" if of[-1] < of[0] else "goes"
    words = (
        f"The loss {verb} from {plain(of[0], 3)} to {plain(of[-1], 3)} in {count(last, 'epoch')}."
    )
    at = sorted({round(last * k / 8) for k in range(9)})
    table = (("epoch", "loss"), *((str(k), plain(of[k], digits)) for k in at))
    return Figure(
        svg.plot("losses", WIDTH, HEIGHT, "The loss by epoch", words, parts), words, table
    )


def boundary(e: Example, t: Trained, digits: int) -> Figure:
    """Where h(x) is above ½, with the examples."""
    assert t.field is not None
    size, left, top = 264.0, 44.0, 26.0
    x = svg.LinearAxis(t.low[0], t.high[0], left, left + size)
    y = svg.LinearAxis(t.low[1], t.high[1], top + size, top)
    parts = [*_region(t.field, left, top, size)]
    parts += [svg.el("rect", x=left, y=top, width=size, height=size, class_="axis", fill="none")]
    for at, label in x.ticks(5):
        parts.append(svg.text(at, top + size + 16, label, "tick middle"))
    for at, label in y.ticks(5):
        parts.append(svg.text(left - 6, at + 4, label, "tick end"))
    for shape, class_, above in (("circle", "mark s0", True), ("square", "mark s1", False)):
        at_ = [
            (x(p[0]), y(p[1])) for p, v in zip(e.X, e.Y[:, 0], strict=True) if (v > 0.5) == above
        ]
        parts.append(svg.marks(shape, at_, class_, 6))
    parts += [
        svg.text(left + size / 2, top + size + 33, "x₁", "middle"),
        svg.text(left - 6, 14, "x₂", "end"),
    ]
    right = sum((h > 0.5) == (v > 0.5) for h, v in zip(t.outputs[:, 0], e.Y[:, 0], strict=True))
    words = (
        f"Shaded: where h(x) is above ½ after training. Circles: the target is 1; squares: it is 0. "
        f"{right} of {len(e.X)} examples are on their side."
    )
    rows = [
        (*(plain(float(v), digits) for v in p), plain(float(v), digits), plain(float(h), digits))
        for p, v, h in zip(e.X, e.Y[:, 0], t.outputs[:, 0], strict=True)
    ]
    figure = Figure(svg.plot("boundary", 330, 330, "The decision boundary", words, parts), words)
    return replace(figure, table=(("x₁", "x₂", "target", "h(x)"), *rows))


def _region(field: Floats, left: float, top: float, size: float) -> Iterator[Markup]:
    """The cells above ½ as one path: a rectangle for each run of them in a row."""
    cells = len(field)
    side = size / cells
    pieces = []
    for i, row in enumerate(field > 0.5):
        y = top + size - (i + 1) * side
        j = 0
        while j < cells:
            k = j
            while k < cells and row[k]:
                k += 1
            if k > j:
                pieces.append(
                    f"M{left + j * side:.1f} {y:.1f}h{(k - j) * side:.1f}v{side:.1f}h-{(k - j) * side:.1f}z"
                )
            j = k + 1
    if pieces:
        yield svg.el("path", d="".join(pieces), class_="region")
