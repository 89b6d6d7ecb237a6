"""Errors that stop the tool become one sentence on standard error, and exit code 2.

Exit code 1 means that something deviates. But Python exits with 1 for any exception, and click for an
interrupt. So every command runs within `ending`, from the first import on, and this module imports nothing
but the standard library and `plain`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from conformance.tools.plain import plain

__all__ = [
    "MisfitError",
    "RefusedError",
    "ending",
    "not_installed",
    "reason",
    "sentence",
    "tell",
    "to_install",
]

OURS = ("click", "flint", "jinja2", "latex2mathml", "markupsafe", "msgspec", "pebble", "sklearn")
"""The packages that the extra `conformance` installs, by the names under which they are imported."""


class MisfitError(ValueError):
    """A value in a file that does not fit: its place, what it is and what was expected."""


class RefusedError(ValueError):
    """A request cannot be carried out: why, in one sentence, and what to do instead."""


def reason(e: BaseException) -> str:
    """An exception on one line: its type and its message."""
    try:
        message = str(e).strip() or "no message"
    except Exception:  # a user's exception may have any __str__, even one that raises
        message = "a message that cannot be read"
    return plain(f"{type(e).__name__}: {message}".replace("\n", " "))


def not_installed(e: BaseException) -> str:
    """The top-level module that an import did not find; "" for any other exception. Also "" for a module that
    exists and cannot be imported (it is broken), and for one of the standard library (it cannot be
    installed)."""
    name = (getattr(e, "name", None) or "").partition(".")[0]
    if not isinstance(e, ModuleNotFoundError) or name in {"", *sys.stdlib_module_names}:
        return ""
    with suppress(ValueError):  # raised for a module that is half imported
        return "" if find_spec(name) else name
    return ""


def to_install(module: str) -> str:
    """The command that installs a module."""
    what = "'refbp[conformance]'" if module in OURS else module
    return f"pip install {what}"


def sentence(e: BaseException) -> str:
    """What happened, in a sentence for the user who gave the command."""
    if isinstance(e, RefusedError):
        return str(e)
    if isinstance(e, KeyboardInterrupt):
        return "interrupted."
    if isinstance(e, SystemExit):
        return f"something ended the program with exit code {e.code}."
    if isinstance(e, MemoryError):
        return "there is not enough memory."
    if module := not_installed(e):
        return f"{module} is not installed: {to_install(module)}."
    frames = traceback.extract_tb(e.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"it could not go on: {reason(e)}{where}."


def tell(text: str) -> None:
    """Write a sentence to standard error, if it is open."""
    with suppress(OSError, ValueError):  # ValueError: it is closed
        print(f"conformance: {plain(text)}", file=sys.stderr, flush=True)


@contextmanager
def ending() -> Iterator[None]:
    """Turn any exception raised within into a sentence on standard error and exit code 2; SystemExit too,
    except one for a signal."""
    try:
        yield
    except BaseException as e:
        if isinstance(e, SystemExit) and isinstance(e.code, int) and e.code > 128:
            raise  # ended by a signal: its sender knows why
        if sys.flags.dev_mode:
            traceback.print_exception(e)
        tell(sentence(e))
        sys.exit(2)
