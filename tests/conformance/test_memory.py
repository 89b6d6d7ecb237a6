"""A limit of memory: what takes more costs itself alone, whatever its worker did before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.judge import runner
from conformance.judge.runner import run
from conformance.judge.start import RunError
from conformance.judge.workers import OverError, local
from conformance.model.results import Results
from conformance.tools import memory, pool
from conformance.tools.memory import as_text, must_be_readable, resident, size_of
from conformance.tools.trouble import RefusedError

MiB = 2**20


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("2GiB", 2**31), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29), ("2GB", 2 * 10**9)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "2", "GiB", "-1GiB", "2gib", "0B", "2 PiB", "१GiB", "1e3MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(RefusedError, match="expected a size, such as 512MiB or 2GiB"):
        size_of(text)


def test_a_size_as_text() -> None:
    assert [as_text(s) for s in (1, 2**31, 3 * 2**29, 500 * MiB)] == [
        "1 B", "2 GiB", "1.5 GiB", "500 MiB",
    ]  # fmt: skip


def test_what_a_process_has_resident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, held = resident(os.getpid()), b"x" * (50 * MiB)
    assert 40 * MiB < resident(os.getpid()) - before < 80 * MiB
    del held
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert resident(ended.pid) == 0
    must_be_readable()
    monkeypatch.setattr(memory, "PROCESSES", tmp_path)
    with pytest.raises(RefusedError, match=r"cannot be held here: it needs /proc/PID/statm"):
        must_be_readable()


def test_it_is_of_workers() -> None:
    with pytest.raises(RunError, match="expected one at least"):
        run("quick", ["refbp"], "family=integers", jobs=0, memory=2**31)
    for words, said in (
        (["--jobs", "0", "--memory", "2GiB"], "expected one at least (--jobs 1)"),
        (["--memory", "lots"], "expected a size"),
    ):
        done = CliRunner().invoke(main, ["run", "--implementation", "refbp", *words])
        assert (done.exit_code, said in done.output) == (2, True)


# --- workers --------------------------------------------------------------------------------------

TASKS = """
import os, time

LEFT = []

def take(mib):
    bytearray(b"x") * (mib * 2**20)
    return os.getpid()

def hold(mib):
    held = bytearray(b"x") * (mib * 2**20)
    time.sleep(60)

def leak(mib):
    LEFT.append(bytearray(b"x") * (mib * 2**20))
    return os.getpid()

def hang(seconds):
    time.sleep(seconds)
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Functions that workers can import, which are given this process's path."""
    (tmp_path / "memory_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    import memory_tasks  # type: ignore[import-not-found]

    yield memory_tasks
    del sys.modules["memory_tasks"]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "often"), [("take", 600.0), ("hold", 0.05)])
def test_a_task_that_takes_too_much_costs_itself_alone(
    how: str, often: float, tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it for a moment, between two looks; and what holds on to it is not waited for."""
    monkeypatch.setattr(pool, "OFTEN", often)
    with local(1, 200 * MiB) as workers:
        what = getattr(tasks, how)
        calls = [workers.schedule(*of, 30.0) for of in ((what, 400), (tasks.take, 0))]
        with pytest.raises(OverError, match=r"^200 MiB$"):
            calls[0].outcome()
        calls[1].outcome()


@pytest.mark.slow
def test_what_a_worker_kept_of_other_tasks_is_not_the_fault_of_the_next(tasks: Any) -> None:
    with local(1, 200 * MiB) as workers:
        calls = [workers.schedule(tasks.leak, 80, 60.0) for _ in range(6)]
        assert len({call.outcome() for call in calls}) > 2  # workers were ended


def test_what_takes_too_long_is_told_from_what_takes_too_much(tasks: Any) -> None:
    with local(1, 200 * MiB) as workers, pytest.raises(TimeoutError):
        workers.schedule(tasks.hang, 60, 0.2).outcome()


# --- runs -----------------------------------------------------------------------------------------

HUNGRY = """
from conformance.implementations import implementation

class Hungry:
    name, like = "hungry", "refbp"

    def run(self, problem):
        held = bytearray(b"x") * ({mib} * 2**20 if problem.depth in {depths} else 1)
        return implementation("refbp").run(problem)
"""
WANTED = "family=typical,activation=tanh,batch=7"


def hungry(folder: Path, depths: tuple[int, ...], jobs: int) -> Results:
    (folder / "hungry.py").write_text(
        HUNGRY.replace("{mib}", "500").replace("{depths}", str(depths))
    )
    names = ["refbp", f"{folder / 'hungry.py'}:Hungry"]
    return run("standard", names, WANTED, jobs=jobs, memory=450 * MiB)


@pytest.mark.slow
def test_a_case_that_takes_too_much_is_an_error_and_costs_no_other(tmp_path: Path) -> None:
    found = hungry(tmp_path, (5,), 2)
    for r in found["results"]:
        over = "hungry" in r["implementation"] and "/L5/" in r["case"]
        assert r["verdict"] == ("error" if over else "conforms"), r["message"]
        if over:
            assert r["message"].endswith(
                "hungry.py:Hungry took more than 450 MiB; expected a trace in less memory."
            )
    assert found["summary"]["exit_code"] == 2


@pytest.mark.slow
def test_what_is_lost_follows_from_the_order_of_cases(tmp_path: Path) -> None:
    one, two = (hungry(tmp_path, (2, 5, 16), jobs) for jobs in (1, 2))
    messages = [r["message"] for r in one["results"] if r["verdict"] == "error"]
    assert sum("took more than" in m for m in messages) == runner.PATIENCE
    assert sum("was given up" in m for m in messages) == len(messages) - runner.PATIENCE > 0
    assert one["results"] == two["results"]


@pytest.mark.slow
def test_one_that_takes_too_much_to_start_does_not_start() -> None:
    found = run("standard", ["refbp"], WANTED, jobs=1, memory=20 * MiB)
    (row,) = found["implementations"]
    assert (row["status"], row["reason"]) == (
        "error", "refbp took more than 20 MiB; expected a trace in less memory.",
    )  # fmt: skip
    assert found["summary"]["exit_code"] == 2
