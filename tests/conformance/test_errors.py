"""Sets of random errors: a few at a time, and in single precision, as all at once in double."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import Problem
from conformance.truth import errors as module
from conformance.truth.errors import draws, errors
from conformance.truth.network import Network
from conformance.truth.reading import Reading
from conformance.truth.rounding import DRAWS, Arithmetic, Model, Reals, rms

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
        small = of < module.UNDERFLOWS
        assert ((s < module.UNDERFLOWS) == small).all()
        assert ((s > 0) == (of > 0)).all()
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


def test_entries_near_a_kink_are_counted_once(precisions: list[str]) -> None:
    n = network("relu")
    reading, model = read(n, reach=1e12)
    errors(n.tape, reading, model)
    assert precisions == ["float32"]
    assert 0 < model.straddling < 3 * 30 * 40
