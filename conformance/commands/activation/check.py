"""The check of a custom activation, from the question to a verdict: one value, as JSON writes it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from conformance.commands.activation.facts import Facts
from conformance.commands.activation.findings import NAMES, Finding
from conformance.commands.activation.isolated import gather
from conformance.commands.activation.judge import judge, verdict
from conformance.commands.activation.kinks import Kink
from conformance.commands.activation.lifted import Function
from conformance.commands.activation.messages import (
    Emit,
    Message,
    NetworkResult,
    Points,
    decode,
    encode,
)
from conformance.commands.activation.problems import left_out, number_of_points, unjudged
from conformance.commands.activation.spec import Spec
from conformance.commands.activation.trial import Trial, Way
from conformance.commands.activation.wider import gradients
from conformance.judge.functions.trial import FunctionResults
from conformance.judge.summary import environment
from conformance.model.results import Number, number
from conformance.tools.trouble import RefusedError
from conformance.truth.rounding import Reals

__all__ = ["SCHEMA_VERSION", "Check", "Series", "check", "check_functions", "conclude"]

SCHEMA_VERSION = 1
EXIT = {"wrong": 1, "not judged": 2, "inaccurate": 0, "right": 0}
"""Exit codes by verdict, the worst first."""
AS = {"conforms": "right", "inaccurate": "inaccurate", "deviates": "wrong"}
"""The verdict on an activation for a verdict on its gradients; for any other verdict, "not judged"."""


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
    """The whole result. Two runs differ only in `environment`."""

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
    networks: list[NetworkResult]
    gradients: FunctionResults | None  # of parameters, of several arrays, of a row
    not_run: list[dict[str, str]]
    # intervals in which nothing is known between the points
    unsearched: dict[str, list[list[Number]]]
    unsupported: dict[str, str]
    points: dict[str, int]
    series: list[Series]
    printed: dict[str, str]
    environment: dict[str, Any]  # judge.summary.environment, and packages_used


def check(spec: Spec, frameworks: Iterable[str] = (), strict: bool = False) -> Check:
    """Run the workers and judge what they report. `frameworks` names those whose autodiff is compared."""
    begun = time.monotonic()
    facts, printed = gather(spec, _roles(spec, frameworks))
    return conclude(facts, strict, {k: v for k, v in printed.items() if v.strip()}, begun)


def check_functions(
    functions: Mapping[str, Function],
    spec: Spec,
    frameworks: Iterable[str] = (),
    strict: bool = False,
) -> Check:
    """The same for functions themselves, in this process, which is not protected from what they do."""
    from conformance.commands.activation.worker import StoppedError, run_role

    begun = time.monotonic()
    facts = Facts(spec)
    points: list[Points] = []

    def emitting(role: str) -> Emit:
        def emit(message: Message) -> None:
            if isinstance(message, Points):
                points.append(message)
            # encoded and decoded, as a message from a process is
            facts.take(role, decode(encode(message)))

        return emit

    def grids() -> Points:
        if not points:
            raise StoppedError
        return points[0]

    for role in _roles(spec, frameworks):
        run_role(spec, role, lambda: functions, grids, emitting(role))
    return conclude(facts, strict, {}, begun, functions)


def _roles(spec: Spec, frameworks: Iterable[str]) -> list[str]:
    """NumPy first, then the frameworks that were asked for, or for which a version was given."""
    wanted = {*(frameworks if "sigma" in spec.given else ()), *spec.given}
    return ["numpy", *(w for w in ("torch", "jax") if w in wanted)]


def conclude(
    facts: Facts,
    strict: bool,
    printed: Mapping[str, str],
    begun: float,
    functions: Mapping[str, Function] | None = None,
) -> Check:
    """The verdict on the facts; `begun` is the time.monotonic at which the check began. `functions` are the
    functions themselves, if they are in this process; their gradients may be judged too."""
    spec = facts.spec
    findings, ways, kinks, trials = judge(facts)
    more, why_not = _gradients(facts, functions)
    # else its gradients are all that is judged
    alone = facts.wider is None or bool(facts.wider.wrt)
    reason = (unjudged(facts, findings, ways) if alone else "") or why_not
    answer = verdict(findings, strict)
    answer = "not judged" if reason and answer != "wrong" else answer
    message = _message(answer, findings, reason, facts, strict) if alone or reason else ""
    if facts.wider is not None and more is not None:
        also = AS.get(more["verdict"], "not judged")
        parts = [message, f"{_capitalised(facts.wider.why)}: {more['message']}"]
        worse = min(answer, also, key=list(EXIT).index)
        message = " ".join(filter(None, parts if worse == answer else parts[::-1]))
        answer = worse
    return Check(
        schema_version=SCHEMA_VERSION,
        name=spec.name,
        verdict=answer,
        exit_code=int(strict) if answer == "inaccurate" else EXIT[answer],
        message=message,
        strict=strict,
        given=spec.given,
        domain=[number(d, 17) for d in spec.domain],
        kinks_stated={f"{at:.17g}": number(d, 17) for at, d in spec.kinks.items()},
        findings=findings,
        ways=ways,
        kinks=kinks,
        networks=facts.networks,
        gradients=more,
        not_run=left_out(facts),
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


def _gradients(
    facts: Facts, functions: Mapping[str, Function] | None
) -> tuple[FunctionResults | None, str]:
    """The gradients of a σ that is more than a function of one number; or why they are not judged."""
    if facts.wider is None:
        return None, ""
    try:
        return gradients(facts.wider, facts.spec, functions), ""
    except RefusedError as e:
        return None, str(e)


# --- the verdict in words ---------------------------------------------------------------------------


def _message(
    answer: str, findings: Sequence[Finding], reason: str, facts: Facts, strict: bool
) -> str:
    """The verdict in a sentence; `reason` says why there is none."""
    if answer == "not judged":
        return _capitalised(reason)
    if answer == "inaccurate":
        return _inaccurate(findings)
    if answer == "wrong":
        first, *rest = _with_severity(findings, "error") or _with_severity(findings, "warning")
        return f"{_title(first)}." + (f" {_plural(len(rest), 'more finding')}." if rest else "")
    frameworks = " and ".join(sorted({w for w, _ in facts.autodiff}))
    if "derivative" in facts.spec.given:
        what = "σ' is the derivative of σ"
    elif frameworks:
        what = f"what {frameworks} makes of σ is its derivative"
    else:
        what = "σ is what it is defined to be"
    points = f"{number_of_points(facts):,} points of {facts.spec.dtype or 'float64 and float32'}"
    whole = min(map(abs, facts.spec.domain)) > 1e308
    where = "the whole line of floats" if whole else "its domain"
    blind = "derivative" in facts.unsupported
    text = f"{what} at {points}" if blind else f"{what} on {where}: {points}"
    if "truth" in facts.branches:
        kinks = sum(b.kind == "kink" for b in facts.branches["truth"])
        text += f", {_plural(kinks, 'kink')}" if kinks else ", no kink"
    if blind:
        text += ", at these alone, for σ' cannot be seen into"
    right = [n for n in facts.networks if n["verdict"] in ("conforms", "known-difference")]
    text += f", {len(right)} networks" if right else ""
    warnings = _with_severity(findings, "warning")
    return _capitalised(text + (f"; {_plural(len(warnings), 'warning')}." if warnings else "."))


def _with_severity(findings: Sequence[Finding], severity: str) -> list[Finding]:
    return [f for f in findings if f["severity"] == severity]


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _capitalised(text: str) -> str:
    """The text with a capital first letter, unless it begins with σ, whose capital is another symbol, or with
    a file's name."""
    word = text.partition(" ")[0]
    return text if text.startswith("σ") or not word.isalpha() else text[:1].upper() + text[1:]


