"""Cases × implementations, in parallel: from a profile to results.

A task is a few cases of one activation and dtype, for which JAX compiles the same operations. A worker that
dies or hangs fails its own task alone: the task is then run again with one case and implementation at a time,
and the one that ends its worker again gets the verdict `error`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pebble import ProcessExpired

from conformance.cases.catalogue import OWN, Case
from conformance.cases.profiles import PROFILES, SHAPES, SPANNED, cases, covering, select, spanning
from conformance.implementations import IMPLEMENTATIONS, OBJECT, Implementation, given
from conformance.judge.abilities import Abilities, made
from conformance.judge.gates import judge_exception
from conformance.judge.known_differences import known_differences
from conformance.judge.parts import lacking, of_part, put_together, rows_of, without
from conformance.judge.result import judged
from conformance.judge.start import RunError, name_of, new_row, row_of, started, started_now
from conformance.judge.summary import difference, environment, families, left_out, summary
from conformance.judge.workers import Call, OverError, Workers, local
from conformance.model.packed import packed
from conformance.model.results import SCHEMA_VERSION, Part, Profile, Result, Results
from conformance.model.results import Implementation as ImplementationRow
from conformance.tools.code import beside, digest
from conformance.tools.files import FileError
from conformance.tools.journal import Journal
from conformance.tools.pool import ENDED_WITH_0, kept_from_ending, processes
from conformance.tools.trouble import MisfitError
from conformance.tools.typed import fitting

__all__ = ["Kept", "made_for", "run"]

TIMEOUT = 300.0  # seconds that an implementation may take for a case, before its worker is ended
SHARED = 3  # times as long may a task of several take; each of it is then tried by itself
PATIENCE = 3  # so often may an implementation take too long, or too much; then it is given up
CHUNK = 48  # the most cases of a task

Progress = Callable[[int, int, str], None]
"""Called with (results so far, results in all, the id of the case that was judged last)."""
Pair = tuple[Case, tuple[str, ...]]
"""A case, and the names of the implementations that run it."""
Task = tuple[list[Pair], Call[list[Result]]]
"""What a worker does, and its outcome."""
ENDED = (ProcessExpired, FutureTimeoutError, OverError)
"""What the outcome of a task raises that ended its worker, or whose worker was ended."""


class Kept(NamedTuple):
    """Where results are written as they come; `resumed`: those that are there already are not made again."""

    journal: Journal
    resumed: bool


def _key(names: Sequence[str], pairs: Sequence[Pair]) -> str:
    """What a run is of: its cases, implementations, files and versions."""
    theirs = [path for n in names if n not in IMPLEMENTATIONS for path in beside(n)]
    ours = [*Path(__file__).parents[1].rglob("*.py"), *beside("refbp")]
    versions = environment(0, 0)["packages"]
    asked = [[c.id, c.digest, *of] for c, of in pairs]
    text = json.dumps([asked, digest(theirs), digest(ours), versions])
    return hashlib.sha256(text.encode()).hexdigest()


def _resumed(kept: Kept, key: str) -> list[Result]:
    """The results that are there already, of the same run."""
    try:
        return [packed(fitting(r, Result)) for r in kept.journal.begin(key, kept.resumed)]
    except MisfitError as e:
        raise FileError(f"{kept.journal.path} has a result that is none: {e}") from e


def _task(chunk: Sequence[Pair]) -> list[Result]:
    """What a worker does. The implementations were probed before, in another worker."""
    return [result for case, names in chunk for result in judged(case, names, probing=False)]


def _start_task(name: str) -> ImplementationRow:
    return started(name).row


def _chunks(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Cases of one activation and dtype together, the most work first."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].activation, pair[0].dtype].append(pair)
    chunks = []
    for group in map(iter, groups.values()):
        while chunk := list(islice(group, CHUNK)):
            chunks.append(chunk)

    return sorted(chunks, key=_work, reverse=True)


def _work(chunk: Sequence[Pair]) -> int:
    """About how much there is to do."""
    return sum(sum(c.widths) * (c.batch + 10) * len(names) for c, names in chunk)


def _in_parallel(
    names: Sequence[str],
    pairs: Sequence[Pair],
    workers: Workers,
    progress: Progress,
    timeout: float,
    results: list[Result],
) -> list[ImplementationRow]:
    """Runs them, and adds to the results; `progress` is told after each task."""
    before = len(results)
    of_id = {case.id: case for case, _ in pairs}
    slow: Counter[str] = Counter()  # how often an implementation took too long, or too much
    starting = workers.start(_start_task, names, SHARED * timeout)

    def schedule(chunk: list[Pair]) -> Task:
        alone = sum(len(of) for _, of in chunk) == 1
        limit = timeout if alone else SHARED * timeout
        return chunk, workers.judge(_task, chunk, limit)

    def unless_given_up(r: Result) -> Result:
        name = r["implementation"]
        return r if slow[name] < PATIENCE else _given_up(of_id[r["case"]], name)

    waiting = deque(schedule(chunk) for chunk in _chunks(pairs))
    rows = [_start_row(name, call, timeout) for name, call in zip(names, starting, strict=True)]
    ready, left = _ready(rows, pairs)
    while waiting:
        chunk, call = waiting.popleft()
        try:
            done = [r for r in call.outcome() if r["implementation"] in ready]
            results += [unless_given_up(r) for r in done]
        except ENDED as e:
            singles: list[Pair] = [(c, (n,)) for c, of in chunk for n in of if n in ready]
            results += [_given_up(c, n) for c, (n,) in singles if slow[n] >= PATIENCE]
            singles = [(c, (n,)) for c, (n,) in singles if slow[n] < PATIENCE]
            if len(chunk) == 1 and chunk == singles:
                ((case, (name,)),) = singles
                results.append(judge_exception(case, name, _how_it_ended(name, e, timeout)))
                slow[name] += not isinstance(e, ProcessExpired)
                if slow[name] == PATIENCE:
                    waiting, lost = _without(name, waiting, schedule)
                    results += lost
            else:
                waiting.extend(schedule([single]) for single in singles)
        progress(len(results), before + left, chunk[0][0].id)
    return rows


def _without(
    name: str, waiting: deque[Task], schedule: Callable[[list[Pair]], Task]
) -> tuple[deque[Task], list[Result]]:
    """What is left to do without an implementation that is given up, and its results. What is done already is
    left: its results are replaced when their turn comes, so that which ones are lost does not depend on how
    far the other worker is."""
    left: deque[Task] = deque()
    lost = []
    for chunk, call in waiting:
        asked = [case for case, of in chunk if name in of]
        if not asked or call.done():
            left.append((chunk, call))
            continue
        call.cancel()
        lost += [_given_up(case, name) for case in asked]
        others = [(case, tuple(n for n in of if n != name)) for case, of in chunk]
        if rest := [(case, of) for case, of in others if of]:
            left.append(schedule(rest))
    return left, lost


def _given_up(case: Case, name: str) -> Result:
    return judge_exception(
        case,
        name,
        f"{name} was given up: it took too long, or too much memory, for {PATIENCE} cases before.",
    )


def _ready(rows: Sequence[ImplementationRow], pairs: Sequence[Pair]) -> tuple[set[str], int]:
    """The implementations that started, and how many results there will be of them."""
    ready = {r["name"] for r in rows if r["status"] == "ran"}
    return ready, sum(len(ready & set(names)) for _, names in pairs)


def _start_row(name: str, call: Call[ImplementationRow], timeout: float) -> ImplementationRow:
    """The outcome of starting an implementation, which may end its process."""
    try:
        return call.outcome()
    except ENDED as e:
        how = _how_it_ended(name, e, SHARED * timeout)
        return {**new_row(name), "status": "error", "reason": how}


def _how_it_ended(name: str, e: BaseException, timeout: float) -> str:
    if isinstance(e, ProcessExpired):
        code = 0 if e.exitcode == ENDED_WITH_0 else e.exitcode
        return f"{name} ended its process (exit code {code}); expected a trace."
    if isinstance(e, OverError):
        return f"{name} took more than {e}; expected a trace in less memory."
    return f"{name} took more than {timeout:g} s; expected a trace."


def _in_this_process(
    names: Sequence[str], pairs: Sequence[Pair], progress: Progress, results: list[Result]
) -> list[ImplementationRow]:
    with kept_from_ending():
        return _one_after_another(names, pairs, progress, results)


def _one_after_another(
    names: Sequence[str], pairs: Sequence[Pair], progress: Progress, results: list[Result]
) -> list[ImplementationRow]:
    rows = [started_now(n).row for n in names]
    before, (_, left) = len(results), _ready(rows, pairs)
    for case, of in pairs:
        results += judged(case, of)
        progress(len(results), before + left, case.id)
    return rows


def _names(asked: Sequence[str], required: Sequence[str] = ()) -> list[str]:
    """The implementations to run, ours first: those asked for, or else all of ours; and those required.
    Raises RunError for one that does not exist."""
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
    timeout: float = TIMEOUT,
    kept: Kept | None = None,
    shard: tuple[int, int] | None = None,
    parts: Sequence[Results] = (),
    memory: int | None = None,
    scheduler: str = "",
) -> Results:
    """Run implementations, or all of ours, on the cases of a profile, or the `wanted` of them; or on `own`.

    An implementation is a name (`implementations.row`), or an object with `name` and `run(problem)`, which
    runs in this process. `required` are run as well. Where one of them, or of the implementations named, does
    not run, there is no verdict (exit code 2). `jobs` is the number of worker processes: None is one for each
    core, 0 is none; in a worker an implementation has `timeout` seconds for a case, and the worker may have
    `memory` bytes resident; one that took more `PATIENCE` times is given up. A `scheduler` of
    dask.distributed, "tcp://HOST:PORT", has workers on other machines. Results are `kept` as they come, if
    that is asked for.

    `shard`, (i, n), runs part i of n alone; from the `parts`, of the same run, results are taken instead of
    made (`judge/parts.py`). Raises RefusedError for parts that are not of this run, and for a limit of memory
    that cannot be held; RunError and CaseError for what does not exist, FileError for a journal that cannot
    be kept.
    """
    objects = {name_of(i): i for i in implementations if not isinstance(i, str)}
    asked = [i if isinstance(i, str) else i.name for i in implementations]
    if ours := [n for n in objects if n in IMPLEMENTATIONS]:
        raise RunError(
            f"an object has the name {ours[0]!r}, which is one of ours; give it another."
        )
    if twice := [n for n in asked if asked.count(n) > 1]:
        raise RunError(f"two implementations have the name {twice[0]!r}; expected a name for each.")
    if scheduler and (objects or jobs is not None):
        what = "an object of this process" if objects else "--jobs"
        raise RunError(f"a scheduler has workers elsewhere; expected it without {what}.")
    jobs = processes(0 if objects else jobs)
    if memory is not None and not jobs:
        raise RunError(
            "a limit of memory is of worker processes; expected one at least (--jobs 1)."
        )
    with given(objects):
        names = _names(asked, required)
        with _workers(scheduler, names, jobs, memory) as workers:
            return _run(
                profile, names, asked, required, wanted, workers, progress, own,
                timeout, kept, shard, parts,
            )  # fmt: skip


def _workers(
    scheduler: str, names: Sequence[str], jobs: int, memory: int | None
) -> AbstractContextManager[Workers | None]:
    """Those of a scheduler, or processes here; None for this process itself."""
    if scheduler:
        from conformance.judge.cluster import cluster

        return cluster(scheduler, names, memory)
    return local(jobs, memory) if jobs else nullcontext()


def _abilities(names: Sequence[str], workers: Workers | None) -> dict[str, Abilities]:
    """What those that are somebody's own objects say that they can do, asked in a process of their own."""
    asked = [n for n in names if row_of(n) is OBJECT]
    if workers is None:
        found = [_able(n) for n in asked]
    else:
        calls = [workers.schedule(_able, n, TIMEOUT) for n in asked]
        found = [_answered(call) for call in calls]
    return {n: a for n, a in zip(asked, found, strict=True) if a is not None}


