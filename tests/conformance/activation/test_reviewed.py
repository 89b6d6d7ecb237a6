"""What a reader with fresh eyes broke: each stays mended."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import expit
from under_test import silu, silu_prime

from conformance import check_activation
from conformance.commands.activation.asserting import checked
from conformance.commands.activation.behaviour import Observation
from conformance.commands.activation.branches import Branch, Side
from conformance.commands.activation.facts import Facts
from conformance.commands.activation.messages import (
    NETWORKS,
    Branches,
    Observed,
    Problem,
    Stage,
    Unsearched,
    Values,
    decode,
    encode,
)
from conformance.commands.activation.problems import left_out, user_problems
from conformance.commands.activation.spec import CheckError, Spec
from conformance.commands.main import main
from conformance.tools.plain import plain_values

FILE = str(Path(__file__).with_name("under_test.py"))


def fast(f: Any, g: Any, **more: Any) -> Any:
    return check_activation(f, g, network=False, **more)


def sech2(x: Any) -> Any:
    return 1 / np.cosh(np.clip(x, -300, 300)) ** 2


def kinks(c: Any) -> list[tuple[float, str]]:
    return [(float(k["at"]), k["kind"]) for k in c["kinks"]]


# --- right ones that were rejected -------------------------------------------------------------------

S, A = 1.0507009873554805, 1.6732632423543772


def test_selu_as_it_is_documented_ties_on_a_whole_side() -> None:
    def selu(x: Any) -> Any:
        return S * (np.maximum(x, 0) + np.minimum(0, A * np.expm1(np.minimum(x, 0))))

    def prime(x: Any) -> Any:
        return np.where(x > 0, S + 0 * x, S * A * np.exp(np.minimum(x, 0)))

    c = fast(selu, prime, kinks={0.0: S * A})
    assert c["verdict"] == "right", c["message"]
    assert kinks(c) == [(0.0, "kink")]


def test_clipping_twice_has_two_kinks() -> None:
    def prime(x: Any) -> Any:
        return ((x > 0) & (x < 6)).astype(x.dtype)

    c = fast(lambda x: np.clip(np.clip(x, 0, 6), 0, 6), prime)
    assert c["verdict"] == "right", c["message"]
    assert kinks(c) == [(0.0, "kink"), (6.0, "kink")]


@pytest.mark.parametrize(
    ("f", "at"),
    [(np.rint, [-1.5, -0.5, 0.5, 1.5]), (np.round, [-1.5, -0.5, 0.5, 1.5]), (np.floor, [-2, -1, 0, 1, 2]),
     (np.ceil, [-2, -1, 0, 1, 2]), (np.trunc, [-2, -1, 1, 2])],
)  # fmt: skip
def test_steps_and_where_they_are(f: Any, at: list[float]) -> None:
    c = fast(lambda x: f(x), lambda x: 0 * x, domain=(-2.2, 2.2))
    assert c["verdict"] == "right", c["message"]
    found = [(x, kind) for x, kind in kinks(c) if kind != "smooth"]
    assert found == [(x, "jump") for x in at]


def test_what_cancels_in_logaddexp_is_rounding() -> None:
    c = fast(lambda x: -np.logaddexp(-x, -1.0), lambda x: 1 / (1 + np.exp(np.minimum(x - 1, 700))))
    assert c["verdict"] == "right", c["message"]


def test_an_overflow_on_the_way_to_almost_nothing_is_none_of_accuracy() -> None:
    for sigma in (lambda x: x / (1 + np.exp(-1.702 * x)), silu):
        c = check_activation(sigma, domain=(-712.0, 712.0), autodiff=("jax",), network=False)
        assert not [f for f in c["findings"] if f["of"] == "σ" and f["severity"] == "error"]


def test_a_growing_activation_leaves_its_networks_undecided() -> None:
    c = check_activation(lambda x: x + 0.1 * x**3, lambda x: 1 + 0.3 * x**2)
    assert c["verdict"] == "right", c["message"]
    assert {n["verdict"] for n in c["networks"]} == {"conforms", "undecided"}


def test_the_verdict_does_not_hang_on_the_name() -> None:
    def make(name: str) -> Any:
        def f(x: Any) -> Any:
            a = np.abs(x)
            return a + np.log1p(np.exp(-2 * a)) - math.log(2)

        f.__qualname__ = name
        return f

    found = [check_activation(make(n), np.tanh) for n in ("f", "logcosh")]
    assert [c["verdict"] for c in found] == ["inaccurate"] * 2  # it cancels near 0, under any name
    assert [n["ratio"] for n in found[0]["networks"]] == [n["ratio"] for n in found[1]["networks"]]


@pytest.mark.zoo
def test_more_kinks_than_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spline of many knots: its kinks among the points are found, and judged as kinks."""
    monkeypatch.setattr("conformance.commands.activation.branches.MOST_EVALUATIONS", 100)
    knots = np.arange(-6, 7) / 2

    def spline(x: Any) -> Any:
        return sum(np.abs(x - k) for k in knots.tolist()) / 13

    def prime(x: Any) -> Any:
        return sum(np.sign(x - k) for k in knots.tolist()) / 13

    c = fast(spline, prime)
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert "many-branches" in {f["kind"] for f in c["findings"]}
    assert not [f for f in c["findings"] if f["severity"] == "error"]
    assert c["unsearched"]
    assert "whole line" not in c["message"]
    wrong = fast(spline, lambda x: prime(x) + 1e-9)
    assert wrong["verdict"] == "wrong"


