"""The process that runs a student's file: problems in, what its two procedures return out.

Standard output is kept for the answers: what the file prints goes to standard error. Nothing here knows
what is right: σ, σ' and the loss are handed over, the two procedures are the file's own.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import refbp
from conformance.model.exchange import ExchangeError, hexed, line, problem_from, read_line
from conformance.model.problem import Problem
from conformance.tools.orphan import end_with

__all__ = ["main"]

FORBIDDEN = ("refbp", "conformance", "torch", "jax", "jaxlib", "autograd", "tensorflow", "tinygrad")
Trouble = dict[str, str]


class TroubleError(Exception):
    """What a procedure did instead: kind, function, text."""

    def __init__(self, kind: str, function: str, text: str) -> None:
        super().__init__(text)
        self.said = {"kind": kind, "function": function, "text": text}


class Sigma:
    """σ_l as it is handed over: sigma(A), sigma.derivative(A), sigma.vjp(A, G)."""

    def __init__(self, of: Any, constant_unit: bool) -> None:
        self.name, self._of, self._constant = of.name, of, constant_unit

    def __repr__(self) -> str:
        return f"<σ: {self.name}>"

    def __call__(self, A: Any) -> Any:
        """σ(A), shaped like A."""
        return self._but_the_constant(self._of, 1, A)

    def derivative(self, A: Any) -> Any:
        """σ'(A), shaped like A."""
        return self._but_the_constant(self._of.derivative, 0, A)

    def vjp(self, A: Any, G: Any) -> Any:
        """∂L/∂A for G = ∂L/∂Z: G ⊙ σ'(A) where σ is elementwise."""
        return self._but_the_constant(self._of.vjp, 0, A, G)

    def _but_the_constant(self, f: Callable[..., Any], value: float, *of: Any) -> Any:
        """f on every column but the last, which is the constant unit's, where there is one."""
        arrays = [np.asarray(M) for M in of]
        if not self._constant:
            return f(*arrays)
        inner = f(*(M[..., :-1] for M in arrays))
        return np.concatenate([inner, np.full_like(arrays[0][..., -1:], value)], axis=-1)


class LossOf:
    """The loss as it is handed over: loss(Z_L, Y), loss.gradient(Z_L, Y)."""

    def __init__(self, of: Any) -> None:
        self.name, self._of = of.name, of

    def __call__(self, Z: Any, Y: Any) -> Any:
        """L(Z_L, Y)."""
        return self._of(Z, Y)

    def gradient(self, Z: Any, Y: Any) -> Any:
        """∂L/∂Z_L, n×d_L."""
        return self._of.gradient(Z, Y)


class Guard(importlib.abc.MetaPathFinder):
    """Refuses what would do the work instead."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self.refused = [name for name in FORBIDDEN if name not in allowed]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """None, but for those that are refused."""
        if name.partition(".")[0] in self.refused:
            raise ImportError(f"{name} may not be used here: the two procedures are to be your own")
        return None


def _load(path: Path) -> Any:
    """The file as a module. Raises TroubleError."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("student", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["student"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as e:
        raise TroubleError("import", path.name, f"cannot be imported: {_reason(e, path)}") from e
    return module


def _reason(e: BaseException, path: Path) -> str:
    """The exception, and the file's own line that raised it."""
    said = "sys.exit was called" if isinstance(e, SystemExit) else str(e).strip()[:1000]
    what = f"{type(e).__name__}: {said or 'no message'}".replace("\n", " ")
    if isinstance(e, SyntaxError) and e.lineno:
        return f"{type(e).__name__}: {e.msg} (line {e.lineno}: {(e.text or '').strip()})"
    own = [f for f in traceback.extract_tb(e.__traceback__) if Path(f.filename).name == path.name]
    return f"{what} (line {own[-1].lineno}: {own[-1].line})" if own else what


