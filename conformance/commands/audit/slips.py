"""Slips that have a name: a wrong value, what was done to get it, and where it is looked for.

Where every wrong try of an equation is the value of one slip, its verdict names that as the cause. Each is
computed from right values by its own formula, so that a name is never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from conformance.commands.audit.right import H, Matrix, Right

__all__ = ["SLIPS", "Slip", "slips"]

Slip: TypeAlias = Callable[[Any, int], Matrix]
"""What the slip gives in place of one quantity of layer l of a `Right`."""


def _own_derivatives(right: Right, l: int) -> Matrix:
    """∂z_ij/∂a_ij, n×d_l: of the Jacobian of σ_l the diagonal alone."""
    own = np.empty_like(right.A[l])
    for j in range(own.shape[1]):
        A = right.A[l].astype(complex)
        A[:, j] += H * 1j
        own[:, j] = right.activate(l, A)[:, j].imag / H
    return own


def _stepped(of: Slip) -> Slip:
    """W_l − α of what `of` gives."""
    return lambda r, l: r.W[l] - r.alpha * of(r, l)


def _all_stepped(slips: dict[str, Slip]) -> dict[str, Slip]:
    return {words: _stepped(of) for words, of in slips.items()}


DECAYED: dict[str, Slip] = {
    "λ is missing: W_l is added whole": lambda r, l: r.dL_dW[l] + r.W[l],
    "the term λ W_l is missing": lambda r, l: r.dL_dW[l],
    "λ W_l has the wrong sign": lambda r, l: r.dL_dW[l] - r.lam * r.W[l],
    "2λ W_l, as of λ‖W_l‖², stands for λ W_l": lambda r, l: r.dL_dW[l] + 2 * r.lam * r.W[l],
    "λ/2 W_l stands for λ W_l": lambda r, l: r.dL_dW[l] + r.lam / 2 * r.W[l],
    "λ/n W_l stands for λ W_l": lambda r, l: r.dL_dW[l] + r.lam / len(r.X) * r.W[l],
    "λ stands without W_l": lambda r, l: r.dL_dW[l] + r.lam,
    "λ W_l² stands for λ W_l": lambda r, l: r.dL_dW[l] + r.lam * r.W[l] ** 2,
}

VELOCITY: dict[str, Slip] = {
    "β v_l has the wrong sign": lambda r, l: r.dL_dW[l] - r.beta * r.v[l],
    "the gradient has the wrong sign": lambda r, l: r.beta * r.v[l] - r.dL_dW[l],
    "β is missing: v_l is taken whole": lambda r, l: r.v[l] + r.dL_dW[l],
    "the velocity is missing": lambda r, l: r.dL_dW[l],
    "(1 − β) ∂L/∂W_l, as of an average, stands for ∂L/∂W_l": lambda r, l: (
        r.beta * r.v[l] + (1 - r.beta) * r.dL_dW[l]
    ),
    "α stands in the velocity too": lambda r, l: r.beta * r.v[l] + r.alpha * r.dL_dW[l],
    "(1 − β) and β are exchanged": lambda r, l: (1 - r.beta) * r.v[l] + r.beta * r.dL_dW[l],
}


def _adam_stepped(of: Slip) -> Slip:
    """The weights after a step of what `of` gives, and of AdamW's λ W_l."""
    return lambda r, l: r.W[l] - r.alpha * (of(r, l) + r.lam * r.W[l])


IN_THE_GRADIENT = "λ W_l is added to the gradient, as of λ/2 ‖W_l‖² in Adam"


def _coupled(r: Any, l: int) -> tuple[Matrix, Matrix]:
    """The moments m_l and v_l of ∂L/∂W_l + λ W_l."""
    G = r.dL_dW[l] + r.lam * r.W[l]
    return r.beta1 * r.m[l] + (1 - r.beta1) * G, r.beta2 * r.v[l] + (1 - r.beta2) * G**2


def _coupled_step(r: Any, l: int) -> Matrix:
    m, v = _coupled(r, l)
    m_hat, v_hat = m / (1 - r.beta1**r.t), v / (1 - r.beta2**r.t)
    stepped: Matrix = r.W[l] - r.alpha * m_hat / (np.sqrt(v_hat) + r.epsilon)
    return stepped


ADAM_STEP: dict[str, Slip] = {
    "the bias correction is missing": lambda r, l: r.m_new[l] / (np.sqrt(r.v_new[l]) + r.epsilon),
    "the bias correction of m is missing": lambda r, l: r.m_new[l] / (np.sqrt(r.v_hat[l]) + r.epsilon),
    "the bias correction of v is missing": lambda r, l: r.m_hat[l] / (np.sqrt(r.v_new[l]) + r.epsilon),
    "the square root is missing": lambda r, l: r.m_hat[l] / (r.v_hat[l] + r.epsilon),
    "ε stands within the square root": lambda r, l: r.m_hat[l] / np.sqrt(r.v_hat[l] + r.epsilon),
    "ε is added before the bias correction": lambda r, l: (
        r.m_hat[l] * np.sqrt(1 - r.beta2**r.t) / (np.sqrt(r.v_new[l]) + r.epsilon)
    ),
    "ε is missing": lambda r, l: r.m_hat[l] / np.sqrt(r.v_hat[l]),
    "the step has the wrong sign": lambda r, l: -r.m_hat[l] / (np.sqrt(r.v_hat[l]) + r.epsilon),
    "the gradient stands for m̂_l": lambda r, l: r.dL_dW[l] / (np.sqrt(r.v_hat[l]) + r.epsilon),
}  # fmt: skip

