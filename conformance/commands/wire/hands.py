"""How to use a user's network: make it, give it its weights, and ask for its gradients; each step with its
line of code.

A class is made from the widths; its weights are found among its attributes, by their shapes; and its methods
are tried, by the names of their parameters. An object with `run(p)` is called as it is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from conformance.commands.wire.leaves import at, attributes, leaves
from conformance.implementations.convention import Given
from conformance.tools.trouble import reason

__all__ = ["Diary", "Hand", "hands"]

Theirs: TypeAlias = Any
Path: TypeAlias = tuple[Any, ...]

SIZES = re.compile("size|layer|dim|width|unit|neuron|node|shape|arch|structure|topolog", re.I)
FORWARD = re.compile("forward|feed|predict|propagat|call|infer|output|run", re.I)
BACKWARD = re.compile("back|grad|delta|bprop|train|update|step|learn|fit|cost|loss", re.I)
ARGUMENTS: Sequence[tuple[str, str]] = (
    (r"^(x|xs|inputs?|data|features?|examples?|a0|batch|x_?(train|batch|i|data)?)$", "p.X"),
    (r"^(y|ys|t|targets?|labels?|expected|true|y_?(true|train|batch|i|data)?|desired.*)$", "p.Y"),
    (r"^(o|outputs?|out|y_?hat|y_?pred|preds?|predictions?|probs|a|al|a_?l|z)$", "out"),
    (r"^(cache|caches|memory|memories|activations?|acts)$", "out"),
    (r"^(lr|eta|alpha|rate|learning_?rate|step_?size)$", "p.alpha"),
)


@dataclass(frozen=True)
class Hand:
    """One way to use a user's code: `ask(p)` returns what it computed; `lines` are the body of `run`."""

    lines: tuple[str, ...]
    ask: Callable[[Given], Theirs]
    biased: bool = False  # it has places for biases


class _Slots(NamedTuple):
    """Where a network keeps its weights: the line that sets them, and the function that does it."""

    line: str
    put: Callable[[Theirs, Given], None]
    biased: bool


class Diary:
    """How far the search got, in a sentence: the latest note of the furthest step."""

    def __init__(self) -> None:
        self.step, self.text = -1, ""

    def note(self, step: int, text: str) -> None:
        """Keep the note, unless one of a later step is kept."""
        if step >= self.step:
            self.step, self.text = step, text


def hands(
    theirs: Theirs, name: str, sizes: Sequence[int], diary: Diary | None = None
) -> Iterator[Hand]:
    """Every way that may work, the likeliest first."""
    diary = diary or Diary()
    if callable(getattr(theirs, "run", None)):
        one = theirs() if isinstance(theirs, type) else theirs
        yield Hand((), one.run)
        return
    widths = "-".join(map(str, sizes))
    if not isinstance(theirs, type) and not hasattr(theirs, "__dict__"):
        diary.note(
            0, f"it is a {type(theirs).__name__}, and neither a class nor an object with run(p)"
        )
        return
    makers = list(_makers(theirs, name, sizes))
    if not makers:
        needed = ", ".join(_required(theirs))
        diary.note(0, f"{name} is made of {needed}, and not of its widths")
    for made, make in makers:
        try:
            net = make(sizes)
        except (Exception, SystemExit) as e:
            diary.note(0, f"{made} raised {reason(e)}")
            continue
        found = list(_slots(net, sizes))
        calls = list(_calls(net))
        if not found:
            diary.note(
                1,
                f"{made} was made, and keeps no weights of the widths {widths}, in any form tried",
            )
        elif not calls:
            own = ", ".join(_methods(net)) or "no method"
            diary.note(
                2,
                f"its weights were found, and no method whose name says that it has their gradients "
                f"(back, grad, delta, train, step, …): {made} has {own}",
            )
        for slots in found:
            for lines, call in calls:
                yield _hand(made, make, slots, lines, call)
        if found:
            return


def _hand(
    made: str,
    make: Callable[[Sequence[int]], Theirs],
    slots: _Slots,
    lines: tuple[str, ...],
    call: Callable[[Theirs, Given], Theirs],
) -> Hand:
    def ask(p: Given) -> Theirs:
        net = make(p.sizes)
        slots.put(net, p)
        return call(net, p)

    return Hand((f"net = {made}", slots.line, *lines), ask, slots.biased)


