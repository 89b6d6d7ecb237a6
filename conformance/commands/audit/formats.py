"""The audit as text for a terminal, as Markdown and as JSON. The page is `conformance.report.audit`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from conformance.tools.plain import plain

__all__ = ["as_json", "as_markdown", "as_text"]


def as_json(audit: Mapping[str, Any]) -> str:
    """The document itself, which `docs/audit.md` describes."""
    return json.dumps(audit, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


# ---- text ----------------------------------------------------------------------------------------


def as_text(audit: Mapping[str, Any]) -> str:
    """A line an equation, and what was found."""
    width = max(len(e["id"]) for e in audit["equations"])
    lines = [f"{plain(e['id']):{width}}  {_verdict(e['verdict'])}" for e in audit["equations"]]
    return "\n".join([*lines, "", _headline(audit)]) + "\n"


def _headline(audit: Mapping[str, Any]) -> str:
    holds, all_ = audit["counts"].get("holds", 0), len(audit["equations"])
    word = "holds" if holds == 1 else "hold"
    told = f"{holds} of {all_} equations {word}, run on {len(audit['networks'])} networks"
    return f"{plain(audit['of'])}: {told}"


def _verdict(verdict: Mapping[str, str]) -> str:
    """In full: what, elsewhere, why."""
    parts = [verdict["words"], verdict["elsewhere"], _line(verdict["why"])]
    return "; ".join(part for part in parts if part)


def _line(text: str) -> str:
    """On one line, with nothing in it that is not seen: where lines end, a space."""
    return plain(" ".join(text.splitlines()))


# ---- Markdown ------------------------------------------------------------------------------------


def as_markdown(audit: Mapping[str, Any]) -> str:
    """Readable where Markdown has $…$ for mathematics, as on GitHub."""
    return "\n".join(_markdown(audit)) + "\n"


def _markdown(audit: Mapping[str, Any]) -> Iterator[str]:
    yield f"# The equation audit of {_escaped(audit['of'])}"
    yield f"\n{_escaped(_headline(audit))}.\n"
    yield "| equation | where | verdict |\n|---|---|---|"
    for e in audit["equations"]:
        verdict = _escaped(_verdict(e["verdict"]))
        yield f"| {_code(e['id'])} | {_escaped(e['where'])} | {verdict} |"
    for e in audit["equations"]:
        yield from _section(e)


def _section(e: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## {_code(e['id'])}"
    if e["where"]:
        yield f"\n{_escaped(e['where'])}"
    yield f"\nPrinted:\n\n{_math(e['latex'])}"
    yield f"\n**{_escaped(_verdict(e['verdict']))}**"
    if e["corrected_latex"]:
        yield f"\nRight:\n\n{_math(e['corrected_latex'])}"
    for one in e["evidence"]:
        yield from _evidence(one)
    if e["note"]:
        yield f"\n{_escaped(e['note'])}"
    if e["source"]:
        source = e["source"]
        yield f"\n`{source['file']}:{source['line']}`: {_code(source['text'])}"


def _evidence(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"\nIn {_escaped(one['words'])}; layer {one['layer']}:\n\n```"
    for read in one["read"]:
        yield from _numbers(read["name"], read["numbers"])
    if one["message"]:
        yield _fenced(one["message"])
    if one["got"] is not None:
        yield from _numbers(f"printed {one['value']}", one["got"])
    yield from _numbers(f"right   {one['value']}", one["right"])
    yield "```"


def _numbers(name: str, numbers: Any) -> Iterator[str]:
    """A name and its rows, one under another."""
    if isinstance(numbers, dict):
        for key, M in numbers.items():
            yield from _numbers(f"{name}: {key}", M)
        return
    deep = isinstance(numbers, list) and bool(numbers) and isinstance(numbers[0], list)
    rows = numbers if deep else [numbers]
    for i, row in enumerate(rows):
        yield _fenced(f"{name + ' =' if not i else ' ' * (len(name) + 2)} {_row(row)}")


def _row(row: Any) -> str:
    if isinstance(row, list):
        return "[" + "  ".join(_row(x) for x in row) + "]"
    return f"{row:.6g}" if isinstance(row, (int, float)) else str(row)


def _fenced(text: str) -> str:
    """A line that cannot end its fence."""
    return _line(text).replace("```", "'''")


def _code(text: str) -> str:
    """A name or a line of refbp as code; what could end it early, or be HTML, as text."""
    return _escaped(text) if re.search("[`<|]", text) else f"`{_line(text)}`"


def _escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|$~])", r"\\\1", text)


def _math(latex: str) -> str:
    """A displayed formula; what could end it early, as text."""
    if "$" in latex or "<" in latex or not latex.strip():
        return _escaped(latex)
    return f"$$\n{_line(latex)}\n$$"
