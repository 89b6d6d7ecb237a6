"""A network of somebody's own: the wrong layer is named, nothing else is blamed, and no right one is."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks as own
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fast import fast
from random_modules import made
from torch import Tensor, nn

from conformance import assert_module_conforms, check_module
from conformance.commands.main import main
from conformance.commands.module.report import render
from conformance.commands.module.screen import describe
from conformance.commands.module.specified import command_of
from conformance.tools.trouble import RefusedError

FEW = ("ordinary", "ties", "batch-1", "redrawn")

RIGHT: dict[str, tuple[Any, dict[str, Any]]] = {
    "nn.Sequential": (own.sequential, {"input": "6x8", "loss": "cross_entropy"}),
    "a ResNet's block, train": (own.Residual, {"input": "2x3x4x4", "mode": "train"}),
    "a ResNet's block, eval": (own.Residual, {"input": "2x3x4x4", "mode": "eval"}),
    "a small GPT": (
        own.GPT, {"input": "ids=2x5:int<9", "loss": own.of_words, "target": "2x5:int<9"},
    ),
    "an LSTM": (own.Recurrent, {"input": "2x3x3"}),
    "a layer that is called twice": (own.Twice, {"input": "3x4", "loss": "mse_loss"}),
    "several outputs": (own.Pair, {"input": "3x3, mask=3x2:bool"}),
    "arguments by name": (own.Pair, {"input": "x=3x3, scale=3x2"}),
    "dropout, eval": (own.with_dropout, {"input": "3x4", "mode": "eval"}),
    "float32": (own.sequential, {"input": "6x8", "loss": "mse_loss", "dtype": "float32"}),
    "bfloat16": (own.sequential, {"input": "6x8", "dtype": "bfloat16"}),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", fast(RIGHT, "a ResNet's block, train", "several outputs", "bfloat16")
)
def test_a_right_one_conforms(name: str) -> None:
    torch.manual_seed(3)
    net, options = RIGHT[name]
    found = check_module(net, families=FEW, **options)
    assert found["verdict"] == "conforms", describe(found)
    assert all(row["verdict"] in ("conforms", "not-run") for row in found["layers"])
    assert found["exit_code"] == 0


WRONG: dict[str, tuple[Callable[[], nn.Module], str, dict[str, Any]]] = {
    "nn.Sequential": (
        lambda: nn.Sequential(nn.Linear(4, 3), own.Act(own.GELU), nn.Linear(3, 2)), "1.GELU",
        {"input": "5x4", "loss": "mse_loss"},
    ),
    "a ResNet's block": (
        lambda: own.Residual(3, own.GELU), "act.GELU", {"input": "2x3x4x4"},
    ),
    "a small GPT": (
        lambda: own.GPT(own.GELU), "blocks.1.act.GELU",
        {"input": "ids=2x5:int<9", "loss": own.of_words, "target": "2x5:int<9"},
    ),
    "a bias": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), own.ByHand(3, 2)), "2.Forgets",
        {"input": "5x4"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", fast(WRONG, "nn.Sequential", "a ResNet's block", "a bias"))
def test_the_wrong_layer_is_named_and_no_other(name: str) -> None:
    torch.manual_seed(3)
    make, path, options = WRONG[name]
    found = check_module(make(), families=("ordinary",), **options)
    assert found["exit_code"] == 1
    bad = [r["path"] for r in found["layers"] if r["verdict"] not in ("conforms", "not-run")]
    assert bad == [path], describe(found)
    assert path in found["message"]
    assert found["whole"]["verdict"] == "deviates"


def test_a_derivative_of_another_form_is_called_that() -> None:
    net = nn.Sequential(nn.Linear(4, 3), own.Act(own.GELU))
    found = check_module(net, input="5x4", families=("ordinary",))
    wrong = next(r for r in found["layers"] if r["verdict"] == "deviates")
    assert wrong["mistake"] == (
        "the function is GELU by tanh, and the derivative that of GELU by x·σ(1.702 x)"
    )


def test_a_small_mistake_is_found_where_it_is() -> None:
    class Nearly(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return g * (1 - torch.tanh(x) ** 2) * (1 + 1e-12)

    net = nn.Sequential(*(own.Act(f) for f in (own.Right, Nearly, own.Right)))
    found = check_module(net, input="3x4", families=("ordinary",))
    assert [r["path"] for r in found["layers"] if r["verdict"] == "deviates"] == ["1.Nearly"]


def test_a_shared_parameter_is_judged_once_for_all_that_use_it() -> None:
    found = check_module(own.Twice(), input="3x4", families=("ordinary",))
    shared = next(r for r in found["layers"] if r["kind"] == "shared parameters")
    assert {j["quantity"] for j in shared["quantities"]} == {"∂layer.bias", "∂layer.weight"}
    assert [r["path"] for r in found["layers"]] == ["", "layer", "layer#2", ""]


def test_the_smallest_input_and_the_command_that_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(own.__file__).parent)!r})\n"
        "from networks import *\n"
        "net = nn.Sequential(nn.Linear(4, 3), Act(GELU), nn.Linear(3, 2))\n"
    )
    found = check_module(f"{file}:net", input="5x4", loss="mse_loss", families=("ordinary",))
    assert found["smallest"] == {"input": "1x4", "target": "1x2"}
    assert found["again"].endswith(
        "--input input=1x4 --loss mse_loss --target 1x2 --families ordinary"
    )
    page = render(found)
    assert "1.GELU" in page
    assert "The smallest inputs that show it" in page


def test_a_command_says_what_was_asked_but_for_what_is_usual() -> None:
    asked = {
        "module": "m.py:net", "input": "3x4", "loss": "", "target": "", "params": "", "vmap": False,
        "mode": "", "families": [], "dtype": "float64", "accumulate": "float64", "tf32": False, "strict": True,
    }  # fmt: skip
    command = command_of(asked)  # type: ignore[arg-type]
    assert command == "conformance module m.py:net --input 3x4 --accumulate float64 --strict"


def run(*args: Any) -> Any:
    return CliRunner().invoke(main, ["module", *map(str, args)])


def written(folder: Path, text: str) -> str:
    (folder / "mine.py").write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
    return str(folder / "mine.py")


def test_the_command(tmp_path: Path) -> None:
    file = written(tmp_path, "net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))\n")
    page, findings = tmp_path / "page.html", tmp_path / "findings.json"
    found = run(
        f"{file}:net", "--input", "4x3", "--loss", "mse_loss", "--families", "ordinary,redrawn",
        "--report", page, "--json", findings,
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "✓ 0" in found.output
    assert "(loss)" in found.output
    results = json.loads(findings.read_text())
    assert results["verdict"] == "conforms"
    assert render(results) == page.read_text()


HOSTILE = "<script>alert(1)</script>\x1b[2J"

TROUBLE = {
    "no module": ("net = 3\n", ["--input", "4x3"], "expected a torch.nn.Module"),
    "its shapes": ("net = nn.Linear(3, 2)\n", ["--input", "4x5"], "does not run: RuntimeError"),
    "no shapes": ("net = nn.Linear(3, 2)\n", [], "expected either --input"),
    "an unknown loss": (
        "net = nn.Linear(3, 2)\n", ["--input", "4x3", "--loss", "crossentropy"], "cross_entropy",
    ),
    "a loss with an unknown target": (
        "net = nn.Linear(3, 2)\n", ["--input", "4x3", "--loss", "kl_div"], "--target",
    ),
    "an unknown family": (
        "net = nn.Linear(3, 2)\n", ["--input", "4x3", "--families", "big"], "no family of data 'big'",
    ),
    "it raises": (
        """
        class Net(nn.Module):
            def forward(self, x):
                raise ValueError("no such thing")
        """,
        ["--input", "4x3"], "ValueError: no such thing",
    ),
    "it ends the process": (
        """
        import os
        class Net(nn.Module):
            def forward(self, x):
                os._exit(3)
        """,
        ["--input", "4x3"], "it ended (exit code 3)",
    ),
    "it never ends": (
        """
        class Net(nn.Module):
            def forward(self, x):
                while True: pass
        """,
        ["--input", "4x3", "--timeout", "8"], "no answer in 8 s",
    ),
    "lazy parameters": ("net = nn.LazyLinear(3)\n", ["--input", "4x3"], "after a first call"),
    "an empty batch": ("net = nn.Linear(3, 2)\n", ["--input", "0x3"], "has no numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", fast(TROUBLE, "no module"))
def test_what_cannot_be_judged_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    text, options, expected = TROUBLE[name]
    file = written(tmp_path, text)
    found = run(f"{file}:{'Net' if 'class Net' in text else 'net'}", *options)
    assert found.exit_code == 2, found.output
    assert expected in found.output
    assert "Traceback" not in found.output


def test_layers_that_cannot_be_told_apart_leave_the_whole_judged() -> None:
    found = check_module(own.InPlace(), input="4x3", families=("ordinary",))
    assert found["exit_code"] == 2
    assert found["whole"]["verdict"] == "conforms"
    assert "writes to what it is given" in found["message"]


def test_a_stochastic_layer_is_not_judged_and_the_others_are() -> None:
    found = check_module(own.with_dropout(), input="3x4", mode="train", families=("ordinary",))
    assert found["exit_code"] == 2
    by = {r["path"]: r for r in found["layers"]}
    assert "stochastic" in by["1"]["reason"]
    assert by["0"]["verdict"] == by["2"]["verdict"] == "conforms"


class Made(torch.autograd.Function):
    """A constant, with a gradient that it has not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.ones_like(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 1e-9 * g


def test_what_depends_on_nothing_hands_nothing_back() -> None:
    net = nn.Sequential(nn.Linear(3, 3), own.Act(Made), nn.Linear(3, 2))
    found = check_module(net, input="4x3", families=("ordinary",))
    assert [r["path"] for r in found["layers"] if r["verdict"] == "deviates"] == ["1.Made"]


class Held:
    """Holds a tensor, and is none."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


class TakesHeld(nn.Module):
    def forward(self, held: Held) -> Tensor:
        return held.x.tanh()


class Scales(nn.Module):
    """Uses its weight, and what it is given in an object."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor, held: Held) -> Tensor:
        held.x = held.x * 2
        return x * self.weight * held.x.mean()


class HandsOn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.takes = nn.Linear(3, 3), TakesHeld()

    def forward(self, x: Tensor) -> Tensor:
        return self.takes(Held(self.layer(x)))


class Shares(nn.Module):
    """Two layers have one weight, and one of them depends on more than tensors."""

    def __init__(self) -> None:
        super().__init__()
        weight = nn.Parameter(torch.ones(3))
        self.a, self.b = Scales(weight), Scales(weight)

    def forward(self, x: Tensor) -> Tensor:
        held = Held(x.detach() + 1)
        return self.a(x, held) + self.b(x, held)


def test_what_depends_on_more_than_tensors_is_not_accused() -> None:
    found = check_module(HandsOn(), input="4x3", families=("ordinary",))
    assert found["exit_code"] == 2
    assert "depends on more than what it is given" in found["message"]
    assert found["whole"]["verdict"] == "conforms"


def test_nor_is_what_shares_a_weight_with_it() -> None:
    found = check_module(Shares(), input="4x3", families=("ordinary",))
    assert found["exit_code"] == 2, describe(found)
    assert all(r["kind"] != "shared parameters" for r in found["layers"])


def test_a_hook_is_the_doing_of_whoever_registers_it() -> None:
    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            h.register_hook(lambda g: g * 1.0001)
            return self.b(h)

    found = check_module(Hooked(), input="4x3", families=("ordinary",))
    assert [(r["path"], r["verdict"]) for r in found["layers"]] == [
        ("", "deviates"), ("a", "conforms"), ("b", "conforms"),
    ]  # fmt: skip


def test_a_layer_without_a_gradient_leaves_nothing_undone() -> None:
    class Places(nn.Module):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return torch.cos(torch.arange(len(x), dtype=x.dtype))[:, None]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.layer = Places(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.places(x)

    found = check_module(Net(), input="4x3", families=("ordinary",))
    assert found["verdict"] == "conforms", describe(found)


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 2)), "2x2x4x4"),
        (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), "1x2x3x3"),
        (lambda: nn.Embedding(5, 3, sparse=True), "input=2x3:int<5"),
    ],
    ids=["a weight that is computed", "a decomposition", "a sparse gradient"],
)
def test_what_a_reviewer_found_refused_is_judged(net: Any, shapes: str) -> None:
    found = check_module(net(), input=shapes, families=("ordinary",))
    assert found["verdict"] == "conforms", describe(found)


