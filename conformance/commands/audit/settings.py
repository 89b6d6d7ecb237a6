"""The networks that an equation is run on, with σ_l and the loss as an equation reads them.

They are small enough to print. They differ in everything that can hide a slip: one example or several, one
output or several, square layers or not, elementwise or softmax, one layer or four, a bias or none, each loss.
The weights are quarters. With a bias the matrices are the extended ones, W̃_l and σ̃_l, so that no equation
changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from conformance.commands.audit.methods import METHODS, NUMBERS
from conformance.commands.audit.named import Named
from conformance.commands.audit.right import Right
from refbp.activations import Elementwise, activation
from refbp.bias import absorb, with_constant_unit, with_ones
from refbp.losses import loss
from refbp.types import Array, InputError, LossFunction, Transition

__all__ = [
    "SETTINGS",
    "LossOf",
    "Setting",
    "Sigma",
    "loss_of",
    "plain_sigma",
    "right_of",
    "settings",
    "sigma_of",
]

ALPHAS = (0.3, 0.45, 0.7, 0.85)  # several values, none equal to 1 − α, α² or ½ of another
SQUARE = Elementwise("square", lambda A: A * A, lambda A: 2 * A)
FREE, SYMMETRIC, DIAGONAL, TIED = "free", "symmetric", "diagonal", "tied"

MSE, MAE, HUBER = "mean_squared_error", "mean_absolute_error", "huber"
CE, FUSED, BCE = "cross_entropy", "log_softmax_cross_entropy", "binary_cross_entropy"
LOSS_WORDS = {
    MSE: "squared error",
    MAE: "absolute error",
    HUBER: "Huber loss",
    CE: "cross-entropy",
    FUSED: "cross-entropy of log-softmax",
    BCE: "binary cross-entropy",
}


@dataclass(frozen=True)
class Setting:
    """A network with its data: X is n×d_0, W_l is d_{l-1}×d_l, Y is n×d_L.

    `hidden` names σ_l for l < L, and `last` names σ_L; `weights` has a kind for each W_l, or is empty where
    all are `FREE`. `method` is a row of `METHODS`, and `given` has those of its numbers that are declared.
    """

    name: str
    n: int
    widths: tuple[int, ...]
    hidden: str = "tanh"
    last: str = "identity"
    loss: str = MSE
    bias: bool = False
    weights: tuple[str, ...] = ()
    draw: int = 0  # a seed; not 0 where the first draw hides a slip: `test_no_numbers_hide_a_slip`
    method: str = ""
    given: tuple[tuple[str, float], ...] = ()

    @property
    def L(self) -> int:
        """The number of layers."""
        return len(self.widths) - 1

    @cached_property
    def numbers(self) -> tuple[dict[int, Array], Array, Array]:
        """(W, X, Y), with b absorbed where there is a bias."""
        seed = [self.n, *self.widths, len(self.hidden), self.bias]
        rng = np.random.default_rng([*seed, self.draw] if self.draw else seed)
        W = {l: self._weights(l, rng) for l in range(1, self.L + 1)}
        X, Y = _quarters(rng, self.n, self.widths[0]), self._targets(rng)
        if not self.bias:
            return W, X, Y
        b = {l: _quarters(rng, 1, self.widths[l])[0] for l in W}
        return absorb(W, b), with_ones(X), Y

    def _weights(self, l: int, rng: np.random.Generator) -> Array:
        """W_l, d_{l-1}×d_l."""
        kind = self.weights[l - 1] if self.weights else FREE
        if kind == TIED:  # one seed for all of them, so that they are equal
            rng = np.random.default_rng(1)
        M = _quarters(rng, self.widths[l - 1], self.widths[l])
        if kind == DIAGONAL:
            return np.diag(np.diag(M))
        return M + M.T if kind == SYMMETRIC else M

    def _targets(self, rng: np.random.Generator) -> Array:
        """Y, n×d_L: for a cross-entropy distributions, one a row; for a binary one probabilities."""
        shape = (self.n, self.widths[-1])
        if self.loss in (CE, FUSED):
            return rng.multinomial(4, [1 / shape[1]] * shape[1], self.n) / 4
        if self.loss == BCE:
            return np.asarray(rng.choice([0, 1, 3, 4], shape) / 4)
        return _quarters(rng, *shape)

    @property
    def alpha(self) -> float:
        """The step α."""
        return ALPHAS[(self.n + sum(self.widths) + len(self.hidden)) % len(ALPHAS)]

    @property
    def declared(self) -> dict[str, float | dict[int, Array]]:
        """The numbers of the method, and its state for each layer."""
        which = (self.n + sum(self.widths)) % 3
        declared: dict[str, float | dict[int, Array]] = {
            name: dict(self.given).get(name, NUMBERS[name][which])
            for name in METHODS[self.method].numbers
        }
        rng = np.random.default_rng([self.n, *self.widths, 2])
        for name in METHODS[self.method].state:
            layers = {
                l: _quarters(rng, *(M.shape if name in "mv" else (1, M.shape[1])))
                for l, M in self.numbers[0].items()
            }
            if name == "v" and "m" in declared:  # a mean of squares
                layers = {l: M**2 for l, M in layers.items()}
            declared[name] = layers if name in "mv" else {l: M[0] for l, M in layers.items()}
        return declared

    def sigma_name(self, l: int) -> str:
        """The name of σ_l."""
        return self.last if l == self.L else self.hidden

    @property
    def words(self) -> str:
        """Widths, batch, transition functions and loss, in a line."""
        widths = "–".join(str(d) for d in self.widths)
        hidden = f"{self.hidden}, then " if self.L > 1 else ""
        bias = ", bias absorbed" if self.bias else ""
        return f"{widths}, n = {self.n}, {hidden}{self.last}{bias}, {LOSS_WORDS[self.loss]}"


def _quarters(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Multiples of 1/4 between −3/2 and 3/2, none of them 0."""
    return np.asarray(rng.choice([-6, -5, -3, -2, 2, 3, 4, 5, 6], (rows, columns)) / 4)


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
    Setting("W_l = W_{l+1}, n = 2", 2, (3, 3, 3), "tanh", weights=(TIED, TIED)),
    Setting("diagonal weights, n = 1", 1, (2, 2, 2), "sigmoid", weights=(DIAGONAL, DIAGONAL)),
    Setting("symmetric weights, n = 2", 2, (3, 3, 3), "tanh", weights=(SYMMETRIC, SYMMETRIC)),
    # one layer alone is special, so that W_l is told from W_{l+1} and from W_{l−1}
    Setting("W_2 alone symmetric, n = 3", 3, (3, 3, 3, 3), "tanh", weights=(FREE, SYMMETRIC, FREE)),
    Setting("W_2 alone diagonal, n = 1", 1, (2, 2, 2, 2), "tanh", weights=(FREE, DIAGONAL, FREE)),
    Setting("W_1 = W_2 alone, n = 3", 3, (2, 2, 2, 2), "sigmoid", weights=(TIED, TIED, FREE)),
    Setting("one layer, symmetric, n = 3", 3, (2, 2), last="tanh", weights=(SYMMETRIC,)),
    Setting("three square layers, n = 1", 1, (2, 2, 2, 2), "tanh"),
    # σ' that is the same at Z as at A, or is 1
    Setting("relu, n = 1", 1, (3, 4, 2), "relu", draw=9),
    Setting("relu, three layers, n = 3", 3, (2, 3, 3, 2), "relu", "tanh"),
    Setting("relu to the end, n = 3", 3, (2, 3, 3), "relu", "relu", draw=3),
    Setting("linear layers, n = 1", 1, (2, 3, 3), "identity"),
    Setting("linear layers, n = 3", 3, (2, 3, 2, 3), "identity"),
    Setting("linear layers, square, n = 3", 3, (3, 3, 3), "identity", "tanh"),
    Setting("linear layers, one output, n = 1", 1, (3, 3, 3, 1), "identity", "sigmoid"),
    Setting("log-softmax, squared error, n = 3", 3, (2, 3, 2), "tanh", "log_softmax"),
    # other losses
    Setting("softmax, cross-entropy, n = 1", 1, (2, 3, 3), "tanh", "softmax", CE),
    Setting("softmax, cross-entropy, n = 3", 3, (3, 2, 3), "sigmoid", "softmax", CE, draw=1),
    Setting("softmax, cross-entropy, square, n = 3", 3, (3, 3, 3), "relu", "softmax", CE),
    Setting("softmax, cross-entropy, one layer, n = 4", 4, (2, 3), last="softmax", loss=CE),
    Setting(
        "softmax, cross-entropy, bias, n = 3",
        3,
        (2, 2, 3),
        "tanh",
        "softmax",
        CE,
        bias=True,
        draw=1,
    ),
    Setting("sigmoid, cross-entropy, n = 1", 1, (2, 2, 3), "tanh", "sigmoid", CE),
    Setting("sigmoid, cross-entropy, n = 3", 3, (2, 3, 2), "softplus", "sigmoid", CE),
    Setting(
        "sigmoid, binary cross-entropy, one output, n = 1", 1, (3, 2, 1), "tanh", "sigmoid", BCE
    ),
    Setting("sigmoid, binary cross-entropy, n = 3", 3, (2, 3, 2), "tanh", "sigmoid", BCE),
    Setting("sigmoid, binary cross-entropy, one layer, n = 4", 4, (3, 1), last="sigmoid", loss=BCE),
    Setting("softmax, binary cross-entropy, n = 1", 1, (2, 2, 3), "tanh", "softmax", BCE),
    Setting("softmax, binary cross-entropy, n = 3", 3, (3, 2, 3), "tanh", "softmax", BCE),
    Setting("log-softmax, n = 1", 1, (2, 3, 3), "tanh", "log_softmax", FUSED),
    Setting("log-softmax, n = 3", 3, (3, 2, 3), "sigmoid", "log_softmax", FUSED, draw=1),
    Setting("absolute error, n = 1", 1, (2, 2, 2), "tanh", loss=MAE),
    Setting("absolute error, n = 3", 3, (3, 2, 2), "sigmoid", "tanh", MAE),
    Setting("Huber loss, n = 1", 1, (3, 2, 2), "tanh", loss=HUBER),
    Setting("Huber loss, n = 3", 3, (2, 3, 2), "tanh", loss=HUBER),
    Setting("Huber loss, sigmoid, n = 3", 3, (2, 2, 3), "sigmoid", "sigmoid", HUBER),
)


