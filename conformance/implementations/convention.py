"""Declares what a user's network means by W, b, δ and the loss, and turns the notes' problem into that.

Layouts (rows or columns, which way W_l lies, where b_l is) move numbers about, and lose none. Scales (a loss
that is a sum, δ of each example's own loss) would cost roundings if results were multiplied by them, and the
user's code would be blamed for those. So the *truth* is scaled instead, by `Problem.scale` and
`Problem.each`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from conformance.implementations import MalformedError, NotRunError
from conformance.model.problem import QUANTITIES, SCALES, Floats, Problem, Trace
from conformance.tools.names import unknown
from conformance.tools.trouble import RefusedError

__all__ = ["CLASSIFY", "Convention", "ConventionError", "Given"]

BIASES = ("separate", "absorbed", "absorbed first", "none")
DTYPES = ("float64", "float32")
NAMES = (*QUANTITIES, "db", "b_new", "loss")
"""The quantities that may be returned: a Trace's, and those of the biases where these are separate."""
CLASSIFY = ("cross_entropy", "log_softmax_cross_entropy")
"""The losses whose targets are classes, unless `labels` names others."""
APART = {"dW": "db", "W_new": "b_new"}

Theirs: TypeAlias = Any
"""What a user's code returned; nothing is known about it."""


class ConventionError(RefusedError):
    """There is no such convention: what was asked for, and what there is."""


@dataclass(frozen=True)
class Given:
    """A network in a user's own convention: the argument of `run`. W, b and sigma are lists, W[0] is W_1."""

    W: list[Floats]
    b: list[Floats]  # empty unless biases are separate
    X: Floats
    Y: Floats
    sizes: list[int]  # d_0 … d_L
    sigma: list[str]
    loss: str
    alpha: float

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.X.dtype


