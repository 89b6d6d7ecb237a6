"""A backward pass written by hand in NumPy, as a candidate: a function of cotangents and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.recording import is_float
from conformance.tools.trouble import RefusedError

__all__ = ["TAKES", "ByHand", "CandidateError"]

TAKES = ("inputs", "outputs", "saves")
"""What a backward pass takes after the cotangents: the inputs, the outputs, or what the forward pass
saved."""


class CandidateError(RefusedError):
    """Code under test that does not return what it must: what it returned, and what is expected."""


@dataclass(frozen=True)
class ByHand:
    """forward(*inputs, **params) and backward(cotangent(s), *what it takes, **params).

    takes  "inputs": backward(c, *inputs); "outputs": backward(c, y); "saves": forward returns (y, saved), and
           backward(c, saved)
    wrt    the inputs, in order, whose gradients backward returns: one array an input, or a dict by name

    The keyword parameters go to `backward` only where it has them.
    """

    forward: Callable[..., Any] | None
    backward: Callable[..., Any]
    params: Mapping[str, Any]
    takes: str = "inputs"
    strided: bool = False  # pass every input and cotangent as a view with gaps

    def variants(self) -> dict[str, Candidate]:
        """The same code, called in other ways that must make no difference."""
        return {"inputs that are views with gaps": replace(self, strided=True)}

    def __call__(self, request: Request) -> Ran:
        """Outputs and gradients. Raises CandidateError, and whatever the code raises.

        An overflow on the way is no mistake: NumPy's warnings, which a test may turn into errors, are off.
        """
        try:
            with np.errstate(all="ignore"):
                return self._ran(request)
        except SystemExit as e:
            raise CandidateError(f"it ends the process: SystemExit({e.code!r}).") from e

    def _ran(self, request: Request) -> Ran:
        given = {n: _handed(M, request.dtype, self.strided) for n, M in request.inputs.items()}
        before = {n: M.copy() for n, M in given.items()}
        outputs: dict[str, Array] = {}
        found: Any = None
        if self.forward is not None:
            found = self.forward(*given.values(), **_accepted(self.forward, self.params))
        saved = None
        if self.takes == "saves":
            if not isinstance(found, tuple) or len(found) != 2:
                raise CandidateError(
                    f"the forward pass returned {_what(found)}; expected (outputs, what it saved), for "
                    "--takes saves."
                )
            found, saved = found
        if found is not None:
            outputs = _named(found)
        cotangents = [_handed(c, request.dtype, self.strided) for c in request.cotangents.values()]
        one = cotangents[0] if len(cotangents) == 1 else tuple(cotangents)
        rest = (
            list(given.values())
            if self.takes == "inputs"
            else [found if self.takes == "outputs" else saved]
        )
        handed = [c.copy() for c in cotangents]
        back = self.backward(one, *rest, **_accepted(self.backward, self.params))
        gradients = _gradients(
            back, [n for n, M in request.inputs.items() if is_float(M)], [*request.inputs], request
        )
        notes = [
            f"it writes to its input {n}; expected it to be left as it is."
            for n, M in given.items()
            if not np.array_equal(M, before[n], equal_nan=is_float(M))
        ]
        if not all(map(np.array_equal, cotangents, handed)):
            notes.append("it writes to its cotangent; expected it to be left as it is.")
        return Ran(outputs, gradients, tuple(notes))


def _handed(M: Any, dtype: str, strided: bool) -> Any:
    """A copy of an array, for the code alone."""
    found = np.array(M, dtype if is_float(M) else M.dtype)
    if strided and found.ndim:
        wide = np.zeros((*found.shape[:-1], 2 * found.shape[-1]), found.dtype)
        wide[..., ::2] = found
        return wide[..., ::2]
    return found


def _accepted(f: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    from inspect import Parameter, signature

    try:
        known = signature(f).parameters
    except (TypeError, ValueError):  # it has no signature, as some functions written in C
        return dict(params)
    if any(p.kind is Parameter.VAR_KEYWORD for p in known.values()):
        return dict(params)
    return {k: v for k, v in params.items() if k in known}


def _what(x: Any) -> str:
    if isinstance(x, tuple | list):
        return f"{len(x)} values"
    return f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"


def _array(x: Any, what: str) -> Array:
    if not isinstance(x, np.ndarray | np.generic | float | int) or isinstance(x, bool):
        raise CandidateError(f"{what} is a {type(x).__name__}; expected an array of floats.")
    M = np.asarray(x)
    if not np.issubdtype(M.dtype, np.number) or np.iscomplexobj(M):
        raise CandidateError(f"{what} is an array of {M.dtype}; expected floats.")
    return Array(
        M.astype(np.float64), M.dtype.name if isinstance(x, np.ndarray | np.generic) else "float64"
    )


def _named(found: Any) -> dict[str, Array]:
    if isinstance(found, tuple | list):
        return {f"y[{i}]": _array(y, f"output {i}") for i, y in enumerate(found)}
    return {"y": _array(found, "the output")}


def _gradients(
    back: Any, floats: Sequence[str], names: Sequence[str], request: Request
) -> dict[str, Array | None]:
    """The gradients by input; those that are not wanted are dropped."""
    if isinstance(back, Mapping):
        if unknown := set(back) - set(names):
            raise CandidateError(
                f"the backward pass returned a gradient of {sorted(map(str, unknown))[0]!r}; "
                f"expected some of {', '.join(names)}."
            )
        by_name = {n: back.get(n) for n in request.wrt}
    else:
        given = list(back) if isinstance(back, tuple | list) else [back]
        among = next(
            (of for of in (list(request.wrt), list(floats), list(names)) if len(of) == len(given)),
            None,
        )
        if among is None:
            raise CandidateError(
                f"the backward pass returned {len(given)} gradient{'s' if len(given) != 1 else ''}; expected "
                f"{len(request.wrt)}, of {', '.join(request.wrt)} (None for one that it leaves out)."
            )
        by_name = {n: g for n, g in zip(among, given, strict=True) if n in request.wrt}
    return {
        n: None if by_name.get(n) is None else _array(by_name[n], f"the gradient of {n}")
        for n in request.wrt
    }
