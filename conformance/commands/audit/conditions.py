"""Finds words for where an equation holds, such as "n = 1 and d_l = 1", from the places where it held.

A condition is a name and a yes-or-no question about one network, or about one layer k of it: `[k]` in its
name stands for that layer, `[k+1]` for the next. The layer is written as the equation writes its own, so that
a slip is named at its own index: W_{l+1} where δ_l comes from δ_{l+1}, W_l where δ_{l−1} comes from δ_l.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from conformance.commands.audit.places import Index, Place
from conformance.commands.audit.right import DEFINITIONS

__all__ = [
    "CONDITIONS",
    "FACTORS",
    "Condition",
    "explaining",
    "fits_any_product",
    "most_telling",
    "names",
    "read",
    "split",
]


class Condition(NamedTuple):
    """One row of `CONDITIONS`, asked about one layer, which an equation writes as `layer`."""

    row: str
    layer: Index

    @property
    def name(self) -> str:
        """The row's name with the layer in it: "d_[k] = 1" for l+1 is "d_{l+1} = 1"."""
        return re.sub(r"(_?)\[k([+−]1)?\]", self._written, self.row)

    def _written(self, k: re.Match[str]) -> str:
        index = self.layer.plus(int((k[2] or "0").replace("−", "-")))
        return f"_{index.below}" if k[1] else str(index)

    def holds(self, at: Place) -> bool:
        """Whether it is true in one place."""
        return _holds(self.row, at, self.layer.of(at))


@cache
def _holds(row: str, at: Place, k: int) -> bool:
    return bool(CONDITIONS[row](at, k))


# ---- the questions -------------------------------------------------------------------------------


def _d(at: Place, k: int) -> int:
    """d_k, the constant unit of a bias counted; of a layer that does not exist a negative number of its own,
    so that its width equals no other."""
    Z = at.net.right.Z.get(k)
    return -abs(k) - 1 if Z is None else int(Z.shape[1])


def _same(P: np.ndarray | None, Q: np.ndarray | None) -> bool:
    return P is not None and Q is not None and P.shape == Q.shape and np.array_equal(P, Q)


def _W(at: Place, k: int) -> np.ndarray | None:
    return at.net.right.W.get(k)


def _symmetric(at: Place, k: int) -> bool:
    W = _W(at, k)
    return W is not None and _same(W, W.T)


def _diagonal(at: Place, k: int) -> bool:
    W = _W(at, k)
    return W is not None and W.shape[0] == W.shape[1] and _same(W, np.diag(np.diag(W)))


def _keeps_one(at: Place, _: int) -> bool:
    """Whether the constant unit, put through σ, is still 1: σ(1) = 1 for the hidden σ."""
    one = np.ones((1, 1))
    return at.setting.L == 1 or bool(DEFINITIONS[at.setting.hidden](one) == one)


def _sigma(*names: str) -> Callable[[Place, int], bool]:
    return lambda at, k: at.net.right.names.get(k) in names


def _alike(at: Place, k: int) -> bool:
    names = at.net.right.names
    return k in names and names[k] == names.get(k + 1)


def _ends(last: str, loss: str) -> Callable[[Place, int], bool]:
    return lambda at, _: (at.setting.last, at.setting.loss) == (last, loss)


def _loss(name: str) -> Callable[[Place, int], bool]:
    return lambda at, _: at.setting.loss == name


_softmax_loss = _ends("softmax", "cross_entropy")
_sigmoid_loss = _ends("sigmoid", "binary_cross_entropy")

