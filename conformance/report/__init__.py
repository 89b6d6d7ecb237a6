"""Writes results as one self-contained HTML file, or as a folder of files.

Reads the results alone, so an old file renders again on a machine with no framework installed. A section is a
module in `sections/` (what it says, computed), a template of the same name in `templates/` (how it reads),
and a row in `html.SECTIONS`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.report.html import render, render_files

__all__ = ["render", "render_files"]


def __getattr__(name: str) -> Any:
    """The functions that make pages, imported when they are used: output in the terminal needs no jinja2."""
    if name in __all__:
        from conformance.report import html

        return getattr(html, name)
    raise AttributeError(f"module 'conformance.report' has no attribute {name!r}")
