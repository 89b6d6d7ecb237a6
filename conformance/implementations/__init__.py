"""Whatever turns a case into a trace, one file each, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from conformance.problem import Problem, Trace

__all__ = ["IMPLEMENTATIONS", "Implementation", "NotRunError", "implementation"]


class NotRunError(Exception):
    """An implementation cannot run here. Its one sentence says why and what to do."""


class Implementation(Protocol):
    """One way to compute a trace."""

    name: str
    description: str

    def start(self) -> tuple[Mapping[str, str], str]:
        """Get ready: (versions, device), having checked that it runs there. Raises NotRunError."""
        ...

    def run(self, problem: Problem) -> Trace:
        """The trace of one problem, in the problem's dtype, without writing to it."""
        ...


@dataclass(frozen=True)
class Row:
    """Where an implementation is found. Its module is imported only when it is to run."""

    module: str
    attribute: str
    device: str
    description: str
    jitted: bool = False  # every case is compiled: `standard` runs a covering sample of the cases

    def load(self, name: str) -> Implementation:
        made: Callable[..., Implementation]
        made = getattr(import_module(f"conformance.implementations.{self.module}"), self.attribute)
        return made(name, self)


# fmt: off
IMPLEMENTATIONS: Mapping[str, Row] = {
    # name                 file      class     device  what it is
    "refbp":          Row("refbp_", "Refbp",  "cpu",  "the course notes' two procedures, in NumPy"),
    "torch-cpu":      Row("torch_", "Torch",  "cpu",  "nn.Sequential of nn.Linear and native activations, autograd, on the CPU"),
    "torch-cuda":     Row("torch_", "Torch",  "cuda", "nn.Sequential of nn.Linear and native activations, autograd, on a CUDA device"),
    "jax-cpu":        Row("jax_",   "Jax",    "cpu",  "a pure function with native jax.nn activations, eager, on the CPU"),
    "jax-cpu-jit":    Row("jax_",   "Jax",    "cpu",  "the same function, jitted, on the CPU", jitted=True),
    "jax-cuda":       Row("jax_",   "Jax",    "cuda", "a pure function with native jax.nn activations, eager, on a CUDA device"),
    "jax-cuda-jit":   Row("jax_",   "Jax",    "cuda", "the same function, jitted, on a CUDA device", jitted=True),
}
# fmt: on


def implementation(name: str) -> Implementation:
    """The implementation of that name, not yet started."""
    return IMPLEMENTATIONS[name].load(name)
