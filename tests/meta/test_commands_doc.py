"""docs/reference/commands.md is what `--help` prints, of every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from conformance.commands.main import main

DOC = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
HEAD = """# Commands

What `conformance COMMAND --help` prints. Exit codes: 0, all that ran conforms; 1, something deviates;
2, the tool could not do its job.
"""


def each(command: Any, name: str, above: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """(name, help) of a command and of those within it."""
    settings = {**command.context_settings, "max_content_width": 100, "terminal_width": 100}
    context = click.Context(command, info_name=name, parent=above, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for inner in sorted(command.list_commands(context)):
            yield from each(command.get_command(context, inner), inner, context)


def page() -> str:
    """The page as it should be."""
    found = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in each(main, "conformance")]
    return "\n".join([HEAD, *found])


def test_the_page_is_what_help_prints() -> None:
    assert DOC.read_text(encoding="utf-8") == page()
