"""Grades a class: a folder with one file or one folder a student, in parallel, and so that it can be resumed.

Each grade is a task of its own in a pool of processes. A file that ends even the process that grades it costs
its own grade alone.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pebble import ProcessExpired

from conformance.commands.command import ending_in_order
from conformance.commands.grading.grade import Grade, grade, nothing
from conformance.commands.grading.rubric import Rubric
from conformance.commands.grading.submission import File, SubmissionError, find, opened
from conformance.tools.code import beside, digest
from conformance.tools.journal import Journal
from conformance.tools.plain import without_sequences
from conformance.tools.pool import pools
from conformance.tools.trouble import RefusedError

__all__ = ["Submitted", "graded", "submitted", "told"]

HINTS = "what"  # for the grader's page; students are told less, if the rubric says so
MORE = (
    600.0  # seconds a grade may take beyond those of the file itself, before its process is ended
)
LEARNING = (  # what learning platforms make of a student's name and number, in the names of what they pack
    re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_\w*"),  # Moodle
    re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d+)_\d+_.*"),  # Canvas
)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Submitted:
    """What one student handed in, and its grade."""

    entry: str  # the file's or folder's name, unique
    student: str
    id: str
    file: File | None
    reason: str = ""  # why there is no file
    grade: Grade | None = None

    @property
    def result(self) -> Grade:
        """The grade. What is not graded has none."""
        assert self.grade is not None
        return self.grade


def submitted(folder: Path, rubric: Rubric) -> Iterator[Submitted]:
    """What is in the folder, by name: each is a student's; what is no Python file has a reason instead."""
    for path in sorted(folder.iterdir()):
        if _left_out(path.name):
            continue
        named = next((m for p in LEARNING if (m := p.fullmatch(path.name))), None)
        name, id = (named["name"], named["id"]) if named else (path.name.removesuffix(".py"), "")
        s = Submitted(path.name, without_sequences(name, 100) or "?", id, None)
        try:
            yield replace(s, file=replace(opened(_file(path, rubric.file)), name=rubric.file))
        except SubmissionError as e:
            yield replace(s, reason=str(e))
        except OSError as e:
            yield replace(s, reason=f"It cannot be read: {e.strerror}.")


def _left_out(name: str) -> bool:
    """Whether a system put it there: .DS_Store, and __MACOSX with a ._hw.py for hw.py."""
    return name.startswith((".", "__"))


def _file(path: Path, name: str) -> Path:
    """A student's file: of that name in a folder, or the only Python file there. Raises SubmissionError."""
    if path.is_symlink():
        raise SubmissionError(f"{path.name} is a link. Hand in the file itself.")
    if path.is_file() and path.suffix == ".py":
        return path
    if not path.is_dir():
        raise SubmissionError(f"{path.name} is no Python file. Hand in {name}.")
    found = [
        p
        for p in path.rglob("*.py")
        if p.is_file() and not p.is_symlink() and not any(map(_left_out, p.relative_to(path).parts))
    ]
    return found[0] if len(found) == 1 else find(path, name)


def graded(
    every: list[Submitted],
    rubric: Rubric,
    isolation: str,
    jobs: int,
    progress: Progress,
    journal: Journal | None = None,
    resumed: bool = False,
) -> list[Submitted]:
    """The grades, each written to the journal as it comes; those that are in it already are not made again.

    Raises FileError for a journal that cannot be kept, RefusedError for what this machine lacks.
    """
    known = {} if journal is None else _known(journal, rubric, resumed)
    done = {s.entry: known[k] for s in every if (k := _key(s)) in known}
    with pools([jobs]) as (pool,):
        limit = rubric.total_seconds + MORE
        tasks = {
            s: pool.schedule(_grade, args=[s.file, s.reason, rubric, isolation], timeout=limit)
            for s in every
            if s.entry not in done
        }
        progress(len(done), len(every), "")
        for s, task in tasks.items():
            try:
                done[s.entry] = task.result()
            except (ProcessExpired, FutureTimeoutError):
                reason = "The file ended the process that grades it. Run it alone, and look at it."
                done[s.entry] = nothing(rubric, reason, HINTS)
            if journal is not None:
                journal.add([[_key(s), done[s.entry]]])
            progress(len(done), len(every), s.entry)
    return [replace(s, grade=done[s.entry]) for s in every]


def told(every: list[Submitted]) -> str:
    """The class in a few words, and who is there twice."""
    scores = [s.result["score"] for s in every]
    flagged = sum(bool(s.result["flags"]) for s in every)
    told = (
        f"{len(every)} submissions: mean {statistics.fmean(scores):.2f}, median "
        f"{statistics.median(scores):g} of {every[0].result['max_score']:g} points; {flagged} to look at"
    )
    number = Counter((s.student, s.id) for s in every)
    twice = [f"{student} has {n}" for (student, _), n in number.items() if n > 1]
    return "\n".join([told, *twice])


def _grade(file: File | None, reason: str, rubric: Rubric, isolation: str) -> Grade:
    """What a worker does."""
    if file is None:
        return nothing(rubric, reason, HINTS)
    with ending_in_order():  # so that the file's process and folder end with an interrupted class
        return grade(file, rubric, HINTS, isolation)


def _key(s: Submitted) -> str:
    data = s.file.data if s.file else s.reason.encode()
    return f"{s.entry}/{hashlib.sha256(data).hexdigest()}"


def _known(journal: Journal, rubric: Rubric, resumed: bool) -> dict[str, Grade]:
    """The grades in the journal, by the same rubric and the same code."""
    ours = [*Path(__file__).parents[2].rglob("*.py"), *beside("refbp")]
    key = hashlib.sha256(f"{rubric.text}{digest(ours)}".encode()).hexdigest()
    records = journal.begin(key, resumed)
    if not all(isinstance(r, list) and len(r) == 2 for r in records):
        raise RefusedError(f"{journal.path} holds no grades. Run without --resume.")
    return {str(k): cast("Grade", g) for k, g in records}
