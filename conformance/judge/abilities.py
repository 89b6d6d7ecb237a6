"""What a user's implementation says that it can do. It is given only that, and networks are made for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, product
from math import ceil
from typing import Any, TypeAlias

import numpy as np

from conformance.cases.catalogue import Case
from conformance.cases.checked import SIGMAS, ProblemError, checked
from conformance.cases.own import Network, problems
from conformance.implementations import Implementation, NotRunError
from conformance.implementations.convention import Convention
from conformance.model.problem import Problem
from conformance.tools.names import unknown
from conformance.truth.definitions import LOSSES

__all__ = ["Abilities", "abilities", "made"]

Theirs: TypeAlias = Any

ENOUGH = 96
"""At least so many networks are made for an implementation that says what it can do."""
FEWEST = 4
"""At least so many networks of each kind: widths, σ and loss."""
VARIANTS = 8
"""At most so many variants of each kind, for an implementation that can do few kinds."""
MOST = 48
"""The largest number of pairs of σ and loss that are all tried."""
WIDTHS = ((4, 3, 2), (3, 5, 4, 3), (2, 4, 4, 2), (3, 4, 2, 4, 5, 3))
"""The widths, in turn, of networks for an implementation without widths of its own."""


@dataclass(frozen=True)
class Abilities:
    """What an implementation can do: names of σ; losses, each with the σ_L that may come before it (None: any
    of its own); its widths d_0 … d_L or its depths L, where they are fixed; whether hidden layers may have
    different σ; and its convention."""

    activations: tuple[str, ...]
    losses: Mapping[str, tuple[str, ...] | None]
    widths: tuple[tuple[int, ...], ...] = ()
    depths: tuple[int, ...] = ()
    mixed: bool = True
    convention: Convention | None = None

    def outputs(self, loss: str) -> tuple[str, ...]:
        """The σ_L that may come before a loss."""
        return self.losses[loss] or self.activations

    def lacks(self, case: Case) -> str:
        """What a case's network needs and the implementation does not have; "" if it has everything."""
        *hidden, last = case.sigma().values()
        if unlike := [s for s in hidden if s not in self.activations]:
            return f"it has no {unlike[0]}"
        if len({*hidden}) > 1 and not self.mixed:
            return "it has one σ for all hidden layers"
        if case.loss not in self.losses:
            return f"it has no {case.loss}"
        if last not in self.outputs(case.loss):
            return f"it has no {last} before {case.loss}"
        if self.widths and case.widths not in self.widths:
            return f"it has the widths {' or '.join('-'.join(map(str, w)) for w in self.widths)}"
        if self.depths and case.depth not in self.depths:
            return f"it has {' or '.join(map(str, self.depths))} layers"
        try:
            if self.convention is not None:
                self.convention.problem(case.problem())
        except NotRunError as e:
            return str(e).rstrip(".")
        except ModuleNotFoundError:  # its data are not installed: running it will say so
            return ""
        return ""

    def unjudged(self, judged: Iterable[Case]) -> list[str]:
        """The σ and losses that the implementation says it can do, and that none of these cases has."""
        seen = {name for c in judged for name in (*c.sigma().values(), c.loss)}
        outputs = (s for loss in self.losses for s in self.losses[loss] or ())
        return [
            x for x in dict.fromkeys((*self.activations, *outputs, *self.losses)) if x not in seen
        ]


def abilities(name: str, impl: Implementation) -> Abilities | None:
    """What a user's object says that it can do, in its `activations`, `losses`, `widths` and `depths`; None
    if it says nothing. Raises NotRunError for names that do not exist."""
    theirs: Theirs = getattr(impl, "theirs", None)
    convention: Convention | None = getattr(impl, "convention", None)
    for of in (convention.scale, convention.labels) if convention is not None else ():
        if not isinstance(of, str | bool):
            _names(name, "loss", of, tuple(LOSSES))
    said = [getattr(theirs, of, None) for of in ("activations", "losses", "widths", "depths")]
    if all(x is None for x in said):
        return None
    sigmas, losses, widths, depths = said
    activations = SIGMAS if sigmas is None else _names(name, "activation", sigmas, SIGMAS)
    known = _names(name, "loss", LOSSES if losses is None else losses, tuple(LOSSES))
    before: dict[str, tuple[str, ...] | None] = dict.fromkeys(known)
    if isinstance(losses, Mapping):
        before = {
            loss: _names(name, "activation", [of] if isinstance(of, str) else of, SIGMAS)
            for loss, of in losses.items()
        }
    mixed = bool(getattr(theirs, "mixed", True))
    return Abilities(
        activations, before, _widths(name, widths), _depths(name, depths), mixed, convention
    )


