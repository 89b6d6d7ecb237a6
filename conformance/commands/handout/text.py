"""Escapes text from outside for a page, LaTeX or Markdown: nothing in it is markup there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from conformance.tools.plain import plain

__all__ = ["TEX_LETTERS", "count", "html", "md", "pieces", "tex", "visible"]


def visible(text: str) -> str:
    """The text with every character spelt out that is invisible, or reverses the order of others."""
    return plain(text.replace("\r\n", "\n").replace("\t", " "), lines=True)


def count(n: int, what: str) -> str:
    """'1 step', '2 steps'."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


_INDEX = re.compile(r"(?<![\w\\])([A-Za-zδσαℒ]{1,2}['′]?)_(?:\{([\w+−-]{1,5})\}|(\w))(?!\w)")


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """'W_1 z_{l-1}' as ('W', '1'), (' z', 'l-1'), ('', ''): text and the index after it."""
    at = 0
    for index in _INDEX.finditer(text):
        yield text[at : index.end(1)], index[2] or index[3]
        at = index.end()
    yield text[at:], ""


def _escaped(text: str) -> str:
    """With the punctuation escaped that is markup in CommonMark or MyST."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~!&^@])", r"\\\1", text)


def md(text: str) -> str:
    """Markdown that shows this text, on one line."""
    parts = pieces(" ".join(visible(text).split()))
    line = "".join(_escaped(t) + (f"<sub>{_escaped(i)}</sub>" if i else "") for t, i in parts)
    # what begins a list, a comment or a directive at the beginning of a line
    return re.sub(r"^((?=[-+=:%])|\d+(?=[.)](\s|$)))", r"\1\\", line)


def html(text: str) -> Markup:
    """The same for a page, its indices below the line."""
    parts = pieces(visible(text))
    return Markup("").join(
        escape(t) + (Markup("<sub>{}</sub>").format(i) if i else "") for t, i in parts
    )


TEX_LETTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": "{`}",
    "–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "…": r"\ldots{}",
    "½": r"$\frac12$", "²": "${}^2$", "³": "${}^3$", "√": r"$\surd$", "∞": r"$\infty$",
    "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "≈": r"$\approx$", "→": r"$\to$",
    "←": r"$\leftarrow$", "∂": r"$\partial$", "Σ": r"$\Sigma$", "⊙": r"$\odot$", "ᵀ": r"${}^\top$",
    "′": "$'$", "∈": r"$\in$", "⁺": "${}^+$", "∑": r"$\sum$", "“": "``", "”": "''", "‘": "`", "’": "'",
    "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "₃": "$_3$", "₄": "$_4$", "₅": "$_5$", "₆": "$_6$",
    "₇": "$_7$", "₈": "$_8$", "₉": "$_9$", "✓": r"$\surd$", "✗": r"$\times$",
    "⊘": r"$\oslash$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$",
    "η": r"$\eta$", "θ": r"$\theta$", "λ": r"$\lambda$", "μ": r"$\mu$", "π": r"$\pi$",
    "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "φ": r"$\varphi$", "ω": r"$\omega$",
    "Δ": r"$\Delta$", "ℒ": r"$\mathcal{L}$", "‖": r"$\|$", "\u00a0": "~",
}  # fmt: skip
"""The LaTeX of every character that is not written as itself. Of the others, Latin letters are."""


def _tex_letter(c: str) -> str:
    if c == "\x00":
        return c
    if c in TEX_LETTERS:
        return TEX_LETTERS[c]
    latin = 0x20 <= ord(c) < 0x7F or 0xC0 <= ord(c) <= 0x17F or c in "¡¿"
    return c if latin else rf"\texttt{{U+{ord(c):04X}}}"


def tex(text: str) -> str:
    """LaTeX that shows this text, on one line; a character that pdflatex has no letter for is spelt out."""
    parts = pieces(" ".join(visible(text).split()))
    return "".join(_tex(t) + (f"$_{{{_tex(i)}}}$" if i else "") for t, i in parts)


def _tex(text: str) -> str:
    apart = re.sub(r"([-'])(?=\1)", "\\1\x00", text)  # LaTeX joins -- and '' to one character
    return "".join(map(_tex_letter, apart)).replace("\x00", "{}")
