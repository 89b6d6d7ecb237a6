"""What the README shows is run: its Python, and its `conformance` commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for language, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
    if line.startswith(".venv/bin/conformance ")
]


def test_the_python_of_the_readme_runs_and_conforms() -> None:
    (code,) = [text for language, text in BLOCKS if language == "python"]
    found: dict[str, object] = {}
    exec(code, found)
    assert {"A", "Z", "delta", "dL_dW"} <= found.keys()
    assert sorted(found["dL_dW"]) == [1, 2]  # type: ignore[call-overload]


def test_there_are_commands_to_run() -> None:
    assert {c[0] for c in COMMANDS} == {
        "show", "list", "run", "report", "activation", "faults", "grade", "vectors", "diff", "audit",
        "handout",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme(command: list[str], tmp_path: Path) -> None:
    if command[0] == "run":
        command = [*command, "--jobs", "0"]
        if "quick" in command:  # the profile itself is run by the tests of the runner
            command += ["--select", "family=integers"]
        command += ["--json", str(tmp_path / "r.json")]
    if command[0] == "faults":
        command = [*command, "--jobs", "0", "--select", "depth=2"]
    if command[0] == "vectors":
        command = [
            str(tmp_path / "out") if part == "vectors" and i > 1 else part
            for i, part in enumerate(command)
        ]
    if command[0] in ("report", "diff"):
        ran = CliRunner().invoke(
            main,
            [
                *(
                    "run",
                    "--select",
                    "family=integers,activation=relu",
                    "--implementation",
                    "refbp",
                ),
                *("--jobs", "0", "--json", str(tmp_path / "conformance.json")),
            ],
        )
        assert ran.exit_code == 0, ran.output
        made = str(tmp_path / "conformance.json")
        again = ["report", made, "--html", str(tmp_path / "again.html")]
        command = again if command[0] == "report" else ["diff", made, made]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.output.strip()


def test_the_files_it_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z]+)", README))
    assert {"conformance", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
