"""Every command and every block of code in the README and the documentation is run, page by page.

A page is followed from its top, in a folder of its own with the files that its reader would have.
What takes minutes is run as printed, but on fewer cases (`NARROWED`). What installs or runs the
tests themselves is not run again (`ELSEWHERE` says where it is). What is printed below a command is
looked for in what the page's commands printed.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from conformance.commands.main import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

TINYGRAD = "run --profile quick --implementation examples/with_tinygrad.py:Everything"
NARROWED = {
    TINYGRAD: "--select activation=softplus,depth=2 --jobs 0",  # in tinygrad's interpreter
    "run --network": "--jobs 0",
    "run": "--select activation=tanh,depth=2 --jobs 0",
    "faults": "--fault sign-flipped --select depth=2 --jobs 0",
    "vectors export": "--select depth=2,activation=tanh",
}
IN_FULL = {  # what they print is shown
    "conformance run --profile quick --implementation examples/wrong_student.py",
    "conformance run --profile quick --implementation examples/with_sklearn.py:Sklearn",
}
EXIT_CODE = {  # else 0
    "conformance activation --torch leaky.py:PReLU --dtype float32 --no-network": 1,
    "conformance audit my_notes.py": 1,
    "conformance audit our_notes.py": 1,
    "conformance function norms.py:rms_norm --vjp norms.py:rms_norm_vjp --inputs 'x=16x32, g=32'": 1,
    "conformance function examples/rms_norm.py:rms_norm --vjp examples/rms_norm.py:rms_norm_vjp "
    "--inputs 'x=16x32, g=32'": 1,
    "conformance function embedding.py:embedding --vjp embedding.py:embedding_vjp "
    "--inputs 'table=50x8, ids=16:int<50'": 1,
    "conformance function layer_norm.py:forward --vjp layer_norm.py:backward --takes saves "
    "--inputs 'x=16x24, g=24, b=24' --dtype float32 --accumulate float32 --report layer_norm.html": 1,
    "conformance module examples/block.py:net --input 4x5x8 --loss cross_entropy "
    "--families ordinary,redrawn": 1,
    "conformance module tiny.py:net --input 4x5x8 --loss cross_entropy --families ordinary,redrawn": 1,
    "conformance module mlp.py:net --input 4x3 --vmap --families ordinary,redrawn": 1,
    "conformance run --profile quick --implementation examples/wrong_student.py": 1,
    "conformance run --profile quick --implementation 'cmd:./faulty'": 1,
}
ELSEWHERE = {  # first words: what runs it
    "pip install": "tests/meta/test_packaging.py, and `make setup`",
    "python -m build": "tests/meta/test_packaging.py",
    "make": "CI, whose `.ci/run` calls the same targets",
    "pytest": "`make test`",
    "python -m pytest": "`make test`",
    "python -m conformance.judge.measure": "tests/conformance/test_measure.py",
    "python benchmarks/checkers.py": "tests/meta/test_checkers_doc.py, three entries of it",
    "dask": "tests/conformance/test_cluster.py, with options of its own",
    "conformance run --scheduler": "tests/conformance/test_cluster.py",
    "sbatch": "tests/meta/test_cluster_files.py, with stubs",
    "python benchmarks/memory.py": "nothing: it measures, for a minute",
}
SHOWN_ELSEWHERE = {  # blocks that are no output of the page's commands
    "CONTRIBUTING.md": "drawings of the flow",
    "docs/tolerances.md": "formulas",
    "docs/reference/commands.md": "tests/meta/test_commands_doc.py",
}
OTHERS = {  # what is run where a package is installed, by a word in it
    "thinc": "thinc",
    "LearnNeuralNet": "nn",
    "from nn ": "nn",
    "Scratchai": "scratchai",
    "scratchai": "scratchai",
    "NumpyNeuralNetwork": "numpy_neural_network",
    "numpy_neural_network": "numpy_neural_network",
}
SENTENCES = (ROOT / "tests/conformance/test_student.py").read_text(encoding="utf-8")  # also shown

ADAPTER = (ROOT / "examples/with_autograd.py").read_text(encoding="utf-8")
MISH = """
import numpy as np, torch, jax
def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)
def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
def mish(x):
    return x * np.tanh(softplus(x))
def mish_prime(x):
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)
class MishFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.tanh(torch.nn.functional.softplus(x, threshold=1e4))
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        t = torch.tanh(torch.nn.functional.softplus(x, threshold=1e4))
        return g * (t + x * (1 - t * t) * torch.sigmoid(x))
def mish_jax(x):
    return x * jax.numpy.tanh(jax.nn.softplus(x))
