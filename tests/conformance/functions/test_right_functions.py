"""Right backward passes are found right, or to lose digits where a comment says why."""

from __future__ import annotations

import pytest
from right_functions import RIGHT

from conformance import check_function

FAMILIES = ("ordinary", "ties", "batch-1", "saturated")


def test_there_are_many() -> None:
    assert len(RIGHT) >= 30


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str, dtype: str) -> None:
    f = RIGHT[name]
    found = check_function(
        f.forward, vjp=f.backward, inputs=f.inputs, families=FAMILIES, dtype=dtype, **f.options
    )
    assert found["verdict"] in (("conforms", "inaccurate") if f.loses else ("conforms",)), found
    assert found["exit_code"] == 0
    assert not found["findings"], found["findings"]
    assert all(row["status"] in ("judged", "not there") for row in found["families"])
