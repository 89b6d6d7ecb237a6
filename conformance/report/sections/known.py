"""The known differences, with their reasons, and the entries beside a kink."""

from __future__ import annotations

from conformance.report.view import View

__all__ = ["context", "number"]


def number(view: View) -> int:
    return len(view.results["known_differences"])


def context(view: View) -> dict[str, object]:
    kinks = {}
    for i in view.ran:
        straddling = [j.result["straddling"] for j in view.of.get(i["name"], [])]
        if any(straddling):
            kinks[i["name"]] = sum(straddling), sum(map(bool, straddling))
    return {"rows": view.results["known_differences"], "kinks": kinks}
