"""`make oldest`: the quick profile with the oldest versions that are declared, and on other Pythons.

    .venv/bin/python tests/meta/oldest.py [PYTHON …]

Each environment is made anew in .venv/others by uv, from a wheel of this checkout: one with the lowest
version of each direct requirement, and for each PYTHON that is named one with the pinned versions. It ends
with 0 where each judges refbp, torch and JAX as it should; 1 where something deviates that is not in `KNOWN`;
2 where one cannot be made, or cannot run.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv" / "others"
UV = [sys.executable, "-m", "uv"]
EXTRAS = f"{ROOT}[conformance,torch,jax,fuzz]"

KNOWN = {("oldest", "torch-cpu", "hardswish")}
"""What deviates rightly: hardswish' at ±3 is −1/2 and 3/2 in torch 2.4, as within; later 0 and 1."""


def installs(python: str) -> Iterator[list[str]]:
    """The arguments of `uv pip install`, one after another; "oldest" is no Python's name."""
    if python == "oldest":
        yield ["--resolution", "lowest-direct", EXTRAS]
        return
    (torch,) = re.findall(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    yield ["--require-hashes", "--no-deps", "-r", str(ROOT / "constraints.txt")]
    yield [torch]
    yield ["--no-deps", str(ROOT)]


def judged(python: str) -> int:
    """Make one environment and run the quick profile in it: its exit code, 1 only for what is not known."""
    folder = FOLDER / Path(python).name
    results = folder / "results.json"
    of = sys.executable if python == "oldest" else python
    subprocess.run([*UV, "venv", "--clear", "--quiet", "--python", of, folder], check=True)
    for arguments in installs(python):
        command = [*UV, "pip", "install", "--quiet", "--python", str(folder), *arguments]
        subprocess.run(command, check=True)
    code = subprocess.run(
        [
            folder / "bin" / "conformance", "--no-cache", "run", "--profile", "quick", "--json", results,
            "--require", "refbp", "--require", "torch-cpu", "--require", "jax-cpu",
        ],
        cwd=FOLDER,
    ).returncode  # fmt: skip
    if code == 1:
        found = deviating(json.loads(results.read_text(encoding="utf-8")))
        return int(bool({(Path(python).name, *pair) for pair in found} - KNOWN))
    return 2 if code else 0


def deviating(results: dict[str, Any]) -> set[tuple[str, str]]:
    """(implementation, activation) of every result that deviates."""
    return {
        (r["implementation"], r["case"].split("/")[1])
        for r in results["results"]
        if r["verdict"] == "deviates"
    }


def main(pythons: list[str]) -> int:
    codes = {}
    for python in ["oldest", *pythons]:
        try:
            codes[python] = judged(python)
        except (subprocess.CalledProcessError, OSError) as e:
            print(f"{python}: {e}", file=sys.stderr)
            codes[python] = 2
    for python, code in codes.items():
        print(f"{python}: {('as it should be', 'deviates', 'could not be tried')[code]}")
    return 1 if 1 in codes.values() else max(codes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