def _able(name: str) -> Abilities | None:
    return started_now(name, probing=False).abilities


def _answered(call: Call[Abilities | None]) -> Abilities | None:
    try:
        return call.outcome()
    except ENDED:  # as its start will show
        return None


def _description(profile: str, chosen: Sequence[Case]) -> str:
    made = sum(bool(c.digest) for c in chosen)
    own = f", and {made} networks made for what an implementation says that it can do"
    return PROFILES[profile] + own * bool(made)


def _unjudged(
    able: Mapping[str, Abilities], results: Sequence[Result], chosen: Sequence[Case]
) -> dict[str, list[str]]:
    """The σ and losses that each says that it can do, and that were not judged."""
    by_id = {c.id: c for c in chosen}
    judged = defaultdict(list)
    for r in results:
        if r["verdict"] not in ("not-run", "error"):
            judged[r["implementation"]].append(by_id[r["case"]])
    return {n: a.unjudged(judged[n]) for n, a in able.items()}


def made_for(name: str) -> list[Case]:
    """The networks that are made for what an implementation says that it can do; it is started here."""
    able = _able(name) if row_of(name) is OBJECT else None
    return [] if able is None else made(able)


def _within(able: Mapping[str, Abilities], pairs: Sequence[Pair], made_too: bool) -> list[Pair]:
    """Each case for those that can do it, and cases made for those that say what they can do."""
    found: dict[Case, tuple[str, ...]] = {}
    for case, names in pairs:
        found[case] = tuple(n for n in names if n not in able or not able[n].lacks(case))
    for name, a in able.items() if made_too else ():
        for case in made(a):
            found[case] = (*found.get(case, ()), name)
    return [(case, names) for case, names in found.items() if names]


