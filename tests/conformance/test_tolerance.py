"""The tolerances: bounds on numbers worked out by hand, and that they hold and are tight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases.catalogue import Case, cycle
from conformance.cases.profiles import find
from conformance.implementations import implementation
from conformance.judge.known_differences import amend
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import Problem, Trace
from conformance.truth.definitions import TERMS
from conformance.truth.network import Network, Spread
from conformance.truth.rounding import ENDS, ROUNDED, Accuracy, Arithmetic, Model

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
    for dtype, largest in (("float16", 65504.0), ("float32", (2 - 2.0**-23) * 2.0**127)):
        assert Arithmetic.of(np.dtype(dtype)).largest == largest
        assert Arithmetic.named(dtype).largest == largest
    assert Arithmetic.named("bfloat16").largest == (2 - 2.0**-7) * 2.0**127


def test_the_arithmetic_of_16_bits_loses_no_normal_number() -> None:
    """An intermediate is a float32: what it loses, the half float that it is rounded to loses too."""
    assert Arithmetic.named("float64", True) == Arithmetic(U, NORMAL, NORMAL)
    assert Arithmetic.named("float32") == Arithmetic(2.0**-24, 2.0**-149, 2.0**-126)
    assert Arithmetic.named("float16") == Arithmetic(2.0**-11, 2.0**-24, 2.0**-24)
    assert Arithmetic.named("float16", True) == Arithmetic(2.0**-11, 2.0**-14, 2.0**-14)
    assert Arithmetic.named("bfloat16") == Arithmetic(2.0**-8, 2.0**-133, 2.0**-133)


def test_what_is_rounded_to_another_dtype_has_its_arithmetic_and_counts_its_kinks() -> None:
    half, single = Arithmetic.named("float16"), Arithmetic.named("float32")
    model = Model(single, lambda name: EXACT, worst=True, reach=3.0, dtypes={"float16": half})
    other = model.of("float16")
    assert (other.arithmetic, other.worst, other.reach) == (half, True, 3.0)
    assert other.u == 2.0**-11
    assert model.of("float16") is other
    assert model.of(None) is model.of("float32") is model
    model.straddling, other.straddling = 2, 5
    assert (model.straddled, other.straddled) == (7, 5)


@pytest.mark.parametrize(
    ("dtype", "x", "rounded"),
    [
        ("bfloat16", [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20], [1, 1 + 2.0**-6, 1 + 2.0**-7]),
        ("bfloat16", [-1 - 2.0**-8, 3.4e38, np.inf, -np.inf, np.nan], [-1, np.inf, np.inf, -np.inf, np.nan]),
        ("bfloat16", [0.1, 2.0**-133, 0.0], [0.10009765625, 2.0**-133, 0.0]),
        ("float16", [1 + 2.0**-11, 1 + 3 * 2.0**-11, 65504.0], [1, 1 + 2.0**-9, 65504.0]),
        ("float32", [1 + 2.0**-24, 0.1], [1, 0.10000000149011612]),
        ("float64", [0.1], [0.1]),
    ],
)  # fmt: skip
def test_a_dtype_rounds_to_the_nearest_and_of_two_as_near_to_the_even_one(
    dtype: str, x: list[float], rounded: list[float]
) -> None:
    found = ROUNDED[dtype](np.array(x))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, rounded)


def test_a_row_of_the_table_else_the_default() -> None:
    assert accuracy("refbp", "float64", "identity") == Accuracy(1, 0, 1, 0, 0, 0, ends=ENDS)
    assert accuracy("torch-cpu", "float64", "sigmoid").g > 0
    assert accuracy("somebody", "float64", "relu") == Accuracy(8, 0, 8, 0, 0, 0, ends=ENDS)
    assert accuracy("refbp", "float64", "cube") == Accuracy(8, 0, 8, 4, 0, 0, ends=ENDS)
    assert accuracy("refbp", "float16", "identity") == Accuracy(8, 0, 8, 0, 0, 0, ends=ENDS)


def test_what_an_evaluation_may_lose_has_an_end() -> None:
    """Beyond |a| = 64 every σ is flat or straight: u|a| of its slope would be all of it at 1/u."""
    of = Accuracy(1, 2, 3, 5, 7, 11, ends=ENDS)
    for a in (ENDS, 1e16):
        assert list(of.slope(U, a, 1.0, -a)) == [3 * U, 5 * U * ENDS, 7 * U, -11 * U * ENDS]
        assert list(of.value(U, a, -a)) == [U * a, -2 * U * ENDS, 0]


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


EXACT = Accuracy(0, 0, 0, 0, 0, 0)


def held(of: Accuracy) -> Any:
    """An accuracy of σ, and the usual one of the terms of losses."""
    return lambda name: Accuracy(8, 0, 4, 0, 0, 0) if name in TERMS else of


def bounds(p: Problem, of: Accuracy = EXACT, unrounded: bool = False, **changed: Any) -> Any:
    """What each step of refbp's trace of p may be off by; `changed` are quantities of layer 1."""
    t = implementation("refbp").run(p)
    layered = {q: {**t.layers(q), 1: np.array(M, float)} for q, M in changed.items() if q != "loss"}
    steps = Network(p).steps(replace(t, **layered), Arithmetic.of(p.dtype), held(of), unrounded)
    return {key: bound for key, (_, bound) in steps.items()}


