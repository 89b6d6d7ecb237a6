"""The lines of Python for what was found: a class that says what it can do, its convention, and `run`."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from conformance.commands.wire.leaves import Attribute
from conformance.commands.wire.match import WEIGHTS
from conformance.commands.wire.search import SAME, SIZES, Found
from conformance.implementations.convention import CLASSIFY, Convention
from conformance.tools.trouble import RefusedError

__all__ = ["imported", "written"]

Path_: TypeAlias = tuple[Any, ...]
WIDEST = 100  # longest line that is not broken


def imported(where: str, name: str) -> list[str]:
    """The lines that import the network. Raises RefusedError for a file that no import can name."""
    module = where.removesuffix(".py").rpartition("/")[2] if where.endswith(".py") else where
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in module.split(".")):
        raise RefusedError(
            f"{where} cannot be imported by that name; expected one such as network.py."
        )
    first = name.partition(".")[0]
    return [f"from {module} import {first}", "from conformance import Convention", "", ""]


class _Part(NamedTuple):
    """A quantity that was found: where each layer's array is, and its factor relative to the notes'."""

    paths: Mapping[int, Path_]
    factor: float

    @property
    def recognised(self) -> Path_:
        """The path at which the factor was read: the last layer's."""
        return self.paths[max(self.paths)]


def _parts(found: Found) -> dict[str, _Part]:
    """Each quantity of which all layers were found, with the factor of its last layer."""
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
        elif q in (*WEIGHTS, "db", "b_new"):  # wrong in some layers: declared all the same
            l, (path, factor) = max(layers.items())
            if guess := _neighbours(found, l, path):
                parts[q] = _Part(guess, factor)
    return parts


def _neighbours(found: Found, l: int, path: Path_) -> dict[int, Path_] | None:
    """The paths of all layers, if that of layer l was recognised or guessed: of arrays of the sizes of W_k,
    of [W_k; b_k] or of b_k. None if there are none."""
    sizes = {leaf.path: leaf.value.size for leaf in found.bag}
    widths = {k: M.shape[1] for k, M in found.p.W.items()}
    weights = {k: found.p.weights(k).size for k in widths}
    whole = {k: weights[k] + widths[k] for k in widths}
    expected = next((of for of in (weights, whole, widths) if of[l] == sizes[path]), None)
    for every in _counted(l, path, found.p.depth) if expected else ():
        if expected and all(sizes.get(every[k]) == n for k, n in expected.items()):
            return every
    return None


def _counted(l: int, path: Path_, L: int) -> Iterator[dict[int, Path_]]:
    """Each way in which the path of layer l may count layers: by an index, or by a number at the end of a
    name."""
    for i, part in enumerate(path):
        head, tail, of = path[:i], path[i + 1 :], type(part)
        if isinstance(part, int) and part in (l - 1, l):
            yield {k: (*head, part - l + k, *tail) for k in range(1, L + 1)}
        elif isinstance(part, str) and part.endswith(str(l)):
            stem = part[: -len(str(l))]
            yield {k: (*head, of(f"{stem}{k}"), *tail) for k in range(1, L + 1)}


def written(found: Found, name: str) -> list[str]:
    """The lines of the class. Raises RefusedError for what no convention can express."""
    parts, network = _parts(found), found.fit.network
    kept = "dW" in parts and any(path[0] == 1 for path in parts["dW"].paths.values())
    if (
        kept
        and found.hand.lines
        and "W_new" in parts
        and ("b_new" in parts or not found.hand.biased)
    ):
        parts.pop("dW")  # kept beside new weights, it may be a velocity
        parts.pop("db", None)
    if "dW" in parts:
        parts.pop("W_new", None)
        parts.pop("b_new", None)
    _with_biases(found, parts)
    options = _options(found, parts)
    lines, returns = _returned(found, parts)
    if returns:
        options["returns"] = returns
    if found.dtypes:
        options["dtypes"] = repr(found.dtypes)
    if found.hand.lines:
        lines = ["def run(self, p):", *(f"    {line}" for line in lines)]
    of = ", ".join(f"{k}={v}" for k, v in options.items()).replace("'", '"')
    says = (
        []
        if found.abilities
        else [f'activations, losses = ["{network.hidden}"], {{"{network.loss}": "{network.last}"}}']
    )
    if found.one_depth:
        says.append(f"depths = {found.p.depth}")
    widths = (found.p.X.shape[1], *(M.shape[1] for M in found.p.W.values()))
    if found.hand.lines and widths != SIZES:
        says.append(f"widths = {widths}")
    says.append(f"convention = Convention({of})")
    if not found.hand.lines:
        return [f"class Wired({name}):", *(f"    {x}" for x in says)]
    return ["class Wired:", *(f"    {x}" for x in says), "", *(f"    {x}" for x in lines)]


def _with_biases(found: Found, parts: dict[str, _Part]) -> None:
    """If the gradient of the biases was not recognised, find it by its shape: it will then deviate. Raises
    RefusedError if there is none."""
    if "dW" in parts or not found.hand.biased:
        W, b = "dW", "db"
    else:
        W, b = "W_new", "b_new"
    absorbed = found.convention.bias.startswith("absorbed")
    if W not in parts or b in parts or not found.hand.biased or absorbed:
        return
    L = found.p.depth
    taken = {path for part in parts.values() for path in part.paths.values()}
    for leaf in found.bag:
        if leaf.path not in taken and leaf.value.size == found.p.W[L].shape[1]:
            guess = _neighbours(found, L, leaf.path)
            if guess and not taken & {*guess.values()}:
                parts[b] = _Part(guess, parts[W].factor)
                return
    raise RefusedError(
        "it has biases, and no gradient of theirs was recognised in what it returned or kept: ∂L/∂b_l is the "
        "sum of δ_l over the examples, of d_l numbers. Look there first; or write run(self, p) yourself."
    )


