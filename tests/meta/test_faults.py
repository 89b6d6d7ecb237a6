"""The tests are tested: every mistake planted below turns the verdict, and the right step is blamed.

The procedures are written out once more here, in `Loop`, every step a function that a fault replaces.
With none replaced the loop conforms wherever a fault is planted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import refbp
from conformance.cases import find
from conformance.implementations import implementation
from conformance.judge import Subject, judge
from conformance.known_differences import amend
from conformance.problem import Problem, Trace
from conformance.results import Result
from conformance.runner import judged, started
from conformance.tolerance import Arithmetic, StepTolerance, accuracy
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.network import Steps

# --- the procedures, with switches ----------------------------------------------------------------


@dataclass
class State:
    """What has been computed so far."""

    p: Problem
    A: dict[int, Any] = field(default_factory=dict)
    Z: dict[int, Any] = field(default_factory=dict)
    delta: dict[int, Any] = field(default_factory=dict)
    dW: dict[int, Any] = field(default_factory=dict)
    W_new: dict[int, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.p.X)

    def sigma(self, l: int) -> Any:
        return refbp.activation(self.p.sigma[l])

    def before(self, l: int) -> Any:
        """Z̃_{l-1}."""
        return self.p.operand(self.Z[l - 1])


def scalar(p: Problem, x: float) -> Any:
    return p.dtype.type(x)


RIGHT: Mapping[str, Callable[..., Any]] = {
    "A": lambda s, l: s.before(l) @ s.p.W[l],
    "Z": lambda s, l: s.sigma(l)(s.A[l]),
    "loss": lambda s: np.asarray(refbp.loss(s.p.loss)(s.Z[s.p.depth], s.p.Y)),
    "G_L": lambda s: refbp.loss(s.p.loss).gradient(s.Z[s.p.depth], s.p.Y),
    "G": lambda s, l: s.delta[l + 1] @ s.p.weights(l + 1).T,
    "delta": lambda s, l, G: s.sigma(l).vjp(s.A[l], G),
    "dW": lambda s, l: s.before(l).T @ s.delta[l],
    "W_new": lambda s, l: s.p.W[l] - scalar(s.p, s.p.alpha) * s.dW[l],
}


class Loop:
    """FORWARD-PASS, BACKWARDPROP and the update; `wrong` replaces steps of them."""

    name, description = "refbp", "planted"

    def __init__(self, **wrong: Callable[..., Any]) -> None:
        self.step = {**RIGHT, **wrong}
        assert set(self.step) == set(RIGHT)

    def start(self) -> tuple[dict[str, str], str]:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        do, s, L = self.step, State(p), p.depth
        s.Z[0] = p.X
        for l in range(1, L + 1):
            s.A[l] = do["A"](s, l)
            s.Z[l] = do["Z"](s, l)
        loss = do["loss"](s)
        for l in range(L, 0, -1):
            G = do["G_L"](s) if l == L else do["G"](s, l)
            s.delta[l] = do["delta"](s, l, G)
            s.dW[l] = do["dW"](s, l)
        for l in range(1, L + 1):
            s.W_new[l] = do["W_new"](s, l)
        del s.Z[0]
        return Trace(s.A, s.Z, s.delta, s.dW, s.W_new, loss)


@cache
def subject(case: str) -> Subject:
    """A case with its truth, computed once for all the faults planted in it."""
    return Subject(find(case))


def verdict_on(case: str, **wrong: Callable[..., Any]) -> Result:
    """What is said of the loop with these steps replaced, held to refbp's tolerances."""
    loop, of = Loop(**wrong), subject(case)
    alone = loop.run(of.alone.problem) if of.alone else None
    return judge(of, "refbp", loop.run(of.problem), loop.run(of.problem), alone)


def exceeding(result: Result, gate: str) -> list[str]:
    """The quantities of a gate that deviate, as "delta_2", in the order of the algorithm."""
    return [
        f"{r['quantity']}_{r['layer']}"
        for r in result["records"]
        if r["gate"] == gate and float(r["ratio"]) > 1
    ]


# --- the mistakes ---------------------------------------------------------------------------------