"""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    def lines(self) -> list[str]:
        """Of a shell block: a command a line, without comments."""
        joined = self.text.replace("\\\n", " ").splitlines()
        bare = [" ".join(re.sub(r"(^|\s+)#\s.*$", "", line).split()) for line in joined]
        return [line.removeprefix(".venv/bin/") for line in bare if line]


FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S[^\n]*\n)+(?=\n)")


def blocks(path: Path) -> list[Block]:
    """Fenced ones, and indented ones, which show what was printed (or a drawing)."""
    text = path.read_text(encoding="utf-8")
    found = [(m.start(), Block(m[1], m[2])) for m in FENCE.finditer(text)]
    prose = FENCE.sub(lambda m: "\n" * len(m[0]), text)
    found += [(m.start(), Block("", m[0])) for m in INDENTED.finditer(prose)]
    return [block for _, block in sorted(found, key=lambda pair: pair[0])]


def inline(path: Path) -> list[str]:
    """The commands in running text and in tables."""
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    codes = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
    start = re.compile(
        r"(\.venv/bin/)?(conformance [a-z]|make [a-z]|pytest |python -m |python bench)"
    )
    return [code for code in codes if start.match(code) and "…" not in code]


class Reader:
    """Follows a page: what it has typed so far, where it is, and what was printed."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.printed = ""
        self.ran = 0
        self.skipped = False  # for want of a package: what is shown next was not printed

    def follow(self, block: Block) -> None:
        if block.language in ("sh", "python"):
            self.skipped = any(w in block.text and not find_spec(p) for w, p in OTHERS.items())
        if self.skipped:
            return
        match block.language:
            case "python" if ">>> " in block.text:
                self.doctest(block.text)
            case "python":
                self.python(block.text)
            case "sh":
                for line in block.lines():
                    self.shell(line)
            case "yaml" | "bash" if block.text.startswith("# "):
                pass  # a whole file, which test_ci_files.py or test_cluster_files.py runs
            case "yaml":
                for line in steps(yaml.safe_load(block.text)):
                    self.shell(line)
            case "json":
                for line in (
                    [block.text] if block.text.startswith("{\n") else block.text.splitlines()
                ):
                    json.loads(line.replace("[…]", "[]"))
            case "toml":
                assert tomllib.loads(block.text)
                if named := re.match(r"# file: (\S+)\n", block.text):
                    Path(named[1]).write_text(block.text, encoding="utf-8")
            case "" | "text":
                pass  # what was printed: test_what_a_page_shows...
            case other:
                pytest.fail(f"{self.page}: a block of {other}, which is not run. Teach this test.")

    def doctest(self, text: str) -> None:
        """As one session from block to block."""
        test = doctest.DocTestParser().get_doctest(text, self.names, self.page, self.page, 0)
        test.globs = self.names
        ran = doctest.DocTestRunner(verbose=False)
        said = io.StringIO()
        ran.run(test, out=said.write, clear_globs=False)
        assert not ran.failures, said.getvalue()
        self.ran += 1

    def python(self, text: str) -> None:
        """Executed, and its tests called; and written, where it says so."""
        if named := re.match(r"# file: (\S+)\n", text):
            Path(named[1]).write_text(text, encoding="utf-8")
        before = set(self.names)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(text, self.page, "exec"), self.names)
            for test in [n for n in set(self.names) - before if n.startswith("test_")]:
                self.test(self.names[test])
        self.printed += said.getvalue()
        self.ran += 1

    def test(self, f: Any) -> None:
        """As pytest would; of one with many parameters the first two."""
        marks = getattr(f, "pytestmark", [])
        if not marks:
            f()
        for mark in marks:
            ran = 0
            for value in mark.args[1]:
                with contextlib.suppress(pytest.skip.Exception):
                    f(value)
                    ran += 1
                if ran == 2:
                    break
            assert ran == 2, f"{self.page}: {f.__name__} is skipped"

    def shell(self, line: str) -> None:
        if start := next((s for s in ELSEWHERE if line.startswith(s)), ""):
            what_runs_elsewhere_is_there(start, line)
        elif line.startswith("conformance "):
            self.conformance(line)
        elif line.startswith("cd "):
            os.chdir(line.removeprefix("cd "))
        else:
            done = subprocess.run(line, shell=True, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
            self.printed += done.stdout
        self.ran += 1

    def conformance(self, line: str) -> None:
        """One command, in this process."""
        words = shlex.split(line)[1:]
        narrower = next(
            (more for c, more in NARROWED.items() if f"{line} ".startswith(f"conformance {c} ")), ""
        )
        if line in IN_FULL:
            narrower = "--jobs 0"
        elif "examples/wild/networks.py" in line:
            narrower = "--jobs 1"  # in a process where their warnings are no errors
        given = {word for word in words if word.startswith("--")}
        more = shlex.split(narrower)
        for option, value in zip(more[::2], more[1::2], strict=True):
            words += [] if option in given or "--list" in given else [option, value]
        done = CliRunner().invoke(main, words)
        found = "examples/wild/" in line  # each of these shows what is wrong
        assert done.exit_code == EXIT_CODE.get(line, int(found)), (
            f"{shlex.join(words)}\n{done.output[-2000:]}"
        )
        assert done.output.strip(), line
        self.printed += done.output


def steps(workflow: Any) -> list[str]:
    """The commands of a workflow's steps, or of a list of steps."""
    if isinstance(workflow, dict):
        workflow = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(step.keys() & {"run", "uses"} for step in workflow), workflow
    return [line for step in workflow for line in step.get("run", "").splitlines()]


def what_runs_elsewhere_is_there(start: str, line: str) -> None:
    """The target, the file, the tests that it names."""
    words = shlex.split(line)
    if words[0] == "conformance":
        known_to_click(words[1:])
    if start == "make":
        for target in [word for word in words[1:] if "=" not in word]:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), line
    for word in words[1:]:
        if word.startswith(("tests/", "benchmarks/")):
            assert (ROOT / word).exists(), line
    if "-k" in words and "pytest" in words:
        (where,) = [word for word in words if word.startswith("tests/")]
        files = [ROOT / where] if where.endswith(".py") else [*(ROOT / where).rglob("test_*.py")]
        tests = re.findall(r"def (test_\w+)", "".join(f.read_text(encoding="utf-8") for f in files))
        for part in words[words.index("-k") + 1].split(" or "):
            assert any(part in f"{f.stem} {test}" for test in tests for f in files), line


