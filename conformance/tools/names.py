"""Names: the message for one that is unknown, and short forms of file names."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["brief", "unknown"]


def unknown(kind: str, name: str, among: Iterable[str]) -> str:
    """“unknown …”, with the nearest name, and all names if they are 40 or fewer."""
    names = list(among)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = f" There are: {', '.join(names)}." if len(names) <= 40 else ""
    return f"unknown {kind} {name!r}.{hint}{listed}"


def brief(names: Iterable[str]) -> Mapping[str, str]:
    """Each name with its short form: without the folder, unless two names would then be the same."""
    names = list(names)
    short = {name: name.rpartition("/")[2] for name in names}
    often = Counter(short.values())
    return {name: s if s and often[s] == 1 else name for name, s in short.items()}
