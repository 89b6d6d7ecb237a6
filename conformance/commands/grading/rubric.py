"""The rubric, a strictly read TOML file: the quantities asked for, on which networks, for what points."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from conformance.cases.catalogue import Case, CaseError
from conformance.cases.profiles import cases, select
from conformance.model.problem import QUANTITIES
from conformance.tools.names import unknown
from conformance.tools.toml import (
    Fields,
    Reader,
    UnfitError,
    as_it_is,
    flag,
    number,
    one_of,
    string,
)
from conformance.tools.toml_text import parsed
from conformance.tools.trouble import RefusedError
from conformance.truth.definitions import ROW_WISE

__all__ = ["ALLOWABLE", "GATES", "HINTS", "VISIBILITIES", "Rubric", "RubricError", "Test", "read"]

HINTS = ("none", "where", "what")
GATES = ("step", "end-to-end")
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")  # Gradescope's
ALLOWABLE = (
    *("torch", "jax", "jaxlib", "autograd", "tensorflow", "tinygrad"),
    *("matplotlib", "pandas", "scipy"),  # not there otherwise
)

Table = Mapping[str, Any]
"""The checked values of a table: the `Fields` below say which type each has."""


class RubricError(RefusedError):
    """What is wrong with a rubric: the file, the line, the field, and what was expected there."""


@dataclass(frozen=True)
class Test:
    """A row of the grade: some quantities, on some networks, for some points."""

    name: str
    quantities: tuple[str, ...]
    points: float
    cases: tuple[Case, ...]
    gate: str = "step"
    visibility: str = "visible"
    all_or_nothing: bool = False


@dataclass(frozen=True)
class Rubric:
    """What a submission is graded by."""

    title: str
    file: str
    tests: tuple[Test, ...]
    allow: tuple[str, ...] = ()
    hints: str = "where"
    seconds: float = 5.0
    total_seconds: float = 60.0
    memory_mib: int = 2048
    text: str = ""  # the file's own text

    @property
    def points(self) -> float:
        """The points of all tests together."""
        return math.fsum(t.points for t in self.tests)


# --- values ---------------------------------------------------------------------------------------


def _file_name(x: object) -> str:
    if not isinstance(x, str) or not re.fullmatch(r"[\w.\-]+\.py", x):
        raise UnfitError(f'is {x!r:.60}; expected the name of a file, such as "student.py".')
    return x


def _list_of(
    check: Callable[[object], str], empty: bool = False
) -> Callable[[object], tuple[str, ...]]:
    """A check that a value is a list, with no entry twice, and of each of its entries."""

    def every(x: object) -> tuple[str, ...]:
        if not isinstance(x, list) or not (x or empty):
            raise UnfitError(f"is {x!r:.60}; expected a list in brackets, such as ['A', 'Z'].")
        if len(set(map(str, x))) < len(x):
            raise UnfitError(f"is {x!r:.60}; expected each of them once.")
        return tuple(check(one) for one in x)

    return every


# --- fields ---------------------------------------------------------------------------------------

CASES: Fields = {
    "profile": string,
    "select": string,
    "ids": _list_of(string),
    "row_wise": flag,
}
TEST: Fields = {
    "name": string,
    "quantities": _list_of(one_of("quantity", QUANTITIES)),
    "points": number(0, 1e6),
    "cases": as_it_is,
    "gate": one_of("gate", GATES),
    "visibility": one_of("visibility", VISIBILITIES),
    "all_or_nothing": flag,
}
LIMITS: Fields = {
    "seconds": number(0.1, 3600),
    "total_seconds": number(0.1, 36000),
    "memory_mib": number(256, 2**20, whole=True),
}
RUBRIC: Fields = {
    "title": string,
    "file": _file_name,
    "gate": one_of("gate", GATES),
    "allow": _list_of(one_of("import", ALLOWABLE), empty=True),
    "cases": as_it_is,
    "limits": as_it_is,
    "hints": as_it_is,
    "tests": as_it_is,
}
HINT: Fields = {"default": one_of("kind of hint", HINTS)}


# --- the whole ------------------------------------------------------------------------------------


def read(path: str | Path | None = None) -> Rubric:
    """The rubric of a file, or the one that comes with the package. Raises RubricError."""
    name = str(path) if path else "default.toml"
    try:
        source = Path(path) if path else files(__package__) / "default.toml"
        text = source.read_text(encoding="utf-8")
    except OSError as e:
        raise RubricError(
            f"cannot read {name}: {e.strerror or e}; expected a rubric, a TOML file."
        ) from e
    except UnicodeDecodeError as e:
        raise RubricError(f"cannot read {name}: it is not UTF-8 text ({e.reason}).") from e
    table = parsed(name, text, RubricError, "[[tests]]")
    return _rubric(Reader(name, text, RubricError), table, text)


def _rubric(reader: Reader, table: Table, text: str) -> Rubric:
    values = reader.fields("", table, RUBRIC, ["tests"])
    limits = reader.fields("limits", values.get("limits", {}), LIMITS)
    hints = reader.fields("hints", values.get("hints", {}), HINT)
    rows = values["tests"]
    if not isinstance(rows, list) or not rows:
        raise reader.fail("", "tests", "is no list of tables; expected one [[tests]] at least.")
    given = values.get("cases", _default_cases() if "cases" not in table else None)
    every_own = all(isinstance(row, dict) and "cases" in row for row in rows)
    shared = () if every_own else _cases(reader, "cases", given)
    gate = values.get("gate", "step")
    tests = [_test(reader, f"tests[{i}]", row, shared, gate) for i, row in enumerate(rows, start=1)]
    _distinct(reader, tests)
    return Rubric(
        title=values.get("title", "Backpropagation"),
        file=values.get("file", "student.py"),
        tests=tuple(tests),
        allow=values.get("allow", ()),
        hints=hints.get("default", "where"),
        text=text,
        **limits,
    )


def _default_cases() -> object:
    """The networks of the rubric that comes with the package."""
    text = (files(__package__) / "default.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["cases"]


def _test(reader: Reader, table: str, row: object, shared: tuple[Case, ...], gate: str) -> Test:
    values = dict(reader.fields(table, row, TEST, ["quantities", "points"]))
    if "cases" in values:
        values["cases"] = _cases(reader, f"{table}.cases", values["cases"])
    name = ", ".join(values["quantities"])
    return Test(**{"name": name, "cases": shared, "gate": gate, **values})


def _distinct(reader: Reader, tests: Sequence[Test]) -> None:
    """Raises the reader's error if two tests have one name, or all of them together no points."""
    names = [t.name for t in tests]
    for i, name in enumerate(names, start=1):
        if name in names[: i - 1]:
            raise reader.fail(f"tests[{i}]", "name", f"is {name!r:.60} again; expected another.")
    if not any(t.points for t in tests):
        raise reader.fail("", "tests", "have no points together; expected more than 0.")


