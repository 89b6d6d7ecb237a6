"""torch.func: the gradient of a pure function."""

import torch

from conformance import Convention


class TorchFunc:
    like = "torch-cpu"  # the σ are torch's: so are its known differences
    activations = {s: getattr(torch, s) for s in ("celu", "relu", "selu", "sigmoid", "sin", "tanh")}
    activations |= {s: getattr(torch.nn.functional, s) for s in ("elu", "gelu", "mish", "silu")}
    activations |= {"identity": torch.clone, "softplus": torch.nn.functional.softplus}
    losses, convention = ["mean_squared_error"], Convention(returns=("dW", "db"))

    def run(self, p):
        def loss(W, b, Z):
            for W_l, b_l, s in zip(W, b, p.sigma, strict=True):
                Z = self.activations[s](Z @ W_l + b_l)
            return (Z - torch.tensor(p.Y)).square().sum() / len(p.X)

        W, b = ([torch.tensor(M) for M in of] for of in (p.W, p.b))
        return torch.func.grad(loss, (0, 1))(W, b, torch.tensor(p.X))
