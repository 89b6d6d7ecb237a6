"""Implementations, ours and users' own: each turns a case into a trace, behind one small interface.

An implementation is named by a string: one of IMPLEMENTATIONS; `student.py`, a file with the notes' two
procedures; `FILE.py:NAME` or `package.module:NAME`, an object with the interface below; `cmd:PROGRAM …`, a
program that speaks JSON; or the name of an entry point of the group `conformance.implementations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, Protocol

from conformance.model.problem import Problem, Trace

__all__ = [
    "IMPLEMENTATIONS",
    "Implementation",
    "MalformedError",
    "NotRunError",
    "announced",
    "given",
    "handed",
    "implementation",
    "row",
    "token",
]

GROUP = "conformance.implementations"


class NotRunError(Exception):
    """An implementation does not run here, or not on this case. Its message says why, in a sentence."""


class MalformedError(Exception):
    """What an implementation returned is not a trace of the problem that it was given."""


class Implementation(Protocol):
    """One way to compute a trace. A user's own implementation needs only `name` and `run`. It may also have:

    `like`, the name of one of ours, whose tolerances and known differences then apply: the one whose σ and
    matrix products it uses (without it, the widest row of accuracy.toml);

    `rounds_every_value = True`, which says that it computes on with the very numbers that it returns, in
    their dtype, and keeps no more digits on the way (no wider registers, no fused multiply-add): it is judged
    more narrowly;

    `close`, which is called at the end.
    """

    name: str
    description: str

    def start(self) -> tuple[Mapping[str, str], str]:
        """Get ready, and check that it runs on its device: (versions, device). Raises NotRunError."""
        ...

    def run(self, problem: Problem) -> Trace:
        """The trace of one problem, in the problem's dtype, without writing to it.

        Raises NotRunError for a problem that it cannot compute, such as one with an activation that it does
        not have.
        """
        ...


@dataclass(frozen=True)
class Row:
    """Where to find an implementation. Its module is imported only when it is to run."""

    module: str
    attribute: str
    device: str
    description: str
    jitted: bool = False  # compiles each case, so `standard` runs only a covering sample of cases
    whole: bool = True  # it must return every quantity; a user's own may leave some out

    def load(self, name: str) -> Implementation:
        module = import_module(f"conformance.implementations.{self.module}")
        make: Callable[[str, Row], Implementation] = getattr(module, self.attribute)
        return make(name, self)


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

PROGRAM = Row("program", "Program", "cpu", "a program, over standard input and output",               whole=False)
FILE    = Row("student", "Student", "cpu", "a file with forward_pass and backward_prop, on its own",  whole=False)
OBJECT  = Row("own",     "own",     "cpu", "an object of somebody's own",                             whole=False)
# fmt: on


class _Given(NamedTuple):
    implementation: Implementation
    token: object  # a new one each time, since a name may later be given to another object


_GIVEN: dict[str, _Given] = {}


@contextmanager
def given(implementations: Mapping[str, Implementation]) -> Iterator[None]:
    """Within the context, in this process, these names mean these objects."""
    _GIVEN.update({name: _Given(i, object()) for name, i in implementations.items()})
    try:
        yield
    finally:
        for name in implementations:
            del _GIVEN[name]


def handed(name: str) -> Implementation | None:
    """The object given for that name, if there is one."""
    return _GIVEN[name].implementation if name in _GIVEN else None


def token(name: str) -> object:
    """A token of the object given for a name, different for each object given for it; None for any other
    name."""
    return _GIVEN[name].token if name in _GIVEN else None


def announced() -> dict[str, str]:
    """The entry points: {name: what it refers to}. One that has the name of one of ours is ignored."""
    return {e.name: e.value for e in entry_points(group=GROUP) if e.name not in IMPLEMENTATIONS}


def row(name: str) -> Row | None:
    """Where to find the implementation of this name; None if it does not exist."""
    if name in IMPLEMENTATIONS:
        return IMPLEMENTATIONS[name]
    if name in _GIVEN or name in announced():
        return OBJECT
    if name.startswith("cmd:"):
        return PROGRAM
    if name.endswith(".py") and Path(name).is_file():
        return FILE
    where, _, attribute = name.rpartition(":")
    dotted = all(part.isidentifier() for part in attribute.split("."))
    if dotted and (Path(where).is_file() or not where.endswith(".py")) and where:
        return OBJECT
    return None


def implementation(name: str) -> Implementation:
    """The implementation of that name, not yet started. Raises NotRunError if there is none."""
    found = row(name)
    if found is None:
        raise NotRunError(f"there is no implementation {name!r} here.")
    return found.load(name)
