"""What is compared: the whole product, ids that are names, data that follow from the id alone."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from conformance.cases.catalogue import FAMILIES, Case, CaseError
from conformance.cases.profiles import PROFILES, SHAPES, cases, covering, find, select, spanning
from conformance.implementations import implementation
from conformance.model.problem import Problem
from conformance.truth.definitions import ACTIVATIONS, LOSSES, ROW_WISE

DTYPES = ("float64", "float32")
STANDARD = cases("standard")
OF = {name: [c for c in STANDARD if c.family == name] for name in FAMILIES}

# --- which ----------------------------------------------------------------------------------------


def test_the_full_product() -> None:
    """Every elementwise activation × depth × batch × dtype, once each."""
    found = [(c.activation, c.depth, c.batch, c.dtype) for c in OF["typical"]]
    expected = product(ACTIVATIONS, (1, 2, 3, 5, 8, 16), (1, 2, 7, 64), DTYPES)
    assert sorted(found) == sorted(expected)
    assert len(found) == 21 * 6 * 4 * 2
    assert {c.bias for c in OF["typical"]} == {True, False}
    for s in ACTIVATIONS:  # with and without bias, at each depth and each batch size
        of = [c for c in OF["typical"] if c.activation == s]
        assert len({(c.depth, c.bias) for c in of}) == 12
        assert len({(c.batch, c.bias) for c in of}) == 8


def test_widths_differ_from_layer_to_layer_and_in_the_square_family_do_not() -> None:
    for c in OF["typical"]:
        assert len(c.widths) == c.depth + 1
        assert all(a != b for a, b in pairwise(c.widths))
    assert {c.activation for c in OF["square"]} == set(ACTIVATIONS)
    for c in OF["square"]:
        assert len(set(c.widths)) == 1
        assert c.depth >= 3


def test_every_loss_and_output_activation() -> None:
    heads = OF["heads"]
    assert {c.loss for c in heads} == set(LOSSES)
    assert {c.output for c in heads} >= {"identity", "sigmoid", *ROW_WISE}
    assert len({(c.output, c.loss) for c in heads}) == 13
    for which in {(c.output, c.loss) for c in heads}:
        of = [c for c in heads if (c.output, c.loss) == which]
        assert {c.dtype for c in of} == set(DTYPES)
        assert {c.bias for c in of} == {True, False}
        assert {c.batch for c in of} == {1, 7}
        assert {c.depth for c in of} == {1, 3}


def test_the_families() -> None:
    """Each with its reasons and with something in it."""
    assert set(FAMILIES) == {
        "typical", "square", "mixed", "heads",
        "canonical", "saturating", "confident", "near-one", "logits", "wide",
        "kinks", "underflow", "large", "integers",
        "repeated", "one-hot", "zero-weights", "trained-digits", "trained-diabetes", "seeds", "big",
    }  # fmt: skip
    for name, family in FAMILIES.items():
        assert family.why.endswith(".")
        assert family.failing_means.endswith(".")
        assert family.why != family.failing_means
        members = list(family.members(name))
        assert {c.family for c in members} == {name}
        assert {c.dtype for c in members} == set(DTYPES)
        assert bool(OF[name]) == (name not in ("seeds", "big"))
    assert [name for name, f in FAMILIES.items() if f.exact] == ["integers"]
    for name in ("saturating", "underflow", "large", "zero-weights"):
        assert {c.activation for c in OF[name]} == set(ACTIVATIONS)
    kinked = {s for s, d in ACTIVATIONS.items() if d.breaks}
    assert {c.activation for c in OF["kinks"]} == kinked | {"identity"}


def test_the_profiles() -> None:
    quick, exhaustive = cases("quick"), cases("exhaustive")
    assert list(PROFILES) == ["quick", "standard", "exhaustive"]
    assert 1000 < len(STANDARD) < 2000
    assert len(exhaustive) >= 10_000
    assert set(quick) < set(STANDARD) < set(exhaustive)
    assert max(max(c.widths) for c in exhaustive) == 512
    assert max(c.depth for c in exhaustive) == 50
    assert max(c.batch for c in exhaustive) == 1024
    assert len({c.seed for c in exhaustive}) > 5
    order = {c: i for i, c in enumerate(STANDARD)}
    assert [order[c] for c in quick] == sorted(order[c] for c in quick)


def test_the_quick_profile_covers_everything() -> None:
    """PROFILES says so: every activation, depth, batch size, dtype, loss and family."""
    quick = cases("quick")
    assert len(quick) < 200
    for what in ("family", "activation", "dtype", "loss", "batch", "bias"):
        assert {getattr(c, what) for c in quick} == {getattr(c, what) for c in STANDARD}, what
    assert {(c.activation, c.dtype) for c in quick} >= set(product(ACTIVATIONS, DTYPES))
    assert {c.output for c in quick} == {c.output for c in STANDARD}
    assert {1, 2, 3, 5, 8, 16} <= {c.depth for c in quick}


def test_the_sample_of_a_sample_is_in_it() -> None:
    tanh = [c for c in STANDARD if c.activation == "tanh"]
    sample = covering(tanh)
    assert set(sample) <= set(tanh)
    assert {c.family for c in sample} == {c.family for c in tanh}
    assert covering([]) == []


# --- ids ------------------------------------------------------------------------------------------


def test_ids_are_unique() -> None:
    every = cases("exhaustive")
    assert len({c.id for c in every}) == len(every)
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("case", "id_"),
    [
        (Case("typical", "tanh", 2, 7, "float64", (4, 3, 4)), "typical/tanh/L2/n7/float64"),
        (
            Case("typical", "tanh", 2, 7, "float32", (4, 3, 4), bias=True),
            "typical/tanh/L2/n7/float32/bias",
        ),
        (
            Case("heads", "tanh", 1, 1, "float64", (4, 3), "softmax", "cross_entropy"),
            "heads/tanh>softmax+cross_entropy/L1/n1/float64",
        ),
        (
            Case("large", "relu", 1, 1, "float64", (4, 3), "identity"),
            "large/relu>identity+mean_squared_error/L1/n1/float64",
        ),
        (
            Case("kinks", "identity", 1, 7, "float64", (4, 3), loss="huber"),
            "kinks/identity>identity+huber/L1/n7/float64",
        ),
        (
            Case("square", "elu", 3, 7, "float64", (4, 4, 4, 4)),
            "square/elu/L3/n7/float64/w4-4",
        ),
        (
            Case("seeds", "elu", 2, 7, "float64", (2, 7, 6), seed=8),
            "seeds/elu/L2/n7/float64/w2-7-6/seed8",
        ),
    ],
)
def test_an_id_says_what_the_case_is(case: Case, id_: str) -> None:
    assert case.id == id_


def test_an_id_finds_its_case_again() -> None:
    every = cases("exhaustive")
    for c in every[:: len(every) // 4]:
        assert find(c.id) == c


def test_an_unknown_id_has_a_nearest() -> None:
    with pytest.raises(CaseError) as refusal:
        find("typical/tanh/L3/n7/float46")
    assert refusal.value.args == (
        "unknown case 'typical/tanh/L3/n7/float46'. Did you mean 'typical/tanh/L3/n7/float64'?",
    )


def test_the_row_of_a_case() -> None:
    c = find("heads/tanh>softmax+cross_entropy/L3/n7/float64")
    assert c.row() == {
        "id": c.id, "why": FAMILIES["heads"].why, "activation": "tanh", "others": [], "output": "softmax",
        "depth": 3, "batch": 7, "widths": [4, 3, 4, 3], "dtype": "float64", "loss": "cross_entropy",
        "bias": False, "family": "heads", "seed": 0,
    }  # fmt: skip
    assert c.sigma() == {1: "tanh", 2: "tanh", 3: "softmax"}
    assert find("typical/tanh/L3/n7/float64").row()["output"] == "tanh"
    c = find("mixed/tanh+softmax+silu>identity+mean_squared_error/L5/n7/float32")
    assert (c.activation, c.row()["others"]) == ("tanh", ["softmax", "silu"])
    assert c.sigma() == {1: "tanh", 2: "softmax", 3: "silu", 4: "silu", 5: "identity"}


def test_every_activation_stands_beside_another() -> None:
    """So that the σ of another layer is not the same function."""
    mixed = OF["mixed"]
    assert {s for c in mixed for s in c.sigma().values()} == {*ACTIVATIONS, *ROW_WISE}
    for c in mixed:
        sigma = c.sigma()
        assert len({sigma[1], sigma[2], sigma[3]}) == 3


# --- selecting ------------------------------------------------------------------------------------


def test_selecting() -> None:
    assert select(STANDARD, "") == STANDARD
    assert select(STANDARD, " , ") == STANDARD
    some = select(STANDARD, "activation=tanh, depth=3 ,dtype=float64,family=typical")
    assert [c.id for c in some] == [
        "typical/tanh/L3/n1/float64", "typical/tanh/L3/n2/float64/bias",
        "typical/tanh/L3/n7/float64", "typical/tanh/L3/n64/float64/bias",
    ]  # fmt: skip
    assert {c.bias for c in select(STANDARD, "bias=true")} == {True}
    assert {c.widths for c in select(STANDARD, "widths=4-4-4-4")} == {(4, 4, 4, 4)}
    assert [c.id for c in select(STANDARD, f"id={STANDARD[5].id}")] == [STANDARD[5].id]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("tanh", "cannot read 'tanh'; expected field=value, such as depth=3."),
        (
            "activaton=tanh",
            "unknown field 'activaton'. Did you mean 'activation'? There are: id, why, activation, "
            "others, output, depth, batch, widths, dtype, loss, bias, family, seed.",
        ),
        ("depth=4", "unknown depth '4'. There are: 1, 16, 2, 3, 5, 8."),
        (
            "dtype=float46",
            "unknown dtype 'float46'. Did you mean 'float64'? There are: float32, float64.",
        ),
        ("bias=yes", "unknown bias 'yes'. There are: false, true."),
        (
            "activation=tanh,family=square,depth=16",
            "no case has 'activation=tanh,family=square,depth=16': each field occurs, but not together.",
        ),
    ],
)
def test_what_cannot_be_selected(wanted: str, message: str) -> None:
    with pytest.raises(CaseError) as refusal:
        select(STANDARD, wanted)
    assert refusal.value.args == (message,)


def test_an_unknown_profile() -> None:
    with pytest.raises(CaseError) as refusal:
        cases("standrad")
    assert refusal.value.args == (
        "unknown profile 'standrad'. Did you mean 'standard'? There are: quick, standard, exhaustive.",
    )
    with pytest.raises(CaseError, match=r"^unknown profile 'xyz'\. There are: quick"):
        cases("xyz")


# --- data -----------------------------------------------------------------------------------------


def same(p: Problem, q: Problem) -> bool:
    return (
        all(p.W[l].tobytes() == q.W[l].tobytes() for l in p.W)
        and p.X.tobytes() == q.X.tobytes()
        and p.Y.tobytes() == q.Y.tobytes()
    )


@pytest.mark.parametrize("case", cases("quick"), ids=lambda c: c.id)
def test_the_numbers_of_a_case(case: Case) -> None:
    p = case.problem()
    assert same(p, case.problem())
    assert (
        not same(p, Case(**{**vars(case), "seed": 99}).problem()) or case.family == "zero-weights"
    )
    assert p.dtype == np.dtype(case.dtype)
    assert p.X.shape == (case.batch, case.widths[0])
    assert p.Y.shape == (case.batch, case.widths[-1])
    assert p.depth == case.depth
    alpha = 0.125 if case.exact else float(np.dtype(case.dtype).type(0.1))
    assert (p.bias, p.loss, p.alpha) == (case.bias, case.loss, alpha)
    assert p.sigma == case.sigma()
    for l, M in p.W.items():
        assert M.shape == (case.widths[l - 1] + case.bias, case.widths[l])
        assert p.weights(l).shape == (case.widths[l - 1], case.widths[l])
    for M in (*p.W.values(), p.X, p.Y):
        assert M.dtype == p.dtype
        assert np.isfinite(M).all()
        assert M.flags.c_contiguous
        assert not M.flags.writeable
    if "entropy" in case.loss:
        assert ((p.Y >= 0) & (p.Y <= 1)).all()
    operand = p.operand(p.X)
    assert operand.dtype == p.dtype
    if case.bias:
        assert (operand[:, -1] == 1).all()
    one = p.row(case.batch - 1)
    np.testing.assert_array_equal(one.X, p.X[-1:])
    np.testing.assert_array_equal(one.Y, p.Y[-1:])


def test_the_numbers_are_the_same_in_another_process() -> None:
    ids = ["typical/mish/L3/n7/float32/bias", "square/relu/L3/n7/float32/w4-4"]
    code = (
        "import sys, zlib; from conformance.cases.profiles import find\n"
        "for i in sys.argv[1:]:\n"
        "    p = find(i).problem()\n"
        "    print(zlib.crc32(b''.join(M.tobytes() for M in (*p.W.values(), p.X, p.Y))))"
    )
    from zlib import crc32

    found = subprocess.run(
        [sys.executable, "-c", code, *ids], capture_output=True, text=True, check=True
    )
    expected = []
    for i in ids:
        p = find(i).problem()
        expected.append(crc32(b"".join(M.tobytes() for M in (*p.W.values(), p.X, p.Y))))
    assert [int(x) for x in found.stdout.split()] == expected
    assert expected


def test_targets_of_probabilities_are_of_every_kind() -> None:
    """Sharp ones and soft ones: log 0 times 0 is met, and so is a mixture."""
    for loss in ("cross_entropy", "binary_cross_entropy", "log_softmax_cross_entropy"):
        Y = np.vstack([c.problem().Y for c in OF["heads"] if c.loss == loss])
        assert {0.0, 1.0} <= set(Y.ravel())
        assert ((Y > 0) & (Y < 1)).any()
        if loss != "binary_cross_entropy":
            sharp = (Y == 1).any(axis=1)
            assert (Y[sharp].sum(axis=1) == 1).all()
            assert (np.abs(Y.sum(axis=1) - 1) < 0.05).all()
    for loss in ("mean_squared_error", "huber", "mean_absolute_error"):
        Y = np.vstack([c.problem().Y for c in OF["heads"] if c.loss == loss])
        assert Y.min() < -1
        assert Y.max() > 1


def pre_activation(c: Case) -> Any:
    """A_1, without rounding, for a case whose W_1 picks columns of X."""
    p = c.problem()
    A = p.X @ p.W[1]
    assert set(np.unique(p.W[1])) <= {0.0, 1.0}
    assert not c.bias
    return A


def test_saturating_reaches_the_tails() -> None:
    for c in OF["saturating"]:
        A = pre_activation(c)
        assert {1000.0, -1000.0, 745.5, -745.5, 37.0, -37.0, 5.0 if A.size > 21 else 7.0} <= set(
            A.ravel()
        )


def test_kinks_are_met_exactly_and_from_both_sides() -> None:
    for c in OF["kinks"]:
        if c.loss != "mean_squared_error":
            continue
        A, dtype = pre_activation(c), np.dtype(c.dtype).type
        for at in ACTIVATIONS[c.activation].breaks:
            least = np.finfo(dtype).smallest_normal
            below, above = (
                (-least, least)
                if at == 0
                else (np.nextafter(dtype(at), dtype(s * np.inf)) for s in (-1, 1))
            )
            assert {dtype(at), below, above} <= set(A.ravel()), c.id


def test_the_kink_of_the_absolute_error_is_met() -> None:
    of = [c for c in OF["kinks"] if c.loss == "mean_absolute_error"]
    assert {c.dtype for c in of} == set(DTYPES)
    for c in of:
        p = c.problem()
        equal = (pre_activation(c) == p.Y).mean()
        assert 0.2 < equal < 0.8


def test_underflow_reaches_the_smallest_numbers() -> None:
    for dtype in DTYPES:
        f = np.finfo(dtype)
        X = np.vstack([c.problem().X for c in OF["underflow"] if c.dtype == dtype])
        assert X.min() < f.smallest_subnormal * 16
        assert (f.smallest_normal > X).mean() > 0.2
        assert (f.smallest_normal < X).mean() > 0.2


def test_large_is_large() -> None:
    for c in OF["large"]:
        assert np.abs(c.problem().X).max() > (2.0**190 if c.dtype == "float64" else 2.0**20)


def test_the_other_families() -> None:
    for c in OF["repeated"]:
        p = c.problem()
        assert c.batch == 64
        assert (p.X[0] == p.X).all()
        assert (p.Y[0] == p.Y).all()
    for c in OF["one-hot"]:
        X = c.problem().X
        assert ((X == 0) | (X == 1)).all()
        assert (X.sum(axis=1) == 1).all()
    for c in OF["zero-weights"]:
        p = c.problem()
        assert not any(M.any() for M in p.W.values())
        assert p.X.all()
    for c in OF["trained-digits"] + OF["trained-diabetes"]:
        assert c.bias
        assert c.batch in (7, 64)


# --- exactness ------------------------------------------------------------------------------------


def exact_sums(p: Problem) -> int:
    """Asserts that every partial sum of every inner product, in whatever order, is a float.

    Numbers are integers times a power of two, 2^−s; a sum of them is one as well, and no partial sum
    exceeds the sum of the absolute values. Returns how many sums were looked at.
    """
    bits = 24 if p.dtype == np.float32 else 53
    seen = 0

    def scale(M: Any) -> int:
        return max(
            [f.denominator.bit_length() - 1 for f in (Fraction(float(x)) for x in M.ravel())]
        )

    def product_fits(P: Any, Q: Any) -> None:
        nonlocal seen
        total = np.abs(P.astype(float)) @ np.abs(Q.astype(float))
        assert total.max() * 2.0 ** (scale(P) + scale(Q)) <= 2.0**bits
        seen += total.size

    Z = {0: p.X.astype(float)}
    W = {l: M.astype(float) for l, M in p.W.items()}
    A = {}
    sigma = {
        "relu": lambda a: np.maximum(a, 0),
        "relu6": lambda a: np.clip(a, 0, 6),
        "identity": lambda a: a,
    }
    slope = {
        "relu": lambda a: a > 0,
        "relu6": lambda a: (a > 0) & (a < 6),
        "identity": lambda a: a == a,
    }
    L, n = p.depth, len(p.X)
    for l in range(1, L + 1):
        product_fits(p.operand(Z[l - 1]), W[l])
        A[l] = p.operand(Z[l - 1]) @ W[l]
        Z[l] = sigma[p.sigma[l]](A[l])
    error = Z[L] - p.Y.astype(float)
    assert (error == error.astype(p.dtype)).all()
    assert (error**2).sum() * 2.0 ** (2 * scale(error)) <= 2.0**bits  # the loss, times n
    assert n & (n - 1) == 0  # and the division by n is exact
    delta = 2 * error / n * slope[p.sigma[L]](A[L])
    for l in range(L, 0, -1):
        product_fits(p.operand(Z[l - 1]).T, delta)
        dW = p.operand(Z[l - 1]).T @ delta
        step = p.alpha * dW
        assert np.abs(W[l] - step).max() * 2.0 ** scale(step) <= 2.0**bits
        if l > 1:
            V = (W[l][:-1] if p.bias else W[l]).T
            product_fits(delta, V)
            delta = (delta @ V) * slope[p.sigma[l - 1]](A[l - 1])
    return seen


@pytest.mark.parametrize("case", OF["integers"], ids=lambda c: c.id)
def test_the_sums_of_the_exact_family_are_exact(case: Case) -> None:
    p = case.problem()
    assert exact_sums(p) > 5
    assert np.abs(p.X).min() >= 2**12  # wider than TF32's 11 bits
    wide = np.abs(p.X.astype(float)) / np.gcd.reduce([2**13, *np.abs(p.X).astype(int).ravel()])
    assert wide.max() >= 2**11
    assert case.exact


def test_some_sums_of_the_exact_family_cancel_and_some_deltas_are_not_zero() -> None:
    problems = [c.problem() for c in OF["integers"]]
    assert all((p.Y != 0).any() for p in problems)
    assert {-1.0, 0.0, 1.0} == set(np.concatenate([p.W[1].ravel() for p in problems]))


def test_a_spanning_sample_meets_every_value_of_every_field() -> None:
    everything = covering(cases("standard"))
    sample = spanning(everything)
    assert len(sample) < len(everything)
    for field in ("activation", "depth", "batch", "dtype", "family", "loss", "bias"):
        assert {getattr(c, field) for c in sample} == {getattr(c, field) for c in everything}
    assert {c.row()["output"] for c in sample} == {c.row()["output"] for c in everything}
    assert spanning(sample) == sample
    fewer = spanning(cases("quick"), SHAPES)  # what is jitted in `quick`
    assert len(fewer) < len(spanning(cases("quick")))
    for field in ("depth", "batch", "dtype", "loss", "bias"):
        assert {getattr(c, field) for c in fewer} == {getattr(c, field) for c in everything}


# --- what is in the families that hold classifiers and wide layers ----------------------------------


def test_the_networks_people_write_are_all_in_quick() -> None:
    quick = set(cases("quick"))
    assert set(OF["canonical"]) <= quick
    heads = {(c.activation, c.output, c.loss) for c in OF["canonical"]}
    assert heads == {
        (hidden, *head)
        for hidden in ("relu", "sigmoid", "tanh")
        for head in (
            ("softmax", "cross_entropy"), ("log_softmax", "log_softmax_cross_entropy"),
            ("sigmoid", "binary_cross_entropy"), ("identity", "mean_squared_error"),
            ("sigmoid", "mean_squared_error"),
        )
    }  # fmt: skip
    for c in OF["canonical"]:
        Y = c.problem().Y
        assert c.depth == 3
        assert set(np.unique(Y)) <= {0, 1}
        assert (c.widths[-1] == 1) == (c.loss == "binary_cross_entropy")
        assert Y.shape[1] == 1 or (Y.sum(axis=1) == 1).all()
    assert {len(set(c.widths[:-1])) for c in OF["canonical"]} == {1, 2}


def test_logits_overflow_unless_the_maximum_is_subtracted() -> None:
    for c in OF["logits"]:
        A = implementation("refbp").run(c.problem()).A[1]
        with np.errstate(over="ignore"):
            assert np.isinf(np.exp(A)).any(), c.id
            assert (np.exp(A).sum(axis=1) == 0).any(), c.id


def test_confident_classes_are_far_below_every_clip() -> None:
    for c in OF["confident"]:
        t, p = implementation("refbp").run(c.problem()), c.problem()
        surely_wrong = t.Z[1][(p.Y > 0)].min()
        assert 0 < surely_wrong < 1e-14, c.id
        assert (t.Z[1] >= np.finfo(c.dtype).smallest_normal).all(), c.id
    for c in OF["near-one"]:
        rest = 1 - implementation("refbp").run(c.problem()).Z[1]
        assert 0 < rest.min() < (1e-12 if c.dtype == "float64" else 1e-4)


def test_wide_layers_stand_beside_tiles() -> None:
    sizes = {x for c in OF["wide"] for x in (*c.widths, c.batch)}
    assert {33, 65, 129, 257} <= sizes
    assert {c.dtype for c in OF["wide"] if c in set(cases("quick"))} == set(DTYPES)
