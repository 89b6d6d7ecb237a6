"""Equinox: eqx.nn.Linear, by filter_grad."""

import equinox as eqx
import jax

from conformance import Convention

jax.config.update("jax_enable_x64", True)


class Equinox:
    like = "jax-cpu"  # the σ are JAX's: so are its known differences
    activations = ("identity", "relu", "sigmoid", "silu", "softplus", "tanh")
    losses = ["mean_squared_error"]
    convention = Convention(transposed=True, vectors=True, returns=("dW", "db"))

    def run(self, p):
        def loss(layers, Z):
            for layer, s in zip(layers, p.sigma, strict=True):
                Z = getattr(jax.nn, s)(jax.vmap(layer)(Z))
            return ((Z - p.Y) ** 2).sum() / len(p.X)

        made = [eqx.nn.Linear(*M.shape[::-1], key=jax.random.key(0)) for M in p.W]
        own = [M for of in zip(p.W, p.b, strict=True) for M in of]
        layers = eqx.tree_at(jax.tree.leaves, made, own)
        by = eqx.filter_grad(loss)(layers, p.X)
        return [layer.weight for layer in by], [layer.bias for layer in by]