def _names(name: str, kind: str, given: Theirs, known: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        given = [given]
    try:
        found = [str(x) for x in given]
    except TypeError:
        raise NotRunError(
            f"{name} has {kind} names of type {type(given).__name__}; expected a tuple of names."
        ) from None
    if wrong := [x for x in found if x not in known]:
        raise NotRunError(f"{name}: {unknown(kind, wrong[0], known)}")
    return tuple(dict.fromkeys(found))


def _widths(name: str, given: Theirs) -> tuple[tuple[int, ...], ...]:
    """The widths, given as one (d_0, …, d_L) or several."""
    if given is None:
        return ()
    try:
        several = [given] if all(isinstance(d, int) for d in given) else list(given)
        found = tuple(tuple(int(d) for d in widths) for widths in several)
    except (TypeError, ValueError):
        found = ((),)
    if not all(len(w) > 1 and min(w) > 0 for w in found):
        raise NotRunError(
            f"{name} has the widths {given!r:.80}; expected (d_0, …, d_L), or several."
        )
    return found


def _depths(name: str, given: Theirs) -> tuple[int, ...]:
    """The depths, given as one L or several."""
    found = () if given is None else (given,) if isinstance(given, int) else tuple(given)
    if not all(isinstance(L, int) and L > 0 for L in found):
        raise NotRunError(f"{name} has the depths {given!r:.80}; expected numbers of layers.")
    return found


def made(a: Abilities) -> list[Case]:
    """Networks for its hidden σ and its losses, each loss with the σ before it: equally many of every
    kind."""
    heads = [(loss, last) for loss in a.losses for last in a.outputs(loss)]
    pairs = list(product(a.activations, heads))
    if len(pairs) > MOST:  # then each σ and each loss only in some pair
        pairs = (
            list(zip(cycle(a.activations), heads))
            if len(heads) > len(a.activations)
            else list(zip(a.activations, cycle(heads)))
        )
    shapes = _shapes(a)
    every = islice(cycle(pairs), max(len(pairs), len(shapes)))  # each shape too
    lines = dict.fromkeys(
        _line(widths, hidden, last, loss)
        for (hidden, (loss, last)), widths in zip(every, cycle(shapes))
    )
    each = max(FEWEST, ceil(ENOUGH / max(1, len(lines))))
    found = {c.id: c for line in lines for c in islice(_cases(line, a), each)}
    return list(found.values())


def _shapes(a: Abilities) -> Sequence[tuple[int, ...]]:
    """The widths of the networks that are made for it."""
    if a.widths:
        return a.widths
    if a.depths:
        return [(4, *[3 + l % 3 for l in range(L - 1)], 2) for L in a.depths]
    return WIDTHS


def _line(widths: Sequence[int], hidden: str, last: str, loss: str) -> Network:
    L = len(widths) - 1
    sigma = (*[hidden] * (L - 1), last)
    text = f"{'-'.join(map(str, widths))}: {', '.join(sigma)} + {loss}"
    return Network(text, tuple(widths), sigma, loss)


def _cases(line: Network, a: Abilities) -> Iterator[Case]:
    """Networks of a line that can be judged, in an order in which the first few are of every kind."""
    for p in _shuffled(line):
        if a.convention is not None and a.convention.one_example:
            p = p.row(len(p.X) // 2)
        if a.convention is not None and a.convention.takes_classes(p):
            p = replace(p, Y=np.eye(p.Y.shape[1], dtype=p.dtype)[p.Y.argmax(axis=1)])
        try:
            case = Case.of(checked(p), close=len(p.X) <= 7)
        except ProblemError:
            return  # the loss does not accept the outputs of this σ
        if not a.lacks(case):
            yield case


def _shuffled(line: Network) -> Iterator[Problem]:
    """The networks of a line, out of order; then variants of them with other numbers."""
    for variant in range(VARIANTS):
        every = list(
            problems(replace(line, text=f"{line.text} ({variant})" if variant else line.text))
        )
        for i in range(len(every)):
            yield every[i * 37 % len(every)]  # 37 has no factor in common with their number
