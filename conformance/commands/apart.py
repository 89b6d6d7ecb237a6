"""Runs user code in a process of its own: one question and one answer, a line of JSON each.

Standard output is for the answer alone: what the code prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from conformance.tools.child import Child, ChildError, Limits
from conformance.tools.load import load, user_lines
from conformance.tools.orphan import end_with
from conformance.tools.trouble import RefusedError

__all__ = ["ApartError", "asked_apart"]

MEMORY = 16 * 2**30  # bytes of address space


class ApartError(RefusedError):
    """User code that could not be judged: what happened, and what to do."""


def asked_apart(by: str, question: Any, seconds: float, what: str) -> Any:
    """The result of `judged` of the module `by` for a question, in a process that may take so many seconds.

    Raises ApartError, which says that `what` could not be judged, and why.
    """
    child = Child(
        [sys.executable, "-m", "conformance.commands.apart", by],
        Limits(seconds=seconds, memory=MEMORY),
        env=dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        | {
            "JAX_ENABLE_X64": "1",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": ":".join(p for p in sys.path if p),
        },
    )
    try:
        answer = json.loads(child.ask(json.dumps(question) + "\n"))
    except ChildError as e:
        printed = child.printed().strip()
        last = f" It last wrote: {printed.splitlines()[-1][:200]}" if printed else ""
        raise ApartError(f"{what} could not be judged: {e}.{last}") from e
    finally:
        child.close()
    if "refused" in answer:
        raise ApartError(answer["refused"])
    return answer["results"]


def main(by: str) -> None:
    """Read one question, answer it."""
    end_with(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer: dict[str, object]
    try:
        question = json.loads(sys.stdin.readline())
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # code that reads standard input gets nothing
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        answer = {"results": load(f"{by}:judged")(question)}
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
    main(sys.argv[1])
