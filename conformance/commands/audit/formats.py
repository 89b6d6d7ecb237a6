"""The audit as text for a terminal, as Markdown and as JSON. The page is `conformance.report.audit`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from conformance.commands.audit.document import Document, Entry, Evidence, Numbers
from conformance.report.audit import in_words
from conformance.tools.plain import plain

__all__ = ["as_json", "as_markdown", "as_text"]


def as_json(audit: Document) -> str:
    """The document itself, which `docs/audit.md` describes."""
    return json.dumps(audit, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


# ---- text ----------------------------------------------------------------------------------------


def as_text(audit: Document) -> str:
    """A line for each equation with its verdict, and how many hold."""
    width = max(len(e["id"]) for e in audit["equations"])
    lines = [f"{plain(e['id']):{width}}  {_judged(e)}" for e in audit["equations"]]
    said = [f"{plain(e['id'])}: {_line(e['warning'])}" for e in audit["equations"] if e["warning"]]
    return "\n".join([*lines, "", *said, *([""] if said else []), _headline(audit)]) + "\n"


def _headline(audit: Document) -> str:
    all_, networks = len(audit["equations"]), len(audit["networks"])
    of = f"of {all_} equation{'s' if all_ > 1 else ''}"
    return f"{plain(audit['of'])}: {in_words(audit['totals'])}, {of}, run on {networks} networks"


def _judged(e: Entry) -> str:
    """The verdict, and how the equation is meant, where that is not as numbers."""
    notation = f"notation: {_line(e['notation'])}" if e["notation"] else ""
    return "; ".join(filter(None, (_verdict(e["verdict"]), notation)))


def _verdict(verdict: Mapping[str, str]) -> str:
    """The verdict in words, with what happens elsewhere and why."""
    parts = [verdict[key] for key in ("words", "elsewhere", "cause")] + [_line(verdict["why"])]
    return "; ".join(part for part in parts if part)


def _line(text: str) -> str:
    """On one line, with every invisible character spelt out."""
    return plain(" ".join(text.splitlines()))


# ---- Markdown ------------------------------------------------------------------------------------


def as_markdown(audit: Document) -> str:
    """Markdown in which $$…$$ is mathematics, as on GitHub."""
    return "\n".join(_markdown(audit)) + "\n"


def _markdown(audit: Document) -> Iterator[str]:
    yield f"# The equation audit of {_escaped(audit['of'])}"
    yield f"\n{_escaped(_headline(audit))}.\n"
    yield "| equation | where | verdict |\n|---|---|---|"
    for e in audit["equations"]:
        verdict = _escaped(_judged(e))
        yield f"| {_code(e['id'])} | {_escaped(e['where'])} | {verdict} |"
    for e in audit["equations"]:
        yield from _section(e)


def _section(e: Entry) -> Iterator[str]:
    yield f"\n## {_code(e['id'])}"
    if e["where"]:
        yield f"\n{_escaped(e['where'])}"
    yield f"\nPrinted:\n\n{_math(e['latex'])}"
    yield f"\n**{_escaped(_judged(e))}**"
    if e["warning"]:
        yield f"\n{_escaped(e['warning'])}"
    if e["corrected_latex"]:
        yield f"\nRight:\n\n{_math(e['corrected_latex'])}"
    for evidence in e["evidence"]:
        yield from _evidence(evidence)
    if e["note"]:
        yield f"\n{_escaped(e['note'])}"
    if e["source"]:
        source = e["source"]
        yield f"\n`{source['file']}:{source['line']}`: {_code(source['text'])}"


def _evidence(e: Evidence) -> Iterator[str]:
    yield f"\nIn {_escaped(e['words'])}; layer {e['layer']}:\n\n```"
    for read in e["read"]:
        yield from _numbers(read["name"], read["numbers"])
    if e["message"]:
        yield _fenced(e["message"])
    if e["got"] is not None:
        yield from _numbers(f"printed {e['value']}", e["got"])
    yield from _numbers(f"right   {e['value']}", e["right"])
    yield "```"


def _numbers(name: str, numbers: Numbers) -> Iterator[str]:
    """A name and its rows, one under another."""
    if isinstance(numbers, dict):
        for key, M in numbers.items():
            yield from _numbers(f"{name}: {key}", M)
        return
    rows: list[Numbers] = [numbers]
    if isinstance(numbers, list) and numbers and isinstance(numbers[0], list):
        rows = numbers
    for i, row in enumerate(rows):
        yield _fenced(f"{name + ' =' if not i else ' ' * (len(name) + 2)} {_row(row)}")


def _row(row: Numbers) -> str:
    if isinstance(row, list):
        return "[" + "  ".join(_row(x) for x in row) + "]"
    return f"{row:.6g}" if isinstance(row, (int, float)) else str(row)


def _fenced(text: str) -> str:
    """A line within a ``` fence that cannot end it."""
    return _line(text).replace("```", "'''")


def _code(text: str) -> str:
    """As code; as plain text where a character of it could end the code, a table's cell, or begin HTML."""
    return _escaped(text) if re.search("[`<|]", text) else f"`{_line(text)}`"


def _escaped(text: str) -> str:
    """Text with everything escaped that is markup in Markdown or HTML."""
    text = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|$~])", r"\\\1", text)


def _math(latex: str) -> str:
    """A displayed formula; as plain text where a character of it could end the formula or begin HTML."""
    if "$" in latex or "<" in latex or not latex.strip():
        return _escaped(latex)
    return f"$$\n{_line(latex)}\n$$"
