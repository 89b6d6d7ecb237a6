"""A TOML file is read strictly: each thing that does not fit has its own sentence."""

# ruff: noqa: E501   a table

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.commands.handout import text
from conformance.commands.handout.document import Wish, made
from conformance.commands.handout.example import HandoutError, read

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

ROWS = (
    RIGHT.replace('"column"', '"rows"').replace("x = [1, 2]", "X = [[1, 2], [3, 4]]")
    .replace("y = [1]", "Y = [[1], [2]]").replace("W = [[1, 2]]", "W = [[1], [2]]")
)  # fmt: skip
CLASSES = (
    ROWS.replace("mean_squared_error", "cross_entropy").replace("Y = [[1], [2]]", "Y = [[1, 0], [0, 1]]")
    .replace("W = [[1], [2]]\nb = [0]", "W = [[1, 0], [0, 1]]\nb = [0, 0]").replace('"identity"', '"softmax"')
)  # fmt: skip
ONE = RIGHT[: RIGHT.index("[[layers")].replace("x = [1, 2]", "x = [1, 1]") + (
    '[[layers]]\nW = [[0.1, 0.2]]\nb = [0.4]\nactivation = "identity"\n'
)
P = 'activation = "identity"\n[[published]]\n'

BAD = {  # the file, what is replaced in it, by what, and what is said after the file's name
    # the writing
    "no value": (RIGHT, "alpha = 0.1", "alpha =", ", line 5: alpha has no value; expected a number, a text in quotes, true, false or a list in brackets."),
    "decimal comma": (RIGHT, "alpha = 0.1", "alpha = 0,1", ", line 5: alpha has a decimal comma, or a list without brackets; expected 0.5 for 0,5, or [0, 5]."),
    "bare point": (RIGHT, "alpha = 0.1", "alpha = .1", ", line 5: alpha has .1; expected a digit before the point: 0.1."),
    "fraction": (RIGHT, "alpha = 0.1", "alpha = 1/10", ", line 5: alpha is to be worked out first; expected its value, such as 0.5 for 1/2."),
    "two points": (RIGHT, "alpha = 0.1", "alpha = 0.1.2", ", line 5: alpha has a point with no digit after it, or two; expected 5.0 for 5., and one point in a number."),
    "colon": (RIGHT, "alpha = 0.1", "alpha: 0.1", ", line 5: alpha has no = after its name; expected field = value."),
    "no quotes": (RIGHT, '"tanh"', "tanh", ', line 11: layers[1].activation has tanh without quotes; expected quotes around a text: "tanh".'),
    "quotes of print": (RIGHT, '"T"', "“T”", ', line 2: title has a quote of print, “; expected the straight one of the keyboard: ".'),
    "open quotes": (RIGHT, '"T"', '"T', ", line 2: title is a text that is not closed; expected quotes at its end, or three of them around several lines."),
    "backslash": (RIGHT, '"T"', '"C:\\T"', ", line 2: title has a \\ in its quotes; expected \\\\ for each, or single quotes around it."),
    "a dash of print": (RIGHT, "x = [1, 2]", "x = [1, −2]", ", line 6: x has a dash of print, −; expected the minus of the keyboard: -."),
    "no comma": (RIGHT, "x = [1, 2]", "x = [1 2]", ", line 6: x misses a comma, or its closing bracket; expected [1, 2], or [[1, 2], [3, 4]]."),
    "semicolon": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [1, 2; 3, 4]", ", line 9: layers[1].W misses a comma, or its closing bracket; expected [1, 2], or [[1, 2], [3, 4]]."),
    "not closed": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [[1, 2], [3, 4]", ", line 9: layers[1].W misses a comma, or its closing bracket; expected [1, 2], or [[1, 2], [3, 4]]."),
    "closed twice": (RIGHT, "x = [1, 2]", "x = [1, 2]]", ", line 6: x has a ] too many; expected as many as are opened."),
    "parentheses": (RIGHT, "x = [1, 2]", "x = (1, 2)", ", line 6: x is in parentheses; expected brackets: [0.5, -1.0]."),
    "NumPy": (RIGHT, "x = [1, 2]", "x = np.array([1, 2])", ", line 6: x has np.array(…) in it, a piece of a program; expected the value written out."),
    "two commas": (RIGHT, "x = [1, 2]", "x = [1,, 2]", ", line 6: x has a , where a value is to stand; expected one value between two commas."),
    "Python's true": (RIGHT, "alpha = 0.1", "alpha = 0.1\nfixed_biases = True", ", line 6: fixed_biases is True; expected true or false, in small letters."),
    "none": (RIGHT, "b = [0, 0]", "b = None", ", line 10: layers[1].b is None, which TOML has not; expected a value, or no such line."),
    "twice": (RIGHT, "alpha = 0.1", "alpha = 0.1\nalpha = 0.2", ", line 6: alpha stands a second time, after line 5; expected it once: leave one out."),
    "twice in a layer": (RIGHT, "W = [[1, 2]]", "W = [\n  [1, 2],\n]\nW = [[1, 2]]", ", line 16: layers[2].W stands a second time, after line 13; expected it once: leave one out."),
    "a header twice": (RIGHT, "[[layers]]", "[layers]", ", line 12: layers[1] stands a second time; expected it once, and tables of a list as [[layers]]."),
    "header not closed": (RIGHT, "[[layers]]\nW = [[1, 2]]", "[[layers\nW = [[1, 2]]", ", line 12: [[layers is not closed; expected a header such as [[layers]]."),
    "hidden character": (RIGHT, "alpha = 0.1", "alpha = 0.1\x01", ", line 5: alpha has a character that is not seen, \\x01; expected none: delete it."),
    "deep lists": (RIGHT, "x = [1, 2]", "x = "+"["*2000, ", line 6: x is a list in too many lists; expected rows of numbers."),
    "thousands of digits": (RIGHT, "x = [1, 2]", "x = [1, "+"2"*5000+"]", ", line 6: x has a number of 5,000 digits; expected numbers of a million at most."),
    "in hex": (RIGHT, "x = [1, 2]", "x = [1, 0x"+"f"*5000+"]", ", line 6: x has a whole number of thousands of digits as number 2; expected a finite number, a million at most."),
    "alpha in hex": (RIGHT, "alpha = 0.1", "alpha = 0x"+"f"*5000, ", line 5: alpha is a whole number of thousands of digits; expected a number from 0 to 1000."),
    "flag in hex": (RIGHT, "alpha = 0.1", "alpha = 0.1\nfixed_biases = 0x"+"f"*5000, ", line 6: fixed_biases is a whole number of thousands of digits; expected true or false."),
    # the fields
    "unknown field": (RIGHT, "alpha = 0.1", "alpha = 0.1\nalpa = 1", ", line 6: alpa is an unknown field 'alpa'. Did you mean 'alpha'? There are: title, text, credit, lang, convention, loss, alpha, x, y, X, Y, fixed_biases, show, layers, training, published."),
    "another's field": (RIGHT, "alpha = 0.1", "learning_rate = 0.1", ", line 5: learning_rate is an unknown field 'learning_rate'. Did you mean 'alpha'?"),
    "small w": (RIGHT, "W = [[1, 2]]", "w = [[1, 2]]", ", line 13: layers[2].w is an unknown field 'w'. Did you mean 'W'?"),
    "unknown in layer": (RIGHT, 'activation = "tanh"', 'activation = "tanh"\nactivatoin = 1', ", line 12: layers[1].activatoin is an unknown field 'activatoin'. Did you mean 'activation'? There are: W, b, activation, repeat."),
    "below the layers": (RIGHT, 'activation = "identity"', 'activation = "identity"\nshow = "plot"', ", line 16: layers[2].show stands in the wrong place; expected it above the first header."),
    "above the layers": (RIGHT, "alpha = 0.1", "alpha = 0.1\nb = [0]", ", line 6: b stands in the wrong place; expected it below a [[layers]]."),
    "a table in a layer": (RIGHT, "[[layers]]\nW = [[1, 2]]", "[layers.x]\nW = [[1, 2]]", ", line 12: layers[1].x stands in the wrong place; expected it above the first header."),
    "nothing at all": (RIGHT, RIGHT, "\n", ', line 1: title is missing; expected, above the first [[layers]], a line in quotes, such as title = "My network".'),
    "missing alpha": (RIGHT, "alpha = 0.1\n", "", ", line 7: alpha is missing; expected, above the first [[layers]], the learning rate, such as alpha = 0.1."),
    "missing y": (RIGHT, "y = [1]\n", "", ", line 7: y is missing; expected, above the first [[layers]], the target, such as y = [1.0]: one example as a column is x and y."),
    "missing X": (ROWS, "X = [[1, 2], [3, 4]]\n", "", ", line 7: X is missing; expected, above the first [[layers]], the inputs, such as X = [[1.0, 0.5], [0.0, 1.0]]: a batch of rows is X and Y."),
    "missing W": (RIGHT, "W = [[1, 2]]\n", "", ", line 12: layers[2].W is missing; expected the weights, such as W = [[0.5, -1.0]]."),
    "missing activation": (RIGHT, 'activation = "identity"\n', "", ', line 12: layers[2].activation is missing; expected the name of one, such as activation = "tanh".'),
    "no layers": (RIGHT, RIGHT[RIGHT.index("[[layers"):], "", ", line 7: layers is missing; expected [[layers]], one for each layer."),
    "layers empty": (RIGHT, RIGHT[RIGHT.index("[[layers"):], "layers = []", ", line 8: layers is []; expected [[layers]], one table for each."),
    "layers a number": (RIGHT, RIGHT[RIGHT.index("[[layers"):], "layers = 3", ", line 8: layers is 3; expected [[layers]], one table for each."),
    "layers of numbers": (RIGHT, RIGHT[RIGHT.index("[[layers"):], "layers = [3]", ", line 8: layers[1] is 3; expected a table of fields."),
    # their values
    "title empty": (RIGHT, '"T"', '" "', ", line 2: title is ' '; expected a text in quotes."),
    "title a number": (RIGHT, '"T"', '3', ", line 2: title is 3; expected a text in quotes."),
    "title true": (RIGHT, '"T"', 'true', ", line 2: title is true; expected a text in quotes."),
    "title long": (RIGHT, '"T"', '"'+"T"*201+'"', ", line 2: title has 201 characters; expected 200 at most."),
    "title a date": (RIGHT, '"T"', '2020-01-31', ", line 2: title is 2020-01-31; expected a text in quotes."),
    "lang": (RIGHT, '"T"', '"T"\nlang = "de\\" x=\\""', ", line 3: lang is 'de\" x=\"'; expected a language tag (BCP 47), such as \"de\" or \"pt-BR\"."),
    "convention": (RIGHT, '"column"', '"colum"', ", line 3: convention is an unknown convention 'colum'. Did you mean 'column'? There are: column, rows."),
    "loss": (RIGHT, '"mean_squared_error"', '"mse"', ", line 4: loss is an unknown loss 'mse'. Did you mean 'mean_squared_error'?"),
    "loss mistyped": (RIGHT, '"mean_squared_error"', '"mean_sqared_eror"', ", line 4: loss is an unknown loss 'mean_sqared_eror'. Did you mean 'mean_squared_error'? There are: mean_squared_error, half_squared_error, cross_entropy, log_softmax_cross_entropy, binary_cross_entropy, mean_absolute_error, huber."),
    "loss a number": (RIGHT, '"mean_squared_error"', '3', ", line 4: loss is 3; expected, in quotes, one of mean_squared_error, half_squared_error, cross_entropy, log_softmax_cross_entropy, binary_cross_entropy, mean_absolute_error, huber."),
    "σ mistyped": (RIGHT, '"tanh"', '"tahn"', ", line 11: layers[1].activation is an unknown activation 'tahn'. Did you mean 'tanh'? There are: identity, sigmoid, tanh, relu, leaky_relu, elu, selu, celu, gelu, gelu_tanh, silu, softplus, softsign, mish, hardtanh, relu6, hardsigmoid, hardswish, logsigmoid, sin, gaussian, softmax, log_softmax."),
    "σ in capitals": (RIGHT, '"tanh"', '"ReLU"', ", line 11: layers[1].activation is an unknown activation 'ReLU'. Did you mean 'relu'?"),
    "σ of others": (RIGHT, '"identity"', '"linear"', ", line 15: layers[2].activation is an unknown activation 'linear'. Did you mean 'identity'?"),
    "σ a list": (RIGHT, '"tanh"', '["tanh"]', ", line 11: layers[1].activation is ['tanh']; expected, in quotes, one of identity, sigmoid, tanh, relu, leaky_relu, elu, selu, celu, gelu, gelu_tanh, silu, softplus, softsign, mish, hardtanh, relu6, hardsigmoid, hardswish, logsigmoid, sin, gaussian, softmax, log_softmax."),
    "alpha nan": (RIGHT, "alpha = 0.1", "alpha = nan", ", line 5: alpha is nan; expected a number from 0 to 1000."),
    "alpha true": (RIGHT, "alpha = 0.1", "alpha = true", ", line 5: alpha is true; expected a number from 0 to 1000."),
    "alpha text": (RIGHT, "alpha = 0.1", 'alpha = "0.1"', ", line 5: alpha is '0.1'; expected a number from 0 to 1000, without quotes."),
    "alpha negative": (RIGHT, "alpha = 0.1", 'alpha = -0.1', ", line 5: alpha is -0.1; expected a number from 0 to 1000."),
    "x infinite": (RIGHT, "x = [1, 2]", "x = [1, inf]", ", line 6: x has inf as number 2; expected a finite number, a million at most."),
    "x huge": (RIGHT, "x = [1, 2]", "x = [1, 1e9]", ", line 6: x has 1000000000.0 as number 2; expected a finite number, a million at most."),
    "x of text": (RIGHT, "x = [1, 2]", 'x = [1, "2"]', ", line 6: x has '2' as number 2; expected a number there, without quotes."),
    "x of true": (RIGHT, "x = [1, 2]", 'x = [true, 2]', ", line 6: x has true as number 1; expected a number there."),
    "x a number": (RIGHT, "x = [1, 2]", "x = 1", ", line 6: x is 1; expected a list of numbers, such as [0.5, -1.0]."),
    "x empty": (RIGHT, "x = [1, 2]", "x = []", ", line 6: x is []; expected a list of numbers, such as [0.5, -1.0]."),
    "x as rows": (RIGHT, "x = [1, 2]", "x = [[1], [2]]", ", line 6: x is [[1], [2]], which has brackets in its brackets; expected a list of numbers, such as [0.5, -1.0]."),
    "x long": (RIGHT, "x = [1, 2]", "x = [1, 2, 3, 4, 5, 6, 7]", ", line 6: x has 7 features; expected 6 at most, for paper."),
    "x long list": (RIGHT, "x = [1, 2]", "x = ["+"[1], "*70+"]", ", line 6: x is [[1], [1], [1], [1], [1], [1], [1], [1], [1], [1], [1], [1]…, which has brackets in its brackets; expected a list of numbers, such as [0.5, -1.0]."),
    "X in column": (RIGHT, "x = [1, 2]", "X = [[1, 2]]", ', line 6: X stands beside convention = "column"; expected x there, or convention = "rows".'),
    "x in rows": (ROWS, "X = [[1, 2], [3, 4]]", "x = [1, 2]", ', line 6: x stands beside convention = "rows"; expected X there, or convention = "column".'),
    "y of two": (RIGHT, "y = [1]", "y = [1, 2]", ", line 7: y has 2 numbers; expected 1, one for each unit of the last layer."),
    "W no rows": (RIGHT, "W = [[1, 2]]", "W = [1, 2]", ", line 13: layers[2].W is [1, 2], which has no rows; expected [[1, 2]] for one row, or [[1], [2]] for one number in each."),
    "W long no rows": (RIGHT, "W = [[1, 2]]", "W = ["+"1.2345678, "*10+"]", ", line 13: layers[2].W is [1.2345678, 1.2345678, 1.2345678, 1.2345678, 1.2345678, 1.2…, which has no rows; expected rows of numbers, such as [[0.5, -1.0], [2.0, 0.0]]."),
    "W ragged": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [[1, 2], [3]]", ", line 9: layers[1].W has 1 number in row 2 and 2 in row 1; expected as many in each."),
    "W half a row": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [[1, 2], 3]", ", line 9: layers[1].W has 3 as row 2; expected rows of numbers, such as [[0.5, -1.0], [2.0, 0.0]]."),
    "W of no columns": (RIGHT, "W = [[1, 2]]", "W = [[]]", ", line 13: layers[2].W has [] as row 1; expected rows of numbers, such as [[0.5, -1.0], [2.0, 0.0]]."),
    "W nan": (RIGHT, "W = [[1, 2]]", "W = [[1, nan]]", ", line 13: layers[2].W has nan in row 1, column 2; expected a finite number, a million at most."),
    "W true": (RIGHT, "W = [[1, 2]]", "W = [[1, false]]", ", line 13: layers[2].W has false in row 1, column 2; expected a number there."),
    "W over lines": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [\n  [1],\n  [2],\n]", ', line 9: layers[1].W has 1 column; expected 2, the 2 features of x: with convention = "column" W is d_l×d_(l-1), and it is that transposed.'),
    "W does not chain": (RIGHT, "W = [[1, 2]]", "W = [[1, 2, 3]]", ', line 13: layers[2].W has 3 columns; expected 2, the 2 units of layer 1: with convention = "column" W is d_l×d_(l-1).'),
    "W transposed": (RIGHT, "W = [[1, 2]]", "W = [[1], [2]]", ', line 13: layers[2].W has 1 column; expected 2, the 2 units of layer 1: with convention = "column" W is d_l×d_(l-1), and it is that transposed.'),
    "W does not take x": (RIGHT, "W = [[1, 2], [3, 4]]", "W = [[1], [3]]", ', line 9: layers[1].W has 1 column; expected 2, the 2 features of x: with convention = "column" W is d_l×d_(l-1), and it is that transposed.'),
    "W does not chain in rows": (ROWS, "W = [[1], [2]]", "W = [[1, 2]]", ', line 13: layers[2].W has 1 row; expected 2, the 2 units of layer 1: with convention = "rows" W is d_(l-1)×d_l, and it is that transposed.'),
    "W wide": (RIGHT, "W = [[1, 2], [3, 4]]", "W = ["+", ".join(["[1, 2]"]*7)+"]", ", line 9: layers[1].W makes 7 units; expected 6 at most, for paper."),
    "b short": (RIGHT, "b = [0, 0]", "b = [0]", ", line 10: layers[1].b has 1 number; expected 2, as W makes 2 units of this layer."),
    "b as rows": (RIGHT, "b = [0, 0]", "b = [[0], [0]]", ", line 10: layers[1].b is [[0], [0]], which has brackets in its brackets; expected a list of numbers, such as [0.5, -1.0]."),
    "b in the first alone": (RIGHT, "b = [0]\n", "", ", line 12: layers[2].b is missing here, and stands in layers[1]; expected it in all layers or in none."),
    "b in the second alone": (RIGHT, "b = [0, 0]\n", "", ", line 13: layers[2].b stands here, and not in layers[1]; expected it in all layers or in none."),
    "too deep": (RIGHT, "b = [0, 0]", "b = [0, 0]\nrepeat = 8", ', line 8: layers are 9 together; expected 8 at most, for paper, or show = "plot".'),
    "repeat 0": (RIGHT, "b = [0, 0]", "b = [0, 0]\nrepeat = 0", ", line 11: layers[1].repeat is 0; expected a whole number from 1 to 64."),
    "repeat ½": (RIGHT, "b = [0, 0]", "b = [0, 0]\nrepeat = 1.5", ", line 11: layers[1].repeat is 1.5; expected a whole number from 1 to 64."),
    "too deep for a plot": (RIGHT, "alpha = 0.1\nx = [1, 2]\ny = [1]\n[[layers]]", 'alpha = 0.1\nshow = "plot"\nx = [1, 2]\ny = [1]\n[[layers]]\nrepeat = 64', ", line 9: layers are 65 together; expected 64 at most, for paper."),
    "show": (RIGHT, "alpha = 0.1", 'alpha = 0.1\nshow = "plots"', ", line 6: show is an unknown kind of handout 'plots'. Did you mean 'plot'? There are: steps, plot."),
    "flag": (RIGHT, "alpha = 0.1", 'alpha = 0.1\nfixed_biases = 1', ", line 6: fixed_biases is 1; expected true or false."),
    "fixed without b": (RIGHT.replace("b = [0, 0]\n","").replace("b = [0]\n",""), "alpha = 0.1", 'alpha = 0.1\nfixed_biases = true', ", line 6: fixed_biases is true where there is no b; expected a b in each layer, or false."),
    "Y 1-d": (ROWS, "Y = [[1], [2]]", "Y = [1, 2]", ", line 7: Y is [1, 2], which has no rows; expected [[1, 2]] for one row, or [[1], [2]] for one number in each."),
    "Y too few": (ROWS, "Y = [[1], [2]]", "Y = [[1]]", ", line 7: Y is 1×1; expected 2×1, one row for each example, as the last layer has outputs."),
    "X too many": (ROWS, "X = [[1, 2], [3, 4]]", "X = ["+", ".join(["[1, 2]"]*9)+"]", ", line 6: X has 9 examples; expected 8 at most, for paper."),
    "X empty": (ROWS, "X = [[1, 2], [3, 4]]", "X = []", ", line 6: X is []; expected rows of numbers, such as [[0.5, -1.0], [2.0, 0.0]]."),
    # a loss and what it compares
    "softmax inside": (RIGHT, '"tanh"', '"softmax"', ", line 11: layers[1].activation is 'softmax' before the last layer; expected one that goes by entries, such as 'tanh'."),
    "cross entropy of identity": (CLASSES, '"softmax"', '"identity"', ", line 4: loss is 'cross_entropy' of what identity gives, the activation of layers[2]; expected softmax there, or another loss, such as 'mean_squared_error'."),
    "cross entropy of sigmoid": (CLASSES, '"softmax"', '"sigmoid"', ", line 4: loss is 'cross_entropy' of what sigmoid gives, the activation of layers[2]; expected softmax there, or another loss, such as 'binary_cross_entropy'."),
    "cross entropy of log_softmax": (CLASSES, '"softmax"', '"log_softmax"', ", line 4: loss is 'cross_entropy' of what log_softmax gives, the activation of layers[2]; expected softmax there, or another loss, such as 'log_softmax_cross_entropy'."),
    "cross entropy of a column": (RIGHT, '"mean_squared_error"', '"cross_entropy"', ", line 4: loss is 'cross_entropy' of what identity gives, the activation of layers[2]; expected softmax there, or another loss, such as 'mean_squared_error'."),
    "cross entropy of a column that sums to 2": (RIGHT.replace('"identity"', '"softmax"').replace('"mean_squared_error"', '"cross_entropy"'), "y = ", "y = [2] #", ", line 7: y has 2 as number 1; expected numbers from 0 to 1, as cross_entropy compares probabilities."),
    "log softmax of softmax": (CLASSES, '"cross_entropy"', '"log_softmax_cross_entropy"', ", line 4: loss is 'log_softmax_cross_entropy' of what softmax gives, the activation of layers[2]; expected log_softmax there, or another loss, such as 'cross_entropy'."),
    "binary of tanh": (ROWS.replace('"identity"','"tanh"'), '"mean_squared_error"', '"binary_cross_entropy"', ", line 4: loss is 'binary_cross_entropy' of what tanh gives, the activation of layers[2]; expected sigmoid, hardsigmoid, gaussian or softmax there, or another loss, such as 'mean_squared_error'."),
    "binary target": (ROWS.replace('"identity"','"sigmoid"'), '"mean_squared_error"', '"binary_cross_entropy"', ", line 7: Y has 2 in row 2, column 1; expected numbers from 0 to 1, as binary_cross_entropy compares probabilities."),
    "binary target of a column": (RIGHT.replace('"identity"','"sigmoid"').replace("y = [1]","y = [-1]"), '"mean_squared_error"', '"binary_cross_entropy"', ", line 7: y has -1 as number 1; expected numbers from 0 to 1, as binary_cross_entropy compares probabilities."),
    "class numbers": (CLASSES, "Y = [[1, 0], [0, 1]]", "Y = [[0], [1]]", ", line 7: Y is 2×1; expected 2×2, one row for each example, as the last layer has outputs: a class is a row with a 1 in its place, such as [0, 1]."),
    "class numbers 1-d": (CLASSES, "Y = [[1, 0], [0, 1]]", "Y = [0, 1]", ", line 7: Y is [0, 1], which has no rows; expected [[0, 1]] for one row, or [[0], [1]] for one number in each."),
    "Y sums to 2": (CLASSES, "Y = [[1, 0], [0, 1]]", "Y = [[1, 0], [1, 1]]", ", line 7: Y has a sum of 2 in row 2; expected 1, as cross_entropy takes a row for the probabilities of the classes, such as [0, 1]."),
    "Y sums to 0": (CLASSES, "Y = [[1, 0], [0, 1]]", "Y = [[0, 0], [1, 0]]", ", line 7: Y has a sum of 0 in row 1; expected 1, as cross_entropy takes a row for the probabilities of the classes, such as [0, 1]."),
    "Y negative": (CLASSES, "Y = [[1, 0], [0, 1]]", "Y = [[2, -1], [0, 1]]", ", line 7: Y has 2 in row 1, column 1; expected numbers from 0 to 1, as cross_entropy compares probabilities."),
    # training
    "training a number": (RIGHT, "alpha = 0.1", 'alpha = 0.1\ntraining = 3', ", line 6: training is 3; expected a table of fields."),
    "epochs": (RIGHT, 'activation = "identity"', 'activation = "identity"\n[training]\nepochs = 0', ", line 17: training.epochs is 0; expected a whole number from 1 to 5000."),
    "no epochs": (RIGHT, 'activation = "identity"', 'activation = "identity"\n[training]\nseed = 0', ", line 16: training.epochs is missing; expected how many, such as epochs = 100."),
    "epoch": (RIGHT, 'activation = "identity"', 'activation = "identity"\n[training]\nepoch = 5', ", line 17: training.epoch is an unknown field 'epoch'. Did you mean 'epochs'? There are: epochs, batch_size, seed."),
    "epochs above": (RIGHT, "alpha = 0.1", 'alpha = 0.1\nepochs = 3', ", line 6: epochs stands in the wrong place; expected it below [training]."),
    "batch": (RIGHT, 'activation = "identity"', 'activation = "identity"\n[training]\nepochs = 1\nbatch_size = 2', ", line 18: training.batch_size is 2; expected 1, the batch, at most."),
    "both": (RIGHT, 'alpha = 0.1\n', 'alpha = 0.1\nfixed_biases = true\ntraining = {epochs = 1}\n', ", line 6: fixed_biases stands beside [training], which moves them; expected one of them."),
    # published numbers
    "published once": (RIGHT, 'activation = "identity"', P.replace("[[published]]","[published]")+'what = "o"', ", line 16: published is one table; expected double brackets, [[published]], one for each."),
    "published number": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "loss"\nvalue = 0.5', ', line 19: published[1].value is 0.5; expected a number in quotes, as it was printed: "0.7514".'),
    "published text": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "loss"\nvalue = "0,5"', ", line 19: published[1].value is '0,5'; expected a number in quotes, as it was printed: \"0.7514\"."),
    "published loss": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "loss"\nlayer = 1\nvalue = "0.5"', ", line 18: published[1].quantity is a loss, which has no layer and no place; expected neither."),
    "published layer": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "Z"\nlayer = 3\nat = [1, 1]\nvalue = "0.5"', ", line 19: published[1].layer is 3; expected 2, the last layer, at most."),
    "published place": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "Z"\nlayer = 1\nat = [3, 1]\nvalue = "0.5"', ", line 20: published[1].at is [3, 1]; expected a place in 2×1 numbers."),
    "published at": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "Z"\nlayer = 1\nat = [0, 1]\nvalue = "0.5"', ", line 20: published[1].at is [0, 1]; expected row and column, from 1: [1, 2]."),
    "published nowhere": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "Z"\nvalue = "0.5"', ", line 16: published[1].layer is missing; expected the number of its layer, such as layer = 1."),
    "published quantity": (RIGHT, 'activation = "identity"', P+'what = "o"\nquantity = "z"\nvalue = "0.5"', ", line 18: published[1].quantity is an unknown quantity 'z'. Did you mean 'Z'?"),
    "published bias": (RIGHT.replace("b = [0, 0]\n","").replace("b = [0]\n",""), 'activation = "identity"', P+'what = "o"\nquantity = "db"\nlayer = 1\nat = [1, 1]\nvalue = "0.5"', ", line 16: published[1].quantity is 'db' where there is no b; expected biases."),
    # what shows only when it is computed
    "rounding alone": (RIGHT.replace("b = [0, 0]","b = [-0.3, 0]").replace("x = [1, 2]","x = [1, 1]"), "W = [[1, 2], [3, 4]]", "W = [[0.1, 0.2], [3, 4]]", ", line 9: layers[1].W gives unit 1 of layer 1 the pre-activation 5.55e-17, which is rounding alone: on paper it is 0; expected another number there, or binary fractions such as 0.25."),
    "on its target": (ONE, "y = [1]", "y = [0.7]", ", line 7: y is off output 1 by 1.11e-16, which is rounding alone: on paper it is 0; expected another number there, or binary fractions such as 0.25."),
    "overflow": (ONE.replace("alpha = 0.1",'alpha = 0.1\nshow = "plot"').replace("x = [1, 1]","x = [1]").replace("b = [0.4]\n","repeat = 64\n"), "W = [[0.1, 0.2]]", "W = [[1e6]]", ", line 10: layers[1].W gives no finite A of layer 52; expected finite numbers everywhere: take smaller weights."),
    "no δ": (ONE.replace('"identity"','"relu"').replace("0.4","-0.4"), "alpha = 0.1", 'alpha = 0.1\nshow = "plot"', ', line 6: show is "plot", and δ is 0 in all of layer 1; expected δ that are not 0, or show = "steps".'),
    "a softmax that is certain": (CLASSES, "W = [[1, 0], [0, 1]]", "W = [[1e5, 0], [0, 1e5]]", ", line 13: layers[2].W gives no finite sum of exponentials of layer 2; expected finite numbers everywhere: take smaller weights."),
    "diverges": (ONE, "alpha = 0.1\n", 'alpha = 900\ntraining = {epochs = 500}\n', ", line 5: alpha is 900.0, too large here: after epoch 42, the loss is inf; expected finite numbers. Take a smaller alpha."),
}  # fmt: skip


def write(tmp_path: Path, content: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def said(path: str) -> str:
    """What is wrong with a file; "" where nothing is."""
    try:
        read(path)
    except HandoutError as e:
        return str(e)
    return ""


def test_the_right_one_is_read(tmp_path: Path) -> None:
    e = read(write(tmp_path, RIGHT))
    assert (e.name, e.title, e.L, e.n) == ("my", "T", 2, 1)
    assert e.W[1].tolist() == [[1, 3], [2, 4]]  # the batch form
    assert e.X.tolist() == [[1, 2]]


@pytest.mark.parametrize("which", BAD)
def test_what_does_not_fit_is_said(which: str, tmp_path: Path) -> None:
    base, old, new, told = BAD[which]
    assert old in base
    path = write(tmp_path, base.replace(old, new, 1))
    with pytest.raises(HandoutError) as e:
        made(read(path), Wish(), ("refbp",))
    assert str(e.value) == path + told


@pytest.mark.parametrize("which", BAD)
def test_each_sentence_has_its_line_its_field_and_what_to_do(which: str) -> None:
    """The line that is named is the one that was changed, or that of what is missing something."""
    base, old, new, told = BAD[which]
    assert re.fullmatch(r", line \d+: [\w.\[\]]+ .*\.|.*[?]", told)
    assert re.search(r"; expected|Did you mean", told)
    assert len(told) < 500
    line = int(told[7:].partition(":")[0])
    assert 1 <= line <= base.replace(old, new, 1).rstrip().count("\n") + 1
    (field,) = re.findall(r"^[\w.\[\]]+", told.partition(": ")[2])
    if "is missing" not in told and field.rpartition(".")[2] in new:
        assert field.rpartition(".")[2] in base.replace(old, new, 1).splitlines()[line - 1]


def test_the_right_ones_are_worked_out(tmp_path: Path) -> None:
    """What the table breaks is whole."""
    for base in {base for base, *_ in BAD.values()}:
        if base not in (RIGHT, ROWS, CLASSES, ONE):
            continue
        assert made(read(write(tmp_path, base)), Wish(), ("refbp",)).steps


def test_the_documentation_shows_sentences_of_this_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "handouts.md").read_text(encoding="utf-8")
    shown = re.findall(r"^- `(line \d+: .*)`$", page, re.MULTILINE)
    assert len(shown) == 4
    assert set(shown) <= {told.removeprefix(", ") for *_, told in BAD.values()}
    assert f"| files that do not fit | {len(BAD)}, each told" in page


# --- the file -----------------------------------------------------------------------------------------


def test_as_editors_save_it(tmp_path: Path) -> None:
    """A byte order mark, and lines that end as on Windows, change nothing: not even the line that is named."""
    path = tmp_path / "my.toml"
    for whole in (RIGHT, RIGHT.replace("alpha = 0.1", "alpha = -1"), RIGHT.replace('"T"', "T")):
        told = said(write(tmp_path, whole))
        assert (told == "") == (whole == RIGHT)
        windows = whole.replace("\n", "\r\n").encode()
        for data in (windows, b"\xef\xbb\xbf" + windows, b"\xef\xbb\xbf" + whole.encode()):
            path.write_bytes(data)
            assert said(str(path)) == told


def test_a_line_is_the_editors_whatever_stands_in_a_text(tmp_path: Path) -> None:
    """Neither a separator of Unicode in a text, nor what looks like a header there, is a line of TOML."""
    whole = RIGHT.replace(
        'title = "T"', 'title = """T\u2028\n[[layers]]\nW = 3\n[training]"""\n# [[layers]]'
    )
    for old, new, line in (
        ("alpha = 0.1", "alpha = -1", 9),
        ("W = [[1, 2]]", "W = [\n[1],\n[2],\n]", 17),
    ):
        assert f"my.toml, line {line}: " in said(write(tmp_path, whole.replace(old, new)))
    whole = RIGHT.replace("W = [[1, 2], [3, 4]]", "W = [\n  [1, 2],\n  [3, 4]\n]  # [[layers]]")
    rows = whole.replace("b = [0]", "b = [0, 0]")
    assert "line 17: layers[2].b has 2 numbers; expected 1" in said(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ('title = "é"'.encode("latin-1"), ", line 1: title has a byte 0xe9 that is no UTF-8; expected UTF-8 text: save it as UTF-8."),
        (RIGHT.replace('"tanh"', '"tanh" # à').encode("cp1252"), ", line 11: layers[1].activation has a byte 0xe0 that is no UTF-8; expected UTF-8 text: save it as UTF-8."),
        (b"\xff", ", line 1: there is a byte 0xff that is no UTF-8; expected UTF-8 text: save it as UTF-8."),
        (RIGHT.encode("utf-16"), ", line 1: it is UTF-16; expected UTF-8: save it as UTF-8."),
        (b"\0" * 9, ", line 1: \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00 is no name in plain letters; expected field = value, or a header: [[layers]]."),
        (b"", ', line 1: title is missing; expected, above the first [[layers]], a line in quotes, such as title = "My network".'),
    ],
)  # fmt: skip
def test_bytes_that_are_no_text(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(data)
    assert said(str(path)) == f"{path}{told}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "my.txt").write_text(RIGHT, encoding="utf-8")
    for path, told in (
        (str(tmp_path / "no.toml"), "No such file or directory; expected an example, a TOML file."),
        (str(tmp_path / "folder.toml"), "it is a folder; expected a TOML file."),
        (str(tmp_path), "it is a folder; expected a TOML file."),
        (str(tmp_path / "my.txt"), "it does not end in .toml; expected a TOML file of that name."),
        (write(tmp_path, "#" * 70000), "it has 70,000 bytes; expected 65,536 at most."),
        ("a\0.toml", "embedded null byte; expected an example, a TOML file."),
    ):
        assert said(path) == f"cannot read {text.visible(path)}: {told}"
    assert "Did you mean 'mazur'" in said("mazurr")


# --- anything -----------------------------------------------------------------------------------------


def a_sentence(told: str) -> bool:
    """One line, with a line of the file, and the end of a sentence."""
    return bool(re.fullmatch(r"[^\n]*my\.toml, line \d+: \S[^\n]{5,700}[.?]", told))


def test_a_file_that_is_cut_or_misspelt_anywhere_is_told_in_a_sentence(tmp_path: Path) -> None:
    """Every end, every letter left out, and every letter taken for another of what TOML is made of."""
    pieces = [RIGHT[:i] for i in range(len(RIGHT))]
    pieces += [RIGHT[:i] + RIGHT[i + 1 :] for i in range(len(RIGHT))]
    pieces += [
        RIGHT[:i] + c + RIGHT[i + 1 :]
        for i in range(0, len(RIGHT), 3)
        for c in "[]\"=#,\n'{.0\\\x7f"
    ]
    wrong = [told for piece in pieces if (told := said(write(tmp_path, piece)))]
    assert len(wrong) > 600
    assert [told for told in wrong if not a_sentence(told)] == []


VALUES = ("3", "-1", "0", "nan", "-inf", "true", '""', '"x"', "[]", "[[]]", "[1, [2]]", "[[1], 2]", "{}", "{a = 1}",
          "[[1, 2, 3]]", "[{}]", "2020-01-01", "1e308", "1" * 400, "1" * 5000, '["a"]', "[[true]]", "[" * 300)  # fmt: skip


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
    for piece in tried:
        told = said(write(tmp_path, piece))
        assert not told or a_sentence(told)
