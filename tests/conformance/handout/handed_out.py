"""Every example worked out once for all tests, and networks as wide and deep as paper allows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fast import fast

from conformance.commands.handout.document import Handout, Wish, made
from conformance.commands.handout.example import Example, read
from conformance.commands.handout.formats import rendered

NAMES = (
    "two-layers", "two-layers-batch", "three-hidden-layers", "softmax", "xor", "dead-relu",
    "vanishing-gradients", "mazur",
)  # fmt: skip
STEPPED = tuple(n for n in NAMES if n != "vanishing-gradients")
QUICK = ("two-layers", "softmax", "vanishing-gradients")
"""What `make test` works out: a column, a batch, and a plot. Each takes seconds, in JAX for the most part."""
ALL, ALL_STEPPED = fast(NAMES, *QUICK), fast(STEPPED, *QUICK[:2])
FORMATS = ("html", "tex", "md", "ipynb")


@cache
def worked(name: str, wish: Wish = Wish()) -> Handout:  # noqa: B008   a constant
    """Asked of refbp alone, but for the plain handout, where all are asked."""
    return made(
        read(name), wish, ("refbp", "torch-cpu", "jax-cpu") if wish == Wish() else ("refbp",)
    )


@cache
def shown(name: str, form: str, wish: Wish = Wish()) -> str:  # noqa: B008
    return rendered(worked(name, wish), form)


# --- as large as it may be ----------------------------------------------------------------------------

WIDE = {  # convention, loss, σ_L, layers
    "wide-softmax": ("rows", "cross_entropy", "softmax", 3),
    "wide-log-softmax": ("rows", "log_softmax_cross_entropy", "log_softmax", 2),
    "wide-binary": ("rows", "binary_cross_entropy", "sigmoid", 2),
    "wide-huber": ("rows", "huber", "identity", 2),
    "wide-column": ("column", "half_squared_error", "sigmoid", 8),
}


def _numbers(seed: int, rows: int, columns: int) -> list[list[float]]:
    """Some of two digits, some of fifteen, of either sign."""
    made = [
        [((seed * 7919 + i * 104729 + j * 1299709) % 2001 - 1000) / 1000 for j in range(columns)]
        for i in range(rows)
    ]
    return [
        [x if (i + j) % 3 else round(x / 3, 15) for j, x in enumerate(r)]
        for i, r in enumerate(made)
    ]


def toml(name: str) -> str:
    """Six units in every layer, eight examples in a batch, numbers of fifteen digits."""
    convention, loss, last, L = WIDE[name]
    column = convention == "column"
    X, Y = _numbers(1, 8, 6), [[float(i % 6 == j) for j in range(6)] for i in range(8)]
    data = f"x = {X[0]}\ny = {Y[1]}" if column else f"X = {X}\nY = {Y}"
    hidden = ("tanh", "leaky_relu", "sigmoid", "gelu_tanh", "relu")
    layers = [
        f'[[layers]]\nW = {_numbers(l + 2, 6, 6)}\nb = {_numbers(l + 20, 1, 6)[0]}\n'
        f'activation = "{last if l == L - 1 else hidden[l % 5]}"'
        for l in range(L)
    ]  # fmt: skip
    published = '[[published]]\nwhat = "{}"\nquantity = "loss"\nvalue = "{}.{}"'.format(
        "the total " * 11, "1" * 20, "3" * 20
    )
    head = f'title = "{name}"\nconvention = "{convention}"\nloss = "{loss}"\nalpha = 0.125\n{data}'
    return "\n".join([head, *layers, published])


COLUMN = (  # softmax in the column convention, with the first example of "softmax"
    "title = 'Softmax of a column'\ntext = \"σ'_2 and δ_{l-1}\"\nconvention = 'column'\nalpha = 0.5\n"
    "loss = 'cross_entropy'\nx = [1.0, 2.0]\ny = [1, 0, 0]\n"
    "[[layers]]\nW = [[0.5, 0.25], [-0.25, 0.75]]\nb = [0.0, 0.5]\nactivation = 'tanh'\n"
    "[[layers]]\nW = [[0.4, -0.6], [-0.2, 0.3], [0.1, 0.8]]\nb = [0.1, 0.0, -0.1]\nactivation = 'softmax'\n"
)
DEEP = (
    'title = "Deep"\nconvention = "column"\nloss = "mean_squared_error"\nalpha = 0.1\nshow = "plot"\n'
    'x = [1, 2]\ny = [1, 0]\n[[layers]]\nW = [[0.9, 0.1], [0.2, 0.8]]\nactivation = "tanh"\nrepeat = 64\n'
)


@cache
def wide(name: str, folder: Path) -> Example:
    """One of WIDE, or "deep", or the softmax of a "column" and its logarithm."""
    path = folder / f"{name}.toml"
    log = COLUMN.replace("'softmax'", "'log_softmax'").replace("'cross", "'log_softmax_cross")
    text = {"deep": DEEP, "column": COLUMN, "log-column": log}.get(name) or toml(name)
    path.write_text(text, encoding="utf-8")
    return read(str(path))
