"""An audit of a user's own test, `allclose(got, expected, rtol=…, atol=…)`, against a certificate.

A tolerance is too wide if planted mistakes pass it, and too narrow if right code fails it. Right code is the
truth plus one of the certificate's `draws`: the error of an implementation that rounds every operation.
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
    """|got − expected| ≤ atol + rtol |expected| in every element, as NumPy and torch define it."""

    rtol: float
    atol: float

    def __str__(self) -> str:
        return f"rtol={self.rtol:g}, atol={self.atol:g}"

    def __call__(self, got: Reals, expected: Reals) -> bool:
        """Whether `got` passes."""
        return bool((np.abs(got - expected) <= self.atol + self.rtol * np.abs(expected)).all())


class Audited(TypedDict):
    """How an allclose judges one gradient."""

    quantity: str
    planted: int  # mistakes that change this gradient
    through: list[str]  # those that the allclose lets through
    ours: list[str]  # those that the derived tolerance lets through
    accused: int  # right implementations that the allclose fails
    right: int  # right implementations, all together
    absolute: Number  # the largest derived tolerance of an element
    relative: Number  # the largest derived tolerance over the element's own size


def read_allclose(text: str) -> Allclose | None:
    """Allclose(0.01, 0.001) for "rtol=1e-2,atol=1e-3"; a part that is left out is 0; None for "".

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
    """The audit of every gradient of the certificate, at the elements where it and its tolerance are
    finite."""
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
    """What right implementations return for a quantity, DRAWS×its shape."""
    exact, draws = certificate.truth[quantity], certificate.draws
    if quantity not in draws:  # it is 0 in every implementation
        return exact.hi[None]
    found = exact.hi + draws[quantity]
    if certificate.precision.compute is not None:  # stored with fewer bits than it was computed in
        found = np.asarray(ROUNDED[certificate.precision.storage](found))
    return found
