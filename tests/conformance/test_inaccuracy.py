"""Losing digits is not a mistake, and no mistake is a loss of digits: naive formulas are `inaccurate` with
the stable form named, faults and small relative errors stay `deviates`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fast import fast

from conformance.cases.catalogue import Case
from conformance.cases.profiles import cases, find
from conformance.commands.main import main
from conformance.implementations import NotRunError, given
from conformance.judge.gates import judge
from conformance.judge.mistakes.loop import STEPS, Loop, State, planted
from conformance.judge.mistakes.table import FAULTS
from conformance.judge.result import judged_by
from conformance.judge.subject import Subject
from conformance.model.problem import Floats, Problem, Trace
from conformance.model.results import Result

Steps = Mapping[str, Callable[..., Any]]


@cache
def subject(case: str | Case) -> Subject:
    return Subject(find(case) if isinstance(case, str) else case)


class Mine:
    """refbp's lines with some replaced, in one dtype where it knows no other."""

    name, description = "mine", "replaced"

    def __init__(self, steps: Steps, only: str = "", without: tuple[str, ...] = ()) -> None:
        self.steps, self.only, self.without = steps, only, without
        self.loop = Loop({**STEPS, **steps})

    def run(self, p: Problem) -> Trace:
        if self.only and p.dtype != self.only:
            raise NotRunError(f"{self.only} alone")
        left_out: dict[str, Any] = {q: {} for q in self.without if q != "loss"}
        left_out |= {"loss": None} if "loss" in self.without else {}
        with np.errstate(all="ignore"):
            return replace(self.loop.run(p), **left_out)


def judged(case: str | Case, steps: Steps, **how: Any) -> Result:
    impl: Any = Mine(steps, **how)
    with given({"mine": impl}):
        return judged_by(subject(case), "mine", impl)


# --- naive formulas -------------------------------------------------------------------------------


def on(name: str, f: Callable[[Floats], Floats]) -> Steps:
    """σ by f, where a layer has that σ."""

    def step(s: State, l: int) -> Any:
        return f(s.A[l]) if s.p.sigma[l] == name else STEPS["Z"](s, l)

    return {"Z": step}


def _elu(a: Floats, scale: float = 1.0, alpha: float = 1.0) -> Floats:
    t = a.dtype.type
    return np.where(a > 0, t(scale) * a, t(scale * alpha) * (np.exp(a) - 1))


def _tanh(a: Floats) -> Floats:
    p, q = np.exp(a), np.exp(-a)
    return np.asarray((p - q) / (p + q))


def _rows(a: Floats) -> Floats:
    return np.asarray(np.exp(a) / np.exp(a).sum(axis=1, keepdims=True))


NAIVE: Mapping[str, tuple[Callable[[Floats], Floats], str]] = {
    "elu": (_elu, "np.expm1(a)"),
    "celu": (_elu, "np.expm1(a)"),
    "selu": (lambda a: _elu(a, 1.0507009873554805, 1.6732632423543772), "np.expm1(a)"),
    "softplus": (lambda a: np.log(1 + np.exp(a)), "log1p"),
    "logsigmoid": (lambda a: -np.log(1 + np.exp(-a)), "log1p"),
    "mish": (lambda a: a * np.tanh(np.log(1 + np.exp(a))), "log1p"),
    "tanh": (_tanh, "np.tanh(a)"),
    "log_softmax": (lambda a: np.log(_rows(a)), "max of the row"),
}

FAMILIES = (
    "typical/{}/L1/n7/{}",
    "square/{}/L3/n7/{}/w4-4",
    "underflow/{}>identity+mean_squared_error/L2/n7/{}",
    "saturating/{}>identity+mean_squared_error/L2/n7/{}",
)


EXHAUSTIVE = {c.id: c for c in cases("exhaustive")}
NETWORKS = [
    (name, EXHAUSTIVE[id])
    for name in NAIVE
    for dtype in ("float64", "float32")
    for pattern in FAMILIES
    if (id := pattern.format(name, dtype)) in EXHAUSTIVE
]


