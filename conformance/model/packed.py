"""Records of results in a tenth of the memory: a run of a hundred thousand cases has millions of them."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, overload

from conformance.model.results import Record, Result

__all__ = ["Records", "column", "packed"]

Layout = tuple[tuple[Any, ...], ...]
OF_LAYOUT = ("quantity", "layer", "gate")
OF_RECORD = ("error", "tolerance", "ratio", "ulps", "index")


@lru_cache(4096)
def _shared(layout: Layout) -> Layout:
    """A layout that was seen before, if it was: many results have the same."""
    return layout


class Records(Sequence[Record]):
    """A result's records, made anew at each use: a change to one of them is lost."""

    __slots__ = ("_layout", "_values")

    def __init__(self, layout: Iterable[tuple[Any, ...]], columns: Iterable[Sequence[Any]]) -> None:
        """The quantity, layer and gate of each record, and of each the numbers of `OF_RECORD`, by column."""
        self._layout = _shared(tuple(layout))
        self._values = marshal.dumps([*zip(*columns, strict=True)])

    @classmethod
    def of(cls, records: Sequence[Record]) -> Records:
        """Records that are made."""
        of: Any = records
        layout = (tuple(r[key] for key in OF_LAYOUT) for r in of)
        return cls(layout, ([r[key] for r in of] for key in OF_RECORD))

    def _made(self) -> list[Record]:
        each = zip(self._layout, marshal.loads(self._values), strict=True)
        return [_record(place, values) for place, values in each]

    def column(self, key: str) -> list[Any]:
        """One field of every record: without making them, which takes ten times as long."""
        if key in OF_LAYOUT:
            at = OF_LAYOUT.index(key)
            return [place[at] for place in self._layout]
        at = OF_RECORD.index(key)
        return [values[at] for values in marshal.loads(self._values)]

    def __len__(self) -> int:
        return len(self._layout)

    @overload
    def __getitem__(self, i: int) -> Record: ...
    @overload
    def __getitem__(self, i: slice) -> list[Record]: ...
    def __getitem__(self, i: int | slice) -> Record | list[Record]:
        if isinstance(i, slice):
            return self._made()[i]
        return _record(self._layout[i], marshal.loads(self._values)[i])

    def __iter__(self) -> Any:
        return iter(self._made())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._made())


def _record(place: tuple[Any, ...], values: tuple[Any, ...]) -> Record:
    made: Any = dict(zip(OF_LAYOUT + OF_RECORD, (*place, *values), strict=True))
    return made  # type: ignore[no-any-return]


def column(records: Sequence[Record], key: str) -> list[Any]:
    """One field of every record."""
    if isinstance(records, Records):
        return records.column(key)
    of: Any = records
    return [r[key] for r in of]


def packed(result: Result) -> Result:
    """The same result, with its records packed."""
    if isinstance(result["records"], Records):
        return result
    return {**result, "records": Records.of(result["records"])}
