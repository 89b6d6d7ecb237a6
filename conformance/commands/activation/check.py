"""The check of a custom activation, from what was asked to a verdict: one value, as JSON writes it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from conformance.commands.activation.definitions import definition
from conformance.commands.activation.facts import NETWORKS, Facts
from conformance.commands.activation.findings import NAMES, Finding, finding
from conformance.commands.activation.isolated import DEFAULT_TIMEOUT, MEMORY, gather
from conformance.commands.activation.judge import judge, verdict
from conformance.commands.activation.kinks import Kink, intervals
from conformance.commands.activation.trial import FAR, Trial, Way
from conformance.judge.summary import environment
from conformance.model.results import Number, number
from conformance.tools.load import split
from conformance.tools.trouble import RefusedError

__all__ = [
    "SCHEMA_VERSION",
    "Check",
    "CheckError",
    "check",
    "check_functions",
    "conclude",
    "specification",
]

SCHEMA_VERSION = 1
EXIT = {"right": 0, "inaccurate": 0, "wrong": 1, "not judged": 2}


class CheckError(RefusedError):
    """What was asked for cannot be checked: what, and what to do."""


class Series(TypedDict):
    """One curve for the plots, in one dtype."""

    way: str
    dtype: str
    of: str
    x: list[Number]
    y: list[Number]
    ulps: list[Number]
    allowed: list[Number]


class Check(TypedDict):
    """The whole answer. Two runs differ only in `environment`."""

    schema_version: int
    name: str
    verdict: str  # right, inaccurate, wrong or not judged
    exit_code: int
    message: str
    strict: bool
    given: dict[str, str]
    domain: list[Number]
    kinks_stated: dict[str, Number]
    findings: list[Finding]
    ways: list[Way]
    kinks: list[Kink]
    networks: list[dict[str, Any]]
    not_run: list[dict[str, str]]
    unsearched: dict[str, list[list[Number]]]  # where nothing is known between the points
    unsupported: dict[str, str]
    points: dict[str, int]
    series: list[Series]
    printed: dict[str, str]
    environment: dict[str, Any]


def specification(
    sigma: str = "",
    derivative: str = "",
    truth: str = "",
    torch: str = "",
    jax: str = "",
    kinks: Mapping[float, float] | None = None,
    domain: tuple[float, float] = (-math.inf, math.inf),
    timeout: float = DEFAULT_TIMEOUT,
    network: bool = True,
    at_hand: bool = False,  # the functions themselves are there; the names only name them
) -> dict[str, Any]:
    """What is asked of the workers. Raises CheckError and LoadError for what cannot be."""
    if not sigma and not truth:
        raise CheckError("there is nothing to differentiate: give σ, or a definition with --truth.")
    for spec in (sigma, derivative, torch, jax):
        if spec and not at_hand:
            split(spec)
    if truth and ":" in truth and not at_hand:
        split(truth)
    elif truth and ":" not in truth:
        definition(truth)
    low, high = map(float, domain)
    if not low < high:
        raise CheckError(
            f"the domain {low:g}:{high:g} is empty; expected LOW:HIGH, such as -50:50."
        )
    if not 0 < timeout < math.inf:
        raise CheckError(f"a timeout of {timeout:g} s; expected seconds, such as 20.")
    for at, value in (kinks or {}).items():
        stated = f"the kink {at:g}={value:g}"
        if not (math.isfinite(at) and math.isfinite(value)):
            raise CheckError(f"{stated} is not finite; expected X=DERIVATIVE, such as 0=0.5.")
        if not low <= at <= high:
            raise CheckError(f"{stated} lies outside the domain {low:g}:{high:g}.")
    largest = float(np.finfo(np.float64).max)
    return {
        "name": (sigma or derivative or truth).rpartition(":")[2],
        "sigma": sigma, "derivative": derivative, "truth": truth, "torch": torch, "jax": jax,
        "kinks": {float(k).hex(): float(v).hex() for k, v in (kinks or {}).items()},
        "domain": [max(low, -largest).hex(), min(high, largest).hex()],
        "timeout": timeout, "memory": MEMORY, "network": network, "folder": str(Path.cwd()),
    }  # fmt: skip


def check(spec: Mapping[str, Any], frameworks: Iterable[str] = (), strict: bool = False) -> Check:
    """Run the workers and judge what they found. `frameworks` names those whose autodiff is compared."""
    begun = time.monotonic()
    roles = _roles(spec, frameworks)
    facts, printed = gather(spec, roles)
    return conclude(facts, strict, {k: v for k, v in printed.items() if v.strip()}, begun)


def check_functions(
    functions: Mapping[str, Any],
    spec: Mapping[str, Any],
    frameworks: Iterable[str] = (),
    strict: bool = False,
) -> Check:
    """The same for functions at hand, in this process: nothing guards against what they do to it."""
    from conformance.commands.activation.evidence import array
    from conformance.commands.activation.worker import StoppedError, run_role

    begun = time.monotonic()
    facts = Facts(spec)
    points: dict[str, Any] = {}

    def emitting(role: str) -> Any:
        def emit(event: str, **more: Any) -> None:
            if event == "points":
                points.update({d: array(a) for d, a in more.items()})
            facts.take(role, {"event": event, **more})

        return emit

    def grids() -> dict[str, Any]:
        if not points:
            raise StoppedError
        return points

    for role in _roles(spec, frameworks):
        run_role(dict(spec), role, lambda: dict(functions), grids, emitting(role))
    return conclude(facts, strict, {}, begun)


def _roles(spec: Mapping[str, Any], frameworks: Iterable[str]) -> list[str]:
    """NumPy first, and the frameworks that were asked for or that have a version of their own."""
    wanted = set(frameworks) if spec["sigma"] else set()
    return ["numpy", *(w for w in ("torch", "jax") if w in wanted or spec[w])]


def conclude(facts: Facts, strict: bool, printed: Mapping[str, str], begun: float) -> Check:
    """The verdict on what is known."""
    spec = facts.spec
    findings, ways, kinks, trials = judge(facts)
    unjudged = _problems(facts, findings)
    if facts.curves.get(("truth", "float64")) is None and not unjudged:
        unjudged = _why_no_truth(facts, findings)
    unjudged = unjudged or _nothing_judged(facts, ways) or _unsearched(facts)
    answer = verdict(findings, strict)
    answer = "not judged" if unjudged and answer != "wrong" else answer
    return Check(
        schema_version=SCHEMA_VERSION,
        name=str(spec["name"]),
        verdict=answer,
        exit_code=int(strict) if answer == "inaccurate" else EXIT[answer],
        message=_message(answer, findings, unjudged, facts, strict),
        strict=strict,
        given={
            k: str(spec[k]) for k in ("sigma", "derivative", "truth", "torch", "jax") if spec[k]
        },
        domain=[number(float.fromhex(d), 17) for d in spec["domain"]],
        kinks_stated={
            f"{float.fromhex(k):.17g}": number(float.fromhex(v), 17)
            for k, v in spec["kinks"].items()
        },
        findings=findings,
        ways=ways,
        kinks=kinks,
        networks=facts.networks,
        not_run=facts.not_run
        + _left_out(spec)
        + _networks_that_failed(facts)
        + [{"way": w["role"], "why": w["text"]} for w in _framework_problems(facts)],
        unsearched={
            facts.named(k): [[number(x, 17) for x in i] for i in v]
            for k, v in facts.unsearched.items()
        },
        unsupported={NAMES[k]: v for k, v in facts.unsupported.items()},
        points={d: len(x) for d, x in facts.x.items()},
        series=_series(trials),
        printed=dict(printed),
        environment=environment(time.monotonic() - begun, 1) | {"packages_used": facts.versions},
    )


def _left_out(spec: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was not asked for."""
    return [] if spec["network"] else [{"way": "networks", "why": "not asked for."}]


