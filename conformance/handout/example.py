"""An example: a TOML file, strictly read. What does not fit is said with its file, line and field."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cases import unknown
from conformance.handout.formulas import HALF, LOSSES
from conformance.handout.text import count
from conformance.problem import Floats, Problem
from conformance.strict import (
    Fields,
    Reader,
    UnfitError,
    as_it_is,
    flag,
    number,
    one_of,
    string,
)
from conformance.truth.definitions import ACTIVATIONS, ROW_WISE

__all__ = ["Example", "HandoutError", "Published", "Training", "names", "read"]

WIDEST, MOST, DEEPEST, PLOTTED = 6, 8, 8, 64
"""Units of a layer, examples of a batch, layers with every step, layers of a plot."""
CONVENTIONS, SHOWS = ("column", "rows"), ("steps", "plot")
QUANTITIES = ("A", "Z", "delta", "dW", "db", "W_new", "b_new", "loss", "loss_after")
SIZE = 65536

Table = Mapping[str, Any]


class HandoutError(ValueError):
    """Why there is no handout: what was got, what was expected, where."""


@dataclass(frozen=True)
class Training:
    """Stochastic gradient descent with the example's own α."""

    epochs: int
    batch_size: int
    seed: int = 0


@dataclass(frozen=True)
class Published:
    """A number that somebody printed, as it was printed, and which of ours it is to be."""

    what: str
    quantity: str
    value: Decimal
    layer: int = 0
    at: tuple[int, int] = (0, 0)  # as displayed, from 0
    why: str = ""


@dataclass(frozen=True)
class Example:
    """A network with its data, in the batch form: W_l is d_{l-1}×d_l whatever is displayed."""

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
    repeated: tuple[tuple[int, int], ...] = ()  # the first and last layer of each table

    @property
    def L(self) -> int:
        return len(self.W)

    @property
    def n(self) -> int:
        return len(self.X)

    @property
    def column(self) -> bool:
        """One example as a column, as the notes derive it; else a batch of rows."""
        return self.convention == "column"

    @property
    def scale(self) -> float:
        """What the loss that is run is times ours: ½ Σ is run as Σ with α/2, which rounds alike."""
        return 2.0 if self.loss == HALF else 1.0

    def shaped(self, M: Floats) -> Floats:
        """As displayed."""
        return M.T if self.column else M

    def problem(self) -> Problem:
        """What every implementation is given."""
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


# --- values -------------------------------------------------------------------------------------------


def _text(most: int) -> Callable[[Any], str]:
    def check(x: Any) -> str:
        if len(string(x)) > most:
            raise UnfitError(f"has {len(x):,} characters; expected {most:,} at most.")
        return str(x)

    return check


def _real(x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float):
        raise UnfitError(f"has {x!r:.60} in it; expected numbers.")
    if abs(x) > 1e6 or not math.isfinite(x):  # in this order: a whole number may be no float
        raise UnfitError(f"has {x!r:.60} in it; expected finite numbers, a million at most.")
    return float(x)


def _vector(x: Any) -> Floats:
    if not isinstance(x, list) or not x or any(isinstance(e, list) for e in x):
        raise UnfitError(f"is {x!r:.60}; expected a list of numbers, such as [0.5, -1.0].")
    return np.array([_real(e) for e in x])


def _matrix(x: Any) -> Floats:
    if not isinstance(x, list) or not x or not all(isinstance(r, list) and r for r in x):
        raise UnfitError(f"is {x!r:.60}; expected rows of numbers, such as [[0.5, -1.0], [2, 0]].")
    lengths = [len(r) for r in x]
    if len(set(lengths)) > 1:
        raise UnfitError(
            f"has rows of {', '.join(map(str, lengths))} numbers; expected one length."
        )
    return np.array([[_real(e) for e in r] for r in x])


def _printed(x: Any) -> Decimal:
    if not isinstance(x, str) or not re.fullmatch(r"[-+]?\d{0,20}(\.\d{1,20})?(e[-+]?\d{1,2})?", x):
        raise UnfitError(f'is {x!r:.60}; expected a number in quotes, as it was printed: "0.7514".')
    try:
        return Decimal(x)
    except ArithmeticError as e:
        raise UnfitError(f"is {x!r:.60}; expected a number in quotes.") from e


