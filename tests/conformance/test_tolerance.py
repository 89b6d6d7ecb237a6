"""The tolerances: each formula on numbers worked out by hand, and that they hold and are tight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from conformance import spread as spread_module
from conformance.cases import Case, cycle, find
from conformance.implementations import implementation
from conformance.judge import Subject
from conformance.known_differences import amend
from conformance.problem import Problem
from conformance.spread import LAMBDA, Spread, spread
from conformance.tolerance import (
    Accuracy,
    Arithmetic,
    StepTolerance,
    accuracy,
    inner,
    loss_curvature,
    loss_gradient_size,
    loss_terms,
)
from conformance.truth.balls import Enclosure
from conformance.truth.definitions import LOSSES
from conformance.truth.network import Layer, Steps, trace

U = 2.0**-53
TINY = 5e-324
NORMAL = 2.0**-1022
PLAIN = amend(())


def near(x: Any, rel: float = 1e-6) -> Any:
    """pytest's approx without its absolute 1e-12, beside which all that is compared here is nothing."""
    return pytest.approx(x, rel=rel, abs=0)


# --- constants ------------------------------------------------------------------------------------


def test_the_arithmetic_of_a_dtype() -> None:
    assert Arithmetic.of(np.dtype("float64")) == Arithmetic(2.0**-53, TINY, NORMAL)
    assert Arithmetic.of(np.dtype("float32")) == Arithmetic(2.0**-24, 2.0**-149, 2.0**-126)
    assert Arithmetic.of(np.dtype("float64"), flushes=True) == Arithmetic(U, NORMAL, NORMAL)


def test_what_a_sum_may_lose() -> None:
    """k·u up to 86 terms, which is where λ√k is less; λ is that of 1e7 entries and 1e-9."""
    assert [inner(k, U) for k in (1, 2, 10, 80)] == [k * U for k in (1, 2, 10, 80)]
    for k in (100, 1000, 100_000):
        assert inner(k, U) == near(9.3 * math.sqrt(k) * U, rel=0.03)
    assert inner(1000, U) < 1000 * U
    values = [inner(k, 2.0**-24) for k in range(1, 300)]
    assert values == sorted(values)
    assert math.sqrt(2 * math.log(2 * 1e7 * 512 / 1e-9)) == near(9.3, rel=0.1)


@pytest.mark.parametrize("k", [3, 30, 1000, 20_000])
def test_a_sum_in_any_order_loses_less(k: int) -> None:
    """Positive numbers summed one by one in float32: the worst there is in practice."""
    rng = np.random.default_rng(k)
    x, y = rng.random((20, k)).astype("float32"), rng.random((20, k)).astype("float32")
    for terms in (x * y, np.sort(x * y, axis=1), -np.sort(-x * y, axis=1)):
        got = np.add.accumulate(terms, axis=1)[:, -1].astype(float)
        exact = (x.astype(float) * y.astype(float)).sum(axis=1)
        assert (np.abs(got - exact) <= inner(k, 2.0**-24) * exact).all()


