"""σ and its derivative by a framework's own differentiation, at the points that the first worker chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from conformance.commands.activation.lifted import Array, Function, UnsupportedError
from conformance.commands.activation.messages import (
    Autodiff,
    Differentiated,
    Emit,
    NotRun,
    Stage,
    Version,
    Wider,
)
from conformance.commands.activation.spec import Spec
from conformance.model.problem import Floats
from conformance.truth.rounding import Reals

__all__ = ["Framework", "Functions", "ReturnedError", "autodiff_evidence", "passes_on", "upstream"]

# the functions that were given, by their keys in FUNCTIONS
Functions: TypeAlias = Mapping[str, Function]


class ReturnedError(TypeError):
    """A function returned something that is not a floating-point array of its input's shape."""


PATTERN = (2.0, -1.0, 0.0, 0.5, 1.0, -4.0, 8.0)
NEAR = 50.0  # beyond it a formula may overflow at 8G though not at G
MORE = {"float64": 2.0**-40, "float32": 2.0**-12}  # digits that half of the precision would drop


def upstream(n: int, dtype: str) -> Reals:
    """n incoming gradients G that show a backward pass which sums, averages, clips or rounds them."""
    return np.resize(np.array(PATTERN), n) * (1 + MORE.get(dtype, 0.0))


def passes_on(x: Floats, ones: Floats, patterned: Floats, dtype: str) -> bool:
    """Whether a backward pass returns G ⊙ σ', except for rounding.

    `ones` is what it returned for G = 1, which is σ' itself, and `patterned` what it returned for the pattern
    of `upstream`.
    """
    x, one, got = (a.astype(np.float64) for a in (x, ones, patterned))
    G = upstream(one.size, dtype)
    u = {"float64": 2.0**-53, "float32": 2.0**-24}.get(dtype, 2.0**-8)
    with np.errstate(all="ignore"):
        room = 64 * u * np.abs(G) * (1 + np.abs(one)) * (1 + np.abs(x))
        fine = np.abs(got - G * one) <= room
    return bool(np.all(fine | (np.abs(x) > NEAR) | ~np.isfinite(one)))


class Framework(Protocol):
    """PyTorch or JAX."""

    name: str
    version: str

    def as_function(self, given: object) -> Function:
        """What the user gave, as a function of one array. Raises TypeError."""
        ...

    def dispatched(self, sigma: Function) -> Function:
        """A NumPy function as a function of this framework's arrays."""
        ...

    def parameters(self, given: object) -> Wider | None:
        """What to ask about the parameters of the user's own version, if it has any."""
        ...

    def changed(self, given: object, dtype: str) -> str:
        """Why the user's own version is another function in a dtype; "" if it is the same."""
        ...

    def differentiated(self, f: Function, x: Array, dtype: str) -> Differentiated:
        """f and its gradient at x. Raises what f raises, and ReturnedError."""
        ...

    def networks(self, spec: Spec, given: Functions, f: Function, emit: Emit) -> None:
        """Judge whole networks of this framework with the user's own version f."""
        ...


def autodiff_evidence(
    framework: Framework,
    spec: Spec,
    functions: Callable[[], Functions],
    grids: Callable[[], Mapping[str, Floats]],
    emit: Emit,
) -> None:
    """Emit what a framework computes: by the user's own version, if there is one, else of σ through NumPy's
    dispatch.

    `functions` loads what was given. `grids` waits for the points, by dtype.
    """
    way = framework.name
    emit(Version(way, framework.version))
    given = functions()
    native = way in given
    if native and (more := framework.parameters(given[way])):
        emit(more)
    f = framework.as_function(given[way]) if native else framework.dispatched(given["sigma"])
    for dtype, x in grids().items():
        if not spec.asks(dtype) or (dtype == "bfloat16" and not native):
            continue
        if native and (why := framework.changed(given[way], dtype)):
            emit(NotRun(why, dtype))
            continue
        emit(Stage(f"{way} on {len(x)} points of {dtype}"))
        try:
            found = framework.differentiated(f, x, dtype)
        except UnsupportedError as e:
            emit(NotRun(str(e)))
            return
        except Exception as e:
            if spec.decides(dtype):  # bfloat16: the user's version need not accept it
                raise
            emit(NotRun(f"{type(e).__name__}: {e}"[:500], dtype))
            continue
        emit(Autodiff(dtype, native, found))
    if spec.network and native and ("truth" in given or "sigma" in given):
        emit(Stage(f"running networks in {way}"))
        framework.networks(spec, given, f, emit)
