"""The fields of an example's file: a check for each, and the message for a value that does not fit.

A message says what was got, where in a list it stands, and what to write instead; `tools.toml` puts the file,
the line and the field before it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from conformance.commands.handout.formulas import LOSSES
from conformance.commands.handout.text import count, visible
from conformance.model.problem import Floats
from conformance.tools.toml import (
    Fields,
    Reader,
    UnfitError,
    as_it_is,
    flag,
    number,
    one_of,
    stray,
    text,
    told,
)
from conformance.truth.definitions import ACTIVATIONS, ROW_WISE

__all__ = ["EXAMPLE", "LAYER", "MOST", "PLOTTED", "PUBLISHED", "TRAINING", "checked", "missing"]

MOST, PLOTTED = 8, 64
"""The most examples of a batch, and the most layers of a plot."""
CONVENTIONS, SHOWS = ("column", "rows"), ("steps", "plot")
QUANTITIES = ("A", "Z", "delta", "dW", "db", "W_new", "b_new", "loss", "loss_after")


# --- values -------------------------------------------------------------------------------------------


def _real(x: object, where: str) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float):
        quotes = ", without quotes" if isinstance(x, str) else ""
        raise UnfitError(f"has {told(x)} {where}; expected a number there{quotes}.")
    if abs(x) > 1e6 or not math.isfinite(x):  # in this order: a whole number may be no float
        raise UnfitError(f"has {told(x)} {where}; expected a finite number, a million at most.")
    return float(x)


def _vector(x: object) -> Floats:
    if not isinstance(x, list) or not x:
        raise UnfitError(f"is {told(x)}; expected a list of numbers, such as [0.5, -1.0].")
    if any(isinstance(e, list) for e in x):
        raise UnfitError(
            f"is {told(x)}, which has brackets in its brackets; expected a list of numbers, such as "
            "[0.5, -1.0]."
        )
    return np.array([_real(e, f"as number {i}") for i, e in enumerate(x, 1)])


def _matrix(x: object) -> Floats:
    such = "such as [[0.5, -1.0], [2.0, 0.0]]"
    if not isinstance(x, list) or not x:
        raise UnfitError(f"is {told(x)}; expected rows of numbers, {such}.")
    if not any(isinstance(row, list) for row in x):
        one, each = told([x]), told([[e] for e in x])
        raise UnfitError(
            f"is {told(x)}, which has no rows; expected {one} for one row, or {each} for one number "
            "in each."
            if len(one) + len(each) < 110
            else f"is {told(x)}, which has no rows; expected rows of numbers, {such}."
        )
    for i, row in enumerate(x, 1):
        if not isinstance(row, list) or not row:
            raise UnfitError(f"has {told(row)} as row {i}; expected rows of numbers, {such}.")
        if len(row) != len(x[0]):
            raise UnfitError(
                f"has {count(len(row), 'number')} in row {i} and {len(x[0])} in row 1; expected as "
                "many in each."
            )
    return np.array(
        [
            [_real(e, f"in row {i}, column {j}") for j, e in enumerate(r, 1)]
            for i, r in enumerate(x, 1)
        ]
    )


def _printed(x: object) -> Decimal:
    if not isinstance(x, str) or not re.fullmatch(
        r"[-+]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})(e[-+]?\d{1,2})?", x
    ):
        raise UnfitError(f'is {told(x)}; expected a number in quotes, as it was printed: "0.7514".')
    return Decimal(x)


def _place(x: object) -> tuple[int, int]:
    if (
        not isinstance(x, list)
        or len(x) != 2
        or not all(isinstance(e, int) and not isinstance(e, bool) and e > 0 for e in x)
    ):
        raise UnfitError(f"is {told(x)}; expected row and column, from 1: [1, 2].")
    return x[0] - 1, x[1] - 1


def _tables(name: str) -> Callable[[object], list[object]]:
    def check(x: object) -> list[object]:
        if isinstance(x, dict):
            raise UnfitError(f"is one table; expected double brackets, [[{name}]], one for each.")
        if not isinstance(x, list) or not x:
            raise UnfitError(f"is {told(x)}; expected [[{name}]], one table for each.")
        return x

    return check


def _language(x: object) -> str:
    if not isinstance(x, str) or not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", x):
        raise UnfitError(
            f'is {told(x)}; expected a language tag (BCP 47), such as "de" or "pt-BR".'
        )
    return x


# --- fields -------------------------------------------------------------------------------------------

_LOSS = one_of(
    "loss", tuple(LOSSES), mse="mean_squared_error", squarederror="mean_squared_error",
    l2="mean_squared_error", mae="mean_absolute_error", l1="mean_absolute_error",
    halfmse="half_squared_error", ce="cross_entropy", nll="log_softmax_cross_entropy",
    categoricalcrossentropy="cross_entropy", bce="binary_cross_entropy", smoothl1="huber",
)  # fmt: skip
_ACTIVATION = one_of(
    "activation", (*ACTIVATIONS, *ROW_WISE), linear="identity", none="identity", id="identity",
    logistic="sigmoid", expit="sigmoid", swish="silu", lrelu="leaky_relu", sine="sin",
)  # fmt: skip
EXAMPLE: Fields = {
    "title": text(200),
    "text": text(6000),
    "credit": text(500),
    "lang": _language,
    "convention": one_of("convention", CONVENTIONS, col="column", batch="rows"),
    "loss": _LOSS,
    "alpha": number(0, 1000),
    "x": _vector,
    "y": _vector,
    "X": _matrix,
    "Y": _matrix,
    "fixed_biases": flag,
    "show": one_of("kind of handout", SHOWS),
    "layers": _tables("layers"),
    "training": as_it_is,
    "published": _tables("published"),
}
LAYER: Fields = {
    "W": _matrix,
    "b": _vector,
    "activation": _ACTIVATION,
    "repeat": number(1, PLOTTED, whole=True),
}
TRAINING: Fields = {
    "epochs": number(1, 5000, whole=True),
    "batch_size": number(1, MOST, whole=True),
    "seed": number(0, 2**31, whole=True),
}
PUBLISHED: Fields = {
    "what": text(120),
    "quantity": one_of("quantity", QUANTITIES),
    "layer": number(1, PLOTTED, whole=True),
    "at": _place,
    "value": _printed,
    "why": text(1000),
}
HOMES: Sequence[tuple[str, Fields]] = (
    ("above the first header", EXAMPLE), ("below a [[layers]]", LAYER),
    ("below [training]", TRAINING), ("below a [[published]]", PUBLISHED),
)  # fmt: skip
SAME = {
    "name": "title", "description": "text", "lr": "alpha", "learningrate": "alpha", "eta": "alpha",
    "language": "lang", "input": "x", "target": "y", "targets": "Y", "inputs": "X", "layer": "layers",
    "weights": "W", "weight": "W", "bias": "b", "biases": "b", "sigma": "activation", "act": "activation",
    "times": "repeat", "batch": "batch_size",
}  # fmt: skip
"""Other names that people write for a field."""
NEEDED = {
    "title": 'a line in quotes, such as title = "My network"',
    "convention": 'convention = "column" for one example, or "rows" for a batch',
    "loss": 'the name of a loss, such as loss = "mean_squared_error"',
    "alpha": "the learning rate, such as alpha = 0.1",
    "layers": "[[layers]], one for each layer",
    "x": "the input, such as x = [1.0, 0.5]: one example as a column is x and y",
    "y": "the target, such as y = [1.0]: one example as a column is x and y",
    "X": "the inputs, such as X = [[1.0, 0.5], [0.0, 1.0]]: a batch of rows is X and Y",
    "Y": "the targets, such as Y = [[1.0], [0.0]]: a batch of rows is X and Y",
    "W": "the weights, such as W = [[0.5, -1.0]]",
    "activation": 'the name of one, such as activation = "tanh"',
    "epochs": "how many, such as epochs = 100",
    "what": "its name, in quotes",
    "quantity": 'what it is of, such as quantity = "dW"',
    "value": 'the number in quotes, as it was printed: value = "0.7514"',
    "layer": "the number of its layer, such as layer = 1",
    "at": "row and column, from 1, such as at = [1, 2]",
}
"""What to write where a needed field is missing."""


def checked(
    reader: Reader, table: str, value: object, known: Fields, needed: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of a table, each checked. Raises the reader's error for one missing or unknown."""
    if isinstance(value, dict):
        for name in value:
            if name not in known:
                raise reader.fail(table, visible(name)[:60], _stray(name, known))
        for name in needed:
            if name not in value:
                raise missing(reader, table, name)
    return reader.fields(table, value, known)


def _stray(name: str, known: Fields) -> str:
    """The message for a field that belongs to another table, or is unknown."""
    for home, fields in HOMES:
        if name in fields and fields is not known:
            return f"stands in the wrong place; expected it {home}."
    return stray("field", name, tuple(known), SAME)


def missing(reader: Reader, table: str, name: str) -> ValueError:
    """The error for a field that is needed: it says what to write there."""
    above = ", above the first [[layers]]," if not table and name != "layers" else ""
    return reader.fail(table, name, f"is missing; expected{above} {NEEDED[name]}.")
