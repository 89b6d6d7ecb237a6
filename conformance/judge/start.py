"""Implementations, started: what runs here, in which arithmetic, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conformance.implementations import (
    IMPLEMENTATIONS,
    Implementation,
    NotRunError,
    Row,
    announced,
    implementation,
    row,
    token,
)
from conformance.implementations.probes import objection, probe
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.names import unknown
from conformance.tools.trouble import RefusedError, not_installed, reason, to_install

__all__ = ["RunError", "Started", "name_of", "new_row", "row_of", "started", "started_now"]


class RunError(RefusedError):
    """The run cannot start: what was asked for, and what there is."""


@dataclass(frozen=True)
class Started:
    """An implementation that is ready, or the reason why it is not."""

    row: ImplementationRow
    ready: Implementation | None


def row_of(name: str) -> Row:
    """What is meant by a name. Raises RunError, with the nearest there is."""
    found = row(name)
    if found is None:
        where = name.rpartition(":")[0] or name
        if where.endswith(".py") and not name.startswith("cmd:"):
            if Path(where).is_file():
                raise RunError(f"implementation {name!r}: expected FILE.py, or FILE.py:NAME.")
            raise RunError(f"implementation {name!r}: there is no file {where}.")
        raise RunError(
            unknown("implementation", name, [*IMPLEMENTATIONS, *announced()])
            + " Or FILE.py, FILE.py:NAME, cmd:PROGRAM."
        )
    return found


def new_row(name: str) -> ImplementationRow:
    return ImplementationRow(
        name=name,
        description=row_of(name).description,
        status="not-run",
        reason="",
        versions={},
        device="",
        dtypes=["float64", "float32"],
        cases=0,
        probes={},
    )


@cache
def started(name: str, probing: bool = True, of: object = None) -> Started:
    """Start an implementation in this process, once, and probe what arithmetic it computes in.

    `of` is its `token`: an object that was given is started for itself.
    """
    whole, new = row_of(name).whole, new_row(name)
    try:
        impl = implementation(name)
        versions, device = impl.start()
    except NotRunError as e:
        return Started({**new, "reason": str(e)}, None)
    except (Exception, SystemExit) as e:
        return Started({**new, **_why_not(name, whole, e)}, None)
    described = getattr(impl, "description", "") or new["description"]
    new = {**new, "description": described, "versions": dict(versions), "device": device}
    if not probing:
        return Started({**new, "status": "ran"}, impl)
    try:
        found = probe(impl)
    except (Exception, SystemExit) as e:
        if not whole:  # it may leave A out, or do no networks like the probe's: the cases will show
            return Started({**new, "status": "ran"}, impl)
        return Started({**new, "status": "error", "reason": f"its probe failed: {reason(e)}"}, None)
    wrong = objection(found) if whole else ""  # of somebody's own the cases will show it
    new = {**new, "probes": found, "status": "error" if wrong else "ran", "reason": wrong}
    return Started(new, None if wrong else impl)


def _why_not(name: str, whole: bool, e: BaseException) -> Any:
    """What is not installed is not run. What is there and does not start is an error, and never green."""
    missing = not_installed(e)
    if missing and (not whole or missing == IMPLEMENTATIONS[name].module.rstrip("_")):
        return {"reason": f"{missing} is not installed: {to_install(missing)}."}
    advice = f"; {to_install(missing)}" if missing else ""
    return {"status": "error", "reason": f"it did not start: {reason(e)}{advice}"}


def started_now(name: str, probing: bool = True) -> Started:
    """The same, of the object that is given for the name now."""
    of = token(name)
    return started(name, probing) if of is None else started(name, probing, of)


def name_of(impl: Any) -> str:
    """Its name. Raises RunError where it is no implementation."""
    name = getattr(impl, "name", None)
    if not isinstance(name, str) or not name or not callable(getattr(impl, "run", None)):
        raise RunError(
            f"{impl!r:.80} is no implementation; expected an object with a name and run(problem), "
            "or a string."
        )
    return name
