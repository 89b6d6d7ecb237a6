"""The step gate for a user's own network: each layer on its own operands.

A `Layer` is one call of a layer as it happened: its operands, its results, the cotangents that it received
and the gradients that it returned. Its own code is recorded at these operands, so that a wrong layer is
named, and nothing after it is blamed. A parameter that several calls use has one gradient, the sum of their
contributions: it is compared with the sum of the truths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from conformance.judge.functions.candidate import Array, Candidate, Ran, Request
from conformance.judge.functions.certificate import Certificate, Precision
from conformance.judge.functions.judged import Held, Judged, Known, judged, title, usual_size
from conformance.judge.functions.recording import ConstantError, Recording, Table
from conformance.judge.functions.subject import OWN
from conformance.tools.trouble import RefusedError
from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Accuracy, Reals

__all__ = [
    "Layer",
    "Part",
    "UnseparableError",
    "alike",
    "judge_layers",
    "titled",
    "titled_candidate",
]


class UnseparableError(RefusedError):
    """A network whose layers cannot be separated: why, and what to do."""


@dataclass(frozen=True)
class Layer:
    """One call of a layer.

    path        as its framework names it: encoder.layers.1.norm; "" for the whole
    kind        its class
    inputs      what its own code starts from, by name: operands, results of the calls inside, parameters
    outputs     what it computed, by name, as the network had them
    cotangents  what it received at the outputs
    gradients   what it returned, by the names of its inputs; those of parameters are the network's
    parameters  names of inputs that are parameters, and what the network calls them
    record      (inputs, dtype) -> its own code on a tape, whose outputs have these names
    candidate   its own code, to be run again
    """

    path: str
    kind: str
    inputs: Table
    outputs: Mapping[str, Array]
    cotangents: Table
    gradients: Mapping[str, Array]
    parameters: Mapping[str, str]
    record: Callable[[Table, str], Recording]
    candidate: Candidate


@dataclass
class Part:
    """The judgement of a layer: a row for each quantity, or why there is none."""

    layer: Layer | None  # None for parameters that several layers share
    rows: list[Judged]
    refused: Exception | None = None
    usual: dict[str, float] = field(default_factory=dict)  # the usual size of each quantity's rows


@dataclass
class _Open:
    """A layer that is recorded, and the parameters that its own code uses."""

    part: Part
    known: Known | None = None  # what its rows are compared with
    # by the network's name of a parameter: the layer's own name
    uses: dict[str, str] = field(default_factory=dict)


def judge_layers(
    layers: Sequence[Layer],
    parameters: Mapping[str, Array],
    precision: Precision,
    accuracy: Callable[[str], Accuracy],
    family: str,
) -> list[Part]:
    """Judge each layer, and then the parameters that several use."""
    recorded = [_recorded(layer, parameters, precision, accuracy) for layer in layers]
    users: dict[str, list[_Open]] = {}
    for r in recorded:
        for name in r.uses:
            users.setdefault(name, []).append(r)
    lost = {  # parameters that a layer which could not be recorded may use as well
        n
        for r in recorded
        if r.part.refused is not None and r.part.layer is not None
        for n in r.part.layer.parameters.values()
    }
    for r in recorded:
        if r.known is None or r.part.layer is None:
            continue
        layer = r.part.layer
        alone = {
            own: parameters[n] for n, own in r.uses.items() if len(users[n]) == 1 and n not in lost
        }
        ran = Ran(layer.outputs, {**layer.gradients, **alone})
        try:
            r.part.rows = judged(r.known, ran, family, OWN)
            if any(j["verdict"] == "deviates" for j in r.part.rows):
                _must_be_its_own(layer, ran, precision)
            r.part.usual = {title(q): usual_size(exact) for q, exact in r.known.truth.items()}
        except Exception as e:
            r.part.rows, r.part.refused = [], e
            lost |= r.uses.keys()
    shared = []
    for name, of in users.items():
        if len(of) > 1 and name not in lost:
            shared += _of_shared(name, of, parameters[name], precision, family)
    return [*(r.part for r in recorded), *([Part(None, shared)] if shared else [])]


def _must_be_its_own(layer: Layer, ran: Ran, precision: Precision) -> None:
    """Check that the layer, run again at the same operands, returns the same except for rounding.

    Raises UnseparableError if it does not: then it depends on more than its operands.
    """
    wrt = tuple(n for n, a in ran.gradients.items() if a is not None)
    request = Request(layer.inputs, precision.storage, layer.cotangents, wrt)
    again = layer.candidate(request)
    for of, now in ((ran.outputs, again.outputs), (ran.gradients, again.gradients)):
        for n, a in of.items():
            b = now.get(n)
            if a is not None and not alike(
                a.numbers, 0 * a.numbers if b is None else b.numbers, precision.u
            ):
                raise UnseparableError(
                    f"asked again at the same operands, it gives another {n}: it depends on more than what "
                    "it is given as tensors, such as an object or an attribute that holds some, or random "
                    "numbers; expected tensors, in tuples, lists and dicts."
                )


def alike(a: Reals, b: Reals, u: float) -> bool:
    """Whether two arrays are equal except for rounding: another layout in memory may get another kernel."""
    room = 2.0**13 * u * np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
    return a.shape == b.shape and np.allclose(a, b, rtol=0.0, atol=room, equal_nan=True)


def titled(titles: Sequence[str], found: Recording) -> Recording:
    """A recording of several outputs, with these names for them."""
    return replace(found, outputs={titles[_place(n)]: y for n, y in found.outputs.items()})


def titled_candidate(titles: Sequence[str], f: Candidate) -> Candidate:
    """A candidate with several outputs, with these names for them."""
    at = {name: f"y[{i}]" for i, name in enumerate(titles)}

    def ask(request: Request) -> Ran:
        ran = f(replace(request, cotangents={at[n]: M for n, M in request.cotangents.items()}))
        return replace(ran, outputs={titles[_place(n)]: a for n, a in ran.outputs.items()})

    return ask


def _place(name: str) -> int:
    """3 for "y[3]"."""
    return int(name[2:-1])


def _recorded(
    layer: Layer,
    parameters: Mapping[str, Array],
    precision: Precision,
    accuracy: Callable[[str], Accuracy],
) -> _Open:
    part = Part(layer, [])
    try:
        recording = layer.record(layer.inputs, precision.storage)
    except ConstantError:  # no output depends on an input: every gradient must be 0
        zero = {("d", n): np.zeros(a.numbers.shape) for n, a in layer.gradients.items()}
        return _Open(part, Held({q: Enclosure(z, z, z) for q, z in zero.items()}, zero, precision))
    except Exception as e:  # raised by the code, or unknown to the tape
        part.refused = e
        return _Open(part)
    try:
        reached = _reached(recording)
        uses = {
            whole: own
            for own, whole in layer.parameters.items()
            if own in reached and whole in parameters
        }
        wrt = (*layer.gradients, *uses.values())
        certificate = Certificate(recording, layer.cotangents, wrt, precision, accuracy)
        _ = certificate.s
    except Exception as e:
        part.refused = e
        return _Open(part)
    return _Open(part, certificate, uses)


def _reached(recording: Recording) -> set[str]:
    """The inputs that an output depends on."""
    needed = {y.index for y in recording.outputs.values()}
    for i in range(max(needed, default=-1), -1, -1):
        if i in needed:
            needed.update(recording.tape.nodes[i].operands)
    return {n for n, x in recording.inputs.items() if x.index in needed}


def _of_shared(
    name: str, of: Sequence[_Open], got: Array, precision: Precision, family: str
) -> list[Judged]:
    quantity = "d", name
    parts = [(r.known, ("d", r.uses[name])) for r in of if r.known is not None]
    truth = reduce(_added, (c.truth[q] for c, q in parts))
    sizes = sum(np.abs(c.truth[q].hi) for c, q in parts)
    s = reduce(np.hypot, [c.s[q] for c, q in parts])
    rounding = precision.u * sizes * np.sqrt(len(parts) - 1)
    found = Held({quantity: truth}, {quantity: np.hypot(s, rounding)}, precision)
    return judged(found, Ran({}, {name: got}), family, OWN)


def _added(a: Enclosure, b: Enclosure) -> Enclosure:
    """An enclosure of the sums. Knuth's two-sum gives the rounding error."""
    hi = a.hi + b.hi
    t = hi - a.hi
    left = (a.hi - (hi - t)) + (b.hi - t)
    lo = left + a.lo + b.lo
    lost = 2.0**-52 * (np.abs(left) + np.abs(a.lo) + np.abs(b.lo))
    return Enclosure(hi, lo, a.rad + b.rad + lost)
