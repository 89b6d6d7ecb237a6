"""Turns the question of `conformance module`, which is text, into a subject: the network is loaded here."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from conformance.commands.function.specified import families_of, given_inputs
from conformance.judge.functions.certificate import Precision
from conformance.judge.functions.inputs import FAMILIES, Asked, InputsError, made, read_inputs
from conformance.judge.functions.module import (
    REDRAWN,
    TARGET,
    ModuleResults,
    ModuleSubject,
    judge_module,
)
from conformance.judge.functions.recording import DTYPES, Table
from conformance.tools.load import load
from conformance.tools.trouble import RefusedError

__all__ = ["Question", "command_of", "judged", "subject_of", "with_commands"]


class Question(TypedDict):
    """A question, in JSON."""

    module: str  # FILE.py:NAME
    input: str  # "16x32", "x=16x32, mask=16:bool", or FILE.py:NAME of a function that makes them
    loss: str  # a name of torch.nn.functional, FILE.py:NAME, or ""
    target: str  # "16:int<10"; "" if the loss determines it
    params: str  # FILE.py:NAME of a JAX function's parameters; "" if the network has its own
    vmap: bool  # over the first axis of every input
    mode: str  # "train", "eval", or "" for the network's own
    families: list[str]
    dtype: str
    accumulate: str
    tf32: bool
    strict: bool


def command_of(question: Question) -> str:
    """The command line that asks the same again."""
    words = ["conformance", "module", question["module"], "--input", question["input"]]
    asked: dict[str, Any] = {**question, "families": ",".join(question["families"])}
    for option in ("loss", "target", "params", "families", "dtype", "accumulate"):
        usual = "float64" if option == "dtype" else ""
        words += [f"--{option}", asked[option]] if asked[option] != usual else []
    words += [f"--{question['mode']}"] if question["mode"] else []
    return shlex.join(
        [*words, *(f"--{flag}" for flag in ("vmap", "tf32", "strict") if asked[flag])]
    )


def with_commands(question: Question, found: ModuleResults) -> ModuleResults:
    """The results, with the command lines that show them again, and at the smallest inputs."""
    shapes = dict(found["smallest"])
    again = ""
    if shapes:
        target = shapes.pop("target", "") if question["loss"] else ""
        text = ", ".join(f"{n}={s}" for n, s in shapes.items())
        smaller = {"input": text, "target": target, "families": [found["shows"]]}
        again = command_of(Question(**{**question, **smaller}))  # type: ignore[typeddict-item]
    return {**found, "command": command_of(question), "again": again}


def judged(question: Question, at_hand: Mapping[str, Any] | None = None) -> ModuleResults:
    """Judge the question. Raises RefusedError, LoadError, or whatever the user's file raises."""
    return judge_module(subject_of(question, at_hand))


def subject_of(question: Question, at_hand: Mapping[str, Any] | None = None) -> ModuleSubject:
    """The subject, with its network loaded, or taken from `at_hand` by the keys module, input, loss."""
    here = dict(at_hand or {})
    for key in ("dtype", "accumulate"):
        value = question[key]
        if value and value not in DTYPES:
            raise RefusedError(
                f"--{key} {value!r} is not known; expected one of {', '.join(DTYPES)}."
            )
    given = here.get("module")
    loaded = load(question["module"]) if given is None else given
    torch = sys.modules.get("torch")
    if torch is not None and _makes(loaded, torch.nn.Module):
        return _of_torch(question, here, loaded)
    if "jax" in sys.modules:
        return _of_jax(question, here, loaded)
    raise RefusedError(
        f"this is a {type(loaded).__name__}; expected a torch.nn.Module, or a class or a function without "
        "arguments that makes one, or a network of JAX. Code of NumPy is judged by conformance function."
    )


def _makes(loaded: Any, kind: type) -> bool:
    """Whether `loaded` is of a kind, or a class of it, or a function that may make one."""
    if isinstance(loaded, kind) or (isinstance(loaded, type) and issubclass(loaded, kind)):
        return True
    try:
        return inspect.isfunction(loaded) and not inspect.signature(loaded).parameters
    except (TypeError, ValueError):
        return False


