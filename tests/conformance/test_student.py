"""A student's file: whatever it does, one clear sentence, and never a pass that it did not earn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases.catalogue import Case
from conformance.cases.profiles import find as found
from conformance.implementations import MalformedError, NotRunError
from conformance.implementations.student import Student
from conformance.judge.result import judged_by
from conformance.judge.subject import Subject
from conformance.model.problem import Trace
from conformance.model.results import Result
from conformance.tools.child import ChildError, Limits

find: Callable[[str], Case] = cache(found)
RIGHT = (Path(__file__).parents[2] / "examples" / "student.py").read_text(encoding="utf-8")
FORWARD = "    return A, Z\n"
DW = "[Z[l].T @ delta[l] for l in range(L)]"
BACKWARD = f"    return delta, {DW}\n"
BEGIN = "    L = len(W)\n"  # of backward_prop: line 15 of the file
CASE = "typical/tanh/L2/n7/float64/bias"  # d = 4, 3, 4


def but(old: str, new: str) -> str:
    assert RIGHT.count(old) == 1
    return RIGHT.replace(old, new)


def begin(line: str) -> str:
    """The file, whose backward_prop begins with that line."""
    return but(BEGIN, f"    {line}\n{BEGIN}")


@pytest.fixture
def student(tmp_path: Path) -> Iterator[Any]:
    """student(text): the implementation that this text is, ended after the test."""
    made: list[Student] = []

    def of(text: str, guarded: bool = False, **limits: Any) -> Student:
        path = tmp_path / "hand_in.py"
        path.write_text(text, encoding="utf-8")
        made.append(Student(str(path), limits=Limits(**limits), guarded=guarded))
        return made[-1]

    yield of
    for s in made:
        s.close()


def result(of: Student, case: str = CASE) -> Result:
    return judged_by(Subject(find(case)), of.name, of)


def run(of: Student, case: str = CASE) -> Trace:
    return of.run(find(case).problem())


# --- what conforms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        CASE,
        "square/relu/L3/n7/float32/w4-4",
        "heads/tanh>sigmoid+binary_cross_entropy/L3/n7/float32",
    ],
)
def test_the_example_conforms(case: str, student: Any) -> None:
    r = result(student(RIGHT), case)
    assert (r["verdict"], r["message"]) == ("conforms", "")
    assert r["not_returned"] == ["W_new", "loss"]


KEYED = (
    RIGHT.replace(FORWARD, "    return dict(enumerate(A, 1)), dict(enumerate(Z))\n")
    .replace(BACKWARD, f"    return dict(enumerate(delta, 1)), dict(enumerate({DW}, 1))\n")
)  # fmt: skip
UPDATE = (
    "\ndef update(W, dW, alpha):\n"
    "    return [W_l - alpha * dW_l for W_l, dW_l in zip(W, dW, strict=True)]\n"
)


@pytest.mark.parametrize(
    ("text", "not_returned"),
    [
        (but(BACKWARD, f"    return {DW}\n"), ["delta", "W_new", "loss"]),
        (but(BACKWARD, f"    return tuple({DW})\n"), ["delta", "W_new", "loss"]),
        (KEYED, ["W_new", "loss"]),
        (RIGHT + UPDATE, ["loss"]),
        (begin("print('x' * 1_000_000)"), ["W_new", "loss"]),
        (begin("print('{\"dW\": []}', flush=True)"), ["W_new", "loss"]),
        (begin("import os; os.write(1, b'{}\\n')"), ["W_new", "loss"]),
        ("import warnings; warnings.warn('old')\n" + RIGHT, ["W_new", "loss"]),
    ],
    ids=[
        "dW alone", "a tuple", "keyed by the layer", "its own update", "prints a lot",
        "prints JSON", "writes JSON to 1", "warns",
    ],
)  # fmt: skip
def test_what_conforms(text: str, not_returned: list[str], student: Any) -> None:
    r = result(student(text))
    assert (r["verdict"], r["message"]) == ("conforms", "")
    assert r["not_returned"] == not_returned


def test_the_hidden_constant_unit_is_taken_off_again(student: Any) -> None:
    """The notes' absorbed bias has a column that is no unit of the network."""
    p = find(CASE).problem()
    t = run(student(RIGHT + UPDATE))
    for q in ("A", "Z", "delta"):
        assert [M.shape for M in t.layers(q).values()] == [(7, 3), (7, 4)]
    assert [M.shape for M in t.W_new.values()] == [M.shape for M in p.W.values()]