def test_a_row_of_the_table_else_the_default() -> None:
    assert accuracy("refbp", "float64", "identity") == Accuracy(1, 0, 1, 0, 0, 0)
    assert accuracy("torch-cpu", "float64", "sigmoid").g > 0
    assert accuracy("somebody", "float64", "relu") == Accuracy(8, 0, 8, 4, 0, 0)
    assert accuracy("refbp", "float64", "cube") == Accuracy(8, 0, 8, 4, 0, 0)
    assert accuracy("refbp", "float16", "identity") == Accuracy(8, 0, 8, 4, 0, 0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sigma", ["tanh", "gelu_tanh", "gaussian", "mish", "relu"])
def test_somebody_is_held_to_the_widest_row(sigma: str, dtype: str) -> None:
    """Else a plain function that is as good as torch's could deviate."""
    widest = accuracy("somebody", dtype, sigma)
    for name in ("refbp", "torch-cpu", "jax-cpu", "jax-cpu-jit"):
        own = accuracy(name, dtype, sigma)
        assert all(getattr(widest, k) >= getattr(own, k) for k in ("c", "e", "c1", "g", "d", "f"))


# --- step by step, by hand ------------------------------------------------------------------------


def problem(
    W: Mapping[int, Any],
    X: Any,
    Y: Any,
    sigma: Mapping[int, str],
    loss: str = "mean_squared_error",
    bias: bool = False,
) -> Problem:
    return Problem(
        {l: np.array(M, float) for l, M in W.items()},
        np.array(X, float),
        np.array(Y, float),
        sigma,
        loss,
        bias,
        0.25,
    )


def bound(p: Problem, *rows: tuple[float, ...], fused: bool = False) -> StepTolerance:
    of = {l: Accuracy(*(rows[l - 1] if rows else (1, 0, 1, 0, 0, 0))) for l in p.W}
    return StepTolerance(p, Arithmetic.of(np.dtype("float64")), of, fused)


def exact(Z: Any, G: Any, delta: Any, D: Any = None) -> Layer:
    def e(M: Any) -> Enclosure:
        M = np.array(M, float)
        return Enclosure(M, np.zeros_like(M), np.zeros_like(M))

    return Layer(e(Z), e(delta), G, D)


ONE = problem({1: [[3.0], [-4.0]]}, [[1.0, -2.0]], [[1.0]], {1: "identity"})


def test_a_product() -> None:
    """2u(1·3 + 2·4) for A; one product for each entry of ∂L/∂W."""
    b = bound(ONE)
    assert b.pre_activation(1, ONE.X) == near(np.array([[2 * U * 11]]), rel=1e-12)
    assert b.weight_gradient(ONE.X, np.array([[-7.0]])) == near(
        np.array([[7 * U], [14 * U]]), rel=1e-12
    )
    assert b.pre_activation(1, np.zeros((1, 2))).item() == 2 * TINY


def test_a_product_with_a_bias_has_one_term_more() -> None:
    p = problem({1: [[3.0], [-4.0], [0.5]]}, [[1.0, -2.0]], [[1.0]], {1: "identity"}, bias=True)
    b = bound(p)
    assert b.pre_activation(1, p.X) == near(np.array([[3 * U * 11.5]]), rel=1e-12)
    assert b.weight_gradient(p.X, np.array([[-7.0]])) == near(
        np.array([[7 * U], [14 * U], [7 * U]]), rel=1e-12
    )


def test_an_activation() -> None:
    """u(c|σ| + e|a|)."""
    p = replace(ONE, sigma={1: "tanh"})
    of = exact([[0.5]], [[1.0]], [[0.75]], [[0.75]])
    assert bound(p, (3, 2, 0, 0, 0, 0)).activation(1, np.array([[-10.0]]), of) == near(
        np.array([[U * (3 * 0.5 + 2 * 10)]])
    )
    zero = exact([[0.0]], [[1.0]], [[1.0]], [[1.0]])
    assert bound(p).activation(1, np.array([[0.0]]), zero).item() == 4 * TINY
    assert (
        bound(p).activation(1, np.array([[-1.0]]), zero).item() == 2 * NORMAL
    )  # e^a may underflow
    assert (
        bound(ONE).activation(1, np.array([[-1.0]]), zero).item() == 8 * TINY
    )  # not in sums alone


def test_a_link() -> None:
    """|G| t_D + |D| t_G + 2u|GD| with t_G = 2·(3u) |δ||W|ᵀ for two units above."""
    p = problem({1: [[1.0]], 2: [[3.0, -4.0]]}, [[1.0]], [[0.0, 0.0]], {1: "tanh", 2: "identity"})
    after, G, D = np.array([[1.0, 0.5]]), 3 - 2.0, 0.25
    of = exact([[0.5]], [[G]], [[G * D]], [[D]])
    t_G = 2 * U * (3 + 2)
    t_D = U * (5 * D + 13 * 0.5 + 7 + 11 * 2)
    found = bound(p, (1, 0, 5, 13, 7, 11), (1, 0, 1, 0, 0, 0)).link(
        1, np.array([[-2.0]]), after, of
    )
    assert found == near(np.array([[G * t_D + D * t_G + 2 * U * G * D]]), rel=0.02)


def test_the_link_of_the_output_layer() -> None:
    """∂L/∂Z = 2(z − y)/n is good to five roundings."""
    of = exact([[3.0]], [[4.0]], [[4.0]], [[1.0]])
    found = bound(ONE).link(1, np.array([[3.0]]), np.array([[3.0]]), of)
    assert found == near(np.array([[U * (5 * 4 + 4 + 2 * 4)]]), rel=0.01)


ROW = np.log(np.array([[1.0, 2.0, 5.0]]))  # softmax is [1/8, 2/8, 5/8]
BELOW = np.log(np.array([[5.0, 2.5, 1.0]]))  # the maximum of the row, less the entry
SOFTMAX = np.array([[1, 2, 5]]) / 8


@pytest.mark.parametrize("sigma", ["softmax", "log_softmax"])
def test_a_row_wise_activation(sigma: str) -> None:
    """e^(a − max a) loses u(max a − a) more than its own rounding; a sum of m loses m."""
    p = problem({1: np.eye(3)}, ROW, SOFTMAX, {1: sigma}, "mean_squared_error")
    soft = sigma == "softmax"
    Z = SOFTMAX if soft else np.log(SOFTMAX)
    found = bound(p, (8, 0, 8, 4, 0, 0)).activation(1, ROW, exact(Z, Z, Z))
    expected = SOFTMAX * (8 + BELOW + 3) if soft else 8 * np.abs(Z) + BELOW + 3 + 2
    assert found == near(U * expected, rel=1e-12)


@pytest.mark.parametrize("sigma", ["softmax", "log_softmax"])
def test_a_row_wise_link(sigma: str) -> None:
    """s(G − Σ G s) and G − s Σ G, every s_j off by u(8 + m + below_j), and every G by 5u."""
    p = problem({1: np.eye(3)}, ROW, np.zeros((1, 3)), {1: sigma}, "mean_squared_error")
    after = np.array([[3.0, -1.0, 2.0]])
    G = np.abs(2 * after)
    G_off, s, r = 5 * U * G, SOFTMAX, U * (8 + 3 + BELOW)
    found = bound(p, (8, 0, 8, 4, 0, 0)).link(1, ROW, after, exact(s, G, G))
    if sigma == "softmax":
        shared = (G * s * (2 * r + 7 * U) + G_off * s + r * G * s).sum()
        expected = s * (r * G + G_off + 4 * U * G + shared)
    else:
        expected = 4 * U * G + G_off + s * ((r + 7 * U) * G.sum() + G_off.sum())
    assert found == near(expected, rel=1e-9)


def test_a_compiler_may_hand_on_what_it_has_not_rounded() -> None:
    """Then Z_L is off by u|z| in ∂L/∂Z_L alone, where its curvature is 2/n."""
    of = exact([[3.0]], [[4.0]], [[4.0]], [[1.0]])
    plain, fused = (
        bound(ONE, fused=f).link(1, np.array([[3.0]]), np.array([[3.0]]), of) for f in (False, True)
    )
    assert fused - plain == near(np.array([[2 * U * 3]]), rel=0.02)


def test_an_update() -> None:
    """A product and a difference, each rounded once; also where they have opposite signs."""
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        W = (rng.normal(size=(40, 50)) * 2.0 ** rng.integers(-8, 8, size=(40, 50))).astype(dtype)
        dW = (rng.normal(size=(40, 50)) * 2.0 ** rng.integers(-8, 8, size=(40, 50))).astype(dtype)
        p = Problem({1: W}, np.ones((1, 40), dtype), np.ones((1, 50), dtype), {1: "identity"},
                    "mean_squared_error", False, 0.125)  # fmt: skip
        p = replace(p, alpha=0.1)
        b = StepTolerance(p, Arithmetic.of(p.dtype), {1: Accuracy(1, 0, 1, 0, 0, 0)})
        got = W - W.dtype.type(0.1) * dW
        # α is not a float of that dtype here: its own rounding is not the update's
        exactly = W.astype(np.longdouble) - np.longdouble(float(W.dtype.type(0.1))) * dW
        allowed = b.updated(1, dW.astype(float))
        assert (np.abs(got - exactly) <= allowed).all()
        assert np.median(np.abs(got - exactly) / allowed) > 0.02
    assert bound(ONE).updated(1, np.zeros((2, 1))) == near(np.array([[3 * U], [4 * U]]), rel=0.02)


def test_the_loss() -> None:
    p = problem({1: [[1.0]]}, [[1.0], [1.0]], [[1.0], [3.0]], {1: "identity"})
    found = bound(p).loss(np.array([[2.0], [1.0]]))
    assert found == near(10 * U * (1 + 4) / 2, rel=1e-12)
    assert found.shape == ()


# --- losses ---------------------------------------------------------------------------------------

PAIRS = {
    "mean_squared_error": ([0.5, -3.0, 2.0], [0.25, 4.0, 2.0]),
    "mean_absolute_error": ([0.5, -3.0, 2.0], [0.25, 4.0, 1.0]),
    "huber": ([0.5, -3.0, 2.0], [0.25, 4.0, 2.5]),
    "cross_entropy": ([0.5, 0.25, 0.125], [1.0, 0.0, 0.5]),
    "log_softmax_cross_entropy": ([-0.5, -3.0, -2.0], [1.0, 0.0, 0.5]),
    "binary_cross_entropy": ([0.5, 0.25, 0.125], [1.0, 0.0, 0.5]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_sizes_of_a_loss(loss: str) -> None:
    """At least the terms, the gradient and the curvature themselves, and not much more."""
    z, y = PAIRS[loss]
    p = problem({1: np.eye(3)}, [z], [y], {1: "identity"}, loss)
    steps = Steps(p, PLAIN.maths)
    Z = np.array([z])
    gradient = np.abs(steps.layer(1, Z, Z).G)
    size = loss_gradient_size(p, Z)
    assert (size >= gradient * (1 - 1e-15)).all()
    assert (size <= 3 * gradient + 1).all()
    total = float(loss_terms(p, Z).sum())
    assert (
        abs(float(steps.loss(Z).hi)) * (1 - 1e-15) <= total <= 2 * abs(float(steps.loss(Z).hi)) + 1
    )
    curvature, jump = loss_curvature(p, Z, np.full_like(Z, 1e-9))
    assert not jump.any()
    terms = {
        "mean_squared_error": lambda z, y: (z - y) ** 2,
        "mean_absolute_error": lambda z, y: abs(z - y),
        "huber": lambda z, y: (z - y) ** 2 / 2 if abs(z - y) <= 1 else abs(z - y),
        "cross_entropy": lambda z, y: -y * mp.log(z),
        "log_softmax_cross_entropy": lambda z, y: -y * z,
        "binary_cross_entropy": lambda z, y: -y * mp.log(z) - (1 - y) * mp.log(1 - z),
    }
    for j in range(3):
        expected = mp.diff(lambda t, j=j: terms[loss](t, y[j]), z[j], 2, h=1e-6)
        assert float(curvature[0, j]) == pytest.approx(float(expected), abs=1e-4)


def test_near_its_kink_a_loss_may_jump() -> None:
    p = problem({1: np.eye(2)}, [[1.0, 2.0]], [[1.0, 1.0]], {1: "identity"}, "mean_absolute_error")
    Z = np.array([[1 + 1e-16, 2.0]])
    _, jump = loss_curvature(p, Z, np.full_like(Z, 1e-12))
    assert jump.tolist() == [[2.0, 0.0]]
    _, none = loss_curvature(p, Z, np.zeros_like(Z))
    assert not none.any()
    q = replace(p, loss="huber", Y=np.array([[2.0 - 1e-13, 9.0]]))
    curvature, _ = loss_curvature(q, np.array([[1.0 - 2e-13, 1.0]]), np.full_like(Z, 1e-12))
    assert curvature.tolist() == [[1.0, 0.0]]


# --- end to end -----------------------------------------------------------------------------------


def ratios(name: str, of: Subject) -> dict[str, Any]:
    """|error| over the spread, element by element."""
    t, s, truth = implementation(name).run(of.problem), of.spread(name, PLAIN), of.truth(PLAIN)
    found = {}
    for q in ("A", "Z", "delta", "dW", "W_new"):
        each = [
            (getattr(truth, q)[l].distance(M) / s.layers(q)[l]).ravel()
            for l, M in t.layers(q).items()
        ]
        found[q] = np.concatenate(each)
    found["loss"] = np.atleast_1d(truth.loss.distance(t.loss) / s.loss)
    return found


TYPICAL = [
    Case("typical", s, L, n, dtype, cycle(L), bias=bias)
    for s in ("tanh", "gelu", "softplus", "identity", "mish")
    for L, n, dtype, bias in (
        (5, 7, "float32", False),
        (16, 2, "float32", True),
        (2, 64, "float64", True),
        (3, 64, "float32", False),
    )
]


def test_the_spread_is_what_errors_really_are() -> None:
    """Their root mean square is of its size, and no single one near what is allowed."""
    found = [ratios("refbp", Subject(case)) for case in TYPICAL]
    for q in ("A", "Z", "delta", "dW", "W_new"):
        r = np.concatenate([f[q] for f in found])
        assert len(r) > 300
        assert 0.2 < np.sqrt((r**2).mean()) < 1.2, q
        assert r.max() < LAMBDA, q
        assert r.max() > LAMBDA / 10, q


def test_what_rounding_a_sum_adds() -> None:
    """√(k/2) u for independent terms, and √(1 + k/3) u of the whole for terms of one sign."""
    a = Arithmetic.of(np.dtype("float64"))
    P, Q = np.array([[1.0, 2.0, -3.0]]), np.array([[1.0], [1.0], [1.0]])
    terms, whole, lost = (x.item() for x in spread_module._sum_rounding(P, Q, a))
    assert terms == near(U * math.sqrt(3 / 2) * math.sqrt(1 + 4 + 9))
    assert (whole, lost) == (0, 3 * TINY)
    _, whole, _ = spread_module._sum_rounding(np.ones((1, 300)), np.ones((300, 1)), a)
    assert whole.item() == near(U * math.sqrt(101) * 300)
    tiny = np.full((1, 2), 1e-200)  # whose squares underflow
    found = spread_module._sum_rounding(tiny, np.full((2, 1), 1e-80), a)[0].item()
    assert found == near(U * math.sqrt(2) * 1e-280)
    assert spread_module._sum_rounding(tiny, np.zeros((2, 1)), a)[0].item() == 0


def test_examples_that_are_equal_share_their_errors_and_others_do_not() -> None:
    p = find("typical/tanh/L3/n7/float64").problem()
    mixed = replace(p, X=p.X[[0, 1, 0, 2, 1, 0, 3]], Y=p.Y[[0, 1, 0, 2, 1, 0, 3]])
    noise = spread_module._Draws(mixed).rows(np.ones((7, 5)))
    assert set(np.unique(noise)) == {-1.0, 1.0}
    same = (noise[:, :, None] == noise[:, None, :]).all(axis=(0, 3))
    assert same.tolist() == [[i == j for j in (0, 1, 0, 2, 1, 0, 3)] for i in (0, 1, 0, 2, 1, 0, 3)]
    apart = spread_module._Draws(p).rows(np.ones((7, 5)))
    assert (apart[:, :, None] == apart[:, None, :]).all(axis=(0, 3)).sum() == 7
    assert abs(apart.mean()) < 0.1


def test_the_spread_is_the_same_every_time() -> None:
    one, two = Subject(TYPICAL[0]), Subject(TYPICAL[0])
    a, b = one.spread("refbp", PLAIN), two.spread("refbp", PLAIN)
    for q in ("A", "Z", "delta", "dW", "W_new"):
        for l in a.layers(q):
            np.testing.assert_array_equal(a.layers(q)[l], b.layers(q)[l])
    assert a.loss == b.loss


def test_equal_examples_have_equal_errors() -> None:
    """So that they add up in ∂L/∂W instead of averaging out: √n more than for other examples."""
    case = find("repeated/tanh/L3/n64/float64")
    equal = Subject(case).spread("refbp", PLAIN)
    for l in (1, 2, 3):
        assert (equal.A[l] == equal.A[l][0]).all()
    p = Subject(case).problem
    rng = np.random.default_rng(0)
    nearly = replace(p, X=p.X * (1 + 1e-6 * rng.normal(size=p.X.shape)))
    apart = of_problem(nearly)
    ratio = np.median(equal.dW[1] / apart.dW[1])
    assert 2 < ratio < 8


def of_problem(p: Problem, flushes: bool = False) -> Spread:
    jumps = {l: PLAIN.maths.activations[s].jumps() for l, s in p.sigma.items()}
    rows = {l: accuracy("refbp", p.dtype.name, s) for l, s in p.sigma.items()}
    return spread(p, trace(p, PLAIN.maths), Arithmetic.of(p.dtype, flushes), rows, jumps)


def kinked(x: float) -> Problem:
    """A_2 = x·1 through an inexact product, at or near ReLU's kink."""
    return problem(
        {1: [[0.1], [-0.1]], 2: [[1.0]]}, [[3.0, 3.0 + x], [1.0, 0.0]], [[1.0], [0.0]],
        {1: "identity", 2: "relu"},
    )  # fmt: skip


def test_where_a_kink_is_within_reach_its_jump_is_allowed() -> None:
    at, away = of_problem(kinked(0.0)), of_problem(kinked(1.0))
    assert (at.straddling, away.straddling) == (1, 0)
    G = 2 * (0 - 1) / 2
    assert at.delta[2][0, 0] == near(abs(G), rel=1e-6)  # either one-sided derivative
    assert away.delta[2][0, 0] < 1e-14
    assert at.delta[2][1, 0] < 1e-14


def test_flushing_allows_a_normal_number_at_each_operation() -> None:
    p = problem({1: [[1.0]]}, [[0.0]], [[0.0]], {1: "identity"})
    kept, flushed = of_problem(p), of_problem(p, flushes=True)
    assert kept.A[1].item() == TINY
    assert flushed.A[1].item() == NORMAL


def test_squares_of_small_errors_do_not_underflow() -> None:
    E = np.full((32, 2, 1), 1e-300)
    E[:, 1] = 0
    assert spread_module._rms(E).tolist() == [[near(1e-300)], [0]]


def test_the_spread_of_a_row_wise_layer() -> None:
    """Both heads, in the hidden layers' place as well: finite, and of the size of real errors."""
    for output, loss in (
        ("softmax", "cross_entropy"),
        ("log_softmax", "log_softmax_cross_entropy"),
        ("softmax", "mean_squared_error"),
        ("log_softmax", "mean_squared_error"),
    ):
        case = Case("typical", "tanh", 3, 64, "float32", (4, 3, 4, 3), output, loss, True)
        r = ratios("refbp", Subject(case))
        for q in ("Z", "delta", "dW"):
            assert 0.02 < np.sqrt((r[q] ** 2).mean()) < 1.5, (output, loss, q)
            assert r[q].max() < LAMBDA


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mean_absolute_error", "huber"])
def test_the_spread_of_the_other_losses(loss: str) -> None:
    output = "sigmoid" if loss == "binary_cross_entropy" else "identity"
    case = Case("typical", "tanh", 3, 64, "float32", (4, 3, 4, 3), output, loss, False)
    r = ratios("refbp", Subject(case))
    for q in ("delta", "dW", "loss"):
        assert np.isfinite(r[q]).all()
        assert r[q].max() < LAMBDA
