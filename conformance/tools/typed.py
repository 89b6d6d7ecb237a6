"""Values from JSON, held to annotations by msgspec: what does not fit is said with its place.

msgspec says whether a value fits. Which part of it does not is found by asking again of each part in turn. A
key that no annotation names is let be: a later program may have written it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from conformance.tools.trouble import MisfitError

__all__ = ["LARGEST", "among", "as_json", "fitting", "parsed", "too_deep"]

LARGEST = 2**53  # of the whole numbers: beyond, other readers of JSON round
TORN = re.compile("[\ud800-\udfff]")  # JSON can write half of a pair, and no file can hold it
DEEPEST = 20  # lists and objects within each other, where nothing is said of what they hold
MISSING = object()
T = TypeVar("T")


def among(*values: str | int) -> msgspec.Meta:
    """Of a text, or of a whole number: one of these, which follow each other."""
    said = {"among": values}
    numbers = [x for x in values if isinstance(x, int)]
    if numbers:
        return msgspec.Meta(ge=min(numbers), le=max(numbers), extra=said)
    either = "|".join(re.escape(str(x)) for x in values)
    return msgspec.Meta(pattern=rf"\A(?:{either})\Z", extra=said)


def as_json(x: Any) -> str:
    """A value as a file has it, in a few words."""
    if isinstance(x, dict | list):
        return "an object" if isinstance(x, dict) else "a list"
    said = json.dumps(x)  # in ASCII, so that nothing in it steers a terminal
    return said if len(said) <= 60 else f"{said[:56]} …"


def too_deep(x: Any, place: str, left: int = DEEPEST + 1) -> Iterator[str]:
    """What is deeper than whoever shows it can go, in a sentence each."""
    if left < 0:
        yield f"{place} is {as_json(x)}; expected at most {DEEPEST} lists and objects within each other."
    else:
        for where, inner in _inside(x, place):
            yield from too_deep(inner, where, left - 1)


def _inside(x: Any, place: str) -> Iterator[tuple[str, Any]]:
    """What stands in a list or an object, and where."""
    if isinstance(x, dict):
        yield from ((place + _step(key), inner) for key, inner in x.items())
    elif isinstance(x, list):
        yield from ((f"{place}[{i}]", inner) for i, inner in enumerate(x))


def _step(key: str) -> str:
    return f".{key}" if re.fullmatch(r"[\w.+-]+", key, re.ASCII) else f"[{as_json(key)}]"


def _said(place: str, x: Any, expected: str) -> str:
    got = "missing" if x is MISSING else as_json(x)
    return f"{place.removeprefix('.') or 'it'} is {got}; expected {expected}."


# --- JSON -----------------------------------------------------------------------------------------


def parsed(raw: bytes) -> Any:
    """What JSON says. Raises MisfitError, with the place, for what is none and for what no file can hold."""
    try:
        return msgspec.json.decode(raw)
    except RecursionError as e:
        raise MisfitError("it is too deep, lists within lists; expected a few levels.") from e
    except msgspec.DecodeError as e:
        raise MisfitError(_unreadable(raw)) from e


def _unreadable(raw: bytes) -> str:
    """Why msgspec cannot read it. Python's reader knows the place, and takes more than msgspec does."""
    try:
        text = raw.decode("utf-8")
        return next(_unwritable(json.loads(text), ""), "it is not JSON; expected JSON.")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        return f"it is not UTF-8 text, in line {line}; expected JSON."
    except json.JSONDecodeError as e:
        return f"it is {_broken(text.rstrip(), e)}; expected JSON."
    except ValueError:  # Python reads no longer ones
        return "it has a number of thousands of digits; expected fewer."


def _broken(text: str, e: json.JSONDecodeError) -> str:
    """Where text ends to be JSON."""
    if not text:
        return "empty"
    begun = text.startswith(("{", "[")) and not text.endswith(("}", "]"))
    if begun or e.pos >= len(text) or e.msg.startswith("Unterminated"):
        last = text.count("\n") + 1
        return f"cut off at its end, line {last}"
    return f"not JSON, from line {e.lineno}, column {e.colno} on"


