"""Reads a teacher's file: its equations are functions under `@equation(…)`, or a list EQUATIONS of dicts."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from conformance.commands.audit.compare import kind_of
from conformance.commands.audit.equations import Equation, Form
from conformance.commands.audit.named import nearest
from conformance.tools.files import FileError
from conformance.tools.load import LoadError, load, user_lines

__all__ = ["KEYS", "AuditError", "equation", "read_file"]

F = TypeVar(
    "F"
)  # whatever is decorated: what is no function gets its verdict, and no exception here

_MADE: list[
    tuple[str, Equation]
] = []  # every equation that a decorator made, after its module's name

TEXTS = ("id", "latex", "equals", "only", "corrected_latex", "where", "method", "notation")
KEYS = (*TEXTS, "function", "given")


class AuditError(FileError):
    """A file that cannot be audited: why, and what to do."""


def equation(
    id: str = "",
    latex: str = "",
    equals: str = "",
    only: str = "",
    corrected_latex: str = "",
    where: str = "",
    method: str = "",
    given: Mapping[str, float] | None = None,
    notation: str = "",
    **unknown: object,
) -> Callable[[F], F]:
    """Mark a function of one network as an equation of your notes.

    `equals` is what it must equal: `dL_dW_l`, `delta_{l-1}`, `loss`, …; `only` is where your notes say that
    it holds ("n = 1"), and without it, everywhere. `method` declares what it is about beside plain gradient
    descent ("momentum"), and `given` the numbers of it that your notes fix ({"beta": 0.9}). `notation` says
    how it is meant, where it is no claim about numbers. The function is left as it is.
    """
    if callable(id):
        raise AuditError(
            f"{_place(id)}: @equation stands without parentheses; expected "
            '@equation(id="…", latex=r"…", equals="…") above the function.'
        )
    values: dict[str, object] = {
        "id": id, "latex": latex, "equals": equals, "only": only, "where": where,
        "corrected_latex": corrected_latex, "method": method, "given": given, "notation": notation,
        **unknown,
    }  # fmt: skip

    def mark(function: F) -> F:
        row = _row({"function": function, **values}, _place(function) or "@equation(…)")
        _MADE.append((str(getattr(function, "__module__", "")), row))
        return function

    return mark


def _place(function: object) -> str:
    """The file and line where a function begins, as my_notes.py:12; "" where they are not known."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else ""


def _row(given: Mapping[str, object], place: str) -> Equation:
    """One equation. Raises `AuditError` for an unknown key, a text that is none, or no id.

    Anything else that is wrong with it, its function included, becomes its verdict.
    """
    for key in given:
        if key not in KEYS:  # a misspelt "only" would change the verdict
            raise AuditError(
                f"{place} has the key {key!r}; expected of {', '.join(KEYS)}.{nearest(str(key), KEYS)}"
            )
    text = {key: given.get(key) or "" for key in TEXTS}
    for key, value in text.items():
        if not isinstance(value, str):
            raise AuditError(f"{place}: {key} is {kind_of(value)}, {value!r}; expected text.")
    if not str(text["id"]).strip():
        raise AuditError(f'{place}: there is no id; expected id="…", a name of its own.')
    function = cast("Form", given.get("function"))  # `run` looks whether it is one
    row: dict[str, Any] = {"printed": function, "shown": function, **text}
    return Equation(place=_place(function) or place, given=_given(given.get("given"), place), **row)


def _given(numbers: object, place: str) -> tuple[tuple[str, float], ...]:
    """The numbers that an equation fixes. Raises `AuditError`; `run` looks whether its method has them."""
    numbers = {} if numbers is None else numbers
    if not isinstance(numbers, Mapping) or not all(
        isinstance(name, str) and isinstance(x, (int, float)) and not isinstance(x, bool)
        for name, x in numbers.items()
    ):
        raise AuditError(
            f'{place}: given is {numbers!r}; expected numbers by name, given={{"beta": 0.9}}.'
        )
    return tuple(numbers.items())


def read_file(path: Path) -> list[Equation]:
    """The equations that the file marks, then those that it lists. Raises `AuditError`: there are none, or
    two have one id, or the file cannot be run."""
    names = _names(path)
    listed = names.get("EQUATIONS", [])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(r, Mapping) for r in listed):
        raise AuditError(
            f"EQUATIONS of {path} is no list of dicts; expected one dict an equation, with the keys "
            f"{', '.join(KEYS)}."
        )
    rows = [row for module, row in _MADE if module == names["__name__"]]
    rows += [_row(given, f"EQUATIONS[{i}] of {path.name}") for i, given in enumerate(listed)]
    if not rows:
        raise AuditError(
            f"{path} has no equation; expected functions under @equation(…) from conformance, or a "
            "list EQUATIONS."
        )
    _no_id_twice(path, rows)
    return [_assuming(row, names.get("ONLY", ""), path) for row in rows]


def _assuming(row: Equation, only: object, path: Path) -> Equation:
    """A row that holds only where ONLY does too, which the file says of all of its equations."""
    if not isinstance(only, str):
        raise AuditError(
            f"ONLY of {path} is {kind_of(only)}; expected text, what all of its equations assume: "
            'ONLY = "the squared error".'
        )
    return replace(row, only=" and ".join(claim for claim in (only, row.only) if claim.strip()))


def _no_id_twice(path: Path, rows: list[Equation]) -> None:
    seen: dict[str, Equation] = {}
    for row in rows:
        if row.id in seen:
            places = " and ".join(dict.fromkeys((seen[row.id].place, row.place)))
            raise AuditError(
                f"{path} has two equations {row.id!r}, at {places}; expected an id of its own for each."
            )
        seen[row.id] = row


def _names(path: Path) -> dict[str, object]:
    """Run the file: what its global names are bound to."""
    try:
        with redirect_stdout(sys.stderr):
            names: dict[str, object] = load(f"{path}:__dict__")
    except LoadError as e:
        raise AuditError(str(e)) from e
    except AuditError:
        raise
    except BaseException as e:
        lines = user_lines(e)
        where = f" at {lines[-1]}" if lines else ""
        raise AuditError(
            f"{path} cannot be run: it raises {type(e).__name__}: {e}{where}. Mend it, and audit it again."
        ) from e
    return names
