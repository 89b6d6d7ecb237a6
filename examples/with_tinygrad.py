"""tinygrad: Tensor.gradient in W_l, and in A_l itself for δ_l."""

import os

os.environ.setdefault("DEV", "PYTHON")  # tinygrad's interpreter; DEV=CPU needs a clang
from tinygrad import Tensor

from conformance import NotRunError, Trace


class Tinygrad:
    name, sigma = "tinygrad", ("relu", "softsign")  # and identity; the others are in `Everything`

    def run(self, p):
        if unknown := {*p.sigma.values(), p.loss} - {*self.sigma, "identity", "mean_squared_error"}:
            raise NotRunError(f"this adapter has no {min(unknown)}: see docs/implementations.md.")
        (X, Y, *W), A, Z = map(Tensor, (p.X, p.Y, *p.W.values())), [], []
        for l, s in p.sigma.items():
            Z_1 = Z[-1] if Z else X
            A.append((Z_1.cat(Z_1[:, :1] * 0 + 1, dim=1) if p.bias else Z_1) @ W[l - 1])
            Z.append(getattr(A[-1], s)() if s != "identity" else A[-1] * 1)
        by = (Z[-1] - Y).square().sum().div(len(p.X)).gradient(*A, *W)
        Tensor.realize(*A, *Z, *by)
        layers = ({l: next(of).numpy() for l in p.W} for of in [iter((*A, *Z, *by))] * 4)
        return Trace(*layers)


class Everything(Tinygrad):
    """With those σ of tinygrad's that are less accurate than their dtype, or wrong."""
    sigma = ("sigmoid", "tanh", ...)
