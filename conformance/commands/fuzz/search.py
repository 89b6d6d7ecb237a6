"""The search: Hypothesis draws networks, first those that failed before, and makes small what fails.

Networks are drawn in blocks, each from its own seed, in one process or several. The result does not depend on
how many: it is that of the first block that failed, with the counts of the blocks before it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky
from pebble import ProcessExpired

from conformance.cases.catalogue import Case
from conformance.commands.fuzz.legal import LEGAL
from conformance.commands.fuzz.networks import Network, network, shared
from conformance.implementations import Implementation
from conformance.judge.result import judged_by
from conformance.judge.start import RunError, started
from conformance.judge.subject import Subject
from conformance.model.problem import Problem
from conformance.model.results import Result
from conformance.tools.pool import pools

__all__ = ["OURS", "Found", "search"]

OURS = ("refbp", "torch-cpu", "jax-cpu")
BLOCK = 250  # networks drawn from one seed
BEYOND = 1 << 90
"""Added to every choice that Hypothesis draws. Hypothesis likes to draw constants from the code of loaded
modules, which would change the networks that are drawn; no such constant is as large as this."""


@dataclass
class Found:
    """The result of a search: how many networks, their verdicts, and the smallest network that failed."""

    networks: int = 0
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    problem: Problem | None = None
    result: Result | None = None

    def add(self, more: Found) -> None:
        """Add the result of the next block."""
        self.networks += more.networks
        for name, verdicts in more.verdicts.items():
            self.verdicts.setdefault(name, Counter()).update(verdicts)
        self.problem, self.result = more.problem, more.result


class _DeviatesError(Exception):
    """A network deviates. Hypothesis takes an exception for the failure that it has to make smaller."""


class _BrokenError(Exception):
    """A network could not be judged. While Hypothesis makes a network smaller it keeps to one type of
    exception, so that a network that deviates does not become one of these."""


FAILED = {"deviates": _DeviatesError, "error": _BrokenError}


def search(
    names: Sequence[str],
    examples: int,
    seed: int,
    database: Path | None,
    minutes: float | None = None,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """Judge implementations on networks drawn from `seed`, up to `examples` of them, or for some minutes.

    Without names ours are tried, and in turn those of `legal`: none may deviate. Which networks are drawn
    depends on the seed alone; `minutes` only limits how many blocks are begun. A network that deviates is
    made smaller as long as it still deviates, and kept in the folder `database`, from which it is tried first
    the next time. `jobs` is the number of processes; with 1 it is this process.

    Raises RunError if one of the implementations does not start.
    """
    kept = database and database / crc32(repr(sorted(names or OURS)).encode()).to_bytes(4).hex()
    counts = [min(BLOCK, examples - i) for i in range(0, examples, BLOCK)]
    one, done = partial(_block, tuple(names), seed, kept), 0
    until = None if minutes is None else time.monotonic() + 60 * minutes

    def begun() -> Iterator[tuple[int, int]]:
        for b, count in enumerate(counts):
            if until is not None and b > 0 and time.monotonic() > until:
                return
            yield b, count

    blocks: dict[int, Found] = {}
    for b, found in _results(begun(), one, min(jobs, len(counts))):
        blocks[b], done = found, done + found.networks
        progress(done)
    whole = Found()
    for b in sorted(blocks):
        whole.add(blocks[b])
        if whole.result is not None:
            break
    return whole


def _results(
    begun: Iterator[tuple[int, int]], one: Callable[[int, int], Found], jobs: int
) -> Iterator[tuple[int, Found]]:
    """The result of each block, as the blocks end; no block is begun after one has failed."""
    if jobs < 2:
        for b, count in begun:
            found = one(b, count)
            yield b, found
            if found.result is not None:
                return
        return
    with pools([jobs]) as (pool,):
        running: dict[Future[Found], int] = {}
        failed = False
        while True:
            while not failed and len(running) < jobs and (more := next(begun, None)) is not None:
                running[pool.schedule(one, args=more)] = more[0]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                b = running.pop(future)
                try:
                    found = future.result()
                except ProcessExpired as e:
                    raise RunError(f"block {b} ended its process ({e.exitcode}).") from e
                failed = failed or found.result is not None
                yield b, found


def _block(names: tuple[str, ...], seed: int, kept: Path | None, b: int, count: int) -> Found:
    """The b-th block: networks from its own seed, until one fails. The first block also tries what was
    kept."""
    impls = [(name, _ready(name)) for name in names or OURS]
    found = Found()

    def tried(drawn: Network) -> None:
        subject = Subject(Case.of(drawn.problem, drawn.close))
        for name, impl in _turn(impls, drawn, ours=not names):
            with np.errstate(all="ignore"):
                result = judged_by(subject, name, impl)
            found.verdicts.setdefault(name, Counter())[result["verdict"]] += 1
            if result["verdict"] in FAILED:
                if found.result is None or found.result["verdict"] == result["verdict"]:
                    found.problem, found.result = drawn.problem, result
                raise FAILED[result["verdict"]]

    def one(data: st.DataObject) -> None:
        drawn = network(lambda k: data.draw(st.integers(BEYOND, BEYOND + k - 1)) - BEYOND)
        assume(drawn is not None)
        assert drawn is not None
        found.networks += found.result is None
        tried(drawn)

    draw = settings(
        max_examples=count,
        database=DirectoryBasedExampleDatabase(kept) if kept else None,
        deadline=None,
        phases=(*((Phase.reuse,) if b == 0 else ()), Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    # the seed before the settings: if the seed is set last, Hypothesis drops the database
    run = draw(seeded(f"{seed}.{b}")(given(st.data())(one)))
    with suppress(
        *FAILED.values(), Flaky
    ):  # Flaky: a network that fails only sometimes is a failure all the same
        run()
    return found


def _ready(name: str) -> Implementation:
    """An implementation, started. Raises RunError if it does not start."""
    start = started(name)
    if start.ready is None:
        raise RunError(f"{name} is {start.row['status']}: {start.row['reason']}")
    return start.ready


def _turn(
    impls: Sequence[tuple[str, Implementation]], drawn: Network, ours: bool
) -> list[tuple[str, Implementation]]:
    """The implementations that run this network: JAX, which compiles for every shape, only at shapes that
    recur; and one of the legal ones, in turn."""
    of = [(n, i) for n, i in impls if not ours or n != "jax-cpu" or shared(drawn.problem)]
    if ours:
        legal = LEGAL[drawn.turn % len(LEGAL)]
        of.append((legal.name, legal))
    return of
