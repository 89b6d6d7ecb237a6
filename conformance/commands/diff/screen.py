"""A diff as text for a terminal, on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.commands.diff.compare import Change, Diff, gathered
from conformance.report.numbers import short
from conformance.tools.plain import plain

__all__ = ["screen"]

WORSE, OTHERS = 12, 6
"""The most lines of each list that the terminal shows. The page and the JSON have all."""


def screen(d: Diff) -> Iterator[str]:
    """The lines for the terminal."""
    for label, run in (("old", d["old"]), ("new", d["new"])):
        which = f"{run['profile']}: {run['select']}" if run["select"] else run["profile"]
        yield plain(
            f"{label}  {run['file']}  {run['verdict']}, {run['cases']:,} cases ({which}) {run['finished']}"
        )
    yield from _list("worse", [_change(*g) for g in gathered(d["changes"], "worse")], WORSE)
    yield from _list("better", [_change(*g) for g in gathered(d["changes"], "better")], OTHERS)
    yield from _list("largest error over tolerance", list(_ratios(d)), OTHERS)
    yield from _list("implementations", list(_presence(d)), OTHERS)
    yield from _list("cases", list(_cases(d)), OTHERS)
    yield from _list(
        "with", [_setting(s["what"], s["old"], s["new"]) for s in d["settings"]], OTHERS
    )
    yield from _list("known differences", list(_known(d)), OTHERS)


def _list(heading: str, lines: Sequence[str], most: int) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield heading
    yield from (f"  {plain(line)}" for line in lines[:most])
    if len(lines) > most:
        yield f"  and {len(lines) - most:,} more; --html and --json have them all"


def _setting(what: str, old: str, new: str) -> str:
    return f"{what}  {old} → {new}"


def _change(c: Change, cases: int) -> str:
    ratios = [short(r) for r in (c["old_ratio"], c["new_ratio"]) if r is not None]
    grew = f"  ratio {' → '.join(ratios)}" if ratios and cases == 1 else ""
    told = c["lost"] or c["new"] in ("error", "not-run", "absent")
    said = f"  {c['message'][: 60 if c['new'] == 'error' else 200]}" if told else ""
    which = c["case"] if cases == 1 else f"{cases:,} cases"
    return f"{c['implementation']}  {which}  {c['old']} → {c['new']}{grew}{said}"


def _ratios(d: Diff) -> Iterator[str]:
    for r in d["ratios"]:
        flag = "  worse" if r["worse"] else ""
        yield (
            f"{r['implementation']}  {r['gate']}  {short(r['old'])} → {short(r['new'])}  "
            f"×{short(r['factor'])}  {r['new_case']}{flag}"
        )


def _presence(d: Diff) -> Iterator[str]:
    for i in d["implementations"]:
        counts = d["counts"].get(i["name"])
        cases = f"  {counts['new'] or counts['gone']:,} cases" if counts else ""
        reason = f"  {i['reason'][:60]}" if i["new"] != "ran" and i["reason"] else ""
        yield f"{i['name']}  {i['old']} → {i['new']}{cases}{reason}"


def _cases(d: Diff) -> Iterator[str]:
    for word, ids in (("new", d["new_cases"]), ("gone", d["gone_cases"])):
        if ids:
            more = f" and {len(ids) - 2:,} more" if len(ids) > 2 else ""
            yield f"{len(ids):,} {word}: {', '.join(ids[:2])}{more}"


def _known(d: Diff) -> Iterator[str]:
    for k in d["known_differences"]:
        yield f"{k['id']}  {k['old']} → {k['new']}  seen {k['old_seen']:,} → {k['new_seen']:,}"
