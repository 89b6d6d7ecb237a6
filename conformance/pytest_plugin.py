"""The pytest plugin: a marker, a report of every activation, function and network that the tests checked, and
a test a case.

Found by its entry point wherever this package is installed; it loads nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from conformance.cases.catalogue import Case
    from conformance.implementations import Implementation

__all__ = [
    "parametrize_activations",
    "parametrize_cases",
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
        help="Write an HTML report and a JSON file of every activation, function and network that "
        "assert_activation_conforms and its kin checked into FOLDER.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker, so that --strict-markers knows it."""
    config.addinivalue_line(
        "markers",
        "conformance: checks an activation, a function or a network against its certified derivative.",
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
    from conformance.commands.activation import report as activation
    from conformance.commands.function import report as function
    from conformance.commands.module import report as module
    from conformance.tools.files import write_atomically, write_json

    def write(path: Path, check: Any) -> None:
        write_json(f"{path}.json", check)
        room = function if "function" in check else module if "module" in check else activation
        page = room.render(check)
        write_atomically(f"{path}.html", page)

    return write


def _checked() -> list[Any]:
    """What this process checked, if anything was: without importing what was not used."""
    import sys

    modules = (
        sys.modules.get(f"conformance.commands.{name}")
        for name in ("activation.asserting", "function.check", "module.check")
    )
    return [check for module in modules if module is not None for check in module.checked]


def _name(check: Any) -> str:
    """Of an activation, of a function or of a network."""
    return str(next(check[key] for key in ("function", "module", "name") if key in check))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports, in each worker of pytest-xdist what it checked."""
    if not session.config.getoption("--conformance-report"):
        return
    worker = getattr(session.config, "workerinput", {}).get("workerid", "")
    for i, check in enumerate(_checked(), start=1):
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in _name(check))[:60]
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
        terminalreporter.line(f"{check['verdict']}: {_name(check)}: {check['message']}")
    terminalreporter.line(f"reports: {folder}")


# --- a test a case --------------------------------------------------------------------------------


def parametrize_cases(
    implementation: str | Implementation,
    *,
    profile: str = "quick",
    select: str = "",
    strict: bool = False,
) -> pytest.MarkDecorator:
    """A test a case, as scikit-learn's parametrize_with_checks has one an estimator and check:

        @conformance.parametrize_cases(Mine(), select="dtype=float64")
        def test_mine(check):
            check()

    `implementation` is an object with `name` and `run(problem) -> Trace`, or a string as --implementation
    takes it; it runs in this process. The ids are those of the cases. What deviates, is undecided or raises
    fails with what `conformance show` prints of it; what is inaccurate fails if `strict`; a case that the
    implementation does not do is skipped, with its reason.

    Raises RunError and CaseError, both ValueErrors, for what there is not.
    """
    import pytest

    from conformance.cases.profiles import cases
    from conformance.cases.profiles import select as selected
    from conformance.judge.start import name_of, row_of

    if isinstance(implementation, str):
        row_of(implementation)
    else:
        name_of(implementation)
    chosen = selected(cases(profile), select)
    checks = [partial(_check_case, implementation, case, strict) for case in chosen]
    return pytest.mark.parametrize("check", checks, ids=[case.id for case in chosen])


def _check_case(implementation: str | Implementation, case: Case, strict: bool) -> None:
    """Raise AssertionError unless it conforms."""
    __tracebackhide__ = True
    import pytest

    from conformance.commands.show import shown

    result, text = shown(implementation, case)
    if result["verdict"] == "not-run":
        pytest.skip(result["message"])
    if result["verdict"] in ("deviates", "undecided", "error", *["inaccurate"] * strict):
        raise AssertionError(text)


def parametrize_activations(
    activations: Mapping[str, tuple[Any, Any]], **more: Any
) -> pytest.MarkDecorator:
    """A test an activation, of σ and σ' by name: `{"mish": (mish, mish_prime)}`.

        @conformance.parametrize_activations({"mish": (mish, mish_prime)})
        def test_activation(check):
            check()

    `more` is as for assert_activation_conforms, which each calls.
    """
    import pytest

    from conformance.commands.activation.asserting import assert_activation_conforms

    checks = [partial(assert_activation_conforms, *pair, **more) for pair in activations.values()]
    return pytest.mark.parametrize("check", checks, ids=list(activations))
