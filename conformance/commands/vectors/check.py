"""`conformance vectors check`: what a program answered to the vectors of a folder, judged.

What an answer is held to is computed anew from the vector's id, by the gates `step`, `end-to-end` and
`exact`; of the vector's file only the problem is read, to see that it is still the same one. Nothing is
passed over: an answer that belongs to no vector is told, and so is a vector that has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from conformance.cases.catalogue import Case
from conformance.cases.profiles import PROFILES, cases
from conformance.commands.vectors.files import Entry, VectorsError, read_index, read_json
from conformance.judge.gates import judge, judge_exception, judge_malformed
from conformance.judge.known_differences import known_differences
from conformance.judge.result import looked_at
from conformance.judge.subject import Subject
from conformance.judge.summary import difference, environment, families, left_out, summary
from conformance.model.exchange import VERSION, ExchangeError, problem_json, read_line, trace_from
from conformance.model.problem import Runs
from conformance.model.results import (
    SCHEMA_VERSION,
    Implementation,
    Profile,
    Result,
    Results,
    Summary,
    Verdict,
)

__all__ = ["Checked", "check"]

ANYBODY = ""  # held to the default rows of accuracy.toml, and known to differ in nothing
AGAIN = "it was exported by another version: export again."

Progress = Callable[[int, int, str], None]


class Checked(NamedTuple):
    """The results, and what of the answers and of the folder could not be used, a sentence each."""

    results: Results
    troubles: list[str]


class Answer(NamedTuple):
    """One answer and where it stands."""

    place: str
    said: Any


@dataclass
class _Check:
    """The vectors of a folder while answers to them come in."""

    folder: Path
    name: str
    entries: dict[str, Entry]
    cases: dict[str, Case] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)  # id: why its vector is of no use
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        wanted = set(self.entries)
        self.cases = {c.id: c for c in cases("exhaustive") if c.id in wanted}
        for id in wanted - set(self.cases):
            self.stale[id] = f"there is no case {id} here; {AGAIN}"

    def take(self, answer: Answer) -> None:
        """Judge one answer, or say why not."""
        id = answer.said.get("id") if isinstance(answer.said, dict) else None
        if not isinstance(id, str):
            what = "has no id" if isinstance(answer.said, dict) else "is no object"
            self.troubles.append(f'{answer.place}: the answer {what}; expected {{"id": "…", …}}.')
        elif id not in self.entries:
            self.troubles.append(
                f"{answer.place}: there is no vector {id!r:.200} in {self.folder}."
            )
        elif id in self.places:
            self._twice(id, f"{self.places[id]} and {answer.place}")
        else:
            self.places[id] = answer.place
            if id in self.cases:
                self._judge(id, answer.said)

    def _judge(self, id: str, said: Any) -> None:
        try:
            subject = Subject(self.cases[id])
            why = self._changed(self.entries[id], subject)
        except ImportError as e:
            why = f"it cannot be made here: {e}."
        if why:
            self.stale[id] = why
            return
        self.results[id] = {**_judged(subject, said), "implementation": self.name}

    def _changed(self, entry: Entry, subject: Subject) -> str:
        """Why a vector's file is not the one that its id stands for; "" where it is."""
        path = self.folder / entry["file"]
        try:
            said = read_json(path)
        except VectorsError as e:
            return str(e)
        said = said if isinstance(said, dict) else {}
        expected = problem_json(subject.problem, entry["id"])
        if said.get("version") == VERSION and said.get("problem") == expected:
            return ""
        return f"{path} holds other numbers than {entry['id']} stands for; {AGAIN}"

    def _twice(self, id: str, places: str) -> None:
        if id in self.cases:
            message = f"it is answered twice, at {places}; expected one answer."
            self.results[id] = judge_exception(self.cases[id], self.name, message)

    @property
    def silent(self) -> list[str]:
        """The vectors without an answer."""
        return [id for id in self.entries if id not in self.places]

    def in_order(self) -> list[Result]:
        """A result for each vector that is a case, in the index's order."""
        for id, case in self.cases.items():
            if id not in self.results:
                why = self.stale.get(id, "there is no answer to it.")
                found = judge_exception(case, self.name, f"not run: {why}")
                self.results[id] = {**found, "verdict": "not-run"}
        return [self.results[id] for id in self.entries if id in self.cases]


