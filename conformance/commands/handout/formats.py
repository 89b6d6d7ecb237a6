"""The formats of a handout."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from conformance.commands.handout import html, ipynb, md, paper, tex
from conformance.commands.handout.document import Handout

__all__ = ["rendered"]

_BY: Mapping[str, Callable[[Handout], str]] = {
    "html": html.render, "tex": tex.render, "md": md.render, "ipynb": ipynb.render,
    "beamer": paper.slides,
}  # fmt: skip


def rendered(handout: Handout, to: str) -> str:
    """The handout in one of the formats that are text."""
    return _BY[to](handout)
