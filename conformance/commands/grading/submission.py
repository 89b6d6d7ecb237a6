"""Runs a copy of a student's file in a process of its own, apart from the grader.

If the grader is root, that process runs as a user number that nobody else has, in none of the grader's
groups: it cannot reach the grader, its files or its results, and is ended with everything that it started.
Otherwise it runs as the same user, with only a process and a session of its own: see docs/grading.md.

Python finds there its own library, NumPy, and a copy of the few modules that ask the file (`HARNESS`): σ, σ',
the losses, and how JSON is read. No procedure of refbp is among them.
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
from importlib.util import find_spec
from pathlib import Path

from conformance.commands.grading.rubric import Rubric
from conformance.implementations.student import ENVIRONMENT, HARNESS, Student
from conformance.model.problem import Problem
from conformance.tools.child import Child, Limits, NotStartedError
from conformance.tools.trouble import RefusedError

__all__ = ["Submission", "SubmissionError", "find", "opened"]

MOST = 2**20  # bytes of a student's file
PROCESSES = 64  # of a user of its own, threads counted
FILE_SIZE = 2**26  # bytes of a file that it writes, what it prints included
HANDED_DOWN = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
OFFLINE = ("unshare", "--user", "--map-current-user", "--net")  # where the system allows it
START = """import sys
sys.path += {more!r}
from conformance.implementations.student_process import main
main()
"""
# no variable of the environment, no site-packages, nothing left behind
ISOLATED = ("-I", "-S", "-B")
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
    """A user number that no process has; None if this process may not change its user.

    It goes by the number of this process, so that two that grade at a time do not take the same.
    """
    if os.geteuid() != 0:
        return None
    taken = set()
    for p in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            taken.add(p.stat().st_uid)
    own = OF_ITS_OWN[os.getpid() % len(OF_ITS_OWN)]
    free = [u for u in OF_ITS_OWN if u not in taken]
    return own if own in free else random.SystemRandom().choice(free)


def _as(user: int | None, command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Run a short command of ours as that user, or this one; whether it exits with 0."""
    try:
        done = subprocess.run(
            command, user=user, group=user, extra_groups=None if user is None else [], env=env,
            cwd="/", timeout=60, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except (PermissionError, FileNotFoundError, ValueError, subprocess.SubprocessError):
        return False
    except OSError as e:  # this machine starts no process: nobody's file is at fault
        raise NotStartedError(f"no process could be started: {e.strerror or e}.") from e
    return done.returncode == 0


def _python(user: int | None, folder: Path, path: Path) -> str:
    """A Python of this version with which that user can import NumPy and read the file; else ""."""
    if user is None:
        return sys.executable
    code = "import sys; sys.path.append(sys.argv[1]); import numpy; open(sys.argv[2])"
    for name in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        command = [name, *ISOLATED, "-c", code, str(folder / "harness"), str(path)]
        if _as(user, command, _environment(folder / "home")):
            return name
    return ""


def _environment(home: Path) -> dict[str, str]:
    """All of the process's environment: no token, no key and no path of the grader is in it."""
    kept = {k: os.environ[k] for k in HANDED_DOWN if k in os.environ}
    own = {"HOME": str(home), "TMPDIR": str(home), "USER": "student", "LOGNAME": "student"}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **kept, **ENVIRONMENT, **own}


def _harness(folder: Path, allow: Sequence[str]) -> None:
    """Copy what runs the file into the folder `harness`, and link NumPy there."""
    top = folder / "harness"
    for name in HARNESS:
        package, _, rest = name.partition("/")
        source = Path(_origin(package)).parent / rest
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        for above in (top / name).relative_to(top).parents[:-1]:
            (top / above / "__init__.py").touch()
        shutil.copyfile(source, top / name)
    (top / "numpy").symlink_to(Path(_origin("numpy")).parent, target_is_directory=True)
    more = [str(Path(_origin(name)).parents[1]) for name in allow]
    (top / "__main__.py").write_text(START.format(more=list(dict.fromkeys(more))))


def _origin(package: str) -> str:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RefusedError(f"{package} is not installed as files; expected a folder.")
    return spec.origin


def _user(file: File, folder: Path, isolation: str) -> tuple[int | None, str]:
    """Lay out the folder. Returns the user that the file runs as, None for that of this process, and its
    Python. Raises RefusedError where the file would run as root, unless `isolation` is "none"."""
    _put(file, folder)
    home = folder / "home"
    user = _free_user() if isolation != "none" else None
    python = _python(user, folder, folder / file.name)
    if not python:
        raise RefusedError(
            f"this is root, and no other user can read Python, NumPy and {folder.parent}: the file would run "
            "as root. Have them where others may read them (not under /root), or grade as another user; or "
            "give --isolation none if you trust the file."
        )
    if user is not None:
        os.chown(home, user, user)
    return user, python


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

    def __init__(
        self, file: File, rubric: Rubric, folder: Path, user: int | None, python: str, offline: bool
    ) -> None:
        path = folder / file.name
        super().__init__(str(path))
        self.file, self.path, self.user, self.offline = file, path, user, offline
        home = folder / "home"
        limits = Limits(rubric.seconds, rubric.memory_mib * 2**20, user)
        apart = ["/bin/sh", "-c", GUARDIAN, "sh", str(FILE_SIZE // 512)]
        number = str(PROCESSES if user is not None else 0)
        allowed = [f"--allow={name}" for name in _with_parts(rubric.allow)]
        ours = [python, *ISOLATED, str(folder / "harness"), str(path), "--guarded"]
        command = [*apart, number, *(OFFLINE if offline else ()), *ours, *allowed]
        self.child = Child(command, limits, _environment(home), cwd=home, alone=True)

    @staticmethod
    @contextmanager
    def of(file: File, rubric: Rubric, isolation: str = "auto") -> Iterator[Submission]:
        """A copy in a temporary folder. Afterwards the folder and every process that it started are gone.

        Raises RefusedError where the file would run as root, unless `isolation` is "none".
        """
        with tempfile.TemporaryDirectory(prefix="graded-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            mask = os.umask(0o022)  # another user reads what is made here
            try:
                _harness(folder, rubric.allow)
            finally:
                os.umask(mask)
            user, python = _user(file, folder, isolation)
            env = _environment(folder / "home")
            offline = isolation != "none" and _as(user, [*OFFLINE, "true"], env)
            submission = Submission(file, rubric, folder, user, python, offline)
            try:
                with _unreadable():
                    yield submission
            finally:
                submission.end()

    @property
    def isolation(self) -> str:
        """How far it is apart from the grader, in words for the teacher."""
        user = "the user of the grader" if self.user is None else "a user of its own"
        return f"a process of its own, as {user}, {'without' if self.offline else 'with'} network"

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
