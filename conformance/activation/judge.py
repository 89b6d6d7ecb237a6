"""From what the workers found out to findings and a verdict. No user code runs here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from conformance.activation import evidence
from conformance.activation.bounds import (
    Precision,
    continued,
    hulls,
    scale,
    unseen_derivative,
    unseen_value,
)
from conformance.activation.branches import Branch
from conformance.activation.curve import Curve
from conformance.activation.findings import KINDS
from conformance.activation.lookalikes import looks_like
from conformance.results import Number, number
from conformance.truth.balls import Enclosure

__all__ = ["Facts", "Finding", "Kink", "Way", "judge", "verdict"]

Reals = NDArray[np.float64]
DTYPES = ("float64", "float32", "bfloat16")
NEAR_DERIVATIVE, NEAR_VALUE = 1000.0, 80.0  # up to here an overflow is no matter of the far range
LOST = 2.0**10  # u: from here on digits count as lost


class Finding(TypedDict):
    """One thing that was found, of one function or framework."""

    kind: str
    severity: str
    title: str
    of: str  # σ, σ', torch or jax
    dtype: str
    x: Number | None
    got: str
    expected: str
    digits: float | None  # how many digits of `got` are right
    count: int  # at how many of the points
    points: int
    where: str
    looks_like: str
    explanation: str
    remedy: str
    reproduce: str


class Kink(TypedDict):
    """A branch point, and what each says the derivative there is."""

    at: Number
    exact: bool
    kind: str
    of: str
    left: Number
    right: Number
    left_value: Number
    right_value: Number
    stated: Number | None
    says: dict[str, Number]
    within: dict[str, bool]


class Way(TypedDict):
    """One way to a derivative, in one dtype, against the certified one."""

    way: str
    dtype: str
    of: str  # value or derivative
    verdict: str
    points: int
    beyond: int
    undecided: int
    worst_x: Number | None
    got: Number | None
    expected: Number | None
    ratio: Number
    ulps: Number
    digits: float | None


@dataclass
class Facts:
    """What the workers said, unpacked and indexed."""

    spec: Mapping[str, Any]
    behaviour: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    warnings: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    branches: dict[str, list[Branch]] = field(default_factory=dict)
    many: dict[str, list[float]] = field(default_factory=dict)
    x: dict[str, Reals] = field(default_factory=dict)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    values: dict[tuple[str, str], Reals] = field(default_factory=dict)
    ends: dict[tuple[str, str], Reals] = field(default_factory=dict)
    autodiff: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    networks: list[dict[str, Any]] = field(default_factory=list)
    lookalikes: dict[str, Any] = field(default_factory=dict)
    problems: list[dict[str, Any]] = field(default_factory=list)  # raised, refused, ended, timed out
    not_run: list[dict[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, role: str, said: Mapping[str, Any]) -> None:
        """One line of a worker."""
        event = said.get("event")
        if event == "behaviour":
            self.behaviour[said["function"]] = list(said["found"])
        elif event == "warnings":
            self.warnings[said["function"]] = list(said["found"])
        elif event == "branches":
            self.branches[said["function"]] = [evidence.branch(b) for b in said["found"]]
        elif event == "many-branches":
            self.many[said["function"]] = [float.fromhex(x) for x in said["found"]]
        elif event == "points":
            self.x = {d: evidence.array(said[d]).astype(np.float64) for d in DTYPES}
        elif event == "curve":
            packed = {k: v for k, v in said.items() if k not in ("event", "function", "dtype")}
            self.curves[said["function"], said["dtype"]] = evidence.curve(packed)
        elif event == "values":
            key = said["function"], said["dtype"]
            self.values[key] = evidence.array(said["y"]).astype(np.float64)
            self.ends[key] = evidence.array(said["ends"]).astype(np.float64)
        elif event == "autodiff":
            arrays = {k: evidence.array(said[k]).astype(np.float64) for k in ("y", "d")}
            self.autodiff[role, said["dtype"]] = {**said, **arrays}
        elif event == "unsupported":
            self.unsupported[said["function"]] = said["text"]
        elif event == "networks":
            self.networks += said["results"]
        elif event == "lookalikes":
            arrays = {k: evidence.array(v) for k, v in said.items() if k not in ("event", "truth")}
            self.lookalikes = {**arrays, "truth": evidence.curve(said["truth"])}
        elif event in ("raised", "refused", "ended", "timeout"):
            self.problems.append({"role": role, **said})
        elif event == "not-run":
            self.not_run.append({"way": role, "why": said["text"]})
        elif event == "not-run-dtype":
            self.not_run.append({"way": f"{role} {said['dtype']}", "why": said["text"]})
        elif event == "versions":
            self.versions[said["name"]] = said["version"]

    def continue_curves(self) -> None:
        """σ' of the definition across its smooth branch points, once all is known."""
        for (role, dtype), c in self.curves.items():
            if role == "truth":
                self.curves[role, dtype] = continued(c, self.branches.get("truth", []), self.x[dtype])

    @property
    def native(self) -> dict[str, bool]:
        """Which frameworks were given a version of their own."""
        return {way: found["native"] for (way, _), found in self.autodiff.items()}


