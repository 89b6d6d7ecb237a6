"""A network and a trace as small HTML tables, for a notebook; every name is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from refbp.types import Array

__all__ = ["network_table", "trace_table"]


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _name(of: Any) -> str:
    """The name of a σ or a loss; for a constant unit, the name of the σ in it, with "| 1"."""
    inner: Any = getattr(of, "sigma", None)
    if not hasattr(of, "name") and hasattr(inner, "name"):
        return f"{inner.name} | 1"
    return str(getattr(of, "name", type(of).__name__))


def _shape(M: Any) -> str:
    return "×".join(map(str, np.shape(M)))


def _number(x: Any, digits: int = 4) -> str:
    """A number as text; a symbol unchanged."""
    try:
        return f"{float(x):.{digits}g}"
    except (TypeError, ValueError):
        return str(x)


def _range(M: Array) -> str:
    """The smallest and the largest entry, or the only one; "" for an empty matrix or one of symbols."""
    if not np.size(M) or np.asarray(M).dtype == object:
        return ""
    low, high = _number(np.min(M)), _number(np.max(M))
    return low if low == high else f"{low} … {high}"


def network_table(W: Mapping[int, Array], sigma: Mapping[int, Any], loss: Any) -> str:
    """One row for each layer: σ_l, and the shape and range of W_l."""
    rows = [(str(l), _name(sigma.get(l)), _shape(W[l]), _range(W[l])) for l in W]
    return _table(f"Network, loss: {_name(loss)}", ("l", "σ_l", "W_l is", "from … to"), rows)


def trace_table(layers: Mapping[str, Mapping[int, Array]], loss: Any) -> str:
    """One row for each quantity and layer: its shape and range; the numbers stay in the trace."""
    rows = [
        (f"{name}[{l}]", _shape(M), _range(M)) for name, of in layers.items() for l, M in of.items()
    ]
    return _table(f"Trace, loss {_number(loss, 6)}", ("", "is", "from … to"), rows)