def test_big_endian_results_are_read_as_they_are() -> None:
    c = fast(
        lambda x: np.tanh(x).astype(x.dtype.newbyteorder(">")),
        lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2,
    )
    assert c["verdict"] == "right", c["message"]


# --- torch and JAX -----------------------------------------------------------------------------------


def test_hand_composed_gated_activations_pass_on_what_comes_in() -> None:
    import jax
    import torch

    for more in (
        {"torch": lambda x: x * torch.sigmoid(x)},
        {"jax": lambda x: x * jax.nn.sigmoid(x)},
    ):
        c = fast(silu, silu_prime, **more)
        assert c["verdict"] == "right", c["message"]


def test_a_module_with_a_parameter_is_cast_and_left_alone() -> None:
    import torch

    class Swish(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x: Any) -> Any:
            return x * torch.sigmoid(self.beta * x)

    swish = Swish()
    c = check_activation(silu, silu_prime, torch=swish)
    assert c["verdict"] == "right", c["message"]
    assert (swish.beta.dtype, float(swish.beta.detach())) == (torch.float32, 1.0)
    relu = fast(
        lambda x: np.maximum(x, 0),
        lambda x: (x > 0).astype(x.dtype),
        torch=torch.nn.ReLU(inplace=True),
    )
    assert relu["verdict"] == "right", relu["message"]


def test_a_backward_pass_that_spoils_or_rounds_what_comes_in() -> None:
    import torch
    from natives import Fused

    class Spoils(Fused):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g.mul_(Fused.backward(ctx, torch.ones_like(g)))

    class Rounds(Fused):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return Fused.backward(ctx, g.half().to(g.dtype))

    for wrong in (Spoils, Rounds):
        c = fast(silu, silu_prime, torch=wrong)
        assert "ignores-upstream" in {f["kind"] for f in c["findings"]}


def test_the_frameworks_are_left_as_they_were() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(FILE).parent)!r})\n"
        "import jax, jax.numpy as jnp, torch\nfrom under_test import silu, silu_prime\n"
        "from conformance import check_activation\nbefore = torch.get_num_threads()\n"
        "check_activation(silu, silu_prime, autodiff=True, network=False)\n"
        "print(jnp.ones(1).dtype, torch.get_num_threads() == before)"
    )
    env = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == "float32 True"


# --- wrong ones that were accepted ----------------------------------------------------------------------


def test_what_has_values_where_its_formula_has_none() -> None:
    def sigma(x: Any) -> Any:
        return np.nan_to_num(np.sqrt(x))

    c = fast(sigma, lambda x: np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1)), 7 + 0 * x))
    assert c["verdict"] == "wrong"


def test_nothing_judged_is_never_right() -> None:
    c = fast(silu, None)
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert c["message"].startswith("There is no derivative to judge: give σ'")
    assert fast(silu, None, truth="silu")["message"].startswith("σ is what it is defined to be on ")


