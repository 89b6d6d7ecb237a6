"""A user's own network, on every family of data: layer by layer, and as a whole.

The *step gate* judges each layer on its own operands (`layers.py`), so that the wrong layer is named; *end to
end* the whole is judged as a function of its inputs and its weights (`trial.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from conformance.judge.functions.candidate import Array
from conformance.judge.functions.inputs import FAMILIES, Asked, Family, cotangents, made, text_of
from conformance.judge.functions.judged import UNKNOWN, ZEROS_PASS, Judged, worst_verdict
from conformance.judge.functions.layers import Layer, Part, UnseparableError, judge_layers
from conformance.judge.functions.naming import named
from conformance.judge.functions.recording import Table, is_float
from conformance.judge.functions.subject import OWN, Subject
from conformance.judge.functions.trial import (
    FamilyRow,
    FunctionResults,
    exit_code_of,
    judge_function,
    refused,
    said,
    seen_elsewhere,
    with_losses,
)
from conformance.model.results import VERDICTS, Verdict, badness
from conformance.tools.trouble import RefusedError

__all__ = [
    "REDRAWN",
    "TARGET",
    "Cotangents",
    "LayerRow",
    "ModuleResults",
    "ModuleSubject",
    "judge_module",
    "network_subject",
]

FORMAT = 1
REDRAWN = "redrawn"
"""The family of ordinary inputs with newly drawn weights."""

TARGET = "target"
"""The name of the input that is the loss's target."""

Cotangents = Callable[[Mapping[str, tuple[int, ...]]], Table]
Run = Callable[[Table, Cotangents, str], tuple[list[Layer], Mapping[str, Array]]]


@dataclass(frozen=True)
class ModuleSubject:
    """A network under test.

    whole  the network as a function of its inputs and its weights
    run    (inputs, cotangents by shape, dtype) -> (its layers as they ran, the gradients of its parameters)
    mode   "train" or "eval"; "" where it has no modes
    loss   the name of the loss that follows it; "" for none
    """

    whole: Subject
    run: Run
    mode: str = ""
    loss: str = ""


def network_subject(
    whole: Subject, trained: Sequence[str], run: Run, mode: str = "", loss: str = ""
) -> ModuleSubject:
    """A network; the weights of these names have gradients. Fills in of `whole` what is the same for any
    network.

    Raises RefusedError for an input that has the name of a weight.
    """
    storage = whole.precision.storage
    ordinary = made(whole.asked, FAMILIES[0], storage) or {} if whole.given is None else whole.given
    if clash := [n for n in ordinary if n in whole.weights]:
        sizes = "x".join(map(str, ordinary[clash[0]].shape))
        raise RefusedError(
            f"the input {clash[0]} has the name of a parameter; expected it under another, such as "
            f"--input 'x={sizes}': it is handed over by its place."
        )
    floats = [n for n, M in ordinary.items() if is_float(M)]
    anew = whole.given is None and bool(whole.weights)
    subject = replace(
        whole,
        wrt=(*floats, *trained),
        families=_apart(whole.asked, whole.families),
        coherent=True,
        more=[_redrawn(ordinary, whole.weights)] if anew else (),
    )
    return ModuleSubject(subject, run, mode, loss)


def _redrawn(inputs: Table, weights: Table) -> tuple[Family, Table]:
    """Newly drawn weights, which show what the network's own weights hide, such as a factor that is 1.

    A matrix is normal with a variance of one over the numbers in a row, a vector normal about 1.
    """
    found = dict(inputs)
    for i, (name, M) in enumerate(weights.items()):
        rng = np.random.default_rng([7, i])
        found[name] = (
            rng.standard_normal(M.shape) / np.sqrt(np.prod(M.shape[1:]))
            if M.ndim > 1
            else 1 + 0.5 * rng.standard_normal(M.shape)
        )
    why = "ordinary numbers, and weights drawn anew: what those that it has hide"
    return Family(REDRAWN, why, lambda rng, shape: np.zeros(shape)), found


