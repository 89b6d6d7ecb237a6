"""Reads the text of a teacher's file."""

from __future__ import annotations

from pathlib import Path

from conformance.commands.handout.text import visible
from conformance.tools.toml_text import Places
from conformance.tools.trouble import RefusedError

__all__ = ["SIZE", "HandoutError", "is_file", "text_of"]

SIZE = 65536
"""Bytes of a file."""


class HandoutError(RefusedError):
    """Why there is no handout: what was got, what was expected, where."""


def is_file(wanted: str) -> bool:
    """Whether it names a file, which need not exist, and not an example."""
    try:
        return wanted.endswith(".toml") or Path(wanted).exists()
    except OSError:  # a name that is too long
        return False


def text_of(wanted: str) -> str:
    """The text of a file, its lines ending in \\n. Raises HandoutError."""
    path, shown = Path(wanted), visible(wanted)
    try:
        if path.is_dir():
            raise HandoutError(f"cannot read {shown}: it is a folder; expected a TOML file.")
        if path.suffix != ".toml":
            raise HandoutError(
                f"cannot read {shown}: it does not end in .toml; expected a TOML file of that name."
            )
        data = path.read_bytes()
    except HandoutError:
        raise
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or e
        raise HandoutError(f"cannot read {shown}: {why}; expected an example, a TOML file.") from e
    if len(data) > SIZE:
        raise HandoutError(
            f"cannot read {shown}: it has {len(data):,} bytes; expected {SIZE:,} at most."
        )
    return _decoded(shown, data)


def _decoded(name: str, data: bytes) -> str:
    """UTF-8, with a byte order mark or without, as editors write it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise HandoutError(f"{name}, line 1: it is UTF-16; expected UTF-8: save it as UTF-8.")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        before = data[: e.start].decode("utf-8", "replace").replace("\r\n", "\n")
        line = before.count("\n") + 1
        field = Places(before).field(line)
        where = f"{field} has" if field else "there is"
        raise HandoutError(
            f"{name}, line {line}: {where} a byte 0x{data[e.start]:02x} that is no UTF-8; expected "
            "UTF-8 text: save it as UTF-8."
        ) from e
