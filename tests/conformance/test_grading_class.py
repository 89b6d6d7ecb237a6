"""A class: every score what the rule gives, every mistake named, and nobody at another's expense."""

from __future__ import annotations

import csv
import io
import os
import re
import select
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from classroom import FORM, ONE, POINTS, changed, whats, worth
from hostile import RIGHT, in_backward, in_forward, on_top
from test_grading import (
    PLAIN,
    QUICK,
    SHORT,
    _a_place_for_rubrics,  # noqa: F401   a fixture for all tests here
    reachable,
    refused,
    rubric,
    run,
)

from conformance.commands.grading import course
from conformance.commands.grading.course import graded, submitted, told
from conformance.commands.grading.grade import grade
from conformance.commands.grading.pages import _escaped, _mistakes, feedback, page
from conformance.commands.grading.pairs import alike
from conformance.commands.grading.rubric import read
from conformance.commands.grading.sheet import as_csv
from conformance.commands.grading.submission import File
from conformance.tools.journal import Journal

CASES = read().tests[0].cases


def handed_in(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = folder / "submissions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder / "submissions"


def whole(folder: Path, files: dict[str, str], jobs: int = 2, text: str = QUICK) -> list[Any]:
    """The grades of a class."""
    of = rubric(text) if text else read()
    every = list(submitted(handed_in(folder, files), of))
    return graded(every, of, "auto", jobs, lambda done, total, name: None)


def named(g: Any) -> set[str]:
    return {what for t in g["tests"] for m in t["mistakes"] for what in m["looks_like"]}


# --- thirty students, forty mistakes --------------------------------------------------------------


FORWARD = ("activation-twice", "activation-missing", "weights-transposed-forward")
BACKWARD = [k for k in ONE if k.faults[0].startswith("gradient") and "never" not in k.faults[0]]


def of_thirty() -> dict[str, tuple[str, float, set[str]]]:
    """name → (file, points, how its mistakes are named). 10 make a mistake in ∂L/∂W, most of these another in
    the forward pass, 14 one of the others; the rest hand in what is right, or in another form: 40 kinds."""
    made: dict[str, tuple[str, float, set[str]]] = {}
    forward = [k for k in ONE if k.faults[0] in FORWARD]
    groups = [[k, *forward[i % 4 : i % 4 + 1]] for i, k in enumerate(BACKWARD)]
    rest = [k for k in ONE if k not in BACKWARD and k not in forward]
    groups += [[k] for k in rest[:12]] + [
        [a, b] for a, b in zip(rest[12:14], forward, strict=False)
    ]
    for kinds in groups:
        source = changed({old: new for k in kinds for old, new in k.changes.items()})
        faults = [f for k in kinds for f in k.faults]
        made["+".join(faults)] = (source, worth(source, CASES), whats(faults))
    for name, (changes, shares) in list(FORM.items())[: 29 - len(made)]:
        points = sum(p * s for p, s in zip(POINTS.values(), shares, strict=True))
        made[name] = (changed(changes), points, set())
    return {**made, "plain lists": (PLAIN, 10, set())}


@pytest.mark.slow
def test_thirty_students_get_what_the_rule_gives_and_their_mistakes_are_named(
    tmp_path: Path,
) -> None:
    expected = of_thirty()
    assert len(expected) == 30
    found = whole(tmp_path, {f"{name}.py": of[0] for name, of in expected.items()}, text="")
    assert {s.student: s.result["score"] for s in found} == {
        name: pytest.approx(points, abs=0.021) for name, (_, points, _) in expected.items()
    }
    assert {s.student: named(s.result) for s in found} == {
        name: looks for name, (_, _, looks) in expected.items()
    }
    assert not any(s.result["flags"] for s in found)


@pytest.mark.slow
@pytest.mark.parametrize("i", range(len(ONE)))
def test_each_mistake_has_the_points_of_the_rule_and_its_name(i: int) -> None:
    source = changed(ONE[i].changes)
    g = grade(File("student.py", source.encode()), read(), "what")
    assert g["score"] == pytest.approx(worth(source, CASES), abs=0.021)
    assert named(g) == whats(ONE[i].faults)


@pytest.mark.parametrize("name", FORM)
def test_another_form_costs_what_the_rule_says(name: str) -> None:
    changes, shares = FORM[name]
    g = grade(File("student.py", changed(changes).encode()), read())
    points = [p * s for p, s in zip(POINTS.values(), shares, strict=True)]
    assert [t["score"] for t in g["tests"]] == pytest.approx(points, abs=0.01)


# --- nobody at another's expense ------------------------------------------------------------------

BAD = {
    "hangs_1_1_student.py": in_backward("while True: pass"),
    "crashes.py": in_backward("import os; os.abort()"),
    "kills.py": in_backward("import os, signal\nfor p in (os.getppid(), os.getpid()): os.kill(p, 9)"),
    "escapes.py": in_forward(
        r"print('\x1b[2J\x1b]0;t\x07' + chr(0x202e) + '<script>alert(1)</script> | `x`')"
    ),
    "=1+1.py": on_top("raise ValueError('<img src=x onerror=alert(1)>')"),
    "\u202e<b>x</b>/student.py".replace("/b", "∕b"): "def f(:\n",
    "Jo Doe_77_assignsubmission_file_/mine.py": RIGHT,
    "Jo Doe_77_assignsubmission_file_/__MACOSX/._mine.py": "\0",
    "empty/notes.txt": "",
    "notebook.ipynb": "{}",
    "two/a.py": RIGHT,
    "two/b.py": RIGHT,
}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_a_bad_file_costs_only_itself(tmp_path: Path) -> None:
    found = {s.entry: s for s in whole(tmp_path, BAD, text=SHORT)}
    score = {entry: s.result["score"] for entry, s in found.items()}
    assert score.pop("Jo Doe_77_assignsubmission_file_") == 4
    assert score.pop("escapes.py") == 4
    assert {score.pop(n) for n in ("hangs_1_1_student.py", "crashes.py", "kills.py")} == {2}
    assert set(score.values()) == {0}
    jo = found["Jo Doe_77_assignsubmission_file_"]
    assert (jo.student, jo.id) == ("Jo Doe", "77")
    assert "There is no file student.py" in found["empty"].result["notes"][0]
    assert "There is no file student.py" in found["two"].result["notes"][0]
    assert found["notebook.ipynb"].result["notes"] == [
        "notebook.ipynb is no Python file. Hand in student.py."
    ]

    every = list(found.values())
    files = feedback(every, "what")
    assert len(files) == 2 * len(every) == len({name.lower() for name in files})
    assert all(re.fullmatch(r"[\w.-]+\.(md|html)", name, re.ASCII) for name in files)
    for text in (*files.values(), page(every), as_csv(every, "all")):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    for name, text in {**files, "page.html": page(every)}.items():
        if name.endswith(".html"):
            tags = Tags()
            tags.feed(text)
            assert not tags.found & {"script", "img", "b"} - ({"b"} if "class" in text else set())
        else:
            assert not re.search(r"(?<!\\)[<`|]", text)
    rows = list(csv.reader(io.StringIO(as_csv(every, "all"))))
    assert not any(cell.lstrip()[:1] in tuple("=+@") for row in rows for cell in row)
    assert all(len(row) == len(rows[0]) for row in rows)


def test_a_file_that_ends_its_grader_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one could that runs as the grader's own user."""
    files = {f"{name}.py": f"# {name}\n" + RIGHT for name in "abcd"}
    monkeypatch.setattr(course, "_grade", _ends)
    found = whole(tmp_path, files)
    assert [s.result["score"] for s in found] == [4, 0, 4, 4]
    assert found[1].result["notes"] == [
        "The file ended the process that grades it. Run it alone, and look at it."
    ]


def _ends(file: Any, reason: str, of: Any, isolation: str) -> Any:
    if b"# b" in file.data:
        os._exit(0)
    return grade(file, of, "what", isolation)


# --- files ----------------------------------------------------------------------------------------

CLASS = {
    "Doe_11_21_student.py": RIGHT,
    "Poe_LATE_12_22_student.py": changed({"Z[l].T @ delta[l] for": "2 * Z[l].T @ delta[l] for"}),
    "roe.py": "import os\n" + changed({"Z[l].T @ delta[l] for": "2 * Z[l].T @ delta[l] for"}),
}


def test_what_has_no_name_is_one_row_and_the_last(tmp_path: Path) -> None:
    """Its size is another in each file: it would be a row for each student."""
    slips = [f"(delta[l + 1] + {i}) @ W[l + 1].T + A[l]" for i in range(2)]
    files = {
        f"{i}.py": changed({"delta[l + 1] @ W[l + 1].T": slip}) for i, slip in enumerate(slips)
    }
    files["named.py"] = changed({"Z[l].T @ delta[l] for": "-Z[l].T @ delta[l] for"})
    rows = _mistakes(whole(tmp_path, files))
    assert rows == [
        ("∂L/∂W: the sign is turned around", ["named"]),
        ("δ: wrong, in no simple pattern", ["0", "1"]),
    ]


def test_the_command_grades_a_class(tmp_path: Path) -> None:
    folder = handed_in(tmp_path, CLASS)
    (folder / "__MACOSX").mkdir()
    (folder / ".hidden.py").write_text("")
    rubric(QUICK)
    files = {"csv": "g.csv", "feedback": "f", "report": "p.html"}
    options = [x for option, name in files.items() for x in (f"--{option}", tmp_path / name)]
    done = run(folder, "--rubric", os.environ["PYTEST_RUBRIC"], *options, "--jobs", 1)
    assert (done.exit_code, done.stdout) == (
        0,
        "3 submissions: mean 3.33, median 3 of 4 points; 1 to look at\n"
        f"\ngrades: {tmp_path}/g.csv\nfeedback: {tmp_path}/f\nreport: {tmp_path}/p.html\n",
    )
    assert done.stderr.splitlines()[-1] == "3 of 3 results"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "g.csv").read_text())))
    assert [(r["Student"], r["ID"], r["Score"], r["dW"]) for r in rows] == [
        ("Doe", "11", "4.0", "1.0"), ("Poe", "12", "3.0", "0.0"), ("roe", "", "3.0", "0.0")
    ]  # fmt: skip
    assert rows[1]["Mistakes"].startswith("it is 2 times what it should be; ")
    assert rows[2]["Flags"] == "line 1: imports os"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "f",
        "g.csv",
        "p.html",
        "rubric.toml",
        "submissions",
    ]
    told = (tmp_path / "f" / "Poe_LATE_12_22_student.md").read_text()
    assert "**3 of 4 points**" in told
    assert "∂L/∂W\\_1 is wrong in the network of" in told
    for ending in ("md", "html"):
        of_Poe = (tmp_path / "f" / f"Poe_LATE_12_22_student.{ending}").read_text()
        assert "0 of 6 layers are right, in 3 networks" in of_Poe
    assert "2 times" not in told  # the rubric's hints are `where`
    assert (
        "imports os"
        not in (tmp_path / "f" / "roe.md").read_text() + (tmp_path / "f" / "roe.html").read_text()
    )
    text = (tmp_path / "p.html").read_text()
    for part in (
        "<h1>3 submissions</h1>",
        "2 of 3",
        "line 1: imports os",
        "Poe</bdi> and <bdi>roe</bdi>: ",
    ):
        assert part in text


