"""Text that comes from outside, made fit to be shown: nothing in it steers a terminal, hides or turns round.

Whatever a user's code, file or exception says passes through here before it is written to a terminal
(`commands.command.echo` does it for all commands) or handed on to a page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["plain", "plain_values", "without_sequences"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what is not seen: controls, formats (bidi overrides among them), halves of
surrogate pairs, what is private or not assigned, and the separators of lines and paragraphs."""
_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def plain(text: str, lines: bool = False) -> str:
    r"""The same with every character spelt out that is not seen, as Python writes it: \x1b, \u202e.

    `lines`: the ends of lines, and tabs, stay; else all of it is on one line.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        c
        if c in kept or unicodedata.category(c) not in _HIDDEN
        else c.encode("unicode_escape").decode()
        for c in text
    )


def plain_values(x: Any) -> Any:
    """A value of JSON with every text in it `plain`, keys included."""
    if isinstance(x, str):
        return plain(x, lines=True)
    if isinstance(x, Mapping):
        return {plain_values(k): plain_values(v) for k, v in x.items()}
    return [plain_values(v) for v in x] if isinstance(x, list | tuple) else x


def without_sequences(text: str, most: int, lines: bool = False) -> str:
    """Without terminal sequences and what is not seen, rather than with them spelt out; at most so long.

    `lines`: the ends of lines stay; else runs of white space are one space.
    """
    text = _SEQUENCES.sub("", text[: 20 * most])
    kept = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)
    kept = kept.strip() if lines else " ".join(kept.split())
    return kept if len(kept) <= most else kept[: most - 1] + "…"
