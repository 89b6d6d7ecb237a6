"""Files: written whole or not at all, refused in one sentence, compressed where their name ends in .gz."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from conformance.tools.trouble import MisfitError, RefusedError

__all__ = ["FileError", "contents", "try_to_write", "write_atomically", "write_json"]


class FileError(RefusedError):
    """A file that cannot be read, or a path that cannot be written."""


GZIP = ".gz"


def contents(path: Path) -> bytes:
    """The bytes of a file, decompressed if its name ends in .gz. Raises OSError, and MisfitError if it then
    is not gzip."""
    data = path.read_bytes()
    if path.suffix != GZIP:
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as e:
        raise MisfitError("it is not gzip, or cut off; expected what its ending .gz says.") from e


def _cannot_write(path: Path, e: OSError) -> FileError:
    return FileError(
        f"cannot write {path}: {e.strerror or e}. Expected a folder that exists and may be written to."
    )


def write_atomically(path: str | Path, text: str | bytes | Iterable[str]) -> None:
    """Write a file whole or not at all: a reader never sees half of it."""
    path = Path(path)
    try:
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise _cannot_write(path, e) from e
    try:
        with os.fdopen(fd, "wb") as f:
            _write(f, text, path.suffix == GZIP)
        Path(name).chmod(0o644)  # mkstemp's 0600 would hide a report from the web server beside it
        Path(name).replace(path)
    except OSError as e:
        Path(name).unlink(missing_ok=True)
        raise FileError(f"cannot write {path}: {e.strerror or e}.") from e
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write(file: IO[bytes], text: str | bytes | Iterable[str], zipped: bool) -> None:
    if isinstance(text, str):
        text = text.encode()
    parts = [text] if isinstance(text, bytes) else (part.encode() for part in text)
    if zipped:  # no time and no name: the same bytes for the same text
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            packed.writelines(parts)
    else:
        file.writelines(parts)


def try_to_write(path: Path) -> None:
    """Check that a file could be written there, without writing it. Raises FileError."""
    try:
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as e:
        raise _cannot_write(path, e) from e
    os.close(fd)
    Path(name).unlink()


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a value as JSON: no bare NaN, atomically. Raises FileError."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    write_atomically(path, text + "\n")
