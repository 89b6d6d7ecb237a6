"""PyTorch: the same σ through NumPy's dispatch, or the user's own Function, module or function.

Its derivative is what autograd makes of it. Nothing here computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformance.activation import evidence
from conformance.activation.lifted import UnsupportedError, evaluate

__all__ = ["TORCH", "as_function", "differentiated", "module", "torch_evidence"]

# fmt: off
RENAMED: Mapping[str, str] = {  # NumPy's and scipy.special's names, where torch's differ
    "absolute": "abs", "fabs": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "power": "pow", "float_power": "pow",
    "conjugate": "clone", "rint": "round", "greater": "gt", "less": "lt", "greater_equal": "ge",
    "less_equal": "le", "equal": "eq", "not_equal": "ne", "invert": "logical_not",
    "radians": "deg2rad", "degrees": "rad2deg",
}
SPECIAL = ("erf", "erfc", "erfcx", "erfinv", "expit", "gammaln", "log_ndtr", "logit", "ndtr", "xlog1py", "xlogy", "sinc")
OWN: Mapping[str, Callable[..., Any]] = {
    "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "log_expit": torch.nn.functional.logsigmoid,
}
# fmt: on


class _Torch:
    """A backend whose elements are torch tensors."""

    name = "torch"

    def _tensor(self, x: Any, dtype: Any) -> Any:
        if isinstance(x, torch.Tensor | bool):
            return x
        if isinstance(x, int | float):
            return torch.tensor(float(x), dtype=_DTYPES[np.dtype(dtype).name])
        a = np.asarray(x)
        return torch.as_tensor(a) if a.dtype == bool else torch.as_tensor(a.astype(dtype))

    def ufunc(self, name: str, inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """By name, from torch or torch.special."""
        where = torch.special if name in SPECIAL else torch
        f = OWN.get(name) or getattr(where, RENAMED.get(name, name), None)
        if f is None:
            raise UnsupportedError(f"torch has no {name}: give torch's own version with --torch.")
        return f(*(self._tensor(x, dtype) for x in inputs))

    def where(self, mask: Any, one: Any, other: Any, dtype: Any) -> Any:
        """torch.where."""
        return torch.where(self._tensor(mask, dtype), self._tensor(one, dtype), self._tensor(other, dtype))

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """Constants."""
        return self._tensor(value, dtype).broadcast_to(shape).clone()

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """In place, on a copy: autograd forbids writing to a leaf."""
        data = data.clone()
        data[key if not isinstance(key, np.ndarray) else torch.as_tensor(key)] = self._tensor(value, dtype)
        return data

    def reshape(self, data: Any, shape: Any) -> Any:
        """As NumPy's."""
        return torch.reshape(data, shape if isinstance(shape, tuple) else (shape,))

    def shape(self, data: Any) -> tuple[int, ...]:
        """As NumPy's."""
        return tuple(data.shape)

    def is_mask(self, data: Any) -> bool:
        """Whether the tensor is of truth values."""
        return bool(data.dtype == torch.bool)

    def truth(self, data: Any) -> bool:
        """Of one element."""
        return bool(data)

    def copy(self, data: Any) -> Any:
        """A clone, through which gradients flow."""
        return data.clone()


TORCH = _Torch()
_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def as_function(given: Any) -> Callable[[Any], Any]:
    """A torch.autograd.Function, a module or its class, or a function: as a function of a tensor."""
    if isinstance(given, type) and issubclass(given, torch.autograd.Function):
        applied: Callable[[Any], Any] = given.apply
        return applied
    if isinstance(given, type) and issubclass(given, torch.nn.Module):
        given = given()
    if not callable(given):
        raise TypeError(f"expected a function, a Function or a module of torch; got {type(given).__name__}")
    return given  # type: ignore[no-any-return]


def differentiated(f: Callable[[Any], Any], x: Any, dtype: str) -> dict[str, Any]:
    """f(x), its gradient, and whether a doubled incoming gradient doubles it."""
    t = torch.tensor(np.array(x), dtype=_DTYPES[dtype], requires_grad=True)
    y = f(t)
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"it returned {type(y).__name__}; expected a tensor")
    if y.shape != t.shape:
        raise TypeError(f"it returned a tensor of shape {tuple(y.shape)}; expected {tuple(t.shape)}")
    if not y.requires_grad:
        return {"y": y.detach(), "d": torch.zeros_like(t), "linear": True, "no_grad": True}
    (d,) = torch.autograd.grad(y, t, torch.ones_like(y), retain_graph=True)
    (twice,) = torch.autograd.grad(y, t, torch.full_like(y, 2.0), retain_graph=True)
    (none,) = torch.autograd.grad(y, t, torch.zeros_like(y))
    finite = torch.isfinite(d) & torch.isfinite(twice)
    linear = bool(torch.all((twice == 2 * d)[finite])) and bool(torch.all((none == 0)[finite]))
    return {"y": y.detach(), "d": d, "linear": linear, "no_grad": False}


def torch_evidence(
    spec: dict[str, Any],
    functions: Callable[[], dict[str, Any]],
    grids: Callable[[], dict[str, Any]],
    emit: Callable[..., None],
) -> None:
    """Values and gradients of σ in torch at the points that the first worker chose."""
    torch.set_num_threads(1)
    emit("versions", name="torch", version=str(torch.__version__))
    given = functions()
    native = "torch" in given
    f = as_function(given["torch"]) if native else _dispatched(given["sigma"])
    for dtype, x in grids().items():
        if dtype == "bfloat16" and not native:
            continue
        emit("stage", text=f"torch on {len(x)} points of {dtype}")
        try:
            found = differentiated(f, x, dtype)
        except UnsupportedError as e:
            emit("not-run", text=str(e))
            return
        except Exception as e:
            if dtype == "bfloat16":
                emit("not-run-dtype", dtype=dtype, text=f"{type(e).__name__}: {e}"[:500])
                continue
            raise
        emit(
            "autodiff", way="torch", native=native, dtype=dtype, linear=found["linear"], no_grad=found["no_grad"],
            y=evidence.packed(found["y"].double().numpy()), d=evidence.packed(found["d"].double().numpy()),
            y_dtype=str(found["y"].dtype).removeprefix("torch."), d_dtype=str(found["d"].dtype).removeprefix("torch."),
        )  # fmt: skip
    if spec["network"] and native and "sigma" in given:
        from conformance.activation.network import torch_networks

        emit("stage", text="running networks in torch")
        torch_networks(spec, given, f, emit)


class _Own(torch.nn.Module):
    """A function as a module, so that its output can be hooked."""

    def __init__(self, f: Callable[[Any], Any]) -> None:
        super().__init__()
        self.f = f

    def forward(self, a: torch.Tensor) -> Any:
        return self.f(a)


def module(f: Callable[[Any], Any]) -> torch.nn.Module:
    """A function of a tensor as a module."""
    return _Own(f)


def _dispatched(sigma: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda t: evaluate(sigma, TORCH, t, str(t.dtype).removeprefix("torch."))
