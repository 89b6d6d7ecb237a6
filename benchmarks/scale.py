"""What a verdict costs as networks grow: time and memory by width, batch, depth and number of cases.

    python benchmarks/scale.py [--small] [--write] [--cases N]

Each row is one network, judged by itself in a process of its own: the forward and backward pass of
refbp, the truth, the tolerances, and the gate `step`. Beside it stand the truth in FLINT's balls alone,
where that ends in half a minute, and torch's gradcheck with all numbers as inputs, where there are few.
With --write the tables go between the markers of docs/scale.md, and docs/scale.svg is drawn of them. Timings
are printed, never judged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # as in a worker
os.environ.pop("OPENBLAS_CORETYPE", None)

DOC = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- begin: benchmarks/scale.py -->", "<!-- end: benchmarks/scale.py -->"
MOST = 30.0  # seconds, for what is only put beside it
GRADCHECK = 2_500  # numbers: beyond that it takes minutes

Row = dict[str, float]


def network(width: int, batch: int, depth: int, dtype: str, seed: int = 0) -> Any:
    """Square tanh layers with a bias, the mean squared error, weights that keep A_l of order one."""
    import numpy as np

    from conformance import Problem

    draw = np.random.default_rng(seed).standard_normal
    layers = range(1, depth + 1)
    W = {l: (draw((width + 1, width)) / np.sqrt(width)).astype(dtype) for l in layers}
    X, Y = draw((batch, width)).astype(dtype), draw((batch, width)).astype(dtype)
    sigma = dict.fromkeys(layers, "tanh")
    return Problem(W=W, X=X, Y=Y, sigma=sigma, loss="mean_squared_error", bias=True, alpha=0.125)


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def measured(width: int, batch: int, depth: int, dtype: str) -> Row:
    """One network: seconds of each part, and GiB at most."""
    from conformance.judge.start import started_now
    from conformance.judge.tolerance import LAMBDA, accuracy
    from conformance.truth.network import Network
    from conformance.truth.rounding import Arithmetic

    p = network(width, batch, depth, dtype)
    ready = started_now("refbp").ready
    assert ready is not None
    one = statistics.median(seconds(lambda: ready.run(p)) for _ in range(5))
    t, judge = ready.run(p), Network(p)
    of, arithmetic = partial(accuracy, "refbp", dtype), Arithmetic.of(p.dtype)
    found = {
        "pass": one,
        "truth": seconds(lambda: judge.truth),
        "tolerance": seconds(lambda: judge.spread(arithmetic, of, LAMBDA)),
        "step": seconds(lambda: judge.steps(t, arithmetic, of, False)),
    }
    found["verdict"] = found["truth"] + found["tolerance"] + found["step"]
    found["GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def in_balls_alone(width: int, batch: int, depth: int, dtype: str) -> Row:
    """The truth without `pairs`."""
    from conformance.truth import readings
    from conformance.truth.network import Network

    readings.PAIRED = 10**12
    judge = Network(network(width, batch, depth, dtype))
    return {"balls": seconds(lambda: judge.truth)}


def gradcheck(width: int, batch: int, depth: int, dtype: str) -> Row:
    """torch's, of the same network."""
    import torch

    p = network(width, batch, depth, "float64")
    Y = torch.tensor(p.Y)

    def loss(X: Any, *W: Any) -> Any:
        one = torch.ones((len(X), 1), dtype=X.dtype)
        for M in W:
            X = torch.tanh(torch.cat([X, one], 1) @ M)
        return ((X - Y) ** 2).sum() / len(X)

    inputs = [torch.tensor(M, requires_grad=True) for M in (p.X, *p.W.values())]
    return {"gradcheck": seconds(lambda: torch.autograd.gradcheck(loss, inputs))}


def cases(n: int) -> Row:
    """So many small networks through the runner with two workers, and the file read again."""
    from conformance.cases.catalogue import Case
    from conformance.cases.checked import checked
    from conformance.judge.runner import run
    from conformance.model.results_file import read, write_results

    of = (network(2 + i % 3, 1 + i % 5, 1 + i % 3, "float64", i) for i in range(n))
    own = [Case.of(checked(p), close=False) for p in of]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.json"
        begun = time.perf_counter()
        found = run("own", ["refbp"], own=own, jobs=2)
        ran = time.perf_counter() - begun
        wrote = seconds(lambda: write_results(path, found))
        again = seconds(lambda: read(path))
        size = path.stat().st_size / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"run": ran, "write": wrote, "read": again, "MiB": size, "GiB": most}


PARTS: dict[str, Callable[..., Row]] = {
    "measured": measured,
    "balls": in_balls_alone,
    "gradcheck": gradcheck,
    "cases": cases,
}


