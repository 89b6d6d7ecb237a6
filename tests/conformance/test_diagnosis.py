"""From a deviation to what it looks like: what is left out of a trace, what no fault explains, what is
said of it in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import conformance
from conformance.cases.profiles import find
from conformance.commands.main import main
from conformance.commands.show import describe
from conformance.implementations import NotRunError
from conformance.judge.gates import judge
from conformance.judge.mistakes.loop import STEPS, Loop, planted
from conformance.judge.mistakes.table import FAULTS
from conformance.judge.result import judged_by
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.model.results import Result, Results
from conformance.report import render
from conformance.report.explain import common, explained, smallest

TYPICAL = "typical/tanh/L3/n7/float64"


@cache
def subject(case: str) -> Subject:
    return Subject(find(case))


class Partial:
    """The loop with faults in it, and some quantities left out."""

    description, like = "planted", "refbp"

    def __init__(
        self, *names: str, without: tuple[str, ...] = (), name: str = "mine", **steps: Any
    ):
        self.name, self.without = name, without
        self.loop = Loop({**planted(*(FAULTS[n].wrong for n in names)), **steps})

    def run(self, p: Problem) -> Trace:
        left_out: dict[str, Any] = {q: {} for q in self.without if q != "loss"}
        if "loss" in self.without:
            left_out["loss"] = None
        return replace(self.loop.run(p), **left_out)


def result_of(*names: str, case: str = TYPICAL, **more: Any) -> Result:
    """The result of an implementation of somebody's own."""
    from conformance.implementations import given

    impl = Partial(*names, **more)
    with given({"mine": impl}):  # type: ignore[dict-item]
        return judged_by(subject(case), "mine", impl)  # type: ignore[arg-type]


def blame(result: Result) -> list[str]:
    return [f"{s['quantity']}_{s['layer']}" for s in result["blame"]]


# --- what is left out -----------------------------------------------------------------------------

ALL = (*QUANTITIES, "loss")


@pytest.mark.parametrize(
    "without",
    [
        ("W_new", "loss"), ("delta", "W_new", "loss"), ("A", "W_new", "loss"), ("Z", "loss"),
        ("A", "Z", "W_new", "loss"), ("A", "Z", "delta", "W_new", "loss"), ("A", "Z", "dW", "W_new"),
        ("dW", "W_new"), ("loss",), ("A",), ("Z", "delta"),
    ],
    ids="+".join,
)  # fmt: skip
def test_what_is_left_out_is_not_judged_and_said(without: tuple[str, ...]) -> None:
    result = result_of(without=without)
    assert (result["verdict"], result["message"]) == ("conforms", "")
    assert set(result["not_returned"]) == set(without)
    there = {r["quantity"] for r in result["records"]} - {"all"}
    assert there == set(ALL) - set(without)


def test_a_step_is_judged_where_its_operands_are_there() -> None:
    """∂L/∂W by step needs Z and δ; δ needs A, and Z_L or δ_{l+1}."""

    def stepped(*without: str) -> set[str]:
        records = result_of(without=without)["records"]
        return {r["quantity"] for r in records if r["gate"] == "step"}

    assert stepped() == set(ALL)
    assert stepped("delta") == {"A", "Z", "W_new", "loss"}
    assert stepped("A") == {"dW", "W_new", "loss"}
    assert stepped("Z") == {"A", "delta", "dW", "W_new"}  # in layer 1, and below the output
    assert stepped("A", "Z", "delta", "W_new", "loss") == set()


def test_nothing_at_all_is_malformed() -> None:
    result = result_of(without=ALL)
    assert (result["verdict"], result["message"]) == (
        "deviates", "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least.",
    )  # fmt: skip


def test_quantities_must_not_come_and_go() -> None:
    class Fickle(Partial):
        runs = 0

        def run(self, p: Problem) -> Trace:
            self.runs += 1
            t = super().run(p)
            return replace(t, delta={}) if self.runs == 3 else t

    from conformance.implementations import given

    impl: Any = Fickle()
    with given({"mine": impl}):
        result = judged_by(subject(TYPICAL), "mine", impl)
    assert (result["verdict"], result["message"]) == (
        "deviates",
        "the second time, delta is there or not, as it happens; expected the same quantities each time.",
    )


