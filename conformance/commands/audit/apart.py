"""The audit of a teacher's file, which a worker process runs (`worker.py`).

An equation that hangs, or ends that process, is reported as not judged; the others are judged in a new one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conformance.commands.audit.document import Answer, Document, Entry, Listed
from conformance.commands.audit.own import AuditError
from conformance.commands.audit.run import document
from conformance.commands.audit.verdict import not_judged
from conformance.tools.child import Child, ChildError, Limits
from conformance.tools.plain import plain
from conformance.tools.pool import ONE_THREAD

__all__ = ["SECONDS", "audit_file"]

SECONDS = 30.0  # for the file, and for each of its equations in all of the networks


def audit_file(path: Path, seconds: float = SECONDS) -> Document:
    """The audit of a file. Raises `AuditError` where there is nothing to audit."""
    _must_be_a_file(path)
    # -P: a json.py where one happens to be is not what the worker means by json
    command = [sys.executable, "-P", "-m", "conformance.commands.audit.worker", str(path)]
    child = Child(command, Limits(seconds), {**ONE_THREAD, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        try:
            answer = _ask(child, None)
        except ChildError as e:
            raise AuditError(f"{path} cannot be run: {e}. Mend it, and audit it again.") from e
        if "refused" in answer:
            raise AuditError(answer["refused"])
        entries = [_entry(child, i, row) for i, row in enumerate(answer["equations"])]
    finally:
        child.close()
        _show_what_it_printed(child)
    return document(path.name, entries, exits=True)


def _must_be_a_file(path: Path) -> None:
    """Raises `AuditError` where there is no such file."""
    if path.is_dir():
        raise AuditError(f"cannot read {path}: it is a folder; expected a Python file, NOTES.py.")
    if not path.is_file() or path.suffix != ".py":
        raise AuditError(
            f"cannot read {path}: there is no such file; expected a Python file, NOTES.py."
        )


def _ask(child: Child, question: int | None) -> Answer:
    answer: Answer = json.loads(child.ask(json.dumps(question) + "\n"))
    return answer


def _entry(child: Child, i: int, row: Listed) -> Entry:
    """One equation with its verdict; "not judged", and why, where the worker gives none."""
    try:
        answer = _ask(child, i)
    except ChildError as e:
        _show_what_it_printed(child)  # a new process starts with an empty buffer
        answer = {"refused": f"{e}, while its function was run"}
    if "entry" in answer:
        return answer["entry"]
    why = f"{row['place']}: {answer['refused']}."
    return {**row["entry"], "verdict": vars(not_judged(why))}


def _show_what_it_printed(child: Child) -> None:
    """Write to standard error what the file printed; of much, `Child` keeps the end alone."""
    if printed := bytes(child.errors).decode("utf-8", "replace"):
        print(plain(printed, lines=True), end="", file=sys.stderr)
        child.errors = bytearray()
