"""The primitives of the tape, each in every reading: value, reverse, carried errors, rounding."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from flint import arb

from conformance.truth.balls import working_precision
from conformance.truth.definitions import ACTIVATIONS, TERMS, Definition
from conformance.truth.errors import draws, errors
from conformance.truth.nodes import RULES, Rule, op
from conformance.truth.primitives import UNARY
from conformance.truth.readings import continued, in_balls
from conformance.truth.rounding import (
    DRAWS,
    Accuracy,
    Arithmetic,
    Model,
    alike,
    keys,
    rms,
    signed,
    signs,
)
from conformance.truth.rules import by, elementwise, exactly
from conformance.truth.tape import Tape

U = 2.0**-53
rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape)


SOME = np.array([[0.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, -1.0], [0.5, -2.0, 0.0, 1.0]])


def inside(name: str, *shape: int) -> Any:
    """Where the function is defined."""
    x = normal(*shape)
    if name in ("arcsin", "arccos", "arctanh"):
        return np.tanh(x)
    return x * x + 0.5 if name in ("log", "log1p", "sqrt", "rsqrt") else x


TANH = {"sigma": ACTIVATIONS["tanh"], "name": "tanh"}

# name: operands with two axes, and with three, and what else the rule is given
OPERANDS: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]] = {
    "add": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {}),
    "subtract": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {}),
    "multiply": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {}),
    "hadamard": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(2, 3, 4)), {}),
    "weigh": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(2, 3, 4)), {}),
    "divide": ((normal(3, 4), np.float64(7)), (normal(2, 3, 4), 2 + rng.random((2, 3, 4))), {}),
    "negative": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "exp": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "matmul": ((normal(3, 4), normal(4, 2)), (normal(2, 3, 4), normal(4, 2)), {}),
    "sum": ((normal(3, 4),), (normal(2, 3, 4),), {"axes": (-1,)}),
    "expand": ((normal(3, 4),), (normal(2, 3, 4),), TANH),
    "value": ((normal(3, 3, 4), normal(3, 4)), (normal(3, 2, 3, 4), normal(2, 3, 4)), {}),
    "slope": ((normal(3, 3, 4),), (normal(3, 2, 3, 4),), {}),
    "softmax": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "log_softmax": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "mark": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "transpose": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "with_one": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "without_last": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "broadcast": ((normal(3, 1),), (normal(3, 1),), {"shape": (2, 3, 4)}),
    "reshape": ((normal(3, 4),), (normal(2, 3, 4),), {"shape": (-1,)}),
    **{name: ((inside(name, 3, 4),), (inside(name, 2, 3, 4),), {}) for name in UNARY},
    "two_over_root_pi": ((normal(3, 4),), (normal(2, 3, 4),), {"sign": -1}),
    "quotient": (
        (normal(3, 4), 2 + normal(3, 4) ** 2),
        (normal(2, 3, 4), 2 + normal(3, 1) ** 2),
        {},
    ),
    "power": ((1 + normal(3, 4) ** 2, normal(3, 4)), (1 + normal(2, 3, 4) ** 2, normal(3, 1)), {}),
    "greater": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {}),
    "equal": ((SOME, SOME[::-1].copy()), (np.stack([SOME, -SOME]), SOME), {}),
    "side": ((SOME, SOME[::-1].copy()), (np.stack([SOME, -SOME]), SOME), {"half": 0.5}),
    "either_of": ((SOME > 0, SOME > 1), (np.stack([SOME > 0, SOME > 1]), SOME > 0), {}),
    "both_of": ((SOME > 0, SOME > 1), (np.stack([SOME > 0, SOME > 1]), SOME > 0), {}),
    "none_of": ((SOME > 0,), (np.stack([SOME > 0, SOME > 1]),), {}),
    "where": (
        (SOME > 0, normal(3, 4), normal(3, 4)),
        (np.stack([SOME > 0] * 2), normal(2, 3, 4), normal(3, 1)),
        {},
    ),
    "maximum": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {}),
    "absolute": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "sign": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "floor": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "largest": ((normal(3, 4),), (normal(2, 3, 4),), {"axes": (-1,)}),
    "share": (
        (SOME, SOME.max(-1, keepdims=True)),
        (np.stack([SOME, -SOME]), np.stack([SOME, -SOME]).max(-1, keepdims=True)),
        {"axes": (-1,), "way": "even"},
    ),
    "take": ((normal(3, 4),), (normal(2, 3, 4),), {"index": np.array([[0, 5, -1], [5, 11, 2]])}),
    "permute": ((normal(3, 4),), (normal(2, 3, 4),), {"axes": (1, 0)}),
    "join": ((normal(3, 4), normal(3, 2)), (normal(2, 3, 4), normal(2, 3, 1)), {"axis": -1}),
    "stop": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "cast": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "widen": ((normal(3, 4),), (normal(2, 3, 4),), {}),
    "onto": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(3, 1)), {"terms": 9}),
    "total": ((normal(3, 4),) * 3, (normal(2, 3, 4), normal(3, 1), normal(2, 3, 4)), {}),
    "again": ((normal(3, 4), normal(3, 4)), (normal(2, 3, 4), normal(2, 3, 4)), {}),
}


IN_MPMATH = {
    "softplus": lambda a: mp.log1p(mp.exp(a)),
    "rsqrt": lambda a: 1 / mp.sqrt(a), "reciprocal": lambda a: 1 / a, "square": lambda a: a * a,
    "sigmoid": lambda a: 1 / (1 + mp.exp(-a)), "arctan": mp.atan, "arcsin": mp.asin, "arccos": mp.acos,
    "arcsinh": mp.asinh, "arctanh": mp.atanh,
}  # fmt: skip


def in_mpmath(name: str, a: float) -> float:
    """One of UNARY, in 53 bits and more."""
    return float((IN_MPMATH.get(name) or getattr(mp, name))(mp.mpf(a)))


def params_of(name: str, x: list[Any]) -> dict[str, Any]:
    """What the rule is given besides its operands, which may depend on how many axes they have."""
    params = dict(OPERANDS[name][2])
    if name == "reshape":
        params["shape"] = (int(np.prod(np.shape(x[0]))),)
    if name == "permute" and len(x[0].shape) == 3:
        params["axes"] = (2, 0, 1)
    return params


def expected(name: str, x: list[Any]) -> Any:
    """The value in NumPy, written from what the primitive is."""
    soft = lambda a: np.exp(a) / np.exp(a).sum(-1, keepdims=True)  # noqa: E731
    formulas: dict[str, Callable[..., Any]] = {
        "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "hadamard": np.multiply,
        "onto": np.add, "total": lambda *of: sum(of),
        "weigh": np.multiply, "divide": np.divide, "negative": np.negative, "exp": np.exp,
        "matmul": np.matmul, "sum": lambda a: a.sum(-1, keepdims=True),
        "expand": lambda a: np.stack([np.tanh(a), 1 / np.cosh(a) ** 2, -2 * np.tanh(a) / np.cosh(a) ** 2]),
        "value": lambda e, a: e[0], "slope": lambda e: e[1], "softmax": soft,
        "log_softmax": lambda a: np.log(soft(a)), "again": lambda s, a: s, "mark": lambda a: a,
        "transpose": lambda a: np.swapaxes(a, -1, -2),
        "with_one": lambda a: np.concatenate([a, np.ones((*a.shape[:-1], 1))], -1),
        "without_last": lambda a: a[..., :-1], "broadcast": lambda a: np.broadcast_to(a, (2, 3, 4)),
        "reshape": lambda a: a.reshape(-1),
        **{name: np.vectorize(partial(in_mpmath, name)) for name in UNARY},
        "two_over_root_pi": lambda a: np.full((1,) * a.ndim, -2 / np.sqrt(np.pi)),
        "quotient": np.divide, "power": np.power, "greater": lambda a, b: 1.0 * (a > b),
        "equal": lambda a, b: 1.0 * (a == b), "side": lambda a, b: (1.0 + np.sign(a - b)) / 2,
        "either_of": lambda a, b: 1.0 * (a | b), "both_of": lambda a, b: 1.0 * (a & b),
        "none_of": lambda a: 1.0 * ~a,
        "where": np.where, "maximum": np.maximum, "absolute": np.abs, "sign": np.sign, "floor": np.floor,
        "largest": lambda a: a.max(-1, keepdims=True),
        "share": lambda a, y: (a == y) / (a == y).sum(-1, keepdims=True),
        "take": lambda a: np.append(a, 0.0)[OPERANDS["take"][2]["index"]],
        "permute": lambda a: np.transpose(a, params_of("permute", [a])["axes"]),
        "join": lambda a, b: np.concatenate([a, b], -1), "stop": lambda a: a, "cast": lambda a: a,
        "widen": lambda a: a,
    }  # fmt: skip
    return formulas[name](*x)


class Context:
    """What `readings` gives a rule."""

    floats, decided = None, True

    def points(self, a: Any, sigma: Any) -> list[Any]:
        return [sigma(x) for x in a.ravel().tolist()]


def ball(name: str, x: list[Any]) -> Any:
    params = params_of(name, x)
    return RULES[name].ball(Context(), *x, **params)


def floats(B: Any) -> Any:
    B = np.asarray(B, object)
    return np.array([float(b) for b in B.ravel()]).reshape(B.shape)


CASES = [(name, k) for name in OPERANDS for k in (0, 1)]


def test_every_rule_is_tested_here_and_every_row_is_whole() -> None:
    assert set(OPERANDS) == set(RULES)
    with pytest.raises(TypeError):
        Rule("half", lambda a: a, lambda _, a: a)  # type: ignore[call-arg]
    for rule in RULES.values():
        assert (rule.rounding is None) == (rule.keys is None), rule.name
        assert rule.rounding is None or not rule.moves


@pytest.mark.parametrize(("name", "k"), CASES)
def test_its_ball_holds_its_value_and_its_shape_is_said_before(name: str, k: int) -> None:
    x = list(OPERANDS[name][k])
    with working_precision(128):
        B = ball(name, [exactly(a) for a in x])
    np.testing.assert_allclose(floats(B), expected(name, x), rtol=1e-14, atol=1e-15)
    params = params_of(name, x)
    assert RULES[name].shape(*(np.shape(a) for a in x), **params) == B.shape
    assert max(float(b.rad()) for b in B.ravel()) < 1e-35


def directions(x: list[Any]) -> list[Any]:
    return [np.random.default_rng(7 + i).normal(size=np.shape(a)) for i, a in enumerate(x)]


def carried(name: str, m: Any, E: list[Any], y: Any, x: list[Any]) -> Any:
    """What one set of errors does to a value; 0 where it is a number that none changes."""
    found = RULES[name].carry(m, E, y, x, **params_of(name, x))
    return np.zeros(np.shape(y)) if isinstance(found, float) else found[0]


@pytest.mark.parametrize(
    ("name", "k"), [c for c in CASES if c[0] not in ("equal", "side", "share")]
)
def test_what_it_carries_is_what_an_error_does(name: str, k: int) -> None:
    """(f(x + hE) − f(x))/h in balls, h = 2^−60."""
    x = list(OPERANDS[name][k])
    if name == "value":  # whose operand a is there for the reverse sweep alone
        x, E = [x[0], x[1]], [directions(x)[0], np.zeros_like(x[1])]
    else:
        E = directions(x)
    if name == "where":  # whose mask has errors of 1 alone
        E[0] = np.zeros_like(E[0])
    h = 2.0**-60
    with working_precision(256):
        there = [exactly(a) + exactly(e) * arb(h) for a, e in zip(x, E, strict=True)]
        moved = ball(name, there) - ball(name, [exactly(a) for a in x])
        slope = floats(moved * arb(2.0**60))
    y = expected(name, x)
    spread = [
        e.reshape(1, *e.shape) if i or name not in ("value",) else e[None] for i, e in enumerate(E)
    ]
    spread = [np.broadcast_to(e, (1, *e.shape[1:])) * h for e in spread]
    if name in (
        "add",
        "subtract",
        "multiply",
        "quotient",
        "power",
        "where",
        "maximum",
    ):  # draws in front, then axes as the other operand has them
        n = max(e.ndim for e in spread)
        spread = [e.reshape(1, *(1,) * (n - e.ndim), *e.shape[1:]) for e in spread]
    found = carried(name, lambda v: v, spread, y, x) / h
    if name == "expand":  # of f'' nothing is asked
        found, slope = found[:2], slope[:2]
    np.testing.assert_allclose(found, slope, rtol=1e-12, atol=1e-13)
    worst = carried(name, np.abs, [np.abs(e) for e in spread], y, x) / h
    assert (worst[: len(found)] >= np.abs(found) * (1 - 1e-12)).all()


BEYOND_FIRST_ORDER = [
    *(
        ("arcsin", a, e)
        for a in (0.0, 0.3, -0.9, 1.0, -1.0)
        for e in (1e-3, -0.2, 1e-12)
        if abs(a + e) <= 1
    ),
    *(("arccos", a, e) for a in (0.3, 1 - 1e-6, -1.0) for e in (9e-7, 1e-9)),
    *(("arctanh", a, e) for a in (0.0, 0.5, -0.999999) for e in (9e-7, 0.3)),
    *(("tan", a, e) for a in (0.3, 1.5) for e in (0.05, -0.2)),
    *(("log", 1e-3, e) for e in (1e-3, -9e-4)),
]


@pytest.mark.parametrize(("name", "a", "e"), BEYOND_FIRST_ORDER)
def test_an_error_that_is_not_small_carries_what_it_carries(name: str, a: float, e: float) -> None:
    """Near ±1 the slope of arcsin is of no use: from 1 − 1e-6, an error of 9e-7 changes it threefold."""
    f = IN_MPMATH.get(name) or getattr(mp, name)
    y = np.array([in_mpmath(name, a)])
    found = carried(name, lambda v: v, [np.array([[e]])], y, [np.array([a])])
    with mp.workdps(40):
        assert found[0] == pytest.approx(float(f(mp.mpf(a) + mp.mpf(e)) - f(mp.mpf(a))), rel=4e-15)


FLAT = (
    "two_over_root_pi", "greater", "equal", "side", "either_of", "both_of", "none_of", "sign", "floor",
    "share", "stop",
)  # fmt: skip
REVERSED = [c for c in CASES if RULES[c[0]].reverse is not None and c[0] not in ("value", *FLAT)]


@pytest.mark.parametrize("name", FLAT)
def test_what_is_flat_hands_nothing_back(name: str) -> None:
    x = list(OPERANDS[name][0])
    tape = Tape()
    y = recorded(name, tape, [tape.leaf(np.asarray(a, float)) for a in x])
    assert set(RULES[name].reverse(y, y, *x, **params_of(name, x))) == {None}  # type: ignore[misc]


def recorded(name: str, tape: Tape, x: list[Any]) -> Any:
    params = params_of(name, x)
    return getattr(op, name)(*x, **params)


@pytest.mark.parametrize(("name", "k"), REVERSED)
def test_its_reverse_is_the_derivative_of_its_ball(name: str, k: int) -> None:
    """⟨G, f(x + hd) − f(x)⟩/h = ⟨∂, d⟩ in balls."""
    x = list(OPERANDS[name][k])
    tape = Tape()
    leaves = [tape.leaf(a) for a in x]
    y = recorded(name, tape, leaves)
    G = np.random.default_rng(1).normal(size=y.shape)
    among = {"weigh": [1], "divide": [0], "where": [1, 2]}.get(name, range(len(x)))
    tape.gradients([(y, tape.leaf(G))], [(leaves[i], i) for i in among])
    found = in_balls(tape).at
    d = [e if i in among else 0 * e for i, e in enumerate(directions(x))]
    with working_precision(256):
        there = [exactly(a) + exactly(e) * arb(2.0**-80) for a, e in zip(x, d, strict=True)]
        moved = ball(name, there) - ball(name, [exactly(a) for a in x])
        slope = float((moved * exactly(G)).sum() * arb(2.0**80))
    assert all(found[i].hi.shape == np.shape(x[i]) for i in among)
    inner = sum(float((found[i].hi * d[i]).sum()) for i in among)
    assert inner == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *TERMS])
def test_a_function_is_differentiated_by_its_definition(name: str) -> None:
    sigma = {**ACTIVATIONS, **TERMS}[name]
    a = np.array([[0.3, 0.7, 0.2]])
    tape = Tape()
    x = tape.leaf(a)
    y = elementwise(x, sigma, name)
    tape.gradients([(y, tape.leaf(np.array([[1.0, -2.0, 4.0]])))], [(x, "x")])
    found = in_balls(tape).at["x"].hi
    slopes = [float(sigma(arb(t)).first) for t in a.ravel()]
    np.testing.assert_allclose(found[0], np.array(slopes) * [1, -2, 4], rtol=1e-15)


def test_what_has_no_reverse_rule_is_said() -> None:
    tape = Tape()
    x = tape.leaf(np.ones((1, 2)))
    y = op.without_last(x)
    with pytest.raises(TypeError, match="without_last has no reverse rule"):
        tape.gradients([(y, tape.leaf(np.ones((1, 1))))], [(x, "x")])


@pytest.mark.parametrize("handed", [0, 2])
def test_a_rule_hands_one_cotangent_to_each_operand(handed: int) -> None:
    tape, negative = Tape(), RULES["negative"]
    x = tape.leaf(np.ones((1, 2)))
    y = tape.record(negative._replace(reverse=lambda g, y, a: (g,) * handed), x)
    with pytest.raises(ValueError, match="zip"):
        tape.gradients([(y, tape.leaf(np.ones((1, 2))))], [(x, "x")])


def test_a_value_used_twice_gathers_both_cotangents() -> None:
    tape = Tape()
    x = tape.leaf(np.array([[2.0, 3.0]]))
    y = op.add(op.multiply(x, x), x)  # 2x + 1
    tape.gradients([(y, tape.leaf(np.ones((1, 2))))], [(x, "x")])
    assert in_balls(tape).at["x"].hi.tolist() == [[5, 7]]


def test_nothing_is_weighed_by_nothing() -> None:
    with working_precision(128):
        B = RULES["weigh"].ball(None, exactly([0.0, 2.0]), np.array([arb("inf"), arb(3)], object))
    assert floats(B).tolist() == [0, 6]


STACKED = [
    n
    for n in OPERANDS
    if n
    not in (
        "sum",
        "broadcast",
        "reshape",
        "value",
        "slope",
        "expand",
        "take",
        "permute",
        "largest",
        "share",
    )
    and n != "two_over_root_pi"
]


@pytest.mark.parametrize("name", STACKED)
@pytest.mark.parametrize("worst", [False, True])
def test_axes_in_front_are_so_many_matrices(name: str, worst: bool) -> None:
    """Each matrix of a stack has the value, the errors, the rounding and the keys that it has alone."""
    rule, (two, three, params) = RULES[name], OPERANDS[name]
    x = [
        a if np.ndim(a) == 3 else np.broadcast_to(a, (2, *np.shape(b)))
        for a, b in zip(three, two, strict=True)
    ]
    sizes = [1e-3 * np.abs(e) for e in directions(x)]

    def read(x: list[Any], sizes: list[Any]) -> list[Any]:
        y, E = expected(name, x), [e[None] for e in sizes]
        m: Any = np.abs if worst else lambda v: v
        found = [y, carried(name, m, E, y, x)]
        if rule.rounding is not None and rule.keys is not None:
            of = Model(
                Arithmetic(COARSE, 1e-9, 1e-8), lambda _: Accuracy(2, 3, 5, 7, 11, 13, 17), worst
            )
            found.append(rule.rounding(of, y, x, lambda i: sizes[i], **params))
            found.append(rule.keys(5, y, x, **params))
        return found

    whole = read(x, sizes)
    for i in (0, 1):
        for stacked, alone in zip(
            whole, read([a[i] for a in x], [e[i] for e in sizes]), strict=True
        ):
            np.testing.assert_allclose(
                np.broadcast_to(stacked, (2, *alone.shape))[i], alone, rtol=1e-12
            )


# --- rounding, against those who round as badly as they may ---------------------------------------

COARSE = 2.0**-24


def model(worst: bool, u: float = COARSE) -> Model:
    return Model(Arithmetic(u, 0.0, 0.0), lambda name: Accuracy(1, 0, 1, 0, 0, 0), worst)


class Rounder:
    """Rounds every result up or down by a whole u, as it is told; counts them."""

    def __init__(self, up: Any) -> None:
        self.up, self.used = up, 0

    def __call__(self, x: Any) -> Any:
        n = np.size(x)
        s = self.up[self.used : self.used + n].reshape(np.shape(x))
        self.used += n
        return x * (1 + COARSE * s)


def add_up(r: Any, x: Any) -> Any:
    """One by one, each partial sum rounded."""
    total = x[0]
    for t in x[1:]:
        total = r(np.array(total + t))
    return total


def by_quotient(r: Any, a: Any) -> Any:
    e = r(np.exp(r(a - a.max())))
    return r(e / add_up(r, e))


def by_logarithm(r: Any, a: Any) -> Any:
    return r(np.exp(log_sum(r, a)))


def log_sum(r: Any, a: Any) -> Any:
    b = r(a - a.max())
    return r(b - r(np.log(add_up(r, r(np.exp(b))))))


def of_quotient(r: Any, a: Any) -> Any:
    return r(np.log(by_quotient(r, a)))


def adversarial(f: Callable[..., Any], a: Any, exact: Any, tries: int = 6) -> Any:
    """The largest error of each element over signs of every rounding, turned one at a time while it grows."""
    count = Rounder(np.zeros(10_000))
    f(count, a)
    draw = np.random.default_rng(3)
    most = np.zeros(a.shape)
    for j, _ in itertools.product(range(a.size), range(tries)):
        up = draw.choice([-1.0, 1.0], size=count.used)
        best = abs(f(Rounder(up), a)[j] - exact[j])
        grew = True
        while grew:
            grew = False
            for i in range(len(up)):
                up[i] = -up[i]
                now = abs(f(Rounder(up), a)[j] - exact[j])
                grew, best = (True, now) if now > best else (grew, best)
                if now < best:
                    up[i] = -up[i]
        most[j] = max(most[j], best)
    return most


def in_mp(f: Callable[[Any], Any], a: Any) -> Any:
    with mp.workdps(50):
        return np.array([float(x) for x in f([mp.mpf(float(x)) for x in a])])


def mp_softmax(a: Any) -> Any:
    total = mp.fsum(mp.exp(x) for x in a)
    return [mp.exp(x) / total for x in a]


ROWS = [
    np.array([0.0, 0.0, 0.0]), np.array([1.0, -2.0, 0.5, 3.0]), np.array([0.0, -20.0, -40.0]),
    np.array([5.0]), np.array([-60.0, 0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]),
]  # fmt: skip


@pytest.mark.parametrize("a", ROWS, ids=str)
@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("softmax", by_quotient),
        ("softmax", by_logarithm),
        ("log_softmax", log_sum),
        ("log_softmax", of_quotient),
    ],
)
def test_a_row_loses_no_more_than_its_bound_however_it_is_rounded(
    name: str, f: Any, a: Any
) -> None:
    exact = in_mp(mp_softmax, a)
    exact = exact if name == "softmax" else np.log(exact)
    allowed = RULES[name].rounding(model(True), exact[None], [a[None]], lambda k: 0.0)[0]  # type: ignore[misc]
    found = adversarial(f, a, exact)
    assert (found <= allowed * 1.0001 + 1e-15).all()
    if len(a) > 1:
        assert found.max() > 0.3 * allowed.max()  # and the bound is of that size


def softmax_gradient(factored: bool) -> Callable[..., Any]:
    def gradient(r: Any, a: Any, G: Any) -> Any:
        s = by_quotient(r, a)
        M = add_up(r, r(G * s))
        return r(s * r(G - M)) if factored else r(r(G * s) - r(s * M))

    return gradient


def log_softmax_gradient(r: Any, a: Any, G: Any) -> Any:
    return r(G - r(by_logarithm(r, a) * add_up(r, G)))


VJP = [
    ("softmax", softmax_gradient(True)), ("softmax", softmax_gradient(False)),
    ("log_softmax", log_softmax_gradient),
]  # fmt: skip


@pytest.mark.parametrize("G", [[0.0, 0, -1, 0], [1.0, -2, 3, 0.5], [1.0, 1, 1, 1]], ids=str)
@pytest.mark.parametrize("a", [[0.0, -1, -2, 1], [0.0, -30, -60, -4]], ids=str)
@pytest.mark.parametrize(("name", "f"), VJP, ids=["factored", "not factored", "log"])
def test_the_vector_jacobian_product_of_a_row_loses_no_more_than_its_bound(
    name: str, f: Any, a: list[float], G: list[float]
) -> None:
    """Where G is 0 too: the rounding of s_i stands in s_i(G_i − M) with |G_i| + |M|."""
    A, g = np.array(a), np.array(G)
    tape = Tape()
    x = tape.leaf(A[None])
    tape.gradients([(getattr(op, name)(x), tape.leaf(g[None]))], [(x, "x")])
    reading = in_balls(tape)
    allowed = errors(tape, reading, model(True))["x"][0]
    exact = reading.at["x"].hi[0]
    found = adversarial(lambda r, a: f(r, a, g), A, exact, tries=3)
    assert (found <= allowed * 1.0001 + 1e-14 * np.abs(g).max()).all()
    assert found.max() > 0.1 * allowed.max()


def test_a_product_loses_at_most_ku_in_any_order() -> None:
    """Not k·u with a probability: the plain loop over like terms comes close to it."""
    for k in (3, 300, 5000):
        a, b = np.full((1, k), np.float32(0.7)), np.full((k, 1), np.float32(1.1))
        terms = (a * b.T).astype("float32")
        got = float(np.add.accumulate(terms, axis=1, dtype="float32")[0, -1])
        exact = float(a.astype(float)[0, 0]) * float(b.astype(float)[0, 0]) * k
        P, Q = a.astype(float), b.astype(float)
        y = P @ Q
        bound = RULES["matmul"].rounding(model(True), y, [P, Q], lambda i: 0.0).item()  # type: ignore[misc]
        assert bound == pytest.approx(k * COARSE * exact)
        assert abs(got - exact) <= bound
        typical = RULES["matmul"].rounding(model(False), y, [P, Q], lambda i: 0.0).item()  # type: ignore[misc]
        assert abs(got - exact) <= 3 * typical
        assert typical < bound


# --- whose errors are alike -----------------------------------------------------------------------


def test_like_terms_are_counted_together() -> None:
    x = np.array(
        [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, 2.0], [0.0, 0.0, 5.0, 5.0]]
    )
    assert alike(x, U, -1).tolist() == [[4], [16], [6], [4]]
    assert alike(x.T, U, 0).tolist() == [[4, 16, 6, 4]]
    assert alike(np.ones((2, 1)), U, -1).tolist() == [[1], [1]]
    assert alike(np.zeros((1, 3)), U, -1).tolist() == [[0]]


def test_nearly_like_terms_are_like_and_others_are_not() -> None:
    draw = np.random.default_rng(5)
    k = 4096
    one = 1.3 * (1 + draw.uniform(-1, 1, size=(1, k)) * k * COARSE / 64)
    assert alike(one, COARSE, -1).item() > k * k / 3
    apart = draw.normal(size=(8, k))
    assert (alike(apart, U, -1) == k).all()
    assert (alike(apart, COARSE, -1) < 3 * k).all()


def test_signs_are_functions_of_the_operands() -> None:
    x = np.array([[1.0, 2.0, 1.0], [0.0, -0.0, 3.0]])
    s = signed(1.0, signs(keys(x, 4), 4))
    assert s.shape == (DRAWS, 2, 3)
    assert set(np.unique(s)) == {-1.0, 1.0}
    assert (s[:, 0, 0] == s[:, 0, 2]).all()
    assert (s[:, 1, 0] == s[:, 1, 1]).all()
    assert (s[:, 0, 0] != s[:, 0, 1]).any()
    assert (signed(1.0, signs(keys(x, 4), 4)) != signed(1.0, signs(keys(x, 5), 5))).any()


def test_signs_are_as_often_up_as_down_and_independent() -> None:
    s = signed(1.0, signs(keys(np.random.default_rng(2).normal(size=(200, 100)), 9), 9))
    assert abs(s.mean()) < 0.01
    flat = s.reshape(DRAWS, -1)
    assert np.abs(flat @ flat.T / flat.shape[1] - np.eye(DRAWS)).max() < 0.05
    neighbours = keys(1 + np.arange(20_000) * 2.0**-52, 1)
    beside = signed(1.0, signs(neighbours, 1))
    assert abs((beside[:, 1:] * beside[:, :-1]).mean()) < 0.01


def test_squares_of_small_errors_do_not_underflow() -> None:
    E = np.full((32, 2, 1), 1e-300)
    E[:, 1] = 0
    assert rms(E).tolist() == [[pytest.approx(1e-300, rel=1e-9, abs=0)], [0]]


# --- readings -------------------------------------------------------------------------------------


def chain() -> tuple[Tape, dict[str, Any]]:
    """y = (x W) ∘ (x W), with a mark at the product and at the end."""
    tape = Tape()
    x, W = tape.leaf(np.array([[1.0, 2.0]])), tape.leaf(np.array([[3.0], [0.5]]))
    a = tape.mark(op.matmul(x, W), "a")
    tape.mark(op.multiply(a, a), "y")
    return tape, {"a": np.array([[5.0]]), "y": np.array([[25.0]])}


def test_uncut_a_tape_is_the_whole_and_cut_it_is_its_pieces() -> None:
    tape, given = chain()
    whole, cut = in_balls(tape), in_balls(tape, given)
    assert (whole.at["a"].hi.item(), whole.at["y"].hi.item()) == (4, 16)
    assert (cut.at["a"].hi.item(), cut.at["y"].hi.item()) == (4, 25)  # y from the 5 that was given


def test_errors_do_not_cross_a_cut_unless_handed_on_unrounded() -> None:
    tape, given = chain()
    whole, cut = in_balls(tape), in_balls(tape, given)
    through = errors(tape, whole, model(True))
    assert through["a"].item() == pytest.approx(2 * COARSE * 4)
    assert through["y"].item() == pytest.approx(2 * 4 * 2 * COARSE * 4 + COARSE * 16, rel=1e-5)
    apart = errors(tape, cut, model(True), given)
    assert apart["a"].item() == pytest.approx(2 * COARSE * 4)
    assert apart["y"].item() == pytest.approx(COARSE * 25)
    kept = model(True)
    kept.unrounded = True
    assert errors(tape, cut, kept, given)["y"].item() == pytest.approx(3 * COARSE * 25, rel=1e-5)


def test_what_was_not_given_is_not_judged_nor_what_depends_on_it() -> None:
    tape, given = chain()
    cut = in_balls(tape, {"y": given["y"]})
    assert set(cut.at) == {"a"}
    assert "y" not in errors(tape, cut, model(True), {"y": given["y"]})


def test_errors_with_a_common_cause_cancel_in_draws_and_add_up_in_bounds() -> None:
    """x·w − x·w is 0, and so is its error."""
    tape = Tape()
    x, w = tape.leaf(np.array([[1.5]])), tape.leaf(np.array([[0.7]]))
    p = op.multiply(x, w)
    tape.mark(op.subtract(p, p), "nothing")
    reading = in_balls(tape)
    assert errors(tape, reading, model(False))["nothing"].item() == 0
    assert errors(tape, reading, model(True))["nothing"].item() == pytest.approx(2 * COARSE * 1.05)


def test_a_number_that_was_given_hands_no_error_on() -> None:
    """y = a + x∘w, cut at a: of a nothing is lost, of the product and of the sum one rounding each."""
    tape = Tape()
    a = tape.mark(tape.leaf(np.array([[3.0]])), "a")
    x, w = tape.leaf(np.array([[1.5]])), tape.leaf(np.array([[0.5]]))
    tape.mark(op.add(a, op.multiply(x, w)), "y")
    given = {"a": np.array([[5.0]]), "y": np.array([[5.75]])}
    found = errors(tape, in_balls(tape, given), model(True), given)["y"].item()
    assert found == pytest.approx(COARSE * (0.75 + 5.75), rel=1e-5)


def test_no_more_precision_is_sought_than_is_enough() -> None:
    """x − x in two ways is 0, and known to no unit in its own last place, however precisely."""
    tape = Tape()
    x = tape.leaf(np.array([[0.3]]))
    tape.mark(op.subtract(op.exp(x), op.exp(op.negative(op.negative(x)))), "nothing")
    asked: list[float] = []

    def enough(reading: Any) -> bool:
        asked.append(reading.at["nothing"].rad.item())
        return len(asked) == 2

    at = in_balls(tape, enough=enough).at["nothing"]
    assert len(asked) == 2
    assert 0 < asked[1] < 2.0**-240 < asked[0] < 2.0**-120
    assert at.rad.item() == asked[1]


def test_a_function_at_a_float_is_remembered_of_a_leaf_too() -> None:
    tape, memo = Tape(), {}  # type: ignore[var-annotated]
    tape.mark(elementwise(tape.leaf(np.array([[0.5, 0.25, 0.5]])), ACTIVATIONS["tanh"], "t"), "y")
    in_balls(tape, memo=memo)
    assert [sorted(seen) for seen in memo.values()] == [[0.25, 0.5]]


def test_draws_are_what_the_root_mean_square_is_taken_of() -> None:
    tape, _ = chain()
    tape.mark(op.negative(tape.leaf(np.ones((2, 3)))), "exact")
    reading = in_balls(tape)
    found, sizes = draws(tape, reading, model(False)), errors(tape, reading, model(False))
    assert set(found) == {"a", "y", "exact"}
    for key in ("a", "y"):
        assert found[key].shape == (DRAWS, 1, 1)
        assert len(np.unique(found[key])) > 1
        np.testing.assert_allclose(rms(found[key]), sizes[key], rtol=1e-14)
    assert found["exact"].shape == (DRAWS, 2, 3)
    assert not found["exact"].any()


def test_a_tape_is_read_on_from_where_it_was_read() -> None:
    """What is not needed is not computed, what is there is not computed again, in as many bits as asked."""
    tape = Tape()
    x, big = tape.leaf(np.array([0.3])), tape.leaf(np.array([2.0**200]))
    unused = op.exp(big)
    y = op.subtract(op.add(op.exp(x), big), big)
    for bits, right in ((400, np.exp(0.3)), (60, 0.0)):
        env: list[Any] = []
        got, same = continued(tape, env, [y.index, x.index], bits)
        assert got.tolist() == [pytest.approx(right, rel=1e-15)]
        assert same.tolist() == [0.3]
        assert env[unused.index] is None
        assert len(env) == len(tape.nodes)
    env[y.index] = np.array([arb(5)], object)
    number = op.reshape(elementwise(y, ACTIVATIONS["relu6"], "relu6"), shape=())
    assert continued(tape, env, [op.add(number, number).index])[0].tolist() == 10


# --- the reverse sweep ----------------------------------------------------------------------------


def test_a_sweep_ends_at_what_it_is_asked_for() -> None:
    """What is before it is not differentiated: the last that is recorded is the gradient's name."""
    tape = Tape()
    x = tape.leaf(np.array([[0.5]]))
    a = op.exp(x)
    found = tape.gradients([(op.multiply(a, a), tape.leaf(np.ones((1, 1))))], [(a, "a")])
    assert set(found) == {"a"}
    assert tape.nodes[-1].rule.name == "mark"
    assert in_balls(tape).at["a"].hi.item() == pytest.approx(2 * np.exp(0.5))


