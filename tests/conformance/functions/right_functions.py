"""Functions with backward passes written by hand in plain NumPy, as people write them: all are right.

A row of RIGHT is a forward pass, its backward pass, the inputs, and the options of `check_function`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erf, expit

Array = Any


class Right(NamedTuple):
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: str
    options: dict[str, Any]
    loses: str = ""  # which formula loses digits, where one does


RIGHT: dict[str, Right] = {}


def right(inputs: str, loses: str = "", **options: Any) -> Callable[[Any], Any]:
    """Over the backward pass f_vjp of the forward pass f."""

    def add(backward: Any) -> Any:
        name = backward.__name__.removesuffix("_vjp")
        forward = inspect.getmodule(backward).__dict__[name]
        RIGHT[name] = Right(forward, backward, inputs, options, loses)
        return backward

    return add


# --- normalisation --------------------------------------------------------------------------------


def layer_norm(x, g, b, eps=1e-5):
    m = x.mean(-1, keepdims=True)
    v = x.var(-1, keepdims=True)
    h = (x - m) / np.sqrt(v + eps)
    return h * g + b


@right("x=4x6, g=6, b=6")
def layer_norm_vjp(dy, x, g, b, eps=1e-5):
    n = x.shape[-1]
    m = x.mean(-1, keepdims=True)
    d = x - m
    s = np.sqrt((d * d).mean(-1, keepdims=True) + eps)
    h = d / s
    dg = (dy * h).sum(0)
    db = dy.sum(0)
    dh = dy * g
    dx = (dh - dh.sum(-1, keepdims=True) / n - h * (dh * h).sum(-1, keepdims=True) / n) / s
    return dx, dg, db


def layer_norm_saved(x, g, b, eps=1e-5):
    mean = np.mean(x, axis=1)
    centred = x - mean[:, None]
    rstd = 1.0 / np.sqrt(np.mean(centred**2, axis=1) + eps)
    xhat = centred * rstd[:, None]
    return g * xhat + b, (xhat, rstd, g)


@right("x=4x6, g=6, b=6", takes="saves")
def layer_norm_saved_vjp(dout, cache):
    xhat, rstd, g = cache
    N, D = xhat.shape
    dx = np.empty_like(xhat)
    dg, db = np.zeros_like(g), np.zeros_like(g)
    for i in range(N):
        dg += dout[i] * xhat[i]
        db += dout[i]
        wdy = g * dout[i]
        c1 = np.dot(xhat[i], wdy) / D
        c2 = wdy.sum() / D
        dx[i] = (wdy - (xhat[i] * c1 + c2)) * rstd[i]
    return dx, dg, db


def rms_norm(x, g, eps=1e-6):
    ms = np.mean(x * x, axis=-1, keepdims=True)
    r = 1 / np.sqrt(ms + eps)
    return x * r * g


@right("x=4x6, g=6")
def rms_norm_vjp(dy, x, g, eps=1e-6):
    ms = np.mean(x * x, axis=-1, keepdims=True)
    r = 1 / np.sqrt(ms + eps)
    dxh = dy * g
    dot = np.mean(dxh * x, axis=-1, keepdims=True)
    dx = r * dxh - x * r**3 * dot
    dg = np.sum(dy * x * r, axis=0)
    return dx, dg


def group_norm(x, g, b, groups=2, eps=1e-5):
    N, C, T = x.shape
    h = x.reshape(N, groups, C // groups * T)
    m = h.mean(axis=2, keepdims=True)
    v = ((h - m) ** 2).mean(axis=2, keepdims=True)
    h = (h - m) / np.sqrt(v + eps)
    return h.reshape(N, C, T) * g[None, :, None] + b[None, :, None]


@right("x=3x4x2, g=4, b=4")
def group_norm_vjp(dy, x, g, b, groups=2, eps=1e-5):
    N, C, T = x.shape
    h = x.reshape(N, groups, -1)
    m = h.mean(axis=2, keepdims=True)
    inv = (((h - m) ** 2).mean(axis=2, keepdims=True) + eps) ** -0.5
    h = (h - m) * inv
    xhat = h.reshape(N, C, T)
    dg = np.einsum("nct,nct->c", dy, xhat)
    db = np.einsum("nct->c", dy)
    dh = (dy * g[:, None]).reshape(N, groups, -1)
    mean_dh = dh.mean(axis=2, keepdims=True)
    mean_dh_h = (dh * h).mean(axis=2, keepdims=True)
    dx = inv * (dh - mean_dh - h * mean_dh_h)
    return dx.reshape(N, C, T), dg, db


def batch_norm(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    xc = x - mu
    var = np.mean(xc**2, axis=0)
    std = np.sqrt(var + eps)
    return gamma * (xc / std) + beta


@right("x=6x4, gamma=4, beta=4")
def batch_norm_vjp(dout, x, gamma, beta, eps=1e-5):
    N = len(x)
    mu = np.mean(x, axis=0)
    xc = x - mu
    var = np.mean(xc**2, axis=0)
    std = np.sqrt(var + eps)
    xn = xc / std
    dbeta = dout.sum(axis=0)
    dgamma = np.sum(xn * dout, axis=0)
    dxn = gamma * dout
    dxc = dxn / std
    dstd = -np.sum((dxn * xc) / (std * std), axis=0)
    dvar = 0.5 * dstd / std
    dxc += (2.0 / N) * xc * dvar
    dmu = np.sum(dxc, axis=0)
    dx = dxc - dmu / N
    return dx, dgamma, dbeta


def instance_norm(x, eps=1e-5):
    m = x.mean(axis=(2, 3), keepdims=True)
    s = x.std(axis=(2, 3), keepdims=True)
    return (x - m) / np.sqrt(s**2 + eps)


@right("x=2x2x3x2")
def instance_norm_vjp(dy, x, eps=1e-5):
    axes = (2, 3)
    m = x.mean(axis=axes, keepdims=True)
    inv = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    h = (x - m) * inv
    return inv * (
        dy - dy.mean(axis=axes, keepdims=True) - h * (dy * h).mean(axis=axes, keepdims=True)
    )


def l2_normalize(x, eps=1e-12):
    n = np.sqrt(np.sum(x**2, axis=1, keepdims=True) + eps)
    return x / n


@right("x=4x5")
def l2_normalize_vjp(dy, x, eps=1e-12):
    n = np.sqrt(np.sum(x**2, axis=1, keepdims=True) + eps)
    y = x / n
    return (dy - y * np.sum(dy * y, axis=1, keepdims=True)) / n


# --- softmax and losses ---------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@right("x=4x5", takes="outputs")
def softmax_vjp(dy, y):
    dx = np.zeros_like(y)
    for i in range(y.shape[0]):
        p = y[i].reshape(-1, 1)
        J = np.diagflat(p) - p @ p.T
        dx[i] = J @ dy[i]
    return dx


def log_softmax(x):
    z = x - np.max(x, axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@right("x=4x5", takes="outputs")
def log_softmax_vjp(dy, y):
    return dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def logsumexp(x):
    m = np.max(x, axis=-1)
    return m + np.log(np.sum(np.exp(x - m[..., None]), axis=-1))


@right("x=4x5")
def logsumexp_vjp(dy, x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return dy[:, None] * p


def cross_entropy(z, t):
    n = z.shape[0]
    z = z - z.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -logp[np.arange(n), t].mean()


@right("z=6x4, t=6:int<4")
def cross_entropy_vjp(dy, z, t):
    n = z.shape[0]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(n), t] -= 1
    return dy * p / n, None


def cross_entropy_one_hot(z, t):
    m = z.max(axis=-1, keepdims=True)
    lse = m + np.log(np.exp(z - m).sum(axis=-1, keepdims=True))
    return np.sum(t * (lse - z)) / len(z)


@right("z=5x4, t=5x4:rows", wrt=["z"])
def cross_entropy_one_hot_vjp(dy, z, t):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return dy * (p * t.sum(axis=-1, keepdims=True) - t) / len(z)


def label_smoothing(z, t, a=0.1):
    n, k = z.shape
    q = np.full((n, k), a / k)
    q[np.arange(n), t] += 1 - a
    z = z - z.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -(q * logp).sum() / n


@right("z=5x4, t=5:int<4")
def label_smoothing_vjp(dy, z, t, a=0.1):
    n, k = z.shape
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p -= a / k
    p[np.arange(n), t] -= 1 - a
    return {"z": dy * p / n}


def ignore_index(z, t, ignore=0):
    keep = t != ignore
    count = max(keep.sum(), 1)
    z = z - z.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    picked = logp[np.arange(len(t)), t]
    return -np.where(keep, picked, 0.0).sum() / count


@right("z=6x4, t=6:int<4")
def ignore_index_vjp(dy, z, t, ignore=0):
    keep = t != ignore
    count = max(keep.sum(), 1)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    p[np.arange(len(t)), t] -= 1
    p[~keep] = 0
    return dy * p / int(count)


def mse(x, t):
    return np.mean((x - t) ** 2)


@right("x=4x5, t=4x5")
def mse_vjp(dy, x, t):
    d = 2 * (x - t) / x.size
    return dy * d, -dy * d


def huber(x, t, delta=1.0):
    r = x - t
    a = np.abs(r)
    return np.where(a <= delta, 0.5 * r**2, delta * (a - 0.5 * delta)).sum(axis=1)


@right("x=4x5, t=4x5")
def huber_vjp(dy, x, t, delta=1.0):
    r = x - t
    d = np.clip(r, -delta, delta)
    dx = dy[:, None] * d
    return dx, -dx


def bce_logits(z, t):
    return np.mean(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))))


@right("z=4x5, t=4x5:unit", wrt=["z"])
def bce_logits_vjp(dy, z, t):
    return dy * (expit(z) - t) / z.size


def hinge(w, x, t):
    s = np.where(t == 1, 1.0, -1.0)
    return np.maximum(0, 1 - s * (x @ w)).mean()


@right("w=4, x=6x4, t=6:int<2")
def hinge_vjp(dy, w, x, t):
    s = np.where(t == 1, 1.0, -1.0).astype(x.dtype)
    active = s * (x @ w) < 1
    c = -(s * active) / len(t)
    return dy * (x.T @ c), dy * np.outer(c, w)


def kl_div(logp, q):
    return np.sum(q * (np.log(q) - logp)) / logp.shape[0]


@right("logp=4x5, q=4x5:rows")
def kl_div_vjp(dy, logp, q):
    n = logp.shape[0]
    return -dy * q / n, dy * (np.log(q) + 1 - logp) / n


def triplet(a, p, n, margin=1.0):
    dp = np.sqrt(((a - p) ** 2).sum(axis=1) + 1e-6)
    dn = np.sqrt(((a - n) ** 2).sum(axis=1) + 1e-6)
    return np.maximum(dp - dn + margin, 0).mean()


@right("a=4x5, p=4x5, n=4x5")
def triplet_vjp(dy, a, p, n, margin=1.0):
    u, v = a - p, a - n
    dp = np.sqrt((u**2).sum(axis=1) + 1e-6)
    dn = np.sqrt((v**2).sum(axis=1) + 1e-6)
    on = (dp - dn + margin > 0) * dy / len(a)
    gp = (on / dp)[:, None] * u
    gn = (on / dn)[:, None] * v
    return gp - gn, -gp, gn


def cosine_similarity(a, b, eps=1e-8):
    na = np.sqrt((a * a).sum(-1) + eps)
    nb = np.sqrt((b * b).sum(-1) + eps)
    return (a * b).sum(-1) / (na * nb)


@right("a=4x5, b=4x5")
def cosine_similarity_vjp(dy, a, b, eps=1e-8):
    na = np.sqrt((a * a).sum(-1, keepdims=True) + eps)
    nb = np.sqrt((b * b).sum(-1, keepdims=True) + eps)
    c = (a * b).sum(-1, keepdims=True) / (na * nb)
    dy = dy[..., None]
    da = dy * (b / (na * nb) - c * a / na**2)
    db = dy * (a / (na * nb) - c * b / nb**2)
    return da, db


# --- activations ----------------------------------------------------------------------------------


def silu(x):
    return x * expit(x)


@right("x=4x5")
def silu_vjp(dy, x):
    s = 1 / (1 + np.exp(-x))
    return dy * (s + x * s * (1 - s))


def gelu_tanh(x):
    c = np.sqrt(2 / np.pi)
    inner = c * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner))


@right("x=4x5")
def gelu_tanh_vjp(dy, x):
    c = float(np.sqrt(2 / np.pi))
    th = np.tanh(c * (x + 0.044715 * x**3))
    sech2 = 1 - th * th
    d = 0.5 * (1 + th) + 0.5 * x * sech2 * c * (1 + 3 * 0.044715 * x**2)
    return dy * d


def prelu(x, a):
    return np.where(x > 0, x, a * x)


@right("x=4x5, a=5")
def prelu_vjp(dy, x, a):
    neg = x <= 0
    dx = dy.copy()
    dx[neg] *= np.broadcast_to(a, x.shape)[neg]
    da = np.where(neg, dy * x, 0).sum(axis=0)
    return dx, da


def swish_beta(x, beta):
    return x / (1 + np.exp(-beta * x))


@right("x=4x5, beta=scalar", loses="1 − s, where s is near 1")
def swish_beta_vjp(dy, x, beta):
    s = expit(beta * x)
    ds = s * (1 - s)
    dx = dy * (s + beta * x * ds)
    dbeta = np.sum(dy * x * x * ds)
    return dx, dbeta


def snake(x, a):
    return x + np.sin(a * x) ** 2 / a


@right("x=4x5, a=5:positive")
def snake_vjp(dy, x, a):
    s, c = np.sin(a * x), np.cos(a * x)
    dx = dy * (1 + 2 * s * c)
    da = (dy * (2 * x * s * c / a - s**2 / a**2)).sum(axis=0)
    return dx, da


# --- layers ---------------------------------------------------------------------------------------


def linear(x, W, b):
    return x @ W + b


@right("x=4x5, W=5x3, b=3")
def linear_vjp(dy, x, W, b):
    dx = dy @ W.T
    dW = x.T @ dy
    db = dy.sum(axis=0)
    return dx, dW, db


def mlp(x, W1, b1, W2, b2):
    h = np.maximum(x @ W1 + b1, 0)
    return h @ W2 + b2


@right("x=4x5, W1=5x6, b1=6, W2=6x3, b2=3")
def mlp_vjp(dy, x, W1, b1, W2, b2):
    z = x @ W1 + b1
    h = np.maximum(z, 0)
    dW2 = h.T @ dy
    db2 = dy.sum(0)
    dh = dy @ W2.T
    dz = dh * (z > 0)
    dW1 = x.T @ dz
    db1 = dz.sum(0)
    dx = dz @ W1.T
    return dx, dW1, db1, dW2, db2


def swiglu(x, W, V):
    a = x @ W
    b = x @ V
    return a * expit(a) * b


@right("x=4x5, W=5x6, V=5x6")
def swiglu_vjp(dy, x, W, V):
    a = x @ W
    b = x @ V
    s = expit(a)
    silu = a * s
    da = dy * b * (s + silu * (1 - s))
    db = dy * silu
    dx = da @ W.T + db @ V.T
    dW = x.T @ da
    dV = x.T @ db
    return dx, dW, dV


def geglu(x, W, V):
    a, b = x @ W, x @ V
    return 0.5 * a * (1 + erf(a / np.sqrt(2))) * b


@right("x=4x5, W=5x6, V=5x6")
def geglu_vjp(dy, x, W, V):
    a, b = x @ W, x @ V
    Phi = 0.5 * (1 + erf(a / 2**0.5))
    phi = np.exp(-0.5 * a * a) / (2 * np.pi) ** 0.5
    da = dy * b * (Phi + a * phi)
    db = dy * a * Phi
    return da @ W.T + db @ V.T, x.T @ da, x.T @ db


def embedding(E, ids):
    return E[ids]


@right("E=5x4, ids=2x3:int<5")
def embedding_vjp(dy, E, ids):
    dE = np.zeros_like(E)
    np.add.at(dE, ids, dy)
    return dE


def dropout(x, keep, p=0.5):
    return np.where(keep, x / (1 - p), 0.0)


@right("x=4x5, keep=4x5:bool")
def dropout_vjp(dy, x, keep, p=0.5):
    return dy * keep / (1 - p), None


def bilinear(x, W, y):
    return np.einsum("bi,kij,bj->bk", x, W, y)


@right("x=4x3, W=2x3x5, y=4x5")
def bilinear_vjp(dout, x, W, y):
    dx = np.einsum("bk,kij,bj->bi", dout, W, y)
    dW = np.einsum("bk,bi,bj->kij", dout, x, y)
    dy = np.einsum("bk,bi,kij->bj", dout, x, W)
    return dx, dW, dy


def outer(a, b):
    return np.outer(a, b)


@right("a=4, b=5")
def outer_vjp(dy, a, b):
    return dy @ b, dy.T @ a


def cumsum(x):
    return np.cumsum(x, axis=1)


@right("x=4x5")
def cumsum_vjp(dy, x):
    return np.flip(np.cumsum(np.flip(dy, axis=1), axis=1), axis=1)


# --- convolution and pooling ----------------------------------------------------------------------


def conv1d(x, w, b):
    B, _, T = x.shape
    F, _, K = w.shape
    out = np.zeros((B, F, T - K + 1), x.dtype)
    for t in range(T - K + 1):
        out[:, :, t] = np.tensordot(x[:, :, t : t + K], w, axes=([1, 2], [1, 2])) + b
    return out


@right("x=2x3x6, w=2x3x3, b=2")
def conv1d_vjp(dy, x, w, b):
    K = w.shape[2]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    db = dy.sum(axis=(0, 2))
    for t in range(dy.shape[2]):
        dx[:, :, t : t + K] += np.tensordot(dy[:, :, t], w, axes=([1], [0]))
        dw += np.tensordot(dy[:, :, t], x[:, :, t : t + K], axes=([0], [0]))
    return dx, dw, db


def im2col(x, k):
    n, c, h, w = x.shape
    oh, ow = h - k + 1, w - k + 1
    col = np.zeros((n, c, k, k, oh, ow), x.dtype)
    for i in range(k):
        for j in range(k):
            col[:, :, i, j] = x[:, :, i : i + oh, j : j + ow]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1)


def col2im(col, shape, k):
    n, c, h, w = shape
    oh, ow = h - k + 1, w - k + 1
    col = col.reshape(n, oh, ow, c, k, k).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros(shape, col.dtype)
    for i in range(k):
        for j in range(k):
            x[:, :, i : i + oh, j : j + ow] += col[:, :, i, j]
    return x


def conv2d(x, W, b, pad=1):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, _, h, w = x.shape
    f, _, k, _ = W.shape
    out = im2col(x, k) @ W.reshape(f, -1).T + b
    return out.reshape(n, h - k + 1, w - k + 1, f).transpose(0, 3, 1, 2)


@right("x=2x2x4x3, W=2x2x3x3, b=2")
def conv2d_vjp(dy, x, W, b, pad=1):
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    f, _, k, _ = W.shape
    d = dy.transpose(0, 2, 3, 1).reshape(-1, f)
    db = d.sum(axis=0)
    dW = (im2col(xp, k).T @ d).T.reshape(W.shape)
    dxp = col2im(d @ W.reshape(f, -1), xp.shape, k)
    return dxp[:, :, pad:-pad, pad:-pad], dW, db


def max_pool(x):
    n, h, w = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2).max(axis=(2, 4))


@right("x=2x4x6")
def max_pool_vjp(dy, x):
    n, h, w = x.shape
    dx = np.zeros_like(x)
    for b in range(n):
        for i in range(h // 2):
            for j in range(w // 2):
                win = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                r, c = np.unravel_index(win.argmax(), win.shape)
                dx[b, 2 * i + r, 2 * j + c] += dy[b, i, j]
    return dx


def avg_pool(x):
    n, h, w = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4))


@right("x=2x4x6")
def avg_pool_vjp(dy, x):
    return np.repeat(np.repeat(dy, 2, axis=1), 2, axis=2) / 4


# --- attention and recurrence ---------------------------------------------------------------------


def attention(q, k, v):
    T, d = q.shape[-2:]
    s = q @ k.swapaxes(-1, -2) / np.sqrt(d)
    mask = np.tril(np.ones((T, T), bool))
    s = np.where(mask, s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return p @ v


@right("q=2x4x3, k=2x4x3, v=2x4x3")
def attention_vjp(dy, q, k, v):
    T, d = q.shape[-2:]
    scale = 1 / d**0.5
    s = q @ k.swapaxes(-1, -2) * scale
    s = np.where(np.tril(np.ones((T, T), bool)), s, -1e30)
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dv = p.swapaxes(-1, -2) @ dy
    dp = dy @ v.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True))
    dq = ds @ k * scale
    dk = ds.swapaxes(-1, -2) @ q * scale
    return dq, dk, dv


def rotary(x, cos, sin):
    a, b = x[..., ::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., ::2] = a * cos - b * sin
    out[..., 1::2] = a * sin + b * cos
    return out


@right("x=4x6, cos=4x3, sin=4x3", wrt=["x"])
def rotary_vjp(dy, x, cos, sin):
    a, b = dy[..., ::2], dy[..., 1::2]
    dx = np.empty_like(dy)
    dx[..., ::2] = a * cos + b * sin
    dx[..., 1::2] = b * cos - a * sin
    return dx


def rnn(x, h, Wx, Wh, b):
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ Wx + h @ Wh + b)
    return h


@right("x=2x3x4, h=2x5, Wx=4x5, Wh=5x5, b=5")
def rnn_vjp(dh, x, h, Wx, Wh, b):
    T = x.shape[1]
    hs = [h]
    for t in range(T):
        hs.append(np.tanh(x[:, t] @ Wx + hs[-1] @ Wh + b))
    dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    for t in reversed(range(T)):
        dz = dh * (1 - hs[t + 1] ** 2)
        dx[:, t] = dz @ Wx.T
        dWx += x[:, t].T @ dz
        dWh += hs[t].T @ dz
        db += dz.sum(axis=0)
        dh = dz @ Wh.T
    return dx, dh, dWx, dWh, db


def lstm_cell(x, h, c, W, U, b):
    z = x @ W + h @ U + b
    i, f, g, o = np.split(z, 4, axis=1)
    i, f, g, o = expit(i), expit(f), np.tanh(g), expit(o)
    c = f * c + i * g
    return o * np.tanh(c), c


@right("x=3x4, h=3x2, c=3x2, W=4x8, U=2x8, b=8")
def lstm_cell_vjp(cotangents, x, h, c, W, U, b):
    dh, dc = cotangents
    z = x @ W + h @ U + b
    H = h.shape[1]
    i, f, o = expit(z[:, :H]), expit(z[:, H : 2 * H]), expit(z[:, 3 * H :])
    g = np.tanh(z[:, 2 * H : 3 * H])
    cn = f * c + i * g
    tc = np.tanh(cn)
    do = dh * tc
    dc = dc + dh * o * (1 - tc**2)
    dz = np.hstack([
        dc * g * i * (1 - i),
        dc * c * f * (1 - f),
        dc * i * (1 - g**2),
        do * o * (1 - o),
    ])  # fmt: skip
    return dz @ W.T, dz @ U.T, dc * f, x.T @ dz, h.T @ dz, dz.sum(axis=0)


def minmax_scale(x):
    lo = x.min(axis=1, keepdims=True)
    hi = x.max(axis=1, keepdims=True)
    return (x - lo) / (hi - lo + 1.0)


@right("x=4x5")
def minmax_scale_vjp(dy, x):
    lo = x.min(axis=1, keepdims=True)
    hi = x.max(axis=1, keepdims=True)
    d = hi - lo + 1
    y = (x - lo) / d
    dx = dy / d
    dhi = -(dy * y).sum(axis=1) / d[:, 0]
    dlo = -dy.sum(axis=1) / d[:, 0] - dhi
    rows = np.arange(len(x))
    np.add.at(dx, (rows, x.argmax(axis=1)), dhi)
    np.add.at(dx, (rows, x.argmin(axis=1)), dlo)
    return dx