def _inaccurate(findings: Sequence[Finding]) -> str:
    """In a sentence, what loses digits, where, and what keeps them."""
    first, *rest = _with_severity(findings, "inaccurate")
    others = [f for f in rest if f["of"] != first["of"]]
    also = "".join(f" So does {f['of']} at x = {f['x']}." for f in others)
    return f"no mistake, but {_title(first, ' loses digits')}. {first['remedy']}{also}"


def _title(f: Finding, instead: str = "") -> str:
    """What was found and where; `instead`, if given, replaces the finding's own title."""
    at = f" at x = {f['x']}" if f["x"] is not None else ""
    like = f"; it looks like {f['looks_like']}" if f["looks_like"] else ""
    got = f": got {f['got']}, expected {f['expected']}" if f["got"] else ""
    title = instead or f": {f['title']}"
    return f"{f['of']}{title}{at}{got}{like}"


# --- plots --------------------------------------------------------------------------------------------

MOST = 700  # points of a curve at most


def _series(trials: Sequence[Trial]) -> list[Series]:
    """Curves for the report: the certified ones, then each way's."""
    found: list[Series] = []
    for t in trials:
        if t.p.name == "bfloat16":
            continue
        nothing = np.zeros_like(t.x)
        if t.of == "sigma" or (t.of == "derivative" and t.what == "derivative"):
            found.append(_thinned(t, "certified", t.exact.hi, nothing, nothing))
        found.append(_thinned(t, NAMES[t.of], t.got, t.ulps, t.room_in_ulps))
    return found


def _thinned(t: Trial, way: str, y: Reals, ulps: Reals, allowed: Reals) -> Series:
    """As many points as a plot can show, the worst of the trial among them."""
    keep = np.zeros(len(t.x), bool)
    keep[np.linspace(0, len(t.x) - 1, min(MOST, len(t.x))).astype(int)] = True
    body = np.flatnonzero(np.abs(t.x) <= 12)
    keep[body[:: max(1, len(body) // 300)]] = True
    finite = np.where(np.isfinite(t.ulps), t.ulps, -1.0)
    keep[np.argsort(finite)[-40:]] = True

    def numbers(a: Reals, digits: int) -> list[Number]:
        return [number(float(v), digits) for v in a[keep]]

    return Series(
        way=way,
        dtype=t.p.name,
        of=t.what,
        x=numbers(t.x, 17),
        y=numbers(y, 17),
        ulps=numbers(ulps, 3),
        allowed=numbers(allowed, 3),
    )