def test_a_sweep_tells_what_it_added_up_from_the_last_to_the_first() -> None:
    """By place and operand; of a sweep before it nothing is left."""
    tape = Tape()
    x, c = tape.leaf(np.array([[0.5]])), tape.leaf(np.array([[2.0]]))
    square, one = op.multiply(x, x), tape.leaf(np.ones((1, 1)))
    y = op.add(square, op.multiply(c, x))
    for _ in range(2):
        tape.gradients([(y, one)], [(x, "x")])
        product = y.index - 1
        assert tape.contributions == [
            (y.index, 0), (y.index, 1), (product, 1), (square.index, 0), (square.index, 1),
        ]  # fmt: skip


# --- at the edges ---------------------------------------------------------------------------------


def test_nothing_times_what_has_no_bound_is_nothing_and_once_that_is_it() -> None:
    e, c = np.array([np.inf, 0.0, np.inf, 3.0]), np.array([0.0, np.inf, 1.0, 1.0])
    with np.errstate(invalid="ignore"):
        assert by(e, c).tolist() == [0, 0, np.inf, 3]


def test_a_small_row_is_not_lost_beside_a_large_one() -> None:
    """1e-200·(1 − 1), off by u√(2/2)·√2·1e-200, whose square is 0; and so for a column, and for a sum."""
    large, small = np.array([[1.0, 1.0]]), np.array([[1e-200, 1e-200]])
    a, b = np.concatenate([large, small]), np.array([[1.0], [-1.0]])
    of, u = model(False), COARSE * np.sqrt(2)
    rounding: Any = RULES["matmul"].rounding
    np.testing.assert_allclose(rounding(of, a @ b, [a, b], None), [[u], [u * 1e-200]])
    np.testing.assert_allclose(rounding(of, (a @ b).T, [b.T, a.T], None), [[u, u * 1e-200]])
    total: Any = RULES["sum"].rounding
    terms = a * b.T
    lost = total(of, terms.sum(-1, keepdims=True), [terms], None, axes=(-1,))
    np.testing.assert_allclose(lost, [[u / np.sqrt(2)], [u * 1e-200 / np.sqrt(2)]])


