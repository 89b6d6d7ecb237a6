"""What is said of an implementation that deviates, on one screen: from results alone."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from conformance.results import SYMBOLS, CaseRow, Finding, Result, Results, Verdict

__all__ = ["Common", "common", "explained", "smallest"]

BAD: tuple[Verdict, ...] = ("error", "deviates", "undecided")
WORST: tuple[Verdict, ...] = ("deviates", "error", "undecided")
WIDTH = 100


class Common:
    """A finding that several results share: by the name of the fault, or by its text."""

    def __init__(self, finding: Finding) -> None:
        self.finding, self.cases = finding, 0


def common(results: Sequence[Result]) -> list[Common]:
    """What the deviations look like, the most frequent first; each result has the say of its first."""
    found: dict[str, Common] = {}
    for r in results:
        for f in {f["fault"] or f["text"]: f for f in r["diagnosis"]}.values():
            key = f["fault"] or "unknown"
            found.setdefault(key, Common(f)).cases += 1
    return sorted(found.values(), key=lambda c: (not c.finding["fault"], -c.cases))


def smallest(results: Sequence[Result], cases: Sequence[CaseRow]) -> Result:
    """The failing case that is easiest to follow: fewest layers, smallest batch, float64, narrowest."""
    rows = {c["id"]: c for c in cases}

    def size(r: Result) -> tuple[int, int, bool, int]:
        c = rows[r["case"]]
        return c["depth"], c["batch"], c["dtype"] != "float64", sum(c["widths"])

    return min(results, key=size)


def explained(results: Results, name: str) -> list[str]:
    """The lines about one implementation; none where nothing is wrong."""
    own = [r for r in results["results"] if r["implementation"] == name]
    bad = [r for r in own if r["verdict"] in BAD]
    return list(_lines(results, name, own, bad)) if bad else []


def _lines(
    results: Results, name: str, own: Sequence[Result], bad: Sequence[Result]
) -> Iterator[str]:
    counts = Counter(r["verdict"] for r in bad)
    said = ", ".join(f"{counts[v]} {v}" for v in BAD if counts[v])
    judged = sum(r["verdict"] != "not-run" for r in own)
    yield f"{name}: {said}, of {judged:,} cases"
    blamed = Counter(SYMBOLS[s["quantity"]] for r in bad for s in _kinds(r))
    if blamed:
        parts = ", ".join(f"{q} ({n:,} cases)" for q, n in blamed.most_common())
        yield from _entry("to blame", f"{parts}; what follows from it is not counted")
    for c in common(bad)[:3]:
        yield from _entry("looks like", f"{c.finding['text']} ({c.cases:,} cases)")
        yield from _entry("", f"→ {c.finding['suggestion']}")
    case = smallest(
        [r for r in bad if r["verdict"] == _explained_verdict(counts)], results["cases"]
    )
    yield from _entry("smallest", case["case"])
    yield from _entry("", case["message"])
    again = f"conformance show {shlex.quote(case['case'])} --implementation {shlex.quote(name)}"
    yield from _entry("see it", again)


def _explained_verdict(counts: Counter[Verdict]) -> Verdict:
    """The verdict that is explained: a deviation says more than an error."""
    return next(v for v in WORST if counts[v])


def _kinds(r: Result) -> list[dict[str, str]]:
    return [{"quantity": q} for q in dict.fromkeys(s["quantity"] for s in r["blame"])]


def _entry(label: str, text: str) -> Iterator[str]:
    """A label and its text, wrapped and hanging."""
    command = label == "see it"
    lines = [text] if command else textwrap.wrap(text, WIDTH - 14, break_on_hyphens=False) or [""]
    if len(lines) > 3:
        lines = [*lines[:2], lines[2][: WIDTH - 18] + " …"]
    for i, line in enumerate(lines):
        yield f"  {label if i == 0 else '':<10}  {line}".rstrip()