def _place(x: Any) -> tuple[int, int]:
    whole = isinstance(x, list) and len(x) == 2
    if not whole or not all(isinstance(e, int) and not isinstance(e, bool) and e > 0 for e in x):
        raise UnfitError(f"is {x!r:.60}; expected row and column, from 1: [1, 2].")
    return x[0] - 1, x[1] - 1


def _tables(x: Any) -> list[Any]:
    if not isinstance(x, list) or not x:
        raise UnfitError(f"is {x!r:.60}; expected tables in double brackets.")
    return x


# --- fields -------------------------------------------------------------------------------------------

EXAMPLE: Fields = {
    "title": _text(200),
    "text": _text(6000),
    "credit": _text(500),
    "convention": one_of("convention", CONVENTIONS),
    "loss": one_of("loss", tuple(LOSSES)),
    "alpha": number(0, 1000),
    "x": _vector,
    "y": _vector,
    "X": _matrix,
    "Y": _matrix,
    "fixed_biases": flag,
    "show": one_of("kind of handout", SHOWS),
    "layers": _tables,
    "training": as_it_is,
    "published": _tables,
}
LAYER: Fields = {
    "W": _matrix,
    "b": _vector,
    "activation": one_of("activation", (*ACTIVATIONS, *ROW_WISE)),
    "repeat": number(1, PLOTTED, whole=True),
}
TRAINING: Fields = {
    "epochs": number(1, 5000, whole=True),
    "batch_size": number(1, MOST, whole=True),
    "seed": number(0, 2**31, whole=True),
}
PUBLISHED: Fields = {
    "what": _text(120),
    "quantity": one_of("quantity", QUANTITIES),
    "layer": number(1, PLOTTED, whole=True),
    "at": _place,
    "value": _printed,
    "why": _text(1000),
}


def _line(lines: Sequence[str], table: str, field: str) -> int:
    """Where a field of a table such as `layers[2]` is, or where its table is; 0: nowhere found."""
    start, end = _extent(lines, table)
    pattern = rf"\s*[\"']?{re.escape(field)}[\"']?\s*=" if field else r"(?!)"
    found = [i for i in range(start, end) if re.match(pattern, lines[i])]
    header = rf"\s*\[\[?\s*{re.escape(field)}\s*\]"
    found += [i for i, s in enumerate(lines) if not table and re.match(header, s)]
    return found[0] + 1 if found else start


def _extent(lines: Sequence[str], table: str) -> tuple[int, int]:
    """The lines of a table's body, counted from 0: from (its header is just before) and to."""
    headers = [i for i, s in enumerate(lines) if re.match(r"\s*\[\[?\s*[\w\"']+\s*\]", s)]
    name, _, index = table.rstrip("]").partition("[")
    if not name:
        return 0, headers[0] if headers else len(lines)
    own = [i for i in headers if re.match(rf"\s*\[\[?\s*{name}\s*\]", lines[i])]
    if not own or int(index or 1) > len(own):
        return 0, len(lines)
    start = own[int(index or 1) - 1]
    return start + 1, next((i for i in headers if i > start), len(lines))


# --- the whole ----------------------------------------------------------------------------------------


def names() -> list[str]:
    """The examples that come along, in their order in a course."""
    found = [
        p.name for p in (files(__package__) / "examples").iterdir() if p.name.endswith(".toml")
    ]
    return [n.removesuffix(".toml") for n in sorted(found)]


def _plain_name(name: str) -> str:
    return re.sub(r"^\d+-", "", name)


