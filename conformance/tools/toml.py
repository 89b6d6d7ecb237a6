"""Reads TOML files that people write by hand, strictly: an error names its line and field.

A check takes a value and returns it, converted where needed, or raises `UnfitError`; a `Reader` applies
checks to the fields of a file, and adds the field's place in the file to the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

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
"""The check of each field, which turns the value in TOML into the value that is wanted."""
T = TypeVar("T")


class UnfitError(ValueError):
    """What a value is and what was expected; a `Reader` adds its place in the file."""


def told(x: object) -> str:
    """A value as TOML writes it, cut short."""
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, list):
        whole = f"[{', '.join(map(told, x[:30]))}]"
        return whole if len(whole) <= 60 else f"{whole[:59]}…"
    if hasattr(x, "isoformat"):
        return str(x)
    try:
        return f"{x!r:.60}"
    except ValueError:  # Python refuses to write so many digits
        return "a whole number of thousands of digits"


def text(most: int | None = None) -> Callable[[object], str]:
    """A check for a text that is not empty, and has at most so many characters."""

    def check(x: object) -> str:
        if not isinstance(x, str) or not x.strip():
            raise UnfitError(f"is {told(x)}; expected a text in quotes.")
        if most is not None and len(x) > most:
            raise UnfitError(f"has {len(x):,} characters; expected {most:,} at most.")
        return x

    return check


string = text()


def flag(x: object) -> bool:
    """A check for true or false."""
    if not isinstance(x, bool):
        raise UnfitError(f"is {told(x)}; expected true or false.")
    return x


def number(least: float, most: float, whole: bool = False) -> Callable[[object], float]:
    """A check for a number in a range; a whole one is returned as an int, any other as a float."""
    kinds = int if whole else (int, float)
    what = "a whole number" if whole else "a number"
    end = f"{most:g}" if float(f"{most:g}") == most else f"{most:.10g}"

    def check(x: object) -> float:
        if not isinstance(x, kinds) or isinstance(x, bool) or not least <= x <= most:
            quotes = ", without quotes" if isinstance(x, str) else ""
            raise UnfitError(f"is {told(x)}; expected {what} from {least:g} to {end}{quotes}.")
        return x if whole else float(x)

    return check


def one_of(kind: str, among: Sequence[str], **same: str) -> Callable[[object], str]:
    """A check for one of these names; `same` has other names that people use for them."""

    def check(x: object) -> str:
        if not isinstance(x, str):
            raise UnfitError(f"is {told(x)}; expected, in quotes, one of {', '.join(among)}.")
        if x not in among:
            raise UnfitError(stray(kind, x, among, same))
        return x

    return check


def stray(kind: str, name: str, among: Sequence[str], same: Mapping[str, str]) -> str:
    """“is an unknown …”, with the name that is meant, or else the one that is spelt most alike."""
    meant = {_plain(n): n for n in among}.get(_plain(name)) or same.get(_plain(name))
    if meant in among:
        return f"is an unknown {kind} {name[:60]!r}. Did you mean {meant!r}?"
    return f"is an {unknown(kind, name[:60], among)}"


def _plain(name: str) -> str:
    """A name without its spaces, hyphens and capitals, which people write differently."""
    return re.sub(r"[\W_]", "", name).casefold()


def as_it_is(x: T) -> T:
    """No check: the caller looks at the value itself."""
    return x


class Reader:
    """One file, and the line of each of its fields."""

    def __init__(self, name: str, text: str, error: type[ValueError]) -> None:
        self.name, self.error, self.places = name, error, Places(text)

    def fail(self, table: str, field: str, what: str) -> ValueError:
        """The error that names the file, the line and the field."""
        at = f"{self.name}, line {self.places.line(table, field)}"
        where = f"{table}.{field}" if table and field else table or field
        return self.error(f"{at}: {where} {what}")

    def fields(
        self, table: str, values: object, known: Fields, needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values of a table, each checked. Raises the reader's error."""
        if not isinstance(values, dict):
            name, _, field = table.rpartition(".")
            raise self.fail(name, field or table, f"is {told(values)}; expected a table of fields.")
        for field in values:
            if field not in known:
                raise self.fail(table, field[:60], f"is an {unknown('field', field[:60], known)}")
        for field in needed:
            if field not in values:
                raise self.fail(table, field, "is missing; expected it here.")
        checked = {}
        for field, x in values.items():
            try:
                checked[field] = known[field](x)
            except UnfitError as e:
                raise self.fail(table, field, str(e)) from e
        return checked
