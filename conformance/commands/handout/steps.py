"""The worked steps as data, in the notes' order: one list that every format shows.

A step has its equation in symbols, the same with numbers, the result, and the line of NumPy that computes it,
which the notebook shows and `recount` runs. An example is displayed as a column (a_l = W_l z_{l-1}, W_l
d_l×d_{l-1}), or a batch as rows (A_l = Z_{l-1} W_l).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from conformance.commands.handout.example import Example
from conformance.commands.handout.formulas import (
    LOSSES,
    MINUS,
    ODOT,
    PLUS,
    PRODUCT,
    SIGMA,
    Grid,
    Num,
    Parts,
    legend,
    sigma_cell,
    sigma_prime_cell,
    symbols,
)
from conformance.commands.handout.passes import Key, Numbers
from conformance.commands.handout.step import Given, Step, block
from conformance.model.problem import Floats
from conformance.truth.definitions import ROW_WISE

__all__ = ["PARTS", "activated", "definitions", "given", "steps"]

PARTS = {
    "forward": "Step 0: propagate the input forward",
    "loss": "Step 1: evaluate the loss",
    "last": "Step 2a: the last layer",
    "link": "Step 2b: the link for the preceding layer",
    "rest": "Step 2c: the remaining layers",
    "update": "Step 2: update the weights",
}
"""The parts of the handout, named as the notes name them."""


def activated(e: Example, index: str, of: str, l: int) -> str:
    """σ_l in NumPy. Softmax takes rows: a column is turned for it, and back."""
    turned = e.column and e.sigma[l] in ROW_WISE
    return f"sigma[{index}](({of}).T).T" if turned else f"sigma[{index}]({of})"


class _Writer:
    """The steps of one example, from its numbers."""

    def __init__(self, e: Example, by: Numbers) -> None:
        self.e, self.by, self.loss = e, by, LOSSES[e.loss]

    # how quantities are written, in the example's convention

    def v(self, letter: str, l: int | str = "") -> str:
        """A quantity in bold: a small letter for a column, a capital for rows."""
        letter = letter.lower() if self.e.column else letter
        return rf"\mathbf{{{letter}}}_{{{l}}}" if l != "" else rf"\mathbf{{{letter}}}"

    def W(self, l: int) -> str:
        """W_l."""
        return rf"\mathbf{{W}}_{{{l}}}"

    def b(self, l: int) -> str:
        """b_l, which is a row where examples are."""
        return rf"\mathbf{{b}}_{{{l}}}" if self.e.column else rf"\mathbf{{b}}_{{{l}}}^\top"

    def d(self, by: str) -> str:
        """∂L/∂ something."""
        return rf"\frac{{\partial \mathcal{{L}}}}{{\partial {by}}}"

    def db(self, l: int) -> str:
        """∂L/∂b_l."""
        return self.d(rf"\mathbf{{b}}_{{{l}}}") + ("" if self.e.column else r"^\top")

    def code(self, quantity: str, l: int) -> str:
        """The NumPy variable of A_l or Z_l: a[1], or A[1]."""
        return f"{quantity.lower() if self.e.column else quantity}[{l}]"

    @property
    def y(self) -> str:
        return "y" if self.e.column else "Y"

    # their numbers, and formulas of these

    def M(self, quantity: str, l: int) -> Floats:
        """The numbers of a quantity, as displayed."""
        return self.e.shaped(self.by[quantity, l])

    def block(self, quantity: str, l: int, transposed: bool = False) -> Grid:
        """The same as a matrix in a formula."""
        M = self.M(quantity, l)
        return block(M.T if transposed else M, (quantity, l))

    def cells(self, make: Callable[..., Parts], *of: Key) -> Grid:
        """A matrix of cells, each made from the entries of several matrices at its place."""
        each = [self.M(*key) for key in of]
        rows, columns = each[0].shape

        def cell(i: int, j: int) -> Parts:
            return make(*(Num(float(M[i, j]), key) for M, key in zip(each, of, strict=True)))

        return Grid(tuple(tuple(cell(i, j) for j in range(columns)) for i in range(rows)))

    def product(self, P: Grid, Q: Grid) -> Parts:
        """P Q for a column; Q P for a batch of rows, where everything is transposed."""
        return (P, PRODUCT, Q) if self.e.column else (Q, PRODUCT, P)

    # forward

    def forward(self) -> Iterator[Step]:
        for l in range(1, self.e.L + 1):
            yield self._pre_activation(l)
            if ("T", l) in self.by:
                yield self._exponentials(l)
            yield self._activation(l)

    def _pre_activation(self, l: int) -> Step:
        e = self.e
        Z, W = self.v("Z", l - 1), self.W(l)
        symbols = rf"{W} {Z}" if e.column else rf"{Z} {W}"
        filled = self.product(self.block("W", l), self.block("Z", l - 1))
        code = ("W[{l}] @ {z}" if e.column else "{z} @ W[{l}]").format(l=l, z=self.code("Z", l - 1))
        if e.b:
            symbols += f" + {self.b(l)}" if e.column else rf" + \mathbf{{1}}\, {self.b(l)}"
            filled = (*filled, PLUS, *(() if e.column else (r"\mathbf{1}",)), self.block("b", l))
            code += f" + b[{l}]"
        return Step(
            ("A", l), "forward", f"The pre-activation of layer {l}", self.v("A", l), symbols, filled,
            self.M("A", l), f"{self.code('A', l)} = {code}",
        )  # fmt: skip

    def _activation(self, l: int) -> Step:
        name = self.e.sigma[l]
        a = self.v("A", l)
        return Step(
            ("Z", l), "forward", f"The output of layer {l}, σ_{l} is {name}", self.v("Z", l),
            rf"\sigma_{{{l}}}({a})", self._sigma(l), self.M("Z", l),
            f"{self.code('Z', l)} = {activated(self.e, str(l), self.code('A', l), l)}",
            note=_OF_A_ROW[name] if name in _OF_A_ROW else legend(name),
        )  # fmt: skip

    def _sigma(self, l: int) -> Parts:
        name = self.e.sigma[l]
        if ("T", l) in self.by:
            return self._of_a_row(l)
        return (self.cells(lambda a: sigma_cell(name, a), ("A", l)),)

    @property
    def axis(self) -> int:
        """The axis of an example's numbers."""
        return 0 if self.e.column else 1

    def summed(self, of: str) -> str:
        """The sum over each example's numbers."""
        return rf"\mathbf{{1}}^\top {of}" if self.e.column else rf"{of}\, \mathbf{{1}}"

    def _exponentials(self, l: int) -> Step:
        """The step of the sums that a softmax divides by, and of which a log-softmax takes the logarithm."""
        cells = self.cells(lambda a: ("e^{", a, "}"), ("A", l))
        filled: Parts = (r"\mathbf{1}^\top ", cells) if self.e.column else (cells, r"\,\mathbf{1}")
        return Step(
            ("T", l), "forward", f"The sum of the exponentials{self.each}, layer {l}", r"\mathbf{t}",
            self.summed(f"e^{{{self.v('A', l)}}}"), filled, self.M("T", l),
            f"T[{l}] = np.exp({self.code('A', l)}).sum(axis={self.axis}, keepdims=True)",
        )  # fmt: skip

    @property
    def each(self) -> str:
        return "" if self.e.column else " of each row"

    def _of_a_row(self, l: int) -> Parts:
        """e^a / t, or a − ln t, with the example's own t."""
        soft = self.e.sigma[l] == "softmax"
        A = self.M("A", l)
        T = np.broadcast_to(self.M("T", l), A.shape)

        def cell(a: float, t: float) -> Parts:
            total = Num(t, ("T", l), wrapped=soft)
            one = Num(a, ("A", l))
            return ("e^{", one, "} / ", total) if soft else (one, r" - \ln(", total, ")")

        rows = zip(A.tolist(), T.tolist(), strict=True)
        return (Grid(tuple(tuple(map(cell, *row)) for row in rows)),)

    # the loss

    def evaluate(self, part: str = "loss") -> Step:
        e = self.e
        many = e.Y.shape[1] > 1
        i = "i" if e.n > 1 else ""
        z, y = (rf"{c}_{{{i}j}}" if many else f"{c}_{i}" if i else c for c in "zy")
        sums = (r"\sum_i " if i else "") + (r"\sum_j " if many else "")
        over = r"\frac{1}{n} " if i else ""
        symbols = self.loss.sign + over + sums + self.loss.symbol.format(z=z, y=y)
        return Step(
            ("loss", 0), part, f"The loss: {e.loss.replace('_', ' ')}", r"\mathcal{L}", symbols,
            self._terms(), self.by["loss", 0], f"loss = {self.loss_code(self.code('Z', e.L))}",
            note=self._loss_note(), scalar=True,
        )  # fmt: skip

    def loss_code(self, Z: str) -> str:
        over = " / n" if self.e.n > 1 else ""
        return f"({self.loss.code.format(z=Z, y=self.y)}).sum(){over}"

    def _loss_note(self) -> str:
        if self.e.loss == "huber":
            return "h(e) is e²/2 where |e| ≤ 1, and |e| − ½ beyond."
        if self.e.n == 1 and self.e.loss == "mean_squared_error":
            return "For one example n = 1, so that the notes' 1/n is 1."
        return ""

    def _terms(self) -> Parts:
        """The loss as a sum of its terms, with numbers."""
        Z, Y = self.M("Z", self.e.L), self.M("Y", 0)
        pairs = [
            self.loss.term(Num(float(z), ("Z", self.e.L)), Num(float(y), ("Y", 0)))
            for z, y in zip(Z.ravel(), Y.ravel(), strict=True)
        ]
        front = self.loss.sign + (rf"\frac{{1}}{{{self.e.n}}} " if self.e.n > 1 else "")
        around = bool(front) and len(pairs) > 1
        rest = (x for term in pairs[1:] for x in (PLUS, *term))
        opening, closing = (f"{front}[", "]") if around else (front, "")
        return (opening, *pairs[0], *rest, closing)

    # backward

    def backward(self) -> Iterator[Step]:
        L = self.e.L
        yield self._slope()
        yield from self._last_link()
        yield from self._gradients(L, "last")
        for l in range(L - 1, 0, -1):
            part = "link" if l == L - 1 else "rest"
            yield self._derivative(l, part)
            yield self._link(l, part)
            yield from self._gradients(l, part)

    def _slope(self) -> Step:
        """∂L/∂Z_L."""
        e, L = self.e, self.e.L
        over = rf"\frac{{1}}{{{e.n}}} " if e.n > 1 else ""
        slope = self.loss.slope.format(z=self.v("Z", L), y=self.v("Y"))
        symbols = over.replace(str(e.n), "n") + (f"({slope})" if over else slope)
        cells = self.cells(self.loss.slope_cell, ("Z", L), ("Y", 0))
        code = self.loss.slope_code.format(z=self.code("Z", L), y=self.y) + (
            " / n" if e.n > 1 else ""
        )
        note = "⊘ divides entry by entry." if r"\oslash" in slope else ""
        return Step(
            ("G", L), "last", "How the loss changes with the output", self.d(self.v("Z", L)), symbols,
            (over, cells), self.M("G", L), f"G[{L}] = {code}", note=note,
        )  # fmt: skip

    def _last_link(self) -> Iterator[Step]:
        name, L = self.e.sigma[self.e.L], self.e.L
        if name in ("softmax", "log_softmax"):
            yield from self._row_wise(name)
            return
        yield self._derivative(L, "last")
        symbols = rf"{self.d(self.v('Z', L))} \odot \sigma'_{{{L}}}({self.v('A', L)})"
        filled = (self.block("G", L), ODOT, self.block("D", L))
        yield self._delta(L, "last", symbols, filled, f"G[{L}] * D[{L}]")

    def _row_wise(self, name: str) -> Iterator[Step]:
        """Where σ_L takes all of an example's numbers: its Jacobian instead of ⊙ σ'."""
        L, column = self.e.L, self.e.column
        G, Z, s = self.d(self.v("Z", L)), self.v("Z", L), r"\mathbf{s}"
        soft = name == "softmax"
        inner = rf"\left({G} \odot {Z}\right)" if soft else G
        filled: Parts = (self.block("G", L),)
        if soft:
            filled = (r"\left(", self.block("G", L), ODOT, self.block("Z", L), r"\right)")
        code = f"(G[{L}] * {self.code('Z', L)})" if soft else f"G[{L}]"
        ones = (r"\mathbf{1}^\top ", *filled) if column else (*filled, r" \mathbf{1}")
        yield Step(
            ("S", L), "last", f"Its sum{self.each.replace('of', 'over')}", s, self.summed(inner), ones,
            self.M("S", L), f"S[{L}] = {code}.sum(axis={self.axis}, keepdims=True)",
            note=f"{name} takes all a of an example, so that the notes' ⊙ σ' does not hold: here is its "
            "Jacobian.",
        )  # fmt: skip
        all_ = rf"\mathbf{{1}}\, {s}" if column else rf"{s} \mathbf{{1}}^\top"
        S = self.block("S", L)
        spread = (r"\mathbf{1}\, ", S) if column else (S, r" \mathbf{1}^\top")
        if soft:
            symbols = rf"{Z} \odot \left({G} - {all_}\right)"
            filled = (
                self.block("Z", L), ODOT, r"\left(", self.block("G", L), MINUS, *spread, r"\right)",
            )  # fmt: skip
            code = f"{self.code('Z', L)} * (G[{L}] - S[{L}])"
        else:
            symbols = rf"{G} - \left({all_}\right) \odot e^{{{Z}}}"
            powers = self.cells(lambda z: ("e^{", z, "}"), ("Z", L))
            filled = (self.block("G", L), MINUS, r"\left(", *spread, r"\right)", ODOT, powers)
            code = f"G[{L}] - S[{L}] * np.exp({self.code('Z', L)})"
        step = self._delta(L, "last", symbols, filled, code)
        yield replace(step, note=self._meets())

    def _meets(self) -> str:
        """A note where softmax and cross-entropy together are simply Z − Y: if each row of Y sums to 1."""
        sums = all(self.e.Y.sum(axis=1) == 1)
        over = "/n" if self.e.n > 1 else ""
        known = self.e.loss in ("cross_entropy", "log_softmax_cross_entropy")
        soft = self.e.sigma[self.e.L] == "softmax"
        if self.e.column:
            p, y, those = ("z" if soft else "softmax(a)"), "y", "the numbers of y"
        else:
            p, y, those = ("Z" if soft else "softmax(A)"), "Y", "the rows of Y"
        return f"It is ({p} − {y}){over}, as {those} sum to 1." if sums and known else ""

    def _derivative(self, l: int, part: str) -> Step:
        name = self.e.sigma[l]
        cells = self.cells(partial(sigma_prime_cell, name), ("A", l), ("Z", l))
        each = symbols(SIGMA[name][1]) + r"\text{ entry by entry}"
        return Step(
            ("D", l), part, f"The derivative of σ_{l}, which is {name}",
            rf"\sigma'_{{{l}}}({self.v('A', l)})", each, (cells,) if name != "identity" else (),
            self.M("D", l), f"D[{l}] = sigma[{l}].derivative({self.code('A', l)})",
            note=legend(name),
        )  # fmt: skip

    def _link(self, l: int, part: str) -> Step:
        e, m = self.e, l + 1
        W, d = (self.block("W", m, transposed=True), self.block("delta", m))
        inner = (
            rf"{self.W(m)}^\top \delta_{{{m}}}" if e.column else rf"\delta_{{{m}}} {self.W(m)}^\top"
        )
        symbols = rf"\left({inner}\right) \odot \sigma'_{{{l}}}({self.v('A', l)})"
        filled: Parts = (r"\left(", *self.product(W, d), r"\right)", ODOT, self.block("D", l))
        code = f"W[{m}].T @ delta[{m}]" if e.column else f"delta[{m}] @ W[{m}].T"
        return self._delta(l, part, symbols, filled, f"({code}) * D[{l}]")

    def _delta(self, l: int, part: str, symbols: str, filled: Parts, code: str) -> Step:
        left = rf"\delta_{{{l}}} = {self.d(self.v('A', l))}"
        return Step(
            ("delta", l), part, f"The link of layer {l}", left, symbols, filled,
            self.M("delta", l), f"delta[{l}] = {code}",
        )  # fmt: skip

    def _gradients(self, l: int, part: str) -> Iterator[Step]:
        e = self.e
        Z, d = self.v("Z", l - 1), rf"\delta_{{{l}}}"
        zT, D = self.block("Z", l - 1, transposed=True), self.block("delta", l)
        z = self.code("Z", l - 1)
        yield Step(
            ("dW", l), part, f"The gradient of W_{l}", self.d(self.W(l)),
            rf"{d}\, {Z}^\top" if e.column else rf"{Z}^\top {d}",
            self.product(D, zT), self.M("dW", l),
            f"dW[{l}] = delta[{l}] @ {z}.T" if e.column else f"dW[{l}] = {z}.T @ delta[{l}]",
        )  # fmt: skip
        if e.b and not e.fixed_biases:
            yield Step(
                ("db", l), part, f"The gradient of b_{l}", self.db(l),
                d if e.column else rf"\mathbf{{1}}^\top {d}",
                () if e.column else (r"\mathbf{1}^\top ", D), self.M("db", l),
                f"db[{l}] = delta[{l}]" + ("" if e.column else ".sum(axis=0, keepdims=True)"),
            )  # fmt: skip

    # the update

    def update(self) -> Iterator[Step]:
        for l in range(1, self.e.L + 1):
            yield self._updated("W", l)
            if self.e.b and not self.e.fixed_biases:
                yield self._updated("b", l)
        yield self._loss_after()

    def _updated(self, of: str, l: int) -> Step:
        symbol, slope = (self.W(l), self.d(self.W(l))) if of == "W" else (self.b(l), self.db(l))
        alpha = Num(self.e.alpha, ("alpha", 0))
        filled: Parts = (self.block(of, l), MINUS, alpha, r" \cdot ", self.block(f"d{of}", l))
        return Step(
            (f"{of}_new", l), "update", f"The new {of}_{l}", rf"{symbol}^{{\text{{new}}}}"
            if of == "W" or self.e.column else rf"\mathbf{{b}}_{{{l}}}^{{\text{{new}}\,\top}}",
            rf"{symbol} - \alpha {slope}", filled, self.M(f"{of}_new", l),
            f"{of}_new[{l}] = {of}[{l}] - alpha * d{of}[{l}]",
        )  # fmt: skip

    def _loss_after(self) -> Step:
        e = self.e
        b = "" if not e.b else " + b[l]" if e.fixed_biases else " + b_new[l]"
        product = "W_new[l] @ h" if e.column else "h @ W_new[l]"
        layer = f"h = {activated(e, 'l', product + b, e.L)}"
        code = (
            f"h = {self.code('Z', 0)}\nfor l in range(1, L + 1):\n    {layer}\n"
            f"loss_after = {self.loss_code('h')}"
        )
        return Step(
            ("loss_after", 0), "update", "The loss after the step, by another forward pass",
            r"\mathcal{L}^{\text{new}}", r"\mathcal{L} \text{ with the new weights}", (),
            self.by["loss_after", 0], code, scalar=True,
        )  # fmt: skip


