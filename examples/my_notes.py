"""A teacher's own notes, two equations of them: `conformance audit examples/my_notes.py`.

Each is a function of one network, `net`, which has the right W, A, Z, delta, … by layer; what it returns must
equal the right value that `equals` names. The first is right. The second is a slip that is often made: the
derivative is taken at Z_l instead of A_l.
"""

from conformance import equation


@equation(
    id="weight-gradient",
    latex=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = \mathbf{Z}_{l-1}^\top \delta_l",
    equals="dL_dW_l",
    where="Lecture 4, slide 12",
)
def weight_gradient(net):
    """∂L/∂W_l = Z_{l-1}ᵀ δ_l."""
    return net.Z[net.l - 1].T @ net.delta[net.l]


@equation(
    id="hidden-link",
    latex=r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{Z}_l)",
    equals="delta_l",
    only="l < L",
    corrected_latex=r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{A}_l)",
    where="Lecture 4, slide 13",
)
def hidden_link(net):
    """δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ σ'_l(Z_l)."""
    l = net.l
    return (net.delta[l + 1] @ net.W[l + 1].T) * net.sigma[l].derivative(net.Z[l])