def test_ties_in_both_axes_of_a_window() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            pool = nn.functional
            return pool.adaptive_avg_pool2d(x, 1) + pool.adaptive_max_pool2d(x, 1)

    found = check_module(Both(), input="2x4x3x3", families=("ties",))
    assert found["verdict"] == "conforms", describe(found)


def test_random_numbers_of_numpy_are_no_mistake() -> None:
    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * np.random.rand()  # noqa: NPY002   as somebody would

    found = check_module(Random(), input="4x3", families=("ordinary",))
    assert found["exit_code"] == 2
    assert "it is stochastic" in found["message"]
    assert "wrong" not in found["message"]


def test_an_argument_that_there_is_not_is_told() -> None:
    with pytest.raises(RefusedError, match="no argument 'y'; expected input"):
        check_module(nn.Linear(3, 2), input="y=4x3")
    with pytest.raises(RefusedError, match="--vmap is for a network of JAX"):
        check_module(nn.Linear(3, 2), input="4x3", vmap=True)


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_reentrant_checkpoint_is_refused() -> None:
    found = check_module(own.Twice(reentrant=True), input="3x4", families=("ordinary",))
    assert "use_reentrant=False" in found["families"][0]["reason"]
    assert found["exit_code"] == 2


def test_the_users_module_is_left_as_it_was() -> None:
    net = own.Residual().train()
    call, apply = nn.Module.__call__, vars(torch.autograd.Function)["apply"]
    before = {n: t.clone() for n, t in net.state_dict().items()}
    check_module(net, input="2x3x4x4", families=("ordinary", "redrawn"))
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert nn.Module.__call__ is call
    assert vars(torch.autograd.Function)["apply"] is apply


