"""The tests are tested: every mistake of the table turns the verdict, the right step is blamed, and the
diagnosis names it.

Those below that are not in the table are planted as they are there: a step of the procedures replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from conformance.cases.profiles import cases, find
from conformance.implementations import implementation
from conformance.judge.gates import compared, judge
from conformance.judge.mistakes.diagnosis import diagnosis
from conformance.judge.mistakes.loop import STEPS as RIGHT
from conformance.judge.mistakes.loop import Loop as Planted
from conformance.judge.mistakes.loop import State, planted
from conformance.judge.mistakes.table import FAULTS, FaultError, fault
from conformance.judge.result import judged, judged_by, runs
from conformance.judge.start import started
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Problem, Runs, Trace
from conformance.model.results import Finding, Result
from conformance.truth.definitions import ACTIVATIONS


def Loop(**wrong: Callable[..., Any]) -> Planted:
    """The procedures, with those steps instead of the right ones."""
    assert set(wrong) <= set(RIGHT)
    return Planted({**RIGHT, **wrong})


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


# --- the table ------------------------------------------------------------------------------------

SQUARE = "square/tanh/L3/n7/float64/w4-4"
TYPICAL = "typical/tanh/L3/n7/float64"
BIASED = "typical/tanh/L3/n7/float32/bias"
SOFTMAX = "heads/tanh>softmax+cross_entropy/L3/n7/float64"
LOG_SOFTMAX = "heads/tanh>log_softmax+log_softmax_cross_entropy/L3/n7/float64/bias"
CONFIDENT = "confident/identity>sigmoid+binary_cross_entropy/L1/n7/float64"
KINKS = "kinks/relu/L1/n7/float64"
CLASSES = "confident/identity>softmax+cross_entropy/L1/n7/float64"
WIDE = "wide/tanh>identity+mean_squared_error/L2/n7/float64/w129-65-33"

SHOWN = {  # where each of them can be told from all the others, and the steps that are to blame there
    "mean-missing": (TYPICAL, "delta_3"),
    "mean-twice": (TYPICAL, "delta_3"),
    "mean-over-outputs": (TYPICAL, "delta_3"),
    "factor-two-missing": (TYPICAL, "delta_3"),
    "factor-two-extra": (TYPICAL, "delta_3"),
    "sign-flipped": (TYPICAL, "delta_3"),
    "targets-broadcast": (TYPICAL, "delta_3"),
    "targets-shifted": (TYPICAL, "delta_3"),
    "targets-rounded": (SOFTMAX, "delta_3"),
    "targets-smoothed": (SOFTMAX, "delta_3"),
    "targets-in-half": (TYPICAL, "delta_3"),
    "probabilities-clipped": (CONFIDENT, "delta_1"),
    "classes-clipped": (CLASSES, "delta_1"),
    "classes-clipped-late": (CLASSES, "delta_1"),
    "logarithm-floored": (CLASSES, "delta_1"),
    "fused-under-another-loss": (TYPICAL, "delta_3"),
    "fused-and-unfused": (SOFTMAX, "delta_3"),
    "probability-for-logarithm": (
        "heads/tanh>log_softmax+log_softmax_cross_entropy/L3/n7/float64/bias",
        "delta_3",
    ),
    "loss-halved": (TYPICAL, "loss_3"),
    "loss-over-outputs": (TYPICAL, "loss_3"),
    "loss-not-averaged": (TYPICAL, "loss_3"),
    "derivative-missing": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-missing-at-output": (TYPICAL, "delta_3"),
    "derivative-at-the-output": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-at-the-next-layer": (SQUARE, "delta_2 delta_1"),
    "derivative-at-the-previous-layer": (SQUARE, "delta_3 delta_2"),
    "derivative-of-the-next-layer": (
        "mixed/identity+sigmoid+tanh>identity+mean_squared_error/L5/n7/float64/bias",
        "delta_4 delta_2 delta_1",
    ),
    "derivative-of-the-previous-layer": (SOFTMAX, "delta_3"),
    "derivative-of-the-first-layer": (
        "mixed/relu+leaky_relu+elu>identity+mean_squared_error/L5/n7/float64/bias",
        "delta_4 delta_3 delta_2",
    ),
    "value-for-derivative": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-twice": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-of-sigmoid": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-from-the-output": (TYPICAL, "delta_2 delta_1"),
    "output-form-at-the-input": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-factor-forgotten": (TYPICAL, "delta_3 delta_2 delta_1"),
    "derivative-floored": ("typical/relu/L2/n7/float64/bias", "delta_2 delta_1"),
    "kink-from-the-right": ("typical/relu/L2/n7/float32", "delta_2"),
    "kink-from-the-left": ("kinks/hardtanh/L1/n7/float64", "delta_1"),
    "softmax-elementwise": (SOFTMAX, "delta_3"),
    "softmax-sum-missing": (SOFTMAX, "delta_3"),
    "sign-flipped-below": (TYPICAL, "delta_2"),
    "delta-never-computed": (TYPICAL, "delta_2"),
    "weights-of-this-layer": (SQUARE, "delta_2 delta_1"),
    "weights-not-transposed": (SQUARE, "delta_2 delta_1"),
    "weights-updated-first": (TYPICAL, "delta_2 delta_1"),
    "constant-unit-propagated": (BIASED, "delta_2 delta_1"),
    "delta-not-handed-on": (TYPICAL, "delta_2 delta_1"),
    "weights-missing": (SQUARE, "delta_2 delta_1"),
    "delta-averaged": (TYPICAL, "delta_3 delta_2 delta_1"),
    "delta-clipped": (TYPICAL, "delta_3 delta_2 delta_1"),
    "delta-in-half": (TYPICAL, "delta_3 delta_2 delta_1"),
    "delta-last-example-lost": (TYPICAL, "delta_3"),
    "delta-row-copied": (TYPICAL, "delta_3 delta_2 delta_1"),
    "delta-one-element": (TYPICAL, "delta_2"),
    "delta-buffer-shared": (TYPICAL, "delta_3"),
    "gradient-transposed": (SQUARE, "dW_3 dW_2 dW_1"),
    "gradient-from-A": (TYPICAL, "dW_3 dW_2"),
    "gradient-from-this-layers-Z": (SQUARE, "dW_3 dW_2 dW_1"),
    "gradient-of-the-next-layer": (SQUARE, "dW_2 dW_1"),
    "gradient-from-the-next-delta": (SQUARE, "dW_2 dW_1"),
    "gradient-sign-flipped": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-never-computed": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-averaged": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-of-means": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-last-example-dropped": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-first-example-twice": (TYPICAL, "dW_3 dW_2 dW_1"),
    "bias-gradient-missing": (BIASED, "dW_3 dW_2 dW_1"),
    "weights-averaged-bias-summed": (BIASED, "dW_3 dW_2 dW_1"),
    "bias-gradient-averaged": (BIASED, "dW_3 dW_2 dW_1"),
    "bias-gradient-not-summed": (BIASED, "dW_3 dW_2 dW_1"),
    "bias-gradient-over-units": (BIASED, "dW_3 dW_2 dW_1"),
    "gradient-clipped": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-norm-clipped": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-decayed": (TYPICAL, "dW_3 dW_2 dW_1"),
    "gradient-small-zeroed": ("typical/gelu/L3/n7/float64", "dW_1"),
    "gradient-stored-backwards": (TYPICAL, "dW_3 dW_1"),
    "update-sign": (TYPICAL, "W_new_1 W_new_2 W_new_3"),
    "update-twice": (TYPICAL, "W_new_1 W_new_2 W_new_3"),
    "update-over-n": (TYPICAL, "W_new_1 W_new_2 W_new_3"),
    "update-output-layer-missing": (TYPICAL, "W_new_3"),
    "update-missing": (TYPICAL, "W_new_1 W_new_2 W_new_3"),
    "update-in-half": (TYPICAL, "W_new_1 W_new_2 W_new_3"),
    "terms-lost": (WIDE, "A_1"),
    "terms-lost-in-small-tiles": (WIDE, "A_1 A_2 delta_1"),
    "columns-lost": (WIDE, "A_1 delta_1"),
    "weights-transposed-forward": (SQUARE, "A_1 A_2 A_3"),
    "weights-of-the-next-layer-forward": (SQUARE, "A_1 A_2"),
    "bias-missing": (BIASED, "A_1 A_2 A_3"),
    "bias-twice": (BIASED, "A_1 A_2 A_3"),
    "activation-missing": (TYPICAL, "Z_1 Z_2 Z_3"),
    "activation-missing-at-output": (TYPICAL, "Z_3"),
    "activation-twice": (TYPICAL, "Z_1 Z_2 Z_3"),
    "activation-of-the-first-layer": (
        "mixed/relu+leaky_relu+elu>identity+mean_squared_error/L5/n7/float64/bias",
        "Z_2 Z_3 Z_4",
    ),
    "activation-approximated": (
        "typical/gelu/L3/n7/float64",
        "Z_1 Z_2 Z_3 delta_3 delta_2 delta_1",
    ),
    "softmax-over-the-batch": (SOFTMAX, "Z_3"),
    "softmax-unshifted": (
        "logits/identity>softmax+mean_squared_error/L1/n7/float64",
        "Z_1",
    ),
    "pre-activation-clipped": (
        "saturating/identity>identity+mean_squared_error/L2/n7/float64",
        "Z_1 Z_2",
    ),
    "output-clipped": (CONFIDENT, "Z_1"),
    "activation-in-place": (TYPICAL, "A_1 A_2 A_3"),
    "float32-inside": (TYPICAL, "A_1 A_2 A_3"),
    "tf32": (BIASED, "A_1 A_2 A_3"),
    "float16-sums": (TYPICAL, "A_1 A_2 A_3"),
    "subnormals-flushed": ("kinks/leaky_relu/L1/n7/float64", "Z_1"),
    "rounded-up": ("integers/identity/L1/n1/float64", "A_1"),
    "noise": (TYPICAL, "A_1 A_2 A_3"),
    "dropout-left-on": (TYPICAL, "Z_1 Z_2"),
    "sum-order-varies": (TYPICAL, ""),
    "one-example-differs": (TYPICAL, "delta_3"),
    "A-of-the-batch-before": (TYPICAL, "delta_3 delta_2 delta_1"),
    "Z-of-the-batch-before": (TYPICAL, "dW_3 dW_2"),
    "delta-of-the-batch-before": (TYPICAL, "delta_2 delta_1"),
    "gradient-accumulated": (TYPICAL, "dW_3 dW_2 dW_1"),
}


def bits(ran: Runs) -> list[bytes]:
    """Every number of every run."""
    there = [t for t in (ran.first, ran.between, ran.again, ran.alone) if t is not None]
    layered = [M.tobytes() for t in there for q in QUANTITIES for M in t.layers(q).values()]
    return layered + [np.asarray(t.loss).tobytes() for t in there]


def found_of(case: str, *names: str) -> tuple[Result, list[str], list[Finding]]:
    """(verdict, blame, diagnosis) of the faults of those names, planted in a case."""
    of = subject(case)
    with np.errstate(all="ignore"):
        ran = runs(of, Planted(planted(*(FAULTS[n].wrong for n in names))))
        result = judge(of, "refbp", ran.first, ran.again, ran.alone)
        blame, findings = diagnosis(of, "refbp", ran, result)
    return result, [f"{b['quantity']}_{b['layer']}" for b in blame], findings


def test_there_are_faults_enough_and_each_is_planted() -> None:
    assert len(FAULTS) >= 95
    assert list(SHOWN) == list(FAULTS)
    assert {f.gate for f in FAULTS.values()} == {"step", "exact", "row", "repeat"}
    assert {f.shows for f in FAULTS.values()} == {"A", "Z", "loss", "delta", "dW", "W_new"}
    for f in FAULTS.values():
        assert f.what, f.name
        assert f.equals, f.name
        assert f.hint.endswith((".", ").")), f.name
        assert set(f.wrong) <= set(RIGHT), f.name


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_in_its_place_and_named(name: str) -> None:
    case, to_blame = SHOWN[name]
    row = FAULTS[name]
    result, blamed, findings = found_of(case, name)
    assert result["verdict"] == "deviates"
    assert exceeding(result, row.gate)
    assert blamed == to_blame.split()
    first = result["first_deviation"]
    assert first is not None
    if row.gate != "row":  # which keeps the worst layer alone
        L, l = find(case).depth, first["layer"]
        assert {"L": l == L, "<L": l < L, ">1": l > 1, "any": True}[row.where]
    assert first["quantity"] == row.shows
    assert [f["fault"] for f in findings] == [name]
    assert findings[0]["suggestion"] == row.hint
    assert row.what in findings[0]["text"] or name == "sum-order-varies"
    assert [f"{s['quantity']}_{s['layer']}" for s in findings[0]["steps"]] == blamed


@pytest.mark.parametrize("case", sorted({c for c, _ in SHOWN.values()}))
def test_without_a_fault_nothing_deviates(case: str) -> None:
    of = subject(case)
    ran = runs(of, Planted())
    result = judge(of, "refbp", ran.first, ran.again, ran.alone)
    assert (result["verdict"], result["message"]) == ("conforms", "")
    assert {r["gate"] for r in result["records"]} >= {"step", "end-to-end"}
    assert diagnosis(of, "refbp", ran, result) == ([], [])


MADE_BY = {"G": "delta", "G_L": "delta"}
PAIRED_IN = (
    TYPICAL, SQUARE, BIASED, SOFTMAX, LOG_SOFTMAX,
    "typical/gelu/L3/n7/float64", "heads/tanh>softplus+huber/L3/n7/float64",
)  # fmt: skip


def touched(name: str) -> set[str]:
    """The quantities that a fault makes wrong by itself."""
    f = FAULTS[name]
    made = {MADE_BY.get(step, step) for step in f.wrong} | set(f.looks)
    # what was used, and is no longer what stands there
    return made | ({"dW"} if name == "delta-buffer-shared" else set())


def visible(case: str, name: str) -> bool:
    """Whether it changes a number there, and runs."""
    try:
        ran = runs(subject(case), Planted(planted(FAULTS[name].wrong)))
    except ValueError:
        return False
    return bits(ran) != bits(runs(subject(case), Planted()))


def pairs(count: int) -> list[tuple[str, str, str]]:
    """(case, fault, another fault), drawn; both change something there."""
    rng, names, drawn = np.random.default_rng(4), list(FAULTS), []
    with np.errstate(all="ignore"):
        while len(drawn) < count:
            case = PAIRED_IN[rng.integers(len(PAIRED_IN))]
            a, b = (names[i] for i in rng.choice(len(names), 2, replace=False))
            if visible(case, a) and visible(case, b):
                drawn.append((case, a, b))
    return drawn


@pytest.mark.slow
def test_of_two_random_faults_one_at_least_is_named_and_no_innocent_step_blamed() -> None:
    both = 0
    for case, a, b in pairs(120):
        try:
            result, blamed, findings = found_of(case, a, b)
        except ValueError:  # together they make what refbp refuses
            continue
        assert result["verdict"] == "deviates", (case, a, b)
        guilty = touched(a) | touched(b)
        assert {q.rpartition("_")[0] for q in blamed} <= guilty, (case, a, b, blamed)
        named = {n for f in findings for n in f["fault"].split(" + ")}
        assert named & {a, b}, (case, a, b, [f["text"] for f in findings])
        both += named >= {a, b}
    assert both > 80


def test_two_faults_in_one_step_are_both_named() -> None:
    _, blamed, findings = found_of(TYPICAL, "sign-flipped", "derivative-missing")
    assert blamed == ["delta_3", "delta_2", "delta_1"]
    assert set(findings[0]["fault"].split(" + ")) == {"sign-flipped", "derivative-missing"}
    assert findings[0]["text"].startswith("layer 3: δ: ")
    assert findings[1]["fault"] == "derivative-missing"


def test_two_faults_in_two_steps_are_told_apart() -> None:
    _, blamed, findings = found_of(TYPICAL, "mean-missing", "gradient-from-A")
    assert blamed == ["delta_3", "dW_3", "dW_2"]
    assert [f["fault"] for f in findings] == ["mean-missing", "gradient-from-A"]


def test_an_unknown_fault_is_named_with_the_nearest() -> None:
    with pytest.raises(FaultError) as refusal:
        fault("mean-mising")
    assert refusal.value.args == (
        "unknown fault 'mean-mising'. Did you mean 'mean-missing'? `conformance faults --list` has "
        "them all.",
    )


# --- those that are in no table -------------------------------------------------------------------

D = RIGHT["delta"]
DEEP = "typical/gelu/L5/n7/float64/bias"


def _scaled_in_one(M: Any, index: tuple[int, int], factor: float) -> Any:
    """M with one element multiplied; as it is where there is no such element."""
    M = M.copy()
    M[index[0] : index[0] + 1, index[1]] *= factor
    return M


@pytest.mark.parametrize(
    ("what", "case", "wrong", "blamed"),
    [
        (
            "missing σ' in one layer", DEEP,
            {"delta": lambda s, l, G: G if l == 2 else D(s, l, G)}, "delta_2",
        ),
        (
            "one element of δ off by 1e-12", TYPICAL,
            {"delta": lambda s, l, G: _scaled_in_one(D(s, l, G), (4, 1), 1 + 1e-12) if l == 2 else D(s, l, G)},
            "delta_2",
        ),
        (
            "one layer not updated", DEEP,
            {"W_new": lambda s, l: s.p.W[l] + 0 if l == 4 else RIGHT["W_new"](s, l)}, "W_new_4",
        ),
        (
            "a hidden softmax taken elementwise",
            "mixed/tanh+softmax+silu>identity+mean_squared_error/L5/n7/float64/bias",
            {"delta": lambda s, l, G: G * s.Z[2] * (1 - s.Z[2]) if l == 2 else D(s, l, G)}, "delta_2",
        ),
        (
            "tanh' as 1 − tanh²", "saturating/tanh>identity+mean_squared_error/L2/n7/float64",
            {"delta": lambda s, l, G: G * (1 - s.Z[l] ** 2) if l == 1 else D(s, l, G)}, "delta_1",
        ),
        (
            "subnormal numbers flushed to zero", "underflow/tanh>identity+mean_squared_error/L2/n7/float32",
            {"Z": lambda s, l: _flushed(s.sigma(l)(s.A[l]))}, "Z_1 Z_2",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) and " " in x else "",
)  # fmt: skip
def test_a_fault_in_one_place_is_seen_there(
    what: str, case: str, wrong: dict[str, Callable[..., Any]], blamed: str
) -> None:
    result = verdict_on(case, **wrong)
    assert result["verdict"] == "deviates"
    assert exceeding(result, "step") == blamed.split()
    assert "is wrong given its own operands: got " in result["message"]


def _flushed(M: Any) -> Any:
    return np.where(np.abs(M) < np.finfo(M.dtype).smallest_normal, M.dtype.type(0), M)


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
    t = Loop().run(subject(case).problem)
    found = []
    for c in compared(subject(case), "refbp", t):
        if (c.gate, c.quantity) == ("step", "delta"):
            size = np.abs(c.truth.hi)
            found.append(c.tolerance[size > 0] / size[size > 0])
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
    assert result["message"].startswith(
        "the loss is wrong given its own operands: got nan, expected "
    )


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


# --- three that `standard` once passed together ---------------------------------------------------

THREE = {  # and the families in which it is seen
    ("softmax-unshifted",): {"logits"},
    ("classes-clipped",): {"confident", "logits"},
    ("terms-lost", "columns-lost"): {"wide"},
}
TOGETHER = {tuple(n for names in THREE for n in names): {"logits", "confident", "wide"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "families"),
    [*THREE.items(), *TOGETHER.items()],
    ids=["unshifted", "clipped", "tails", "together"],
)
def test_what_standard_once_passed_deviates_in_quick(
    names: tuple[str, ...], families: set[str]
) -> None:
    """1,452 of 1,452 conformed: nothing extreme had rows, and nothing was wider than 64."""
    found = set()
    for case in cases("quick"):
        if case.family in ("logits", "confident", "wide", "canonical"):
            loop = Planted(planted(*(FAULTS[n].wrong for n in names)))
            with np.errstate(all="ignore"):
                result = judged_by(Subject(case), "planted", loop)
            found |= {case.family} if result["verdict"] == "deviates" else set()
    assert found == families
