"""Gaussian tails and exponentials of large arguments, in float64, to a few units in the last place.

NumPy has no erfc, and e^{−u} of a rounded u is wrong by up to u/2 units in the last place: at u = 700 that is
two or three digits. So u is kept as a sum of two floats. Φ is the standard normal distribution function;
Φ(−t) is e^{−t²/2} times a smooth, slowly varying factor,

    R(t) = Φ(−t) e^{t²/2} = P(s) / (1 + t),    s = (t − 6)/(t + 6),    0 ≤ t ≤ 40.

P has degree 22 and interpolates (1 + t) R(t) at the 23 Chebyshev nodes of s ∈ [−1, 34/46]. Its coefficients
are solved in 400-bit ball arithmetic and rounded to float64; it is within 7e-18 of (1 + t) R(t), relatively.
The tests solve for it again and compare every coefficient. Every t here is at least 0.
"""

# mypy: disable-error-code="no-any-return"
# NumPy types the arithmetic of NDArray[Any] as Any.

from __future__ import annotations

import numpy as np

from refbp.types import Array

__all__ = ["cubic", "exp_minus", "scaled_tail", "square"]

Pair = tuple[Array, Array]

# √(8/π) and 0.044715 √(8/π), as float64 and as a leading part of few bits and the rest.
B, B_HIGH, B_LOW = 1.5957691216057308, 54830209514 / 2**35, 3.0874305383944692e-12
C, C_HIGH, C_LOW = 0.07135481627260025, 598567 / 2**23, 6.945405776830759e-08

TAIL = (
    0.45345520027112796,
    -0.08502536230577072,
    0.03981142456242982,
    -0.004373386779593226,
    -0.016141517332197368,
    0.022592467062783016,
    -0.01976647921997029,
    0.013246864154012135,
    -0.007059819421068707,
    0.0029356555179146167,
    -0.0008689946656167478,
    0.00011948965571717959,
    3.779490167737176e-05,
    -2.6353393572409072e-05,
    4.412404543912898e-06,
    1.7838116022958124e-06,
    -9.995898526491916e-07,
    -4.2913658269661417e-10,
    1.3236790158938167e-07,
    -2.0027893278270845e-08,
    -1.5639864942746644e-08,
    2.9426390752797887e-09,
    1.5695921634584025e-09,
)


def scaled_tail(t: Array) -> Array:
    """R(t) = Φ(−t) e^{t²/2}, 0 ≤ t ≤ 40."""
    s = (t - 6) / (t + 6)
    P = TAIL[-1] * s
    for c in TAIL[-2:0:-1]:
        P += c
        P *= s
    P += TAIL[0]
    return P / (1 + t)


def exp_minus(u: Array, u_low: Array | None = None) -> Pair:
    """e^{−(u + u_low)} as two factors (p, q), for 0 ≤ u ≤ 1000.

    The product may be subnormal though neither factor is. x q p, multiplied from the left, keeps every digit
    of x e^{−u} as long as that is a normal number.
    """
    m = np.minimum(u, 64)
    q = np.exp(m - u)
    if u_low is not None:
        q *= np.exp(-u_low)
    return np.exp(-m), q


def _head(t: Array) -> Array:
    """t truncated after six binary places: for t < 64 its square and its cube are exact."""
    return np.floor(64 * t) / 64


def square(t: Array) -> Pair:
    """t² as u + u_low, 0 ≤ t ≤ 40: u = h² is exact, and u_low = (t − h)(t + h) is at most 5/4."""
    h = _head(t)
    return h * h, (t - h) * (t + h)


def cubic(t: Array) -> Pair:
    """√(8/π)(t + 0.044715 t³) = B t + C t³ as u + u_low, 0 ≤ t ≤ 24: u is exact.

    Only the leading bits of B and C, 36 and 20 of them, enter u = B_high h + C_high h³.
    """
    h = _head(t)
    h3 = h * h * h
    low = (t - h) * (B + C * (t * t + t * h + h * h))
    low += B_LOW * h
    low += C_LOW * h3
    return B_HIGH * h + C_HIGH * h3, low