def _apart(asked: Mapping[str, Asked], families: Sequence[str]) -> tuple[str, ...]:
    """The families to try. If all inputs are whole numbers or masks, families differ only in their sizes."""
    if families or not asked or any(a.kind not in ("int", "bool") for a in asked.values()):
        return tuple(families)
    return (*(f.name for f in FAMILIES if f is FAMILIES[0] or f.sizes(asked)), REDRAWN)


class LayerRow(TypedDict):
    """A layer, in all its calls and on all data."""

    path: str
    kind: str
    shapes: dict[str, str]  # of its inputs and of its outputs
    quantities: list[Judged]  # each of them at its worst
    sets: int  # sets of data on which it was judged
    wrong: int  # sets of data on which something deviates
    verdict: Verdict
    reason: str  # why it was not judged
    mistake: str
    advice: str


class ModuleResults(TypedDict):
    """What `conformance module --json` writes."""

    format: int
    module: str
    mode: str
    loss: str
    dtype: str
    inputs: dict[str, str]
    families: list[FamilyRow]  # as the step gate judged them
    layers: list[LayerRow]
    whole: FunctionResults
    # the smallest inputs that show the first wrong layer; {} if none is wrong
    smallest: dict[str, str]
    shows: str  # the family of data that shows it
    verdict: Verdict
    exit_code: int
    message: str
    command: str  # runs the same again; "" where the network was given as an object
    again: str  # runs it at the smallest inputs


def judge_module(
    subject: ModuleSubject, progress: Callable[[str], None] = lambda name: None
) -> ModuleResults:
    """Judge on every family. Raises RefusedError if the network does not run on ordinary inputs."""
    with np.errstate(all="ignore"):
        families, parts = _by_layers(subject, progress)
        rows = _rows(subject, parts)
        # a layer that deviates explains the whole
        explained = all(r["verdict"] != "deviates" for r in rows)
        try:
            whole = judge_function(subject.whole, progress, explained, (ZEROS_PASS, UNKNOWN))
        except RefusedError as e:  # its layers were judged all the same
            whole = refused(subject.whole, str(e))
        smallest, shows = _smallest(subject, parts)
    verdicts = [*(r["verdict"] for r in rows if r["verdict"] != "not-run"), whole["verdict"]]
    verdicts += ["error" for f in families if f["status"] == "error"]
    verdict = "deviates" if "deviates" in verdicts else worst_verdict(verdicts)
    random = next((f["text"] for f in whole["findings"] if f["kind"] == "not-repeatable"), "")
    # no layer deviates, and there are no numbers to compare the whole with
    if random and explained:
        verdict = "error"
    return ModuleResults(
        format=FORMAT,
        module=subject.whole.name,
        mode=subject.mode,
        loss=subject.loss,
        dtype=subject.whole.precision.storage,
        inputs=whole["inputs"],
        smallest={n: text_of(a) for n, a in smallest.items()},
        shows=shows,
        families=families,
        layers=rows,
        whole=whole,
        verdict=verdict,
        exit_code=exit_code_of(verdict, subject.whole.strict),
        message=_message(verdict, rows, whole, families, random),
        command="",
        again="",
    )


# --- the step gate --------------------------------------------------------------------------------


def _by_layers(
    subject: ModuleSubject, progress: Callable[[str], None]
) -> tuple[list[FamilyRow], list[Part]]:
    whole = subject.whole
    rows: list[FamilyRow] = []
    parts: list[Part] = []
    usual: dict[str, dict[str, float]] = {}  # on the first set of data
    for family, inputs in whole.families_of():
        progress(family.name)
        row = FamilyRow(name=family.name, why=family.why, status="judged", reason="")
        rows.append(row)
        if inputs is None:
            row["status"], row["reason"] = "not there", "these inputs have no such shapes"
            continue
        try:
            found = _judged_layers(subject, inputs, family.name)
        except Exception as e:  # raised by a network at shapes that it does not accept
            if isinstance(e, UnseparableError):
                row["status"], row["reason"] = "error", str(e)
            elif len(rows) == 1:
                raise _does_not_run(e) from e
            else:
                row["status"] = "not there"
                row["reason"] = f"the network does not take them: {said(e)}"
            continue
        for part in found:
            if part.layer is None:
                continue
            plain = usual.setdefault(part.layer.path, part.usual)
            if _deviates(part):
                alone = _alone(whole, part.layer)
                part.rows = with_losses(alone, part.rows, part.layer.inputs, OWN, plain)
        parts += found
    return rows, parts


