"""What can be wrong with an activation, one row each: how bad, what it means, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

from conformance.commands.activation.spec import Spec
from conformance.model.results import Number

__all__ = ["KINDS", "NAMES", "Finding", "Kind", "Wording", "digits", "finding"]

NAMES = {
    "sigma": "σ",
    "derivative": "σ'",
    "truth": "the definition",
    "torch": "torch",
    "jax": "jax",
}


class Kind(NamedTuple):
    """A named finding. An error makes the verdict `wrong`, and under --strict a warning does too; an
    inaccurate result makes it `inaccurate`."""

    severity: str  # error, inaccurate, warning or note
    title: str
    explanation: str
    remedy: str


class Finding(TypedDict):
    """One finding, about one function or framework."""

    kind: str
    severity: str
    title: str
    of: str  # σ, σ', torch or jax
    dtype: str
    x: Number | None
    got: str
    expected: str
    digits: float | None  # how many digits of `got` are right
    count: int  # at how many points
    points: int
    where: str
    looks_like: str
    explanation: str
    remedy: str
    reproduce: str


class Wording(TypedDict, total=False):
    """Wording that replaces that of a finding's kind; "" keeps that of the kind."""

    severity: str
    explanation: str
    remedy: str
    looks_like: str


class Details(Wording, total=False):
    """What `finding` takes besides the kind."""

    dtype: str
    x: Number | None
    got: str
    expected: str
    digits: float | None
    count: int
    points: int
    where: str


