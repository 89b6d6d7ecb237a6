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
