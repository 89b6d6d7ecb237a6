"""A function by its name: from a file, from a module, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.tools.load import LoadError, load, split, user_lines

FILE = str(Path(__file__).parent / "activation" / "under_test.py")


def test_from_a_file_once_and_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("value = 3\n")
    (tmp_path / "mine.py").write_text(
        "from beside_it import value\nclass Holder:\n    inner = value\n"
    )
    assert load("mine.py:Holder.inner", str(tmp_path)) == 3
    assert load(f"{tmp_path}/mine.py:Holder") is load("mine.py:Holder", str(tmp_path))
    assert load(f"{FILE}:silu").__name__ == "silu"


def test_from_a_module() -> None:
    assert load("math:tau") > 6
    with pytest.raises(LoadError, match="there is no module no_such_module"):
        load("no_such_module:f")
    with pytest.raises(LoadError, match="Did you mean 'sin'"):
        load("math:sine")


def test_what_a_file_raises_is_raised_and_it_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(x):\n    return x\n\n1 / 0\n")
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError) as e:
        load(f"{tmp_path}/broken.py:f")
    assert user_lines(e.value)[-1] == "broken.py:4 in <module>: 1 / 0"
    assert set(sys.modules) == before
    (tmp_path / "needs.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError):
        load(f"{tmp_path}/needs.py:f")


@pytest.mark.parametrize("spec", ["f", ":f", "my.py:", ""])
def test_what_is_no_name(spec: str) -> None:
    with pytest.raises(LoadError, match="expected FILE"):
        split(spec)
