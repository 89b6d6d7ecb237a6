"""A picture as TikZ: what `report.svg` drew, path by path, so that LaTeX has every figure of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup

from conformance.commands.handout.text import tex

__all__ = ["tikz"]

BLUE, ORANGE, GREY, LIGHT = (
    f"{{rgb,255:red,{r};green,{g};blue,{b}}}"
    for r, g, b in ((31, 95, 166), (180, 80, 10), (90, 95, 103), (220, 216, 207))
)
STYLES = {
    "value": BLUE, "grad": ORANGE, "tick": GREY, "edge": f"draw={GREY}", "axis": f"draw={GREY}",
    "grid": f"draw={LIGHT}", "node": "draw=black,fill=white",
    "heads": f"fill={GREY}", "median": f"draw={BLUE},thick",
    "mark s0": f"fill={BLUE}", "mark s1": f"fill={ORANGE}", "region": f"fill={BLUE},opacity=0.2",
}  # fmt: skip
"""What a class of the style sheet is in TikZ; of text, its colour."""
SCALE = 0.72
"""Points of a pixel, in which the page's type of 11 pixels is 8 points."""


def tikz(picture: Markup, wide: float) -> str:
    """A tikzpicture, at most `wide` points wide; it needs \\usepackage{tikz}."""
    root = ElementTree.fromstring(str(picture))
    lines = [
        rf"\begin{{tikzpicture}}[x=1pt,y=1pt,scale={SCALE},yscale=-1,inner sep=0,"
        r"font=\sffamily\fontsize{8}{8}\selectfont]",
        *(line for child in root for line in _drawn(child)),
        r"\end{tikzpicture}%",
    ]
    if SCALE * float(root.attrib["width"]) > wide:
        lines = [rf"\resizebox{{{wide:g}pt}}{{!}}{{%", *lines, "}%"]
    return "\n".join(lines)


def _drawn(e: ElementTree.Element) -> Iterator[str]:
    """The TikZ of an element; a title and a description are for those who do not see the picture."""
    of = e.attrib
    classes = of.get("class", "")
    style = ",".join(v for k, v in STYLES.items() if set(k.split()) <= set(classes.split()))
    x, y, *_ = (float(of.get(k, of.get(f"c{k}", 0))) for k in "xy")
    if e.tag == "text":
        anchor = "base east" if "end" in classes else "base" if "middle" in classes else "base west"
        colour = f",text={style}" if style else ""
        bold = r"\bfseries " if "heading" in classes else ""
        back = ",fill=white" if "halo" in classes else ""
        yield rf"\node[anchor={anchor}{colour}{back}] at ({x:g},{y:g}) {{{bold}{tex(e.text or '')}}};"
    elif e.tag == "circle":
        yield rf"\path[{style}] ({x:g},{y:g}) circle ({float(of['r']):g});"
    elif e.tag == "rect":
        far = x + float(of["width"]), y + float(of["height"])
        yield rf"\path[{style}] ({x:g},{y:g}) rectangle ({far[0]:g},{far[1]:g});"
    elif e.tag == "path":
        yield rf"\path[{style}] {_path(of['d'])};"


_MOVES = {
    "M": " ({0},{1})", "L": " -- ({0},{1})", "h": " -- ++({0},0)", "v": " -- ++(0,{0})", "z": " -- cycle",
    "a": " arc[start angle=180,end angle=540,radius={0}]",
}  # fmt: skip
"""What `report.svg` draws with. A circle is two half circles, of which the first becomes the whole."""


def _path(d: str) -> str:
    d = re.sub(r"(a[^a]*)a[^a-z]*", r"\1", d)
    moves = re.findall(r"([MLhvaz])([^A-Za-z]*)", d)
    return "".join(_MOVES[letter].format(*numbers.split()) for letter, numbers in moves).strip()
