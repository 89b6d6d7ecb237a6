"""Losing digits is not a mistake: the verdict `inaccurate`, with where it shows and the formula that keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import erfc, expit
from under_test import silu

from conformance import assert_activation_conforms, check_activation
from conformance.commands.main import main
from conformance.judge.inaccuracy import STABLE

pytestmark = pytest.mark.zoo

FILE = Path(__file__).with_name("under_test.py")
K = math.sqrt(2 / math.pi)


class Naive(NamedTuple):
    """σ and σ' by formulas that cancel; which of them do, the name of σ, and where."""

    sigma: Callable[[Any], Any]
    prime: Callable[[Any], Any]
    of: tuple[str, ...]
    name: str
    domain: tuple[float, float] = (-80.0, 80.0)


def tanh(x: Any) -> Any:
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


def inner(x: Any) -> Any:
    return K * (x + 0.044715 * x**3)


def gelu_tanh(x: Any) -> Any:
    return x * (1 + np.tanh(inner(x))) / 2


def gelu_tanh_prime(x: Any) -> Any:
    t = np.tanh(inner(x))
    return (1 + t) / 2 + x * (1 - t * t) / 2 * K * (1 + 3 * 0.044715 * x * x)


def safe_exp(x: Any) -> Any:
    return np.exp(np.minimum(x, 0))


def elu(x: Any) -> Any:
    return np.where(x > 0, x, safe_exp(x) - 1)


def selu(x: Any) -> Any:
    a, s = 1.6732632423543772, 1.0507009873554805
    return s * np.where(x > 0, x, a * (safe_exp(x) - 1))


def selu_prime(x: Any) -> Any:
    a, s = 1.6732632423543772, 1.0507009873554805
    return np.where(x > 0, s + 0 * x, s * a * safe_exp(x))


# fmt: off
NAIVE = {
    "exp(a) − 1":            Naive(elu, safe_exp, ("σ",), "elu"),
    "z + 1":                 Naive(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.minimum(np.expm1(np.minimum(x, 0)), 0) + 1, ("σ'",), "elu"),
    "λα(exp(a) − 1)":        Naive(selu, selu_prime, ("σ",), "selu"),
    "log(1 + exp(a))":       Naive(lambda x: np.log(1 + np.exp(x)), expit, ("σ",), "softplus"),
    "−log(1 + exp(−a))":     Naive(lambda x: -np.log(1 + np.exp(-x)), lambda x: 1 - expit(x), ("σ", "σ'"), "logsigmoid"),
    "tanh by exponentials":  Naive(tanh, lambda x: 1 - tanh(x) ** 2, ("σ", "σ'"), "tanh", (-40.0, 40.0)),
    "1 − z²":                Naive(np.tanh, lambda x: 1 - np.tanh(x) ** 2, ("σ'",), "tanh"),
    "s(1 − s)":              Naive(expit, lambda x: expit(x) * (1 - expit(x)), ("σ'",), "sigmoid"),
    "x(1 + tanh u)/2":       Naive(gelu_tanh, gelu_tanh_prime, ("σ", "σ'"), "gelu_tanh"),
    "√(1 + x²) − 1":         Naive(lambda x: np.sqrt(1 + x * x) - 1, lambda x: x / np.sqrt(1 + x * x), ("σ",), ""),
}
STABLY = {
    "elu":       Naive(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), safe_exp, (), "elu"),
    "softplus":  Naive(lambda x: np.logaddexp(0, x), expit, (), "softplus"),
    "softplus, log1p": Naive(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), expit, (), "softplus"),
    "logsigmoid": Naive(lambda x: -np.logaddexp(0, -x), lambda x: expit(-x), (), "logsigmoid"),
    "tanh":      Naive(np.tanh, lambda x: 1 / np.cosh(x) ** 2, (), "tanh", (-40.0, 40.0)),
    "sigmoid":   Naive(expit, lambda x: expit(x) * expit(-x), (), "sigmoid"),
    "gelu":      Naive(lambda x: 0.5 * x * erfc(-x / math.sqrt(2)), lambda x: 0.5 * erfc(-x / math.sqrt(2)) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi), (), "gelu"),
    "gelu_tanh": Naive(lambda x: x * expit(2 * inner(x)), lambda x: expit(2 * inner(x)) + x * expit(2 * inner(x)) * expit(-2 * inner(x)) * 2 * K * (1 + 3 * 0.044715 * x * x), (), "gelu_tanh"),
}
# fmt: on


def of(row: Naive, prime: Any = None, **more: Any) -> Any:
    return check_activation(
        row.sigma, prime or row.prime, domain=row.domain, **{"network": False, **more}
    )


