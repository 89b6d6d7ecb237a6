"""What all commands share: the click group and its exit codes, common options, and how results are
written."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from conformance.tools.cache import keep_compiled
from conformance.tools.code import named
from conformance.tools.files import FileError, try_to_write, write_atomically
from conformance.tools.names import unknown
from conformance.tools.plain import plain
from conformance.tools.trouble import RefusedError, ending

__all__ = [
    "Commands",
    "deliver",
    "echo",
    "echo_document",
    "ending_in_order",
    "form_of",
    "hand_over",
    "main",
    "may_be_written",
    "must_be_writable",
    "must_differ",
    "must_not_replace",
    "must_not_replace_code",
    "names_in",
    "numbers",
    "outputs",
    "progress_shown",
]


Command = TypeVar("Command", bound=Callable[..., object])
Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with how many results are done, of how many, and the latest case."""


class Commands(click.Group):
    """A group of commands that return their exit code. Nothing else can make it 0 or 1: no exception, no
    sys.exit in the code that is judged, and not click, which exits with 1 at Ctrl-C and if standard output is
    closed.

    `where` has, for each command, the module that registers it, which is imported only when the command is
    used, and its line in the help.
    """

    where: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of the commands, in alphabetical order."""
        return sorted({*self.where, *self.commands})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name; its module is imported now."""
        if name in self.where:
            import_module(self.where[name][0])
        return super().get_command(context, name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name. Raises UsageError, which suggests the nearest name, if there is none."""
        if not args[0].startswith("-") and self.get_command(context, args[0]) is None:
            context.fail(unknown("command", args[0], self.list_commands(context)))
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The lines of the help, written without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.where[n][1]) for n in self.list_commands(context)])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **more: Any,
    ) -> Any:
        """Run a command line, and exit."""
        if "_CONFORMANCE_COMPLETE" in os.environ:  # a shell asks for completions
            return super().main(args, prog_name or "conformance", complete_var, True, **more)
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **more)
        arguments = list(sys.argv[1:] if args is None else args)
        with ending():
            code = self._code(prog_name or "conformance", arguments, more)
        sys.exit(code)

    def _code(self, name: str, arguments: list[str], more: dict[str, Any]) -> int:
        try:
            with self.make_context(name, arguments, **more) as context:
                code: int | None = self.invoke(context)
            click.echo(nl=False)  # flush: output that cannot be written fails here
        except click.exceptions.Exit as e:  # --help
            return e.exit_code
        except click.Abort as e:
            raise KeyboardInterrupt from e
        except click.ClickException as e:
            return _shown(e)
        except OSError as e:
            if _printing(e):
                # else the interpreter would flush the same text again at exit, and fail once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise RefusedError(f"cannot write to standard output: {e.strerror or e}.") from e
            raise
        return code or 0


def _shown(e: click.ClickException) -> int:
    """Print click's message about how the command is used, by `echo`, since it quotes what was typed."""
    text = StringIO()
    e.show(text)
    for line in text.getvalue().splitlines():
        echo(line, err=True)
    return 2


def _printing(e: OSError) -> bool:
    """Whether the error comes from writing to standard output or error, and not to some other file."""
    frames = traceback.walk_tb(e.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def echo(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Write a message. Every message goes through here, so that no text in it can control the terminal."""
    text = plain(text, lines=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":  # GitHub obeys lines that look like its commands
        text = re.sub(r"^(\s*)::", r"\1: :", text, flags=re.MULTILINE).replace("##[", "## [")
    click.echo(text, err=err, nl=nl)


def echo_document(text: str) -> None:
    """Write a page, a notebook or JSON to standard output, the same bytes as to a file. The writer of the
    document has already escaped any text from outside."""
    click.echo(text, nl=False)


def deliver(
    kind: str, text: str, output: Path | None, document: bool = True, err: bool = False
) -> None:
    """Write a text to a file, and print "kind: file"; without a file, write it to standard output.

    `document`: the text goes to standard output unchanged, and not as a message. `err`: "kind: file" goes to
    standard error.
    """
    if output:
        write_atomically(output, text)
        echo(f"{kind}: {output}", err=err)
    elif document:
        echo_document(text)
    else:
        echo(text, nl=False)


File: TypeAlias = tuple[str, Path | None, Callable[[Path], None]]
"""What the file has in it, its path if it was asked for, and the function that writes it."""


def hand_over(screen: Callable[[], None], answer: str, *files: File) -> None:
    """Write the files that were asked for, then print the screen, the files' names and the answer.

    Each is done even if another fails: without jinja2 there is no report, but there are results and a
    verdict. The first exception is raised at the end.
    """
    raised: list[Exception] = []

    def attempt(do: Callable[..., None], *paths: Path) -> bool:
        try:
            do(*paths)
        except Exception as e:
            raised.append(e)
            return False
        return True

    def show() -> None:
        screen()
        if done:
            echo()
        for kind, path in done:
            echo(f"{kind}: {plain(str(path))}")
        if answer:
            echo(answer)

    done = [(kind, path) for kind, path, write in files if path and attempt(write, path)]
    attempt(show)
    if raised:
        raise raised[0]


def form_of(
    output: Path | None, asked: str | None, endings: Mapping[str, str], default: str
) -> str:
    """The format: that of --to, else that of the output file's ending, else the default.

    Raises RefusedError if the two differ, or if the file's ending is unknown and there is no --to.
    """
    if output is None:
        return asked or default
    ending = output.suffix.lower().removeprefix(".")
    by_ending = endings.get(ending)
    if by_ending is None and asked is None:
        known = ", ".join(f".{e}" for e in endings)
        raise RefusedError(
            f"cannot tell the format of {output}; expected an ending of {known}, or --to."
        )
    if by_ending and asked and by_ending != asked:
        raise RefusedError(
            f"{output} ends in .{ending}, which is {by_ending}, and --to says {asked}."
        )
    return asked or by_ending or default


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refbp", prog_name="conformance")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    envvar="CONFORMANCE_CACHE",
    help="Keep there what JAX compiles (~/.cache/refbp).",
)
@click.option("--no-cache", is_flag=True, help="Let JAX compile everything anew.")
def main(cache: Path | None, no_cache: bool) -> None:
    """Is this backpropagation right? Every quantity of every layer, judged against certified truth.

    Exit codes: 0, all that ran conforms; 1, something deviates; 2, the tool could not do its job.
    """
    keep_compiled(cache, not no_cache)


def outputs(what: str) -> Callable[[Command], Command]:
    """Decorate a command with --report and --json; `what` names the contents of the JSON file."""

    def decorate(command: Command) -> Command:
        path = click.Path(path_type=Path)
        as_json = click.option(
            "--json", "json_path", type=path, metavar="F.json", help=f"Write the {what}."
        )
        as_html = click.option(
            "--report", type=path, metavar="F.html", help="Write the HTML report."
        )
        return as_html(as_json(command))

    return decorate


def numbers(command: Command) -> Command:
    """Decorate a command about a function or a network with its common options: data, dtypes, time limit."""
    options = (
        click.option(
            "--families",
            default="",
            metavar="NAMES",
            help="Try this data alone: ordinary, ties, ….",
        ),
        click.option(
            "--dtype",
            default="float64",
            metavar="DTYPE",
            help="float64, float32, float16, bfloat16 (float64).",
        ),
        click.option(
            "--accumulate",
            default="",
            metavar="DTYPE",
            help="What sums and products are added up in.",
        ),
        click.option("--tf32", is_flag=True, help="Matrix products round their factors to TF32."),
        click.option(
            "--strict", is_flag=True, help="What is inaccurate, by losing digits, is exit code 1."
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(0.5, 36000),
            default=600.0,
            help="Seconds for it all (600).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def names_in(text: str) -> list[str]:
    """The names in a text such as "ordinary, ties"."""
    return [n.strip() for n in text.split(",") if n.strip()]


def may_be_written(report: Path | None, json_path: Path | None, what: str) -> None:
    """Raise FileError, before the work begins, for a path that cannot be written."""
    if report and json_path and report.resolve() == json_path.resolve():
        raise FileError(f"cannot write {report}: the report and the {what} have one name.")
    for path in (report, json_path):
        must_be_writable(path)


def must_differ(outputs: Sequence[Path | None], folder: Path | None = None) -> None:
    """Raise FileError if two files to be written are the same, or one is in `folder`, which is for other
    files."""
    paths = [path.resolve() for path in outputs if path]
    for path in paths:
        if folder and folder.resolve() in (path, path.parent):
            raise FileError(f"cannot write {path}: the report's files are in {folder}.")
    for path in paths:
        if paths.count(path) > 1:
            raise FileError(f"cannot write {path} twice; expected another name for each file.")


def must_not_replace(inputs: Sequence[Path], outputs: Sequence[Path | None]) -> None:
    """Raise FileError if a file to be written is one that the command reads."""
    for path in filter(None, outputs):
        if any(path.resolve() == i.resolve() for i in inputs):
            raise FileError(f"cannot write {path}: it is read by this command. Name another file.")


def must_not_replace_code(names: Iterable[str], outputs: Sequence[Path | None]) -> None:
    """Raise FileError if a file to be written is a file of the code under test."""
    files = {path.resolve() for name in names for path in named(name)}
    for path in filter(None, outputs):
        if path.resolve() in files:
            raise FileError(f"cannot write {path}: it is the file under test.")


def must_be_writable(path: Path | None) -> None:
    """Raise FileError unless the path is a file that may be replaced, or a new name in a folder that
    exists."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise FileError(f"cannot write {path}: it is a folder; expected the name of a file.")
        if path.exists() and not path.is_file():
            raise FileError(f"cannot write {path}: it is no file, and would be replaced by one.")
    except OSError as e:
        raise FileError(f"cannot write {path}: {e.strerror}.") from e
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}.")
    try_to_write(path)


@contextmanager
def progress_shown() -> Iterator[Progress]:
    """Show progress on standard error: a bar on a terminal; elsewhere a line at each tenth."""
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
            echo(f"{done:,} of {total:,} results", err=True)

    yield line


@contextmanager
def ending_in_order() -> Iterator[None]:
    """At SIGTERM or SIGHUP, exit as at Ctrl-C, so that `with` blocks end their processes and delete
    folders."""
    numbers = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {n: signal.signal(n, lambda number, frame: sys.exit(128 + number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
