"""Equinox: eqx.nn.Linear, by filter_grad in its weights and in zeros added to A_l, for δ_l."""

import equinox as eqx
import jax

from conformance import NotRunError, Trace

jax.config.update("jax_enable_x64", True)
SIGMA = {s: getattr(jax.nn, s) for s in ("identity", "relu", "sigmoid", "silu", "softplus", "tanh")}


class Equinox:
    name, like = "equinox", "jax-cpu-jit"  # the σ are JAX's, compiled: so are its known differences

    def run(self, p):
        if unknown := {*p.sigma.values(), p.loss} - {*SIGMA, "mean_squared_error"}:
            raise NotRunError(f"this adapter has no {min(unknown)}.")

        def network(given):
            (W, taps), A, Z = given, {}, {0: p.X}
            for l, s in p.sigma.items():
                new = eqx.nn.Linear(*p.weights(l).shape, p.bias, key=jax.random.key(0))
                parts = [W[l][: new.in_features].T, *W[l][new.in_features :]]  # it keeps W_lᵀ, b_l
                A[l] = jax.vmap(eqx.tree_at(jax.tree.leaves, new, parts))(Z[l - 1]) + taps[l]
                Z[l] = SIGMA[s](A[l])
            return ((Z[l] - p.Y) ** 2).sum() / len(p.X), (A, {l: Z[l] for l in A})

        given = p.W, {l: jax.numpy.zeros((len(p.X), len(W.T)), W.dtype) for l, W in p.W.items()}
        (dW, delta), (A, Z) = eqx.filter_jit(eqx.filter_grad(network, has_aux=True))(given)
        return Trace(*jax.device_get((A, Z, delta, dW)))
