"""The blocks of the results that summarise a whole run."""

from __future__ import annotations

import platform
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from conformance.cases.catalogue import FAMILIES, OWN, Case
from conformance.implementations import IMPLEMENTATIONS
from conformance.judge.known_differences import Difference
from conformance.model.packed import column
from conformance.model.results import (
    RETURNED,
    VERDICTS,
    Family,
    KnownDifference,
    Result,
    Summary,
    Verdict,
    Worst,
    size,
)
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.cache import kept
from conformance.tools.plain import plain

__all__ = ["difference", "environment", "families", "left_out", "summary"]


def left_out(row: ImplementationRow, results: Sequence[Result], chosen: Sequence[Case]) -> str:
    """What an implementation did not run or was not judged on, and why."""
    if row["status"] != "ran":
        return ""
    own = [r for r in results if r["implementation"] == row["name"]]
    said = []
    if missing := dict.fromkeys(q for r in own for q in r["not_returned"]):
        named = ", ".join(RETURNED[q] for q in RETURNED if q in missing)
        said.append(f"{named}: not returned, so not judged.")
    unfit = Counter(r["message"] for r in own if r["verdict"] == "not-run")
    if unfit:
        each = [
            f"{why.removeprefix('not run: ').rstrip('.')} ({n})" for why, n in unfit.most_common(3)
        ]
        more = f"; and {len(unfit) - 3} more reasons" if len(unfit) > 3 else ""
        only = each[0].rpartition(" (")[0] if len(unfit) == 1 else "; ".join(each)
        said.append(f"{sum(unfit.values())} cases not run: {only}{more}.")
    if len(own) < len(chosen):
        said.append(
            f"{len(own)} of {len(chosen)} cases: a covering sample, since each is compiled "
            "separately; the profile `exhaustive` runs all."
        )
    return " ".join(said)


def families(chosen: Sequence[Case]) -> list[Family]:
    counts = Counter(c.family for c in chosen)
    return [
        Family(name=name, why=f.why, failing_means=f.failing_means, cases=counts[name])
        for name, f in {**FAMILIES, "own": OWN}.items()
        if counts[name]
    ]


def difference(d: Difference, results: Sequence[Result]) -> KnownDifference:
    """Whether a run still saw a known difference.

    It is stale if some implementation ran every case of `standard` that may show it, and did not show it.
    """
    seen = sum(d.id in r["known_differences"] for r in results)
    ran: dict[str, set[str]] = defaultdict(set)
    for r in results:
        if r["implementation"] in IMPLEMENTATIONS and r["verdict"] != "not-run":
            ran[r["implementation"]].add(r["case"])
    due = False
    for name in ran:
        may_show = {c.id for c in FAMILIES[d.shows_in].members(d.shows_in) if d.must_show(name, c)}
        due |= bool(may_show) and may_show <= ran[name]
    return KnownDifference(
        id=d.id,
        implementation=d.implementation,
        activation=d.activation or d.loss,
        what=d.what,
        reason=d.reason,
        source=d.source,
        status="differs" if seen else "stale" if due else "not-run",
        seen=seen,
    )


def _worst(results: Sequence[Result]) -> list[Worst]:
    found: dict[tuple[str, str], Worst] = {}
    for r in results:
        of = (column(r["records"], key) for key in ("gate", "ratio"))
        for i, (gate, ratio) in enumerate(zip(*of, strict=True)):
            key = gate, r["implementation"]
            if key not in found or size(ratio) > size(found[key]["ratio"]):
                rec = r["records"][i]
                found[key] = Worst(
                    gate=rec["gate"],
                    implementation=r["implementation"],
                    ratio=rec["ratio"],
                    ulps=rec["ulps"],
                    quantity=rec["quantity"],
                    layer=rec["layer"],
                    case=r["case"],
                )
    return list(found.values())


def summary(
    rows: Sequence[ImplementationRow],
    results: Sequence[Result],
    differences: Sequence[KnownDifference],
    required: Collection[str],
    unjudged: Mapping[str, Sequence[str]] | None = None,
) -> Summary:
    """The summary, by the worst verdict; with exit code 1 if something deviates, and 2 if there is no
    verdict.

    `required` has the names of the implementations that must have run; `unjudged` has, for each that says
    what it can do, the σ and losses that were not judged.
    """
    counts = {row["name"]: {str(v): 0 for v in VERDICTS} for row in rows}
    for r in results:
        counts[r["implementation"]][r["verdict"]] += 1
    total: Counter[str] = Counter()
    for c in counts.values():
        total.update(c)
    stale = [d["id"] for d in differences if d["status"] == "stale"]
    silent = [
        row["name"]
        for row in rows
        if row["status"] == "error" or (row["name"] in required and row["status"] == "not-run")
    ]
    silent += [
        row["name"]
        for row in rows
        if row["status"] == "ran"
        and (c := counts[row["name"]])["error"]
        and c["error"] + c["not-run"] == sum(c.values())
    ]
    judged = sum(n for v, n in total.items() if v != "not-run")
    troubles = [f"{total[v]} {v}" for v in ("error", "deviates") if total[v]]
    troubles += [f"known differences that no longer show: {', '.join(stale)}"] if stale else []
    troubles += [f"{total['undecided']} undecided"] if total["undecided"] else []
    troubles += [f"could not run: {', '.join(silent)}"] if silent else []
    troubles += [] if judged else ["nothing ran"]
    verdict: Verdict = "inaccurate" if total["inaccurate"] else "conforms"
    verdict = "not-run" if silent or not judged else verdict
    for found in ("undecided", "deviates", "error"):
        verdict = found if total[found] or (found == "error" and stale) else verdict
    ran = [row["name"] for row in rows if row["status"] == "ran"]
    good = f"{judged:,} results of {', '.join(ran)}: all conform"
    if total["inaccurate"]:
        good = f"{judged:,} results of {', '.join(ran)}: no mistake, {total['inaccurate']} of them inaccurate"
    if total["known-difference"]:
        good += f", {total['known-difference']} of them but for a known difference"
    return Summary(
        verdict=verdict,
        exit_code=2 if silent else {"conforms": 0, "inaccurate": 0, "deviates": 1}.get(verdict, 2),
        message="; ".join([*(troubles or [good]), *_left_undone(ran, counts, unjudged or {})])
        + ".",
        verdicts=counts,
        worst=_worst(results),
    )


def _left_undone(
    names: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
    unjudged: Mapping[str, Sequence[str]],
) -> list[str]:
    """Sentences for the cases that an implementation was given and could not run, and for what it says it can
    do and was not judged on. Neither is a pass, so the summary names them."""
    undone = [
        f"{of['not-run']:,} of {sum(of.values()):,} cases of {name}"
        for name, of in ((name, counts[name]) for name in names)
        if of["not-run"]
    ]
    found = [f"not run: {', '.join(undone)}"] if undone else []
    for name in (n for n in names if n in unjudged):
        lacking = ", ".join(unjudged[name])
        found.append(
            f"of what {name} says that it can do, not judged: {lacking}"
            if lacking
            else f"{name} was judged on all that it says it can do"
        )
    return found


PACKAGES = ("refbp", "numpy", "torch", "jax", "jaxlib", "python-flint", "scikit-learn")


def environment(seconds: float, jobs: int) -> dict[str, Any]:
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": packages,
        "command": plain(shlex.join(["conformance", *sys.argv[1:]])),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "processes": jobs,
        "compiled by JAX": kept(),
    }
