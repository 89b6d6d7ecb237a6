"""conformance handout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import deliver, echo, form_of, main, must_be_writable
from conformance.tools.files import FileError, write_atomically
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.commands.handout.document import Handout, Wish

__all__: list[str] = []

FORMATS = ("html", "tex", "md", "ipynb")
MOST_DIGITS = 15


@main.command()
@click.argument("example", required=False)
@click.option(
    "--to", type=click.Choice(FORMATS), help="The format (html, or as the ending of --output)."
)
@click.option(
    "--digits", type=click.IntRange(2, MOST_DIGITS), default=6, help="Significant digits (6)."
)
@click.option(
    "--steps",
    type=click.Choice(("all", "forward", "backward")),
    default="all",
    help="Which steps (all).",
)
@click.option("--blanks", is_flag=True, help="Boxes instead of results, for students.")
@click.option("--key", is_flag=True, help="With --blanks: the answers at the end.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="F", help="Write it there, not here."
)
@click.option("--list", "listing", is_flag=True, help="The examples that there are.")
@click.option(
    "--all", "folder", type=click.Path(path_type=Path), metavar="DIR",
    help="All of them in all formats, with an index.",
)  # fmt: skip
def handout(
    example: str | None,
    to: str | None,
    digits: int,
    steps: str,
    blanks: bool,
    key: bool,
    output: Path | None,
    listing: bool,
    folder: Path | None,
) -> None:
    """Work EXAMPLE out step by step: one of --list, or FILE.toml, your own.

    Exit codes: 0, it is written; 2, it is not.
    """
    from conformance.commands.handout.document import Wish, made
    from conformance.commands.handout.example import read
    from conformance.commands.handout.formats import rendered

    wanted = sum((example is not None, listing, folder is not None))
    if wanted != 1:
        raise RefusedError("expected one of EXAMPLE, --list and --all DIR.")
    if key and not blanks:
        raise RefusedError("--key has the answers of --blanks; expected both.")
    if output and not example:
        raise RefusedError("--output is the file of one EXAMPLE; expected --all DIR for a folder.")
    wish = Wish(digits, steps, blanks, key)
    form = form_of(output, to, dict(zip(FORMATS, FORMATS, strict=True)), "html")
    must_be_writable(output)
    if listing:
        _list()
    elif folder is not None:
        _write_all(folder, wish)
    else:
        result = made(read(example or ""), wish)
        deliver("handout", rendered(result, form), output, err=True)
        _must_have_answered([result])


def _must_have_answered(handouts: Sequence[Handout]) -> None:
    """Raise RefusedError if an implementation failed. One that is not installed is no failure."""
    for handout in handouts:
        for a in handout.answers:
            if a.verdict == "error":
                raise RefusedError(
                    f"{handout.example.name} is written, but {a.name} failed: {a.reason}"
                )


def _list() -> None:
    from conformance.commands.handout.example import names, read

    examples = [read(n.partition("-")[2]) for n in names()]  # without its number: 01-two-layers
    widest = max(len(e.name) for e in examples)
    for e in examples:
        echo(f"{e.name:{widest}}  {e.title}")


def _write_all(folder: Path, wish: Wish) -> None:
    """Every example in every format, and then the index, so that it links to no file that failed."""
    from conformance.commands.handout.document import made
    from conformance.commands.handout.example import names, read
    from conformance.commands.handout.formats import rendered
    from conformance.commands.handout.html import Entry, index

    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise FileError(f"cannot write {folder}: {e.strerror}.") from e
    entries, handouts = [], []
    for name in names():
        example = read(name.partition("-")[2])
        # an example that shows a plot has no steps to leave blank
        plot = example.show == "plot"
        result = made(example, replace(wish, blanks=False, key=False) if plot else wish)
        handouts.append(result)
        files = [(form, f"{name}.{form}") for form in FORMATS]
        for form, file in files:
            write_atomically(folder / file, rendered(result, form))
        entries.append(Entry(example, files))
    write_atomically(folder / "index.html", index(entries))
    echo(f"{len(entries)} examples: {folder / 'index.html'}", err=True)
    _must_have_answered(handouts)
