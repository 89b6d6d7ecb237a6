"""σ as PyTorch or JAX code alone: its forward pass, recorded as primitives, is its definition.

The tape is that of `conformance function`, and no derivative is read. If each primitive on it acts on each
element alone, it is replayed on Taylor balls, as a definition by name is, and everything else is as for a σ
in NumPy. Otherwise σ is more than a function of one number: `WiderError` says what to ask instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from conformance.commands.activation.lifted import Function, Lifted
from conformance.commands.activation.messages import Wider
from conformance.commands.activation.wider import WiderError, required, several, shaped
from conformance.judge.functions.recording import Recording, RecordingError, Table
from conformance.truth.nodes import Node, Shape
from conformance.truth.taylor import FUNCTIONS, PREDICATES, Taylor, taylor

__all__ = ["definition_of"]


def _number(x: Any) -> Taylor:
    """A number to calculate with; a mask becomes 0 or 1."""
    return taylor(float(x) if isinstance(x, bool) else x)


def _of_numbers(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *of: f(*map(_number, of))


def _truth(x: Any) -> bool:
    """A mask as it is; for a number, whether it is not 0."""
    return x if isinstance(x, bool) else PREDICATES["not_equal"](x, taylor(0.0))


def _two_over_root_pi(_: Any, sign: int) -> Taylor:
    pi = FUNCTIONS["arctan"](taylor(1.0)) * taylor(4.0)
    found: Taylor = taylor(2.0 * sign) / FUNCTIONS["sqrt"](pi)
    return found


RENAMED = {"quotient": "divide", "sigmoid": "expit", "hadamard": "multiply"}
SAME = (
    "exp", "expm1", "log", "log1p", "sqrt", "reciprocal", "square", "sin", "cos", "tan", "arctan", "arcsin",
    "arccos", "sinh", "cosh", "arcsinh", "arctanh", "tanh", "softplus", "erf", "erfc", "add", "subtract",
    "multiply", "divide", "negative", "power", "maximum", "absolute", "sign", "floor",
)  # fmt: skip
ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    **{name: _of_numbers(FUNCTIONS[RENAMED.get(name, name)]) for name in (*SAME, *RENAMED)},
    **{name: _of_numbers(PREDICATES[name]) for name in ("greater", "equal")},
    "rsqrt": lambda x: taylor(1.0) / FUNCTIONS["sqrt"](_number(x)),
    "where": lambda m, a, b: _number(a) if _truth(m) else _number(b),
    "both_of": lambda a, b: _truth(a) & _truth(b),
    "either_of": lambda a, b: _truth(a) | _truth(b),
    "none_of": lambda a: not _truth(a),
    "two_over_root_pi": _two_over_root_pi,
    **dict.fromkeys(("mark", "cast", "widen"), lambda x: x),
    **dict.fromkeys(("reshape", "broadcast"), lambda x, shape: x),
}  # fmt: skip
"""Primitives that act on each element alone, on one Taylor each; a mask is a truth value."""


def definition_of(framework: str, f: Any) -> Function:
    """The forward pass of PyTorch or JAX code on Taylor balls.

    Raises WiderError, RecordingError, and whatever f raises.
    """
    names, params, record = _given(framework, f)
    texts = shaped(names, params)
    if len(names) > 1:
        raise WiderError(Wider(framework, texts, several(names)))
    if any(M.size > 1 for M in params.values()):
        raise WiderError(Wider(framework, texts, "σ has parameters of several numbers"))
    shape = tuple(map(int, texts[0].partition("=")[2].split("x")))
    x = np.linspace(-1.3, 1.7, int(np.prod(shape))).reshape(shape)
    found: Recording = record(f, {names[0]: x}, "float64", {})
    why = _not_elementwise(found, found.inputs[names[0]].index, shape)
    if why:
        raise WiderError(Wider(framework, texts, why))
    return _replayed(found.tape.nodes, found.inputs[names[0]].index, found.outputs["y"].index)


def _given(framework: str, f: Any) -> tuple[list[str], Table, Callable[..., Recording]]:
    """The names of f's arguments, its parameters, and the function that records it."""
    if framework == "jax":
        from conformance.judge.functions.jax_.record import record as record_jax

        return required(f), {}, record_jax
    from conformance.judge.functions.torch_.given import forward_of, parameters_of
    from conformance.judge.functions.torch_.record import record

    return required(forward_of(f)), parameters_of(f), record


def _not_elementwise(found: Recording, x: int, shape: Shape) -> str:
    """Why a recorded function cannot be replayed element by element; "" if it can."""
    nodes, (y, *more) = found.tape.nodes, [v.index for v in found.outputs.values()]
    if more or nodes[y].shape != shape:
        return f"σ returns {len(more) + 1} arrays" if more else "σ returns another shape than x"
    varies, needed = {x}, {y}
    for i, node in enumerate(nodes):
        if i not in varies and not varies.isdisjoint(node.operands):
            varies.add(i)
    for i in range(y, -1, -1):
        needed |= set(nodes[i].operands) if i in needed else set()
    for i in sorted(varies - needed):
        raise RecordingError(
            f"which branch σ takes depends on its numbers ({nodes[i].line}), so that its formula cannot be "
            "recorded; expected torch.where, or NumPy code for σ."
        )
    for i in sorted(needed - {x}):
        node = nodes[i]
        if not node.operands:
            if len(np.unique(node.params["numbers"])) > 1:
                return "σ has constants that differ from element to element"
        elif node.rule.name not in ELEMENTWISE or (
            i in varies and np.prod(node.shape) != np.prod(shape)
        ):
            return "σ is not elementwise"
    return ""


def _replayed(nodes: list[Node], x: int, y: int) -> Function:
    """The nodes up to y as a function of an array of Taylors."""
    needed, program = {y}, []
    for i in range(y, -1, -1):
        if i in needed and i != x:
            needed |= set(nodes[i].operands)
    for i in sorted(needed - {x}):
        node = nodes[i]
        if node.operands:
            f = ELEMENTWISE[node.rule.name]
            program.append((i, partial(f, **node.params) if node.params else f, node.operands))
        else:
            constant = float(np.ravel(node.params["numbers"])[0])
            program.append((i, partial(taylor, constant), ()))

    def at(t: Taylor) -> Taylor:
        env: dict[int, Any] = {x: t}
        for i, f, operands in program:
            env[i] = f(*(env[j] for j in operands))
        return _number(env[y])

    def truth(a: Lifted) -> Lifted:
        flat = np.empty(a.size, object)
        for i, t in enumerate(a.data.ravel().tolist()):
            flat[i] = at(t)
        return a._like(flat.reshape(a.shape))

    return truth