ADAM: dict[str, dict[str, Slip]] = {
    "m_new": {
        "β_1 and 1 − β_1 are exchanged": lambda r, l: (1 - r.beta1) * r.m[l] + r.beta1 * r.dL_dW[l],
        "1 − β_1 is missing": lambda r, l: r.beta1 * r.m[l] + r.dL_dW[l],
        "β_2 stands for β_1": lambda r, l: r.beta2 * r.m[l] + (1 - r.beta2) * r.dL_dW[l],
        "β_1 m_l has the wrong sign": lambda r, l: (1 - r.beta1) * r.dL_dW[l] - r.beta1 * r.m[l],
    },
    "v_new": {
        "the gradient is not squared": lambda r, l: r.beta2 * r.v[l] + (1 - r.beta2) * r.dL_dW[l],
        "β_2 and 1 − β_2 are exchanged": lambda r, l: (
            (1 - r.beta2) * r.v[l] + r.beta2 * r.dL_dW[l] ** 2
        ),
        "1 − β_2 is missing": lambda r, l: r.beta2 * r.v[l] + r.dL_dW[l] ** 2,
        "β_1 stands for β_2": lambda r, l: r.beta1 * r.v[l] + (1 - r.beta1) * r.dL_dW[l] ** 2,
    },
    "m_hat": {
        "the bias correction is missing": lambda r, l: r.m_new[l],
        "the power t is missing": lambda r, l: r.m_new[l] / (1 - r.beta1),
        "β_2 stands for β_1": lambda r, l: r.m_new[l] / (1 - r.beta2**r.t),
    },
    "v_hat": {
        "the bias correction is missing": lambda r, l: r.v_new[l],
        "the power t is missing": lambda r, l: r.v_new[l] / (1 - r.beta2),
        "β_1 stands for β_2": lambda r, l: r.v_new[l] / (1 - r.beta1**r.t),
    },
    "W_new": {words: _adam_stepped(of) for words, of in ADAM_STEP.items()},
}


def _through_norm(
    r: Any, l: int, mean: float = 1, variance: float = 1, gamma: bool = True
) -> Matrix:
    """∂L/∂A_l with so much of the mean's term and of the variance's."""
    G = r.dL_dN[l] * (r.gamma[l] if gamma else 1)
    A_hat = r.A_hat[l]
    through = G - mean * G.mean(axis=0) - variance * A_hat * (G * A_hat).mean(axis=0)
    result: Matrix = through / np.sqrt(r.var[l] + r.epsilon)
    return result


NORM: dict[str, dict[str, Slip]] = {
    "delta": {
        "the mean's term is missing": lambda r, l: _through_norm(r, l, mean=0),
        "the variance's term is missing": lambda r, l: _through_norm(r, l, variance=0),
        "mean and variance are taken as constants": lambda r, l: _through_norm(r, l, 0, 0),
        "the mean's term has the wrong sign": lambda r, l: _through_norm(r, l, mean=-1),
        "the variance's term has the wrong sign": lambda r, l: _through_norm(r, l, variance=-1),
        "γ_l is missing": lambda r, l: _through_norm(r, l, gamma=False),
        "it is ∂L/∂N_l, as if there were no batch norm": lambda r, l: r.dL_dN[l],
    },
    "A_hat": {
        "the mean is not subtracted": lambda r, l: r.A[l] / np.sqrt(r.var[l] + r.epsilon),
        "ε is missing": lambda r, l: (r.A[l] - r.mu[l]) / np.sqrt(r.var[l]),
        "ε stands outside the square root": lambda r, l: (
            (r.A[l] - r.mu[l]) / (np.sqrt(r.var[l]) + r.epsilon)
        ),
        "the square root is missing": lambda r, l: (r.A[l] - r.mu[l]) / (r.var[l] + r.epsilon),
    },
    "var": {
        "it is divided by n − 1": lambda r, l: r.var[l] * len(r.X) / (len(r.X) - 1),
        "the mean is not subtracted": lambda r, l: (r.A[l] ** 2).mean(axis=0),
    },
    "dL_dgamma": {
        "Â_l is missing": lambda r, l: r.dL_dN[l].sum(axis=0),
        "A_l stands for Â_l": lambda r, l: (r.dL_dN[l] * r.A[l]).sum(axis=0),
        "the mean over the batch stands for the sum": lambda r, l: (
            (r.dL_dN[l] * r.A_hat[l]).mean(axis=0)
        ),
    },
    "dL_dbeta": {
        "the mean over the batch stands for the sum": lambda r, l: r.dL_dN[l].mean(axis=0),
    },
}  # fmt: skip

