"""A module of PyTorch, call by call: the operands of each layer, its results, and the gradients that it
returned.

While a network runs, each call of one of its modules, and of each torch.autograd.Function that a user wrote,
becomes a `Call`: its operands and its outputs, the cotangents that its outputs received, and the gradients
that it returned. Its *own code* is what it does between the calls inside it: the results of these calls are
inputs of it, and their operands are outputs of it. So the whole is cut into pieces, each of which is judged
on its own operands, and no piece is blamed for another: this is the tape, cut at its marks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.layers import (
    Layer,
    UnseparableError,
    alike,
    titled,
    titled_candidate,
)
from conformance.judge.functions.module import TARGET
from conformance.judge.functions.recording import RecordingError, Table
from conformance.judge.functions.torch_.candidate import (
    TorchCandidate,
    array_of,
    floats_of,
    not_contiguous,
    one_thread,
)
from conformance.judge.functions.torch_.given import (
    DTYPES,
    Given,
    copied,
    numbers_of,
    tensor_of,
)
from conformance.judge.functions.torch_.record import recorded

__all__ = ["LOSS", "AsItIs", "arguments", "arguments_of", "run"]

LOSS = "(loss)"
"""The path of what follows the network."""

Handle = Callable[[str, Any, Any, Any, Callable[..., Any]], Any]


def _floats(leaves: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.is_floating_point()]


@dataclass
class _Operands:
    """Operands or results, flattened: copies of the tensors, which later writes do not change."""

    leaves: list[Any]
    spec: Any
    names: list[str]
    gradients: dict[int, Tensor] = field(default_factory=dict)  # of the tensors that autograd knows
    known: set[int] = field(default_factory=set)  # indices of the tensors that autograd knows

    @classmethod
    def of(cls, x: Any, names: Callable[[Any], str]) -> _Operands:
        pairs, spec = pytree.tree_flatten_with_path(x)
        leaves = [y.detach().clone() if isinstance(y, Tensor) else y for _, y in pairs]
        return cls(leaves, spec, [names(path) for path, _ in pairs])

    @property
    def floats(self) -> list[int]:
        return _floats(self.leaves)

    def watched(self, x: Any) -> Any:
        """The same tensors, with hooks that keep their gradients: those by what is done with the tensors from
        here on."""
        leaves, spec = pytree.tree_flatten(x)
        for i, y in enumerate(leaves):
            if isinstance(y, Tensor):
                # a copy, since later code may write to it
                leaves[i] = y = y.clone()
                if y.requires_grad and y.is_floating_point():
                    self.known.add(i)
                    cast("Any", y).register_hook(partial(self._arrived, i))
                leaves[i] = y.clone()  # so that a user's hook on it runs before ours
        return pytree.tree_unflatten(leaves, spec)

    def _arrived(self, i: int, g: Tensor) -> None:
        self.gradients[i] = g.detach().clone()

    def with_floats(self, of: Sequence[Tensor]) -> Any:
        """The same structure with other tensors."""
        leaves = [y.clone() if isinstance(y, Tensor) else y for y in self.leaves]
        for i, t in zip(self.floats, of, strict=True):
            leaves[i] = t
        return pytree.tree_unflatten(leaves, self.spec)

    def gradient(self, i: int) -> Tensor:
        """The gradient that arrived; 0 if none did."""
        t: Tensor = self.leaves[i]
        return self.gradients.get(i, torch.zeros_like(t))


@dataclass
class Call:
    """One call of a module, or of a torch.autograd.Function.

    path    where it is, as PyTorch names it: encoder.layers.1.norm; "" for the whole; #2 for a second call
    kind    the name of its class
    target  the module as it was before, or the class of the Function
    ran     the module that was called
    inside  the calls within it, in their order
    """

    path: str
    kind: str
    target: Any
    ran: Any
    given: _Operands
    buffers: dict[str, Tensor]
    parameters: dict[str, str]  # by the module's own names: the names in the whole network
    made: _Operands = None  # type: ignore[assignment]  # when it has returned
    inside: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.given.names = [
            f"{n} (argument)" if n in self.parameters else n for n in self.given.names
        ]

    @property
    def is_module(self) -> bool:
        return isinstance(self.target, nn.Module)

    def _within(self, inner: Call) -> str:
        """The name of a call inside, relative to this one."""
        return inner.path.removeprefix(f"{self.path}.") if self.path else inner.path

    def inputs(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs of its own code: its operands, the results of the calls inside, its parameters."""
        found = {self.given.names[i]: self.given.leaves[i] for i in self.given.floats}
        for inner in self.inside:
            for i in inner.made.floats:
                found[f"{self._within(inner)}.{inner.made.names[i]}"] = inner.made.leaves[i]
        return found | {own: parameters[whole] for own, whole in self.parameters.items()}

    def outputs(self) -> list[tuple[str, _Operands, int]]:
        """The outputs of its own code: its outputs, and the operands of the calls inside."""
        found = [(self.made.names[i], self.made, i) for i in self.made.floats]
        for inner in self.inside:
            for i in inner.given.floats:
                found.append((f"{self._within(inner)}({inner.given.names[i]})", inner.given, i))
        return found

    def gradients(self) -> dict[str, Tensor]:
        """The gradients by the inputs of its own code, except parameters, as autograd returned them."""
        found = {self.given.names[i]: self.given.gradient(i) for i in sorted(self.given.known)}
        for inner in self.inside:
            for i in sorted(inner.made.known):
                found[f"{self._within(inner)}.{inner.made.names[i]}"] = inner.made.gradient(i)
        return found

    def given_as(self, inputs: Table) -> Given:
        """Its own code as a function of tensors."""
        own = list(self.parameters)
        # a copy, since tracing leaves the tracer's tensors in a module
        target = copied(self.target) if self.is_module else self.target

        def call(t: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Any:
            free = iter([x for n, x in t.items() if n not in self.parameters])
            args, kwargs = self.given.with_floats([next(free) for _ in self.given.floats])
            expected = iter(self.inside)
            stand_in = {
                id(c): c.made.with_floats([next(free) for _ in c.made.floats]) for c in self.inside
            }
            handed: list[Tensor] = []
            entered = False

            def met(
                path: str, target: Any, args: Any, kwargs: Any, proceed: Callable[..., Any]
            ) -> Any:
                nonlocal entered
                if not entered:
                    entered = True
                    return proceed(*args, **kwargs)
                inner = next(expected, None)
                if inner is None or inner.kind != _kind(target):
                    raise RecordingError(
                        f"{self.path or 'the network'} calls {_kind(target)} when it is traced; expected "
                        f"{inner.kind if inner else 'no further layer'}, as when it ran."
                    )
                leaves = pytree.tree_leaves((args, kwargs))
                handed.extend(leaves[i] for i in _floats(leaves))
                return stand_in[id(inner)]

            with intercepted([(self.path, target)], met):
                if self.is_module:
                    state = {n: t[n] for n in own} | dict(b)
                    found = functional_call(target, state, args, kwargs)
                else:
                    found = target.apply(*args)
            leaves = pytree.tree_leaves(found)
            return (*(leaves[i] for i in _floats(leaves)), *handed)

        return Given(inputs, self.buffers, call)


def _kind(target: Any) -> str:
    own = target.kind if isinstance(getattr(target, "kind", None), str) else type(target).__name__
    return target.__name__ if isinstance(target, type) else own


@contextmanager
def intercepted(of: Sequence[tuple[str, Any]], handle: Handle) -> Iterator[None]:
    """Within, handle(path, target, args, kwargs, proceed) replaces each call of a module that these contain,
    and of each torch.autograd.Function that is not PyTorch's own."""
    function: Any = torch.autograd.Function
    module: Any = nn.Module
    names = {
        id(m): ".".join(p for p in (path, n) if p)
        for path, top in of
        if isinstance(top, nn.Module)
        for n, m in top.named_modules()
    }
    plain, own = module.__call__, function.__dict__["apply"]

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in names:
            return plain(self, *args, **kwargs)
        return handle(names[id(self)], self, args, kwargs, lambda *a, **k: plain(self, *a, **k))

    def applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls.__module__.partition(".")[0] == "torch":
            return own.__func__(cls, *args, **kwargs)
        return handle("", cls, args, kwargs, lambda *a, **k: own.__func__(cls, *a, **k))

    module.__call__, function.apply = called, classmethod(applied)
    try:
        yield
    finally:
        module.__call__, function.apply = plain, own


class _Witness:
    """Keeps the operands and results of each call of a network while it runs."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}  # of the parameters, by id
        self.before: dict[int, Any] = {}  # a copy of each module before it ran, by id
        self.calls: list[Call] = []
        self.backwards = False  # whether the backward pass has begun
        self._open: list[Call] = []
        self._taken: dict[str, count[int]] = {}

    def met(
        self, path: str, target: Any, args: Any, kwargs: Any, proceed: Callable[..., Any]
    ) -> Any:
        """Handles one call; its operands and its results are passed on as copies."""
        if self.backwards:
            return self._again(path, target, args, kwargs, proceed)
        module = isinstance(target, nn.Module)
        if not module:
            path = ".".join(p for p in (self._open[-1].path, target.__name__) if p)
        again = next(self._taken.setdefault(path, count(1)))
        call = Call(
            path if again == 1 else f"{path}#{again}", _kind(target), self.before.get(id(target), target),
            target,
            _Operands.of((args, kwargs), _argument(target)),
            {n: b.detach().clone() for n, b in target.named_buffers()} if module else {},
            {n: self.names[id(p)] for n, p in target.named_parameters()} if module else {},
        )  # fmt: skip
        if self._open:
            self._open[-1].inside.append(call)
        self.calls.append(call)
        args, kwargs = call.given.watched((args, kwargs))
        self._open.append(call)
        try:
            found = proceed(*args, **kwargs)
        finally:
            self._open.pop()
        call.made = _Operands.of(found, _result)
        return call.made.watched(found)

    def _again(
        self, path: str, target: Any, args: Any, kwargs: Any, proceed: Callable[..., Any]
    ) -> Any:
        """A call that a checkpoint repeats in the backward pass: it gets copies as before."""
        if (
            any(c.ran is target and not c.made.known for c in self.calls)
            and torch.is_grad_enabled()
        ):
            raise UnseparableError(
                f"{path or 'the network'} is run anew in the backward pass, and autograd did not see it "
                "before; expected torch.utils.checkpoint with use_reentrant=False."
            )
        args, kwargs = pytree.tree_map_only(Tensor, Tensor.clone, (args, kwargs))
        return pytree.tree_map_only(Tensor, Tensor.clone, proceed(*args, **kwargs))


def run(
    net: nn.Module,
    loss: nn.Module | None,
    inputs: Table,
    cotangents: Callable[[Mapping[str, tuple[int, ...]]], Table],
    dtype: str,
) -> tuple[list[Layer], dict[str, Array]]:
    """The calls of a network that is run once in a dtype, and the gradients of its parameters: on the CPU, in
    one thread.

    loss        f(what the network returns, the input `TARGET`), if there is one
    inputs      by name, and parameters by their names
    cotangents  for the shapes of its outputs, by the names that `Recording` gives them

    Raises UnseparableError, and whatever the network raises.
    """

    witness = _Witness()
    with one_thread():
        seen = _passed(net, loss, inputs, cotangents, dtype, witness)
        plain = _passed(net, loss, inputs, cotangents, dtype)
    # only outputs are compared: sums of gradients are taken in another order
    if not all(
        alike(numbers_of(plain.outputs[n]), numbers_of(y), float(torch.finfo(y.dtype).eps) / 2)
        for n, y in seen.outputs.items()
    ):
        raise UnseparableError(
            "the network returns something else where each layer is handed copies: a layer writes to what it "
            "is given, or it is stochastic; expected layers that return what they make, such as ReLU() in "
            "place of ReLU(inplace=True) whose result is not used, or --eval."
        )
    gradients = {n: array_of(g) for n, g in seen.gradients(seen.parameters).items()}
    return [_layer(call, seen.parameters) for call in witness.calls], gradients


@dataclass(frozen=True)
class _Passed:
    """A network after a forward and a backward pass: its inputs, its parameters, its outputs."""

    inputs: dict[str, Tensor]
    parameters: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @staticmethod
    def gradients(of: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradients; 0 where none arrived."""
        return {
            n: torch.zeros_like(t) if t.grad is None else t.grad.detach()
            for n, t in of.items()
            if t.requires_grad
        }


def _passed(
    net: nn.Module,
    loss: nn.Module | None,
    inputs: Table,
    cotangents: Callable[[Mapping[str, tuple[int, ...]]], Table],
    dtype: str,
    witness: _Witness | None = None,
    laid: Callable[[Tensor], Tensor] = lambda t: t,
) -> _Passed:
    """A copy of the network, run as its owner runs it. Raises whatever it raises."""
    own = copied(net).to(DTYPES[dtype])
    parameters: dict[str, Tensor] = dict(own.named_parameters())
    for n, p in parameters.items():
        p.grad = None
        if n in inputs:
            p.data = tensor_of(inputs[n], dtype)
    tensors = {n: laid(tensor_of(M, dtype)) for n, M in inputs.items() if n not in parameters}
    for t in tensors.values():
        t.requires_grad_(t.is_floating_point())
    if witness is not None:
        witness.names = {id(p): n for n, p in parameters.items()}
        pairs = zip(own.modules(), copied(own).modules(), strict=True)
        witness.before = {id(m): spare for m, spare in pairs}
    whole = [("", own), *([(LOSS, loss)] if loss is not None else [])]
    watching = intercepted(whole, witness.met) if witness is not None else nullcontext()
    with torch.random.fork_rng(devices=()), watching:
        torch.manual_seed(0)
        args, kwargs = arguments(own, tensors)
        found = own(*args, **kwargs)
        if loss is not None:
            found = loss(found, tensors[TARGET])
        if witness is not None:
            witness.backwards = True
        outputs = floats_of(found)
        wanted = cotangents({n: tuple(y.shape) for n, y in outputs.items()})
        known = {n: y for n, y in outputs.items() if y.requires_grad and n in wanted}
        if known:
            torch.autograd.backward(
                list(known.values()),
                [laid(torch.from_numpy(np.array(wanted[n])).to(y.dtype)) for n, y in known.items()],
            )
    return _Passed(tensors, parameters, outputs)


@dataclass(frozen=True)
class AsItIs:
    """A network as a candidate: run as its owner runs it, with autograd's gradients."""

    net: nn.Module
    loss: nn.Module | None

    def __call__(self, request: Request) -> Ran:
        """Raises whatever the network raises."""
        return self._ran(request, lambda t: t)

    def variants(self) -> dict[str, Candidate]:
        """The same code, called in another way that must make no difference."""
        return {
            "tensors that are not contiguous": lambda request: self._ran(request, not_contiguous)
        }

    def _ran(self, request: Request, laid: Callable[[Tensor], Tensor]) -> Ran:
        before = {n: tensor_of(M, request.dtype) for n, M in request.inputs.items()}
        with one_thread():
            of = _passed(
                self.net, self.loss, request.inputs, lambda _: request.cotangents, request.dtype,
                laid=laid,
            )  # fmt: skip
        found = of.gradients(of.inputs) | of.gradients(of.parameters)
        notes = [
            f"writes to its input {n}"
            for n, t in of.inputs.items()
            if not torch.equal(torch.nan_to_num(t.detach()), torch.nan_to_num(before[n]))
        ]
        return Ran(
            {n: array_of(y) for n, y in of.outputs.items()},
            {n: array_of(found[n]) if n in found else None for n in request.wrt},
            tuple(notes),
        )


def _layer(call: Call, parameters: Mapping[str, Tensor]) -> Layer:
    outputs = call.outputs()
    names = [name for name, *_ in outputs]

    return Layer(
        path=call.path,
        kind=call.kind,
        inputs={n: numbers_of(t) for n, t in call.inputs(parameters).items()},
        outputs={n: array_of(of.leaves[i]) for n, of, i in outputs},
        cotangents={n: numbers_of(of.gradient(i)) for n, of, i in outputs},
        gradients={n: array_of(g) for n, g in call.gradients().items()},
        parameters=call.parameters,
        record=lambda inputs, dtype: titled(names, recorded(call.given_as(inputs), dtype)),
        candidate=titled_candidate(names, TorchCandidate(call)),
    )


def arguments_of(net: nn.Module) -> list[str]:
    """The names of its forward's arguments."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        own = inspect.signature(net.forward).parameters
    except (TypeError, ValueError):  # TorchScript's forward has no signature
        return []
    return [n for n, p in own.items() if p.kind in kinds]


def arguments(net: nn.Module, of: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a network: by name if its forward has all of these names, else in their order. The
    target is not among them."""
    of = {n: x for n, x in of.items() if n != TARGET}
    known = arguments_of(net)
    return ((), of) if all(n in known for n in of) else (tuple(of.values()), {})


def _argument(target: Any) -> Callable[[Any], str]:
    """A function that names the operands of a call by the arguments of its forward."""
    try:
        own = list(inspect.signature(target.forward).parameters)
    except (TypeError, ValueError):
        own = []
    if isinstance(target, type) and issubclass(target, torch.autograd.Function):
        own = own if target.setup_context is not torch.autograd.Function.setup_context else own[1:]

    def name(path: Any) -> str:
        if path[0].idx == 1:  # a keyword argument
            return f"{path[1].key}{pytree.keystr(path[2:])}"
        i = path[1].idx
        return f"{own[i] if i < len(own) else f'args[{i}]'}{pytree.keystr(path[2:])}"

    return name


def _result(path: Any) -> str:
    return f"y{pytree.keystr(path)}"
