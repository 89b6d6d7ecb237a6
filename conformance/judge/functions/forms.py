"""Activations that are mistaken for one another: the function has one form, the derivative is that of
another."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt
from typing import NamedTuple

import numpy as np

from conformance.judge.functions.candidate import Ran, Request
from conformance.judge.functions.certificate import Certificate, Quantity
from conformance.truth.rounding import Reals

__all__ = ["FORMS", "another_form"]

Plain = Callable[[Reals], Reals]


class Form(NamedTuple):
    """σ and σ' as people write them, in float64."""

    name: str
    f: Plain
    derivative: Plain


def _phi(x: Reals) -> Reals:
    return np.asarray(0.5 * (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2))))


def _sigmoid(x: Reals) -> Reals:
    return 0.5 * (1 + np.tanh(x / 2))


def _inner(x: Reals) -> Reals:
    return np.asarray(np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


def _by_tanh(x: Reals) -> Reals:
    t = _inner(x)
    slope = sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)
    return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * slope)


def _swish(b: float) -> Form:
    name = "SiLU, x·σ(x)" if b == 1 else f"GELU by x·σ({b} x)"

    def derivative(x: Reals) -> Reals:
        s = _sigmoid(b * x)
        return s + b * x * s * (1 - s)

    return Form(name, lambda x: x * _sigmoid(b * x), derivative)


FORMS = (
    Form(
        "GELU by the normal distribution, x·Φ(x)",
        lambda x: x * _phi(x),
        lambda x: _phi(x) + x * np.exp(-x * x / 2) / sqrt(2 * pi),
    ),
    Form("GELU by tanh", lambda x: 0.5 * x * (1 + _inner(x)), _by_tanh),
    _swish(1.702),
    _swish(1),
)
"""Forms of one activation, each with its derivative."""

OF_OUTPUT: dict[str, tuple[Plain, str, Plain]] = {
    "sigmoid": (_sigmoid, "x(1 − x)", lambda x: x * (1 - x)),
    "tanh": (lambda x: np.asarray(np.tanh(x)), "1 − x²", lambda x: 1 - x * x),
}
"""Derivatives in terms of the output, to which code may pass the input by mistake."""


def another_form(
    certificate: Certificate, request: Request, ran: Ran, wrong: list[Quantity]
) -> str:
    """The form whose derivative was returned, in a clause; "" if it is not a known one."""
    if len(wrong) != 1 or wrong[0][0] != "d" or wrong[0][1] not in request.inputs:
        return ""
    x, g = np.asarray(request.inputs[wrong[0][1]], float), ran.gradients[wrong[0][1]]
    y = next(iter(ran.outputs.values()), None)
    c = next(iter(request.cotangents.values()), None)
    if (
        g is None
        or y is None
        or c is None
        or not x.shape == y.numbers.shape == c.shape
        or not x.size
    ):
        return ""
    room = 1e3 * certificate.precision.u

    def alike(a: Reals, b: Reals, size: Reals | float) -> bool:
        return bool((np.abs(a - b) <= room * (np.abs(b) + size)).all())

    own = next((form for form in FORMS if alike(y.numbers, form.f(x), 1.0)), None)
    for form in FORMS if own is not None else ():
        if (
            own is not None
            and form is not own
            and alike(g.numbers, c * form.derivative(x), np.abs(c))
        ):
            return f"the function is {own.name}, and the derivative that of {form.name}"
    for name, (f, text, derivative) in OF_OUTPUT.items():
        if alike(y.numbers, f(x), 1.0) and alike(g.numbers, c * derivative(x), np.abs(c)):
            return f"the derivative of {name} in terms of its output, {text}, is taken of its input"
    return ""
