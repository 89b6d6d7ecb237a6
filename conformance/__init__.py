"""Is this backpropagation right? Every quantity of every layer, judged against certified truth.

`run(implementation)` judges somebody's implementation: an object with `name` and `run(problem)` that
returns a `Trace`, or the name of one. `conformance.report.render` makes its results a page;
`python -m conformance` does both. The flow goes one way: cases, implementations and truth, judge,
results, and whatever shows them.

`assert_activation_conforms(sigma, sigma_prime)` is for one's own tests; `check_activation` returns the same
answer as a value. `check_problem(problem, ["refbp", mine])` judges one network of one's own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.activation.asserting import assert_activation_conforms, check_activation
    from conformance.checking import ProblemError, check_problem
    from conformance.implementations import NotRunError
    from conformance.judging import run
    from conformance.problem import Problem, Trace, with_ones

__all__ = [
    "NotRunError",
    "Problem",
    "ProblemError",
    "Trace",
    "assert_activation_conforms",
    "check_activation",
    "check_problem",
    "run",
    "with_ones",
]

_WHERE = {
    "NotRunError": "implementations",
    "Problem": "problem",
    "ProblemError": "checking",
    "Trace": "problem",
    "assert_activation_conforms": "activation.asserting",
    "check_activation": "activation.asserting",
    "check_problem": "checking",
    "run": "judging",
    "with_ones": "problem",
}


def __getattr__(name: str) -> Any:
    """Loaded when asked for: importing this package imports nothing else."""
    if name in _WHERE:
        return getattr(import_module(f"conformance.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'conformance' has no attribute {name!r}")
