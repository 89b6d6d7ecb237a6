"""The files of a user's code, by the name that a command is given. Output must not be written over them, and
a run after a change to them is another run."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

__all__ = ["beside", "digest", "named"]

MOST = 500  # at most so many files of a folder are read
COMMAND = "cmd:"


def named(name: str) -> list[Path]:
    """The files that F.py, F.py:NAME, module:NAME or cmd:PROGRAM names; none if it names no file."""
    if name.startswith(COMMAND):
        try:
            words = shlex.split(name.removeprefix(COMMAND))
        except ValueError:
            words = name.removeprefix(COMMAND).split()
        return [Path(w) for w in words if _is_file(Path(w))]
    where = name.rpartition(":")[0] or name
    if _is_file(Path(where)):
        return [Path(where)]
    return _module(where.split(".")) if all(map(str.isidentifier, where.split("."))) else []


def _module(parts: list[str]) -> list[Path]:
    """The file of a module, found without importing it."""
    top, inner = parts[0], parts[1:]
    places = [Path(top)]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec and spec.origin:
        origin = Path(spec.origin)
        places.append(origin.parent if origin.name == "__init__.py" else origin.with_suffix(""))
    for place in places:
        whole = place.joinpath(*inner)
        for path in (whole.with_suffix(".py"), whole / "__init__.py"):
            if _is_file(path):
                return [path]
    return []


def beside(name: str) -> list[Path]:
    """The files that the name names, and the Python files in their folders, which they may import."""
    files = named(name)
    for folder in {path.parent for path in files}:
        files += islice(sorted(folder.glob("*.py")), MOST)
    return files


def digest(files: Iterable[Path]) -> str:
    """A checksum of the contents of files."""
    found = hashlib.sha256()
    for path in sorted({path.resolve() for path in files}):
        try:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            found.update(b"unreadable")
    return found.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # ValueError: a null character in the path
        return False
