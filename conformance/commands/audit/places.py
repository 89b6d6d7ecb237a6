"""Where an equation is tried: one network, and the layer that it writes as l, L or a number."""

from __future__ import annotations

import re
from typing import NamedTuple

from conformance.commands.audit.net import Net
from conformance.commands.audit.settings import Setting

__all__ = ["INDEX", "Index", "Place"]

INDEX = r"(?P<base>[lL]|[0-9]+)(?P<shift>[-+−][0-9]+)?"
"""The index of a layer as it may be written."""


class Place(NamedTuple):
    """One network, and the layer for which an equation is tried in it."""

    setting: Setting
    l: int

    @property
    def net(self) -> Net:
        """What the equation may read, for one call: it records what is read."""
        return Net(self.setting, self.l)


class Index(NamedTuple):
    """The index of a layer as it is written: l, l+1, L−1, 2."""

    base: str
    shift: int = 0

    @classmethod
    def read(cls, text: str) -> Index | None:
        """The index that a text is; None where it is none."""
        parts = re.fullmatch(INDEX, text)
        if parts is None:
            return None
        shift = int((parts["shift"] or "0").replace("−", "-"))
        return cls(parts["base"]).plus(shift)

    def plus(self, shift: int) -> Index:
        """The index so many layers on."""
        if self.base in ("l", "L"):
            return Index(self.base, self.shift + shift)
        return Index(str(int(self.base) + shift))

    def of(self, at: Place) -> int:
        """The number of the layer that it means in one place."""
        base = {"l": at.l, "L": at.setting.L}.get(self.base)
        return self.shift + (int(self.base) if base is None else base)

    def __str__(self) -> str:
        if not self.shift:
            return self.base
        return f"{self.base}{'+' if self.shift > 0 else '−'}{abs(self.shift)}"

    @property
    def below(self) -> str:
        """As a subscript: l, {l+1}."""
        return f"{{{self}}}" if self.shift or len(self.base) > 1 else str(self)
