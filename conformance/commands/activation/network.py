"""Networks of several depths and batches with the activation in them, judged like any other network.

The truth is the user's own function on Taylor balls. What its code may lose is what rounding explains, never
what was measured of that code: otherwise a wrong derivative would widen its own tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from conformance.cases.catalogue import Case, cycle
from conformance.commands.activation.autodiff import Functions
from conformance.commands.activation.behaviour import quiet, values
from conformance.commands.activation.bounds import (
    Precision,
    continued,
    hulls,
    unseen_derivative,
    unseen_value,
)
from conformance.commands.activation.branches import Branch, branches, one
from conformance.commands.activation.curve import Curve, curve
from conformance.commands.activation.known import concerning, recognised
from conformance.commands.activation.lifted import Function
from conformance.commands.activation.messages import Emit, NetworkResult, Networks, NotRun
from conformance.commands.activation.points import domain_of, points
from conformance.commands.activation.spec import Spec
from conformance.implementations import IMPLEMENTATIONS, Implementation
from conformance.judge.known_differences import amend
from conformance.judge.measure import fit
from conformance.judge.result import judged_by
from conformance.judge.subject import Own, Subject
from conformance.model.problem import Floats
from conformance.model.results import Result
from conformance.truth.balls import Ball
from conformance.truth.definitions import Point
from conformance.truth.rounding import Accuracy, Reals
from conformance.truth.taylor import UndecidedError, branching, variable

__all__ = ["OwnDefinition", "numpy_networks", "run_networks", "unseen"]

Bounds: TypeAlias = tuple[Reals, Reals]
"""Bounds on what rounding may do to σ and to σ', at points."""
COMPILED = ((2, 5), (5, 5))  # for JAX, which compiles each operation anew for each shape
SHAPES = ((1, 64), (2, 7), (3, 2), (5, 7), (8, 1), (16, 2), (2, 1), (3, 7))  # (depth, batch)
DTYPES = ("float64", "float32")
REACH = 40.0  # arguments of σ in these networks are far smaller
LEAST = 4.0  # u: no coefficient of `_accuracy` is smaller


class OwnDefinition:
    """A NumPy function in the form of a `Definition`: on one ball at a time."""

    def __init__(self, f: Function, of: Iterable[Branch], taken: Mapping[float, float]) -> None:
        """`of`: the branch points of f. `taken`: σ' at kinks, as the code under test computes it."""
        self.f = f
        self.branches = [b for b in of if b.kind != "smooth"]
        self.breaks = tuple(b.at for b in self.branches)
        self.kinks: Mapping[float, float] = MappingProxyType(dict(taken))
        self.poles: tuple[float, ...] = ()
        self.steeper = None

    def __call__(self, a: Ball) -> Point:
        """σ, σ' and σ'' at a; the hull of both branches where a's side is undecided."""
        try:
            with branching() as b:
                t = one(self.f, variable(a))
        except UndecidedError:
            return self._hull(a)
        first = t.c1
        if b.ties and a.is_exact() and float(a) in self.kinks:
            first = variable(a).c1 * 0 + self.kinks[float(a)]
        return Point(t.c0, first, 2 * t.c2)

    def _hull(self, a: Ball) -> Point:
        """The union of the two branches that the ball touches, each continued over all of the ball."""
        sides = []
        for end in (a.lower(), a.upper()):
            with branching() as b:
                one(self.f, variable(end.mid()))
            with branching(tuple(b.decisions)):
                sides.append(one(self.f, variable(a)))
        left, right = sides
        return Point(
            left.c0.union(right.c0),
            left.c1.union(right.c1),
            2 * left.c2.union(right.c2),
            decided=False,
        )

    def jumps(self) -> Mapping[float, float]:
        """How far σ' jumps at each kink."""
        return {b.at: abs(b.hull[1] - b.hull[0]) for b in self.branches if np.isfinite(sum(b.hull))}


