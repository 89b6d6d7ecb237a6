"""An example: a TOML file, strictly read. An error names the file, the line and the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from conformance.commands.handout.fields import (
    EXAMPLE,
    LAYER,
    MOST,
    PLOTTED,
    PUBLISHED,
    TRAINING,
    checked,
    missing,
)
from conformance.commands.handout.formulas import HALF, LOSSES
from conformance.commands.handout.source import HandoutError, is_file, text_of
from conformance.commands.handout.text import count, visible
from conformance.model.problem import Floats, Problem
from conformance.tools.names import unknown
from conformance.tools.toml import Reader
from conformance.tools.toml_text import parsed
from conformance.truth.definitions import ROW_WISE

__all__ = ["Example", "HandoutError", "Published", "Training", "names", "read"]

WIDEST, DEEPEST = 6, 8
"""The most units of a layer, and the most layers of a handout with every step."""
SUMS = 1e-9
"""How far from 1 a row's sum may be, through the rounding of decimals such as 0.1."""

Table = Mapping[str, Any]
"""The checked values of a table: `fields` says which type each has."""


@dataclass(frozen=True)
class Training:
    """How to train it, by stochastic gradient descent with the example's own α."""

    epochs: int
    batch_size: int
    seed: int = 0


@dataclass(frozen=True)
class Published:
    """A number from a publication, as it was printed, and the quantity and place that it is of."""

    what: str
    quantity: str
    value: Decimal
    layer: int = 0
    at: tuple[int, int] = (0, 0)  # as displayed, from 0
    why: str = ""


@dataclass(frozen=True)
class Example:
    """A network with its data, as a batch of rows, W_l d_{l-1}×d_l, whichever convention is displayed."""

    name: str
    title: str
    text: tuple[str, ...]
    convention: str
    sigma: Mapping[int, str]
    loss: str
    alpha: float
    W: Mapping[int, Floats]
    b: Mapping[int, Floats]  # d_l each; empty: no biases
    X: Floats  # n×d
    Y: Floats  # n×d_L
    fixed_biases: bool = False
    show: str = "steps"
    training: Training | None = None
    published: tuple[Published, ...] = ()
    credit: str = ""
    lang: str = "en"  # of title, text and credit
    repeated: tuple[tuple[int, int], ...] = ()  # the first and last layer of each table
    reader: Reader | None = field(default=None, compare=False, repr=False)  # knows line numbers

    def refused(self, table: str, field: str, what: str) -> HandoutError:
        """The error for a field of this example, with its line where it has a file."""
        if self.reader is not None:
            return HandoutError(str(self.reader.fail(table, field, what)))
        return HandoutError(f"{self.name}: {f'{table}.{field}' if table else field} {what}")

    def table(self, l: int) -> str:
        """The name of the table that a layer comes from: layers[2]."""
        return f"layers[{next(i for i, (_, last) in enumerate(self.repeated, 1) if l <= last)}]"

    @property
    def L(self) -> int:
        return len(self.W)

    @property
    def n(self) -> int:
        return len(self.X)

    @property
    def column(self) -> bool:
        """Displayed as one example, a column, as the notes derive it; else as a batch of rows."""
        return self.convention == "column"

    @property
    def scale(self) -> float:
        """The loss that is run, divided by the example's: ½ Σ is run as Σ with α/2, which rounds alike."""
        return 2.0 if self.loss == HALF else 1.0

    def shaped(self, M: Floats) -> Floats:
        """A matrix of the batch of rows, as it is displayed."""
        return M.T if self.column else M

    def problem(self) -> Problem:
        """The problem that every implementation is given."""
        W = {l: np.vstack([M, self.b[l]]) if self.b else M.copy() for l, M in self.W.items()}
        return Problem(
            W=W,
            X=self.X.copy(),
            Y=self.Y.copy(),
            sigma=dict(self.sigma),
            loss=LOSSES[self.loss].runs_as,
            bias=bool(self.b),
            alpha=self.alpha / self.scale,
        )


# --- the whole ----------------------------------------------------------------------------------------


def names() -> list[str]:
    """The examples that come with the package, in their order in a course: 01-two-layers."""
    folder = (files(__package__) / "examples").iterdir()
    return sorted(p.name.removesuffix(".toml") for p in folder if p.name.endswith(".toml"))


def _plain_name(name: str) -> str:
    return re.sub(r"^\d+-", "", name)


def read(wanted: str) -> Example:
    """The example of that name, or of that TOML file. Raises HandoutError, in one sentence."""
    known = {_plain_name(n): n for n in names()}
    if wanted in known:
        return _parsed(f"{known[wanted]}.toml", _shipped(known[wanted]))
    if not is_file(wanted):
        raise HandoutError(
            f"{unknown('example', visible(wanted)[:60], known)} Or FILE.toml, your own."
        )
    return _parsed(visible(wanted), text_of(wanted))


def _shipped(name: str) -> str:
    return (files(__package__) / "examples" / f"{name}.toml").read_text(encoding="utf-8")


