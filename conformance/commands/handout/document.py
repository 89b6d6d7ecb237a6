"""Makes a handout: the steps, the pictures, who agrees. Every format shows this, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

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
from conformance.commands.handout.circuit import circuit
from conformance.commands.handout.example import Example, HandoutError
from conformance.commands.handout.followed import CHAIN, CHECK, chain, differences, weight
from conformance.commands.handout.formulas import Num
from conformance.commands.handout.graph import Figure
from conformance.commands.handout.layout import Formula
from conformance.commands.handout.numbers import certified, latex, plain
from conformance.commands.handout.passes import Key, Numbers, numbers, train
from conformance.commands.handout.recount import Recount, recount
from conformance.commands.handout.step import Given, Step, block, pieces, written
from conformance.commands.handout.steps import PARTS, definitions, given, steps
from conformance.commands.handout.text import count
from conformance.commands.handout.why import explained
from conformance.truth.balls import Enclosure

__all__ = ["BOX", "FORMATS", "Handout", "Line", "Wish", "answered", "facts", "made"]

FORMATS = ("html", "tex", "md", "ipynb")
BOX = r"\boxed{\phantom{00.0000}}"
"""A blank for a student to fill in, in LaTeX."""
IN_CHECK = 10
"""The least digits of finite differences: of those, the difference loses some."""
PARTS_OF = {
    "all": tuple(PARTS),
    "forward": ("forward", "loss"),
    "backward": ("last", "link", "rest", "update"),
}


@dataclass(frozen=True)
class Wish:
    """The options of a handout."""

    digits: int = 6
    steps: str = "all"
    blanks: bool = False
    key: bool = False
    scalar: str = ""  # a weight to follow through the scalar chain rule, "W_1[0,1]"
    provenance: bool = True  # who agrees, and how certain the numbers are


@dataclass(frozen=True)
class Line:
    """A step as it is shown, in LaTeX. Its mark says where it is less certain than all are."""

    step: Step
    left: str
    symbols: str
    filled: Formula
    result: str
    mark: str
    blank: bool = False


@dataclass(frozen=True)
class Handout:
    """A handout, which a format shows."""

    example: Example
    wish: Wish
    givens: tuple[tuple[str, str], ...]  # a left and a right side
    definitions: tuple[tuple[str, str], ...]  # of σ and σ'
    sections: tuple[tuple[str, tuple[Line, ...]], ...]
    key: tuple[tuple[str, tuple[Line, ...]], ...]
    figures: tuple[Figure, ...]
    plots: tuple[Figure, ...]
    answers: tuple[Answer, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]
    steps: tuple[Step, ...]


def made(e: Example, wish: Wish | None = None, names: Sequence[str] = ASKED) -> Handout:
    """Compute an example, check it against the truth, ask the implementations. Raises HandoutError."""
    wish = wish or Wish()
    by = numbers(e)
    exact = truth(e, by)
    rounding_alone(e, by, exact)
    every = explained(steps(e, by), e) if e.show == "steps" else ()
    check(every, exact, e)
    asked = answers(e, exact, wish.digits, names if wish.provenance else ())
    chosen = tuple(s for s in every if s.part in PARTS_OF[wish.steps])
    if (wish.blanks or wish.scalar) and not chosen:
        raise HandoutError(
            f"{e.name} shows a plot and no steps: there is nothing to leave blank or to follow."
        )
    if wish.scalar and wish.steps == "forward":
        raise HandoutError(
            "--scalar follows a weight on the way back; expected no --steps forward."
        )
    marks = (
        {}
        if not wish.provenance
        else {
            s.key: _mark(s, digits_of(s, exact, e, wish.digits), asked, wish.digits) for s in chosen
        }
    )
    lines = _lines(chosen, wish, marks, wish.blanks) + _followed(e, by, wish, chosen, wish.blanks)
    return Handout(
        example=e,
        wish=wish,
        givens=_givens(e, by, wish, every),
        definitions=definitions(e),
        sections=lines,
        key=_lines(chosen, wish, marks, False) + _followed(e, by, wish, chosen, False)
        if wish.blanks and wish.key
        else (),
        figures=_figures(e, by, wish.digits, {s.key for s in chosen} if wish.blanks else set()),
        plots=_plots(e, by, exact, wish.digits),
        answers=asked if wish.provenance else (),
        compared=compared(e, exact) if wish.key or not wish.blanks else (),  # they are the answers
        notes=_notes(
            e, by, chosen, wish, _certain(asked, chosen, any(marks.values()), wish.digits)
        ),
        steps=chosen,
    )


def _lines(
    chosen: Sequence[Step], wish: Wish, marks: Mapping[Key, str], blanks: bool
) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """The steps by part. With blanks, a number that one of them computes is blank wherever it occurs."""
    hidden = {s.key for s in chosen} if blanks else set()
    parts = [p for p in PARTS if any(s.part == p for s in chosen)]
    return tuple(
        (PARTS[p], tuple(_line(s, wish.digits, hidden, marks) for s in chosen if s.part == p))
        for p in parts
    )


def _followed(
    e: Example, by: Numbers, wish: Wish, chosen: Sequence[Step], blanks: bool
) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """The sections on one weight: the chain rule if it is asked for; finite differences with its gradient."""
    w = weight(e, wish.scalar) if wish.scalar else weight(e)
    parts: list[tuple[str, list[tuple[Step, str]]]] = []
    if wish.scalar:
        parts.append((CHAIN, [(s, "") for s in chain(e, by, w)]))
    if any(s.key == ("dW", w.l) for s in chosen):
        parts.append((CHECK, list(differences(e, by, w, max(wish.digits, IN_CHECK)))))
    keys = [s.key for s in chosen] + [s.key for _, part in parts for s, _ in part]
    hidden = set(keys) if blanks else set()
    most = {CHAIN: wish.digits, CHECK: max(wish.digits, IN_CHECK)}
    return tuple(
        (title, tuple(_line(s, most[title], hidden, {s.key: mark}) for s, mark in part))
        for title, part in parts
    )


def _line(s: Step, digits: int, hidden: set[tuple[str, int]], marks: Mapping[Key, str]) -> Line:
    def box(x: Num) -> str | None:
        return BOX if x.key in hidden else None

    blank = s.key in hidden
    result = written((block(s.result, s.key),), digits, box)
    if s.scalar:
        result = BOX if blank else latex(float(s.result[0, 0]), digits)
    filled = pieces(s.filled, digits, box)
    return Line(s, s.left, s.symbols, filled, result, "" if blank else marks.get(s.key, ""), blank)


def _mark(s: Step, digits: NDArray[np.int64], asked: Sequence[Answer], most: int) -> str:
    """What is not as `_certain` says of all numbers: how many digits are certified, who computes fewer."""
    least = int(digits.min())
    marks = []
    if least < most:
        worst = tuple(int(k) + 1 for k in np.argwhere(digits == least)[0])
        where = "" if s.scalar or digits.size == 1 else f" (in entry {worst[0]}, {worst[1]})"
        marks.append(f"at least {least} of {most} digits certified{where}")
    fewer = {a.name: d for a in asked if (d := a.digits.get(s.key, most)) < most}
    marks += [f"{name} agrees to {count(d, 'digit')}" for name, d in fewer.items()]
    return " · ".join(marks)


def _certain(asked: Sequence[Answer], chosen: Sequence[Step], marked: bool, most: int) -> str:
    """How certain the numbers are, and who computes the same, in one note for all."""
    ran = [a.name for a in asked if a.ran]
    every = "Unless a step says otherwise, every" if marked else "Every"
    text = f"{every} number is certified: ball arithmetic proves its {most} digits to be the exact ones."
    if not ran:
        return text
    agree = f" {_and(ran)} compute{'s' if len(ran) == 1 else ''} the same digits"
    alone = any(s.key not in a.digits for s in chosen for a in asked if a.ran)
    return text + agree + (", but for σ' and ∂ℒ/∂z, which refbp alone returns." if alone else ".")


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _givens(
    e: Example, by: Numbers, wish: Wish, every: Sequence[Step]
) -> tuple[tuple[str, str], ...]:
    """The data; and the results of the forward pass, where the backward steps alone are shown."""
    givens = list(given(e, by))
    if wish.steps == "backward":
        givens += [Given(s.key, s.left, s.result) for s in every if s.part == "forward"]
    return tuple((g.left, written((block(g.value, g.key),), wish.digits)) for g in givens)


def _figures(e: Example, by: Numbers, digits: int, hidden: set[Key]) -> tuple[Figure, ...]:
    units = graph.units(e, digits)
    if e.show != "steps":
        return (units,)
    between = {("G", l) for l in range(1, e.L)} if hidden else set()
    return (units, circuit(e, by, hidden | between))


def _plots(
    e: Example, by: Numbers, exact: Mapping[Key, Enclosure], digits: int
) -> tuple[Figure, ...]:
    figures: list[Figure] = []
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
        figures.append(graph.links(sizes, digits, least))
    trained = train(e)
    if trained is not None:
        figures.append(graph.losses(trained.losses, digits))
        if trained.field is not None:
            figures.append(graph.boundary(e, trained, digits))
    return tuple(figures)


def _notes(
    e: Example, by: Numbers, chosen: tuple[Step, ...], wish: Wish, certain: str
) -> tuple[str, ...]:
    """The conventions of this handout, each in a sentence."""
    notes = [
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
        notes.append(
            "The notes absorb b_l in W_l, as the weights of a unit that is always 1; here it stands "
            f"apart.{kept}"
        )
    if e.loss == "half_squared_error":
        notes.append(
            "The loss has a factor ½, so that the 2 of the notes' 2(z − y) cancels. It is run as the squared "
            "error with α/2, and halved, which rounds to the same numbers."
        )
    a, ones = ("a", "") if e.column else ("A", "; a bold 1 is a column of ones")
    notes.append(
        f"Layers are numbered from 1; δ_l is ∂ℒ/∂{a}_l, the link; ⊙ multiplies entry by entry{ones}."
    )
    if chosen:
        notes.append(_recounted(recount(e, by, chosen, wish.digits), wish.digits))
    else:
        notes.append(f"Numbers are shown with {wish.digits} significant digits.")
    if wish.provenance:
        notes.append(certain)
    return tuple(notes)


def _recounted(r: Recount, digits: int) -> str:
    """How far a calculator gets with the numbers as they are shown."""
    start = f"Numbers are shown with {digits} significant digits, and carried with all of them."
    start += " With a calculator, from the numbers as shown,"
    if not r.differ and not r.lost:
        return f"{start} every result comes out as shown."
    same = f"{r.numbers - r.differ - r.lost} of {count(r.numbers, 'result')} come out as shown"
    near = f", {r.differ if r.lost else 'and the others'} within {count(r.worst, 'unit')} of the last digit"
    end = f", and {r.lost} not at all: it takes more digits" if r.lost else ""
    return f"{start} {same}{near if r.differ else ''}{end}."


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
    runs = [(name, list(layers)) for name, layers in groupby(e.sigma, key=lambda l: e.sigma[l])]
    sigma = ", ".join(
        f"{n} (layer{f' {l[0]}' if len(l) == 1 else f's {l[0]} to {l[-1]}'})" for n, l in runs
    )
    return (
        ("Units", shape),
        ("Activations", sigma),
        ("Loss", e.loss.replace("_", " ")),
        ("Learning rate", f"α = {plain(e.alpha, 6)}"),
        ("Data", "one example" if e.n == 1 else f"a batch of {e.n}"),
    )


def answered(h: Handout) -> list[tuple[str, str, str]]:
    """A row for each implementation: name, versions, what it answered."""
    rows = []
    for a in h.answers:
        least, most = min(a.digits.values(), default=0), h.wish.digits
        many = f"all {most}" if least >= most else f"at least {least} of {most}"
        result = f"{'not run' if a.verdict == 'not-run' else a.verdict}: {a.reason}"
        rows.append(
            (a.name, a.versions, f"{a.verdict}; {many} digits as certified" if a.ran else result)
        )
    return rows
