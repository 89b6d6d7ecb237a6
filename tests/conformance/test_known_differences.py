"""Known differences: each shows where its row says, excuses nothing else, and a stale one is told."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flint import arb

from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import cases, find
from conformance.implementations import IMPLEMENTATIONS
from conformance.judge import gates as judge_module
from conformance.judge import runner
from conformance.judge.gates import judge
from conformance.judge.known_differences import (
    AS_BUILT,
    TERMS_AS_BUILT,
    Difference,
    amend,
    known_differences,
)
from conformance.judge.result import judged
from conformance.judge.runner import run
from conformance.judge.start import started
from conformance.judge.subject import Subject
from conformance.model.problem import Trace
from conformance.model.results import Result
from conformance.truth.definitions import ACTIVATIONS, LOSSES, TERMS, Point, loss_at

ROWS = known_differences()
STANDARD = cases("standard")
RUNNING = {"torch": "torch-cpu", "jax": "jax-cpu", "jax-cpu": "jax-cpu"}


@cache
def on(case: str, name: str) -> Result:
    (result,) = judged(find(case), [name])
    return result


def due(row: Difference) -> list[Case]:
    return [c for c in STANDARD if row.must_show(RUNNING[row.implementation], c)]


def plainest(row: Difference) -> Case:
    """The case in which a row is to show that costs least to compile."""
    return min(due(row), key=lambda c: (c.depth, c.batch, c.dtype == "float32", c.id))


# --- the rows -------------------------------------------------------------------------------------


def test_every_row_is_complete() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS) >= 8
    for row in ROWS:
        assert row.shows_in in FAMILIES
        assert all(len(text) > 10 for text in (row.what, row.reason, row.source))
        assert any(
            n == row.implementation or n.startswith(row.implementation + "-")
            for n in IMPLEMENTATIONS
        )
        assert bool(row.activation) != bool(row.loss)
        assert row.activation in (*ACTIVATIONS, "any", "")
        assert row.loss in (*LOSSES, "")
        assert row.dtype in ("", "float64", "float32")
        assert sum([bool(row.takes), bool(row.computes), row.flushes]) == 1
        assert row.computes in (*(TERMS_AS_BUILT if row.loss else AS_BUILT), "")
        assert due(row), "no case of `standard` could show it"
    assert {row.computes for row in ROWS} - {""} == {*AS_BUILT, *TERMS_AS_BUILT}


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_a_row_shows_in_its_family(row: Difference) -> None:
    name = RUNNING[row.implementation]
    result = on(plainest(row).id, name)
    assert result["verdict"] == "known-difference"
    assert row.id in result["known_differences"]
    assert result["message"] == (
        f"conforms to what it is known to compute instead: {', '.join(result['known_differences'])}."
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_without_its_row_it_deviates(row: Difference, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the row, and not a tolerance, that the verdict rests on."""
    others = tuple(r for r in ROWS if r.id != row.id)
    monkeypatch.setattr(judge_module, "known_differences", lambda: others)
    (result,) = judged(plainest(row), [RUNNING[row.implementation]])
    assert result["verdict"] == "deviates"
    assert result["known_differences"] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.id)
def test_the_other_implementations_do_not_differ_there(row: Difference) -> None:
    result = on(plainest(row).id, "refbp")
    assert (result["verdict"], result["known_differences"]) == ("conforms", [])


# --- what a row does not excuse -------------------------------------------------------------------

THRESHOLD = "saturating/softplus>identity+mean_squared_error/L2/n7/float64"
SIXTH = "typical/hardsigmoid/L2/n7/float64/bias"


def trace_of(case: str, name: str) -> tuple[Subject, Trace]:
    subject = Subject(find(case))
    impl = started(name).ready
    assert impl is not None
    return subject, impl.run(subject.problem)


