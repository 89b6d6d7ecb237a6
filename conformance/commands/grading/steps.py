"""Judges which layers of an answer are right: each step on the file's own operands, or end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conformance.cases.catalogue import Case
from conformance.commands.grading.asking import Answer, Trouble
from conformance.implementations import implementation
from conformance.judge.gates import judge
from conformance.judge.inaccuracy import small_losses
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Floats, Runs, Trace
from conformance.model.results import SYMBOLS, Finding

__all__ = ["LIKE", "RETURNED_BY", "Judged", "Wrong", "judged", "looks_like", "twin_of"]

LIKE = "refbp"  # whose σ the file is handed, and in whose tolerances it is judged
FORWARD = ("A", "Z")
GRADIENTS = ("delta", "dW")
MOST_NETWORKS = 8  # how many of them are compared with the known mistakes
EQUAL = 4  # n and every width of a twin
RETURNS = {"forward_pass": ("A", "Z"), "backward_prop": ("delta", "dW"), "update": ("W_new",)}
RETURNED_BY = {q: f for f, quantities in RETURNS.items() for q in quantities}
OPERANDS = {
    "A": ("Z", -1),
    "Z": ("A", 0),
    "delta": ("delta", 1),
    "dW": ("delta", 0),
    "W_new": ("dW", 0),
}
"""Of which quantity, how many layers further on, a step uses the file's own value."""


@dataclass(frozen=True)
class Wrong:
    """The first layer in which a quantity is wrong, in the order of the algorithm."""

    quantity: str
    layer: int  # 0: it was not returned, or not in the form that was asked for
    gate: str = ""
    finite: bool = True


@dataclass(frozen=True)
class Share:
    """How many layers of a quantity are right, of how many, and where it is wrong first, if it is."""

    right: float
    of: int
    wrong: Wrong | None


@dataclass(frozen=True)
class Judged:
    """One network: for each gate and quantity which share of it is right.

    Quantities that are missing because their function raised are judged on the `twin`, of equal widths.
    """

    case: Case
    shares: Mapping[tuple[str, str], Share]
    troubles: tuple[Trouble, ...]
    printed: str
    lost: tuple[str, ...]  # messages on steps that are right but lose digits
    traces: tuple[Trace, Trace]  # as it was returned; with the A and Z that backward_prop was given
    twin: Judged | None = None

    def on(self, quantity: str) -> Judged:
        """Where a quantity is judged: on the twin where its function raised, or the one before; else here."""
        needed = {"W_new": ("update", "backward_prop")}.get(quantity, (RETURNED_BY[quantity],))
        stuck = self.raised.intersection(needed)
        return self.twin if self.twin and stuck and quantity in self.twin.returned else self

    def seen(self, quantity: str) -> Judged:
        """Where a quantity's mistake can be seen: on the twin where it was misshapen too."""
        return self.twin if self.twin and self.missing(quantity) else self.on(quantity)

    @property
    def raised(self) -> set[str]:
        """The functions that raised."""
        return {t["function"] for t in self.troubles if t["kind"] == "raised"}

    def share(self, gate: str, quantity: str) -> Share:
        """What is right of a quantity. Where its function raised, and all that it returns is right on the
        twin, that it raised is the mistake, and costs half."""
        here, at, by = self.shares[gate, quantity], self.on(quantity), RETURNED_BY[quantity]
        if at is self:
            return here
        there = at.shares[gate, quantity]
        wrong = [at.shares[gate, q].wrong for q in RETURNS[by] if q in at.returned]
        if by in self.raised and not any(wrong):
            return replace(there, right=there.right / 2, wrong=here.wrong)
        return there

    def missing(self, quantity: str) -> set[int]:
        """The layers of a quantity that were not returned, or in no shape that fits."""
        told = any((t["kind"], t["quantity"]) == ("malformed", quantity) for t in self.troubles)
        M = self.traces[0].layers(quantity)
        return {l for l in M if np.isnan(M[l]).all()} if told else set()

    @property
    def returned(self) -> frozenset[str]:
        """The quantities that the file returned."""
        return frozenset(q for q in QUANTITIES if self.traces[0].layers(q))

    def turn(self, w: Wrong) -> tuple[int, ...]:
        """A key to sort by: when the algorithm computes it."""
        back = w.quantity in GRADIENTS
        part = 0 if w.quantity in FORWARD else 1 if back else 2
        layer = w.layer or (self.case.depth if back else 1)
        return part, -layer if back else layer, QUANTITIES.index(w.quantity)


