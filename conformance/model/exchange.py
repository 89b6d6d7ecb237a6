"""Problems and traces as JSON, for programs in any language: every number is a hexadecimal float.

A problem is one object, a trace another; docs/vectors.md and schema/ describe both. Layers are lists: the
first entry is layer 1. Numbers are written as C's %a and Python's float.hex write them, which is exact. A
JSON number is read too, as the float nearest to it. A decimal in a string is refused: "1.5" might be meant in
either base.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.model.problem import QUANTITIES, Floats, Problem, Trace

__all__ = [
    "VERSION",
    "ExchangeError",
    "hexed",
    "line",
    "problem_from",
    "problem_json",
    "read_line",
    "trace_from",
    "trace_json",
]

VERSION = 1
"""The version of problems and answers, as docs/vectors.md describes them."""

Json = dict[str, Any]
DTYPES = ("float64", "float32")
HEXADECIMAL = re.compile(
    r"[+-]?(0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?[0-9]+)?|inf|infinity|nan)", re.I | re.A
)


class ExchangeError(ValueError):
    """The value is not a problem or not a trace: what was got, what was expected, and where."""


def hexed(M: Any) -> Any:
    """A number, or nested lists of them, in hexadecimal: "0x1.8p+1", "nan", "inf", "-inf"."""
    if isinstance(M, list):
        return [hexed(x) for x in M]
    return M.hex() if isinstance(M, float) else hexed(np.asarray(M, np.float64).tolist())


def _layers(of: Mapping[int, Floats]) -> list[Any]:
    return [hexed(of[l]) for l in sorted(of)]


def problem_json(p: Problem, id: str = "") -> Json:
    """A problem as the object that a program is given."""
    return {
        "id": id,
        "dtype": p.dtype.name,
        "sigma": [p.sigma[l] for l in sorted(p.sigma)],
        "loss": p.loss,
        "bias": p.bias,
        "alpha": hexed(p.alpha),
        "W": _layers(p.W),
        "X": hexed(p.X),
        "Y": hexed(p.Y),
    }


def trace_json(t: Trace) -> Json:
    """A trace as an object, without the quantities that the trace leaves out."""
    found: Json = {q: _layers(t.layers(q)) for q in QUANTITIES if t.layers(q)}
    return found if t.loss is None else {**found, "loss": hexed(float(t.loss))}


def problem_from(said: Any) -> Problem:
    """A problem from its object. Raises ExchangeError."""
    if not isinstance(said, dict):
        raise ExchangeError(f"the problem is a {type(said).__name__}; expected an object.")
    try:
        dtype = np.dtype(_one_of(said["dtype"], DTYPES, "dtype"))
        W, sigma = _listed(said["W"], "W"), _listed(said["sigma"], "sigma")
        p = Problem(
            W={l: _matrix(M, dtype, f"W_{l}") for l, M in enumerate(W, start=1)},
            X=_matrix(said["X"], dtype, "X"),
            Y=_matrix(said["Y"], dtype, "Y"),
            sigma={l: _text(s, f"sigma_{l}") for l, s in enumerate(sigma, start=1)},
            loss=_text(said["loss"], "loss"),
            bias=_one_of(said["bias"], (True, False), "bias"),
            alpha=_number(said["alpha"], "alpha"),
        )
    except KeyError as e:
        raise ExchangeError(f"the problem has no {e.args[0]!r}.") from e
    _fits(p)
    return p


def _fits(p: Problem) -> None:
    """Check that the shapes fit, layer by layer, from X to Y. Raises ExchangeError."""
    n, width = p.X.shape
    if len(p.sigma) != p.depth:
        raise ExchangeError(f"sigma has {len(p.sigma)} entries; expected {p.depth}, as W has.")
    for l, M in p.W.items():
        if M.shape[0] != width + p.bias:
            expected = f"{width + p.bias}, the width before it{' and the bias' if p.bias else ''}"
            raise ExchangeError(f"W_{l} has {M.shape[0]} rows; expected {expected}.")
        width = M.shape[1]
    if p.Y.shape != (n, width):
        raise ExchangeError(f"Y has shape {p.Y.shape}; expected {(n, width)}.")


def _one_of(x: Any, among: tuple[Any, ...], where: str) -> Any:
    if type(x) is not type(among[0]) or x not in among:
        named = " or ".join(json.dumps(a) for a in among)
        raise ExchangeError(f"{where} is {_shown(x)}; expected {named}.")
    return x


def _listed(x: Any, where: str) -> list[Any]:
    if not isinstance(x, list) or not x:
        raise ExchangeError(f"{where} is {_shown(x)}; expected a list, an entry for each layer.")
    return x


def _text(x: Any, where: str) -> str:
    if not isinstance(x, str):
        raise ExchangeError(f"{where} is {_shown(x)}; expected a name.")
    return x


def _shown(x: Any) -> str:
    return json.dumps(x)[:60]


BESIDE = ("loss", "id", "version")


def trace_from(said: Any, p: Problem) -> Trace:
    """A trace from what a program answered. Raises ExchangeError."""
    if not isinstance(said, dict):
        raise ExchangeError(f"the answer is a {type(said).__name__}; expected an object.")
    if extra := sorted(set(said) - {*QUANTITIES, *BESIDE}):
        known = ", ".join((*QUANTITIES, *BESIDE))
        raise ExchangeError(f"the answer has {extra[0]!r}; expected of {known} what there is.")
    if said.get("version", VERSION) != VERSION:
        raise ExchangeError(
            f"the answer is of version {_shown(said['version'])}; expected {VERSION}."
        )
    layers: dict[str, dict[int, Floats]] = {}
    for q in QUANTITIES:
        if said.get(q) is None:
            continue
        if not isinstance(said[q], list) or len(said[q]) != p.depth:
            got = f"{len(said[q])} entries" if isinstance(said[q], list) else "no list"
            raise ExchangeError(
                f"{q} has {got}; expected {p.depth}, for the layers 1 to {p.depth}."
            )
        layers[q] = {l: _matrix(M, p.dtype, f"{q}_{l}") for l, M in enumerate(said[q], start=1)}
    loss = said.get("loss")
    return Trace(
        **layers,
        loss=None if loss is None else _float(np.asarray(_number(loss, "loss")), p.dtype, "loss"),
    )


def _number(x: Any, where: str) -> float:
    """A float from a hexadecimal string, "nan", "inf" or "-inf", or a JSON number."""
    try:
        if isinstance(x, str) and HEXADECIMAL.fullmatch(x):
            return float.fromhex(x)
        if isinstance(x, (int, float)) and not isinstance(x, bool):
            return float(x)
    except (ValueError, OverflowError):  # too large for a float: refused below
        pass
    raise ExchangeError(f'{where} is {_shown(x)}; expected a hexadecimal float such as "0x1.8p+1".')


def _matrix(rows: Any, dtype: np.dtype[Any], where: str) -> Floats:
    """A matrix from its rows."""
    if not isinstance(rows, list) or not all(isinstance(r, list) for r in rows) or not rows:
        raise ExchangeError(f"{where} is no list of rows; expected [[…], …], a list for each row.")
    if len({len(r) for r in rows}) > 1 or not rows[0]:
        lengths = sorted({len(r) for r in rows})
        raise ExchangeError(f"{where} has rows of {lengths} numbers; expected rows of one length.")
    numbers = [
        [_number(x, f"{where}[{i}, {j}]") for j, x in enumerate(r)] for i, r in enumerate(rows)
    ]
    return _float(np.array(numbers), dtype, where)


def _float(M: Floats, dtype: np.dtype[Any], where: str) -> Floats:
    """The numbers in their dtype. Raises ExchangeError if the dtype cannot represent one of them."""
    with np.errstate(over="ignore"):
        cast = M.astype(dtype)
    lost = (cast != M) & ~np.isnan(M)
    if lost.any():
        at = tuple(int(i) for i in np.argwhere(lost)[0])
        x = float(M[at])
        place = f"{where}[{', '.join(map(str, at))}]" if at else where
        raise ExchangeError(f"{place} is {x.hex()}, {x!r}; expected a number of {dtype}.")
    return cast


def line(said: Json) -> str:
    """One object as one line of JSON."""
    return json.dumps(said, allow_nan=False, separators=(",", ":")) + "\n"


def read_line(text: str) -> Any:
    """The object in one line of JSON. Raises ExchangeError."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise ExchangeError(f"{text.strip()[:60]!r} is no line of JSON ({e}).") from e


def _no_constant(name: str) -> float:
    return math.nan if name == "NaN" else math.copysign(math.inf, -1 if name[0] == "-" else 1)
