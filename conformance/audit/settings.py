"""The networks that an equation is run on, and what an equation may read of one.

Small enough to print, and told apart by all that a slip hides behind: one example or several, one output or
several, square layers or not, elementwise or softmax, one layer or four, a bias or none. The weights are
quarters. With a bias the matrices are the extended ones, W̃_l and σ̃_l, so that no equation changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from conformance.audit.right import Right
from refbp.activations import Elementwise, activation
from refbp.bias import absorb, with_constant_unit, with_ones
from refbp.types import Array, Transition

__all__ = [
    "SETTINGS",
    "Columns",
    "MissingError",
    "Net",
    "Setting",
    "Sigma",
    "plain_sigma",
    "right_of",
]

ALPHA = 0.5
SQUARE = Elementwise("square", lambda A: A * A, lambda A: 2 * A)


@dataclass(frozen=True)
class Setting:
    """A network with its data: X is n×d_0, W_l is d_{l-1}×d_l, Y is n×d_L.

    `hidden` and `last` name σ_l for l < L and σ_L; `weights` says what is special about W.
    """

    name: str
    n: int
    widths: tuple[int, ...]
    hidden: str = "tanh"
    last: str = "identity"
    bias: bool = False
    weights: str = "free"

    @property
    def L(self) -> int:
        """The number of layers."""
        return len(self.widths) - 1

    @cached_property
    def numbers(self) -> tuple[dict[int, Array], Array, Array]:
        """(W, X, Y), with b absorbed where there is a bias."""
        rng = np.random.default_rng([self.n, *self.widths, len(self.hidden), self.bias])
        W = {l: self._weights(l, rng) for l in range(1, self.L + 1)}
        X, Y = _quarters(rng, self.n, self.widths[0]), _quarters(rng, self.n, self.widths[-1])
        if not self.bias:
            return W, X, Y
        b = {l: _quarters(rng, 1, self.widths[l])[0] for l in W}
        return absorb(W, b), with_ones(X), Y

    def _weights(self, l: int, rng: np.random.Generator) -> Array:
        """W_l, d_{l-1}×d_l."""
        if self.weights == "tied":  # W_l = W_{l+1}
            rng = np.random.default_rng(1)
        M = _quarters(rng, self.widths[l - 1], self.widths[l])
        made: dict[str, Callable[[], Array]] = {
            "diagonal": lambda: np.diag(np.diag(M)),
            "symmetric": lambda: M + M.T,
        }
        return made.get(self.weights, lambda: M)()

    def sigma_name(self, l: int) -> str:
        """The name of σ_l."""
        return self.last if l == self.L else self.hidden

    @property
    def words(self) -> str:
        """Widths, batch and transition functions, in a line."""
        widths = "–".join(str(d) for d in self.widths)
        hidden = f"{self.hidden}, then " if self.L > 1 else ""
        bias = ", bias absorbed" if self.bias else ""
        return f"{widths}, n = {self.n}, {hidden}{self.last}{bias}"


def _quarters(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Multiples of 1/4 between −3/2 and 3/2, none of them 0."""
    found: Array = rng.choice([-6, -5, -3, -2, 2, 3, 4, 5, 6], (rows, columns)) / 4
    return found


SETTINGS = (
    Setting("one unit a layer, n = 1", 1, (1, 1, 1), "sigmoid"),
    Setting("one unit a layer, n = 3", 3, (1, 1, 1), "tanh"),
    Setting("one output, n = 1", 1, (3, 2, 1), "tanh"),
    Setting("one output, n = 3", 3, (2, 3, 1), "softplus"),
    Setting("several outputs, n = 1", 1, (2, 3, 2), "sigmoid"),
    Setting("several outputs, n = 3", 3, (3, 2, 4), "tanh", "tanh"),
    Setting("square layers, n = 1", 1, (2, 2, 2), "square"),
    Setting("square layers, n = 2", 2, (2, 2, 2), "square"),
    Setting("square layers, n = 3", 3, (2, 2, 2, 2), "tanh", "sigmoid"),
    Setting("one hidden unit, n = 1", 1, (2, 1, 3), "tanh"),
    Setting("one unit beside several, n = 2", 2, (1, 3, 1, 2), "softplus"),
    Setting("four layers, n = 1", 1, (2, 3, 2, 3, 2), "tanh"),
    Setting("four layers, one output, n = 2", 2, (3, 4, 2, 3, 1), "sigmoid"),
    Setting("one layer, n = 1", 1, (3, 2)),
    Setting("one layer, n = 3", 3, (2, 1), last="sigmoid"),
    Setting("one layer, square, n = 2", 2, (3, 3)),
    Setting("softmax, n = 1", 1, (2, 3, 3), "tanh", "softmax"),
    Setting("softmax, n = 3", 3, (3, 2, 3), "softplus", "softmax"),
    Setting("softmax, one layer, n = 2", 2, (2, 4), last="softmax"),
    Setting("bias, n = 1", 1, (2, 2, 1), "tanh", bias=True),
    Setting("bias, n = 3", 3, (1, 3, 2), "sigmoid", "tanh", bias=True),
    Setting("bias, one layer, n = 2", 2, (2, 2), bias=True),
    Setting("bias, σ(1) = 1, n = 2", 2, (1, 2, 2), "square", bias=True),
    Setting("W_l = W_{l+1}, n = 2", 2, (3, 3, 3), "tanh", weights="tied"),
    Setting("diagonal weights, n = 1", 1, (2, 2, 2), "sigmoid", weights="diagonal"),
    Setting("symmetric weights, n = 2", 2, (3, 3, 3), "tanh", weights="symmetric"),
)


