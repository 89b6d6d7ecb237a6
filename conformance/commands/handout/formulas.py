"""σ, σ' and the losses as they are written on paper, and as NumPy.

A cell is what stands in one entry of a matrix: LaTeX with numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = [
    "HALF",
    "LOSSES",
    "MINUS",
    "ODOT",
    "PLUS",
    "PRODUCT",
    "SIGMA",
    "Break",
    "Grid",
    "LossFormula",
    "Num",
    "Parts",
    "legend",
    "sigma_cell",
    "sigma_prime_cell",
    "symbols",
]

HALF = "half_squared_error"
Key: TypeAlias = tuple[str, int]


class Num(NamedTuple):
    """One number in a formula, and which quantity it is an entry of."""

    value: float
    key: Key
    minus: bool = False  # −value is shown
    wrapped: bool = False  # in parentheses if it is negative or has a power of ten


class Break(NamedTuple):
    """A place where a formula may go on in the next line."""

    within: str  # the LaTeX there, if it does not
    begins: str  # the LaTeX that the next line begins with


PRODUCT = Break(r"\,", r"\times ")
PLUS, MINUS, ODOT = (Break(f" {sign} ", f"{sign} ") for sign in ("+", "-", r"\odot"))

Parts: TypeAlias = tuple["str | Num | Grid | Break", ...]
"""A formula: LaTeX, its numbers not yet rounded or left blank, and places to break it."""


@dataclass(frozen=True)
class Grid:
    """A matrix of cells."""

    rows: tuple[tuple[Parts, ...], ...]


# --- σ ------------------------------------------------------------------------------------------------


_A = re.compile(r"@(-?)(\(?)([az])(?:(?<=\([az])\))?")
"""In a template: @a and @z, the numbers a and z = σ(a); @-a is −a, and @(a) is (a) where a has a sign."""

# fmt: off
SIGMA: Mapping[str, tuple[str, str, str]] = {
    # name: σ(a), σ'(a), and what a letter in them stands for
    "identity":    ("@a", "1", ""),
    "sigmoid":     ("1 / (1 + e^{@-a})", r"@z\,(1 - @z)", ""),
    "tanh":        (r"\tanh(@a)", "1 - @(z)^2", ""),
    "relu":        (r"\max(0, @a)", r"\left[ @a > 0 \right]", ""),
    "leaky_relu":  (r"\max(@a,\; 0.01 \cdot @(a))", r"0.01 + 0.99 \left[ @a > 0 \right]", ""),
    "elu":         (r"\max(0, @a) + e^{\min(0, @a)} - 1", r"e^{\min(0, @a)}", ""),
    "celu":        (r"\max(0, @a) + e^{\min(0, @a)} - 1", r"e^{\min(0, @a)}", ""),
    "selu":        (r"1.0507009874 \cdot \max(0, @a) + 1.7580993408 \cdot (e^{\min(0, @a)} - 1)",
                    r"1.0507009874 \left[ @a > 0 \right] + 1.7580993408 \cdot e^{@a} \left[ @a \le 0 \right]",
                    ""),
    "gelu":        (r"@(a) \cdot \Phi(@a)", r"\Phi(@a) + @(a) \cdot \varphi(@a)",
                    "Φ(a) is the normal distribution, ½(1 + erf(a/√2)), φ(a) its density, e^(−a²/2)/√(2π)."),
    "gelu_tanh":   (r"@(a) \cdot s(@a)", r"s(@a) + @(z) \cdot p(@a)",
                    "s(a) is 1/(1 + e^(−1.5957691216 a − 0.0713548163 a³)), p(a) is (1 − s(a)) (1.5957691216 "
                    "+ 0.2140644488 a²)."),
    "silu":        (r"@(a) \cdot s(@a)", r"s(@a)\,(1 + @(a) - @(z))", "s(a) is 1/(1 + e^−a)."),
    "softplus":    (r"\ln(1 + e^{@a})", "1 / (1 + e^{@-a})", ""),
    "softsign":    ("@a / (1 + |@a|)", "1 / (1 + |@a|)^2", ""),
    "mish":        (r"@(a) \cdot t(@a)", r"t(@a) + @(a) \cdot p(@a)",
                    "t(a) is tanh(ln(1 + e^a)), and p(a) is (1 − t(a)²)/(1 + e^−a)."),
    "hardtanh":    (r"\max(-1, \min(1, @a))", r"\left[ |@a| \lt 1 \right]", ""),
    "relu6":       (r"\max(0, \min(6, @a))", r"\left[ |@a - 3| \lt 3 \right]", ""),
    "hardsigmoid": (r"\max(0, \min(1, (@a + 3) / 6))", r"\left[ |@a| \lt 3 \right] / 6", ""),
    "hardswish":   (r"@(a) \cdot \max(0, \min(1, (@a + 3) / 6))",
                    r"\left[ @a \ge 3 \right] + \left[ |@a| \lt 3 \right] \cdot (2 \cdot @(a) + 3) / 6", ""),
    "logsigmoid":  (r"-\ln(1 + e^{@-a})", "1 / (1 + e^{@a})", ""),
    "sin":         (r"\sin(@a)", r"\cos(@a)", ""),
    "gaussian":    ("e^{-@(a)^2}", r"-2 \cdot @(a) \cdot @(z)", ""),
}
# fmt: on
"""Constants are rounded to ten digits. [ ] is 1 where it is true, else 0."""


def _filled(template: str, a: Num, z: Num) -> Parts:
    """A template with numbers."""
    parts: list[str | Num] = []
    at = 0
    for m in _A.finditer(template):
        number = (a if m[3] == "a" else z)._replace(minus=bool(m[1]), wrapped=bool(m[2]))
        parts += [template[at : m.start()], number]
        at = m.end()
    return (*parts, template[at:])


def sigma_cell(name: str, a: Num) -> Parts:
    """σ(a) with its number in it."""
    return _filled(SIGMA[name][0], a, a)


def sigma_prime_cell(name: str, a: Num, z: Num) -> Parts:
    """σ'(a) with the numbers a and z = σ(a) in it."""
    return _filled(SIGMA[name][1], a, z)


