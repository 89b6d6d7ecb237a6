"""The folder of vectors: its files, how they are read, and what may be wrong with them."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from conformance.model.exchange import VERSION, ExchangeError, read_line
from conformance.tools.files import FileError
from conformance.tools.trouble import MisfitError
from conformance.tools.typed import fitting

__all__ = [
    "FORMAT",
    "SCHEMAS",
    "Entry",
    "Index",
    "Json",
    "VectorsError",
    "listed",
    "read_index",
    "read_json",
    "schema",
]

Json = dict[str, Any]
"""A JSON object."""
FORMAT = "conformance-vectors"
SCHEMAS = ("index.schema.json", "vector.schema.json", "answer.schema.json")
FILE = r"\Avectors/[A-Za-z0-9][A-Za-z0-9._-]*\.json\Z"


class VectorsError(FileError):
    """A folder of vectors that cannot be written or read, or answers that cannot be read."""


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
    """The text of a schema, as published."""
    return (
        files("conformance.commands.vectors").joinpath("schema", name).read_text(encoding="utf-8")
    )


def read_json(path: Path) -> object:
    """The value in a JSON file. Raises VectorsError."""
    try:
        value: object = read_line(path.read_text(encoding="utf-8-sig"))
        return value
    except OSError as e:
        raise VectorsError(f"cannot read {path}: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise VectorsError(f"cannot read {path}: it is not UTF-8 text ({e.reason}).") from e
    except ExchangeError as e:
        cause = str(e.__cause__)
        raise VectorsError(f"cannot read {path}: it is not JSON ({cause}).") from e


def listed(index: object) -> list[str] | None:
    """The files that an index of any version lists; None if it is no index of vectors."""
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return None
    entries = index.get("files")
    names = [
        e.get("file") for e in (entries if isinstance(entries, list) else ()) if isinstance(e, dict)
    ]
    return [name for name in names if isinstance(name, str) and re.match(FILE, name)]


def read_index(folder: Path) -> Index:
    """The index of a folder of vectors. Raises VectorsError."""
    path = folder / "index.json"
    value = read_json(path)
    names = listed(value)
    if names is None or not isinstance(value, dict):
        raise VectorsError(f"cannot read {path}: it is no index of vectors (format {FORMAT!r}).")
    if value.get("version") != VERSION:
        raise VectorsError(
            f"cannot read {path}: it is of version {json.dumps(value.get('version'))}; this program "
            f"reads {VERSION}. Export the vectors again."
        )
    misfit = VectorsError(f"cannot read {path}: it is not as {SCHEMAS[0]} has it.")
    try:
        index = fitting(value, Index)
    except MisfitError as e:
        raise misfit from e
    if not names or len(names) < len(index["files"]):  # a name that export would not write
        raise misfit
    ids = Counter(e["id"] for e in index["files"])
    if twice := sorted(id for id, n in ids.items() if n > 1):
        raise VectorsError(f"cannot read {path}: {twice[0]} is listed twice.")
    return index
