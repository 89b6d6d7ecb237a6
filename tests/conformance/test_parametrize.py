"""`conformance.parametrize_cases` and `parametrize_activations`: a pytest test a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import conformance
from conformance import NotRunError, Problem, Trace
from conformance.cases.profiles import cases, select
from conformance.implementations import implementation
from conformance.judge.start import RunError

TANH = "activation=tanh,family=typical"


class Scaled:
    """refbp's trace with Z_1 multiplied; it does no batches of 64."""

    name = "scaled"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def run(self, problem: Problem) -> Trace:
        if len(problem.X) == 64:
            raise NotRunError("batches of 64 are too many")
        trace = implementation("refbp").run(problem)
        return Trace(A=trace.A, Z={**trace.Z, 1: trace.Z[1] * problem.dtype.type(self.factor)})


def checks_of(mark: Any) -> dict[str, Callable[[], None]]:
    """What pytest would run, by id."""
    name, checks = mark.args
    assert name == "check"
    return dict(zip(mark.kwargs["ids"], checks, strict=True))


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except AssertionError as e:
        return f"failed: {e}"
    except pytest.skip.Exception as e:
        return f"skipped: {e}"
    return "passed"


def test_a_test_a_case_that_passes_is_skipped_or_fails_with_its_explanation() -> None:
    ids = [c.id for c in select(cases("quick"), TANH)]
    right, wrong = (
        checks_of(conformance.parametrize_cases(Scaled(f), select=TANH)) for f in (1.0, 1 + 1e-3)
    )
    assert list(right) == list(wrong) == ids
    for id_ in ids:
        told = outcome(wrong[id_])
        if "/n64/" in id_:
            assert outcome(right[id_]) == told == "skipped: not run: batches of 64 are too many"
        else:
            assert outcome(right[id_]) == "passed"
            assert told.startswith(f"failed: {id_}   scaled: deviates\n")
            assert "Z_1" in told.partition("to blame:")[2].splitlines()[0]
            assert "to see it again:" in told
    assert any("/n64/" in i for i in ids)
    assert any("/n64/" not in i for i in ids)


def test_a_name_does_too_and_one_that_is_none_is_refused() -> None:
    (check,) = checks_of(
        conformance.parametrize_cases(
            "refbp", select="id=square/tanh/L3/n7/float64/w4-4", profile="standard"
        )
    ).values()
    check()
    for bad in ("refpb", object()):
        with pytest.raises(RunError):
            conformance.parametrize_cases(bad, select=TANH)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown field"):
        conformance.parametrize_cases("refbp", select="activaton=tanh")


def test_digits_lost_fail_where_that_is_asked() -> None:
    class Lossy(Scaled):
        def run(self, problem: Problem) -> Trace:
            A = {1: problem.X @ problem.W[1]}
            e = np.exp(2 * A[1])
            return Trace(A=A, Z={1: (e - 1) / (e + 1)})  # tanh, with its digits lost near 0

    case = {"select": "id=typical/tanh/L1/n7/float64", "profile": "standard"}
    (mild,) = checks_of(conformance.parametrize_cases(Lossy(1.0), **case)).values()  # type: ignore[arg-type]
    (strict,) = checks_of(conformance.parametrize_cases(Lossy(1.0), strict=True, **case)).values()  # type: ignore[arg-type]
    assert outcome(mild) == "passed"
    assert outcome(strict).startswith("failed: ")


def test_a_test_an_activation() -> None:
    sech2 = lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2  # noqa: E731
    mark = conformance.parametrize_activations(
        {"right": (np.tanh, sech2), "wrong": (np.tanh, lambda x: 1.001 * sech2(x))}, network=False
    )
    right, wrong = checks_of(mark).values()
    assert list(checks_of(mark)) == ["right", "wrong"]
    assert outcome(right) == "passed"
    assert outcome(wrong).startswith("failed: wrong: σ'")
