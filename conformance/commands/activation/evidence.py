"""What a worker found out about a function, as JSON: arrays of floats as their bytes, nothing pickled."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.branches import Branch, Side
from conformance.commands.activation.curve import Curve
from conformance.truth.balls import Enclosure

__all__ = ["array", "branch", "curve", "packed", "packed_branch", "packed_curve"]

DTYPES = ("float64", "float32")


def packed(a: NDArray[Any]) -> dict[str, Any]:
    """A float array as its dtype and bytes."""
    a = np.ascontiguousarray(a)
    a = a.astype(a.dtype.newbyteorder("<") if a.dtype.name in DTYPES else "<f8")
    return {"dtype": a.dtype.name, "data": base64.b64encode(a.tobytes()).decode()}


def array(found: Any) -> NDArray[Any]:
    """The array again. Raises ValueError for anything else."""
    if not isinstance(found, dict) or found.get("dtype") not in DTYPES:
        raise ValueError("expected an array")
    return np.frombuffer(base64.b64decode(found["data"]), found["dtype"])


def packed_curve(c: Curve) -> dict[str, Any]:
    """A curve as arrays."""
    parts = {
        "v": c.value.hi, "vl": c.value.lo, "vr": c.value.rad,
        "d": c.first.hi, "dl": c.first.lo, "dr": c.first.rad,
        "h": c.second, "e": c.e, "k": c.k, "s": c.s, "k1": c.k1, "known": c.known.astype(float),
    }  # fmt: skip
    return {name: packed(a) for name, a in parts.items()}


def curve(found: Any) -> Curve:
    """The curve again."""
    p = {name: array(a) for name, a in found.items()}
    value, first = Enclosure(p["v"], p["vl"], p["vr"]), Enclosure(p["d"], p["dl"], p["dr"])
    return Curve(value, first, p["h"], p["e"], p["k"], p["s"], p["k1"], p["known"] != 0)


_SIDE = ("value", "first", "second")


def packed_branch(b: Branch) -> dict[str, Any]:
    """A branch point."""
    sides = [getattr(side, name).hex() for side in (b.left, b.right) for name in _SIDE]
    return {
        "at": b.at.hex(), "exact": b.exact, "reach": b.reach.hex(), "kind": b.kind,
        "sides": sides, "value": b.value.hex(),
    }  # fmt: skip


def branch(found: Any) -> Branch:
    """The branch point again."""
    s = [float.fromhex(x) for x in found["sides"]]
    return Branch(
        float.fromhex(found["at"]), bool(found["exact"]), float.fromhex(found["reach"]), str(found["kind"]),
        Side(*s[:3]), Side(*s[3:]), float.fromhex(found["value"]),
    )  # fmt: skip
