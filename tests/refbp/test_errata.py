"""Each erratum: the printed form is wrong, the corrected one is the derivative, `holds` is true.

The derivative is SymPy's, of L written out, at rational numbers: exact, and no line of refbp in it.
"""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

from refbp.activations import Elementwise, activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.bias import absorb, split, with_constant_units, with_ones
from refbp.errata import ERRATA, hadamard
from refbp.losses import loss
from refbp.types import Array, InputError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errata.md"
MSE = loss("mean_squared_error")


def entrywise(function: Callable[[Any], Any]) -> Callable[[Array], Array]:
    return np.vectorize(function, otypes=[object])


def f(a: Any) -> Any:
    """σ(a) = a³ − a, on numbers and on symbols."""
    return a**3 - a


CUBIC = Elementwise("cubic", entrywise(f), entrywise(lambda a: 3 * a**2 - 1))
IDENTITY = Elementwise("identity", entrywise(lambda a: a), entrywise(lambda a: sympy.Integer(1)))


def rationals(seed: int, rows: int, columns: int) -> Array:
    """Quarters, none of them 0, ±1 or ±1/√3, where σ or σ' would vanish."""
    numbers = np.random.default_rng(seed).choice([-7, -5, -3, 2, 3, 5, 6, 7], (rows, columns))
    return entrywise(lambda k: sympy.Rational(int(k), 4))(numbers)


def derivative(function: Callable[[Array], Any], at: Array) -> Array:
    """∂function/∂at, for a function that returns one number."""
    symbols = np.array(sympy.symbols(f"s:{at.size}"), dtype=object).reshape(at.shape)
    value = function(symbols)
    here = dict(zip(symbols.ravel(), at.ravel(), strict=True))
    return entrywise(lambda s: value.diff(s).subs(here))(symbols)


def jacobian(function: Callable[[Array], Array], at: Array) -> Array:
    """∂function_i/∂at_j of a column by a column."""
    rows = range(function(at).shape[0])
    return np.vstack([derivative(lambda s, i=i: function(s)[i, 0], at).T for i in rows])


