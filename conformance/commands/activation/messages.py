"""The messages from a worker to the process that judges: a typed message for each fact, each a line of JSON.

User code runs in the workers and can write to the same file. So nothing is unpickled: a line is read as one
of the types below, and a line that does not fit its type becomes a `Problem`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import (
    Any,
    TypeAlias,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np

from conformance.commands.activation.behaviour import Observation
from conformance.commands.activation.branches import Branch, Interval
from conformance.commands.activation.curve import Curve
from conformance.model.problem import Floats
from conformance.model.results import Number
from conformance.tools.plain import plain_values

__all__ = [
    "DTYPES", "EVALUATING", "LOADING", "NETWORKS", "STARTING", "Autodiff", "Branches", "Certified",
    "Differentiated", "Done", "Emit", "Lookalikes", "Message", "NetworkResult", "Networks", "NotRun",
    "Observed", "Points", "Problem", "Stage", "Unsearched", "Unsupported", "Values", "Version", "Wider",
    "decode", "encode", "from_json", "to_json",
]  # fmt: skip

DTYPES = ("float64", "float32", "bfloat16")
STARTING, LOADING, EVALUATING, NETWORKS = "starting", "loading", "evaluating", "running networks"
"""Stages of a worker on which the verdict depends; other stages are only shown to the reader."""


@dataclass(frozen=True)
class Stage:
    """What the worker does next; it is named if the worker dies or takes too long."""

    text: str


@dataclass(frozen=True)
class Observed:
    """What is wrong with the form of a function's results, or the warnings that it gives."""

    function: str
    observations: list[Observation]


@dataclass(frozen=True)
class Branches:
    """The branch points of a function; a later message about the same function replaces an earlier one."""

    function: str
    found: list[Branch]


@dataclass(frozen=True)
class Unsearched:
    """Where a function may have more branch points."""

    function: str
    where: list[Interval]


@dataclass(frozen=True)
class Points:
    """The arguments at which everything is compared, by dtype; bfloat16's are held in float32."""

    float64: Floats
    float32: Floats
    bfloat16: Floats

    def by_dtype(self) -> dict[str, Floats]:
        """The points of each dtype, without the dtypes that have no number in the domain."""
        arrays = {dtype: getattr(self, dtype) for dtype in DTYPES}
        return {dtype: x for dtype, x in arrays.items() if len(x)}


@dataclass(frozen=True)
class Certified:
    """The certified curve of a function at the points of a dtype."""

    function: str
    dtype: str
    curve: Curve


@dataclass(frozen=True)
class Values:
    """What a NumPy function returned: `y` at the points of a dtype, `ends` at 0, −0, ∞, −∞ and NaN."""

    function: str
    dtype: str
    y: Floats
    ends: Floats


@dataclass(frozen=True)
class Differentiated:
    """f(x), its gradient, and how a framework treats the incoming gradient."""

    y: Floats  # float64, or float32 where the dtype was
    d: Floats
    y_dtype: str
    d_dtype: str
    passes_on: bool  # whether it returns the incoming gradient times σ', element by element
    no_grad: bool = False  # whether the result is not connected to its input


@dataclass(frozen=True)
class Autodiff:
    """What a framework computes for σ, or by the user's own version for it (`native`)."""

    dtype: str
    native: bool
    result: Differentiated


class NetworkResult(TypedDict):
    """The result of one network, as the check keeps it."""

    case: str
    implementation: str
    dtype: str
    depth: int
    batch: int
    verdict: str
    message: str
    ratio: Number
    gates: list[str]
    records: int


@dataclass(frozen=True)
class Networks:
    """Whole networks with the activation, in one implementation."""

    results: list[NetworkResult]


@dataclass(frozen=True)
class Lookalikes:
    """Curves that a wrong σ' is compared with, to say what it looks like; all at `x`."""

    x: Floats
    truth: Curve
    of_output: Floats  # the true σ' at σ(x)
    mirrored: Floats  # the true σ' at −x
    given: Floats  # the given σ'
    given_of_output: Floats  # the given σ' at σ(x)


