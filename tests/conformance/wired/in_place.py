"""Rows, attributes W1 and W2 that the backward pass updates, the sum of halves of squares."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class NeuralNetwork:
    def __init__(self, input_size, hidden_size, output_size):
        self.W1 = np.random.randn(input_size, hidden_size)
        self.b1 = np.zeros((1, hidden_size))
        self.W2 = np.random.randn(hidden_size, output_size)
        self.b2 = np.zeros((1, output_size))

    def forward(self, X):
        self.z1 = X @ self.W1 + self.b1
        self.a1 = sigmoid(self.z1)
        self.a2 = sigmoid(self.a1 @ self.W2 + self.b2)
        return self.a2

    def slope(self):
        return self.a1 * (1 - self.a1)

    def backward(self, X, y, output, learning_rate):
        d2 = (output - y) * output * (1 - output)
        d1 = d2 @ self.W2.T * self.slope()
        self.W2 -= learning_rate * self.a1.T @ d2
        self.b2 -= learning_rate * d2.sum(axis=0, keepdims=True)
        self.W1 -= learning_rate * X.T @ d1
        self.b1 -= learning_rate * d1.sum(axis=0, keepdims=True)


class Wrong(NeuralNetwork):
    def slope(self):
        return self.z1 * (1 - self.z1)
