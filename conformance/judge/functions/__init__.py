"""Functions of any kind, with gradients that somebody wrote by hand: recorded, certified, judged.

`recording.py` is what every front end gives: a tape. `from_numpy.py`, `torch_/` and `from_jax.py` read
a function onto it; nobody's derivative is read. `certificate.py` has the truth and the tolerance of a tape.
"""
