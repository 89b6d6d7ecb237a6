"""Proofs by algebra: the two procedures, as they stand, run on symbols and on exact fractions.

On symbols every σ_l is UNDETERMINED, so what is shown holds for every differentiable σ_l, for every
weight and for every example of the shapes tried. The other side of each equation is L written out
with plain sums, and differentiated by SymPy or by dual numbers: no line of refbp is in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

from refbp.activations import Elementwise
from refbp.algorithm import backward_prop, forward_pass
from refbp.losses import loss
from refbp.types import Array, Layers, LossFunction, Transition

Backward = Callable[..., tuple[Layers, Layers]]
MSE = loss("mean_squared_error")

# Unequal widths d_0, …, d_L, so that no transposition and no exchange of layers goes unseen.
WIDTHS = [(2, 3), (3, 1), (2, 3, 2), (3, 2, 1), (2, 3, 1, 2), (1, 2, 3, 2)]
SQUARE = (2, 2, 2, 2)


def matrix(name: str, rows: int, columns: int) -> Array:
    """A rows×columns matrix of symbols."""
    entries = [[sympy.Symbol(f"{name}_{i}{j}") for j in range(columns)] for i in range(rows)]
    return np.array(entries, dtype=object)


def entrywise(function: Callable[[Any], Any]) -> Callable[[Array], Array]:
    return np.vectorize(function, otypes=[object])


def undetermined(l: int) -> Elementwise:
    """σ_l of which nothing is known but that it has a derivative."""
    f, t = sympy.Function(f"sigma_{l}"), sympy.Symbol("t")
    slope = f(t).diff(t)
    return Elementwise(f"sigma_{l}", entrywise(f), entrywise(lambda a: slope.subs(t, a)))


@dataclass
class RowWise:
    """σ_l of which nothing is known but that each output is a function of its whole row."""

    l: int

    def outputs(self, row: list[Any]) -> list[Any]:
        return [sympy.Function(f"sigma_{self.l}_{j}")(*row) for j in range(len(row))]

    def __call__(self, A: Array) -> Array:
        return np.array([self.outputs(list(row)) for row in A], dtype=object)

    def vjp(self, A: Array, G: Array) -> Array:
        t = [sympy.Symbol(f"t_{j}") for j in range(A.shape[1])]
        slopes = [[z.diff(a) for a in t] for z in self.outputs(t)]
        at = [dict(zip(t, row, strict=True)) for row in A]
        jacobians = [np.array([[s.subs(here) for s in row] for row in slopes]) for here in at]
        return np.array([g @ J for g, J in zip(G, jacobians, strict=True)], dtype=object)


class UndeterminedLoss:
    """L of which nothing is known but that it is a function of Z_L."""

    def __call__(self, Z: Array, Y: Array) -> Any:
        return sympy.Function("L")(*Z.ravel())

    def gradient(self, Z: Array, Y: Array) -> Array:
        t = [sympy.Symbol(f"u_{k}") for k in range(Z.size)]
        value = sympy.Function("L")(*t)
        at = dict(zip(t, Z.ravel(), strict=True))
        return np.array([value.diff(u).subs(at) for u in t], dtype=object).reshape(Z.shape)


@dataclass
class Symbols:
    """A network of symbols; `taps[l]`, added to A_l, is what δ_l differentiates by."""

    W: Layers
    X: Array
    Y: Array
    taps: Layers

    @classmethod
    def of(cls, widths: tuple[int, ...], n: int) -> Symbols:
        layers = range(1, len(widths))
        return cls(
            W={l: matrix(f"w{l}", widths[l - 1], widths[l]) for l in layers},
            X=matrix("x", n, widths[0]),
            Y=matrix("y", n, widths[-1]),
            taps={l: matrix(f"tap{l}", n, widths[l]) for l in layers},
        )


def outputs_by_hand(
    W: Mapping[int, Array],
    X: Array,
    sigma: Callable[[int, list[Any]], list[Any]],
    taps: Mapping[int, Array],
) -> list[list[Any]]:
    """h(X) with plain sums: no matrix product, and none of refbp."""

    def through_layer(l: int, z: list[Any], tap: Array) -> list[Any]:
        sums = [sum(z_k * w for z_k, w in zip(z, column, strict=True)) for column in W[l].T]
        return sigma(l, [a + t for a, t in zip(sums, tap, strict=True)])

    rows = [list(row) for row in X]
    for l in range(1, len(W) + 1):
        rows = [through_layer(l, z, tap) for z, tap in zip(rows, taps[l], strict=True)]
    return rows


def pairs(h: list[list[Any]], Y: Array) -> list[tuple[Any, Any]]:
    """(h(x_i)_j, y_ij) for every i and j."""
    return list(zip(itertools.chain(*h), Y.ravel(), strict=True))


def mse_by_hand(h: list[list[Any]], Y: Array) -> Any:
    """Step 1, with a sum over the outputs: Σ_i Σ_j (h(x_i)_j − y_ij)² / n."""
    return sum((z - y) ** 2 for z, y in pairs(h, Y)) / sympy.Integer(len(h))


def assert_identical(name: str, got: Array, expected: Array) -> None:
    """Every entry's difference is the zero expression."""
    assert got.shape == expected.shape, name
    for index in np.ndindex(got.shape):
        assert sympy.expand(got[index] - expected[index]) == 0, f"{name}{list(index)}"


