"""From a deviation to what it looks like: which steps are to blame, and which mistake gives just that.

The step gate says which steps are wrong given their own operands: independent mistakes are told apart,
and consequences are not blamed. Each of those is compared with what every fault of `faults.table` would
have given on the same operands; then two faults at once; then the error's pattern is described.
Where a trace leaves operands out, no step can be judged alone: then whole networks with a fault in them
are compared with what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from conformance.judge.comparison import Judged
from conformance.judge.gates import right_as_a_whole, steps_of
from conformance.judge.mistakes.fitted import FITTED
from conformance.judge.mistakes.loop import Loop, State, Wrap, outcome, planted, state_of
from conformance.judge.mistakes.pattern import pattern
from conformance.judge.mistakes.table import FAULTS, Fault
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Floats, Problem, Runs, Trace
from conformance.model.results import SYMBOLS, Finding, Result
from conformance.model.results import Step as StepRow

__all__ = ["diagnosis"]

DEEPEST = 5  # networks in which two faults in one step are looked for: it takes a while
INSIDE = {"delta": ("G", "G_L", "delta")}  # the steps that a quantity is made by, but its own
Key = tuple[str, int]


@dataclass(frozen=True)
class Suspect:
    """A quantity of one layer as it is, and as it should be given its operands."""

    quantity: str
    layer: int
    value: Floats
    right: Floats
    tolerance: Floats

    @property
    def key(self) -> Key:
        return self.quantity, self.layer

    @classmethod
    def of(cls, j: Judged) -> Suspect:
        """From its record."""
        c = j.comparison
        return cls(c.quantity, c.layer, np.asarray(c.value, float), c.truth.hi, c.tolerance)

    def differs(self, other: Floats) -> bool:
        """Whether a fault's outcome is another one than the right outcome: by more than rounding."""
        return bool((np.abs(other - self.right) > self.tolerance).any()) or bool(
            np.isnan(other).any()
        )

    def explained(self, other: Floats, u: float) -> bool:
        """Whether that is what stands there, and the right outcome is far from it in comparison."""
        if other.shape != self.value.shape:
            return False
        both = np.isnan(other) & np.isnan(self.value) | (other == self.value)
        off = np.where(both, 0, np.abs(self.value - other))
        size = np.where(np.isfinite(other), np.abs(other), 0)
        allowed = 8 * self.tolerance + 64 * u * size.max(initial=0)
        if not bool((off <= allowed).all()):  # NaN too
            return False
        wrong = np.abs(self.value - self.right)
        return (
            bool(np.isnan(other).any())
            or float(off.max()) <= float(np.nan_to_num(wrong, posinf=np.inf).max(initial=0)) / 8
        )


