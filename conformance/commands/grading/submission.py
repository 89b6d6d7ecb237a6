"""Runs a copy of a student's file in a process of its own, apart from the grader.

If the grader is root, that process runs as a user number that nobody else has, in none of the grader's
groups: it cannot reach the grader, its files or its results, and is ended with everything that it started.
Otherwise it runs as the same user, with only a process and a session of its own: see docs/grading.md.
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
OF_ITS_OWN = range(61184, 65520)  # user numbers that no distribution gives to a person or a service

# Sets the limits, then runs the command. The kernel ends it first when memory runs out. The shell stays as
# the command's parent, so that a submission that kills its parent process kills only this shell.
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
    """What was handed in is not one file: the grade is 0, and this is the reason."""


@dataclass(frozen=True)
class File:
    """What was handed in."""

    name: str
    data: bytes


def find(folder: Path, name: str) -> Path:
    """The one file of that name in a submission's folder. Links are not followed.

    Raises SubmissionError where there is none, or more than one.
    """
    paths = [Path(top, name) for top, _, files in os.walk(folder) if name in files]
    files = [p for p in paths if stat.S_ISREG(p.lstat().st_mode)]
    if len(files) == 1:
        return files[0]
    if files:
        where = ", ".join(sorted(str(p.relative_to(folder)) for p in files)[:5])
        raise SubmissionError(f"There are {len(files)} files {name}: {where}. Hand in one.")
    if paths:
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


# --- as which user it runs ---------------------------------------------------------------------------


def _free_user() -> int | None:
    """A user number that no process has; None if this process may not change its user."""
    if os.geteuid() != 0:
        return None
    taken = set()
    for p in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            taken.add(p.stat().st_uid)
    return random.SystemRandom().choice([u for u in OF_ITS_OWN if u not in taken])


def _as(user: int, command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Run a short command of ours as that user; whether it exits with 0."""
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
    """All of the process's environment: no token, no key and no path of the grader is in it."""
    kept = {k: os.environ[k] for k in HANDED_DOWN if k in os.environ}
    own = {"HOME": str(home), "TMPDIR": str(home), "USER": "student", "LOGNAME": "student"}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **kept, **ENVIRONMENT, **own}


def _user(file: File, folder: Path) -> int | None:
    """Lay out the folder. Returns the user that the file runs as; None for the user of this process."""
    _put(file, folder)
    home = folder / "home"
    user = _free_user()
    if user is None or not _may_run(user, _environment(home), folder / file.name):
        return None
    os.chown(home, user, user)
    return user


def _put(file: File, folder: Path) -> None:
    """Write the file, and make a folder to work in beside it. A file that is unchanged is left alone."""
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
    """Close this process's memory to other processes of its user meanwhile (Linux alone)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *a: 0)
    PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
    before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_DUMPABLE, before, 0, 0, 0)


# --- the process ----------------------------------------------------------------------------------


class Submission(Student):
    """A student's file as an implementation. Made by `Submission.of`."""

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
        """A copy in a temporary folder. Afterwards the folder and every process that it started are gone."""
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
        """How far it is apart from the grader, in words for the teacher."""
        if self.user is not None:
            return "a process of its own, as a user of its own"
        return "a process of its own, as the user of the grader"

    def ready(self, problem: Problem, seconds: float) -> None:
        """Before each network: restore the copy, and limit the time and the size of the answer."""
        with suppress(OSError):  # the process will say that there is no such file
            _put(self.file, self.path.parent)
        numbers = sum(2 * M.size + 3 * len(problem.X) * M.shape[1] for M in problem.W.values())
        limits = self.child.limits
        self.child.limits = replace(limits, seconds=seconds, answer=2**16 + 64 * numbers)

    def end(self) -> None:
        """End it and its process group, and everything of its user if it has one of its own."""
        self.child.close()
        if self.user is not None:
            _as(self.user, ["/bin/sh", "-c", "kill -9 -1"], {})


def _with_parts(allow: Sequence[str]) -> list[str]:
    """The modules that may be imported: jax imports jaxlib."""
    return [*allow, *(["jaxlib"] if "jax" in allow and "jaxlib" not in allow else [])]
