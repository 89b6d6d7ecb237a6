"""Which cases are run: the profiles, samples of cases, selections by field, and one case by its id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from conformance.cases.catalogue import DEPTHS, DTYPES, EVERY, FAMILIES, Case, CaseError
from conformance.model.results import CaseRow
from conformance.tools.names import unknown

__all__ = ["PROFILES", "cases", "covering", "find", "select", "spanning"]

PROFILES = {
    "quick": "a covering sample: every activation, depth, batch size, dtype, loss and family",
    "standard": "the full product of activations, depths, batch sizes and dtypes, and every family",
    "exhaustive": "standard, and the product again with ten more seeds and other widths, and big networks",
}
ONLY_EXHAUSTIVE = ("seeds", "big")


def cases(profile: str) -> list[Case]:
    """The cases of a profile, in order. Raises CaseError for an unknown one."""
    if profile not in PROFILES:
        raise CaseError(unknown("profile", profile, PROFILES))
    names = [f for f in FAMILIES if profile == "exhaustive" or f not in ONLY_EXHAUSTIVE]
    everything = [case for name in names for case in FAMILIES[name].members(name)]
    return covering(everything) if profile == "quick" else everything


def find(case_id: str, own: Sequence[Case] = ()) -> Case:
    """The case of that id, among a user's own or of any profile. Raises CaseError, with the nearest id, if
    there is none."""
    among = {c.id: c for c in own} or _by_id()
    if case_id not in among:
        raise CaseError(unknown("case", case_id, among))
    return among[case_id]


@cache
def _by_id() -> Mapping[str, Case]:
    return {c.id: c for c in cases("exhaustive")}


# --- samples --------------------------------------------------------------------------------------

TANH = {  # for `typical`, the batch and dtype with which `quick` has tanh at each depth
    L: (n, DTYPES[i % 2]) for i, (L, n) in enumerate(zip(DEPTHS, (7, 64, 2, 1, 2, 1), strict=True))
}
TELLING = {"square": ("tanh",), "kinks": ("relu", "hardswish", "identity")}
"""The activations that `quick` takes from these families: the others would show less."""


def covering(chosen: Sequence[Case]) -> list[Case]:
    """A sample that meets every activation in each dtype, and every depth, batch size, bias, family, loss and
    output activation.

    It keeps to few shapes, since JAX compiles each operation anew for each shape: of `typical`, batches of 7
    at depth 1 or 2 for all activations, and the other depths and batch sizes for tanh alone. Of the other
    families (except `canonical`, which is kept whole) it takes the first case of each kind, in float64 and
    float32 by turns.
    """
    kept: list[Case] = []
    seen: dict[str, set[str]] = defaultdict(set)  # by family: the kinds taken
    for c in chosen:
        if c.family == "typical":
            common = (c.depth, c.batch) == (EVERY.index(c.activation) % 2 + 1, 7)
            wanted = common or (c.activation == "tanh" and TANH[c.depth] == (c.batch, c.dtype))
        elif c.family == "canonical":
            wanted = True
        else:
            kind = _kind(c)
            turn = DTYPES[(list(FAMILIES).index(c.family) + len(seen[c.family])) % 2]
            wanted = c.dtype == turn and kind not in ("", *seen[c.family])
            if wanted:
                seen[c.family].add(kind)
        if wanted:
            kept.append(c)
    return kept


def _kind(c: Case) -> str:
    """What distinguishes the cases of a family, for `quick`; "" for a case that it leaves out."""
    match c.family:
        case "heads":
            return f"{c.output}+{c.loss}"
        case "logits":
            return f"{c.activation}>{c.output}+{c.loss}"
        case "wide":
            return str(c.batch)
        case "square" | "kinks":
            return c.activation if c.activation in TELLING[c.family] else ""
    return c.loss


SPANNED = ("activation", "depth", "batch", "dtype", "family", "loss", "output", "bias")
SHAPES = ("depth", "batch", "dtype", "loss", "bias")


def spanning(chosen: Iterable[Case], fields: Sequence[str] = SPANNED) -> list[Case]:
    """The cases, in order, that have a value in one of the fields that no earlier case has."""
    kept: list[Case] = []
    seen: set[tuple[str, object]] = set()
    for c in chosen:
        row = c.row()
        values = {(f, row[f]) for f in fields}  # type: ignore[literal-required]
        if not values <= seen:
            kept.append(c)
            seen |= values
    return kept


# --- selections -----------------------------------------------------------------------------------

FIELDS = tuple(CaseRow.__annotations__)


def select(available: Sequence[Case], wanted: str) -> list[Case]:
    """The cases whose fields are as in 'activation=tanh,depth=3'. Raises CaseError."""
    chosen = list(available)
    for part in (p.strip() for p in wanted.split(",") if p.strip()):
        field, equals, value = (s.strip() for s in part.partition("="))
        if not equals:
            raise CaseError(f"cannot read {part!r}; expected field=value, such as depth=3.")
        if field not in FIELDS:
            raise CaseError(unknown("field", field, FIELDS))
        value = value.lower() if value in ("True", "False") else value
        values = {_written(c, field) for c in available}
        if value not in values:
            raise CaseError(unknown(field, value, sorted(values)))
        chosen = [c for c in chosen if _written(c, field) == value]
    if not chosen:
        raise CaseError(f"no case has {wanted!r}: each field occurs, but not together.")
    return chosen


def _written(c: Case, field: str) -> str:
    """A field of a case as it is written on the command line: "true", "4-3-4"."""
    value = c.row()[field]  # type: ignore[literal-required]
    if isinstance(value, bool):
        return str(value).lower()
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