class _Case:
    """One trace under suspicion."""

    def __init__(
        self,
        subject: Subject,
        like: str,
        t: Trace,
        past: Trace | None,
        rounded: bool | None = None,
    ) -> None:
        self.p: Problem = subject.problem
        self.u = float(np.finfo(self.p.dtype).eps) / 2
        self.t = t
        other = self.p.another_batch() if past is not None else None
        self.state = state_of(self.p, t, past, other)
        self.judged = steps_of(subject, like, t, rounded)
        self.suspects = {s.key: s for s in map(Suspect.of, self.judged)}
        self.right = right_as_a_whole(subject, like, t)
        wrong = {s.key: s for s in map(Suspect.of, self._wrong(self.judged))}
        self.blamed = [s for s in wrong.values() if not self._follows(s, set(wrong))]
        self.batch: _Case | None = None  # the whole batch, where that is right
        self.earlier: Trace | None = None  # the same input, run before

    @staticmethod
    def _wrong(judged: Sequence[Judged]) -> Iterator[Judged]:
        return (j for j in judged if j.verdict == "deviates")

    def _follows(self, s: Suspect, wrong: set[Key]) -> bool:
        """Whether a step is wrong on its operands only because one of them is not what it was given.

        It is right as a whole, and an operand is not; or an operand is no number at all.
        """
        operands = [k for k in self._operands(s) if k in self.suspects]
        if any(not np.isfinite(self.suspects[k].value).all() for k in operands):
            return True
        return s.key in self.right and any(k in wrong or k not in self.right for k in operands)

    def _operands(self, s: Suspect) -> list[Key]:
        """What a step is computed from."""
        q, l, L = s.quantity, s.layer, self.p.depth
        after = ("Z", L) if l == L else ("delta", l + 1)
        of: dict[str, list[Key]] = {
            "A": [("Z", l - 1)],
            "Z": [("A", l)],
            "delta": [("A", l), after],
            "dW": [("Z", l - 1), ("delta", l)],
            "W_new": [("dW", l)],
            "loss": [("Z", L)],
        }
        return of[q]

    def would_be(self, wrong: Mapping[str, Wrap], key: Key, fault: Fault | None) -> Floats | None:
        """What a fault makes of a step, on the trace's own operands; None where it does not fit."""
        quantity, l = key
        try:
            if fault is not None and quantity in fault.looks:
                found = np.asarray(fault.looks[quantity](self.state.copy(), l), float)
            else:
                found = np.asarray(outcome(self.state, planted(wrong), quantity, l), float)
        except (KeyError, ValueError, ArithmeticError):
            return None
        return found if found.shape == self.suspects[key].right.shape else None

    def touches(self, wrong: Mapping[str, Wrap], quantity: str) -> bool:
        """Whether a fault changes how a quantity is made."""
        return bool(set(INSIDE.get(quantity, (quantity,))) & set(wrong))


@dataclass
class _Guess:
    """A fault, the blamed steps that it explains, and those that it would have spoilt and that are right."""

    fault: Fault
    explains: list[Key]
    spares: list[Key]


def diagnosis(
    subject: Subject, like: str, ran: Runs, result: Result, rounded: bool | None = None
) -> tuple[list[StepRow], list[Finding]]:
    """(blame, findings) for what deviates; both empty where there is nothing to go by. `rounded` as for
    `judge`."""
    with np.errstate(all="ignore"):
        case = _under_suspicion(subject, like, ran, result, rounded)
        if case.blamed:
            blame = [StepRow(quantity=s.quantity, layer=s.layer) for s in case.blamed]
            order = [tuple(step.values()) for step in blame]
            return blame, sorted(
                _findings(case), key=lambda f: order.index(tuple(f["steps"][0].values()))
            )
        first = result["first_deviation"]
        if first is None or first["gate"] == "repeat":
            return [], [_unrepeated()] if first is not None else []
        if first["gate"] == "exact":
            return _exactly(case, first["quantity"], first["layer"])
        blame = [StepRow(quantity=first["quantity"], layer=first["layer"])]
        return blame, list(_as_a_whole(subject, case, result, blame))


def _under_suspicion(
    subject: Subject, like: str, ran: Runs, result: Result, rounded: bool | None
) -> _Case:
    """The run to look at: the one after another batch, if that made a difference; or one example."""
    gates = {r["gate"] for r in result["records"] if float(r["ratio"]) > 1}
    if "repeat" in gates and ran.again is not None:
        again = _Case(subject, like, ran.again, ran.between, rounded)
        again.earlier = ran.first
        if again.blamed:
            return again
    case = _Case(subject, like, ran.first, None, rounded)
    if not case.blamed and gates == {"row"} and subject.alone is not None and ran.alone is not None:
        alone = _Case(subject.alone, like, ran.alone, None, rounded)
        alone.batch = case
        return alone
    return case


# --- one fault ------------------------------------------------------------------------------------


def _guesses(case: _Case) -> Iterator[_Guess]:
    """Every fault that explains something."""
    for fault in FAULTS.values():
        explains = [s.key for s in case.blamed if _explains(case, fault, s)]
        if explains:
            spares = [*_spared(case, fault), *(_spared(case.batch, fault) if case.batch else ())]
            yield _Guess(fault, explains, spares)


