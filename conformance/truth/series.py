"""Taylor series to second order at many points at a time: f(a + t) = f + f' t + f''/2 t² + …"""

from __future__ import annotations

from typing import Any

from conformance.truth.pairs import Pairs, pairs

__all__ = ["Series"]


_ZERO, _ONE = Pairs.exactly(0.0), Pairs.exactly(1.0)


class Series:
    """The coefficients [f, f', f''/2], each an array of pairs; numbers combined with a series are
    constants."""

    def __init__(self, *coefficients: Any) -> None:
        self._of = coefficients

    @classmethod
    def at(cls, a: Pairs) -> Series:
        """a + t."""
        return cls(a, _ONE, _ZERO)

    def with_coefficients(self, *coefficients: Any) -> Series:
        """A series at the same points with other coefficients; those that are not given are 0."""
        return Series(*map(pairs, coefficients), *(_ZERO,) * (3 - len(coefficients)))

    def __getitem__(self, i: int) -> Pairs:
        found: Pairs = self._of[i]
        return found

    def __neg__(self) -> Series:
        return Series(*(-c for c in self._of))

    def __add__(self, other: Any) -> Series:
        b = self._beside(other)
        return Series(*(x + y for x, y in zip(self._of, b._of, strict=True)))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Series:
        return self + -self._beside(other)

    def __rsub__(self, other: Any) -> Series:
        return self._beside(other) - self

    def __mul__(self, other: Any) -> Series:
        if not isinstance(other, Series):
            return Series(*(c * other for c in self._of))
        (a, a1, a2), (b, b1, b2) = self._of, other._of
        return Series(a * b, a * b1 + a1 * b, a * b2 + a1 * b1 + a2 * b)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Series:
        """q with q·b = a, coefficient by coefficient."""
        if not isinstance(other, Series):
            return Series(*(c / other for c in self._of))
        (a, a1, a2), (b, b1, b2) = self._of, other._of
        q = a / b
        q1 = (a1 - q * b1) / b
        return Series(q, q1, (a2 - q * b2 - q1 * b1) / b)

    def exp(self) -> Series:
        """e^a (1 + a' t + (a'' + a'²)/2 t² + …)."""
        a, a1, a2 = self._of
        e = a.exp()
        return Series(e, e * a1, e * (a2 + a1 * a1 * 0.5))

    def _beside(self, other: Any) -> Series:
        return other if isinstance(other, Series) else self.with_coefficients(other)
