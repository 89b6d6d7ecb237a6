"""A baseline: a small file with the verdicts of an earlier run, with which later runs are compared.

Only what is worse counts: a verdict that is worse by the order of `VERDICTS`; a result that was there and is
no longer; and a failure of a new case or implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

from conformance.commands.diff.compare import ABSENT, FAILING, State, direction
from conformance.model.results import Results, Size, VerdictName
from conformance.tools.files import FileError, contents, write_json
from conformance.tools.trouble import MisfitError, RefusedError
from conformance.tools.typed import among, fitting, parsed

__all__ = ["Baseline", "Held", "Worse", "must_be_of", "read_baseline", "worse", "write_baseline"]

SCHEMA_VERSION = 1


class Column(TypedDict):
    """The results of one implementation: for each case the verdict and the largest error over tolerance; None
    if the case has no result."""

    verdicts: list[VerdictName | None]
    ratios: list[Size | None]


class Baseline(TypedDict):
    """The JSON that `conformance run --write-baseline` writes."""

    baseline: Annotated[int, among(SCHEMA_VERSION)]
    profile: str
    select: str
    finished: str
    cases: list[str]
    implementations: dict[str, Column]


class Worse(NamedTuple):
    """A result that is worse than that of the baseline."""

    implementation: str
    case: str
    old: State
    new: State


def slim(results: Results) -> Baseline:
    """The baseline of a run: the verdict and the largest error over tolerance of every result."""
    ids = [c["id"] for c in results["cases"]]
    by = {(r["implementation"], r["case"]): r for r in results["results"]}
    columns = {}
    for name in (i["name"] for i in results["implementations"]):
        own = [by.get((name, id_)) for id_ in ids]
        columns[name] = Column(
            verdicts=[r and r["verdict"] for r in own],
            ratios=[r["worst"]["ratio"] if r and r["worst"] else None for r in own],
        )
    p = results["profile"]
    return Baseline(
        baseline=SCHEMA_VERSION,
        profile=p["name"],
        select=p["select"],
        finished=str(results["environment"].get("finished", "")),
        cases=ids,
        implementations=columns,
    )


def write_baseline(path: Path, results: Results) -> None:
    """Write the baseline of a run."""
    write_json(path, slim(results))


def read_baseline(path: Path) -> Baseline:
    """Read a baseline, and check its types. Raises FileError if it cannot be read or is no baseline."""
    try:
        found: Baseline = fitting(parsed(contents(path)), Baseline)
        if len({*found["cases"]}) < len(found["cases"]):
            raise MisfitError("cases has one of them twice; expected each once.")
        for name, column in found["implementations"].items():
            for key, values in (("verdicts", column["verdicts"]), ("ratios", column["ratios"])):
                if len(values) != len(found["cases"]):
                    raise MisfitError(
                        f"implementations.{name}.{key} has {len(values)} values; expected "
                        f"{len(found['cases'])}, one for each case."
                    )
    except OSError as e:
        raise FileError(
            f"cannot read the baseline {path}: {e.strerror or e}. --write-baseline writes one."
        ) from e
    except MisfitError as e:
        raise FileError(f"{path} is no baseline: {e}") from e
    return found


def must_be_of(old: Baseline, profile: str, select: str) -> None:
    """Raise RefusedError unless the baseline is of the same profile and selection."""
    for what, was, now in (
        ("profile", old["profile"], profile),
        ("--select", old["select"], select),
    ):
        if was != now:
            raise RefusedError(
                f"the baseline is of the {what} {was!r}, and this run of {now!r}; expected the same."
            )


def worse(old: Baseline, results: Results) -> Iterator[Worse]:
    """The results that are worse now, of the implementations of this run."""
    now: dict[tuple[str, str], State] = {
        (r["implementation"], r["case"]): r["verdict"] for r in results["results"]
    }
    ids = dict.fromkeys([*old["cases"], *(c["id"] for c in results["cases"])])
    for name in (i["name"] for i in results["implementations"]):
        column: Any = old["implementations"].get(name, {"verdicts": [None] * len(old["cases"])})
        was = dict(zip(old["cases"], column["verdicts"], strict=True))
        for id_ in ids:
            states: tuple[State, State] = was.get(id_) or ABSENT, now.get((name, id_), ABSENT)
            if direction(*states) == "worse":
                yield Worse(name, id_, *states)


class Held(NamedTuple):
    """A run compared with a baseline: the last line that is printed, and the exit code."""

    message: str
    exit_code: int
    worse: frozenset[tuple[str, str]]  # implementation and case

    @classmethod
    def of(cls, old: Baseline, results: Results, path: Path, required: Sequence[str]) -> Held:
        """Compare a run with a baseline.

        The exit code is 2 if a result became worse and is now an error, undecided, not run or gone; if a
        required implementation did not run, or if none ran; 1 if a verdict is worse; otherwise 0.
        """
        found = list(worse(old, results))
        status = {i["name"]: i["status"] for i in results["implementations"]}
        absent = [n for n in required if status.get(n) != "ran"]
        answers = ("deviates", "inaccurate", "known-difference")
        if absent or "ran" not in status.values() or any(w.new not in answers for w in found):
            code = 2
        else:
            code = int(bool(found))
        message = _told(found, absent, results, path)
        if left := [n for n in old["implementations"] if n not in status]:
            message += f" Not run, though in it: {', '.join(left)}."
        return cls(message, code, frozenset((w.implementation, w.case) for w in found))


def _told(found: list[Worse], absent: list[str], results: Results, path: Path) -> str:
    if found:
        each = [f"{w.implementation} {w.case}: {w.old} before, {w.new} now" for w in found[:5]]
        more = f"; and {len(found) - 5:,} more" if len(found) > 5 else ""
        return f"worse than {path}: {'; '.join(each)}{more}."
    failing = sum(r["verdict"] in FAILING for r in results["results"])
    if absent:
        return f"not worse than {path}; but {', '.join(absent)} did not run."
    return f"not worse than {path}{f': {failing:,} results fail as before' * bool(failing)}."