def _finished(
    row: ImplementationRow, results: Sequence[Result], given: Sequence[Case]
) -> ImplementationRow:
    """The row with the number of cases that it ran; an implementation that declined them all has not run."""
    own = [r for r in results if r["implementation"] == row["name"]]
    ran = sum(r["verdict"] != "not-run" for r in own)
    none = "" if own else "none of the cases that were asked for is one that it says it can do."
    reason = row["reason"] or left_out(row, results, given) or none
    row = {**row, "cases": ran, "reason": reason}
    return {**row, "status": "not-run"} if row["status"] == "ran" and not ran else row


def _run(
    profile: str,
    names: Sequence[str],
    asked: Sequence[str],
    required: Sequence[str],
    wanted: str,
    workers: Workers | None,
    progress: Progress,
    own: Sequence[Case],
    timeout: float,
    kept: Kept | None,
    shard: tuple[int, int] | None,
    parts: Sequence[Results],
) -> Results:
    begun = time.monotonic()
    chosen = list(own) or select(cases(profile), wanted)
    everything = profile == "exhaustive" or len(chosen) <= 50
    fields = SHAPES if profile == "quick" else SPANNED
    few = chosen if own else covering(chosen)
    sample = set(chosen if everything else spanning(few, fields))  # for what is jitted
    try:
        able = _abilities(names, workers)
        everybodys = chosen
        pairs = [
            (c, tuple(n for n in names if c in sample or not row_of(n).jitted)) for c in chosen
        ]
        if not own:
            pairs = _within(able, pairs, made_too=not wanted)
            chosen = [c for c, _ in pairs]
        whole, key = pairs, _key(names, pairs) if kept or shard or parts else ""
        if shard:
            mine = dict(of_part(_chunks(pairs), _work, *shard))
            pairs = [(c, of) for c, of in pairs if c in mine]
            chosen, everybodys = ([c for c in of if c in mine] for of in (chosen, everybodys))
            key = f"{key} {shard[0]}/{shard[1]}"
        results = [] if kept is None else _resumed(kept, key)
        absent: list[str] = []
        lost: list[Result] = []
        if parts:
            results, absent = put_together(parts, key)
        there = {(r["case"], r["implementation"]) for r in results}
        of_case = ((c, tuple(n for n in of if (c.id, n) not in there)) for c, of in pairs)
        left = [(c, of) for c, of in of_case if of]
        recorded = len(results)

        def progressed(done: int, total: int, case: str) -> None:
            nonlocal recorded
            if kept is not None:
                kept.journal.add(results[recorded:])
            results[recorded:] = map(packed, results[recorded:])
            recorded = len(results)
            progress(done, total, case)

        if parts:
            rows = rows_of(parts, names)
            lost = without(whole, results, rows)
            results += lost
        elif workers is None:
            rows = _in_this_process(names, left, progressed, results)
        else:
            rows = _in_parallel(names, left, workers, progressed, timeout, results)
    except BrokenProcessPool as e:
        raise RunError(
            "no worker process could start. In a script, call run under `if __name__ == "
            '"__main__":`, since a worker imports the script again; or pass jobs=0.'
        ) from e
    ran = {r["name"] for r in rows if r["status"] == "ran"}
    results = [r for r in results if r["implementation"] in ran]
    order = {key: i for i, key in enumerate((c.id, n) for c in chosen for n in names)}
    results.sort(key=lambda r: order[r["case"], r["implementation"]])
    meant = {n: [c for c, of in pairs if n in of] if n in able else everybodys for n in names}
    rows = [_finished(r, results, meant[r["name"]]) for r in rows]
    differences = [difference(d, results) for d in known_differences()]
    answer = summary(
        rows,
        results,
        differences,
        {*asked, *required},
        {} if shard else _unjudged(able, results, chosen),
    )
    found = Results(
        schema_version=SCHEMA_VERSION,
        environment=environment(
            time.monotonic() - begun + sum(p["environment"].get("seconds", 0) for p in parts),
            workers.jobs if workers else 0,
        ),
        profile=Profile(
            name="own" if own else profile,
            description=OWN.why if own else _description(profile, chosen),
            select=wanted,
            cases=len(chosen),
        ),
        implementations=rows,
        families=families(chosen),
        cases=[c.row() for c in chosen],
        results=results,
        known_differences=differences,
        summary=lacking(answer, absent, lost) if absent or lost else answer,
    )
    if shard:
        found["part"] = Part(
            key=key.partition(" ")[0],
            number=shard[0],
            of=shard[1],
            profile=profile,
            implementations=list(asked),
            require=list(required),
            networks=[],  # which whoever made cases of them knows
        )
    return found
