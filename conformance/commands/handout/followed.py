"""One weight by itself: its gradient by the scalar chain rule, and checked by finite differences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from conformance.commands.handout.example import Example, HandoutError
from conformance.commands.handout.formulas import MINUS, Num, Parts
from conformance.commands.handout.numbers import certified
from conformance.commands.handout.passes import Numbers
from conformance.commands.handout.step import Step
from conformance.model.problem import Floats
from conformance.truth.balls import Ball, Enclosure, enclosure, interval, scalar, working_precision
from conformance.truth.network import Network

__all__ = ["CHAIN", "CHECK", "Weight", "chain", "differences", "weight"]

CHAIN, CHECK = "One weight, by the chain rule", "Check it yourself: finite differences"
H = 0.01
"""By how much the weight is moved: a calculator with six digits then has four of the quotient."""


@dataclass(frozen=True)
class Weight:
    """W_l[j, k] as displayed, from 0; `row` and `column` in W_l, d_{l-1}×d_l."""

    l: int
    j: int
    k: int
    row: int  # the unit that it starts from
    column: int  # the unit that it leads to

    @property
    def name(self) -> str:
        return f"W_{self.l}[{self.j}, {self.k}]"


def weight(e: Example, name: str = "W_1[0,0]") -> Weight:
    """The weight of that name. Raises HandoutError for another name, or one that is not there."""
    m = re.fullmatch(r"W_?(\d{1,2})\[(\d{1,2}),\s*(\d{1,2})\]", name.strip(), re.ASCII)
    if not m:
        raise HandoutError(
            f"cannot read {name[:40]!r} as a weight; expected layer, row and column, such as 'W_1[0,1]': "
            "the first layer is 1, the first row and column are 0, as in NumPy."
        )
    l, j, k = map(int, m.groups())
    if l not in e.W:
        raise HandoutError(f"there is no layer {l} in {e.name}; expected 1 to {e.L}.")
    rows, columns = e.shaped(e.W[l]).shape
    if j >= rows or k >= columns:
        raise HandoutError(
            f"there is no [{j},{k}] in W_{l}, which is {rows}×{columns}; expected a row of 0 to {rows - 1} "
            f"and a column of 0 to {columns - 1}."
        )
    return Weight(l, j, k, *((k, j) if e.column else (j, k)))


def _d(of: str) -> str:
    return rf"\frac{{\partial \mathcal{{L}}}}{{\partial {of}}}"


def _step(
    key: int, says: str, left: str, symbols: str, filled: Parts, value: float, note: str = ""
) -> Step:
    """One number; it has no line of NumPy."""
    return Step(
        ("followed", key),
        "followed",
        says,
        left,
        symbols,
        filled,
        np.full((1, 1), value),
        "",
        note,
        True,
    )


def chain(e: Example, by: Numbers, w: Weight) -> Iterator[Step]:
    """The factors from the loss down to the weight, unit by unit; of a batch, those of its first example."""
    key = 0
    which = "" if e.n == 1 else " Indices are layer and unit; this is example 1 of the batch."
    for l in range(e.L, w.l - 1, -1):
        units = range(e.W[l].shape[1]) if l > w.l else [w.column]
        for m in units:
            yield _unit(e, by, l, m, key, which)
            key, which = key + 1, ""
    yield from _at_the_weight(e, by, w, key)


def _unit(e: Example, by: Numbers, l: int, m: int, key: int, note: str) -> Step:
    """∂ℒ/∂a of one unit."""

    def num(q: str, k: int, j: int) -> Num:
        return Num(float(by[q, k][0, j]), (q, k), wrapped=True)

    a, z = f"a_{{{l},{m + 1}}}", f"z_{{{l},{m + 1}}}"
    value = float(by["delta", l][0, m])
    if ("S", l) in by:
        says = f"The link of output {m + 1}, as computed above"
        return _step(key, says, _d(a), rf"\delta_{{{l},{m + 1}}}", (), value, note)
    slope = rf"\sigma'_{{{l}}}({a})"
    if l == e.L:
        symbols = rf"{_d(z)} \cdot {slope}"
        filled: Parts = (num("G", l, m), r" \cdot ", num("D", l, m))
    else:
        over = f"{l + 1},i"
        through = rf"\frac{{\partial a_{{{over}}}}}{{\partial {z}}}"
        symbols = rf"\left(\sum_i {_d(f'a_{{{over}}}')} \cdot {through}\right) \cdot {slope}"
        terms: list[str | Num] = []
        for i in range(e.W[l + 1].shape[1]):
            terms += [" + "] if i else []
            across = Num(float(e.W[l + 1][m, i]), ("W", l + 1), wrapped=True)
            terms += [num("delta", l + 1, i), r" \cdot ", across]
        filled = ("(", *terms, r") \cdot ", num("D", l, m))
    says = f"How ℒ changes with the pre-activation of unit {m + 1} of layer {l}"
    return _step(key, says, _d(a), symbols, filled, value, note.strip())


def _at_the_weight(e: Example, by: Numbers, w: Weight, key: int) -> Iterator[Step]:
    """∂ℒ/∂w, and w after the step."""
    many = e.n > 1
    i = "i," if many else ""
    a = f"a_{{{i}{w.l},{w.column + 1}}}"
    z = f"z_{{{i}{w.l - 1},{w.row + 1}}}"
    symbols = rf"{_d(a)} \cdot \frac{{\partial {a}}}{{\partial w}} = {_d(a)} \cdot {z}"
    terms: list[str | Num] = []
    for n in range(e.n):
        delta = Num(float(by["delta", w.l][n, w.column]), ("delta", w.l), wrapped=True)
        before = Num(float(by["Z", w.l - 1][n, w.row]), ("Z", w.l - 1), wrapped=True)
        terms += [*([" + "] if n else []), delta, r" \cdot ", before]
    gradient = float(by["dW", w.l][w.row, w.column])
    yield _step(
        key, f"The gradient of w = {w.name}", _d("w"), (r"\sum_i " if many else "") + symbols, tuple(terms),
        gradient, "a changes with w as fast as the number that w multiplies.",
    )  # fmt: skip
    old, new = (float(by[q, w.l][w.row, w.column]) for q in ("W", "W_new"))
    step = Num(gradient, ("dW", w.l), wrapped=True)
    filled = (Num(old, ("W", w.l)), MINUS, Num(e.alpha, ("alpha", 0)), r" \cdot ", step)
    yield _step(
        key + 1,
        "The weight after the step",
        r"w^{\text{new}}",
        rf"w - \alpha {_d('w')}",
        filled,
        new,
    )


def differences(e: Example, by: Numbers, w: Weight, digits: int) -> Iterator[tuple[Step, str]]:
    """ℒ with the weight a little larger and a little smaller, and the quotient: each certified, with a mark
    where it is to fewer digits."""
    with working_precision(256):
        up, down = (_loss(e, w, h) for h in (H, -H))
        # w ± h are floats, so that they are not quite 2h apart
        at = float(e.W[w.l][w.row, w.column])
        apart = scalar(at + H) - scalar(at - H)
        exact = [enclosure([b], (1, 1)) for b in (up, down, (up - down) / apart)]
    more, less, quotient = (float(x.hi[0, 0]) for x in exact)
    marks = [_mark(x, digits) for x in exact]
    text = (
        f"The gradient says by how much ℒ changes. So move w = {w.name} by h = {H} both ways, and run the "
        "forward pass again for each."
    )
    plus, minus = (rf"\mathcal{{L}}(w {sign} h)" for sign in "+-")
    again = r"\text{another forward pass}"
    losses = [Num(x, ("followed", k)) for k, x in ((100, more), (101, less))]
    filled: Parts = ("(", losses[0], " - ", losses[1]._replace(wrapped=True), f") / {2 * H:g}")
    same = _same(quotient, float(by["dW", w.l][w.row, w.column]), digits)
    note = f"The gradient of w, to {same}. What is left shrinks with h²: a tenth of h, a hundredth of it."
    yield _step(100, "With the weight a little larger", plus, again, (), more, text), marks[0]
    yield _step(101, "With the weight a little smaller", minus, again, (), less), marks[1]
    yield _step(
        102, "The change of ℒ over the change of w", "q", rf"\frac{{{plus} - {minus}}}{{2h}}", filled,
        quotient, note,
    ), marks[2]  # fmt: skip


def _same(x: float, y: float, digits: int) -> str:
    """To how many digits two numbers are the same."""
    for k in range(digits, 0, -1):
        if x == y or abs(x - y) <= 0.5 * 10.0 ** (np.floor(np.log10(abs(y) or 1.0)) - k + 1):
            return f"{k} digit{'s' if k > 1 else ''}"
    return "no digit: the loss bends much here"


def _mark(x: Enclosure, digits: int) -> str:
    least = int(certified(x.hi, x, digits)[0, 0])
    return "" if least >= digits else f"at least {least} of {digits} digits certified"


def _loss(e: Example, w: Weight, h: float) -> Ball:
    """The loss with the weight moved by h, which is the float nearest to their sum."""
    M: Floats = e.W[w.l].copy()
    M[w.row, w.column] += h
    t = Network(replace(e, W={**e.W, w.l: M}).problem()).truth.loss
    hi, lo, rad = (float(np.ravel(x)[0]) for x in (t.hi, t.lo, t.rad))
    return (scalar(hi) + scalar(lo) + interval(-rad, rad)) / int(e.scale)
