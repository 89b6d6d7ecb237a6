"""The search: every convention and every hand on one small network, until the numbers that come out fit."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np

from conformance.commands.wire.hands import Hand, hands, leaves
from conformance.commands.wire.match import Fit, Leaf, Network, fits, scale_of
from conformance.implementations import NotRunError
from conformance.implementations.convention import BIASES, Convention
from conformance.judge import runner
from conformance.model.problem import Problem
from conformance.model.results import Summary
from conformance.tools.load import load, split
from conformance.tools.trouble import RefusedError

__all__ = ["Wiring", "judged"]

Theirs: TypeAlias = Any
Path_: TypeAlias = tuple[Any, ...]

SIZES = (3, 4, 2)
"""Widths that are all different: no transposed matrix fits."""
COMMON = [
    Network(hidden, last, loss)
    for hidden in ("sigmoid", "tanh", "relu")
    for last, loss in (
        ("sigmoid", "mean_squared_error"), ("identity", "mean_squared_error"), ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"), ("tanh", "mean_squared_error"), ("relu", "mean_squared_error"),
        ("log_softmax", "log_softmax_cross_entropy"), ("softmax", "mean_squared_error"),
    )
]  # fmt: skip
"""Tried before all others."""
BAGS = 4
"""Of how many answers every network is tried."""
WEIGHTS = ("dW", "absorbed", "W_new")


class Wiring(TypedDict):
    """What is told: the lines, what was found on the way, and the verdict on what they declare."""

    lines: list[str]
    notes: list[str]
    summary: Summary


@dataclass
class _Found:
    """An answer of somebody's code, by one convention and one hand, and the network that it fits best."""

    convention: Convention
    hand: Hand
    p: Problem
    bag: Sequence[Leaf]
    returned: Theirs
    fit: Fit | None = None
    abilities: bool = False  # it says itself what it can do
    one_depth: bool = False  # it computes no deeper network
    promotes: bool = False  # it makes float64 of float32
    batch_too: bool = False  # of a batch it has ∂L/∂W, and not the rest

    def try_on(self, networks: Sequence[Network]) -> None:
        """Keep the network that explains most."""
        for fit in fits(self.p, self.bag, networks):
            if self.fit is None or fit.score > self.fit.score:
                self.fit = fit

    @property
    def score(self) -> tuple[int, int]:
        return self.fit.score if self.fit else (0, 0)

    @property
    def complete(self) -> bool:
        """Whether ∂L/∂W or the new W of every layer is there, and as much of every bias."""
        found = self.fit.found.values() if self.fit else ()
        layers = {l for q, l, _ in found if q in WEIGHTS}
        apart = {l for q, l, _ in found if q in ("db", "b_new", "absorbed")}
        every = set(range(1, self.p.depth + 1))
        return layers >= every and (self.convention.bias == "none" or apart >= every)


