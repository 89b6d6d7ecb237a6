"""Records, verdicts and messages: what the judge says of a trace, and in which order."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import refbp
from conformance import check_problem
from conformance.cases.catalogue import Case
from conformance.cases.profiles import find
from conformance.implementations import implementation
from conformance.judge.comparison import Comparison, judge_all
from conformance.judge.form import malformed
from conformance.judge.gates import (
    compared,
    judge,
    judge_exception,
    right_as_a_whole,
    steps_of,
    whole_of,
)
from conformance.judge.known_differences import amend
from conformance.judge.subject import Subject
from conformance.model.problem import Problem, Trace
from conformance.model.results import Result
from conformance.truth import balls
from conformance.truth.balls import Enclosure

INTEGERS = "integers/relu/L2/n2/float64"
TYPICAL = "typical/tanh/L2/n7/float64/bias"
PLAIN = amend(())


@cache
def subject(case: str) -> Subject:
    return Subject(find(case))


def refbp_trace(p: Problem) -> Trace:
    return implementation("refbp").run(p)


def _with(t: Trace, quantity: str, l: int, change: Any) -> Trace:
    M = t.layers(quantity)[l].copy()
    change(M)
    return replace(t, **{quantity: {**t.layers(quantity), l: M}})


def verdict_on(case: str, t: Trace, *more: Any) -> Result:
    return judge(subject(case), "refbp", t, *more)


def set_to(value: float, *index: int) -> Any:
    def change(M: Any) -> None:
        M[index] = value

    return change


# --- records --------------------------------------------------------------------------------------


def test_the_records_of_a_case_in_the_order_of_the_algorithm() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    alone = refbp_trace(subject(TYPICAL).alone.problem)  # type: ignore[union-attr]
    result = verdict_on(TYPICAL, t, t, alone)
    keys = [(r["gate"], r["quantity"], r["layer"]) for r in result["records"]]
    once = [("A", 1), ("Z", 1), ("A", 2), ("Z", 2), ("loss", 2), ("delta", 2), ("dW", 2),
            ("delta", 1), ("dW", 1), ("W_new", 1), ("W_new", 2)]  # fmt: skip
    assert keys[:22] == [(g, q, l) for g in ("step", "end-to-end") for q, l in once]
    assert [(g, q) for g, q, _ in keys[22:]] == [
        ("row", q) for q in ("A", "Z", "loss", "delta", "dW", "W_new")
    ] + [("repeat", "all")]
    assert (result["verdict"], result["message"]) == ("conforms", "")
    assert (result["first_deviation"], result["known_differences"]) == (None, [])
    for r in result["records"]:
        assert float(r["ratio"]) <= 1
        assert float(r["error"]) <= float(r["tolerance"])
        assert len(r["index"]) == (0 if r["quantity"] in ("all", "loss") else 2)


def test_the_exact_gate_is_for_exact_families_alone() -> None:
    gates = [
        r["gate"] for r in verdict_on(INTEGERS, refbp_trace(subject(INTEGERS).problem))["records"]
    ]
    assert gates == ["step"] * 11 + ["end-to-end"] * 11 + ["exact"] * 11
    of = verdict_on(TYPICAL, refbp_trace(subject(TYPICAL).problem))
    assert "exact" not in {r["gate"] for r in of["records"]}


def test_one_example_alone_is_asked_for_where_the_batch_is_seven() -> None:
    assert subject(INTEGERS).alone is None
    one = subject(TYPICAL).alone
    assert one is not None
    assert one.alone is None
    np.testing.assert_array_equal(one.problem.X, subject(TYPICAL).problem.X[3:4])
    np.testing.assert_array_equal(one.problem.Y, subject(TYPICAL).problem.Y[3:4])


def test_the_worst_element_is_told_and_where() -> None:
    """A record is of the element that is worst by its own tolerance, and the ulps of the largest."""
    p = subject(TYPICAL).problem
    t = _with(refbp_trace(p), "dW", 1, set_to(7.0, 2, 1))
    result = verdict_on(TYPICAL, t)
    (record,) = [
        r for r in result["records"] if (r["gate"], r["quantity"], r["layer"]) == ("step", "dW", 1)
    ]
    assert record["index"] == [2, 1]
    truth = subject(TYPICAL).truth(PLAIN).dW[1]
    assert float(record["error"]) == pytest.approx(abs(7.0 - truth.hi[2, 1]), rel=1e-3)
    assert float(record["ratio"]) == pytest.approx(
        float(record["error"]) / float(record["tolerance"]), rel=1e-3
    )
    ulp = np.spacing(np.abs(truth.hi).max())
    assert float(record["ulps"]) == pytest.approx(float(record["error"]) / ulp, rel=1e-3)
    first = result["first_deviation"]
    assert first is not None
    assert (first["quantity"], first["layer"], first["gate"], first["index"]) == (
        "dW",
        1,
        "step",
        [2, 1],
    )
    assert (first["got"], first["got_hex"]) == (7.0, "0x1.c000000000000p+2")
    assert float.fromhex(first["expected_hex"]) == first["expected"]
    assert first["expected"] == pytest.approx(truth.hi[2, 1], rel=1e-14)


# --- messages -------------------------------------------------------------------------------------


def test_the_whole_message() -> None:
    """On integers every number in it is known: 3 instead of what it should be."""
    p = subject(INTEGERS).problem
    t = _with(refbp_trace(p), "delta", 2, set_to(0.125, 1, 2))
    expected = float(subject(INTEGERS).truth(PLAIN).delta[2].hi[1, 2])
    result = verdict_on(INTEGERS, t)
    first = result["first_deviation"]
    assert first is not None
    assert result["message"] == (
        f"δ_2[1, 2] is wrong given its own operands: got 0.125, expected {expected}, off by "
        f"{abs(0.125 - expected)} where {first['tolerance']} is allowed ({first['ratio']:.4g} times)."
    )


@pytest.mark.parametrize(
    ("quantity", "l", "symbol"),
    [("A", 1, "A_1"), ("Z", 2, "Z_2"), ("delta", 1, "δ_1"), ("dW", 2, "∂L/∂W_2"),
     ("W_new", 1, "new W_1")],
)  # fmt: skip
def test_a_quantity_is_called_as_in_the_notes(quantity: str, l: int, symbol: str) -> None:
    t = _with(refbp_trace(subject(TYPICAL).problem), quantity, l, set_to(1e3, 0, 0))
    assert verdict_on(TYPICAL, t)["message"].startswith(
        f"{symbol}[0, 0] is wrong given its own operands: got 1000.0, expected "
    )


def test_the_loss_has_no_index() -> None:
    t = replace(refbp_trace(subject(TYPICAL).problem), loss=np.array(1e3))
    result = verdict_on(TYPICAL, t)
    assert result["message"].startswith(
        "the loss is wrong given its own operands: got 1000.0, expected "
    )
    assert result["first_deviation"] is not None
    assert result["first_deviation"]["index"] == []


def test_what_is_wrong_from_end_to_end_alone() -> None:
    """Sums of a hundred terms, each within what one step may lose, but all to the same side."""
    of = Subject(Case("typical", "identity", 1, 1, "float64", (100, 3)))
    p = of.problem
    t = refbp_trace(p)
    assert judge(of, "refbp", t)["verdict"] == "conforms"
    A = t.A[1] + 0.4 * 100 * 2.0**-53 * (np.abs(p.X) @ np.abs(p.W[1]))
    delta = 2 * (A - p.Y)
    dW = p.X.T @ delta
    loss = np.asarray(((A - p.Y) ** 2).sum())
    of_drift = Trace({1: A}, {1: A}, {1: delta}, {1: dW}, {1: p.W[1] - p.alpha * dW}, loss)
    result = judge(of, "refbp", of_drift)
    assert result["verdict"] == "deviates"
    first = result["first_deviation"]
    assert first is not None
    assert (first["quantity"], first["gate"]) == ("A", "end-to-end")
    index = f"[0, {first['index'][1]}]"
    assert result["message"].startswith(f"A_1{index} is too far from the truth: got ")


def test_an_exception_is_an_error() -> None:
    result = judge_exception(find(TYPICAL), "somebody", "somebody raised ValueError: no.")
    assert (
        dict(result).items()
        >= {
            "case": TYPICAL,
            "implementation": "somebody",
            "verdict": "error",
            "message": "somebody raised ValueError: no.",
            "first_deviation": None,
            "straddling": 0,
        }.items()
    )
    assert (result["known_differences"], result["records"]) == ([], [])
    assert (result["not_returned"], result["blame"], result["diagnosis"]) == ([], [], [])


# --- the same bits --------------------------------------------------------------------------------


def repeated(t: Trace, again: Trace) -> tuple[str, Any]:
    result = verdict_on(TYPICAL, t, again)
    (record,) = [r for r in result["records"] if r["gate"] == "repeat"]
    return result["verdict"], record["error"]


def test_minus_zero_is_not_zero() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    plus, minus = (_with(t, "dW", 1, set_to(z, 0, 0)) for z in (0.0, -0.0))
    assert repeated(plus, minus) == ("deviates", 1.0)
    assert repeated(t, t) == ("conforms", 0.0)


def test_how_many_numbers_differ_and_the_first_of_them() -> None:
    t = refbp_trace(subject(TYPICAL).problem)

    def last(M: Any) -> None:
        M[1:3, 2] *= 1 + 2.0**-52

    again = replace(_with(_with(t, "Z", 1, last), "W_new", 2, last), loss=t.loss * (1 + 2.0**-52))
    result = verdict_on(TYPICAL, t, again)
    (record,) = [r for r in result["records"] if r["gate"] == "repeat"]
    assert (record["error"], record["index"]) == (5.0, [1, 2])
    first = result["first_deviation"]
    assert (first["quantity"], first["layer"], first["gate"]) == ("Z", 1, "repeat")
    assert (float.fromhex(first["got_hex"]), float.fromhex(first["expected_hex"])) == (
        again.Z[1][1, 2],
        t.Z[1][1, 2],
    )
    assert result["message"].startswith("Z_1[1, 2] is not the same the second time: got ")
    assert result["message"].endswith("; 5 in all.")


@pytest.mark.parametrize("case", [TYPICAL, "typical/tanh/L2/n64/float32/bias"])
def test_the_record_of_two_runs(case: str) -> None:
    t = refbp_trace(subject(case).problem)
    same = {"quantity": "all", "layer": 0, "gate": "repeat", "error": 0.0, "tolerance": 0.0, "ratio": 0.0,
            "ulps": 0.0, "index": []}  # fmt: skip
    assert verdict_on(case, t, t)["records"][-1] == same
    other = replace(t, loss=np.nextafter(t.loss, t.loss.dtype.type(9)))
    result = verdict_on(case, t, other)
    assert result["records"][-1] == {**same, "error": 1.0, "ratio": "inf"}
    first = result["first_deviation"]
    assert (first["quantity"], first["layer"], first["index"]) == ("loss", 2, [])
    assert (first["tolerance"], first["gate"]) == (0.0, "repeat")
    assert float.fromhex(first["got_hex"]) == float(other.loss)


def test_a_loss_that_is_not_returned_is_not_compared() -> None:
    t = replace(refbp_trace(subject(TYPICAL).problem), loss=None)
    result = judge(subject(TYPICAL), "refbp", t, t, whole=False)
    assert (result["verdict"], result["records"][-1]["error"]) == ("conforms", 0.0)


# --- one gate by itself ---------------------------------------------------------------------------


def test_the_gates_by_themselves_are_those_of_the_whole() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    wrong = _with(t, "delta", 1, lambda M: np.multiply(M, 1 + 1e-9, out=M))
    result = judge(subject(TYPICAL), "refbp", wrong)
    steps = steps_of(subject(TYPICAL), "refbp", wrong)
    whole = whole_of(subject(TYPICAL), "refbp", wrong)
    assert [j.record for j in (*steps, *whole)] == result["records"]
    off = [(j.comparison.quantity, j.comparison.layer) for j in steps if j.verdict != "conforms"]
    assert off == [("delta", 1), ("dW", 1)]  # of this δ_1 it is not the gradient
    right = right_as_a_whole(subject(TYPICAL), "refbp", wrong)
    assert {(r["quantity"], r["layer"]) for r in result["records"]} - right == {("delta", 1)}
    pairs = compared(subject(TYPICAL), "refbp", wrong)
    of = {(c.gate, c.quantity, c.layer): c for c in pairs}
    for j in (*steps, *whole):
        c = of.pop((j.comparison.gate, j.comparison.quantity, j.comparison.layer))
        assert (c.value == j.comparison.value).all()
        assert (c.tolerance == j.comparison.tolerance).all()
        assert (c.truth.hi == j.comparison.truth.hi).all()
    assert not of


def test_a_step_that_is_a_known_difference_conforms_to_that() -> None:
    """JAX's leaky_relu' at 0 is 1; nobody else's is."""
    kinks = find("kinks/leaky_relu/L1/n7/float64")
    t = refbp_trace(Subject(kinks).problem)
    at = np.argwhere(t.A[1] == 0)
    assert len(at)
    G = refbp.loss("mean_squared_error").gradient(t.Z[1], Subject(kinks).problem.Y)

    def as_jax(M: Any) -> None:
        M[t.A[1] == 0] = G[t.A[1] == 0]

    theirs = _with(t, "delta", 1, as_jax)
    for name, expected in (("jax-cpu", "conforms"), ("torch-cpu", "deviates"), ("", "deviates")):
        verdicts = {
            j.comparison.quantity: j.verdict for j in steps_of(Subject(kinks), name, theirs)
        }
        assert verdicts["delta"] == expected
    ours = {j.comparison.quantity: j.verdict for j in steps_of(Subject(kinks), "jax-cpu", t)}
    assert ours["delta"] == "conforms"  # as the convention has it


