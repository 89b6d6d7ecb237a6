"""The command line: exit codes, one line for what is wrong, and nothing half-written."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conformance.cases.catalogue import FAMILIES
from conformance.cases.profiles import PROFILES, cases
from conformance.commands import command
from conformance.commands.main import main
from conformance.implementations import IMPLEMENTATIONS, NotRunError, implementation
from conformance.judge import runner
from conformance.model.problem import Problem, Trace
from conformance.model.results_file import read
from conformance.report.screen import columns

FEW = "family=square,activation=tanh"
ONE = "typical/tanh/L2/n7/float64/bias"
REFBP = implementation("refbp")  # before anything is planted in its place


def conformance(*args: Any) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in args], prog_name="conformance")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*args: Any) -> str:
    """What is said, in one line and on standard error, with exit code 2."""
    result = conformance(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("conformance: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("conformance: ").strip()


class Planted:
    name, description = "refbp", "planted"

    def __init__(self, change: Callable[[Trace], Trace]) -> None:
        self.change = change

    def start(self) -> Any:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        return self.change(REFBP.run(p))


def doubled(t: Trace) -> Trace:
    return t if len(t.A) == 1 else replace(t, dW={l: 2 * M for l, M in t.dW.items()})


# --- run ------------------------------------------------------------------------------------------


def test_a_run_that_conforms(tmp_path: Path) -> None:
    html, results = tmp_path / "r.html", tmp_path / "r.json"
    done = conformance("run", "--implementation", "refbp", "--select", FEW, "--jobs", 0,
                       "--report", html, "--json", results)  # fmt: skip
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "", "2 cases (standard: family=square,activation=tanh); worst: error over tolerance", "",
    ]  # fmt: skip
    assert lines[3].split() == [
        "implementation", "conforms", "not-run", "known-difference", "inaccurate",
        "undecided", "deviates", "error",
        "worst", "end-to-end", "worst", "row", "worst", "step",
    ]  # fmt: skip
    name, *counts = lines[4].split()
    assert (name, counts[:7]) == ("refbp", ["2", *"·" * 6])
    assert all(0 < float(x) <= 1 for x in counts[7:])
    assert lines[5:] == [
        "", f"results: {results}", f"report: {html}", "", "conforms: 2 results of refbp: all conform.",
    ]  # fmt: skip
    assert done.stderr.splitlines() == ["1 of 2 results", "2 of 2 results"]
    assert json.loads(results.read_text())["profile"]["select"] == FEW
    assert html.read_text().startswith("<!DOCTYPE html>") or html.read_text().startswith(
        "<!doctype html>"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]


@pytest.mark.slow
def test_a_run_of_a_profile() -> None:
    done = conformance("run", "--profile", "quick", "--implementation", "refbp", "--jobs", 0)
    assert done.exit_code == 0
    assert f"\n{len(cases('quick'))} cases (quick); worst: error over tolerance\n" in done.stdout


def test_a_run_in_which_something_deviates(plant: Callable[..., None]) -> None:
    plant("refbp", Planted(doubled))
    done = conformance("run", "--implementation", "refbp", "--select", FEW, "--jobs", 0)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "deviates: 2 deviates."
    case = "square/tanh/L3/n7/float64/w4-4"
    assert "\nrefbp: 2 deviates, of 2 cases\n  to blame    ∂L/∂W (2 cases)" in done.stdout
    assert f"\n  smallest    {case}\n              ∂L/∂W_3[" in done.stdout
    assert f"\n  see it      conformance show {case} --implementation refbp\n" in done.stdout


@pytest.mark.slow
def test_many_deviations_are_told_on_one_screen(plant: Callable[..., None]) -> None:
    plant("refbp", Planted(doubled))
    done = conformance(
        "run", "--implementation", "refbp", "--select", "activation=tanh,depth=2", "--jobs", 0
    )
    assert done.exit_code == 1
    total = int(re.search(r"^deviates: (\d+) deviates\.$", done.stdout, re.MULTILINE)[1])  # type: ignore[index]
    assert total > 20
    assert f"\nrefbp: {total} deviates, of " in done.stdout
    assert len(done.stdout.splitlines()) < 30
    assert done.stdout.count("\n  see it      conformance show") == 1


def test_a_stale_row_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.judge.known_differences import Difference

    row = Difference(
        "made-up", "refbp", "what", "why", "where", "square", "tanh", takes=((0.5, 9.0),)
    )
    monkeypatch.setattr(runner, "known_differences", lambda: (row,))
    done = conformance("run", "--implementation", "refbp", "--select", FEW, "--jobs", 0)
    assert done.exit_code == 2
    assert (
        "\nstale: the known difference made-up did not show; remove its row, or find out why.\n"
        in done.stdout
    )
    assert done.stdout.endswith("\nerror: known differences that no longer show: made-up.\n")


def test_an_implementation_asked_for_that_cannot_run(plant: Callable[..., None]) -> None:
    class Absent(Planted):
        def start(self) -> Any:
            raise NotRunError("no CUDA device: buy one.")

    plant("torch-cuda", Absent(doubled))
    done = conformance("run", "--implementation", "torch-cuda", "--select", FEW, "--jobs", 0)
    assert done.exit_code == 2
    assert "torch-cuda: not-run: no CUDA device: buy one.\n" in done.stdout
    assert done.stdout.endswith("not-run: could not run: torch-cuda; nothing ran.\n")
    assert "implementation  conforms" not in done.stdout  # no row, no table
    both = conformance("run", "--implementation", "torch-cuda", "--implementation", "refbp", "--select", FEW,
                       "--jobs", 0)  # fmt: skip
    assert both.exit_code == 2
    assert both.stdout.endswith("not-run: could not run: torch-cuda.\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("--profile", "quik"),
            "unknown profile 'quik'. Did you mean 'quick'? There are: quick, standard, exhaustive.",
        ),
        (
            ("--implementation", "refpb"),
            "unknown implementation 'refpb'. Did you mean 'refbp'? There are: refbp, torch-cpu, torch-cuda, "
            "jax-cpu, jax-cpu-jit, jax-cuda, jax-cuda-jit. Or FILE.py, FILE.py:NAME, cmd:PROGRAM.",
        ),
        (
            ("--select", "activation=tanhh"),
            "unknown activation 'tanhh'. Did you mean 'tanh'? There are: celu, elu, gaussian, gelu, "
            "gelu_tanh, hardsigmoid, hardswish, hardtanh, identity, leaky_relu, log_softmax, logsigmoid, "
            "mish, relu, relu6, selu, sigmoid, silu, sin, softmax, softplus, softsign, tanh.",
        ),
        (("--select", "depth"), "cannot read 'depth'; expected field=value, such as depth=3."),
    ],
)  # fmt: skip
def test_what_there_is_not(args: tuple[str, ...], message: str, tmp_path: Path) -> None:
    where = tmp_path / "r.html"
    assert refused("run", *args, "--jobs", 0, "--report", where) == message
    assert list(tmp_path.iterdir()) == []


def test_options_that_make_no_sense() -> None:
    for args in (("--jobs", "-1"), ("--jobs", "two"), ("--colour",), ("extra",)):
        done = conformance("run", *args)
        assert done.exit_code == 2
        assert "Usage: conformance run" in done.stderr
    assert conformance("runn").exit_code == 2


# --- paths ----------------------------------------------------------------------------------------


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is refused before a minute's work, not after."""

    def run(*args: Any) -> Any:
        raise AssertionError("it ran")

    monkeypatch.setattr(runner, "run", run)


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("option", ["--report", "--json"])
def test_paths_that_cannot_be_written(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    (tmp_path / "folder").mkdir()
    for name, message in (
        (
            "folder",
            f"cannot write {tmp_path / 'folder'}: it is a folder; expected the name of a file.",
        ),
        ("no/r.x", f"cannot write {tmp_path / 'no/r.x'}: there is no folder {tmp_path / 'no'}."),
        (
            "file/r.x",
            f"cannot write {tmp_path / 'file/r.x'}: there is no folder {tmp_path / 'file'}.",
        ),
    ):
        assert refused("run", option, tmp_path / name) == message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "as it was"


@pytest.mark.usefixtures("no_run")
@pytest.mark.parametrize("option", ["--report", "--json"])
def test_a_folder_that_may_not_be_written_to(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the path that was asked for."""

    def forbidden(*args: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", forbidden)
    path = tmp_path / "r.x"
    assert refused("run", option, path) == (
        f"cannot write {path}: Permission denied. Expected a folder that exists and may be written to."
    )


@pytest.mark.parametrize("option", ["--report", "--json"])
def test_what_is_no_file_is_not_replaced_by_one(option: str, tmp_path: Path) -> None:
    """A pipe here; /dev/null where root runs it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    message = refused(
        "run", "--implementation", "refbp", "--select", FEW, "--jobs", 0, option, path
    )
    assert message.startswith(f"cannot write {path}: ")
    assert path.is_fifo()


@pytest.mark.usefixtures("no_run")
def test_a_report_and_results_of_one_name_are_refused(tmp_path: Path) -> None:
    """One would overwrite the other."""
    path = tmp_path / "r"
    assert str(path) in refused("run", "--report", path, "--json", path)


@pytest.mark.usefixtures("no_run")
def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("r" * 300)
    assert refused("run", "--json", path).startswith(f"cannot write {path}: File name too long")


def test_what_was_there_before_a_refused_run_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("the run before")
    refused("run", "--select", "depth=99", "--json", path)
    assert path.read_text() == "the run before"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


# --- report ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    done = conformance("run", "--implementation", "refbp", "--select", FEW, "--jobs", 0, "--json",
                       folder / "r.json", "--report", folder / "r.html")  # fmt: skip
    assert done.exit_code == 0
    return folder


def test_a_report_is_rendered_again(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.html"
    done = conformance("report", written / "r.json", "--html", path)
    assert (done.exit_code, done.stdout) == (0, f"report: {path}\n")
    assert path.read_bytes() == (written / "r.html").read_bytes()


def test_a_report_needs_no_framework(written: Path, tmp_path: Path) -> None:
    """Nor any package that runs or judges: the results are all it reads."""
    code = textwrap_code(
        """
        import sys
        for name in ("torch", "jax", "jaxlib", "sklearn"):
            sys.modules[name] = None
        from conformance.commands.main import main
        main(["report", sys.argv[1], "--html", sys.argv[2]])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, written / "r.json", tmp_path / "r.html"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r.html").read_bytes() == (written / "r.html").read_bytes()


def textwrap_code(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory."),
        (b"\xff\xfe\x00", "it is not UTF-8 text, in line 1; expected JSON. {again}"),
        (b"not json", "it is not JSON, from line 1, column 1 on; expected JSON. {again}"),
        (
            b'{"schema_version": 1}',
            "it is JSON of another kind; expected what `conformance run --json` writes: name such a "
            "file, or write one.",
        ),
    ],
    ids=["missing", "binary", "text", "another object"],
)  # fmt: skip
def test_a_results_file_that_cannot_be_read(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    message = message.format(again=f"Write it again with `conformance run --json {path}`.")
    assert (
        refused("report", path, "--html", tmp_path / "r.html") == f"cannot read {path}: {message}"
    )
    assert not (tmp_path / "r.html").exists()


def test_a_results_file_that_is_cut_off(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes((written / "r.json").read_bytes()[:-40])
    assert refused("report", path, "--html", tmp_path / "r.html").startswith(
        f"cannot read {path}: it is cut off at its end, line "
    )
    assert not (tmp_path / "r.html").exists()


def test_a_results_file_of_another_version(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    data = json.loads((written / "r.json").read_text())
    path.write_text(json.dumps({**data, "schema_version": 99}))
    assert "schema_version is 99, of a later program than this; expected 1, 2 or 3." in refused(
        "report", path, "--html", tmp_path / "x"
    )


@pytest.mark.parametrize(
    "block",
    [
        "environment",
        "profile",
        "implementations",
        "families",
        "cases",
        "results",
        "known_differences",
        "summary",
        "layouts",
    ],
)
@pytest.mark.parametrize(
    "inside", [None, 7, "text", [], {}, [1], [{}], {"a": 1}, [[]], [None]], ids=repr
)
def test_a_results_file_with_something_else_inside(
    block: str, inside: Any, written: Path, tmp_path: Path
) -> None:
    """One sentence, or a report where nothing is missing; never a traceback, never half a file."""
    path, html = tmp_path / "r.json", tmp_path / "r.html"
    data = json.loads((written / "r.json").read_text())
    path.write_text(json.dumps({**data, block: inside}))
    done = conformance("report", path, "--html", html)
    if done.exit_code == 0:
        assert html.read_text().rstrip().endswith("</html>")
        return
    assert done.exit_code == 2
    assert done.stderr.startswith(f"conformance: cannot read {path}: ")
    assert block in done.stderr or "results" in done.stderr  # which a summary, say, contradicts
    assert done.stderr.endswith(f"Write it again with `conformance run --json {path}`.\n")
    assert done.stderr.count("\n") == 1
    assert not html.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json"]


def test_a_report_that_cannot_be_written(written: Path, tmp_path: Path) -> None:
    assert refused("report", written / "r.json", "--html", tmp_path) == (
        f"cannot write {tmp_path}: it is a folder; expected the name of a file."
    )
    assert conformance("report", written / "r.json").exit_code == 2  # --html is asked for


# --- list -----------------------------------------------------------------------------------------


def test_what_there_is() -> None:
    done = conformance("list")
    assert done.exit_code == 0
    for name in (*IMPLEMENTATIONS, *PROFILES):
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE)
    for name, family in FAMILIES.items():
        assert (family.why in done.stdout) == (name not in ("seeds", "big"))
    assert f"  standard       {len(cases('standard')):,}  the full product" in done.stdout


def test_the_ids_of_a_selection() -> None:
    done = conformance("list", "--ids", "--select", FEW)
    assert done.stdout.splitlines() == [
        "square/tanh/L3/n7/float64/w4-4",
        "square/tanh/L3/n7/float32/w4-4",
    ]
    assert conformance("list", "--select", FEW).stdout.splitlines()[-1].split()[:2] == [
        "square",
        "2",
    ]
    assert len(conformance("list", "--ids", "--profile", "quick").stdout.splitlines()) == len(
        cases("quick")
    )
    assert refused("list", "--profile", "no").startswith("unknown profile 'no'.")


# --- show -----------------------------------------------------------------------------------------


def test_a_case_is_shown() -> None:
    done = conformance("show", ONE)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{ONE}   refbp: conforms\n")
    assert "to see it again:" in done.stdout


def test_a_case_that_deviates_is_shown(plant: Callable[..., None]) -> None:
    plant("refbp", Planted(doubled))
    done = conformance("show", ONE, "--implementation", "refbp")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{ONE}   refbp: deviates\n")
    assert "dW_2[" in done.stdout


def test_a_known_difference_is_shown_with_exit_code_0() -> None:
    case = "typical/hardsigmoid/L2/n7/float64/bias"
    done = conformance("show", case, "--implementation", "torch-cpu")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{case}   torch-cpu: known-difference\n")
    assert (
        "conforms to what it is known to compute instead: torch-hardsigmoid-derivative."
        in done.stdout
    )


def test_an_error_is_shown_with_exit_code_2(plant: Callable[..., None]) -> None:
    def broken(t: Trace) -> Trace:
        if len(t.A) == 2:
            raise ArithmeticError("no")
        return t

    plant("refbp", Planted(broken))
    done = conformance("show", ONE)
    assert done.exit_code == 2
    assert "refbp raised ArithmeticError: no (test_cli.py:" in done.stdout


def test_what_cannot_be_decided_is_shown_with_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.truth import balls

    monkeypatch.setattr(balls, "PRECISIONS", (50,))
    done = conformance("show", ONE)
    assert done.exit_code == 2
    assert done.stdout.startswith(f"{ONE}   refbp: undecided\n")


def test_what_cannot_be_shown(plant: Callable[..., None]) -> None:
    assert refused("show", "typical/tanh/L2/n7/float64/bais") == (
        f"unknown case 'typical/tanh/L2/n7/float64/bais'. Did you mean '{ONE}'?"
    )
    assert refused("show", ONE, "--implementation", "torch").startswith(
        "unknown implementation 'torch'."
    )

    class Absent(Planted):
        def start(self) -> Any:
            raise NotRunError("no CUDA device.")

    plant("torch-cuda", Absent(doubled))
    assert (
        refused("show", ONE, "--implementation", "torch-cuda")
        == "torch-cuda is not-run: no CUDA device."
    )
    assert conformance("show").exit_code == 2


# --- the rest -------------------------------------------------------------------------------------


def test_help_and_version() -> None:
    for flag in ("-h", "--help"):
        done = conformance(flag)
        assert done.exit_code == 0
        assert (
            "Exit codes: 0, all that ran conforms; 1, something deviates; 2, the tool"
            in done.stdout
        )
        for name in ("run", "list", "show", "report", "activation"):
            assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)
    from importlib.metadata import version

    assert conformance("--version").stdout == f"conformance, version {version('refbp')}\n"


def test_python_m_conformance() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "show", "no/such/case"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("conformance: unknown case 'no/such/case'.")
    assert "Traceback" not in done.stderr


def test_the_commands_that_only_read_start_without_numerics() -> None:
    """`conformance list` and `--help` import neither framework."""
    code = "import sys; from conformance.commands.main import main\nmain(['list'], standalone_mode=False)\n"
    code += "print({'torch', 'jax', 'sklearn'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "set()\n")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "show", "no/such/case"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("conformance: unknown case 'no/such/case'.")
    assert importlib.import_module("conformance.__main__")  # nothing happens


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with command.progress_shown() as progress:
        for done in range(1, 21):
            progress(done, 20, "a case")
    assert "judging" in screen.getvalue()
    assert "20/20" in screen.getvalue()


def test_progress_elsewhere_is_a_line_a_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with command.progress_shown() as progress:
        progress(0, 0, "nothing")
        for done in range(1, 2001):
            progress(done, 2000, "a case")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{k * 200:,} of 2,000 results" for k in range(1, 11)]


def test_numbers_stand_to_the_right() -> None:
    lines = columns([["name", "n"], ["a", "1,000"], ["long name", "7"]])
    assert list(lines) == ["name           n", "a          1,000", "long name      7"]


# --- how a run may end ----------------------------------------------------------------------------

FAST = [
    "run",
    "--implementation",
    "refbp",
    "--jobs",
    "0",
    "--select",
    "id=typical/tanh/L1/n1/float64",
]


@pytest.mark.parametrize("arguments", [FAST, ["list", "--ids"]], ids=["run", "list"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_cannot_be_printed_is_not_a_deviation(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "conformance", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "conformance: cannot write to standard output: No space left on device.",
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()  # as `| true` does
    _, said = process.communicate()
    assert (process.returncode, said.splitlines()[-1]) == (
        2,
        "conformance: cannot write to standard output: Broken pipe.",
    )


def test_two_spellings_of_one_file(tmp_path: Path) -> None:
    same = [str(tmp_path / "a.x"), str(tmp_path / ".." / tmp_path.name / "a.x")]
    done = CliRunner().invoke(main, [*FAST, "--report", same[0], "--json", same[1]])
    assert done.exit_code == 2
    assert "the report and the results have one name" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_no_utf_8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff.json"
    command = [os.fsencode(sys.executable), b"-m", b"conformance", *(a.encode() for a in FAST)]
    done = subprocess.run([*command, b"--json", path], capture_output=True)
    assert done.returncode == 0
    assert "\\udcff" in read(os.fsdecode(path))["environment"]["command"]


def test_python_writes_true_with_a_capital() -> None:
    done = CliRunner().invoke(
        main, ["list", "--ids", "--select", "bias=True,activation=tanh,depth=1"]
    )
    assert done.exit_code == 0
    assert all("/bias" in line for line in done.output.split())


# --- what comes from outside ----------------------------------------------------------------------

SPITEFUL = """
class Spiteful:
    name = "spiteful"

    def run(self, problem):
        raise ValueError("\\x1b[2J\\x07cleared \\u202egnp.exe \\ud800 \\x9b1A")
"""


@pytest.mark.parametrize("more", [(), ("--json", "found.json")])
def test_nothing_that_is_judged_steers_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spiteful.py").write_text(SPITEFUL, encoding="utf-8")
    wanted = ["--profile", "quick", "--select", "activation=tanh,depth=1", "--jobs", "0"]
    result = CliRunner().invoke(
        main, ["run", "--implementation", "spiteful.py:Spiteful", *wanted, *more]
    )
    assert result.exit_code == 2
    assert r"\x1b[2J\x07cleared \u202egnp.exe" in result.output
    assert not more or read(more[1])["summary"]["exit_code"] == 2
    assert not set(result.output) & set("\x1b\x07\x9b\u202e\ud800")


def test_every_command_writes_through_one_function() -> None:
    """Which makes what it writes plain; another would be a way round it."""
    own = Path(command.__file__).parent
    users = {p.name for p in own.rglob("*.py") if "click.echo" in p.read_text(encoding="utf-8")}
    assert users == {"command.py"}


def test_the_help_imports_no_command_and_every_command_is_in_it() -> None:
    code = (
        "import sys; from conformance.commands.main import main\n"
        "main(['--help'], standalone_mode=False); print({'numpy', 'conformance.judge'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()")
    modules = {module for module, _ in main.where.values()}
    for module in modules:
        importlib.import_module(module)
    assert {*main.commands} == {*main.where}
    assert all(line.endswith((".", "?")) for _, line in main.where.values())


def test_a_misspelt_command_is_told_the_one_that_is_meant() -> None:
    done = CliRunner().invoke(main, ["runn"])
    assert done.exit_code == 2
    assert "unknown command 'runn'. Did you mean 'run'?" in done.output


def test_a_shell_can_complete() -> None:
    environment = {**os.environ, "_CONFORMANCE_COMPLETE": "bash_source"}
    command = [sys.executable, "-m", "conformance"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "_conformance_completion" in done.stdout
