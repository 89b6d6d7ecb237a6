"""Compares a trace with the truth at every gate: records, and one verdict.

`step`  every equation alone, on the operands the implementation itself returned: names the wrong step
  and does not blame the steps after it.
`end-to-end`  every quantity against the exact one: how far the whole is from the truth.
`exact`  where every sum fits the significand: no error at all.
`row`  one example alone, end to end: a batch is its rows.
`repeat`  the same input twice, another batch in between: the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from conformance.cases.catalogue import Case
from conformance.implementations import IMPLEMENTATIONS
from conformance.judge.comparison import Comparison, Judged, Key, judge_all
from conformance.judge.form import malformed
from conformance.judge.known_differences import Amended, Difference, known_differences
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.problem import QUANTITIES, Trace
from conformance.model.results import SYMBOLS, Record, Result, Verdict, size
from conformance.tools.plain import plain
from conformance.truth.balls import Enclosure
from conformance.truth.network import Spread, Truth

__all__ = [
    "compared",
    "judge",
    "judge_exception",
    "judge_malformed",
    "right_as_a_whole",
    "rounds_every_value",
    "steps_of",
    "whole_of",
]


def rounds_every_value(name: str) -> bool:
    """Whether `name` is one of our implementations that computes on with the numbers that it returns. Others
    may keep more digits of them, or round a product and a sum once (as XLA's fused kernels do)."""
    return name in IMPLEMENTATIONS and not IMPLEMENTATIONS[name].jitted


# --- the gates ------------------------------------------------------------------------------------


def _in_order(comparisons: Iterable[Comparison], L: int) -> list[Comparison]:
    """Comparisons, in the order in which the algorithm computes their quantities."""
    layers, comparisons = range(1, L + 1), list(comparisons)
    alone = not {c.quantity for c in comparisons} & {"delta", "dW"}
    keys: list[Key] = [(q, l) for l in layers for q in ("A", "Z")]
    keys.append(("loss", L))
    keys += [(q, l) for l in reversed(layers) for q in ("delta", "dW")]
    # if only new weights were returned, a mistake in δ_L shows first in the last layer's
    keys += [("W_new", l) for l in (reversed(layers) if alone else layers)]
    rank = {key: i for i, key in enumerate(keys)}
    return sorted(comparisons, key=lambda c: rank[c.quantity, c.layer])


def _step(
    subject: Subject, t: Trace, name: str, amended: Amended, rounded: bool
) -> list[Comparison]:
    """Each equation on the implementation's own operands, for the quantities that it returned."""
    steps = subject.network(amended).steps(
        t, subject.arithmetic(amended), partial(subject.accuracy, name), not rounded
    )
    values = {(q, l): M for q in QUANTITIES for l, M in t.layers(q).items()}
    if t.loss is not None:
        values["loss", subject.problem.depth] = t.loss
    comparisons = (
        Comparison(q, l, "step", values[q, l], exact, bound)
        for (q, l), (exact, bound) in steps.items()
    )
    return _in_order(comparisons, subject.problem.depth)


def _against_truth(gate: str, t: Trace, truth: Truth, spread: Spread | None) -> list[Comparison]:
    """Every quantity compared with the exact one. If `spread` is None, no error at all is allowed."""
    L, comparisons = max(truth.A), []
    for q in QUANTITIES:
        for l, value in t.layers(q).items():
            allowed = np.zeros(value.shape) if spread is None else LAMBDA * spread.layers(q)[l]
            exact = truth.layers(q)[l]
            comparisons.append(Comparison(q, l, gate, value, exact, allowed, not truth.decided))
    if t.loss is not None:
        allowed = np.zeros(()) if spread is None else LAMBDA * spread.loss
        comparisons.append(Comparison("loss", L, gate, t.loss, truth.loss, allowed))
    return _in_order(comparisons, L)


def _end_to_end(
    subject: Subject, name: str, t: Trace, amended: Amended, gate: str = "end-to-end"
) -> list[Comparison]:
    return _against_truth(gate, t, subject.truth(amended), subject.spread(name, amended))


def _same_bits(t: Trace, again: Trace, L: int, deterministic: bool) -> Judged:
    """The gate `repeat`: how many numbers differ between two runs on the same input, and the first that does.
    An implementation that says that it is not deterministic may differ in any number."""
    pairs = [(q, l, M, again.layers(q)[l]) for q in QUANTITIES for l, M in t.layers(q).items()]
    if t.loss is not None:
        pairs.append(("loss", L, np.asarray(t.loss), np.asarray(again.loss)))
    bits = f"u{pairs[0][2].itemsize}"  # as integers: a NaN is itself, and −0 is not 0
    unequal = [before.view(bits) != after.view(bits) for _, _, before, after in pairs]
    differing = sum(int(u.sum()) for u in unequal)
    i = next((i for i, u in enumerate(unequal) if u.any()), 0)
    q, l, before, after = pairs[i]
    record = Record(
        quantity="all",
        layer=0,
        gate="repeat",
        error=float(differing),
        tolerance=0.0 if deterministic else "inf",
        ratio="inf" if differing and deterministic else 0.0,
        ulps=0.0,
        index=[int(k) for k in np.argwhere(unequal[i])[0]] if differing else [],
    )
    zeros = np.zeros(before.shape)
    first_time = Enclosure(before.astype(np.float64), zeros, zeros)
    comparison = Comparison(q, l, "repeat", after, first_time, zeros)
    return Judged(record, "deviates" if differing and deterministic else "conforms", comparison)


def _all_gates(
    subject: Subject, name: str, t: Trace, alone: Trace | None, amended: Amended, rounded: bool
) -> list[Judged]:
    """Every comparison of a trace except `repeat`: gate by gate, the step gate first."""
    comparisons = _step(subject, t, name, amended, rounded)
    comparisons += _end_to_end(subject, name, t, amended)
    if subject.exact:
        comparisons += _against_truth("exact", t, subject.truth(amended), None)
    judged = judge_all(comparisons)
    if alone is not None and subject.alone is not None:
        rows = judge_all(_end_to_end(subject.alone, name, alone, amended, "row"))
        worst: dict[str, Judged] = {}  # for each quantity, the layer that is furthest off
        for j in rows:
            q = j.record["quantity"]
            if q not in worst or size(j.record["ratio"]) > size(worst[q].record["ratio"]):
                worst[q] = j
        judged += worst.values()
    return judged


# --- single gates, for the diagnosis --------------------------------------------------------------


def compared(subject: Subject, name: str, t: Trace) -> list[Comparison]:
    """The comparisons of the gates `step` and `end-to-end` for a trace, with their tolerances."""
    unamended = subject.amend(())
    steps = _step(subject, t, name, unamended, rounds_every_value(name))
    return steps + _end_to_end(subject, name, t, unamended)


def steps_of(subject: Subject, name: str, t: Trace, rounded: bool | None = None) -> list[Judged]:
    """The step gate alone, in the order of the algorithm. A step that deviates, but not under the known
    differences, is judged under those. `rounded` as for `judge`."""
    each = rounds_every_value(name) if rounded is None else rounded

    def judged(rows: Sequence[Difference]) -> list[Judged]:
        return judge_all(_step(subject, t, name, subject.amend(rows), each))

    with np.errstate(all="ignore"):
        unamended = judged(())
        rows = _known(subject, name)
        amended = judged(rows) if rows else unamended
    pairs = zip(unamended, amended, strict=True)
    return [a if u.verdict == "deviates" != a.verdict else u for u, a in pairs]


def whole_of(subject: Subject, name: str, t: Trace) -> list[Judged]:
    """Every quantity of a trace, judged end to end."""
    with np.errstate(all="ignore"):
        return judge_all(_end_to_end(subject, name, t, subject.amend(())))


def right_as_a_whole(subject: Subject, name: str, t: Trace) -> set[Key]:
    """The quantities and layers that conform end to end."""
    return {j.key for j in whole_of(subject, name, t) if j.verdict == "conforms"}


def _known(subject: Subject, name: str) -> list[Difference]:
    """The known differences that may show in this result."""
    return [d for d in known_differences() if d.concerns(name, subject.case)]


# --- the verdict ----------------------------------------------------------------------------------


def judge(
    subject: Subject,
    name: str,
    t: Trace,
    again: Trace | None = None,
    alone: Trace | None = None,
    whole: bool = True,
    rounded: bool | None = None,
    deterministic: bool = True,
) -> Result:
    """The verdict on one implementation's trace of one case.

    `name` is the implementation whose tolerances and known differences apply. `again` is the trace of the
    same input a second time, after another batch; `alone` is the trace of `subject.alone`. `whole`: no
    quantity may be left out of a trace; otherwise quantities that are left out are not judged. `rounded`: the
    implementation computed on with the numbers that it returned, and is judged more narrowly; otherwise it
    may have kept more digits of them (wider registers, a product and a sum rounded once). None: as
    `rounds_every_value` says. `deterministic`: `again` must have the same bits.
    """
    if wrong := _misshapen(subject, t, again, alone, whole):
        return judge_malformed(subject.case, name, wrong)
    rounded = rounds_every_value(name) if rounded is None else rounded
    amended = subject.amend(())
    with np.errstate(all="ignore"):  # an implementation may return NaN and inf
        judged = _all_gates(subject, name, t, alone, amended, rounded)
        if _verdict(judged) != "conforms":
            under = _under_known_differences(subject, name, t, alone, rounded)
            judged, amended = under or (judged, amended)
    if again is not None:
        judged = [*judged, _same_bits(t, again, subject.problem.depth, deterministic)]
    verdict = _verdict(judged)
    message = "" if verdict == "conforms" else _message(judged, verdict)
    if verdict == "conforms" and amended.key:
        verdict = "known-difference"
        message = f"conforms to what it is known to compute instead: {', '.join(amended.key)}."
    return {
        **_result(subject.case, name, verdict, message),
        "first_deviation": next((j.element for j in judged if j.verdict != "conforms"), None),
        "worst": max(judged, key=lambda j: size(j.record["ratio"])).element,
        "known_differences": list(amended.key),
        "straddling": subject.spread(name, amended).straddling,
        "not_returned": [
            *t.missing,
            *(["Z_L"] if t.Z and subject.problem.depth not in t.Z else []),
        ],
        "records": [j.record for j in judged],
    }


def _misshapen(
    subject: Subject, t: Trace, again: Trace | None, alone: Trace | None, whole: bool
) -> str:
    """What is wrong with the form of the first trace that does not have the form asked for; "" if nothing
    is."""
    runs = [("", subject.problem, t)]
    if again is not None:
        runs.append(("the second time, ", subject.problem, again))
    if alone is not None and subject.alone is not None:
        runs.append(("of one example alone, ", subject.alone.problem, alone))
    for when, problem, trace in runs:
        if wrong := malformed(problem, trace, whole):
            return when + wrong
        if trace.missing != t.missing:
            which = min(set(trace.missing) ^ set(t.missing))
            return f"{when}{which} is there or not, as it happens; expected the same quantities each time."
    return ""


def _under_known_differences(
    subject: Subject, name: str, t: Trace, alone: Trace | None, rounded: bool
) -> tuple[list[Judged], Amended] | None:
    """The trace judged under the first known difference, or else under all of them, with which it conforms.
    If it conforms with none, the first judgement that is undecided; else None."""
    rows = _known(subject, name)
    undecided = None
    for some in [*([row] for row in rows), *([rows] if len(rows) > 1 else [])]:
        amended = subject.amend(some)
        judged = _all_gates(subject, name, t, alone, amended, rounded)
        verdict = _verdict(judged)
        if verdict == "conforms":
            return judged, amended
        if verdict == "undecided" and undecided is None:
            undecided = judged, amended
    return undecided


def _verdict(judged: Sequence[Judged]) -> Verdict:
    """The worst verdict of any record."""
    verdicts = {j.verdict for j in judged}
    if "deviates" in verdicts:
        return "deviates"
    return "undecided" if "undecided" in verdicts else "conforms"


_HOW = {
    "step": "is wrong given its own operands",
    "end-to-end": "is too far from the truth",
    "exact": "is not exact",
    "row": "of one example alone is too far from the truth",
}


def _message(judged: Sequence[Judged], verdict: Verdict) -> str:
    """The first record that has this verdict, in words."""
    e = next(j for j in judged if j.verdict == verdict).element
    symbol = SYMBOLS[e["quantity"]]
    where = f"{symbol}_{e['layer']}" if e["quantity"] != "loss" else symbol
    at = f"[{', '.join(map(str, e['index']))}]" if e["index"] else ""
    if e["gate"] == "repeat":
        return (
            f"{where}{at} is not the same the second time: got {e['got']}, the first time "
            f"{e['expected']}; {int(float(e['error']))} in all."
        )
    if verdict == "deviates":
        return (
            f"{where}{at} {_HOW[e['gate']]}: got {e['got']}, expected {e['expected']}, off by {e['error']} "
            f"where {e['tolerance']} is allowed ({float(e['ratio']):.4g} times)."
        )
    if e["ratio"] == "inf":
        return (
            f"{where}{at} cannot be decided: got {e['got']}, and the exact value, or what rounding may do "
            f"to it, has no bound there ({e['expected']}, {e['tolerance']} allowed)."
        )
    return (
        f"{where}{at} cannot be decided: got {e['got']}, and the exact value, near "
        f"{e['expected']}, is not known narrowly enough."
    )


def judge_malformed(case: Case, name: str, message: str) -> Result:
    """The result of an implementation whose trace cannot be judged."""
    return _result(case, name, "deviates", message)


def judge_exception(case: Case, name: str, message: str) -> Result:
    """The result of an implementation that raised, crashed or took too long."""
    return _result(case, name, "error", message)


def _result(case: Case, name: str, verdict: Verdict, message: str) -> Result:
    return Result(
        case=case.id,
        implementation=name,
        verdict=verdict,
        message=plain(message),  # an exception's text may hold control characters
        first_deviation=None,
        worst=None,
        known_differences=[],
        straddling=0,
        not_returned=[],
        blame=[],
        diagnosis=[],
        records=[],
    )
