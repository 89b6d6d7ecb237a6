"""All cases: packed into the file, unpacked and listed on demand by `report.js`.

The packed block is base64 of zlib of: the length of the JSON (4 bytes, big-endian), the JSON, and planes with
one byte a record, in the order of the results and of their records. They are planes since exponents compress
well next to each other, and digits hardly do: for the ratio and then for the ulps, a plane of exponents and
planes of decimal digits, two a plane; then the index of the worst element: a plane of rows, one of columns.

Up to `PRECISE` records everything is kept to three digits. With more records, the file would be too large to
open at once: the ratio keeps two digits, and only failures, up to `WHOLE` of them, keep ulps and their worst
element's index.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from conformance.model.results import VERDICTS, CaseRow, Number, Record, Results
from conformance.report.common import FAILING
from conformance.report.view import GATES, QUANTITIES, Judged, View, in_order

__all__ = ["context", "digits", "pack"]

ZERO, NAN, INF, SMALLEST, ONE, LARGEST = 0, 1, 2, 3, 128, 255
"""Bytes of the plane of exponents: three special values, and the exponents −125 … 127 around ONE."""
NO_INDEX, FAR = 0, 255
"""Bytes of the planes of the index: none, and beyond 253; any other index i is i + 1."""
PRECISE = 500_000
"""Up to so many records nothing is shortened."""
WHOLE = 1500
"""For so many failures everything is kept: the message in full, the values in hex, the findings."""
SHORT = 160
"""Characters that the message of any other failure keeps."""


def context(view: View) -> dict[str, object]:
    return {"total": len(view.results["cases"])}


@cache
def digits(x: Number, number: int = 3) -> tuple[int, ...]:
    """x as its exponent and its significant digits, two a byte. Numbers that are too small or too large
    become the end of the range, and a number over 1 stays over 1: the limit must not be rounded away."""
    v, none = abs(float(x)), (0,) * ((number + 1) // 2)
    if v == 0:
        return ZERO, *none
    if math.isnan(v):
        return NAN, *none
    if math.isinf(v):
        return INF, *none
    mantissa, exponent = f"{v:.{number - 1}e}".split("e")  # 1.23e+04
    e, m = int(exponent) + ONE, int(mantissa.replace(".", ""))
    if not SMALLEST <= e <= LARGEST:
        e, m = (SMALLEST, 10 ** (number - 1)) if e < SMALLEST else (LARGEST, 10**number - 1)
    if v > 1 and (e, m) == (ONE, 10 ** (number - 1)):
        m += 1
    return (e, *divmod(m, 10)) if number == 3 else (e, m)


def _planes(values: Iterable[Number], number: int) -> bytes:
    columns = list(zip(*(digits(v, number) for v in values), strict=True))
    return b"".join(map(bytes, columns))


def _place(index: int) -> int:
    return min(index + 1, FAR)


def _index(kept: Sequence[Record | None], at: int) -> bytes:
    """The row (at 0) or the column (at 1) of the worst element of every record."""
    return bytes(_place(r["index"][at]) if r and len(r["index"]) > at else NO_INDEX for r in kept)


def pack(view: View) -> str:
    records = [record for _, record in view.records()]
    number = 3 if len(records) <= PRECISE else 2
    whole = {id(j) for j in _failing(view.judged)[:WHOLE]}
    full = whole if number == 2 else {id(j) for j in view.judged}
    kept = [r if id(j) in full else None for j, r in view.records()]
    data = {**_lists(view.results), **_results(view, whole, full), "digits": number}
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8
    parts = [
        struct.pack(">I", len(encoded)),
        encoded,
        _planes((r["ratio"] for r in records), number),
        _planes((r["ulps"] if r else 0 for r in kept), number),
        _index(kept, 0),
        _index(kept, 1),
    ]
    return base64.b64encode(zlib.compress(b"".join(parts), 7)).decode("ascii")


def _lists(results: Results) -> dict[str, object]:
    fields = list(CaseRow.__annotations__)
    return {
        "verdicts": VERDICTS,
        "gates": GATES,
        "quantities": QUANTITIES,
        "fields": fields,
        "cases": [[dict(c)[f] for f in fields] for c in results["cases"]],
        "families": {f["name"]: f["failing_means"] for f in results["families"]},
    }


def _results(view: View, whole: set[int], full: set[int]) -> dict[str, object]:
    shapes: dict[tuple[tuple[str, int, str], ...], int] = {}
    numbers = {case["id"]: n for n, case in enumerate(view.results["cases"])}
    names = in_order(
        (j.result["implementation"] for j in view.judged),
        [i["name"] for i in view.results["implementations"]],
    )
    rows = [
        [
            numbers[j.result["case"]],
            names.index(j.result["implementation"]),
            VERDICTS.index(j.result["verdict"]),
            shapes.setdefault(_shape(j.result["records"]), len(shapes)),
            *_said(j, id(j) in whole, id(j) in full),
        ]
        for j in view.judged
    ]
    called = [view.called[name] for name in names]
    return {"implementations": names, "called": called, "shapes": list(shapes), "results": rows}


def _failing(judged: Sequence[Judged]) -> list[Judged]:
    """The failing results, the worst verdicts first."""
    failing = (j for j in judged if j.result["verdict"] in FAILING)
    return sorted(failing, key=lambda j: VERDICTS.index(j.result["verdict"]))


def _shape(records: Sequence[Record]) -> tuple[tuple[str, int, str], ...]:
    return tuple((r["quantity"], r["layer"], r["gate"]) for r in records)


def _said(j: Judged, whole: bool, full: bool) -> Iterator[object]:
    """The fields of a result except its records: its words, its two elements, and whether its records are
    kept in full; 0 for an empty field."""
    r = j.result
    short = r["verdict"] in FAILING and not whole
    yield r["message"][:SHORT] if short else r["message"]
    yield 0 if short else r["first_deviation"] or 0
    yield r["known_differences"] or 0
    yield r["straddling"]
    yield _worst(j, full)
    yield [[s["quantity"], s["layer"]] for s in r["blame"]] or 0
    yield [
        [f["fault"], *(() if short else (f["text"], f["suggestion"]))] for f in r["diagnosis"]
    ] or 0
    yield r["not_returned"] or 0
    yield int(full)


def _worst(j: Judged, values: bool) -> object:
    """The record with the largest ratio: its place, its error and tolerance, and its values."""
    if not j.worst:
        return 0
    at, w = j.result["records"].index(j.worst), j.result["worst"]
    same = w and (w["quantity"], w["layer"], w["gate"]) == _shape([j.worst])[0]
    values_of = [w["got"], w["expected"]] if values and w and same else []
    return [at, j.worst["error"], j.worst["tolerance"], j.worst["index"], *values_of]
