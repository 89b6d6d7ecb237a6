"""What Gradescope is given: a zip with setup.sh, run_autograder, the rubric, and the judge's own source.

The same files give the same bytes: every entry has one date, and they are in order.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
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
    """The autograder cannot be written: why, and what was expected."""


def write(folder: Path, rubric: Rubric) -> list[Path]:
    """autograder.zip, and the same files in autograder/. Raises PackageError."""
    contents = dict(sorted(_contents(rubric).items()))
    zipped, unpacked = folder / "autograder.zip", folder / "autograder"
    _refuse_strangers(unpacked, contents)
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


def _refuse_strangers(folder: Path, contents: Mapping[str, bytes]) -> None:
    """What is there and is not ours would be mixed with what is."""
    for p in _files(folder):
        name = p.relative_to(folder).as_posix()
        if name not in contents and not name.startswith("refbp-src/"):
            raise PackageError(
                f"{folder} holds {name}, which is no part of an autograder; expected a new folder."
            )


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def _put(path: Path, data: bytes, executable: bool) -> None:
    """Whole or not at all."""
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
                entry.create_system = 3  # Unix: the rights are below
                entry.external_attr = (0o100755 if name in EXECUTABLE else 0o100644) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                z.writestr(entry, data)
        f.seek(0)
        _put(path, f.read(), executable=False)


# --- what is in it --------------------------------------------------------------------------------


def _contents(rubric: Rubric) -> dict[str, bytes]:
    found = {f"refbp-src/{name}": data for name, data in _source()}
    about = _about()
    for name in (*EXECUTABLE, "README.md"):
        found[name] = (files(__package__) / "templates" / name).read_bytes()
    shown = {"{file}": rubric.file, "{version}": about["version"]}
    found["README.md"] = _filled(found["README.md"], shown)
    found["rubric.toml"] = rubric.text.encode()
    found["refbp-src/pyproject.toml"] = _pyproject(about).encode()
    found["refbp-src/README.md"] = b"refbp and conformance, as they were where this was made.\n"
    found[LICENCE] = about["licence"].encode()
    if rubric.allow:
        found["setup.sh"] = _filled(
            found["setup.sh"], {" numpy ": f" numpy {' '.join(rubric.allow)} "}
        )
    return found


def _filled(text: bytes, values: Mapping[str, str]) -> bytes:
    said = text.decode()
    for mark, value in values.items():
        said = said.replace(mark, value)
    return said.encode()


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
    """What the installed package says of itself."""
    try:
        said = metadata("refbp")
    except PackageNotFoundError as e:
        raise PackageError("refbp is not installed; expected it to be: pip install refbp.") from e
    needs = said.get_all("Requires-Dist") or []
    return {
        "version": said["Version"],
        "python": said["Requires-Python"] or ">=3.11",
        "needs": json.dumps([n for n in needs if "extra ==" not in n]),
        "extra": json.dumps([m[1].strip() for n in needs if (m := _of_extra(n))]),
        "licence": _licence(),
    }


def _of_extra(requirement: str) -> re.Match[str] | None:
    return re.fullmatch(r"""(.*?);\s*extra == ['"]conformance['"]""", requirement)


def _licence() -> str:
    """The licence's text: beside the package's metadata, or of a checkout."""
    from importlib.metadata import distribution

    of = distribution("refbp")
    for name in ("licenses/LICENSE", "LICENSE"):
        if text := of.read_text(name):
            return text
    spec = find_spec("refbp")
    beside = Path(spec.origin).parents[1] / "LICENSE" if spec and spec.origin else Path()
    return beside.read_text(encoding="utf-8") if beside.is_file() else "BSD-3-Clause\n"


def _pyproject(about: Mapping[str, str]) -> str:
    return "\n".join(
        [
            "# Made by `conformance grade --package` from the installed package.",
            "[build-system]",
            'requires = ["hatchling>=1.24"]',
            'build-backend = "hatchling.build"',
            "",
            "[project]",
            'name = "refbp"',
            f'version = "{about["version"]}"',
            'description = "The judge of backpropagation, as it was where this autograder was made."',
            'readme = "README.md"',
            'license = "BSD-3-Clause"',
            'license-files = ["LICENSE"]',
            f'requires-python = "{about["python"]}"',
            f"dependencies = {about['needs']}",
            "",
            "[project.optional-dependencies]",
            f"conformance = {about['extra']}",
            "",
            "[project.scripts]",
            'conformance = "conformance.__main__:main"',
            "",
            "[tool.hatch.build.targets.wheel]",
            f"packages = {_toml(PACKAGES)}",
            "",
        ]
    )


def _toml(names: Sequence[str]) -> str:
    return json.dumps(list(names))
