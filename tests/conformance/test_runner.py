"""From a profile to results: who runs, what a crash costs, and what the answer is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases.profiles import cases, covering, find, select
from conformance.implementations import IMPLEMENTATIONS, NotRunError, Row, implementation
from conformance.judge import result as result_module
from conformance.judge import runner
from conformance.judge import summary as summary_module
from conformance.judge.result import judged
from conformance.judge.runner import run
from conformance.judge.start import RunError, new_row, started
from conformance.judge.summary import summary
from conformance.model.problem import Problem, Trace
from conformance.model.results import VERDICTS
from conformance.tools import pool

ONE = "id=typical/tanh/L2/n7/float64/bias"
THREE = "family=typical,activation=tanh,dtype=float64,bias=true,batch=1"  # depths 2, 5 and 16
REFBP = implementation("refbp").run


class Planted:
    """refbp, but for what it is told to do."""

    name, description = "refbp", "planted"

    def __init__(
        self,
        start: Callable[[], Any] = lambda: ({"planted": "1"}, "cpu"),
        run: Callable[[Problem], Any] = lambda p: REFBP(p),
    ) -> None:
        self.start, self.run = start, run


def raising(e: BaseException) -> Callable[..., Any]:
    def raises(*_: Any) -> Any:
        raise e

    return raises


# --- who runs -------------------------------------------------------------------------------------


def test_an_implementation_that_runs(plant: Callable[..., None]) -> None:
    plant("planted", Planted())
    row = started("planted").row
    assert row == {
        "name": "planted", "description": "planted", "status": "ran", "reason": "",
        "versions": {"planted": "1"}, "device": "cpu", "dtypes": ["float64", "float32"], "cases": 0,
        "probes": {"tf32": "no", "x64": "yes", "subnormals": "kept"},
    }  # fmt: skip
    assert started("planted") is started("planted")


def test_an_implementation_that_cannot_run_here(plant: Callable[..., None]) -> None:
    plant("planted", Planted(start=raising(NotRunError("no card: buy one."))))
    row = started("planted").row
    assert (row["status"], row["reason"]) == ("not-run", "no card: buy one.")
    assert started("planted").ready is None


def test_an_implementation_whose_package_is_missing(plant: Callable[..., None]) -> None:
    missing = Planted(
        start=raising(ModuleNotFoundError("No module named 'torsh'", name="torsh.nn"))
    )
    plant("planted", missing, module="torsh_")
    row = started("planted").row
    assert (row["status"], row["reason"]) == (
        "not-run",
        "torsh is not installed: pip install torsh.",
    )


@pytest.mark.parametrize(
    ("e", "said"),
    [
        (
            ImportError("libtorch.so: undefined symbol: cublasLt", name="torch._C"),
            "ImportError: libtorch.so: undefined symbol: cublasLt",
        ),
        (OSError("libcudart.so.12: cannot open"), "OSError: libcudart.so.12: cannot open"),
        (
            AttributeError("module 'numpy' has no attribute 'bool8'"),
            "AttributeError: module 'numpy' has no attribute 'bool8'",
        ),
        (
            ModuleNotFoundError("No module named 'torch._C'", name="torch._C"),
            "ModuleNotFoundError: No module named 'torch._C'",
        ),
        (
            ImportError("cannot import name 'Mapping' from 'collections'", name="collections"),
            "ImportError: cannot import name 'Mapping' from 'collections'",
        ),
        (
            ModuleNotFoundError("No module named '_lzma'", name="_lzma"),  # of the standard library
            "ModuleNotFoundError: No module named '_lzma'",
        ),
        (
            ModuleNotFoundError("No module named 'typing_extensionz'", name="typing_extensionz"),
            "ModuleNotFoundError: No module named 'typing_extensionz'; pip install typing_extensionz",
        ),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_one_that_is_installed_and_broken_is_an_error_and_never_green(
    e: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody asked for it by name: it is there, and what it does is not known."""
    real = Row.load

    def load(self: Row, name: str) -> Any:  # as importing torch_.py does
        if self.module == "torch_":
            raise e
        return real(self, name)

    monkeypatch.setattr(Row, "load", load)
    two = {name: IMPLEMENTATIONS[name] for name in ("refbp", "torch-cpu")}
    monkeypatch.setattr(runner, "IMPLEMENTATIONS", two)
    started.cache_clear()
    results = run("standard", [], ONE, jobs=0)
    started.cache_clear()
    _, row = results["implementations"]
    assert (row["status"], row["reason"]) == ("error", f"it did not start: {said}")
    assert (results["summary"]["verdict"], results["summary"]["exit_code"]) == ("not-run", 2)
    assert results["summary"]["message"] == "could not run: torch-cpu."


