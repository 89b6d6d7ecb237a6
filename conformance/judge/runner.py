"""Cases × implementations, in parallel: from a profile to results.

A task is a few cases of one activation and dtype, which share what JAX compiles. A worker that dies
or hangs takes its task alone: the task is then run again pair by pair, and the pair that did it gets
the verdict `error`.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from pebble import ProcessExpired, ProcessPool

from conformance.cases.catalogue import OWN, Case
from conformance.cases.profiles import PROFILES, SHAPES, SPANNED, cases, covering, select, spanning
from conformance.implementations import (
    IMPLEMENTATIONS,
    Implementation,
    given,
)
from conformance.judge.gates import judge_exception
from conformance.judge.known_differences import known_differences
from conformance.judge.result import judged
from conformance.judge.start import RunError, name_of, new_row, row_of, started, started_now
from conformance.judge.summary import difference, environment, families, left_out, summary
from conformance.model.results import (
    SCHEMA_VERSION,
    Profile,
    Result,
    Results,
)
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.pool import pools, processes

__all__ = [
    "run",
]

TIMEOUT = 900.0  # seconds a task may take before its worker is ended
CHUNK = 48  # cases a task, at most

Progress = Callable[[int, int, str], None]


def _task(chunk: Sequence[tuple[Case, tuple[str, ...]]]) -> list[Result]:
    """What a worker does. What it runs was probed before, in a worker that started like this one."""
    return [result for case, names in chunk for result in judged(case, names, probing=False)]


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
def _pools_by_dtype(jobs: int) -> Iterator[dict[str, ProcessPool]]:
    """A pool a dtype: what JAX has compiled for one is of no use to the other."""
    shares = [jobs - jobs // 2, jobs // 2]
    with pools(filter(None, shares)) as found:
        yield {"float64": found[0], "float32": found[-1]}


def _in_parallel(
    names: Sequence[str], pairs: Sequence[Pair], jobs: int, progress: Progress
) -> tuple[list[ImplementationRow], list[Result]]:
    results: list[Result] = []
    with _pools_by_dtype(jobs) as by_dtype:
        sides = list(by_dtype.values())
        starting = [
            sides[i % 2].schedule(_start_task, args=[n], timeout=TIMEOUT)
            for i, n in enumerate(names)
        ]

        def schedule(chunk: list[Pair]) -> tuple[list[Pair], Any]:
            pool = by_dtype[chunk[0][0].dtype]
            return chunk, pool.schedule(_task, args=[chunk], timeout=TIMEOUT)

        waiting = deque(schedule(chunk) for chunk in _chunks(pairs))
        rows = [_start_row(name, future) for name, future in zip(names, starting, strict=True)]
        ready = {r["name"] for r in rows if r["status"] == "ran"}
        total = sum(len(ready & set(of)) for _, of in pairs)
        while waiting:
            chunk, future = waiting.popleft()
            try:
                results += [r for r in future.result() if r["implementation"] in ready]
            except (ProcessExpired, FutureTimeoutError) as e:
                singles: list[list[Pair]] = [
                    [(c, (n,))] for c, of in chunk for n in of if n in ready
                ]
                if len(chunk) == len(singles) == len(chunk[0][1]) == 1:
                    ((case, (name,)),) = singles[0]
                    results.append(judge_exception(case, name, _how_it_ended(name, e)))
                else:
                    waiting.extend(schedule(single) for single in singles)
            progress(len(results), total, chunk[0][0].id)
    return rows, results


def _start_row(name: str, future: Any) -> ImplementationRow:
    """The outcome of starting an implementation, which may end its process."""
    try:
        found: ImplementationRow = future.result()
    except (ProcessExpired, FutureTimeoutError) as e:
        found = {**new_row(name), "status": "error", "reason": _how_it_ended(name, e)}
    return found


def _how_it_ended(name: str, e: BaseException) -> str:
    if isinstance(e, ProcessExpired):
        return f"{name} ended its process (exit code {e.exitcode}); expected a trace."
    return f"{name} took more than {TIMEOUT:g} s; expected a trace."


def _in_this_process(
    names: Sequence[str], pairs: Sequence[Pair], progress: Progress
) -> tuple[list[ImplementationRow], list[Result]]:
    rows = [started_now(n).row for n in names]
    results: list[Result] = []
    ready = {r["name"] for r in rows if r["status"] == "ran"}
    total = sum(len(ready & set(of)) for _, of in pairs)
    for case, of in pairs:
        results += judged(case, of)
        progress(len(results), total, case.id)
    return rows, results


def _names(asked: Sequence[str], required: Sequence[str] = ()) -> list[str]:
    """Those to run, ours first: the asked, or else all of ours; and the required."""
    named = [*(asked or IMPLEMENTATIONS), *required]
    for name in named:
        if not name.isprintable():
            raise RunError(f"{name!r:.80} is no name; expected one that is printed on one line.")
        row_of(name)
    others = [n for n in dict.fromkeys(named) if n not in IMPLEMENTATIONS]
    return [n for n in IMPLEMENTATIONS if n in named] + others


def run(
    profile: str = "standard",
    implementations: Sequence[str | Implementation] = (),
    wanted: str = "",
    jobs: int | None = None,
    progress: Progress = lambda done, total, case: None,
    required: Sequence[str] = (),
    own: Sequence[Case] = (),
) -> Results:
    """Run a profile: every implementation, or those named, on its cases, or those selected; or on `own`.

    An implementation is named (`row`), or an object with `name` and `run(problem)`, which runs in this
    process. `required` are run as well; where one of them, or of those named, does not run, there is no
    verdict (exit code 2). `jobs` is the number of worker processes: one a core where not said, 0 for none.
    Raises RunError and CaseError for what there is not.
    """
    objects = {name_of(i): i for i in implementations if not isinstance(i, str)}
    asked = [i if isinstance(i, str) else i.name for i in implementations]
    if ours := [n for n in objects if n in IMPLEMENTATIONS]:
        raise RunError(
            f"an object has the name {ours[0]!r}, which is one of ours; give it another."
        )
    if twice := [n for n in asked if asked.count(n) > 1]:
        raise RunError(f"two implementations have the name {twice[0]!r}; expected a name for each.")
    with given(objects):
        return _run(profile, asked, required, wanted, 0 if objects else jobs, progress, own)


def _finished(
    row: ImplementationRow, results: Sequence[Result], chosen: Sequence[Case]
) -> ImplementationRow:
    """With what it did: one that declined every case has not run."""
    own = [r for r in results if r["implementation"] == row["name"]]
    judged = sum(r["verdict"] != "not-run" for r in own)
    row = {**row, "cases": judged, "reason": row["reason"] or left_out(row, results, chosen)}
    return {**row, "status": "not-run"} if row["status"] == "ran" and not judged else row


def _run(
    profile: str,
    asked: Sequence[str],
    required: Sequence[str],
    wanted: str,
    jobs: int | None,
    progress: Progress,
    own: Sequence[Case],
) -> Results:
    begun = time.monotonic()
    names = _names(asked, required)
    chosen = list(own) or select(cases(profile), wanted)
    everything = profile == "exhaustive" or len(chosen) <= 50
    fields = SHAPES if profile == "quick" else SPANNED
    sample = set(chosen if everything else spanning(covering(chosen), fields))
    pairs = [(c, tuple(n for n in names if c in sample or not row_of(n).jitted)) for c in chosen]
    jobs = processes(jobs)
    try:
        rows, found = (
            _in_this_process(names, pairs, progress)
            if jobs == 0
            else _in_parallel(names, pairs, jobs, progress)
        )
    except BrokenProcessPool as e:
        raise RunError(
            "no worker process could start. In a script, call run under `if __name__ == "
            '"__main__":`, since a worker imports the script again; or pass jobs=0.'
        ) from e
    order = {(c.id, n): i for i, (c, n) in enumerate((c, n) for c in chosen for n in names)}
    results = sorted(found, key=lambda r: order[r["case"], r["implementation"]])
    rows = [_finished(r, results, chosen) for r in rows]
    differences = [difference(d, results) for d in known_differences()]
    return Results(
        schema_version=SCHEMA_VERSION,
        environment=environment(time.monotonic() - begun, jobs),
        profile=Profile(
            name="own" if own else profile,
            description=OWN.why if own else PROFILES[profile],
            select=wanted,
            cases=len(chosen),
        ),
        implementations=rows,
        families=families(chosen),
        cases=[c.row() for c in chosen],
        results=results,
        known_differences=differences,
        summary=summary(rows, results, differences, {*asked, *required}),
    )
