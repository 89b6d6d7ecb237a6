"""The right values of one network, by definition: no backpropagation, no refbp.

The network is written out, and every derivative is the complex step Im f(x + ih)/h with h = 1e-30. It
subtracts nothing, so that it is as exact as f itself, and there is no step size to choose. The tests compare
the values with the certified truth.
"""

# mypy: disable-error-code="no-any-return"
# NumPy types the arithmetic of NDArray[Any] as Any.

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFINITIONS", "LOSSES", "H", "Matrix", "Right", "derivative"]

Matrix: TypeAlias = NDArray[Any]
"""Of floats; of complex numbers within `derivative`."""
Number: TypeAlias = np.float64 | np.complex128
H = 1e-30
"""The complex step."""


def _softmax(A: Matrix) -> Matrix:
    """exp(a_j) / Σ_k exp(a_k) of each row."""
    e: Matrix = np.exp(A)
    return e / e.sum(axis=1, keepdims=True)


def _abs(D: Matrix) -> Matrix:
    """|d| continued analytically to complex numbers from either side of 0, as a complex step needs it."""
    return np.where(D.real < 0, -D, D)


def _huber(D: Matrix) -> Matrix:
    """d²/2 up to |d| = 1, and |d| − 1/2 from there."""
    E = _abs(D)
    return np.where(E.real <= 1, E * E / 2, E - 0.5)


DEFINITIONS: dict[str, Callable[[Matrix], Matrix]] = {
    "identity": lambda A: A,
    "square": lambda A: A * A,
    "relu": lambda A: np.where(A.real > 0, A, 0 * A),
    "tanh": lambda A: np.sinh(A) / np.cosh(A),
    "sigmoid": lambda A: 1 / (1 + np.exp(-A)),
    "softplus": lambda A: np.log(1 + np.exp(A)),
    "softmax": _softmax,
    "log_softmax": lambda A: A - np.log(np.exp(A).sum(axis=1, keepdims=True)),
}
"""σ for real and complex numbers. Softmax subtracts no maximum: the numbers of `settings` cannot overflow."""

LOSSES: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    "mean_squared_error": lambda Z, Y: (Z - Y) ** 2,
    "cross_entropy": lambda Z, Y: -Y * np.log(Z),
    "log_softmax_cross_entropy": lambda Z, Y: -Y * Z,
    "binary_cross_entropy": lambda Z, Y: -Y * np.log(Z) - (1 - Y) * np.log(1 - Z),
    "mean_absolute_error": lambda Z, Y: _abs(Z - Y),
    "huber": lambda Z, Y: _huber(Z - Y),
}
"""What each entry of Z_L contributes to n times the loss, for real and complex numbers."""


def derivative(f: Callable[[Matrix], Matrix | Number], M: Matrix) -> Matrix:
    """∂f/∂M at M: the shape of f(M), and then the shape of M."""
    columns = []
    for index in np.ndindex(M.shape):
        step = M.astype(complex)
        step[index] += H * 1j
        columns.append(np.asarray(f(step)).imag / H)
    stacked: Matrix = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *M.shape)


def _read_only(layers: dict[int, Matrix]) -> dict[int, Matrix]:
    """The same matrices, made read-only: every equation is judged by them."""
    for M in layers.values():
        M.setflags(write=False)
    return layers