NAMES = {"sigma": "σ", "derivative": "σ'", "truth": "the definition", "torch": "torch", "jax": "jax"}


def judge(facts: Facts) -> tuple[list[Finding], list[Way], list[Kink]]:
    """Everything that is wrong, the table of ways, and the branch points."""
    findings: list[Finding] = []
    ways: list[Way] = []
    facts.continue_curves()
    for role, found in facts.behaviour.items():
        findings += [_observed(facts, role, o) for o in found]
    for role, found in facts.warnings.items():
        findings += [_observed(facts, role, o) for o in found]
    for dtype in DTYPES:
        if ("truth", dtype) in facts.curves:
            for f, w in _in_dtype(facts, dtype):
                findings += f
                ways += w
    findings += _branch_findings(facts)
    kinks = [_kink(facts, role, b) for role, bs in facts.branches.items() for b in bs]
    kinks = _one_each(kinks)
    findings += _kink_findings(facts, kinks)
    findings += _ends(facts)
    findings += _network_findings(facts)
    return _in_order(_merged(findings)), ways, kinks


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """The same finding in two dtypes is one."""
    kept: dict[tuple[str, str], Finding] = {}
    for f in findings:
        key = (f["kind"], f["of"])
        if f["kind"] in ("warns", "jump", "convention", "outside-clarke", "undeclared-kink", "no-such-kink"):
            key = (f["kind"], f["of"] + f["got"] + str(f["x"]))
        if key not in kept:
            kept[key] = f
        elif f["dtype"] and f["dtype"] not in kept[key]["dtype"]:
            kept[key]["dtype"] += f", {f['dtype']}"
    return list(kept.values())


_RANK = {"error": 0, "warning": 1, "note": 2}


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    kinds = list(KINDS)
    return sorted(findings, key=lambda f: (_RANK[f["severity"]], kinds.index(f["kind"])))


def verdict(findings: Sequence[Finding], strict: bool) -> bool:
    """Whether it is right."""
    bad = {"error", "warning"} if strict else {"error"}
    return not any(f["severity"] in bad for f in findings)


# --- findings -----------------------------------------------------------------------------------------


def _finding(facts: Facts, kind: str, of: str, **more: Any) -> Finding:
    k = KINDS[kind]
    found = Finding(
        kind=kind, severity=k.severity, title=k.title, of=NAMES.get(of, of), dtype="", x=None, got="", expected="",
        digits=None, count=1, points=0, where="", looks_like="", explanation=k.explanation, remedy=k.remedy,
        reproduce="",
    )  # fmt: skip
    found.update(more)  # type: ignore[typeddict-item]
    if not found["reproduce"] and found["x"] is not None:
        found["reproduce"] = _reproduce(facts, of, found)
    return found


def _reproduce(facts: Facts, of: str, f: Finding) -> str:
    """A line of Python that shows it again."""
    spec = facts.spec.get(of) or ""
    where, _, name = spec.rpartition(":")
    if not name or f["x"] is None:
        return ""
    x = repr(f["x"]) if isinstance(f["x"], float) else f"float('{f['x']}')"
    dtype = f["dtype"].split(",")[0] or "float64"
    if where.endswith(".py"):
        got = f"import runpy, numpy as np; f = runpy.run_path({where!r})[{name!r}]; "
    else:
        got = f"import numpy as np; from {where} import {name} as f; "
    if of in ("sigma", "derivative"):
        return got + f"print(f(np.array([{x}], {dtype!r})))"
    if of == "torch":
        call = f"(f.apply if hasattr(f, 'apply') and isinstance(f, type) else f)(x)"
        return got + f"import torch; x = torch.tensor([{x}], dtype=torch.{dtype}, requires_grad=True); {call}.sum().backward(); print(x.grad)"
    return got + f"import jax; jax.config.update('jax_enable_x64', True); print(jax.grad(lambda x: f(x).sum())(np.array([{x}], {dtype!r})))"