SQUARE = "square/tanh/L3/n7/float64/w4-4"
TYPICAL = "typical/tanh/L3/n7/float64"
DEEP = "typical/gelu/L5/n7/float64/bias"
BIASED = "typical/tanh/L2/n7/float64/bias"
MIXED = "heads/tanh>softplus+huber/L3/n7/float64"
SOFTMAX = "heads/tanh>softmax+cross_entropy/L3/n7/float64"
LOG_SOFTMAX = "heads/tanh>log_softmax+log_softmax_cross_entropy/L3/n7/float64/bias"
RELU = "typical/relu/L3/n7/float64"
KINKS = "kinks/relu/L1/n7/float64"
OTHERS = "mixed/softsign+mish+hardtanh>identity+mean_squared_error/L5/n7/float64/bias"
ROWS = "mixed/tanh+softmax+silu>identity+mean_squared_error/L5/n7/float64/bias"
UNDERFLOW = "underflow/tanh>identity+mean_squared_error/L2/n7/float32"
SATURATING = "saturating/tanh>identity+mean_squared_error/L2/n7/float64"
REPEATED = "repeated/tanh/L3/n64/float64"


def _scaled_in_one(M: Any, index: tuple[int, int], factor: float) -> Any:
    """M with one element multiplied; as it is where there is no such element."""
    M = M.copy()
    M[index[0] : index[0] + 1, index[1]] *= factor
    return M


def _flushed(M: Any) -> Any:
    return np.where(np.abs(M) < np.finfo(M.dtype).smallest_normal, M.dtype.type(0), M)


def _earlier(p: Problem) -> State:
    """The forward pass of another batch: the examples in another order."""
    s = State(p)
    s.Z[0] = np.roll(p.X, 1, axis=0)
    for l in range(1, p.depth + 1):
        s.A[l] = RIGHT["A"](s, l)
        s.Z[l] = RIGHT["Z"](s, l)
    return s


def _wrong_layer(s: State, l: int) -> Any:
    return s.delta[l + 1] @ s.p.weights(l).T


def _derivative_of_neighbour(s: State, l: int, G: Any) -> Any:
    return s.sigma(min(l + 1, s.p.depth)).vjp(s.A[l], G)


def _elementwise_softmax(s: State, l: int, G: Any) -> Any:
    return G * s.Z[l] * (1 - s.Z[l]) if l == s.p.depth else RIGHT["delta"](s, l, G)


def _stale(s: State, l: int) -> Any:
    return RIGHT["dW"](s, l) if l == 1 else _earlier(s.p).before(l).T @ s.delta[l]


def _average_bias(s: State, l: int) -> Any:
    dW = RIGHT["dW"](s, l)
    dW[-1] /= s.n
    return dW


def _no_bias_gradient(s: State, l: int) -> Any:
    dW = RIGHT["dW"](s, l)
    dW[-1] = 0
    return dW


def _in_float32(s: State, l: int) -> Any:
    return (s.before(l).astype("float32") @ s.p.W[l].astype("float32")).astype("float64")


def _in_place(s: State, l: int) -> Any:
    """nn.ReLU(inplace=True): what is kept as A_l is Z_l."""
    s.A[l] = RIGHT["Z"](s, l)
    return s.A[l].copy()


def _overwritten(s: State, l: int, G: Any) -> Any:
    """δ_l multiplied by W_l's own input before it is kept."""
    delta = RIGHT["delta"](s, l, G)
    delta[0] = delta[-1]
    return delta


def _off_in_one(s: State, l: int, G: Any) -> Any:
    return _scaled_in_one(RIGHT["delta"](s, l, G), (4, 1), 1 + 1e-12)


@dataclass(frozen=True)
class Fault:
    """A mistake, where it is planted, and what the step gate must blame, which is nothing else."""

    what: str
    case: str
    wrong: Mapping[str, Callable[..., Any]]
    blamed: str
    index: list[int] | None = None  # of the first deviation, where it is one element
    far: bool = True  # whether the end-to-end gate sees it too


D = RIGHT["delta"]

