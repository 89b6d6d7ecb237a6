"""Network and Trace: the algorithm's results under one name each."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import refbp
from refbp import InputError, Network
from refbp.activations import activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.losses import loss
from refbp.types import Array


def small() -> tuple[Network, Array, Array]:
    rng = np.random.default_rng(1)
    W = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))]
    network = Network.from_lists(W, ["tanh", "identity"], "mean_squared_error")
    return network, rng.normal(size=(5, 2)), rng.normal(size=(5, 1))


def test_from_lists_numbers_the_layers_from_1() -> None:
    network, _, _ = small()
    assert list(network.W) == list(network.sigma) == [1, 2]
    assert network.sigma[1] is activation("tanh")
    assert network.loss is loss("mean_squared_error")


def test_from_lists_takes_a_sigma_and_a_loss_themselves() -> None:
    sigma, squared = activation("tanh"), loss("mean_squared_error")
    network = Network.from_lists([np.ones((1, 1))], [sigma], squared)
    assert network.sigma[1] is sigma
    assert network.loss is squared


def test_the_trace_is_what_the_procedures_return() -> None:
    network, X, Y = small()
    A, Z = forward_pass(network.W, X, network.sigma)
    delta, dL_dW = backward_prop(network.W, A, Z, Y, network.sigma, network.loss)
    trace = network.trace(X, Y)
    for got, expected in (
        (trace.A, A),
        (trace.Z, Z),
        (trace.delta, delta),
        (trace.dL_dW, dL_dW),
        (network.forward(X)[0], A),
        (network.forward(X)[1], Z),
    ):
        assert got.keys() == expected.keys()
        assert all(got[l].tolist() == expected[l].tolist() for l in got)
    assert trace.loss == network.loss(Z[2], Y)


def test_a_step_is_the_update_and_leaves_the_network_as_it_was() -> None:
    network, X, Y = small()
    before = {l: M.copy() for l, M in network.W.items()}
    stepped = network.step(X, Y, 0.1)
    expected = update(network.W, network.trace(X, Y).dL_dW, 0.1)
    for l in network.W:
        np.testing.assert_array_equal(stepped.W[l], expected[l])
        np.testing.assert_array_equal(network.W[l], before[l])
    assert stepped.sigma is network.sigma
    assert stepped.trace(X, Y).loss < network.trace(X, Y).loss


def test_both_are_frozen() -> None:
    network, X, Y = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.W = {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.trace(X, Y).A = {}


def test_lists_of_different_length() -> None:
    with pytest.raises(InputError) as refusal:
        Network.from_lists([np.ones((1, 1))], ["tanh", "tanh"], "mean_squared_error")
    assert refusal.value.args == ("W has 1 layers, sigma has 2; expected as many.",)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(InputError):
        Network.from_lists([np.ones((1, 1))], ["tangent"], "mean_squared_error")
    with pytest.raises(InputError):
        Network.from_lists([np.ones((1, 1))], ["tanh"], "mean_cubed_error")


def test_every_export_exists() -> None:
    assert all(hasattr(refbp, name) for name in refbp.__all__)
    assert refbp.__version__ == "0.1.0"


def test_importing_refbp_imports_numpy_and_nothing_else() -> None:
    """Beyond the standard library: whatever else were there would be a dependency."""
    program = """
import sys
import numpy
before = {name.partition(".")[0] for name in sys.modules}
import refbp
after = {name.partition(".")[0] for name in sys.modules}
print(sorted(after - before - sys.stdlib_module_names))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "['refbp']"


# --- in a notebook ------------------------------------------------------------------------------------


def test_a_trace_shows_itself_in_a_notebook() -> None:
    network, X, Y = small()
    html = network.trace(X, Y)._repr_html_()
    assert html.startswith("<table><caption>Trace, loss ")
    assert "<td>delta[2]</td><td>5×1</td>" in html
    names = [n.partition("<")[0] for n in html.split("<tr><td>")[1:]]
    assert names == [
        *("A[1]", "A[2]", "Z[0]", "Z[1]", "Z[2]", "delta[2]", "delta[1]", "dL_dW[2]", "dL_dW[1]")
    ]
    assert len(html) < 2000


def test_a_network_shows_itself_in_a_notebook() -> None:
    network, _, _ = small()
    html = network._repr_html_()
    assert "Network, loss: mean_squared_error" in html
    assert "<td>1</td><td>tanh</td><td>2×3</td>" in html
    W = refbp.absorb({1: np.ones((1, 1)), 2: np.ones((1, 1))}, {1: np.ones(1), 2: np.ones(1)})
    absorbed = Network(W, refbp.with_constant_units(network.sigma), network.loss)
    assert "<td>tanh | 1</td>" in absorbed._repr_html_()


def test_what_a_notebook_shows_is_escaped() -> None:
    evil = refbp.Elementwise("<script>alert(1)</script>", np.tanh, np.tanh)
    network = Network.from_lists([np.ones((1, 1))], [evil], refbp.Loss("<b>&", max, min))
    html = network._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "loss: &lt;b&gt;&amp;" in html


def test_a_large_network_shows_itself_on_a_small_table() -> None:
    W = [np.ones((500, 500)) for _ in range(3)]
    network = Network.from_lists(W, ["tanh"] * 3, "mean_squared_error")
    assert len(network._repr_html_()) < 1000
    assert "<td>500×500</td><td>1</td>" in network._repr_html_()


def test_what_is_no_number_is_shown_all_the_same() -> None:
    symbols = np.array([[object()]], dtype=object)
    trace = refbp.Trace({1: symbols}, {0: np.ones((0, 1))}, {}, {}, "ℓ")  # type: ignore[arg-type]
    assert "<caption>Trace, loss ℓ</caption>" in trace._repr_html_()
    broken = Network({1: np.ones((1, 1))}, {}, refbp.loss("huber"))
    assert "<td>NoneType</td>" in broken._repr_html_()
