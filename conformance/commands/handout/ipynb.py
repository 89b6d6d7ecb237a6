"""A notebook, nbformat 4, that runs from top to bottom on NumPy and refbp alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeAlias

from conformance.commands.handout import md
from conformance.commands.handout.checking import source
from conformance.commands.handout.document import Handout, Line, answered
from conformance.commands.handout.formulas import LOSSES
from conformance.model.problem import Floats
from conformance.truth.definitions import ROW_WISE

__all__ = ["render"]

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
    """A cell of code; JupyterLab and MyST show a folded one only on demand."""
    fold = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": fold if folded else {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def _cells(h: Handout) -> Iterable[Cell]:
    yield _text("\n\n".join([*md.opening(h), *map(md.figure, h.figures)]))
    yield _text("## Given")
    yield _code(_data(h))
    if h.steps:
        yield _code(_truth(h), folded=True)
        yield _code(_check(h), folded=True)
    if h.wish.steps == "backward":
        yield _code(_forward(h))
    for title, lines in h.sections:
        yield _text(f"## {title}")
        for line in lines:
            yield _text(md.step(line))
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
    yield _text(
        "## Who agrees\n\n" + md.table([("implementation", "versions", "verdict"), *answered(h)])
    )


def _array(M: Floats) -> str:
    return f"np.array({M.tolist()!r})"


def _data(h: Handout) -> str:
    """The cell that defines the example's numbers, as displayed."""
    e = h.example
    x, y, z = ("x", "y", "z") if e.column else ("X", "Y", "Z")
    lines = ["import numpy as np", "import refbp", "", "np.set_printoptions(precision=8)"]
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
    return "\n".join([*lines, f"{z}[0] = {x}"])


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


def _truth(h: Handout) -> str:
    """The cell that computes every step by refbp: `right`, which `check` compares with."""
    e = h.example
    T, y, a, z = (".T", "y", "a", "z") if e.column else ("", "Y", "A", "Z")
    lines = [*_network(h), f"targets = {y}{T}", "trace = network.trace(inputs, targets)"]
    lines += ["right = {'loss': trace.loss / scale}"]
    if e.b:
        lines.append("of_W, of_b = refbp.split(trace.dL_dW)")
    else:
        lines.append("of_W = trace.dL_dW")
    lines += [
        "for l in range(1, L + 1):",
        f"    units = W[l].shape[{0 if e.column else 1}]  # without the constant one",
        f"    right[f'{a}[{{l}}]'] = trace.A[l][:, :units]{T}",
        f"    right[f'{z}[{{l}}]'] = trace.Z[l][:, :units]{T}",
        f"    right[f'delta[{{l}}]'] = trace.delta[l][:, :units]{T} / scale",
        f"    right[f'dW[{{l}}]'] = of_W[l]{T} / scale",
        "    right[f'W_new[{l}]'] = W[l] - alpha * right[f'dW[{l}]']",
    ]
    if e.b:
        lines.append(f"    right[f'db[{{l}}]'] = np.atleast_2d(of_b[l]){T} / scale")
        fixed = "b[l]" if e.fixed_biases else "b[l] - alpha * right[f'db[{l}]']"
        lines.append(f"    right[f'b_new[{{l}}]'] = {fixed}")
    row_wise = e.sigma[e.L] in ROW_WISE
    lines += [
        f"for l in range(1, L{'' if row_wise else ' + 1'}):",
        f"    right[f'D[{{l}}]'] = sigma[l].derivative(right[f'{a}[{{l}}]'])",
        f"right[f'G[{{L}}]'] = loss_of.gradient(trace.Z[L], targets){T} / scale",
    ]
    if row_wise:
        weight = f" * right[f'{z}[{{L}}]']" if e.sigma[e.L] == "softmax" else ""
        lines += [
            f"right[f'S[{{L}}]'] = (right[f'G[{{L}}]']{weight}).sum(axis=1, keepdims=True)",
            f"right[f'T[{{L}}]'] = np.exp(right[f'{a}[{{L}}]']).sum(axis=1, keepdims=True)",
        ]
    new = f"{{l: right[f'W_new[{{l}}]']{T} for l in W}}"
    if e.b:
        new = f"refbp.absorb({new}, {{l: right[f'b_new[{{l}}]'].ravel() for l in b}})"
    lines += [
        f"moved = refbp.Network({new}, network_sigma, loss_of)",
        "right['loss_after'] = moved.trace(inputs, targets).loss / scale",
        "network",
    ]
    return "\n".join(lines).replace("'", '"')


def _check(h: Handout) -> str:
    """The cell that defines `check`; it remembers which answers are wrong, to say which to mend first."""
    return f'''{source()}


wrong = []


def check(name, got):
    """Says whether it is what refbp computes, and gives it back as an array."""
    parts = {{f"b[{{l}}]": b[l] for l in b}}
    for of in ("W", "b"):
        steps = {{l: right.get(f"d{{of}}[{{l}}]", 0.0) for l in W}}
        parts |= {{f"alpha * d{{of}}[{{l}}]": -alpha * steps[l] for l in W}}
    factors = {{"n": n, "2": 2, "alpha": alpha}}
    with np.errstate(all="ignore"):
        fine, told, value = judged(name, got, right, {h.wish.digits}, parts, factors)
    if name in wrong:
        wrong.remove(name)
    if fine is False:
        before = [other for other in wrong if leads(other, name)]
        told += f" {{before[0]}} is not right yet: mend it first." if before else ""
        wrong.append(name)
    print(f"{{name}}: {{told}}")
    return value'''


def _forward(h: Handout) -> str:
    """The cell with the forward pass, for a handout of the backward steps alone."""
    e = h.example
    a, z = ("a", "z") if e.column else ("A", "Z")
    product = f"W[l] @ {z}[l - 1]" if e.column else f"{z}[l - 1] @ W[l]"
    bias = " + b[l]" if e.b else ""
    return f"for l in range(1, L + 1):\n    {a}[l] = {product}{bias}\n    {z}[l] = sigma[l]({a}[l])"


def _step(h: Handout, line: Line) -> str:
    """The cell of a step: its line of NumPy, or one to fill in, and the check of it."""
    variable = line.step.variable
    code = f"{variable} = ...  # your line" if h.wish.blanks else line.step.code
    return f'{code}\n{variable} = check("{variable}", {variable})\n{variable}'


def _training(h: Handout) -> str:
    e, t = h.example, h.example.training
    assert t is not None
    targets = "y.T" if e.column else "Y"
    own = "" if h.steps else "\n".join(_network(h)) + "\n"
    return (
        f"{own}trained, history = refbp.sgd(network, inputs, {targets}, alpha / scale, "
        f"batch_size={t.batch_size}, epochs={t.epochs}, seed={t.seed})\n"
        "print(history.epoch_loss[0] / scale, history.epoch_loss[-1] / scale)\n"
        "trained.forward(inputs)[1][L]"
    )
