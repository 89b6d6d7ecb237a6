"""conformance handout."""

from __future__ import annotations

import csv
import re
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
        (("mazur", "--output", "f.doc"), "cannot tell the format of f.doc; expected an ending of .html"),
        (("mazur", "--to", "tex", "--output", "f.md"), "f.md ends in .md, which is md, and --to says tex."),
        (("--all", "/no/such/folder/f"), "cannot write /no/such/folder/f: No such file or directory."),
        (("vanishing-gradients", "--blanks"), "there is nothing to leave blank or to follow."),
        (("vanishing-gradients", "--scalar", "W_1[0,0]"), "there is nothing to leave blank or to follow."),
        (("mazur", "--scalar", "W_1[0,0]", "--steps", "forward"), "--scalar follows a weight on the way"),
        (("mazur", "--student", "S"), "--student DIR has the blanks; expected --key DIR too"),
        (("mazur", "--key", "K"), "--key K is the folder of the keys; expected --student DIR too."),
        (("mazur", "--variants", "2"), "--variants are files; expected --student DIR and --key DIR too."),
        (("mazur", "--student", "S", "--key", "S"), "--student and --key are one folder; expected two."),
        (("mazur", "--student", "S", "--key", "K", "--blanks"), "expected no --blanks, --output, --all."),
        (("mazur", "--student", "/no/such/S", "--key", "K"), "cannot write /no/such/S: No such file"),
        (("mazur", "--to", "pdf"), "--to pdf is no text to print; expected --output F.pdf."),
        (("mazur", "--scalar", "W1"), "cannot read 'W1' as a weight; expected layer, row and column"),
        (("mazur", "--scalar", "W_3[0,0]"), "there is no layer 3 in mazur; expected 1 to 2."),
        (("mazur", "--scalar", "W_1[0,2]"), "there is no [0,2] in W_1, which is 2×2; expected a row of 0"),
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


def test_students_and_keys_have_files_of_their_own(tmp_path: Path) -> None:
    S, K = tmp_path / "S", tmp_path / "K"
    done = conformance("two-layers", "--student", S, "--key", K, "--to", "md")
    assert done.exit_code == 0, done.output
    assert [p.name for p in (*S.iterdir(), *K.iterdir())] == ["two-layers.md"] * 2
    blank, key = ((f / "two-layers.md").read_text(encoding="utf-8") for f in (S, K))
    assert "0.681043" in key
    assert "0.681043" not in blank
    assert r"\boxed" in blank
    assert r"\boxed" not in key
    assert "Answer key" not in blank + key


def test_every_student_has_numbers_of_his_own(tmp_path: Path) -> None:
    """The same for the same seed; a table says which, and one variant is made again by its seed."""
    S, K = tmp_path / "S", tmp_path / "K"
    apart = ("two-layers", "--student", S, "--key", K, "--to", "ipynb")
    assert conformance(*apart, "--variants", "10", "--seed", "7").exit_code == 0
    rows = list(csv.reader((K / "variants.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["variant", "seed", "student", "key"]
    assert [r[:2] for r in rows[1:]] == [[str(k), str(k + 6)] for k in range(1, 11)]
    assert all(Path(f).is_file() for r in rows[1:] for f in r[2:])
    files = [Path(r[2]).read_text(encoding="utf-8") for r in rows[1:]]
    assert len(set(files)) == 10
    assert not (S / "variants.csv").exists()
    again = tmp_path / "again"
    done = conformance(*apart[:2], again, *apart[3:], "--variants", "1", "--seed", "9")
    assert done.exit_code == 0
    assert (again / "two-layers-1.ipynb").read_text(encoding="utf-8") == files[2]


def test_without_provenance_nobody_is_named() -> None:
    for form in (*FORMATS, "beamer"):
        told = conformance("two-layers", "--no-provenance", "--to", form)
        assert told.exit_code == 0
        assert not re.search(
            "certified|Who agrees|ball arithmetic|torch",
            told.stdout.partition("</style>")[2] or told.stdout,
        )


def test_a_weight_is_followed_and_checked() -> None:
    told = conformance("mazur", "--scalar", "W_1[0, 1]", "--to", "md", "--digits", "8").stdout
    assert "## One weight, by the chain rule" in told
    assert "0.00087713547" in told.partition("## One weight")[2]
    assert "## Check it yourself" in told


def test_without_latex_there_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = conformance("two-layers", "--output", tmp_path / "f.pdf")
    assert done.exit_code == 2
    assert done.stderr.startswith("conformance: there is no pdflatex on the PATH")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_slides_are_latex_with_any_name(tmp_path: Path) -> None:
    assert conformance("mazur", "--to", "beamer", "--output", tmp_path / "f.tex").exit_code == 0
    assert "{beamer}" in (tmp_path / "f.tex").read_text(encoding="utf-8")
