"""One case in the terminal: every layer's error against tolerance, and the lines that reproduce it."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.cases import Case
from conformance.results import SYMBOLS, Element, Record, Result

__all__ = ["describe"]


def describe(case: Case, result: Result) -> str:
    """What `conformance show` prints."""
    return "\n".join(_lines(case, result))


def _lines(case: Case, result: Result) -> Iterator[str]:
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
    for f in result["diagnosis"]:
        yield f"  looks like: {f['text']}"
        yield f"    → {f['suggestion']}"
    if result["blame"]:
        steps = ", ".join(_step(s["quantity"], s["layer"]) for s in result["blame"])
        yield f"  to blame: {steps}; what follows from it is not"
    if result["not_returned"]:
        yield f"  not returned, so not judged: {', '.join(SYMBOLS[q] for q in result['not_returned'])}"
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
    """Python that computes the trace again and judges it: the number, and what it is held against."""
    name, which = result["implementation"], "first_deviation"
    if result["first_deviation"] is None:
        which = "worst"
    yield "from conformance.cases import find"
    yield "from conformance.implementations import implementation"
    yield "from conformance.judge import Subject, judge"
    yield f"impl = implementation({name!r})"
    yield "impl.start()"
    yield f"subject = Subject(find({case.id!r}))"
    yield "trace = impl.run(subject.problem)"
    yield "alone = impl.run(subject.alone.problem) if subject.alone else None"
    yield "again = impl.run(subject.problem) if subject.case.closely else None"
    yield f"print(judge(subject, {name!r}, trace, again, alone)[{which!r}])"
