"""The notebooks, run cell by cell; and what they say of anything that a student may write into a blank."""

# ruff: noqa: E501   a table

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast import fast
from handed_out import ALL, ALL_STEPPED, NAMES, STEPPED, shown, wide, worked

from conformance.commands.handout.checking import Check
from conformance.commands.handout.document import Wish, made
from conformance.commands.handout.example import read
from conformance.commands.handout.formats import rendered
from conformance.commands.handout.variants import variant
from conformance.commands.handout.vendored import cell
from conformance.judge.mistakes.table import FAULTS

BLANKS = Wish(blanks=True)


def code(notebook: str) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(notebook)["cells"] if c["cell_type"] == "code"]


class Right:
    """right["A[1]"]: the right answer, which a notebook itself does not have by name."""

    def __init__(self, check: Check) -> None:
        self.net = check.net

    def __getitem__(self, name: str) -> Any:
        letter, _, index = name.partition("[")
        q, l = letter.upper() if letter in "az" else letter, int(index[:-1] or 0) if index else 0
        M = self.net.right(q, l)
        return self.net.turned(M) if l else M.reshape(())


def run(
    notebook: str, answers: dict[str, str] | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """The code cells but the one that unpacks refbp, in a fresh namespace: what each check says, and what
    they leave."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    left = dict(answers or {})
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in code(notebook)[1:]:
            for variable in list(left):
                blank = f"{variable} = ...  # your line\n"
                if blank in source:
                    source = source.replace(blank, f"{variable} = {left.pop(variable)}\n")
            exec(source, names)
            if "check" in names:
                names["right"] = Right(names["check"])
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


@pytest.mark.parametrize("name", ["column", "log-column"])
def test_a_softmax_of_a_column_runs_and_is_right(name: str, tmp_path: Path) -> None:
    for wish in (Wish(), Wish(steps="backward")):
        h = made(wide(name, tmp_path), wish, ("refbp",))
        said, _ = run(rendered(h, "ipynb"))
        assert said == {s.variable: "as refbp computes it." for s in h.steps}


def test_a_variants_notebook_knows_its_own_numbers() -> None:
    """The right lines are right in each, and one student's numbers are wrong for another."""
    first, second = (variant(read("two-layers"), seed) for seed in (7, 8))
    of = made(first, Wish(), ("refbp",)).steps
    lines = {s.variable: s.code.partition(" = ")[2] for s in of if "\n" not in s.code}
    copied = {s.variable: repr(s.result.tolist()) for s in of if s.variable.startswith("a[")}
    for e in (first, second):
        notebook = rendered(made(e, BLANKS, ("refbp",)), "ipynb")
        said, _ = run(notebook, lines)
        assert {said[v] for v in lines} == {"as refbp computes it."}
        said, _ = run(notebook, copied)
        assert (said["a[1]"] == "as refbp computes it.") is (e is first)


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
        first, *rest = code(shown(name, "ipynb", BLANKS if name in STEPPED else Wish()))
        assert first == cell()
        for source in rest:
            found = re.findall(r"^(?:import|from) (\w+)", source, re.M)
            assert set(found) <= {"numpy", "refbp", "conformance"}


def fresh(folder: Path, notebook: str) -> subprocess.CompletedProcess[str]:
    """The notebook in a process that has NumPy, and no other package."""
    for name in ("numpy", "numpy.libs"):
        (folder / name).symlink_to(Path(np.__file__).parents[1] / name)
    (folder / "notebook.py").write_text("\n".join(code(notebook)), encoding="utf-8")
    command = [sys.executable, "-I", "-S", "-c", RUN.format(str(folder))]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


RUN = (
    "import sys; sys.path.insert(0, {0!r}); exec(open('notebook.py', encoding='utf-8').read()); "
    "import conformance; print(conformance.__file__, 'flint' in sys.modules, file=sys.stderr)"
)


@pytest.mark.parametrize("name", fast(STEPPED, "softmax"))
def test_a_notebook_runs_where_numpy_alone_is_installed(name: str, tmp_path: Path) -> None:
    done = fresh(tmp_path, shown(name, "ipynb"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": as refbp computes it.") == len(worked(name).steps)
    assert "refbp.zip/conformance/__init__.py False" in done.stderr


def test_a_module_that_is_not_carried_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conformance.commands.handout import vendored

    monkeypatch.setattr(vendored, "MODULES", vendored.MODULES[1:])
    done = fresh(tmp_path, rendered(worked("softmax"), "ipynb"))
    assert "No module named 'conformance.judge.mistakes.loop'" in done.stderr


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
    "step twice": ("W_new[1]", "W[1] - 2 * alpha * right['dW[1]']", "not what refbp computes: it looks like this: the step is twice as long."),
    "loss negated, rounded": ("loss", "-round(float(right['loss']), 6)", "not what refbp computes: its sign is the other one."),
    "rounded": ("Z[1]", "np.round(right['Z[1]'], 3)", "not what refbp computes: it is right to 3 digits alone, and was perhaps rounded too much on the way."),
    "sign": ("A[1]", f"-{A}", "not what refbp computes: its sign is the other one."),
    "some signs": ("A[1]", f"{A} * [[1, -1]]", "not what refbp computes: some signs are the other ones."),
    "times n": ("delta[2]", "right['delta[2]'] * n", "not what refbp computes: it looks like this: the 1/n of the loss is missing in its gradient."),
    "over n": ("dW[1]", "right['dW[1]'] / n", "not what refbp computes: it looks like this: the mean over the batch is taken; the loss's 1/n is in δ already, or: the weights' gradient is averaged over the batch, and the bias's is not."),
    "half": ("G[2]", "right['G[2]'] / 2", "not what refbp computes: it looks like this: the factor 2 of the squared error is missing."),
    "minus n": ("G[2]", "right['G[2]'] * -n", "not what refbp computes: it is n times as much as it is to be, and its sign is the other one."),
    "times alpha": ("dW[1]", "right['dW[1]'] * alpha", "not what refbp computes: it is alpha times as much as it is to be."),
    "a factor": ("dW[1]", "right['dW[1]'] * 1.7", "not what refbp computes: it is off by one and the same factor everywhere."),
    "no bias": ("A[1]", "X @ W[1]", "not what refbp computes: it looks like this: the bias is missing."),
    "no σ": ("Z[1]", "right['A[1]']", "not what refbp computes: it looks like this: σ is missing."),
    "another layer": ("dW[1]", "right['W_new[1]']", "not what refbp computes: these are the numbers of W_new[1]."),
    "order": ("A[1]", f"{A}[::-1]", "not what refbp computes: its numbers are right, and in another order."),
    "one entry": ("A[1]", f"{A} + [[0, 0], [0, 1], [0, 0]]", "not what refbp computes: 5 of its 6 numbers are right, and the one in row 2, column 2 is not."),
    "zeros": ("A[1]", "np.zeros((3, 2))", "not what refbp computes: it is 0 everywhere."),
    "no keepdims": ("db[1]", "right['delta[1]'].sum(axis=0)", "got a flat list of 2; expected 1×2 numbers, a row: [[1, 2]] and not [1, 2]; keepdims=True keeps the row of a sum."),
    "a mean": ("db[1]", "right['delta[1]'].mean(axis=0, keepdims=True)", "not what refbp computes: it looks like this: the mean over the batch is taken; the loss's 1/n is in δ already, or: the bias's gradient is averaged over the batch."),
    "loss in brackets": ("loss", "right['loss'].reshape(1, 1)", "as refbp computes it."),
    "loss rounded": ("loss", "round(float(right['loss']), 6)", "right, as far as 6 digits go."),
    "loss of two": ("loss", "[1, 2]", "got a flat list of 2; expected one number."),
    "loss by example": ("loss", "(Z[2] - Y) ** 2 if Z[2] is not ... else None", "got None (does a function of yours return something?); expected one number."),
    "loss, a sum": ("loss", "right['loss'] * n", "not what refbp computes: it looks like this: the loss is a sum over the batch; the notes take the mean."),
    "loss, anything": ("loss", "17", "not what refbp computes: look at the formula once more, factor by factor."),
    "loss before": ("loss_after", "right['loss']", "not what refbp computes: these are the numbers of loss."),
    "step up": ("W_new[1]", "W[1] + alpha * right['dW[1]']", "not what refbp computes: it looks like this: α ∂L/∂W is added, not subtracted."),
    "no step": ("b_new[1]", "b[1]", "not what refbp computes: it looks like this: no layer is updated: the new weights are the old ones."),
    "minus the bias": ("A[1]", "X @ W[1] - b[1]", "not what refbp computes: look at b[1] in it: its sign is the other one."),
    "near": ("A[2]", "right['A[2]'] * [[1.03], [0.97], [1.03]]", "not what refbp computes: it is near, and was perhaps rounded too much on the way."),
    "raises in NumPy": ("A[1]", "type('Odd', (), {'__array__': lambda s, *a, **k: 1 / 0})()", "got something of the type Odd; expected 3×2 numbers."),
}  # fmt: skip
COLUMN = {
    "flat": ("a[1]", "(W[1] @ z[0] + b[1]).ravel()", "got a flat list of 2; expected 2×1 numbers, a column: [[1], [2]] and not [1, 2]; keepdims=True keeps the column of a sum."),
    "a row": ("a[1]", "(W[1] @ z[0] + b[1]).T", "got 1×2; expected 2×1 numbers: it looks transposed."),
    "no bias": ("a[1]", "W[1] @ z[0]", "not what refbp computes: it looks like this: the bias is missing."),
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
    of = [names["right"][s.variable] for s in worked("two-layers-batch").steps]
    numbers = {f"{abs(x):.3g}" for M in of for x in np.ravel(M)} - {"1", "0"}
    for _, _, told in ROWS.values():
        assert not numbers & set(re.findall(r"\d+\.\d+", told))


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_no_answer_is_in_a_notebook_in_clear(name: str) -> None:
    """Neither the numbers, nor the lines, nor a name that has them."""
    notebook = shown(name, "ipynb", BLANKS)
    told = "\n".join("".join(c["source"]) for c in json.loads(notebook)["cells"][4:])
    assert not any(s.code in told for s in worked(name).steps if re.search(r"[@*(]", s.code))
    numbers = {x for s in worked(name).steps for x in re.findall(r"\d\.\d{5,}", str(s.result))}
    assert not any(x in told.partition("## Step 2a")[2] for x in numbers)


FORWARD = {
    "A[1]": A, "Z[1]": "sigma[1](A[1])", "A[2]": "Z[1] @ W[2] + b[2]", "Z[2]": "sigma[2](A[2])",
}  # fmt: skip
BACKWARD = {
    "G[2]": "2 * (Z[2] - Y) / n",
    "D[2]": "sigma[2].derivative(A[2])",
    "delta[2]": "G[2] * D[2]",
    "dW[2]": "Z[1].T @ delta[2]",
    "db[2]": "delta[2].sum(axis=0, keepdims=True)",
    "D[1]": "sigma[1].derivative(A[1])",
    "delta[1]": "(delta[2] @ W[2].T) * D[1]",
    "dW[1]": "X.T @ delta[1]",
    "db[1]": "delta[1].sum(axis=0, keepdims=True)",
}
WHOLE = {**FORWARD, **BACKWARD}
FOLLOWS = "right, given what it reads. {} is not right yet: mend it first."


@pytest.mark.parametrize(
    ("wrong", "line", "follow"),
    [
        ("A[1]", "X @ W[1]", [v for v in WHOLE if v not in ("A[1]", "D[2]")]),
        ("Z[1]", "A[1] / 2", [v for v in WHOLE if v not in ("A[1]", "Z[1]", "D[1]", "D[2]")]),
        ("G[2]", "2 * (Z[2] - Y)", ["delta[2]", "dW[2]", "db[2]", "delta[1]", "dW[1]", "db[1]"]),
        ("D[1]", "A[1] * (1 - A[1])", ["delta[1]", "dW[1]", "db[1]"]),
        ("dW[2]", "Z[1].T @ delta[2] * 7", []),
        ("db[1]", "delta[1]", []),
    ],
)  # fmt: skip
def test_a_line_is_judged_on_the_students_own_numbers(
    wrong: str, line: str, follow: list[str]
) -> None:
    """One wrong line: it alone is wrong. What reads it is right, and says so; nothing else hears of it.

    σ_2 is the identity, so that D[2] is 1 whatever it reads.
    """
    said, names = run(shown("two-layers-batch", "ipynb", BLANKS), {**WHOLE, wrong: line})
    assert said[wrong].startswith(("not what refbp computes: ", "got "))
    for v in set(WHOLE) - {wrong}:
        assert said[v] == (FOLLOWS.format(wrong) if v in follow else "as refbp computes it."), v
    assert {v for v, roots in names["check"].blamed.items() if roots == [v]} == {wrong}


def test_two_wrong_lines_are_told_apart() -> None:
    """The second on the numbers of the first, with a hint of its own."""
    lines = {**WHOLE, "A[1]": "X @ W[1]", "dW[2]": "-Z[1].T @ delta[2]"}
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    assert said["dW[2]"] == (
        "not what refbp computes from your numbers: it looks like this: the sign is turned around. "
        "A[1] is not right yet: mend it first."
    )


def test_judged_on_the_right_operands_what_follows_would_be_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Check, "own", lambda check, q, l: check.net.right(q, l))
    lines = {**WHOLE, "A[1]": "X @ W[1]"}
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    assert said["Z[2]"].startswith("not what refbp computes from your numbers: look at the formula")


def test_n_times_the_gradient_is_not_the_other_sign_of_a_step() -> None:
    """With α = 1 and n = 3, 3 ∂ℒ/∂W + 2(−α ∂ℒ/∂W) is the gradient: a hint that looked at the sum said so."""
    h = made(replace(read("two-layers-batch"), alpha=1.0), BLANKS, ("refbp",))
    said, _ = run(rendered(h, "ipynb"), {"dW[1]": "n * right['dW[1]']"})
    assert said["dW[1]"] == "not what refbp computes: it is n times as much as it is to be."


def test_a_missing_sum_is_called_one() -> None:
    lines = {
        "T[2]": "np.exp(right['A[2]'])",
        "loss": "right['Z[2]'] * Y",
        "db[1]": "right['delta[1]']",
    }
    said, _ = run(shown("softmax", "ipynb", BLANKS), lines)
    assert said["T[2]"].endswith("it is not summed over each row.")
    assert said["loss"].endswith("it is not summed over all its terms.")
    assert said["db[1]"].endswith("it is not summed over the examples.")


def test_a_sum_without_keepdims_is_summed() -> None:
    """With as many examples as units, a flat list has as many numbers as there are terms for one unit."""
    e = read("two-layers-batch")
    h = made(replace(e, X=e.X[:2], Y=e.Y[:2]), BLANKS, ("refbp",))
    lines = {
        "db[1]": "right['delta[1]'].sum(axis=0)",
        "db[2]": "right['delta[2]'].sum()",
    }
    said, _ = run(rendered(h, "ipynb"), lines)
    row = ", a row: [[1, 2]] and not [1, 2]; keepdims=True keeps the row of a sum."
    assert said["db[1]"] == "got a flat list of 2; expected 1×2 numbers" + row
    assert said["db[2]"] == "got one number; expected 1×1 numbers" + row


def test_what_reads_another_shape_is_not_blamed_for_it() -> None:
    """A row and a column are broadcast to a matrix: nothing is wrong with the order of a product there."""
    lines = {
        **WHOLE,
        "dW[2]": "delta[2].T @ Z[1]",
        "W_new[2]": "W[2] - alpha * dW[2]",
        "b_new[2]": "b[2] - alpha * db[2]",
        "loss_after": "((sigma[1](X @ W[1] + b[1]) @ W_new[2] + b_new[2] - Y) ** 2).sum() / n",
    }
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    first = " dW[2] is not right yet: mend it first."
    assert said["dW[2]"] == "got 1×2; expected 2×1 numbers: it looks transposed."
    assert said["W_new[2]"] == "got 2×2; expected 2×1 numbers." + first
    assert said["loss_after"] == "not what refbp computes." + first


PLANTED = {  # the line, the mistake, and the grader's row of it
    "weights-not-transposed": ("delta[2]", "(delta[3] @ W[3]) * D[2]"),
    "weights-of-this-layer": ("delta[2]", "(delta[3] @ W[2].T) * D[2]"),
    "derivative-missing": ("delta[1]", "delta[2] @ W[2].T"),
    "derivative-at-the-output": ("D[1]", "sigma[1].derivative(Z[1])"),
    "value-for-derivative": ("D[1]", "sigma[1](A[1])"),
    "gradient-from-A": ("dW[3]", "A[2].T @ delta[3]"),
    "gradient-from-the-next-delta": ("dW[2]", "Z[1].T @ delta[3]"),
    "bias-gradient-not-summed": ("db[1]", "delta[1][:1]"),
    "activation-twice": ("Z[1]", "sigma[1](sigma[1](A[1]))"),
    "sign-flipped": ("G[3]", "2 * (Y - Z[3]) / n"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_mistake_has_the_name_that_the_grader_gives_it(fault: str, tmp_path: Path) -> None:
    """After a wrong first line too, on the numbers that follow from it."""
    variable, line = PLANTED[fault]
    notebook = rendered(made(read(square(tmp_path)), BLANKS, ("refbp",)), "ipynb")
    lines = {
        s.variable: s.code.partition(" = ")[2] for s in made(read(square(tmp_path))).steps[:-1]
    }
    for first in ({}, {"A[1]": "X @ W[1]"}):
        said, _ = run(notebook, {**lines, **first, variable: line})
        assert FAULTS[fault].what in said[variable], said[variable]


def square(folder: Path) -> str:
    """Three layers of two units: all products have one shape, so that a wrong one runs."""
    layers = "".join(
        f'[[layers]]\nW = [[0.{k}, -0.5], [0.25, 0.{9 - k}]]\nb = [0.1, -0.{k}]\nactivation = "{a}"\n'
        for k, a in ((3, "tanh"), (6, "sigmoid"), (8, "softplus"))
    )
    head = (
        'title = "Square"\nconvention = "rows"\nloss = "mean_squared_error"\nalpha = 0.5\n'
        "X = [[1, 2], [0.5, -1], [-2, 1.5]]\nY = [[1, 0], [0, 1], [0.5, 0.5]]\n"
    )
    (folder / "square.toml").write_text(head + layers, encoding="utf-8")
    return str(folder / "square.toml")


def test_a_list_becomes_an_array_that_the_next_line_can_use() -> None:
    lines = {"A[1]": f"{A}.tolist()", "Z[1]": "1 / (1 + np.exp(-A[1]))"}
    said, _ = run(shown("two-layers-batch", "ipynb", BLANKS), lines)
    assert said["Z[1]"] == "as refbp computes it."


@pytest.mark.parametrize("digits", [2, 4, 6, 12])
def test_an_answer_by_hand_from_the_numbers_shown_is_right(digits: int) -> None:
    """Each step computed from what the handout shows, and written down as it shows it."""
    from conformance.commands.handout.numbers import shown as as_shown
    from conformance.commands.handout.passes import environment, numbers
    from conformance.commands.handout.recount import recomputed

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
    for digits in (2, 3, 6, 15):
        notebook = shown("two-layers-batch", "ipynb", Wish(digits, blanks=True))
        for wrong in ("1.5 * {}", "{} + 0.2", "-{}", "{}[::-1]", "np.zeros((3, 2))"):
            said, _ = run(notebook, {"A[1]": wrong.format(A)})
            assert said["A[1]"].startswith("not what refbp computes: ")
        said, _ = run(notebook, {"A[1]": f"{A} * (1 + 1e-13)"})
        assert said["A[1]"] == "as refbp computes it."


GARBAGE = (
    "None", "'x'", "np.nan", "np.inf", "1e308", "0", "[]", "[[1e200]]", "-1e-320", "{}", "np.ones((2, 2))",
    "np.ones((3, 2)) * 1e160", "np.zeros((1, 2))", "np.full((3, 1), 1e-300)", "W[1]", "lambda: 1", "10 ** 400",
)  # fmt: skip


@pytest.mark.parametrize("name", ["two-layers-batch", "softmax"])
def test_whatever_stands_in_the_blanks_nothing_is_raised(name: str) -> None:
    """Each in all of them, so that each line has it for its operands too."""
    variables = [s.variable for s in worked(name).steps]
    notebook = shown(name, "ipynb", BLANKS)
    for garbage in GARBAGE:
        said, _ = run(notebook, dict.fromkeys(variables, garbage))
        assert set(said) == set(variables)


def test_a_name_that_a_student_takes_for_himself_harms_no_check() -> None:
    """A and delta bound to something else, and W changed in place, between two checks."""
    _, names = run(
        shown("two-layers-batch", "ipynb", BLANKS), {"A[1]": A, "Z[1]": "sigma[1](A[1])"}
    )
    check = names["check"]
    names |= {"A": 3, "delta": None, "D": np.ones(2)}
    names["W"][1] *= 0
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        check("Z[1]", names["Z"][1])
        check("dW[1]", names["right"]["dW[1]"])
        check("dW[2]", names["right"]["dW[2]"] * 2)
    first, second, third = printed.getvalue().splitlines()
    assert first == "Z[1]: as refbp computes it."
    assert second == "dW[1]: as refbp computes it."
    assert third.startswith("dW[2]: not what refbp computes: it is 2 times as much")
