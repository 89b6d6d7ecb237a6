"""Values from JSON, held to annotations: what does not fit is said with its place.

A TypedDict says what a file holds, and no more is needed to read it. The values at one place of the type are
looked at together, a column at a time: millions of them take a second or two. Where a value stands is worked
out once it does not fit. A key that no annotation names is let be: a later program may have written it.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, chain
from operator import itemgetter
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

__all__ = ["AtLeast", "Exactly", "Having", "MisfitError", "OneOf", "as_json", "hold", "size"]

LARGEST = 2**53  # of the whole numbers: beyond, other readers of JSON round
TORN = re.compile("[\ud800-\udfff]")  # JSON can write half of a pair, and no file can hold it
DEEPEST = 20  # lists and objects within each other, where nothing is said of what they hold


class AtLeast(NamedTuple):
    """Of a number, or the name of one: not below this."""

    least: int


class Exactly(NamedTuple):
    """Of a list: so long."""

    length: int


class Having(NamedTuple):
    """Of an object: with these keys, whatever else it has."""

    keys: Sequence[str]


class OneOf(tuple[str | int, ...]):
    """Of a text or a number: one of these."""

    def __new__(cls, *among: str | int) -> OneOf:
        return super().__new__(cls, among)


class MisfitError(ValueError):
    """Where something does not fit, what it is and what was expected."""


def hold(value: Any, hint: Any) -> None:
    """Raise MisfitError where a value, or something in it, is not as an annotation has it."""
    _hold(Column([value], lambda i: ""), hint, hint)


def as_json(x: Any) -> str:
    """A value as a file has it, in a few words."""
    if isinstance(x, dict | list):
        return "an object" if isinstance(x, dict) else "a list"
    said = json.dumps(x)  # in ASCII, so that nothing in it steers a terminal
    return said if len(said) <= 60 else f"{said[:56]} …"


def size(x: float | str) -> float:
    """A number as a file has it, for ordering: a NaN is as bad as it gets."""
    v = float(x)
    return math.inf if math.isnan(v) else v


# --- columns --------------------------------------------------------------------------------------


class Column(NamedTuple):
    """The values at one place of a type, and where each of them stands in the file."""

    values: Sequence[Any]
    place: Callable[[int], str]

    def where(self, wanted: Callable[[Any], bool]) -> Column:
        """Those that are wanted."""
        at = [i for i, x in enumerate(self.values) if wanted(x)]
        return Column([self.values[i] for i in at], lambda i: self.place(at[i]))

    def having(self, key: str) -> Column:
        """The objects with a key."""
        return self.where(lambda x: key in x)

    def of(self, kinds: set[type] | frozenset[type]) -> Column:
        """Those of these kinds."""
        return self.where(lambda x: type(x) in kinds)

    def refuse(self, unfit: Callable[[Any], object], expected: str) -> None:
        """Raise MisfitError of the first that is unfit, if there is one."""
        for i, x in enumerate(self.values):
            if unfit(x):
                raise MisfitError(f"{_named(self.place(i))} is {as_json(x)}; expected {expected}.")

    def field(self, key: str, expected: str) -> Column:
        """What stands under a key of objects, each of which must have it."""
        try:
            values = list(map(itemgetter(key), self.values))
        except KeyError:
            at = next(i for i, x in enumerate(self.values) if key not in x)
            where = _named(f"{self.place(at)}.{key}")
            raise MisfitError(f"{where} is missing; expected {expected}.") from None
        return Column(values, lambda i: f"{self.place(i)}.{key}")

    def keys(self) -> Column:
        """The keys of objects."""
        return self._within(self.values, lambda place, own, k: f"a key of {_named(place)}")

    def items(self) -> Column:
        """What stands in lists, or under any key of objects."""
        if isinstance(self.values[0], list):
            return self._within(self.values, lambda place, own, k: f"{place}[{k}]")
        inner = [x.values() for x in self.values]
        return self._within(inner, lambda place, own, k: place + _step(list(own)[k]))

    def _within(self, inner: Sequence[Any], named: Callable[[str, Any, int], str]) -> Column:
        def place(i: int) -> str:
            ends = list(accumulate(map(len, inner)))
            at = bisect_right(ends, i)
            return named(self.place(at), self.values[at], i - (ends[at - 1] if at else 0))

        return Column(list(chain.from_iterable(inner)), place)


def _step(key: str) -> str:
    return f".{key}" if re.fullmatch(r"[\w.+-]+", key, re.ASCII) else f"[{as_json(key)}]"


def _named(place: str) -> str:
    return place.removeprefix(".") or "it"


# --- what is held to what -------------------------------------------------------------------------

KINDS: dict[Any, frozenset[type]] = {
    str: frozenset({str}),
    int: frozenset({int}),
    float: frozenset({int, float}),  # other writers of JSON write 1 for 1.0
    bool: frozenset({bool}),
    NoneType: frozenset({NoneType}),
    list: frozenset({list}),
    dict: frozenset({dict}),
}
WORDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    NoneType: "null", list: "a list", dict: "an object", Any: "anything",
}  # fmt: skip


def _hold(column: Column, hint: Any, whole: Any) -> None:
    """`whole` is all that may stand there, of which the hint may be a part."""
    if not column.values:
        return
    inner, marks = _unmarked(hint)
    members, found = _members(inner), set(map(type, column.values))
    if unfit := found.difference(*map(_kinds, members)):
        column.refuse(lambda x: type(x) in unfit, _expected(whole))
    for member in members:
        if len(members) == 1:
            _plain(column, member, whole)
        elif own := found & _kinds(member):
            _hold(column if own == found else column.of(own), member, whole)
    for mark in marks:
        _marked(column, found, mark, _expected(whole))


def _plain(column: Column, hint: Any, whole: Any) -> None:
    """Values of the right kind: what is in them, and whether they are whole."""
    if is_typeddict(hint):
        for key, (inner, required) in _fields(hint).items():
            own = column if required else column.having(key)
            _hold(own.field(key, _expected(inner)), inner, inner)
    elif get_origin(hint) is list:
        _hold(column.items(), *(2 * get_args(hint)))
    elif get_origin(hint) is dict:
        key, value = get_args(hint)
        _hold(column.keys(), key, key)
        _hold(column.items(), value, value)
    elif hint is Any:
        _anything(column)
    elif hint is str and not all(map(str.isascii, column.values)):
        column.refuse(TORN.search, "text, without halves of surrogate pairs")
    elif hint in (int, float) and not _finite(column.values):
        column.refuse(lambda x: not _finite([x]), _expected(whole))
    elif hint is int and max(map(abs, column.values)) > LARGEST:
        column.refuse(lambda x: abs(x) > LARGEST, "a whole number of at most 2^53")


def _marked(column: Column, found: set[type], mark: Any, expected: str) -> None:
    if isinstance(mark, OneOf):
        if not set(mark).issuperset(column.values):
            column.refuse(lambda x: x not in mark, expected)
    elif isinstance(mark, AtLeast):
        if str in found or min(column.values) < mark.least:
            column.refuse(lambda x: float(x) < mark.least, expected)
    elif isinstance(mark, Having):
        for key in mark.keys:
            column.field(key, "it there")
    elif isinstance(mark, Exactly):
        column.refuse(lambda x: len(x) != mark.length, expected)


def _anything(column: Column, deep: int = 0) -> None:
    """JSON of any kind: no NaN, no torn text, and not deeper than whoever shows it can go."""
    if not column.values:
        return
    if deep > DEEPEST:
        column.refuse(lambda x: True, f"at most {DEEPEST} lists and objects within each other")
    for kinds, hint in ((KINDS[str], str), (KINDS[float], float)):
        _hold(column.of(kinds), hint, hint)
    for kind in (list, dict):
        inner = column.of({kind})
        if inner.values:
            if kind is dict:
                _hold(inner.keys(), str, str)
            _anything(inner.items(), deep + 1)


def _finite(values: Iterable[float]) -> bool:
    try:
        return all(map(math.isfinite, values))
    except OverflowError:  # a whole number that no float holds
        return False


# --- annotations ----------------------------------------------------------------------------------


def _unmarked(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what else is said of it."""
    if get_origin(hint) is Literal:
        return str, (OneOf(*get_args(hint)),)
    marks = getattr(hint, "__metadata__", ())
    return (get_args(hint)[0] if marks else hint), marks


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _kinds(hint: Any) -> frozenset[type]:
    """The types that a reader of JSON gives to what is annotated so."""
    hint, _ = _unmarked(hint)
    if hint is Any:
        return frozenset().union(*KINDS.values())
    return KINDS[dict if is_typeddict(hint) else get_origin(hint) or hint]


@cache
def _fields(hint: Any) -> dict[str, tuple[Any, bool]]:
    """Each key of a TypedDict, with what stands under it and whether it must."""
    hints = get_type_hints(hint, include_extras=True)
    optional = {key for key, inner in hints.items() if get_origin(inner) is NotRequired}
    return {
        key: (get_args(inner)[0] if key in optional else inner, key not in optional)
        for key, inner in hints.items()
    }


def _expected(hint: Any) -> str:
    """What may stand there, in words."""
    *others, last = _choices(hint, None)
    return f"{', '.join(others)} or {last}" if others else last


def _choices(hint: Any, least: int | None) -> Iterator[str]:
    hint, marks = _unmarked(hint)
    for mark in marks:
        if isinstance(mark, OneOf):
            yield from (as_json(x) for x in mark if least is None or not float(x) < least)
            return
        if isinstance(mark, Exactly):
            yield f"a list of {mark.length}"
            return
        if isinstance(mark, AtLeast):
            least = mark.least
    for member in _members(hint):
        if member is not hint:
            yield from _choices(member, least)
        else:
            word = WORDS[dict if is_typeddict(hint) else get_origin(hint) or hint]
            yield word if least is None else f"{word} from {least} on"