def test_ours_must_return_everything() -> None:
    impl: Any = Partial(without=("loss",))
    impl.name = "refbp"
    result = judged_by(subject(TYPICAL), "refbp", impl)
    assert result["verdict"] == "deviates"
    assert result["message"] == "the loss is a NoneType; expected an array of shape ()."


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("derivative-at-the-output", ("delta", "W_new", "loss")),
        ("derivative-at-the-output", ("A", "Z", "delta", "W_new", "loss")),
        ("mean-missing", ("A", "Z", "delta", "W_new", "loss")),
        ("weights-updated-first", ("A", "Z", "delta", "W_new", "loss")),
        ("sign-flipped", ("A", "Z", "dW", "W_new", "loss")),
        ("activation-twice", ("A", "delta", "W_new", "loss")),
        ("gradient-from-A", ("delta", "W_new", "loss")),
    ],
)
def test_a_fault_is_named_without_its_operands(name: str, without: tuple[str, ...]) -> None:
    """By whole networks with the fault in them."""
    result = result_of(name, without=without)
    assert result["verdict"] == "deviates"
    assert [f["fault"] for f in result["diagnosis"]] == [name]
    assert len(result["blame"]) == 1


def test_of_hidden_layers_alone() -> None:
    def wrong(s: Any, l: int, G: Any) -> Any:
        other = s.copy()
        other.A[l] = s.Z[l] if l < s.L else s.A[l]
        return STEPS["delta"](other, l, G)

    result = result_of(without=("delta", "W_new", "loss"), delta=wrong)
    assert [f["fault"] for f in result["diagnosis"]] == ["derivative-at-the-output"]
    assert result["diagnosis"][0]["text"] == (
        "layers 2, 1: δ equals (δ_{l+1} W_{l+1}ᵀ) ⊙ σ'_l(Z_l): the derivative is taken at the output instead "
        "of the pre-activation."
    )


# --- what no fault explains -----------------------------------------------------------------------


def test_what_is_no_known_mistake_is_described() -> None:
    result = result_of(delta=lambda s, l, G: STEPS["delta"](s, l, G) * (0.37 if l == 2 else 1))
    assert blame(result) == ["delta_2"]
    (found,) = result["diagnosis"]
    assert found["fault"] == ""
    assert found["text"].startswith(
        "layer 2: δ equals the outcome of no known mistake; it is 0.37 times what it should be; "
    )


def test_a_fault_in_one_layer_is_right_in_the_others() -> None:
    result = result_of(delta=lambda s, l, G: G if l == 2 else STEPS["delta"](s, l, G))
    assert blame(result) == ["delta_2"]
    (found,) = result["diagnosis"]
    assert (found["fault"], found["text"]) == (
        "derivative-missing",
        "layer 2: δ equals (δ_3 W_3ᵀ): σ' is missing; in the other layers it is right.",
    )


def test_a_fault_and_something_unknown() -> None:
    result = result_of(
        "gradient-averaged", delta=lambda s, l, G: STEPS["delta"](s, l, G) + (0.5 if l == 1 else 0)
    )
    assert [f["fault"] for f in result["diagnosis"]] == ["gradient-averaged", ""]
    assert "it is 0.5 more than it should be, in every element" in result["diagnosis"][1]["text"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(value: float) -> None:
    def wrong(s: Any, l: int) -> Any:
        M = STEPS["dW"](s, l)
        M[0, 0] = value if l == 2 else M[0, 0]
        return M

    result = result_of(dW=wrong)
    assert blame(result) == ["dW_2"]  # and not what is updated by it
    assert "in 1 of 12 places" in result["diagnosis"][0]["text"]


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("gradient-clipped", lambda s, l: np.clip(STEPS["dW"](s, l), -0.03, 0.03)),
        ("gradient-decayed", lambda s, l: STEPS["dW"](s, l) + 5e-4 * s.p.W[l]),
        ("gradient-norm-clipped", lambda s, l: scaled_to(STEPS["dW"](s, l), 0.01)),
    ],
)
def test_a_number_in_a_fault_is_found(name: str, limits: Callable[..., Any]) -> None:
    """Clipped, decayed, scaled by another number than the table's."""
    result = result_of(dW=limits)
    assert [f["fault"] for f in result["diagnosis"]] == [name]