class Harness:
    """One file, problem after problem."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module: Any = None
        self.failed: Trouble | None = None
        self.skip: Collection[str] = ()  # the functions that are not to be called
        self.mends = False  # A and Z that are not finite are not handed on to backward_prop
        try:
            self.module = _load(path)
        except TroubleError as e:
            self.failed = e.said

    def answer(self, p: Problem) -> dict[str, Any]:
        """What is returned for a problem, and what went wrong."""
        if self.failed:
            return {"troubles": [self.failed]}
        sigma = [refbp.activation(s) for s in p.sigma.values()]
        row_wise = next((s.name for s in sigma if isinstance(s, refbp.RowWise)), "")
        if row_wise and not getattr(self.module, "ROW_WISE", False):
            return {
                "unsupported": f"{row_wise} is not elementwise: only a file that says ROW_WISE = True, "
                "and uses sigma[l].vjp(A, G), is given it."
            }
        return Attempt(self, p, sigma).answer()

    def called(self, name: str, *arguments: Any) -> Any:
        """What the file's function returns. Raises TroubleError."""
        if name in self.skip:
            raise TroubleError("skipped", name, "was not called.")
        f = getattr(self.module, name, None)
        if not callable(f):
            raise TroubleError("missing", name, f"is not defined in {self.path.name}.")
        try:
            return f(*arguments)
        except BaseException as e:
            raise TroubleError("raised", name, f"raised {_reason(e, self.path)}.") from e


