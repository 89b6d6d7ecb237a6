"""`conformance.check_problem`: one network of a user's own, judged as `conformance.run` judges the cases."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.cases.catalogue import Case
from conformance.cases.checked import ProblemError, checked
from conformance.implementations import Implementation
from conformance.judge import runner
from conformance.judge.api import shown
from conformance.judge.start import RunError
from conformance.model.problem import Problem
from conformance.model.results import Results

__all__ = ["ProblemError", "check_problem"]


def check_problem(
    problem: Problem,
    implementations: Sequence[str | Implementation] | str | Implementation,
    *,
    jobs: int = 0,
) -> Results:
    """Judge implementations on a network of your own; returns what `conformance.run` does, of one case.

    `problem` has n examples and L layers:

        W      {1: W_1, …, L: W_L}, arrays; W_l is d_{l−1}×d_l; with a bias, b_l is one row more, the last
        X, Y   arrays, n×d_0 and n×d_L
        sigma  {1: "tanh", …, L: "softmax"}: names; an unknown one is refused with a list of all
        loss   its name, likewise; the targets of a cross entropy lie between 0 and 1
        bias   whether there is one
        alpha  the rate of the update; the float of X's dtype nearest to it is taken

    All arrays are float64, or all float32, and finite. They are copied first.

    Each implementation is an object with `name` and `run(problem) -> Trace`, or a string as --implementation
    takes it. Everything runs in this process; with `jobs`, strings run in as many processes of their own. The
    gates `row` and `repeat` are applied too, so that each runs four times.

    Raises ProblemError for a malformed problem, and RunError for an implementation that does not exist; both
    are ValueErrors.
    """
    asked: list[str | Implementation]
    if isinstance(implementations, Sequence) and not isinstance(implementations, str):
        asked = list(implementations)
    else:
        asked = [implementations]
    if not asked:
        raise RunError("nothing to run; expected an implementation, or its name.")
    case = Case.of(checked(problem))
    return shown(runner.run(implementations=asked, jobs=jobs, own=[case]))
