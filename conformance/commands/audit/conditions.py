"""When an equation holds, in words: found from where it held and where it did not.

A condition is a name and a question about one network, or about one layer k of it: `[k]` in a name stands
for that layer, which is written as the equation writes its own, and `[k+1]` for the next. So a slip is named
at the index at which it was made: δ_l from δ_{l+1} and W_{l+1}, or δ_{l−1} from δ_l and W_l.
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
    """One row of `CONDITIONS`, and how the layer that it is asked about is written."""

    row: str
    layer: Index

    @property
    def name(self) -> str:
        """In words, about that layer."""
        return re.sub(r"(_?)\[k([+−]1)?\]", self._written, self.row)

    def _written(self, found: re.Match[str]) -> str:
        index = self.layer.plus(int((found[2] or "0").replace("−", "-")))
        return f"_{index.below}" if found[1] else str(index)

    def holds(self, at: Place) -> bool:
        """Whether it does, in one network."""
        return _holds(self.row, at, self.layer.of(at))


@cache
def _holds(row: str, at: Place, k: int) -> bool:
    return bool(CONDITIONS[row](at, k))


# ---- the questions -------------------------------------------------------------------------------


def _d(at: Place, k: int) -> int:
    """d_k, with the constant unit where there is a bias; below 0 and different for layers that are not."""
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
    """A constant unit survives every hidden σ."""
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
"""Which layers beside its own an equation may have slipped to, the likeliest first."""

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
"""What a wrong factor may be, beside a number that is the same everywhere."""


# ---- finding one ---------------------------------------------------------------------------------


def near(index: Index) -> Iterator[Condition]:
    """Every condition, and every layer near that one, in the order in which they are tried."""
    for shift in SHIFTS:
        for row in CONDITIONS:
            if not shift or "[k" in row:
                yield Condition(row, index.plus(shift))


Answers = tuple[bool, ...]


def explaining(held: Mapping[Place, bool], index: Index) -> str:
    """The simplest words for where `held` is true: one condition, or several; "" where none fit.

    Several are up to three that are all true there, or one that is enough beside one or two for the rest.
    """
    wanted = tuple(held.values())
    if len(set(wanted)) < 2:
        return ""
    asked = {c: tuple(c.holds(at) for at in held) for c in near(index)}
    return _all_of(asked, wanted, 2) or _any_of(asked, wanted) or _all_of(asked, wanted, 3)


def most_telling(held: Mapping[Place, bool], index: Index) -> str:
    """What is true wherever `held` is, and seldom elsewhere; "" where nothing is."""
    wanted = tuple(held.values())
    needed = _needed({c: tuple(c.holds(at) for at in held) for c in near(index)}, wanted)
    seldom = [said for said in needed if sum(said) <= 2 * sum(wanted)]
    return needed[min(seldom, key=sum)].name if seldom else ""


def _needed(asked: Mapping[Condition, Answers], wanted: Answers) -> dict[Answers, Condition]:
    """What is true wherever that is wanted, and not everywhere; one condition for each set of answers."""
    found: dict[Answers, Condition] = {}
    for c, said in asked.items():
        if not all(said) and all(s for s, w in zip(said, wanted, strict=True) if w):
            found.setdefault(said, c)
    return found


def _all_of(asked: Mapping[Condition, Answers], wanted: Answers, most: int) -> str:
    """The fewest that together are true exactly where that is wanted."""
    needed = _needed(asked, wanted)
    for count in range(1, most + 1):
        for chosen in combinations(needed, count):
            if tuple(map(all, zip(*chosen, strict=True))) == wanted:
                return " and ".join(needed[said].name for said in chosen)
    return ""


def _any_of(asked: Mapping[Condition, Answers], wanted: Answers) -> str:
    """One that is true only where that is wanted, and what explains the rest: one, before two together."""
    enough = {
        c: said
        for c, said in asked.items()
        if any(said) and all(w for s, w in zip(said, wanted, strict=True) if s)
    }
    for most in (1, 2):
        for c, said in enough.items():
            rest = [i for i, s in enumerate(said) if not s]
            others = {q: tuple(a[i] for i in rest) for q, a in asked.items()}
            if words := _all_of(others, tuple(wanted[i] for i in rest), most):
                return f"{c.name}, or {words}"
    return ""


def fits_any_product(name: str, index: Index) -> bool:
    """Whether a condition says that a matrix is a number or a vector, so that a product of any kind fits."""
    return any(c.name == name for c in near(index) if c.row in ("d_[k] = 1", "d_[k] = d_[k−1] = 1"))


# ---- by name -------------------------------------------------------------------------------------


def split(claim: str) -> list[str]:
    """The names in 'n = 1 and elementwise σ_L'."""
    return [part.strip() for part in claim.split(" and ") if part.strip()]


def read(name: str) -> Condition | None:
    """The condition of that name, whatever layer it is about; None where there is none."""
    return _by_plain_name().get(_plain(name))


def names() -> list[str]:
    """Every name, about layer l."""
    return [Condition(row, Index("l")).name for row in CONDITIONS]


@cache
def _by_plain_name() -> dict[str, Condition]:
    bases = [Index(b, s) for b in ("l", "L") for s in (0, -1, 1, -2, 2)]
    indices = [*bases, *(Index(str(i)) for i in range(1, 10))]
    found: dict[str, Condition] = {}
    for index in indices:
        for row in CONDITIONS:
            condition = Condition(row, index)
            found.setdefault(_plain(condition.name), condition)
    return {_plain(a): found[_plain(name)] for a, name in ALIASES.items()} | found


ALIASES = {
    "σ elementwise": "elementwise σ_L",
    "elementwise σ": "elementwise σ_L",
    "softmax σ_L": "softmax",
    "square layers": "square layers, d_l = d_{l−1}",
    "d_L = 1": "one output",
    "mean squared error": "the squared error",
}


def _plain(text: str) -> str:
    """A name without its article, spaces and braces, and with one kind of minus, to find it by."""
    text = re.sub(r"^(the|an?) ", "", text.strip())
    text = text.replace("−", "-").replace("sigma", "σ")
    return re.sub(r"[\s{}]", "", text)