@pytest.mark.parametrize(("name", "case"), NETWORKS, ids=lambda x: getattr(x, "id", x))
def test_a_naive_formula_is_no_mistake(name: str, case: Case) -> None:
    """Inaccurate, with its stable form, or within tolerance; where it leaves the range, it deviates."""
    f, stable = NAIVE[name]
    result = judged(case, on(name, f))
    if result["first_deviation"] and result["first_deviation"]["error"] == "inf":
        assert result["verdict"] == "deviates"
    elif result["verdict"] != "conforms":
        assert result["verdict"] == "inaccurate", result["message"]
        assert stable in result["message"]
        assert "as many roundings in float64" in result["message"]
        assert {s["quantity"] for s in result["blame"]} == {"Z"}
        assert stable in result["diagnosis"][0]["suggestion"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name",
    fast(["elu", "celu", "selu", "softplus", "logsigmoid", "mish", "tanh"], "softplus"),
)
def test_every_naive_formula_loses_digits_somewhere(name: str, dtype: str) -> None:
    """The test above would pass where nothing is ever found."""
    own = [c for n, c in NETWORKS if n == name and c.dtype == dtype]
    depth = [replace(c, batch=64, seed=s) for c in own[:1] for s in range(4)]
    verdicts = {judged(c, on(name, NAIVE[name][0]))["verdict"] for c in [*own, *depth]}
    assert "inaccurate" in verdicts


def _selecting(name: str, dtype: str, a: list[float]) -> Subject:
    """One layer with A_1 = X = a."""
    X = np.array([a], dtype)
    p = Problem(
        {1: np.eye(len(a), dtype=dtype)}, X, np.zeros_like(X), {1: name}, "mean_squared_error",
        False, float(np.dtype(dtype).type(0.1)),
    )  # fmt: skip
    found = Subject(Case("typical", name, 1, 1, dtype, (len(a), len(a))))
    found.__dict__["problem"] = p
    return found


def on_these(name: str, dtype: str, a: list[float], steps: Steps, **how: Any) -> Result:
    impl: Any = Mine(steps, **how)
    with given({"mine": impl}):
        return judged_by(_selecting(name, dtype, a), "mine", impl)


