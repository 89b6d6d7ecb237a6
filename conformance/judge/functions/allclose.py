"""An audit of somebody's own test, `allclose(got, expected, rtol=…, atol=…)`, against a certificate.

A tolerance is too wide where planted mistakes pass, and too narrow where it accuses right code: the truth
plus one of the certificate's `draws`, each what an implementation is off by that rounds every operation.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np

from conformance.judge.functions.certificate import Certificate
from conformance.judge.functions.judged import title
from conformance.judge.functions.planted import mistakes
from conformance.judge.tolerance import LAMBDA
from conformance.model.results import Number, number
from conformance.tools.trouble import RefusedError
from conformance.truth.rounding import ROUNDED, Reals

__all__ = ["Allclose", "Audited", "audited", "read_allclose", "right_code"]


class Allclose(NamedTuple):
    """|got − expected| ≤ atol + rtol |expected| in every element, as NumPy and torch have it."""

    rtol: float
    atol: float

    def __str__(self) -> str:
        return f"rtol={self.rtol:g}, atol={self.atol:g}"

    def __call__(self, got: Reals, expected: Reals) -> bool:
        """Whether it passes."""
        return bool((np.abs(got - expected) <= self.atol + self.rtol * np.abs(expected)).all())


class Audited(TypedDict):
    """What an allclose makes of one gradient."""

    quantity: str
    planted: int  # mistakes that change this gradient
    through: list[str]  # those that the allclose lets through
    ours: list[str]  # those that the derived tolerance lets through
    accused: int  # right implementations that the allclose fails
    right: int  # of so many
    absolute: Number  # the largest derived tolerance of an element
    relative: Number  # the largest derived tolerance over the element's own size


def read_allclose(text: str) -> Allclose | None:
    """Allclose(0.01, 0.001) of "rtol=1e-2,atol=1e-3", each 0 where it is left out; None of "".

    Raises RefusedError.
    """
    if not text.strip():
        return None
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (p.strip() for p in part.partition("="))
        try:
            size = float(value)
        except ValueError:
            size = -1.0
        if name not in ("rtol", "atol") or name in found or not 0 <= size < np.inf:
            raise RefusedError(
                f"cannot read --allclose {text!r}; expected rtol=1e-2,atol=1e-3, or one of the two."
            )
        found[name] = size
    return Allclose(found.get("rtol", 0.0), found.get("atol", 0.0))


def audited(certificate: Certificate, test: Allclose) -> list[Audited]:
    """Every gradient of the certificate, where it is finite and so is what it may be off by."""
    found = []
    for quantity, exact in certificate.truth.items():
        allowed = LAMBDA * certificate.s[quantity]
        known = np.isfinite(exact.hi) & np.isfinite(exact.rad) & np.isfinite(allowed)
        if quantity[0] != "d" or not known.any():
            continue
        truth, allowed, size = exact.hi[known], allowed[known], np.abs(exact.hi[known])
        there = size > exact.rad[known]
        planted = {
            name: (M[known], (exact.distance(M) - exact.rad)[known])
            for name, M in mistakes(exact.hi, certificate.precision.storage).items()
        }
        right = right_code(certificate, quantity)
        found.append(
            Audited(
                quantity=title(quantity),
                planted=len(planted),
                through=[name for name, (M, _) in planted.items() if test(M, truth)],
                ours=[name for name, (_, off) in planted.items() if (off <= allowed).all()],
                accused=sum(not test(M[known], truth) for M in right),
                right=len(right),
                absolute=number(float(allowed.max())),
                relative=number(float((allowed[there] / size[there]).max(initial=0.0))),
            )
        )
    return found


def right_code(certificate: Certificate, quantity: tuple[str, str]) -> Reals:
    """Right implementations: what each returns for a quantity, DRAWS×its shape."""
    exact, draws = certificate.truth[quantity], certificate.draws
    if quantity not in draws:  # it is 0, whoever computes it
        return exact.hi[None]
    found = exact.hi + draws[quantity]
    if certificate.precision.compute is not None:  # stored in less than it was computed in
        found = np.asarray(ROUNDED[certificate.precision.storage](found))
    return found
