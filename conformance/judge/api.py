"""`conformance.run`: a user's implementations judged, in one call."""

from __future__ import annotations

from html import escape
from typing import cast

from conformance.implementations import Implementation
from conformance.judge import runner
from conformance.judge.start import RunError
from conformance.model.results import VERDICTS, Results

__all__ = ["run", "shown"]


def run(
    *implementations: str | Implementation,
    profile: str = "quick",
    select: str = "",
    jobs: int | None = None,
) -> Results:
    """Judge implementations on the cases of a profile: the results, as `conformance run` writes them.

    Each implementation is an object with `name` and `run(problem) -> Trace`, which runs in this process, or a
    string as --implementation takes it ("student.py", "cmd:./backprop"), which runs in `jobs` processes of
    its own. `select` is as in --select: "activation=tanh,depth=3". `results["summary"]` has the verdict.

    Raises RunError for implementations, and CaseError for cases, that do not exist; both are ValueErrors.
    """
    if not implementations:
        raise RunError("nothing to run; expected an implementation, or its name.")
    return shown(runner.run(profile, implementations, select, jobs))


def shown(results: Results) -> Results:
    """The same results, in a dict that a notebook shows as a table."""
    return cast("Results", _Shown(results))


class _Shown(dict[str, object]):
    """Results that a notebook shows as a table: a row an implementation, a column a verdict."""

    def _repr_html_(self) -> str:
        """The verdicts as an HTML table, with the summary as its caption; every name is escaped."""
        summary = cast("Results", self)["summary"]
        columns = [v for v in VERDICTS if any(n[v] for n in summary["verdicts"].values())]
        head = "".join(f"<th>{escape(v)}</th>" for v in ("implementation", *columns))
        rows = "".join(
            f"<tr><td>{escape(name)}</td>{''.join(f'<td>{counts[v]}</td>' for v in columns)}</tr>"
            for name, counts in summary["verdicts"].items()
        )
        answer = escape(f"{summary['verdict']}: {summary['message']}")
        return (
            f"<table><caption>{answer}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