def _does_not_run(e: Exception) -> RefusedError:
    return (
        e if isinstance(e, RefusedError) else RefusedError(f"the network does not run: {said(e)}")
    )


def _alone(whole: Subject, layer: Layer) -> Subject:
    """A layer as a function of its own, at the operands that it had in the network."""
    return replace(
        whole,
        name=layer.path,
        reference=layer.path,
        record=layer.record,
        candidate=layer.candidate,
        asked={},
        given=layer.inputs,
        own=layer.cotangents,
        wrt=(*layer.gradients, *layer.parameters),
        families=(),
        weights={},
        more=(),
        coherent=False,
    )


def _smallest(subject: ModuleSubject, parts: Iterable[Part]) -> tuple[dict[str, Asked], str]:
    """The smallest inputs at which the first wrong layer is wrong, and their family of data."""
    whole = subject.whole
    bad = next((p for p in parts if p.layer is not None and _deviates(p)), None)
    if bad is None or bad.layer is None or not whole.asked:
        return {}, ""
    path, name = bad.layer.path, bad.rows[0]["family"]
    weights = _redrawn({}, whole.weights)[1] if name == REDRAWN else whole.weights
    # a family of another size has ordinary numbers
    family = next((f for f in FAMILIES if f.name == name and not f.sizes(whole.asked)), FAMILIES[0])
    sizes = next((f.sizes(whole.asked) for f in FAMILIES if f.name == name), None)
    asked = _with_sizes(whole.asked, sizes or {})

    def shown(by: Mapping[str, Asked]) -> bool:
        inputs = made(by, family, whole.precision.storage)
        try:
            found = _judged_layers(subject, {**(inputs or {}), **weights}, name)
        except Exception:  # the network does not accept such shapes
            return False
        return any(p.layer is not None and p.layer.path == path and _deviates(p) for p in found)

    own = [a.shape for name, a in asked.items() if name != TARGET]
    for n in sorted({n for shape in own for n in shape if n > 1}, reverse=True):
        for k in (1, 2):
            smaller = _with_sizes(asked, {n: k})
            if k < n and shown(smaller):
                asked = smaller
                break
    return asked, name if name == REDRAWN else family.name


def _with_sizes(asked: Mapping[str, Asked], sizes: Mapping[int, int]) -> dict[str, Asked]:
    return {name: a.sized(sizes) for name, a in asked.items()}


def _deviates(part: Part) -> bool:
    return any(j["verdict"] == "deviates" for j in part.rows)


def _judged_layers(subject: ModuleSubject, inputs: Table, family: str) -> list[Part]:
    """Run the network and judge its layers. Raises UnseparableError, and whatever the network raises."""
    whole = subject.whole
    storage = whole.precision.storage
    layers, gradients = subject.run(
        inputs, lambda shapes: cotangents(shapes, "random", storage), storage
    )
    return judge_layers(layers, gradients, whole.precision, whole.accuracy, family)


# --- one row a layer ------------------------------------------------------------------------------


def _rows(subject: ModuleSubject, parts: Iterable[Part]) -> list[LayerRow]:
    by: dict[str | None, list[Part]] = {}
    for part in parts:
        path = None if part.layer is None else part.layer.path
        by.setdefault(path, []).append(part)
    shared = by.pop(None, [])
    rows = [_row(subject, of) for of in by.values()]
    return [*rows, *([_row(subject, shared)] if shared else [])]


