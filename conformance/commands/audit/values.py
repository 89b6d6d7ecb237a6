"""The right values by the names that an equation may claim to equal: `dL_dW_l`, `delta_{l-1}`, `loss`, …"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from conformance.commands.audit.places import INDEX, Index, Place
from conformance.commands.audit.right import Right

__all__ = ["COLUMNS", "NAMES", "ROWS", "Value", "index_of", "is_name", "value"]

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

LAYERED = (*ROWS, *COLUMNS, *JACOBIANS)
NAMES = ("loss", "W_new", *(f"{name}_l" for name in LAYERED))
"""What `equals` may be; `_l` may be `_L`, `_{l-1}`, `_{L-1}`, `_{l+1}` or a number instead."""

_PATTERN = re.compile(rf"(?P<quantity>{'|'.join(LAYERED)})_(?P<brace>\{{)?{INDEX}(?(brace)\}})")


class Value(NamedTuple):
    """A right value, and how it is written: δ_2. A new W_l is a step away from the W_l that it had been."""

    symbol: str
    right: Any
    old: Any = None


def is_name(name: object) -> bool:
    """Whether there is a right value of that name."""
    return isinstance(name, str) and (
        name in ("loss", "W_new") or _PATTERN.fullmatch(name) is not None
    )


def index_of(name: str) -> Index:
    """How it writes its layer; L, where it is about the whole network."""
    found = _PATTERN.fullmatch(name)
    index = found and Index.read(found["base"] + (found["shift"] or ""))
    return index or Index("L")


def value(name: str, at: Place) -> Value | None:
    """The right value in one network; None where there is no such layer."""
    right = at.net.right
    if name == "loss":
        return Value("L", right.loss)
    if name == "W_new":
        return Value("every new W", dict(right.W_new))
    found = _PATTERN.fullmatch(name)
    if found is None:
        raise KeyError(name)
    return _layered(right, found["quantity"], index_of(name).of(at))


def _layered(right: Right, quantity: str, l: int) -> Value | None:
    if quantity in JACOBIANS:
        name = JACOBIANS[quantity].replace("{l−1}", str(l - 1)).replace("{l}", str(l))
        return _pick(name, getattr(right, quantity), l)
    source, symbol = COLUMNS.get(quantity) or (quantity, ROWS[quantity])
    found = _pick(f"{symbol}_{l}", getattr(right, source), l)
    if found and source == "W_new":
        found = found._replace(old=right.W[l])
    return found._replace(**_transposed(found)) if found and quantity in COLUMNS else found


def _transposed(of: Value) -> dict[str, Any]:
    return {"right": of.right.T, "old": None if of.old is None else of.old.T}


def _pick(symbol: str, layers: Mapping[int, Any], l: int) -> Value | None:
    """Layer l, where there is one; a derivative of one number drops that number's index."""
    if l not in layers:
        return None
    M = layers[l]
    return Value(symbol, M[0] if M.ndim == 3 and len(M) == 1 else M)
