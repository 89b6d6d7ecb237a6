"""One case in the terminal: its layers, its worst element in hex, and lines that reproduce it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import find
from conformance.commands.show import describe
from conformance.implementations import implementation
from conformance.judge.gates import judge, judge_exception
from conformance.judge.subject import Subject
from conformance.model.problem import Problem, Trace

INTEGERS = "integers/relu/L1/n2/float64/bias"
TYPICAL = "typical/tanh/L2/n7/float64/bias"


class Off:
    """refbp with one element of ∂L/∂W_1 off."""

    name, description = "refbp", "planted"

    def __init__(self, quantity: str = "dW", factor: float = 1.5) -> None:
        self.quantity, self.factor = quantity, factor

    def start(self) -> Any:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        t = implementation("refbp").run(p)
        if self.quantity == "loss":
            return replace(t, loss=t.loss * self.factor)
        M = t.layers(self.quantity)[1].copy()
        M[0, 1] *= self.factor
        return replace(t, **{self.quantity: {**t.layers(self.quantity), 1: M}})


def described(case: str, impl: Any, name: str = "refbp") -> tuple[str, Any]:
    found = find(case)
    of = Subject(found)
    alone = impl.run(of.alone.problem) if of.alone else None
    result = judge(of, name, impl.run(of.problem), impl.run(of.problem), alone)
    return describe(found, result), result


def test_a_case_that_conforms() -> None:
    text, result = described(INTEGERS, implementation("refbp"))
    lines = text.splitlines()
    assert lines[:3] == [
        f"{INTEGERS}   refbp: conforms",
        "  relu, output relu, mean_squared_error; widths 4-3, batch 2, float64, with bias",
        f"  why: {FAMILIES['integers'].why}",
    ]
    assert lines[3] == ""
    assert lines[4].split() == [
        "quantity", "layer", "gate", "error", "tolerance", "ratio", "ulps", "worst", "at",
    ]  # fmt: skip
    table = lines[5 : 5 + len(result["records"])]
    assert [line.split()[:1] for line in table[:4]] == [["A"], ["Z"], ["the"], ["δ"]]
    assert not any(line.endswith("<") for line in table)
    assert "first deviation" not in text
    assert "to see it again:" in text


def test_a_case_that_deviates() -> None:
    text, result = described(TYPICAL, Off())
    first = result["first_deviation"]
    assert text.splitlines()[0] == f"{TYPICAL}   refbp: deviates"
    assert f"  {result['message']}" in text.splitlines()
    flagged = [line.split() for line in text.splitlines() if line.endswith(" <")]
    assert ["∂L/∂W", "1", "step"] in [line[:3] for line in flagged]
    assert "dW_1[0, 1], gate step" in text
    got, expected = (
        re.search(rf"^    {what} +(\S+)  \((\S+)\)$", text, re.MULTILINE)
        for what in ("got", "expected")
    )
    assert got is not None
    assert expected is not None
    assert float(got[1]) == float.fromhex(got[2]) == first["got"]
    assert float(expected[1]) == float.fromhex(expected[2]) == first["expected"]


def test_the_loss_has_no_index() -> None:
    text, _ = described(TYPICAL, Off("loss"))
    assert "loss, gate step" in text
    assert "loss[" not in text


def lines_of(text: str) -> str:
    after = text.split("to see it again:\n")[1]
    return "\n".join(line.removeprefix("    ") for line in after.splitlines())


@pytest.mark.parametrize("quantity", ["dW", "Z", "W_new", "loss"])
def test_the_lines_reproduce_it(quantity: str, plant: Callable[..., None]) -> None:
    """They run as they stand, and print the number that was wrong."""
    plant("planted", Off(quantity))
    text, result = described(TYPICAL, Off(quantity), "planted")
    assert result["verdict"] == "deviates"
    out = io.StringIO()
    with redirect_stdout(out):
        exec(lines_of(text), {})
    assert result["first_deviation"]["got_hex"] in out.getvalue()
    assert result["first_deviation"]["expected_hex"] in out.getvalue()


def test_the_lines_run_for_a_case_that_conforms() -> None:
    text, result = described(TYPICAL, implementation("refbp"))
    assert result["verdict"] == "conforms"
    out = io.StringIO()
    with redirect_stdout(out):
        exec(lines_of(text), {})
    assert out.getvalue().strip() not in ("", "None")


def test_a_wrong_row_alone_is_reproduced(plant: Callable[..., None]) -> None:
    class Alone(Off):
        def run(self, p: Problem) -> Trace:
            return super().run(p) if len(p.X) == 1 else implementation("refbp").run(p)

    plant("planted", Alone("A", 1 + 1e-9))
    text, result = described(TYPICAL, Alone("A", 1 + 1e-9), "planted")
    assert result["first_deviation"]["gate"] == "row"
    out = io.StringIO()
    with redirect_stdout(out):
        exec(lines_of(text), {})
    assert result["first_deviation"]["got_hex"] in out.getvalue()


def test_an_error_has_no_records() -> None:
    found = find(TYPICAL)
    text = describe(found, judge_exception(found, "refbp", "refbp raised ValueError: no (x.py:1)"))
    assert "  refbp raised ValueError: no (x.py:1)" in text.splitlines()
    assert "quantity" not in text
    assert "first deviation" not in text
    compile(lines_of(text), "lines", "exec")


def test_entries_near_a_kink_are_counted() -> None:
    W = {1: np.array([[1.0, -1.0]]), 2: np.array([[1.0], [1.0]])}
    case = Case("typical", "tanh", 2, 2, "float64", (1, 2, 1), "relu")
    of = Subject(case)
    of.__dict__["problem"] = Problem(
        W, np.array([[0.3], [0.7]]), np.array([[1.0], [-1.0]]), {1: "tanh", 2: "relu"},
        "mean_squared_error", False, 0.125,
    )  # fmt: skip
    result = judge(of, "refbp", implementation("refbp").run(of.problem))
    assert (
        "  2 entries lie so near a kink that end to end either one-sided derivative is accepted"
        in describe(case, result).splitlines()
    )


def test_the_same_input_twice_shows_the_first_number_that_differs() -> None:
    class Nervous(Off):
        runs = 0

        def run(self, p: Problem) -> Trace:
            self.runs += 1
            self.factor = 1 + 2.0**-52 * (self.runs % 2)
            return super().run(p)

    text, result = described(TYPICAL, Nervous())
    assert result["verdict"] == "deviates"
    assert " is not the same the second time: got " in text
    assert f"gate repeat, {float('inf')} of its tolerance" in text
    assert [line.split()[:2] for line in text.splitlines() if line.endswith(" <")] == [
        ["all", "repeat"]
    ]
    compile(lines_of(text), "lines", "exec")
