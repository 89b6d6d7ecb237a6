"""Whole networks of small packages, as pip installs them, for `conformance run --implementation`.

Each is asked for what its own gradient is of: the scale and the losses are those of the gradient.
"""

from __future__ import annotations

from typing import Any

from conformance import Convention


class LearnNeuralNet:
    """learnneuralnet 0.1.0: `Sequential`."""

    activations = ("relu", "sigmoid")
    losses = {"mean_squared_error": "identity", "binary_cross_entropy": "sigmoid"}
    convention = Convention()

    def run(self, p: Any) -> dict[str, Any]:
        from nn import Sequential
        from nn.layers import Dense

        net = Sequential()
        for W, b, sigma in zip(p.W, p.b, p.sigma, strict=True):
            layer = Dense(W.shape[1], "linear" if sigma == "identity" else sigma)
            layer.W, layer.b, layer._built = W, b, True
            net.add(layer)
        net.compile("mse" if p.loss == "mean_squared_error" else "bce")
        net._backward(net.loss_fn.gradient(p.Y, net._forward(p.X)))
        return {"dW": [l.dW for l in net.layers], "db": [l.db for l in net.layers]}


class Scratchai:
    """scratchai 0.7.5: `build_model`, which returns nothing but its new weights."""

    activations = ("relu", "sigmoid", "softplus", "tanh")
    losses = {"binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}
    convention = Convention(scale="sum")

    def run(self, p: Any) -> dict[str, Any]:
        from scratchai import build

        names = {"relu": "ReLU", "sigmoid": "Sigmoid", "softplus": "SoftPlus", "tanh": "Tanh"}
        outputs = {"sigmoid": build.SigmoidOutpotLayer, "softmax": build.SoftmaxOutpotLayer}
        layers = [
            build.HiddenLayer(*W.shape, getattr(build, names[sigma]))
            for W, sigma in zip(p.W[:-1], p.sigma, strict=False)
        ]
        layers.append(outputs[p.sigma[-1]](*p.W[-1].shape))
        for layer, W, b in zip(layers, p.W, p.b, strict=True):
            layer.weights, layer.biases = W, b.reshape(1, -1)
        net = build.build_model("NetworkBasedModel", "bce", layers)
        net._backpropagate(p.X, p.Y, p.alpha)
        return {"W_new": [l.weights for l in layers], "b_new": [l.biases for l in layers]}


class NumpyNeuralNetwork:
    """numpy-neural-network 0.1.8: `backward_propagate`, without regularisation."""

    activations = ("sigmoid",)
    losses = {"cross_entropy": "softmax"}
    convention = Convention(transposed=True, labels=True)

    def run(self, p: Any) -> dict[str, Any]:
        from numpy_neural_network import nn

        layers = [nn.DenseLayer(p.sizes[0], 1, "", is_input=True)]
        for W, b, sigma in zip(p.W, p.b, p.sigma, strict=True):
            layer = nn.DenseLayer(*W.shape, sigma)
            layer.weights, layer.bias = W, b.reshape(-1, 1)
            layers.append(layer)
        _, caches = nn.forward_propagate(layers, p.X)
        nn.backward_propagate(layers, p.Y, p.alpha, 0.0, p.sizes[-1], caches)
        Z = [A for A, _ in caches[1:]]
        return {
            "Z": Z,
            "W_new": [l.weights for l in layers[1:]],
            "b_new": [l.bias for l in layers[1:]],
        }