@cache
def right_of(setting: Setting) -> Right:
    """The right values, by definition."""
    W, X, Y = setting.numbers
    names = {l: setting.sigma_name(l) for l in W}
    return Right(W, X, Y, names, setting.bias, ALPHA)


@dataclass(frozen=True)
class Sigma:
    """σ_l of refbp, on rows; with a constant unit beside it where the network has a bias."""

    sigma: Transition

    def __call__(self, A: Array) -> Array:
        """σ_l(A), n×d_l."""
        return self.sigma(A)

    def vjp(self, A: Array, G: Array) -> Array:
        """∂L/∂A for G = ∂L/∂Z, n×d_l."""
        return self.sigma.vjp(A, G)

    def derivative(self, A: Array) -> Array:
        """σ'_l(A), n×d_l: each output's derivative in its own input, for softmax too."""
        own = np.empty_like(A)
        for j in range(A.shape[1]):
            unit = np.zeros_like(A)
            unit[:, j] = 1
            own[:, j] = self.vjp(A, unit)[:, j]
        return own


@dataclass(frozen=True)
class ColumnSigma:
    """σ_l on columns, d_l×n."""

    sigma: Sigma

    def __call__(self, a: Array) -> Array:
        """σ_l(a), d_l×n."""
        return self.sigma(a.T).T

    def derivative(self, a: Array) -> Array:
        """σ'_l(a), d_l×n."""
        return self.sigma.derivative(a.T).T


class MissingError(KeyError):
    """An equation asks for a layer that there is not."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Read(Mapping[int, Any]):
    """{l: matrix} of one quantity: each is handed out as a copy, and what is handed out is noted."""

    symbol: str
    layers: Mapping[int, Any]
    seen: dict[str, Array]

    def __getitem__(self, l: int) -> Any:
        """The quantity of layer l. Raises `MissingError`."""
        if l not in self.layers:
            raise MissingError(f"there is no {self.name(l)} here: {_those(self)}.")
        self.seen[self.name(l)] = self.layers[l]
        return self.layers[l].copy()

    def name(self, l: int) -> str:
        """W_2, or ∂a_2/∂a_1."""
        if "{l}" not in self.symbol:
            return f"{self.symbol}_{l}"
        return self.symbol.replace("{l−1}", str(l - 1)).replace("{l}", str(l))

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def _those(read: Read) -> str:
    """Which layers there are."""
    if not read.layers:
        return "there is one for one example alone, n = 1, and a layer before it"
    names = [read.name(l) for l in sorted(read.layers)]
    return f"there are {names[0]} to {names[-1]}" if len(names) > 1 else f"there is {names[0]}"


def _transposed(layers: Mapping[int, Array]) -> dict[int, Array]:
    return {l: M.T for l, M in layers.items()}


@dataclass(frozen=True)
class Columns:
    """The network as Steps 0 to 2c write it: an example is a column, so a_l is d_l×n, W_l is d_l×d_{l-1}.

    For one example, n = 1, there are the derivatives of vectors too: da_da[l] is ∂a_l/∂a_{l-1}, da_dz[l]
    ∂a_l/∂z_{l-1}, dz_da[l] ∂z_l/∂a_l, and da_dW[l] ∂a_l/∂W_l with three indices.
    """

    right: Right
    seen: dict[str, Array]

    def _read(self, symbol: str, layers: Mapping[int, Array]) -> Read:
        return Read(symbol, layers, self.seen)

    @property
    def x(self) -> Array:
        """x, d×n."""
        self.seen["x"] = self.right.X.T
        return self.right.X.T.copy()

    @property
    def y(self) -> Array:
        """y, d_L×n."""
        self.seen["y"] = self.right.Y.T
        return self.right.Y.T.copy()

    @property
    def W(self) -> Read:
        """W_l, d_l×d_{l-1}."""
        return self._read("W", _transposed(self.right.W))

    @property
    def a(self) -> Read:
        """a_l, d_l×n."""
        return self._read("a", _transposed(self.right.A))

    @property
    def z(self) -> Read:
        """z_l, d_l×n, with z_0 = x."""
        return self._read("z", _transposed(self.right.Z))

    @property
    def link(self) -> Read:
        """∂L/∂a_l, d_l×n."""
        return self._read("∂L/∂a", _transposed(self.right.delta))

    @property
    def dL_dz(self) -> Read:
        """∂L/∂z_l, d_l×n."""
        return self._read("∂L/∂z", _transposed(self.right.dL_dZ))

    @property
    def dL_dW(self) -> Read:
        """∂L/∂W_l, d_l×d_{l-1}."""
        return self._read("∂L/∂W", _transposed(self.right.dL_dW))

    @property
    def da_da(self) -> Read:
        """∂a_l/∂a_{l-1}, d_l×d_{l-1}; for n = 1 and l > 1."""
        return self._read("∂a_{l}/∂a_{l−1}", self.right.da_da)

    @property
    def da_dz(self) -> Read:
        """∂a_l/∂z_{l-1}, d_l×d_{l-1}; for n = 1."""
        return self._read("∂a_{l}/∂z_{l−1}", self.right.da_dz)

    @property
    def dz_da(self) -> Read:
        """∂z_l/∂a_l, d_l×d_l; for n = 1."""
        return self._read("∂z_{l}/∂a_{l}", self.right.dz_da)

    @property
    def da_dW(self) -> Read:
        """∂a_l/∂W_l, d_l×d_l×d_{l-1}; for n = 1."""
        return self._read("∂a_{l}/∂W_{l}", self.right.da_dW)

    @property
    def sigma(self) -> dict[int, ColumnSigma]:
        """σ_l on columns, with .derivative for σ'_l."""
        return {l: ColumnSigma(s) for l, s in _sigma(self.right).items()}