SLIPS: dict[tuple[str, str], dict[str, Slip]] = {
    ("", "delta"): {
        "of softmax's Jacobian the diagonal alone is taken": lambda r, l: (
            r.dL_dZ[l] * _own_derivatives(r, l)
        ),
    },
    ("", "dz_da"): {
        "of softmax's Jacobian the diagonal alone is taken": lambda r, l: (
            np.diag(_own_derivatives(r, l)[0])
        ),
        "of softmax's Jacobian the diagonal alone is taken, as a vector": lambda r, l: (
            _own_derivatives(r, l)
        ),
    },
    ("weight decay", "dJ_dW"): DECAYED,
    ("weight decay", "W_new"): {
        **_all_stepped(DECAYED),
        "α is missing before λ W_l": lambda r, l: (
            r.W[l] - r.lam * r.W[l] - r.alpha * r.dL_dW[l]
        ),
        "λ alone multiplies W_l: 1 − αλ is meant": lambda r, l: (
            r.lam * r.W[l] - r.alpha * r.dL_dW[l]
        ),
    },
    ("weight decay", "J"): {
        "1/2 is missing before λ ‖W_l‖²": lambda r, _: 2 * r.J - r.loss,
        "the term of λ is missing": lambda r, _: r.loss,
    },
    ("momentum", "v_new"): VELOCITY,
    ("momentum", "W_new"): {
        **_all_stepped(VELOCITY),
        "the step has the wrong sign": lambda r, l: r.W[l] + r.alpha * r.v_new[l],
        "the old velocity is taken": lambda r, l: r.W[l] - r.alpha * r.v[l],
        "α is missing": lambda r, l: r.W[l] - r.v_new[l],
    },
    ("momentum, α in the velocity", "v_new"): {
        "the gradient has the wrong sign": lambda r, l: r.beta * r.v[l] + r.alpha * r.dL_dW[l],
        "β v_l has the wrong sign": lambda r, l: -r.beta * r.v[l] - r.alpha * r.dL_dW[l],
        "α is missing": lambda r, l: r.beta * r.v[l] - r.dL_dW[l],
        "β is missing: v_l is taken whole": lambda r, l: r.v[l] - r.alpha * r.dL_dW[l],
    },
    ("momentum, α in the velocity", "W_new"): {
        "the velocity has the wrong sign": lambda r, l: r.W[l] - r.v_new[l],
        "the old velocity is taken": lambda r, l: r.W[l] + r.v[l],
        "α is taken twice": lambda r, l: r.W[l] + r.alpha * r.v_new[l],
    },
    ("momentum, averaged", "v_new"): {
        "1 − β is missing": lambda r, l: r.beta * r.v[l] + r.dL_dW[l],
        "(1 − β) and β are exchanged": lambda r, l: (1 - r.beta) * r.v[l] + r.beta * r.dL_dW[l],
        "β v_l has the wrong sign": lambda r, l: (1 - r.beta) * r.dL_dW[l] - r.beta * r.v[l],
    },
    ("momentum, averaged", "W_new"): {
        "the step has the wrong sign": lambda r, l: r.W[l] + r.alpha * r.v_new[l],
        "the old velocity is taken": lambda r, l: r.W[l] - r.alpha * r.v[l],
    },
    ("Nesterov", "W_new"): {
        "it is momentum without the look ahead": lambda r, l: r.W[l] - r.alpha * r.v_new[l],
        "the step has the wrong sign": lambda r, l: (
            r.W[l] + r.alpha * (r.dL_dW[l] + r.beta * r.v_new[l])
        ),
    },
    **{("Adam", quantity): rows for quantity, rows in ADAM.items()},
    **{("AdamW", quantity): rows for quantity, rows in ADAM.items()},
    **{("batch norm", quantity): rows for quantity, rows in NORM.items()},
}  # fmt: skip
SLIPS["Nesterov", "v_new"] = VELOCITY
SLIPS["AdamW", "m_new"] = ADAM["m_new"] | {IN_THE_GRADIENT: lambda r, l: _coupled(r, l)[0]}
SLIPS["AdamW", "v_new"] = ADAM["v_new"] | {IN_THE_GRADIENT: lambda r, l: _coupled(r, l)[1]}
SLIPS["AdamW", "W_new"] = ADAM["W_new"] | {
    IN_THE_GRADIENT: _coupled_step,
    "the term λ W_l is missing": lambda r, l: r.W_new[l] + r.alpha * r.lam * r.W[l],
    "α is missing before λ W_l": lambda r, l: r.W_new[l] - (1 - r.alpha) * r.lam * r.W[l],
    "λ W_l has the wrong sign": lambda r, l: r.W_new[l] + 2 * r.alpha * r.lam * r.W[l],
}
"""By method and quantity; those of "" are looked for with every method."""


def slips(method: str, quantity: str) -> Iterator[tuple[str, Slip]]:
    """What may have been done to get a quantity wrong, and what each would give."""
    yield from SLIPS.get((method, quantity), {}).items()
    if method not in ("", "batch norm"):  # whose σ_l is not alone between A_l and Z_l
        yield from SLIPS.get(("", quantity), {}).items()
