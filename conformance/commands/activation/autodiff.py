"""σ and its derivative by a framework's own differentiation, at the points that the first worker chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation import evidence
from conformance.commands.activation.lifted import UnsupportedError

__all__ = [
    "Differentiated",
    "Framework",
    "ReturnedError",
    "autodiff_evidence",
    "passes_on",
    "upstream",
]

Emit = Callable[..., None]
Function = Callable[[Any], Any]


class ReturnedError(TypeError):
    """What a function returned is no floating-point array of its input's shape."""


PATTERN = (2.0, -1.0, 0.0, 0.5, 1.0, -4.0, 8.0)
NEAR = 50.0  # further out a formula may overflow at 8G though not at G
MORE = {"float64": 2.0**-40, "float32": 2.0**-12}  # digits that half of the precision would drop


def upstream(n: int, dtype: str) -> NDArray[np.float64]:
    """Incoming gradients: a backward pass that sums, averages, clips or rounds what comes in shows."""
    return np.resize(np.array(PATTERN), n) * (1 + MORE.get(dtype, 0.0))


def passes_on(x: NDArray[Any], ones: NDArray[Any], patterned: NDArray[Any], dtype: str) -> bool:
    """Whether what goes out is G ⊙ σ': σ' (for G = 1) times the pattern, but for rounding."""
    x, one, got = (a.astype(np.float64) for a in (x, ones, patterned))
    G = upstream(one.size, dtype)
    u = {"float64": 2.0**-53, "float32": 2.0**-24}.get(dtype, 2.0**-8)
    with np.errstate(all="ignore"):
        room = 64 * u * np.abs(G) * (1 + np.abs(one)) * (1 + np.abs(x))
        fine = np.abs(got - G * one) <= room
    return bool(np.all(fine | (np.abs(x) > NEAR) | ~np.isfinite(one)))


@dataclass(frozen=True)
class Differentiated:
    """f(x), its gradient, and what a framework did with the gradient that came in."""

    y: NDArray[Any]  # float64, or float32 where the dtype was
    d: NDArray[Any]
    y_dtype: str
    d_dtype: str
    passes_on: bool  # what goes out is what came in times the gradient, element by element
    no_grad: bool = False  # the result is not connected to its input


class Framework(Protocol):
    """PyTorch or JAX."""

    name: str
    version: str

    def as_function(self, given: Any) -> Function:
        """What the user gave, as a function of one array."""
        ...

    def dispatched(self, sigma: Function) -> Function:
        """A NumPy function as one of this framework's arrays."""
        ...

    def differentiated(self, f: Function, x: NDArray[Any], dtype: str) -> Differentiated:
        """f and its gradient at x. Raises what f raises, and ReturnedError."""
        ...

    def networks(
        self, spec: Mapping[str, Any], given: Mapping[str, Any], f: Function, emit: Emit
    ) -> None:
        """Whole networks with it."""
        ...


def autodiff_evidence(
    framework: Framework,
    spec: dict[str, Any],
    functions: Callable[[], dict[str, Any]],
    grids: Callable[[], dict[str, Any]],
    emit: Emit,
) -> None:
    """The user's own version where there is one, else σ through NumPy's dispatch."""
    way = framework.name
    emit("versions", name=way, version=framework.version)
    given = functions()
    native = way in given
    f = framework.as_function(given[way]) if native else framework.dispatched(given["sigma"])
    for dtype, x in grids().items():
        if not len(x) or (dtype == "bfloat16" and not native):
            continue
        emit("stage", text=f"{way} on {len(x)} points of {dtype}")
        try:
            found = framework.differentiated(f, x, dtype)
        except UnsupportedError as e:
            emit("not-run", text=str(e))
            return
        except Exception as e:
            if dtype != "bfloat16":  # which it need not take
                raise
            emit("not-run-dtype", dtype=dtype, text=f"{type(e).__name__}: {e}"[:500])
            continue
        emit(
            "autodiff",
            way=way,
            native=native,
            dtype=dtype,
            passes_on=found.passes_on,
            no_grad=found.no_grad,
            y=evidence.packed(np.asarray(found.y, np.float64)),
            d=evidence.packed(np.asarray(found.d, np.float64)),
            y_dtype=found.y_dtype,
            d_dtype=found.d_dtype,
        )
    if spec["network"] and native and ("truth" in given or "sigma" in given):
        emit("stage", text=f"running networks in {way}")
        framework.networks(spec, given, f, emit)
