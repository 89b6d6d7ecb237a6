"""The truth: balls that enclose what they say, and traces that equal exact arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb, arb_mat

from conformance.cases.profiles import find
from conformance.model.problem import Problem, Trace
from conformance.truth import balls
from conformance.truth.balls import (
    PRECISIONS,
    Enclosure,
    certified,
    enclosure,
    matrix,
    scalar,
    union,
)
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.network import Mathematics, Network, Truth
from conformance.truth.readings import in_balls
from conformance.truth.rounding import Accuracy, Arithmetic

PIECES = ("A", "Z", "delta", "dW", "W_new")
MATHS = Mathematics()
Key = tuple[str, int]


def trace(p: Problem, maths: Mathematics = MATHS) -> Truth:
    return Network(p, maths).truth


def steps(
    p: Problem, t: Trace, maths: Mathematics = MATHS, memo: Any = None
) -> dict[Key, Enclosure]:
    """The exact value of each step on the operands of t."""
    found = Network(p, maths, memo).steps(
        t, Arithmetic.of(p.dtype), lambda name: Accuracy(0, 0, 0, 0, 0, 0), False
    )
    return {key: e for key, (e, _) in found.items()}


def alone(A: Any, **more: Any) -> Trace:
    """A trace of one layer that has A, and makes the rest its steps' own."""
    return Trace(A={1: A}, Z={1: more.get("Z", A)}, delta={1: more.get("delta", A)})


def exactly(e: Enclosure, index: tuple[int, ...] = ()) -> tuple[Fraction, Fraction]:
    """The midpoint and the radius of one entry."""
    return Fraction(float(e.hi[index])) + Fraction(float(e.lo[index])), Fraction(
        float(e.rad[index])
    )


def one(ball: Any) -> Enclosure:
    return enclosure([ball], ())


# --- balls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_enclosure_holds_what_it_encloses(name: str) -> None:
    """σ, σ' and σ'' at 128 bits, against the same at 4,096; up to the smallest float there is."""
    rng = np.random.default_rng(1)
    for a in [*rng.normal(size=20), *rng.normal(size=20) * 100, 1e-300, 5e-324, -1e300, 40.0]:
        rough = [one(b) for b in at_precision(128, lambda a=a: ACTIVATIONS[name](arb(a))[:3])]
        fine = at_precision(4096, lambda a=a: ACTIVATIONS[name](arb(a))[:3])
        for e, b in zip(rough, fine, strict=True):
            if not np.isfinite(e.hi):
                continue  # beyond the range of float64: nothing is claimed but that
            hi, lo, rad = (arb(float(x)) for x in (e.hi, e.lo, e.rad))
            assert at_precision(4096, lambda: abs(b - hi - lo) <= rad + arb(5e-324)), (name, a)  # noqa: B023


def at_precision(bits: int, compute: Any) -> Any:
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        return compute()
    finally:
        flint.ctx.prec = before


def test_hi_and_lo_are_the_midpoint() -> None:
    third = at_precision(200, lambda: arb(1) / 3)
    e = at_precision(200, lambda: one(third))
    assert float(e.hi) == 1 / 3
    assert float(e.lo) == float(Fraction(1, 3) - Fraction(1 / 3))
    middle, rad = exactly(e)
    assert abs(middle - Fraction(1, 3)) <= rad < Fraction(1, 10**30)
    assert bool(e.narrow())


def test_an_exact_number_has_no_radius() -> None:
    e = enclosure([arb(0.1), arb(-5), arb(0)], (3,))
    assert (e.hi.tolist(), e.lo.tolist(), e.rad.tolist()) == ([0.1, -5, 0], [0, 0, 0], [0, 0, 0])
    assert e.narrow().all()


def test_a_number_beyond_the_range_of_float64_is_infinite() -> None:
    e = enclosure([arb(2) ** 2000, -(arb(2) ** 2000)], (2,))
    assert e.hi.tolist() == [np.inf, -np.inf]
    assert e.rad.tolist() == [0, 0]
    assert e.narrow().all()
    assert e.distance(np.array([np.inf, np.inf])).tolist() == [0, np.inf]
    assert e.distance(np.array([1.7e308, -np.inf])).tolist() == [np.inf, 0]


