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
MOST = 8  # quantities that a sentence names at most
FEW = 64.0
"""In units of roundoff of the largest number of a row: what a formula with intermediates of that size may
lose. A mistake as small as that in two dtypes cannot be distinguished from such a loss."""


NEARLY = 4.0
"""If both dtypes round, the error in one may be at most so many times that in the other, in units of
roundoff."""


class FamilyRow(TypedDict):
    """A family of data, and how judging on it ended."""

    name: str
    why: str
    status: str  # "judged", "not there" (no such shapes), or "error"
    reason: str


class Finding(TypedDict):
    """What was seen besides wrong numbers: code that writes to an input, or returns other bits the second
    time."""

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
    # the smallest relative error, common to all elements of a quantity, that is detected
    sees: dict[str, Number]
    straddling: int  # comparisons that rounding may decide: either side is accepted
    mistake: str  # what the deviation looks like; "" if there is none, or it is not known
    advice: str
    verdict: Verdict
    exit_code: int
    message: str
    allclose: str  # "rtol=0.01, atol=0.001", a user's own test; "" if none was given
    audit: list[Audited]  # how that test judges each gradient
    command: str  # runs the same again; "" where functions were given as objects


def judge_function(
    subject: Subject,
    progress: Callable[[str], None] = lambda name: None,
    explained: bool = True,
    elsewhere: tuple[str, ...] = (ZEROS_PASS,),
) -> FunctionResults:
    """Judge on every family. `explained`: the mistake behind a deviation is looked for, which takes longer. A
    quantity that is undecided for one of the reasons `elsewhere` counts as undecided only if it is so on all
    data.

    Raises RefusedError if the reference cannot be recorded at ordinary inputs.
    """
    # infinities and NaN are looked for, so NumPy need not warn of them
    with np.errstate(all="ignore"):
        return _judged(subject, progress, explained, elsewhere)


def refused(subject: Subject, reason: str) -> FunctionResults:
    """The results for a function that could not be judged at all."""
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
            except Exception as e:  # raised by a function at shapes that it does not accept
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
    """The truth at a cotangent; at a cotangent of zeros it follows from that at another one."""
    if kind == "zero" and last is not None:
        certificate = last[0].at_zero()
        return certificate, replace(last[1], cotangents=certificate.cotangents)
    certificate, request = subject.certificate(inputs, kind)
    _ = certificate.s
    return certificate, request


def seen_elsewhere(
    found: list[Judged], cotangent: str = "random", reasons: tuple[str, ...] = (ZEROS_PASS,)
) -> list[Judged]:
    """Rows that zeros would pass are not judged. Such a quantity stays undecided only if that is so on all
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
    """An exception in words, with the last of the user's lines."""
    lines = user_lines(e)
    return f"{type(e).__name__}: {e}"[:500] + (f" ({lines[-1]})" if lines else "")


def _note(findings: list[Finding], notes: Sequence[str]) -> None:
    for text in notes:
        if all(f["text"] != text for f in findings):
            findings.append(Finding(kind="note", text=text))


def _not_of(ran: Ran, certificate: Certificate) -> str:
    """What is wrong with the set of results: outputs that the reference does not have, or no gradient at
    all."""
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
    """Rows that deviate by losing digits become `inaccurate`: compared with the largest number of its row,
    the error is a few roundings, or as many as in another dtype at the same inputs. A mistake does not shrink
    with u.

    In a tail of a function a row may be tiny, such as y(1 − y) of a sigmoid, which is 0 there. An error of a
    few roundings of the `usual` size, that on the first data, is compared with that size.
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
    except Exception:  # it does not run there, which shows nothing
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
    """For each row: its largest error, in u of the largest number in it; whether an error is beyond its
    tolerance; whether all numbers are smaller than their tolerance, so that nothing is seen there."""

    units: Reals
    beyond: NDArray[np.bool_]
    blind: NDArray[np.bool_]

    @property
    def worst(self) -> float:
        return float(self.units.max(initial=0.0, where=self.beyond))


def _shrink_with_u(here: _Rows, near: _Rows, there: _Rows) -> bool:
    """Whether the error is a few units in both dtypes, or as many: a mistake is more units the smaller u is.
    As many counts if the other dtype shows a loss, or can show none because its tolerance is larger than the
    numbers: a factor 1 + 1e-13 is hundreds of units of float64, and float32 may round by a dozen. Errors that
    differ by at most the factor NEARLY also count, even if the other dtype allows them: a dozen, four times,
    is fewer than FEW."""
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
    """The errors of each quantity when the code runs in a dtype."""
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
            )  # a row of zeros is compared with the others
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
    """Checks that the bits are the same twice, with other inputs in between; that views with gaps change
    nothing; and the dtype of the gradients."""
    found = []
    other = {n: M[::-1].copy() if is_float(M) and M.ndim else M for n, M in request.inputs.items()}
    with suppress(Exception):  # only whether this call changes the next one matters
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
    """What deviates when the code is called in this way, and is right otherwise."""
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
    """Planted mistakes that are within the tolerance everywhere."""
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


# --- one verdict ----------------------------------------------------------------------------------


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
    # what is wrong on some data is wrong, whatever happens on other data
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
    """The summary in a sentence."""
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
