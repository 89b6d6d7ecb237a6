"""Results to one self-contained HTML file, or to a folder of files.

Reads the results alone, so an old file renders again on a machine with no framework installed.
A section is a module in `sections/` (what it says, computed), a template of the same name in
`templates/` (how it reads), and a row in `html.SECTIONS`.
"""

from conformance.report.html import render, render_files

__all__ = ["render", "render_files"]
