"""tinygrad: Tensor.gradient in W_l, and for δ_l in A_l itself."""

import os

os.environ.setdefault("DEV", "PYTHON")  # tinygrad's interpreter, since DEV=CPU needs clang
from tinygrad import Tensor

from conformance import NotRunError, Trace


class Tinygrad:
    name, sigma = "tinygrad", ("identity", "relu", "softsign")  # those as accurate as their dtype

    def run(self, p):
        if unknown := {*p.sigma.values(), p.loss} - {*self.sigma, "mean_squared_error"}:
            raise NotRunError(f"this adapter has no {min(unknown)}.")
        (X, Y, *W), A, Z = map(Tensor, (p.X, p.Y, *p.W.values())), [], []
        for W_l, s in zip(W, p.sigma.values(), strict=True):
            before = Z[-1] if Z else X
            A.append((before.cat(X[:, :1].ones_like(), dim=1) if p.bias else before) @ W_l)
            Z.append(A[-1] if s == "identity" else getattr(A[-1], s)())
        by = ((Z[-1] - Y).square().sum() / len(p.X)).gradient(*A, *W)
        Tensor.realize(*A, *Z, *by)  # all together: else each is computed from X again
        of = iter([M.numpy() for M in (*A, *Z, *by)])  # A, Z, δ and ∂L/∂W, L of each
        return Trace(*({l: next(of) for l in p.W} for _ in range(4)))


class Everything(Tinygrad):  # the others too: docs/implementations.md says what they lose
    sigma = (*Tinygrad.sigma, "elu", "leaky_relu", "relu6", "selu", "sigmoid", "softplus", "tanh")