def judged(case: Case, answer: Answer, twin: Judged | None = None) -> Judged:
    """The answer for a network, compared with the truth.

    If A and Z were not returned, or are not finite, backward_prop was given the right ones, and δ and what
    follows are judged on these.
    """
    subject, troubles = Subject(case), answer.troubles
    own = _in_form(subject, answer.trace)
    if own is None:
        own = Trace()
        text = "its answer does not have the shapes of this network"
        troubles += ({"kind": "malformed", "function": "", "quantity": "", "text": text},)
    mended = _mended(subject, own, any(t["kind"] == "given" for t in troubles))
    forward = _Steps(subject, own)
    backward = forward if mended is own else _Steps(subject, mended, handed=True)
    form = {t["quantity"] for t in troubles if t["kind"] == "form"}
    shares = {
        (gate, q): (forward if q in FORWARD else backward).share(q, gate, q in form)
        for gate in ("step", "end-to-end")
        for q in QUANTITIES
    }
    lost = {k: v for s in (forward, backward) for k, v in s.lost.items() if k[0] == "step"}
    hints = dict.fromkeys(
        f"{SYMBOLS[q]} loses digits; it counts as right. Stable: {stable}."
        for (_, q, _), stable in lost.items()
        if q != "loss"
    )
    return Judged(case, shares, troubles, answer.printed, tuple(hints), (own, mended), twin)


def twin_of(case: Case) -> Case:
    """The network of the same σ, loss and depth in which n and all widths are equal, so that any product of
    two matrices runs."""
    return replace(case, family="typical", widths=(EQUAL,) * (case.depth + 1), batch=EQUAL, seed=0)


def _in_form(subject: Subject, t: Trace) -> Trace | None:
    """The trace if each of its arrays has the right shape; else None."""
    p = subject.problem
    for q in QUANTITIES:
        for l, M in t.layers(q).items():
            like = p.W[l].shape if q in ("dW", "W_new") else (len(p.X), p.W[l].shape[1])
            if M.shape != like:
                return None
    return t


def _mended(subject: Subject, t: Trace, given: bool) -> Trace:
    """The trace with the A and Z that backward_prop was given: the right ones where its own are unusable, or
    where it raised on them (`given`)."""
    if not given and t.A and t.Z and all(_finite(M) for q in FORWARD for M in t.layers(q).values()):
        return t
    right = implementation(LIKE).run(subject.problem.copy())
    return replace(t, A=right.A, Z=right.Z)


def _finite(M: Floats) -> bool:
    return bool(np.isfinite(M).all())


def _empty(M: Floats) -> bool:
    """Whether it is not finite, or all 0, or so small that products with it are rounded to 0."""
    return not _finite(M) or not (np.abs(M) >= np.finfo(M.dtype).tiny).any()


class _Steps:
    """The judge's verdict on every step of one trace."""

    def __init__(self, subject: Subject, t: Trace, handed: bool = False) -> None:
        self.L, self.t, self.handed = subject.case.depth, t, handed
        self.right: dict[tuple[str, str, int], bool] = {}
        self.lost: dict[tuple[str, str, int], str] = {}  # right but for digits: the stable formula
        if any(t.layers(q) for q in QUANTITIES):
            result = judge(subject, LIKE, t, whole=False, rounded=False)
            self.right = {
                (r["gate"], r["quantity"], r["layer"]): float(r["ratio"]) <= 1
                for r in result["records"]
            }
            if result["verdict"] == "deviates":
                self.lost = small_losses(subject, LIKE, t, rounded=False)
                self.right |= dict.fromkeys(self.lost, True)

    def share(self, q: str, gate: str, form: bool) -> Share:
        """How much of a quantity is right. `form`: it was returned in another form than asked for, which is
        one more part, and wrong."""
        if not self.t.layers(q):
            return Share(0, self.L, Wrong(q, 0))
        wrong = []
        for l in range(self.L, 0, -1) if q in GRADIENTS else range(1, self.L + 1):
            judged_by = self._gate(q, l, gate)
            if not self._is_right(q, l, judged_by):
                wrong.append(Wrong(q, l, judged_by, _finite(self.t.layers(q)[l])))
        first = wrong[0] if wrong else Wrong(q, 0) if form else None
        return Share(self.L - len(wrong), self.L + form, first)

    def _is_right(self, q: str, l: int, gate: str) -> bool:
        """Whether a step is right by a gate. To be right end to end is enough where its operand was not the
        file's own, or is wrong, so that the step was evidently computed from another."""
        if self.right[gate, q, l]:
            return True
        operand, further = OPERANDS[q]
        elsewhere = not self.right.get(("end-to-end", operand, l + further), True)
        return (self.handed or elsewhere) and self.right["end-to-end", q, l]

    def _gate(self, q: str, l: int, gate: str) -> str:
        """The step gate where the step's operand was returned and says something; else end to end."""
        if gate == "step" and ("step", q, l) in self.right and not self._any_formula_fits(q, l):
            return "step"
        return "end-to-end"

    def _any_formula_fits(self, q: str, l: int) -> bool:
        """Whether a step's operand is wrong and empty, or its own value is a gradient that fits and is empty,
        as Z_L = Y, a σ' of 0 or a Z of 0 makes it."""
        operand, further = OPERANDS[q]
        M = self.t.layers(operand).get(l + further)
        if M is not None and not self.right["end-to-end", operand, l + further] and _empty(M):
            return True
        return q in GRADIENTS and self.right["step", q, l] and _empty(self.t.layers(q)[l])


