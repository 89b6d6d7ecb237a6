"""Activations as released packages have them, written in NumPy: right is right, wrong is wrong, every kink once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import erf, expit

from conformance import check_activation

pytestmark = pytest.mark.zoo

Function = Callable[[Any], Any]


class Foreign(NamedTuple):
    """σ and σ', the kinks and jumps of σ; σ' is made wrong beyond `wrong`."""

    sigma: Function
    prime: Function
    at: tuple[float, ...]
    wrong: float = 20.0
    verdict: str = "right"


def relu6(x: Any) -> Any:
    return np.minimum(np.maximum(x, 0), 6)


def between(x: Any, low: float, high: float) -> Any:
    return ((x > low) & (x < high)).astype(x.dtype)


def hard_mish(x: Any) -> Any:
    return 0.5 * x * np.clip(x + 2, 0, 2)


def hard_mish_prime(x: Any) -> Any:
    return np.where(x <= -2, 0.0 * x, np.where(x >= 0, np.ones_like(x), x + 1))


def hard_swish_prime(x: Any) -> Any:
    return np.where(x <= -3, 0 * x, np.where(x >= 3, np.ones_like(x), x / 3 + 0.5))


def hard_sigmoid_6(x: Any) -> Any:
    return relu6(x + 3) / 6


def soft_shrink(x: Any) -> Any:
    return np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0 * x))


def soft_shrink_clip(x: Any) -> Any:
    return x - np.clip(x, -0.5, 0.5)


def hard_shrink(x: Any) -> Any:
    return np.where((x >= -0.5) & (x <= 0.5), 0 * x, x)


def shrink_prime(x: Any) -> Any:
    return (np.abs(x) > 0.5).astype(x.dtype)


def threshold(x: Any) -> Any:
    return np.where(x > 0.5, x, 0 * x - 1)


def squareplus(x: Any) -> Any:
    """(x + √(x² + 4))/2, by the form that does not cancel on either side."""
    root = np.hypot(x, 2)
    return np.where(x > 0, (x + root) / 2, 2 / (root - np.minimum(x, 0)))


def squareplus_prime(x: Any) -> Any:
    root = np.hypot(x, 2)
    return np.where(x > 0, (1 + x / root) / 2, 2 / (root * (root - np.minimum(x, 0))))


def smelu(x: Any) -> Any:
    """Smooth ReLU (Shamir 2020), β = 1."""
    return np.where(x <= -1, 0 * x, np.where(x >= 1, x, np.square(np.clip(x, -1, 1) + 1) / 4))


def smelu_prime(x: Any) -> Any:
    return np.clip((x + 1) / 2, 0, 1)


def star_relu(x: Any) -> Any:
    return 0.8944 * np.square(np.maximum(x, 0)) - 0.4472


def relu_squared_capped(x: Any) -> Any:
    return np.square(np.clip(x, 0, 3))


def bent_quadratic(x: Any) -> Any:
    """Piecewise quadratic: PLU's and SQNL's kind."""
    y = np.clip(x, -2, 2)
    return y - np.sign(y) * np.square(y) / 4


def quadratic_prime(x: Any) -> Any:
    return np.where(np.abs(x) < 2, 1 - np.abs(x) / 2, 0 * x)


def serf(x: Any) -> Any:
    return x * erf(np.logaddexp(0, x))


def serf_prime(x: Any) -> Any:
    p = np.logaddexp(0, np.clip(x, -745, 80))
    return erf(p) + x * (2 / np.sqrt(np.pi)) * np.exp(-p * p) * expit(x)


def plu(x: Any) -> Any:
    return np.maximum(0.125 * (x + 1) - 1, np.minimum(0.125 * (x - 1) + 1, x))


def elu(x: Any) -> Any:
    return np.maximum(0, x) + np.minimum(0, np.expm1(x))


def elu_prime(x: Any) -> Any:
    return np.exp(np.minimum(x, 0))


# fmt: off
FOREIGN = {
    "timm hard_mish":       Foreign(hard_mish, hard_mish_prime, (-2,)),
    "timm hard_swish":      Foreign(lambda x: x * relu6(x + 3) / 6, hard_swish_prime, (-3, 3)),
    "keras hard_sigmoid":   Foreign(hard_sigmoid_6, lambda x: np.where(np.abs(x) < 3, 1 / 6 + 0 * x, 0 * x), (-3, 3)),
    "paddle hardsigmoid":   Foreign(lambda x: np.clip(0.25 * x + 0.5, 0, 1), lambda x: 0.25 * between(x, -2, 2), (-2, 2)),
    "shifted ramp":         Foreign(lambda x: np.clip(x + 2, 0, 2), lambda x: between(x, -2, 0), (-2, 0)),
    "torch hardtanh":       Foreign(lambda x: np.maximum(-1, np.minimum(x, 1)), lambda x: between(x, -1, 1), (-1, 1)),
    "torch softshrink":     Foreign(soft_shrink, shrink_prime, (-0.5, 0.5)),
    "softshrink by clip":   Foreign(soft_shrink_clip, shrink_prime, (-0.5, 0.5)),
    "its size":             Foreign(lambda x: np.abs(soft_shrink_clip(x)), lambda x: np.sign(x) * shrink_prime(x), (-0.5, 0.5)),
    "torch hardshrink":     Foreign(hard_shrink, shrink_prime, (-0.5, 0.5)),
    "torch threshold":      Foreign(threshold, lambda x: (x > 0.5).astype(x.dtype), (0.5,)),
    "torch rrelu, eval":    Foreign(lambda x: np.where(x >= 0, x, x / 4), lambda x: np.where(x >= 0, np.ones_like(x), 0.25 + 0 * x), (0,)),
    "torch elu":            Foreign(elu, elu_prime, ()),
    "jax squareplus":       Foreign(squareplus, squareplus_prime, ()),
    "flax smelu":           Foreign(smelu, smelu_prime, ()),
    "timm star_relu":       Foreign(star_relu, lambda x: 2 * 0.8944 * np.maximum(x, 0), ()),
    "capped square":        Foreign(relu_squared_capped, lambda x: 2 * x * between(x, 0, 3), (3,)),
    "piecewise quadratic":  Foreign(bent_quadratic, quadratic_prime, ()),
    "serf":                 Foreign(serf, serf_prime, ()),
    "PLU":                  Foreign(plu, lambda x: np.where(np.abs(x) < 1, np.ones_like(x), 0.125 + 0 * x), (-1, 1)),
    "tanhshrink":           Foreign(lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2, (), verdict="inaccurate"),
    "jax log_sigmoid":      Foreign(lambda x: -np.logaddexp(0, -x), lambda x: expit(-x), ()),
    "keras sparse_plus":    Foreign(
        lambda x: np.where(x <= -1, 0 * x, np.where(x < 1, np.square(np.clip(x, -1, 1) + 1) / 4, x)), smelu_prime, ()),
    "jax sparse_sigmoid":   Foreign(lambda x: 0.5 * np.clip(x + 1, 0, 2), lambda x: 0.5 * between(x, -1, 1), (-1, 1)),
}
# fmt: on


@pytest.mark.parametrize("name", FOREIGN)
def test_a_right_one_is_right_and_each_kink_is_found_once(name: str) -> None:
    row = FOREIGN[name]
    c = check_activation(row.sigma, row.prime, network=False)
    assert c["verdict"] == row.verdict, c["message"]
    assert not c["unsearched"]
    real = [k["at"] for k in c["kinks"] if k["of"] == "σ" and k["kind"] != "smooth"]
    assert real == list(row.at)


@pytest.mark.parametrize("name", FOREIGN)
def test_wrong_beyond_a_point_is_wrong(name: str) -> None:
    row = FOREIGN[name]

    def prime(x: Any) -> Any:
        return np.where(x > row.wrong, 7 + 0 * x, row.prime(x))

    c = check_activation(row.sigma, prime, network=False)
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1)
    assert "wrong-derivative" in {f["kind"] for f in c["findings"]}
