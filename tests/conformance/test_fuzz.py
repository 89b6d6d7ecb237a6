"""The fuzz: it finds a planted mistake, makes it small, can be pasted, and accuses nobody who is right."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import refbp
from conformance import check_problem
from conformance.commands.fuzz import search as searching
from conformance.commands.fuzz.formulas import LOSSES, SIGMAS, VARIANTS
from conformance.commands.fuzz.legal import LEGAL, PRODUCTS, variant
from conformance.commands.fuzz.networks import network
from conformance.commands.fuzz.paste import pasted
from conformance.commands.fuzz.search import search
from conformance.commands.main import main
from conformance.implementations import implementation
from conformance.model.problem import Problem, Trace

WRONG = '''
import numpy as np
import refbp
from conformance import Trace


class Net:
    """Right but for units that are dead in the whole batch: their bias still gets a gradient."""

    name = "dead"

    def run(self, p):
        sigma = {l: refbp.activation(s) for l, s in p.sigma.items()}
        A, Z, delta, dW = {}, {0: p.X}, {}, {}
        for l in p.W:
            A[l] = p.operand(Z[l - 1]) @ p.W[l]
            Z[l] = sigma[l](A[l])
        L = p.depth
        for l in range(L, 0, -1):
            G = refbp.loss(p.loss).gradient(Z[L], p.Y) if l == L else delta[l + 1] @ p.weights(l + 1).T
            delta[l] = sigma[l].vjp(A[l], G)
            dW[l] = p.operand(Z[l - 1]).T @ delta[l]
            dead = (Z[l] == 0).all(axis=0)
            dW[l] = np.where(dead, dW[l] + p.dtype.type(1), dW[l])
        new = {l: p.W[l] - p.dtype.type(p.alpha) * dW[l] for l in p.W}
        loss = np.asarray(refbp.loss(p.loss)(Z[L], p.Y))
        return Trace(A, {l: Z[l] for l in A}, delta, dW, new, loss)


net = Net()
'''


def fuzz(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["fuzz", *map(str, arguments)])


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    (tmp_path / "dead.py").write_text(WRONG, encoding="utf-8")
    return f"{tmp_path / 'dead.py'}:net"


@pytest.mark.slow
def test_a_planted_mistake_is_found_made_small_and_can_be_pasted(
    wrong: str, tmp_path: Path
) -> None:
    done = fuzz("--implementation", wrong, "--examples", 200, "--database", tmp_path / "kept")
    assert done.exit_code == 1
    assert "deviates: " in done.stdout
    code = done.stdout.partition("from numpy")[2].partition("\n\n")[0]
    names: dict[str, Any] = {}
    exec("from numpy" + code.rpartition("print(")[0], names)  # all but the last line
    p = names["problem"]
    assert p.depth == 1
    assert sum(M.size for M in p.W.values()) <= 6
    assert len(p.X) == 1
    result = check_problem(p, [wrong])
    assert result["summary"]["verdict"] == "deviates"
    assert check_problem(p, ["refbp"])["summary"]["verdict"] == "conforms"
    again = search([wrong], 1, 5, tmp_path / "kept")  # what was kept is tried first
    assert again.result is not None


def test_the_same_seed_draws_the_same_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[bytes]] = []
    real = searching.network

    def noting(choose: Any) -> Any:
        found = real(choose)
        if found is not None:
            drawn[-1].append(found.problem.X.tobytes() + repr(found.problem.sigma).encode())
        return found

    monkeypatch.setattr(searching, "network", noting)
    for seed in (3, 3, 4):
        drawn.append([])
        search(["refbp"], 20, seed, None)
    assert drawn[0] == drawn[1] != drawn[2]


def test_time_says_how_many_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(searching.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(searching, "BLOCK", 7)
    found = search(["refbp"], 1000, 0, None, minutes=0.05)  # three seconds
    assert found.networks == 4 * 7  # and the first is begun at any rate
    assert found.result is None


@pytest.mark.slow
@pytest.mark.parametrize("failing", [False, True])
def test_what_is_found_depends_on_no_number_of_processes(
    failing: bool, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second network in a hundred blocks, or of none: the lowest block that fails is told."""
    monkeypatch.setattr(searching, "BLOCK", 4)
    told: list[int] = []
    names = [wrong] if failing else ["refbp"]
    one, two = (search(names, 18, 3, None, jobs=jobs, progress=told.append) for jobs in (1, 2))
    assert (one.networks, one.verdicts) == (two.networks, two.verdicts)
    assert (one.result is None) == (two.result is None) == (not failing)
    if one.problem is not None and two.problem is not None:
        assert pasted(one.problem, names) == pasted(two.problem, names)
    else:
        assert one.networks == told[-1] == 18


@pytest.mark.slow
def test_none_of_ours_and_none_that_is_legal_deviates() -> None:
    """A few here; the documentation says how many were run."""
    done = fuzz("--examples", 60, "--seed", 7)
    assert done.exit_code == 0, done.stdout
    assert "conforms: none of 60 networks deviates (seed 7)." in done.stdout
    assert "legal:" in done.stdout


