r"""The printed equations of the course notes that are wrong, or right only sometimes: executable.

One row of `ERRATA` an equation: what is printed and what is right, each as LaTeX and as a function
of the same arguments; where it stands in the notes; the verdict; and exactly when the printed form
holds. `docs/errata.md` shows each one with numbers; the tests show each printed form wrong, and
right where `holds` says so.

⊙ is taken as the notes define it, element by element, so its operands must be of one shape: NumPy's
`*` would stretch a side of length 1, and turn a product that has no meaning into a wrong answer.
Letters as in `single_example.py` (columns) for Steps 0 to 2c, and as in `algorithm.py` (one example
a row) for the procedures.

>>> erratum = ERRATA["delta-weights"]
>>> erratum.where
'BACKWARDPROP, the line of δ_l'
>>> print(erratum.printed_form)
\delta_l \leftarrow (\delta_{l+1} \mathbf{W}_l^\top) \odot \sigma'_l(\mathbf{A}_l)
>>> print(erratum.corrected_form)
\delta_l \leftarrow (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{A}_l)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refbp.activations import Activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.bias import with_constant_units
from refbp.types import Array, InputError, Layers, LossFunction, Transition

__all__ = ["ERRATA", "Erratum", "hadamard"]


@dataclass(frozen=True)
class Erratum:
    """One printed equation, and the right one in its place.

    `where` names the place in the notes; `holds` says exactly when the printed form is right; `source` is a
    file of refbp and the line in it that computes the corrected form.
    """

    id: str
    where: str
    printed_form: str
    verdict: str
    holds: str
    corrected_form: str
    source: tuple[str, str]
    printed: Callable[..., Any]
    corrected: Callable[..., Any]


def hadamard(P: Array, Q: Array) -> Array:
    """P ⊙ Q, element by element. Raises `InputError` if the shapes differ."""
    if P.shape != Q.shape:
        raise InputError(f"⊙ has the shapes {P.shape} and {Q.shape}; expected one shape.")
    product: Array = P * Q
    return product


# ---- Step 0 ------------------------------------------------------------------------------------


def printed_weights_of_one_example(W_l: Array, z_before: Array) -> Array:
    """a_l = W_l z_{l-1}, with the W_l ∈ R^{d_{l-1}×d_l} that the notes assume."""
    return W_l @ z_before


def corrected_weights_of_one_example(W_l: Array, z_before: Array) -> Array:
    """a_l = W_lᵀ z_{l-1}."""
    return W_l.T @ z_before


def printed_bias_absorbed(
    W_tilde: Mapping[int, Array], X_tilde: Array, sigma: Mapping[int, Transition]
) -> Array:
    """h(x) with b in W, and every σ_l applied to all units, the constant one too."""
    return forward_pass(W_tilde, X_tilde, sigma)[1][len(W_tilde)]


def corrected_bias_absorbed(
    W_tilde: Mapping[int, Array], X_tilde: Array, sigma: Mapping[int, Transition]
) -> Array:
    """h(x) with b in W, and the constant unit of every hidden layer kept at 1."""
    return forward_pass(W_tilde, X_tilde, with_constant_units(sigma))[1][len(W_tilde)]


def printed_forward_returns(
    W: Mapping[int, Array], X: Array, sigma: Mapping[int, Transition]
) -> Array:
    """return Z_L."""
    return forward_pass(W, X, sigma)[1][len(W)]


def corrected_forward_returns(
    W: Mapping[int, Array], X: Array, sigma: Mapping[int, Transition]
) -> tuple[Layers, Layers]:
    """return {A_1, …, A_L}, {Z_0, …, Z_L}."""
    return forward_pass(W, X, sigma)


# ---- Step 1 ------------------------------------------------------------------------------------


def printed_loss_of_one_output(Z: Array, Y: Array) -> Array:
    """1/n Σ_i (h(x_i) − y_i)²: the square of a row of d_L numbers is d_L numbers."""
    total: Array = ((Z - Y) ** 2).sum(axis=0)
    return total / len(Z)


def corrected_loss_of_one_output(Z: Array, Y: Array) -> Any:
    """1/n Σ_i ‖h(x_i) − y_i‖²."""
    return ((Z - Y) ** 2).sum() / len(Z)


def printed_targets_in_rn(Z: Array, y: Array) -> Any:
    """1/n Σ (Z_L − y)² with y ∈ R^n: NumPy's n×1 minus n is n×n."""
    return ((Z - y) ** 2).sum() / len(Z)


