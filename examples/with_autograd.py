"""HIPS/autograd: NumPy's functions, differentiated in W_l and in zeros added to A_l, for δ_l."""

from autograd import grad
from autograd import numpy as np
from autograd.scipy.special import expit

from conformance import NotRunError, Trace

SIGMA = {"identity": lambda a: a, "tanh": np.tanh, "sigmoid": expit, "silu": lambda a: a * expit(a)}
SIGMA |= {"sin": np.sin, "softplus": lambda a: np.logaddexp(0, a), "relu": lambda a: a * (a > 0)}


class Autograd:
    name = "autograd"

    @np.errstate(over="ignore")  # tanh' is 1/cosh², and cosh² may overflow: tanh' is then 0
    def run(self, p):
        if unknown := {*p.sigma.values(), p.loss} - {*SIGMA, "mean_squared_error"}:
            raise NotRunError(f"this adapter has no {min(unknown)}.")

        def network(W, taps, A, Z):
            for l, s in p.sigma.items():
                A[l] = np.hstack([Z[l - 1], np.ones_like(p.X[:, : p.bias])]) @ W[l] + taps[l]
                Z[l] = SIGMA[s](A[l])
            return np.sum(np.square(Z[l] - p.Y)) / len(p.X)  # ** 2 would go back in float64

        loss = network(p.W, dict.fromkeys(p.W, 0), A := {}, Z := {0: p.X})
        taps = {l: np.zeros_like(M) for l, M in A.items()}
        dW, delta = grad(network, (0, 1))(p.W, taps, {}, {0: p.X})
        return Trace(A, {l: Z[l] for l in A}, delta, dW, loss=loss)