def _as_jax(case: Case) -> tuple[Trace, Trace]:
    """A run of it whose leaky_relu' is 1 at 0, and its run of one example alone."""

    def run(p: Problem) -> Trace:
        t = refbp_trace(p)
        G = refbp.loss("mean_squared_error").gradient(t.Z[1], p.Y)
        delta = np.where(t.A[1] == 0, G, t.delta[1])
        dW = p.X.T @ delta
        return replace(t, delta={1: delta}, dW={1: dW}, W_new={1: p.W[1] - p.alpha * dW})

    of = Subject(case)
    assert of.alone is not None
    return run(of.problem), run(of.alone.problem)


def test_a_known_difference_is_said_and_is_held_to_every_gate() -> None:
    """It excuses nobody else, and nothing that is wrong in one example alone."""
    kinks = find("kinks/leaky_relu/L1/n7/float64")
    theirs, alone = _as_jax(kinks)
    result = judge(Subject(kinks), "jax-cpu", theirs, alone=alone)
    assert (result["verdict"], result["known_differences"]) == (
        "known-difference",
        ["jax-leaky-relu-at-0"],
    )
    assert result["message"] == (
        "conforms to what it is known to compute instead: jax-leaky-relu-at-0."
    )
    assert result["first_deviation"] is None
    assert {r["gate"] for r in result["records"]} == {"step", "end-to-end", "row"}
    assert judge(Subject(kinks), "torch-cpu", theirs, alone=alone)["verdict"] == "deviates"
    wrong = _with(alone, "W_new", 1, set_to(9.0, 0, 0))
    result = judge(Subject(kinks), "jax-cpu", theirs, alone=wrong)
    assert (result["verdict"], result["known_differences"]) == ("deviates", [])