def _options(found: Found, parts: dict[str, _Part]) -> dict[str, str]:
    """The options of the Convention that differ from the default, as code."""
    c, p, notes = found.convention, found.p, found.notes
    options = {
        name: repr(getattr(c, name))
        for name in ("columns", "transposed", "bias", "vectors", "one_example")
        if getattr(c, name) != getattr(Convention, name)
    }
    if c.labels:
        loss = found.fit.network.loss
        options["labels"] = repr(True if loss in CLASSIFY else (loss,))
    weights = next((parts[q] for q in ("dW", "W_new", "db", "b_new") if q in parts), None)
    if weights is None:
        raise RefusedError(
            "a gradient of some layer was recognised, and not where those of the others are; return all of "
            'them, {"dW": [...], "db": [...]}, from a run(self, p) of your own.'
        )
    factor, at = weights.factor, weights.recognised
    if factor < 0:  # no convention: code that goes up the gradient is wrong
        notes.append("it goes up the gradient: ∂L/∂W has the other sign.")
        factor = -factor
    own_rate = "dW" not in parts and "p.alpha" not in " ".join(found.hand.lines)
    scales = found.scales(factor, at, free=own_rate)
    if not scales:
        raise RefusedError(
            f"its gradient is {factor:.6g} times that of the mean over {len(p.X)} examples of sums over "
            f"{p.Y.shape[1]} outputs, which is no scale that a Convention has."
        )
    if own_rate:
        options["alpha"] = f"{factor * p.alpha / found.times(scales[0]):.6g}"
    if "loss" in parts and not own_rate:
        of_loss = found.scales(parts["loss"].factor, parts["loss"].recognised)
        if of_loss and not {*of_loss} & {
            *scales
        }:  # the gradient is compared with the loss that it returns
            notes.append(
                f"its loss is the {of_loss[0]!r}, and its gradient that of the {scales[0]!r}."
            )
            scales, factor = of_loss, found.times(of_loss[0])
    if scales[0] != "mean":
        options["scale"] = repr(scales[0])
    if "delta" in parts and len(p.X) > 1:
        ratio = abs(parts["delta"].factor) / factor
        if abs(ratio / len(p.X) - 1) < SAME:
            options["example_delta"] = "True"
        elif abs(ratio - 1) > SAME:
            parts.pop("delta")
    _of_the_loss(found, parts, found.times(scales[0]) if own_rate else factor)
    return options


PRODUCTS = {"binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}
"""Losses whose δ_L is z − y after that σ; so is that of a squared error without σ'."""


def _of_the_loss(found: Found, parts: Mapping[str, _Part], factor: float) -> None:
    """Notes about the loss, about which the gradient alone says little."""
    network, notes = found.fit.network, found.notes
    if "loss" in parts:
        ratio = parts["loss"].factor / factor
        if abs(ratio - 1) > SAME:
            notes.append(
                f"the loss that it returns is {ratio:.6g} times the one whose gradient it returns."
            )
    elif PRODUCTS.get(network.loss) == network.last:
        notes.append(
            f"its δ_L is z − y, as {network.loss} has it, and it returns no loss that says so. If it "
            "means the squared error, σ' is missing."
        )


def _returned(found: Found, parts: Mapping[str, _Part]) -> tuple[list[str], str]:
    """The last lines of run, and the `returns` of the Convention."""
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
    each = {q: _expression(part) for q, part in parts.items()}
    found.one_depth |= any(
        e.startswith("[") and ", " in e.partition(" for ")[0] for e in each.values()
    )
    taken = [f'"{q}": {e}' for q, e in each.items()]
    got = f"got = {call}" if any(": got" in x or "[got" in x for x in taken) else call
    answer = [f"return {{{', '.join(taken)}}}"]
    if len(answer[0]) > WIDEST:
        answer = ["return {", *(f"    {x}," for x in taken), "}"]
    return [*setting, got, *answer], ""


def _slot(paths: Mapping[int, Path_]) -> Path_ | None:
    """The part of the paths before the layer, if all paths agree in it and the layers are in order; else
    None."""
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
    places = [path[-2] for path in part.paths.values() if isinstance(path[-2], int)]
    name = ends[0]
    of_layers = isinstance(name, Attribute) and len({*places}) == len(each)
    if of_layers and len(heads) == len(lasts) == 1 and places == sorted(places):
        return f'[x.{name} for x in {_python(heads.pop())} if hasattr(x, "{name}")]'
    return _comprehension(part.paths) or f"[{', '.join(each)}]"


def _comprehension(paths: Mapping[int, Path_]) -> str:
    """[got[l][0] for l in range(L)] for a list of pairs, got[f"dW{l}"] for a dict; "" if layers are not
    counted by one part of their paths."""
    first, L = paths[1], max(paths)
    for i, part in enumerate(first):
        if isinstance(part, Attribute) or not any(paths == each for each in _counted(1, first, L)):
            continue
        if len({path[i] for path in paths.values()}) < L:
            continue
        at = f"[l{' - 1' * (part == 0)}]" if isinstance(part, int) else f'[f"{part[:-1]}{{l}}"]'
        tail = "".join(map(_access, first[i + 1 :]))
        return f"[{_python(first[:i])}{at}{tail} for l in range(1, len(p.sizes))]"
    return ""


def _python(path: Path_) -> str:
    """A path in Python: got[0], or net.layers[1].dW."""
    source, *rest = path
    return ("got" if source == 0 else "net") + "".join(map(_access, rest))


def _access(k: Any) -> str:
    return f".{k}" if isinstance(k, Attribute) else f"[{k!r}]"
