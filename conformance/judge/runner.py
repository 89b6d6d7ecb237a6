"""Cases × implementations, in parallel: from a profile to results.

A task is a few cases of one activation and dtype, which share what JAX compiles. A worker that dies
or hangs takes its task alone: the task is then run again pair by pair, and the pair that did it gets
the verdict `error`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from conformance.cases.catalogue import (
    OWN,
    PROFILES,
    SHAPES,
    SPANNED,
    Case,
    cases,
    covering,
    select,
    spanning,
)
from conformance.implementations import (
    IMPLEMENTATIONS,
    Implementation,
    MalformedError,
    NotRunError,
    Row,
    announced,
    given,
    implementation,
    row,
    token,
)
from conformance.implementations.probes import objection, probe
from conformance.judge.gates import Subject, judge, judge_exception, judge_malformed, malformed
from conformance.judge.known_differences import known_differences
from conformance.judge.summary import difference, environment, families, left_out, summary
from conformance.model.problem import Problem, Runs, Trace
from conformance.model.results import (
    SCHEMA_VERSION,
    Profile,
    Result,
    Results,
)
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.child import ChildError
from conformance.tools.names import unknown
from conformance.tools.trouble import RefusedError, not_installed, reason, to_install

__all__ = [
    "RunError",
    "judged",
    "judged_by",
    "looked_at",
    "pools",
    "processes",
    "rounds_every_value",
    "run",
    "runs",
]

TIMEOUT = 900.0  # seconds a task may take before its worker is ended
CHUNK = 48  # cases a task, at most

Progress = Callable[[int, int, str], None]
Run = Callable[[Problem], Trace | None]


class RunError(RefusedError):
    """The run cannot start: what was asked for, and what there is."""


@dataclass(frozen=True)
class Started:
    """An implementation that is ready, or the reason why it is not."""

    row: ImplementationRow
    ready: Implementation | None


def _row_of(name: str) -> Row:
    """What is meant by a name. Raises RunError, with the nearest there is."""
    found = row(name)
    if found is None:
        where = name.rpartition(":")[0] or name
        if where.endswith(".py") and not name.startswith("cmd:"):
            if Path(where).is_file():
                raise RunError(f"implementation {name!r}: expected FILE.py, or FILE.py:NAME.")
            raise RunError(f"implementation {name!r}: there is no file {where}.")
        raise RunError(
            unknown("implementation", name, [*IMPLEMENTATIONS, *announced()])
            + " Or FILE.py, FILE.py:NAME, cmd:PROGRAM."
        )
    return found


def _new_row(name: str) -> ImplementationRow:
    return ImplementationRow(
        name=name,
        description=_row_of(name).description,
        status="not-run",
        reason="",
        versions={},
        device="",
        dtypes=["float64", "float32"],
        cases=0,
        probes={},
    )


@cache
def started(name: str, probing: bool = True, of: object = None) -> Started:
    """Start an implementation in this process, once, and probe what arithmetic it computes in.

    `of` is its `token`: an object that was given is started for itself.
    """
    whole, new = _row_of(name).whole, _new_row(name)
    try:
        impl = implementation(name)
        versions, device = impl.start()
    except NotRunError as e:
        return Started({**new, "reason": str(e)}, None)
    except (Exception, SystemExit) as e:
        return Started({**new, **_why_not(name, whole, e)}, None)
    described = getattr(impl, "description", "") or new["description"]
    new = {**new, "description": described, "versions": dict(versions), "device": device}
    if not probing:
        return Started({**new, "status": "ran"}, impl)
    try:
        found = probe(impl)
    except (Exception, SystemExit) as e:
        if not whole:  # it may leave A out, or do no networks like the probe's: the cases will show
            return Started({**new, "status": "ran"}, impl)
        return Started({**new, "status": "error", "reason": f"its probe failed: {reason(e)}"}, None)
    wrong = objection(found) if whole else ""  # of somebody's own the cases will show it
    new = {**new, "probes": found, "status": "error" if wrong else "ran", "reason": wrong}
    return Started(new, None if wrong else impl)


def _why_not(name: str, whole: bool, e: BaseException) -> Any:
    """What is not installed is not run. What is there and does not start is an error, and never green."""
    missing = not_installed(e)
    if missing and (not whole or missing == IMPLEMENTATIONS[name].module.rstrip("_")):
        return {"reason": f"{missing} is not installed: {to_install(missing)}."}
    advice = f"; {to_install(missing)}" if missing else ""
    return {"status": "error", "reason": f"it did not start: {reason(e)}{advice}"}


def judged(case: Case, names: Iterable[str], probing: bool = True) -> list[Result]:
    """The results of one case, in this process, for those implementations that run here."""
    subject = Subject(case)
    ready = ((name, _started(name, probing).ready) for name in names)
    return [judged_by(subject, name, impl) for name, impl in ready if impl is not None]


def _started(name: str, probing: bool) -> Started:
    of = token(name)
    return started(name, probing) if of is None else started(name, probing, of)


def judged_by(subject: Subject, name: str, impl: Implementation) -> Result:
    """The result of one case for one implementation, whatever it does, in this process."""
    try:
        _ = subject.problem
    except Exception as e:
        if missing := not_installed(e):
            why = f"not run: {missing} is not installed: {to_install(missing)}."
            return {**judge_exception(subject.case, name, why), "verdict": "not-run"}
        return judge_exception(subject.case, name, f"the case could not be made: {reason(e)}")
    found = row(name)
    whole = found is None or found.whole
    try:
        ran = runs(subject, impl, whole)
    except NotRunError as e:
        return {**judge_exception(subject.case, name, f"not run: {e}"), "verdict": "not-run"}
    except MalformedError as e:
        return judge_malformed(subject.case, name, str(e))
    except ChildError as e:
        return judge_exception(subject.case, name, f"{name}: {e}.".replace("..", "."))
    except (Exception, SystemExit) as e:
        return judge_exception(subject.case, name, f"{name} raised {reason(e)} ({_where(e)})")
    like = getattr(impl, "like", "") or (name if whole else "")
    rounded = None if whole else rounds_every_value(impl)
    try:
        result = judge(subject, like, ran.first, ran.again, ran.alone, whole, rounded)
        result["implementation"] = name
        return looked_at(subject, like, ran, result, partial(_if_it_can, impl, whole), rounded)
    except Exception as e:  # ours: it costs the others nothing
        return judge_exception(
            subject.case, name, f"it could not be judged: {reason(e)} ({_where(e)})"
        )


def rounds_every_value(impl: Implementation) -> bool:
    """Whether somebody's own says that it goes on from the numbers that it returns."""
    return bool(getattr(impl, "rounds_every_value", False))


