"""From a file and a rubric to a grade: points, and the first mistake in each quantity.

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
from conformance.commands.grading.steps import (
    RETURNED_BY,
    Judged,
    Wrong,
    judged,
    looks_like,
    twin_of,
)
from conformance.commands.grading.submission import File, Submission
from conformance.commands.grading.suspicions import suspicions
from conformance.model.results import SYMBOLS
from conformance.tools.plain import without_sequences
from conformance.tools.trouble import RefusedError, to_install

__all__ = ["SCHEMA_VERSION", "Grade", "Mistake", "TestGrade", "grade", "nothing", "shown"]

SCHEMA_VERSION = 2


class Mistake(TypedDict):
    """The first mistake in a quantity: where it is, never what would be right."""

    case: str
    quantity: str
    layer: int  # 0: all of it is missing, or its form is another
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
    right: dict[str, list[float]]  # of each quantity: how many layers of all networks, of how many
    mistakes: list[Mistake]  # the first in each quantity, in the order of the algorithm


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
    flags: list[str]  # for the grader alone: what in the file is not needed to do the work
    notes: list[str]  # shown to the student with any hints, `none` too
    remarks: list[str]  # what counts as right: steps that lose digits, inputs that are written to
    printed: str  # the end of what it printed for the first network for which it printed anything
    mistakes: list[Mistake]  # of the visible tests, in the order of the algorithm
    tests: list[TestGrade]
    networks: list[Network]


def grade(file: File, rubric: Rubric, hints: str = "", isolation: str = "auto") -> Grade:
    """The grade of a file, whatever it does. Raises RefusedError for what this machine lacks.

    `isolation`: "auto", or "none" where the file may run as root.
    """
    for name in rubric.allow:
        if find_spec(name) is None:
            raise RefusedError(
                f"the rubric allows {name}, which is not installed here: {to_install(name)}."
            )
    begun = time.monotonic()
    wanted = {case: None for t in _visible_first(rubric) for case in t.cases}
    update = any("W_new" in t.quantities for t in rubric.tests)
    with Submission.of(file, rubric, isolation) as submission:
        asking = Asking(submission, rubric.seconds, rubric.total_seconds, update)
        answers = asking.all(wanted)
        stuck = {c: twin_of(c) for c, a in answers.items() if a.stuck}
        twins = asking.all(dict.fromkeys(stuck.values()))
        apart = submission.isolation
    judged_twins = {case: judged(case, answer) for case, answer in twins.items()}
    judged_cases = {
        case: judged(case, answer, judged_twins[stuck[case]] if case in stuck else None)
        for case, answer in answers.items()
    }
    made = _graded(rubric, hints or rubric.hints, judged_cases)
    notes = [_in_words(asking.dead)] if asking.dead else []
    made["isolation"], made["seconds"] = apart, round(time.monotonic() - begun, 2)
    made["flags"] = suspicions(file.data, rubric.allow)
    made["file"] = without_sequences(file.name, 100)
    made["notes"] = [without_sequences(n, 600) for n in notes]
    return shown(made, made["hints"])


def nothing(rubric: Rubric, reason: str, hints: str = "") -> Grade:
    """The grade, 0, where there is nothing to grade."""
    made = _graded(rubric, hints or rubric.hints, {})
    return shown({**made, "notes": [without_sequences(reason, 600)]}, made["hints"])


def _visible_first(rubric: Rubric) -> list[Test]:
    return sorted(rubric.tests, key=lambda t: t.visibility != "visible")


def _graded(rubric: Rubric, hints: str, judged_cases: Mapping[Case, Judged]) -> Grade:
    rows: list[TestGrade] = []
    visible: dict[Turn, Mistake] = {}
    for t in rubric.tests:
        on = [judged_cases[c] for c in t.cases if c in judged_cases]
        found = {} if hints == "none" else _mistakes(t, on, hints)
        rows.append(_test(t, on, found))
        visible |= found if t.visibility == "visible" else {}
    seen = [
        j
        for c, j in judged_cases.items()
        if any(t.visibility == "visible" and c in t.cases for t in rubric.tests)
    ]
    return Grade(
        schema_version=SCHEMA_VERSION,
        title=rubric.title,
        file=rubric.file,
        score=round(math.fsum(r["score"] for r in rows), 2),
        max_score=round(rubric.points, 2),
        hints=hints,
        isolation="",
        seconds=0.0,
        flags=[],
        notes=[],
        remarks=list(dict.fromkeys(text for j in seen for text in _remarks(j))),
        printed=next((j.printed for j in seen if j.printed), ""),
        mistakes=[visible[turn] for turn in sorted(visible)],
        tests=rows,
        networks=[_network(rubric, j) for j in judged_cases.values()],
    )


def _remarks(j: Judged) -> list[str]:
    """What is to be told and costs nothing; an input that is written to, whichever it is, once a function."""
    notes = {t["function"]: _in_words(t) for t in j.troubles if t["kind"] == "note"}
    given = [t for t in j.troubles if t["kind"] == "given"]
    again = [f"On your own A and Z {_in_words(t)} It was given the right ones." for t in given]
    return [*(f"{text} It costs no points." for text in notes.values()), *again[:1], *j.lost]


def shown(made: Grade, hints: str) -> Grade:
    """The grade with what these hints tell, made with as many or more."""
    if hints == "what":
        return made
    tests = [TestGrade({**t, "mistakes": _told(t["mistakes"], hints)}) for t in made["tests"]]
    made = {**made, "hints": hints, "tests": tests, "mistakes": _told(made["mistakes"], hints)}
    if hints == "where":
        return made
    networks = [Network({**n, "troubles": []}) for n in made["networks"]]
    return {**made, "remarks": [], "printed": "", "networks": networks}


def _told(mistakes: Sequence[Mistake], hints: str) -> list[Mistake]:
    return [] if hints == "none" else [Mistake({**m, "looks_like": []}) for m in mistakes]


def _test(t: Test, on: Sequence[Judged], mistakes: Mapping[Turn, Mistake]) -> TestGrade:
    """A test's row. Its points are shared over its quantities, and of each over all networks' layers."""
    right = {q: [0.0, float(sum(c.depth for c in t.cases))] for q in t.quantities}
    if on:
        shares = {q: [j.share(t.gate, q) for j in on] for q in t.quantities}
        right = {q: [sum(s.right for s in ss), sum(s.of for s in ss)] for q, ss in shares.items()}
    passed = all(n == of for n, of in right.values())
    share = math.fsum(n / of for n, of in right.values()) / len(right)
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
        mistakes=[mistakes[turn] for turn in sorted(mistakes)],
    )


Turn = tuple[object, ...]
"""A key to sort by: the smallest network first, and in it the first step."""


def _mistakes(t: Test, on: Sequence[Judged], hints: str) -> dict[Turn, Mistake]:
    """The first mistake in each quantity: in the first network that has one, the smallest."""
    found: dict[Turn, Mistake] = {}
    for q in t.quantities:
        wrong = [(j, w) for j in on if (w := j.share(t.gate, q).wrong)]
        if not wrong:
            continue
        j, w = wrong[0]
        alike = {(at := k.seen(q)).case: at for k, w in wrong if w.layer}
        resembles = looks_like(q, list(alike.values())) if hints == "what" else []
        c = j.case
        found[c.depth, c.batch, sum(c.widths), c.id, j.turn(w)] = Mistake(
            case=j.on(q).case.id,
            quantity=q,
            layer=w.layer,
            gate=w.gate,
            network=_described(j.on(q).case),
            text=without_sequences(_text(j, w), 1000),
            looks_like=[without_sequences(text, 400) for text in resembles],
        )
    return found


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
    q, at = w.quantity, j.on(w.quantity)
    if at is not j and w.layer:  # it was not returned, but by the twin it was
        return f"{_text(at, w)} With other widths {_trouble(j, q)}."
    on, symbol = f"in the network of {_described(j.case)}", SYMBOLS[q]
    form = next((_in_words(t) for t in j.troubles if (t["kind"], t["quantity"]) == ("form", q)), "")
    if not w.layer and form and q in j.returned:
        return f"{symbol} is not in the form that was asked for {on}: {form}"
    if not w.layer:
        same = " Where all widths are equal, what it returns is right." * (at is not j)
        return f"{symbol} is missing {on}: {_trouble(j, q)}.{same}"
    name = f"{symbol}_{w.layer}"
    if w.layer in j.missing(q):
        return f"{name} is missing, or of another shape, {on}: {_trouble(j, q)}."
    how = {
        "step": "It was judged on your own values of what it is computed from: this step is wrong.",
        "end-to-end": "It was judged from the inputs on: this step is wrong, or one before it.",
    }[w.gate]
    holds = "" if w.finite else " It holds NaN or infinity."
    return f"{name} is wrong {on}.{holds} {how}"


def _trouble(j: Judged, q: str) -> str:
    """Why a quantity, or a part of it, was not returned."""
    function = RETURNED_BY[q]
    told = [t for t in j.troubles if t["kind"] not in ("form", "note", "given")]
    for of in ({"quantity": q}, {"function": function, "quantity": ""}, {"quantity": ""}):
        for t in told:
            if of.items() <= t.items():
                return _in_words(t).rstrip(".")
    if q == "W_new":
        return "the file does not define update(W, dW, alpha)"
    return f"{function} did not return it"


def _in_words(trouble: Mapping[str, str]) -> str:
    return f"{trouble['function']} {trouble['text']}".strip()


def _network(rubric: Rubric, j: Judged) -> Network:
    right: dict[str, bool] = {}
    for t in rubric.tests:
        if j.case in t.cases:
            right |= {q: j.share(t.gate, q).wrong is None for q in t.quantities}
    troubles = [*(_in_words(t) for t in j.troubles), *j.lost]
    return Network(case=j.case.id, network=_described(j.case), right=right, troubles=troubles)
