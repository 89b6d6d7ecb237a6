"""A run that is killed at any moment, again and again, ends with the results of one that was left alone.

    python benchmarks/kills.py [--kills 200] [--seed 0]

A run of 84 results is ended by SIGKILL, SIGTERM or SIGHUP at a random moment, half of them counted from its
start and half from its next result, and is resumed at once, until it comes through. Its file must then be,
byte for byte, that of an uninterrupted run, but for `finished` and `seconds` of the environment; its journal
must be gone; and of its processes, which a mark in their environment tells, none may be left. Printed: what
each signal hit, and how often. Exit code 1 where something was otherwise, with the kills of that run. It
reads /proc, as Linux has it; 200 kills take 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

RUN = (
    "run --select family=typical,depth=2,batch=7 --implementation refbp --implementation torch-cpu "
    "--jobs 2 --json r.json --resume"
)
LINES = 85  # of its journal, when all is judged: the key, and each result
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
STAGES = ("before its journal", "before a result", "between results", "at its end")
AGAIN = 0.85  # how likely a run is killed, and not left to come through
PATIENCE = 120.0  # seconds that a run, or the end of one, may take
MARK = "CONFORMANCE_KILLS"  # in the environment of a run and of all that it starts
VARY = re.compile(rb'("finished":)"[^"]*"|("seconds":)[0-9.e+-]+')


class WrongError(Exception):
    """What was otherwise than it must be, in a sentence."""


@dataclass
class Kill:
    """One of them: which signal, when (seconds from the start), and what it hit."""

    number: signal.Signals
    at: float
    stage: str

    def __str__(self) -> str:
        return f"{self.number.name} after {self.at:.2f} s, {self.stage}"


@dataclass
class Killed:
    """A run in a folder of its own, and its kills so far."""

    folder: Path
    kills: list[Kill] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The entry in the environment that its processes have, and no others."""
        return f"{MARK}={self.folder}"

    @property
    def journal(self) -> Path:
        return self.folder / "r.json.journal"

    def start(self) -> subprocess.Popen[bytes]:
        """The run, or the rest of it; what it says goes into a file, which no process left alive holds up."""
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "conformance", *RUN.split()],
                cwd=self.folder,
                env={**os.environ, MARK: str(self.folder)},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def said(self) -> str:
        """The end of what it said last."""
        return (self.folder / "said").read_text("utf-8", "replace").strip()[-500:]

    def lines(self) -> int:
        """Of the journal: the key, and the results so far; 0 where there is none."""
        return self.journal.read_bytes().count(b"\n") if self.journal.is_file() else 0

    def stage(self) -> str:
        """What a signal hits now."""
        if (self.folder / "r.json").exists() or self.lines() == LINES:
            return STAGES[3]
        return STAGES[min(self.lines(), 2)]

    def kill(self, rng: random.Random, seconds: float) -> bool:
        """Start it, and end it at a moment drawn; whether it was ended, and did not come through before.

        Raises WrongError where it ends otherwise than by that signal, or not at all.
        """
        number, late, share = rng.choice(SIGNALS), rng.random() < 0.5, rng.random()
        before, begun = self.lines(), time.monotonic()
        run = self.start()
        until_(lambda: run.poll() is not None or not late or self.lines() > max(before, 1), run)
        wait_(run, share * seconds * (0.15 if late else 0.9))
        done = Kill(number, time.monotonic() - begun, self.stage())
        run.send_signal(number)  # which does nothing to one that has ended
        end_(run)
        if run.returncode == 0:
            return False
        self.kills.append(done)
        if run.returncode not in (-number, 128 + number):
            raise WrongError(f"exit code {run.returncode}: {self.said()}")
        return True

    def come_through(self) -> None:
        """Start it, and let it. Raises WrongError."""
        run = self.start()
        end_(run)
        if run.returncode:
            raise WrongError(f"resumed, it ended with exit code {run.returncode}: {self.said()}")

    def must_be(self, whole: bytes) -> None:
        """Raise WrongError unless it left the very results, and nothing else."""
        found = results(self.folder)
        if found != whole:
            at = next((i for i, (a, b) in enumerate(zip(found, whole, strict=False)) if a != b), -1)
            raise WrongError(
                f"{len(found):,} bytes, expected {len(whole):,}; the first that differs is {at:,}"
            )
        if self.journal.exists():
            raise WrongError("its journal is still there")
        until = time.monotonic() + 10  # a worker looks twice a second whether its parent is there
        while left := list(self.processes()):
            if time.monotonic() > until:
                raise WrongError(f"left alive: {'; '.join(left)}")
            time.sleep(0.1)

    def processes(self) -> Iterator[str]:
        """Those that have its mark, as "PID: what it runs"."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (path / "environ").read_bytes().split(b"\0"):
                    words = (path / "cmdline").read_bytes().split(b"\0")
                    yield f"{path.name}: {b' '.join(words).decode(errors='replace'):.120}"
            except OSError:  # it has ended, or is another user's
                continue


def results(folder: Path) -> bytes:
    """The file of a run, without what differs from run to run. Raises WrongError where there is none."""
    path = folder / "r.json"
    if not path.is_file():
        raise WrongError("it ended with exit code 0, and there is no results file")
    return VARY.sub(rb"\1\2", path.read_bytes())


def until_(there: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Wait until that is so. Raises WrongError where it takes too long."""
    until = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > until:
            run.kill()
            raise WrongError(f"no result after {PATIENCE:g} s")
        time.sleep(0.005)


def wait_(run: subprocess.Popen[bytes], seconds: float) -> None:
    """So long, or until it has ended."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def end_(run: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended. Raises WrongError where it does not."""
    try:
        run.wait(PATIENCE)
    except subprocess.TimeoutExpired as e:
        run.kill()
        raise WrongError(f"it had not ended after {PATIENCE:g} s") from e


def main() -> int:
    """Kill, resume, compare, tell."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--kills", type=int, default=200, help="so many in all (200)")
    asked.add_argument("--seed", type=int, default=0, help="of the signals and the moments (0)")
    options = asked.parse_args()
    if not Path("/proc/self/environ").is_file():
        asked.error("there is no /proc here; expected Linux")
    rng, found, runs, wrong = random.Random(options.seed), Counter[tuple[str, str]](), 0, 0
    with tempfile.TemporaryDirectory() as top:
        one = Killed(Path(top, "whole"))
        one.folder.mkdir()
        begun = time.monotonic()
        one.come_through()
        seconds, whole = time.monotonic() - begun, results(one.folder)
        print(f"uninterrupted: {seconds:.1f} s, {len(whole):,} bytes", flush=True)
        while found.total() < options.kills:
            runs += 1
            one = Killed(Path(top, str(runs)))
            one.folder.mkdir()
            try:
                through = False
                while not through and found.total() + len(one.kills) < options.kills:
                    through = rng.random() > AGAIN or not one.kill(rng, seconds)
                if not (one.folder / "r.json").exists() or one.journal.exists():
                    one.come_through()
                one.must_be(whole)
            except WrongError as e:
                wrong += 1
                print(
                    f"run {runs} is wrong: {e}\n  " + "\n  ".join(map(str, one.kills)), flush=True
                )
            found.update((kill.number.name, kill.stage) for kill in one.kills)
    print(f"{'':9}" + "".join(f"{stage:>20}" for stage in STAGES))
    for name in (n.name for n in SIGNALS):
        print(f"{name:9}" + "".join(f"{found[name, stage]:20}" for stage in STAGES))
    print(f"{found.total()} kills, {runs} runs resumed to their end, {wrong} of them wrong.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
