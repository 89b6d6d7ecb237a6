"""Backward passes that are wrong, each in one way: a right one of `right_functions.py`, with a piece of its
text put in place of another.

A row: the function, what is written there, what is written instead, and a regular expression that the name of
the mistake, or a finding, must match; "" where no name is expected.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from typing import Any, NamedTuple

import right_functions
from right_functions import RIGHT

__all__ = ["WRONG", "Wrong", "planted"]


class Wrong(NamedTuple):
    function: str
    text: str
    instead: str
    like: str


def planted(row: Wrong) -> Callable[..., Any]:
    """The backward pass with the mistake in it."""
    backward = RIGHT[row.function].backward
    text = inspect.getsource(backward)
    text = text[text.index("def ") :]
    assert text.count(row.text) == 1, (row.function, row.text, text.count(row.text))
    text = text.replace(row.text, row.instead)
    file = f"<{row.function}: {row.instead}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    names = dict(vars(right_functions))
    exec(compile(text, file, "exec"), names)
    found: Callable[..., Any] = names[backward.__name__]
    return found


WRONG = [Wrong(*row) for row in [
    # the mean and the variance
    ("layer_norm", "dh - dh.sum(-1, keepdims=True) / n - h", "dh - h", r"mean.*m = .*missing"),
    ("layer_norm", " - h * (dh * h).sum(-1, keepdims=True) / n", "", r"mean.*v = .*missing"),
    ("layer_norm", "dh - dh.sum(-1, keepdims=True) / n - h", "dh - 2 * dh.sum(-1, keepdims=True) / n - h", r"mean.*twice"),
    ("layer_norm", " - h * (dh", " - 2 * h * (dh", r"var.*twice"),
    ("layer_norm", " - h * (dh", " + h * (dh", r"var.*other sign"),
    ("layer_norm", "(dy * h).sum(0)", "dy * h", r"∂g.*not summed.*axis 0"),
    ("layer_norm", "db = dy.sum(0)", "db = dy.sum(1)", r"∂b.*(axis|shape)"),
    ("layer_norm", "db = dy.sum(0)", "db = dy", r"∂b.*not summed.*axis 0"),
    ("layer_norm", "dh = dy * g", "dh = dy", r"factor g.*forgotten"),
    ("layer_norm", " / s\n    return", " * s\n    return", r"∂x|sqrt"),
    ("layer_norm", "mean(-1, keepdims=True) + eps)", "mean(-1, keepdims=True))", r"ε|eps|1 . "),
    ("layer_norm", "(d * d).mean(-1, keepdims=True)", "(d * d).sum(-1, keepdims=True) / (n - 1)", r"∂"),
    ("layer_norm", "db = dy.sum(0)", "db = dy.mean(0)", r"∂b.*1/.*axis"),
    ("layer_norm", "keepdims=True) / n) / s", "keepdims=True)) / s", r"var.*times|n"),
    ("layer_norm", "dh.sum(-1, keepdims=True)", "dh.sum(0, keepdims=True)", r"mean.*axis"),
    ("layer_norm", "return dx, dg, db", "return dx, db, dg", r"∂b and ∂g.*other's place"),
    ("layer_norm", "    n = x.shape[-1]\n", "    n = x.shape[-1] - 1\n", ""),
    ("layer_norm_saved", "range(N)", "range(N - 1)", r"last element.*axis 0 does not count"),
    ("layer_norm_saved", "range(N)", "range(1, N)", r"first element.*axis 0 does not count"),
    ("layer_norm_saved", " + c2", "", r"mean.*missing"),
    ("layer_norm_saved", "dg += dout[i] * xhat[i]", "dg = dout[i] * xhat[i]", r"∂g.*last"),
    ("layer_norm_saved", "wdy = g * dout[i]", "wdy = dout[i]", r"g \*"),
    ("rms_norm", " - x * r**3 * dot", "", r"ms =.*missing|r =.*missing"),
    ("rms_norm", "r**3", "r**2", r"r = |ms = "),
    ("rms_norm", "dxh = dy * g", "dxh = dy", r"g.*(taken for 1|forgotten)"),
    ("rms_norm", "dxh * x, axis=-1", "dxh * x, axis=0", r"ms.*axis"),
    ("rms_norm", "dot = np.mean(", "dot = np.sum(", r"ms.*times|ms ="),
    ("rms_norm", "dy * x * r, axis=0", "dy * x, axis=0", r"∂g|r\b"),
    ("rms_norm", "r * dxh - x", "r * dxh + x", r"(ms|r) =.*other sign"),
    ("group_norm", '"nct,nct->c", dy, xhat', '"nct,nct->c", dy, x', r"∂g|computed from x"),
    ("group_norm", "dh - mean_dh - h", "dh - h", r"m = .*missing"),
    ("group_norm", " - h * mean_dh_h", "", r"v = .*missing"),
    ("group_norm", "mean_dh = dh.mean(axis=2, keepdims=True)", "mean_dh = dh.mean(axis=1, keepdims=True)", r"m = .*axis"),
    ("group_norm", "dx = inv * (", "dx = (", r"∂x|v \+ eps"),
    ("batch_norm", "dx = dxc - dmu / N", "dx = dxc", r"mu = .*missing"),
    ("batch_norm", "    dxc += (2.0 / N) * xc * dvar\n", "", r"var.*missing"),
    ("batch_norm", "(2.0 / N)", "(1.0 / N)", r"var.*(half|0\.5)"),
    ("batch_norm", "0.5 * dstd / std", "0.5 * dstd / var", r"std = |sqrt"),
    ("batch_norm", "-np.sum((dxn", "np.sum((dxn", r"std.*other sign"),
    ("batch_norm", "dgamma = np.sum(xn * dout, axis=0)", "dgamma = np.sum(xn * dout, axis=1)", r"∂gamma.*(axis|shape)"),
    ("batch_norm", "dxn = gamma * dout", "dxn = dout", r"gamma \*"),
    ("instance_norm", "dy - dy.mean(axis=axes, keepdims=True) - h", "dy - h", r"m = .*missing"),
    ("instance_norm", "axes = (2, 3)", "axes = (3,)", ""),
    ("l2_normalize", " - y * np.sum(dy * y, axis=1, keepdims=True)", "", r"n = .*missing"),
    ("l2_normalize", "(dy - y", "(dy + y", r"n = .*other sign"),
    ("l2_normalize", "dy * y, axis=1", "dy * y, axis=0", r"n = .*axis"),
    ("l2_normalize", "dy - y * np.sum(dy * y", "dy - x * np.sum(dy * x", r"n = "),
    # softmax and losses
    ("softmax", "- p @ p.T", "", r"sum.*missing"),
    ("softmax", "np.diagflat(p) - p @ p.T", "np.diagflat(p * (1 - p))", r"sum.*(each element for itself|elementwise)"),
    ("softmax", "np.diagflat(p)", "np.eye(len(p))", r"exp|taken for 1|∂x"),
    ("softmax", "range(y.shape[0])", "range(y.shape[0] - 1)", r"last element.*does not count"),
    ("softmax", "J @ dy[i]", "J @ dy[0]", r"first element.*counts for all"),
    ("log_softmax", "dy - np.exp(y) * dy.sum(axis=1, keepdims=True)", "dy - np.exp(y) * dy", r"sum|each element"),
    ("log_softmax", "np.exp(y) * dy.sum(axis=1, keepdims=True)", "y * dy.sum(axis=1, keepdims=True)", ""),
    ("log_softmax", "dy.sum(axis=1, keepdims=True)", "dy.sum(axis=0, keepdims=True)", r"axis"),
    ("logsumexp", " * p", "", r"∂x|shape"),
    ("logsumexp", "e.sum(axis=-1, keepdims=True)", "e.sum(axis=0, keepdims=True)", ""),
    ("cross_entropy", "dy * p / n", "dy * p", r"size of an axis.*everywhere"),
    ("cross_entropy", "    p[np.arange(n), t] -= 1\n", "", r"z = z - .*missing"),
    ("cross_entropy", "-= 1", "+= 1", r"other sign"),
    ("cross_entropy", "dy * p / n", "p / n", r"cotangent"),
    ("cross_entropy", "p[np.arange(n), t]", "p[np.arange(n), t - 1]", ""),
    ("cross_entropy_one_hot", " * t.sum(axis=-1, keepdims=True)", " * 2", r"twice"),
    ("cross_entropy_one_hot", "(p * t.sum(axis=-1, keepdims=True) - t)", "p * (p - t)", ""),
    ("cross_entropy_one_hot", "/ len(z)", "/ z.size", r"1/.*size of an axis"),
    ("label_smoothing", "    p -= a / k\n", "", ""),
    ("label_smoothing", "-= 1 - a", "-= 1", ""),
    ("ignore_index", "    p[~keep] = 0\n", "", r"keep"),
    ("ignore_index", "/ int(count)", "/ len(t)", r"∂z.*times"),
    ("ignore_index", "dy * p / int(count)", "dy * p", r"count|∂z.*times"),
    ("mse", "2 * (x - t)", "(x - t)", r"0\.5|½|half"),
    ("mse", "return dy * d, -dy * d", "return dy * d, dy * d", r"∂t has the other sign"),
    ("mse", "/ x.size", "/ len(x)", r"size of an axis"),
    ("huber", "np.clip(r, -delta, delta)", "r", r"delta"),
    ("huber", "return dx, -dx", "return dx, dx", r"∂t.*other sign"),
    ("huber", "np.clip(r, -delta, delta)", "np.clip(r, 0, delta)", r"∂|abs|negative|0 in"),
    ("bce_logits", "(expit(z) - t)", "expit(z)", r"z \* t.*missing|missing"),
    ("bce_logits", "expit(z) - t", "np.tanh(z) - t", ""),
    ("bce_logits", "/ z.size", "", r"size of an array"),
    ("hinge", "c = -(s", "c = (s", r"other sign"),
    ("hinge", "s * (x @ w) < 1", "s * (x @ w) < 0", r"maximum"),
    ("hinge", "-(s * active) / len(t)", "-s / len(t)", r"maximum.*taken for 1"),
    ("hinge", "np.outer(c, w)", "np.outer(c * s, w)", r"∂x.*times the constant array"),
    ("kl_div", "(np.log(q) + 1 - logp)", "(np.log(q) - logp)", r"log\(q\).*missing"),
    ("kl_div", "-dy * q / n", "-dy * np.ones_like(q) / n", r"∂logp.*divided by q"),
    ("triplet", "return gp - gn,", "return gp + gn,", r"n.*other sign"),
    ("triplet", "return gp - gn,", "return gp,", r"n.*missing"),
    ("triplet", "+ margin > 0", "> 0", r"maximum|margin"),
    ("triplet", "(on / dp)", "on", r"dp = |sqrt"),
    ("cosine_similarity", " - c * a / na**2", "", r"na = .*missing"),
    ("cosine_similarity", "c * b / nb**2", "c * b / nb", r"nb"),
    ("cosine_similarity", "return da, db", "return db, da", r"∂b and ∂a.*other's place"),
    # activations
    ("silu", "+ x * s * (1 - s)", "+ s * (1 - s)", r"expit.*taken|sigmoid|x \*"),
    ("silu", " + x * s * (1 - s)", "", r"(sigmoid|expit).*missing"),
    ("silu", "(s + x", "(x", r"missing"),
    ("silu", "np.exp(-x)", "np.exp(x)", ""),
    ("gelu_tanh", "(1 + 3 * 0.044715 * x**2)", "1", r"x\*\*3.*missing"),
    ("gelu_tanh", "3 * 0.044715", "0.044715", r"x\*\*3"),
    ("gelu_tanh", "0.5 * (1 + th) + ", "", r"missing"),
    ("gelu_tanh", "1 - th * th", "1 - np.tanh(th) ** 2", r"tanh.*output|tanh"),
    ("prelu", "da = np.where(neg, dy * x, 0).sum(axis=0)", "da = np.where(neg, dy * x, 0)", r"∂a.*not summed"),
    ("prelu", "np.where(neg, dy * x, 0)", "np.where(neg, dy, 0)", r"a \* x"),
    ("prelu", "x <= 0", "x < -1", r"where|∂"),
    ("swish_beta", "s + beta * x * ds", "s + x * ds", r"beta"),
    ("swish_beta", "dy * x * x * ds", "dy * x * ds", r"∂beta|beta"),
    ("snake", "dy * (1 + 2 * s * c)", "dy * (1 + s * c)", r"\*\* 2|sin"),
    ("snake", " - s**2 / a**2", "", r"/ a.*missing"),
    # layers
    ("linear", "dW = x.T @ dy", "dW = dy.T @ x", r"∂W.*transpose"),
    ("linear", "dy @ W.T", "x @ W @ W.T", ""),
    ("linear", "db = dy.sum(axis=0)", "db = np.zeros(3)", r"∂b is 0"),
    ("linear", "db = dy.sum(axis=0)", "db = dy[:-1].sum(axis=0)", r"last element.*does not count"),
    ("linear", "dW = x.T @ dy", "dW = (x.astype(np.float32).T @ dy.astype(np.float32)).astype(x.dtype)", r"float32"),
    ("linear", "dW = x.T @ dy", "dW = x.T @ dy / len(x)", r"∂W.*1/4"),
    ("mlp", " * (z > 0)", "", r"maximum.*taken for 1"),
    ("mlp", "(z > 0)", "(dh > 0)", ""),
    ("mlp", "db2 = dy.sum(0)", "db2 = dy.sum(0) * 2", r"∂b2.*2"),
    ("mlp", "dW1 = x.T @ dz", "dW1 = x.T @ dh", r"∂W1|maximum"),
    ("swiglu", " + db @ V.T", "", r"b = x @ V.*missing"),
    ("swiglu", "db = dy * silu", "db = dy * s", r"∂|a \*"),
    ("swiglu", "s + silu * (1 - s)", "s + silu * (1 - silu)", ""),
    ("swiglu", "s + silu * (1 - s)", "s + s * (1 - s)", r"factor .* is forgotten in the gradient of the product .*expit"),
    ("geglu", " + a * phi", "", r"erf.*missing"),
    ("geglu", "/ (2 * np.pi) ** 0.5", "/ np.pi ** 0.5", r"factor 1.41421 is forgotten.*erf"),
    ("geglu", "np.exp(-0.5 * a * a)", "np.exp(-a * a)", r"erf"),
    ("embedding", "np.add.at(dE, ids, dy)", "dE[ids] += dy", r"more than once|repeated"),
    ("embedding", "np.add.at(dE, ids, dy)", "dE[ids] = dy", r"more than once|repeated"),
    ("dropout", "dy * keep / (1 - p)", "dy / (1 - p)", r"where|keep"),
    ("dropout", "dy * keep / (1 - p)", "dy * keep", r"0\.5"),
    ("dropout", "dy * keep", "dy * ~keep", r"where|keep"),
    ("dropout", "dy * keep", "dy * np.roll(keep, 1, axis=1)", r"where|keep"),
    ("bilinear", '"bk,kij,bj->bi", dout, W, y', '"bk,kij,bi->bj", dout, W, x', r"∂x"),
    ("bilinear", "dy = np.einsum", "dy = 2 * np.einsum", r"∂y is 2"),
    ("outer", "return dy @ b, dy.T @ a", "return dy.sum(1), dy.T @ a", r"\bb\b|outer"),
    ("cumsum", "np.flip(np.cumsum(np.flip(dy, axis=1), axis=1), axis=1)", "np.cumsum(dy, axis=1)", r"cumsum.*(direction|order|transpose)|order"),
    ("cumsum", "np.flip(np.cumsum(np.flip(dy, axis=1), axis=1), axis=1)", "dy", r"cumsum.*taken for 1"),
    # convolution and pooling
    ("conv1d", "dx[:, :, t : t + K] +=", "dx[:, :, t : t + K] =", r"∂x"),
    ("conv1d", "range(dy.shape[2])", "range(dy.shape[2] - 1)", r"tensordot.*missing"),
    ("conv1d", "dy[:, :, t], w, axes", "dy[:, :, t], w[:, :, ::-1], axes", r"flip"),
    ("conv1d", "db = dy.sum(axis=(0, 2))", "db = dy.sum(axis=0).mean(axis=1)", r"∂b is 0.5 times"),
    ("conv2d", "W.reshape(f, -1), xp.shape", "W[:, :, ::-1, ::-1].reshape(f, -1), xp.shape", r"flip"),
    ("conv2d", "dxp[:, :, pad:-pad, pad:-pad]", "dxp", r"∂x: it has shape .*expected"),
    ("conv2d", "dxp[:, :, pad:-pad, pad:-pad]", "dxp[:, :, : -2 * pad, : -2 * pad]", r"shifted by one along axis 2, 3"),
    ("conv2d", "d @ W.reshape(f, -1)", "d @ W.swapaxes(2, 3).reshape(f, -1)", r"transpose|∂x"),
    ("max_pool", "dx[b, 2 * i + r, 2 * j + c] += dy[b, i, j]", "dx[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = (win == win.max()) * dy[b, 0, 0]", ""),
    ("max_pool", "dx[b, 2 * i + r, 2 * j + c] += dy[b, i, j]", "dx[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = dy[b, i, j]", r"smallest|maximum"),
    ("max_pool", "range(w // 2)", "range(w // 2 - 1)", r"last element.*axis 2 does not count"),
    ("max_pool", "win.argmax()", "win.argmin()", r"smallest|maximum"),
    ("avg_pool", "/ 4", "/ 2", r"∂x is 2 times"),
    ("avg_pool", "np.repeat(np.repeat(dy, 2, axis=1), 2, axis=2)", "np.tile(dy, (1, 2, 2))", r"∂x has the right numbers in other places"),
    ("minmax_scale", "dlo = -dy.sum(axis=1) / d[:, 0] - dhi", "dlo = -dy.sum(axis=1) / d[:, 0]", r"hi - lo|lo = |lo.*missing"),
    ("minmax_scale", "    np.add.at(dx, (rows, x.argmax(axis=1)), dhi)\n", "", r"hi = .*missing"),
    ("minmax_scale", "x.argmin(axis=1)), dlo", "x.argmax(axis=1)), dlo", r"lo = .*smallest"),
    # attention and recurrence
    ("attention", "ds @ k * scale", "ds @ k", r"√3|sqrt\(d\)"),
    ("attention", "dp - (dp * p).sum(-1, keepdims=True)", "dp * (1 - p)", r"sum.*(each element|elementwise)"),
    ("attention", "ds = p * (dp - (dp * p).sum(-1, keepdims=True))", "ds = p * dp", r"sum.*missing"),
    ("attention", "np.tril(np.ones((T, T), bool))", "np.ones((T, T), bool)", r"mask"),
    ("attention", "np.tril(np.ones((T, T), bool))", "np.tril(np.ones((T, T), bool), 1)", r"mask"),
    ("attention", "dv = p.swapaxes(-1, -2) @ dy", "dv = p @ dy", r"p @ v.*transposed|transpose"),
    ("attention", "dk = ds.swapaxes(-1, -2) @ q", "dk = ds @ q", r"transpose"),
    ("rotary", "a * cos + b * sin", "a * cos - b * sin", r"b \* sin|a \* sin|other sign"),
    ("rotary", "b * cos - a * sin", "b * cos", r"missing"),
    ("rnn", "range(T)):", "range(1, T)):", r"∂"),
    ("rnn", "        dh = dz @ Wh.T\n", "        dh = 0 * dh\n", r"h @ Wh.*missing"),
    ("rnn", "1 - hs[t + 1] ** 2", "1 - np.tanh(hs[t + 1]) ** 2", r"tanh"),
    ("rnn", "1 - hs[t + 1] ** 2", "1 - hs[t] ** 2", ""),
    ("rnn", "dWh += hs[t].T @ dz", "dWh += hs[t + 1].T @ dz", ""),
    ("rnn", "dWx += x[:, t].T @ dz", "dWx = x[:, t].T @ dz", r"first time that the line runs counts alone"),
    ("lstm_cell", "do * o * (1 - o)", "do * o", r"expit\(o\)"),
    ("lstm_cell", " + dh * o * (1 - tc**2)", "", r"c = f \* c.*missing"),
    ("lstm_cell", "dc * i * (1 - g**2)", "dc * i * (1 - g)", r"tanh\(g\)"),
    ("lstm_cell", "dc * f,", "dc,", r"f \* c"),
    # what is left behind, and what changes
    ("linear", "    dx = dy @ W.T\n", "    dx = dy @ W.T\n    x *= 2\n", r"writes to its input x|∂W"),
    ("mse", "    d = 2", "    dy = np.float64(dy) if mse_vjp.__dict__.setdefault('n', []).append(1) else dy * len(mse_vjp.n)\n    d = 2", r"second call|times"),
    ("silu", "    s = 1", "    global last\n    last, x = x, globals().get('last', x)\n    x = np.broadcast_to(x, dy.shape) if x.shape == dy.shape else 0 * dy\n    s = 1", r"second call|∂x"),
]]  # fmt: skip
