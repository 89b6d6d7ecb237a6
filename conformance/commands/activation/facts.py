"""What the workers reported, indexed by function, framework and dtype."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from conformance.commands.activation import messages
from conformance.commands.activation.behaviour import Observation
from conformance.commands.activation.branches import Branch, Interval
from conformance.commands.activation.curve import Curve
from conformance.commands.activation.findings import NAMES
from conformance.commands.activation.spec import Spec
from conformance.truth.rounding import Reals

__all__ = ["Facts"]


@dataclass
class Facts:
    """Everything known of one activation; `take` adds a message of a worker."""

    spec: Spec
    # each with its function
    observations: list[tuple[str, Observation]] = field(default_factory=list)
    branches: dict[str, list[Branch]] = field(default_factory=dict)  # by function
    unsearched: dict[str, list[Interval]] = field(default_factory=dict)
    x: dict[str, Reals] = field(default_factory=dict)  # by dtype
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)  # by function and dtype
    values: dict[tuple[str, str], Reals] = field(default_factory=dict)
    ends: dict[tuple[str, str], Reals] = field(default_factory=dict)
    autodiff: dict[tuple[str, str], messages.Autodiff] = field(
        default_factory=dict
    )  # by framework, dtype
    unsupported: dict[str, str] = field(default_factory=dict)
    networks: list[messages.NetworkResult] = field(default_factory=list)
    lookalikes: messages.Lookalikes | None = None
    wider: messages.Wider | None = None
    problems: list[messages.Problem] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, role: str, message: messages.Message | None) -> None:
        """Add a message of the worker of that role; None adds nothing."""
        match message:
            case messages.Observed(function, observations):
                self.observations += [(function, o) for o in observations]
            case messages.Branches(function, found):
                self.branches[function] = found
            case messages.Unsearched(function, where):
                self.unsearched[function] = sorted({*self.unsearched.get(function, []), *where})
            case messages.Points():
                self.x = {d: getattr(message, d).astype(np.float64) for d in messages.DTYPES}
            case messages.Certified(function, dtype, curve):
                self.curves[function, dtype] = curve
            case messages.Values(function, dtype, y, ends):
                self.values[function, dtype] = y.astype(np.float64)
                self.ends[function, dtype] = ends.astype(np.float64)
            case messages.Autodiff():
                self.autodiff[role, message.dtype] = message
            case messages.Unsupported(function, text):
                self.unsupported[function] = text
            case messages.Networks(results):
                self.networks += results
            case messages.Lookalikes():
                self.lookalikes = message
            case messages.Problem():
                self.problems.append(replace(message, role=role))
            case messages.Wider():
                self.wider = message
            case messages.NotRun(text, dtype):
                self.not_run.append({"way": f"{role} {dtype}".rstrip(), "why": text})
            case messages.Version(name, version):
                self.versions[name] = version

    @property
    def dtype(self) -> str:
        """The dtype in which kinks and the ends of the line are examined."""
        return self.spec.dtype or "float64"

    @property
    def native(self) -> dict[str, bool]:
        """By framework: whether the user gave a version of its own for it."""
        return {way: found.native for (way, _), found in self.autodiff.items()}

    def named(self, function: str) -> str:
        """The name of a function for the reader: σ is its own definition unless another one was given."""
        return NAMES[
            "sigma" if function == "truth" and "truth" not in self.spec.given else function
        ]
