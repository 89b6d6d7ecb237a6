"""docs/checkers.md is what benchmarks/checkers.py says: its rows, and three of its entries made again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
AGAIN = "write the tables again: python benchmarks/checkers.py --write"


@pytest.fixture(scope="module")
def checkers() -> ModuleType:
    """The benchmark, imported only here: with it come torch, JAX and autograd."""
    if (folder := str(ROOT / "benchmarks")) not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("checkers")


def test_its_rows_are_the_activations(checkers: ModuleType) -> None:
    tables = checkers.documented()
    assert list(tables) == ["wrong", "right", "function"]
    assert sorted(tables["wrong"]) == sorted(checkers.WRONG), AGAIN
    assert sorted(tables["right"]) == sorted(checkers.RIGHT), AGAIN
    functions = sys.modules["closeness"]
    assert list(tables["function"]) == [
        f"{name}, {precision}" for name in functions.FUNCTIONS for precision in functions.PRECISIONS
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "name"), [("wrong", "factor 1 + 1e-12"), ("wrong", "sign"), ("right", "mish")]
)
def test_its_entries_come_out_again(checkers: ModuleType, table: str, name: str) -> None:
    line = {"wrong": checkers.wrong_line, "right": checkers.right_line}[table](name)
    made = {checker: outcome.text for checker, outcome in line.outcomes.items()}
    assert made == checkers.documented()[table][name], AGAIN


def test_the_three_rows_tell_the_checkers_apart(checkers: ModuleType) -> None:
    """Else a table of nothing but 'passes' would agree with itself."""
    tables = checkers.documented()
    assert tables["wrong"]["factor 1 + 1e-12"] == {
        c: "error: wrong-derivative" if c == checkers.OURS else checkers.PASSES
        for c in checkers.CHECKERS
    }
    assert checkers.PASSES not in tables["wrong"]["sign"].values()
    assert set(tables["right"]["mish"].values()) == {checkers.PASSES}


def test_a_row_of_functions_comes_out_again(checkers: ModuleType) -> None:
    """And our own tolerance lets no mistake through in float32, and accuses no right code."""
    functions = sys.modules["closeness"]
    line = functions.closeness_line("softmax", "float32")
    made = {style: str(counts) for style, counts in line.items()}
    assert made == checkers.documented()["function"]["softmax, float32"], AGAIN
    for name, row in checkers.documented()["function"].items():
        through, accused = row[functions.OURS].split("; ")
        assert accused.startswith("0 of ")
        assert name.partition(", ")[2] != "float32" or through.startswith("0 of ")