def _explains(case: _Case, fault: Fault, s: Suspect) -> bool:
    if s.quantity not in fault.looks and not case.touches(fault.wrong, s.quantity):
        return False
    found = case.would_be(fault.wrong, s.key, fault)
    if found is not None and s.differs(found) and s.explained(found, case.u):
        return True
    for wrong in _fitted(case, fault, s):
        found = case.would_be(wrong, s.key, None)
        if found is not None and s.differs(found) and s.explained(found, case.u):
            return True
    return False


def _fitted(case: _Case, fault: Fault, s: Suspect) -> list[Mapping[str, Wrap]]:
    """The fault with another number in it than the table's, where it has one."""
    try:
        return list(FITTED[fault.name](case.state, s)) if fault.name in FITTED else []
    except (KeyError, ValueError, ArithmeticError):
        return []


def _spared(case: _Case, fault: Fault) -> Iterator[Key]:
    """Steps that it would have made wrong, and that are right."""
    blamed = {s.key for s in case.blamed}
    for s in case.suspects.values():
        if s.key in blamed or not case.touches(fault.wrong, s.quantity):
            continue
        found = case.would_be(fault.wrong, s.key, None)
        if found is not None and s.differs(found):
            yield s.key


def _findings(case: _Case) -> Iterator[Finding]:
    """The fewest faults that explain the blamed steps; two in one step; else the pattern."""
    left = [s.key for s in case.blamed]
    guesses = list(_guesses(case))
    while guesses and left:
        best = max(
            guesses,
            key=lambda g: (not g.spares, len(set(g.explains) & set(left))),
        )
        explained = [k for k in left if k in best.explains]
        guesses.remove(best)
        if explained:
            left = [k for k in left if k not in explained]
            yield _named(case, [best.fault], explained, alone=bool(best.spares))
    yield from _pairs(case, left)
    yield from _random(case, left)
    yield from _patterns(case, left)


def _random(case: _Case, left: list[Key]) -> Iterator[Finding]:
    """A step that gives something else on the same operands. Takes what it explains out of `left`."""
    if case.earlier is None:
        return
    before, l = case.earlier, left[0][1] if left else 0
    if not left or left[0][0] not in ("A", "Z"):
        return
    quantity = left[0][0]
    operand = "Z" if quantity == "A" else "A"
    at = l - 1 if quantity == "A" else l
    same = at == 0 or np.array_equal(case.t.layers(operand)[at], before.layers(operand)[at])
    if same and not np.array_equal(case.t.layers(quantity)[l], before.layers(quantity)[l]):
        explained = [k for k in left if k[0] == quantity]
        left[:] = [k for k in left if k[0] != quantity]
        yield _named(case, [FAULTS["noise"]], explained)


# --- two at once ----------------------------------------------------------------------------------


def _pairs(case: _Case, left: list[Key]) -> Iterator[Finding]:
    """Two faults in one step, one inside the other. Takes what it explains out of `left`."""
    if not left or case.p.depth > DEEPEST:
        return
    first = case.suspects[left[0]]
    for inner, outer in _pairs_in(case, first):
        explained = [k for k in left if _both_explain(case, inner, outer, case.suspects[k])]
        if explained:
            left[:] = [k for k in left if k not in explained]
            yield _named(case, [inner, outer], explained)
            return


def _pairs_in(case: _Case, s: Suspect) -> Iterator[tuple[Fault, Fault]]:
    """Those that could both be in that step, and do something there."""
    able = []
    for fault in FAULTS.values():
        if case.touches(fault.wrong, s.quantity) and fault.gate != "exact":
            found = case.would_be(fault.wrong, s.key, None)
            if found is not None and s.differs(found):
                able.append(fault)
    yield from permutations(able, 2)


