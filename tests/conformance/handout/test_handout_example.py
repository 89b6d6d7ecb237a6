"""A TOML file is read strictly: each thing that does not fit has its own sentence."""

# ruff: noqa: E501   a table

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.handout.example import HandoutError, read

RIGHT = """
title = "T"
convention = "column"
loss = "mean_squared_error"
alpha = 0.1
x = [1, 2]
y = [1]
[[layers]]
W = [[1, 2], [3, 4]]
b = [0, 0]
activation = "tanh"
[[layers]]
W = [[1, 2]]
b = [0]
activation = "identity"
"""

BAD = {  # what is replaced, by what, and what is said after the name of the file
    "unknown field": ("alpha = 0.1", "alpha = 0.1\nalpa = 1", "line 6: alpa is an unknown field 'alpa'. Did you mean 'alpha'?"),
    "unknown in layer": ('activation = "tanh"', 'activation = "tanh"\nactivatoin = 1', "line 12: layers[1].activatoin is an unknown field 'activatoin'. Did you mean 'activation'?"),
    "missing": ("alpha = 0.1\n", "", ": alpha is missing; expected it here."),
    "missing W": ("W = [[1, 2]]\n", "", "line 12: layers[2].W is missing; expected it here."),
    "not TOML": ("alpha = 0.1", "alpha = ", ": it is not TOML: "),
    "no title": ('title = "T"', 'title = " "', "line 2: title is ' '; expected a text in quotes."),
    "long title": ('title = "T"', 'title = "' + "T" * 201 + '"', "line 2: title has 201 characters; expected 200 at most."),
    "convention": ('"column"', '"colum"', "line 3: convention is an unknown convention 'colum'. Did you mean 'column'?"),
    "loss": ('"mean_squared_error"', '"mse"', "line 4: loss is an unknown loss 'mse'. There are: mean_squared_error, "),
    "loss no text": ('"mean_squared_error"', "3", "line 4: loss is 3; expected one of mean_squared_error, half_squared_error"),
    "activation": ('"tanh"', '"tan"', "line 11: layers[1].activation is an unknown activation 'tan'. Did you mean 'tanh'?"),
    "alpha": ("alpha = 0.1", "alpha = nan", "line 5: alpha is nan; expected a number from 0 to 1000."),
    "alpha true": ("alpha = 0.1", "alpha = true", "line 5: alpha is True; expected a number from 0 to 1000."),
    "infinite": ("x = [1, 2]", "x = [1, inf]", "line 6: x has inf in it; expected finite numbers, a million at most."),
    "large": ("x = [1, 2]", "x = [1, 1e9]", "line 6: x has 1000000000.0 in it; expected finite numbers, a million at most."),
    "text in x": ("x = [1, 2]", 'x = [1, "2"]', "line 6: x has '2' in it; expected numbers."),
    "no list": ("x = [1, 2]", "x = 1", "line 6: x is 1; expected a list of numbers, such as [0.5, -1.0]."),
    "empty": ("x = [1, 2]", "x = []", "line 6: x is []; expected a list of numbers"),
    "rows in x": ("x = [1, 2]", "x = [[1], [2]]", "line 6: x is [[1], [2]]; expected a list of numbers"),
    "X in column": ("x = [1, 2]", "X = [[1, 2]]", "line 6: X stands beside convention = 'column': one example as a column is x and y."),
    "no y": ("y = [1]\n", "", ": y is missing; one example as a column is x and y."),
    "y": ("y = [1]", "y = [1, 2]", "line 7: y has 2 numbers; expected 1, as the last layer has outputs."),
    "W no rows": ("W = [[1, 2]]", "W = [1, 2]", "line 13: layers[2].W is [1, 2]; expected rows of numbers, such as [[0.5, -1.0], [2, 0]]."),
    "W ragged": ("W = [[1, 2], [3, 4]]", "W = [[1, 2], [3]]", "line 9: layers[1].W has rows of 2, 1 numbers; expected one length."),
    "W shape": ("W = [[1, 2]]", "W = [[1, 2, 3]]", "line 13: layers[2].W has 3 columns; expected 2, the 2 units of layer 1: with convention = 'column' W is d_l×d_(l-1)."),
    "W first": ("W = [[1, 2], [3, 4]]", "W = [[1], [3]]", "line 9: layers[1].W has 1 columns; expected 2, the 2 features of x: with convention = 'column'"),
    "wide": ("W = [[1, 2], [3, 4]]", "W = [" + ", ".join(["[1, 2]"] * 7) + "]", "line 9: layers[1].W makes 7 units; expected 6 at most, for paper."),
    "many features": ("x = [1, 2]", "x = [1, 2, 3, 4, 5, 6, 7]", "line 6: x has 7 features; expected 6 at most, for paper."),
    "b": ("b = [0, 0]", "b = [0]", "line 10: layers[1].b has 1 number; expected 2, as W makes units."),
    "b in some": ("b = [0]\n", "", "line 12: layers[2].b is in some layers alone; expected it in all or in none."),
    "softmax": ('"identity"', '"softmax"', "line 15: layers[2].activation is 'softmax', which takes a whole row; expected it with convention = 'rows'."),
    "softmax inside": ('"tanh"', '"softmax"', "line 11: layers[1].activation is 'softmax' before the last layer; expected it there."),
    "layers": ("[[layers]]\nW = [[1, 2]]", "[layers.x]\nW = [[1, 2]]", "line 8: layers[1].x is an unknown field 'x'."),
    "deep": ("b = [0, 0]", "b = [0, 0]\nrepeat = 8", 'line 8: layers are 9 together; expected 8 at most, or show = "plot".'),
    "repeat": ("b = [0, 0]", "b = [0, 0]\nrepeat = 0", "line 11: layers[1].repeat is 0; expected a whole number from 1 to 64."),
    "show": ("alpha = 0.1", 'alpha = 0.1\nshow = "plots"', "line 6: show is an unknown kind of handout 'plots'. Did you mean 'plot'?"),
    "fixed": ("b = [0, 0]", "", "line 14: layers[2].b is in some layers alone"),
    "flag": ("alpha = 0.1", "alpha = 0.1\nfixed_biases = 1", "line 6: fixed_biases is 1; expected true or false."),
    "training": ("alpha = 0.1", "alpha = 0.1\ntraining = 3", "line 6: training is 3; expected a table of fields."),
    "epochs": ('activation = "identity"', 'activation = "identity"\n[training]\nepochs = 0', "line 17: training.epochs is 0; expected a whole number from 1 to 5000."),
    "batch": ('activation = "identity"', 'activation = "identity"\n[training]\nepochs = 1\nbatch_size = 2', "line 18: training.batch_size is 2; expected 1, the batch, at most."),
    "both": ('alpha = 0.1\n', 'alpha = 0.1\nfixed_biases = true\ntraining = {epochs = 1}\n', "line 6: fixed_biases stands beside [training], which moves them; expected one of them."),
    "published number": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "loss"\nvalue = 0.5', 'line 19: published[1].value is 0.5; expected a number in quotes, as it was printed: "0.7514".'),
    "published loss": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "loss"\nlayer = 1\nvalue = "0.5"', "line 18: published[1].quantity is a loss, which has no layer and no place; expected neither."),
    "published layer": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "Z"\nlayer = 3\nat = [1, 1]\nvalue = "0.5"', "line 19: published[1].layer is 3; expected 2, the last layer, at most."),
    "published place": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "Z"\nlayer = 1\nat = [3, 1]\nvalue = "0.5"', "line 20: published[1].at is [3, 1]; expected a place in 2×1 numbers."),
    "published at": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "Z"\nlayer = 1\nat = [0, 1]\nvalue = "0.5"', "line 20: published[1].at is [0, 1]; expected row and column, from 1: [1, 2]."),
    "published nowhere": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "Z"\nvalue = "0.5"', "line 16: published[1].layer is missing; expected it here."),
    "published quantity": ('activation = "identity"', 'activation = "identity"\n[[published]]\nwhat = "o"\nquantity = "z"\nvalue = "0.5"', "line 18: published[1].quantity is an unknown quantity 'z'. There are: A, Z, delta"),
}  # fmt: skip


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_right_one_is_read(tmp_path: Path) -> None:
    e = read(write(tmp_path, RIGHT))
    assert (e.name, e.title, e.L, e.n) == ("my", "T", 2, 1)
    assert e.W[1].tolist() == [[1, 3], [2, 4]]  # the batch form
    assert e.X.tolist() == [[1, 2]]