def scaled_to(M: Any, norm: float) -> Any:
    return M * (norm / np.linalg.norm(M))


def test_a_hidden_layer_that_clips_its_pre_activation_elsewhere() -> None:
    case = "saturating/identity>identity+mean_squared_error/L2/n7/float64"
    result = result_of(case=case, Z=lambda s, l: s.sigma(l)(np.clip(s.A[l], -100, 100)))
    assert [f["fault"] for f in result["diagnosis"]] == ["pre-activation-clipped"]


def test_other_bits_in_every_run_and_nothing_else() -> None:
    result = result_of("sum-order-varies")
    assert result["blame"] == []
    assert result["diagnosis"][0]["text"].startswith("the same input gives other bits")


def test_the_last_bit_where_none_may_be_wrong() -> None:
    case = "integers/relu/L2/n64/float64"

    def wrong(s: Any, l: int) -> Any:
        M = STEPS["dW"](s, l)
        M[1, 1] = np.nextafter(M[1, 1], -np.inf) if l == 1 else M[1, 1]
        return M

    result = result_of(case=case, dW=wrong)
    assert blame(result) == ["dW_1"]
    assert result["diagnosis"][0]["text"] == (
        "layer 1: ∂L/∂W is off in the last bits, where every sum fits the significand: the arithmetic is not "
        "the one declared."
    )


# --- what is said ---------------------------------------------------------------------------------


@cache
def results() -> Results:
    return conformance.run(
        Partial("derivative-at-the-output", "mean-twice", without=("W_new",)),  # type: ignore[arg-type]
        Partial(name="right"),  # type: ignore[arg-type]
        select="activation=tanh",
    )


def test_a_screen_is_enough() -> None:
    lines = explained(results(), "mine")
    assert len(lines) <= 20
    assert max(map(len, lines[:-1])) <= 100
    assert explained(results(), "right") == []
    text = "\n".join(lines)
    assert lines[0].startswith("mine: ")
    assert "  to blame    δ (" in text
    assert 1 <= text.count("  looks like  ") <= 3
    assert "cases)" in text
    assert "it is divided by n twice" in text
    assert "→ Take σ'_l at A_l; Z_l is σ_l(A_l)." in text
    assert lines[-1].startswith("  see it      conformance show ")


def test_the_smallest_failing_case() -> None:
    bad = [r for r in results()["results"] if r["verdict"] == "deviates"]
    found = smallest(bad, results()["cases"])
    rows = {c["id"]: c for c in results()["cases"]}
    assert rows[found["case"]]["depth"] == min(rows[r["case"]]["depth"] for r in bad)


def test_what_failures_have_in_common() -> None:
    bad = [r for r in results()["results"] if r["verdict"] == "deviates"]
    found = common(bad, results()["cases"])
    named = {n for c in found[:3] for n in c.finding["fault"].split(" + ")}
    assert named >= {"derivative-at-the-output", "mean-twice"}
    assert found[0].cases >= found[1].cases


def test_a_case_shown_has_its_diagnosis() -> None:
    result = result_of("mean-missing", without=("loss",))
    text = describe(find(TYPICAL), result)
    assert (
        "  looks like: layer 3: δ equals n · (the right δ_3): the 1/n of the loss is missing"
        in text
    )
    assert "    → Divide ∂L/∂Z_L by n, the number of examples." in text
    assert "  to blame: δ_3; what follows from it is not to blame" in text
    assert "  not returned, so not judged: the loss" in text


def test_the_page_has_the_diagnosis() -> None:
    html = render(results())
    assert "<b>Looks like</b>" in html
    assert "it is divided by n twice" in html
    assert "To blame, given their own operands:" in html
    assert "new W: not returned, so not judged." in html


