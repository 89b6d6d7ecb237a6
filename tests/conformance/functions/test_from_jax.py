"""JAX's front end: every primitive of its table, layers end to end, and JAX code as a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax")

# ruff: noqa: E402   not without JAX
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from conformance.judge.functions.candidate import Request
from conformance.judge.functions.jax_.candidate import candidate, jitted, vjp
from conformance.judge.functions.jax_.record import INLINED, RULES, record
from conformance.judge.functions.recording import DTYPES, Recording, RecordingError, is_float
from conformance.tools.trouble import RefusedError
from conformance.truth import arrays as at
from conformance.truth.arrays import UndecidedBranchError
from conformance.truth.errors import errors
from conformance.truth.nodes import op
from conformance.truth.reading import Reading
from conformance.truth.readings import in_balls
from conformance.truth.rounding import ROUNDED, Accuracy, Arithmetic, Model

RNG = np.random.default_rng(7)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def within(low: float, high: float, *shape: int) -> Any:
    return RNG.uniform(low, high, shape)


class Differentiated(NamedTuple):
    """A function on a tape, with its gradients at some cotangents."""

    recording: Recording
    request: Request

    def reading(self) -> Reading:
        return in_balls(self.recording.tape)


def differentiated(f: Any, *inputs: Any, dtype: str = "float64", **params: Any) -> Differentiated:
    """Marks are the outputs' names, and the inputs' for gradients: of all outputs, each with a cotangent."""
    named = {
        f"x{i}": ROUNDED[dtype](M) if is_float(np.asarray(M)) else np.asarray(M)
        for i, M in enumerate(inputs)
    }
    recording = record(f, named, dtype, params)
    tape, outputs = recording.tape, recording.outputs
    draw = np.random.default_rng(3).normal
    cotangents = {name: ROUNDED[dtype](draw(size=y.shape)) for name, y in outputs.items()}
    seeds = {name: tape.leaf(c) for name, c in cotangents.items()}
    marked = [(tape.mark(y, name), seeds[name]) for name, y in outputs.items()]
    y, seed = marked[0]
    if len(marked) > 1:
        y, seed = reduce(op.add, (at.sum(op.multiply(y, c)) for y, c in marked)), tape.leaf(1.0)
    tape.gradients([(y, seed)], [(v, n) for n, v in recording.inputs.items()])
    return Differentiated(recording, Request(named, dtype, cotangents, tuple(recording.inputs)))


def ran(of: Differentiated, f: Any, make: Any = jitted) -> dict[Any, Any]:
    """What a candidate makes of it, by the marks of the tape."""
    found = make(f)(of.request)
    return {n: found.outputs[n] for n in of.recording.outputs} | dict(found.gradients)


def over_s(of: Differentiated, f: Any, make: Any = jitted) -> float:
    """The largest error over s."""
    reading = of.reading()
    dtype = of.request.dtype
    others = {d: Arithmetic.named(d) for d in DTYPES}
    model = Model(Arithmetic.named(dtype), accuracy, reach=5.0, dtypes=others)
    s = errors(of.recording.tape, reading, model)
    worst = 0.0
    for key, array in ran(of, f, make).items():
        if key not in reading.at:
            assert not array.numbers.any()  # a gradient that is 0 everywhere
            continue
        assert array.dtype == dtype
        off = reading.at[key].distance(array.numbers)
        ratio = np.divide(off, s[key], where=off > 0, out=np.zeros(off.shape))
        assert np.isfinite(s[key]).all()
        worst = max(worst, float(ratio.max()))
    return worst


def accuracy(name: str) -> Accuracy:
    """JAX's own log1p loses up to 239 u, and its tanh 6.4 ulp, in float64."""
    return Accuracy({"log1p": 60, "tanh": 8}.get(name, 4), 0, 4, 0, 0, 0)