def test_one_that_is_not_installed_is_missed_where_it_is_required(
    plant: Callable[..., None],
) -> None:
    """Or asked for; otherwise the others are all there is to say."""
    missing = ModuleNotFoundError("No module named 'torsh'", name="torsh")
    plant("planted", Planted(start=raising(missing)), module="torsh_")
    alone = run("standard", ["refbp"], ONE, jobs=0, required=["refbp"])["summary"]
    assert (alone["exit_code"], alone["message"]) == (0, "1 results of refbp: all conform.")
    for asked, required in ((["refbp"], ["planted"]), (["refbp", "planted"], [])):
        found = run("standard", asked, ONE, jobs=0, required=required)
        assert [r["status"] for r in found["implementations"]] == ["ran", "not-run"]
        assert found["summary"]["exit_code"] == 2
        assert found["summary"]["message"] == "could not run: planted."


def test_one_that_is_required_and_does_no_case_has_not_run(plant: Callable[..., None]) -> None:
    declines = Planted(run=lambda p: raising(NotRunError("no."))() if p.depth > 1 else REFBP(p))
    plant("planted", declines)
    found = run("standard", ["refbp"], ONE, jobs=0, required=["planted"])["summary"]
    assert found["exit_code"] == 2
    assert found["message"] == "could not run: planted."


def test_what_is_required_must_be_something(plant: Callable[..., None]) -> None:
    with pytest.raises(RunError, match=r"^unknown implementation 'torch-gpu'\."):
        run("standard", ["refbp"], ONE, jobs=0, required=["torch-gpu"])


def test_torch_missing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one: its file imports torch when it is loaded."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "conformance.implementations.torch_", raising=False)
    started.cache_clear()
    try:
        row = started("torch-cpu").row
    finally:
        started.cache_clear()
    assert (row["status"], row["reason"]) == (
        "not-run",
        "torch is not installed: pip install torch.",
    )


@pytest.mark.parametrize("e", [RuntimeError("driver too old\nsee log"), OSError("libcudart.so")])
def test_an_implementation_that_fails_to_start_is_an_error(
    e: Exception, plant: Callable[..., None]
) -> None:
    """And not the end of the run: the others have nothing to do with it."""
    plant("planted", Planted(start=raising(e)))
    results = run("standard", ["refbp", "planted"], ONE, jobs=0)
    row = results["implementations"][-1]
    assert (row["name"], row["status"]) == ("planted", "error")
    assert str(e).splitlines()[0] in row["reason"]
    assert "\n" not in row["reason"]
    assert [r["implementation"] for r in results["results"]] == ["refbp"]
    assert results["summary"]["exit_code"] == 2


def test_an_implementation_whose_probe_fails_is_an_error(plant: Callable[..., None]) -> None:
    plant("planted", Planted(run=raising(MemoryError())))
    row = started("planted").row
    assert (row["status"], row["reason"]) == ("error", "its probe failed: MemoryError: no message")
    assert row["versions"] == {"planted": "1"}
    assert started("planted").ready is None


def test_without_probing_it_is_ready_at_once(plant: Callable[..., None]) -> None:
    plant("planted", Planted(run=raising(MemoryError())))
    assert started("planted", probing=False).ready is not None
    assert started("planted", probing=False).row["status"] == "ran"