def _parsed(name: str, text: str) -> Example:
    table = parsed(name, text, HandoutError, "[[layers]]")
    reader = Reader(name, text, HandoutError)
    return _example(reader, table, _plain_name(Path(name).name.removesuffix(".toml")))


def _example(reader: Reader, table: Table, name: str) -> Example:
    values = checked(reader, "", table, EXAMPLE, ("title", "convention", "loss", "alpha", "layers"))
    column = values["convention"] == "column"
    x, y = ("x", "y") if column else ("X", "Y")
    _right_letters(reader, values, x, y, column)
    X, Y = (values[v].reshape(1, -1) if column else values[v] for v in (x, y))
    layers, repeated = _layers(reader, values)
    W = {l: np.ascontiguousarray(t["W"].T if column else t["W"]) for l, t in layers.items()}
    b = {l: t["b"] for l, t in layers.items() if "b" in t}
    made = Example(
        name=name,
        title=" ".join(values["title"].split()),
        text=tuple(" ".join(p.split()) for p in re.split(r"\n\s*\n", values.get("text", "")) if p.strip()),
        convention=values["convention"],
        sigma={l: t["activation"] for l, t in layers.items()},
        loss=values["loss"],
        alpha=values["alpha"],
        W=W, b=b, X=X, Y=Y,
        fixed_biases=values.get("fixed_biases", False),
        show=values.get("show", "steps"),
        training=_training(reader, values, len(X)),
        credit=values.get("credit", ""),
        lang=values.get("lang", "en"),
        repeated=repeated,
        reader=reader,
    )  # fmt: skip
    _fits(reader, made, x, y)
    _loss_fits(reader, made, y)
    published = tuple(
        _published(reader, i, t, made) for i, t in enumerate(values.get("published", ()), 1)
    )
    return replace(made, published=published)


def _right_letters(reader: Reader, values: Table, x: str, y: str, column: bool) -> None:
    """Raises the reader's error unless a column has x and y, and a batch of rows X and Y."""
    other = "rows" if column else "column"
    for letter, right in zip(("X", "Y") if column else ("x", "y"), (x, y), strict=True):
        if letter in values:
            raise reader.fail(
                "", letter,
                f'stands beside convention = "{values["convention"]}"; expected {right} there, '
                f'or convention = "{other}".',
            )  # fmt: skip
    for letter in (x, y):
        if letter not in values:
            raise missing(reader, "", letter)


def _layers(
    reader: Reader, values: Table
) -> tuple[dict[int, dict[str, Any]], tuple[tuple[int, int], ...]]:
    """The table of each layer, with `repeat` carried out; and the first and last layer of each table."""
    layers: dict[int, dict[str, Any]] = {}
    repeated = []
    for i, value in enumerate(values["layers"], start=1):
        table = checked(reader, f"layers[{i}]", value, LAYER, ("W", "activation"))
        first = len(layers) + 1
        for l in range(first, first + table.get("repeat", 1)):
            layers[l] = table
        repeated.append((first, len(layers)))
        if ("b" in table) != ("b" in values["layers"][0]):
            here = "stands here, and not in" if "b" in table else "is missing here, and stands in"
            raise reader.fail(
                f"layers[{i}]", "b", f"{here} layers[1]; expected it in all layers or in none."
            )
    most = DEEPEST if values.get("show", "steps") == "steps" else PLOTTED
    if len(layers) > most:
        plot = ', or show = "plot"' if most == DEEPEST else ""
        raise reader.fail(
            "",
            "layers",
            f"are {len(layers)} together; expected {most} at most, for paper{plot}.",
        )
    return layers, tuple(repeated)


def _training(reader: Reader, values: Table, n: int) -> Training | None:
    if "training" not in values:
        return None
    table = checked(reader, "training", values["training"], TRAINING, ("epochs",))
    if table.get("batch_size", n) > n:
        raise reader.fail(
            "training", "batch_size", f"is {table['batch_size']}; expected {n}, the batch, at most."
        )
    if values.get("fixed_biases"):
        raise reader.fail(
            "", "fixed_biases", "stands beside [training], which moves them; expected one of them."
        )
    return Training(**{"batch_size": n, **table})


def _fits(reader: Reader, e: Example, x: str, y: str) -> None:
    """Raises the reader's error where shapes or sizes do not fit."""
    if e.n > MOST:
        raise reader.fail("", x, f"has {e.n} examples; expected {MOST} at most, for paper.")
    before, source = e.X.shape[1], f"of {x}"
    if before > WIDEST:
        raise reader.fail("", x, f"has {before} features; expected {WIDEST} at most, for paper.")
    for l, W in e.W.items():
        _layer_fits(reader, e, l, before, source)
        before, source = W.shape[1], f"of layer {l}"
    if e.Y.shape != (e.n, before):
        raise reader.fail("", y, _wrong_shape(e, before))
    if e.fixed_biases and not e.b:
        raise reader.fail(
            "", "fixed_biases", "is true where there is no b; expected a b in each layer, or false."
        )


