"""Tests, before an implementation is judged, whether it computes in the arithmetic that it should.

Each probe is a small network whose A_1 shows it: float32 products rounded to TF32, float64 computed in
float32, subnormal numbers flushed to zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.implementations import Implementation
from conformance.model.problem import Problem

__all__ = ["objection", "probe"]


def _first(impl: Implementation, x: float, w: float, dtype: str, width: int = 1) -> float:
    """A_1[0, 0] of X = x·1 and W_1 = w·I, with the identity and the notes' loss."""
    W = {1: (np.eye(width) * w).astype(dtype)}
    X = np.full((width, width), x, dtype)
    Y = np.zeros_like(X)
    p = Problem(W, X, Y, {1: "identity"}, "mean_squared_error", False, 0.125)
    return float(impl.run(p).A[1][0, 0])


def probe(impl: Implementation) -> dict[str, str]:
    """The arithmetic in which it computes: {"tf32", "x64", "subnormals"}, each in a word or two."""
    one = 1 + 2.0**-12  # 13 bits: TF32 keeps 11
    tf32 = _first(impl, one, one, "float32", width=64)
    x64 = _first(impl, 1 + 2.0**-40, 1.0, "float64")
    kept = {}
    for dtype in ("float64", "float32"):
        normal = float(np.finfo(dtype).smallest_normal)
        kept[dtype] = _first(impl, normal, 0.5, dtype) == normal / 2
    subnormals = "kept" if all(kept.values()) else "flushed to zero"
    if len(set(kept.values())) == 2:
        subnormals += " in " + next(d for d, k in kept.items() if not k)
    return {
        "tf32": "no" if tf32 == 1 + 2.0**-11 else "yes",
        "x64": "yes" if x64 == 1 + 2.0**-40 else "no",
        "subnormals": subnormals,
    }


def objection(probes: Mapping[str, str]) -> str:
    """Why the results would not be worth judging, by what `probe` returned; "" if they are."""
    if probes["tf32"] == "yes":
        return (
            "float32 matrix products are rounded to TF32 or less (11 bits); expected float32's 24. "
            "Ask for full precision (torch.backends.cuda.matmul.allow_tf32 = False, "
            "jax_default_matmul_precision = 'highest')."
        )
    if probes["x64"] == "no":
        return (
            "float64 is computed in float32; expected 53 bits. Switch it on (jax_enable_x64) before "
            "anything else uses JAX in this process."
        )
    return ""
