"""`conformance vectors check`: judges a program's answers to the vectors of a folder.

The truth of a vector is computed anew from its id, and the answer is judged at the gates `step`, `end-to-end`
and `exact`. Of the vector's file only the problem is read, to check that it is still the same. An answer to
no vector is reported, and so is a vector without an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from conformance.cases.catalogue import Case
from conformance.cases.profiles import PROFILES, cases
from conformance.commands.vectors.files import Entry, Json, VectorsError, read_index, read_json
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

ANYBODY = ""  # judged by the default rows of accuracy.toml, without known differences
AGAIN = "it was exported by another version: export again."

Progress = Callable[[int, int, str], None]


class Checked(NamedTuple):
    """The results; and the answers and vectors that could not be used, with the reason in a sentence each."""

    results: Results
    troubles: list[str]


class Answer(NamedTuple):
    """One answer, as JSON, and its file and line."""

    place: str
    json: object


@dataclass
class _Check:
    """The state of a check while answers are read."""

    folder: Path
    name: str
    entries: dict[str, Entry]
    cases: dict[str, Case] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # of the first answer to each
    stale: dict[str, str] = field(default_factory=dict)  # why a vector cannot be used
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        wanted = set(self.entries)
        self.cases = {c.id: c for c in cases("exhaustive") if c.id in wanted}
        for id in wanted - set(self.cases):
            self.stale[id] = f"there is no case {id} here; {AGAIN}"

    def take(self, answer: Answer) -> None:
        """Judge one answer, or report why it cannot be judged."""
        if not isinstance(answer.json, dict):
            self.troubles.append(
                f'{answer.place}: the answer is no object; expected {{"id": "…", …}}.'
            )
        elif not isinstance(id := answer.json.get("id"), str):
            self.troubles.append(
                f'{answer.place}: the answer has no id; expected {{"id": "…", …}}.'
            )
        elif id not in self.entries:
            self.troubles.append(
                f"{answer.place}: there is no vector {id!r:.200} in {self.folder}."
            )
        elif id in self.places:
            if id in self.cases:
                places = f"{self.places[id]} and {answer.place}"
                message = f"it is answered twice, at {places}; expected one answer."
                self.results[id] = judge_exception(self.cases[id], self.name, message)
        else:
            self.places[id] = answer.place
            if id in self.cases:
                self._judge(id, answer.json)

    def _judge(self, id: str, answer: Json) -> None:
        try:
            subject = Subject(self.cases[id])
            why = self._changed(self.entries[id], subject)
        except ImportError as e:
            why = f"it cannot be made here: {e}."
        if why:
            self.stale[id] = why
            return
        self.results[id] = {**_judged(subject, answer), "implementation": self.name}

    def _changed(self, entry: Entry, subject: Subject) -> str:
        """Why a vector's file has not the problem of its id; "" if it has."""
        path = self.folder / entry["file"]
        try:
            vector = read_json(path)
        except VectorsError as e:
            return str(e)
        problem = problem_json(subject.problem, entry["id"])
        as_here = isinstance(vector, dict) and (vector.get("version"), vector.get("problem"))
        if as_here == (VERSION, problem):
            return ""
        return f"{path} holds other numbers than {entry['id']} stands for; {AGAIN}"

    @property
    def silent(self) -> list[str]:
        """The vectors without an answer."""
        return [id for id in self.entries if id not in self.places]

    def in_order(self) -> list[Result]:
        """A result for each vector that is a case, in the index's order."""
        for id, case in self.cases.items():
            if id not in self.results:
                why = self.stale.get(id, "there is no answer to it.")
                result = judge_exception(case, self.name, f"not run: {why}")
                self.results[id] = {**result, "verdict": "not-run"}
        return [self.results[id] for id in self.entries if id in self.cases]


def _judged(subject: Subject, answer: Json) -> Result:
    """The result of one answer: as for `cmd:`, without the gates that need more runs."""
    case = subject.case
    if answer.get("unsupported"):
        why = f"not run: {str(answer['unsupported'])[:300]}"
        return {**judge_exception(case, ANYBODY, why), "verdict": "not-run"}
    if answer.get("error"):
        return judge_exception(case, ANYBODY, f"it says: {str(answer['error'])[:300]}")
    try:
        trace = trace_from(answer, subject.problem)
    except ExchangeError as e:
        return judge_malformed(case, ANYBODY, str(e))
    result = judge(subject, ANYBODY, trace, whole=False)
    return looked_at(subject, ANYBODY, Runs(trace), result, lambda problem: None, None)


# --- the answers ----------------------------------------------------------------------------------


def _answers(path: Path, troubles: list[str]) -> Iterator[Answer]:
    """The answers in a JSON-lines file, or in the *.json of a folder. Raises VectorsError."""
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
            except UnicodeDecodeError as e:
                troubles.append(f"{place}: it is not UTF-8 text ({e.reason}).")
            except ExchangeError as e:
                troubles.append(f"{place}: {e}")


# --- the check ------------------------------------------------------------------------------------


def check(
    folder: Path,
    answers: Path,
    partial: bool = False,
    progress: Progress = lambda done, total, case: None,
) -> Checked:
    """Judge answers to the vectors of a folder; the results are like those of a run. Raises VectorsError.

    `partial`: vectors without an answer do not make the exit code 2.
    """
    begun = time.monotonic()
    index = read_index(folder)
    checking = _Check(folder, str(answers), {e["id"]: e for e in index["files"]})
    for answer in _answers(answers, checking.troubles):
        checking.take(answer)
        progress(len(checking.results), len(checking.entries), answer.place)
    results = checking.in_order()
    chosen = [checking.cases[r["case"]] for r in results]
    row = _row(checking.name, results)
    row["reason"] = left_out(row, results, chosen)
    differences = [difference(d, results) for d in known_differences()]
    troubles = [*checking.troubles, *checking.stale.values()]
    whole = Results(
        schema_version=SCHEMA_VERSION,
        environment=environment(time.monotonic() - begun, 0),
        profile=Profile(
            name=index["profile"],
            description=PROFILES.get(index["profile"], ""),
            select=index["select"],
            cases=len(checking.entries),
        ),
        implementations=[row],
        families=families(chosen),
        cases=[c.row() for c in chosen],
        results=results,
        known_differences=differences,
        summary=_complete(
            summary([row], results, differences, [row["name"]]),
            len(troubles),
            [] if partial else checking.silent,
            len(checking.entries),
        ),
    )
    return Checked(whole, troubles)


def _row(name: str, results: list[Result]) -> Implementation:
    """The row of the answers, as an implementation that ran."""
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
    """The summary, with exit code 2 if a vector has no answer or something could not be used."""
    passed_over = []
    if silent:
        first = f"{silent[0]}{', …' if len(silent) > 1 else ''}"
        passed_over.append(f"{len(silent):,} of {total:,} vectors have no answer ({first})")
    if troubles:
        passed_over.append(f"{troubles:,} of the answers and vectors could not be used")
    if not passed_over:
        return s
    verdict: Verdict = "not-run" if s["verdict"] == "conforms" else s["verdict"]
    message = "; ".join([s["message"].rstrip("."), *passed_over]) + "."
    return {**s, "verdict": verdict, "exit_code": 2, "message": message}
