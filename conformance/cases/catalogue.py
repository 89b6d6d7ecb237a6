"""What is compared, and why each case exists.

A case is one network with its data; its id says what it is, and its data follow from its id alone.
A family is a row of FAMILIES: why it exists, what failing it means, and what it consists of.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np

from conformance.cases import data
from conformance.model.problem import Problem
from conformance.model.results import CaseRow
from conformance.tools.names import unknown
from conformance.tools.trouble import RefusedError
from conformance.truth.definitions import ACTIVATIONS

__all__ = [
    "FAMILIES",
    "OWN",
    "PROFILES",
    "Case",
    "CaseError",
    "Family",
    "cases",
    "covering",
    "family",
    "find",
    "select",
    "spanning",
]

DEPTHS = (1, 2, 3, 5, 8, 16)
BATCHES = (1, 2, 7, 64)
DTYPES = ("float64", "float32")
CYCLE = (4, 3)  # unequal neighbours: neither Wᵀ nor a neighbouring W even fits
ALPHA = 0.1  # rounded to the case's dtype; not a number that less precision would hold
EXACT_ALPHA = 0.125
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
    """No such case, family, profile or field: what was asked for, and the nearest there is."""


@dataclass(frozen=True)
class Case:
    """One network with its data, before its numbers are made."""

    family: str
    activation: str
    depth: int
    batch: int
    dtype: str
    widths: tuple[int, ...]
    output: str = ""  # σ_L; the activation itself where not said
    loss: str = "mean_squared_error"
    bias: bool = False
    seed: int = 0
    others: tuple[str, ...] = ()  # σ_2, σ_3, … where they are not `activation`; σ_{L-1} the last
    digest: str = ""  # of the numbers, where they are somebody's own
    given: Problem | None = field(default=None, compare=False, repr=False)  # those numbers
    close: bool = False  # whether `row` and `repeat` are applied whatever its shape

    @classmethod
    def of(cls, p: Problem, close: bool = True) -> Case:
        """A network of somebody's own, of the family `own`: its id ends in a digest of its numbers."""
        L, n = p.depth, len(p.X)
        each = [p.sigma[l] for l in range(1, max(L, 2))]
        while len(each) > 1 and each[-1] == each[-2]:
            each.pop()
        return cls(
            family="own",
            activation=each[0],
            depth=L,
            batch=n,
            dtype=p.dtype.name,
            widths=(p.X.shape[1], *(p.W[l].shape[1] for l in range(1, L + 1))),
            output="" if p.sigma[L] == each[0] else p.sigma[L],
            loss=p.loss,
            bias=p.bias,
            others=tuple(each[1:]),
            digest=_digest(p),
            given=p,
            close=close,
        )

    @property
    def id(self) -> str:
        """family/activation[>output+loss]/L…/n…/dtype[/bias][/w…][/seed…][/digest]: stable and readable."""
        names = (self.activation, *self.others)
        if self.digest and len(names) > 3:  # the digest tells them apart
            names = (names[0], "…", names[-1])
        what = "+".join(names)
        if self.output or self.loss != "mean_squared_error":
            what += f">{self.output or self.activation}+{self.loss}"
        parts = [self.family, what, f"L{self.depth}", f"n{self.batch}", self.dtype]
        parts += ["bias"] if self.bias else []
        parts += (
            []
            if self.widths == cycle(self.depth) or (self.digest and self.depth > 5)
            else ["w" + "-".join(map(str, self.shown_widths))]
        )
        parts += [f"seed{self.seed}"] if self.seed else []
        parts += [self.digest] if self.digest else []
        return "/".join(parts)

    @property
    def shown_widths(self) -> tuple[int, ...]:
        """d_0 and d_1 … d_L, or d_0 and the one width there is after it."""
        return self.widths if len(set(self.widths[1:])) > 1 else self.widths[:2]

    @property
    def exact(self) -> bool:
        """Whether every sum of it fits the significand, so that no rounding is allowed for."""
        return family(self.family).exact

    @property
    def closely(self) -> bool:
        """Whether the gates `row` and `repeat` are applied too: at a batch of 7, to depth 3, or as said."""
        return self.close or (not self.digest and self.batch == 7 and self.depth <= 3)

    def sigma(self) -> dict[int, str]:
        """σ_1 … σ_L by name."""
        each = (self.activation, *self.others)
        hidden = {l: each[min(l, len(each)) - 1] for l in range(1, self.depth)}
        return {**hidden, self.depth: self.output or self.activation}

    def problem(self) -> Problem:
        """The numbers."""
        if self.given is not None:
            return self.given
        rng = np.random.default_rng(crc32(self.id.encode()))
        W, X, Y = FAMILIES[self.family].made(self, rng)
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
        """As it stands in the results."""
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
    """Twelve hexadecimal digits of all that a problem is."""
    of = hashlib.sha256(repr((p.dtype.name, dict(p.sigma), p.loss, p.bias, p.alpha)).encode())
    for M in (p.X, p.Y, *(p.W[l] for l in sorted(p.W))):
        of.update(repr(M.shape).encode() + M.tobytes())
    return of.hexdigest()[:12]