@pytest.mark.parametrize("worst", [False, True])
def test_a_sum_of_no_terms_loses_nothing(worst: bool) -> None:
    total: Any = RULES["sum"].rounding
    a = np.zeros((3, 0))
    assert (
        total(model(worst), np.zeros((3, 1)), [a], lambda k: 0.0, axes=(-1,)).tolist() == [[0]] * 3
    )


def test_a_function_that_is_steeper_than_its_derivative_says_may_lose_more() -> None:
    """Twice the operand's error where it is steeper by 2, beside half the curvature's."""
    straight = Definition((lambda x: 3 * x,), steeper=lambda a: np.where(a > 1, 2.0, 0.0))
    a = np.array([[0.5, 1.5]])
    y = np.stack([3 * a, np.full_like(a, 3.0), np.zeros_like(a)])
    exact = Model(Arithmetic(COARSE, 0.0, 0.0), lambda _: Accuracy(0, 0, 0, 0, 0, 0), True)
    size = np.full(a.shape, 1e-3)
    rounding: Any = RULES["expand"].rounding
    for curved, second in ((0.0, 0.0), (4.0, 4e-6)):
        y[2] = curved
        value, _ = rounding(exact, y, [a], lambda k: size, sigma=straight, name="straight")
        assert value[0].tolist() == pytest.approx([second, second + 2e-3], rel=1e-12)