CONDITIONS: dict[str, Callable[[Place, int], bool]] = {
    "n = 1": lambda at, _: at.setting.n == 1,
    "one output": lambda at, _: _d(at, at.setting.L) == 1,
    "elementwise σ_L": lambda at, _: at.setting.last not in ("softmax", "log_softmax"),
    "the squared error": _loss("mean_squared_error"),
    "softmax with cross-entropy": _softmax_loss,
    "sigmoid with binary cross-entropy": _sigmoid_loss,
    "softmax with cross-entropy, or sigmoid with binary cross-entropy": lambda at, k: (
        _softmax_loss(at, k) or _sigmoid_loss(at, k)
    ),
    "log-softmax with its cross-entropy": _ends("log_softmax", "log_softmax_cross_entropy"),
    "the cross-entropy": _loss("cross_entropy"),
    "the binary cross-entropy": _loss("binary_cross_entropy"),
    "the absolute error": _loss("mean_absolute_error"),
    "the Huber loss": _loss("huber"),
    "L = 1": lambda at, _: at.setting.L == 1,
    "L = 2": lambda at, _: at.setting.L == 2,
    "[k] < L": lambda at, k: k < at.setting.L,
    "[k] > 1": lambda at, k: k > 1,
    "[k] = L": lambda at, k: k == at.setting.L,
    "d_[k] = 1": lambda at, k: _d(at, k) == 1,
    "d_[k] = d_[k−1] = 1": lambda at, k: _d(at, k) == _d(at, k - 1) == 1,
    "square layers, d_[k] = d_[k−1]": lambda at, k: _d(at, k) == _d(at, k - 1),
    "d_[k−1] = d_[k] = d_[k+1]": lambda at, k: _d(at, k - 1) == _d(at, k) == _d(at, k + 1),
    "n = d_[k]": lambda at, k: at.setting.n == _d(at, k),
    "a diagonal W_[k]": _diagonal,
    "a symmetric W_[k]": _symmetric,
    "W_[k] = W_[k+1]": lambda at, k: _same(_W(at, k), _W(at, k + 1)),
    "σ_[k] = σ_[k+1]": _alike,
    "identity σ_[k]": _sigma("identity"),
    "identity or relu σ_[k]": _sigma("identity", "relu"),
    "relu σ_[k]": _sigma("relu"),
    "sigmoid σ_[k]": _sigma("sigmoid"),
    "tanh σ_[k]": _sigma("tanh"),
    "softplus σ_[k]": _sigma("softplus"),
    "hidden σ with σ(1) = 1, or none": _keeps_one,
    "a bias": lambda at, _: at.setting.bias,
    "no bias": lambda at, _: not at.setting.bias,
    "L > 1": lambda at, _: at.setting.L > 1,
    "several outputs": lambda at, _: _d(at, at.setting.L) > 1,
    "softmax": lambda at, _: at.setting.last == "softmax",
    "n > 1": lambda at, _: at.setting.n > 1,
    "n = 2": lambda at, _: at.setting.n == 2,
}
"""In the order in which they are tried: the first that explains is taken."""

SHIFTS = (0, 1, -1, 2)
"""A slip may be at another layer's index than the equation's own: these are tried, the likeliest first."""

FACTORS: dict[str, Callable[[Place], float]] = {
    "n": lambda at: at.setting.n,
    "1/n": lambda at: 1 / at.setting.n,
    "d_L": lambda at: at.setting.widths[-1],
    "1/d_L": lambda at: 1 / at.setting.widths[-1],
    "n·d_L": lambda at: at.setting.n * at.setting.widths[-1],
    "n/2": lambda at: at.setting.n / 2,
    "2n": lambda at: 2 * at.setting.n,
    "2/n": lambda at: 2 / at.setting.n,
    "1/(2n)": lambda at: 1 / (2 * at.setting.n),
    "L": lambda at: at.setting.L,
    "1/(2·d_L)": lambda at: 1 / (2 * at.setting.widths[-1]),
    "α": lambda at: at.net.alpha,
    "1/α": lambda at: 1 / at.net.alpha,
    "α/n": lambda at: at.net.alpha / at.setting.n,
}
"""Wrong factors that have a name; any other must be one number everywhere."""


# ---- finding one ---------------------------------------------------------------------------------


def near(index: Index) -> Iterator[Condition]:
    """Every condition about that layer or one near it, in the order in which they are tried."""
    for shift in SHIFTS:
        for row in CONDITIONS:
            if not shift or "[k" in row:
                yield Condition(row, index.plus(shift))


Answers = tuple[bool, ...]
"""What one question answers in each place."""


def explaining(held: Mapping[Place, bool], index: Index) -> str:
    """The simplest words for where `held` is true; "" where none fit.

    These are one condition; two; one "or" another one or two; or three conditions joined by "and".
    """
    wanted = tuple(held.values())
    if len(set(wanted)) < 2:
        return ""
    asked = {c: tuple(c.holds(at) for at in held) for c in near(index)}
    return _all_of(asked, wanted, 2) or _any_of(asked, wanted) or _all_of(asked, wanted, 3)


