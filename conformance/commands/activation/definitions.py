"""The definitions that the truth knows by name, as functions of an array: `--truth gelu`."""

from __future__ import annotations

import difflib

import numpy as np

from conformance.commands.activation.lifted import Function, Lifted
from conformance.tools.load import LoadError
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.taylor import expand

__all__ = ["definition"]


def definition(name: str) -> Function:
    """The activation of that name on Taylor balls. Raises LoadError, with the nearest name."""
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(name, ACTIVATIONS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise LoadError(
            f"unknown activation {name!r}; expected FILE.py:NAME or one of {', '.join(ACTIVATIONS)}.{hint}"
        )
    sigma = ACTIVATIONS[name]

    def truth(x: Lifted) -> Lifted:
        found = np.empty(x.data.shape, object)
        flat = found.ravel()
        for i, t in enumerate(x.data.ravel().tolist()):
            flat[i] = expand(sigma.pieces, sigma.breaks, t)
        return x._like(flat.reshape(x.data.shape))

    return truth
