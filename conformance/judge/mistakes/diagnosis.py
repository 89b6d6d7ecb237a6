"""From a deviation to what it looks like: which steps are to blame, and which mistake gives exactly that.

The step gate says which steps are wrong given their own operands: this separates independent mistakes, and
blames no consequences. Each such step is compared with what every fault of `mistakes.table` would have given
on the same operands; then with two faults at once; then the error's pattern is described. Where a trace
leaves operands out, no step can be judged alone: then what it has is compared with whole networks that have a
fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from conformance.judge.comparison import Key
from conformance.judge.gates import right_as_a_whole, steps_of
from conformance.judge.mistakes.fitted import FITTED
from conformance.judge.mistakes.loop import Loop, State, Step, Wrap, outcome, planted, state_of
from conformance.judge.mistakes.pattern import pattern
from conformance.judge.mistakes.suspect import Suspect
from conformance.judge.mistakes.table import FAULTS, Fault
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Floats, Runs, Trace
from conformance.model.results import SYMBOLS, Finding, Result
from conformance.model.results import Step as StepRow
from conformance.truth.definitions import ROW_WISE
from conformance.truth.rounding import Reals

__all__ = ["diagnosis"]

# layers of the deepest network in which two faults in one step are looked for, which is slow
DEEPEST = 5
# the steps that make a quantity, if they are not its own alone
INSIDE = {"delta": ("G", "G_L", "delta")}
NOTHING = (
    "delta-never-computed", "gradient-never-computed", "columns-lost", "bias-gradient-missing",
    "update-in-half", "update-missing", "update-output-layer-missing", "gradient-small-zeroed",
)  # fmt: skip
"""Faults that make 0 of what is not 0."""
CANNOT = (KeyError, ValueError, ArithmeticError)
"""Faults that give 0 for numbers that are not 0."""


class _Case:
    """What the computation of a fault raises on operands that it does not fit, or that are missing."""

    def __init__(
        self,
        subject: Subject,
        like: str,
        t: Trace,
        past: Trace | None,
        rounded: bool | None = None,
    ) -> None:
        p = self.p = subject.problem
        self.u = float(np.finfo(p.dtype).eps) / 2
        self.t = t
        self.state = state_of(p, t, None if past is None else state_of(p.another_batch(), past))
        judged = steps_of(subject, like, t, rounded)
        self.suspects = {j.key: Suspect.of(j) for j in judged}
        self.right = right_as_a_whole(subject, like, t)
        wrong = {j.key for j in judged if j.verdict == "deviates"}
        self.blamed = [
            s for k, s in self.suspects.items() if k in wrong and not self._follows(s, wrong)
        ]
        self.batch: _Case | None = None  # the whole batch, if that is right
        self.earlier: Trace | None = None  # the trace of the same input in an earlier run

    def _follows(self, s: Suspect, wrong: set[Key]) -> bool:
        """Whether a step is wrong on its operands only because one of them is not the one that it was
        computed from.

        That is so if the step is right end to end and an operand is wrong, or if an operand is not finite.
        """
        operands = [k for k in self._operands(s) if k in self.suspects]
        if any(not np.isfinite(self.suspects[k].value).all() for k in operands):
            return True
        return s.key in self.right and any(k in wrong or k not in self.right for k in operands)

    def _operands(self, s: Suspect) -> list[Key]:
        """The quantities that a step is computed from."""
        q, l, L = s.quantity, s.layer, self.p.depth
        after = ("Z", L) if l == L else ("delta", l + 1)
        operands: dict[str, list[Key]] = {
            "A": [("Z", l - 1)],
            "Z": [("A", l)],
            "delta": [("A", l), after],
            "dW": [("Z", l - 1), ("delta", l)],
            "W_new": [("dW", l)],
            "loss": [("Z", L)],
        }
        return operands[q]

    def outcome_of(self, steps: Mapping[str, Step], s: Suspect) -> Reals | None:
        """What wrong steps give for a quantity, on the trace's own operands; None if they do not fit."""
        try:
            found = np.asarray(outcome(self.state, steps, s.quantity, s.layer), float)
        except CANNOT:
            return None
        return found if found.shape == s.right.shape else None

    def would_spoil(self, fault: Fault, s: Suspect) -> bool:
        """Whether a fault changes a quantity by more than rounding."""
        if not self.touches(fault, s.quantity):
            return False
        found = self.outcome_of(planted(fault.wrong), s)
        return found is not None and s.would_differ(found)

    def touches(self, fault: Fault, quantity: str) -> bool:
        """Whether a fault changes a step that makes a quantity."""
        return not set(fault.wrong).isdisjoint(INSIDE.get(quantity, (quantity,)))


@dataclass
class _Guess:
    """A fault, the blamed steps that it explains, and the right steps that it would have made wrong."""

    fault: Fault
    explains: list[Key]
    spares: list[Key]


