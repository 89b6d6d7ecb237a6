"""Checks of activations for a user's own tests: `assert_activation_conforms`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from conformance.commands.activation.check import Check, check, check_functions
from conformance.commands.activation.lifted import Function
from conformance.commands.activation.spec import specification
from conformance.commands.activation.terminal import describe

__all__ = ["assert_activation_conforms", "check_activation", "checked"]

Given: TypeAlias = Function | str | None

checked: list[Check] = []
"""The checks that were made in this process, for `pytest --conformance-report`."""


def check_activation(
    sigma: Given = None,
    sigma_prime: Given = None,
    *,
    truth: Given = None,
    torch: Given = None,
    jax: Given = None,
    kinks: Mapping[float, float] | None = None,
    domain: tuple[float, float] = (-math.inf, math.inf),
    strict: bool = False,
    autodiff: bool | Iterable[str] = False,
    network: bool = True,
    timeout: float = 20.0,
    inputs: str = "",
    dtype: str = "",
) -> Check:
    """Whether σ' is the derivative of σ: the answer of the command line, as a value.

    `sigma` and `sigma_prime` are functions of a NumPy array of any shape, in float64 and float32, that return
    an array of the same shape and dtype; or the names of such functions, 'my.py:mish'. `truth` is a
    definition of σ in NumPy, or the name of a known activation. `torch` and `jax` are your own versions.
    `kinks` maps kinks to σ' there. `autodiff` compares torch's and JAX's autodiff of σ too. `inputs` are the
    shapes of a σ of several arrays or of rows, as 'a=16x32, b=16x32'; `dtype` is the only one that is judged.
    Functions that are given themselves run in this process; if all are given by name, each runs in a process
    of its own, with a limit of `timeout` seconds.

    Raises CheckError or LoadError if there is nothing to check. What the functions raise is a finding.
    """
    all_given = {
        "sigma": sigma,
        "derivative": sigma_prime,
        "truth": truth,
        "torch": torch,
        "jax": jax,
    }
    given = {k: f for k, f in all_given.items() if f is not None}
    names = {k: f if isinstance(f, str) else _name(f) for k, f in given.items()}
    at_hand = not all(isinstance(f, str) for f in given.values())
    spec = specification(names, kinks, domain, timeout, network, at_hand, inputs, dtype)
    frameworks = ("torch", "jax") if autodiff is True else tuple(autodiff or ())
    if not at_hand:
        return check(spec, frameworks, strict)
    from conformance.commands.activation.worker import functions_of

    return check_functions(functions_of(given), spec, frameworks, strict)


def _name(f: Any) -> str:
    """The name of a function, which may be any object: FILE.py:NAME if it has a file."""
    f = getattr(f, "pyfunc", f)
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    code = getattr(f, "__code__", None)
    name = getattr(f, "__qualname__", type(f).__name__)
    return f"{code.co_filename}:{name}" if code else f"{getattr(f, '__module__', '')}:{name}"


def assert_activation_conforms(sigma: Given = None, sigma_prime: Given = None, **more: Any) -> None:
    """Raise AssertionError, with every finding, unless σ' is the derivative of σ. See `check_activation`.

    A σ' that is inaccurate, since it only loses digits, raises only if `strict`.
    """
    __tracebackhide__ = True
    found = check_activation(sigma, sigma_prime, **more)
    checked.append(found)
    if found["exit_code"]:
        raise AssertionError(describe(found))
