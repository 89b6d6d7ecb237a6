"""What keeps the tool from its job is told in one sentence, and is exit code 2, whatever it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from conformance.commands.command import hand_over
from conformance.commands.main import main
from conformance.model.results_file import read, read_trials
from conformance.tools import trouble

FEW = "family=square,activation=tanh"


def each(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from each(command, (*above, name))
        else:
            yield (*above, name)


COMMANDS = list(each(main))
assert len(COMMANDS) > 15


def conformance(*args: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args], prog_name="conformance")


def raising(e: BaseException) -> Any:
    def raises(*args: Any, **more: Any) -> Any:
        raise e

    return raises


def planted(words: tuple[str, ...], does: Any, monkeypatch: pytest.MonkeyPatch) -> Result:
    """A command that does this instead."""
    command: Any = main
    for word in words:
        command = command.get_command(click.Context(command), word)
    monkeypatch.setattr(command, "callback", does)
    monkeypatch.setattr(command, "params", [])
    return conformance(*words)


def refused(done: Result) -> str:
    """The one line on standard error of a command that ended with exit code 2."""
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("conformance: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("conformance: ").strip()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_of_every_command_an_exception_is_exit_code_2(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = planted(words, raising(ZeroDivisionError("division by zero")), monkeypatch)
    assert refused(done).startswith(
        "it could not go on: ZeroDivisionError: division by zero (test_"
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("code", [0, 1, 2])
def test_of_every_command_the_exit_code_is_what_it_returns(
    words: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert planted(words, lambda: code, monkeypatch).exit_code == code


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise self


@pytest.mark.parametrize(
    ("e", "said"),
    [
        (MemoryError(), "there is not enough memory."),
        (KeyboardInterrupt(), "interrupted."),
        (click.Abort(), "interrupted."),
        (RecursionError("too\ndeep"), "it could not go on: RecursionError: too deep (test_"),
        (trouble.RefusedError("no.\x1b[31m"), "no.\\x1b[31m"),
        (ModuleNotFoundError("…", name="torsh"), "torsh is not installed: pip install torsh."),
        (
            ModuleNotFoundError("…", name="click.core"),  # click is there: it is broken
            "it could not go on: ModuleNotFoundError: … (test_",
        ),
        (
            ImportError("cannot import name 'Markup' from 'jinja2'", name="jinja2"),
            "it could not go on: ImportError: cannot import name 'Markup' from 'jinja2' (test_",
        ),
        (
            ModuleNotFoundError("No module named '_lzma'", name="_lzma"),  # no pip install has it
            "it could not go on: ModuleNotFoundError: No module named '_lzma' (test_",
        ),
        (
            OSError(28, "No space left on device", "/tmp/x"),  # and not "standard output"
            "it could not go on: OSError: [Errno 28] No space left on device: '/tmp/x' (test_",
        ),
        (BrokenPipeError(32, "Broken pipe"), "it could not go on: BrokenPipeError: [Errno 32] "),
        (
            UnreadableError(),
            "it could not go on: UnreadableError: a message that cannot be read (test_",
        ),
        (SystemExit(0), "something ended the program with exit code 0."),  # never green
        (SystemExit(1), "something ended the program with exit code 1."),  # and no deviation
        (SystemExit("bye"), "something ended the program with exit code bye."),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else "",
)
def test_whatever_is_raised(e: BaseException, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(planted(("list",), raising(e), monkeypatch)).startswith(said)


def test_told_to_end_it_ends_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planted(("list",), raising(SystemExit(143)), monkeypatch).exit_code == 143


def test_what_is_typed_does_not_steer_the_terminal() -> None:
    done = conformance("list", "--\x1b[31mred")
    assert done.exit_code == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31mred" in done.stderr


def test_where_nothing_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is gone too: the exit code is what is left."""

    class Gone:
        def write(self, text: str) -> int:
            raise OSError(9, "Bad file descriptor")

        flush: Any = None

    monkeypatch.setattr(sys, "stderr", Gone())
    with pytest.raises(SystemExit) as end, trouble.ending():
        raise ZeroDivisionError
    assert end.value.code == 2


# --- as a program ---------------------------------------------------------------------------------


def program(tmp_path: Path, *args: Any, **modules: str) -> subprocess.CompletedProcess[str]:
    """The command, where these modules are what they are here."""
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from conformance.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, tmp_path, *map(str, args)], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "raise ImportError('undefined symbol: x', name='click')",
            "it could not go on: ImportError: undefined symbol: x (click.py:1).",
        ),
        ("1 / 0", "it could not go on: ZeroDivisionError: division by zero (click.py:1)."),
        ("x =", "it could not go on: SyntaxError: invalid syntax (click.py, line 1) ("),
        ("raise SystemExit(1)", "something ended the program with exit code 1."),
    ],
)
def test_click_that_is_broken(text: str, said: str, tmp_path: Path) -> None:
    done = program(tmp_path, "list", click=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"conformance: {said}")
    assert done.stderr.count("\n") == 1


