"""What a wrong gradient looks like: the derivative with one mistake in it, found by making that mistake.

The reverse sweep is recorded again with one of its contributions left out, counted twice, with the other
sign, or with a factor forgotten; where that gives what the code gave, within the tolerance, in every
gradient,
the mistake has a name, and a line: the operation of the forward pass that it belongs to. What no such mistake
explains is described by its pattern (`judge/mistakes/pattern.py` does so for networks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from conformance.judge.functions.candidate import Ran, Request
from conformance.judge.functions.certificate import Certificate, Quantity
from conformance.judge.functions.inputs import FAMILIES, Asked, made
from conformance.judge.functions.judged import Judged, title
from conformance.judge.functions.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.truth.balls import Enclosure
from conformance.truth.readings import in_balls
from conformance.truth.rounding import ROUNDED, Reals
from conformance.truth.tape import Tape

__all__ = ["named"]

SMALL = 4  # sizes that a network is named at, where it can be: above, equal ones stay equal
MOST = 600  # mistakes that are tried

WORDS: Mapping[str | float, str] = {
    0.0: "the term through {op} is missing",
    2.0: "the term through {op} is counted twice",
    -1.0: "the term through {op} has the other sign",
    "unsummed": "a sum over an axis is left out behind {op}: each element for itself",
    "skipped": "the derivative of {op} is taken for 1",
}


class _Seen(NamedTuple):
    text: str
    advice: str


def named(subject: Subject, found: list[Judged]) -> tuple[str, str]:
    """(what it looks like, what to do about it); "" and "" where nothing is known."""
    bad = [j for j in found if j["verdict"] == "deviates" and j["worst"] is not None]
    if not bad:
        shapes = [j for j in found if j["verdict"] == "deviates"]
        return (
            (f"{shapes[0]['quantity']}: {shapes[0]['reason'].rstrip('.')}", "")
            if shapes
            else ("", "")
        )
    seen = _at_small_inputs(subject, bad) or _at(subject, bad[0])
    return (seen.text, seen.advice) if seen else ("", "")


def _at_small_inputs(subject: Subject, bad: list[Judged]) -> _Seen | None:
    """The mistake at the smallest inputs that show it."""
    if subject.given is not None:
        return None
    for most in (SMALL, 2 * SMALL):
        small = _shrunk(subject.asked, most)
        inputs = made(small, FAMILIES[0], subject.precision.storage)
        try:
            certificate, request = subject.certificate(inputs or {}, "random")
            ran = subject.candidate(request)
            wrong = _wrong(certificate, ran)
        except Exception:
            continue
        if wrong:
            return _explained(subject, certificate, request, ran, wrong)
    return None


def _at(subject: Subject, bad: Judged) -> _Seen | None:
    """The same at the data that showed it first."""
    family = next((f for f in FAMILIES if f.name == bad["family"]), None)
    inputs = (
        subject.given
        if subject.given is not None
        else family and made(subject.asked, family, subject.precision.storage)
    )
    if not inputs:
        return None
    try:
        certificate, request = subject.certificate(inputs, bad["cotangent"])
        ran = subject.candidate(request)
    except Exception:
        return None
    wrong = _wrong(certificate, ran)
    return _explained(subject, certificate, request, ran, wrong) if wrong else None


def _shrunk(asked: Mapping[str, Asked], most: int) -> dict[str, Asked]:
    """Every size at most that: different ones stay different, where there is room."""
    sizes = sorted({n for a in asked.values() for n in a.shape})
    taken: dict[int, int] = {}
    for n in sizes:
        free = [k for k in range(2, most + 1) if k not in taken.values()]
        taken[n] = n if n <= 1 else min(n, free[0] if free else most)
    return {name: a._replace(shape=tuple(taken[n] for n in a.shape)) for name, a in asked.items()}


def _wrong(certificate: Certificate, ran: Ran) -> list[Quantity]:
    """Gradients, else outputs, that are beyond their tolerance."""
    found = []
    for quantity, exact in certificate.truth.items():
        array = (ran.outputs if quantity[0] == "y" else ran.gradients).get(quantity[1])
        if array is not None and array.numbers.shape == exact.hi.shape:
            off = exact.distance(array.numbers) - exact.rad > LAMBDA * certificate.s[quantity]
            if off.any():
                found.append(quantity)
    gradients = [q for q in found if q[0] == "d"]
    return gradients or found


def _explained(
    subject: Subject, certificate: Certificate, request: Request, ran: Ran, wrong: list[Quantity]
) -> _Seen | None:
    simple = _simple(certificate, ran, wrong)
    if wrong[0][0] == "y":
        return simple
    if simple is not None and simple.text.endswith("everywhere"):
        return simple
    return (
        _planted(subject, certificate, request, ran)
        or simple
        or _pattern(certificate, ran, wrong[0])
    )


# --- a mistake in the sweep -----------------------------------------------------------------------


def _planted(
    subject: Subject, certificate: Certificate, request: Request, ran: Ran
) -> _Seen | None:
    """The first of the mistakes in the sweep that gives what the code gave."""
    tape = certificate.recording.tape
    for stopped in (*certificate.extremes, ""):
        for alter in _mistakes(tape):
            truth = _with(subject, request, alter, stopped)
            if truth is not None and _gives(truth, certificate, ran):
                (i, _), how = next(iter(alter.items()))
                return _Seen(WORDS[how].format(op=_operation(tape, i)), _line(tape, i))
    return None


def _with(
    subject: Subject, request: Request, alter: Mapping[tuple[int, int], str | float], stopped: str
) -> Mapping[Quantity, Enclosure] | None:
    """The gradients with a mistake in them; None for one that nobody's code makes."""
    recording = subject.record(request.inputs, request.dtype)
    tape = recording.tape
    tape.dtype = None
    seeds = [(y, tape.leaf(request.cotangents[n])) for n, y in recording.outputs.items()]
    wrt = [(recording.inputs[n], ("d", n)) for n in request.wrt]
    try:
        tape.gradients(seeds, wrt, alter, stopped)
        return in_balls(tape, enough=lambda reading: True).at
    except ValueError:  # shapes that do not fit
        return None


