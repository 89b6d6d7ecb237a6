"""Computes every number that a step may show, by refbp, as a batch of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import refbp
from conformance.commands.handout.example import Example
from conformance.commands.handout.formulas import LOSSES
from conformance.implementations import Implementation, implementation
from conformance.judge.mistakes.loop import Loop, planted
from conformance.judge.mistakes.table import FAULTS
from conformance.model.problem import Floats, Problem, Trace

__all__ = [
    "Key",
    "Numbers",
    "Trained",
    "after",
    "environment",
    "numbers",
    "of_trace",
    "train",
    "updated_first",
]

Key = tuple[str, int]
"""A quantity and its layer; 0 for a quantity that has no layer."""
Numbers = dict[Key, Floats]


def numbers(e: Example) -> Numbers:
    """Every quantity, by refbp's two procedures. Raises HandoutError if one is not finite, or the loss does
    not take what σ_L gives."""
    p = e.problem()
    try:
        with np.errstate(all="ignore"):
            trace = implementation("refbp").run(p)
            by_key = of_trace(e, trace)
            _between(e, p, trace, by_key)
            _all_finite(e, by_key)
            by_key["loss_after", 0] = after(e, implementation("refbp"), trace)
    except refbp.InputError as error:
        raise e.refused(
            "", "loss", f"is {e.loss!r}, which does not take what {e.sigma[e.L]} gives: {error}"
        ) from error
    _all_finite(e, by_key)
    return by_key


def _all_finite(e: Example, by_key: Numbers) -> None:
    forward = ("A", "Z", "T")  # first, as they are the cause where others are not finite either
    for (quantity, l), M in sorted(by_key.items(), key=lambda x: x[0][0] not in forward):
        if not np.isfinite(M).all():
            what = "sum of exponentials" if quantity == "T" else quantity
            where = f"{what} of layer {l}" if l else quantity
            what = f"gives no finite {where}; expected finite numbers everywhere"
            if quantity in ("W_new", "b_new", "loss_after"):
                raise e.refused("", "alpha", f"is {e.alpha:g} and {what}: take a smaller one.")
            if quantity in forward:
                raise e.refused(e.table(l), "W", f"{what}: take smaller weights.")
            raise e.refused(
                "", "loss", f"is {e.loss!r} and {what}: take another, or smaller weights."
            )


def of_trace(e: Example, t: Trace) -> Numbers:
    """What an implementation returned, by key. The loss ½ Σ is run as Σ; halving its numbers is exact."""
    by_key: Numbers = {("Z", 0): e.X, ("Y", 0): e.Y}
    for l in e.W:
        by_key["W", l] = e.W[l]
        by_key["A", l], by_key["Z", l] = t.A[l], t.Z[l]
        by_key["delta", l] = t.delta[l] / e.scale
        by_key["dW", l] = t.dW[l][: len(e.W[l])] / e.scale
        by_key["W_new", l] = t.W_new[l][: len(e.W[l])]
        if e.b:
            by_key["b", l] = e.b[l].reshape(1, -1)
            by_key["db", l] = t.dW[l][-1:] / e.scale
            by_key["b_new", l] = by_key["b", l] if e.fixed_biases else t.W_new[l][-1:]
    by_key["loss", 0] = np.full((1, 1), t.loss) / e.scale
    return by_key


def _between(e: Example, p: Problem, t: Trace, by_key: Numbers) -> None:
    """Adds what no trace has: σ'_l(A_l), ∂L/∂Z_l, and the sums that a row-wise σ_L needs."""
    for l, name in e.sigma.items():
        if isinstance(refbp.activation(name), refbp.Elementwise):
            by_key["D", l] = refbp.activation(name).derivative(t.A[l])
        else:
            G = refbp.loss(p.loss).gradient(t.Z[l], p.Y) / e.scale
            weighted = G * t.Z[l] if name == "softmax" else G
            by_key["S", l] = weighted.sum(axis=1, keepdims=True)
            by_key["T", l] = np.exp(t.A[l]).sum(axis=1, keepdims=True)
        if l < e.L:
            by_key["G", l] = by_key["delta", l + 1] @ e.W[l + 1].T
    by_key["G", e.L] = refbp.loss(p.loss).gradient(t.Z[e.L], p.Y) / e.scale


