"""The process that runs a teacher's file: a question in, an equation judged out, a line of JSON each.

Standard output is kept for the answers: what the file prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.commands.audit.equations import Equation
from conformance.commands.audit.own import AuditError, read_file
from conformance.commands.audit.run import described, entry
from conformance.tools.orphan import end_with

__all__ = ["main"]


def main(path: str) -> None:
    """Answer until there are no more questions."""
    end_with(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        rows: list[Equation] | AuditError = read_file(Path(path))
    except AuditError as e:
        rows = e
    for question in questions:
        sys.stdout.flush()
        answers.write(json.dumps(_answer(rows, json.loads(question)), allow_nan=False) + "\n")
        answers.flush()


def _answer(rows: list[Equation] | AuditError, question: Mapping[str, Any]) -> dict[str, Any]:
    """What there is, or one equation of it, judged."""
    if isinstance(rows, AuditError):
        return {"refused": str(rows)}
    if question["ask"] == "equations":
        return {"equations": [{"place": row.place, "entry": described(row)} for row in rows]}
    return {"entry": entry(rows[question["equation"]])}


if __name__ == "__main__":
    main(sys.argv[1])