@pytest.mark.parametrize("which", BAD)
def test_what_does_not_fit_is_said(which: str, tmp_path: Path) -> None:
    old, new, told = BAD[which]
    assert old in RIGHT
    path = write(tmp_path, RIGHT.replace(old, new, 1))
    with pytest.raises(HandoutError) as e:
        read(path)
    message = str(e.value)
    assert told in message
    assert message.startswith((path, f"cannot read {path}"))
    assert "\n" not in message
    assert len(message) < 600


def test_rows_have_their_own_sentences(tmp_path: Path) -> None:
    text = RIGHT.replace('"column"', '"rows"').replace("x = [1, 2]", "X = [[1, 2], [3, 4]]")
    for y, W, told in (
        ("y = [1]", "[[1], [2]]", "line 7: y stands beside convention = 'rows': a batch of rows is X and Y."),
        ("Y = [[1]]", "[[1], [2]]", "line 7: Y is 1×1; expected 2×1, as the last layer has outputs."),
        ("Y = [[1], [2]]", "[[1, 2]]", "has 1 rows; expected 2, the 2 units of layer 1: with convention = 'rows' W is d_(l-1)×d_l."),
    ):  # fmt: skip
        made = text.replace("y = [1]", y).replace("[[1, 2]]\nb", f"{W}\nb")
        with pytest.raises(HandoutError) as e:
            read(write(tmp_path, made))
        assert told in str(e.value)


