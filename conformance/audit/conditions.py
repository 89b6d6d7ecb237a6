"""When an equation holds, in words: found from where it held and where it did not.

A condition is a name and a question about one network and one layer. `{l}` in a name is the layer that the
equation is about: l, or L for an equation that the notes print for their last layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from conformance.audit.settings import Net, Setting

__all__ = ["CONDITIONS", "FACTORS", "ONE_UNIT", "Place", "explaining", "holds_in", "named", "split"]


class Place(NamedTuple):
    """One network, and the layer that an equation is asked for there."""

    setting: Setting
    l: int

    @property
    def d(self) -> int:
        """d_l, with the constant unit where there is a bias."""
        return int(self.net.right.A[self.l].shape[1])

    @property
    def d_before(self) -> int:
        """d_{l-1}, likewise."""
        return int(self.net.right.Z[self.l - 1].shape[1])

    @property
    def d_L(self) -> int:
        """The number of outputs."""
        return self.setting.widths[-1]

    @property
    def net(self) -> Net:
        """A new one, for one call."""
        return Net(self.setting, self.l)


def _same(P: np.ndarray, Q: np.ndarray) -> bool:
    return P.shape == Q.shape and np.array_equal(P, Q)


def _W(at: Place, l: int) -> np.ndarray:
    found: np.ndarray = at.net.right.W[l]
    return found


def _diagonal(at: Place) -> bool:
    W = _W(at, at.l)
    return W.shape[0] == W.shape[1] and _same(W, np.diag(np.diag(W)))


def _tied(at: Place) -> bool:
    return at.l < at.setting.L and _same(_W(at, at.l), _W(at, at.l + 1))


def _three_alike(at: Place) -> bool:
    after = at.net.right.A.get(at.l + 1)
    return after is not None and at.d_before == at.d == after.shape[1]


def _keeps_one(at: Place) -> bool:
    """A constant unit survives every hidden σ."""
    return at.setting.L == 1 or at.setting.hidden in ("square", "identity")


CONDITIONS: dict[str, Callable[[Place], bool]] = {
    "n = 1": lambda at: at.setting.n == 1,
    "one output": lambda at: at.d_L == 1,
    "elementwise σ_L": lambda at: at.setting.last != "softmax",
    "L = 1": lambda at: at.setting.L == 1,
    "L = 2": lambda at: at.setting.L == 2,
    "l < L": lambda at: at.l < at.setting.L,
    "l > 1": lambda at: at.l > 1,
    "l = L": lambda at: at.l == at.setting.L,
    "d_{l} = 1": lambda at: at.d == 1,
    "d_{l−1} = 1": lambda at: at.d_before == 1,
    "d_{l} = d_{l−1} = 1": lambda at: at.d == at.d_before == 1,
    "square layers, d_{l} = d_{l−1}": lambda at: at.d == at.d_before,
    "d_{l−1} = d_{l} = d_{l+1}": _three_alike,
    "n = d_{l}": lambda at: at.setting.n == at.d,
    "a diagonal W_{l}": _diagonal,
    "a symmetric W_{l}": lambda at: _same(_W(at, at.l), _W(at, at.l).T),
    "W_{l} = W_{l+1}": _tied,
    "hidden σ with σ(1) = 1, or none": _keeps_one,
    "a bias": lambda at: at.setting.bias,
    "no bias": lambda at: not at.setting.bias,
    "L > 1": lambda at: at.setting.L > 1,
    "several outputs": lambda at: at.d_L > 1,
    "softmax": lambda at: at.setting.last == "softmax",
    "n > 1": lambda at: at.setting.n > 1,
}
"""In the order in which they are tried: the first that explains is taken."""

ONE_UNIT = ("d_{l} = 1", "d_{l−1} = 1", "d_{l} = d_{l−1} = 1")
"""Where a matrix is a number or a vector, so that a product of any kind fits."""

FACTORS: dict[str, Callable[[Place], float]] = {
    "n": lambda at: at.setting.n,
    "1/n": lambda at: 1 / at.setting.n,
    "d_L": lambda at: at.d_L,
    "1/d_L": lambda at: 1 / at.d_L,
    "n·d_L": lambda at: at.setting.n * at.d_L,
    "n/2": lambda at: at.setting.n / 2,
    "2n": lambda at: 2 * at.setting.n,
    "2/n": lambda at: 2 / at.setting.n,
    "1/(2n)": lambda at: 1 / (2 * at.setting.n),
    "L": lambda at: at.setting.L,
    "α": lambda at: at.net.alpha,
}
"""What a wrong factor may be, beside a number that is the same everywhere."""


def named(label: str, layer: str = "l") -> str:
    """A condition's name for equations about that layer."""
    after = {"l": "l+1", "L": "L+1"}[layer]
    text = label.replace("{l+1}", after).replace("{l−1}", f"{{{layer}−1}}")
    return text.replace("{l}", layer).replace(f"_{after}", f"_{{{after}}}")


def split(claim: str) -> list[str]:
    """The conditions of 'n = 1 and elementwise σ_L', by their plain names."""
    wanted = [part.strip() for part in claim.split(" and ") if part.strip()]
    return [_ALIASES.get(_plain(part), part) for part in wanted]


def _plain(text: str) -> str:
    """A name without spaces, braces and case of its symbols, to find it by."""
    return (
        "".join(text.replace("−", "-").replace("sigma", "σ").split())
        .replace("{", "")
        .replace("}", "")
    )


_ALIASES = {_plain(named(label)): label for label in CONDITIONS} | {
    "σelementwise": "elementwise σ_L",
    "elementwiseσ": "elementwise σ_L",
    "squarelayers": "square layers, d_{l} = d_{l−1}",
    "d_L=1": "one output",
}


def holds_in(conditions: Sequence[str], at: Place) -> bool:
    """Whether all of the conditions hold there."""
    return all(CONDITIONS[c](at) for c in conditions)


def explaining(held: Mapping[Place, bool], layer: str = "l") -> str:
    """The simplest condition that holds exactly where `held` does: one, or two; "" where none does."""
    places, wanted = list(held), tuple(held.values())
    truth = {c: tuple(q(at) for at in places) for c, q in CONDITIONS.items()}
    for c, answers in truth.items():
        if answers == wanted:
            return named(c, layer)
    pairs = list(combinations(truth, 2))
    for word, join in ((" and ", all), (", or ", any)):
        for p, q in pairs:
            if tuple(join(pair) for pair in zip(truth[p], truth[q], strict=True)) == wanted:
                return f"{named(p, layer)}{word}{named(q, layer)}"
    return ""