def test_a_derivative_that_is_seen_at_points_alone_says_so() -> None:
    def prime(x: Any) -> Any:
        return np.array([float(silu_prime(np.float64(v))) for v in x.ravel()], x.dtype).reshape(
            x.shape
        )

    c = fast(silu, prime)
    assert "at these alone, for σ' cannot be seen into" in c["message"]


def test_another_branch_in_float32_alone() -> None:
    def prime(x: Any) -> Any:
        d = silu_prime(x)
        return np.where((x > 3.00121) & (x < 3.00129), d + 1e-2, d) if x.dtype == np.float32 else d

    c = fast(silu, prime)
    assert c["verdict"] == "wrong"
    assert c["findings"][0]["dtype"] == "float32"


def test_the_neighbour_of_a_kink_counts_however_small() -> None:
    c = fast(lambda x: np.maximum(x, 0), lambda x: (x > 5e-324).astype(x.dtype))
    assert c["verdict"] == "wrong"
    assert c["findings"][0]["x"] == 5e-324


@pytest.mark.parametrize(("most", "verdict"), [(2.0, "right"), (2 - 1e-12, "wrong")])
def test_the_side_that_rounding_decides(most: float, verdict: str) -> None:
    """x + 2 < 2 does not hold of x = −1e-17, nor does σ differ there from what it is at 0."""
    c = fast(
        lambda x: np.clip(x + 2, 0, 2), lambda x: ((x + 2 > 0) & (x + 2 < most)).astype(x.dtype)
    )
    assert c["verdict"] == verdict, c["message"]


def test_a_clip_that_shows_far_out_is_a_warning() -> None:
    c = fast(
        lambda x: x * np.tanh(x), lambda x: np.tanh(x) + x / np.cosh(np.clip(x, -300, 300)) ** 2
    )
    assert c["verdict"] == "right", c["message"]
    assert "far-overflow-derivative" in {f["kind"] for f in c["findings"]}


def test_minus_zero_and_infinity() -> None:
    def prime(x: Any) -> Any:
        return np.where(
            np.signbit(x) & (x == 0), 7.0, np.where(np.isinf(x), 5.0, silu_prime(x))
        ).astype(x.dtype)

    c = fast(silu, prime)
    found = {(str(f["x"]), f["severity"]) for f in c["findings"] if f["kind"] == "at-the-ends"}
    assert found >= {("-0.0", "error"), ("inf", "warning")}


def test_a_slow_growth_has_no_limit_at_infinity() -> None:
    c = fast(lambda x: np.sign(x) * np.log1p(np.abs(x)), lambda x: 1 / (1 + np.abs(x)))
    assert not [f for f in c["findings"] if f["kind"] == "at-the-ends"]


# --- not judged without good reason ---------------------------------------------------------------------


def test_helpers_in_classes_and_in_modules_beside(tmp_path: Path) -> None:
    (tmp_path / "helper_beside.py").write_text(
        "import numpy as np\ndef logistic(x):\n    x = np.asarray(x)\n    return 1 / (1 + np.exp(-x))\n"
    )
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom helper_beside import logistic\n"
        "class Swish:\n    def __call__(self, x):\n        x = np.asarray(x)\n        return x * logistic(x)\n"
        "f = Swish()\ndef g(x):\n    s = logistic(x)\n    return s + x * s * (1 - s)\n"
        "np.seterr(all='raise', under='ignore', over='ignore')\nimport os\nos.chdir('/')\n"
    )
    c = check_activation(f"{tmp_path}/mine.py:f", f"{tmp_path}/mine.py:g", network=False)
    assert c["verdict"] == "right", c["message"]


def test_a_file_that_shadows_a_module_where_one_happens_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "conformance.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    c = check_activation(f"{FILE}:silu", f"{FILE}:silu_prime", network=False)
    assert c["verdict"] == "right", c["message"]


@pytest.mark.parametrize(
    ("name", "verdict", "why"),
    [
        ("raises", "wrong", "ValueError: late"),
        ("ends", "not judged", "ended its process (exit code 3)"),
    ],
)
def test_code_that_misbehaves_in_networks_alone_is_not_right(
    tmp_path: Path, name: str, verdict: str, why: str
) -> None:
    (tmp_path / "late.py").write_text(
        "import os, numpy as np\ndef f(x): return np.tanh(x)\n"
        "def late(x): return x.ndim == 2 and x.shape[1] in (3, 4) and x.dtype == np.float64\n"
        "def prime(x): return 1 / np.cosh(np.clip(x, -300, 300)) ** 2\n"
        "def raises(x):\n    if type(x) is np.ndarray and late(x): raise ValueError('late')\n"
        "    return prime(x)\n"
        "def ends(x):\n    if type(x) is np.ndarray and late(x): os._exit(3)\n    return prime(x)\n"
    )
    c = check_activation(f"{tmp_path}/late.py:f", f"{tmp_path}/late.py:{name}")
    assert c["verdict"] == verdict
    assert why in c["message"]


