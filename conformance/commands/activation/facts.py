"""What the workers said, unpacked and indexed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation import evidence
from conformance.commands.activation.branches import Branch, Interval
from conformance.commands.activation.curve import Curve
from conformance.commands.activation.findings import NAMES
from conformance.tools.plain import plain_values

__all__ = ["DTYPES", "Facts"]

Reals = NDArray[np.float64]
DTYPES = ("float64", "float32", "bfloat16")
Said = Mapping[str, Any]
NETWORKS = "running networks"
"""The stage of a worker that is not the judging of the function itself."""


@dataclass
class Facts:
    """Everything known of one activation; `take` adds a line of a worker to it."""

    spec: Said
    behaviour: dict[str, list[Said]] = field(default_factory=dict)  # by function
    warnings: dict[str, list[Said]] = field(default_factory=dict)
    branches: dict[str, list[Branch]] = field(default_factory=dict)
    unsearched: dict[str, list[Interval]] = field(default_factory=dict)  # where more may be
    x: dict[str, Reals] = field(default_factory=dict)  # by dtype
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)  # by function and dtype
    values: dict[tuple[str, str], Reals] = field(default_factory=dict)
    ends: dict[tuple[str, str], Reals] = field(default_factory=dict)
    autodiff: dict[tuple[str, str], dict[str, Any]] = field(
        default_factory=dict
    )  # by framework, dtype
    unsupported: dict[str, str] = field(default_factory=dict)
    networks: list[dict[str, Any]] = field(default_factory=list)
    lookalikes: dict[str, Any] = field(default_factory=dict)
    problems: list[dict[str, Any]] = field(default_factory=list)  # raised, refused, ended, timeout
    not_run: list[dict[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, role: str, said: Said) -> None:
        """One line of a worker: its event names the method that takes it."""
        taker = getattr(self, "_" + str(said.get("event", "")).replace("-", "_"), None)
        try:
            if taker is not None:
                taker(role, plain_values(said))
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            text = f"said what cannot be read ({type(e).__name__}: {e})"
            self.problems.append({"role": role, "event": "ended", "text": text})

    def _behaviour(self, role: str, said: Said) -> None:
        self.behaviour[said["function"]] = list(said["found"])

    def _warnings(self, role: str, said: Said) -> None:
        self.warnings[said["function"]] = list(said["found"])

    def _branches(self, role: str, said: Said) -> None:
        self.branches[said["function"]] = [evidence.branch(b) for b in said["found"]]

    def _unsearched(self, role: str, said: Said) -> None:
        where = [(float.fromhex(low), float.fromhex(high)) for low, high in said["where"]]
        known = self.unsearched.get(said["function"], [])
        self.unsearched[said["function"]] = sorted({*known, *where})

    def _points(self, role: str, said: Said) -> None:
        self.x = {d: evidence.array(said[d]).astype(np.float64) for d in DTYPES}

    def _curve(self, role: str, said: Said) -> None:
        packed = {k: v for k, v in said.items() if k not in ("event", "function", "dtype")}
        self.curves[said["function"], said["dtype"]] = evidence.curve(packed)

    def _values(self, role: str, said: Said) -> None:
        key = said["function"], said["dtype"]
        self.values[key] = evidence.array(said["y"]).astype(np.float64)
        self.ends[key] = evidence.array(said["ends"]).astype(np.float64)

    def _autodiff(self, role: str, said: Said) -> None:
        arrays = {k: evidence.array(said[k]).astype(np.float64) for k in ("y", "d")}
        self.autodiff[role, said["dtype"]] = {**said, **arrays}

    def _unsupported(self, role: str, said: Said) -> None:
        self.unsupported[said["function"]] = said["text"]

    def _networks(self, role: str, said: Said) -> None:
        self.networks += said["results"]

    def _lookalikes(self, role: str, said: Said) -> None:
        arrays = {k: evidence.array(v) for k, v in said.items() if k not in ("event", "truth")}
        self.lookalikes = {**arrays, "truth": evidence.curve(said["truth"])}

    def _problem(self, role: str, said: Said) -> None:
        self.problems.append({"role": role, **said})

    _raised = _refused = _ended = _timeout = _problem

    def _not_run(self, role: str, said: Said) -> None:
        self.not_run.append({"way": role, "why": said["text"]})

    def _not_run_dtype(self, role: str, said: Said) -> None:
        self.not_run.append({"way": f"{role} {said['dtype']}", "why": said["text"]})

    def _versions(self, role: str, said: Said) -> None:
        self.versions[said["name"]] = said["version"]

    @property
    def native(self) -> dict[str, bool]:
        """Which frameworks were given a version of their own."""
        return {way: found["native"] for (way, _), found in self.autodiff.items()}

    def named(self, role: str) -> str:
        """Whose branch points they are: σ is its own definition where no other was given."""
        return NAMES["sigma" if role == "truth" and not self.spec["truth"] else role]

    @property
    def kinks_stated(self) -> dict[float, float]:
        """σ' at kinks, as declared."""
        return {float.fromhex(k): float.fromhex(v) for k, v in self.spec["kinks"].items()}
