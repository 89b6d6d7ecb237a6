"""How a NumPy function behaves, whatever it computes: shape, dtype, purity, speed, warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quiet", "behaviour", "values", "warned"]

Function = Callable[[Any], Any]
Observation = Mapping[str, Any]
SLOW = 20.0  # times what the built-ins take
KEEPS_ROUNDING = 64  # ulps: NumPy's vectorised loops may round the last element another way


def _sample(domain: tuple[float, float], dtype: str, n: int = 257) -> NDArray[Any]:
    low, high = max(domain[0], -6.0), min(domain[1], 6.0)
    if low >= high:
        low, high = domain
    return np.linspace(low, high, n).astype(dtype)


def behaviour(f: Function, domain: tuple[float, float]) -> list[Observation]:
    """What is wrong with the form of what f returns: nothing, for most. Raises what f raises."""
    found: list[Observation] = []
    for dtype in ("float64", "float32"):
        x = _sample(domain, dtype)
        with Quiet():
            y = f(given := x.copy())
            if not np.array_equal(given, x):
                found.append({"kind": "mutates", "dtype": dtype, **_first(given, x, x)})
            if wrong := list(_form(y, x, dtype)):
                return found + wrong
            found += _purity(f, x, given, y, dtype)
    found += list(_speed(f, domain))
    return list({o["kind"]: o for o in reversed(found)}.values())[::-1]  # each kind once


class Quiet:
    """NumPy's and everybody's warnings, kept for later."""

    def __enter__(self) -> list[Any]:
        self.errors, self.kept = np.errstate(all="ignore"), warnings.catch_warnings(record=True)
        self.errors.__enter__()
        kept = self.kept.__enter__()
        warnings.simplefilter("always")
        return kept or []

    def __exit__(self, *exc: Any) -> None:
        self.kept.__exit__(*exc)
        self.errors.__exit__(*exc)


def _first(got: NDArray[Any], expected: NDArray[Any], x: NDArray[Any]) -> dict[str, Any]:
    """The first element that differs."""
    i = int(np.flatnonzero(~((got == expected) | ((got != got) & (expected != expected))))[0])
    return {
        "x": float(x.flat[i]),
        "got": f"{got.flat[i]:.17g}",
        "expected": f"{expected.flat[i]:.17g}",
    }


def _form(y: Any, x: NDArray[Any], dtype: str) -> Iterator[Observation]:
    """What keeps y from being compared at all."""
    if not isinstance(y, np.ndarray):
        yield {
            "kind": "not-an-array",
            "dtype": dtype,
            "got": type(y).__name__,
            "expected": "numpy.ndarray",
        }
    elif y.shape != x.shape:
        yield {"kind": "wrong-shape", "dtype": dtype, "got": str(y.shape), "expected": str(x.shape)}
    elif y.dtype.kind != "f":
        yield {"kind": "wrong-dtype", "dtype": dtype, "got": y.dtype.name, "expected": dtype}


def _purity(
    f: Function, x: NDArray[Any], given: NDArray[Any], y: NDArray[Any], dtype: str
) -> Iterator[Observation]:
    if y.dtype != x.dtype:
        kind = "promotes" if y.dtype.itemsize > x.dtype.itemsize else "demotes"
        yield {"kind": kind, "dtype": dtype, "got": y.dtype.name, "expected": dtype}
    if np.shares_memory(y, given):
        yield {
            "kind": "aliases",
            "dtype": dtype,
            "got": "x itself, or a view of it",
            "expected": "a new array",
        }
    y = y.copy()
    again = f(x.copy())
    if not np.array_equal(y, again, equal_nan=True):
        yield {"kind": "not-deterministic", "dtype": dtype, **_first(again, y, x)}
        return
    yield from _elementwise(f, x, y, dtype)


def _elementwise(
    f: Function, x: NDArray[Any], y: NDArray[Any], dtype: str
) -> Iterator[Observation]:
    """Whether an element's result is its own affair: in another order, alone, and in a matrix."""
    order = np.random.default_rng(20).permutation(len(x))
    trials = [
        (x[order], y[order]),
        (x[::2], y[::2]),
        (x[:1], y[:1]),
        (x[:256].reshape(32, 8), y[:256].reshape(32, 8)),
    ]
    for given, expected in trials:
        got = np.asarray(f(given.copy()))
        if got.shape != given.shape:
            yield {
                "kind": "wrong-shape",
                "dtype": dtype,
                "got": str(got.shape),
                "expected": str(given.shape),
            }
            return
        room = KEEPS_ROUNDING * np.finfo(x.dtype).eps * (np.abs(expected) + 1e-3)
        off = ~(
            (np.abs(got - expected) <= room)
            | (np.isnan(got) & np.isnan(expected))
            | (got == expected)
        )
        if off.any():
            i = int(np.flatnonzero(off)[0])
            yield {
                "kind": "not-elementwise", "dtype": dtype, "x": float(given.flat[i]),
                "got": f"{got.flat[i]:.17g}", "expected": f"{expected.flat[i]:.17g}",
            }  # fmt: skip
            return


def _speed(f: Function, domain: tuple[float, float]) -> Iterator[Observation]:
    """Against tanh, exp and log1p together, which is what the built-ins are made of."""
    x = np.resize(_sample(domain, "float64"), 20_000)

    def fastest(of: Function, times: int = 3) -> float:
        best = np.inf
        for _ in range(times):
            begun = time.perf_counter()
            of(x)
            best = min(best, time.perf_counter() - begun)
            if best > 1:
                break
        return float(best)

    with Quiet():
        usual = fastest(lambda a: a * np.tanh(np.log1p(np.exp(a))), 5)
        took = fastest(f)
        if took > SLOW * usual:
            took, usual = (
                min(took, fastest(f)),
                max(usual, fastest(lambda a: a * np.tanh(np.log1p(np.exp(a))))),
            )
    if took > SLOW * usual:
        yield {
            "kind": "slow", "dtype": "float64", "got": f"{took / usual:.0f} times a·tanh(log1p(exp(a)))",
            "expected": f"at most {SLOW:.0f} times",
        }  # fmt: skip


def values(f: Function, x: NDArray[Any]) -> NDArray[Any]:
    """f(x), with no warning shown. Raises what f raises."""
    with Quiet():
        return np.array(f(x.copy()))


def warned(f: Function, x: NDArray[Any]) -> list[Observation]:
    """The warnings that f gives, each once, with an x that it gives it at."""
    found: dict[str, Observation] = {}
    with warnings.catch_warnings(record=True) as kept, np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("always")
        f(x.copy())
    for w in kept:
        text = str(w.message)
        if text not in found:
            at = _where_warned(f, x, text)
            found[text] = {
                "kind": "warns",
                "got": f"{w.category.__name__}: {text}",
                "expected": "no warning",
                **at,
            }
    return list(found.values())


def _where_warned(f: Function, x: NDArray[Any], text: str) -> dict[str, Any]:
    """The x nearest 0 among halves that still warn."""
    x = x[np.argsort(np.abs(x), kind="stable")]
    low, high = 0, len(x)  # x[:low] does not warn, x[:high] does
    while high - low > 1:
        middle = (low + high) // 2
        with warnings.catch_warnings(record=True) as kept, np.errstate(all="warn", under="ignore"):
            warnings.simplefilter("always")
            f(x[:middle].copy())
        if any(str(w.message) == text for w in kept):
            high = middle
        else:
            low = middle
    return {"x": float(x[high - 1])}
