"""`conformance fuzz`: networks of any shape, drawn and judged until one deviates, and then made small.

`networks` draws a network from a source of choices; `legal` has implementations that are right, however oddly
they round; `search` runs Hypothesis over the two; `paste` writes a network as Python.
"""
