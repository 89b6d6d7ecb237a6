"""conformance handout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from handed_out import FORMATS, NAMES

from conformance.commands.handout import agreement
from conformance.commands.main import main


@pytest.fixture(autouse=True)
def _refbp_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frameworks are asked in the tests of the steps."""
    from conformance.commands.handout import document

    monkeypatch.setattr(document, "ASKED", ("refbp",))
    monkeypatch.setattr(document.made, "__defaults__", (None, ("refbp",)))
    assert agreement.ASKED == ("refbp", "torch-cpu", "jax-cpu")


def conformance(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["handout", *map(str, args)])


def test_the_list() -> None:
    done = conformance("--list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(NAMES)


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_on_standard_output_and_in_a_file(form: str, tmp_path: Path) -> None:
    printed = conformance("two-layers", "--to", form)
    assert printed.exit_code == 0
    written = conformance("two-layers", "--to", form, "--output", tmp_path / "f")
    assert written.exit_code == 0
    assert (tmp_path / "f").read_text(encoding="utf-8") == printed.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_all_of_them(tmp_path: Path) -> None:
    done = conformance("--all", tmp_path / "course", "--digits", "4", "--blanks", "--key")
    assert done.exit_code == 0, done.output
    files = {p.name for p in (tmp_path / "course").iterdir()}
    assert len(files) == 4 * len(NAMES) + 1
    page = (tmp_path / "course" / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{f}"' in page for f in files - {"index.html"})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "expected one of EXAMPLE, --list and --all DIR."),
        (("mazur", "--list"), "expected one of EXAMPLE, --list and --all DIR."),
        (("mazur", "--key"), "--key has the answers of --blanks; expected both."),
        (("--list", "--output", "x"), "--output is the file of one EXAMPLE"),
        (("mazurr",), "Did you mean 'mazur'?"),
        (("no.toml",), "cannot read no.toml: No such file or directory"),
        (("x" * 5000,), "Or FILE.toml, your own."),
        (("/tmp",), "cannot read /tmp: it is a folder; expected a TOML file."),
        (("mazur", "--output", "/no/such/folder/f.md"), "there is no folder /no/such/folder."),
        (("mazur", "--output", "f.pdf"), "cannot tell the format of f.pdf; expected an ending of .html"),
        (("mazur", "--to", "tex", "--output", "f.md"), "f.md ends in .md, which is md, and --to says tex."),
        (("--all", "/no/such/folder/f"), "cannot write /no/such/folder/f: No such file or directory."),
        (("vanishing-gradients", "--blanks"), "there is nothing to leave blank."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_ends_with_2(args: tuple[str, ...], told: str) -> None:
    done = conformance(*args)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.startswith("conformance: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_digits_have_a_range() -> None:
    assert conformance("mazur", "--digits", "16").exit_code == 2


def test_a_training_that_diverges_is_said(tmp_path: Path) -> None:
    text = (
        'title = "T"\nconvention = "column"\nloss = "mean_squared_error"\nalpha = 900\nx = [3]\ny = [1]\n'
        '[[layers]]\nW = [[2]]\nactivation = "identity"\n[training]\nepochs = 200\n'
    )
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    done = conformance(tmp_path / "my.toml")
    assert done.exit_code == 2
    assert "my.toml, line 4: alpha is 900.0, too large here: after epoch" in done.stderr


@pytest.mark.parametrize("args", [("xor", "--to", "md"), ("--all", "{folder}")], ids=["one", "all"])
def test_one_that_is_installed_and_broken_is_heard_of(
    args: tuple[str, ...], tmp_path: Path, plant: Callable[..., None]
) -> None:
    """The handout is written, and says so; who is not installed is only left out."""
    from conformance.commands.handout import document

    class Broken:
        description = "planted"
        error: Exception = ImportError("undefined symbol: x", name="torch")

        def start(self) -> Any:
            raise self.error

    words = [a.format(folder=tmp_path / "course") for a in args]
    plant("torch-cpu", Broken(), module="torsh_")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document.made, "__defaults__", (None, ("refbp", "torch-cpu")))
        done = conformance(*words)
        assert done.exit_code == 2
        assert done.stderr.splitlines()[-1].endswith(
            " is written, but torch-cpu failed: it did not start: ImportError: undefined symbol: x"
        )
        assert done.stdout.startswith("# ") or (tmp_path / "course" / "index.html").is_file()
        plant("torch-cpu", Broken(), module="torsh_")
        patch.setattr(Broken, "error", ModuleNotFoundError("no torsh", name="torsh"))
        assert conformance(*words).exit_code == 0
