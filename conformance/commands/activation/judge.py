"""From what the workers found out to findings and a verdict. No user code runs here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.bounds import (
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
from conformance.commands.activation.facts import DTYPES, Facts
from conformance.commands.activation.findings import KINDS, Finding, finding
from conformance.commands.activation.kinks import Kink, branch_findings, kink_findings, kinks
from conformance.commands.activation.known import concerning, measured, recognised, says
from conformance.commands.activation.lookalikes import looks_like
from conformance.commands.activation.trial import FAR, Trial, Way
from conformance.model.results import number

__all__ = ["judge", "verdict"]

Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]
REMOTE = 1e100
NEAR = 80.0  # e^80 is a number of float32: up to here σ overflows for no good reason


@np.errstate(all="ignore")  # what overflows here is what was got, and says so itself
def judge(facts: Facts) -> tuple[list[Finding], list[Way], list[Kink], list[Trial]]:
    """Everything that is wrong, the table of ways, the branch points, and what was compared."""
    findings = [_observed(facts, of, o) for of, found in facts.behaviour.items() for o in found]
    findings += [_observed(facts, of, o) for of, found in facts.warnings.items() for o in found]
    ways: list[Way] = []
    trials: list[Trial] = []
    name = _name(facts)
    for dtype in DTYPES:
        if ("truth", dtype) in facts.curves and len(facts.x[dtype]):
            for more, row, trial in _InDtype.of(facts, dtype, name).judged():
                findings += more
                ways.append(row)
                trials.append(trial)
    table = kinks(facts)
    findings += [
        *branch_findings(facts),
        *kink_findings(facts, table),
        *_ends(facts),
        *_networks(facts),
    ]
    return _in_order(_merged(findings)), ways, table, trials


def _name(facts: Facts) -> str:
    """The activation that σ is, of those that the tables know."""
    c = facts.curves.get(("truth", "float64"))
    return recognised(c, facts.x["float64"], str(facts.spec["truth"])) if c is not None else ""


def verdict(findings: Sequence[Finding], strict: bool) -> str:
    """Whether it is right, or is and loses digits, or is wrong."""
    found = {f["severity"] for f in findings}
    if found & ({"error", "warning"} if strict else {"error"}):
        return "wrong"
    return "inaccurate" if "inaccurate" in found else "right"


EACH = (
    "warns",
    "jump",
    "at-the-ends",
    "convention",
    "outside-clarke",
    "undeclared-kink",
    "no-such-kink",
)


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """The same finding in two dtypes is one; at two points, two."""
    kept: dict[tuple[str, ...], Finding] = {}
    for f in findings:
        key = (f["kind"], f["of"], *((f["got"], str(f["x"])) if f["kind"] in EACH else ()))
        if key not in kept:
            kept[key] = f
        elif f["dtype"] and f["dtype"] not in kept[key]["dtype"]:
            kept[key]["dtype"] += f", {f['dtype']}"
    return list(kept.values())


_RANK = {"error": 0, "inaccurate": 1, "warning": 2, "note": 3}


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    kinds = list(KINDS)
    return sorted(findings, key=lambda f: (_RANK[f["severity"]], kinds.index(f["kind"])))


def _observed(facts: Facts, of: str, o: Mapping[str, Any]) -> Finding:
    """What was seen of a function's form; a warning far out is a note."""
    x = number(float(o["x"]), 17) if "x" in o else None
    far = o["kind"] == "warns" and x is not None and abs(float(x)) > FAR
    return finding(
        facts.spec,
        o["kind"],
        of,
        dtype=o.get("dtype", "float64"),
        x=x,
        got=str(o["got"]),
        expected=str(o["expected"]),
        severity="note" if far else KINDS[o["kind"]].severity,
    )


Judged = tuple[list[Finding], Way, Trial]


def _as_compared(facts: Facts) -> list[Branch]:
    """The branch points of σ; each reaches as far as rounding decides it in σ or in σ'."""
    own = {b.at: b.reach for b in facts.branches.get("derivative", [])}
    truth = facts.branches.get("truth", [])
    return [replace(b, reach=max(b.reach, own.get(b.at, 0.0))) for b in truth]


