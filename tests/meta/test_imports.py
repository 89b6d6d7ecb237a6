"""Imports follow the arrows of the design: one way, downward, and no framework outside its own file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import conformance
import refbp

ROOT = Path(refbp.__file__).parents[1]
REFBP = sorted((ROOT / "refbp").rglob("*.py"))
CONFORMANCE = sorted(Path(conformance.__file__).parent.rglob("*.py"))
STDLIB = sys.stdlib_module_names


def statements(tree: ast.AST, typing_too: bool) -> Iterator[ast.AST]:
    """All nodes, those under `if TYPE_CHECKING:` only if wanted."""
    for node in ast.iter_child_nodes(tree):
        if (
            not typing_too
            and isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            continue
        yield node
        yield from statements(node, typing_too)


def imported(source: str, module: str = "", typing_too: bool = True) -> set[str]:
    """Every module that a source imports, anywhere in it; `from a import b` as a and as a.b."""
    found = set()
    for node in statements(ast.parse(source), typing_too):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def of(path: Path, typing_too: bool = True) -> set[str]:
    return imported(path.read_text(encoding="utf-8"), name(path), typing_too)


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def packages(modules: set[str]) -> set[str]:
    return {m.partition(".")[0] for m in modules}


def test_the_walk_sees_every_kind_of_import() -> None:
    source = """
from __future__ import annotations
import a.b as c, d
if TYPE_CHECKING:
    import only_for_types
def f():
    try:
        from e.g import h
    except ImportError:
        from . import i
        from ..j import k
