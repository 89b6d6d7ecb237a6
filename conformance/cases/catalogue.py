"""The cases, by family, and why each family exists.

A case is one network with its data; its id says what it is, and its data follow from its id alone. A family
is a row of FAMILIES: why it exists, what failing it means, how its numbers are made (`cases.data`) and which
cases it has. `cases.profiles` says which of them are run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TypedDict, Unpack
from zlib import crc32

import numpy as np

from conformance.cases import data
from conformance.model.problem import Problem
from conformance.model.results import CaseRow
from conformance.tools.trouble import RefusedError
from conformance.truth.definitions import ACTIVATIONS

__all__ = ["FAMILIES", "OWN", "Case", "CaseError", "Family", "family"]

DEPTHS = (1, 2, 3, 5, 8, 16)
BATCHES = (1, 2, 7, 64)
DTYPES = ("float64", "float32")
CYCLE = (4, 3)  # unequal neighbours: neither Wᵀ nor a neighbouring W even fits
ALPHA = 0.1  # rounded to the case's dtype; it does not fit a narrower dtype
EXACT_ALPHA = 0.125  # a power of two: products with it are exact
EVERY = tuple(ACTIVATIONS)
TRAINED = ("tanh", "relu", "gelu")
HEADS = (  # (output activation, loss)
    ("identity", "mean_squared_error"),
    ("sigmoid", "mean_squared_error"),
    ("tanh", "mean_squared_error"),
    ("relu", "mean_squared_error"),
    ("softmax", "mean_squared_error"),
    ("log_softmax", "mean_squared_error"),
    ("softmax", "cross_entropy"),
    ("log_softmax", "log_softmax_cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
    ("identity", "mean_absolute_error"),
    ("tanh", "mean_absolute_error"),
    ("identity", "huber"),
    ("softplus", "huber"),
)


class CaseError(RefusedError):
    """There is no such case, family, profile or field: what was asked for, and the nearest one."""


@dataclass(frozen=True)
class Case:
    """One network with its data, before its numbers are made."""

    family: str
    activation: str
    depth: int
    batch: int
    dtype: str
    widths: tuple[int, ...]  # d_0 … d_L
    output: str = ""  # σ_L; "" if it is `activation`
    loss: str = "mean_squared_error"
    bias: bool = False
    seed: int = 0
    # σ_2, σ_3, …; the last one is also σ of all further layers up to L − 1
    others: tuple[str, ...] = ()
    digest: str = ""  # of the numbers of a user's own network; "" for a case of the catalogue
    given: Problem | None = field(default=None, compare=False, repr=False)  # those numbers
    close: bool = False  # apply the gates `row` and `repeat` whatever the shape

    @classmethod
    def of(cls, p: Problem, close: bool = True) -> Case:
        """The case of a user's own network, of the family `own`: its id ends in a digest of its numbers."""
        L, n = p.depth, len(p.X)
        hidden = [p.sigma[l] for l in range(1, max(L, 2))]
        while len(hidden) > 1 and hidden[-1] == hidden[-2]:
            hidden.pop()
        return cls(
            family="own",
            activation=hidden[0],
            depth=L,
            batch=n,
            dtype=p.dtype.name,
            widths=(p.X.shape[1], *(p.W[l].shape[1] for l in range(1, L + 1))),
            output="" if p.sigma[L] == hidden[0] else p.sigma[L],
            loss=p.loss,
            bias=p.bias,
            others=tuple(hidden[1:]),
            digest=_digest(p),
            given=p,
            close=close,
        )

    @property
    def id(self) -> str:
        """family/activation[>output+loss]/L…/n…/dtype[/bias][/w…][/seed…][/digest]: stable and readable."""
        names = (self.activation, *self.others)
        if self.digest and len(names) > 3:  # the digest keeps the id unique
            names = (names[0], "…", names[-1])
        network = "+".join(names)
        if self.output or self.loss != "mean_squared_error":
            network += f">{self.output or self.activation}+{self.loss}"
        parts = [self.family, network, f"L{self.depth}", f"n{self.batch}", self.dtype]
        parts += ["bias"] if self.bias else []
        if self.widths != cycle(self.depth) and not (self.digest and self.depth > 5):
            equal = len(set(self.widths[1:])) == 1  # then d_0 and that one width say it all
            parts.append("w" + "-".join(map(str, self.widths[:2] if equal else self.widths)))
        parts += [f"seed{self.seed}"] if self.seed else []
        parts += [self.digest] if self.digest else []
        return "/".join(parts)

    @property
    def exact(self) -> bool:
        """Whether every sum of the case fits the significand, so that no rounding is allowed."""
        return family(self.family).exact

    @property
    def closely(self) -> bool:
        """Whether the gates `row` and `repeat` are applied: to batches of 7 up to depth 3, or if `close`."""
        return self.close or (not self.digest and self.batch == 7 and self.depth <= 3)

    def sigma(self) -> dict[int, str]:
        """σ_1 … σ_L by name."""
        names = (self.activation, *self.others)
        hidden = {l: names[min(l, len(names)) - 1] for l in range(1, self.depth)}
        return {**hidden, self.depth: self.output or self.activation}

    def problem(self) -> Problem:
        """The network with its numbers, which are drawn from a generator seeded with the case's id."""
        if self.given is not None:
            return self.given
        rng = np.random.default_rng(crc32(self.id.encode()))
        W, X, Y = FAMILIES[self.family].make(self, rng)
        dtype = np.dtype(self.dtype)
        return Problem(
            W={l: np.ascontiguousarray(M, dtype) for l, M in W.items()},
            X=np.ascontiguousarray(X, dtype),
            Y=np.ascontiguousarray(Y, dtype),
            sigma=self.sigma(),
            loss=self.loss,
            bias=self.bias,
            alpha=EXACT_ALPHA if self.exact else float(dtype.type(ALPHA)),
        )

    def row(self) -> CaseRow:
        """The case as it is written to the results file."""
        return CaseRow(
            id=self.id,
            why=family(self.family).why,
            activation=self.activation,
            output=self.output or self.activation,
            others=list(self.others),
            depth=self.depth,
            batch=self.batch,
            widths=list(self.widths),
            dtype=self.dtype,
            loss=self.loss,
            bias=self.bias,
            family=self.family,
            seed=self.seed,
        )


