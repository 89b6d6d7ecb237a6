"""The notebooks, run cell by cell; and what they say of anything that a student may write into a blank."""

# ruff: noqa: E501   a table

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handed_out import ALL, ALL_STEPPED, NAMES, STEPPED, shown, worked

from conformance.commands.handout.checking import judged, leads, source
from conformance.commands.handout.document import Wish

BLANKS = Wish(blanks=True)


def code(notebook: str) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(notebook)["cells"] if c["cell_type"] == "code"]


def run(
    notebook: str, answers: dict[str, str] | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The code cells in order, in a fresh namespace: what each check says, and what they leave."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    left = dict(answers or {})
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in code(notebook):
            for variable in list(left):
                blank = f"{variable} = ...  # your line\n"
                if blank in cell:
                    cell = cell.replace(blank, f"{variable} = {left.pop(variable)}\n")
            exec(cell, names)
    assert not left
    lines = [line.partition(": ") for line in printed.getvalue().splitlines() if ": " in line]
    return {name: told for name, _, told in lines}, names


def test_a_notebook_is_whole() -> None:
    for name in NAMES:
        found = json.loads(shown(name, "ipynb"))
        assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
        assert len({c["id"] for c in found["cells"]}) == len(found["cells"])
        for c in found["cells"]:
            of_code = {"execution_count", "outputs"} if c["cell_type"] == "code" else set()
            assert set(c) == {"cell_type", "metadata", "source", "id"} | of_code


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_runs_and_agrees_with_refbp(name: str) -> None:
    """Every step of it, the last by another network."""
    said, names = run(shown(name, "ipynb"))
    of = worked(name).steps
    assert said == {s.variable: "as refbp computes it." for s in of}
    if of:
        assert abs(names["loss_after"] - float(of[-1].result[0, 0])) < 1e-14
        for s in of:
            np.testing.assert_allclose(
                names["right"][s.variable],
                s.result.reshape(np.shape(names["right"][s.variable])),
                rtol=1e-12,
                atol=1e-15,
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "wish",
    [BLANKS, Wish(steps="backward"), Wish(steps="forward"), Wish(6, "backward", True)],
    ids=str,
)
@pytest.mark.parametrize("name", ALL_STEPPED)
def test_notebooks_of_every_kind_run(name: str, wish: Wish) -> None:
    said, _ = run(shown(name, "ipynb", wish))
    assert set(said.values()) == {"not filled in yet." if wish.blanks else "as refbp computes it."}
    assert list(said) == [s.variable for s in worked(name, wish).steps]


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_the_right_lines_in_the_blanks_are_right(name: str) -> None:
    """The last of a step's lines is the one that assigns."""
    of = [s for s in worked(name).steps if "\n" not in s.code]
    lines = {s.variable: s.code.partition(" = ")[2] for s in of}
    said, _ = run(shown(name, "ipynb", BLANKS), lines)
    assert {said[v] for v in lines} == {"as refbp computes it."}


def test_a_notebook_needs_numpy_and_refbp_alone() -> None:
    for name in NAMES:
        for cell in code(shown(name, "ipynb", BLANKS if name in STEPPED else Wish())):
            tree = ast.parse(cell)
            found = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert all(isinstance(n, ast.Import) for n in found)
            assert {a.name for n in found for a in n.names} <= {"numpy", "refbp"}  # type: ignore[attr-defined]


def test_what_a_notebook_carries_is_the_checked_module() -> None:
    """Without its types, and with every function that it has."""
    assert "Any" not in source()
    assert "->" not in source()
    names: dict[str, Any] = {"np": np}
    exec(source(), names)
    right = {"a": np.array([[1.0, 2.0]]), "b": np.array([[3.0, 4.0]])}
    for got in (..., None, [[1, 2]], [[3.0, 4.0]], [[-1, -2]], "x", [[2, 4]], np.ones(2)):
        told = judged("a", got, right, 6, {}, {"2": 2})
        assert names["judged"]("a", got, right, 6, {}, {"2": 2})[:2] == told[:2]


# --- what a student may write -------------------------------------------------------------------------

A = "(X @ W[1] + b[1])"  # of two-layers-batch: three examples, two units
ROWS = {  # the blank, what is written there, and what is said of it
    "nothing": ("A[1]", "...", "not filled in yet."),
    "None": ("A[1]", "None", "got None (does a function of yours return something?); expected 3×2 numbers."),
    "a text": ("A[1]", "'x'", "got the text 'x'; expected 3×2 numbers."),
    "texts": ("A[1]", "[['1', '2'], ['3', '4'], ['5', '6']]", "got texts instead of numbers; expected 3×2 numbers."),
    "ragged": ("A[1]", "[[1, 2], [3]]", "got rows of different lengths; expected 3×2 numbers."),
    "a hole": ("A[1]", "[[1, 2], [3, ...], [5, 6]]", "got a list in which something is not filled in yet; expected 3×2 numbers."),
    "None inside": ("A[1]", "[[1, None]]", "got a list with None in it; expected 3×2 numbers."),
    "NaN": ("A[1]", f"{A} * [[1, np.nan]]", "got nan in row 1, column 2; expected finite numbers: a division by 0, or a logarithm of 0?"),
    "infinite": ("A[1]", f"{A} + [[0, 0], [np.inf, 0], [0, 0]]", "got inf in row 2, column 1; expected finite numbers: a division by 0, or a logarithm of 0?"),
    "complex": ("A[1]", f"1j * {A}", "got complex numbers; expected 3×2 numbers."),
    "a function": ("A[1]", "np.tanh", "got a function, which is not called; expected 3×2 numbers."),
    "a dict": ("A[1]", "{1: 2}", "got something of the type dict; expected 3×2 numbers."),
    "a set": ("A[1]", "{1, 2}", "got something of the type set; expected 3×2 numbers."),
    "dicts": ("A[1]", "[[{}, {}]]", "got something of the type dict, in a list; expected 3×2 numbers."),
    "a huge integer": ("A[1]", "[[10 ** 400, 1]]", "got something of the type int, in a list; expected 3×2 numbers."),
    "a number": ("A[1]", "3.5", "got one number; expected 3×2 numbers."),
    "true": ("A[1]", "True", "got one number; expected 3×2 numbers."),
    "flat": ("A[1]", f"{A}.ravel()", "got a flat list of 6; expected 3×2 numbers, in rows and not one after the other."),
    "short": ("A[1]", f"{A}[:, 0]", "got a flat list of 3; expected 3×2 numbers."),
    "three dimensions": ("A[1]", f"{A}[None]", "got 1×3×2; expected 3×2 numbers."),
    "empty": ("A[1]", "[]", "got a flat list of 0; expected 3×2 numbers."),
    "other shape": ("A[1]", "np.ones((2, 2))", "got 2×2; expected 3×2 numbers: look at the order of the product, and at what is transposed."),
    "transposed": ("A[1]", f"{A}.T", "got 2×3; expected 3×2 numbers: it looks transposed."),
    "transposed, wrong": ("A[1]", "np.ones((2, 3))", "got 2×3; expected 3×2 numbers: it looks transposed, and is not right yet."),
    "transposed, square": ("dW[1]", "right['dW[1]'].T", "not what refbp computes: it looks transposed."),
    "a list": ("A[1]", f"{A}.tolist()", "as refbp computes it."),
    "a tuple": ("A[1]", f"tuple(map(tuple, {A}))", "as refbp computes it."),
    "integers": ("A[1]", "np.array([[1, 2], [3, 4], [5, 6]])", "not what refbp computes: look at the formula once more, factor by factor."),
    "single precision": ("Z[1]", "right['Z[1]'].astype(np.float32)", "right, as far as 6 digits go."),
    "as shown": ("Z[1]", "np.round(right['Z[1]'], 6)", "right, as far as 6 digits go."),
    "last digit": ("Z[1]", "np.round(right['Z[1]'], 6) + 4e-6", "right, but for its last digits, as by a calculator."),
    "step without α": ("W_new[1]", "W[1] - right['dW[1]']", "not what refbp computes: look at alpha * dW[1] in it: it is to be alpha times as much."),
    "step twice": ("W_new[1]", "W[1] - 2 * alpha * right['dW[1]']", "not what refbp computes: look at alpha * dW[1] in it: it is 2 times as much as it is to be."),
    "loss negated, rounded": ("loss", "-round(float(right['loss']), 6)", "not what refbp computes: its sign is the other one."),
    "rounded": ("Z[1]", "np.round(right['Z[1]'], 3)", "not what refbp computes: it is right to 3 digits alone, and was rounded too much on the way."),
    "sign": ("A[1]", f"-{A}", "not what refbp computes: its sign is the other one."),
    "some signs": ("A[1]", f"{A} * [[1, -1]]", "not what refbp computes: some signs are the other ones."),
    "times n": ("delta[2]", "right['delta[2]'] * n", "not what refbp computes: it is n times as much as it is to be."),
    "over n": ("dW[1]", "right['dW[1]'] / n", "not what refbp computes: it is to be n times as much."),
    "half": ("G[2]", "right['G[2]'] / 2", "not what refbp computes: it is to be 2 times as much."),
    "minus n": ("G[2]", "right['G[2]'] * -n", "not what refbp computes: it is n times as much as it is to be, and its sign is the other one."),
    "times alpha": ("dW[1]", "right['dW[1]'] * alpha", "not what refbp computes: it is alpha times as much as it is to be."),
    "a factor": ("dW[1]", "right['dW[1]'] * 1.7", "not what refbp computes: it is off by one and the same factor everywhere."),
    "no bias": ("A[1]", "X @ W[1]", "not what refbp computes: it is what comes out without b[1]."),
    "no σ": ("Z[1]", "right['A[1]']", "not what refbp computes: these are the numbers of A[1]."),
    "another layer": ("dW[1]", "right['W_new[1]']", "not what refbp computes: these are the numbers of W_new[1]."),
    "order": ("A[1]", f"{A}[::-1]", "not what refbp computes: its numbers are right, and in another order."),
    "one entry": ("A[1]", f"{A} + [[0, 0], [0, 1], [0, 0]]", "not what refbp computes: 5 of its 6 numbers are right, and the one in row 2, column 2 is not."),
    "zeros": ("A[1]", "np.zeros((3, 2))", "not what refbp computes: it is 0 everywhere."),
    "no keepdims": ("db[1]", "right['delta[1]'].sum(axis=0)", "got a flat list of 2; expected 1×2 numbers, a row: [[1, 2]] and not [1, 2]; keepdims=True keeps the row of a sum."),
    "a mean": ("db[1]", "right['delta[1]'].mean(axis=0, keepdims=True)", "not what refbp computes: it is to be n times as much."),
    "loss in brackets": ("loss", "right['loss'].reshape(1, 1)", "as refbp computes it."),
    "loss rounded": ("loss", "round(float(right['loss']), 6)", "right, as far as 6 digits go."),
    "loss of two": ("loss", "[1, 2]", "got a flat list of 2; expected one number."),
    "loss by example": ("loss", "(Z[2] - Y) ** 2 if Z[2] is not ... else None", "got None (does a function of yours return something?); expected one number."),
    "loss, a sum": ("loss", "right['loss'] * n", "not what refbp computes: it is n times as much as it is to be."),
    "loss, anything": ("loss", "17", "not what refbp computes: look at the formula once more, factor by factor."),
    "loss before": ("loss_after", "right['loss']", "not what refbp computes: these are the numbers of loss."),
    "step up": ("W_new[1]", "W[1] + alpha * right['dW[1]']", "not what refbp computes: it is what comes out with the other sign of alpha * dW[1]."),
    "no step": ("b_new[1]", "b[1]", "not what refbp computes: it is what comes out without alpha * db[1]."),
    "minus the bias": ("A[1]", "X @ W[1] - b[1]", "not what refbp computes: it is what comes out with the other sign of b[1]."),
    "near": ("A[2]", "right['A[2]'] * [[1.03], [0.97], [1.03]]", "not what refbp computes: it is near, and was perhaps rounded too much on the way."),
    "raises in NumPy": ("A[1]", "type('Odd', (), {'__array__': lambda s, *a, **k: 1 / 0})()", "got something of the type Odd; expected 3×2 numbers."),
}  # fmt: skip
COLUMN = {
    "flat": ("a[1]", "(W[1] @ z[0] + b[1]).ravel()", "got a flat list of 2; expected 2×1 numbers, a column: [[1], [2]] and not [1, 2]; keepdims=True keeps the column of a sum."),
    "a row": ("a[1]", "(W[1] @ z[0] + b[1]).T", "got 1×2; expected 2×1 numbers: it looks transposed."),
    "no bias": ("a[1]", "W[1] @ z[0]", "not what refbp computes: it is what comes out without b[1]."),
    "a gradient transposed": ("dW[1]", "right['dW[1]'].T", "not what refbp computes: it looks transposed."),
    "broadcast": ("a[1]", "W[1] * z[0]", "got 2×2; expected 2×1 numbers: look at the order of the product, and at what is transposed."),
    "one number, doubled": ("a[2]", "right['a[2]'] * 2", "not what refbp computes: it is 2 times as much as it is to be."),
    "one number, anything": ("a[2]", "[[0.3]]", "not what refbp computes: look at the formula once more, factor by factor."),
}  # fmt: skip


@pytest.mark.parametrize("which", ROWS)
def test_an_answer_is_told_in_plain_words(which: str) -> None:
    variable, answer, told = ROWS[which]
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), {variable: answer})
    assert said[variable] == told
    assert said[variable].count(". ") <= 1


