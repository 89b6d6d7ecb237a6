"""All cases: packed into the file, unpacked and listed on demand by `report.js`.

The packed block is base64 of zlib of: the length of the JSON (4 bytes, big-endian), the JSON, and
six planes with one byte a record, in the order of the results and of their records. Three planes
hold the ratio and three the ulps, to three significant digits: the exponent, the first two digits,
the third. Planes, because exponents among themselves compress and digits hardly do.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Iterable

from conformance.report.view import GATES, QUANTITIES, View, in_order
from conformance.results import VERDICTS, CaseRow, Number

__all__ = ["context", "digits", "pack"]

ZERO, NAN, INF, SMALLEST, ONE, LARGEST = 0, 1, 2, 3, 128, 255
"""Bytes of the plane of exponents: three names, and the exponents −125 … 127 around ONE."""


def context(view: View) -> dict[str, object]:
    return {"packed": pack(view), "total": len(view.results["cases"])}


def digits(x: Number) -> tuple[int, int, int]:
    """x as (exponent, two digits, one digit). What is too small or too large goes to the end."""
    v = abs(float(x))
    if v == 0:
        return ZERO, 0, 0
    if math.isnan(v):
        return NAN, 0, 0
    if math.isinf(v):
        return INF, 0, 0
    s = f"{v:.2e}"  # 1.23e+04
    exponent = int(s[5:]) + ONE
    if not SMALLEST <= exponent <= LARGEST:
        return (SMALLEST, 10, 0) if exponent < SMALLEST else (LARGEST, 99, 9)
    return exponent, int(s[0] + s[2]), int(s[3])


def _planes(values: Iterable[Number]) -> bytes:
    columns = list(zip(*map(digits, values), strict=True)) or [(), (), ()]
    return b"".join(map(bytes, columns))


def pack(view: View) -> str:
    results = view.results
    shapes: dict[tuple[tuple[str, int, str], ...], int] = {}
    numbers = {case["id"]: n for n, case in enumerate(results["cases"])}
    names = in_order(
        (j.result["implementation"] for j in view.judged),
        [i["name"] for i in results["implementations"]],
    )
    rows: list[list[object]] = []
    for j in view.judged:
        r, worst = j.result, j.worst
        shape = tuple((x["quantity"], x["layer"], x["gate"]) for x in r["records"])
        row = [
            numbers[r["case"]],
            names.index(r["implementation"]),
            VERDICTS.index(r["verdict"]),
            shapes.setdefault(shape, len(shapes)),
            r["message"],
            r["first_deviation"],
            r["known_differences"],
            r["straddling"],
            [r["records"].index(worst), worst["error"], worst["tolerance"], worst["index"]]
            if worst
            else None,
        ]
        rows.append(row)
    data = {
        "verdicts": VERDICTS,
        "gates": GATES,
        "quantities": QUANTITIES,
        "implementations": names,
        "fields": list(CaseRow.__annotations__),
        "cases": [[dict(c)[f] for f in CaseRow.__annotations__] for c in results["cases"]],
        "families": {f["name"]: f["failing_means"] for f in results["families"]},
        "shapes": list(shapes),
        "results": rows,
    }
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8
    records = [record for _, record in view.records()]
    raw = b"".join(
        [
            struct.pack(">I", len(encoded)),
            encoded,
            _planes(r["ratio"] for r in records),
            _planes(r["ulps"] for r in records),
        ]
    )
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")
