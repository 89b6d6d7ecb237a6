"""Somebody's own object: what is wrong with it is said in one sentence, and it is never green."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import conformance
from conformance import NotRunError, Problem, Trace, report
from conformance.implementations import IMPLEMENTATIONS, implementation
from conformance.judge.start import RunError, started
from conformance.model.results import Results
from conformance.report.explain import explained

ONE = "id=typical/tanh/L2/n7/float64/bias"  # d = 4, 3, 4; judged in row and repeat too


@pytest.fixture(autouse=True)
def _nothing_is_started() -> Iterator[None]:
    started.cache_clear()
    yield
    started.cache_clear()


def right(p: Problem) -> Trace:
    return implementation("refbp").run(p)


def mine(run: Any = right, **more: Any) -> Any:
    return SimpleNamespace(**{"name": "mine", "run": run, **more})


def judged(of: Any, select: str = ONE) -> Results:
    started.cache_clear()
    return conformance.run(of, profile="standard", select=select, jobs=0)


def said(of: Any) -> tuple[str, str]:
    (result,) = judged(of)["results"]
    return result["verdict"], result["message"]


def not_started(of: Any) -> tuple[str, str, int]:
    results = judged(of)
    assert results["results"] == []
    (row,) = results["implementations"]
    return row["status"], row["reason"], results["summary"]["exit_code"]


def but(**changed: Callable[[Any], Any]) -> Callable[[Problem], Trace]:
    """refbp's trace, but for some quantities."""

    def run(p: Problem) -> Trace:
        t = right(p)
        return replace(t, **{q: f(getattr(t, q)) for q, f in changed.items()})

    return run


def each(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda layers: {l: f(M) for l, M in layers.items()}


def raising(e: BaseException) -> Callable[[Any], Any]:
    def raises(_: Any) -> Any:
        raise e

    return raises


# --- what runs ------------------------------------------------------------------------------------


class Mine:
    """One of mine.

    More about it.
    """

    name = "mine"

    def run(self, p: Problem) -> Trace:
        return right(p)


@pytest.mark.parametrize("of", [Mine(), Mine], ids=["an object", "its class"])
def test_an_object_with_name_and_run_is_all_there_must_be(of: Any) -> None:
    results = judged(of)
    (row,) = results["implementations"]
    assert (row["description"], row["reason"], row["device"]) == ("One of mine", "", "cpu")
    assert [r["verdict"] for r in results["results"]] == ["conforms"]
    assert results["summary"]["message"] == "1 results of mine: all conform."


def test_what_else_it_may_have() -> None:
    of = mine(description="my own", start=lambda: ({"lib": 3}, "card"), like="refbp")
    (row,) = judged(of)["implementations"]
    assert (row["description"], row["versions"], row["device"]) == ("my own", {"lib": "3"}, "card")
    (row,) = judged(mine(versions={"lib": "4"}))["implementations"]
    assert row["versions"] == {"lib": "4"}


def test_another_object_of_the_same_name_is_another() -> None:
    """As in a notebook, where the next cell mends what the last one showed."""
    for of, verdict in ((mine(lambda p: None), "deviates"), (mine(), "conforms")):
        results = conformance.run(of, profile="standard", select=ONE)
        assert [r["verdict"] for r in results["results"]] == [verdict]


def test_like_takes_the_known_differences_of_another() -> None:
    """Of those of jax-cpu: at 0 its leaky_relu belongs to the right branch."""
    select = "family=kinks,activation=leaky_relu,depth=1,dtype=float64"
    run = implementation("jax-cpu")
    run.start()
    verdicts = {
        like: [r["verdict"] for r in judged(mine(run.run, like=like), select)["results"]]
        for like in ("", "jax-cpu")
    }
    assert verdicts == {"": ["deviates"], "jax-cpu": ["known-difference"]}


def test_like_nothing_that_there_is() -> None:
    assert not_started(mine(like="tensorflow")) == (
        "not-run",
        f"mine is like 'tensorflow'; expected one of {', '.join(IMPLEMENTATIONS)}.",
        2,
    )


def test_what_is_left_out_is_not_judged_and_the_report_says_so() -> None:
    results = judged(mine(lambda p: Trace(dW=right(p).dW)))
    (result,) = results["results"]
    assert result["verdict"] == "conforms"
    assert result["not_returned"] == ["A", "Z", "delta", "W_new", "loss"]
    assert {r["quantity"] for r in result["records"] if r["gate"] != "repeat"} == {"dW"}
    said = "A, Z, δ, new W, the loss: not returned, so not judged."
    assert results["implementations"][0]["reason"] == said
    assert said in report.render(results)


# --- what is no implementation --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "shown"),
    [
        (SimpleNamespace(name="mine"), "namespace(name='mine')"),
        (SimpleNamespace(name="mine", run=3), "namespace(name='mine', run=3)"),
        (SimpleNamespace(run=len), "namespace(run=<built-in function len>)"),
        (SimpleNamespace(name="", run=len), "namespace(name='', run=<built-in function len>)"),
        (SimpleNamespace(name=3, run=len), "namespace(name=3, run=<built-in function len>)"),
        (len, "<built-in function len>"),
        (None, "None"),
    ],
    ids=["no run", "run is a number", "no name", "empty", "a number", "a function", "None"],
)
def test_what_is_no_implementation(of: Any, shown: str) -> None:
    with pytest.raises(RunError) as e:
        judged(of)
    assert str(e.value) == (
        f"{shown} is no implementation; expected an object with a name and run(problem), "
        "or a string."
    )


