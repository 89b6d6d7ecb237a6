"""Records NumPy code on a tape: the code runs as people write it, on arrays that record what is done to them.

NumPy passes its functions to such an array (`__array_ufunc__`, NEP 13; `__array_function__`, NEP 18).
Functions that create arrays (`np.zeros`, `np.asarray`) do not: while a function is recorded, they are
replaced by ones that create recording arrays. A branch (`if x.sum() > 0`) is taken by the certified value. No
number leaves the tape unnoticed: `float(x)` is refused, with the line.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from conformance.judge.functions.numpy_ import functions  # noqa: F401   fills the table of functions
from conformance.judge.functions.numpy_.recorded import Constant, Recorded, flattened, stack
from conformance.judge.functions.recording import Recording, RecordingError, Table, is_float
from conformance.truth import arrays as at
from conformance.truth.tape import Tape

__all__ = ["record"]


def record(
    f: Callable[..., Any], inputs: Table, dtype: str, params: Mapping[str, Any]
) -> Recording:
    """Record f(*inputs, **params) on a tape. Raises RecordingError, or whatever f raises."""
    recording = Recording.begun(inputs, dtype)
    kept = np.dtype("float32" if dtype == "bfloat16" else dtype)  # NumPy has no bfloat16
    given = [
        Recorded(recording.inputs[n], kept) if n in recording.inputs else M.copy()
        for n, M in inputs.items()
    ]
    try:
        with _making(recording.tape), np.errstate(all="ignore"):
            found = f(*given, **params)
    except SystemExit as e:
        raise RecordingError(f"the function ends the process: SystemExit({e.code!r}).") from e
    several = isinstance(found, tuple | list)
    outputs = [_value(y, recording.tape) for y in (found if several else [found])]
    return recording.end(outputs, several)


def _value(y: Any, tape: Tape) -> Any:
    if type(y) is Recorded:
        return y.value
    if isinstance(y, float | int) or (isinstance(y, np.ndarray | np.generic) and is_float(y)):
        return at.constant(tape, y)
    return y


@contextmanager
def _making(tape: Tape) -> Iterator[None]:
    """Within, NumPy's functions that create arrays of floats create recorded ones, so that they can be
    written to."""

    def maker(f: Any, copied: bool) -> Any:
        @functools.wraps(f)
        def make(*args: Any, **kw: Any) -> Any:
            first = args[0] if args else None
            if (
                sys._getframe(1)
                .f_globals.get("__name__", "")
                .startswith(("conformance", "numpy", "flint"))
            ):
                return f(*args, **kw)
            if copied and isinstance(first, Recorded):
                return first.astype(
                    kw.get("dtype") or (args[1] if len(args) > 1 else None) or first.dtype
                )
            if (
                copied
                and isinstance(first, list | tuple)
                and any(isinstance(x, Recorded) for x in flattened(first))
            ):
                return stack(first, 0)
            made = f(*args, **kw)
            if copied or not np.issubdtype(made.dtype, np.floating):
                return made
            if f is np_empty:
                made[...] = 0
            return Recorded(Constant(tape, made), made.dtype)

        return make

    np_empty = np.empty
    before = {name: getattr(np, name) for name in ("zeros", "empty", "ones", "full")}
    copying = {
        name: getattr(np, name) for name in ("asarray", "array", "asanyarray", "ascontiguousarray")
    }
    try:
        for name, f in before.items():
            setattr(np, name, maker(f, copied=False))
        for name, f in copying.items():
            setattr(np, name, maker(f, copied=True))
        yield
    finally:
        for name, f in (before | copying).items():
            setattr(np, name, f)
