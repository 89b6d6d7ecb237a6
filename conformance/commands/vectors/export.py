"""`conformance vectors export`: writes the cases of a profile with their truth, one file each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import cases, select
from conformance.commands.vectors.bounds import bounds
from conformance.commands.vectors.files import (
    FORMAT,
    SCHEMAS,
    Entry,
    Index,
    Json,
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

ANYBODY = ""  # judged by the default rows of accuracy.toml
PROBLEMS = "problems.jsonl"
LONGEST = 120  # characters of a file's name, without its ending

Progress = Callable[[int, int, str], None]
Write = Callable[[str, Iterable[str]], None]
"""Writes a file of the folder: its name, and its text in pieces."""
Hexed = Any
"""A number in hexadecimal, or nested lists of them."""


class Number(TypedDict):
    """One quantity of one layer, element by element."""

    lower: Hexed
    upper: Hexed
    rounded: Hexed  # None for an element whose nearest float is not known
    tolerance: Hexed


# --- one vector -----------------------------------------------------------------------------------


def vector(case: Case) -> Json:
    """A case with its truth and its tolerances, in the format of vector.schema.json."""
    subject, family = Subject(case), FAMILIES[case.family]
    unamended = subject.amend(())
    with np.errstate(all="ignore"):
        truth, spread = subject.truth(unamended), subject.spread(ANYBODY, unamended)
        return {
            "version": VERSION,
            "id": case.id,
            "family": case.family,
            "why": family.why,
            "failing_means": family.failing_means,
            "flags": _flags(case, subject.problem, unamended, truth, spread),
            "problem": problem_json(subject.problem, case.id),
            "expected": _expected(truth, spread, case.exact),
        }


def _expected(truth: Truth, spread: Spread, exact: bool) -> Json:
    """{A: [layer 1, …], …, loss: …}."""
    layered = {
        q: [_number(e, spread.layers(q)[l], exact) for l, e in sorted(truth.layers(q).items())]
        for q in QUANTITIES
    }
    return {**layered, "loss": _number(truth.loss, spread.loss, exact)}


def _number(e: Enclosure, s: Reals, exact: bool) -> Number:
    b = bounds(e, exact)
    allowed = np.zeros(np.shape(s)) if exact else LAMBDA * np.asarray(s)
    allowed = np.where(np.isnan(allowed), np.inf, allowed)
    return {
        "lower": hexed(b.lower),
        "upper": hexed(b.upper),
        "rounded": _where(b.sure.tolist(), hexed(b.rounded)),
        "tolerance": hexed(allowed),
    }


def _where(sure: object, numbers: Hexed) -> Hexed:
    """The numbers that are sure, and None for the others."""
    if isinstance(sure, list):
        return [_where(s, x) for s, x in zip(sure, numbers, strict=True)]
    return numbers if sure else None


def _flags(case: Case, p: Problem, unamended: Amended, truth: Truth, spread: Spread) -> list[str]:
    """Properties of a vector that a program may want to know: the enum of vector.schema.json."""
    flags = {
        "exact": case.exact,
        "kink": _near_a_kink(p, unamended, truth, spread),
        "subnormal": _subnormal(p, truth),
    }
    return [flag for flag, holds in flags.items() if holds]


def _near_a_kink(p: Problem, unamended: Amended, truth: Truth, spread: Spread) -> bool:
    """Whether an A_l, or Z_L − Y, is at a jump of a derivative, or within rounding of one."""
    for l, name in p.sigma.items():
        kinks = () if name in ROW_WISE else unamended.maths.activations[name].jumps()
        A, s = truth.A[l].hi, spread.A[l]
        if any((np.abs(A - b) <= LAMBDA * s).any() for b in kinks):
            return True
    L = p.depth
    off = np.abs(truth.Z[L].hi - p.Y)
    return p.loss == "mean_absolute_error" and bool((off <= LAMBDA * spread.Z[L]).any())


def _subnormal(p: Problem, truth: Truth) -> bool:
    """Whether an input, a target, a weight or an expected number is subnormal in the problem's dtype."""
    least = float(np.finfo(p.dtype).smallest_normal)
    given = [p.X, p.Y, *p.W.values()]
    expected = [e.hi for q in QUANTITIES for e in truth.layers(q).values()]
    return any(((M != 0) & (np.abs(M) < least)).any() for M in (*given, *expected))


# --- the folder -----------------------------------------------------------------------------------


def names(chosen: Sequence[Case]) -> dict[str, str]:
    """A file's name for each id: of letters, digits, ".", "_" and "-"; no two names differ in case alone."""
    by_id: dict[str, str] = {}
    taken: set[str] = set()
    for case in chosen:
        name = base = re.sub(r"[^A-Za-z0-9._-]+", "-", case.id.replace("/", "_"))[:LONGEST]
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        by_id[case.id] = name
    return by_id


def export(
    folder: Path,
    profile: str = "quick",
    wanted: str = "",
    progress: Progress = lambda done, total, case: None,
) -> Index:
    """Write the vectors of a profile into a folder that is new, empty, or has vectors already.

    The index is written after the vectors; only then are old vectors that it does not list removed. So no
    index ever lists a file that is missing. Raises VectorsError and CaseError.
    """
    chosen = select(cases(profile), wanted)
    before = _present(folder)
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
        with suppress(OSError):  # a file that stays is no longer listed by the index
            (folder / old).unlink()
    return index


def _made(case: Case) -> Json:
    try:
        return vector(case)
    except ImportError as e:
        raise VectorsError(
            f"{case.id} cannot be made: {e}. Install '.[conformance]', or --select others."
        ) from e


def _present(folder: Path) -> list[str]:
    """The vectors that are in the folder. Raises VectorsError if it has anything else."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return []
        vectors = listed(read_json(folder / "index.json")) if folder.is_dir() else None
    except OSError as e:
        raise VectorsError(f"cannot write {folder}: {e.strerror or e}.") from e
    except VectorsError:
        vectors = None
    if vectors is None:
        what = "not empty, and no folder of vectors" if folder.is_dir() else "no folder"
        raise VectorsError(
            f"cannot write {folder}: it is {what}. Expected a new or empty one, or one with the "
            "index.json of vectors."
        )
    return vectors


@contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Write]:
    """A function that writes files into the folder. If anything fails, the new ones are removed."""
    new: list[Path] = []

    def write(name: str, text: Iterable[str]) -> None:
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


def _text(vector: Json) -> Iterator[str]:
    """The vector as JSON, with a line for each member and each quantity."""

    def dumped(x: object) -> str:
        return json.dumps(x, allow_nan=False, ensure_ascii=False)

    yield "{\n"
    for key, value in vector.items():
        if key == "expected":
            members = ",\n".join(f"  {dumped(q)}: {dumped(v)}" for q, v in value.items())
            yield f' "expected": {{\n{members}\n }}\n}}\n'
        else:
            yield f" {dumped(key)}: {dumped(value)},\n"