def test_nothing_to_run() -> None:
    with pytest.raises(RunError) as e:
        conformance.run()
    assert str(e.value) == "nothing to run; expected an implementation, or its name."


@pytest.mark.parametrize(
    ("name", "of"),
    [("mine", (mine(), mine())), ("refbp", (mine(name="refbp"),))],
    ids=["two objects", "one of ours"],
)
def test_a_name_for_each(name: str, of: Any) -> None:
    with pytest.raises(RunError) as e:
        conformance.run(*of)
    assert str(e.value) == (
        f"two implementations have the name {name!r}; expected a name for each."
        if name != "refbp"
        else "an object has the name 'refbp', which is one of ours; give it another."
    )


def test_a_name_of_two_lines_is_none() -> None:
    with pytest.raises(RunError) as e:
        conformance.run(mine(name="a\nb"))
    assert str(e.value) == "'a\\nb' is no name; expected one that is printed on one line."


# --- what it returns ------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "None": (lambda p: None, "it returned a NoneType; expected a Trace."),
    "a dict": (lambda p: {"dW": right(p).dW}, "it returned a dict; expected a Trace."),
    "nothing": (
        lambda p: Trace(),
        "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least.",
    ),
    "the loss alone": (
        lambda p: Trace(loss=right(p).loss),
        "it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at least.",
    ),
    "transposed": (but(dW=each(np.transpose)), "dW_1 has shape (3, 5); expected (5, 3)."),
    "without the bias": (
        but(dW=each(lambda M: M[:-1])),
        "dW_1 has shape (4, 3); expected (5, 3).",
    ),
    "(n,) for (n, d)": (but(A=each(lambda M: M[:, 0])), "A_1 has shape (7,); expected (7, 3)."),
    "float32": (
        but(Z=each(np.float32)),
        "Z_1 has dtype float32; expected float64, as given.",
    ),
    "lists": (but(A=each(np.ndarray.tolist)), "A_1 is a list; expected a numpy.ndarray."),
    "a matrix": (
        but(A=each(lambda M: M.view(np.matrix))),
        "A_1 is a matrix; expected a numpy.ndarray.",
    ),
    "a list of layers": (
        but(A=lambda A: [*A.values()]),
        "A is a list; expected a mapping of layers 1 to 2.",
    ),
    "None for a quantity": (
        but(A=lambda A: None),
        "A is a NoneType; expected a mapping of layers 1 to 2.",
    ),
    "a missing layer": (but(A=lambda A: {1: A[1]}), "A has the layers [1]; expected 1 to 2."),
    "from 0": (
        but(A=lambda A: {0: A[1], 1: A[2]}),
        "A has the layers [0, 1]; expected 1 to 2.",
    ),
    "another Z_0": (
        lambda p: replace(right(p), Z={0: 2 * p.X, **right(p).Z}),
        "it returned Z_0 that is not X; expected X itself, or no Z_0.",
    ),
    "a float": (but(loss=float), "the loss is a float; expected an array of shape ()."),
    "a loss of each": (
        but(loss=lambda x: np.full(7, x)),
        "the loss is float64 of shape (7,); expected one number of float64.",
    ),
}


