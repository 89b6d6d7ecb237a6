"""The text about an implementation that deviates, on one screen, from the results alone."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from conformance.model.results import SYMBOLS, CaseRow, Finding, Result, Results, Verdict

__all__ = [
    "BAD",
    "Common",
    "again",
    "common",
    "explained",
    "headlines",
    "only_where",
    "smallest",
    "told",
]

BAD: tuple[Verdict, ...] = ("error", "deviates", "undecided")
WORST: tuple[Verdict, ...] = ("deviates", "error", "undecided")
WIDTH = 100
ERRORS = 6  # distinct errors that are listed


class Common:
    """A finding that several results share."""

    def __init__(self, finding: Finding) -> None:
        self.finding, self.cases = finding, 0


UNKNOWN = ""


def common(results: Sequence[Result], cases: Sequence[CaseRow]) -> list[Common]:
    """The findings of deviations, the most frequent first; "nothing explains it" is one of them.

    If several names fit a case, it counts for the name that fits most cases. A name is left out if it is only
    what a few cases happen to look like: in some kind of network (its σ and its loss) it fits fewer cases
    than there are in which nothing fits the same quantity, or it fits few of all cases and nothing is found
    in more.
    """
    rows = {c["id"]: c for c in cases}
    each = [
        (rows[r["case"]], f)
        for r in results
        for f in {f["fault"]: f for f in r["diagnosis"]}.values()
    ]
    first: dict[str, Finding] = {}
    for _, f in each:
        first.setdefault(f["fault"], f)
    found: dict[str, Common] = {}
    depths: dict[str, set[int]] = {}
    left = [(row, f, {f["fault"], *f.get("also", ())}) for row, f in _unrefuted(each)]
    while left:
        fits = Counter(n for _, _, names in left for n in names)
        name = max(first, key=lambda n: fits[n])  # of equals, the one that was found first
        found[name] = Common(first[name])
        found[name].cases = fits[name]
        depths[name] = {row["depth"] for row, _, names in left if name in names}
        left = [of for of in left if name not in of[2]]
    _merged(found, depths)
    unknown = found[UNKNOWN].cases if UNKNOWN in found else 0
    kept = [
        c for f, c in found.items() if f == UNKNOWN or c.cases >= min(unknown, len(results) / 5)
    ]
    return sorted(kept, key=lambda c: -c.cases)


def _unrefuted(each: Sequence[tuple[CaseRow, Finding]]) -> list[tuple[CaseRow, Finding]]:
    def kind(row: CaseRow, f: Finding) -> tuple[str, ...]:
        quantity = f["steps"][0]["quantity"] if f["steps"] else ""
        return row["activation"], row["output"], row["loss"], quantity

    unknown = Counter(kind(row, f) for row, f in each if f["fault"] == UNKNOWN)
    named = Counter((kind(row, f), f["fault"]) for row, f in each)
    return [
        (row, f)
        for row, f in each
        if f["fault"] == UNKNOWN or named[kind(row, f), f["fault"]] >= unknown[kind(row, f)]
    ]


def _merged(found: dict[str, Common], depths: Mapping[str, set[int]]) -> None:
    """With one layer, "everywhere" and "at the output" are the same: if both are found, both count as "at the
    output"."""
    for name in [n for n in found if n.endswith("-at-output")]:
        everywhere = name.removesuffix("-at-output")
        if everywhere in found and depths[everywhere] == {1}:
            found[name].cases += found.pop(everywhere).cases


def only_where(bad: Sequence[Result], own: Sequence[Result], cases: Sequence[CaseRow]) -> str:
    """What all failing cases have and no conforming one: "loss is not mean_squared_error"; "" for nothing."""
    rows = {c["id"]: c for c in cases}
    good = [r for r in own if r["verdict"] in ("conforms", "known-difference", "inaccurate")]
    for field in ("loss", "output", "activation", "dtype", "bias", "depth", "batch", "family"):
        failing, fine = ({str(rows[r["case"]][field]) for r in of} for of in (bad, good))
        if fine and not failing & fine:
            few, word = (failing, "is") if len(failing) <= len(fine) else (fine, "is not")
            if len(few) <= 4:
                return f"{field} {word} {' or '.join(sorted(few))}"
    return ""


