"""The right values by the names that an equation may claim to equal: `dL_dW_l`, `delta_{l-1}`, `loss`, …"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from conformance.commands.audit.methods import METHODS
from conformance.commands.audit.places import INDEX, Index, Place
from conformance.commands.audit.right import Matrix, Right

__all__ = ["COLUMNS", "NAMES", "ROWS", "Quantity", "Value", "index_of", "is_name", "value"]

ROWS = {
    "A": "A",
    "Z": "Z",
    "delta": "δ",
    "dL_dZ": "∂L/∂Z",
    "dL_dW": "∂L/∂W",
    "dL_db": "∂L/∂b",
    "W_new": "new W",
}
"""An example a row, as in the procedures, and how they are written."""

COLUMNS = {
    "a": ("A", "a"),
    "z": ("Z", "z"),
    "link": ("delta", "∂L/∂a"),
    "dL_dz": ("dL_dZ", "∂L/∂z"),
    "dL_dw": ("dL_dW", "∂L/∂W"),
    "w_new": ("W_new", "new W"),
}
"""An example a column, as in Steps 0 to 2c: the transposed."""

JACOBIANS = {
    "da_da": "∂a_{l}/∂a_{l−1}",
    "da_dz": "∂a_{l}/∂z_{l−1}",
    "dz_da": "∂z_{l}/∂a_{l}",
    "da_dW": "∂a_{l}/∂W_{l}",
}
"""For one example, n = 1."""

OF_METHODS = {name: s for m in METHODS.values() for name, s in m.gives.items() if name != "J"}
"""What is there where the equation declares the method that has it; an example a row."""

LAYERED = (*ROWS, *COLUMNS, *JACOBIANS, *OF_METHODS)
NAMES = ("loss", "J", "W_new", *(f"{name}_l" for name in LAYERED))
"""What `equals` may be; `_l` may be `_L`, `_{l-1}`, `_{L-1}`, `_{l+1}` or a number instead."""

_PATTERN = re.compile(rf"(?P<quantity>{'|'.join(LAYERED)})_(?P<brace>\{{)?{INDEX}(?(brace)\}})")


Quantity: TypeAlias = Matrix | list[int] | Mapping[str, Matrix] | Mapping[int, Matrix]
"""A matrix, a vector or a number; shapes or layers; or several matrices by name or layer."""


class Value(NamedTuple):
    """A right value, and how it is written: δ_2. `old` is the W_l from which a new W_l is a step away.

    It is `quantity` of layer `l` in `Right`, or the transposed where an example is a column.
    """

    symbol: str
    right: Quantity
    old: Matrix | None = None
    quantity: str = ""
    l: int = 0
    columns: bool = False


def is_name(name: object) -> bool:
    """Whether there is a right value of that name."""
    return isinstance(name, str) and (
        name in ("loss", "J", "W_new") or _PATTERN.fullmatch(name) is not None
    )


def index_of(name: str) -> Index:
    """How it writes its layer; L, where it is about the whole network."""
    parts = _PATTERN.fullmatch(name)
    index = parts and Index.read(parts["base"] + (parts["shift"] or ""))
    return index or Index("L")


def value(name: str, at: Place) -> Value | None:
    """The right value in one network; None where there is no such layer."""
    right = at.net.right
    if name in ("loss", "J"):
        number = getattr(right, name, None)
        return (
            None if number is None else Value("L" if name == "loss" else "J", number, quantity=name)
        )
    if name == "W_new":
        return Value("every new W", dict(right.W_new))
    parts = _PATTERN.fullmatch(name)
    if parts is None:
        raise KeyError(name)
    return _layered(right, parts["quantity"], index_of(name).of(at))


def _layered(right: Right, quantity: str, l: int) -> Value | None:
    if quantity in JACOBIANS:
        symbol = JACOBIANS[quantity].replace("{l−1}", str(l - 1)).replace("{l}", str(l))
        M = getattr(right, quantity).get(l)
        # of one number, its own index is dropped: ∂a_l/∂W_l is then as large as W_l
        M = M[0] if M is not None and M.ndim == 3 and len(M) == 1 else M
        return None if M is None else Value(symbol, M, quantity=quantity, l=l)
    source, symbol = COLUMNS.get(quantity) or (quantity, {**ROWS, **OF_METHODS}[quantity])
    M = getattr(right, source, {}).get(l)
    if M is None:
        return None
    old = right.W[l] if source == "W_new" else None
    columns = quantity in COLUMNS
    if columns:
        M, old = M.T, None if old is None else old.T
    return Value(f"{symbol}_{l}", M, old, source, l, columns)
