"""How a NumPy function behaves, whatever it computes: shape, dtype, purity, speed, warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quiet", "behaviour", "values", "warned"]

Function = Callable[[Any], Any]
Observation = Mapping[str, Any]
ELEMENTS = (100, 300)  # numbers of them: what more of them take is counted
KEEPS_ROUNDING = 64  # ulps: NumPy's loops may round another way at the end, strided, or in bulk

# The same numbers arranged in other ways. Each takes a copy, for copying a view would lose its strides.
ARRANGED: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "in another order": lambda a: a[np.random.default_rng(20).permutation(len(a))],
    "in a strided view": lambda a: a[::2],
    "alone": lambda a: a[:1],
    "in a matrix": lambda a: a[:256].reshape(32, 8),
    "in a square matrix": lambda a: a[:256].reshape(16, 16),  # a transpose keeps its shape
    "in a transposed matrix": lambda a: a[:256].reshape(32, 8).T,  # in Fortran's order
    "in 3 dimensions": lambda a: a[:216].reshape(6, 6, 6),
    "among 20,000": lambda a: np.resize(a, 20_000),
}


def _sample(domain: tuple[float, float], dtype: str, n: int = 257) -> NDArray[Any]:
    low, high = max(domain[0], -6.0), min(domain[1], 6.0)
    if low >= high:
        low, high = domain
    with np.errstate(over="ignore"):
        return np.linspace(low, high, n).astype(dtype)


def behaviour(f: Function, domain: tuple[float, float]) -> list[Observation]:
    """What is wrong with the form of what f returns: nothing, for most. Raises what f raises."""
    found: list[Observation] = []
    for dtype in ("float64", "float32"):
        x = _sample(domain, dtype)
        if not np.isfinite(x).all():  # a domain beyond float32
            continue
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
    if y.dtype.name != x.dtype.name:  # whatever the byte order
        kind = "promotes" if y.dtype.itemsize > x.dtype.itemsize else "demotes"
        yield {"kind": kind, "dtype": dtype, "got": y.dtype.name, "expected": dtype}
    if np.shares_memory(y, given):
        yield {
            "kind": "aliases",
            "dtype": dtype,
            "got": "x itself, or a view of it",
            "expected": "a new array",
        }
    first = y.copy()
    again = f(x.copy())
    if not np.array_equal(first, again, equal_nan=True):
        yield {"kind": "not-deterministic", "dtype": dtype, **_first(again, first, x)}
        return
    yield from _elementwise(f, x, first, dtype)
    if not np.array_equal(first, y, equal_nan=True):  # by the calls since, on other numbers
        yield {"kind": "reuses-buffer", "dtype": dtype, **_first(y, first, x)}
    yield from _odd(f, x, first, dtype)


def _trials(x: NDArray[Any], y: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """The same numbers otherwise arranged, with what is to come out; and with a NaN among them."""
    for how, arranged in ARRANGED.items():
        yield how, arranged(x.copy()), arranged(y)
    given, expected = x.copy(), y.copy()
    given[len(x) // 2] = expected[len(x) // 2] = np.nan
    yield "beside a NaN", given, expected


def _elementwise(
    f: Function, x: NDArray[Any], y: NDArray[Any], dtype: str
) -> Iterator[Observation]:
    """Whether an element's result is its own affair, wherever and beside whatever it stands."""
    for how, given, expected in _trials(x, y):
        own = np.isnan(given)  # what becomes of the NaN itself is asked elsewhere
        got = np.asarray(f(given))
        if got.shape != given.shape:
            yield {
                "kind": "wrong-shape",
                "dtype": dtype,
                "got": str(got.shape),
                "expected": str(given.shape),
            }
            return
        off = _off(got, expected, x.dtype) & ~own
        if off.any():
            i = int(np.flatnonzero(off)[0])
            yield {
                "kind": "not-elementwise", "dtype": dtype, "x": float(given.flat[i]),
                "got": f"{got.flat[i]:.17g} {how}", "expected": f"{expected.flat[i]:.17g}",
            }  # fmt: skip
            return


def _off(got: NDArray[Any], expected: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Where they differ by more than rounding, of terms as large as 1, explains."""
    room = KEEPS_ROUNDING * np.finfo(dtype).eps * (np.abs(expected) + 1)
    same = (np.abs(got - expected) <= room) | (got == expected)
    return np.asarray(~(same | (np.isnan(got) & np.isnan(expected))))


def _odd(f: Function, x: NDArray[Any], y: NDArray[Any], dtype: str) -> Iterator[Observation]:
    """Empty and 0-d arrays: few need them, so what goes wrong is a warning, and never raised."""
    at = 100
    for which, given, expected in (("empty", x[:0].copy(), y[:0]), ("0-d", np.array(x[at]), y[at])):
        try:
            got = np.asarray(f(given), np.float64)
            if got.shape == np.shape(expected) and not _off(got, expected, x.dtype).any():
                continue
            what = str(got) if got.shape == () == np.shape(expected) else f"shape {got.shape}"
        except (Exception, SystemExit) as e:
            what = f"{type(e).__name__}: {e}"
        yield {
            "kind": "odd-arrays", "dtype": dtype, "got": f"{what} (of an array that is {which})",
            "expected": f"{expected:.17g}" if which == "0-d" else "an empty array",
        }  # fmt: skip


def _speed(f: Function, domain: tuple[float, float]) -> Iterator[Observation]:
    """Whether Python is interpreted for each element: its steps are counted, for a time would be no fact."""
    few, many = (_steps(f, np.resize(_sample(domain, "float64"), n)) for n in ELEMENTS)
    each = (many - few) / (ELEMENTS[1] - ELEMENTS[0])
    if each >= 1:
        yield {
            "kind": "slow", "dtype": "float64", "got": f"{each:.0f} steps of Python for each element",
            "expected": "as many for any number of them",
        }  # fmt: skip


def _steps(f: Function, x: NDArray[Any]) -> int:
    """How many instructions of Python f runs on x."""
    count = 0

    def step(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return step

    before = sys.gettrace()
    with Quiet():
        sys.settrace(step)
        try:
            f(x)
        finally:
            sys.settrace(before)
    return count


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