class _InDtype(NamedTuple):
    """Everything of one dtype, against the certified σ and σ'."""

    facts: Facts
    p: Precision
    x: Reals
    c: Curve  # continued across smooth branch points
    low: Reals  # the derivatives allowed: one, and at kinks all between the one-sided ones
    high: Reals
    touched: Mask
    name: str  # the activation that σ is, of those that the tables know
    row: Mapping[str, Reals]  # what its row of accuracy.toml allows code that cannot be seen into

    @classmethod
    def of(cls, facts: Facts, dtype: str, name: str) -> _InDtype:
        """Of a dtype whose truth is known."""
        of, x, p = _as_compared(facts), facts.x[dtype], Precision.of(dtype)
        c = continued(facts.curves["truth", dtype], of, x)
        value, first = measured(name, c, x, p)
        row = {"value": value, "derivative": first}
        return cls(facts, p, x, c, *hulls(of, x, c.first.hi, p), name, row)

    def judged(self) -> list[Judged]:
        """Each way to a value or a derivative that there is."""
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
        low, high, touched = self._across_jumps()
        scaled = scale(c, self.x)
        return Trial(
            self.facts.spec, of, "value", p, self.x, got, c.value, low, high, touched, allowed, scaled,
            rounded_argument(c.value.hi, c.first.hi, self.x, p),
        )  # fmt: skip

    def _underflow(self) -> Reals:
        """What overflows on the way to 1/(1 + e^{−x}) leaves 0, where a little more than normal was due."""
        with np.errstate(over="ignore"):
            return np.asarray(4 * self.p.normal * (1 + np.minimum(np.abs(self.x), 1e6)))

    def _across_jumps(self) -> tuple[Reals, Reals, Mask]:
        """The values allowed: at a jump, all between the one-sided ones."""
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
        """σ in NumPy: against itself as mathematics, or against another definition."""
        found, known = self._as_known("" if "sigma" in self.facts.unsupported else None, t)
        near = t.overflows & (np.abs(t.x) <= NEAR)
        wrong = t.off & (np.abs(t.x) <= FAR) & ~known
        # some finite, of what overflowed on the way
        far = (t.overflows & ~near) | (t.off & ~wrong & ~known)
        lost = t.lost & ~t.off
        if "sigma" in self.facts.unsupported:  # it may be a framework's, which are measured
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
        word = (
            "wrong"
            if bad.any()
            else "overflows"
            if far.any()
            else "inaccurate"
            if few.any()
            else "known-difference"
            if known.any()
            else "right"
        )
        return found, t.way(word, bad | far, few), t

    def _kind_of_value(self, t: Trial, wrong: Mask) -> str:
        """Another function than the definition, or the same in less precision."""
        small = t.error[wrong] <= 2.0**-20 * np.maximum(np.abs(t.exact.hi[wrong]), 1e-30)
        defined = bool(self.facts.spec.get("truth"))
        return "wrong-value" if defined and not small.all() else "inaccurate-value"

    # --- σ'

    def _own_derivative(self, got: Reals) -> Judged:
        """σ' in NumPy: its formula as mathematics, then what it computes.

        `tail`: wrong, but where σ' and the error are below the rounding errors of where values live.
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
        else:  # where its formula is no number, what it computes is all that there is
            dark = np.isnan(g.value.hi)
            wrong = (t.asked & self._formula_off(g)) | (t.off & dark & ~known)
        floor = 2 * p.u * t.scale
        with np.errstate(invalid="ignore"):
            negligible = np.fmax(np.abs(self.low), np.abs(self.high)) <= floor
            tail = (
                wrong
                & negligible
                & (t.error <= floor)
                & (np.abs(formula.got - c.first.hi) <= floor)
            )
        # a clip at ±300 shows at 1e250, a guard of 1e-300 below it; but beside a kink all counts
        size = np.abs(self.x)
        least = 0.0 if (self.touched & (self.x == 0)).any() else 1e-290
        remote = wrong & ((size > REMOTE) | ((size < least) & (size > 0)))
        wrong = wrong & ~tail & ~remote
        found += self._wrong(t, formula, wrong)
        if remote.any() and not wrong.any():
            found.append(formula.worst("far-overflow-derivative", remote))
        found += self._overflow(t, "overflow-derivative", "far-overflow-derivative")
        beyond = t.error > self.row["derivative"]
        if g is None:  # what it is as mathematics is not known
            tail |= t.nothing_right & ~wrong & beyond
        if tail.any() and not wrong.any():
            found.append(t.worst("tail", tail, begins=True))
        if g is not None:
            found += self._against_formula(t, g)
        lost = t.lost & ~wrong & ~tail & ~remote & ~known & (beyond | (g is not None))
        with np.errstate(invalid="ignore"):
            heavy = (
                lost
                & (np.abs(t.x) <= FAR)
                & (t.error > math.sqrt(p.u) * np.maximum(t.scale, np.abs(t.low)))
            )
        if heavy.any():
            found.append(t.worst("cancellation-derivative", heavy))
        elif lost.any() and not wrong.any():
            found.append(t.loses_most(lost, self.name))
        bad = wrong | (t.overflows & (np.abs(t.x) <= FAR)) | t.holes | heavy
        is_wrong = any(f["severity"] == "error" for f in found)
        word = "wrong" if is_wrong else "overflows" if t.overflows.any() else "right"
        if word == "right":
            near = lost & (np.abs(t.x) <= FAR)
            word = "inaccurate" if near.any() else "tail" if tail.any() else word
            word = "known-difference" if word == "right" and known.any() else word
        return found, t.way(word, bad | t.overflows), t

    def _wrong(self, t: Trial, says: Trial, wrong: Mask) -> Iterator[Finding]:
        """By its formula where that is known, else by what it computes; at kinks alone, another name."""
        at_kinks = wrong & self.touched & (self.low != self.high)
        if (wrong & ~at_kinks).any():
            like = looks_like(self.facts.lookalikes, self.low, self.high, t.got, self.x, wrong)
            # by what it returns, where that is off too, rather than by what its formula says
            computed = wrong & ~at_kinks & t.off
            shown, where = (t, computed) if computed.any() else (says, wrong & ~at_kinks)
            yield shown.worst("wrong-derivative", where, looks_like=like)
        elif at_kinks.any():
            yield t.worst("outside-clarke", at_kinks)

    def _formula_off(self, g: Curve) -> Mask:
        """Where the formula of σ', as mathematics, is not the derivative: only constants are rounded."""
        c, exact = self.c, Precision.of("float64")
        off = self._derivative("derivative", g.value.hi, np.zeros(len(self.x))).error
        with np.errstate(all="ignore"):
            fine = np.abs((g.value.hi - c.first.hi) + (g.value.lo - c.first.lo))
            off = np.where((self.low == self.high) & ~self.touched & np.isfinite(fine), fine, off)
            room = exact.u * (
                4 * (g.k + c.k1) + 16 * np.abs(c.first.hi) + 16 * np.abs(self.x * c.second)
            )
            room += g.value.rad + c.first.rad + 4 * exact.normal * (1 + np.abs(self.x))
            return np.asarray(
                ~np.isnan(g.value.hi) & (off > np.where(np.isnan(room), np.inf, room))
            )

    def _overflow(self, t: Trial, near: str, far: str) -> Iterator[Finding]:
        within = t.overflows & (np.abs(t.x) <= FAR)
        if within.any() or t.holes.any():
            yield t.filled().worst(near, within | t.holes)
        if (t.overflows & ~within).any():
            yield t.worst(far, t.overflows & ~within)

    def _against_formula(self, t: Trial, g: Curve) -> Iterator[Finding]:
        """What σ' computes, against what its formula says."""
        with np.errstate(all="ignore"):
            beyond = (
                g.value.distance(t.got)
                > g.tolerance(self.p.u, self.p.normal) + g.value.rad + self._underflow()
            )
        off = t.asked & ~self.touched & beyond & ~np.isnan(g.value.hi)
        near = off & (np.abs(t.x) <= FAR)
        if near.any():
            yield t.worst("inaccurate-derivative", near)
        if (off & ~near).any() and not t.overflows.any():
            yield t.worst("far-overflow-derivative", off & ~near)

    # --- torch and JAX

    def _autodiff(self, way: str) -> Iterator[Judged]:
        """Its value and its derivative: an error only where the user wrote it, or gave no σ' of their own."""
        said = self.facts.autodiff[way, self.p.name]
        yield self._foreign(way, self._value(way, said["y"]), said)
        allowed = unseen_derivative(self.c, self.x, self.p, way)
        allowed = np.maximum(allowed, self.row["derivative"])
        found, row, t = self._foreign(way, self._derivative(way, said["d"], allowed), said)
        yield found + list(self._manners(way, said)), row, t

    def _foreign(self, way: str, t: Trial, said: Mapping[str, Any]) -> Judged:
        kinds = _kinds(t.what, bool(said["native"]), self._counts(said))
        truth = np.where(np.isnan(t.exact.hi), 0, np.abs(t.exact.hi))
        skipped = (truth < self.p.normal) & (np.abs(t.got) <= self.p.normal) & (t.got != t.exact.hi)
        if way == "jax" or not said["native"]:
            # JAX flushes subnormal numbers to zero (jax#16200), and 0.2x of a small x is one
            skipped |= (t.x != 0) & (np.abs(t.x) < self.p.normal / self.p.u)
        t = replace(t, skipped=skipped)
        found, known = self._as_known(way if said["native"] else None, t)
        off = t.off & ~known
        # somebody's own is told of far out as NumPy's version is; near, what that loses is no mistake
        own = off & bool(said["native"])
        remote = own & (np.abs(t.x) > (FAR if t.what == "value" else self._remote()))
        lossy = own & ~remote & (t.error <= self._as_formula(t.what))
        off = off & ~remote & ~lossy
        gross = off & (t.error > math.sqrt(self.p.u) * np.maximum(t.scale, truth))
        near = t.overflows & (np.abs(t.x) <= (FAR if t.what == "derivative" else NEAR))
        at_branch = off & np.isin(t.x, [b.at for b in self.facts.branches.get("truth", [])])
        if at_branch.any() and not said["native"]:
            found.append(t.worst("autodiff-branch", at_branch))
            off, gross = off & ~at_branch, gross & ~at_branch
        if off.any():
            like = looks_like(self.facts.lookalikes, t.low, t.high, t.got, t.x, off)
            more: dict[str, Any] = {"looks_like": like} if t.what == "derivative" else {}
            kind = kinds["off"] if said["native"] or gross.any() else "autodiff-off"
            if kind == "autodiff-off" and self._counts(said):  # σ's own formula: it is rounding
                more["severity"] = "inaccurate"
            if said["native"] and t.what == "derivative" and gross.any():
                kind = "wrong-derivative"  # in bfloat16 too, by its own u
            found.append(t.worst(kind, off, **more))
        if near.any():
            found.append(t.worst(kinds["near"], near))
        if (far := (t.overflows & ~near) | remote).any():
            mild: dict[str, Any] = {"severity": "note"} if kinds["far"] == "autodiff-nan" else {}
            found.append(t.worst(kinds["far"], far, **mild))
        lost = t.nothing_right & ~at_branch & (t.error > self.row["derivative"])
        lost &= t.what == "derivative"
        wrong = lost & t.above_rounding if said["native"] else lost & ~lost
        if wrong.any():
            found.append(t.worst("wrong-derivative", wrong, begins=True))
        elif lost.any():  # a framework's own is not what was to be judged
            of: dict[str, Any] = {} if said["native"] else {"severity": "note"}
            found.append(t.worst("tail", lost, begins=True, **of))
        bad = off | at_branch | wrong
        word = "wrong" if (bad | near).any() else "overflows" if far.any() else "right"
        if word == "right":
            word = "tail" if lost.any() else "known-difference" if known.any() else word
        few = lossy & (np.abs(t.x) <= FAR)
        if t.what == "value":
            few |= t.lost & ~t.off & (t.error > self.row["value"]) & (np.abs(t.x) <= FAR)
        if word == "right" and few.any():
            if said["native"]:  # else it is σ's own formula, of which it is told already
                found.append(t.loses_most(few, self.name))
            return found, t.way("inaccurate", bad, few), t
        return found, t.way(word, bad | t.overflows), t

    def _remote(self) -> float:
        """Where squares soon overflow."""
        return REMOTE if self.p.name == "float64" else REMOTE**0.125

    def _as_formula(self, what: str) -> Reals:
        """What σ or σ' as written in NumPy may lose, where that is known; else nothing."""
        role = "sigma" if what == "value" else "derivative"
        own = self.facts.curves.get((role, self.p.name), self.c if what == "value" else None)
        if own is None or role in self.facts.unsupported:
            return np.zeros(len(self.x))
        lost = own.tolerance(self.p.u, self.p.normal) + self._underflow()
        return np.asarray(np.where(np.isnan(own.value.hi), 0.0, lost))

    def _as_known(self, way: str | None, t: Trial) -> tuple[list[Finding], Mask]:
        """What a framework is known to compute instead; of a black box (""), any of them."""
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

    def _counts(self, said: Mapping[str, Any]) -> bool:
        """Whether it is what was to be judged: bfloat16 is compared, and no more."""
        alone = not self.facts.spec["derivative"]
        return self.p.name != "bfloat16" and (bool(said["native"]) or alone)

    def _manners(self, way: str, said: Mapping[str, Any]) -> Iterator[Finding]:
        """Of the user's own version: what comes in is passed on, and the dtype is kept."""
        if not said["native"]:
            return
        spec, dtype = self.facts.spec, self.p.name
        if not said["passes_on"]:
            kind = "no-gradient" if said["no_grad"] else "ignores-upstream"
            yield finding(spec, kind, way, dtype=dtype, got="not G ⊙ σ'", expected="G ⊙ σ'")
        for key, name in (("y_dtype", "a value"), ("d_dtype", "a gradient")):
            if said[key] != dtype:
                kind = "promotes" if said[key] == "float64" else "demotes"
                yield finding(
                    spec, kind, way, dtype=dtype, got=f"{name} of {said[key]}", expected=dtype
                )


