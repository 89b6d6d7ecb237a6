"""Worker processes: a thread each, started afresh, and ended with whoever started them."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from pebble import ProcessPool

__all__ = ["ONE_THREAD", "pools", "processes"]

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""The environment of a worker: a process a core, and sums in the same order every time."""


def processes(jobs: int | None) -> int:
    """As many as asked for, or one a core."""
    return (os.cpu_count() or 1) if jobs is None else jobs


@contextmanager
def pools(shares: Iterable[int]) -> Iterator[list[ProcessPool]]:
    """Pools of so many processes each. Ctrl-C waits for nothing that is still to do."""
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


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set in this process while workers are started, since they inherit it."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Collect cycles rarely: at Python's own threshold that takes a tenth of a worker's time."""
    gc.set_threshold(100_000, 20, 50)
