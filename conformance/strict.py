"""Files that people write by hand, in TOML, strictly read: what does not fit is said with its place.

A check takes a value and returns it as it is wanted, or raises `UnfitError`; a `Reader` knows where in its
file a field stands, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.cases import unknown

__all__ = [
    "Fields",
    "Reader",
    "UnfitError",
    "as_it_is",
    "flag",
    "number",
    "one_of",
    "string",
    "told",
]

Fields = Mapping[str, Callable[[Any], Any]]


class UnfitError(ValueError):
    """What was expected of a value; where it stands is added by whoever knows."""


def told(x: Any) -> str:
    """A value as Python writes it, cut short; it refuses an integer of thousands of digits."""
    try:
        return f"{x!r:.60}"
    except ValueError:
        return "a whole number of thousands of digits"


def string(x: Any) -> str:
    """A text that is not empty."""
    if not isinstance(x, str) or not x.strip():
        raise UnfitError(f"is {told(x)}; expected a text in quotes.")
    return x


def flag(x: Any) -> bool:
    """True or false."""
    if not isinstance(x, bool):
        raise UnfitError(f"is {told(x)}; expected true or false.")
    return x


def number(least: float, most: float, whole: bool = False) -> Callable[[Any], Any]:
    """A check that it is a number in a range."""
    what = "a whole number" if whole else "a number"

    def check(x: Any) -> Any:
        fits = isinstance(x, int if whole else (int, float)) and not isinstance(x, bool)
        if not fits or not least <= x <= most:
            raise UnfitError(f"is {told(x)}; expected {what} from {least:g} to {most:g}.")
        return x if whole else float(x)

    return check


def one_of(kind: str, among: Sequence[str]) -> Callable[[Any], str]:
    """A check that it is one of those."""

    def check(x: Any) -> str:
        if not isinstance(x, str):
            raise UnfitError(f"is {told(x)}; expected one of {', '.join(among)}.")
        if x not in among:
            raise UnfitError(f"is an {unknown(kind, x[:60], among)}")
        return x

    return check


def as_it_is(x: Any) -> Any:
    """Looked at by whoever knows it."""
    return x


class Reader:
    """One file. `line(lines, table, field)` is where a field stands in it, 0 for nowhere found."""

    def __init__(
        self,
        name: str,
        text: str,
        error: type[ValueError],
        line: Callable[[Sequence[str], str, str], int],
    ) -> None:
        self.name, self.lines, self.error, self.line = name, text.splitlines(), error, line

    def fail(self, table: str, field: str, what: str) -> ValueError:
        """The file, the line if it can be told, and the field."""
        line = self.line(self.lines, table, field)
        at = f"{self.name}, line {line}" if line else self.name
        where = f"{table}.{field}" if table and field else table or field
        return self.error(f"{at}: {where} {what}")

    def fields(
        self, table: str, said: Any, known: Fields, needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values of a table, each checked. Raises the reader's error."""
        if not isinstance(said, dict):
            name, _, field = table.rpartition(".")
            raise self.fail(name, field or table, f"is {told(said)}; expected a table of fields.")
        for field in said:
            if field not in known:
                raise self.fail(table, field[:60], f"is an {unknown('field', field[:60], known)}")
        for field in needed:
            if field not in said:
                raise self.fail(table, field, "is missing; expected it here.")
        return {field: self._value(table, field, known[field], x) for field, x in said.items()}

    def _value(self, table: str, field: str, check: Callable[[Any], Any], x: Any) -> Any:
        try:
            return check(x)
        except UnfitError as e:
            raise self.fail(table, field, str(e)) from e