def test_no_number_is_never_narrow() -> None:
    e = enclosure([arb.nan(), arb(0, "inf")], (2,))
    assert np.isnan(e.hi[0])
    assert e.rad.tolist() == [np.inf, np.inf]
    assert not e.narrow().any()
    assert e.distance(np.array([0.0, np.nan])).tolist()[0] == np.inf


def test_a_number_below_the_range_of_float64_is_enclosed() -> None:
    tiny = arb(2) ** -1200
    e = one(tiny)
    assert float(e.hi) == 0.0
    middle, rad = exactly(e)
    assert abs(middle - Fraction(1, 2**1200)) <= rad <= Fraction(5e-324)
    assert bool(e.narrow())


def test_what_lo_leaves_is_within_the_radius_however_small_it_is() -> None:
    """2^−1000 + 2^−1060 + 2^−1075: lo has two of its bits, of which 2^−52 is no float any more."""
    exact = Fraction(1, 2**1000) + Fraction(1, 2**1060) + Fraction(1, 2**1075)
    two = arb(2)
    e = at_precision(128, lambda: one(two**-1000 + two**-1060 + two**-1075))
    assert (float(e.hi), float(e.lo)) == (2.0**-1000, 2.0**-1060)
    middle, rad = exactly(e)
    assert 0 < abs(middle - exact) <= rad <= Fraction(5e-324)


def test_what_is_too_far_apart_for_a_float_is_infinitely_far() -> None:
    e = enclosure([arb(-1.7e308), arb(1.7e308)], (2,))
    assert e.distance(np.array([1.7e308, 1.7e308])).tolist() == [np.inf, 0]


def test_the_distance_is_to_the_midpoint_and_not_to_the_float_nearest() -> None:
    e = at_precision(100, lambda: one(arb(1) + arb(2) ** -60))
    assert (float(e.hi), float(e.lo)) == (1, 2.0**-60)
    assert e.distance(np.array(1.0)) == 2.0**-60
    assert e.distance(np.array(1 + 2.0**-52)) == 2.0**-52 - 2.0**-60
    assert e.distance(np.array(1, np.float32)) == 2.0**-60
    assert e.distance(np.array(np.nan)) == np.inf
    assert e.distance(np.array(-np.inf)) == np.inf


def test_a_part_of_an_enclosure() -> None:
    e = enclosure([arb(k, 0.5) for k in range(6)], (2, 3))
    part = e[1, :2]
    assert part.hi.tolist() == [3, 4]
    assert part.rad.tolist() == pytest.approx([0.5, 0.5], rel=1e-8)  # 30 bits, rounded up
    assert (part.rad >= 0.5).all()


def test_narrow_is_far_below_a_unit_in_the_last_place() -> None:
    ulp = 2.0**-52
    assert bool(one(arb(1, ulp * 2.0**-20 * 0.99)).narrow())
    assert not bool(one(arb(1, ulp * 2.0**-20 * 1.01)).narrow())
    assert not bool(one(arb(0, 1e-320)).narrow())


def test_balls_from_floats_are_exact() -> None:
    assert scalar(np.float32(0.1)) == arb(float(np.float32(0.1)))
    M = matrix(np.array([[0.1, 2.0], [3.0, 4.0]], np.float32))
    assert (M.nrows(), M.ncols()) == (2, 2)
    assert M[0, 0] == float(np.float32(0.1))
    assert M[0, 0].is_exact()
    row = matrix(np.array([1.0, 2.0, 3.0]))
    assert (row.nrows(), row.ncols()) == (1, 3)


def test_the_union_holds_all() -> None:
    hull = union([arb(-1), arb(2, 0.5), arb(0)])
    assert all(hull.contains(arb(x)) for x in (-1, 0, 1, 2.5))
    assert not hull.contains(arb(2.75))


# --- precision ------------------------------------------------------------------------------------


