"""long.txt names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from long import known

ROOT = Path(__file__).resolve().parents[2]


def test_every_one_of_them_is_there() -> None:
    for name in known():
        file, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text("utf-8"), re.M), name