STUDENT = """
def forward_pass(W, X, sigma):
    A, Z = [], [X]
    for W_l, s in zip(W, sigma):
        A.append(Z[-1] @ W_l)
        Z.append(s(A[-1]))
    return A, Z

def backward_prop(W, A, Z, Y, sigma, loss):
    L = len(W)
    delta = [None] * L
    delta[-1] = loss.gradient(Z[-1], Y) * sigma[-1].derivative(A[-1])
    for l in reversed(range(L - 1)):
        delta[l] = (delta[l + 1] @ W[l + 1].T) * sigma[l].derivative(Z[l + 1])
    return delta, [Z[l].T @ delta[l] for l in range(L)]
"""


def test_a_students_run_on_one_screen(tmp_path: Path) -> None:
    path = tmp_path / "student.py"
    path.write_text(STUDENT)
    done = CliRunner().invoke(
        main, ["run", "--profile", "quick", "--implementation", str(path), "--jobs", "0"]
    )
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) <= 30
    assert (
        "  looks like  layer 1: δ equals (δ_2 W_2ᵀ) ⊙ σ'_1(Z_1): the derivative is taken at the output"
        in lines
    )
    assert f"{path}: 53 deviates, of 110 cases" in lines
    assert any(line.startswith("  smallest    typical/") for line in lines)


def test_an_implementation_that_does_no_case_is_not_green() -> None:
    class Unable(Partial):
        def run(self, p: Problem) -> Trace:
            raise NotRunError("it does nothing.")

    found = conformance.run(Unable(), select="activation=tanh,depth=2")  # type: ignore[arg-type]
    assert found["summary"]["exit_code"] == 2
    assert {r["verdict"] for r in found["results"]} == {"not-run"}
    assert {r["message"] for r in found["results"]} == {"not run: it does nothing."}


def test_a_known_difference_is_no_deviation() -> None:
    """What an implementation is like decides what it may differ in."""
    of = subject("kinks/hardtanh/L1/n7/float64")
    steps = planted(FAULTS["kink-from-the-left"].wrong)
    result = judge(of, "refbp", Loop(steps).run(of.problem))
    assert result["verdict"] == "deviates"


# --- what a review found --------------------------------------------------------------------------


def test_what_is_right_as_a_whole_is_not_blamed_for_its_operand() -> None:
    """δ returned n times too large, and not what ∂L/∂W was made of: one thing is wrong."""

    class Elsewhere(Partial):
        def run(self, p: Problem) -> Trace:
            t = super().run(p)
            return replace(t, delta={l: len(p.X) * M for l, M in t.delta.items()})

    from conformance.implementations import given

    impl: Any = Elsewhere()
    with given({"mine": impl}):
        result = judged_by(subject(TYPICAL), "mine", impl)
    assert result["verdict"] == "deviates"
    assert {q.rpartition("_")[0] for q in blame(result)} == {"delta"}


def test_zeros_are_not_clipped() -> None:
    result = result_of(dW=lambda s, l: STEPS["dW"](s, l) * (l != 1))
    assert [f["fault"] for f in result["diagnosis"]] == ["gradient-never-computed"]
    assert "never computed, or never stored" in result["diagnosis"][0]["text"]


def test_one_large_element_is_not_clipped() -> None:
    """The largest of those that are wrong is no limit."""
    result = result_of(
        delta=lambda s, l, G: STEPS["delta"](s, l, G) ** 3 if l == 2 else STEPS["delta"](s, l, G)
    )
    assert [f["fault"] for f in result["diagnosis"]] == [""]


def test_what_equals_a_delta_below_by_its_value_alone_is_no_buffer() -> None:
    """Two signs that cancel."""
    result = result_of("sign-flipped-below")
    assert [f["fault"] for f in result["diagnosis"]] == ["sign-flipped-below"]


def test_decay_without_the_bias_and_of_signs() -> None:
    case = "typical/tanh/L2/n7/float64/bias"

    def without_bias(s: Any, l: int) -> Any:
        W = s.p.W[l].copy()
        W[-1] = 0
        return STEPS["dW"](s, l) + 0.02 * W

    for wrong in (without_bias, lambda s, l: STEPS["dW"](s, l) + 0.02 * np.sign(s.p.W[l])):
        result = result_of(case=case, dW=wrong)
        assert [f["fault"] for f in result["diagnosis"]] == ["gradient-decayed"]