def off(t: Trace, quantity: str, l: int, index: tuple[int, int], by: float) -> Trace:
    M = t.layers(quantity)[l].copy()
    assert M[index] != 0
    M[index] *= 1 + by
    return replace(t, **{quantity: {**t.layers(quantity), l: M}})


@pytest.mark.parametrize(("case", "quantity", "l"), [
    (THRESHOLD, "Z", 1), (THRESHOLD, "W_new", 2), (THRESHOLD, "dW", 2), (SIXTH, "delta", 1),
    (SIXTH, "A", 2),
])  # fmt: skip
def test_a_known_difference_does_not_excuse_another_error(case: str, quantity: str, l: int) -> None:
    """Not even a small one, and not even in the quantity that differs."""
    subject, t = trace_of(case, "torch-cpu")
    assert judge(subject, "torch-cpu", t)["verdict"] == "known-difference"
    M = np.abs(t.layers(quantity)[l])
    index = tuple(int(i) for i in np.unravel_index(M.argmax(), M.shape))
    wrong = off(t, quantity, l, index, 1e-12)  # type: ignore[arg-type]
    result = judge(subject, "torch-cpu", wrong)
    assert result["verdict"] == "deviates"
    assert result["known_differences"] == []


def test_a_known_difference_of_one_is_not_one_of_another() -> None:
    subject, t = trace_of(THRESHOLD, "torch-cpu")
    for name in ("refbp", "jax-cpu", "somebody"):
        result = judge(subject, name, t)
        assert (result["verdict"], result["known_differences"]) == ("deviates", [])
    assert judge(subject, "torch-cuda", t)["verdict"] == "known-difference"


def test_what_differs_further_than_known_deviates() -> None:
    """torch's threshold at 20 and not at 19: the input itself at 19 is no known difference."""
    subject, t = trace_of(THRESHOLD, "torch-cpu")
    A, Z = t.A[1], t.Z[1].copy()
    index = tuple(np.argwhere(A == 19)[0])
    assert Z[index] != 19
    Z[index] = 19
    result = judge(subject, "torch-cpu", replace(t, Z={**t.Z, 1: Z}))
    assert result["verdict"] == "deviates"


def test_two_rows_at_once_are_found() -> None:
    """A case in which a kink and subnormals both differ is judged by both rows."""
    rows = [r for r in ROWS if r.activation == "leaky_relu" or r.flushes]
    assert len(rows) == 2
    both = amend(rows)
    assert both.flushes
    assert both.key == ("jax-leaky-relu-at-0", "jax-subnormals")
    subject = Subject(Case("typical", "leaky_relu", 1, 2, "float64", (1, 2)))
    tiny = np.finfo(float).smallest_normal
    p = subject.problem
    p = replace(
        p, W={1: np.array([[1.0, 0.5]])}, X=np.array([[0.0], [tiny]]), Y=np.array([[1.0, 1.0]] * 2)
    )
    subject.__dict__["problem"] = p
    impl = started("jax-cpu").ready
    assert impl is not None
    t = impl.run(p)
    assert t.A[1][1, 1] == 0  # flushed
    result = judge(subject, "jax-cpu", t)
    assert result["verdict"] == "known-difference"
    assert set(result["known_differences"]) == set(both.key)


# --- a row that no longer shows -------------------------------------------------------------------

STALE = Difference(
    id="made-up", implementation="refbp", what="relu'(0) is 1", reason="a row that is not true",
    source="this test", shows_in="kinks", activation="relu", takes=((0.0, 1.0),),
)  # fmt: skip


def test_a_stale_row_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (judge_module, runner):
        monkeypatch.setattr(place, "known_differences", lambda: (*ROWS, STALE))
    results = run("standard", ["refbp"], "family=kinks,activation=relu", jobs=0)
    assert {r["verdict"] for r in results["results"]} == {"conforms"}
    (row,) = [d for d in results["known_differences"] if d["id"] == "made-up"]
    assert (row["status"], row["seen"]) == ("stale", 0)
    summary = results["summary"]
    assert (summary["verdict"], summary["exit_code"]) == ("error", 2)
    assert summary["message"] == "known differences that no longer show: made-up."


