"""scikit-learn 1.7 or later: the backward pass by which MLPRegressor and MLPClassifier learn."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from conformance import NotRunError, Trace

SIGMA = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
HEADS = {"mean_squared_error": ("identity", MLPRegressor, 2)}  # twice, for its loss is ½(z − y)²
HEADS |= {"cross_entropy": ("softmax", MLPClassifier, 1)}
HEADS |= {"binary_cross_entropy": ("sigmoid", MLPClassifier, 1)}


class Sklearn:
    name = "scikit-learn"

    def run(self, p):
        *hidden, last = p.sigma.values()
        out, kind, factor = HEADS.get(p.loss, ("", None, 0))
        if out != last or {*hidden} - {*SIGMA} or len({*hidden}) > 1:
            raise NotRunError("it has three heads, and one of four σ for all hidden layers.")
        mlp = kind(activation=SIGMA[[*hidden, "identity"][0]], alpha=0)  # without weight decay
        mlp.n_layers_, mlp.out_activation_ = p.depth + 1, SIGMA.get(out, out)
        mlp.coefs_ = [p.weights(l) for l in p.W]
        mlp.intercepts_ = [W[-1] * p.bias for W in p.W.values()]  # zeros where p has no bias
        Z, delta, dW, db = ([None] * len(p.W) for _ in range(4))
        mlp._backprop(p.X, p.Y, None, Z := [p.X, *Z], delta, dW, db)
        delta = {l: factor / len(p.X) * delta[l - 1] for l in p.W}  # its δ_l lack the loss's 1/n
        dW = {l: factor * np.vstack([dW[l - 1], db[l - 1]][: 1 + p.bias]) for l in p.W}
        return Trace(Z={l: Z[l] for l in p.W}, delta=delta, dW=dW)
