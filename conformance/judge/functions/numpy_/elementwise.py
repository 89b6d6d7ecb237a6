"""NumPy's ufuncs on values of a tape, and scipy.special's by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conformance.truth import arrays as at
from conformance.truth.nodes import Value

__all__ = ["MASKS", "NAMED", "UFUNCS", "negative"]


def _named(name: str) -> Callable[..., Value]:
    return lambda *of: at.apply(name, *of)


def _not(m: Value) -> Value:
    return at.apply("none_of", m)


def _minimum(a: Any, b: Any) -> Value:
    return at.apply("negative", at.apply("maximum", negative(a), negative(b)))


def negative(a: Any) -> Any:
    return at.apply("negative", a) if isinstance(a, Value) else np.negative(a)


def _all_on_tape(of: Sequence[Any]) -> list[Value]:
    tape = at.tape_of(*of)
    return [x if isinstance(x, Value) else at.constant(tape, x) for x in of]


def _hypot(*of: Any) -> Value:
    a, b = (at.apply("square", x) for x in _all_on_tape(of))
    return at.apply("sqrt", at.apply("add", a, b))


def _xlogy(*of: Any) -> Value:
    a, b = _all_on_tape(of)
    return at.apply("multiply", a, at.apply("log", b))


def _rint(a: Value) -> Value:
    """To the nearest whole number; ½ goes to the even one."""
    below = at.apply("floor", a)
    rest = at.apply("subtract", a, below)
    half = at.apply("multiply", at.apply("floor", at.apply("multiply", below, 0.5)), 2.0)
    odd = at.apply("subtract", below, half)
    tied = at.apply("both_of", at.apply("equal", rest, 0.5), odd)
    return at.apply("add", below, at.apply("either_of", at.apply("greater", rest, 0.5), tied))


def _truncated(a: Value) -> Value:
    return at.apply("multiply", at.apply("sign", a), at.apply("floor", at.apply("absolute", a)))


def _scaled(name: str, by: float) -> Callable[[Any], Value]:
    """log2, log10, …: a function divided by a constant."""
    return lambda a: at.apply("quotient", at.apply(name, a), by)


def _logaddexp(a: Any, b: Any) -> Value:
    top = at.apply("maximum", a, b)
    apart = at.apply("negative", at.apply("absolute", at.apply("subtract", a, b)))
    return at.apply("add", top, at.apply("log1p", at.apply("exp", apart)))


UFUNCS: dict[Any, Callable[..., Value]] = {
    np.add: _named("add"),
    np.subtract: _named("subtract"),
    np.multiply: _named("multiply"),
    np.true_divide: _named("quotient"),
    np.power: at.power,
    np.float_power: at.power,
    np.matmul: at.matmul,
    np.negative: _named("negative"),
    np.positive: lambda a: a,
    np.conjugate: lambda a: a,
    np.absolute: _named("absolute"),
    np.fabs: _named("absolute"),
    np.sign: _named("sign"),
    np.floor: _named("floor"),
    np.ceil: lambda a: negative(at.apply("floor", negative(a))),
    np.rint: _rint,
    np.trunc: _truncated,
    np.exp2: lambda a: at.apply("exp", at.apply("multiply", a, float(np.log(2)))),
    np.log2: _scaled("log", float(np.log(2))),
    np.log10: _scaled("log", float(np.log(10))),
    np.maximum: _named("maximum"),
    np.fmax: _named("maximum"),
    np.minimum: _minimum,
    np.fmin: _minimum,
    np.hypot: _hypot,
    np.logaddexp: _logaddexp,
    np.greater: _named("greater"),
    np.less: lambda a, b: at.apply("greater", b, a),
    np.greater_equal: lambda a, b: _not(at.apply("greater", b, a)),
    np.less_equal: lambda a, b: _not(at.apply("greater", a, b)),
    np.equal: _named("equal"),
    np.not_equal: lambda a, b: _not(at.apply("equal", a, b)),
    np.logical_not: _not,
    np.invert: _not,
    np.logical_and: _named("both_of"),
    np.bitwise_and: _named("both_of"),
    np.logical_or: _named("either_of"),
    np.bitwise_or: _named("either_of"),
    np.heaviside: lambda a, h: at.where(at.apply("equal", a, 0.0), h, at.apply("greater", a, 0.0)),
    **{
        getattr(np, name): _named(name)
        for name in (
            "exp", "expm1", "log", "log1p", "sqrt", "reciprocal", "square", "sin", "cos", "tan", "arctan",
            "arcsin", "arccos", "sinh", "cosh", "tanh", "arcsinh", "arctanh",
        )
    },
}  # fmt: skip
NAMED: dict[str, Callable[..., Value]] = {
    "erf": _named("erf"),
    "erfc": _named("erfc"),
    "expit": _named("sigmoid"),
    "log_expit": lambda a: negative(_logaddexp(0.0, negative(a))),
    "ndtr": lambda a: at.apply(
        "multiply", at.apply("erfc", at.apply("multiply", a, -np.sqrt(0.5))), 0.5
    ),
    "xlogy": _xlogy,
}
"""scipy.special's ufuncs, by name."""
MASKS = {
    np.greater, np.less, np.greater_equal, np.less_equal, np.equal, np.not_equal, np.logical_not, np.invert,
    np.logical_and, np.bitwise_and, np.logical_or, np.bitwise_or,
}  # fmt: skip