def prove(
    widths: tuple[int, ...],
    n: int,
    backward: Backward = backward_prop,
    transition: Callable[[int], Transition] = undetermined,
    loss_function: LossFunction = MSE,
    loss_by_hand: Callable[[list[list[Any]], Array], Any] = mse_by_hand,
) -> None:
    """Every ∂L/∂W_l and every δ_l is the derivative of L, identically."""
    network = Symbols.of(widths, n)
    sigma = {l: transition(l) for l in network.W}
    A, Z = forward_pass(network.W, network.X, sigma)
    delta, dL_dW = backward(network.W, A, Z, network.Y, sigma, loss_function)

    def plain(l: int, row: list[Any]) -> list[Any]:
        if isinstance(sigma[l], RowWise):
            return sigma[l].outputs(row)
        return [sympy.Function(f"sigma_{l}")(a) for a in row]

    tapped = loss_by_hand(outputs_by_hand(network.W, network.X, plain, network.taps), network.Y)
    untap = {t: sympy.Integer(0) for T in network.taps.values() for t in T.ravel()}
    value = tapped.xreplace(untap)
    assert sympy.expand(loss_function(Z[len(sigma)], network.Y) - value) == 0
    for l in network.W:
        by_weights = entrywise(value.diff)(network.W[l])
        by_taps = entrywise(lambda t: tapped.diff(t).xreplace(untap))(network.taps[l])
        assert_identical(f"dL_dW[{l}]", dL_dW[l], by_weights)
        assert_identical(f"delta[{l}]", delta[l], by_taps)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_backward_prop_is_the_derivative_for_every_sigma(widths: tuple[int, ...]) -> None:
    prove(widths, n=2)


@pytest.mark.parametrize("widths", [(2, 3), (2, 3, 2)], ids=str)
def test_backward_prop_is_the_derivative_for_every_sigma_and_every_loss(
    widths: tuple[int, ...],
) -> None:
    prove(
        widths,
        n=2,
        loss_function=UndeterminedLoss(),
        loss_by_hand=lambda h, Y: sympy.Function("L")(*itertools.chain(*h)),
    )


@pytest.mark.parametrize(("widths", "n"), [((2, 3), 2), ((2, 3, 2), 1)], ids=str)
def test_backward_prop_is_the_derivative_for_every_row_wise_sigma(
    widths: tuple[int, ...], n: int
) -> None:
    prove(widths, n, transition=RowWise)


# ---- Fractions: no error at all ----------------------------------------------------------------


@dataclass(frozen=True)
class Dual:
    """value + slope·ε with ε² = 0, both exact: the slope is the derivative, by no rule of refbp."""

    value: Fraction
    slope: Fraction = Fraction(0)

    def __add__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __sub__(self, other: Any) -> Dual:
        return self + dual(other) * -1

    def __pow__(self, exponent: int) -> Dual:
        product = Dual(Fraction(1))
        for _ in range(exponent):
            product = product * self
        return product

    __radd__, __rmul__ = __add__, __mul__


def dual(value: Any) -> Dual:
    return value if isinstance(value, Dual) else Dual(Fraction(value))


POLYNOMIALS = {
    "a³ − a": (lambda a: a**3 - a, lambda a: 3 * a**2 - 1),
    "identity": (lambda a: a, lambda a: Fraction(1)),
    "a² + 2a": (lambda a: a**2 + 2 * a, lambda a: 2 * a + 2),
}


def polynomial(name: str) -> Elementwise:
    p, slope = POLYNOMIALS[name]
    return Elementwise(name, entrywise(p), entrywise(slope))


def fractions(seed: int, rows: int, columns: int) -> Array:
    numbers = np.random.default_rng(seed).integers(-9, 10, (rows, columns))
    return entrywise(lambda k: Fraction(int(k), 4))(numbers)


def loss_in_duals(W: Layers, X: Array, Y: Array, names: Mapping[int, str], taps: Layers) -> Dual:
    def plain(l: int, row: list[Any]) -> list[Any]:
        return [POLYNOMIALS[names[l]][0](a) for a in row]

    h = outputs_by_hand(W, X, plain, taps)
    total = sum(((z - y) ** 2 for z, y in pairs(h, Y)), start=Dual(Fraction(0)))
    return total * Fraction(1, len(X))


