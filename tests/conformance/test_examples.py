"""The adapters of examples/: short, judged in the same gates, and a slip in them is found."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast import fast

import conformance
from conformance import implementations
from conformance.implementations.convention import Given
from conformance.judge.start import started
from conformance.model.results import Results
from conformance.report.explain import common
from conformance.tools.load import load

FOLDER = Path(__file__).parents[2] / "examples"
LINES = 30


@dataclass(frozen=True)
class Example:
    """What is asserted of an adapter."""

    select: str
    conform: int  # of the cases of `quick` selected, at least
    left_out: list[str]


GRADIENTS = ["A", "Z", "delta", "W_new", "loss"]
"""Left out by those that return the gradients of W and b alone."""
EXAMPLES = {
    "student.py": Example("family=typical,depth=1", 20, ["W_new", "loss"]),
    "with_autograd.py:Autograd": Example("", 60, GRADIENTS),
    "with_equinox.py:Equinox": Example("family=typical,depth=1", 5, GRADIENTS),
    "with_mygrad.py:MyGrad": Example("", 60, GRADIENTS),
    "with_sklearn.py:Sklearn": Example("", 60, ["A", "W_new", "loss"]),
    "with_tinygrad.py:Tinygrad": Example("family=typical,depth=1", 2, ["W_new", "loss"]),
    "with_torch_func.py:TorchFunc": Example("", 60, GRADIENTS),
}
OBJECTS = [name for name in EXAMPLES if ":" in name]


@pytest.fixture(autouse=True)
def _nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])  # a file's folder is put there
    started.cache_clear()
    yield
    started.cache_clear()


def judged(of: Any, select: str) -> Results:
    return conformance.run(of, select=select, jobs=0)


def test_every_adapter_is_here() -> None:
    assert {name.partition(":")[0] for name in EXAMPLES} == {
        p.name for p in FOLDER.glob("*.py")
    } - {"block.py", "my_notes.py", "network.py", "rms_norm.py", "wrong_student.py"}
    assert len(OBJECTS) == 6


def test_the_wrong_student_has_one_wrong_line() -> None:
    right, wrong = (
        (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()[1:]
        for name in ("student", "wrong_student")
    )
    assert [b.strip() for a, b in zip(right, wrong, strict=True) if a != b] == [
        "delta[l] = (delta[l + 1] @ W[l + 1].T) * sigma[l].derivative(Z[l + 1])"
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_short(name: str) -> None:
    text = (FOLDER / name.partition(":")[0]).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", fast(EXAMPLES, "student.py"))
def test_it_conforms(name: str) -> None:
    """By its name, as on the command line, in this process."""
    example = EXAMPLES[name]
    results = judged(str(FOLDER / name), example.select)
    assert results["summary"]["exit_code"] == 0, results["summary"]["message"]
    counts = next(iter(results["summary"]["verdicts"].values()))
    assert counts["conforms"] >= example.conform
    left_out = {tuple(r["not_returned"]) for r in results["results"] if r["verdict"] != "not-run"}
    assert left_out == {tuple(example.left_out)}
    (row,) = results["implementations"]
    assert row["status"] == "ran"
    assert ": not returned, so not judged." in row["reason"]


@pytest.mark.parametrize("name", fast(OBJECTS, "with_autograd.py:Autograd"))
def test_a_slip_of_1e9_in_its_first_layer_is_found(name: str) -> None:
    """In float64: in float32 a billionth is less than a rounding."""
    right = load(str(FOLDER / name))

    class Slipped(right):  # type: ignore[misc]
        name = "slipped"

        def run(self, p: Given) -> Any:
            *before, dW, db = super().run(p)
            first = dW[0].numpy() if hasattr(dW[0], "numpy") else np.array(dW[0])
            return (*before, [first * (1 + 1e-9), *dW[1:]], db)

    right.name = "right"

    select = "family=typical,dtype=float64,activation=identity"
    assert judged(right(), select)["summary"]["verdict"] == "conforms"
    started.cache_clear()
    results = judged(Slipped(), select)
    assert results["summary"]["verdict"] == "deviates"
    assert results["summary"]["exit_code"] == 1
    wrong = [r for r in results["results"] if r["verdict"] == "deviates"]
    assert wrong
    assert all(r["first_deviation"]["layer"] == 1 for r in wrong)  # type: ignore[index]


def _averaged(dW: list[Any], db: list[Any], n: int) -> tuple[list[Any], list[Any]]:
    return [M / M.dtype.type(n) for M in dW], [M / M.dtype.type(n) for M in db]


def _without_bias(dW: list[Any], db: list[Any], n: int) -> tuple[list[Any], list[Any]]:
    return dW, [0 * M for M in db]


PLANTED = {"averaged": _averaged, "without bias": _without_bias}


@pytest.mark.parametrize("mistake", PLANTED)
@pytest.mark.parametrize("name", fast(OBJECTS, "with_autograd.py:Autograd"))
def test_a_mistake_in_it_is_named(name: str, mistake: str) -> None:
    """Two in each of the six libraries, of which most return the gradients of W and b alone."""
    right = load(str(FOLDER / name))

    class Wrong(right):  # type: ignore[misc]
        name = "wrong"

        def run(self, p: Given) -> Any:
            *before, dW, db = super().run(p)
            found = (
                [M.numpy() if hasattr(M, "numpy") else np.array(M) for M in of] for of in (dW, db)
            )
            return (*before, *PLANTED[mistake](*found, len(p.X)))

    results = judged(Wrong(), "family=typical,activation=identity")
    bad = [r for r in results["results"] if r["verdict"] == "deviates"]
    named = [c.finding["fault"] for c in common(bad, results["cases"])]
    assert results["summary"]["exit_code"] == 1
    assert len(named) == 1
    expected = (
        ("mean-twice", "gradient-averaged") if mistake == "averaged" else ("bias-gradient-missing",)
    )
    assert named[0] in expected


def test_what_tinygrad_deviates_in_is_seen() -> None:
    """docs/implementations.md: its selu has five digits."""
    what = str(FOLDER / "with_tinygrad.py:Everything")
    results = judged(what, "family=typical,activation=selu,dtype=float64")
    assert results["summary"]["verdict"] == "deviates"
    ratios = [r["worst"]["ratio"] for r in results["results"] if r["worst"]]
    assert max(map(float, ratios)) > 1e6


def test_at_a_tie_autograds_maximum_has_half_the_derivative() -> None:
    """docs/implementations.md: why the adapter writes relu as a (a > 0)."""
    from autograd import grad
    from autograd import numpy as np

    assert grad(lambda a: np.maximum(a, 0.0))(0.0) == 0.5
    assert grad(lambda a: a * (a > 0))(0.0) == 0.0


def test_where_autograd_goes_back_in_float64() -> None:
    """docs/implementations.md: and what the adapter uses instead."""
    from autograd import make_vjp
    from autograd import numpy as np

    def dtype(f: Callable[[Any], Any]) -> str:
        one = np.ones(2, np.float32)
        back, value = make_vjp(f)(one)
        assert value.dtype == np.float32
        return back(one).dtype.name

    assert dtype(lambda a: a**2) == "float64"
    assert dtype(lambda a: np.where(a > 0, a, 0 * a)) == "float64"
    assert dtype(lambda a: np.maximum(a, np.float32(0))) == "float64"
    assert dtype(np.square) == "float32"
    assert dtype(lambda a: a * (a > 0)) == "float32"


def test_scikit_learns_loss_is_not_what_its_gradient_is_of() -> None:
    """docs/implementations.md: why the adapter does not return it. d_L = 3 apart."""
    from sklearn.neural_network import MLPRegressor  # 2 s

    mlp = MLPRegressor(activation="identity", alpha=0)
    mlp.n_layers_, mlp.out_activation_, mlp.intercepts_ = 2, "identity", [np.zeros(3)]
    rng = np.random.default_rng(0)
    X, Y, W, step = (rng.standard_normal(s) for s in ((7, 4), (7, 3), (4, 3), (4, 3)))

    def loss(W: Any) -> tuple[float, Any]:
        mlp.coefs_, dW = [W], [None]
        return mlp._backprop(X, Y, None, [X, None], [None], dW, [None])[0], dW[0]

    quotient = (loss(W + 1e-6 * step)[0] - loss(W - 1e-6 * step)[0]) / 2e-6
    assert (loss(W)[1] * step).sum() / quotient == pytest.approx(3, rel=1e-7)


# --- announced by an installed package ------------------------------------------------------------


def announce(monkeypatch: pytest.MonkeyPatch, **of: str) -> None:
    def entry_points(group: str) -> list[EntryPoint]:
        assert group == "conformance.implementations"
        return [EntryPoint(name, value, group) for name, value in of.items()]

    monkeypatch.setattr(implementations, "entry_points", entry_points)


def test_an_announced_implementation_is_found_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, sklearn=f"{FOLDER / 'with_sklearn.py'}:Sklearn")
    results = judged("sklearn", "family=typical,activation=identity")
    assert {r["implementation"] for r in results["results"]} == {"sklearn"}
    assert results["summary"]["verdict"] == "conforms"


def test_one_named_like_ours_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, refbp="nothing.at.all:Nothing")
    assert implementations.announced() == {}
    (row,) = judged("refbp", "id=typical/identity/L1/n7/float64")["implementations"]
    assert row["description"] == implementations.IMPLEMENTATIONS["refbp"].description


def test_one_that_is_announced_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, gone="no_such_module:Gone")
    results = judged("gone", "id=typical/identity/L1/n7/float64")
    assert results["implementations"][0]["reason"] == (
        "cannot read 'no_such_module:Gone': there is no module no_such_module."
    )
    assert results["summary"]["exit_code"] == 2


def test_an_installed_package_announces_itself(tmp_path: Path) -> None:
    """With a real .dist-info, in another process, and in its worker processes."""
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[conformance.implementations]\nmine = mine:Mine\n")
    (tmp_path / "mine.py").write_text(
        textwrap.dedent('''
            from conformance.implementations import implementation


            class Mine:
                """Mine."""

                name = "mine"

                def run(self, problem):
                    return implementation("refbp").run(problem)
        ''')
    )
    command = [
        *(sys.executable, "-m", "conformance", "run", "--profile", "quick", "--jobs", "1"),
        *("--select", "id=typical/identity/L1/n7/float64", "--implementation", "mine"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "conforms: 1 results of mine: all conform." in done.stdout
