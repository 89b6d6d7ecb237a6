"""Is this backpropagation right? Every quantity of every layer, judged against certified truth.

`conformance.runner.run` runs a profile and returns results; `conformance.report.render` makes them a
page; `python -m conformance` does both. The flow goes one way: cases, implementations and truth, judge,
results, and whatever shows them.

`assert_activation_conforms(sigma, sigma_prime)` is for one's own tests; `check_activation` returns the same
answer as a value.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.activation.asserting import assert_activation_conforms, check_activation

__all__ = ["assert_activation_conforms", "check_activation"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: importing this package imports nothing else."""
    if name in __all__:
        from conformance.activation import asserting

        return getattr(asserting, name)
    raise AttributeError(f"module 'conformance' has no attribute {name!r}")