def derivative(by: Array, loss_of: Callable[[Array], Dual]) -> Array:
    """∂L/∂`by`, entry by entry: each in turn is given the slope 1."""
    slopes = np.empty(by.shape, dtype=object)
    for index in np.ndindex(by.shape):
        seeded = entrywise(dual)(by)
        seeded[index] = Dual(seeded[index].value, Fraction(1))
        slopes[index] = loss_of(seeded).slope
    return slopes


def prove_exactly(
    widths: tuple[int, ...], n: int, names: Mapping[int, str], backward: Backward = backward_prop
) -> None:
    """Every ∂L/∂W_l and every δ_l equals the derivative, as fractions."""
    layers = range(1, len(widths))
    W = {l: fractions(l, widths[l - 1], widths[l]) for l in layers}
    X, Y = fractions(0, n, widths[0]), fractions(99, n, widths[-1])
    zeros = {l: entrywise(Fraction)(np.zeros((n, widths[l]), dtype=int)) for l in layers}
    sigma = {l: polynomial(names[l]) for l in layers}
    A, Z = forward_pass(W, X, sigma)
    delta, dL_dW = backward(W, A, Z, Y, sigma, MSE)
    assert MSE(Z[len(W)], Y) == loss_in_duals(W, X, Y, names, zeros).value
    for l in layers:
        by_weights = derivative(W[l], lambda M: loss_in_duals({**W, l: M}, X, Y, names, zeros))  # noqa: B023
        by_taps = derivative(zeros[l], lambda T: loss_in_duals(W, X, Y, names, {**zeros, l: T}))  # noqa: B023
        assert dL_dW[l].tolist() == by_weights.tolist(), f"dL_dW[{l}]"
        assert delta[l].tolist() == by_taps.tolist(), f"delta[{l}]"
        assert {type(entry) for entry in dL_dW[l].ravel()} == {Fraction}


@pytest.mark.parametrize("widths", [(3, 2), (2, 3, 2), (2, 3, 1, 2), (2, 1, 3, 2, 1)], ids=str)
@pytest.mark.parametrize("hidden", POLYNOMIALS)
def test_backward_prop_has_no_error_in_fractions(widths: tuple[int, ...], hidden: str) -> None:
    L = len(widths) - 1
    prove_exactly(widths, 3, {**dict.fromkeys(range(1, L), hidden), L: "identity"})
    prove_exactly(widths, 2, dict.fromkeys(range(1, L + 1), hidden))


# ---- The proofs are proofs: mistakes that must be found ----------------------------------------


def printed_weights(
    W: Layers, A: Layers, Z: Layers, Y: Array, sigma: Mapping[int, Transition], loss: LossFunction
) -> tuple[Layers, Layers]:
    """BACKWARDPROP as printed: W_l where W_{l+1} is due."""
    L = len(W)
    delta = {L: sigma[L].vjp(A[L], loss.gradient(Z[L], Y))}
    for l in range(L - 1, 0, -1):
        delta[l] = sigma[l].vjp(A[l], delta[l + 1] @ W[l].T)
    return delta, {l: Z[l - 1].T @ delta[l] for l in W}


def one_entry_off(*arguments: Any) -> tuple[Layers, Layers]:
    """One entry of one δ_l wrong by one part in 10^12."""
    delta, dL_dW = backward_prop(*arguments)
    delta[1][1, 1] *= 1 + Fraction(1, 10**12)
    return delta, dL_dW


def gradient_transposed(*arguments: Any) -> tuple[Layers, Layers]:
    """∂L/∂W_1 transposed, which square layers let through unseen."""
    delta, dL_dW = backward_prop(*arguments)
    return delta, {**dL_dW, 1: dL_dW[1].T}


MISTAKES = [
    pytest.param(printed_weights, r"dL_dW\[1\]", id="W_l for W_{l+1}"),
    pytest.param(one_entry_off, r"delta\[1\]", id="one entry off by 1e-12"),
    pytest.param(gradient_transposed, r"dL_dW\[1\]", id="transposed"),
]


@pytest.mark.parametrize(("mistake", "where"), MISTAKES)
def test_the_symbolic_proof_rejects(mistake: Backward, where: str) -> None:
    with pytest.raises(AssertionError, match=where):
        prove(SQUARE, n=2, backward=mistake)


@pytest.mark.parametrize(("mistake", "where"), MISTAKES)
def test_the_exact_proof_rejects(mistake: Backward, where: str) -> None:
    names = {1: "a³ − a", 2: "a³ − a", 3: "identity"}
    with pytest.raises(AssertionError, match=where):
        prove_exactly(SQUARE, 2, names, backward=mistake)


def test_the_proofs_accept_the_same_square_network() -> None:
    """So that what rejects the mistakes above is the mistake and not the network."""
    prove(SQUARE, n=2)
    prove_exactly(SQUARE, 2, {1: "a³ − a", 2: "a³ − a", 3: "identity"})
