"""Is this backpropagation right? Every quantity of every layer, judged against certified truth.

`conformance.runner.run` runs a profile and returns results; `conformance.report.render` makes them a
page; `python -m conformance` does both. The flow goes one way: cases, implementations and truth, judge,
results, and whatever shows them.
"""
