"""The probe before the run: what arithmetic an implementation really computes in.

That it catches TF32, float64 switched off and flushing is tested where those faults are planted, in
tests/meta/test_faults.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.implementations import implementation
from conformance.implementations.probes import objection, probe
from conformance.model.problem import Problem, Trace

RIGHT = {"tf32": "no", "x64": "yes", "subnormals": "kept"}


@pytest.mark.parametrize(
    ("name", "subnormals"),
    [("refbp", "kept"), ("torch-cpu", "kept"), ("jax-cpu", "flushed to zero")],
)
def test_the_implementations_here(name: str, subnormals: str) -> None:
    impl = implementation(name)
    impl.start()
    found = probe(impl)
    assert found == {**RIGHT, "subnormals": subnormals}
    assert objection(found) == ""


class Recording:
    """refbp, and what it is asked."""

    name, description = "refbp", "recording"

    def __init__(self) -> None:
        self.asked: list[Problem] = []

    def start(self) -> Any:
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        self.asked.append(p)
        return implementation("refbp").run(p)


def test_what_is_asked() -> None:
    """Operands that fit the dtype declared and not the one below it."""
    impl = Recording()
    probe(impl)
    tf32, x64, *small = impl.asked
    assert (tf32.dtype, tf32.X.shape) == (np.float32, (64, 64))  # large enough for a tensor core
    x, w = float(tf32.X[0, 0]), float(tf32.W[1][0, 0])
    assert x == w == 1 + 2.0**-12
    assert np.float32(x) * np.float32(w) == np.float32(1 + 2.0**-11)
    assert x64.dtype == np.float64
    assert np.float32(x64.X[0, 0]) != x64.X[0, 0]
    assert [p.dtype for p in small] == [np.float64, np.float32]
    for p in small:
        exact = float(p.X[0, 0]) * float(p.W[1][0, 0])
        assert 0 < exact < np.finfo(p.dtype).smallest_normal


def test_what_is_objected_to() -> None:
    assert objection({**RIGHT, "subnormals": "flushed to zero"}) == ""
    assert objection({**RIGHT, "tf32": "yes"}) == (
        "float32 matrix products are rounded to TF32 or less (11 bits); expected float32's 24. "
        "Ask for full precision (torch.backends.cuda.matmul.allow_tf32 = False, "
        "jax_default_matmul_precision = 'highest')."
    )
    assert objection({**RIGHT, "x64": "no"}) == (
        "float64 is computed in float32; expected 53 bits. Switch it on (jax_enable_x64) before "
        "anything else uses JAX in this process."
    )
    assert objection({**RIGHT, "x64": "no", "tf32": "yes"}).startswith("float32 matrix products")