SOFTMAX = "heads/tanh>softmax+cross_entropy/L3/n7/float64"
ROW_WISE = RIGHT.replace(
    "loss.gradient(Z[-1], Y) * sigma[-1].derivative(A[-1])",
    "sigma[-1].vjp(A[-1], loss.gradient(Z[-1], Y))",
)


def test_what_is_not_elementwise_is_for_those_who_say_that_they_can(student: Any) -> None:
    of = student(RIGHT)
    with pytest.raises(NotRunError) as e:
        run(of, SOFTMAX)
    assert str(e.value) == (
        "softmax is not elementwise: only a file that says ROW_WISE = True, and uses "
        "sigma[l].vjp(A, G), is given it."
    )
    of.close()
    assert result(student("ROW_WISE = True\n" + ROW_WISE), SOFTMAX)["verdict"] == "conforms"


def test_what_lies_beside_it(student: Any, tmp_path: Path) -> None:
    """A helper can be imported; what is named like our own modules does not come in their way."""
    for name in ("json", "numpy", "conformance", "refbp", "threading"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "helper.py").write_text("def product(P, Q):\n    return P @ Q\n")
    text = "from helper import product\n" + but("Z[-1] @ W_l", "product(Z[-1], W_l)")
    assert result(student(text))["verdict"] == "conforms"


# --- what is wrong --------------------------------------------------------------------------------

