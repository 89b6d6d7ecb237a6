"""What keeps the tool from its job: one sentence on standard error, and exit code 2.

Exit code 1 says that something deviates. Python says 1 as well for any exception, and click for an interrupt,
so that every command runs within `ending`, from the first import on: this module needs the standard library
alone.
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
    "RefusedError",
    "ending",
    "not_installed",
    "reason",
    "sentence",
    "tell",
    "to_install",
]

OURS = ("click", "flint", "jinja2", "latex2mathml", "markupsafe", "msgspec", "pebble", "sklearn")
"""What the extra `conformance` brings, by the name under which it is imported."""


class RefusedError(ValueError):
    """What was asked for cannot be done: why, in one sentence, and what to do instead."""


def reason(e: BaseException) -> str:
    """An exception in a line: its type and what it says."""
    try:
        message = str(e).strip() or "no message"
    except Exception:  # it may be anybody's
        message = "a message that cannot be read"
    return plain(f"{type(e).__name__}: {message}".replace("\n", " "))


def not_installed(e: BaseException) -> str:
    """The top-level module that was not found. "" for anything else: a module that is there and cannot be
    imported is broken, and one of the standard library is not to be installed."""
    name = (getattr(e, "name", None) or "").partition(".")[0]
    if not isinstance(e, ModuleNotFoundError) or name in {"", *sys.stdlib_module_names}:
        return ""
    with suppress(ValueError):  # it is there, half imported
        return "" if find_spec(name) else name
    return ""


def to_install(module: str) -> str:
    """How a module that is not installed is had."""
    what = "'refbp[conformance]'" if module in OURS else module
    return f"pip install {what}"


def sentence(e: BaseException) -> str:
    """What happened, for whoever gave the command."""
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
    """A sentence on standard error, if there is one."""
    with suppress(OSError, ValueError):  # ValueError: it is closed
        print(f"conformance: {plain(text)}", file=sys.stderr, flush=True)


@contextmanager
def ending() -> Iterator[None]:
    """Whatever is raised within is told in a sentence, and is exit code 2: an exit too, no verdict."""
    try:
        yield
    except BaseException as e:
        if isinstance(e, SystemExit) and isinstance(e.code, int) and e.code > 128:
            raise  # told to end by a signal: it is known why
        if sys.flags.dev_mode:
            traceback.print_exception(e)
        tell(sentence(e))
        sys.exit(2)