def _digest(p: Problem) -> str:
    """The first twelve hexadecimal digits of a hash of everything in a problem."""
    digest = hashlib.sha256(repr((p.dtype.name, dict(p.sigma), p.loss, p.bias, p.alpha)).encode())
    for M in (p.X, p.Y, *(p.W[l] for l in sorted(p.W))):
        digest.update(repr(M.shape).encode() + M.tobytes())
    return digest.hexdigest()[:12]


def cycle(depth: int, widths: Sequence[int] = CYCLE) -> tuple[int, ...]:
    """d_0 … d_L: the widths in turn, over and over."""
    return tuple(widths[l % len(widths)] for l in range(depth + 1))


@dataclass(frozen=True)
class Family:
    """A group of cases with one reason to exist."""

    why: str
    failing_means: str
    make: data.Maker
    members: Callable[[str], Iterable[Case]]  # given the family's name
    exact: bool = False


def _alternating(*indices: int) -> bool:
    """Whether a case has a bias: with and without in turn, so that each activation, depth and batch has
    both."""
    return sum(indices) % 2 == 1


def _product(name: str) -> Iterator[Case]:
    for activation in ACTIVATIONS:
        for (i, L), (j, n), (k, dtype) in product(
            enumerate(DEPTHS), enumerate(BATCHES), enumerate(DTYPES)
        ):
            yield Case(name, activation, L, n, dtype, cycle(L), bias=_alternating(i, j, k))


class Head(TypedDict, total=False):
    """The fields of a case that a family may set for all its members."""

    output: str
    loss: str
    bias: bool


def _each(
    activations: Iterable[str],
    L: int,
    n: int,
    widths: tuple[int, ...] = (),
    **head: Unpack[Head],
) -> Callable[[str], Iterator[Case]]:
    """One network for each activation and dtype; without `widths`, its widths alternate."""

    def members(name: str) -> Iterator[Case]:
        for activation, dtype in product(activations, DTYPES):
            yield Case(name, activation, L, n, dtype, widths or cycle(L), **head)

    return members


