"""Files that people write by hand, in TOML, strictly read: what does not fit is said with its place.

A check takes a value and returns it as it is wanted, or raises `UnfitError`; a `Reader` knows where in its
file a field stands, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.tools.names import unknown
from conformance.tools.toml_text import Places

__all__ = [
    "Fields",
    "Reader",
    "UnfitError",
    "as_it_is",
    "flag",
    "number",
    "one_of",
    "stray",
    "string",
    "text",
    "told",
]

Fields = Mapping[str, Callable[[Any], Any]]


class UnfitError(ValueError):
    """What was expected of a value; where it stands is added by whoever knows."""


def told(x: Any) -> str:
    """A value as TOML has it, cut short."""
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, list):
        whole = f"[{', '.join(map(told, x[:30]))}]"
        return whole if len(whole) <= 60 else f"{whole[:59]}…"
    if hasattr(x, "isoformat"):
        return str(x)
    try:
        return f"{x!r:.60}"
    except ValueError:  # Python writes no integer of thousands of digits
        return "a whole number of thousands of digits"


def text(most: int | None = None) -> Callable[[Any], str]:
    """A check that it is a text that is not empty, nor longer than that."""

    def check(x: Any) -> str:
        if not isinstance(x, str) or not x.strip():
            raise UnfitError(f"is {told(x)}; expected a text in quotes.")
        if most is not None and len(x) > most:
            raise UnfitError(f"has {len(x):,} characters; expected {most:,} at most.")
        return x

    return check


string = text()


def flag(x: Any) -> bool:
    """True or false."""
    if not isinstance(x, bool):
        raise UnfitError(f"is {told(x)}; expected true or false.")
    return x


def number(least: float, most: float, whole: bool = False) -> Callable[[Any], Any]:
    """A check that it is a number in a range."""
    what = "a whole number" if whole else "a number"
    end = f"{most:g}" if float(f"{most:g}") == most else f"{most:.10g}"

    def check(x: Any) -> Any:
        fits = isinstance(x, int if whole else (int, float)) and not isinstance(x, bool)
        if not fits or not least <= x <= most:
            quotes = ", without quotes" if isinstance(x, str) else ""
            raise UnfitError(f"is {told(x)}; expected {what} from {least:g} to {end}{quotes}.")
        return x if whole else float(x)

    return check


def one_of(kind: str, among: Sequence[str], **same: str) -> Callable[[Any], str]:
    """A check that it is one of those; `same` is what others call them."""

    def check(x: Any) -> str:
        if not isinstance(x, str):
            raise UnfitError(f"is {told(x)}; expected, in quotes, one of {', '.join(among)}.")
        if x not in among:
            raise UnfitError(stray(kind, x, among, same))
        return x

    return check


def stray(kind: str, name: str, among: Sequence[str], same: Mapping[str, str]) -> str:
    """“is an unknown …”, with what is meant, or else the name that is written most alike."""
    meant = {_plain(n): n for n in among}.get(_plain(name)) or same.get(_plain(name))
    if meant in among:
        return f"is an unknown {kind} {name[:60]!r}. Did you mean {meant!r}?"
    return f"is an {unknown(kind, name[:60], among)}"


def _plain(name: str) -> str:
    """A name without what people write differently."""
    return re.sub(r"[\W_]", "", name).casefold()


def as_it_is(x: Any) -> Any:
    """Looked at by whoever knows it."""
    return x


class Reader:
    """One file, and where in it each field stands."""

    def __init__(self, name: str, text: str, error: type[ValueError]) -> None:
        self.name, self.error, self.places = name, error, Places(text)

    def fail(self, table: str, field: str, what: str) -> ValueError:
        """The file, the line, and the field."""
        at = f"{self.name}, line {self.places.line(table, field)}"
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