class Attempt:
    """One problem: the arguments as lists, the results looked at, the bias taken apart again."""

    def __init__(self, harness: Harness, p: Problem, sigma: list[Any]) -> None:
        self.harness, self.p = harness, p
        L = self.L = p.depth
        self.W, self.X = [p.W[l].copy() for l in range(1, L + 1)], p.X.copy()
        self.Y = p.Y.copy()
        if p.bias:
            absorbed = refbp.absorb(
                {l: M[:-1] for l, M in p.W.items()}, {l: M[-1] for l, M in p.W.items()}
            )
            self.W, self.X = [absorbed[l] for l in range(1, L + 1)], refbp.with_ones(p.X)
        self.sigma = [Sigma(s, p.bias and l < L) for l, s in enumerate(sigma, start=1)]
        self.loss = LossOf(refbp.loss(p.loss))
        self.n = len(p.X)
        self.like_A = [(self.n, M.shape[1]) for M in self.W]
        self.like_Z = [self.X.shape, *self.like_A]
        self.like_W = [M.shape for M in self.W]
        self.troubles: list[Trouble] = []

    def answer(self) -> dict[str, Any]:
        """The object to be written."""
        found: dict[str, Any] = {}
        try:
            A, Z = self.forward()
            found |= {"A": self.units(A), "Z": self.units(Z[1:])}
            if self.harness.mends and not all(np.isfinite(M).all() for M in (*A, *Z)):
                A, Z = self.handed_forward()
        except TroubleError as e:
            self.troubles.append(e.said)
            A, Z = self.handed_forward()
        try:
            delta, dW = self.backward(A, Z)
            found["dW"] = self.gradients(dW)
            if delta is not None:
                found["delta"] = self.units(delta)
            if callable(getattr(self.harness.module, "update", None)):
                found["W_new"] = self.gradients(self.updated(dW))
        except TroubleError as e:
            self.troubles.append(e.said)
        return {**found, "troubles": self.troubles}

    def handed_forward(self) -> tuple[list[Any], list[Any]]:
        """A and Z for backward_prop alone, where forward_pass has none."""
        A: list[Any] = []
        Z: list[Any] = [self.X]
        for W, sigma in zip(self.W, self.sigma, strict=True):
            A.append(Z[-1] @ W)
            Z.append(sigma(A[-1]))
        return A, Z

    def forward(self) -> tuple[list[Any], list[Any]]:
        """A_1 … A_L and Z_0 … Z_L."""
        name = "forward_pass"
        found = self.unchanged(
            name, {"W": self.W, "X": self.X}, lambda given: self.harness.called(
                name, given["W"], given["X"], self.sigma
            )
        )  # fmt: skip
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise TroubleError("malformed", name, f"returned {_what(found)}; expected (A, Z).")
        L = self.L
        if [_length(part) for part in found] == [L + 1, L]:
            raise TroubleError(
                "malformed",
                name,
                "returned Z and A, it seems, the other way round; expected (A, Z).",
            )
        A = self.layers(name, "A", found[0], self.like_A, f"[A_1, …, A_{L}]", 1)
        Z = self.layers(name, "Z", found[1], self.like_Z, f"[Z_0, …, Z_{L}], Z_0 = X", 0)
        if not np.array_equal(Z[0], self.X):
            raise TroubleError(
                "malformed", name, "returned Z_0 that is not X; expected X itself, as it was given."
            )
        for l in range(1, L) if self.p.bias else ():
            if np.isfinite(Z[l]).all() and (Z[l][:, -1] != 1).any():
                raise TroubleError(
                    "malformed", name,
                    f"returned Z_{l} whose last unit, the constant one, is not 1; expected σ(A_{l}) as σ "
                    "returns it.",
                )  # fmt: skip
        return A, Z

    def backward(self, A: list[Any], Z: list[Any]) -> tuple[list[Any] | None, list[Any]]:
        """δ_1 … δ_L, if returned, and ∂L/∂W_1 … ∂L/∂W_L."""
        name = "backward_prop"
        found = self.unchanged(
            name, {"W": self.W, "A": A, "Z": Z, "Y": self.Y}, lambda given: self.harness.called(
                name, given["W"], given["A"], given["Z"], given["Y"], self.sigma, self.loss
            )
        )  # fmt: skip
        delta = None
        if (
            isinstance(found, (tuple, list))
            and len(found) == 2
            and all(isinstance(part, (tuple, list, Mapping)) for part in found[1:])
            and (found[0] is None or isinstance(found[0], (tuple, list, Mapping)))
        ):
            delta, found = found
            if self._exchanged(delta, found):
                raise TroubleError(
                    "malformed", name,
                    "returned dW and delta, it seems, the other way round; expected (delta, dW).",
                )  # fmt: skip
        L = self.L
        dW = self.layers(name, "dW", found, self.like_W, f"[∂L/∂W_1, …, ∂L/∂W_{L}]", 1)
        if delta is not None:
            delta = self.layers(name, "delta", delta, self.like_A, f"[δ_1, …, δ_{L}]", 1)
        return delta, dW

    def _exchanged(self, delta: Any, dW: Any) -> bool:
        """Whether their shapes are each other's, and not their own."""
        shapes = [[getattr(M, "shape", None) for M in _in_order(part)] for part in (delta, dW)]
        return shapes == [self.like_W, self.like_A] != [self.like_A, self.like_W]

    def updated(self, dW: list[Any]) -> list[Any]:
        """W_l − α ∂L/∂W_l, by the file's own update(W, dW, alpha)."""
        found = self.unchanged(
            "update", {"W": self.W, "dW": dW}, lambda given: self.harness.called(
                "update", given["W"], given["dW"], self.p.alpha
            )
        )  # fmt: skip
        return self.layers("update", "W_new", found, self.like_W, f"[W_1, …, W_{self.L}]", 1)

    def unchanged(self, name: str, given: dict[str, Any], call: Callable[[Any], Any]) -> Any:
        """The result of a call on copies of what is given, which it must leave as they are."""
        copies: dict[str, Any] = {
            k: [np.array(M) for M in v] if isinstance(v, list) else v.copy()
            for k, v in given.items()
        }
        before = dict(copies)  # the arrays, wherever the list is left
        found = call(copies)
        for k, v in given.items():
            if not isinstance(v, list):
                if before[k].tobytes() != v.tobytes():
                    self._wrote(name, k)
                continue
            first = 0 if k == "Z" else 1
            if len(copies[k]) != len(v):
                self._wrote(name, k)
            for l, (M, was) in enumerate(zip(copies[k], v, strict=True), start=first):
                if not isinstance(M, np.ndarray) or M.tobytes() != np.asarray(was).tobytes():
                    self._wrote(name, f"{k}_{l}")
        return found

    def _wrote(self, name: str, what: str) -> None:
        raise TroubleError(
            "malformed", name,
            f"wrote to its input: {what} is not what it was given. Work on new arrays (or copies).",
        )  # fmt: skip

    def layers(
        self, name: str, q: str, found: Any, shapes: list[Any], expected: str, first: int
    ) -> list[Any]:
        """The list, looked at. Raises TroubleError."""

        def refuse(text: str) -> None:
            raise TroubleError("malformed", name, text)

        if isinstance(found, Mapping):  # keyed by the layer, as refbp has them
            keys = list(range(first, first + len(shapes)))
            if sorted(found, key=str) != sorted(keys, key=str):
                refuse(f"returned {q} with the layers {sorted(found, key=str)}; expected {keys}.")
            found = [found[k] for k in keys]
        if not isinstance(found, (list, tuple)):
            refuse(f"returned {q} as {_what(found)}; expected a list {expected}.")
        if len(found) != len(shapes):
            refuse(f"returned {q} with {len(found)} entries; expected {len(shapes)}: {expected}.")
        for l, (M, shape) in enumerate(zip(found, shapes, strict=True), start=first):
            if type(M) is not np.ndarray:
                refuse(f"returned {q}_{l} as {_what(M)}; expected an array of shape {shape}.")
            if M.shape != shape:
                refuse(f"returned {q}_{l} of shape {M.shape}; expected {shape}.")
            if M.dtype != self.p.dtype:
                said = f"returned {q}_{l} of dtype {M.dtype}; expected {self.p.dtype}, as given"
                why = ": a NumPy scalar, or an array made without a dtype, makes float64 of what it meets."
                refuse(said + (why if M.dtype == np.float64 else "."))
        return list(found)

    def units(self, of: list[Any]) -> list[Any]:
        """A, Z or δ without the constant unit."""
        L, bias = self.L, self.p.bias
        return [hexed(M[:, :-1] if bias and l < L else M) for l, M in enumerate(of, start=1)]

    def gradients(self, of: list[Any]) -> list[Any]:
        """∂L/∂W or W without the constant unit's column: [W_l; b_l]."""
        return self.units(of)