def _wrong_shape(e: Example, outputs: int) -> str:
    """The message for a Y of the wrong shape. A column of whole numbers is taken for class numbers."""
    if e.column:
        got, want = count(e.Y.size, "number"), f"{outputs}, one for each unit of the last layer"
        return f"has {got}; expected {want}."
    got, want = ("×".join(map(str, s)) for s in (e.Y.shape, (e.n, outputs)))
    text = f"is {got}; expected {want}, one row for each example, as the last layer has outputs"
    labels = e.Y.shape == (e.n, 1) and not (e.Y % 1).any()
    return (
        f"{text}: a class is a row with a 1 in its place, such as [0, 1]." if labels else f"{text}."
    )


def _layer_fits(reader: Reader, e: Example, l: int, before: int, source: str) -> None:
    table, W = e.table(l), e.W[l]
    if W.shape[0] != before:
        side = "column" if e.column else "row"
        form = "d_l×d_(l-1)" if e.column else "d_(l-1)×d_l"
        units = count(before, "unit" if l > 1 else "feature")
        turned = ", and it is that transposed" if W.shape[1] == before else ""
        raise reader.fail(
            table, "W",
            f"has {count(W.shape[0], side)}; expected {before}, the {units} {source}: "
            f'with convention = "{e.convention}" W is {form}{turned}.',
        )  # fmt: skip
    if W.shape[1] > WIDEST:
        raise reader.fail(
            table, "W", f"makes {W.shape[1]} units; expected {WIDEST} at most, for paper."
        )
    if e.b and e.b[l].shape != (W.shape[1],):
        got, units = count(len(e.b[l]), "number"), count(W.shape[1], "unit")
        raise reader.fail(
            table, "b", f"has {got}; expected {W.shape[1]}, as W makes {units} of this layer."
        )
    if e.sigma[l] in ROW_WISE and l < e.L:
        raise reader.fail(
            table, "activation",
            f"is {e.sigma[l]!r} before the last layer; expected one that goes by entries, such as "
            "'tanh'.",
        )  # fmt: skip


def _loss_fits(reader: Reader, e: Example, y: str) -> None:
    """Raises the reader's error where a loss of probabilities has other outputs or targets than these."""
    loss, last = LOSSES[e.loss], e.sigma[e.L]
    if loss.after and last not in loss.after:
        wanted = " or ".join(filter(None, (", ".join(loss.after[:-1]), loss.after[-1])))
        raise reader.fail(
            "", "loss",
            f"is {e.loss!r} of what {last} gives, the activation of {e.table(e.L)}; expected {wanted} "
            f"there, or another loss, such as {_instead(last)!r}.",
        )  # fmt: skip
    for i, j in np.argwhere((e.Y < 0) | (e.Y > 1)) if loss.targets else ():
        where = f"as number {j + 1}" if e.column else f"in row {i + 1}, column {j + 1}"
        raise reader.fail(
            "", y,
            f"has {e.Y[i, j]:g} {where}; expected numbers from 0 to 1, as {e.loss} compares "
            "probabilities.",
        )  # fmt: skip
    for (i,) in np.argwhere(np.abs(e.Y.sum(axis=1) - 1) > SUMS) if loss.targets == "rows" else ():
        where, whole = ("", "it") if e.column else (f" in row {i + 1}", "a row")
        raise reader.fail(
            "", y,
            f"has a sum of {e.Y[i].sum():.6g}{where}; expected 1, as {e.loss} takes {whole} for "
            "the probabilities of the classes, such as [0, 1].",
        )  # fmt: skip


def _instead(last: str) -> str:
    """The name of a loss that takes what this activation gives."""
    compare = ("cross_entropy", "log_softmax_cross_entropy", "binary_cross_entropy")
    return next((n for n in compare if last in LOSSES[n].after), "mean_squared_error")


def _published(reader: Reader, i: int, value: object, e: Example) -> Published:
    table = f"published[{i}]"
    values = checked(reader, table, value, PUBLISHED, ("what", "quantity", "value"))
    whole = values["quantity"] in ("loss", "loss_after")
    if whole and {"layer", "at"} & set(values):
        raise reader.fail(
            table, "quantity", "is a loss, which has no layer and no place; expected neither."
        )
    if not whole:
        _placed(reader, table, values, e)
    return Published(**values)


def _placed(reader: Reader, table: str, values: Table, e: Example) -> None:
    """Raises the reader's error unless the layer exists, and the place is in its matrix."""
    for f in ("layer", "at"):
        if f not in values:
            raise missing(reader, table, f)
    l, q = values["layer"], values["quantity"]
    if l > e.L:
        raise reader.fail(table, "layer", f"is {l}; expected {e.L}, the last layer, at most.")
    if q in ("db", "b_new") and not e.b:
        raise reader.fail(table, "quantity", f"is {q!r} where there is no b; expected biases.")
    rows = 1 if q in ("db", "b_new") else e.W[l].shape[0] if q in ("dW", "W_new") else e.n
    shape = (rows, e.W[l].shape[1])
    shape = shape[::-1] if e.column else shape
    if any(k >= m for k, m in zip(values["at"], shape, strict=True)):
        at = [k + 1 for k in values["at"]]
        raise reader.fail(
            table, "at", f"is {at}; expected a place in {shape[0]}×{shape[1]} numbers."
        )
