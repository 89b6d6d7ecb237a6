"""Data that finds mistakes: families of inputs for any shapes, and of cotangents, each with what it finds.

Inputs are specified as `x=16x32, g=32, ids=16:int<100, mask=16x16:bool, p=8:positive`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.tools.trouble import RefusedError
from conformance.truth.rounding import ROUNDED

__all__ = [
    "COTANGENTS",
    "FAMILIES",
    "Asked",
    "Family",
    "InputsError",
    "cotangents",
    "made",
    "read_inputs",
    "text_of",
]

Reals = NDArray[np.float64]
LARGEST = 2**22  # numbers in all inputs together: with more, a verdict takes too long


class InputsError(RefusedError):
    """Inputs that cannot be made: what was written, and what is expected."""


class Asked(NamedTuple):
    """The specification of one input: its shape, and the kind of its numbers."""

    shape: tuple[int, ...]
    kind: str = "real"  # or "positive", "unit" (0 to 1), "rows" (positive, each row sums to 1), "bool", "int"
    below: int = 0  # whole numbers are below this
    # its first axis is the batch, and its other sizes do not follow those of other inputs
    batched: bool = False

    def sized(self, sizes: Mapping[int, int]) -> Asked:
        """The same input with other sizes."""
        return self._replace(
            shape=tuple(
                n if self.batched and i else sizes.get(n, n) for i, n in enumerate(self.shape)
            )
        )


_PART = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<shape>\d+(?:x\d+)*|scalar)\s*"
    r"(?::\s*(?:(?P<kind>real|positive|unit|rows|bool)|int\s*<\s*(?P<below>\d+)))?\s*"
)


def read_inputs(text: str) -> dict[str, Asked]:
    """The inputs that a text specifies, by name. Raises InputsError."""
    found: dict[str, Asked] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputsError(
                f"cannot read the input {part.strip()!r}; expected NAME=SHAPE, such as x=16x32, s=scalar, "
                "p=8:positive (or unit, rows, bool), ids=16:int<100."
            )
        name, shape, below = match["name"], match["shape"], match["below"]
        if name in found:
            raise InputsError(f"the input {name} is asked for twice.")
        sizes = () if shape == "scalar" else tuple(map(int, shape.split("x")))
        if below is not None and int(below) == 0:
            raise InputsError(
                f"the input {name} has whole numbers below 0; expected int<1 or more."
            )
        found[name] = Asked(sizes, "int" if below else match["kind"] or "real", int(below or 0))
    if sum(int(np.prod(a.shape)) for a in found.values()) > LARGEST:
        raise InputsError(
            f"the inputs have more than {LARGEST:,} numbers; expected smaller shapes."
        )
    return found


def text_of(a: Asked) -> str:
    """The text that `read_inputs` reads: "16x32", "16:int<100"."""
    kind = "" if a.kind == "real" else f":{a.kind}" + (f"<{a.below}" if a.below else "")
    return ("x".join(map(str, a.shape)) or "scalar") + kind


# --- families -------------------------------------------------------------------------------------


class Family(NamedTuple):
    """A kind of data.

    name   what it is called
    why    what it finds
    make   (rng, shape) -> reals
    sizes  other sizes for some axes, from those asked for; None where there are none
    """

    name: str
    why: str
    make: Callable[[np.random.Generator, tuple[int, ...]], Reals]
    sizes: Callable[[Mapping[str, Asked]], dict[int, int] | None] = lambda asked: {}


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    return rng.standard_normal(shape)


def _repeated(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    M = rng.standard_normal(shape)
    return np.broadcast_to(M[:1], shape).copy() if M.ndim > 1 else M


def _one_hot(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    M = np.zeros(shape)
    if M.ndim:
        at = rng.integers(0, shape[-1], shape[:-1]) if shape[-1] else None
        if at is not None:
            np.put_along_axis(M, np.asarray(at)[..., None], 1.0, axis=-1)
    return M


def _scaled_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    M = rng.standard_normal(shape)
    return M * 10.0 ** rng.integers(-3, 4, (*shape[:-1], 1)) if M.ndim else M


def _few_values(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    return rng.integers(-2, 3, shape).astype(float)


def _renamed(to: int, last: bool = False) -> Callable[[Mapping[str, Asked]], dict[int, int] | None]:
    """Replaces the batch size, or the width, in every shape where it occurs. Does not apply (None) if it has
    that size already, or if the two are equal."""

    def sizes(asked: Mapping[str, Asked]) -> dict[int, int] | None:
        first = next((a.shape for a in asked.values() if len(a.shape) > 1), None)
        if first is None or first[0] == first[-1]:
            return None
        old = first[-1] if last else first[0]
        return None if old == to or any(a.below == old for a in asked.values()) else {old: to}

    return sizes


FAMILIES: tuple[Family, ...] = (
    Family("ordinary", "normal numbers: whatever is wrong everywhere", _normal),
    Family(
        "large",
        "a variance of 10,000: saturation, and what overflows",
        lambda r, s: 100 * _normal(r, s),
    ),
    Family(
        "small",
        "numbers near 0.001: a constant such as ε that was forgotten",
        lambda r, s: 1e-3 * _normal(r, s),
    ),
    Family("repeated", "all rows the same: sums of equal terms, and ties", _repeated),
    Family("one-hot", "one number of each row is 1: zeros beside it", _one_hot),
    Family("zeros", "0 everywhere: 0/0, and the derivative at 0", lambda r, s: np.zeros(s)),
    Family("ties", "five whole numbers: equal numbers at a maximum, and kinks", _few_values),
    Family(
        "saturated", "ten times as wide: tails of exponentials", lambda r, s: 10 * _normal(r, s)
    ),
    Family("ill-scaled", "each row at its own scale, 0.001 to 1,000", _scaled_rows),
    Family(
        "batch-1",
        "one row: what is averaged over it, and axes that are dropped",
        _normal,
        _renamed(1),
    ),
    Family("rows-of-one", "one number in each row", _normal, _renamed(1, last=True)),
    Family("tile-65", "65 rows: beside a tile of 64", _normal, _renamed(65)),
    Family("tile-129", "129 in a row: beside a tile of 128", _normal, _renamed(129, last=True)),
)


def made(
    asked: Mapping[str, Asked], family: Family, dtype: str, seed: int = 0
) -> dict[str, NDArray[Any]] | None:
    """The inputs of a family; floats are float64 arrays of numbers that the dtype can represent. None if the
    family does not apply to these shapes."""
    sizes = family.sizes(asked)
    if sizes is None:
        return None
    found: dict[str, NDArray[Any]] = {}
    for name, a in asked.items():
        rng = np.random.default_rng(
            [seed, zlib.crc32(family.name.encode()), zlib.crc32(name.encode())]
        )
        shape = a.sized(sizes).shape
        if a.kind == "int":
            found[name] = rng.integers(0, a.below, shape)
        elif a.kind == "bool":
            found[name] = rng.random(shape) < 0.5
        else:
            found[name] = ROUNDED[dtype](_of_kind(a.kind, np.asarray(family.make(rng, shape)), rng))
    return found


def _of_kind(kind: str, M: Reals, rng: np.random.Generator) -> Reals:
    if kind == "positive":
        return np.abs(M) + np.where(M == 0, 2.0**-10, 0.0)
    if kind == "unit":
        return 1 / (1 + np.exp(-M))
    if kind == "rows":
        e = np.exp(M - M.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True))
    return M


COTANGENTS: Mapping[str, str] = {
    "random": "normal numbers",
    "ones": "1 everywhere: the gradient of a sum, in which much cancels",
    "one-hot": "one output alone: what does not depend on it must be 0",
    "zero": "0 everywhere: every gradient is 0",
}


def cotangents(
    outputs: Mapping[str, tuple[int, ...]], kind: str, dtype: str, seed: int = 0
) -> dict[str, Reals]:
    """A cotangent for each output, of its shape."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    found: dict[str, Reals] = {}
    for name, shape in outputs.items():
        c = (
            rng.standard_normal(shape)
            if kind == "random"
            else np.full(shape, float(kind == "ones"))
        )
        if kind == "one-hot" and c.size:
            c.reshape(-1)[rng.integers(0, c.size)] = 1.0
        found[name] = ROUNDED[dtype](np.asarray(c))
    return found
