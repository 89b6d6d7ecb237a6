"""Links within the report: to a case, to the cases that a filter finds. `report.js` follows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["anchor", "filtered", "term"]

PLAIN = re.compile(r"[\w.+@/-]+")  # what stands in the filter without quotes
ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def anchor(case: str) -> str:
    """The link that opens a case, and the same for whoever writes down its id."""
    return "#case=" + quote(case, errors="replace")


def term(key: str, value: object) -> str:
    """One term of the filter, in quotes where the value would be read as something else."""
    text = str(value)
    return f"{key}:{text}" if PLAIN.fullmatch(text) else f'{key}:"{text.translate(ESCAPES)}"'


def filtered(terms: Mapping[str, object]) -> str:
    """The link to the list of the cases that match all of these: {"activation": "tanh", "depth": 3}."""
    query = " ".join(term(key, value) for key, value in terms.items())
    return "#q=" + quote(query, safe="/:", errors="replace")
