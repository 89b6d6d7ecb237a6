"""PyTorch code as a candidate: its outputs, and the gradients of autograd or of a backward function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.recording import is_float
from conformance.judge.functions.torch_.given import (
    Given,
    as_given,
    buffers_of,
    leaves_of,
    name_of,
    numbers_of,
    tensor_of,
)

__all__ = [
    "TorchCandidate",
    "array_of",
    "candidate",
    "floats_of",
    "not_contiguous",
    "one_thread",
    "vjp",
]


@dataclass(frozen=True)
class TorchCandidate:
    """PyTorch code with its gradients, on the CPU in one thread.

    f         as for `record`; its gradients are autograd's, which calls the backward of an autograd.Function
    backward  or a function (cotangents…, inputs…) -> gradients: of all inputs, or of those that are floats,
              or of those that are wanted, in their order; or by name
    params    passed to both
    """

    f: Any
    backward: Callable[..., Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, request: Request) -> Ran:
        """Raises whatever the code raises."""
        return self._ran(request, _contiguous)

    def strided(self, request: Request) -> Ran:
        """The same numbers in memory that is not contiguous: the results should be the same."""
        return self._ran(request, not_contiguous)

    def variants(self) -> dict[str, Candidate]:
        """The same code, called in other ways that must make no difference."""
        return {"tensors that are not contiguous": self.strided}

    def _ran(self, request: Request, laid: Callable[[Tensor], Tensor]) -> Ran:
        given = as_given(self.f, request.inputs, self.params)
        with one_thread():
            first = self._once(given, request, laid)
            again = self._once(given, request, laid)
        notes = list(first.notes)
        if not _same_bits(first, again):
            notes.append("gives other bits when it is called a second time")
        return Ran(first.outputs, first.gradients, tuple(notes))

    def _once(self, given: Given, request: Request, laid: Callable[[Tensor], Tensor]) -> Ran:
        tensors = {n: laid(tensor_of(M, request.dtype)) for n, M in given.inputs.items()}
        before = {n: numbers_of(t) for n, t in tensors.items()}
        if self.backward is None:
            for n in request.wrt:
                tensors[n].requires_grad_()
        with torch.set_grad_enabled(self.backward is None):
            found = given.call(tensors, buffers_of(given, request.dtype))
        outputs = floats_of(found)
        cotangents = {
            n: laid(torch.from_numpy(np.array(c, np.float64)).to(outputs[n].dtype))
            for n, c in request.cotangents.items()
            if n in outputs
        }
        arrays = {n: array_of(y) for n, y in outputs.items()}
        wrong = [n for n, c in cotangents.items() if c.shape != outputs[n].shape]
        notes = [f"returns {n} of another shape: no gradient is asked for" for n in wrong]
        notes += [
            f"returns {n} in {a.dtype}, and its inputs are {request.dtype}"
            for n, a in arrays.items()
            if a.dtype != request.dtype
        ]
        gradients: dict[str, Tensor | None] = dict.fromkeys(request.wrt)
        if not wrong:
            find = self._by_autograd if self.backward is None else self._by_hand
            gradients |= find(tensors, outputs, cotangents, request.wrt)
        for n, t in tensors.items():
            if not np.array_equal(before[n], numbers_of(t), equal_nan=is_float(before[n])):
                notes.append(f"writes to its input {n}")
        return Ran(
            arrays,
            {n: None if g is None else array_of(g) for n, g in gradients.items()},
            tuple(notes),
        )

    def _by_autograd(self, tensors: Any, outputs: Any, cotangents: Any, wrt: Any) -> dict[str, Any]:
        of = [n for n in cotangents if outputs[n].requires_grad]
        if not of or not wrt:
            return {}
        found = torch.autograd.grad(
            [outputs[n] for n in of],
            [tensors[n] for n in wrt],
            [cotangents[n] for n in of],
            allow_unused=True,
        )
        return dict(zip(wrt, found, strict=True))

    def _by_hand(self, tensors: Any, outputs: Any, cotangents: Any, wrt: Any) -> dict[str, Any]:
        assert self.backward is not None
        c = [cotangents.get(n, torch.zeros_like(y)) for n, y in outputs.items()]
        with torch.no_grad():
            found = self.backward(*c, *tensors.values(), **self.params)
        if isinstance(found, Mapping):
            return {n: found.get(n) for n in wrt}
        parts = list(found) if isinstance(found, tuple | list) else [found]
        floats = [n for n, t in tensors.items() if t.is_floating_point()]
        for names in (list(tensors), floats, list(wrt)):
            if len(parts) == len(names):
                return {n: g for n, g in zip(names, parts, strict=True) if n in wrt}
        raise ValueError(
            f"the backward function returned {len(parts)} gradients; "
            f"expected {len(floats)}, of {', '.join(floats)}."
        )


def candidate(f: Any, params: Mapping[str, Any] | None = None) -> TorchCandidate:
    """A function of PyTorch with autograd's gradients; for a torch.autograd.Function these are its own
    backward's."""
    return TorchCandidate(f, None, params or {})


def vjp(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    params: Mapping[str, Any] | None = None,
) -> TorchCandidate:
    """A pair of functions: y = forward(*inputs), and the gradients are backward(*cotangents, *inputs)."""
    return TorchCandidate(forward, backward, params or {})


def floats_of(found: Any) -> dict[str, Tensor]:
    """The outputs that are floats, by the names that `Recording` gives them."""
    several = not isinstance(found, Tensor)
    return {
        f"y[{i}]" if several else "y": y
        for i, y in enumerate(leaves_of(found))
        if isinstance(y, Tensor) and y.is_floating_point()
    }


def array_of(t: Tensor) -> Array:
    return Array(np.asarray(numbers_of(t), np.float64), name_of(t))


def _same_bits(a: Ran, b: Ran) -> bool:
    both = ((a.outputs, b.outputs), (a.gradients, b.gradients))
    pairs = [(x[n], y.get(n)) for x, y in both for n in x]
    return all(
        x is y or (x is not None and y is not None and x.numbers.tobytes() == y.numbers.tobytes())
        for x, y in pairs
    )


def _contiguous(t: Tensor) -> Tensor:
    return t.contiguous()


def not_contiguous(t: Tensor) -> Tensor:
    """The same tensor with its last two axes swapped in memory; with one axis, as every second number of
    another tensor."""
    if t.ndim > 1:
        return t.transpose(-1, -2).contiguous().transpose(-1, -2)
    return torch.stack([t, t], -1)[..., 0] if t.ndim else t


@contextmanager
def one_thread() -> Iterator[None]:
    """Run in one thread, with the same bits each time, as far as PyTorch can."""
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.set_num_threads(threads)
