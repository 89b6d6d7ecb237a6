"""PyTorch's front end: every operator of its table, layers as people write them, PyTorch code as a candidate."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformance.judge.functions.candidate import Ran, Request
from conformance.judge.functions.recording import Recording, RecordingError
from conformance.judge.functions.torch_.candidate import candidate, vjp
from conformance.judge.functions.torch_.given import parameters_of
from conformance.judge.functions.torch_.operators import ATEN
from conformance.judge.functions.torch_.record import record
from conformance.truth import arrays as at
from conformance.truth.errors import errors
from conformance.truth.reading import Reading
from conformance.truth.readings import in_balls
from conformance.truth.rounding import Accuracy, Arithmetic, Model

aten = torch.ops.aten
Arrays = Mapping[str, Any]
WORST: dict[str, float] = {}  # error over s, of the layers


def normal(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(repr(shape).encode()))
    return rng.standard_normal(shape)


def named(*arrays: np.ndarray) -> dict[str, Any]:
    return {f"x{i}": a + 0.01 * i for i, a in enumerate(arrays)}


def swept(recording: Recording, dtype: str) -> tuple[dict[str, Any], Reading]:
    """Cotangents of every output, and the tape with its reverse sweep, in balls."""
    tape, total = recording.tape, None
    cotangents = {}
    for name, y in recording.outputs.items():
        cotangents[name] = normal(*y.shape, 1)[..., 0].astype(np.float16).astype(np.float64)
        tape.mark(y, ("y", name))
        term = at.sum(at.apply("multiply", y, cotangents[name]))
        total = term if total is None else at.apply("add", total, term)
    assert total is not None
    tape.gradients([(total, tape.leaf(1.0))], [(x, ("d", n)) for n, x in recording.inputs.items()])
    return cotangents, in_balls(tape)


def quantities(ran: Ran) -> Iterator[tuple[Any, Any]]:
    for n, a in ran.outputs.items():
        yield ("y", n), a.numbers
    for n, g in ran.gradients.items():
        yield ("d", n), None if g is None else g.numbers


def hold(f: Any, inputs: Arrays, rtol: float = 1e-12) -> Recording:
    """The tape's values and gradients are PyTorch's, in float64."""
    recording = record(f, inputs, "float64", {})
    cotangents, reading = swept(recording, "float64")
    ran = candidate(f)(Request(inputs, "float64", cotangents, tuple(recording.inputs)))
    for key, got in quantities(ran):
        if key[1] in recording.inputs or key[0] == "y":
            exact = reading.at[key].hi if key in reading.at else 0.0
            got = np.zeros(np.shape(exact)) if got is None else got
            np.testing.assert_allclose(
                got, exact, rtol, 1e-12 * np.abs(got).max(initial=0), err_msg=str(key)
            )
    return recording


# --- every operator -------------------------------------------------------------------------------

X, Y, P = normal(3, 4), normal(4, 3).T, np.abs(normal(3, 4)) + 0.5
IDS = torch.tensor([2, 0, 2])
GRID = torch.tensor([[0, 2, 1, 0], [1, 1, 0, 2]])
MASK = torch.tensor(
    [[True, False, True, False], [False, True, True, True], [True, True, False, False]]
)
IMAGE, SOLID = normal(2, 4, 6, 5), normal(1, 2, 4, 4, 5)
ROW, LINE = normal(4), normal(2, 3, 7)


def one(f: Callable[..., Any], *arrays: np.ndarray) -> tuple[Callable[..., Any], dict[str, Any]]:
    return f, named(*arrays)


def unit(a: np.ndarray) -> np.ndarray:
    return np.tanh(a) * 0.9


def spread(a: np.ndarray) -> np.ndarray:
    """Far from whole numbers and from one another."""
    return np.linspace(-3.3, 4.1, a.size).reshape(a.shape)


def masks(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: torch.where(f(x > 0, y > 0.1), x * y, y)


def after(name: str, f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: f(getattr(aten, name)(x), x)


def compared(f: Any) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: torch.where(f(x, y), x * x, y)


# fmt: off
SAMPLES: dict[str, list[tuple[Callable[..., Any], dict[str, Any]]]] = {
    **{name: [one(getattr(aten, name), X)] for name in (
        "abs", "asinh", "atan", "cos", "cosh", "erf", "erfc", "exp", "expm1", "neg", "reciprocal", "sigmoid", "sin",
        "sinh", "tan", "tanh", "exp2", "relu", "silu", "mish", "hardswish")},
    "hardsigmoid": [one(aten.hardsigmoid, X)],
    **{name: [one(getattr(aten, name), P)] for name in ("log", "log1p", "log2", "log10", "sqrt", "rsqrt")},
    **{name: [one(getattr(aten, name), unit(X))] for name in ("acos", "asin", "atanh")},
    **{name: [one(after(name, lambda y, x: y * x), spread(X))] for name in ("floor", "ceil", "trunc", "sign")},
    "round": [one(lambda x: aten.round(x) * x, spread(X)), one(lambda x: aten.round.decimals(x, decimals=1) * x, spread(X))],
    "acosh": [one(aten.acosh, P + 1)],
    "add": [one(aten.add, X, Y), one(lambda x, y: aten.add.Tensor(x, y, alpha=2.5), X, ROW), one(lambda x: aten.add.Scalar(x, 1.5), X)],
    "sub": [one(aten.sub, X, Y), one(lambda x, y: aten.sub.Tensor(x, y, alpha=-0.5), X, normal(3, 1))],
    "rsub": [one(lambda x: aten.rsub.Scalar(x, 2.5), X), one(lambda x, y: aten.rsub.Tensor(x, y, alpha=2), X, Y)],
    "mul": [one(aten.mul, X, ROW), one(lambda x: aten.mul.Scalar(x, 0.3), X), one(lambda x: x * torch.arange(4), X)],
    "div": [one(aten.div, X, P), one(lambda x: x / 3, P),
            *(one(lambda x, y, m=m: aten.div.Tensor_mode(x, y, rounding_mode=m) * x, spread(X), P) for m in ("floor", "trunc"))],
    "floor_divide": [one(lambda x, y: aten.floor_divide(x.detach(), y.detach()) * x, spread(X), P)],
    "remainder": [one(aten.remainder, spread(X), P)],
    "fmod": [one(aten.fmod, spread(X), P)],
    "pow": [*(one(lambda x, e=e: aten.pow.Tensor_Scalar(x, e), P) for e in (2, 3, 0.5, -1, -0.5, 1.7, 1)),
            one(lambda x: x**3, X), one(lambda x: 2.5**x, X), one(aten.pow, P, Y)],
    "atan2": [one(aten.atan2, X, Y), one(aten.atan2, spread(X), spread(X)[::-1].copy())],
    "hypot": [one(aten.hypot, X, Y)],
    "logaddexp": [one(aten.logaddexp, X, Y)],
    **{name: [one(getattr(aten, name), X, Y)] for name in ("maximum", "minimum", "fmax", "fmin")},
    "clamp": [one(lambda x: aten.clamp(x, -0.5, 0.7), X), one(lambda x: aten.clamp(x, max=0.7), X),
              one(lambda x, y: aten.clamp.Tensor(x, y, y + 1), X, ROW)],
    "clamp_min": [one(lambda x: aten.clamp_min(x, 0.3), X)],
    "clamp_max": [one(lambda x: aten.clamp_max(x, 0.3), X)],
    "hardtanh": [one(aten.hardtanh, X), one(lambda x: aten.hardtanh(x, 0.0, 0.8), X)],
    "leaky_relu": [one(aten.leaky_relu, X), one(lambda x: aten.leaky_relu(x, 0.3), X)],
    "_prelu_kernel": [one(lambda x, w: F.prelu(x, w), X, ROW[:1])],
    "threshold": [one(lambda x: aten.threshold(x, 0.2, -3.0), X)],
    "gelu": [one(aten.gelu, X), one(lambda x: aten.gelu(x, approximate="tanh"), X)],
    "softplus": [one(aten.softplus, X), one(lambda x: aten.softplus(x, 2.5, 3.0), 3 * X)],
    "log_sigmoid_forward": [one(F.logsigmoid, 3 * X)],
    "elu": [one(aten.elu, X), one(F.selu, X)],
    "where": [one(lambda x, y: torch.where(MASK, x, y), X, Y), one(lambda x, y: torch.where(x > y, x, 2 * y), X, Y),
              one(lambda x: F.celu(x, 0.5), X)],
    "masked_fill": [one(lambda x: x.masked_fill(MASK, -2.5), X), one(lambda x: x.masked_fill(x > 0, 0), X)],
    **{name: [one(compared(getattr(aten, name)), X, Y)] for name in ("gt", "lt", "ge", "le", "ne", "eq")},
    "logical_not": [one(masks(lambda a, b: aten.logical_not(a)), X, Y), one(lambda x: x * aten.logical_not(x), X)],
    "bitwise_not": [one(masks(lambda a, b: ~a), X, Y)],
    **{name: [one(masks(getattr(aten, name)), X, Y)] for name in (
        "logical_and", "bitwise_and", "logical_or", "bitwise_or", "logical_xor", "bitwise_xor")},
    "isnan": [one(lambda x: torch.where(x.isnan(), 0, x), X)],
    "isinf": [one(lambda x: torch.where(x.isinf(), 0, x), X)],
    "_to_copy": [one(lambda x: (x > 0).double() * x, X), one(lambda x: x * x.to(torch.bool), X), one(lambda x: x * (3 * x).long(), spread(X)),
                 one(lambda x: (x > 0).long().sum() * x, X)],
    "prims.convert_element_type": [one(lambda x: torch.ops.prims.convert_element_type(x > 0, torch.float64) * x, X)],
    "clone": [one(lambda x: aten.clone(x) * x, X)],
    "alias": [one(lambda x: aten.alias(x) * x, X)],
    "copy": [one(lambda x, y: (x * 1).copy_(y) * x, X, ROW)],
    "fill": [one(lambda x, y: (x * 1).fill_(y.sum()) * x, X, ROW), one(lambda x: (x * 1).fill_(2.5) * x, X)],
    "conformance.stop": [one(lambda x: x * x.detach(), X), one(lambda x: x * x.data, X)],
    **{name: [one(after(name, lambda y, x: y + x), X)] for name in ("zeros_like", "ones_like")},
    "full_like": [one(lambda x: aten.full_like(x, 2.5) * x, X)],
    "new_zeros": [one(lambda x: x.new_zeros(4) + x, X)],
    "new_ones": [one(lambda x: x.new_ones(4) * x, X)],
    "new_full": [one(lambda x: x.new_full((4,), 2.5) * x, X)],
    "empty_like": [one(lambda x: torch.empty_like(x).copy_(x) * x, X)],
    "new_empty": [one(lambda x: x.new_empty((3, 4)).copy_(x) * x, X)],
    "new_empty_strided": [one(lambda x: x.new_empty_strided((3, 4), (4, 1)).copy_(x) * x, X)],
    "_local_scalar_dense": [one(lambda x: x * 2 if x.sum() > 0 else x * 3, X), one(lambda x: x * 2 if x.sum() < 0 else x * 3, X)],
    "view": [one(lambda x: aten.view(x, [2, 6]) * 2, X)],
    "_unsafe_view": [one(lambda x: aten._unsafe_view(x, [2, 6]) * 2, X)],
    "permute": [one(lambda x: aten.permute(x, [2, 0, 1]), LINE)],
    "transpose": [one(lambda x: aten.transpose(x, 0, 2), LINE)],
    "t": [one(aten.t, X)],
    "squeeze": [one(aten.squeeze, X[None]), one(lambda x: aten.squeeze(x, 0), X[None]), one(lambda x: aten.squeeze(x, [0, 2]), X[None, :, None])],
    "unsqueeze": [one(lambda x: aten.unsqueeze(x, 1), X)],
    "slice": [one(lambda x: x[1:, ::2], X)],
    "select": [one(lambda x: x[:, 1], X)],
    "split": [one(lambda x: aten.split(x, 3, 1), X)],
    "split_with_sizes": [one(lambda x: torch.split(x, [1, 3], 1)[1] * 2, X)],
    "unbind": [one(lambda x: torch.unbind(x, 1)[2] * 2, X)],
    "repeat": [one(lambda x: x.repeat(2, 1, 3), X)],
    "flip": [one(lambda x: x.flip(0, 1), X)],
    "roll": [one(lambda x: x.roll((1, 2), (0, 1)), X), one(lambda x: x.roll(5), X)],
    "rot90": [one(lambda x: torch.rot90(x), X)],
    "gather": [one(lambda x: x.gather(0, GRID), X)],
    "index": [one(lambda x: x[IDS], X), one(lambda x: x[:, IDS] * x[IDS, torch.tensor([1, 2, 3])][:, None], X), one(lambda x: x[x > 0], X)],
    "_unsafe_index": [one(lambda x: aten._unsafe_index(x, [IDS]), X)],
    "index_select": [one(lambda x: x.index_select(1, IDS), X)],
    "take": [one(lambda x: x.take(GRID), X)],
    "masked_select": [one(lambda x: x.masked_select(MASK), X)],
    "diagonal": [one(lambda x: x.diagonal(1), X)],
    "diag_embed": [one(torch.diag_embed, X)],
    "tril": [one(lambda x: x.tril(1), X)],
    "triu": [one(torch.triu, X)],
    "unfold": [one(lambda x: x.unfold(1, 3, 1), X)],
    "im2col": [one(lambda x: F.unfold(x, 3, padding=1, stride=2), IMAGE)],
    **{f"{kind}_pad{n}d": [one(lambda x, m=mode, n=n: F.pad(x, (1, 2) * n, mode=m), x)]
       for kind, mode in (("reflection", "reflect"), ("replication", "replicate"))
       for n, x in ((1, LINE), (2, IMAGE), (3, SOLID))},
    "pixel_shuffle": [one(lambda x: F.pixel_shuffle(x, 2), IMAGE)],
    "pixel_unshuffle": [one(lambda x: F.pixel_unshuffle(x[..., :4], 2), IMAGE)],
    **{f"upsample_nearest{n}d": [one(lambda x: F.interpolate(x, scale_factor=2), x)] for n, x in ((1, LINE), (2, IMAGE), (3, SOLID))},
    "slice_scatter": [one(lambda x, y: aten.slice_scatter(x, y, 1, 1, 3), X, Y[:, :2])],
    "select_scatter": [one(lambda x, y: aten.select_scatter(x, y, 0, 1), X, ROW)],
    "diagonal_scatter": [one(lambda x, y: aten.diagonal_scatter(x, y), X, ROW[:3])],
    "masked_scatter": [one(lambda x, y: x.masked_scatter(MASK, y), X, normal(7))],
    "scatter.src": [one(lambda x, y: x.scatter(0, GRID, y), X, Y[:2])],
    "scatter.value": [one(lambda x: x.scatter(0, GRID, 2.5), X)],
    "index_copy": [one(lambda x, y: x.index_copy(0, torch.tensor([2, 0]), y), X, Y[:2])],
    "cat": [one(lambda x, y: torch.cat([x, y, torch.ones(1, 4, dtype=x.dtype)]), X, Y)],
    "stack": [one(lambda x, y: torch.stack([x, y, x], 1), X, Y)],
    "expand": [one(lambda x: x.expand(2, 3, 4), ROW)],
    "as_strided": [one(lambda x: x.as_strided((3, 2), (2, 1), 1), X)],
    "constant_pad_nd": [one(lambda x: F.pad(x, (1, 2, -1, 1)), X), one(lambda x: F.pad(x, (1, 2), value=2.5), X)],
    "embedding": [one(lambda w: F.embedding(GRID, w), X), one(lambda w: F.embedding(GRID, w, padding_idx=2), X)],
    "_embedding_bag": [one(lambda w: aten._embedding_bag(w, GRID[0], IDS[:1] * 0, mode=0)[0], X)],
    "_embedding_bag_forward_only": [
        one(lambda w: F.embedding_bag(GRID, w, mode="mean", padding_idx=1), X),
        one(lambda w: F.embedding_bag(GRID[0], w, torch.tensor([0, 3, 3]), mode="mean"), X),
        one(lambda w, e: F.embedding_bag(GRID, w, mode="sum", per_sample_weights=e), X, Y[:2])],
    "_trilinear": [one(lambda x, y, w: F.bilinear(x, y, w), X, Y, normal(2, 4, 4))],
    "_cdist_forward": [one(torch.cdist, X, Y), one(lambda x, y: torch.cdist(x, y, p=1), X, Y)],
    "index_put": [one(lambda x, y: x.index_put((IDS,), y, accumulate=True), X, Y), one(lambda x, y: x.index_put((torch.tensor([2, 0]),), y), X, ROW),
                  one(lambda x: aten.index_put(x, [None, IDS], torch.tensor(2.5, dtype=x.dtype), True), X)],
    "_unsafe_index_put": [one(lambda x, y: aten._unsafe_index_put(x, [IDS], y, True), X, Y)],
    "scatter_add": [one(lambda x, y: x.scatter_add(0, GRID, y), X, Y[:2])],
    "scatter_reduce.two": [one(lambda x, y: x.scatter_reduce(0, GRID, y, "sum"), X, Y[:2])],
    "index_add": [one(lambda x, y: x.index_add(0, IDS, y, alpha=0.5), X, Y)],
    "argmax": [one(lambda x: x * x.argmax(1, keepdim=True), X)],
    "argmin": [one(lambda x: x[torch.arange(3), x.argmin(1)], X)],
    "nonzero": [one(lambda x: x[torch.nonzero(x > 0)[:, 0]], X)],
    "bucketize": [one(lambda x: x * torch.bucketize(x, torch.tensor([-0.5, 0.5], dtype=x.dtype)), X)],
    "searchsorted": [one(lambda x: x * torch.searchsorted(torch.tensor([-0.5, 0.5], dtype=x.dtype), x), X)],
    "sort": [one(lambda x: x.sort(1, descending=True)[0], X), one(lambda x: x.sort(dim=0), X), one(lambda x: torch.sort(x, stable=True)[0], X)],
    "topk": [one(lambda x: x.topk(2)[0], X), one(lambda x: x.topk(2, 0, largest=False), X)],
    "kthvalue": [one(lambda x: x.kthvalue(2)[0], X), one(lambda x: x.kthvalue(2, 0, keepdim=True), X)],
    "median.dim": [one(lambda x: x.median(0)[0], X)],
    "mode": [one(lambda x: x.mode(0)[0], X)],
    "cummax": [one(lambda x: x.cummax(1)[0], X)],
    "cummin": [one(lambda x: x.cummin(0)[0], X)],
    "sum": [one(torch.sum, X), one(lambda x: x.sum(1), X), one(lambda x: x.sum((0, -1), keepdim=True), LINE), one(lambda x: (x > 0).sum() * x, X)],
    "mean": [one(aten.mean, X), one(lambda x: x.mean(1), X), one(lambda x: x.mean((0, -1), keepdim=True), LINE)],
    "var.correction": [one(lambda x: x.var(1), X), one(lambda x: x.var(), X), one(lambda x: x.var((0, 2), correction=0, keepdim=True), LINE), one(lambda x: x.std(0), X)],
    "var_mean.correction": [one(lambda x: torch.var_mean(x, 1, correction=0), X)],
    "amax": [one(lambda x: x.amax((0, 2)), LINE), one(lambda x: x.amax(1, keepdim=True), X)],
    "amin": [one(lambda x: x.amin((0, 2)), LINE)],
    "max.default": [one(torch.max, X)],
    "min.default": [one(torch.min, X)],
    "max.dim": [one(lambda x: x.max(1)[0], X), one(lambda x: x * x.max(1, keepdim=True)[1], X)],
    "min.dim": [one(lambda x: x.min(0, keepdim=True)[0], X)],
    "prod": [one(torch.prod, X), one(lambda x: x.prod(1), X), one(lambda x: x.prod(0, keepdim=True), X)],
    "any": [one(lambda x: x * (x > 1).any(1, keepdim=True), X), one(lambda x: x * (x > 1).any(), X)],
    "all": [one(lambda x: x * (x > -1).all(0), X)],
    "logsumexp": [one(lambda x: x.logsumexp(1), X), one(lambda x: x.logsumexp((0, 2), keepdim=True), LINE)],
    "linalg_vector_norm": [*(one(lambda x, o=o: torch.linalg.vector_norm(x, o, 1), X) for o in (2, 1, 3, 0.5, float("inf"), -float("inf"))),
                           one(lambda x: x * torch.linalg.vector_norm(x, 0), X), one(lambda x: F.normalize(x), X)],
    "cumsum": [one(lambda x: x.cumsum(1), LINE)],
    "cumprod": [one(lambda x: x.cumprod(1), X)],
    "logcumsumexp": [one(lambda x: x.logcumsumexp(1), X)],
    "_softmax": [one(lambda x: x.softmax(1), LINE)],
    "_log_softmax": [one(lambda x: x.log_softmax(1), LINE)],
    "mm": [one(aten.mm, X, Y.T)],
    "bmm": [one(aten.bmm, LINE, LINE.transpose(0, 2, 1))],
    "mv": [one(aten.mv, X, ROW)],
    "dot": [one(aten.dot, ROW, ROW)],
    "addmm": [one(aten.addmm, normal(3), X, Y.T), one(lambda b, x, y: aten.addmm(b, x, y, beta=0.5, alpha=2), normal(3, 3), X, Y.T),
              one(lambda b, x, y: aten.addmm(b, x, y, beta=0), normal(3, 3), X, Y.T)],
    "baddbmm": [one(aten.baddbmm, normal(2, 3, 3), LINE, LINE.transpose(0, 2, 1))],
    "addmv": [one(aten.addmv, normal(3), X, ROW)],
    "_scaled_dot_product_flash_attention_for_cpu": [
        one(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), *(normal(1, 2, 3, 4 + i)[..., :4] for i in range(3))),
        one(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, MASK[:, :3] | (torch.eye(3) > 0), scale=0.3), *(normal(1, 2, 3, 4 + i)[..., :4] for i in range(3)))],
    "convolution": [one(F.conv1d, LINE, normal(4, 3, 2), ROW), one(lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 2), (2, 1), 2), IMAGE, normal(6, 2, 2, 3)),
                    one(lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 0), 2, (1, 2)), IMAGE, normal(4, 3, 3, 2), normal(6)),
                    one(lambda x, w: F.conv_transpose1d(x, w, padding=1), LINE, normal(3, 2, 2)), one(F.conv3d, SOLID, normal(2, 2, 2, 2, 3)),
                    one(lambda w: F.conv1d(torch.ones(1, 3, 5, dtype=w.dtype), w, padding="same"), normal(4, 3, 3))],
    "max_pool2d_with_indices": [one(lambda x: F.max_pool2d(x, 2), IMAGE), one(lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
                                one(lambda x: F.max_pool2d(x[0], (2, 3), (1, 2), dilation=(2, 1)), IMAGE), one(lambda x: F.max_pool1d(x, 3), LINE)],
    "max_pool3d_with_indices": [one(lambda x: F.max_pool3d(x, 2), SOLID)],
    "avg_pool2d": [one(lambda x: F.avg_pool2d(x, 2), IMAGE), one(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
                   one(lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), IMAGE), one(lambda x: F.avg_pool2d(x, 2, divisor_override=3), IMAGE)],
    "avg_pool3d": [one(lambda x: F.avg_pool3d(x, 2, 1, 1), SOLID)],
    "_adaptive_avg_pool2d": [one(lambda x: F.adaptive_avg_pool2d(x, (4, 3)), IMAGE), one(lambda x: F.adaptive_avg_pool1d(x, 3), LINE)],
    "_adaptive_avg_pool3d": [one(lambda x: F.adaptive_avg_pool3d(x, (3, 2, 2)), SOLID)],
    "adaptive_max_pool2d": [one(lambda x: F.adaptive_max_pool2d(x, (4, 3)), IMAGE)],
    "adaptive_max_pool3d": [one(lambda x: F.adaptive_max_pool3d(x, (3, 2, 2)), SOLID)],
    "native_layer_norm": [one(lambda x, w, b: F.layer_norm(x, (3, 7), w, b), LINE, normal(3, 7), normal(3, 7)), one(lambda x: F.layer_norm(x, (4,), eps=0.1), X)],
    "native_group_norm": [one(lambda x, w, b: F.group_norm(x, 2, w, b), IMAGE, ROW, ROW), one(lambda x: F.group_norm(x, 4), IMAGE)],
    "native_batch_norm": [one(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), IMAGE, ROW, ROW), one(lambda x: F.instance_norm(x), IMAGE),
                          one(lambda x, m, v: F.batch_norm(x, m.detach(), v.detach().abs()), X, ROW, ROW)],
    "_native_batch_norm_legit.no_stats": [one(lambda x, w, b: aten._native_batch_norm_legit.no_stats(x, w, b, True, 0.1, 1e-5)[0], IMAGE, ROW, ROW)],
    "_native_batch_norm_legit_functional": [one(lambda x, w: aten._native_batch_norm_legit_functional(
        x, w, None, torch.zeros(4, dtype=x.dtype), torch.ones(4, dtype=x.dtype), True, 0.1, 1e-5)[0], IMAGE, ROW)],
    "_native_batch_norm_legit_no_training": [one(lambda x, w: aten._native_batch_norm_legit_no_training(
        x, w, None, torch.arange(4, dtype=x.dtype), torch.arange(4, dtype=x.dtype) + 1, 0.1, 1e-5)[0], IMAGE, ROW)],
}
# fmt: on


ROUGH = {"hardsigmoid": 1e-7}  # PyTorch's own gradient: ⅙ is a float32 in it, in float64 too


def test_every_operator_of_the_table_is_tried() -> None:
    refused = {"conformance.unseen"}  # below
    assert set(SAMPLES) == set(ATEN) - refused
    assert len(ATEN) >= 150


@pytest.mark.parametrize("name", SAMPLES)
def test_an_operator_is_what_pytorch_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, seen = ATEN[name], []
    monkeypatch.setitem(ATEN, name, lambda call: seen.append(1) or rule(call))
    for f, inputs in SAMPLES[name]:
        seen.clear()
        hold(f, inputs, ROUGH.get(name, 1e-12))
        assert seen, "the operator was not met"


# --- layers ---------------------------------------------------------------------------------------


def accuracy(_: str) -> Accuracy:
    return Accuracy(4, 0, 4, 0, 0, 0)


def held(f: Any, inputs: Arrays, dtype: str, params: Mapping[str, Any] | None = None) -> float:
    """The largest error over s of PyTorch's own forward and backward."""
    rounded = {
        n: M if M.dtype != np.float64 else M.astype(dtype).astype(np.float64)
        for n, M in inputs.items()
    }
    rounded |= {
        n: M.astype(dtype).astype(np.float64)
        for n, M in parameters_of(f).items()
        if n not in inputs
    }
    recording = record(f, rounded, dtype, params or {})
    cotangents, reading = swept(recording, dtype)
    s = errors(recording.tape, reading, Model(Arithmetic.named(dtype), accuracy, reach=5.0))
    ran = candidate(f, params)(Request(rounded, dtype, cotangents, tuple(recording.inputs)))
    assert not ran.notes
    worst = 0.0
    for key, got in quantities(ran):
        if key in reading.at:
            distance = reading.at[key].distance(got)
            with np.errstate(all="ignore"):
                ratio = np.where(distance == 0, 0.0, distance / s[key])
            worst = max(worst, float(ratio.max(initial=0)))
        else:
            assert got is None or not got.any()
    return worst