@pytest.fixture(scope="session")
def some_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the adapter, as a baseline would be."""
    path = tmp_path_factory.mktemp("page")
    (path / "adapter.py").write_text(f"{ADAPTER}\nMyNetwork = Autograd\n", encoding="utf-8")
    command = f"run --implementation adapter.py:MyNetwork {NARROWED['run']} --json results.json"
    with contextlib.chdir(path):
        done = CliRunner().invoke(main, shlex.split(command))
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some_results: Path) -> Path:
    """What a reader of any page would have: a clone's examples and tests, files of their own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for part in ("tests", "docs", "conformance"):
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "reports").mkdir()
    for results in ("reports/conformance.json", "results.json", "baseline.json"):
        shutil.copy(some_results / "results.json", tmp_path / results)
    shutil.copy(ROOT / "examples/student.py", tmp_path)
    shutil.copy(some_results / "adapter.py", tmp_path)
    (tmp_path / "my.py").write_text(MISH, encoding="utf-8")
    shutil.copy(ROOT / "examples/my_notes.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # a block imports what another wrote
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for option in command_of(main, "activation").params:
        if option.name == "timeout":  # of a machine that does nothing else
            monkeypatch.setattr(option, "default", 300.0)
    return tmp_path


@pytest.fixture
def backprop(folder: Path) -> None:
    """The program in C, where the page names it."""
    source = folder / "examples/c/backprop.c"
    subprocess.run(["cc", "-O2", "-ffp-contract=off", source, "-o", "backprop", "-lm"], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("folder", "backprop")
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_can_be_followed(path: Path) -> None:
    reader, shown = Reader(name(path)), []
    for block in blocks(path):
        reader.follow(block)
        if reader.skipped:
            continue
        if block.language in ("", "text") and name(path) not in SHOWN_ELSEWHERE:
            shown.append(block.text)
    for text in shown:
        asserted = all(part in SENTENCES for part in flat(text).rstrip(".").split(". "))
        if not asserted and flat(text) not in flat(reader.printed):
            lacking = [line for line in text.splitlines() if flat(line) not in flat(reader.printed)]
            pytest.fail("no command prints these lines, or not together:\n" + "\n".join(lacking))


def flat(text: str) -> str:
    """In one line; which part of its tolerance a right number is off by, the processor says."""
    return re.sub(r"(?<=at most 0\.)\d+(?= of the tolerance)", "…", " ".join(text.split()))


def test_the_pages_have_something_to_run() -> None:
    assert sum(len(blocks(path)) for path in PAGES) >= 90


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_command_in_running_text_is_one(path: Path) -> None:
    for line in inline(path):
        line = line.removeprefix(".venv/bin/")
        if line.startswith("conformance "):
            known_to_click(shlex.split(line)[1:])
        else:
            start = next(s for s in ELSEWHERE if line.startswith(s))
            what_runs_elsewhere_is_there(start, line)


def command_of(group: click.Group, name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None, name
    return found


def known_to_click(words: list[str]) -> None:
    """A command with options that it has: nothing is run."""
    group: Any = main
    while isinstance(group, click.Group) and words:
        group = command_of(group, words.pop(0))
    options = {o for p in group.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    for word in words:
        assert not word.startswith("-") or word in options, f"{group.name} has no {word}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_what_a_page_links_to_is_there(path: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_pages_of_the_site_are_those_there_are() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = set(re.findall(r"([\w/]+\.md)", config.partition("\nnav:")[2]))
    assert nav == {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")}