def alone(part: str, *of: Any, limit: float | None = None) -> Row:
    """In a process of its own; nothing where that takes too long."""
    words = [sys.executable, __file__, "--part", part, json.dumps(of)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.TimeoutExpired:
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table(shapes: list[tuple[int, int, int, str]]) -> str:
    """A row a network."""
    lines = [
        "| width | batch | depth | dtype | numbers | pass | truth | in balls alone | tolerance | step | "
        "verdict | over the pass | gradcheck | memory |",
        "|" + "--:|" * 14,
    ]
    for width, batch, depth, dtype in shapes:
        of = (width, batch, depth, dtype)
        row = alone("measured", *of)
        row |= alone("balls", *of, limit=MOST)
        numbers = depth * (width + 1) * width + batch * width
        if numbers <= GRADCHECK:
            row |= alone("gradcheck", *of, limit=10 * MOST)
        balls = f"{row['balls']:.2f} s" if "balls" in row else f"> {MOST:.0f} s"
        check = f"{row['gradcheck']:.2f} s" if "gradcheck" in row else ""
        cells = [
            f"{width:,}", f"{batch:,}", depth, dtype, f"{numbers:,}", f"{1e3 * row['pass']:.2f} ms",
            f"{row['truth']:.2f} s", balls, f"{row['tolerance']:.2f} s", f"{row['step']:.2f} s",
            f"{row['verdict']:.2f} s", f"{row['verdict'] / row['pass']:,.0f}", check, f"{row['GiB']:.2f} GiB",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def table_of_cases(counts: tuple[int, ...]) -> str:
    """A row a number of cases."""
    lines = [
        "| cases | run | a case | written | read | file | memory of the runner |",
        "|" + "--:|" * 7,
    ]
    for n in counts:
        row = alone("cases", n)
        lines.append(
            f"| {n:,} | {row['run']:.0f} s | {1e3 * row['run'] / n:.1f} ms | {row['write']:.1f} s | "
            f"{row['read']:.1f} s | {row['MiB']:.1f} MiB | {row['GiB']:.2f} GiB |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


STYLE = """
text { font: 13px sans-serif; fill: #333 } .grid { stroke: #ddd } .line { fill: none; stroke-width: 2 }
.a { stroke: #3f51b5; fill: #3f51b5 } .b { stroke: #c62828; fill: #c62828 } .c { stroke: #777; fill: #777 }
@media (prefers-color-scheme: dark) {
  text { fill: #ccc } .grid { stroke: #444 } .a { stroke: #9fa8da; fill: #9fa8da }
  .b { stroke: #ef9a9a; fill: #ef9a9a } .c { stroke: #aaa; fill: #aaa }
}
path.line { fill: none } .middle { text-anchor: middle } .end { text-anchor: end }
"""


def drawn(text: str) -> str:
    """Seconds by the numbers of a network: a verdict, truth in balls alone, the pass itself; as SVG.

    text: the tables, as `table` has them.
    """
    from conformance.report import svg

    rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if " ms |" in line
    ]
    networks = [r for r in rows if len(r) == 14 and r[3] == "float64"]
    series = {  # column of the table, class, marker
        "a verdict": (10, "a", "circle"),
        "its truth in balls alone": (7, "b", "diamond"),
        "gradcheck": (12, "b", "square"),
        "the pass itself": (5, "c", "triangle"),
    }

    def seconds_of(cell: str) -> float:
        if not cell or cell.startswith(">"):
            return 0.0
        value, unit = cell.split()
        return float(value.replace(",", "")) / (1e3 if unit == "ms" else 1)

    at = {
        name: [(float(r[4].replace(",", "")), t) for r in networks if (t := seconds_of(r[column]))]
        for name, (column, _, _) in series.items()
    }
    points = [p for of in at.values() for p in of]
    x = svg.LogAxis.around((n for n, _ in points), (3, 6), 60, 620)
    y = svg.LogAxis.around((t for _, t in points), (-4, 2), 330, 20)
    parts = [svg.el("style", STYLE)]
    for tick, label in x.ticks():
        parts += [svg.path([(tick, 20), (tick, 330)], "grid"), svg.text(tick, 350, label, "middle")]
    for tick, label in y.ticks():
        parts += [svg.path([(60, tick), (620, tick)], "grid"), svg.text(52, tick + 4, label, "end")]
    parts += [
        svg.text(340, 374, "numbers: weights and inputs", "middle"),
        svg.text(8, 12, "seconds"),
    ]
    for i, (name, (_, class_, shape)) in enumerate(series.items()):
        parts.append(svg.marks(shape, [(x(n), y(t)) for n, t in at[name]], class_))
        parts += [svg.mark(shape, 440, 250 + 20 * i, class_), svg.text(452, 254 + 20 * i, name)]
    title, desc = "What a verdict costs", "Seconds by the numbers of a network, both by magnitude."
    return str(svg.plot("scale", 640, 384, title, desc, parts)).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )


def main() -> None:
    """Measure, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="widths to 256")
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    parser.add_argument("--cases", type=int, help="only so many cases through the runner")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part[0]](*json.loads(options.part[1]))))
        return
    if options.cases:
        table_of_cases((options.cases,))
        return
    wide = (16, 64, 256) if options.small else (16, 64, 256, 512, 1024)
    shapes = [(w, min(w, 256), 4, "float64") for w in wide]
    shapes += [(256, 256, 4, "float32")] + [(64, n, 4, "float64") for n in (1, 16, 256, 1024)]
    shapes += [(64, 64, L, "float64") for L in (1, 8, 16)]
    counts = (100, 1_000) if options.small else (100, 1_000, 10_000)
    text = table(list(dict.fromkeys(shapes))) + "\n\n" + table_of_cases(counts)
    if options.write:
        page = DOC.read_text("utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        DOC.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")
        DOC.with_suffix(".svg").write_text(drawn(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
