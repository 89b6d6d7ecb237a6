"""What a wrong derivative looks like, in words: another known curve, a factor, a difference quotient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from conformance.commands.activation.bounds import Mask
from conformance.commands.activation.messages import Lookalikes
from conformance.truth.balls import scalar, working_precision
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.rounding import Reals

__all__ = ["looks_like"]

CLOSE = 1e-5


def _close(got: Reals, candidate: Reals) -> bool:
    """Whether two curves are the same, except for rounding, at nearly all points."""
    both = np.isfinite(got) & np.isfinite(candidate)
    if both.sum() < 8:
        return False
    size = float(np.abs(candidate[both]).max(initial=0.0))
    off = np.abs(got - candidate)[both] > CLOSE * (np.abs(candidate[both]) + 1e-3 * size)
    return bool(size > 0 and off.mean() <= 0.02)


@cache
def _derivative(name: str, x: tuple[float, ...]) -> Reals:
    """σ' of a known activation."""
    with working_precision(96):
        return np.array([float(ACTIVATIONS[name](scalar(v)).first) for v in x])


def _candidates(f: Lookalikes) -> Iterator[tuple[str, Reals]]:
    x, c = f.x, f.truth
    D, V, H = c.first.hi, c.value.hi, c.second
    with np.errstate(all="ignore"):
        yield "the derivative with its sign turned", -D
        yield "twice the derivative (a factor 2 too much)", 2 * D
        yield "half the derivative (a factor 2 missing)", D / 2
        yield "σ itself, not its derivative", V
        yield "σ'(σ(x)): the derivative taken at the output instead of at x", f.of_output
        yield "σ'(−x): the sign of x is turned", f.mirrored
        yield "−σ'(−x): the signs of x and of the result are turned", -f.mirrored
        yield "the derivative without the term σ(x)/x", D - V / x
        yield "σ(x)/x alone: the other term of the product rule is missing", V / x
        yield "the second derivative σ''", H
        yield "x σ'(x)", x * D
        yield "σ'(x)²", D * D
        yield "the reciprocal of the derivative", 1 / D
        yield "1 − σ(x)²: the derivative of tanh, of this σ's output", 1 - V * V
        yield "σ(x)(1 − σ(x)): the derivative of the sigmoid, of this σ's output", V * (1 - V)
        yield "1 − σ(x)", 1 - V
        yield "1 − σ'(x)", 1 - D
        yield "the derivative less 1", D - 1
        yield "the derivative and 1 more", D + 1
    for name in ACTIVATIONS:
        yield f"the derivative of {name}", _derivative(name, tuple(x.tolist()))


def looks_like(
    f: Lookalikes | None, low: Reals, high: Reals, got: Reals, x: Reals, wrong: Mask
) -> str:
    """What `got`, which should be in [low, high] at x, looks like; "" if it looks like nothing known.

    `wrong` marks where it is not in there. f is None if the worker could not prepare the curves.
    """
    body = (np.abs(x) < 8) & (np.abs(x) > 1e-3) & (low == high)
    share = float(wrong[body].mean()) if body.any() else 0.0
    halves = {"x < 0": x < -1e-3, "x > 0": x > 1e-3}
    sides = [side for side, half in halves.items() if wrong[half].any()]
    place = f" (only for {sides[0]})" if len(sides) == 1 else ""
    if f is None:
        return _factor(got, low, wrong & body, place)
    at = np.isin(x, f.x)
    ours = got[at] if at.sum() == len(f.x) else f.given
    nearly = _close(ours, f.truth.first.hi)
    of_output = share > 0.3 and _close(f.given_of_output, f.truth.first.hi)
    if not nearly and of_output and np.array_equal(ours, f.given):
        return "σ' written in terms of the output: σ'(z) with z = σ(x), called with x"
    parts = [(np.ones(len(f.x), bool), "")]
    if place:
        parts.append((f.x < 0 if sides == ["x < 0"] else f.x > 0, place))
    for part, where in parts if share > 0.05 and not nearly else []:
        for what, candidate in _candidates(f):
            if _close(ours[part], candidate[part]):
                return what + where
    if step := _difference_quotient(f, ours):
        return step
    return _factor(got, low, wrong & body if (wrong & body).any() else wrong, place)


def _difference_quotient(f: Lookalikes, ours: Reals) -> str:
    """In words, that it is a finite difference, whose error is h σ''/2 with one step h; "" if it is not."""
    with np.errstate(all="ignore"):
        h = 2 * (ours - f.truth.first.hi) / f.truth.second
    h = h[np.isfinite(h) & (np.abs(f.truth.second) > 1e-2)]
    if len(h) < 8:
        return ""
    step = float(np.median(h))
    if 1e-9 < abs(step) < 0.2 and float(np.median(np.abs(h - step))) < 0.3 * abs(step):
        return f"a difference quotient with a step of about {step:.0e}"
    return ""


def _factor(got: Reals, truth: Reals, at: Mask, place: str) -> str:
    """In words, the one factor, or the one added constant, that explains `got` wherever it is wrong; "" if
    there is none."""
    with np.errstate(all="ignore"):
        ratio = got[at] / truth[at]
        less = got[at] - truth[at]
    if not at.any():
        return ""
    if np.isfinite(ratio).mean() < 0.9:
        ratio = ratio[:0]  # the truth is 0, and `got` is no multiple of it
    ratio, less = ratio[np.isfinite(ratio)], less[np.isfinite(less)]
    if at.mean() < 0.02:
        return "right elsewhere: wrong at a few points alone"
    if at.sum() >= 4 and (got[at] == 0).all():
        return f"zero{place}"
    if len(ratio) >= 4:
        middle = float(np.median(ratio))
        spread = float(np.percentile(np.abs(ratio - middle), 90))
        if middle != 0 and spread < max(1e-13, 0.02 * abs(middle - 1)) * max(1.0, abs(middle)):
            off = abs(middle - 1)
            near = f"1 {'+' if middle > 1 else '−'} {off:.1e}" if off < 1e-3 else f"{middle:.6g}"
            return f"the derivative times {near}{place}"
    if len(less) >= 4:
        middle = float(np.median(less))
        if middle != 0 and float(np.percentile(np.abs(less - middle), 90)) < 0.02 * abs(middle):
            return f"the derivative plus {middle:.3g}{place}"
    if at.mean() < 0.25 and place:
        return f"right elsewhere: wrong{place.replace(' (', ' ').replace(')', '')} at these points alone"
    return ""
