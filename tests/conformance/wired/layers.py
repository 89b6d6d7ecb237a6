"""Layers that keep their gradients, integer labels, softmax with its cross entropy."""

import numpy as np


class Dense:
    def __init__(self, a, b):
        self.weights, self.bias = np.random.randn(a, b) * 0.1, np.zeros(b)

    def forward(self, x):
        self.x = x
        return x @ self.weights + self.bias

    def backward(self, g):
        self.grad_weights, self.grad_bias = self.x.T @ g, g.sum(0)
        return g @ self.weights.T


class Tanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, g):
        return g * (1 - self.y**2)


class Net:
    def __init__(self, sizes):
        self.layers = []
        for a, b in zip(sizes, sizes[1:]):
            self.layers += [Dense(a, b), Tanh()]
        self.layers.pop()

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        e = np.exp(x - x.max(1, keepdims=True))
        self.p = e / e.sum(1, keepdims=True)
        return self.p

    def backward(self, y):
        g = self.p.copy()
        g[np.arange(len(y)), y] -= 1
        g /= len(y)
        for layer in reversed(self.layers):
            g = layer.backward(g)