def cycle(depth: int, of: Sequence[int] = CYCLE) -> tuple[int, ...]:
    """d_0 … d_L, going round."""
    return tuple(of[l % len(of)] for l in range(depth + 1))


@dataclass(frozen=True)
class Family:
    """A group of cases with one reason to exist."""

    why: str
    failing_means: str
    made: data.Maker
    members: Callable[[str], Iterable[Case]]  # by family name
    exact: bool = False


def _alternating(*indices: int) -> bool:
    """With and without bias in turn, so that each activation, depth and batch has both."""
    return sum(indices) % 2 == 1


def _product(name: str) -> Iterator[Case]:
    for activation in ACTIVATIONS:
        for (i, L), (j, n), (k, dtype) in product(
            enumerate(DEPTHS), enumerate(BATCHES), enumerate(DTYPES)
        ):
            yield Case(name, activation, L, n, dtype, cycle(L), bias=_alternating(i, j, k))


def _each(
    activations: Iterable[str], L: int, n: int, **more: Any
) -> Callable[[str], Iterator[Case]]:
    def members(name: str) -> Iterator[Case]:
        for activation, dtype in product(activations, DTYPES):
            yield Case(name, activation, L, n, dtype, **{"widths": cycle(L), **more})

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
    rows = [
        *CLASSIFIERS[:2],
        ("softmax", "mean_squared_error"),
        ("log_softmax", "mean_squared_error"),
    ]
    for (output, loss), dtype in product(rows, DTYPES):
        yield Case(name, "identity", 1, 7, dtype, cycle(1), output=output, loss=loss)
    for hidden in ("softmax", "log_softmax"):
        yield from _each([hidden], 2, 7, output="identity")(name)


def _confident(name: str) -> Iterator[Case]:
    for output, loss in (CLASSIFIERS[2], CLASSIFIERS[0]):
        yield from _each(["identity"], 1, 7, output=output, loss=loss)(name)


WIDE = (((129, 65, 33), 7), ((65, 257, 65), 7), ((33, 65, 10), 129), ((17, 33, 3), 257))


def _wide(name: str) -> Iterator[Case]:
    for (widths, n), dtype in product(WIDE, DTYPES):
        yield Case(name, "tanh", 2, n, dtype, widths, output="identity", bias=dtype == "float32")


def _mixed(name: str) -> Iterator[Case]:
    every = [*ACTIVATIONS]
    triples = [tuple(every[i : i + 3]) for i in range(0, len(every), 3)]
    for (first, *others), dtype in product(
        [*triples, ("tanh", "softmax", "silu"), ("tanh", "log_softmax", "sigmoid")], DTYPES
    ):
        bias = dtype == "float64"
        yield Case(
            name, first, 5, 7, dtype, cycle(5), output="identity", others=tuple(others), bias=bias
        )


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
        head = {"output": "softmax", "loss": "cross_entropy", "bias": True}
        yield from _each(activations[:1], L, n, **head)(name)

    return members


def _trained_members(widths: tuple[int, ...], **head: Any) -> Callable[[str], Iterator[Case]]:
    def members(name: str) -> Iterator[Case]:
        for activation, dtype in product(("tanh", "relu", "gelu"), DTYPES):
            yield Case(name, activation, len(widths) - 1, 64, dtype, widths, bias=True, **head)

    return members


def _more_seeds(name: str) -> Iterator[Case]:
    for seed in range(1, 8):
        for case in _product(name):
            yield replace(case, seed=seed)
    for seed, of in enumerate(((2, 7, 6), (1, 2), (5, 3, 4)), start=8):
        for case in _product(name):
            yield replace(case, seed=seed, widths=cycle(case.depth, of))


def _big(name: str) -> Iterator[Case]:
    shapes = ((128, 2, 64), (512, 2, 16), (256, 3, 32), (16, 50, 7), (8, 50, 64), (32, 3, 1024))
    for activation, (d, L, n), dtype in product(("tanh", "relu", "gelu"), shapes, DTYPES):
        widths = tuple(d if l % 2 else max(1, d - 3) for l in range(L + 1))
        yield Case(name, activation, L, n, dtype, widths, bias=L % 2 == 1)