FAULTS = (
    Fault("missing 1/n", TYPICAL, {"G_L": lambda s: RIGHT["G_L"](s) * s.n}, "delta_3"),
    Fault(
        "1/(n d_L) for 1/n",
        TYPICAL,
        {"G_L": lambda s: RIGHT["G_L"](s) / s.p.Y.shape[1]},
        "delta_3",
    ),
    Fault("doubled loss gradient", TYPICAL, {"G_L": lambda s: 2 * RIGHT["G_L"](s)}, "delta_3"),
    Fault("y − z for z − y", TYPICAL, {"G_L": lambda s: -RIGHT["G_L"](s)}, "delta_3"),
    Fault("W_l for W_{l+1}", SQUARE, {"G": _wrong_layer}, "delta_2 delta_1"),
    Fault(
        "W_{l+1} not transposed",
        SQUARE,
        {"G": lambda s, l: s.delta[l + 1] @ s.p.W[l + 1]},
        "delta_2 delta_1",
    ),
    Fault(
        "σ'(Z) for σ'(A)",
        TYPICAL,
        {"delta": lambda s, l, G: s.sigma(l).vjp(s.Z[l], G)},
        "delta_3 delta_2 delta_1",
    ),
    Fault("missing σ'", TYPICAL, {"delta": lambda s, l, G: G}, "delta_3 delta_2 delta_1"),
    Fault(
        "missing σ' in one layer",
        DEEP,
        {"delta": lambda s, l, G: G if l == 2 else D(s, l, G)},
        "delta_2",
    ),
    Fault(
        "σ for σ'",
        TYPICAL,
        {"delta": lambda s, l, G: G * s.Z[l]},
        "delta_3 delta_2 delta_1",
    ),
    Fault("σ'_{l+1} for σ'_l", MIXED, {"delta": _derivative_of_neighbour}, "delta_2"),
    Fault("softmax elementwise", SOFTMAX, {"delta": _elementwise_softmax}, "delta_3"),
    Fault(
        "softmax's Jacobian without the sum",
        LOG_SOFTMAX,
        {"delta": lambda s, l, G: G if l == 3 else D(s, l, G)},
        "delta_3",
    ),
    Fault(
        "transposed gradient", SQUARE, {"dW": lambda s, l: RIGHT["dW"](s, l).T}, "dW_3 dW_2 dW_1"
    ),
    Fault("stale Z, of the batch before", TYPICAL, {"dW": _stale}, "dW_3 dW_2"),
    Fault(
        "stale A, of the batch before",
        TYPICAL,
        {"delta": lambda s, l, G: s.sigma(l).vjp(_earlier(s.p).A[l], G)},
        "delta_3 delta_2 delta_1",
    ),
    Fault(
        "A_l for Z_{l-1} in ∂L/∂W_l",
        SQUARE,
        {"dW": lambda s, l: (s.A[l - 1] if l > 1 else s.p.X).T @ s.delta[l]},
        "dW_3 dW_2",
    ),
    Fault(
        "update before δ",
        TYPICAL,
        {"G": lambda s, l: s.delta[l + 1] @ RIGHT["W_new"](s, l + 1).T},
        "delta_2 delta_1",
    ),
    Fault(
        "one element of δ off by 1e-12",
        TYPICAL,
        {"delta": lambda s, l, G: _off_in_one(s, l, G) if l == 2 else D(s, l, G)},
        "delta_2",
        [4, 1],
    ),
    Fault(
        "one row of δ copied over another",
        TYPICAL,
        {"delta": lambda s, l, G: _overwritten(s, l, G) if l == 1 else D(s, l, G)},
        "delta_1",
    ),
    Fault("bias gradient averaged", BIASED, {"dW": _average_bias}, "dW_2 dW_1"),
    Fault("no bias gradient", BIASED, {"dW": _no_bias_gradient}, "dW_2 dW_1"),
    Fault(
        "bias added twice",
        BIASED,
        {"A": lambda s, l: RIGHT["A"](s, l) + s.p.W[l][-1] if l == 2 else RIGHT["A"](s, l)},
        "A_2",
    ),
    Fault(
        "last example dropped",
        TYPICAL,
        {"dW": lambda s, l: s.before(l)[:-1].T @ s.delta[l][:-1]},
        "dW_3 dW_2 dW_1",
    ),
    Fault(
        "last of 64 equal examples dropped",
        REPEATED,
        {"dW": lambda s, l: s.before(l)[:-1].T @ s.delta[l][:-1]},
        "dW_3 dW_2 dW_1",
    ),
    Fault(
        "gradients added to those before",
        TYPICAL,
        {"dW": lambda s, l: RIGHT["dW"](s, l) + _earlier(s.p).before(l).T @ s.delta[l]},
        "dW_3 dW_2 dW_1",
    ),
    Fault("float32 within float64", TYPICAL, {"A": _in_float32}, "A_1 A_2 A_3"),
    Fault("A_l overwritten in place", RELU, {"Z": _in_place}, "A_1 A_2 A_3"),
    Fault("no activation", TYPICAL, {"Z": lambda s, l: s.A[l].copy()}, "Z_1 Z_2 Z_3"),
    Fault(
        "the loss of half the batch",
        TYPICAL,
        {"loss": lambda s: RIGHT["loss"](s) / 2},
        "loss_3",
    ),
    Fault(
        "relu'(0) = 1",
        KINKS,
        {"delta": lambda s, l, G: np.where(s.A[l] >= 0, G, 0)},
        "delta_1",
        far=False,  # where A rounds to either side of 0, both one-sided derivatives are accepted
    ),
    Fault(
        "tanh' as 1 − tanh²",
        SATURATING,
        {"delta": lambda s, l, G: G * (1 - s.Z[l] ** 2) if l == 1 else D(s, l, G)},
        "delta_1",
    ),
    Fault(
        "α twice as large",
        TYPICAL,
        {"W_new": lambda s, l: s.p.W[l] - 2 * s.p.alpha * s.dW[l]},
        "W_new_1 W_new_2 W_new_3",
    ),
    Fault(
        "α in half precision",
        TYPICAL,
        {"W_new": lambda s, l: s.p.W[l] - float(np.float16(s.p.alpha)) * s.dW[l]},
        "W_new_1 W_new_2 W_new_3",
    ),
    Fault(
        "the targets in half precision",
        LOG_SOFTMAX,
        {"G_L": lambda s: -s.p.Y.astype(np.float16).astype(s.p.dtype) / s.n},
        "delta_3",
    ),
    Fault(
        "σ_1 in every hidden layer",
        OTHERS,
        {"Z": lambda s, l: s.sigma(1 if l < s.p.depth else l)(s.A[l])},
        "Z_2 Z_3 Z_4",
    ),
    Fault(
        "σ'_1 in every hidden layer",
        OTHERS,
        {"delta": lambda s, l, G: s.sigma(1 if l < s.p.depth else l).vjp(s.A[l], G)},
        "delta_4 delta_3 delta_2",
    ),
    Fault(
        "a hidden softmax differentiated as if it were elementwise",
        ROWS,
        {"delta": lambda s, l, G: G * s.Z[2] * (1 - s.Z[2]) if l == 2 else D(s, l, G)},
        "delta_2",
    ),
    Fault(
        "subnormal numbers flushed to zero",
        UNDERFLOW,
        {"Z": lambda s, l: _flushed(s.sigma(l)(s.A[l]))},
        "Z_1 Z_2",
        far=True,
    ),
    Fault(
        "W + α ∂L/∂W",
        TYPICAL,
        {"W_new": lambda s, l: s.p.W[l] + s.p.alpha * s.dW[l]},
        "W_new_1 W_new_2 W_new_3",
    ),
    Fault(
        "one layer not updated",
        DEEP,
        {"W_new": lambda s, l: s.p.W[l] + 0 if l == 4 else RIGHT["W_new"](s, l)},
        "W_new_4",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.what)
def test_a_fault_is_seen_where_it_is(fault: Fault) -> None:
    result = verdict_on(fault.case, **fault.wrong)
    blamed = fault.blamed.split()
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == blamed
    first = result["first_deviation"]
    assert first is not None
    assert f"{first['quantity']}_{first['layer']}" == blamed[0]
    assert first["gate"] == "step"
    assert fault.index in (None, first["index"])
    assert bool(exceeding(result, "end-to-end")) == fault.far
    assert float(first["ratio"]) > 1
    assert "is wrong given its own operands: got " in result["message"]


@pytest.mark.parametrize("case", sorted({f.case for f in FAULTS}))
def test_the_loop_without_a_fault_conforms(case: str) -> None:
    result = verdict_on(case)
    assert (result["verdict"], result["message"]) == ("conforms", "")
    assert {r["gate"] for r in result["records"]} >= {"step", "end-to-end"}


def test_there_are_faults_enough_and_they_differ() -> None:
    assert len({f.what for f in FAULTS}) == len(FAULTS) >= 30
    assert {q.rpartition("_")[0] for f in FAULTS for q in f.blamed.split()} == {
        "A", "Z", "loss", "delta", "dW", "W_new",
    }  # fmt: skip


# --- how small a mistake is seen ------------------------------------------------------------------

EVERYWHERE, IN_ONE = 1 + 1e-14, 1 + 1e-12
HEADS = {"softmax": SOFTMAX, "log_softmax": LOG_SOFTMAX}
PLACES = {**{s: f"typical/{s}/L3/n7/float64" for s in ACTIVATIONS}, **HEADS}


def scaled(s: State, l: int, G: Any) -> Any:
    return D(s, l, G) * EVERYWHERE


@pytest.mark.parametrize(("activation", "case"), PLACES.items(), ids=lambda x: x.split("/")[0])
def test_a_derivative_scaled_by_1e_14_is_seen(activation: str, case: str) -> None:
    result = verdict_on(case, delta=scaled)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == ["delta_3", "delta_2", "delta_1"]


@pytest.mark.parametrize(("activation", "case"), PLACES.items(), ids=lambda x: x.split("/")[0])
def test_one_derivative_scaled_by_1e_12_is_seen(activation: str, case: str) -> None:
    """In the output layer, at the element of the batch where it matters least but is not 0."""
    delta = np.abs(Loop().run(subject(case).problem).delta[3])
    least = np.unravel_index(np.where(delta > 0, delta, np.inf).argmin(), delta.shape)
    index = (int(least[0]), int(least[1]))

    def off(s: State, l: int, G: Any) -> Any:
        return _scaled_in_one(D(s, l, G), index, IN_ONE) if l == 3 else D(s, l, G)

    result = verdict_on(case, delta=off)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == ["delta_3"]
    assert result["first_deviation"] is not None
    assert result["first_deviation"]["index"] == list(index)


def smallest_seen(case: str) -> Any:
    """For every element of every δ_l that is not 0: by which relative error it would be seen."""
    p, t = subject(case).problem, Loop().run(subject(case).problem)
    of_sigma = {l: accuracy("refbp", p.dtype.name, s) for l, s in p.sigma.items()}
    steps, bound = Steps(p, amend(()).maths), StepTolerance(p, Arithmetic.of(p.dtype), of_sigma)
    found = []
    for l, A in t.A.items():
        after = t.Z[l] if l == p.depth else t.delta[l + 1]
        layer = steps.layer(l, A, after)
        allowed, size = bound.link(l, A, after, layer), np.abs(layer.delta.hi)
        found.append(allowed[size > 0] / size[size > 0])
    return np.concatenate(found)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_derivative_of_ordinary_size_scaled_by_1e_12_is_seen(activation: str) -> None:
    """Not only those planted above: every element, each alone."""
    seen = np.concatenate([smallest_seen(f"typical/{activation}/L{L}/n7/float64") for L in (1, 3)])
    assert len(seen) > 40
    assert seen.max() < 0.5e-12
    assert seen.min() < 1.5e-15


def test_an_error_below_the_rounding_of_its_own_operands_is_not_seen() -> None:
    """The tests above can fail: half a unit in the last place is nobody's mistake."""

    def off(s: State, l: int, G: Any) -> Any:
        return D(s, l, G) * (1 + 2.0**-52) if l == 3 else D(s, l, G)

    assert verdict_on(TYPICAL, delta=off)["verdict"] == "conforms"


# --- integers, where nothing is allowed -----------------------------------------------------------

INTEGERS = "integers/relu/L2/n64/float32"


def tf32(M: Any) -> Any:
    """M as a TF32 unit reads it: 11 bits of float32's 24, to nearest."""
    bits = np.ascontiguousarray(M, "float32").view("uint32")
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view("float32")


def in_tf32(s: State, l: int) -> Any:
    return tf32(s.before(l)) @ tf32(s.p.W[l])


def one_ulp(s: State, l: int) -> Any:
    A = RIGHT["A"](s, l)
    if l == 1:
        A[5, 1] = np.nextafter(A[5, 1], np.float32(np.inf))
    return A


def test_integers_conform_exactly() -> None:
    result = verdict_on(INTEGERS)
    assert result["verdict"] == "conforms"
    exact = [r for r in result["records"] if r["gate"] == "exact"]
    assert len(exact) == 5 * 2 + 1
    assert {(r["error"], r["tolerance"], r["ratio"]) for r in exact} == {(0.0, 0.0, 0.0)}


def test_tf32_is_seen_by_the_exact_gate() -> None:
    result = verdict_on(INTEGERS, A=in_tf32)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "exact")[0] == "A_1"
    assert exceeding(result, "step")[0] == "A_1"