def test_what_does_not_start_could_not_be_tried() -> None:
    assert fuzz("--implementation", "torch-cuda").exit_code == 2
    assert fuzz("--implementation", "nobody").exit_code == 2
    assert fuzz("--examples", 0).exit_code == 2
    assert fuzz("--minutes", 0).exit_code == 2


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_legal_product_is_the_product_in_an_order_of_its_own(name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    P, Q = rng.normal(size=(5, 37)).astype(dtype), rng.normal(size=(37, 4)).astype(dtype)
    found = PRODUCTS[name](P, Q)
    assert found.dtype == P.dtype
    exact = P.astype(np.longdouble) @ Q.astype(np.longdouble)
    u = np.finfo(dtype).eps / 2
    size = np.abs(P).astype(float) @ np.abs(Q).astype(float)
    assert (np.abs(found - exact) <= 37 * u * size).all()
    assert np.abs(found - exact).max() > 0
    assert len({legal.name for legal in LEGAL}) == len(LEGAL)


@pytest.mark.parametrize("i", range(VARIANTS))
def test_other_formulas_are_formulas_of_the_same_functions(i: int) -> None:
    """To nine digits, where none cancels much; every row is used up by the variants."""
    rng = np.random.default_rng(i)
    X, G = rng.normal(size=(2, 40, 3)) * 2
    sigmas, losses = variant(i)
    for name in SIGMAS:
        ours, other = refbp.activation(name), sigmas(name)
        np.testing.assert_allclose(other(X), ours(X), 1e-9, 1e-14, err_msg=name)
        np.testing.assert_allclose(other.vjp(X, G), ours.vjp(X, G), 1e-9, 1e-14, err_msg=name)
        assert other(X.astype(np.float32)).dtype == other.vjp(*np.float32([X, G])).dtype == "f"
        assert len(SIGMAS[name]) <= VARIANTS
    Z, Y = rng.uniform(0.1, 0.9, size=(2, 40, 3))
    Y[0] = 0
    for name in LOSSES:
        ours, other = refbp.loss(name), losses(name)
        np.testing.assert_allclose(other(Z, Y), ours(Z, Y), 1e-12, err_msg=name)
        np.testing.assert_allclose(other.gradient(Z, Y), ours.gradient(Z, Y), 1e-12, err_msg=name)
    assert {*SIGMAS} == {*refbp.ACTIVATIONS}
    assert {*LOSSES} == {*refbp.LOSSES}


def test_a_problem_is_pasted_to_the_last_bit() -> None:
    X = np.array([[0.1, -0.0], [5e-324, 1e300]])
    p = Problem(
        {1: np.array([[1 / 3], [np.pi]])},
        X,
        np.array([[1.0], [1.0]]),
        {1: "tanh"},
        "huber",
        False,
        0.1,
    )
    names: dict[str, Any] = {}
    exec(pasted(p, ["refbp"]).rpartition("print(")[0], names)
    assert names["problem"].X.tobytes() == X.tobytes()
    assert names["problem"].W[1].tobytes() == p.W[1].tobytes()
    assert "array([[1.0]] * 2, 'float64')" in pasted(p, ["refbp"])


def test_a_pasted_case_of_a_legal_implementation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    p = Problem(
        {1: np.ones((1, 1))}, np.ones((1, 1)), np.ones((1, 1)), {1: "tanh"}, "huber", False, 0.1
    )
    exec(pasted(p, ["legal:sorted"]), {})
    assert "1 results of legal:sorted" in capsys.readouterr().out


class NowAndThen:
    """Wrong on its third to fifth run alone."""

    name, runs = "now-and-then", 0

    def start(self) -> tuple[dict[str, str], str]:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        self.runs += 1
        t = implementation("refbp").run(p)
        return replace(t, loss=t.loss + 1) if 3 <= self.runs <= 5 else t


def test_one_that_is_wrong_now_and_then_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_ready", lambda name: NowAndThen())
    found = search(["now-and-then"], 30, 0, None)
    assert found.result is not None
    assert found.result["verdict"] == "deviates"
    assert found.problem is not None


@pytest.mark.slow
def test_what_is_loaded_besides_changes_no_network(tmp_path: Path) -> None:
    """Hypothesis draws the constants of local modules."""
    (tmp_path / "constants.py").write_text("X = [3, 5, 17, 101, 4097, 60000]\n", encoding="utf-8")
    code = """
import sys, zlib
{0}
from conformance.commands.fuzz import search as s
keep, real = [], s.network
def noting(choose):
    n = real(choose)
    keep.append(repr(n and n.problem.X.tobytes()))
    return n
s.network = noting
s.search(["refbp"], 30, 0, None)
print(zlib.crc32("".join(keep).encode()))
"""
    imports = ("pass", f"sys.path.insert(0, {str(tmp_path)!r}); import constants")
    seen = [
        subprocess.run(
            [sys.executable, "-c", code.replace("{0}", more)],
            capture_output=True, text=True, check=True,
        ).stdout
        for more in imports
    ]  # fmt: skip
    assert seen[0] == seen[1]


def test_the_simplest_choices_make_the_simplest_network() -> None:
    drawn = network(lambda k: 0)
    assert drawn is not None
    assert (drawn.problem.depth, len(drawn.problem.X)) == (1, 1)
    assert not drawn.close