# fmt: off
KINDS: Mapping[str, Kind] = {
    # name              severity   title, what it means, what to do
    "wrong-derivative": Kind("error", "wrong derivative",
        "The derivative differs from the certified one by more than rounding explains.",
        "Derive it again, or take it from the certified values in this report."),
    "wrong-value": Kind("error", "wrong value",
        "The value differs from the definition by more than rounding explains.",
        "Compare the formula with the definition at the x named here."),
    "outside-clarke": Kind("error", "outside the one-sided derivatives",
        "At a kink every number between the one-sided derivatives is a subgradient (Clarke 1983); this is none.",
        "Return one of the two one-sided derivatives there, or a number between them."),
    "convention": Kind("error", "not the stated convention",
        "The derivative at a kink is a matter of convention; another was stated with --kink.",
        "Change the value there, or the statement."),
    "overflow-derivative": Kind("error", "overflow or NaN in the derivative",
        "The true derivative is finite, the computed one is not: an intermediate overflows (∞/∞, 0·∞), and one "
        "such element makes every gradient NaN.",
        "Rewrite so that no exponential of a positive number is taken: e^{−|x|}, expit, log1p, or clip first."),
    "far-overflow-derivative": Kind("warning", "overflow or NaN in the derivative, far out",
        "The true derivative is finite and the computed one is not, or is another, for arguments beyond ±1000 only.",
        "Clip the argument before squares, cubes and exponentials are taken."),
    "nan-value": Kind("error", "overflow or NaN in the value",
        "The true value is finite, the computed one is not, at an ordinary argument.",
        "Treat the point apart (np.where on a safe argument), or rewrite the formula."),
    "overflow-value": Kind("warning", "overflow or NaN in the value, far out",
        "The true value is finite, the computed one is not: an intermediate overflows.",
        "Rewrite so that no exponential of a positive number is taken: e^{−|x|}, expit, log1p, or clip first."),
    "cancellation": Kind("inaccurate", "digits lost",
        "The formula is right, but rounding loses most digits of it here: a difference of nearly equal numbers, or "
        "a sum in which the small term drowns.",
        "Use a form that does not cancel: expm1, log1p, erfc, expit(−x) for 1 − expit(x), 1/cosh² for 1 − tanh²."),
    "cancellation-derivative": Kind("error", "derivative lost to rounding",
        "The formula is right, but more than half of all digits are lost to rounding where the derivative is not small.",
        "Use a form that does not cancel, or a series where the closed form cancels."),
    "tail": Kind("warning", "wrong where it is negligible",
        "The derivative is not the true one here, but both are below the rounding error of σ' where values live.",
        "If tails matter to you, give the tail its own formula."),
    "inaccurate-derivative": Kind("error", "less accurate than its dtype",
        "The formula is right, yet what it returns is off by more than its own operations explain: part of it is "
        "computed in less precision, or by an approximation.",
        "Look for a cast to float32 or float16, a table, or a series that ends early."),
    "inaccurate-value": Kind("error", "less accurate than its dtype",
        "What σ returns is off by more than its own operations explain: part of it is computed in less precision, or "
        "by an approximation.",
        "Look for a cast to float32 or float16, a table, or a series that ends early."),
    "hides-nan": Kind("warning", "hides NaN",
        "NaN in, a number out: a NaN upstream goes unseen.",
        "Comparisons are false for NaN: choose the branch that keeps x, or use np.maximum and np.clip, which do."),
    "nan-at-infinity": Kind("note", "NaN at infinity",
        "At ±∞ the function has a limit, and NaN is returned.",
        "∞·0 and ∞ − ∞ are NaN: clip the argument first."),
    "at-the-ends": Kind("warning", "another value at −0 or ±∞",
        "−0 is 0, and ±∞ has the limit; something else is returned there.",
        "Look for np.signbit, np.copysign, 1/x, or a case for np.isinf."),
    "promotes": Kind("warning", "float32 becomes float64",
        "A network in float32 silently computes in float64 from here on, or fails where dtypes must agree.",
        "A NumPy scalar (np.sqrt(2)) promotes and a Python float does not: math.sqrt(2). np.where(x > 0, 1.0, 0.0) makes "
        "float64: (x > 0).astype(x.dtype)."),
    "demotes": Kind("error", "float64 becomes float32",
        "Half of the digits are dropped on the way.",
        "Keep x.dtype: no astype(np.float32), no arrays of another dtype."),
    "not-elementwise": Kind("error", "not elementwise",
        "An element's result depends on its neighbours (a mean, a maximum, a softmax), or on how the array is shaped or "
        "laid out in memory, so ⊙ σ' does not hold for it.",
        "A row-wise σ needs a vector–Jacobian product, not a derivative: give vjp(cotangent, x) in place of σ'."),
    "mutates": Kind("error", "writes to its input",
        "The array handed in is not what it was: backpropagation reads A_l again.",
        "Copy first (x = x.copy()), or write to a new array."),
    "aliases": Kind("warning", "returns its input",
        "What is returned shares memory with x: writing to one changes the other.",
        "Return x.copy()."),
    "reuses-buffer": Kind("error", "reuses its result",
        "An array that was returned is changed by a later call: backpropagation reads every A_l again.",
        "Return a new array each time, or a copy of the buffer."),
    "not-deterministic": Kind("error", "not deterministic",
        "The same input gives other numbers the second time.",
        "Random numbers, state that is kept, or memory that was never written (np.empty): find which."),
    "wrong-shape": Kind("error", "wrong shape",
        "What is returned has not the shape of x.",
        "Act on each element, in any number of dimensions: no reductions, no flattening, no [0]."),
    "wrong-dtype": Kind("error", "no floating-point result",
        "What is returned is complex, truth values or objects.",
        "Take .real, or .astype(x.dtype)."),
    "whole-numbers": Kind("warning", "whole numbers",
        "What is returned is an array of whole numbers: times a gradient in float32 it makes float64, and a fraction "
        "assigned to it is cut off.",
        "Write 1.0 for 1, or .astype(x.dtype): np.where(x > 0, 1, 0) makes whole numbers."),
    "takes-numbers": Kind("warning", "takes no arrays",
        "It works on one number at a time, as functions of math do, and was called for each element.",
        "Write it with NumPy's functions: np.exp for math.exp, np.where for an if."),
    "not-an-array": Kind("error", "no array",
        "What is returned is no NumPy array.",
        "Return the array that NumPy's functions give."),
    "raises": Kind("error", "raises",
        "It raises an exception on ordinary arrays.",
        "See the line named here."),
    "odd-arrays": Kind("warning", "fails on empty or zero-dimensional arrays",
        "It raises, or gives another shape or another number, on an array of shape (0,) or (): a batch that was "
        "filtered may be empty, and a single number has no dimensions.",
        "On a 0-d array a NumPy function gives a scalar: np.asarray it before out= or an assignment. An empty array has no "
        "maximum."),
    "warns": Kind("warning", "gives warnings",
        "NumPy warns on the way; where warnings are errors, this fails.",
        "Avoid the operation, or say that it is meant: with np.errstate(over='ignore')."),
    "slow": Kind("warning", "slow",
        "Python is interpreted for each element, where NumPy's own loops take the whole array.",
        "Python code for each element (np.vectorize, a loop) is slow: write it on whole arrays."),
    "jump": Kind("warning", "discontinuous",
        "The value jumps: there is no derivative there, and no gradient sees the jump.",
        "If it is not meant, the two branches do not meet: compare them at the point named here."),
    "undeclared-kink": Kind("warning", "a kink that is not declared",
        "Kinks were declared with --kink, and this one is not among them.",
        "Declare it, or smooth it out."),
    "no-such-kink": Kind("warning", "no kink there",
        "A kink was declared where the function has none.",
        "Correct the statement."),
    "many-branches": Kind("note", "branch points without end",
        "More branch points than can be examined (floor, round, a comparison of a periodic function): on the intervals "
        "named here nothing is known between the points, so that the verdict is no better than `not judged`.",
        "Give a --domain that holds a few of them."),
    "ignores-upstream": Kind("error", "does not pass on the incoming gradient",
        "What goes out is not G ⊙ σ', element by element: G is ignored, summed, averaged, clipped or rounded.",
        "Multiply by grad_output (torch) or by the cotangent g (JAX)."),
    "no-gradient": Kind("error", "no gradient",
        "The result is not connected to its input: autograd gets nothing.",
        "Keep to torch functions; no .detach(), no .numpy(), no torch.no_grad()."),
    "autodiff-nan": Kind("warning", "autodiff gives NaN",
        "The branch that is not taken overflows, and 0·∞ is NaN in the backward pass (the where trap), or an intermediate "
        "of the branch that is taken overflows.",
        "Make the argument safe before each branch: np.where(x > 0, 0, x) inside the exponential."),
    "autodiff-branch": Kind("warning", "autodiff is wrong at a branch point",
        "At a point where a branch flips, autodiff differentiates the expression as it is written there (sign' = 0, half of "
        "each side of a maximum), which is not σ' where σ is smooth, or no number between the one-sided derivatives.",
        "Write the branches so that one of them holds at the point itself: np.where(x >= 0, …), or a custom gradient."),
    "autodiff-off": Kind("warning", "autodiff loses digits",
        "What autodiff makes of the same σ is off by more than a good formula for σ' would be.",
        "If training uses autodiff, give it a custom gradient with the certified formula."),
    "known-difference": Kind("note", "a known difference",
        "It is what the framework is known to compute instead, by a row of known_differences.toml, and no mistake of "
        "the one who uses it.",
        "See the source that the row names."),
    "network": Kind("error", "wrong in a network",
        "A forward and backward pass with this activation does not conform.",
        "See the step that is named: it is the first that is wrong given its own operands."),
    "network-inaccurate": Kind("inaccurate", "digits lost in a network",
        "A forward and backward pass with this activation is right but for digits that it loses.",
        "Use a form that does not cancel, in the step that is named."),
}
# fmt: on