@pytest.mark.parametrize("name", ["jax-cpu", "torch-cpu", "refbp"])
def test_what_conforms_to_the_mathematics_is_no_known_difference(name: str) -> None:
    """Though it may conform to that as well: no A is 0 here."""
    of = Subject(find("typical/leaky_relu/L1/n7/float64"))
    result = judge(of, name, refbp_trace(of.problem))
    assert (result["verdict"], result["known_differences"], result["message"]) == (
        "conforms",
        [],
        "",
    )


def test_each_step_is_held_to_what_its_implementation_may_lose() -> None:
    of = subject("typical/gelu/L1/n7/float64")
    t = refbp_trace(of.problem)
    tolerances = {
        name: {c.quantity: c.tolerance for c in compared(of, name, t) if c.gate == "step"}
        for name in ("refbp", "torch-cpu", "")
    }
    for name, found in tolerances.items():
        row = of.accuracy(name, "gelu")
        A, Z = t.A[1], t.Z[1]
        lost = 2.0**-53 * (row.c * np.abs(Z) + row.e * np.abs(A) + row.h)
        assert (found["Z"] >= 0.999 * lost).all()
        assert (found["Z"] <= 1.001 * lost + 2.0**-53 * (4 * np.abs(A) + 2)).all()
    assert (tolerances["refbp"]["Z"] < tolerances[""]["Z"]).all()