def test_what_may_lose_all_of_itself_has_no_bound() -> None:
    """e^0/e^0 by c = ½ and u = ½: u(2c + 1) is 1, and 1/(1 − 1) is not a number's."""
    of = Model(Arithmetic(0.5, 0.0, 0.0), lambda _: Accuracy(0.5, 0, 0, 0, 0, 0), True)
    one = np.ones((1, 1))
    lost: Any = RULES["softmax"].rounding(of, one, [0 * one], lambda k: 0.0)  # type: ignore[misc]
    assert lost.tolist() == [[np.inf]]


def test_where_no_error_comes_in_none_goes_out() -> None:
    """log a and a^−½ at 0, where e/a is no number."""
    a, e = np.array([[0.0, 2.0]]), np.array([[[0.0, 0.5]]])
    with np.errstate(all="ignore"):
        for name, y in (("log", np.log(a)), ("rsqrt", a**-0.5)):
            found = carried(name, lambda v: v, [e], y, [a])
            exact = expected(name, [a[:, 1:] + 0.5]) - expected(name, [a[:, 1:]])
            assert found.dtype == np.float64
            assert found[0].tolist() == [0, pytest.approx(exact.item(), rel=1e-12)]


def test_a_power_of_0() -> None:
    """0^b is 0 for every b above 0, and nothing known where b may be 0, for 0^0 is 1."""
    zero = exactly([0.0, 0.0, 0.0])
    b = np.array([arb(2), arb(0.5), arb(0)], object)
    assert floats(RULES["power"].ball(None, zero, b)).tolist() == [0, 0, 1]
    low = arb(1, 1).nonnegative_part()  # it ends at 0
    assert low >= 0
    assert not low > 0
    (unknown,) = RULES["power"].ball(None, exactly([0.0]), np.array([low], object))
    assert not unknown.is_exact() or unknown.is_nan()