def finding(spec: Spec, kind: str, of: str, **details: Unpack[Details]) -> Finding:
    """A finding of that kind about σ, σ', torch or jax (`of`, one of FUNCTIONS); `spec` names the function."""
    k = KINDS[kind]
    found = Finding(
        kind=kind, severity=k.severity, title=k.title, of=NAMES.get(of, of), dtype="", x=None, got="",
        expected="", digits=None, count=1, points=0, where="", looks_like="",
        explanation=k.explanation, remedy=k.remedy, reproduce="",
    )  # fmt: skip
    found.update({name: v for name, v in details.items() if v != ""})  # type: ignore[typeddict-item]
    if found["x"] is not None:
        found["reproduce"] = _reproduce(spec.given.get(of, ""), of, found)
    return found


def _reproduce(given: str, of: str, f: Finding) -> str:
    """A line of Python that shows it again; "" for a function that cannot be found by name."""
    where, _, name = given.rpartition(":")
    if not where or "<" in given:
        return ""
    x = repr(f["x"]) if isinstance(f["x"], float) else f"float({str(f['x'])!r})"
    dtype = f["dtype"].split(",")[0] or "float64"
    top, _, rest = name.partition(".")
    stem, g = Path(where).stem, f"f.{rest}" if rest else "f"
    call = "import numpy as np; "
    if where.endswith(".py") and stem.isidentifier():
        call += f"import sys; sys.path.insert(0, {str(Path(where).parent)!r}); from {stem} import {top} as f; "
    elif where.endswith(".py"):
        call += f"import runpy; f = runpy.run_path({where!r})[{top!r}]; "
    else:
        call += f"from {where} import {top} as f; "
    if of == "torch":
        call += f"import torch; x = torch.tensor([{x}], dtype=torch.{dtype}, requires_grad=True); "
        kinds = (
            f"{g}.apply if hasattr({g}, 'backward') else {g}() if isinstance({g}, type) else {g}"
        )
        return call + f"({kinds})(x).backward(); print(x.grad)"
    if of == "jax":
        call += "import jax; jax.config.update('jax_enable_x64', True); "
        return call + f"print(jax.grad(lambda x: {g}(x).sum())(jax.numpy.array([{x}], {dtype!r})))"
    return call + f"print({g}(np.array([{x}], {dtype!r})))"


def digits(got: float, expected: float) -> float:
    """How many significant digits are right, at most 17."""
    if got == expected:
        return 17.0
    if expected == 0 or not (math.isfinite(got) and math.isfinite(expected)):
        return 0.0
    return round(min(17.0, max(0.0, -math.log10(abs(got - expected) / abs(expected)))), 1)
