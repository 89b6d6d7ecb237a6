"""What a class is told: a file of feedback for each student, and a page for whoever teaches."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from jinja2 import ChoiceLoader, Environment, PackageLoader

from conformance.commands.grading.course import Submitted
from conformance.commands.grading.formats import share_of, summary_of
from conformance.commands.grading.grade import Grade, shown
from conformance.commands.grading.pairs import alike
from conformance.model.results import SYMBOLS
from conformance.report.html import environment, own_file

__all__ = ["feedback", "page"]

BINS = 10
UNNAMED = "wrong, in no simple pattern"
OF_ONE_FILE = re.compile(  # in what a mistake looks like: its size, and more layers of the same
    r"; \d+ of \d+ elements.*|\d+ of \d+ elements are (?=wrong)|, by up to \S+ of the largest| \(and in .*\)$"
)


def _environment() -> Environment:
    env = environment()
    assert env.loader is not None
    env.loader = ChoiceLoader([PackageLoader("conformance.commands.grading"), env.loader])
    return env


def feedback(every: Sequence[Submitted], hints: str) -> dict[str, str]:
    """Name of a file → its text: Markdown and HTML for each student, with what these hints tell.

    There is nothing in it of tests that are not visible, nor of flags.
    """
    template = _environment().get_template("feedback.html")
    files: dict[str, str] = {}
    for s in every:
        g = shown(s.result, hints)
        tests = [t for t in g["tests"] if t["visibility"] == "visible"]
        facts = {
            "student": s.student,
            "title": g["title"],
            "tests": [(t["name"], t["score"], t["max_score"], share_of(t)) for t in tests],
            "score": round(sum(t["score"] for t in tests), 2),
            "most": round(sum(t["max_score"] for t in tests), 2),
            "parts": list(summary_of(g)),
            "hidden": len(g["tests"]) - len(tests),
        }
        name = _file_name(s.entry, files)
        files[f"{name}.md"] = _markdown(facts)
        files[f"{name}.html"] = _utf8(template.render(css=own_file("report.css"), **facts))
    return files


def _file_name(entry: str, taken: Mapping[str, str]) -> str:
    """A name that any system takes, and that no other has."""
    stem = re.sub(r"[^\w.-]+", "_", entry.removesuffix(".py"), flags=re.ASCII).strip("._")[:80]
    name, i = stem or "student", 1
    while f"{name}.md".lower() in {t.lower() for t in taken}:
        i += 1
        name = f"{stem or 'student'}-{i}"
    return name


def _markdown(f: Mapping[str, object]) -> str:
    rows = [f"# {_escaped(str(f['title']))}: {_escaped(str(f['student']))}", ""]
    tests = f["tests"]
    assert isinstance(tests, list)
    rows += [f"**{f['score']:g} of {f['most']:g} points**", ""]
    for name, score, most, share in tests:
        rows += [f"- **{_escaped(name)}**: {score:g} of {most:g}. {_escaped(share)}"]
    parts = f["parts"]
    assert isinstance(parts, list)
    for part in parts:
        rows += ["", *(f"{_escaped(line)}  " for line in part.splitlines())]
    if f["hidden"]:
        rows += ["", f"{f['hidden']} more tests are not shown here."]
    return "\n".join(rows) + "\n"


def _escaped(text: str) -> str:
    """A line in which nothing is markup, neither Markdown's nor HTML's."""
    text = re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", text)
    return re.sub(r"^(\s*\d*)([-+=.):])", r"\1\\\2", text)  # a list, or what underlines a heading


def page(every: Sequence[Submitted]) -> str:
    """The page for whoever teaches: one self-contained HTML file, the same bytes for the same grades."""
    first = every[0].result
    scores = [s.result["score"] for s in every]
    tests = [
        (
            t["name"],
            sum(s.result["tests"][i]["score"] for s in every) / len(every),
            t["max_score"],
            sum(s.result["tests"][i]["passed"] for s in every),
        )
        for i, t in enumerate(first["tests"])
    ]
    sources = {s.entry: s.file.data for s in every if s.file}
    names = {s.entry: s.student for s in every}
    html = _environment().get_template("class.html").render(
        css=own_file("report.css"),
        title=first["title"],
        most=first["max_score"],
        every=every,
        mean=statistics.fmean(scores),
        median=statistics.median(scores),
        bins=_bins(scores, first["max_score"]),
        tests=sorted(tests, key=lambda t: t[1] / t[2] if t[2] else 1.0),
        mistakes=_mistakes(every),
        pairs=[(share, names[a], names[b]) for share, a, b in alike(sources)],
        isolation=sorted({s.result["isolation"] for s in every if s.result["isolation"]}),
    )  # fmt: skip
    return _utf8(html)


def _bins(scores: Sequence[float], most: float) -> list[tuple[float, float, int]]:
    """(from, to, how many) of the scores, in ten equal steps."""
    step = most / BINS
    places = [min(int(s / step), BINS - 1) for s in scores]
    return [(i * step, (i + 1) * step, places.count(i)) for i in range(BINS)]


def _mistakes(every: Sequence[Submitted]) -> list[tuple[str, list[str]]]:
    """(mistake, who made it), what most made first, and of these what has a name; what has none is last."""
    who: dict[str, list[str]] = defaultdict(list)
    for s in every:
        for what in dict.fromkeys(_whats(s.result)):
            who[what].append(s.student)

    def turn(row: tuple[str, list[str]]) -> tuple[object, ...]:
        what, students = row
        return what.endswith(UNNAMED), -len(students), ": " not in what, what

    return sorted(who.items(), key=turn)


def _whats(g: Grade) -> list[str]:
    """What a grade's mistakes are, without the network and the layer."""
    if g["notes"]:
        return [re.sub(r" \(line .*", "", note) for note in g["notes"]]
    found = []
    for m in (m for t in g["tests"] for m in t["mistakes"]):
        wrong = re.sub(r"_\d+", "", m["text"].partition(" in the network of ")[0]).rstrip(",")
        looks = [OF_ONE_FILE.sub("", what) for what in m["looks_like"]]
        found += [f"{SYMBOLS[m['quantity']]}: {what}" for what in looks] or [wrong]
    return found


def _utf8(html: str) -> str:
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8