_OF_A_ROW = {
    "softmax": "Each exponential is divided by the sum of those of its example.",
    "log_softmax": "The logarithm of the sum is taken from each a.",
}


def steps(e: Example, by: Numbers) -> tuple[Step, ...]:
    """Every step of an example."""
    w = _Writer(e, by)
    return (*w.forward(), w.evaluate(), *w.backward(), *w.update())


def given(e: Example, by: Numbers) -> tuple[Given, ...]:
    """The data of an example."""
    w = _Writer(e, by)
    x, y = ("x", "y") if e.column else ("X", "Y")
    data = [
        Given(("Z", 0), rf"\mathbf{{{x}}}", e.shaped(e.X)),
        Given(("Y", 0), rf"\mathbf{{{y}}}", e.shaped(e.Y)),
    ]
    for first, last in e.repeated:
        for of in ("W", "b") if e.b else ("W",):
            symbol = w.W if of == "W" else w.b
            left = symbol(first) + (rf" = \dots = {symbol(last)}" if last > first else "")
            data.append(Given((of, first), left, e.shaped(by[of, first])))
    return tuple(data)


def definitions(e: Example) -> tuple[tuple[str, str], ...]:
    """σ and σ' of each layer in symbols, those of several layers once: a left and a right side."""
    layers: dict[str, list[int]] = {}
    for l, name in e.sigma.items():
        layers.setdefault(name, []).append(l)
    pairs = []
    for name, of in layers.items():
        few = len(of) <= 3
        which = f"{{{', '.join(map(str, of))}}}" if few else rf"{{{of[0]}, \dots, {of[-1]}}}"
        for prime, template in zip(("", "'"), SIGMA.get(name, ())[:2], strict=False):
            by_z = r",\; z = \sigma(a)" if "z" in symbols(template) else ""
            pairs.append((rf"\sigma{prime}_{which}(a)", symbols(template) + by_z))
    return tuple(pairs)
