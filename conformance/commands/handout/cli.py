"""conformance handout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import echo, echo_document, form_of, main, must_be_writable
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
        found = made(read(example or ""), wish)
        _hand_out(rendered(found, form), output)
        _must_have_answered([found])


def _must_have_answered(handouts: Sequence[Handout]) -> None:
    """Of those asked for the same numbers, who is not installed is left out; who fails is heard of."""
    for handout in handouts:
        for a in handout.answers:
            if a.verdict == "error":
                raise RefusedError(
                    f"{handout.example.name} is written, but {a.name} failed: {a.reason}"
                )


def _hand_out(text: str, output: Path | None) -> None:
    if output is None:
        echo_document(text)
        return
    write_atomically(output, text)
    echo(f"handout: {output}", err=True)


def _list() -> None:
    from conformance.commands.handout.example import names, read

    found = [read(n.partition("-")[2]) for n in names()]
    widest = max(len(e.name) for e in found)
    for e in found:
        echo(f"{e.name:{widest}}  {e.title}")


def _write_all(folder: Path, wish: Wish) -> None:
    """Everything, and the index last."""
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
        found = made(example, _possible(wish, example.show))
        handouts.append(found)
        files = [(form, f"{name}.{form}") for form in FORMATS]
        for form, file in files:
            write_atomically(folder / file, rendered(found, form))
        entries.append(Entry(example, files))
    write_atomically(folder / "index.html", index(entries))
    echo(f"{len(entries)} examples: {folder / 'index.html'}", err=True)
    _must_have_answered(handouts)


def _possible(wish: Wish, show: str) -> Wish:
    """An example that shows a plot has nothing to leave blank."""
    from dataclasses import replace

    return replace(wish, blanks=False, key=False) if show == "plot" else wish
