"""conformance handout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import echo, echo_document, form_of, main, must_be_writable
from conformance.tools.files import FileError, write_atomically
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.commands.handout.document import Handout, Wish
    from conformance.commands.handout.example import Example

__all__: list[str] = []

FORMATS = ("html", "tex", "md", "ipynb")
ENDINGS = {**dict(zip(FORMATS, FORMATS, strict=True)), "pdf": "pdf"}
SUFFIX = {"beamer": "tex"}
MOST_DIGITS, MOST_VARIANTS = 15, 500


@main.command()
@click.argument("example", required=False)
@click.option(
    "--to",
    type=click.Choice((*FORMATS, "beamer", "pdf")),
    help="The format (html, or as the ending of --output).",
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
@click.option(
    "--scalar", default="", metavar="W", help="Follow one weight by the chain rule: 'W_1[0,1]'."
)
@click.option("--no-provenance", is_flag=True, help="Leave out who agrees, and how certain it is.")
@click.option("--blanks", is_flag=True, help="Boxes instead of results, for students.")
@click.option(
    "--student",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A file with blanks there; --key DIR: the same worked out.",
)
@click.option(
    "--key",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="With --blanks: the answers at the end. With --student: the folder of the keys.",
)
@click.option(
    "--variants",
    type=click.IntRange(1, MOST_VARIANTS),
    metavar="N",
    help="With --student and --key: N networks with other numbers.",
)
@click.option("--seed", type=click.IntRange(0, 10**9), default=1, help="Of the first variant (1).")
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
    scalar: str,
    no_provenance: bool,
    blanks: bool,
    student: Path | None,
    key: str | None,
    variants: int | None,
    seed: int,
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

    if key and not student and example is None:  # `--blanks --key EXAMPLE`
        example, key = key, ""
    wanted = sum((example is not None, listing, folder is not None))
    if wanted != 1:
        raise RefusedError("expected one of EXAMPLE, --list and --all DIR.")
    _must_go_together(blanks, student, key, variants, output, folder)
    if output and not example:
        raise RefusedError("--output is the file of one EXAMPLE; expected --all DIR for a folder.")
    wish = Wish(digits, steps, blanks, key is not None and not student, scalar, not no_provenance)
    form = form_of(output, to, _endings(to), "html")
    must_be_writable(output)
    if listing:
        _list()
    elif folder is not None:
        _write_all(folder, wish)
    elif student:
        _write_apart(read(example or ""), wish, form, (student, Path(key or "")), variants, seed)
    else:
        if form == "pdf" and not output:
            raise RefusedError("--to pdf is no text to print; expected --output F.pdf.")
        result = made(read(example or ""), wish)
        if output:
            write_atomically(output, _content(result, form))
            echo(f"handout: {output}", err=True)
        else:
            echo_document(rendered(result, form))
        _must_have_answered([result])


def _must_go_together(
    blanks: bool, student: Path | None, key: str | None, variants: int | None,
    output: Path | None, folder: Path | None,
) -> None:  # fmt: skip
    """Raise RefusedError for options that do not."""
    if student and not key:
        raise RefusedError("--student DIR has the blanks; expected --key DIR too, for the answers.")
    if key and not student:
        raise RefusedError(f"--key {key} is the folder of the keys; expected --student DIR too.")
    if variants and not student:
        raise RefusedError("--variants are files; expected --student DIR and --key DIR too.")
    if student and (blanks or output or folder):
        raise RefusedError(
            "--student and --key say what is written and where; expected no --blanks, --output, --all."
        )
    if key is not None and not student and not blanks:
        raise RefusedError("--key has the answers of --blanks; expected both.")
    if student and key and student.absolute() == Path(key).absolute():
        raise RefusedError("--student and --key are one folder; expected two.")


def _content(handout: Handout, form: str) -> str | bytes:
    """What a file of this format has in it."""
    from conformance.commands.handout.formats import rendered
    from conformance.commands.handout.paper import pdf

    return pdf(handout) if form == "pdf" else rendered(handout, form)


def _endings(to: str | None) -> dict[str, str]:
    """The formats by the ending of a file; slides are LaTeX too."""
    return {**ENDINGS, **({"tex": "beamer"} if to == "beamer" else {})}


def _write_apart(
    e: Example, wish: Wish, form: str, folders: tuple[Path, Path], variants: int | None, seed: int
) -> None:
    """The blanks in one folder, the answers in another; of variants a table of their seeds beside these."""
    from conformance.commands.handout.agreement import ASKED
    from conformance.commands.handout.document import made
    from conformance.commands.handout.variants import variant

    for folder in folders:
        _make(folder)
    rows, handouts = [("variant", "seed", "student", "key")], []
    student, key = folders
    for k in range(variants or 1):
        one = variant(e, seed + k) if variants else e
        file = f"{e.name}{f'-{k + 1:0{len(str(variants))}}' if variants else ''}.{SUFFIX.get(form, form)}"
        asked = ("refbp",) if variants else ASKED
        for folder, blanks in ((student, True), (key, False)):
            handouts.append(made(one, replace(wish, blanks=blanks), asked))
            write_atomically(folder / file, _content(handouts[-1], form))
        rows.append((str(k + 1), str(seed + k), str(student / file), str(key / file)))
    if variants:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(rows)
        write_atomically(key / "variants.csv", table.getvalue())
    echo(f"{variants or 1} for students: {student}; the answers: {key}", err=True)
    _must_have_answered(handouts)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise FileError(f"cannot write {folder}: {e.strerror}.") from e


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

    _make(folder)
    entries, handouts = [], []
    for name in names():
        example = read(name.partition("-")[2])
        # an example that shows a plot has no steps to leave blank
        plot = example.show == "plot"
        result = made(example, replace(wish, blanks=False, key=False, scalar="") if plot else wish)
        handouts.append(result)
        files = [(form, f"{name}.{form}") for form in FORMATS]
        for form, file in files:
            write_atomically(folder / file, rendered(result, form))
        entries.append(Entry(example, files))
    write_atomically(folder / "index.html", index(entries))
    echo(f"{len(entries)} examples: {folder / 'index.html'}", err=True)
    _must_have_answered(handouts)
