"""What is done with a student's file in its process, in this one: answers and troubles."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from conformance.cases.profiles import find
from conformance.implementations import implementation
from conformance.implementations.student_process import Harness
from conformance.model.exchange import trace_from

RIGHT = (Path(__file__).parents[2] / "examples" / "student.py").read_text(encoding="utf-8")
BIASED = "typical/tanh/L2/n7/float64/bias"
FORWARD, BACKWARD = "    return A, Z\n", "    return delta, [Z[l].T @ delta[l] for l in range(L)]\n"


def but(old: str, new: str) -> str:
    assert RIGHT.count(old) == 1
    return RIGHT.replace(old, new)


def written(folder: Path, source: str) -> Path:
    """A file in a folder of its own: Python takes one of the same length and second for the same file."""
    path = folder / str(crc32(source.encode())) / "hand_in.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return path


def answer(folder: Path, source: str, case: str = BIASED, **more: Any) -> dict[str, Any]:
    harness = Harness(written(folder, source))
    for k, v in more.items():
        setattr(harness, k, v)
    return harness.answer(find(case).problem())


@pytest.mark.parametrize(
    "case",
    [
        BIASED,
        "typical/tanh/L3/n7/float64",
        "typical/relu/L1/n1/float32/bias",
        "kinks/relu/L1/n7/float64",
    ],
)
def test_a_right_file_answers_what_refbp_does(case: str, tmp_path: Path) -> None:
    p = find(case).problem()
    source = (
        RIGHT + "\n\ndef update(W, dW, alpha):\n    return [w - alpha * d for w, d in zip(W, dW)]\n"
    )
    said = answer(tmp_path, source, case)
    assert said.pop("troubles") == []
    found, of_refbp = trace_from(said, p), implementation("refbp").run(p)
    assert found.missing == ("loss",)
    for q in ("A", "Z", "delta", "dW", "W_new"):
        for l, M in of_refbp.layers(q).items():
            np.testing.assert_array_equal(found.layers(q)[l], M)


def test_a_softmax_is_given_to_who_asks_for_it(tmp_path: Path) -> None:
    case = "heads/tanh>softmax+cross_entropy/L3/n7/float64"
    assert answer(tmp_path, RIGHT, case)["unsupported"].startswith(
        "softmax is not elementwise: only"
    )
    source = "ROW_WISE = True\n" + RIGHT.replace(
        "loss.gradient(Z[-1], Y) * sigma[-1].derivative(A[-1])",
        "sigma[-1].vjp(A[-1], loss.gradient(Z[-1], Y))",
    )
    said = answer(tmp_path, source, case)
    assert said.pop("troubles") == []
    p = find(case).problem()
    np.testing.assert_array_equal(
        trace_from(said, p).delta[1], implementation("refbp").run(p).delta[1]
    )


def in_forward(result: str) -> str:
    return but(FORWARD, f"    return {result}\n")


def in_backward(result: str) -> str:
    return but(BACKWARD, f"    {result}\n")


DW = "[Z[l].T @ delta[l] for l in range(L)]"


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        ("import nothing_of_the_kind\n", "import", "hand_in.py cannot be imported: ModuleNotFoundError"),
        ("def f(:\n", "import", "hand_in.py cannot be imported: SyntaxError"),
        ("import sys; sys.exit(3)\n", "import", "hand_in.py cannot be imported: "),
        (in_forward("1 / 0"), "raised", "forward_pass raised ZeroDivisionError: division by zero (line "),
        (in_forward("None"), "malformed", "forward_pass returned None; expected (A, Z)."),
        (in_forward("(3, Z)"), "malformed", "forward_pass returned A as an int; expected a list [A_1, …, A_2]."),
        (in_forward("(A[:1], Z)"), "malformed", "forward_pass returned A with 1 entries; expected 2: [A_1, …, A_2]."),
        (in_forward("(Z, A)"), "malformed", "forward_pass returned Z and A, it seems, the other way round"),
        (in_forward("({1: A[0], 3: A[1]}, Z)"), "malformed", "forward_pass returned A with the layers [1, 3]; expected [1, 2]."),
        (in_forward("([A[0].tolist(), A[1]], Z)"), "malformed", "forward_pass returned A_1 as a list of 7; expected an array"),
        (in_forward("([A[0][:, 0], A[1]], Z)"), "malformed", "forward_pass returned A_1 of shape (7,); expected (7, 4)."),
        (in_forward("([A[0].astype(int), A[1]], Z)"), "malformed", "of dtype int64; expected float64, as given."),
        (in_forward("([A[0].astype('float32'), A[1]], Z)"), "malformed", "of dtype float32; expected float64, as given."),
        (in_forward("(A, [Z[0] + 1, *Z[1:]])"), "malformed", "forward_pass returned Z_0 that is not X"),
        (in_forward("(A, [Z[0], 2 * Z[1], Z[2]])"), "malformed", "forward_pass returned Z_1 whose last unit, the constant one"),
        (in_backward("W[0][0, 0] = 3; return delta"), "malformed", "backward_prop wrote to its input: W_1 is not what it was given."),
        (in_backward("Y[0] = 3; return delta"), "malformed", "backward_prop wrote to its input: Y is not what it was given."),
        (in_backward("W.pop(); return delta"), "malformed", "backward_prop wrote to its input: W is not what it was given."),
        (in_backward(f"return {DW}, delta"), "malformed", "backward_prop returned dW and delta, it seems, the other way round"),
        (in_backward("return delta[0]"), "malformed", "backward_prop returned dW as a ndarray; expected a list"),
        (RIGHT + "\ndef update(W, dW, alpha):\n    return W[:1]\n", "malformed", "update returned W_new with 1 entries"),
        (RIGHT[: RIGHT.index("def backward_prop")], "missing", "backward_prop is not defined in hand_in.py."),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said(source: str, kind: str, text: str, tmp_path: Path) -> None:
    said = answer(tmp_path, source)
    first = said["troubles"][0]
    assert first["kind"] == kind
    assert text in f"{first['function']} {first['text']}"


def test_a_file_that_returns_no_usable_forward_pass_wants_one(tmp_path: Path) -> None:
    """And knows none of its own: what is right is not within reach of the file."""
    assert set(answer(tmp_path, in_forward("None"))) == {"wants", "troubles"}
    nan = in_forward("([a * float('nan') for a in A], Z)")
    assert set(answer(tmp_path, nan, by_part=True)) == {"A", "Z", "wants", "troubles"}
    assert "nan" in str(answer(tmp_path, nan)["dW"])
    skipped = answer(tmp_path, RIGHT, skip=("forward_pass",))
    assert (skipped["wants"], skipped["troubles"][0]["kind"]) == (True, "skipped")
    given = implementation("refbp").run(find(BIASED).problem())
    said = Harness(written(tmp_path, in_forward("None"))).answer(find(BIASED).problem(), given)
    assert set(said) == {"dW", "delta", "troubles"}
    assert said["dW"] == answer(tmp_path, RIGHT)["dW"]


@pytest.mark.parametrize(
    ("source", "kind", "quantity", "missing"),
    [
        (in_forward("(A[1:], Z)"), "malformed", "A", ["A_1"]),
        (in_forward("(A[:1], Z)"), "malformed", "A", ["A_2"]),
        (in_forward("([A[0][:, 0], A[1]], Z)"), "malformed", "A", ["A_1"]),
        (in_forward("(A, {1: Z[1], 2: Z[2]})"), "malformed", "Z", []),
        (in_forward("(A, Z[1:])"), "form", "Z", []),
        (in_forward("(A, [2 * Z[0], *Z[1:]])"), "form", "Z", []),
        (in_forward("(A, [Z[0], 2 * Z[1], Z[2]])"), "malformed", "Z", ["Z_1"]),
        (in_forward("([None, *A], Z)"), "form", "A", []),
        (in_forward("({l: a for l, a in enumerate(A)}, Z)"), "form", "A", []),
        (in_forward("(Z, A)"), "form", "A", []),
        (in_forward("([a.tolist() for a in A], [z.tolist() for z in Z])"), "", "", []),
        (in_forward("([a.astype('float32') for a in A], Z)"), "", "", []),
        (in_forward("([[['x']], A[1]], Z)"), "malformed", "A", ["A_1"]),
        (in_backward(f"return {DW}, delta"), "form", "dW", []),
        (in_backward(f"return delta[:1], {DW}"), "malformed", "delta", ["delta_2"]),
        (in_backward(f"return delta, {DW}[1:]"), "malformed", "dW", ["dW_1"]),
        (in_backward(f"return delta, [None, *{DW}]"), "form", "dW", []),
        (in_backward(f"return delta, [d.T for d in {DW}]"), "malformed", "dW", ["dW_1", "dW_2"]),
        (in_backward(f"return delta, dict(enumerate({DW}, 2))"), "form", "dW", []),
        (in_backward(f"W[0] *= 2; return delta, {DW}"), "note", "", []),
    ],
)  # fmt: skip
def test_by_part_one_part_alone_is_missing(
    source: str, kind: str, quantity: str, missing: list[str], tmp_path: Path
) -> None:
    case = BIASED if "2 * Z[1]" in source else "typical/sigmoid/L2/n2/float64"
    p = find(case).problem()
    said = answer(tmp_path, source, case, by_part=True)
    if said.pop("wants", False):
        right = implementation("refbp").run(p)
        more = Harness(written(tmp_path, source))
        more.skip, more.by_part = ("forward_pass",), True
        said |= {k: v for k, v in more.answer(p, right).items() if k != "troubles"}
    troubles = said.pop("troubles")
    assert [(t["kind"], t.get("quantity", "")) for t in troubles[:1]] == [(kind, quantity)] * bool(
        kind
    )
    found, right = (
        trace_from(said, p),
        trace_from({k: v for k, v in answer(tmp_path, RIGHT, case).items() if k != "troubles"}, p),
    )
    lost = []
    for q in ("A", "Z", "delta", "dW"):
        for l, M in right.layers(q).items():
            if np.isnan(found.layers(q)[l]).all():
                lost.append(f"{q}_{l}")
            else:
                np.testing.assert_allclose(found.layers(q)[l], M, 1e-6, 1e-6)
    assert lost == missing


def test_nested_lists_are_handed_back_as_they_were_returned(tmp_path: Path) -> None:
    lists = (
        in_forward("([a.tolist() for a in A], [z.tolist() for z in Z])")
        .replace(
            "    L = len(W)\n", "    assert type(A[0]) is type(Z[0]) is list\n    L = len(W)\n"
        )
        .replace("Z[l].T", "__import__('numpy').array(Z[l]).T")
    )
    assert answer(tmp_path, lists, by_part=True) == answer(tmp_path, RIGHT)


def test_layers_by_number_and_no_delta(tmp_path: Path) -> None:
    by_number = but(FORWARD, "    return {l + 1: a for l, a in enumerate(A)}, dict(enumerate(Z))\n")
    assert answer(tmp_path, by_number) == answer(tmp_path, RIGHT)
    alone = answer(tmp_path, in_backward(f"return None, {DW}"))
    assert (set(alone), alone["troubles"]) == ({"A", "Z", "dW", "troubles"}, [])