def test_precision_is_raised_until_what_cancels_is_known() -> None:
    """(2^900 + 1/3) − 2^900 is lost altogether below a thousand bits."""
    tried = []

    def compute() -> tuple[Enclosure, ...]:
        tried.append(flint.ctx.prec)
        big = arb(2) ** 900
        return (one(arb(1) / 3), one((big + arb(1) / 3) - big))

    before = flint.ctx.prec
    easy, hard = certified(compute)
    assert tried == [128, 256, 512, 1024]
    assert flint.ctx.prec == before
    for e in (easy, hard):
        middle, rad = exactly(e)
        assert abs(middle - Fraction(1, 3)) <= rad < Fraction(1, 2**72)


def test_what_is_not_narrow_at_any_precision_is_handed_on_as_it_is() -> None:
    tried = []

    def compute() -> tuple[Enclosure, ...]:
        tried.append(flint.ctx.prec)
        return (one(arb(0, 1)),)

    (e,) = certified(compute)
    assert tuple(tried) == PRECISIONS
    assert not bool(e.narrow())
    assert 1 <= float(e.rad) < 1.00000001


@pytest.mark.parametrize("finite", [True, False])
def test_what_is_no_number_ends_the_search_alone_where_it_may_be_none(finite: bool) -> None:
    """And what is not narrow beside it is sought on."""
    for other, found in ((arb(1), [128]), (None, [128, 256, 512])):
        tried: list[int] = []

        def compute(other: Any = other, tried: list[int] = tried) -> tuple[Enclosure, ...]:
            tried.append(flint.ctx.prec)
            big = arb(2) ** 300
            beside = (big + arb(1) / 3) - big if other is None else other
            return (enclosure([arb.nan(), beside], (2,)),)

        certified(compute, finite)
        assert tried == (list(PRECISIONS) if finite else found)


def test_the_precision_is_put_back_whatever_happens() -> None:
    before = flint.ctx.prec

    def compute() -> tuple[Enclosure, ...]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        certified(compute)
    assert flint.ctx.prec == before


def cancelling(dtype: str = "float64") -> Problem:
    """A_1 = 2^300·1 + 1·x − 2^300·1 = x, twice over."""
    W = {1: np.array([[1.0], [1.0], [-1.0]], dtype), 2: np.array([[0.5]], dtype)}
    big = 2.0**300 if dtype == "float64" else 2.0**100
    X = np.array([[big, 0.1, big], [big, -3.0, big]], dtype)
    Y = np.array([[0.0], [1.0]], dtype)
    return Problem(W, X, Y, {1: "tanh", 2: "identity"}, "mean_squared_error", False, 0.125)


def test_a_network_in_which_everything_cancels_is_known_to_the_last_place() -> None:
    truth = trace(cancelling(), MATHS)
    assert truth.A[1].hi.tolist() == [[0.1], [-3.0]]
    for q in PIECES:
        for e in getattr(truth, q).values():
            assert e.narrow().all()
    np.testing.assert_allclose(truth.Z[1].hi, np.tanh([[0.1], [-3.0]]), rtol=1e-15)


# --- traces ---------------------------------------------------------------------------------------

Rows = list[list[Fraction]]


def fractions(M: Any) -> Rows:
    return [[Fraction(float(x)) for x in row] for row in M]


def dot(x: Any, y: Any) -> Fraction:
    return sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))


def times(P: Rows, Q: Rows) -> Rows:
    return [[dot(row, column) for column in zip(*Q, strict=True)] for row in P]


def transposed(P: Rows) -> Rows:
    return [list(column) for column in zip(*P, strict=True)]


