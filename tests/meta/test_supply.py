"""What is installed is pinned, by hash where it can be; what is used of others is named, with its licence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.markers import default_environment
from packaging.requirements import Requirement

from conformance.commands.grading.package import _pins
from conformance.commands.main import main

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINNED = re.findall(
    r"^([a-z0-9-]+)==(\S+)(?: ; (.*?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$",
    (ROOT / "constraints.txt").read_text(encoding="utf-8"),
    re.MULTILINE,
)
"""Of each line of constraints.txt: name, version, marker, hashes."""


def plain(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


# ---- constraints.txt ---------------------------------------------------------------------------------


def test_every_line_is_a_version_with_hashes() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("#", " "))]
    assert len(lines) == len(PINNED) > 90
    assert "://" not in text
    assert "index" not in text


def test_every_extra_has_its_pins() -> None:
    """Of all extras: what `make setup` installs with --no-deps leaves out nothing that they ask for."""
    pins = {name: number for name, number, *_ in PINNED}
    for extra, needs in PROJECT["optional-dependencies"].items():
        for requirement in map(Requirement, needs):
            if (name := plain(requirement.name)) not in ("refbp", "torch"):
                assert requirement.specifier.contains(pins[name]), f"{extra}: {requirement}"
    assert "torch" not in pins
    assert not any(name.startswith("nvidia") for name in pins)


def test_what_is_here_is_what_is_pinned() -> None:
    """And needs nothing that is not."""
    pins = {}
    for name, number, marker, _ in PINNED:
        if not marker or Requirement(f"x; {marker}").marker.evaluate():  # type: ignore[union-attr]
            pins[name] = number
    for name, number in pins.items():
        assert version(name) == number, name
        for text in requires(name) or []:
            needs = Requirement(text)
            if needs.marker is None or needs.marker.evaluate(
                {**default_environment(), "extra": ""}
            ):
                assert plain(needs.name) in pins, f"{name} needs {needs.name}"


def test_what_torch_needs_on_every_platform_is_pinned() -> None:
    (needs,) = re.findall(r"^TORCH_NEEDS := (.*)$", MAKEFILE, re.MULTILINE)
    (pinned,) = re.findall(r"^TORCH := torch==(\S+)$", MAKEFILE, re.MULTILINE)
    assert version("torch").partition("+")[0] == pinned
    assert set(needs.split()) <= {name for name, *_ in PINNED}
    for text in requires("torch") or []:
        if (needed := Requirement(text)).marker is None:
            assert plain(needed.name) in needs.split()


def test_setup_installs_by_hash_and_builds_nothing() -> None:
    (recipe,) = re.findall(r"^\.venv/installed:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    installs = [line.strip() for line in recipe.splitlines() if "$(PIP)" in line]
    assert installs == [
        "$(PIP) --require-hashes --no-deps --only-binary :all: -r constraints.txt",
        "$(PIP) $(TORCH)",
        "$(PIP) --no-deps --no-build-isolation -e .",
    ]
    others = MAKEFILE.replace(recipe, "")
    assert "-m pip install" not in others.replace("PIP := $(BIN)/python -m pip install", "")


def test_another_hash_is_refused(tmp_path: Path) -> None:
    """pip's own answer, for a wheel that lies here: no index is asked."""
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("thing.py", "")
        z.writestr(
            "thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        )
        z.writestr(
            "thing-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        z.writestr("thing-1.0.dist-info/RECORD", "")
    (tmp_path / "pins.txt").write_text(f"thing==1.0 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--no-index", "--find-links", tmp_path,
            "--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", tmp_path / "to",
            "-r", tmp_path / "pins.txt",
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


# ---- the autograder ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def autograder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autograder")
    done = CliRunner().invoke(main, ["grade", "--package", str(folder)])
    assert done.exit_code == 0, done.output
    return folder / "autograder"


def test_the_autograder_pins_what_it_was_made_with(autograder: Path) -> None:
    pins = (autograder / "refbp-src/constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"numpy=={version('numpy')}" in pins
    assert {p.partition("==")[0] for p in pins} >= {
        plain(Requirement(r).name) for r in PROJECT["optional-dependencies"]["conformance"]
    }
    assert all(version((name := p.partition("=="))[0]).partition("+")[0] == name[2] for p in pins)
    assert f"torch=={version('torch').partition('+')[0]}\n" in _pins(["refbp", "torch"])
    assert _pins(["not-there-at-all"]) == ""
    built = tomllib.loads((autograder / "refbp-src/pyproject.toml").read_text(encoding="utf-8"))
    assert built["build-system"]["requires"] == [f"hatchling=={version('hatchling')}"]


STUB = """#!/bin/bash
case "$*" in
  --version) echo Python 3.99 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*)
    mkdir -p "${0%/bin/python}"/lib/python3.99/site-packages/{refbp,conformance}
    printf '%s\\n' "$@" >"$SAID"
    exit "$PIP_ENDS"
    ;;
esac
"""


@pytest.mark.parametrize("ends", [0, 1])
def test_its_setup_installs_by_the_pins_or_says_why_not(
    autograder: Path, tmp_path: Path, ends: int
) -> None:
    stub, said = tmp_path / "python", tmp_path / "said"
    stub.write_text(STUB)
    stub.chmod(0o755)
    environment = {
        "PATH": os.environ["PATH"], "PYTHON": str(stub), "SOURCE": str(autograder), "SAID": str(said),
        "HOME_OF_PYTHON": str(tmp_path / "venv"), "PIP_ENDS": str(ends),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", autograder / "setup.sh"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == ends
    words = said.read_text().splitlines()
    assert words[words.index("-c") + 1] == f"{autograder}/refbp-src/constraints.txt"
    assert ("cannot be installed with Python 3.99" in done.stderr) == bool(ends)


# ---- NOTICE ------------------------------------------------------------------------------------------


def licence(name: str) -> str:
    """As the distribution's metadata has it."""
    about = metadata(name)
    if said := about.get("License-Expression") or about.get("License"):
        return said
    (classifier,) = [c for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    return classifier.rpartition(" :: ")[2]


def test_the_notice_has_the_licence_of_everything_that_is_used() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    named = dict(re.findall(r"^  ([a-z0-9-]+) {2,}(.+)$", notice, re.MULTILINE))
    used = {plain(Requirement(r).name) for r in PROJECT["dependencies"]}
    for extra in ("conformance", "torch", "jax", "fuzz", "cluster"):
        used |= {plain(Requirement(r).name) for r in PROJECT["optional-dependencies"][extra]}
    assert set(named) == used
    for name in used:
        try:
            assert named[name] == licence(name), name
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
    assert "LGPL" in named["pebble"]
    assert "LGPL-3.0-or-later" in named["python-flint"]
    for library in ("FLINT", "GMP", "MPFR"):
        assert library in notice
