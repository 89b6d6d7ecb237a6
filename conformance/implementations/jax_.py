"""JAX: a pure function with the native jax.nn activations, eager and jitted.

For δ_l = ∂L/∂A_l a zero tap is added to each A_l, and the loss is differentiated by it; ∂L/∂W_l comes from
the same call. Nothing here computes a derivative.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves GPU memory to torch
# if JAX has a cache of compiled code, it also keeps code that took less than a second to compile
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"  # gives the same bits in every run
if _ONE_THREAD not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip()

import jax
import jax.numpy as jnp
import numpy as np

from conformance.implementations import NotRunError
from conformance.model.problem import Floats, Problem, Trace

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Jax"]

Array = jax.Array
Layers = dict[int, Array]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda a: a,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "mish": jax.nn.mish,
    "hardtanh": jax.nn.hard_tanh,
    "relu6": jax.nn.relu6,
    "hardsigmoid": jax.nn.hard_sigmoid,
    "hardswish": jax.nn.hard_swish,
    "logsigmoid": jax.nn.log_sigmoid,
    "sin": jnp.sin,
    "gaussian": lambda a: jnp.exp(-a * a),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}
"""JAX's native functions, most of which it jits itself. Here all are jitted, and so are the loss and the
update, since compiling each of their operations alone, for each shape, would take most of a run."""


def _huber(Z: Array, Y: Array) -> Array:
    d = jnp.abs(Z - Y)
    return jnp.where(d <= 1, d * d / 2, d - 0.5)


TERMS: Mapping[str, Callable[[Array, Array], Array]] = {
    "mean_squared_error": lambda Z, Y: jnp.square(Z - Y),
    "cross_entropy": lambda Z, Y: -jax.scipy.special.xlogy(Y, Z),
    "log_softmax_cross_entropy": lambda Z, Y: -Y * Z,
    "binary_cross_entropy": lambda Z, Y: (
        -jax.scipy.special.xlogy(Y, Z) - jax.scipy.special.xlog1py(1 - Y, -Z)
    ),
    "mean_absolute_error": lambda Z, Y: jnp.abs(Z - Y),
    "huber": _huber,
}


@jax.jit
def _affine(Z: Array, W: Array, b: Array | None, tap: Array) -> Array:
    return Z @ W + tap if b is None else Z @ W + b + tap


@partial(jax.jit, static_argnums=1)
def _activated(A: Array, f: Callable[[Array], Array]) -> Array:
    return f(
        A
    )  # compiled for each function, not for each name, which may be that of a user's function


@partial(jax.jit, static_argnums=2)
def _loss(Z: Array, Y: Array, name: str) -> Array:
    return jnp.sum(TERMS[name](Z, Y)) / Z.shape[0]


@jax.jit
def _updated(W: Array, dW: Array, alpha: float) -> Array:
    return W - alpha * dW


Gradients = tuple[Layers, Layers]
"""By W and by b; b is empty where the network has no bias."""


def _step(
    W: Layers,
    b: Layers,
    taps: Layers,
    X: Array,
    Y: Array,
    alpha: float,
    sigma: tuple[str, ...],
    loss: str,
) -> tuple[Array, Layers, Layers, Layers, Gradients, Gradients]:
    """One step of gradient descent: (loss, A, Z, δ, (∂L/∂W, ∂L/∂b), (new W, new b)). The taps are zeros that
    are added to A_l, so that ∂L/∂tap_l is δ_l."""
    L = len(sigma)

    def network(W: Layers, b: Layers, taps: Layers) -> tuple[Array, tuple[Layers, Layers]]:
        A: Layers = {}
        Z: Layers = {0: X}
        for l in range(1, L + 1):
            A[l] = _affine(Z[l - 1], W[l], b.get(l), taps[l])
            Z[l] = _activated(A[l], ACTIVATIONS[sigma[l - 1]])
        return _loss(Z[L], Y, loss), (A, Z)

    differentiated = jax.value_and_grad(network, argnums=(0, 1, 2), has_aux=True)
    (value, (A, Z)), (dW, db, delta) = differentiated(W, b, taps)
    new = jax.tree_util.tree_map(partial(_updated, alpha=alpha), (W, b), (dW, db))
    return value, A, Z, delta, (dW, db), new


class Jax:
    """JAX on one device, with x64 on and matrix products at full precision."""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.description = name, row.description
        self.platform = row.device
        self.step = jax.jit(_step, static_argnums=(6, 7)) if row.jitted else _step

    def start(self) -> tuple[Mapping[str, str], str]:
        """Switches x64 on and TF32 off, and checks that an array really lands on the device."""
        jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
        jax.config.update("jax_default_matmul_precision", "highest")  # type: ignore[no-untyped-call]
        try:
            self.device = jax.devices(self.platform)[0]
        except RuntimeError as e:
            why = str(e).splitlines()[0] if str(e) else "no reason given"
            raise NotRunError(f"no {self.platform.upper()} device: JAX says: {why}") from e
        where = next(iter(jax.device_put(jnp.ones(1), self.device).devices()))
        if where != self.device:
            raise NotRunError(f"an array asked for on {self.device} landed on {where}.")
        versions = {"jax": jax.__version__, "jaxlib": version("jaxlib")}
        return versions, "cpu" if self.platform == "cpu" else where.device_kind

    def run(self, problem: Problem) -> Trace:
        """One call: values, taps and gradients together."""
        layers = range(1, problem.depth + 1)
        W = {l: problem.weights(l) for l in layers}
        b = {l: problem.W[l][-1:] for l in layers} if problem.bias else {}
        taps = {l: np.zeros((len(problem.X), M.shape[1]), M.dtype) for l, M in W.items()}
        sigma = tuple(problem.sigma[l] for l in layers)
        with jax.default_device(self.device):
            W, b, taps, X, Y = jax.device_put((W, b, taps, problem.X, problem.Y), self.device)
            quantities = self.step(W, b, taps, X, Y, problem.alpha, sigma, problem.loss)
        loss, A, Z, delta, dW, new = jax.device_get(quantities)
        return Trace(
            A=_in_numpy(A),
            Z=_in_numpy({l: Z[l] for l in layers}),
            delta=_in_numpy(delta),
            dW=_stacked(*dW),
            W_new=_stacked(*new),
            loss=np.asarray(loss),
        )


def _in_numpy(layers: Layers) -> dict[int, Floats]:
    return {l: np.asarray(M) for l, M in layers.items()}


def _stacked(W: Layers, b: Layers) -> dict[int, Floats]:
    """[W_l; b_l]."""
    return {l: np.vstack([W[l], b[l]]) for l in W} if b else _in_numpy(W)