def smallest(results: Sequence[Result], cases: Sequence[CaseRow]) -> Result:
    """The failing case that is easiest to follow: fewest layers, smallest batch, float64, narrowest."""
    rows = {c["id"]: c for c in cases}

    def size(r: Result) -> tuple[int, int, bool, int]:
        c = rows[r["case"]]
        return c["depth"], c["batch"], c["dtype"] != "float64", sum(c["widths"])

    return min(results, key=size)


def explained(results: Results, name: str) -> list[str]:
    """The lines about one implementation; none if nothing is wrong."""
    own = [r for r in results["results"] if r["implementation"] == name]
    bad = [r for r in own if r["verdict"] in BAD]
    lossy = [r for r in own if r["verdict"] == "inaccurate"]
    lines = list(_lines(results, name, own, bad)) if bad else []
    return lines + list(_losses(results, name, own, lossy)) if lossy else lines


def headlines(results: Results) -> list[tuple[str, str, str]]:
    """For each implementation that fails: its name, what is wrong in a sentence, and the command that shows
    it."""
    found = []
    for name in (i["name"] for i in results["implementations"]):
        own = [r for r in results["results"] if r["implementation"] == name]
        bad = [r for r in own if r["verdict"] in BAD]
        if bad:
            see = again(told(bad, results["cases"])["case"], name, results)
            found.append((name, _headline(bad, own, results["cases"]), see))
    return found


def _headline(bad: Sequence[Result], own: Sequence[Result], cases: Sequence[CaseRow]) -> str:
    """What is wrong: "δ of layer 1 is wrong in 26 of 70 cases: the derivative is taken at the output." """
    judged = sum(r["verdict"] != "not-run" for r in own)
    verdict = next(v for v in WORST if any(r["verdict"] == v for r in bad))
    of = [r for r in bad if r["verdict"] == verdict]
    where = f"in {len(of):,} of {judged:,} cases"
    if verdict == "undecided":
        return f"It cannot be decided {where}."
    if verdict == "error":
        return f"It fails {where}: {of[0]['message']}"
    steps = Counter(SYMBOLS[s["quantity"]] for r in of for s in _kinds(r))
    if not steps:
        return f"It is wrong {where}: {told(bad, cases)['message']}"
    symbol, n = steps.most_common(1)[0]
    layers = {s["layer"] for r in of for s in r["blame"] if SYMBOLS[s["quantity"]] == symbol}
    layer = f" of layer {layers.pop()}" if len(layers) == 1 and symbol != SYMBOLS["loss"] else ""
    looks = next(iter(common(bad, cases)), None)
    why = f": {looks.finding['text']}" if looks and looks.finding["fault"] else ""
    return f"{symbol}{layer} is wrong in {n:,} of {judged:,} cases{why}".rstrip(".") + "."


def _losses(
    results: Results, name: str, own: Sequence[Result], lossy: Sequence[Result]
) -> Iterator[str]:
    """Lines on what loses digits, and on the formulas that do not."""
    judged = sum(r["verdict"] != "not-run" for r in own)
    yield f"{name}: {len(lossy)} inaccurate, of {judged:,} cases: right but for digits lost to rounding"
    forms = Counter(
        (SYMBOLS[f["steps"][0]["quantity"]], f["suggestion"]) for r in lossy for f in r["diagnosis"]
    )
    for (symbol, form), n in forms.most_common(3):
        yield from _entry("loses", f"{symbol} ({n:,} case{'' if n == 1 else 's'})")
        yield from _entry("", f"→ {form}")
    yield from _smallest(name, smallest(lossy, results["cases"]), results)


def _smallest(name: str, case: Result, results: Results) -> Iterator[str]:
    """Lines on the case to look at, and on how to see it."""
    yield from _entry("smallest", case["case"])
    yield from _entry("", case["message"])
    yield from _entry("see it", again(case["case"], name, results))


