"""What is judged, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from conformance.judge.functions.allclose import Allclose
from conformance.judge.functions.candidate import Candidate, Request
from conformance.judge.functions.certificate import Certificate, Precision
from conformance.judge.functions.inputs import FAMILIES, Asked, Family, cotangents, made
from conformance.judge.functions.recording import Recording, Table, is_float
from conformance.tools.trouble import RefusedError
from conformance.truth.rounding import ROUNDED, Accuracy

__all__ = ["OWN", "Subject"]

OWN = "as it arrived"
"""The name of the cotangent that a layer received in its network."""
LOSE = {"jax": {"log1p": 60.0, "tanh": 8.0}}
"""In u: what a framework's functions may lose, where that is more than 4 (docs/tolerances.md)."""


@dataclass
class Subject:
    """A function under test and its reference.

    record     (inputs, dtype) -> the reference on a tape
    candidate  the code under test
    asked      the inputs by shape, or `given`: a user's own arrays
    wrt        inputs whose gradients are judged; empty: all floats
    families   the names of the families that are tried; empty: all
    framework  "numpy", "torch" or "jax": whose functions of one variable it calls
    allclose   a user's own test, which is audited as well
    weights    inputs that are the same in every family: a module's own parameters
    more       further sets of inputs, each with its family
    own        a user's own cotangents, for the kind `OWN`
    coherent   it is a whole network, whose layers are also judged alone: see `Certificate.choices`
    """

    name: str
    reference: str
    record: Callable[[Table, str], Recording]
    candidate: Candidate
    asked: Mapping[str, Asked] = field(default_factory=dict)
    given: Table | None = None
    wrt: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    precision: Precision = field(default_factory=lambda: Precision("float64"))
    framework: str = "numpy"
    strict: bool = False
    allclose: Allclose | None = None
    weights: Table = field(default_factory=dict)
    more: Sequence[tuple[Family, Table]] = ()
    own: Table = field(default_factory=dict)
    coherent: bool = False
    _last: tuple[Table, str, Recording] | None = field(default=None, init=False)

    def families_of(self) -> Iterator[tuple[Family, Table | None]]:
        """Each family with its inputs; None where it does not apply to these shapes."""
        storage = self.precision.storage

        def rounded(of: Table) -> Table:
            return {n: ROUNDED[storage](M) if is_float(M) else M for n, M in of.items()}

        if self.given is not None:
            own = Family("own", "inputs of your own", lambda r, s: np.zeros(s))
            yield own, rounded({**self.given, **self.weights})
            return
        for family in FAMILIES:
            if not self.families or family.name in self.families:
                inputs = made(self.asked, family, storage)
                yield family, None if inputs is None else {**inputs, **rounded(self.weights)}
        for family, table in self.more:
            if not self.families or family.name in self.families:
                yield family, rounded(table)

    def accuracy(self, name: str) -> Accuracy:
        """What one evaluation of a function of one variable may lose."""
        c = LOSE.get(self.framework, {}).get(name, 4.0)
        return Accuracy(c, 0, c, 0, 0, 0)

    def wanted(self, inputs: Table) -> tuple[str, ...]:
        """The inputs whose gradients are judged. Raises RefusedError for an input that has no gradient."""
        floats = [n for n, M in inputs.items() if is_float(M)]
        for n in self.wrt:
            if n not in floats:
                raise RefusedError(
                    f"there is no gradient by {n!r}; expected some of "
                    f"{', '.join(floats) or 'no input: none has floats'}."
                )
        return self.wrt or tuple(floats)

    def certificate(
        self, inputs: Table, kind: str, dtype: str | None = None
    ) -> tuple[Certificate, Request]:
        """The truth at inputs, and the request for the candidate."""
        precision = self.precision if dtype is None else Precision(dtype)
        recording = self._recorded(inputs, precision.storage)
        shapes = {n: y.shape for n, y in recording.outputs.items()}
        c = self.own if kind == OWN else cotangents(shapes, kind, precision.storage)
        wrt = self.wanted(inputs)
        found = Certificate(recording, c, wrt, precision, self.accuracy, self.coherent)
        return found, Request(inputs, precision.storage, c, wrt)

    def _recorded(self, inputs: Table, dtype: str) -> Recording:
        """The reference at inputs, recorded once for all cotangents, since a framework traces slowly."""
        if self._last is None or self._last[0] is not inputs or self._last[1] != dtype:
            self._last = inputs, dtype, self.record(inputs, dtype)
        return self._last[2].again()