MALFORMED = {
    "A too short": (
        but(FORWARD, "    return A[:-1], Z\n"),
        "forward_pass returned A with 1 entries; expected 2: [A_1, …, A_2].",
    ),
    "Z without X": (
        but(FORWARD, "    return A, Z[1:]\n"),
        "forward_pass returned Z with 2 entries; expected 3: [Z_0, …, Z_2], Z_0 = X.",
    ),
    "Z alone": (
        but(FORWARD, "    return np.zeros(3)\n") + "import numpy as np\n",
        "forward_pass returned a ndarray; expected (A, Z).",
    ),
    "None from the first": (
        but(FORWARD, "    return\n"),
        "forward_pass returned None; expected (A, Z).",
    ),
    "None from the second": (
        but(BACKWARD, "    return\n"),
        "backward_prop returned dW as None; expected a list [∂L/∂W_1, …, ∂L/∂W_2].",
    ),
    "dW too long": (
        but(BACKWARD, f"    return delta, 2 * {DW}\n"),
        "backward_prop returned dW with 4 entries; expected 2: [∂L/∂W_1, …, ∂L/∂W_2].",
    ),
    "transposed": (
        but("Z[l].T @ delta[l]", "delta[l].T @ Z[l]"),
        "backward_prop returned dW_1 of shape (4, 5); expected (5, 4).",
    ),
    "a vector": (
        but("Z[l].T @ delta[l]", "(Z[l].T @ delta[l])[:, 0]"),
        "backward_prop returned dW_1 of shape (5,); expected (5, 4).",
    ),
    "a number": (
        but(BACKWARD, "    return delta, [1, 2]\n"),
        "backward_prop returned dW_1 as an int; expected an array of shape (5, 4).",
    ),
    "None in δ": (
        but(BACKWARD, f"    return [None, delta[1]], {DW}\n"),
        "backward_prop returned delta_1 as None; expected an array of shape (7, 4).",
    ),
    "keyed from 0": (
        but(BACKWARD, f"    return dict(enumerate(delta)), {DW}\n"),
        "backward_prop returned delta with the layers [0, 1]; expected [1, 2].",
    ),
    "integers": (
        but("Z[l].T @ delta[l]", "(Z[l].T @ delta[l]).astype(int)"),
        "backward_prop returned dW_1 of dtype int64; expected float64, as given.",
    ),
    "writes to W": (
        begin("W[1] *= 2"),
        "backward_prop wrote to its input: W_2 is not what it was given. "
        "Work on new arrays (or copies).",
    ),
    "writes to X": (
        begin("Z[0] += 1"),
        "backward_prop wrote to its input: Z_0 is not what it was given. "
        "Work on new arrays (or copies).",
    ),
    "writes to Y": (
        begin("Y[:] = 0"),
        "backward_prop wrote to its input: Y is not what it was given. "
        "Work on new arrays (or copies).",
    ),
    "writes to the list": (
        begin("W.append(W[0])").replace(BEGIN, "    L = len(W) - 1\n"),
        "backward_prop wrote to its input: W is not what it was given. "
        "Work on new arrays (or copies).",
    ),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_judged_deviates_and_says_why(text: str, message: str, student: Any) -> None:
    of = student(text)
    with pytest.raises(MalformedError) as e:
        run(of)
    assert str(e.value) == message
    r = result(of)
    assert (r["verdict"], r["message"]) == ("deviates", message)


def test_float64_in_a_float32_network(student: Any) -> None:
    of = student(
        but("Z[l].T @ delta[l]", "Z[l].T @ delta[l] * np.ones(1)") + "import numpy as np\n"
    )
    assert result(of)["verdict"] == "conforms"
    with pytest.raises(MalformedError) as e:
        run(of, "typical/tanh/L2/n7/float32")
    assert str(e.value) == (
        "backward_prop returned dW_1 of dtype float64; expected float32, as given: a NumPy scalar, or an "
        "array made without a dtype, makes float64 of what it meets."
    )


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (RIGHT[: RIGHT.index("def backward_prop")], {"delta", "dW", "W_new", "loss"}),
        (RIGHT[RIGHT.index("def backward_prop") :], {"A", "Z", "W_new", "loss"}),
        (but("return delta, [", "return None, ["), {"delta", "W_new", "loss"}),
    ],
    ids=["no backward_prop", "no forward_pass", "None for delta"],
)
def test_what_is_not_there_is_not_judged(source: str, missing: set[str], student: Any) -> None:
    found = result(student(source))
    assert (found["verdict"], set(found["not_returned"])) == ("conforms", missing)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            but("return A, Z", "return Z, A"),
            "forward_pass returned Z and A, it seems, the other way round",
        ),
        (
            but("return A, Z", "return A, [2 * Z[0], *Z[1:]]"),
            "forward_pass returned Z_0 that is not X",
        ),
        (
            but("Z.append(sigma_l(A[-1]))", "Z.append(sigma_l(A[-1]) + 1e-8)"),
            "forward_pass returned Z_1 whose last unit, the constant one, is not 1",
        ),
    ],
    ids=["exchanged", "another Z_0", "another constant"],
)
def test_what_is_returned_is_what_it_is_called(source: str, message: str, student: Any) -> None:
    with pytest.raises(MalformedError, match=message):
        run(student(source), "typical/tanh/L2/n7/float64/bias")


def test_nan_deviates(student: Any) -> None:
    r = result(student(but("Z[l].T @ delta[l]", "Z[l].T @ delta[l] * float('nan')")))
    assert r["verdict"] == "deviates"
    assert "got nan, expected " in r["message"]