def diagnosis(
    subject: Subject, like: str, ran: Runs, result: Result, rounded: bool | None = None
) -> tuple[list[StepRow], list[Finding]]:
    """(blame, findings) for what deviates; both empty if nothing can be said of it. `rounded` as for
    `judge`."""
    with np.errstate(all="ignore"):
        case = _under_suspicion(subject, like, ran, result, rounded)
        if case.blamed:
            keys = [s.key for s in case.blamed]
            findings = sorted(_findings(case), key=lambda f: keys.index(_key(f["steps"][0])))
            return _steps(keys), findings
        first = result["first_deviation"]
        if first is None:
            return [], []
        if first["gate"] == "repeat":
            return [], [_unrepeated()]
        key = first["quantity"], first["layer"]
        if first["gate"] == "exact":
            return _steps([key]), [_inexact(case, key)]
        return _steps([key]), [_as_a_whole(subject, case, result, key)]


def _steps(keys: Sequence[Key]) -> list[StepRow]:
    return [StepRow(quantity=q, layer=l) for q, l in keys]


def _key(step: StepRow) -> Key:
    return step["quantity"], step["layer"]


def _under_suspicion(
    subject: Subject, like: str, ran: Runs, result: Result, rounded: bool | None
) -> _Case:
    """The run to examine: the one after another batch, if that made a difference; or that of one example;
    else the first."""
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
    """Every fault that explains a blamed step."""
    for fault in FAULTS.values():
        explains = [s.key for s in case.blamed if _explains(case, fault, s) and _tells(fault, s)]
        if explains:
            spares = [*_spared(case, fault), *(_spared(case.batch, fault) if case.batch else ())]
            yield _Guess(fault, explains, spares)


def _tells(fault: Fault, s: Suspect) -> bool:
    """Whether a match with the fault says anything: if all values are 0, many faults fit, and only those of
    NOTHING are meant."""
    return bool(s.value.any()) or fault.name in NOTHING


def _explains(case: _Case, fault: Fault, s: Suspect) -> bool:
    """Whether the value is what the fault gives, with the number in its row or with another one."""
    if s.quantity in fault.looks:
        found = _overwritten(case, fault, s)
    elif case.touches(fault, s.quantity):
        found = case.outcome_of(planted(fault.wrong), s)
    else:
        return False
    return s.is_explained_by(found, case.u) or any(
        s.is_explained_by(case.outcome_of(planted(wrong), s), case.u)
        for wrong in _fitted(case, fault, s)
    )


def _overwritten(case: _Case, fault: Fault, s: Suspect) -> Reals | None:
    """What a fault that overwrites a quantity leaves in its place; None if it does not fit."""
    try:
        found = np.asarray(fault.looks[s.quantity](case.state.copy(), s.layer), float)
    except CANNOT:
        return None
    return found if found.shape == s.right.shape else None


def _fitted(case: _Case, fault: Fault, s: Suspect) -> list[Mapping[str, Wrap]]:
    """The fault with another number than its row has, if it has one."""
    try:
        return list(FITTED[fault.name](case.state, s)) if fault.name in FITTED else []
    except CANNOT:
        return []


def _spared(case: _Case, fault: Fault) -> Iterator[Key]:
    """Steps that the fault would have made wrong, but that are right."""
    blamed = {s.key for s in case.blamed}
    for s in case.suspects.values():
        if s.key not in blamed and case.would_spoil(fault, s):
            yield s.key


def _findings(case: _Case) -> Iterator[Finding]:
    """The fewest faults that explain the blamed steps; then two faults in one step; then the pattern."""
    left = [s.key for s in case.blamed]
    guesses = list(_guesses(case))
    while guesses and left:
        best = max(guesses, key=lambda g: (not g.spares, len(set(g.explains) & set(left))))
        explained = [k for k in left if k in best.explains]
        guesses.remove(best)
        if explained:
            left = [k for k in left if k not in explained]
            finding = _named(case, [best.fault], explained, alone=bool(best.spares))
            also = [g.fault.name for g in guesses if not g.spares and {*explained} <= {*g.explains}]
            yield {**finding, "also": also} if also else finding
    yield from _pairs(case, left)
    yield from _random(case, left)
    yield from _patterns(case, left)


def _random(case: _Case, left: list[Key]) -> Iterator[Finding]:
    """A step of the forward pass that gives another result on the same operands. Removes what it explains
    from `left`."""
    if case.earlier is None or not left or left[0][0] not in ("A", "Z"):
        return
    quantity, l = left[0]
    operand, at = ("Z", l - 1) if quantity == "A" else ("A", l)
    before, after = case.earlier, case.t
    same = at == 0 or np.array_equal(after.layers(operand)[at], before.layers(operand)[at])
    if same and not np.array_equal(after.layers(quantity)[l], before.layers(quantity)[l]):
        explained = [k for k in left if k[0] == quantity]
        left[:] = [k for k in left if k[0] != quantity]
        yield _named(case, [FAULTS["noise"]], explained)


