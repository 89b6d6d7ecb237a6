"""The results for a network as text for a terminal: the verdict, a line for each layer, what is wrong and
where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from conformance.commands.function.screen import MARK, worst_lines
from conformance.model.results import size

if TYPE_CHECKING:
    from conformance.judge.functions.judged import Judged
    from conformance.judge.functions.module import LayerRow, ModuleResults

__all__ = ["bad_of", "describe", "name_of", "ratio_of"]


def describe(found: ModuleResults) -> str:
    """The whole text."""
    return "\n".join(_lines(found))


def name_of(row: LayerRow) -> str:
    """The name of a layer, for a reader."""
    if row["kind"] == "shared parameters":
        return "(shared parameters)"
    return row["path"] or "(the network itself)"


def bad_of(row: LayerRow) -> list[Judged]:
    """The quantities of a layer that do not conform, each at its worst."""
    return [j for j in row["quantities"] if j["verdict"] not in ("conforms", "not-run")]


def ratio_of(row: LayerRow) -> float:
    """The largest error over tolerance of a layer."""
    return max((size(j["worst"]["ratio"]) for j in row["quantities"] if j["worst"]), default=0.0)


def _lines(found: ModuleResults) -> Iterator[str]:
    yield f"{found['verdict']}: {found['module']}: {found['message']}"
    yield ""
    shapes = ", ".join(f"{n}={s}" for n, s in found["inputs"].items())
    loss = f", loss {found['loss']}" if found["loss"] else ""
    mode = f", in {found['mode']} mode" if found["mode"] else ""
    yield f"inputs     {shapes}, {found['dtype']}{mode}{loss}"
    judged = [f["name"] for f in found["families"] if f["status"] == "judged"]
    yield f"data       {', '.join(judged)}"
    yield ""
    yield "each layer on its own operands:"
    names = [name_of(r) for r in found["layers"]]
    width = min(max(map(len, names), default=0), 48)
    for name, row in zip(names, found["layers"], strict=True):
        yield from _layer(name, width, row)
    yield ""
    yield f"as a whole: {found['whole']['verdict']}: {found['whole']['message']}"
    for finding in found["whole"]["findings"]:
        yield f"• {finding['text']}"
    for row in found["layers"]:
        if bad := bad_of(row):
            yield ""
            yield f"{name_of(row)} ({row['kind']}):"
            if row["mistake"]:
                yield f"  it looks like: {row['mistake']}" + (
                    f". {row['advice']}" if row["advice"] else ""
                )
            for j in bad:
                yield from (f"  {line}" for line in worst_lines(j))
    if found["smallest"]:
        shapes = ", ".join(f"{n}={s}" for n, s in found["smallest"].items())
        yield ""
        yield f"smallest inputs that show it: {shapes} ({found['shows']} data)"
        if found["again"]:
            yield f"  {found['again']}"
    for f in found["families"]:
        if f["status"] == "error":
            yield f"! {f['name']} data: {f['reason']}"
    skipped = [f["name"] for f in found["families"] if f["status"] == "not there"]
    if skipped:
        yield ""
        yield f"not tried, since the network does not take them: {', '.join(skipped)} data."


def _layer(name: str, width: int, row: LayerRow) -> Iterator[str]:
    mark = MARK.get(row["verdict"], "?")
    if row["reason"]:
        yield f"  {mark} {name:<{width}}  {row['kind']}: not judged: {row['reason']}"
        return
    bad = [j["quantity"] for j in bad_of(row)]
    what = f"{', '.join(bad)} on {row['wrong'] or row['sets']} of {row['sets']} sets" if bad else (
        f"at most {ratio_of(row):.2g} of the tolerance, {row['sets']} sets"
    )  # fmt: skip
    yield f"  {mark} {name:<{width}}  {row['kind']}: {row['verdict']}, {what}"
