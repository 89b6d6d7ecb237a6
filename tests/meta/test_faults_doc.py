"""docs/faults.md has every fault of the table, as it stands there."""

from __future__ import annotations

from pathlib import Path

from conformance.judge.mistakes.table import FAULTS

DOC = Path(__file__).parents[2] / "docs" / "faults.md"
SYMBOLS = {"delta": "δ", "dW": "∂L/∂W", "W_new": "new W", "loss": "the loss", "A": "A", "Z": "Z"}
LAYERS = {"L": "layer L", "<L": "hidden layers", ">1": "from layer 2", "any": "any layer"}


def rows() -> list[str]:
    """The lines of the table."""
    head = ["| name | the mistake | first in | gate |", "|---|---|---|---|"]
    return head + [
        f"| `{f.name}` | {f.what} | {SYMBOLS[f.shows]}, {LAYERS[f.where]} | {f.gate} |"
        for f in FAULTS.values()
    ]


def test_every_fault_is_documented() -> None:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    start = lines.index(rows()[0])
    assert lines[start:] == rows()