def _observed(facts: Facts, role: str, o: Mapping[str, Any]) -> Finding:
    x = number(float(o["x"]), 17) if "x" in o else None
    far = o["kind"] == "warns" and x is not None and abs(float(x)) > NEAR_DERIVATIVE
    severity = "note" if far else KINDS[o["kind"]].severity
    return _finding(
        facts, o["kind"], role, dtype=o.get("dtype", "float64"), x=x, got=str(o["got"]), expected=str(o["expected"]),
        severity=severity,
    )  # fmt: skip


def _digits(got: float, expected: float) -> float | None:
    """How many significant digits are right."""
    if not (math.isfinite(got) and math.isfinite(expected)):
        return 0.0
    if got == expected:
        return 17.0
    if expected == 0:
        return 0.0
    return round(min(17.0, max(0.0, -math.log10(abs(got - expected) / abs(expected)))), 1)


def _range(x: Reals) -> str:
    """Where the points lie, in words."""
    low, high = float(x.min()), float(x.max())
    return f"x = {low:.6g}" if low == high else f"{low:.6g} ≤ x ≤ {high:.6g}"


# --- one dtype ----------------------------------------------------------------------------------------


@dataclass
class Trial:
    """One array of numbers against what it should be."""

    of: str  # sigma, derivative, torch, jax
    what: str  # value or derivative
    got: Reals
    low: Reals
    high: Reals
    rad: Reals
    allowed: Reals
    known: NDArray[np.bool_]
    touched: NDArray[np.bool_]

    def beyond(self) -> Reals:
        """How far outside [low, high] each is; infinite where it is no number."""
        with np.errstate(invalid="ignore"):
            d = np.maximum(np.maximum(self.low - self.got, self.got - self.high), 0.0)
        return np.asarray(np.where(np.isnan(self.got) | (np.isinf(self.got) & (self.got != self.low)), np.inf, d))


def _exactly(e: Enclosure, got: Reals) -> Reals:
    """|got − midpoint|, the digits below float64 included."""
    return e.distance(got)


def _in_dtype(facts: Facts, dtype: str) -> Iterator[tuple[list[Finding], list[Way]]]:
    p, x, c = Precision.of(dtype), facts.x[dtype], facts.curves["truth", dtype]
    of = facts.branches.get("truth", [])
    low, high, touched = hulls(of, x, c.first.hi, p)
    for role in ("sigma", "derivative"):
        if (role, dtype) not in facts.values:
            continue
        got = facts.values[role, dtype]
        if role == "sigma":
            t = _value_trial(facts, dtype, role, got, p)
            yield _judged_value(facts, dtype, t, p)
        else:
            yield _judged_derivative(facts, dtype, got, low, high, touched, p)
    for way in ("torch", "jax"):
        if (way, dtype) in facts.autodiff:
            yield _judged_autodiff(facts, dtype, way, low, high, touched, p)


def _value_trial(facts: Facts, dtype: str, role: str, got: Reals, p: Precision) -> Trial:
    x, c = facts.x[dtype], facts.curves["truth", dtype]
    own = facts.curves.get(("sigma", dtype), c)
    seen = "sigma" not in facts.unsupported and role == "sigma"
    allowed = own.tolerance(p.u, p.normal) + p.tiny if seen else unseen_value(c, x, p)
    if own is not c and role == "sigma":
        allowed = allowed + 4 * p.u * np.abs(c.value.hi)
    low, high = c.value.hi.copy(), c.value.hi.copy()
    touched = np.zeros(len(x), bool)
    for b in facts.branches.get("truth", []):
        if b.kind == "jump":
            reach = 16 * float(p.rounded(np.array([max(abs(b.at), p.normal)]))[0])
            at = np.abs(x - b.at) <= reach
            low[at] = np.fmin(low[at], min(b.left.value, b.right.value, b.value))
            high[at] = np.fmax(high[at], max(b.left.value, b.right.value, b.value))
            touched |= at
    return Trial(role, "value", got, low, high, c.value.rad, allowed, ~np.isnan(c.value.hi), touched)


def _error(t: Trial, exact: Enclosure) -> Reals:
    """The distance from the truth, to the last digit where the truth is one number."""
    one = t.low == t.high
    return np.asarray(np.where(one & ~t.touched, _exactly(exact, t.got), t.beyond()))


