"""The text of `conformance show`: every layer's error against its tolerance, and lines that reproduce it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from conformance.cases.catalogue import Case
from conformance.implementations import IMPLEMENTATIONS, Implementation, given
from conformance.judge.comparison import Judged
from conformance.judge.gates import steps_of
from conformance.judge.result import judged_by, rounds_every_value, runs
from conformance.judge.start import RunError, name_of, started_now
from conformance.judge.subject import Subject
from conformance.model.problem import Floats, Problem, Runs, Trace
from conformance.model.results import RETURNED, SYMBOLS, Element, Record, Result

__all__ = ["by_hand", "describe", "shown"]

MOST = 100  # a matrix of more numbers is printed as its shape


def describe(case: Case, result: Result, by_hand: Sequence[str] = ()) -> str:
    """The text that `conformance show` prints."""
    return "\n".join(_lines(case, result, by_hand))


def shown(implementation: str | Implementation, case: Case) -> tuple[Result, str]:
    """One implementation run on one case in this process: the result, and the text that is printed.

    Raises RunError for an implementation that does not start.
    """
    name = implementation if isinstance(implementation, str) else name_of(implementation)
    with given({} if isinstance(implementation, str) else {name: implementation}):
        start = started_now(name)
        if start.ready is None:
            raise RunError(f"{name} is {start.row['status']}: {start.row['reason']}")
        subject = Subject(case).under(getattr(start.ready, "convention", None))
        result, lines = judged_by(subject, name, start.ready), []
        if result["blame"]:
            like = getattr(start.ready, "like", name)
            rounded = None if name in IMPLEMENTATIONS else rounds_every_value(start.ready)
            ran = runs(subject, start.ready, whole=False)
            lines = by_hand(subject, like, ran, result, rounded)
        return result, describe(case, result, lines)


def by_hand(
    subject: Subject, like: str, ran: Runs, result: Result, rounded: bool | None = None
) -> list[str]:
    """Lines about the first step that is to blame: its operands, its value, and the expected value."""
    if not result["blame"]:
        return []
    q, l = result["blame"][0]["quantity"], result["blame"][0]["layer"]
    for t in (t for t in (ran.first, ran.again) if t is not None):
        for j in steps_of(subject, like, t, rounded):
            if (j.comparison.quantity, j.comparison.layer) == (q, l) and j.verdict == "deviates":
                return list(_by_hand(subject.problem, t, j, q, l))
    return []


def _by_hand(p: Problem, t: Trace, j: Judged, q: str, l: int) -> Iterator[str]:
    which = "delta_L" if q == "delta" and l == p.depth else q
    yield f"  {EQUATIONS[which].format(l=l, m=l + 1, k=l - 1)}, on its own operands:"
    for name, M in _operands(p, t, q, l):
        yield from _matrix(name, M)
    yield from _matrix("got", np.asarray(j.comparison.value))
    yield from _matrix("expected", j.comparison.truth.hi)


EQUATIONS = {
    "A": "A_{l} = Z_{k} W_{l}",
    "Z": "Z_{l} = σ_{l}(A_{l})",
    "delta": "δ_{l} = (δ_{m} W_{m}ᵀ) ⊙ σ'_{l}(A_{l})",
    "delta_L": "δ_{l} = ∂L/∂Z_{l} ⊙ σ'_{l}(A_{l})",
    "dW": "∂L/∂W_{l} = Z_{k}ᵀ δ_{l}",
    "W_new": "W_{l} − α ∂L/∂W_{l}",
    "loss": "L(Z_{l}, Y)",
}


def _operands(p: Problem, t: Trace, q: str, l: int) -> Iterator[tuple[str, Floats]]:
    """The operands of a step, with their names."""
    Z = {0: p.X, **t.Z}
    if q in ("A", "dW"):
        yield f"Z_{l - 1}", p.operand(Z[l - 1])
    if q in ("A", "W_new"):
        yield f"W_{l}", p.W[l]
    if q == "dW":
        yield f"δ_{l}", t.delta[l]
    if q == "W_new":
        yield f"∂L/∂W_{l}", t.dW[l]
    if q == "loss" or (q == "delta" and l == p.depth):
        yield f"Z_{l}", Z[l]
        yield "Y", p.Y
    elif q == "delta":
        yield f"δ_{l + 1}", t.delta[l + 1]
        yield f"W_{l + 1}", p.weights(l + 1)
    if q in ("Z", "delta"):
        yield f"A_{l}", t.A[l]


def _matrix(name: str, M: Floats) -> Iterator[str]:
    """A matrix in rows, or its shape if it is large."""
    if M.size > MOST:
        yield f"    {name}: {' × '.join(map(str, M.shape))} numbers"
        return
    for i, row in enumerate(np.atleast_2d(M)):
        cells = " ".join(f"{x:>13.6g}" for x in row.tolist())
        yield f"    {name if i == 0 else '':<9} {cells}"


def _lines(case: Case, result: Result, by_hand: Sequence[str]) -> Iterator[str]:
    row = case.row()
    yield f"{row['id']}   {result['implementation']}: {result['verdict']}"
    yield (
        f"  {', '.join([row['activation'], *row['others']])}, output {row['output']}, {row['loss']}; widths "
        f"{'-'.join(map(str, row['widths']))}, batch {row['batch']}, {row['dtype']}, "
        f"{'with' if row['bias'] else 'no'} bias"
    )
    yield f"  why: {row['why']}"
    if result["message"]:
        yield f"  {result['message']}"
    lossy = result["verdict"] == "inaccurate"
    for f in result["diagnosis"]:
        yield f"  {'' if lossy else 'looks like: '}{f['text']}"
        yield f"    → {f['suggestion']}"
    if result["blame"]:
        steps = ", ".join(_step(s["quantity"], s["layer"]) for s in result["blame"])
        yield f"  {'loses digits' if lossy else 'to blame'}: {steps}; what follows from it is not to blame"
    if by_hand:
        yield ""
        yield from by_hand
        yield ""
    if result["not_returned"]:
        yield f"  not returned, so not judged: {', '.join(RETURNED[q] for q in result['not_returned'])}"
    if result["straddling"]:
        yield (
            f"  {result['straddling']} entries lie so near a kink that end to end either one-sided "
            "derivative is accepted"
        )
    if result["records"]:
        yield ""
        yield (
            f"  {'quantity':>12} {'layer':>5}  {'gate':<10} {'error':>10} {'tolerance':>10} "
            f"{'ratio':>9} {'ulps':>10}  worst at"
        )
        yield from (_line(r) for r in result["records"])
    for what, element in (
        ("first deviation", result["first_deviation"]),
        ("worst", result["worst"]),
    ):
        if element is not None:
            yield ""
            yield from _element(what, element)
    yield ""
    yield "  to see it again:"
    yield from (f"    {line}" for line in _reproduction(case, result))


def _element(what: str, e: Element) -> Iterator[str]:
    """An element's values, exactly."""
    where = "loss" if e["quantity"] == "loss" else f"{e['quantity']}_{e['layer']}{e['index']}"
    yield f"  {what}: {where}, gate {e['gate']}, {e['ratio']} of its tolerance"
    yield f"    got       {e['got']}  ({e['got_hex']})"
    yield f"    expected  {e['expected']}  ({e['expected_hex']})"


