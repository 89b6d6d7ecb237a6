"""Makes the zip for Gradescope: setup.sh, run_autograder, the rubric, and the source of both packages.

The same files give the same bytes: the entries are sorted, and all have one date.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from conformance.commands.grading.rubric import Rubric
from conformance.tools.trouble import RefusedError

__all__ = ["PackageError", "write"]

DATE = (2020, 1, 1, 0, 0, 0)
EXECUTABLE = ("setup.sh", "run_autograder")
PACKAGES = ("refbp", "conformance")
LICENCE = "refbp-src/LICENSE"


class PackageError(RefusedError):
    """Why the autograder cannot be written, and what was expected."""


def write(folder: Path, rubric: Rubric) -> list[Path]:
    """Write autograder.zip, and the same files into autograder/. Raises PackageError."""
    contents = dict(sorted(_contents(rubric).items()))
    zipped, unpacked = folder / "autograder.zip", folder / "autograder"
    _must_be_ours(unpacked, contents)
    try:
        for stale in _files(unpacked):
            if stale.relative_to(unpacked).as_posix() not in contents:
                stale.unlink()
        for name, data in contents.items():
            _put(unpacked / name, data, name in EXECUTABLE)
        _put_zip(zipped, contents)
    except OSError as e:
        raise PackageError(
            f"cannot write {e.filename or folder}: {e.strerror or e}; expected a folder that may be "
            "written to."
        ) from e
    return [zipped, unpacked]


def _must_be_ours(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Raises PackageError for a file that is no part of an autograder: it would be mixed with one."""
    for p in _files(folder):
        name = p.relative_to(folder).as_posix()
        if name not in contents and not name.startswith("refbp-src/"):
            raise PackageError(
                f"{folder} holds {name}, which is no part of an autograder; expected a new folder."
            )


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def _put(path: Path, data: bytes, executable: bool) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        Path(name).chmod(0o755 if executable else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _put_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryFile() as f:
        with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as z:
            for name, data in contents.items():
                entry = zipfile.ZipInfo(name, DATE)
                entry.create_system = 3  # Unix, so that the file modes below are used
                entry.external_attr = (0o100755 if name in EXECUTABLE else 0o100644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                z.writestr(entry, data)
        f.seek(0)
        _put(path, f.read(), executable=False)


# --- what is in it --------------------------------------------------------------------------------


def _contents(rubric: Rubric) -> dict[str, bytes]:
    contents = {f"refbp-src/{name}": data for name, data in _source()}
    about = _about()
    for name in EXECUTABLE:
        contents[name] = _template(name)
    contents["README.md"] = _filled(_template("README.md"), {"{file}": rubric.file, **about})
    contents["rubric.toml"] = rubric.text.encode()
    contents["refbp-src/pyproject.toml"] = _filled(_template("pyproject.toml.in"), about)
    contents["refbp-src/README.md"] = b"refbp and conformance, as they were where this was made.\n"
    contents[LICENCE] = _licence().encode()
    contents["refbp-src/constraints.txt"] = _pins(["refbp", *rubric.allow]).encode()
    if rubric.allow:
        contents["setup.sh"] = _filled(
            contents["setup.sh"], {" numpy ": f" numpy {' '.join(rubric.allow)} "}
        )
    return contents


def _template(name: str) -> bytes:
    return (files(__package__) / "templates" / name).read_bytes()


def _filled(text: bytes, values: Mapping[str, str]) -> bytes:
    filled = text.decode()
    for mark, value in values.items():
        filled = filled.replace(mark, value)
    return filled.encode()


def _source() -> Iterator[tuple[str, bytes]]:
    """Every file of the two packages, as they are installed here."""
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise PackageError(
                f"the package {package} is not installed as files; expected a folder."
            )
        top = Path(spec.origin).parent
        for p in sorted(top.rglob("*")):
            if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith("."):
                yield f"{package}/{p.relative_to(top).as_posix()}", p.read_bytes()


def _about() -> dict[str, str]:
    """The marks in the templates, each with what the installed package says instead."""
    try:
        about = metadata("refbp")
    except PackageNotFoundError as e:
        raise PackageError("refbp is not installed; expected it to be: pip install refbp.") from e
    needs = about.get_all("Requires-Dist") or []
    return {
        "{version}": about["Version"],
        "{python}": about["Requires-Python"] or ">=3.11",
        "{needs}": json.dumps([n for n in needs if "extra ==" not in n]),
        "{extra}": json.dumps([m[1].strip() for n in needs if (m := _of_extra(n))]),
    }


def _pins(names: Iterable[str]) -> str:
    """The versions of what `names` need and is installed here, as pip's constraints.

    The autograder judges with what it was tried with. A local part (2.13.0+cpu) is left out: each index has
    its own.
    """
    pins: dict[str, str] = {}
    ahead = list(names)
    while ahead:
        name = re.sub("[-_.]+", "-", ahead.pop().lower())
        if name in pins:
            continue
        try:
            pins[name] = version(name).partition("+")[0]
        except PackageNotFoundError:  # for another platform or Python, or not used here
            continue
        for requirement in requires(name) or []:
            if "extra ==" not in requirement or _of_extra(requirement):
                ahead.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    pins.pop("refbp", None)
    return "".join(f"{name}=={pins[name]}\n" for name in sorted(pins))


def _of_extra(requirement: str) -> re.Match[str] | None:
    return re.fullmatch(r"""(.*?);\s*extra == ['"]conformance['"]""", requirement)


def _licence() -> str:
    """The licence's text, from the package's metadata or from the root of a checkout."""
    from importlib.metadata import distribution

    of = distribution("refbp")
    for name in ("licenses/LICENSE", "LICENSE"):
        if text := of.read_text(name):
            return text
    spec = find_spec("refbp")
    beside = Path(spec.origin).parents[1] / "LICENSE" if spec and spec.origin else Path()
    return beside.read_text(encoding="utf-8") if beside.is_file() else "BSD-3-Clause\n"