def both(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return ERRATA[name].printed, ERRATA[name].corrected


def squared_error(z: Array, y: Array) -> Any:
    return sum((a - b) ** 2 for a, b in zip(z.ravel(), y.ravel(), strict=True))


def same(P: Any, Q: Any) -> bool:
    return np.shape(P) == np.shape(Q) and np.asarray(P).tolist() == np.asarray(Q).tolist()


class Column:
    """One example at one layer l: z_{l-2}, W_{l-1}, a_{l-1}, z_{l-1}, W_l, link ∂L/∂a_l."""

    def __init__(self, d_l: int, d_before: int, d_two_before: int = 3) -> None:
        self.z_two_before = rationals(1, d_two_before, 1)
        self.W_before = rationals(2, d_before, d_two_before)
        self.a_before = self.W_before @ self.z_two_before
        self.z_before = entrywise(f)(self.a_before)
        self.W_l = rationals(3, d_l, d_before)
        self.a_l = self.W_l @ self.z_before
        self.y = rationals(4, d_l, 1)
        self.link = derivative(lambda a: squared_error(entrywise(f)(a), self.y), self.a_l)

    def loss_from_a_before(self, a_before: Array, W_l: Array | None = None) -> Any:
        W_l = self.W_l if W_l is None else W_l
        return squared_error(entrywise(f)(W_l @ entrywise(f)(a_before)), self.y)

    def true_link_before(self) -> Array:
        return derivative(self.loss_from_a_before, self.a_before)


# ---- Step 0 ------------------------------------------------------------------------------------


def test_bias_absorbed() -> None:
    erratum = ERRATA["bias-absorbed"]
    W = {1: np.array([[1.0, -2.0]]), 2: np.array([[3.0], [0.5]])}
    b = {1: np.array([0.25, -0.75]), 2: np.array([2.0])}
    X = np.array([[0.5], [-1.5]])
    for hidden in ("tanh", "relu"):
        sigma = {1: activation(hidden), 2: activation("identity")}
        biased = sigma[1](X @ W[1] + b[1]) @ W[2] + b[2]
        arguments = absorb(W, b), with_ones(X), sigma
        np.testing.assert_allclose(erratum.corrected(*arguments), biased, rtol=1e-15)
        # It holds for ReLU, for relu(1) = 1, and not for tanh.
        close = np.allclose(erratum.printed(*arguments), biased, rtol=1e-15)
        assert close == (hidden == "relu")


def test_bias_absorbed_holds_for_one_layer() -> None:
    erratum = ERRATA["bias-absorbed"]
    arguments = (
        absorb({1: np.array([[2.0, 3.0]])}, {1: np.array([1.0, -1.0])}),
        with_ones(np.array([[0.5]])),
        {1: activation("tanh")},
    )
    assert same(erratum.printed(*arguments), erratum.corrected(*arguments))
    assert same(erratum.printed(*arguments), np.tanh([[2.0, 0.5]]))


def test_bias_absorbed_where_the_output_holds_the_gradient_does_not() -> None:
    """With ReLU as it is, ∂L/∂W̃_1 has a constant column that is not 0: the update would move it."""
    W, b = {1: np.array([[1.0]]), 2: np.array([[3.0]])}, {1: np.ones(1), 2: np.ones(1)}
    sigma = {1: activation("relu"), 2: activation("identity")}
    W_tilde, X, Y = absorb(W, b), with_ones(np.array([[0.5]])), np.array([[0.0]])

    def gradient(sigma: Any) -> Any:
        A, Z = forward_pass(W_tilde, X, sigma)
        return backward_prop(W_tilde, A, Z, Y, sigma, MSE)[1]

    assert gradient(sigma)[1][:, -1].all()
    with pytest.raises(InputError, match="the constant unit has been changed"):
        split(gradient(sigma))
    assert not gradient(with_constant_units(sigma))[1][:, -1].any()


def test_weights_of_one_example() -> None:
    erratum = ERRATA["weights-of-one-example"]
    for d_before, d_l in ((2, 2), (2, 3)):
        W_l, z = rationals(5, d_before, d_l), rationals(6, d_before, 1)
        # In the batch form the example is the row zᵀ, and entry j of a_l is Σ_k z_k W_kj.
        expected = [[sum(z[k, 0] * W_l[k, j] for k in range(d_before))] for j in range(d_l)]
        assert same(erratum.corrected(W_l, z), expected)
        if d_before == d_l:
            assert not same(erratum.printed(W_l, z), expected)  # silently
        else:
            with pytest.raises(ValueError, match="matmul"):
                erratum.printed(W_l, z)
        assert same(erratum.printed(W_l.T, z), expected)  # W_l d_l×d_{l-1}, as in Step 0
    square = rationals(7, 2, 2)
    symmetric = square + square.T
    z = rationals(6, 2, 1)
    assert same(erratum.printed(symmetric, z), erratum.corrected(symmetric, z))


def test_forward_returns() -> None:
    """Two batches with one Z_L and two gradients: BACKWARDPROP needs more than Z_L."""
    erratum = ERRATA["forward-returns"]
    W, sigma = {1: np.array([[1.0], [1.0]])}, {1: activation("identity")}
    X, X_other, Y = np.array([[1.0, 2.0]]), np.array([[2.0, 1.0]]), np.array([[0.0]])
    assert same(erratum.printed(W, X, sigma), erratum.printed(W, X_other, sigma))
    gradients = [
        backward_prop(W, *erratum.corrected(W, batch, sigma), Y, sigma, MSE)[1][1]
        for batch in (X, X_other)
    ]
    assert not same(*gradients)
    expected = derivative(lambda M: squared_error(X @ M, Y), W[1])
    np.testing.assert_array_equal(gradients[0], expected.astype(float))
    with pytest.raises(InputError, match="A is a ndarray; expected a dict"):
        backward_prop(W, erratum.printed(W, X, sigma), {}, Y, sigma, MSE)


def test_forward_returns_holds_for_the_output() -> None:
    erratum = ERRATA["forward-returns"]
    W, sigma, X = {1: np.array([[3.0]])}, {1: activation("tanh")}, np.array([[0.5]])
    assert same(erratum.printed(W, X, sigma), erratum.corrected(W, X, sigma)[1][1])


# ---- Step 1 ------------------------------------------------------------------------------------


def test_loss_of_one_output() -> None:
    erratum = ERRATA["loss-of-one-output"]
    Z, Y = rationals(1, 3, 2), rationals(2, 3, 2)
    assert erratum.printed(Z, Y).shape == (2,)  # two numbers, and a loss is one
    by_hand = sum((Z[i, j] - Y[i, j]) ** 2 for i in range(3) for j in range(2)) / 3
    assert erratum.corrected(Z, Y) == by_hand == MSE(Z, Y)
    assert same(MSE.gradient(Z, Y), derivative(lambda S: erratum.corrected(S, Y), Z))


def test_loss_of_one_output_holds_for_one_output() -> None:
    erratum = ERRATA["loss-of-one-output"]
    Z, Y = rationals(1, 3, 1), rationals(2, 3, 1)
    assert erratum.printed(Z, Y).tolist() == [erratum.corrected(Z, Y)]


def test_targets_in_rn() -> None:
    erratum = ERRATA["targets-in-rn"]
    for n in (1, 3):
        Z, y = rationals(1, n, 1), rationals(2, n, 1)[:, 0]
        by_hand = sum((Z[i, 0] - y[i]) ** 2 for i in range(n)) / n
        assert erratum.corrected(Z, y) == by_hand == MSE(Z, y)
        assert (Z - y).shape == (n, n)
        assert (erratum.printed(Z, y) == by_hand) == (n == 1)


# ---- Key Points, Steps 2 and 2a ----------------------------------------------------------------


def test_weight_gradient() -> None:
    erratum = ERRATA["weight-gradient"]
    for d_l, d_before in ((2, 3), (2, 2), (1, 1)):
        at = Column(d_l, d_before)
        true = derivative(
            lambda M, at=at: squared_error(entrywise(f)(M @ at.z_before), at.y), at.W_l
        )
        assert same(erratum.corrected(at.link, at.z_before), true)
        assert same(at.link * at.z_before.T, true)  # NumPy's *, stretching column and row
        if d_l == d_before == 1:
            assert same(erratum.printed(at.link, at.z_before), true)
        else:
            with pytest.raises(InputError, match="⊙ has the shapes"):
                erratum.printed(at.link, at.z_before)


def test_weight_gradient_in_a_batch_is_silently_wrong_where_n_and_the_widths_agree() -> None:
    delta, Z_before = rationals(1, 2, 2), rationals(2, 2, 2)
    assert not same(ERRATA["weight-gradient"].printed(delta, Z_before), Z_before.T @ delta)


def test_chain_rule() -> None:
    erratum = ERRATA["chain-rule"]
    for d_l, d_before in ((2, 3), (2, 2), (2, 1), (1, 1)):
        at = Column(d_l, d_before)
        J = jacobian(lambda a, at=at: at.W_l @ entrywise(f)(a), at.a_before)
        assert same(erratum.corrected(at.link, J), at.true_link_before())
        if d_before == 1:  # the shapes fit, and the result is d_l×1
            holds = same(erratum.printed(at.link, J), at.true_link_before())
            assert holds == (d_l == 1)
        else:
            with pytest.raises(InputError, match="⊙ has the shapes"):
                erratum.printed(at.link, J)


def test_chain_rule_in_step_2a_needs_the_diagonal_for_dz_da() -> None:
    """∂z_4/∂a_4 is a matrix too; for elementwise σ its diagonal is σ', and ⊙ that is right."""
    erratum, at = ERRATA["chain-rule"], Column(2, 3)
    dL_dz = derivative(lambda z: squared_error(z, at.y), entrywise(f)(at.a_l))
    J = jacobian(entrywise(f), at.a_l)
    assert same(erratum.corrected(dL_dz, J), at.link)
    assert same(hadamard(dL_dz, np.diag(J).reshape(-1, 1)), at.link)
    with pytest.raises(InputError, match="⊙ has the shapes"):
        erratum.printed(dL_dz, J)


def order_of_updates(L: int, alpha: Any) -> tuple[Any, Any, Any]:
    """The updated weights as printed, as corrected, and by SymPy."""
    widths = [2, 3, 2][: L + 1]
    W = {l: rationals(l, widths[l - 1], widths[l]) for l in range(1, L + 1)}
    X, Y = rationals(8, 2, 2), rationals(9, 2, widths[L])
    sigma = {l: CUBIC if l < L else IDENTITY for l in W}

    def loss_of(l: int, M: Array) -> Any:
        Z = X
        for k in range(1, L + 1):
            Z = Z @ (M if k == l else W[k])
            Z = entrywise(f)(Z) if k < L else Z
        return squared_error(Z, Y) / 2

    arguments = (W, *forward_pass(W, X, sigma), Y, sigma, MSE, alpha)
    printed, corrected = (form(*arguments) for form in both("update-order"))
    true = {l: W[l] - alpha * derivative(lambda M, l=l: loss_of(l, M), W[l]) for l in W}
    return printed, corrected, true


def test_update_order() -> None:
    printed, corrected, true = order_of_updates(2, sympy.Rational(1, 8))
    assert all(same(corrected[l], true[l]) for l in true)
    assert same(printed[2], true[2])
    assert not same(printed[1], true[1])


@pytest.mark.parametrize(("L", "alpha"), [(1, sympy.Rational(1, 8)), (2, sympy.Integer(0))])
def test_update_order_holds_for_one_layer_or_no_step(L: int, alpha: Any) -> None:
    printed, corrected, true = order_of_updates(L, alpha)
    assert all(same(printed[l], true[l]) and same(corrected[l], true[l]) for l in true)


def test_link_of_the_mean() -> None:
    printed, corrected = both("link-of-the-mean")
    for n in (1, 3):
        A, Y = rationals(1, n, 2), rationals(2, n, 2)
        true = derivative(lambda S, Y=Y, n=n: squared_error(entrywise(f)(S), Y) / n, A)
        arguments = entrywise(f)(A), Y, A, CUBIC
        assert same(corrected(*arguments), true)
        assert same(printed(*arguments), n * true)  # n times too large


def softmax_link(d_L: int) -> tuple[Array, Array, Array]:
    """A, G = ∂L/∂Z, and ∂L/∂A of Σ G ⊙ softmax(A) to 30 digits by SymPy."""
    A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])[:, :d_L]
    G = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]])[:, :d_L]

    def value(S: Array) -> Any:
        exponentials = entrywise(sympy.exp)(S)
        return (G * exponentials / exponentials.sum(axis=1, keepdims=True)).sum()

    return A, G, derivative(value, entrywise(sympy.Rational)(A)).astype(float)


