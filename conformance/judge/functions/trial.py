"""A function under test on every family of data: recorded, certified, run, judged, and its mistake named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.allclose import Audited, audited
from conformance.judge.functions.candidate import Candidate, Ran, Request
from conformance.judge.functions.certificate import Certificate
from conformance.judge.functions.inputs import COTANGENTS, text_of
from conformance.judge.functions.judged import (
    ZEROS_PASS,
    Judged,
    judged,
    sees,
    title,
    usual_size,
    worst_verdict,
)
from conformance.judge.functions.naming import named
from conformance.judge.functions.planted import mistakes
from conformance.judge.functions.recording import Table, is_float
from conformance.judge.functions.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.results import Number, Verdict, number
from conformance.tools.load import user_lines
from conformance.tools.trouble import RefusedError
from conformance.truth.rounding import ROUNDED, Arithmetic, Reals

__all__ = [
    "FamilyRow",
    "Finding",
    "FunctionResults",
    "Unseen",
    "exit_code_of",
    "judge_function",
    "refused",
    "said",
    "seen_elsewhere",
    "with_losses",
]

FORMAT = 1
TWIN = {"float64": "float32", "float32": "float64", "float16": "float32", "bfloat16": "float32"}
MOST = 8  # quantities that a sentence names
FEW = 64.0
"""Units of roundoff beside the largest number of a row: what a formula may lose whose intermediates are that
large. A mistake that small in two dtypes is none that anybody could tell from it."""


NEARLY = 4.0
"""How many times the error of one dtype that of another may be, in units of roundoff, where both round."""


class FamilyRow(TypedDict):
    """A family of data, and what became of it."""

    name: str
    why: str
    status: str  # "judged", "not there": no such shapes, or "error"
    reason: str


class Finding(TypedDict):
    """What else was seen, besides wrong numbers: that an input is written to, that it is not the same
    twice."""

    kind: str
    text: str


class Unseen(TypedDict):
    """A planted mistake that the tolerance at this precision cannot see, in one quantity."""

    quantity: str
    mistakes: list[str]


class FunctionResults(TypedDict):
    """What `conformance function --json` writes."""

    format: int
    function: str
    reference: str
    dtype: str
    precision: dict[str, str]
    inputs: dict[str, str]
    wrt: list[str]
    families: list[FamilyRow]
    judged: list[Judged]
    findings: list[Finding]
    unseen: list[Unseen]
    sees: dict[str, Number]  # the smallest relative error that is found in all of a quantity
    straddling: int  # comparisons that rounding may decide: either side is accepted
    mistake: str  # what the deviation looks like; "" where it is none, or not known
    advice: str
    verdict: Verdict
    exit_code: int
    message: str
    allclose: str  # "rtol=0.01, atol=0.001" of somebody's own test; "" where none was given
    audit: list[Audited]  # what that test makes of each gradient
    command: str  # that asks the same again; "" where functions were given as objects


def judge_function(
    subject: Subject,
    progress: Callable[[str], None] = lambda name: None,
    explained: bool = True,
    elsewhere: tuple[str, ...] = (ZEROS_PASS,),
) -> FunctionResults:
    """Judge on every family; what deviates is `explained`, which takes longer. What is undecided for one of
    the reasons `elsewhere` is so only where it is on all data.

    Raises RefusedError where the reference cannot be recorded at ordinary inputs.
    """
    with np.errstate(all="ignore"):  # what is infinite or no number is looked for, not warned of
        return _judged(subject, progress, explained, elsewhere)


def refused(subject: Subject, reason: str) -> FunctionResults:
    """The results of what could not be judged at all."""
    found = _told(subject, [], [], [], [], {}, [], 0, False)
    return {**found, "verdict": "error", "exit_code": 2, "message": reason}


def _judged(
    subject: Subject,
    progress: Callable[[str], None],
    explained: bool,
    elsewhere: tuple[str, ...],
) -> FunctionResults:
    rows: list[FamilyRow] = []
    found: list[Judged] = []
    findings: list[Finding] = []
    unseen: list[Unseen] = []
    smallest: dict[str, Number] = {}
    audit: list[Audited] = []
    usual: dict[str, float] = {}
    straddling = 0
    for family, inputs in subject.families_of():
        progress(family.name)
        row = FamilyRow(name=family.name, why=family.why, status="judged", reason="")
        rows.append(row)
        if inputs is None:
            row["status"], row["reason"] = "not there", "these inputs have no such shapes"
            continue
        first = len(rows) == 1
        last: tuple[Certificate, Request] | None = None
        for kind in COTANGENTS if first else ("random",):
            try:
                last = certificate, request = _certified(subject, inputs, kind, last)
            except Exception as e:  # what a function raises at shapes that it does not take
                if first:
                    raise _not_recorded(e) from e
                row["status"] = "not there"
                row["reason"] = f"the reference does not take them: {said(e)}"
                break
            straddling += certificate.straddling
            try:
                ran = subject.candidate(request)
            except Exception as e:
                row["status"], row["reason"] = "error", said(e)
                break
            if missing := _not_of(ran, certificate):
                row["status"], row["reason"] = "error", missing
                break
            if first and kind == "random":
                usual = {title(q): usual_size(exact) for q, exact in certificate.truth.items()}
            of = judged(certificate, ran, family.name, kind)
            found += with_losses(subject, of, inputs, kind, usual) if explained else of
            _note(findings, ran.notes)
            if first and kind == "random":
                findings += _gates(subject, request, ran, certificate)
                unseen = _unseen(certificate)
                smallest = {title(q): number(x) for q, x in sees(certificate).items()}
                if subject.allclose is not None:
                    audit = audited(certificate, subject.allclose)
    return _told(
        subject,
        rows,
        seen_elsewhere(found, reasons=elsewhere),
        findings,
        unseen,
        smallest,
        audit,
        straddling,
        explained,
    )


def _certified(
    subject: Subject, inputs: Table, kind: str, last: tuple[Certificate, Request] | None
) -> tuple[Certificate, Request]:
    """The truth at a cotangent; of zeros by what is known at another one."""
    if kind == "zero" and last is not None:
        certificate = last[0].at_zero()
        return certificate, replace(last[1], cotangents=certificate.cotangents)
    certificate, request = subject.certificate(inputs, kind)
    _ = certificate.s
    return certificate, request


def seen_elsewhere(
    found: list[Judged], cotangent: str = "random", reasons: tuple[str, ...] = (ZEROS_PASS,)
) -> list[Judged]:
    """Where zeros would pass nothing is judged; that leaves a quantity undecided only where it is so on all
    data, since the tails of a function underflow in any low precision."""
    open_ = ("undecided", "not-run")
    known = {
        j["quantity"] for j in found if j["cotangent"] == cotangent and j["verdict"] not in open_
    }
    return [
        {**j, "verdict": "not-run"}
        if j["reason"].endswith(reasons) and j["quantity"] in known
        else j
        for j in found
    ]


def _not_recorded(e: Exception) -> RefusedError:
    return (
        e
        if isinstance(e, RefusedError)
        else RefusedError(f"the reference cannot be recorded: {said(e)}")
    )


def said(e: BaseException) -> str:
    """What was raised, with the last of the user's lines."""
    lines = user_lines(e)
    return f"{type(e).__name__}: {e}"[:500] + (f" ({lines[-1]})" if lines else "")


