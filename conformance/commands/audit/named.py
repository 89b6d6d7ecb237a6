"""The messages for the author of an equation who asks `net` for something that it has not.

They name things as the author writes them (`net.columns`, not a class of ours), and list what there is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, NoReturn

__all__ = ["MissingError", "Named", "UnknownNameError", "UsageError", "nearest"]


class UsageError(Exception):
    """Something of `net` is used as it cannot be: its text is the whole message."""


class MissingError(UsageError):
    """An equation asks for a layer that does not exist."""


class UnknownNameError(UsageError, AttributeError):
    """An equation asks for a name that does not exist."""


class Named:
    """Base of what an equation is given. `called` is how an equation writes it; `own` are attributes that
    equations have no use for, so that no message offers them."""

    called: ClassVar[str]
    own: ClassVar[tuple[str, ...]] = ("called", "own")

    def __init_subclass__(cls, called: str, own: tuple[str, ...] = ()) -> None:
        """Renames the class as well: Python's own messages name it, and the author knows it as 'net'."""
        cls.called = cls.__name__ = called
        cls.own = (*cls.own, *own)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python and NumPy look for these, and are not told what there is
            raise AttributeError(name)
        fields = getattr(type(self), "__dataclass_fields__", {})
        there = {n for n in (*dir(type(self)), *fields) if n[0] != "_" and n not in self.own}
        there |= self._more_names()
        known = ", ".join(sorted(there, key=str.lower))
        raise UnknownNameError(
            f"{self.called} has no {name}; there are {known}.{nearest(name, there)}"
        )

    def _more_names(self) -> set[str]:
        """Names that it has beside those of its class."""
        return set()

    def __repr__(self) -> str:
        return f"<{self.called}>"


def nearest(name: str, names: Iterable[str]) -> str:
    """ " Did you mean 'W'?", or nothing where no name is near."""
    names = list(names)
    same = [n for n in names if n.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
