"""Implementations, started: which ones run here, in which arithmetic, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

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
from conformance.judge.abilities import Abilities, abilities
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.load import user_lines
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
    abilities: Abilities | None = None


def row_of(name: str) -> Row:
    """Where the implementation of this name is found. Raises RunError, with the nearest name, if nowhere."""
    found = row(name)
    if found is not None:
        return found
    where = name.rpartition(":")[0] or name
    if not where.endswith(".py") or name.startswith("cmd:"):
        nearest = unknown("implementation", name, [*IMPLEMENTATIONS, *announced()])
        raise RunError(f"{nearest} Or FILE.py, FILE.py:NAME, cmd:PROGRAM.")
    if Path(where).is_file():
        raise RunError(f"implementation {name!r}: expected FILE.py, or FILE.py:NAME.")
    raise RunError(f"implementation {name!r}: there is no file {where}.")


def new_row(name: str) -> ImplementationRow:
    """The row of an implementation that has not run yet."""
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

    `of` is the `token` of an object that was given, so that another object of the same name is started anew.
    """
    whole, new = row_of(name).whole, new_row(name)
    try:
        impl = implementation(name)
        able = abilities(name, impl)
        versions, device = impl.start()
    except NotRunError as e:
        return Started({**new, "reason": str(e)}, None)
    except (Exception, SystemExit) as e:
        return Started(_not_started(new, whole, e), None)
    described = getattr(impl, "description", "") or new["description"]
    new = {**new, "description": described, "versions": dict(versions), "device": device}
    if not probing:
        return Started({**new, "status": "ran"}, impl, able)
    try:
        probes = probe(impl)
    except (Exception, SystemExit) as e:
        if not whole:  # it may leave A out, or not run the probe's networks: the cases will show
            return Started({**new, "status": "ran"}, impl, able)
        return Started({**new, "status": "error", "reason": f"its probe failed: {reason(e)}"}, None)
    wrong = objection(probes) if whole else ""  # for a user's own the cases will show it
    new = {**new, "probes": probes, "status": "error" if wrong else "ran", "reason": wrong}
    return Started(new, None if wrong else impl, able)


def _not_started(row: ImplementationRow, whole: bool, e: BaseException) -> ImplementationRow:
    """The row with the reason: `not-run` for a package that is not installed, `error` for anything else, so
    that a broken installation is never taken for a missing one."""
    missing = not_installed(e)
    if missing and (not whole or missing == IMPLEMENTATIONS[row["name"]].module.rstrip("_")):
        return {**row, "reason": f"{missing} is not installed: {to_install(missing)}."}
    advice = f"; {to_install(missing)}" if missing else ""
    own = [] if whole else user_lines(e)
    at = f" ({own[-1]})" if own else ""
    return {**row, "status": "error", "reason": f"it did not start: {reason(e)}{at}{advice}"}


def started_now(name: str, probing: bool = True) -> Started:
    """`started`, of the object that is given for the name now, if there is one."""
    of = token(name)
    return started(name, probing) if of is None else started(name, probing, of)


def name_of(impl: object) -> str:
    """The name of an implementation. Raises RunError for an object that is none."""
    name = getattr(impl, "name", None)
    if not isinstance(name, str) or not name or not callable(getattr(impl, "run", None)):
        raise RunError(
            f"{impl!r:.80} is no implementation; expected an object with a name and run(problem), "
            "or a string."
        )
    return name