def _in_order(layers: Any) -> list[Any]:
    """The entries of a list, or of a mapping by layer."""
    return list(layers.values() if isinstance(layers, Mapping) else layers or ())


def _length(x: Any) -> int:
    return len(x) if isinstance(x, (list, tuple)) else -1


def _what(x: Any) -> str:
    if isinstance(x, (list, tuple)):
        return f"a {type(x).__name__} of {len(x)}"
    if x is None:
        return "None"
    kind = type(x).__name__
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def main() -> None:
    """Answer until standard input ends."""
    path = Path(sys.argv[1]).resolve()
    source, sink = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    end_with(os.getppid())
    allowed = [a.removeprefix("--allow=") for a in sys.argv[2:] if a.startswith("--allow=")]
    if guarded := "--guarded" in sys.argv[2:]:
        for name in list(sys.modules):
            if name.partition(".")[0] in FORBIDDEN and name != __name__:
                del sys.modules[name]
        sys.meta_path.insert(0, Guard(allowed))
    sys.argv = [str(path)]
    ours = os.getpid()
    harness = Harness(path)
    if os.getpid() != ours:  # the file forked: only the first of them answers
        os._exit(0)
    harness.mends = guarded
    np.seterr(all="ignore")
    for text in source:
        try:
            asked = read_line(text)
            harness.skip = asked.get("skip", ())
            said = harness.answer(problem_from(asked))
        except ExchangeError as e:
            said = {"troubles": [{"kind": "ended", "function": "", "text": str(e)}]}
        if os.getpid() != ours:
            os._exit(0)
        with suppress(Exception):
            sys.stdout.flush()
        sink.write(line(said))
        sink.flush()


if __name__ == "__main__":
    main()
