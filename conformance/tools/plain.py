"""Makes text from outside safe to show: no character in it controls a terminal, is invisible, or reverses the
direction of other text.

All text of a user's code, file or exception passes through here before it is written to a terminal
(`commands.command.echo` does it for all commands) or put on a page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["plain", "plain_values", "without_sequences"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of invisible characters: controls, formats (bidi overrides among them), halves of
surrogate pairs, private and unassigned characters, and separators of lines and paragraphs."""
_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def plain(text: str, lines: bool = False) -> str:
    r"""The text with every invisible character escaped as in Python: \x1b, \u202e.

    `lines`: line ends and tabs are kept; otherwise the text is on one line.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        c
        if c in kept or unicodedata.category(c) not in _HIDDEN
        else c.encode("unicode_escape").decode()
        for c in text
    )


def plain_values(x: Any) -> Any:
    """A JSON value with every text in it, keys included, made `plain`."""
    if isinstance(x, str):
        return plain(x, lines=True)
    if isinstance(x, Mapping):
        return {plain_values(k): plain_values(v) for k, v in x.items()}
    return [plain_values(v) for v in x] if isinstance(x, list | tuple) else x


def without_sequences(text: str, most: int, lines: bool = False) -> str:
    """The text without terminal sequences and invisible characters, cut to at most so many characters.

    `lines`: line ends are kept; otherwise each run of white space becomes one space.
    """
    text = _SEQUENCES.sub("", text[: 20 * most])
    kept = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)
    kept = kept.strip() if lines else " ".join(kept.split())
    return kept if len(kept) <= most else kept[: most - 1] + "…"
