"""A class: what its students hand in, with which mistakes, and what each is worth by the rule that is
documented in docs/grading.md.

The rule is written here once more, on plain NumPy: every step on the file's own operands, to eight digits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from hostile import RIGHT

import refbp
from conformance.cases.catalogue import Case
from conformance.commands.grading.steps import twin_of
from conformance.implementations import implementation
from conformance.judge.mistakes.table import FAULTS

LAST = "loss.gradient(Z[-1], Y) * sigma[-1].derivative(A[-1])"
BELOW = "(delta[l + 1] @ W[l + 1].T) * sigma[l].derivative(A[l])"
FORWARD = "A.append(Z[-1] @ W_l)"
SIGMA = "Z.append(sigma_l(A[-1]))"
DW = "Z[l].T @ delta[l] for l in range(L)"
ORDER = (
    "sigma[-1].derivative(A[-1])\n    for l in reversed(range(L - 1)):\n        delta[l] = " + BELOW
)


class Kind(NamedTuple):
    """A mistake: what stands where in the right file, and which faults of the table it is named by."""

    changes: Mapping[str, str]
    faults: Sequence[str]


def _of(fault: str, **changes: str) -> Kind:
    where = {"last": LAST, "below": BELOW, "forward": FORWARD, "sigma": SIGMA, "dW": DW}
    return Kind({where[k]: new for k, new in changes.items()}, [fault])


ONE = (
    _of("mean-missing", last=f"len(Y) * {LAST}"),
    _of("mean-twice", last=f"{LAST} / len(Y)"),
    _of("mean-over-outputs", last=f"{LAST} / Y.shape[1]"),
    _of("factor-two-missing", last=f"{LAST} / 2"),
    _of("factor-two-extra", last=f"2 * {LAST}"),
    _of("sign-flipped", last=f"-{LAST}"),
    _of("targets-shifted", last=LAST.replace("Y)", "Y[[-1, *range(len(Y) - 1)]])")),
    _of("derivative-missing", last="loss.gradient(Z[-1], Y)", below="delta[l + 1] @ W[l + 1].T"),
    _of("derivative-missing-at-output", last="loss.gradient(Z[-1], Y)"),
    _of("derivative-at-the-output", last=LAST.replace("A[-1]", "Z[-1]"),
        below=BELOW.replace("A[l]", "Z[l + 1]")),
    _of("derivative-at-the-next-layer", below=BELOW.replace("A[l]", "A[l + 1]")),
    _of("derivative-of-the-next-layer", below=BELOW.replace("sigma[l]", "sigma[l + 1]")),
    _of("value-for-derivative", last=LAST.replace(".derivative", ""), below=BELOW.replace(".derivative", "")),
    _of("derivative-twice", last=f"{LAST} * sigma[-1].derivative(A[-1])",
        below=f"{BELOW} * sigma[l].derivative(A[l])"),
    _of("derivative-of-sigmoid", last="loss.gradient(Z[-1], Y) * Z[-1] * (1 - Z[-1])",
        below="(delta[l + 1] @ W[l + 1].T) * Z[l + 1] * (1 - Z[l + 1])"),
    _of("sign-flipped-below", below=f"-{BELOW}"),
    _of("delta-never-computed", below="0 * A[l]"),
    _of("weights-of-this-layer", below=BELOW.replace("W[l + 1]", "W[l]")),
    _of("weights-not-transposed", below=BELOW.replace(".T", "")),
    _of("weights-missing", below=BELOW.replace(" @ W[l + 1].T", "")),
    _of("delta-averaged", last=f"({LAST}).mean(axis=0) + 0 * A[-1]",
        below=f"({BELOW}).mean(axis=0) + 0 * A[l]"),
    _of("gradient-transposed", dW="delta[l].T @ Z[l] for l in range(L)"),
    _of("gradient-from-A", dW="(A[l - 1] if l else Z[0]).T @ delta[l] for l in range(L)"),
    _of("gradient-from-this-layers-Z", dW="Z[l + 1].T @ delta[l] for l in range(L)"),
    _of("gradient-from-the-next-delta", dW="Z[l].T @ delta[min(l + 1, L - 1)] for l in range(L)"),
    _of("gradient-sign-flipped", dW=f"-{DW}"),
    _of("gradient-never-computed", dW="0 * W[l] for l in range(L)"),
    _of("gradient-averaged", dW="Z[l].T @ delta[l] / len(Y) for l in range(L)"),
    _of("gradient-of-means",
        dW="len(Y) * Z[l].mean(axis=0)[:, None] * delta[l].mean(axis=0) for l in range(L)"),
    _of("gradient-last-example-dropped",
        dW="Z[l][: max(1, len(Y) - 1)].T @ delta[l][: max(1, len(Y) - 1)] for l in range(L)"),
    _of("gradient-first-example-twice", dW="Z[l].T @ delta[l] + Z[l][:1].T @ delta[l][:1] for l in range(L)"),
    _of("gradient-decayed", dW="Z[l].T @ delta[l] + 0.01 * W[l] for l in range(L)"),
    _of("weights-transposed-forward", forward="A.append(Z[-1] @ W_l.T)"),
    _of("activation-missing", sigma="Z.append(A[-1].copy())"),
    _of("activation-missing-at-output", sigma="Z.append(sigma_l(A[-1]) if len(A) < len(W) else A[-1])"),
    _of("activation-twice", sigma="Z.append(sigma_l(sigma_l(A[-1])))"),
    _of("activation-in-place", sigma="A[-1] = sigma_l(A[-1])\n        Z.append(A[-1])"),
)  # fmt: skip
"""One mistake each, by the fault of the table that it is."""

FORM = {  # hand-written: what it does to A, Z, δ, ∂L/∂W of the ten networks, which have 23 layers
    "a short dW": ({DW: DW.replace("range(L)", "range(L - 1)")}, (1, 1, 1, 13 / 23)),
    "a dW without the first": ({DW: DW.replace("range(L)", "range(1, L)")}, (1, 1, 1, 13 / 23)),
    "no Z_0": ({"return A, Z": "return A, Z[1:]"}, (1, 23 / 33, 1, 1)),
    "exchanged": ({"return A, Z": "return Z, A"}, (23 / 33, 23 / 33, 1, 1)),
    "nested lists": (
        {"return A, Z": "return [a.tolist() for a in A], [z.tolist() for z in Z]"}, (1, 1, 1, 1),
    ),
    "no dW at all": ({f"[{DW}]": "None"}, (1, 1, 1, 0)),
    "a misspelt name": ({"L = len(W)": "L = len(w)"}, (1, 1, 0, 0)),
    "forward raises": ({"return A, Z": "return B, Z"}, (0, 0, 1, 1)),
}  # fmt: skip


def changed(changes: Mapping[str, str]) -> str:
    """The right file with these changes."""
    source = RIGHT
    for old, new in changes.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def whats(faults: Sequence[str]) -> set[str]:
    return {FAULTS[f].what for f in faults}


# --- the rule -------------------------------------------------------------------------------------

POINTS = {"A": 2, "Z": 2, "delta": 3, "dW": 3}
OPERAND = {"A": ("Z", -1), "Z": ("A", 0), "delta": ("delta", 1), "dW": ("delta", 0)}


Made = dict[str, dict[int, Any]]
RAISED = (ValueError, IndexError)


def _exact(case: Case) -> Made:
    t = implementation("refbp").run(case.problem().copy())
    return {"A": dict(t.A), "Z": {0: case.problem().X, **t.Z}}


def _forward(file: Any, case: Case) -> Made:
    p = case.problem()
    sigma = [refbp.activation(s) for s in p.sigma.values()]
    A, Z = file.forward_pass([w.copy() for w in p.W.values()], p.X.copy(), sigma)
    return {"A": dict(enumerate(A, 1)), "Z": dict(enumerate(Z))}


def _backward(file: Any, case: Case, t: Made) -> Made:
    """On its own A and Z; on the right ones where these are out of the loss's domain, or there are none."""
    p = case.problem()
    sigma = [refbp.activation(s) for s in p.sigma.values()]
    W, A, Z = ([M.copy() for M in of.values()] for of in (p.W, t["A"], t["Z"]))
    try:
        delta, dW = file.backward_prop(W, A, Z, p.Y.copy(), sigma, refbp.loss(p.loss))
    except refbp.InputError:
        return _backward(file, case, _exact(case))
    return {**t, "delta": dict(enumerate(delta, 1)), "dW": dict(enumerate(dW, 1))}


