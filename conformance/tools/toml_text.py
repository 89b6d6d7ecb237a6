"""The text of a TOML file: on which line each field stands, and what is wrong with its syntax.

tomllib says where its parser stopped. The author of the file wants to know which field is wrong, on which
line, and what to write there: `parsed` reports a mistake in the syntax as `tools.toml.Reader` reports one in
a value.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from conformance.tools.plain import plain

__all__ = ["Places", "parsed"]


# --- the lines of fields ------------------------------------------------------------------------------

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|.', re.DOTALL
)
_HEADER = re.compile(r"(\[\[?)\s*([^\]\n#]*?)\s*\]")
_KEY = re.compile(r"([^=\n#:]*?)\s*(?:[=:\n#]|$)")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """For each header and each key outside a value: the number of its line, and the line."""
    line, depth, fresh = 1, 0, True
    lines = text.split("\n")
    for token in (match[0] for match in _TOKEN.finditer(text)):
        if fresh and not token.isspace() and token[0] != "#":
            yield line, lines[line - 1].strip()
            fresh = False
        depth = max(0, depth + (token in "[{") - (token in "]}"))
        fresh = fresh or (token == "\n" and not depth)
        line += token.count("\n")


class Places:
    """The line of each field of a file: `layers[2].W` is the W of the second [[layers]]."""

    def __init__(self, text: str) -> None:
        self.lines: dict[tuple[str, str], int] = {}  # by table and field
        self.stated: list[tuple[int, str]] = []  # line and field, in order
        self.last = max(1, text.rstrip().count("\n") + 1)
        self.headers: dict[str, int] = {}
        table, counted = "", dict[str, int]()
        for line, statement in _statements(text):
            header = _HEADER.match(statement)
            if header:
                table = self._entered(header[1] == "[[", _bare(header[2]), counted, line)
                self.headers.setdefault(table, line)
                self.stated.append((line, table))
            elif statement.startswith("["):  # a header without its closing bracket
                self.stated.append((line, _bare(statement)))
            elif key := _KEY.match(statement):
                field = _bare(key[1])
                self.stated.append((line, f"{table}.{field}" if table else field))
                for part in {field, field.partition(".")[0]}:
                    self.lines.setdefault((table, part), line)

    def _entered(self, many: bool, name: str, counted: dict[str, int], line: int) -> str:
        """The table that a header opens, as our messages name it."""
        outer, dot, inner = name.partition(".")
        if many and not dot:
            counted[outer] = counted.get(outer, 0) + 1
        table = f"{outer}[{counted[outer]}]" if outer in counted else outer
        self.lines.setdefault(("", outer), line)
        if dot:
            self.lines.setdefault((table, inner.partition(".")[0]), line)
            return f"{table}.{inner}"
        self.lines.setdefault((table, ""), line)
        return table

    def line(self, table: str, field: str) -> int:
        """The line of a field; else that of its table; else a line where the field could be."""
        name = table.partition("[")[0]
        outer, _, inner = table.rpartition(".")  # if it is an inline table, the field that holds it
        keys = (table, field), (table, ""), (outer, inner), ("", name), ("", name.partition(".")[0])
        for key in keys:
            if key != ("", "") and key in self.lines:
                return self.lines[key]
        return next(iter(self.headers.values()), self.last)

    def field(self, line: int) -> str:
        """The field of the last statement that begins on this line or before it."""
        return next((field for at, field in reversed(self.stated) if at <= line), "")

    def begins(self, line: int) -> int:
        """The line on which that statement begins."""
        return next((at for at, _ in reversed(self.stated) if at <= line), line)


def _bare(key: str) -> str:
    """A key without its quotes."""
    return ".".join(plain(part.strip().strip("\"'"))[:60] for part in key.split("."))


# --- errors of syntax ---------------------------------------------------------------------------------

Rows = Sequence[tuple[str, str]]
"""Patterns, each with our message. In a message {got} is the text that matched, {first} is ", after line N"
if the field is also on an earlier line, and {table} is an example of a header."""

_OF_VALUE: Rows = (
    (r"^(?=#|$)", "has no value; expected a number, a text in quotes, true, false or a list in brackets."),
    (r"^(True|False)\b", "is {got}; expected true or false, in small letters."),
    (r"^(None|nil|null)\b", "is {got}, which TOML has not; expected a value, or no such line."),
    (r"^[“”„‘’«»]", 'has a quote of print, {got}; expected the straight one of the keyboard: ".'),
    (r"^[−–—]", "has a dash of print, {got}; expected the minus of the keyboard: -."),
    (r"^\.\d+", "has {got}; expected a digit before the point: 0{got}."),
    (r"^[-+]\.\d+", "has {got}; expected a digit before the point, such as -0.5."),
    (r"^\(", "is in parentheses; expected brackets: [0.5, -1.0]."),
    (r"^=", "has = twice; expected it once."),
    (r"^[,;]", "has a {got} where a value is to stand; expected one value between two commas."),
    (r"^[A-Za-z_][\w.]*\(", "has {got}…) in it, a piece of a program; expected the value written out."),
    (r"^[A-Za-z_][\w-]*", 'has {got} without quotes; expected quotes around a text: "{got}".'),
    (r"^\S{1,20}", "has {got} where a value is to stand; expected a number, a text in quotes or a list."),
)  # fmt: skip
"""Messages by the text that is found where a value should begin."""
_OF_END: Rows = (
    (r"^,\s*\d", "has a decimal comma, or a list without brackets; expected 0.5 for 0,5, or [0, 5]."),
    (r"^\.", "has a point with no digit after it, or two; expected 5.0 for 5., and one point in a number."),
    (r"^[*/^+-]", "is to be worked out first; expected its value, such as 0.5 for 1/2."),
    (r"^[\]})]", "has a {got} too many; expected as many as are opened."),
    (r"^[0-9a-zA-Z_]", "is a number written wrongly, or two values; expected one, such as 0.5 or 1e-3."),
    (r"^\\(u\w{4}|x\w{2})", "has a character that is not seen, {got}; expected none: delete it."),
    (r"^\S{1,20}", "has {got} after its value; expected a new line there."),
)  # fmt: skip
"""Messages by the text that is found where a line should end."""
_OF_MESSAGE: Rows = (
    (r"Unclosed array", "misses a comma, or its closing bracket; expected [1, 2], or [[1, 2], [3, 4]]."),
    (r"Unclosed inline table", "misses a comma, or its closing brace; expected such as {epochs = 10}."),
    (r"Expected '=' after", "has no = after its name; expected field = value."),
    (r"Cannot declare", "stands a second time{first}; expected it once, and tables of a list as {table}."),
    (r"Cannot (over|mut)|Duplicate", "stands a second time{first}; expected it once: leave one out."),
    (r"at the end of a(n array| table)", "is not closed; expected a header such as {table}."),
    (r"[Ee]scaped|hex value", r"has a \ in its quotes; expected \\ for each, or single quotes around it."),
    (r"Unterminated|Expected [\"']|Illegal character '\\n'",
     "is a text that is not closed; expected quotes at its end, or three of them around several lines."),
    (r"(Illegal|invalid) character", "has a character that is not seen; expected none: delete it."),
    (r"Invalid initial character", "has no name where one is to stand; expected field = value."),
    (r"Invalid statement", "is no name in plain letters; expected field = value, or a header: {table}."),
)  # fmt: skip
"""Messages by tomllib's own message, which is all that distinguishes its errors."""