@pytest.mark.parametrize(("run", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_trace_deviates_and_says_why(run: Callable[[Any], Any], message: str) -> None:
    assert said(mine(run)) == ("deviates", message)


def test_float32_for_float64() -> None:
    assert said(mine(but(A=each(np.float32)))) == (
        "deviates", "A_1 has dtype float32; expected float64, as given.",
    )  # fmt: skip


def test_the_same_quantities_each_time() -> None:
    turns = iter([True, False] * 100)
    run = but(loss=lambda loss: loss if next(turns) else None)
    assert said(mine(lambda p: run(p) if p.depth > 1 else right(p))) == (
        "deviates",
        "of one example alone, loss is there or not, as it happens; expected the same quantities "
        "each time.",
    )


def test_what_is_right_of_a_batch_alone() -> None:
    run = lambda p: right(p) if len(p.X) > 1 else Trace()  # noqa: E731
    assert said(mine(run)) == (
        "deviates",
        "of one example alone, it returned no A, Z, δ, ∂L/∂W or W_new; expected one of them at "
        "least.",
    )


@pytest.mark.parametrize(
    ("e", "reason"),
    [
        (ValueError("no\nluck"), "ValueError: no luck"),
        (ZeroDivisionError(), "ZeroDivisionError: no message"),
        (SystemExit(3), "SystemExit: 3"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_raises_is_an_error(e: BaseException, reason: str) -> None:
    verdict, message = said(mine(raising(e)))
    assert verdict == "error"
    assert message.startswith(f"mine raised {reason} (test_own.py:")


def test_an_exception_that_says_nothing_shows_its_line() -> None:
    def run(p: Problem) -> Trace:
        raise AssertionError

    assert said(mine(run))[1].endswith(": raise AssertionError)")


def test_one_that_is_raised_for_one_example_alone_says_so() -> None:
    def run(p: Problem) -> Trace:
        if p.X.shape[0] == 1:
            raise ValueError("no batch")
        return right(p)

    assert "raised ValueError: no batch, of one example alone (test_own.py:" in said(mine(run))[1]


def test_each_distinct_error_has_its_line() -> None:
    def run(p: Problem) -> Trace:
        if p.depth == 1:
            raise ValueError("too shallow")
        if p.sigma[1] == "tanh":
            raise KeyError("tanh")
        return right(p)

    results = judged(mine(run), "family=typical,dtype=float64,activation=tanh")
    lines = "\n".join(explained(results, "mine"))
    assert "error       raised ValueError: too shallow (test_own.py:" in lines
    assert "error       raised KeyError: 'tanh' (test_own.py:" in lines


def test_ctrl_c_is_no_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        said(mine(lambda p: raising(KeyboardInterrupt())(p) if p.depth > 1 else right(p)))


def test_the_input_cannot_be_written_to() -> None:
    def run(p: Problem) -> Trace:
        p.W[1][0, 0] = 0
        return right(p)

    verdict, message = said(mine(run))
    assert verdict == "error"
    assert message.startswith("mine raised ValueError: assignment destination is read-only (")


def test_who_writes_to_it_all_the_same_is_found_out() -> None:
    def run(p: Problem) -> Trace:
        t = right(p)
        p.W[2].flags.writeable = True
        p.W[2][0, 0] += 1
        return t

    assert said(mine(run)) == (
        "deviates",
        "it wrote to its input: W_2 is not what it was given.",
    )


def test_an_implementation_that_runs_no_case_is_no_success() -> None:
    results = judged(mine(raising(NotRunError("not today."))))
    assert [r["verdict"] for r in results["results"]] == ["not-run"]
    assert results["implementations"][0]["reason"] == "1 cases not run: not today."
    assert (results["summary"]["verdict"], results["summary"]["exit_code"]) == ("not-run", 2)
    assert results["summary"]["message"] == "could not run: mine; nothing ran."
    assert results["implementations"][0]["status"] == "not-run"


def test_one_that_runs_no_case_is_no_success_beside_another() -> None:
    idle = mine(raising(NotRunError("not today.")), name="idle")
    results = conformance.run(idle, mine(), select="activation=tanh,depth=1")
    assert results["summary"]["exit_code"] == 2
    assert results["summary"]["message"] == "could not run: idle."
    rows = {i["name"]: (i["status"], i["cases"]) for i in results["implementations"]}
    assert rows["idle"] == ("not-run", 0)
    assert rows["mine"][0] == "ran"
    assert "Everything asked for ran" not in report.render(results)


def test_Z_0_may_be_returned_too() -> None:
    assert said(mine(lambda p: replace(right(p), Z={0: p.X, **right(p).Z}))) == ("conforms", "")


# --- by name --------------------------------------------------------------------------------------

HOLDS = '''
from conformance.implementations import implementation, NotRunError

number = 3


class Mine:
    """Mine."""

    name = "mine"

    def run(self, problem):
        return implementation("refbp").run(problem)


class Needs(Mine):
    def __init__(self, more):
        pass


class NoRun:
    pass


class Card(Mine):
    def start(self):
        raise NotRunError("there is no card.")


def made():
    return Mine()


instance = Mine()
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, for this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    (tmp_path / "mine.py").write_text(HOLDS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("what", ["mine.py:Mine", "mine.py:made", "mine.py:instance"])
def test_an_object_in_a_file(what: str, folder: Path) -> None:
    results = judged(what)
    assert [(r["implementation"], r["verdict"]) for r in results["results"]] == [(what, "conforms")]
    assert results["implementations"][0]["description"] == "Mine"


NAMED = {
    "mine.py:Nine": ("not-run", "mine.py has no 'Nine'. Did you mean 'Mine'?"),
    "mine.py:number": (
        "not-run",
        "mine.py:number is of type int; expected an object with name and run(problem).",
    ),
    "mine.py:NoRun": (
        "not-run",
        "mine.py:NoRun is of type NoRun, with no run(problem); expected one that returns a Trace.",
    ),
    "mine.py:Card": ("not-run", "there is no card."),
    "mine.py:Needs": (
        "error",
        "it did not start: TypeError: Needs.__init__() missing 1 required positional argument: "
        "'more'",
    ),
    "no_such_module:Mine": (
        "not-run",
        "cannot read 'no_such_module:Mine': there is no module no_such_module.",
    ),
    "json:nothing": ("not-run", "json has no 'nothing'."),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_is_named_and_cannot_start(what: str, folder: Path) -> None:
    assert not_started(what) == (*NAMED[what], 2)


FILES = {
    "import not_there_at_all": (
        "not-run",
        "not_there_at_all is not installed: pip install not_there_at_all.",
    ),
    "from collections import Mapping": (  # no pip install would help
        "error",
        "it did not start: ImportError: cannot import name 'Mapping' from 'collections' "
        f"({collections.__file__}) (broken.py:1 in <module>: from collections import Mapping)",
    ),
    "def (:": ("error", "it did not start: SyntaxError: invalid syntax (broken.py, line 1)"),
    "1 / 0": (
        "error",
        "it did not start: ZeroDivisionError: division by zero (broken.py:1 in <module>: 1 / 0)",
    ),
    "raise SystemExit(3)": (
        "error",
        "it did not start: SystemExit: 3 (broken.py:1 in <module>: raise SystemExit(3))",
    ),
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_cannot_be_imported(text: str, folder: Path) -> None:
    (folder / "broken.py").write_text(text + "\n", encoding="utf-8")
    assert not_started("broken.py:Mine") == (*FILES[text], 2)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("none.py:Mine", "implementation 'none.py:Mine': there is no file none.py."),
        ("none.py", "implementation 'none.py': there is no file none.py."),
        (
            "refpb",
            "unknown implementation 'refpb'. Did you mean 'refbp'? There are: "
            f"{', '.join(IMPLEMENTATIONS)}. Or FILE.py, FILE.py:NAME, cmd:PROGRAM.",
        ),
    ],
    ids=["no such file", "no such student", "misspelt"],
)
def test_what_there_is_not(what: str, message: str, folder: Path) -> None:
    with pytest.raises(RunError) as e:
        judged(what)
    assert str(e.value) == message


# --- in the report --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "∂L/∂Wörter 🦉"]
)
def test_a_name_is_text_in_the_report(name: str) -> None:
    results = judged(mine(but(dW=each(lambda M: M + 1)), name=name))
    assert results["summary"]["exit_code"] == 1
    page = report.render(results)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert ("∂L/∂Wörter 🦉" in page) == ("🦉" in name)


def test_results_show_themselves_in_a_notebook() -> None:
    results: Any = judged(mine(name="<b>mine</b>"))
    html = results._repr_html_()
    assert "<td>&lt;b&gt;mine&lt;/b&gt;</td>" in html
    assert "<caption>conforms: " in html
    assert "<b>" not in html