def _made(file: Any, case: Case) -> dict[str, tuple[Case, Made]]:
    """What each procedure makes, and on which network: on the twin where it raises."""
    twin = twin_of(case)
    try:
        forward = case, _forward(file, case)
    except RAISED:
        forward = twin, _forward(file, twin)
    given = forward[1] if forward[0] is case else _exact(case)
    try:
        backward = case, _backward(file, case, given)
    except RAISED:
        backward = twin, _backward(file, twin, _forward(file, twin))
    return {"A": forward, "Z": forward, "delta": backward, "dW": backward}


def _right(case: Case, t: Made, quantity: str) -> int:
    """How many layers of a quantity are right."""
    p, L = case.problem(), case.depth
    exact = implementation("refbp").run(p.copy())
    sigma = {l: refbp.activation(s) for l, s in p.sigma.items()}
    steps = {
        "A": lambda l: t["Z"][l - 1] @ p.W[l],
        "Z": lambda l: sigma[l](t["A"][l]),
        "delta": lambda l: sigma[l].vjp(
            t["A"][l],
            refbp.loss(p.loss).gradient(t["Z"][L], p.Y) if l == L else t["delta"][l + 1] @ p.W[l + 1].T,
        ),
        "dW": lambda l: t["Z"][l - 1].T @ t["delta"][l],
    }  # fmt: skip

    def alike(a: Any, b: Any) -> bool:
        size = max(float(np.abs(b).max()), 1e-300)
        return np.shape(a) == np.shape(b) and bool((np.abs(a - b) <= 1e-8 * size).all())

    def whole(q: str, l: int) -> bool:
        return l == 0 or alike(t[q][l], exact.layers(q)[l])

    def right(q: str, l: int) -> bool:
        operand, m = OPERAND[q][0], l + OPERAND[q][1]
        spoilt = m in t[operand] and not whole(operand, m)
        step = False
        if not (spoilt and not t[operand][m].any()):
            with contextlib.suppress(ValueError), np.errstate(all="ignore"):
                step = alike(t[q][l], steps[q](l))
        return step or (whole(q, l) and (spoilt or m not in t[operand] or not t[operand][m].any()))

    return sum(right(quantity, l) for l in range(1, L + 1))


def worth(source: str, cases: Sequence[Case]) -> float:
    """The points out of ten of a file that returns what it should, or raises where widths are unequal."""
    file = SimpleNamespace()
    exec(compile(source, "student.py", "exec"), file.__dict__)
    right = dict.fromkeys(POINTS, 0)
    with np.errstate(all="ignore"):
        for case in cases:
            for q, (on, found) in _made(file, case).items():
                right[q] += _right(on, found, q)
    layers = sum(c.depth for c in cases)
    return sum(points * right[q] / layers for q, points in POINTS.items())
