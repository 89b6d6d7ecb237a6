"""conformance function."""

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
    from conformance.judge.functions.trial import FunctionResults

__all__: list[str] = []


@main.command()
@click.argument("function", default="", metavar="[FUNCTION]")
@click.option(
    "--vjp", default="", metavar="F.py:NAME", help="Its backward pass: vjp(cotangent, *inputs)."
)
@click.option(
    "--torch",
    default="",
    metavar="F.py:NAME",
    help="A torch function, autograd.Function or module.",
)
@click.option(
    "--jax", default="", metavar="F.py:NAME", help="A JAX function, custom_vjp or custom_jvp."
)
@click.option(
    "--reference",
    default="",
    metavar="F.py:NAME",
    help="What it is held to (its own forward pass).",
)
@click.option(
    "--inputs", required=True, metavar="TEXT", help="'x=16x32, g=32, ids=16:int<100', or F.py:NAME."
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A keyword parameter (repeatable).",
)
@click.option(
    "--wrt", default="", metavar="NAMES", help="Judge the gradients of these inputs alone."
)
@click.option(
    "--takes",
    default="inputs",
    metavar="WHAT",
    help="What vjp takes besides: inputs, outputs, saves.",
)
@click.option(
    "--compute",
    default="",
    metavar="DTYPE",
    help="What intermediates are kept in (a fused kernel).",
)
@click.option(
    "--allclose",
    default="",
    metavar="rtol=R,atol=A",
    help="Audit this test: what it lets through, and whom it accuses.",
)
@numbers
@outputs("findings")
def function(
    function: str, vjp: str, torch: str, jax: str, reference: str, inputs: str, params: tuple[str, ...],
    wrt: str, families: str, takes: str, dtype: str, accumulate: str, compute: str, tf32: bool,
    strict: bool, timeout: float, allclose: str, report: Path | None, json_path: Path | None,
) -> int:  # fmt: skip
    """Whether a gradient written by hand is that of FUNCTION, FILE.py:NAME: with certified truth.

    Exit codes: 0, right, or inaccurate by losing digits; 1, wrong; 2, could not be judged.
    """
    from conformance.commands.function.check import judged_apart, specification
    from conformance.commands.function.screen import describe
    from conformance.commands.function.specified import parameters

    may_be_written(report, json_path, "findings")
    must_not_replace_code((function, torch, jax, vjp, reference, inputs), (report, json_path))
    if sum(map(bool, (function, torch, jax))) > 1:
        raise RefusedError("more than one function is given; expected FUNCTION, --torch or --jax.")
    spec = specification(
        framework="torch" if torch else "jax" if jax else "numpy", function=function or torch or jax, vjp=vjp,
        reference=reference, inputs=inputs, params=parameters(params),
        wrt=names_in(wrt),
        families=names_in(families), takes=takes, dtype=dtype,
        accumulate=accumulate, compute=compute, tf32=tf32, strict=strict, allclose=allclose,
    )  # fmt: skip
    with ending_in_order():
        found = judged_apart(spec, timeout)
    hand_over(
        lambda: echo(describe(found)),
        "",
        ("findings", json_path, lambda path: write_json(path, found)),
        ("report", report, lambda path: _write_report(path, found)),
    )
    return found["exit_code"]


def _write_report(path: Path, found: FunctionResults) -> None:
    from conformance.commands.function.report import render

    write_atomically(path, render(found))
