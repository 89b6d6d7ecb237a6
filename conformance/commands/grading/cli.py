"""conformance grade."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from conformance.commands.command import (
    deliver,
    echo,
    ending_in_order,
    hand_over,
    main,
    must_be_writable,
    must_differ,
    must_not_replace,
    progress_shown,
)
from conformance.tools.files import FileError, write_atomically
from conformance.tools.journal import Journal
from conformance.tools.pool import processes
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.commands.grading.grade import Grade
    from conformance.commands.grading.rubric import Rubric

__all__: list[str] = []

FORMATS = ("gradescope", "json", "text")
HINTS = ("none", "where", "what")
ISOLATION = ("auto", "none")
COLUMNS = ("all", "canvas", "moodle")


@main.command()
@click.argument("student", required=False, type=click.Path(path_type=Path))
@click.option(
    "--rubric",
    "rubric_path",
    type=click.Path(path_type=Path),
    metavar="F.toml",
    help="What is asked for, and the points (without it, the one that comes along).",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", help="How it is written (text)."
)
@click.option(
    "--hints", type=click.Choice(HINTS), help="What is said of a mistake (else as the rubric says)."
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, not here."
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    metavar="F.csv",
    help="Grade a class, one file or folder a student in the folder STUDENT: a row each.",
)
@click.option(
    "--columns",
    type=click.Choice(COLUMNS),
    default="all",
    help="Of --csv, for whom they are (all).",
)
@click.option(
    "--feedback",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Grade a class: a Markdown and an HTML file for each student there.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="F.html",
    help="Grade a class: a page for whoever teaches.",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes that grade a class (cores).")
@click.option("--resume", is_flag=True, help="Go on with a class, from F.csv.journal.")
@click.option(
    "--isolation",
    type=click.Choice(ISOLATION),
    default="auto",
    help="none: run the file as this user, even if that is root (auto).",
)
@click.option(
    "--package",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Grade nothing: write an autograder for Gradescope there.",
)
def grade(
    student: Path | None,
    rubric_path: Path | None,
    form: str,
    hints: str | None,
    output: Path | None,
    csv_path: Path | None,
    columns: str,
    feedback: Path | None,
    report: Path | None,
    jobs: int | None,
    resume: bool,
    isolation: str,
    package: Path | None,
) -> None:
    """Grade STUDENT, a file with forward_pass and backward_prop, or the folder that it was handed in in; or,
    with --csv, --feedback or --report, a class.

    Exit codes: 0, there is a grade, whatever it is; 2, there is none.
    """
    from conformance.commands.grading.rubric import read

    rubric = read(rubric_path)
    if package is not None:
        if student or output or hints:
            raise RefusedError("--package takes a --rubric and nothing else; hints stand in it.")
        _write_package(package, rubric)
        return
    if student is None:
        raise RefusedError("there is nothing to grade: expected STUDENT.py, or --package DIR.")
    if columns != "all" and csv_path is None:
        raise RefusedError("--columns needs --csv F.csv, whose columns they are.")
    if csv_path or feedback or report:
        if output or form != "text" or not student.is_dir():
            raise RefusedError(
                "--csv, --feedback and --report are of a class: expected a folder with a file or a folder "
                "for each student, and no --format or --output."
            )
        must_differ([csv_path, report], feedback)
        must_not_replace(list(filter(None, [rubric_path])), [csv_path, report])
        of = _Class(
            student, rubric, hints or rubric.hints, isolation, csv_path, columns, feedback, report
        )
        _grade_class(of, processes(jobs), resume)
        return
    if resume:
        raise RefusedError("--resume needs --csv F.csv, beside which F.csv.journal is.")
    if jobs is not None:
        raise RefusedError(
            "--jobs is of a class; expected --csv, --feedback or --report beside it."
        )
    _may_be_written(output, student, rubric_path)
    with ending_in_order():
        made = _graded(student, rubric, hints or "", isolation)
    deliver("grade", _written(made, form), output, document=form != "text")
    for flag in made["flags"]:
        echo(f"for the grader alone: {flag}", err=True)
    if student.is_dir() and made["notes"] and not made["isolation"]:
        echo(
            "for the grader alone: a class is graded with --csv, --feedback or --report.", err=True
        )


class _Class(NamedTuple):
    """What of a class is graded, how, and where it is written."""

    folder: Path
    rubric: Rubric
    hints: str
    isolation: str
    csv: Path | None
    columns: str
    feedback: Path | None
    report: Path | None


def _grade_class(c: _Class, jobs: int, resume: bool) -> None:
    """Grade every submission in a folder, and write what was asked for. Raises RefusedError, FileError."""
    from conformance.commands.grading.course import graded, submitted, told
    from conformance.commands.grading.pages import feedback, page
    from conformance.commands.grading.sheet import as_csv

    every = list(submitted(c.folder, c.rubric))
    if not every:
        raise RefusedError(
            f"there is nothing to grade in {c.folder}: expected a file or a folder for each student."
        )
    if resume and c.csv is None:
        raise RefusedError("--resume needs --csv F.csv, beside which F.csv.journal is.")
    for path in (c.csv, c.report):
        must_be_writable(path)
    if c.feedback:
        _must_be_a_folder(c.feedback, c.folder)
    with ExitStack() as stack:
        stack.enter_context(ending_in_order())
        journal = Journal(c.csv.with_name(f"{c.csv.name}.journal")) if c.csv else None
        if journal:
            stack.enter_context(journal)
        with progress_shown() as progress:
            every = graded(every, c.rubric, c.isolation, jobs, progress, journal, resume)

        def write_feedback(folder: Path) -> None:
            for name, text in feedback(every, c.hints).items():
                write_atomically(folder / name, text)

        hand_over(
            lambda: echo(told(every)),
            "",
            ("grades", c.csv, lambda path: write_atomically(path, as_csv(every, c.columns))),
            ("feedback", c.feedback, write_feedback),
            ("report", c.report, lambda path: write_atomically(path, page(every))),
        )
        if journal:
            journal.remove()


def _must_be_a_folder(path: Path, submissions: Path) -> None:
    """Make the folder for the feedback if need be. Raises FileError."""
    if path.resolve() == submissions.resolve():
        raise FileError(f"cannot write to {path}: the submissions are there. Name another folder.")
    try:
        path.mkdir(exist_ok=True)
    except OSError as e:
        raise FileError(f"cannot write to the folder {path}: {e.strerror or e}.") from e


def _may_be_written(output: Path | None, *inputs: Path | None) -> None:
    """Raise FileError for a path that cannot be written, before the work and not after it."""
    must_be_writable(output)
    if output and any(output.resolve() == p.resolve() for p in inputs if p):
        raise FileError(f"cannot write {output}: it is one of the files that are read.")


def _graded(student: Path, rubric: Rubric, hints: str, isolation: str) -> Grade:
    """The grade of a file, or of the one file of its name in a folder; a grade of 0 where there is none."""
    from conformance.commands.grading.grade import grade as graded
    from conformance.commands.grading.grade import nothing
    from conformance.commands.grading.submission import SubmissionError, find, opened

    try:
        file = opened(find(student, rubric.file) if student.is_dir() else student)
    except SubmissionError as e:
        return nothing(rubric, str(e), hints)
    except OSError as e:
        raise RefusedError(
            f"cannot read {student}: {e.strerror or e}; expected a Python file with forward_pass and "
            "backward_prop."
        ) from e
    return graded(file, rubric, hints, isolation)


def _written(grade: Grade, form: str) -> str:
    from conformance.commands.grading.formats import FORMATS as WRITERS

    return WRITERS[form](grade)


def _write_package(folder: Path, rubric: Rubric) -> None:
    from conformance.commands.grading.package import write

    for path in write(folder, rubric):
        echo(str(path))
