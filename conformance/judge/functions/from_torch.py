"""PyTorch code onto a tape, and PyTorch code as what is judged.

`record` traces a forward function with make_fx, which gives a graph of ATen operators without writes in
place, and reads the graph node by node: `ATEN` has what each operator is in primitives. No derivative is
read: of a torch.autograd.Function its forward runs as plain code, and its backward is never called. Beside
each recorded value stands what PyTorch itself computes there (`Recorded.tensor`), for dtypes, shapes and
branches. What depends on no input stays a tensor.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod as product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, functionalize
from torch.fx.experimental import proxy_tensor
from torch.overrides import TorchFunctionMode

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.recording import Recording, RecordingError, Table, is_float
from conformance.truth import arrays as at
from conformance.truth.nodes import Value, op
from conformance.truth.tape import Tape

__all__ = ["ATEN", "TorchCandidate", "candidate", "parameters_of", "record", "vjp"]

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


# --- what is given --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """A function of PyTorch, as a function of tensors by name.

    inputs   those of the caller, and after them the parameters of a module that the caller did not name
    buffers  of a module: what it keeps beside its parameters
    call     (tensors by name, buffers by name) -> what the function returns
    """

    inputs: Table
    buffers: Mapping[str, Tensor]
    call: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Any]


def _given(f: Any, inputs: Table, params: Mapping[str, Any]) -> _Given:
    if isinstance(f, type) and issubclass(f, torch.autograd.Function):
        function: Any = f  # whose apply is another while it is traced
        return _Given(inputs, {}, lambda t, _: function.apply(*t.values(), *params.values()))
    module = _module(f)
    if module is None:
        return _Given(inputs, {}, lambda t, _: f(*t.values(), **params))
    own = parameters_of(module)
    buffers = {n: b for n, b in module.named_buffers() if n not in inputs}
    kept = {*own, *(n for n, _ in module.named_buffers())}

    def call(t: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Any:
        state = {n: x for n, x in t.items() if n in kept} | dict(b)
        return functional_call(
            module, state, tuple(x for n, x in t.items() if n not in kept), dict(params)
        )

    return _Given({**inputs, **{n: M for n, M in own.items() if n not in inputs}}, buffers, call)


def _module(f: Any) -> nn.Module | None:
    """The module that f is, or makes; the same numbers each time."""
    if isinstance(f, nn.Module):
        return f
    if not (isinstance(f, type) and issubclass(f, nn.Module)):
        try:
            if inspect.signature(f).parameters:
                return None
        except (TypeError, ValueError):  # a function without a signature
            return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        made = f()
    return made if isinstance(made, nn.Module) else None


def parameters_of(module: Any) -> dict[str, NDArray[np.float64]]:
    """A module's parameters by name, as float64 arrays; one that is shared stands once.

    module  an nn.Module, or a class or function without arguments that makes one; of others nothing
    """
    made = _module(module)
    return {} if made is None else {n: _numbers(p) for n, p in made.named_parameters()}


def _numbers(t: Tensor) -> NDArray[Any]:
    """Floats as float64, whole numbers and masks as they are."""
    t = t.detach().cpu()
    return np.array((t.double() if t.is_floating_point() else t).numpy())


def _tensor(M: NDArray[Any], dtype: str) -> Tensor:
    t = torch.from_numpy(np.array(M, np.float64) if is_float(M) else np.array(M))
    return t.to(DTYPES[dtype]) if is_float(M) else t


def _buffers(given: _Given, dtype: str) -> dict[str, Tensor]:
    """Copies, which the function may write to."""
    return {
        n: b.detach().to(DTYPES[dtype]).clone() if b.is_floating_point() else b.detach().clone()
        for n, b in given.buffers.items()
    }


def _leaves(x: Any) -> list[Any]:
    """What a function returned, one after another."""
    if isinstance(x, Mapping):
        x = tuple(x.values())
    return [y for part in x for y in _leaves(part)] if isinstance(x, tuple | list) else [x]


# --- tracing --------------------------------------------------------------------------------------


@torch.library.custom_op("conformance::stop", mutates_args=())
def _stop(x: Tensor) -> Tensor:
    """detach, which a graph without autograd would not show."""
    return x.clone()


@torch.library.custom_op("conformance::unseen", mutates_args=())
def _unseen(x: Tensor) -> Tensor:
    """What autograd is not told of is written to next."""
    return x.clone()


_DETACHES = (Tensor.detach, torch.detach, Tensor.data.__get__)  # type: ignore[attr-defined]


class _Watch(TorchFunctionMode):
    """Each call of PyTorch while a function is traced: from which line, and whether autograd sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.within = (
            0  # forwards of autograd.Functions: what they hide from autograd is not hidden
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _lines(_line):
            return self._called(func, args, kwargs or {})

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        hidden = not torch.is_grad_enabled() and not self.within
        if func in _DETACHES:
            return args[0].view_as(args[0]) if self.within else _marked(_stop(args[0]))
        if func is Tensor.tolist:  # PyTorch's own reads memory, which a traced tensor has none of
            return _listed(args[0])
        if func in (Tensor.numpy, Tensor.__array__):
            raise RecordingError(
                "a tensor is turned into an array of NumPy, and what is done with it is not seen; "
                f"expected PyTorch's own functions on it; in {_line()}"
            )
        if func is Tensor.detach_:
            return args[0] if self.within else args[0].copy_(_stop(args[0]))
        if _in_place(func) and args and isinstance(args[0], Tensor):
            if getattr(args[0], "_shares", False):
                raise RecordingError(
                    "a tensor is changed through .detach() or .data, which autograd does not see; "
                    f"expected the tensor itself, or a copy; in {_line()}"
                )
            if hidden and args[0].is_floating_point():
                args[0].copy_(_unseen(args[0]))
        found = func(*args, **kwargs)
        return _all_stopped(found) if hidden and not _in_place(func) else found


def _listed(x: Tensor) -> Any:
    return [_listed(y) for y in x] if x.ndim else x.item()


def _marked(x: Tensor) -> Tensor:
    x._shares = True  # type: ignore[attr-defined]  # the memory of what it was taken from
    return x


def _in_place(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name in ("__setitem__", "__set__") or name.startswith("__i") or (
        name.endswith("_") and not name.endswith("__")
    )  # fmt: skip


def _all_stopped(x: Any) -> Any:
    if isinstance(x, Tensor):
        return _stop(x) if x.is_floating_point() else x
    if isinstance(x, tuple | list) and any(isinstance(y, Tensor) for y in x):
        return [_all_stopped(y) for y in x]
    return x


def _graph() -> Any:
    """The graph that is traced now, where this version of PyTorch tells."""
    mode = getattr(proxy_tensor, "get_proxy_mode", lambda: None)()
    return None if mode is None else mode.tracer.graph


_TORCH = str(Path(torch.__file__).parent)


def _line() -> str:
    """The user's line, as file:number: text; nothing where PyTorch calls itself."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file not in (__file__, contextlib.__file__) and not file.startswith((_TORCH, "<")):
            return f"{Path(file).name}:{frame.f_lineno}: {linecache.getline(file, frame.f_lineno).strip()}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class _Context:
    """What an autograd.Function's forward keeps for its backward: it may, and nobody asks."""

    def __init__(self, count: int) -> None:
        self.needs_input_grad = (True,) * count
        self.saved_tensors: tuple[Any, ...] = ()
        self.constant: tuple[Any, ...] = ()

    def save_for_backward(self, *of: Any) -> None:
        self.saved_tensors = of

    def mark_non_differentiable(self, *of: Any) -> None:
        self.constant = of

    save_for_forward = mark_dirty = set_materialize_grads = lambda self, *_: None


@contextmanager
def _forward_only(watch: _Watch) -> Iterator[None]:
    """While it lasts, autograd.Function.apply is its forward."""
    base: Any = torch.autograd.Function
    before = base.__dict__.get("apply")

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        context = _Context(len(args))
        watch.within += 1
        try:
            if cls.setup_context is not base.setup_context:
                found = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, found)
            else:
                found = cls.forward(context, *args, **kwargs)
        finally:
            watch.within -= 1
        fixed = [id(x) for x in context.constant]
        if not fixed:
            return found
        several = isinstance(found, tuple | list)
        of = [
            _stop(x) if id(x) in fixed and x.is_floating_point() else x
            for x in (found if several else [found])
        ]
        return tuple(of) if several else of[0]

    base.apply = classmethod(apply)
    try:
        yield
    finally:
        if before is None:
            del base.apply
        else:
            base.apply = before


class _Traced(NamedTuple):
    graph: Any  # torch.fx.GraphModule, which returns a tuple of tensors
    places: list[int]  # of these tensors among what the function returned
    several: bool


def _traced(given: _Given, tensors: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> _Traced:
    """The graph of operators, whose inputs are the tensors and then the buffers."""
    watch = _Watch()
    returned: dict[str, Any] = {}

    def run(*of: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(tensors, of, strict=False))
        kept = dict(zip(buffers, of[len(tensors) :], strict=True))
        with watch:
            found = given.call(named, kept)
        parts = _leaves(found)
        returned["places"] = [i for i, y in enumerate(parts) if isinstance(y, Tensor)]
        returned["several"] = not isinstance(found, Tensor)
        return tuple(parts[i] for i in returned["places"])

    trace = partial(proxy_tensor.make_fx, tracing_mode="real", _error_on_data_dependent_ops=False)
    given_all = (*tensors.values(), *buffers.values())
    # autograd is on so that torch.no_grad() in the function is seen; no tensor asks for a gradient
    with _forward_only(watch), _plain_kernels(), torch.enable_grad():
        first = trace(functionalize(run), decomposition_table=_decompositions())(*given_all)
        # once more: decompositions write in place
        graph = trace(functionalize(_Again(first).run))(*given_all)
    return _Traced(graph, returned["places"], returned["several"])


class _Again(torch.fx.Interpreter):
    """A graph is run, and traced: the lines are kept."""

    def run_node(self, n: torch.fx.Node) -> Any:
        with _lines(lambda: n.meta.get("line", "")):
            return super().run_node(n)


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """What is traced meanwhile comes from that line."""
    graph = _graph()
    last = next(iter(reversed(graph.nodes)), None) if graph is not None else None
    try:
        yield
    finally:
        for node in reversed(graph.nodes) if graph is not None else ():
            if node is last:
                break
            node.meta.setdefault("line", line())


@cache
def _decompositions() -> dict[Any, Any]:
    """Of operators that `ATEN` does not know."""
    table: Any = torch._decomp.core_aten_decompositions()
    return {o: f for o, f in table.items() if _rule(o) is None}


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without those that fuse a whole layer: nn.Transformer's fast path, oneDNN's recurrent layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*TF32")  # of a device that is not asked for
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


# --- a graph onto a tape --------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A tensor that depends on an input: its place on the tape, and what PyTorch computes there."""

    value: Value
    tensor: Tensor


class Call(NamedTuple):
    """One operator at some operands, of which one at least is recorded."""

    tape: Tape
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any  # what PyTorch computes

    def value(self, x: Any) -> Value:
        """An operand on the tape."""
        return x.value if isinstance(x, Recorded) else at.constant(self.tape, _plain(x))


Handler = Callable[..., Any]
ATEN: dict[str, Handler] = {}
"""What operators are in primitives, by the name without "aten.": with its overload, or of all overloads."""


def record(f: Any, inputs: Table, dtype: str, params: Mapping[str, Any]) -> Recording:
    """f(*inputs, **params) on a tape.

    f       a function of tensors; a torch.autograd.Function; an nn.Module, or a class or function without
            arguments that makes one
    inputs  by name, in the order of f's arguments; of a module also its parameters, by their names, which are
            else taken from it
    dtype   in which floats are handed to f

    Raises RecordingError, UndecidedBranchError, or whatever f raises.
    """
    given = _given(f, inputs, params)
    tensors = {n: _tensor(M, dtype) for n, M in given.inputs.items()}
    buffers = _buffers(given, dtype)
    traced = _traced(
        given,
        {n: t.clone() for n, t in tensors.items()},
        {n: b.clone() for n, b in buffers.items()},
    )
    recording = Recording.begun(given.inputs, dtype)
    placed = [
        Recorded(recording.inputs[n], t) if n in recording.inputs else t for n, t in tensors.items()
    ]
    with torch.no_grad():
        found = _read(recording.tape, traced.graph, [*placed, *buffers.values()])
    outputs: list[Any] = [None] * (max(traced.places, default=-1) + 1)
    for i, y in zip(traced.places, found, strict=True):
        if isinstance(y, Recorded) and y.tensor.is_floating_point():
            outputs[i] = y.value
    return recording.end(outputs, traced.several)


def _read(tape: Tape, graph: Any, given: Sequence[Any]) -> Sequence[Any]:
    """What the graph returns, node by node."""
    env: dict[Any, Any] = {}
    free = iter(given)
    for node in _needed(graph.graph):
        if node.op == "placeholder":
            env[node] = next(free)
        elif node.op == "get_attr":
            env[node] = _attribute(graph, node.target)
        elif node.op == "output":
            return [_looked_up(x, env) for x in node.args[0]]
        else:
            args, kwargs = _looked_up(node.args, env), _looked_up(node.kwargs, env)
            tape.line = node.meta.get("line") or tape.line
            try:
                env[node] = _computed(tape, node.target, args, kwargs)
            except RecordingError as e:
                place = f"; in {tape.line}" if tape.line else "."
                raise RecordingError(f"{str(e).rstrip('.')}{place}") from None
    raise RecordingError("the traced function returns nothing.")


def _needed(graph: Any) -> list[Any]:
    """The nodes that what is returned depends on, or a branch that was taken."""
    wanted: set[Any] = set()
    for node in reversed(graph.nodes):
        if (
            node in wanted
            or node.op in ("output", "placeholder")
            or "_local_scalar_dense" in str(node.target)
        ):
            wanted |= {node, *node.all_input_nodes}
    return [node for node in graph.nodes if node in wanted]


def _attribute(graph: Any, target: str) -> Any:
    found = graph
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _looked_up(x: Any, env: Mapping[Any, Any]) -> Any:
    if isinstance(x, torch.fx.Node):
        found = env[x]
        return _indices(found.call)[1] if isinstance(found, _Later) else found
    if isinstance(x, Mapping):
        return {k: _looked_up(v, env) for k, v in x.items()}
    return [_looked_up(v, env) for v in x] if isinstance(x, tuple | list) else x


def _operands(x: Any) -> Iterator[Any]:
    for y in x.values() if isinstance(x, Mapping) else x:
        if isinstance(y, list):
            yield from _operands(y)
        else:
            yield y


def _computed(tape: Tape, func: Any, args: Any, kwargs: Any) -> Any:
    """One node: a tensor where no operand is recorded."""
    if not isinstance(func, torch._ops.OpOverload):
        if getattr(func, "__name__", "") == "getitem":
            return args[0][args[1]]
        raise RecordingError(f"{func} is not known to the tape.")
    if torch.Tag.nondeterministic_seeded in func.tags and not _without_dropout(func, args, kwargs):
        raise RecordingError(
            f"the function is stochastic: {func} draws random numbers; expected none, such as dropout "
            "with p=0 or a module in eval mode."
        )
    out = func(*_as_computed(args), **_as_computed(kwargs))
    recorded = [x for x in _operands([*args, *kwargs.values()]) if isinstance(x, Recorded)]
    if not recorded:
        return out
    rule = _rule(func)
    if rule is None:
        raise RecordingError(
            f"the operator {func} is not known to the tape; expected others in its place."
        )
    to = _dtype(
        [y for y in (out if isinstance(out, tuple | list) else [out]) if isinstance(y, Tensor)]
    )
    tape.dtype = to or _dtype([x.tensor for x in recorded]) or tape.dtype
    if to is not None:  # what is computed in a wider dtype has its gradient rounded to its own
        args, kwargs = _widened(args, to), _widened(kwargs, to)
    found = rule(Call(tape, func, tuple(args), kwargs, out))
    if to is not None and _eps(to) > min(_eps(_dtype([x.tensor]) or to) for x in recorded):
        found = _each(lambda y: op.cast(y) if isinstance(y, Value) else y, found)
    return _beside(func, found, out)


def _without_dropout(func: Any, args: Any, kwargs: Any) -> bool:
    """Fused attention could draw numbers, and does not."""
    p = _bound(func, args, kwargs).get("dropout_p")
    return p is not None and not p


def _bound(func: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The operands by the names that the operator has for them."""
    arguments = func._schema.arguments
    named = dict(zip((a.name for a in arguments), args, strict=False))
    return {a.name: a.default_value for a in arguments} | named | dict(kwargs)


def _rule(func: Any) -> Handler | None:
    name = str(func).removeprefix("aten.")
    return ATEN.get(name) or ATEN.get(name.rpartition(".")[0])


def _as_computed(x: Any) -> Any:
    if isinstance(x, Recorded):
        return x.tensor
    if isinstance(x, Mapping):
        return {k: _as_computed(v) for k, v in x.items()}
    return [_as_computed(v) for v in x] if isinstance(x, list) else x


def _widened(x: Any, to: str) -> Any:
    if isinstance(x, Recorded):
        narrow = x.tensor.is_floating_point() and _eps(_name(x.tensor)) > _eps(to)
        return Recorded(op.widen(x.value), x.tensor.to(DTYPES[to])) if narrow else x
    if isinstance(x, Mapping):
        return {k: _widened(v, to) for k, v in x.items()}
    return [_widened(v, to) for v in x] if isinstance(x, list) else x


def _name(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")


def _eps(dtype: str) -> float:
    return float(torch.finfo(DTYPES[dtype]).eps)


def _dtype(of: Sequence[Tensor]) -> str | None:
    """The widest dtype of floats among them."""
    for t in of:
        if t.is_complex():
            raise RecordingError("complex numbers are not known to the tape; expected real ones.")
    return min((_name(t) for t in of if t.is_floating_point()), key=_eps, default=None)


def _each(f: Callable[[Any], Any], x: Any) -> Any:
    return [f(y) for y in x] if isinstance(x, tuple | list) else f(x)


def _beside(func: Any, found: Any, out: Any) -> Any:
    """A value, with what PyTorch computed; a tensor where it is none."""
    if isinstance(out, tuple | list):
        return [_beside(func, y, t) for y, t in zip(found, out, strict=True)]
    if not isinstance(found, Value):
        return out if found is None else found
    if found.shape != tuple(out.shape):
        raise RecordingError(f"{func} has shape {tuple(out.shape)}, and {found.shape} on the tape.")
    return Recorded(found, out)


# --- how rules are written ------------------------------------------------------------------------


def _plain(x: Any) -> Any:
    return _numbers(x) if isinstance(x, Tensor) else x


def _operand(x: Any) -> Any:
    """A Value, or plain numbers."""
    if isinstance(x, list):
        return [_operand(y) for y in x]
    return x.value if isinstance(x, Recorded) else _plain(x)


def aten(*names: str) -> Callable[[Handler], Handler]:
    """The operators of these names are f(call)."""

    def known(f: Handler) -> Handler:
        for name in names:
            ATEN[name] = f
        return f

    return known


def values(*names: str) -> Callable[[Handler], Handler]:
    """The operators of these names are f(*operands), each a Value or plain numbers."""

    def known(f: Handler) -> Handler:
        aten(*names)(
            lambda call: f(
                *map(_operand, call.args), **{k: _operand(v) for k, v in call.kwargs.items()}
            )
        )
        return f

    return known


def _binary(name: str, plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Value]:
    """A primitive, or its NumPy function where neither is on the tape."""
    return lambda a, b: (
        at.apply(name, a, b) if isinstance(a, Value) or isinstance(b, Value) else plain(a, b)
    )


_add, _sub = _binary("add", np.add), _binary("subtract", np.subtract)
_mul, _div = _binary("multiply", np.multiply), _binary("quotient", np.true_divide)
_maximum = _binary("maximum", np.maximum)
_greater, _equal = _binary("greater", np.greater), _binary("equal", np.equal)


def _neg(a: Any) -> Value:
    return at.apply("negative", a) if isinstance(a, Value) else np.negative(a)


def _not(m: Any) -> Value:
    return at.apply("none_of", m) if isinstance(m, Value) else np.logical_not(m)


def _minimum(a: Any, b: Any) -> Value:
    return _neg(_maximum(_neg(a), _neg(b)))


def _trunc(a: Value) -> Value:
    return at.where(_greater(a, 0.0), at.apply("floor", a), _neg(at.apply("floor", _neg(a))))


def _settled(call: Call, x: Any) -> Any:
    """Whole numbers or a mask that the program uses as they are: known beyond rounding, or refused."""
    if not isinstance(x, Recorded):
        return x
    if not np.array_equal(at.decided(x.value), _numbers(x.tensor)):
        raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return x.tensor


_OTHER_SIDE = (
    "{} depends on numbers that rounding decides; expected inputs at which they are further apart."
)


# --- elementwise ----------------------------------------------------------------------------------

for _aten, _primitive in {
    "abs": "absolute", "acos": "arccos", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atanh": "arctanh", "cos": "cos", "cosh": "cosh", "erf": "erf", "erfc": "erfc", "exp": "exp",
    "expm1": "expm1", "floor": "floor", "log": "log", "log1p": "log1p", "neg": "negative",
    "reciprocal": "reciprocal", "rsqrt": "rsqrt", "sigmoid": "sigmoid", "sign": "sign", "sin": "sin",
    "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
}.items():  # fmt: skip
    values(_aten)(partial(at.apply, _primitive))


def _log_of(a: Value, base: float) -> Value:
    """Over log(base), which is that of mathematics, not the float nearest to it."""
    return _div(at.apply("log", a), at.apply("log", at.constant(a.tape, base)))


def _root_half(a: Value) -> Value:
    """√½, beside a."""
    return op.rsqrt(at.constant(a.tape, 2.0))


def _power(a: Any, b: Any) -> Any:
    """Small powers as what they are, others as they are."""
    if not isinstance(b, Value) and np.ndim(b) == 0:
        simple = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(float(b))
        if simple:
            return at.apply(simple, a)
        if b == 1:
            return a
    return at.apply("power", a, b)


def _round(a: Value, decimals: int = 0) -> Value:
    """To the nearest; where two are, rounding decides."""
    scale = 10.0**decimals
    return _div(at.apply("floor", _add(_mul(a, scale), 0.5)), scale)


def _arctan2(a: Any, b: Any) -> Value:
    """Of the angle's tangent, or its cotangent, whichever is at most 1."""
    tape = at.tape_of(a, b)
    quarter = op.arctan(at.constant(tape, 1.0))
    flat = _greater(_square(b), _square(a))
    over = _div(a, at.where(flat, b, 1.0))
    under = _div(b, at.where(flat, 1.0, a))
    side = _sub(_mul(_greater(a, 0.0), 2.0), 1.0)  # 1 or −1
    left = at.where(_greater(0.0, b), _mul(_mul(quarter, 4.0), side), 0.0)
    return at.where(
        flat,
        _add(at.apply("arctan", over), left),
        _sub(_mul(_mul(quarter, 2.0), side), at.apply("arctan", under)),
    )


def _square(a: Any) -> Value:
    return at.apply("square", a) if isinstance(a, Value) else np.square(a)


def _divided(a: Any, b: Any, rounding_mode: str | None = None) -> Value:
    quotient: Value = _div(a, b)
    if rounding_mode is None:
        return quotient
    return at.apply("floor", quotient) if rounding_mode == "floor" else _trunc(quotient)


def _gelu(a: Value, approximate: str = "none") -> Value:
    if approximate == "tanh":
        beta = _mul(op.two_over_root_pi(a, sign=1), _root_half(a))
        inner = _mul(beta, _add(a, _mul(0.044715, _mul(_square(a), a))))
        return _mul(_mul(a, 0.5), _add(1.0, at.apply("tanh", inner)))
    return _mul(_mul(a, 0.5), _add(1.0, at.apply("erf", _mul(a, _root_half(a)))))


def _softplus(a: Value, beta: float = 1, threshold: float = 20) -> Value:
    """As PyTorch has it: the straight line beyond the threshold."""
    scaled = _mul(a, float(beta)) if beta != 1 else a
    beyond = _greater(scaled, float(threshold))
    soft = at.apply("softplus", scaled)
    return at.where(beyond, a, _div(soft, float(beta)) if beta != 1 else soft)


def _elu(a: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Value:
    positive = _greater(a, 0.0)
    below = at.apply("expm1", _times(at.where(positive, 0.0, a), input_scale))
    return at.where(positive, _times(a, scale), _times(below, alpha * scale))


def _times(a: Value, c: float) -> Value:
    return a if c == 1 else _mul(a, float(c))


def _clamp(a: Any, min: Any = None, max: Any = None) -> Value:
    a = a if min is None else _maximum(a, min)
    return a if max is None else _minimum(a, max)


def _hard_sigmoid(a: Value) -> Value:
    return _div(_clamp(_add(a, 3.0), 0.0, 6.0), 6.0)


def _log_add_exp(a: Any, b: Any) -> Value:
    return _add(b, at.apply("softplus", _sub(a, b)))


_ELEMENTWISE: dict[str, Handler] = {
    "add": lambda a, b, alpha=1: _add(a, b if alpha == 1 else _mul(b, float(alpha))),
    "sub": lambda a, b, alpha=1: _sub(a, b if alpha == 1 else _mul(b, float(alpha))),
    "rsub": lambda a, b, alpha=1: _sub(b, a if alpha == 1 else _mul(a, float(alpha))),
    "mul": _mul,
    "div": _divided,
    "floor_divide": lambda a, b: at.apply("floor", _div(a, b)),
    "remainder": lambda a, b: _sub(a, _mul(b, at.apply("floor", _div(a, b)))),
    "fmod": lambda a, b: _sub(a, _mul(b, _trunc(_div(a, b)))),
    "pow": _power,
    "atan2": _arctan2,
    "hypot": lambda a, b: at.apply("sqrt", _add(_square(a), _square(b))),
    "logaddexp": _log_add_exp,
    "maximum": _maximum,
    "fmax": _maximum,
    "minimum": _minimum,
    "fmin": _minimum,
    "clamp": _clamp,
    "clamp_min": _maximum,
    "clamp_max": _minimum,
    "hardtanh": lambda a, min_val=-1, max_val=1: _clamp(a, min_val, max_val),
    "acosh": lambda a: at.apply("log", _add(a, at.apply("sqrt", _mul(_sub(a, 1.0), _add(a, 1.0))))),
    "exp2": lambda a: at.apply("exp", _mul(a, at.apply("log", at.constant(a.tape, 2.0)))),
    "log2": lambda a: _log_of(a, 2.0),
    "log10": lambda a: _log_of(a, 10.0),
    "ceil": lambda a: _neg(at.apply("floor", _neg(a))),
    "trunc": _trunc,
    "round": _round,
    "relu": lambda a: _maximum(a, 0.0),
    "leaky_relu": lambda a, slope=0.01: at.where(_greater(a, 0.0), a, _mul(a, float(slope))),
    "_prelu_kernel": lambda a, w: at.where(_greater(a, 0.0), a, _mul(a, w)),
    "threshold": lambda a, threshold, value: at.where(_greater(a, float(threshold)), a, float(value)),
    "gelu": _gelu,
    "silu": lambda a: _mul(a, at.apply("sigmoid", a)),
    "mish": lambda a: _mul(a, at.apply("tanh", at.apply("softplus", a))),
    "softplus": _softplus,
    "log_sigmoid_forward": lambda a: (_neg(at.apply("softplus", _neg(a))), None),
    "elu": _elu,
    "hardsigmoid": _hard_sigmoid,
    "hardswish": lambda a: _mul(a, _hard_sigmoid(a)),
    "where": lambda mask, a, b: at.where(mask, a, b),
    "masked_fill": lambda a, mask, value: at.where(mask, value, a),
}  # fmt: skip
for _aten, _f in _ELEMENTWISE.items():
    values(_aten)(_f)


# --- comparisons and masks ------------------------------------------------------------------------

_COMPARISONS: dict[str, Callable[[Any, Any], Value]] = {
    "gt": _greater,
    "lt": lambda a, b: _greater(b, a),
    "ge": lambda a, b: _not(_greater(b, a)),
    "le": lambda a, b: _not(_greater(a, b)),
    "eq": _equal,
    "ne": lambda a, b: _not(_equal(a, b)),
}
_OF_MASKS: dict[str, Handler] = {
    "logical_not": _not,
    "bitwise_not": _not,
    "logical_and": _binary("both_of", np.logical_and),
    "bitwise_and": _binary("both_of", np.logical_and),
    "logical_or": _binary("either_of", np.logical_or),
    "bitwise_or": _binary("either_of", np.logical_or),
    "logical_xor": lambda a, b: _not(_equal(a, b)),
    "bitwise_xor": lambda a, b: _not(_equal(a, b)),
}


def _compared(f: Callable[[Any, Any], Value], call: Call) -> Any:
    """With an infinite number no rounding decides: it is as PyTorch sees it."""
    a, b = map(_operand, call.args)
    infinite = any(np.isinf(x).all() for x in (a, b) if not isinstance(x, Value))
    return None if infinite else f(a, b)


def _of_masks(f: Handler, call: Call) -> Any:
    return f(*(_mask(call, x) for x in call.args))


for _aten, _f in _COMPARISONS.items():
    aten(_aten)(partial(_compared, _f))
for _aten, _f in _OF_MASKS.items():
    aten(_aten)(partial(_of_masks, _f))


def _mask(call: Call, x: Any) -> Any:
    """Numbers as whether they are not 0."""
    if isinstance(x, Recorded):
        return x.value if x.tensor.dtype == torch.bool else _not(_equal(x.value, 0.0))
    return _plain(x).astype(bool) if isinstance(x, Tensor) else x


@aten("isnan", "isinf")
def _is_finite(call: Call) -> Any:
    """No rounding makes a number infinite: it is as PyTorch sees it."""
    return None


# --- a dtype, a copy, a branch --------------------------------------------------------------------


@aten("_to_copy", "prims.convert_element_type")
def _to(call: Call) -> Any:
    x, to = call.args[0], call.out.dtype
    if to == torch.bool:
        return _mask(call, x)
    if to.is_floating_point or x.tensor.dtype == torch.bool or not x.tensor.is_floating_point():
        return x.value
    if not np.array_equal(at.decided(_trunc(x.value)), _numbers(call.out)):
        raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return call.out


@aten("clone", "alias")
def _same(call: Call) -> Value:
    """PyTorch's own detach: that of the function is `conformance.stop`."""
    return call.value(call.args[0])


@aten("copy")
def _copied(call: Call) -> Value:
    return at.broadcast(call.value(call.args[1]), tuple(call.out.shape))


@aten("fill")
def _filled(call: Call) -> Any:
    if not isinstance(call.args[1], Recorded):
        return call.out
    return at.broadcast(call.args[1].value, tuple(call.out.shape))


@aten("conformance.stop")
def _stopped(call: Call) -> Value:
    return op.stop(call.args[0].value)


@aten("conformance.unseen")
def _hidden(call: Call) -> Value:
    raise RecordingError(
        "a tensor that depends on an input is changed in place under torch.no_grad(), and autograd is not "
        "told; expected the change outside of it, or a new tensor."
    )


@aten(
    "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "empty_like", "new_empty",
    "new_empty_strided",
)  # fmt: skip
def _like(call: Call) -> Tensor:
    """Of the same shape, with other numbers; those of none are 0."""
    return torch.zeros_like(call.out) if "empty" in str(call.func) else call.out


@aten("_local_scalar_dense")
def _item(call: Call) -> Any:
    x = call.args[0]
    if x.tensor.dtype != torch.bool:
        raise RecordingError(
            "a number computed from the inputs is turned into a plain one (.item(), float(), int()), and "
            "what is done with it is not seen; expected tensors."
        )
    _settled(call, x)
    return call.out


# --- moving numbers about -------------------------------------------------------------------------


def _moves(data: Sequence[int], *names: str) -> None:
    """Operators that only move numbers about: those of the operands at the positions `data`."""
    aten(*names)(lambda call: _moved(call, data))


def _moved(call: Call, data: Sequence[int]) -> Any:
    """The operator is asked where it puts the places of the numbers; 0 is what it fills with."""
    parts: list[Value] = []

    def places(x: Any) -> Any:
        if isinstance(x, list):
            return [places(y) for y in x]
        start = 1 + sum(product(p.shape) for p in parts)
        parts.append(call.value(x))
        n = product(parts[-1].shape)
        return torch.arange(start, start + n, dtype=torch.float64).reshape(parts[-1].shape)

    args = [places(x) if i in data else _index(call, x) for i, x in enumerate(call.args)]
    found = call.func(*args, **{k: _index(call, v) for k, v in call.kwargs.items()})
    flat = [at.reshape(p, (product(p.shape),)) for p in parts]
    return _each(lambda to: _taken(at.join(flat), _numbers(to).astype(np.intp) - 1), found)


def _index(call: Call, x: Any) -> Any:
    if isinstance(x, list):
        return [_index(call, y) for y in x]
    return _settled(call, x)


def _taken(flat: Value, index: NDArray[np.intp]) -> Value:
    n = product(flat.shape)
    if index.size == n and np.array_equal(index.ravel(), np.arange(n)):
        return at.reshape(flat, index.shape)
    return at.taken(flat, index)


_moves(
    (0,), "view", "_unsafe_view", "permute", "transpose", "t", "squeeze", "unsqueeze", "slice", "select",
    "split", "split_with_sizes", "unbind", "repeat", "flip", "roll", "gather", "index", "index_select",
    "take",
    "diagonal", "diag_embed", "tril", "triu", "unfold", "im2col", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "pixel_shuffle",
    "pixel_unshuffle", "masked_select", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "_unsafe_index", "rot90",
)  # fmt: skip
_moves((0, 1), "slice_scatter", "select_scatter", "diagonal_scatter")
_moves((0, 2), "masked_scatter")
_moves((0, 3), "scatter.src", "index_copy")


@aten("cat", "stack")
def _joined(call: Call) -> Any:
    return _moved(
        call._replace(args=([x for x in call.args[0] if x is not None], *call.args[1:])), (0,)
    )


@aten("expand")
def _expanded(call: Call) -> Value:
    return at.broadcast(call.args[0].value, tuple(call.out.shape))


@aten("as_strided")
def _strided(call: Call) -> Any:
    x = call.args[0].tensor
    if (
        not x.is_contiguous()
        or x.storage_offset()
        or x.untyped_storage().nbytes() != x.numel() * x.itemsize
    ):
        raise RecordingError(
            "torch.as_strided of a tensor that is not contiguous is not known to the tape."
        )
    return _moved(call, (0,))


@values("constant_pad_nd")
def _padded(a: Value, pad: Sequence[int], value: float = 0) -> Value:
    places = torch.arange(1, product(a.shape) + 1, dtype=torch.float64).reshape(a.shape)
    index = _numbers(torch.constant_pad_nd(places, list(pad), 0)).astype(np.intp) - 1
    found = at.taken(a, index)
    return found if value == 0 else at.where(index < 0, float(value), found)


@aten("embedding")
def _embedded(call: Call) -> Value:
    """The row of `padding_idx` has no gradient."""
    weight, indices, padding = (*call.args, -1)[:3]
    at_ = _numbers(_settled(call, indices))
    rows = at.moved(call.value(weight), lambda p: p[at_])
    if padding < 0 or not (at_ == padding).any():
        return rows
    return at.where((at_ == padding)[..., None], op.stop(rows), rows)


def _added_at(a: Value, targets: Tensor, values: Value) -> Value:
    """a, flattened, with each value added at its place."""
    flat = at.reshape(a, (product(a.shape),))
    return at.reshape(at.put(flat, _numbers(targets).astype(np.intp), values, add=True), a.shape)


def _places_of(x: Any) -> Tensor:
    shape = tuple(x.tensor.shape if isinstance(x, Recorded) else x.shape)
    return torch.arange(product(shape)).reshape(shape)


@aten("index_put", "_unsafe_index_put")
def _index_put(call: Call) -> Any:
    x, indices, new, accumulate = (*call.args, *call.kwargs.values(), False)[:4]
    if not accumulate:
        return _moved(call, (0, 2))
    indices = [None if i is None else _settled(call, i) for i in indices]
    targets = torch.ops.aten.index(_places_of(x), indices)
    return _added_at(call.value(x), targets, at.broadcast(call.value(new), tuple(targets.shape)))


@aten("scatter.value")
def _scattered(call: Call) -> Any:
    x, dim, index, value = call.args
    new = torch.full(index.shape, float(value), dtype=x.tensor.dtype)
    return _moved(call._replace(func=torch.ops.aten.scatter.src, args=(x, dim, index, new)), (0, 3))


@aten("scatter_add", "scatter_reduce.two")
def _scatter_add(call: Call) -> Value:
    x, dim, index, new, *more = call.args
    if (more or ["sum"])[0] != "sum" or not call.kwargs.get("include_self", True):
        raise RecordingError(
            f"{call.func} with reduce={more[0]!r} is not known to the tape; "
            "expected 'sum', with include_self=True."
        )
    index = _settled(call, index)
    targets = torch.gather(_places_of(x), dim, index)
    part = tuple(slice(n) for n in index.shape)
    return _added_at(call.value(x), targets, at.moved(call.value(new), lambda p: p[part]))


@aten("index_add")
def _index_add(call: Call) -> Value:
    x, dim, index, new = call.args
    alpha = call.kwargs.get("alpha", 1)
    targets = torch.index_select(_places_of(x), dim, _settled(call, index))
    return _added_at(call.value(x), targets, _times(call.value(new), alpha))


# --- what depends on the order of numbers ---------------------------------------------------------


def _indices(call: Call) -> Any:
    """All that the operator returns, on numbers that are known beyond rounding: their order is PyTorch's."""

    def exact(x: Any) -> Any:
        return torch.from_numpy(at.decided(x.value).copy()) if isinstance(x, Recorded) else x

    again = call.func(*map(exact, call.args), **call.kwargs)
    for a, b in zip(_leaves(again), _leaves(call.out), strict=True):
        if not b.is_floating_point() and not torch.equal(a, b):
            raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return call.out


aten("argmax", "argmin", "nonzero", "bucketize", "searchsorted")(_indices)


@aten("sort", "topk", "kthvalue", "median.dim", "cummax", "cummin", "mode")
def _picked(call: Call) -> Any:
    """The values where the indices say, along one axis."""
    _, indices = _indices(call)
    x = call.args[0]
    dim = _bound(call.func, call.args, call.kwargs)["dim"]
    along = indices.unsqueeze(dim) if indices.ndim < x.tensor.ndim else indices
    index = _numbers(torch.gather(_places_of(x), dim, along) if x.tensor.ndim else _places_of(x))
    return at.taken(x.value, index.reshape(indices.shape)), indices


# --- over axes ------------------------------------------------------------------------------------


def _over(axes: Any) -> Any:
    """No axes are all."""
    return None if axes is None or (isinstance(axes, list) and not axes) else axes


@values("sum")
def _sum(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return at.sum(a, _over(dim), keepdim)


@values("mean")
def _mean(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return at.mean(a, _over(dim), keepdim)


def _count(a: Value, axes: Any) -> int:
    chosen = range(len(a.shape)) if axes is None else [axes] if isinstance(axes, int) else axes
    return product(a.shape[i] for i in chosen)


def _moments(a: Value, axes: Any, correction: float = 0) -> tuple[Value, Value]:
    """Mean and variance over some axes, which are kept."""
    mean = at.mean(a, axes, True)
    total = at.sum(_square(_sub(a, mean)), axes, True)
    return mean, _div(total, float(max(_count(a, axes) - correction, 0)))


def _dropped(a: Value, axes: Any, keepdim: bool) -> Value:
    """Without the axes of length 1 that a sum has left."""
    if keepdim:
        return a
    n = len(a.shape)
    gone = (
        range(n) if axes is None else [i % n for i in ([axes] if isinstance(axes, int) else axes)]
    )
    return at.reshape(a, tuple(k for i, k in enumerate(a.shape) if i not in gone))


@values("var.correction", "var_mean.correction")
def _variance(
    a: Value, dim: Any = None, correction: float | None = None, keepdim: bool = False
) -> Any:
    axes = _over(dim)
    mean, variance = _moments(a, axes, 1 if correction is None else correction)
    return _dropped(variance, axes, keepdim), _dropped(mean, axes, keepdim)


_both = ATEN["var_mean.correction"]
ATEN["var.correction"] = lambda call: _both(call)[0]


@values("amax", "max.default")
def _amax(a: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return at.largest(a, _over(dim), keepdim)


def _smallest(a: Value, axes: Any, keepdim: bool) -> Value:
    return _neg(at.largest(_neg(a), axes, keepdim))


@values("amin", "min.default")
def _amin(a: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return _smallest(a, _over(dim), keepdim)


@aten("max.dim", "min.dim")
def _extreme(call: Call) -> Any:
    """Of equals each has its share of the gradient; the indices, where they are asked for, are known."""
    f = _amax if "max" in str(call.func) else _amin
    return f(call.args[0].value, *call.args[1:]), _Later(call)


class _Later(NamedTuple):
    """Indices that are not asked for are not decided."""

    call: Call


@values("prod")
def _prod(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    if dim is None:
        a, dim = at.reshape(a, (product(a.shape),)), 0
    last = at.moved(at.cumulative(a, dim, "prod"), lambda p: np.take(p, [-1], axis=dim))
    return _dropped(last, dim, keepdim)


@aten("any", "all")
def _some(call: Call) -> Value:
    axes, keepdim = (*call.args[1:], None, False)[:2]
    mask = _mask(call, call.args[0])
    f = at.largest if "any" in str(call.func) else _smallest
    return f(mask, axes, keepdim)


@values("logsumexp")
def _logsumexp(a: Value, dim: Any, keepdim: bool = False) -> Value:
    axes = _over([dim] if isinstance(dim, int) else dim)
    top = op.stop(at.largest(a, axes, True))
    return _dropped(
        _add(top, at.apply("log", at.sum(at.apply("exp", _sub(a, top)), axes, True))), axes, keepdim
    )


@values("linalg_vector_norm")
def _norm(
    a: Value, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    axes, size = _over(dim), partial(at.apply, "absolute")
    if ord == 2:
        return at.apply("sqrt", at.sum(_square(a), axes, keepdim))
    if ord == 1:
        return at.sum(size(a), axes, keepdim)
    if np.isinf(ord):
        return (at.largest if ord > 0 else _smallest)(size(a), axes, keepdim)
    if ord == 0:
        return at.sum(_not(_equal(a, 0.0)), axes, keepdim)
    return at.apply("power", at.sum(at.apply("power", size(a), float(ord)), axes, keepdim), 1 / ord)


@values("cumsum")
def _cumsum(a: Value, dim: int, dtype: Any = None) -> Value:
    return at.cumulative(a, dim) if a.shape else a


@values("cumprod")
def _cumprod(a: Value, dim: int, dtype: Any = None) -> Value:
    return at.cumulative(a, dim, "prod") if a.shape else a


@values("logcumsumexp")
def _logcumsumexp(a: Value, dim: int) -> Value:
    top = op.stop(at.largest(a, dim, True))
    return _add(top, at.apply("log", at.cumulative(at.apply("exp", _sub(a, top)), dim)))


@values("_softmax")
def _softmax(a: Value, dim: int, half_to_float: bool = False) -> Value:
    e = at.apply("exp", _shifted(a, dim))
    return _div(e, at.sum(e, dim, True))


@values("_log_softmax")
def _log_softmax(a: Value, dim: int, half_to_float: bool = False) -> Value:
    below = _shifted(a, dim)
    return _sub(below, at.apply("log", at.sum(at.apply("exp", below), dim, True)))


def _shifted(a: Value, dim: int) -> Value:
    """By the maximum, which changes nothing and has no gradient."""
    return _sub(a, op.stop(at.largest(a, dim, True)))


# --- products -------------------------------------------------------------------------------------


def _product(a: Any, b: Any) -> Value:
    """Rows of a softmax are divided by their sum after the product, as fused attention does it.

    Its backward has Σ dO∘O where the plain form has Σ P∘dP: equal, but with other errors, which are all
    that is left where a row has one number that is not masked.
    """
    parts = _numerators(a) if isinstance(a, Value) else None
    if parts is None:
        return at.matmul(a, b)
    return _div(at.matmul(parts[0], b), parts[1])


def _numerators(a: Value) -> tuple[Value, Value] | None:
    """e and Σe, where a is e/Σe along its rows."""
    nodes = a.tape.nodes
    node = nodes[a.index]
    if node.rule.name == "reshape":
        inner = Value(a.tape, node.operands[0])
        if inner.shape[-1:] != a.shape[-1:] or (parts := _numerators(inner)) is None:
            return None
        return at.reshape(parts[0], a.shape), at.reshape(parts[1], (*a.shape[:-1], 1))
    if node.rule.name != "quotient" or len(a.shape) < 2:
        return None
    e, total = node.operands
    over = nodes[total]
    if over.rule.name != "sum" or over.params["axes"] != (-1,) or over.operands != (e,):
        return None
    return Value(a.tape, e), Value(a.tape, total)


values("mm", "bmm")(_product)
values("mv", "dot")(at.matmul)


@aten("_scaled_dot_product_flash_attention_for_cpu")
def _attention(call: Call) -> Any:
    of = _bound(call.func, call.args, call.kwargs)
    q, k, v = (call.value(of[n]) for n in ("query", "key", "value"))
    scale = q.shape[-1] ** -0.5 if of["scale"] is None else of["scale"]
    scores = _mul(at.matmul(q, op.transpose(k)), float(scale))
    if of["is_causal"]:
        scores = at.where(np.tri(scores.shape[-2], scores.shape[-1]), scores, -np.inf)
    if of["attn_mask"] is not None:
        scores = _add(scores, _operand(of["attn_mask"]))
    return _product(_softmax(scores, -1), v), None


@values("addmm", "baddbmm", "addmv")
def _addmm(a: Any, b: Any, c: Any, beta: float = 1, alpha: float = 1) -> Value:
    found = at.matmul(b, c) if isinstance(b, Value) or isinstance(c, Value) else np.matmul(b, c)
    found = found if alpha == 1 else _mul(found, float(alpha))
    if not beta:
        return found
    return _add(a if beta == 1 else _mul(a, float(beta)), found)


@aten("convolution")
def _convolution(call: Call) -> Value:
    x, w, bias, stride, padding, dilation, transposed, output_padding, groups = call.args
    a, kernel = call.value(x), call.value(w)
    n = len(a.shape) - 2
    stride, padding, dilation, more = (
        list(v) * (n if len(v) == 1 else 1) for v in (stride, padding, dilation, output_padding)
    )
    if transposed:
        size = kernel.shape[2:]
        kernel = _turned(kernel, groups)
        reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        pads = [(r - p, r - p + m) for r, p, m in zip(reach, padding, more, strict=True)]
        found = at.convolve(a, kernel, [1] * n, pads, dilation, groups, spread=stride)
    else:
        found = at.convolve(a, kernel, stride, [(p, p) for p in padding], dilation, groups)
    if bias is None:
        return found
    b = call.value(bias)
    return _add(found, at.reshape(b, (*b.shape, *(1,) * n)))


def _turned(kernel: Value, groups: int) -> Value:
    """in×(out/groups)×… as out×(in/groups)×…, back to front."""
    many, out, *size = kernel.shape
    grouped = at.reshape(kernel, (groups, many // groups, out, *size))
    swapped = at.permute(grouped, (0, 2, 1, *range(3, 3 + len(size))))
    turned = at.moved(swapped, lambda p: np.flip(p, tuple(range(3, 3 + len(size)))))
    return at.reshape(turned, (groups * out, many // groups, *size))


# --- windows --------------------------------------------------------------------------------------

Spans = list[NDArray[np.intp]]
"""Of each axis: out×size, which elements each window has; −1 for none."""


def _spans(
    shape: Sequence[int], size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Spans:
    found = []
    for n, k, s, p, d in zip(shape, size, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        out = (room + s - 1 if ceil else room) // s + 1
        if ceil and (out - 1) * s >= n + p:
            out -= 1  # a window that would begin in the padding at the end
        index = np.arange(out)[:, None] * s + np.arange(k)[None, :] * d - p
        found.append(np.where((index >= 0) & (index < n), index, -1))
    return found


def _adaptive(shape: Sequence[int], to: Sequence[int]) -> Spans:
    found = []
    for n, out in zip(shape, to, strict=True):
        start = np.arange(out) * n // out
        end = -(-(np.arange(1, out + 1) * n) // out)
        index = start[:, None] + np.arange(int((end - start).max()))[None, :]
        found.append(np.where(index < end[:, None], index, -1))
    return found


def _windows(a: Value, spans: Spans, empty: float) -> Value:
    """…×out×size: what each window of the last axes has, in one axis; `empty` beyond."""
    n = len(spans)
    places: Any = np.zeros((), np.intp)
    there: Any = np.ones((), np.bool_)
    for d, span in enumerate(spans):
        like = [1] * (2 * n)
        like[d], like[n + d] = span.shape
        places = places * a.shape[len(a.shape) - n + d] + np.maximum(span, 0).reshape(like)
        there = there & (span >= 0).reshape(like)
    outer, inner = a.shape[: len(a.shape) - n], product(a.shape[len(a.shape) - n :])
    stacked = np.arange(product(outer)).reshape(*outer, *(1,) * (2 * n)) * inner + places
    stacked = np.where(there, stacked, product(a.shape))
    index = stacked.reshape(*stacked.shape[: len(outer) + n], -1)
    flat = at.join([at.reshape(a, (product(a.shape),)), np.array([empty])])
    return at.taken(flat, index)


def _lists(n: int, *of: Any) -> list[list[int]]:
    """One number for each axis."""
    return [
        list(v) * (n if len(v) == 1 else 1) if isinstance(v, list | tuple) else [v] * n for v in of
    ]


@aten("max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(call: Call) -> Any:
    n = 2 if "2d" in str(call.func) else 3
    of = _bound(call.func, call.args, call.kwargs)
    a, size = call.value(call.args[0]), of["kernel_size"]
    size, stride, padding, dilation = _lists(
        n, size, of["stride"] or size, of["padding"], of["dilation"]
    )
    spans = _spans(a.shape[-n:], size, stride, padding, dilation, of["ceil_mode"])
    return at.largest(_windows(a, spans, -np.inf), -1), _Later(call)


@aten("avg_pool2d", "avg_pool3d")
def _avg_pool(call: Call) -> Value:
    n = int(str(call.func).partition("avg_pool")[2][0])
    of = _bound(call.func, call.args, call.kwargs)
    a, size = call.value(call.args[0]), of["kernel_size"]
    size, stride, padding = _lists(n, size, of["stride"] or size, of["padding"])
    padded, divisor = of["count_include_pad"], of["divisor_override"]
    spans = _spans(a.shape[-n:], size, stride, padding, [1] * n, of["ceil_mode"])
    counts: Any = np.ones(())
    for long, span, k, s, p in zip(a.shape[-n:], spans, size, stride, padding, strict=True):
        start = np.arange(len(span)) * s - p
        within = np.minimum(start + k, long + p) - start if padded else (span >= 0).sum(axis=-1)
        counts = np.multiply.outer(counts, within)
    return _div(at.sum(_windows(a, spans, 0.0), -1), float(divisor) if divisor else counts)


@aten("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def _adaptive_avg_pool(call: Call) -> Value:
    a = call.args[0].value
    spans = _adaptive(a.shape[-len(call.args[1]) :], call.args[1])
    counts: Any = np.ones(())
    for span in spans:
        counts = np.multiply.outer(counts, (span >= 0).sum(axis=-1))
    return _div(at.sum(_windows(a, spans, 0.0), -1), counts)


@aten("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(call: Call) -> Any:
    a = call.args[0].value
    spans = _adaptive(a.shape[-len(call.args[1]) :], call.args[1])
    return at.largest(_windows(a, spans, -np.inf), -1), _Later(call)


# --- norms ----------------------------------------------------------------------------------------


def _scaled(y: Value, weight: Any, bias: Any, shape: Sequence[int]) -> Value:
    for f, of in ((_mul, weight), (_add, bias)):
        if of is not None:
            y = f(
                y, at.reshape(of, tuple(shape)) if isinstance(of, Value) else np.reshape(of, shape)
            )
    return y


def _normalised(a: Value, axes: Any, eps: float) -> tuple[Value, Value, Value]:
    mean, variance = _moments(a, axes)
    scale = at.apply("rsqrt", _add(variance, float(eps)))
    return _mul(_sub(a, mean), scale), mean, scale


@values("native_layer_norm")
def _layer_norm(a: Value, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    y, mean, scale = _normalised(a, list(range(-len(shape), 0)), eps)
    return _scaled(y, weight, bias, shape), mean, scale


@values("native_group_norm")
def _group_norm(
    a: Value, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> Any:
    rows = at.reshape(a, (N, group, C // group * HxW))
    y, mean, scale = _normalised(rows, [-1], eps)
    y = _scaled(at.reshape(y, a.shape), weight, bias, (C, *(1,) * (len(a.shape) - 2)))
    return y, at.reshape(mean, (N, group)), at.reshape(scale, (N, group))


def _batch_norm(
    a: Any, weight: Any, bias: Any, stats: Any, eps: float
) -> tuple[Value, Value | None, Value | None]:
    """y, and mean and scale of the batch, where no statistics are given."""
    shape = (a.shape[1], *(1,) * (len(a.shape) - 2))
    if stats is None:
        y, mean, scale = _normalised(a, [i for i in range(len(a.shape)) if i != 1], eps)
        return (
            _scaled(y, weight, bias, shape),
            at.reshape(mean, shape[:1]),
            at.reshape(scale, shape[:1]),
        )
    mean, variance = (at.reshape(s, shape) for s in stats)
    y = _mul(_sub(a, mean), at.apply("rsqrt", _add(variance, float(eps))))
    return _scaled(y, weight, bias, shape), None, None


@aten(
    "native_batch_norm", "_native_batch_norm_legit.no_stats", "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit_functional",
)  # fmt: skip
def _batch_norm_of(call: Call) -> Any:
    """What becomes of the running statistics is not part of the function."""
    x, weight, bias, *stats = call.args[:-1]
    name = str(call.func)
    training = "no_training" not in name and stats[0 if "no_stats" in name else 2]
    if not training and not isinstance(stats[0], Recorded | Tensor):
        training = True
    given = None if training else [call.value(s) for s in stats[:2]]
    found = _batch_norm(call.value(x), _operand(weight), _operand(bias), given, call.args[-1])
    return (*found, *(None,) * (len(call.out) - 3))


# --- what a candidate is --------------------------------------------------------------------------


@dataclass(frozen=True)
class TorchCandidate:
    """PyTorch code with its gradients, on the CPU in one thread.

    f         as for `record`; its gradients are autograd's, which calls what an autograd.Function has
    backward  or a function (cotangents…, inputs…) -> gradients: of all inputs, or of those that are floats,
              or of those that are asked for, in their order; or by name
    params    handed on to both
    """

    f: Any
    backward: Callable[..., Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, request: Request) -> Ran:
        """Raises whatever the code raises."""
        return self._ran(request, _contiguous)

    def strided(self, request: Request) -> Ran:
        """The same numbers in memory that is not contiguous: what comes should be the same."""
        return self._ran(request, _transposed)

    def variants(self) -> dict[str, Candidate]:
        """The same code, asked in other ways that must make no difference."""
        return {"tensors that are not contiguous": self.strided}

    def _ran(self, request: Request, laid: Callable[[Tensor], Tensor]) -> Ran:
        given = _given(self.f, request.inputs, self.params)
        with _one_thread():
            first = self._once(given, request, laid)
            again = self._once(given, request, laid)
        notes = list(first.notes)
        if not _same_bits(first, again):
            notes.append("gives other bits when it is called a second time")
        return Ran(first.outputs, first.gradients, tuple(notes))

    def _once(self, given: _Given, request: Request, laid: Callable[[Tensor], Tensor]) -> Ran:
        tensors = {n: laid(_tensor(M, request.dtype)) for n, M in given.inputs.items()}
        before = {n: _numbers(t) for n, t in tensors.items()}
        if self.backward is None:
            for n in request.wrt:
                tensors[n].requires_grad_()
        with torch.set_grad_enabled(self.backward is None):
            found = given.call(tensors, _buffers(given, request.dtype))
        outputs = {n: y for n, y in _named(found).items() if y.is_floating_point()}
        cotangents = {
            n: laid(torch.from_numpy(np.array(c, np.float64)).to(outputs[n].dtype))
            for n, c in request.cotangents.items()
            if n in outputs
        }
        arrays = {n: _array(y) for n, y in outputs.items()}
        wrong = [n for n, c in cotangents.items() if c.shape != outputs[n].shape]
        notes = [f"returns {n} of another shape: no gradient is asked for" for n in wrong]
        notes += [
            f"returns {n} in {a.dtype}, and its inputs are {request.dtype}"
            for n, a in arrays.items()
            if a.dtype != request.dtype
        ]
        gradients: dict[str, Tensor | None] = dict.fromkeys(request.wrt)
        if not wrong:
            find = self._by_autograd if self.backward is None else self._by_hand
            gradients |= find(tensors, outputs, cotangents, request.wrt)
        for n, t in tensors.items():
            if not np.array_equal(before[n], _numbers(t), equal_nan=is_float(before[n])):
                notes.append(f"writes to its input {n}")
        return Ran(
            arrays,
            {n: None if g is None else _array(g) for n, g in gradients.items()},
            tuple(notes),
        )

    def _by_autograd(self, tensors: Any, outputs: Any, cotangents: Any, wrt: Any) -> dict[str, Any]:
        of = [n for n in cotangents if outputs[n].requires_grad]
        if not of or not wrt:
            return {}
        found = torch.autograd.grad(
            [outputs[n] for n in of],
            [tensors[n] for n in wrt],
            [cotangents[n] for n in of],
            allow_unused=True,
        )
        return dict(zip(wrt, found, strict=True))

    def _by_hand(self, tensors: Any, outputs: Any, cotangents: Any, wrt: Any) -> dict[str, Any]:
        assert self.backward is not None
        c = [cotangents.get(n, torch.zeros_like(y)) for n, y in outputs.items()]
        with torch.no_grad():
            found = self.backward(*c, *tensors.values(), **self.params)
        if isinstance(found, Mapping):
            return {n: found.get(n) for n in wrt}
        parts = list(found) if isinstance(found, tuple | list) else [found]
        floats = [n for n, t in tensors.items() if t.is_floating_point()]
        for names in (list(tensors), floats, list(wrt)):
            if len(parts) == len(names):
                return {n: g for n, g in zip(names, parts, strict=True) if n in wrt}
        raise ValueError(
            f"the backward function returned {len(parts)} gradients; "
            f"expected {len(floats)}, of {', '.join(floats)}."
        )


def candidate(f: Any, params: Mapping[str, Any] | None = None) -> TorchCandidate:
    """A function of PyTorch with autograd's gradients: of a torch.autograd.Function, its own backward's."""
    return TorchCandidate(f, None, params or {})


def vjp(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    params: Mapping[str, Any] | None = None,
) -> TorchCandidate:
    """A pair of functions: y = forward(*inputs), and the gradients are backward(*cotangents, *inputs)."""
    return TorchCandidate(forward, backward, params or {})


def _named(found: Any) -> dict[str, Tensor]:
    """Outputs by the names that `Recording` gives them."""
    parts = _leaves(found)
    several = not isinstance(found, Tensor)
    return {f"y[{i}]" if several else "y": y for i, y in enumerate(parts) if isinstance(y, Tensor)}


def _array(t: Tensor) -> Array:
    return Array(np.asarray(_numbers(t), np.float64), _name(t))


def _same_bits(a: Ran, b: Ran) -> bool:
    both = ((a.outputs, b.outputs), (a.gradients, b.gradients))
    pairs = [(x[n], y.get(n)) for x, y in both for n in x]
    return all(
        x is y or (x is not None and y is not None and x.numbers.tobytes() == y.numbers.tobytes())
        for x, y in pairs
    )


def _contiguous(t: Tensor) -> Tensor:
    return t.contiguous()


def _transposed(t: Tensor) -> Tensor:
    """The last two axes the other way round in memory; of one axis every second number."""
    if t.ndim > 1:
        return t.transpose(-1, -2).contiguous().transpose(-1, -2)
    return torch.stack([t, t], -1)[..., 0] if t.ndim else t


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same bits each time, as far as PyTorch can."""
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.set_num_threads(threads)
