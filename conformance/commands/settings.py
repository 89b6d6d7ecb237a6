"""[tool.conformance] in pyproject.toml: options of `conformance run` that the command line does not give."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from conformance.tools.files import FileError
from conformance.tools.toml import Fields, Reader, UnfitError, flag, string, told

__all__ = ["apply", "read_settings"]

FILE = Path("pyproject.toml")
TABLE = "tool.conformance"


def _names(x: object) -> tuple[str, ...]:
    if not isinstance(x, list) or not all(isinstance(name, str) and name.strip() for name in x):
        raise UnfitError(f"is {told(x)}; expected a list of names in quotes.")
    return tuple(x)


def _path(x: object) -> Path:
    text = string(x)
    if "\0" in text:
        raise UnfitError(f"is {told(text)}; expected the name of a file.")
    return Path(text)


FIELDS: Fields = {
    "profile": string,
    "select": string,
    "implementations": _names,
    "require": _names,
    "strict": flag,
    "baseline": _path,
}
"""Each is the option of that name, with its check."""
PARAMETERS = {"select": "wanted", "require": "required"}
"""The command's parameters that have another name than their option."""


def read_settings(path: Path = FILE) -> dict[str, Any]:
    """The fields of the table, each checked; none if there is no such file or table. Raises FileError, which
    names the line."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
        tool = tomllib.loads(text).get("tool", {})
    except (OSError, ValueError) as e:
        raise FileError(f"cannot read {path}: {e}") from e
    if not isinstance(tool, dict) or "conformance" not in tool:
        return {}
    reader = Reader(str(path), text, FileError)
    return reader.fields(TABLE, tool["conformance"], FIELDS)


def apply(command: Callable[..., int]) -> Callable[..., int]:
    """Decorate `run`: an option that was not given has the value of the file, if it has one."""

    def with_settings(**options: Any) -> int:
        context = click.get_current_context()
        for field, value in read_settings().items():
            name = PARAMETERS.get(field, field)
            own = options.get("networks") and name in ("profile", "wanted", "baseline")
            own = own or (name == "baseline" and options.get("write_baseline"))
            if context.get_parameter_source(name) is ParameterSource.DEFAULT and not own:
                options[name] = value
        return command(**options)

    with_settings.__doc__, with_settings.__name__ = command.__doc__, command.__name__
    return with_settings
