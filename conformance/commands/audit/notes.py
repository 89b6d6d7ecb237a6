"""What the course notes print, read from `notes.toml`, which says what is in it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import NamedTuple

__all__ = ["PRINTED", "Printed"]


class Printed(NamedTuple):
    """One equation as it is printed. `how` it is printed: "displayed", "in the text" or as a "line"."""

    where: str
    how: str
    latex: str


_TEXT = (files(__package__) / "notes.toml").read_text(encoding="utf-8")
PRINTED: dict[str, Printed] = {key: Printed(*row) for key, row in tomllib.loads(_TEXT).items()}
"""Every printed item by its key, in the order of the notes."""