def _accuracy(
    c: Curve, x: Floats, low: Reals, high: Reals, p: Precision, allowed: Bounds
) -> Accuracy:
    """`allowed`, what rounding may do to σ and σ' at the points, as coefficients for the judge."""
    size = np.abs(x)
    # except for 0 itself, no argument in these networks is nearer 0 than 2^−30
    near = (size <= REACH) & ((size >= 2.0**-30) | (size == 0)) & c.known
    near &= np.isfinite(allowed[0]) & np.isfinite(allowed[1])
    value, first = np.abs(c.value.hi[near]), np.fmax(np.abs(low[near]), np.abs(high[near]))
    lost, one = p.normal * (1 + np.abs(x[near])), np.ones(int(near.sum()))
    c0, h = fit(allowed[0][near], value, [(one, np.inf, 1.0)], p.u, lost, LEAST)
    c1, g, d = fit(
        allowed[1][near], first, [(value, 32.0, LEAST), (one, np.inf, 1.0)], p.u, 2 * lost, LEAST
    )
    return Accuracy(c0, 0.0, c1, g, d, 0.0, h)


def _cases(name: str, dtype: str, of_implementation: str) -> list[Case]:
    shapes = COMPILED if of_implementation.startswith("jax") else SHAPES
    cases = []
    for i, (L, n) in enumerate(shapes):
        output = "identity" if i % 2 and L > 1 else ""
        bias = bool(i % 2) and shapes is SHAPES
        cases.append(Case("typical", name, L, n, dtype, cycle(L), output=output, bias=bias))
    return cases


def run_networks(
    spec: Spec,
    given: Functions,
    of_implementation: str,
    impl: Implementation,
    own: Callable[[str], None],  # makes the implementation know the activation by that name
    values: Callable[[Floats], tuple[Floats, Floats]],  # σ and σ' at points
    allowed: Callable[[Curve, Floats, Precision], Bounds],
    emit: Emit,
    of: list[Branch] | None = None,  # σ's branch points, where they are known
) -> None:
    """Run and judge every network, in one implementation."""
    low, high = spec.domain
    if low > -REACH or high < REACH:
        emit(NotRun(f"networks: their arguments reach ±{REACH:g}, beyond --domain."))
        return
    exact = given["truth" if "truth" in given else "sigma"]
    of = branches(exact, (low, high)).found if of is None else of
    name = "own"  # a case's numbers are drawn by its id, which must not depend on the user's names
    own(name)
    results = []
    for dtype in filter(spec.asks, DTYPES):
        x = points(dtype, domain_of(dtype), [b.at for b in of])
        x = x[np.abs(x) <= REACH]
        at = np.array([b.at for b in of], dtype)
        with quiet():
            y, d = values(x)
            taken = values(at)[1] if of else at
        if y.dtype != x.dtype or d.dtype != x.dtype:
            why = f"{of_implementation} would mix {y.dtype} and {d.dtype}."
            emit(NotRun(f"networks in {dtype}: {why}"))
            continue
        c = continued(curve(exact, x.astype(np.float64)), of, x.astype(np.float64))
        p = Precision.of(dtype)
        known = recognised(c, x.astype(np.float64), spec.given.get("truth", ""))
        definition = _own(exact, of, x, taken, c, p, allowed(c, x, p))
        for case in _cases(name, dtype, of_implementation):
            results.append(_judged(case, definition, known, of_implementation, impl))
    emit(Networks(results))


def _own(
    exact: Function,
    of: list[Branch],
    x: Floats,
    taken: Floats,
    c: Curve,
    p: Precision,
    allowed: Bounds,
) -> Own:
    """What the judge needs to know of the activation. At kinks its σ' is that of the code under test."""
    low, high, _ = hulls(of, x.astype(np.float64), c.first.hi, p)
    at_kinks = {
        b.at: b.left.first if b.kind == "smooth" else float(v)
        for b, v in zip(of, taken, strict=True)
        if b.exact
    }
    accuracy = _accuracy(c, x.astype(np.float64), low, high, p, allowed)
    return Own(OwnDefinition(exact, of, at_kinks), accuracy)  # type: ignore[arg-type]


