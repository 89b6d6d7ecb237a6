"""Mistakes made on purpose: the gradients that a function's reverse sweep gives with one of them in it.

They are made in three places: in the reverse sweep (what a primitive passes to one of its operands), in the
forward pass that a backward pass computes again (a constant, a mask, an axis), and in the cotangent (a row
that is not counted).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from conformance.judge.functions.candidate import Request
from conformance.judge.functions.certificate import Certificate
from conformance.truth.nodes import Node, Nodes, Value, op
from conformance.truth.primitives import UNARY
from conformance.truth.readings import continued
from conformance.truth.rounding import Reals
from conformance.truth.rules import LEAF
from conformance.truth.tape import Alter, Tape

__all__ = ["Function", "Gradients", "Slip"]

MOST = 200  # places at which mistakes are tried, at most
LONG = 10**6  # for long functions: at most so many numbers at all places together
Gradients = Mapping[str, Reals]
Place = tuple[int, int]

SEE_THROUGH = ("reshape", "broadcast", "permute", "mark", "negative", "cast", "stop")
PLAIN = {
    "multiply": "the product", "quotient": "the quotient", "add": "the sum", "onto": "the sum",
    "subtract": "the difference",
    "matmul": "the matrix product", "largest": "the maximum", "where": "where", "sqrt": "the square root",
    "rsqrt": "the square root", "square": "the square", "power": "the power", "maximum": "the maximum",
    "take": "the elements taken", "join": "the joined array", "absolute": "the absolute value",
}  # fmt: skip


class Slip(NamedTuple):
    """A mistake in words, and the gradients that it gives; `sum_of`: the place where it takes another sum."""

    text: str
    gradients: Gradients
    sum_of: Place | None = None


@dataclass
class Function:
    """The forward pass on a tape, and its gradients with a mistake or without one."""

    certificate: Certificate
    request: Request
    _env: list[Any] = field(default_factory=list)
    _without: dict[Place, Gradients | None] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> list[Node]:
        recording = self.certificate.recording
        top = max(x.index for x in (*recording.outputs.values(), *recording.inputs.values()))
        return recording.tape.nodes[: top + 1]

    @cached_property
    def inputs(self) -> dict[int, str]:
        return {x.index: n for n, x in self.certificate.recording.inputs.items()}

    @cached_property
    def right(self) -> Gradients:
        return {n: self.certificate.truth["d", n].hi for n in self.request.wrt}

    @cached_property
    def stopped(self) -> str:
        """A primitive through which people do not differentiate, since that makes no difference; "" if there
        is none."""
        for name in self.certificate.extremes:
            other = self.swept(stopped=name)
            if other is not None and all(
                np.allclose(other[n], x, rtol=1e-12, atol=1e-12 * np.abs(x).max(initial=0.0))
                for n, x in self.right.items()
            ):
                return name
        return ""

    @cached_property
    def places(self) -> list[Place]:
        """The places of the sweep: each primitive and an operand that it passes a cotangent to, in the
        sweep's order."""
        tape = self._tape()
        self._sweep(tape, self.certificate.recording.outputs, {}, self.stopped)
        return list(tape.contributions)

    @property
    def most(self) -> int:
        """How many places are tried: fewer in functions that take long."""
        size = sum(int(np.prod(node.shape)) for node in self.nodes)
        return min(MOST, 1 + LONG // (size * (1 + len(self.nodes) // 20)))

    def values(self) -> list[Reals | None]:
        """The numbers at each place of the forward pass; None where there are none."""
        self._filled()
        return [None if B is None else _floats(B) for B in self._env]

    # --- sweeps ---

    def _tape(self) -> Tape:
        return Tape(nodes=list(self.nodes))

    def _filled(self) -> list[Any]:
        if not self._env:
            continued(self._tape(), self._env, range(len(self.nodes)))
        return list(self._env)

    def _sweep(
        self,
        tape: Tape,
        outputs: Mapping[str, Value],
        alter: Mapping[Place, Alter],
        stopped: str,
        cotangents: Mapping[str, Reals] | None = None,
        inputs: Mapping[int, int] | None = None,
    ) -> dict[Any, Value]:
        c = self.request.cotangents if cotangents is None else cotangents
        tape.dtype = None
        seeds = [(Value(tape, y.index), tape.leaf(c[n])) for n, y in outputs.items()]
        places = {n: i if inputs is None else inputs[i] for i, n in self.inputs.items()}
        wrt = [(Value(tape, places[n]), ("d", n)) for n in self.request.wrt]
        return tape.gradients(seeds, wrt, alter, stopped)

    def swept(
        self,
        alter: Mapping[Place, Alter] | None = None,
        stopped: str | None = None,
        cotangents: Mapping[str, Reals] | None = None,
    ) -> Gradients | None:
        """The gradients with alterations; None if shapes do not fit, since no code computes that."""
        tape = self._tape()
        outputs = self.certificate.recording.outputs
        stop = self.stopped if stopped is None else stopped
        try:
            found = self._sweep(tape, outputs, alter or {}, stop, cotangents)
            return self._read(tape, self._filled(), found)
        except (ValueError, IndexError):
            return None

    def _read(self, tape: Tape, env: list[Any], found: Mapping[Any, Value]) -> Gradients | None:
        names = [n for n in self.request.wrt if ("d", n) in found]
        numbers = continued(tape, env, [found["d", n].index for n in names])
        read = dict(zip(names, numbers, strict=True))
        if any(M.shape != self.right[n].shape for n, M in read.items()):
            return None
        return {n: read.get(n, np.zeros(x.shape)) for n, x in self.right.items()}

    def again(self, change: Callable[[Tape, int, list[Value]], Value | None]) -> Gradients | None:
        """The gradients of another function: the forward pass with some primitive changed. `change` returns
        what replaces a primitive, from its operands, or None."""
        tape, at = Tape(), dict[int, int]()
        try:
            for i, node in enumerate(self.nodes):
                tape.dtype, tape.line = node.dtype, node.line
                operands = [Value(tape, at[j]) for j in node.operands]
                instead = change(tape, i, operands)
                made = instead or tape.record(node.rule, *operands, **node.params)
                at[i] = made.index
            known = self.certificate.recording.outputs
            outputs = {n: Value(tape, at[y.index]) for n, y in known.items()}
            if any(y.shape != known[n].shape for n, y in outputs.items()):
                return None
            found = self._sweep(tape, outputs, {}, "", inputs=at)
            return self._read(tape, [], found)
        except (ValueError, IndexError):
            return None

    # --- in words ---

    def line(self, i: int) -> str:
        """The line of code that a primitive comes from, in parentheses."""
        return f" ({self.nodes[i].line})" if self.nodes[i].line else ""

    def source(self, i: int) -> int:
        """The primitive behind those that change only a shape or a sign."""
        while self.nodes[i].rule.name in SEE_THROUGH:
            i = self.nodes[i].operands[0]
        return i

    def words(self, i: int) -> str:
        """The value of a primitive, as a reader of the code would call it."""
        i = self.source(i)
        if i in self.inputs:
            return self.inputs[i]
        node = self.nodes[i]
        if node.rule is LEAF:
            M = np.asarray(node.params["numbers"])
            user = next((k for k, other in enumerate(self.nodes) if i in other.operands), i)
            return (
                f"{float(M.reshape(-1)[0]):.6g}"
                if M.size == 1
                else f"the constant array{self.line(user)}"
            )
        return self._operation(i) + self.line(i)

    def _operation(self, i: int) -> str:
        node = self.nodes[i]
        if node.rule.name == "sum":
            for over in self.nodes[i + 1 : i + 5]:  # the quotient that makes a mean of it
                if over.rule.name == "quotient" and self.source(over.operands[0]) == i:
                    return f"the {'mean' if self._constant(over.operands[1]) else 'sum'} over {self._axes(i)}"
            return f"the sum over {self._axes(i)}"
        if node.rule.name == "quotient":
            a, b = (self.source(j) for j in node.operands)
            if self.nodes[a].rule.name == "sum" and self._constant(b):
                return f"the mean over {self._axes(a)}"
        return PLAIN.get(node.rule.name, node.rule.name)

    def _constant(self, i: int) -> bool:
        i = self.source(i)
        return self.nodes[i].rule is LEAF and i not in self.inputs

    def _axes(self, i: int) -> str:
        node = self.nodes[i]
        n = len(self.nodes[node.operands[0]].shape)
        axes = [a % n for a in node.params["axes"]]
        return f"ax{'is' if len(axes) == 1 else 'es'} {', '.join(map(str, axes))}"

    def term(self, place: Place) -> str:
        """In words, what a primitive passes to an operand."""
        i, k = place
        j = self.source(self.nodes[i].operands[k])
        if j in self.inputs:
            return f"the term of {self.inputs[j]} in {self.words(i)}"
        return f"the term through {self.words(self._begun(j, self.nodes[i].line))}"

    def _begun(self, j: int, line: str) -> int:
        """Follow place j back as long as it is on this line and its only operand is used once: from the root
        of a variance to the variance."""
        while self.nodes[j].line == line:
            node = self.nodes[j]
            behind = [k for k in node.operands if self.nodes[self.source(k)].rule is not LEAF]
            if len(behind) != 1 or self._uses[self.source(behind[0])] != 1:
                return j
            j = self.source(behind[0])
        return j

    @cached_property
    def _uses(self) -> Counter[int]:
        used = (
            j for node in self.nodes if node.rule.name not in SEE_THROUGH for j in node.operands
        )
        return Counter(map(self.source, used))

    # --- mistakes ---

    def without(self, place: Place) -> Gradients | None:
        """The gradients without what a primitive passes to an operand."""
        if place not in self._without:
            self._without[place] = self.swept({place: _times(0.0)})
        return self._without[place]

    def in_sweep(self) -> Iterator[Slip]:
        """A factor forgotten, a sum left out or taken over another axis, a matrix not transposed, a
        derivative at the wrong place, a repeated index that counts once."""
        for place in self.places[: self.most]:
            i, k = place
            for text, alter in self._slips(i, k):
                if (found := self.swept({place: alter})) is not None:
                    yield Slip(text, found, place if text.startswith("the sum ") else None)

    def on_lines(self) -> Iterator[Slip]:
        """The same mistake every time that a line of the code runs, as in a loop."""
        groups: dict[tuple[str, str, int], list[Place]] = {}
        for i, k in self.places:
            node = self.nodes[i]
            groups.setdefault((node.line, node.rule.name, k), []).append((i, k))
        for places in groups.values():
            if len(places) < 2:
                continue
            i, k = places[0]
            for which, counts in (
                ("last", places[0]),
                ("first", places[-1]),
            ):  # in the sweep's order
                found = self.swept({place: _times(0.0) for place in places if place != counts})
                if found is not None:
                    text = (
                        f"of {self.term(counts)} the {which} time that the line runs counts alone"
                    )
                    yield Slip(text, found)
            slips = [list(self._slips(*place)) for place in places]
            for text, how in (
                ("is missing", 0.0),
                ("is counted twice", 2.0),
                ("has the other sign", -1.0),
            ):
                found = self.swept({place: _times(how) for place in places})
                if found is not None:
                    yield Slip(f"{self.term(places[0])} {text}", found)
            for of in zip(*slips, strict=False):
                found = self.swept(
                    {place: alter for place, (_, alter) in zip(places, of, strict=True)}
                )
                if found is not None:
                    yield Slip(of[0][0], found)

    def _slips(self, i: int, k: int) -> Iterator[tuple[str, Alter]]:
        node, what = self.nodes[i], self.words(i)
        name = node.rule.name
        if name not in SEE_THROUGH:
            yield self._skipped(i, k), _skipped
        if name in UNARY or name == "exp":
            yield f"the derivative of {what} is taken at its output", self._elsewhere(i, True)
            text = f"the derivative of {what} is one by its output, and taken at its input"
            yield text, self._elsewhere(i, False)
            for text, alter in (("its value", _its_value(i)), ("1 minus its value", _one_minus(i))):
                yield f"the derivative of {what} is taken for {text}", alter
        if name == "largest":
            text = f"the gradient of {what} goes to the smallest"
            yield text, self._to_the_smallest(i)
        if name == "matmul":
            text = f"in the gradient of {what} the other factor is not transposed"
            yield text, self._untransposed(i, k)
            text = f"in the gradient of {what} the cotangent is transposed"
            yield text, self._transposed(i, k)
        if name == "take":
            text = f"where an index stands more than once in {what}, one of them counts alone"
            yield text, _last_only(node.params["index"], self.nodes[node.operands[0]].shape)
        behind = self.term((i, k)).removeprefix("the term ")
        yield (
            f"the sum over an axis is left out in the term {behind}: each element for itself",
            _unsummed,
        )
        n = len(node.shape)
        for d in range(n):
            text = f"the sum in the term {behind} is taken over axis {d}; expected another axis"
            yield text, _over_axis(d - n, False)
            yield text, _over_axis(d - n, True)

    def _skipped(self, i: int, k: int) -> str:
        node = self.nodes[i]
        other = self.words(node.operands[1 - k]) if len(node.operands) == 2 else ""
        whole = node.rule.name == "matmul" and other.startswith("the constant array")
        if node.rule.name in ("multiply", "quotient", "matmul") and not whole:
            return f"the factor {other} is forgotten in the gradient of {self.words(i)}"
        if node.rule.name == "where":
            return f"the mask is forgotten in the gradient of {self.words(i)}"
        return f"the derivative of {self.words(i)} is taken for 1"

    def _elsewhere(self, i: int, output: bool) -> Alter:
        node = self.nodes[i]

        def alter(g: Value, c: Value) -> Value:
            assert node.rule.reverse is not None
            a, y = Value(g.tape, node.operands[0]), Value(g.tape, i)
            if output:
                a, y = y, g.tape.record(node.rule, y, **node.params)
            else:
                y = a
            found: Value = node.rule.reverse(g, y, a, **node.params)[0]
            return found

        return alter

    def in_another_place(self) -> Iterator[Slip]:
        """A factor, or the number that a derivative is computed from, replaced by another number of the
        forward pass."""
        for i, k in self.places[: self.most]:
            node = self.nodes[i]
            name = node.rule.name
            one = name in UNARY or name == "exp"
            if not one and name not in ("multiply", "matmul"):
                continue
            own = i if one else node.operands[1 - k]
            for v, other in enumerate(self.nodes):
                if (
                    v == own
                    or other.shape != self.nodes[own].shape
                    or other.rule.name in SEE_THROUGH
                ):
                    continue
                for operands in ((v, None), (i, v)) if one else ((v, None),):
                    found = self.swept({(i, k): self._with(i, k, *operands)})
                    if found is not None:
                        what = "the derivative of" if one else "a factor in the gradient of"
                        text = f"{what} {self.words(i)} is computed from {self.words(v)}"
                        yield Slip(text + ("" if one else f"; expected {self.words(own)}"), found)

    def _with(self, i: int, k: int, value: int, operand: int | None) -> Alter:
        """The reverse rule of a primitive, with another number in the place of its value or of its
        operand."""
        node = self.nodes[i]

        def alter(g: Value, c: Value) -> Value:
            assert node.rule.reverse is not None
            of = [Value(g.tape, j) for j in node.operands]
            y = Value(g.tape, i)
            if len(of) == 2:
                of[1 - k] = Value(g.tape, value)
            elif operand is None:
                y = Value(g.tape, value)
            else:
                of[0] = Value(g.tape, operand)
            found: Value = node.rule.reverse(g, y, *of, **node.params)[k]
            if found.shape != c.shape:
                raise ValueError("another shape.")
            return found

        return alter

    def _to_the_smallest(self, i: int) -> Alter:
        node = self.nodes[i]

        def alter(g: Value, c: Value) -> Value:
            a = op.negative(Value(g.tape, node.operands[0]))
            top = op.largest(a, **node.params)
            found: Value = op.multiply(g, op.share(a, top, **node.params, way="even"))
            return found

        return alter

    def _untransposed(self, i: int, k: int) -> Alter:
        a, b = self.nodes[i].operands

        def alter(g: Value, c: Value) -> Value:
            found = op.matmul(g, Value(g.tape, b)) if k == 0 else op.matmul(Value(g.tape, a), g)
            if found.shape != c.shape:
                raise ValueError("not square.")
            return found

        return alter

    def _transposed(self, i: int, k: int) -> Alter:
        a, b = self.nodes[i].operands

        def alter(g: Value, c: Value) -> Value:
            G = op.transpose(g)
            left, right = op.transpose(Value(g.tape, a)), op.transpose(Value(g.tape, b))
            found: Value = op.matmul(G, right) if k == 0 else op.matmul(left, G)
            if found.shape != c.shape:
                raise ValueError("not square.")
            return found

        return alter

    def of_cotangent(self) -> Iterator[Slip]:
        """Rows of the cotangent that do not count, or that count for others."""
        for n, c in self.request.cotangents.items():
            of = "the cotangent" + (f" of {n}" if len(self.request.cotangents) > 1 else "")
            for text, M in _rows(c):
                found = self.swept(cotangents={**self.request.cotangents, n: M})
                if found is not None:
                    yield Slip(text.format(of), found)

    def of_forward(self) -> Iterator[Slip]:
        """What the backward pass computes again, but differently."""
        for i in range(min(len(self.nodes), self.most)):
            for text, make in self._otherwise(i):
                found = self._again(i, make)
                if found is not None:
                    yield Slip(text, found)

    def _again(self, i: int, make: Make) -> Gradients | None:
        return self.again(lambda tape, j, of: make(tape, of) if j == i else None)

    def _otherwise(self, i: int) -> Iterator[tuple[str, Make]]:
        """What may replace a primitive by mistake."""
        node, what = self.nodes[i], self.words(i)
        name = node.rule.name
        if node.rule is LEAF and i in self.inputs:
            for text, index in _moved(node.shape):
                yield f"it is the gradient with {self.inputs[i]} {text}", _taken(node, index)
        elif node.rule is LEAF:
            user = next((k for k, other in enumerate(self.nodes) if i in other.operands), i)
            for text, M in _constants(node.params["numbers"]):
                yield f"{text}{self.line(user)}", _leaf(M)
        elif name in ("sum", "largest"):
            n = len(self.nodes[node.operands[0]].shape)
            for d in range(n):
                yield f"{what} is computed again over axis {d}", _recorded(node, axes=(d - n,))
        elif name in ("where", "maximum"):
            for k, which in ((-2, "first"), (-1, "second")):
                text = (
                    f"it is the gradient of a function that takes the {which} of the two in {what}"
                )
                yield text, _operand(k, node.shape)
        elif name in UNARY or name == "exp":
            yield f"it is the gradient without {what}", _operand(0, node.shape)
            yield f"it is the gradient with the other sign inside {what}", _negated(node)


Make = Callable[[Tape, list[Value]], Value]


def _taken(node: Node, index: Any) -> Make:
    def make(tape: Tape, of: list[Value]) -> Value:
        found: Value = op.take(tape.record(LEAF, **node.params), index=index)
        return found

    return make


def _leaf(M: Any) -> Make:
    return lambda tape, of: tape.leaf(M)


def _recorded(node: Node, **params: Any) -> Make:
    return lambda tape, of: tape.record(node.rule, *of, **params)


def _operand(k: int, shape: tuple[int, ...]) -> Make:
    return lambda tape, of: op.broadcast(of[k], shape=shape)


def _negated(node: Node) -> Make:
    return lambda tape, of: tape.record(node.rule, op.negative(of[0]), **node.params)


def _floats(B: Any) -> Reals:
    return np.array([float(b) for b in B.ravel().tolist()]).reshape(B.shape)


# --- what is passed on instead --------------------------------------------------------------------


def _times(factor: float) -> Alter:
    return lambda g, c: op.multiply(c, c.tape.record(LEAF, numbers=factor))


def _its_value(i: int) -> Alter:
    return lambda g, c: op.multiply(g, Value(g.tape, i))


def _one_minus(i: int) -> Alter:
    return lambda g, c: op.subtract(g, op.multiply(g, Value(g.tape, i)))


def _skipped(g: Value, c: Value) -> Value:
    if g.shape == c.shape:
        return g
    if int(np.prod(g.shape)) == int(np.prod(c.shape)):
        return op.reshape(g, shape=c.shape)
    axes = tuple(
        i - len(g.shape)
        for i, n in enumerate(g.shape)
        if i < len(g.shape) - len(c.shape) or c.shape[i - len(g.shape)] == 1 != n
    )
    summed = op.sum(g, axes=axes) if axes else op.broadcast(g, shape=c.shape)
    return op.reshape(summed, shape=c.shape)


def _rebuilt(c: Value, i: int, change: Callable[[Node], Value], deep: int = 16) -> Value:
    """The cotangent with its last sum over axes changed; what follows that sum is computed again. Raises
    ValueError if there is no sum."""
    tape = c.tape
    node = tape.nodes[i]
    name = node.rule.name
    if name == "sum":
        return change(node)
    if not deep or name not in ("reshape", "negative", "broadcast", "quotient", "multiply", "add"):
        raise ValueError("there is no sum.")
    if name in ("multiply", "quotient", "add"):
        for k in (0,) if name == "quotient" else (0, 1):
            try:
                of = [Value(tape, j) for j in node.operands]
                of[k] = _rebuilt(c, node.operands[k], change, deep - 1)
            except ValueError:
                continue
            return tape.record(node.rule, *of)
        raise ValueError("there is no sum.")
    found = _rebuilt(c, node.operands[0], change, deep - 1)
    if name != "reshape":
        found = op.negative(found) if name == "negative" else op.broadcast(found, shape=node.shape)
    return found


def _unsummed(g: Value, c: Value) -> Value:
    found = _rebuilt(c, c.index, lambda node: Value(c.tape, node.operands[0]))
    return op.broadcast(found, shape=np.broadcast_shapes(found.shape, c.shape))


def _over_axis(d: int, outside: bool) -> Alter:
    """Sum over another axis; `outside`: factors that are constant along the right axis stay outside the
    sum."""

    def summed(tape: Nodes, i: int, axes: tuple[int, ...]) -> Value:
        found: Value
        node = tape.nodes[i]
        name = node.rule.name
        if outside and name == "negative":
            found = op.negative(summed(tape, node.operands[0], axes))
            return found
        if outside and name in ("multiply", "quotient"):
            for k in (1, 0) if name == "multiply" else (1,):
                shape = tape.nodes[node.operands[k]].shape
                if len(shape) == len(node.shape) and all(shape[a] == 1 for a in axes):
                    of = [Value(tape, j) for j in node.operands]
                    of[1 - k] = summed(tape, node.operands[1 - k], axes)
                    return tape.record(node.rule, *of)
        found = op.sum(Value(tape, i), axes=(d,))
        return found

    def alter(g: Value, c: Value) -> Value:
        def change(node: Node) -> Value:
            axes = node.params["axes"]
            if axes == (d,) or -d > len(c.tape.nodes[node.operands[0]].shape):
                raise ValueError("it is that axis.")
            return summed(c.tape, node.operands[0], axes)

        found = _rebuilt(c, c.index, change)
        return op.broadcast(found, shape=np.broadcast_shapes(found.shape, c.shape))

    return alter


def _last_only(index: Any, shape: tuple[int, ...]) -> Alter:
    last = np.full(int(np.prod(shape)), -1, np.intp)
    flat = np.asarray(index).ravel()
    last[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
    return lambda g, c: op.reshape(op.take(g, index=last), shape=shape)


def _rows(c: Reals) -> Iterator[tuple[str, Reals]]:
    """Cotangents with a mistake, and the mistake in words: "row 3 of {}"."""
    yield "{} is taken for 1 everywhere", np.ones(c.shape)
    for d, n in enumerate(c.shape):
        if n < 2:
            continue
        place = f"along axis {d}" if c.ndim > 1 else ""
        for i, which in ((n - 1, "last"), (0, "first")):
            M = c.copy()
            np.moveaxis(M, d, 0)[i] = 0.0
            yield f"the {which} element of {{}} {place} does not count".replace("  ", " "), M
            yield f"the {which} element of {{}} {place} counts alone".replace("  ", " "), c - M
            row = np.take(c, [i], axis=d)
            yield (
                f"the {which} element of {{}} {place} counts for all".replace("  ", " "),
                row + 0 * c,
            )


def _constants(numbers: Any) -> Iterator[tuple[str, Any]]:
    M = np.asarray(numbers, np.float64)
    if M.size == 1:
        c = float(M.reshape(-1)[0])
        others = [0.0, 1.0, -c, c / 2, 2 * c, c * c, np.sqrt(abs(c))]
        others += [c - 1, c + 1] if c == np.rint(c) else []
        for x in others if np.isfinite(c) else []:
            if x != c:
                yield f"it is the gradient with {x:.6g} in place of {c:.6g}", np.full(M.shape, x)
        return
    mask = bool(np.isin(M, (0.0, 1.0)).all())
    if mask:
        yield "it is the gradient with the mask forgotten", np.ones(M.shape)
        yield "it is the gradient with the mask inverted", 1 - M
    what = "mask" if mask else "constant array"
    for d, n in enumerate(M.shape):
        for by in (1, -1) if n > 1 else ():
            text = f"it is the gradient with the {what} shifted by one along axis {d}"
            rolled = np.roll(M, by, axis=d)
            yield text, rolled
            edge = rolled.copy()
            np.moveaxis(edge, d, 0)[0 if by == 1 else -1] = np.moveaxis(M, d, 0)[
                0 if by == 1 else -1
            ]
            yield text, edge


def _moved(shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """What code may do to an input by mistake: in words, and the index that its elements are taken from."""
    places = np.arange(int(np.prod(shape))).reshape(shape)
    for d, n in enumerate(shape):
        if n > 1:
            yield f"flipped along axis {d}", np.flip(places, d)
    if len(shape) > 1:
        yield "flipped along its last two axes", np.flip(places, (-2, -1))
        if shape[-1] == shape[-2] > 1:
            yield "transposed", np.swapaxes(places, -1, -2)