def _mistakes(tape: Tape) -> Iterator[dict[tuple[int, int], str | float]]:
    """Terms missing first, which is what people forget; then twice, the other sign, a factor forgotten."""
    among = list(tape.contributions)
    tried = 0
    for factor in (0.0, "unsummed", "skipped", 2.0, -1.0):
        for at in among:
            tried += 1
            if tried > MOST:
                return
            yield {at: factor}


def _gives(truth: Mapping[Quantity, Enclosure], certificate: Certificate, ran: Ran) -> bool:
    """Whether the code gave these gradients, all of them."""
    for name, array in ran.gradients.items():
        if array is None:
            continue
        exact = truth.get(("d", name))
        right = certificate.truth["d", name]
        expected = np.zeros(right.hi.shape) if exact is None else exact.hi
        if not array.numbers.shape == right.hi.shape == expected.shape:
            return False
        allowed = LAMBDA * certificate.s["d", name] + 8 * certificate.precision.u * np.abs(right.hi)
        off, from_right = np.abs(array.numbers - expected), np.abs(array.numbers - right.hi)
        if not bool((off <= np.maximum(allowed, 1e-6 * from_right)).all()):
            return False
    return True


PLAIN = {
    "multiply": "the product", "quotient": "the quotient", "add": "the sum", "subtract": "the difference",
    "matmul": "the matrix product", "sum": "the sum over an axis", "largest": "the maximum", "where": "where",
}  # fmt: skip


def _operation(tape: Tape, i: int) -> str:
    name = tape.nodes[i].rule.name
    return PLAIN.get(name, name)


def _line(tape: Tape, i: int) -> str:
    line = tape.nodes[i].line
    return f"Look at what {line} hands back." if line else ""


# --- a pattern ------------------------------------------------------------------------------------


