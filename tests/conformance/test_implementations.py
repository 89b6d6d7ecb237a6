"""The implementations: real layers, real derivatives, the device asked for, and nothing written to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance.cases.catalogue import Case
from conformance.cases.profiles import cases
from conformance.implementations import IMPLEMENTATIONS, NotRunError, implementation
from conformance.judge.gates import judge
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.truth.definitions import ACTIVATIONS, LOSSES, ROW_WISE

HERE = ("refbp", "torch-cpu", "jax-cpu", "jax-cpu-jit")
BIASED = Case("typical", "tanh", 2, 7, "float32", (4, 3, 4), bias=True)
BIASED_64 = replace(BIASED, dtype="float64")


@cache
def ready(name: str) -> Any:
    impl = implementation(name)
    impl.start()
    return impl


@cache
def subject(case: Case) -> Subject:
    return Subject(case)


def layers(t: Trace) -> list[Any]:
    return [M for q in QUANTITIES for M in t.layers(q).values()]


# --- all of them ----------------------------------------------------------------------------------


def test_the_names() -> None:
    assert list(IMPLEMENTATIONS) == [
        "refbp", "torch-cpu", "torch-cuda", "jax-cpu", "jax-cpu-jit", "jax-cuda", "jax-cuda-jit",
    ]  # fmt: skip
    assert [n for n, row in IMPLEMENTATIONS.items() if row.jitted] == [
        "jax-cpu-jit",
        "jax-cuda-jit",
    ]


@pytest.mark.parametrize("name", HERE)
def test_versions_and_device(name: str) -> None:
    from importlib.metadata import version

    impl = implementation(name)
    assert (impl.name, impl.description) == (name, IMPLEMENTATIONS[name].description)
    versions, device = impl.start()
    assert device == "cpu"
    packages = {"refbp": ("refbp", "numpy"), "torch-cpu": ("torch",)}.get(name, ("jax", "jaxlib"))
    assert set(versions) == set(packages)
    for package in set(packages) - {"refbp"}:
        assert versions[package] == version(package) or versions[package].startswith(
            version(package)
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HERE)
def test_a_trace(name: str, dtype: str) -> None:
    """Of the problem's shapes and dtype, on arrays of its own, with the same bits every time."""
    p = subject(replace(BIASED, dtype=dtype)).problem
    before = [M.tobytes() for M in (*p.W.values(), p.X, p.Y)]
    t, again = ready(name).run(p), ready(name).run(p)
    for q in QUANTITIES:
        assert set(t.layers(q)) == {1, 2}
        for l, M in t.layers(q).items():
            assert type(M) is np.ndarray
            assert M.dtype == p.dtype
            assert M.shape == (p.W[l].shape if q in ("dW", "W_new") else (7, p.W[l].shape[1]))
            np.testing.assert_array_equal(M, again.layers(q)[l])
    assert (t.loss.shape, t.loss.dtype) == ((), p.dtype)
    assert [M.tobytes() for M in (*p.W.values(), p.X, p.Y)] == before
    inputs = (*p.W.values(), p.X, p.Y)
    assert not any(np.shares_memory(M, N) for M in layers(t) for N in inputs)


