"""The constants of the tolerances: how many errors are allowed, and what one evaluation of σ may lose.

How rounding errors propagate is in the rules of the tape (`truth/rules.py`); docs/tolerances.md derives
both and shows the evidence for the constants.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from conformance.truth.definitions import TERMS
from conformance.truth.rounding import ENDS, Accuracy

__all__ = ["LAMBDA", "accuracy"]

LAMBDA = 5.0
"""How many root-mean-square errors the end-to-end gate allows. docs/tolerances.md has the evidence; the
largest number that a run has seen is in its report."""


@cache
def _table() -> Mapping[str, Mapping[str, Sequence[float]]]:
    """accuracy.toml: {"NAME.DTYPE": {σ: row}}, and "default"."""
    text = files("conformance.judge").joinpath("accuracy.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _row(numbers: Sequence[float]) -> Accuracy:
    return replace(Accuracy(*numbers), ends=ENDS)


@cache
def accuracy(implementation: str, dtype: str, activation: str) -> Accuracy:
    """What an implementation may lose in an activation, or in a term of a loss: its row of accuracy.toml.

    An implementation without a row is allowed the largest numbers of any, each by itself: of the default row
    and of the rows of all implementations.
    """
    table = _table()
    own = table.get(f"{implementation}.{dtype}", {})
    if activation in own:
        return _row(own[activation])
    default = table["default"]["term" if activation in TERMS else "any"]
    if own and activation in TERMS:
        return _row(default)
    rows = [table["default"].get(activation, default)]
    rows += [t[activation] for n, t in table.items() if n.endswith(f".{dtype}") and activation in t]
    return _row(list(map(max, zip(*rows, strict=True))))
