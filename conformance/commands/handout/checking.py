"""What a notebook says of a student's answer.

A line is judged on the student's own operands, so that what follows from a mistake is not blamed for it, and
compared with every mistake that the grader knows (`judge.mistakes.table`). A notebook carries this module
(`vendored`); it needs NumPy alone. A student may write anything into a blank: nothing is raised. The message
never says the right number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.commands.handout.lines import LINES, Line, Network
from conformance.judge.mistakes.loop import STEPS, State, Step, outcome
from conformance.judge.mistakes.table import FAULTS, Fault
from conformance.model.problem import Floats

__all__ = ["Check"]

SUMMED = {"db": "the examples", "loss": "all its terms", "S": "each row", "T": "each row"}
"""What a quantity is the sum over."""


class Check:
    """check(name, got) says whether it is right, and gives it back as an array.

    `names` are a notebook's globals: W, b, sigma, alpha, the data, and what the student has computed so far.
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        loss: str,
        digits: int,
        scale: float = 1.0,
        fixed_biases: bool = False,
    ) -> None:
        self.names, self.digits = names, digits
        self.net = Network(names, loss, scale, fixed_biases)
        self.blamed: dict[str, list[str]] = {}
        """Which lines are to be mended for this one to be right."""
        self.misshapen: set[str] = set()  # no line that reads them can be judged

    def __call__(self, name: str, got: object) -> object:
        with np.errstate(all="ignore"):
            fine, message, value, roots = self.judged(name, got)
        self.blamed[name] = [] if fine is not False else roots or [name]
        if fine is False and roots:
            message += f" {roots[0]} is not right yet: mend it first."
        print(f"{name}: {message}")
        return value

    # the numbers

    def name(self, q: str, l: int) -> str:
        """The variable of a quantity: a[1], or A[1]."""
        letter = q.lower() if self.net.column and q in ("A", "Z") else q
        return f"{letter}[{l}]" if l else q

    def own(self, q: str, l: int) -> Floats:
        """The student's; the right ones, where there are none of that shape."""
        right = self.net.right(q, l)
        letter = self.name(q, l).partition("[")[0]
        held = self.names.get(letter)
        have, odd = _as_numbers(held.get(l) if isinstance(held, dict) else None)
        usable = not odd and have.shape == self.net.turned(right).shape and np.isfinite(have).all()
        return self.net.turned(have) if usable and (q, l) != ("Z", 0) else right

    # the verdict

    def judged(self, name: str, got: object) -> tuple[bool | None, str, object, list[str]]:
        """Is it right (None: nothing there yet), what is said of it, the same as an array, and which lines
        are to be mended first."""
        letter, _, index = name.partition("[")
        q, l = (
            letter.upper() if letter in ("a", "z") else letter,
            int(index[:-1] or 0) if index else 0,
        )
        want = self.net.turned(self.net.right(q, l)) if l else self.net.right(q, l).reshape(())
        wanted = f"{_shape_of(want)} numbers" if want.ndim else "one number"
        if got is ...:
            return None, "not filled in yet.", got, []
        have, odd = _as_numbers(got)
        self.misshapen.discard(name)
        if odd:
            self.misshapen.add(name)
            return False, f"got {odd}; expected {wanted}.", got, []
        if not want.ndim and have.size == 1:
            have = have.reshape(())
        if have.shape != want.shape:
            self.misshapen.add(name)
            roots = self._misled(self._from_own(LINES[q][0], l, want)[1])
            why = "" if roots else self._not_summed(q, l, have, want) or _misshapen(have, want)
            return False, f"got {_shape_of(have)}; expected {wanted}{why}.", have, roots
        if not np.isfinite(have).all():
            at = tuple(np.argwhere(~np.isfinite(have))[0])
            why = "a division by 0, or a logarithm of 0?"
            return False, f"got {have[at]}{_place(at)}; expected finite numbers: {why}", have, []
        if message := _right(have, want, self.digits):
            return True, message, have[()], []
        forms = [self._from_own(form, l, want) for form in LINES[q]]
        for own, roots in forms:
            if _right(have, own, self.digits):
                text = "right, given what it reads." if roots else "right, from rounded numbers."
                return not roots, text, have[()], roots
        own, roots = forms[0]
        if misled := self._misled(roots):
            return False, "not what refbp computes.", have[()], misled
        says = "not what refbp computes" + (" from your numbers" if roots else "")
        return False, f"{says}: {self._hint(q, l, have, own)}.", have[()], roots

    def _from_own(self, form: Line, l: int, like: Floats) -> tuple[Floats, list[str]]:
        """What a line gives on the student's own operands, and which of these are to be mended first."""
        roots: list[str] = []

        def of(q: str, k: int) -> Floats:
            wrong = [r for r in self.blamed.get(self.name(q, k), []) if self.blamed[r]]
            roots.extend(r for r in wrong if r not in roots)
            return self.own(q, k)

        M = form(self.net, of, l)
        return (self.net.turned(M) if like.ndim else M.reshape(())), roots

    def _misled(self, roots: list[str]) -> list[str]:
        return [r for r in roots if r in self.misshapen]

    def _not_summed(self, q: str, l: int, have: Floats, want: Floats) -> str:
        """Whether these are the terms of a sum."""
        n, width = len(self.net.problem.X), self.net.W[l or self.net.L].shape[1]
        if q in SUMMED and have.size in (n * width, n) and have.size > want.size:
            return f": it is not summed over {SUMMED[q]}"
        return ""

    # what it looks like, and not what it is

    def _hint(self, q: str, l: int, have: Floats, want: Floats) -> str:
        if not have.any():
            return "it is 0 everywhere"
        if not want.any():
            return "something in it is to be 0 that is not"
        if known := self._known(q, l, have, want):
            return f"it looks like this: {known}"
        if _as_shown(have, -want, self.digits):
            return "its sign is the other one"
        if want.ndim == 2 and have.T.shape == want.shape and _as_shown(have.T, want, self.digits):
            return "it looks transposed"
        rounded = [k for k in range(2, 15) if _agrees(have, want, k)]
        if rounded:
            return f"it is right to {rounded[-1]} digits alone, and was perhaps rounded too much on the way"
        return (
            self._part(q, l, have, want)
            or self._another(q, l, have)
            or self._factor(have, want)
            or _places(have, want)
        )

    def _known(self, q: str, l: int, have: Floats, want: Floats) -> str:
        """The first known mistakes that give just these numbers, on the student's own operands."""
        s = State(self.net.problem, Z={0: self.net.problem.X})
        for k in range(1, self.net.L + 1):
            s.A[k], s.Z[k] = self.own("A", k), self.own("Z", k)
            s.delta[k] = self.own("delta", k) * self.net.scale
            gradients = [self.own("dW", k), *([self.own("db", k)] if self.net.has_bias else [])]
            s.dW[k] = np.vstack(gradients) * self.net.scale
        looks: dict[str, None] = {}
        for fault in FAULTS.values():
            if fault.gate != "step":
                continue
            try:
                M = self._outcome(fault, s, q, l)
            except Exception:  # a hint that cannot be had must not cost the check
                continue
            if M is None:
                continue
            wrong = self.net.turned(M) if want.ndim else M.reshape(())
            visible = wrong.shape == want.shape and not _as_shown(wrong, want, self.digits)
            if visible and (_close(have, wrong) or _agrees(have, wrong, self.digits)):
                looks[fault.what] = None
        return ", or: ".join([*looks][:2])

    def _outcome(self, fault: Fault, s: State, q: str, l: int) -> Floats | None:
        """What a mistake makes of a quantity; None if it is not made there."""
        steps: dict[str, Step] = {
            **STEPS,
            "G_L": lambda _: self.own("G", self.net.L) * self.net.scale,
        }
        if q == "G":
            steps["G_L"] = STEPS["G_L"]
        for name, wrap in fault.wrong.items():
            steps[name] = wrap(steps[name])
        if q == "G":
            return steps["G_L"](s) / self.net.scale if "G_L" in fault.wrong else None
        if q == "D":
            return steps["delta"](s, l, np.ones_like(s.A[l])) if "delta" in fault.wrong else None
        step = {"db": "dW", "b_new": "W_new"}.get(q, q)
        if step not in STEPS:
            return None
        M = outcome(s, steps, step, l)
        M = M / self.net.scale if step in ("delta", "dW", "loss") else M
        if self.net.has_bias and step in ("dW", "W_new"):
            return M[-1:] if q in ("db", "b_new") else M[:-1]
        return None if q in ("db", "b_new") else M

    def _part(self, q: str, l: int, have: Floats, want: Floats) -> str:
        """A multiple of what is added last: b_l, or −α ∂L/∂W_l."""
        if q == "A" and self.net.has_bias:
            part, name = self.net.turned(self.net.b[l]), f"b[{l}]"
        elif q in ("W_new", "b_new"):
            name = f"alpha * d{q[0]}[{l}]"
            part = self.net.turned(-self.net.alpha * self.own(f"d{q[0]}", l))
        else:
            return ""
        off, part = np.broadcast_arrays(have - want, part)
        if not part.any() or off[part == 0].any():
            return ""
        times = 1 + off[part != 0] / part[part != 0]
        if not np.allclose(times, times[0], rtol=1e-4):
            return ""
        told = self._times(float(times[0]), times.size > 1)
        return f"look at {name} in it: {told}" if told else ""

    def _another(self, q: str, l: int, have: Floats) -> str:
        if q == "loss_after" and _close(have, self.net.right("loss", 0).reshape(())):
            return "these are the numbers of loss"
        for other, k in ((other, k) for other in LINES for k in range(1, self.net.L + 1)):
            if (other, k) == (q, l) or not self.net.has(other, k):
                continue
            if _close(have, self.net.turned(self.net.right(other, k))):
                return f"these are the numbers of {self.name(other, k)}"
        return ""

    def _factor(self, have: Floats, want: Floats) -> str:
        known = want != 0
        ratio = have[known] / want[known]
        same = not have[~known].any() and np.allclose(ratio, ratio[0], rtol=1e-4)
        return self._times(float(ratio[0]), ratio.size > 1) if same else ""

    def _times(self, ratio: float, many: bool) -> str:
        """It is so many times as much; of a single number that is said of a factor with a name alone."""
        sign = ", and its sign is the other one" if ratio < 0 else ""
        if abs(ratio + 1) < 1e-4:
            return "its sign is the other one"
        for name, value in {"n": len(self.net.problem.X), "2": 2, "alpha": self.net.alpha}.items():
            if value not in (0, 1) and abs(abs(ratio) / value - 1) < 1e-4:
                return f"it is {name} times as much as it is to be{sign}"
            if value not in (0, 1) and abs(abs(ratio) * value - 1) < 1e-4:
                return f"it is to be {name} times as much{sign}"
        return f"it is off by one and the same factor everywhere{sign}" if many else ""


