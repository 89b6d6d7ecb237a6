"""The search: every convention and every way to use the code, on one small network, until the numbers fit.

What was guessed on one network must hold on a second one, of other widths and another number of examples. And
if a guess leaves something unjudged (biases, batches, deeper networks), the code must not be able to have it:
otherwise a mistake there would conform, because nothing asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise, product
from typing import Any, TypeAlias

import numpy as np

from conformance.commands.wire.hands import Diary, Hand, hands
from conformance.commands.wire.leaves import Leaf, attributes, leaves
from conformance.commands.wire.match import WEIGHTS, Fit, Network, fits, times
from conformance.implementations import NotRunError
from conformance.implementations.convention import BIASES, Convention
from conformance.model.problem import SCALES, Problem
from conformance.tools.trouble import RefusedError, reason
from conformance.truth.definitions import LOSSES

__all__ = ["SAME", "SIZES", "Found", "Searched"]

Theirs: TypeAlias = Any

SIZES = (4, 5, 3)
"""All different, so that no transposed matrix fits; with three outputs no two scales agree."""
OTHERS = (3, 6, 2)  # widths of the second network
DEEPER = (4, 5, 6, 3)  # widths of a network with one more layer
EXAMPLES, MORE = 7, 8  # in the first network, and in the second
COMMON = [
    Network(hidden, last, loss)
    for hidden in ("sigmoid", "tanh", "relu")
    for last, loss in (
        ("sigmoid", "mean_squared_error"), ("identity", "mean_squared_error"), ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"), ("tanh", "mean_squared_error"), ("relu", "mean_squared_error"),
        ("log_softmax", "log_softmax_cross_entropy"), ("softmax", "mean_squared_error"),
    )
]  # fmt: skip
"""Networks that are tried before all others."""
BAGS = 4
"""For so many answers, every network is tried."""
PARTS = 12
"""For so many answers that fit in part, a second network is tried."""
SAME = 1e-4
"""How far two equal factors may differ, relatively."""


@dataclass
class Found:
    """What a user's code computed, by one convention and one way to use it, and the network that it fits
    best."""

    convention: Convention
    hand: Hand
    p: Problem
    bag: Sequence[Leaf]
    returned: Theirs
    fit: Fit = field(default_factory=lambda: Fit(Network("", "", ""), {}))
    second: Found | None = None  # from the same code, on another network
    abilities: bool = False  # it says itself what it can do
    one_depth: bool = False  # it accepts no deeper network
    dtypes: tuple[str, ...] = ()  # the dtypes that it computes in, if it does not compute in both
    notes: list[str] = field(default_factory=list)

    @property
    def every(self) -> set[int]:
        """The layers, 1 to L."""
        return set(range(1, self.p.depth + 1))

    def try_on(self, networks: Sequence[Network]) -> None:
        """Keep the network that explains most leaves."""
        for fit in fits(self.p, self.bag, networks):
            if fit.score > self.fit.score:
                self.fit = fit

    @property
    def has_weights(self) -> bool:
        """Whether ∂L/∂W, or the new W, of every layer was found."""
        return self.fit.layers(*WEIGHTS) >= self.every

    @property
    def complete(self) -> bool:
        """Whether the same was found for every bias."""
        apart = self.fit.layers("db", "b_new", "absorbed")
        return self.has_weights and (self.convention.bias == "none" or apart >= self.every)

    def scales(self, factor: float, at: tuple[Any, ...], free: bool = False) -> list[str]:
        """The scales by which the quantity at a path is so many times the notes' in both networks; `free`: up
        to an unknown rate."""
        found = [(factor, self.p)]
        if self.second is not None and at in self.second.fit.found:
            found.append((self.second.fit.found[at][2], self.second.p))

        def rates(scale: str) -> list[float]:
            return [abs(f) / times(p, scale) for f, p in found]

        return [
            s
            for s in SCALES
            if all(abs(r / (rates(s)[0] if free else 1) - 1) < SAME for r in rates(s))
        ]

    def times(self, scale: str) -> float:
        """How many times the gradient of the mean its gradient is, by a scale."""
        return times(self.p, scale)


@dataclass
class Searched:
    """A user's network during the search."""

    theirs: Theirs
    name: str
    diary: Diary = field(default_factory=Diary)

    def best(self) -> Found:
        """The answer that fits. Raises RefusedError, which says how far the search got, if none does."""
        answers: list[Found] = []
        for sizes in self._sizes():
            p = self._problem(sizes)
            here: list[Found] = []
            for convention in _conventions():
                for found in self._answers(convention, p):
                    found.try_on([self._own(p), *COMMON] if found.hand.lines else [self._own(p)])
                    if found.complete and self._again_on_another(found):
                        return self._looked_at(self._of_a_batch(found, here))
                    here.append(found)
            here.sort(key=lambda a: (a.fit.score, len(a.bag)), reverse=True)
            for found in here[:BAGS]:
                found.try_on(())
                if found.complete and self._again_on_another(found):
                    return self._looked_at(found)
            answers += here
        answers.sort(key=lambda a: (a.fit.score, not a.convention.one_example), reverse=True)
        for found in islice((a for a in answers if a.fit.layers(*WEIGHTS)), PARTS):
            if self._again_on_another(found):
                return self._looked_at(found)
        if answers:
            self.diary.note(4, self._not_known(answers[0]))
        raise RefusedError(
            f"{self.name} fits no convention: {self.diary.text or 'nothing could be tried'}. Write run(self, "
            "p) yourself, with a Convention: docs/implementations.md shows how."
        )

    def _not_known(self, found: Found) -> str:
        """Why nothing was recognised, in words."""
        if found.hand.lines:
            again = self._same(found, found.p) or [found]
            own, now = ({leaf.path: leaf.value for leaf in of.bag} for of in (found, *again[:1]))
            if any(not np.array_equal(now[k], own[k]) for k in own.keys() & now.keys()):
                return (
                    "asked twice with the same weights, it gives other gradients: it draws random numbers, "
                    f"or {found.hand.lines[1]} does not change what it computes with"
                )
        return "what it returned or kept is the gradient of no network that is known"

    # --- whether a guess holds --------------------------------------------------------------------

    def _again_on_another(self, found: Found) -> bool:
        """Whether the same arrays are found on a second network, as the same quantities."""
        gradients = (*WEIGHTS, "db", "b_new")
        wanted = {k: v[:2] for k, v in found.fit.found.items() if v[0] in gradients}
        for sizes in (OTHERS, _widths(found.p)):
            for other in self._same(found, self._problem(sizes, MORE)):
                other.try_on([found.fit.network])
                there = {k: v[:2] for k, v in other.fit.found.items()}
                if wanted.items() <= there.items():
                    found.second = other
                    return True
        return False

    def _of_a_batch(self, found: Found, answers: Sequence[Found]) -> Found:
        """An answer that fits one example, replaced by one for a batch, if the code divides by the number of
        examples: then what is not summed is a mistake. Otherwise it is not known which is meant, and a note
        says so."""
        if not found.convention.one_example:
            return found
        for a in answers:
            if a.convention.one_example or not a.has_weights or not self._again_on_another(a):
                continue
            path, (_, _, factor) = next((k, v) for k, v in a.fit.found.items() if v[0] in WEIGHTS)
            if not {*a.scales(factor, path)} & {"sum", "half-sum"}:
                there = {leaf.path for leaf in a.bag}
                own = found.fit.found.items()
                more = {k: v for k, v in own if k in there and v[0] in ("db", "b_new")}
                a.fit = Fit(a.fit.network, {**a.fit.found, **more})
                return a
            found.notes.append(
                "it is judged of one example at a time: of a batch its ∂L/∂W is summed, and what it has "
                "for the biases is not."
            )
            break
        return found

    def _looked_at(self, found: Found) -> Found:
        """Find out what else the code accepts: deeper networks, float32."""
        found.abilities = hasattr(self.theirs, "activations") or hasattr(self.theirs, "losses")
        found.one_depth = not self._takes_deeper(found)
        p = found.p
        narrow = replace(
            p,
            W={l: M.astype("f") for l, M in p.W.items()},
            X=p.X.astype("f"),
            Y=p.Y.astype("f"),
        )
        if "float32" in _dtypes(found, found):
            found.dtypes = ("float32",)
        elif any("float64" in _dtypes(found, other) for other in self._same(found, narrow)):
            found.dtypes = ("float64",)
        return found

    def _takes_deeper(self, found: Found) -> bool:
        """Whether a network with one more layer can be made. If it is wrong, the judge will say so."""
        hand, network, p = found.hand, found.fit.network, self._problem(DEEPER)
        if hand.lines:
            made = [h for h in hands(self.theirs, self.name, DEEPER) if h.lines == hand.lines]
            if not made:
                return False
            hand = made[0]
        if found.convention.bias == "none":
            p = _without_bias(p)
        sigma = {1: network.hidden, 2: network.hidden, 3: network.last}
        p = found.convention.problem(replace(p, sigma=sigma, loss=network.loss))
        try:
            returned = hand.ask(found.convention.given(p))
        except (Exception, SystemExit) as e:
            then = "if it is meant for two, add depths = 2" if hand.lines else "it is judged of two"
            found.notes.append(f"of three layers it raises {reason(e)}: {then}.")
            return bool(hand.lines)
        own = leaves(returned)
        paths = {(_flat(leaf) if hand.lines else leaf).path for leaf in own}
        if paths <= {leaf.path for leaf in found.bag}:  # it does not know of a third layer
            if hand.lines:
                found.notes.append(
                    "of three layers it returns no more than of two: add depths = 2, if that is meant."
                )
            return bool(hand.lines)
        return True

    def _same(self, found: Found, p: Problem) -> list[Found]:
        """The answers of the same code to another problem."""
        asked = self._answers(found.convention, p)
        return [other for other in asked if other.hand.lines == found.hand.lines]

    # --- what is tried ----------------------------------------------------------------------------

    def _sizes(self) -> Iterator[tuple[int, ...]]:
        """The widths of the small network: ours, and the code's own if they are fixed."""
        yield SIZES
        try:
            net = self.theirs() if isinstance(self.theirs, type) else self.theirs
        except (Exception, SystemExit):
            return
        shapes = [leaf.value.shape for leaf in leaves(attributes(net), layers=True)]
        matrices = [s for s in shapes if len(s) == 2 and s[0] * s[1] > 1]
        for of in (matrices, [m[::-1] for m in matrices]):
            chain = list(of)
            while chain and not all(a[1] == b[0] for a, b in pairwise(chain)):
                chain.pop()
            if len(chain) > 1 and (sizes := (*(m[0] for m in chain), chain[-1][1])) != SIZES:
                yield sizes

    def _own(self, p: Problem) -> Network:
        """The σ and the loss that the object itself names, which the problem has."""
        return Network(p.sigma[1], p.sigma[p.depth], p.loss)

    def _problem(self, sizes: Sequence[int], n: int = EXAMPLES) -> Problem:
        """A network with one-hot targets, which every loss accepts; its inputs are wide enough for the bends
        of σ to show."""
        rng = np.random.default_rng(n)
        L, classes = len(sizes) - 1, np.arange(n) % max(2, sizes[-1])
        Y = np.eye(sizes[-1])[classes] if sizes[-1] > 1 else classes[:, None] * 1.0
        sigmas = list(getattr(self.theirs, "activations", None) or ["sigmoid"])
        losses = getattr(self.theirs, "losses", None) or ["mean_squared_error"]
        loss = next(iter(losses))
        last = losses[loss] if isinstance(losses, Mapping) else sigmas[0]
        last = last if isinstance(last, str) else next(iter(last))
        W = {l: rng.normal(size=(a + 1, b)) for l, (a, b) in enumerate(pairwise(sizes), 1)}
        sigma = dict.fromkeys(range(1, L), sigmas[0]) | {L: last}
        return Problem(W, rng.normal(size=(n, sizes[0])) * 2, Y, sigma, loss, True, 0.1)

    def _answers(self, convention: Convention, p: Problem) -> Iterator[Found]:
        """What the code returns by this convention, if it has the shapes of gradients. Code with places for
        biases has biases."""
        if convention.bias == "none" and p.bias:
            p = _without_bias(p)
        try:
            p = convention.problem(p)
        except NotRunError:  # the convention has no such network
            return
        shapes = {M.shape for M in p.W.values()} | {M[:-1].shape for M in p.W.values()}
        for hand in hands(self.theirs, self.name, _widths(p), self.diary):
            if hand.biased and convention.bias == "none":
                continue
            asked = hand.lines[-1] if hand.lines else "run(p)"
            try:
                returned = hand.ask(convention.given(p))
            except (Exception, SystemExit) as e:
                self.diary.note(3, f"its weights were found, and {asked} raised {reason(e)}")
                continue
            own = leaves(returned)
            bag = [_flat(leaf) for leaf in own] if hand.lines else list(own)
            if any(leaf.value.shape in shapes or leaf.value.shape[::-1] in shapes for leaf in bag):
                yield Found(convention, hand, p, bag, returned)
            else:
                self.diary.note(
                    3, f"{asked} ran, and nothing that it returned or kept is shaped like its W"
                )


def _dtypes(found: Found, answer: Found) -> set[str]:
    """The dtypes of the recognised leaves in an answer."""
    return {leaf.dtype for leaf in answer.bag if leaf.path in found.fit.found}


def _widths(p: Problem) -> tuple[int, ...]:
    return (p.X.shape[1], *(M.shape[1] for M in p.W.values()))


def _without_bias(p: Problem) -> Problem:
    return replace(p, W={l: M[:-1] for l, M in p.W.items()}, bias=False)


def _conventions() -> Iterator[Convention]:
    """Every layout, the simplest first."""
    flags = (False, True)
    for labels, one, bias, vectors, columns, transposed in product(
        flags, flags, BIASES, flags, flags, flags
    ):
        if vectors and bias != "separate" and not one:
            continue
        yield Convention(
            columns=columns, transposed=transposed, bias=bias, vectors=vectors, one_example=one,
            labels=tuple(LOSSES) if labels else False,
        )  # fmt: skip


def _flat(leaf: Leaf) -> Leaf:
    """A leaf with the path (0, …) if it was returned, and (1, attribute, …) if it was kept."""
    first, *rest = leaf.path
    return Leaf((1, *rest[0], *rest[1:]) if first == 1 else leaf.path, leaf.value, leaf.dtype)
