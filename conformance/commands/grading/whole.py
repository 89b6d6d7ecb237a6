"""A class from its folder to its files: the grades, the sheet, the feedback and the page."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path

from conformance.commands.command import echo, ending_in_order, must_be_writable, progress_shown
from conformance.commands.grading.course import Submitted, graded, submitted
from conformance.commands.grading.pages import feedback as feedback_of
from conformance.commands.grading.pages import page
from conformance.commands.grading.rubric import Rubric
from conformance.commands.grading.sheet import as_csv
from conformance.tools.files import FileError, write_atomically
from conformance.tools.journal import Journal
from conformance.tools.plain import plain
from conformance.tools.pool import processes
from conformance.tools.trouble import RefusedError

__all__ = ["grade_class"]


def grade_class(
    folder: Path,
    rubric: Rubric,
    hints: str,
    isolation: str,
    jobs: int | None,
    resume: bool,
    *,
    csv_path: Path | None,
    columns: str,
    feedback: Path | None,
    report: Path | None,
) -> None:
    """Grade every submission in a folder, and write what was asked for. Raises RefusedError, FileError."""
    every = list(submitted(folder, rubric))
    if not every:
        raise RefusedError(
            f"there is nothing to grade in {folder}: expected a file or a folder for each student."
        )
    if resume and csv_path is None:
        raise RefusedError("--resume needs --csv F.csv, beside which F.csv.journal is.")
    must_be_writable(csv_path)
    must_be_writable(report)
    _must_be_a_folder(feedback, folder)
    with ExitStack() as stack:
        stack.enter_context(ending_in_order())
        journal = None
        if csv_path:
            journal = stack.enter_context(Journal(csv_path.with_name(f"{csv_path.name}.journal")))
        with progress_shown() as progress:
            every = graded(every, rubric, isolation, processes(jobs), progress, journal, resume)
        if csv_path:
            write_atomically(csv_path, as_csv(every, columns))
        if feedback:
            for name, text in feedback_of(every, hints).items():
                write_atomically(feedback / name, text)
        if report:
            write_atomically(report, page(every))
        if journal:
            journal.remove()
    _tell(every)
    for kind, path in (("grades", csv_path), ("feedback", feedback), ("report", report)):
        if path:
            echo(f"{kind}: {plain(str(path))}")


def _must_be_a_folder(path: Path | None, submissions: Path) -> None:
    """Make the folder for the feedback if need be. Raises FileError."""
    if path is None:
        return
    if path.resolve() == submissions.resolve():
        raise FileError(f"cannot write to {path}: the submissions are there. Name another folder.")
    try:
        path.mkdir(exist_ok=True)
    except OSError as e:
        raise FileError(f"cannot write to the folder {path}: {e.strerror or e}.") from e


def _tell(every: list[Submitted]) -> None:
    scores = [s.result["score"] for s in every]
    flagged = sum(bool(s.result["flags"]) for s in every)
    echo(
        f"{len(every)} submissions: mean {statistics.fmean(scores):.2f}, median "
        f"{statistics.median(scores):g} of {every[0].result['max_score']:g} points; {flagged} to look at"
    )
