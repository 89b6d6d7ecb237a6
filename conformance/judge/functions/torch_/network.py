"""A network of PyTorch, to be judged layer by layer: an nn.Module, and perhaps a loss after it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from conformance.judge.functions.certificate import Precision
from conformance.judge.functions.inputs import Asked
from conformance.judge.functions.module import TARGET, ModuleSubject, network_subject
from conformance.judge.functions.recording import Table
from conformance.judge.functions.subject import Subject
from conformance.judge.functions.torch_.calls import AsItIs, arguments, arguments_of, run
from conformance.judge.functions.torch_.given import (
    Given,
    as_module,
    copied,
    parameters_of,
    tensor_of,
)
from conformance.judge.functions.torch_.record import record
from conformance.tools.trouble import RefusedError

__all__ = [
    "LOSSES",
    "Loss",
    "loss_of",
    "module_of",
    "must_know",
    "subject_of",
    "target_of",
]

LOSSES = {
    "cross_entropy": "class",
    "nll_loss": "class",
    "binary_cross_entropy": "unit",
    "binary_cross_entropy_with_logits": "unit",
    "mse_loss": "real",
    "l1_loss": "real",
    "smooth_l1_loss": "real",
    "huber_loss": "real",
}
"""Losses of torch.nn.functional by name, and the kind of their targets."""


class Loss(nn.Module):
    """A loss as a module: f(output, target)."""

    def __init__(self, f: Callable[..., Any], name: str) -> None:
        super().__init__()
        self.f, self.kind = f, name

    def forward(self, y: Any, target: Any) -> Any:
        return self.f(y, target)


@dataclass(frozen=True)
class _Whole:
    """A network and the loss after it, if any, as one function of its inputs, its weights and the target."""

    net: nn.Module
    loss: Loss | None

    def given_as(self, inputs: Table) -> Given:
        own = [n for n, _ in (*self.net.named_parameters(), *self.net.named_buffers())]
        buffers = {n: b for n, b in self.net.named_buffers() if n not in inputs}
        net = copied(self.net)  # a copy, since tracing leaves the tracer's tensors in a module

        def call(t: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Any:
            state = {n: x for n, x in t.items() if n in own} | dict(b)
            args, kwargs = arguments(net, {n: x for n, x in t.items() if n not in own})
            y = functional_call(net, state, args, kwargs)
            return y if self.loss is None else self.loss(y, t[TARGET])

        return Given(inputs, buffers, call)


def module_of(f: Any) -> nn.Module:
    """The module that was given, or that a class or function makes. Raises RefusedError."""
    found = as_module(f)
    if found is None:
        raise RefusedError(
            f"this is a {type(f).__name__}; expected a torch.nn.Module, or a class or a function without "
            "arguments that makes one."
        )
    # unwrap torch.compile and DataParallel
    found = getattr(found, "_orig_mod", found)
    found = found.module if isinstance(found, nn.DataParallel) else found
    if any(isinstance(p, nn.UninitializedParameter) for p in found.parameters()):
        raise RefusedError(
            "the module has lazy parameters, which have no shape yet; expected it after a first call."
        )
    return found


def must_know(net: nn.Module, names: Iterable[str]) -> None:
    """Raises RefusedError for an input that the network's forward does not have; x0, x1, … are passed by
    position."""
    known = arguments_of(net)
    unknown = [n for n in names if n not in known and n != TARGET and not re.fullmatch(r"x\d*", n)]
    if known and unknown:
        raise RefusedError(
            f"the forward has no argument {unknown[0]!r}; expected {', '.join(known)}, or x0, x1, … for "
            "those that are handed over by their place."
        )


def loss_of(f: Callable[..., Any] | None, name: str) -> Loss | None:
    """A loss by its name in torch.nn.functional, or a user's own; None if there is none.

    Raises RefusedError.
    """
    if f is None and not name:
        return None
    f = f or getattr(functional, name, None)
    if f is None:
        raise RefusedError(
            f"the loss {name!r} is not known; expected FILE.py:NAME, or one of torch.nn.functional such as "
            f"{', '.join(LOSSES)}."
        )
    if isinstance(f, type) and issubclass(f, nn.Module):
        f = f()
    return Loss(f, name)


def target_of(net: nn.Module, inputs: Table, loss: str) -> Asked:
    """The target that a loss of this name takes with this network's output. Raises RefusedError."""
    kind = LOSSES.get(loss)
    if kind is None:
        raise RefusedError(
            f"what the loss {loss} takes beside the output is not known; expected --target, such as "
            "--target '16:int<10' or --target 16x4."
        )
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        args, kwargs = arguments(net, {n: tensor_of(M, "float64") for n, M in inputs.items()})
        y = copied(net).double()(*args, **kwargs)
    if not isinstance(y, Tensor):
        raise RefusedError(
            f"the network returns a {type(y).__name__}, and the loss {loss} takes one tensor; expected "
            "--loss FILE.py:NAME, a function of what the network returns and of the target."
        )
    shape = tuple(y.shape)
    if kind != "class":
        return Asked(shape, kind, batched=True)
    axis = 1 if len(shape) > 1 else 0
    return Asked(shape[:axis] + shape[axis + 1 :], "int", shape[axis], batched=True)


def subject_of(
    net: nn.Module,
    name: str,
    asked: Mapping[str, Asked],
    given: Table | None,
    loss: Loss | None,
    precision: Precision,
    families: Sequence[str],
    strict: bool,
) -> ModuleSubject:
    """The network with its own weights. With a loss, the last input is its target."""
    f = _Whole(net, loss)
    return network_subject(
        Subject(
            name=name,
            reference=name,
            record=lambda inputs, dtype: record(f, inputs, dtype, {}),
            candidate=AsItIs(net, loss),
            asked=asked,
            given=given,
            families=tuple(families),
            precision=precision,
            framework="torch",
            strict=strict,
            weights=parameters_of(net),
        ),
        [n for n, p in net.named_parameters() if p.requires_grad],
        run=lambda inputs, cotangents, dtype: run(net, loss, inputs, cotangents, dtype),
        mode="train" if net.training else "eval",
        loss="" if loss is None else loss.kind,
    )