def test_too_many_examples(tmp_path: Path) -> None:
    rows = ", ".join(["[1, 2]"] * 9)
    text = RIGHT.replace('"column"', '"rows"').replace("x = [1, 2]", f"X = [{rows}]")
    text = text.replace("y = [1]", "Y = [[1]]")
    with pytest.raises(HandoutError, match="X has 9 examples; expected 8 at most, for paper"):
        read(write(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, told in (
        (str(tmp_path / "no.toml"), "No such file or directory; expected an example, a TOML file."),
        (write(tmp_path, "#" * 70000), "it has 70,000 bytes; expected 65,536 at most."),
        ("mazurr", "Did you mean 'mazur'"),
        ("a\0.toml", "expected an example, a TOML file."),
    ):
        with pytest.raises(HandoutError) as e:
            read(path)
        assert told in str(e.value)
    (tmp_path / "latin.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(HandoutError, match="it is not UTF-8 text"):
        read(str(tmp_path / "latin.toml"))


VALUES = ("3", "-1", "0", "nan", "-inf", "true", '""', '"x"', "[]", "[[]]", "[1, [2]]", "[[1], 2]", "{}", "{a = 1}",
          "[[1, 2, 3]]", "[{}]", "2020-01-01", "1e308", "1" * 400, "1" * 5000, '["a"]', "[[true]]", "[" * 300)  # fmt: skip


def said(path: str) -> str:
    """What is wrong with a file; "" where nothing is."""
    try:
        read(path)
    except HandoutError as e:
        return str(e)
    return ""


@pytest.mark.parametrize("value", VALUES, ids=lambda v: v[:12])
def test_no_value_in_any_field_is_more_than_a_sentence(value: str, tmp_path: Path) -> None:
    """Read, or refused in one sentence: nothing else."""
    lines = RIGHT.strip().splitlines()
    tried = [
        "\n".join([*lines[:i], f"{line.partition('=')[0]}= {value}", *lines[i + 1 :]])
        for i, line in enumerate(lines)
        if "=" in line
    ]
    more = ("training", "published", "show", "text", "credit", "fixed_biases", "X")
    tried += [f"{field} = {value}\n{RIGHT}" for field in more]
    for text in tried:
        told = said(write(tmp_path, text))
        assert "\n" not in told
        assert len(told) < 800
