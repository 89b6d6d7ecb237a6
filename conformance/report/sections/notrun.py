"""What did not run, and why: neither a success nor a failure."""

from __future__ import annotations

from collections import defaultdict

from conformance.report.view import Judged, View

__all__ = ["context", "number"]


def number(view: View) -> int:
    """How many implementations did not run, or not on everything."""
    return sum(i["status"] != "ran" or bool(i["reason"]) for i in view.results["implementations"])


def context(view: View) -> dict[str, object]:
    absent = [i for i in view.results["implementations"] if i["status"] != "ran"]
    names = {i["name"] for i in absent}
    groups: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for j in view.judged:
        if j.result["verdict"] == "not-run" and j.result["implementation"] not in names:
            groups[j.result["implementation"], j.result["message"]].append(j)
    return {
        "absent": absent,
        "partial": [i for i in view.ran if i["reason"]],
        "left_out": [(*key, members) for key, members in groups.items()],
    }
