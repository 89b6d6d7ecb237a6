"""Warns where the LaTeX of an equation and its code differ in their symbols.

What the code reads is recorded while it runs; what the LaTeX has is taken from its right side. Both are put
in one spelling: a small letter (an example a column) as its capital, ∂L/∂A_l as δ_l, X as Z_0, a hat and
"new" left out. An index of the LaTeX that is no l or L may mean any layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.commands.audit.compare import Tried
from conformance.commands.audit.places import INDEX, Index, Place

__all__ = ["warning"]


LONGEST = 5_000  # characters of LaTeX


@dataclass(frozen=True)
class Symbol:
    """A symbol as one side has it; `index` is None where it has none, or may be any."""

    name: str
    index: Index | None = None

    def __str__(self) -> str:
        return self.name if self.index is None else f"{self.name}_{self.index.below}"


# ---- of the LaTeX --------------------------------------------------------------------------------------

_FONTS = r"\\(?:mathbf|boldsymbol|bm|mathrm|mathit|mathsf|mathcal|mathbb|vec|bar|hat|widehat|tilde)"
_INNER = r"((?:[^{}]|\{[^{}]*\})*)"
_GREEK = {
    "delta": "δ", "sigma": "σ", "alpha": "α", "eta": "α", "lambda": "λ", "beta": "β", "gamma": "γ",
    "epsilon": "ε", "varepsilon": "ε", "ell": "l",
}  # fmt: skip
_KNOWN = set("WAZYXδσαλβγεvm")
_LETTERS = {"w": "W", "a": "A", "z": "Z", "y": "Y", "x": "X"}


def _of_latex(latex: str) -> list[set[Symbol]]:
    """The symbols of each member of an equation after its first; of the whole where it has no = or ←."""
    text = re.sub(r"\\(text|operatorname|mathrm)\s*\{[^{}]*\}", " ", latex)
    for _ in range(4):  # one within another
        text = re.sub(_FONTS + r"\s*(?:\{([^{}]*)\}|(\\?[A-Za-z]))", r" \1\2", text)
    text = re.sub(r"\\(?:ell)(?![A-Za-z])", "l", text)
    first, *others = re.split(r"=|\\leftarrow|\\gets|←|:=|\\\\", text)
    return [set(_symbols(part)) for part in others or [first]]


def _symbols(text: str) -> Iterator[Symbol]:
    derivative = re.compile(
        rf"\\[dt]?frac\s*\{{\s*\\partial\s*{_INNER}\}}\s*\{{\s*\\partial\s*{_INNER}\}}"
    )
    for of, by in derivative.findall(text):
        above, below = next(_letters(of), None), next(_letters(by), None)
        if below is None:
            continue
        if above is None or above.name not in _KNOWN:  # L, J, E, …
            yield _canonical(f"∂L/∂{below.name}", below.index)
        else:
            yield Symbol(f"∂{above.name}/∂{below.name}", above.index)
    text = derivative.sub(" ", text)
    for by in re.findall(r"\\nabla\s*_\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        yield from (_canonical(f"∂L/∂{s.name}", s.index) for s in _letters(by))
    text = re.sub(r"\\nabla\s*_\s*\{(?:[^{}]|\{[^{}]*\})*\}", " ", text)
    if re.search(r"(?<![A-Za-z\\])h\s*\(", text):  # h(x) is Z_L
        yield Symbol("Z", Index("L"))
        text = re.sub(r"(?<![A-Za-z\\])h\s*\([^()]*\)", " ", text)
    yield from (s for s in _letters(text) if s.name in _KNOWN or s.name == "Z")


def _letters(text: str) -> Iterator[Symbol]:
    """The letters of a text with their indices; W^{(l)} and W^{[l]} have theirs above."""
    pattern = re.compile(
        r"(?P<word>\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-zα-ω](?![A-Za-z]))'?"
        r"(?P<marks>(?:\s*[_^]\s*(?:\{[^{}]*\}|\\?[A-Za-z0-9']+))*)"
    )
    for found in pattern.finditer(text.replace("\\{", "(").replace("\\}", ")")):
        word = found["word"]
        name = _GREEK.get(word[1:], "") if word[0] == "\\" else word
        if not name:
            continue
        yield _canonical(_LETTERS.get(name, name), _index(found["marks"]))


def _index(marks: str) -> Index | None:
    below = re.search(r"_\s*(?:\{([^{}]*)\}|([A-Za-z0-9]))", marks)
    above = re.search(r"\^\s*\{?\s*[(\[]([^()\[\]]*)[)\]]", marks)
    for found in (above, below):
        if found:
            text = re.sub(r"\s|\\ell", "", next(filter(None, found.groups()), ""))
            index = Index.read(text) if re.fullmatch(INDEX, text) else None
            return None if index is None or index.base.isdigit() else index
    return None


def _canonical(name: str, index: Index | None) -> Symbol:
    if name == "∂L/∂A":
        return Symbol("δ", index)
    if name == "X":
        return Symbol("Z", Index("0"))
    return Symbol(name, None if name in "σYα" else index)


# ---- of the code -----------------------------------------------------------------------------------------


def _of_code(t: Tried) -> Iterator[tuple[str, int | None]]:
    """What one try read: the symbol, and the number of the layer where it has one."""
    for symbol in t.symbols:
        name, _, layer = symbol.partition("_")
        if "/" in symbol and symbol.count("_") == 2:  # ∂a_2/∂a_1
            name = re.sub(r"_[0-9]+", "", symbol)
            layer = re.findall(r"_([0-9]+)", symbol)[0]
        name = name.removeprefix("new ").replace("m̂", "m").replace("v̂", "v").replace("Â", "A")
        name = re.sub("[wazyx]", lambda m: _LETTERS[m[0]], name)
        canonical = _canonical(name, None)
        at = canonical.index.of(t.at) if canonical.index else int(layer) if layer else None
        yield canonical.name, None if canonical.name in "σYαβ" else at


# ---- beside each other -------------------------------------------------------------------------------------


def warning(latex: str, tried: Sequence[Tried]) -> str:
    """What the LaTeX has and the code does not read, and the other way round; "" where they agree.

    Of a chain a = b = c the code may be any member after the first.
    """
    if len(latex) > LONGEST:
        return ""
    ran = [t for t in tried if t.outcome in ("right", "wrong", "incomplete") and t.symbols]
    members = [symbols for symbols in _of_latex(latex) if symbols]
    if not ran or not members or ran[0].at.setting.method == "batch norm":
        return ""  # whose letters differ from course to course
    read = [(t.at, set(_of_code(t))) for t in ran]
    differences = [_difference(symbols, read) for symbols in members]
    return min(differences, key=len)


def _difference(
    latex: set[Symbol], read: Sequence[tuple[Place, set[tuple[str, int | None]]]]
) -> str:
    names = {name for _, those in read for name, _ in those}
    unread = sorted(str(s) for s in latex if not any(_is_read(s, at, those) for at, those in read))
    more = {
        str(Symbol(name, _index_of(name, read) if layer is not None else None))
        for at, those in read
        for name, layer in those
        if name in _KNOWN | {n for n in names if "/" in n}
        and not any(s.name == name and _may_be(s.index, layer, at) for s in latex)
    }
    if not unread and not more:
        return ""
    parts = []
    if unread:
        parts.append(f"has {_listed(unread)}, which its code does not read")
    said = f"its LaTeX {' and '.join(parts)}" if parts else ""
    if more:
        said += (
            f"{'; ' if said else ''}its code reads {_listed(sorted(more))}, which its LaTeX has not"
        )
    return said


def _is_read(s: Symbol, at: Place, those: set[tuple[str, int | None]]) -> bool:
    return any(name == s.name and _may_be(s.index, layer, at) for name, layer in those)


def _may_be(index: Index | None, layer: int | None, at: Place) -> bool:
    return index is None or layer is None or index.of(at) == layer


def _index_of(name: str, read: Sequence[tuple[Place, set[tuple[str, int | None]]]]) -> Index | None:
    """How the layer that is read is written: l+1, where every place reads that one."""
    at_the_end = all(at.l == at.setting.L for at, _ in read)
    for base in ("L", "l") if at_the_end else ("l", "L"):
        for shift in (0, 1, -1, 2, -2):
            index = Index(base, shift)
            if all((name, index.of(at)) in those for at, those in read):
                return index
    return None


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
