"""σ as PyTorch or JAX code alone, with parameters, of several arrays, of rows; and NumPy code of other forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wider
from click.testing import CliRunner
from torch import nn

from conformance import check_activation
from conformance.commands.activation.report import render
from conformance.commands.activation.terminal import describe
from conformance.commands.main import main
from conformance.tools.load import LoadError, load
from conformance.tools.trouble import RefusedError

FILE = str(Path(__file__).with_name("wider.py"))


def checked(*names: str, **more: Any) -> Any:
    """Judged in this process, without networks; torch="Swish" names a function of wider.py."""
    given = {k: getattr(wider, v) if k in ("torch", "jax") else v for k, v in more.items()}
    return check_activation(*(getattr(wider, n) for n in names), network=False, **given)


def kinds(c: Any, severity: str = "error") -> set[str]:
    return {f["kind"] for f in c["findings"] if f["severity"] == severity}


# --- PyTorch or JAX alone -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "way"),
    [
        ("Swish", "WrongSwish", "torch"),
        ("HardMish", "WrongHardMish", "torch"),
        ("jax_silu", "wrong_jax_silu", "jax"),
    ],
)
def test_a_version_alone_is_held_to_its_own_forward_pass(right: str, wrong: str, way: str) -> None:
    c = checked(**{way: right})
    assert c["verdict"] == "right", c["message"]
    assert c["message"].startswith(f"What {way} makes of σ is its derivative on the whole line of")
    assert {w["dtype"] for w in c["ways"]} == {"float64", "float32", "bfloat16"}
    assert {w["way"] for w in c["ways"]} == {way}
    c = checked(**{way: wrong})
    assert c["verdict"] == "wrong", c["message"]
    assert kinds(c) == {"wrong-derivative"}


@pytest.mark.slow
def test_its_kinks_are_found() -> None:
    c = checked(torch="HardMish", dtype="float64")
    assert [(k["at"], k["kind"]) for k in c["kinks"]] == [(-2.0, "kink"), (0.0, "smooth")]
    assert {w["dtype"] for w in c["ways"]} == {"float64"}


@pytest.mark.slow
def test_it_runs_in_networks() -> None:
    c = check_activation(torch=wider.Swish, dtype="float64")
    assert {(n["implementation"], n["verdict"]) for n in c["networks"]} == {
        ("torch-cpu", "conforms")
    }
    c = check_activation(torch=wider.WrongSwish, dtype="float64")
    assert {n["verdict"] for n in c["networks"]} == {"deviates"}


@pytest.mark.parametrize(("way", "name"), [("torch", "branching"), ("jax", "jax_branching")])
def test_a_branch_that_depends_on_numbers_is_not_judged(way: str, name: str) -> None:
    c = checked(**{way: name})
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert "wider.py:" in c["message"], c["message"]
    assert "if x.sum() > 0" in c["message"], c["message"]


def test_a_gradient_that_is_stopped_is_no_derivative() -> None:
    """It is judged as `conformance function` judges it: nothing flows through what is detached."""
    c = checked(torch="straight_through")
    assert c["message"].startswith("σ is not elementwise: 2 quantities conform"), c["message"]


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_parameter_is_a_constant_of_the_proof_and_its_gradient_is_judged() -> None:
    c = checked(torch="Snake")
    assert c["verdict"] == "right", describe(c)
    assert {w["dtype"] for w in c["ways"]} == {"float64", "float32"}
    assert "its parameter a is 0.699999988, and 0.69921875" in str(c["not_run"])  # in bfloat16
    assert {j["quantity"] for j in c["gradients"]["judged"]} == {"y", "∂a"}
    assert c["message"].endswith(
        "The gradients of its parameters (a): 2 quantities conform, on 16 sets of data."
    )
    c = check_activation(torch=nn.PReLU, network=False, dtype="float32")
    assert [k["at"] for k in c["kinks"]] == [0.0]
    assert c["gradients"]["dtype"] == "float32"
    assert c["verdict"] == "right", describe(c)


@pytest.mark.slow
def test_a_wrong_gradient_of_a_parameter_is_wrong() -> None:
    c = checked(torch="WrongPReLU", dtype="float64")
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1)
    assert {w["verdict"] for w in c["ways"]} == {"right"}
    assert "∂weight is wrong" in c["message"]
    assert c["message"].startswith("The gradients of its parameters (weight): ∂weight is wrong on")
    assert "✗ ∂weight  deviates" in describe(c)
    page = render(c)
    assert "None of σ itself. What is wrong are the" in page
    assert "there is nothing to warn of" not in page
    assert "Gradients of parameters" in page
    assert "∂weight" in page


def test_parameters_for_each_channel_give_the_shape() -> None:
    c = checked(torch="Channels")
    assert c["verdict"] == "right", c["message"]
    assert c["gradients"]["inputs"] == {"x": "5x4x6", "a": "1x4x1"}
    assert {j["quantity"] for j in c["gradients"]["judged"]} == {"y", "∂x", "∂a"}


# --- several arrays, and rows ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "more", "inputs"),
    [
        ((), {"torch": "GLU"}, {"a": "5x8", "b": "5x8"}),
        ((), {"torch": "SwishBeta"}, {"x": "5x8", "beta": "scalar"}),
        ((), {"torch": "Softmax"}, {"x": "5x8"}),
        ((), {"jax": "jax_geglu"}, {"a": "5x8", "b": "5x8"}),
        (("bilinear", "bilinear_vjp"), {}, {"a": "5x8", "b": "5x8"}),
        (("softmax", "softmax_vjp"), {}, {"x": "5x8"}),
        (("softmax", "softmax_of_output"), {}, {"x": "5x8"}),
    ],
)
def test_what_is_wider_is_judged_as_a_function(names: Any, more: Any, inputs: Any) -> None:
    c = checked(*names, **more)
    assert (c["verdict"], c["exit_code"]) == ("right", 0), c["message"]
    assert c["gradients"]["inputs"] == inputs
    assert c["ways"] == []
    assert "quantities conform" in c["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "more", "quantity"),
    [
        ((), {"torch": "WrongGLU"}, "∂b"),
        ((), {"torch": "WrongSwishBeta"}, "∂beta"),
        ((), {"torch": "WrongSoftmax"}, "∂x"),
        (("bilinear", "wrong_bilinear_vjp"), {}, "∂b"),
        (("softmax", "wrong_softmax_vjp"), {}, "∂x"),
    ],
)
def test_what_is_wider_and_wrong(names: Any, more: Any, quantity: str) -> None:
    c = checked(*names, **more)
    assert (c["verdict"], c["exit_code"]) == ("wrong", 1), c["message"]
    assert f"{quantity} is wrong" in c["message"]
    assert f"✗ {quantity}" in describe(c)
    assert quantity in render(c)


def test_the_elementwise_derivative_of_a_row_is_wrong_and_what_to_give_is_said() -> None:
    c = checked("softmax", "softmax_prime")
    assert c["verdict"] == "wrong"
    (f,) = (f for f in c["findings"] if f["kind"] == "not-elementwise" and f["of"] == "σ")
    assert "give vjp(cotangent, x) in place of σ'" in f["remedy"]


def test_several_arrays_without_a_backward_pass_are_not_judged() -> None:
    c = checked("bilinear", "softmax_prime")
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert c["message"].startswith("σ takes 2 arrays (a, b): give its backward pass in place of σ'")


def test_the_command_goes_on_with_shapes_of_its_own(tmp_path: Path) -> None:
    arguments = [f"{FILE}:bilinear", f"{FILE}:bilinear_vjp", "--inputs", "a=3x4, b=4"]
    page, data = tmp_path / "a.html", tmp_path / "a.json"
    ran = CliRunner().invoke(
        main, ["activation", *arguments, "--report", str(page), "--json", str(data)]
    )
    assert ran.exit_code == 1, ran.output  # b has 4 numbers, and its gradient 12
    assert "∂b is wrong" in ran.output
    assert "again: conformance function" in ran.output
    assert "--inputs 'a=3x4, b=4'" in ran.output
    assert "∂b" in page.read_text(encoding="utf-8")


# --- NumPy code of other forms --------------------------------------------------------------------


def test_a_method_of_a_class() -> None:
    assert load(f"{FILE}:Cubed.forward")(2) == 8
    with pytest.raises(LoadError, match="Did you mean 'forward'"):
        load(f"{FILE}:Cubed.forwards")
    for name, verdict in (("derivative", "right"), ("wrong", "wrong")):
        c = check_activation(f"{FILE}:Cubed.forward", f"{FILE}:Cubed.{name}", network=False)
        assert c["verdict"] == verdict, c["message"]


def test_code_that_asserts_an_ndarray_is_certified() -> None:
    c = checked("asserting", "asserting_prime")
    assert (c["verdict"], c["unsupported"]) == ("right", {}), c["message"]
    c = checked("asserting", "in_float32_prime", dtype="float32")
    assert c["verdict"] == "wrong"


def test_whole_numbers_are_judged_with_a_warning() -> None:
    c = checked("relu", "whole_step")
    assert (c["verdict"], kinds(c, "warning")) == ("right", {"whole-numbers"})
    assert checked("relu", "whole_step", strict=True)["verdict"] == "wrong"
    c = checked("relu", "wrong_whole_step")
    assert kinds(c) == {"wrong-derivative"}


def test_functions_of_math_are_judged_where_they_do_not_raise() -> None:
    c = checked("of_math", "of_math_prime", domain=(-700.0, 700.0))
    assert (c["verdict"], c["unsupported"]) == ("right", {}), c["message"]
    assert kinds(c, "warning") == {"takes-numbers", "slow"}
    c = checked("of_math", "wrong_of_math", domain=(-700.0, 700.0))
    assert c["verdict"] == "wrong"
    c = checked("of_math", "of_math_prime")
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert "OverflowError: math range error at x = -1.79769e+308" in c["message"]
    assert "give a --domain" in c["message"]
    assert checked("looped", "asserting_prime")["verdict"] == "not judged"


@pytest.mark.parametrize("name", ["in_float32_prime", "wrong_in_float32"])
def test_one_dtype_alone(name: str) -> None:
    c = checked("in_float32", name, dtype="float32", domain=(-1e15, 1e15))
    assert c["verdict"] == ("wrong" if name.startswith("wrong") else "right"), c["message"]
    assert {w["dtype"] for w in c["ways"]} == {"float32"}
    assert "points of float32" in c["message"] or c["verdict"] == "wrong"


def test_a_dtype_that_there_is_not() -> None:
    with pytest.raises(RefusedError, match="--dtype 'float8' is not known"):
        checked("relu", "whole_step", dtype="float8")
    with pytest.raises(RefusedError, match="NumPy has no bfloat16"):
        checked("relu", "whole_step", dtype="bfloat16")
