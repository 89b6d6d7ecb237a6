"""How many errors are allowed, and what one evaluation of σ may lose: the constants of the tolerances.

What rounding does on the way is in the rules of the tape (`truth/rules.py`); docs/tolerances.md derives
both and shows the evidence for the constants.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from conformance.truth.definitions import TERMS
from conformance.truth.rounding import ENDS, Accuracy

__all__ = ["LAMBDA", "accuracy"]

LAMBDA = 5.0
"""How many root-mean-square errors the end-to-end gate allows. docs/tolerances.md has the evidence; the
most that a run has seen is in its report."""


@cache
def _table() -> Mapping[str, Any]:
    text = files("conformance.judge").joinpath("accuracy.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _row(numbers: Sequence[float]) -> Accuracy:
    return replace(Accuracy(*numbers), ends=ENDS)


@cache
def accuracy(implementation: str, dtype: str, activation: str) -> Accuracy:
    """The row of accuracy.toml for an implementation: of an activation, or of a term of a loss.

    Everybody else is held to the widest there is: of the default and of what each implementation of the
    table was measured to lose, number by number.
    """
    table = _table()
    own = table.get(f"{implementation}.{dtype}", {})
    if activation in own:
        return _row(own[activation])
    usual = table["default"]["term" if activation in TERMS else "any"]
    if own and activation in TERMS:
        return _row(usual)
    rows = [table["default"].get(activation, usual)]
    rows += [t[activation] for n, t in table.items() if n.endswith(f".{dtype}") and activation in t]
    return _row(list(map(max, zip(*rows, strict=True))))