ONE = problem({1: [[3.0], [-4.0]]}, [[1.0, -2.0]], [[1.0]], {1: "identity"})


def test_a_product() -> None:
    """2u(1·3 + 2·4) for A; one product for each entry of ∂L/∂W."""
    b = bounds(ONE, delta=[[-7.0]])
    assert b["A", 1] == near(np.array([[2 * U * 11]]), rel=1e-12)
    assert b["dW", 1] == near(np.array([[7 * U], [14 * U]]), rel=1e-12)
    zero = replace(ONE, X=np.zeros((1, 2)))
    assert bounds(zero)["A", 1].item() == 2 * TINY


def test_a_product_with_a_bias_has_one_term_more() -> None:
    p = problem({1: [[3.0], [-4.0], [0.5]]}, [[1.0, -2.0]], [[1.0]], {1: "identity"}, bias=True)
    b = bounds(p, delta=[[-7.0]])
    assert b["A", 1] == near(np.array([[3 * U * 11.5]]), rel=1e-12)
    assert b["dW", 1] == near(np.array([[7 * U], [14 * U], [7 * U]]), rel=1e-12)


def test_an_activation() -> None:
    """u(c|σ| + e|a| + h), and what underflows on the way."""
    p = problem({1: [[1.0]]}, [[1.0], [0.0], [-1.0]], [[0.0]] * 3, {1: "tanh"})
    b = bounds(p, Accuracy(3, 2, 0, 0, 0, 0, 4))["Z", 1]
    assert b[0, 0] == near(U * (3 * np.tanh(1) + 2 + 4))
    plain = bounds(p)["Z", 1]
    assert plain[1, 0] == 4 * TINY
    assert plain[2, 0] == 2 * NORMAL  # e^a may underflow
    assert bounds(replace(p, sigma={1: "identity"}))["Z", 1][2, 0] == 8 * TINY  # not in sums alone


def test_a_link() -> None:
    """|G| t_D + |D| t_G + t_G t_D + 2u|GD| with t_G = 2u |δ||W|ᵀ for two units above."""
    p = problem({1: [[1.0]], 2: [[3.0, -4.0]]}, [[-2.0]], [[0.0, 0.0]], {1: "tanh", 2: "identity"})
    t = implementation("refbp").run(p)
    delta = np.array([[1.0, 0.5]])
    t = replace(t, delta={1: t.delta[1], 2: delta})
    of = Accuracy(1, 0, 5, 13, 7, 11)
    _, found = Network(p).steps(t, Arithmetic.of(p.dtype), held(of), False)["delta", 1]
    G, D, Z = 3 - 2.0, 1 - np.tanh(2) ** 2, np.tanh(2)
    t_G = 2 * U * (3 + 2)
    t_D = U * (5 * D + 13 * Z + 7 + 11 * 2)
    assert found == near(np.array([[G * t_D + D * t_G + 2 * U * G * D]]))


def test_the_link_of_the_output_layer() -> None:
    """∂L/∂Z = 2(z − y)/n: z − y rounds once, its double 4, 1/n and the product once each; δ twice."""
    b = bounds(ONE, Z=[[3.0]])["delta", 1]
    G = 2 * (3.0 - 1.0)
    assert b == near(np.array([[U * G * (1 + 4 + 1 + 2) + 2 * U * G]]), rel=0.2)
    assert b.item() >= U * G * 8