def _places(have: Floats, want: Floats) -> str:
    """Which of its numbers are right."""
    if want.size > 1 and _close(np.sort(have, axis=None), np.sort(want, axis=None)):
        return "its numbers are right, and in another order"
    if want.size > 1 and _close(np.abs(have), np.abs(want)):
        return "some signs are the other ones"
    if (np.abs(have - want) <= 0.05 * np.abs(want)).all():
        return "it is near, and was perhaps rounded too much on the way"
    off = np.argwhere(np.abs(have - want) > 1e-6 * np.abs(want).max())
    if 0 < len(off) < want.size:
        many = f"{want.size - len(off)} of its {want.size} numbers are right"
        return f"{many}, and the one{_place(tuple(off[0]))} is not"
    return "look at the formula once more, factor by factor"


def _as_numbers(got: object) -> tuple[Any, str]:
    """The same as an array; or what is odd about it."""
    if got is None:
        return got, "None (does a function of yours return something?)"
    if isinstance(got, str):
        return got, f"the text {got[:20]!r}"
    if callable(got):
        return got, "a function, which is not called"
    try:
        array = np.asarray(got)
    except Exception:
        ragged = isinstance(got, (list, tuple))
        kind = f"something of the type {type(got).__name__}"
        return got, "rows of different lengths" if ragged else kind
    if array.dtype.kind in "biuf":
        return array.astype(float), ""
    inside = list(array.ravel())
    if any(x is ... for x in inside):
        return got, "a list in which something is not filled in yet"
    if any(x is None for x in inside):
        return got, "a list with None in it"
    if any(isinstance(x, str) for x in inside):
        return got, "texts instead of numbers"
    if array.dtype.kind == "c":
        return got, "complex numbers"
    listed = isinstance(got, (list, tuple, np.ndarray))
    kind = f"something of the type {type(inside[0] if listed else got).__name__}"
    return got, f"{kind}, in a list" if listed else kind


