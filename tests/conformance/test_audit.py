"""The equation audit: complete, every verdict planted, every wrong equation found wrong by running it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from flint import arb

from conformance.commands.audit import equations
from conformance.commands.audit.apart import audit_file
from conformance.commands.audit.conditions import CONDITIONS, explaining, names, read
from conformance.commands.audit.equations import NOTES, Equation
from conformance.commands.audit.formats import as_json, as_markdown, as_text
from conformance.commands.audit.methods import METHODS
from conformance.commands.audit.named import MissingError
from conformance.commands.audit.net import Net
from conformance.commands.audit.notes import PRINTED
from conformance.commands.audit.own import AuditError
from conformance.commands.audit.places import Index, Place
from conformance.commands.audit.right import DEFINITIONS, derivative
from conformance.commands.audit.run import audit_notes, entry, source_line
from conformance.commands.audit.settings import LOSS_WORDS, SETTINGS, Setting, right_of
from conformance.commands.audit.values import NAMES, is_name, value
from conformance.commands.audit.verdict import KINDS
from conformance.commands.main import main
from conformance.model.problem import Problem
from conformance.report.audit import CLASSES, COUNTED, HEADS, _subscripts, render
from conformance.report.formulas import formula
from conformance.truth.definitions import ACTIVATIONS, Point
from conformance.truth.network import Mathematics, Network
from refbp.errata import ERRATA

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_notes.py"


@pytest.fixture(scope="module")
def notes() -> dict[str, Any]:
    return audit_notes()


@pytest.fixture(scope="module")
def by_id(notes: dict[str, Any]) -> dict[str, Any]:
    return {e["id"]: e for e in notes["equations"]}


# ---- the right values ----------------------------------------------------------------------------

SQUARE = {"square": lambda a: Point(a * a, 2 * a, arb(2), True)}


def inner(setting: Setting, M: Any, rows: bool, l: int) -> Any:
    """An extended matrix without what belongs to the constant unit."""
    return M[:, :-1] if setting.bias and l < setting.L else M


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_the_right_values_are_the_certified_ones(setting: Setting) -> None:
    right = right_of(setting)
    problem = Problem(
        W={l: inner(setting, M, True, l).copy() for l, M in right.W.items()},
        X=(right.X[:, :-1] if setting.bias else right.X).copy(),
        Y=right.Y.copy(),
        sigma=dict(right.names),
        loss=setting.loss,
        bias=setting.bias,
        alpha=right.alpha,
    )
    truth = Network(problem, Mathematics({**ACTIVATIONS, **SQUARE})).truth
    np.testing.assert_allclose(right.loss, truth.loss.hi, rtol=1e-13)
    pairs = {"A": "A", "Z": "Z", "delta": "delta", "dL_dW": "dW", "W_new": "W_new"}
    for ours, theirs in pairs.items():
        for l in right.W:
            got = inner(setting, getattr(right, ours)[l], True, l)
            certified = getattr(truth, theirs)[l].hi
            np.testing.assert_allclose(
                got, certified, rtol=1e-12, atol=1e-14, err_msg=f"{ours}_{l}"
            )


def test_a_derivative_by_complex_step() -> None:
    M = np.array([[0.5, -1.0], [2.0, 0.25]])
    assert derivative(lambda Z: (Z**3).sum(), M).tolist() == (3 * M**2).tolist()
    assert derivative(lambda Z: Z[0] * 2, M).shape == (2, 2, 2)


def test_the_jacobians_are_products_of_what_is_right() -> None:
    right = right_of(next(s for s in SETTINGS if s.name == "four layers, n = 1"))
    for l in right.da_da:
        np.testing.assert_allclose(right.da_da[l], right.da_dz[l] @ right.dz_da[l - 1], rtol=1e-14)
        np.testing.assert_allclose(right.da_dz[l], right.W[l].T, rtol=1e-14)
        np.testing.assert_allclose(
            right.da_da[l].T @ right.delta[l][0], right.delta[l - 1][0], rtol=1e-13
        )
    assert not right_of(SETTINGS[1]).da_da  # three examples


def test_no_right_value_is_zero_all_over() -> None:
    """0 would hide any factor."""
    for setting in SETTINGS:
        right = right_of(setting)
        assert all(np.abs(M).max() > 1e-3 for of in (right.delta, right.dL_dW) for M in of.values())


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_no_numbers_hide_a_slip(setting: Setting) -> None:
    """A mask is not that of the gradient, and the columns of Y do not sum to what its rows do."""
    right = right_of(setting)
    for l, name in right.names.items():
        if name == "relu":
            inner_ = slice(0, setting.widths[l])
            G, A = right.dL_dZ[l][:, inner_], right.A[l][:, inner_]
            assert ((G > 0) & (A < 0)).any(), l
            assert ((G < 0) & (A > 0)).any(), l
    if setting.last.endswith("softmax") and setting.n > 1:
        assert not np.allclose(right.Y.sum(axis=0), right.Y.sum(axis=1).mean())
    same = [s for s in SETTINGS if s.n == setting.n]
    assert setting.n > 3 or len({s.alpha for s in same}) > 2


def test_the_networks_tell_apart_what_slips_hide_behind() -> None:
    assert len({s.name for s in SETTINGS}) == len(SETTINGS)
    assert set(DEFINITIONS) == {s for x in SETTINGS for s in (x.last, x.hidden)}
    places = [Place(s, l) for s in SETTINGS for l in range(1, s.L + 1)]
    for name, question in CONDITIONS.items():
        assert len({bool(question(at, at.l)) for at in places}) == 2, name


# ---- complete ------------------------------------------------------------------------------------


def test_every_printed_equation_is_judged_by_exactly_one_row() -> None:
    used = Counter(key for row in NOTES.values() for key in row.prints)
    assert set(used) == set(PRINTED)
    assert set(used.values()) == {1}


def test_the_catalogue_has_every_displayed_equation_and_every_line() -> None:
    """As counted in the notes: 11 blocks, one of them of two equations; 8 and 9 lines."""
    how = Counter(p.how for p in PRINTED.values())
    assert how["displayed"] == 12
    assert how["line"] == 8 + 9
    for name, lines in (("forward", 8), ("backward", 9)):
        wheres = [PRINTED[f"{name}-{i}"].where for i in range(1, lines + 1)]
        assert [int(w.rpartition(" ")[2]) for w in wheres] == list(range(1, lines + 1))


def test_every_erratum_has_its_row() -> None:
    own = {row.erratum for row in NOTES.values() if row.id == row.erratum}
    assert own == set(ERRATA)
    assert list(NOTES) == [row.id for row in equations._ROWS]
    assert 35 <= len(NOTES) <= 45
    assert all(re.fullmatch(r"[a-z]+(-[a-zA-Z]+)*", id_) for id_ in NOTES)


@pytest.mark.parametrize("row", NOTES.values(), ids=lambda r: r.id)
def test_the_line_of_refbp_is_there(row: Equation) -> None:
    found = source_line(*row.source)
    assert found is not None, row.source
    text = (ROOT / found["file"]).read_text(encoding="utf-8").splitlines()[found["line"] - 1]
    assert row.source[1] in text


def test_a_line_that_is_gone_is_not_found() -> None:
    assert source_line("refbp/algorithm.py", "A[l] = W[l] @ Z[l - 1]") is None
    assert source_line("", "") is None


# ---- what is found by running ----------------------------------------------------------------------

FOUND = {
    "bias-absorbed": "holds only for hidden σ with σ(1) = 1, or none",
    "update-order": "holds only for L = 1",
    "weight-gradient": "shapes do not fit",
    "chain-rule": "shapes do not fit",
    "weights-of-one-example": "holds only for a symmetric W_l",
    "forward-returns": "leaves something out",
    "loss-of-one-output": "holds only for one output",
    "link-of-the-mean": "wrong by the factor n",
    "row-wise-link": "holds only for elementwise σ_L",
    "da-dW": "shapes do not fit",
    "da-da": "shapes do not fit",
    "link": "holds only for a diagonal W_L",
    "weight-gradient-below": "holds only for a diagonal W_L",
    "layers-with-a-link": "holds only for L = 1",
    "targets-in-rn": "holds only for n = 1 and one output",
    "loop": "holds only for L = 2",
    "delta-weights": "holds only for W_l = W_{l+1}",
    "last-chain-rule": "holds only for one output",
    "last-weight-gradient": "wrong by the factor n",
}
"""Read beside `holds` of each erratum: the two were found apart."""

CONDITION = {
    "weight-gradient": "d_l = d_{l−1} = 1",
    "chain-rule": "d_l = d_{l−1} = 1",
    "da-dW": "d_l = 1",
    "da-da": "d_{l−1} = 1",
    "link-of-the-mean": "n = 1",
    "last-weight-gradient": "n = 1",
}

SILENT = {
    "weights-of-one-example": "square layers, d_l = d_{l−1}",
    "link": "square layers, d_L = d_{L−1}",
    "weight-gradient-below": "square layers, d_L = d_{L−1}",
    "delta-weights": "d_{l−1} = d_l = d_{l+1}",
    "targets-in-rn": "one output",
}
"""Where the shapes fit and the numbers are wrong."""


def test_what_does_not_hold(by_id: dict[str, Any]) -> None:
    wrong = {i: e["verdict"]["words"] for i, e in by_id.items() if e["verdict"]["kind"] != "holds"}
    assert wrong == FOUND
    assert {i: by_id[i]["verdict"]["condition"] for i in CONDITION} == CONDITION
    assert {
        i: by_id[i]["verdict"]["silent"] for i in by_id if by_id[i]["verdict"]["silent"]
    } == SILENT


@pytest.mark.parametrize("name", ERRATA)
def test_every_erratum_is_found_wrong_and_its_correction_right(
    name: str, by_id: dict[str, Any]
) -> None:
    found = by_id[name]
    assert found["verdict"]["kind"] != "holds"
    assert found["evidence"]
    assert found["corrected_holds"]["right"] == found["corrected_holds"]["tries"] > 0
    assert found["latex"] == ERRATA[name].printed_form
    assert found["erratum"]["holds"] == ERRATA[name].holds


def test_what_is_notation_alone_is_counted_apart(notes: dict[str, Any]) -> None:
    notational = {e["id"]: e["erratum"]["verdict"] for e in notes["equations"] if e["notation"]}
    assert {name: verdict.split(":")[0] for name, verdict in notational.items()} == {
        "da-dW": "shorthand", "loop": "notation",
    }  # fmt: skip
    assert notes["totals"] == {"wrong": 17, "notational": 2, "holds": 19, "not judged": 0}
    assert sum(notes["totals"].values()) == len(notes["equations"])


def test_what_does_not_hold_has_its_correction(by_id: dict[str, Any]) -> None:
    for e in by_id.values():
        assert bool(e["corrected_latex"]) == (e["verdict"]["kind"] != "holds"), e["id"]


def test_the_evidence_is_what_running_gives(by_id: dict[str, Any]) -> None:
    """By hand, for the line of δ_l: square layers, σ = a², n = 1."""
    shown = by_id["delta-weights"]["evidence"][0]
    read = {r["name"]: np.array(r["numbers"]) for r in shown["read"]}
    assert set(read) == {"δ_2", "W_1", "A_1"}
    setting = next(s for s in SETTINGS if s.name == shown["network"])
    W_2 = right_of(setting).W[2]
    prime = {"square": 2 * read["A_1"], "tanh": 1 - np.tanh(read["A_1"]) ** 2}[setting.hidden]
    np.testing.assert_allclose(shown["got"], (read["δ_2"] @ read["W_1"].T) * prime, rtol=1e-10)
    np.testing.assert_allclose(shown["right"], (read["δ_2"] @ W_2.T) * prime, rtol=1e-10)


# ---- a row that holds can fail ---------------------------------------------------------------------

MUTATIONS = {
    "network": ("range(1, net.L + 1)", "range(1, net.L)"),
    "layers": ("c.W[l] @ c.z[l - 1]", "c.z[l - 1]"),
    "products": ("c.W[l] @ c.z[l - 1]", "c.W[l].T @ c.z[l - 1]"),
    "transitions": ("c.sigma[l](c.a[l])", "c.sigma[l].derivative(c.a[l])"),
    "shapes": ("net.W[net.l].shape", "net.W[net.l].T.shape"),
    "forward-procedure": ("net.X.shape", "net.X.T.shape"),
    "forward-input": ("net.X", "net.X * 0.999"),
    "forward-loop": ("range(1, net.L + 1)", "range(1, net.L)"),
    "forward-products": ("net.Z[net.l - 1]", "net.Z[net.l]"),
    "forward-transitions": ("net.A[net.l]", "net.Z[net.l]"),
    "output": ("c", "c"),
    "update-rule": ("- net.alpha", "+ net.alpha"),
    "weight-chain": ("c.link[l]", "c.dL_dz[l]"),
    "jacobians": ("c.dz_da[l - 1]", "c.dz_da[l - 1] * 1.000001"),
    "gradients-below": ("net.l + 1", "net.l"),
    "link-name": ("[0][net.l]", "[0][1]"),
    "backward-gradient": ("net.delta[net.l + 1]", "net.dL_dZ[net.l + 1]"),
    "first-gradient": ("net.Z[0].T", "net.Z[1].T"),
    "backward-returns": ("range(net.L - 1, 0, -1)", "range(net.L - 1, 1, -1)"),
}
"""One slip for each equation that holds, in the text that is run."""
MUTATIONS["output"] = ("net.columns.z[net.L]", "net.columns.a[net.L]")


def mutated(row: Equation) -> Callable[[Any], Any]:
    old, new = MUTATIONS[row.id]
    source = inspect.getsource(row.printed)
    assert source.count(old) >= 1, (row.id, source)
    space = dict(vars(equations))
    exec(source.replace(old, new), space)
    form: Callable[[Any], Any] = space[row.printed.__name__]
    return form


def test_every_row_that_holds_has_a_slip_planted(by_id: dict[str, Any]) -> None:
    assert set(MUTATIONS) == {i for i, e in by_id.items() if e["verdict"]["kind"] == "holds"}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_row_that_holds_can_fail(name: str) -> None:
    row = NOTES[name]
    assert entry(row)["verdict"]["kind"] == "holds"
    assert entry(replace(row, printed=mutated(row)))["verdict"]["kind"] != "holds"


# ---- every verdict, planted --------------------------------------------------------------------------


def planted(form: Any, equals: str = "dL_dW_l", only: str = "") -> dict[str, Any]:
    return entry(Equation(id="planted", latex="x", printed=form, equals=equals, only=only))[
        "verdict"
    ]


def gradient(net: Net) -> Any:
    return net.Z[net.l - 1].T @ net.delta[net.l]


def raising(net: Net) -> Any:
    raise RuntimeError("no such luck")


@pytest.mark.parametrize(
    ("form", "equals", "only", "words"),
    [
        (gradient, "dL_dW_l", "", "holds"),
        (lambda net: net.n * gradient(net), "dL_dW_l", "", "wrong by the factor n"),
        (lambda net: gradient(net) / net.n, "dL_dW_l", "", "wrong by the factor 1/n"),
        (lambda net: -2 * gradient(net), "dL_dW_l", "", "wrong by the factor −2"),
        (lambda net: gradient(net) / net.n, "dL_dW_l", "n = 1", "holds"),
        (lambda net: gradient(net).sum() ** 2, "dL_dW_l", "n = 1 and d_l = 1", "shapes do not fit"),
        (lambda net: net.delta[net.l] @ net.Z[net.l - 1], "dL_dW_l", "n = 1", "shapes do not fit"),
        (lambda net: gradient(net) ** 3, "dL_dW_l", "", "silently wrong"),
        (lambda net: net.sigma[net.l].derivative(net.A[net.l]) * net.dL_dZ[net.l], "delta_l", "",
         "holds only for"),
        (lambda net: net.delta[net.l + 1] @ net.W[net.l + 1].T, "dL_dZ_l", "", "holds only for l < L"),
        (lambda net: net.delta[net.l + 1] @ net.W[net.l + 1].T, "dL_dZ_l", "l < L", "holds"),
        (lambda net: ((net.Z[net.L] - net.Y) ** 2).mean(), "loss", "", "wrong by the factor 1/d_L"),
        (lambda net: {l: net.W[l] for l in range(1, net.L)}, "W_new", "L = 1", "leaves something out"),
        (raising, "dL_dW_l", "", "raises"),
        (lambda net: 1 / 0, "dL_dW_l", "", "raises"),
        (lambda net: None, "dL_dW_l", "", "gives no numbers"),
        (lambda net: "no", "loss", "", "gives no numbers"),
        (lambda net: gradient(net) * np.nan, "dL_dW_l", "", "gives no numbers"),
        (lambda net: gradient(net) * 1j, "dL_dW_l", "", "gives no numbers"),
        (lambda net: sys.exit(3), "loss", "", "raises"),
        (3, "dL_dW_l", "", "not judged"),
        (gradient, "dL_dW", "", "not judged"),
        (gradient, "dL_dW_l", "n = 7", "not judged"),
        (gradient, "dL_dW_l", "L = 1 and L > 1", "not judged"),
    ],
)  # fmt: skip
def test_every_verdict_is_planted(form: Any, equals: str, only: str, words: str) -> None:
    found = planted(form, equals, only)
    assert found["words"].startswith(words), found
    assert found["kind"] in KINDS


def test_what_user_code_does_to_its_arrays_stays_there() -> None:
    def greedy(net: Net) -> Any:
        W = net.W[net.l]
        W *= 0
        net.X[:] = 0
        return gradient(net)

    assert planted(greedy)["kind"] == "holds"
    assert planted(gradient)["kind"] == "holds"


def test_what_is_wrong_is_said_with_its_line() -> None:
    why = planted(raising)["why"]
    assert "RuntimeError: no such luck" in why
    assert "test_audit.py" in why
    assert "expected one of loss" in planted(gradient, "gradient")["why"]


def test_asking_for_a_layer_that_there_is_not() -> None:
    with pytest.raises(MissingError, match=r"there is no W_3 here: there are W_1 to W_2\."):
        Net(SETTINGS[0], 1).W[3]
    with pytest.raises(MissingError, match="for one example alone"):
        Net(SETTINGS[1], 2).columns.da_da[2]


def test_every_name_of_a_right_value_has_one() -> None:
    four = next(s for s in SETTINGS if s.name == "four layers, n = 1")
    at = Place(four, 2)
    everywhere = [at, *(Place(replace(four, method=m), 2) for m in METHODS)]
    for name in NAMES:
        assert is_name(name)
        assert any(value(name, place) is not None for place in everywhere), name
    assert not is_name("gradient_l")
    assert value("delta_{l-1}", at)[0] == value("delta_1", at)[0] == "δ_1"  # type: ignore[index]
    assert value("link_L", at)[0] == "∂L/∂a_4"  # type: ignore[index]
    assert value("A_7", at) is None


def test_a_condition_is_the_simplest_that_explains() -> None:
    places = [Place(s, l) for s in SETTINGS for l in range(1, s.L + 1)]
    l = Index("l")
    for row, question in CONDITIONS.items():
        wanted = {at: bool(question(at, at.l)) for at in places}
        condition = read(
            explaining(wanted, l)
        )  # one: itself, or another that is true in the same places
        assert condition is not None, row
        assert {at: condition.holds(at) for at in places} == wanted, row
    assert explaining({at: i % 7 == 3 for i, at in enumerate(places)}, l) == ""
    both = {at: at.setting.n == 1 and at.setting.last == "softmax" for at in places}
    assert explaining(both, l) == "n = 1 and softmax"


# ---- what teachers write ---------------------------------------------------------------------------


# ruff: noqa: E501   the verdicts stand as they are printed
def relu_of_the_gradient(net: Any) -> Any:
    G = net.delta[net.l + 1] @ net.W[net.l + 1].T
    return G * (G > 0)


def softmax_over_the_batch(net: Any) -> Any:
    P, G = net.Z[net.L], net.dL_dZ[net.L]
    return P * (G - (G * P).sum(axis=0, keepdims=True))


WRITTEN: dict[str, tuple[str, str, Callable[[Any], Any], str]] = {
    "link": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l].derivative(n.A[n.l]),
        "holds",
    ),
    "link, no transpose": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1]) * n.sigma[n.l].derivative(n.A[n.l]),
        "holds only for a symmetric W_{l+1}; silently wrong for square layers, d_{l+1} = d_l, else shapes do not fit",
    ),
    "link, W_l": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l].T) * n.sigma[n.l].derivative(n.A[n.l]),
        "holds only for W_l = W_{l+1}; silently wrong for d_{l−1} = d_l = d_{l+1}, else shapes do not fit",
    ),
    "link, no derivative": (
        "delta_l",
        "l < L",
        lambda n: n.delta[n.l + 1] @ n.W[n.l + 1].T,
        "holds only for identity σ_l; else silently wrong",
    ),
    "link, derivative at Z": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l].derivative(n.Z[n.l]),
        "holds only for identity or relu σ_l; else silently wrong",
    ),
    "link, derivative of the layer after": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l + 1].derivative(n.A[n.l]),
        "holds only for σ_l = σ_{l+1}; else silently wrong",
    ),
    "link, derivative at the layer after": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] * n.sigma[n.l + 1].derivative(n.A[n.l + 1])) @ n.W[n.l + 1].T,
        "holds only for σ_l = σ_{l+1} and identity σ_l; else silently wrong",
    ),
    "link, z(1-z)": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.Z[n.l] * (1 - n.Z[n.l]),
        "holds only for sigmoid σ_l; else silently wrong",
    ),
    "link, 1-z²": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * (1 - n.Z[n.l] ** 2),
        "holds only for tanh σ_l; else silently wrong",
    ),
    "link, one lower": (
        "delta_{l-1}",
        "l > 1",
        lambda n: (n.delta[n.l] @ n.W[n.l].T) * n.sigma[n.l - 1].derivative(n.A[n.l - 1]),
        "holds",
    ),
    "link, one lower, no transpose": (
        "delta_{l-1}",
        "l > 1",
        lambda n: (n.delta[n.l] @ n.W[n.l]) * n.sigma[n.l - 1].derivative(n.A[n.l - 1]),
        "holds only for a symmetric W_l; silently wrong for square layers, d_l = d_{l−1}, else shapes do not fit",
    ),
    "link, negated": (
        "delta_l",
        "l < L",
        lambda n: -(n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l].derivative(n.A[n.l]),
        "wrong by the factor −1",
    ),
    "link in columns": (
        "link_l",
        "l < L",
        lambda n: (
            (n.columns.W[n.l + 1].T @ n.columns.link[n.l + 1])
            * n.columns.sigma[n.l].derivative(n.columns.a[n.l])
        ),
        "holds",
    ),
    "link in columns, no transpose": (
        "link_l",
        "l < L",
        lambda n: (
            (n.columns.W[n.l + 1] @ n.columns.link[n.l + 1])
            * n.columns.sigma[n.l].derivative(n.columns.a[n.l])
        ),
        "holds only for a symmetric W_{l+1}; silently wrong for square layers, d_{l+1} = d_l, else shapes do not fit",
    ),
    "last, squared error": (
        "delta_L",
        "",
        lambda n: 2 / n.n * (n.Z[n.L] - n.Y) * n.sigma[n.L].derivative(n.A[n.L]),
        "holds only for elementwise σ_L and the squared error; else silently wrong",
    ),
    "last, no 1/n": (
        "delta_L",
        "the squared error and elementwise σ_L",
        lambda n: 2 * (n.Z[n.L] - n.Y) * n.sigma[n.L].derivative(n.A[n.L]),
        "wrong by the factor n; right for n = 1",
    ),
    "last, no 2": (
        "delta_L",
        "the squared error and elementwise σ_L",
        lambda n: 1 / n.n * (n.Z[n.L] - n.Y) * n.sigma[n.L].derivative(n.A[n.L]),
        "wrong by the factor 0.5",
    ),
    "last, no derivative": (
        "delta_L",
        "the squared error and elementwise σ_L",
        lambda n: 2 / n.n * (n.Z[n.L] - n.Y),
        "holds only for identity σ_L; else silently wrong",
    ),
    "last, y - z": (
        "delta_L",
        "the squared error and elementwise σ_L",
        lambda n: 2 / n.n * (n.Y - n.Z[n.L]) * n.sigma[n.L].derivative(n.A[n.L]),
        "wrong by the factor −1",
    ),
    "last, cross-entropy": (
        "delta_L",
        "",
        lambda n: (n.Z[n.L] - n.Y) / n.n,
        "holds only for softmax with cross-entropy, or sigmoid with binary cross-entropy; else silently wrong",
    ),
    "last, cross-entropy, no 1/n": (
        "delta_L",
        "softmax with cross-entropy",
        lambda n: n.Z[n.L] - n.Y,
        "wrong by the factor n; right for n = 1",
    ),
    "last, any": (
        "delta_L",
        "",
        lambda n: n.sigma[n.L].vjp(n.A[n.L], n.dL_dZ[n.L]),
        "holds",
    ),
    "last, diagonal of softmax": (
        "delta_L",
        "softmax with cross-entropy",
        lambda n: n.dL_dZ[n.L] * n.Z[n.L] * (1 - n.Z[n.L]),
        "silently wrong; of softmax's Jacobian the diagonal alone is taken",
    ),
    "last, elementwise": (
        "delta_L",
        "",
        lambda n: n.dL_dZ[n.L] * n.sigma[n.L].derivative(n.A[n.L]),
        "holds only for elementwise σ_L; else silently wrong; of softmax's Jacobian the diagonal alone is taken",
    ),
    "gradient": (
        "dL_dW_l",
        "",
        lambda n: n.Z[n.l - 1].T @ n.delta[n.l],
        "holds",
    ),
    "gradient, transposed": (
        "dL_dW_l",
        "",
        lambda n: n.delta[n.l].T @ n.Z[n.l - 1],
        "shapes do not fit or silently wrong: it is the transpose of what is right",
    ),
    "gradient, Z_l": (
        "dL_dW_l",
        "",
        lambda n: n.Z[n.l].T @ n.delta[n.l],
        "shapes do not fit; silently wrong for square layers, d_l = d_{l−1}",
    ),
    "gradient, A": (
        "dL_dW_l",
        "l > 1",
        lambda n: n.A[n.l - 1].T @ n.delta[n.l],
        "holds only for identity σ_{l−1}; else silently wrong",
    ),
    "gradient, 1/n again": (
        "dL_dW_l",
        "",
        lambda n: n.Z[n.l - 1].T @ n.delta[n.l] / n.n,
        "wrong by the factor 1/n; right for n = 1",
    ),
    "gradient, the other order": (
        "dL_dW_l",
        "",
        lambda n: n.delta[n.l] @ n.Z[n.l - 1].T,
        "holds only for n = 1 and d_l = d_{l−1} = 1; silently wrong for square layers, d_l = d_{l−1} and n = d_l, else shapes do not fit",
    ),
    "gradient, Hadamard": (
        "dL_dW_l",
        "",
        lambda n: n.Z[n.l - 1] * n.delta[n.l],
        "holds only for n = 1 and d_{l−1} = 1; silently wrong for square layers, d_l = d_{l−1} and n = d_l, else shapes do not fit",
    ),
    "gradient in columns": (
        "dL_dw_l",
        "",
        lambda n: n.columns.link[n.l] @ n.columns.z[n.l - 1].T,
        "holds",
    ),
    "gradient, weight decay": (
        "dL_dW_l",
        "",
        lambda n: n.Z[n.l - 1].T @ n.delta[n.l] + 0.01 * n.W[n.l],
        'silently wrong: 0.01 W_l too much; weight decay is not declared (method="weight decay")',
    ),
    "bias": (
        "dL_db_l",
        "",
        lambda n: n.delta[n.l].sum(axis=0),
        "holds",
    ),
    "bias, mean": (
        "dL_db_l",
        "",
        lambda n: n.delta[n.l].mean(axis=0),
        "wrong by the factor 1/n; right for n = 1",
    ),
    "update": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - n.alpha * n.dL_dW[n.l],
        "holds",
    ),
    "update, ascent": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] + n.alpha * n.dL_dW[n.l],
        "silently wrong: the step is −1 times what is right",
    ),
    "update, 1/n": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - n.alpha / n.n * n.dL_dW[n.l],
        "silently wrong: the step is 1/n times what is right",
    ),
    "loss": (
        "loss",
        "",
        lambda n: ((n.Z[n.L] - n.Y) ** 2).sum() / n.n,
        "holds only for the squared error; else silently wrong",
    ),
    "loss, mean of all": (
        "loss",
        "the squared error",
        lambda n: ((n.Z[n.L] - n.Y) ** 2).mean(),
        "wrong by the factor 1/d_L; right for one output",
    ),
    "loss, cross-entropy": (
        "loss",
        "",
        lambda n: -(n.Y * np.log(n.Z[n.L])).sum() / n.n,
        "holds only for the cross-entropy; else silently wrong or gives no numbers",
    ),
    "loss, half": (
        "loss",
        "the squared error",
        lambda n: ((n.Z[n.L] - n.Y) ** 2).sum() / n.n / 2,
        "wrong by the factor 0.5",
    ),
    "update, 1 - α": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - (1 - n.alpha) * n.dL_dW[n.l],
        "silently wrong",
    ),
    "update, half": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - 0.5 * n.dL_dW[n.l],
        "silently wrong",
    ),
    "update, α squared": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - 2 * n.alpha**2 * n.dL_dW[n.l],
        "silently wrong",
    ),
    "update, α forgotten": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - n.dL_dW[n.l],
        "silently wrong: the step is 1/α times what is right",
    ),
    "update, twice": (
        "W_new_l",
        "",
        lambda n: n.W[n.l] - 2 * n.alpha * n.dL_dW[n.l],
        "silently wrong: the step is 2 times what is right",
    ),
    "update, decay": (
        "W_new_l",
        "",
        lambda n: (1 - n.alpha) * n.W[n.l] - n.alpha * n.dL_dW[n.l],
        'silently wrong: α W_l too little; weight decay is not declared (method="weight decay")',
    ),
    "relu of the gradient": (
        "delta_l",
        "l < L and relu σ_l",
        relu_of_the_gradient,
        "silently wrong",
    ),
    "relu of the gradient, two layers": (
        "delta_l",
        "l < L and relu σ_l and L = 2",
        relu_of_the_gradient,
        "silently wrong",
    ),
    "relu, both masks": (
        "delta_l",
        "l < L and relu σ_l",
        lambda n: relu_of_the_gradient(n) * (n.A[n.l] > 0),
        "silently wrong",
    ),
    "relu, mask at Z": (
        "delta_l",
        "l < L and relu σ_l",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * (n.Z[n.l] > 0),
        "holds",
    ),
    "softmax over the batch": (
        "delta_L",
        "softmax with cross-entropy",
        softmax_over_the_batch,
        "silently wrong",
    ),
    "softmax over the batch, any": (
        "delta_L",
        "softmax",
        softmax_over_the_batch,
        "silently wrong",
    ),
    "mean over outputs too": (
        "dL_dZ_L",
        "the squared error",
        lambda n: (n.Z[n.L] - n.Y) / n.Y.size,
        "wrong by the factor 1/(2·d_L)",
    ),
    "no 1/n, no 2": (
        "delta_L",
        "the squared error and elementwise σ_L",
        lambda n: (n.Z[n.L] - n.Y) * n.sigma[n.L].derivative(n.A[n.L]),
        "wrong by the factor n/2; right for n = 2",
    ),
    "off by 1e-7": (
        "dL_dW_l",
        "",
        lambda n: n.dL_dW[n.l] * (1 + 1e-7),
        "wrong by the factor 1.0000001",
    ),
    "softplus": (
        "delta_l",
        "l < L",
        lambda n: (n.delta[n.l + 1] @ n.W[n.l + 1].T) * (1 - np.exp(-n.Z[n.l])),
        "holds only for softplus σ_l; else silently wrong",
    ),
}
"""Right ones and slips: what it must equal, what is claimed of it, the function, and the verdict."""


@pytest.mark.parametrize("name", WRITTEN)
def test_what_teachers_write_is_told_apart(name: str) -> None:
    equals, only, form, words = WRITTEN[name]
    found = planted(form, equals, only)
    said = "; ".join(filter(None, (found["words"], found["elsewhere"], found["cause"])))
    assert said == words


# ---- somebody's own notes ---------------------------------------------------------------------------


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments])


def own(folder: Path, text: str) -> Path:
    path = folder / "own.py"
    path.write_text("from conformance import equation\n" + text, encoding="utf-8")
    return path


GOOD = """
@equation(id="good", latex="x", equals="dL_dW_l")
def f(net):
    return net.Z[net.l - 1].T @ net.delta[net.l]