def _both_explain(case: _Case, inner: Fault, outer: Fault, s: Suspect) -> bool:
    try:
        steps = planted(inner.wrong, outer.wrong)
        found = np.asarray(outcome(case.state, steps, s.quantity, s.layer), float)
    except (KeyError, ValueError, ArithmeticError):
        return False
    return s.differs(found) and s.explained(found, case.u)


# --- where no step can be judged alone ------------------------------------------------------------


def _as_a_whole(
    subject: Subject, case: _Case, result: Result, blame: list[StepRow]
) -> Iterator[Finding]:
    """Whole networks with one fault, in every layer or in one, against what was returned."""
    wrong = _deviating(case, result)
    for fault, layers in _plantings(case.p.depth):
        if _outcome_is(case, _in_layers(fault, layers), subject, wrong):
            yield _named(case, [fault], [(fault.shows, l) for l in layers])
            return
    first = blame[0]
    yield _described(
        case, [(first["quantity"], first["layer"])], "", _end_to_end(subject, case, first)
    )


def _deviating(case: _Case, result: Result) -> set[Key]:
    return {
        (r["quantity"], r["layer"])
        for r in result["records"]
        if r["gate"] == "end-to-end" and float(r["ratio"]) > 1
    }


def _plantings(L: int) -> Iterator[tuple[Fault, Sequence[int]]]:
    """Each fault wherever it can be, then in the hidden layers alone, then in one."""
    can_be = {"L": [L], "<L": range(L - 1, 0, -1), ">1": range(L, 1, -1), "any": range(L, 0, -1)}
    for some in (range(L, 0, -1), range(L - 1, 0, -1), *([l] for l in range(L, 0, -1))):
        for fault in FAULTS.values():
            layers = [l for l in can_be[fault.where] if l in some]
            if layers and (len(some) == L or not fault.looks):
                yield fault, layers


def _in_layers(fault: Fault, layers: Sequence[int]) -> Mapping[str, Wrap]:
    """The fault in some layers alone."""
    return {k: _only(w, layers) for k, w in fault.wrong.items()}


def _only(wrap: Wrap, layers: Sequence[int]) -> Wrap:
    def wrapped(right: Any) -> Any:
        wrong = wrap(right)

        def step(s: State, l: int | None = None, *more: Any) -> Any:
            if l is None:  # of the loss and its gradient, at L
                return (wrong if s.L in layers else right)(s)
            return (wrong if l in layers else right)(s, l, *more)

        return step

    return wrapped


def _outcome_is(
    case: _Case, wrong: Mapping[str, Wrap], subject: Subject, deviating: set[Key]
) -> bool:
    """Whether a network with that in it returns what was returned."""
    try:
        found = Loop(planted(wrong)).run(case.p)
    except (ValueError, ArithmeticError, KeyError):
        return False
    truth, differs = subject.truth(subject.amend(())), False
    for q in QUANTITIES:
        for l, M in case.t.layers(q).items():
            value, other = M.astype(float), found.layers(q)[l].astype(float)
            right = getattr(truth, q)[l].hi
            size = float(np.abs(other).max(initial=0)) or 1.0
            if not bool((np.abs(value - other) <= 2**12 * case.u * size).all()):
                return False
            differs |= (q, l) in deviating and bool(
                (np.abs(other - right) > 2**13 * case.u * size).any()
            )
    return differs


def _end_to_end(subject: Subject, case: _Case, first: StepRow) -> Suspect:
    truth = subject.truth(subject.amend(()))
    q, l = first["quantity"], first["layer"]
    if q == "loss":
        value, right = np.asarray(case.t.loss, float), truth.loss.hi
    else:
        value, right = np.asarray(case.t.layers(q)[l], float), getattr(truth, q)[l].hi
    return Suspect(q, l, value, right, 2**12 * case.u * np.abs(right))


# --- what is said ---------------------------------------------------------------------------------