def _framework_problems(facts: Facts) -> list[Mapping[str, Any]]:
    """A framework that could not run on σ itself: that way is not run. The user's own version must; one that
    is there and does not start is no such excuse, and where time ran out nothing is known."""
    of = [p for p in facts.problems if p["role"] != "numpy" and p["event"] != "timeout"]
    return [p for p in of if not facts.spec[p["role"]] and not _does_not_start(p)]


def _does_not_start(p: Mapping[str, Any]) -> bool:
    """Whether a framework is there, or was asked for, and cannot even be imported."""
    early = p.get("stage") in ("starting", "loading")
    return bool(early and p["role"] != "numpy" and p["event"] in ("raised", "ended"))


def _networks_that_failed(facts: Facts) -> list[dict[str, str]]:
    of = [p for p in facts.problems if _networks_alone(p)]
    return [{"way": f"networks in {p['role']}", "why": str(p["text"])} for p in of]


def _problems(facts: Facts, findings: list[Finding]) -> str:
    """What kept user code from being judged, in a sentence; what it did wrong becomes a finding."""
    ignored = [id(p) for p in _framework_problems(facts)]
    unjudged = ""
    for p in facts.problems:
        if id(p) in ignored or _networks_alone(p):
            continue
        lines = "; ".join(p.get("lines", []))
        if found := _its_own_fault(facts, p, lines):
            findings.append(found)
            continue
        who = "" if p["event"] in ("raised", "refused") else f"{_role(facts, p['role'])} "
        if _does_not_start(p):
            who = f"{p['role']} does not start: {'it ' * (p['event'] == 'ended')}"
        unjudged = unjudged or f"{who}{p['text']}{f' [{lines}]' if lines else ''}"
    return unjudged