def read(wanted: str) -> Example:
    """The example of that name, or of that TOML file. Raises HandoutError, in one sentence."""
    if not wanted.endswith(".toml"):
        known = {_plain_name(n): n for n in names()}
        if wanted not in known:
            raise HandoutError(f"{unknown('example', wanted[:60], known)} Or FILE.toml, your own.")
        return _parsed(f"{known[wanted]}.toml", _shipped(known[wanted]))
    try:
        data = Path(wanted).read_bytes()
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or e
        raise HandoutError(f"cannot read {wanted}: {why}; expected an example, a TOML file.") from e
    if len(data) > SIZE:
        raise HandoutError(
            f"cannot read {wanted}: it has {len(data):,} bytes; expected {SIZE:,} at most."
        )
    try:
        return _parsed(wanted, data.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise HandoutError(f"cannot read {wanted}: it is not UTF-8 text ({e.reason}).") from e


def _shipped(name: str) -> str:
    return (files(__package__) / "examples" / f"{name}.toml").read_text(encoding="utf-8")


def _parsed(name: str, text: str) -> Example:
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # ValueError: an integer of thousands of digits too
        raise HandoutError(f"cannot read {name}: it is not TOML: {e}.") from e
    return _example(
        Reader(name, text, HandoutError, _line),
        said,
        _plain_name(Path(name).name.removesuffix(".toml")),
    )


def _example(reader: Reader, said: Table, name: str) -> Example:
    found = reader.fields("", said, EXAMPLE, ("title", "convention", "loss", "alpha", "layers"))
    column = found["convention"] == "column"
    x, y = ("x", "y") if column else ("X", "Y")
    _right_letters(reader, found, x, y, column)
    X, Y = (found[v].reshape(1, -1) if column else found[v] for v in (x, y))
    layers, repeated = _layers(reader, found)
    W = {l: np.ascontiguousarray(t["W"].T if column else t["W"]) for l, t in layers.items()}
    b = {l: t["b"] for l, t in layers.items() if "b" in t}
    made = Example(
        name=name,
        title=" ".join(found["title"].split()),
        text=tuple(" ".join(p.split()) for p in re.split(r"\n\s*\n", found.get("text", "")) if p.strip()),
        convention=found["convention"],
        sigma={l: t["activation"] for l, t in layers.items()},
        loss=found["loss"],
        alpha=found["alpha"],
        W=W, b=b, X=X, Y=Y,
        fixed_biases=found.get("fixed_biases", False),
        show=found.get("show", "steps"),
        training=_training(reader, found, len(X)),
        credit=found.get("credit", ""),
        repeated=repeated,
    )  # fmt: skip
    _fits(reader, made, x, y)
    published = tuple(
        _published(reader, i, t, made) for i, t in enumerate(found.get("published", ()), 1)
    )
    return Example(**{**made.__dict__, "published": published})


def _right_letters(reader: Reader, found: Table, x: str, y: str, column: bool) -> None:
    """A column is x and y; a batch of rows X and Y."""
    what = "one example as a column is x and y" if column else "a batch of rows is X and Y"
    for letter in ("X", "Y") if column else ("x", "y"):
        if letter in found:
            raise reader.fail(
                "", letter, f"stands beside convention = {found['convention']!r}: {what}."
            )
    for letter in (x, y):
        if letter not in found:
            raise reader.fail("", letter, f"is missing; {what}.")


def _layers(
    reader: Reader, found: Table
) -> tuple[dict[int, dict[str, Any]], tuple[tuple[int, int], ...]]:
    """Layer by layer, a repeated one as often as it says; and which table is of which layers."""
    layers: dict[int, dict[str, Any]] = {}
    repeated = []
    for i, said in enumerate(found["layers"], start=1):
        table = reader.fields(f"layers[{i}]", said, LAYER, ("W", "activation"))
        first = len(layers) + 1
        for _ in range(table.get("repeat", 1)):
            layers[len(layers) + 1] = {**table, "table": f"layers[{i}]"}
        repeated.append((first, len(layers)))
        if ("b" in table) != ("b" in found["layers"][0]):
            raise reader.fail(
                f"layers[{i}]", "b", "is in some layers alone; expected it in all or in none."
            )
    most = DEEPEST if found.get("show", "steps") == "steps" else PLOTTED
    if len(layers) > most:
        raise reader.fail(
            "", "layers",
            f"are {len(layers)} together; expected {most} at most"
            f'{", or show = " + chr(34) + "plot" + chr(34) if most == DEEPEST else ""}.',
        )  # fmt: skip
    return layers, tuple(repeated)


def _training(reader: Reader, found: Table, n: int) -> Training | None:
    if "training" not in found:
        return None
    said = reader.fields("training", found["training"], TRAINING, ("epochs",))
    if said.get("batch_size", n) > n:
        raise reader.fail(
            "training", "batch_size", f"is {said['batch_size']}; expected {n}, the batch, at most."
        )
    if found.get("fixed_biases"):
        raise reader.fail(
            "", "fixed_biases", "stands beside [training], which moves them; expected one of them."
        )
    return Training(**{"batch_size": n, **said})


def _table_of(e: Example, l: int) -> str:
    return f"layers[{next(i for i, (_, last) in enumerate(e.repeated, 1) if l <= last)}]"


def _fits(reader: Reader, e: Example, x: str, y: str) -> None:
    """Shapes, sizes, and what does not go together."""
    if e.n > MOST:
        raise reader.fail("", x, f"has {e.n} examples; expected {MOST} at most, for paper.")
    before, source = e.X.shape[1], f"of {x}"
    if before > WIDEST:
        raise reader.fail("", x, f"has {before} features; expected {WIDEST} at most, for paper.")
    for l, W in e.W.items():
        _layer_fits(reader, e, l, before, source)
        before, source = W.shape[1], f"of layer {l}"
    if e.Y.shape != (e.n, before):
        got, want = ("×".join(map(str, s)) for s in (e.Y.shape, (e.n, before)))
        told = (
            f"has {count(e.Y.size, 'number')}; expected {before}"
            if e.column
            else f"is {got}; expected {want}"
        )
        raise reader.fail("", y, f"{told}, as the last layer has outputs.")
    if e.fixed_biases and not e.b:
        raise reader.fail(
            "", "fixed_biases", "is true where there is no b; expected biases, or false."
        )


def _layer_fits(reader: Reader, e: Example, l: int, before: int, source: str) -> None:
    table, W = _table_of(e, l), e.W[l]
    side = "columns" if e.column else "rows"
    if W.shape[0] != before:
        form = "d_l×d_(l-1)" if e.column else "d_(l-1)×d_l"
        units = count(before, "unit" if l > 1 else "feature")
        raise reader.fail(
            table, "W",
            f"has {W.shape[0]} {side}; expected {before}, the {units} {source}: "
            f"with convention = {e.convention!r} W is {form}.",
        )  # fmt: skip
    if W.shape[1] > WIDEST:
        raise reader.fail(
            table, "W", f"makes {W.shape[1]} units; expected {WIDEST} at most, for paper."
        )
    if e.b and e.b[l].shape != (W.shape[1],):
        raise reader.fail(
            table,
            "b",
            f"has {count(len(e.b[l]), 'number')}; expected {W.shape[1]}, as W makes units.",
        )
    if e.sigma[l] in ROW_WISE and l < e.L:
        raise reader.fail(
            table, "activation", f"is {e.sigma[l]!r} before the last layer; expected it there."
        )
    if e.sigma[l] in ROW_WISE and e.column:
        raise reader.fail(
            table, "activation",
            f"is {e.sigma[l]!r}, which takes a whole row; expected it with convention = 'rows'.",
        )  # fmt: skip


def _published(reader: Reader, i: int, said: Any, e: Example) -> Published:
    table = f"published[{i}]"
    found = reader.fields(table, said, PUBLISHED, ("what", "quantity", "value"))
    whole = found["quantity"] in ("loss", "loss_after")
    if whole and {"layer", "at"} & set(found):
        raise reader.fail(
            table, "quantity", "is a loss, which has no layer and no place; expected neither."
        )
    if not whole:
        _placed(reader, table, found, e)
    return Published(**found)


def _placed(reader: Reader, table: str, found: Table, e: Example) -> None:
    """A layer that there is, and a place in its matrix."""
    for f in ("layer", "at"):
        if f not in found:
            raise reader.fail(table, f, "is missing; expected it here.")
    l, q = found["layer"], found["quantity"]
    if l > e.L:
        raise reader.fail(table, "layer", f"is {l}; expected {e.L}, the last layer, at most.")
    if q in ("db", "b_new") and not e.b:
        raise reader.fail(table, "quantity", f"is {q!r} where there is no b; expected biases.")
    rows = 1 if q in ("db", "b_new") else e.W[l].shape[0] if q in ("dW", "W_new") else e.n
    shape = (rows, e.W[l].shape[1])
    shape = shape[::-1] if e.column else shape
    if any(k >= m for k, m in zip(found["at"], shape, strict=True)):
        at = [k + 1 for k in found["at"]]
        raise reader.fail(
            table, "at", f"is {at}; expected a place in {shape[0]}×{shape[1]} numbers."
        )
