"""Grading: points, hints that give nothing away, rubrics read strictly, and files that mean no good."""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fast import fast
from hostile import APART, HANGS, HOSTILE, RIGHT, SECONDS, UPDATE, in_backward, in_forward, with_
from jsonschema import Draft202012Validator

import conformance
from conformance.cases.profiles import cases
from conformance.commands.grading.formats import FORMATS
from conformance.commands.grading.grade import Grade, grade
from conformance.commands.grading.rubric import ALLOWABLE, Rubric, RubricError, read
from conformance.commands.grading.submission import MOST, File, SubmissionError, find, opened
from conformance.commands.main import main
from conformance.implementations import implementation
from conformance.implementations.student_process import FORBIDDEN
from conformance.tools.plain import without_sequences

ROOT = Path(conformance.__file__).parents[1]
QUICK = """
[cases]
ids = ["typical/tanh/L1/n7/float64", "typical/sigmoid/L2/n2/float64", "typical/tanh/L3/n7/float64"]
[limits]
seconds = 60
total_seconds = 600
memory_mib = 1024
[[tests]]
quantities = ["A"]
points = 1
[[tests]]
quantities = ["Z"]
points = 1
[[tests]]
quantities = ["delta"]
points = 1
[[tests]]
quantities = ["dW"]
points = 1
"""

SATURATING = "saturating/tanh>identity+mean_squared_error/L2/n7/float64"
SHORT = QUICK.replace("seconds = 60\n", f"seconds = {SECONDS}\n")  # for what never answers


def rubric(text: str = QUICK) -> Rubric:
    path = Path(os.environ["PYTEST_RUBRIC"])
    path.write_text(text, encoding="utf-8")
    return read(path)


@pytest.fixture(autouse=True)
def _a_place_for_rubrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_RUBRIC", str(tmp_path / "rubric.toml"))


def graded(source: str, text: str = QUICK, hints: str = "") -> Grade:
    return grade(File("student.py", source.encode(errors="surrogateescape")), rubric(text), hints)


def scores(g: Grade) -> list[float]:
    return [t["score"] for t in g["tests"]]


def said(g: Grade) -> str:
    """All that whoever handed it in is told."""
    found = FORMATS["gradescope"](g)
    return "\n".join(
        [json.loads(found)["output"], *(t["output"] for t in json.loads(found)["tests"])]
    )


def run(*args: Any) -> Result:
    return CliRunner().invoke(main, ["grade", *map(str, args)], prog_name="conformance")


