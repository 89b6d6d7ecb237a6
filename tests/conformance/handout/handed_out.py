"""Every example worked out once for all tests."""

from __future__ import annotations

from functools import cache

from conformance.handout.document import Handout, Wish, made, rendered
from conformance.handout.example import read

NAMES = (
    "two-layers", "two-layers-batch", "three-hidden-layers", "softmax", "xor", "dead-relu",
    "vanishing-gradients", "mazur",
)  # fmt: skip
STEPPED = tuple(n for n in NAMES if n != "vanishing-gradients")
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