EVERY = tuple(ACTIVATIONS)

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
        _trained_members((64, 16, 10), output="softmax", loss="cross_entropy"),
    ),
    "trained-diabetes": Family(
        "Weights that refbp's own gradient descent reached on scikit-learn's diabetes data (identity, "
        "the notes' loss).",
        "Something fails only on real data.",
        data.trained,
        _trained_members((10, 4, 1), output="identity"),
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
"""What `Case.of` makes. It has no members, and so is in no profile."""


def family(name: str) -> Family:
    """The family of that name."""
    return OWN if name == "own" else FAMILIES[name]


ONLY_EXHAUSTIVE = ("seeds", "big")

PROFILES: Mapping[str, str] = {
    "quick": "a covering sample: every activation, depth, batch size, dtype, loss and family",
    "standard": "the full product of activations, depths, batch sizes and dtypes, and every family",
    "exhaustive": "standard, and the product again with ten more seeds and other widths, and big networks",
}


def cases(profile: str) -> list[Case]:
    """The cases of a profile, in order. Raises CaseError for an unknown one."""
    if profile not in PROFILES:
        raise CaseError(unknown("profile", profile, PROFILES))
    names = [f for f in FAMILIES if profile == "exhaustive" or f not in ONLY_EXHAUSTIVE]
    everything = [case for name in names for case in FAMILIES[name].members(name)]
    return covering(everything) if profile == "quick" else everything


TELLING = {"square": ("tanh",), "kinks": ("relu", "hardswish", "identity")}
"""Activations that `quick` takes of a family: identity would tell less."""


def covering(of: Sequence[Case]) -> list[Case]:
    """A sample that meets every activation in each dtype, and every depth, batch size, bias, family,
    loss and output activation.

    It keeps to few shapes, since JAX compiles each operation anew for each: of `typical`, batches of
    7 at depth 1 or 2 for all activations, and the other depths and batch sizes for tanh alone.
    """
    tanh = {
        L: (n, DTYPES[i % 2])
        for i, (L, n) in enumerate(zip(DEPTHS, (7, 64, 2, 1, 2, 1), strict=True))
    }
    kept: list[Case] = []
    seen: dict[str, set[str]] = defaultdict(set)
    for c in of:
        if c.family == "typical":
            common = (c.depth, c.batch) == (EVERY.index(c.activation) % 2 + 1, 7)
            wanted = common or (c.activation == "tanh" and tanh[c.depth] == (c.batch, c.dtype))
        elif c.family == "canonical":
            wanted = True
        else:
            what = f"{c.output}+{c.loss}" if c.family == "heads" else c.loss
            what = f"{c.activation}>{c.output}+{c.loss}" if c.family == "logits" else what
            what = str(c.batch) if c.family == "wide" else what
            if c.family in TELLING:
                what = c.activation if c.activation in TELLING[c.family] else ""
            turn = DTYPES[(list(FAMILIES).index(c.family) + len(seen[c.family])) % 2]
            wanted = c.dtype == turn and what not in ("", *seen[c.family])
            if wanted:
                seen[c.family].add(what)
        if wanted:
            kept.append(c)
    return kept


SPANNED = ("activation", "depth", "batch", "dtype", "family", "loss", "output", "bias")
SHAPES = ("depth", "batch", "dtype", "loss", "bias")


def spanning(of: Iterable[Case], fields: Sequence[str] = SPANNED) -> list[Case]:
    """Those that bring something new, in turn: every value of each of those fields at least once."""
    kept: list[Case] = []
    seen: set[tuple[str, Any]] = set()
    for c in of:
        row = c.row()
        brings = {(f, row[f]) for f in fields}  # type: ignore[literal-required]
        if not brings <= seen:
            kept.append(c)
            seen |= brings
    return kept


FIELDS = tuple(CaseRow.__annotations__)


def select(of: Sequence[Case], wanted: str) -> list[Case]:
    """The cases whose fields are as in 'activation=tanh,depth=3'. Raises CaseError."""
    chosen = list(of)
    for part in (p.strip() for p in wanted.split(",") if p.strip()):
        field, equals, value = (s.strip() for s in part.partition("="))
        if not equals:
            raise CaseError(f"cannot read {part!r}; expected field=value, such as depth=3.")
        if field not in FIELDS:
            raise CaseError(unknown("field", field, FIELDS))
        value = value.lower() if value in ("True", "False") else value
        there = {_shown(c.row()[field]) for c in of}  # type: ignore[literal-required]
        if value not in there:
            raise CaseError(unknown(field, value, sorted(there)))
        chosen = [c for c in chosen if _shown(c.row()[field]) == value]  # type: ignore[literal-required]
    if not chosen:
        raise CaseError(f"no case has {wanted!r}: each field occurs, but not together.")
    return chosen


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def find(case_id: str) -> Case:
    """The case of that id, of any profile. Raises CaseError, with the nearest id, if there is none."""
    if case_id not in _by_id():
        raise CaseError(unknown("case", case_id, _by_id()))
    return _by_id()[case_id]


@cache
def _by_id() -> Mapping[str, Case]:
    return {c.id: c for c in cases("exhaustive")}
