"""What the documentation shows is run: every Python block, and every `conformance` command, page by page."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
TUTORIALS = [p for p in PAGES if p.parent.name == "tutorials"]


def name(path: Path) -> str:
    return str(path.relative_to(DOCS))


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of each."""
    return BLOCK.findall(path.read_text(encoding="utf-8"))


def commands(text: str) -> list[list[str]]:
    """The lines of a shell block that call conformance; continued lines are one."""
    joined = text.replace("\\\n", " ").splitlines()
    lines = [line.removeprefix(".venv/bin/") for line in joined]
    return [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("conformance ")
    ]


class Page:
    """A page's blocks, run in their order in one folder."""

    def __init__(self, folder: Path) -> None:
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.folder = folder

    def python(self, text: str) -> None:
        """Executed; and written, where it says so."""
        if named := re.match(r"# file: (\S+)\n", text):
            (self.folder / named[1]).write_text(text, encoding="utf-8")
        exec(compile(text, "block", "exec"), self.names)

    def shell(self, arguments: list[str]) -> None:
        """One command, in this process."""
        if arguments[0] in ("run", "faults") and "--jobs" not in arguments:
            arguments = [*arguments, "--jobs", "0"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, f"{shlex.join(arguments)}\n{done.output[-2000:]}"
        assert done.output.strip()


@pytest.mark.parametrize("path", TUTORIALS, ids=name)
def test_a_tutorial_can_be_followed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page, ran = Page(tmp_path), 0
    for language, text in blocks(path):
        if language == "python":
            page.python(text)
            ran += 1
        if language == "sh":
            for command in commands(text):
                page.shell(command)
                ran += 1
    assert ran >= 3


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_what_a_page_links_to_is_there(path: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", BLOCK.sub("", path.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_command_of_a_page_is_one(path: Path) -> None:
    """Those that take minutes are not run here; but each is a command with options that it has."""
    for language, text in blocks(path):
        if language == "sh":
            for command in commands(text):
                check(command)
        if language == "json" and "…" not in text:
            json.loads(text)


def check(command: list[str]) -> None:
    """Whether click knows the command and its options: nothing is run."""
    group: Any = main
    words = list(command)
    while hasattr(group, "commands"):
        assert words[0] in group.commands, command
        group = group.commands[words.pop(0)]
    context = group.context_class(
        group, help_option_names=["-h", "--help"]
    )  # as main hands them on
    group.make_parser(context).parse_args(words)


def test_the_pages_of_the_site_are_those_there_are() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = set(re.findall(r"([\w/]+\.md)", config.partition("\nnav:")[2]))
    assert nav == {name(p) for p in PAGES}
