"""Which test of a gradient lets which mistake through, and which accuses right code: functions of several
inputs, in float32 and bfloat16.

Each style of test is held against the certified gradients of a function on ordinary data: mistakes planted in
them (`judge/functions/planted.py`) that it passes, and right implementations, which differ in how they round
(`Certificate.draws`), that it fails. `checkers.py` puts the table into docs/checkers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.allclose import Allclose, right_code
from conformance.judge.functions.candidate import Ran, Request
from conformance.judge.functions.certificate import Certificate, Precision
from conformance.judge.functions.inputs import FAMILIES, made, read_inputs
from conformance.judge.functions.numpy_.record import record
from conformance.judge.functions.planted import mistakes
from conformance.judge.functions.subject import Subject
from conformance.judge.tolerance import LAMBDA

__all__ = ["FUNCTIONS", "STYLES", "Counts", "closeness_line", "closeness_table"]

Reals = NDArray[np.float64]
EAGER = Precision("bfloat16", accumulate="float32")
PRECISIONS: Mapping[str, Precision] = {
    "float32": Precision("float32"),
    "bfloat16": EAGER,
    "bfloat16 fused": Precision("bfloat16", accumulate="float32", compute="float32"),
}
"""In `bfloat16` the result of every operation is stored; in a fused kernel the gradient alone."""


def rms_norm(x: Reals, g: Reals) -> Reals:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * g


def layer_norm(x: Reals, g: Reals, b: Reals) -> Reals:
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * g + b


def softmax(x: Reals) -> Reals:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def swiglu(a: Reals, b: Reals) -> Reals:
    return a / (1 + np.exp(-a)) * b


def attention(q: Reals, k: Reals, v: Reals) -> Reals:
    scores = q @ k.T / np.sqrt(q.shape[-1])
    return softmax(np.where(np.tril(np.ones((q.shape[0],) * 2)) == 1, scores, -np.inf)) @ v


FUNCTIONS: Mapping[str, tuple[Callable[..., Reals], str]] = {
    "RMSNorm": (rms_norm, "x=16x64, g=64"),
    "LayerNorm": (layer_norm, "x=16x64, g=64, b=64"),
    "softmax": (softmax, "x=16x64"),
    "SwiGLU": (swiglu, "a=16x64, b=16x64"),
    "causal attention": (attention, "q=16x32, k=16x32, v=16x32"),
}


class Gradient(NamedTuple):
    """One certified gradient, what it may be off by, right implementations of it, and as many references that
    store the result of every operation."""

    truth: Reals
    allowed: Reals
    right: Reals
    references: Reals
    dtype: str


Test = Callable[[Gradient, Reals, Reals], bool]
"""(gradient, got, a right implementation in the same dtype that is the reference) -> whether it passes."""


def close(**tolerances: Allclose) -> Test:
    """allclose, with the tolerances of each dtype."""
    return lambda gradient, got, reference: tolerances[gradient.dtype](got, gradient.truth)


def twice(gradient: Gradient, got: Reals, reference: Reals) -> bool:
    """The largest error is at most twice that of the reference."""
    error, other = (np.abs(M - gradient.truth).max() for M in (got, reference))
    return bool(error <= 2 * other)


def root_mean_square(gradient: Gradient, got: Reals, reference: Reals) -> bool:
    """Of the error, below 0.005 of that of the gradient."""
    error, size = (np.sqrt(np.mean(M * M)) for M in (got - gradient.truth, gradient.truth))
    return bool(error < 0.005 * size)


def ours(gradient: Gradient, got: Reals, reference: Reals) -> bool:
    return bool((np.abs(got - gradient.truth) <= gradient.allowed).all())


OURS = "check_function"
STYLES: Mapping[str, Test] = {
    OURS: ours,
    "Liger, SwiGLU": close(float32=Allclose(1e-5, 1.0), bfloat16=Allclose(1e-2, 1e4)),
    "Liger, RMSNorm": close(float32=Allclose(1e-7, 1e-4), bfloat16=Allclose(1e-5, 5.0)),
    "apex": close(float32=Allclose(2e-3, 2e-4), bfloat16=Allclose(1.6e-2, 3e-3)),
    "flash-attention": twice,
    "root mean square": root_mean_square,
}


class Counts(NamedTuple):
    """Of one function in one precision under one style."""

    through: int
    planted: int
    accused: int
    right: int

    def __str__(self) -> str:
        return f"{self.through} of {self.planted}; {self.accused} of {self.right}"


def gradients(name: str, precision: Precision) -> Iterator[Gradient]:
    """Of every input of a function."""
    found = _certificate(name, precision)
    eager = found if precision.compute is None else _certificate(name, EAGER)
    for quantity, exact in found.truth.items():
        if quantity[0] == "d":
            references = np.roll(right_code(eager, quantity), 1, axis=0)
            allowed, right = LAMBDA * found.s[quantity], right_code(found, quantity)
            yield Gradient(exact.hi, allowed, right, references, precision.storage)


def _certificate(name: str, precision: Precision) -> Certificate:
    f, text = FUNCTIONS[name]
    subject = Subject(
        name, name, lambda inputs, dtype: record(f, inputs, dtype, {}), _nobody, precision=precision
    )
    inputs = made(read_inputs(text), FAMILIES[0], precision.storage)
    assert inputs is not None
    return subject.certificate(inputs, "random")[0]


def _nobody(request: Request) -> Ran:
    raise NotImplementedError  # only the reference is asked


def closeness_line(name: str, precision: str) -> dict[str, Counts]:
    """One function in one precision under every style."""
    found = dict.fromkeys(STYLES, Counts(0, 0, 0, 0))
    for g in gradients(name, PRECISIONS[precision]):
        planted = mistakes(g.truth, g.dtype)
        for style, test in STYLES.items():
            passed = sum(test(g, M, g.references[0]) for M in planted.values())
            failed = sum(not test(g, *pair) for pair in zip(g.right, g.references, strict=True))
            more = (passed, len(planted), failed, len(g.right))
            found[style] = Counts(*(a + b for a, b in zip(found[style], more, strict=True)))
    return found


def closeness_table() -> list[str]:
    """A row for each function and precision, and the totals."""
    rows = [(f"{n}, {d}", closeness_line(n, d)) for n in FUNCTIONS for d in PRECISIONS]
    total = {
        style: Counts(*map(sum, zip(*(line[style] for _, line in rows), strict=True)))
        for style in STYLES
    }
    text = [_row("function", STYLES), "|---" * (len(STYLES) + 1) + "|"]
    text += [_row(name, (line[style] for style in STYLES)) for name, line in rows]
    text.append(_row("**All**", (total[style] for style in STYLES)))
    return text


def _row(first: str, rest: Iterable[object]) -> str:
    return "| " + " | ".join([first, *map(str, rest)]) + " |"


if __name__ == "__main__":
    print("\n".join(closeness_table()))
