"""Where tasks run: worker processes on this machine.

A task is a function of one argument. What ends or hangs its worker, or takes too much memory there, costs its
own task alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from conformance.tools.memory import as_text, must_be_readable
from conformance.tools.pool import TOOK_TOO_MUCH, measured, pools, watched

__all__ = ["Call", "Local", "OverError", "local"]

T = TypeVar("T")


class OverError(Exception):
    """A task took more memory than it may: "2 GiB"."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A task that was given to a pool: what it does, on what, for how long at most, and its outcome."""

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


class Local:
    """A pool of processes for each dtype, since JAX compiles every operation anew for another one. With a
    limit of memory also a pool `apart` whose processes do one task each, and the futures of those tasks that
    were over it."""

    def __init__(
        self,
        shared: Sequence[ProcessPool],
        apart: ProcessPool | None = None,
        memory: int = 0,
        over: AbstractSet[Future[Any]] = frozenset(),
    ) -> None:
        self.by_dtype = {"float64": shared[0], "float32": shared[-1]}
        self.apart, self.memory, self.over = apart, memory, over

    def schedule(self, do: Callable[[Any], T], on: Any, dtype: str, seconds: float) -> Call[T]:
        """Have it done by a worker, which has so many seconds for it."""
        return self._call(self.by_dtype[dtype], do, on, seconds)

    def outcome(self, call: Call[T]) -> T:
        """What it returned. Raises ProcessExpired, TimeoutError, OverError, or what it raised.

        A task that takes too much in a worker that has done others is done again in one that has not: what is
        lost depends neither on what a worker did before, nor on how many there are.
        """
        try:
            return self._outcome(call)
        except OverError:
            assert self.apart is not None
            return self._outcome(self._call(self.apart, call.do, call.on, call.seconds))

    def _call(self, pool: ProcessPool, do: Callable[[Any], T], on: Any, seconds: float) -> Call[T]:
        if self.apart is None:
            return Call(do, on, seconds, pool.schedule(do, args=[on], timeout=seconds))
        args = [do, on, self.memory]
        return Call(do, on, seconds, pool.schedule(measured, args=args, timeout=seconds))

    def _outcome(self, call: Call[T]) -> T:
        try:
            return call.future.result()
        except (ProcessExpired, TimeoutError) as e:
            if call.future in self.over or getattr(e, "exitcode", 0) == TOOK_TOO_MUCH:
                raise OverError(as_text(self.memory)) from e
            raise


@contextmanager
def local(jobs: int, memory: int | None = None) -> Iterator[Local]:
    """So many worker processes, which start with the first task; each may have `memory` bytes resident.
    Raises RefusedError where that cannot be watched."""
    if memory is not None:
        must_be_readable()
    with pools(filter(None, [jobs - jobs // 2, jobs // 2])) as shared:
        if memory is None:
            yield Local(shared)
            return
        with pools([1], tasks=1) as (apart,), watched([*shared, apart], memory) as over:
            yield Local(shared, apart, memory, over)
