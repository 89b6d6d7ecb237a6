"""The message for a name that does not exist: what was asked for, and what may be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["unknown"]


def unknown(kind: str, name: str, among: Iterable[str]) -> str:
    """“unknown …”, with the nearest name, and all of them where they are 40 or fewer."""
    names = list(among)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = f" There are: {', '.join(names)}." if len(names) <= 40 else ""
    return f"unknown {kind} {name!r}.{hint}{listed}"
