"""The search: Hypothesis draws networks, replays those that failed before, and makes small what fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky

from conformance.cases import Case
from conformance.fuzz.legal import LEGAL
from conformance.fuzz.networks import Network, network, shared
from conformance.implementations import Implementation
from conformance.judge import Subject
from conformance.problem import Problem
from conformance.results import Result
from conformance.runner import RunError, judged_by, started

__all__ = ["OURS", "Found", "search"]

OURS = ("refbp", "torch-cpu", "jax-cpu")
PART = 200
BEYOND = 1 << 90
"""Choices are drawn above every constant in anybody's code: Hypothesis draws those too, of whatever is
loaded, and which networks are drawn would depend on it."""


@dataclass
class Found:
    """What a search came to: how many networks of which verdicts, and the smallest that failed."""

    networks: int = 0
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    problem: Problem | None = None
    result: Result | None = None


class _DeviatesError(Exception):
    """A network that deviates, as Hypothesis wants to hear of it."""


class _BrokenError(Exception):
    """A network that could not be judged: another failure, into which shrinking must not slide."""


FAILED = {"deviates": _DeviatesError, "error": _BrokenError}


def search(
    names: Sequence[str],
    examples: int,
    seed: int,
    database: Path | None,
    minutes: float | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Found:
    """Judge implementations on networks drawn from `seed`, up to `examples` of them, or for some minutes.

    Without names ours are tried, and those of `legal` in turn: none may deviate. Which networks are drawn
    depends on the seed alone; `minutes` says only how many. A network that deviates is made smaller as long
    as it still does, and kept in `database`, a folder, from where it is tried first the next time.

    Raises RunError where one of the implementations does not start.
    """
    impls = [(name, _ready(name)) for name in names or OURS]
    kept = database and database / crc32(repr(sorted(names or OURS)).encode()).to_bytes(4).hex()
    found, until = Found(), None if minutes is None else time.monotonic() + 60 * minutes

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

    def one(data: Any) -> None:
        drawn = network(lambda k: data.draw(st.integers(BEYOND, BEYOND + k - 1)) - BEYOND)
        assume(drawn is not None)
        assert drawn is not None
        found.networks += found.result is None
        progress(found.networks)
        tried(drawn)

    for turn, count in enumerate(_in_parts(examples)):
        if found.result is not None or (until is not None and time.monotonic() > until):
            break
        with suppress(
            *FAILED.values(), Flaky
        ):  # one that is wrong now and then is found all the same
            settings(
                max_examples=count,
                database=DirectoryBasedExampleDatabase(kept) if kept else None,
                deadline=None,
                phases=(Phase.reuse, Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            )(
                seeded(f"{seed}.{turn}")(given(st.data())(one))
            )()  # a seed set last takes the database away
    return found


def _in_parts(examples: int) -> Iterator[int]:
    """So many at a time: between them it may end."""
    for i in range(0, examples, PART):
        yield min(PART, examples - i)


def _ready(name: str) -> Implementation:
    """Raises RunError where it does not start."""
    start = started(name)
    if start.ready is None:
        raise RunError(f"{name} is {start.row['status']}: {start.row['reason']}")
    return start.ready


def _turn(
    impls: Sequence[tuple[str, Implementation]], drawn: Network, ours: bool
) -> list[tuple[str, Implementation]]:
    """Those that judge this network: JAX, which compiles for every shape, only at shapes that recur."""
    of = [(n, i) for n, i in impls if not ours or n != "jax-cpu" or shared(drawn.problem)]
    if ours:
        legal = LEGAL[drawn.turn % len(LEGAL)]
        of.append((legal.name, legal))
    return of
