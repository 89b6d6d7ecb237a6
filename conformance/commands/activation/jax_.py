"""JAX: the same σ through NumPy's dispatch, or the user's own function, custom_vjp and custom_jvp included.

Its derivative is what jax.vjp makes of it. Nothing here computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np

from conformance.commands.activation.autodiff import (
    Differentiated,
    Emit,
    Function,
    ReturnedError,
    passes_on,
    upstream,
)
from conformance.commands.activation.lifted import UnsupportedError, evaluate

__all__ = ["Jax"]

OWN: Mapping[str, Callable[..., Any]] = {
    "conjugate": lambda x: x,
    "log_expit": jax.nn.log_sigmoid,
    "float_power": jnp.power,
}


class _Arrays:
    """A backend whose elements are JAX arrays."""

    name = "JAX"

    def _array(self, x: Any, dtype: Any) -> Any:
        if isinstance(x, jax.Array | bool):
            return x
        a = np.asarray(x)
        return jnp.asarray(a) if a.dtype == bool else jnp.asarray(a, dtype)

    def ufunc(self, name: str, inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """By name, from jax.numpy or jax.scipy.special."""
        f = OWN.get(name) or getattr(jnp, name, None) or getattr(jsp, name, None)
        if f is None:
            raise UnsupportedError(f"JAX has no {name}: give JAX's own version with --jax.")
        return f(*(self._array(x, dtype) for x in inputs))

    def where(self, mask: Any, one: Any, other: Any, dtype: Any) -> Any:
        """jnp.where."""
        return jnp.where(
            self._array(mask, dtype), self._array(one, dtype), self._array(other, dtype)
        )

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """Constants."""
        return jnp.broadcast_to(self._array(value, dtype), shape)

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """A new array: JAX's are not written to."""
        return data.at[key].set(self._array(value, dtype))

    def reshape(self, data: Any, shape: Any) -> Any:
        """As NumPy's."""
        return jnp.reshape(data, shape)

    def is_mask(self, data: Any) -> bool:
        """Whether the array is of truth values."""
        return bool(data.dtype == jnp.bool_)

    def copy(self, data: Any) -> Any:
        """Itself: JAX's arrays are not written to."""
        return data


def _pulled_back(f: Callable[[Any], Any], x: Any) -> tuple[Any, ...]:
    """f(x), and what comes back for incoming gradients of 1, and of a pattern."""
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
    """float64 for as long as it takes: whoever called may want JAX as it was."""
    config: Any = jax.config
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

    def as_function(self, given: Any) -> Function:
        """A function, custom_vjp and custom_jvp included. Raises TypeError."""
        if not callable(given):
            raise TypeError(f"expected a function of a JAX array; got {type(given).__name__}")
        return given  # type: ignore[no-any-return]

    def dispatched(self, sigma: Function) -> Function:
        """σ in NumPy, on JAX arrays."""
        return lambda x: evaluate(sigma, _Arrays(), x, x.dtype)

    def differentiated(self, f: Function, x: Any, dtype: str) -> Differentiated:
        """f(x), and what comes back for incoming gradients of 1, and of a pattern.

        Jitted, as it is used, and since compiling each operation by itself takes ten times as long; where f
        cannot be (it indexes with a mask), eagerly.
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

    def networks(
        self, spec: Mapping[str, Any], given: Mapping[str, Any], f: Function, emit: Emit
    ) -> None:
        """The user's own version in a pure function."""
        from conformance.commands.activation.network import run_networks, unseen
        from conformance.implementations import IMPLEMENTATIONS
        from conformance.implementations import jax_ as adapter

        impl = adapter.Jax("jax-cpu", IMPLEMENTATIONS["jax-cpu"])
        impl.start()

        def values(x: Any) -> tuple[Any, Any]:
            found = self.differentiated(f, x, x.dtype.name)
            return found.y, found.d

        def own(name: str) -> None:
            adapter.ACTIVATIONS[name] = lambda a: f(a)  # by itself it need not be hashable

        run_networks(spec, given, "jax-cpu", impl, own, values, partial(unseen, way="jax"), emit)
