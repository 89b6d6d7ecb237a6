"""Sets of random errors: a few at a time, and in single precision, as all at once in double."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import Problem
from conformance.truth import errors as module
from conformance.truth.arrays import apply, join
from conformance.truth.errors import draws, errors
from conformance.truth.network import Network
from conformance.truth.nodes import op
from conformance.truth.reading import Reading
from conformance.truth.readings import in_balls
from conformance.truth.rounding import DRAWS, EXACT, Arithmetic, Model, Reals, rms
from conformance.truth.tape import Tape

SIGMAS = ("tanh", "sigmoid", "relu", "silu", "softplus", "softmax")


def network(sigma: str, gain: float = 1.0, depth: int = 3, dtype: str = "float64") -> Network:
    """Large enough for single precision: 40 units, 30 examples."""
    draw = np.random.default_rng(len(sigma)).standard_normal
    W = {l: (gain * draw((41, 40)) / 6).astype(dtype) for l in range(1, depth + 1)}
    X, Y = draw((30, 40)).astype(dtype), draw((30, 40)).astype(dtype)
    of = dict.fromkeys(W, sigma)
    return Network(
        Problem(W=W, X=X, Y=Y, sigma=of, loss="mean_squared_error", bias=True, alpha=0.125)
    )


def read(n: Network, reach: float = LAMBDA) -> tuple[Reading, Model]:
    dtype = n.problem.dtype
    model = Model(Arithmetic.of(dtype), partial(accuracy, "refbp", dtype.name), reach=reach)
    return n._exact, model


@pytest.fixture
def precisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dtypes that sets were carried in."""
    found: list[str] = []
    real = module._Sets.__init__

    def init(self: Any, tape: Any, reading: Any, model: Any, dtype: Any = np.float64) -> None:
        found.append(np.dtype(dtype).name)
        real(self, tape, reading, model, dtype)

    monkeypatch.setattr(module._Sets, "__init__", init)
    return found