def symbols(template: str) -> str:
    """A template in letters."""
    return _A.sub(r"\1\3", template)


def legend(name: str) -> str:
    """What its letters and brackets stand for."""
    brackets = "[ ] is 1 where it is true, else 0." if r"\left[" in "".join(SIGMA[name]) else ""
    return brackets or SIGMA[name][2]


# --- losses -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossFormula:
    """L = sign · (1/n) Σ term: in symbols, with numbers, and in NumPy; and its ∂L/∂Z, the slope."""

    runs_as: str  # the loss of refbp and of the frameworks that is computed
    sign: str
    symbol: str  # with {z} and {y}: a term of the sum
    term: Callable[[Num, Num], Parts]
    code: str  # with {z} and {y}: the terms, elementwise
    slope: str  # with {z} and {y}: ∂term/∂z, matrices
    slope_cell: Callable[[Num, Num], Parts]
    slope_code: str
    after: tuple[str, ...] = ()  # the only σ_L that it goes with
    targets: str = ""  # "unit": each from 0 to 1; "rows": each row sums to 1 too


_UNIT = ("sigmoid", "hardsigmoid", "gaussian", "softmax")
"""σ whose values lie between 0 and 1."""


def _difference(z: Num, y: Num) -> Parts:
    return (z, " - ", y._replace(wrapped=True))


def _squared(z: Num, y: Num) -> Parts:
    return ("(", *_difference(z, y), ")^2")


def _binary(z: Num, y: Num) -> Parts:
    second = (" + (1 - ", y._replace(wrapped=True), r") \cdot \ln(1 - ", z, ")]")
    return ("[", y, r" \cdot \ln(", z, ")", *second)


# fmt: off
LOSSES: Mapping[str, LossFormula] = {
    "mean_squared_error": LossFormula(
        "mean_squared_error", "", "({z} - {y})^2", _squared, "({z} - {y}) ** 2",
        "2 ({z} - {y})", lambda z, y: ("2 (", *_difference(z, y), ")"), "2 * ({z} - {y})"),
    HALF: LossFormula(
        "mean_squared_error", "", r"\tfrac{{1}}{{2}} ({z} - {y})^2",
        lambda z, y: (r"\tfrac{1}{2} ", *_squared(z, y)), "({z} - {y}) ** 2 / 2",
        "{z} - {y}", _difference, "({z} - {y})"),
    "cross_entropy": LossFormula(
        "cross_entropy", "-", r"{y} \ln({z})", lambda z, y: (y, r" \cdot \ln(", z, ")"),
        "-{y} * np.log({z})",
        r"-{y} \oslash {z}",
        lambda z, y: ("-", y._replace(wrapped=True), " / ", z._replace(wrapped=True)), "-{y} / {z}",
        ("softmax",), "rows"),
    "log_softmax_cross_entropy": LossFormula(
        "log_softmax_cross_entropy", "-", "{y} {z}", lambda z, y: (y, r" \cdot ", z._replace(wrapped=True)),
        "-{y} * {z}",
        "-{y}", lambda z, y: (y._replace(minus=True),), "-{y}",
        ("log_softmax",), "rows"),
    "binary_cross_entropy": LossFormula(
        "binary_cross_entropy", "-", r"[{y} \ln({z}) + (1 - {y}) \ln(1 - {z})]", _binary,
        "-({y} * np.log({z}) + (1 - {y}) * np.log(1 - {z}))",
        r"({z} - {y}) \oslash ({z} \odot (1 - {z}))",
        lambda z, y: ("(", *_difference(z, y), ") / (", z, r"\,(1 - ", z, "))"),
        "({z} - {y}) / ({z} * (1 - {z}))", _UNIT, "unit"),
    "mean_absolute_error": LossFormula(
        "mean_absolute_error", "", "|{z} - {y}|", lambda z, y: ("|", *_difference(z, y), "|"),
        "np.abs({z} - {y})",
        r"\mathrm{{sign}}({z} - {y})", lambda z, y: (r"\mathrm{sign}(", *_difference(z, y), ")"),
        "np.sign({z} - {y})"),
    "huber": LossFormula(
        "huber", "", "h({z} - {y})", lambda z, y: ("h(", *_difference(z, y), ")"),
        "np.where(np.abs({z} - {y}) <= 1, ({z} - {y}) ** 2 / 2, np.abs({z} - {y}) - 1 / 2)",
        r"\min(1, \max(-1, {z} - {y}))", lambda z, y: (r"\min(1, \max(-1, ", *_difference(z, y), "))"),
        "np.clip({z} - {y}, -1, 1)"),
}
# fmt: on
"""Divided by n, the size of the batch. Huber's h(e) is e²/2 up to |e| = 1, then |e| − ½."""