def test_what_is_there_the_first_time_alone_is_named() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    for again, which in ((replace(t, Z={}), "Z"), (replace(t, loss=None), "loss")):
        result = judge(subject(TYPICAL), "somebody", t, again, whole=False)
        assert (result["verdict"], result["implementation"]) == ("deviates", "somebody")
        assert result["message"] == (
            f"the second time, {which} is there or not, as it happens; expected the same quantities "
            "each time."
        )


def test_two_known_differences_may_show_in_one_network() -> None:
    """JAX's leaky_relu' and |·|' are both 1 at 0: of these numbers neither alone is what it computed."""
    X, Y = np.array([[0.0], [1.0]]), np.array([[-1.0], [2.0]])
    p = Problem(
        {1: np.array([[2.0]])}, X, Y, {1: "leaky_relu"}, "mean_absolute_error", False, 0.125
    )
    A = np.array([[0.0], [2.0]])
    delta, dW = np.array([[0.5], [0.5]]), np.array([[0.5]])
    t = Trace({1: A}, {1: A}, {1: delta}, {1: dW}, {1: p.W[1] - 0.125 * dW}, np.array(0.5))
    of = Subject(Case.of(p, close=False))
    result = judge(of, "jax-cpu", t)
    assert result["verdict"] == "known-difference"
    assert {"jax-leaky-relu-at-0", "jax-abs-at-0"} <= set(result["known_differences"])
    half = _with(
        t, "delta", 1, set_to(0.005, 0, 0)
    )  # the derivative of leaky_relu is the convention's
    assert judge(of, "jax-cpu", half)["known_differences"] == ["jax-abs-at-0"]
    assert judge(of, "torch-cpu", t)["verdict"] == "deviates"