def test_a_row_that_could_not_show_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (judge_module, runner):
        monkeypatch.setattr(place, "known_differences", lambda: (*ROWS, STALE))
    results = run("standard", ["refbp"], "family=kinks,activation=relu6", jobs=0)
    assert {d["status"] for d in results["known_differences"]} == {"not-run"}
    assert results["summary"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("torch-cpu", "saturating/softplus>identity+mean_squared_error/L2/n7/float32"),
        ("jax-cpu", "typical/selu/L2/n7/float32"),
    ],
)
def test_a_run_of_one_case_does_not_call_a_row_stale_that_shows_elsewhere(
    name: str, case: str
) -> None:
    """Where the difference is below a rounding, a run of that case alone says nothing about the row."""
    results = run("standard", [name], f"id={case}", jobs=0)
    assert [r["verdict"] for r in results["results"]] == ["conforms"]
    assert [d["id"] for d in results["known_differences"] if d["status"] == "stale"] == []
    assert results["summary"]["exit_code"] == 0


def test_a_row_that_shows_differs() -> None:
    results = run("standard", ["torch-cpu"], f"id={THRESHOLD}", jobs=0)
    status = {d["id"]: (d["status"], d["seen"]) for d in results["known_differences"]}
    assert status["torch-softplus-threshold"] == ("differs", 1)
    assert status["jax-subnormals"] == ("not-run", 0)
    assert results["summary"]["exit_code"] == 0
    assert results["summary"]["verdict"] == "conforms"
    assert "1 of them but for a known difference" in results["summary"]["message"]


# --- whom a row concerns --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("implementation", "name", "concerned"),
    [("jax", "jax", True), ("jax", "jax-cpu", True), ("jax", "jax-cpu-jit", True), ("jax", "jaxon", False),
     ("jax-cpu", "jax-cpu-jit", True), ("jax-cpu", "jax-cuda", False), ("torch", "jax-cpu", False)],
)  # fmt: skip
def test_whom_a_row_concerns(implementation: str, name: str, concerned: bool) -> None:
    row = replace(STALE, implementation=implementation)
    assert row.concerns(name, find("kinks/relu/L1/n7/float64")) is concerned


def test_which_cases_a_row_concerns() -> None:
    relu = find("kinks/relu/L1/n7/float64")
    tanh_head = find("heads/tanh>relu+mean_squared_error/L3/n1/float64")
    assert STALE.concerns("refbp", relu)
    assert STALE.concerns("refbp", tanh_head)  # as the output activation
    assert STALE.must_show("refbp", relu)
    assert not STALE.must_show("refbp", tanh_head)
    assert not replace(STALE, dtype="float32").concerns("refbp", relu)
    assert not replace(STALE, activation="gelu").concerns("refbp", relu)
    assert replace(STALE, activation="any").concerns("refbp", relu)
    of_loss = replace(STALE, activation="", loss="mean_squared_error")
    assert of_loss.concerns("refbp", relu)
    assert not replace(of_loss, loss="huber").concerns("refbp", relu)


# --- what a row makes of the mathematics ----------------------------------------------------------


def test_no_rows_amend_nothing() -> None:
    plain = amend(())
    assert (plain.flushes, plain.key) == (False, ())
    assert dict(plain.maths.activations) == dict(ACTIVATIONS)
    assert dict(plain.maths.terms) == dict(TERMS)


def test_a_row_amends_its_point_alone() -> None:
    row = next(r for r in ROWS if r.id == "jax-hardtanh-at-bounds")
    sigma = amend([row]).maths.activations["hardtanh"]
    assert [float(sigma(arb(a)).first) for a in (-1, 1, 0.5, 2)] == [1, 1, 1, 0]
    assert [float(ACTIVATIONS["hardtanh"](arb(a)).first) for a in (-1, 1)] == [0, 0]
    others = {s for s in ACTIVATIONS if amend([row]).maths.activations[s] is not ACTIVATIONS[s]}
    assert others == {"hardtanh"}


