"""As student.py, with one mistake in one line: σ' is taken at the output Z_l instead of at A_l."""


def forward_pass(W, X, sigma):
    """Return (A, Z): A_1 … A_L, and Z_0 … Z_L with Z_0 = X."""
    A, Z = [], [X]
    for W_l, sigma_l in zip(W, sigma, strict=True):
        A.append(Z[-1] @ W_l)
        Z.append(sigma_l(A[-1]))
    return A, Z


def backward_prop(W, A, Z, Y, sigma, loss):
    """Return (delta, dW): δ_1 … δ_L, and ∂L/∂W_1 … ∂L/∂W_L."""
    L = len(W)
    delta = [None] * L
    delta[-1] = loss.gradient(Z[-1], Y) * sigma[-1].derivative(A[-1])
    for l in reversed(range(L - 1)):
        delta[l] = (delta[l + 1] @ W[l + 1].T) * sigma[l].derivative(Z[l + 1])
    return delta, [Z[l].T @ delta[l] for l in range(L)]