@pytest.mark.parametrize("name", NAIVE)
def test_it_is_inaccurate_with_a_place_and_the_stable_formula(name: str) -> None:
    row = NAIVE[name]
    c = of(row)
    assert (c["verdict"], c["exit_code"]) == ("inaccurate", 0), c["message"]
    found = {f["of"]: f for f in c["findings"] if f["severity"] == "inaccurate"}
    assert tuple(found) == row.of
    for symbol, f in found.items():
        assert f["digits"] < 8, f
        assert abs(float(f["x"])) <= 80
        stable = STABLE["Z" if symbol == "σ" else "delta"].get(row.name, "expm1, log1p, erfc")
        assert stable in f["remedy"]
    first = found[row.of[0]]
    start = f"no mistake, but {row.of[0]} loses digits at x = {first['x']}: got {first['got']}, "
    assert c["message"].startswith(start)
    assert first["remedy"] in c["message"]
    strict = of(row, strict=True)
    assert strict["exit_code"] == 1
    assert strict["verdict"] in ("inaccurate", "wrong")  # wrong by a warning of something else


@pytest.mark.parametrize("name", STABLY)
def test_the_stable_formula_is_right(name: str) -> None:
    c = of(STABLY[name])
    assert c["verdict"] == "right", c["message"]
    assert not [f for f in c["findings"] if f["severity"] == "inaccurate"]


@pytest.mark.parametrize("factor", [1 + 1e-6, 1 + 1e-13])
@pytest.mark.parametrize("name", NAIVE)
def test_a_mistake_does_not_hide_among_lost_digits(name: str, factor: float) -> None:
    row = NAIVE[name]
    c = of(row, lambda x: row.prime(x) * factor)
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1), c["message"]
    assert "wrong-derivative" in {f["kind"] for f in c["findings"]}


def test_networks_are_right_with_it() -> None:
    c = of(NAIVE["exp(a) − 1"], network=True)
    assert c["verdict"] == "inaccurate", c["message"]
    assert {n["verdict"] for n in c["networks"]} <= {"conforms", "inaccurate"}


def test_an_assertion_holds_unless_it_is_strict() -> None:
    row = NAIVE["1 − z²"]
    assert_activation_conforms(row.sigma, row.prime, network=False)
    with pytest.raises(AssertionError, match=r"^inaccurate: no mistake, but σ' loses digits"):
        assert_activation_conforms(row.sigma, row.prime, network=False, strict=True)


def test_what_autodiff_of_sigma_alone_loses_is_inaccurate_too() -> None:
    def logcosh(x: Any) -> Any:
        a = np.abs(x)
        return a + np.log1p(np.exp(-2 * a)) - math.log(2)

    c = check_activation(logcosh, autodiff=True, network=False)
    lost = {f["kind"] for f in c["findings"] if f["severity"] == "inaccurate"}
    assert lost >= {"cancellation"}
    assert c["verdict"] == "inaccurate"


def test_the_command_says_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n\ndef elu(x):\n    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)\n\n"
        "def prime(x):\n    return np.exp(np.minimum(x, 0))\n"
    )
    args = ["activation", f"{file}:elu", f"{file}:prime", "--no-autodiff", "--no-network"]
    html = tmp_path / "r.html"
    done = CliRunner().invoke(main, [*args, "--report", str(html)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("inaccurate: no mistake, but σ loses digits at x = ")
    assert "Stable, where a is x and z is σ(x): np.expm1(a), not np.exp(a) - 1." in done.output
    assert "≈ inaccurate: σ: digits lost at x = " in done.output
    assert "≈</span> Inaccurate" in html.read_text(encoding="utf-8")
    strict = CliRunner().invoke(main, [*args, "--strict"])
    assert strict.exit_code == 1
    assert strict.output.startswith("inaccurate: ")


def test_what_nobody_can_keep_is_not_lost() -> None:
    """e^{−x²/2} at −30 turns half a unit of x into 450 units of the result, in any formula."""
    c = check_activation(lambda x: np.exp(-x * x / 2), lambda x: -x * np.exp(-x * x / 2), network=False)  # fmt: skip
    assert c["verdict"] == "right", c["message"]
    assert check_activation(silu, truth="silu", network=False)["verdict"] == "right"


def test_each_way_that_loses_digits_says_so_in_its_row() -> None:
    """torch and JAX run the same formula: a row with no digit right is not called right."""
    found = check_activation(
        elu, lambda x: np.where(x > 0, 1.0, safe_exp(x)), autodiff=True, network=False
    )
    values = [w for w in found["ways"] if w["of"] == "value" and w["dtype"] != "bfloat16"]
    assert {w["verdict"] for w in values} == {"inaccurate"}
    assert len(values) == 6
    kinds = [f["of"] for f in found["findings"] if f["kind"] == "cancellation"]
    assert kinds == ["σ"]  # told once, of the formula
