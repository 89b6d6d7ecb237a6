"""Checks values from JSON against annotations, by msgspec. An error names the place of what does not fit.

msgspec says whether a value fits. Which part does not fit is found by checking each part in turn. A key that
no annotation names is ignored: a later program may have written it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
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

__all__ = ["LARGEST", "among", "as_json", "fitting", "outline", "parsed", "too_deep"]

LARGEST = 2**53  # the largest whole number: other readers of JSON round larger ones
TORN = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: valid in JSON, not in a file
DEEPEST = 20  # levels of lists and objects, where no type says what they hold
MISSING = object()
T = TypeVar("T")


def among(*values: str | int) -> msgspec.Meta:
    """The limits of a text, or of a whole number, that must be one of these values; numbers must be
    consecutive."""
    said = {"among": values}
    numbers = [x for x in values if isinstance(x, int)]
    if numbers:
        return msgspec.Meta(ge=min(numbers), le=max(numbers), extra=said)
    either = "|".join(re.escape(str(x)) for x in values)
    return msgspec.Meta(pattern=rf"\A(?:{either})\Z", extra=said)


def as_json(x: Any) -> str:
    """A value as JSON writes it, cut short; a list or an object only by its kind."""
    if isinstance(x, dict | list):
        return "an object" if isinstance(x, dict) else "a list"
    said = json.dumps(x)  # in ASCII: no character of it controls a terminal
    return said if len(said) <= 60 else f"{said[:56]} …"


def too_deep(x: Any, place: str, left: int = DEEPEST + 1) -> Iterator[str]:
    """A sentence for each value that is nested too deeply to be shown."""
    if left < 0:
        yield f"{place} is {as_json(x)}; expected at most {DEEPEST} lists and objects within each other."
    else:
        for where, inner in _inside(x, place):
            yield from too_deep(inner, where, left - 1)


def _inside(x: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The entries of a list or an object, each with its place."""
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
    """The value of a JSON text. Raises MisfitError, with the place, if it is not JSON or holds what no file
    of ours can."""
    try:
        return msgspec.json.decode(raw)
    except RecursionError as e:
        raise MisfitError("it is too deep, lists within lists; expected a few levels.") from e
    except msgspec.DecodeError as e:
        raise MisfitError(_unreadable(raw)) from e


def outline(raw: bytes, key: str) -> Any:
    """As `parsed`, but a list under that key is an iterator, which parses each entry when its turn comes:
    together they take many times the memory of the text. What does not parse raises MisfitError then."""
    try:
        parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        entries = msgspec.json.decode(parts[key], type=list[msgspec.Raw])
        of = {name: msgspec.json.decode(part) for name, part in parts.items() if name != key}
    except (msgspec.MsgspecError, RecursionError, KeyError):
        return parsed(raw)
    return {name: of[name] if name in of else _parsed_in_turn(entries, raw) for name in parts}


def _parsed_in_turn(entries: list[msgspec.Raw], raw: bytes) -> Iterator[Any]:
    for entry in entries:
        try:
            yield msgspec.json.decode(entry)
        except (msgspec.DecodeError, RecursionError):
            parsed(raw)  # raises what is wrong, with its place in the text
            raise


def _unreadable(raw: bytes) -> str:
    """Why msgspec cannot read a text. Python's reader knows the place, and accepts more than msgspec does."""
    try:
        text = raw.decode("utf-8")
        return next(_unwritable(json.loads(text), ""), "it is not JSON; expected JSON.")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        return f"it is not UTF-8 text, in line {line}; expected JSON."
    except json.JSONDecodeError as e:
        return f"it is {_broken(text.rstrip(), e)}; expected JSON."
    except ValueError:  # more digits than Python reads as one integer
        return "it has a number of thousands of digits; expected fewer."


def _broken(text: str, e: json.JSONDecodeError) -> str:
    """In words, where the text stops being valid JSON."""
    if not text:
        return "empty"
    begun = text.startswith(("{", "[")) and not text.endswith(("}", "]"))
    if begun or e.pos >= len(text) or e.msg.startswith("Unterminated"):
        last = text.count("\n") + 1
        return f"cut off at its end, line {last}"
    return f"not JSON, from line {e.lineno}, column {e.colno} on"


def _unwritable(x: Any, place: str) -> Iterator[str]:
    """A sentence for each value that JSON can express and our files cannot: NaN, infinity, half of a
    surrogate pair."""
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


def fitting(x: Any, hint: type[T], place: str = "") -> T:
    """A value converted to an annotation. Raises MisfitError, with the place of the part that does not fit;
    `place` is where the value itself is."""
    try:
        return msgspec.convert(x, hint)
    except msgspec.ValidationError as e:
        raise MisfitError(_misfit(x, hint, place)) from e


def _misfit(x: Any, hint: Any, place: str) -> str:
    """The message for the first part that does not fit; if every part fits, for the value as a whole."""
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
    """The entries of a list or an object: the place, value and annotation of each."""
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
        elif origin in (list, Sequence) and isinstance(x, list):
            yield from ((where, inner, arguments[0]) for where, inner in _inside(x, place))
        elif origin is tuple and isinstance(x, list):
            inside = zip(_inside(x, place), arguments, strict=False)
            yield from ((where, inner, part) for (where, inner), part in inside)


def _members(hint: Any) -> Iterator[tuple[Any, msgspec.Meta]]:
    """The alternatives of an annotation, each with its limits."""
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
    type(None): "null", list: "a list", Sequence: "a list", dict: "an object",
}  # fmt: skip


def _expected(hint: Any) -> str:
    """What an annotation allows, in words."""
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