def test_an_error_of_0_to_a_power_is_its_own_where_the_power_is_1() -> None:
    a, b = np.zeros((1, 3)), np.array([[1.0, 2.0, 3.0]])
    e = np.full((1, 1, 3), 0.25)
    found = RULES["power"].carry(lambda v: v, [e, 0.0], np.zeros((1, 3)), [a, b])
    assert found[0].tolist() == [[0.25, 0, 0]]


def test_a_side_that_is_shared_is_free_where_a_tie_is() -> None:
    """Of two equal numbers, and of two that are far from each other."""
    a, b, y = np.array([[1.0, 5.0]]), np.array([[1.0, 2.0]]), np.array([[0.5, 1.0]])
    rounding: Any = RULES["side"].rounding
    for free, lost in ((True, 1 + 16 * COARSE), (False, 0.0)):
        of = model(False)
        of.free = free
        found = rounding(of, y, [a, b], lambda k: 0.0, half=0.5)
        assert found.tolist() == [[lost, 0]]
        assert of.straddling == 1


def test_the_greater_of_two_that_overlap_holds_both() -> None:
    a, b = arb(1, 0.5), arb(1.25, 0.5)
    for x, y in ((a, b), (b, a)):
        (top,) = RULES["maximum"].ball(None, np.array([x], object), np.array([y], object))
        assert all(top.contains(arb(v)) for v in (0.75, 1.5, 1.75))
    high = arb(3, 0.5)
    for x, y in ((a, high), (high, a)):
        (top,) = RULES["maximum"].ball(None, np.array([x], object), np.array([y], object))
        assert top is high