def refused(*args: Any) -> str:
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("conformance: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("conformance: ").strip()


# --- points ---------------------------------------------------------------------------------------


def test_a_right_file_has_every_point_in_less_than_ten_seconds() -> None:
    begun = sum(os.times()[:4])  # of this process and of those that it waited for: not the clock
    g = grade(File("student.py", RIGHT.encode()), read())
    assert sum(os.times()[:4]) - begun < 10
    assert (g["score"], g["max_score"], g["mistakes"], g["notes"]) == (10, 10, [], [])
    assert all(t["passed"] for t in g["tests"])


MISTAKES = {
    # what is written instead: the points for A, Z, δ, ∂L/∂W of 1 each, and the first mistake
    "twice the gradient": (("Z[l].T @ delta[l]", "2 * Z[l].T @ delta[l]"), [1, 1, 1, 0], "∂L/∂W_1"),
    "σ' of Z": (("derivative(A[l])", "derivative(Z[l + 1])"), [1, 1, 1 / 2, 1], "δ_1"),
    "a wrong A": (("Z[-1] @ W_l)", "Z[-1] @ W_l + 1)"), [0, 1, 1, 1], "A_1"),
    "no σ in Z": (("Z.append(sigma_l(A[-1]))", "Z.append(A[-1].copy())"), [1, 0, 1, 1], "Z_1"),
    "no loss": (("loss.gradient(Z[-1], Y) *", "0 *"), [1, 1, 0, 0], "δ_1"),
    # of the 6 layers of networks of 1, 2 and 3 layers, δ_L is right in 3, and others are in 3
    "the other sign": (("loss.gradient", "-loss.gradient"), [1, 1, 1 / 2, 1], "δ_1"),
    "the other sign below": (("(delta[l + 1] @", "-(delta[l + 1] @"), [1, 1, 2 / 3, 1], "δ_1"),
    # runs where all widths are equal, where δ_L is right, and where Z_{l−1}ᵀ δ_l is
    "W_l for W_{l+1}": (("W[l + 1].T", "W[l].T"), [1, 1, 1 / 2, 1], "δ_1"),
    "no transpose": (("W[l + 1].T", "W[l + 1]"), [1, 1, 1 / 2, 1], "δ_1"),
    "dW transposed": (("Z[l].T @ delta[l]", "delta[l].T @ Z[l]"), [1, 1, 1, 0], "∂L/∂W_1"),
    "no transpose in dW": (("Z[l].T @", "Z[l] @"), [1, 1, 1, 0], "∂L/∂W_1"),
    "a short dW": (("range(L)]", "range(L - 1)]"), [1, 1, 1, 1 / 2], "∂L/∂W_1"),
    "a short dW, from 2 on": (("range(L)]", "range(1, L)]"), [1, 1, 1, 1 / 2], "∂L/∂W_1"),
    "no Z_0": (("return A, Z", "return A, Z[1:]"), [1, 6 / 9, 1, 1], "Z"),
    "exchanged": (("return A, Z", "return Z, A"), [6 / 9, 6 / 9, 1, 1], "A"),
    "backwards": (
        (
            "return delta, [Z[l].T @ delta[l] for l in range(L)]",
            "return delta[::-1], [Z[l].T @ delta[l] for l in range(L)][::-1]",
        ),
        [1, 1, 6 / 8, 6 / 8],
        "δ",
    ),
    "backwards, by layer": (  # a mapping says which is which
        (
            "return delta, [Z[l].T @ delta[l] for l in range(L)]",
            "return {l + 1: delta[l] for l in range(L)[::-1]}, [Z[l].T @ delta[l] for l in range(L)]",
        ),
        [1, 1, 1, 1],
        "",
    ),
    "from 1 on": (("return A, Z", "return [None, *A], Z"), [6 / 9, 1, 1, 1], "A"),
    "one A of another shape": (
        ("return A, Z", "return [A[0][0], *A[1:]], Z"),
        [1 / 2, 1, 1, 1],
        "A_1",
    ),
    "A is a number": (("return A, Z", "return 3, Z"), [0, 1, 1, 1], "A_1"),
    "a wrong size of another array": (  # all that is returned is right where it runs
        ("    L = len(W)", "    Y = Y + (A[0] @ W[0]) * 0\n    L = len(W)"),
        [1, 1, 1 / 2, 1 / 2],
        "δ",
    ),
    "raises with two layers or more": (
        ("    L = len(W)", "    L = len(W)\n    W[L - 1] if L == 1 else 1 / 0"),
        [1, 1, 1 / 6, 1 / 6],
        "δ",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_costs_once(name: str) -> None:
    change, points, first = MISTAKES[name]
    g = graded(with_(*change))
    assert scores(g) == pytest.approx(points, abs=0.01)
    assert [m["text"].startswith(f"{first} is ") for m in g["mistakes"][:1]] == [True] * bool(first)


@pytest.mark.parametrize(
    "below",
    [
        "np.where(A[l] > 0, delta[l + 1] @ W[l + 1].T, 0)",  # 0 where every A is negative
        "(delta[l + 1] * sigma[l + 1].derivative(A[l + 1])) @ W[l + 1].T",  # of relu, 1 where A > 0
        "(delta[l + 1] * sigma[l].derivative(A[l])) @ W[l + 1].T",
    ],
)
def test_what_a_mistake_looks_like_by_chance_is_not_told(below: str) -> None:
    source = with_("(delta[l + 1] @ W[l + 1].T) * sigma[l].derivative(A[l])", below)
    g = grade(File("student.py", ("import numpy as np\n" + source).encode()), read(), "what")
    m = g["mistakes"][0]
    assert [what.rpartition(", ")[2] for what in m["looks_like"]] == ["in no simple pattern"]


def test_what_was_never_computed_has_no_second_mistake() -> None:
    """The first example alone is nothing, with the first example once more."""
    g = graded(with_("Z[l].T @ delta[l] for", "Z[l][:1].T @ delta[l][:1] for"), hints="what")
    assert not any("never" in what or "twice" in what for what in g["mistakes"][0]["looks_like"])


@pytest.mark.parametrize(
    ("dW", "points"),
    [
        ("np.array([*dW, None], dtype=object)[:-1]", [1, 1, 1, 1]),  # as ragged arrays are made
        ("(M for M in dW)", [1, 1, 1, 0]),  # δ is there
    ],
)
def test_a_gradient_of_another_kind_is_no_other_pair(dW: str, points: list[float]) -> None:
    lines = "dW = [Z[l].T @ delta[l] for l in range(L)]\n    return delta, " + dW
    source = with_("return delta, [Z[l].T @ delta[l] for l in range(L)]", lines)
    assert scores(graded("import numpy as np\n" + source)) == points


PLAIN = """
def times(P, Q):
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*Q)] for row in P]

def forward_pass(W, X, sigma):
    A, Z = [], [[list(row) for row in X]]
    for W_l, sigma_l in zip(W, sigma):
        A.append(times(Z[-1], W_l))
        Z.append([list(row) for row in sigma_l(A[-1])])
    return A, Z

def by_element(P, Q):
    return [[x * y for x, y in zip(p, q)] for p, q in zip(P, Q)]

def backward_prop(W, A, Z, Y, sigma, loss):
    L = len(W)
    delta = [None] * L
    delta[-1] = by_element(loss.gradient(Z[-1], Y), sigma[-1].derivative(A[-1]))
    for l in reversed(range(L - 1)):
        back = times(delta[l + 1], [list(column) for column in zip(*W[l + 1])])
        delta[l] = by_element(back, sigma[l].derivative(A[l]))
    return delta, [times(list(zip(*Z[l])), delta[l]) for l in range(L)]

def update(W, dW, alpha):
    return [
        [[w - alpha * d for w, d in zip(p, q)] for p, q in zip(W_l, dW_l)] for W_l, dW_l in zip(W, dW)
    ]
"""


def test_what_numpy_takes_for_an_array_is_taken() -> None:
    asked = QUICK + '[[tests]]\nquantities = ["W_new"]\npoints = 1\n'
    assert scores(graded(PLAIN, asked)) == [1, 1, 1, 1, 1]
    lists = with_("return A, Z", "return [a.tolist() for a in A], [z.tolist() for z in Z]")
    assert scores(graded(lists)) == [1, 1, 1, 1]
    square = re.sub("(?s)ids = .*?\\n", 'ids = ["square/sigmoid/L3/n7/float64/w4-4"]\n', QUICK)
    stacked = with_(
        "[Z[l].T @ delta[l] for l in range(L)]", "np.stack([z.T @ d for z, d in zip(Z, delta)])"
    )
    assert scores(graded("import numpy as np\n" + stacked, square)) == [1, 1, 1, 1]


def test_an_output_that_the_loss_refuses_costs_the_output_alone() -> None:
    """Without σ_L a cross entropy gets what is no probability, and raises within backward_prop."""
    text = QUICK.replace("typical/tanh/L3/n7", "heads/tanh>sigmoid+binary_cross_entropy/L3/n7")
    change, _, _ = MISTAKES["no σ in Z"]
    g = graded(with_(*change), text)
    assert scores(g) == [1, 0, 1, 1]
    assert len(g["mistakes"]) == 1
    (told,) = g["remarks"]
    assert told.startswith("On your own A and Z backward_prop raised InputError: Z_L[0, 0] is ")
    assert told.endswith("It was given the right ones.")


def test_an_input_that_is_written_to_is_told_and_costs_nothing() -> None:
    asked = QUICK + '[[tests]]\nquantities = ["W_new"]\npoints = 1\n'
    in_place = RIGHT + (
        "\n\ndef update(W, dW, alpha):\n"
        "    for w, d in zip(W, dW):\n        w -= alpha * d\n    return W\n"
    )
    g = graded(in_place, asked)
    assert scores(g) == [1, 1, 1, 1, 1]
    assert g["remarks"] == [
        "update wrote to its input: W_1 is not what it was given. Work on new arrays (or copies). It "
        "costs no points."
    ]
    assert "update wrote to its input" in said(g)


def test_end_to_end_it_costs_what_follows_from_it() -> None:
    change, _, _ = MISTAKES["a wrong A"]
    assert scores(graded(with_(*change), 'gate = "end-to-end"\n' + QUICK)) == [0, 0, 0, 0]


def test_a_test_may_have_its_own_gate_networks_and_all_or_nothing() -> None:
    change, _, _ = MISTAKES["σ' of Z"]
    g = graded(with_(*change), QUICK + '''
[[tests]]
name = "end to end"
quantities = ["dW", "A"]
points = 6
gate = "end-to-end"
[[tests]]
name = "all of it"
quantities = ["delta"]
points = 5
all_or_nothing = true
[[tests]]
name = "shallow"
quantities = ["delta"]
points = 5
cases = { profile = "standard", select = "family=typical,depth=1,dtype=float64,activation=gelu" }
''')  # fmt: skip
    _, _, _, _, end, whole, shallow = g["tests"]
    assert (end["score"], end["right"]) == (4.5, {"dW": [3, 6], "A": [6, 6]})
    assert (whole["score"], whole["right"]) == (0, {"delta": [3, 6]})
    assert (shallow["score"], shallow["networks"]) == (5, 4)


def test_without_delta_the_gradient_is_judged_end_to_end() -> None:
    only = with_("return delta, [Z[l].T", "return [Z[l].T")
    g = graded(only)
    assert scores(g) == [1, 1, 0, 1]
    assert "δ is missing" in said(g)
    assert "backward_prop did not return it" in said(g)
    g = graded(only.replace("Z[l].T @ delta[l]", "2 * Z[l].T @ delta[l]"))
    assert scores(g) == [1, 1, 0, 0]
    assert "judged from the inputs on" in said(g)


def test_zeros_are_no_gradient() -> None:
    zeros = with_("    return delta, [Z[l].T @ delta[l] for l in range(L)]",
                   "    return [0 * d for d in delta], [0 * w for w in W]")  # fmt: skip
    assert scores(graded(zeros)) == [1, 1, 0, 0]
    zeros = with_("Z[-1] @ W_l", "0 * (Z[-1] @ W_l)")
    assert scores(graded(zeros))[0] == 0


NO_WORK = """
import numpy as np
def like(x, M):
    return np.full(M.shape, x)
def forward_pass(W, X, sigma):
    A = [like(ALL, X[:, :1] + w[:1]) for w in W]
    return A, [X, *(s(a) if OUT is None else like(OUT, a) for s, a in zip(sigma, A))]
def backward_prop(W, A, Z, Y, sigma, loss):
    return [like(DELTA, a) for a in A], [like(0.0, w) for w in W]
"""


@pytest.mark.parametrize(
    ("a", "z", "delta", "worth"),
    [
        ("0.0", "5e-324", "5e-324", 0),  # every product of the smallest number is rounded to 0
        ("1.0", "0.0", "1.0", 0),  # Z of 0 makes every ∂L/∂W 0
        ("-1e4", "None", "0.0", 1),  # so does σ' of 0 every δ; to apply σ is work
    ],
)
def test_what_makes_every_step_zero_earns_nothing(a: str, z: str, delta: str, worth: int) -> None:
    source = NO_WORK.replace("ALL", a).replace("OUT", z).replace("DELTA", delta)
    assert scores(graded(source)) == [0, worth, 0, 0]


def test_a_step_that_loses_digits_counts_as_right_and_says_so() -> None:
    """1 − z² for tanh': no mistake, and not silent."""
    line = "sigma[l].derivative(A[l])"
    assert RIGHT.count(line) == 1
    text = QUICK.replace("typical/sigmoid/L2/n2/float64", SATURATING)
    g = graded(RIGHT.replace(line, f"({line} if l else 1 - Z[1] ** 2)"), text)
    assert g["score"] == g["max_score"]
    (said,) = g["remarks"]
    assert said.startswith("δ loses digits; it counts as right. Stable: 1 - z*z while |a| is small")
    assert said in FORMATS["text"](g).replace("\n", " ")
    assert graded(RIGHT, text)["remarks"] == []


def test_the_update_where_it_is_asked_for() -> None:
    asked = QUICK + '[[tests]]\nquantities = ["W_new"]\npoints = 1\n'
    assert scores(graded(RIGHT + UPDATE, asked)) == [1, 1, 1, 1, 1]
    change, _, _ = MISTAKES["twice the gradient"]
    assert scores(graded(with_(*change) + UPDATE, asked)) == [1, 1, 1, 0, 1]
    g = graded(RIGHT + UPDATE.replace("w - alpha", "w + alpha"), asked)
    assert scores(g) == [1, 1, 1, 1, 0]
    assert "new W_1 is wrong" in said(g)
    g = graded(RIGHT, asked)
    assert scores(g) == [1, 1, 1, 1, 0]
    assert "the file does not define update(W, dW, alpha)" in said(g)
    loops = RIGHT + "\n\ndef update(W, dW, alpha):\n    while True: pass\n"
    asked = asked.replace("seconds = 60\n", f"seconds = {SECONDS}\n")
    assert scores(graded(loops, asked)) == [1, 1, 1, 1, 0]
    assert scores(graded(loops)) == [1, 1, 1, 1]  # it is not called


@pytest.mark.parametrize(
    "forward",
    ["raise ValueError('no')", "return None", "return [X], [X]", "import os; os._exit(3)",
     "return [w * float('nan') for w in W], [X]", "while True: pass"],
)  # fmt: skip
def test_where_forward_pass_fails_backward_prop_is_given_the_right_numbers(forward: str) -> None:
    g = graded(in_forward(forward), SHORT if forward.startswith("while") else QUICK)
    assert scores(g) == [0, 0, 1, 1]
    on = "in the network of 1 layer of widths 4-3, σ is tanh"
    assert re.search(f"A(_1)? is missing(, or of another shape,)? {on}", said(g))


@pytest.mark.slow
def test_the_numbers_handed_over_are_those_that_it_is_judged_on() -> None:
    every = '[cases]\nprofile = "standard"\nselect = "dtype=float64,batch=7"\n'
    text = every + '[[tests]]\nquantities = ["delta", "dW"]\npoints = 1\n'
    g = graded(in_forward("raise ValueError"), text)
    assert (g["score"], g["tests"][0]["networks"] > 150) == (1, True)


def test_row_wise_sigmas_are_left_out_unless_wanted() -> None:
    of = '[[tests]]\nquantities = ["A"]\npoints = 1\n[cases]\nprofile = "standard"\n'
    some = 'select = "family=heads,dtype=float64"\n'
    without, all_of = rubric(of + some), rubric(of + some + "row_wise = true\n")
    assert 0 < len(without.tests[0].cases) < len(all_of.tests[0].cases)
    g = graded(RIGHT, of + some + "row_wise = true\n")
    assert 0 < g["score"] < 1
    assert "softmax is not elementwise: only a file that says ROW_WISE = True" in said(g)


# --- hints ----------------------------------------------------------------------------------------


def everything_expected() -> set[str]:
    """The exact numbers of the networks, as a message would print them."""
    found = set()
    for name in ("typical/tanh/L1/n7/float64", "typical/sigmoid/L2/n2/float64"):
        case = next(c for c in cases("standard") if c.id == name)
        t = implementation("refbp").run(case.problem())
        for q in ("A", "Z", "delta", "dW"):
            for M in t.layers(q).values():
                found |= {f"{abs(x):.5g}" for x in M.ravel()} | {f"{x:.4f}" for x in M.ravel()}
    return {x for x in found if len(x) > 4}


OF_NUMBERS = ["twice the gradient", "σ' of Z", "a wrong A", "no σ in Z", "no loss"]
"""Mistakes in which every array has its form: of another form it is said which was expected."""


@pytest.mark.parametrize("hints", ["none", "where", "what"])
@pytest.mark.parametrize("name", fast(MISTAKES, *OF_NUMBERS))
def test_no_hint_gives_a_number_or_a_formula_away(name: str, hints: str) -> None:
    change, _, first = MISTAKES[name]
    g = graded(with_(*change), hints=hints)
    for form in FORMATS.values():
        text = form(g)
        assert not any(x in text for x in everything_expected())
        if name in OF_NUMBERS:
            assert "expected" not in text
            assert (first in text) == (hints != "none")
    assert hints == "what" or all(not m["looks_like"] for t in g["tests"] for m in t["mistakes"])


def test_without_hints_there_are_points_alone() -> None:
    g = graded(
        in_backward("print('secret'); raise ValueError('mine')"),
        hints="none",
    )
    assert said(g) == "\n" + "\n".join(
        ["6 of 6 layers are right, in 3 networks."] * 2
        + ["0 of 6 layers are right, in 3 networks."] * 2
    )
    assert "mine" not in FORMATS["json"](g)
    assert "secret" not in FORMATS["json"](g)
    assert "cannot be imported: ZeroDivisionError" in said(graded("1 / 0", hints="none"))


def test_what_a_mistake_looks_like_is_told_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conformance.judge.mistakes import diagnosis

    change, _, _ = MISTAKES["twice the gradient"]
    g = graded(with_(*change), hints="what")
    assert "It looks like this: it is 2 times what it should be" in said(g)
    change, _, _ = MISTAKES["σ' of Z"]
    told = said(graded(with_(*change), hints="what"))
    assert "the derivative is taken at the output instead of the pre-activation.\n" in told
    assert "⊙" not in told
    assert "looks like" not in said(graded(with_(*change)))
    monkeypatch.setattr(diagnosis, "diagnosis", lambda *a: 1 / 0)
    assert scores(graded(with_(*change), hints="what")) == [1, 1, 0.5, 1]


TWO = {  # two mistakes at once, and what each looks like
    "in one step": (
        [("W[l + 1].T", "W[l].T"), ("sigma[l].derivative(A[l])", "sigma[l].derivative(Z[l + 1])")],
        ["W_l is used where W_{l+1} belongs", "the derivative is taken at the output"],
    ),
    "in one quantity": (
        [("loss.gradient", "-loss.gradient"), ("* sigma[l].derivative(A[l])", "")],
        ["the sign is the other one", "σ' is missing"],
    ),
    "one that is not known": (
        [
            ("loss.gradient", "-loss.gradient"),
            ("(delta[l + 1] @ W[l + 1].T)", "1.37 * (delta[l + 1] @ W[l + 1].T)"),
        ],
        ["the sign is the other one", "it is 1.37 times what it should be"],
    ),
    "in two quantities": (
        [("W[l + 1].T", "W[l].T"), ("Z[l].T @ delta[l]", "-Z[l].T @ delta[l]")],
        ["W_l is used where W_{l+1} belongs", "the sign is turned around"],
    ),
    "in both procedures": (
        [
            ("Z.append(sigma_l(A[-1]))", "Z.append(A[-1])"),
            ("Z[l].T @ delta[l]", "delta[l].T @ Z[l]"),
        ],
        ["σ is missing", "it is transposed"],
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_two_mistakes_are_both_told(name: str) -> None:
    changes, whats = TWO[name]
    source = RIGHT
    for old, new in changes:
        assert source.count(old) == 1
        source = source.replace(old, new)
    g = graded(source, hints="what")
    for text in (FORMATS["text"](g).replace("\n", " "), said(g)):
        assert all(f"It looks like this: {what}" in text for what in whats)


def test_after_a_crash_the_hint_is_that_of_the_first_network_that_runs() -> None:
    g = graded(with_("W[l + 1].T", "W[l].T"), hints="what")
    (m,) = g["mistakes"]
    assert (m["quantity"], m["layer"], m["network"].split(",")[0]) == (
        "delta", 1, "2 layers of widths 4-4-4"
    )  # fmt: skip
    assert m["looks_like"] == ["W_l is used where W_{l+1} belongs (as the notes print it)"]
    assert "With other widths backward_prop raised ValueError: matmul" in m["text"]
    assert "(line 19: delta[l] = (delta[l + 1] @ W[l].T)" in m["text"]


def test_the_first_mistake_is_that_of_the_smallest_network() -> None:
    deep = with_(
        "    return A, Z", "    return A, Z if len(W) < 3 else [X] + [z + 1 for z in Z[1:]]"
    )
    (m,) = graded(deep)["mistakes"]
    assert (m["quantity"], m["layer"], m["gate"]) == ("Z", 1, "step")
    assert m["text"] == (
        "Z_1 is wrong in the network of 3 layers of widths 4-3-4-3, σ is tanh, mean_squared_error, a "
        "batch of 7. It was judged on your own values of what it is computed from: this step is wrong."
    )


def test_nothing_of_a_hidden_test_is_in_what_is_shown() -> None:
    hidden = QUICK.replace("points = 1", 'points = 1\nvisibility = "hidden"')
    shown = hidden + '''
[[tests]]
name = "shown"
quantities = ["A"]
points = 1
cases = { ids = ["typical/relu/L1/n1/float64"] }
'''  # fmt: skip
    noisy = "print('saw', X.shape)\nif len(X) > 1: raise ValueError('bigger')"
    found = json.loads(FORMATS["gradescope"](graded(in_forward(noisy), shown)))
    assert [t["visibility"] for t in found["tests"]] == ["hidden"] * 4 + ["visible"]
    assert "bigger" not in found["output"]
    assert "saw (1, 4)" in found["output"]
    assert "saw (7, 4)" not in found["output"]
    assert "Every step that is shown is right." in found["output"]


# --- formats --------------------------------------------------------------------------------------

TEXT_FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
GRADESCOPE = {  # https://gradescope-autograders.readthedocs.io/en/latest/specs/
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number"},
        "output": {"type": "string"},
        "output_format": TEXT_FORMAT,
        "test_output_format": TEXT_FORMAT,
        "test_name_format": TEXT_FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "score": {"type": "number"},
                    "max_score": {"type": "number"},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": TEXT_FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": TEXT_FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
}


@pytest.mark.parametrize("source", [RIGHT, "1 / 0", in_backward("return 3")])
def test_results_json_is_as_gradescope_documents_it(source: str) -> None:
    g = graded(source)
    found = json.loads(FORMATS["gradescope"](g))
    Draft202012Validator(GRADESCOPE).validate(found)
    assert "score" not in found  # it is the sum of those of the tests
    assert sum(t["score"] for t in found["tests"]) == g["score"]
    assert {t["output_format"] for t in found["tests"]} == {found["output_format"]} == {"text"}
    assert found["stdout_visibility"] == "hidden"
    assert found["extra_data"]["isolation"].startswith("a process of its own, as ")


def test_text_is_one_screen(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(with_(*MISTAKES["σ' of Z"][0]))
    done = run(file)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Forward and backward propagation: mine.py"
    assert lines[2].split() == [
        "A_l,",
        "the",
        "pre-activations",
        *["2.00", "of", "2", "23", "of", "23", "layers", "are", "right,", "in", "10", "networks."],
    ]
    assert lines[6].split() == ["8.43", "of", "10"]
    assert lines[8].startswith(
        "The first mistake: δ_1 is wrong in the network of 2 layers of widths 4-3-4"
    )
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100


def test_the_command_writes_a_file_and_says_so(tmp_path: Path) -> None:
    file, output = tmp_path / "s.py", tmp_path / "out.json"
    file.write_text(RIGHT)
    done = run(file, "--format", "json", "--output", output, "--rubric", rubric_file())
    assert (done.exit_code, done.stdout) == (0, f"grade: {output}\n")
    found = json.loads(output.read_text())
    assert found["schema_version"] == 2
    assert set(found) == set(Grade.__annotations__)
    assert found["networks"][0]["right"] == {"A": True, "Z": True, "delta": True, "dW": True}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "rubric.toml", "s.py"]
    assert run(file, "--rubric", rubric_file(), "--hints", "none").exit_code == 0


def rubric_file() -> Path:
    rubric()
    return Path(os.environ["PYTEST_RUBRIC"])


def test_what_the_command_refuses(tmp_path: Path) -> None:
    file = tmp_path / "s.py"
    file.write_text(RIGHT)
    assert refused(tmp_path / "no.py").startswith(f"cannot read {tmp_path}/no.py: No such file")
    assert refused() == "there is nothing to grade: expected STUDENT.py, or --package DIR."
    assert "no folder" in refused(file, "--output", tmp_path / "no" / "x.json")
    assert "one of the files that are read" in refused(file, "--output", file)
    assert refused(file, "--rubric", tmp_path / "no.toml").startswith(
        f"cannot read {tmp_path}/no.toml"
    )
    assert "nothing else" in refused(file, "--package", tmp_path / "p")
    assert run(file, "--format", "xml").exit_code == 2
    assert run(file, "--hints", "all").exit_code == 2


def test_a_folder_is_a_submission(tmp_path: Path) -> None:
    folder = tmp_path / "submission"
    (folder / "a").mkdir(parents=True)
    for text, where in (
        ("There is no file student.py in what was handed in (there is a)", None),
        ("10.00 of 10", folder / "a" / "student.py"),
        ("There are 2 files student.py: a/student.py, student.py.", folder / "student.py"),
    ):
        if where:
            where.write_text(RIGHT)
        done = run(folder)
        assert done.exit_code == 0
        assert text in done.stdout
    (folder / "student.py").unlink()
    (folder / "a" / "student.py").unlink()
    (folder / "student.py").symlink_to("/etc/passwd")
    with pytest.raises(SubmissionError, match="is a link"):
        find(folder, "student.py")
    (folder / "big.py").write_bytes(b"#" * (MOST + 1))
    with pytest.raises(SubmissionError, match="more than 1,048,576 bytes"):
        opened(folder / "big.py")


# --- rubrics --------------------------------------------------------------------------------------

ONE = '[[tests]]\nname = "a"\nquantities = ["A"]\npoints = 1\n'
B = ONE.replace('"a"', '"b"')
BAD = [  # the rubric, and what is said of it: the line, the field, what was expected
    ("", ", line 1: tests is missing; expected it here."),
    ('titel = "x"\n' + ONE, ", line 1: titel is an unknown field 'titel'. Did you mean 'title'?"),
    ("title = 3\n" + ONE, ", line 1: title is 3; expected a text in quotes."),
    ('file = "../x.py"\n' + ONE, ", line 1: file is '../x.py'; expected the name of a file"),
    ('gate = "stepp"\n' + ONE, ", line 1: gate is an unknown gate 'stepp'. Did you mean 'step'?"),
    (
        'allow = ["torc"]\n' + ONE,
        ", line 1: allow is an unknown import 'torc'. Did you mean 'torch'?",
    ),
    ('allow = ["refbp"]\n' + ONE, ", line 1: allow is an unknown import 'refbp'."),
    ("limits = 3\n" + ONE, ", line 1: limits is 3; expected a table of fields."),
    ("tests = 3\n", ", line 1: tests is no list of tables; expected one [[tests]] at least."),
    (
        ONE + B.replace("A", "Az"),
        ", line 7: tests[2].quantities is an unknown quantity 'Az'. Did you",
    ),
    (ONE + ONE, ", line 6: tests[2].name is 'a' again; expected another."),
    (ONE.replace("1", "-1"), ", line 4: tests[1].points is -1; expected a number from 0 to 1e+06."),
    (ONE.replace("1", "true"), ", line 4: tests[1].points is true; expected a number"),
    (ONE.replace("1", "nan"), ", line 4: tests[1].points is nan; expected a number"),
    (ONE.replace("1", "0"), ", line 1: tests have no points together; expected more than 0."),
    (ONE.replace("points = 1", ""), ", line 1: tests[1].points is missing; expected it here."),
    (
        ONE.replace('["A"]', "[]"),
        ", line 3: tests[1].quantities is []; expected a list in brackets",
    ),
    (
        ONE.replace('"A"', '"A", "A"'),
        ", line 3: tests[1].quantities is ['A', 'A']; expected each of",
    ),
    (
        ONE + 'visibility = "hiden"',
        ", line 5: tests[1].visibility is an unknown visibility 'hiden'. Did",
    ),
    (ONE + "all_or_nothing = 1", ", line 5: tests[1].all_or_nothing is 1; expected true or false."),
    (ONE + "cases = 3", ", line 5: tests[1].cases is 3; expected a table of fields."),
    (
        ONE + 'cases = { profile = "quik" }',
        ", line 5: tests[1].cases.profile chooses nothing: unknown",
    ),
    (
        ONE + 'cases = { select = "depht=1" }',
        ", line 5: tests[1].cases.select chooses nothing: unknown",
    ),
    (
        ONE + 'cases = { select = "depth=1", ids = ["x"] }',
        ", line 5: tests[1].cases.ids stands beside profile",
    ),
    (
        ONE + '[cases]\nids = ["typical/tanh/L1/n7/float46"]',
        ", line 6: cases.ids has an unknown case 't",
    ),
    (
        ONE + '[cases]\nprofile = "standard"\nselect = "output=softmax"',
        ", line 7: cases.select leaves no network: σ of all of them is row-wise",
    ),
    (ONE + "[limits]\nseconds = 0", ", line 6: limits.seconds is 0; expected a number from 0.1 to"),
    (
        ONE + "[limits]\n\nmemory_mib = 1024.5",
        ", line 7: limits.memory_mib is 1024.5; expected a whole",
    ),
    (
        '[[tests]]\nname = """\npoints = 3\n"""\nquantities = ["A"]\npoints = "x"',
        ", line 6: tests[1].points is 'x'; expected a number",
    ),
    (ONE + "[limits]\nsecond = 3", ", line 6: limits.second is an unknown field 'second'. Did you"),
    (
        ONE + '[hints]\ndefault = "were"',
        ", line 6: hints.default is an unknown kind of hint 'were'. Did",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_rubric_that_cannot_be_read_says_where_and_why(text: str, message: str) -> None:
    path = Path(os.environ["PYTEST_RUBRIC"])
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RubricError) as e:
        read(path)
    assert str(e.value).startswith(f"{path}{message}")
    assert "\n" not in str(e.value)


def test_a_rubric_that_is_no_toml_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    for data, message in (
        (b"x = [", f"{path}, line 1: x has no value; expected a number, a text in quotes, true"),
        (
            b"x = 5\nx = 6",
            f"{path}, line 2: x stands a second time, after line 1; expected it once",
        ),
        (b"x = " + b"1" * 10**6, f"{path}, line 1: x has a number of 1,000,000 digits; expected"),
        (b"\xff", f"cannot read {path}: it is not UTF-8 text"),
    ):
        path.write_bytes(data)
        with pytest.raises(RubricError) as e:
            read(path)
        assert str(e.value).startswith(message)


def test_a_process_that_this_machine_does_not_start_costs_no_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no grade, and not one of nothing."""

    def busy(*args: Any, **more: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    path = tmp_path / "student.py"
    path.write_text(RIGHT)
    monkeypatch.setattr("conformance.tools.child.subprocess.Popen", busy)
    said = refused(path, "--output", tmp_path / "grade.json")
    assert said.endswith("could be started: Resource temporarily unavailable.") or said == (
        "student.py: it could not be started: Resource temporarily unavailable."
    )
    assert not (tmp_path / "grade.json").exists()


def test_the_rubrics_that_come_along() -> None:
    default, example = read(), read(ROOT / "examples" / "rubric.toml")
    assert default.points == 10
    assert example.points == 100
    chosen = default.tests[0].cases
    assert {c.depth for c in chosen} == {1, 2, 3}
    assert {c.batch for c in chosen} == {1, 2, 7}
    assert {c.dtype for c in chosen} == {"float64"}
    assert len({c.activation for c in chosen}) >= 5
    assert any(len(set(c.widths)) == 1 for c in chosen)
    assert any(len(set(c.widths)) > 1 for c in chosen)
    assert {t.visibility for t in example.tests} >= {"visible", "hidden"}
    assert grade(File("student.py", (RIGHT + UPDATE).encode()), example)["score"] == 100


def test_what_may_be_allowed_is_what_is_refused() -> None:
    assert set(ALLOWABLE) - {"matplotlib", "pandas", "scipy"} == {*FORBIDDEN} - {
        "refbp",
        "conformance",
    }


def test_what_is_allowed_may_be_imported() -> None:
    uses = "import tinygrad\n" + RIGHT
    assert scores(graded(uses)) == [0, 0, 0, 0]
    assert scores(graded(uses, 'allow = ["tinygrad"]\n' + QUICK)) == [1, 1, 1, 1]


def test_what_is_allowed_and_not_installed_costs_no_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "student.py").write_text("import tinygrad\n" + RIGHT)
    (tmp_path / "r.toml").write_text('allow = ["tinygrad"]\n' + QUICK)
    monkeypatch.setitem(sys.modules, "tinygrad", None)
    assert refused(tmp_path / "student.py", "--rubric", tmp_path / "r.toml") == (
        "the rubric allows tinygrad, which is not installed here: pip install tinygrad."
    )


# --- files that mean no good ----------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_means_no_good_gets_a_grade_and_an_explanation(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, points, explained = HOSTILE[name]
    if name == "loops when imported":
        monkeypatch.setattr("conformance.commands.grading.asking.STARTING", 1)
    g = graded(source, SHORT if name in HANGS else QUICK)
    assert scores(g) == points
    assert explained in said(g)
    for form, write in FORMATS.items():
        text = write(g)
        assert len(text) < 30_000, form
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert all(json.loads(FORMATS[f](g)) for f in ("json", "gradescope"))


def test_the_time_of_all_networks_together_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where starting takes 100 s by the clock, and so does each network."""
    clock = SimpleNamespace(monotonic=itertools.count(0, 100).__next__)
    monkeypatch.setattr("conformance.commands.grading.asking.time", clock)
    g = graded(RIGHT, QUICK.replace("total_seconds = 600", "total_seconds = 250"))
    assert [sum(n["right"].values()) for n in g["networks"]] == [4, 4, 0]
    assert "the 250 s for all networks were used up before there was an answer" in said(g)


def test_nothing_of_the_environment_is_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    told = said(
        graded("import os; raise ValueError(f'{sorted(os.environ.items())}, {os.getcwd()}')")
    )
    assert "SECRET" not in told
    assert "hunter2" not in told
    assert "HOME" in told
    assert "/graded-" in told


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    reachable(tmp_path / "tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert scores(graded(in_forward("open('left', 'w').write('x')"))) == [1, 1, 1, 1]
    assert list((tmp_path / "tmp").iterdir()) == []


# --- where another user can be chosen -------------------------------------------------------------


@pytest.fixture(scope="module")
def apart() -> Callable[..., Grade]:
    """Grade a source in a process that is another user's."""
    command = [sys.executable, "-P", "-m", "conformance", "grade"]
    done = subprocess.run(
        [*command, str(ROOT / "examples/student.py")], capture_output=True, text=True
    )
    if os.geteuid() or "as a user of its own" not in done.stdout:
        pytest.skip("this is not root, or no Python here may be run by another user")

    def graded_apart(source: str, folder: Path) -> Grade:
        (folder / "student.py").write_text(source)
        done = subprocess.run(
            [*command, folder / "student.py", "--rubric", rubric_file(), "--format", "json",
             "--output", folder / "grade.json"], capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: Grade = json.loads((folder / "grade.json").read_text())
        assert found["isolation"].startswith("a process of its own, as a user of its own")
        return found

    return graded_apart


def reachable(folder: Path) -> None:
    """pytest's own folders are for this user alone."""
    for p in (folder, *folder.parents):
        if not p.stat().st_mode & stat.S_IXOTH:
            p.chmod(0o755)


@pytest.mark.parametrize("name", APART)
def test_as_another_user_it_reaches_nothing(
    name: str, apart: Callable[..., Grade], tmp_path: Path
) -> None:
    source, points, explained = APART[name]
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    reachable(tmp_path)
    g = apart(source.replace("FOLDER", str(tmp_path)), tmp_path)
    assert explained in said(g)
    assert scores(g) == points


def test_as_another_user_nothing_of_it_stays(apart: Callable[..., Grade], tmp_path: Path) -> None:
    """A process that leaves its group and its session, and would write to the grade later. It holds a pipe
    open, which tells that it is there, and when it is not."""
    reachable(tmp_path)
    tmp_path.chmod(0o777)  # the worst that a teacher can do
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    daemon = f"""
import os, time
begun = {str(tmp_path / "begun")!r}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held = os.open({str(pipe)!r}, os.O_WRONLY)
        os.write(held, b"x")
        open(begun, "w").close()
        while True:
            time.sleep(0.2)
            try: os.remove({str(tmp_path / "grade.json")!r})
            except OSError: pass
    os._exit(0)
while not os.path.exists(begun):
    time.sleep(0.01)
"""
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    g = apart(daemon + RIGHT, tmp_path)
    assert scores(g) == [1, 1, 1, 1]
    assert os.read(reading, 1) == b"x"  # it was there
    assert select.select([reading], [], [], 60.0)[0]
    assert os.read(reading, 1) == b""  # and nobody is left who could write
    os.close(reading)
    assert json.loads((tmp_path / "grade.json").read_text())["score"] == 4


# --- plain text ---------------------------------------------------------------------------------


def test_plain() -> None:
    assert without_sequences("a\x1b[2Jb\x07\x9b1mc\r\nd\te", 99) == "ab1mc d e"
    assert without_sequences("a\nb", 99, lines=True) == "a\nb"
    assert without_sequences("x" * 100, 10) == "x" * 9 + "…"
    assert without_sequences("\ud800\u202e\u2066 δ", 9) == "δ"