def test_one_unit_in_the_last_place_is_seen_by_the_exact_gate_alone() -> None:
    result = verdict_on(INTEGERS, A=one_ulp)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == exceeding(result, "end-to-end") == []
    first = result["first_deviation"]
    assert first is not None
    assert (first["quantity"], first["layer"], first["gate"], first["index"]) == (
        "A", 1, "exact", [5, 1],
    )  # fmt: skip
    assert "A_1[5, 1] is not exact: got " in result["message"]
    assert result["message"].endswith(" where 0.0 is allowed (inf times).")


# --- the arithmetic declared ----------------------------------------------------------------------


def in_single(s: State, l: int) -> Any:
    return (s.before(l).astype("float32") @ s.p.W[l].astype("float32")).astype(s.p.dtype)


def flushing(*dtypes: str) -> Callable[[State, int], Any]:
    def product(s: State, l: int) -> Any:
        A, normal = RIGHT["A"](s, l), np.finfo(s.p.dtype).smallest_normal
        return np.where(np.abs(A) < normal, 0, A) if s.p.dtype.name in dtypes else A

    return product


def rounding_float32(s: State, l: int) -> Any:
    return in_tf32(s, l) if s.p.dtype == np.float32 else RIGHT["A"](s, l)


@pytest.mark.parametrize(
    ("product", "probes", "status"),
    [
        pytest.param(RIGHT["A"], ("no", "yes", "kept"), "ran", id="nothing wrong"),
        pytest.param(rounding_float32, ("yes", "yes", "kept"), "error", id="TF32"),
        pytest.param(in_single, ("no", "no", "flushed to zero in float64"), "error", id="x64 off"),
        pytest.param(
            flushing("float32", "float64"), ("no", "yes", "flushed to zero"), "ran", id="flushes"
        ),
        pytest.param(
            flushing("float32"), ("no", "yes", "flushed to zero in float32"), "ran",
            id="flushes in float32",
        ),
    ],
)  # fmt: skip
def test_a_probe_finds_the_arithmetic(
    product: Any, probes: tuple[str, ...], status: str, plant: Callable[..., None]
) -> None:
    plant("planted", Loop(A=product))
    row = started("planted").row
    assert tuple(row["probes"].values()) == probes
    assert row["status"] == status
    assert (started("planted").ready is None) == (status == "error")
    assert bool(row["reason"]) == (status == "error")