@pytest.mark.parametrize(
    ("way", "parts"),
    [
        ("even", [[0, 0, 0.5, 0.5], [0, 1, 0, 0], [0.25] * 4]),
        ("uneven", [[0, 0, 3 / 7, 4 / 7], [0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]]),
        ("first", [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]),
        ("last", [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1]]),
    ],
)
def test_how_the_largest_share(way: str, parts: Any) -> None:
    a = np.array([[0.0, 1.0, 2.0, 2.0], [0.0, 3.0, -1.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    top = a.max(-1, keepdims=True)
    share = RULES["share"].ball
    found = share(Context(), exactly(a), exactly(top), axes=(-1,), way=way)
    np.testing.assert_allclose(floats(found), parts, rtol=1e-15)
    down = share(Context(), exactly(a.T), exactly(top.T), axes=(-2,), way=way)
    np.testing.assert_allclose(floats(down), np.transpose(parts), rtol=1e-15)


def test_of_largest_that_are_not_told_apart_each_may_have_all_and_the_others_nothing() -> None:
    near = np.array([[arb(1), arb(2, 0.25), arb(2)]], object)
    for way in ("even", "uneven", "first", "last"):
        context = Context()
        share = RULES["share"].ball(context, near, near[:, 1:2], axes=(-1,), way=way)[0]
        assert share[0] == 0
        assert share[1].contains(arb(1))
        assert share[2].contains(arb(0))
        assert share[2].contains(arb(1))
        assert not context.decided


def test_a_share_that_rounding_may_move_is_one_of_two_that_are_within_reach() -> None:
    """3 and 5, known to 1 each, at a reach of √2: their distance is reach·√(1² + 1²), and no more."""
    a = np.array([[3.0, 5.0, 0.0], [2.5, 5.0, 0.0], [5.0, 5.0, 0.0]])
    y = np.array([[0.0, 1, 0], [0, 1, 0], [0.5, 0.5, 0]])
    rounding: Any = RULES["share"].rounding
    of = Model(Arithmetic(COARSE, 0.0, 0.0), lambda _: Accuracy(0, 0, 0, 0, 0, 0), reach=2.0)
    lost = (1 + 16 * COARSE) / 2
    found = rounding(
        of, y, [a, np.full((3, 1), 5.0)], lambda k: [1.0, 0.0][k], axes=(-1,), way="even"
    )
    assert found.tolist() == [[lost, lost, 0], [0, 0, 0], [lost, lost, 0]]
    assert of.straddling == 4


def test_what_is_exact_is_joined_to_what_is_not() -> None:
    a, b, c = np.ones((2, 1)), np.ones((2, 2)), np.ones((2, 1))
    e = np.full((3, 2, 2), 0.25)
    found = RULES["join"].carry(lambda v: v, [0.0, e, 0.0], None, [a, b, c], axis=-1)
    assert found.tolist() == [[[0, 0.25, 0.25, 0]] * 2] * 3


def test_what_is_infinite_is_like_nothing_else() -> None:
    assert alike(np.array([[np.inf, 1.0, 1.0, 1.0]]), U, -1).tolist() == [[9]]


def test_a_key_is_of_the_number_and_not_of_its_dtype() -> None:
    x = np.array([[1.0, 2.5, 1.0]])
    assert (keys(x.astype(np.float32), 4) == keys(x, 4)).all()
    assert (signed(1.0, signs(keys(x, 4), 4)) == signed(1.0, signs(keys(x, 4), 4))).all()
