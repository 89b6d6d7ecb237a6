"""Starts the workers, which run user code in processes of their own, and reads their messages.

A worker writes a message for each thing it finds out, so that nothing known is lost when it dies. What the
user's code prints goes to a file, not to the terminal.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from conformance.commands.activation import messages
from conformance.commands.activation.facts import Facts
from conformance.commands.activation.spec import Spec
from conformance.tools.plain import plain_values
from conformance.tools.pool import ONE_THREAD

__all__ = ["gather"]

MOST_OUTPUT = 2000  # characters of user code's output that are kept


class _Worker:
    """A worker's process, the file of its messages and the file of what it prints."""

    def __init__(self, folder: Path, role: str, timeout: float) -> None:
        self.role, self.folder, self.timeout = role, folder, timeout
        path = folder / f"{role}.jsonl"
        path.touch()
        self.file = path.open(encoding="utf-8", errors="replace")
        self.part = ""  # the part of a line that is still being written
        self.output = (folder / f"{role}.out").open("wb")
        env = {**os.environ, **ONE_THREAD}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["CONFORMANCE_DEADLINE"] = str(
            time.time() + timeout
        )  # shortly before, it prints where it hangs
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            # -P: the worker imports Python's own json, not a json.py that happens to be in the folder
            [sys.executable, "-P", "-m", "conformance.commands.activation.worker", str(folder), role],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, env=env,
            start_new_session=True,
        )  # fmt: skip
        self.stage = messages.STARTING
        self.explained = False  # it has ended properly, or has said why not
        self.timed_out = False

    def read(self) -> Iterator[messages.Message]:
        """The messages that it has written since."""
        for line in self.file:
            self.part += line
            if not self.part.endswith("\n"):
                return
            text, self.part = self.part, ""
            match message := messages.decode(text):
                case None:
                    continue
                case messages.Stage():
                    self.stage = message.text
                case messages.Done() | messages.Problem(event="raised" | "refused"):
                    self.explained = True
            yield message

    def over(self) -> bool:
        """Whether it has ended. Kills it if its time is over."""
        if self.process.poll() is not None:
            return True
        if time.monotonic() - self.begun > self.timeout:
            self.timed_out = True
            self.kill()
            return True
        return False

    def kill(self) -> None:
        """End the process and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):  # it may have ended already
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def problem(self) -> messages.Problem | None:
        """Why it ended before it was done, if it did."""
        if self.explained:
            return None
        printed = self.printed()
        if (
            self.timed_out or "Timeout (" in printed
        ):  # faulthandler prints this before it ends the process
            event, how = "timeout", f"took more than {self.timeout:g} s"
        else:
            event, how = "ended", f"ended its process ({_how(self.process.returncode)})"
        text = f"{how} while {self.stage}"
        return messages.Problem(event, text, plain_values(_traceback_lines(printed)), self.stage)

    def printed(self) -> str:
        """The end of what the code printed."""
        try:
            data = (self.folder / f"{self.role}.out").read_bytes()[-20000:]
        except OSError:  # the user's code removed it
            return ""
        return data.decode("utf-8", "replace")


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _traceback_lines(printed: str) -> list[str]:
    """The user's lines of a faulthandler traceback, the innermost first."""
    found = re.findall(r'File "([^"]+)", line (\d+) in (\S+)', printed)
    ours = str(Path(__file__).resolve().parents[2])
    return [
        f"{Path(file).name}:{line} in {name}"
        for file, line, name in found
        if not file.startswith(ours)
        and "site-packages" not in file
        and "/lib/python" not in file
        and not file.startswith("<")
    ][:5]


def gather(spec: Spec, roles: Sequence[str]) -> tuple[Facts, dict[str, str]]:
    """Run the workers of these roles, NumPy's first. Returns what they reported, and what they printed."""
    facts = Facts(spec)
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "spec.json").write_text(messages.to_json(spec), encoding="utf-8")
        workers = [_Worker(folder, role, spec.timeout) for role in roles]
        try:
            _follow(workers, facts, folder)
        finally:
            for w in workers:
                w.kill()
                w.output.close()
                w.file.close()
        printed = {w.role: plain_values(w.printed()[:MOST_OUTPUT]) for w in workers}
    return facts, printed


def _follow(workers: Sequence[_Worker], facts: Facts, folder: Path) -> None:
    """Read the messages of the workers until all have ended; pass the points of the first worker to the
    others."""
    waiting = list(workers)
    while waiting:
        for w in list(waiting):
            over = w.over()  # asked before its last messages are read
            for message in w.read():
                facts.take(w.role, message)
                if isinstance(message, messages.Points):
                    with suppress(OSError):  # the user's code removed the folder
                        _hand_on(folder, message)
            if over:
                waiting.remove(w)
                facts.take(w.role, w.problem())
                if w.role == "numpy" and not (folder / "points.json").exists():
                    with suppress(OSError):  # the user's code removed the folder
                        (folder / "stop").touch()
        time.sleep(0.005)


def _hand_on(folder: Path, points: messages.Points) -> None:
    """Write the points for the other workers; whole or not at all."""
    (folder / "points.tmp").write_text(messages.to_json(points), encoding="utf-8")
    (folder / "points.tmp").replace(folder / "points.json")
