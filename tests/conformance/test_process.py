"""`cmd:PROGRAM`: whatever a program does, there is an answer or one sentence, and in time."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases.profiles import find
from conformance.implementations import (
    PROGRAM,
    MalformedError,
    NotRunError,
    implementation,
)
from conformance.implementations.program import Program
from conformance.judge.result import judged
from conformance.judge.runner import run
from conformance.judge.start import started
from conformance.model.exchange import trace_json
from conformance.model.problem import Problem
from conformance.tools import pool
from conformance.tools.child import Child, ChildError, Limits

PATIENT = Limits(seconds=60.0)  # where the limit is not what is tested
SHORTLY = Limits(seconds=0.3)  # where there will be no answer, however long one waits
PROBLEM = find("typical/identity/L1/n1/float64").problem()
ANSWER = trace_json(implementation("refbp").run(PROBLEM))
START = """
import json, os, signal, sys, time
ANSWER = json.loads(%r)
def say(x):
    sys.stdout.write((x if isinstance(x, str) else json.dumps(x)) + chr(10)); sys.stdout.flush()
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    made: list[Program] = []

    def program(code: str, limits: Limits = PATIENT) -> Program:
        import json

        path = tmp_path / f"program_{len(made)}.py"
        path.write_text(START % json.dumps(ANSWER) + code)
        name = f"cmd:{shlex.quote(sys.executable)} -S {shlex.quote(str(path))}"
        made.append(Program(name, PROGRAM, limits))
        return made[-1]

    yield program
    for p in made:
        p.close()


EACH = "for line in sys.stdin:\n    p = json.loads(line)\n    "


def test_an_answer_to_each(program: Any) -> None:
    p = program(EACH + "say({**ANSWER, 'id': p['id']})")
    assert p.start() == ({}, "cpu")
    for _ in range(3):
        assert p.run(PROBLEM).A[1].tolist() == implementation("refbp").run(PROBLEM).A[1].tolist()


def test_what_it_does_not_do_is_not_run(program: Any) -> None:
    with pytest.raises(NotRunError, match=r"^there is no identity in it\.$"):
        program(EACH + "say({'unsupported': f'there is no {p[\"sigma\"][0]} in it.'})").run(PROBLEM)


def test_an_error_that_it_tells(program: Any) -> None:
    with pytest.raises(ChildError, match=r"^out of luck$"):
        program(EACH + "say({'error': 'out of luck'})").run(PROBLEM)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.stderr.write('here\\n'); time.sleep(300)", "; it had written: here"),
        ("sys.stdin.readline(); sys.stderr.write('here\\n'); time.sleep(300)", "; it had written: here"),
        ("sys.stdout.write('{'); sys.stdout.flush(); time.sleep(300)", ""),
        ("while True: sys.stderr.write('x' * 1000)", f"; it had written: {300 * 'x'}"),
    ],
)  # fmt: skip
def test_one_that_hangs(code: str, message: str, program: Any, time_is_up: Any) -> None:
    p = program(code)
    time_is_up(lambda: p.child.errors or p.child.buffer)
    with pytest.raises(ChildError) as e:
        p.run(PROBLEM)
    assert str(e.value) == f"it gave no answer in 60 s{message}"
    assert p.child.process is None


def test_one_that_hangs_before_it_does_anything(program: Any) -> None:
    with pytest.raises(ChildError, match=r"^it gave no answer in 0\.3 s$"):
        program("time.sleep(300)", SHORTLY).run(PROBLEM)


def test_one_that_never_reads(program: Any) -> None:
    """The problem is longer than a pipe holds."""
    big = find("big/tanh/L2/n16/float64/w509-512-509").problem()
    with pytest.raises(ChildError, match=r"^it gave no answer in 0\.3 s$"):
        program("time.sleep(300)", SHORTLY).run(big)
    with pytest.raises(MalformedError, match=r"^A has 1 entries; expected 2"):
        program("os.close(0); say(ANSWER); time.sleep(300)").run(big)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit(3)", "it ended (exit code 3)"),
        ("sys.exit(0)", "it ended (exit code 0)"),
        ("os.abort()", "it ended (signal SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "it ended (signal SIGSEGV)"),
        ("sys.exit('no luck today')", "it ended (exit code 1); it had written: no luck today"),
        ("sys.stdout.write('{}'); sys.stdout.flush(); sys.exit(0)", "it ended (exit code 0)"),
        ("sys.stderr.write('b' * 9000 + 'the end'); sys.stderr.flush(); os._exit(1)",
         f"it ended (exit code 1); it had written: {293 * 'b'}the end"),
    ],
)  # fmt: skip
def test_one_that_ends(code: str, message: str, program: Any) -> None:
    with pytest.raises(ChildError) as e:
        program(code).run(PROBLEM)
    assert str(e.value) == message