def _cases(reader: Reader, table: str, value: object) -> tuple[Case, ...]:
    """The networks by id, or those selected from a profile, the smallest first; with a row-wise σ only if
    `row_wise` is true. Raises the reader's error where none is left."""
    values = reader.fields(table, value, CASES)
    if "ids" in values and len(values) > ("row_wise" in values) + 1:
        raise reader.fail(
            table, "ids", "stands beside profile or select; expected one or the other."
        )
    chosen = (
        _by_id(reader, table, values["ids"])
        if "ids" in values
        else _selected(reader, table, values)
    )
    kept = [
        c for c in chosen if values.get("row_wise") or not set(ROW_WISE) & set(c.sigma().values())
    ]
    if not kept:
        raise reader.fail(
            table, "ids" if "ids" in values else "select",
            "leaves no network: σ of all of them is row-wise; expected row_wise = true, or others.",
        )  # fmt: skip
    return tuple(sorted(kept, key=lambda c: (c.depth, c.batch, sum(c.widths), c.id)))


@cache
def _every() -> Mapping[str, Case]:
    return {c.id: c for c in cases("exhaustive")}


def _by_id(reader: Reader, table: str, ids: Sequence[str]) -> list[Case]:
    for i in ids:
        if i not in _every():
            raise reader.fail(table, "ids", f"has an {unknown('case', i, _every())}")
    return [_every()[i] for i in ids]


def _selected(reader: Reader, table: str, values: Table) -> list[Case]:
    field = "profile"
    try:
        of = cases(values.get("profile", "quick"))
        field = "select"
        return select(of, values.get("select", "dtype=float64"))
    except CaseError as e:
        raise reader.fail(table, field, f"chooses nothing: {e}") from e
