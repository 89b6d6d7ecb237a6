"""A handout before it is given a form: the steps, the pictures, who agrees. All formats show this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.commands.handout import graph
from conformance.commands.handout.agreement import (
    ASKED,
    Answer,
    Compared,
    answers,
    check,
    compared,
    digits_of,
    rounding_alone,
    truth,
)
from conformance.commands.handout.example import Example, HandoutError
from conformance.commands.handout.formulas import Num
from conformance.commands.handout.graph import Figure
from conformance.commands.handout.layout import Formula
from conformance.commands.handout.numbers import certified, latex, plain
from conformance.commands.handout.passes import Key, Numbers, numbers, train
from conformance.commands.handout.steps import (
    PARTS,
    Given,
    Recount,
    Step,
    block,
    given,
    pieces,
    recount,
    steps,
    written,
)
from conformance.commands.handout.text import count
from conformance.truth.balls import Enclosure

__all__ = ["BOX", "FORMATS", "Handout", "Line", "Wish", "answered", "facts", "made"]

FORMATS = ("html", "tex", "md", "ipynb")
BOX = r"\boxed{\phantom{00.0000}}"
"""What is left for a student to fill in, in LaTeX."""
PARTS_OF = {
    "all": tuple(PARTS),
    "forward": ("forward", "loss"),
    "backward": ("last", "link", "rest", "update"),
}


@dataclass(frozen=True)
class Wish:
    """How the handout is asked for."""

    digits: int = 6
    steps: str = "all"
    blanks: bool = False
    key: bool = False


@dataclass(frozen=True)
class Line:
    """A step as it is shown: LaTeX, its mark, and whether something is left out."""

    step: Step
    left: str
    symbols: str
    filled: Formula
    result: str
    mark: str


@dataclass(frozen=True)
class Handout:
    """All that is shown."""

    example: Example
    wish: Wish
    givens: tuple[tuple[Given, str], ...]
    sections: tuple[tuple[str, tuple[Line, ...]], ...]
    key: tuple[tuple[str, tuple[Line, ...]], ...]
    figures: tuple[Figure, ...]
    plots: tuple[Figure, ...]
    answers: tuple[Answer, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]
    steps: tuple[Step, ...]


def made(e: Example, wish: Wish | None = None, names: Sequence[str] = ASKED) -> Handout:
    """Compute, check against the truth, ask the others, and put it together. Raises HandoutError."""
    wish = wish or Wish()
    by = numbers(e)
    exact = truth(e, by)
    rounding_alone(e, by, exact)
    every = steps(e, by) if e.show == "steps" else ()
    check(every, exact, e)
    asked = answers(e, exact, wish.digits, names)
    chosen = tuple(s for s in every if s.part in PARTS_OF[wish.steps])
    if wish.blanks and not chosen:
        raise HandoutError(f"{e.name} shows a plot and no steps: there is nothing to leave blank.")
    marks = {
        s.key: _mark(s, digits_of(s, exact, e, wish.digits), asked, wish.digits) for s in chosen
    }
    lines = _lines(chosen, wish, marks, wish.blanks)
    return Handout(
        example=e,
        wish=wish,
        givens=_givens(e, by, wish, every, chosen),
        sections=lines,
        key=_lines(chosen, wish, marks, False) if wish.blanks and wish.key else (),
        figures=_figures(e, wish.digits),
        plots=_plots(e, by, exact, wish.digits),
        answers=asked,
        compared=compared(e, exact) if wish.key or not wish.blanks else (),  # they are the answers
        notes=_notes(e, by, chosen, wish),
        steps=chosen,
    )


def _lines(
    chosen: Sequence[Step], wish: Wish, marks: Mapping[Key, str], blanks: bool
) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """By part; a number that a shown step computes is left blank wherever it stands."""
    hidden = {s.key for s in chosen} if blanks else set()
    parts = [p for p in PARTS if any(s.part == p for s in chosen)]
    return tuple(
        (PARTS[p], tuple(_line(s, wish.digits, hidden, marks) for s in chosen if s.part == p))
        for p in parts
    )


def _line(s: Step, digits: int, hidden: set[tuple[str, int]], marks: Mapping[Key, str]) -> Line:
    def box(x: Num) -> str | None:
        return BOX if x.key in hidden else None

    blank = s.key in hidden
    one = written((block(s.result, s.key),), digits, box)
    if s.scalar:
        one = BOX if blank else latex(float(s.result[0, 0]), digits)
    filled = pieces(s.filled, digits, box)
    return Line(s, s.left, s.symbols, filled, one, "" if blank else marks[s.key])


def _mark(
    s: Step,
    digits: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    asked: Sequence[Answer],
    most: int,
) -> str:
    """How many digits are certified, and who computes the same."""
    least = int(digits.min())
    told = f"all {most} digits certified"
    if least < most:
        worst = tuple(int(k) + 1 for k in np.argwhere(digits == least)[0])
        where = "" if s.scalar or digits.size == 1 else f" (in entry {worst[0]}, {worst[1]})"
        told = f"at least {least} of {most} digits certified{where}"
    return f"{told} · {agreeing(s, asked, most)}"


def agreeing(s: Step, asked: Sequence[Answer], most: int) -> str:
    """Who computes the same."""
    found = [
        f"{a.name}{'' if a.digits[s.key] >= most else f' ({a.digits[s.key]})'}"
        for a in asked
        if s.key in a.digits
    ]
    if not found:
        return "from refbp's own σ and loss; the others do not return it"
    least = min(a.digits[s.key] for a in asked if s.key in a.digits)
    told = f"{_and(found)} agree{'s' if len(found) == 1 else ''}"
    return told + ("" if least >= most else " to the digits in parentheses")


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _givens(
    e: Example, by: Numbers, wish: Wish, every: Sequence[Step], chosen: Sequence[Step]
) -> tuple[tuple[Given, str], ...]:
    """What is handed out: the data, and for the backward steps alone what the forward pass gave."""
    found = list(given(e, by))
    if wish.steps == "backward":
        found += [Given(s.key, s.left, s.result) for s in every if s.part == "forward"]
    return tuple((g, written((block(g.value, g.key),), wish.digits)) for g in found)


def _figures(e: Example, digits: int) -> tuple[Figure, ...]:
    drawn = [graph.units(e, digits)]
    return (*drawn, graph.chain(e)) if e.show == "steps" else tuple(drawn)


def _plots(
    e: Example, by: Numbers, exact: Mapping[Key, Enclosure], digits: int
) -> tuple[Figure, ...]:
    found: list[Figure] = []
    if e.show == "plot":
        sizes = [float(np.abs(by["delta", l]).max()) for l in e.W]
        if not min(sizes) > 0:
            l = 1 + int(np.argmin(sizes))
            raise e.refused(
                "", "show",
                f'is "plot", and δ is 0 in all of layer {l}; expected δ that are not 0, or '
                'show = "steps".',
            )  # fmt: skip
        least = min(int(certified(by["delta", l], exact["delta", l], digits).min()) for l in e.W)
        found.append(graph.links(sizes, digits, least))
    trained = train(e)
    if trained is not None:
        found.append(graph.losses(trained.losses, digits))
        if trained.field is not None:
            found.append(graph.boundary(e, trained, digits))
    return tuple(found)


def _notes(e: Example, by: Numbers, chosen: tuple[Step, ...], wish: Wish) -> tuple[str, ...]:
    """The conventions, in a sentence each."""
    found = [
        "One example, as a column, as the notes derive it: a_l = W_l z_{l-1}, and W_l is d_l×d_{l-1}."
        if e.column
        else "A batch, one example a row, as the notes' pseudocode: A_l = Z_{l-1} W_l, "
        "and W_l is d_{l-1}×d_l."
    ]
    if e.b:
        kept = (
            " The biases are fixed here: they have no gradient and no update."
            if e.fixed_biases
            else ""
        )
        found.append(
            "The notes absorb b_l in W_l, as the weights of a unit that is always 1; here it stands "
            f"apart.{kept}"
        )
    if e.loss == "half_squared_error":
        found.append(
            "The loss has a factor ½, so that the 2 of the notes' 2(z − y) cancels. It is run as the squared "
            "error with α/2, and halved, which rounds to the same numbers."
        )
    a, ones = ("a", "") if e.column else ("A", "; a bold 1 is a column of ones")
    found.append(
        f"Layers are numbered from 1; δ_l is ∂ℒ/∂{a}_l, the link; ⊙ multiplies entry by entry{ones}."
    )
    if chosen:
        found.append(_recounted(recount(e, by, chosen, wish.digits), wish.digits))
    else:
        found.append(f"Numbers are shown with {wish.digits} significant digits.")
    found.append(
        "A digit is certified where ball arithmetic proves it to be that of the exact result for these "
        "numbers as floats."
    )
    return tuple(found)


def _recounted(r: Recount, digits: int) -> str:
    told = f"Numbers are shown with {digits} significant digits, and carried with all of them."
    if not r.differ and not r.lost:
        return (
            f"{told} With a calculator, from the numbers as shown, every result comes out as shown."
        )
    told += f" With a calculator, from the numbers as shown, {r.numbers - r.differ - r.lost} of "
    told += f"{count(r.numbers, 'result')} come out as shown"
    if r.differ:
        told += f", {r.differ if r.lost else 'and the others'} within {count(r.worst, 'unit')} of "
        told += "the last digit"
    return f"{told}, and {r.lost} not at all: it takes more digits." if r.lost else f"{told}."


def facts(e: Example) -> tuple[tuple[str, str], ...]:
    """The network in a few words."""
    widths = (e.X.shape[1], *(W.shape[1] for W in e.W.values()))
    shape = "–".join(map(str, widths))
    if e.L > 8:
        shape = (
            f"{e.L} layers, {min(widths)} to {max(widths)} units"
            if len(set(widths)) > 1
            else f"{e.L} layers of {widths[0]} units"
        )
    runs: list[tuple[str, int, int]] = []
    for l, name in e.sigma.items():
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1], l)
        else:
            runs.append((name, l, l))
    sigma = ", ".join(f"{n} (layer{f' {a}' if a == b else f's {a} to {b}'})" for n, a, b in runs)
    return (
        ("Units", shape),
        ("Activations", sigma),
        ("Loss", e.loss.replace("_", " ")),
        ("Learning rate", f"α = {plain(e.alpha, 6)}"),
        ("Data", "one example" if e.n == 1 else f"a batch of {e.n}"),
    )


def answered(h: Handout) -> list[tuple[str, str, str]]:
    """A row for each implementation: name, versions, what it says."""
    rows = []
    for a in h.answers:
        told = f"not run: {a.reason}" if a.verdict == "not-run" else f"{a.verdict}: {a.reason}"
        if a.ran:
            least, most = min(a.digits.values()), h.wish.digits
            many = f"all {most}" if least >= most else f"at least {least} of {most}"
            told = f"{a.verdict}; {many} digits as certified"
        rows.append((a.name, a.versions, told))
    return rows