def _networks_alone(p: Mapping[str, Any]) -> bool:
    """Whether all but the networks was done, and it was no doing of the user's code that they were not: then
    they are not run, with the reason. Code that ends its process, or raises, has its say; where time ran out
    the verdict would hang on the clock."""
    ours = p["event"] == "raised" and not p.get("lines")
    return ours and p.get("stage") == NETWORKS


def _its_own_fault(facts: Facts, p: Mapping[str, Any], lines: str) -> Finding | None:
    """An exception that the function raised while it was called: not while its file was loaded."""
    kind = p.get("kind", "")
    if (
        p["event"] != "raised"
        or p.get("stage") == "loading"
        or kind in ("SystemExit", "MemoryError")
    ):
        return None
    of = p.get("of", p["role"])
    if kind == "ReturnedError":
        got = p["text"].removeprefix("ReturnedError: ")
        return finding(facts.spec, "not-an-array", of, got=got, expected="an array like x")
    if not lines:
        return None
    return finding(facts.spec, "raises", of, got=p["text"], expected="an array", where=lines)


def _role(facts: Facts, role: str) -> str:
    return "the code under test" if role == "numpy" else f"the {role} version"


def _why_no_truth(facts: Facts, findings: Sequence[Finding]) -> str:
    if any(f["severity"] == "error" for f in findings):
        return ""
    for role in ("truth", "sigma"):
        if role in facts.unsupported:
            return f"σ cannot be certified: {facts.unsupported[role]}"
    return "σ could not be certified: no value of it is known."


def _nothing_judged(facts: Facts, ways: Sequence[Way]) -> str:
    """Where no derivative was compared with anything, and no value with a definition; or not everywhere."""
    if dark := _dark(facts):
        return dark
    compared = any(w["of"] == "derivative" and w["dtype"] != "bfloat16" for w in ways)
    if compared or (facts.spec["truth"] and facts.spec["sigma"]):
        return ""
    return (
        "there is no derivative to judge: give σ', a version of your own with --torch or --jax, or install "
        "torch or JAX for their autodiff of σ."
    )


def _unsearched(facts: Facts) -> str:
    """Where comparisons flip more often than can be followed: nothing is known between the points."""
    for role, where in facts.unsearched.items():
        return (
            f"{facts.named(role)} has more branch points than can be examined: right at {_count(facts):,} "
            f"points, but not judged between them where {intervals(where)}. Give a --domain."
        )
    return ""


def _count(facts: Facts) -> int:
    return sum(len(x) for d, x in facts.x.items() if d != "bfloat16")


def _dark(facts: Facts) -> str:
    """Where σ's code has values and its formula has none: np.nan_to_num of a root, for example."""
    y, c = facts.values.get(("sigma", "float64")), facts.curves.get(("truth", "float64"))
    if y is None or c is None:
        return ""
    dark = np.isnan(c.value.hi) & np.isfinite(y) & (np.abs(facts.x["float64"]) <= FAR)
    dark &= ~np.isin(facts.x["float64"], [b.at for b in facts.branches.get("truth", [])])
    if dark.sum() <= 2:  # 0/0 at a point is a finding
        return ""
    x = facts.x["float64"][dark]
    at = float(x[np.argmin(np.abs(x))])
    return (
        f"σ cannot be certified at {len(x)} of {len(y)} points, such as x = {at:.6g}: its formula has no "
        "value there, but its code has. Give a definition with --truth, or a --domain."
    )