def _note(findings: list[Finding], notes: Sequence[str]) -> None:
    for text in notes:
        if all(f["text"] != text for f in findings):
            findings.append(Finding(kind="note", text=text))


def _not_of(ran: Ran, certificate: Certificate) -> str:
    """Outputs that the reference does not have, or no gradient at all."""
    known = set(certificate.recording.outputs)
    if ran.gradients and all(g is None for g in ran.gradients.values()):
        return f"it returned no gradient; expected that of {', '.join(ran.gradients)}."
    strange = [n for n in ran.outputs if n not in known]
    if strange:
        of = ", ".join(ran.outputs)
        return f"it returned {of}; expected what the reference returns: {', '.join(known)}."
    return ""


# --- losing digits --------------------------------------------------------------------------------


def with_losses(
    subject: Subject, of: list[Judged], inputs: Table, kind: str, usual: Mapping[str, float]
) -> list[Judged]:
    """What deviates by losing digits is `inaccurate`: beside the largest number of its row it is off by a few
    roundings, or by as many as in another dtype at the same inputs. A mistake does not shrink with u.

    In a tail of a function a row may be tiny: what is off by a few roundings of what is `usual` on the first
    data counts beside that. y(1 − y) of a sigmoid is 0 there.
    """
    bad = {j["quantity"] for j in of if j["verdict"] == "deviates" and j["worst"] is not None}
    if not bad:
        return of
    own = subject.precision.storage
    other = TWIN[own]
    low = own if Arithmetic.named(own).u > Arithmetic.named(other).u else other
    numbers = {n: ROUNDED[low](M) if is_float(M) else M for n, M in inputs.items()}
    try:
        here = _losses(subject, inputs, kind, own, usual)
        there = _losses(subject, numbers, kind, other, usual)
        near = here if low == own else _losses(subject, numbers, kind, own, usual)
    except Exception:  # it does not run there: nothing can be told
        return of
    changed = []
    for j in of:
        name = j["quantity"]
        if name in bad and all(name in lost for lost in (here, near, there)):
            rows = [lost[name] for lost in (here, near, there)]
            if _shrink_with_u(*rows):
                here_, near_, there_ = (lost.worst for lost in rows)
                where = (
                    f"{max(here_, near_):.3g} units of roundoff of the largest number of its row"
                )
                j = {
                    **j,
                    "verdict": "inaccurate",
                    "reason": f"it loses digits: it is off by {where} in {own}, and by "
                    f"{there_:.3g} in {other}; a mistake would be as far off in both.",
                }
        changed.append(j)
    return changed


