"""Records JAX code on a tape: the jaxpr of a function, equation by equation.

`jax.make_jaxpr` gives the forward function. For custom_vjp and custom_jvp it holds the primal function, and
only that is read. jit, remat and other calls are read in place, scan is unrolled, and cond and while go the
way that is certified. JAX itself computes what depends on no input, and whole numbers: where these depend on
an input (argmax, a cast), the input must be decided first.
"""

from __future__ import annotations

import linecache
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from conformance.judge.functions.jax_.primitives import (
    PRIMITIVES,
    Rule,
    UnknownError,
    decided,
    folded,
    is_inexact,
    is_whole,
    numbers,
    on_tape,
    part,
    tape_of,
)
from conformance.judge.functions.recording import DTYPES, Recording, RecordingError, Table, is_float
from conformance.truth import arrays as at
from conformance.truth.nodes import Value
from conformance.truth.tape import Tape

__all__ = ["INLINED", "RULES", "arrays", "as_used", "is_leaf", "line_of", "record", "traced"]

_OURS = f"{Path(__file__).parents[3]}{os.sep}"
_JAX = f"{Path(jax.__file__).parent}{os.sep}"


def record(
    f: Callable[..., Any], inputs: Table, dtype: str, params: Mapping[str, Any]
) -> Recording:
    """Record f(*inputs, **params) on a tape. Its outputs are the leaves of what it returns, in JAX's order.

    Raises RecordingError, UndecidedBranchError, or whatever f raises.
    """
    recording = Recording.begun(inputs, dtype)
    with as_used(dtype):
        given = arrays(inputs, dtype)

        def of_floats(*floats: Any) -> Any:
            merged = {**given, **dict(zip(recording.inputs, floats, strict=True))}
            return f(*merged.values(), **params)

        closed, returned = traced(of_floats, *(given[n] for n in recording.inputs))
        found = _read(recording.tape, closed, list(recording.inputs.values()))
    recording.tape.dtype = dtype
    outputs = [
        _output(recording.tape, x) if is_inexact(v) else None
        for x, v in zip(found, closed.jaxpr.outvars, strict=True)
    ]
    return recording.end(outputs, not is_leaf(jax.tree_util.tree_structure(returned)))


def traced(f: Callable[..., Any], *floats: Any) -> tuple[Any, Any]:
    """The jaxpr of f, and the shapes of what f returns. Raises RecordingError if JAX cannot trace it."""
    try:
        found: tuple[Any, Any] = jax.make_jaxpr(f, return_shape=True)(*floats)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as e:
        why = str(e).partition("\n")[0].rstrip(".")
        places = [
            f"; in {_text(x.filename, x.lineno)}"
            for x in traceback.extract_tb(e.__traceback__)
            if not x.filename.startswith((_JAX, _OURS))
        ]
        raise RecordingError(
            f"JAX cannot trace the function: {why}; expected code that jax.jit takes: jnp.where or "
            f"lax.cond for a branch, jnp in place of np{places[-1] if places else '.'}"
        ) from e
    return found


def _output(tape: Tape, x: Any) -> Value:
    return x if isinstance(x, Value) else at.constant(tape, x)


@contextmanager
def as_used(dtype: str) -> Iterator[None]:
    """Use JAX on the CPU, and with x64 for float64; afterwards the caller has JAX as it was."""
    # in jax.experimental before 0.8
    at_home: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
    with at_home.enable_x64(dtype == "float64"), jax.default_device(jax.devices("cpu")[0]):
        yield


def arrays(inputs: Table, dtype: str) -> dict[str, Any]:
    return {n: jnp.asarray(M, dtype if is_float(M) else None) for n, M in inputs.items()}


def is_leaf(tree: Any) -> bool:
    return bool(jax.tree_util.treedef_is_leaf(tree))


# --- equations ------------------------------------------------------------------------------------

INLINED = frozenset({
    "jit", "pjit", "closed_call", "core_call", "call", "remat2", "remat", "checkpoint", "composite",
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_vmap_call",
})  # fmt: skip
"""The names of calls, in old versions of JAX and new: what they call is read in their place."""

_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")


def _read(tape: Tape, jaxpr: Any, operands: Sequence[Any], line: str = "") -> list[Any]:
    """What a jaxpr, closed or not, returns for its operands; `line` is the line it comes from, if not its
    own."""
    jaxpr, consts = (jaxpr.jaxpr, jaxpr.consts) if hasattr(jaxpr, "consts") else (jaxpr, ())
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(numbers, consts), strict=True))
    env |= zip(jaxpr.invars, operands, strict=True)

    def known(v: Any) -> Any:
        return np.asarray(v.val, v.aval.dtype) if hasattr(v, "val") else env[v]

    for e in jaxpr.eqns:
        found = _equation(tape, e, [known(v) for v in e.invars], line or line_of(e))
        env |= zip(e.outvars, found, strict=True)
    return [known(v) for v in jaxpr.outvars]


