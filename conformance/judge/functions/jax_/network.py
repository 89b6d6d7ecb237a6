"""A network of JAX, to be judged rule by rule: a callable with arrays in it, or a function of its parameters.

Equinox's modules are callables that JAX takes apart into arrays; Flax's linen modules have `init` and
`apply`, and its nnx modules are split into a state and the rest. Whatever is not a float is left as it is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from conformance.judge.functions.certificate import Precision
from conformance.judge.functions.inputs import FAMILIES, Asked, made
from conformance.judge.functions.jax_.calls import run
from conformance.judge.functions.jax_.candidate import candidate
from conformance.judge.functions.jax_.record import record
from conformance.judge.functions.module import TARGET, ModuleSubject, network_subject
from conformance.judge.functions.recording import Table, is_float
from conformance.judge.functions.subject import Subject
from conformance.tools.trouble import RefusedError

__all__ = ["Network", "arguments_of", "network_of", "subject_of"]


class Network(NamedTuple):
    """A network as a function of its weights, and the weights.

    call     (weights in order, inputs) -> what it returns
    weights  by name, in order
    """

    call: Callable[[Sequence[Any], Sequence[Any]], Any]
    weights: dict[str, Any]


def network_of(given: Any, params: Any, inputs: Table, mapped: bool) -> Network:
    """The network that was given; `mapped`: vmapped over the first axis of every input. Raises
    RefusedError."""
    call: Callable[..., Any]
    if params is not None:
        params = params() if callable(params) else params
        call, tree = given, params
    elif hasattr(given, "init") and hasattr(given, "apply"):
        tree = given.init(jax.random.key(0), *_placed(inputs, mapped))
        call = given.apply
    elif _is_nnx(given):
        nnx = sys.modules["flax.nnx"]
        graph, tree = nnx.split(given)
        call = lambda state, *x: nnx.merge(graph, state)(*x)  # noqa: E731
    elif callable(given):
        tree = given
        call = lambda net, *x: net(*x)  # noqa: E731
    else:
        raise RefusedError(
            f"this is a {type(given).__name__}; expected a torch.nn.Module, a module of Equinox or Flax, or "
            "a function of JAX, with --params FILE.py:NAME where its parameters are an argument."
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path).lstrip(".") or "params" for path, _ in leaves]
    trained = [i for i, (_, x) in enumerate(leaves) if hasattr(x, "dtype") and is_float(x)]
    if params is None and not trained and _is_function(given):
        return Network(lambda _, x: _mapped(given, mapped)(*x), {})

    def whole(weights: Sequence[Any], x: Sequence[Any]) -> Any:
        parts = [leaf for _, leaf in leaves]
        for i, w in zip(trained, weights, strict=True):
            parts[i] = w
        net = jax.tree_util.tree_unflatten(structure, parts)
        return _mapped(lambda *each: call(net, *each), mapped)(*x)

    return Network(whole, {names[i]: np.asarray(leaves[i][1]) for i in trained})


def _mapped(f: Callable[..., Any], mapped: bool) -> Callable[..., Any]:
    return jax.vmap(f) if mapped else f


def _placed(inputs: Table, mapped: bool) -> list[Any]:
    """The inputs of one call."""
    of = [
        jnp.asarray(M, "float32" if is_float(M) else None) for n, M in inputs.items() if n != TARGET
    ]
    return [x[0] for x in of] if mapped else of


def _is_function(given: Any) -> bool:
    return inspect.isfunction(given) or not jax.tree_util.tree_leaves(given)


def _is_nnx(given: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(given, nnx.Module)


def arguments_of(given: Any, has_params: bool) -> list[str]:
    """The names of the arguments of `given`, without its parameters."""
    try:
        names = list(inspect.signature(given).parameters)
    except (TypeError, ValueError):  # it has no signature
        return []
    return names[1:] if has_params else names


def subject_of(
    given: Any,
    name: str,
    asked: Mapping[str, Asked],
    own: Table | None,
    params: Any,
    mapped: bool,
    loss: Callable[..., Any] | None,
    loss_name: str,
    precision: Precision,
    families: Sequence[str],
    strict: bool,
) -> ModuleSubject:
    """The network with its own weights. With a loss, the last input is its target."""
    ordinary = own if own is not None else made(asked, FAMILIES[0], precision.storage) or {}
    net = network_of(given, params, ordinary, mapped)
    weights = {n: np.asarray(M, np.float64) for n, M in net.weights.items()}
    count = len(ordinary)

    def whole(*of: Any) -> Any:
        x, w = of[:count], of[count:]
        y = net.call(w, x if loss is None else x[:-1])
        return y if loss is None else loss(y, x[-1])

    return network_subject(
        Subject(
            name=name,
            reference=name,
            record=lambda inputs, dtype: record(whole, inputs, dtype, {}),
            candidate=candidate(whole),
            asked=asked,
            given=own,
            families=tuple(families),
            precision=precision,
            framework="jax",
            strict=strict,
            weights=weights,
        ),
        list(weights),
        run=lambda inputs, c, dtype: run(whole, inputs, list(weights), c, dtype),
        loss=loss_name,
    )
