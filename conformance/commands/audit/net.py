"""What an equation may read of a network: `net`, its matrices by layer, and the same in columns.

An equation gets a copy of every matrix, and `seen` records which ones it read. A mistake in using them is
answered with what there is, in the words that an equation is written in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar, cast

import numpy as np

from conformance.commands.audit.methods import METHODS, offering
from conformance.commands.audit.named import MissingError, Named, UnknownNameError, UsageError
from conformance.commands.audit.right import Matrix, Right
from conformance.commands.audit.settings import LossOf, Setting, Sigma, loss_of, right_of, sigma_of

__all__ = ["ColumnSigma", "Columns", "Net", "OfLayers", "Seen"]

T = TypeVar("T")

Seen: TypeAlias = dict[str, Matrix | None]
"""What an equation has read, by its symbol: the numbers; None for a σ_l, which has none."""


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
class OfLayers(Mapping[int, T], Generic[T]):
    """{l: matrix, or σ_l} of one quantity: `written` is how it is asked for, `symbol` how it is shown."""

    written: str
    symbol: str
    layers: Mapping[int, T]
    seen: Seen

    def __getitem__(self, l: int) -> T:
        """The quantity of layer l. Raises `UsageError`."""
        if not isinstance(l, (int, np.integer)):
            raise UsageError(f"{self.written}[…] takes the number of a layer; got {l!r}.")
        if l not in self.layers:
            raise MissingError(f"there is no {self.name(l)} here: {self._those()}.")
        value = self.layers[l]
        if not isinstance(value, np.ndarray):
            self.seen[self.name(l)] = None
            return value
        self.seen[self.name(l)] = value
        return cast(T, value.copy())

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

    # ---- where the quantity is used as if it were one matrix: net.W @ x instead of net.W[net.l] @ x

    def _no_matrix(self, *_: object, **__: object) -> NoReturn:
        raise UsageError(f"{self.written} is a matrix for each layer; write {self.written}[net.l].")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = (
        _no_matrix
    )
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __call__ = _no_matrix
    __array__ = __array_ufunc__ = _no_matrix  # by these NumPy would take it for an array

    def __setitem__(self, l: int, M: object) -> NoReturn:
        raise UsageError(f"{self.written}[{l}] is for reading; copy it to a name of your own.")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownNameError(
            f"{self.written} is a matrix for each layer and has no {name}; "
            f"write {self.written}[net.l].{name}."
        )


class _One:
    """An attribute that is one matrix of `Right`; `symbol` is how it is shown."""

    def __init__(self, symbol: str, matrix: Callable[[Right], Matrix]) -> None:
        self.symbol, self.matrix = symbol, matrix

    def __get__(self, net: Net | Columns, _: type) -> Matrix:
        value = net.seen[self.symbol] = self.matrix(net.right)
        return value.copy()


class _EachLayer(Generic[T]):
    """An attribute that is `OfLayers`: {l: matrix, or σ_l} of `Right`; `symbol` is how it is shown."""

    def __init__(self, symbol: str, layers: Callable[[Right], Mapping[int, T]]) -> None:
        self.symbol, self.layers = symbol, layers

    def __set_name__(self, _: type, name: str) -> None:
        self.name = name

    def __get__(self, net: Net | Columns, _: type) -> OfLayers[T]:
        return OfLayers(f"{net.called}.{self.name}", self.symbol, self.layers(net.right), net.seen)


def _transposed(layers: Mapping[int, Matrix]) -> dict[int, Matrix]:
    return {l: M.T for l, M in layers.items()}


@dataclass(frozen=True, repr=False)
class Columns(Named, called="net.columns", own=("right", "seen")):
    """The network as Steps 0 to 2c write it: an example is a column."""

    right: Right
    seen: Seen

    x = _One("x", lambda right: right.X.T)  # d×n
    y = _One("y", lambda right: right.Y.T)  # d_L×n
    W = _EachLayer("W", lambda right: _transposed(right.W))  # d_l×d_{l-1}
    a = _EachLayer("a", lambda right: _transposed(right.A))  # d_l×n
    z = _EachLayer("z", lambda right: _transposed(right.Z))  # d_l×n, with z_0 = x
    link = _EachLayer("∂L/∂a", lambda right: _transposed(right.delta))  # d_l×n
    dL_dz = _EachLayer("∂L/∂z", lambda right: _transposed(right.dL_dZ))  # d_l×n
    dL_dW = _EachLayer("∂L/∂W", lambda right: _transposed(right.dL_dW))  # d_l×d_{l-1}

    # the derivatives of vectors, for one example, n = 1
    da_da = _EachLayer("∂a_{l}/∂a_{l−1}", lambda right: right.da_da)  # d_l×d_{l-1}, for l > 1
    da_dz = _EachLayer("∂a_{l}/∂z_{l−1}", lambda right: right.da_dz)  # d_l×d_{l-1}
    dz_da = _EachLayer("∂z_{l}/∂a_{l}", lambda right: right.dz_da)  # d_l×d_l
    da_dW = _EachLayer("∂a_{l}/∂W_{l}", lambda right: right.da_dW)  # d_l×d_l×d_{l-1}

    # σ_l on columns, with .derivative for σ'_l
    sigma = _EachLayer("σ", lambda right: {l: ColumnSigma(s) for l, s in sigma_of(right).items()})


@dataclass(frozen=True, repr=False)
class Net(Named, called="net", own=("right", "seen")):
    """What an equation may read: the network as the procedures write it, an example a row.

    `l` is the layer that the equation is asked for; `columns` has the network as Steps 0 to 2c write it.
    Every matrix is a copy, and the right one: an equation is judged alone, not for what stands before it.
    """

    _setting: Setting
    l: int
    seen: Seen = field(default_factory=dict)

    X = _One("X", lambda right: right.X)  # n×d
    Y = _One("Y", lambda right: right.Y)  # n×d_L
    W = _EachLayer("W", lambda right: right.W)  # d_{l-1}×d_l
    A = _EachLayer("A", lambda right: right.A)  # n×d_l
    Z = _EachLayer("Z", lambda right: right.Z)  # n×d_l, with Z_0 = X
    delta = _EachLayer("δ", lambda right: right.delta)  # ∂L/∂A_l, n×d_l
    dL_dZ = _EachLayer("∂L/∂Z", lambda right: right.dL_dZ)  # n×d_l
    dL_dW = _EachLayer("∂L/∂W", lambda right: right.dL_dW)  # d_{l-1}×d_l
    dL_db = _EachLayer("∂L/∂b", lambda right: right.dL_db)  # d_l; b_l is added to every row of A_l

    # σ_l on rows, with .derivative for σ'_l and .vjp for ∂L/∂A_l of ∂L/∂Z_l
    sigma = _EachLayer("σ", sigma_of)

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
        self.seen["α"] = np.asarray(self.right.alpha)
        return self.right.alpha

    def __getattr__(self, name: str) -> Any:
        """A number, the state or a right value of the method that the equation declares."""
        if name.startswith("_"):
            raise AttributeError(name)
        symbol = METHODS[self._setting.method].symbols.get(name)
        if symbol is None:
            if methods := offering(name):
                raise UnknownNameError(
                    f"net.{name} is there for an equation that declares its method; expected "
                    f"{' or '.join(f'method={m!r}' for m in methods)}."
                )
            super().__getattr__(name)
        value = getattr(self.right, name)
        if isinstance(value, Mapping):
            return OfLayers(f"net.{name}", symbol, value, self.seen)
        self.seen[symbol] = np.asarray(value)
        return value

    def _more_names(self) -> set[str]:
        return set(METHODS[self._setting.method].symbols)

    @property
    def loss(self) -> LossOf:
        """L: net.loss(Z, Y), and net.loss.gradient(Z, Y) for ∂L/∂Z."""
        return loss_of(self._setting)

    @property
    def columns(self) -> Columns:
        """The same network with an example a column."""
        return Columns(self.right, self.seen)
