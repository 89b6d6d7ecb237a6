"""Which tests take long: `long.txt` has them, and `make test` leaves them to `make test-all`.

    python -m pytest -n 2 --junitxml times.xml -m "not slow and not zoo"
    python tests/long.py times.xml      # writes long.txt anew, of the tests that ran

A test function is one of them where all of its cases take `TOTAL` seconds together, and `EACH` on average.
What several share is on the account of the first: ask again of those that are left.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).with_name("long.txt")
TOTAL, EACH = 2.0, 0.5


def known() -> frozenset[str]:
    """The test functions that take long, as `tests/test_file.py::test_name`."""
    return frozenset(FILE.read_text(encoding="utf-8").split())


def measured(path: Path) -> list[str]:
    """Those of a run, from what pytest wrote."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for case in ET.parse(path).getroot().iter("testcase"):
        file = case.attrib["classname"].replace(".", "/")
        name = case.attrib["name"].partition("[")[0]
        times[f"{file}.py::{name}"].append(float(case.attrib["time"]))
    long = {k for k, t in times.items() if sum(t) >= max(TOTAL, EACH * len(t))}
    return sorted((known() - times.keys()) | long)


if __name__ == "__main__":
    FILE.write_text("\n".join(measured(Path(sys.argv[1]))) + "\n", encoding="utf-8")