class RMSNorm(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n) + 0.1 * torch.arange(n) / n)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Gated(nn.Module):
    def __init__(self, n: int, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.up, self.gate, self.down = (
            nn.Linear(n, 2 * n),
            nn.Linear(n, 2 * n),
            nn.Linear(2 * n, n),
        )
        self.f = gate

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.f(self.gate(x)) * self.up(x))


class Causal(nn.Module):
    """Attention with a mask of −inf, as it is written by hand."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T = q.shape[-2]
        s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        s = s.masked_fill(torch.triu(torch.ones(T, T, dtype=torch.bool), 1), -torch.inf)
        return torch.softmax(s, -1) @ v


class Block(nn.Module):
    def __init__(self, n: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(n, heads, batch_first=True)
        self.one, self.two, self.mlp = nn.LayerNorm(n), nn.LayerNorm(n), Gated(n, F.gelu)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.two(x))


def made(f: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return f()


def ids(*shape: int, below: int) -> np.ndarray:
    return np.abs(1000 * normal(*shape)).astype(np.int64) % below


SHAPES = ((1, 4), (2, 8), (3, 5), (7, 16), (16, 12))
SMALL = ((1, 4), (2, 3), (3, 5), (4, 2), (5, 6))  # of what has one step after another
Case = Callable[[int, int], tuple[Any, Arrays]]
LAYERS: dict[str, Case] = {
    "LayerNorm": lambda n, m: (made(lambda: nn.LayerNorm(m)), {"x": normal(n, m)}),
    "RMSNorm": lambda n, m: (RMSNorm(m), {"x": normal(n, m)}),
    "nn.RMSNorm": lambda n, m: (nn.RMSNorm(m), {"x": normal(n, m)}),
    "GroupNorm": lambda n, m: (nn.GroupNorm(2, 4), {"x": normal(n, 4, m)}),
    "BatchNorm": lambda n, m: (nn.BatchNorm1d(m), {"x": normal(n + 1, m)}),
    "BatchNorm, eval": lambda n, m: (nn.BatchNorm2d(3).eval(), {"x": normal(n, 3, 2, m)}),
    "InstanceNorm": lambda n, m: (nn.InstanceNorm1d(n, affine=True), {"x": normal(2, n, m)}),
    "softmax": lambda n, m: (nn.Softmax(-1), {"x": 3 * normal(n, m)}),
    "log_softmax": lambda n, m: (nn.LogSoftmax(-1), {"x": 3 * normal(n, m)}),
    "SwiGLU": lambda n, m: (made(lambda: Gated(m, F.silu)), {"x": normal(n, m)}),
    "GEGLU": lambda n, m: (made(lambda: Gated(m, F.gelu)), {"x": normal(n, m)}),
    "GEGLU, tanh": lambda n, m: (made(lambda: Gated(m, nn.GELU("tanh"))), {"x": normal(n, m)}),
    "SiLU": lambda n, m: (nn.SiLU(), {"x": 3 * normal(n, m)}),
    "GLU": lambda n, m: (nn.GLU(), {"x": normal(n, 2 * m)}),
    "activations": lambda n, m: (
        lambda x: (
            F.mish(x), F.softplus(x), F.elu(x), F.selu(x), F.hardswish(x), F.logsigmoid(x), F.softsign(x), F.relu6(x),
            F.hardshrink(x), F.softshrink(x), F.tanhshrink(x), F.leaky_relu(x), F.hardtanh(x),
        ),
        {"x": 2 * normal(n, m)},
    ),
    "MLP": lambda n, m: (
        made(lambda: nn.Sequential(nn.Linear(m, 9), nn.ReLU(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3))),
        {"x": normal(n, m)},
    ),
    "attention": lambda n, m: (Causal(), {c: normal(2, n, m + i)[..., :m] for i, c in enumerate("qkv")}),
    "F.attention": lambda n, m: (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        {c: normal(1, 2, n, m + i)[..., :m] for i, c in enumerate("qkv")},
    ),
    "F.attention, mask": lambda n, m: (
        lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask, scale=0.3),
        {c: normal(1, 2, n, m + i)[..., :m] for i, c in enumerate("qkv")}
        | {"mask": np.tri(n, dtype=bool)},
    ),
    "F.attention, bias": lambda n, m: (
        F.scaled_dot_product_attention,
        {c: normal(2, n, m + i)[..., :m] for i, c in enumerate("qkv")} | {"bias": normal(n, n)},
    ),
    "MultiheadAttention": lambda n, m: (
        made(lambda: nn.MultiheadAttention(8, 2, batch_first=True)),
        {c: normal(2, n, 8 + i)[..., :8] for i, c in enumerate("qkv")},
    ),
    "block": lambda n, m: (made(lambda: Block(8, 2)), {"x": normal(1, n, 8)}),
    "TransformerEncoderLayer": lambda n, m: (
        made(lambda: nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True)),
        {"x": normal(1, n, 8)},
    ),
    "TransformerEncoderLayer, eval": lambda n, m: (
        made(lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)).eval(),
        {"x": normal(1, n, 8)},
    ),
    "cross entropy": lambda n, m: (F.cross_entropy, {"x": normal(n, m), "y": ids(n, below=m)}),
    "cross entropy, smoothed": lambda n, m: (
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1, ignore_index=1),
        {"x": normal(n + 3, m), "y": ids(n + 3, below=m)},
    ),
    "cross entropy, rows": lambda n, m: (
        lambda x, y: F.cross_entropy(x, y.softmax(-1)), {"x": normal(n, m), "y": normal(n, m + 1)[:, 1:]},
    ),
    "losses": lambda n, m: (
        lambda x, y: (
            F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y), F.huber_loss(x, y, delta=0.5),
            F.binary_cross_entropy_with_logits(x, y.sigmoid()), F.binary_cross_entropy(x.sigmoid(), y.sigmoid()),
            F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="batchmean"), F.poisson_nll_loss(x, y),
            F.gaussian_nll_loss(x, y, y.exp()), F.soft_margin_loss(x, y.detach().sign()), F.cosine_similarity(x, y),
            F.triplet_margin_loss(x, y, x * y),
        ),
        {"x": normal(n, m), "y": normal(n, m + 1)[:, 1:]},
    ),
    "nll, images": lambda n, m: (
        lambda x, y: F.nll_loss(x.log_softmax(1), y), {"x": normal(n, 3, 2, m), "y": ids(n, 2, m, below=3)},
    ),
    "embedding": lambda n, m: (made(lambda: nn.Embedding(m, 3, padding_idx=0)), {"i": ids(2, n, below=m)}),
    "conv1d": lambda n, m: (made(lambda: nn.Conv1d(2, 3, 3, 2, 1)), {"x": normal(n, 2, m)}),
    "conv2d": lambda n, m: (made(lambda: nn.Conv2d(4, 6, 3, 1, 2, 2, 2)), {"x": normal(1, 4, n + 1, m)}),
    "conv, transposed": lambda n, m: (
        made(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2)), {"x": normal(1, 4, n, m)},
    ),
    "pooling": lambda n, m: (
        lambda x: (
            F.max_pool2d(x, 2, 1, 1), F.avg_pool2d(x, 2, 1, 1), F.adaptive_avg_pool2d(x, 2), F.adaptive_max_pool2d(x, 2),
            F.lp_pool2d(x, 2, 1),
        ),
        {"x": normal(1, 2, n + 1, m)},
    ),
    "sums": lambda n, m: (
        lambda x, i: (x.cumsum(0), x.logsumexp(-1), x.norm(dim=-1), x.clip(-1, 1), torch.zeros_like(x).scatter_add(1, i, x)),
        {"x": normal(n, m), "i": ids(n, m, below=m)},
    ),
    "einsum": lambda n, m: (
        lambda a, b, c: torch.einsum("bij,bjk,k->ik", a, b, c), {"a": normal(2, n, m), "b": normal(2, m, 3), "c": normal(3)},
    ),
    "LSTM": lambda n, m: (made(lambda: nn.LSTM(m, 3, 2, bidirectional=True)), {"x": normal(2, n, m)}),
    "GRU": lambda n, m: (made(lambda: nn.GRU(m, 3, batch_first=True)), {"x": normal(n, 2, m)}),
    "LSTMCell": lambda n, m: (made(lambda: nn.LSTMCell(m, 3)), {"x": normal(n, m)}),
    "GRUCell": lambda n, m: (made(lambda: nn.GRUCell(m, 3)), {"x": normal(n, m)}),
    "RNN": lambda n, m: (made(lambda: nn.RNN(m, 3)), {"x": normal(3, n, m)}),
    "CNN": lambda n, m: (
        made(lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))),
        {"x": normal(2, 1, n + 1, m)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_pytorchs_own_layers_are_within_what_rounding_does(name: str, dtype: str) -> None:
    for n, m in SMALL if name in ("LSTM", "GRU", "RNN") else SHAPES:
        f, inputs = LAYERS[name](n, m)
        worst = held(f, inputs, dtype)
        WORST[name] = max(WORST.get(name, 0.0), worst)
        assert worst < 5, (n, m)


# --- what is recorded, and what is refused --------------------------------------------------------


class Wrong(torch.autograd.Function):
    """x² with a backward that is wrong, and a forward that hides from autograd what it does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float = 1.0) -> Tensor:
        ctx.save_for_backward(x)
        with torch.no_grad():
            y = x.detach() * x.data
        return y * scale

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x * g[0], None


