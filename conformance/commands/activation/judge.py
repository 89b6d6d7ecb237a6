"""Turns what the workers reported into findings and a verdict. No user code runs here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from conformance.commands.activation.behaviour import Observation
from conformance.commands.activation.facts import Facts
from conformance.commands.activation.findings import KINDS, Finding, finding
from conformance.commands.activation.kinks import Kink, branch_findings, kink_findings, kinks
from conformance.commands.activation.known import recognised
from conformance.commands.activation.messages import DTYPES
from conformance.commands.activation.trial import FAR, Trial, Way
from conformance.commands.activation.ways import InDtype
from conformance.model.results import number

__all__ = ["judge", "verdict"]

EACH = {
    "warns", "jump", "at-the-ends", "convention", "outside-clarke", "undeclared-kink", "no-such-kink",
}  # fmt: skip
"""Kinds of findings that are kept apart at different points."""
RANK = {"error": 0, "inaccurate": 1, "warning": 2, "note": 3}


@np.errstate(
    all="ignore"
)  # an overflow here is one of the values that are judged, and is a finding
def judge(facts: Facts) -> tuple[list[Finding], list[Way], list[Kink], list[Trial]]:
    """All findings, the table of ways, the branch points, and the trials."""
    findings = [_observed(facts, function, o) for function, o in facts.observations]
    ways: list[Way] = []
    trials: list[Trial] = []
    name = _name(facts)
    for dtype in DTYPES:
        if ("truth", dtype) in facts.curves and len(facts.x[dtype]):
            for more, row, trial in InDtype.of(facts, dtype, name).judged():
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
    """The known activation that σ is; "" if it is none."""
    c = facts.curves.get(("truth", "float64"))
    return recognised(c, facts.x["float64"], facts.spec.given.get("truth", "")) if c else ""


def verdict(findings: Sequence[Finding], strict: bool) -> str:
    """`right`, `inaccurate` or `wrong`."""
    found = {f["severity"] for f in findings}
    if found & ({"error", "warning"} if strict else {"error"}):
        return "wrong"
    return "inaccurate" if "inaccurate" in found else "right"


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """Merge findings: the same one in two dtypes is one; at two points it stays two if its kind is in
    EACH."""
    kept: dict[tuple[str, ...], Finding] = {}
    for f in findings:
        key = (f["kind"], f["of"], *((f["got"], str(f["x"])) if f["kind"] in EACH else ()))
        if key not in kept:
            kept[key] = f
        elif f["dtype"] and f["dtype"] not in kept[key]["dtype"]:
            kept[key]["dtype"] += f", {f['dtype']}"
    return list(kept.values())


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, the worst first, then in the order of KINDS."""
    kinds = list(KINDS)
    return sorted(findings, key=lambda f: (RANK[f["severity"]], kinds.index(f["kind"])))


def _observed(facts: Facts, function: str, o: Observation) -> Finding:
    """The finding of an observation; a warning that shows only far out becomes a note."""
    x = None if o.x is None else number(o.x, 17)
    far = o.kind == "warns" and x is not None and abs(float(x)) > FAR
    severity = "note" if far else KINDS[o.kind].severity
    return finding(
        facts.spec,
        o.kind,
        function,
        dtype=o.dtype,
        x=x,
        got=o.got,
        expected=o.expected,
        severity=severity,
    )


def _ends(facts: Facts) -> Iterator[Finding]:
    """Findings at special numbers: σ(−0) must be σ(0), σ(NaN) be NaN, σ(±∞) the limit if it has one."""
    dtype = facts.dtype
    c = facts.curves.get(("truth", dtype))
    for function in ("sigma", "derivative"):
        ends = facts.ends.get((function, dtype))
        if ends is None or c is None:
            continue
        truth, x = (c.value.hi if function == "sigma" else c.first.hi), facts.x[dtype]
        zero, minus_zero, plus, minus, nan = map(float, ends)
        other = math.isfinite(zero) and minus_zero != zero
        if other and 0 in x and not _at_break(facts, function, minus_zero):
            got, expected = f"{minus_zero:.17g}", f"{zero:.17g}, as at 0"
            yield finding(
                facts.spec, "at-the-ends", function, dtype=dtype, x=-0.0, got=got, expected=expected,
                severity="error",
            )  # fmt: skip
        finite = truth[np.isfinite(truth)]
        if not math.isnan(nan) and finite.size and np.ptp(np.clip(finite, -1e300, 1e300)) > 0:
            yield finding(
                facts.spec, "hides-nan", function, dtype=dtype, x="nan", got=f"{nan:.6g}", expected="nan",
                severity="warning" if function == "sigma" else "note",
            )  # fmt: skip
        for got_there, i, where in ((plus, -1, "inf"), (minus, 0, "-inf")):
            before = truth[int(np.argmin(np.abs(x - math.copysign(1e100, x[i]))))]
            # it is a limit if the value was there long before the end: log|x| is 709 at the last float,
            # without a limit
            settled = abs(x[i]) > 1e300 and abs(truth[i] - before) <= 1e-9 * max(1.0, abs(before))
            if not settled or abs(got_there - truth[i]) <= 1e-6 * max(1.0, abs(truth[i])):
                continue
            kind = "nan-at-infinity" if math.isnan(got_there) else "at-the-ends"
            got, expected = f"{got_there:.6g}", f"{truth[i]:.6g}"
            yield finding(
                facts.spec, kind, function, dtype=dtype, x=where, got=got, expected=expected
            )


def _at_break(facts: Facts, function: str, minus_zero: float) -> bool:
    """Whether σ has a kink or a jump at 0, and the value at −0 lies between its sides."""
    for b in facts.branches.get("truth", []):
        if b.at == 0 and b.kind in ("kink", "jump"):
            values = b.left.value, b.right.value
            low, high = (min(values), max(values)) if function == "sigma" else b.hull
            return low <= minus_zero <= high
    return False


def _networks(facts: Facts) -> Iterator[Finding]:
    """The smallest network that does not conform, of each implementation."""
    for name in dict.fromkeys(n["implementation"] for n in facts.networks):
        of = [n for n in facts.networks if n["implementation"] == name]
        wrong = [n for n in of if n["verdict"] in ("deviates", "error")]
        if amiss := wrong or [n for n in of if n["verdict"] == "inaccurate"]:
            first = min(amiss, key=lambda n: (n["depth"], n["batch"]))
            yield finding(
                facts.spec,
                "network" if wrong else "network-inaccurate",
                "derivative" if name == "refbp" else name.partition("-")[0],
                dtype=first["dtype"],
                got=first["message"],
                expected="a pass that conforms",
                where=first["case"],
                count=len(amiss),
                points=len(of),
            )
