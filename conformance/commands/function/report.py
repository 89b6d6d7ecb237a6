"""The results of `conformance function` as one page: no script, no network, the same bytes for the same
results.

It needs nothing but the results, so that a JSON file makes the same page. Whatever user code named or printed
is escaped, and characters that could reorder or hide text are spelt out first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from conformance.commands.function.screen import (
    badness_of,
    kept,
    most_blind,
    not_returned,
    worst_of,
)
from conformance.model.results import Number
from conformance.report.html import environment, own_file
from conformance.tools.plain import plain_values

if TYPE_CHECKING:
    from conformance.judge.functions.judged import Judged
    from conformance.judge.functions.trial import FunctionResults

__all__ = ["SECTIONS", "parts_of", "render", "shown"]

SECTIONS = {
    "summary": "Verdict",
    "wrong": "What is wrong",
    "data": "Quantities and data",
    "sees": "What the tolerance sees",
    "allclose": "Audit of an allclose",
    "nottried": "Families of data",
    "how": "How it was judged",
}
"""The id of each section, in order, and its heading."""


def render(found: FunctionResults) -> str:
    """One self-contained HTML file."""
    plain = cast("FunctionResults", plain_values(found))
    env = environment()
    env.globals.update(shown=shown)
    parts = parts_of(plain)
    bad = parts["bad"]
    sections = {
        id: heading
        for id, heading in SECTIONS.items()
        if (id != "allclose" or plain["allclose"]) and (id != "wrong" or bad or plain["findings"])
    }
    page = env.get_template("function.html").render(
        f=plain,
        css=own_file("report.css"),
        sections=sections,
        kept=kept(plain),
        not_returned=not_returned(plain),
        **parts,
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8


def parts_of(found: FunctionResults, brief: bool = False) -> dict[str, object]:
    """The variables of functionwrong.html and functiondata.html: rows are sets of data and columns
    quantities, unless it is `brief`."""
    rows: dict[tuple[str, str], dict[str, Judged]] = {}
    for j in found["judged"]:
        rows.setdefault((j["family"], j["cotangent"]), {})[j["quantity"]] = j
    quantities = list(dict.fromkeys(j["quantity"] for j in found["judged"]))
    worst = {
        q: max((j for j in found["judged"] if j["quantity"] == q), key=badness_of)
        for q in quantities
    }
    return {
        "rows": rows,
        "quantities": quantities,
        "worst": worst,
        "blind": most_blind(found),
        "bad": worst_of(found),
        "brief": brief,
    }


def shown(x: Number | None) -> str:
    """A number with all its digits."""
    if x is None:
        return "–"
    return {"nan": "NaN", "inf": "∞", "-inf": "−∞"}.get(str(x), str(x))