"""
    assert imported(source, "x.y.z") == {
        "__future__", "__future__.annotations", "a.b", "d", "only_for_types", "e.g", "e.g.h", "x.y",
        "x.y.i", "x.j", "x.j.k",
    }  # fmt: skip
    assert "only_for_types" not in imported(source, "x.y.z", typing_too=False)


def test_there_is_something_to_look_at() -> None:
    assert len(REFBP) > 8
    assert len(CONFORMANCE) > 20
    assert name(CONFORMANCE[0]) == "conformance"


# --- refbp ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REFBP, ids=name)
def test_refbp_imports_numpy_alone(path: Path) -> None:
    assert packages(of(path)) <= {"numpy", "refbp", *STDLIB}


def test_importing_refbp_loads_numpy_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import numpy; import refbp\n"
        "loaded = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(m for m in loaded - set(sys.stdlib_module_names) if not m.startswith('_')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy', 'refbp']"


# --- conformance ----------------------------------------------------------------------------------

ONLY_IN = {
    "torch": {"conformance.implementations.torch_", "conformance.activation.torch_"},
    "jax": {"conformance.implementations.jax_", "conformance.activation.jax_"},
    "jaxlib": {"conformance.implementations.jax_"},
    "sklearn": {"conformance.trained"},
    "refbp": {  # the procedures in the first alone: the others have σ, σ' and the losses from it
        "conformance.implementations.refbp_", "conformance.implementations.student_process",
        "conformance.faults.loop", "conformance.trained",
        "conformance.fuzz.legal",  # the procedures with one thing done otherwise
        "conformance.handout.passes",  # σ', ∂L/∂Z and sgd, which no trace has
        # the audit runs the errata, beside the procedure, on its own networks, and finds their lines
        "conformance.audit.equations", "conformance.audit.settings", "conformance.audit.run",
    },
    "flint": {
        "conformance.truth.balls", "conformance.truth.definitions", "conformance.truth.rules",
        "conformance.truth.taylor", "conformance.known_differences",
    },
    "pebble": {"conformance.runner", "conformance.fuzz.search"},
    "hypothesis": {"conformance.fuzz.search"},
    "click": {"conformance.cli"},
    "pytest": {"conformance.pytest_plugin"},
}  # fmt: skip


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_in_its_own_file_alone(package: str) -> None:
    found = {name(p) for p in CONFORMANCE if package in packages(of(p))}
    allowed = ONLY_IN[package]
    assert all(m in allowed or m.rpartition(".")[0] == "conformance.cli" in allowed for m in found)
    if package != "jaxlib":
        assert found


def test_nothing_else_is_imported() -> None:
    known = {"conformance", "numpy", "jinja2", "markupsafe", "latex2mathml", *ONLY_IN, *STDLIB}
    for path in CONFORMANCE:
        assert packages(of(path)) <= known, name(path)
    report = {
        name(p) for p in CONFORMANCE if packages(of(p)) & {"jinja2", "markupsafe", "latex2mathml"}
    }
    own = ("conformance.report", "conformance.activation.report", "conformance.activation.plots",
           "conformance.handout.html", "conformance.handout.graph", "conformance.handout.text")  # fmt: skip
    assert all(m.startswith(own) for m in report)


def test_a_module_is_loaded_by_name_in_one_place() -> None:
    """Where implementations are loaded, and a user's own functions: otherwise what is tested here could be
    got around."""
    found = {
        name(p)
        for p in CONFORMANCE
        if {"importlib.import_module", "imp"} & of(p)
        or "__import__" in p.read_text(encoding="utf-8")
    }
    assert found == {"conformance", "conformance.implementations", "conformance.load"}


@pytest.mark.parametrize(
    "path", [p for p in CONFORMANCE if name(p).startswith("conformance.truth")], ids=name
)
def test_the_truth_is_independent(path: Path) -> None:
    """Of refbp and of everything that is judged by it: it knows the problem, and mathematics."""
    allowed = ("conformance.problem", "conformance.truth")
    for module in of(path):
        if module.partition(".")[0] == "conformance":
            assert module.startswith(allowed), module
        else:
            assert packages({module}) <= {"flint", "numpy", *STDLIB}, module


LAYERS = (  # each imports from those before it, and from its own package
    "conformance.trouble",
    "conformance.load",
    "conformance.orphan",
    "conformance.typed",
    "conformance.contradictions",
    "conformance.results",
    "conformance.explain",
    "conformance.report",
    "conformance.problem",
    "conformance.exchange",
    "conformance.truth",
    "conformance.implementations",
    "conformance.trained",
    "conformance.data",
    "conformance.cases",
    "conformance.strict",
    "conformance.tolerance",
    "conformance.known_differences",
    "conformance.judge",
    "conformance.inaccuracy",
    "conformance.faults",
    "conformance.pattern",
    "conformance.diagnosis",
    "conformance.probes",
    "conformance.measure",
    "conformance.summary",
    "conformance.runner",
    "conformance.judging",
    "conformance.checking",
    "conformance.trials",
    "conformance.show",
    "conformance.diff",
    "conformance.vectors",
    "conformance.grading",
    "conformance.handout",
    "conformance.activation",
    "conformance.audit",
    "conformance.fuzz",
    "conformance.pytest_plugin",
    "conformance.cli",
    "conformance.__main__",
)


def layer(module: str) -> int:
    return next(i for i, m in enumerate(LAYERS) if module == m or module.startswith(m + "."))


@pytest.mark.parametrize("path", [p for p in CONFORMANCE if name(p) != "conformance"], ids=name)
def test_imports_go_downward(path: Path) -> None:
    for module in of(path, typing_too=False):
        if module.startswith("conformance."):
            assert layer(module) <= layer(name(path)), f"{name(path)} imports {module}"


@pytest.mark.parametrize(
    "path", [p for p in CONFORMANCE if name(p).startswith("conformance.report")], ids=name
)
def test_the_report_reads_results_alone(path: Path) -> None:
    found = {m for m in of(path) if m.startswith("conformance.")}
    assert all(
        m.startswith(("conformance.results", "conformance.explain", "conformance.report"))
        for m in found
    )


def test_the_report_of_an_activation_reads_its_check_alone() -> None:
    for path in CONFORMANCE:
        if name(path) in ("conformance.activation.report", "conformance.activation.plots"):
            found = {m for m in of(path, typing_too=False) if m.startswith("conformance.")}
            allowed = ("conformance.results", "conformance.report", "conformance.activation.plots")
            assert all(m.startswith(allowed) or m == "conformance.activation" for m in found), found


def test_the_frameworks_of_an_activation_are_loaded_where_they_run() -> None:
    code = (
        "import sys; import conformance.activation.asserting, conformance.activation.worker\n"
        "import conformance.activation.network, conformance.pytest_plugin\n"
        "print(sorted({'torch', 'jax', 'jaxlib', 'sklearn', 'refbp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_judge_loads_no_framework() -> None:
    code = (
        "import sys; import conformance.runner, conformance.cli, conformance.measure, conformance.report\n"
        "print(sorted({'torch', 'jax', 'jaxlib', 'sklearn', 'refbp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