def _overflows(t: Trial, p: Precision) -> NDArray[np.bool_]:
    """Where the truth is a number of the dtype and what was got is none."""
    within = (np.abs(t.low) <= p.largest) & (np.abs(t.high) <= p.largest)
    return np.asarray(t.known & within & ~np.isfinite(t.got))


def _beyond_range(t: Trial, p: Precision) -> NDArray[np.bool_]:
    """Where the truth itself exceeds the dtype, so that nothing is asked."""
    return np.asarray(np.abs(t.low) > p.largest)


def _way(t: Trial, error: Reals, x: Reals, dtype: str, p: Precision, name: str, exact: Enclosure) -> Way:
    asked = t.known & ~_beyond_range(t, p)
    with np.errstate(all="ignore"):
        ratio = np.where(asked, error / (t.allowed + t.rad), 0.0)
    ratio = np.where(np.isnan(ratio), np.where(error == 0, 0.0, np.inf), ratio)
    i = int(np.argmax(ratio)) if len(ratio) else 0
    finite = asked & np.isfinite(error)
    with np.errstate(all="ignore"):
        ulps = np.where(finite, error / p.rounded(exact.hi), 0.0)
    expected = float(np.clip(t.got[i], t.low[i], t.high[i])) if np.isfinite(t.got[i]) else float(t.low[i])
    return Way(
        way=name, dtype=dtype, of=t.what, verdict="right" if not (ratio > 1).any() else "wrong",
        points=int(asked.sum()), beyond=int((ratio > 1).sum()), undecided=int((~t.known).sum()),
        worst_x=number(float(x[i]), 17), got=number(float(t.got[i]), 17), expected=number(expected, 17),
        ratio=number(float(ratio[i])), ulps=number(float(ulps.max(initial=0.0))),
        digits=_digits(float(t.got[i]), expected),
    )  # fmt: skip


def _worst(
    facts: Facts, kind: str, t: Trial, where: NDArray[np.bool_], measure: Reals, dtype: str, **more: Any
) -> Finding:
    """A finding of the worst of the points where it shows."""
    x = facts.x[dtype]
    at = np.flatnonzero(where)
    m = measure[at]
    if np.isinf(m).all() or np.isnan(m).all():
        i = int(at[np.argmin(np.abs(x[at]))])  # all as bad: the one nearest 0
    else:
        i = int(at[np.argmax(np.where(np.isfinite(m), m, -1.0))])
    got = float(t.got[i])
    expected = float(t.low[i]) if t.low[i] == t.high[i] else float(np.clip(got, t.low[i], t.high[i]))
    shown = f"{expected:.17g}" if t.low[i] == t.high[i] else f"between {t.low[i]:.17g} and {t.high[i]:.17g}"
    return _finding(
        facts, kind, t.of, dtype=dtype, x=number(float(x[i]), 17), got=f"{got:.17g}", expected=shown,
        digits=_digits(got, expected), count=int(where.sum()), points=int(t.known.sum()), where=_range(x[at]), **more,
    )  # fmt: skip


def _holes(t: Trial, x: Reals) -> NDArray[np.bool_]:
    """Where NaN was got and nothing is known, between neighbours that are known: 0/0 at one point."""
    hole = ~t.known & np.isnan(t.got) & (np.abs(x) <= NEAR_DERIVATIVE)
    hole[[0, -1]] = False
    hole[1:-1] &= t.known[:-2] & t.known[2:] & np.isfinite(t.got[:-2]) & np.isfinite(t.got[2:])
    return hole


def _filled(t: Trial, hole: NDArray[np.bool_]) -> Trial:
    """The trial with its neighbours' values expected there."""
    low, high = t.low.copy(), t.high.copy()
    at = np.flatnonzero(hole)
    low[at] = high[at] = t.low[at + 1]
    return Trial(**{**t.__dict__, "low": low, "high": high})


