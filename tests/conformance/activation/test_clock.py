"""No verdict hangs on the clock: work is counted, and what was not searched is named."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance import check_activation

pytestmark = pytest.mark.zoo  # the tracer makes these three times as slow

Function = Callable[[Any], Any]


def hard_mish(x: Any) -> Any:
    """As in timm: near 0 the comparison of x + 2 with 2 is a tie in floats."""
    return 0.5 * x * np.clip(x + 2, 0, 2)


def hard_mish_prime(x: Any) -> Any:
    return np.where(x <= -2, 0.0 * x, np.where(x >= 0, 1.0 + 0 * x, x + 1))


def huber(x: Any) -> Any:
    return np.where(np.abs(x) <= 1, 0.5 * np.square(np.clip(x, -1, 1)), np.abs(x) - 0.5)


def huber_prime(x: Any) -> Any:
    return np.clip(x, -1, 1)


def beyond(f: Function, at: float, value: float) -> Function:
    return lambda x: np.where(x > at, value + 0 * x, f(x))


def saw(x: Any) -> Any:
    return np.maximum(x, 3) + 0.25 * (x - np.floor(x))


def saw_prime(x: Any) -> Any:
    return np.where(x > 3, 1.25 + 0 * x, 0.25 + 0 * x)


def checked(f: Function, g: Function) -> Any:
    found = check_activation(f, g, network=False)
    found.pop("environment")  # type: ignore[misc]
    return found


CASES = {
    "hard mish": (hard_mish, hard_mish_prime, "right", 0),
    "hard mish, 3 beyond 5": (hard_mish, beyond(hard_mish_prime, 5, 3), "wrong", 1),
    "Huber": (huber, huber_prime, "right", 0),
    "Huber, 7 beyond 10": (huber, beyond(huber_prime, 10, 7), "wrong", 1),
    "branch points without end": (saw, saw_prime, "not judged", 2),
    "without end, and wrong": (saw, beyond(saw_prime, 1000, 2), "wrong", 1),
}


@pytest.mark.parametrize("name", CASES)
def test_however_slow_the_evaluation_the_answer_is_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every clock runs 1,000 times as fast, as for a function that is 1,000 times as slow."""
    f, g, verdict, exit_code = CASES[name]
    found = checked(f, g)
    assert (found["verdict"], found["exit_code"]) == (verdict, exit_code), found["message"]
    for clock in ("monotonic", "perf_counter", "time", "process_time"):
        now: Callable[[], float] = getattr(time, clock)
        monkeypatch.setattr(time, clock, lambda now=now: 1000 * now())
    assert checked(f, g) == found


def test_one_that_sleeps_gets_the_answer_of_one_that_does_not() -> None:
    def asleep(f: Function) -> Function:
        @functools.wraps(f)
        def slowly(x: Any) -> Any:
            time.sleep(0.002)
            return f(x)

        return slowly

    f, g, *_ = CASES["hard mish, 3 beyond 5"]
    fast, slow = checked(f, g), checked(asleep(f), asleep(g))
    assert slow == fast


def test_what_was_not_searched_is_named() -> None:
    c = checked(saw, saw_prime)
    assert c["kinks"]
    assert [k["at"] for k in c["kinks"] if k["at"] == 3] == [3.0]
    low, high = c["unsearched"]["σ"][-1]
    assert 3 < float(low) < 1e6
    assert float(high) == np.finfo(float).max
    (f,) = (f for f in c["findings"] if f["kind"] == "many-branches" and f["of"] == "σ")
    assert f"{float(low):.6g} ≤ x ≤ 1.79769e+308" in f["where"]
    assert f["where"] in c["message"]
    assert "whole line" not in c["message"]


def test_a_black_box_is_judged_at_its_points_and_no_more_is_said() -> None:
    table = np.cos(0.0)

    def prime(x: Any) -> Any:
        return np.array([float(np.cos(v)) * table for v in np.ravel(x)], x.dtype).reshape(x.shape)

    c = checked(np.sin, prime)
    assert c["verdict"] == "right", c["message"]
    assert "whole line" not in c["message"]


def test_each_kink_of_hard_mish_is_found_once() -> None:
    c = checked(hard_mish, hard_mish_prime)
    assert [(k["at"], k["kind"]) for k in c["kinks"]] == [(-2.0, "kink"), (0.0, "smooth")]
    assert "whole line" in c["message"]
