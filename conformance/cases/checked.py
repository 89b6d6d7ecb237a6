"""Checks that a user's own network is a network, before anything is computed with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from conformance.model.problem import Floats, Problem
from conformance.tools.names import unknown
from conformance.tools.trouble import RefusedError
from conformance.truth.definitions import ACTIVATIONS, LOSSES, ROW_WISE

__all__ = ["SIGMAS", "ProblemError", "checked"]

FLOATS = ("float64", "float32")
SIGMAS = (*ACTIVATIONS, *ROW_WISE)

PROBABLE = ("cross_entropy", "log_softmax_cross_entropy", "binary_cross_entropy")
"""The losses whose targets are probabilities."""
LOGARITHMIC = ("cross_entropy", "binary_cross_entropy")
"""The losses that take the logarithm of an output z, or of 1 − z: z is a probability too."""
BETWEEN_0_AND_1 = ("softmax", "sigmoid", "hardsigmoid", "gaussian")


class ProblemError(RefusedError):
    """A problem that is not a network with its data: what is wrong with it, where, and what is expected."""


def checked(problem: Problem) -> Problem:
    """A copy of the problem, its layers in order and α a float of its dtype. Raises ProblemError."""
    if not isinstance(problem, Problem):
        raise ProblemError(
            f"the problem is a {type(problem).__name__}; expected a conformance.Problem."
        )
    p = problem
    _check_layers("W", p.W, "W_1, …, L: W_L")
    L = len(p.W)
    _check_layers("sigma", p.sigma, '"tanh", …', L)
    for name, M in (("X", p.X), *((f"W_{l}", p.W[l]) for l in range(1, L + 1)), ("Y", p.Y)):
        _check_matrix(name, M, p.X)
    if not isinstance(p.bias, (bool, np.bool_)):
        raise ProblemError(f"bias is {p.bias!r:.40}; expected True or False.")
    _check_shapes(p)
    _check_names(p)
    _check_domain(p)
    if (p.scale, bool(p.each)) != ("mean", False):
        raise ProblemError(
            f"scale is {p.scale!r:.40} and each {p.each!r:.40}; expected neither: a Convention of the "
            "implementation's says so."
        )
    W = {l: p.W[l] for l in range(1, L + 1)}
    sigma = {l: str(p.sigma[l]) for l in range(1, L + 1)}
    return replace(p, W=W, sigma=sigma, bias=bool(p.bias), alpha=_rate(p)).copy()


def _check_layers(name: str, layers: object, like: str, L: int | None = None) -> None:
    """Check for a dict with the keys 1 to L."""
    if not isinstance(layers, Mapping):
        raise ProblemError(f"{name} is a {type(layers).__name__}; expected a dict {{1: {like}}}.")
    if not layers:
        raise ProblemError(f"{name} has no layers; expected a dict {{1: {like}}}.")
    L = L or len(layers)
    if set(layers) != set(range(1, L + 1)):
        keys = ", ".join(f"{l!r:.20}" for l in [*layers][:10])
        raise ProblemError(f"{name} has the layers {keys}; expected 1 to {L}, without a gap.")


def _check_matrix(name: str, M: object, X: Floats) -> None:
    """Check for a finite array of two dimensions, neither of them empty, of X's dtype."""
    if type(M) is not np.ndarray:  # a subclass may redefine arithmetic and comparison
        raise ProblemError(
            f"{name} is a {type(M).__name__}; expected a numpy.ndarray: numpy.array({name})."
        )
    if M.ndim != 2:
        hint = f": {name}.reshape(-1, 1), for one column" if M.ndim == 1 else ""
        raise ProblemError(f"{name} has shape {M.shape}; expected two dimensions{hint}.")
    if not M.size:
        raise ProblemError(
            f"{name} has shape {M.shape}; expected no empty batch and no width of 0."
        )
    if M.dtype not in FLOATS:
        raise ProblemError(
            f"{name} has dtype {M.dtype}; expected float64 or float32: {name}.astype('float64')."
        )
    if M.dtype != X.dtype:
        raise ProblemError(
            f"{name} has dtype {M.dtype} where X has {X.dtype}; expected one for all."
        )
    if not np.isfinite(M).all():
        raise ProblemError(f"{_first(name, M, ~np.isfinite(M))}; expected finite numbers.")


def _first(name: str, M: Floats, wrong: NDArray[np.bool_]) -> str:
    """The first element that is wrong: "X[3, 1] is nan"."""
    i, j = (int(k) for k in np.argwhere(wrong)[0])
    return f"{name}[{i}, {j}] is {M[i, j]}"


def _check_shapes(p: Problem) -> None:
    """Check that the width of each layer fits the next, from X to Y."""
    width, source = p.X.shape[1], "X"
    for l in range(1, p.depth + 1):
        rows, columns = p.W[l].shape
        if rows != width + bool(p.bias):
            why = f"the {width} columns of {source}" + (", and the bias" if p.bias else "")
            raise ProblemError(
                f"W_{l} has shape {p.W[l].shape}; expected {width + bool(p.bias)} rows: {why}."
            )
        width, source = columns, f"W_{l}"
    if p.Y.shape != (len(p.X), width):
        raise ProblemError(
            f"Y has shape {p.Y.shape}; expected {(len(p.X), width)}: the rows of X, the columns of {source}."
        )


def _check_names(p: Problem) -> None:
    for l in range(1, p.depth + 1):
        if p.sigma[l] not in SIGMAS:
            raise ProblemError(f"sigma_{l}: {unknown('activation', _name(p.sigma[l]), SIGMAS)}")
    if not isinstance(p.loss, str) or p.loss not in LOSSES:
        raise ProblemError(unknown("loss", _name(p.loss), LOSSES))


def _name(given: object) -> str:
    return given if isinstance(given, str) else f"{given!r:.40}"


def _check_domain(p: Problem) -> None:
    """Check that the loss is defined at the targets, and at every value that σ_L can return."""
    outside = (p.Y < 0) | (p.Y > 1)
    if p.loss in PROBABLE and outside.any():
        raise ProblemError(
            f"{_first('Y', p.Y, outside)}; expected targets between 0 and 1, as {p.loss} takes them."
        )
    if p.loss in LOGARITHMIC and p.sigma[p.depth] not in BETWEEN_0_AND_1:
        raise ProblemError(
            f"{p.loss} takes the logarithm of Z_{p.depth}, and sigma_{p.depth} is {p.sigma[p.depth]!r}; "
            f"expected one of {', '.join(BETWEEN_0_AND_1)}. With log_softmax, the loss is "
            "log_softmax_cross_entropy."
        )


def _rate(p: Problem) -> float:
    """α as a float of the problem's dtype."""
    number = isinstance(p.alpha, (int, float, np.integer, np.floating))
    try:
        with np.errstate(over="ignore"):
            alpha = float(p.dtype.type(p.alpha)) if number else math.nan
    except OverflowError:
        alpha = math.inf
    if isinstance(p.alpha, bool):  # a bool is an int in Python
        alpha = math.nan
    if not math.isfinite(alpha):
        raise ProblemError(f"alpha is {p.alpha!r:.40}; expected a finite number of {p.dtype}.")
    return alpha