class _Rows(NamedTuple):
    """Of each row: its largest error, in u of the largest number in it; whether one is beyond its tolerance;
    whether none of its numbers is larger than its tolerance, so that nothing is seen there."""

    units: Reals
    beyond: NDArray[np.bool_]
    blind: NDArray[np.bool_]

    @property
    def worst(self) -> float:
        return float(self.units.max(initial=0.0, where=self.beyond))


def _shrink_with_u(here: _Rows, near: _Rows, there: _Rows) -> bool:
    """Whether it is off by a few units in both dtypes, or by as many: a mistake is more units the smaller u
    is. By as many counts where the other dtype shows a loss, or can show none, its tolerance being larger
    than the numbers: a factor 1 + 1e-13 is hundreds of units of float64, and float32 may round by a dozen. So
    do errors that differ by no more than the factor NEARLY, though the other dtype allows them: a dozen, four
    times, is fewer than FEW."""
    same = float(there.units.max(initial=0.0))
    if 0 < max(here.worst, same) <= NEARLY * min(here.worst, same) < np.inf:
        return True
    lost = float(there.units.max(initial=0.0, where=there.beyond | there.blind))
    both, most = min(here.worst, lost), max(here.worst, lost)
    alike = both > 0 and most <= FEW * both and bool(np.isfinite(most))
    return alike or max(here.worst, near.worst, there.worst) <= FEW