# --- what is no trace at all ----------------------------------------------------------------------


def _with(t: Trace, quantity: str, l: int, M: Any) -> Trace:
    return replace(t, **{quantity: {**t.layers(quantity), l: M}})


def _poisoned(t: Trace, quantity: str, l: int, value: float) -> Trace:
    M = t.layers(quantity)[l].copy()
    M[1, 2] = value
    return _with(t, quantity, l, M)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("quantity", "l"), [("A", 2), ("Z", 1), ("delta", 2), ("dW", 2),
                                             ("W_new", 2)])  # fmt: skip
def test_a_number_that_is_none_deviates(quantity: str, l: int, value: float) -> None:
    of = subject(TYPICAL)
    result = judge(of, "refbp", _poisoned(Loop().run(of.problem), quantity, l, value))
    assert result["verdict"] == "deviates"
    first = result["first_deviation"]
    assert first is not None
    assert (first["quantity"], first["layer"], first["index"]) == (quantity, l, [1, 2])
    assert (first["gate"], first["got"], first["error"]) == ("step", str(value), "inf")


def test_a_loss_that_is_nan_deviates() -> None:
    of = subject(TYPICAL)
    result = judge(of, "refbp", replace(Loop().run(of.problem), loss=np.array(np.nan)))
    assert result["verdict"] == "deviates"
    assert result["message"].startswith("L is wrong given its own operands: got nan, expected ")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            lambda t: replace(t, A={1: t.A[1], 2: t.A[2]}),
            "A has the layers [1, 2]; expected 1 to 3.",
            id="layer missing",
        ),
        pytest.param(
            lambda t: replace(t, Z={0: t.Z[1], **t.Z}),
            "Z has the layers [0, 1, 2, 3]; expected 1 to 3.",
            id="layer too many",
        ),
        pytest.param(
            lambda t: _with(t, "A", 1, t.A[1].T),
            "A_1 has shape (3, 7); expected (7, 3).",
            id="transposed",
        ),
        pytest.param(
            lambda t: _with(t, "dW", 2, t.dW[2].T),
            "dW_2 has shape (4, 3); expected (3, 4).",
            id="dW transposed",
        ),
        pytest.param(
            lambda t: _with(t, "W_new", 2, t.W_new[2][0]),
            "W_new_2 has shape (4,); expected (3, 4).",
            id="one row",
        ),
        pytest.param(
            lambda t: _with(t, "delta", 3, t.delta[3].tolist()),
            "delta_3 is a list; expected a numpy.ndarray.",
            id="list",
        ),
        pytest.param(
            lambda t: _with(t, "Z", 2, None),
            "Z_2 is a NoneType; expected a numpy.ndarray.",
            id="nothing",
        ),
        pytest.param(
            lambda t: _with(t, "Z", 2, t.Z[2].astype("float32")),
            "Z_2 has dtype float32; expected float64, as given.",
            id="dtype",
        ),
        pytest.param(
            lambda t: replace(t, loss=t.loss.reshape(1)),
            "the loss is float64 of shape (1,); expected one number of float64.",
            id="loss of shape (1,)",
        ),
        pytest.param(
            lambda t: replace(t, loss=float(t.loss)),
            "the loss is a float; expected an array of shape ().",
            id="loss a Python float",
        ),
        pytest.param(
            lambda t: _with(t, "A", 1, np.ma.masked_less(t.A[1], 0)),
            "A_1 is a MaskedArray; expected a numpy.ndarray.",
            id="masked",
        ),
        pytest.param(
            lambda t: replace(t, loss=t.loss.astype("float32")),
            "the loss is float32 of shape (); expected one number of float64.",
            id="loss in float32",
        ),
    ],
)
def test_a_malformed_trace_deviates(changed: Callable[[Trace], Trace], message: str) -> None:
    of = subject(TYPICAL)
    result = judge(of, "refbp", changed(Loop().run(of.problem)))
    assert (result["verdict"], result["message"]) == ("deviates", message)
    assert result["first_deviation"] is None
    assert result["records"] == []


