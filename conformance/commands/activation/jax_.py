"""JAX: the same σ through NumPy's dispatch, or the user's own function, custom_vjp and custom_jvp included.

Its derivative comes from jax.vjp. Nothing here computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np
from numpy.typing import DTypeLike

from conformance.commands.activation.autodiff import Functions, ReturnedError, passes_on, upstream
from conformance.commands.activation.evaluate import evaluate
from conformance.commands.activation.lifted import (
    Arg,
    Array,
    Backend,
    Function,
    Shape,
    UnsupportedError,
)
from conformance.commands.activation.messages import Differentiated, Emit
from conformance.commands.activation.spec import Spec
from conformance.model.problem import Floats

__all__ = ["Jax"]

OWN: Mapping[str, Callable[..., Array]] = {
    "conjugate": lambda x: x,
    "log_expit": jax.nn.log_sigmoid,
    "float_power": jnp.power,
}


class _Arrays(Backend):
    """A backend whose elements are JAX arrays."""

    name = "JAX"

    def _array(self, x: Arg, dtype: Arg) -> Array:
        if isinstance(x, jax.Array | bool):
            return x
        a = np.asarray(x)
        return jnp.asarray(a) if a.dtype == bool else jnp.asarray(a, dtype)

    def ufunc(self, name: str, inputs: Sequence[Array], shape: Shape, dtype: DTypeLike) -> Array:
        f = OWN.get(name) or getattr(jnp, name, None) or getattr(jsp, name, None)
        if f is None:
            raise UnsupportedError(f"JAX has no {name}: give JAX's own version with --jax.")
        return f(*(self._array(x, dtype) for x in inputs))

    def where(self, mask: Array, one: Array, other: Array, dtype: DTypeLike) -> Array:
        return jnp.where(
            self._array(mask, dtype), self._array(one, dtype), self._array(other, dtype)
        )

    def full(self, shape: Shape, value: Array, dtype: DTypeLike) -> Array:
        return jnp.broadcast_to(self._array(value, dtype), shape)

    def put(self, data: Array, key: Arg, value: Array, dtype: DTypeLike) -> Array:
        return data.at[key].set(self._array(value, dtype))

    def reshape(self, data: Array, shape: Arg) -> Array:
        return jnp.reshape(data, shape)

    def is_mask(self, data: Array) -> bool:
        return bool(data.dtype == jnp.bool_)

    def copy(self, data: Array) -> Array:
        return data  # JAX's arrays are never written to


def _pulled_back(f: Function, x: Array) -> tuple[Array, ...]:
    """f(x), and the gradients for incoming gradients of 1, and of a pattern."""
    y, back = jax.vjp(f, x)
    if not isinstance(y, jax.Array):
        raise ReturnedError(f"it returned {type(y).__name__}; expected an array")
    if y.shape != x.shape:
        raise ReturnedError(f"it returned an array of shape {y.shape}; expected {x.shape}")
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise ReturnedError(f"it returned an array of {y.dtype}; expected {x.dtype}")
    G = jnp.asarray(upstream(x.size, x.dtype.name), y.dtype)
    return y, *back(jnp.ones_like(y)), *back(G)


@contextmanager
def _x64() -> Iterator[None]:
    """float64 within; afterwards JAX is as it was, since this may be the user's own process."""
    config: Arg = jax.config
    configure, before = config.update, bool(config.read("jax_enable_x64"))
    configure("jax_enable_x64", True)
    try:
        yield
    finally:
        configure("jax_enable_x64", before)


class Jax:
    """JAX, on the CPU, with x64 on."""

    name = "jax"
    version = str(jax.__version__)

    def as_function(self, given: object) -> Function:
        """What was given, if it is callable; custom_vjp and custom_jvp are. Raises TypeError."""
        if not callable(given):
            raise TypeError(f"expected a function of a JAX array; got {type(given).__name__}")
        return given

    def parameters(self, given: object) -> None:
        """None: a function of JAX has no parameters."""

    def changed(self, given: object, dtype: str) -> str:
        """Nothing: a function of JAX is the same in each dtype."""
        return ""

    def dispatched(self, sigma: Function) -> Function:
        """σ in NumPy, on JAX arrays."""
        return lambda x: evaluate(sigma, _Arrays(), x, x.dtype)

    def differentiated(self, f: Function, x: Array, dtype: str) -> Differentiated:
        """f(x), and the gradients for incoming gradients of 1, and of a pattern.

        Jitted, as it is used, and since compiling each operation by itself takes ten times as long; eagerly,
        if f cannot be jitted (it indexes with a mask).
        """
        with _x64():
            a = jnp.asarray(x, dtype)
            try:
                y, d, of_G = jax.jit(partial(_pulled_back, f))(a)
            except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
                y, d, of_G = _pulled_back(f, a)
        one, patterned = np.asarray(d, np.float64), np.asarray(of_G, np.float64)
        passed = passes_on(np.asarray(x), one, patterned, dtype)
        value, gradient = (
            np.asarray(a, np.float64) if dtype == "bfloat16" else np.asarray(a) for a in (y, d)
        )
        return Differentiated(value, gradient, y.dtype.name, d.dtype.name, passed)

    def networks(self, spec: Spec, given: Functions, f: Function, emit: Emit) -> None:
        """The user's own version in a pure function."""
        from conformance.commands.activation.network import run_networks, unseen
        from conformance.implementations import IMPLEMENTATIONS
        from conformance.implementations import jax_ as adapter

        impl = adapter.Jax("jax-cpu", IMPLEMENTATIONS["jax-cpu"])
        impl.start()

        def values(x: Floats) -> tuple[Floats, Floats]:
            found = self.differentiated(f, x, x.dtype.name)
            return found.y, found.d

        def own(name: str) -> None:
            adapter.ACTIVATIONS[name] = lambda a: f(a)  # f itself need not be hashable

        run_networks(spec, given, "jax-cpu", impl, own, values, partial(unseen, way="jax"), emit)
