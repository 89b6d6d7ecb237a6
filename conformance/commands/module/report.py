"""The results of `conformance module` as one page: no script, no network, the same bytes for the same
results."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from conformance.commands.function.report import parts_of, shown
from conformance.commands.module.screen import bad_of, name_of, ratio_of
from conformance.report.html import environment, own_file
from conformance.tools.plain import plain_values

if TYPE_CHECKING:
    from conformance.judge.functions.module import ModuleResults

__all__ = ["SECTIONS", "render"]

SECTIONS = {
    "summary": "Verdict",
    "wrong": "What is wrong",
    "layers": "Layer by layer",
    "data": "As a whole",
    "nottried": "Families of data",
    "how": "How it was judged",
}
"""The id of each section, in order, and its heading."""


def render(found: ModuleResults) -> str:
    """One self-contained HTML file."""
    plain = cast("ModuleResults", plain_values(found))
    env = environment()
    env.globals.update(shown=shown, name_of=name_of, ratio_of=ratio_of, bad_of=bad_of)
    wrong = [row for row in plain["layers"] if bad_of(row) or row["reason"]]
    sections = {
        id: heading
        for id, heading in SECTIONS.items()
        if id != "wrong" or wrong or plain["whole"]["findings"]
    }
    page = env.get_template("module.html").render(
        m=plain,
        f=plain["whole"],
        css=own_file("report.css"),
        sections=sections,
        wrong=wrong,
        # one quantity for each parameter is too many for a matrix
        **parts_of(plain["whole"], brief=True),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8
