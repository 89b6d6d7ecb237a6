"""A file with the notes' two procedures, run in a process of its own (`student_process`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.implementations import MalformedError, NotRunError, implementation
from conformance.implementations.program import PATIENCE, Answer, Program
from conformance.model.exchange import trace_json
from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.tools.child import Child, ChildError, Limits, NotStartedError
from conformance.tools.pool import ONE_THREAD

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Student", "explained"]

PROCESS = Path(__file__).with_name("student_process.py")
HARNESS = (
    "conformance/implementations/student_form.py",
    "conformance/implementations/student_process.py",
    "conformance/model/exchange.py",
    "conformance/model/problem.py",
    *(f"refbp/{m}.py" for m in ("activations", "bias", "checks", "losses", "special", "types")),
)
"""The files that the process imports, all but NumPy."""
ENVIRONMENT = {**ONE_THREAD, "PYTHONDONTWRITEBYTECODE": "1"}
KEYS = ("kind", "function", "text", "quantity")
Trouble = dict[str, str]
"""An error: {"kind", "function", "text", "quantity"}, as `student_process` writes it."""


class Student(Program):
    """forward_pass(W, X, sigma) and backward_prop(W, A, Z, Y, sigma, loss), on lists and arrays."""

    like = "refbp"  # it is given σ and σ', which are refbp's

    def __init__(
        self, name: str, row: Row | None = None, limits: Limits | None = None, guarded: bool = False
    ) -> None:
        self.name = name
        self.description = "a file with forward_pass and backward_prop, on its own"
        # -P: a json.py beside the file is not imported instead of Python's own
        self.command = [sys.executable, "-P", str(PROCESS), name]
        self.command += ["--guarded"] if guarded else []
        self.child = Child(self.command, limits or Limits(), ENVIRONMENT)

    def start(self) -> tuple[dict[str, str], str]:
        """Does not load the file: an error in it is reported for every case."""
        return {"python": sys.version.split()[0]}, "cpu"

    def run(self, problem: Problem) -> Trace:
        """What the two procedures return. Raises NotRunError, MalformedError and ChildError."""
        if self.silent >= PATIENCE:
            raise ChildError(f"not asked again: {self.silent} times it gave no answer in time")
        trace, troubles = self.understood(problem, ())
        missing = [t for t in troubles if t["kind"] == "missing"]
        if len(missing) == 1 and set(trace.missing) != {*QUANTITIES, "loss"}:
            troubles = [t for t in troubles if t not in missing]  # not returned, so not judged
        for trouble in troubles:
            error = MalformedError if trouble["kind"] == "malformed" else ChildError
            raise error(explained(trouble))
        return trace

    def attempt(self, problem: Problem, skip: Sequence[str] = ()) -> tuple[Trace, list[Trouble]]:
        """What the functions that are not skipped returned, and what went wrong. Raises only NotStartedError,
        for which the file is not to blame."""

        def failed(kind: str, text: str) -> tuple[Trace, list[Trouble]]:
            return Trace(), [{"kind": kind, "function": "", "text": text}]

        try:
            return self.understood(problem, skip)
        except NotRunError as e:
            return failed("unsupported", str(e))
        except NotStartedError as e:
            raise NotStartedError(f"{Path(self.name).name}: {e}.") from e
        except ChildError as e:
            return failed("ended", str(e))
        except MalformedError as e:
            return failed("malformed", str(e))

    def understood(self, problem: Problem, skip: Sequence[str]) -> tuple[Trace, list[Trouble]]:
        """The trace in its answer, and the troubles. Raises NotRunError, MalformedError, ChildError."""
        answer = self.answer(problem, skip)
        troubles = answer.pop("troubles", [])
        if answer.pop("wants", False) and "backward_prop" not in skip:
            right = implementation(self.like).run(problem.copy())
            given = trace_json(Trace(A=right.A, Z=right.Z))
            try:
                more = self.answer(problem, [*skip, "forward_pass"], given=given)
            except NotStartedError:
                raise
            except ChildError as e:  # what forward_pass returned stands
                more = {"troubles": [{"kind": "ended", "function": "", "text": str(e)}]}
            if more.get("dW"):  # its error on its own A and Z is reported, with a kind that says so
                troubles = [_given(t) for t in troubles]
            troubles += [t for t in more.pop("troubles", []) if t not in troubles]
            answer |= more
        known = [{k: str(t.get(k, ""))[:1000] for k in KEYS} for t in troubles]
        return self.trace(answer, problem), known

    def answer(self, problem: Problem, skip: Sequence[str], **more: object) -> Answer:
        """Its answer to one request. Raises NotRunError, MalformedError, ChildError."""
        answer = self.ask(problem, skip=list(skip), **more)
        if answer.get("unsupported"):
            raise NotRunError(str(answer["unsupported"])[:300])
        troubles = answer.get("troubles", [])
        if not isinstance(troubles, list) or not all(isinstance(t, dict) for t in troubles):
            raise MalformedError("the answer is not the one of our own process.")
        return answer


def _given(trouble: Trouble) -> Trouble:
    return {**trouble, "kind": "given"} if trouble["function"] == "backward_prop" else trouble


def explained(trouble: Trouble) -> str:
    """A trouble in one sentence."""
    return f"{trouble['function']} {trouble['text']}".strip()