@dataclass(frozen=True)
class Unsupported:
    """A function that cannot be evaluated on balls, and why."""

    function: str
    text: str


@dataclass(frozen=True)
class Wider:
    """σ is more than a function of one number, and `why`: the inputs for `conformance function`. If `wrt` is
    given, the gradients of parameters are judged in addition to the rest."""

    framework: str
    inputs: list[str]  # to be tried one after another; none if there is nothing to judge
    why: str
    wrt: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NotRun:
    """What the worker leaves out, and why; `dtype`, if it is left out in that dtype alone."""

    text: str
    dtype: str = ""


@dataclass(frozen=True)
class Version:
    """The version of a framework."""

    name: str
    version: str


@dataclass(frozen=True)
class Problem:
    """What ended a worker before it was done. The judging process itself creates `ended` and `timeout`."""

    event: str  # raised, refused (there is no such function), ended or timeout
    text: str
    lines: list[str]  # the lines of the user's own files
    stage: str = ""
    kind: str = ""  # the type of a raised exception
    function: str = ""  # the function that raised it, if it is known
    role: str = ""  # the worker's; set by the process that judges


@dataclass(frozen=True)
class Done:
    """The worker has reported everything."""


Message: TypeAlias = (
    Stage | Observed | Branches | Unsearched | Points | Certified | Values | Autodiff | Networks
    | Lookalikes | Unsupported | Wider | NotRun | Version | Problem | Done
)  # fmt: skip
Emit: TypeAlias = Callable[[Message], None]
KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> str:
    """The message as a line of JSON, without the end of the line."""
    return to_json({type(message).__name__: message})


def decode(line: str) -> Message | None:
    """The message of a line. None if it is no message: user code wrote it, or its writer was killed."""
    try:
        ((kind, content),) = json.loads(line).items()
        of = KINDS[kind]
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    try:
        message: Message = _value(of, content, plain_values)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        return Problem("ended", f"said what cannot be read ({type(e).__name__}: {e})", [])
    return message


# --- dataclasses as JSON --------------------------------------------------------------------------

Read = TypeVar("Read")
Json: TypeAlias = Any  # what json.loads returns
PACKED = ("float64", "float32", "bool")  # dtypes of arrays; all others are written as float64


def to_json(x: object) -> str:
    """A value as JSON, dataclasses and arrays within it too."""
    return json.dumps(x, default=_plain_object)


def from_json(kind: type[Read], text: str) -> Read:
    """A dataclass from JSON. Raises ValueError, KeyError, TypeError or AttributeError if it does not fit."""
    found: Read = _value(kind, json.loads(text), lambda x: x)
    return found


def _plain_object(x: object) -> dict[str, object]:
    if isinstance(x, np.ndarray):
        a = x.astype(x.dtype.newbyteorder("<") if x.dtype.name in PACKED else "<f8")
        return {"dtype": a.dtype.name, "data": base64.b64encode(a.tobytes()).decode()}
    if is_dataclass(x):
        return {f.name: getattr(x, f.name) for f in fields(x)}
    raise TypeError(f"{type(x).__name__} has no JSON")


_hints = cache(get_type_hints)


def _value(hint: Any, x: Json, text: Callable[[Json], Json]) -> Json:
    """A JSON value converted to an annotation; `text` is applied to the text in it."""
    of, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint) or is_typeddict(hint):
        return hint(**{name: _value(h, x[name], text) for name, h in _hints(hint).items()})
    if of is np.ndarray:
        if x["dtype"] not in PACKED:
            raise ValueError("expected an array")
        return np.frombuffer(base64.b64decode(x["data"]), x["dtype"])
    if of is list:
        return [_value(inner[0], v, text) for v in x]
    if of is tuple:
        return tuple(_value(h, v, text) for h, v in zip(inner, x, strict=True))
    if of is dict:
        return {_value(inner[0], k, text): _value(inner[1], v, text) for k, v in x.items()}
    return hint(x) if hint in (float, int, bool) else text(x)
