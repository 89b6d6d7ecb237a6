"""The audit as a document, as `docs/audit.md` describes it; and what passes between the two processes.

Every text, number and name in it is fit for JSON: the page, the terminal and JSON show it as it is.
"""

from __future__ import annotations

from typing import TypeAlias, TypedDict

__all__ = ["Answer", "Document", "Entry", "Evidence", "Listed", "Numbers", "Read", "Source"]

Numbers: TypeAlias = "int | float | str | list[Numbers] | dict[str, Numbers] | None"
"""A number, a list of rows, or {name: numbers}; text where there are none, or too many of them to show."""


class Read(TypedDict):
    """One matrix that an equation read."""

    name: str
    numbers: Numbers


class Evidence(TypedDict):
    """One try that was wrong, with its numbers."""

    network: str
    words: str
    layer: int
    outcome: str
    message: str
    factor: float | None
    read: list[Read]
    value: str
    got: Numbers
    right: Numbers


class Source(TypedDict):
    """A line of refbp."""

    file: str
    line: int
    text: str


class Entry(TypedDict):
    """One equation."""

    id: str
    where: str
    latex: str
    printed: list[dict[str, str]]
    transcription: str
    equals: str
    only: str
    method: str
    notation: str
    warning: str
    verdict: dict[str, str]
    tries: dict[str, int]
    evidence: list[Evidence]
    corrected_latex: str
    corrected_holds: dict[str, int] | None
    source: Source | None
    erratum: dict[str, str] | None
    note: str


class Document(TypedDict):
    """The whole audit."""

    format: str
    of: str
    exit_code: int
    counts: dict[str, int]
    totals: dict[str, int]
    versions: dict[str, str]
    networks: list[dict[str, str]]
    equations: list[Entry]


class Listed(TypedDict):
    """An equation of a teacher's file before it is run: where it stands, and its entry without a verdict."""

    place: str
    entry: Entry


class Answer(TypedDict, total=False):
    """What the worker answers: `refused` says why not; else what was asked for."""

    refused: str
    equations: list[Listed]
    entry: Entry
