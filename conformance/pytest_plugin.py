"""The pytest plugin: a marker, and a report of every activation that the tests checked.

Found by its entry point wherever this package is installed; it loads nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--conformance-report FOLDER."""
    parser.getgroup("conformance").addoption(
        "--conformance-report",
        metavar="FOLDER",
        default=None,
        help="Write an HTML report and a JSON file of every activation that assert_activation_conforms "
        "checked into FOLDER.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker, so that --strict-markers knows it."""
    config.addinivalue_line(
        "markers", "conformance: checks an activation against its certified derivative."
    )
    if config.getoption("--conformance-report"):
        with _ending():  # before the tests, not after
            _folder(config).mkdir(parents=True, exist_ok=True)
            _writer()


@contextmanager
def _ending() -> Iterator[None]:
    """Without its report the run is not green: exit code 2, and a sentence."""
    import pytest

    from conformance.tools.trouble import sentence

    try:
        yield
    except Exception as e:
        pytest.exit(f"--conformance-report: {sentence(e)}", returncode=2)


def _folder(config: pytest.Config) -> Path:
    return Path(str(config.getoption("--conformance-report")))


def _writer() -> Callable[[Path, Any], None]:
    """What writes a check as JSON and as a page, without the ending."""
    from conformance.commands.activation.report import render
    from conformance.tools.files import write_atomically, write_json

    def write(path: Path, check: Any) -> None:
        write_json(f"{path}.json", check)
        write_atomically(f"{path}.html", render(check))

    return write


def _checked() -> list[Any]:
    """What this process checked, if anything was: without importing what was not used."""
    import sys

    asserting = sys.modules.get("conformance.commands.activation.asserting")
    return list(asserting.checked) if asserting is not None else []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports, in each worker of pytest-xdist what it checked."""
    if not session.config.getoption("--conformance-report"):
        return
    worker = getattr(session.config, "workerinput", {}).get("workerid", "")
    for i, check in enumerate(_checked(), start=1):
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in check["name"])[:60]
        stem = "-".join(part for part in (worker, f"{i:03d}", safe) if part)
        with _ending():
            _writer()(_folder(session.config) / stem, check)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A line for each, where the report was asked for."""
    config = terminalreporter.config
    folder, found = config.getoption("--conformance-report"), _checked()
    if not folder or not found:
        return
    terminalreporter.section("conformance")
    for check in found:
        terminalreporter.line(f"{check['verdict']}: {check['name']}: {check['message']}")
    terminalreporter.line(f"reports: {folder}")
