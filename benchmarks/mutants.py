"""Mutation testing of what verdicts rest on: each mutant is killed, or listed in mutants.toml with a reason.

`make mutants` runs it: mutmut writes each function of the files that pyproject.toml names once for each
small mistake (another operator, another constant), and runs the tests that reach it. Exit code 1: one
survives that is not listed, or one is listed that is killed by now.

    python benchmarks/mutants.py              # runs mutmut, which takes up where it was stopped
    python benchmarks/mutants.py --ending 7   # a tenth of them: those whose number ends in 7
    python benchmarks/mutants.py --no-run     # tells of the last run
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
MUTMUT = [str(Path(sys.executable).parent / "mutmut")]
KILLED = ("killed", "timeout")


class Mutant(NamedTuple):
    """What was written and what stands for it, stripped: names that mutmut gives change with every edit."""

    function: str
    was: str
    now: str


class Equivalent(NamedTuple):
    """A row of mutants.toml: in a function, a module or a package, what may stand for what."""

    within: str
    was: str
    now: str
    reason: str

    def fits(self, m: Mutant) -> bool:
        """Whether the mutant is this one, or this at one place of its lines."""
        if not f"{m.function}.".startswith(f"{self.within}."):
            return False
        parts = m.was.split(self.was)
        return any(
            self.was.join(parts[:i]) + self.now + self.was.join(parts[i:]) == m.now
            for i in range(1, len(parts))
        )


def _table(name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))[name]
    return rows


def _said(*words: str) -> str:
    done = subprocess.run([*MUTMUT, *words], capture_output=True, text=True, check=True)
    return done.stdout


def _mutant(name: str) -> Mutant:
    """Of its diff the lines that differ."""
    lines = [l for l in _said("show", name).splitlines() if not l.startswith(("---", "+++"))]
    was, now = (" ".join(l[1:].strip() for l in lines if l.startswith(sign)) for sign in "-+")
    return Mutant(_function(name), was, now)


def _function(name: str) -> str:
    """refbp.losses.loss of refbp.losses.x_loss__mutmut_1, and Class.method of xǁClassǁmethod."""
    module, _, rest = name.rpartition("__mutmut_")[0].rpartition(".")
    return f"{module}.{rest.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def main() -> int:
    """Run, compare, tell."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--no-run", action="store_true", help="tell of the last run")
    asked.add_argument("--ending", default="", metavar="DIGIT", help="of which mutants")
    asked.add_argument(
        "--within", default="", metavar="MODULE", help="of a module or package alone"
    )
    options = asked.parse_args()
    whole = not options.ending and not options.within
    some = f"{options.within}*__mutmut_*{options.ending}"
    if not options.no_run:
        names = [] if whole else [some]
        subprocess.run([*MUTMUT, "run", "--max-children", "2", *names], check=True)
    rows = [
        line.strip().rpartition(": ") for line in _said("results", "--all", "true").splitlines()
    ]
    early = {row["function"] for row in _table("at_import")}
    statuses = {
        name: status
        for name, _, status in rows
        if fnmatch(name, some) and _function(name) not in early
    }
    count = Counter(statuses.values())
    alive = {_mutant(n): s for n, s in statuses.items() if s not in KILLED}
    listed = [
        Equivalent(r["within"], r["was"], r["now"], r["reason"]) for r in _table("equivalent")
    ]
    unlisted = [m for m in alive if not any(row.fits(m) for row in listed)]
    idle = [row for row in listed if whole and not any(row.fits(m) for m in alive)]
    for m in unlisted:
        print(f"{alive[m]}: {m.function}\n  - {m.was}\n  + {m.now}")
    for row in idle:
        print(f"listed, and none such is alive: {row.within}: {row.was} → {row.now}")
    killed, total = sum(count[s] for s in KILLED), len(statuses)
    print(
        f"{total:,} mutants: {killed:,} killed ({killed / total:.1%}), "
        f"{len(alive) - len(unlisted)} equivalent and listed, {len(unlisted)} alive."
    )
    return int(bool(unlisted or idle))


if __name__ == "__main__":
    sys.exit(main())
