"""The result of one implementation on one case, whatever the implementation does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from conformance.cases.catalogue import Case
from conformance.implementations import Implementation, MalformedError, NotRunError, row
from conformance.judge.form import malformed
from conformance.judge.gates import judge, judge_exception, judge_malformed
from conformance.judge.start import started_now
from conformance.judge.subject import Subject
from conformance.model.problem import Problem, Runs, Trace
from conformance.model.results import Result
from conformance.tools.child import ChildError
from conformance.tools.plain import plain
from conformance.tools.trouble import not_installed, reason, to_install

__all__ = ["judged", "judged_by", "looked_at", "rounds_every_value", "runs"]

Run = Callable[[Problem], Trace | None]

_WHEN = "_conformance_when"
"""The attribute of an exception that names the run in which it was raised."""


def judged(case: Case, names: Iterable[str], probing: bool = True) -> list[Result]:
    """The results of one case, in this process, for those implementations that run here."""
    subject = Subject(case)
    ready = ((name, started_now(name, probing).ready) for name in names)
    return [judged_by(subject, name, impl) for name, impl in ready if impl is not None]


def judged_by(subject: Subject, name: str, impl: Implementation) -> Result:
    """The result of one implementation on one case, in this process, even if the implementation raises."""
    try:
        _ = subject.problem
    except Exception as e:
        if missing := not_installed(e):
            why = f"not run: {missing} is not installed: {to_install(missing)}."
            return {**judge_exception(subject.case, name, why), "verdict": "not-run"}
        return judge_exception(subject.case, name, f"the case could not be made: {reason(e)}")
    found = row(name)
    whole = found is None or found.whole
    try:
        subject = subject.under(getattr(impl, "convention", None))
        ran = runs(subject, impl, whole)
    except NotRunError as e:
        return {**judge_exception(subject.case, name, f"not run: {e}"), "verdict": "not-run"}
    except MalformedError as e:
        return judge_malformed(subject.case, name, str(e))
    except ChildError as e:
        return judge_exception(subject.case, name, f"{name}: {e}.".replace("..", "."))
    except (Exception, SystemExit) as e:
        when = vars(e).get(_WHEN, "")
        return judge_exception(
            subject.case, name, f"{name} raised {reason(e)}{when and f', {when}'} ({_where(e)})"
        )
    like = getattr(impl, "like", "") or (name if whole else "")
    rounded = None if whole else rounds_every_value(impl)
    try:
        same = whole or bool(getattr(impl, "deterministic", True))
        result = judge(subject, like, ran.first, ran.again, ran.alone, whole, rounded, same)
        result["implementation"] = name
        return looked_at(subject, like, ran, result, partial(_if_it_can, impl, whole), rounded)
    except Exception as e:  # our own error: the other results must not suffer
        return judge_exception(
            subject.case, name, f"it could not be judged: {reason(e)} ({_where(e)})"
        )


def rounds_every_value(impl: Implementation) -> bool:
    """Whether a user's implementation says that it computes on with the numbers that it returns."""
    return bool(getattr(impl, "rounds_every_value", False))


def _if_it_can(impl: Implementation, whole: bool, problem: Problem) -> Trace | None:
    """What an implementation computes for another problem; None if it cannot: it may know one dtype only."""
    try:
        return _run_once(impl, problem, whole)
    except (Exception, SystemExit):
        return None


def looked_at(
    subject: Subject, like: str, ran: Runs, result: Result, run: Run, rounded: bool | None
) -> Result:
    """A result that deviates, examined: whether it loses digits, or which mistake it looks like."""
    if result["verdict"] != "deviates" or not result["records"]:
        return result  # a trace of another form than was asked for has no records
    from conformance.judge.inaccuracy import inaccurate

    if found := inaccurate(subject, like, ran, result, run, rounded):
        return found
    from conformance.judge.mistakes.diagnosis import (
        diagnosis,  # imports refbp, which is seldom needed here
    )

    result["blame"], result["diagnosis"] = diagnosis(subject, like, ran, result, rounded)
    return result


def runs(subject: Subject, impl: Implementation, whole: bool = True) -> Runs:
    """What an implementation computes for a case, run as often as the case's gates need. Raises what it
    raises."""
    problem, one = subject.problem, subject.alone
    first, between, again, alone = _run_once(impl, problem, whole), None, None, None
    if subject.case.closely:  # nothing of the other batch may be left in the second run
        between = _run_once(impl, problem.another_batch(), whole, "on another batch, ")
        again = _run_once(impl, problem, whole, "the second time, ")
    if one is not None:
        alone = _run_once(impl, one.problem, whole, "of one example alone, ")
    return Runs(first, between, again, alone)


def _where(e: BaseException) -> str:
    """The file and line that raised it; with the text of the line if the exception has no message."""
    last = traceback.extract_tb(e.__traceback__)[-1]
    text = f": {last.line}" if last.line and not e.args else ""
    return plain(f"{Path(last.filename).name}:{last.lineno}{text}")


def _run_once(impl: Implementation, problem: Problem, whole: bool, when: str = "") -> Trace:
    """A run on a copy of the problem; what it returns is copied too, so that nothing is shared."""
    copy = problem.copy()
    try:
        trace = impl.run(copy)
    except MalformedError as e:
        raise MalformedError(f"{when}{e}") from e
    except (Exception, SystemExit) as e:
        vars(e)[_WHEN] = when.strip(", ")
        raise
    if wrong := malformed(problem, trace, whole):
        raise MalformedError(f"{when}{wrong}")
    if which := copy.changed(problem):
        raise MalformedError(f"{when}it wrote to its input: {which} is not what it was given.")
    return trace.copy()
