"""scikit-learn 1.7 or later: the backward pass by which MLPRegressor and MLPClassifier learn."""

from sklearn.neural_network import MLPClassifier, MLPRegressor

from conformance import Convention


class Sklearn:
    activations = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
    losses = {"mean_squared_error": "identity", "cross_entropy": "softmax"}
    losses |= {"binary_cross_entropy": "sigmoid"}
    mixed = False  # one σ for all hidden layers
    returns, half = ("Z", "delta", "dW", "db"), {"mean_squared_error": "half"}
    convention = Convention(scale=half, example_delta=True, returns=returns)

    def run(self, p):
        hidden = self.activations.get(p.sigma[0], "identity")  # a layer alone has none
        mlp = (MLPRegressor if p.loss in self.half else MLPClassifier)(alpha=0)
        mlp.set_params(activation=hidden).n_layers_ = len(p.sizes)
        mlp.out_activation_ = self.activations.get(p.sigma[-1], p.sigma[-1])
        mlp.coefs_, mlp.intercepts_ = p.W, p.b
        Z, delta, dW, db = ([None] * len(p.W) for _ in range(4))
        mlp._backprop(p.X, p.Y, None, Z := [p.X, *Z], delta, dW, db)
        return Z, delta, dW, db
