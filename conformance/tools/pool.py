"""Pools of worker processes: each is started afresh, computes in one thread, and ends with this process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessPool

from conformance.tools.memory import peak, resident
from conformance.tools.orphan import end_with

__all__ = [
    "ENDED_WITH_0",
    "ONE_THREAD",
    "TOOK_TOO_MUCH",
    "kept_from_ending",
    "measured",
    "pools",
    "processes",
    "watched",
]

T = TypeVar("T")

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""In the environment of a worker: there is a process for each core already, and with one thread sums are
taken in the same order every time."""


ENDED_WITH_0 = 190
"""The exit code of a worker that the code in it ended with 0, which a pool would take for its proper end."""


def processes(jobs: int | None) -> int:
    """The number of processes: as many as asked for, or one for each core that this process may use."""
    return _cores() if jobs is None else jobs


QUOTA = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of a container under Linux: "200000 100000" is two cores, "max" is all


def _cores() -> int:
    able = getattr(os, "sched_getaffinity", None)
    cores = len(able(0)) if able else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text("ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no quota
        return cores


@contextmanager
def pools(shares: Iterable[int], tasks: int = 0) -> Iterator[list[ProcessPool]]:
    """Pools of so many processes each, of which another takes the place when it has done so many `tasks` (0:
    never). An exception, Ctrl-C among them, drops the tasks that are waiting."""
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ExitStack() as stack:
        opened = [
            stack.enter_context(
                ProcessPool(
                    max_workers=share,
                    max_tasks=tasks,
                    context=context,
                    initializer=_start_worker,
                    initargs=[os.getpid()],
                )
            )
            for share in shares
        ]
        try:
            yield opened
        except BaseException:
            for pool in opened:
                pool.stop()  # type: ignore[no-untyped-call]
            raise


TOOK_TOO_MUCH = 191
"""The exit code of a worker that had more memory than it may, if only for a moment."""
OFTEN = 0.05  # seconds from look to look


def measured(do: Callable[[Any], T], on: Any, most: int) -> T:
    """What a task returns; it ends its worker if that ever had more than `most` bytes resident."""
    found = do(on)
    if peak() > most:
        os._exit(TOOK_TOO_MUCH)
    return found


@contextmanager
def watched(opened: Sequence[ProcessPool], most: int) -> Iterator[set[Future[Any]]]:
    """End each worker of the pools that has more than `most` bytes resident. Within the context: the futures
    of the tasks that did; `result` of each raises TimeoutError, since its time is declared to be up."""
    over: set[Future[Any]] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(OFTEN):
            # Pebble has no public name for who does which task. A worker that is killed here might hold the
            # lock of the pool's pipe; pebble ends one whose time is up when it holds none.
            for pool in opened:
                for task in pool._pool_manager.task_manager.tasks.copy().values():
                    if task.worker_id and resident(task.worker_id) > most:
                        over.add(task.future)
                        task.timeout = sys.float_info.min

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield over
    finally:
        done.set()
        watch.join()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """The environment of this process, which the workers inherit, while they are started."""
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


@contextmanager
def kept_from_ending() -> Iterator[None]:
    """Code that calls os._exit in this process ends it still, but not with the 0 of a run that was right."""
    leave, this = os._exit, os.getpid()

    def leave_with_2(code: int) -> None:
        if os.getpid() == this:
            sys.stderr.write(
                f"conformance: what was run ended this process (os._exit({code})); expected a trace. "
                "With --jobs 1 it has a process of its own.\n"
            )
            sys.stderr.flush()
        leave(2 if os.getpid() == this else code)

    os._exit = leave_with_2  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


def _start_worker(parent: int) -> None:
    """Collect cycles rarely: with Python's own thresholds that takes a tenth of a worker's time. End with the
    process that started it, however that ends."""
    end_with(parent)
    leave, worker = os._exit, os.getpid()

    def leave_noticed(code: int) -> None:
        leave(ENDED_WITH_0 if code == 0 and os.getpid() == worker else code)

    os._exit = leave_noticed  # type: ignore[assignment]
    gc.set_threshold(100_000, 20, 50)