def _of_torch(question: Question, here: Mapping[str, Any], loaded: Any) -> ModuleSubject:
    from conformance.judge.functions.torch_ import network
    from conformance.judge.functions.torch_.calls import arguments_of

    for option in ("params", "vmap"):
        if question[option]:
            raise RefusedError(f"--{option} is for a network of JAX, and this is one of torch.")
    net = network.module_of(loaded)
    if question["mode"]:
        net.train(question["mode"] == "train")
    loss = network.loss_of(_own_loss(question, here), question["loss"])
    own, asked = _inputs(question, here, arguments_of(net))
    network.must_know(net, own or asked)
    if loss is not None and own is None:
        asked[TARGET] = _target(question) or network.target_of(
            net, made(asked, FAMILIES[0], "float64") or {}, question["loss"]
        )
    return network.subject_of(
        net, question["module"], asked, own, loss, _precision(question), _families(question),
        question["strict"],
    )  # fmt: skip


def _of_jax(question: Question, here: Mapping[str, Any], loaded: Any) -> ModuleSubject:
    from conformance.judge.functions.jax_ import network

    if question["mode"]:
        raise RefusedError(
            f"--{question['mode']} is for a network of torch, and this is one of JAX."
        )
    loss = _own_loss(question, here)
    if question["loss"] and loss is None:
        raise RefusedError(
            f"the loss {question['loss']!r} is not known of JAX; expected FILE.py:NAME of f(output, target)."
        )
    params = here.get("params")
    if params is None and question["params"]:
        params = load(question["params"])
    own, asked = _inputs(question, here, network.arguments_of(loaded, params is not None))
    if loss is not None and own is None:
        target = _target(question)
        if target is None:
            raise RefusedError("the loss takes a target; expected --target, such as '16:int<10'.")
        asked[TARGET] = target
    return network.subject_of(
        loaded, question["module"], asked, own, params, question["vmap"], loss, question["loss"],
        _precision(question), _families(question), question["strict"],
    )  # fmt: skip


def _inputs(
    question: Question, here: Mapping[str, Any], names: list[str]
) -> tuple[Table | None, dict[str, Asked]]:
    """A user's own arrays, or the inputs that are specified by shape."""
    own = given_inputs(question["input"], here.get("input"))
    asked = {} if own is not None else _asked(question["input"], names)
    if TARGET in asked:
        raise InputsError(
            f"the input {TARGET} is the loss's; expected it with --target, or another name of the input."
        )
    if empty := [n for n, a in asked.items() if 0 in a.shape]:
        raise InputsError(f"the input {empty[0]} has no numbers; expected sizes of 1 and more.")
    return own, asked


def _precision(question: Question) -> Precision:
    tf32 = "tf32" if question["tf32"] else None
    return Precision(question["dtype"], question["accumulate"] or None, None, tf32)


def _families(question: Question) -> tuple[str, ...]:
    return families_of(question["families"], REDRAWN)


def _own_loss(question: Question, here: Mapping[str, Any]) -> Callable[..., Any] | None:
    if here.get("loss") is not None:
        found: Callable[..., Any] = here["loss"]
        return found
    return load(question["loss"]) if ":" in question["loss"] else None


def _target(question: Question) -> Asked | None:
    text = question["target"]
    return read_inputs(f"{TARGET}={text}")[TARGET]._replace(batched=True) if text else None


def _asked(text: str, names: list[str]) -> dict[str, Asked]:
    """The inputs that a text of shapes specifies; those without a name get the names of the forward's
    arguments, in order. Raises InputsError."""
    parts = [part.strip() for part in text.split(",")]
    named = [
        part if "=" in part else f"{names[i] if i < len(names) else f'x{i}'}={part}"
        for i, part in enumerate(parts)
    ]
    found = read_inputs(", ".join(named))
    return dict(found)