def _judged_value(facts: Facts, dtype: str, t: Trial, p: Precision) -> tuple[list[Finding], list[Way]]:
    x, c = facts.x[dtype], facts.curves["truth", dtype]
    error = _error(t, c.value)
    way = _way(t, error, x, dtype, p, NAMES[t.of], c.value)
    findings = []
    over = _overflows(t, p)
    near = over & (np.abs(x) <= NEAR_VALUE)
    if near.any():
        findings.append(_worst(facts, "nan-value", t, near, error, dtype))
    if (over & ~near).any():
        findings.append(_worst(facts, "overflow-value", t, over & ~near, error, dtype))
    asked = t.known & ~_beyond_range(t, p) & ~over
    wrong = asked & (error > t.allowed + t.rad)
    far = wrong & (np.abs(x) > NEAR_DERIVATIVE)  # a finite result of what overflowed on the way
    wrong &= ~far
    defined = "truth" in facts.spec and facts.spec.get("truth")
    if (hole := _holes(t, x)).any():
        findings.append(_worst(facts, "nan-value", _filled(t, hole), hole, error, dtype))
    if far.any() and not (over & ~near).any():
        findings.append(_worst(facts, "overflow-value", t, far, error, dtype))
    if wrong.any():
        with np.errstate(all="ignore"):
            measure = error / (t.allowed + t.rad)
        less = bool(np.all(error[wrong] <= 2.0**-20 * np.maximum(np.abs(c.value.hi[wrong]), 1e-30)))
        kind = "wrong-value" if defined and not (less and dtype == "float64") else "inaccurate-value"
        findings.append(_worst(facts, kind, t, wrong, measure, dtype))
    lost = asked & ~wrong & ~far & _lost(error, c.value.hi, p)
    if lost.any():
        size = np.where(np.isfinite(c.value.hi), np.abs(c.value.hi), 0) + 1e-12
        findings.append(_worst(facts, "cancellation", t, lost, error / size, dtype))
    if over.any() or wrong.any():
        way["verdict"] = "wrong" if near.any() or wrong.any() else "overflows"
    elif lost.any():
        way["verdict"] = "loses digits"
    return findings, [way]


def _lost(error: Reals, truth: Reals, p: Precision) -> NDArray[np.bool_]:
    """Where the relative error is many roundings, of a number that is not subnormal."""
    with np.errstate(all="ignore"):
        return np.asarray((error > LOST * p.u * np.abs(truth)) & (np.abs(truth) > p.normal / p.u))


def _judged_derivative(
    facts: Facts, dtype: str, got: Reals, low: Reals, high: Reals, touched: NDArray[np.bool_], p: Precision
) -> tuple[list[Finding], list[Way]]:
    """The hand-written σ': its formula against the certified derivative, then what it computes."""
    x, c = facts.x[dtype], facts.curves["truth", dtype]
    g = facts.curves.get(("derivative", dtype))
    known = ~np.isnan(c.first.hi) | touched
    floor = 2 * p.u * scale(c, x)
    if g is None:
        allowed = unseen_derivative(c, x, p)
    else:
        allowed = g.tolerance(p.u, p.normal) + 16 * p.u * np.abs(c.first.hi) + p.tiny
        allowed = np.where(np.isnan(g.value.hi), unseen_derivative(c, x, p), allowed)
    t = Trial("derivative", "derivative", got, low, high, c.first.rad, allowed, known, touched)
    error = _error(t, c.first)
    way = _way(t, error, x, dtype, p, "σ'", c.first)
    findings: list[Finding] = []
    over = _overflows(t, p)
    near = over & (np.abs(x) <= NEAR_DERIVATIVE)
    asked = known & ~_beyond_range(t, p) & ~over
    wrong_formula = np.zeros(len(x), bool)
    if g is not None:
        wrong_formula = asked & _formula_off(t, c, g, x, p)
    wrong = asked & (error > t.allowed + t.rad) if g is None else wrong_formula
    small = wrong & (error <= floor) & (np.abs(low) <= floor) & (np.abs(high) <= floor)
    if g is not None:  # what the formula says there, not what it rounds to
        with np.errstate(all="ignore"):
            small &= np.abs(g.value.hi - c.first.hi) <= floor
    wrong &= ~small
    size = np.where(np.isfinite(c.first.hi), np.abs(c.first.hi), 0) + 1e-3 * scale(c, x)
    measure = error / size  # relative, but for what is small among the others
    if wrong.any():
        resembles = looks_like(facts.lookalikes, low, high, got, x, wrong)
        if g is not None:
            formula = Trial(**{**t.__dict__, "got": np.where(wrong, g.value.hi, got)})
            measure = np.where(wrong, _error(formula, c.first), 0) / size
        at_kinks = wrong & touched & (low != high)
        off_kinks = wrong & ~at_kinks
        if off_kinks.any():
            findings.append(_worst(facts, "wrong-derivative", t, off_kinks, measure, dtype, looks_like=resembles))
        if at_kinks.any() and not off_kinks.any():
            findings.append(_worst(facts, "outside-clarke", t, at_kinks, measure, dtype))
    hole = _holes(t, x)
    if near.any() or hole.any():
        findings.append(_worst(facts, "overflow-derivative", _filled(t, hole), near | hole, error, dtype))
    if (over & ~near).any():
        findings.append(_worst(facts, "far-overflow-derivative", t, over & ~near, error, dtype))
    if small.any() and not wrong.any():
        with np.errstate(all="ignore"):
            findings.append(_worst(facts, "tail", t, small, error / np.abs(low), dtype))
    rest = asked & ~wrong & ~small
    if g is not None:  # what it computes, against what its formula says
        with np.errstate(all="ignore"):
            beyond = g.value.distance(got) > g.tolerance(p.u, p.normal) + g.value.rad + p.tiny
        off = asked & ~touched & beyond & ~np.isnan(g.value.hi)
        far_off = off & (np.abs(x) > NEAR_DERIVATIVE)
        off &= ~far_off
        if off.any():
            findings.append(_worst(facts, "inaccurate-derivative", t, off, measure, dtype))
        if far_off.any() and not (over & ~near).any():
            findings.append(_worst(facts, "far-overflow-derivative", t, far_off, error, dtype))
    lost = rest & _lost(error, np.where(low == high, low, np.fmax(np.abs(low), np.abs(high))), p)
    heavy = lost & (np.abs(x) <= NEAR_DERIVATIVE)
    heavy &= np.asarray(error > math.sqrt(p.u) * np.maximum(scale(c, x), np.abs(low)))
    if heavy.any():
        findings.append(_worst(facts, "cancellation-derivative", t, heavy, measure, dtype))
    elif lost.any() and not wrong.any():
        findings.append(_worst(facts, "cancellation", t, lost, measure, dtype))
    way["verdict"] = (
        "wrong" if any(f["severity"] == "error" for f in findings)
        else "loses digits" if lost.any() or small.any() else "overflows" if over.any() else "right"
    )  # fmt: skip
    worst = next((f for f in findings if f["severity"] == "error" and f["x"] is not None), None)
    if worst is not None:
        i = int(np.flatnonzero(x == float(worst["x"]))[0])  # type: ignore[arg-type]
        got_there, expected = float(got[i]), float(np.clip(np.nan_to_num(got[i]), low[i], high[i]))
        way.update(worst_x=worst["x"], got=number(got_there, 17), expected=number(expected, 17), digits=worst["digits"])
    way["beyond"] = int((wrong | over).sum()) or (way["beyond"] if way["verdict"] == "wrong" else 0)
    return findings, [way]