def _losses(
    subject: Subject, inputs: Table, kind: str, dtype: str, usual: Mapping[str, float]
) -> dict[str, _Rows]:
    """What each quantity is off by where the code runs in a dtype."""
    certificate, request = subject.certificate(inputs, kind, dtype)
    ran = subject.candidate(request)
    u = Arithmetic.named(dtype).u
    found = {}
    for quantity, exact in certificate.truth.items():
        array = (ran.outputs if quantity[0] == "y" else ran.gradients).get(quantity[1])
        if array is not None and array.numbers.shape == exact.hi.shape and exact.hi.size:
            off = np.where(np.isnan(exact.hi), 0.0, exact.distance(array.numbers))
            error = np.atleast_1d(off)
            allowed = np.atleast_1d(LAMBDA * certificate.s[quantity])
            size = np.nan_to_num(np.abs(np.atleast_1d(exact.hi)))
            largest = size.max(axis=-1)
            largest = np.where(
                largest > 0, largest, size.max()
            )  # a row of zeros, beside the others
            worst = error.max(axis=-1)
            plain = usual.get(title(quantity), 0.0)
            largest = np.where(worst <= FEW * u * plain, np.maximum(largest, plain), largest)
            with np.errstate(all="ignore"):
                units = worst / (u * largest)
            units = np.where(worst == 0, 0.0, np.where(np.isnan(units), np.inf, units))
            beyond, blind = (error > allowed).any(axis=-1), (size <= allowed).all(axis=-1)
            found[title(quantity)] = _Rows(units, np.asarray(beyond), np.asarray(blind))
    return found


# --- gates ----------------------------------------------------------------------------------------


def _gates(subject: Subject, request: Request, ran: Ran, certificate: Certificate) -> list[Finding]:
    """The same bits twice, with other inputs in between; views with gaps; the dtype of what comes."""
    found = []
    other = {n: M[::-1].copy() if is_float(M) and M.ndim else M for n, M in request.inputs.items()}
    with suppress(Exception):
        subject.candidate(replace(request, inputs=other))
    try:
        again = subject.candidate(request)
    except Exception as e:
        return [Finding(kind="not-repeatable", text=f"called a second time, it raises {said(e)}")]
    for what, a, b in (("y", ran.outputs, again.outputs), ("d", ran.gradients, again.gradients)):
        for name, x in a.items():
            y = b.get(name)
            if x is not None and (
                y is None or not np.array_equal(x.numbers, y.numbers, equal_nan=True)
            ):
                text = f"{title((what, name))} is not the same bits at the second call: it is stochastic, or "
                text += "keeps something from one call to the next."
                found.append(Finding(kind="not-repeatable", text=text))
    right = {j["quantity"] for j in judged(certificate, ran, "", "") if j["verdict"] != "deviates"}
    for name, variant in getattr(subject.candidate, "variants", dict)().items():
        found += _variant(name, variant, request, certificate, right)
    for name, g in ran.gradients.items():
        if g is not None and g.dtype != request.dtype:
            text = f"∂{name} is {g.dtype}, and its input {request.dtype}: "
            text += "a framework would refuse it, or cast."
            found.append(Finding(kind="dtype", text=text))
    return found


def _variant(
    name: str, variant: Candidate, request: Request, certificate: Certificate, right: set[str]
) -> list[Finding]:
    """What deviates so, and is right otherwise."""
    try:
        ran = variant(request)
    except Exception as e:
        return [Finding(kind="raises", text=f"with {name} it raises {said(e)}")]
    wrong = [
        j["quantity"]
        for j in judged(certificate, ran, name, "random")
        if j["verdict"] == "deviates" and j["quantity"] in right
    ]
    if not wrong:
        return []
    return [Finding(kind="variant", text=f"with {name}, {', '.join(wrong)} deviates.")]


def _unseen(certificate: Certificate) -> list[Unseen]:
    """Planted mistakes within the tolerance everywhere."""
    found = []
    for quantity, exact in certificate.truth.items():
        if quantity[0] != "d" or not exact.hi.size:
            continue
        allowed = LAMBDA * certificate.s[quantity]
        through = [
            name
            for name, M in mistakes(exact.hi, certificate.precision.storage).items()
            if bool((exact.distance(M) - exact.rad <= allowed).all())
        ]
        if through:
            found.append(Unseen(quantity=title(quantity), mistakes=through))
    return found