def parsed(name: str, text: str, error: type[ValueError], table: str) -> dict[str, Any]:
    """The values of a file. Raises `error`, with the line, the field and what to write there.

    `table` is a header that such a file has, as an example: [[layers]].
    """
    places = Places(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        line, rest = _stopped(text, str(e))
        message = _ours(str(e), rest, places.field(line) in places.headers)
    except RecursionError:
        line, message = _deepest(text), "is a list in too many lists; expected rows of numbers."
    except ValueError:  # more digits than Python reads as one integer
        line, digits = _longest(text)
        message = f"has a number of {digits:,} digits; expected numbers of a million at most."
    field, line = places.field(line) or "what stands there", places.begins(line)
    before = next((at for at, f in places.stated if f == field and at < line), 0)
    message = message.replace("{first}", f", after line {before}" if before else "")
    raise error(f"{name}, line {line}: {field} {message.replace('{table}', table)}")


def _stopped(text: str, theirs: str) -> tuple[int, str]:
    """The line on which tomllib stopped, by its message, and the rest of that line."""
    lines = text.split("\n")
    position = re.search(r"\(at line (\d+), column (\d+)\)$", theirs)
    if position:
        line, column = int(position[1]), int(position[2])
        return line, plain(lines[line - 1][column - 1 :]).strip()
    return max((i for i, s in enumerate(lines, 1) if s.strip()), default=1), ""


def _ours(theirs: str, rest: str, header: bool) -> str:
    """Our message for tomllib's. (Its errors have no other attributes before Python 3.14.)"""
    if header and theirs.startswith("Cannot"):
        return _first(_OF_MESSAGE, "Cannot declare")
    if theirs.startswith("Invalid value"):
        return _first(_OF_VALUE, rest)
    if theirs.startswith("Expected newline"):
        return _first(_OF_END, rest)
    return _first(_OF_MESSAGE, theirs)


def _first(rows: Rows, subject: str) -> str:
    """The message of the first row whose pattern matches."""
    for pattern, message in rows:
        if match := re.search(pattern, subject):
            return message.replace("{got}", match[0])
    return "is not TOML; expected field = value, or a header: {table}."


def _deepest(text: str) -> int:
    """The line with the most brackets."""
    lines = text.split("\n")
    return max(range(len(lines)), key=lambda i: lines[i].count("[")) + 1


def _longest(text: str) -> tuple[int, int]:
    """The line of the longest run of digits, and its length."""
    longest = max(re.finditer(r"[\d_]+", text), key=lambda m: len(m[0]))
    return text.count("\n", 0, longest.start()) + 1, sum(c.isdigit() for c in longest[0])
