"""Cases × implementations, in parallel: from a profile to results.

A task is a few cases of one activation and dtype, which share what JAX compiles. A worker that dies
or hangs takes its task alone: the task is then run again pair by pair, and the pair that did it gets
the verdict `error`.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any

from pebble import ProcessExpired, ProcessPool

from conformance.cases import FAMILIES, PROFILES, Case, cases, covering, select, unknown
from conformance.implementations import IMPLEMENTATIONS, Implementation, NotRunError, implementation
from conformance.judge import Subject, judge, judge_exception
from conformance.known_differences import Difference, known_differences
from conformance.probes import objection, probe
from conformance.results import (
    SCHEMA_VERSION,
    VERDICTS,
    Family,
    KnownDifference,
    Profile,
    Result,
    Results,
    Summary,
    Verdict,
    Worst,
)
from conformance.results import Implementation as ImplementationRow

__all__ = ["RunError", "judged", "run"]

TIMEOUT = 900.0  # seconds a task may take before its worker is ended
CHUNK = 48  # cases a task, at most

Progress = Callable[[int, int, str], None]


class RunError(ValueError):
    """The run cannot start: what was asked for, and what there is."""


@dataclass(frozen=True)
class Started:
    """An implementation that is ready, or the reason why it is not."""

    row: ImplementationRow
    ready: Implementation | None


def _reason(e: BaseException) -> str:
    return f"{type(e).__name__}: {str(e).strip() or 'no message'}".replace("\n", " ")


@cache
def started(name: str) -> Started:
    """Start an implementation in this process, once, and probe it."""
    row = ImplementationRow(
        name=name,
        description=IMPLEMENTATIONS[name].description,
        status="not-run",
        reason="",
        versions={},
        device="",
        dtypes=["float64", "float32"],
        cases=0,
        probes={},
    )
    try:
        impl = implementation(name)
        versions, device = impl.start()
    except NotRunError as e:
        return Started({**row, "reason": str(e)}, None)
    except ImportError as e:
        package = IMPLEMENTATIONS[name].module.rstrip("_")
        return Started(
            {
                **row,
                "reason": f"{package} cannot be imported ({e}): pip install 'refbp[{package}]'.",
            },
            None,
        )
    row = {**row, "versions": dict(versions), "device": device}
    try:
        found = probe(impl)
    except Exception as e:
        return Started(
            {**row, "status": "error", "reason": f"its probe failed: {_reason(e)}"}, None
        )
    wrong = objection(found)
    row = {**row, "probes": found, "status": "error" if wrong else "ran", "reason": wrong}
    return Started(row, None if wrong else impl)


def judged(case: Case, names: Iterable[str]) -> list[Result]:
    """The results of one case, in this process, for those implementations that run here."""
    subject = Subject(case)
    return [
        _judged(subject, name, impl) for name in names if (impl := started(name).ready) is not None
    ]


def _judged(subject: Subject, name: str, impl: Implementation) -> Result:
    try:
        problem, one = subject.problem, subject.alone
    except ImportError as e:
        return {**judge_exception(subject.case, name, f"not run: {e}."), "verdict": "not-run"}
    try:
        first, again = impl.run(problem), impl.run(problem)
        alone = impl.run(one.problem) if one is not None else None
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        at = f"{os.path.basename(where.filename)}:{where.lineno}"
        return judge_exception(subject.case, name, f"{name} raised {_reason(e)} ({at})")
    return judge(subject, name, first, again, alone)


def _task(chunk: Sequence[tuple[Case, tuple[str, ...]]]) -> list[Result]:
    """What a worker does."""
    return [result for case, names in chunk for result in judged(case, names)]


def _start_task(name: str) -> ImplementationRow:
    return started(name).row


Pair = tuple[Case, tuple[str, ...]]


def _chunks(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Cases of one activation and dtype together, the most work first."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].activation, pair[0].dtype].append(pair)
    chunks = []
    for group in groups.values():
        of = iter(group)
        while chunk := list(islice(of, CHUNK)):
            chunks.append(chunk)

    def work(chunk: list[Pair]) -> int:
        return sum(sum(c.widths) * (c.batch + 10) * len(names) for c, names in chunk)

    return sorted(chunks, key=work, reverse=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers inherit this: a process a core, and sums in the same order every time."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {n: os.environ.get(n) for n in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for n, value in before.items():
            if value is None:
                del os.environ[n]
            else:
                os.environ[n] = value


def _in_parallel(
    names: Sequence[str], pairs: Sequence[Pair], jobs: int, progress: Progress
) -> tuple[list[ImplementationRow], list[Result]]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    total = sum(len(names) for _, names in pairs)
    results: list[Result] = []
    with _one_thread_each(), ProcessPool(max_workers=jobs, context=context) as pool:
        starting = [pool.schedule(_start_task, args=[n], timeout=TIMEOUT) for n in names]
        waiting = [(c, pool.schedule(_task, args=[c], timeout=TIMEOUT)) for c in _chunks(pairs)]
        rows = [f.result() for f in starting]
        while waiting:
            chunk, future = waiting.pop(0)
            try:
                results += future.result()
            except (ProcessExpired, FutureTimeoutError) as e:
                singles = [(c, (n,)) for c, of in chunk for n in of]
                if len(singles) == 1:
                    ((case, (name,)),) = singles
                    results.append(judge_exception(case, name, _how_it_ended(name, e)))
                else:
                    waiting += [
                        ([s], pool.schedule(_task, args=[[s]], timeout=TIMEOUT)) for s in singles
                    ]
            progress(len(results), total, chunk[0][0].id)
    return rows, results


def _how_it_ended(name: str, e: BaseException) -> str:
    if isinstance(e, ProcessExpired):
        return f"{name} ended its process (exit code {e.exitcode}); expected a trace."
    return f"{name} took more than {TIMEOUT:g} s; expected a trace."


def _in_this_process(
    names: Sequence[str], pairs: Sequence[Pair], progress: Progress
) -> tuple[list[ImplementationRow], list[Result]]:
    rows = [started(n).row for n in names]
    results: list[Result] = []
    total = sum(len(of) for _, of in pairs)
    for case, of in pairs:
        results += judged(case, of)
        progress(len(results), total, case.id)
    return rows, results


def _names(asked: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in IMPLEMENTATIONS:
            raise RunError(unknown("implementation", name, IMPLEMENTATIONS))
    return [n for n in IMPLEMENTATIONS if not asked or n in asked]


def run(
    profile: str = "standard",
    implementations: Sequence[str] = (),
    wanted: str = "",
    jobs: int | None = None,
    progress: Progress = lambda done, total, case: None,
) -> Results:
    """Run a profile: every implementation, or those named, on its cases, or those selected.

    `jobs` is the number of worker processes: one a core where not said, 0 for none (this process).
    Raises RunError and CaseError for what there is not.
    """
    begun = time.monotonic()
    names = _names(implementations)
    chosen = select(cases(profile), wanted)
    sample = set(chosen) if profile != "standard" or wanted else set(covering(chosen))
    pairs = [
        (c, tuple(n for n in names if c in sample or not IMPLEMENTATIONS[n].jitted)) for c in chosen
    ]
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    rows, found = (
        _in_this_process(names, pairs, progress)
        if jobs == 0
        else _in_parallel(names, pairs, jobs, progress)
    )
    order = {(c.id, n): i for i, (c, n) in enumerate((c, n) for c in chosen for n in names)}
    results = sorted(found, key=lambda r: order[r["case"], r["implementation"]])
    counts = Counter(r["implementation"] for r in results)
    rows = [
        {
            **row,
            "cases": counts[row["name"]],
            "reason": row["reason"] or _left_out(row, counts, chosen),
        }
        for row in rows
    ]
    differences = [_difference(d, chosen, results) for d in known_differences()]
    return Results(
        schema_version=SCHEMA_VERSION,
        environment=_environment(time.monotonic() - begun, jobs),
        profile=Profile(
            name=profile, description=PROFILES[profile], select=wanted, cases=len(chosen)
        ),
        implementations=rows,
        families=_families(chosen),
        cases=[c.row() for c in chosen],
        results=results,
        known_differences=differences,
        summary=_summary(rows, results, differences, asked=bool(implementations)),
    )


def _left_out(row: ImplementationRow, counts: Mapping[str, int], chosen: Sequence[Case]) -> str:
    if row["status"] != "ran" or counts[row["name"]] == len(chosen):
        return ""
    return (
        f"{counts[row['name']]} of {len(chosen)} cases: a covering sample, since each is compiled "
        "separately; the profile `exhaustive` runs all."
    )


def _families(chosen: Sequence[Case]) -> list[Family]:
    counts = Counter(c.family for c in chosen)
    return [
        Family(name=name, why=f.why, failing_means=f.failing_means, cases=counts[name])
        for name, f in FAMILIES.items()
        if counts[name]
    ]


def _difference(
    d: Difference, chosen: Sequence[Case], results: Sequence[Result]
) -> KnownDifference:
    by_id = {c.id: c for c in chosen}
    seen = sum(d.id in r["known_differences"] for r in results)
    due = any(d.must_show(r["implementation"], by_id[r["case"]]) for r in results)
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
        for rec in r["records"]:
            key = (rec["gate"], r["implementation"])
            if key not in found or float(rec["ratio"]) > float(found[key]["ratio"]):
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


def _summary(
    rows: Sequence[ImplementationRow],
    results: Sequence[Result],
    differences: Sequence[KnownDifference],
    asked: bool,
) -> Summary:
    """The answer, worst first: what deviates, then what could not be answered."""
    counts = {row["name"]: dict.fromkeys(VERDICTS, 0) for row in rows}
    for r in results:
        counts[r["implementation"]][r["verdict"]] += 1
    total: Counter[str] = Counter()
    for c in counts.values():
        total.update(c)
    stale = [d["id"] for d in differences if d["status"] == "stale"]
    silent = [
        row["name"]
        for row in rows
        if row["status"] == "error" or (asked and row["status"] == "not-run")
    ]
    wrong = [f"{total[v]} {v}" for v in ("error", "deviates") if total[v]]
    wrong += [f"known differences that no longer show: {', '.join(stale)}"] if stale else []
    unanswered = [f"{total['undecided']} undecided"] if total["undecided"] else []
    unanswered += [f"could not run: {', '.join(silent)}"] if silent else []
    unanswered += ["nothing ran"] if not any(total[v] for v in VERDICTS if v != "not-run") else []
    verdict: Verdict
    if wrong:
        verdict = "error" if total["error"] and not total["deviates"] and not stale else "deviates"
    elif unanswered:
        verdict = "undecided" if total["undecided"] else "not-run"
    else:
        verdict = "conforms"
    ran = [row["name"] for row in rows if row["status"] == "ran"]
    good = f"{sum(total.values()):,} results of {', '.join(ran)}: all conform"
    if total["known-difference"]:
        good += f", {total['known-difference']} of them but for a known difference"
    if total["not-run"]:
        good += f"; {total['not-run']} not run"
    return Summary(
        verdict=verdict,
        exit_code=2 if silent else 1 if wrong else 2 if unanswered else 0,
        message="; ".join(wrong + unanswered) + "." if wrong or unanswered else good + ".",
        verdicts=counts,
        worst=_worst(results),
    )


PACKAGES = ("refbp", "numpy", "torch", "jax", "jaxlib", "python-flint", "scikit-learn")


def _environment(seconds: float, jobs: int) -> dict[str, Any]:
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
        "command": " ".join(["conformance", *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "processes": jobs,
    }
