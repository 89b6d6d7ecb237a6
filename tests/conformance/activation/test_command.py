"""`conformance activation`, as it is typed; and the pytest plugin, as it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import conformance
from conformance import assert_activation_conforms
from conformance.commands.main import main

FILE = str(Path(__file__).with_name("under_test.py"))
SILU, PRIME, TWICE = (f"{FILE}:{name}" for name in ("silu", "silu_prime", "twice"))
FAST = ("--no-autodiff", "--no-network")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["activation", *args])


def test_right_is_0() -> None:
    done = run(SILU, PRIME, *FAST)
    assert done.exit_code == 0
    assert done.output.startswith("right: σ' is the derivative of σ on the whole line of floats: ")
    assert "points of float64 and float32, no kink" in done.output
    assert "not run: networks: not asked for." in done.output


def test_wrong_is_1_and_says_what_it_looks_like() -> None:
    done = run(SILU, TWICE, *FAST)
    assert done.exit_code == 1
    first = done.output.splitlines()[0]
    assert first.startswith("wrong: σ': wrong derivative at x = ")
    assert "it looks like twice the derivative (a factor 2 too much)" in first
    assert "    again: import numpy as np; import sys; sys.path.insert(0, " in done.output


def test_frameworks_and_networks_are_on_by_default() -> None:
    done = run(SILU, PRIME, "--timeout", "60")
    assert done.exit_code == 0, done.output
    assert "torch  float64" in done.output
    assert "jax    float32" in done.output
    assert "networks" in done.output.splitlines()[0]


def test_the_findings_as_json_and_the_report(tmp_path: Path) -> None:
    html, data = tmp_path / "r.html", tmp_path / "r.json"
    done = run(SILU, TWICE, *FAST, "--report", str(html), "--json", str(data))
    assert done.exit_code == 1
    found = json.loads(data.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (found["schema_version"], found["verdict"], found["exit_code"]) == (1, "wrong", 1)
    assert found["findings"][0]["kind"] == "wrong-derivative"
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert done.output.splitlines()[-2:] == [f"findings: {data}", f"report: {html}"]


def test_options() -> None:
    done = run(f"{FILE}:silu", PRIME, *FAST, "--kink", "0=0.5", "--domain", "-50:50")
    assert done.exit_code == 0
    assert "no kink there" in done.output
    assert run(SILU, PRIME, *FAST, "--kink", "0=0.5", "--strict").exit_code == 1
    assert run("--prime", PRIME, "--truth", "silu", *FAST).exit_code == 0
    assert run(SILU, PRIME, *FAST, "--truth", "silu", "--domain", "-3:").exit_code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "conformance: there is nothing to differentiate: give σ, or a definition with --truth."),
        (("nofile.py:f",), "conformance: cannot read 'nofile.py:f': there is no file nofile.py."),
        (("f",), "conformance: cannot read 'f'; expected FILE.py:NAME or package.module:NAME."),
        ((SILU, PRIME, "--prime", PRIME), "conformance: σ' is given twice: as SIGMA_PRIME and with --prime."),
        ((SILU, "--truth", "sillu"), "Did you mean 'silu'?"),
        ((SILU, "--domain", "3:3"), "conformance: the domain 3:3 is empty; expected LOW:HIGH, such as -50:50."),
        ((SILU, "--domain", "a:b"), "'a:b' is not LOW:HIGH, such as -50:50."),
        ((SILU, "--kink", "0"), "'0' is not X=DERIVATIVE, such as 0=0.5."),
        ((SILU, "--kink", "inf=1"), "conformance: the kink inf=1 is not finite; expected X=DERIVATIVE, such as 0=0.5."),
        ((SILU, "--report", "no/such/folder.html"), "conformance: cannot write no/such/folder.html: there is no folder no/such."),
        ((SILU, "--timeout", "0"), "0.5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_2_with_one_sentence(args: tuple[str, ...], message: str) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_the_report_and_the_findings_are_two_files(tmp_path: Path) -> None:
    one = str(tmp_path / "same")
    done = run(SILU, "--report", one, "--json", f"{tmp_path}/./same")
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_help_names_everything() -> None:
    text = run("--help").output
    for word in (
        "--torch",
        "--jax",
        "--kink",
        "--domain",
        "--report",
        "--json",
        "--truth",
        "--strict",
    ):
        assert word in text


def test_a_name_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mymodule.py").write_text(
        "import numpy as np\nf = np.tanh\ng = lambda x: 1 / np.cosh(x) ** 2\n"
    )
    monkeypatch.chdir(tmp_path)
    done = run("mymodule:f", "mymodule:g", *FAST)
    assert done.exit_code == 0, done.output
    assert "there is no module nomodule" in run("nomodule:f", *FAST).output


# --- in one's own tests ---------------------------------------------------------------------------


def test_the_assertion_says_what_the_command_says() -> None:
    from under_test import silu, silu_prime, twice

    assert_activation_conforms(silu, silu_prime, network=False)
    with pytest.raises(AssertionError) as e:
        assert_activation_conforms(silu, twice, network=False)
    assert str(e.value).startswith("wrong: σ': wrong derivative at x = ")
    assert "twice the derivative" in str(e.value)


def test_functions_made_on_the_spot_have_no_line_to_reproduce() -> None:
    c = conformance.check_activation(np.tanh, lambda x: 2 / np.cosh(x) ** 2, network=False)
    assert c["findings"][0]["reproduce"] == ""


def test_the_package_offers_a_few_names_and_loads_them_late() -> None:
    assert sorted(conformance.__all__) == [
        "Convention", "NotRunError", "Problem", "ProblemError", "Trace", "assert_activation_conforms",
        "assert_function_conforms", "assert_module_conforms", "check_activation", "check_function",
        "check_module", "check_problem", "equation", "parametrize_activations", "parametrize_cases", "run", "with_ones",
    ]  # fmt: skip
    assert all(getattr(conformance, name) is not None for name in conformance.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = conformance.nothing  # type: ignore[attr-defined]
    code = "import sys, conformance; print('flint' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


PROJECT = """
import numpy as np
import pytest
from conformance import assert_activation_conforms

