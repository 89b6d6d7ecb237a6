"""A user's function, from `path.py:name` or `package.module:name`. Read in the process that runs it."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from conformance.tools.trouble import RefusedError

__all__ = ["LoadError", "load", "split", "user_lines"]


class LoadError(RefusedError):
    """There is no such function: what was asked for, and the nearest there is."""


def split(spec: str, folder: str = "") -> tuple[str, str]:
    """('my.py', 'mish') of 'my.py:mish', a file as it lies in the folder. Raises LoadError."""
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise LoadError(f"cannot read {spec!r}; expected FILE.py:NAME or package.module:NAME.")
    if where.endswith(".py") and not Path(folder, where).is_file():
        raise LoadError(f"cannot read {spec!r}: there is no file {where}.")
    return where, name


def load(spec: str, folder: str = "") -> Any:
    """The object; relative paths start at the folder.

    Raises LoadError, or whatever importing its file raises.
    """
    where, name = split(spec, folder)
    module = _from_file(Path(folder, where)) if where.endswith(".py") else _from_name(where, spec)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(
                part, [n for n in dir(found) if not n.startswith("_")], 1
            )
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LoadError(f"{where} has no {name!r}.{hint}")
        found = getattr(found, part)
    return found


def _from_name(where: str, spec: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return import_module(where)
    except ModuleNotFoundError as e:
        if e.name and where.startswith(e.name):
            raise LoadError(f"cannot read {spec!r}: there is no module {e.name}.") from e
        raise


def _from_file(path: Path) -> Any:
    """The file as a module, once; what lies beside it can be imported, as when it is run."""
    path = path.resolve()
    name = f"_under_test_{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise LoadError(f"cannot read {path}: it is no Python file.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


OURS = Path(__file__).resolve().parents[1]


def user_lines(e: BaseException) -> list[str]:
    """Where in the user's own files it was raised: 'my.py:12 in mish: return 1 / 0'."""
    frames = traceback.extract_tb(e.__traceback__)
    own = [
        f
        for f in frames
        if not Path(f.filename).is_relative_to(OURS)
        and "site-packages" not in f.filename
        and not f.filename.startswith("<frozen")
        and "/lib/python" not in f.filename
    ]
    return [f"{Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in own]