@pytest.mark.parametrize("name", HERE)
def test_the_bias_is_the_last_row(name: str) -> None:
    p = subject(BIASED).problem
    t = ready(name).run(p)
    for l in (1, 2):
        np.testing.assert_allclose(t.dW[l][-1], t.delta[l].sum(axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(t.W_new[l], p.W[l] - p.alpha * t.dW[l], rtol=1e-6)
    moved = replace(
        p,
        W={**p.W, 1: p.W[1] + np.vstack([np.zeros_like(p.weights(1)), np.ones((1, 3), "float32")])},
    )
    np.testing.assert_allclose(ready(name).run(moved).A[1], t.A[1] + 1, rtol=1e-5, atol=1e-5)


HEADS = [
    c
    for c in cases("standard")
    if c.family == "heads" and c.dtype == "float64" and c.depth == 1 and c.batch == 7
]


@pytest.mark.parametrize("name", ["refbp", "torch-cpu", "jax-cpu"])
def test_every_loss_and_head_conforms(name: str) -> None:
    assert len(HEADS) == 13
    for c in HEADS:
        result = judge(subject(c), name, ready(name).run(subject(c).problem))
        assert (c.id, result["verdict"], result["message"]) == (c.id, "conforms", "")


@pytest.mark.parametrize("name", ["refbp", "torch-cpu", "jax-cpu"])
def test_every_activation_conforms(name: str) -> None:
    """Or differs as it is known to."""
    for s in ACTIVATIONS:
        of = Subject(Case("typical", s, 1, 7, "float64", (4, 3)))
        result = judge(of, name, ready(name).run(of.problem))
        assert (s, result["verdict"]) in {(s, "conforms"), ("hardsigmoid", "known-difference")}


# --- torch ----------------------------------------------------------------------------------------


def test_torch_runs_real_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An nn.Sequential of nn.Linear and the native activation modules, in turn."""
    from torch import nn

    from conformance.implementations import torch_

    built = []

    class Recording(nn.Sequential):
        def __init__(self, *modules: nn.Module) -> None:
            super().__init__(*modules)
            built.append(self)

    monkeypatch.setattr(torch_.nn, "Sequential", Recording)
    p = subject(BIASED).problem
    ready("torch-cpu").run(p)
    (net,) = built
    assert [type(m) for m in net] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh]
    for l in (1, 2):
        linear = net[2 * (l - 1)]
        assert linear.weight.shape == p.weights(l).T.shape
        assert linear.bias is not None
        assert linear.weight.grad is not None


def test_torchs_tables() -> None:
    from conformance.implementations import torch_

    assert set(torch_.MODULES) == {*ACTIVATIONS, *ROW_WISE}
    assert set(torch_.LOSSES) == set(LOSSES)
    own = {n for n, m in torch_.MODULES.items() if not type(m()).__module__.startswith("torch.nn.")}
    assert own == {"sin", "gaussian"}


def test_torchs_mean_is_not_taken() -> None:
    """Its own divides by n·d_L: the notes' loss is d_L times as large."""
    import torch
    from torch.nn import functional as F

    p = subject(BIASED_64).problem
    t = ready("torch-cpu").run(p)
    own = F.mse_loss(torch.tensor(t.Z[2]), torch.tensor(p.Y)).item()
    assert float(t.loss) == pytest.approx(own * p.Y.shape[1], rel=1e-13)


def test_what_needs_no_gradient_is_kept_without_one() -> None:
    import torch

    kept: dict[int, Any] = {}
    output = torch.ones(2)
    ready("torch-cpu")._keep(kept, 3)(None, None, output)
    assert kept == {3: output}


def test_torch_uses_one_thread() -> None:
    import torch

    torch.set_num_threads(2)
    implementation("torch-cpu").start()
    assert torch.get_num_threads() == 1


def test_torch_says_why_it_does_not_run_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotRunError) as reason:
        implementation("torch-cuda").start()
    assert reason.value.args == ("no CUDA device: torch.cuda.is_available() is False.",)


def test_torch_checks_where_a_tensor_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def landing_on(device: str) -> Any:
        return lambda *size, device=None: SimpleNamespace(device=SimpleNamespace(type=where))

    where = "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch, "ones", landing_on(where))
    torch.backends.cuda.matmul.allow_tf32 = True
    with pytest.raises(NotRunError) as reason:
        implementation("torch-cuda").start()
    assert reason.value.args == ("a tensor asked for on cuda landed on cpu.",)
    where = "cuda"
    versions, device = implementation("torch-cuda").start()
    assert (versions["cuda"], device) == ("12.8", "H200")
    assert torch.backends.cuda.matmul.allow_tf32 is False


# --- jax ------------------------------------------------------------------------------------------


def test_jaxs_tables() -> None:
    from conformance.implementations import jax_

    assert set(jax_.ACTIVATIONS) == {*ACTIVATIONS, *ROW_WISE}
    assert set(jax_.TERMS) == set(LOSSES)


def test_jax_is_switched_to_64_bits_and_full_precision() -> None:
    import jax

    configure: Any = jax.config.update
    configure("jax_enable_x64", False)
    configure("jax_default_matmul_precision", "default")
    try:
        implementation("jax-cpu").start()
        assert jax.config.jax_enable_x64
        assert jax.config.jax_default_matmul_precision == "highest"
    finally:
        configure("jax_enable_x64", True)
    t = ready("jax-cpu").run(subject(BIASED_64).problem)
    assert {M.dtype for M in layers(t)} == {np.dtype("float64")}


def test_jax_is_kept_to_one_thread() -> None:
    import os

    from conformance.implementations import jax_

    assert jax_._ONE_THREAD in os.environ["XLA_FLAGS"]


def test_jax_is_told_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the file is loaded, and whatever else the user asks of XLA."""
    import importlib
    import os

    from conformance.implementations import jax_

    one_thread = jax_._ONE_THREAD
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/nowhere")
    for _ in range(2):
        importlib.reload(jax_)
        assert os.environ["XLA_FLAGS"] == f"--xla_dump_to=/nowhere {one_thread}"


def test_jax_compiles_the_jitted_one_alone() -> None:
    assert hasattr(ready("jax-cpu-jit").step, "lower")
    assert not hasattr(ready("jax-cpu").step, "lower")


@pytest.mark.parametrize("name", ["jax-cuda", "jax-cuda-jit"])
def test_jax_says_why_it_does_not_run_on_cuda(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    def none(platform: str) -> Any:
        raise RuntimeError(f"Unknown backend {platform!r}\nand more")

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(NotRunError) as reason:
        implementation(name).start()
    assert reason.value.args == ("no CUDA device: JAX says: Unknown backend 'cuda'",)


def test_jax_may_give_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    def none(platform: str) -> Any:
        raise RuntimeError

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(NotRunError, match=r"^no CUDA device: JAX says: no reason given$"):
        implementation("jax-cuda").start()


def test_jax_checks_where_an_array_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    card = SimpleNamespace(device_kind="H200")
    monkeypatch.setattr(jax, "devices", lambda platform: [card])
    monkeypatch.setattr(
        jax, "device_put", lambda x, device: SimpleNamespace(devices=lambda: {elsewhere})
    )
    elsewhere: Any = "cpu:0"
    with pytest.raises(NotRunError, match=r"^an array asked for on .* landed on cpu:0\.$"):
        implementation("jax-cuda").start()


def test_jax_names_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    class Card:
        device_kind = "H200"

    card = Card()
    monkeypatch.setattr(jax, "devices", lambda platform: [card])
    monkeypatch.setattr(
        jax, "device_put", lambda x, device: SimpleNamespace(devices=lambda: {device})
    )
    versions, device = implementation("jax-cuda").start()
    assert device == "H200"
    assert set(versions) == {"jax", "jaxlib"}


# --- refbp ----------------------------------------------------------------------------------------


def test_refbp_runs_the_notes_procedures(monkeypatch: pytest.MonkeyPatch) -> None:
    """forward_pass, backward_prop and update, the bias absorbed."""
    import refbp

    called = []
    for procedure in ("forward_pass", "backward_prop", "update", "absorb", "with_constant_units"):
        real = getattr(refbp, procedure)

        def recording(*args: Any, real: Any = real, procedure: str = procedure) -> Any:
            called.append(procedure)
            return real(*args)

        monkeypatch.setattr(refbp, procedure, recording)
    ready("refbp").run(subject(replace(BIASED_64, bias=False)).problem)
    assert called == ["forward_pass", "backward_prop", "update"]
    called.clear()
    ready("refbp").run(subject(BIASED).problem)
    assert set(called) == {
        "absorb",
        "with_constant_units",
        "forward_pass",
        "backward_prop",
        "update",
    }


def test_an_input_that_is_written_to_is_refused() -> None:
    p: Problem = BIASED.problem()
    for M in (*p.W.values(), p.X, p.Y):
        with pytest.raises(ValueError, match="read-only"):
            M[...] = 0
