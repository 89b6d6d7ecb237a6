"""A grade as Gradescope's results.json, as JSON, and on a terminal."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping

from conformance.commands.grading.grade import Grade, Mistake, TestGrade

__all__ = ["FORMATS", "share_of", "summary_of"]


def gradescope(g: Grade) -> dict[str, object]:
    """results.json as Gradescope documents it: it adds up the tests' scores. No text in it is markup."""
    return {
        "execution_time": g["seconds"],
        "output": "\n\n".join(summary_of(g)),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"isolation": g["isolation"], "flags": g["flags"]},  # students do not see it
        "tests": [_row(i, t) for i, t in enumerate(g["tests"], start=1)],
    }


def _row(i: int, t: TestGrade) -> dict[str, object]:
    return {
        "name": t["name"],
        "name_format": "text",
        "number": str(i),
        "score": t["score"],
        "max_score": t["max_score"],
        "status": "passed" if t["passed"] else "failed",
        "output": "\n\n".join(_lines(t)),
        "output_format": "text",
        "visibility": t["visibility"],
        "tags": t["quantities"],
    }


def _lines(t: TestGrade) -> Iterator[str]:
    """The message about one test."""
    yield share_of(t)
    yield from map(_mistake, t["mistakes"])


def share_of(t: TestGrade) -> str:
    """How much of a test is right, in a sentence."""
    on = f"in {t['networks']} networks" if t["networks"] > 1 else "in one network"
    each = (f"{q} {n:g} of {of:g}" for q, (n, of) in t["right"].items())
    (n, of), *more = t["right"].values()
    share = f"Layers that are right, {on}: {', '.join(each)}."
    if not more:
        share = f"{n:g} of {of:g} layers are right, {on}."
    return share + (" All or nothing." if t["all_or_nothing"] and not t["passed"] else "")


def _mistake(m: Mistake) -> str:
    looks = [f"It looks like this: {text}." for text in m["looks_like"]]
    return "\n".join([m["text"], *looks])


def summary_of(g: Grade) -> Iterator[str]:
    """The message to the student about the whole. It says nothing of hidden tests."""
    yield from g["notes"]
    if g["mistakes"] and not g["notes"]:
        # what is missing for one reason is told once
        told = {
            m["text"].partition(" in the network of ")[2] or m["text"]: m
            for m in reversed(g["mistakes"])
        }
        first, *others = dict.fromkeys(map(_mistake, reversed(told.values())))
        yield "The first mistake: " + first
        yield from (f"Another: {text}" for text in others)
    if g["remarks"]:
        yield "\n".join(g["remarks"])
    if g["printed"]:
        yield "The file printed (the end of it, on one network):\n" + g["printed"]
    if all(t["passed"] for t in g["tests"] if t["visibility"] == "visible"):
        yield "Every step that is shown is right."


def as_text(g: Grade) -> str:
    """The grade for a terminal: the tests with their points, and the first mistake."""
    return "\n".join(_screen(g)) + "\n"


def _screen(g: Grade) -> Iterator[str]:
    yield f"{g['title']}: {g['file']}"
    yield ""
    width = max(len(t["name"]) for t in g["tests"])
    for t in g["tests"]:
        shown = "" if t["visibility"] == "visible" else f"  ({t['visibility']})"
        points = f"{t['score']:7.2f} of {t['max_score']:g}"
        yield f"  {t['name']:{width}}  {points:16}  {share_of(t)}{shown}"
    yield f"  {'':{width}}  {g['score']:7.2f} of {g['max_score']:g}"
    for part in summary_of(g):
        yield ""
        yield from (textwrap.fill(line, 100) for line in part.splitlines())
    yield ""
    ran = f"{g['seconds']:.1f} s, in {g['isolation']}." if g["isolation"] else "Nothing was run."
    yield textwrap.fill(ran, 100)


def as_json(g: Mapping[str, object]) -> str:
    """JSON; a NaN in it is an error."""
    return json.dumps(g, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


FORMATS: Mapping[str, Callable[[Grade], str]] = {
    "gradescope": lambda g: as_json(gradescope(g)),
    "json": as_json,
    "text": as_text,
}
