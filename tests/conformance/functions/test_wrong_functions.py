"""Every planted mistake is found, and nearly every one is told so that a person can act on it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from right_functions import RIGHT
from wrong_functions import WRONG, Wrong, planted

from conformance import check_function
from conformance.commands.function.check import specification
from conformance.commands.function.specified import subject_of
from conformance.judge.functions import trial
from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.certificate import Precision
from conformance.truth.rounding import ROUNDED


def each(n: int) -> list[Any]:
    """Every mistake, and every nth of them outside the zoo."""
    return [
        pytest.param(
            row,
            id=f"{row.function}: {row.instead[:40]}",
            marks=() if i % n == 0 else pytest.mark.zoo,
        )
        for i, row in enumerate(WRONG)
    ]


def told(row: Wrong, dtype: str) -> tuple[int, str, str]:
    """(the exit code, what the mistake is called, everything else that was found)."""
    f = RIGHT[row.function]
    found = check_function(
        f.forward,
        vjp=planted(row),
        inputs=f.inputs,
        families=("ordinary",),
        dtype=dtype,
        **f.options,
    )
    return found["exit_code"], found["mistake"], " | ".join(x["text"] for x in found["findings"])


def test_there_are_many() -> None:
    assert len(WRONG) >= 120
    assert len({row.function for row in WRONG}) >= 25
    assert sum(not row.like for row in WRONG) <= len(WRONG) / 10


@pytest.mark.parametrize("row", each(4))
def test_it_is_found_and_named(row: Wrong) -> None:
    code, mistake, others = told(row, "float64")
    assert code == 1
    if row.like:
        assert re.search(row.like, f"{mistake} | {others}"), (mistake, others)
        assert not re.match(r"\d+ of \d+ elements", mistake), mistake


@pytest.mark.parametrize("row", each(12))
def test_it_is_found_in_float32(row: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "named", lambda subject, found: ("", ""))
    code, _, _ = told(row, "float32")
    assert (code == 1) is (row not in MISSED_IN_FLOAT32), code


MISSED_IN_FLOAT32 = [
    row
    for row in WRONG
    if row.instead.count("np.float32")  # it is the dtype itself
]


def stored(candidate: Candidate) -> Candidate:
    """It computes in float64 and stores in bfloat16, which NumPy has not: no error but the last rounding's
    hides a mistake, and the tolerance is that of an implementation which rounds everything."""

    def rounded(a: Array | None) -> Array | None:
        return a and Array(ROUNDED["bfloat16"](a.numbers), "bfloat16")

    def ask(request: Request) -> Ran:
        ran = candidate(replace(request, dtype="float64"))
        return replace(
            ran,
            outputs={n: rounded(a) for n, a in ran.outputs.items()},
            gradients={n: rounded(a) for n, a in ran.gradients.items()},
        )

    return ask


@pytest.mark.parametrize("row", each(11))
def test_it_is_found_in_bfloat16(row: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """On ordinary data, or else on some other."""
    monkeypatch.setattr(trial, "named", lambda subject, found: ("", ""))
    f = RIGHT[row.function]
    spec = specification(
        framework="numpy", function=row.function, vjp="", reference="", inputs=f.inputs,
        families=["ordinary"], dtype="float64", accumulate="", compute="", tf32=False, strict=False,
        allclose="", **({"params": {}, "wrt": [], "takes": "inputs"} | f.options),
    )  # fmt: skip
    subject = subject_of(spec, {"function": f.forward, "vjp": planted(row)})
    low = Precision("bfloat16")
    subject = replace(subject, precision=low, candidate=stored(subject.candidate))
    code = trial.judge_function(subject)["exit_code"]
    if code != 1:
        code = trial.judge_function(replace(subject, families=()))["exit_code"]
    # to compute in float32 is no mistake there
    assert (code == 1) is (row not in MISSED_IN_FLOAT32), code