def _makers(
    theirs: Theirs, name: str, sizes: Sequence[int]
) -> Iterator[tuple[str, Callable[[Sequence[int]], Theirs]]]:
    """How to make the network from its widths: the line, and the function."""
    if not callable(theirs):
        yield name, lambda sizes: theirs
        return
    needed = _required(theirs)
    if len(needed) == len(sizes):
        yield f"{name}(*p.sizes)", lambda sizes: theirs(*sizes)
    named = next((n for n in _parameters(theirs) if SIZES.search(n)), "")
    if (len(needed) <= 1 and named in needed[:1]) or (needed and len(needed) == 1):
        yield f"{name}(p.sizes)", lambda sizes: theirs(sizes)
    if named and not needed:
        yield f"{name}({named}=p.sizes)", lambda sizes: theirs(**{named: sizes})
    if len(needed) == 2:
        yield f"{name}(p.sizes, p.alpha)", lambda sizes: theirs(sizes, 0.1)
    if not needed:
        yield f"{name}()", lambda sizes: theirs()


def _parameters(f: Theirs) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(f).parameters
    except (TypeError, ValueError):  # it has no signature, as some functions written in C
        return {}


def _required(f: Theirs) -> list[str]:
    return [n for n, p in _positional(f).items() if p.default is inspect.Parameter.empty]


