"""Somebody's own implementation: an object with `name` and `run`, wherever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.implementations import (
    IMPLEMENTATIONS,
    MalformedError,
    NotRunError,
    announced,
    handed,
)
from conformance.model.problem import Problem, Trace
from conformance.tools.load import LoadError, load

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["own"]


class Own:
    """An object of somebody's own with what it leaves out of the interface."""

    def __init__(self, name: str, of: Any) -> None:
        self.name, self.of = name, of
        self.description = str(getattr(of, "description", "") or _first_line(of))
        self.like = str(getattr(of, "like", ""))
        self.rounds_every_value = bool(getattr(of, "rounds_every_value", False))

    def start(self) -> tuple[Mapping[str, str], str]:
        """Its own start, if it has one."""
        if not hasattr(self.of, "start"):
            return dict(getattr(self.of, "versions", {})), "cpu"
        versions, device = self.of.start()
        return {str(k): str(v) for k, v in dict(versions).items()}, str(device)

    def run(self, problem: Problem) -> Trace:
        """Its trace."""
        found: Trace = self.of.run(problem)
        return _without_Z_0(found, problem) if isinstance(found, Trace) else found


def _without_Z_0(t: Trace, p: Problem) -> Trace:
    """Z_1 … Z_L, where Z_0 = X was returned as well, as the notes count. Raises MalformedError."""
    if not isinstance(t.Z, Mapping) or 0 not in t.Z:
        return t
    if not np.array_equal(t.Z[0], p.X):
        raise MalformedError("it returned Z_0 that is not X; expected X itself, or no Z_0.")
    return replace(t, Z={l: M for l, M in t.Z.items() if l != 0})


def _first_line(of: Any) -> str:
    said = (type(of).__doc__ or "").strip().splitlines()
    return said[0].rstrip(".") if said else "an object of somebody's own"


def own(name: str, row: Row) -> Own:
    """The object of that name: given, announced by an entry point, or read from its file.

    A class or function is called without arguments. Raises NotRunError where it is no implementation.
    """
    of = handed(name)
    if of is None:
        try:
            of = load(announced().get(name, name))
        except LoadError as e:
            raise NotRunError(str(e)) from e
    if isinstance(of, type) or not hasattr(of, "run"):
        if not callable(of):
            raise NotRunError(
                f"{name} is {_what(of)}; expected an object with name and run(problem)."
            )
        of = of()
    if not callable(getattr(of, "run", None)):
        raise NotRunError(
            f"{name} is {_what(of)}, with no run(problem); expected one that returns a Trace."
        )
    like = getattr(of, "like", "")
    if like and like not in IMPLEMENTATIONS:
        raise NotRunError(f"{name} is like {like!r}; expected one of {', '.join(IMPLEMENTATIONS)}.")
    return Own(name, of)


def _what(of: Any) -> str:
    return f"of type {type(of).__name__}"