def close(found: dict[Any, Reals], expected: dict[Any, Reals], digits: float) -> None:
    assert found.keys() == expected.keys()
    for key, s in found.items():
        of = expected[key]
        small = of <= 1e-12 * of.max(initial=0)  # what underflow may lose, of numbers that are 0
        assert (s[small] <= 1e-12 * of.max(initial=0)).all()
        np.testing.assert_allclose(s[~small], of[~small], rtol=digits, atol=0, err_msg=str(key))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_single_precision_is_enough(
    sigma: str, dtype: str, precisions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    n = network(sigma, dtype=dtype)
    reading, model = read(n)
    single = errors(n.tape, reading, model)
    assert precisions == ["float32"]
    near = model.straddling
    monkeypatch.setattr(module, "_in_single", lambda tape, reading: False)
    reading, model = read(n)
    close(single, errors(n.tape, reading, model), 1e-4)
    assert near == model.straddling


@pytest.mark.parametrize("at_once", [1, 2**12, 2**14, 2**40])
@pytest.mark.parametrize("single", [True, False])
def test_it_does_not_matter_how_many_sets_go_at_once(
    at_once: int, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = network("tanh")
    reading, model = read(n)
    monkeypatch.setattr(module, "_in_single", lambda tape, reading: single)
    whole = errors(n.tape, reading, model)
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    close(errors(n.tape, reading, read(n)[1]), whole, 1e-5 if single else 1e-13)


def test_the_sets_themselves_have_those_means(monkeypatch: pytest.MonkeyPatch) -> None:
    n = network("tanh")
    reading, model = read(n)
    monkeypatch.setattr(module, "_in_single", lambda tape, reading: False)
    means = errors(n.tape, reading, model)
    for key, e in draws(n.tape, reading, read(n)[1]).items():
        assert e.shape == (DRAWS, *means[key].shape)
        np.testing.assert_allclose(rms(e), means[key], rtol=1e-12)


def test_errors_too_small_for_single_precision_are_carried_in_double(precisions: list[str]) -> None:
    """The slopes of two sigmoids at −14 make δ_1 a billionth of a billionth, and its error 1e-28."""
    n = network("sigmoid", depth=2)
    p = n.problem
    W = {l: np.where(np.arange(41)[:, None] == 40, -14.0, M) for l, M in p.W.items()}
    n = Network(Problem(W=W, X=p.X, Y=p.Y, sigma=p.sigma, loss=p.loss, bias=True, alpha=0.125))
    reading, model = read(n)
    assert module._in_single(n.tape, reading)
    found = errors(n.tape, reading, model)
    assert precisions == ["float32", "float64"]
    assert module.UNDERFLOWS < found["delta", 1].min() < module.LEAST
    assert model.straddling == 0


def test_numbers_too_small_for_single_precision(precisions: list[str]) -> None:
    n = network("tanh", gain=60)  # tanh' is as small as 1e-30
    reading, model = read(n)
    errors(n.tape, reading, model)
    assert precisions == ["float64"]


def of(p: Problem, single: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[Any, Reals], int]:
    """The errors, and how many entries are near a kink."""
    n = Network(p)
    reading, model = read(n)
    with monkeypatch.context() as patched:
        if not single:
            patched.setattr(module, "_in_single", lambda tape, reading: False)
        return errors(n.tape, reading, model), model.straddling


@pytest.mark.parametrize("size", [1e6, 1e7])
def test_errors_of_millions_do_not_overflow(
    size: float, precisions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their squares, in single precision, did: nothing was judged then."""
    draw = np.random.default_rng(0).standard_normal
    W = {l: (draw((41, 40)) / 6).astype(np.float32) for l in (1, 2)}
    W[2] *= np.float32(size)
    X, Y = draw((30, 40)).astype(np.float32), (size * draw((30, 40))).astype(np.float32)
    p = Problem(
        W=W,
        X=X,
        Y=Y,
        sigma={1: "relu", 2: "identity"},
        loss="mean_squared_error",
        bias=True,
        alpha=0.1,
    )
    found, _ = of(p, True, monkeypatch)
    assert precisions == ["float32"]
    assert all(np.isfinite(s).all() for s in found.values())
    close(found, of(p, False, monkeypatch)[0], 1e-4)


@pytest.mark.parametrize("sigma", ["softmax", "log_softmax"])
def test_an_error_that_all_of_a_row_have_leaves_nothing_in_single_precision(
    sigma: str, precisions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal logits: E − Σ s E is 0."""
    draw, w = np.random.default_rng(0).standard_normal, 50
    W = {l: draw((w, w)) / 7 for l in (1, 2)}
    W[2] = np.repeat(W[2][:, :1] * 1e9, w, 1)
    Y = np.eye(w)[np.arange(40)]
    losses = {"softmax": "cross_entropy", "log_softmax": "log_softmax_cross_entropy"}
    p = Problem(
        W=W,
        X=draw((40, w)),
        Y=Y,
        sigma={1: "tanh", 2: sigma},
        loss=losses[sigma],
        bias=False,
        alpha=0.1,
    )
    found, expected = (of(p, single, monkeypatch)[0] for single in (True, False))
    close(found, expected, 1e-4)
    assert precisions[:2] == ["float32", "float64"]


@pytest.mark.parametrize("single", [True, False])
def test_a_sum_of_zeros_is_zero_and_on_no_other_side_of_a_kink(
    single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0).standard_normal
    W = {l: draw((60, 60)) / 8 for l in (1, 2)}
    W[1][:, :3] = 0
    p = Problem(W=W, X=draw((40, 60)), Y=draw((40, 60)), sigma={1: "relu", 2: "identity"},
                loss="mean_squared_error", bias=False, alpha=0.1)  # fmt: skip
    found, near = of(p, single, monkeypatch)
    assert near == 0
    assert (found["delta", 1][:, :3] < module.UNDERFLOWS).all()


def test_entries_near_a_kink_are_counted_once_after_falling_back(
    precisions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0).standard_normal
    W = {l: draw((41, 40)) / 6 for l in (1, 2, 3)}
    W[2][40] = W[3][40] = -14
    p = Problem(W=W, X=draw((30, 40)), Y=draw((30, 40)), sigma={1: "relu", 2: "sigmoid", 3: "sigmoid"},
                loss="mean_squared_error", bias=True, alpha=0.1)  # fmt: skip
    n = Network(p)
    model = Model(Arithmetic.of(p.dtype), partial(accuracy, "refbp", "float64"), reach=1e14)
    errors(n.tape, n._exact, model)
    assert precisions == ["float32", "float64"]
    alone = Model(Arithmetic.of(p.dtype), partial(accuracy, "refbp", "float64"), reach=1e14)
    monkeypatch.setattr(module, "_in_single", lambda tape, reading: False)
    errors(n.tape, n._exact, alone)
    assert model.straddled == alone.straddled > 0


IMPORTS = """
import sys
for name in sys.argv[1:]:
    __import__(f"conformance.truth.{name}")
import numpy as np
from conformance.truth.arrays import apply
from conformance.truth.errors import errors
from conformance.truth.readings import in_balls
from conformance.truth.rounding import EXACT, Arithmetic, Model
from conformance.truth.tape import Tape
tape = Tape()
x, y = tape.leaf(np.array([1.0, 2, 1 / 3])), tape.leaf(np.array([1 / 3, 1 / 7, 1 / 9]))
d = apply("subtract", apply("multiply", x, y), apply("multiply", y, x))
tape.mark(apply("multiply", apply("greater", apply("add", d, 1e-10), 0.0), x), "z")
model = Model(Arithmetic.named("float32"), lambda name: EXACT, reach=5.0)
print(errors(tape, in_balls(tape), model)["z"].tolist(), model.straddling)
"""


@pytest.mark.parametrize("order", [["errors", "primitives"], ["primitives", "errors"]])
def test_the_order_of_imports_does_not_matter(order: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS, *order], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.endswith(" 3\n")


def test_what_is_moved_waits_for_all_that_it_is_of() -> None:
    """[a bᵀ | d], of which bᵀ is moved up, before the product d is there."""
    draw = np.random.default_rng(3).standard_normal
    tape = Tape()
    b = op.add(tape.leaf(draw((4, 4))), tape.leaf(draw((4, 4))))
    d = op.multiply(tape.leaf(draw((4, 1))), tape.leaf(draw((4, 1))))
    first = op.without_last(op.transpose(b))
    tape.mark(join([d, first], -1), "joined")
    tape.mark(first, "first")
    tape.mark(d, "d")
    reading = in_balls(tape)
    found = errors(tape, reading, Model(Arithmetic.named("float32"), lambda name: EXACT))
    assert (found["joined"] == np.concatenate([found["d"], found["first"]], -1)).all()
    assert (found["joined"] > 0).all()


def test_what_is_used_last_at_the_beginning_of_a_run() -> None:
    """log asks for the error of its operand: a run begins with it."""
    tape = Tape()
    total = op.sum(tape.leaf(np.linspace(0.1, 3, 50)[None]), axes=(-1,))
    tape.mark(apply("log", total), "log")
    reading = in_balls(tape)
    exact = [errors, draws]
    made, all_sets = (
        f(tape, reading, Model(Arithmetic.named("float32"), lambda name: EXACT)) for f in exact
    )
    assert made["log"] > 2.0**-24 / 8
    np.testing.assert_allclose(rms(all_sets["log"]), made["log"], rtol=1e-12)


def test_entries_near_a_kink_are_counted_once(precisions: list[str]) -> None:
    n = network("relu")
    reading, model = read(n, reach=1e12)
    errors(n.tape, reading, model)
    assert precisions == ["float32"]
    assert 0 < model.straddling < 3 * 30 * 40