"""


def test_the_example() -> None:
    found = audit_file(EXAMPLE)
    kinds = {e["id"]: e["verdict"]["kind"] for e in found["equations"]}
    assert kinds == {"weight-gradient": "holds", "hidden-link": "holds-only"}
    assert found["exit_code"] == 1


RIGHT = "return net.Z[net.l - 1].T @ net.delta[net.l]"


@pytest.mark.parametrize(
    ("equals", "body", "kind", "said"),
    [
        ("dL_dW_l", "return net.X, net.Y", "no-numbers", "it returns a tuple"),
        ("dL_dW_l", "return net.W", "no-numbers", "it returns"),
        (
            "dL_dW_l",
            "return net.X @ net.W",
            "raises",
            "net.W is a matrix for each layer; write net.W[net.l].",
        ),
        (
            "dL_dW_l",
            "import numpy; return numpy.exp(net.W)",
            "raises",
            "net.W is a matrix for each layer; write net.W[net.l].",
        ),
        ("dL_dW_l", "return net.Ws", "raises", "net has no Ws; there are A, alpha, columns"),
        (
            "dL_dW_l",
            "net.W[1] = 0",
            "raises",
            "net.W[1] is for reading; copy it to a name of your own.",
        ),
        ("dL_dW_l", "import sys; sys.exit(4)", "raises", "SystemExit: 4"),
        (
            "dL_dW_l",
            "import os; os._exit(4)",
            "not-judged",
            "it ended (exit code 4), while its function was run.",
        ),
        (
            "dL_dW_l",
            "import not_there",
            "not-judged",
            "it could not be run here: ModuleNotFoundError: No module named 'not_there' (own.py:",
        ),
        (
            "dL_dW_l",
            "raise MemoryError",
            "not-judged",
            "it could not be run here: MemoryError (own.py:",
        ),
        ("dL_dW_99", RIGHT, "not-judged", "no network here has a right value equals='dL_dW_99'"),
        (
            "dl_dW_l",
            RIGHT,
            "not-judged",
            "equals='dl_dW_l' names no right value; expected one of loss",
        ),
    ],
)
def test_what_goes_wrong_in_one_function_is_said_and_the_others_are_judged(
    equals: str, body: str, kind: str, said: str, tmp_path: Path
) -> None:
    text = f'@equation(id="odd", latex="x", equals="{equals}")\ndef f(net):\n    {body}\n'
    odd, good = audit_file(own(tmp_path, text + GOOD))["equations"]
    assert odd["verdict"]["kind"] == kind
    assert said in odd["verdict"]["why"]
    assert good["verdict"]["kind"] == "holds"


def test_one_that_hangs_is_said_and_the_others_are_judged(tmp_path: Path, time_is_up: Any) -> None:
    begun = tmp_path / "begun"
    body = f"open({str(begun)!r}, 'w').close()\n    while True: pass"
    text = f'@equation(id="odd", latex="x", equals="dL_dW_l")\ndef f(net):\n    {body}\n'
    time_is_up(begun.exists)
    odd, good = audit_file(own(tmp_path, text + GOOD), seconds=60.0)["equations"]
    assert odd["verdict"]["kind"] == "not-judged"
    assert "it gave no answer in 60 s, while its function was run." in odd["verdict"]["why"]
    assert good["verdict"]["kind"] == "holds"


def test_a_decorator_without_parentheses(tmp_path: Path) -> None:
    path = own(tmp_path, f"@equation\ndef f(net):\n    {RIGHT}\n")
    with pytest.raises(AuditError, match=r"own\.py:2: @equation stands without parentheses"):
        audit_file(path)


def test_a_list_of_dicts_and_functions_of_one_name(tmp_path: Path) -> None:
    text = GOOD + GOOD.replace("good", "again") + (
        'EQUATIONS = [{"id": "listed", "latex": "y", "function": f, "equals": "dL_dW_l"},'
        ' {"id": "empty"}]'
    )  # fmt: skip
    found = audit_file(own(tmp_path, text))
    kinds = {e["id"]: e["verdict"]["kind"] for e in found["equations"]}
    assert kinds == {"good": "holds", "again": "holds", "listed": "holds", "empty": "not-judged"}
    assert found["exit_code"] == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GOOD, 0),
        (GOOD + GOOD.replace("good", "bad").replace("return", "return 2 *"), 1),
        (GOOD.replace('equals="dL_dW_l"', 'equals="dL_dW_l", only="n = 1"').replace(
            "return", "return net.n *"), 0),
        (GOOD + GOOD.replace("good", "odd").replace("return", "raise ValueError()  #"), 1),
    ],
)  # fmt: skip
def test_exit_codes(text: str, code: int, tmp_path: Path) -> None:
    result = invoke(str(own(tmp_path, text)))
    assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "has no equation"),
        ("1 / 0", "raises ZeroDivisionError: division by zero at own.py:2"),
        ("def f(:", "raises SyntaxError"),
        ("raise SystemExit(0)", "raises SystemExit"),
        (GOOD + GOOD, "two equations 'good'"),
        ("EQUATIONS = 3", "is no list of dicts"),
    ],
)
def test_refusals(text: str, said: str, tmp_path: Path) -> None:
    result = invoke(str(own(tmp_path, text)))
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="there is no such file"):
        audit_file(tmp_path / "none.py")
    assert invoke("--to", "html", "--output", str(tmp_path / "no" / "x.html")).exit_code == 2


def test_what_user_code_prints_is_not_in_the_answer(tmp_path: Path) -> None:
    path = own(
        tmp_path, "print('loading')" + GOOD.replace("    return", "    print('hello')\n    return")
    )
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "audit", str(path), "--to", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["counts"] == {"holds": 1}
    assert {"loading", "hello"} <= set(done.stderr.split())


# ---- how it is written ------------------------------------------------------------------------------


def test_the_notes_on_the_command_line(tmp_path: Path, notes: dict[str, Any]) -> None:
    result = invoke("--to", "json", "--output", str(tmp_path / "a.json"))
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == json.loads(
        as_json(notes)
    )
    assert "17 wrong, 2 notational, 19 hold, of 38 equations" in invoke().output


def test_json_has_what_the_documentation_says(notes: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    keys = set(notes) | set(notes["equations"][0]) | set(notes["equations"][0]["verdict"])
    keys |= set(next(e for e in notes["equations"] if e["evidence"])["evidence"][0])
    assert all(f"`{key}`" in page for key in keys), [k for k in keys if f"`{k}`" not in page]
    assert all(f"`{name}`" in page for name in NAMES), [k for k in NAMES if f"`{k}`" not in page]
    assert all(f"`{c}`" in page for c in names()), [c for c in names() if f"`{c}`" not in page]
    assert all(f"| {k} |" in page for k in KINDS), [k for k in KINDS if f"| {k} |" not in page]


def test_the_documentation_has_the_table_that_the_command_prints(notes: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert as_text(notes) in page
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, {"__name__": "documentation"})


def test_markdown(notes: dict[str, Any]) -> None:
    page = as_markdown(notes)
    assert page.count("$$") == 2 * sum(1 + bool(e["corrected_latex"]) for e in notes["equations"])
    assert page.count("```") % 2 == 0
    assert "printed δ_1 = " in page


HOSTILE = "</style><script>alert(1)</script> `x` |y| $z$ \N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m"


def hostile(net: Net) -> Any:
    raise ValueError(HOSTILE)


def test_what_a_user_names_is_escaped(tmp_path: Path) -> None:
    row = Equation(
        id=HOSTILE, latex=HOSTILE, printed=hostile, equals="loss", where=HOSTILE,
        corrected_latex=r"\text{<script>alert(1)</script>}", note=HOSTILE,
    )  # fmt: skip
    audit = audit_notes() | {"equations": [entry(row)], "counts": {"raises": 1}, "of": HOSTILE}
    html = render(audit)
    assert "<script" not in html
    assert html.count("</style>") == 1
    assert "<script" not in re.sub(r"```.*?```", "", as_markdown(audit), flags=re.DOTALL)
    assert "\x1b" not in as_text(audit) + as_markdown(audit)


@pytest.mark.parametrize(
    "latex",
    [
        r"\foo{x}", r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\frac{",
        r"\style{color:red}{x}", r"\class{x}{y}", "a & b", "", r"\text{\oops}",
    ],
)  # fmt: skip
def test_latex_that_would_leak_is_no_formula(latex: str) -> None:
    assert formula(latex) is None


def test_every_formula_of_the_notes_is_mathml(notes: dict[str, Any]) -> None:
    for e in notes["equations"]:
        for latex in (e["latex"], e["corrected_latex"], *(p["latex"] for p in e["printed"])):
            if latex:
                math = formula(latex)
                assert math is not None, latex
                assert "\\" not in math
                ElementTree.fromstring(math)


def test_the_page(notes: dict[str, Any]) -> None:
    html = render(notes)
    assert html == render(json.loads(as_json(notes)))
    assert "<script" not in html
    assert "17 wrong, 2 notational, 19 hold" in html
    maths = re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert len(maths) > 60
    assert not [m for m in maths if "\\" in m]
    ids = re.findall(r'id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {a[1:] for a in re.findall(r'href="(#[^"]+)"', html)} <= set(ids)
    text = unescape(re.sub(r"<[^>]+>", "", html))
    assert "refbp/algorithm.py:" in text
    assert "\\frac" in text  # as LaTeX too, within the details
    assert set(CLASSES) == set(COUNTED) == set(KINDS)
    assert set(HEADS) <= {"wrong", "shapes", "missing", "incomplete", "no-numbers", "raises"}


def test_the_page_says_the_loss_of_each_network(notes: dict[str, Any]) -> None:
    table = render(notes).split('id="networks-heading"')[1]
    assert "The loss is" not in table
    losses = {LOSS_WORDS[s.loss] for s in SETTINGS}
    assert len(losses) == 6
    assert {words for words in losses if f", {words}</" in re.sub("</?bdi>", "", table)} == losses


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("W_1 and d_{l−1}", "W<sub>1</sub> and d<sub>l−1</sub>"),
        (
            "∂L/∂W_2, new W_2, ∂a_1/∂a_0",
            "∂L/∂W<sub>2</sub>, new W<sub>2</sub>, ∂a<sub>1</sub>/∂a<sub>0</sub>",
        ),
        (
            "γ_1 Â_1 v̂_1 var_1 ∂L/∂var_1",
            "γ<sub>1</sub> Â<sub>1</sub> v̂<sub>1</sub> var<sub>1</sub> ∂L/∂var<sub>1</sub>",
        ),
        ("my_name <b>", "my_name &lt;b&gt;"),
    ],
)
def test_what_is_below_the_line(text: str, html: str) -> None:
    assert _subscripts(text) == html


def test_every_verdict_has_a_sign_and_a_word_on_the_page(notes: dict[str, Any]) -> None:
    html = render(notes)
    chips = re.findall(r'<span class="chip v-[a-z-]+">(.*)</span>', html)
    assert len(chips) == 38 + 19  # the cards, and the table above them
    assert all(
        re.match(r'<span class="sign" aria-hidden="true">[✓✗≠]</span> <bdi>\w', c) for c in chips
    )


def test_small_differences_are_shown_with_enough_digits() -> None:
    row = Equation("close", "x", lambda net: gradient(net) * (1 + 1e-8), "dL_dW_l")
    html = render(audit_notes() | {"equations": [entry(row)], "counts": {"factor": 1}})
    assert len(re.findall(r"<td><b>", html)) > 0


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    """Else a misspelt "only" would turn the verdict."""
    own = tmp_path / "own.py"
    own.write_text(
        "EQUATIONS = [{'id': 'a', 'latex': 'x', 'equals': 'loss', 'onyl': 'n = 1', 'function': len}]"
    )
    with pytest.raises(AuditError, match=r"the key 'onyl'; .* Did you mean 'only'\?"):
        audit_file(own)


# --- what a file of notes says, on its way out ----------------------------------------------------

HOSTILE = r"""
@equation(id="odd", latex="a &= b \\\\\n c &= d", equals="dL_dW_l")
def f(net):
    raise ValueError("bad \x85 \u202e thing\nand more")
"""


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_a_document_is_the_same_on_standard_output(tmp_path: Path, form: str) -> None:
    path, written = own(tmp_path, HOSTILE), tmp_path / f"audit.{form}"
    shown = invoke(str(path), "--to", form).output
    invoke(str(path), "--output", str(written))
    assert shown == written.read_text(encoding="utf-8")
    assert form == "json" or not set(shown) & set("\x85\u202e")


def test_a_formula_of_two_lines_stays_one_in_markdown(tmp_path: Path) -> None:
    assert r"a &= b \\  c &= d" in invoke(str(own(tmp_path, HOSTILE)), "--to", "md").output
