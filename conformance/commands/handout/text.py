"""What somebody else wrote, as text: for a page, for LaTeX, for Markdown. It is never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from conformance.tools.plain import plain

__all__ = ["TEX_LETTERS", "count", "html", "md", "pieces", "tex", "visible"]


def visible(text: str) -> str:
    """The same with every character spelt out that is not seen, or that turns others around."""
    return plain(text.replace("\r\n", "\n").replace("\t", " "), lines=True)


def count(n: int, what: str) -> str:
    """'1 step', '2 steps'."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


_INDEX = re.compile(r"(?<![\w\\])([A-Za-zδσαℒ]{1,2}′?)_(?:\{([\w+−-]{1,5})\}|(\w))(?!\w)")


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """(text, index) of 'W_1 z_{l-1}': what stands before an index, and the index; "" at the end."""
    at = 0
    for found in _INDEX.finditer(text):
        yield text[at : found.end(1)], found[2] or found[3]
        at = found.end()
    yield text[at:], ""


def _escaped(text: str) -> str:
    """CommonMark lets any ASCII punctuation be escaped; of these it, or MyST, would make something."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~!&^@])", r"\\\1", text)


def md(text: str) -> str:
    """Markdown that shows this text, on one line."""
    found = pieces(" ".join(visible(text).split()))
    told = "".join(_escaped(t) + (f"<sub>{_escaped(i)}</sub>" if i else "") for t, i in found)
    # and no list, comment or directive
    return re.sub(r"^((?=[-+=:%])|\d+(?=[.)](\s|$)))", r"\1\\", told)


def html(text: str) -> Markup:
    """The same for a page, its indices below the line."""
    found = pieces(visible(text))
    return Markup("").join(
        escape(t) + (Markup("<sub>{}</sub>").format(i) if i else "") for t, i in found
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
"""Every character that needs more than itself; beyond these, Latin letters with their accents pass."""


def _tex_letter(c: str) -> str:
    if c == "\x00":
        return c
    if c in TEX_LETTERS:
        return TEX_LETTERS[c]
    latin = 0x20 <= ord(c) < 0x7F or 0xC0 <= ord(c) <= 0x17F or c in "¡¿"
    return c if latin else rf"\texttt{{U+{ord(c):04X}}}"


def tex(text: str) -> str:
    """LaTeX that shows this text, on one line; what pdflatex has no letter for is spelt out."""
    found = pieces(" ".join(visible(text).split()))
    return "".join(_tex(t) + (f"$_{{{_tex(i)}}}$" if i else "") for t, i in found)


def _tex(text: str) -> str:
    apart = re.sub(r"([-'])(?=\1)", "\\1\x00", text)  # or two of them become one
    return "".join(map(_tex_letter, apart)).replace("\x00", "{}")