# --- two at once ----------------------------------------------------------------------------------


def _pairs(case: _Case, left: list[Key]) -> Iterator[Finding]:
    """Two faults in one step, the second wrapped around the first. Removes what they explain from `left`."""
    if not left or case.p.depth > DEEPEST:
        return
    first = case.suspects[left[0]]
    able = [f for f in FAULTS.values() if f.gate != "exact" and case.would_spoil(f, first)]
    able = [f for f in able if not f.name.endswith("never-computed")]  # it leaves nothing to spoil
    for inner, outer in permutations(able, 2):
        steps = planted(inner.wrong, outer.wrong)
        explained = [
            k
            for k in left
            if (s := case.suspects[k]).is_explained_by(case.outcome_of(steps, s), case.u)
        ]
        if explained:
            left[:] = [k for k in left if k not in explained]
            yield _named(case, [inner, outer], explained)
            return


# --- where no step can be judged alone ------------------------------------------------------------


def _as_a_whole(subject: Subject, case: _Case, result: Result, first: Key) -> Finding:
    """The fault with which a whole network, in every layer or in some, returns what was returned; else the
    pattern of the first deviation."""
    deviating = {
        (r["quantity"], r["layer"])
        for r in result["records"]
        if r["gate"] == "end-to-end" and float(r["ratio"]) > 1
    }
    whole = _Whole(case, subject, deviating)
    for fault, layers in _plantings(case.p.depth):
        if whole.is_that_of(fault, layers):
            return _named(case, [fault], [(fault.shows, l) for l in layers])
    return _described(case, [first], _end_to_end(subject, case, first))


def _plantings(L: int) -> Iterator[tuple[Fault, Sequence[int]]]:
    """Each fault in all layers where it can be, then in the hidden layers alone, then in one."""
    can_be = {"L": [L], "<L": range(L - 1, 0, -1), ">1": range(L, 1, -1), "any": range(L, 0, -1)}
    seen = set()
    for some in (range(L, 0, -1), range(L - 1, 0, -1), *([l] for l in range(L, 0, -1))):
        for fault in FAULTS.values():
            layers = [l for l in can_be[fault.where] if l in some]
            planting = fault.name, *layers
            if layers and (len(some) == L or not fault.looks) and planting not in seen:
                seen.add(planting)
                yield fault, layers


def _in_layers(fault: Fault, layers: Sequence[int]) -> Mapping[str, Wrap]:
    """The fault in some layers alone."""
    return {k: _only(w, layers) for k, w in fault.wrong.items()}


def _only(wrap: Wrap, layers: Sequence[int]) -> Wrap:
    def wrapped(right: Step) -> Step:
        wrong = wrap(right)

        def step(s: State, l: int | None = None, *G: Floats) -> Floats:
            if l is None:  # the loss and its gradient, which belong to layer L
                return (wrong if s.L in layers else right)(s)
            return (wrong if l in layers else right)(s, l, *G)

        return step

    return wrapped


class _UnlikeError(Exception):
    """A step gave something other than what was returned."""


class _Whole:
    """What a trace returned, to be compared with whole networks."""

    def __init__(self, case: _Case, subject: Subject, deviating: set[Key]) -> None:
        self.case, self.deviating = case, deviating
        self.truth = subject.truth(subject.amend(()))
        self.right = Loop().run(case.p)

    def is_that_of(self, fault: Fault, layers: Sequence[int]) -> bool:
        """Whether a network with the fault in these layers returns the same as the trace."""
        wrong = _in_layers(fault, layers)
        try:
            if fault.looks:  # it replaces what was computed before
                planted_trace = Loop(planted(wrong)).run(self.case.p)
            else:
                forward = {} if {"A", "Z"} & set(wrong) else {q: self._as_before(q) for q in "AZ"}
                steps = planted(forward, wrong, self._stopping())
                planted_trace = Loop(steps).run(self.case.p)
        except (_UnlikeError, *CANNOT):
            return False
        return self._is(planted_trace)

    def _as_before(self, quantity: str) -> Wrap:
        """A_l and Z_l of the right network, which need not be computed again."""
        found = self.right.layers(quantity)
        return lambda step: lambda s, l, *G: found[l].copy()

    def _stopping(self) -> Mapping[str, Wrap]:
        """Steps that raise _UnlikeError when they give something other than what was returned: most faults
        differ in the first layer."""

        def of(quantity: str) -> Wrap:
            returned = self.case.t.layers(quantity)

            def wrap(step: Step) -> Step:
                def stopping(s: State, l: int, *G: Floats) -> Floats:
                    found = step(s, l, *G)
                    if l in returned and not self._alike(returned[l], found):
                        raise _UnlikeError
                    return found

                return stopping

            return wrap

        return {q: of(q) for q in QUANTITIES}

    def _alike(self, value: Floats, other: Floats) -> bool:
        value, other = value.astype(float), np.asarray(other, float)
        size = float(np.abs(other).max(initial=0)) or 1.0
        return bool((np.abs(value - other) <= 2**12 * self.case.u * size).all())

    def _is(self, planted_trace: Trace) -> bool:
        differs = False
        for q in QUANTITIES:
            for l, value in self.case.t.layers(q).items():
                other = planted_trace.layers(q)[l].astype(float)
                if not self._alike(value, other):
                    return False
                size = float(np.abs(other).max(initial=0)) or 1.0
                off = np.abs(other - self.truth.layers(q)[l].hi)
                differs |= (q, l) in self.deviating and bool(
                    (off > 2**13 * self.case.u * size).any()
                )
        return differs