def after_the_probes(value: Any) -> Planted:
    def run_(p: Problem) -> Any:
        return implementation("refbp").run(p) if p.depth == 1 else value

    return Planted(run=run_)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "nonsense",
        Trace(None, None, None, None, None, np.array(0.0)),  # type: ignore[arg-type]
        Trace({"a": 1, 2: 2}, {}, {}, {}, {}, np.array(0.0)),  # type: ignore[arg-type, dict-item]
        Trace([1, 2], [], [], [], [], np.array(0.0)),  # type: ignore[arg-type]
        Trace({1: 1, 2: 2}, {}, {}, {}, {}, None),  # type: ignore[arg-type, dict-item]
    ],
    ids=["None", "a string", "layers of None", "mixed keys", "lists", "numbers"],
)
def test_what_is_no_trace_costs_its_own_case_alone(value: Any, plant: Callable[..., None]) -> None:
    plant("planted", after_the_probes(value))
    results = run("standard", ["refbp", "planted"], ONE, jobs=0)
    verdicts = {r["implementation"]: r["verdict"] for r in results["results"]}
    assert verdicts["refbp"] == "conforms"
    assert verdicts["planted"] in ("error", "deviates")
    assert results["summary"]["exit_code"] == 1


# --- nothing is shared with an implementation -----------------------------------------------------

CLOSELY = "square/tanh/L3/n7/float64/w4-4"  # run twice, and a row of it alone


def result_of(
    plant: Callable[..., None], run: Callable[[Problem], Any], case: str = CLOSELY
) -> Any:
    plant("refbp", Planted(run=run))
    (result,) = judged(find(case), ["refbp"], probing=False)
    return result


def _unlocked(M: Any) -> Any:
    M.setflags(write=True)
    return M


