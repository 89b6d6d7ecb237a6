"""Workers on other machines: tasks given to a scheduler of dask.distributed.

A worker of dask hands each task on to processes of its own (`workers.local`), so that what a task may do,
take and break is what it is on one machine. Before it does, it compares its versions, code and files with
those of the run. A worker that is lost costs nothing: dask has its tasks done by another.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import util
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import uuid4

from pebble import ProcessExpired

from conformance.implementations import IMPLEMENTATIONS
from conformance.judge.start import RunError
from conformance.judge.summary import environment
from conformance.judge.workers import Chunk, Local, OverError, local
from conformance.model.results import Implementation as Row
from conformance.model.results import Result
from conformance.tools.cache import keep_compiled
from conformance.tools.code import beside, digest
from conformance.tools.trouble import RefusedError, reason

__all__ = ["Cluster", "cluster"]

T = TypeVar("T")

CONNECTED = 10  # seconds within which a scheduler answers
WAIT = 60.0  # seconds without a worker that could do a task, after which a run ends
LOOK = 2.0  # seconds from look to look whether there is one
IDLE = 20.0  # seconds without a task, after which a worker ends its processes
ABSENT = "not installed"
JUDGED = "; what was judged is in the journal of --json, and --resume goes on with it."
WORST = ("", "error", "ran", "not-run")  # of how an implementation started at several workers


# ---- at a worker ---------------------------------------------------------------------------------------


class About(NamedTuple):
    """What must be the same at every worker: versions, our code, the files under test in their folder."""

    folder: str
    names: tuple[str, ...]
    packages: tuple[tuple[str, str], ...]
    code: str
    files: str


def _about(folder: str, names: tuple[str, ...]) -> About:
    """What is so here, with this process in that folder."""
    ours = [*Path(__file__).parents[1].rglob("*.py"), *beside("refbp")]
    files = digest(path for n in names for path in beside(n))
    packages = tuple(environment(0, 0)["packages"].items())
    return About(folder, names, packages, digest(ours), files)


@cache
def _must_be(expected: About) -> None:
    """Go to the folder of the run, if files are judged. Raises RunError where something is not the same: but
    for a package that is not installed here, whose implementations do not run here."""
    where = f"the worker on {os.uname().nodename}"
    if expected.names:
        try:
            os.chdir(expected.folder)
        except OSError as e:
            raise RunError(
                f"{where} has no folder {expected.folder}; expected the files under test on a path that all "
                "workers share."
            ) from e
    here = _about(expected.folder, expected.names)
    for (name, wanted), (_, found) in zip(expected.packages, here.packages, strict=True):
        if found not in (wanted, ABSENT):
            raise RunError(f"{where} has {name} {found}; expected {wanted}, as here.")
    if here.code != expected.code:
        raise RunError(
            f"{where} has other code of refbp or conformance; expected that of this run."
        )
    if here.files != expected.files:
        raise RunError(
            f"{where} has other files under test in {expected.folder} than this run; expected the same, on a "
            "path that all workers share."
        )


def _checked(task: tuple[About, Callable[[Any], T], Any]) -> T:
    """A task, in a process of a worker."""
    expected, do, on = task
    _must_be(expected)
    return do(on)


@dataclass
class _Kept:
    """The processes of a run at this worker, and how many tasks they have. `idle` ends them."""

    stack: ExitStack
    workers: Local
    tasks: int = 0
    idle: threading.Timer | None = None


_KEPT: dict[str, _Kept] = {}
_LOCK = threading.Lock()


def _end(*runs: str) -> None:
    """End the processes of those runs, or of all, but where they have a task again."""
    with _LOCK:
        for run in [run for run in runs or [*_KEPT] if run in _KEPT and not _KEPT[run].tasks]:
            _KEPT.pop(run).stack.close()


@contextmanager
def _processes(run: str, jobs: int, memory: int | None) -> Iterator[Local]:
    """The processes of that run here. Raises RefusedError where a limit of memory cannot be held."""
    with _LOCK:
        if run not in _KEPT:
            # A nanny's process may have no children, lest they outlive it; ours end when it does.
            multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
            keep_compiled()
            stack = ExitStack()
            _KEPT[run] = _Kept(stack, stack.enter_context(local(jobs, memory)))
        kept = _KEPT[run]
        kept.tasks += 1
    try:
        yield kept.workers
    finally:
        with _LOCK:
            kept.tasks -= 1
            if kept.idle is not None:
                kept.idle.cancel()
            kept.idle = threading.Timer(IDLE, _end, [run])
            kept.idle.daemon = True
            kept.idle.start()


util.Finalize(None, _end, exitpriority=100)  # before a process that ends waits for its children


class Order(NamedTuple):
    """A task as it is sent: of which run, with which limits, what it does and on what."""

    run: str
    expected: About
    memory: int | None
    seconds: float
    do: Callable[[Any], Any]
    on: Any
    dtype: str


def _obey(order: Order) -> tuple[str, Any]:
    """What came of it, at a worker of dask: "done" and what it returned, or what kept it from that."""
    from distributed import get_worker

    try:
        with _processes(order.run, get_worker().state.nthreads, order.memory) as workers:
            pool = workers.by_dtype[order.dtype]
            task = (order.expected, order.do, order.on)
            return "done", workers.call(pool, _checked, task, order.seconds).outcome()
    except OverError as e:
        return "over", str(e)
    except ProcessExpired as e:
        return "ended", e.exitcode
    except TimeoutError:
        return "late", None
    except RefusedError as e:
        return "refused", str(e)


# ---- at the run ----------------------------------------------------------------------------------------


class GoneError(RunError):
    """There is no worker any more that could do a task."""


class Part(NamedTuple):
    """What one worker is to do of a task: the future, and the workers that can, where not all can."""

    future: Any
    able: frozenset[str] | None


@dataclass(frozen=True)
class ClusterCall(Generic[T]):
    """A task that was sent, and how its outcome is had, which waits for it."""

    parts: Sequence[Part]
    outcome: Callable[[], T]

    def done(self) -> bool:
        """Whether it has run, or failed."""
        return all(part.future.done() for part in self.parts)

    def cancel(self) -> None:
        """Drop what of it has not begun."""
        for part in self.parts:
            part.future.cancel()


class Cluster:
    """The workers of a scheduler, through a connected client."""

    def __init__(self, client: Any, names: Sequence[str], memory: int | None) -> None:
        self.client, self.run, self.memory = client, uuid4().hex, memory
        theirs = tuple(n for n in names if n not in IMPLEMENTATIONS)
        self.expected = _about(os.getcwd(), theirs)  # noqa: PTH109   as a worker gets it: text
        self.jobs = sum(client.nthreads().values())
        self.able: dict[str, frozenset[str]] = {}  # which workers run an implementation
        self.there: frozenset[str] = frozenset()

    def _send(
        self, do: Callable[[Any], Any], on: Any, seconds: float, dtype: str = "float64",
        able: frozenset[str] | None = None,
    ) -> Part:  # fmt: skip
        order = Order(self.run, self.expected, self.memory, seconds, do, on, dtype)
        workers = None if able is None else sorted(able)
        return Part(self.client.submit(_obey, order, workers=workers, pure=False), able)

    def _result(self, part: Part) -> Any:
        """What came of it. Raises ProcessExpired, TimeoutError, OverError; RunError where a worker is not as
        it must be, and GoneError."""
        from distributed import TimeoutError as NotYetError

        future, able = part
        alone = time.monotonic()
        while True:
            try:
                how, what = future.result(timeout=LOOK)
                break
            except NotYetError as e:
                there = self.client.nthreads().keys()
                if there & (there if able is None else able):
                    alone = time.monotonic()
                elif time.monotonic() - alone > WAIT:
                    raise GoneError(
                        f"for {WAIT:g} s there was no worker that could go on{JUDGED}"
                    ) from e
            except CancelledError as e:
                raise RunError(f"the scheduler has ended, or cannot be reached{JUDGED}") from e
            except Exception as e:  # dask's own, or what the worker's code raised before ours
                raise RunError(
                    f"a worker could not do a task: {reason(e)}; expected this refbp and conformance there."
                ) from e
        if how == "over":
            raise OverError(what)
        if how == "ended":
            raise ProcessExpired("", code=what)  # type: ignore[no-untyped-call]
        if how == "late":
            raise TimeoutError
        if how == "refused":
            raise RunError(what)
        return what

    def schedule(self, do: Callable[[Any], T], on: Any, seconds: float) -> ClusterCall[T]:
        """Have it done by any worker."""
        part = self._send(do, on, seconds)
        return ClusterCall([part], lambda: self._result(part))

    def start(
        self, do: Callable[[str], Row], names: Sequence[str], seconds: float
    ) -> Sequence[_Known]:
        """Have each implementation started at each worker, and wait. One that is broken at one of them is
        broken; one that runs at some runs there."""
        sent = [
            (name, w, self._send(do, name, seconds, able=frozenset([w])))
            for name in names
            for w in sorted(self.client.nthreads())
        ]
        answers: dict[str, dict[str, _Known]] = {name: {} for name in names}
        lost: GoneError | None = None
        for name, w, part in sent:
            try:
                answers[name][w] = self._known(part)
            except GoneError as e:
                lost = e
        if lost and not all(answers.values()):
            raise lost
        self.there = frozenset(w for of in answers.values() for w in of)
        self.able = {
            name: frozenset(w for w, a in of.items() if a.status() == "ran")
            for name, of in answers.items()
        }
        return [min(of.values(), key=lambda a: WORST.index(a.status())) for of in answers.values()]

    def _known(self, part: Part) -> _Known:
        try:
            return _Known(self._result(part))
        except (ProcessExpired, TimeoutError, OverError) as e:
            return _Known(None, e)

    def judge(
        self, do: Callable[[Chunk], list[Result]], chunk: Chunk, seconds: float
    ) -> ClusterCall[list[Result]]:
        """Have a chunk judged: whole where every worker can, else in parts, each by those that can."""
        dtype, parts, chunks = chunk[0][0].dtype, [], []
        for able in dict.fromkeys(self.able[n] for _, of in chunk for n in of if self.able[n]):
            theirs = ((c, tuple(n for n in of if self.able[n] == able)) for c, of in chunk)
            chunks.append(([(c, of) for c, of in theirs if of], able))
            anywhere = None if able == self.there else able
            parts.append(self._send(do, chunks[-1][0], seconds, dtype, anywhere))

        def outcome() -> list[Result]:
            found: list[Result] = []
            for part, (asked, able) in zip(parts, chunks, strict=True):
                some, wanted = self._result(part), sum(len(of) for _, of in asked)
                if len(some) < wanted:  # of a worker that came later, and lacks one
                    some = self._result(self._send(do, asked, seconds, dtype, able))
                found += some
            return found

        return ClusterCall(parts, outcome)


@dataclass(frozen=True)
class _Known:
    """A start that has been waited for: its row, or what it raised."""

    row: Row | None
    raised: Exception | None = None

    def status(self) -> str:
        return self.row["status"] if self.row else ""

    def done(self) -> bool:
        return True

    def cancel(self) -> None:
        pass

    def outcome(self) -> Row:
        if self.row is None:
            assert self.raised is not None
            raise self.raised
        return self.row


@contextmanager
def cluster(address: str, names: Sequence[str], memory: int | None) -> Iterator[Cluster]:
    """The workers of the scheduler at an address, tcp://HOST:PORT, for implementations of these names. Raises
    RunError where there is none, or no worker; ModuleNotFoundError without distributed."""
    if not re.fullmatch(r"(tcp|tls)://\S+:\d{1,5}", address, re.ASCII):
        raise RunError(f"--scheduler is {address!r:.80}; expected tcp://HOST:PORT.")
    from distributed import Client, Security

    of: Any = Security()  # type: ignore[no-untyped-call] # as dask's settings say
    known = of.tls_ca_file and of.tls_client_cert and of.tls_client_key
    if address.startswith("tls") and not known:
        raise RunError(
            f"--scheduler is {address:.80}, and there are no certificates for TLS; expected them in dask's "
            "settings: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and …__TLS__CLIENT__KEY."
        )
    for name in [n for n in logging.root.manager.loggerDict if n.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is raised
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a table of versions: those that matter are compared by us
            client = Client(address, timeout=CONNECTED, set_as_default=False)  # type: ignore[no-untyped-call]
    except OSError as e:
        raise RunError(
            f"no scheduler answers at {address:.80} within {CONNECTED} s; start one: dask scheduler."
        ) from e
    try:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError as e:
            raise RunError(
                f"the scheduler at {address} had no worker for {WAIT:g} s; start one: dask worker {address}."
            ) from e
        yield Cluster(client, names, memory)
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=CONNECTED)  # type: ignore[no-untyped-call]
