"""The process that runs a student's file: it reads problems, and writes what the file's two procedures
return.

Standard output is kept for the answers: what the file prints goes to standard error. Nothing here knows what
is right: the file is given σ, σ' and the loss, and the two procedures are its own. If forward_pass returns no
A and Z with which backward_prop can continue, the answer says that it `wants` them.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import select
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from conformance.implementations.student_form import (
    Form,
    Shape,
    Trouble,
    TroubleError,
    described,
    first_layer,
    is_stack,
    malformed,
    shape_of,
)
from conformance.model.exchange import (
    ExchangeError,
    hexed,
    line,
    problem_from,
    read_line,
    trace_from,
)
from conformance.model.problem import Floats, Problem, Trace
from refbp.activations import Activation, RowWise, activation
from refbp.bias import absorb, with_ones
from refbp.losses import Loss
from refbp.losses import loss as loss_named

__all__ = ["main"]

FORBIDDEN = ("refbp", "conformance", "torch", "jax", "jaxlib", "autograd", "tensorflow", "tinygrad")
Answer = dict[str, Any]
"""What is written as a line of JSON: a trace, "troubles", "wants", "unsupported"."""
Arguments = dict[str, Floats | list[Floats]]
"""The arguments of a procedure, by name; the list Z begins with layer 0, the other lists with layer 1."""


class Sigma:
    """σ_l as the file gets it: sigma(A), sigma.derivative(A), sigma.vjp(A, G)."""

    def __init__(self, activation: Activation, constant_unit: bool) -> None:
        self.name, self._activation, self._constant = activation.name, activation, constant_unit

    def __repr__(self) -> str:
        return f"<σ: {self.name}>"

    def __call__(self, A: Floats) -> Floats:
        """σ(A), shaped like A."""
        return self._but_the_constant(self._activation, 1, A)

    def derivative(self, A: Floats) -> Floats:
        """σ'(A), shaped like A."""
        return self._but_the_constant(self._activation.derivative, 0, A)

    def vjp(self, A: Floats, G: Floats) -> Floats:
        """∂L/∂A for G = ∂L/∂Z: G ⊙ σ'(A) where σ is elementwise."""
        return self._but_the_constant(self._activation.vjp, 0, A, G)

    def _but_the_constant(
        self, f: Callable[..., Floats], value: float, *operands: Floats
    ) -> Floats:
        """f on every column, except the last where that is the constant unit's."""
        arrays = [np.asarray(M) for M in operands]
        if not self._constant:
            return f(*arrays)
        inner = f(*(M[..., :-1] for M in arrays))
        return np.concatenate([inner, np.full_like(arrays[0][..., -1:], value)], axis=-1)


class LossOf:
    """The loss as the file gets it: loss(Z_L, Y), loss.gradient(Z_L, Y)."""

    def __init__(self, loss: Loss) -> None:
        self.name, self._loss = loss.name, loss

    def __call__(self, Z: Floats, Y: Floats) -> np.floating[Any]:
        """L(Z_L, Y)."""
        return self._loss(np.asarray(Z), np.asarray(Y))

    def gradient(self, Z: Floats, Y: Floats) -> Floats:
        """∂L/∂Z_L, n×d_L."""
        return self._loss.gradient(np.asarray(Z), np.asarray(Y))


class Guard(importlib.abc.MetaPathFinder):
    """Refuses to import packages that would do the student's work."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self.refused = [name for name in FORBIDDEN if name not in allowed]

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises ImportError for a refused package; returns None for others, which are then found as
        usual."""
        if name.partition(".")[0] in self.refused:
            raise ImportError(f"{name} may not be used here: the two procedures are to be your own")


def _load(path: Path) -> ModuleType:
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
    if isinstance(e, SyntaxError) and e.lineno:
        return f"{type(e).__name__}: {e.msg} (line {e.lineno}: {(e.text or '').strip()})"
    message = "sys.exit was called" if isinstance(e, SystemExit) else str(e).strip()[:1000]
    text = f"{type(e).__name__}: {message or 'no message'}".replace("\n", " ")
    own = [f for f in traceback.extract_tb(e.__traceback__) if Path(f.filename).name == path.name]
    return f"{text} (line {own[-1].lineno}: {own[-1].line})" if own else text


