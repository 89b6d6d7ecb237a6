"""`conformance.check_module`, and the same check in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.commands.apart import asked_apart
from conformance.commands.module.screen import describe
from conformance.commands.module.specified import Question, judged, with_commands
from conformance.judge.functions.module import ModuleResults

__all__ = ["assert_module_conforms", "check_module", "checked", "judged_apart", "question_of"]

checked: list[ModuleResults] = []
"""The checks that were made in this process, for `pytest --conformance-report`."""


def question_of(**given: Any) -> Question:
    """A question, with defaults for what is not given."""
    usual = Question(
        module="", input="", loss="", target="", params="", vmap=False, mode="", families=[],
        dtype="float64", accumulate="", tf32=False, strict=False,
    )  # fmt: skip
    return Question(**{**usual, **given})  # type: ignore[typeddict-item]


def judged_apart(question: Question, seconds: float) -> ModuleResults:
    """Judge in a process of its own, which may take so many seconds. Raises ApartError."""
    by = "conformance.commands.module.specified"
    found: ModuleResults = asked_apart(by, question, seconds, question["module"])
    return with_commands(question, found)


def check_module(
    module: Any,
    *,
    input: str | Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    loss: str | Callable[..., Any] = "",
    target: str = "",
    params: Any = "",
    vmap: bool = False,
    mode: str = "",
    families: Sequence[str] = (),
    dtype: str = "float64",
    accumulate: str | None = None,
    tf32: bool = False,
    strict: bool = False,
) -> ModuleResults:
    """Whether a network returns the right gradients, and which of its layers does not; judged in this
    process.

    module   a torch.nn.Module, or a class or function that makes one; a module of Equinox or Flax, or a
             function of JAX; or FILE.py:NAME of any of these. It is copied, not changed
    input    the shapes of its forward's arguments, "16x32" or "x=16x32, mask=16x16:bool", for which data is
             made; or arrays by name, or a function that makes them
    loss     a name of torch.nn.functional, such as "cross_entropy", or a function of (output, target)
    target   what the loss takes besides the output, "16:int<10"; for the usual losses it is known
    params   for a function of JAX f(params, *inputs): a tree of arrays, or a function that makes it
    vmap     a network of JAX takes one example: it is mapped over the first axis of every input
    mode     "train" or "eval"; "" for the network's own
    dtype    float64, float32, float16 or bfloat16: the network, its inputs and its weights are cast to it

    Raises RefusedError if there is nothing to judge, and what the network raises on ordinary data.
    """
    text = {"module": module, "input": input, "loss": loss, "params": params}
    named = {k: f if isinstance(f, str) else _name(f) for k, f in text.items()}
    question = question_of(
        target=target, vmap=vmap, mode=mode, families=list(families), dtype=dtype,
        accumulate=accumulate or "", tf32=tf32, strict=strict, **named,
    )  # fmt: skip
    at_hand = {k: f for k, f in text.items() if not isinstance(f, str)}
    found = judged(question, at_hand)
    return found if at_hand else with_commands(question, found)


def _name(f: Any) -> str:
    return str(getattr(f, "__qualname__", type(f).__name__))


def assert_module_conforms(module: Any, **more: Any) -> None:
    """Raise AssertionError, with all findings, unless every gradient is right. See `check_module`."""
    __tracebackhide__ = True
    found = check_module(module, **more)
    checked.append(found)
    if found["exit_code"]:
        raise AssertionError(describe(found))