def test_a_student_who_is_there_twice_is_told(tmp_path: Path) -> None:
    every = whole(tmp_path, {"Doe_1_2_a.py": "", "Doe_1_3_b.py": "", "Poe_2_4_a.py": ""})
    assert told(every).splitlines()[1:] == ["Doe has 2"]


def test_a_folder_of_a_class_that_is_graded_as_one_is_told(tmp_path: Path) -> None:
    done = run(handed_in(tmp_path, CLASS))
    assert "a class is graded with --csv" in done.stderr


def test_what_learning_platforms_import(tmp_path: Path) -> None:
    every = whole(tmp_path, CLASS)
    rows = list(csv.reader(io.StringIO(as_csv(every, "canvas"))))
    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Backpropagation"],
        ["    Points Possible", "", "", "", "", "4.0"],
        ["Doe", "11", "", "", "", "4.0"], ["Poe", "12", "", "", "", "3.0"], ["roe", "", "", "", "", "3.0"],
    ]  # fmt: skip
    rows = list(csv.reader(io.StringIO(as_csv(every, "moodle"))))
    assert rows[0] == ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
    assert rows[1] == ["Participant 11", "Doe", "4.0", "4.0", ""]


def test_an_interrupted_class_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = rubric()
    every = list(submitted(handed_in(tmp_path, CLASS), of))

    def stop(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Journal(tmp_path / "g.csv.journal") as journal:
        graded(every, of, "auto", 1, stop, journal)
    again: list[tuple[int, int]] = []
    (tmp_path / "submissions" / "Doe_11_21_student.py").write_text("# changed\n" + RIGHT)
    every = list(submitted(tmp_path / "submissions", of))
    with Journal(tmp_path / "g.csv.journal") as journal:
        found = graded(every, of, "auto", 1, lambda *p: again.append(p[:2]), journal, resumed=True)
    assert again == [(1, 3), (2, 3), (3, 3)]  # one is there, one was changed, one is new
    assert [s.result["score"] for s in found] == [4, 3, 3]
    other = rubric(QUICK.replace("points = 1", "points = 2"))
    with (
        Journal(tmp_path / "g.csv.journal") as journal,
        pytest.raises(Exception, match="is of another run"),
    ):
        graded(every, other, "auto", 1, stop, journal, resumed=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_file_that_hangs_ends_with_whoever_asks_it(tmp_path: Path, how: signal.Signals) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    reachable(tmp_path)
    source = f"import os\nheld = os.open({str(pipe)!r}, os.O_WRONLY)\nos.write(held, b'x')\n"
    source += "while True: pass\n"
    folder = handed_in(tmp_path, {"a.py": source})
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-m", "conformance", "grade", folder, "--csv", tmp_path / "g.csv"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not select.select([reading], [], [], 60.0)[0] or os.read(reading, 1) != b"x":
        assert running.poll() is None
    running.send_signal(how)
    running.wait()
    assert select.select([reading], [], [], 60.0)[0]
    assert os.read(reading, 1) == b""  # nobody is left who holds it
    os.close(reading)


def test_what_the_command_refuses_of_a_class(tmp_path: Path) -> None:
    folder = handed_in(tmp_path, {"a.py": RIGHT})
    (tmp_path / "nobody").mkdir()
    assert "nothing to grade in" in refused(tmp_path / "nobody", "--csv", tmp_path / "g.csv")
    assert "are of a class" in refused(folder / "a.py", "--csv", tmp_path / "g.csv")
    assert "are of a class" in refused(
        folder, "--csv", tmp_path / "g.csv", "--output", tmp_path / "o"
    )
    assert "no folder" in refused(folder, "--csv", tmp_path / "no" / "g.csv")
    assert "Name another folder" in refused(folder, "--feedback", folder)
    assert "--resume needs --csv" in refused(folder, "--feedback", tmp_path / "f", "--resume")
    assert "--resume needs --csv" in refused(folder / "a.py", "--resume")
    assert "--columns needs --csv" in refused(folder / "a.py", "--columns", "canvas")
    assert "--jobs is of a class" in refused(folder / "a.py", "--jobs", "2")
    assert "twice" in refused(folder, "--csv", tmp_path / "g", "--report", tmp_path / "g")


def test_hidden_tests_are_in_no_feedback(tmp_path: Path) -> None:
    hidden = (
        QUICK
        + '[[tests]]\nname = "secret"\nquantities = ["dW"]\npoints = 9\nvisibility = "hidden"\n'
    )
    every = whole(tmp_path, {"a.py": CLASS["Poe_LATE_12_22_student.py"]}, text=hidden)
    for name, text in feedback(every, "where").items():
        assert "secret" not in text, name
        assert "3 of 4 points" in text
        assert "1 more tests are not shown here" in text
    assert "secret" in page(every)


# --- pairs ----------------------------------------------------------------------------------------


def test_who_copied_is_found_and_who_did_not_is_not() -> None:
    renamed = PLAIN.replace("P, Q", "left, right").replace("row in P", "row in left")
    own = {"a": PLAIN, "b": RIGHT, "d": renamed.replace("(*Q)", "(*right)")}
    for i in range(8):
        lines = (f"def f{i}_{j}(x): return x {'+-*/'[j % 4]} {i} ** {j * i}" for j in range(30))
        own[f"other{i}"] = "\n".join(lines)
    ((share, *pair),) = alike({name: text.encode() for name, text in own.items()})
    assert (share > 0.8, pair) == (True, ["a", "d"])
    assert alike({"a": b"\xff(", "b": b"\xff(", "c": b""}) == []


def test_markdown_of_a_student_is_no_markup() -> None:
    assert _escaped("**a** <b> [x](y) `c` | # $z$ _d_") == (
        r"\*\*a\*\* \<b\> \[x\](y) \`c\` \| \# \$z\$ \_d\_"
    )
    assert [_escaped(t) for t in ("- a", "1. a", "+ a", "=== a", "a - b. c")] == [
        r"\- a", r"1\. a", r"\+ a", r"\=== a", "a - b. c"
    ]  # fmt: skip


def test_the_page_says_what_most_took_wrong_and_what_was_hardest(tmp_path: Path) -> None:
    of_Z = changed({"sigma[l].derivative(A[l])": "sigma[l].derivative(Z[l + 1])"})
    files = {"a.py": RIGHT, "b.py": of_Z, "c.py": of_Z + "# mine\n", "d.py": "1 / 0"}
    text = page(whole(tmp_path, files))
    assert (
        "2 of 4: <bdi>δ: the derivative is taken at the output instead of the pre-activation</bdi>"
        in text
    )
    assert "The hardest test: <bdi>delta</bdi>." in text
    assert "student.py cannot be imported: ZeroDivisionError: division by zero" in text
    assert text.count("█") == 4
