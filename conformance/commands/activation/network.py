"""The activation in networks: depths and batches, forward and backward, judged like any other.

Its mathematics is the user's own function on Taylor balls; what its code may lose is what rounding explains,
never what was measured, so that a wrong derivative is no excuse for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from conformance.cases.catalogue import Case, cycle
from conformance.commands.activation.behaviour import Quiet, values
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
from conformance.commands.activation.points import domain_of, points
from conformance.implementations import IMPLEMENTATIONS, Implementation
from conformance.judge.known_differences import amend
from conformance.judge.measure import fit
from conformance.judge.result import judged_by
from conformance.judge.subject import Own, Subject
from conformance.model.results import Result
from conformance.truth.balls import Ball
from conformance.truth.definitions import Point
from conformance.truth.rounding import Accuracy
from conformance.truth.taylor import UndecidedError, branching, variable

__all__ = ["OwnDefinition", "numpy_networks", "run_networks", "unseen"]

Emit = Callable[..., None]
COMPILED = ((2, 5), (5, 5))  # for JAX, which compiles each operation anew for each shape
SHAPES = ((1, 64), (2, 7), (3, 2), (5, 7), (8, 1), (16, 2), (2, 1), (3, 7))  # (depth, batch)
DTYPES = ("float64", "float32")
REACH = 40.0  # the arguments of σ in these networks lie well within
LEAST = 4.0


class OwnDefinition:
    """A NumPy function as the truth knows activations: on one ball at a time."""

    def __init__(
        self, f: Callable[[Any], Any], of: Iterable[Branch], taken: Mapping[float, float]
    ) -> None:
        self.f = f
        self.branches = [b for b in of if b.kind != "smooth"]
        self.breaks = tuple(b.at for b in self.branches)
        self.kinks: Mapping[float, Any] = MappingProxyType(dict(taken))
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
        """Each branch that a touches, continued over all of it."""
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
    c: Curve, x: Any, low: Any, high: Any, p: Precision, allowed: tuple[Any, Any]
) -> Accuracy:
    """[c, e, c', g, d, f, h]: what rounding may do to σ and σ' at the points, in the judge's terms."""
    size = np.abs(x)  # and no argument lies nearer 0 than that, but 0
    near = (
        (size <= REACH)
        & ((size >= 2.0**-30) | (size == 0))
        & c.known
        & np.isfinite(allowed[0])
        & np.isfinite(allowed[1])
    )
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
    spec: Mapping[str, Any],
    given: Mapping[str, Any],
    of_implementation: str,
    impl: Implementation,
    own: Callable[[str], None],  # makes the implementation know the activation by that name
    values: Callable[[Any], tuple[Any, Any]],  # σ and σ' at points
    allowed: Callable[[Curve, Any, Precision], tuple[Any, Any]],  # what rounding may do to them
    emit: Emit,
    of: list[Branch] | None = None,  # σ's branch points, where they are known
) -> None:
    """Every network, in one implementation."""
    low, high = (float.fromhex(x) for x in spec["domain"])
    if low > -REACH or high < REACH:
        emit("not-run", text=f"networks: their arguments reach ±{REACH:g}, beyond --domain.")
        return
    exact = given.get("truth", given.get("sigma"))
    of = branches(exact, (low, high)).found if of is None else of
    name = "own"  # the data follow from the case's id, and so from no name of the user's
    own(name)
    results = []
    for dtype in DTYPES:
        x = points(dtype, domain_of(dtype), [b.at for b in of])
        x = x[np.abs(x) <= REACH]
        at = np.array([b.at for b in of], dtype)
        with Quiet():
            y, d = values(x)
            taken = values(at)[1] if of else at
        if y.dtype != x.dtype or d.dtype != x.dtype:
            emit(
                "not-run",
                text=f"networks in {dtype}: {of_implementation} would mix {y.dtype} and {d.dtype}.",
            )
            continue
        own_ = _own(exact, of, x, taken, Precision.of(dtype), allowed, spec["truth"])
        for case in _cases(name, dtype, of_implementation):
            results.append(_judged(case, name, own_, of_implementation, impl))
    emit("networks", results=results)