def _step(quantity: str, layer: int) -> str:
    return SYMBOLS[quantity] if quantity == "loss" else f"{SYMBOLS[quantity]}_{layer}"


def _line(r: Record) -> str:
    flag = " <" if float(r["ratio"]) > 1 else ""
    at = "[" + ", ".join(map(str, r["index"])) + "]" if r["index"] else ""
    return (
        f"  {SYMBOLS.get(r['quantity'], 'all'):>12} {r['layer'] or '':>5}  {r['gate']:<10} {r['error']:>10} "
        f"{r['tolerance']:>10} {r['ratio']:>9} {r['ulps']:>10}  {at}{flag}"
    )


def _reproduction(case: Case, result: Result) -> Iterator[str]:
    """Lines of Python that compute the trace again, judge it, and print its worst element."""
    name = result["implementation"]
    which = "worst" if result["first_deviation"] is None else "first_deviation"
    whole = "" if not result["not_returned"] else ", whole=False"
    yield "from conformance.cases.profiles import find"
    yield "from conformance.implementations import implementation"
    yield "from conformance.judge.gates import judge"
    yield "from conformance.judge.result import runs"
    yield "from conformance.judge.subject import Subject"
    yield f"impl = implementation({name!r})"
    yield "impl.start()"
    yield f"subject = Subject(find({case.id!r})).under(getattr(impl, 'convention', None))"
    yield f"ran = runs(subject, impl{whole})"
    yield f"like = getattr(impl, 'like', {name!r})"
    yield f"print(judge(subject, like, ran.first, ran.again, ran.alone{whole})[{which!r}])"
