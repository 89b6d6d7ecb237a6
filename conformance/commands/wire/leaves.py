"""The arrays in what a user's code returned or keeps, each with its path."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from conformance.model.problem import Floats

__all__ = ["Attribute", "Leaf", "at", "attributes", "leaves"]

Theirs: TypeAlias = Any
Path: TypeAlias = tuple[Any, ...]


class Attribute(str):
    """A part of a path that is an attribute; other parts are keys and indices."""

    __slots__ = ()


class Leaf(NamedTuple):
    """An array that a user's code returned: its path, its numbers, and the dtype that they had."""

    path: tuple[Any, ...]
    value: Floats
    dtype: str = "float64"


def attributes(x: Theirs) -> dict[str, Theirs]:
    """The attributes of an object, as parts of paths; none if it has no attributes."""
    return {Attribute(k): v for k, v in vars(x).items()} if hasattr(x, "__dict__") else {}


def at(net: Theirs, path: Path) -> Any:
    """The value at a path."""
    x: Theirs = net
    for part in path:
        x = getattr(x, part) if isinstance(part, Attribute) else x[part]
    return x


def leaves(
    x: Theirs, path: Path = (), layers: bool = False, seen: set[int] | None = None
) -> Iterator[Leaf]:
    """The arrays and numbers in nested tuples, lists and dicts, and with `layers` in objects among them."""
    seen = set() if seen is None else seen
    for method in ("detach", "cpu", "numpy"):
        if not isinstance(x, np.ndarray) and callable(getattr(x, method, None)):
            x = getattr(x, method)()
    if isinstance(x, (np.ndarray, np.generic, float, int)) and not isinstance(x, bool):
        value = np.asarray(x)
        if value.dtype.kind in "fiu" and value.size:
            yield Leaf(path, value.astype(np.float64), value.dtype.name)
    elif isinstance(x, (list, tuple, dict)) and id(x) not in seen and len(path) < 6:
        seen.add(id(x))
        for key, v in x.items() if isinstance(x, dict) else zip(count(), x):
            yield from leaves(v, (*path, key), layers, seen)
    elif (
        layers
        and hasattr(x, "__dict__")
        and id(x) not in seen
        and len(path) < 4
        and not callable(x)
    ):
        seen.add(id(x))
        for name, v in attributes(x).items():
            yield from leaves(v, (*path, name), layers, seen)