def primitives(jaxpr: Any) -> Iterator[str]:
    """The names of all there are in it."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for e in jaxpr.eqns:
        yield e.primitive.name
        for p in e.params.values():
            for inner in p if isinstance(p, tuple | list) else [p]:
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    yield from primitives(inner)


# --- every primitive ------------------------------------------------------------------------------


class Case(NamedTuple):
    """A function that has the primitive, its inputs, and the same where JAX has no gradient of it."""

    f: Callable[..., Any]
    inputs: tuple[Any, ...]
    alike: Callable[..., Any]


def case(f: Any, *inputs: Any, alike: Any = None) -> Case:
    return Case(f, inputs, alike or f)


X, POSITIVE, UNIT, ROWS = (
    normal(3, 4),
    within(0.2, 3, 3, 4),
    within(-0.9, 0.9, 3, 4),
    normal(2, 3, 4),
)
PEAKS = RNG.permutation(24).reshape(2, 3, 4) / 7.0  # no two alike
MASK = RNG.uniform(size=(3, 4)) > 0.5
IMAGE, KERNEL = normal(2, 4, 6, 5), normal(6, 2, 3, 2)


def twice(x: Any) -> Any:
    return x * jnp.sin(x)


@jax.custom_jvp
def with_jvp(x: Any) -> Any:
    return jnp.sin(x)


with_jvp.defjvp(lambda p, t: (with_jvp(*p), t[0] * jnp.cos(p[0])))


@jax.custom_vjp
def with_vjp(x: Any) -> Any:
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


@jax.custom_batching.custom_vmap
def with_vmap(x: Any) -> Any:
    return jnp.sin(x)


@with_vmap.def_vmap
def _(size: Any, batched: Any, x: Any) -> Any:
    return jnp.sin(x), batched[0]


def reduced_window(a: Any, f: Any, start: Any) -> Any:
    return lax.reduce_window(a, start, f, (1, 2, 3), (1, 2, 1), ((0, 0), (1, 0), (0, 1)))


def multiplied_window(a: Any) -> Any:
    padded = jnp.pad(a, ((0, 0), (1, 0), (0, 1)), constant_values=1.0)
    parts = [padded[:, i : i + 3 : 2, j : j + 3] for i in range(2) for j in range(3)]
    return jnp.prod(jnp.stack(parts), 0)


def scattered(name: str) -> Case:
    index = np.array([[0], [2], [0], [9]])
    numbers = lax.ScatterDimensionNumbers((1,), (0,), (0,))

    def f(a: Any, u: Any) -> Any:
        return getattr(lax, name)(a, jnp.asarray(index), u, numbers, mode="drop")

    return case(f, X, within(0.5, 2, 4, 4))


def convolved(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(
        x, w, (2, 1), ((1, 2), (0, 1)), (1, 2), (2, 1), ("NCHW", "OIHW", "NHWC"), 2
    )


def masks(a: Any, b: Any) -> tuple[Any, Any]:
    return a > 0, b > a


def compared(f: Any, a: Any, b: Any) -> Any:
    return jnp.where(f(a, b), a, b), jnp.where(f(*masks(a, b)), a, b), jnp.where(f(a, a), a, b)


def found(method: str, x: Any, y: Any) -> Any:
    at = jnp.searchsorted(np.linspace(-1, 1, 5), x, method=method)
    return y * at


def running(f: Any, x: Any) -> Any:
    return f(x, 1), f(x, 0, reverse=True)


# fmt: off
CASES: dict[str, Case] = {
    **{name: case(getattr(lax, name), X) for name in (
        "neg", "abs", "sign", "floor", "ceil", "square", "exp", "exp2", "expm1", "sin", "cos", "tan", "atan",
        "sinh", "cosh", "tanh", "asinh", "logistic", "erf", "erfc", "cbrt")},
    **{name: case(getattr(lax, name), POSITIVE) for name in ("log", "log1p", "sqrt", "rsqrt")},
    **{name: case(getattr(lax, name), UNIT) for name in ("asin", "acos", "atanh")},
    "acosh": case(lax.acosh, POSITIVE + 1),
    "round": case(lambda x: (lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)),
                  np.array([-2.5, -1.5, -0.6, -0.5, 0.5, 0.6, 1.5, 2.5, 3.5])),
    "integer_pow": case(lambda x: (x**3, x**7, lax.integer_pow(x, -5)), X),
    "is_finite": case(lambda x: jnp.where(jnp.isfinite(x), x, 0.0), X),
    "convert_element_type": case(lambda x: x * (x > 0) + (x.astype(bool) | (x > 0)) + x * (3 * x).astype(int), X),
    "reduce_precision": case(lambda x: lax.reduce_precision(x * 3, 11, 52), X),
    "not": case(lambda x: jnp.where(~(x > 0), x, 2 * x), X),
    "stop_gradient": case(lambda x: x * lax.stop_gradient(x), X),
    "add": case(lax.add, X, POSITIVE),
    "add_any": case(lambda x: jax.grad(lambda z: jnp.sum(z * jnp.sin(z)))(x), X),
    "sub": case(lax.sub, X, POSITIVE),
    "mul": case(lax.mul, X, POSITIVE),
    "div": case(lax.div, X, POSITIVE),
    "rem": case(lax.rem, 3 * X, POSITIVE),
    "max": case(lax.max, X, UNIT),
    "min": case(lax.min, X, UNIT),
    "pow": case(lambda a, b: (lax.pow(a, b), lax.pow(a, 2.5), lax.pow(1.5, b)), POSITIVE, X),
    "atan2": case(lax.atan2, np.array([1.0, 2, -1, -2, 0.1, -0.1, 3]), np.array([2.0, -1, 2, -1, -3, -3, 0])),
    "clamp": case(lambda a, x, b: lax.clamp(a, x, b), X - 0.5, 2 * UNIT, X + 0.5),
    "select_n": case(lambda m, i, a, b: (jnp.where(m, a, b), jnp.where(a > b, a, b), lax.select_n(i, a, b, a * b)),
                     MASK, RNG.integers(0, 3, (3, 4)).astype(np.int32), X, POSITIVE),
    "and": case(lambda a, b: jnp.where(jnp.logical_and(*masks(a, b)), a, b), X, UNIT),
    "or": case(lambda a, b: jnp.where(jnp.logical_or(*masks(a, b)), a, b), X, UNIT),
    "xor": case(lambda a, b: jnp.where(jnp.logical_xor(*masks(a, b)), a, b), X, UNIT),
    **{f.__name__: case(partial(compared, f), X, UNIT) for f in (lax.gt, lax.lt, lax.ge, lax.le, lax.eq, lax.ne)},
    **{f"{name}_to": case(partial(found, method), X, UNIT) for name, method in (("le", "scan"), ("lt", "compare_all"))},
    "reduce_sum": case(lambda x: (jnp.sum(x, (0, 2)), jnp.sum(x)), ROWS),
    "reduce_prod": case(lambda x: (jnp.prod(x, (0, 2)), jnp.prod(x, 1), jnp.prod(x)), ROWS),
    "reduce_max": case(lambda x: (jnp.max(x, (0, 2)), jnp.max(x)), PEAKS),
    "reduce_min": case(lambda x: (jnp.min(x, (0, 2)), jnp.min(x)), PEAKS),
    "reduce_or": case(lambda x: x[0] * jnp.any(x > 0, 0), ROWS),
    "reduce_and": case(lambda x: x[0] * jnp.all(x > -1, 0), ROWS),
    "reduce": case(lambda x: lax.reduce(x, 2.0, lambda a, b: lax.mul(b, a), (1,)), ROWS),
    "argmax": case(lambda x: x[0] * jnp.argmax(x, 0), PEAKS),
    "argmin": case(lambda x: x[0] * jnp.argmin(x, 0), PEAKS),
    **{f.__name__: case(partial(running, f), PEAKS + 0.1)
       for f in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp)},
    "sort": case(lambda x, y, i: (jnp.sort(x, 1), lax.sort((i, x, y), 0, num_keys=2)[1:], x * jnp.argsort(x)),
                 PEAKS, ROWS, RNG.integers(0, 2, (2, 3, 4))),
    "top_k": case(lambda x: lax.top_k(x, 3), PEAKS),
    "reshape": case(lambda x: (x.reshape(6, 4), lax.reshape(x, (4, 6), (2, 0, 1))), ROWS),
    "squeeze": case(lambda x: lax.squeeze(x, (0,)), normal(1, 3, 4)),
    "transpose": case(lambda x: jnp.transpose(x, (1, 2, 0)), ROWS),
    "broadcast_in_dim": case(lambda x: lax.broadcast_in_dim(x, (2, 3, 5, 4), (1, 3)), X),
    "concatenate": case(lambda a, b: jnp.concatenate([a, b, np.ones((3, 2))], 1), X, UNIT),
    "stack": case(lambda a, b: jnp.stack([a, b, np.ones((3, 4))], 1), X, UNIT),
    "unstack": case(lambda x: jnp.unstack(x, axis=1), ROWS),
    "split": case(lambda x: jnp.split(x, (1, 3), 2), ROWS),
    "tile": case(lambda x: jnp.tile(x, (2, 1, 3)), ROWS),
    "rev": case(lambda x: x[:, ::-1, ::-1], ROWS),
    "slice": case(lambda x: (lax.slice(x, (0, 1, 0), (2, 3, 4), (1, 1, 2)), x[:, 1:, 2]), ROWS),
    "pad": case(lambda x, p: (lax.pad(x, p, ((1, 2, 1), (-1, 1, 0))), jnp.pad(x, 1)), X, np.array(0.3)),
    "dynamic_slice": case(lambda x, i: lax.dynamic_slice(x, (i, 1), (2, 2)), X, np.array(2)),
    "dynamic_update_slice": case(lambda x, u, i: lax.dynamic_update_slice(x, u, (i, 1)), X, normal(2, 2), np.array(1)),
    "gather": case(lambda x, i: (x[i], x[:, i], jnp.take(x, i, 1), x.at[i + 2].get(mode="fill", fill_value=1.0),
                                 x.at[i + 2].get(mode="clip"), jnp.take_along_axis(x, i[:, None], 1)), X, np.array([2, 0, 2])),
    "scatter": scattered("scatter"),
    "scatter-add": scattered("scatter_add"),
    "scatter-sub": scattered("scatter_sub"),
    "scatter-mul": case(lambda a, u: a.at[np.array([0, 2])].mul(u, unique_indices=True), X, normal(2, 4)),
    "scatter-max": scattered("scatter_max"),
    "scatter-min": scattered("scatter_min"),
    "copy": case(lambda x: jnp.array(x, copy=True) * 2, X),
    "name": case(lambda x: checkpoint_name(x, "x") * 2, X),
    "device_put": case(lambda x: jax.device_put(x) * 2, X),
    "optimization_barrier": case(lambda x: lax.optimization_barrier((x, x * 2)), X),
    "dot_general": case(lambda a, b: (a @ b, jnp.einsum("bij,bkj->bik", b[None] * 2, b[None]),
                                      lax.dot_general(a, b, (((0, 1), (1, 0)), ((), ())))), X, normal(4, 3)),
    "conv_general_dilated": case(lambda x, w: (convolved(x, w), jax.grad(lambda w: jnp.sum(convolved(x, w) ** 2))(w)), IMAGE, KERNEL),
    "reduce_window_sum": case(lambda x: reduced_window(x, lax.add, 0.0), ROWS),
    "reduce_window_max": case(lambda x: reduced_window(x, lax.max, -jnp.inf), PEAKS),
    "reduce_window_min": case(lambda x: reduced_window(x, lax.min, jnp.inf), PEAKS),
    "reduce_window": case(lambda x: reduced_window(x, lambda a, b: lax.mul(b, a), 1.0), ROWS, alike=multiplied_window),
    "scan": case(lambda x, c: lax.scan(lambda h, a: (jnp.tanh(h * a + c), (h * a, 1.0)), x[0], x, reverse=True), ROWS, X),
    "while": case(lambda x: lax.while_loop(lambda c: jnp.sum(c[0]) < 30, lambda c: (c[0] * 1.5, c[1] + 1), (x, 0))[0], POSITIVE,
                  alike=lambda x: x * 1.5 ** np.ceil(np.log(30 / np.sum(POSITIVE)) / np.log(1.5))),
    "cond": case(lambda x, i: (lax.cond(jnp.sum(x) > 0, jnp.sin, jnp.cos, x), lax.switch(i, (jnp.sin, jnp.cos, jnp.tan), x)),
                 X, np.array(2)),
    # calls
    "jit": case(jax.jit(twice), X),
    "remat2": case(jax.checkpoint(twice), X),
    "custom_jvp_call": case(with_jvp, X),
    "custom_vjp_call": case(with_vjp, X),
    "custom_vmap_call": case(with_vmap, X, alike=jnp.sin),
    "composite": case(lax.composite(twice, "test.twice"), X, alike=twice),
}
# fmt: on


@pytest.mark.parametrize("name", CASES)
def test_a_primitive_is_what_jax_makes_of_it(name: str) -> None:
    f, inputs, alike = CASES[name]
    of = differentiated(f, *inputs)
    traced = jax.make_jaxpr(f)(*inputs)
    assert name in set(primitives(traced))
    reading, found = of.reading(), ran(of, alike)
    assert reading.decided
    for key, array in found.items():
        expected = reading.at[key].hi if key in reading.at else np.zeros(array.numbers.shape)
        np.testing.assert_allclose(expected, array.numbers, 1e-12, 1e-12, err_msg=str(key))


def test_no_primitive_is_untested() -> None:
    """But for names of other versions of JAX."""
    others = {
        "pjit",
        "closed_call",
        "core_call",
        "call",
        "remat",
        "checkpoint",
        "custom_vjp_call_jaxpr",
    }
    assert set(CASES) == set(RULES) | (INLINED - others)
    assert len(RULES) > 100


# --- layers ---------------------------------------------------------------------------------------


def standardized(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    apart = x - jnp.mean(x, axes, keepdims=True)
    return apart / jnp.sqrt(jnp.mean(apart**2, axes, keepdims=True) + eps)


def rms_norm(x: Any, g: Any) -> Any:
    return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * g


def group_norm(x: Any, g: Any, b: Any) -> Any:
    n, channels, *space = x.shape
    grouped = standardized(x.reshape(n, 2, channels // 2, *space), (2, 3, 4)).reshape(x.shape)
    return grouped * g[:, None, None] + b[:, None, None]


def attention(q: Any, k: Any, v: Any) -> Any:
    n = q.shape[-2]
    scores = q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    return jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -jnp.inf)) @ v


def heads(x: Any, w: Any, out: Any) -> Any:
    n, d = x.shape
    q, k, v = jnp.moveaxis((x @ w).reshape(n, 3, 2, d // 2), (1, 2), (0, 1))
    return jnp.moveaxis(attention(q, k, v), 0, 1).reshape(n, d) @ out


def block(x: Any, g: Any, b: Any, w: Any, out: Any, up: Any, down: Any) -> Any:
    x = x + heads(standardized(x, -1) * g + b, w, out)
    return x + jax.nn.gelu((standardized(x, -1) * g + b) @ up) @ down


def cross_entropy(z: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """With −1 for labels that do not count."""
    logp = jax.nn.log_softmax(z)
    picked = jnp.take_along_axis(logp, jnp.where(labels < 0, 0, labels)[:, None], 1)[:, 0]
    each = -(1 - smoothing) * picked - smoothing * jnp.mean(logp, -1)
    return jnp.sum(jnp.where(labels < 0, 0.0, each)) / jnp.sum(labels >= 0)


def lstm(x: Any, w: Any, u: Any, b: Any) -> Any:
    def step(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a @ w + h @ u + b, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[1], u.shape[0]), x.dtype)
    return lax.scan(step, (zero, zero), x)[1]


def gru(h: Any, x: Any, w: Any, u: Any) -> Any:
    for a in x:
        (r, z, n), (s, y, m) = jnp.split(a @ w, 3, -1), jnp.split(h @ u, 3, -1)
        z = jax.nn.sigmoid(z + y)
        h = (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + s) * m) + z * h
    return h


def convolution(strides: Any, padding: Any, groups: int = 1, **dilation: Any) -> Any:
    spec = {1: ("NCH", "OIH", "NCH"), 2: ("NCHW", "OIHW", "NCHW")}[len(strides)]
    return lambda x, w, b: (
        lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=spec, feature_group_count=groups, **dilation
        )
        + b.reshape(-1, *(1,) * len(strides))
    )


def pooled(f: Any, start: Any) -> Any:
    return lambda x: lax.reduce_window(x, start, f, (1, 1, 2, 2), (1, 1, 2, 2), "SAME")


def of_sizes(n: int) -> dict[str, tuple[Any, ...]]:
    """Layers, with inputs that grow with n."""
    draw = np.random.default_rng(n).normal
    d, k, t = 4 + 4 * n, 2 + n, 3 + n
    x, y, g, b = 2 * draw(size=(t, d)), draw(size=(t, d)), 1 + 0.1 * draw(size=d), draw(size=d)
    image, gains = draw(size=(2, 4, t + 2, k + 3)), (1 + 0.1 * draw(size=4), draw(size=4))
    statistics = (draw(size=4), draw(size=4) ** 2 + 0.1)
    q = draw(size=(2, k, t, d))
    up, down = draw(size=(d, 2 * d)) / np.sqrt(d), draw(size=(2 * d, d)) / np.sqrt(2 * d)
    w, out = draw(size=(d, 3 * d)) / np.sqrt(d), draw(size=(d, d)) / np.sqrt(d)
    labels = np.random.default_rng(n).integers(0, d, t)
    some = np.where(np.arange(t) == 1, -1, labels)

    def gated(act: Any) -> Any:
        return lambda x, u, v, o: (act(x @ u) * (x @ v)) @ o

    def batch_normed(x: Any, g: Any, b: Any, m: Any = None, v: Any = None) -> Any:
        h = (
            standardized(x, (0, 2, 3))
            if m is None
            else (x - m[:, None, None]) / jnp.sqrt(v[:, None, None] + 1e-5)
        )
        return h * g[:, None, None] + b[:, None, None]

    return {
        "LayerNorm": (lambda x, g, b: standardized(x, -1) * g + b, x, g, b),
        "RMSNorm": (rms_norm, x, g),
        "GroupNorm": (group_norm, image, *gains),
        "BatchNorm, train": (batch_normed, image, *gains),
        "BatchNorm, eval": (batch_normed, image, *gains, *statistics),
        "softmax": (jax.nn.softmax, 3 * x),
        "log_softmax": (jax.nn.log_softmax, 3 * x),
        "logsumexp": (lambda x: jax.nn.logsumexp(x, -1), 3 * x),
        "SwiGLU": (gated(jax.nn.silu), x, up, up[::-1], down),
        "GEGLU": (gated(lambda a: jax.nn.gelu(a, approximate=False)), x, up, up[::-1], down),
        "GEGLU, tanh": (gated(jax.nn.gelu), x, up, up[::-1], down),
        "SiLU": (jax.nn.silu, 3 * x),
        "softplus": (jax.nn.softplus, x),  # JAX's gradient, e^(x − y), is off by |x| u
        "mish": (jax.nn.mish, 3 * x),
        "ReLU MLP": (lambda x, u, b, o: jax.nn.relu(x @ u + b) @ o, x, up, draw(size=2 * d), down),
        "causal attention": (attention, q, q[::-1], q + 1),
        "dot_product_attention": (
            lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True), q, q[::-1], q + 1,
        ),
        "heads": (heads, x, w, out),
        "block": (block, x, g, b, w, out, up, down),
        "cross-entropy": (cross_entropy, x, labels),
        "cross-entropy, smoothed": (lambda z, l: cross_entropy(z, l, 0.1), x, labels),
        "cross-entropy, ignored": (cross_entropy, x, some),
        "embedding": (lambda e, i: jnp.take(e, i, 0, mode="clip") * 2, x, np.array([0, 2, 1, 2, 2])),
        "conv1d": (convolution((2,), ((1, 2),), rhs_dilation=(2,)), draw(size=(2, 4, 3 * t)),
                   draw(size=(k, 4, 3)), draw(size=k)),
        "conv2d": (convolution((1, 2), "SAME"), image, draw(size=(k, 4, 3, 2)), draw(size=k)),
        "conv2d, groups": (convolution((1, 1), "VALID", 2), image, draw(size=(2 * k, 2, 3, 2)), draw(size=2 * k)),
        "transposed conv2d": (convolution((1, 1), ((1, 1), (2, 1)), lhs_dilation=(2, 2)), image,
                              draw(size=(k, 4, 3, 3)), draw(size=k)),
        "max pool": (pooled(lax.max, -jnp.inf), image),
        "average pool": (pooled(lax.add, 0.0), image),
        "cumsum": (lambda x: jnp.cumsum(x, -1), x),
        "scatter": (lambda x, y, i: y.at[i].add(2 * x[i]), x, y, np.array([0, 2, 0])),
        "einsum": (lambda x, y: jnp.einsum("ij,kj,kl->il", x, y, y), x, y),
        "norm": (lambda x: jnp.linalg.norm(x, axis=-1), x),
        "clip, where": (lambda x, y: jnp.where(x > 0, jnp.clip(x, -1, 1) * y, y), x, y),
        "LSTM": (lstm, draw(size=(3, 2, d)), draw(size=(d, 4 * k)), draw(size=(k, 4 * k)), draw(size=4 * k)),
        "GRU": (gru, draw(size=(2, k)), draw(size=(3, 2, d)), draw(size=(d, 3 * k)), draw(size=(k, 3 * k))),
    }  # fmt: skip


LAYERS = tuple(of_sizes(0))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_jax_is_within_what_rounding_may_do(name: str, dtype: str) -> None:
    f, *inputs = of_sizes(1)[name]
    assert over_s(differentiated(f, *inputs, dtype=dtype), f) < 5


@pytest.mark.zoo
@pytest.mark.parametrize("n", [0, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_so_it_is_in_other_shapes(name: str, dtype: str, n: int) -> None:
    f, *inputs = of_sizes(n)[name]
    assert over_s(differentiated(f, *inputs, dtype=dtype), f) < 5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_computed_in_more(dtype: str) -> None:
    """Where code says so: a cotangent comes back in the dtype of its operand."""

    def f(x: Any, g: Any) -> Any:
        return standardized(x.astype(jnp.float32), -1).astype(x.dtype) * g

    of = differentiated(f, 2 * normal(3, 8), normal(8), dtype=dtype)
    assert 0.1 < over_s(of, f) < 5
    assert {n.dtype for n in of.recording.tape.nodes} == {"float32", dtype}


def test_a_module_of_equinox() -> None:
    eqx = pytest.importorskip("equinox")
    mlp = eqx.nn.MLP(4, 3, 5, 2, activation=jax.nn.gelu, key=jax.random.key(0))
    weights, static = eqx.partition(mlp, eqx.is_array)
    leaves, tree = jax.tree_util.tree_flatten(weights)

    def f(x: Any, *of: Any) -> Any:
        return jax.vmap(eqx.combine(jax.tree_util.tree_unflatten(tree, of), static))(x)

    assert over_s(differentiated(f, normal(6, 4), *map(np.asarray, leaves)), f) < 5


# --- what is read, and what is not ----------------------------------------------------------------


@jax.custom_vjp
def wrong(x: Any) -> Any:
    return jnp.sin(x)


wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (1.1 * g * jnp.cos(x),))


def test_what_custom_vjp_says_is_judged_and_not_believed() -> None:
    inside = jax.jit(lambda x: 2 * wrong(x))
    of = differentiated(inside, X)
    np.testing.assert_allclose(of.reading().at["x0"].hi, 2 * of.request.cotangents["y"] * np.cos(X))
    assert over_s(of, lambda x: 2 * jnp.sin(x)) < 5
    for make in (candidate, jitted):
        assert over_s(of, inside, make) > 1e10


def test_calls_are_read_in_place() -> None:
    """A function of another jaxpr is the same list of primitives."""

    def names(f: Any) -> list[str]:
        return [n.rule.name for n in differentiated(f, X).recording.tape.nodes]

    for wrapped in (jax.jit(twice), jax.checkpoint(twice), jax.jit(jax.checkpoint(jax.jit(twice)))):
        assert names(wrapped) == names(twice)


def test_a_scan_is_unrolled() -> None:
    def scanned(x: Any) -> Any:
        return lax.scan(lambda h, a: (h * a, h + a), x[0], x)

    def loop(x: Any) -> Any:
        h, steps = x[0], []
        for a in x:
            h, step = h * a, h + a
            steps.append(step)
        return h, jnp.stack(steps)

    of, other = (differentiated(f, X).reading() for f in (scanned, loop))
    for key in ("y[0]", "y[1]", "x0"):
        np.testing.assert_array_equal(of.at[key].hi, other.at[key].hi)


def test_a_branch_that_cannot_be_decided() -> None:
    """log eˣ is x, however precisely it is computed."""

    def f(x: Any) -> Any:
        return lax.cond(jnp.sum(jnp.log(jnp.exp(x)) - x) > 0, jnp.sin, jnp.cos, x)

    with pytest.raises(UndecidedBranchError, match="branches on a comparison"):
        differentiated(f, np.array([0.3]))


def test_what_depends_on_no_input_is_a_constant() -> None:
    """A mask, an index and random numbers: JAX computes them."""

    def f(x: Any, seed: Any) -> Any:
        n = x.shape[0]
        mask = jnp.arange(n)[:, None] >= jnp.arange(x.shape[1])
        noise = jax.random.normal(jax.random.key(seed), x.shape) + jnp.sum(jnp.sin(jnp.ones(3)))
        return jnp.where(mask, x[::-1], 0.0) * noise

    of = differentiated(f, X, np.array(5))
    assert not {"greater", "sin", "sum", "equal"} & {n.rule.name for n in of.recording.tape.nodes}
    assert over_s(of, f) < 5


def test_it_is_looked_for_nan_without_a_comparison() -> None:
    def f(x: Any) -> Any:
        return jnp.where(jnp.isnan(x), 0.0, x)

    assert not {"equal", "where"} & {n.rule.name for n in differentiated(f, X).recording.tape.nodes}


def branching(x: Any) -> Any:
    if x[0, 0] > 0:
        return x
    return -x


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: jax.scipy.special.gammaln(x),
         r"^JAX's lgamma is not known to the tape; in test_from_jax.py:\d+: \(lambda x: jax.scipy.special"),
        (lambda x: jnp.linalg.inv(x[:, :3]), r"^JAX's lu is not known to the tape; in test_from_jax.py:\d+: \(lam"),
        (lambda x: jnp.fft.fft(x).real, "gives complex128, expected one of float64, float32, float16, bfloat16"),
        (lambda x: jnp.take(x, jnp.array([7]), 0), "JAX's gather takes what is outside of an array, which is NaN"),
        (lambda x: lax.reduce_precision(x, 8, 10), "reduce_precision is known to float64, float32, float16, bfl"),
        (lambda x: lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (0,)), "JAX's reduce is known with add, mul, max, min"),
        (lambda x: lax.reduce((x, x), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1]), (0,)), "JAX's reduce is known with"),
        (lambda x: lax.reduce_window(x, 2.0, lambda a, b: lax.mul(b, a), (1, 2), (1, 1), "VALID"), "from 1.0 alone"),
        (branching, r"JAX cannot trace the function: .* expected code that jax.jit takes: .*:\d+: if x\[0, 0\] > 0:"),
        (lambda x: jnp.asarray(np.sin(x)), r"^JAX cannot trace .*jnp in place of np; in test_from_jax.py:\d+: \(lam"),
        (jnp.flatnonzero, r"^JAX cannot trace the function: .*jnp in place of np\.$"),
        (lambda x: jnp.argmax(x), "the function returned nothing that depends on its inputs"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_named_with_its_line(f: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        record(f, {"x": X}, "float64", {})


def test_a_line_of_a_primitive_is_where_the_user_calls_it() -> None:
    """JAX traces its own functions once: what is in them is from whoever calls them now."""

    def other(x: Any) -> Any:
        return jnp.where(x > 0, x, 0.0)

    def f(x: Any) -> Any:
        return jnp.where(x > 1, x, 0.0)

    differentiated(other, X)
    lines = {n.line for n in differentiated(f, X).recording.tape.nodes if n.rule.name == "where"}
    (line,) = lines
    assert line.endswith(": return jnp.where(x > 1, x, 0.0)")


def test_outputs_are_the_leaves_in_order() -> None:
    def f(x: Any) -> Any:
        return {"b": x, "a": [x * 2, None, 3.0, jnp.argmax(x), x > 0]}

    of = record(f, {"x": X}, "float64", {})
    assert {n: y.shape for n, y in of.outputs.items()} == {
        "y[0]": (3, 4),
        "y[1]": (),
        "y[4]": (3, 4),
    }
    found = candidate(f)(Request({"x": X}, "float64", {"y[4]": X}, ("x",)))
    assert set(found.outputs) == set(of.outputs)
    np.testing.assert_array_equal(found.gradients["x"].numbers, X)


def test_parameters_are_given_by_name() -> None:
    of = differentiated(
        lambda x, power, flip: x[::-1] ** power if flip else x, X, power=3, flip=True
    )
    np.testing.assert_array_equal(
        of.reading().at["y"].hi, differentiated(lambda x: x[::-1] ** 3, X).reading().at["y"].hi
    )


def test_jax_is_left_as_it_was() -> None:
    before = jnp.ones(1).dtype
    for dtype in DTYPES:
        of = differentiated(lambda x: x * 2, X, dtype=dtype)
        assert {n.dtype for n in of.recording.tape.nodes} == {dtype}
        assert jnp.ones(1).dtype == before


# --- candidates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [candidate, jitted])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_candidate_is_asked_in_its_dtype(make: Any, dtype: str) -> None:
    def f(x: Any, i: Any, y: Any) -> Any:
        return x[i] * y

    inputs = {"x": np.arange(6.0).reshape(3, 2), "i": np.array([2, 0]), "y": np.ones((2, 2))}
    found = make(f)(Request(inputs, dtype, {"y": np.full((2, 2), 0.5)}, ("x", "i")))
    assert found.outputs["y"].dtype == dtype
    np.testing.assert_array_equal(found.outputs["y"].numbers, [[4, 5], [0, 1]])
    assert found.gradients["i"] is None
    assert found.gradients["x"].dtype == dtype
    assert found.gradients["x"].numbers.dtype == np.float64
    np.testing.assert_array_equal(found.gradients["x"].numbers, [[0.5, 0.5], [0, 0], [0.5, 0.5]])


def test_what_is_not_differentiated_is_zeros() -> None:
    found = candidate(lambda x, y: x * lax.stop_gradient(y))(
        Request({"x": X, "y": X}, "float64", {"y": X}, ("x", "y"))
    )
    assert not found.gradients["y"].numbers.any()


def test_an_eager_candidate_may_branch() -> None:
    request = Request({"x": np.abs(X)}, "float64", {"y": X}, ("x",))
    np.testing.assert_array_equal(candidate(branching)(request).gradients["x"].numbers, X)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jitted(branching)(request)


@pytest.mark.parametrize(
    "backward",
    [
        lambda c, x, i, y: {"x2": c * x[i], "x0": jnp.zeros_like(x).at[i].add(c * y)},
        lambda c, x, i, y: (jnp.zeros_like(x).at[i].add(c * y), None, c * x[i]),
        lambda c, x, i, y: [jnp.zeros_like(x).at[i].add(c * y), c * x[i]],
    ],
)
def test_a_pair_of_functions(backward: Any) -> None:
    def forward(x: Any, i: Any, y: Any) -> Any:
        return x[i] * y

    of = differentiated(forward, X, np.array([1, 0, 1]), X[:, ::-1])
    found = vjp(forward, backward)(of.request)
    expected = candidate(forward)(of.request)
    for n in ("x0", "x2"):
        np.testing.assert_array_equal(found.gradients[n].numbers, expected.gradients[n].numbers)


def test_a_pair_with_several_outputs() -> None:
    request = Request({"x": X}, "float32", {"y[1]": X}, ("x",))
    found = vjp(lambda x: {"a": x, "b": jnp.sin(x)}, lambda c, x: c["a"] + c["b"] * jnp.cos(x))(
        request
    )
    assert set(found.outputs) == {"y[0]", "y[1]"}
    np.testing.assert_allclose(found.gradients["x"].numbers, X * np.cos(X), 1e-5)


def test_a_pair_leaves_out_a_gradient_or_has_another_number() -> None:
    request = Request({"x": X, "y": X}, "float64", {"y": X}, ("x", "y"))
    found = vjp(lambda x, y: x * y, lambda c, x, y: (c * y, None))(request)
    assert found.gradients["y"] is None
    with pytest.raises(RefusedError, match="returned 1 gradients; expected 2, of x, y"):
        vjp(lambda x, y: x * y, lambda c, x, y: c * y)(request)
