"""What pyproject.toml's import contracts (import-linter) do not see: what is loaded, and when."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

import refbp

ROOT = Path(refbp.__file__).parents[1]
CONFORMANCE = sorted((ROOT / "conformance").rglob("*.py"))
LINT = Path(sys.executable).with_name("lint-imports")


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _linted(folder: Path) -> str:
    done = subprocess.run(
        [LINT, "--no-cache", "--config", folder / "pyproject.toml"],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the packages, to plant in."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("conformance", "refbp"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_hold(copy: Path) -> None:
    assert re.search(r"Contracts: \d+ kept, 0 broken", _linted(copy))


@pytest.mark.parametrize(
    ("file", "planted", "contract"),
    [
        ("../refbp/losses.py", "import scipy", "refbp imports NumPy"),
        ("cases/data.py", "import jax", "JAX in its own files"),
        ("model/problem.py", "import refbp", "refbp where it is judged"),
        ("tools/names.py", "from conformance.model import problem", "The rooms"),
        ("report/svg.py", "from conformance.judge import gates", "The rooms"),
        ("truth/nodes.py", "from conformance.truth import tape", "No circle"),
        (
            "cases/data.py",
            "if TYPE_CHECKING:\n    from conformance.cases.catalogue import Case",
            "No circle",
        ),
        ("truth/balls.py", "import refbp", "The truth knows nothing"),
        ("judge/gates.py", "def f():\n    import torch", "torch in its own files"),
        ("judge/gates.py", "import flint", "Balls are FLINT's"),
        ("judge/gates.py", "import msgspec", "msgspec, where files"),
        ("model/problem.py", "import click", "Other libraries"),
    ],
)
def test_a_planted_import_breaks_its_contract(
    copy: Path, file: str, planted: str, contract: str
) -> None:
    path = copy / "conformance" / file
    was = path.read_text(encoding="utf-8")
    path.write_text(f"{was}\n{planted}\n", encoding="utf-8")
    try:
        told = _linted(copy)
    finally:
        path.write_text(was, encoding="utf-8")
    assert re.search(rf"{contract}.* BROKEN", told), told


ALLOWED = {  # in each: what else may be imported, of other packages and of ours
    "refbp": ({"numpy"}, ("refbp",)),
    "conformance.truth": ({"numpy", "flint"}, ("conformance.truth", "conformance.model.problem")),
    "conformance.report": (
        {"jinja2", "markupsafe", "latex2mathml"},
        (
            "conformance.report", "conformance.model.results", "conformance.tools.plain",
            "conformance.tools.names",
        ),
    ),
    "conformance.commands.activation.report": (
        {"markupsafe"},
        (
            "conformance.report", "conformance.commands.activation.plots", "conformance.tools.plain",
            "conformance.model.results", "conformance.commands.activation.findings",
            "conformance.commands.function.report",  # which reads results alone too
        ),
    ),
    "conformance": (
        {
            "numpy", "flint", "torch", "jax", "sklearn", "refbp", "pebble", "hypothesis", "click", "pytest",
            "jinja2", "markupsafe", "latex2mathml", "msgspec", "distributed",
        },
        ("conformance", "refbp"),
    ),
}  # fmt: skip


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "conformance", "refbp", include_external_packages=True, exclude_type_checking_imports=True,
        cache_dir=None,
    )  # fmt: skip


@pytest.mark.parametrize("of", ALLOWED)
def test_nothing_else_is_imported(of: str) -> None:
    """The contracts say what must not be; this, all that may be."""
    packages, ours = ALLOWED[of]
    within = {m for m in _graph().modules if m == of or m.startswith(f"{of}.")}
    assert within
    for module in within:
        for found in _graph().find_modules_directly_imported_by(module):
            own = found.partition(".")[0] in ("conformance", "refbp")
            fine = found.startswith(ours) if own else found in {*packages, *sys.stdlib_module_names}
            assert fine, f"{module} imports {found}"


def test_importing_refbp_loads_numpy_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import numpy; import refbp\n"
        "loaded = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(m for m in loaded - set(sys.stdlib_module_names) if not m.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy', 'refbp']"


def test_a_module_is_loaded_by_name_in_one_place() -> None:
    """Where implementations are loaded, our commands, and a user's own functions: otherwise what is tested
    here could be got around."""
    found = {
        _name(p)
        for p in CONFORMANCE
        if any(w in p.read_text(encoding="utf-8") for w in ("import_module", "__import__"))
    }
    places = (
        "conformance.implementations",
        "conformance.commands.command",
        "conformance.tools.load",
    )
    assert found == {"conformance", *places}


def test_the_frameworks_of_an_activation_are_loaded_where_they_run() -> None:
    code = (
        "import sys; import conformance.commands.activation.asserting\n"
        "import conformance.commands.activation.worker\n"
        "import conformance.commands.activation.network, conformance.pytest_plugin\n"
        "print(sorted({'torch', 'jax', 'jaxlib', 'sklearn', 'refbp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_judge_loads_no_framework() -> None:
    code = (
        "import sys; import conformance.judge.runner, conformance.judge.measure\n"
        "import conformance.report; from conformance.commands.main import main\n"
        "from importlib import import_module\n"
        "for module, _ in main.where.values(): import_module(module)\n"
        "print(sorted({'torch', 'jax', 'jaxlib', 'sklearn', 'refbp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
