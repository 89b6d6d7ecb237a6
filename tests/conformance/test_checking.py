"""`check_problem`: one network of one's own gives what `run` gives, or one clear error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance import Problem, ProblemError, check_problem, report
from conformance.cases.profiles import find
from conformance.implementations import implementation
from conformance.judge.runner import run
from conformance.judge.start import RunError
from conformance.model.results_file import read, write_results
from conformance.report.screen import screen

W1, W2 = np.arange(12.0).reshape(4, 3) / 8, np.ones((4, 2))
X, Y = np.arange(15.0).reshape(5, 3) / 4, np.zeros((5, 2))


def given(**changed: Any) -> Problem:
    parts = {"W": {1: W1, 2: W2}, "X": X, "Y": Y, "sigma": {1: "tanh", 2: "identity"}}
    return Problem(**{**parts, "loss": "mean_squared_error", "bias": True, "alpha": 0.1, **changed})


def but(change: Callable[[Any], None], name: str = "mine") -> Any:
    """refbp, but for a change to its trace."""

    def traced(p: Problem) -> Any:
        t = implementation("refbp").run(p)
        change(t)
        return t

    return SimpleNamespace(name=name, run=traced)


def off(t: Any) -> None:
    t.dW[1][0, 0] *= 1 + 1e-12


def test_it_gives_what_run_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check_problem(given(), ["refbp", but(off)])
    (case,) = found["cases"]
    assert case["family"] == "own"
    assert (case["widths"], case["batch"], case["dtype"]) == ([3, 3, 2], 5, "float64")
    assert [r["verdict"] for r in found["results"]] == ["conforms", "deviates"]
    assert found["results"][1]["blame"] == [{"quantity": "dW", "layer": 1}]
    assert {r["gate"] for r in found["results"][0]["records"]} == {
        "step", "end-to-end", "row", "repeat",
    }  # fmt: skip
    assert found["summary"]["exit_code"] == 1
    assert "<td>mine</td>" in found._repr_html_()  # type: ignore[attr-defined]
    write_results(tmp_path / "own.json", found)
    page = report.render(found)
    assert report.render(read(tmp_path / "own.json")) == page
    assert case["id"].replace(">", "&gt;") in page
    print("\n".join(screen(found)))
    again = "conformance.check_problem(problem, ['mine'])"
    assert f"see it      {again}" in capsys.readouterr().out
    assert again.replace("'", "&#39;") in page


def test_the_same_numbers_are_judged_the_same() -> None:
    case = find("heads/tanh>softmax+cross_entropy/L3/n7/float64")
    (ours,) = run("standard", ["refbp"], f"id={case.id}", jobs=0)["results"]
    (own,) = check_problem(case.problem(), "refbp")["results"]
    assert own["records"] == ours["records"]
    assert own["case"].startswith("own/tanh>softmax+cross_entropy/L3/n7/float64/")


def test_an_id_is_of_all_the_numbers_and_short() -> None:
    ids = {
        check_problem(given(**changed), "refbp")["cases"][0]["id"]
        for changed in (
            {}, {"alpha": 0.2}, {"Y": Y + 1}, {"W": {1: W1, 2: W2 * 2}}, {"X": -X},
        )
    }  # fmt: skip
    assert len(ids) == 5
    L = 40
    sigma = {l: ("tanh", "sin", "silu")[l % 3] for l in range(1, L + 1)}
    W = {l: np.eye(3) for l in sigma}
    deep = Problem(W, X, X, sigma, "huber", False, 0.1)
    (case,) = check_problem(deep, "refbp")["cases"]
    assert len(case["id"]) < 60
    assert [*case["others"], case["output"]] == [sigma[l] for l in range(2, L + 1)]


def test_what_it_was_given_stays_writable_and_is_not_shared() -> None:
    X32, W = X.astype("f"), {1: np.asfortranarray(W1.astype("f")), 2: W2.astype("f")}
    seen = []
    keeping = SimpleNamespace(
        name="keeping", run=lambda p: seen.append(p) or implementation("refbp").run(p)
    )
    found = check_problem(given(X=X32, Y=Y.astype("f"), W=W, alpha=0.1), keeping)
    assert found["summary"]["exit_code"] == 0
    assert all(M.flags.writeable for M in (X32, *W.values()))
    assert seen[-1].alpha == float(np.float32(0.1))
    assert seen[-1].W[1].flags.c_contiguous
    assert not any(np.shares_memory(seen[-1].W[l], W[l]) for l in W)


def test_strings_may_run_in_processes_of_their_own(tmp_path: Path) -> None:
    ends = tmp_path / "ends.py"
    ends.write_text("import os\nclass Net:\n    def run(self, p): os._exit(3)\n")
    found = check_problem(given(), [f"{ends}:Net"], jobs=1)
    (row,) = found["implementations"]
    assert row["status"] == "error"
    assert "ended its process (exit code 3)" in row["reason"]
    assert found["summary"]["exit_code"] == 2


def test_every_part_of_it_may_be_missing_in_a_trace() -> None:
    def less(t: Any) -> None:
        t.A.clear()
        t.W_new.clear()

    (result,) = check_problem(given(), but(less))["results"]
    assert (result["verdict"], result["not_returned"]) == ("conforms", ["A", "W_new"])


NAN = X.copy()
NAN[3, 1] = np.nan
ENTROPY = {"sigma": {1: "tanh", 2: "sigmoid"}, "loss": "binary_cross_entropy"}
BAD = {
    "no problem": ({"a": 1}, "the problem is a dict; expected a conformance.Problem."),
    "W a list": (
        given(W=[W1, W2]), "W is a list; expected a dict {1: W_1, …, L: W_L}."),
    "no layers": (given(W={}), "W has no layers; expected a dict {1: W_1, …, L: W_L}."),
    "layers from 0": (
        given(W={0: W1, 1: W2}), "W has the layers 0, 1; expected 1 to 2, without a gap."),
    "sigma a list": (
        given(sigma=["tanh", "identity"]), 'sigma is a list; expected a dict {1: "tanh", …}.'),
    "sigma too short": (
        given(sigma={1: "tanh"}), "sigma has the layers 1; expected 1 to 2, without a gap."),
    "lists": (
        given(W={1: W1.tolist(), 2: W2}), "W_1 is a list; expected a numpy.ndarray: numpy.array(W_1)."),
    "masked": (
        given(X=np.ma.masked_array(X)), "X is a MaskedArray; expected a numpy.ndarray: numpy.array(X)."),
    "integers": (
        given(X=X.astype(int)),
        "X has dtype int64; expected float64 or float32: X.astype('float64')."),
    "half": (
        given(X=X.astype("e")),
        "X has dtype float16; expected float64 or float32: X.astype('float64')."),
    "mixed": (
        given(W={1: W1, 2: W2.astype("f")}),
        "W_2 has dtype float32 where X has float64; expected one for all."),
    "NaN": (given(X=NAN), "X[3, 1] is nan; expected finite numbers."),
    "empty batch": (
        given(X=X[:0], Y=Y[:0]), "X has shape (0, 3); expected no empty batch and no width of 0."),
    "zero width": (
        given(W={1: W1[:, :0], 2: W2}),
        "W_1 has shape (4, 0); expected no empty batch and no width of 0."),
    "targets of one dimension": (
        given(W={1: W1, 2: W2[:, :1]}, Y=Y[:, 0]),
        "Y has shape (5,); expected two dimensions: Y.reshape(-1, 1), for one column."),
    "rows": (
        given(W={1: W1, 2: W2[1:]}),
        "W_2 has shape (3, 2); expected 4 rows: the 3 columns of W_1, and the bias."),
    "columns": (
        given(bias=False), "W_1 has shape (4, 3); expected 3 rows: the 3 columns of X."),
    "targets": (
        given(Y=Y[1:]),
        "Y has shape (4, 2); expected (5, 2): the rows of X, the columns of W_2."),
    "bias": (given(bias="yes"), "bias is 'yes'; expected True or False."),
    "σ": (
        given(sigma={1: "tahn", 2: "identity"}),
        "sigma_1: unknown activation 'tahn'. Did you mean 'tanh'? There are: identity, sigmoid"),
    "σ a function": (
        given(sigma={1: np.tanh, 2: "identity"}), "sigma_1: unknown activation \"<ufunc 'tanh'>\"."),
    "loss": (
        given(loss="mean_square_error"),
        "unknown loss 'mean_square_error'. Did you mean 'mean_squared_error'? There are:"),
    "loss a list": (given(loss=["huber"]), "unknown loss \"['huber']\"."),
    "α": (given(alpha=float("inf")), "alpha is inf; expected a finite number of float64."),
    "α a flag": (given(alpha=True), "alpha is True; expected a finite number of float64."),
    "α a text": (given(alpha="0.1"), "alpha is '0.1'; expected a finite number of float64."),
    "outside the domain": (
        given(Y=Y + 2, **ENTROPY),
        "Y[0, 0] is 2.0; expected targets between 0 and 1, as binary_cross_entropy takes them."),
    "a logarithm of anything": (
        given(loss="cross_entropy"),
        "cross_entropy takes the logarithm of Z_2, and sigma_2 is 'identity'; expected one of softmax"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_error(kind: str) -> None:
    problem, message = BAD[kind]
    with pytest.raises(ProblemError) as e:
        check_problem(problem, ["refbp"])  # type: ignore[arg-type]
    said = str(e.value)
    assert said.startswith(message), said
    assert "\n" not in said
    assert said.endswith(".")


def test_bad_implementations_are_refused() -> None:
    with pytest.raises(RunError, match="nothing to run"):
        check_problem(given(), [])
    with pytest.raises(RunError, match=r"unknown implementation 'refpb'\. Did you mean 'refbp'"):
        check_problem(given(), "refpb")
    with pytest.raises(RunError, match="two implementations have the name 'mine'"):
        check_problem(given(), [but(off), but(off)])


def test_a_rate_too_large_for_the_dtype_is_refused() -> None:
    small = replace(given(), W={1: W1.astype("f"), 2: W2.astype("f")}, X=X.astype("f"))
    with pytest.raises(
        ProblemError, match=r"alpha is 1e\+300; expected a finite number of float32"
    ):
        check_problem(replace(small, Y=Y.astype("f"), alpha=1e300), "refbp")