def moved(e: Example, t: Trace) -> Problem:
    """The problem with the weights after the step."""
    p = e.problem()
    W = {l: M.copy() for l, M in t.W_new.items()}
    if e.fixed_biases:
        for l, b in e.b.items():
            W[l][-1] = b
    return Problem(W=W, X=p.X, Y=p.Y, sigma=p.sigma, loss=p.loss, bias=p.bias, alpha=p.alpha)


def after(e: Example, by: Implementation, t: Trace) -> Floats:
    """The loss after the step, as an implementation computes it."""
    again = by.run(moved(e, t))
    return np.full((1, 1), again.loss) / e.scale


def updated_first(e: Example) -> float:
    """The loss after the step with a known mistake: W_{l+1} is updated before δ_l is taken through it."""
    steps = planted(FAULTS["weights-updated-first"].wrong)
    return float(after(e, implementation("refbp"), Loop(steps).run(e.problem()))[0, 0])


@dataclass(frozen=True)
class Trained:
    """The result of training an example."""

    losses: tuple[float, ...]  # before, and after each epoch
    outputs: Floats  # h(X) at the end
    field: Floats | None  # h on a grid over the inputs, for two inputs and one output
    low: tuple[float, float] = (0.0, 0.0)  # the corners of the grid
    high: tuple[float, float] = (0.0, 0.0)


def train(e: Example, cells: int = 96) -> Trained | None:
    """refbp.sgd on the example, as its [training] says."""
    if e.training is None:
        return None
    network = _network(e)
    X = refbp.with_ones(e.X) if e.b else e.X
    t = e.training
    try:
        end, history = refbp.sgd(network, X, e.Y, e.alpha / e.scale, t.batch_size, t.epochs, t.seed)
    except refbp.AlphaError as error:
        raise e.refused("", "alpha", str(error).removeprefix("alpha ")) from error
    except refbp.InputError as error:
        raise e.refused("training", "", f"fails: {error}") from error
    losses = tuple(v / e.scale for v in history.epoch_loss)
    outputs = end.forward(X)[1][e.L]
    if (e.X.shape[1], e.Y.shape[1]) != (2, 1):
        return Trained(losses, outputs, None)
    low, high = e.X.min(axis=0) - 0.5, e.X.max(axis=0) + 0.5
    centres = [low[k] + (np.arange(cells) + 0.5) * (high[k] - low[k]) / cells for k in (0, 1)]
    grid = np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, 2)
    h = end.forward(refbp.with_ones(grid) if e.b else grid)[1][e.L]
    field = h.reshape(cells, cells)
    return Trained(losses, outputs, field, (low[0], low[1]), (high[0], high[1]))


def _network(e: Example) -> refbp.Network:
    sigma = {l: refbp.activation(s) for l, s in e.sigma.items()}
    loss = refbp.loss(LOSSES[e.loss].runs_as)
    if not e.b:
        return refbp.Network(dict(e.W), sigma, loss)
    return refbp.Network(refbp.absorb(e.W, e.b), refbp.with_constant_units(sigma), loss)


def environment(e: Example, by: Numbers) -> dict[str, object]:
    """The names that a notebook's lines of NumPy use, bound to the numbers as they are displayed."""
    layers: dict[str, dict[int, Floats]] = {}
    names: dict[str, object] = {
        "__builtins__": {"range": range}, "np": np, "n": e.n, "L": e.L, "alpha": e.alpha,
        "sigma": {l: refbp.activation(s) for l, s in e.sigma.items()},
    }  # fmt: skip
    letter = {"A": "a", "Z": "z"} if e.column else {}
    for (quantity, l), M in by.items():
        shaped = e.shaped(M)
        if quantity == "Y":
            names["y" if e.column else "Y"] = shaped
        elif quantity in ("loss", "loss_after"):
            names[quantity] = float(M[0, 0])
        else:
            layers.setdefault(letter.get(quantity, quantity), {})[l] = shaped
    return {**names, **layers}
