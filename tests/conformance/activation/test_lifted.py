"""NumPy as people write it, on Taylor balls, torch tensors and JAX arrays; and what cannot be, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.special
from numpy import asarray, zeros

from conformance.commands.activation.balls import BALLS
from conformance.commands.activation.curve import curve
from conformance.commands.activation.evaluate import evaluate, numpy_for
from conformance.commands.activation.jax_ import Jax
from conformance.commands.activation.lifted import Lifted, UnsupportedError
from conformance.commands.activation.torch_ import Torch
from conformance.truth.balls import scalar
from conformance.truth.taylor import variable

X = np.array([-2.5, -1.25, -0.3, 0.4, 1.1, 2.75])


def masked(x: Any) -> Any:
    out = np.zeros_like(x)
    up = x > 0
    out[up] = np.sqrt(x[up])
    out[~up] = -np.sqrt(-x[~up])
    return out


def in_place(x: Any) -> Any:
    y = np.array(x)
    y *= 2
    y += 1
    y **= 2
    np.tanh(y, out=y)
    return y


def where_argument(x: Any) -> Any:
    out = np.ones_like(x)
    np.exp(x, out=out, where=x < 0)
    return out


def made(x: Any) -> Any:
    x = np.asarray(x, dtype=float)
    out = np.empty(x.shape, x.dtype)
    out[...] = np.full(x.shape, 0.5) * x
    out += np.ones(x.shape) - np.zeros(x.shape)
    return out


def imported_by_name(x: Any) -> Any:
    out = zeros(asarray(x).shape)
    out[x > 0] = 1.0
    return out * x


def reshaped(x: Any) -> Any:
    y = x.reshape(-1, 2)
    return np.ravel(np.sinh(y)).reshape(x.shape)


def put(x: Any) -> Any:
    y = x.copy()
    np.putmask(y, x < 0, 0.25 * x)
    np.copyto(y, y * y, where=y > 1)
    return y


def conditional(x: Any) -> Any:
    if np.any(x > 1e9):
        return x
    return x * np.all(x < 1e9)


FORMS: dict[str, Callable[[Any], Any]] = {
    "operators": lambda x: (1 + x) * 2 - x / 3 + x**3 - 2**x + (-x) + (+x) - abs(x),
    "reversed operators": lambda x: 1 - 3 / (2.5 + x * x) + 2.0**x,
    "masks": masked,
    "in place": in_place,
    "out= and where=": where_argument,
    "arrays made": made,
    "names imported": imported_by_name,
    "reshape": reshaped,
    "putmask, copyto": put,
    "any, all": conditional,
    "where": lambda x: np.where(x > 0, x, np.where(x < -1, -1.0, x * x)),
    "mask times x": lambda x: (x > 0) * x + (x <= 0) * 0.1 * x,
    "astype of a mask": lambda x: (x > 0).astype(x.dtype) * np.exp(x),
    "logical": lambda x: np.where(np.logical_and(x > -1, x < 1) | (x > 2), x, 0.5 * x),
    "not": lambda x: np.where(~(x > 0), -x, x) + np.where(np.logical_not(x > 1), 1.0, 2.0),
    "clip": lambda x: np.clip(x, -1, 1) + x.clip(0, 2) + np.clip(x, None, 0.5) + np.clip(x, a_min=0, a_max=None),
    "maximum": lambda x: np.maximum(x, 0) + np.minimum(0.5, x) + np.fmax(x, x * x),
    "select": lambda x: np.select([x < -1, x < 1], [x * x, x], default=2 * x),
    "piecewise": lambda x: np.piecewise(x, [x < -1, x > 1], [lambda t: t * t, 1.0, lambda t: np.sin(t)]),
    "heaviside": lambda x: np.heaviside(x, 0.5) * np.expm1(x),
    "sinc": lambda x: np.sinc(x),
    "sign, copysign": lambda x: np.sign(x) * np.sqrt(np.abs(x)) + np.copysign(1.5, x) * x,
    "signbit": lambda x: np.where(np.signbit(x), x, 2 * x),
    "isnan": lambda x: np.where(np.isnan(x) | ~np.isfinite(x) | np.isinf(x), 0.0, np.tanh(x)),
    "nan_to_num": lambda x: np.nan_to_num(np.arctan(x)),
    "logaddexp": lambda x: np.logaddexp(0, x) + np.logaddexp(x, -x) + np.logaddexp2(x, 0.0),
    "square, reciprocal": lambda x: np.square(x) + np.reciprocal(3 + x) + np.float_power(3 + x, 1.5),
    "logarithms": lambda x: np.log(4 + x) + np.log2(4 + x) + np.log10(4 + x) + np.log1p(x * x),
    "hyperbolic": lambda x: np.cosh(x) - np.arcsinh(x) + np.arctanh(x / 4) + np.arccosh(4 + x),
    "circular": lambda x: np.cos(x) * np.tan(x / 4) + np.arcsin(x / 4) + np.arccos(x / 4),
    "hypot, cbrt": lambda x: np.hypot(x, 1) + np.cbrt(4 + x) + np.exp2(x) + np.arctan2(x, 2.0),
    "scipy, logistic": lambda x: scipy.special.expit(x) + scipy.special.logit(scipy.special.expit(x)),
    "scipy, normal": lambda x: scipy.special.ndtr(x) * scipy.special.erf(x) + scipy.special.erfc(x),
    "scipy, log": lambda x: scipy.special.log_ndtr(x) + scipy.special.xlogy(x * x, 2 + x * x),
    "scipy, others": lambda x: scipy.special.gammaln(4 + x) + scipy.special.xlog1py(x, x * x),
    "default parameters": lambda x, a=0.7, *, b=2.0: a * np.tanh(b * x),
    "partial": partial(lambda x, a: np.tanh(a * x), a=0.3),
    "constants": lambda x: np.sqrt(2 / np.pi) * x + math.pi + np.float64(0.25) + np.array(0.5) + 3,
    "a constant": lambda x: 3.0 * np.ones_like(x),
    "iteration over powers": lambda x: sum(c * x**k for k, c in enumerate((1.0, 0.5, 0.25))),
    "errstate": np.errstate(over="ignore")(lambda x: 1 / (1 + np.exp(-x))),
    "broadcast": lambda x: np.broadcast_to(np.atleast_1d(np.real(x)), np.shape(x)) * np.ndim(x) * 0.5,
    "squeeze": lambda x: np.squeeze(np.copy(x)) * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_on_taylor_balls(name: str) -> None:
    """The same values as NumPy's own, and the derivative of a central difference."""
    f = FORMS[name]
    c = curve(f, X)
    assert c.known.all()
    np.testing.assert_allclose(c.value.hi, f(X.copy()), rtol=1e-13, atol=1e-15)
    h = 1e-5
    slope = (f(X + h) - f(X - h)) / (2 * h)
    np.testing.assert_allclose(c.first.hi, slope, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("framework", [Torch(), Jax()], ids=lambda f: f.name)
def test_in_a_framework(name: str, framework: Any) -> None:
    """The certified derivative again, by autodiff of the same function."""
    if name == "heaviside" and framework.name == "torch":
        pytest.skip("torch does not differentiate heaviside")
    c = curve(FORMS[name], X)
    found = framework.differentiated(framework.dispatched(FORMS[name]), X, "float64")
    np.testing.assert_allclose(found.y, c.value.hi, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.d, c.first.hi, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.sum(x) * x, "np.sum cannot be evaluated: an activation acts on each element alone."),
        (lambda x: x - x.max(), ".max cannot be evaluated"),
        (lambda x: np.sort(x), "np.sort cannot be evaluated."),
        (lambda x: np.i0(x), "np.i0 cannot be evaluated"),
        (lambda x: scipy.special.j0(x), "np.j0 cannot be evaluated on Taylor balls"),
        (lambda x: x @ x, "np.matmul cannot be evaluated"),
        (lambda x: np.array([math.exp(v) for v in x]), "float(x) cannot be evaluated: it takes the number"),
        (lambda x: x.astype(int), ".astype(int64) cannot be evaluated: whole numbers have no derivative."),
        (lambda x: np.where(x > 0), "a function that returns tuple cannot be evaluated."),
        (lambda x: "text", "a function that returns str cannot be evaluated."),
        (lambda x: np.interp(x, [0, 1], [0, 1]), "np.interp cannot be evaluated."),
        (lambda x: x[0].item(), "cannot be evaluated"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(f: Any, message: str) -> None:
    with pytest.raises(UnsupportedError) as e:
        curve(f, X)
    assert message in str(e.value)


def test_numpy_is_itself_again_afterwards() -> None:
    before = dict(globals())
    with numpy_for(BALLS, made, np.float64):
        assert globals()["np"] is not before["np"]
        assert globals()["zeros"] is not before["zeros"]
        assert globals()["np"].tanh is np.tanh
    assert globals()["np"] is before["np"]
    assert globals()["zeros"] is before["zeros"]
    with pytest.raises(UnsupportedError):
        curve(lambda x: np.sort(x), X)
    assert globals()["np"] is before["np"]


def test_the_input_is_not_shared() -> None:
    data = np.empty(1, object)
    data[0] = variable(scalar(2.0))
    x = Lifted(BALLS, data, np.float64)
    y = x.copy()
    y += 1
    assert float(x.data[0].c0) == 2
    assert float(evaluate(lambda a: a * 3, BALLS, data, np.float64)[0].c1) == 3


def test_a_lifted_array_looks_like_an_array() -> None:
    data = np.empty((2, 3), object)
    for i in range(6):
        data.flat[i] = variable(scalar(float(i)))
    x = Lifted(BALLS, data, np.float32)
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float32)
    assert x.real is x
    assert np.iscomplexobj(x) is False
    assert [row.shape for row in x] == [(3,), (3,)]
    with pytest.raises(UnsupportedError):
        _ = x.T
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    assert bool(x[1, 2]) is True
    assert np.result_type(x, 1.0) == np.float32