def _sigma(right: Right) -> dict[int, Sigma]:
    """σ_l for every layer; the hidden ones with a constant unit where there is a bias."""
    L = len(right.W)
    return {
        l: Sigma(with_constant_unit(s) if right.bias and l < L else s)
        for l, s in plain_sigma(right).items()
    }


def plain_sigma(right: Right) -> dict[int, Transition]:
    """σ_l on all units alike, the constant one too: what the notes print."""
    return {l: SQUARE if s == "square" else activation(s) for l, s in right.names.items()}


@dataclass(frozen=True)
class Net:
    """What an equation may read: the network as the procedures write it, an example a row.

    `l` is the layer that the equation is asked for; `columns` has the network as Steps 0 to 2c write it.
    Every matrix is a copy, and the right one: an equation is judged alone, not for what stands before it.
    """

    setting: Setting
    l: int
    seen: dict[str, Array] = field(default_factory=dict)

    @property
    def right(self) -> Right:
        """The right values."""
        return right_of(self.setting)

    @property
    def L(self) -> int:
        """The number of layers."""
        return self.setting.L

    @property
    def n(self) -> int:
        """The number of examples."""
        return self.setting.n

    @property
    def alpha(self) -> float:
        """The step α of gradient descent."""
        return self.right.alpha

    @property
    def X(self) -> Array:
        """X, n×d."""
        self.seen["X"] = self.right.X
        return self.right.X.copy()

    @property
    def Y(self) -> Array:
        """Y, n×d_L."""
        self.seen["Y"] = self.right.Y
        return self.right.Y.copy()

    @property
    def W(self) -> Read:
        """W_l, d_{l-1}×d_l."""
        return Read("W", self.right.W, self.seen)

    @property
    def A(self) -> Read:
        """A_l, n×d_l."""
        return Read("A", self.right.A, self.seen)

    @property
    def Z(self) -> Read:
        """Z_l, n×d_l, with Z_0 = X."""
        return Read("Z", self.right.Z, self.seen)

    @property
    def delta(self) -> Read:
        """δ_l = ∂L/∂A_l, n×d_l."""
        return Read("δ", self.right.delta, self.seen)

    @property
    def dL_dZ(self) -> Read:
        """∂L/∂Z_l, n×d_l."""
        return Read("∂L/∂Z", self.right.dL_dZ, self.seen)

    @property
    def dL_dW(self) -> Read:
        """∂L/∂W_l, d_{l-1}×d_l."""
        return Read("∂L/∂W", self.right.dL_dW, self.seen)

    @property
    def sigma(self) -> dict[int, Sigma]:
        """σ_l on rows, with .derivative for σ'_l and .vjp for ∂L/∂A_l of ∂L/∂Z_l."""
        return _sigma(self.right)

    @property
    def columns(self) -> Columns:
        """An example a column."""
        return Columns(self.right, self.seen)