def test_row_wise_link() -> None:
    printed, corrected = both("row-wise-link")
    A, G, true = softmax_link(3)
    softmax = activation("softmax")
    np.testing.assert_allclose(corrected(A, G, softmax), true, rtol=1e-13)
    assert (abs(printed(A, G, softmax) - true) > 0.01).all()


def test_row_wise_link_holds_for_one_output_and_for_elementwise_sigma() -> None:
    printed, corrected = both("row-wise-link")
    A, G, true = softmax_link(1)
    for form in (printed, corrected):
        np.testing.assert_array_equal(form(A, G, activation("softmax")), true)
    A, G = rationals(1, 2, 3), rationals(2, 2, 3)
    true = derivative(lambda S: (G * entrywise(f)(S)).sum(), A)
    assert same(printed(A, G, CUBIC), true)
    assert same(corrected(A, G, CUBIC), true)


def test_da_dw() -> None:
    printed, corrected = both("da-dW")
    for d_l in (1, 2):
        W_l, z, link = rationals(1, d_l, 3), rationals(2, 3, 1), rationals(3, d_l, 1)
        true = np.stack([derivative(lambda M, i=i, z=z: (M @ z)[i, 0], W_l) for i in range(d_l)])
        assert same(corrected(d_l, z), true)
        assert printed(d_l, z).shape == (1, 3)
        assert (printed(d_l, z).tolist() == true[0].tolist()) == (d_l == 1)
        # As a shorthand it holds: ∂L/∂a_l zᵀ is ∂L/∂a_l contracted with the three indices.
        assert same(link @ printed(d_l, z), np.tensordot(link[:, 0], true, axes=1))