@pytest.mark.parametrize("which", COLUMN)
def test_an_answer_for_a_column_too(which: str) -> None:
    variable, answer, told = COLUMN[which]
    assert run(shown("two-layers", "ipynb", BLANKS), {variable: answer})[0][variable] == told


def test_the_documentation_counts_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "handouts.md").read_text(encoding="utf-8")
    assert f"| answers in a notebook | {len(ROWS) + len(COLUMN)}, each told" in page


def test_no_sentence_gives_the_number_away() -> None:
    """Of what is expected, only its shape is said; of what was got, only what is no number."""
    _, names = run(shown("two-layers-batch", "ipynb", BLANKS))
    numbers = {f"{abs(x):.3g}" for M in names["right"].values() for x in np.ravel(M)} - {"1", "0"}
    for _, _, told in ROWS.values():
        assert not numbers & set(re.findall(r"\d+\.\d+", told))


def test_what_goes_wrong_first_is_to_be_mended_first() -> None:
    """A line that is right but for an earlier one is not to be looked for a mistake in."""
    lines = {"A[1]": "X @ W[1]", "Z[1]": "sigma[1](A[1])", "A[2]": "Z[1] @ W[2] + b[2]"}
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    assert said["Z[1]"].endswith(". A[1] is not right yet: mend it first.")
    assert said["A[2]"].endswith(". A[1] is not right yet: mend it first.")
    said, names = run(shown("two-layers-batch", "ipynb", BLANKS), {**lines, "A[1]": A})
    assert {said[v] for v in lines} == {"as refbp computes it."}
    assert names["wrong"] == []


