"""What whoever writes an equation sees of what it is handed: his own words, and what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, NoReturn

__all__ = ["MissingError", "Named", "UnknownNameError", "UsageError", "nearest"]


class UsageError(Exception):
    """Something of `net` is used as it cannot be. The text says it all: what, and what there is."""


class MissingError(UsageError):
    """An equation asks for a layer that there is not."""


class UnknownNameError(UsageError, AttributeError):
    """An equation asks for a name that there is not."""


class Named:
    """What an equation is handed, called by the words that it is written with.

    `own` are names that are not for equations.
    """

    called: ClassVar[str]
    own: ClassVar[tuple[str, ...]] = ("called", "own")

    def __init_subclass__(cls, called: str, own: tuple[str, ...] = ()) -> None:
        """Python's own messages name the class of a thing: 'net' is what was written, so it is called so."""
        cls.called = cls.__name__ = called
        cls.own = (*cls.own, *own)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python and NumPy ask for these
            raise AttributeError(name)
        fields = getattr(type(self), "__dataclass_fields__", {})
        there = {n for n in (*dir(type(self)), *fields) if n[0] != "_" and n not in self.own}
        known = ", ".join(sorted(there, key=str.lower))
        raise UnknownNameError(
            f"{self.called} has no {name}; there are {known}.{nearest(name, there)}"
        )

    def __repr__(self) -> str:
        return f"<{self.called}>"


def nearest(name: str, names: Iterable[str]) -> str:
    """ " Did you mean 'W'?", or nothing where no name is near."""
    names = list(names)
    same = [n for n in names if n.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