FAILS: dict[str, tuple[str, str]] = {
    "raises": (
        begin("raise ValueError('no luck')"),
        "backward_prop raised ValueError: no luck (line 15: raise ValueError('no luck')).",
    ),
    "sys.exit": (
        begin("import sys; sys.exit()"),
        "backward_prop raised SystemExit: sys.exit was called (line 15: import sys; sys.exit()).",
    ),
    "reads": (
        begin("input()"),
        "backward_prop raised EOFError: EOF when reading a line (line 15: input()).",
    ),
    "recursion": (
        begin("return backward_prop(W, A, Z, Y, sigma, loss)"),
        "backward_prop raised RecursionError: maximum recursion depth exceeded "
        "(line 15: return backward_prop(W, A, Z, Y, sigma, loss)).",
    ),
    "memory": (
        begin("bytearray(2**40)"),
        "backward_prop raised MemoryError: no message (line 15: bytearray(2**40)).",
    ),
    "too few arguments": (
        but("def backward_prop(W, A, Z, Y, sigma, loss)", "def backward_prop(W, A, Z)"),
        "backward_prop raised TypeError: backward_prop() takes 3 positional arguments but 6 were "
        "given.",
    ),
    "empty": ("", "forward_pass is not defined in hand_in.py."),
    "syntax": (
        "x = 1\ndef forward_pass(:\n",
        "hand_in.py cannot be imported: SyntaxError: invalid syntax (line 2: def forward_pass(:)",
    ),
    "import": (
        "import not_there_at_all\n",
        "hand_in.py cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all' "
        "(line 1: import not_there_at_all)",
    ),
    "sys.exit at import": (
        "import sys\nsys.exit(3)\n",
        "hand_in.py cannot be imported: SystemExit: sys.exit was called (line 2: sys.exit(3))",
    ),
    "os._exit": (begin("import os; os._exit(5)"), "it ended (exit code 5)"),
    "os._exit at import": ("import os\nos._exit(5)\n", "it ended (exit code 5)"),
    "a signal": (
        begin("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        "it ended (signal SIGKILL)",
    ),
    "closes its output": (
        begin("import os; os.closerange(3, 99); os._exit(0)"),
        "it ended (exit code 0)",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAILS.values(), ids=FAILS)
def test_what_fails_is_an_error_in_one_sentence(text: str, message: str, student: Any) -> None:
    of = student(text)
    with pytest.raises(ChildError) as e:
        run(of)
    assert str(e.value) == message
    r = result(of)
    assert r["verdict"] == "error"
    assert message in r["message"]


def test_what_it_printed_before_it_died_is_told(student: Any) -> None:
    with pytest.raises(ChildError) as e:
        run(student(begin("import os; print('so long', flush=True); os._exit(1)")))
    assert str(e.value) == "it ended (exit code 1); it had written: so long"


@pytest.mark.parametrize("text", [begin("while True: pass"), "while True: pass\n"])
def test_what_does_not_end_is_ended(text: str, student: Any) -> None:
    of = student(text, seconds=1)
    with pytest.raises(ChildError) as e:
        run(of)
    assert str(e.value) == "it gave no answer in 1 s"
    assert of.child.process is None


def test_memory_is_limited_by_the_system(student: Any) -> None:
    text = begin("bytearray(2**31)")
    assert result(student(text))["verdict"] == "conforms"
    with pytest.raises(ChildError) as e:
        run(student(text, memory=2**31))
    assert str(e.value) == (
        "backward_prop raised MemoryError: no message (line 15: bytearray(2**31))."
    )


def test_after_one_that_ended_the_next_is_answered(student: Any) -> None:
    """What a file does to one network is not held against it in the next."""
    of = student(begin("if len(Y) == 1: import os; os._exit(1)"))
    p = find(CASE).problem()
    assert np.isfinite(of.run(p).dW[1]).all()
    with pytest.raises(ChildError):
        of.run(p.row(0))
    assert np.isfinite(of.run(p).dW[1]).all()


def test_what_could_be_had_of_a_file_that_is_half_done(student: Any) -> None:
    """`attempt`, for one who marks: the backward pass alone, where the forward pass is wrong."""
    trace, troubles = student(but(FORWARD, "    return\n")).attempt(find(CASE).problem())
    assert trace.missing == ("A", "Z", "W_new", "loss")
    assert troubles == [
        {
            "kind": "malformed",
            "function": "forward_pass",
            "text": "returned None; expected (A, Z).",
            "quantity": "",
        }
    ]
    trace, troubles = student(begin("1 / 0")).attempt(find(CASE).problem())
    assert trace.missing == ("delta", "dW", "W_new", "loss")
    assert [t["kind"] for t in troubles] == ["raised"]


def test_a_guarded_file_does_its_own_work(student: Any) -> None:
    text = "import refbp\n" + RIGHT
    assert result(student(text))["verdict"] == "conforms"
    with pytest.raises(ChildError) as e:
        run(student(text, guarded=True))
    assert str(e.value) == (
        "hand_in.py cannot be imported: ImportError: refbp may not be used here: the two "
        "procedures are to be your own (line 1: import refbp)"
    )
    assert result(student(RIGHT, guarded=True))["verdict"] == "conforms"


def test_it_says_its_version_and_in_whose_accuracy_it_is_judged(student: Any) -> None:
    of = student(RIGHT)
    assert of.start() == ({"python": sys.version.split()[0]}, "cpu")
    assert of.like == "refbp"