class Harness:
    """One file, run on problem after problem."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.module: ModuleType | None = None
        self.failed: Trouble | None = None
        self.skip: Collection[str] = ()  # functions that must not be called
        self.by_part = False  # how what is returned is read: see `Form`
        self.ends: dict[str, bool] = {}
        try:
            self.module = _load(path)
        except TroubleError as e:
            self.failed = e.trouble

    def answer(self, p: Problem, given: Trace | None = None) -> Answer:
        """The answer to a problem; `given`: A and Z to continue with."""
        if self.failed:
            return {"troubles": [self.failed]}
        sigma = [activation(s) for s in p.sigma.values()]
        row_wise = next((s.name for s in sigma if isinstance(s, RowWise)), "")
        if row_wise and not getattr(self.module, "ROW_WISE", False):
            return {
                "unsupported": f"{row_wise} is not elementwise: only a file that says ROW_WISE = True, "
                "and uses sigma[l].vjp(A, G), is given it."
            }
        return Attempt(self, p, sigma).answer(given)

    def called(self, name: str, *arguments: object) -> object:
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
    """One problem: makes lists of the arguments, checks what is returned, and splits off the bias again."""

    def __init__(self, harness: Harness, p: Problem, sigma: Sequence[Activation]) -> None:
        self.harness, self.p, self.L = harness, p, p.depth
        self.form = Form(harness.by_part, p.dtype, harness.ends)
        L = self.L
        self.W, self.X, self.Y = [p.W[l].copy() for l in range(1, L + 1)], p.X.copy(), p.Y.copy()
        if p.bias:
            absorbed = absorb(
                {l: M[:-1] for l, M in p.W.items()}, {l: M[-1] for l, M in p.W.items()}
            )
            self.W, self.X = [absorbed[l] for l in range(1, L + 1)], with_ones(p.X)
        self.sigma = [Sigma(s, p.bias and l < L) for l, s in enumerate(sigma, start=1)]
        self.loss = LossOf(loss_named(p.loss))
        self.like_A: list[Shape] = [(len(p.X), M.shape[1]) for M in self.W]
        self.like_Z: list[Shape] = [self.X.shape, *self.like_A]
        self.like_W: list[Shape] = [M.shape for M in self.W]

    def answer(self, given: Trace | None) -> Answer:
        """The trace, as far as it was returned, and the errors."""
        answer: Answer = {}
        try:
            if given is None:
                A, Z = self.forward()
                answer |= {"A": self.units(A), "Z": self.units(Z[1:])}
            else:
                A, Z = self.with_units(given.A), [self.X, *self.with_units(given.Z)]
        except TroubleError as e:
            self.form.troubles.append(e.trouble)
            return {**answer, "troubles": self.form.troubles, "wants": True}
        if self.form.by_part and not all(np.isfinite(M).all() for M in (*A, *Z)):
            return {**answer, "troubles": self.form.troubles, "wants": True}
        try:
            delta, dW = self.backward(A, Z)
            answer["dW"] = self.units(dW)
            if delta is not None:
                answer["delta"] = self.units(delta)
            if callable(getattr(self.harness.module, "update", None)):
                answer["W_new"] = self.units(self.updated(dW))
        except TroubleError as e:
            self.form.troubles.append(e.trouble)
            if given is None and e.trouble["function"] == "backward_prop":
                # its own A and Z may be the reason why it raised
                answer["wants"] = self.form.by_part
        return {**answer, "troubles": self.form.troubles}

    def forward(self) -> tuple[list[Floats], list[Floats]]:
        """A_1 … A_L and Z_0 … Z_L, by the file's forward_pass(W, X, sigma)."""
        name, L = "forward_pass", self.L
        returned = self.called(name, {"W": self.W, "X": self.X}, self.sigma)
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise malformed(name, f"returned {described(returned)}; expected (A, Z).")
        if [len(x) if isinstance(x, (list, tuple)) else -1 for x in returned] == [L + 1, L]:
            for q in ("A", "Z"):
                text = "returned Z and A, it seems, the other way round; expected (A, Z)."
                self.form.wrong(name, q, text, "form")
            returned = returned[::-1]
        A = self.form.layers(name, "A", returned[0], self.like_A, f"[A_1, …, A_{L}]")
        Z = self.form.layers(name, "Z", returned[1], self.like_Z, f"[Z_0, …, Z_{L}], Z_0 = X")
        if not np.array_equal(Z[0], self.X):
            text = "returned Z_0 that is not X; expected X itself, as it was given."
            self.form.wrong(name, "Z", text, "form")
            Z[0] = self.X
        for l in range(1, L) if self.p.bias else ():
            if np.isfinite(Z[l]).all() and (Z[l][:, -1] != 1).any():
                self.form.wrong(
                    name,
                    "Z",
                    f"returned Z_{l} whose last unit, the constant one, is not 1; expected σ(A_{l}) as σ "
                    "returns it.",
                )
                Z[l] = np.full_like(Z[l], np.nan)
        return A, Z

    def backward(
        self, A: list[Floats], Z: list[Floats]
    ) -> tuple[list[Floats] | None, list[Floats]]:
        """δ_1 … δ_L, if returned, and ∂L/∂W_1 … ∂L/∂W_L, by the file's
        backward_prop(W, A, Z, Y, sigma, loss)."""
        name, L = "backward_prop", self.L
        given: Arguments = {"W": self.W, "A": A, "Z": Z, "Y": self.Y}
        delta, dW = None, self.called(name, given, self.sigma, self.loss)
        if isinstance(dW, (tuple, list)) and len(dW) == 2 and _are_delta_and_dW(*dW):
            delta, dW = dW
            shapes = [[shape_of(M) for M in _entries(layers)] for layers in (delta, dW)]
            listed = not any(isinstance(layers, Mapping) for layers in (delta, dW))
            if shapes == [self.like_W, self.like_A] != [self.like_A, self.like_W]:
                for q in ("dW", "delta"):
                    text = "returned dW and delta, it seems, the other way round; expected (delta, dW)."
                    self.form.wrong(name, q, text, "form")
                delta, dW = dW, delta
            elif listed and self.form.backwards(shapes, [self.like_A, self.like_W]):
                for q in ("delta", "dW"):
                    text = f"returned {q} from the last layer to the first, it seems; expected layer 1 first."
                    self.form.wrong(name, q, text, "form")
                delta, dW = _entries(delta)[::-1], _entries(dW)[::-1]
        gradients = self.form.layers(name, "dW", dW, self.like_W, f"[∂L/∂W_1, …, ∂L/∂W_{L}]")
        if delta is None:
            return None, gradients
        return self.form.layers(name, "delta", delta, self.like_A, f"[δ_1, …, δ_{L}]"), gradients

    def updated(self, dW: list[Floats]) -> list[Floats]:
        """W_l − α ∂L/∂W_l, by the file's own update(W, dW, alpha)."""
        returned = self.called("update", {"W": self.W, "dW": dW}, self.p.alpha)
        return self.form.layers("update", "W_new", returned, self.like_W, f"[W_1, …, W_{self.L}]")

    def called(self, name: str, given: Arguments, *more: object) -> object:
        """What a function of the file returns for copies of these arguments and `more`. What the file
        returned as nested lists is passed as such, and as arrays if the function then raises."""
        lists = {
            k: [M.tolist() if k in self.form.plain else np.array(M) for M in _listed(v)]
            for k, v in given.items()
        }
        arguments = {k: lists[k] if isinstance(v, list) else lists[k][0] for k, v in given.items()}
        try:
            returned = self.harness.called(name, *arguments.values(), *more)
        except TroubleError:
            if not self.form.plain & given.keys():
                raise
            self.form.plain.clear()
            return self.called(name, given, *more)
        if changed := next(_changed(given, lists), ""):
            self.form.wrong(
                name,
                "",
                f"wrote to its input: {changed} is not what it was given. Work on new arrays (or copies).",
                "note",
            )
        return returned

    def units(self, layers: list[Floats]) -> list[Any]:
        """A_l, Z_l, δ_l, ∂L/∂W_l or W_l, as JSON, without the column of the constant unit."""
        L, bias = self.L, self.p.bias
        return [hexed(M[:, :-1] if bias and l < L else M) for l, M in enumerate(layers, start=1)]

    def with_units(self, layers: Mapping[int, Floats]) -> list[Floats]:
        """A_l or Z_l with the column of the constant unit."""
        L, bias = self.L, self.p.bias
        return [with_ones(M) if bias and l < L else M for l, M in sorted(layers.items())]