def _end_to_end(subject: Subject, case: _Case, key: Key) -> Suspect:
    """A quantity compared with its exact value."""
    truth = subject.truth(subject.amend(()))
    q, l = key
    right = truth.loss.hi if q == "loss" else truth.layers(q)[l].hi
    return Suspect(q, l, _value(case.t, key), right, 2**12 * case.u * np.abs(right))


def _value(t: Trace, key: Key) -> Reals:
    return np.asarray(t.loss if key[0] == "loss" else t.layers(key[0])[key[1]], float)


# --- in words -------------------------------------------------------------------------------------


def _inexact(case: _Case, key: Key) -> Finding:
    """The finding where no error is allowed, and there is one within rounding."""
    quantity, l = key
    suspect = case.suspects.get(key)  # None where its operands were not returned
    for fault in (f for f in FAULTS.values() if f.gate == "exact"):
        found = case.outcome_of(planted(fault.wrong), suspect) if suspect else None
        if found is not None and (found == _value(case.t, key)).all():
            return _named(case, [fault], [key])
    return Finding(
        fault="",
        steps=_steps([key]),
        text=f"layer {l}: {SYMBOLS[quantity]} is off in the last bits, where every sum fits the "
        "significand: the arithmetic is not the one declared.",
        suggestion="Look for TF32, or a fast-math flag.",
    )


def _unrepeated() -> Finding:
    return Finding(
        fault="sum-order-varies",
        steps=[],
        text="the same input gives other bits the second time, each time within rounding: sums are taken "
        "in another order.",
        suggestion=FAULTS["sum-order-varies"].hint,
    )


def _where(keys: Sequence[Key], L: int) -> str:
    """The layers, in words: "layer 2", "layers 3 to 1", "every layer"."""
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
        steps=_steps(explained),
        text=f"{where}{formula}: {whats}{only}.",
        suggestion=" ".join(f.hint for f in faults),
    )


def _patterns(case: _Case, left: Sequence[Key]) -> Iterator[Finding]:
    """A finding for each quantity that is left: the pattern of its first layer in the algorithm's order."""
    for quantity in dict.fromkeys(q for q, _ in left):
        keys = [k for k in left if k[0] == quantity]
        yield _described(case, keys, case.suspects[keys[0]])


def _beyond_exp(case: _Case) -> str:
    """The layer, in words, whose softmax has rows with exponentials that overflow or are all 0; "" if none
    has."""
    p = case.p
    rows = [l for l in p.sigma if p.sigma[l] in ROW_WISE]
    with np.errstate(all="ignore"):
        A = Loop().run(p).A if rows else {}
    for l in rows:
        top = A[l].max(axis=-1)
        if (np.abs(top) > np.log(np.finfo(p.dtype).max)).any():
            return f"exp overflows, or is 0 throughout a row, in the {p.sigma[l]} of layer {l}"
    return ""


def _described(case: _Case, keys: Sequence[Key], s: Suspect) -> Finding:
    """A deviation that no fault explains, by the pattern of its error."""
    text, suggestion = pattern(
        s.value, s.right, s.tolerance, case.p, case.state.A.get(s.layer), s.quantity
    )
    if np.isnan(s.value).any() and (row := _beyond_exp(case)):
        text, suggestion = f"{text}: {row}", "Subtract the maximum of each row before exp."
    where = "" if s.quantity == "loss" else f"layer {s.layer}: "
    more = f" (and in {_where(keys[1:], 0)})" if len(keys) > 1 else ""
    return Finding(
        fault="",
        steps=_steps(keys),
        text=f"{where}{SYMBOLS[s.quantity]} equals the outcome of no known mistake; {text}{more}.",
        suggestion=suggestion,
    )