def _row(subject: ModuleSubject, of: list[Part]) -> LayerRow:
    layer = of[0].layer
    error = next((p.refused for p in of if p.refused is not None), None)
    rows = _seen([j for p in of for j in p.rows])
    verdicts = [j["verdict"] for j in rows if j["verdict"] != "not-run"]
    verdict = worst_verdict(verdicts)
    if error is not None and verdict != "deviates":
        verdict = "error"
    mistake, advice = "", ""
    bad = next((p for p in of if _deviates(p)), None)
    if bad is not None and bad.layer is not None:
        wrong: list[Judged] = [
            {**j, "family": "own", "cotangent": OWN} for j in bad.rows if j["verdict"] == "deviates"
        ]
        mistake, advice = named(_alone(subject.whole, bad.layer), wrong)
    return LayerRow(
        path="" if layer is None else layer.path,
        kind="shared parameters" if layer is None else layer.kind,
        shapes={} if layer is None else _shapes(layer),
        quantities=[
            max((j for j in rows if j["quantity"] == q), key=_severity)
            for q in dict.fromkeys(j["quantity"] for j in rows)
        ],
        sets=sum(bool(p.rows) for p in of),
        wrong=sum(_deviates(p) for p in of),
        verdict=verdict,
        reason="" if error is None else said(error),
        mistake=mistake,
        advice=advice,
    )


def _seen(rows: list[Judged]) -> list[Judged]:
    """The rows, without those that zeros would pass: a gradient that is 0 except for rounding, as that of a
    bias before a normalisation, is judged end to end."""
    rows = [{**j, "verdict": "not-run"} if j["reason"].endswith(ZEROS_PASS) else j for j in rows]
    return seen_elsewhere(rows, OWN, (UNKNOWN,))


def _severity(j: Judged) -> tuple[int, float]:
    """A key that sorts by verdict, and then by the size of the error."""
    return -VERDICTS.index(j["verdict"]), badness(j["verdict"], j["worst"] and j["worst"]["ratio"])


def _shapes(layer: Layer) -> dict[str, str]:
    sizes = {n: M.shape for n, M in layer.inputs.items() if n not in layer.parameters}
    sizes |= {n: a.numbers.shape for n, a in layer.outputs.items()}
    return {n: "x".join(map(str, shape)) or "scalar" for n, shape in sizes.items()}


def _message(
    verdict: Verdict,
    rows: list[LayerRow],
    whole: FunctionResults,
    families: list[FamilyRow],
    random: str,
) -> str:
    """The summary in a sentence: the wrong layers by name."""
    bad = [r for r in rows if r["verdict"] == verdict]
    right = sum(r["verdict"] == "conforms" for r in rows)
    if verdict == "conforms":
        return f"{right} layers conform, each on its own operands, and so does the whole: {whole['message']}"
    apart = next((f["reason"] for f in families if f["status"] == "error"), "")
    if not bad and apart and whole["verdict"] == "conforms":
        return f"the whole conforms, and its layers could not be judged: {apart}"
    if not bad and verdict == "error" and random:
        return f"not judged: {random}"
    if not bad:
        return f"as a whole: {whole['message']}"
    told = {"deviates": "wrong", "inaccurate": "losing digits", "undecided": "undecided"}
    what = told.get(verdict, "not judged")
    names = ", ".join(_named(r) for r in bad[:4]) + (
        f" and {len(bad) - 4} more" if len(bad) > 4 else ""
    )
    first = bad[0]
    more = first["mistake"] or first["reason"]
    others = f"{right} of {len(rows)} layers conform on their own operands"
    return f"{what}: {names}" + (f": {more.rstrip('.')}" if more else "") + f"; {others}."


def _named(r: LayerRow) -> str:
    bad = [j["quantity"] for j in r["quantities"] if j["verdict"] == r["verdict"]]
    what = f": {', '.join(bad)}" if bad else ""
    return f"{r['path'] or '(the network itself)'} ({r['kind']}){what}"