# --- one answer -----------------------------------------------------------------------------------


def _told(
    subject: Subject,
    rows: list[FamilyRow],
    found: list[Judged],
    findings: list[Finding],
    unseen: list[Unseen],
    smallest: dict[str, Number],
    audit: list[Audited],
    straddling: int,
    explained: bool,
) -> FunctionResults:
    errors = [r for r in rows if r["status"] == "error"]
    verdicts: list[Verdict] = [
        j["verdict"]
        for j in found
        if j["verdict"] != "not-run" and (j["verdict"], j["cotangent"]) != ("conforms", "zero")
    ]
    serious = [f for f in findings if f["kind"] in ("not-repeatable", "variant")]
    if serious:
        verdicts.append("deviates")
    refused = [f for f in findings if f["kind"] == "raises"]
    if errors or refused:
        verdicts.append("error")
    # what is wrong on some data is wrong, whatever happens on other
    verdict = "deviates" if "deviates" in verdicts else worst_verdict(verdicts)
    mistake, advice = named(subject, found) if explained and verdict == "deviates" else ("", "")
    code = exit_code_of(verdict, subject.strict)
    p = subject.precision
    return FunctionResults(
        format=FORMAT,
        function=subject.name,
        reference=subject.reference,
        dtype=p.storage,
        precision={k: v for k, v in vars(p).items() if v is not None},
        inputs=_shapes(subject),
        wrt=list(subject.wrt),
        families=rows,
        judged=found,
        findings=findings,
        unseen=unseen,
        sees=smallest,
        straddling=straddling,
        mistake=mistake,
        advice=advice,
        verdict=verdict,
        exit_code=code,
        message=_message(verdict, found, errors, serious or refused, mistake),
        allclose=str(subject.allclose or ""),
        audit=audit,
        command="",
    )


def _shapes(subject: Subject) -> dict[str, str]:
    if subject.given is not None:
        return {n: "x".join(map(str, M.shape)) or "scalar" for n, M in subject.given.items()}
    return {n: text_of(a) for n, a in subject.asked.items()}


def exit_code_of(verdict: Verdict, strict: bool) -> int:
    if verdict == "deviates" or (verdict == "inaccurate" and strict):
        return 1
    return 0 if verdict in ("conforms", "inaccurate", "known-difference") else 2


def _message(
    verdict: Verdict,
    found: list[Judged],
    errors: list[FamilyRow],
    serious: list[Finding],
    mistake: str,
) -> str:
    """The answer in a sentence."""
    places = {(j["family"], j["cotangent"]) for j in found}
    if verdict == "conforms":
        n = len({j["quantity"] for j in found if j["verdict"] == "conforms"})
        return f"{n} quantities conform, on {len(places)} sets of data."
    if errors and verdict == "error":
        return f"it could not be judged on {errors[0]['name']} data: {errors[0]['reason']}"
    bad = [j for j in found if j["verdict"] == verdict]
    if serious and not bad:
        return serious[0]["text"]
    if not bad or verdict == "not-run":
        why = next((j["reason"] for j in found if j["reason"]), "")
        return f"nothing could be judged: {why}" if why else "nothing could be judged."
    names = list(dict.fromkeys(j["quantity"] for j in bad))
    names = [*names[:MOST], f"{len(names) - MOST} more"] if len(names) > MOST + 1 else names
    where = len({(j["family"], j["cotangent"]) for j in bad})
    one, several = {
        "deviates": ("is wrong", "are wrong"),
        "inaccurate": ("loses digits", "lose digits"),
        "undecided": ("is undecided", "are undecided"),
    }[verdict]
    *first, last = names
    subject = f"{', '.join(first)} and {last} {several}" if first else f"{last} {one}"
    text = f"{subject} on {where} of {len(places)} sets of data"
    return f"{text}: {mistake}." if mistake else f"{text}."