def _formula_off(t: Trial, c: Curve, g: Curve, x: Reals, p: Precision) -> NDArray[np.bool_]:
    """Where the formula, as mathematics, is not the derivative: no rounding is involved but of constants."""
    exact = Precision.of("float64")
    f = Trial(**{**t.__dict__, "got": g.value.hi})
    off = _error(f, c.first)
    both = t.low == t.high
    with np.errstate(all="ignore"):
        fine = np.abs((g.value.hi - c.first.hi) + (g.value.lo - c.first.lo))
        off = np.where(both & ~t.touched & np.isfinite(fine), fine, off)
        within = exact.u * (4 * (g.k + c.k) + 16 * np.abs(c.first.hi) + 16 * np.abs(x * c.second))
        within = within + g.value.rad + c.first.rad + 4 * exact.normal * (1 + np.abs(x))
        beyond = off > np.where(np.isnan(within), np.inf, within)
    there = ~np.isnan(g.value.hi)
    return np.asarray(there & beyond)


def _judged_autodiff(
    facts: Facts, dtype: str, way: str, low: Reals, high: Reals, touched: NDArray[np.bool_], p: Precision
) -> tuple[list[Finding], list[Way]]:
    """torch or JAX: its value and its derivative; an error only where the user wrote it, or asked for it."""
    x, c, said = facts.x[dtype], facts.curves["truth", dtype], facts.autodiff[way, dtype]
    own = said["native"] or ("derivative" not in facts.spec or not facts.spec["derivative"])
    findings: list[Finding] = []
    value = _value_trial(facts, dtype, way, said["y"], p)
    known = ~np.isnan(c.first.hi) | touched
    t = Trial(way, "derivative", said["d"], low, high, c.first.rad, unseen_derivative(c, x, p, way), known, touched)
    rows = []
    for trial, exact in ((value, c.value), (t, c.first)):
        error = _error(trial, exact)
        row = _way(trial, error, x, dtype, p, way, exact)
        over = _overflows(trial, p)
        flushed = np.abs(np.where(np.isnan(exact.hi), 0, exact.hi)) < p.normal
        asked = trial.known & ~_beyond_range(trial, p) & ~over & ~(flushed & (np.abs(trial.got) <= p.normal))
        if way == "jax":  # which flushes subnormal numbers to zero (jax#16200)
            asked &= (x == 0) | (np.abs(x) >= p.normal)
        off = asked & (error > trial.allowed + trial.rad)
        limit = NEAR_DERIVATIVE if trial.what == "derivative" else NEAR_VALUE
        near = over & (np.abs(x) <= limit)
        size = np.where(np.isfinite(exact.hi), np.abs(exact.hi), 0) + 1e-3 * scale(c, x)
        measure = error / size
        kinds = _kinds(trial.what, own and dtype != "bfloat16", said["native"])
        gross = off & (error > math.sqrt(p.u) * np.maximum(scale(c, x), np.abs(np.where(np.isnan(exact.hi), 0, exact.hi))))
        if off.any():
            kind = kinds["off"] if said["native"] or gross.any() else "autodiff-off"
            more = {"looks_like": looks_like(facts.lookalikes, low, high, trial.got, x, off)} if trial.what == "derivative" else {}
            findings.append(_worst(facts, kind, trial, off, measure, dtype, **more))
        if near.any():
            findings.append(_worst(facts, kinds["near"], trial, near, error, dtype))
        if (over & ~near).any():
            findings.append(_worst(facts, kinds["far"], trial, over & ~near, error, dtype))
        row["verdict"] = "wrong" if off.any() or near.any() else "overflows" if over.any() else "right"
        row["beyond"] = int((off | over).sum())
        rows.append(row)
    if said["native"] and not said["linear"]:
        kind = "no-gradient" if said["no_grad"] else "ignores-upstream"
        findings.append(_finding(facts, kind, way, dtype=dtype, got="not linear", expected="G ⊙ σ'"))
    for key, name in (("y_dtype", "value"), ("d_dtype", "gradient")):
        if said["native"] and said[key] != dtype:
            kind = "promotes" if said[key] == "float64" else "demotes"
            findings.append(_finding(facts, kind, way, dtype=dtype, got=f"{name} of {said[key]}", expected=dtype))
    return findings, rows


