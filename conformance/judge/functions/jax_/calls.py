"""A function of JAX, rule by rule: each custom_vjp and custom_jvp on its own operands.

JAX derives every gradient itself, except where a user gave a rule: only there can a gradient be wrong. So the
layers of a function of JAX are its calls of custom_vjp and custom_jvp, and its own code is what is between
them. A zero is added to each call's operands and results, and the function is differentiated by these zeros
too: that gives the gradient that the call returned, and the cotangent that it received. Calls within scan,
while and cond are not separated: they are judged together with what contains them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from conformance.judge.functions.candidate import Array, Ran, Request
from conformance.judge.functions.jax_.candidate import array_of, candidate, names_of
from conformance.judge.functions.jax_.record import as_used, record, traced
from conformance.judge.functions.layers import Layer, titled, titled_candidate
from conformance.judge.functions.module import Cotangents
from conformance.judge.functions.recording import Recording, Table, is_float

__all__ = ["run"]

Meet = Callable[[Any, list[Any]], Sequence[Any]]
RULES = ("custom_vjp_call", "custom_vjp_call_jaxpr", "custom_jvp_call")
ENTERED = ("jit", "pjit", "closed_call", "core_call", "call")


def _walked(closed: Any, operands: Sequence[Any], meet: Meet) -> list[Any]:
    """What a jaxpr returns for its operands; `meet` computes each call of a user's rule."""
    jaxpr, consts = (closed.jaxpr, closed.consts) if hasattr(closed, "consts") else (closed, ())
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env |= zip(jaxpr.invars, operands, strict=True)
    for e in jaxpr.eqns:
        given = [v.val if hasattr(v, "val") else env[v] for v in e.invars]
        name = e.primitive.name
        if name in RULES:
            found = meet(e, given)
        elif name in ENTERED:
            called = next(e.params[k] for k in ("jaxpr", "call_jaxpr") if k in e.params)
            found = _walked(called, given, meet)
        else:
            found = _bound(e, given)
        env |= zip(e.outvars, found, strict=True)
    return [v.val if hasattr(v, "val") else env[v] for v in jaxpr.outvars]


def _bound(e: Any, operands: Sequence[Any]) -> list[Any]:
    """An equation, evaluated as it is: a rule keeps its derivative."""
    given = e.primitive.get_bind_params(e.params)
    functions, params = given if isinstance(given, tuple) else ((), given)  # before 0.8
    with source_info_util.user_context(e.source_info.traceback):  # keeps the line of the code
        found = e.primitive.bind(*functions, *operands, **params)
    return list(found) if e.primitive.multiple_results else [found]


@dataclass
class _Rule:
    """One call of a custom_vjp or a custom_jvp: its name and equation, its operands and results."""

    name: str
    equation: Any
    operands: list[Any]
    results: list[Any]

    @property
    def arguments(self) -> list[str]:
        """The names of the function's arguments."""
        own = list(getattr(_debug(self.equation), "arg_names", None) or ())
        own = [n or f"x{i}" for i, n in enumerate(own)]
        apart = len(set(own)) == len(own) == len(self.operands)
        return own if apart else [f"x{i}" for i in range(len(self.operands))]

    @property
    def made(self) -> list[str]:
        return ["y"] if len(self.results) == 1 else [f"y[{i}]" for i in range(len(self.results))]

    @property
    def kind(self) -> str:
        rule = str(self.equation.primitive.name).partition("_call")[0]
        place = str(getattr(_debug(self.equation), "func_src_info", "") or "")
        return f"{rule} of {Path(place.rpartition(' at ')[2]).name}" if " at " in place else rule


@dataclass
class _Code:
    """A function of arrays by name. For each dtype: its jaxpr, its rules as they were called, and the names
    of its outputs."""

    f: Callable[..., Any]
    inputs: Table
    _known: dict[str, tuple[Any, list[_Rule], list[str]]] = field(default_factory=dict)

    @property
    def floats(self) -> list[str]:
        return [n for n, M in self.inputs.items() if is_float(M)]

    def traced(self, *floats: Any) -> tuple[Any, Any]:
        """Its jaxpr for floats of these shapes and dtypes, and the structure of what it returns."""
        constant = {n: jnp.asarray(M) for n, M in self.inputs.items() if not is_float(M)}

        def of_floats(*some: Any) -> Any:
            named = constant | dict(zip(self.floats, some, strict=True))
            return self.f(*(named[n] for n in self.inputs))

        return traced(of_floats, *floats)

    def at(self, dtype: str) -> tuple[Any, list[_Rule], list[str]]:
        """Computed once for each dtype, outside of JAX's tracing, in which no value is a number."""
        if dtype not in self._known:
            floats = [jnp.asarray(self.inputs[n], dtype) for n in self.floats]
            closed, returned = self.traced(*floats)
            rules: list[_Rule] = []
            taken: dict[str, int] = {}

            def meet(e: Any, operands: list[Any]) -> Sequence[Any]:
                name = _name(e)
                taken[name] = taken.get(name, 0) + 1
                found = _bound(e, operands)
                again = name if taken[name] == 1 else f"{name}#{taken[name]}"
                rules.append(_Rule(again, e, operands, found))
                return found

            _walked(closed, floats, meet)
            self._known[dtype] = closed, rules, names_of(returned)
        return self._known[dtype]

    def own(self, dtype: str, *given: Any) -> list[Any]:
        """Its own code: a function of its floats and of the results of the rules, which returns its outputs
        and the operands of the rules."""
        _, rules, _ = self.at(dtype)
        n = len(self.floats)
        floats, results = list(given[:n]), iter(given[n:])
        turn = iter([[next(results) if _is_float(r) else r for r in x.results] for x in rules])
        handed: list[Any] = []

        def meet(e: Any, operands: list[Any]) -> Sequence[Any]:
            handed.extend(x for x in operands if _is_float(x))
            return next(turn)

        found = _walked(self.traced(*floats)[0], floats, meet)
        return [*found, *handed]

    def rule(self, i: int, dtype: str, *floats: Any) -> list[Any]:
        """One of its rules, as a function of the floats among its operands."""
        rule = self.at(dtype)[1][i]
        turn = iter(floats)
        return _bound(rule.equation, [next(turn) if _is_float(x) else x for x in rule.operands])


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating))


