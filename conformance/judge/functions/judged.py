"""Compares a function under test with its certificate: each output and each gradient, and one verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

import numpy as np

from conformance.judge.functions.candidate import Array, Ran
from conformance.judge.functions.certificate import Precision, Quantity, Sums
from conformance.judge.tolerance import LAMBDA
from conformance.model.results import VERDICTS, Number, Verdict, number
from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Arithmetic, Reals

__all__ = [
    "UNKNOWN",
    "ZEROS_PASS",
    "Element",
    "Held",
    "Judged",
    "compared",
    "judged",
    "title",
    "usual_size",
    "worst_verdict",
]

ZEROS_PASS = "zeros would pass."
UNKNOWN = "a comparison in it is undecided."


class Known(Protocol):
    """What results are compared with: a `Certificate`, or the sum of several."""

    @property
    def truth(self) -> Mapping[Quantity, Enclosure]: ...
    @property
    def s(self) -> Mapping[Quantity, Reals]: ...
    @property
    def sums(self) -> Sequence[Sums]: ...
    @property
    def choices(self) -> Mapping[Quantity, Reals]: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def coherent(self) -> bool: ...


@dataclass(frozen=True)
class Held:
    """Such values by themselves, without a certificate."""

    truth: Mapping[Quantity, Enclosure]
    s: Mapping[Quantity, Reals]
    precision: Precision
    sums: Sequence[Sums] = ()
    choices: Mapping[Quantity, Reals] = field(default_factory=dict)
    coherent: bool = False


def _wider(of: Known) -> Held:
    """The same with wider tolerances: for the sides of kinks, and for how equal numbers share a gradient."""
    s = {q: s + of.choices.get(q, 0.0) / LAMBDA for q, s in of.s.items()}
    return Held(of.truth, s, of.precision)


class Element(TypedDict):
    """One number beside its truth: that with the largest error over tolerance."""

    index: list[int]
    got: Number
    got_hex: str
    expected: Number
    expected_hex: str
    error: Number
    tolerance: Number
    ratio: Number
    ulps: Number  # in ulps of the dtype at the expected number


class Judged(TypedDict):
    """One output, or the gradient of one input, at one family of data and one cotangent."""

    quantity: str  # "y", "∂x"
    kind: str  # "output" or "gradient"
    family: str
    cotangent: str
    shape: list[int]
    dtype: str  # as it was returned
    verdict: Verdict
    reason: str  # in a sentence; "" if there is no reason to give
    wrong: int  # wrong elements
    blind: int  # elements smaller than their tolerance, or not a number: anything passes there
    worst: Element | None


def title(quantity: Quantity) -> str:
    """The quantity as a reader sees it."""
    return quantity[1] if quantity[0] == "y" else f"∂{quantity[1]}"


def worst_verdict(of: Iterable[Verdict]) -> Verdict:
    """The worst of some verdicts."""
    found = set(of)
    return next((v for v in VERDICTS if v in found), "not-run")


def judged(certificate: Known, ran: Ran, family: str, cotangent: str) -> list[Judged]:
    """A row for every quantity, returned or not."""
    given: dict[Quantity, Array | None] = {("y", n): a for n, a in ran.outputs.items()}
    given |= {("d", n): a for n, a in ran.gradients.items()}
    found = []
    for quantity, exact in certificate.truth.items():
        if quantity in given:
            found.append(_one(quantity, given[quantity], exact, certificate, family, cotangent))
    wide = {j["quantity"] for j in found if j["verdict"] == "deviates" and j["worst"]}
    if wide and certificate.choices:
        wider = _wider(certificate)
        found = [
            _one(q, given[q], exact, wider, family, cotangent)
            for q, exact in certificate.truth.items()
            if q in given
        ]
    numbers = {
        q[1]: a.numbers
        for q, a in given.items()
        if q[0] == "d"
        and a is not None
        and a.numbers.shape == certificate.truth[q].hi.shape
        # what several kinks, one after another, may do to a sum is not known
        and not (certificate.coherent and title(q) in wide)
    }
    rows = {j["quantity"].removeprefix("∂"): j for j in found if j["kind"] == "gradient"}
    for sums in certificate.sums if numbers else ():
        _judge_sums(rows, numbers, sums)
    return found


def usual_size(exact: Enclosure) -> float:
    """The median over the rows of the largest number in a row."""
    size = np.nan_to_num(np.abs(np.atleast_1d(exact.hi)))
    return float(np.median(size.max(axis=-1, initial=0.0))) if exact.hi.size else 0.0


def compared(got: Reals, exact: Enclosure, allowed: Reals) -> tuple[Reals, Reals]:
    """Error over tolerance: an upper bound, and a lower bound, which is certain. Where the tolerance is
    infinite (an intermediate leaves the range of the dtype), or the function is not a number, every value is
    accepted."""
    error = np.where(np.isnan(exact.hi), 0.0, exact.distance(got))
    with np.errstate(all="ignore"):
        ratio = _over(error + exact.rad, allowed, error)
        surely = _over(np.maximum(error - exact.rad, 0.0), allowed, error)
    open_ = (error > 0) & ~np.isfinite(exact.rad)
    return np.where(open_, np.inf, ratio), np.where(open_, 0.0, surely)


def _over(error: Reals, allowed: Reals, plain: Reals) -> Reals:
    """error/allowed; 0 where there is no error, whatever is allowed."""
    r = error / allowed
    return np.where(plain == 0, 0.0, np.where(np.isnan(r), np.inf, r))


def _one(
    quantity: Quantity,
    array: Array | None,
    exact: Enclosure,
    certificate: Known,
    family: str,
    cotangent: str,
) -> Judged:
    found = Judged(
        quantity=title(quantity),
        kind="output" if quantity[0] == "y" else "gradient",
        family=family,
        cotangent=cotangent,
        shape=list(exact.hi.shape),
        dtype="" if array is None else array.dtype,
        verdict="conforms",
        reason="",
        wrong=0,
        blind=0,
        worst=None,
    )
    if array is None:
        return {
            **found,
            "verdict": "not-run",
            "reason": "it was not returned, so it is not judged.",
        }
    if array.numbers.shape != exact.hi.shape:
        return {
            **found,
            "verdict": "deviates",
            "wrong": exact.hi.size,
            "reason": _misshapen(array, exact, certificate, quantity),
        }
    if not exact.hi.size:
        return found
    if not _defined(exact):
        return {
            **found,
            "verdict": "not-run",
            "reason": "the function is not finite at these inputs, so it is not judged.",
        }
    allowed = LAMBDA * certificate.s[quantity]
    ratio, surely = compared(array.numbers, exact, allowed)
    size = np.abs(exact.hi)
    found["wrong"] = int((surely > 1).sum())
    found["blind"] = int((((size > exact.rad) & (size <= allowed)) | np.isnan(exact.hi)).sum())
    verdict: Verdict = "conforms"
    at = ratio
    if found["wrong"]:
        verdict, at = "deviates", surely
    elif bool((ratio > 1).any()):
        verdict = "undecided"
        found["reason"] = f"the truth is not known to less than the tolerance: {UNKNOWN}"
    elif _zeros_would_pass(exact, allowed):
        verdict = "undecided"
        found["reason"] = (
            f"the tolerance exceeds the values themselves in {certificate.precision.storage}: {ZEROS_PASS}"
        )
    found["verdict"] = verdict
    found["worst"] = _element(array, exact, allowed, at, certificate.precision.storage)
    return found


def _judge_sums(rows: Mapping[str, Judged], got: Mapping[str, Reals], of: Sums) -> None:
    """Judge the sum of gradients that equal numbers share: each part may be anything, the sum may not."""
    if any(n not in got or rows[n]["verdict"] == "deviates" for n in of.names):
        return
    axes = tuple(range(-of.axes, 0))
    total = np.atleast_1d(sum(got[n].sum(axes) for n in of.names))
    wanted, allowed = np.atleast_1d(of.truth), np.atleast_1d(of.allowed)
    error = np.abs(total - wanted)
    ratio = _over(error, allowed, error)
    if not (ratio > 1).any():
        return
    first = rows[of.names[0]]
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    what = " + ".join(f"∂{n}" for n in of.names)
    if of.axes:
        k, whole = of.axes, len(first["shape"])
        over = {whole: "all elements", 1: "the last axis"}.get(k, f"the last {k} axes")
        what = f"{what} summed over {over}"
    where = f"[{', '.join(map(str, at))}] of " if of.axes < len(first["shape"]) else ""
    first["verdict"], first["worst"] = "deviates", None
    first["wrong"] = int((ratio > 1).sum())
    first["reason"] = (
        "of equal numbers at a maximum each may get any part of the gradient, but together they get it once: "
        f"{where}{what} is {total[at]:.6g}; expected {wanted[at]:.6g}."
    )


def _defined(exact: Enclosure) -> bool:
    return bool((np.isfinite(exact.hi) & np.isfinite(exact.rad)).any())


def _zeros_would_pass(exact: Enclosure, allowed: Reals) -> bool:
    """Whether zeros would pass as this quantity, although it is not 0."""
    size = np.abs(exact.hi)
    there = size > exact.rad
    return bool(there.any()) and bool((size[there] <= allowed[there]).all())


def _element(array: Array, exact: Enclosure, allowed: Reals, ratio: Reals, dtype: str) -> Element:
    flat = int(np.argmax(ratio))
    at = np.unravel_index(flat, ratio.shape)
    got, expected, error = (
        float(array.numbers[at]),
        float(exact.hi[at]),
        float(exact.distance(array.numbers)[at]),
    )
    if abs(expected) <= exact.rad[at]:  # it cannot be distinguished from 0
        expected = 0.0
    unit = 2 * Arithmetic.named(dtype).u
    return Element(
        index=[int(i) for i in at],
        got=number(got, 17),
        got_hex=got.hex(),
        expected=number(expected, 17),
        expected_hex=expected.hex(),
        error=number(error),
        tolerance=number(float(allowed[at])),
        ratio=number(float(ratio[at])),
        ulps=number(error / (unit * abs(expected)) if expected else np.inf if error else 0.0),
    )


def _misshapen(array: Array, exact: Enclosure, certificate: Known, quantity: Quantity) -> str:
    """What is wrong with a shape, and the simple change, if any, that makes it right."""
    has, wanted = array.numbers.shape, exact.hi.shape
    told = f"it has shape {has}; expected {wanted}"
    if has == wanted[::-1] and _fits(array.numbers.T, exact, certificate, quantity):
        return f"{told}: it is the transpose."
    for axes in _axes_to_sum(has, wanted):
        summed = array.numbers.sum(axis=axes)
        if summed.size == exact.hi.size and _fits(
            summed.reshape(wanted), exact, certificate, quantity
        ):
            axis = ", ".join(map(str, axes))
            return (
                f"{told}: it is not summed over axis {axis}, along which the input was broadcast."
            )
    return f"{told}."


def _fits(M: Reals, exact: Enclosure, certificate: Known, quantity: Quantity) -> bool:
    if M.shape != exact.hi.shape:
        return False
    size = 8 * LAMBDA * certificate.s[quantity]
    return bool((exact.distance(M) <= size).all())


def _axes_to_sum(has: tuple[int, ...], wanted: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    n = len(has) - len(wanted)
    if n > 0:
        yield tuple(range(n))
        yield tuple(range(len(has) - n, len(has)))
    if len(has) == len(wanted):
        yield tuple(i for i, (a, b) in enumerate(zip(has, wanted, strict=True)) if a != b)


def sees(certificate: Known) -> Mapping[Quantity, float]:
    """For each quantity, the smallest relative error, common to all its elements, that is detected: a factor
    1 + ε is, if ε|truth| exceeds the tolerance of some element."""
    found = {}
    for quantity, exact in certificate.truth.items():
        size, allowed = np.abs(exact.hi), LAMBDA * certificate.s[quantity]
        with np.errstate(all="ignore"):
            r = np.where(size > exact.rad, allowed / size, np.inf)
        found[quantity] = float(r.min(initial=np.inf))
    return found