def _exactly(case: _Case, quantity: str, l: int) -> tuple[list[StepRow], list[Finding]]:
    """Where no error is allowed, and there is one within rounding."""
    blame = [StepRow(quantity=quantity, layer=l)]
    value = case.t.loss if quantity == "loss" else case.t.layers(quantity)[l]
    for fault in FAULTS.values():
        found = case.would_be(fault.wrong, (quantity, l), None)
        if (
            fault.gate == "exact"
            and found is not None
            and (found == np.asarray(value, float)).all()
        ):
            return blame, [_named(case, [fault], [(quantity, l)])]
    text = (
        f"layer {l}: {SYMBOLS[quantity]} is off in the last bits, where every sum fits the significand: "
        "the arithmetic is not the one declared."
    )
    return blame, [
        Finding(fault="", steps=blame, text=text, suggestion="Look for TF32, or a fast-math flag.")
    ]


def _unrepeated() -> Finding:
    return Finding(
        fault="sum-order-varies",
        steps=[],
        text="the same input gives other bits the second time, each time within rounding: sums are taken "
        "in another order.",
        suggestion=FAULTS["sum-order-varies"].hint,
    )


def _where(keys: Sequence[Key], L: int) -> str:
    layers = list(dict.fromkeys(l for _, l in keys))
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if len(layers) == L:
        return "every layer"
    if len(layers) > 3 and abs(layers[0] - layers[-1]) == len(layers) - 1:
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def _filled(template: str, keys: Sequence[Key], L: int) -> str:
    """A formula for one layer, or for all of them."""
    if len({at for _, at in keys}) > 1:
        l, m, k = "l", "{l+1}", "{l−1}"
        G = "∂L/∂Z_l" if any(at == L for _, at in keys) else "(δ_{l+1} W_{l+1}ᵀ)"
    else:
        at = keys[0][1]
        l, m, k = str(at), str(at + 1), str(at - 1)
        G = f"∂L/∂Z_{at}" if at == L else f"(δ_{m} W_{m}ᵀ)"
    return template.format(l=l, m=m, k=k, G=G)


def _named(
    case: _Case, faults: Sequence[Fault], explained: Sequence[Key], alone: bool = False
) -> Finding:
    """A fault, or two of them, in words."""
    L = case.p.depth
    keys = [k for k in explained if k[0] == faults[0].shows] or explained
    symbol = SYMBOLS[keys[0][0]]
    where = f"{_where(keys, L)}: " if keys[0][0] != "loss" else ""
    whats = ", and ".join(f.what for f in faults)
    formula = (
        f"{symbol} equals {_filled(faults[0].equals, keys, L)}" if len(faults) == 1 else symbol
    )
    only = "; in the other layers it is right" if alone else ""
    return Finding(
        fault=" + ".join(f.name for f in faults),
        steps=[StepRow(quantity=q, layer=l) for q, l in explained],
        text=f"{where}{formula}: {whats}{only}.",
        suggestion=faults[0].hint if len(faults) == 1 else " ".join(f.hint for f in faults),
    )


def _patterns(case: _Case, left: Sequence[Key]) -> Iterator[Finding]:
    """What is left, a quantity at a time: of several layers, the first in the order of the algorithm."""
    for quantity in dict.fromkeys(q for q, _ in left):
        keys = [k for k in left if k[0] == quantity]
        yield _described(case, keys, "", case.suspects[keys[0]])


def _described(case: _Case, keys: Sequence[Key], fault: str, s: Suspect) -> Finding:
    text, suggestion = pattern(
        s.value, s.right, s.tolerance, case.p, case.state.A.get(s.layer), s.quantity
    )
    where = "" if s.quantity == "loss" else f"layer {s.layer}: "
    more = f" (and in {_where(keys[1:], 0)})" if len(keys) > 1 else ""
    return Finding(
        fault=fault,
        steps=[StepRow(quantity=q, layer=l) for q, l in keys],
        text=f"{where}{SYMBOLS[s.quantity]} equals the outcome of no known mistake; {text}{more}.",
        suggestion=suggestion,
    )