def test_one_that_closes_its_output_has_its_time_to_end(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it is long between the one and the other, and then it has ended all the same."""
    with pytest.raises(ChildError, match=r"^it ended \(exit code 5\)$"):
        program("os.close(1); time.sleep(2.5); os._exit(5)").run(PROBLEM)
    p = program("os.close(1); time.sleep(300)")
    real = p.child._ending

    def ending() -> ChildError:
        p.child.until = 0.0  # its time is up, once its output is closed
        return real()  # type: ignore[no-any-return]

    monkeypatch.setattr(p.child, "_ending", ending)
    with pytest.raises(ChildError) as e:
        p.run(PROBLEM)
    assert str(e.value) == "it closed its standard output, and gave no answer in 60 s"


def test_one_that_floods(program: Any) -> None:
    limits = Limits(seconds=60.0, answer=100_000)
    for code in ("while True: sys.stdout.write('x' * 1000)", "say('x' * 200_000)"):
        with pytest.raises(ChildError, match=r"^its answer is longer than 100,000 bytes$"):
            program(code, limits).run(PROBLEM)
    with pytest.raises(MalformedError, match="is no line of JSON"):
        program("while True: say('x' * 1000)").run(PROBLEM)


def test_one_that_takes_too_much_memory(program: Any) -> None:
    limits = Limits(seconds=60.0, memory=2**28)
    with pytest.raises(ChildError, match=r"MemoryError$"):
        program("x = bytes(2**30)", limits).run(PROBLEM)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("say('welcome!')", "'welcome!' is no line of JSON (Expecting value: line 1 column 1 (char 0))."),
        ("os.write(1, bytes([255, 254, 10]))",
         "'\ufffd\ufffd' is no line of JSON (Expecting value: line 1 column 1 (char 0))."),
        ("say('')", "'' is no line of JSON (Expecting value: line 2 column 1 (char 1))."),
        ("say([1])", "the answer is a list; expected an object."),
        ("say({})", ""),
        ("say({**ANSWER, 'id': 'another'})", "the answer has the id 'another'; expected '1'."),
        ("say({**ANSWER, 'gradient': 1})", "the answer has 'gradient'; expected of A, Z, delta, dW, W_new, "
         "loss, id, version what there is."),
        ("say({**ANSWER, 'version': 7})", "the answer is of version 7; expected 1."),
    ],
)  # fmt: skip
def test_one_that_says_something_else(code: str, message: str, program: Any) -> None:
    p = program(EACH + code)
    if message:
        with pytest.raises(MalformedError) as e:
            p.run(PROBLEM)
        assert str(e.value).replace("line 1 column 1 (char 0)", "") == message.replace(
            "line 2 column 1 (char 1)", "").replace("line 1 column 1 (char 0)", "")  # fmt: skip
    else:
        assert set(p.run(PROBLEM).missing) == {"A", "Z", "delta", "dW", "W_new", "loss"}


def test_a_second_line_is_not_taken_for_the_next_answer(program: Any) -> None:
    twice = "json.dumps(ANSWER) + chr(10) + json.dumps({**ANSWER, 'loss': 0})"
    p = program(EACH + f"say({twice})")
    p.run(PROBLEM)  # both lines were written at once: they are fewer bytes than a pipe takes whole
    assert 0 < len(p.child.buffer) < 2000
    with pytest.raises(ChildError, match=r"^it wrote more than one line for one problem: "):
        p.run(PROBLEM)
    p.run(PROBLEM)  # it was started again


def test_one_that_answers_once_and_ends_is_started_again(program: Any) -> None:
    p = program("sys.stdin.readline(); say(ANSWER)")
    for _ in range(3):
        p.run(PROBLEM)
    crashes = program("sys.stdin.readline(); say(ANSWER); sys.stdin.readline(); sys.exit(4)")
    crashes.run(PROBLEM)
    with pytest.raises(ChildError, match=r"^it ended \(exit code 4\)$"):
        crashes.run(PROBLEM)


def test_after_a_failure_it_is_started_again(program: Any, tmp_path: Path) -> None:
    mark = tmp_path / "been here"
    p = program(f"""
sys.stdin.readline()
if not os.path.exists({str(mark)!r}):
    open({str(mark)!r}, "w").close()
    sys.exit(1)
say(ANSWER)
""")
    with pytest.raises(ChildError):
        p.run(PROBLEM)
    assert p.run(PROBLEM).loss is not None


def read_from(pipe: int) -> bytes:
    """What is written to a pipe next; nothing, once all who could have ended."""
    ready, _, _ = select.select([pipe], [], [], 60.0)
    assert ready
    return os.read(pipe, 1)


def test_what_it_started_ends_with_it(program: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    p = program(f"""
import subprocess
subprocess.Popen([sys.executable, "-S", "-c",
    "import time; f = open({str(pipe)!r}, 'wb', 0); f.write(b'x'); time.sleep(300)"])
{EACH}say(ANSWER)
""")
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # or opening it waits for who writes
    p.run(PROBLEM)
    assert read_from(reading) == b"x"  # it is there
    p.close()
    assert read_from(reading) == b""  # nobody is left who could write
    os.close(reading)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not to be run")
    for command, said in (
        ("./nothing here", "there is no program ./nothing that may be run"),
        (str(plain), f"there is no program {plain} that may be run"),
        ("", "it names no program"),
    ):
        with pytest.raises(NotRunError) as e:
            Program(f"cmd:{command}", PROGRAM).start()
        assert str(e.value) == f"{said}; expected cmd:PROGRAM …."
    with pytest.raises(ChildError, match=r"^it ended \(exit code 127\)"):
        Program("cmd:./nothing", PROGRAM).run(PROBLEM)
    found = run("quick", ["cmd:./nothing"], "family=square", jobs=0)
    assert found["summary"]["exit_code"] == 2
    assert found["implementations"][0]["reason"].startswith("there is no program ./nothing")


def test_an_unfinished_quotation_is_no_crash() -> None:
    found = run("quick", ["cmd:'x"], "family=square", jobs=0)
    assert (found["summary"]["exit_code"], found["implementations"][0]["status"]) == (2, "not-run")


def test_the_wrong_shape_deviates(program: Any) -> None:
    """As a whole: what a program does ends in a verdict with its sentence."""
    case = find("typical/tanh/L1/n7/float64")
    for code, verdict, said in (
        ("say({'A': [[[1]]]})", "deviates", "A_1 has shape (1, 1); expected (7, 3)."),
        ("say({'loss': 1})", "deviates", "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them"),
        ("say({'unsupported': 'no tanh.'})", "not-run", "not run: no tanh."),
        ("sys.exit(1)", "error", ": it ended (exit code 1)."),
    ):  # fmt: skip
        name = program(EACH + code).name
        started.cache_clear()
        (result,) = judged(case, [name], probing=False)
        assert result["verdict"] == verdict
        assert said in result["message"]
    started.cache_clear()


def test_a_number_that_float32_does_not_hold(program: Any) -> None:
    p32 = Problem(
        {1: np.ones((1, 1), np.float32)}, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32),
        {1: "identity"}, "mean_squared_error", False, 0.5,
    )  # fmt: skip
    with pytest.raises(
        MalformedError, match=r"^A_1\[0, 0\] is 0x1\.9.*expected a number of float32"
    ):
        program(EACH + "say({'A': [[[0.1]]]})").run(p32)


def test_a_child_as_nobody_that_there_is() -> None:
    child = Child(["true"], Limits(user="nobody-of-that-name"))
    with pytest.raises(ChildError, match=r"^it could not be started: "):
        child.ask("{}\n")


def test_an_interpreter_that_ends_says_nothing_of_a_child_that_is_still_there() -> None:
    program = (
        "import sys; from conformance.implementations.program import Child, Limits\n"
        "echo = 'for l in iter(input, 0): print(l, flush=True)'\n"
        "sys.kept = Child([sys.executable, '-c', echo], Limits(60.0))\n"
        "assert sys.kept.ask('1\\n').strip() == '1'; print(sys.kept.process.pid)"
    )
    done = subprocess.run([sys.executable, "-Wd", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000", 2),
        ("50000 100000", 1),
        ("350000 100000", 3),
        ("max 100000", 8),
        ("", 8),
        ("9900000 100000", 8),
    ],
)
def test_as_many_workers_as_cores_that_may_be_used(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(pool, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert pool.processes(None) == cores
    assert pool.processes(5) == 5
    monkeypatch.setattr(pool, "QUOTA", tmp_path / "none")
    assert pool.processes(None) == 8


def test_what_ends_this_process_does_not_end_it_well(tmp_path: Path) -> None:
    """With --jobs 0 os._exit(0) was a run without a mistake."""
    (tmp_path / "leaves.py").write_text(
        "import os\nclass Leaves:\n    name = 'leaves'\n    def run(self, p):\n        os._exit(0)\n"
    )
    words = [
        "run",
        "--profile",
        "quick",
        "--select",
        "family=typical,activation=tanh",
        "--jobs",
        "0",
    ]
    words += ["--implementation", f"{tmp_path / 'leaves.py'}:Leaves"]
    done = subprocess.run(
        [sys.executable, "-m", "conformance", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "what was run ended this process (os._exit(0)); expected a trace" in done.stderr