def most_telling(held: Mapping[Place, bool], index: Index) -> str:
    """The condition that is true wherever `held` is, and least often elsewhere; "" where none is.

    One that is true more than twice as often as `held` says too little.
    """
    wanted = tuple(held.values())
    needed = _needed({c: tuple(c.holds(at) for at in held) for c in near(index)}, wanted)
    seldom = [answers for answers in needed if sum(answers) <= 2 * sum(wanted)]
    return needed[min(seldom, key=sum)].name if seldom else ""


def _needed(asked: Mapping[Condition, Answers], wanted: Answers) -> dict[Answers, Condition]:
    """The conditions that are true wherever `wanted` is, but not everywhere; of those alike, the first."""
    needed: dict[Answers, Condition] = {}
    for c, answers in asked.items():
        if not all(answers) and all(a for a, w in zip(answers, wanted, strict=True) if w):
            needed.setdefault(answers, c)
    return needed


def _all_of(asked: Mapping[Condition, Answers], wanted: Answers, most: int) -> str:
    """The fewest conditions, `most` at most, that are all true exactly where `wanted` is."""
    needed = _needed(asked, wanted)
    for count in range(1, most + 1):
        for chosen in combinations(needed, count):
            if tuple(map(all, zip(*chosen, strict=True))) == wanted:
                return " and ".join(needed[answers].name for answers in chosen)
    return ""


def _any_of(asked: Mapping[Condition, Answers], wanted: Answers) -> str:
    """A condition that is true only where `wanted` is, "or" the one or two that explain the other places."""
    enough = {
        c: answers
        for c, answers in asked.items()
        if any(answers) and all(w for a, w in zip(answers, wanted, strict=True) if a)
    }
    for most in (1, 2):
        for c, answers in enough.items():
            rest = [i for i, a in enumerate(answers) if not a]
            others = {q: tuple(a[i] for i in rest) for q, a in asked.items()}
            if words := _all_of(others, tuple(wanted[i] for i in rest), most):
                return f"{c.name}, or {words}"
    return ""


def fits_any_product(name: str, index: Index) -> bool:
    """Whether a condition makes a matrix a number or a vector, so that its shape fits any product."""
    return any(c.name == name for c in near(index) if c.row in ("d_[k] = 1", "d_[k] = d_[k−1] = 1"))


# ---- by name -------------------------------------------------------------------------------------


def split(claim: str) -> list[str]:
    """The names in 'n = 1 and elementwise σ_L'."""
    return [part.strip() for part in claim.split(" and ") if part.strip()]


def read(name: str) -> Condition | None:
    """The condition of that name, about any layer; None where there is none."""
    return _by_plain_name().get(_plain(name))


def names() -> list[str]:
    """Every name, about layer l."""
    return [Condition(row, Index("l")).name for row in CONDITIONS]


@cache
def _by_plain_name() -> dict[str, Condition]:
    bases = [Index(b, s) for b in ("l", "L") for s in (0, -1, 1, -2, 2)]
    indices = [*bases, *(Index(str(i)) for i in range(1, 10))]
    by_name: dict[str, Condition] = {}
    for index in indices:
        for row in CONDITIONS:
            condition = Condition(row, index)
            by_name.setdefault(_plain(condition.name), condition)
    return {_plain(a): by_name[_plain(name)] for a, name in ALIASES.items()} | by_name


ALIASES = {
    "σ elementwise": "elementwise σ_L",
    "elementwise σ": "elementwise σ_L",
    "softmax σ_L": "softmax",
    "square layers": "square layers, d_l = d_{l−1}",
    "d_L = 1": "one output",
    "mean squared error": "the squared error",
}
"""Other names that people write for a condition."""


def _plain(text: str) -> str:
    """A name without what people write differently: its article, spaces, braces, the kind of minus."""
    text = re.sub(r"^(the|an?) ", "", text.strip())
    text = text.replace("−", "-").replace("sigma", "σ")
    return re.sub(r"[\s{}]", "", text)