@dataclass(frozen=True)
class Convention:
    """What an implementation means by its arrays. The default is the notes' convention, except that biases
    are separate.

    columns      examples are the columns of X, Y, A, Z and δ: d×n
    transposed   W_l is d_l×d_{l−1}, and A_l = W_l Z_{l−1} or Z_{l−1} W_lᵀ
    bias         "separate": b_l of its own, (1, d_l), or (d_l, 1) with `columns`; "absorbed": the last row of
                 [W_l; b_l], as in the notes; "absorbed first": the first row; "none": it has no bias
    vectors      biases have one axis, (d_l,), and so have x and y of `one_example`
    scale        what the loss is: the "mean" over the examples (of sums over the outputs, as in the notes),
                 "half" of that, the "sum", "half-sum", "mean-over-all" or "half-over-all", over the outputs
                 too; or {loss: scale}, if it differs ("mean" for losses that are not there)
    example_delta  δ_l is ∂/∂A_l of each example's own loss: 1/n enters with ∂L/∂W_l
    one_example  it takes one example at a time
    labels       Y is the number of the class, (n,) integers, where the notes have one-hot rows: True for the
                 cross entropies; or the losses for which it is, ("mean_squared_error",)
    returns      the names of what it returns, in order, or of its own names for them: a dict {"dW": "grads"}
                 (A, Z, delta, dW, db, W_new, b_new, loss; "_" for anything else); None if it returns a
                 Trace, or a dict of those
    dtypes       those that it computes in
    alpha        its own rate, if that cannot be set

    Raises ConventionError, a ValueError, for anything else.
    """

    columns: bool = False
    transposed: bool = False
    bias: str = "separate"
    vectors: bool = False
    scale: str | Mapping[str, str] = "mean"
    example_delta: bool = False
    one_example: bool = False
    labels: bool | Sequence[str] = False
    returns: Sequence[str] | Mapping[str, str] | None = None
    dtypes: Sequence[str] = DTYPES
    alpha: float | None = None

    def __post_init__(self) -> None:
        if any(isinstance(x, str) for x in (self.returns, self.dtypes, self.labels)):
            raise ConventionError('Convention: expected a tuple of names, such as ("dW", "db").')
        for name, value, known in (
            ("bias", self.bias, BIASES),
            *(("scale", s, SCALES) for s in self._scales.values()),
            *(("dtypes", d, DTYPES) for d in self.dtypes),
            *(("returns", r, (*NAMES, "_")) for r in self._returned),
        ):
            if value not in known:
                raise ConventionError(f"Convention: {unknown(name, f'{value}', known)}")
        if not self.dtypes:
            raise ConventionError("Convention: dtypes is empty; expected one at least.")

    @property
    def _scales(self) -> Mapping[str, str]:
        return self.scale if isinstance(self.scale, Mapping) else {"": self.scale}

    @property
    def _returned(self) -> tuple[str, ...]:
        return () if self.returns is None else tuple(self.returns)

    # --- the truth, in this convention ------------------------------------------------------------

    def problem(self, p: Problem) -> Problem:
        """The same network with the scale, δ and rate of this convention. Raises NotRunError if the
        convention has no such network."""
        if p.dtype.name not in self.dtypes:
            raise NotRunError(f"it computes in {' and '.join(self.dtypes)}.")
        if p.bias and self.bias == "none":
            raise NotRunError("it has no bias.")
        if p.bias and self.bias == "separate" and (set(APART.values()) & self._lacking):
            raise NotRunError("it returns no gradient of the biases.")
        if self.takes_classes(p) and not _one_hot(p.Y):
            raise NotRunError("it takes classes, and the targets are none.")
        if self.one_example and len(p.X) > 1:
            p = p.row(len(p.X) // 2)
        alpha = p.alpha if self.alpha is None else float(p.dtype.type(self.alpha))
        scale = self._scales.get("") or self._scales.get(p.loss, "mean")
        return replace(p, scale=scale, each=self.example_delta, alpha=alpha)

    def takes_classes(self, p: Problem) -> bool:
        """Whether Y is passed as the number of the class."""
        of = CLASSIFY if isinstance(self.labels, bool) else self.labels
        return bool(self.labels) and p.loss in of

    @property
    def _lacking(self) -> set[str]:
        """The bias quantities that `returns` leaves out, although it has those of the weights."""
        found = self._returned
        return {b for W, b in APART.items() if W in found and b not in found}

    def given(self, p: Problem) -> Given:
        """The problem in this convention: new arrays, which may be written to."""
        X, Y = (M.T if self.columns else M for M in (p.X, p.Y))
        classes = self.takes_classes(p)
        if classes:
            Y = p.Y.argmax(axis=1)
        if self.vectors and self.one_example:
            X, Y = p.X[0], Y if classes else p.Y[0]
        apart = self.bias == "separate"
        biases = [M[-1:] if p.bias else np.zeros((1, M.shape[1]), M.dtype) for M in p.W.values()]
        if self.vectors:
            biases = [b[0] for b in biases]
        elif self.columns:
            biases = [b.T for b in biases]
        return Given(
            W=[np.array(self._laid(p, M)) for M in p.W.values()],
            b=[np.array(b) for b in biases] if apart else [],
            X=np.array(X),
            Y=np.array(Y),
            sizes=[p.X.shape[1], *(M.shape[1] for M in p.W.values())],
            sigma=list(p.sigma.values()),
            loss=p.loss,
            alpha=p.alpha,
        )

    def _laid(self, p: Problem, M: Floats) -> Floats:
        """[W_l; b_l], or W_l where there is no bias, in the layout of this convention."""
        if self.bias.startswith("absorbed"):
            M = M if p.bias else np.vstack([M, np.zeros((1, M.shape[1]), M.dtype)])
            M = np.roll(M, 1, axis=0) if self.bias == "absorbed first" else M
        elif p.bias:
            M = M[:-1]
        return M.T if self.transposed else M

    # --- what was returned, in the notes' convention ----------------------------------------------

    def trace(self, p: Problem, returned: Theirs) -> Trace:
        """What was returned for `given(p)`, as a Trace: numbers are moved about, and none is computed.

        Raises MalformedError if it is not that, with the shape that this convention has.
        """
        named = {k: v for k, v in self._named(returned).items() if v is not None}
        found: dict[str, Any] = {}
        for q in QUANTITIES:
            if q not in named:
                continue
            layers = _layers(q, named[q], p)
            if q in APART:
                b = _layers(APART[q], named[APART[q]], p) if APART[q] in named else {}
                found[q] = {l: self._weights(q, l, M, b.get(l), p) for l, M in layers.items()}
            else:
                found[q] = {l: self._rows(q, l, M, p) for l, M in layers.items()}
        if "loss" in named:
            loss = _array("the loss", named["loss"], p)
            found["loss"] = loss.reshape(()) if loss.size == 1 else loss
        return Trace(**found)

    def _named(self, returned: Theirs) -> Mapping[str, Theirs]:
        """What was returned, by the notes' names: {"dW": …}."""
        if isinstance(returned, Trace):
            return {q: returned.layers(q) or None for q in QUANTITIES} | {"loss": returned.loss}
        if isinstance(returned, Mapping):
            own = _gathered(returned)
            if isinstance(self.returns, Mapping):
                return {ours: own[theirs] for ours, theirs in self.returns.items() if theirs in own}
            if not own.keys() & set(NAMES):
                raise MalformedError(
                    f"it returned a dict of {', '.join(map(str, own)) or 'nothing'}; expected some of "
                    f"{', '.join(NAMES)}, or Convention(returns={{'dW': 'its name for it'}})."
                )
            return {k: own[k] for k in NAMES if k in own}
        names = self._returned
        if not names:
            raise MalformedError(
                f"it returned a {type(returned).__name__}; expected a Trace, a dict, or "
                'Convention(returns=("dW", "db")) that says what it is.'
            )
        if len(names) == 1 and not (isinstance(returned, tuple) and len(returned) == 1):
            return {names[0]: returned}
        if not isinstance(returned, (tuple, list)) or len(returned) != len(names):
            got = f"{len(returned)} of them" if isinstance(returned, (tuple, list)) else "one thing"
            raise MalformedError(f"it returned {got}; expected {len(names)}: {', '.join(names)}.")
        return dict(zip(names, returned, strict=True))

    def _rows(self, q: str, l: int, M: Theirs, p: Problem) -> Floats:
        """A_l, Z_l or δ_l as n×d_l."""
        A, n, d = _array(f"{q}_{l}", M, p), len(p.X), p.W[l].shape[1]
        expected = (d, n) if self.columns else (n, d)
        if n == 1 and A.ndim == 1 and (self.vectors or self.one_example):
            A = A.reshape(expected)
        _check(f"{q}_{l}", A, expected)
        return np.ascontiguousarray(A.T if self.columns else A)

    def _weights(self, q: str, l: int, M: Theirs, b: Theirs, p: Problem) -> Floats:
        """A quantity shaped like W_l, with that of b_l as its last row if the network has a bias."""
        A = _array(f"{q}_{l}", M, p)
        expected = self._laid(p, p.W[l]).shape
        _check(f"{q}_{l}", A, expected)
        A = A.T if self.transposed else A
        if self.bias.startswith("absorbed"):
            A = np.roll(A, -1, axis=0) if self.bias == "absorbed first" else A
            return np.ascontiguousarray(A if p.bias else A[:-1])
        if not p.bias:
            return np.ascontiguousarray(A)
        if b is None:
            raise MalformedError(
                f'it returned {q} without {APART[q]}; expected both, or bias="none".'
            )
        column = _array(f"{APART[q]}_{l}", b, p)
        if column.dtype != p.dtype == A.dtype:
            raise MalformedError(
                f"{APART[q]}_{l} has dtype {column.dtype}; expected {p.dtype}, as given."
            )
        if column.size != A.shape[1] or column.ndim > 2:
            _check(f"{APART[q]}_{l}", column, (A.shape[1], 1) if self.columns else (1, A.shape[1]))
        return np.vstack([A, column.reshape(1, -1)])


def _one_hot(Y: Floats) -> bool:
    return bool(((Y == 0) | (Y == 1)).all() and (Y.sum(axis=1) == 1).all()) and Y.shape[1] > 1


def _check(name: str, M: Floats, expected: tuple[int, ...]) -> None:
    if M.shape != expected:
        raise MalformedError(f"{name} has shape {M.shape}; expected {expected}, by its convention.")


def _gathered(returned: Mapping[Any, Theirs]) -> dict[str, Theirs]:
    """{"dW1": …, "dW2": …} as {"dW": {1: …, 2: …}}; a name without a number stays as it is."""
    found: dict[str, Any] = {}
    for name, value in returned.items():
        if numbered := re.fullmatch(r"(.*?\D)_?(\d+)", str(name), re.DOTALL):
            found.setdefault(numbered[1], {})[int(numbered[2])] = value
        else:
            found[str(name)] = value
    return found


def _layers(q: str, value: Theirs, p: Problem) -> dict[int, Theirs]:
    """{1: …, …, L: …} of a list or a dict; Z may begin with Z_0 = X, and may lack Z_L."""
    L = p.depth
    if isinstance(value, Mapping):
        found = {int(l) if str(l).isdigit() else l: M for l, M in value.items()}
        if set(found) == set(range(L)) and not (q == "Z" and _is_X(found[0], p)):  # counted from 0
            found = {l + 1: M for l, M in found.items()}
    elif L == 1 and _is_matrix(value):
        found = {1: value}
    elif isinstance(value, (list, tuple, np.ndarray)):
        each = list(value)
        if each and (each[0] is None or (q == "Z" and len(each) > 1 and _is_X(each[0], p))):
            each = each[1:]
        found = dict(enumerate(each, start=1))
    else:
        raise MalformedError(
            f"{q} is a {type(value).__name__}; expected a list of {L}, one a layer."
        )
    if q == "Z":
        found.pop(0, None)
    found = {l: M for l, M in found.items() if M is not None}
    fewer = set(range(1, L)) if q == "Z" and L > 1 else set(range(1, L + 1))
    if set(found) not in (fewer, set(range(1, L + 1))):
        raise MalformedError(f"{q} has {len(found)} layers; expected {L}, one a layer.")
    return found


def _is_matrix(value: Theirs) -> bool:
    return hasattr(value, "shape") and len(value.shape) == 2


def _is_X(M: Theirs, p: Problem) -> bool:
    """Whether M is Z_0 = X, with which a list of Z may begin."""
    try:
        first = _array("Z_0", M, p)
    except MalformedError:
        return False
    if first.ndim == 1 and len(p.X) == 1:
        first = first[None]
    return any(np.array_equal(M, p.X) for M in (first, first.T))


def _array(name: str, value: Theirs, p: Problem) -> Floats:
    """A NumPy array. A value without a dtype of its own (a list, a number) gets the problem's."""
    for method in ("detach", "cpu", "numpy"):  # torch's methods; tinygrad has the last one too
        if not isinstance(value, np.ndarray) and callable(getattr(value, method, None)):
            value = getattr(value, method)()
    if not hasattr(value, "dtype") and isinstance(getattr(value, "data", None), np.ndarray):
        value = value.data  # tensors of MyGrad and others
    try:
        found = np.asarray(value)
        if not hasattr(value, "dtype"):
            found = found.astype(p.dtype)
    except (TypeError, ValueError) as e:
        raise MalformedError(f"{name} is no array of numbers: {e}.".replace("..", ".")) from e
    return found
