"""The process that runs a teacher's file. A question and its answer are a line of JSON each.

The question null asks which equations there are, and a number asks for the verdict on that one. Standard
output is kept for the answers: what the file prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from conformance.commands.audit.document import Answer
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
        sys.stdout.flush()  # what the file printed, before the answer that came with it
        answers.write(json.dumps(_answer(rows, json.loads(question)), allow_nan=False) + "\n")
        answers.flush()


def _answer(rows: list[Equation] | AuditError, question: int | None) -> Answer:
    if isinstance(rows, AuditError):
        return {"refused": str(rows)}
    if question is None:
        return {"equations": [{"place": row.place, "entry": described(row)} for row in rows]}
    return {"entry": entry(rows[question])}


if __name__ == "__main__":
    main(sys.argv[1])