def judged(question: Mapping[str, str]) -> Wiring:
    """The wiring of the network that the question names. Raises RefusedError where nothing fits."""
    spec = question["network"]
    where, name = split(spec)
    theirs = load(spec)
    with _quietly():
        found = _best(theirs, name.rpartition(".")[2])
    if (
        found is None
        or found.fit is None
        or not any(q in WEIGHTS for q, _, _ in found.fit.found.values())
    ):
        raise RefusedError(
            f"{spec} fits no convention: no gradient of a weight was recognised in what it returned or kept. "
            "Write run(self, p) yourself, with a Convention: docs/implementations.md shows how."
        )
    notes: list[str] = []
    if found.batch_too:
        notes.append(
            "it is judged of one example at a time: of a batch its ∂L/∂W is right, and that of the biases is "
            "not summed."
        )
    body = _written(found, name.rpartition(".")[2], notes)
    glue: dict[str, Any] = {name.rpartition(".")[2]: theirs, "Convention": Convention}
    try:
        exec("\n".join(body), glue)
    except SyntaxError as e:
        raise RefusedError(f"{spec} has names that cannot be written in Python ({e.msg}).") from e
    made = glue["Wired"]()
    made.name = "Wired"
    with _quietly():
        results = runner.run("quick", [made], jobs=0)
    wrong = [r for r in results["results"] if r["verdict"] not in ("conforms", "not-run")]
    for r in wrong[:1]:
        notes.append(f"{r['case']}: {r['message']}")
        notes.extend(f["text"] for f in r["diagnosis"])
    imported = Path(where).stem if where.endswith(".py") else where
    head = [
        f"from {imported} import {name.partition('.')[0]}",
        "from conformance import Convention",
        "",
        "",
    ]
    return Wiring(lines=[*head, *body], notes=notes, summary=results["summary"])


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What is tried warns and prints."""
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


# --- the search -----------------------------------------------------------------------------------


def _best(theirs: Theirs, name: str) -> _Found | None:
    best: _Found | None = None
    for sizes in _sizes(theirs):
        answers: list[_Found] = []
        p = _problem(sizes, theirs)
        own = [Network(p.sigma[1], p.sigma[p.depth], p.loss)]
        for convention in _conventions():
            for found in _answers(convention, theirs, name, p):
                found.try_on([*own, *COMMON] if found.hand.lines else own)
                if found.complete:
                    found.batch_too = _takes_a_batch(found, answers)
                    return _tried_deeper(found, theirs, name)
                answers.append(found)
        answers.sort(key=lambda a: (a.score, len(a.bag)), reverse=True)
        for found in answers[:BAGS]:
            found.try_on(())
            if found.complete:
                return _tried_deeper(found, theirs, name)
        best = max([*([best] if best else []), *answers], key=lambda a: a.score, default=None)
    return None if best is None or best.fit is None else _tried_deeper(best, theirs, name)


def _takes_a_batch(found: _Found, answers: Sequence[_Found]) -> bool:
    """Whether what was recognised of one example takes a batch too, with ∂L/∂W of it, and not all else."""
    every = set(range(1, found.p.depth + 1))
    return found.convention.one_example and any(
        {l for q, l, _ in a.fit.found.values() if q in WEIGHTS} >= every
        for a in answers
        if a.fit is not None and not a.convention.one_example
    )


def _tried_deeper(found: _Found, theirs: Theirs, name: str) -> _Found:
    """Whether the same code computes a network with a layer more."""
    found.abilities = hasattr(theirs, "activations") or hasattr(theirs, "losses")
    assert found.fit is not None
    p = _problem((3, 4, 5, 2), theirs)
    network = found.fit.network
    sigma = {1: network.hidden, 2: network.hidden, 3: network.last}
    deeper = replace(p, sigma=sigma, loss=network.loss)
    same = _again(found, theirs, name, deeper)
    for other in same:
        other.try_on([network])
    found.one_depth = not any(
        other.fit is not None
        and {l for q, l, _ in other.fit.found.values() if q in WEIGHTS} >= {1, 2, 3}
        for other in same
    )
    narrow = replace(
        found.p,
        W={l: M.astype("f") for l, M in found.p.W.items()},
        X=found.p.X.astype("f"),
        Y=found.p.Y.astype("f"),
    )
    wanted = set(found.fit.found)
    single = _again(found, theirs, name, narrow)
    dtypes = {leaf.dtype for other in single for leaf in other.bag if leaf.path in wanted}
    found.promotes = "float32" not in dtypes and bool(dtypes)
    return found


def _again(found: _Found, theirs: Theirs, name: str, p: Problem) -> list[_Found]:
    """What the same code returns for another problem."""
    asked = _answers(found.convention, theirs, name, p)
    return [other for other in asked if other.hand.lines == found.hand.lines]


def _sizes(theirs: Theirs) -> Iterator[tuple[int, ...]]:
    """The widths of the small network: ours, and its own where they are fixed."""
    yield SIZES
    try:
        net = theirs() if isinstance(theirs, type) else theirs
    except Exception:
        return
    shapes = [
        leaf.value.shape
        for leaf in leaves(dict(vars(net)) if hasattr(net, "__dict__") else {}, layers=True)
    ]
    matrices = [
        s for s in shapes if (len(s) == 2 and 1 not in s) or (len(s) == 2 and s[0] * s[1] > 1)
    ]
    for of in (matrices, [m[::-1] for m in matrices]):
        chain = list(of)
        while chain and not all(a[1] == b[0] for a, b in pairwise(chain)):
            chain.pop()
        if len(chain) > 1 and (sizes := (*(m[0] for m in chain), chain[-1][1])) != SIZES:
            yield sizes


def _problem(sizes: Sequence[int], theirs: Theirs) -> Problem:
    """A network with one-hot targets, which every loss takes; wide enough for σ to show their bends."""
    rng = np.random.default_rng(7)
    n, L = 5, len(sizes) - 1
    Y = (
        np.eye(sizes[-1])[np.arange(n) % sizes[-1]]
        if sizes[-1] > 1
        else (np.arange(n) % 2.0)[:, None]
    )
    sigmas = list(getattr(theirs, "activations", None) or ["sigmoid"])
    losses = getattr(theirs, "losses", None) or ["mean_squared_error"]
    loss = next(iter(losses))
    last = losses[loss] if isinstance(losses, Mapping) else sigmas[0]
    last = last if isinstance(last, str) else next(iter(last))
    W = {l: rng.normal(size=(a + 1, b)) for l, (a, b) in enumerate(pairwise(sizes), 1)}
    sigma = dict.fromkeys(range(1, L), sigmas[0]) | {L: last}
    return Problem(W, rng.normal(size=(n, sizes[0])) * 2, Y, sigma, loss, True, 0.1)


def _conventions() -> Iterator[Convention]:
    """Every layout, the simplest first."""
    flags = (False, True)
    each = product(flags, flags, BIASES, flags, flags, flags)
    # "none" last: a bias of whose gradient nothing was recognised is there all the same
    for labels, one, bias, vectors, columns, transposed in sorted(
        each, key=lambda c: c[2] == "none"
    ):
        if vectors and bias != "separate" and not one:
            continue
        yield Convention(
            columns=columns, transposed=transposed, bias=bias, vectors=vectors, one_example=one, labels=labels
        )  # fmt: skip


def _answers(convention: Convention, theirs: Theirs, name: str, p: Problem) -> Iterator[_Found]:
    """What its code returns by this convention, where it has the shapes of gradients."""
    if convention.bias == "none":
        W = {l: M[:-1] for l, M in p.W.items()}
        p = Problem(W, p.X, p.Y, p.sigma, p.loss, False, p.alpha)
    try:
        p = convention.problem(p)
    except NotRunError:
        return
    shapes = {M.shape for M in p.W.values()} | {M[:-1].shape for M in p.W.values()}
    for hand in hands(theirs, name, convention.given(p).sizes):
        try:
            returned = hand.ask(convention.given(p))
        except (Exception, SystemExit):
            continue
        bag = [_flat(leaf) for leaf in leaves(returned)] if hand.lines else list(leaves(returned))
        if any(leaf.value.shape in shapes or leaf.value.shape[::-1] in shapes for leaf in bag):
            yield _Found(convention, hand, p, bag, returned)


def _flat(leaf: Leaf) -> Leaf:
    """(0, …) of what was returned, (1, attribute, …) of what was kept."""
    first, *rest = leaf.path
    return Leaf((1, *rest[0], *rest[1:]) if first == 1 else leaf.path, leaf.value, leaf.dtype)


# --- in lines -------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """A quantity that was found: where each layer's array is, and how many times the notes' it is."""

    paths: Mapping[int, Path_]
    factor: float


def _parts(found: _Found) -> dict[str, _Part]:
    """Each quantity whose layers are all there, with one factor; Z may lack the last."""
    assert found.fit is not None
    L = found.p.depth
    by: dict[str, dict[int, tuple[Path_, float]]] = {}
    for path, (q, l, factor) in found.fit.found.items():
        by.setdefault("dW" if q == "absorbed" else q, {}).setdefault(l, (path, factor))
    parts = {}
    for q, layers in by.items():
        if q == "loss":
            parts[q] = _Part({0: layers[L][0]}, layers[L][1])
        elif set(layers) == set(range(1, L + 1)):
            parts[q] = _Part({l: layers[l][0] for l in sorted(layers)}, layers[L][1])
        elif q in (*WEIGHTS, "db", "b_new") and (guess := _neighbours(found, layers)) is not None:
            parts[q] = _Part(
                guess, layers[max(layers)][1]
            )  # wrong in some layers: wired all the same
    return parts


def _neighbours(
    found: _Found, layers: Mapping[int, tuple[Path_, float]]
) -> dict[int, Path_] | None:
    """The paths of all layers of a list of which some were recognised."""
    L = found.p.depth
    there = {leaf.path for leaf in found.bag}
    l, (path, _) = max(layers.items())
    for i, part in enumerate(path):
        if part == l - 1 or part == l:
            every = {k: (*path[:i], part - l + k, *path[i + 1 :]) for k in range(1, L + 1)}
        elif isinstance(part, str) and part.endswith(str(l)):
            every = {
                k: (*path[:i], f"{part[: -len(str(l))]}{k}", *path[i + 1 :])
                for k in range(1, L + 1)
            }
        else:
            continue
        if there >= set(every.values()):
            return every
    return None


def _written(found: _Found, name: str, notes: list[str]) -> list[str]:
    """The class: its abilities, its convention, its run."""
    assert found.fit is not None
    parts, network = _parts(found), found.fit.network
    if "dW" in parts:
        parts.pop("W_new", None)
        parts.pop("b_new", None)
    options = _scales(found, parts, notes)
    lines, returns = _returned(found, parts)
    if returns:
        options["returns"] = returns
    if found.promotes:
        options["dtypes"] = '("float64",)'
    if found.hand.lines:  # of a class of one's own, each dtype is tried
        lines = ["def run(self, p):", *(f"    {line}" for line in lines)]
    of = ", ".join(f"{k}={v}" for k, v in options.items()).replace("'", '"')
    head = (
        []
        if found.abilities
        else [f'activations, losses = ["{network.hidden}"], {{"{network.loss}": "{network.last}"}}']
    )
    if found.one_depth:
        head.append(f"depths = {found.p.depth}")
    if not found.hand.lines:
        return [
            f"class Wired({name}):",
            *(f"    {x}" for x in [*head, f"convention = Convention({of})"]),
        ]
    if len(found.p.X[0]) != SIZES[0] or tuple(_widths(found.p)) != SIZES:
        head.append(f"widths = {tuple(_widths(found.p))}")
    return [
        "class Wired:",
        *(f"    {x}" for x in [*head, f"convention = Convention({of})", "", *lines]),
    ]


def _widths(p: Problem) -> list[int]:
    return [p.X.shape[1], *(M.shape[1] for M in p.W.values())]


def _scales(found: _Found, parts: dict[str, _Part], notes: list[str]) -> dict[str, str]:
    """The options of the Convention that are not the default, as they are written."""
    c, p = found.convention, found.p
    options = {
        name: repr(getattr(c, name))
        for name in ("columns", "transposed", "bias", "vectors", "one_example", "labels")
        if getattr(c, name) != getattr(Convention, name)
    }
    weights = next((parts[q] for q in ("dW", "W_new", "db", "b_new") if q in parts), None)
    if weights is None:
        raise RefusedError(
            "a gradient of some layer was recognised, and not where those of the others are; return all of "
            'them, {"dW": [...], "db": [...]}, from a run(self, p) of your own.'
        )
    factor = weights.factor
    if factor < 0:  # no convention: whoever goes up the gradient is wrong
        notes.append("it goes up the gradient: ∂L/∂W has the other sign.")
        factor = -factor
    scale = scale_of(p, factor)
    if "dW" not in parts and "p.alpha" not in " ".join(found.hand.lines):
        options["alpha"] = f"{factor * p.alpha:.6g}"
        scale = "mean"
    if not scale:
        notes.append(
            f"its gradient is {factor:.6g} times that of the mean over the examples: no scale there is."
        )
    elif scale != "mean":
        options["scale"] = repr(scale)
    if "delta" in parts and len(p.X) > 1:
        if abs(parts["delta"].factor / factor - len(p.X)) < 1e-6 * len(p.X):
            options["example_delta"] = "True"
        elif abs(parts["delta"].factor / factor - 1) > 1e-6:
            parts.pop("delta")
    if "loss" in parts and abs(parts["loss"].factor / factor - 1) > 1e-6:
        notes.append(
            f"the loss that it returns is {parts['loss'].factor / factor:.6g} times the one whose gradient "
            "it returns; it is left out."
        )
        parts.pop("loss")
    return options


def _returned(found: _Found, parts: Mapping[str, _Part]) -> tuple[list[str], str]:
    """The last lines of run, and `returns`."""
    *setting, call = found.hand.lines or ("",)
    inside = found.hand.lines and all(
        path[0] == 0 for part in parts.values() for path in part.paths.values()
    )
    cut = 1 if found.hand.lines else 0
    slots = {
        q: _slot({l: path[cut:] for l, path in part.paths.items()}) for q, part in parts.items()
    }
    if (inside or not cut) and all(s is not None for s in slots.values()):
        answer = found.returned[0] if cut else found.returned
        last = [*setting, f"return {call}"]
        if isinstance(answer, tuple) and all(s and len(s) == 1 for s in slots.values()):
            at = {s[0]: q for q, s in slots.items() if s}
            return last, repr(tuple(at.get(i, "_") for i in range(len(answer))))
        if all(s == () for s in slots.values()):
            return last, repr((next(iter(slots)),))
        if isinstance(answer, dict) and all(s and len(s) == 1 for s in slots.values()):
            names = {q: s[0] for q, s in slots.items() if s}
            return last, "" if all(q == s for q, s in names.items()) else repr(names)
    if not cut:
        raise RefusedError(
            "what run(p) returns was recognised, and has a form that Convention(returns=…) cannot name; "
            'return a dict of lists, a layer each: {"dW": [dW1, dW2], "db": [db1, db2]}.'
        )
    taken = [f'"{q}": {_expression(part)}' for q, part in parts.items()]
    got = f"got = {call}" if any(x for x in taken if "got" in x) else call
    return [*setting, got, f"return {{{', '.join(taken)}}}"], ""


def _slot(paths: Mapping[int, Path_]) -> Path_ | None:
    """What comes before the layer, where each path is the same but for that, and the layers lie in order."""
    if 0 in paths:
        return paths[0]
    heads = {path[:-1] for path in paths.values()}
    ends = [path[-1] for path in paths.values() if path]
    if len(ends) < len(paths):
        return None
    if len(heads) == 1 and ends in ([l - 1 for l in paths], list(paths)):
        return heads.pop()
    letters = {
        str(e)[: -len(str(l))] for l, e in zip(paths, ends, strict=True) if str(e).endswith(str(l))
    }
    numbered = all(str(e).endswith(str(l)) for l, e in zip(paths, ends, strict=True))
    return (
        (*heads.pop(), letters.pop().rstrip("_"))
        if numbered and len(letters) == len(heads) == 1
        else None
    )


def _expression(part: _Part) -> str:
    """Python for the list of a quantity's layers, or for the loss."""
    each = [_python(path) for path in part.paths.values()]
    if 0 in part.paths:
        return each[0]
    slot = _slot(part.paths)
    whole = slot is not None and len({path[:-1] for path in part.paths.values()}) == 1
    ends = [path[-1] for path in part.paths.values()]
    if whole and slot and ends == [l - 1 for l in part.paths]:
        return _python(slot)
    heads, lasts = {path[:-2] for path in part.paths.values()}, {*ends}
    places = [path[-2] for path in part.paths.values() if len(path) > 2]
    if len(heads) == len(lasts) == 1 and places == sorted(places) and len({*places}) == len(each):
        name = ends[0]  # of each layer that has it
        return f'[x.{name} for x in {_python(heads.pop())} if hasattr(x, "{name}")]'
    return f"[{', '.join(each)}]"


def _python(path: Path_) -> str:
    """got[0], or net.layers[1].dW."""
    source, *rest = path
    if source == 0:
        return "got" + "".join(f"[{k!r}]" for k in rest)
    text = "net"
    for k in rest:
        text += f".{k}" if isinstance(k, str) and k.isidentifier() else f"[{k!r}]"
    return text
