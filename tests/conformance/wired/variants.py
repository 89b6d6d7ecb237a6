"""Networks that are one network but for one thing: an own convention, or a mistake."""

import numpy as np


class Base:
    """Rows, tanh throughout, the squared error over the examples."""

    def __init__(self, sizes):
        self.weights = [np.random.randn(a, b) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros((1, b)) for b in sizes[1:]]

    def first(self, z, y):
        return 2 * (z - y) / len(y)

    def slope(self, z, last):
        return 1 - z**2

    def below(self, i):
        return self.weights[i]

    def of_bias(self, d):
        return d.sum(axis=0, keepdims=True)

    def _computed(self, X, y):
        Z = [X]
        for w, b in zip(self.weights, self.biases):
            Z.append(self.sigma(Z[-1] @ w + b, len(Z) == len(self.weights)))
        d, gw, gb = self.first(Z[-1], y) * self.slope(Z[-1], True), [], []
        for i in reversed(range(len(self.weights))):
            gw.insert(0, Z[i].T @ d)
            gb.insert(0, self.of_bias(d))
            if i:
                d = d @ self.below(i).T * self.slope(Z[i], False)
        return Z[-1], gw, gb

    def sigma(self, a, last):
        return np.tanh(a)

    def backprop(self, X, y):
        return self._computed(X, y)[1:]


# --- right ----------------------------------------------------------------------------------------


class OverAll(Base):  # numpy.mean of the squares, as Keras and PyTorch have it
    def first(self, z, y):
        return 2 * (z - y) / z.size


class HalfOverAll(Base):
    def first(self, z, y):
        return (z - y) / z.size


class SumsAndUpdates(Base):  # a rate of its own, over a sum
    def backprop(self, X, y):
        _, gw, gb = self._computed(X, y)
        for k in range(len(gw)):
            self.weights[k] = self.weights[k] - 0.1 * len(y) * gw[k]
            self.biases[k] = self.biases[k] - 0.1 * len(y) * gb[k]


class Momentum(Base):
    def __init__(self, sizes):
        super().__init__(sizes)
        self.velocity = [np.zeros_like(w) for w in self.weights]
        self.drift = [np.zeros_like(b) for b in self.biases]

    def backprop(self, X, y):
        _, gw, gb = self._computed(X, y)
        for k in range(len(gw)):
            self.velocity[k] = 0.9 * self.velocity[k] - 0.1 * gw[k]
            self.drift[k] = 0.9 * self.drift[k] - 0.1 * gb[k]
            self.weights[k] = self.weights[k] + self.velocity[k]
            self.biases[k] = self.biases[k] + self.drift[k]


class Single(Base):  # float32, whatever it is given
    def backprop(self, X, y):
        f = np.float32
        self.weights, self.biases = (
            [M.astype(f) for M in of] for of in (self.weights, self.biases)
        )
        return super().backprop(X.astype(f), y.astype(f))


class HalfPromotes(Base):  # float64 in some layers of a float32 network
    def below(self, i):
        return self.weights[i].astype(float)


class OptionalTargets(Base):
    def backprop(self, X, y=None, reg=0.0):
        return super().backprop(X, y)


class Pairs(Base):  # (∂L/∂W_l, ∂L/∂b_l) of each layer
    def backprop(self, X, y):
        return list(zip(*super().backprop(X, y)))


class Named:  # a dict of weights, which are updated
    def __init__(self, sizes):
        self.parameters = {}
        for l, (a, b) in enumerate(zip(sizes, sizes[1:]), 1):
            self.parameters[f"W{l}"] = np.zeros((a, b))
            self.parameters[f"b{l}"] = np.zeros((1, b))

    def train_step(self, X, y, rate):
        own, L = self.parameters, len(self.parameters) // 2
        net = Base([1])
        net.weights = [own[f"W{l}"] for l in range(1, L + 1)]
        net.biases = [own[f"b{l}"] for l in range(1, L + 1)]
        z, gw, gb = net._computed(X, y)
        for l in range(1, L + 1):
            own[f"W{l}"] = own[f"W{l}"] - rate * gw[l - 1]
            own[f"b{l}"] = own[f"b{l}"] - rate * gb[l - 1]
        return ((z - y) ** 2).sum() / len(y)


# --- wrong ----------------------------------------------------------------------------------------


class SlopeAtTheOutput(Base):  # in the layer below the last
    def slope(self, z, last):
        return 1 - z**2 if last else 1 - np.tanh(z) ** 2


class LastWeightsBelow(Base):  # right with two layers
    def below(self, i):
        w = self.weights[i]
        last = self.weights[-1]
        return w if i == len(self.weights) - 1 else w[:, :1] * np.ones_like(w) * last.mean()


class BiasAveraged(Base):
    def of_bias(self, d):
        return d.mean(axis=0, keepdims=True)


class BiasNotSummed(Base):  # and right of one example
    def of_bias(self, d):
        return d


class NoBiasGradient(Base):
    def backprop(self, X, y):
        return self._computed(X, y)[1]


class LossByThree(Base):
    def backprop(self, X, y):
        z, gw, gb = self._computed(X, y)
        return ((z - y) ** 2).sum() / len(y) / 3, gw, gb


class LossOfTheMean(Base):  # and the gradient of the sum
    def backprop(self, X, y):
        z, gw, gb = self._computed(X, y)
        n = len(y)
        return ((z - y) ** 2).sum() / n, [n * g for g in gw], [n * g for g in gb]


class WithoutSlopeAtTheOutput(Base):  # or right, if the cross entropy is meant
    def first(self, z, y):
        return (z - y) / len(y)

    def sigma(self, a, last):
        return 1 / (1 + np.exp(-a)) if last else np.tanh(a)

    def slope(self, z, last):
        return 1 if last else 1 - z**2


class ByThree(Base):  # no scale
    def first(self, z, y):
        return 3 * (z - y) / len(y)


class Asks(Base):
    def __init__(self, sizes):
        input("how many? ")


class Property(Base):  # right, with an attribute that raises
    @property
    def gradient(self):
        raise RuntimeError("not yet")
