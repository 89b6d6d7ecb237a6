"""A program in any language, in a process of its own: a line of JSON in, a line of JSON out.

What it says is data. It has a time for each answer and a limit of memory; one that dies or hangs is
started again for the next problem.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from conformance.exchange import ExchangeError, line, problem_json, read_line, trace_from
from conformance.implementations import MalformedError, NotRunError
from conformance.problem import Problem, Trace

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Child", "ChildError", "Limits", "Program"]

MOST = 2**28  # bytes of one answer


class ChildError(Exception):
    """A process that gave no answer: it ended, took too long, or said too much."""


@dataclass(frozen=True)
class Limits:
    """What a process may take."""

    seconds: float = 20.0  # for one answer
    memory: int = 4 * 2**30  # bytes of address space
    user: str | None = None  # whom it runs as, where that can be chosen


class Child:
    """A process that answers line for line. Started when first asked, and again after it has ended."""

    def __init__(
        self, command: Sequence[str], limits: Limits, env: Mapping[str, str] | None = None
    ):
        self.command, self.limits = list(command), limits
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.errors: IO[bytes] | None = None
        self.buffer = b""

    def ask(self, text: str) -> str:
        """The answer to a line. Raises ChildError."""
        if self.process is None:
            self._start()
        try:
            return self._exchange(text.encode())
        except ChildError:
            self.close()
            raise

    def _start(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115   it lives as long as the process
        self.buffer = b""
        limit = str(self.limits.memory // 1024)
        limited = ["/bin/sh", "-c", 'ulimit -v "$0" 2>/dev/null; exec "$@"', limit, *self.command]
        more: dict[str, Any] = {} if self.limits.user is None else {"user": self.limits.user}
        try:
            self.process = subprocess.Popen(
                limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                env=self.env, start_new_session=True, **more,
            )  # fmt: skip
        except OSError as e:
            raise ChildError(f"it could not be started: {e.strerror or e}") from e
        for pipe in (self.process.stdin, self.process.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]

    def _exchange(self, data: bytes) -> str:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + self.limits.seconds
        left = memoryview(data)
        while b"\n" not in self.buffer:
            wait = until - time.monotonic()
            if wait <= 0:
                raise ChildError(f"it gave no answer in {self.limits.seconds:g} s")
            ready, free, _ = select.select(
                [process.stdout], [process.stdin] if left else [], [], wait
            )
            if free:
                try:
                    left = left[os.write(process.stdin.fileno(), left[:65536]) :]
                except BrokenPipeError:
                    left = left[:0]
            if ready:
                got = os.read(process.stdout.fileno(), 1 << 20)
                if not got:
                    raise ChildError(self._ending())
                self.buffer += got
            if len(self.buffer) > MOST:
                raise ChildError(f"its answer is longer than {MOST:,} bytes")
        answer, _, self.buffer = self.buffer.partition(b"\n")
        return answer.decode("utf-8", "replace")

    def _ending(self) -> str:
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        code = self.process.returncode
        if code is None:
            return "it closed its standard output"
        if code < 0:
            return f"it ended (signal {_signal(-code)})"
        return f"it ended (exit code {code})"

    def printed(self, most: int = 2000) -> str:
        """The end of what it wrote to standard error."""
        if self.errors is None:
            return ""
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - most))
        return self.errors.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End it, and whatever it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self.process = None

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)


class Program:
    """`cmd:PROGRAM ARGUMENTS`: it reads problems and writes traces, one JSON object a line."""

    like = ""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.description = name, row.description
        self.command = shlex.split(name.removeprefix("cmd:"))
        self.child = Child(self.command, Limits())

    def start(self) -> tuple[Mapping[str, str], str]:
        """Whether there is such a program."""
        if not self.command or shutil.which(self.command[0]) is None:
            what = self.command[0] if self.command else "nothing"
            raise NotRunError(
                f"there is no program {what} that may be run; expected cmd:PROGRAM …."
            )
        return {}, "cpu"

    def run(self, problem: Problem) -> Trace:
        """Its answer. Raises NotRunError where it says `unsupported`, MalformedError, ChildError."""
        answer = self.ask(problem)
        if answer.get("unsupported"):
            raise NotRunError(str(answer["unsupported"])[:300])
        if answer.get("error"):
            raise ChildError(str(answer["error"])[:300])
        return self.trace(answer, problem)

    def trace(self, answer: Any, problem: Problem) -> Trace:
        """The trace in an answer. Raises MalformedError."""
        try:
            return trace_from(answer, problem)
        except ExchangeError as e:
            raise MalformedError(str(e)) from e

    def ask(self, problem: Problem) -> dict[str, Any]:
        """The object that it answers. Raises MalformedError and ChildError."""
        try:
            answer = read_line(self.child.ask(line(problem_json(problem))))
        except ExchangeError as e:
            self.child.close()  # what it writes next would be taken for another answer
            raise MalformedError(str(e)) from e
        except ChildError as e:
            said = self.child.printed(300).strip()
            raise ChildError(f"{e}; it had written: {said}" if said else f"{e}") from e
        if not isinstance(answer, dict):
            raise MalformedError(f"the answer is a {type(answer).__name__}; expected an object.")
        return answer

    def close(self) -> None:
        """End the program."""
        self.child.close()
