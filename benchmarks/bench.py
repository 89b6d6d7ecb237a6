"""How fast is a forward and backward pass: refbp, eager torch and jitted JAX on the same networks.

    python benchmarks/bench.py [--quick] [--json PATH]

Each row is one network: n examples, `depth` square layers of `width`, one σ throughout, weights
drawn once and handed to all, loss (1/n) Σ (z − y)². A pass is the forward pass, the loss and every
∂L/∂W_l; beside them stand the matrix products alone. The libraries take turns in one process, each
with its default threads: a turn is one untimed call, then timed ones, since a library's idle threads
spin for a while after its last call and would be charged to whoever comes next. A ratio is one of
medians over all timed calls.

Timings are printed, never judged: the exit status is 0 unless something raised.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from refbp.network import Network

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]

SHAPES = ((1, 16, 3), (32, 64, 4), (128, 256, 4), (256, 1024, 4), (1024, 512, 8))
SIGMAS = ("tanh", "relu", "sigmoid")
DTYPES = ("float64", "float32")
TORCH_SIGMA = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
JAX_SIGMA = {"tanh": jax.numpy.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}
TURNS, SECONDS_A_TURN = 7, 0.06
QUICK_TURNS, QUICK_SECONDS_A_TURN = 3, 0.02

Pass = Callable[..., Any]


@dataclass(frozen=True)
class Problem:
    """One network and one batch, as plain arrays."""

    n: int
    width: int
    depth: int
    sigma: str
    dtype: str

    def arrays(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """(W_1 … W_L, X, Y): standard normal, the weights scaled to keep A_l of order one."""
        draw = np.random.default_rng(0).standard_normal
        W = [draw((self.width, self.width)) / math.sqrt(self.width) for _ in range(self.depth)]
        X, Y = draw((self.n, self.width)), draw((self.n, self.width))
        return [M.astype(self.dtype) for M in W], X.astype(self.dtype), Y.astype(self.dtype)


@dataclass(frozen=True)
class Row:
    """A problem's medians, in microseconds."""

    problem: Problem
    refbp: float
    torch: float
    jax: float
    products: float

    def ratio(self, other: str) -> float:
        """refbp's time over another's: below 1, refbp is the quicker."""
        return self.refbp / float(getattr(self, other))


def refbp_pass(problem: Problem) -> Pass:
    """Forward, loss and backward by `refbp.network.Network.trace`."""
    W, X, Y = problem.arrays()
    network = Network.from_lists(W, [problem.sigma] * problem.depth, "mean_squared_error")
    return lambda: network.trace(X, Y)


def torch_pass(problem: Problem) -> Pass:
    """Eager torch: nn.Sequential of nn.Linear without bias and the native σ, then .backward()."""
    W, X, Y = problem.arrays()
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    layers: list[torch.nn.Module] = []
    for M in W:
        linear = torch.nn.Linear(problem.width, problem.width, bias=False, dtype=x.dtype)
        linear.weight = torch.nn.Parameter(torch.from_numpy(M.T.copy()))
        layers += [linear, TORCH_SIGMA[problem.sigma]()]
    model = torch.nn.Sequential(*layers)

    def run() -> Any:
        model.zero_grad(set_to_none=True)
        loss = ((model(x) - y) ** 2).sum() / problem.n
        loss.backward()
        return loss

    return run


def jax_pass(problem: Problem) -> Pass:
    """JAX: value_and_grad of the same function, jitted; the compilation is not timed."""
    weights, X, Y = problem.arrays()
    operands = [jax.numpy.asarray(W) for W in weights], jax.numpy.asarray(X), jax.numpy.asarray(Y)
    sigma = JAX_SIGMA[problem.sigma]

    def loss(W: list[Any], X: Any, Y: Any) -> Any:
        Z = X
        for M in W:
            Z = sigma(Z @ M)
        return ((Z - Y) ** 2).sum() / problem.n

    compiled = jax.jit(jax.value_and_grad(loss))
    ready: Pass = jax.block_until_ready
    return lambda: ready(compiled(*operands))