@pytest.mark.parametrize(
    ("spoil", "which"),
    [
        (lambda p: _unlocked(p.X).fill(0), "X"),
        (lambda p: _unlocked(p.Y).fill(0), "Y"),
        (lambda p: _unlocked(p.W[2]).fill(0), "W_2"),
        (lambda p: p.W.update({2: p.W[1]}), "W_2"),
        (lambda p: p.W.pop(3), "W"),
        (lambda p: p.sigma.update({1: "identity"}), "σ"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_who_writes_to_its_input_deviates_and_the_next_is_not_touched(
    spoil: Callable[[Any], Any], which: str, first: bool, plant: Callable[..., None]
) -> None:
    """The truth is that of the problem as it was."""
    refbp = implementation("refbp")

    def run(p: Problem) -> Trace:
        if first:
            whole, _ = refbp.run(p), spoil(p)
            return whole
        spoil(p)
        return refbp.run(p) if len(p.W) == 3 else refbp.run(find(CLOSELY).problem())

    plant("spoiler", Planted(run=run))
    spoiled, innocent = judged(find(CLOSELY), ["spoiler", "refbp"], probing=False)
    assert (spoiled["verdict"], spoiled["message"]) == (
        "deviates",
        f"it wrote to its input: {which} is not what it was given.",
    )
    assert innocent["verdict"] == "conforms"


def test_a_trace_is_what_it_was_when_it_was_returned(plant: Callable[..., None]) -> None:
    """An implementation that uses its buffers again cannot mend the first trace by the second."""
    refbp = implementation("refbp")
    kept: dict[int, Trace] = {}

    def run(p: Problem) -> Trace:
        t, first = refbp.run(p), len(p.X) not in kept
        held = kept.setdefault(len(p.X), t.copy())
        for q in ("A", "Z", "delta", "dW", "W_new"):
            for l, M in held.layers(q).items():
                M[...] = t.layers(q)[l] * (1.5 if first else 1)
        return held

    result = result_of(plant, run)
    assert result["verdict"] == "deviates"
    assert result["message"].startswith("A_1[")
    assert [r["error"] for r in result["records"] if r["gate"] == "repeat"] != [0.0]


@pytest.mark.parametrize(
    ("which", "when"),
    [
        (1, ""),
        (2, "on another batch, "),
        (3, "the second time, "),
        (4, "of one example alone, "),
    ],
)
def test_each_run_must_return_a_trace(which: int, when: str, plant: Callable[..., None]) -> None:
    refbp, runs = implementation("refbp"), [0]

    def run(p: Problem) -> Any:
        runs[0] += 1
        return None if runs[0] == which else refbp.run(p)

    result = result_of(plant, run)
    assert (result["verdict"], result["message"]) == (
        "deviates",
        f"{when}it returned a NoneType; expected a Trace.",
    )


def test_leaving_is_an_error(plant: Callable[..., None]) -> None:
    result = result_of(plant, raising(SystemExit(0)))
    assert result["verdict"] == "error"
    assert result["message"].startswith("refbp raised SystemExit: 0 (test_runner.py:")
    plant("planted", Planted(start=raising(SystemExit(0))))
    row = started("planted").row
    assert (row["status"], row["reason"]) == ("error", "it did not start: SystemExit: 0")
    plant("planted", Planted(run=raising(SystemExit(0))))
    assert started("planted").row["reason"] == "its probe failed: SystemExit: 0"


def test_a_case_that_cannot_be_made_is_an_error(
    plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("refbp", Planted())
    case = find(CLOSELY)
    for e, verdict, message in (
        (OSError("no such disk"), "error", "the case could not be made: OSError: no such disk"),
        (
            ImportError("undefined symbol", name="sklearn"),  # installed, and broken
            "error",
            "the case could not be made: ImportError: undefined symbol",
        ),
        (
            ModuleNotFoundError("No module named 'skl'", name="skl.datasets"),
            "not-run",
            "not run: skl is not installed: pip install skl.",
        ),
    ):
        monkeypatch.setattr(type(case), "problem", raising(e))
        (result,) = judged(case, ["refbp"], probing=False)
        assert (result["verdict"], result["message"]) == (verdict, message)


def test_a_case_that_cannot_be_judged_is_an_error_and_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = result_module.judge

    def judge(subject: Any, *more: Any) -> Any:
        return raising(MemoryError())() if len(subject.problem.W) == 5 else real(subject, *more)

    monkeypatch.setattr(result_module, "judge", judge)
    found = run("standard", ["refbp"], THREE, jobs=0)
    assert [r["verdict"] for r in found["results"]] == ["conforms", "error", "conforms"]
    assert found["results"][1]["message"].startswith(
        "it could not be judged: MemoryError: no message (test_runner.py:"
    )
    assert (found["summary"]["exit_code"], found["summary"]["message"]) == (2, "1 error.")


def test_an_unknown_name() -> None:
    with pytest.raises(RunError) as refusal:
        run("quick", ["refbp", "torch-gpu"])
    assert refusal.value.args == (
        "unknown implementation 'torch-gpu'. Did you mean 'torch-cpu'? There are: refbp, torch-cpu, "
        "torch-cuda, jax-cpu, jax-cpu-jit, jax-cuda, jax-cuda-jit. Or FILE.py, FILE.py:NAME, cmd:PROGRAM.",
    )


# --- what runs ------------------------------------------------------------------------------------


def pairs_of(monkeypatch: pytest.MonkeyPatch, *args: Any) -> dict[str, set[str]]:
    """Which cases each implementation would run."""
    found: dict[str, set[str]] = {}

    def capture(names: Any, pairs: Any, progress: Any, results: Any) -> Any:
        for case, of in pairs:
            for name in of:
                found.setdefault(name, set()).add(case.id)
        return [new_row(n) for n in names]

    monkeypatch.setattr(runner, "_in_this_process", capture)
    run(*args, jobs=0)
    return found


def test_everything_runs_but_the_jitted_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pairs_of(monkeypatch, "standard")
    everything = {c.id for c in cases("standard")}
    assert set(found) == set(IMPLEMENTATIONS)
    for name, row in IMPLEMENTATIONS.items():
        if not row.jitted:
            assert found[name] == everything
        else:
            assert 20 <= len(found[name]) < 200
            assert found[name] <= {c.id for c in covering(cases("standard"))}


@pytest.mark.parametrize("args", [("exhaustive",), ("standard", (), "activation=gelu,depth=3")])
def test_in_exhaustive_and_where_few_cases_are_selected_the_jitted_run_all(
    args: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pairs_of(monkeypatch, *args)
    assert found["jax-cpu-jit"] == found["refbp"]


@pytest.mark.slow
def test_what_was_left_out_is_said(plant: Callable[..., None]) -> None:
    plant("jax-cpu-jit", Planted(), jitted=True)
    results = run("quick", ["jax-cpu-jit"], jobs=0)
    (row,) = results["implementations"]
    total = len(cases("quick"))
    assert row["reason"] == (
        f"{row['cases']} of {total} cases: a covering sample, since each is compiled separately; "
        "the profile `exhaustive` runs all."
    )
    assert 0 < row["cases"] == len(results["results"]) < total


def test_tasks_are_of_one_activation_and_dtype_and_the_most_work_first() -> None:
    pairs = [(c, ("refbp", "torch-cpu")) for c in cases("standard")]
    chunks = runner._chunks(pairs)
    assert sorted(c.id for chunk in chunks for c, _ in chunk) == sorted(c.id for c, _ in pairs)
    assert all(len({(c.activation, c.dtype) for c, _ in chunk}) == 1 for chunk in chunks)
    assert max(map(len, chunks)) <= runner.CHUNK

    def work(chunk: Any) -> int:
        return sum(sum(c.widths) * (c.batch + 10) for c, _ in chunk)

    assert [work(c) for c in chunks] == sorted((work(c) for c in chunks), reverse=True)
    assert runner._chunks([]) == []


def test_results_stand_in_the_order_of_cases_and_implementations(
    plant: Callable[..., None],
) -> None:
    plant("planted", Planted())
    done: list[tuple[int, int]] = []
    results = run(
        "standard", ["planted", "refbp"], THREE, jobs=0,
        progress=lambda d, total, case: done.append((d, total)),
    )  # fmt: skip
    ids = [c.id for c in select(cases("standard"), THREE)]
    assert [(r["case"], r["implementation"]) for r in results["results"]] == [
        (i, n) for i in ids for n in ("refbp", "planted")
    ]
    assert done == [(2, 6), (4, 6), (6, 6)]
    assert [row["cases"] for row in results["implementations"]] == [3, 3]
    assert results["profile"] == {
        "name": "standard", "description": results["profile"]["description"], "select": THREE, "cases": 3,
    }  # fmt: skip


def test_an_implementation_that_does_not_run_is_not_waited_for(plant: Callable[..., None]) -> None:
    plant("planted", Planted(start=raising(NotRunError("no."))))
    done: list[tuple[int, int]] = []
    run("standard", ["planted", "refbp"], ONE, jobs=0,
        progress=lambda d, total, case: done.append((d, total)))  # fmt: skip
    assert done == [(1, 1)]


# --- the answer -----------------------------------------------------------------------------------


def answer(*verdicts: str, status: str = "ran", stale: bool = False, asked: bool = False) -> Any:
    rows: Any = [{"name": "refbp", "status": status}, {"name": "torch-cuda", "status": "not-run"}]
    if not asked:
        results: Any = [
            {"case": f"c{i}", "implementation": "refbp", "verdict": v, "records": []}
            for i, v in enumerate(verdicts)
        ]
    else:
        results = [
            {"case": "c", "implementation": "refbp", "verdict": v, "records": []} for v in verdicts
        ]
    differences: Any = [{"id": "row", "status": "stale" if stale else "differs"}]
    found = summary(rows, results, differences, ["refbp", "torch-cuda"] if asked else [])
    return found["verdict"], found["exit_code"], found["message"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (answer("conforms", "conforms"), ("conforms", 0, "2 results of refbp: all conform.")),
        (
            answer("conforms", "known-difference"),
            ("conforms", 0, "2 results of refbp: all conform, 1 of them but for a known difference."),
        ),
        (
            answer("conforms", "not-run"),
            ("conforms", 0, "1 results of refbp: all conform; not run: 1 of 2 cases of refbp."),
        ),
        (
            answer("deviates", "not-run"),
            ("deviates", 1, "1 deviates; not run: 1 of 2 cases of refbp."),
        ),
        (answer("conforms", "deviates"), ("deviates", 1, "1 deviates.")),
        (answer("error", "conforms"), ("error", 2, "1 error.")),
        (answer("error", "deviates", "error"), ("error", 2, "2 error; 1 deviates.")),
        (answer("undecided", "conforms"), ("undecided", 2, "1 undecided.")),
        (answer("undecided", "inaccurate"), ("undecided", 2, "1 undecided.")),
        (answer("undecided", "deviates"), ("deviates", 1, "1 deviates; 1 undecided.")),
        (answer(), ("not-run", 2, "nothing ran.")),
        (answer("not-run"), ("not-run", 2, "nothing ran; not run: 1 of 1 cases of refbp.")),
        (
            answer("conforms", stale=True),
            ("error", 2, "known differences that no longer show: row."),
        ),
        (
            answer("conforms", asked=True),
            ("not-run", 2, "could not run: torch-cuda."),
        ),
        (
            answer("deviates", asked=True),
            ("deviates", 2, "1 deviates; could not run: torch-cuda."),
        ),
        (answer("conforms", status="error"), ("not-run", 2, "could not run: refbp.")),
    ],
)  # fmt: skip
def test_the_answer_is_the_worst_there_is(found: Any, expected: Any) -> None:
    assert found == expected


def test_an_implementation_asked_for_that_cannot_run_is_never_green(
    plant: Callable[..., None],
) -> None:
    plant("planted", Planted(start=raising(NotRunError("no."))))
    asked = run("standard", ["refbp", "planted"], ONE, jobs=0)["summary"]
    assert (asked["verdict"], asked["exit_code"]) == ("not-run", 2)
    assert asked["message"] == "could not run: planted."
    alone = run("standard", ["planted"], ONE, jobs=0)["summary"]
    assert (alone["verdict"], alone["exit_code"]) == ("not-run", 2)
    assert asked["verdicts"]["planted"] == dict.fromkeys(VERDICTS, 0)


def test_the_worst_of_each_gate() -> None:
    results = run("standard", ["refbp"], THREE, jobs=0)
    worst = {w["gate"]: w for w in results["summary"]["worst"]}
    assert set(worst) == {"step", "end-to-end"}
    for gate, w in worst.items():
        ratios = [
            float(rec["ratio"])
            for r in results["results"]
            for rec in r["records"]
            if rec["gate"] == gate
        ]
        assert w["ratio"] == max(ratios)
        (result,) = [r for r in results["results"] if r["case"] == w["case"]]
        assert [w["quantity"], w["layer"], w["ratio"], w["ulps"]] in [
            [rec["quantity"], rec["layer"], rec["ratio"], rec["ulps"]] for rec in result["records"]
        ]


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    real = summary_module.version

    def version(name: str) -> str:
        if name == "jaxlib":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(summary_module, "version", version)
    monkeypatch.setattr(sys, "argv", ["/somewhere/conformance", "run", "--jobs", "0"])
    found = summary_module.environment(1.26, 2)
    assert found["command"] == "conformance run --jobs 0"
    assert (found["seconds"], found["processes"]) == (1.3, 2)
    assert found["packages"]["jaxlib"] == "not installed"
    assert found["packages"]["numpy"] == np.__version__
    assert found["finished"].endswith("+00:00")


# --- in parallel ----------------------------------------------------------------------------------

HOSTILE = textwrap.dedent('''
    """Implementations that end or stop their process. A worker imports this to find the tasks."""

    import os, time
    from types import SimpleNamespace

    import numpy as np

    from conformance.implementations import IMPLEMENTATIONS, implementation
    from conformance.judge.runner import _start_task as real_start, _task as real_task


    class Hostile:
        def __init__(self, name):
            self.name = self.description = name

        def start(self):
            if self.name == "stillborn":
                os._exit(7)
            return {}, "cpu"

        def run(self, p):
            if self.name == "dies" and p.depth == 2:
                os._exit(3)
            if self.name == "leaves" and p.depth == 2:
                os._exit(0)
            if p.depth == 5 and self.name == "hangs" or p.depth > 2 and self.name == "asleep":
                time.sleep(600)
            t = implementation("refbp").run(p)
            if self.name == "tf32" and p.dtype == np.float32:
                t.A[1][...] = t.A[1].astype(np.float16)
            return t


    def row(name):
        return SimpleNamespace(module="hostile_", device="cpu", description=name, jitted=False,
                               whole=True, load=Hostile)


    NAMES = ("dies", "hangs", "stillborn", "tf32", "asleep", "leaves")
    IMPLEMENTATIONS.update({name: row(name) for name in NAMES})


    def task(chunk):
        return real_task(chunk)


    def start_task(name):
        return real_start(name)
''')


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hostile implementations, here and in the workers, which are given this process's path."""
    (tmp_path / "hostile_workers.py").write_text(HOSTILE)
    monkeypatch.syspath_prepend(tmp_path)
    import hostile_workers

    monkeypatch.setattr(runner, "_task", hostile_workers.task)
    monkeypatch.setattr(runner, "_start_task", hostile_workers.start_task)
    yield
    for name in hostile_workers.NAMES:
        del IMPLEMENTATIONS[name]  # type: ignore[attr-defined]
    del sys.modules["hostile_workers"]
    started.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("hostile")
def test_a_worker_that_dies_or_hangs_takes_its_own_pair_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "SHARED", 1)
    progress: list[tuple[int, int]] = []
    results = run(
        "standard", ["refbp", "dies", "hangs", "stillborn", "leaves"], THREE, jobs=1, timeout=15.0,
        progress=lambda d, total, case: progress.append((d, total)),
    )  # fmt: skip
    verdicts = {
        (find(r["case"]).depth, r["implementation"]): r["verdict"] for r in results["results"]
    }
    assert verdicts == {
        (2, "refbp"): "conforms", (2, "dies"): "error", (2, "hangs"): "conforms",
        (2, "leaves"): "error", (5, "leaves"): "conforms", (16, "leaves"): "conforms",
        (5, "refbp"): "conforms", (5, "dies"): "conforms", (5, "hangs"): "error",
        (16, "refbp"): "conforms", (16, "dies"): "conforms", (16, "hangs"): "conforms",
    }  # fmt: skip
    messages = [r["message"] for r in results["results"] if r["verdict"] == "error"]
    assert messages == [
        "dies ended its process (exit code 3); expected a trace.",
        "leaves ended its process (exit code 0); expected a trace.",
        "hangs took more than 15 s; expected a trace.",
    ]
    rows = {row["name"]: (row["status"], row["reason"]) for row in results["implementations"]}
    assert rows["stillborn"] == (
        "error", "stillborn ended its process (exit code 7); expected a trace.",
    )  # fmt: skip
    assert rows["refbp"] == rows["dies"] == rows["hangs"] == ("ran", "")
    assert results["summary"]["exit_code"] == 2
    assert progress[-1] == (12, 12)


@pytest.mark.slow
@pytest.mark.usefixtures("hostile")
def test_one_that_takes_too_long_each_time_is_given_up() -> None:
    wanted = "family=typical,activation=tanh,batch=7"
    results = run("standard", ["refbp", "asleep"], wanted, jobs=2, timeout=3.0)
    of = {"refbp": [], "asleep": []}  # type: ignore[var-annotated]
    for r in results["results"]:
        of[r["implementation"]].append((r["verdict"], r["message"]))
    assert len(of["refbp"]) == len(of["asleep"])
    assert {v for v, _ in of["refbp"]} == {"conforms"}
    assert sum(v == "error" for v, _ in of["asleep"]) > 2 * runner.PATIENCE
    late = [m for _, m in of["asleep"] if m == "asleep took more than 3 s; expected a trace."]
    never = [m for _, m in of["asleep"] if m.startswith("asleep was given up: it took too long")]
    assert len(late) == runner.PATIENCE  # however far the other worker was
    assert len(late) + len(never) == sum(v == "error" for v, _ in of["asleep"])
    assert results["summary"]["exit_code"] == 2


ASLEEP = """
import os, time
from pathlib import Path
name = "asleep"
def run(problem):
    Path(__file__).with_name(f"{os.getpid()}.pid").write_text("")
    time.sleep(600)
class Asleep:
    name, run = "asleep", staticmethod(run)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "SIGHUP"])
def test_no_worker_outlives_the_runner(how: str, tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text(ASLEEP)
    words = ["run", "--jobs", "2", "--implementation", f"{tmp_path / 'asleep.py'}:Asleep"]
    runs = subprocess.Popen(
        [sys.executable, "-m", "conformance", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(list(tmp_path.glob("*.pid"))) >= 1)
    asleep = [int(p.stem) for p in tmp_path.glob("*.pid")]
    runs.send_signal(getattr(signal, how))
    runs.wait(60)
    until(lambda: not any(alive(pid) for pid in asleep))


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for what comes soon, however busy the machine."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.usefixtures("hostile")
def test_who_shares_a_task_with_the_dead_is_not_blamed() -> None:
    """One case, and beside refbp an implementation that ends the worker as it starts."""
    results = run("standard", ["refbp", "stillborn"], ONE, jobs=1)
    assert [(r["implementation"], r["verdict"]) for r in results["results"]] == [
        ("refbp", "conforms")
    ]
    assert results["summary"]["exit_code"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("hostile")
def test_in_parallel_and_in_one_process_the_results_are_the_same() -> None:
    """For both dtypes, and for an implementation that is refused by its probe."""
    wanted = "family=typical,activation=softsign,batch=7,depth=2"
    alone, together = (run("standard", ["refbp", "tf32"], wanted, jobs=jobs) for jobs in (0, 2))
    assert {r["dtype"] for r in alone["cases"]} == {"float64", "float32"}
    assert together["environment"]["processes"] == 2
    status = {row["name"]: (row["status"], row["cases"]) for row in alone["implementations"]}
    assert status == {"refbp": ("ran", 2), "tf32": ("error", 0)}
    for block in alone:
        if block != "environment":
            assert alone[block] == together[block], block  # type: ignore[literal-required]


def test_what_a_worker_does(plant: Callable[..., None]) -> None:
    """It starts an implementation and runs pairs; it does not probe again what was probed."""
    plant("planted", Planted())
    assert runner._start_task("planted")["status"] == "ran"
    case = find("typical/tanh/L2/n7/float64/bias")
    results = runner._task([(case, ("planted",)), (case, ("refbp", "planted"))])
    assert [r["implementation"] for r in results] == ["planted", "refbp", "planted"]
    assert {r["verdict"] for r in results} == {"conforms"}


def test_workers_have_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with pool._one_thread_each():
        assert {
            os.environ[n] for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        } == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_case_is_judged_with_the_truth_of_it_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conformance.truth import network

    computed = []
    real = network.in_balls

    def counting(tape: Any, **how: Any) -> Any:
        computed.append(tape)
        return real(tape, **how)

    monkeypatch.setattr(network, "in_balls", counting)
    case = find("typical/tanh/L2/n7/float64/bias")
    results = judged(case, ["refbp", "torch-cpu"])
    assert [r["verdict"] for r in results] == ["conforms", "conforms"]
    assert [t.nodes[t.marks["Z", 2]].shape for t in computed] == [(7, 4), (1, 4)]


def test_a_script_that_workers_would_run_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from conformance.judge.runner import run\n"
        "run('quick', ['refbp'], 'family=integers')\n"  # not under `if __name__ == "__main__":`
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-1] == (
        "conformance.judge.start.RunError: no worker process could start. In a script, call run under "
        '`if __name__ == "__main__":`, since a worker imports the script again; or pass jobs=0.'
    )