# ---- Steps 2b and 2c ---------------------------------------------------------------------------


def test_da_da() -> None:
    printed, corrected = both("da-da")
    for d_l, d_before in ((2, 3), (2, 2), (3, 1), (1, 1)):
        at = Column(d_l, d_before)
        true = jacobian(lambda a, at=at: at.W_l @ entrywise(f)(a), at.a_before)
        arguments = at.W_l, at.a_before, CUBIC
        assert same(corrected(*arguments), true)
        assert printed(*arguments).shape == (d_l, 1)
        assert same(printed(*arguments), true) == (d_before == 1)


def test_link() -> None:
    printed, corrected = both("link")
    for d_l, d_before in ((2, 3), (1, 3), (2, 2), (1, 1)):
        at = Column(d_l, d_before)
        arguments = at.W_l, at.link, at.a_before, CUBIC
        assert same(corrected(*arguments), at.true_link_before())
        assert printed(*arguments).shape == (d_l, 1)  # it always runs, and d_{l-1}×1 is due
        assert same(printed(*arguments), at.true_link_before()) == (d_l == d_before == 1)


def diagonal() -> Column:
    """A layer whose W_l is diagonal, with its link."""
    at = Column(2, 2)
    at.W_l = np.diag(np.diag(at.W_l))
    at.link = derivative(lambda a: squared_error(entrywise(f)(a), at.y), at.W_l @ at.z_before)
    return at


