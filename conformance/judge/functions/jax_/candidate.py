"""JAX code as a candidate: with the gradients of jax.vjp, compiled, or with a backward pass by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.jax_.record import arrays, as_used, is_leaf
from conformance.judge.functions.recording import is_float
from conformance.tools.trouble import RefusedError

__all__ = ["array_of", "candidate", "jitted", "names_of", "vjp"]


def candidate(f: Callable[..., Any]) -> Candidate:
    """f(*inputs) with the gradients of jax.vjp, computed eagerly, by custom_vjp where f has it."""
    return _Eager(f)


@dataclass(frozen=True)
class _Eager:
    """JAX code with its gradients, run operation by operation."""

    f: Callable[..., Any]

    def __call__(self, request: Request) -> Ran:
        """Raises whatever the code raises."""
        return _run(partial(_pulled_back, self.f), False, request)

    def variants(self) -> dict[str, Candidate]:
        """The same code, called in another way that must make no difference."""
        return {"jax.jit": jitted(self.f)}


def jitted(f: Callable[..., Any]) -> Candidate:
    """The same code, its forward and backward pass compiled together."""
    return partial(_run, partial(_pulled_back, f), True)


def vjp(forward: Callable[..., Any], backward: Callable[..., Any]) -> Candidate:
    """forward(*inputs), and backward(cotangent, *inputs) with one gradient an input, or a dict by name.

    The cotangent has the structure of what forward returns. None means a gradient that is left out; gradients
    of whole numbers may be omitted. Raises RefusedError if backward returns another number of gradients.
    """
    return partial(_run, partial(_by_hand, forward, backward), False)


def _run(run: Callable[..., Any], compiled: bool, request: Request) -> Ran:
    """Run code with the floats as arguments; whole numbers and masks are constants."""
    with as_used(request.dtype):
        given = arrays(request.inputs, request.dtype)
        floats = {n: x for n, x in given.items() if is_float(x)}

        def of_floats(some: Any) -> Any:
            return run(given | some, request)

        y, gradients = (jax.jit(of_floats) if compiled else of_floats)(floats)
        outputs = {n: array_of(x) for n, x in _outputs(y).items() if is_float(x)}
    return Ran(outputs, {n: None if g is None else array_of(g) for n, g in gradients.items()})


def _pulled_back(f: Callable[..., Any], given: dict[str, Any], request: Request) -> Any:
    def of(*chosen: Any) -> Any:
        return f(*(given | dict(zip(request.wrt, chosen, strict=True))).values())

    y, back = jax.vjp(of, *(given[n] for n in request.wrt))
    G = dict(zip(request.wrt, back(_cotangent(y, request)), strict=True))
    return y, {n: None if g.dtype == jax.dtypes.float0 else g for n, g in G.items()}


def _by_hand(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    given: dict[str, Any],
    request: Request,
) -> Any:
    y = forward(*given.values())
    G = backward(_cotangent(y, request), *given.values())
    if not isinstance(G, Mapping):
        of = list(G) if isinstance(G, tuple | list) else [G]
        names = next(
            (among for among in (list(given), [n for n, x in given.items() if is_float(x)])
             if len(among) == len(of)), None,
        )  # fmt: skip
        if names is None:
            raise RefusedError(
                f"the backward pass returned {len(of)} gradients; expected {len(given)}, of "
                f"{', '.join(given)} (None for one that it leaves out)."
            )
        G = dict(zip(names, of, strict=True))
    return y, {n: G.get(n) for n in request.wrt}


def _outputs(y: Any) -> dict[str, Any]:
    """The leaves of y, by the names that a recording gives them."""
    return {
        n: jnp.asarray(x) for n, x in zip(names_of(y), jax.tree_util.tree_leaves(y), strict=True)
    }


def names_of(y: Any) -> list[str]:
    """The names of the leaves of y, as a recording gives them."""
    tree: Any = jax.tree_util.tree_structure(y)
    return ["y"] if is_leaf(tree) else [f"y[{i}]" for i in range(tree.num_leaves)]


def _cotangent(y: Any, request: Request) -> Any:
    """The cotangent in the structure of y; zeros where none is given."""

    def of(name: str, x: Any) -> Any:
        if not is_float(x):
            return np.zeros(x.shape, jax.dtypes.float0)
        return jnp.asarray(request.cotangents.get(name, np.zeros(x.shape)), x.dtype)

    leaves = [of(n, x) for n, x in _outputs(y).items()]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(y), leaves)


def array_of(x: Any) -> Array:
    return Array(np.asarray(x, np.float64), str(np.asarray(x).dtype))
