"""Contradictions between the parts of a results file.

The counts and largest ratios of the summary are computed again, and its verdict and exit code are compared
with them. A run may have ended worse than its results: exit code 2 also means that something asked for did
not run, or that an answer could not be used, and the file says so nowhere else. It cannot have ended better.
(In older files an error, or a known difference that is stale, is exit code 1.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from conformance.model.packed import column
from conformance.model.results import size
from conformance.tools.typed import as_json, too_deep

if TYPE_CHECKING:
    from conformance.model.results import Number, Result, Results, Trials, Verdict

__all__ = ["contradictions", "of_trials"]

NAMED = {"cases": "id", "implementations": "name", "families": "name", "known_differences": "id"}
LAYER = itemgetter("layer")
Counts = Mapping[str, Counter[str]]  # implementation -> verdict -> results


def contradictions(found: Results) -> Iterator[str]:
    """A sentence for each contradiction, with its place, in a file that already fits the types."""
    yield from too_deep(found["environment"], "environment")
    parts: Any = found
    for part, key in NAMED.items():
        yield from _twice(part, key, [row[key] for row in parts[part]])
    pairs = [(r["implementation"], r["case"]) for r in found["results"]]
    yield from _twice("results", "implementation and case", pairs)
    if found["profile"]["cases"] != len(found["cases"]):
        said = f"profile.cases is {found['profile']['cases']:,}"
        yield f"{said}; expected {len(found['cases']):,}, as there are."
    yield from _of_results(found)
    yield from _of_summary(found)
    if "faults" in found:
        yield from of_trials(found["faults"], "faults.")


def of_trials(found: Trials, at: str = "") -> Iterator[str]:
    """A sentence for each contradiction in what `conformance faults` wrote."""
    yield from too_deep(found["environment"], f"{at}environment")
    yield from _twice(f"{at}faults", "name", [row["name"] for row in found["faults"]])
    verdicts = {row["verdict"] for row in found["faults"]}
    wrong = "survives" in verdicts or found["false_alarms"]
    code = 1 if wrong else 2 if "not shown" in verdicts else 0
    if found["exit_code"] != code:
        yield f"{at}exit_code is {found['exit_code']}; expected {code}, by its faults and false alarms."


def _twice(part: str, what: str, names: Sequence[Hashable]) -> Iterator[str]:
    first: dict[Hashable, int] = {}
    for i, name in enumerate(names):
        if first.setdefault(name, i) != i:
            yield f"{part}[{i}] has the {what} of {part}[{first[name]}]; expected each once."


# --- results and their cases ----------------------------------------------------------------------


def _of_results(found: Results) -> Iterator[str]:
    depths = {c["id"]: c["depth"] for c in found["cases"]}
    names = {i["name"] for i in found["implementations"]}
    for i, case in enumerate(found["cases"]):
        if len(case["widths"]) != case["depth"] + 1:
            many = case["depth"] + 1
            yield f"cases[{i}].widths is a list of {len(case['widths'])}; expected {many}, for its depth."
    for i, r in enumerate(found["results"]):
        if r["case"] not in depths:
            yield f"results[{i}].case is {as_json(r['case'])}; expected the id of one of the cases."
            continue
        if r["implementation"] not in names:
            said = as_json(r["implementation"])
            yield f"results[{i}].implementation is {said}; expected the name of an implementation."
        yield from _of_verdict(f"results[{i}]", r)
        depth = depths[r["case"]]
        for part, layers in _layers(r):
            if max(layers, default=0) > depth:
                k = next(k for k, layer in enumerate(layers) if layer > depth)
                where = f"results[{i}].{part.format(k)}.layer"
                yield f"{where} is {layers[k]}; expected at most {depth}, its case's depth."


def _of_verdict(at: str, r: Result) -> Iterator[str]:
    """A result that conforms must have no error above its tolerance; its worst ratio must be that of its
    records."""
    ratios = [*map(size, column(r["records"], "ratio"))]
    if r["verdict"] == "conforms":
        for k, ratio in enumerate(ratios):
            if ratio > 1:
                said = f"{at}.records[{k}].ratio is {as_json(r['records'][k]['ratio'])}"
                yield f"{said}; expected at most 1, as its verdict is conforms."
                return
        if r["first_deviation"] or r["blame"]:
            yield f"{at} has a first deviation, or something to blame; expected none, as it conforms."
    worst = r["worst"]
    if worst and ratios and size(worst["ratio"]) != max(ratios):
        said = f"{at}.worst.ratio is {as_json(worst['ratio'])}"
        yield f"{said}; expected {max(ratios):g}, the largest of its records."


def _layers(r: Result) -> Iterator[tuple[str, list[int]]]:
    """Every part of a result that names layers: its place in the result, and the layer of each row."""
    yield "records[{}]", column(r["records"], "layer")
    yield "blame[{}]", [*map(LAYER, r["blame"])]
    yield "first_deviation", [r["first_deviation"]["layer"]] if r["first_deviation"] else []
    yield "worst", [r["worst"]["layer"]] if r["worst"] else []
    for k, finding in enumerate(r["diagnosis"]):
        yield f"diagnosis[{k}].steps[{{}}]", [*map(LAYER, finding["steps"])]


# --- the summary ----------------------------------------------------------------------------------


def _of_summary(found: Results) -> Iterator[str]:
    summary = found["summary"]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for r in found["results"]:
        counts[r["implementation"]][r["verdict"]] += 1
    said = {name: Counter(of) for name, of in summary["verdicts"].items()}
    for name in dict.fromkeys([*counts, *said]):
        for verdict in dict.fromkeys([*counts[name], *said.get(name, {})]):
            n, counted = said.get(name, Counter())[verdict], counts[name][verdict]
            if n != counted:
                where = f"summary.verdicts has {n:,} {verdict} of {as_json(name)}"
                yield f"{where}; expected {counted:,}, as the results."
    verdict, code = _answer(found, counts)
    worse = "not-run" if code == 0 else verdict, 2
    before = ("error" if sum(counts.values(), Counter())["error"] else "deviates"), 1  # older files
    allowed = [(verdict, code), worse, *([before] if verdict == "error" else [])]
    if (summary["verdict"], summary["exit_code"]) not in allowed:
        given = f'"{summary["verdict"]}" and exit code {summary["exit_code"]}'
        yield f'summary has the verdict {given}; expected "{verdict}" and {code}, by the results.'
    yield from _of_worst(found)


def _answer(found: Results, counts: Counts) -> tuple[Verdict, int]:
    """The verdict and exit code of a run by its results alone: those that `summary.summary` gives a run in
    which no implementation was asked for by name."""
    total = sum(counts.values(), Counter())
    stale = any(d["status"] == "stale" for d in found["known_differences"])
    silent = any(
        i["status"] == "error" or (i["status"] == "ran" and _raised_always(counts[i["name"]]))
        for i in found["implementations"]
    )
    if total["error"] or stale:
        return "error", 2
    if total["deviates"]:
        return "deviates", 2 if silent else 1
    if total["undecided"]:
        return "undecided", 2
    judged = sum(total.values()) - total["not-run"]
    if not judged or silent:
        return "not-run", 2
    return ("inaccurate" if total["inaccurate"] else "conforms"), 0


def _raised_always(counts: Counter[str]) -> bool:
    return counts["error"] > 0 and counts["error"] + counts["not-run"] == counts.total()


def _of_worst(found: Results) -> Iterator[str]:
    worst = found["summary"]["worst"]
    pairs = [(w["gate"], w["implementation"]) for w in worst]
    yield from _twice("summary.worst", "gate and implementation", pairs)
    largest: dict[tuple[str, str], Number] = {}
    for r in found["results"]:
        columns = (column(r["records"], key) for key in ("gate", "ratio"))
        for gate, ratio in zip(*columns, strict=True):
            key = gate, r["implementation"]
            if key not in largest or size(ratio) > size(largest[key]):
                largest[key] = ratio
    for i, w in enumerate(worst):
        of = f"of {as_json(w['implementation'])} at the gate {w['gate']}"
        ratio = largest.pop((w["gate"], w["implementation"]), None)
        if ratio is None:
            yield f"summary.worst[{i}] is {of}; expected none, as there are no records of it."
        elif w["ratio"] != ratio:
            said = f"summary.worst[{i}].ratio is {as_json(w['ratio'])}"
            yield f"{said}; expected {as_json(ratio)}, the largest ratio {of}."
    for gate, name in largest:
        yield f"summary.worst has no row of {as_json(name)} at the gate {gate}; expected one."
