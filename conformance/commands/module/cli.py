"""conformance module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import (
    echo,
    ending_in_order,
    hand_over,
    main,
    may_be_written,
    must_not_replace_code,
    names_in,
    numbers,
    outputs,
)
from conformance.tools.files import write_atomically, write_json
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.judge.functions.module import ModuleResults

__all__: list[str] = []


@main.command()
@click.argument("module", metavar="MODULE")
@click.option(
    "--input",
    "inputs",
    default="",
    metavar="TEXT",
    help="'16x32', 'ids=2x6:int<50, mask=6x6:bool', or F.py:NAME of what makes them.",
)
@click.option("--data", default="", metavar="F.py:NAME", help="The same as --input F.py:NAME.")
@click.option(
    "--loss",
    default="",
    metavar="NAME",
    help="A loss after it: cross_entropy, mse_loss, …, or F.py:NAME of f(output, target).",
)
@click.option(
    "--target",
    default="",
    metavar="TEXT",
    help="What the loss takes: '16:int<10'.",
)
@click.option(
    "--params",
    default="",
    metavar="F.py:NAME",
    help="Of a JAX function f(params, x): its parameters.",
)
@click.option("--vmap", is_flag=True, help="Map a network of JAX over the first axis.")
@click.option("--train/--eval", "train", default=None, help="In this mode (as it is).")
@numbers
@outputs("findings")
def module(
    module: str, inputs: str, data: str, loss: str, target: str, params: str, vmap: bool,
    train: bool | None, families: str, dtype: str, accumulate: str, tf32: bool, strict: bool,
    timeout: float, report: Path | None, json_path: Path | None,
) -> int:  # fmt: skip
    """Whether the network MODULE, FILE.py:NAME, hands back the right gradients, and which layer does not.

    MODULE is a torch.nn.Module, or a class or a function that makes one; or a network of JAX: a module of
    Equinox or Flax, or a function. Each layer is judged on its own operands, and the whole end to end: with
    certified truth. The layers of JAX are its calls of custom_vjp and custom_jvp.

    Exit codes: 0, right, or inaccurate by losing digits; 1, wrong; 2, could not be judged.
    """
    from conformance.commands.module.check import judged_apart, question_of
    from conformance.commands.module.screen import describe

    may_be_written(report, json_path, "findings")
    must_not_replace_code((module, loss, inputs, data, params), (report, json_path))
    if bool(inputs) == bool(data):
        raise RefusedError("expected either --input, such as 16x32, or --data FILE.py:NAME.")
    question = question_of(
        module=module, input=inputs or data, loss=loss, target=target, params=params, vmap=vmap,
        mode="" if train is None else "train" if train else "eval",
        families=names_in(families), dtype=dtype,
        accumulate=accumulate, tf32=tf32, strict=strict,
    )  # fmt: skip
    with ending_in_order():
        found = judged_apart(question, timeout)
    hand_over(
        lambda: echo(describe(found)),
        "",
        ("findings", json_path, lambda path: write_json(path, found)),
        ("report", report, lambda path: _write_report(path, found)),
    )
    return found["exit_code"]


def _write_report(path: Path, found: ModuleResults) -> None:
    from conformance.commands.module.report import render

    write_atomically(path, render(found))
