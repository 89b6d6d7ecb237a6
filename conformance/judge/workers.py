"""Where tasks run: worker processes on this machine, or on others (`cluster.py`), through one interface.

A task is a function of one argument. What ends or hangs its worker, or takes too much memory there, costs its
own task alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool

from conformance.cases.catalogue import Case
from conformance.model.results import Implementation as Row
from conformance.model.results import Result
from conformance.tools.memory import as_text, must_be_readable
from conformance.tools.pool import TOOK_TOO_MUCH, measured, pools, watched

__all__ = ["Call", "Chunk", "Local", "OverError", "Workers", "local"]

T = TypeVar("T")
Returned = TypeVar("Returned", covariant=True)
Chunk = list[tuple[Case, tuple[str, ...]]]
"""Cases of one dtype, each with the implementations that run it."""


class OverError(Exception):
    """A task took more memory than it may: "2 GiB"."""


class Call(Protocol[Returned]):
    """A task that was given to workers."""

    def done(self) -> bool:
        """Whether it has run, or failed."""
        ...

    def cancel(self) -> None:
        """Drop it, or what is left of it."""
        ...

    def outcome(self) -> Returned:
        """What it returned. Raises ProcessExpired, TimeoutError, OverError, or what it raised."""
        ...


class Workers(Protocol):
    """`jobs` processes that do tasks, each of which may take so many seconds."""

    jobs: int

    def schedule(self, do: Callable[[Any], T], on: Any, seconds: float) -> Call[T]:
        """Have it done by any of them."""
        ...

    def start(
        self, do: Callable[[str], Row], names: Sequence[str], seconds: float
    ) -> Sequence[Call[Row]]:
        """Have implementations started: the row of each."""
        ...

    def judge(
        self, do: Callable[[Chunk], list[Result]], chunk: Chunk, seconds: float
    ) -> Call[list[Result]]:
        """Have a chunk judged, by those that can run its implementations."""
        ...


@dataclass(frozen=True)
class LocalCall(Generic[T]):
    """A task that a pool was given: what it does, on what, for how long at most, and its outcome."""

    of: Local
    do: Callable[[Any], T]
    on: Any
    seconds: float
    future: Future[T]

    def done(self) -> bool:
        """Whether it has run, or failed."""
        return self.future.done()

    def cancel(self) -> None:
        """Drop it, or end its worker."""
        self.future.cancel()

    def outcome(self) -> T:
        """What it returned. Raises ProcessExpired, TimeoutError, OverError, or what it raised.

        A task that takes too much in a worker that has done others is done again in one that has not: what is
        lost depends neither on what a worker did before, nor on how many there are.
        """
        try:
            return self._outcome()
        except OverError:
            assert self.of.apart is not None
            return self.of.call(self.of.apart, self.do, self.on, self.seconds)._outcome()

    def _outcome(self) -> T:
        try:
            return self.future.result()
        except (ProcessExpired, TimeoutError) as e:
            if self.future in self.of.over or getattr(e, "exitcode", 0) == TOOK_TOO_MUCH:
                raise OverError(as_text(self.of.memory)) from e
            raise


class Local:
    """A pool of processes for each dtype, since JAX compiles every operation anew for another one. With a
    limit of memory also a pool `apart` whose processes do one task each, and the futures of those tasks that
    were over it."""

    def __init__(
        self,
        jobs: int,
        shared: Sequence[ProcessPool],
        apart: ProcessPool | None = None,
        memory: int = 0,
        over: AbstractSet[Future[Any]] = frozenset(),
    ) -> None:
        self.jobs, self.by_dtype = jobs, {"float64": shared[0], "float32": shared[-1]}
        self.apart, self.memory, self.over = apart, memory, over

    def call(
        self, pool: ProcessPool, do: Callable[[Any], T], on: Any, seconds: float
    ) -> LocalCall[T]:
        """Have it done by a process of that pool."""
        if self.apart is None:
            future = pool.schedule(do, args=[on], timeout=seconds)
        else:
            future = pool.schedule(measured, args=[do, on, self.memory], timeout=seconds)
        return LocalCall(self, do, on, seconds, future)

    def schedule(self, do: Callable[[Any], T], on: Any, seconds: float) -> LocalCall[T]:
        """Have it done in the first pool."""
        return self.call(self.by_dtype["float64"], do, on, seconds)

    def start(
        self, do: Callable[[str], Row], names: Sequence[str], seconds: float
    ) -> list[LocalCall[Row]]:
        """Have implementations started: each once, in one of the pools."""
        sides = list(self.by_dtype.values())
        return [self.call(sides[i % 2], do, n, seconds) for i, n in enumerate(names)]

    def judge(
        self, do: Callable[[Chunk], list[Result]], chunk: Chunk, seconds: float
    ) -> LocalCall[list[Result]]:
        """Have a chunk judged in the pool of its dtype."""
        return self.call(self.by_dtype[chunk[0][0].dtype], do, chunk, seconds)


@contextmanager
def local(jobs: int, memory: int | None = None) -> Iterator[Local]:
    """So many worker processes, which start with the first task; each may have `memory` bytes resident.
    Raises RefusedError where that cannot be watched."""
    if memory is not None:
        must_be_readable()
    with pools(filter(None, [jobs - jobs // 2, jobs // 2])) as shared:
        if memory is None:
            yield Local(jobs, shared)
            return
        with pools([1], tasks=1) as (apart,), watched([*shared, apart], memory) as over:
            yield Local(jobs, shared, apart, memory, over)
