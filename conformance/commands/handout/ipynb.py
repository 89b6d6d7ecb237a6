"""A notebook, nbformat 4, that runs from top to bottom where only NumPy is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeAlias

from conformance.commands.handout import md
from conformance.commands.handout.document import Handout, Line
from conformance.commands.handout.formulas import LOSSES
from conformance.commands.handout.steps import activated
from conformance.commands.handout.vendored import cell
from conformance.model.problem import Floats

__all__ = ["render"]

FIRST = (
    "**Run the next cell first.** It unpacks refbp and the check of your answers, and needs NumPy alone: "
    "nothing is installed or downloaded, here as on Colab."
)
Cell: TypeAlias = dict[str, object]
"""A notebook's cell, as nbformat 4 defines it."""


def render(h: Handout) -> str:
    """The notebook as JSON, the same bytes for the same handout."""
    cells = [{**cell, "id": f"cell-{k:03}"} for k, cell in enumerate(_cells(h))]
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=True, indent=1) + "\n"


def _text(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str, folded: bool = False) -> Cell:
    """A cell of code; JupyterLab, Colab and MyST show a folded one only on demand."""
    fold = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": fold if folded else {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def _cells(h: Handout) -> Iterable[Cell]:
    yield _text("\n\n".join([*md.opening(h), *map(md.figure, h.figures)]))
    yield _text(FIRST)
    yield _code(cell(), folded=True)
    yield _text("\n\n".join(["## Given", *(md.given(*pair) for pair in h.definitions)]))
    yield _code(_data(h))
    if h.wish.steps == "backward":
        yield _code(_forward(h))
    for title, lines in h.sections:
        yield _text(f"## {title}")
        for line in lines:
            yield _text(md.step(line))
            if line.step.code:
                yield _code(_step(h, line))
    for figure in h.plots:
        yield _text(md.figure(figure) + "\n\n" + md.table(figure.table))
    if h.example.training:
        yield _code(_training(h))
    if h.key:
        yield _text("## Answer key")
        yield _text("\n\n".join(md.answer(line) for _, lines in h.key for line in lines))
    if h.compared:
        yield _text("\n\n".join(md.compared(h)))
    if h.answers:
        yield _text("\n\n".join(md.agreement(h)))


def _array(M: Floats) -> str:
    return f"np.array({M.tolist()!r})"


def _data(h: Handout) -> str:
    """The cell that defines the example's numbers, as displayed."""
    e = h.example
    x, y, z = ("x", "y", "z") if e.column else ("X", "Y", "Z")
    lines = ["import numpy as np", "import refbp"]
    lines += ["from conformance.commands.handout.checking import Check"] if h.steps else []
    lines += ["", "np.set_printoptions(precision=8)"]
    lines += [f"{x} = {_array(e.shaped(e.X))}", f"{y} = {_array(e.shaped(e.Y))}"]
    lines += [f"n, L, alpha = {e.n}, {e.L}, {e.alpha!r}", "W, b, sigma = {}, {}, {}"]
    for first, last in e.repeated:
        many = last > first
        at = "l" if many else str(first)
        indent = "    " if many else ""
        lines += [f"for l in range({first}, {last + 1}):"] if many else []
        lines.append(f"{indent}W[{at}] = {_array(e.shaped(e.W[first]))}")
        if e.b:
            lines.append(f"{indent}b[{at}] = {_array(e.shaped(e.b[first].reshape(1, -1)))}")
        lines.append(f"{indent}sigma[{at}] = refbp.activation({e.sigma[first]!r})")
    names = f"{'a' if e.column else 'A'}, {z}"
    lines += [f"{names}, G, S, T, D, delta, dW, db, W_new, b_new = ({{}} for _ in range(11))"]
    lines += [f"{z}[0] = {x}", *([_check(h)] if h.steps else [])]
    return "\n".join(lines)


def _network(h: Handout) -> list[str]:
    """Lines that make a refbp.Network of these numbers."""
    e = h.example
    T = ".T" if e.column else ""
    x = "x" if e.column else "X"
    lines = ["# As refbp has it: one example a row, W_l is d_(l-1) x d_l."]
    lines += [f"rows = {{l: W[l]{T} for l in W}}", f"network_sigma, inputs = sigma, {x}{T}"]
    if e.b:
        lines += [
            "rows = refbp.absorb(rows, {l: b[l].ravel() for l in b})",
            "network_sigma, inputs = refbp.with_constant_units(sigma), refbp.with_ones(inputs)",
        ]
    return [
        *lines,
        f'loss_of = refbp.loss("{LOSSES[e.loss].runs_as}")',
        "network = refbp.Network(rows, network_sigma, loss_of)",
        f"scale = {e.scale!r}  # the loss that refbp has, over ours",
    ]


def _check(h: Handout) -> str:
    """The line that makes `check`, which knows the names of this notebook."""
    e = h.example
    half = f", scale={e.scale!r}" if e.scale != 1 else ""
    fixed = ", fixed_biases=True" if e.fixed_biases else ""
    loss = LOSSES[e.loss].runs_as
    return f'check = Check(globals(), "{loss}", digits={h.wish.digits}{half}{fixed})'


def _forward(h: Handout) -> str:
    """The cell with the forward pass, for a handout of the backward steps alone."""
    e = h.example
    a, z = ("a", "z") if e.column else ("A", "Z")
    product = f"W[l] @ {z}[l - 1]" if e.column else f"{z}[l - 1] @ W[l]"
    bias = " + b[l]" if e.b else ""
    sigma = activated(e, "l", f"{a}[l]", e.L)
    return f"for l in range(1, L + 1):\n    {a}[l] = {product}{bias}\n    {z}[l] = {sigma}"


def _step(h: Handout, line: Line) -> str:
    """The cell of a step: its line of NumPy, or one to fill in, and the check of it."""
    variable = line.step.variable
    code = f"{variable} = ...  # your line" if h.wish.blanks else line.step.code
    return f'{code}\n{variable} = check("{variable}", {variable})\n{variable}'


def _training(h: Handout) -> str:
    e, t = h.example, h.example.training
    assert t is not None
    targets = "y.T" if e.column else "Y"
    own = "\n".join(_network(h))
    return (
        f"{own}\ntrained, history = refbp.sgd(network, inputs, {targets}, alpha / scale, "
        f"batch_size={t.batch_size}, epochs={t.epochs}, seed={t.seed})\n"
        "print(history.epoch_loss[0] / scale, history.epoch_loss[-1] / scale)\n"
        "trained.forward(inputs)[1][L]"
    )
