"""Judges which quantities of an answer are right: each step on the file's own operands, or end to end."""

from __future__ import annotations

from collections import Counter
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

__all__ = ["LIKE", "Judged", "Wrong", "judged", "looks_like"]

LIKE = "refbp"  # whose σ the file is handed, and in whose tolerances it is judged
FORWARD = ("A", "Z")
MOST_NETWORKS = 8  # how many of them are compared with the known mistakes
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
    layer: int  # 0: it was not returned
    gate: str = ""
    finite: bool = True


@dataclass(frozen=True)
class Judged:
    """One network: for each gate and quantity where it is wrong first, or None where it is right."""

    case: Case
    wrong: Mapping[tuple[str, str], Wrong | None]
    troubles: tuple[Trouble, ...]
    printed: str
    returned: frozenset[str]
    lost: tuple[str, ...]  # messages on steps that are right but lose digits
    traces: tuple[Trace, Trace]  # as it was returned; with the A and Z that backward_prop was given

    def first(self, quantities: tuple[str, ...], gate: str) -> Wrong | None:
        """The first of some quantities, in the order of the algorithm."""
        wrong = [w for q in quantities if (w := self.wrong[gate, q])]
        return min(wrong, key=self.turn, default=None)

    def turn(self, w: Wrong) -> tuple[int, ...]:
        """A key to sort by: when the algorithm computes it."""
        back = w.quantity in ("delta", "dW")
        part = 0 if w.quantity in FORWARD else 1 if back else 2
        layer = w.layer or (self.case.depth if back else 1)
        return part, -layer if back else layer, QUANTITIES.index(w.quantity)


def judged(case: Case, answer: Answer) -> Judged:
    """The answer for a network, compared with the truth.

    If A and Z were not returned, or are not finite, `student_process` gave backward_prop the right ones, and
    δ and what follows are judged on these.
    """
    subject, troubles = Subject(case), answer.troubles
    own = _in_form(subject, answer.trace)
    if own is None:
        own = Trace()
        text = "its answer does not have the shapes of this network"
        troubles += ({"kind": "malformed", "function": "", "text": text},)
    mended = _mended(subject, own)
    forward = _Steps(subject, own)
    backward = forward if mended is own else _Steps(subject, mended, handed=True)
    wrong = {
        (gate, q): (forward if q in FORWARD else backward).first_wrong(q, gate)
        for gate in ("step", "end-to-end")
        for q in QUANTITIES
    }
    returned = frozenset(q for q in QUANTITIES if own.layers(q))
    lost = {k: v for s in (forward, backward) for k, v in s.lost.items() if k[0] == "step"}
    hints = dict.fromkeys(
        f"{SYMBOLS[q]} loses digits; it counts as right. Stable: {stable}."
        for (_, q, _), stable in lost.items()
        if q != "loss"
    )
    return Judged(case, wrong, troubles, answer.printed, returned, tuple(hints), (own, mended))


def _in_form(subject: Subject, t: Trace) -> Trace | None:
    """The trace if each of its arrays has the right shape; else None."""
    p = subject.problem
    for q in QUANTITIES:
        for l, M in t.layers(q).items():
            like = p.W[l].shape if q in ("dW", "W_new") else (len(p.X), p.W[l].shape[1])
            if M.shape != like:
                return None
    return t


def _mended(subject: Subject, t: Trace) -> Trace:
    """The trace with the A and Z that backward_prop was given: the right ones where its own are unusable."""
    if t.A and t.Z and all(_finite(M) for q in FORWARD for M in t.layers(q).values()):
        return t
    right = implementation(LIKE).run(subject.problem.copy())
    return replace(t, A=right.A, Z=right.Z)


def _finite(M: Floats) -> bool:
    return bool(np.isfinite(M).all())


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

    def first_wrong(self, q: str, gate: str) -> Wrong | None:
        """Where a quantity is wrong first, in the order in which its layers are computed."""
        if not self.t.layers(q):
            return Wrong(q, 0)
        for l in range(self.L, 0, -1) if q in ("delta", "dW") else range(1, self.L + 1):
            judged_by = self._gate(q, l, gate)
            if not self._is_right(q, l, judged_by):
                return Wrong(q, l, judged_by, _finite(self.t.layers(q)[l]))
        return None

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
        if gate == "step" and ("step", q, l) in self.right and not self._operand_is_empty(q, l):
            return "step"
        return "end-to-end"

    def _operand_is_empty(self, q: str, l: int) -> bool:
        """Whether a step's operand is wrong, and all 0 or not finite, so that any formula would fit it."""
        operand, further = OPERANDS[q]
        M = self.t.layers(operand).get(l + further)
        if M is None or self.right["end-to-end", operand, l + further]:
            return False
        return not M.any() or not _finite(M)


def looks_like(wrong: Sequence[tuple[Judged, Wrong]]) -> list[str]:
    """What the known mistake does that this one looks like, without a formula.

    `wrong`: the networks in which one quantity is wrong, the smallest first. In one network a mistake can
    look like several, so that the one that most of the networks look like is taken.
    """
    from conformance.judge.mistakes.table import FAULTS

    firsts = [f for j, w in wrong[:MOST_NETWORKS] for f in _findings(j, w)[:1]]
    if not firsts:
        return []
    fault = Counter(f["fault"] for f in firsts).most_common(1)[0][0]
    if fault:
        return [FAULTS[name].what for name in fault.split(" + ")]
    # a finding has the pattern of the error in its text alone, after these words of the diagnosis
    text = next(f["text"] for f in firsts if not f["fault"])
    return [text.rpartition("no known mistake; ")[2].rstrip(".")]


def _findings(j: Judged, w: Wrong) -> list[Finding]:
    """What a mistake in one network looks like."""
    from conformance.judge.mistakes.diagnosis import diagnosis

    subject, t = Subject(j.case), j.traces[w.quantity not in FORWARD]
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
    return [f for f in findings if any(s["quantity"] == w.quantity for s in f["steps"])]
