"""How much memory a worker has resident at most, by what it judges: what to give `conformance run --memory`.

    python benchmarks/memory.py

Each row is a run of the profile `quick` with one worker (the last: all of them), which is looked at twenty
times a second, in /proc as Linux has it. Figures are printed, never judged.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ALL = ("refbp", "torch-cpu", "jax-cpu", "jax-cpu-jit")


def most(*names: str) -> float:
    """MiB that the worker of a run of these implementations had resident at most."""
    words = [word for name in names for word in ("--implementation", name)]
    run = subprocess.Popen(
        [sys.executable, "-m", "conformance", "run", "--profile", "quick", "--jobs", "1", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = 0
    while run.poll() is None:
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                text = path.read_text("utf-8")
            except OSError:  # it has ended
                continue
            peak = re.search(r"VmHWM:\s+(\d+)", text)
            if peak and f"\nPPid:\t{run.pid}\n" in text:
                found = max(found, int(peak[1]))
        time.sleep(0.05)
    return found / 2**10


def main() -> None:
    """The table."""
    for names in [*((name,) for name in ALL), ALL]:
        print(f"{', '.join(names):45} {most(*names):7,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