def exact_trace(p: Problem) -> dict[str, Any]:
    """The notes' procedures on fractions; σ is the identity or ReLU, the loss the notes'."""
    L, n = p.depth, len(p.X)
    W = {l: fractions(M) for l, M in p.W.items()}
    Z, A, delta, dW, W_new = {0: fractions(p.X)}, {}, {}, {}, {}
    Y = fractions(p.Y)

    def before(l: int) -> Rows:
        return [[*row, Fraction(1)] for row in Z[l - 1]] if p.bias else Z[l - 1]

    def slope(l: int, a: Fraction) -> int:
        return int(p.sigma[l] == "identity" or a > 0)

    for l in range(1, L + 1):
        A[l] = times(before(l), W[l])
        Z[l] = [[a * slope(l, a) for a in row] for row in A[l]]
    error = [[z - y for z, y in zip(row, to, strict=True)] for row, to in zip(Z[L], Y, strict=True)]
    for l in range(L, 0, -1):
        if l == L:
            G = [[2 * e / n for e in row] for row in error]
        else:
            G = times(delta[l + 1], transposed(W[l + 1][:-1] if p.bias else W[l + 1]))
        delta[l] = [
            [g * slope(l, a) for g, a in zip(*rows, strict=True)]
            for rows in zip(G, A[l], strict=True)
        ]
        dW[l] = times(transposed(before(l)), delta[l])
        W_new[l] = [
            [w - Fraction(p.alpha) * d for w, d in zip(*rows, strict=True)]
            for rows in zip(W[l], dW[l], strict=True)
        ]
    loss = sum(e * e for row in error for e in row) / n
    del Z[0]
    return {"A": A, "Z": Z, "delta": delta, "dW": dW, "W_new": W_new, "loss": loss}


EXACT = [
    f"typical/{s}/L{L}/n{n}/{dtype}{bias}"
    for s in ("identity", "relu")
    for L, n, dtype, bias in (
        (1, 1, "float64", ""),
        (3, 7, "float64", ""),
        (3, 7, "float32", "/bias"),
        (5, 2, "float64", ""),
        (5, 2, "float32", "/bias"),
        (2, 7, "float64", "/bias"),
    )
] + ["heads/tanh>identity+mean_squared_error/L1/n7/float32/bias", "integers/relu/L2/n2/float32"]


@pytest.mark.parametrize("case", EXACT)
def test_the_trace_equals_exact_fractions(case: str) -> None:
    p = find(case).problem()
    truth, expected = trace(p, MATHS), exact_trace(p)
    compared = 0
    for q in PIECES:
        for l, rows in expected[q].items():
            e = getattr(truth, q)[l]
            assert e.narrow().all()
            for i, row in enumerate(rows):
                for j, x in enumerate(row):
                    middle, rad = exactly(e, (i, j))
                    assert abs(middle - x) <= rad
                    compared += 1
    middle, rad = exactly(truth.loss)
    assert abs(middle - expected["loss"]) <= rad
    assert compared == sum(M.size for M in p.W.values()) * 2 + 3 * len(p.X) * sum(
        M.shape[1] for M in p.W.values()
    )
    assert truth.decided


STEPPED = ("integers/relu/L2/n64/float64", "integers/relu6/L1/n2/float64/bias")


def biased_integers() -> Problem:
    """Three layers with a bias whose every value is a float."""
    p = find("integers/identity/L2/n2/float64").problem()
    rng = np.random.default_rng(4)
    W = {
        l: rng.integers(-2, 3, size=s).astype(float)
        for l, s in ((1, (5, 3)), (2, (4, 4)), (3, (5, 2)))
    }
    return replace(
        p, W=W, Y=rng.integers(-9, 9, size=(2, 2)).astype(float), bias=True,
        sigma={1: "relu", 2: "identity", 3: "relu"},
    )  # fmt: skip


@pytest.mark.parametrize("p", [find("integers/relu/L2/n64/float64").problem(), biased_integers()],
                         ids=["no bias", "bias"])  # fmt: skip