def _heads(name: str) -> Iterator[Case]:
    for (i, (output, loss)), L, n, dtype in product(enumerate(HEADS), (1, 3), (1, 7), DTYPES):
        bias = _alternating(i, L // 2, n // 2)
        yield Case(name, "tanh", L, n, dtype, cycle(L), output=output, loss=loss, bias=bias)


CLASSIFIERS = (
    ("softmax", "cross_entropy"),
    ("log_softmax", "log_softmax_cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
)
LEAST_SQUARES = (("identity", "mean_squared_error"), ("sigmoid", "mean_squared_error"))


def _canonical(name: str) -> Iterator[Case]:
    for hidden, (output, loss), inner, dtype in product(
        ("relu", "sigmoid", "tanh"), (*CLASSIFIERS, *LEAST_SQUARES), ((4, 3, 4), (4, 4, 4)), DTYPES
    ):
        last = 1 if loss == "binary_cross_entropy" else inner[1]
        yield Case(name, hidden, 3, 7, dtype, (*inner, last), output=output, loss=loss, bias=True)


def _logits(name: str) -> Iterator[Case]:
    squared = [(output, "mean_squared_error") for output in ("softmax", "log_softmax")]
    for output, loss in (*CLASSIFIERS[:2], *squared):
        yield from _each(["identity"], 1, 7, output=output, loss=loss)(name)
    yield from _each(["softmax", "log_softmax"], 2, 7, output="identity")(name)


def _confident(name: str) -> Iterator[Case]:
    for output, loss in (CLASSIFIERS[2], CLASSIFIERS[0]):
        yield from _each(["identity"], 1, 7, output=output, loss=loss)(name)


WIDE = (((129, 65, 33), 7), ((65, 257, 65), 7), ((33, 65, 10), 129), ((17, 33, 3), 257))


def _wide(name: str) -> Iterator[Case]:
    for (widths, n), dtype in product(WIDE, DTYPES):
        yield Case(name, "tanh", 2, n, dtype, widths, output="identity", bias=dtype == "float32")


def _mixed(name: str) -> Iterator[Case]:
    triples = [EVERY[i : i + 3] for i in range(0, len(EVERY), 3)]
    triples += [("tanh", "softmax", "silu"), ("tanh", "log_softmax", "sigmoid")]
    for triple, dtype in product(triples, DTYPES):
        yield Case(
            name, triple[0], 5, 7, dtype, cycle(5),
            output="identity", others=triple[1:], bias=dtype == "float64",
        )  # fmt: skip


def _at_kinks(name: str) -> Iterator[Case]:
    kinked = [a for a, d in ACTIVATIONS.items() if d.breaks]
    yield from _each(kinked, 1, 7)(name)
    yield from _each(kinked, 2, 7, output="identity")(name)
    yield from _each(["identity"], 1, 7, loss="mean_absolute_error")(name)


def _exact_integers(name: str) -> Iterator[Case]:
    for activation, L, n, dtype in product(
        ("identity", "relu", "relu6"), (1, 2), (1, 2, 64), DTYPES
    ):
        yield Case(name, activation, L, n, dtype, cycle(L), bias=_alternating(L, n))


def _some(*activations: str, L: int, n: int) -> Callable[[str], Iterator[Case]]:
    def members(name: str) -> Iterator[Case]:
        yield from _each(activations, L, n)(name)
        classifier = _each(activations[:1], L, n, output="softmax", loss="cross_entropy", bias=True)
        yield from classifier(name)

    return members


def _more_seeds(name: str) -> Iterator[Case]:
    for seed in range(1, 8):
        for case in _product(name):
            yield replace(case, seed=seed)
    for seed, widths in enumerate(((2, 7, 6), (1, 2), (5, 3, 4)), start=8):
        for case in _product(name):
            yield replace(case, seed=seed, widths=cycle(case.depth, widths))


def _big(name: str) -> Iterator[Case]:
    shapes = ((128, 2, 64), (512, 2, 16), (256, 3, 32), (16, 50, 7), (8, 50, 64), (32, 3, 1024))
    for activation, (d, L, n), dtype in product(("tanh", "relu", "gelu"), shapes, DTYPES):
        widths = tuple(d if l % 2 else max(1, d - 3) for l in range(L + 1))
        yield Case(name, activation, L, n, dtype, widths, bias=L % 2 == 1)


FAMILIES: Mapping[str, Family] = {
    "typical": Family(
        "Numbers of ordinary size through every activation, depth, batch size and dtype; no two "
        "neighbouring layers are equally wide.",
        "A step of the algorithm is wrong, or rounds far worse than its arithmetic allows.",
        data.typical,
        _product,
    ),
    "square": Family(
        "All layers equally wide, so that a wrong layer index or a transpose fits and runs.",
        "W_l or σ'_l of a neighbouring layer is used, or a matrix is transposed.",
        data.typical,
        _each(EVERY, 3, 7, widths=(4, 4, 4, 4)),
    ),
    "mixed": Family(
        "Three different activations in the hidden layers of one network, some of them row-wise.",
        "The σ or σ' of another layer is used, or a hidden softmax is differentiated as if it were "
        "elementwise.",
        data.typical,
        _mixed,
    ),
    "heads": Family(
        "Every loss with the output activations it is used with, elementwise and row-wise.",
        "∂L/∂Z_L is wrong, 1/n is missing, or softmax is differentiated as if it were elementwise.",
        data.typical,
        _heads,
    ),
    "canonical": Family(
        "The networks people write: ReLU, sigmoid or tanh under softmax, log_softmax or sigmoid with its "
        "cross entropy, or under the squared error; one-hot targets, two hidden layers, equally wide or not.",
        "A step is wrong in the network that it is most often written for.",
        data.classes,
        _canonical,
    ),
    "saturating": Family(
        "Pre-activations out to ±1000, where exp overflows and σ' all but vanishes.",
        "σ or σ' overflows, turns NaN, or loses the small numbers of its tail.",
        data.saturating,
        _each(EVERY, 2, 7, output="identity"),
    ),
    "confident": Family(
        "Sigmoid outputs down to 1e-52 (float64) and 1e-15 (float32) under binary cross-entropy; softmax "
        "outputs down to 1e-147 and 1e-34 under cross-entropy, of the right class and of the wrong ones.",
        "The loss or its gradient is clamped, or a constant is added, where an output is all but 0.",
        data.confident,
        _confident,
    ),
    "near-one": Family(
        "Sigmoid outputs up to 1 − 1e-13 (float64) and 1 − 5e-5 (float32) under binary cross-entropy.",
        "The loss or its gradient is clamped where an output is all but 1, or log(1 − z) loses its digits.",
        data.near_one,
        _each(["identity"], 1, 7, output="sigmoid", loss="binary_cross_entropy"),
    ),
    "logits": Family(
        "Rows of ordinary spread about ±1000, ±700 and ±100, under softmax and log_softmax, in the output "
        "layer and below it.",
        "softmax or log_softmax overflows, or is 0/0, because the maximum of the row is not subtracted.",
        data.logits,
        _logits,
    ),
    "wide": Family(
        "Widths and batches just beside powers of two: 33, 65, 129, 257.",
        "The last rows, columns or terms of a product are lost: a kernel in tiles forgets the rest.",
        data.typical,
        _wide,
    ),
    "kinks": Family(
        "Pre-activations exactly at the points where σ' jumps, and at the floats next to them.",
        "The derivative taken at a kink is not the documented one, or a branch is off by one float.",
        data.kinks,
        _at_kinks,
    ),
    "underflow": Family(
        "Inputs down to the smallest subnormal number.",
        "Small numbers are flushed to zero, or lost by an intermediate that underflows.",
        data.underflow,
        _each(EVERY, 2, 7, output="identity"),
    ),
    "large": Family(
        "Inputs of 2^200 (float64) and 2^40 (float32).",
        "An intermediate overflows although the result does not.",
        data.large,
        _each(EVERY, 2, 7, output="identity"),
    ),
    "integers": Family(
        "Integers of 13 bits with weights −1, 0, 1: every sum is exact in any order, so no error at "
        "all is allowed. Wider than the 11 bits of TF32.",
        "The algorithm is wrong, or the arithmetic is not the one declared (TF32, float16).",
        data.integers,
        _exact_integers,
        exact=True,
    ),
    "repeated": Family(
        "64 equal examples: rounding errors are equal too, and do not average out.",
        "Examples of a batch are not treated alike, or the last one is dropped.",
        data.repeated,
        _some("tanh", "relu", "gelu", "mish", L=3, n=64),
    ),
    "one-hot": Family(
        "One-hot inputs: each A_1 is a row of W_1, with no rounding.",
        "A row or column is taken for another.",
        data.one_hot,
        _some("tanh", "relu", "silu", "softplus", L=2, n=7),
    ),
    "zero-weights": Family(
        "All weights zero: every A_l is exactly 0, and every δ below the output too.",
        "A value at exactly 0 is wrong, or a zero turns into NaN.",
        data.zero_weights,
        _each(EVERY, 2, 2, output="identity"),
    ),
    "trained-digits": Family(
        "Weights that refbp's own gradient descent reached on scikit-learn's digits (softmax, "
        "cross-entropy), on real images.",
        "Something fails only on real data: dead units, confident outputs, zero pixels.",
        data.trained,
        _each(TRAINED, 2, 64, (64, 16, 10), output="softmax", loss="cross_entropy", bias=True),
    ),
    "trained-diabetes": Family(
        "Weights that refbp's own gradient descent reached on scikit-learn's diabetes data (identity, "
        "the notes' loss).",
        "Something fails only on real data.",
        data.trained,
        _each(TRAINED, 2, 64, (10, 4, 1), output="identity", bias=True),
    ),
    "seeds": Family(
        "The product of `typical` again with other numbers, and with other widths.",
        "As for `typical`, but rarely: the numbers of one network bring it out.",
        data.typical,
        _more_seeds,
    ),
    "big": Family(
        "Widths to 512, depths to 50, batches to 1,024: long sums and long chains.",
        "Error grows faster than rounding explains: a sum is accumulated in too few bits.",
        data.typical,
        _big,
    ),
}

OWN = Family(
    "A network of somebody's own.",
    "A step of the algorithm is wrong on it, or rounds far worse than its arithmetic allows.",
    data.typical,
    lambda name: (),
)
"""The family of users' own networks, which `Case.of` makes. It has no members, and so is in no profile."""


def family(name: str) -> Family:
    """The family of that name."""
    return OWN if name == "own" else FAMILIES[name]
