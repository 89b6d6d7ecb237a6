"""From a file and a rubric to a grade: points, and the first mistake.

So as not to give the solution away, no message about a mistake has an expected number or a formula.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TypedDict

from conformance.cases.catalogue import Case
from conformance.commands.grading.asking import Asking
from conformance.commands.grading.rubric import Rubric, Test
from conformance.commands.grading.steps import Judged, Wrong, judged, looks_like
from conformance.commands.grading.submission import File, Submission
from conformance.model.results import SYMBOLS
from conformance.tools.plain import without_sequences
from conformance.tools.trouble import RefusedError, to_install

__all__ = ["SCHEMA_VERSION", "Grade", "Mistake", "TestGrade", "grade", "nothing"]

SCHEMA_VERSION = 1
RETURNED_BY = {"A": "forward_pass", "Z": "forward_pass", "W_new": "update"}


class Mistake(TypedDict):
    """The first mistake in some quantities: where it is, never what would be right."""

    case: str
    quantity: str
    layer: int  # 0: all of it is missing
    gate: str  # how it was judged: step, end-to-end; "" where there was nothing to judge
    network: str
    text: str
    looks_like: list[str]  # with the hints `what` alone


class TestGrade(TypedDict):
    """A row of the grade."""

    name: str
    quantities: list[str]
    score: float
    max_score: float
    passed: bool
    visibility: str
    gate: str
    all_or_nothing: bool
    networks: int
    right: dict[str, int]  # of each quantity: in how many of the networks
    mistake: Mistake | None


class Network(TypedDict):
    """One network of the grade."""

    case: str
    network: str
    right: dict[str, bool]  # of each quantity that is asked for
    troubles: list[str]


class Grade(TypedDict):
    """The grade of one submission."""

    schema_version: int
    title: str
    file: str
    score: float
    max_score: float
    hints: str
    isolation: str
    seconds: float
    notes: list[str]  # shown to the student with any hints, `none` too
    inaccurate: list[
        str
    ]  # steps that lose digits, which count as right, and a formula that loses none
    printed: (
        str  # the end of what the file printed for the first network for which it printed anything
    )
    first_mistake: Mistake | None  # of the visible tests
    tests: list[TestGrade]
    networks: list[Network]


def grade(file: File, rubric: Rubric, hints: str = "") -> Grade:
    """The grade of a file, whatever it does. Raises RefusedError for what this machine lacks."""
    for name in rubric.allow:
        if find_spec(name) is None:
            raise RefusedError(
                f"the rubric allows {name}, which is not installed here: {to_install(name)}."
            )
    begun = time.monotonic()
    wanted = {case: None for t in _visible_first(rubric) for case in t.cases}
    update = any("W_new" in t.quantities for t in rubric.tests)
    with Submission.of(file, rubric) as submission:
        asking = Asking(submission, rubric.seconds, rubric.total_seconds, update)
        answers = asking.all(wanted)
        isolation = submission.isolation
    judged_cases = {case: judged(case, answer) for case, answer in answers.items()}
    made = _graded(rubric, hints or rubric.hints, judged_cases)
    notes = [_in_words(asking.dead)] if asking.dead else []
    made["isolation"], made["seconds"] = isolation, round(time.monotonic() - begun, 2)
    made["file"] = without_sequences(file.name, 100)
    made["notes"] = [without_sequences(n, 600) for n in notes]
    return _closed(made)


def nothing(rubric: Rubric, reason: str, hints: str = "") -> Grade:
    """The grade, 0, where there is nothing to grade."""
    made = _graded(rubric, hints or rubric.hints, {})
    return _closed({**made, "notes": [without_sequences(reason, 600)]})


def _visible_first(rubric: Rubric) -> list[Test]:
    return sorted(rubric.tests, key=lambda t: t.visibility != "visible")


def _graded(rubric: Rubric, hints: str, judged_cases: Mapping[Case, Judged]) -> Grade:
    rows = [
        _test(t, [judged_cases[c] for c in t.cases if c in judged_cases], hints)
        for t in rubric.tests
    ]
    seen = {c for t in rubric.tests if t.visibility == "visible" for c in t.cases}
    return Grade(
        schema_version=SCHEMA_VERSION,
        title=rubric.title,
        file=rubric.file,
        score=round(math.fsum(r["score"] for r in rows), 2),
        max_score=round(rubric.points, 2),
        hints=hints,
        isolation="",
        seconds=0.0,
        notes=[],
        inaccurate=list(
            dict.fromkeys(text for c, j in judged_cases.items() if c in seen for text in j.lost)
        ),
        printed=next((j.printed for c, j in judged_cases.items() if c in seen and j.printed), ""),
        first_mistake=_first(rubric, judged_cases, rows),
        tests=rows,
        networks=[_network(rubric, j) for j in judged_cases.values()],
    )


def _closed(made: Grade) -> Grade:
    """The grade without what the hints `none` keep back."""
    if made["hints"] != "none":
        return made
    networks = [Network({**n, "troubles": []}) for n in made["networks"]]
    return {**made, "inaccurate": [], "printed": "", "networks": networks}


def _test(t: Test, on: Sequence[Judged], hints: str) -> TestGrade:
    """A test's row. Its points are shared over its quantities and networks, those that are right counted."""
    right = {q: sum(j.wrong[t.gate, q] is None for j in on) for q in t.quantities}
    passed = all(n == len(t.cases) for n in right.values())
    share = sum(right.values()) / (len(right) * len(t.cases))
    score = t.points * share if passed or not t.all_or_nothing else 0.0
    return TestGrade(
        name=without_sequences(t.name, 200),
        quantities=list(t.quantities),
        score=round(score, 2),
        max_score=t.points,
        passed=passed,
        visibility=t.visibility,
        gate=t.gate,
        all_or_nothing=t.all_or_nothing,
        networks=len(t.cases),
        right=right,
        mistake=None if passed or hints == "none" else _mistake(t, on, hints),
    )