@dataclass(frozen=True)
class Right:
    """Every quantity of a network: W_l is d_{l-1}×d_l, X is n×d_0, Y is n×d_L, `names` has σ_l.

    With a bias, W_l and X are the extended ones, and every hidden layer ends in a unit that is 1. No matrix
    can be written to.
    """

    W: Mapping[int, Matrix]
    X: Matrix
    Y: Matrix
    names: Mapping[int, str]
    bias: bool
    alpha: float
    loss_name: str

    def __post_init__(self) -> None:
        for M in (*self.W.values(), self.X, self.Y):
            M.setflags(write=False)

    def activate(self, l: int, A: Matrix) -> Matrix:
        """Z_l = σ_l(A_l), n×d_l."""
        sigma = DEFINITIONS[self.names[l]]
        if not self.bias or l == len(self.W):
            return sigma(A)
        return np.hstack([sigma(A[:, :-1]), np.ones_like(A[:, :1])])

    def after(self, l: int, Z: Matrix) -> Number:
        """L as a function of Z_l: the rest of the network, then the sum of `LOSSES` over n."""
        for k in range(l + 1, len(self.W) + 1):
            Z = self.activate(k, Z @ self.W[k])
        return LOSSES[self.loss_name](Z, self.Y).sum() / len(self.Y)

    @cached_property
    def _layers(self) -> tuple[dict[int, Matrix], dict[int, Matrix]]:
        A, Z = {}, {0: self.X}
        for l in self.W:
            A[l] = Z[l - 1] @ self.W[l]
            Z[l] = self.activate(l, A[l])
        return _read_only(A), _read_only(Z)

    @property
    def A(self) -> dict[int, Matrix]:
        """A_l = Z_{l-1} W_l, n×d_l."""
        return self._layers[0]

    @property
    def Z(self) -> dict[int, Matrix]:
        """Z_0 = X, Z_l = σ_l(A_l), n×d_l."""
        return self._layers[1]

    @cached_property
    def loss(self) -> Matrix:
        """L, one number."""
        return np.asarray(self.after(len(self.W), self.Z[len(self.W)]))

    def _gradient(
        self, loss_of: Callable[[int, Matrix], Matrix | Number], at: Mapping[int, Matrix]
    ) -> dict[int, Matrix]:
        """∂L/∂M for the M of every layer, shaped like M."""
        return _read_only({l: derivative(partial(loss_of, l), at[l]) for l in self.W})

    @cached_property
    def dL_dZ(self) -> dict[int, Matrix]:
        """∂L/∂Z_l, n×d_l."""
        return self._gradient(self.after, self.Z)

    @cached_property
    def delta(self) -> dict[int, Matrix]:
        """∂L/∂A_l, n×d_l."""
        return self._gradient(lambda l, A: self.after(l, self.activate(l, A)), self.A)

    @cached_property
    def dL_dW(self) -> dict[int, Matrix]:
        """∂L/∂W_l, d_{l-1}×d_l."""
        return self._gradient(
            lambda l, M: self.after(l, self.activate(l, self.Z[l - 1] @ M)), self.W
        )

    @cached_property
    def W_new(self) -> dict[int, Matrix]:
        """W_l − α ∂L/∂W_l, d_{l-1}×d_l."""
        return _read_only({l: M - self.alpha * self.dL_dW[l] for l, M in self.W.items()})

    @cached_property
    def dL_db(self) -> dict[int, Matrix]:
        """∂L/∂b_l for a b_l that is added to every row of A_l: d_l numbers, at b_l = 0."""
        zero = {l: np.zeros(A.shape[1]) for l, A in self.A.items()}
        return self._gradient(lambda l, b: self.after(l, self.activate(l, self.A[l] + b)), zero)

    def _of_one(self, of: Callable[[int], Matrix], first: int = 1) -> dict[int, Matrix]:
        """A derivative of a vector by a vector or matrix, for n = 1; empty for a batch, which has none."""
        return _read_only({l: of(l) for l in self.W if l >= first} if len(self.X) == 1 else {})

    @cached_property
    def da_da(self) -> dict[int, Matrix]:
        """∂a_l/∂a_{l-1}, d_l×d_{l-1}."""
        return self._of_one(
            lambda l: derivative(
                lambda A: (self.activate(l - 1, A) @ self.W[l])[0], self.A[l - 1]
            ).reshape(self.A[l].size, -1),
            first=2,
        )

    @cached_property
    def da_dz(self) -> dict[int, Matrix]:
        """∂a_l/∂z_{l-1}, d_l×d_{l-1}."""
        return self._of_one(lambda l: derivative(lambda Z: (Z @ self.W[l])[0], self.Z[l - 1])[:, 0])

    @cached_property
    def dz_da(self) -> dict[int, Matrix]:
        """∂z_l/∂a_l, d_l×d_l."""
        return self._of_one(lambda l: derivative(lambda A: self.activate(l, A)[0], self.A[l])[:, 0])

    @cached_property
    def da_dW(self) -> dict[int, Matrix]:
        """∂a_{l,i}/∂W_{l,jk}, d_l×d_l×d_{l-1}, for W_l as Steps 0 to 2c write it, d_l×d_{l-1}."""
        return self._of_one(lambda l: self.reach(l, l))

    def reach(self, l: int, j: int) -> Matrix:
        """∂a_{l,i}/∂W_{j,pq} for j ≤ l, with W_j d_j×d_{j-1}; for one example."""

        def a_l(M: Matrix) -> Matrix:
            A = self.Z[j - 1] @ M.T
            for k in range(j + 1, l + 1):
                A = self.activate(k - 1, A) @ self.W[k]
            return A[0]

        return derivative(a_l, self.W[j].T)
