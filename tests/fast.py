"""Which values of a parametrised test `make test` tries; `make test-all` tries them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def fast(values: Iterable[Any], *kept: Any) -> list[Any]:
    """All of the values, and all but those kept are marked slow."""
    values = list(values)
    assert all(k in values for k in kept)
    return [v if v in kept else pytest.param(*_each(v), marks=pytest.mark.slow) for v in values]


def _each(value: Any) -> tuple[Any, ...]:
    """The arguments of one call, of which a tuple holds several."""
    return value if isinstance(value, tuple) else (value,)
