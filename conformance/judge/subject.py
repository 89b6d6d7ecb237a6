"""A case with everything that is computed once for it: its numbers, their truth, their error bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple

from conformance.cases.catalogue import EXACT_ALPHA, Case
from conformance.implementations import IMPLEMENTATIONS
from conformance.implementations.convention import Convention
from conformance.judge.known_differences import Amended, Difference, amend
from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import Problem
from conformance.truth.definitions import LOSSES, Definition
from conformance.truth.network import Network, Spread, Truth
from conformance.truth.readings import Memo
from conformance.truth.rounding import Accuracy, Arithmetic

__all__ = ["Own", "Subject"]


class Own(NamedTuple):
    """An activation that is in no table: its mathematics, and what an evaluation of it may lose."""

    definition: Definition
    accuracy: Accuracy


@dataclass
class Subject:
    """A case with its truth and its error bounds, shared by all implementations that run it.

    `own` has the activations that are in no table, by name. `given` replaces the case's own numbers: then no
    example of them is run alone. An `Amended` is what is expected under some known differences; `amend(())`,
    the mathematics alone, is under none.
    """

    case: Case
    own: Mapping[str, Own] = field(default_factory=dict)
    given: Problem | None = None
    memo: Memo = field(default_factory=dict)
    _networks: dict[tuple[str, ...], Network] = field(default_factory=dict)
    _spreads: dict[tuple[object, ...], Spread] = field(default_factory=dict)

    @cached_property
    def problem(self) -> Problem:
        """The network with its numbers, made once."""
        return self.case.problem() if self.given is None else self.given

    @cached_property
    def alone(self) -> Subject | None:
        """One example of the batch by itself, where the gate `row` is applied to the case."""
        if self.given is not None or not self.case.closely:
            return None
        return Subject(self.case, self.own, given=self.problem.row(len(self.problem.X) // 2))

    @property
    def exact(self) -> bool:
        """Whether every sum of the case fits the significand, so that no rounding is allowed."""
        p = self.problem
        return self.case.exact and not p.scale.endswith("over-all") and p.alpha == EXACT_ALPHA

    def under(self, convention: Convention | None) -> Subject:
        """The subject under another convention. Raises NotRunError if the convention has no such network."""
        if convention is None:
            return self
        return Subject(replace(self.case, given=convention.problem(self.problem)), self.own)

    def amend(self, rows: Sequence[Difference]) -> Amended:
        """What is expected under some rows of the known differences."""
        amended = amend(rows)
        own = {name: o.definition for name, o in self.own.items()}
        activations = {**amended.maths.activations, **own}
        return replace(amended, maths=replace(amended.maths, activations=activations))

    def accuracy(self, implementation: str, activation: str) -> Accuracy:
        """What one evaluation of an activation by an implementation may lose."""
        if activation in self.own:
            return self.own[activation].accuracy
        return accuracy(implementation, self.problem.dtype.name, activation)

    def arithmetic(self, amended: Amended) -> Arithmetic:
        """The arithmetic of the problem's dtype; it flushes subnormal numbers if `amended` says so."""
        return Arithmetic.of(self.problem.dtype, amended.flushes)

    def network(self, amended: Amended) -> Network:
        """The problem on its tape."""
        if amended.key not in self._networks:
            self._networks[amended.key] = Network(self.problem, amended.maths, self.memo)
        return self._networks[amended.key]

    def truth(self, amended: Amended) -> Truth:
        """The exact value of every quantity."""
        return self.network(amended).truth

    def spread(self, implementation: str, amended: Amended) -> Spread:
        """The root mean square error that each quantity of an implementation may have. Ours use Z for s in
        the backward pass; a user's may compute s again. Implementations with the same accuracies share it."""
        afresh = implementation not in IMPLEMENTATIONS
        of = partial(self.accuracy, implementation)
        evaluated = {*self.problem.sigma.values(), *(t.f for t in LOSSES[self.problem.loss])}
        key = (amended.key, afresh, tuple(of(name) for name in sorted(evaluated)))
        if key not in self._spreads:
            self._spreads[key] = self.network(amended).spread(
                self.arithmetic(amended), of, LAMBDA, afresh=afresh
            )
        return self._spreads[key]
