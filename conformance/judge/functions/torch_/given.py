"""A user's PyTorch code (a function, an autograd.Function or a module) as a function of tensors."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from conformance.judge.functions.recording import Table, is_float

__all__ = [
    "DTYPES",
    "Code",
    "Given",
    "as_given",
    "as_module",
    "buffers_of",
    "copied",
    "forward_of",
    "leaves_of",
    "name_of",
    "numbers_of",
    "parameters_of",
    "tensor_of",
]


def copied(net: nn.Module) -> nn.Module:
    """A deep copy. Tensors that hooks compute from parameters before each pass, as the old weight_norm does,
    are detached: torch refuses to copy them, and the hooks compute them again. For tensors that are computed
    only once, torch still refuses."""
    kept = (x for m in net.modules() if m._forward_pre_hooks for x in vars(m).values())
    computed = [x for x in kept if isinstance(x, Tensor) and not x.is_leaf]
    return copy.deepcopy(net, {id(x): x.detach().clone() for x in computed})


DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Given:
    """A function of PyTorch, as a function of tensors by name.

    inputs   those of the caller, and after them the parameters of a module that the caller did not name
    buffers  of a module: the tensors that it keeps besides its parameters
    call     (tensors by name, buffers by name) -> what the function returns
    """

    inputs: Table
    buffers: Mapping[str, Tensor]
    call: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Any]


class Code(Protocol):
    """An object that turns itself into a function of tensors."""

    def given_as(self, inputs: Table) -> Given: ...


def as_given(f: Any, inputs: Table, params: Mapping[str, Any]) -> Given:
    if hasattr(f, "given_as"):
        code: Code = f
        return code.given_as(inputs)
    if isinstance(f, type) and issubclass(f, torch.autograd.Function):
        function: Any = f  # a local name: its apply is replaced while it is traced
        return Given(inputs, {}, lambda t, _: function.apply(*t.values(), *params.values()))
    module = as_module(f)
    if module is None:
        return Given(inputs, {}, lambda t, _: f(*t.values(), **params))
    own = parameters_of(module)
    buffers = {n: b for n, b in module.named_buffers() if n not in inputs}
    kept = {*own, *(n for n, _ in module.named_buffers())}

    def call(t: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Any:
        state = {n: x for n, x in t.items() if n in kept} | dict(b)
        return functional_call(
            module, state, tuple(x for n, x in t.items() if n not in kept), dict(params)
        )

    return Given({**inputs, **{n: M for n, M in own.items() if n not in inputs}}, buffers, call)


def forward_of(f: Any) -> Callable[..., Any]:
    """The function that takes the inputs, so that its signature has their names."""
    if isinstance(f, type) and issubclass(f, torch.autograd.Function):
        apart = f.setup_context is not torch.autograd.Function.setup_context
        return f.forward if apart else partial(f.forward, None)  # without ctx
    module = as_module(f)
    called: Callable[..., Any] = f if module is None else module.forward
    return called


def as_module(f: Any) -> nn.Module | None:
    """The module that f is or makes, with the same numbers each time; None if f is a function."""
    if isinstance(f, nn.Module):
        return f
    if not (isinstance(f, type) and issubclass(f, nn.Module)):
        try:
            if inspect.signature(f).parameters:
                return None
        except (TypeError, ValueError):  # a function without a signature
            return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        made = f()
    return made if isinstance(made, nn.Module) else None


def parameters_of(module: Any) -> dict[str, NDArray[np.float64]]:
    """A module's parameters by name, as float64 arrays; a shared one occurs once.

    module  an nn.Module, or a class or function without arguments that makes one; for anything else {}
    """
    made = as_module(module)
    return {} if made is None else {n: numbers_of(p) for n, p in made.named_parameters()}


def numbers_of(t: Tensor) -> NDArray[Any]:
    """Floats as float64, whole numbers and masks as they are."""
    t = t.detach().cpu()
    t = t.to_dense() if t.layout != torch.strided else t
    return np.array((t.double() if t.is_floating_point() else t).numpy())


def tensor_of(M: NDArray[Any], dtype: str) -> Tensor:
    t = torch.from_numpy(np.array(M, np.float64) if is_float(M) else np.array(M))
    return t.to(DTYPES[dtype]) if is_float(M) else t


def buffers_of(given: Given, dtype: str) -> dict[str, Tensor]:
    """Copies of the buffers, which the function may write to."""
    return {
        n: b.detach().to(DTYPES[dtype]).clone() if b.is_floating_point() else b.detach().clone()
        for n, b in given.buffers.items()
    }


def leaves_of(x: Any) -> list[Any]:
    """The parts of what a function returned, flattened."""
    if isinstance(x, Mapping):
        x = tuple(x.values())
    return [y for part in x for y in leaves_of(part)] if isinstance(x, tuple | list) else [x]


def name_of(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")