def test_a_step_on_operands_that_are_no_numbers_is_not_blamed() -> None:
    def wrong(s: Any, l: int, G: Any) -> Any:
        M = STEPS["delta"](s, l, G)
        M[0, 0] = np.inf if l == 3 else M[0, 0]
        return M

    with np.errstate(all="ignore"):
        assert blame(result_of(delta=wrong)) == ["delta_3"]


def test_a_step_by_hand() -> None:
    from conformance.commands.show import by_hand
    from conformance.judge.result import runs

    impl: Any = Partial("derivative-at-the-output")
    ran = runs(subject("typical/tanh/L2/n2/float64"), impl)
    result = result_of("derivative-at-the-output", case="typical/tanh/L2/n2/float64")
    lines = by_hand(subject("typical/tanh/L2/n2/float64"), "refbp", ran, result)
    assert lines[0] == "  δ_2 = ∂L/∂Z_2 ⊙ σ'_2(A_2), on its own operands:"
    assert [line.split()[0] for line in lines[1::2]] == ["Z_2", "Y", "A_2", "got", "expected"]
    assert all(len(line.split()) == 4 for line in lines[2::2])


def rows(*fields: dict[str, Any]) -> Any:
    plain = {
        "depth": 1,
        "batch": 1,
        "dtype": "float64",
        "widths": [1, 1],
        "output": "tanh",
        "bias": False,
    }
    return [
        {**plain, "loss": "mse", "activation": "tanh", "family": "f", "id": str(i), **f}
        for i, f in enumerate(fields)
    ]


def told_of(*verdicts: str) -> Any:
    return [{"case": str(i), "verdict": v} for i, v in enumerate(verdicts)]


def test_what_all_failures_have_and_nothing_else() -> None:
    from conformance.report.explain import only_where

    cases = rows({"loss": "mse"}, {"loss": "huber"}, {"loss": "mae"}, {"loss": "mse"})
    own = told_of("conforms", "deviates", "deviates", "conforms")
    assert only_where(own[1:3], own, cases) == "loss is not mse"
    assert only_where(own[1:2], own[:2], cases) == "loss is huber"
    assert only_where(own, own, cases) == ""
    cases = rows({"activation": "relu"}, {"activation": "tanh"}, {"activation": "relu"})
    own = told_of("deviates", "conforms", "conforms")
    assert only_where(own[:1], own, cases) == ""


def test_a_name_that_fits_a_few_cases_is_not_told() -> None:
    def failing(*faults: str) -> Any:
        return [
            {"case": str(i), "diagnosis": [{"fault": f, "text": f, "suggestion": "", "steps": []}]}
            for i, f in enumerate(faults)
        ]

    cases = rows(*[{"depth": d} for d in (1, 1, 2, 3, 3, 3, 3, 3, 3, 3)])
    found = common(failing("a", *[""] * 9), cases)
    assert [(c.finding["fault"], c.cases) for c in found] == [("", 9)]
    found = common(failing("a", "a", "", *["a"] * 7), cases)
    assert [(c.finding["fault"], c.cases) for c in found] == [("a", 9), ("", 1)]
    found = common(failing("x", "x", *["x-at-output"] * 8), cases)
    assert [(c.finding["fault"], c.cases) for c in found] == [("x-at-output", 10)]


def test_what_only_breaks_could_not_be_judged() -> None:
    class Broken(Partial):
        def run(self, p: Problem) -> Trace:
            raise ZeroDivisionError("no")

    found = conformance.run(Broken(), select="activation=tanh,depth=2")  # type: ignore[arg-type]
    assert found["summary"]["exit_code"] == 2
    assert "could not run: mine" in found["summary"]["message"]


def test_every_reason_why_a_case_is_not_run_is_told() -> None:
    class Choosy(Partial):
        def run(self, p: Problem) -> Trace:
            if p.bias:
                raise NotRunError("it has no bias.")
            if p.dtype == np.float32:
                raise NotRunError("it has no float32.")
            return super().run(p)

    found = conformance.run(Choosy(), select="activation=tanh,depth=2")  # type: ignore[arg-type]
    reason = found["implementations"][0]["reason"]
    assert "it has no bias (" in reason
    assert "it has no float32 (" in reason