def test_one_example_alone_of_the_wrong_shape_deviates() -> None:
    of = subject(TYPICAL)
    t = Loop().run(of.problem)
    result = judge(of, "refbp", t, t, t)
    assert (result["verdict"], result["message"]) == (
        "deviates", "of one example alone, A_1 has shape (7, 3); expected (1, 3).",
    )  # fmt: skip


# --- what does not behave -------------------------------------------------------------------------


def on(case: str, name: str) -> Result:
    (result,) = judged(find(case), [name])
    return result


def test_an_implementation_that_raises_is_an_error(plant: Callable[..., None]) -> None:
    def broken(s: State, l: int) -> Any:
        if s.p.depth == 3:
            raise ZeroDivisionError("no layer\nlike this")
        return RIGHT["dW"](s, l)

    plant("planted", Loop(dW=broken))
    result = on(TYPICAL, "planted")
    assert result["verdict"] == "error"
    message, _, line = result["message"].partition(" (test_faults.py:")
    assert message == "planted raised ZeroDivisionError: no layer like this"
    assert line.removesuffix(")").isdigit()
    assert (result["records"], result["first_deviation"]) == ([], None)


def test_an_implementation_that_writes_to_its_input_is_an_error(
    plant: Callable[..., None],
) -> None:
    def writing(s: State, l: int) -> Any:
        s.p.W[l][...] -= s.p.alpha * s.dW[l]
        return s.p.W[l]

    plant("planted", Loop(W_new=writing))
    row = started("planted").row
    assert (row["status"], row["reason"]) == (
        "error",
        "its probe failed: ValueError: output array is read-only",
    )