@pytest.mark.parametrize("rounded", [False, True])
def test_whoever_rounds_every_value_is_allowed_less(rounded: bool) -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    usual = [j.comparison for j in steps_of(subject(TYPICAL), "", t)]
    held = [j.comparison for j in steps_of(subject(TYPICAL), "", t, rounded)]
    less = [
        c.quantity for c, d in zip(held, usual, strict=True) if (c.tolerance < d.tolerance).any()
    ]
    assert bool(less) == rounded


def test_a_second_run_of_another_form() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    result = verdict_on(TYPICAL, t, replace(t, delta={}))
    assert (result["verdict"], result["message"]) == (
        "deviates",
        "the second time, delta has the layers []; expected 1 to 2.",
    )


def test_what_is_no_trace_is_said_before_any_number_is_judged() -> None:
    t = refbp_trace(subject(TYPICAL).problem)
    for quantity in ("A", "dW"):
        listed = replace(t, **{quantity: list(t.layers(quantity).values())})
        result = verdict_on(TYPICAL, listed)
        assert (result["verdict"], result["message"]) == (
            "deviates",
            f"{quantity} is a list; expected a mapping of layers 1 to 2.",
        )
        assert (result["not_returned"], result["records"]) == ([], [])


def test_of_a_trace_that_may_leave_something_out_something_is_asked_for() -> None:
    nothing = "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least."
    p = subject(TYPICAL).problem
    for empty in (Trace(), Trace(loss=refbp_trace(p).loss)):
        assert malformed(p, empty, whole=False) == nothing
        assert malformed(p, empty) == "A has the layers []; expected 1 to 2."
    t = refbp_trace(p)
    assert (
        malformed(p, replace(t, loss=None))
        == "the loss is a NoneType; expected an array of shape ()."
    )
    assert malformed(p, replace(t, loss=np.ones(2)), whole=False) == (
        "the loss is float64 of shape (2,); expected one number of float64."
    )
    named = replace(t, A={2: t.A[2], "b": t.A[1], 1: t.A[1]})  # type: ignore[dict-item]
    assert malformed(p, named) == "A has the layers [1, 2, 'b']; expected 1 to 2."
    some = replace(refbp_trace(p), A={}, Z={}, delta={}, W_new={}, loss=None)
    assert malformed(p, some, whole=False) == ""
    assert malformed(p, refbp_trace(p)) == ""


