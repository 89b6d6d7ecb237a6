"""What a notebook carries so that it runs where only NumPy is installed: refbp, the check of answers, and the
table of mistakes, as a zip from which Python imports."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator
from importlib.resources import files
from textwrap import wrap
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from conformance.truth.definitions import ACTIVATIONS, ROW_WISE

__all__ = ["cell"]

MODULES = (
    "judge/mistakes/loop", "judge/mistakes/table", "model/problem", "tools/plain", "tools/trouble",
    "commands/handout/checking", "commands/handout/lines",
)  # fmt: skip
"""Those of conformance that the check imports."""
CELL = '''# @title Run this cell first: it unpacks refbp and the check, which need NumPy alone
import base64, pathlib, sys, tempfile

carried = pathlib.Path(tempfile.mkdtemp(), "refbp.zip")
carried.write_bytes(base64.b64decode("""
{}
"""))
sys.path.insert(0, str(carried))'''


def cell() -> str:
    """The code that unpacks it all, the same bytes each time."""
    held = io.BytesIO()
    with ZipFile(held, "w", ZIP_DEFLATED, compresslevel=9) as z:
        for name, text in sorted(_files()):
            z.writestr(ZipInfo(name), text, ZIP_DEFLATED, 9)
    return CELL.format("\n".join(wrap(b64encode(held.getvalue()).decode("ascii"), 400)))


def _files() -> Iterator[tuple[str, str]]:
    for path in files("refbp").iterdir():
        if path.name.endswith(".py"):
            yield f"refbp/{path.name}", path.read_text(encoding="utf-8")
    folders = set()
    for module in MODULES:
        path = files("conformance").joinpath(f"{module}.py")
        yield f"conformance/{module}.py", path.read_text(encoding="utf-8")
        folders |= {module[:k] for k, c in enumerate(module) if c == "/"}
    yield from ((f"conformance/{folder}/__init__.py", "") for folder in ("truth", *folders))
    yield "conformance/__init__.py", ""
    # the certified definitions take a library for ball arithmetic; of these the table needs names alone
    breaks = {name: sigma.breaks for name, sigma in ACTIVATIONS.items()}
    yield (
        "conformance/truth/definitions.py",
        "from types import SimpleNamespace\n\n"
        f"ROW_WISE = {tuple(ROW_WISE)!r}\n"
        f"ACTIVATIONS = {{k: SimpleNamespace(breaks=b) for k, b in {breaks!r}.items()}}\n",
    )
