"""A teacher's own notes: equations in a Python file, by `@equation(…)` or a list EQUATIONS of dicts."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from conformance.commands.audit.compare import kind_of
from conformance.commands.audit.equations import Equation
from conformance.commands.audit.named import nearest
from conformance.tools.files import FileError
from conformance.tools.load import LoadError, load, user_lines

__all__ = ["KEYS", "AuditError", "equation", "read_file"]

_MADE: list[tuple[str, Equation]] = []  # (the module that made it, the equation)

KEYS = ("id", "latex", "equals", "function", "only", "corrected_latex", "where")


class AuditError(FileError):
    """A file that cannot be audited: why, and what to do."""


def equation(
    id: str = "",
    latex: str = "",
    equals: str = "",
    only: str = "",
    corrected_latex: str = "",
    where: str = "",
    **unknown: Any,
) -> Callable[[Any], Any]:
    """Mark a function of one network as an equation of your notes.

    `equals` is what it must equal: `dL_dW_l`, `delta_{l-1}`, `loss`, …; `only` is where your notes say that
    it holds ("n = 1"), and without it, everywhere. The function is left as it is.
    """
    if callable(id):
        raise AuditError(
            f"{_place(id)}: @equation stands without parentheses; expected "
            '@equation(id="…", latex=r"…", equals="…") above the function.'
        )
    given = {"id": id, "latex": latex, "equals": equals, "only": only, "where": where}

    def mark(function: Any) -> Any:
        all_ = {**given, "corrected_latex": corrected_latex, "function": function, **unknown}
        row = _row(all_, _place(function) or "@equation(…)")
        _MADE.append((str(getattr(function, "__module__", "")), row))
        return function

    return mark


def _place(function: Any) -> str:
    """my_notes.py:12, where a function begins; "" where that is not known."""
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else ""


def _row(given: Mapping[str, Any], place: str) -> Equation:
    """One equation. Raises `AuditError` where it is not described as one is; the rest its verdict says."""
    for key in given:
        if key not in KEYS:  # a misspelt "only" would turn the verdict
            raise AuditError(
                f"{place} has the key {key!r}; expected of {', '.join(KEYS)}.{nearest(str(key), KEYS)}"
            )
    text: dict[str, Any] = {key: given.get(key) or "" for key in KEYS if key != "function"}
    for key, said in text.items():
        if not isinstance(said, str):
            raise AuditError(f"{place}: {key} is {kind_of(said)}, {said!r}; expected text.")
    if not text["id"].strip():
        raise AuditError(f'{place}: there is no id; expected id="…", a name of its own.')
    function = given.get("function")
    return Equation(
        printed=cast("Any", function),  # whatever it is, its verdict says
        shown=function,
        place=_place(function) or place,
        **text,
    )


def read_file(path: Path) -> list[Equation]:
    """What the file marks, and then what it lists; each id once. Raises `AuditError`."""
    space = _space(path)
    listed = space.get("EQUATIONS", [])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(r, Mapping) for r in listed):
        raise AuditError(
            f"EQUATIONS of {path} is no list of dicts; expected one dict an equation, with the keys "
            f"{', '.join(KEYS)}."
        )
    found = [row for module, row in _MADE if module == space["__name__"]]
    found += [_row(given, f"EQUATIONS[{i}] of {path.name}") for i, given in enumerate(listed)]
    if not found:
        raise AuditError(
            f"{path} has no equation; expected functions under @equation(…) from conformance, or a "
            "list EQUATIONS."
        )
    _no_id_twice(path, found)
    return [_assuming(row, space.get("ONLY", ""), path) for row in found]


def _assuming(row: Equation, only: Any, path: Path) -> Equation:
    """A row, asked where the whole of the notes is."""
    if not isinstance(only, str):
        raise AuditError(
            f"ONLY of {path} is {kind_of(only)}; expected text, what all of its equations assume: "
            'ONLY = "the squared error".'
        )
    return replace(row, only=" and ".join(said for said in (only, row.only) if said.strip()))


def _no_id_twice(path: Path, rows: list[Equation]) -> None:
    seen: dict[str, Equation] = {}
    for row in rows:
        if row.id in seen:
            places = " and ".join(dict.fromkeys((seen[row.id].place, row.place)))
            raise AuditError(
                f"{path} has two equations {row.id!r}, at {places}; expected an id of its own for each."
            )
        seen[row.id] = row


def _space(path: Path) -> dict[str, Any]:
    """The names of the file, once it has run."""
    try:
        with redirect_stdout(sys.stderr):
            space: dict[str, Any] = load(f"{path}:__dict__")
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
    return space