def test_data_of_ones_own() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    found = check_module(own.with_dropout().eval(), input={"input": x})
    assert found["verdict"] == "conforms"
    assert [f["name"] for f in found["families"]] == ["own"]


def test_an_assertion_prints_the_screen() -> None:
    with pytest.raises(AssertionError, match=r"✗ 1\.GELU"):
        assert_module_conforms(
            nn.Sequential(nn.Linear(2, 2), own.Act(own.GELU)), input="2x2", families=("ordinary",)
        )


def test_hostile_names_stay_text() -> None:
    net = nn.Sequential()
    net.add_module(HOSTILE.replace(".", ""), nn.Linear(2, 2))
    found = check_module(net, input="2x2", families=("ordinary",))
    page = render(found)
    assert "<script>" not in page
    assert "\x1b" not in page


def test_something_that_is_refused_loses_no_other_layer() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.inv(x @ x.T + torch.eye(len(x), dtype=x.dtype)) @ x

    found = check_module(
        nn.Sequential(nn.Linear(3, 3), Strange(), nn.Linear(3, 2)),
        input="3x3",
        families=("ordinary",),
    )
    by = {r["path"]: r["verdict"] for r in found["layers"]}
    assert found["exit_code"] == 2
    assert (by["0"], by["1"], by["2"]) == ("conforms", "error", "conforms")


