"""Links within the report: to a case, to the cases that a filter finds. `report.js` follows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["anchor", "filtered", "term"]

PLAIN = re.compile(r"[\w.+@/-]+")  # text that needs no quotes in the filter
ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def anchor(case: str) -> str:
    """The link that opens a case; anyone who has its id can write it."""
    return "#case=" + quote(case, errors="replace")


def term(key: str, value: object) -> str:
    """One term of the filter, in quotes if the value would otherwise be misread."""
    text = str(value)
    return f"{key}:{text}" if PLAIN.fullmatch(text) else f'{key}:"{text.translate(ESCAPES)}"'


def filtered(terms: Mapping[str, object]) -> str:
    """The link to the list of the cases that match all of these: {"activation": "tanh", "depth": 3}."""
    query = " ".join(term(key, value) for key, value in terms.items())
    return "#q=" + quote(query, safe="/:", errors="replace")
