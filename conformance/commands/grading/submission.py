"""A student's file as it is graded: a copy of it, in a process that has nothing else of ours.

Where this process is root, the other one is a user whose number nobody else has, in no group of ours:
it cannot reach this process, its files or its results, and is ended together with whatever it started.
Elsewhere it is the same user, apart by a process and a session only. docs/grading.md says what follows.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.commands.grading.rubric import Rubric
from conformance.implementations.student import ENVIRONMENT, PROCESS, Student
from conformance.model.problem import Problem
from conformance.tools.child import Child, Limits

__all__ = ["Submission", "SubmissionError", "find", "opened"]

MOST = 2**20  # bytes of a student's file
PROCESSES = 64  # of a user of its own, threads counted
FILE_SIZE = 2**26  # bytes of a file that it writes, what it prints included
HANDED_DOWN = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH")
OF_ITS_OWN = range(61184, 65520)  # numbers that no distribution gives to a person or a service

# First to go when memory runs out. It stays, so that whoever kills his parent kills a shell.
GUARDIAN = """
echo 1000 2>/dev/null >/proc/self/oom_score_adj
ulimit -c 0
ulimit -f "$1"
if [ "$2" -gt 0 ]; then ulimit -u "$2" 2>/dev/null || ulimit -p "$2" 2>/dev/null; fi
shift 2
"$@"
exit $?
"""


class SubmissionError(Exception):
    """There is nothing to grade, or not one file: a grade of nothing, and the reason for it."""


@dataclass(frozen=True)
class File:
    """What was handed in."""

    name: str
    data: bytes


def find(folder: Path, name: str) -> Path:
    """The one file of that name in a submission's folder. Links are not followed.

    Raises SubmissionError where there is none, or more than one.
    """
    found = [Path(top, name) for top, _, files in os.walk(folder) if name in files]
    files = [p for p in found if stat.S_ISREG(p.lstat().st_mode)]
    if len(files) == 1:
        return files[0]
    if files:
        where = ", ".join(sorted(str(p.relative_to(folder)) for p in files)[:5])
        raise SubmissionError(f"There are {len(files)} files {name}: {where}. Hand in one.")
    if found:
        raise SubmissionError(f"{name} is a link, or no file. Hand in the file itself.")
    others = sorted(p.name for p in folder.iterdir())[:5]
    there = f"there is {', '.join(others)}" if others else "it is empty"
    raise SubmissionError(
        f"There is no file {name} in what was handed in ({there}). Hand in {name}."
    )


def opened(path: Path) -> File:
    """Its bytes. Raises SubmissionError where there are too many, and OSError."""
    with path.open("rb") as f:
        data = f.read(MOST + 1)
    if len(data) > MOST:
        raise SubmissionError(f"{path.name} has more than {MOST:,} bytes. Hand in the code alone.")
    return File(path.name, data)


# --- whom it runs as ------------------------------------------------------------------------------


def _free_user() -> int | None:
    """A number that is nobody's; None where this process cannot be anybody else."""
    if os.geteuid() != 0:
        return None
    taken = set()
    for p in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            taken.add(p.stat().st_uid)
    return random.SystemRandom().choice([u for u in OF_ITS_OWN if u not in taken])


def _as(user: int, command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a short command of ours ends well as that user."""
    try:
        done = subprocess.run(
            command, user=user, group=user, extra_groups=[], env=env, cwd="/", timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _may_run(user: int, env: Mapping[str, str], path: Path) -> bool:
    """Whether Python, NumPy, refbp and the file can be read by that user."""
    code = "import sys, numpy, refbp, conformance.model.exchange; [open(p) for p in sys.argv[1:]]"
    return _as(user, [sys.executable, "-P", "-c", code, str(PROCESS), str(path)], env)


def _environment(home: Path) -> dict[str, str]:
    """What is handed down, and nothing else: no token, no key, no path of ours."""
    kept = {k: os.environ[k] for k in HANDED_DOWN if k in os.environ}
    own = {"HOME": str(home), "TMPDIR": str(home), "USER": "student", "LOGNAME": "student"}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **kept, **ENVIRONMENT, **own}


def _user(file: File, folder: Path) -> int | None:
    """Lay out the folder, and whom the file runs as in it; None: whoever this process is."""
    _put(file, folder)
    home = folder / "home"
    user = _free_user()
    if user is None or not _may_run(user, _environment(home), folder / file.name):
        return None
    os.chown(home, user, user)
    return user


def _put(file: File, folder: Path) -> None:
    """The file, and beside it a folder to work in. Where it is as it was, nothing is done."""
    (folder / "home").mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / file.name
    if path.is_file() and path.read_bytes() == file.data:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.write_bytes(file.data)
    path.chmod(0o644)


@contextmanager
def _unreadable() -> Iterator[None]:
    """This process's memory is closed to others of its user meanwhile (Linux; PR_SET_DUMPABLE)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *a: 0)
    before = prctl(3, 0, 0, 0, 0)
    prctl(4, 0, 0, 0, 0)
    try:
        yield
    finally:
        prctl(4, before, 0, 0, 0)


# --- the process ----------------------------------------------------------------------------------


class Submission(Student):
    """The file, asked for one network after another. Made by `Submission.of`."""

    def __init__(self, file: File, rubric: Rubric, folder: Path, user: int | None) -> None:
        path = folder / file.name
        super().__init__(str(path), guarded=True)
        self.file, self.path, self.user = file, path, user
        home = folder / "home"
        limits = Limits(rubric.seconds, rubric.memory_mib * 2**20, user)
        apart = ["/bin/sh", "-c", GUARDIAN, "sh", str(FILE_SIZE // 512)]
        number = str(PROCESSES if user is not None else 0)
        allowed = [f"--allow={name}" for name in _with_parts(rubric.allow)]
        command = [*apart, number, *self.command, *allowed]
        self.child = Child(command, limits, _environment(home), cwd=home, alone=True)

    @staticmethod
    @contextmanager
    def of(file: File, rubric: Rubric) -> Iterator[Submission]:
        """A copy in a folder of its own, which is gone afterwards, and so is what it started."""
        with tempfile.TemporaryDirectory(prefix="graded-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            submission = Submission(file, rubric, folder, _user(file, folder))
            try:
                with _unreadable():
                    yield submission
            finally:
                submission.end()

    @property
    def isolation(self) -> str:
        """In words: for the teacher."""
        if self.user is not None:
            return "a process of its own, as a user of its own"
        return "a process of its own, as the user of the grader"

    def ready(self, problem: Problem, seconds: float) -> None:
        """Before each network: the copy as it was, the time there is left, and room for the answer."""
        with suppress(OSError):  # or it says that there is no such file
            _put(self.file, self.path.parent)
        numbers = sum(2 * M.size + 3 * len(problem.X) * M.shape[1] for M in problem.W.values())
        limits = self.child.limits
        self.child.limits = replace(limits, seconds=seconds, answer=2**16 + 64 * numbers)

    def end(self) -> None:
        """It, its process group, and where it has a user of its own everything of that user."""
        self.child.close()
        if self.user is not None:
            _as(self.user, ["/bin/sh", "-c", "kill -9 -1"], {})


def _with_parts(allow: Sequence[str]) -> list[str]:
    """jax is nothing without jaxlib."""
    return [*allow, *(["jaxlib"] if "jax" in allow and "jaxlib" not in allow else [])]
