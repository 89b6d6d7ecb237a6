"""A σ that is more than a function of one number: of several arrays, of a row, or with parameters.

`conformance function` judges its gradients, with inputs of shapes that suit.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from conformance.commands.activation.lifted import Function
from conformance.commands.activation.messages import Wider
from conformance.commands.activation.spec import CheckError, Spec
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.judge.functions.recording import Table
    from conformance.judge.functions.trial import FunctionResults

__all__ = ["WiderError", "gradients", "required", "several", "shaped", "wider_by_hand"]

ROWS = (5, 8, 6, 3)
"""The sizes of an array's axes, unless a parameter determines them: small, and different, which finds
more."""
SECONDS = 600.0  # as for `conformance function`


class WiderError(Exception):
    """σ is more than a function of one number."""

    def __init__(self, wider: Wider) -> None:
        super().__init__(wider.why)
        self.wider = wider


def required(f: Any) -> list[str]:
    """The names of the arguments that f must be given; "x" if it has no signature."""
    try:
        known = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return ["x"]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in known if p.kind in positional and p.default is p.empty] or ["x"]


def shaped(names: list[str], params: Table | None = None) -> list[str]:
    """Texts for inputs of those names, as `conformance function` takes them, in the order in which to try
    them: the others as large as the first, or one number for each column, or one for all. The axes of the
    first are those of the largest parameter."""
    sizes = [M.shape for M in (params or {}).values() if M.size > 1]
    largest: tuple[int, ...] = max(sizes, key=lambda s: (len(s), s), default=())
    shape = tuple(n if n > 1 else k for n, k in zip(largest, ROWS, strict=False))
    shape = (ROWS[0], *shape) if len(shape) == 1 else shape or ROWS[:2]
    first, *others = names
    x = f"{first}={'x'.join(map(str, shape))}"
    of = ["x".join(map(str, shape)), f"{shape[-1]}", "scalar"] if others else [""]
    return [", ".join([x, *(f"{n}={s}" for n in others)]) for s in of]


def several(names: list[str]) -> str:
    return f"σ takes {len(names)} arrays ({', '.join(names)})"


def wider_by_hand(sigma: Function, derivative: Function | None) -> Wider | None:
    """What to ask about a σ in NumPy of several arrays, or whose derivative is a backward pass; None for any
    other."""
    names = required(sigma)
    takes = 1 if derivative is None else len(required(derivative))
    if takes == len(names) + 1:
        why = "σ' takes a cotangent, so that it is a backward pass"
        return Wider("numpy", shaped(names), several(names) if len(names) > 1 else why)
    return Wider("numpy", [], several(names)) if len(names) > 1 else None


def gradients(
    wider: Wider, spec: Spec, functions: Mapping[str, Function] | None
) -> FunctionResults:
    """The result of `conformance function`, for the functions themselves or in a process of its own.

    It tries the inputs, and what a backward pass may take, until the result is right; if it never is, the
    result that says most is returned. Raises RefusedError.
    """
    found: list[FunctionResults] = []
    refused: RefusedError | None = None
    for asked in _asked(wider, spec):
        try:
            found.append(_judged(asked, spec, functions))
        except RefusedError as e:
            refused = refused or e
            continue
        if found[-1]["verdict"] in ("conforms", "inaccurate"):
            return found[-1]
    if not found:
        raise refused or CheckError(
            f"{wider.why}: give its backward pass in place of σ', which takes a cotangent and the same "
            "arrays, and returns a gradient for each; or --torch or --jax alone."
        )
    return min(found, key=_trouble)


def _trouble(found: FunctionResults) -> int:
    """How little a result says: an error says least, then wrong shapes."""
    shapes = any(j["verdict"] == "deviates" and j["worst"] is None for j in found["judged"])
    return 2 if found["verdict"] == "error" else int(shapes)


def _asked(wider: Wider, spec: Spec) -> Iterator[dict[str, Any]]:
    """The questions to try, as arguments of `specification`."""
    given = spec.given
    for inputs in [spec.inputs] if spec.inputs and wider.inputs else wider.inputs:
        asked = {
            "framework": wider.framework,
            "inputs": inputs,
            "wrt": wider.wrt,
            "dtype": spec.dtype or "float64",
        }
        if wider.framework == "numpy":
            for takes in ("inputs", "outputs") if "," not in inputs else ("inputs",):
                yield asked | {
                    "function": given["sigma"],
                    "vjp": given["derivative"],
                    "takes": takes,
                }
        else:
            yield asked | {"function": given[wider.framework]}


def _judged(
    asked: dict[str, Any], spec: Spec, functions: Mapping[str, Function] | None
) -> FunctionResults:
    from conformance.commands.function.check import judged_apart, specification
    from conformance.commands.function.specified import subject_of
    from conformance.judge.functions.trial import judge_function

    question = specification(**asked)
    if functions is None:
        return judged_apart(question, max(SECONDS, spec.timeout))
    by_hand = {"function": "sigma", "vjp": "derivative"}
    names = by_hand if asked["framework"] == "numpy" else {"function": asked["framework"]}
    return judge_function(subject_of(question, {k: functions[f] for k, f in names.items()}))