def _lines(
    results: Results, name: str, own: Sequence[Result], bad: Sequence[Result]
) -> Iterator[str]:
    counts = Counter(r["verdict"] for r in bad)
    said = ", ".join(f"{counts[v]} {v}" for v in BAD if counts[v])
    judged = sum(r["verdict"] != "not-run" for r in own)
    yield f"{name}: {said}, of {judged:,} cases"
    blamed = Counter(SYMBOLS[s["quantity"]] for r in bad for s in _kinds(r))
    if blamed:
        parts = ", ".join(
            f"{q} ({n:,} case{'' if n == 1 else 's'})" for q, n in blamed.most_common()
        )
        yield from _entry("to blame", f"{parts}; what follows from it is not counted")
    if where := only_where(bad, own, results["cases"]):
        yield from _entry("only where", where)
    for c in common(bad, results["cases"])[:3]:
        label = "looks like" if c.finding["fault"] else "unknown"
        of = f"{c.cases:,} case{'' if c.cases == 1 else 's'}"
        yield from _entry(label, f"{c.finding['text']} ({of})")
        yield from _entry("", f"→ {c.finding['suggestion']}")
    yield from _errors(name, bad)
    yield from _smallest(name, told(bad, results["cases"]), results)


def _errors(name: str, bad: Sequence[Result]) -> Iterator[str]:
    """Lines on each distinct error, and on each result without numbers to judge (a wrong dtype or shape),
    unless the case that is shown says it all."""
    each = Counter((r["verdict"], r["message"]) for r in bad if not r["records"])
    if len(each) + any(r["records"] for r in bad) < 2:
        return
    for (verdict, message), n in each.most_common(ERRORS):
        of = f"{n:,} case{'' if n == 1 else 's'}"
        label = "error" if verdict == "error" else "form"
        yield from _entry(label, f"{message.removeprefix(f'{name} ').rstrip('.')} ({of})")
    if len(each) > ERRORS:
        yield from _entry("", f"and {len(each) - ERRORS} other errors; the report has all")


def again(case: str, name: str, results: Results) -> str:
    """The command that shows a result again; or Python code, if the network was given in Python."""
    shown = f"conformance show {shlex.quote(case)} --implementation {shlex.quote(name)}"
    if not case.startswith("own/") or results["profile"]["name"] != "own":
        return shown
    networks = _networks(str(results["environment"].get("command", "")))
    return shown + networks if networks else f"conformance.check_problem(problem, [{name!r}])"


def _networks(command: str) -> str:
    """The networks that a command line named, as its options."""
    try:
        words = shlex.split(command)
    except ValueError:  # such as a quote that is not closed
        return ""
    named = [(o, v) for o, v in pairwise(words) if o in ("--network", "--data")]
    return "".join(f" {o} {shlex.quote(v)}" for o, v in named)


def told(bad: Sequence[Result], cases: Sequence[CaseRow]) -> Result:
    """The failing result to look at: the smallest of those with the most telling verdict, and of these with a
    step to blame."""
    verdict = next(v for v in WORST if any(r["verdict"] == v for r in bad))
    of = [r for r in bad if r["verdict"] == verdict]
    return smallest([r for r in of if r["blame"]] or of, cases)


def _kinds(r: Result) -> list[dict[str, str]]:
    return [{"quantity": q} for q in dict.fromkeys(s["quantity"] for s in r["blame"])]


def _entry(label: str, text: str) -> Iterator[str]:
    """A label and its text, wrapped with a hanging indent."""
    command = label == "see it"
    lines = [text] if command else textwrap.wrap(text, WIDTH - 14, break_on_hyphens=False) or [""]
    if len(lines) > 3:
        lines = [*lines[:2], lines[2][: WIDTH - 18] + " …"]
    for i, line in enumerate(lines):
        yield f"  {label if i == 0 else '':<10}  {line}".rstrip()
