"""Memory: a size as people write it, and what a process has resident."""

from __future__ import annotations

import os
import re
from pathlib import Path

from conformance.tools.trouble import RefusedError

__all__ = ["as_text", "must_be_readable", "peak", "resident", "size_of"]

UNITS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
PROCESSES = Path("/proc")


def size_of(text: str) -> int:
    """ "2GiB" in bytes. Raises RefusedError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([A-Za-z]{1,3})", text, re.ASCII)
    size = float(found[1]) * UNITS.get(found[2], 0) if found else 0
    if size < 1:
        raise RefusedError(f"--memory is {text!r:.40}; expected a size, such as 512MiB or 2GiB.")
    return int(size)


def as_text(size: int) -> str:
    """Bytes in the largest unit of which there is one at least: "2 GiB"."""
    name = next((n for n in ("TiB", "GiB", "MiB", "KiB") if size >= UNITS[n]), "B")
    return f"{size / UNITS[name]:.4g} {name}"


def resident(pid: int) -> int:
    """The bytes of a process's memory that are resident; 0 for a process that has ended."""
    try:
        pages = (PROCESSES / str(pid) / "statm").read_bytes().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most bytes that this process ever had resident."""
    try:
        found = re.search(rb"VmHWM:\s+(\d+) kB", (PROCESSES / "self" / "status").read_bytes())
    except OSError:
        found = None
    return int(found[1]) * 2**10 if found else resident(os.getpid())


def must_be_readable() -> None:
    """Raise RefusedError where the system does not say what a process has resident."""
    if not resident(os.getpid()):
        raise RefusedError(
            "--memory cannot be held here: it needs /proc/PID/statm, as Linux has it. Run without."
        )
