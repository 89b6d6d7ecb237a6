"""`run --network`: networks of somebody's own, from a line of text and from arrays."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fast import fast

from conformance.cases.catalogue import CaseError
from conformance.cases.own import KINDS, from_arrays, problems, read_arrays, read_network
from conformance.commands.main import main
from conformance.model.results_file import read
from conformance.report.explain import again

LINE = "4-3-1: relu, sigmoid + binary_cross_entropy"


def run(*words: Any) -> Any:
    return CliRunner().invoke(main, ["run", "--jobs", "0", *map(str, words)])


def test_a_line_is_a_network() -> None:
    n = read_network(f"{LINE}; no bias; n=5; float32")
    assert (n.widths, n.sigma, n.loss) == ((4, 3, 1), ("relu", "sigmoid"), "binary_cross_entropy")
    assert (n.bias, n.batch, n.dtype) == (False, 5, "float32")
    assert read_network("2-2-2-2: tanh").sigma == ("tanh",) * 3
    assert read_network("2-2-2-2: tanh, softmax").sigma == ("tanh", "tanh", "softmax")
    assert read_network("2-2: tanh").loss == "mean_squared_error"


def test_what_it_does_not_name_is_varied() -> None:
    of = list(problems(read_network(LINE)))
    softmax = read_network("4-3-2: relu, softmax + cross_entropy; bias; n=3; float64")
    assert len(list(problems(softmax))) == len(KINDS)
    assert len(of) == (len(KINDS) - 1) * 4 * 2 * 2 >= 60
    assert {p.bias for p in of} == {True, False}
    assert {len(p.X) for p in of} == {1, 2, 7, 33}
    assert all(set(np.unique(p.Y)) <= {0.0, 1.0} for p in of[16:32])  # the classes
    assert len(list(problems(read_network(f"{LINE}; bias; n=3; float64")))) == len(KINDS) - 1


def test_its_numbers_are_the_same_each_time() -> None:
    a, b = (list(problems(read_network(LINE)))[5] for _ in range(2))
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.W[1], b.W[1])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4-3-1", "expected widths, activations and a loss"),
        ("4: relu", "expected widths"),
        ("4-3-1:", "expected widths"),
        ("4-3-1: relu, relu, relu", "2 layers and 3 activations"),
        ("4-3-1: relu; n=0", "cannot read 'n=0'"),
        ("4-3-1: relu; fast", "cannot read 'fast'"),
    ],
)
def test_a_line_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(CaseError, match=why):
        read_network(text)


def test_the_command_judges_it() -> None:
    done = run("--network", f"{LINE}; n=2; float64", "--implementation", "refbp")
    assert done.exit_code == 0, done.output
    assert "12 cases (own)" in done.stdout
    assert done.stdout.endswith("conforms: 12 results of refbp: all conform.\n")


def test_an_unknown_name_is_told() -> None:
    done = run("--network", "4-3-1: relu, sigmid", "--implementation", "refbp")
    assert done.exit_code == 2
    assert "unknown activation 'sigmid'. Did you mean 'sigmoid'?" in done.stderr


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


X = np.random.default_rng(0).standard_normal((5, 4))


def test_data_of_ones_own(tmp_path: Path) -> None:
    file = saved(tmp_path / "d.npz", X=X, Y=np.array([0, 2, 1, 1, 0]), W2=np.ones((4, 3)))
    (f64, f32) = from_arrays(
        read_network("4-3-3: tanh, softmax + cross_entropy"), read_arrays(file)
    )
    assert f64.bias  # W2 has a row more
    assert np.array_equal(f64.Y, np.eye(3)[[0, 2, 1, 1, 0]])
    assert np.array_equal(f32.X, X.astype("float32"))
    assert np.array_equal(f64.W[2], np.ones((4, 3)))
    done = run(
        "--network",
        "4-3-3: tanh, softmax + cross_entropy",
        "--data",
        file,
        "--implementation",
        "refbp",
    )
    assert done.exit_code == 0, done.output


def test_data_that_does_not_fit_is_told(tmp_path: Path) -> None:
    text = "4-3-3: tanh"
    for name, arrays, why in (
        ("a", {"X": X}, "expected Y too"),
        ("b", {"X": X[:, :2], "Y": X[:, :3]}, "expected n×4"),
        ("c", {"X": X, "Y": np.arange(5)}, "the classes 0 to 4; expected 0 to 2"),
        ("d", {"X": X, "Y": X[:4, :3]}, "Y has shape"),
        ("e", {"X": X, "Y": np.array(["a"] * 5)}, "expected numbers"),
    ):
        file = saved(tmp_path / f"{name}.npz", **arrays)
        done = run("--network", text, "--data", file, "--implementation", "refbp")
        assert done.exit_code == 2, done.output
        assert why in done.stderr
    (tmp_path / "f.npz").write_text("no archive")
    done = run("--network", text, "--data", tmp_path / "f.npz", "--implementation", "refbp")
    assert "it is no .npz" in done.stderr
    done = run("--network", text, "--data", tmp_path / "none.npz", "--implementation", "refbp")
    assert "there is no such file" in done.stderr
    assert run("--data", tmp_path / "f.npz").exit_code == 2


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", X=np.array([print], dtype=object), Y=X)
    done = run("--network", "4-3: tanh", "--data", tmp_path / "p.npz", "--implementation", "refbp")
    assert done.exit_code == 2
    assert "cannot read" in done.stderr


SHOWN = """
import numpy as np
from conformance import Convention
class Net:
    activations, losses = ["tanh"], {"mean_squared_error": "identity"}
    depths = 2
    convention = Convention(returns=("dW", "db"), scale="half", dtypes=("float64",))
    def run(self, p):
        A, Z = [], [p.X]
        for W, b, s in zip(p.W, p.b, p.sigma):
            A.append(Z[-1] @ W + b)
            Z.append(np.tanh(A[-1]) if s == "tanh" else A[-1])
        G, dW, db = (Z[-1] - p.Y) / p.X.dtype.type(len(p.X)), [], []
        for l in reversed(range(len(p.W))):
            d = G * (1 - Z[l + 1] ** 2) if p.sigma[l] == "tanh" else G
            dW.insert(0, Z[l].T @ d)
            db.insert(0, d.sum(axis=0) * FACTOR)
            G = d @ p.W[l].T
        return dW, db
"""


@pytest.mark.parametrize("network", fast(["", "4-3-2: tanh, identity"], "4-3-2: tanh, identity"))
def test_what_a_run_says_shows_a_result_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """Of networks that were made for an implementation, and of a line of text."""
    path = tmp_path / "net.py"
    path.write_text(SHOWN.replace("FACTOR", "2"), "utf-8")
    words = ["--profile", "quick", "--implementation", f"{path}:Net", "--json", tmp_path / "r.json"]
    words += ["--jobs", "0", *(["--network", network] if network else [])]
    monkeypatch.setattr("sys.argv", ["conformance", "run", *map(str, words)])
    done = run(*words)
    assert done.exit_code == 1, done.output
    results = read(tmp_path / "r.json")
    own = next(
        r for r in results["results"] if r["verdict"] == "deviates" and r["case"].startswith("own/")
    )
    command = again(own["case"], f"{path}:Net", results)
    assert ("--network" in command) == bool(network)
    shown = CliRunner().invoke(main, shlex.split(command)[1:])
    assert shown.exit_code == 1, shown.output
    assert own["message"][:30] in shown.output
    assert "looks like: " in shown.output
