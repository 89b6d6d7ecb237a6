"""Results for continuous integration: JUnit's XML, and GitHub's step summary and annotations.

No text of a user's reaches them unchanged: invisible characters are escaped (`plain`), markup is quoted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from xml.etree import ElementTree as Xml

from conformance.model.results import VERDICTS, Result, Results
from conformance.report.explain import again, headlines
from conformance.report.numbers import count
from conformance.tools.names import brief
from conformance.tools.plain import plain

__all__ = ["ANNOTATIONS", "LARGEST", "MOST", "github_annotations", "junit", "markdown"]

MOST = 5000
"""Test cases in a file, at most: with more results, there is one test case for a family, an implementation
and a dtype."""
LARGEST = 1_000_000
"""Bytes of a summary, at most; GitHub takes 1 MiB."""
ANNOTATIONS = 10
"""GitHub shows at most so many for a step."""
LONGEST = 2000  # characters of a message
SIGNS = {"conforms": "✓", "known-difference": "✓", "inaccurate": "≈", "deviates": "✗"}


# --- JUnit ----------------------------------------------------------------------------------------


Pairs = Collection[tuple[str, str]]
"""Pairs of an implementation and a case."""


def junit(results: Results, strict: bool = False, worse: Pairs | None = None) -> str:
    """One test case for a network, implementation and dtype; a suite for an implementation and dtype. With a
    baseline, only what is `worse` fails.

    A result that deviates is a failure, and so is an inaccurate one if `strict`; one that could not be
    judged, or run, is an error; one that was not run is skipped. The format is that of Ant's JUnit task, as
    GitLab, Jenkins and GitHub's actions read it.
    """
    rows = {c["id"]: c for c in results["cases"]}
    suites: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for r in results["results"]:
        suites[r["implementation"], rows[r["case"]]["dtype"]].append(r)
    gathered = len(results["results"]) > MOST
    root = Xml.Element("testsuites", name="conformance")
    for (name, dtype), of in suites.items():
        tests: dict[str, list[Result]] = defaultdict(list)
        for r in of:
            tests[rows[r["case"]]["family"] if gathered else r["case"]].append(r)
        suite = Xml.SubElement(root, "testsuite", name=plain(f"{name}, {dtype}"))
        for title, same in tests.items():
            title = f"{title} ({count(len(same))} cases)" if gathered else title
            classname = f"{name}.{dtype}"
            test = Xml.SubElement(suite, "testcase", classname=plain(classname), name=plain(title))
            told = [r for r in same if worse is None or (r["implementation"], r["case"]) in worse]
            worst = min(told or same, key=lambda r: VERDICTS.index(r["verdict"]))
            known = None if worse is None else not told
            _verdict(test, worst, results, strict, known)
    for i in results["implementations"]:
        if i["status"] != "ran" and not any(name == i["name"] for name, _ in suites):
            suite = Xml.SubElement(root, "testsuite", name=plain(i["name"]))
            test = Xml.SubElement(suite, "testcase", classname=plain(i["name"]), name="starts")
            tag = "error" if i["status"] == "error" else "skipped"
            Xml.SubElement(test, tag, message=_cut(i["reason"]))
    for suite in (*root, root):
        for plural, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            suite.set(plural, str(len(list(suite.iter(tag)))))
        suite.set("skipped", str(len(list(suite.iter("skipped")))))
    Xml.indent(root, space=" ")
    text: str = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _verdict(
    test: Xml.Element, r: Result, results: Results, strict: bool, known: bool | None
) -> None:
    """Fill a test case from its worst result. With a baseline, `known` decides whether it passes."""
    verdict, message = r["verdict"], _cut(r["message"])
    passes = verdict in ("conforms", "known-difference") or (verdict == "inaccurate" and not strict)
    if passes if known is None else known and verdict != "not-run":
        if message:
            Xml.SubElement(test, "system-out").text = f"{verdict}: {message}"
        return
    if verdict == "not-run":
        Xml.SubElement(test, "skipped", message=message)
        return
    tag = "error" if verdict in ("error", "undecided") else "failure"
    found = Xml.SubElement(test, tag, message=message, type=verdict)
    looks = [_cut(f"{f['text']} → {f['suggestion']}") for f in r["diagnosis"]]
    found.text = "\n".join([*looks, plain(again(r["case"], r["implementation"], results))])


def _cut(text: str) -> str:
    text = plain(" ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


# --- GitHub ---------------------------------------------------------------------------------------


def markdown(results: Results, held: str = "") -> str:
    """A step summary: the verdict, a row for each implementation, what is wrong with each, and the commands;
    `held` is the message of a comparison with a baseline."""
    said = results["summary"]
    lines = [f"## {SIGNS.get(said['verdict'], '!')} {_quoted(said['verdict'])}", ""]
    lines += [_code(said["message"]), "", *([_code(held), ""] if held else [])]
    shown = [v for v in reversed(VERDICTS) if any(of.get(v) for of in said["verdicts"].values())]
    ran = [i["name"] for i in results["implementations"] if i["status"] == "ran"]
    if ran and shown:
        lines += _table(
            ["implementation", *shown],
            (
                [_quoted(called), *(str(said["verdicts"][name].get(v) or "·") for v in shown)]
                for name, called in brief(ran).items()
            ),
        )
    for name, what, see in headlines(results):
        fence = _fence(see, 3)
        lines += ["", f"**{_quoted(name)}**: {_code(what)}", "", fence, plain(see), fence]
    absent = [i for i in results["implementations"] if i["status"] != "ran"]
    lines += ["", *(f"- {_quoted(i['name'])}: {_code(i['reason'])}" for i in absent)]
    return "\n".join(_within(lines, LARGEST)) + "\n"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|---{'|---:' * (len(heading) - 1)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _quoted(text: str) -> str:
    """Text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", _cut(text))


def _code(text: str) -> str:
    """Text as a code span, in which a URL or a @name becomes no link."""
    fence = _fence(text, 1)
    return f"{fence} {_cut(text)} {fence}" if text.strip() else ""


def _fence(text: str, least: int) -> str:
    """More backticks than occur in a row anywhere in the text."""
    return "`" * max(least, *(len(m) + 1 for m in re.findall("`+", text)), 1)


def _within(lines: Sequence[str], most: int) -> Iterator[str]:
    """As many lines as fit, and a last line that counts the others, if there are any."""
    room = most - 200
    for i, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            yield f"… and {count(len(lines) - i)} more lines: see the report."
            return
        yield line


def github_annotations(results: Results, worse: Pairs | None = None) -> list[str]:
    """GitHub's workflow commands: one for each implementation that fails, and for each that did not start.
    With a baseline, of those that fail only the ones that have something `worse`."""
    fails = None if worse is None else {name for name, _ in worse}
    found = [
        (name, f"{what} {see}")
        for name, what, see in headlines(results)
        if fails is None or name in fails
    ]
    found += [
        (i["name"], i["reason"]) for i in results["implementations"] if i["status"] == "error"
    ]
    return [
        f"::error {_file(name)}title={_property(f'conformance: {name}')}::{_data(text)}"
        for name, text in found[:ANNOTATIONS]
    ]


def _file(name: str) -> str:
    path = name.partition(":")[0]
    return f"file={_property(path)}," if path.endswith(".py") else ""


def _data(text: str) -> str:
    return _cut(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
