"""A file with the notes' two procedures, run in a process of its own (`student_process`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.implementations import MalformedError, NotRunError
from conformance.implementations.program import Program
from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.tools.child import Child, ChildError, Limits, NotStartedError
from conformance.tools.pool import ONE_THREAD

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Student", "explained"]

PROCESS = Path(__file__).with_name("student_process.py")
ENVIRONMENT = {**ONE_THREAD, "PYTHONDONTWRITEBYTECODE": "1"}


class Student(Program):
    """forward_pass(W, X, sigma) and backward_prop(W, A, Z, Y, sigma, loss), on lists and arrays."""

    like = "refbp"  # σ and σ' are handed to it, and they are refbp's

    def __init__(
        self, name: str, row: Row | None = None, limits: Limits | None = None, guarded: bool = False
    ) -> None:
        self.name = name
        self.description = "a file with forward_pass and backward_prop, on its own"
        limits = limits or Limits()
        # -P: a json.py beside the file is not what we mean by json
        self.command = [
            sys.executable,
            "-P",
            str(PROCESS),
            name,
            *(["--guarded"] if guarded else []),
        ]
        self.child = Child(self.command, limits, ENVIRONMENT)

    def start(self) -> tuple[dict[str, str], str]:
        """Nothing yet: what is wrong with the file is said of every case."""
        return {"python": sys.version.split()[0]}, "cpu"

    def run(self, problem: Problem) -> Trace:
        """What the two procedures return. Raises NotRunError, MalformedError and ChildError."""
        self.be_patient()
        answer = self.ask(problem)
        if answer.get("unsupported"):
            raise NotRunError(str(answer["unsupported"])[:300])
        trace, troubles = self.understood(answer, problem)
        missing = [t for t in troubles if t["kind"] == "missing"]
        if len(missing) == 1 and set(trace.missing) != {*QUANTITIES, "loss"}:
            troubles = [t for t in troubles if t not in missing]  # not returned, so not judged
        for trouble in troubles:
            raise (MalformedError if trouble["kind"] == "malformed" else ChildError)(
                explained(trouble)
            )
        return trace

    def attempt(
        self, problem: Problem, skip: Sequence[str] = ()
    ) -> tuple[Trace, list[dict[str, str]]]:
        """What could be had, and what went wrong on the way: kind, function, text. Raises nothing but
        NotStartedError, which is nothing that the file did.

        `skip`: the functions that are not called.
        """
        try:
            answer = self.ask(problem, skip=list(skip))
            if answer.get("unsupported"):
                text = str(answer["unsupported"])[:300]
                return Trace(), [{"kind": "unsupported", "function": "", "text": text}]
            return self.understood(answer, problem)
        except NotStartedError as e:
            raise NotStartedError(f"{Path(self.name).name}: {e}.") from e
        except ChildError as e:
            return Trace(), [{"kind": "ended", "function": "", "text": str(e)}]
        except MalformedError as e:
            return Trace(), [{"kind": "malformed", "function": "", "text": str(e)}]

    def understood(
        self, answer: dict[str, Any], problem: Problem
    ) -> tuple[Trace, list[dict[str, str]]]:
        """The trace in an answer, and its troubles. Raises MalformedError."""
        troubles = answer.pop("troubles", [])
        if not isinstance(troubles, list) or not all(isinstance(t, dict) for t in troubles):
            raise MalformedError("the answer is not the one of our own process.")
        known = [
            {k: str(t.get(k, ""))[:1000] for k in ("kind", "function", "text")} for t in troubles
        ]
        return self.trace(answer, problem), known


def explained(trouble: dict[str, str]) -> str:
    """In one sentence."""
    return f"{trouble['function']} {trouble['text']}".strip()
