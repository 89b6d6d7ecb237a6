"""conformance wire."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.apart import asked_apart
from conformance.commands.command import (
    echo,
    ending_in_order,
    hand_over,
    main,
    must_be_writable,
)
from conformance.tools.files import FileError, write_atomically
from conformance.tools.plain import plain

if TYPE_CHECKING:
    from conformance.commands.wire.wiring import Wiring

__all__: list[str] = []

SECONDS = 300.0


@main.command()
@click.argument("network", metavar="NETWORK")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="F.py",
    help="Write the lines to a new file.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=SECONDS,
    metavar="SECONDS",
    help="End it after so long (300).",
)
def wire(network: str, output: Path | None, timeout: float) -> int:
    """Find the convention of NETWORK, FILE.py:NAME, and write the lines that declare it.

    NETWORK is a class that is made of its widths and has a method for its gradients, or an object with
    run(p). One small network is given to it in every layout; σ, the loss, the scale and what it returns are
    told from the numbers. What is written is then judged.

    Exit codes: 0, it conforms; 1, it deviates; 2, no convention fits.
    """
    if output is not None and output.exists():
        raise FileError(f"{output} is there already; expected a new file.")
    must_be_writable(output)
    with ending_in_order():
        found: Wiring = asked_apart(
            "conformance.commands.wire.wiring", {"network": network}, timeout, network
        )
    text = "\n".join(found["lines"]) + "\n"
    summary = found["summary"]
    notes = ["", *(f"note: {note}" for note in found["notes"])] if found["notes"] else []
    hand_over(
        lambda: echo("\n".join(map(plain, [*found["lines"], *notes]))),
        f"\n{summary['verdict']}: {summary['message']}",
        ("lines", output, lambda path: write_atomically(path, text)),
    )
    return summary["exit_code"]
