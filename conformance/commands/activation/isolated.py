"""Workers: user code in processes of its own, with limits, and what became of them.

A worker writes a line of JSON for each thing it finds out, so that nothing known is lost when it dies. What
it says is data: nothing is unpickled. What the user's code prints goes to a file, not to the terminal.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from conformance.commands.activation.facts import Facts
from conformance.tools.plain import plain_values
from conformance.tools.pool import ONE_THREAD

__all__ = ["DEFAULT_TIMEOUT", "gather"]

DEFAULT_TIMEOUT = 20.0  # seconds
MEMORY = 4 * 2**30  # bytes of address space for the NumPy worker
MOST_OUTPUT = 2000  # characters of what user code printed


class _Worker:
    def __init__(self, folder: Path, role: str, timeout: float) -> None:
        self.role, self.folder, self.timeout = role, folder, timeout
        self.said = folder / f"{role}.jsonl"
        self.said.touch()
        self.reading = self.said.open(encoding="utf-8", errors="replace")
        self.part = ""
        self.output = (folder / f"{role}.out").open("wb")
        env = {**os.environ, **ONE_THREAD}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["CONFORMANCE_DEADLINE"] = str(time.time() + timeout)  # that it may say where it hung
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            # -P: a json.py where one happens to be is not what the worker means by json
            [sys.executable, "-P", "-m", "conformance.commands.activation.worker", str(folder), role],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, env=env,
            start_new_session=True,
        )  # fmt: skip
        self.stage = "starting"
        self.finished = False
        self.explained = False
        self.timed_out = False

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """What it has said since."""
        for line in self.reading:
            self.part += line
            if not self.part.endswith("\n"):
                return
            text, self.part = self.part, ""
            try:
                said = json.loads(text)
            except ValueError:
                continue
            if isinstance(said, dict):
                self._notice(said)
                yield said

    def _notice(self, said: Mapping[str, Any]) -> None:
        if said.get("event") == "stage":
            self.stage = str(said["text"])
        self.finished |= said.get("event") == "done"
        self.explained |= said.get("event") in ("raised", "refused")

    def over(self) -> bool:
        """Whether it has ended; ended here if its time is over."""
        if self.process.poll() is not None:
            return True
        if time.monotonic() - self.begun > self.timeout:
            self.timed_out = True
            self.kill()
            return True
        return False

    def kill(self) -> None:
        """It and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ending(self) -> Mapping[str, Any] | None:
        """Why it ended before it was done, if it did."""
        if self.finished or self.explained:
            return None
        printed = self.printed()
        lines = _traceback_lines(printed)
        if self.timed_out or "Timeout (" in printed:
            event, how = "timeout", f"took more than {self.timeout:g} s"
        else:
            event, how = "ended", f"ended its process ({_how(self.process.returncode)})"
        return {
            "event": event,
            "stage": self.stage,
            "text": f"{how} {self._doing()}",
            "lines": lines,
        }

    def _doing(self) -> str:
        return f"while {self.stage}"

    def printed(self) -> str:
        """What the code printed."""
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


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def gather(spec: Mapping[str, Any], roles: Sequence[str]) -> tuple[Facts, dict[str, str]]:
    """Run the workers, NumPy's first of them, and all that they said; and what the code printed, by role."""
    facts = Facts(spec)
    with _folder() as folder:
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        workers = [_Worker(folder, role, float(spec["timeout"])) for role in roles]
        try:
            _follow(workers, facts, folder)
        finally:
            for w in workers:
                w.kill()
                w.output.close()
                w.reading.close()
        printed = {w.role: plain_values(w.printed()[:MOST_OUTPUT]) for w in workers}
    return facts, printed


def _follow(workers: Sequence[_Worker], facts: Facts, folder: Path) -> None:
    waiting = list(workers)
    while waiting:
        for w in list(waiting):
            over = w.over()  # before its last lines are read
            for said in w.lines():
                facts.take(w.role, said)
                if said.get("event") == "points":
                    with suppress(OSError):  # the user's code removed the folder
                        _hand_on(folder, said)
            if over:
                waiting.remove(w)
                if (why := w.ending()) is not None:
                    facts.take(w.role, why)
                if w.role == "numpy" and not (folder / "points.json").exists():
                    with suppress(OSError):
                        (folder / "stop").touch()
        time.sleep(0.005)


def _hand_on(folder: Path, said: Mapping[str, Any]) -> None:
    """The points, for the other workers; whole or not at all."""
    points = {k: v for k, v in said.items() if k != "event"}
    (folder / "points.tmp").write_text(json.dumps(points), encoding="utf-8")
    (folder / "points.tmp").replace(folder / "points.json")
