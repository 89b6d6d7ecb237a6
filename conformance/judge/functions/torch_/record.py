"""Records PyTorch code on a tape.

`record` traces a forward function with make_fx, which gives a graph of ATen operators without writes in
place, and reads the graph node by node: `ATEN` has each operator in primitives. No derivative is read: the
forward of a torch.autograd.Function runs as plain code, and its backward is never called. With each recorded
value goes the tensor that PyTorch itself computes (`Recorded.tensor`), for dtypes, shapes and branches. What
depends on no input stays a tensor.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx.experimental import proxy_tensor
from torch.overrides import TorchFunctionMode

from conformance.judge.functions.recording import Recording, RecordingError, Table
from conformance.judge.functions.torch_.given import (
    DTYPES,
    Given,
    as_given,
    buffers_of,
    leaves_of,
    name_of,
    tensor_of,
)
from conformance.judge.functions.torch_.operators import (
    ATEN,
    Call,
    Handler,
    Later,
    Recorded,
    by_name,
    for_each,
    indices_of,
)
from conformance.truth.nodes import Value, op
from conformance.truth.tape import Tape

__all__ = ["record", "recorded"]


# --- tracing --------------------------------------------------------------------------------------


@torch.library.custom_op("conformance::stop", mutates_args=())
def _stop(x: Tensor) -> Tensor:
    """A detach, which a graph without autograd would not show."""
    return x.clone()


@torch.library.custom_op("conformance::unseen", mutates_args=())
def _unseen(x: Tensor) -> Tensor:
    """Marks a tensor that is written to next, unseen by autograd."""
    return x.clone()


_DETACHES = (Tensor.detach, torch.detach, Tensor.data.__get__)  # type: ignore[attr-defined]


class _Watch(TorchFunctionMode):
    """Handles each call of PyTorch while a function is traced: notes its line, and whether autograd sees
    it."""

    def __init__(self) -> None:
        super().__init__()
        self.within = (
            # open forwards of autograd.Functions: what they do without autograd is not hidden from it
            0
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _lines(_line):
            return self._called(func, args, kwargs or {})

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        hidden = not torch.is_grad_enabled() and not self.within
        if func in _DETACHES:
            return args[0].view_as(args[0]) if self.within else _marked(_stop(args[0]))
        if func is Tensor.register_hook:  # a hook changes a gradient, and no number
            return SimpleNamespace(remove=lambda: None)
        if func is Tensor.tolist:  # PyTorch's own reads memory, which a traced tensor does not have
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
    """The graph that is being traced, if this version of PyTorch gives access to it."""
    mode = getattr(proxy_tensor, "get_proxy_mode", lambda: None)()
    return None if mode is None else mode.tracer.graph


_TORCH = str(Path(torch.__file__).parent)
_OURS = f"{Path(__file__).parents[3]}{os.sep}"


def _line() -> str:
    """The user's line, as file:number: text; "" where PyTorch calls itself."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_OURS, contextlib.__file__)):
        frame = frame.f_back  # type: ignore[assignment]
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS) and not frame.f_code.co_name.startswith("__torch"):
            break  # our caller has not written the function
        if file != contextlib.__file__ and not file.startswith((_TORCH, _OURS, "<")):
            return f"{Path(file).name}:{frame.f_lineno}: {linecache.getline(file, frame.f_lineno).strip()}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class _Context:
    """The ctx of an autograd.Function's forward: whatever it saves is not read."""

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
    """Within, autograd.Function.apply runs only the forward."""
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
    places: list[int]  # of these tensors among the results of the function
    several: bool


