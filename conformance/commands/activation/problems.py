"""What kept an activation, or a part of it, from being judged, in words; and which of these problems are
findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conformance.commands.activation.facts import Facts
from conformance.commands.activation.findings import Finding, finding
from conformance.commands.activation.kinks import intervals
from conformance.commands.activation.messages import LOADING, NETWORKS, STARTING, Problem
from conformance.commands.activation.trial import FAR, Way

__all__ = ["left_out", "number_of_points", "unjudged"]


def unjudged(facts: Facts, findings: list[Finding], ways: Sequence[Way]) -> str:
    """Why there is no verdict, in a sentence; "" if there may be one.

    A problem that is a mistake of user code is added to `findings` instead.
    """
    reason = user_problems(facts, findings)
    if ("truth", "float64") not in facts.curves:
        reason = reason or _why_no_truth(facts, findings)
    return reason or _nothing_judged(facts, ways) or _unsearched(facts)


def left_out(facts: Facts) -> list[dict[str, str]]:
    """What was not run, and why, if the rest can be judged without it."""
    not_asked = [] if facts.spec.network else [{"way": "networks", "why": "not asked for."}]
    networks = [
        {"way": f"networks in {p.role}", "why": p.text}
        for p in facts.problems
        if _networks_alone(p)
    ]
    frameworks = [{"way": p.role, "why": p.text} for p in facts.problems if _dispensable(facts, p)]
    return facts.not_run + not_asked + networks + frameworks


def _dispensable(facts: Facts, p: Problem) -> bool:
    """Whether a framework could not run on σ itself: then that way is not run, and the rest is judged.

    False if the user gave a version of their own, which must run; if the framework is installed and does not
    start; and if time ran out, since on a faster machine it might have found a mistake.
    """
    other = p.role != "numpy" and p.event != "timeout"
    return other and p.role not in facts.spec.given and not _does_not_start(p)


def _does_not_start(p: Problem) -> bool:
    """Whether a framework that is installed, or was asked for, cannot even be imported."""
    early = p.stage in (STARTING, LOADING)
    return early and p.role != "numpy" and p.event in ("raised", "ended")


def _networks_alone(p: Problem) -> bool:
    """Whether everything except the networks was done, and an exception that is not the user's ended these:
    then they are not run, with the reason. False if time ran out: the verdict would depend on the machine."""
    return p.event == "raised" and not p.lines and p.stage == NETWORKS


def user_problems(facts: Facts, findings: list[Finding]) -> str:
    """In a sentence, the first problem that is neither dispensable nor a mistake of user code."""
    reason = ""
    for p in facts.problems:
        if _dispensable(facts, p) or _networks_alone(p):
            continue
        lines = "; ".join(p.lines)
        if mistake := _mistake(facts, p, lines):
            findings.append(mistake)
            continue
        worker = "the code under test" if p.role == "numpy" else f"the {p.role} version"
        who = "" if p.event in ("raised", "refused") else f"{worker} "
        if _does_not_start(p):
            who = f"{p.role} does not start: {'it ' * (p.event == 'ended')}"
        hint = f"; {OF_MATH}" if _of_math(p) else ""
        reason = reason or f"{who}{p.text}{f' [{lines}]' if lines else ''}{hint}"
    return reason


OF_MATH = "Python's numbers raise where NumPy's give ∞ or NaN: give a --domain without it, such as -700:700."


def _of_math(p: Problem) -> bool:
    """Whether a function of math, or a power of Python's, raised it far out, which is no mistake in σ."""
    return p.kind == "OverflowError" or "math domain error" in p.text


def _mistake(facts: Facts, p: Problem, lines: str) -> Finding | None:
    """The finding for an exception that the function raised while it was called, not while its file was
    loaded; else None."""
    called = p.event == "raised" and p.stage != LOADING
    if not called or p.kind in ("SystemExit", "MemoryError") or _of_math(p):
        return None
    function = p.function or p.role
    if p.kind == "ReturnedError":
        got = p.text.removeprefix(f"{p.kind}: ")
        return finding(facts.spec, "not-an-array", function, got=got, expected="an array like x")
    if not lines:
        return None
    return finding(facts.spec, "raises", function, got=p.text, expected="an array", where=lines)


def _why_no_truth(facts: Facts, findings: Sequence[Finding]) -> str:
    if any(f["severity"] == "error" for f in findings):
        return ""
    for function in ("truth", "sigma"):
        if function in facts.unsupported:
            return f"σ cannot be certified: {facts.unsupported[function]}"
    return "σ could not be certified: no value of it is known."


def _nothing_judged(facts: Facts, ways: Sequence[Way]) -> str:
    """Why nothing was judged, or not everywhere: no derivative was compared, nor a value with a given
    definition."""
    if reason := _no_value(facts):
        return reason
    compared = any(w["of"] == "derivative" and facts.spec.decides(w["dtype"]) for w in ways)
    if compared or {"truth", "sigma"} <= facts.spec.given.keys():
        return ""
    return (
        "there is no derivative to judge: give σ', a version of your own with --torch or --jax, or install "
        "torch or JAX for their autodiff of σ."
    )


def _no_value(facts: Facts) -> str:
    """Why σ is not certified at many points: its code has values there but its formula has none, as for
    np.nan_to_num of a root."""
    y, c = (facts.values.get(("sigma", facts.dtype)), facts.curves.get(("truth", facts.dtype)))
    if y is None or c is None:
        return ""
    x = facts.x[facts.dtype]
    no_value = np.isnan(c.value.hi) & np.isfinite(y) & (np.abs(x) <= FAR)
    no_value &= ~np.isin(x, [b.at for b in facts.branches.get("truth", [])])
    if no_value.sum() <= 2:  # 0/0 at a point is a finding
        return ""
    x = x[no_value]
    at = float(x[np.argmin(np.abs(x))])
    return (
        f"σ cannot be certified at {len(x)} of {len(y)} points, such as x = {at:.6g}: its formula has no "
        "value there, but its code has. Give a definition with --truth, or a --domain."
    )


def _unsearched(facts: Facts) -> str:
    """Why nothing is known between the points: a function has too many branch points to find all of them."""
    for function, where in facts.unsearched.items():
        return (
            f"{facts.named(function)} has more branch points than can be examined: right at "
            f"{number_of_points(facts):,} points, but not judged between them where {intervals(where)}. "
            "Give a --domain."
        )
    return ""


def number_of_points(facts: Facts) -> int:
    """The number of points of float64 and float32; those of bfloat16 say nothing about these."""
    return sum(len(x) for dtype, x in facts.x.items() if facts.spec.decides(dtype))