def _listed(argument: Floats | list[Floats]) -> list[Floats]:
    return argument if isinstance(argument, list) else [argument]


def _changed(given: Arguments, copies: Mapping[str, list[Any]]) -> Iterator[str]:
    """The arguments that were written to: "X", "Z_2", or "A" where the length of its list changed."""
    for k, argument in given.items():
        before, after = _listed(argument), copies[k]
        if len(before) != len(after):
            yield k
            continue
        for l, (M, was) in enumerate(zip(after, before, strict=True), start=first_layer(k)):
            with suppress(Exception):
                if np.asarray(M, was.dtype).tobytes() == was.tobytes():
                    continue
            yield f"{k}_{l}" if isinstance(argument, list) else k


def _are_delta_and_dW(delta: object, dW: object) -> bool:
    """Whether one of the two returned things is a list of layers, so that they are not the two of dW."""
    return any(isinstance(x, (tuple, list, Mapping)) or is_stack(x) for x in (delta, dW))


def _entries(layers: object) -> list[object]:
    """The entries of a list, or of a mapping by layer."""
    if isinstance(layers, Mapping):
        return list(layers.values())
    return list(layers) if isinstance(layers, (list, tuple)) else []


def _end_with(source: int) -> None:
    """End this process when the other end of its input is closed, even if the file never returns."""
    asked = select.poll()
    asked.register(source, 0)  # waits only for the other end to be closed
    while not (told := asked.poll(1000)):
        pass
    if not told[0][1] & select.POLLNVAL:  # POLLNVAL: the file itself has closed it
        os._exit(1)