def _traced(given: Given, tensors: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> _Traced:
    """The graph of operators, whose inputs are the tensors and then the buffers."""
    watch = _Watch()
    returned: dict[str, Any] = {}

    def run(*of: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(tensors, of, strict=False))
        kept = dict(zip(buffers, of[len(tensors) :], strict=True))
        with watch:
            found = given.call(named, kept)
        parts = leaves_of(found)
        returned["places"] = [i for i, y in enumerate(parts) if isinstance(y, Tensor)]
        returned["several"] = not isinstance(found, Tensor)
        return tuple(parts[i] for i in returned["places"])

    trace = partial(proxy_tensor.make_fx, tracing_mode="real", _error_on_data_dependent_ops=False)
    given_all = (*tensors.values(), *buffers.values())
    # autograd is on, so that torch.no_grad() in the function is seen; no tensor requires a gradient
    with _forward_only(watch), _plain_kernels(), torch.enable_grad():
        first = trace(functionalize(run), decomposition_table=_decompositions())(*given_all)
        # traced twice, since decompositions write in place
        graph = trace(functionalize(_Again(first).run))(*given_all)
    return _Traced(graph, returned["places"], returned["several"])


class _Again(torch.fx.Interpreter):
    """Runs a graph while it is traced again, and keeps the lines."""

    def run_node(self, n: torch.fx.Node) -> Any:
        with _lines(lambda: n.meta.get("line", "")):
            return super().run_node(n)


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """Nodes that are traced within come from that line."""
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
    """Decompositions of the operators that `ATEN` does not know."""
    more = {o: f for o, f in torch._decomp.decomposition_table.items() if "upsample" in str(o)}
    table: Any = {**more, **torch._decomp.core_aten_decompositions()}
    return {o: f for o, f in table.items() if _rule(o) is None}


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Without kernels that fuse a whole layer: nn.Transformer's fast path, oneDNN's recurrent layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*TF32")  # about a device that is not used
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


# --- a graph onto a tape --------------------------------------------------------------------------


def record(f: Any, inputs: Table, dtype: str, params: Mapping[str, Any]) -> Recording:
    """Record f(*inputs, **params) on a tape.

    f       a function of tensors; a torch.autograd.Function; an nn.Module, or a class or function without
            arguments that makes one
    inputs  by name, in the order of f's arguments; for a module also its parameters, by their names, which
            are otherwise taken from the module
    dtype   in which floats are passed to f

    Raises RecordingError, UndecidedBranchError, or whatever f raises.
    """
    return recorded(as_given(f, inputs, params), dtype)


def recorded(given: Given, dtype: str) -> Recording:
    """Record a function of tensors by name, as `record` does."""
    tensors = {n: tensor_of(M, dtype) for n, M in given.inputs.items()}
    buffers = buffers_of(given, dtype)
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
    """What the graph returns, computed node by node."""
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
    """The nodes on which a result depends, or a branch that was taken."""
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
        return indices_of(found.call)[1] if isinstance(found, Later) else found
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
    """The result of one node: a tensor if no operand is recorded."""
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
    if to is not None:  # computed in a wider dtype: the gradient is rounded to the operand's own
        args, kwargs = _widened(args, to), _widened(kwargs, to)
    found = rule(Call(tape, func, tuple(args), kwargs, out))
    if to is not None and _eps(to) > min(_eps(_dtype([x.tensor]) or to) for x in recorded):
        found = for_each(lambda y: op.cast(y) if isinstance(y, Value) else y, found)
    return _beside(func, found, out)


def _without_dropout(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether it is fused attention that could draw random numbers, and does not."""
    p = by_name(func, args, kwargs).get("dropout_p")
    return p is not None and not p


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
        narrow = x.tensor.is_floating_point() and _eps(name_of(x.tensor)) > _eps(to)
        return Recorded(op.widen(x.value), x.tensor.to(DTYPES[to])) if narrow else x
    if isinstance(x, Mapping):
        return {k: _widened(v, to) for k, v in x.items()}
    return [_widened(v, to) for v in x] if isinstance(x, list) else x


def _eps(dtype: str) -> float:
    return float(torch.finfo(DTYPES[dtype]).eps)


def _dtype(of: Sequence[Tensor]) -> str | None:
    """The widest floating dtype among them."""
    for t in of:
        if t.is_complex():
            raise RecordingError("complex numbers are not known to the tape; expected real ones.")
    return min((name_of(t) for t in of if t.is_floating_point()), key=_eps, default=None)


def _beside(func: Any, found: Any, out: Any) -> Any:
    """A value together with the tensor that PyTorch computed; the tensor alone if there is no value."""
    if isinstance(out, tuple | list):
        return [_beside(func, y, t) for y, t in zip(found, out, strict=True)]
    if not isinstance(found, Value):
        return out if found is None else found
    if found.shape != tuple(out.shape):
        raise RecordingError(f"{func} has shape {tuple(out.shape)}, and {found.shape} on the tape.")
    return Recorded(found, out)
