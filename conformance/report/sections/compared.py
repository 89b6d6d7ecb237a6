"""What was compared and how it was judged, in the notes' notation."""

from __future__ import annotations

from conformance.report.formulas import FORMULAS, mathml
from conformance.report.view import DTYPES, View, in_order

__all__ = ["context"]


def context(view: View) -> dict[str, object]:
    cases = view.results["cases"]
    return {
        "math": {name: mathml(name) for name in FORMULAS},
        "activations": in_order((c["activation"] for c in cases), ()),
        "outputs": in_order((c["output"] for c in cases), ()),
        "losses": in_order((c["loss"] for c in cases), ()),
        "dtypes": in_order((c["dtype"] for c in cases), DTYPES),
        "depths": _range([c["depth"] for c in cases]),
        "batches": _range([c["batch"] for c in cases]),
        "widths": _range([d for c in cases for d in c["widths"]]),
    }


def _range(values: list[int]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