def test_an_implementation_that_writes_to_deep_input_only_is_an_error(
    plant: Callable[..., None],
) -> None:
    def centred(s: State, l: int) -> Any:
        X = s.p.X
        if s.n == 7:
            X -= X.mean(axis=0)
        return RIGHT["A"](s, l)

    before = subject(TYPICAL).problem.X.copy()
    plant("planted", Loop(A=centred))
    result = on(TYPICAL, "planted")
    assert result["verdict"] == "error"
    assert "ValueError: output array is read-only" in result["message"]
    np.testing.assert_array_equal(subject(TYPICAL).problem.X, before)


class Undecided:
    """An implementation whose every second run differs by one unit in the last place."""

    name, description = "refbp", "planted"

    def __init__(self) -> None:
        self.runs = 0

    def start(self) -> tuple[dict[str, str], str]:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        self.runs += 1
        t = Loop().run(p)
        M = t.dW[1].copy()
        M[1, 1] = np.nextafter(M[1, 1], M[1, 1] + self.runs % 2)
        return _with(t, "dW", 1, M)


def test_the_same_input_twice_must_give_the_same_bits(plant: Callable[..., None]) -> None:
    p = subject(TYPICAL).problem
    impl = Undecided()
    first, again = impl.run(p), impl.run(p)
    result = judge(subject(TYPICAL), "refbp", first, again)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == exceeding(result, "end-to-end") == []
    assert result["records"][-1] == {
        "quantity": "all", "layer": 0, "gate": "repeat", "error": 1.0, "tolerance": 0.0,
        "ratio": "inf", "ulps": 0.0, "index": [1, 1],
    }  # fmt: skip
    assert result["message"].startswith("∂L/∂W_1[1, 1] is not the same the second time: got ")
    assert judge(subject(TYPICAL), "refbp", first, first)["verdict"] == "conforms"