def _kinds(what: str, own: bool, native: bool) -> dict[str, str]:
    if what == "value":
        return {"off": "wrong-value" if native else "autodiff-off", "near": "nan-value" if native and own else "overflow-value", "far": "overflow-value"}
    if own:
        return {"off": "wrong-derivative", "near": "overflow-derivative", "far": "far-overflow-derivative"}
    return {"off": "autodiff-off", "near": "autodiff-nan", "far": "autodiff-nan"}


# --- branch points ------------------------------------------------------------------------------------


def _branch_findings(facts: Facts) -> list[Finding]:
    findings = [
        _finding(
            facts, "many-branches", role, got=f"{len(found)} and more", expected="a few",
            where=", ".join(f"{x:.6g}" for x in found[:6]),
        )
        for role, found in facts.many.items()
    ]  # fmt: skip
    for b in facts.branches.get("truth", []):
        if b.kind == "jump":
            findings.append(
                _finding(
                    facts, "jump", "sigma", x=number(b.at, 17), got=f"{b.left.value:.6g} from the left",
                    expected=f"{b.right.value:.6g} from the right", dtype="float64",
                )
            )  # fmt: skip
    return findings


def _one_each(kinks: Sequence[Kink]) -> list[Kink]:
    """Those of σ, and of σ' those that σ has not."""
    seen: dict[Number, Kink] = {}
    for k in kinks:
        if k["at"] not in seen:
            seen[k["at"]] = k
    return sorted(seen.values(), key=lambda k: float(k["at"]))


def _kink(facts: Facts, role: str, b: Branch) -> Kink:
    says: dict[str, float] = {}
    within: dict[str, bool] = {}
    low, high = b.hull
    for of, way in (("derivative", "σ'"), ("torch", "torch"), ("jax", "jax")):
        d = facts.values.get((of, "float64")) if of == "derivative" else facts.autodiff.get((of, "float64"), {}).get("d")
        at = np.flatnonzero(facts.x["float64"] == b.at) if facts.x else []
        if d is None or not len(at) or not b.exact:
            continue
        got = float(d[at[0]])
        says[way] = got
        room = 64 * 2.0**-53 * max(1.0, abs(low), abs(high)) if math.isfinite(low + high) else math.inf
        within[way] = low - room <= got <= high + room
    stated = {float.fromhex(k): float.fromhex(v) for k, v in facts.spec["kinks"].items()}.get(b.at)
    if role == "derivative":
        kind = f"{b.kind} of σ'" if b.kind != "smooth" else "smooth"
        values = (math.nan, math.nan, b.left.value, b.right.value)
        within = {}
    else:
        kind, values = b.kind, (b.left.first, b.right.first, b.left.value, b.right.value)
    return Kink(
        at=number(b.at, 17), exact=b.exact, kind=kind, of="σ" if role == "truth" else "σ'",
        left=number(values[0], 10), right=number(values[1], 10), left_value=number(values[2], 10),
        right_value=number(values[3], 10), stated=None if stated is None else number(stated, 17),
        says={k: number(v, 10) for k, v in says.items()}, within=within,
    )  # fmt: skip


