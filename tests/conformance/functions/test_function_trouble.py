"""What cannot be judged is told in one sentence: what was got, what is expected, where, and what to do."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import check_function
from conformance.commands.function.screen import describe
from conformance.tools.trouble import RefusedError

Array = Any


def f(x: Array, w: Array) -> Array:
    return np.tanh(x) * w


def f_vjp(dy: Array, x: Array, w: Array) -> Any:
    y = np.tanh(x)
    return dy * w * (1 - y * y), (dy * y).sum(0)


def check(vjp: Any = f_vjp, function: Any = f, inputs: Any = "x=3x4, w=4", **more: Any) -> Any:
    return check_function(function, vjp=vjp, inputs=inputs, **{"families": ("ordinary",), **more})


def instead(make: Callable[[Array, Array], Any]) -> Callable[..., Any]:
    """The right backward pass, and what is made of what it returns."""
    return lambda dy, x, w: make(*f_vjp(dy, x, w))


def test_it_is_right_as_it_is() -> None:
    assert check()["verdict"] == "conforms"


# --- what a backward pass returns -----------------------------------------------------------------

ERRORS = {
    "strings": (instead(lambda a, b: (a, "b")), r"the gradient of w is a str; expected an array of floats"),
    "objects": (instead(lambda a, b: (a.astype(object), b)), r"gradient of x is an array of object; expected"),
    "complex": (instead(lambda a, b: (a + 0j, b)), r"gradient of x is an array of complex128; expected floats"),
    "a mask": (instead(lambda a, b: (a > 0, b)), r"gradient of x is an array of bool; expected floats"),
    "one too few": (instead(lambda a, b: a), r"returned 1 gradient; expected 2, of x, w"),
    "one too many": (instead(lambda a, b: (a, b, b)), r"returned 3 gradients; expected 2, of x, w"),
    "nothing": (instead(lambda a, b: None), r"returned (nothing|None|1 gradient).*expected 2, of x, w"),
    "another name": (instead(lambda a, b: {"x": a, "v": b}), r"a gradient of 'v'; expected some of x, w"),
    "a list of lists": (instead(lambda a, b: (a.tolist(), b)), r"gradient of x is a list; expected an array"),
    "a function": (instead(lambda a, b: (a, len)), r"gradient of w is a builtin_function"),
    "a generator": (instead(lambda a, b: (x for x in (a, b))), r"generator|returned 1 gradient"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_gradient_is_an_error(name: str) -> None:
    vjp, message = ERRORS[name]
    found = check(vjp)
    assert found["exit_code"] == 2
    assert found["verdict"] == "error"
    assert re.search(message, found["message"]), found["message"]
    assert "\n" not in found["message"]


WRONG = {
    "another shape": (instead(lambda a, b: (a[:1], b)), r"∂x.*shape \(1, 4\); expected \(3, 4\)"),
    "the transpose": (instead(lambda a, b: (a.T, b)), r"∂x.*shape \(4, 3\); expected \(3, 4\): it is the transpose"),
    "a number": (instead(lambda a, b: (a, 0.0)), r"∂w.*shape \(\); expected \(4,\)"),
    "NaN": (instead(lambda a, b: (a * np.nan, b)), r"∂x is NaN or infinite in 12 of 12|∂x is NaN"),
    "infinite": (instead(lambda a, b: (a, b / 0)), r"∂w is NaN or infinite"),
    "whole numbers": (instead(lambda a, b: (a.astype(int), b)), r"∂x"),
    "empty": (instead(lambda a, b: (a, b[:0])), r"∂w.*shape \(0,\); expected \(4,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_a_wrong_gradient_deviates(name: str) -> None:
    vjp, message = WRONG[name]
    found = check(vjp)
    assert (found["verdict"], found["exit_code"]) == ("deviates", 1)
    assert re.search(message, found["message"]), found["message"]


def test_whole_numbers_are_told_too() -> None:
    found = check(instead(lambda a, b: (a.astype(int), b)))
    assert any("∂x is int64, and its input float64" in x["text"] for x in found["findings"])


def test_what_is_left_out_is_not_judged() -> None:
    found = check(instead(lambda a, b: (a, None)))
    assert found["exit_code"] == 0
    assert {j["verdict"] for j in found["judged"] if j["quantity"] == "∂w"} == {"not-run"}


def test_nothing_but_none_is_not_right() -> None:
    found = check(instead(lambda a, b: (None, None)))
    assert found["exit_code"] == 2
    assert "no gradient" in found["message"]


# --- what a backward pass does --------------------------------------------------------------------


def test_what_it_raises_is_told_with_its_line() -> None:
    def raises(dy: Array, x: Array, w: Array) -> Any:
        raise KeyError("cache")

    found = check(raises)
    assert found["exit_code"] == 2
    assert "KeyError: 'cache'" in found["message"]
    assert 'raise KeyError("cache")' in found["message"]


def test_raising_on_some_data_hides_nothing_wrong_on_other() -> None:
    def half(dy: Array, x: Array, w: Array) -> Any:
        if len(x) == 1:
            raise ValueError("one row")
        return 2 * f_vjp(dy, x, w)[0], f_vjp(dy, x, w)[1]

    found = check(half, families=("ordinary", "batch-1"))
    assert (found["verdict"], found["exit_code"]) == ("deviates", 1)
    assert [row["status"] for row in found["families"]] == ["judged", "error"]


def test_an_exit_is_an_error() -> None:
    def leaves(dy: Array, x: Array, w: Array) -> Any:
        raise SystemExit(3)

    found = check(leaves)
    assert found["exit_code"] == 2
    assert "SystemExit" in found["message"]


def test_writing_to_an_input_is_told() -> None:
    def writes(dy: Array, x: Array, w: Array) -> Any:
        found = f_vjp(dy, x, w)
        x *= 0
        return found

    found = check(writes)
    assert any("writes to its input x" in x["text"] for x in found["findings"])


def test_writing_to_the_cotangent_is_told() -> None:
    def writes(dy: Array, x: Array, w: Array) -> Any:
        found = f_vjp(dy, x, w)
        dy *= 0
        return found

    found = check(writes)
    assert any("writes to its cotangent" in x["text"] for x in found["findings"])


def test_a_view_that_changes_later_is_judged_as_it_was() -> None:
    kept = np.zeros((3, 4))

    def view(dy: Array, x: Array, w: Array) -> Any:
        dx, dw = f_vjp(dy, x, w)
        kept[...] = dx
        return kept, dw

    assert check(view)["verdict"] == "conforms"


def test_what_is_random_is_found() -> None:
    rng = np.random.default_rng(0)
    found = check(instead(lambda a, b: (a * (1 + 2.0**-52 * rng.integers(0, 2, a.shape)), b)))
    assert found["exit_code"] == 1
    assert any("not the same bits at the second call" in x["text"] for x in found["findings"])


# --- the reference --------------------------------------------------------------------------------


def refused(function: Any, inputs: Any = "x=3x4, w=4", **more: Any) -> str:
    with pytest.raises(RefusedError) as e:
        check(lambda dy, *of: of, function, inputs, **more)
    return str(e.value)


REFUSED = {
    "float": (lambda x, w: w * float(x.sum()), r"float\(\).*expected the function of the same name in NumPy"),
    "math": (lambda x, w: w * math.exp(x[0, 0]), r"a function of math.*expected"),
    "item": (lambda x, w: w * x.sum().item(), r"\.item\(\).*expected x\[i\]"),
    "tolist": (lambda x, w: w * x.tolist()[0][0], r"\.tolist\(\)"),
    "unknown": (lambda x, w: np.linalg.svd(x)[1], r"np\.linalg\.svd is not known to the tape"),
    "unknown ufunc": (lambda x, w: np.fmod(x, w), r"np\.fmod is not known to the tape"),
    "a text": (lambda x, w: "y", r"returned nothing that depends on its inputs; expected"),
    "nothing": (lambda x, w: None, r"returned nothing that depends on its inputs; expected"),
    "too few parameters": (lambda x: x, r"TypeError.*positional argument"),
    "a bug": (lambda x, w: x @ w[:2], r"ValueError.*4"),
    "an index": (lambda x, w: x[w.astype(int)], r"\.astype\(int64\)"),
    "a branch that is not decided": (lambda x, w: w if np.exp(np.log(np.abs(x[0, 0]))) > np.abs(x[0, 0]) else x, r"branch"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_reference_that_cannot_be_recorded_is_refused(name: str) -> None:
    function, message = REFUSED[name]
    told = refused(function)
    assert re.search(message, told), told
    assert "\n" not in told.strip()


def test_a_branch_on_data_is_taken() -> None:
    def branch(x: Array, w: Array) -> Array:
        return x * w if x.sum() > 0 else x - w

    def branch_vjp(dy: Array, x: Array, w: Array) -> Any:
        return (dy * w, (dy * x).sum(0)) if x.sum() > 0 else (dy, -dy.sum(0))

    assert check(branch_vjp, branch)["verdict"] == "conforms"


# --- inputs and options ---------------------------------------------------------------------------

INPUTS = {
    "no size": ("x", r"cannot read the input 'x'; expected NAME=SHAPE"),
    "nothing": ("", r"cannot read the input ''"),
    "twice": ("x=3, x=4", r"the input x is asked for twice"),
    "a kind": ("x=3:odd", r"cannot read the input 'x=3:odd'"),
    "below 0": ("x=3:int<0", r"whole numbers below 0; expected int<1"),
    "huge": ("x=99999x99999", r"more than 4,194,304 numbers; expected smaller shapes"),
    "more than an int64": ("x=9999999999x9999999999", r"more than 4,194,304 numbers; expected smaller"),
    "a dict of texts": ({"x": "text", "w": np.ones(3)}, r"the input x is an array of <U4; expected floats"),
    "complex": ({"x": np.ones(3) * 1j, "w": np.ones(3)}, r"array of complex128; expected floats"),
    "objects": ({"x": np.array([None]), "w": np.ones(3)}, r"array of object; expected floats"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]], "w": np.ones(3)}, r"the input x is no array"),
    "no dict": (lambda: 3, r"the inputs are a int; expected a dict of arrays by name"),
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_there_are_not_are_refused(name: str) -> None:
    inputs, message = INPUTS[name]
    told = refused(f, inputs)
    assert re.search(message, told), told


OPTIONS = {
    "dtype": ({"dtype": "float128"}, r"--dtype 'float128' is not known; expected one of float64"),
    "bfloat16": ({"dtype": "bfloat16"}, r"NumPy has no bfloat16; expected"),
    "accumulate": ({"accumulate": "int8"}, r"--accumulate 'int8' is not known"),
    "takes": ({"takes": "all"}, r"--takes 'all' is not known; expected one of inputs, outputs, saves"),
    "families": ({"families": ("odd",)}, r"there is no family of data 'odd'; expected some of ordinary"),
    "wrt": ({"wrt": ["v"]}, r"there is no gradient by 'v'; expected some of x, w"),
    "framework": ({"framework": "tensorflow"}, r"framework 'tensorflow' is not known; expected one of numpy"),
    "params": ({"params": {"eps": 1.0}}, r"eps"),
    "saves": ({"takes": "saves"}, r"\(outputs, what it saved\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_there_are_not_are_refused(name: str) -> None:
    options, message = OPTIONS[name]
    told = refused(f, **options)
    assert re.search(message, told), told


def test_a_parameter_of_neither_is_refused_and_of_the_forward_pass_alone_is_not() -> None:
    def with_eps(x: Array, w: Array, eps: float = 0.0) -> Array:
        return f(x, w) + eps

    assert check(function=with_eps, params={"eps": 1.0})["verdict"] == "conforms"


def test_axes_of_no_size_are_judged_as_empty() -> None:
    found = check(inputs="x=0x4, w=4")
    assert found["exit_code"] in (0, 2)
    assert "\n" not in found["message"]


def test_a_scalar_input() -> None:
    def scaled_vjp(dy: Array, x: Array, w: Array) -> Any:
        return dy * w, (dy * x).sum()

    assert check(scaled_vjp, lambda x, w: x * w, "x=3x4, w=scalar")["verdict"] == "conforms"


def test_infinite_inputs_of_ones_own() -> None:
    found = check(inputs={"x": np.array([[np.inf, 0.0]]), "w": np.ones(2)})
    assert found["exit_code"] in (0, 2)


def test_nan_in_the_inputs_is_not_judged() -> None:
    found = check(inputs={"x": np.full((3, 4), np.nan), "w": np.ones(4)})
    assert found["exit_code"] == 2


# --- a process of its own -------------------------------------------------------------------------

FILE = """
import os, sys, time
import numpy as np

