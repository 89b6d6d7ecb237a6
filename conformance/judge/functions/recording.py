"""What a front end makes of a function: a tape with its inputs and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.tools.trouble import RefusedError
from conformance.truth.nodes import Value
from conformance.truth.tape import Tape

__all__ = ["DTYPES", "ConstantError", "Recording", "RecordingError", "Table"]

DTYPES = ("float64", "float32", "float16", "bfloat16")
Table = Mapping[str, NDArray[Any]]


class RecordingError(RefusedError):
    """The function cannot be recorded: what it does, where, and what to write instead."""


class ConstantError(RecordingError):
    """The function depends on no input: there is no gradient to judge."""


@dataclass
class Recording:
    """A function as primitives.

    inputs   those that are recorded, by name: arrays of floats; whole numbers and masks are constants
    outputs  by name: "y" for one, "y[0]", "y[1]", … for several; a Value, or an array where it is a constant
    """

    tape: Tape
    inputs: dict[str, Value]
    outputs: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def begun(cls, inputs: Table, dtype: str) -> Recording:
        """A recording with the inputs that are floats on its tape."""
        tape = Tape(dtype=dtype)
        found = {}
        for name, M in inputs.items():
            if is_float(M):
                found[name] = tape.leaf(np.asarray(M, np.float64))
        return cls(tape, found)

    def end(self, outputs: Sequence[Any], several: bool) -> Recording:
        """Add what the function returned; leave out None, and what is not a number."""
        for i, y in enumerate(outputs):
            if isinstance(y, Value):
                self.outputs[f"y[{i}]" if several else "y"] = y
        if not self.outputs:
            raise ConstantError(
                "the function returned nothing that depends on its inputs; expected an array of floats."
            )
        return self

    def again(self) -> Recording:
        """The same recording with a copy of the tape: a reverse sweep is appended to the tape."""
        tape = replace(
            self.tape, nodes=list(self.tape.nodes), marks=dict(self.tape.marks), contributions=[]
        )

        def there(x: Value) -> Value:
            return Value(tape, x.index)

        return Recording(
            tape,
            {n: there(x) for n, x in self.inputs.items()},
            {n: there(y) for n, y in self.outputs.items()},
        )


def is_float(M: Any) -> bool:
    """Whether an input has floats, in which derivatives are taken."""
    return bool(np.issubdtype(M.dtype, np.floating)) or M.dtype.name == "bfloat16"
