"""The numbers of the steps are refbp's, are certified, and come out of what is written beside them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from handed_out import ALL, ALL_STEPPED, NAMES, wide, worked

import refbp
from conformance.commands.handout import agreement
from conformance.commands.handout.agreement import check, digits_of, truth
from conformance.commands.handout.circuit import circuit
from conformance.commands.handout.document import Wish, made
from conformance.commands.handout.example import Example, HandoutError, Published, names, read
from conformance.commands.handout.followed import chain, differences, weight
from conformance.commands.handout.formats import rendered
from conformance.commands.handout.formulas import (
    LOSSES,
    SIGMA,
    Num,
    legend,
    sigma_cell,
    sigma_prime_cell,
)
from conformance.commands.handout.graph import units
from conformance.commands.handout.layout import whole
from conformance.commands.handout.numbers import certified, latex, plain, shown, unit
from conformance.commands.handout.passes import environment, numbers
from conformance.commands.handout.recount import recomputed, recount
from conformance.commands.handout.step import pieces, written
from conformance.commands.handout.steps import PARTS, steps
from conformance.commands.handout.variants import _digits, _drawn, variant
from conformance.commands.handout.why import WHY
from conformance.truth.balls import Enclosure
from refbp import single_example


def test_the_examples_are_those() -> None:
    assert [n.partition("-")[2] for n in names()] == list(NAMES)


# --- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "digits", "expected"),
    [
        (0.15, 6, "0.15"),
        (0.5932699921071872, 6, "0.593270"),
        (0.39250000000000002, 6, "0.3925"),
        (-0.0, 6, "0"),
        (2.0, 6, "2"),
        (1200000.0, 3, "1200000"),
        (123456789.0, 6, "1.23457e8"),
        (1.5e-7, 6, "1.5e-7"),
        (-1.23456789e-7, 4, "-1.235e-7"),
        (0.0000123456789, 4, "0.00001235"),
        (9.9999999, 3, "10.0"),
        (1 / 3, 15, "0.333333333333333"),
        (1223776.193, 6, "1.22378e6"),  # 1223780 would pass for seven digits
        (-999999.988, 6, "-1.00000e6"),
        (1e6, 6, "1000000"),
        (123456.7, 6, "123457"),
        (12345.678, 2, "1.2e4"),
    ],
)
def test_a_number_is_shown(x: float, digits: int, expected: str) -> None:
    assert shown(x, digits) == expected


def test_a_power_of_ten_is_written_as_one() -> None:
    assert latex(-1.5e-7, 6) == r"-1.5 \times 10^{-7}"
    assert plain(-1.5e-7, 6) == "−1.5 × 10^−7"
    assert unit(0.593, 3) == pytest.approx(1e-3)
    assert unit(0.0, 3) == 0


def test_digits_are_certified_as_far_as_the_enclosure_and_the_value_allow() -> None:
    x = 0.123456789012

    def digits(value: float, rad: float) -> int:
        one = np.array([[x]])
        return int(certified(np.array([[value]]), Enclosure(one, 0 * one, 0 * one + rad), 8)[0, 0])

    assert digits(x, 1e-16) == 8
    assert digits(x, 1e-6) == 5
    assert digits(x + 1e-4, 0.0) == 2
    assert digits(0.5, 0.0) == 0
    assert digits(float("nan"), 0.0) == 0
    zero = Enclosure(*(np.zeros((1, 1)) for _ in range(3)))
    assert certified(np.zeros((1, 1)), zero, 8)[0, 0] == 8


# --- the steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_the_steps_are_in_the_notes_order(name: str) -> None:
    e = read(name)
    order = [
        s.key for s in worked(name).steps if s.key[0] not in ("D", "G", "S", "T", "db", "b_new")
    ]
    L = e.L
    forward = [(q, l) for l in range(1, L + 1) for q in ("A", "Z")]
    backward = [(q, l) for l in range(L, 0, -1) for q in ("delta", "dW")]
    update = [("W_new", l) for l in range(1, L + 1)]
    assert order == [*forward, ("loss", 0), *backward, *update, ("loss_after", 0)]
    parts = [s.part for s in worked(name).steps]
    assert parts == sorted(parts, key=list(PARTS).index)


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_each_number_is_refbps(name: str) -> None:
    e = read(name)
    network = refbp.Network.from_lists(
        [np.vstack([e.W[l], e.b[l]]) if e.b else e.W[l] for l in e.W], list(e.sigma.values()),
        "mean_squared_error" if e.loss == "half_squared_error" else e.loss,
    )  # fmt: skip
    X = refbp.with_ones(e.X) if e.b else e.X
    if e.b:
        W = refbp.absorb(dict(e.W), dict(e.b))
        network = refbp.Network(W, refbp.with_constant_units(network.sigma), network.loss)
    t = network.trace(X, e.Y)
    dW, db = refbp.split(t.dL_dW) if e.b else (t.dL_dW, {})
    for s in worked(name).steps:
        of = {"A": t.A, "Z": t.Z, "delta": t.delta, "dW": dW, "db": db}
        if s.key[0] in of:
            M = of[s.key[0]][s.key[1]]
            M = M[:, :-1] if e.b and s.key[0] in "AZ delta" and s.key[1] < e.L else M
            M = np.atleast_2d(M) / (1 if s.key[0] in "AZ" else e.scale)
            assert s.result.tolist() == e.shaped(M).tolist(), s.key
    (loss,) = (s for s in worked(name).steps if s.key[0] == "loss")
    assert float(loss.result[0, 0]) == float(t.loss) / e.scale


def test_a_column_is_what_the_notes_derive_for_one_example() -> None:
    e = read("three-hidden-layers")
    W = {l: M.T for l, M in e.W.items()}
    sigma = {l: refbp.activation(s) for l, s in e.sigma.items()}
    a, z = single_example.propagate(W, e.X.T, sigma)
    link, dL_dW = single_example.gradients(W, a, z, e.Y.T, sigma)
    of = {"A": a, "Z": z, "delta": link, "dW": dL_dW}
    seen = 0
    for s in worked("three-hidden-layers").steps:
        if s.key[0] in of:
            assert s.result.tolist() == of[s.key[0]][s.key[1]].tolist()
            seen += 1
    assert seen == 16


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_each_number_is_certified_to_all_its_digits(name: str) -> None:
    e = read(name)
    exact = truth(e, numbers(e))
    for s in worked(name).steps:
        assert (digits_of(s, exact, e, 6) == 6).all(), s.key
        assert (digits_of(s, exact, e, 11) >= 10).all(), s.key


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_each_line_of_numpy_gives_its_result(name: str) -> None:
    e = read(name)
    by = numbers(e)
    for s in worked(name).steps:
        np.testing.assert_allclose(
            recomputed(s, environment(e, by)), s.result, rtol=1e-13, atol=1e-15
        )


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_a_reader_with_a_calculator_gets_there(name: str) -> None:
    e = read(name)
    by = numbers(e)
    found = recount(e, by, worked(name).steps, 6)
    assert found.numbers > 15
    assert found.differ <= found.numbers // 3
    assert found.worst <= 10
    assert recount(e, by, worked(name).steps, 15).numbers == found.numbers


def test_what_comes_out_of_no_rounded_number_is_counted() -> None:
    """With two digits, 1 − z is 1 − 1.0: there is nothing to divide by."""
    e = replace(
        read("softmax"), loss="binary_cross_entropy", sigma={1: "tanh", 2: "sigmoid"},
        b={1: np.zeros(2), 2: np.array([9.0, 0.5, 0.25])},
    )  # fmt: skip
    h = made(e, Wish(digits=2), ("refbp",))
    assert recount(e, numbers(e), h.steps, 2).lost > 0
    assert any(re.search(r"last digit, and \d+ not at all: it takes more", n) for n in h.notes)


def test_a_power_of_ten_is_put_in_parentheses_before_it_is_squared_or_divided_by() -> None:
    """Or LaTeX has two superscripts, and a / 1.5 × 10^7 is another number."""
    small = Num(1.5e-7, ("Z", 1))
    assert written(sigma_prime_cell("tanh", small, small), 6) == r"1 - (1.5 \times 10^{-7})^2"
    one = Num(1.0, ("Y", 0))
    assert (
        written(LOSSES["cross_entropy"].slope_cell(small, one), 6) == r"-1 / (1.5 \times 10^{-7})"
    )
    h = made(replace(read("softmax"), X=np.array([[18.0, 2.0], [-1.0, 0.5]]), b={
        1: np.zeros(2), 2: np.array([18.0, 0.5, 0.25])}), Wish(), ("refbp",))  # fmt: skip
    filled = [p.latex for _, lines in h.sections for x in lines for p in x.filled]
    assert any(re.search(r"\} / \(\d\.\d+ \\times 10", f) for f in filled)


def test_small_integers_come_out_exactly() -> None:
    e = read("three-hidden-layers")
    assert recount(e, numbers(e), worked("three-hidden-layers").steps, 6).differ == 0
    assert any("every result comes out as shown" in n for n in worked("three-hidden-layers").notes)


@pytest.mark.parametrize("name", ALL)
def test_torch_jax_and_refbp_agree(name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    found = worked(name).answers
    assert [a.name for a in found] == ["refbp", "torch-cpu", "jax-cpu"]
    for a in found:
        assert a.verdict == "conforms"
        assert min(a.digits.values()) == 6
        assert ("delta", 1) in a.digits


def test_what_is_not_installed_is_not_run() -> None:
    h = made(read("two-layers"), Wish(), ("refbp", "torch-cuda"))
    refused = h.answers[1]
    assert refused.verdict == "not-run"
    assert not refused.ran
    assert refused.reason
    assert not any("torch" in n for n in h.notes)
    assert any("refbp computes the same digits" in n for n in h.notes)


KEYS = [s.key for s in steps(read("two-layers"), numbers(read("two-layers")))]

# --- what it explains -----------------------------------------------------------------------------------

LETTERS = {
    "gelu": {
        "Φ": lambda a: (1 + math.erf(a / 2**0.5)) / 2,
        "φ": lambda a: math.exp(-a * a / 2) / math.tau**0.5,
    },
    "gelu_tanh": {
        "s": (s := lambda a: 1 / (1 + math.exp(-1.5957691216 * a - 0.0713548163 * a**3))),
        "p": lambda a: (1 - s(a)) * (1.5957691216 + 0.2140644488 * a * a),
    },
    "silu": {"s": lambda a: 1 / (1 + math.exp(-a))},
    "mish": {
        "t": (t := lambda a: math.tanh(math.log(1 + math.exp(a)))),
        "p": lambda a: (1 - t(a) ** 2) / (1 + math.exp(-a)),
    },
}
PYTHON = (
    (r"\\Phi", "Φ"), (r"\\varphi", "φ"), (r"\\left\[|\\right\]", lambda m: "()"["r" in m[0]]),
    (r"\|(.*?)\|", r"abs(\1)"), (r"\\lt", "<"), (r"\\le\b", "<="), (r"\\ge\b", ">="), (r"\\ln", "log"),
    (r"e\^\{([^{}]*)\}", r"exp(\1)"), (r"\^\{([^{}]*)\}", r"**(\1)"), (r"\^", "**"),
    (r"\\cdot|\\,|\\times", "*"), (r"\\;", ""), (r"([\d)]) *(?=\()", r"\1*"), (r"\\", ""),
)  # fmt: skip


def by_hand(name: str, formula: str) -> float:
    """What a formula gives that has its numbers in it."""
    for pattern, python in PYTHON:
        formula = re.sub(pattern, python, formula)
    names = {k: getattr(math, k) for k in ("exp", "log", "tanh", "sin", "cos")}
    return float(eval(formula.strip(), {**names, **LETTERS.get(name, {})}))


@pytest.mark.parametrize("name", SIGMA)
def test_every_sigma_can_be_filled_in_by_hand(name: str) -> None:
    """σ and σ' as they are written, with numbers in them, on both sides of each break and at it."""
    sigma = refbp.ACTIVATIONS[name]
    assert isinstance(sigma, refbp.Elementwise)
    for a in (-7.0, -3.0, -1.25, -0.5, 0.0, 0.5, 1.0, 2.75, 3.0, 6.0, 8.5):
        z = float(sigma(np.array([[a]]))[0, 0])
        u, v = Num(a, ("A", 1)), Num(z, ("Z", 1))
        value = by_hand(name, written(sigma_cell(name, u), 15))
        slope = by_hand(name, written(sigma_prime_cell(name, u, v), 15))
        assert value == pytest.approx(z, rel=1e-8, abs=1e-9), a
        assert slope == pytest.approx(
            float(sigma.derivative(np.array([[a]]))[0, 0]), rel=1e-8, abs=1e-9
        ), a


