"""What JAX compiled is kept from run to run, where it may be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.model.results_file import read
from conformance.tools.cache import FOLDER, SOONEST, SWITCH, keep_compiled, kept
from conformance.tools.files import FileError


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (FOLDER, SWITCH, SOONEST):
        monkeypatch.setenv(name, "")  # which monkeypatch sets back, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_by_default_among_the_users_caches(tmp_path: Path) -> None:
    keep_compiled()
    folder = Path(os.environ[FOLDER])
    assert folder.parent == tmp_path / "refbp"
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0
    assert os.environ[SOONEST] == "0"  # JAX alone keeps what took a second
    assert kept() == f"kept in {folder}"


def test_jaxs_own_setting_counts_and_the_option_counts_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "theirs"))
    keep_compiled()
    assert os.environ[FOLDER] == str(tmp_path / "theirs")
    keep_compiled(tmp_path / "asked")
    assert os.environ[FOLDER] == str(tmp_path / "asked")


def test_where_no_folder_can_be_made_it_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compiled()
    assert kept() == "not kept"
    with pytest.raises(FileError, match="cannot make the folder"):
        keep_compiled(tmp_path / "file" / "cache")


def test_nobodys_home_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", nobody)
    keep_compiled()
    assert kept() == "not kept"


def test_it_is_not_kept_where_it_is_not_wanted() -> None:
    keep_compiled(wanted=False)
    assert os.environ[SWITCH] == "0"
    assert FOLDER not in os.environ
    assert kept() == "not kept"


RUN = ("run", "--select", "family=square,activation=tanh", "--jobs", "0", "--implementation")


@pytest.mark.parametrize("words", [["--cache"], ["--no-cache"]])
def test_the_results_say_it(words: list[str], tmp_path: Path) -> None:
    words = [*words, str(tmp_path / "here")] if words == ["--cache"] else words
    done = CliRunner().invoke(main, [*words, *RUN, "refbp", "--json", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    told = read(tmp_path / "r.json")["environment"]["compiled by JAX"]
    assert told == (f"kept in {tmp_path / 'here'}" if "--cache" in words else "not kept")


def test_a_second_run_compiles_nothing(tmp_path: Path) -> None:
    """And its results are the same."""
    files = []
    for name in ("first.json", "second.json"):
        words = ["--cache", tmp_path / "kept", *RUN, "jax-cpu", "--json", tmp_path / name]
        done = subprocess.run([sys.executable, "-m", "conformance", *map(str, words)], check=False)
        assert done.returncode == 0
        files.append({p.name for p in (tmp_path / "kept").iterdir() if p.name.endswith("-cache")})
    assert files[0]
    assert files[0] == files[1]
    first, second = (read(tmp_path / name)["results"] for name in ("first.json", "second.json"))
    assert first == second