Place = tuple[str, int, bool]
"""A layer of a network: the case, the layer, and whether it is the last."""


def looks_like(quantity: str, on: Sequence[Judged]) -> list[str]:
    """What the known mistakes do that a quantity's wrong layers look like, without a formula.

    `on`: the networks in which it is wrong, the smallest first. In one network a mistake can look like
    several, so that those are taken that most wrong layers look like: the fewest that explain all. Where more
    look like nothing that is known, it is chance.
    """
    from conformance.judge.mistakes.table import FAULTS

    explained: dict[str, set[Place]] = {}
    patterns: dict[str, set[Place]] = {}
    for j in on[:MOST_NETWORKS]:
        for f in _findings(quantity, j):
            steps = {s["layer"] for s in f["steps"] if s["quantity"] == quantity}
            L, steps = j.case.depth, steps - j.missing(quantity)
            if not (layers := {(j.case.id, l, l == L) for l in steps}):
                continue
            for name in filter(None, [f["fault"], *f.get("also", [])]):
                explained.setdefault(name, set()).update(layers)
            if not f["fault"]:
                # a finding has the pattern of the error in its text alone, after these words of the diagnosis
                text = f["text"].rpartition("no known mistake; ")[2].rstrip(".")
                patterns.setdefault(text, set()).update(layers)
    known = {layer for layers in explained.values() for layer in layers}
    unknown = {layer for layers in patterns.values() for layer in layers} - known
    explained = {k: layers for k, layers in explained.items() if not _by_chance(layers, unknown)}
    left = {layer for layers in explained.values() for layer in layers}
    named = []
    while left:
        named.append(max(explained, key=lambda name: len(explained[name] & left)))
        left -= explained[named[-1]]
    whats = [FAULTS[part].what for name in named for part in name.split(" + ")]
    if (
        len({case for case, *_ in unknown}) > 1 or not whats
    ):  # in one network alone it may be chance
        whats += [next((p for p in patterns if patterns[p] & unknown), "")]
    return list(dict.fromkeys(filter(None, whats)))


def _by_chance(layers: set[Place], unknown: set[Place]) -> bool:
    """Whether, among last layers and among those below, fewer look like a mistake than like none."""
    many = [
        [sum(place[2] is last for place in of) for of in (layers, unknown)]
        for last in (True, False)
    ]
    return all(alike < unlike or not alike for alike, unlike in many)


def _findings(quantity: str, j: Judged) -> list[Finding]:
    """What the mistakes in one quantity of one network look like."""
    from conformance.judge.mistakes.diagnosis import diagnosis

    subject, t = Subject(j.case), j.traces[quantity not in FORWARD]
    try:  # a hint that cannot be had must not cost the grade
        _, findings = diagnosis(
            subject,
            LIKE,
            Runs(t),
            judge(subject, LIKE, t, whole=False, rounded=False),
            rounded=False,
        )
    except Exception:
        return []
    return [f for f in findings if any(s["quantity"] == quantity for s in f["steps"])]