def test_link_holds_for_diagonal_weights() -> None:
    printed, corrected = both("link")
    at = diagonal()
    arguments = at.W_l, at.link, at.a_before, CUBIC
    assert same(printed(*arguments), at.true_link_before())
    assert same(corrected(*arguments), at.true_link_before())


def test_weight_gradient_below() -> None:
    printed, corrected = both("weight-gradient-below")
    for at, holds in (
        (Column(2, 3), False),
        (Column(1, 3), False),
        (Column(2, 2), False),
        (Column(1, 1), True),
        (diagonal(), True),
    ):
        true = derivative(lambda M, at=at: at.loss_from_a_before(M @ at.z_two_before), at.W_before)
        arguments = at.W_l, at.link, at.a_before, at.z_two_before, CUBIC
        assert same(corrected(*arguments), true)
        assert same(printed(*arguments), true) == holds


def test_weight_gradient_below_is_taken_by_the_update_where_there_is_one_output() -> None:
    """1×d_{l-2} where d_{l-1}×d_{l-2} is due: NumPy's subtraction stretches it unsaid."""
    printed, corrected = both("weight-gradient-below")
    at = Column(1, 3)
    arguments = at.W_l, at.link, at.a_before, at.z_two_before, CUBIC
    wrong = at.W_before - 0.5 * printed(*arguments)
    right = update({1: at.W_before}, {1: corrected(*arguments)}, 0.5)[1]
    assert wrong.shape == right.shape
    assert not same(wrong, right)
    with pytest.raises(InputError):  # but not refbp's own
        update({1: at.W_before}, {1: printed(*arguments)}, 0.5)


def test_layers_with_a_link() -> None:
    """Links are of a_1 … a_{L-1}, beside a_L's from Step 2a: the l with ∂L/∂a_{l-1} follow."""
    printed, corrected = both("layers-with-a-link")
    for L in (1, 2, 3, 4):
        due = [link + 1 for link in range(1, L)]
        assert corrected(L) == due
        assert (printed(L) == due) == (L == 1)
        assert [l - 1 for l in printed(L)] == list(range(L - 1))  # from a_0, without a_{L-1}


# ---- BACKWARDPROP ------------------------------------------------------------------------------


def test_loop() -> None:
    printed, corrected = both("loop")
    assert [printed(L) for L in (1, 2, 3, 4)] == [[0, 1], [1], [], []]
    assert [corrected(L) for L in (1, 2, 3, 4)] == [[], [1], [2, 1], [3, 2, 1]]