@pytest.mark.conformance
def test_right():
    assert_activation_conforms(np.tanh, lambda x: 1 / np.cosh(x) ** 2, network=False)

@pytest.mark.conformance
def test_wrong():
    assert_activation_conforms(np.tanh, lambda x: 2 / np.cosh(x) ** 2, network=False)
"""


def test_the_plugin_in_somebodys_project(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(PROJECT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    more = ["-W", "error", "--conformance-report", "out", "-m", "conformance", "--rootdir", "."]
    done = subprocess.run(
        [*command, *more], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "E       AssertionError: wrong: σ': wrong derivative at x = " in done.stdout
    assert "reports: out" in done.stdout
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert [n.rpartition(".")[2] for n in names] == ["html", "json"] * 2
    verdicts = [
        json.loads(p.read_text())["verdict"] for p in sorted((tmp_path / "out").glob("*.json"))
    ]
    assert verdicts == ["right", "wrong"]


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_nothing():\n    pass\n")
    done: Any = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir() if p.is_dir() and p.name != "__pycache__"] == []
    assert "conformance" not in done.stdout


def test_a_number_that_is_infinite_when_rounded_is_still_json(tmp_path: Path) -> None:
    """softplus of the largest float is that float, of which four digits are infinity."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\ndef softplus(x):\n    return np.logaddexp(x, 0)\n"
    )
    data = tmp_path / "r.json"
    done = run(f"{tmp_path}/mine.py:softplus", "--autodiff", "--no-network", "--json", str(data))
    assert done.exit_code == 0, done.output
    found = json.loads(data.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert found["verdict"] == "right"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ImportError('undefined symbol: x')", "ImportError: undefined symbol: x"),
        ("import os; os.abort()", "it ended its process (signal SIGABRT) while starting"),
    ],
)
@pytest.mark.parametrize("option", [(), ("--autodiff",)], ids=["", "asked"])
def test_a_framework_that_is_installed_and_broken_is_never_green(
    option: tuple[str, ...], text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of what its autodiff makes of σ."""
    (tmp_path / "torch.py").write_text(text)
    root = str(Path(conformance.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), root]))
    done = run(SILU, PRIME, "--no-network", *option)
    assert done.exit_code == 2
    assert done.output.startswith(f"not judged: Torch does not start: {said}")


def test_a_framework_that_is_asked_for_and_not_installed_is_never_green(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one's own test: `autodiff` says that it is wanted."""
    from under_test import silu, silu_prime

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "conformance.commands.activation.torch_", raising=False)
    with pytest.raises(AssertionError, match=r"^not judged: Torch does not start: "):
        assert_activation_conforms(silu, silu_prime, network=False, autodiff=["torch"])


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["", "xdist"])
@pytest.mark.parametrize("broken", [True, False])
def test_without_its_report_a_test_run_is_not_green(
    broken: bool, workers: tuple[str, ...], tmp_path: Path
) -> None:
    """jinja2 is broken, or the folder cannot be made."""
    (tmp_path / "test_mine.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "file").touch()
    if broken:
        (tmp_path / "jinja2.py").write_text("raise ImportError('undefined symbol: x')")
    root = str(Path(conformance.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", *workers,
         "--conformance-report", "out" if broken else "file/out"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root])},
    )  # fmt: skip
    why = "ImportError: undefined symbol: x" if broken else "NotADirectoryError: [Errno 20]"
    assert done.returncode == 2
    assert f"Exit: --conformance-report: it could not go on: {why}" in done.stdout + done.stderr
