"""Problems and traces as JSON: not a bit is lost, and what is wrong is said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import conformance
from conformance.cases.profiles import cases
from conformance.implementations import implementation
from conformance.model.exchange import (
    ExchangeError,
    hexed,
    line,
    problem_from,
    problem_json,
    read_line,
    trace_from,
    trace_json,
)
from conformance.model.problem import QUANTITIES, Problem, Trace

SCHEMAS = Path(conformance.__file__).parent / "commands/vectors/schema"
ANSWER = Draft202012Validator(json.loads((SCHEMAS / "answer.schema.json").read_text("utf-8")))


def odd_numbers(dtype: str) -> Any:
    f = np.finfo(dtype)
    tiny, least, most = f.smallest_subnormal, f.smallest_normal, f.max
    given = [0.0, -0.0, tiny, -tiny, least, -3 * tiny, most, -most, 1 / 3, np.inf, -np.inf, np.nan]
    return np.array(given, dtype).reshape(3, 4)


def of(M: Any, bias: bool = False) -> Problem:
    """A problem in which M is both X and W_1."""
    W = np.vstack([M.T, M.T[:1]]) if bias else M.T.copy()
    return Problem({1: W}, M, np.ones((3, 3), M.dtype), {1: "tanh"}, "huber", bias, 0.1)


def same(p: Problem, q: Problem) -> bool:
    return q.changed(p) == "" and (p.dtype, p.loss, p.bias) == (q.dtype, q.loss, q.bias)


# --- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_problem_comes_back_bit_for_bit(dtype: str, bias: bool) -> None:
    p = of(odd_numbers(dtype), bias)
    text = line(problem_json(p, "it"))
    assert text.count("\n") == 1
    assert "NaN" not in text
    back = problem_from(read_line(text))
    assert same(p, back)
    assert back.alpha.hex() == p.alpha.hex()


def test_every_case_of_quick_comes_back() -> None:
    for case in cases("quick"):
        p = case.problem()
        assert same(p, problem_from(read_line(line(problem_json(p, case.id))))), case.id


def test_a_number_in_hexadecimal() -> None:
    found = hexed(np.array([1.5, -0.0, np.nan, -np.inf]))
    assert found == ["0x1.8000000000000p+0", "-0x0.0p+0", "nan", "-inf"]
    assert hexed(np.float32(0.1)) == "0x1.99999a0000000p-4"
    assert hexed(np.array(5e-324)) == "0x0.0000000000001p-1022"


PROBLEM = problem_json(of(np.ones((3, 4))), "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float16"}, 'dtype is "float16"; expected "float64" or "float32".'),
        ({"dtype": ["float64"]}, 'dtype is ["float64"]; expected "float64" or "float32".'),
        ({"bias": 1}, "bias is 1; expected true or false."),
        ({"loss": None}, "loss is null; expected a name."),
        ({"sigma": "tanh"}, 'sigma is "tanh"; expected a list, an entry for each layer.'),
        ({"sigma": [3]}, "sigma_1 is 3; expected a name."),
        ({"sigma": ["tanh", "relu"]}, "sigma has 2 entries; expected 1, as W has."),
        ({"W": {}}, "W is {}; expected a list, an entry for each layer."),
        ({"W": [[]]}, "W_1 is no list of rows; expected [[…], …], a list for each row."),
        ({"W": [[["0x1p+0"]]]}, "W_1 has 1 rows; expected 4, the width before it."),
        (
            {"W": [[["0x1p+0"]]], "bias": True},
            "W_1 has 1 rows; expected 5, the width before it and the bias.",
        ),
        ({"Y": [[1]]}, "Y has shape (1, 1); expected (3, 3)."),
        ({"X": [[1], [1, 2]]}, "X has rows of [1, 2] numbers; expected rows of one length."),
        ({"alpha": "0.1"}, 'alpha is "0.1"; expected a hexadecimal float such as "0x1.8p+1".'),
    ],
)
def test_what_is_no_problem(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ExchangeError) as e:
        problem_from({**PROBLEM, **change})
    assert str(e.value) == message


def test_a_problem_that_lacks_something() -> None:
    for key in set(PROBLEM) - {"id"}:
        with pytest.raises(ExchangeError, match=f"^the problem has no '{key}'.$"):
            problem_from({k: v for k, v in PROBLEM.items() if k != key})
    with pytest.raises(ExchangeError, match=r"^the problem is a list; expected an object\.$"):
        problem_from([])


# --- traces ---------------------------------------------------------------------------------------


def test_a_trace_comes_back_bit_for_bit() -> None:
    for case in cases("quick"):
        p = case.problem()
        t = implementation("refbp").run(p)
        said = read_line(line(trace_json(t)))
        assert ANSWER.is_valid(said)
        back = trace_from(said, p)
        for q in QUANTITIES:
            for l, M in t.layers(q).items():
                assert M.tobytes() == back.layers(q)[l].tobytes(), (case.id, q, l)
        assert np.asarray(t.loss).tobytes() == np.asarray(back.loss).tobytes()


def test_what_is_left_out_stays_so() -> None:
    p = of(np.ones((3, 4)))
    t = Trace(dW={1: np.zeros((4, 3))})
    assert trace_json(t).keys() == {"dW"}
    said = {**trace_json(t), "A": None, "loss": None, "id": "it", "version": 1}
    assert ANSWER.is_valid(said)
    assert trace_from(said, p).missing == ("A", "Z", "delta", "W_new", "loss")


@pytest.mark.parametrize("x", ["0x1.8p+1", "0X1.8P1", "0xcp-2", "0x3", "0x.cp2", "+0x3p+0", 3, 3.0])
def test_three_in_many_ways(x: Any) -> None:
    said = {"A": [[[x] * 3] * 3]}
    assert ANSWER.is_valid(said)
    assert trace_from(said, of(np.ones((3, 4)))).A[1][0, 0] == 3


@pytest.mark.parametrize("x", ["inf", "-inf", "nan", "-nan", "INFINITY", "NaN"])
def test_what_is_no_number_but_a_float(x: str) -> None:
    assert ANSWER.is_valid({"loss": x, "A": [[[x]]]})
    found = trace_from({"loss": x}, of(np.ones((3, 4)))).loss
    assert float(found) == float(x) or np.isnan(float(found))  # type: ignore[arg-type]


WHERE = 'A_1[0, 0] is {}; expected a hexadecimal float such as "0x1.8p+1".'


@pytest.mark.parametrize(
    "x", ["1.5", "0.1", "", "0x", "0xp1", " 0x1", "0x1p", "x", "1e5", "٣", None, True, [], {}]
)
def test_what_is_no_float(x: Any) -> None:
    """float.fromhex takes "1.5" for 1.3125: a program that writes decimals would be wrong by that."""
    said = {"A": [[[x] * 3] * 3]}
    assert not ANSWER.is_valid(said)
    with pytest.raises(ExchangeError) as e:
        trace_from(said, of(np.ones((3, 4))))
    assert str(e.value) == WHERE.format(json.dumps(x))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "the answer is a list; expected an object."),
        ({"a": 1}, "the answer has 'a'; expected of A, Z, delta, dW, W_new, loss, id, version what there "
                   "is."),
        ({"version": 2}, "the answer is of version 2; expected 1."),
        ({"Z": [[[1]], [[1]]]}, "Z has 2 entries; expected 1, for the layers 1 to 1."),
        ({"dW": "no"}, "dW has no list; expected 1, for the layers 1 to 1."),
        ({"delta": [[1]]}, "delta_1 is no list of rows; expected [[…], …], a list for each row."),
        ({"A": [[[1, 2], [3]]]}, "A_1 has rows of [1, 2] numbers; expected rows of one length."),
        ({"A": [[["0x1p+9999"]]]}, WHERE.format('"0x1p+9999"')),
        ({"loss": 10**400}, f'loss is {"1" + 59 * "0"}; expected a hexadecimal float such as "0x1.8p+1".'),
    ],
)  # fmt: skip
def test_what_is_no_trace(said: Any, message: str) -> None:
    with pytest.raises(ExchangeError) as e:
        trace_from(said, of(np.ones((3, 4))))
    assert str(e.value) == message


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"A": [[[1, 0.1]]]}, "A_1[0, 1] is 0x1.999999999999ap-4, 0.1; expected a number of float32."),
        ({"A": [[["0x1p+128"]]]}, "A_1[0, 0] is 0x1.0000000000000p+128, 3.402823669209385e+38; "
                                  "expected a number of float32."),
        ({"loss": "0x1p-150"}, "loss is 0x1.0000000000000p-150, 7.006492321624085e-46; "
                               "expected a number of float32."),
    ],
)  # fmt: skip
def test_more_than_float32_holds(said: Any, message: str) -> None:
    with pytest.raises(ExchangeError) as e:
        trace_from(said, of(np.ones((3, 4), np.float32)))
    assert str(e.value) == message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{} {}", "\ufeff{}", "not json at all"])
def test_what_is_no_line_of_json(text: str) -> None:
    with pytest.raises(ExchangeError, match="is no line of JSON"):
        read_line(text)


def test_names_of_json5_are_numbers_too() -> None:
    """What Python's json.dumps, and others, write where no one told them not to."""
    said = read_line('{"A": [[[NaN, Infinity, -Infinity]]]}')
    found = trace_from(said, of(np.ones((3, 4)))).A[1][0].tolist()
    assert repr(found) == "[nan, inf, -inf]"
