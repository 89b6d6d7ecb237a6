"""One case in the terminal: every layer's error against tolerance, and the lines that reproduce it."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.cases import Case
from conformance.results import Record, Result

__all__ = ["describe"]

SYMBOLS = {
    "A": "A",
    "Z": "Z",
    "delta": "δ",
    "dW": "∂L/∂W",
    "W_new": "W − α∂L/∂W",
    "loss": "L",
    "all": "all",
}


def describe(case: Case, result: Result) -> str:
    """What `conformance show` prints."""
    return "\n".join(_lines(case, result))


def _lines(case: Case, result: Result) -> Iterator[str]:
    row = case.row()
    yield f"{row['id']}   {result['implementation']}: {result['verdict']}"
    yield (
        f"  {row['activation']}, output {row['output']}, {row['loss']}; widths "
        f"{'-'.join(map(str, row['widths']))}, batch {row['batch']}, {row['dtype']}, "
        f"{'with' if row['bias'] else 'no'} bias"
    )
    yield f"  why: {row['why']}"
    if result["message"]:
        yield f"  {result['message']}"
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
    d = result["first_deviation"]
    if d is not None:
        yield ""
        yield f"  first deviation: {d['quantity']}_{d['layer']}{d['index']}, gate {d['gate']}"
        yield f"    got       {d['got']}  ({d['got_hex']})"
        yield f"    expected  {d['expected']}  ({d['expected_hex']})"
    yield ""
    yield "  to see it again:"
    yield from (f"    {line}" for line in _reproduction(case, result))


def _line(r: Record) -> str:
    flag = " <" if float(r["ratio"]) > 1 else ""
    at = "[" + ", ".join(map(str, r["index"])) + "]" if r["index"] else ""
    return (
        f"  {SYMBOLS[r['quantity']]:>12} {r['layer'] or '':>5}  {r['gate']:<10} {r['error']:>10} "
        f"{r['tolerance']:>10} {r['ratio']:>9} {r['ulps']:>10}  {at}{flag}"
    )


def _reproduction(case: Case, result: Result) -> Iterator[str]:
    """Python that computes the quantity in question, and its exact value beside it."""
    name, d = result["implementation"], result["first_deviation"]
    yield "from conformance.cases import find"
    yield "from conformance.implementations import implementation"
    yield "from conformance.known_differences import amend"
    yield "from conformance.truth.network import trace"
    yield f"problem = find({case.id!r}).problem()"
    yield f"impl = implementation({name!r})"
    yield "impl.start()"
    yield "got, exact = impl.run(problem), trace(problem, amend(()).maths)"
    if d is None or d["quantity"] == "loss":
        yield "print(float(got.loss).hex(), float(exact.loss.hi).hex())"
    else:
        q, l, i = d["quantity"], d["layer"], tuple(d["index"])
        yield f"print(float(got.{q}[{l}][{i}]).hex(), float(exact.{q}[{l}].hi[{i}]).hex())"
