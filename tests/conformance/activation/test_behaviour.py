"""What behaviour() sees of an array function, and what it lets through."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from right import RIGHT
from wrong import WRONG, buffered

from conformance.commands.activation.behaviour import behaviour

LINE = (-math.inf, math.inf)
NEW = ("not-elementwise", "wrong-shape", "reuses-buffer", "not-deterministic", "mutates")


def kinds(f: Callable[[Any], Any], domain: tuple[float, float] = LINE) -> list[str]:
    return [o.kind for o in behaviour(f, domain)]


def doubled_where(switch: Callable[[Any], bool]) -> Callable[[Any], Any]:
    return lambda x: np.tanh(x) * (2 if switch(x) else 1)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_function_is_not_flagged(name: str) -> None:
    for f in RIGHT[name][:2]:
        assert not set(kinds(f)) & set(NEW)
        assert not set(kinds(f, (2.0, 4.0))) & set(NEW)


def test_only_code_that_fails_on_odd_arrays_is_warned_of() -> None:
    warned = {n for n, row in RIGHT.items() for f in row[:2] if "odd-arrays" in kinds(f)}
    assert warned == {"in place"}  # out= of a scalar
    with pytest.raises(TypeError):
        RIGHT["in place"].sigma(np.array(1.0))


@pytest.mark.parametrize(
    "switch",
    [
        lambda x: x.ndim == 2,
        lambda x: x.ndim >= 3,
        lambda x: x.size > 5000,
        lambda x: x.size == 1,
        lambda x: not x.flags.c_contiguous,
        lambda x: x.ndim == 2 and x.flags.f_contiguous,
        lambda x: x.ndim == 1 and not x.flags.contiguous,
        lambda x: x.ndim == 2 and x.shape[0] == x.shape[1],
    ],
)
def test_the_same_numbers_arranged_otherwise(switch: Callable[[Any], bool]) -> None:
    assert "not-elementwise" in kinds(doubled_where(switch))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.swapaxes(np.tanh(x), 0, -1) if x.ndim == 3 else np.tanh(x),
        lambda x: np.tanh(x) if np.isfinite(x).all() else np.full_like(x, np.nan),
        lambda x: (
            np.cumsum(np.ones_like(x).ravel()).reshape(x.shape) * 0 + np.maximum(x, x.flat[0])
        ),
    ],
)
def test_not_elementwise(f: Callable[[Any], Any]) -> None:
    assert "not-elementwise" in kinds(f)


def test_another_shape_in_3_dimensions() -> None:
    assert "wrong-shape" in kinds(lambda x: np.tanh(x).reshape(len(x), -1) if x.ndim > 2 else x + 0)


def test_where_it_differs_is_said() -> None:
    (o,) = behaviour(doubled_where(lambda x: x.ndim >= 3), LINE)
    assert o.got.endswith(" in 3 dimensions")
    assert 2 * float(o.expected) == pytest.approx(float(o.got.split()[0]))


def test_a_nan_is_its_own_affair() -> None:
    assert kinds(lambda x: np.where(x > 0, x, 0 * np.ones_like(x))) == []  # hides-nan, elsewhere


@pytest.mark.parametrize("of_each", [1, 2])
def test_a_buffer_is_seen_though_even_functions_repeat_themselves(of_each: int) -> None:
    buffers, calls = {}, iter(range(10**6))

    def f(x: Any) -> Any:
        key = x.size, x.dtype, next(calls) % of_each
        out = buffers.setdefault(key, np.empty(x.size, x.dtype)).reshape(x.shape)
        out[...] = np.cosh(x)
        return out

    assert kinds(f) == ["reuses-buffer"]


def test_a_buffer_is_said_with_what_it_was() -> None:
    (o,) = behaviour(buffered, LINE)
    assert o.got != o.expected
    assert float(o.expected) == pytest.approx(math.tanh(o.x))


def _raises(x: Any) -> Any:
    raise (SystemExit(3) if x.size else ValueError("empty"))


@pytest.mark.parametrize("odd", [lambda x: x.size == 0, lambda x: x.ndim == 0])
@pytest.mark.parametrize("then", [_raises, lambda x: np.ones((2, 2)), lambda x: "nothing"])
def test_odd_arrays(odd: Callable[[Any], bool], then: Callable[[Any], Any]) -> None:
    assert kinds(lambda x: then(x) if odd(x) else np.tanh(x)) == ["odd-arrays"]


@pytest.mark.parametrize("then", [lambda x: None, lambda x: 3.0, lambda x: [float(np.tanh(x))]])
def test_another_result_of_a_0d_array(then: Callable[[Any], Any]) -> None:
    assert kinds(lambda x: np.tanh(x) if x.ndim else then(x)) == ["odd-arrays"]


def test_a_scalar_of_a_0d_array_is_fine() -> None:
    assert kinds(lambda x: np.tanh(x) if x.ndim else float(np.tanh(x))) == []


@pytest.mark.parametrize("ordinary", [lambda x: x.ndim == 3, lambda x: x.size > 5000])
def test_what_ordinary_arrays_raise_is_raised(ordinary: Callable[[Any], bool]) -> None:
    def f(x: Any) -> Any:
        if ordinary(x):
            raise ZeroDivisionError
        return np.tanh(x)

    with pytest.raises(ZeroDivisionError):
        behaviour(f, LINE)


def test_each_kind_once() -> None:
    found = kinds(WRONG["no 0-d arrays"].sigma or np.tanh)
    assert found == ["odd-arrays"]


def test_it_is_cheap() -> None:
    def took(f: Any) -> float:
        begun = time.process_time()  # not the clock: the machine may be busy
        behaviour(f, LINE)
        return time.process_time() - begun

    assert min(took(RIGHT["mish"].prime) for _ in range(3)) < 0.1
