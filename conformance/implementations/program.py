"""A program in any language, in a process of its own: a line of JSON in, a line of JSON out.

A program that ends after one answer is started again for the next problem.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conformance.implementations import MalformedError, NotRunError
from conformance.model.exchange import ExchangeError, line, problem_json, read_line, trace_from
from conformance.model.problem import Problem, Trace
from conformance.tools.child import Child, ChildError, Limits, SilentError

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Program"]

PATIENCE = 2  # time-outs after which it is not asked again

Answer = dict[str, Any]
"""The JSON object that a program wrote; it is not checked yet."""


class Program:
    """`cmd:PROGRAM ARGUMENTS`: it reads problems and writes traces, one JSON object a line."""

    like = ""

    asked = 0  # how many problems it was given
    silent = 0  # how often it did not answer in time

    def __init__(self, name: str, row: Row, limits: Limits | None = None) -> None:
        self.name, self.description = name, row.description
        try:
            self.command = shlex.split(name.removeprefix("cmd:"))
        except ValueError as e:
            raise NotRunError(f"{name!r} is no command line ({e}); expected cmd:PROGRAM ….") from e
        self.child = Child(self.command, limits or Limits())

    def start(self) -> tuple[Mapping[str, str], str]:
        """Check that there is such a program. Raises NotRunError."""
        if not self.command:
            raise NotRunError("it names no program; expected cmd:PROGRAM ….")
        if shutil.which(self.command[0]) is None:
            raise NotRunError(
                f"there is no program {self.command[0]} that may be run; expected cmd:PROGRAM …."
            )
        return {}, "cpu"

    def run(self, problem: Problem) -> Trace:
        """The trace in its answer. Raises NotRunError if the problem is `unsupported`, MalformedError,
        ChildError."""
        answer = self.supported(problem)
        if answer.get("error"):
            raise ChildError(str(answer["error"])[:300])
        return self.trace(answer, problem)

    def supported(self, problem: Problem) -> Answer:
        """Its answer to a problem that it supports. After PATIENCE time-outs it is not asked again, since
        every case would take as long. Raises NotRunError, MalformedError, ChildError."""
        if self.silent >= PATIENCE:
            raise ChildError(f"not asked again: {self.silent} times it gave no answer in time")
        answer = self.ask(problem)
        if answer.get("unsupported"):
            raise NotRunError(str(answer["unsupported"])[:300])
        return answer

    def trace(self, answer: Answer, problem: Problem) -> Trace:
        """The trace in an answer. Raises MalformedError."""
        try:
            return trace_from(answer, problem)
        except ExchangeError as e:
            raise MalformedError(str(e)) from e

    def ask(self, problem: Problem, **more: object) -> Answer:
        """The object that it answers; `more` is added to the problem's object. Raises MalformedError and
        ChildError."""
        self.asked += 1
        id = str(self.asked)
        try:
            answer = read_line(self.child.ask(line({**problem_json(problem, id), **more})))
        except ExchangeError as e:
            self.child.close()  # or the rest of its output would be read as the next answer
            raise MalformedError(str(e)) from e
        except ChildError as e:
            self.silent += isinstance(e, SilentError)
            printed = self.child.printed(300).strip()
            raise type(e)(f"{e}; it had written: {printed}" if printed else f"{e}") from e
        if not isinstance(answer, dict):
            raise MalformedError(f"the answer is a {type(answer).__name__}; expected an object.")
        if answer.get("id", id) != id:
            self.child.close()
            raise MalformedError(f"the answer has the id {answer['id']!r}; expected {id!r}.")
        return answer

    def close(self) -> None:
        """End the program."""
        self.child.close()
