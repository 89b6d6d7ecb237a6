"""Turns the question of `conformance function`, which is text, into a subject: functions are loaded here."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypedDict

import numpy as np

from conformance.judge.functions.allclose import read_allclose
from conformance.judge.functions.by_hand import TAKES, ByHand
from conformance.judge.functions.candidate import Candidate
from conformance.judge.functions.certificate import Precision
from conformance.judge.functions.inputs import FAMILIES, Asked, InputsError, read_inputs
from conformance.judge.functions.numpy_.record import record as record_numpy
from conformance.judge.functions.recording import DTYPES, Recording, Table, is_float
from conformance.judge.functions.subject import Subject
from conformance.judge.functions.trial import FunctionResults, judge_function
from conformance.tools.load import load
from conformance.tools.trouble import RefusedError

__all__ = [
    "FRAMEWORKS",
    "Specification",
    "command_of",
    "families_of",
    "given_inputs",
    "judged",
    "parameters",
    "subject_of",
]

FRAMEWORKS = ("numpy", "torch", "jax")

Function = Callable[..., Any]


class Specification(TypedDict):
    """A question, in JSON."""

    framework: str  # of the code under test
    function: str  # FILE.py:NAME of the forward pass; "" where only a backward pass is given
    vjp: str  # FILE.py:NAME of the backward pass; "" where the function has one of its own
    reference: str  # FILE.py:NAME; "" for the function's own forward pass
    inputs: str  # "x=16x32, g=32", or FILE.py:NAME of a function that makes them
    params: dict[str, Any]
    wrt: list[str]
    families: list[str]
    takes: str
    dtype: str
    accumulate: str
    compute: str
    tf32: bool
    strict: bool
    allclose: str  # "rtol=1e-2,atol=1e-3": a test to audit; "" for none


def parameters(texts: tuple[str, ...]) -> dict[str, Any]:
    """{"eps": 1e-5} for ("eps=1e-5",). Raises RefusedError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise RefusedError(
                f"cannot read --param {text!r}; expected NAME=VALUE, such as eps=1e-5."
            )
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            found[name.strip()] = value.strip()
    return found


def command_of(spec: Specification) -> str:
    """The command line that asks the same again."""
    asked: dict[str, Any] = {
        **spec,
        "wrt": ",".join(spec["wrt"]),
        "families": ",".join(spec["families"]),
    }
    words = ["conformance", "function"]
    if spec["function"]:
        words += (
            [spec["function"]]
            if spec["framework"] == "numpy"
            else [f"--{spec['framework']}", spec["function"]]
        )
    for option in ("vjp", "reference", "inputs"):
        words += [f"--{option}", asked[option]] if asked[option] else []
    for name, value in spec["params"].items():
        words += ["--param", f"{name}={value}"]
    usual = {"takes": "inputs", "dtype": "float64"}
    for option in ("wrt", "families", "takes", "dtype", "accumulate", "compute", "allclose"):
        words += [f"--{option}", asked[option]] if asked[option] != usual.get(option, "") else []
    return shlex.join([*words, *(f"--{flag}" for flag in ("tf32", "strict") if asked[flag])])


def judged(spec: Specification) -> FunctionResults:
    """Judge the question. Raises as `subject_of` does."""
    return judge_function(subject_of(spec))


def subject_of(spec: Specification, at_hand: Mapping[str, Any] | None = None) -> Subject:
    """The subject, with its functions loaded, or taken from `at_hand` by the keys function, vjp, reference,
    inputs.

    Raises RefusedError, LoadError, or whatever the user's file raises when it is read.
    """
    here = dict(at_hand or {})

    def given(key: str) -> Any:
        if here.get(key) is not None:
            return here[key]
        return load(spec[key]) if spec[key] else None  # type: ignore[literal-required]

    for key in ("dtype", "accumulate", "compute"):
        if spec[key] and spec[key] not in DTYPES:
            raise RefusedError(
                f"--{key} {spec[key]!r} is not known; expected one of {', '.join(DTYPES)}."
            )
    if spec["takes"] not in TAKES:
        raise RefusedError(
            f"--takes {spec['takes']!r} is not known; expected one of {', '.join(TAKES)}."
        )
    if spec["framework"] not in FRAMEWORKS:
        raise RefusedError(
            f"the framework {spec['framework']!r} is not known; expected one of {', '.join(FRAMEWORKS)}."
        )
    function, vjp, reference = given("function"), given("vjp"), given("reference")
    if function is None and vjp is None:
        raise RefusedError(
            "there is nothing to judge; expected a function, or a backward pass with --vjp."
        )
    if function is None and reference is None:
        raise RefusedError(
            "a backward pass alone cannot be judged; expected the function too, or --reference."
        )
    asked, own = _inputs(spec, here)
    if spec["framework"] == "torch" and own is None:
        asked |= _parameters(function)
    framework = spec["framework"]
    params = spec["params"]
    precision = Precision(
        spec["dtype"],
        spec["accumulate"] or None,
        spec["compute"] or None,
        "tf32" if spec["tf32"] else None,
    )
    if framework == "numpy" and precision.storage == "bfloat16":
        raise RefusedError("NumPy has no bfloat16; expected --torch or --jax, or another --dtype.")
    if framework == "numpy" and vjp is None:
        raise RefusedError(
            "a NumPy function has no gradient of its own; expected --vjp FILE.py:NAME."
        )
    name = spec["vjp"] or spec["function"]
    return Subject(
        name=name,
        reference=spec["reference"] or spec["function"],
        record=_recorder(framework, reference, function, params, spec["takes"]),
        candidate=_candidate(framework, function, vjp, params, spec["takes"]),
        asked=asked,
        given=own,
        wrt=tuple(spec["wrt"]),
        families=families_of(spec["families"]),
        precision=precision,
        framework=framework,
        strict=spec["strict"],
        allclose=read_allclose(spec["allclose"]),
    )