# --- one comparison -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "verdict", "ratio"),
    [(1.25, "conforms", 0.75), (2.0, "undecided", 1.5), (2.75, "deviates", 1.25)],
)
def test_a_ratio_is_the_largest_that_may_be_unless_it_surely_deviates(
    value: float, verdict: str, ratio: float
) -> None:
    """1 ± ½, 1 allowed: what is off by d may be off by d + ½, and is by d − ½."""
    whole = np.ones((1, 1))
    truth = Enclosure(whole, 0 * whole, whole / 2)
    (found,) = judge_all([Comparison("A", 1, "step", value * whole, truth, whole)])
    assert (found.verdict, float(found.record["ratio"])) == (verdict, ratio)
    assert (found.record["error"], found.record["tolerance"]) == (value - 1, 1)


# --- what cannot be decided -----------------------------------------------------------------------


def known_to(bits: int, case: str, monkeypatch: pytest.MonkeyPatch) -> Subject:
    monkeypatch.setattr(balls, "PRECISIONS", (bits,))
    return Subject(find(case))


def test_a_truth_that_is_not_narrow_leaves_it_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    of = known_to(50, TYPICAL, monkeypatch)
    t = refbp_trace(of.problem)
    result = judge(of, "refbp", t)
    assert result["verdict"] == "undecided"
    assert " cannot be decided: got " in result["message"]
    assert result["first_deviation"] is not None


def test_what_surely_deviates_does_so_however_wide_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = known_to(50, TYPICAL, monkeypatch)
    t = _with(refbp_trace(of.problem), "W_new", 2, set_to(9.0, 0, 0))
    result = judge(of, "refbp", t)
    assert result["verdict"] == "deviates"
    assert result["message"].startswith("new W_2[0, 0] is wrong given its own operands: got 9.0,")


def at_a_kink() -> Subject:
    """A_2 = tanh(x) + tanh(−x), which is 0, though no precision says so; σ_2 is ReLU."""
    W = {1: np.array([[1.0, -1.0]]), 2: np.array([[1.0], [1.0]])}
    X, Y = np.array([[0.3], [0.7]]), np.array([[1.0], [-1.0]])
    of = Subject(Case("typical", "tanh", 2, 2, "float64", (1, 2, 1), "relu"))
    of.__dict__["problem"] = Problem(
        W, X, Y, {1: "tanh", 2: "relu"}, "mean_squared_error", False, 0.125
    )
    return of


@pytest.mark.parametrize("a", [0.0, 5e-17, -5e-17])
def test_either_side_of_a_kink_is_accepted_from_end_to_end(a: float) -> None:
    """Where the truth is on neither side, an implementation may be on either; its own step decides."""
    of = at_a_kink()
    p = of.problem
    t = refbp_trace(p)
    A2 = np.full((2, 1), a)
    Z2 = np.maximum(A2, 0)
    delta2 = 2 * (Z2 - p.Y) / 2 * (a > 0)
    D1 = 1 / np.cosh(t.A[1]) ** 2
    delta1 = (delta2 @ p.W[2].T) * D1
    dW = {1: p.X.T @ delta1, 2: t.Z[1].T @ delta2}
    loss = np.asarray(((Z2 - p.Y) ** 2).sum() / 2)
    t = Trace(
        {1: t.A[1], 2: A2}, {1: t.Z[1], 2: Z2}, {1: delta1, 2: delta2}, dW,
        {l: p.W[l] - p.alpha * M for l, M in dW.items()}, loss,
    )  # fmt: skip
    result = judge(of, "refbp", t)
    assert (result["verdict"], result["message"]) == ("conforms", "")
    assert result["straddling"] == 2


def test_beyond_both_sides_of_a_kink_is_not_accepted() -> None:
    of = at_a_kink()
    t = _with(refbp_trace(of.problem), "delta", 2, set_to(1.5, 0, 0))
    result = judge(of, "refbp", t)
    assert result["verdict"] == "deviates"
    assert result["message"].startswith(
        "δ_2[0, 0] is wrong given its own operands: got 1.5, expected "
    )
    far = _with(refbp_trace(of.problem), "delta", 2, set_to(20.0, 0, 0))
    wrong = {r["gate"] for r in judge(of, "refbp", far)["records"] if float(r["ratio"]) > 1}
    assert wrong == {"step", "end-to-end"}


def test_a_truth_that_holds_both_sides_of_a_kink_is_compared_as_such() -> None:
    for of, undecided in ((at_a_kink(), True), (subject(TYPICAL), False)):
        pairs = compared(of, "refbp", refbp_trace(of.problem))
        whole = [c for c in pairs if c.gate == "end-to-end" and c.quantity != "loss"]
        assert len(whole) == 10
        assert {c.hull for c in whole} == {undecided}