def test_each_sigma_has_a_row_and_says_what_its_letters_are() -> None:
    assert set(SIGMA) == {
        k for k, s in refbp.ACTIVATIONS.items() if isinstance(s, refbp.Elementwise)
    }
    for name, letters in LETTERS.items():
        assert all(f"{letter}(a) " in legend(name) for letter in letters)


def test_each_kind_of_step_says_why_once() -> None:
    """In the convention of the example, and of a batch what is so of a batch alone."""
    kinds = {"two-layers-batch": set(WHY) - {"T", "S"}, "softmax": set(WHY) - {"last", "Z"}}
    for name, of in kinds.items():
        notes = [s.note for s in worked(name).steps]
        for kind in of:
            start = re.split(r"[{.]", WHY[kind])[0]
            assert sum(n.startswith(start) for n in notes) == 1, kind
    batch, one = (
        " ".join(s.note for s in worked(n).steps) for n in ("two-layers-batch", "two-layers")
    )
    assert "The product sums over the examples." in batch
    assert "The product sums over the examples." not in one
    assert "it is W_{l+1}" in batch
    assert "W_4 without its transpose" in one
    assert "not at z_2" in one


@pytest.mark.parametrize("name", ["column", "log-column"])
def test_the_softmax_of_a_column_is_that_of_a_row(name: str, tmp_path: Path) -> None:
    """The same numbers as the same network has in a batch of one, and each line of NumPy gives them."""
    e = wide(name, tmp_path)
    h = made(e, Wish(), ("refbp",))
    rows = {s.key: s.result for s in made(replace(e, convention="rows"), Wish(), ("refbp",)).steps}
    names_ = environment(e, numbers(e))
    for s in h.steps:
        assert s.result.T.tolist() == rows[s.key].tolist()
        np.testing.assert_allclose(recomputed(s, names_), s.result, rtol=1e-12)
    assert any(s.note.startswith("It is (") for s in h.steps)


