"""What an equation may read of a network: `net`, its matrices by layer, and the same in columns.

Every matrix is handed out as a copy, and what was handed out is noted. A slip in using them is answered with
what there is, in the words that an equation is written in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from conformance.commands.audit.named import MissingError, Named, UnknownNameError, UsageError
from conformance.commands.audit.right import Matrix, Right
from conformance.commands.audit.settings import LossOf, Setting, Sigma, loss_of, right_of, sigma_of

__all__ = ["Columns", "Net", "OfLayers"]


@dataclass(frozen=True, repr=False)
class ColumnSigma(Named, called="net.columns.sigma[l]"):
    """σ_l on columns, d_l×n."""

    _rows: Sigma

    def __call__(self, a: Matrix) -> Matrix:
        """σ_l(a), d_l×n."""
        return self._rows(a.T).T

    def derivative(self, a: Matrix) -> Matrix:
        """σ'_l(a), d_l×n."""
        return self._rows.derivative(a.T).T


@dataclass(frozen=True, repr=False)
class OfLayers(Mapping[int, Any]):
    """{l: matrix} of one quantity: `written` is how it is asked for, `symbol` how it is shown."""

    written: str
    symbol: str
    layers: Mapping[int, Any]
    seen: dict[str, Matrix]

    def __getitem__(self, l: int) -> Any:
        """The quantity of layer l. Raises `UsageError`."""
        if not isinstance(l, (int, np.integer)):
            raise UsageError(f"{self.written}[…] takes the number of a layer; got {l!r}.")
        if l not in self.layers:
            raise MissingError(f"there is no {self.name(l)} here: {self._those()}.")
        found = self.layers[l]
        if not isinstance(found, np.ndarray):
            return found
        self.seen[self.name(l)] = found
        return found.copy()

    def name(self, l: int) -> str:
        """W_2, or ∂a_2/∂a_1."""
        if "{l}" not in self.symbol:
            return f"{self.symbol}_{l}"
        return self.symbol.replace("{l−1}", str(l - 1)).replace("{l}", str(l))

    def _those(self) -> str:
        """Which layers there are."""
        if not self.layers:
            return "there is one for one example alone, n = 1, and a layer before it"
        names = [self.name(l) for l in sorted(self.layers)]
        return f"there are {names[0]} to {names[-1]}" if len(names) > 1 else f"there is {names[0]}"

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"<{self.written}: {self._those()}>"

    # ---- taken for one matrix

    def _no_matrix(self, *_: Any) -> NoReturn:
        raise UsageError(f"{self.written} is a matrix for each layer; write {self.written}[net.l].")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = (
        _no_matrix
    )
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __call__ = _no_matrix

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._no_matrix()

    def __array_ufunc__(self, *_: Any, **__: Any) -> NoReturn:
        self._no_matrix()

    def __setitem__(self, l: int, M: Any) -> NoReturn:
        raise UsageError(f"{self.written}[{l}] is for reading; copy it to a name of your own.")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownNameError(
            f"{self.written} is a matrix for each layer and has no {name}; "
            f"write {self.written}[net.l].{name}."
        )


def _transposed(layers: Mapping[int, Matrix]) -> dict[int, Matrix]:
    return {l: M.T for l, M in layers.items()}