def _kinds(what: str, native: bool, counts: bool) -> dict[str, str]:
    """What it is called: off; overflowing near 0; overflowing far out."""
    if what == "value":
        wrong = native and counts
        return {
            "off": "wrong-value" if wrong else "autodiff-off",
            "near": "nan-value" if wrong else "overflow-value",
            "far": "overflow-value",
        }
    if counts:
        return {
            "off": "wrong-derivative",
            "near": "overflow-derivative",
            "far": "far-overflow-derivative",
        }
    return {"off": "autodiff-off", "near": "autodiff-nan", "far": "autodiff-nan"}


def _ends(facts: Facts) -> Iterator[Finding]:
    """−0 as 0; NaN in, NaN out; at ±∞ the limit, where there is one."""
    for role in ("sigma", "derivative"):
        ends, c = facts.ends.get((role, "float64")), facts.curves.get(("truth", "float64"))
        if ends is None or c is None:
            continue
        truth, x = (c.value.hi if role == "sigma" else c.first.hi), facts.x["float64"]
        zero, minus_zero, plus, minus, nan = map(float, ends)
        if (
            math.isfinite(zero)
            and minus_zero != zero
            and 0 in x
            and not _at_break(facts, role, minus_zero)
        ):
            more = {
                "got": f"{minus_zero:.17g}",
                "expected": f"{zero:.17g}, as at 0",
                "severity": "error",
            }
            yield finding(facts.spec, "at-the-ends", role, dtype="float64", x=-0.0, **more)
        finite = truth[np.isfinite(truth)]
        if not math.isnan(nan) and finite.size and np.ptp(np.clip(finite, -1e300, 1e300)) > 0:
            severity = "warning" if role == "sigma" else "note"
            more = {"got": f"{nan:.6g}", "expected": "nan", "severity": severity}
            yield finding(facts.spec, "hides-nan", role, dtype="float64", x="nan", **more)
        for got, i, where in ((plus, -1, "inf"), (minus, 0, "-inf")):
            before = truth[int(np.argmin(np.abs(x - math.copysign(1e100, x[i]))))]
            # a limit is one if it was there long before: log|x| is 709 at the last float, and no limit
            settled = abs(x[i]) > 1e300 and abs(truth[i] - before) <= 1e-9 * max(1.0, abs(before))
            more = {"got": f"{got:.6g}", "expected": f"{truth[i]:.6g}"}
            if math.isnan(got) and settled:
                yield finding(facts.spec, "nan-at-infinity", role, dtype="float64", x=where, **more)
            elif settled and not abs(got - truth[i]) <= 1e-6 * max(1.0, abs(truth[i])):
                yield finding(facts.spec, "at-the-ends", role, dtype="float64", x=where, **more)


def _at_break(facts: Facts, role: str, minus_zero: float) -> bool:
    """Whether σ has a kink or a jump at 0, and what is said at −0 lies between its sides."""
    for b in facts.branches.get("truth", []):
        if b.at == 0 and b.kind in ("kink", "jump"):
            values = b.left.value, b.right.value
            low, high = (min(values), max(values)) if role == "sigma" else b.hull
            return low <= minus_zero <= high
    return False


def _networks(facts: Facts) -> Iterator[Finding]:
    """The smallest network that does not conform, of each implementation."""
    for name in {n["implementation"]: None for n in facts.networks}:
        of = [n for n in facts.networks if n["implementation"] == name]
        lossy = [n for n in of if n["verdict"] == "inaccurate"]
        if bad := [n for n in of if n["verdict"] in ("deviates", "error")] or lossy:
            kind = "network-inaccurate" if bad is lossy else "network"
            first = min(bad, key=lambda n: (n["depth"], n["batch"]))
            yield finding(
                facts.spec,
                kind,
                {"refbp": "derivative"}.get(name, name.partition("-")[0]),
                dtype=first["dtype"],
                got=first["message"],
                expected="a pass that conforms",
                where=first["case"],
                count=len(bad),
                points=len(of),
            )
