"""A run in parts, on machines that know nothing of each other, and the parts put together again.

Which cases a part has follows from the run alone: groups of cases that compile the same operations, the
largest first, each to the part that has least to do so far. A part is a results file that says which part of
which run it is; put together, the parts give what one run gives.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from conformance.cases.catalogue import Case
from conformance.judge.gates import judge_exception
from conformance.model.results import Implementation, Result, Results, Summary
from conformance.tools.trouble import RefusedError

__all__ = ["MOST", "lacking", "of_part", "part_of", "put_together", "rows_of", "without"]

MOST = 1_000  # parts
T = TypeVar("T")


def part_of(text: str) -> tuple[int, int]:
    """ "2/5" as numbers. Raises RefusedError."""
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    i, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= i <= n <= MOST:
        raise RefusedError(
            f"--shard is {text!r:.40}; expected I/N, such as 2/5, I from 1 to N, N at most {MOST:,}."
        )
    return i, n


def of_part(
    groups: Sequence[Sequence[T]], work: Callable[[Sequence[T]], int], i: int, n: int
) -> list[T]:
    """The members of the groups that are of part i of n."""
    loads = [(0, k) for k in range(n)]
    mine: list[T] = []
    for group in sorted(groups, key=work, reverse=True):
        load, k = heapq.heappop(loads)
        heapq.heappush(loads, (load + work(group), k))
        mine += group if k == i - 1 else []
    return mine


NO_PART = "file {} is a whole run; expected what `conformance run --shard I/N --json` writes."
OTHER = (
    "file {} is part {} of another run than {}: of other cases, implementations, code or versions, or in "
    "another number of parts. Run all parts with the same words and code, and put them together with that."
)


def put_together(parts: Sequence[Results], key: str) -> tuple[list[Result], list[str]]:
    """The results of all parts of the run that has this key; and which parts are not there. Raises
    RefusedError where one is no part, or of another run, or there twice."""
    of: dict[int, Results] = {}
    total = 0
    for k, found in enumerate(parts, 1):
        part = found.get("part")
        if part is None:
            raise RefusedError(NO_PART.format(k))
        total = total or part["of"]
        if part["key"] != key or part["of"] != total:
            other = "this code makes of its words" if part["of"] == total else "file 1"
            raise RefusedError(OTHER.format(k, part["number"], other))
        if part["number"] in of:
            raise RefusedError(f"file {k} is part {part['number']} again; expected each part once.")
        of[part["number"]] = found
    absent = [f"{i}/{total}" for i in range(1, total + 1) if i not in of]
    return [r for i in sorted(of) for r in of[i]["results"]], absent


def rows_of(parts: Sequence[Results], names: Sequence[str]) -> list[Implementation]:
    """Each implementation, as the part has it in which it ran; else as the first has it."""
    found: list[Implementation] = []
    for name in names:
        rows = [row for p in parts for row in p["implementations"] if row["name"] == name]
        ran = [row for row in rows if row["status"] == "ran"]
        row = (ran or rows)[0].copy()
        row["reason"] = "" if ran else row["reason"]  # it is told anew, of all results
        found.append(row)
    return found


def without(
    pairs: Sequence[tuple[Case, tuple[str, ...]]],
    results: Sequence[Result],
    rows: Sequence[Implementation],
) -> list[Result]:
    """A result `not-run` for each that should be there and is in no part."""
    there = {(r["case"], r["implementation"]) for r in results}
    ran = {row["name"] for row in rows if row["status"] == "ran"}
    why = "not run: it is in no part that is given."
    return [
        {**judge_exception(case, name, why), "verdict": "not-run"}
        for case, names in pairs
        for name in names
        if name in ran and (case.id, name) not in there
    ]


def lacking(found: Summary, absent: Sequence[str], lost: Sequence[Result]) -> Summary:
    """The answer where parts, or results of them, are not there: none, whatever the others say."""
    what = f"not given: part{'s' * (len(absent) > 1)} {', '.join(absent)}"
    if not absent:
        names = ", ".join(dict.fromkeys(r["implementation"] for r in lost))
        what = f"{names} did not run in every part: {len(lost):,} results are not there"
    verdict = found["verdict"] if found["exit_code"] else "not-run"
    return {**found, "verdict": verdict, "exit_code": 2, "message": f"{what}; {found['message']}"}
