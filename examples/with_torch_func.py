"""torch.func: a pure function, differentiated in W_l and in zeros added to A_l, which gives δ_l."""

import torch

from conformance import NotRunError, Trace

SIGMA = {s: getattr(torch, s) for s in ("celu", "relu", "selu", "sigmoid", "sin", "tanh")}
SIGMA |= {s: getattr(torch.nn.functional, s) for s in ("elu", "gelu", "mish", "silu", "softplus")}
SIGMA, LOSS = SIGMA | {"identity": torch.clone}, {"mean_squared_error": torch.square}


class TorchFunc:
    name, like = "torch.func", "torch-cpu"  # the σ are torch's: so are its known differences

    def run(self, problem):
        if unknown := {*problem.sigma.values(), problem.loss} - {*SIGMA, *LOSS}:
            raise NotRunError(f"this adapter has no {min(unknown)}.")
        X, Y, *W = map(torch.tensor, (problem.X, problem.Y, *problem.W.values()))
        one, taps = X.new_ones(len(X), problem.bias), [X.new_zeros(len(X), M.shape[1]) for M in W]

        def network(W, taps):
            A, Z = [], [X]
            for W_l, tap, s in zip(W, taps, problem.sigma.values(), strict=True):
                A.append(torch.hstack([Z[-1], one]) @ W_l + tap)
                Z.append(SIGMA[s](A[-1]))
            return LOSS[problem.loss](Z[-1] - Y).sum() / len(X), (A, Z[1:])

        by, (loss, (A, Z)) = torch.func.grad_and_value(network, (0, 1), has_aux=True)(W, taps)
        A, Z, dW, delta = ({l: M.numpy() for l, M in enumerate(of, 1)} for of in (A, Z, *by))
        return Trace(A, Z, delta, dW, loss=loss.numpy())
