"""Reads the layers of a quantity from what a student's function returned.

There are two ways. Strictly: the first error is raised. `by_part`: errors are collected, a part that is
missing or misshapen becomes NaN, and the other parts are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np

from conformance.model.problem import Floats

__all__ = [
    "Form",
    "Shape",
    "Trouble",
    "TroubleError",
    "described",
    "first_layer",
    "is_stack",
    "malformed",
    "shape_of",
]

Trouble = dict[str, str]
"""An error: {"kind", "function", "text"}; if it is about one quantity alone, "quantity" too. Kinds that cost
less: "form" (everything is there, in another form than was asked for); "note" (it is as was asked for);
"given", set by `student.py` (the function raised on the file's own A and Z, and not on the right ones)."""
Shape = tuple[int, ...]


class TroubleError(Exception):
    """What a procedure did wrong."""

    def __init__(self, kind: str, function: str, text: str, quantity: str = "") -> None:
        super().__init__(text)
        self.trouble: Trouble = {"kind": kind, "function": function, "text": text}
        if quantity:
            self.trouble["quantity"] = quantity


def malformed(function: str, text: str) -> TroubleError:
    return TroubleError("malformed", function, text)


class Form:
    """The form of what is returned for one problem.

    `ends`: for each quantity, whether a list that was too short or too long fitted at its end; and, by
    "backwards", whether lists had the last layer first. It is kept from problem to problem.
    """

    def __init__(self, by_part: bool, dtype: np.dtype[Any], ends: dict[str, bool]) -> None:
        self.by_part, self.dtype, self.ends = by_part, dtype, ends
        self.troubles: list[Trouble] = []
        self.plain: set[str] = set()  # the quantities that are returned as nested lists

    def wrong(self, function: str, q: str, text: str, kind: str = "malformed") -> None:
        """Something is wrong with a quantity. Raises TroubleError, or records the first error of each
        kind."""
        if not self.by_part:
            raise malformed(function, text)
        e = TroubleError(kind, function, text, q)
        if (kind, q) not in [(t["kind"], t.get("quantity")) for t in self.troubles]:
            self.troubles.append(e.trouble)

    def layers(
        self, name: str, q: str, returned: object, shapes: Sequence[Shape], expected: str
    ) -> list[Floats]:
        """The layers of a quantity, checked; NaN for what is missing. Raises TroubleError."""
        entries = self.entries(name, q, returned, shapes, expected)
        for l, (M, shape) in enumerate(zip(entries, shapes, strict=True)):
            if self.by_part:
                M = self.array(q, M)
            if wrong := self._wrong(M, shape):
                self.wrong(name, q, f"returned {q}_{l + first_layer(q)} {wrong}")
                M = np.full(shape, np.nan, self.dtype)
            entries[l] = M
        return entries

    def backwards(
        self, got: Sequence[Sequence[Shape | None]], expected: Sequence[Sequence[Shape]]
    ) -> bool:
        """Whether lists have the last layer first. Where the shapes fit both ways, as it was before."""
        fit = [got == [list(shapes[::step]) for shapes in expected] for step in (1, -1)]
        if fit[0] != fit[1]:
            self.ends["backwards"] = fit[1]
        return fit[1] and len(expected[0]) > 1 and self.ends.get("backwards", False)

    def array(self, q: str, M: Any) -> Any:
        """M as an array of this dtype, if NumPy takes it for an array of numbers; else M as it is."""
        with suppress(Exception):
            found = np.asarray(M)
            if found.dtype.kind in "fiuO" and type(found) is np.ndarray:
                self.plain |= {q} if isinstance(M, list) else set()
                return found.astype(self.dtype)
        return M

    def entries(
        self, name: str, q: str, returned: object, shapes: Sequence[Shape], expected: str
    ) -> list[Any]:
        """One entry for each layer; None for one that is missing. Raises TroubleError."""
        if isinstance(returned, Mapping):  # keyed by the layer, as in refbp
            keys = list(range(first_layer(q), first_layer(q) + len(shapes)))
            got = sorted(returned, key=str)
            if got == sorted(keys, key=str):
                return [returned[k] for k in keys]
            text = f"returned {q} with the layers {got}; expected {keys}."
            self.wrong(name, q, text, "form" if len(got) >= len(keys) else "malformed")
            if len(got) < len(keys):
                return [returned.get(k) for k in keys]
            returned = [returned[k] for k in got]
        if self.by_part and is_stack(returned):
            returned = list(cast("np.ndarray[Any, Any]", returned))
        if not isinstance(returned, (list, tuple)):
            what = described(returned)
            self.wrong(name, q, f"returned {q} as {what}; expected a list {expected}.")
            return [None] * len(shapes)
        if len(returned) == len(shapes):
            return list(returned)
        wrong = f"{len(returned)} entries; expected {len(shapes)}: {expected}."
        complete = len(returned) > len(shapes) or (q == "Z" and len(returned) == len(shapes) - 1)
        self.wrong(name, q, f"returned {q} with {wrong}", "form" if complete else "malformed")
        return self.aligned(q, returned, shapes)

    def aligned(self, q: str, returned: Sequence[Any], shapes: Sequence[Shape]) -> list[Any]:
        """A list that is too short or too long: its beginning or its end, whichever has the right shapes.

        If both have, the same as last time; at first the end, since Z_0 and ∂L/∂W_1 are what people forget,
        and extra entries are usually in front.
        """
        k, m = len(returned), len(shapes)
        first = [*returned[:m], *[None] * (m - k)]
        last = [*[None] * (m - k), *returned[max(k - m, 0) :]]
        fit = [
            sum(shape_of(M) == s for M, s in zip(some, shapes, strict=True))
            for some in (first, last)
        ]
        if fit[0] != fit[1]:
            self.ends[q] = fit[1] > fit[0]
        return last if self.ends.get(q, True) else first

    def _wrong(self, M: object, shape: Shape) -> str:
        """What is wrong with the form of one matrix; "" if nothing is."""
        if M is None and self.by_part:
            return "as None, or not at all."
        if type(M) is not np.ndarray:
            return f"as {described(M)}; expected an array of shape {shape}."
        if M.shape != shape:
            return f"of shape {M.shape}; expected {shape}."
        if M.dtype == self.dtype:
            return ""
        why = ": a NumPy scalar, or an array made without a dtype, makes float64 of what it meets."
        end = why if M.dtype == np.float64 else "."
        return f"of dtype {M.dtype}; expected {self.dtype}, as given{end}"


def is_stack(layers: Any) -> bool:
    """Whether layers stand in one array: of equal shapes, or as objects."""
    return isinstance(layers, np.ndarray) and (layers.ndim == 3 or layers.dtype == object)


def first_layer(q: str) -> int:
    return 0 if q == "Z" else 1


def shape_of(M: Any) -> Shape | None:
    """The shape of M as an array; None if it has none."""
    with suppress(Exception):
        shape: Shape = np.shape(M)
        return shape
    return None


def described(x: object) -> str:
    if isinstance(x, (list, tuple)):
        return f"a {type(x).__name__} of {len(x)}"
    if x is None:
        return "None"
    kind = type(x).__name__
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
