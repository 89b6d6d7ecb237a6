"""PyTorch: the same σ through NumPy's dispatch, or the user's own Function, module or function.

Its derivative comes from autograd. Nothing here computes one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
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
from conformance.commands.activation.messages import Differentiated, Emit, Wider
from conformance.commands.activation.spec import Spec
from conformance.commands.activation.wider import required, shaped
from conformance.judge.functions.torch_.given import forward_of, parameters_of
from conformance.model.problem import Floats

__all__ = ["Torch"]

# fmt: off
RENAMED: Mapping[str, str] = {  # NumPy's and scipy.special's names, where torch's differ
    "absolute": "abs", "fabs": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "power": "pow", "float_power": "pow",
    "conjugate": "clone", "rint": "round", "greater": "gt", "less": "lt", "greater_equal": "ge",
    "less_equal": "le", "equal": "eq", "not_equal": "ne", "invert": "logical_not",
    "radians": "deg2rad", "degrees": "rad2deg",
}
SPECIAL = (
    "erf", "erfc", "erfcx", "erfinv", "expit", "gammaln", "log_ndtr", "logit", "ndtr", "xlog1py", "xlogy",
    "sinc",
)
OWN: Mapping[str, Callable[..., torch.Tensor]] = {
    "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "log_expit": torch.nn.functional.logsigmoid,
}
# fmt: on


class _Tensors(Backend):
    """A backend whose elements are torch tensors."""

    name = "torch"

    def _tensor(self, x: Arg, dtype: DTypeLike) -> Array:
        if isinstance(x, torch.Tensor | bool):
            return x
        if isinstance(x, int | float):
            return torch.tensor(float(x), dtype=_DTYPES[np.dtype(dtype).name])
        a = np.asarray(x)
        return torch.as_tensor(a) if a.dtype == bool else torch.as_tensor(a.astype(dtype))

    def ufunc(self, name: str, inputs: Sequence[Array], shape: Shape, dtype: DTypeLike) -> Array:
        where = torch.special if name in SPECIAL else torch
        f = OWN.get(name) or getattr(where, RENAMED.get(name, name), None)
        if f is None:
            raise UnsupportedError(f"torch has no {name}: give torch's own version with --torch.")
        return f(*(self._tensor(x, dtype) for x in inputs))

    def where(self, mask: Array, one: Array, other: Array, dtype: DTypeLike) -> Array:
        return torch.where(
            self._tensor(mask, dtype), self._tensor(one, dtype), self._tensor(other, dtype)
        )

    def full(self, shape: Shape, value: Array, dtype: DTypeLike) -> Array:
        return self._tensor(value, dtype).broadcast_to(shape).clone()

    def put(self, data: Array, key: Arg, value: Array, dtype: DTypeLike) -> Array:
        data = data.clone()  # autograd forbids writing to a leaf
        key = torch.as_tensor(key) if isinstance(key, np.ndarray) else key
        data[key] = self._tensor(value, dtype)
        return data

    def reshape(self, data: Array, shape: Arg) -> Array:
        return torch.reshape(data, shape if isinstance(shape, tuple) else (shape,))

    def is_mask(self, data: Array) -> bool:
        return bool(data.dtype == torch.bool)

    def copy(self, data: Array) -> Array:
        return data.clone()  # gradients flow through it


_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def _in_dtype(f: Function, dtype: torch.dtype) -> Function:
    """f; a module is copied in that dtype, with parameters that are not trained."""
    if not isinstance(f, torch.nn.Module):
        return f
    return copy.deepcopy(f).to(dtype).requires_grad_(False)


class _Own(torch.nn.Module):
    """A function as a module, so that its output can be hooked."""

    def __init__(self, f: Function, dtype: torch.dtype) -> None:
        super().__init__()
        self.f = _in_dtype(f, dtype)

    def forward(self, a: torch.Tensor) -> Array:
        return self.f(a)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class Torch:
    """PyTorch, on the CPU."""

    name = "torch"
    version = str(torch.__version__)

    def as_function(self, given: object) -> Function:
        """A torch.autograd.Function, a module or its class, or a function. Raises TypeError."""
        if isinstance(given, type) and issubclass(given, torch.autograd.Function):
            applied: Function = given.apply
            return applied
        if isinstance(given, type) and issubclass(given, torch.nn.Module):
            given = given()
        if not callable(given):
            kind = type(given).__name__
            raise TypeError(f"expected a function, a Function or a module of torch; got {kind}")
        return given

    def parameters(self, given: object) -> Wider | None:
        """What to ask about a module's parameters, which are judged like inputs; None if it has none."""
        if not (params := parameters_of(given)):
            return None
        names = required(forward_of(given))[:1]
        why = f"the gradients of its parameters ({', '.join(params)})"
        return Wider("torch", shaped(names, params), why, [*params])

    def changed(self, given: object, dtype: str) -> str:
        """In words, a parameter that the dtype cannot represent, so that the module has another one there."""
        for name, M in parameters_of(given).items():
            rounded = torch.tensor(M).to(_DTYPES[dtype]).double().numpy()
            if (other := np.flatnonzero(rounded != M)).size:
                was, now = (float(np.ravel(of)[other[0]]) for of in (M, rounded))
                return (
                    f"its parameter {name} is {was:.9g}, and {now:.9g} in {dtype}: it is another function "
                    f"there, and is not judged in {dtype}; expected a number that {dtype} holds."
                )
        return ""

    def dispatched(self, sigma: Function) -> Function:
        """σ in NumPy, on tensors."""
        return lambda t: evaluate(sigma, _Tensors(), t, _name(t.dtype))

    def differentiated(self, f: Function, x: Array, dtype: str) -> Differentiated:
        """f(x), and autograd's gradients for incoming gradients of 1, and of a pattern."""
        t = torch.tensor(np.array(x), dtype=_DTYPES[dtype], requires_grad=True)
        y = _in_dtype(f, t.dtype)(t.clone())  # a clone, which an in-place function may write to
        if not isinstance(y, torch.Tensor):
            raise ReturnedError(f"it returned {type(y).__name__}; expected a tensor")
        if y.shape != t.shape:
            raise ReturnedError(
                f"it returned a tensor of shape {tuple(y.shape)}; expected {tuple(t.shape)}"
            )
        if not y.requires_grad:
            d, passed = torch.zeros_like(t), False
        else:
            G = torch.tensor(upstream(len(x), dtype), dtype=y.dtype)
            given = G.clone()
            (d,) = torch.autograd.grad(y, t, torch.ones_like(y), retain_graph=True)
            (of_G,) = torch.autograd.grad(y, t, given)
            one, patterned = d.double().numpy(), of_G.double().numpy()
            passed = passes_on(np.asarray(x), one, patterned, dtype) and torch.equal(G, given)
        value, gradient = (
            (a.detach().double() if dtype == "bfloat16" else a.detach()).numpy() for a in (y, d)
        )
        return Differentiated(
            value, gradient, _name(y.dtype), _name(d.dtype), passed, not y.requires_grad
        )

    def networks(self, spec: Spec, given: Functions, f: Function, emit: Emit) -> None:
        """The user's own version in nn.Sequential."""
        from conformance.commands.activation.network import run_networks, unseen
        from conformance.implementations import IMPLEMENTATIONS
        from conformance.implementations import torch_ as adapter

        impl = adapter.Torch("torch-cpu", IMPLEMENTATIONS["torch-cpu"])

        def values(x: Floats) -> tuple[Floats, Floats]:
            found = self.differentiated(f, x, x.dtype.name)
            return found.y, found.d

        def own(name: str) -> None:
            impl.own[name] = lambda dtype: _Own(f, dtype)

        run_networks(spec, given, "torch-cpu", impl, own, values, unseen, emit)
