"""As a well-known course writes it: columns, dicts of parameters and gradients, δ without 1/m."""

import numpy as np


class Model:
    def __init__(self, layer_dims):
        self.L = len(layer_dims) - 1
        self.parameters = {}
        for l in range(1, self.L + 1):
            self.parameters[f"W{l}"] = np.random.randn(layer_dims[l], layer_dims[l - 1])
            self.parameters[f"b{l}"] = np.zeros((layer_dims[l], 1))

    def forward(self, X):
        self.cache = {"A0": X}
        A = X
        for l in range(1, self.L + 1):
            Z = self.parameters[f"W{l}"] @ A + self.parameters[f"b{l}"]
            A = np.maximum(0, Z) if l < self.L else 1 / (1 + np.exp(-Z))
            self.cache[f"Z{l}"], self.cache[f"A{l}"] = Z, A
        return A

    def backward(self, Y):
        m, grads = Y.shape[1], {}
        dZ = self.cache[f"A{self.L}"] - Y
        for l in range(self.L, 0, -1):
            grads[f"dW{l}"] = dZ @ self.cache[f"A{l - 1}"].T / m
            grads[f"db{l}"] = dZ.sum(axis=1, keepdims=True) / m
            grads[f"dZ{l}"] = dZ
            if l > 1:
                dZ = self.parameters[f"W{l}"].T @ dZ * (self.cache[f"Z{l - 1}"] > 0)
        return grads
