"""The right line of every step, one example a row, on anybody's operands. A notebook carries this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

import refbp
from conformance.model.problem import Floats, Problem

__all__ = ["LINES", "Line", "Network", "Of"]

Of: TypeAlias = Callable[[str, int], Floats]
"""The numbers of a quantity in a layer, one example a row."""
Line: TypeAlias = Callable[["Network", Of, int], Floats]


def _delta(c: Network, of: Of, l: int) -> Floats:
    if l < c.L or not c.row_wise:
        return np.asarray(_before_sigma(c, of, l) * of("D", l))
    if c.problem.sigma[l] == "softmax":
        return np.asarray(of("Z", l) * (of("G", l) - of("S", l)))
    return np.asarray(of("G", l) - of("S", l) * np.exp(of("Z", l)))


def _before_sigma(c: Network, of: Of, l: int) -> Floats:
    """∂L/∂Z_l."""
    return of("G", l) if l == c.L else np.asarray(of("delta", l + 1) @ c.W[l + 1].T)


def _delta_at_once(c: Network, of: Of, l: int) -> Floats:
    return np.asarray(c.sigma[l].vjp(of("A", l), _before_sigma(c, of, l)))


def _sums(c: Network, of: Of, l: int) -> Floats:
    weight = of("Z", l) if c.problem.sigma[l] == "softmax" else 1.0
    return np.asarray((of("G", l) * weight).sum(axis=1, keepdims=True))


def _from_the_output(c: Network, of: Of, l: int) -> Floats:
    """σ' in z, where it has that form."""
    z, name = of("Z", l), c.problem.sigma[l]
    forms = {"sigmoid": z * (1 - z), "tanh": 1 - z * z, "relu": z > 0}
    return np.asarray(forms.get(name, np.full(z.shape, np.nan)), float)


def _from_its_sum(c: Network, of: Of, l: int) -> Floats:
    """Softmax and its logarithm from the sum of the exponentials."""
    if c.problem.sigma[l] == "softmax":
        return np.asarray(np.exp(of("A", l)) / of("T", l))
    by_log = c.problem.sigma[l] == "log_softmax"
    return np.asarray(of("A", l) - np.log(of("T", l)) if by_log else c.sigma[l](of("A", l)))


def _loss_after(c: Network, of: Of, l: int) -> Floats:
    h = c.problem.X
    for k in range(1, c.L + 1):
        h = c.sigma[k](h @ of("W_new", k) + (of("b_new", k) if c.has_bias else 0))
    return c.value(h)


class Network:
    """The network of a notebook, one example a row whichever convention that displays.

    `names` are the notebook's: W, b, sigma, alpha and the data. `scale`: refbp's loss, over the notebook's.
    """

    def __init__(
        self, names: Mapping[str, Any], loss: str, scale: float, fixed_biases: bool
    ) -> None:
        self.scale, self.fixed_biases, self.column = scale, fixed_biases, "x" in names
        self.sigma: dict[int, refbp.RowWise | refbp.Elementwise] = dict(names["sigma"])
        self.loss, self.alpha = refbp.loss(loss), float(names["alpha"])
        self.W = {l: self.turned(M) for l, M in names["W"].items()}
        self.L, self.has_bias = len(self.W), bool(names["b"])
        own = {l: self.turned(M) for l, M in names["b"].items()}
        self.b = own or {l: np.zeros((1, M.shape[1])) for l, M in self.W.items()}
        x, y = "xy" if self.column else "XY"
        self.problem = Problem(
            W={l: np.vstack([M, own[l]]) if own else M for l, M in self.W.items()},
            X=self.turned(names[x]),
            Y=self.turned(names[y]),
            sigma={l: s.name for l, s in self.sigma.items()},
            loss=loss,
            bias=self.has_bias,
            alpha=self.alpha / scale,
        )
        self.row_wise = not isinstance(self.sigma[self.L], refbp.Elementwise)
        self.known: dict[tuple[str, int], Floats] = {("Z", 0): self.problem.X}

    def turned(self, M: Any) -> Floats:
        """From one convention to the other: an example as a column, or as a row."""
        held = np.array(M, float)  # a copy: what a student does to W must not change what is right
        return held.T if self.column else held

    def value(self, Z: Floats) -> Floats:
        """The loss, 1×1."""
        return np.reshape(self.loss(Z, self.problem.Y), (1, 1)) / self.scale

    def right(self, q: str, l: int) -> Floats:
        """The right numbers of a quantity."""
        if (q, l) not in self.known:
            self.known[q, l] = LINES[q][0](self, self.right, l)
        return self.known[q, l]

    def has(self, q: str, l: int) -> bool:
        """Whether there is such a quantity."""
        if q in ("S", "T"):
            return l == self.L and self.row_wise
        if q == "D":
            return l < self.L or not self.row_wise
        return {"loss": l == 0, "loss_after": l == 0, "G": l == self.L}.get(
            q, self.has_bias or q not in ("db", "b_new")
        )


LINES: Mapping[str, tuple[Line, ...]] = {
    "A": (lambda c, of, l: of("Z", l - 1) @ c.W[l] + c.b[l],),
    "T": (lambda c, of, l: np.exp(of("A", l)).sum(axis=1, keepdims=True),),
    "Z": (
        lambda c, of, l: c.sigma[l](of("A", l)),
        _from_its_sum,
    ),
    "loss": (lambda c, of, l: c.value(of("Z", c.L)),),
    "G": (lambda c, of, l: c.loss.gradient(of("Z", l), c.problem.Y) / c.scale,),
    "S": (_sums,),
    "D": (lambda c, of, l: c.sigma[l].vjp(of("A", l), np.ones_like(of("A", l))), _from_the_output),
    "delta": (_delta, _delta_at_once),
    "dW": (lambda c, of, l: of("Z", l - 1).T @ of("delta", l),),
    "db": (lambda c, of, l: of("delta", l).sum(axis=0, keepdims=True),),
    "W_new": (lambda c, of, l: c.W[l] - c.alpha * of("dW", l),),
    "b_new": (lambda c, of, l: c.b[l] - (0 if c.fixed_biases else c.alpha * of("db", l)),),
    "loss_after": (_loss_after,),
}
"""The right line for each quantity, one example a row; other forms of it follow the first."""
