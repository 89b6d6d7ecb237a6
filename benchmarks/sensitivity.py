"""The smallest relative error that each gate would see, on ordinary networks.

An error is seen where it exceeds what is allowed: tolerance over value, element by element. Printed for each
gate, dtype and quantity: the element where it is seen best, and the median element, of refbp's own traces.

    python benchmarks/sensitivity.py
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from conformance.cases.profiles import cases
from conformance.implementations import implementation
from conformance.judge.gates import compared
from conformance.judge.subject import Subject

FAMILIES = ("typical", "heads", "mixed", "trained-digits")


def main() -> None:
    """Every fifth network of the families, of the profile `standard`."""
    refbp = implementation("refbp")
    seen: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for case in [c for c in cases("standard") if c.family in FAMILIES][::5]:
        subject = Subject(case)
        with np.errstate(all="ignore"):
            of = compared(subject, "refbp", refbp.run(subject.problem))
        for c in of:
            size = np.abs(np.asarray(c.truth.hi))
            relative = (c.tolerance / np.where(size > 0, size, np.nan)).ravel()
            relative = relative[np.isfinite(relative)]
            if len(relative):
                best, median = float(relative.min()), float(np.median(relative))
                seen[c.gate, case.dtype, c.quantity].append((best, median))
    print(f"{'gate':12} {'dtype':9} {'quantity':9} {'best':>9} {'median':>9}")
    for (gate, dtype, quantity), found in sorted(seen.items()):
        best, median = min(b for b, _ in found), np.median([m for _, m in found])
        print(f"{gate:12} {dtype:9} {quantity:9} {best:9.2g} {median:9.2g}")


if __name__ == "__main__":
    main()