def test_the_steps_are_the_pieces_of_the_trace(p: Problem) -> None:
    """Where every value is a float, the exact trace's own values are operands of the steps."""
    truth = trace(p)
    assert all(
        not e.lo.any() and not e.rad.any() for q in PIECES for e in getattr(truth, q).values()
    )
    layered = {q: {l: e.hi for l, e in truth.layers(q).items()} for q in PIECES}
    found = steps(p, Trace(**layered, loss=truth.loss.hi))
    assert set(found) == {(q, l) for q in PIECES for l in p.W} | {("loss", p.depth)}
    for (q, l), e in found.items():
        whole = truth.loss if q == "loss" else truth.layers(q)[l]
        np.testing.assert_array_equal(e.hi, whole.hi)
        np.testing.assert_array_equal(e.lo, whole.lo)
        np.testing.assert_array_equal(e.rad, whole.rad)


def test_a_step_starts_from_what_was_returned_and_not_from_the_truth() -> None:
    p = biased_integers()
    truth = trace(p)
    layered = {q: {l: e.hi for l, e in truth.layers(q).items()} for q in PIECES}
    layered["Z"] = {**layered["Z"], 1: layered["Z"][1] + 1}  # each row of W_2 once more
    found = steps(p, Trace(**layered, loss=truth.loss.hi))
    more = p.weights(2).sum(axis=0)
    assert more.any()
    np.testing.assert_array_equal(found["A", 2].hi, truth.A[2].hi + more)
    np.testing.assert_array_equal(found["Z", 1].hi, truth.Z[1].hi)
    assert (found["dW", 2].hi != truth.dW[2].hi).any()
    np.testing.assert_array_equal(found["delta", 2].hi, truth.delta[2].hi)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_step_of_a_row_wise_layer(name: str) -> None:
    """At equal inputs softmax is 1/m, and its vector–Jacobian product the deviation from the mean."""
    p = Problem(
        {1: np.eye(4)}, np.zeros((2, 4)), np.full((2, 4), 0.25), {1: name},
        "log_softmax_cross_entropy" if name == "log_softmax" else "cross_entropy", False, 0.125,
    )  # fmt: skip
    Z = np.full((2, 4), 0.5)
    found = steps(p, alone(np.zeros((2, 4)), Z=Z))
    assert found["Z", 1].narrow().all()
    np.testing.assert_allclose(
        found["Z", 1].hi, 0.25 if name == "softmax" else -np.log(4), rtol=1e-15
    )
    assert np.abs(found["delta", 1].hi).max() < 1e-30


def at_a_kink() -> Problem:
    """A_2 = tanh(x) + tanh(−x), which is 0, though no precision says so; σ_2 is ReLU."""
    W = {1: np.array([[1.0, -1.0]]), 2: np.array([[1.0], [1.0]])}
    X, Y = np.array([[0.3], [0.7]]), np.array([[1.0], [-1.0]])
    return Problem(W, X, Y, {1: "tanh", 2: "relu"}, "mean_squared_error", False, 0.125)


def test_an_undecided_kink_gives_the_hull() -> None:
    truth = trace(at_a_kink(), MATHS)
    assert not truth.decided
    assert np.abs(truth.Z[2].hi).max() < 1e-300  # the value is known all the same
    assert not truth.delta[2].narrow().any()
    G = np.array([[-1.0], [1.0]])  # 2(0 − y)/2
    for d in (0, 1):  # with either one-sided derivative, δ lies within
        assert (truth.delta[2].distance(G * d) <= truth.delta[2].rad * (1 + 1e-9)).all()
    assert (truth.delta[2].rad < 0.51).all()


def test_a_hull_is_sought_at_every_precision_but_decided_at_the_first_that_can() -> None:
    """A_2 = tanh(x) + tanh(−x(1 + 2^−40)): positive or negative, at 128 bits already."""
    p = at_a_kink()
    q = replace(p, W={**p.W, 1: np.array([[1.0, -1 - 2.0**-40]])})
    truth = trace(q, MATHS)
    assert truth.decided
    assert truth.delta[2].hi.tolist() == [[0], [0]]


def test_a_lower_ceiling_of_precision_leaves_numbers_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(balls, "PRECISIONS", (128,))
    truth = trace(cancelling(), MATHS)
    assert not truth.A[1].narrow().any()
    assert np.isfinite(truth.A[1].rad).all()
    assert (truth.A[1].distance(np.array([[0.1], [-3.0]])) <= truth.A[1].rad).all()