def _simple(certificate: Certificate, ran: Ran, wrong: list[Quantity]) -> _Seen | None:
    """One factor, 0, the other sign, the transpose."""
    for quantity in wrong:
        got, right, allowed = _numbers(certificate, ran, quantity)
        if not np.isfinite(got).all():
            n = int((~np.isfinite(got)).sum())
            return _Seen(
                f"{title(quantity)} is NaN or infinite in {n} of {got.size} elements",
                "Look for 0/0, ∞ − ∞ or log 0.",
            )
        if not got.any() and right.any():
            return _Seen(
                f"{title(quantity)} is 0 everywhere", "It was never computed, or never stored."
            )
        at = np.unravel_index(int(np.abs(right).argmax()), right.shape)
        c = float(got[at] / right[at]) if right[at] else 0.0
        off = np.abs(got - c * right) <= 8 * allowed * max(1.0, abs(c))
        if c and bool(off.all()) and abs(c - 1) > 8 * certificate.precision.u:
            sign = abs(c + 1) < 1e-6
            text = (
                "has the other sign"
                if sign
                else f"is {_factor(c, certificate)} times what it should be"
            )
            return _Seen(
                f"{title(quantity)} {text} everywhere",
                "Look for a factor that is missing or counted twice.",
            )
        if (
            got.ndim > 1
            and got.shape[-1] == got.shape[-2]
            and bool(
                (
                    np.abs(np.swapaxes(got, -1, -2) - right)
                    <= 8 * np.swapaxes(allowed, -1, -2) + 8 * allowed
                ).all()
            )
        ):
            return _Seen(f"{title(quantity)} is transposed", "Look at the order of a product.")
    return None


def _factor(c: float, certificate: Certificate) -> str:
    sizes = {
        n: f"{n}, the size of an axis"
        for v in certificate.recording.inputs.values()
        for n in v.shape
        if n > 2
    }
    for n, words in sizes.items():
        for x, told in (
            (float(n), words),
            (1 / n, f"1/{words}"),
            (n**0.5, f"√{words}"),
            (n**-0.5, f"1/√{words}"),
        ):
            if abs(c - x) < 1e-5 * abs(x):
                return f"{c:.6g} (= {told})"
    return f"{c:.6g}" if abs(c - 1) > 1e-5 else f"1 {'+' if c > 1 else '−'} {abs(c - 1):.1e}"


def _numbers(certificate: Certificate, ran: Ran, quantity: Quantity) -> tuple[Reals, Reals, Reals]:
    array = (ran.outputs if quantity[0] == "y" else ran.gradients)[quantity[1]]
    assert array is not None
    return array.numbers, certificate.truth[quantity].hi, LAMBDA * certificate.s[quantity]


def _pattern(certificate: Certificate, ran: Ran, quantity: Quantity) -> _Seen | None:
    """Where it is wrong, and whether its numbers have fewer bits."""
    got, right, allowed = _numbers(certificate, ran, quantity)
    own = certificate.precision.storage
    for dtype in ("bfloat16", "float16", "float32"):
        narrower = dtype != own and own in ("float64", "float32")
        if (
            narrower
            and not (own == "float32" and dtype == "float32")
            and np.array_equal(ROUNDED[dtype](got), got)
        ):
            return _Seen(
                f"each number of {title(quantity)} is a {dtype}",
                "Look for a cast, or an array made without a dtype.",
            )
    wrong = np.abs(got - right) > allowed
    n = int(wrong.sum())
    size = f"{n} of {wrong.size} elements of {title(quantity)} are wrong"
    if wrong.ndim > 1:
        flat = wrong.reshape(-1, wrong.shape[-1])
        rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
        if len(rows) == 1 < len(flat):
            return _Seen(
                f"only row {rows[0]} of {title(quantity)} is wrong",
                "Look at the ends of a loop, and at a mask.",
            )
        if len(columns) == 1 < flat.shape[1]:
            return _Seen(
                f"only column {columns[0]} of {title(quantity)} is wrong",
                "Look at the ends of a loop, and at a mask.",
            )
    return _Seen(size, "")
