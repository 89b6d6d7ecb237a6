"""The results, indexed in the ways that the sections need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from conformance.model.results import GATES, CaseRow, Implementation, Record, Result, Results
from conformance.report.numbers import size
from conformance.tools.names import brief

__all__ = [
    "DTYPES",
    "GATES",
    "QUANTITIES",
    "Judged",
    "View",
    "in_order",
    "isolate",
    "symbol",
    "where",
]

QUANTITIES = {
    "A": "A",
    "Z": "Z",
    "delta": "δ",
    "dW": "∂L/∂W",
    "W_new": "new W",
    "loss": "loss",
}
"""The quantities in the order in which they are computed, with the report's symbols."""
DTYPES = ("float64", "float32", "bfloat16", "float16")


def in_order(names: Iterable[str], order: Iterable[str]) -> list[str]:
    """Each name once: first those in `order`, in that order, then the others as they came."""
    seen = dict.fromkeys(names)
    known = [name for name in order if name in seen]
    return known + [name for name in seen if name not in known]


def symbol(quantity: str) -> str:
    return QUANTITIES.get(quantity, quantity)


def where(quantity: str, layer: int) -> str:
    """A quantity of a layer, in words. Layer 0 means the whole trace."""
    if quantity == "loss":
        return "the loss"
    return f"{symbol(quantity)} of layer {layer}" if layer else "the whole trace"


def isolate(text: str) -> str:
    """The effect of <bdi> where no element is allowed: in attributes, in SVG, in <title>."""
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"


@dataclass(frozen=True)
class Judged:
    """A result with its case and its worst record."""

    result: Result
    case: CaseRow
    worst: Record | None


@dataclass(frozen=True)
class View:
    results: Results
    judged: list[Judged] = field(init=False)
    of: dict[str, list[Judged]] = field(init=False)  # implementation -> its results

    def __post_init__(self) -> None:
        cases = {case["id"]: case for case in self.results["cases"]}
        judged = [
            Judged(
                result,
                cases[result["case"]],
                max(result["records"], key=lambda r: size(r["ratio"]), default=None),
            )
            for result in self.results["results"]
        ]
        of: dict[str, list[Judged]] = defaultdict(list)
        for j in judged:
            of[j.result["implementation"]].append(j)
        object.__setattr__(self, "judged", judged)
        object.__setattr__(self, "of", dict(of))

    @property
    def ran(self) -> list[Implementation]:
        """The implementations with something to show, in the order of the file."""
        return [i for i in self.results["implementations"] if i["status"] == "ran"]

    @cached_property
    def called(self) -> Mapping[str, str]:
        """The short name of each implementation: a file without its folders, which are shown under "Ran"."""
        return brief(i["name"] for i in self.results["implementations"])

    @property
    def gates(self) -> list[str]:
        return in_order((w["gate"] for w in self.results["summary"]["worst"]), GATES)

    @property
    def verdicts(self) -> Counter[str]:
        """How many results there are of each verdict."""
        return Counter(j.result["verdict"] for j in self.judged)

    def records(self, gate: str | None = None) -> Iterator[tuple[Judged, Record]]:
        for j in self.judged:
            for record in j.result["records"]:
                if gate is None or record["gate"] == gate:
                    yield j, record