def _debug(e: Any) -> Any:
    """JAX's debug information on the function of a rule."""
    called = e.params["call_jaxpr"] if "call_jaxpr" in e.params else e.params.get("fun_jaxpr")
    return getattr(getattr(called, "jaxpr", None), "debug_info", None)


def _name(e: Any) -> str:
    """The function's name, after its named scopes: "MLP/act" for vmap(MLP)/vmap()/act."""
    name = str(getattr(_debug(e), "func_name", "") or e.primitive.name)
    scope = str(e.source_info.name_stack)
    while scope != (plain := re.sub(r"\w+\(([^()]*)\)", r"\1", scope)):
        scope = plain
    return "/".join([*filter(None, scope.split("/")), name])


def run(
    f: Callable[..., Any], inputs: Table, weights: Sequence[str], cotangents: Cotangents, dtype: str
) -> tuple[list[Layer], dict[str, Array]]:
    """The layers of a function that is run once (first its own code, then its rules), and its gradients by
    its weights.

    Raises whatever the function raises.
    """
    code = _Code(f, inputs)
    with as_used(dtype):
        closed, rules, outputs = code.at(dtype)
        floats = [jnp.asarray(inputs[n], dtype) for n in code.floats]
        zeros = [
            jnp.zeros_like(x) for r in rules for x in (*r.operands, *r.results) if _is_float(x)
        ]

        def shifted(floats: list[Any], zeros: list[Any]) -> list[Any]:
            turn = iter(zeros)

            def moved(of: Sequence[Any]) -> list[Any]:
                return [x + next(turn) if _is_float(x) else x for x in of]

            return _walked(closed, floats, lambda e, operands: moved(_bound(e, moved(operands))))

        y, back = jax.vjp(shifted, floats, zeros)
        named = {n: x for n, x in zip(outputs, y, strict=True) if _is_float(x)}
        c = cotangents({n: tuple(x.shape) for n, x in named.items()})
        G, shifts = back(
            [
                jnp.asarray(c[n], x.dtype) if n in named else np.zeros(x.shape, jax.dtypes.float0)
                for n, x in zip(outputs, y, strict=True)
            ]
        )
    gradients = dict(zip(code.floats, map(array_of, G), strict=True))
    whole = _Piece(
        inputs=dict(zip(code.floats, floats, strict=True)),
        outputs=named,
        cotangents=dict(c),
        gradients={n: g for n, g in zip(code.floats, G, strict=True) if n not in weights},
    )
    layers: list[Layer] = []
    arrived = iter(shifts)
    for i, r in enumerate(rules):
        given = {n: x for n, x in zip(r.arguments, r.operands, strict=True) if _is_float(x)}
        handed = {n: next(arrived) for n in given}
        made = {n: x for n, x in zip(r.made, r.results, strict=True) if _is_float(x)}
        came = {n: next(arrived) for n in made}
        piece = _Piece(given, made, came, handed)
        layers.append(piece.layer(r.name, r.kind, partial(code.rule, i), code, r.made))
        whole.cut(r.name, piece)
    own = whole.layer("", "its own code", code.own, code, [*outputs, *whole.handed])
    return [replace(own, parameters={n: n for n in weights}), *layers], {
        n: g for n, g in gradients.items() if n in weights
    }


@dataclass
class _Piece:
    """Numbers that enter and leave a piece of code, forward and backward, by name."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    cotangents: dict[str, Any]
    gradients: dict[str, Any]
    handed: list[str] = field(default_factory=list)

    def cut(self, name: str, inner: _Piece) -> None:
        """Cut out a rule inside: its results become inputs, its operands outputs."""
        for n, x in inner.outputs.items():
            self.inputs[f"{name}.{n}"], self.gradients[f"{name}.{n}"] = x, inner.cotangents[n]
        for n, x in inner.inputs.items():
            self.outputs[f"{name}({n})"], self.cotangents[f"{name}({n})"] = x, inner.gradients[n]
            self.handed.append(f"{name}({n})")

    def layer(
        self, path: str, kind: str, f: Callable[..., Any], code: _Code, titles: Sequence[str]
    ) -> Layer:
        """The piece as a layer to be judged: f(dtype, *inputs) has outputs of these titles."""

        def known(dtype: str) -> Callable[..., Any]:
            with as_used(dtype):
                code.at(dtype)
            return partial(f, dtype)

        def recorded(inputs: Table, dtype: str) -> Recording:
            return titled(titles, record(known(dtype), inputs, dtype, {}))

        def ask(request: Request) -> Ran:
            return candidate(known(request.dtype))(request)

        return Layer(
            path=path,
            kind=kind,
            inputs=_numbers(self.inputs),
            outputs={n: array_of(x) for n, x in self.outputs.items()},
            cotangents=_numbers(self.cotangents),
            gradients={n: array_of(g) for n, g in self.gradients.items()},
            parameters={},
            record=recorded,
            candidate=titled_candidate(titles, ask),
        )


def _numbers(of: Mapping[str, Any]) -> dict[str, Any]:
    return {n: np.asarray(x, np.float64) for n, x in of.items()}
