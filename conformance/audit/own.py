"""A teacher's own notes: equations in a Python file, by `@equation(…)` or a list EQUATIONS of dicts.

The file is run in this process, as Python runs any file: it is trusted.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

from conformance.audit.equations import Equation
from conformance.audit.run import document, entry
from conformance.load import LoadError, load, user_lines
from conformance.results import ResultsError

__all__ = ["AuditError", "audit_file", "equation"]

_MADE: list[tuple[str, Equation]] = []  # (the module that made it, the equation)

KEYS = ("id", "latex", "equals", "function", "only", "corrected_latex", "where")


class AuditError(ResultsError):
    """A file that cannot be audited: why, and what to do."""


def equation(
    id: str,
    latex: str,
    equals: str,
    only: str = "",
    corrected_latex: str = "",
    where: str = "",
) -> Callable[[Any], Any]:
    """Mark a function of one network as an equation of your notes.

    `equals` is what it must equal: `dL_dW_l`, `delta_{l-1}`, `loss`, …; `only` is where your notes say that
    it holds ("n = 1"), and without it, everywhere. The function is left as it is.
    """

    def mark(function: Any) -> Any:
        module = getattr(function, "__module__", "")
        row = _row(
            {"id": id, "latex": latex, "equals": equals, "function": function, "only": only}
            | {"corrected_latex": corrected_latex, "where": where}
        )
        _MADE.append((str(module), row))
        return function

    return mark


def _row(given: Mapping[str, Any]) -> Equation:
    """One equation, whatever was given: what is missing is said in its verdict."""
    text = {key: str(given.get(key) or "") for key in KEYS if key != "function"}
    function = given.get("function")
    return Equation(
        id=text["id"] or "without an id",
        latex=text["latex"],
        printed=cast("Any", function),  # whatever it is, its verdict says
        equals=text["equals"],
        only=text["only"],
        where=text["where"],
        corrected_latex=text["corrected_latex"],
        shown=function,
    )


def audit_file(path: Path) -> dict[str, Any]:
    """The audit of a file. Raises `AuditError` where there is nothing to audit."""
    found = _equations(path)
    return document(path.name, [entry(row) for row in found], exits=True)


def _equations(path: Path) -> list[Equation]:
    """What the file marks, and then what it lists; each id once."""
    space = _space(path)
    listed = space.get("EQUATIONS", [])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(r, Mapping) for r in listed):
        raise AuditError(
            f"EQUATIONS of {path} is no list of dicts; expected one dict an equation, with the keys "
            f"{', '.join(KEYS)}."
        )
    for i, row in enumerate(listed):
        _known_keys(path, i, row)
    found = [row for module, row in _MADE if module == space["__name__"]] + [
        _row(r) for r in listed
    ]
    if not found:
        raise AuditError(
            f"{path} has no equation; expected functions under @equation(…) from conformance.audit, or a "
            "list EQUATIONS."
        )
    _no_id_twice(path, found)
    return found


def _known_keys(path: Path, i: int, row: Mapping[str, Any]) -> None:
    """Raises AuditError for a key that is none: a misspelt "only" would turn the verdict."""
    for key in row:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise AuditError(
                f"EQUATIONS[{i}] of {path} has the key {key!r}; expected of {', '.join(KEYS)}.{hint}"
            )


def _no_id_twice(path: Path, rows: list[Equation]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise AuditError(
                f"{path} has two equations {row.id!r}; expected an id of its own for each."
            )
        seen.add(row.id)


def _space(path: Path) -> dict[str, Any]:
    """The names of the file, once it has run."""
    if path.is_dir():
        raise AuditError(f"cannot read {path}: it is a folder; expected a Python file, NOTES.py.")
    if not path.is_file() or path.suffix != ".py":
        raise AuditError(
            f"cannot read {path}: there is no such file; expected a Python file, NOTES.py."
        )
    try:
        with redirect_stdout(sys.stderr):
            space: dict[str, Any] = load(f"{path}:__dict__")
    except LoadError as e:
        raise AuditError(str(e)) from e
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        lines = user_lines(e)
        where = f" at {lines[-1]}" if lines else ""
        raise AuditError(
            f"{path} cannot be run: it raises {type(e).__name__}: {e}{where}. Mend it, and audit it again."
        ) from e
    return space
