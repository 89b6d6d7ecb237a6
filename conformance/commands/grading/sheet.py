"""The grades of a class as CSV: for a person, or as Canvas and Moodle import them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from conformance.commands.grading.course import Submitted
from conformance.tools.plain import plain

__all__ = ["as_csv"]

Row = Sequence[object]


def as_csv(every: Sequence[Submitted], columns: str) -> str:
    """A row a student below the names of the columns. No cell is a formula to a spreadsheet."""
    rows = {"all": _all, "canvas": _canvas, "moodle": _moodle}[columns](every)
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(x) for x in row] for row in rows)
    return text.getvalue()


def _cell(x: object) -> object:
    """A text that a spreadsheet would compute gets an apostrophe in front."""
    return f"'{x}" if isinstance(x, str) and x.lstrip()[:1] in tuple("=+-@|") else x


def _all(every: Sequence[Submitted]) -> Iterable[Row]:
    tests = [t["name"] for t in every[0].result["tests"]]
    yield ["Student", "ID", "File", "Score", "Maximum", *tests, "Mistakes", "Notes", "Flags"]
    for s in every:
        g = s.result
        looks = dict.fromkeys(x for t in g["tests"] for m in t["mistakes"] for x in m["looks_like"])
        points = [t["score"] for t in g["tests"]]
        texts = ["; ".join(x) for x in (looks, g["notes"], g["flags"])]
        yield [s.student, s.id, plain(s.entry), g["score"], g["max_score"], *points, *texts]


def _canvas(every: Sequence[Submitted]) -> Iterable[Row]:
    """As its gradebook is exported and imported; a student is known by the ID."""
    first = every[0].result
    yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", first["title"]]
    yield ["    Points Possible", "", "", "", "", first["max_score"]]
    for s in every:
        yield [s.student, s.id, "", "", "", s.result["score"]]


def _moodle(every: Sequence[Submitted]) -> Iterable[Row]:
    """As the grading worksheet of an assignment; a student is known by the identifier."""
    yield ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
    for s in every:
        identifier = f"Participant {s.id}" if s.id else ""
        said = "; ".join(s.result["notes"])
        yield [identifier, s.student, s.result["score"], s.result["max_score"], said]
