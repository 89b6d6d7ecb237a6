"""A user's own implementation: an object with `name` and `run`, given to us or loaded by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from conformance.implementations import (
    IMPLEMENTATIONS,
    MalformedError,
    NotRunError,
    announced,
    handed,
)
from conformance.implementations.convention import Convention
from conformance.model.problem import Problem, Trace
from conformance.tools.load import LoadError, load

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["own"]

Theirs: TypeAlias = Any
"""A user's object; nothing is known about it before it is used."""


class Own:
    """A user's object, with defaults for the parts of the interface that it lacks."""

    def __init__(self, name: str, theirs: Theirs) -> None:
        self.name, self.theirs = name, theirs
        self.description = str(getattr(theirs, "description", "") or _first_line(theirs))
        self.like = str(getattr(theirs, "like", ""))
        self.deterministic = bool(getattr(theirs, "deterministic", True))
        self.convention: Convention | None = getattr(theirs, "convention", None)
        self.rounds_every_value = bool(getattr(theirs, "rounds_every_value", False))

    def start(self) -> tuple[Mapping[str, str], str]:
        """The object's own start, if it has one."""
        if not hasattr(self.theirs, "start"):
            return dict(getattr(self.theirs, "versions", {})), "cpu"
        versions, device = self.theirs.start()
        return {str(k): str(v) for k, v in dict(versions).items()}, str(device)

    def run(self, problem: Problem) -> Trace:
        """What the object's own run returns. It may be no Trace: the judge checks that."""
        if self.convention is not None:
            p = self.convention.problem(problem)
            return self.convention.trace(p, self.theirs.run(self.convention.given(p)))
        t: Trace = self.theirs.run(problem)
        return _without_Z_0(t, problem) if isinstance(t, Trace) else t


def _without_Z_0(t: Trace, p: Problem) -> Trace:
    """The trace without Z_0 = X, which may be returned too, as in the notes. Raises MalformedError if Z_0 is
    not X."""
    if not isinstance(t.Z, Mapping) or 0 not in t.Z:
        return t
    if not np.array_equal(t.Z[0], p.X):
        raise MalformedError("it returned Z_0 that is not X; expected X itself, or no Z_0.")
    return replace(t, Z={l: M for l, M in t.Z.items() if l != 0})


def _first_line(theirs: Theirs) -> str:
    doc = (type(theirs).__doc__ or "").strip().splitlines()
    return doc[0].rstrip(".") if doc else "an object of somebody's own"


def own(name: str, row: Row) -> Own:
    """The object of that name: given, announced by an entry point, or read from its file.

    A class or function is called without arguments. Raises NotRunError if the result is no implementation.
    """
    theirs: Theirs = handed(name)
    if theirs is None:
        try:
            theirs = load(announced().get(name, name))
        except LoadError as e:
            raise NotRunError(str(e)) from e
    if isinstance(theirs, type) or not hasattr(theirs, "run"):
        if not callable(theirs):
            raise NotRunError(
                f"{name} is of type {type(theirs).__name__}; expected an object with name and run(problem)."
            )
        theirs = theirs()
    if not callable(getattr(theirs, "run", None)):
        raise NotRunError(
            f"{name} is of type {type(theirs).__name__}, with no run(problem); expected one that returns a "
            "Trace."
        )
    if not isinstance(getattr(theirs, "convention", None), Convention | None):
        raise NotRunError(
            f"{name} has a convention of type {type(theirs.convention).__name__}; expected a "
            "conformance.Convention."
        )
    like = getattr(theirs, "like", "")
    if like and like not in IMPLEMENTATIONS:
        raise NotRunError(f"{name} is like {like!r}; expected one of {', '.join(IMPLEMENTATIONS)}.")
    return Own(name, theirs)