def test_a_row_amends_a_loss_at_its_point_alone() -> None:
    row = next(r for r in ROWS if r.loss)
    terms, two = amend([row]).maths.terms, arb(2)

    def at(z: Any, terms: Any = terms) -> Point:
        return loss_at("mean_absolute_error", z, two, terms)

    assert [float(at(arb(z)).first) for z in (1, 2, 3)] == [-1, 1, 1]
    assert at(arb(2, 1e-9)).first.contains(arb(0))
    assert float(at(two, TERMS).first) == 0
    assert at(arb(5)).value == 3


def test_definitions_as_built() -> None:
    softplus = AS_BUILT["softplus_threshold_20"]
    assert softplus(arb(25)).value == 25
    assert softplus(arb(25)).first == 1
    at_20 = softplus(arb(20))
    assert float(at_20.value) == pytest.approx(math.log1p(math.exp(-20)) + 20, abs=1e-14)
    assert float(at_20.value) > 20
    sixth = AS_BUILT["hardsigmoid_float32_sixth"]
    assert float(sixth(arb(1)).first) == float(np.float32(1) / np.float32(6))
    assert sixth(arb(1)).value.overlaps(arb(2) / 3)
    assert [float(sixth(arb(a)).first) for a in (-4, 4, -3, 3)] == [0, 0, 0, 0]


def test_the_file_is_read_once() -> None:
    assert known_differences() is ROWS


def test_the_clamped_loss_as_built() -> None:
    """torch's: −log z stops at 100, and z(1 − z) at 1e-12 in the gradient; elsewhere the mathematics."""
    built = {**TERMS, **TERMS_AS_BUILT["binary_cross_entropy_clamped"]}

    def at(z: Any, y: Any, terms: Any) -> Point:
        return loss_at("binary_cross_entropy", z, y, terms)

    z, y = arb(2) ** -200, arb(1) / 4
    clamped, exact = at(z, y, built), at(z, y, TERMS)
    assert float(clamped.value) == pytest.approx(25.0, rel=1e-12, abs=0)
    assert float(exact.value) == pytest.approx(200 * math.log(2) / 4, rel=1e-12, abs=0)
    assert float(clamped.first) == pytest.approx(-0.25 / float(np.float32(1e-12)), rel=1e-12, abs=0)
    assert float(exact.first) == pytest.approx(-0.25 * 2.0**200, rel=1e-12, abs=0)
    for z in (arb(3) / 8, arb(1) / 1024):
        for y in (arb(0), arb(1), arb(3) / 4):
            assert at(z, y, built).value.overlaps(at(z, y, TERMS).value)
            assert at(z, y, built).first.overlaps(at(z, y, TERMS).first)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["deviates", "deviates", "deviates"], None),
        (["undecided", "deviates", "deviates"], ("undecided", "0")),
        (["deviates", "undecided", "undecided"], ("undecided", "1")),
        (["undecided", "undecided", "conforms"], ("conforms", "01")),
        (["undecided", "conforms", "deviates"], ("conforms", "1")),
    ],
)
def test_under_which_known_differences_a_trace_is_judged(
    verdicts: list[str], expected: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under each alone, then under all: the first that makes it conform, else the first undecided."""
    answers = iter(verdicts)
    subject: Any = SimpleNamespace(amend="".join)
    monkeypatch.setattr(judge_module, "_known", lambda *of: ["0", "1"])
    monkeypatch.setattr(
        judge_module, "_all_gates", lambda *of: [SimpleNamespace(verdict=next(answers))]
    )
    trace: Any = None
    found = judge_module._under_known_differences(subject, "torch-cpu", trace, None, rounded=True)
    assert (found and (found[0][0].verdict, found[1])) == expected
