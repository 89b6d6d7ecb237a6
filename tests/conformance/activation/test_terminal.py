"""What the terminal shows of a check."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance import check_activation
from conformance.commands.activation.terminal import describe


def test_the_table_of_ways_and_of_branch_points() -> None:
    def relu_prime(x: Any) -> Any:
        return (x > 0).astype(x.dtype)

    text = describe(check_activation(lambda x: np.maximum(x, 0), relu_prime, network=False))
    assert text.startswith("right: σ' is the derivative of σ on the whole line of floats: ")
    assert "1 kink" in text.splitlines()[0]
    assert "\n0.0           kink  0.0            1.0             0.0\n" in text
    assert "\nσ'  float64  derivative  right" in text
    assert text.endswith("not run: networks: not asked for.")


def test_a_branch_point_between_two_floats_and_a_derivative_that_is_not_seen() -> None:
    def sigma(x: Any) -> Any:
        return np.where(x * x > 2, x, 2 / x)

    def prime(x: Any) -> Any:
        return np.array(
            [1.0 if v * v > 2 else -2 / (v * v) for v in x.ravel().tolist()], x.dtype
        ).reshape(x.shape)

    text = describe(check_activation(sigma, prime, domain=(0.5, 9.0), network=False))
    assert "\nnear 1.41421356237309" in text
    assert "not certified: σ': " in text
