"""User code in a process of its own: whatever it does, there is one clear answer, and nothing else is lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from conformance import check_activation

FILE = str(Path(__file__).with_name("under_test.py"))


def checked(sigma: str, prime: str, **more: Any) -> Any:
    return check_activation(f"{FILE}:{sigma}", f"{FILE}:{prime}", network=False, **more)


def test_a_right_one() -> None:
    c = checked("silu", "silu_prime")
    assert (c["verdict"], c["exit_code"]) == ("right", 0)
    assert c["given"] == {"sigma": f"{FILE}:silu", "derivative": f"{FILE}:silu_prime"}


def test_a_wrong_one_with_its_line() -> None:
    c = checked("silu", "twice")
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1)
    f = c["findings"][0]
    assert f["reproduce"] == (
        f"import numpy as np; import sys; sys.path.insert(0, {str(Path(FILE).parent)!r}); "
        "from under_test import twice as f; "
        f"print(f(np.array([{f['x']!r}], 'float64')))"
    )


def test_the_line_shows_it_again() -> None:
    import subprocess

    f = checked("silu", "twice")["findings"][0]
    done = subprocess.run(
        [sys.executable, "-c", f["reproduce"]], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.strip("[] \n")) == pytest.approx(float(f["got"]), rel=1e-7)


@pytest.mark.parametrize(
    ("name", "why", "line"),
    [
        ("endless", r"took more than 8 s while calling σ'", "under_test.py"),
        ("hanging", r"took more than 8 s while calling σ'", "in hanging"),
        ("leaving", r"ended its process \(exit code 0\) while calling σ'", ""),
        ("crashing", r"ended its process \(signal SIGSEGV\) while calling σ'", "in crashing"),
        ("exiting", r"SystemExit: goodbye", "in exiting"),
        ("greedy", r"MemoryError", "in greedy"),
    ],
)
def test_what_cannot_be_judged(name: str, why: str, line: str) -> None:
    # of the first two the limit is tested, and starting is within it, on a busy machine too
    c = checked("silu", name, timeout=8.0 if "took more" in why else 60.0)
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    import re

    assert re.search(why, c["message"]), c["message"]
    assert line in c["message"]


def test_an_exception_is_a_finding_with_the_users_line() -> None:
    c = checked("silu", "raising")
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1)
    (f,) = (f for f in c["findings"] if f["kind"] == "raises")
    assert f["of"] == "σ'"
    assert f["got"] == "RuntimeError: out of <b>luck</b>"
    assert "in raising: raise RuntimeError" in f["where"]


def test_what_is_printed_is_kept_apart(capfd: pytest.CaptureFixture[str]) -> None:
    c = checked("silu", "printing")
    assert c["verdict"] == "right"
    assert c["printed"]["numpy"].startswith("<script>alert(1)</script> from σ'\n")
    assert len(c["printed"]["numpy"]) <= 2000
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_evaluated_is_named_with_what_to_do() -> None:
    c = checked("unknown", "silu_prime")
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert c["message"].startswith("σ cannot be certified: np.i0 cannot be evaluated")


def test_a_derivative_that_cannot_be_seen_into_is_judged_by_its_values(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text(
        "import numpy as np\n"
        "def sigma(x): return np.tanh(x)\n"
        "def prime(x): return np.array([1 / np.cosh(min(abs(float(v)), 300.0)) ** 2 for v in x.ravel()], x.dtype).reshape(x.shape)\n"
        "def wrong(x): return prime(x) * (1 + 1e-12)\n"
    )
    for name, verdict in (("prime", "right"), ("wrong", "wrong")):
        c = check_activation(
            f"{tmp_path}/table.py:sigma", f"{tmp_path}/table.py:{name}", network=False
        )
        assert c["verdict"] == verdict, c["message"]
        assert "σ'" in c["unsupported"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("nofile.py:silu", "there is no file nofile.py"),
        ("silu", "expected FILE.py:NAME"),
        (":silu", "expected FILE.py:NAME"),
        ("under_test.py:", "expected FILE.py:NAME"),
    ],
)
def test_a_name_that_cannot_be_read(spec: str, why: str) -> None:
    from conformance.tools.load import LoadError

    with pytest.raises(LoadError, match=why):
        check_activation(spec)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sliu", "has no 'sliu'. Did you mean 'silu'?"),
        ("Holder.nothing", "has no 'Holder.nothing'."),
    ],
)
def test_a_name_that_is_not_there(name: str, why: str) -> None:
    c = check_activation(f"{FILE}:{name}")
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert why in c["message"]


def test_a_name_within_a_class_and_one_that_is_no_function() -> None:
    assert (
        check_activation(f"{FILE}:Holder.function", f"{FILE}:silu_prime", network=False)["verdict"]
        == "right"
    )
    c = check_activation(f"{FILE}:number", f"{FILE}:silu_prime", network=False)
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert c["message"] == "TypeError: 'int' object is not callable"


def test_a_file_that_cannot_be_imported(tmp_path: Path) -> None:
    for text, why in (
        ("def f(x: return x", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
    ):
        file = tmp_path / "broken.py"
        file.write_text(text + "\n")
        c = check_activation(f"{file}:f")
        assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
        assert why in c["message"], c["message"]