def f(x):
    return x * x

def hangs(dy, x):
    time.sleep(100)

def dies(dy, x):
    os._exit(7)

def kills(dy, x):
    os.kill(os.getpid(), 9)

def crashes(dy, x):
    import ctypes
    ctypes.string_at(0)

def leaves(dy, x):
    sys.exit(3)

def prints(dy, x):
    print("\\x1b[31mred\\x1b[0m" * 100)
    print("{\\"results\\": 1}", file=sys.__stdout__)
    os.write(1, b"raw\\x1b]0;title\\x07")
    return 2 * x * dy

def says(dy, x):
    raise ValueError("\\x1b[2Jcleared \\x07\\u202e")

def eats(dy, x):
    return np.ones(2**40)

def deep(dy, x):
    return deep(dy, x)

def right(dy, x):
    return 2 * x * dy

def wrong(dy, x):
    return x * dy
"""


def asked(tmp_path: Path, vjp: str, *more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "ops.py").write_text(FILE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "conformance",
        "function",
        "ops.py:f",
        "--vjp",
        f"ops.py:{vjp}",
    ]
    command += ["--inputs", "x=3", "--families", "ordinary", *more]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "vjp", ["hangs", "dies", "kills", "crashes", "leaves", "eats", "deep", "none"]
)
def test_what_ends_a_process_is_told_in_a_sentence(vjp: str, tmp_path: Path) -> None:
    ran = asked(tmp_path, vjp, "--timeout", "8" if vjp == "hangs" else "60")
    assert ran.returncode == 2, ran
    assert "Traceback" not in ran.stderr + ran.stdout
    said = (ran.stderr + ran.stdout).strip()
    assert said
    assert len(said) < 1500, said


@pytest.mark.parametrize("vjp", ["prints", "says"])
def test_escape_codes_do_not_reach_the_terminal(vjp: str, tmp_path: Path) -> None:
    ran = asked(tmp_path, vjp)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "\x07" not in ran.stdout + ran.stderr
    assert ran.returncode == (0 if vjp == "prints" else 2)


def test_a_wrong_one_is_exit_code_1_and_written_as_json(tmp_path: Path) -> None:
    ran = asked(tmp_path, "wrong", "--json", "found.json")
    assert ran.returncode == 1
    assert "∂x is 0.5 times what it should be everywhere" in ran.stdout
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["verdict"] == "deviates"


# --- what loses digits, and what is wrong ---------------------------------------------------------


@pytest.mark.parametrize(("dtype", "lower"), [("float64", "float32"), ("float32", "float16")])
def test_a_cast_to_less_is_wrong_and_loses_no_digits(dtype: str, lower: str) -> None:
    found = check(instead(lambda a, b: (a.astype(lower).astype(a.dtype), b)), dtype=dtype)
    assert (found["verdict"], found["exit_code"]) == ("deviates", 1)
    assert found["mistake"] == f"each number of ∂x is a {lower}"


def test_a_sum_in_which_much_cancels_loses_digits_in_every_dtype() -> None:
    def variance(x: Array, w: Array) -> Array:
        return x.var(-1) * w[0]

    def by_squares(dy: Array, x: Array, w: Array) -> Any:
        v = (x * x).mean(-1) - x.mean(-1) ** 2
        dw = np.zeros_like(w)
        dw[0] = (dy * v).sum()
        return (2 / x.shape[-1]) * (dy * w[0])[:, None] * (x - x.mean(-1, keepdims=True)), dw

    x = 1e3 + np.random.default_rng(0).standard_normal((3, 4))
    found = check(by_squares, variance, inputs={"x": x, "w": np.ones(2)})
    assert (found["verdict"], found["exit_code"]) == ("inaccurate", 0)


def test_a_row_that_is_no_number_hides_no_other() -> None:
    q = np.array([[0.0, 0.25, 0.75], [0.5, 0.25, 0.25]])

    def logs(q: Array) -> Array:
        return np.log(q)

    found = check(lambda dy, q: dy / q, logs, {"q": q})
    assert found["exit_code"] == 0, found["message"]
    found = check(lambda dy, q: 2 * dy / q, logs, {"q": q})
    assert found["exit_code"] == 1


def linear(x: Array, w: Array) -> Array:
    return x @ w


def linear_vjp(c: Array, x: Array, w: Array) -> tuple[Array, Array]:
    return c @ w.T * (1 + 1e-13), x.T @ c * (1 + 1e-13)


@pytest.mark.parametrize("n", [8, 64])
def test_a_mistake_below_roundings_of_float32_loses_no_digits(n: int) -> None:
    """Sums round by a dozen units in float32, and 1e-13 is 900 of float64: that is not the same loss."""
    found = check_function(
        linear, vjp=linear_vjp, inputs=f"x={n}x24, w=24x40", families=["ordinary", "repeated"]
    )
    verdicts = {(j["cotangent"], j["verdict"]) for j in found["judged"] if j["kind"] == "gradient"}
    assert {v for c, v in verdicts if c != "zero"} == {"deviates"}


@pytest.mark.parametrize("mistake", [1e-13, 1e-14])
def test_a_mistake_of_float32_is_far_larger_in_float64(mistake: float) -> None:
    """Errors that are alike in both dtypes are roundings; this is 10⁷ times as large in one of them."""
    of = {"float32": 1 + mistake * 2**29, "float64": 1 + mistake * 2**29}

    def vjp(c: Array, x: Array, w: Array) -> tuple[Array, Array]:
        factor = c.dtype.type(of[c.dtype.name])
        return c @ w.T * factor, x.T @ c * factor

    found = check_function(
        linear, vjp=vjp, inputs="x=8x24, w=24x40", families=["ordinary"], dtype="float32"
    )
    assert found["verdict"] == "deviates"


def test_raising_when_it_is_asked_again_is_found_and_loses_nothing() -> None:
    calls = []

    def once(c: Array, x: Array) -> Array:
        calls.append(1)
        if len(calls) == 3:  # the first, other inputs in between, and the first again
            raise ValueError("not twice")
        return 2 * c * x

    found = check_function(lambda x: x * x, vjp=once, inputs="x=3x4", families=["ordinary", "ties"])
    assert found["exit_code"] == 1
    assert "called a second time, it raises ValueError: not twice" in found["message"]
    assert {j["verdict"] for j in found["judged"]} == {"conforms"}
    assert {j["family"] for j in found["judged"]} == {"ordinary", "ties"}


def test_what_is_not_judged_in_an_array_is_told() -> None:
    """Of log x where x is negative: whatever stands there passes, and is counted."""
    found = check_function(
        lambda x: np.log(x),
        vjp=lambda c, x: c / x,
        inputs="x=3x4",
        families=["ordinary"],
    )
    assert {j["verdict"] for j in found["judged"]} == {"conforms"}
    (y,) = (j for j in found["judged"] if (j["quantity"], j["cotangent"]) == ("y", "random"))
    assert y["blind"] > 0
    assert f"so that not judged: at most {y['blind']} elements of y" in describe(found)