def _own(
    exact: Any,
    of: list[Branch],
    x: Any,
    taken: Any,
    p: Precision,
    allowed: Callable[..., Any],
    truth: str,
) -> tuple[Own, str]:
    """What the judge has to know of the activation, and its name where the tables know it; at kinks, it takes
    what its own σ' takes."""
    c = continued(curve(exact, x.astype(np.float64)), of, x.astype(np.float64))
    known = recognised(c, x.astype(np.float64), truth)
    low, high, _ = hulls(of, x.astype(np.float64), c.first.hi, p)
    at_kinks = {
        b.at: b.left.first if b.kind == "smooth" else float(v)
        for b, v in zip(of, taken, strict=True)
        if b.exact
    }
    definition: Any = OwnDefinition(exact, of, at_kinks)
    return Own(
        definition, _accuracy(c, x.astype(np.float64), low, high, p, allowed(c, x, p))
    ), known


def _judged(
    case: Case, name: str, own: tuple[Own, str], of_implementation: str, impl: Implementation
) -> dict[str, Any]:
    """A network's result, as little of it as the check keeps."""
    with Quiet():
        subject = Subject(case, {name: own[0]})
        r = judged_by(subject, of_implementation, impl)
        beyond = _beyond(subject)
        if r["verdict"] == "deviates":
            r = _as_known(case, name, own, of_implementation, impl) or r
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
    case: Case, name: str, own: tuple[Own, str], of_implementation: str, impl: Implementation
) -> Result | None:
    """The result, where it conforms to what a framework is known to compute instead."""
    # in refbp runs what was given as NumPy; where that is a black box, it may be any framework's
    framework = of_implementation.partition("-")[0].removeprefix("refbp")
    if not (rows := concerning(own[1], framework, case.dtype)):
        return None
    built = amend(rows).maths.activations[own[1]]
    subject = Subject(case, {name: own[0]._replace(definition=built)})
    if (r := judged_by(subject, of_implementation, impl))["verdict"] != "conforms":
        return None
    ids = ", ".join(d.id for d in rows)
    message = f"conforms to what it is known to compute instead: {ids}."
    return {**r, "verdict": "known-difference", "message": message}


def _beyond(subject: Subject) -> str:
    """Whether the network's own arguments leave what σ's rounding was looked at on; "" where they do not."""
    try:
        A = subject.truth(subject.amend(())).A
    except Exception:
        return "its truth cannot be computed."
    most = max(float(np.abs(np.nan_to_num(a.hi, nan=np.inf)).max()) for a in A.values())
    return f"an argument of σ is {most:.3g}, beyond ±{REACH:g}." if most > REACH else ""


def numpy_networks(
    spec: Mapping[str, Any], given: Mapping[str, Any], of: list[Branch], emit: Emit
) -> None:
    """σ and σ' in refbp's two procedures."""
    if "sigma" not in given or "derivative" not in given:
        emit("not-run", text="networks in refbp: both σ and σ' are needed.")
        return
    from conformance.implementations.refbp_ import Refbp, elementwise

    f, g = given["sigma"], given["derivative"]
    impl = Refbp("refbp", IMPLEMENTATIONS["refbp"])

    def own(name: str) -> None:
        impl.own[name] = elementwise(name, f, g)

    def allowed(c: Curve, x: Any, p: Precision) -> tuple[Any, Any]:
        try:
            seen = [
                curve(h, x.astype(np.float64), False).tolerance(p.u, p.normal) / 2 for h in (f, g)
            ]
        except Exception:  # one of them cannot be seen into
            return unseen(c, x, p)
        return seen[0], seen[1] + 4 * p.u * np.abs(c.first.hi)

    def both(x: Any) -> tuple[Any, Any]:
        return values(f, x), values(g, x)

    run_networks(spec, given, "refbp", impl, own, both, allowed, emit, of)


def unseen(c: Curve, x: Any, p: Precision, way: str = "") -> tuple[Any, Any]:
    """What rounding may do to σ and σ' of code that cannot be seen into."""
    x = x.astype(np.float64)
    return unseen_value(c, x, p), unseen_derivative(c, x, p, way)