def main() -> None:
    """Answer until standard input ends."""
    path = Path(sys.argv[1]).resolve()
    source, sink = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the file prints goes to standard error
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # and what it reads is empty
    threading.Thread(target=_end_with, args=[source.fileno()], daemon=True).start()
    allowed = [a.removeprefix("--allow=") for a in sys.argv[2:] if a.startswith("--allow=")]
    # a package that is already loaded would not be refused
    if guarded := "--guarded" in sys.argv[2:]:
        for name in list(sys.modules):
            if name.partition(".")[0] in FORBIDDEN and name != __name__:
                del sys.modules[name]
        sys.meta_path.insert(0, Guard(allowed))
    sys.argv = [str(path)]
    ours = os.getpid()
    harness = Harness(path)
    if os.getpid() != ours:  # the file forked: only the first process answers
        os._exit(0)
    harness.by_part = guarded
    np.seterr(all="ignore")
    for text in source:
        try:
            request = read_line(text)
            harness.skip = request.get("skip", ())
            problem, given = problem_from(request), request.get("given")
            answer = harness.answer(problem, None if given is None else trace_from(given, problem))
        except ExchangeError as e:
            answer = {"troubles": [{"kind": "ended", "function": "", "text": str(e)}]}
        if os.getpid() != ours:
            os._exit(0)
        with suppress(Exception):
            sys.stdout.flush()
        sink.write(line(answer))
        sink.flush()


if __name__ == "__main__":
    main()
