"""Functions of any kind, with gradients that a user wrote by hand: recorded, certified, judged.

`recording.py` has what every front end returns: a tape. `numpy_/`, `torch_/` and `jax_/` record a
function on it; no user's derivative is read. `certificate.py` has the truth and the tolerance of a tape.
"""