def _mistake(t: Test, on: Sequence[Judged], hints: str) -> Mistake | None:
    """The test's first mistake, in the first network that has one: the networks are in order of size."""
    for j in on:
        if w := j.first(t.quantities, t.gate):
            alike = [(k, v) for k in on if (v := k.wrong[t.gate, w.quantity]) and v.layer]
            resembles = looks_like(alike) if hints == "what" and w.layer else []
            return Mistake(
                case=j.case.id,
                quantity=w.quantity,
                layer=w.layer,
                gate=w.gate,
                network=_described(j.case),
                text=_text(j, w),
                looks_like=list(dict.fromkeys(without_sequences(text, 400) for text in resembles)),
            )
    return None


def _first(
    rubric: Rubric, judged_cases: Mapping[Case, Judged], rows: Sequence[TestGrade]
) -> Mistake | None:
    """The first mistake of the visible tests: in the smallest network, and there the first step."""
    turns = {}
    for t, row in zip(rubric.tests, rows, strict=True):
        if t.visibility == "visible" and (m := row["mistake"]):
            j = next(j for j in judged_cases.values() if j.case.id == m["case"])
            turn = j.turn(Wrong(m["quantity"], m["layer"]))
            turns[j.case.depth, j.case.batch, sum(j.case.widths), j.case.id, turn] = m
    return turns[min(turns)] if turns else None


# --- in words -------------------------------------------------------------------------------------


def _described(case: Case) -> str:
    """A network in words."""
    sigma = list(case.sigma().values())
    layers = "1 layer" if case.depth == 1 else f"{case.depth} layers"
    batch = "one example" if case.batch == 1 else f"a batch of {case.batch}"
    same = (
        f"σ is {sigma[0]}"
        if len(set(sigma)) == 1
        else f"σ_1 … σ_{case.depth} are {', '.join(sigma)}"
    )
    bias = ", with biases absorbed into W" if case.bias else ""
    widths = "-".join(map(str, case.widths))
    return f"{layers} of widths {widths}, {same}, {case.loss}, {batch}{bias}"


def _text(j: Judged, w: Wrong) -> str:
    """One mistake, in one or two sentences."""
    on = f"in the network of {_described(j.case)}"
    symbol = SYMBOLS[w.quantity]
    if not w.layer:
        return f"{symbol} is missing {on}: {_missing(j, w.quantity)}."
    how = {
        "step": "It was judged on your own values of what it is computed from: this step is wrong.",
        "end-to-end": "It was judged from the inputs on: this step is wrong, or one before it.",
    }[w.gate]
    holds = "" if w.finite else " It holds NaN or infinity."
    name = f"{symbol}_{w.layer}"
    return f"{name} is wrong {on}.{holds} {how}"


def _missing(j: Judged, q: str) -> str:
    """Why a quantity was not returned: the trouble of its function, or else the first one."""
    function = RETURNED_BY.get(q, "backward_prop")
    own = [t for t in j.troubles if t["function"] == function]
    if own or j.troubles:
        return _in_words((own or j.troubles)[0]).rstrip(".")
    if q == "W_new":
        return "the file does not define update(W, dW, alpha)"
    return f"{function} did not return it"


def _in_words(trouble: Mapping[str, str]) -> str:
    return f"{trouble['function']} {trouble['text']}".strip()


def _network(rubric: Rubric, j: Judged) -> Network:
    right: dict[str, bool] = {}
    for t in rubric.tests:
        if j.case in t.cases:
            right |= {q: j.wrong[t.gate, q] is None for q in t.quantities}
    troubles = [*(_in_words(t) for t in j.troubles), *j.lost]
    return Network(case=j.case.id, network=_described(j.case), right=right, troubles=troubles)