def test_networks_that_fail_by_no_doing_of_the_user_are_not_run_and_the_rest_stands() -> None:
    facts = Facts(Spec())
    facts.take("numpy", Problem("raised", "MemoryError", [], NETWORKS))
    assert user_problems(facts, []) == ""
    assert left_out(facts) == [{"way": "networks in numpy", "why": "MemoryError"}]


@pytest.mark.parametrize("role", ["numpy", "torch"])
def test_where_time_ran_out_nothing_is_called_right(role: str) -> None:
    """On a faster machine the networks, or another framework, might have found a mistake."""
    facts = Facts(Spec())
    facts.take(role, Problem("timeout", "took more than 2 s", [], NETWORKS))
    assert "took more than 2 s" in user_problems(facts, [])
    assert not left_out(facts)


# --- what is handed in, and what workers say -----------------------------------------------------------


def test_whole_numbers_for_a_domain_and_one_beyond_float32() -> None:
    assert fast(silu, silu_prime, domain=(-5, 5))["verdict"] == "right"
    c = fast(np.tanh, lambda x: 0 * x, domain=(1e300, 1e301))
    assert c["verdict"] == "right"
    assert {w["dtype"] for w in c["ways"]} == {"float64"}


def test_half_a_line_is_not_the_whole() -> None:
    assert "on its domain" in fast(silu, silu_prime, domain=(0.0, math.inf))["message"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"kinks": {9.0: 0.5}, "domain": (-1.0, 1.0)},
            "the kink 9=0.5 lies outside the domain -1:1.",
        ),
        ({"timeout": math.nan}, "a timeout of nan s; expected seconds"),
        ({"domain": (math.nan, 1.0)}, "the domain nan:1 is empty"),
    ],
)
def test_refusals(more: Any, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        fast(silu, silu_prime, **more)


def test_the_command_refuses_to_write_over_the_file_under_test(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("import numpy as np\nf = np.tanh\n")
    done = CliRunner().invoke(main, ["activation", f"{mine}:f", "--report", str(mine)])
    assert (done.exit_code, "it is the file under test" in done.output) == (2, True)
    twice = CliRunner().invoke(main, ["activation", f"{mine}:f", "--kink", "0=1", "--kink", "0=2"])
    assert (twice.exit_code, "stated twice" in twice.output) == (2, True)


def test_what_cannot_be_shown_is_spelt_out(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def f(x):\n    raise ValueError('\\ud800 \\x1b[31m \\u202e evil')\n"
    )
    done = CliRunner().invoke(main, ["activation", f"{tmp_path}/mine.py:f", "--no-autodiff"])
    assert done.exit_code == 1
    assert "\\ud800 \\x1b[31m \\u202e evil" in done.output
    assert plain_values("σ′ → \n") == "σ′ → \n"


@pytest.mark.parametrize(
    "line", ['{"Certified": {}}', '{"Points": []}', '{"Networks": {"results": 3}}']
)
def test_a_forged_line_is_a_problem_and_no_traceback(line: str) -> None:
    facts = Facts(Spec())
    facts.take("numpy", decode(line))
    assert facts.problems[0].text.startswith("said what cannot be read")


@pytest.mark.parametrize(
    "line", ["", "nan", "[]", "{}", '{"Nothing": {}}', '{"Done": {}, "Stage": 1}']
)
def test_a_line_that_is_no_message_is_passed_over(line: str) -> None:
    assert decode(line) is None


def test_a_message_is_read_as_it_was_written() -> None:
    nan, x = math.nan, np.array([0.1, -0.0, math.inf])
    branch = Branch(0.1, True, nan, "kink", Side(0.0, nan, 1e-300), Side(1.0, 2.0, 3.0), -math.inf)
    for message in (
        Branches("truth", [branch]),
        Unsearched("truth", [(-math.inf, 5e-324)]),
        Observed("sigma", [Observation("slow", "float64", "a", "b", None)]),
        Problem("raised", "text", ["a.py:1 in f"]),
    ):
        assert repr(decode(encode(message))) == repr(message)
    back = decode(encode(Values("sigma", "float32", x.astype(np.float32), x.astype(">f8"))))
    assert isinstance(back, Values)
    assert (back.y.dtype, back.ends.dtype) == (np.float32, np.float64)
    assert back.ends.tobytes() == x.tobytes()
    assert repr(decode(encode(Stage("\x1b[31m")))) == r"Stage(text='\\x1b[31m')"


def test_an_exception_whose_message_raises() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def raising(x: Any) -> Any:
        raise OddError

    c = fast(raising, silu_prime)
    assert "whose message cannot be read" in c["message"]


def test_importing_that_fails_is_not_wrong_but_not_judged(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1 / 0\n")
    c = check_activation(f"{tmp_path}/mine.py:f")
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert "ZeroDivisionError: division by zero" in c["message"]


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="no such signal here")
def test_told_to_end_it_takes_its_workers_along(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "conformance",
        "activation",
        f"{FILE}:hanging",
        "--no-autodiff",
    ]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.glob("conformance-*/numpy.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert list(tmp_path.glob("conformance-*")) == []


def test_what_was_checked_is_kept_for_the_plugin_alone() -> None:
    before = len(checked)
    fast(silu, silu_prime)
    assert len(checked) == before


# --- what was right or wrong by mistake, found on code that none of us wrote ----------------------


def _relu15(x: Any) -> Any:
    return np.maximum(x + 20, 0) ** 1.5


def _guarded(beyond: float) -> Any:
    def prime(x: Any) -> Any:
        with np.errstate(all="ignore"):
            d = 1.5 * np.sqrt(x + 20)
        return np.where(np.isfinite(d), d, beyond).astype(x.dtype)

    return prime


def _dome(x: Any) -> Any:
    t = np.clip(x / 50, -1, 1)
    return 25 * (t * np.sqrt(1 - t * t) + np.arcsin(t))


def _rim(beyond: float) -> Any:
    def prime(x: Any) -> Any:
        with np.errstate(all="ignore"):
            d = np.sqrt(1 - (x / 50) ** 2)
        return np.where(np.isnan(d), beyond, d).astype(x.dtype)

    return prime


def _gap(x: Any) -> Any:
    with np.errstate(all="ignore"):
        hidden = np.isnan(np.log((x - 3.3) * (x - 3.301)))
    return np.where(hidden, 0.5, 1 / (1 + np.abs(x)) ** 2).astype(x.dtype)


def _bump(x: Any) -> Any:
    with np.errstate(all="ignore"):
        hidden = np.isnan(np.sqrt((x - 3.3) ** 2 - 1e-6))
    return np.where(hidden, 5 * x, x).astype(x.dtype)


def _vee(at: float) -> Any:
    return lambda x: np.where(x > 3.25, 1.0, np.where(x < 3.25, -1.0, at)).astype(x.dtype)


def _hyp(at: float) -> Any:
    return lambda x: np.where(x > 0, 1.0, np.where(x < 0, -1.0, at)).astype(x.dtype)


@pytest.mark.parametrize(
    ("sigma", "prime", "verdict"),
    [
        # a branch that only asks whether a number is one
        (_relu15, _guarded(0.0), "right"),
        (_relu15, _guarded(7.0), "wrong"),
        (_dome, _rim(0.0), "right"),
        (_dome, _rim(0.25), "wrong"),
        (lambda x: x / (1 + np.abs(x)), _gap, "wrong"),
        (_bump, np.ones_like, "wrong"),
        # a kink without a comparison
        (lambda x: np.sqrt((x - 3.25) * (x - 3.25)), _vee(0.5), "right"),
        (lambda x: np.sqrt((x - 3.25) * (x - 3.25)), _vee(7.0), "wrong"),
        (lambda x: np.hypot(x, 0), _hyp(-1.0), "right"),
        (lambda x: np.hypot(x, 0), _hyp(7.0), "wrong"),
        (lambda x: ((x - 2) ** 2) ** 0.5, lambda x: np.where(x < 2, -1.0, 1.0).astype(x.dtype), "right"),
        # either side of a kink at −0
        (np.abs, lambda x: np.copysign(np.ones_like(x), x), "right"),
        (np.tanh, lambda x: sech2(x) * np.where(np.signbit(x) & (x == 0), 2, 1).astype(x.dtype), "wrong"),
    ],
    ids=range(13),
)  # fmt: skip
def test_branches_that_compare_nothing(sigma: Any, prime: Any, verdict: str) -> None:
    c = fast(sigma, prime)
    assert c["verdict"] == verdict, c["message"]


@pytest.mark.parametrize(
    ("sigma", "prime"),
    [
        (lambda x: np.logaddexp(0, x) + 273.15, lambda x: (1 + 1e-13) * expit(x)),
        (lambda x: np.logaddexp(0, x) + 1234567.8, lambda x: np.where(x > 60, 1 + 8e-10, expit(x))),
        (lambda x: np.logaddexp(0, x) + 1234567.8, lambda x: np.where(x < -30, 1e-10, expit(x))),
        (
            lambda x: 0.7 * x / (1 + np.abs(x)),
            lambda x: 0.7 / (1 + np.abs(x)) ** 2 * np.where(np.abs(x) > 500, 1 + 1e-10, 1),
        ),
        (
            lambda x: 1.7159 * np.tanh(2 * x / 3),
            lambda x: 1.7159 * (2 / 3) * sech2(2 * x / 3) * np.where(np.abs(x) > 18, 1 + 1e-6, 1),
        ),
    ],
)
def test_constants_excuse_what_they_do_to_the_derivative_and_no_more(
    sigma: Any, prime: Any
) -> None:
    """An offset of 1234567.8 has no part in σ'; nor has 0.7 more of it than σ' has itself."""
    c = fast(sigma, lambda x: prime(x).astype(x.dtype))
    assert c["verdict"] == "wrong", c["message"]


def test_constants_are_excused() -> None:
    for sigma, prime in (
        (lambda x: 0.7 * x / (1 + np.abs(x)), lambda x: 0.7 / (1 + np.abs(x)) ** 2),
        (lambda x: 1.7159 * np.tanh(2 * x / 3), lambda x: 1.7159 * (2 / 3) * sech2(2 * x / 3)),
        (lambda x: np.logaddexp(0, x) + 273.15, expit),
    ):
        c = fast(sigma, prime)
        assert c["verdict"] == "right", c["message"]


def test_what_stands_for_what_is_no_number_is_what_was_said() -> None:
    def sigma(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.nan_to_num(x * np.sqrt(x) - 1, nan=-1.0)

    c = fast(sigma, lambda x: 1.5 * np.sqrt(np.maximum(x, 0)))
    assert c["verdict"] == "right", c["message"]


def test_a_mask_in_an_array_of_numbers_is_0_and_1() -> None:
    def prime(x: Any) -> Any:
        d = np.empty_like(x)
        np.greater(x, 0, out=d)
        return d

    c = fast(lambda x: np.maximum(x, 0), prime)
    assert c["verdict"] == "right"
    assert c["message"].startswith("σ' is the derivative of σ on the whole line of floats")


def test_a_view_is_written_through() -> None:
    def prime(x: Any) -> Any:
        d = np.empty_like(x)
        v = d[:]
        np.exp(-np.abs(x), out=v)
        np.multiply(v, -np.sign(x), out=v)
        return d

    c = fast(lambda x: np.exp(-np.abs(x)), prime)
    assert c["verdict"] == "right", c["message"]


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "inaccurate"), (1 + 1e-9, "wrong")])
def test_a_frameworks_version_may_lose_what_the_formula_loses(factor: float, verdict: str) -> None:
    """jax.nn.squareplus is (x + √(x² + 4))/2, which cancels below 0 and overflows beyond 1e154."""
    pytest.importorskip("jax")

    def squareplus(x: Any) -> Any:
        import jax

        return jax.nn.squareplus(x) * factor

    c = fast(
        lambda x: (x + np.sqrt(x * x + 4)) / 2,
        lambda x: (1 + x / np.sqrt(x * x + 4)) / 2,
        jax=squareplus,
    )
    assert c["verdict"] == verdict, c["message"]