def deltas(widths: tuple[int, int, int, int], tied: bool = False) -> tuple[Any, Any]:
    """The arguments for δ_2 of three layers, and δ_2 by SymPy."""
    W = {l: rationals(l, widths[l - 1], widths[l]) for l in (1, 2, 3)}
    if tied:
        W[3] = W[2]
    A_2, Y = rationals(4, 2, widths[2]), rationals(5, 2, widths[3])
    A_3 = entrywise(f)(A_2) @ W[3]
    delta_3 = derivative(lambda S: squared_error(entrywise(f)(S), Y) / 2, A_3)
    true = derivative(lambda S: squared_error(entrywise(f)(entrywise(f)(S) @ W[3]), Y) / 2, A_2)
    return (W, 2, delta_3, A_2, CUBIC), true


def test_delta_weights_is_silently_wrong_with_square_layers() -> None:
    printed, corrected = both("delta-weights")
    arguments, true = deltas((2, 2, 2, 2))
    assert same(corrected(*arguments), true)
    assert printed(*arguments).shape == true.shape
    assert not same(printed(*arguments), true)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        pytest.param((2, 3, 2, 1), "matmul", id="d_2 is not d_3"),
        pytest.param((2, 3, 2, 2), "⊙ has the shapes", id="d_1 is not d_2"),
        pytest.param((2, 1, 2, 2), "⊙ has the shapes", id="d_1 is 1, which * would stretch"),
    ],
)
def test_delta_weights_does_not_fit_otherwise(widths: Any, message: str) -> None:
    printed, corrected = both("delta-weights")
    arguments, true = deltas(widths)
    assert same(corrected(*arguments), true)
    with pytest.raises(ValueError, match=message):
        printed(*arguments)


def test_delta_weights_holds_for_tied_weights() -> None:
    printed, corrected = both("delta-weights")
    arguments, true = deltas((2, 2, 2, 2), tied=True)
    assert same(printed(*arguments), true)
    assert same(corrected(*arguments), true)


# ---- The table and the page --------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRATA)
def test_every_erratum_has_its_test(name: str) -> None:
    prefix = "test_" + name.replace("-", "_").lower()
    assert any(test.startswith(prefix) for test in globals())


@pytest.mark.parametrize("erratum", ERRATA.values(), ids=ERRATA)
def test_the_corrected_form_is_a_line_of_refbp(erratum: Any) -> None:
    file, line = erratum.source
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert line in {text.strip() for text in lines}


def sections() -> dict[str, str]:
    """The page's text under each `## id` heading."""
    parts = re.split(r"^## `(.+?)`.*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_has_every_erratum_in_order() -> None:
    assert list(sections()) == list(ERRATA)


@pytest.mark.parametrize("erratum", ERRATA.values(), ids=ERRATA)
def test_the_page_says_what_the_table_says(erratum: Any) -> None:
    section = sections()[erratum.id]
    for text in (
        erratum.where,
        f"$${erratum.printed_form}$$",
        erratum.verdict,
        erratum.holds,
        f"$${erratum.corrected_form}$$",
        f"`{erratum.source[0]}`",
        f"`{erratum.source[1]}`",
    ):
        assert text in section
    assert "```python\n>>>" in section


def test_every_number_on_the_page_is_what_its_code_prints() -> None:
    names: dict[str, Any] = {}
    runner = doctest.DocTestRunner()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    with np.printoptions():  # the page sets its own, and they must not outlive it
        for number, block in enumerate(blocks):
            name = f"block {number} of the page"
            test = doctest.DocTestParser().get_doctest(block, names, name, str(PAGE), 0)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
    assert runner.summarize(verbose=False).failed == 0
    assert len(blocks) > len(ERRATA)  # one each at least, and the imports


def test_hadamard_is_element_by_element_and_stretches_nothing() -> None:
    assert hadamard(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])).tolist() == [[3.0, 8.0]]
    with pytest.raises(InputError) as refusal:
        hadamard(np.ones((2, 1)), np.ones((1, 2)))
    assert refusal.value.args == ("⊙ has the shapes (2, 1) and (1, 2); expected one shape.",)


@pytest.mark.parametrize("module", ["bias", "errata", "network", "single_example"])
def test_the_examples_in_the_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"refbp.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
