"""Loads a user's function or object by `path.py:name` or `package.module:name`, in the process that runs
it."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from importlib import import_module
from inspect import getattr_static, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from conformance.tools.trouble import RefusedError

__all__ = ["LoadError", "load", "split", "user_lines"]


Loaded: TypeAlias = Any
"""A user's object; nothing is known about it before it is used."""


class LoadError(RefusedError):
    """There is no such function: what was asked for, and the nearest name."""


def split(spec: str, folder: str = "") -> tuple[str, str]:
    """('my.py', 'mish') for 'my.py:mish'; a relative path starts at the folder. Raises LoadError."""
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise LoadError(f"cannot read {spec!r}; expected FILE.py:NAME or package.module:NAME.")
    if where.endswith(".py") and not Path(folder, where).is_file():
        raise LoadError(f"cannot read {spec!r}: there is no file {where}.")
    return where, name


def load(spec: str, folder: str = "") -> Loaded:
    """The object that `spec` names; a relative path starts at the folder. A method is bound to an instance of
    its class that is made without arguments.

    Raises LoadError, or whatever importing its file raises.
    """
    where, name = split(spec, folder)
    loaded: Loaded
    loaded = _from_file(Path(folder, where)) if where.endswith(".py") else _from_name(where, spec)
    for part in name.split("."):
        if not hasattr(loaded, part):
            public = [n for n in dir(loaded) if not n.startswith("_")]
            near = difflib.get_close_matches(part, public, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LoadError(f"{where} has no {name!r}.{hint}")
        if isinstance(loaded, type) and isfunction(getattr_static(loaded, part)):
            loaded = loaded()  # an instance, for its method
        loaded = getattr(loaded, part)
    return loaded


def _from_name(where: str, spec: str) -> ModuleType:
    if "" not in sys.path:  # "": the folder where the command was given, as for `python -m`
        sys.path.insert(0, "")
    try:
        return import_module(where)
    except ModuleNotFoundError as e:
        if e.name and where.startswith(e.name):
            raise LoadError(f"cannot read {spec!r}: there is no module {e.name}.") from e
        raise


def _from_file(path: Path) -> ModuleType:
    """The file as a module, loaded once. It can import what is in its folder, as when it is run as a
    script."""
    path = path.resolve()
    name = f"_under_test_{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"cannot read {path}: it is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as e:
        del sys.modules[name]
        if isinstance(e, ImportError) and "relative import" in str(e):
            raise LoadError(
                f"{path.name} is part of a package ({e}); expected package.module:NAME, given where the "
                "package can be imported."
            ) from e
        raise
    return module


OURS = Path(__file__).resolve().parents[1]


def user_lines(e: BaseException) -> list[str]:
    """The lines of the user's own files in the traceback: 'my.py:12 in mish: return 1 / 0'."""
    return [
        f"{Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}"
        for f in traceback.extract_tb(e.__traceback__)
        if not Path(f.filename).is_relative_to(OURS)
        and not any(s in f.filename for s in ("site-packages", "/lib/python"))
        and not f.filename.startswith("<")  # frozen, or made from a string
    ]