def test_the_truth_of_a_case_is_narrow_and_the_same_every_time() -> None:
    p = find("typical/mish/L5/n7/float64/bias").problem()
    first, again = trace(p, MATHS), trace(p, MATHS)
    for q in PIECES:
        for l, e in getattr(first, q).items():
            assert e.narrow().all()
            np.testing.assert_array_equal(e.hi, getattr(again, q)[l].hi)


def test_no_gradient_flows_into_the_constant_unit() -> None:
    """With and without a bias of zero the same network has the same δ."""
    p = find("typical/tanh/L3/n7/float64").problem()
    with_bias = replace(
        p, bias=True, W={l: np.vstack([M, np.zeros((1, M.shape[1]))]) for l, M in p.W.items()}
    )
    plain, biased = trace(p, MATHS), trace(with_bias, MATHS)
    for l in p.W:
        np.testing.assert_array_equal(plain.delta[l].hi, biased.delta[l].hi)
        np.testing.assert_array_equal(plain.dW[l].hi, biased.dW[l].hi[:-1])
        np.testing.assert_allclose(
            biased.dW[l].hi[-1], biased.delta[l].hi.sum(axis=0), rtol=1e-13, atol=1e-16
        )


def test_what_is_remembered_is_what_would_be_computed() -> None:
    """Of one definition and one precision: a memo shared by implementations changes nothing."""
    p = find("typical/mish/L1/n7/float64").problem()
    A = trace(p).A[1].hi
    memo: Any = {}
    tanh = replace(MATHS, activations={**ACTIVATIONS, "mish": ACTIVATIONS["tanh"]})
    for _ in range(2):
        for maths in (MATHS, tanh):
            found, expected = steps(p, alone(A), maths, memo), steps(p, alone(A), maths)
            for key in (("Z", 1), ("delta", 1)):
                np.testing.assert_array_equal(found[key].hi, expected[key].hi)
                np.testing.assert_array_equal(found[key].lo, expected[key].lo)
                np.testing.assert_array_equal(found[key].rad, expected[key].rad)
    of_sigma = [
        seen for (f, _), seen in memo.items() if f in (ACTIVATIONS["mish"], ACTIVATIONS["tanh"])
    ]
    assert [len(seen) for seen in of_sigma] == [A.size, A.size]
    other = steps(p, alone(A), tanh, memo)["Z", 1].hi
    assert (steps(p, alone(A), MATHS, memo)["Z", 1].hi != other).all()


def test_what_is_remembered_at_one_precision_is_not_taken_for_another() -> None:
    """At the float nearest to the zero of gelu', 128 bits do not give all that is asked for."""
    p = find("typical/gelu/L1/n7/float64").problem()
    A = np.full((7, 3), -0.7517915246935645)
    q = replace(p, loss="mean_absolute_error", Y=np.full((7, 3), -9.0), X=p.X, W=p.W)
    found = steps(q, alone(A, Z=A), memo={})  # ∂L/∂Z is 1/7
    delta = found["delta", 1]
    assert delta.narrow().all()
    assert delta.hi[0, 0] * 7 == pytest.approx(-6.453751729367753e-18, rel=1e-14, abs=0)


def test_no_precision_is_sought_for_what_was_given_as_no_number() -> None:
    """It would be raised to the last, in vain."""
    p = find("typical/tanh/L1/n7/float64").problem()
    tried = []
    real = balls.working_precision

    def counting(bits: int) -> Any:
        tried.append(bits)
        return real(bits)

    A = np.full((7, 3), np.nan)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(balls, "working_precision", counting)
        in_balls(Network(p).tape, {("A", 1): A, ("Z", 1): A, ("delta", 1): A})
    assert tried == [128]


def test_matrices_are_read_row_by_row() -> None:
    M = matrix(np.arange(6.0).reshape(2, 3))
    assert [[int(float(M[i, j])) for j in range(3)] for i in range(2)] == [[0, 1, 2], [3, 4, 5]]
    assert isinstance(M, arb_mat)
