"""The page of `conformance audit`: which equations hold, which do not, and the numbers that show it.

It reads the audit's document alone, as `docs/audit.md` describes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup, escape

from conformance.report.formulas import formula
from conformance.report.html import SIGNS, environment, own_file
from conformance.tools.plain import plain_values

__all__ = ["in_words", "render"]

CLASSES = {
    "holds": "conforms",
    "holds-only": "known-difference",
    "factor": "deviates",
    "shapes": "deviates",
    "incomplete": "deviates",
    "wrong": "deviates",
    "raises": "error",
    "no-numbers": "error",
    "not-judged": "undecided",
}
"""The verdict whose colour and sign each kind of verdict on an equation has."""

COUNTED = {
    "holds": "hold",
    "holds-only": "hold in special cases only",
    "factor": "wrong by a factor",
    "shapes": "with shapes that do not fit",
    "incomplete": "leaving something out",
    "wrong": "silently wrong",
    "raises": "raising",
    "no-numbers": "giving no numbers",
    "not-judged": "not judged",
}
OUTCOMES = {
    "right": "right",
    "wrong": "silently wrong",
    "shapes": "with shapes that do not fit",
    "missing": "asking for what there is not",
    "incomplete": "leaving something out",
    "no-numbers": "giving no numbers",
    "raises": "raising",
}
HEADS = {
    "wrong": "Silently wrong",
    "shapes": "Shapes do not fit",
    "missing": "Asks for what there is not",
    "incomplete": "Leaves something out",
    "no-numbers": "Gives no numbers",
    "raises": "Raises",
}
"""The heading of a piece of evidence, by what it shows."""

DIGITS = (4, 6, 9, 12)


def in_words(totals: Mapping[str, int]) -> str:
    """The totals in words: "17 wrong, 2 notational, 19 hold"."""
    words = {"holds": "holds" if totals["holds"] == 1 else "hold"}
    return ", ".join(f"{n} {words.get(total, total)}" for total, n in totals.items() if n)


def render(audit: Mapping[str, Any]) -> str:
    """One self-contained HTML file without a script, the same bytes for the same audit."""
    # it has text of a teacher's file, and of errors that the file raised
    audit = plain_values(audit)
    env = environment()
    env.globals.update(
        formula=formula,
        classes=CLASSES,
        counted=COUNTED,
        heads=HEADS,
        sign=_sign,
        ran=_ran,
        digits=_digits,
    )
    env.filters.update(numeral=_numeral, subscripts=_subscripts)
    holding = [e for e in audit["equations"] if e["verdict"]["kind"] == "holds"]
    failing = [e for e in audit["equations"] if e["verdict"]["kind"] != "holds"]
    html = env.get_template("audit.html").render(
        audit=audit,
        holding=holding,
        failing=failing,
        answer=_answer(audit),
        totals=in_words(audit["totals"]),
        anchors={e["id"]: f"equation-{i}" for i, e in enumerate(audit["equations"], 1)},
        css=own_file("report.css"),
        depth=_depth,
        cells=_cells,
    )
    return html.encode("utf-8", "replace").decode("utf-8")


def _sign(kind: str) -> str:
    return SIGNS[CLASSES[kind]]


def _answer(audit: Mapping[str, Any]) -> str:
    """The colour of the headline, by the worst verdict."""
    kinds = set(audit["counts"])
    if kinds <= {"holds"}:
        return "conforms"
    return "undecided" if kinds <= {"holds", "not-judged"} else "deviates"


def _ran(tries: Mapping[str, int]) -> str:
    """How often an equation was run, and with what outcomes."""
    parts = [f"{tries[k]:,} {words}" for k, words in OUTCOMES.items() if k in tries]
    times, networks = tries["all"], tries["networks"]
    return f"Run {times:,}× in {networks} networks: {', '.join(parts)}."


def _numeral(x: Any, digits: int = 4) -> str:
    """A number with a proper minus sign, in at most so many digits."""
    if isinstance(x, str) or x is None:
        return str(x)
    return f"{x:.{digits}g}".replace("-", "−")


def _subscripts(text: str) -> Markup:
    """Text in which W_1 and d_{l−1} are set with subscripts; it is escaped first."""
    symbol = "(?:[A-Za-zδσγβμÂ]|[mv]\N{COMBINING CIRCUMFLEX ACCENT}|var)"
    letter = rf"(?<![A-Za-z_])((?:∂[LJ]/∂|new |∂)?{symbol})('?)"
    below = letter + r"_(?:\{([^}]*)\}|([A-Za-z]|[0-9]+))(?![a-z])"
    return Markup(re.sub(below, r"\1\2<sub>\3\4</sub>", str(escape(text)).replace("&#39;", "'")))


def _flat(numbers: Any) -> Iterator[Any]:
    if isinstance(numbers, Mapping):
        numbers = list(numbers.values())
    if isinstance(numbers, list):
        for x in numbers:
            yield from _flat(x)
    else:
        yield numbers


def _digits(got: Any, right: Any) -> int:
    """The fewest digits in which the two differ."""
    pairs = list(zip(_flat(got), _flat(right), strict=False))
    for digits in DIGITS:
        if any(_numeral(g, digits) != _numeral(r, digits) for g, r in pairs):
            return digits
    return DIGITS[0]


def _depth(numbers: Any) -> int:
    """0, a number; 1, a list; 2, a matrix; 3, a stack of matrices."""
    return 1 + _depth(numbers[0]) if isinstance(numbers, list) and numbers else 0


def _cells(numbers: list[list[Any]], beside: Any, digits: int) -> Markup:
    """The rows of a matrix; an entry that differs from the one beside it is marked."""
    same_shape = _shape(numbers) == _shape(beside)
    rows = []
    for i, row in enumerate(numbers):
        cells = (
            _cell(
                _numeral(x, digits),
                same_shape and _numeral(beside[i][j], digits) != _numeral(x, digits),
            )
            for j, x in enumerate(row)
        )
        rows.append(Markup("<tr>{}</tr>").format(Markup("").join(cells)))
    return Markup("").join(rows)


def _cell(text: str, differs: bool) -> Markup:
    return (Markup("<td><b>{}</b></td>") if differs else Markup("<td>{}</td>")).format(text)


def _shape(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list):
        return ()
    return (len(numbers), *(_shape(numbers[0]) if numbers else ()))