def _message(
    answer: str, findings: Sequence[Finding], unjudged: str, facts: Facts, strict: bool
) -> str:
    """The verdict in words."""
    errors = [f for f in findings if f["severity"] == "error"]
    warnings = [f for f in findings if f["severity"] == "warning"]
    if answer == "not judged":
        return unjudged if unjudged.startswith("σ") else unjudged[:1].upper() + unjudged[1:]
    if answer == "wrong":
        first = (errors or warnings)[0]
        more = len(errors or warnings) - 1
        text = f"{_title(first)}."
        return text + (f" {more} more finding{'s' if more > 1 else ''}." if more else "")
    if answer == "inaccurate":
        return _inaccurate(findings)
    ways = " and ".join(sorted({w for w, _ in facts.autodiff}))
    what = "σ' is the derivative of σ" if facts.spec["derivative"] else ""
    what = what or (
        f"what {ways} makes of σ is its derivative" if ways else "σ is what it is defined to be"
    )
    kinks = sum(b.kind == "kink" for b in facts.branches.get("truth", []))
    where = (
        "the whole line of floats"
        if min(abs(float.fromhex(d)) for d in facts.spec["domain"]) > 1e308
        else "its domain"
    )
    points = f"{_count(facts):,} points of float64 and float32"
    text = f"{what} on {where}: {points}"
    if "derivative" in facts.unsupported:
        text = f"{what} at {points}"
    if "truth" in facts.branches:
        text += f", {kinks} kink{'s' if kinks != 1 else ''}" if kinks else ", no kink"
    if "derivative" in facts.unsupported:
        text += ", at these alone, for σ' cannot be seen into"
    ran = [n for n in facts.networks if n["verdict"] in ("conforms", "known-difference")]
    text += f", {len(ran)} networks" if ran else ""
    text += "." if not warnings else f"; {len(warnings)} warning{'s' if len(warnings) > 1 else ''}."
    return text[:1].upper() + text[1:] if not text.startswith("σ") else text


def _inaccurate(findings: Sequence[Finding]) -> str:
    """What loses digits, where, and what keeps them."""
    first, *rest = (f for f in findings if f["severity"] == "inaccurate")
    others = [f for f in rest if f["of"] != first["of"]]
    so = "".join(f" So does {f['of']} at x = {f['x']}." for f in others)
    return f"no mistake, but {_title(first, ' loses digits')}. {first['remedy']}{so}"


def _title(f: Finding, said: str = "") -> str:
    """What was found, or `said` of it, and where."""
    at = f" at x = {f['x']}" if f["x"] is not None else ""
    like = f"; it looks like {f['looks_like']}" if f["looks_like"] else ""
    got = f": got {f['got']}, expected {f['expected']}" if f["got"] else ""
    said = said or f": {f['title']}"
    return f"{f['of']}{said}{at}{got}{like}"


# --- plots --------------------------------------------------------------------------------------------

MOST = 700


def _series(trials: Sequence[Trial]) -> list[Series]:
    """Curves for the report: the certified ones, then each way's."""
    found: list[Series] = []
    for t in trials:
        if t.p.name == "bfloat16":
            continue
        if t.of == "sigma" or (t.of == "derivative" and t.what == "derivative"):
            found.append(_one(t, "certified", t.exact.hi))
        found.append(_one(t, NAMES[t.of], t.got))
    return found


def _one(t: Trial, way: str, y: Any) -> Series:
    """Thinned to what a plot can show, the worst points kept."""
    keep = np.zeros(len(t.x), bool)
    keep[np.linspace(0, len(t.x) - 1, min(MOST, len(t.x))).astype(int)] = True
    body = np.flatnonzero(np.abs(t.x) <= 12)
    keep[body[:: max(1, len(body) // 300)]] = True
    finite = np.where(np.isfinite(t.ulps), t.ulps, -1.0)
    keep[np.argsort(finite)[-40:]] = True
    certified = way == "certified"

    def numbers(a: Any, digits: int) -> list[Number]:
        return [number(float(v), digits) for v in a[keep]]

    return Series(
        way=way,
        dtype=t.p.name,
        of=t.what,
        x=numbers(t.x, 17),
        y=numbers(y, 17),
        ulps=numbers(np.zeros_like(t.x) if certified else t.ulps, 3),
        allowed=numbers(np.zeros_like(t.x) if certified else t.room_in_ulps, 3),
    )
