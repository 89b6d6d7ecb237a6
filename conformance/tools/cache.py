"""Keeps what JAX compiles from run to run: compiling takes two thirds of a first run's time.

JAX reads these settings from the environment when it is imported, in this process and in those that it
starts. A cache holds machine code, so each folder is for one kind of processor and for its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from pathlib import Path

from conformance.tools.files import FileError

__all__ = ["keep_compiled", "kept"]

FOLDER, SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
SOONEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled(folder: Path | None = None, wanted: bool = True) -> None:
    """From now on, keep compiled code in this folder; by default in JAX's own setting, or among the user's
    caches.

    If no default folder can be made, nothing is kept; if `folder` cannot be made, raises FileError. Not
    `wanted`: compiled code is neither kept nor looked up.
    """
    if not wanted:
        os.environ[SWITCH] = "0"
        return
    if folder is not None:
        os.environ[FOLDER] = str(folder.absolute())  # absolute: JAX's cache keys contain it
    os.environ.setdefault(SOONEST, "0")
    try:
        if FOLDER not in os.environ:
            caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
            own = Path(caches).expanduser()  # RuntimeError: there is no home folder
            os.environ[FOLDER] = str(own / "refbp" / f"jax-{_processor()}")
        Path(os.environ[FOLDER]).mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as e:
        if folder is not None:
            raise FileError(f"cannot make the folder {folder} of --cache: {e}") from e
        os.environ[SWITCH] = "0"


def kept() -> str:
    """Where compiled code is kept, for the report."""
    off = os.environ.get(SWITCH, "1").lower() in ("0", "false", "off", "no")
    folder = os.environ.get(FOLDER, "")
    return "not kept" if off or not folder else f"kept in {folder}"


def _processor() -> str:
    """A few letters that differ between kinds of processors."""
    features = [platform.machine(), platform.processor()]
    with suppress(OSError):  # systems other than Linux do not have this file
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        features += sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:12]