LOST = [1e-3, -1e-6, 1e-9, -1e-12, 1e-17, -1e-30, -1e-300]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["elu", "tanh"])
def test_all_digits_may_be_lost(name: str, dtype: str) -> None:
    """exp(a) − 1 is 0 in both dtypes at 1e-17, where r is 2²⁹ times as large in float64."""
    a = [-abs(x) for x in LOST]
    if dtype == "float32":
        a = a[:6]
    result = on_these(name, dtype, a, on(name, NAIVE[name][0]))
    assert result["verdict"] == "inaccurate", result["message"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_log_softmax_by_a_logarithm_that_is_not_shifted(dtype: str) -> None:
    naive = on("log_softmax", lambda a: a - np.log(np.exp(a).sum(axis=1, keepdims=True)))
    verdicts = set()
    for x in (80.1, 81.2, 82.3, 83.4, 84.5, 85.6):
        result = on_these("log_softmax", dtype, [x, x - 3.3], naive)
        verdicts.add(result["verdict"])
        if result["verdict"] == "inaccurate":
            assert "max of the row" in result["message"]
    assert "deviates" not in verdicts
    assert dtype == "float64" or "inaccurate" in verdicts  # float64 stays within what is allowed


def _from_output(s: State, l: int, G: Floats) -> Floats:
    return np.asarray(G * (1 - s.Z[l] * s.Z[l]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_slope_formed_from_the_output(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh' = 1 − z² in the tail, where it is held to refbp's."""
    monkeypatch.setattr(Mine, "like", "refbp", raising=False)
    result = on_these("tanh", dtype, [1.0, 3.0, 5.0, 7.0], {"delta": _from_output})
    assert result["verdict"] == "inaccurate", result["message"]
    assert "np.cosh(a)" in result["message"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loss_of_a_probability_that_is_small(dtype: str) -> None:
    def loss(s: State) -> Any:
        z, y, one = s.Z[s.L], s.p.Y, s.p.dtype.type(1)
        terms = y * np.log(z) + (one - y) * np.log(one - z)
        return np.asarray(-terms.sum() / s.p.dtype.type(s.n))

    of = _selecting("sigmoid", dtype, [-12.0, -14.0, -9.0])
    of.__dict__["problem"] = replace(of.problem, loss="binary_cross_entropy")
    impl: Any = Mine({"loss": loss})
    with given({"mine": impl}):
        result = judged_by(of, "mine", impl)
    assert result["verdict"] == "inaccurate", result["message"]
    assert "np.log1p(-z)" in result["message"]


# --- one dtype, and what is not returned ----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_it_computes_in_one_dtype_alone_that_is_said(dtype: str) -> None:
    steps = on("elu", NAIVE["elu"][0])
    result = on_these("elu", dtype, [-1e-3, -1e-5, -0.3], steps, only=dtype)
    assert result["verdict"] == "inaccurate", result["message"]
    assert f"there is {dtype} alone of it" in result["message"]


def test_one_dtype_alone_hides_no_mistake() -> None:
    a = [-1e-3, -1e-5, -0.3, 2.0]
    result = on_these("elu", "float64", a, _scaled("Z", 1e-13), only="float64")
    assert result["verdict"] == "deviates"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_no_step_can_be_judged_it_is_told_end_to_end(dtype: str) -> None:
    without = ("A", "Z", "delta", "W_new", "loss")
    a = [-1e-2, -1e-5, -1e-6, -1e-4]
    result = on_these("elu", dtype, a, on("elu", NAIVE["elu"][0]), without=without)
    assert result["verdict"] == "inaccurate", result["message"]
    assert result["message"].startswith("∂L/∂W_1")
    wrong = on_these("elu", dtype, a, _scaled("Z", 1e-3), without=without)
    assert wrong["verdict"] == "deviates"


# --- mistakes -------------------------------------------------------------------------------------


def _scaled(step: str, e: float) -> Steps:
    return {step: lambda s, *of: (STEPS[step](s, *of).astype(float) * (1 + e)).astype(s.p.dtype)}


def _one_element(e: float) -> Steps:
    def z(s: State, l: int) -> Any:
        Z = np.array(STEPS["Z"](s, l))
        k = np.abs(Z).argmax()
        Z.flat[k] = Z.flat[k] * (1 + e)
        return Z

    return {"Z": z}


def _in(pattern: str, dtype: str) -> Case:
    return replace(find(pattern.format("float64")), dtype=dtype)


MISTAKEN = (
    "typical/elu/L2/n7/{}/bias",
    "typical/tanh/L3/n7/{}",
    "heads/tanh>softmax+cross_entropy/L3/n7/{}",
    "saturating/mish>identity+mean_squared_error/L2/n7/{}",
    "saturating/tanh>identity+mean_squared_error/L2/n7/{}",
)


@pytest.mark.parametrize("pattern", MISTAKEN)
@pytest.mark.parametrize("like", fast(["", "refbp"], ""))
@pytest.mark.parametrize(
    ("steps", "dtype"),
    [
        (_scaled("delta", 1e-13), "float64"), (_one_element(1e-12), "float64"),
        (_scaled("delta", 1e-5), "float32"), (_one_element(1e-5), "float32"),
    ],
    ids=["slope-1e-13", "element-1e-12", "slope-1e-5", "element-1e-5"],
)  # fmt: skip
def test_a_mistake_near_rounding_is_one(
    pattern: str, like: str, steps: Steps, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mine, "like", like, raising=False)
    assert judged(_in(pattern, dtype), steps)["verdict"] == "deviates"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("pattern", MISTAKEN[:3])
def test_a_float32_mistake_of_1e_6_is_no_loss(pattern: str, dtype: str) -> None:
    assert judged(_in(pattern, dtype), _scaled("delta", 1e-6))["verdict"] != "inaccurate"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("wrong", [_scaled("delta", 1e-3), _scaled("Z", 1e-3), _scaled("dW", 1e-3)])
def test_a_mistake_beside_a_loss_of_digits_is_one(wrong: Steps, dtype: str) -> None:
    name, naive = "elu", on("elu", NAIVE["elu"][0])
    inner = naive["Z"]
    both = {**naive, **wrong}
    if "Z" in wrong:
        both["Z"] = lambda s, l: inner(s, l) * s.p.dtype.type(1.001)
    assert on_these(name, dtype, [-1e-3, -1e-5, -0.3], both)["verdict"] == "deviates"
    assert on_these(name, dtype, [-1e-3, -1e-5, -0.3], naive)["verdict"] == "inaccurate"


def test_one_wrong_element_does_not_hide_among_lossy_ones() -> None:
    """1e-10 in one element: beneath what others lose in units of tolerance, and no rounding of 1 or a."""
    naive = on("elu", NAIVE["elu"][0])["Z"]

    def z(s: State, l: int) -> Any:
        Z = np.array(naive(s, l))
        Z[0, -1] *= 1 + 1e-10
        return Z

    assert on_these("elu", "float64", [-1e-10, -1e-12, 0.5], {"Z": z})["verdict"] == "deviates"


def test_one_example_alone_hides_no_mistake_behind_the_batch() -> None:
    """The gate `row` alone sees it, and the batch loses digits."""
    naive = on("elu", NAIVE["elu"][0])
    case = replace(find("typical/elu/L2/n7/float64/bias"), seed=3)

    def delta(s: State, l: int, G: Floats) -> Any:
        right = STEPS["delta"](s, l, G)
        return right * 2 if s.n == 1 else right

    plain, both = judged(case, naive), judged(case, {**naive, "delta": delta})
    assert both["verdict"] == "deviates"
    assert plain["verdict"] in ("inaccurate", "conforms")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softmax_without_the_maximum_is_right_in_range_and_a_mistake_beyond(dtype: str) -> None:
    naive = on("softmax", _rows)
    small, most = [0.5, -2.0, 3.0], 710.0 if dtype == "float64" else 89.0
    assert on_these("softmax", dtype, small, naive)["verdict"] == "conforms"
    assert on_these("softmax", dtype, [0.5, most, 3.0], naive)["verdict"] == "deviates"


def test_what_overflows_is_a_mistake() -> None:
    result = on_these("tanh", "float64", [0.001, 800.0], on("tanh", _tanh))
    assert result["verdict"] == "deviates"


PLANTED = (
    "typical/elu/L2/n7/float64/bias", "heads/tanh>softmax+cross_entropy/L1/n7/float32/bias",
    "canonical/relu>sigmoid+binary_cross_entropy/L3/n7/float64/bias/w4-4-4-1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", PLANTED)
def test_no_fault_of_the_table_is_a_loss_of_digits(case: str) -> None:
    """But that which loses digits, and says so: σ' formed from the output."""
    found = {n: judged(case, planted(f.wrong))["verdict"] for n, f in FAULTS.items()}
    assert {n for n, v in found.items() if v == "inaccurate"} <= {"derivative-from-the-output"}
    assert 2 * sum(v == "deviates" for v in found.values()) >= len(FAULTS)  # others show elsewhere


# --- what is made of it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--profile", "quick", "--select", "activation=elu", "--jobs", "0"],
        ["show", "typical/elu/L2/n7/float64/bias"],
    ],
    ids=["run", "show"],
)
def test_it_is_exit_code_0_and_1_if_strict(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "naive.py"
    file.write_text(
        "import numpy as np\n"
        "from conformance.judge.mistakes.loop import STEPS, Loop\n"
        "class Naive:\n"
        "    name = 'naive'\n"
        "    def run(self, p):\n"
        "        elu = lambda a: np.where(a > 0, a, np.exp(a) - 1)\n"
        "        return Loop({**STEPS, 'Z': lambda s, l: elu(s.A[l])}).run(p)\n"
    )
    given_as = [*command, "--implementation", f"{file}:Naive"]
    plain, strict = (CliRunner().invoke(main, [*given_as, *more]) for more in ([], ["--strict"]))
    assert (plain.exit_code, strict.exit_code) == (0, 1), plain.output
    assert "inaccurate" in plain.output
    assert "np.expm1(a)" in plain.output


def test_an_implementation_may_say_that_it_rounds_every_value() -> None:
    """Then the step gate judges it more narrowly."""
    from conformance.judge.result import rounds_every_value

    impl: Any = Mine({})
    assert not rounds_every_value(impl)
    impl.rounds_every_value = True
    assert rounds_every_value(impl)
    case = "typical/tanh/L3/n7/float64"
    kept = judge(subject(case), "", impl.run(subject(case).problem), rounded=False)
    told = judge(subject(case), "", impl.run(subject(case).problem), rounded=True)
    ratios = [
        sum(float(r["ratio"]) for r in of["records"] if r["gate"] == "step") for of in (kept, told)
    ]
    assert ratios[0] < ratios[1]
    assert judged(case, {})["verdict"] == "conforms"
