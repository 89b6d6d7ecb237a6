"""`conformance.run`: somebody's implementations judged, in one call."""

from __future__ import annotations

from conformance import runner
from conformance.implementations import Implementation
from conformance.results import Results

__all__ = ["run"]


def run(
    *implementations: str | Implementation,
    profile: str = "quick",
    select: str = "",
    jobs: int | None = None,
) -> Results:
    """Judge implementations on the cases of a profile: the results, as `conformance run` writes them.

    Each is an object with `name` and `run(problem) -> Trace`, which runs in this process, or a string as
    --implementation takes it ("student.py", "cmd:./backprop"), which runs in processes of its own, `jobs`
    of them. `select` is as in --select: "activation=tanh,depth=3". `results["summary"]` has the answer.

    Raises RunError and CaseError, both ValueErrors, for what there is not.
    """
    if not implementations:
        raise runner.RunError("nothing to run; expected an implementation, or its name.")
    return runner.run(profile, implementations, select, jobs)
