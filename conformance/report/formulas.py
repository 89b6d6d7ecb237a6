"""The notes' equations as MathML. latex2mathml passes on what it does not know: a test looks for that."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup

__all__ = ["FORMULAS", "formula", "math", "mathml"]

FORMULAS = {
    "A": r"\mathbf{A}_l = \mathbf{Z}_{l-1} \mathbf{W}_l",
    "Z": r"\mathbf{Z}_l = \sigma_l(\mathbf{A}_l)",
    "delta_L": r"\delta_L = \frac{\partial \mathcal{L}}{\partial \mathbf{Z}_L}"
    r" \odot \sigma'_L(\mathbf{A}_L)",
    "delta_l": r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{A}_l)",
    "dW": r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = \mathbf{Z}_{l-1}^\top \delta_l",
    "W_new": r"\mathbf{W}_l \leftarrow \mathbf{W}_l"
    r" - \alpha \frac{\partial \mathcal{L}}{\partial \mathbf{W}_l}",
    "input": r"\mathbf{Z}_0 = \mathbf{X} \in \mathbb{R}^{n \times d}",
    "link": r"\delta_l = \frac{\partial \mathcal{L}}{\partial \mathbf{A}_l}",
    "ratio": r"\text{ratio} = \frac{|\text{value} - \text{truth}|}{\text{tolerance}}",
    "sigma": r"\sigma'_l",
    "W": r"\mathbf{W}_{l+1}",
}

_OPENING = '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
_ELEMENTS = {
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup", "msubsup", "mover",
    "munder", "munderover", "mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", "mstyle", "mpadded",
    "mphantom",
}  # fmt: skip
_ATTRIBUTES = {
    "display", "displaystyle", "stretchy", "fence", "form", "separator", "accent", "linethickness",
    "movablelimits", "lspace", "rspace", "minsize", "maxsize", "mathvariant", "width", "height",
    "depth", "rowspacing", "columnspacing", "columnalign", "linebreak", "scriptlevel",
}  # fmt: skip


def mathml(name: str) -> Markup:
    """One formula, with fractions in display size."""
    return math(FORMULAS[name])


def math(latex: str) -> Markup:
    """One of our own formulas, which have no user's text in them. Raises ValueError if LaTeX is left over."""
    found = convert(latex)
    if "\\" in found:
        raise ValueError(f"latex2mathml does not know all of {latex!r}: {found!r}")
    return _displayed(found)


def _displayed(found: str) -> Markup:
    return Markup(found.replace(_OPENING, '<math displaystyle="true">'))


def formula(latex: str) -> Markup | None:
    """A user's LaTeX as MathML; None if it cannot be converted: the caller then shows the LaTeX itself.

    latex2mathml passes on commands that it does not know, and text unescaped; so only plain MathML with no
    command left in it is accepted.
    """
    try:
        found = convert(re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", latex))
        tree = ElementTree.fromstring(found)
    except Exception:  # latex2mathml raises whatever error its parser meets
        return None
    return _displayed(found) if all(_plain(e) for e in tree.iter()) else None


def _plain(element: ElementTree.Element) -> bool:
    """Whether it is an element of MathML, without a link, style or script, and without a LaTeX command in its
    text."""
    name = element.tag.removeprefix(_NAMESPACE)
    text = f"{element.text or ''}{element.tail or ''}"
    return name in _ELEMENTS and set(element.attrib) <= _ATTRIBUTES and "\\" not in text
