"""tinygrad: Tensor.gradient, in its own interpreter."""

import os

os.environ.setdefault("DEV", "PYTHON")  # since DEV=CPU needs clang
from tinygrad import Tensor

from conformance import Convention


class Tinygrad:
    activations = ("identity", "relu", "softsign")  # those that are as accurate as their dtype
    losses = ["mean_squared_error"]
    convention = Convention(returns=("A", "Z", "delta", "dW", "db"))

    def run(self, p):
        W, b, A, Z, L = [*map(Tensor, p.W)], [*map(Tensor, p.b)], [], [Tensor(p.X)], len(p.W)
        for W_l, b_l, s in zip(W, b, p.sigma, strict=True):
            A.append(Z[-1] @ W_l + b_l)
            Z.append(A[-1] if s == "identity" else getattr(A[-1], s)())
        by = ((Z[-1] - Tensor(p.Y)).square().sum() / len(p.X)).gradient(*A, *W, *b)
        Tensor.realize(*A, *Z, *by)  # all together: else each is computed from X again
        return A, Z, by[:L], by[L : 2 * L], by[2 * L :]


class Everything(Tinygrad):  # the others too: docs/implementations.md says what they lose
    activations = (*Tinygrad.activations, "elu", "leaky_relu", "relu6", "selu")
    activations += ("sigmoid", "softplus", "tanh")