@dataclass(frozen=True, repr=False)
class Columns(Named, called="net.columns", own=("right", "seen")):
    """The network as Steps 0 to 2c write it: an example is a column, so a_l is d_l×n, W_l is d_l×d_{l-1}.

    For one example, n = 1, there are the derivatives of vectors too: da_da[l] is ∂a_l/∂a_{l-1}, da_dz[l]
    ∂a_l/∂z_{l-1}, dz_da[l] ∂z_l/∂a_l, and da_dW[l] ∂a_l/∂W_l with three indices.
    """

    right: Right
    seen: dict[str, Matrix]

    def _of(self, name: str, symbol: str, layers: Mapping[int, Any]) -> OfLayers:
        return OfLayers(f"{self.called}.{name}", symbol, layers, self.seen)

    @property
    def x(self) -> Matrix:
        """x, d×n."""
        self.seen["x"] = self.right.X.T
        return self.right.X.T.copy()

    @property
    def y(self) -> Matrix:
        """y, d_L×n."""
        self.seen["y"] = self.right.Y.T
        return self.right.Y.T.copy()

    @property
    def W(self) -> OfLayers:
        """W_l, d_l×d_{l-1}."""
        return self._of("W", "W", _transposed(self.right.W))

    @property
    def a(self) -> OfLayers:
        """a_l, d_l×n."""
        return self._of("a", "a", _transposed(self.right.A))

    @property
    def z(self) -> OfLayers:
        """z_l, d_l×n, with z_0 = x."""
        return self._of("z", "z", _transposed(self.right.Z))

    @property
    def link(self) -> OfLayers:
        """∂L/∂a_l, d_l×n."""
        return self._of("link", "∂L/∂a", _transposed(self.right.delta))

    @property
    def dL_dz(self) -> OfLayers:
        """∂L/∂z_l, d_l×n."""
        return self._of("dL_dz", "∂L/∂z", _transposed(self.right.dL_dZ))

    @property
    def dL_dW(self) -> OfLayers:
        """∂L/∂W_l, d_l×d_{l-1}."""
        return self._of("dL_dW", "∂L/∂W", _transposed(self.right.dL_dW))

    @property
    def da_da(self) -> OfLayers:
        """∂a_l/∂a_{l-1}, d_l×d_{l-1}; for n = 1 and l > 1."""
        return self._of("da_da", "∂a_{l}/∂a_{l−1}", self.right.da_da)

    @property
    def da_dz(self) -> OfLayers:
        """∂a_l/∂z_{l-1}, d_l×d_{l-1}; for n = 1."""
        return self._of("da_dz", "∂a_{l}/∂z_{l−1}", self.right.da_dz)

    @property
    def dz_da(self) -> OfLayers:
        """∂z_l/∂a_l, d_l×d_l; for n = 1."""
        return self._of("dz_da", "∂z_{l}/∂a_{l}", self.right.dz_da)

    @property
    def da_dW(self) -> OfLayers:
        """∂a_l/∂W_l, d_l×d_l×d_{l-1}; for n = 1."""
        return self._of("da_dW", "∂a_{l}/∂W_{l}", self.right.da_dW)

    @property
    def sigma(self) -> OfLayers:
        """σ_l on columns, with .derivative for σ'_l."""
        return self._of("sigma", "σ", {l: ColumnSigma(s) for l, s in sigma_of(self.right).items()})


@dataclass(frozen=True, repr=False)
class Net(Named, called="net", own=("right", "seen")):
    """What an equation may read: the network as the procedures write it, an example a row.

    `l` is the layer that the equation is asked for; `columns` has the network as Steps 0 to 2c write it.
    Every matrix is a copy, and the right one: an equation is judged alone, not for what stands before it.
    """

    _setting: Setting
    l: int
    seen: dict[str, Matrix] = field(default_factory=dict)

    def _of(self, name: str, symbol: str, layers: Mapping[int, Any]) -> OfLayers:
        return OfLayers(f"{self.called}.{name}", symbol, layers, self.seen)

    @property
    def right(self) -> Right:
        """The right values."""
        return right_of(self._setting)

    @property
    def L(self) -> int:
        """The number of layers."""
        return self._setting.L

    @property
    def n(self) -> int:
        """The number of examples."""
        return self._setting.n

    @property
    def alpha(self) -> float:
        """The step α of gradient descent."""
        return self.right.alpha

    @property
    def loss(self) -> LossOf:
        """L: net.loss(Z, Y), and net.loss.gradient(Z, Y) for ∂L/∂Z."""
        return loss_of(self._setting)

    @property
    def X(self) -> Matrix:
        """X, n×d."""
        self.seen["X"] = self.right.X
        return self.right.X.copy()

    @property
    def Y(self) -> Matrix:
        """Y, n×d_L."""
        self.seen["Y"] = self.right.Y
        return self.right.Y.copy()

    @property
    def W(self) -> OfLayers:
        """W_l, d_{l-1}×d_l."""
        return self._of("W", "W", self.right.W)

    @property
    def A(self) -> OfLayers:
        """A_l, n×d_l."""
        return self._of("A", "A", self.right.A)

    @property
    def Z(self) -> OfLayers:
        """Z_l, n×d_l, with Z_0 = X."""
        return self._of("Z", "Z", self.right.Z)

    @property
    def delta(self) -> OfLayers:
        """δ_l = ∂L/∂A_l, n×d_l."""
        return self._of("delta", "δ", self.right.delta)

    @property
    def dL_dZ(self) -> OfLayers:
        """∂L/∂Z_l, n×d_l."""
        return self._of("dL_dZ", "∂L/∂Z", self.right.dL_dZ)

    @property
    def dL_dW(self) -> OfLayers:
        """∂L/∂W_l, d_{l-1}×d_l."""
        return self._of("dL_dW", "∂L/∂W", self.right.dL_dW)

    @property
    def dL_db(self) -> OfLayers:
        """∂L/∂b_l for a bias b_l that is added to every row of A_l, d_l numbers."""
        return self._of("dL_db", "∂L/∂b", self.right.dL_db)

    @property
    def sigma(self) -> OfLayers:
        """σ_l on rows, with .derivative for σ'_l and .vjp for ∂L/∂A_l of ∂L/∂Z_l."""
        return self._of("sigma", "σ", sigma_of(self.right))

    @property
    def columns(self) -> Columns:
        """An example a column."""
        return Columns(self.right, self.seen)