def test_a_list_becomes_an_array_that_the_next_line_can_use() -> None:
    lines = {"A[1]": f"{A}.tolist()", "Z[1]": "1 / (1 + np.exp(-A[1]))"}
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    assert said["Z[1]"] == "as refbp computes it."


@pytest.mark.parametrize("digits", [2, 4, 6, 12])
def test_an_answer_by_hand_from_the_numbers_shown_is_right(digits: int) -> None:
    """Each step computed from what the handout shows, and written down as it shows it."""
    from conformance.commands.handout.example import read
    from conformance.commands.handout.numbers import shown as as_shown
    from conformance.commands.handout.passes import environment, numbers
    from conformance.commands.handout.steps import recomputed

    for name in ("two-layers-batch", "softmax", "mazur"):
        e, wish = read(name), Wish(digits, blanks=True)
        round_ = np.vectorize(lambda x: float(as_shown(float(x), digits)), otypes=[float])
        seen = environment(e, {k: round_(M) for k, M in numbers(e).items()})
        lines = {s.variable: repr(round_(recomputed(s, seen)).tolist()) for s in worked(name).steps}
        lines |= {v: a.strip("[]") for v, a in lines.items() if v.startswith("loss")}
        said, _ = run(shown(name, "ipynb", wish), lines)
        right = [told.startswith(("as refbp", "right,")) for told in said.values()]
        near = ["rounded too much" in told for told in said.values()]
        assert all(a or b for a, b in zip(right, near, strict=True)) or digits == 2, (name, said)
        assert sum(right) >= len(said) * {2: 0.4, 4: 0.9, 6: 1, 12: 1}[digits], (name, said)