@pytest.mark.parametrize(
    "seed", [pytest.param(i, marks=pytest.mark.zoo) for i in (*range(12), 24, 38, 67, 132)]
)
def test_a_random_module_is_not_accused(seed: int) -> None:
    net, shapes, loss = made(seed)
    found = check_module(net, input=shapes, loss=loss)
    assert found["exit_code"] == 0, describe(found)


@pytest.mark.filterwarnings("ignore")  # it is deprecated, and used
def test_a_weight_that_a_hook_computes_is_copied() -> None:
    net = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Tanh())
    net(torch.ones(1, 3))  # leaves a weight that is no leaf
    found = check_module(net, input="2x3", families=["ordinary"])
    assert found["verdict"] == "conforms", describe(found)
    quantities = {j["quantity"] for j in found["whole"]["judged"]}
    assert {"∂0.weight_g", "∂0.weight_v"} <= quantities


def test_a_weight_that_was_computed_once_is_no_parameter_and_is_refused() -> None:
    """Without its gradient, the copy would be another network, and conform."""

    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3, 2))
            self.twice = 2 * self.w

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.twice

    with pytest.raises(RefusedError):
        check_module(Once(), input="2x3", families=["ordinary"])


# --- JAX ------------------------------------------------------------------------------------------

jax = pytest.importorskip("jax")


