"""The records of a result as the file stores them: in columns, with a layout that many results share.

A layout is the list of the quantity, layer and gate of each record. The error of a record is its ratio times
its tolerance, to three digits or so; where that does not hold, the result has a column of errors. An index
[row, column] is one number, as in the matrix written out row by row; any other index is a list. Empty fields
of a result are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

from conformance.model.packed import Records
from conformance.model.results import (
    RETURNED,
    Blocks,
    Count,
    Element,
    Finding,
    Gate,
    Number,
    Quantity,
    Record,
    Result,
    Results,
    Size,
    Step,
    Verdict,
    number,
)
from conformance.tools.trouble import MisfitError
from conformance.tools.typed import among, fitting

__all__ = ["Compact", "compact", "empty", "expanded"]

Layout = list[tuple[Quantity, Count, Gate]]


class Spot(TypedDict):
    """The worst element of a record: an Element without the fields that the record itself has."""

    record: Count  # index of the record, from 0
    quantity: NotRequired[Quantity]  # if not the record's: at the gate `repeat`
    layer: NotRequired[Count]
    error: Size
    got: Number
    expected: Number


class Row(TypedDict):
    """A result, as the file stores it."""

    case: str
    implementation: str
    verdict: Verdict
    layout: Count  # index of its layout, from 0; then one column for each field
    tolerance: list[Size]
    ratio: list[Size]
    ulps: list[Size]
    index: list[Count | list[Count]]
    error: NotRequired[list[Size]]
    message: NotRequired[str]
    first_deviation: NotRequired[Spot]
    worst: NotRequired[Spot]
    known_differences: NotRequired[list[str]]
    straddling: NotRequired[Count]
    not_returned: NotRequired[list[Annotated[str, among(*RETURNED)]]]
    blame: NotRequired[list[Step]]
    diagnosis: NotRequired[list[Finding]]


class Compact(Blocks):
    """The whole file."""

    results: list[Row]
    layouts: list[Layout]


COLUMNS = ("tolerance", "ratio", "ulps", "index", "error")
SPOTS = ("first_deviation", "worst")


def empty() -> dict[str, Any]:
    """The fields of a result that the file leaves out, with the value that each then has."""
    return {
        "message": "", "first_deviation": None, "worst": None, "known_differences": [],
        "straddling": 0, "not_returned": [], "blame": [], "diagnosis": [],
    }  # fmt: skip


# --- to the file ----------------------------------------------------------------------------------


def compact(results: Results) -> Iterator[tuple[str, Any]]:
    """The keys of results as the file stores them, and their values; the results themselves one by one."""
    layouts: dict[tuple[Any, ...], int] = {}
    for key, value in results.items():
        yield key, _rows(results, layouts) if key == "results" else value
    yield "layouts", list(layouts)


def _rows(results: Results, layouts: dict[tuple[Any, ...], int]) -> Iterator[dict[str, Any]]:
    widths = {case["id"]: case["widths"] for case in results["cases"]}
    for r in results["results"]:
        records = list(r["records"])
        layout = tuple((x["quantity"], x["layer"], x["gate"]) for x in records)
        place = layouts.setdefault(layout, len(layouts))
        yield _row(r, records, place, widths[r["case"]])


def _row(r: Result, records: Any, layout: int, widths: Sequence[int]) -> dict[str, Any]:
    row: dict[str, Any] = {key: r[key] for key in ("case", "implementation", "verdict")}
    row |= {"layout": layout} | {c: [x[c] or 0 for x in records] for c in COLUMNS}  # 0, not 0.0
    row["index"] = [_flat(x["index"], x["layer"], widths) for x in records]
    follow = (_error(x["ratio"], x["tolerance"]) for x in records)
    if all(
        math.isclose(float(x["error"]), float(e), rel_tol=2e-3)
        for x, e in zip(records, follow, strict=True)
    ):
        del row["error"]
    found: Any = r
    row |= {key: found[key] for key, nothing in empty().items() if found[key] != nothing}
    return row | {key: _spot(row[key], records) for key in SPOTS if key in row}


def _error(ratio: Number, tolerance: Number) -> Number:
    return number(float(ratio) * float(tolerance))


def _spot(e: Element, records: Sequence[Record]) -> Spot:
    """The gate `repeat` has one record, of all quantities; its worst element is of one of them."""
    at = next(
        k
        for k, r in enumerate(records)
        if r["gate"] == e["gate"]
        and ((r["quantity"], r["layer"]) == (e["quantity"], e["layer"]) or r["quantity"] == "all")
    )
    spot = Spot(record=at, error=e["error"], got=e["got"], expected=e["expected"])
    if records[at]["quantity"] != e["quantity"]:
        spot |= {"quantity": e["quantity"], "layer": e["layer"]}
    return spot


def _flat(index: list[int], layer: int, widths: Sequence[int]) -> int | list[int]:
    if len(index) != 2 or index[1] >= widths[layer]:
        return index
    return index[0] * widths[layer] + index[1]


# --- from the file --------------------------------------------------------------------------------


def expanded(found: Compact, rows: Iterable[Any]) -> Results:
    """Results as the program works with them, from the rows of the file one by one.

    Raises MisfitError where a row does not fit, a column is not as long as its layout, or an index points to
    no layout or no record.
    """
    widths = {case["id"]: case["widths"] for case in found["cases"]}
    results: Any = {key: value for key, value in found.items() if key != "layouts"}
    results["results"] = []
    for i, x in enumerate(rows):
        at = f"results[{i}]"
        row = fitting(x, Row, f".{at}")
        result = _result(row, at, found["layouts"], widths.get(row["case"], []))
        results["results"].append(result)
    return results  # type: ignore[no-any-return]


def _result(row: Row, at: str, layouts: Sequence[Layout], widths: Sequence[int]) -> Result:
    if row["layout"] >= len(layouts):
        raise MisfitError(
            f"{at}.layout is {row['layout']}; expected less than {len(layouts)}, as many as there are."
        )
    layout = layouts[row["layout"]]
    found: Any = row
    for c in COLUMNS:
        if len(column := found.get(c, layout)) != len(layout):
            wrong = f"{at}.{c} is a list of {len(column)}"
            raise MisfitError(f"{wrong}; expected {len(layout)}, as its layout has.")
    errors = found.get("error") or [*map(_error, row["ratio"], row["tolerance"])]
    layers = (layer for _, layer, _ in layout)
    index = [_index(i, layer, widths) for i, layer in zip(row["index"], layers, strict=True)]
    for key in SPOTS:
        if spot := found.get(key):
            if spot["record"] >= len(layout):
                wrong = f"{at}.{key}.record is {spot['record']}"
                raise MisfitError(
                    f"{wrong}; expected less than {len(layout)}, as many as there are."
                )
            errors[spot["record"]] = spot["error"]  # with all its digits
    columns = (errors, row["tolerance"], row["ratio"], row["ulps"], index)
    records = Records(map(tuple, layout), columns)
    said: Any = {**empty(), **found, "records": records}
    for key in SPOTS:
        if spot := said[key]:
            said[key] = _element(spot, records[spot["record"]])
    result: Result = {key: said[key] for key in Result.__annotations__}  # type: ignore[assignment]
    return result


def _element(spot: Spot, r: Record) -> Element:
    return Element(
        quantity=spot.get("quantity", r["quantity"]),
        layer=spot.get("layer", r["layer"]),
        gate=r["gate"],
        index=r["index"],
        got=spot["got"],
        got_hex=float(spot["got"]).hex(),
        expected=spot["expected"],
        expected_hex=float(spot["expected"]).hex(),
        error=r["error"],
        tolerance=r["tolerance"],
        ratio=r["ratio"],
    )


def _index(index: int | list[int], layer: int, widths: Sequence[int]) -> list[int]:
    """An index as a list. A layer that does not exist gets any number: `contradictions` refuses the file."""
    if isinstance(index, list):
        return index
    return list(divmod(index, widths[layer] if layer < len(widths) else 1))