def test_a_traceback_is_there_for_whoever_asks() -> None:
    code = "from conformance.tools.trouble import ending\nwith ending(): 1 / 0"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.splitlines()[-1].startswith("conformance: it could not go on: ZeroDivisionE")


BROKEN = "raise ImportError(\"cannot import name 'Markup' from 'jinja2'\", name='jinja2')"
HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (
            ("run", "--implementation", "refbp", "--select", FEW, "--jobs", "0", "--report", "{html}"),
            "conforms: 2 results of refbp: all conform.",
        ),
        (
            ("run", "--implementation", "refbp", "--select", FEW, "--jobs", "0", "--html-dir", "{dir}"),
            "conforms: 2 results of refbp: all conform.",
        ),
        (
            ("faults", "--fault", "sign-flipped", "--select", FEW, "--jobs", "0", "--report", "{html}"),
            "1 of 1 faults caught; no false alarm; 1 of 1 diagnosed by name (100.0%).",
        ),
        (
            ("activation", f"{HERE}/activation/under_test.py:silu", "--truth", "silu", "--no-autodiff",
             "--no-network", "--report", "{html}"),
            "right: ",
        ),
    ],
    ids=lambda x: x[0] if isinstance(x, tuple) else "",
)  # fmt: skip
def test_without_the_report_there_are_results_and_a_verdict(
    args: tuple[str, ...], answer: str, tmp_path: Path
) -> None:
    """jinja2 is broken, which shows when all has been judged."""
    html, data = tmp_path / "r.html", tmp_path / "r.json"
    words = [a.format(html=html, dir=tmp_path / "folder") for a in args]
    done = program(tmp_path, *words, "--json", data, jinja2=BROKEN)
    assert done.returncode == 2
    assert any(line.startswith(answer) for line in done.stdout.splitlines())
    assert f"\n{'findings' if args[0] == 'activation' else 'results'}: {data}\n" in done.stdout
    assert done.stderr.splitlines()[-1].startswith(
        "conformance: it could not go on: ImportError: cannot import name 'Markup' from 'jinja2' ("
    )
    assert "Traceback" not in done.stderr
    reader: Any = {"run": read, "faults": read_trials}.get(
        args[0], lambda p: json.loads(p.read_text())
    )
    assert reader(data)
    assert not html.exists()


@pytest.mark.parametrize(
    ("args", "verdict", "silent"),
    [
        ((), "not-run", "torch-cpu, torch-cuda, jax-cpu, jax-cpu-jit, jax-cuda, jax-cuda-jit"),
        (("--implementation", "refbp", "--require", "torch-cpu"), "not-run", "torch-cpu"),
        (("--implementation", "torch-cpu", "--implementation", "refbp"), "not-run", "torch-cpu"),
        (("--implementation", "refbp"), "conforms", ""),
    ],
)
def test_frameworks_that_are_installed_and_broken(
    args: tuple[str, ...], verdict: str, silent: str, tmp_path: Path
) -> None:
    """As a user has them: in a process of its own, on its path."""
    broken = "raise ImportError('undefined symbol: x')"
    words = ("run", *args, "--select", FEW, "--jobs", "0")
    done = program(tmp_path, *words, torch=broken, jax=broken)
    last = done.stdout.splitlines()[-1]
    if not silent:
        assert (done.returncode, last) == (0, "conforms: 2 results of refbp: all conform.")
        return
    assert (done.returncode, last) == (2, f"{verdict}: could not run: {silent}.")
    assert "torch-cpu: error: it did not start: ImportError: undefined symbol: x\n" in done.stdout
    assert "pip install" not in done.stdout


def test_make_conformance_requires_what_it_is_there_to_judge() -> None:
    text = (HERE.parents[1] / "Makefile").read_text(encoding="utf-8")
    required = {"refbp", "torch-cpu", "jax-cpu", "jax-cpu-jit"}
    assert set(re.findall(r"--require (\S+)", text)) == required


# --- handing over ---------------------------------------------------------------------------------


def test_what_is_handed_over_does_not_hang_on_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(OSError, match="the screen"):
        hand_over(
            raising(OSError("the screen")),
            "the answer",
            ("first", first, lambda path: path.touch()),
            ("second", second, lambda path: path.touch()),
        )
    assert first.exists()
    assert second.exists()
    with pytest.raises(MemoryError):
        hand_over(
            lambda: print("the screen"),
            "the answer",
            ("first", first, raising(MemoryError())),
            ("second", second, lambda path: path.touch()),
            ("third", None, raising(AssertionError())),
        )
    assert capsys.readouterr().out == f"the screen\n\nsecond: {second}\nthe answer\n"