def _if_it_can(impl: Implementation, whole: bool, problem: Problem) -> Trace | None:
    """What it computes for another problem; None where it does not: it may know one dtype only."""
    try:
        return _run_once(impl, problem, whole)
    except (Exception, SystemExit):
        return None


def looked_at(
    subject: Subject, like: str, ran: Runs, result: Result, run: Run, rounded: bool | None
) -> Result:
    """A result that deviates, looked at again: it loses digits, or this is what the mistake looks like."""
    if result["verdict"] != "deviates" or not result["records"]:
        return result  # what has another form than was asked for has no records
    from conformance.judge.inaccuracy import inaccurate

    if found := inaccurate(subject, like, ran, result, run, rounded):
        return found
    from conformance.judge.mistakes.diagnosis import (
        diagnosis,  # and with it refbp, which is seldom needed here
    )

    result["blame"], result["diagnosis"] = diagnosis(subject, like, ran, result, rounded)
    return result


def runs(subject: Subject, impl: Implementation, whole: bool = True) -> Runs:
    """What it computes for a case, as often as the case's gates need. Raises what it raises."""
    problem, one = subject.problem, subject.alone
    first, between, again, alone = _run_once(impl, problem, whole), None, None, None
    if subject.case.closely:  # with another batch in between: nothing of it may be left
        between = _run_once(impl, problem.another_batch(), whole, "on another batch, ")
        again = _run_once(impl, problem, whole, "the second time, ")
    if one is not None:
        alone = _run_once(impl, one.problem, whole, "of one example alone, ")
    return Runs(first, between, again, alone)


def _where(e: BaseException) -> str:
    """The file and line that raised it."""
    last = traceback.extract_tb(e.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _run_once(impl: Implementation, problem: Problem, whole: bool, when: str = "") -> Trace:
    """A run on a copy of the problem, and a copy of what it returned: nothing is shared."""
    copy = problem.copy()
    try:
        trace = impl.run(copy)
    except MalformedError as e:
        raise MalformedError(f"{when}{e}") from e
    if wrong := malformed(problem, trace, whole):
        raise MalformedError(f"{when}{wrong}")
    if which := copy.changed(problem):
        raise MalformedError(f"{when}it wrote to its input: {which} is not what it was given.")
    return trace.copy()


def _start_worker() -> None:
    """Collect cycles rarely: at Python's own threshold that takes a tenth of a worker's time."""
    gc.set_threshold(100_000, 20, 50)


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


@contextmanager
def pools(shares: Iterable[int]) -> Iterator[list[ProcessPool]]:
    """Pools of so many processes each, that start afresh. Ctrl-C waits for nothing that is still to do."""
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ExitStack() as stack:
        found = [
            stack.enter_context(
                ProcessPool(max_workers=share, context=context, initializer=_start_worker)
            )
            for share in shares
        ]
        try:
            yield found
        except BaseException:
            for pool in found:
                pool.stop()  # type: ignore[no-untyped-call]
            raise


def processes(jobs: int | None) -> int:
    """As many as asked for, or one a core."""
    return (os.cpu_count() or 1) if jobs is None else jobs


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
        found = {**_new_row(name), "status": "error", "reason": _how_it_ended(name, e)}
    return found


def _how_it_ended(name: str, e: BaseException) -> str:
    if isinstance(e, ProcessExpired):
        return f"{name} ended its process (exit code {e.exitcode}); expected a trace."
    return f"{name} took more than {TIMEOUT:g} s; expected a trace."


def _in_this_process(
    names: Sequence[str], pairs: Sequence[Pair], progress: Progress
) -> tuple[list[ImplementationRow], list[Result]]:
    rows = [_started(n, True).row for n in names]
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
        _row_of(name)
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
    objects = {_name_of(i): i for i in implementations if not isinstance(i, str)}
    asked = [i if isinstance(i, str) else i.name for i in implementations]
    if ours := [n for n in objects if n in IMPLEMENTATIONS]:
        raise RunError(
            f"an object has the name {ours[0]!r}, which is one of ours; give it another."
        )
    if twice := [n for n in asked if asked.count(n) > 1]:
        raise RunError(f"two implementations have the name {twice[0]!r}; expected a name for each.")
    with given(objects):
        return _run(profile, asked, required, wanted, 0 if objects else jobs, progress, own)


def _name_of(impl: Any) -> str:
    """Its name. Raises RunError where it is no implementation."""
    name = getattr(impl, "name", None)
    if not isinstance(name, str) or not name or not callable(getattr(impl, "run", None)):
        raise RunError(
            f"{impl!r:.80} is no implementation; expected an object with a name and run(problem), "
            "or a string."
        )
    return name


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
    pairs = [(c, tuple(n for n in names if c in sample or not _row_of(n).jitted)) for c in chosen]
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