def test_a_weight_is_followed_as_mazur_does() -> None:
    """His own example, his own numbers: ∂E/∂w1 = 0.036350306 · 0.241300709 · 0.05, the last of a sum."""
    e = read("mazur")
    by = numbers(e)
    steps_ = list(chain(e, by, weight(e, "W_1[0,0]")))
    assert [float(f"{s.result[0, 0]:.6g}") for s in steps_] == [
        0.138499, -0.0380982, 0.00877135, 0.000438568, 0.149781,
    ]  # fmt: skip
    shown_ = written(steps_[2].filled, 6)
    assert shown_ == r"(0.138499 \cdot 0.4 + (-0.0380982) \cdot 0.5) \cdot 0.241301"
    assert written(steps_[3].filled, 6) == r"0.00877135 \cdot 0.05"


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_the_chain_rule_of_every_weight_ends_in_its_gradient(name: str) -> None:
    """Each line, computed from the numbers in it, gives its result: of every weight of every layer."""
    e = read(name)
    by = numbers(e)
    for l, W in e.W.items():
        for j, k in np.ndindex(e.shaped(W).shape):
            w = weight(e, f"W_{l}[{j},{k}]")
            *_, last, new = chain(e, by, w)
            assert last.result[0, 0] == e.shaped(by["dW", l])[j, k]
            assert new.result[0, 0] == e.shaped(by["W_new", l])[j, k]
            for s in chain(e, by, w):
                if s.filled:
                    value = by_hand("identity", written(s.filled, 15))
                    assert value == pytest.approx(float(s.result[0, 0]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_finite_differences_agree_with_the_gradient(name: str) -> None:
    """ℒ by refbp with the weight moved; the quotient near the gradient, all of it certified to ten digits."""
    e = read(name)
    by = numbers(e)
    w = weight(e)
    (more, a), (less, b), (quotient, c) = differences(e, by, w, 10)
    assert (a, b, c) == ("", "", "")
    for s, h in ((more, 0.01), (less, -0.01)):
        W = {l: M.copy() for l, M in e.W.items()}
        W[w.l][w.row, w.column] += h
        moved = numbers(replace(e, W=W))["loss", 0]
        assert s.result[0, 0] == pytest.approx(moved[0, 0], rel=1e-14)
    gradient = by["dW", w.l][w.row, w.column]
    assert quotient.result[0, 0] == pytest.approx(gradient, rel=0.05, abs=1e-4)


def test_a_wrong_gradient_does_not_agree_with_finite_differences() -> None:
    e = read("mazur")
    by = numbers(e)
    by["dW", 1] = 1.01 * by["dW", 1]
    (_, _), (_, _), (quotient, _) = differences(e, by, weight(e), 10)
    assert quotient.note.startswith("The gradient of w, to 2 digits.")


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_the_graph_has_every_number_above_and_its_gradient_below(name: str) -> None:
    e = read(name)
    by = numbers(e)
    figure = circuit(e, by)
    assert figure.caption.startswith("The computation graph with its numbers, to 3 digits.")
    texts = {
        k: re.findall(rf'class="middle {k}">([^<]+)<', figure.picture) for k in ("value", "grad")
    }
    of = {
        "value": [
            ("Z", 0),
            *((q, l) for l in e.W for q in ("A", "Z", "W", *(["b"] if e.b else []))),
        ],
        "grad": [(q, l) for l in e.W for q in ("delta", "G", "dW")],
    }
    if e.b and not e.fixed_biases:
        of["grad"] += [("db", l) for l in e.W]
    of["value"] += [("loss", 0)]
    for kind, keys in of.items():
        assert sorted(texts[kind]) == sorted(
            plain(float(x), 3) for k in keys for x in by[k].ravel()
        )
    hidden = circuit(e, by, {k for keys in of.values() for k in keys})
    left = re.findall(r'class="middle (?:value|grad)">([^<]+)<', hidden.picture)
    assert all(
        x.startswith(("∂ℒ/∂", "δ")) for x in left
    )  # names, in a graph that would be too wide


def test_a_graph_that_is_too_wide_has_names_for_its_numbers(tmp_path: Path) -> None:
    e = wide("wide-softmax", tmp_path)
    figure = circuit(e, numbers(e))
    assert figure.caption.startswith("The computation graph. Above")
    grads = re.findall(r'class="middle grad">([^<]+)<', figure.picture)
    assert sorted(grads) == sorted(
        f"{q}{l}" for l in "₁₂₃" for q in ("δ", "∂ℒ/∂W", "∂ℒ/∂b", "∂ℒ/∂Z")
    )
    assert 'class="middle value"' not in figure.picture


def test_the_gradients_between_layers_are_certified() -> None:
    """∂ℒ/∂z of a hidden layer is in the graph alone."""
    e = read("softmax")
    by, exact = numbers(e), truth(e, numbers(e))
    assert (certified(by["G", 1], exact["G", 1], 6) == 6).all()


def test_five_layers_show_their_weights() -> None:
    W = {l: np.full((1, 1), l / 8) for l in range(1, 6)}
    e = replace(read("two-layers"), W=W, b={}, X=np.ones((1, 1)), sigma=dict.fromkeys(W, "tanh"))
    picture = units(e, 6).picture
    assert all(f">{l / 8:g}<" in picture for l in W)


def test_a_sigma_with_a_prime_in_free_text_has_its_index(tmp_path: Path) -> None:
    h = made(wide("column", tmp_path), Wish(), ("refbp",))
    assert "σ&#39;<sub>2</sub> and δ<sub>l-1</sub>" in rendered(h, "html")
    assert r"$\sigma$'$_{2}$" in rendered(h, "tex")


@pytest.mark.parametrize("name", ["two-layers", "three-hidden-layers", "softmax", "dead-relu"])
def test_variants_differ_and_come_out_short(name: str) -> None:
    """Shorter than most networks drawn like them; every step of each certified; the same for a seed."""
    e = read(name)
    made_ = [variant(e, seed) for seed in range(4)]
    assert len({str(v.W) for v in made_}) == 4
    assert str(variant(e, 2).W) == str(made_[2].W)
    for v in made_:
        made(v, Wish(), ("refbp",))
        drawn = sorted(many for many, _ in _drawn(v, np.random.default_rng(99)))
        mine = sum(_digits(float(x)) for s in steps(v, numbers(v)) for x in s.result.ravel())
        assert mine < drawn[len(drawn) // 4]


# --- planted mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_planted_wrong_step_is_caught(key: tuple[str, int]) -> None:
    e = read("two-layers")
    exact = truth(e, numbers(e))
    good = worked("two-layers").steps
    check(good, exact, e)
    for wrong in (lambda M: M * (1 + 1e-6), lambda M: M[::-1] + 1e-3, lambda M: M * np.nan):
        bad = tuple(replace(s, result=wrong(s.result)) if s.key == key else s for s in good)
        with pytest.raises(HandoutError, match="which is certified: take numbers nearer"):
            check(bad, exact, e)


def test_a_wrong_line_of_numpy_is_not_its_result() -> None:
    e = read("two-layers-batch")
    by = numbers(e)
    (s,) = (s for s in steps(e, by) if s.key == ("delta", 1))
    wrong = replace(s, code="delta[1] = (delta[2] @ W[2].T) * Z[1]")
    assert not np.allclose(recomputed(wrong, environment(e, by)), s.result)


def test_a_framework_that_is_off_is_not_said_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """One digit less in its δ_1 stands beside its name."""
    right = agreement.of_trace

    def off(e: Example, t: object) -> dict[tuple[str, int], object]:
        found = right(e, t)  # type: ignore[arg-type]
        found["delta", 1] = found["delta", 1] * (1 + 3e-5)
        return found  # type: ignore[return-value]

    monkeypatch.setattr(agreement, "of_trace", off)
    h = made(read("two-layers"), Wish(), ("refbp",))
    assert h.answers[0].digits["delta", 1] < 6
    (mark,) = (x.mark for _, lines in h.sections for x in lines if x.step.key == ("delta", 1))
    assert mark == "refbp agrees to 4 digits"
    assert any(n.startswith("Unless a step says otherwise, every number") for n in h.notes)


@pytest.mark.parametrize(
    ("W", "b", "y"),
    [
        ([0.1, 0.2], -0.3, 7.0),  # not 0 as floats, though 0 on paper
        ([0.3, 0.6], -0.9, 7.0),
        ([0.1, 0.2], 0.4, 0.7),  # the target is the output
    ],
)
def test_rounding_alone_is_refused(W: list[float], b: float, y: float) -> None:
    bad = replace(
        read("two-layers"),
        sigma={1: "identity"}, W={1: np.array([W]).T}, b={1: np.array([b])},
        X=np.array([[1.0, 1.0]]), Y=np.array([[y]]), repeated=((1, 1),),
    )  # fmt: skip
    with pytest.raises(HandoutError, match="which is rounding alone: on paper it is 0"):
        made(bad, Wish(), ("refbp",))
    made(replace(bad, b={1: np.array([b + 0.5])}), Wish(), ("refbp",))


# --- published numbers --------------------------------------------------------------------------------


def test_mazurs_numbers() -> None:
    """As he published them: all agree but the total after one step, which is what a known mistake gives."""
    found = {c.published.what: c for c in worked("mazur").compared}
    published = {
        "output o1": ".75136507", "output o2": ".772928465", "total error": ".298371109",
        "∂E/∂w5": ".082167041", "∂E/∂w1": ".000438568", "new w1": ".149780716", "new w2": ".19956143",
        "new w3": ".24975114", "new w4": ".29950229", "new w5": ".35891648", "new w6": ".408666186",
        "new w7": ".511301270", "new w8": ".561370121", "total error after one step": ".291027924",
    }  # fmt: skip
    assert {what: Decimal(v) for what, v in published.items()} == {
        what: c.published.value for what, c in found.items()
    }
    assert [what for what, c in found.items() if not c.agrees] == ["total error after one step"]
    last = found["total error after one step"]
    assert round(last.ours, 9) == 0.291027774
    assert last.instead is not None
    assert round(last.instead, 9) == 0.291027924
    assert "W_{l+1} is updated before δ_l" in last.reason


def test_a_digit_more_than_is_true_does_not_agree() -> None:
    e = read("mazur")
    for value, agrees in (("0.7514", True), ("0.75136507", True), ("0.75136508", False)):
        p = Published("o1", "Z", Decimal(value), 2, (0, 0), "a slip")
        (c,) = agreement.compared(replace(e, published=(p,)), truth(e, numbers(e)))
        assert c.agrees == agrees
        assert c.instead is None


def test_fixed_biases_stay() -> None:
    keys = {s.key[0] for s in worked("mazur").steps}
    assert not keys & {"db", "b_new"}
    assert {"db", "b_new"} <= {s.key[0] for s in worked("two-layers").steps}


# --- what an example is to show -----------------------------------------------------------------------


def test_the_dead_unit_is_dead() -> None:
    by = {s.key: s.result for s in worked("dead-relu").steps}
    assert (by["A", 1][:, 1] < 0).all()
    assert (by["delta", 1][:, 1] == 0).all()
    assert (by["dW", 1][:, 1] == 0).all()
    assert by["W_new", 1][:, 1].tolist() == read("dead-relu").W[1][:, 1].tolist()
    assert (by["dW", 2][1] == 0).all()


def test_the_gradient_vanishes() -> None:
    (figure,) = worked("vanishing-gradients").plots
    sizes = [row[1] for row in figure.table[1:]]
    assert len(sizes) == 20
    assert "× 10^−" in sizes[0]
    assert "at least 6 digits are certified" in figure.caption


def test_xor_is_learnt() -> None:
    losses, boundary = worked("xor").plots
    assert "falls from 0.716 to 0.0225" in losses.caption
    assert "4 of 4 examples are on their side" in boundary.caption


def test_softmax_and_cross_entropy_cancel() -> None:
    e = read("softmax")
    by = {s.key: s.result for s in worked("softmax").steps}
    np.testing.assert_allclose(by["delta", 2], (by["Z", 2] - e.Y) / 2, rtol=1e-14)
    notes = [s.note for s in worked("softmax").steps if s.key == ("delta", 2)]
    assert notes == ["It is (Z − Y)/n, as the rows of Y sum to 1."]


@pytest.mark.parametrize("activation", sorted(refbp.ACTIVATIONS))
@pytest.mark.parametrize(
    "loss", ["mean_squared_error", "half_squared_error", "mean_absolute_error", "huber"]
)
def test_every_activation_and_loss_is_written_and_right(activation: str, loss: str) -> None:
    e = replace(
        read("two-layers-batch"), loss=loss,
        sigma={1: "leaky_relu" if "softmax" in activation else activation, 2: activation},
    )  # fmt: skip
    by = numbers(e)
    of = steps(e, by)
    check(of, truth(e, by), e)
    for s in of:
        got = recomputed(s, environment(e, by))
        np.testing.assert_allclose(got, s.result, rtol=1e-9, atol=1e-12, err_msg=str(s.key))
        assert written(s.filled, 6) == whole(pieces(s.filled, 6))
        assert all(p.latex for p in pieces(s.filled, 6))


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("sigmoid", "binary_cross_entropy"),
        ("softmax", "cross_entropy"),
        ("log_softmax", "log_softmax_cross_entropy"),
    ],
)
def test_heads(output: str, loss: str) -> None:
    e = replace(read("softmax"), loss=loss, sigma={1: "tanh", 2: output})
    by = numbers(e)
    check(steps(e, by), truth(e, by), e)
    for s in steps(e, by):
        np.testing.assert_allclose(
            recomputed(s, environment(e, by)), s.result, rtol=1e-12, atol=1e-15
        )


def test_what_is_not_finite_is_refused() -> None:
    e = replace(read("softmax"), sigma={1: "tanh", 2: "relu"}, loss="cross_entropy")
    with pytest.raises(
        HandoutError, match="line 10: loss is 'cross_entropy' and gives no finite delta of layer"
    ):
        numbers(e)
