"""conformance activation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from conformance.commands.command import (
    echo,
    ending_in_order,
    hand_over,
    main,
    may_be_written,
    must_not_replace_code,
    outputs,
)
from conformance.tools.files import write_atomically, write_json
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.commands.activation.check import Check

__all__: list[str] = []

Command = TypeVar("Command", bound=Callable[..., object])


class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.5
    """X=D, two numbers."""

    name = "X=D"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """X and D."""
        try:
            at, _, derivative = str(value).partition("=")
            return float(at), float(derivative)
        except ValueError:
            self.fail(f"{value!r} is not X=DERIVATIVE, such as 0=0.5.", param, ctx)


class _Domain(click.ParamType):  # type: ignore[type-arg]
    """LOW:HIGH."""

    name = "LOW:HIGH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """LOW and HIGH; −∞ and ∞ if they are left out."""
        if isinstance(value, tuple):
            return value
        low, _, high = str(value).partition(":")
        try:
            return float(low or "-inf"), float(high or "inf")
        except ValueError:
            self.fail(f"{value!r} is not LOW:HIGH, such as -50:50.", param, ctx)


def _function(option: str, help: str) -> Callable[[Command], Command]:
    """An option that names a function."""
    return click.option(option, default="", metavar="F.py:NAME", help=help)


@main.command()
@click.argument("sigma", default="", metavar="[SIGMA]")
@click.argument("derivative", default="", metavar="[SIGMA_PRIME]")
@_function("--prime", "σ', where σ itself is not given.")
@_function("--truth", "A definition of σ in NumPy, or a known name.")
@_function("--torch", "Your torch version: Function, module or function.")
@_function("--jax", "Your JAX version: custom_vjp, custom_jvp or function.")
@click.option(
    "--autodiff/--no-autodiff",
    default=None,
    help="Compare torch's and JAX's autodiff of σ (on, where they are installed).",
)
@click.option(
    "--kink", "kinks", multiple=True, type=_Pair(), help="Declare a kink and σ' there (repeatable)."
)
@click.option(
    "--domain",
    type=_Domain(),
    default=":",
    metavar="LOW:HIGH",
    help="Judge σ on these arguments alone.",
)
@click.option(
    "--strict", is_flag=True, help="Warnings make the verdict wrong; inaccurate is exit code 1."
)
@click.option(
    "--network/--no-network",
    default=True,
    help="Also judge whole networks with it (on by default).",
)
@click.option(
    "--inputs",
    default="",
    metavar="TEXT",
    help="Shapes, where σ takes several arrays or whole rows: 'x=16x32, beta=scalar'.",
)
@click.option("--dtype", default="", help="Judge float64, float32 or bfloat16 alone.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.5, 3600),
    default=20.0,
    help="Seconds for each process (20).",
)
@outputs("findings")
def activation(
    sigma: str,
    derivative: str,
    prime: str,
    truth: str,
    torch: str,
    jax: str,
    autodiff: bool | None,
    kinks: tuple[tuple[float, float], ...],
    domain: tuple[float, float],
    strict: bool,
    network: bool,
    inputs: str,
    dtype: str,
    timeout: float,
    report: Path | None,
    json_path: Path | None,
) -> int:
    """Whether SIGMA_PRIME is the derivative of SIGMA: everywhere, with proof. Both are FILE.py:NAME, NumPy.

    Of a torch or JAX version alone, its forward pass is σ.

    Exit codes: 0, right, or inaccurate by losing digits; 1, wrong; 2, could not be judged.
    """
    from conformance.commands.activation.check import check
    from conformance.commands.activation.spec import CheckError, specification
    from conformance.commands.activation.terminal import describe

    may_be_written(report, json_path, "findings")
    given = {
        "sigma": sigma, "derivative": derivative or prime, "truth": truth, "torch": torch, "jax": jax,
    }  # fmt: skip
    must_not_replace_code(given.values(), (report, json_path))
    if len({at for at, _ in kinks}) < len(kinks):
        raise CheckError("a kink is stated twice with --kink.")
    if derivative and prime:
        raise CheckError("σ' is given twice: as SIGMA_PRIME and with --prime.")
    spec = specification(given, dict(kinks), domain, timeout, network, inputs=inputs, dtype=dtype)
    with ending_in_order():
        result = check(spec, _frameworks(autodiff), strict)
    hand_over(
        lambda: echo(describe(result)),
        "",  # the verdict is at the top of what `describe` writes
        ("findings", json_path, lambda path: write_json(path, result)),
        ("report", report, lambda path: _write_report(path, result)),
    )
    return result["exit_code"]


def _write_report(path: Path, check: Check) -> None:
    from conformance.commands.activation.report import render

    write_atomically(path, render(check))


def _frameworks(wanted: bool | None) -> list[str]:
    """The frameworks whose autodiff is compared: all that are installed, or none. Raises RefusedError."""
    from importlib.util import find_spec

    there = [name for name in ("torch", "jax") if find_spec(name) is not None]
    if wanted and not there:
        raise RefusedError(
            "--autodiff: neither torch nor jax is installed. pip install torch, or jax."
        )
    return there if wanted is not False else []