def test_an_example_alone_must_conform_as_it_does_in_a_batch(plant: Callable[..., None]) -> None:
    def batch_norm(s: State, l: int) -> Any:
        A = RIGHT["A"](s, l)
        return A * (1 + 1e-12) if s.n == 1 else A

    result = verdict_on(TYPICAL, A=batch_norm)
    assert result["verdict"] == "deviates"
    assert {r["gate"] for r in result["records"] if float(r["ratio"]) > 1} == {"row"}
    first = result["first_deviation"]
    assert first is not None
    assert (first["quantity"], first["gate"]) == ("A", "row")
    assert " of one example alone is too far from the truth: got " in result["message"]


@pytest.mark.parametrize("implementation_name", ["refbp"])
def test_what_is_held_to_refbps_tolerances_is_refbp(implementation_name: str) -> None:
    """The loop above is no straw man: refbp gives the same bits."""
    for case in (TYPICAL, SQUARE, BIASED, SOFTMAX, KINKS):
        p = subject(case).problem
        t, of_refbp = Loop().run(p), implementation(implementation_name).run(p)
        for q in ("A", "Z", "delta", "dW", "W_new"):
            for l, M in t.layers(q).items():
                np.testing.assert_allclose(of_refbp.layers(q)[l], M, rtol=1e-14, atol=1e-300)
