"""How a NumPy function behaves, whatever it computes: shape, dtype, purity, speed, warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.lifted import Function
from conformance.model.problem import Floats

__all__ = ["Observation", "behaviour", "quiet", "values", "warned"]

ELEMENTS = (100, 300)  # sizes of array: `_speed` counts the steps that the larger one adds
# ulps: NumPy's loops may round differently at an array's end, in strides, or in bulk
KEEPS_ROUNDING = 64

# The same numbers in other arrangements. Each takes a copy: copying a view would lose its strides.
ARRANGED: Mapping[str, Callable[[Floats], Floats]] = {
    "in another order": lambda a: a[np.random.default_rng(20).permutation(len(a))],
    "in a strided view": lambda a: a[::2],
    "alone": lambda a: a[:1],
    "in a matrix": lambda a: a[:256].reshape(32, 8),
    "in a square matrix": lambda a: a[:256].reshape(16, 16),  # a transpose keeps its shape
    "in a transposed matrix": lambda a: a[:256].reshape(32, 8).T,  # in Fortran's order
    "in 3 dimensions": lambda a: a[:216].reshape(6, 6, 6),
    "among 20,000": lambda a: np.resize(a, 20_000),
}


@dataclass(frozen=True)
class Observation:
    """One thing that is wrong with a function's results; `kind` is a name in findings.KINDS."""

    kind: str
    dtype: str
    got: str
    expected: str
    x: float | None = None


def _sample(domain: tuple[float, float], dtype: str, n: int = 257) -> Floats:
    """n points of the domain; of its part within ±6, if it has one."""
    low, high = max(domain[0], -6.0), min(domain[1], 6.0)
    if low >= high:
        low, high = domain
    with np.errstate(over="ignore"):
        return np.linspace(low, high, n).astype(dtype)


def behaviour(f: Function, domain: tuple[float, float], dtype: str = "") -> list[Observation]:
    """What is wrong with the form of f's results, in every dtype or in one; for most functions nothing.

    Raises what f raises.
    """
    found: list[Observation] = []
    dtypes = (dtype,) if dtype else ("float64", "float32")
    for dtype in dtypes:
        x = _sample(domain, dtype)
        if not np.isfinite(x).all():  # a domain beyond float32
            continue
        with quiet():
            y = f(given := x.copy())
            if not np.array_equal(given, x):
                found.append(_first_difference("mutates", dtype, given, x, x))
            if wrong := _form(y, x, dtype):
                return [*found, wrong]
            if y.dtype.kind in "iu":
                found.append(Observation("whole-numbers", dtype, y.dtype.name, dtype))
                y = y.astype(dtype)
            found += _purity(f, x, given, y, dtype)
    found += _speed(f, domain, dtypes[0])
    return list({o.kind: o for o in reversed(found)}.values())[::-1]  # the first of each kind


@contextmanager
def quiet() -> Iterator[None]:
    """Within, no warning is shown, neither NumPy's nor another library's."""
    with np.errstate(all="ignore"), warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        yield


def _first_difference(
    kind: str, dtype: str, got: Floats, expected: Floats, x: Floats
) -> Observation:
    """An observation at the first element in which the two arrays differ."""
    i = int(np.flatnonzero(~((got == expected) | ((got != got) & (expected != expected))))[0])
    numbers = f"{got.flat[i]:.17g}", f"{expected.flat[i]:.17g}"
    return Observation(kind, dtype, *numbers, x=float(x.flat[i]))


def _form(y: object, x: Floats, dtype: str) -> Observation | None:
    """What makes it impossible to compare y with anything; None if nothing does."""
    if not isinstance(y, np.ndarray):
        return Observation("not-an-array", dtype, type(y).__name__, "numpy.ndarray")
    if y.shape != x.shape:
        return Observation("wrong-shape", dtype, str(y.shape), str(x.shape))
    if y.dtype.kind not in "fiu":
        return Observation("wrong-dtype", dtype, y.dtype.name, dtype)
    return None


def _purity(f: Function, x: Floats, given: Floats, y: Floats, dtype: str) -> Iterator[Observation]:
    """Whether y, which f returned for `given`, is a new array that depends on the numbers of x alone."""
    if y.dtype.name != x.dtype.name:  # by name: the byte order does not matter
        kind = "promotes" if y.dtype.itemsize > x.dtype.itemsize else "demotes"
        yield Observation(kind, dtype, y.dtype.name, dtype)
    if np.shares_memory(y, given):
        yield Observation("aliases", dtype, "x itself, or a view of it", "a new array")
    first = y.copy()
    again = f(x.copy())
    if not np.array_equal(first, again, equal_nan=True):
        yield _first_difference("not-deterministic", dtype, again, first, x)
        return
    yield from _elementwise(f, x, first, dtype)
    if not np.array_equal(first, y, equal_nan=True):  # changed by the calls since, on other numbers
        yield _first_difference("reuses-buffer", dtype, y, first, x)
    yield from _odd_arrays(f, x, first, dtype)