def _positional(f: Theirs) -> Mapping[str, inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {n: p for n, p in _parameters(f).items() if p.kind in kinds}


def _wanted(f: Theirs) -> list[str]:
    """The parameters of a method: the required ones, and X and Y even if they are optional."""
    needed = _required(f)
    return [n for n in _positional(f) if n in needed or _meaning(n) in ("p.X", "p.Y")]


def _meaning(parameter: str) -> str:
    """What a parameter of that name may be; "" if nothing is known."""
    return next((what for like, what in ARGUMENTS if re.match(like, parameter, re.I)), "")


# --- where it keeps its weights -------------------------------------------------------------------


def _slots(net: Theirs, sizes: Sequence[int]) -> Iterator[_Slots]:
    """Where weights may be kept: in lists of matrices, in a dict, in attributes, or in layers with a matrix
    each."""
    kept = {k: v for k, v in attributes(net).items() if not callable(v)}
    L = len(sizes) - 1

    def fit(M: Theirs, l: int) -> bool:
        shape = np.shape(M) if hasattr(M, "shape") else ()
        return any(
            shape in ((d, sizes[l]), (sizes[l], d)) for d in (sizes[l - 1], sizes[l - 1] + 1)
        )

    def bias(b: Theirs, l: int) -> bool:
        return (
            hasattr(b, "shape") and b.size == sizes[l] and b.ndim <= 2 and 1 in (*b.shape, b.ndim)
        )

    def a_list(v: Theirs, of: Callable[[Theirs, int], bool]) -> bool:
        return isinstance(v, list) and len(v) == L and all(of(M, l) for l, M in enumerate(v, 1))

    for w in (k for k, v in kept.items() if a_list(v, fit)):
        b = next((k for k, v in kept.items() if k != w and a_list(v, bias)), "")
        yield _as_lists(w, b)
    for name, v in kept.items():
        if isinstance(v, dict) and (keys := _keys(v, fit, L)):
            yield _as_dict(name, keys, _keys(v, bias, L))
    matrices = [k for k, v in kept.items() if any(fit(v, l) for l in range(1, L + 1))]
    if len(matrices) >= L and all(fit(kept[k], l) for l, k in enumerate(matrices[:L], 1)):
        vectors = [k for k in kept if k not in matrices]
        found = [next((k for k in vectors if bias(kept[k], l)), "") for l in range(1, L + 1)]
        yield _as_attributes(matrices[:L], found if all(found) and len({*found}) == L else [])
    for name, v in kept.items():
        if isinstance(v, list) and (of := _layer_names(v, fit, bias, L)):
            yield _as_layers(name, *of)


def _as_lists(w: str, b: str) -> _Slots:
    def put(net: Theirs, p: Given) -> None:
        setattr(net, w, p.W)
        if b:
            setattr(net, b, p.b)

    return _Slots(f"net.{w}, net.{b} = p.W, p.b" if b else f"net.{w} = p.W", put, bool(b))


def _keys(d: Mapping[Any, Theirs], of: Callable[[Theirs, int], bool], L: int) -> str:
    """The letters of keys such as W1, W2; "" if there are none."""
    firsts = (m[1] for k in d if (m := re.fullmatch(r"(\D+)1", str(k))))
    layers = range(1, L + 1)
    return next(
        (k for k in firsts if all(f"{k}{l}" in d and of(d[f"{k}{l}"], l) for l in layers)), ""
    )


def _as_dict(name: str, w: str, b: str) -> _Slots:
    def put(net: Theirs, p: Given) -> None:
        getattr(net, name).update({f"{w}{l}": M for l, M in enumerate(p.W, 1)})
        if b:
            getattr(net, name).update({f"{b}{l}": v for l, v in enumerate(p.b, 1)})

    line = f'net.{name}.update({{f"{w}{{l}}": W for l, W in enumerate(p.W, 1)}}'
    more = f' | {{f"{b}{{l}}": b for l, b in enumerate(p.b, 1)}}' if b else ""
    return _Slots(line + more + ")", put, bool(b))


def _as_attributes(w: Sequence[str], b: Sequence[str]) -> _Slots:
    def put(net: Theirs, p: Given) -> None:
        for name, M in [
            *zip(w, p.W, strict=True),
            *(zip(b, p.b, strict=True) if b and p.b else ()),
        ]:
            setattr(net, name, M)

    line = f"{', '.join(f'net.{n}' for n in w)}{',' * (len(w) == 1)} = p.W"
    more = f"; {', '.join(f'net.{n}' for n in b)}{',' * (len(b) == 1)} = p.b" if b else ""
    return _Slots(line + more, put, bool(b))


def _layer_names(
    layers: Sequence[Theirs],
    fit: Callable[[Theirs, int], bool],
    bias: Callable[[Theirs, int], bool],
    L: int,
) -> tuple[str, str] | None:
    for layer in layers:
        for w, v in attributes(layer).items():
            having = [x for x in layers if hasattr(x, w)]
            if (
                len(having) == L
                and fit(v, 1)
                and all(fit(getattr(x, w), l) for l, x in enumerate(having, 1))
            ):
                of = attributes(having[0])
                b = next((k for k in of if k != w and bias(of[k], 1)), "")
                return w, b
    return None


def _as_layers(name: str, w: str, b: str) -> _Slots:
    def put(net: Theirs, p: Given) -> None:
        having = [x for x in getattr(net, name) if hasattr(x, w)]
        for i, layer in enumerate(having):
            setattr(layer, w, p.W[i])
            if b and p.b:
                setattr(layer, b, p.b[i])

    own = f'[x for x in net.{name} if hasattr(x, "{w}")]'
    line = (
        f"for layer, layer.{w}, layer.{b} in zip({own}, p.W, p.b): pass"
        if b
        else f"for layer, layer.{w} in zip({own}, p.W): pass"
    )
    return _Slots(line, put, bool(b))


# --- how gradients are asked for ------------------------------------------------------------------


def _calls(net: Theirs) -> Iterator[tuple[tuple[str, ...], Callable[[Theirs, Given], Theirs]]]:
    """Methods that may compute gradients: alone, or after one that computes the output."""
    methods = _methods(net)
    backward = sorted(
        (m for m in methods if BACKWARD.search(m)), key=lambda m: ("back" not in m, "grad" not in m)
    )
    forward = [m for m in methods if FORWARD.search(m) and not BACKWARD.search(m)]
    for b in backward:
        for f in ("", *forward):
            for given in _arguments(_wanted(getattr(net, b)), bool(f)):
                yield _call(f, b, given)


def _methods(net: Theirs) -> list[str]:
    return [
        m for m in dir(net) if (m == "__call__" or not m.startswith("_")) and _is_method(net, m)
    ]


def _is_method(net: Theirs, name: str) -> bool:
    try:
        return inspect.ismethod(getattr(net, name, None))
    except Exception:  # raised by a property
        return False


def _arguments(names: Sequence[str], after: bool) -> Iterator[tuple[str, ...]]:
    """Arguments for the parameters, by their names; else X and Y, in some order."""
    by_name = [_meaning(n) for n in names]
    if all(by_name) and (after or "out" not in by_name):
        yield tuple(by_name)
    for order in (("p.X", "p.Y"), ("p.Y",), ("p.Y", "out"), ("out", "p.Y"), ("p.X", "p.Y", "out"),
                  ("p.X", "p.Y", "p.alpha")):  # fmt: skip
        if len(order) == len(names) and (after or "out" not in order) and list(order) != by_name:
            yield order
    if not names and after:
        yield ()


def _call(
    f: str, b: str, given: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[Theirs, Given], Theirs]]:
    def call(net: Theirs, p: Given) -> Theirs:
        values: dict[str, Any] = {"p.X": p.X, "p.Y": p.Y, "p.alpha": p.alpha}
        if f:
            values["out"] = getattr(net, f)(p.X)
        before = _snapshot(net)
        returned = getattr(net, b)(*(values[g] for g in given))
        changed = {k: v for k, v in _snapshot(net).items() if not _same(v, before.get(k))}
        return returned, {k: at(net, k) for k in changed}

    asked = f"net.{b}({', '.join(given)})"
    if not f:
        return (asked,), call
    first = f"net{'' if f == '__call__' else '.' + f}(p.X)"
    return ((f"out = {first}", asked) if "out" in given else (first, asked)), call


def _snapshot(net: Theirs) -> dict[Path, Any]:
    """Copies of the arrays among the attributes of the network and of its layers."""
    return {leaf.path: leaf.value.copy() for leaf in leaves(attributes(net), layers=True)}


def _same(now: Any, before: Any) -> bool:
    return before is not None and now.shape == before.shape and bool((now == before).all())