def _shape_of(array: Floats) -> str:
    """2×3; a flat list is said to be one."""
    if array.ndim == 1:
        return f"a flat list of {array.size}"
    return "×".join(str(k) for k in array.shape) or "one number"


def _misshapen(have: Floats, want: Floats) -> str:
    """Why the shape may be another."""
    if have.ndim < 2 and have.size == want.size and want.ndim == 2:
        if want.shape[0] == 1:
            return ", a row: [[1, 2]] and not [1, 2]; keepdims=True keeps the row of a sum"
        if want.shape[1] == 1:
            return ", a column: [[1], [2]] and not [1, 2]; keepdims=True keeps the column of a sum"
        return ", in rows and not one after the other"
    if have.shape == want.shape[::-1]:
        return ": it looks transposed" + ("" if _close(have.T, want) else ", and is not right yet")
    if want.ndim == have.ndim == 2:
        return ": look at the order of the product, and at what is transposed"
    return ""


def _place(at: tuple[int, ...]) -> str:
    """Where in a matrix; a single number has no place."""
    return f" in row {at[0] + 1}, column {at[1] + 1}" if len(at) == 2 else ""


def _close(have: Floats, want: Floats) -> bool:
    """But for rounding in another order."""
    least = 1e-14 * np.abs(want).max(initial=0.0)
    return have.shape == want.shape and np.allclose(have, want, rtol=1e-10, atol=least)


def _unit(want: Floats, digits: int) -> Floats:
    """One in the last digit shown; of a 0, that of the largest number."""
    size = np.where(want == 0, np.abs(want).max(initial=0.0), np.abs(want))
    return 10.0 ** (np.floor(np.log10(size)) - digits + 1)


def _agrees(have: Floats, want: Floats, digits: int) -> bool:
    """Rounded to so many digits, they are the same."""
    return bool((np.abs(have - want) <= 0.501 * _unit(want, digits)).all())


def _as_shown(have: Floats, want: Floats, digits: int) -> bool:
    """By a calculator, from the numbers as they are shown: the last digits may differ a little."""
    off = np.minimum(10 * _unit(want, digits), 5e-3 * np.abs(want))
    off = np.maximum(off, 0.501 * _unit(want, digits))
    return bool((np.abs(have - want) <= off).all())


def _right(have: Floats, want: Floats, digits: int) -> str:
    """What is said of a right answer; "" if it is not right."""
    if _close(have, want):
        return "as refbp computes it."
    if _agrees(have, want, digits):
        return f"right, as far as {digits} digits go."
    return "right, but for its last digits, as by a calculator." * _as_shown(have, want, digits)
