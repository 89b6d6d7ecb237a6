"""Each way to a value or a derivative, in one dtype, compared with the certified one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from conformance.commands.activation.bounds import (
    Mask,
    Precision,
    continued,
    hulls,
    reach,
    rounded_argument,
    scale,
    unseen_derivative,
    unseen_value,
)
from conformance.commands.activation.branches import Branch
from conformance.commands.activation.curve import Curve
from conformance.commands.activation.facts import Facts
from conformance.commands.activation.findings import Finding, finding
from conformance.commands.activation.known import concerning, measured, says
from conformance.commands.activation.lookalikes import looks_like
from conformance.commands.activation.messages import Differentiated
from conformance.commands.activation.trial import FAR, Trial, Way
from conformance.truth.rounding import Reals

__all__ = ["InDtype"]

REMOTE = 1e100  # beyond, in float64, a square soon overflows
NEAR = 80.0  # e^80 is a number of float32: up to here σ has no good reason to overflow

Judged = tuple[list[Finding], Way, Trial]


def _as_compared(facts: Facts) -> list[Branch]:
    """The branch points of σ, each with the larger `reach` of σ and σ', since both are compared there."""
    own = {b.at: b.reach for b in facts.branches.get("derivative", [])}
    truth = facts.branches.get("truth", [])
    return [replace(b, reach=max(b.reach, own.get(b.at, 0.0))) for b in truth]