def products_pass(problem: Problem) -> Pass:
    """The matrix products of refbp's pass alone, their results kept, as refbp returns them."""
    W, X, Y = problem.arrays()

    def run() -> Any:
        forward = [X @ M for M in W]
        links = [Y @ M.T for M in W[1:]]
        return forward, links, [X.T @ Y for _ in W]

    return run


PASSES = {"refbp": refbp_pass, "torch": torch_pass, "jax": jax_pass, "products": products_pass}


def turn(run: Pass, seconds: float) -> Iterator[float]:
    """The microseconds of each call of one turn, after one that is not counted; at least two."""
    run()
    end, calls = time.perf_counter() + seconds, 0
    while calls < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        yield 1e6 * (time.perf_counter() - start)
        calls += 1


def measure(problem: Problem, turns: int, seconds: float) -> Row:
    """Medians over `turns` turns of each library, taken in rotation."""
    passes = {name: make(problem) for name, make in PASSES.items()}
    times: dict[str, list[float]] = {name: [] for name in passes}
    gc.collect()
    gc.disable()
    for _ in range(turns):
        for name, run in passes.items():
            times[name] += turn(run, seconds)
    gc.enable()
    return Row(problem, **{name: statistics.median(t) for name, t in times.items()})


def settle_the_allocator() -> None:
    """Make and drop 30 MiB, so that no row depends on the rows before it.

    glibc gives a freed array back to the kernel, and takes page faults to get it again, if it is
    larger than the largest freed before (up to 32 MiB): this is the state of a process that has been
    at work for a while. It is the same for all three.
    """
    np.empty(30 * 2**20, dtype=np.uint8)


def problems() -> Iterator[Problem]:
    """Every network that is timed."""
    for shape in SHAPES:
        for dtype in DTYPES:
            for sigma in SIGMAS:
                yield Problem(*shape, sigma, dtype)


HEADER = (
    f"{'n':>5} {'width':>5} {'depth':>5}  {'σ':<8}{'dtype':<8}"
    f"{'refbp µs':>10}{'torch µs':>10}{'jax µs':>10}{'refbp/torch':>13}{'refbp/jax':>11}"
    f"{'refbp/products':>16}"
)


def line(row: Row) -> str:
    """One row of the table."""
    p = row.problem
    return (
        f"{p.n:>5} {p.width:>5} {p.depth:>5}  {p.sigma:<8}{p.dtype:<8}"
        f"{row.refbp:>10.1f}{row.torch:>10.1f}{row.jax:>10.1f}"
        f"{row.ratio('torch'):>13.2f}{row.ratio('jax'):>11.2f}{row.ratio('products'):>16.2f}"
    )


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """The geometric mean and the range of the ratios to each of the others."""
    return {
        other: {
            "geometric_mean": statistics.geometric_mean(row.ratio(other) for row in rows),
            "least": min(row.ratio(other) for row in rows),
            "most": max(row.ratio(other) for row in rows),
        }
        for other in ("torch", "jax", "products")
    }


def versions() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "jax": jax.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure, print, and write the figures where asked."""
    parser = argparse.ArgumentParser(description="Time one forward and backward pass.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    plan = (QUICK_TURNS, QUICK_SECONDS_A_TURN) if options.quick else (TURNS, SECONDS_A_TURN)
    settle_the_allocator()
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(HEADER)
    rows = []
    for problem in problems():
        rows.append(measure(problem, *plan))
        print(line(rows[-1]), flush=True)
    ratios = summary(rows)
    for other, figures in ratios.items():
        print(f"refbp/{other}: " + ", ".join(f"{k} {v:.2f}" for k, v in figures.items()))
    if options.json:
        record = {"versions": versions(), "rows": [asdict(r) for r in rows], "ratios": ratios}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