def test_what_may_be_handed_on_unrounded_is_allowed_for() -> None:
    """An operand is then off by u of itself: one term more in a product, 2u|z| in ∂L/∂Z."""
    plain, kept = bounds(ONE, Z=[[3.0]]), bounds(ONE, unrounded=True, Z=[[3.0]])
    assert kept["delta", 1] - plain["delta", 1] == near(np.array([[2 * U * 3]]), rel=0.02)
    delta = implementation("refbp").run(ONE).delta[1]
    assert kept["dW", 1] - plain["dW", 1] == near(np.abs(ONE.X.T @ delta) * U, rel=1e-6)
    assert kept["A", 1].item() == plain["A", 1].item()  # X is as it was given


def test_an_update() -> None:
    """A product, α itself, and a difference, each rounded once; also where they have opposite signs."""
    draw = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        W = (draw.normal(size=(40, 50)) * 2.0 ** draw.integers(-8, 8, size=(40, 50))).astype(dtype)
        dW = (draw.normal(size=(40, 50)) * 2.0 ** draw.integers(-8, 8, size=(40, 50))).astype(dtype)
        p = Problem({1: W}, np.ones((1, 40), dtype), np.ones((1, 50), dtype), {1: "identity"},
                    "mean_squared_error", False, 0.1)  # fmt: skip
        got = W - W.dtype.type(0.1) * dW
        t = Trace(dW={1: dW}, W_new={1: got})
        steps = Network(p).steps(t, Arithmetic.of(p.dtype), held(EXACT), False)
        exact, allowed = steps["W_new", 1]
        off = exact.distance(got)
        assert (off <= allowed).all()
        assert np.median(off / allowed) > 0.02


def test_the_loss() -> None:
    """Two terms, (1 + 4)/2: 10u each by the square's own row, a sum, a division by n."""
    p = problem({1: [[1.0]]}, [[1.0], [1.0]], [[1.0], [3.0]], {1: "identity"})
    found = bounds(p, Z=[[2.0], [1.0]])["loss", 1]
    assert found.shape == ()
    assert 8 * U * 2.5 < found < 13 * U * 2.5


def test_the_loss_of_no_error_is_exact_where_it_is_infinite() -> None:
    """−log 0 is +∞: no rounding makes another number of it."""
    p = problem({1: np.eye(2)}, [[0.0, -800.0]], [[0.0, 1.0]], {1: "softmax"}, "cross_entropy")
    with np.errstate(all="ignore"):
        t = implementation("refbp").run(p)
    exact, bound = Network(p).steps(t, Arithmetic.of(p.dtype), held(EXACT), False)["loss", 1]
    assert t.Z[1][0, 1] == 0
    assert (exact.hi, exact.rad) == (np.inf, 0)
    assert np.isfinite(bound)


# --- evidence that nobody is accused -------------------------------------------------------------


def test_at_a_pole_within_reach_nothing_is_bounded() -> None:
    """1 − z is 4e-18 where z is known to 1e-16: whatever −log(1 − z) is, nobody can say."""
    p = problem(
        {1: np.eye(1)}, [[40.0], [1.0]], [[0.0], [1.0]], {1: "sigmoid"}, "binary_cross_entropy"
    )
    s = of_problem(p)
    assert not np.isfinite(s.delta[1][0, 0])
    assert np.isfinite(s.delta[1][1, 0])


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
    return Network(p).spread(
        Arithmetic.of(p.dtype, flushes), lambda s: accuracy("refbp", p.dtype.name, s), LAMBDA
    )


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


@pytest.mark.parametrize(("steps", "within"), [(0, 1), (2, 1), (4, 1), (10, 0)])
def test_a_kink_is_within_reach_of_so_many_errors(steps: int, within: int) -> None:
    """`LAMBDA` of them: A_2 is 0.1·4u from it, so many times, and its error is about 0.4u."""
    found = of_problem(kinked(steps * 4 * U))
    error = found.A[2][0, 0]
    assert 0.35 * U < error < 0.5 * U
    assert (0.4 * steps * U <= LAMBDA * error) == bool(within)
    assert steps < 4 or 0.4 * steps * U > 3 * error
    assert found.straddling == within


def test_flushing_allows_a_normal_number_at_each_operation() -> None:
    p = problem({1: [[1.0]]}, [[2.0**-1070]], [[0.0]], {1: "identity"})
    kept, flushed = of_problem(p), of_problem(p, flushes=True)
    assert kept.A[1].item() == TINY
    assert flushed.A[1].item() == 2 * NORMAL  # and what its operand may be off by
    p = problem({1: [[1.0]]}, [[0.0]], [[0.0]], {1: "identity"})
    assert of_problem(p).A[1].item() == of_problem(p, flushes=True).A[1].item() == 0  # 0 times 1


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
