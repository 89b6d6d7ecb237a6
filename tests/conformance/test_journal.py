"""Results are written as they come; a run that is cut off at any byte goes on from there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.judge import runner
from conformance.model.results_file import read
from conformance.tools.code import beside, digest, named
from conformance.tools.files import FileError
from conformance.tools.journal import Journal

RECORDS: list[Any] = [{"a": 1}, ["δ\ud800\n", None, 0.1], "x" * 500]


def written(path: Path, key: str = "k") -> bytes:
    with Journal(path) as journal:
        assert journal.begin(key, resumed=False) == []
        for record in RECORDS:
            journal.add([record])
    return path.read_bytes()


def test_what_is_cut_off_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = written(path)
    ends = [i + 1 for i, c in enumerate(whole) if c == ord("\n")]
    for n in range(len(whole) + 1):
        path.write_bytes(whole[:n])
        with Journal(path) as journal:
            found = journal.begin("k", resumed=True)
            assert found == RECORDS[: max(0, sum(end <= n for end in ends) - 1)]
            journal.add(["more"])
        with Journal(path) as journal:
            assert journal.begin("k", resumed=True) == [*found, "more"]


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = written(path)
    broken = bytes([whole[3] ^ 1])
    for text in (b"my precious notes\n", b"\xff\xfe", whole[:3] + broken + whole[4:]):
        path.write_bytes(text)
        with Journal(path) as journal, pytest.raises(FileError, match="is no journal"):
            journal.begin("k", resumed=False)
        assert path.read_bytes() == text
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(FileError, match="it is no file"), Journal(tmp_path / "link"):
        pass


def test_a_line_whose_checksum_fits_and_that_is_no_json_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path)
    for text in (b"{", b"[" * 100_000):
        with path.open("ab") as f:
            f.write(b"%08x %s\n" % (zlib.crc32(text), text))
        with Journal(path) as journal:
            assert journal.begin("k", resumed=True) == RECORDS


def test_a_changed_byte_ends_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = written(path)
    for n in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        with Journal(path) as journal:
            found = journal.begin("k", resumed=True)
        assert len(found) < len(RECORDS)
        assert found == RECORDS[: len(found)]


def test_another_runs_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "j")
    with Journal(tmp_path / "j") as journal, pytest.raises(FileError, match="is of another run"):
        journal.begin("other", resumed=True)
    with Journal(tmp_path / "j") as journal:
        assert journal.begin("other", resumed=False) == []


def test_a_second_run_at_once_is_refused(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j"),
        pytest.raises(FileError, match="another run is writing"),
        Journal(tmp_path / "j"),
    ):
        pass
    with pytest.raises(FileError, match="cannot write"), Journal(tmp_path / "no" / "j"):
        pass


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        assert journal.file is not None
        journal.file.close()
        journal.file = Path("/dev/full").open("ab+", buffering=0)  # noqa: SIM115   the journal closes it
        with pytest.raises(FileError, match="No space left"):
            journal.add(["x"])


# --- runs -----------------------------------------------------------------------------------------

RUN = [
    "run",
    "--select",
    "family=typical,activation=tanh,dtype=float64",
    "--implementation",
    "refbp",
]


def conformance(*words: object) -> Any:
    return CliRunner().invoke(main, [*RUN, *map(str, words)])


def bare(path: Path) -> dict[str, Any]:
    """Everything but where and when."""
    return {k: v for k, v in read(path).items() if k != "environment"}


def test_a_run_goes_on_and_nothing_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conformance("--jobs", 0, "--json", tmp_path / "whole.json").exit_code == 0
    assert not (tmp_path / "whole.json.journal").exists()
    real, made = runner.judged, []

    def judged(case: Any, names: Any, **more: Any) -> Any:
        made.append(case.id)
        if len(made) == 5:
            raise KeyboardInterrupt
        return real(case, names, **more)

    monkeypatch.setattr(runner, "judged", judged)
    path = tmp_path / "r.json"
    assert conformance("--jobs", 0, "--json", path).exit_code != 0
    assert not path.exists()
    journal = (tmp_path / "r.json.journal").read_text().splitlines()
    assert len(journal) == 5  # the key, and four results
    made += [""]
    done = conformance("--jobs", 0, "--json", path, "--resume")
    assert done.exit_code == 0, done.output
    assert set(made[6:]).isdisjoint(made[:4])
    assert bare(path) == bare(tmp_path / "whole.json")
    assert not (tmp_path / "r.json.journal").exists()


def test_other_code_is_another_run(tmp_path: Path) -> None:
    file, path = tmp_path / "mine.py", tmp_path / "r.json"
    example = Path(__file__).parents[2] / "examples" / "student.py"
    file.write_text(example.read_text("utf-8"), "utf-8")
    words = ["--implementation", file, "--jobs", 0, "--json", path]
    assert conformance(*words, "--resume").exit_code == 0  # with no journal, from the beginning
    key = digest(beside(str(file)))
    with Journal(tmp_path / "r.json.journal") as journal:
        journal.begin("another", resumed=False)
    done = conformance(*words, "--resume")
    assert done.exit_code == 2
    assert "is of another run" in done.output
    (tmp_path / "helper.py").write_text("K = 1\n")
    assert digest(beside(f"{file}:Name")) != key


def test_the_files_of_somebodys_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "path")
    for name in (
        "mine.py",
        "prog.py",
        "path/there.py",
        "path/pack/__init__.py",
        "path/pack/net.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('is imported')\n")
    assert named("mine.py") == named("mine.py:Net.run") == named("mine:Net") == [Path("mine.py")]
    assert named("cmd:./prog.py --fast") == [Path("prog.py")]
    assert named("there:Net") == [tmp_path / "path" / "there.py"]
    assert named("pack.net:Net") == [tmp_path / "path" / "pack" / "net.py"]
    assert named("pack:Net") == [tmp_path / "path" / "pack" / "__init__.py"]
    assert named("cmd:'") == named("no such") == named("nothing.at.all:X") == named("a\0b") == []


def test_a_result_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json.journal"
    keys: list[str] = []
    real = Journal.begin

    def begin(self: Journal, key: str, resumed: bool) -> Any:
        keys.append(key)
        return real(self, key, resumed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "begin", begin)
        assert conformance("--jobs", 0, "--json", tmp_path / "r.json").exit_code == 0
    with Journal(path) as journal:
        journal.begin(keys[0], resumed=False)
        journal.add([{"case": "x", "implementation": "refbp", "verdict": "pass"}])
    done = conformance("--jobs", 0, "--json", tmp_path / "r.json", "--resume")
    assert done.exit_code == 2
    assert "has a result that is none" in done.output


def test_resume_needs_the_results_path() -> None:
    done = conformance("--resume")
    assert done.exit_code == 2
    assert "--resume needs --json" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_goes_on_to_the_same_results(seed: int, tmp_path: Path) -> None:
    """SIGKILL again and again, at random moments, until it comes through."""
    words = ["--jobs", "2", "--json", "r.json"]
    command = [sys.executable, "-m", "conformance", *RUN, "--implementation", "torch-cpu", *words]
    whole = [w.replace("r.json", "whole.json") for w in command]
    assert subprocess.run(whole, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    rng, kills, journal = random.Random(seed), 0, tmp_path / "r.json.journal"
    while True:
        before = journal.stat().st_size if journal.exists() else 0
        run = subprocess.Popen(
            [*command, "--resume"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait = rng.uniform(0.3, 1.0)
        end = time.monotonic() + 120
        while run.poll() is None and kills < 5:
            grown = journal.exists() and journal.stat().st_size > before + 2000
            if grown or time.monotonic() > end:
                time.sleep(wait / 10)
                run.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        _, errors = run.communicate()
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, errors
    assert kills >= 1
    first, second = (json.dumps(bare(tmp_path / f"{n}.json"), default=list) for n in ("r", "whole"))
    assert first == second
    assert not journal.exists()
    assert os.listdir(tmp_path).count("r.json") == 1  # noqa: PTH208
