"""Strictness in one place: one thread, float64 in JAX, fixed seeds. pyproject.toml makes every warning
an error, but for one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # sums in the same order every time; read when NumPy is imported
os.environ["JAX_ENABLE_X64"] = "1"  # read when JAX is imported, by whichever test comes first
if sys.prefix != sys.base_prefix:  # in a virtual environment, which keeps what JAX compiled
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(sys.prefix, "jax-cache")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# ruff: noqa: E402   the environment first
import gc
import random
import select
import time
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from long import known
from screens import CHROMIUM, opened

gc.set_threshold(100_000, 20, 50)  # as in our workers: a tape has many objects, and few cycles


def pytest_addoption(parser: pytest.Parser) -> None:
    """--share K/N."""
    parser.getgroup("general").addoption(
        "--share",
        metavar="K/N",
        default="0/1",
        help="Run the Kth of N shares of the tests alone: which one a test is in, its name says.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What long.txt has is marked so; what is in another share is deselected."""
    long = known()
    for item in items:
        if item.nodeid.partition("[")[0] in long:
            item.add_marker("long")
    k, n = map(int, config.getoption("--share").split("/"))
    others = [item for item in items if zlib.crc32(item.nodeid.encode()) % n != k % n]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


@pytest.fixture(autouse=True)
def _the_same_numbers_every_time() -> None:
    random.seed(20)
    np.random.seed(20)  # noqa: NPY002   what a library draws from
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(20)
        torch.set_num_threads(1)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """plant(name, impl): `impl` is the implementation of that name, in this process and test alone.

    Under the name "refbp" it is held to refbp's own tolerances.
    """
    from conformance.implementations import IMPLEMENTATIONS
    from conformance.judge.start import started

    def planted(name: str, impl: Any, jitted: bool = False, module: str = "planted_") -> None:
        row = SimpleNamespace(
            module=module,
            device="cpu",
            description="planted",
            jitted=jitted,
            whole=True,
            load=lambda name: impl,
        )
        monkeypatch.setitem(IMPLEMENTATIONS, name, row)  # type: ignore[arg-type]
        started.cache_clear()

    yield planted
    started.cache_clear()


@pytest.fixture
def time_is_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """time_is_up(happened): for processes that are asked, the time is over once that has happened, however
    long it takes on a busy machine, and not before."""
    from conformance.tools import child

    monotonic, selected = time.monotonic, select.select

    def when(happened: Callable[[], Any]) -> None:
        clock = SimpleNamespace(monotonic=lambda: monotonic() + (1e6 if happened() else 0.0))
        often = SimpleNamespace(select=lambda r, w, x, wait: selected(r, w, x, min(wait, 0.02)))
        monkeypatch.setattr(child, "time", clock)
        monkeypatch.setattr(child, "select", often)

    return when


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright; what asks for it is skipped without."""
    if not CHROMIUM:
        pytest.skip("no Chromium on the PATH")
    if not find_spec("playwright"):
        pytest.skip("no playwright: pip install '.[dev]'")
    with opened() as browser:
        yield browser