class Separate(torch.autograd.Function):
    """With its context apart, and an output that is not differentiable."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.exp(), x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output[0])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        return g[0] * ctx.saved_tensors[0]


def truth_of(f: Any, inputs: Arrays, params: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """Cotangents, and what the tape says."""
    recording = record(f, inputs, "float64", params or {})
    cotangents, reading = swept(recording, "float64")
    return cotangents, {key: e.hi for key, e in reading.at.items()}


def test_a_backward_is_not_read() -> None:
    for f in (Wrong, lambda x: Wrong.apply(x)):
        c, exact = truth_of(f, {"x": X})
        np.testing.assert_allclose(exact["y", "y"], X * X, 1e-15)
        np.testing.assert_allclose(exact["d", "x"], 2 * X * c["y"], 1e-15)
        ran = candidate(f)(Request({"x": X}, "float64", c, ("x",)))
        np.testing.assert_allclose(ran.gradients["x"].numbers, 3 * X * c["y"], 1e-15)


def test_an_autograd_function_takes_its_params_in_order() -> None:
    c, exact = truth_of(Wrong, {"x": X}, {"scale": 2.0})
    np.testing.assert_allclose(exact["d", "x"], 4 * X * c["y"], 1e-15)


def test_autograd_functions_are_as_they_were_afterwards() -> None:
    before = torch.autograd.Function.apply
    record(Wrong, {"x": X}, "float64", {})
    assert torch.autograd.Function.apply == before
    with pytest.raises(RecordingError):
        record(lambda x: Wrong.apply(x).sum().item(), {"x": X}, "float64", {})
    assert torch.autograd.Function.apply == before


def test_a_function_with_its_context_apart() -> None:
    hold(Separate, {"x": X})


def test_writing_in_place() -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        y = x * 2
        y[1] = w
        y[:, 0] += x[:, 1]
        y.mul_(w).clamp_(-1, 1)
        z = y.view(-1)
        z[3:5] = 0.5
        z.add_(x.reshape(-1), alpha=2)
        out = torch.zeros(3, 4, dtype=x.dtype)
        for i in range(3):
            out[i] = y[i] * (x[i - 1].cumsum(0))
        return out + torch.zeros_like(x).index_add_(0, IDS, y)

    hold(f, {"x": X, "w": ROW})


def test_branches_and_loops() -> None:
    def f(x: Tensor) -> Tensor:
        total = x.new_zeros(())
        for row in x:
            total = total + (row.sum() ** 2 if row[0] > 0 else row.prod())
        while total < 10:
            total = total * 2 + 1
        return total

    hold(f, {"x": X})


def test_a_branch_that_rounding_decides_is_refused() -> None:
    with pytest.raises(at.UndecidedBranchError, match="branches on a comparison"):
        record(
            lambda x: x if (x.exp().log() - x).sum() > 0 else -x, {"x": normal(2, 2)}, "float64", {}
        )


def test_a_branch_that_a_narrow_dtype_takes_otherwise_is_refused() -> None:
    def f(x: Tensor) -> Tensor:
        return x if (1 + x * x).sum() > 1 else -x

    with pytest.raises(at.UndecidedBranchError, match="rounding decides"):
        record(f, {"x": np.array([1e-6])}, "float32", {})


def test_views_and_memory_that_is_not_contiguous() -> None:
    def f(x: Tensor) -> Tensor:
        y = x.transpose(0, 2)[::2]
        z = y.flatten(1).unflatten(1, (3, 2)).movedim(0, -1)
        return z.contiguous().view(6, -1) @ y.reshape(-1, 6)

    hold(f, {"x": LINE})
    hold(lambda x: torch.as_strided(x, (2, 2), (4, 1)) * x[:2, :2], {"x": X})
    with pytest.raises(RecordingError, match="as_strided of a tensor that is not contiguous"):
        record(lambda x: torch.as_strided(x.T * x.T, (2, 2), (4, 1)), {"x": X}, "float64", {})


def test_weights_that_are_shared() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.a(x)))

    assert set(parameters_of(Tied)) == {"a.weight", "a.bias", "b.bias"}
    recording = hold(made(Tied), {"x": X})
    assert set(recording.inputs) == {"x", "a.weight", "a.bias", "b.bias"}
    hold(Tied, {"x": X})  # made anew each time, of the same numbers
    hold(lambda: made(Tied), {"x": X, "a.weight": normal(4, 4)})


def test_a_modules_buffers_are_constants_and_stay_as_they_are() -> None:
    norm = nn.BatchNorm1d(4)
    norm.register_buffer("offset", torch.ones(4))
    hold(norm, {"x": X})
    hold(norm.eval(), {"x": X})
    assert norm.num_batches_tracked == 0
    assert not norm.running_mean.any()
    assert norm.weight.dtype == torch.float32


def test_a_module_in_a_closure_and_its_parameters() -> None:
    layer = made(lambda: nn.Linear(4, 2)).double()
    recording = hold(lambda x: layer(x).relu(), {"x": X})
    assert set(recording.inputs) == {"x"}


def test_what_autograd_is_not_told_has_no_gradient() -> None:
    def f(x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = x.abs().max()
        y = x / scale
        return (torch.round(y) - y).detach() + y

    hold(f, {"x": spread(X)})
    hold(lambda x: x * torch.no_grad()(torch.exp)(x), {"x": X})
    hold(lambda x: (x * 2).detach_() * x, {"x": X})


def test_outputs_have_names() -> None:
    recording = hold(lambda x, y: {"a": x * y, "b": [x.sum(), None, (x > 0)]}, {"x": X, "y": Y})
    assert list(recording.outputs) == ["y[0]", "y[1]"]
    assert list(record(lambda x: (x * 1,), {"x": X}, "float64", {}).outputs) == ["y[0]"]
    hold(lambda x, y: x, {"x": X, "y": Y})


def test_whole_numbers_and_masks_are_constants() -> None:
    def f(x: Tensor, i: Tensor, mask: Tensor, n: int = 1) -> Tensor:
        if mask.any() and int(i.max()) == 2:
            x = x.masked_fill(~mask, 0)
        return x[i].roll(n, 0) * len(i.tolist())

    inputs = {"x": X, "i": np.array([2, 0]), "mask": X > 0}
    recording = record(f, inputs, "float64", {"n": 2})
    assert list(recording.inputs) == ["x"]
    hold(f, inputs)


@pytest.mark.parametrize(
    ("f", "told"),
    [
        (torch.special.i0, r"the operator aten\.i0\.default is not known to the tape"),
        (lambda x: torch.linalg.qr(x)[0], r"the operator aten\.linalg_qr\.default is not known"),
        (lambda x: torch.fft.rfft(x).abs(), "is not known to the tape|complex numbers are not known"),
        (lambda x: torch.complex(x, x).abs(), "is not known to the tape|complex numbers are not known"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "the function is stochastic"),
        (lambda x: F.dropout(x, 0.5), r"stochastic: aten\.\w+\.\w+ draws random numbers; expected none"),
        (lambda x: x + torch.randn(4, dtype=x.dtype), "the function is stochastic"),
        (lambda x: x * x.sum().item(), r"turned into a plain one \(\.item\(\), float\(\), int\(\)\)"),
        (lambda x: x * float(x.sum()), "turned into a plain one"),
        (lambda x: x * x.tolist()[0][0], "turned into a plain one"),
        (lambda x: x * torch.from_numpy(np.sin(x.numpy())), "turned into an array of NumPy"),
        (lambda x: x.scatter_reduce(0, GRID, x, "amax"), "with reduce='amax' is not known"),
        (lambda x: torch.ones(3), "returned nothing that depends on its inputs"),
        (lambda x: x.argmax(), "returned nothing that depends on its inputs"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(f: Any, told: str) -> None:
    with pytest.raises(RecordingError, match=told):
        record(f, {"x": X}, "float64", {})


def test_a_refusal_names_the_line() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 2
        return torch.special.i0(y) + 1

    line = f.__code__.co_firstlineno + 2
    with pytest.raises(
        RecordingError,
        match=rf"not known to the tape.*; in test_from_torch\.py:{line}: return torch",
    ):
        record(f, {"x": X}, "float64", {})


def test_changes_that_autograd_does_not_see_are_refused() -> None:
    def hidden(x: Tensor) -> Tensor:
        y = x * 2
        with torch.no_grad():
            y.mul_(3)
        return y

    def shared(x: Tensor) -> Tensor:
        y = x * 2
        y.data.mul_(3)
        return y

    for f, told in (
        (hidden, r"changed in place under torch\.no_grad\(\)"),
        (shared, r"changed through \.detach\(\) or \.data"),
    ):
        with pytest.raises(RecordingError, match=told):
            record(f, {"x": X}, "float64", {})

    def constant(x: Tensor) -> Tensor:
        with torch.no_grad():
            mask = torch.zeros(3, 4, dtype=x.dtype).fill_(2)
        return x * mask

    hold(constant, {"x": X})


def test_dropout_that_does_nothing() -> None:
    hold(lambda x: F.dropout(F.dropout(x, 0.5, training=False), 0.0), {"x": X})


def test_nothing_of_the_callers_is_written_to() -> None:
    x = X.copy()
    record(lambda x: x.mul_(2) + 1, {"x": x}, "float64", {})
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes(dtype: str) -> None:
    """A gradient that is computed in float32 is still rounded to the dtype of its input."""

    def f(x: Tensor, w: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * w

    def narrow(M: np.ndarray) -> np.ndarray:
        return torch.from_numpy(M).to(getattr(torch, dtype)).double().numpy()

    for g, inputs in ((f, {"x": narrow(X), "w": narrow(ROW)}), (nn.SiLU(), {"x": narrow(X)})):
        recording = record(g, inputs, dtype, {})
        cotangents, reading = swept(recording, dtype)
        model = Model(
            Arithmetic.named(dtype), accuracy, reach=5.0, dtypes={d: Arithmetic.named(d) for d in ("float32", dtype)}
        )  # fmt: skip
        s = errors(recording.tape, reading, model)
        ran = candidate(g)(Request(inputs, dtype, cotangents, tuple(recording.inputs)))
        assert ran.outputs["y"].dtype == dtype
        for key, got in quantities(ran):
            assert (reading.at[key].distance(got) <= 5 * s[key]).all()
            assert (s[key] < 0.1 * np.abs(reading.at[key].hi).max()).all()


# --- candidates -----------------------------------------------------------------------------------


def asked(like: np.ndarray, dtype: str = "float64", **inputs: np.ndarray) -> Request:
    return Request(inputs, dtype, {"y": np.ones(like.shape)}, tuple(n for n in inputs if n != "i"))


def test_a_candidates_gradients_are_autograds() -> None:
    ran = candidate(lambda x, y, p: x * p, {"p": 3.0})(asked(X, x=X, y=Y))
    assert ran.outputs["y"].dtype == "float64"
    np.testing.assert_array_equal(ran.gradients["x"].numbers, 3 + 0 * X)
    assert ran.gradients["y"] is None
    assert ran.notes == ()
    assert candidate(lambda x: x.detach() + 0 * x.detach())(asked(X, x=X)).gradients == {"x": None}


def test_a_pair_of_functions() -> None:
    def backward(c: Tensor, x: Tensor, i: Tensor, w: Tensor) -> Any:
        return c * w, None, (c * x).sum(0)

    f = lambda x, i, w: x * w  # noqa: E731
    request = asked(X, x=X, i=np.array([1, 2]), w=ROW)
    for g in (
        backward,
        lambda *of: (backward(*of)[0], backward(*of)[2]),
        lambda *of: {"w": backward(*of)[2], "x": backward(*of)[0]},
    ):
        ran = vjp(f, g)(request)
        np.testing.assert_allclose(ran.gradients["w"].numbers, X.sum(0), 1e-14)
        np.testing.assert_array_equal(ran.gradients["x"].numbers, np.broadcast_to(ROW, X.shape))
    with pytest.raises(ValueError, match="returned 1 gradients; expected 2, of x, w"):
        vjp(f, lambda *of: backward(*of)[0])(request)


def test_what_a_candidate_does_beside_is_noted() -> None:
    calls = []

    def writes(x: Tensor) -> Tensor:
        y = x * 1
        x.data[0] = 0
        return y

    def counts(x: Tensor) -> Tensor:
        calls.append(1)
        return x * len(calls)

    assert candidate(writes)(asked(X, x=X)).notes == ("writes to its input x",)
    assert candidate(counts)(asked(X, x=X)).notes == (
        "gives other bits when it is called a second time",
    )
    assert candidate(lambda x: x.float())(asked(X, x=X)).notes == (
        "returns y in float32, and its inputs are float64",
    )
    ran = candidate(lambda x: x.sum(0))(asked(X, x=X))
    assert ran.notes == ("returns y of another shape: no gradient is asked for",)
    assert ran.gradients == {"x": None}


def test_a_candidate_is_asked_for_memory_that_is_not_contiguous() -> None:
    def raw(x: Tensor, y: Tensor) -> Tensor:
        return x * torch.as_strided(y, (3, 4), (4, 1))

    same = candidate(raw)
    request = asked(X, x=X, y=Y)
    np.testing.assert_array_equal(same(request).outputs["y"].numbers, X * Y)
    assert (same.strided(request).outputs["y"].numbers != X * Y).any()
    for f, inputs in ((nn.Linear(4, 2), {"x": X}), (torch.mul, {"x": X, "y": ROW})):
        request = Request(
            inputs, "float64", {"y": np.ones((3, 2) if len(inputs) == 1 else (3, 4))}, ("x",)
        )
        np.testing.assert_allclose(
            candidate(f).strided(request).gradients["x"].numbers,
            candidate(f)(request).gradients["x"].numbers,
            1e-14,
        )


def test_a_candidate_leaves_pytorch_as_it_was() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    candidate(torch.exp)(asked(X, x=X))
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


def test_the_parameters_of_a_module() -> None:
    found = parameters_of(nn.Linear(3, 2))
    assert {n: (M.shape, M.dtype.name) for n, M in found.items()} == {
        "weight": ((2, 3), "float64"), "bias": ((2,), "float64"),
    }  # fmt: skip
    assert parameters_of(torch.exp) == {}
    first, second = parameters_of(lambda: nn.Linear(3, 2)), parameters_of(lambda: nn.Linear(3, 2))
    np.testing.assert_array_equal(first["weight"], second["weight"])
    assert candidate(nn.Linear(3, 2))(
        Request({"x": normal(5, 3)}, "float32", {"y": np.ones((5, 2))}, ("x", "weight"))
    ).gradients["weight"]
