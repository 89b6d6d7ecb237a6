"""Workers elsewhere: they give what one machine gives, or one sentence says why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.judge import cluster as cluster_module
from conformance.judge.cluster import About, _about, _checked, _must_be
from conformance.judge.runner import run
from conformance.judge.start import RunError
from conformance.model.results import Results
from conformance.model.results_file import write_results

WANTED = "family=typical,depth=2,batch=7"

# --- what a worker must have ----------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> About:
    """What a run of a file has, in its folder."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("K = 1\n")
    _must_be.cache_clear()
    return _about(str(tmp_path), ("mine.py:Mine",))


def test_a_worker_that_has_the_same_does_the_task(mine: About) -> None:
    os.chdir("/")
    assert _checked((mine, abs, -1)) == 1
    assert Path("mine.py").is_file()  # it went to the folder of the run


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda a: a._replace(folder="/no/such"), "has no folder /no/such; expected the files under test"),
        (lambda a: a._replace(code="0"), "has other code of refbp or conformance"),
        (lambda a: a._replace(files="0"), "has other files under test in "),
        (
            lambda a: a._replace(packages=tuple((n, "0.1") for n, _ in a.packages)),
            "; expected 0.1, as here",
        ),
    ],
)  # fmt: skip
def test_one_that_has_not_is_refused(
    spoil: Callable[[About], About], said: str, mine: About
) -> None:
    with pytest.raises(RunError, match=f"the worker on .*{said}"):
        _checked((spoil(mine), abs, -1))


