"""The autograder for Gradescope: the same bytes each time, and run for real, elsewhere than there."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import conformance
from conformance.commands.grading.rubric import read
from conformance.commands.main import main

ROOT = Path(conformance.__file__).parents[1]
RIGHT = (ROOT / "examples" / "student.py").read_text(encoding="utf-8")
RUBRIC = """
title = "Homework"
file = "mine.py"
[cases]
ids = ["typical/tanh/L1/n7/float64"]
[[tests]]
quantities = ["A", "Z", "delta", "dW"]
points = 4
"""


def package(folder: Path, *more: Any) -> Any:
    return CliRunner().invoke(main, ["grade", "--package", str(folder), *map(str, more)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "rubric.toml").write_text(RUBRIC)
    done = package(folder / "out", "--rubric", folder / "rubric.toml")
    assert done.exit_code == 0, done.output
    assert done.output == f"{folder}/out/autograder.zip\n{folder}/out/autograder\n"
    return folder / "out"


def test_the_zip_holds_what_gradescope_looks_for(made: Path) -> None:
    with zipfile.ZipFile(made / "autograder.zip") as z:
        entries = {e.filename: e for e in z.infolist()}
        contents = {name: z.read(name) for name in entries}
    assert {n for n in entries if "/" not in n} == {
        "setup.sh", "run_autograder", "rubric.toml", "README.md"
    }  # fmt: skip
    executable = {n for n, e in entries.items() if e.external_attr >> 16 & stat.S_IXUSR}
    assert executable == {"setup.sh", "run_autograder"}
    assert {e.date_time for e in entries.values()} == {(2020, 1, 1, 0, 0, 0)}
    unpacked = {
        p.relative_to(made / "autograder").as_posix(): p.read_bytes()
        for p in (made / "autograder").rglob("*")
        if p.is_file()
    }
    assert unpacked == contents
    assert os.access(made / "autograder" / "run_autograder", os.X_OK)
    assert contents["rubric.toml"].decode() == RUBRIC
    assert "`mine.py`" in contents["README.md"].decode()
    assert b"Redistribution" in contents["refbp-src/LICENSE"]
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", made / "autograder" / name]).returncode == 0


def test_the_source_is_the_two_packages(made: Path) -> None:
    source = made / "autograder" / "refbp-src"
    for name in ("refbp", "conformance"):
        expected = {
            p.relative_to(ROOT).as_posix()
            for p in (ROOT / name).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        found = {
            p.relative_to(source).as_posix() for p in (source / name).rglob("*") if p.is_file()
        }
        assert found == expected
    said, own = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        for folder in (source, ROOT)
    )
    assert said["version"] == own["version"]
    assert said["requires-python"] == own["requires-python"]
    assert said["dependencies"] == own["dependencies"]
    extra = [sorted(p["optional-dependencies"]["conformance"]) for p in (said, own)]
    assert extra[0] == extra[1]


def test_the_same_bytes_again_and_nothing_old_stays(made: Path, tmp_path: Path) -> None:
    (tmp_path / "rubric.toml").write_text(RUBRIC)
    again = tmp_path / "again"
    (again / "autograder" / "refbp-src" / "refbp").mkdir(parents=True)
    (again / "autograder" / "refbp-src" / "refbp" / "old.py").write_text("")
    for _ in range(2):
        assert package(again, "--rubric", tmp_path / "rubric.toml").exit_code == 0
        assert (again / "autograder.zip").read_bytes() == (made / "autograder.zip").read_bytes()
    assert not (again / "autograder" / "refbp-src" / "refbp" / "old.py").exists()
    assert sorted(p.name for p in again.iterdir()) == ["autograder", "autograder.zip"]


def test_what_cannot_be_packed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "autograder").mkdir()
    (tmp_path / "autograder" / "thesis.tex").write_text("")
    done = package(tmp_path)
    assert done.exit_code == 2
    assert "holds thesis.tex, which is no part of an autograder" in done.stderr
    (tmp_path / "file").write_text("")
    done = package(tmp_path / "file")
    assert done.exit_code == 2
    assert done.stderr.startswith("conformance: cannot write ")
    (tmp_path / "bad.toml").write_text("x = 1\n")
    assert package(tmp_path / "p", "--rubric", tmp_path / "bad.toml").exit_code == 2
    assert not (tmp_path / "p").exists()


def test_what_is_allowed_is_installed(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('allow = ["torch"]\n' + RUBRIC)
    assert package(tmp_path / "p", "--rubric", tmp_path / "r.toml").exit_code == 0
    setup = (tmp_path / "p" / "autograder" / "setup.sh").read_text()
    assert 'numpy torch "$SOURCE/refbp-src[conformance]"' in setup


# --- run for real ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def container(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Gradescope makes of the zip: /autograder, and the source installed where only that is."""
    top = tmp_path_factory.mktemp("autograder")
    shutil.unpack_archive(made / "autograder.zip", top / "source")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", top / "wheel",
         top / "source" / "refbp-src"], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (top / "wheel").glob("refbp-*.whl")
    shutil.unpack_archive(wheel, top / "installed", "zip")
    return top


def autograde(container: Path, tmp_path: Path, files: dict[str, str]) -> Any:
    for name in ("submission", "results"):
        shutil.rmtree(container / name, ignore_errors=True)
    for name, text in files.items():
        path = container / "submission" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (container / "submission").mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"], "PYTHON": sys.executable, "AUTOGRADER": str(container),
        "PYTHONPATH": str(container / "installed"),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", container / "source" / "run_autograder"], env=env, cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"grade: {container}/results/results.json\n"
    assert [p.name for p in (container / "results").iterdir()] == ["results.json"]
    return json.loads((container / "results" / "results.json").read_text())


@pytest.mark.slow
def test_the_package_grades(container: Path, tmp_path: Path) -> None:
    found = autograde(container, tmp_path, {"mine.py": RIGHT})
    (test,) = found["tests"]
    assert (test["score"], test["max_score"], test["status"]) == (4, 4, "passed")
    found = autograde(container, tmp_path, {"a/mine.py": RIGHT.replace("Z[l].T @", "2 * Z[l].T @")})
    assert found["tests"][0]["score"] == 3
    assert "∂L/∂W_1 is wrong" in found["output"]


@pytest.mark.slow
def test_what_was_not_handed_in_gets_a_grade_that_says_so(container: Path, tmp_path: Path) -> None:
    for files, text in (
        ({}, "There is no file mine.py in what was handed in (it is empty). Hand in mine.py."),
        (
            {"other.py": RIGHT},
            "There is no file mine.py in what was handed in (there is other.py).",
        ),
        ({"mine.py": RIGHT, "b/mine.py": RIGHT}, "There are 2 files mine.py: b/mine.py, mine.py."),
    ):
        found = autograde(container, tmp_path, files)
        assert found["output"].startswith(text)
        assert [t["score"] for t in found["tests"]] == [0]


def test_the_package_runs_what_it_brought(container: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(container / "installed")}
    code = "import conformance, refbp; print(conformance.__file__, refbp.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True
    )
    assert done.stdout.count(str(container)) == 2


def test_the_rubric_of_the_package_is_the_one_that_comes_along(tmp_path: Path) -> None:
    assert package(tmp_path / "p").exit_code == 0
    assert read(tmp_path / "p" / "autograder" / "rubric.toml").points == 10
