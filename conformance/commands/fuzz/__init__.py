"""`conformance fuzz`: draws networks of any shape and judges them until one deviates, then makes it small.

`networks` draws a network; `legal` has implementations that are right, however oddly they round, and
`formulas` other formulas for them; `search` lets Hypothesis choose; `paste` writes a network as Python.
"""