def _rearranged(x: Floats, y: Floats) -> Iterator[tuple[str, Floats, Floats]]:
    """The same numbers in other arrangements, each with the result that f must return; and with a NaN among
    them."""
    for how, arranged in ARRANGED.items():
        yield how, arranged(x.copy()), arranged(y)
    given, expected = x.copy(), y.copy()
    given[len(x) // 2] = expected[len(x) // 2] = np.nan
    yield "beside a NaN", given, expected


def _elementwise(f: Function, x: Floats, y: Floats, dtype: str) -> Iterator[Observation]:
    """Whether an element's result depends on that element alone, wherever it is and whatever is beside it."""
    for how, given, expected in _rearranged(x, y):
        is_nan = np.isnan(given)  # results for NaN are judged with the special numbers
        got = np.asarray(f(given))
        if got.shape != given.shape:
            yield Observation("wrong-shape", dtype, str(got.shape), str(given.shape))
            return
        off = _off(got, expected, x.dtype) & ~is_nan
        if off.any():
            i = int(np.flatnonzero(off)[0])
            yield Observation(
                "not-elementwise",
                dtype,
                f"{got.flat[i]:.17g} {how}",
                f"{expected.flat[i]:.17g}",
                float(given.flat[i]),
            )
            return


def _off(got: Floats, expected: Floats, dtype: np.dtype[np.floating]) -> NDArray[np.bool_]:
    """Where they differ by more than rounding explains, for terms as large as 1."""
    room = KEEPS_ROUNDING * np.finfo(dtype).eps * (np.abs(expected) + 1)
    same = (np.abs(got - expected) <= room) | (got == expected)
    return np.asarray(~(same | (np.isnan(got) & np.isnan(expected))))


def _odd_arrays(f: Function, x: Floats, y: Floats, dtype: str) -> Iterator[Observation]:
    """Empty and 0-d arrays. Few callers need them, so any failure, an exception too, is only a warning."""
    at = 100
    for which, given, expected in (("empty", x[:0].copy(), y[:0]), ("0-d", np.array(x[at]), y[at])):
        try:
            got = np.asarray(f(given), np.float64)
            if got.shape == np.shape(expected) and not _off(got, expected, x.dtype).any():
                continue
            what = str(got) if got.shape == () == np.shape(expected) else f"shape {got.shape}"
        except (Exception, SystemExit) as e:
            what = f"{type(e).__name__}: {e}"
        wanted = f"{expected:.17g}" if which == "0-d" else "an empty array"
        yield Observation("odd-arrays", dtype, f"{what} (of an array that is {which})", wanted)


def _speed(f: Function, domain: tuple[float, float], dtype: str) -> Iterator[Observation]:
    """Whether Python code runs for each element. Its steps are counted, since a time would depend on the
    machine."""
    few, many = (_steps(f, np.resize(_sample(domain, dtype), n)) for n in ELEMENTS)
    each = (many - few) / (ELEMENTS[1] - ELEMENTS[0])
    if each >= 1:
        got = f"{each:.0f} steps of Python for each element"
        yield Observation("slow", dtype, got, "as many for any number of them")


def _steps(f: Function, x: Floats) -> int:
    """How many instructions of Python f runs on x."""
    count = 0

    def step(frame: FrameType, event: str, arg: object) -> object:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return step

    before = sys.gettrace()
    with quiet():
        sys.settrace(step)  # type: ignore[arg-type]  # a type that contains itself
        try:
            f(x)
        finally:
            sys.settrace(before)
    return count


def values(f: Function, x: Floats) -> Floats:
    """f(x), with no warning shown. Raises what f raises."""
    with quiet():
        return np.array(f(x.copy()))


def warned(f: Function, x: Floats) -> list[Observation]:
    """The warnings that f gives, each once, with an x at which it gives it."""
    found: dict[str, Observation] = {}
    for category, text in _warnings(f, x):
        if text not in found:
            got = f"{category}: {text}"
            at = _where_warned(f, x, text)
            found[text] = Observation("warns", x.dtype.name, got, "no warning", at)
    return list(found.values())


def _warnings(f: Function, x: Floats) -> list[tuple[str, str]]:
    """Category and text of every warning that f gives on x."""
    with warnings.catch_warnings(record=True) as kept, np.errstate(all="warn", under="ignore"):
        warnings.simplefilter("always")
        f(x.copy())
    return [(w.category.__name__, str(w.message)) for w in kept]


def _where_warned(f: Function, x: Floats, text: str) -> float:
    """The x nearest 0 at which f warns, found by bisection."""
    x = x[np.argsort(np.abs(x), kind="stable")]
    low, high = 0, len(x)  # x[:low] does not warn, x[:high] does
    while high - low > 1:
        middle = (low + high) // 2
        if any(text == t for _, t in _warnings(f, x[:middle])):
            high = middle
        else:
            low = middle
    return float(x[high - 1])