def _parameters(function: Any) -> dict[str, Asked]:
    """The parameters of a module, which are inputs too."""
    from conformance.judge.functions.torch_.given import parameters_of

    return {n: Asked(M.shape) for n, M in parameters_of(function).items()}


def families_of(names: Sequence[str], *more: str) -> tuple[str, ...]:
    """Names of families. Raises RefusedError for one that does not exist."""
    known = [*(family.name for family in FAMILIES), *more]
    for name in names:
        if name not in known:
            raise RefusedError(
                f"there is no family of data {name!r}; expected some of {', '.join(known)}."
            )
    return tuple(names)


def _inputs(spec: Specification, here: Mapping[str, Any]) -> tuple[dict[str, Asked], Table | None]:
    own = given_inputs(spec["inputs"], here.get("inputs"))
    return (read_inputs(spec["inputs"]), None) if own is None else ({}, own)


def given_inputs(text: str, make: Any = None) -> Table | None:
    """A user's own arrays: from `make`, or from FILE.py:NAME; None if the text has shapes.

    Raises InputsError, LoadError, and whatever the user's code raises.
    """
    if make is None and ".py:" in text:
        make = load(text)
    if make is None:
        return None
    made = make() if callable(make) else make
    if not isinstance(made, Mapping):
        raise InputsError(
            f"the inputs are a {type(made).__name__}; expected a dict of arrays by name."
        )
    found: dict[str, Any] = {}
    for n, M in made.items():
        try:
            M = np.asarray(M)
        except Exception as e:
            raise InputsError(f"the input {n} is no array: {e}.") from e
        if M.dtype.kind not in "fiub":
            raise InputsError(
                f"the input {n} is an array of {M.dtype}; expected floats, whole numbers or a mask."
            )
        found[str(n)] = M.astype(np.float64) if is_float(M) else M
    return found


def _recorder(
    framework: str,
    reference: Function | None,
    function: Function | None,
    params: Mapping[str, Any],
    takes: str,
) -> Callable[[Table, str], Recording]:
    """A function that records the reference on a tape: as NumPy code if `reference` is that, else as code of
    the framework."""
    either = function if reference is None else reference
    assert either is not None  # one of the two is given
    f: Function = either
    numpys = reference is not None and _of_numpy(f)
    if framework == "torch" and not numpys:
        from conformance.judge.functions.torch_.record import record as record_torch

        return lambda inputs, dtype: record_torch(f, inputs, dtype, params)
    if framework == "jax" and not numpys:
        from conformance.judge.functions.jax_.record import record as record_jax

        return lambda inputs, dtype: record_jax(f, inputs, dtype, params)
    forward = _first(f) if reference is None and takes == "saves" else f
    return lambda inputs, dtype: record_numpy(forward, inputs, dtype, params)


def _first(f: Function) -> Function:
    """The outputs of a forward pass that also returns what it saves."""

    def outputs(*inputs: Any, **params: Any) -> Any:
        found = f(*inputs, **params)
        if not isinstance(found, tuple) or len(found) != 2:
            raise RefusedError(
                f"the forward pass returned a {type(found).__name__}; expected (outputs, what it saved), "
                "for --takes saves."
            )
        return found[0]

    return outputs


def _of_numpy(f: Any) -> bool:
    """Whether f is NumPy code: of the modules that its code names or imports (or, if it names none, of those
    that its file knows), NumPy is one, and no framework is."""
    known = {n: x for n, x in getattr(f, "__globals__", {}).items() if type(x).__name__ == "module"}
    named = getattr(f, "__code__", _of_numpy.__code__).co_names
    own = [known[n] for n in named if n in known]
    modules = {x.__name__.partition(".")[0] for x in own or known.values()}
    return "numpy" in modules and not {*modules, *named} & {"torch", "jax"}


def _candidate(
    framework: str,
    function: Function | None,
    vjp: Function | None,
    params: Mapping[str, Any],
    takes: str,
) -> Candidate:
    if framework == "numpy":
        assert vjp is not None
        return ByHand(function, vjp, params, takes)
    if function is None:
        raise RefusedError(
            "a backward pass of torch or JAX is judged with its forward pass; expected both."
        )
    if framework == "torch":
        from conformance.judge.functions.torch_ import candidate as torch_

        if vjp is None:
            return torch_.candidate(function, params)
        return torch_.vjp(function, vjp, params)
    from conformance.judge.functions.jax_ import candidate as jax_

    f = partial(function, **params)
    return jax_.candidate(f) if vjp is None else jax_.vjp(f, vjp)