def test_a_package_that_a_worker_lacks_is_no_difference(
    mine: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = mine._replace(packages=tuple((n, "not installed") for n, _ in mine.packages))
    monkeypatch.setattr(cluster_module, "_about", lambda *_: lacks)
    assert _checked((mine, abs, -1)) == 1
    monkeypatch.setattr(cluster_module, "_about", lambda *_: mine)
    with pytest.raises(RunError, match="expected not installed, as here"):  # but one too many is
        _checked((lacks, abs, -1))


# --- schedulers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["here", "tcp://", "tcp://host", "http://host:1", "tcp://h:1 "])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RunError, match=r"expected tcp://HOST:PORT\."):
        run("quick", ["refbp"], WANTED, scheduler=address)


def test_it_has_workers_of_its_own() -> None:
    class Mine:
        name, run = "mine", staticmethod(lambda p: None)

    with pytest.raises(RunError, match="expected it without an object of this process"):
        run("quick", [Mine()], scheduler="tcp://127.0.0.1:1")  # type: ignore[list-item]
    words = ["run", "--implementation", "refbp", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "expected it without --jobs" in done.output) == (2, True)


@pytest.mark.slow
def test_no_scheduler_is_one_sentence_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(cluster_module, "CONNECTED", 1)
    begun = time.monotonic()
    with pytest.raises(RunError, match=f"^no scheduler answers at {address} within 1 s; start one"):
        run("quick", ["refbp"], WANTED, scheduler=address)
    assert time.monotonic() - begun < 15


def test_tls_without_certificates_is_one_sentence() -> None:
    with pytest.raises(RunError, match=r"^--scheduler is tls://\S+, and there are no certificates"):
        run("quick", ["refbp"], WANTED, scheduler="tls://127.0.0.1:8786")


Dask = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    """dask("scheduler"), and dask("worker", {environment}); ended at the end, workers first, with all that
    they started."""
    started: list[subprocess.Popen[bytes]] = []
    file = tmp_path / "scheduler.json"

    def start(
        what: str, more: Mapping[str, str] | None = None, *words: str
    ) -> subprocess.Popen[bytes]:
        own = {"scheduler": ["--host", "127.0.0.1", "--port", "0"]}.get(
            what, ["--nthreads", "1", "--local-directory", str(tmp_path)]
        )
        with (tmp_path / f"{what}-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + what, "--no-dashboard",
                 "--scheduler-file", str(file), *own, *words],
                env={**os.environ, "TEST_CLUSTER": str(tmp_path), **(more or {})}, cwd="/",
                stdout=log, stderr=log,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started[1:]:
        process.terminate()
    for process in [
        *started[1:],
        *started[:1],
    ]:  # a worker waits for a scheduler that ends before it
        process.terminate()
        process.wait(60)
    for log in tmp_path.glob("worker-*.log"):  # no nanny had to kill one that waited for its own
        assert "still alive after" not in log.read_text("utf-8", "replace")
    mark = f"TEST_CLUSTER={tmp_path}".encode()
    until(lambda: not any(mark in environment_of(p) for p in Path("/proc").glob("[0-9]*")), 30)


def environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # it has ended
        return b""


def address_of(tmp_path: Path) -> str:
    """Where the scheduler listens, once it does."""
    file = tmp_path / "scheduler.json"
    until(lambda: file.is_file() and file.read_text().endswith("}"))
    return str(json.loads(file.read_text())["address"])


def until(done: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for what comes soon, however busy the machine."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def with_workers(tmp_path: Path, dask: Dask, *environments: Mapping[str, str]) -> str:
    """The address of a scheduler that has a worker for each environment."""
    dask("scheduler")
    address = address_of(tmp_path)
    for environment in environments:
        dask("worker", environment)
    wait_for(address, len(environments))
    return address


def wait_for(address: str, workers: int) -> None:
    from distributed import Client

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions
        with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(workers, timeout=120)


def to_the_byte(found: Results, whole: Results, folder: Path) -> None:
    """The files are the same, but for the environment."""
    written = []
    for i, results in enumerate((found, whole)):
        write_results(folder / f"{i}.json", {**results, "environment": {}})
        written.append((folder / f"{i}.json").read_bytes())
    assert written[0] == written[1]


HOSTILE = """
import os, time
from conformance.implementations import implementation

class Hostile:
    name, like = "hostile", "refbp"

    def run(self, problem):
        if problem.sigma[1] == "tanh":
            os._exit(3)
        if problem.sigma[1] == "relu":
            time.sleep(600)
        return implementation("refbp").run(problem)
"""


@pytest.mark.slow
def test_the_results_are_those_of_one_machine(
    tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a file that ends its process for one network, and hangs for another."""
    monkeypatch.chdir(tmp_path)
    Path("hostile.py").write_text(HOSTILE)
    names = ["refbp", "torch-cpu", "hostile.py:Hostile"]
    address = with_workers(tmp_path, dask, {}, {})
    found = run("standard", names, WANTED, timeout=5.0, scheduler=address)
    to_the_byte(found, run("standard", names, WANTED, timeout=5.0, jobs=2), tmp_path)
    assert found["environment"]["processes"] == 2
    messages = {r["message"].partition(" ")[2] for r in found["results"] if r["verdict"] == "error"}
    assert messages == {
        "ended its process (exit code 3); expected a trace.",
        "took more than 5 s; expected a trace.",
    }


@pytest.mark.slow
def test_with_tls(tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    """All talk is encrypted, and who has no certificate is refused."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes certificates, is not here")

    def certificate(name: str) -> tuple[Path, Path]:
        key, cert = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        words = (
            f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 -subj /CN={name}"
        )
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
        return cert, key

    cert, key = certificate("localhost")
    settings = {"CA_FILE": cert}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{role}__CERT": cert, f"{role}__KEY": key}
    for name, path in settings.items():
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", str(path))
    dask("scheduler", None, "--protocol", "tls")
    address = address_of(tmp_path)
    assert address.startswith("tls://")
    dask("worker")
    command = [sys.executable, "-m", "conformance", "run", "--profile", "quick", "--select", WANTED]
    command += ["--implementation", "refbp", "--scheduler"]
    done = subprocess.run([*command, address], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all conform" in done.stdout
    for what, path in zip(("CERT", "KEY"), certificate("somebody"), strict=True):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__{what}", str(path))
    done = subprocess.run([*command, address], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"conformance: no scheduler answers at {address}")
    assert "Traceback" not in done.stderr


SLOWLY = """
import time
import warnings
from conformance.implementations import implementation

class Slowly:
    name, like = "slowly", "refbp"

    def run(self, problem):
        time.sleep(0.1)
        return implementation("refbp").run(problem)
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(
    tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("slowly.py").write_text(SLOWLY)
    address = with_workers(tmp_path, dask, {})
    lost = dask("worker", {}, "--no-nanny")
    killed: list[int] = []

    def kill(done: int, total: int, case: str) -> None:
        if not killed and done > 10:
            killed.append(done)
            os.kill(lost.pid, signal.SIGKILL)

    names = ["refbp", "slowly.py:Slowly"]
    wait_for(address, 2)
    found = run("standard", names, WANTED, progress=kill, scheduler=address)
    assert killed
    to_the_byte(found, run("standard", names, WANTED, jobs=2), tmp_path)


@pytest.mark.slow
def test_a_scheduler_that_is_killed_is_one_sentence(tmp_path: Path, dask: Dask) -> None:
    scheduler = dask("scheduler")
    address = address_of(tmp_path)
    dask("worker", {})
    wait_for(address, 1)
    mine, journal = tmp_path / "slowly.py", tmp_path / "r.json.journal"
    mine.write_text(SLOWLY)
    words = ["run", "--select", WANTED, "--implementation", f"{mine}:Slowly", "--json", "r.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "conformance", *words, "--scheduler", address],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: journal.is_file() and journal.read_bytes().count(b"\n") > 3)
    scheduler.kill()
    _, said = process.communicate(timeout=60)
    *progress, last = said.splitlines()
    assert process.returncode == 2
    assert last.startswith("conformance: the scheduler has ended, or cannot be reached; what was")
    assert all(line.endswith(" results") for line in progress), said
    assert journal.is_file()


@pytest.mark.slow
def test_a_worker_of_another_version_is_refused_before_anything_is_judged(
    tmp_path: Path, dask: Dask
) -> None:
    other = tmp_path / "other" / "numpy-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    address = with_workers(tmp_path, dask, {}, {"PYTHONPATH": str(other.parent)})
    words = ["run", "--select", WANTED, "--implementation", "refbp", "--scheduler", address]
    done = CliRunner().invoke(main, [*words, "--json", str(tmp_path / "r.json")])
    assert done.exit_code == 2
    assert "has numpy 0.0.1; expected " in done.output
    assert not (tmp_path / "r.json").exists()
    journal = tmp_path / "r.json.journal"
    assert not journal.exists() or journal.read_bytes().count(b"\n") == 1  # its key alone


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
def test_a_worker_that_lacks_one_does_the_others(
    late: bool, tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that comes when the run has begun."""
    monkeypatch.chdir(tmp_path)
    Path("slowly.py").write_text(SLOWLY)
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['torch'] = None\n"
    )
    lacking = {"PYTHONPATH": str(tmp_path / "lacking")}
    address = with_workers(tmp_path, dask, {}, *([] if late else [lacking]))
    came: list[int] = []

    def come(done: int, total: int, case: str) -> None:
        if late and not came:
            dask("worker", lacking)
            wait_for(address, 2)
            came.append(done)

    names = ["refbp", "torch-cpu", "slowly.py:Slowly"]
    whole = run("standard", names, WANTED, jobs=2)  # first: the workers end with processes of a run
    found = run("standard", names, WANTED, progress=come, scheduler=address)
    assert not late or came[0] < len(found["results"]) / 2
    to_the_byte(found, whole, tmp_path)
