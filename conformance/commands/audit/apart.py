"""The audit of a teacher's file, in a process of its own.

An equation that hangs, or ends the process, is noticed, and the others are judged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from conformance.commands.audit.own import AuditError
from conformance.commands.audit.run import document
from conformance.commands.audit.verdict import not_judged
from conformance.tools.child import Child, ChildError, Limits
from conformance.tools.plain import plain
from conformance.tools.pool import ONE_THREAD

__all__ = ["SECONDS", "audit_file"]

SECONDS = 30.0  # for the file, and for each of its equations in all of the networks


def audit_file(path: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """The audit of a file. Raises `AuditError` where there is nothing to audit."""
    _there_is(path)
    # -P: a json.py where one happens to be is not what the worker means by json
    command = [sys.executable, "-P", "-m", "conformance.commands.audit.worker", str(path)]
    child = Child(command, Limits(seconds), {**ONE_THREAD, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        try:
            listed = _ask(child, ask="equations")
        except ChildError as e:
            raise AuditError(f"{path} cannot be run: {e}. Mend it, and audit it again.") from e
        if "refused" in listed:
            raise AuditError(listed["refused"])
        entries = [_entry(child, i, row) for i, row in enumerate(listed["equations"])]
    finally:
        child.close()
        _hand_on(child)
    return document(path.name, entries, exits=True)


def _there_is(path: Path) -> None:
    """Raises `AuditError` where there is no such file."""
    if path.is_dir():
        raise AuditError(f"cannot read {path}: it is a folder; expected a Python file, NOTES.py.")
    if not path.is_file() or path.suffix != ".py":
        raise AuditError(
            f"cannot read {path}: there is no such file; expected a Python file, NOTES.py."
        )


def _ask(child: Child, **question: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(child.ask(json.dumps(question) + "\n"))
    return answer


def _entry(child: Child, i: int, row: dict[str, Any]) -> dict[str, Any]:
    """One equation, judged; or why it is not."""
    try:
        answer = _ask(child, ask="entry", equation=i)
    except ChildError as e:
        _hand_on(child)
        answer = {"refused": f"{e}, while its function was run"}
    if "entry" in answer:
        found: dict[str, Any] = answer["entry"]
        return found
    why = f"{row['place']}: {answer['refused']}."
    return {**row["entry"], "verdict": vars(not_judged(why))}


def _hand_on(child: Child) -> None:
    """What the file printed, on standard error; the end of it, where it is much."""
    if said := bytes(child.errors).decode("utf-8", "replace"):
        print(plain(said, lines=True), end="", file=sys.stderr)
        child.errors = bytearray()
