"""A file to which records are added as they come, so that a process that ends at any moment loses only the
last few.

The first line has a key: what the records are of. Each line begins with the checksum of the rest of it. The
first line whose checksum is wrong was interrupted while it was written; reading stops there.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from conformance.tools.files import FileError

__all__ = ["Journal"]

try:
    import fcntl
except ImportError:  # not on Windows: nothing keeps two runs on one path apart there
    fcntl = None  # type: ignore[assignment]


class Journal:
    """The journal at a path. `with journal:` locks it: a second process that tries to lock it is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise FileError(f"cannot write {self.path}: it is no file.")
        try:
            self.file = self.path.open("ab+")
        except OSError as e:
            raise FileError(f"cannot write {self.path}: {e.strerror or e}.") from e
        if fcntl is not None:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                self.file.close()
                raise FileError(
                    f"another run is writing {self.path}; wait for it, or name another file."
                ) from e
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        e: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.file is None:
            return
        with suppress(OSError):
            if self.path.is_file() and self.path.stat().st_size == 0:
                self.remove()  # nothing was written
        with suppress(OSError):  # the disk is full: `add` has raised that
            self.file.close()
        self.file = None

    def begin(self, key: str, resumed: bool) -> list[Any]:
        """The records already there under this key, if the journal is to be `resumed`; otherwise begin it
        anew.

        Raises FileError where the file is no journal, or where the journal to be resumed has another key.
        """
        assert self.file is not None
        self.file.seek(0)
        records, end = [], 0
        for line in self.file:
            record = _read(line)
            if record is None:
                break
            records.append(record)
            end += len(line)
        if not records and not self._was_begun():
            raise FileError(
                f"{self.path} is no journal, or its first line is broken; move it away, or name another "
                "results file."
            )
        if resumed and records:
            if records[0] != {"key": key}:
                raise FileError(
                    f"{self.path} is of another run: of other cases, implementations, files or versions. "
                    "Run without --resume."
                )
            self.file.truncate(end)
            return records[1:]
        self.file.truncate(0)
        self.add([{"key": key}])
        return []

    def _was_begun(self) -> bool:
        """Whether the file is empty, or holds part of a first line."""
        assert self.file is not None
        self.file.seek(0)
        return (
            re.fullmatch(rb"[0-9a-f]{0,8}|[0-9a-f]{8} [^\n]{0,80}", self.file.read(200)) is not None
        )

    def add(self, records: Iterable[Any]) -> None:
        """Write records: all of them, or at an interruption the first of them. Raises FileError."""
        assert self.file is not None
        lines = b"".join(map(_line, records))
        try:
            self.file.write(lines)
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as e:
            raise FileError(f"cannot write {self.path}: {e.strerror or e}.") from e

    def remove(self) -> None:
        """Delete the journal, which is no longer needed."""
        with suppress(FileNotFoundError):
            self.path.unlink()


def _line(record: Any) -> bytes:
    text = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(line: bytes) -> Any | None:
    """The record of a line; None for one that is cut off or changed."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