@jax.custom_vjp
def silu(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def _silu_backward(x: Any, g: Any) -> Any:
    s = jax.nn.sigmoid(x)
    return (g * s * (1 + x),)  # (1 - s) is forgotten


silu.defvjp(lambda x: (silu(x), x), _silu_backward)


@jax.custom_vjp
def tanh(x: Any) -> Any:
    return jax.numpy.tanh(x)


tanh.defvjp(lambda x: (tanh(x), tanh(x)), lambda y, g: (g * (1 - y * y),))


def _dense(params: Any, x: Any) -> Any:
    for layer in params[:-1]:
        with jax.named_scope("hidden"):
            x = silu(tanh(x @ layer["W"] + layer["b"]))
    return x @ params[-1]["W"]


def _params() -> Any:
    k = np.random.default_rng(0)
    return [
        {"W": k.standard_normal((3, 4)), "b": k.standard_normal(4)},
        {"W": k.standard_normal((4, 2))},
    ]


def test_a_wrong_rule_of_jax_is_named_and_no_other() -> None:
    found = check_module(_dense, params=_params, input="5x3", families=("ordinary",))
    by = {r["path"]: r["verdict"] for r in found["layers"]}
    assert by == {"": "conforms", "hidden/tanh": "conforms", "hidden/silu": "deviates"}
    wrong = next(r for r in found["layers"] if r["verdict"] == "deviates")
    assert "derivative of sigmoid" in wrong["mistake"]
    assert "∂[0]['W']" in {j["quantity"] for j in found["whole"]["judged"]}


def test_a_module_of_equinox(tmp_path: Path) -> None:
    eqx = pytest.importorskip("equinox")
    key = jax.random.key(0)
    right = eqx.nn.MLP(3, 2, 4, 2, activation=tanh, key=key)
    found = check_module(right, input="4x3", vmap=True, families=("ordinary", "redrawn"))
    assert found["verdict"] == "conforms", describe(found)
    wrong = eqx.nn.MLP(3, 2, 4, 2, activation=silu, key=key)
    found = check_module(
        wrong, input="4x3", vmap=True, families=("ordinary",),
        loss=lambda y, t: ((y - t) ** 2).mean(), target="4x2",
    )  # fmt: skip
    bad = [r["path"].rpartition("/")[2] for r in found["layers"] if r["verdict"] == "deviates"]
    assert bad == ["silu", "silu#2"]


def test_a_function_without_parameters() -> None:
    found = check_module(lambda x: tanh(x) * 2, input="4x3", families=("ordinary",))
    assert found["verdict"] == "conforms"


def test_what_jax_cannot_trace_is_told_as_ever() -> None:
    with pytest.raises(RefusedError, match="JAX cannot trace the function"):
        check_module(lambda x: np.tanh(x), input="4x3", families=("ordinary",))
