"""Checks that what an implementation returned is a trace of the problem at all, before any number is
judged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.model.problem import QUANTITIES, Problem, Trace

__all__ = ["malformed"]


def malformed(p: Problem, t: object, whole: bool = True) -> str:
    """What is wrong with a trace's form, in a sentence; "" where nothing is.

    `whole`: no quantity may be left out.
    """
    n, L = p.X.shape[0], p.depth
    if not isinstance(t, Trace):
        return f"it returned a {type(t).__name__}; expected a Trace."
    if not whole and set(t.missing) >= set(QUANTITIES):
        return "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least."
    for quantity in QUANTITIES:
        layers = t.layers(quantity)
        if not isinstance(layers, Mapping):
            return (
                f"{quantity} is a {type(layers).__name__}; expected a mapping of layers 1 to {L}."
            )
        if not whole and not layers:
            continue
        fused = quantity == "Z" and not whole and set(layers) == set(range(1, L))  # without Z_L
        if set(layers) != set(range(1, L + 1)) and not fused:
            return f"{quantity} has the layers {sorted(layers, key=str)}; expected 1 to {L}."
        for l, M in layers.items():
            shape = p.W[l].shape if quantity in ("dW", "W_new") else (n, p.W[l].shape[1])
            if type(M) is not np.ndarray:  # a subclass may redefine arithmetic and comparison
                return f"{quantity}_{l} is a {type(M).__name__}; expected a numpy.ndarray."
            if M.shape != shape:
                return f"{quantity}_{l} has shape {M.shape}; expected {shape}."
            if M.dtype != p.dtype:
                return f"{quantity}_{l} has dtype {M.dtype}; expected {p.dtype}, as given."
    loss: object = t.loss
    if loss is None and not whole:
        return ""
    if not isinstance(loss, (np.ndarray, np.generic)):
        return f"the loss is a {type(loss).__name__}; expected an array of shape ()."
    if loss.shape != () or loss.dtype != p.dtype:
        return f"the loss is {loss.dtype} of shape {loss.shape}; expected one number of {p.dtype}."
    return ""
