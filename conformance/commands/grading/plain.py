"""What a student's file says, as plain text: nothing in it does anything where it is shown."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain"]

_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def plain(text: str, most: int, lines: bool = False) -> str:
    """Without control characters, terminal sequences and what turns the direction; at most so long."""
    text = _SEQUENCES.sub("", text[: 20 * most])
    kept = "".join(c for c in text if _shown(c))
    if not lines:
        kept = " ".join(kept.split())
    kept = kept.strip()
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def _shown(c: str) -> bool:
    """Letters, signs, spaces, and the end of a line."""
    return c in "\n\t" or unicodedata.category(c)[0] != "C"