def test_a_wrong_answer_is_never_taken_for_a_right_one() -> None:
    """With two digits too: as far as they go is not farther."""
    right = {"a": np.array([[1.5, -0.25], [3.0, 0.0]])}
    for digits in (2, 3, 6, 15):
        for wrong in (
            1.5 * right["a"],
            right["a"] + 0.2,
            -right["a"],
            right["a"].T,
            np.zeros((2, 2)),
        ):
            assert judged("a", wrong, right, digits, {}, {"2": 2})[0] is False
        assert judged("b", 1.6, {"b": 1.5}, digits, {}, {})[0] is False
        assert judged("a", right["a"] * (1 + 1e-13), right, digits, {}, {})[0] is True


@pytest.mark.parametrize(
    ("first", "name", "does"),
    [
        ("A[1]", "Z[1]", True), ("delta[2]", "dW[1]", True), ("loss", "G[2]", False),
        ("db[2]", "delta[1]", False), ("db[2]", "b_new[2]", True), ("db[2]", "b_new[1]", False),
        ("dW[2]", "W_new[2]", True), ("dW[2]", "loss_after", True), ("W_new[2]", "b_new[1]", False),
        ("W_new[2]", "loss_after", True),
    ],
)  # fmt: skip
def test_an_earlier_line_is_to_be_mended_first_where_it_is_read(
    first: str, name: str, does: bool
) -> None:
    assert leads(first, name) is does