def _judged(
    case: Case, own: Own, known: str, of_implementation: str, impl: Implementation
) -> NetworkResult:
    """A network's result, reduced to what the check keeps. `known`: the name of σ in the tables."""
    with quiet():
        subject = Subject(case, {case.activation: own})
        r = judged_by(subject, of_implementation, impl)
        beyond = _beyond(subject)
        if r["verdict"] == "deviates":
            r = _as_known(case, own, known, of_implementation, impl) or r
    worst, first = r["worst"], r["first_deviation"]
    if first and not np.isfinite([float(first["expected"]), float(first["tolerance"])]).all():
        beyond = beyond or "the truth leaves the range of the dtype."
    if beyond and r["verdict"] == "deviates":
        r["verdict"], r["message"] = "undecided", beyond
    return {
        "case": case.id,
        "implementation": of_implementation,
        "dtype": case.dtype,
        "depth": case.depth,
        "batch": case.batch,
        "verdict": r["verdict"],
        "message": r["message"],
        "ratio": worst["ratio"] if worst else "nan",
        "gates": sorted({rec["gate"] for rec in r["records"]}),
        "records": len(r["records"]),
    }


def _as_known(
    case: Case, own: Own, known: str, of_implementation: str, impl: Implementation
) -> Result | None:
    """The result, if it conforms to what a framework is known to compute instead; else None."""
    # refbp runs functions given as NumPy, which may wrap any framework's: "" means any
    framework = of_implementation.partition("-")[0].removeprefix("refbp")
    if not (rows := concerning(known, framework, case.dtype)):
        return None
    instead = own._replace(definition=amend(rows).maths.activations[known])
    r = judged_by(Subject(case, {case.activation: instead}), of_implementation, impl)
    if r["verdict"] != "conforms":
        return None
    ids = ", ".join(d.id for d in rows)
    message = f"conforms to what it is known to compute instead: {ids}."
    return {**r, "verdict": "known-difference", "message": message}


def _beyond(subject: Subject) -> str:
    """Why the network cannot be judged: an argument of σ lies beyond ±REACH, where σ's rounding is not known;
    "" if none does."""
    try:
        A = subject.truth(subject.amend(())).A
    except Exception:
        return "its truth cannot be computed."
    most = max(float(np.abs(np.nan_to_num(a.hi, nan=np.inf)).max()) for a in A.values())
    return f"an argument of σ is {most:.3g}, beyond ±{REACH:g}." if most > REACH else ""


def numpy_networks(spec: Spec, given: Functions, of: list[Branch], emit: Emit) -> None:
    """Judge σ and σ' in refbp's two procedures; `of`: the branch points of σ."""
    if "sigma" not in given or "derivative" not in given:
        emit(NotRun("networks in refbp: both σ and σ' are needed."))
        return
    from conformance.implementations.refbp_ import Refbp, elementwise

    f, g = given["sigma"], given["derivative"]
    impl = Refbp("refbp", IMPLEMENTATIONS["refbp"])

    def own(name: str) -> None:
        impl.own[name] = elementwise(name, f, g)

    def allowed(c: Curve, x: Floats, p: Precision) -> Bounds:
        try:
            seen = [
                curve(h, x.astype(np.float64), False).tolerance(p.u, p.normal) / 2 for h in (f, g)
            ]
        except Exception:  # one of them cannot be evaluated on balls
            return unseen(c, x, p)
        return seen[0], seen[1] + 4 * p.u * np.abs(c.first.hi)

    def both(x: Floats) -> tuple[Floats, Floats]:
        return values(f, x), values(g, x)

    run_networks(spec, given, "refbp", impl, own, both, allowed, emit, of)


def unseen(c: Curve, x: Floats, p: Precision, way: str = "") -> Bounds:
    """What rounding may do to σ and σ' in code that cannot be evaluated on balls."""
    x = x.astype(np.float64)
    return unseen_value(c, x, p), unseen_derivative(c, x, p, way)