def _judged(subject: Subject, said: Any) -> Result:
    """The result of one answer: as `cmd:` has it, but for the gates that need more runs."""
    case = subject.case
    if said.get("unsupported"):
        found = judge_exception(case, ANYBODY, f"not run: {str(said['unsupported'])[:300]}")
        return {**found, "verdict": "not-run"}
    if said.get("error"):
        return judge_exception(case, ANYBODY, f"it says: {str(said['error'])[:300]}")
    try:
        trace = trace_from(said, subject.problem)
    except ExchangeError as e:
        return judge_malformed(case, ANYBODY, str(e))
    result = judge(subject, ANYBODY, trace, whole=False)
    return looked_at(subject, ANYBODY, Runs(trace), result, lambda problem: None, None)


# --- the answers ----------------------------------------------------------------------------------


def _answers(path: Path, troubles: list[str]) -> Iterator[Answer]:
    """The answers of a JSON-lines file, or of the *.json of a folder. Raises VectorsError."""
    try:
        if path.is_dir():
            yield from _of_folder(path, troubles)
        else:
            yield from _of_file(path, troubles)
    except OSError as e:
        raise VectorsError(f"cannot read {path}: {e.strerror or e}.") from e


def _of_folder(path: Path, troubles: list[str]) -> Iterator[Answer]:
    for file in sorted(path.glob("*.json")):
        try:
            yield Answer(str(file), read_json(file))
        except VectorsError as e:
            troubles.append(str(e))


def _of_file(path: Path, troubles: list[str]) -> Iterator[Answer]:
    with path.open("rb") as f:
        for number, raw in enumerate(f, start=1):
            place = f"{path}, line {number}"
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield Answer(place, read_line(text))
            except (UnicodeDecodeError, ExchangeError) as e:
                said = e if isinstance(e, ExchangeError) else f"it is not UTF-8 text ({e.reason})."
                troubles.append(f"{place}: {said}")


# --- the whole ------------------------------------------------------------------------------------


def check(
    folder: Path,
    answers: Path,
    partial: bool = False,
    progress: Progress = lambda done, total, case: None,
) -> Checked:
    """Judge answers to the vectors of a folder: results, as those of a run. Raises VectorsError.

    `partial`: that some vectors have no answer is no reason for exit code 2.
    """
    begun = time.monotonic()
    index = read_index(folder)
    found = _Check(folder, str(answers), {e["id"]: e for e in index["files"]})
    for answer in _answers(answers, found.troubles):
        found.take(answer)
        progress(len(found.results), len(found.entries), answer.place)
    results = found.in_order()
    chosen = [found.cases[r["case"]] for r in results]
    row = _row(found.name, results)
    row["reason"] = left_out(row, results, chosen)
    differences = [difference(d, results) for d in known_differences()]
    troubles = [*found.troubles, *found.stale.values()]
    whole = Results(
        schema_version=SCHEMA_VERSION,
        environment=environment(time.monotonic() - begun, 0),
        profile=Profile(
            name=index["profile"],
            description=PROFILES.get(index["profile"], ""),
            select=index["select"],
            cases=len(found.entries),
        ),
        implementations=[row],
        families=families(chosen),
        cases=[c.row() for c in chosen],
        results=results,
        known_differences=differences,
        summary=_complete(
            summary([row], results, differences, [row["name"]]),
            len(troubles),
            [] if partial else found.silent,
            len(found.entries),
        ),
    )
    return Checked(whole, troubles)


def _row(name: str, results: list[Result]) -> Implementation:
    """The answers as an implementation that ran."""
    return Implementation(
        name=name,
        description="answers to vectors, judged in step, end-to-end and exact alone",
        status="ran",
        reason="",
        versions={},
        device="",
        dtypes=["float64", "float32"],
        cases=len(results),
        probes={},
    )


def _complete(s: Summary, troubles: int, silent: list[str], total: int) -> Summary:
    """A summary that is not green where something was passed over: exit code 2."""
    said = []
    if silent:
        first = f"{silent[0]}{', …' if len(silent) > 1 else ''}"
        said.append(f"{len(silent):,} of {total:,} vectors have no answer ({first})")
    if troubles:
        said.append(f"{troubles:,} of the answers and vectors could not be used")
    if not said:
        return s
    verdict: Verdict = "not-run" if s["verdict"] == "conforms" else s["verdict"]
    message = "; ".join([s["message"].rstrip("."), *said]) + "."
    return {**s, "verdict": verdict, "exit_code": 2, "message": message}