def corrected_targets_in_rn(Z: Array, y: Array) -> Any:
    """1/n Σ (Z_L − Y)² with Y ∈ R^{n×1}."""
    return ((Z - y.reshape(-1, 1)) ** 2).sum() / len(Z)


# ---- Key Points, Steps 2 and 2a ----------------------------------------------------------------


def printed_weight_gradient(link: Array, z_before: Array) -> Array:
    """∂L/∂W_l = ∂L/∂a_l ⊙ ∂a_l/∂W_l, where ∂a_l/∂W_l = z_{l-1}ᵀ."""
    return hadamard(link, z_before.T)


def corrected_weight_gradient(link: Array, z_before: Array) -> Array:
    """∂L/∂W_l = ∂L/∂a_l z_{l-1}ᵀ."""
    return link @ z_before.T


def printed_chain_rule(link: Array, jacobian: Array) -> Array:
    """∂L/∂a_{l-1} = ∂L/∂a_l ⊙ ∂a_l/∂a_{l-1}."""
    return hadamard(link, jacobian)


def corrected_chain_rule(link: Array, jacobian: Array) -> Array:
    """∂L/∂a_{l-1} = (∂a_l/∂a_{l-1})ᵀ ∂L/∂a_l."""
    return jacobian.T @ link


def printed_update_order(
    W: Mapping[int, Array],
    A: Mapping[int, Array],
    Z: Mapping[int, Array],
    Y: Array,
    sigma: Mapping[int, Transition],
    loss: LossFunction,
    alpha: float,
) -> Layers:
    """Update W_l as soon as ∂L/∂W_l is known, and so before the link that needs the old W_l."""
    L = len(W)
    new = dict(W)
    delta = sigma[L].vjp(A[L], loss.gradient(Z[L], Y))
    for l in range(L, 0, -1):
        new[l] = new[l] - alpha * (Z[l - 1].T @ delta)
        if l > 1:
            delta = sigma[l - 1].vjp(A[l - 1], delta @ new[l].T)
    return new


def corrected_update_order(
    W: Mapping[int, Array],
    A: Mapping[int, Array],
    Z: Mapping[int, Array],
    Y: Array,
    sigma: Mapping[int, Transition],
    loss: LossFunction,
    alpha: float,
) -> Layers:
    """Every ∂L/∂W_l first, then every update."""
    _, dL_dW = backward_prop(W, A, Z, Y, sigma, loss)
    return update(W, dL_dW, alpha)


def printed_link_of_the_mean(Z: Array, Y: Array, A: Array, sigma: Activation) -> Array:
    """∂L/∂a_L = 2(z_L − y) ⊙ σ'_L(a_L)."""
    return hadamard(2 * (Z - Y), sigma.derivative(A))


def corrected_link_of_the_mean(Z: Array, Y: Array, A: Array, sigma: Activation) -> Array:
    """δ_L = 2/n (Z_L − Y) ⊙ σ'_L(A_L)."""
    return hadamard(2 * (Z - Y) / len(Z), sigma.derivative(A))


def printed_row_wise_link(A: Array, G: Array, sigma: Transition) -> Array:
    """δ_L = ∂L/∂Z_L ⊙ σ'_L(A_L), where σ' is the derivative of each output in the input of the same index."""
    own = np.empty_like(A)
    for j in range(A.shape[1]):
        unit = np.zeros_like(A)
        unit[:, j] = 1
        own[:, j] = sigma.vjp(A, unit)[:, j]
    return hadamard(G, own)


def corrected_row_wise_link(A: Array, G: Array, sigma: Transition) -> Array:
    """δ_L; each row is ∂L/∂z times the Jacobian ∂z/∂a of that row."""
    return sigma.vjp(A, G)


def printed_da_dw(d_l: int, z_before: Array) -> Array:
    """∂a_l/∂W_l = z_{l-1}ᵀ, 1×d_{l-1}."""
    return z_before.T


def corrected_da_dw(d_l: int, z_before: Array) -> Array:
    """∂a_{l,i}/∂W_{l,jk} = [i = j] z_{l-1,k}, d_l×d_l×d_{l-1}."""
    tensor: Array = np.multiply.outer(np.eye(d_l, dtype=int), z_before[:, 0])
    return tensor


