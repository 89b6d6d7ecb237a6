"""`conformance vectors export`: the cases of a profile with their truth, a file each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import cases, select
from conformance.commands.vectors.bounds import bounds
from conformance.commands.vectors.files import (
    FORMAT,
    SCHEMAS,
    Entry,
    Index,
    VectorsError,
    listed,
    read_json,
    schema,
)
from conformance.judge.known_differences import Amended
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.exchange import VERSION, hexed, line, problem_json
from conformance.model.problem import QUANTITIES, Problem
from conformance.tools.files import write_atomically, write_json
from conformance.truth.balls import Enclosure
from conformance.truth.definitions import ROW_WISE
from conformance.truth.network import Spread, Truth
from conformance.truth.rounding import Reals

__all__ = ["export", "names", "vector"]

ANYBODY = ""  # held to the default rows of accuracy.toml
PROBLEMS = "problems.jsonl"
LONGEST = 120  # characters of a file's name, without its ending

Progress = Callable[[int, int, str], None]
Json = dict[str, Any]


# --- one vector -----------------------------------------------------------------------------------


def vector(case: Case) -> Json:
    """A case with its truth and its tolerances, as vector.schema.json has it."""
    subject, family = Subject(case), FAMILIES[case.family]
    plain = subject.amend(())
    with np.errstate(all="ignore"):
        truth, within = subject.truth(plain), subject.spread(ANYBODY, plain)
        return {
            "version": VERSION,
            "id": case.id,
            "family": case.family,
            "why": family.why,
            "failing_means": family.failing_means,
            "flags": _flags(case, subject.problem, plain, truth, within),
            "problem": problem_json(subject.problem, case.id),
            "expected": _expected(truth, within, case.exact),
        }


def _expected(truth: Truth, within: Spread, exact: bool) -> Json:
    """{A: [layer 1, …], …, loss: …}, each with lower, upper, rounded and tolerance."""
    found: Json = {}
    for q in QUANTITIES:
        enclosures: dict[int, Enclosure] = getattr(truth, q)
        found[q] = [_number(e, within.layers(q)[l], exact) for l, e in sorted(enclosures.items())]
    return {**found, "loss": _number(truth.loss, within.loss, exact)}


def _number(e: Enclosure, s: Reals, exact: bool) -> Json:
    """One quantity of one layer."""
    b = bounds(e, exact)
    allowed = np.zeros(np.shape(s)) if exact else LAMBDA * np.asarray(s)
    allowed = np.where(np.isnan(allowed), np.inf, allowed)
    rounded = _where(b.sure.tolist(), hexed(b.rounded))
    return {
        "lower": hexed(b.lower),
        "upper": hexed(b.upper),
        "rounded": rounded,
        "tolerance": hexed(allowed),
    }


def _where(sure: Any, numbers: Any) -> Any:
    """The numbers that are sure, and null for the others."""
    if isinstance(sure, list):
        return [_where(s, x) for s, x in zip(sure, numbers, strict=True)]
    return numbers if sure else None


def _flags(case: Case, p: Problem, plain: Amended, truth: Truth, within: Spread) -> list[str]:
    """What a program may want to know of a vector: the enum of vector.schema.json."""
    found = {
        "exact": case.exact,
        "kink": _near_a_kink(p, plain, truth, within),
        "subnormal": _subnormal(p, truth),
    }
    return [flag for flag, there in found.items() if there]


def _near_a_kink(p: Problem, plain: Amended, truth: Truth, within: Spread) -> bool:
    """Whether an A_l, or Z_L − Y, is where a derivative jumps, or within rounding of it."""
    for l, name in p.sigma.items():
        kinks = () if name in ROW_WISE else plain.maths.activations[name].jumps()
        A, s = truth.A[l].hi, within.A[l]
        if any((np.abs(A - b) <= LAMBDA * s).any() for b in kinks):
            return True
    L = p.depth
    off = np.abs(truth.Z[L].hi - p.Y)
    return p.loss == "mean_absolute_error" and bool((off <= LAMBDA * within.Z[L]).any())


def _subnormal(p: Problem, truth: Truth) -> bool:
    """Whether a number that is given, or expected, is subnormal in the problem's dtype."""
    least = float(np.finfo(p.dtype).smallest_normal)
    given = [p.X, p.Y, *p.W.values()]
    expected = [e.hi for q in QUANTITIES for e in getattr(truth, q).values()]
    return any(((M != 0) & (np.abs(M) < least)).any() for M in (*given, *expected))