class InDtype(NamedTuple):
    """What is known in one dtype, with the certified σ and σ'. `judge` calls it with NumPy's warnings off."""

    facts: Facts
    p: Precision
    x: Reals
    c: Curve  # continued across smooth branch points
    low: Reals  # the derivatives allowed: one, or at kinks all between the one-sided ones
    high: Reals
    touched: Mask
    name: str  # the known activation that σ is, or ""
    # what its row of accuracy.toml allows code that cannot be evaluated on balls
    row: Mapping[str, Reals]

    @classmethod
    def of(cls, facts: Facts, dtype: str, name: str) -> InDtype:
        """What is known in a dtype in which σ is certified."""
        of, x, p = _as_compared(facts), facts.x[dtype], Precision.of(dtype)
        c = continued(facts.curves["truth", dtype], of, x)
        value, first = measured(name, c, x, p)
        row = {"value": value, "derivative": first}
        return cls(facts, p, x, c, *hulls(of, x, c.first.hi, p), name, row)

    def judged(self) -> list[Judged]:
        """Every way to a value or a derivative, judged."""
        each: list[Judged] = []
        if (got := self.facts.values.get(("sigma", self.p.name))) is not None:
            each.append(self._own_value(self._value("sigma", got)))
        if (got := self.facts.values.get(("derivative", self.p.name))) is not None:
            each.append(self._own_derivative(got))
        for way in ("torch", "jax"):
            if (way, self.p.name) in self.facts.autodiff:
                each += self._autodiff(way)
        return each

    # --- trials

    def _value(self, of: str, got: Reals) -> Trial:
        p, c = self.p, self.c
        own = self.facts.curves.get(("sigma", p.name), c)
        if of == "sigma" and "sigma" not in self.facts.unsupported:
            allowed = own.tolerance(p.u, p.normal) + self._underflow()
            allowed = allowed if own is c else allowed + 4 * p.u * np.abs(c.value.hi)
        else:
            allowed = np.maximum(unseen_value(c, self.x, p), self.row["value"])
        return Trial(
            self.facts.spec, of, "value", p, self.x, got, c.value, *self._across_jumps(), allowed,
            scale(c, self.x), rounded_argument(c.value.hi, c.first.hi, self.x, p),
        )  # fmt: skip

    def _underflow(self) -> Reals:
        """What is lost if an intermediate of 1/(1 + e^{−x}) overflows: it leaves 0, where the truth is just
        above `normal`."""
        return np.asarray(4 * self.p.normal * (1 + np.minimum(np.abs(self.x), 1e6)))

    def _across_jumps(self) -> tuple[Reals, Reals, Mask]:
        """The values allowed: at a jump, every number between the one-sided ones."""
        low, high = self.c.value.hi.copy(), self.c.value.hi.copy()
        touched = np.zeros(len(self.x), bool)
        for b in self.facts.branches.get("truth", []):
            if b.kind == "jump":
                ulp = float(self.p.ulp(np.array([max(abs(b.at), self.p.normal)]))[0])
                at = np.abs(self.x - b.at) <= max(reach(b, self.p), 16 * ulp)
                values = [v for v in (b.left.value, b.right.value, b.value) if np.isfinite(v)]
                low[at] = np.fmin(low[at], min(values))
                high[at] = np.fmax(high[at], max(values))
                touched |= at
        return low, high, touched

    def _derivative(self, of: str, got: Reals, allowed: Reals) -> Trial:
        return Trial(
            self.facts.spec, of, "derivative", self.p, self.x, got, self.c.first, self.low, self.high,
            self.touched, allowed, scale(self.c, self.x),
            rounded_argument(self.c.first.hi, self.c.second, self.x, self.p),
        )  # fmt: skip

    # --- σ

    def _own_value(self, t: Trial) -> Judged:
        """σ in NumPy, compared with its own formula without rounding, or with another definition."""
        found, known = self._as_known("" if "sigma" in self.facts.unsupported else None, t)
        near = t.overflows & (np.abs(t.x) <= NEAR)
        wrong = t.off & (np.abs(t.x) <= FAR) & ~known
        # an overflow on the way may also leave a finite number that is wrong
        far = (t.overflows & ~near) | (t.off & ~wrong & ~known)
        lost = t.lost & ~t.off
        if "sigma" in self.facts.unsupported:  # it may be a framework's, whose losses are measured
            lost &= t.error > self.row["value"]
        if near.any() or t.holes.any():
            found.append(t.filled().worst("nan-value", near | t.holes))
        if wrong.any():
            found.append(t.worst(self._kind_of_value(t, wrong), wrong))
        if far.any():
            found.append(t.worst("overflow-value", far))
        if lost.any():
            found.append(t.loses_most(lost, self.name))
        bad = near | wrong | t.holes
        few = lost & (np.abs(t.x) <= FAR)
        verdict = _first_of(wrong=bad, overflows=far, inaccurate=few, known_difference=known)
        return found, t.way(verdict, bad | far, few), t

    def _kind_of_value(self, t: Trial, wrong: Mask) -> str:
        """The kind of finding: σ is another function than its definition, or the same in less precision."""
        small = t.error[wrong] <= 2.0**-20 * np.maximum(np.abs(t.exact.hi[wrong]), 1e-30)
        defined = "truth" in self.facts.spec.given
        return "wrong-value" if defined and not small.all() else "inaccurate-value"

    # --- σ'

    def _own_derivative(self, got: Reals) -> Judged:
        """σ' in NumPy: first its formula without rounding, then the numbers that it computes.

        `tail`: wrong, but only where σ' and the error are below the rounding errors of ordinary values.
        """
        p, c = self.p, self.c
        g = self.facts.curves.get(("derivative", p.name))
        unseen = np.maximum(unseen_derivative(c, self.x, p), self.row["derivative"])
        allowed = unseen
        if g is not None:
            seen = g.tolerance(p.u, p.normal) + 16 * p.u * np.abs(c.first.hi) + self._underflow()
            allowed = np.where(np.isnan(g.value.hi), unseen, seen)
        t = self._derivative("derivative", got, allowed)
        formula = t if g is None else self._derivative("derivative", g.value.hi, allowed)
        found, known = self._as_known("" if g is None else None, t)
        if g is None:
            wrong = t.off & ~known
        else:  # where its formula is not a number, only what it computes can be judged
            no_number = np.isnan(g.value.hi)
            wrong = (t.asked & self._formula_off(g)) | (t.off & no_number & ~known)
        floor = 2 * p.u * t.scale
        negligible = np.fmax(np.abs(self.low), np.abs(self.high)) <= floor
        negligible &= (t.error <= floor) & (np.abs(formula.got - c.first.hi) <= floor)
        tail = wrong & negligible
        # if only a clip (at ±300, say) or a guard (1e-300) shows, it is milder; but not beside a kink at 0
        size = np.abs(self.x)
        least = 0.0 if (self.touched & (self.x == 0)).any() else 1e-290
        remote = wrong & ((size > REMOTE) | ((size < least) & (size > 0)))
        wrong = wrong & ~tail & ~remote
        found += self._wrong(t, formula, wrong)
        if remote.any() and not wrong.any():
            found.append(formula.worst("far-overflow-derivative", remote))
        found += self._overflow(t)
        beyond = t.error > self.row["derivative"]
        if g is None:  # its formula cannot be evaluated on balls
            tail |= t.nothing_right & ~wrong & beyond
        if tail.any() and not wrong.any():
            found.append(t.worst("tail", tail, begins=True))
        if g is not None:
            found += self._against_formula(t, g)
        lost = t.lost & ~wrong & ~tail & ~remote & ~known & (beyond | (g is not None))
        near = lost & (np.abs(t.x) <= FAR)
        heavy = near & (t.error > math.sqrt(p.u) * np.maximum(t.scale, np.abs(t.low)))
        if heavy.any():
            found.append(t.worst("cancellation-derivative", heavy))
        elif lost.any() and not wrong.any():
            found.append(t.loses_most(lost, self.name))
        bad = wrong | (t.overflows & (np.abs(t.x) <= FAR)) | t.holes | heavy
        verdict = _first_of(
            overflows=t.overflows, inaccurate=near, tail=tail, known_difference=known
        )
        if any(f["severity"] == "error" for f in found):
            verdict = "wrong"
        return found, t.way(verdict, bad | t.overflows), t

    def _wrong(self, t: Trial, formula: Trial, wrong: Mask) -> Iterator[Finding]:
        """The finding of a wrong derivative, shown by what σ' computes if that is off, else by what its
        formula gives; if it is wrong at kinks alone, a finding of another kind."""
        at_kinks = wrong & self.touched & (self.low != self.high)
        if (wrong & ~at_kinks).any():
            like = looks_like(self.facts.lookalikes, self.low, self.high, t.got, self.x, wrong)
            computed = wrong & ~at_kinks & t.off
            shown, where = (t, computed) if computed.any() else (formula, wrong & ~at_kinks)
            yield shown.worst("wrong-derivative", where, looks_like=like)
        elif at_kinks.any():
            yield t.worst("outside-clarke", at_kinks)

    def _formula_off(self, g: Curve) -> Mask:
        """Where the formula of σ', in which only constants are rounded, is not the derivative."""
        c, exact = self.c, Precision.of("float64")
        off = self._derivative("derivative", g.value.hi, np.zeros(len(self.x))).error
        # both are certified to far more digits than hi alone holds
        finer = np.abs((g.value.hi - c.first.hi) + (g.value.lo - c.first.lo))
        off = np.where((self.low == self.high) & ~self.touched & np.isfinite(finer), finer, off)
        constants = 4 * (g.k + c.k1)
        room = exact.u * (constants + 16 * np.abs(c.first.hi) + 16 * np.abs(self.x * c.second))
        room += g.value.rad + c.first.rad + 4 * exact.normal * (1 + np.abs(self.x))
        return np.asarray(~np.isnan(g.value.hi) & (off > np.where(np.isnan(room), np.inf, room)))

    def _overflow(self, t: Trial) -> Iterator[Finding]:
        within = t.overflows & (np.abs(t.x) <= FAR)
        if within.any() or t.holes.any():
            yield t.filled().worst("overflow-derivative", within | t.holes)
        if (t.overflows & ~within).any():
            yield t.worst("far-overflow-derivative", t.overflows & ~within)

    def _against_formula(self, t: Trial, g: Curve) -> Iterator[Finding]:
        """Findings where σ' computes something other than its formula, by more than rounding explains."""
        room = g.tolerance(self.p.u, self.p.normal) + g.value.rad + self._underflow()
        beyond = g.value.distance(t.got) > room
        off = t.asked & ~self.touched & beyond & ~np.isnan(g.value.hi)
        near = off & (np.abs(t.x) <= FAR)
        if near.any():
            yield t.worst("inaccurate-derivative", near)
        if (off & ~near).any() and not t.overflows.any():
            yield t.worst("far-overflow-derivative", off & ~near)

    # --- torch and JAX

    def _autodiff(self, way: str) -> Iterator[Judged]:
        """Value and derivative of a framework: if they are wrong, it is an error only if the user wrote the
        code, or gave no σ'."""
        native, result = self.facts.native[way], self.facts.autodiff[way, self.p.name].result
        yield self._foreign(way, self._value(way, result.y.astype(np.float64)), native)
        allowed = unseen_derivative(self.c, self.x, self.p, way)
        allowed = np.maximum(allowed, self.row["derivative"])
        derivative = self._derivative(way, result.d.astype(np.float64), allowed)
        found, row, t = self._foreign(way, derivative, native)
        if native:
            found += self._backward_pass(way, result)
        yield found, row, t

    def _foreign(self, way: str, t: Trial, native: bool) -> Judged:
        """One quantity of a framework; `native`: from the user's own version for it."""
        spec = self.facts.spec
        decides = spec.decides(self.p.name) and (native or "derivative" not in spec.given)
        kinds = _kinds(t.what, native, decides)
        truth = np.where(np.isnan(t.exact.hi), 0, np.abs(t.exact.hi))
        skipped = (truth < self.p.normal) & (np.abs(t.got) <= self.p.normal) & (t.got != t.exact.hi)
        if way == "jax" or not native:
            # JAX flushes subnormal numbers to zero (jax#16200), and 0.2x of a small x is one
            skipped |= (t.x != 0) & (np.abs(t.x) < self.p.normal / self.p.u)
        t = replace(t, skipped=skipped)
        found, known = self._as_known(way if native else None, t)
        off = t.off & ~known
        # the user's own version is judged like their NumPy version: mildly far out, and near 0 by what that
        # formula may lose
        own = off & native
        remote = own & (np.abs(t.x) > (FAR if t.what == "value" else self._remote()))
        lossy = own & ~remote & (t.error <= self._as_formula(t.what))
        off = off & ~remote & ~lossy
        gross = off & (t.error > math.sqrt(self.p.u) * np.maximum(t.scale, truth))
        near = t.overflows & (np.abs(t.x) <= (FAR if t.what == "derivative" else NEAR))
        at_branch = off & np.isin(t.x, [b.at for b in self.facts.branches.get("truth", [])])
        if at_branch.any() and not native:
            found.append(t.worst("autodiff-branch", at_branch))
            off, gross = off & ~at_branch, gross & ~at_branch
        if off.any():
            like = ""
            if t.what == "derivative":
                like = looks_like(self.facts.lookalikes, t.low, t.high, t.got, t.x, off)
            kind = kinds["off"] if native or gross.any() else "autodiff-off"
            # its own formula for σ, so it is rounding
            severity = "inaccurate" if kind == "autodiff-off" and decides else ""
            if native and t.what == "derivative" and gross.any():
                kind = "wrong-derivative"  # in bfloat16 too, by its own u
            found.append(t.worst(kind, off, looks_like=like, severity=severity))
        if near.any():
            found.append(t.worst(kinds["near"], near))
        if (far := (t.overflows & ~near) | remote).any():
            severity = "note" if kinds["far"] == "autodiff-nan" else ""
            found.append(t.worst(kinds["far"], far, severity=severity))
        lost = t.nothing_right & ~at_branch & (t.error > self.row["derivative"])
        lost &= t.what == "derivative"
        wrong = lost & t.above_rounding & native
        if wrong.any():
            found.append(t.worst("wrong-derivative", wrong, begins=True))
        elif lost.any():  # a framework's own derivative is not what was to be judged
            found.append(t.worst("tail", lost, begins=True, severity="" if native else "note"))
        bad = off | at_branch | wrong
        verdict = _first_of(wrong=bad | near, overflows=far, tail=lost, known_difference=known)
        few = lossy & (np.abs(t.x) <= FAR)
        if t.what == "value":
            few |= t.lost & ~t.off & (t.error > self.row["value"]) & (np.abs(t.x) <= FAR)
        if verdict == "right" and few.any():
            if native:  # else it is σ's own formula, which has this finding already
                found.append(t.loses_most(few, self.name))
            return found, t.way("inaccurate", bad, few), t
        return found, t.way(verdict, bad | t.overflows), t

    def _remote(self) -> float:
        """The size of x above which a square may overflow."""
        return REMOTE if self.p.name == "float64" else REMOTE**0.125

    def _as_formula(self, what: str) -> Reals:
        """What rounding explains of σ or σ' as written in NumPy, if it can be evaluated on balls; else 0."""
        function = "sigma" if what == "value" else "derivative"
        own = self.facts.curves.get((function, self.p.name), self.c if what == "value" else None)
        if own is None or function in self.facts.unsupported:
            return np.zeros(len(self.x))
        lost = own.tolerance(self.p.u, self.p.normal) + self._underflow()
        return np.asarray(np.where(np.isnan(own.value.hi), 0.0, lost))

    def _as_known(self, way: str | None, t: Trial) -> tuple[list[Finding], Mask]:
        """The findings of known differences, and where these hold: of a framework, of any if `way` is "", and
        of none if it is None."""
        found: list[Finding] = []
        known = np.zeros(len(t.x), bool)
        for d in concerning(self.name, way, self.p.name) if way is not None else ():
            at = np.flatnonzero(t.off & ~known)
            same = np.zeros(len(t.x), bool)
            same[at] = says(d, t.what, t.x[at], t.got[at], t.room[at], self.p)
            if same.any():
                why = f"{d.what}. {d.reason} ({d.id})"
                found.append(t.worst("known-difference", same, explanation=why, remedy=d.source))
            known |= same
        return found, known

    def _backward_pass(self, way: str, result: Differentiated) -> Iterator[Finding]:
        """Whether the user's own version passes on the incoming gradient, and keeps the dtype."""
        spec, dtype = self.facts.spec, self.p.name
        if not result.passes_on:
            kind = "no-gradient" if result.no_grad else "ignores-upstream"
            yield finding(spec, kind, way, dtype=dtype, got="not G ⊙ σ'", expected="G ⊙ σ'")
        for got, what in ((result.y_dtype, "a value"), (result.d_dtype, "a gradient")):
            if got != dtype:
                kind = "promotes" if got == "float64" else "demotes"
                yield finding(spec, kind, way, dtype=dtype, got=f"{what} of {got}", expected=dtype)


def _first_of(**where: Mask) -> str:
    """The first verdict that holds at any point; "right" where none does."""
    return next((v.replace("_", "-") for v, at in where.items() if at.any()), "right")


def _kinds(what: str, native: bool, decides: bool) -> dict[str, str]:
    """The kinds of findings about a framework: where it is off, overflows near 0, or overflows far out.

    `decides`: whether it was to be judged, so that it may be an error.
    """
    if what == "value":
        wrong = native and decides
        return {
            "off": "wrong-value" if wrong else "autodiff-off",
            "near": "nan-value" if wrong else "overflow-value",
            "far": "overflow-value",
        }
    if decides:
        return {
            "off": "wrong-derivative",
            "near": "overflow-derivative",
            "far": "far-overflow-derivative",
        }
    return {"off": "autodiff-off", "near": "autodiff-nan", "far": "autodiff-nan"}
