"""A notebook, nbformat 4, that runs from top to bottom on NumPy and refbp alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from conformance.handout import md
from conformance.handout.document import Handout, Line, answered
from conformance.handout.formulas import LOSSES
from conformance.problem import Floats

__all__ = ["render"]


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


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict[str, Any]:
    lines = source.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": lines,
    }


def _cells(h: Handout) -> Iterable[dict[str, Any]]:
    yield _text("\n\n".join([*md.opening(h), *map(md.figure, h.figures)]))
    yield _text("## Given")
    yield _code(_data(h))
    if h.steps:
        yield _code(_truth(h))
        yield _code(_CHECK)
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
        yield _text(
            "\n\n".join(
                md.display([(line.left, line.result)]) for _, lines in h.key for line in lines
            )
        )
    if h.compared:
        yield _text("\n\n".join(md.compared(h)))
    yield _text(
        "## Who agrees\n\n" + md.table([("implementation", "versions", "verdict"), *answered(h)])
    )


def _array(M: Floats) -> str:
    return f"np.array({M.tolist()!r})"


def _data(h: Handout) -> str:
    """The example's numbers, as displayed."""
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


def _truth(h: Handout) -> str:
    """refbp's own trace: what each step is compared with."""
    e = h.example
    lines = ["# What refbp computes, in its own form: one example a row, W_l is d_(l-1) x d_l."]
    T = ".T" if e.column else ""
    y = "y" if e.column else "Y"
    x = "x" if e.column else "X"
    lines += [f"rows = {{l: W[l]{T} for l in W}}", f"network_sigma, inputs = sigma, {x}{T}"]
    if e.b:
        lines += [
            "rows = refbp.absorb(rows, {l: b[l].ravel() for l in b})",
            "network_sigma, inputs = refbp.with_constant_units(sigma), refbp.with_ones(inputs)",
        ]
    lines += [
        f'network = refbp.Network(rows, network_sigma, refbp.loss("{LOSSES[e.loss].runs_as}"))',
        f"trace = network.trace(inputs, {y}{T})",
        f"scale = {e.scale!r}  # the loss that refbp has, over ours",
        "network",
    ]
    return "\n".join(lines)


_CHECK = '''def expected(quantity, l):
    """refbp's value of a quantity, where its trace has it, one example a row."""
    dW, db = refbp.split(trace.dL_dW) if b else (trace.dL_dW, {})
    M = {"A": trace.A, "Z": trace.Z, "delta": trace.delta, "dW": dW, "db": db}.get(quantity, {}).get(l)
    if quantity == "loss":
        return trace.loss / scale
    if M is None:
        return None
    if b and quantity in ("A", "Z", "delta") and l < L:
        M = M[:, :-1]  # without the constant unit
    return np.atleast_2d(M) / (1.0 if quantity in ("A", "Z") else scale)


def check(quantity, l, got, transposed=False):
    """Is it what refbp computes?"""
    want = expected(quantity, l)
    if got is ...:
        print("not filled in yet")
    elif want is not None:
        want = want.T if transposed else want
        right = np.shape(got) == np.shape(want) and np.allclose(got, want, rtol=1e-10, atol=1e-14)
        print("as refbp computes it" if right else "not what refbp computes")
        return bool(right)'''


def _forward(h: Handout) -> str:
    """Where the backward steps alone are shown: what they start from."""
    e = h.example
    a, z = ("a", "z") if e.column else ("A", "Z")
    product = f"W[l] @ {z}[l - 1]" if e.column else f"{z}[l - 1] @ W[l]"
    bias = " + b[l]" if e.b else ""
    return f"for l in range(1, L + 1):\n    {a}[l] = {product}{bias}\n    {z}[l] = sigma[l]({a}[l])"


def _step(h: Handout, line: Line) -> str:
    """The line of NumPy; or, left blank, a line to fill in."""
    s, T = line.step, h.example.column
    variable, (quantity, l) = s.variable, s.key
    code = f"{variable} = ...  # your line" if h.wish.blanks else s.code
    transposed = f", transposed={T}" if T and quantity != "loss" else ""
    return f'{code}\ncheck("{quantity}", {l}, {variable}{transposed})\n{variable}'


def _training(h: Handout) -> str:
    e, t = h.example, h.example.training
    assert t is not None
    targets = "y.T" if e.column else "Y"
    own = "" if h.steps else _truth(h).rsplit("\n", 1)[0] + "\n"
    return (
        f"{own}trained, history = refbp.sgd(network, inputs, {targets}, alpha / scale, "
        f"batch_size={t.batch_size}, epochs={t.epochs}, seed={t.seed})\n"
        "print(history.epoch_loss[0] / scale, history.epoch_loss[-1] / scale)\n"
        "trained.forward(inputs)[1][L]"
    )