# --- the folder -----------------------------------------------------------------------------------


def names(chosen: Sequence[Case]) -> dict[str, str]:
    """A file's name for each id: of letters, digits, "." , "_" and "-", no two alike but for case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for case in chosen:
        name = base = re.sub(r"[^A-Za-z0-9._-]+", "-", case.id.replace("/", "_"))[:LONGEST]
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        found[case.id] = name
    return found


def export(
    folder: Path,
    profile: str = "quick",
    wanted: str = "",
    progress: Progress = lambda done, total, case: None,
) -> Index:
    """Write the vectors of a profile into a folder: a new one, an empty one, or one that has some.

    The index is written last, and only then is what it no longer lists removed. Raises VectorsError and
    CaseError.
    """
    chosen = select(cases(profile), wanted)
    before = _there(folder)
    named = names(chosen)
    entries = [
        Entry(id=c.id, file=f"vectors/{named[c.id]}.json", why=FAMILIES[c.family].why)
        for c in chosen
    ]
    index = Index(
        format=FORMAT,
        version=VERSION,
        exported_by=f"refbp {version('refbp')}",
        profile=profile,
        select=wanted,
        problems=PROBLEMS,
        files=entries,
    )
    with _all_or_nothing(folder) as write:
        for name in SCHEMAS:
            write(f"schema/{name}", [schema(name)])
        for i, (case, entry) in enumerate(zip(chosen, entries, strict=True), start=1):
            write(entry["file"], _text(_made(case)))
            progress(i, len(chosen), case.id)
        write(PROBLEMS, (line(problem_json(c.problem(), c.id)) for c in chosen))
        write_json(folder / "index.json", index)
    for old in set(before) - {e["file"] for e in entries}:
        with suppress(OSError):
            (folder / old).unlink()
    return index


def _made(case: Case) -> Json:
    try:
        return vector(case)
    except ImportError as e:
        raise VectorsError(
            f"{case.id} cannot be made: {e}. Install '.[conformance]', or --select others."
        ) from e


def _there(folder: Path) -> list[str]:
    """The vectors that are in the folder. Raises VectorsError where it has anything else."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return []
        found = listed(read_json(folder / "index.json")) if folder.is_dir() else None
    except OSError as e:
        raise VectorsError(f"cannot write {folder}: {e.strerror or e}.") from e
    except VectorsError:
        found = None
    if found is None:
        what = "not empty, and no folder of vectors" if folder.is_dir() else "no folder"
        raise VectorsError(
            f"cannot write {folder}: it is {what}. Expected a new or empty one, or one with the "
            "index.json of vectors."
        )
    return found


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Callable[[str, Any], None]]:
    """What writes into the folder, by name. What was not there before goes again if anything fails."""
    new: list[Path] = []

    def write(name: str, text: Any) -> None:
        path = folder / name
        for parent in reversed([path.parent, *path.parent.parents]):
            if not parent.exists():
                new.append(parent)
                _make(parent)
        if not path.exists():
            new.append(path)
        write_atomically(path, text)

    try:
        yield write
    except BaseException:
        for path in reversed(new):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as e:
        raise VectorsError(f"cannot write {folder}: {e.strerror or e}.") from e


def _text(of: Json) -> Iterator[str]:
    """JSON with a line for each member, and for each quantity: readable, and no longer than need be."""

    def dumped(x: Any) -> str:
        return json.dumps(x, allow_nan=False, ensure_ascii=False)

    yield "{\n"
    for key, value in of.items():
        if key == "expected":
            members = ",\n".join(f"  {dumped(q)}: {dumped(v)}" for q, v in value.items())
            yield f' "expected": {{\n{members}\n }}\n}}\n'
        else:
            yield f" {dumped(key)}: {dumped(value)},\n"