# ---- Steps 2b and 2c ---------------------------------------------------------------------------


def printed_da_da(W_l: Array, a_before: Array, sigma_before: Activation) -> Array:
    """∂a_l/∂a_{l-1} = W_l σ'_{l-1}(a_{l-1}), a matrix times a column: d_l×1."""
    return W_l @ sigma_before.derivative(a_before)


def corrected_da_da(W_l: Array, a_before: Array, sigma_before: Activation) -> Array:
    """∂a_l/∂a_{l-1} = W_l diag(σ'_{l-1}(a_{l-1})), d_l×d_{l-1}."""
    jacobian: Array = W_l @ np.diag(sigma_before.derivative(a_before)[:, 0])
    return jacobian


def printed_link(W_l: Array, link: Array, a_before: Array, sigma_before: Activation) -> Array:
    """∂L/∂a_{l-1} = ∂L/∂a_l ⊙ W_l σ'_{l-1}(a_{l-1}), d_l×1."""
    return hadamard(link, W_l @ sigma_before.derivative(a_before))


def corrected_link(W_l: Array, link: Array, a_before: Array, sigma_before: Activation) -> Array:
    """∂L/∂a_{l-1} = (W_lᵀ ∂L/∂a_l) ⊙ σ'_{l-1}(a_{l-1}), d_{l-1}×1."""
    return hadamard(W_l.T @ link, sigma_before.derivative(a_before))


def printed_weight_gradient_below(
    W_l: Array, link: Array, a_before: Array, z_two_before: Array, sigma_before: Activation
) -> Array:
    """∂L/∂W_{l-1} = [∂L/∂a_l ⊙ W_l σ'_{l-1}(a_{l-1})] z_{l-2}ᵀ, d_l×d_{l-2}."""
    return printed_link(W_l, link, a_before, sigma_before) @ z_two_before.T


def corrected_weight_gradient_below(
    W_l: Array, link: Array, a_before: Array, z_two_before: Array, sigma_before: Activation
) -> Array:
    """∂L/∂W_{l-1} = [(W_lᵀ ∂L/∂a_l) ⊙ σ'_{l-1}(a_{l-1})] z_{l-2}ᵀ, d_{l-1}×d_{l-2}."""
    return corrected_link(W_l, link, a_before, sigma_before) @ z_two_before.T


def printed_layers_with_a_link(L: int) -> list[int]:
    """The l that have ∂L/∂a_{l-1} = …: all but the last layer."""
    return list(range(1, L))


def corrected_layers_with_a_link(L: int) -> list[int]:
    """The l that have ∂L/∂a_{l-1} = …: all but the first layer."""
    return list(range(2, L + 1))


# ---- BACKWARDPROP ------------------------------------------------------------------------------


def printed_loop(L: int) -> list[int]:
    """l = (L − 1) : 1, counted up as FORWARD-PASS counts l = 1 : L."""
    return list(range(L - 1, 1 + 1))


def corrected_loop(L: int) -> list[int]:
    """l = L − 1, …, 1, counted down."""
    return list(range(L - 1, 0, -1))


def printed_delta_weights(
    W: Mapping[int, Array], l: int, delta_after: Array, A_l: Array, sigma_l: Activation
) -> Array:
    """δ_l = (δ_{l+1} W_lᵀ) ⊙ σ'_l(A_l)."""
    return hadamard(delta_after @ W[l].T, sigma_l.derivative(A_l))


def corrected_delta_weights(
    W: Mapping[int, Array], l: int, delta_after: Array, A_l: Array, sigma_l: Activation
) -> Array:
    """δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ σ'_l(A_l)."""
    return hadamard(delta_after @ W[l + 1].T, sigma_l.derivative(A_l))


