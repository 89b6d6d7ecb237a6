"""Asks the file for every network, and gets an answer for each, whatever the file does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from conformance.cases.catalogue import Case
from conformance.commands.grading.submission import Submission
from conformance.model.problem import Problem, Trace
from conformance.tools.plain import without_sequences

__all__ = ["FUNCTIONS", "Answer", "Asking", "Trouble"]

FUNCTIONS = ("forward_pass", "backward_prop", "update")
STARTING = 10.0  # seconds more for the start of Python and the import of the file
STRIKES = 2  # a function that has ended its process so often is not called again

Trouble = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What the file returned for one network, and what went wrong meanwhile."""

    trace: Trace = field(default_factory=Trace)
    troubles: tuple[Trouble, ...] = ()  # kind, function, quantity and text, fit to be shown
    printed: str = ""

    @property
    def stuck(self) -> bool:
        """Whether a function raised, or returned what has no shape that fits."""
        return any(t["kind"] in ("raised", "malformed") for t in self.troubles)


class Asking:
    """One submission that is asked for one network after another, in a limited time for all.

    A function that ends the process, or hangs, is left out and the others are asked again, so that they get
    their points.
    """

    def __init__(self, submission: Submission, seconds: float, total: float, update: bool) -> None:
        self.submission, self.seconds, self.left = submission, seconds, total
        self.total = total
        self.calls = FUNCTIONS if update else FUNCTIONS[:2]
        self.strikes: Counter[str] = Counter()  # how often each function ended the process
        self.why: dict[str, Trouble] = {}  # how it did so last
        self.dead: Trouble | None = None  # the file cannot be loaded at all

    def all(self, cases: Iterable[Case]) -> dict[Case, Answer]:
        """The answer for each case."""
        return {case: self._answer(case.problem()) for case in cases}

    def _answer(self, problem: Problem) -> Answer:
        trace, troubles = self._network(problem)
        shown = tuple(
            {
                "kind": t["kind"],
                "quantity": t.get("quantity", ""),
                "function": without_sequences(t["function"], 80),
                "text": without_sequences(t["text"], 500),
            }
            for t in troubles[:10]
            if t["kind"] != "skipped"
        )
        return Answer(
            trace, shown, without_sequences(self.submission.child.printed(500), 500, lines=True)
        )

    def _network(self, problem: Problem) -> tuple[Trace, list[Trouble]]:
        """The answer with the functions left out that end the process: another one after each attempt.

        Once backward_prop was handed the right A and Z, forward_pass is not called again: it may know them.
        """
        ended = {name: self._again(name) for name in self.calls if self.strikes[name] >= STRIKES}
        before, told = Trace(), list[Trouble]()  # what there was before they were handed over
        while True:
            calls = [name for name in self.calls if name not in ended]
            calls = [name for name in calls if not (told and name == "forward_pass")]
            trace, troubles = self._attempt(problem, calls)
            if told:
                trace, troubles = replace(trace, A=before.A, Z=before.Z), [*told, *troubles]
            if not _ended(troubles) or self.dead or self.left <= 0 or not calls:
                return trace, [*ended.values(), *troubles]
            *others, last = troubles
            if others and not told:
                before, told = trace, others
                calls = [name for name in calls if name != "forward_pass"]
            name = self._culprit(problem, calls)
            self.strikes[name] += 1
            self.why[name] = ended[name] = _of(name, last)

    def _culprit(self, problem: Problem, calls: Sequence[str]) -> str:
        """Which function ends the process: of the shortest row of calls that does so, the last."""
        for i in range(1, len(calls)):
            if _ended(self._attempt(problem, calls[:i])[1]):
                return calls[i - 1]
        return calls[-1]

    def _again(self, name: str) -> Trouble:
        why = self.why[name]
        return {**why, "text": f"was not called again, since {STRIKES} times it {why['text']}"}

    def _attempt(self, problem: Problem, calls: Sequence[str]) -> tuple[Trace, list[Trouble]]:
        """Ask once, with only those functions called."""
        if self.submission.child.process is None and not self.dead:
            self._load(problem)
        return self._ask(problem, calls, self.seconds)

    def _load(self, problem: Problem) -> None:
        """Start the process and have it import the file, calling nothing."""
        _, troubles = self._ask(problem, (), self.seconds + STARTING)
        bad = [t for t in troubles if t["kind"] in ("import", "ended")]
        if bad and self.left > 0:
            name = self.submission.file.name
            self.dead = bad[0] if bad[0]["function"] else _of(f"importing {name}", bad[0])

    def _used_up(self) -> Trouble:
        text = f"the {self.total:g} s for all networks were used up before there was an answer"
        return {"kind": "ended", "function": "", "text": text}

    def _ask(
        self, problem: Problem, calls: Sequence[str], seconds: float
    ) -> tuple[Trace, list[Trouble]]:
        if self.dead:
            return Trace(), [self.dead]
        if self.left <= 0:
            return Trace(), [self._used_up()]
        self.submission.ready(problem, min(seconds, self.left))
        begun = time.monotonic()
        skip = [name for name in FUNCTIONS if name not in calls]
        trace, troubles = self.submission.attempt(problem, skip)
        self.left -= time.monotonic() - begun
        if _ended(troubles) and self.left <= 0:
            return trace, [self._used_up()]
        return trace, troubles


def _of(name: str, trouble: Trouble) -> Trouble:
    """The end of a process as the trouble of the function that was running, whose name precedes it."""
    text = trouble["text"].removeprefix("it ").replace("ended (", "ended its process (", 1)
    return {**trouble, "function": name, "text": text}


def _ended(troubles: Sequence[Trouble]) -> bool:
    return any(t["kind"] == "ended" for t in troubles)
