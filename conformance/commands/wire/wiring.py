"""A user's network, wired: the lines that declare its convention, and the verdict on what they declare."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import numpy as np

from conformance.commands.wire.lines import imported, written
from conformance.commands.wire.search import Searched
from conformance.implementations.convention import Convention
from conformance.judge import runner
from conformance.model.results import Summary
from conformance.tools.load import load, split
from conformance.tools.trouble import RefusedError

__all__ = ["Wiring", "judged"]


class Wiring(TypedDict):
    """The result: the lines, notes on what was found, and the verdict on what the lines declare."""

    lines: list[str]
    notes: list[str]
    summary: Summary


def judged(question: Mapping[str, str]) -> Wiring:
    """The wiring of the network that the question names. Raises RefusedError if nothing fits."""
    spec = question["network"]
    where, dotted = split(spec)
    name = dotted.rpartition(".")[2]
    if name in ("Wired", "Convention"):
        raise RefusedError(f"{spec} has the name of what is written for it; expected another one.")
    head, theirs = imported(where, dotted), load(spec)
    with _quietly():
        found = Searched(theirs, name).best()
        body = written(found, name)
    glue: dict[str, Any] = {name: theirs, "Convention": Convention}
    try:
        exec("\n".join(body), glue)
    except SyntaxError as e:
        raise RefusedError(f"{spec} has names that cannot be written in Python ({e.msg}).") from e
    made = glue["Wired"]()
    made.name = "Wired"
    with _quietly():
        results = runner.run("quick", [made], jobs=0)
    notes = list(found.notes)
    for r in (r for r in results["results"] if r["verdict"] not in ("conforms", "not-run")):
        notes += [f"{r['case']}: {r['message']}", *(f["text"] for f in r["diagnosis"])]
        break
    return Wiring(lines=[*head, *body], notes=notes, summary=results["summary"])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences the warnings and the output of the code that is tried."""
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