def _kink_findings(facts: Facts, kinks: Sequence[Kink]) -> Iterator[Finding]:
    stated = {float.fromhex(k): float.fromhex(v) for k, v in facts.spec["kinks"].items()}
    real = {float(k["at"]): k for k in kinks if k["of"] == "σ" and k["kind"] in ("kink", "jump", "unknown")}
    native = facts.native
    if "truth" not in facts.branches:
        return
    for at, value in stated.items():
        if at not in real:
            yield _finding(facts, "no-such-kink", "sigma", x=number(at, 17), got="smooth", expected="a kink")
            continue
        for way, got in real[at]["says"].items():
            of = {"σ'": "derivative"}.get(way, way)
            if (of == "derivative" or native.get(of)) and not abs(float(got) - value) <= 1e-12 * max(1, abs(value)):
                yield _finding(
                    facts, "convention", of, dtype="float64", x=number(at, 17), got=f"{float(got):.17g}",
                    expected=f"{value:.17g}, as stated",
                )  # fmt: skip
    if stated:
        for at, k in real.items():
            if at not in stated and k["kind"] == "kink":
                yield _finding(
                    facts, "undeclared-kink", "sigma", x=number(at, 17), got=f"{k['left']} | {k['right']}",
                    expected="declared with --kink",
                )  # fmt: skip
    for k in kinks:
        for way, fine in k["within"].items():
            of = {"σ'": "derivative"}.get(way, way)
            if k["kind"] == "kink" and not fine and native.get(of):
                yield _finding(
                    facts, "outside-clarke", of, dtype="float64", x=k["at"], got=f"{float(k['says'][way]):.17g}",
                    expected=f"between {k['left']} and {k['right']}",
                )  # fmt: skip


# --- the ends of the line, and networks --------------------------------------------------------------


def _ends(facts: Facts) -> Iterator[Finding]:
    """NaN in, NaN out; and no NaN at ±∞ where there is a limit."""
    for (role, dtype), ends in facts.ends.items():
        c, x = facts.curves.get(("truth", dtype)), facts.x[dtype]
        if c is None or dtype != "float64":
            continue
        truth = c.value.hi if role == "sigma" else c.first.hi
        plus, minus, nan = ends[2], ends[3], ends[4]
        whole = math.isinf(float.fromhex(facts.spec["domain"][1])) or abs(x[-1]) > 1e300
        if not math.isnan(nan) and np.ptp(truth[np.isfinite(truth)]) > 0:
            severity = "warning" if role == "sigma" else "note"
            yield _finding(
                facts, "hides-nan", role, dtype=dtype, x="nan", got=f"{nan:.6g}", expected="nan", severity=severity
            )  # fmt: skip
        for got, i, where in ((plus, -1, "inf"), (minus, 0, "-inf")):
            settled = np.isfinite(truth[i]) and abs(truth[i]) < 1e6 and whole
            if math.isnan(got) and settled:
                yield _finding(
                    facts, "nan-at-infinity", role, dtype=dtype, x=where, got="nan", expected=f"{truth[i]:.6g}"
                )


def _network_findings(facts: Facts) -> Iterator[Finding]:
    for name in {n["implementation"]: None for n in facts.networks}:
        bad = [n for n in facts.networks if n["implementation"] == name and n["verdict"] in ("deviates", "error")]
        if bad:
            first = min(bad, key=lambda n: (n["depth"], n["batch"]))
            yield _finding(
                facts, "network", {"refbp": "derivative"}.get(name, name.partition("-")[0]), dtype=first["dtype"],
                got=first["message"], expected="a pass that conforms", where=first["case"], count=len(bad),
                points=sum(n["implementation"] == name for n in facts.networks),
            )  # fmt: skip
