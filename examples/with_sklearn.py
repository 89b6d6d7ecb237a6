"""scikit-learn 1.7 and later: the backward pass with which MLPRegressor and MLPClassifier learn."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from conformance import NotRunError, Trace

SIGMA = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
HEADS = {  # σ_L and the loss: its class, its name of σ_L, and our loss over its
    ("identity", "mean_squared_error"): (MLPRegressor, "identity", 2),  # it takes ½(z − y)²
    ("softmax", "cross_entropy"): (MLPClassifier, "softmax", 1),
    ("sigmoid", "binary_cross_entropy"): (MLPClassifier, "logistic", 1),
}


class Sklearn:
    name = "scikit-learn"

    def run(self, p):
        *hidden, last = p.sigma.values()
        if (last, p.loss) not in HEADS or {*hidden} - {*SIGMA} or len({*hidden}) > 1:
            raise NotRunError("one σ of its four in all hidden layers, and three heads, is what it has.")
        kind, out, ours = HEADS[last, p.loss]
        mlp = kind(activation=SIGMA[(hidden or ["identity"])[0]], alpha=0)  # no weight decay
        mlp.n_layers_, mlp.out_activation_, mlp.coefs_ = p.depth + 1, out, [p.weights(l) for l in p.W]
        mlp.intercepts_ = [M[-1] * p.bias for M in p.W.values()]
        Z, (delta, dW, db) = [p.X] + [None] * p.depth, ([None] * p.depth for _ in range(3))
        mlp._backprop(p.X, p.Y, None, Z, delta, dW, db)
        delta = [ours * d / len(p.X) for d in delta]  # its δ_l are of one example, without the 1/n