def _unwritable(x: Any, place: str) -> Iterator[str]:
    """What JSON can say and no file of ours can: NaN, infinity, half of a surrogate pair."""
    whole = "text, without halves of surrogate pairs"
    if isinstance(x, str) and TORN.search(x):
        yield _said(place, x, whole)
    elif isinstance(x, float) and not math.isfinite(x):
        yield _said(place, x, "a finite number")
    elif isinstance(x, dict):
        for key in filter(TORN.search, x):
            yield _said(f"a key of {place.removeprefix('.') or 'it'}", key, whole)
    for where, inner in _inside(x, place):
        yield from _unwritable(inner, where)


# --- annotations ----------------------------------------------------------------------------------


def fitting(x: Any, hint: type[T]) -> T:
    """A value as an annotation has it. Raises MisfitError, with the place of what is not."""
    try:
        return msgspec.convert(x, hint)
    except msgspec.ValidationError as e:
        raise MisfitError(_misfit(x, hint, "")) from e


def _misfit(x: Any, hint: Any, place: str) -> str:
    """The first part that does not fit; where every part does, the whole."""
    for where, inner, part in _parts(x, hint, place):
        if inner is MISSING:
            return _said(where, inner, _expected(part))
        try:
            msgspec.convert(inner, part)
        except msgspec.ValidationError:
            return _misfit(inner, part, where)
    kinds = [kind for kind, _ in _members(hint)]
    if int in kinds and type(x) is int and abs(x) > LARGEST:
        return _said(place, x, "a whole number of at most 2^53")
    return _said(place, x, _expected(hint))


def _parts(x: Any, hint: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """What stands in a list or an object, where, and what should."""
    for kind, _ in _members(hint):
        origin, arguments = get_origin(kind), get_args(kind)
        if is_typeddict(kind) and isinstance(x, dict):
            for key, part in get_type_hints(kind, include_extras=True).items():
                if get_origin(part) is not NotRequired:
                    yield place + _step(key), x.get(key, MISSING), part
                elif key in x:
                    yield place + _step(key), x[key], *get_args(part)
        elif origin is dict and isinstance(x, dict):
            of = f"a key of {place.removeprefix('.') or 'it'}"
            yield from ((of, key, arguments[0]) for key in x)
            yield from ((where, inner, arguments[1]) for where, inner in _inside(x, place))
        elif origin is list and isinstance(x, list):
            yield from ((where, inner, arguments[0]) for where, inner in _inside(x, place))
        elif origin is tuple and isinstance(x, list):
            inside = zip(_inside(x, place), arguments, strict=False)
            yield from ((where, inner, part) for (where, inner), part in inside)


def _members(hint: Any) -> Iterator[tuple[Any, msgspec.Meta]]:
    """The kinds of what may stand there, each with its limits."""
    if get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from _members(member)
    elif get_origin(hint) is Annotated:
        yield get_args(hint)
    elif get_origin(hint) is Literal:
        yield str, among(*get_args(hint))
    else:
        yield hint, msgspec.Meta()


WORDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    type(None): "null", list: "a list", dict: "an object",
}  # fmt: skip


def _expected(hint: Any) -> str:
    """What may stand there, in words."""
    words: list[str] = []
    for kind, meta in _members(hint):
        if meta.extra:
            words += map(as_json, meta.extra["among"])
        elif get_origin(kind) is tuple:
            words.append(f"a list of {len(get_args(kind))}")
        else:
            word = WORDS[dict if is_typeddict(kind) else get_origin(kind) or kind]
            least = meta.ge if meta.ge != -LARGEST else None
            word += f" of {meta.min_length}" if meta.min_length else ""
            words.append(word if least is None else f"{word} from {least} on")
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