_ROWS = (
    Erratum(
        id="bias-absorbed",
        where="Step 0, “assume b has been absorbed by W”",
        printed_form=r"h(\mathbf{x}) = \sigma_L(\mathbf{W}_L \cdots "
        r"\sigma_2(\mathbf{W}_2 \sigma_1(\mathbf{W}_1 \mathbf{x})) \cdots)",
        verdict="holds only for one layer: silently wrong with hidden layers",
        holds="for L = 1; the output, but not the gradient, also where every hidden σ_l(1) = 1",
        corrected_form=r"h(\mathbf{x}) = \sigma_L(\mathbf{W}_L \cdots "
        r"\tilde\sigma_2(\mathbf{W}_2 \tilde\sigma_1(\mathbf{W}_1 \mathbf{x})) \cdots), "
        r"\quad \tilde\sigma_l = \begin{pmatrix} \sigma_l \\ 1 \end{pmatrix}",
        source=("refbp/bias.py", "return with_ones(self.sigma(A[:, :-1]))"),
        printed=printed_bias_absorbed,
        corrected=corrected_bias_absorbed,
    ),
    Erratum(
        id="weight-gradient",
        where="Key Points, first chain rule",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_l} \odot "
        r"\frac{\partial \mathbf{a}_l}{\partial \mathbf{W}_l}",
        verdict="shapes do not fit: ⊙ stands for an outer product",
        holds="for d_l = d_{l-1} = 1; with NumPy's * in place of ⊙ for any column and row",
        corrected_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_l} \mathbf{z}_{l-1}^\top",
        source=("refbp/single_example.py", "return link @ z_before.T"),
        printed=printed_weight_gradient,
        corrected=corrected_weight_gradient,
    ),
    Erratum(
        id="chain-rule",
        where="Key Points, second chain rule; Steps 2b and 2c; as ∂z_4/∂a_4 in Step 2a",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_{l-1}} = "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_l} \odot "
        r"\frac{\partial \mathbf{a}_l}{\partial \mathbf{a}_{l-1}}",
        verdict="shapes do not fit: ⊙ stands for the product with a transposed matrix",
        holds="for d_l = d_{l-1} = 1",
        corrected_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_{l-1}} = "
        r"\left(\frac{\partial \mathbf{a}_l}{\partial \mathbf{a}_{l-1}}\right)^\top "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_l}",
        source=(
            "refbp/single_example.py",
            "return (W_l.T @ link) * sigma_before.derivative(a_before)",
        ),
        printed=printed_chain_rule,
        corrected=corrected_chain_rule,
    ),
    Erratum(
        id="update-order",
        where="Key Points, Step 2 and the title of Step 2a; Step 2c has it right",
        printed_form=r"\mathbf{W}_l \leftarrow \mathbf{W}_l - \alpha "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} "
        r"\text{ before } \frac{\partial \mathcal{L}}{\partial \mathbf{a}_{l-1}}",
        verdict="silently wrong with hidden layers: the link is read off the updated W_l",
        holds="for L = 1 or α = 0",
        corrected_form=r"\mathbf{W}_l \leftarrow \mathbf{W}_l - \alpha "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} "
        r"\text{ after } \frac{\partial \mathcal{L}}{\partial \mathbf{W}_1}",
        source=("refbp/algorithm.py", "return {l: W[l] - alpha * dL_dW[l] for l in W}"),
        printed=printed_update_order,
        corrected=corrected_update_order,
    ),
    Erratum(
        id="weights-of-one-example",
        where="Step 0, from one example to a batch",
        printed_form=r"\mathbf{a}_l = \mathbf{W}_l \mathbf{z}_{l-1}, "
        r"\quad \mathbf{W}_l \in \mathbb{R}^{d_{l-1} \times d_l}",
        verdict="shapes do not fit; silently wrong with square layers",
        holds="where W_l is symmetric, or where W_l is d_l×d_{l-1} as in Step 0 itself",
        corrected_form=r"\mathbf{a}_l = \mathbf{W}_l^\top \mathbf{z}_{l-1}, "
        r"\quad \mathbf{W}_l \in \mathbb{R}^{d_{l-1} \times d_l}",
        source=("refbp/algorithm.py", "A[l] = Z[l - 1] @ W[l]"),
        printed=printed_weights_of_one_example,
        corrected=corrected_weights_of_one_example,
    ),
    Erratum(
        id="forward-returns",
        where="FORWARD-PASS, its last line",
        printed_form=r"\text{return } \mathbf{Z}_L",
        verdict="incomplete: BACKWARDPROP needs every A_l and Z_l",
        holds="where only the output or the loss is wanted",
        corrected_form=r"\text{return } \{\mathbf{A}_1, \dots, \mathbf{A}_L\}, "
        r"\{\mathbf{Z}_0, \dots, \mathbf{Z}_L\}",
        source=("refbp/algorithm.py", "return A, Z"),
        printed=printed_forward_returns,
        corrected=corrected_forward_returns,
    ),
    Erratum(
        id="loss-of-one-output",
        where="Step 1, and the scalar y of Step 2a",
        printed_form=r"\mathcal{L} = \frac{1}{n} \sum_{i=1}^n (h(\mathbf{x}_i) - y_i)^2",
        verdict="holds only for one output",
        holds="for d_L = 1; else it is d_L numbers, and a loss is one",
        corrected_form=r"\mathcal{L} = \frac{1}{n} \sum_{i=1}^n \sum_{j=1}^{d_L} "
        r"(h(\mathbf{x}_i)_j - y_{ij})^2",
        source=("refbp/losses.py", "return _over_batch((Z - Y) ** 2)"),
        printed=printed_loss_of_one_output,
        corrected=corrected_loss_of_one_output,
    ),
    Erratum(
        id="link-of-the-mean",
        where="Step 2a, the link of the last layer",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_4} = "
        r"2(\mathbf{z}_4 - y) \odot \sigma'_4(\mathbf{a}_4)",
        verdict="holds only for n = 1: else n times too large for the loss of Step 1",
        holds="for n = 1",
        corrected_form=r"\delta_L = \frac{2}{n}(\mathbf{Z}_L - \mathbf{Y}) "
        r"\odot \sigma'_L(\mathbf{A}_L)",
        source=("refbp/losses.py", "return 2 * (Z - Y) / len(Z)"),
        printed=printed_link_of_the_mean,
        corrected=corrected_link_of_the_mean,
    ),
    Erratum(
        id="row-wise-link",
        where="Step 2a and BACKWARDPROP, the line of δ_L; Step 0 offers softmax for σ_L",
        printed_form=r"\delta_L \leftarrow \frac{\partial \mathcal{L}}{\partial \mathbf{Z}_L} "
        r"\odot \sigma'_L(\mathbf{A}_L)",
        verdict="holds only for elementwise σ: silently wrong for softmax",
        holds="for elementwise σ_L, and for d_L = 1",
        corrected_form=r"\delta_{L,i} \leftarrow \left(\frac{\partial \mathbf{Z}_{L,i}}"
        r"{\partial \mathbf{A}_{L,i}}\right)^\top "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{Z}_{L,i}} \text{ for each row } i",
        source=("refbp/algorithm.py", "delta[L] = sigma[L].vjp(A[L], loss.gradient(Z[L], Y))"),
        printed=printed_row_wise_link,
        corrected=corrected_row_wise_link,
    ),
    Erratum(
        id="da-dW",
        where="Steps 2a and 2c",
        printed_form=r"\frac{\partial \mathbf{a}_l}{\partial \mathbf{W}_l} = \mathbf{z}_{l-1}^\top",
        verdict="shorthand: the derivative of a vector by a matrix has three indices",
        holds="for d_l = 1; as a shorthand wherever ∂L/∂a_l stands before it",
        corrected_form=r"\frac{\partial a_{l,i}}{\partial W_{l,jk}} = [i = j] \, z_{l-1,k}",
        source=("refbp/algorithm.py", "dL_dW[l + 1] = Z[l].T @ delta[l + 1]"),
        printed=printed_da_dw,
        corrected=corrected_da_dw,
    ),
    Erratum(
        id="da-da",
        where="Steps 2b and 2c",
        printed_form=r"\frac{\partial \mathbf{a}_l}{\partial \mathbf{a}_{l-1}} = "
        r"\mathbf{W}_l \sigma'_{l-1}(\mathbf{a}_{l-1})",
        verdict="shapes do not fit: a column of d_l where a d_l×d_{l-1} matrix is due",
        holds="for d_{l-1} = 1",
        corrected_form=r"\frac{\partial \mathbf{a}_l}{\partial \mathbf{a}_{l-1}} = "
        r"\mathbf{W}_l \, \mathrm{diag}(\sigma'_{l-1}(\mathbf{a}_{l-1}))",
        source=(
            "refbp/single_example.py",
            "return (W_l.T @ link) * sigma_before.derivative(a_before)",
        ),
        printed=printed_da_da,
        corrected=corrected_da_da,
    ),
    Erratum(
        id="link",
        where="Step 2b, the link of the preceding layer",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_3} = "
        r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_4} \odot "
        r"\mathbf{W}_4 \sigma'_3(\mathbf{a}_3)",
        verdict="silently wrong with square layers; else d_4 numbers where d_3 are due",
        holds="where W_4 is diagonal, so for d_3 = d_4 = 1",
        corrected_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_3} = "
        r"\left(\mathbf{W}_4^\top \frac{\partial \mathcal{L}}{\partial \mathbf{a}_4}\right) "
        r"\odot \sigma'_3(\mathbf{a}_3)",
        source=(
            "refbp/single_example.py",
            "return (W_l.T @ link) * sigma_before.derivative(a_before)",
        ),
        printed=printed_link,
        corrected=corrected_link,
    ),
    Erratum(
        id="weight-gradient-below",
        where="Step 2b, the gradient of the preceding layer",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_3} = "
        r"\left[\frac{\partial \mathcal{L}}{\partial \mathbf{a}_4} \odot "
        r"\mathbf{W}_4 \sigma'_3(\mathbf{a}_3)\right] \mathbf{z}_2^\top",
        verdict="silently wrong with square layers, and with one output, where the update "
        "broadcasts it; else shapes do not fit",
        holds="where W_4 is diagonal, so for d_3 = d_4 = 1",
        corrected_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_3} = "
        r"\left[\left(\mathbf{W}_4^\top \frac{\partial \mathcal{L}}{\partial \mathbf{a}_4}\right) "
        r"\odot \sigma'_3(\mathbf{a}_3)\right] \mathbf{z}_2^\top",
        source=(
            "refbp/single_example.py",
            "dL_dW[l - 1] = weight_gradient(link[l - 1], z[l - 2])",
        ),
        printed=printed_weight_gradient_below,
        corrected=corrected_weight_gradient_below,
    ),
    Erratum(
        id="layers-with-a-link",
        where="Step 2c, “for all but the last layer”",
        printed_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_{l-1}} = \cdots "
        r"\text{ for } l = 1, \dots, L - 1",
        verdict="off by one: asks for a link of a_0, and has none of a_{L-1}",
        holds="for L = 1; or where “layer” means the layer l − 1 whose link it is",
        corrected_form=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_{l-1}} = \cdots "
        r"\text{ for } l = 2, \dots, L",
        source=("refbp/single_example.py", "for l in range(L, 1, -1):"),
        printed=printed_layers_with_a_link,
        corrected=corrected_layers_with_a_link,
    ),
    Erratum(
        id="targets-in-rn",
        where="BACKWARDPROP, its last argument",
        printed_form=r"\mathbf{y} \in \mathbb{R}^n",
        verdict="holds only for one output; as a NumPy array silently wrong even then",
        holds="on paper for d_L = 1; as an array of shape (n,) only for n = 1",
        corrected_form=r"\mathbf{Y} \in \mathbb{R}^{n \times d_L}",
        source=("refbp/checks.py", "Y = Y.reshape(-1, 1)"),
        printed=printed_targets_in_rn,
        corrected=corrected_targets_in_rn,
    ),
    Erratum(
        id="loop",
        where="BACKWARDPROP, the line of the loop",
        printed_form=r"\text{for } l = (L - 1) : 1",
        verdict="notation: as FORWARD-PASS uses the colon, it counts up and does nothing for L > 2",
        holds="for L = 2, or read as counting down",
        corrected_form=r"\text{for } l = L - 1, L - 2, \dots, 1",
        source=("refbp/algorithm.py", "for l in range(L - 1, 0, -1):"),
        printed=printed_loop,
        corrected=corrected_loop,
    ),
    Erratum(
        id="delta-weights",
        where="BACKWARDPROP, the line of δ_l",
        printed_form=r"\delta_l \leftarrow (\delta_{l+1} \mathbf{W}_l^\top) "
        r"\odot \sigma'_l(\mathbf{A}_l)",
        verdict="silently wrong with square layers; else shapes do not fit",
        holds="for L = 1, which has no such line, and where W_l = W_{l+1}",
        corrected_form=r"\delta_l \leftarrow (\delta_{l+1} \mathbf{W}_{l+1}^\top) "
        r"\odot \sigma'_l(\mathbf{A}_l)",
        source=(
            "refbp/algorithm.py",
            "delta[l] = sigma[l].vjp(A[l], delta[l + 1] @ W[l + 1].T)",
        ),
        printed=printed_delta_weights,
        corrected=corrected_delta_weights,
    ),
)

ERRATA: dict[str, Erratum] = {row.id: row for row in _ROWS}
"""Every erratum by its id, in the order of the notes."""