@pytest.mark.parametrize(
    ("value", "verdict", "ratio"),
    [(0.5, "conforms", 0.0), (0.125, "conforms", 0.0), (1.03, "conforms", 0.96), (1.0625, "deviates", 2.0)],
)  # fmt: skip
def test_all_that_lies_between_two_derivatives_is_accepted(
    value: float, verdict: str, ratio: float
) -> None:
    """0 to 1, 1/32 allowed beyond either."""
    half = np.full((1, 1), 0.5)
    truth = Enclosure(half, 0 * half, half)
    (found,) = judge_all(
        [Comparison("dW", 1, "end-to-end", 0 * half + value, truth, half / 16, hull=True)]
    )
    assert (found.verdict, found.record["ratio"]) == (verdict, pytest.approx(ratio))


def test_the_truth_is_computed_once_for_all_implementations() -> None:
    of = Subject(find(TYPICAL))
    assert of.truth(PLAIN) is of.truth(amend(()))
    assert of.problem is of.problem
    assert of.spread("refbp", PLAIN) is of.spread("refbp", PLAIN)


def test_whose_spread_it_is_depends_on_the_implementation_alone() -> None:
    """And not on who was judged before: each is held to its own row of accuracy.toml."""
    case = Case("typical", "gelu", 3, 7, "float64", (4, 3, 4, 3))
    for first, second in (("torch-cpu", "torch-other"), ("jax-cpu", "jax-other")):
        shared, own = Subject(case), Subject(case)
        shared.spread(first, PLAIN)
        for l in (1, 2, 3):
            np.testing.assert_array_equal(
                shared.spread(second, PLAIN).delta[l], own.spread(second, PLAIN).delta[l]
            )


class _Linear:
    """A network of two linear layers, δ multiplied by a factor."""

    name = "linear"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def run(self, p: Problem) -> Trace:
        A1 = p.X @ p.W[1]
        A2 = A1 @ p.W[2]
        d2 = p.dtype.type(2 * self.factor) * (A2 - p.Y) / p.dtype.type(len(p.X))
        d1 = d2 @ p.W[2].T
        return Trace(
            A={1: A1, 2: A2}, Z={1: A1, 2: A2}, delta={1: d1, 2: d2},
            dW={1: p.X.T @ d1, 2: A1.T @ d2},
        )  # fmt: skip


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e8), ("float64", 1e16)])
@pytest.mark.parametrize("sigma", ["identity", "relu", "elu", "silu", "gelu_tanh", "softplus"])
@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_derivative_of_1_is_1_however_large_its_argument(
    dtype: str, scale: float, sigma: str, factor: float
) -> None:
    """σ' may lose u|σ| where it is made of σ, and not where σ is a line: 4u·1e16 is more than 1."""
    rng = np.random.default_rng(0)
    W1, W2, X, Y = (
        np.abs(rng.normal(size=s)).astype(dtype) for s in ((3, 4), (4, 2), (5, 3), (5, 2))
    )
    X = (scale * X).astype(dtype)
    p = Problem({1: W1, 2: W2}, X, Y, {1: sigma, 2: sigma}, "mean_squared_error", False, 0.1)
    found = check_problem(p, _Linear(factor))["summary"]["verdict"]
    assert found == ("conforms" if factor == 1 else "deviates")


def test_what_has_no_tolerance_is_undecided_beside_a_kink_too() -> None:
    """A_2 is tanh(x) − tanh(x): its relu is undecided, and a saturated loss has no bound."""

    class Garbage:
        name = "garbage"

        def run(self, p: Problem) -> Trace:
            return Trace(dW={l: np.full_like(M, 12345.678) for l, M in p.W.items()})

    W = {1: [[1.0, 1.0]], 2: [[1.0, 3.0], [-1.0, 2.0]], 3: [[1.0], [60.0]]}
    one = np.array([[1.0]])
    p = Problem(
        {l: np.array(M) for l, M in W.items()}, one, one, {1: "tanh", 2: "relu", 3: "sigmoid"},
        "binary_cross_entropy", False, 0.1,
    )  # fmt: skip
    assert check_problem(p, Garbage())["summary"]["verdict"] == "undecided"
