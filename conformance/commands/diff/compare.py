"""Compares two runs: what got better, worse, new or gone, and by how much.

A result that is missing on either side counts as not run. What ran and no longer runs is worse, whatever its
verdict was: a skipped case never passes. Otherwise the order of `VERDICTS` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict

from conformance.model.packed import column
from conformance.model.results import (
    SYMBOLS,
    VERDICTS,
    Implementation,
    KnownDifference,
    Number,
    Result,
    Results,
    Verdict,
)
from conformance.report.numbers import size
from conformance.report.view import GATES, in_order
from conformance.tools.files import FileError
from conformance.tools.typed import as_json

__all__ = ["Change", "Diff", "compare", "direction", "gathered"]

SCHEMA_VERSION = 1
ABSENT: Literal["absent"] = "absent"
State = Verdict | Literal["absent"]
Direction = Literal["worse", "better"]
FAILING: tuple[State, ...] = ("error", "deviates", "undecided")
SEVERITY: dict[str, int] = {v: i for i, v in enumerate(("error", "deviates", "undecided"))} | {
    "absent": 3, "not-run": 4, "inaccurate": 5, "known-difference": 6, "conforms": 7,
}  # fmt: skip
"""How bad each new state is, 0 the worst: the worst changes come first."""
VOLATILE = {"command", "finished", "seconds", "processes"}
"""Fields of the environment that differ between any two runs, and are not compared."""


class Change(TypedDict):
    """The result of one implementation on one case, which has changed."""

    implementation: str
    case: str
    direction: Direction
    old: State
    new: State
    old_ratio: Number | None  # the largest error over tolerance
    new_ratio: Number | None
    lost: bool  # the new result judges less than the old one, though its verdict is no worse
    # what is no longer judged; else the message of the new result, or why there is none
    message: str


class Ratio(TypedDict):
    """The largest error over tolerance of one gate, over the cases that both runs judged."""

    implementation: str
    gate: str
    old: Number
    old_case: str
    new: Number
    new_case: str
    factor: Number  # new over old
    worse: bool  # by more than the threshold, if there is one


class Presence(TypedDict):
    """An implementation that ran in only one of the two runs, or changed its status."""

    name: str
    old: str  # "ran", "not-run", "error", "absent"
    new: str
    reason: str


class Setting(TypedDict):
    """A version, a device or a probe that has changed."""

    what: str
    old: str
    new: str


class Known(TypedDict):
    """A known difference that appeared, vanished or changed its status."""

    id: str
    implementation: str
    what: str
    old: str  # "differs", "stale", "not-run", "absent"
    new: str
    old_seen: int
    new_seen: int


class Counts(TypedDict):
    """For one implementation, how many cases are worse, better, new, gone and the same."""

    worse: int
    better: int
    new: int
    gone: int
    same: int


class Run(TypedDict):
    """What identifies a run, and its verdict."""

    file: str
    finished: str
    profile: str
    select: str
    cases: int
    verdict: str


class Diff(TypedDict):
    """The JSON that `conformance diff --json` writes."""

    schema_version: int
    old: Run
    new: Run
    threshold: float | None
    exit_code: int
    message: str
    counts: dict[str, Counts]
    changes: list[Change]  # the worse first, beginning with the worst
    ratios: list[Ratio]
    implementations: list[Presence]
    new_cases: list[str]
    gone_cases: list[str]
    settings: list[Setting]
    known_differences: list[Known]


Pair = tuple[str, str]  # implementation, case


def compare(
    old: Results, new: Results, files: tuple[str, str] = ("", ""), threshold: float | None = None
) -> Diff:
    """Compare two runs. With a threshold, a largest ratio that grew by more than this factor is worse too.

    Raises FileError if the two runs have no case or no implementation in common.
    """
    _must_be_comparable(old, new, files)
    before, after = _results(old), _results(new)
    changes = sorted(_changes(old, new, before, after), key=_order)
    ratios = _ratios(before, after, threshold)
    worse = [c for c in changes if c["direction"] == "worse"]
    grown = [r for r in ratios if r["worse"]]
    was, now = ({c["id"]: None for c in run["cases"]} for run in (old, new))
    return Diff(
        schema_version=SCHEMA_VERSION,
        old=_run(old, files[0]),
        new=_run(new, files[1]),
        threshold=threshold,
        exit_code=1 if worse or grown else 0,
        message=_message(changes, grown, threshold) + _unlike(old, new),
        counts=_counts(before, after, changes),
        changes=changes,
        ratios=ratios,
        implementations=list(_presence(old, new)),
        new_cases=[c for c in now if c not in was],
        gone_cases=[c for c in was if c not in now],
        settings=_settings(old, new),
        known_differences=list(_known(old, new)),
    )


def _must_be_comparable(old: Results, new: Results, files: tuple[str, str]) -> None:
    """Raise FileError if the runs have no case or no implementation in common: all would be new or gone."""
    names = [[i["name"] for i in run["implementations"]] for run in (old, new)]
    ids = [[c["id"] for c in run["cases"]] for run in (old, new)]
    chosen = [[p["name"], p["select"]] for p in (old["profile"], new["profile"])]
    for kind, had, said, option in (
        ("implementation", names, names, "--implementation"),
        ("case", ids, chosen, "--profile and --select"),
    ):
        if set(had[0]).isdisjoint(had[1]):
            a, b = (", ".join(as_json(x) for x in some[:3] if x) or "nothing" for some in said)
            raise FileError(
                f"cannot compare {files[0]} and {files[1]}: they have no {kind} in common "
                f"(old: {a}; new: {b}). Run both with the same {option}."
            )


def _results(run: Results) -> dict[Pair, Result]:
    return {(r["implementation"], r["case"]): r for r in run["results"]}


def _run(run: Results, file: str) -> Run:
    profile = run["profile"]
    return Run(
        file=file,
        finished=str(run["environment"].get("finished", "")),
        profile=profile["name"],
        select=profile["select"],
        cases=profile["cases"],
        verdict=run["summary"]["verdict"],
    )


# --- verdicts -------------------------------------------------------------------------------------


def direction(old: State, new: State) -> Direction | None:
    """Whether a change of state is for the worse or for the better; None if neither.

    Not to run is worse than any verdict. What runs for the first time is worse if it fails.
    """
    ran = [state not in (ABSENT, "not-run") for state in (old, new)]
    if ran == [False, False] or old == new:
        return None
    if ran == [False, True]:
        return "worse" if new in FAILING else "better"
    if ran == [True, False]:
        return "worse"
    return "worse" if VERDICTS.index(new) < VERDICTS.index(old) else "better"


def _changes(
    old: Results, new: Results, before: Mapping[Pair, Result], after: Mapping[Pair, Result]
) -> Iterator[Change]:
    reasons = {i["name"]: i["reason"] for i in new["implementations"] if i["status"] != "ran"}
    listed = {c["id"] for c in new["cases"]}
    for pair in dict.fromkeys([*before, *after]):
        was, now = before.get(pair), after.get(pair)
        states = _state(was), _state(now)
        lost = _lost(was, now)
        way = "worse" if lost else direction(*states)
        if way:
            name, case = pair
            gone = reasons.get(name) or ("" if case in listed else "the case is gone")
            yield Change(
                implementation=name,
                case=case,
                direction=way,
                old=states[0],
                new=states[1],
                old_ratio=_largest(was),
                new_ratio=_largest(now),
                lost=bool(lost),
                message=lost or (now["message"] if now else gone or "no result"),
            )


def _lost(was: Result | None, now: Result | None) -> str:
    """Quantities that were judged and are no longer, though the verdict is no worse: what is not returned
    cannot be wrong. In words; "" if there are none."""
    if not was or not now or not now["records"] or direction(_state(was), _state(now)) == "worse":
        return ""
    judged = set(_judged(now))
    gates: dict[str, list[str]] = {}
    for gate, quantity in dict.fromkeys(_judged(was)):
        if (gate, quantity) not in judged:
            gates.setdefault(gate, []).append(SYMBOLS.get(quantity, "everything"))
    return "; ".join(
        f"no longer judged at the {gate} gate: {', '.join(of)}" for gate, of in gates.items()
    )


def _judged(result: Result) -> Iterator[tuple[str, str]]:
    """The gate and quantity of each record."""
    return zip(*(column(result["records"], key) for key in ("gate", "quantity")), strict=True)


def _state(result: Result | None) -> State:
    return result["verdict"] if result else ABSENT


def _largest(result: Result | None) -> Number | None:
    ratios = column(result["records"], "ratio") if result else []
    return max(ratios, key=size, default=None)


def _order(change: Change) -> tuple[bool, int, int, float, str, str]:
    ratio = change["new_ratio"]
    return (
        change["direction"] == "better",
        SEVERITY[change["new"]],
        -SEVERITY[change["old"]],
        -size(ratio) if ratio is not None else 0.0,
        change["implementation"],
        change["case"],
    )


def gathered(changes: Sequence[Change], way: Direction) -> list[tuple[Change, int]]:
    """The changes in one direction, each with the number of cases that it stands for. A failure stands for
    itself alone; of other changes that are alike, the first stands for all."""
    groups: dict[tuple[str, ...], list[Change]] = {}
    for n, c in enumerate(c for c in changes if c["direction"] == way):
        alone = (str(n),) if c["new"] in FAILING else ()
        key = c["implementation"], c["old"], c["new"], c["message"], *alone
        groups.setdefault(key, []).append(c)
    return [(members[0], len(members)) for members in groups.values()]


def _counts(
    before: Mapping[Pair, Result], after: Mapping[Pair, Result], changes: list[Change]
) -> dict[str, Counts]:
    """The counts by implementation. New and gone cases that ran are also among the better and the worse."""
    names = dict.fromkeys(name for name, _ in [*before, *after])
    found = {name: Counts(worse=0, better=0, new=0, gone=0, same=0) for name in names}
    for c in changes:
        found[c["implementation"]][c["direction"]] += 1
    changed = {(c["implementation"], c["case"]) for c in changes}
    for pair in dict.fromkeys([*before, *after]):
        own = found[pair[0]]
        own["new"] += pair not in before
        own["gone"] += pair not in after
        own["same"] += pair in before and pair in after and pair not in changed
    return found


def _message(changes: list[Change], grown: list[Ratio], threshold: float | None) -> str:
    ways = Counter(c["direction"] for c in changes)
    skipped = sum(c["direction"] == "worse" and c["new"] in (ABSENT, "not-run") for c in changes)
    less = sum(c["lost"] for c in changes)
    asides = [f"{skipped:,} no longer run"] * bool(skipped) + [f"{less:,} judged less"] * bool(less)
    said = []
    if ways["worse"]:
        said.append(f"{ways['worse']:,} worse" + (f" ({', '.join(asides)})" if asides else ""))
    if grown:
        said.append(f"{len(grown):,} of the largest ratios grew more than {threshold:g} times")
    if ways["better"]:
        said.append(f"{ways['better']:,} better")
    return "; ".join(said) + "." if said else "no verdict changed."


def _unlike(old: Results, new: Results) -> str:
    chosen = [(run["profile"]["name"], run["profile"]["select"]) for run in (old, new)]
    return (
        "" if chosen[0] == chosen[1] else " The two runs are of different profiles or selections."
    )


# --- ratios ---------------------------------------------------------------------------------------


def _ratios(
    before: Mapping[Pair, Result], after: Mapping[Pair, Result], threshold: float | None
) -> list[Ratio]:
    """The largest ratio of each gate, over the cases in which both runs have records; unchanged ones are left
    out."""
    both = [
        pair
        for pair in before
        if pair in after and before[pair]["records"] and after[pair]["records"]
    ]
    was, now = (_by_gate(run, both) for run in (before, after))
    names = in_order((name for name, _ in both), ())
    found = []
    for name in names:
        for gate in in_order((g for n, g in was if n == name and (n, g) in now), GATES):
            (old, old_case), (new, new_case) = was[name, gate], now[name, gate]
            if old != new:
                factor = _factor(old, new)
                worse = threshold is not None and factor > threshold
                found.append(
                    Ratio(
                        implementation=name, gate=gate, old=old, old_case=old_case, new=new,
                        new_case=new_case, factor=_named(factor), worse=worse,
                    )
                )  # fmt: skip
    return sorted(found, key=lambda r: -size(r["factor"]))


def _by_gate(run: Mapping[Pair, Result], pairs: list[Pair]) -> dict[Pair, tuple[Number, str]]:
    """(implementation, gate) -> its largest ratio, and the case in which it is."""
    largest: dict[Pair, tuple[Number, str]] = {}
    for name, case in pairs:
        of = (column(run[name, case]["records"], key) for key in ("gate", "ratio"))
        for gate, ratio in zip(*of, strict=True):
            key = name, gate
            if key not in largest or size(ratio) > size(largest[key][0]):
                largest[key] = ratio, case
    return largest


def _factor(old: Number, new: Number) -> float:
    a, b = size(old), size(new)
    if a == b:
        return 1.0
    return b / a if 0 < a < float("inf") else float("inf") if b > a else 0.0


def _named(x: float) -> Number:
    return "inf" if x == float("inf") else float(f"{x:.3e}")


# --- what ran, and with what ----------------------------------------------------------------------


def _presence(old: Results, new: Results) -> Iterator[Presence]:
    was, now = ({i["name"]: i for i in run["implementations"]} for run in (old, new))
    for name in dict.fromkeys([*was, *now]):
        states = _status(was.get(name)), _status(now.get(name))
        if states[0] != states[1]:
            reason = now[name]["reason"] if name in now else "not in the new run"
            yield Presence(name=name, old=states[0], new=states[1], reason=reason)


def _status(implementation: Implementation | None) -> str:
    return implementation["status"] if implementation else ABSENT


def _settings(old: Results, new: Results) -> list[Setting]:
    ran = [
        {i["name"] for i in run["implementations"] if i["status"] == "ran"} for run in (old, new)
    ]
    was, now = (dict(_flat(run, ran[0] & ran[1])) for run in (old, new))
    found: dict[Setting | tuple[str, ...], Setting] = {}
    for what in dict.fromkeys([*was, *now]):
        a, b = was.get(what, "–"), now.get(what, "–")
        # a version is both in the environment and at each implementation: it is listed once
        if a != b:
            key = what[-1], a, b
            found.setdefault(key, Setting(what=" ".join(what), old=a, new=b))
    return list(found.values())


def _flat(run: Results, names: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from _leaves({k: v for k, v in run["environment"].items() if k not in VOLATILE}, ())
    for i in run["implementations"]:
        if i["name"] in names:
            own = {"device": i["device"], **i["versions"], **i["probes"]}
            yield from _leaves(own, (f"{i['name']}:",))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            grouped = key == "packages" and isinstance(inner, dict)
            yield from _leaves(inner, path if grouped else (*path, key))
    else:
        yield path, str(value)


def _known(old: Results, new: Results) -> Iterator[Known]:
    was, now = ({k["id"]: k for k in run["known_differences"]} for run in (old, new))
    for id_ in dict.fromkeys([*was, *now]):
        a, b = was.get(id_), now.get(id_)
        row = b or a
        if row and _shown(a) != _shown(b):
            yield Known(
                id=id_,
                implementation=row["implementation"],
                what=row["what"],
                old=_shown(a),
                new=_shown(b),
                old_seen=a["seen"] if a else 0,
                new_seen=b["seen"] if b else 0,
            )


def _shown(row: KnownDifference | None) -> str:
    return row["status"] if row else ABSENT
