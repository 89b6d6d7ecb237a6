"""What in a file is not needed to write the two procedures, for the grader to look at. It costs no points.

The file's syntax tree is read, and nothing is run. What is needed is listed, and all else is told: of imports
all but a few, of names and attributes those that lead out of the file.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence

from conformance.tools.plain import without_sequences

__all__ = ["suspicions"]

MOST = 20  # that are told
IMPORTS = re.compile(
    "__future__|abc|collections|copy|dataclasses|enum|functools|itertools|math|numbers|numpy|operator|random"
    "|string|time|typing"
)
NAMES = re.compile(
    "_*(attrgetter|builtins|breakpoint|codecs|compile|ctypes|ctypeslib|DataSource|delattr|dump|eval|exec|f2py"
    "|Formatter|ForwardRef|fromfile|fromregex|gc|genfromtxt|get_type_hints|getattr|globals|importlib|input"
    "|inspect|io|jax|load|loadtxt|locals|measure|memmap|methodcaller|modules|multiprocessing|open|open_memmap|os"
    "|path|pickle|posix|pty|rundocs|runpy|runstring|save|savetxt|savez|savez_compressed|setattr|settrace|signal"
    "|socket|subprocess|sys|threading|tofile|torch|vars)_*"
    "|__file__|(ag|co|cr|f|gi|tb)_(back|builtins|code|consts|frame|globals|locals|next)"
)
PLAIN = {
    "__add__",
    "__doc__",
    "__init__",
    "__len__",
    "__main__",
    "__matmul__",
    "__mul__",
    "__name__",
}
TEXT = re.compile(r"__\w+__|refbp|conformance|site-packages|/proc\b")
NUMBERS, LETTERS = 300, 2000  # in a file, and in one text of it: answers may be written there


def suspicions(data: bytes, allow: Sequence[str] = ()) -> list[str]:
    """Each with its line: "line 3: imports os"; none of what does not compile. `allow`: more imports."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
            found = sorted(set(_all(tree, allow)))
    except (SyntaxError, ValueError):
        return []
    except (RecursionError, MemoryError):
        return ["it is nested too deeply to be read"]
    told = [f"line {line}: {without_sequences(what, 100)}" for line, what in found]
    return told if len(told) <= MOST else [*told[:MOST], f"and {len(told) - MOST} more"]


def _all(tree: ast.AST, allow: Sequence[str]) -> Iterator[tuple[int, str]]:
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    numbers = 0
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((line, f"imports {name}") for name in _imported(node, allow))
        elif isinstance(node, ast.Name | ast.Attribute | ast.MatchClass):
            yield from ((line, f"uses {name}") for name in _used(node))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            numbers += isinstance(node.value, int | float)
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if isinstance(text, str) and any(m[0] not in PLAIN for m in TEXT.finditer(text)):
                yield line, f"has the text {text!r:.60}"
            elif isinstance(text, str) and len(text) > LETTERS:
                yield line, f"has a text of {len(text):,} letters"
    if numbers > NUMBERS:
        yield 1, f"has {numbers:,} numbers in it: are they answers?"


def _used(node: ast.Name | ast.Attribute | ast.MatchClass) -> list[str]:
    """What it reads that leads out of the file: a name, an attribute, or those of `case C(x=y)`."""
    if isinstance(node, ast.Name):
        names, private = [node.id], "__"
    elif isinstance(node, ast.MatchClass):
        names, private = node.kwd_attrs, "_"
    else:
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        names, private = [node.attr], "__" if own else "_"
    return [n for n in names if (n.startswith(private) and n not in PLAIN) or NAMES.fullmatch(n)]


def _imported(node: ast.Import | ast.ImportFrom, allow: Sequence[str]) -> Iterator[str]:
    """The modules that are imported and not needed, and names that lead out of those that are."""
    names = [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module or '.'}.{name}" for name in names]
    for name in names:
        first, *parts = name.split(".")
        needed = IMPORTS.fullmatch(first) or first in allow
        if not needed or any(map(NAMES.fullmatch, parts)):
            yield name
