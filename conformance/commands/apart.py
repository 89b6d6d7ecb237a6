"""The process that runs the user's code: a question in, the results out, a line of JSON each.

Standard output is kept for the answer: what the code prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys

from conformance.commands.function.specified import subject_of
from conformance.judge.functions.trial import judge_function
from conformance.tools.load import user_lines
from conformance.tools.orphan import end_with
from conformance.tools.trouble import RefusedError

__all__ = ["main"]


def main() -> None:
    """One question, one answer."""
    end_with(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    question = json.loads(sys.stdin.readline())
    answer: dict[str, object]
    try:
        answer = {"results": judge_function(subject_of(question))}
    except RefusedError as e:
        lines = user_lines(e) or user_lines(e.__cause__ or e)
        answer = {
            "refused": str(e) + (f" ({lines[-1]})" if lines and lines[-1] not in str(e) else "")
        }
    except Exception as e:
        lines = user_lines(e)
        answer = {"refused": f"{type(e).__name__}: {e}" + (f" ({lines[-1]})" if lines else "")}
    answers.write(json.dumps(answer, allow_nan=False) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
