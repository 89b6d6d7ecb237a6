"""Whatever turns a case into a trace, behind one small interface: ours, and anybody's.

What is wanted is named by a string: one of IMPLEMENTATIONS; `student.py`, a file with the notes' two
procedures; `FILE.py:NAME` or `package.module:NAME`, an object with the interface below; `cmd:PROGRAM …`,
a program that speaks JSON; or the name of an entry point of the group `conformance.implementations`.
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
    "given",
    "handed",
    "implementation",
    "row",
    "token",
]

GROUP = "conformance.implementations"


class NotRunError(Exception):
    """An implementation does not run here, or not this case. Its one sentence says why."""


class MalformedError(Exception):
    """What an implementation returned is no trace of the problem it was given."""


class Implementation(Protocol):
    """One way to compute a trace. Somebody's own needs `name` and `run` alone, and may also have

    `like`, the name of the implementation in whose tolerances and known differences it is judged: that
    whose σ and matrix products it uses (without it, the widest row of accuracy.toml);
    `rounds_every_value = True`, that it goes on from the very numbers that it returns, in their dtype, with
    no more digits kept on the way (no wider registers, no product and sum in one): judged more narrowly;
    `close`, called at the end.
    """

    name: str
    description: str

    def start(self) -> tuple[Mapping[str, str], str]:
        """Get ready: (versions, device), having checked that it runs there. Raises NotRunError."""
        ...

    def run(self, problem: Problem) -> Trace:
        """The trace of one problem, in the problem's dtype, without writing to it.

        Raises NotRunError for a problem that it does not do: an activation it has not, say.
        """
        ...


@dataclass(frozen=True)
class Row:
    """Where an implementation is found. Its module is imported only when it is to run."""

    module: str
    attribute: str
    device: str
    description: str
    jitted: bool = False  # every case is compiled: `standard` runs a covering sample of the cases
    whole: bool = True  # it returns every quantity; somebody's own may leave some out

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

PROGRAM = Row("program", "Program", "cpu", "a program, over standard input and output",               whole=False)
FILE    = Row("student", "Student", "cpu", "a file with forward_pass and backward_prop, on its own",  whole=False)
OBJECT  = Row("own",     "own",     "cpu", "an object of somebody's own",                             whole=False)
# fmt: on


class _Given(NamedTuple):
    of: Implementation
    token: object  # another one each time: a name may stand for something else tomorrow


_GIVEN: dict[str, _Given] = {}


@contextmanager
def given(implementations: Mapping[str, Implementation]) -> Iterator[None]:
    """Objects that stand for their names within, in this process."""
    _GIVEN.update({name: _Given(of, object()) for name, of in implementations.items()})
    try:
        yield
    finally:
        for name in implementations:
            del _GIVEN[name]


def handed(name: str) -> Implementation | None:
    """The object given for that name, if there is one."""
    found = _GIVEN.get(name)
    return found.of if found else None


def token(name: str) -> object:
    """What tells an object given for a name from another one given for it before; None for the others."""
    found = _GIVEN.get(name)
    return found.token if found else None


def announced() -> dict[str, str]:
    """Entry points: name and what it refers to; not those that would hide one of ours."""
    return {e.name: e.value for e in entry_points(group=GROUP) if e.name not in IMPLEMENTATIONS}


def row(name: str) -> Row | None:
    """What is meant by a name; None where there is no such implementation."""
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
    """The implementation of that name, not yet started. Raises NotRunError where there is none."""
    found = row(name)
    if found is None:
        raise NotRunError(f"there is no implementation {name!r} here.")
    return found.load(name)
