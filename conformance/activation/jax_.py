"""JAX: the same σ through NumPy's dispatch, or the user's own function, custom_vjp and custom_jvp included.

Its derivative is what jax.vjp makes of it. Nothing here computes one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np

from conformance.activation import evidence
from conformance.activation.lifted import UnsupportedError, evaluate

__all__ = ["JAX", "differentiated", "jax_evidence"]

OWN: Mapping[str, Callable[..., Any]] = {
    "conjugate": lambda x: x,
    "log_expit": jax.nn.log_sigmoid,
    "float_power": jnp.power,
}


class _Jax:
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
        return jnp.where(self._array(mask, dtype), self._array(one, dtype), self._array(other, dtype))

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """Constants."""
        return jnp.broadcast_to(self._array(value, dtype), shape)

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """A new array: JAX's are not written to."""
        return data.at[key].set(self._array(value, dtype))

    def reshape(self, data: Any, shape: Any) -> Any:
        """As NumPy's."""
        return jnp.reshape(data, shape)

    def shape(self, data: Any) -> tuple[int, ...]:
        """As NumPy's."""
        return tuple(data.shape)

    def is_mask(self, data: Any) -> bool:
        """Whether the array is of truth values."""
        return bool(data.dtype == jnp.bool_)

    def truth(self, data: Any) -> bool:
        """Of one element."""
        return bool(data)

    def copy(self, data: Any) -> Any:
        """Itself: JAX's arrays are not written to."""
        return data


JAX = _Jax()


def _pulled_back(f: Callable[[Any], Any], x: Any) -> tuple[Any, ...]:
    """f(x), and what comes back for incoming gradients of 1, 2 and 0."""
    y, back = jax.vjp(f, x)
    if not isinstance(y, jax.Array):
        raise TypeError(f"it returned {type(y).__name__}; expected an array")
    if y.shape != x.shape:
        raise TypeError(f"it returned an array of shape {y.shape}; expected {x.shape}")
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(f"it returned an array of {y.dtype}; expected {x.dtype}")
    return (y, *(back(jnp.full_like(y, g))[0] for g in (1.0, 2.0, 0.0)))


def differentiated(f: Callable[[Any], Any], x: Any) -> dict[str, Any]:
    """f(x), its gradient, and whether a doubled incoming gradient doubles it.

    Jitted, as it is used, and since compiling each operation by itself takes ten times as long; where f
    cannot be (it indexes with a mask), eagerly.
    """
    x = jnp.asarray(x)
    try:
        y, d, twice, none = jax.jit(partial(_pulled_back, f))(x)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
        y, d, twice, none = _pulled_back(f, x)
    finite = np.isfinite(np.asarray(d, float)) & np.isfinite(np.asarray(twice, float))
    linear = np.all((np.asarray(twice) == np.asarray(2 * d)) | ~finite)
    return {"y": y, "d": d, "linear": bool(linear and np.all((np.asarray(none) == 0) | ~finite))}


def jax_evidence(
    spec: dict[str, Any],
    functions: Callable[[], dict[str, Any]],
    grids: Callable[[], dict[str, Any]],
    emit: Callable[..., None],
) -> None:
    """Values and gradients of σ in JAX at the points that the first worker chose."""
    emit("versions", name="jax", version=jax.__version__)
    given = functions()
    native = "jax" in given
    sigma: Any = None if native else given["sigma"]
    f = given["jax"] if native else lambda x: evaluate(sigma, JAX, x, x.dtype)
    for dtype, points in grids().items():
        if dtype == "bfloat16" and not native:
            continue
        emit("stage", text=f"JAX on {len(points)} points of {dtype}")
        x = jnp.asarray(points, dtype=dtype)
        try:
            found = differentiated(f, x)
        except UnsupportedError as e:
            emit("not-run", text=str(e))
            return
        except Exception as e:
            if dtype == "bfloat16":
                emit("not-run-dtype", dtype=dtype, text=f"{type(e).__name__}: {e}"[:500])
                continue
            raise
        emit(
            "autodiff", way="jax", native=native, dtype=dtype, linear=found["linear"], no_grad=False,
            y=evidence.packed(np.asarray(found["y"], np.float64)), d=evidence.packed(np.asarray(found["d"], np.float64)),
            y_dtype=found["y"].dtype.name, d_dtype=found["d"].dtype.name,
        )  # fmt: skip
    if spec["network"] and native and "sigma" in given:
        from conformance.activation.network import jax_networks

        emit("stage", text="running networks in JAX")
        jax_networks(spec, given, f, emit)
