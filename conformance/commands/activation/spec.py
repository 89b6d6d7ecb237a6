"""The question of a check: which functions, on which arguments, within which limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from conformance.commands.activation.definitions import definition
from conformance.commands.activation.messages import DTYPES
from conformance.tools.load import split
from conformance.tools.trouble import RefusedError

__all__ = ["DEFAULT_TIMEOUT", "FUNCTIONS", "CheckError", "Spec", "specification"]

FUNCTIONS = ("sigma", "derivative", "truth", "torch", "jax")
DEFAULT_TIMEOUT = 20.0  # seconds
MEMORY = 4 * 2**30  # bytes of address space for the NumPy worker
LARGEST = float(np.finfo(np.float64).max)


class CheckError(RefusedError):
    """The question cannot be checked: why, and what to do."""


@dataclass(frozen=True)
class Spec:
    """What the workers have to check. `specification` makes one, and refuses what cannot be checked."""

    given: dict[str, str] = field(
        default_factory=dict
    )  # names of functions, FILE.py:NAME, by their keys in FUNCTIONS
    kinks: dict[float, float] = field(default_factory=dict)  # σ' at kinks, as declared
    domain: tuple[float, float] = (-LARGEST, LARGEST)
    timeout: float = DEFAULT_TIMEOUT  # seconds for each worker
    memory: int = MEMORY
    network: bool = True
    inputs: str = ""  # for a σ that takes more than one array, as `conformance function` takes them
    dtype: str = ""  # the only dtype that is judged; "" for all
    folder: str = ""  # where relative paths start

    def asks(self, dtype: str) -> bool:
        """Whether this dtype is judged."""
        return self.dtype in ("", dtype)

    def decides(self, dtype: str) -> bool:
        """Whether the verdict depends on this dtype: bfloat16 is compared, but says nothing about the
        others."""
        return dtype == self.dtype if self.dtype else dtype != "bfloat16"

    @property
    def name(self) -> str:
        """The name of the activation."""
        full = next((self.given[f] for f in FUNCTIONS if f in self.given), "")
        return full.rpartition(":")[2]


def specification(
    given: Mapping[str, str],
    kinks: Mapping[float, float] | None = None,
    domain: tuple[float, float] = (-math.inf, math.inf),
    timeout: float = DEFAULT_TIMEOUT,
    network: bool = True,
    at_hand: bool = False,
    inputs: str = "",
    dtype: str = "",
) -> Spec:
    """The Spec for these names of functions. `at_hand`: the functions themselves are in this process, and
    their names are only shown. Raises CheckError and LoadError for what cannot be checked."""
    names = {f: given[f] for f in FUNCTIONS if given.get(f)}
    if not names.keys() - {"derivative"}:
        raise CheckError("there is nothing to differentiate: give σ, or a definition with --truth.")
    if dtype and dtype not in DTYPES:
        raise CheckError(f"--dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}.")
    if dtype == "bfloat16" and not names.keys() & {"torch", "jax"}:
        raise CheckError("NumPy has no bfloat16; expected --torch or --jax, or another --dtype.")
    for function, name in names.items():
        if function == "truth" and ":" not in name:
            definition(name)
        elif not at_hand:
            split(name)
    low, high = map(float, domain)
    if not low < high:
        raise CheckError(
            f"the domain {low:g}:{high:g} is empty; expected LOW:HIGH, such as -50:50."
        )
    if not 0 < timeout < math.inf:
        raise CheckError(f"a timeout of {timeout:g} s; expected seconds, such as 20.")
    stated = {float(at): float(value) for at, value in (kinks or {}).items()}
    for at, value in stated.items():
        kink = f"the kink {at:g}={value:g}"
        if not (math.isfinite(at) and math.isfinite(value)):
            raise CheckError(f"{kink} is not finite; expected X=DERIVATIVE, such as 0=0.5.")
        if not low <= at <= high:
            raise CheckError(f"{kink} lies outside the domain {low:g}:{high:g}.")
    within = max(low, -LARGEST), min(high, LARGEST)
    return Spec(names, stated, within, timeout, MEMORY, network, inputs, dtype, str(Path.cwd()))
