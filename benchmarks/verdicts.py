"""How long a verdict on a gradient takes, beside torch's gradcheck: a transformer block, and LayerNorm.

    python benchmarks/verdicts.py [--large]

A verdict is `check_function` on one family of data, with everything that it asks of the code: the truth in
balls, the tolerance, views with gaps, the same bits twice. It is asked twice, and the second is timed: the
first imports and compiles. gradcheck is given the same block, all of its numbers as inputs, in float64, and
the sum of the outputs times a cotangent, which is the least that it can be asked. Where the block has 100,000
numbers, gradcheck is given `PART` of them, and its time is multiplied. LayerNorm has a process of its own,
with neither torch nor JAX, whose memory is told. Timings are printed, never judged.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance import check_function

Reals = NDArray[np.float64]
PART = 500

NAMES = ("x", "g1", "b1", "Wq", "Wk", "Wv", "Wo", "g2", "b2", "W1", "c1", "W2", "c2")


def block(width: int, rows: int) -> dict[str, Reals]:
    """The input and the parameters of one block."""
    d, draw = width, np.random.default_rng(0).standard_normal
    shapes = (
        (rows, d),
        d,
        d,
        (d, d),
        (d, d),
        (d, d),
        (d, d),
        d,
        d,
        (d, 4 * d),
        4 * d,
        (4 * d, d),
        d,
    )
    found = {
        name: draw(shape) / (np.sqrt(d) if name[0] == "W" else 1)
        for name, shape in zip(NAMES, shapes, strict=True)
    }
    return found | {"g1": 1 + found["g1"] / 4, "g2": 1 + found["g2"] / 4}


def in_torch(x: Any, g1: Any, b1: Any, Wq: Any, Wk: Any, Wv: Any, Wo: Any,
             g2: Any, b2: Any, W1: Any, c1: Any, W2: Any, c2: Any) -> Any:  # fmt: skip
    """Causal attention and an MLP, each behind a LayerNorm and added to what came in."""
    import torch

    F = torch.nn.functional
    h = F.layer_norm(x, x.shape[-1:], g1, b1)
    scores = (h @ Wq) @ (h @ Wk).T / x.shape[-1] ** 0.5
    seen = torch.ones_like(scores).tril().bool()
    x = x + torch.softmax(scores.masked_fill(~seen, -torch.inf), -1) @ (h @ Wv) @ Wo
    h = F.layer_norm(x, x.shape[-1:], g2, b2)
    return x + F.gelu(h @ W1 + c1) @ W2 + c2


def in_jax(x: Any, g1: Any, b1: Any, Wq: Any, Wk: Any, Wv: Any, Wo: Any,
           g2: Any, b2: Any, W1: Any, c1: Any, W2: Any, c2: Any) -> Any:  # fmt: skip
    """The same."""
    import jax
    import jax.numpy as jnp

    def norm(x: Any, g: Any, b: Any) -> Any:
        d = x - x.mean(-1, keepdims=True)
        return d * jax.lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * g + b

    h = norm(x, g1, b1)
    scores = (h @ Wq) @ (h @ Wk).T / x.shape[-1] ** 0.5
    seen = jnp.tril(jnp.ones_like(scores)) == 1
    x = x + jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1) @ (h @ Wv) @ Wo
    h = norm(x, g2, b2)
    return x + jax.nn.gelu(h @ W1 + c1, approximate=False) @ W2 + c2


def layer_norm(x: Reals, g: Reals, b: Reals) -> Reals:
    d = x - x.mean(-1, keepdims=True)
    return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * g + b


def layer_norm_vjp(G: Reals, x: Reals, g: Reals, b: Reals) -> tuple[Reals, ...]:
    d = x - x.mean(-1, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5)
    h, H = d * r, G * g
    through = H - H.mean(-1, keepdims=True) - h * (H * h).mean(-1, keepdims=True)
    return r * through, (G * h).sum(0), G.sum(0)


def seconds(run: Callable[[], object]) -> float:
    """Of the second of two calls."""
    run()
    gc.collect()
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def verdict(f: Callable[..., Any], inputs: Mapping[str, Reals], **options: Any) -> float:
    """Seconds until it is known that the gradient is right."""

    def ask() -> None:
        found = check_function(f, inputs=inputs, **options)
        assert found["verdict"] in ("conforms", "known-difference"), found["message"]

    return seconds(ask)


def gradcheck(inputs: Mapping[str, Reals], part: int | None = None) -> float:
    """Seconds of torch's, or, of a part of the inputs, what all would take."""
    import torch

    of = [torch.tensor(M, requires_grad=part is None) for M in inputs.values()]
    G = torch.randn(of[0].shape, dtype=torch.float64)
    count = sum(M.size for M in inputs.values())

    def scalar(*tensors: Any) -> Any:
        return (in_torch(*tensors) * G).sum()

    if part is None:
        return seconds(lambda: torch.autograd.gradcheck(scalar, of))
    W = of[NAMES.index("W1")]
    some = W.flatten()[:part].clone().requires_grad_()

    def of_some(some: Any) -> Any:
        whole = torch.cat([some, W.flatten()[part:]]).reshape(W.shape)
        return scalar(*(whole if M is W else M for M in of))

    return seconds(lambda: torch.autograd.gradcheck(of_some, [some])) * count / part


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--large", action="store_true", help="a block of 100,000 numbers as well")
    asked.add_argument("--layer-norm", action="store_true", help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.layer_norm:
        normalised()
        return
    sizes = [(16, 8), (88, 64)] if options.large else [(16, 8)]
    print(f"{'':<34}{'numbers':>9}{'verdict s':>11}{'gradcheck s':>13}{'times':>7}")
    for width, rows in sizes:
        inputs = block(width, rows)
        count = sum(M.size for M in inputs.values())
        other = gradcheck(inputs, None if count < 10_000 else PART)
        for name, f in (("torch", in_torch), ("jax", in_jax)):
            own = verdict(f, inputs, framework=name)
            row = f"transformer block, {name}"
            print(f"{row:<34}{count:>9,}{own:>11.2f}{other:>13.1f}{other / own:>7.0f}", flush=True)
    subprocess.run([sys.executable, __file__, "--layer-norm"], check=True)


def normalised() -> None:
    """LayerNorm of 256 × 1,024 numbers, in this process, whose memory is told."""
    n, m = 256, 1024
    draw = np.random.default_rng(0).standard_normal
    own = verdict(layer_norm, {"x": draw((n, m)), "g": draw(m), "b": draw(m)}, vjp=layer_norm_vjp)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{f'LayerNorm {n} × {m}, NumPy':<34}{n * m:>9,}{own:>11.2f}   {most:.2f} GiB at most")


if __name__ == "__main__":
    main()
