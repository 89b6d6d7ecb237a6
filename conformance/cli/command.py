"""What every command of the command line shares: the group, its exit codes, refusals, outputs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from conformance.cases import CaseError
from conformance.results import ResultsError, try_to_write

__all__ = [
    "Refusal",
    "ending_in_order",
    "form_of",
    "main",
    "may_be_written",
    "must_be_writable",
    "must_not_replace",
    "outputs",
    "progress_shown",
    "refusing",
    "table",
]


class Refusal(click.ClickException):
    """Exit code 2, and one sentence."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """On standard error."""
        click.echo(f"conformance: {self.message}", err=True)


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with what was asked for, in one sentence, with exit code 2."""
    from conformance.faults.table import FaultError
    from conformance.runner import RunError

    try:
        yield
    except (CaseError, FaultError, ResultsError, RunError) as e:
        raise Refusal(str(e)) from e


class _ExitCodes(click.Group):
    """1 is for what deviates alone: click exits with 1 where nobody reads, and at Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and see what it printed out of the door."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt) as e:
            raise Refusal("interrupted; nothing was written.") from e
        except OSError as e:
            # or the interpreter tries to print it again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise Refusal(f"cannot write to standard output: {e.strerror or e}.") from e


def form_of(
    output: Path | None, asked: str | None, endings: Mapping[str, str], default: str
) -> str:
    """The format that is asked for, or that the file's ending says. Raises Refusal where the two differ, or
    where the ending is of none of them."""
    if output is None:
        return asked or default
    ending = output.suffix.lower().removeprefix(".")
    said = endings.get(ending)
    if said is None and asked is None:
        known = ", ".join(f".{e}" for e in endings)
        raise Refusal(
            f"cannot tell the format of {output}; expected an ending of {known}, or --to."
        )
    if said and asked and said != asked:
        raise Refusal(f"{output} ends in .{ending}, which is {said}, and --to says {asked}.")
    return asked or said or default


@click.group(cls=_ExitCodes, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refbp", prog_name="conformance")
def main() -> None:
    """Is this backpropagation right? Every quantity of every layer, judged against certified truth.

    Exit codes: 0, all that ran conforms; 1, something deviates; 2, the tool could not do its job.
    """


def outputs(what: str) -> Callable[[Any], Any]:
    """The options --report and --json of a command that makes both."""

    def decorate(command: Any) -> Any:
        path = click.Path(path_type=Path)
        as_json = click.option(
            "--json", "json_path", type=path, metavar="F.json", help=f"Write the {what}."
        )
        as_html = click.option(
            "--report", type=path, metavar="F.html", help="Write the HTML report."
        )
        return as_html(as_json(command))

    return decorate


def may_be_written(report: Path | None, json_path: Path | None, what: str) -> None:
    """Refuse before a minute's work, not after."""
    if report and json_path and report.resolve() == json_path.resolve():
        raise ResultsError(f"cannot write {report}: the report and the {what} have one name.")
    for path in (report, json_path):
        must_be_writable(path)


def must_not_replace(inputs: Sequence[Path], outputs: Sequence[Path | None]) -> None:
    """What a command writes is none of what it reads."""
    for path in filter(None, outputs):
        if any(path.resolve() == i.resolve() for i in inputs):
            raise ResultsError(
                f"cannot write {path}: it is read by this command. Name another file."
            )


def must_be_writable(path: Path | None) -> None:
    """A file that is there to be replaced, or a folder to put one in."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise ResultsError(f"cannot write {path}: it is a folder; expected the name of a file.")
        if path.exists() and not path.is_file():
            raise ResultsError(f"cannot write {path}: it is no file, and would be replaced by one.")
    except OSError as e:
        raise ResultsError(f"cannot write {path}: {e.strerror}.") from e
    if not path.parent.is_dir():
        raise ResultsError(f"cannot write {path}: there is no folder {path.parent}.")
    try_to_write(path)


@contextmanager
def progress_shown() -> Iterator[Any]:
    """A bar on a terminal; elsewhere a line at each tenth."""
    if sys.stderr.isatty():
        with click.progressbar(length=1, label="judging", file=sys.stderr, show_pos=True) as bar:

            def advance(done: int, total: int, case: str) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            yield advance
        return
    tenths = [0]

    def line(done: int, total: int, case: str) -> None:
        if total and done * 10 // total > tenths[0]:
            tenths[0] = done * 10 // total
            click.echo(f"{done:,} of {total:,} results", err=True)

    yield line


def table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be; numbers to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        cells = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Told to end, end as at Ctrl-C: the workers and their folder go first."""
    numbers = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {n: signal.signal(n, lambda number, frame: sys.exit(128 + number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