def _equation(tape: Tape, e: Any, operands: list[Any], line: str) -> Sequence[Any]:
    """What one equation returns for its operands. Raises RecordingError if the tape does not know it."""
    name = e.primitive.name
    constant = not any(isinstance(x, Value) for x in operands)
    if name in INLINED and not (constant and name in ("jit", "pjit")):
        called = next(e.params[k] for k in _CALLED if k in e.params)
        return _read(tape, called, operands, line if _is_jax(called) else "")
    if constant:
        return folded(e, operands)
    if not e.outvars:  # such as a print
        return []
    tape.line = line or tape.line
    if is_whole(e.outvars[0]) and not any(is_inexact(v) for v in e.invars):
        return folded(e, [decided(x) if isinstance(x, Value) else x for x in operands])
    rounded = next((v for v in (*e.outvars, *e.invars) if is_inexact(v)), None)
    try:
        if name not in RULES:
            raise UnknownError(f"JAX's {name} is not known to the tape")
        if rounded is not None:
            tape.dtype = _dtype(name, rounded)
        found = RULES[name](e, *operands)
    except UnknownError as why:
        place = f"; in {tape.line}" if tape.line else "."
        raise RecordingError(f"{why}{place}") from None
    return found if e.primitive.multiple_results else [found]


def _dtype(name: str, v: Any) -> str:
    found: str = v.aval.dtype.name
    if found not in DTYPES:
        raise UnknownError(f"JAX's {name} gives {found}, expected one of {', '.join(DTYPES)}")
    return found


def line_of(e: Any) -> str:
    """The line of the user's code that an equation comes from, as "ops.py:12: m = x.mean(-1)"."""
    place = source_info_util.summarize(e.source_info).rpartition(" (")[0]
    found = re.match(r"(.*?):(\d+)(:\d+)?$", place)
    if found is None or found[1].startswith(_OURS):  # our file: the function given is JAX's own
        return ""
    return _text(found[1], int(found[2]))


def _text(file: str, n: int | None) -> str:
    return f"{Path(file).name}:{n}: {linecache.getline(file, n or 0).strip()}"


def _is_jax(jaxpr: Any) -> bool:
    """Whether it is the jaxpr of a function of JAX's own: that is traced once, so its line may be that of
    another call."""
    debug = getattr(getattr(jaxpr, "jaxpr", jaxpr), "debug_info", None)
    return _JAX in str(getattr(debug, "func_src_info", ""))


# --- control --------------------------------------------------------------------------------------


def _scan(e: Any, *operands: Any) -> list[Any]:
    """A scan, unrolled step by step."""
    p, tape = e.params, tape_of(operands)
    n, k = p["num_consts"], p["num_consts"] + p["num_carry"]
    consts, carry, xs = operands[:n], list(operands[n:k]), operands[k:]
    steps: list[list[Any]] = []
    for i in reversed(range(p["length"])) if p["reverse"] else range(p["length"]):
        found = _read(tape, p["jaxpr"], [*consts, *carry, *(part(x, i) for x in xs)])
        carry, rest = found[: k - n], found[k - n :]
        steps.append(rest)
    steps = steps[::-1] if p["reverse"] else steps
    stacked = e.outvars[k - n :]
    if not steps:
        return [*carry, *(np.zeros(v.aval.shape, v.aval.dtype) for v in stacked)]
    return [*carry, *map(_stack, zip(*steps, strict=True))]


def _stack(parts: Sequence[Any]) -> Any:
    if any(isinstance(x, Value) for x in parts):
        return at.join([at.reshape(x, (1, *x.shape)) for x in on_tape(parts)])
    return numbers(jnp.stack(parts))


def _while(e: Any, *operands: Any) -> list[Any]:
    """A loop, run as often as is certified. A loop that vmap made of several runs while any of them does, and
    leaves those that have ended unchanged."""
    p, tape = e.params, tape_of(operands)
    n, k = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    asked, consts, carry = operands[:n], operands[n:k], list(operands[k:])
    while (going := _known(_read(tape, p["cond_jaxpr"], [*asked, *carry])[0])).any():
        found = _read(tape, p["body_jaxpr"], [*consts, *carry])
        carry = [_if(going, x, before) for x, before in zip(found, carry, strict=True)]
    return carry


def _known(mask: Any) -> Any:
    return np.asarray(decided(mask) if isinstance(mask, Value) else mask)


def _if(going: Any, x: Any, before: Any) -> Any:
    """x where the loop continues, which is a mask along the first axes; else `before`."""
    if going.all():
        return x
    mask = going.reshape(*going.shape, *(1,) * (len(x.shape) - going.ndim))
    if isinstance(x, Value) or isinstance(before, Value):
        return at.where(mask, x, before)
    return np.where(mask, x, before)


def _cond(e: Any, which: Any, *operands: Any) -> list[Any]:
    """The branch that is certified."""
    branches = e.params["branches"]
    chosen = min(max(int(which), 0), len(branches) - 1)
    return _read(tape_of(operands), branches[chosen], operands)


RULES: dict[str, Rule] = {**PRIMITIVES, "scan": _scan, "while": _while, "cond": _cond}
"""The rules of all primitives; those that hold jaxprs of their own are read here."""
