"""Child processes that answer line for line, with limits of time and of memory.

A child that dies or hangs is ended, and is started again when it is next asked.
"""

from __future__ import annotations

import atexit
import os
import pwd
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TypedDict, cast

from conformance.tools.trouble import RefusedError

__all__ = ["Child", "ChildError", "Limits", "NotStartedError", "SilentError"]

KEPT = 2**16  # bytes of standard error: the last of them


class ChildError(Exception):
    """A process that gave no answer, or reported an error: a sentence for whoever reads the results."""


class SilentError(ChildError):
    """It gave no answer in time."""


class NotStartedError(ChildError, RefusedError):
    """This machine could not start the process: what is to be judged is not at fault."""


class _EndedError(ChildError):
    """It ended with exit code 0 before it answered."""


@dataclass(frozen=True)
class Limits:
    """What a process may take."""

    seconds: float = 20.0  # for one answer
    memory: int = 4 * 2**30  # bytes of address space
    user: str | int | None = (
        None  # it runs as this user, in that user's group alone; root may choose
    )
    answer: int = 2**28  # bytes of one answer


class Child:
    """A process that answers line for line. Started when first asked, and again after it has ended.

    `alone`: its environment is `env` alone; otherwise this process's environment and `env`.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: Limits,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        alone: bool = False,
    ):
        self.command, self.limits, self.cwd = list(command), limits, cwd
        self.env = {**({} if alone else os.environ), **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.buffer, self.errors = bytearray(), bytearray()
        self.until = 0.0  # when the answer must be there

    def ask(self, text: str) -> str:
        """The answer to a line. Raises ChildError."""
        fresh = self.process is None
        if fresh:
            self._start()
        try:
            return self._exchange(text.encode())
        except ChildError as e:
            self.close()
            if isinstance(e, _EndedError) and not fresh:  # it ended after its last answer
                return self.ask(text)
            raise

    def _start(self) -> None:
        self.buffer, self.errors = bytearray(), bytearray()
        limit = str(self.limits.memory // 1024)
        limited = ["/bin/sh", "-c", 'ulimit -v "$0" 2>/dev/null; exec "$@"', limit, *self.command]
        try:
            self.process = subprocess.Popen(
                limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=self.env, cwd=self.cwd, start_new_session=True, **_as_user(self.limits.user),
            )  # fmt: skip
        except (OSError, KeyError) as e:
            raise NotStartedError(
                f"it could not be started: {getattr(e, 'strerror', e) or e}"
            ) from e
        _OPEN.add(self)
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        """Its standard input, output and error."""
        assert self.process is not None
        pipes = self.process.stdin, self.process.stdout, self.process.stderr
        return cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", pipes)  # none is None: all are PIPE

    def _exchange(self, data: bytes) -> str:
        self.until = time.monotonic() + self.limits.seconds
        self._step(memoryview(b""), 0.0)
        if self.buffer:  # it would be taken for the answer to this line
            begun = self.buffer[:60].decode("utf-8", "replace")
            raise ChildError(f"it wrote more than one line for one problem: {begun!r}")
        left, end = memoryview(data), -1
        while end < 0:
            wait = self.until - time.monotonic()
            if wait <= 0:
                raise SilentError(f"it gave no answer in {self.limits.seconds:g} s")
            read = len(self.buffer)
            left = self._step(left, wait)
            end = self.buffer.find(b"\n", read)
            if len(self.buffer) > self.limits.answer:
                raise ChildError(f"its answer is longer than {self.limits.answer:,} bytes")
        answer = self.buffer[:end].decode("utf-8", "replace")
        del self.buffer[: end + 1]
        return answer

    def _step(self, left: memoryview, wait: float) -> memoryview:
        """Wait until it can be written to or read from, and do that. Returns what is left to write."""
        into, out, err = self._pipes()
        reading = [out] if err.closed else [out, err]
        ready, free, _ = select.select(reading, [into] if left else [], [], wait)
        if err in ready:
            self._hear()
        if free:
            try:
                left = left[os.write(into.fileno(), left[:65536]) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:  # it has stopped reading; it may answer all the same
                left = left[:0]
        if out in ready:
            got = os.read(out.fileno(), 1 << 20)
            if not got:
                raise self._ending()
            self.buffer += got
        return left

    def _hear(self) -> None:
        """Read what can be read of its standard error, and keep the end of it."""
        *_, err = self._pipes()
        with suppress(BlockingIOError, ValueError):  # ValueError: closed
            if got := os.read(err.fileno(), KEPT):
                self.errors = (self.errors + got)[-KEPT:]
            else:
                err.close()

    def _ending(self) -> ChildError:
        """How it ended, or that it closed its output and did not end."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=max(0.0, self.until - time.monotonic()))
        code = self.process.returncode
        if code is None:
            seconds = self.limits.seconds
            return SilentError(
                f"it closed its standard output, and gave no answer in {seconds:g} s"
            )
        if code < 0:
            return ChildError(f"it ended (signal {_signal(-code)})")
        message = f"it ended (exit code {code})"
        return ChildError(message) if code or self.buffer else _EndedError(message)

    def printed(self, most: int = 2000) -> str:
        """The end of what it wrote to standard error."""
        if self.process is not None:
            self._hear()
        return bytes(self.errors[-most:]).decode("utf-8", "replace")

    def close(self) -> None:
        """End it, and whatever it started."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._hear()
        for pipe in self._pipes():
            with suppress(OSError):
                pipe.close()
        self.process = None

    def __del__(self) -> None:
        if self.process is not None:
            with suppress(Exception):
                self.close()


_OPEN: weakref.WeakSet[Child] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close them before the interpreter ends: it removes modules first, and __del__ could not use them."""
    for child in tuple(_OPEN):
        with suppress(Exception):
            child.close()


class _User(TypedDict, total=False):
    """Arguments of Popen."""

    user: str | int
    group: str | int
    extra_groups: list[str | int]


def _as_user(user: str | int | None) -> _User:
    """The arguments of Popen for another user, in none of our groups. Raises KeyError if there is none."""
    if user is None:
        return {}
    group = user if isinstance(user, int) else pwd.getpwnam(user).pw_gid
    return {"user": user, "group": group, "extra_groups": []}


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return str(number)