@cache
def settings(method: str, given: tuple[tuple[str, float], ...] = ()) -> tuple[Setting, ...]:
    """The networks for a method: those without a bias, unless it is the plain one.

    For batch norm there are several examples, as one less its own mean is 0, and no linear layers, of which
    each would subtract what the one before it has added: ∂L/∂β_l would be 0.
    """
    if not method:
        return SETTINGS
    normed = method == "batch norm"
    fitting = (
        s for s in SETTINGS if not (s.bias or (normed and (s.n == 1 or s.hidden == "identity")))
    )
    return tuple(replace(s, method=method, given=given) for s in fitting)


@cache
def right_of(setting: Setting) -> Right:
    """The right values, by definition."""
    W, X, Y = setting.numbers
    names = {l: setting.sigma_name(l) for l in W}
    kind = METHODS[setting.method].kind
    return kind(W, X, Y, names, setting.bias, setting.alpha, setting.loss, **setting.declared)


@dataclass(frozen=True, repr=False)
class Sigma(Named, called="net.sigma[l]"):
    """σ_l of refbp, on rows; with a constant unit beside it where the network has a bias."""

    _of: Transition

    def __call__(self, A: Array, /) -> Array:
        """σ_l(A), n×d_l."""
        return self._of(A)

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A for G = ∂L/∂Z, n×d_l."""
        return self._of.vjp(A, G)

    def derivative(self, A: Array, /) -> Array:
        """σ'_l(A), n×d_l: each output's derivative in its own input, for softmax too."""
        if np.ndim(A) != 2:
            raise InputError(f"σ' is given the shape {np.shape(A)}; expected a matrix, n×d_l.")
        own = np.empty_like(A)
        for j in range(A.shape[1]):
            unit = np.zeros_like(A)
            unit[:, j] = 1
            own[:, j] = self.vjp(A, unit)[:, j]
        return own


@dataclass(frozen=True, repr=False)
class LossOf(Named, called="net.loss"):
    """A loss of refbp."""

    _of: LossFunction

    def __call__(self, Z: Array, Y: Array, /) -> np.floating:
        """L(Z_L, Y), one number."""
        return self._of(Z, Y)

    def gradient(self, Z: Array, Y: Array, /) -> Array:
        """∂L/∂Z_L, n×d_L."""
        return self._of.gradient(Z, Y)


def sigma_of(right: Right) -> dict[int, Sigma]:
    """σ_l for every layer; the hidden ones with a constant unit where there is a bias."""
    L = len(right.W)
    return {
        l: Sigma(with_constant_unit(s) if right.bias and l < L else s)
        for l, s in plain_sigma(right).items()
    }


def plain_sigma(right: Right) -> dict[int, Transition]:
    """σ_l applied to every unit, the constant one too, as the notes print it."""
    return {l: SQUARE if s == "square" else activation(s) for l, s in right.names.items()}


def loss_of(setting: Setting) -> LossOf:
    """The loss of a network."""
    return LossOf(loss(setting.loss))
