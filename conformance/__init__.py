"""Is this backpropagation right? Every quantity of every layer, judged against certified truth.

`run(implementation)` judges somebody's implementation: an object with `name` and `run(problem)` that
returns a `Trace`, or the name of one. `conformance.report.render` makes its results a page;
`python -m conformance` does both. The flow goes one way: cases, implementations and truth, judge,
results, and whatever shows them.

`assert_activation_conforms(sigma, sigma_prime)` is for one's own tests; `check_activation` returns the same
answer as a value. `assert_function_conforms(f, vjp=f_vjp, inputs="x=16x32")` and `check_function` do so for
any function with a gradient that somebody wrote, `assert_module_conforms(net, input="16x32")` and
`check_module` for a network, layer by layer. `check_problem(problem, ["refbp", mine])` judges one
network of one's own.
`parametrize_cases(mine)` makes a pytest test of each case. `equation` marks an equation of one's own notes
for `conformance audit`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.commands.activation.asserting import (
        assert_activation_conforms,
        check_activation,
    )
    from conformance.commands.audit.own import equation
    from conformance.commands.function.check import assert_function_conforms, check_function
    from conformance.commands.module.check import assert_module_conforms, check_module
    from conformance.implementations import NotRunError
    from conformance.implementations.convention import Convention
    from conformance.judge.api import run
    from conformance.judge.check_problem import ProblemError, check_problem
    from conformance.model.problem import Problem, Trace, with_ones
    from conformance.pytest_plugin import parametrize_activations, parametrize_cases

__all__ = [
    "Convention",
    "NotRunError",
    "Problem",
    "ProblemError",
    "Trace",
    "assert_activation_conforms",
    "assert_function_conforms",
    "assert_module_conforms",
    "check_activation",
    "check_function",
    "check_module",
    "check_problem",
    "equation",
    "parametrize_activations",
    "parametrize_cases",
    "run",
    "with_ones",
]

_WHERE = {
    "Convention": "implementations.convention",
    "NotRunError": "implementations",
    "Problem": "model.problem",
    "ProblemError": "judge.check_problem",
    "Trace": "model.problem",
    "assert_activation_conforms": "commands.activation.asserting",
    "assert_function_conforms": "commands.function.check",
    "assert_module_conforms": "commands.module.check",
    "check_activation": "commands.activation.asserting",
    "check_function": "commands.function.check",
    "check_module": "commands.module.check",
    "check_problem": "judge.check_problem",
    "equation": "commands.audit.own",
    "parametrize_activations": "pytest_plugin",
    "parametrize_cases": "pytest_plugin",
    "run": "judge.api",
    "with_ones": "model.problem",
}


def __getattr__(name: str) -> Any:
    """Loaded when asked for: importing this package imports nothing else."""
    if name in _WHERE:
        return getattr(import_module(f"conformance.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'conformance' has no attribute {name!r}")
