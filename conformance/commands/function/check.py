"""`conformance.check_function`, and the same check in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.commands.apart import asked_apart
from conformance.commands.function.screen import describe
from conformance.commands.function.specified import Specification, command_of, subject_of
from conformance.judge.functions.trial import FunctionResults, judge_function

__all__ = [
    "assert_function_conforms",
    "check_function",
    "checked",
    "judged_apart",
    "specification",
]

checked: list[FunctionResults] = []
"""The checks that were made in this process, for `pytest --conformance-report`."""


def specification(**given: Any) -> Specification:
    """A question, with defaults for what is not given."""
    usual = Specification(
        framework="numpy", function="", vjp="", reference="", inputs="", params={}, wrt=[], families=[],
        takes="inputs",
        dtype="float64", accumulate="", compute="", tf32=False, strict=False, allclose="",
    )  # fmt: skip
    return Specification(**{**usual, **given})  # type: ignore[typeddict-item]


def judged_apart(spec: Specification, seconds: float) -> FunctionResults:
    """Judge in a process of its own, which may take so many seconds. Raises ApartError."""
    what = spec["vjp"] or spec["function"]
    results: FunctionResults = asked_apart(
        "conformance.commands.function.specified", spec, seconds, what
    )
    return {**results, "command": command_of(spec)}


def check_function(
    function: Callable[..., Any] | str | None = None,
    *,
    vjp: Callable[..., Any] | str | None = None,
    inputs: str | Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    reference: Callable[..., Any] | str | None = None,
    framework: str = "numpy",
    params: Mapping[str, Any] | None = None,
    wrt: Sequence[str] = (),
    families: Sequence[str] = (),
    takes: str = "inputs",
    dtype: str = "float64",
    accumulate: str | None = None,
    compute: str | None = None,
    tf32: bool = False,
    strict: bool = False,
    allclose: str = "",
) -> FunctionResults:
    """Whether a gradient written by hand is that of the function; judged in this process.

    `function` is the forward pass: plain NumPy code (framework "numpy"), a torch function, autograd.Function
    or module ("torch"), or a JAX function, custom_vjp or custom_jvp ("jax"). `vjp(cotangent, *inputs)` is its
    backward pass, which returns one gradient an input; torch and JAX functions have one of their own.
    `reference` is the function that it is compared with, if that is not the function's own forward pass.
    `inputs` is text such as "x=16x32, g=32, ids=16:int<100", from which families of data are made, or arrays
    by name.

    `dtype` is what numbers are stored in, `accumulate` what sums and products are accumulated in, and
    `compute` what intermediates are kept in. `allclose` is a test to audit, such as "rtol=1e-2,atol=1e-3".

    Raises RefusedError if there is nothing to judge. What the code raises is in the results.
    """
    text = {
        "function": function, "vjp": vjp, "reference": reference, "inputs": inputs,
    }  # fmt: skip
    named = {
        k: f if isinstance(f, str) else _name(f) if f is not None else "" for k, f in text.items()
    }
    spec = specification(
        framework=framework, params=dict(params or {}), wrt=list(wrt), families=list(families),
        takes=takes, dtype=dtype, accumulate=accumulate or "", compute=compute or "", tf32=tf32,
        strict=strict, allclose=allclose, **named,
    )  # fmt: skip
    at_hand = {k: f for k, f in text.items() if f is not None and not isinstance(f, str)}
    found = judge_function(subject_of(spec, at_hand))
    return found if at_hand else {**found, "command": command_of(spec)}


def _name(f: Any) -> str:
    return str(getattr(f, "__qualname__", type(f).__name__))


def assert_function_conforms(function: Callable[..., Any] | str | None = None, **more: Any) -> None:
    """Raise AssertionError, with all findings, unless the gradient is right. See `check_function`."""
    __tracebackhide__ = True
    found = check_function(function, **more)
    checked.append(found)
    if found["exit_code"]:
        raise AssertionError(describe(found))
