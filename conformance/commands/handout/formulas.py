"""σ, σ' and the losses as they are written on paper, and as NumPy.

A cell is what stands in one entry of a matrix: LaTeX with numbers in it. A σ without a row of its own is
written by its name, as in gelu(0.5).
"""

from __future__ import annotations

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
    "Break",
    "Grid",
    "LossFormula",
    "Num",
    "Parts",
    "sigma_cell",
    "sigma_prime",
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


def _named(name: str, a: Num) -> Parts:
    return (rf"\mathrm{{{name}}}(".replace("_", r"\_"), a, ")")


_SIGMA: Mapping[str, Callable[[Num], Parts]] = {
    "identity": lambda a: (a,),
    "sigmoid": lambda a: ("1 / (1 + e^{", a._replace(minus=True), "})"),
    "tanh": lambda a: (r"\tanh(", a, ")"),
    "relu": lambda a: (r"\max(0, ", a, ")"),
    "leaky_relu": lambda a: (r"\max(", a, r",\; 0.01 \cdot ", a._replace(wrapped=True), ")"),
    "softplus": lambda a: (r"\ln(1 + e^{", a, "})"),
    "sin": lambda a: (r"\sin(", a, ")"),
}


def sigma_cell(name: str, a: Num) -> Parts:
    """σ(a) with its number in it."""
    return _SIGMA[name](a) if name in _SIGMA else _named(name, a)


def _one_minus_square(z: Num) -> Parts:
    return ("1 - ", z._replace(wrapped=True), "^2")


def _positive(a: Num) -> Parts:
    """[a > 0]. By \\left[, as LaTeX takes a plain [ after \\\\ for the length of a space."""
    return (r"\left[ ", a, r" > 0 \right]")


def sigma_prime(name: str, a: str, z: str) -> tuple[str, Callable[[Num, Num], Parts]]:
    """σ'(a) in the symbols a and z = σ(a), and a cell of it from the two numbers."""
    if name == "sigmoid":
        return rf"{z} \odot (1 - {z})", lambda _, v: (v, r"\,(1 - ", v, ")")
    if name == "tanh":
        return rf"1 - {z} \odot {z}", lambda _, v: _one_minus_square(v)
    if name == "relu":
        return rf"\left[ {a} > 0 \right]", lambda u, _: _positive(u)
    if name == "leaky_relu":
        return rf"0.01 + 0.99 \left[ {a} > 0 \right]", lambda u, _: ("0.01 + 0.99 ", *_positive(u))
    if name == "identity":
        return r"\mathbf{1}", lambda *_: ("1",)
    if name == "softplus":
        return r"\frac{1}{1 + e^{-" + a + "}}", lambda u, _: _SIGMA["sigmoid"](u)
    if name == "sin":
        return rf"\cos({a})", lambda u, _: (r"\cos(", u, ")")
    word = rf"\mathrm{{{name}}}'".replace("_", r"\_")
    return f"{word}({a})", lambda u, _: (f"{word}(", u, ")")


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
