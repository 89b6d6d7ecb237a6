"""The folder of vectors: what lies where in it, and what is wrong with it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from conformance.model.exchange import VERSION, ExchangeError, read_line
from conformance.tools.files import FileError
from conformance.tools.typed import MisfitError, fitting

__all__ = [
    "FORMAT",
    "SCHEMAS",
    "Entry",
    "Index",
    "VectorsError",
    "listed",
    "read_index",
    "read_json",
]

FORMAT = "conformance-vectors"
SCHEMAS = ("index.schema.json", "vector.schema.json", "answer.schema.json")
FILE = r"\Avectors/[A-Za-z0-9][A-Za-z0-9._-]*\.json\Z"


class VectorsError(FileError):
    """A folder of vectors that cannot be written or read, or answers that cannot be."""


class Entry(TypedDict):
    """One vector in the index."""

    id: str
    file: Annotated[str, Meta(pattern=FILE)]
    why: str


class Index(TypedDict):
    """index.json."""

    format: str
    version: int
    exported_by: str
    profile: str
    select: str
    problems: str
    files: Annotated[list[Entry], Meta(min_length=1)]


def schema(name: str) -> str:
    """The text of a published schema."""
    return (
        files("conformance.commands.vectors").joinpath("schema", name).read_text(encoding="utf-8")
    )


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises VectorsError."""
    try:
        return read_line(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise VectorsError(f"cannot read {path}: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise VectorsError(f"cannot read {path}: it is not UTF-8 text ({e.reason}).") from e
    except ExchangeError as e:
        cause = str(e.__cause__)
        raise VectorsError(f"cannot read {path}: it is not JSON ({cause}).") from e


def listed(index: Any) -> list[str] | None:
    """The files of an index of any version; None where it is no index of vectors."""
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return None
    entries = index.get("files")
    found = (
        [e.get("file") for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    )
    return [f for f in found if isinstance(f, str) and re.match(FILE, f)]


def read_index(folder: Path) -> Index:
    """The index of a folder of vectors. Raises VectorsError."""
    path = folder / "index.json"
    index = read_json(path)
    if listed(index) is None:
        raise VectorsError(f"cannot read {path}: it is no index of vectors (format {FORMAT!r}).")
    if index.get("version") != VERSION:
        raise VectorsError(
            f"cannot read {path}: it is of version {json.dumps(index.get('version'))}; this program "
            f"reads {VERSION}. Export the vectors again."
        )
    try:
        found = fitting(index, Index)
    except MisfitError as e:
        raise VectorsError(f"cannot read {path}: it is not as {SCHEMAS[0]} has it.") from e
    ids = [e["id"] for e in found["files"]]
    if twice := sorted({i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else ()):
        raise VectorsError(f"cannot read {path}: {twice[0]} is listed twice.")
    return found
