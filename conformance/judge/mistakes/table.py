"""The mistakes that people make in backpropagation, one row each.

A row says what the mistake is, the quantity and layer in which it first shows, the gate that must catch it,
and how it is planted: which step of `loop.STEPS` it wraps. `equals` is the outcome, in the notes' notation;
{l} is the layer, {m} the next, {k} the one before, {G} is ∂L/∂Z_l.

Wrong computations that are too long for a row come before the rows. Where a mistake cannot be made (there is
no bias, σ is another one, a shape does not fit) they return the right outcome.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from conformance.judge.mistakes.loop import STEPS, State, Step, Wrap
from conformance.model.problem import Floats
from conformance.tools.trouble import RefusedError
from conformance.truth.definitions import ACTIVATIONS, ROW_WISE

__all__ = ["FAULTS", "Fault", "FaultError", "at_clipped_outputs", "fault", "smoothed"]


class FaultError(RefusedError):
    """There is no such fault: the name that was asked for, and the nearest one."""


@dataclass(frozen=True)
class Fault:
    """One mistake."""

    name: str
    what: str  # after a colon: "δ_2 equals …: the derivative is missing"
    shows: str  # the quantity that the step gate blames first
    where: str  # in which layer: "L", "<L", ">1" or "any"
    gate: str  # that must catch it
    wrong: Mapping[str, Wrap]
    equals: str = ""
    hint: str = ""
    looks: Mapping[str, Callable[[State, int], Floats]] = field(default_factory=dict)
    """What replaces a quantity that is overwritten after its step, by quantity."""
    or_in: str = ""
    """Another quantity that may be blamed first, if the fault changes nothing in the quantity `shows`."""


# --- how a step is wrapped ------------------------------------------------------------------------

OfLoss = Callable[[State, Floats], Floats]
"""(state, right loss or right ∂L/∂Z_L) to the wrong one."""
OfLayer = Callable[[State, int, Floats], Floats]
"""(state, l, right M_l) to the wrong M_l."""
OfDelta = Callable[[State, int, Floats, Floats], Floats]
"""(state, l, G_l, right δ_l) to the wrong δ_l."""


def _loss_gradient(f: OfLoss) -> Mapping[str, Wrap]:
    """f(s, G_L) for ∂L/∂Z_L."""
    return {"G_L": lambda right: lambda s: f(s, right(s))}


def _value(f: OfLoss) -> Mapping[str, Wrap]:
    """f(s, L) for the loss."""
    return {"loss": lambda right: lambda s: np.asarray(f(s, right(s)), s.p.dtype)}


def _layer(step: str, f: OfLayer) -> Mapping[str, Wrap]:
    """f(s, l, M) for A_l, Z_l, ∂L/∂W_l or the updated W_l."""
    return {step: lambda right: lambda s, l: _fitting(lambda M: f(s, l, M), right(s, l))}


def _G(f: OfLayer) -> Mapping[str, Wrap]:
    """f(s, l, G_l) for δ_{l+1} W_{l+1}ᵀ."""
    return _layer("G", f)


def _delta(f: OfDelta) -> Mapping[str, Wrap]:
    """f(s, l, G, δ_l) for δ_l."""
    return {
        "delta": lambda right: lambda s, l, G: _fitting(lambda M: f(s, l, G, M), right(s, l, G))
    }


def _fitting(f: Callable[[Floats], Floats], right: Floats) -> Floats:
    """f(right); or `right` if the shapes do not fit, since code with such a mistake does not run."""
    try:
        wrong = np.asarray(f(right))
    except (ValueError, KeyError):
        return right
    return wrong.astype(right.dtype) if wrong.shape == right.shape else right


def _at(of: Callable[[State, int], Floats]) -> Mapping[str, Wrap]:
    """σ'_l at something other than A_l."""

    def wrap(right: Step) -> Step:
        def wrong(s: State, l: int, G: Floats) -> Floats:
            try:
                A = of(s, l)
            except KeyError:  # there is no such layer
                return right(s, l, G)
            return right(_with_A(s, l, A) if A.shape == s.A[l].shape else s, l, G)

        return wrong

    return {"delta": wrap}


def _with_A(s: State, l: int, A: Floats) -> State:
    other = s.copy()
    other.A[l] = A
    return other


def _with_sigma(name: Callable[[State, int], str], *steps: str) -> Mapping[str, Wrap]:
    """Another σ_l in those steps."""

    def wrap(right: Step) -> Step:
        def wrong(s: State, l: int, *G: Floats) -> Floats:
            other = s.copy()
            other.p = replace(s.p, sigma={**s.p.sigma, l: name(s, l)})
            return right(other, l, *G)

        return wrong

    return dict.fromkeys(steps, wrap)


def _with_loss(*losses: str) -> Callable[[OfLoss], OfLoss]:
    """A mistake that can be made with some losses only."""

    def decorate(f: OfLoss) -> OfLoss:
        return lambda s, G: f(s, G) if s.p.loss in losses else G

    return decorate


def _with_elementwise_sigma(f: OfDelta) -> OfDelta:
    """A mistake that can be made with an elementwise σ_l only."""
    return lambda s, l, G, right: f(s, l, G, right) if _elementwise(s, l) else right


def _elementwise(s: State, l: int) -> bool:
    return s.p.sigma[l] not in ROW_WISE


# --- the loss -------------------------------------------------------------------------------------

CROSS_ENTROPIES = ("cross_entropy", "log_softmax_cross_entropy", "binary_cross_entropy")
SMOOTH = 0.1  # label smoothing


def _with_targets(Y: Callable[[State], Floats]) -> OfLoss:
    """∂L/∂Z_L with other targets."""
    return lambda s, G: s.loss().gradient(s.Z[s.L], Y(s))


def smoothed(s: State, e: float) -> Floats:
    """∂L/∂Z_L with the targets (1 − ε)Y + ε/d_L."""
    number = s.p.dtype.type
    return s.loss().gradient(s.Z[s.L], s.p.Y * number(1 - e) + number(e / s.p.Y.shape[1]))


def at_clipped_outputs(s: State, e: float) -> Floats:
    """∂L/∂Z_L with the outputs clipped to [ε, 1 − ε]."""
    return s.loss().gradient(np.clip(s.Z[s.L], e, 1 - e).astype(s.p.dtype), s.p.Y)


@_with_loss("mean_squared_error")
def _broadcast(s: State, G: Floats) -> Floats:
    """(n,) − (n, 1) is n×n: every example is compared with all targets, and the mean is taken."""
    return np.asarray(2 * (s.Z[s.L] - s.p.Y.mean(axis=0)) / s.n)


def _classes_clipped(e: float) -> OfLoss:
    """max(z, e) has the derivative 0 below e."""
    return _with_loss("cross_entropy")(lambda s, G: np.where(s.Z[s.L] < e, 0, G))


@_with_loss("cross_entropy")
def _logarithm_floored(s: State, G: Floats) -> Floats:
    """log(z + 1e-20) instead of log z."""
    return np.asarray(-s.p.Y / (s.Z[s.L] + s.p.dtype.type(1e-20)) / s.n)


def _outputs_minus_targets(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """(Z_L − Y)/n, which is δ_L of a cross entropy, under another loss."""
    fits = s.p.loss in CROSS_ENTROPIES or s.p.sigma[l] == "identity"
    return right if l < s.L or fits else (s.Z[l] - s.p.Y) / s.n


@_with_loss("cross_entropy", "binary_cross_entropy")
def _fused_then_again(s: State, G: Floats) -> Floats:
    """(Z_L − Y)/n used as ∂L/∂Z_L: σ' is then applied to it."""
    return (s.Z[s.L] - s.p.Y) / s.n


@_with_loss("log_softmax_cross_entropy")
def _probability_gradient(s: State, G: Floats) -> Floats:
    """−Y/p, the gradient in a probability p = exp z, where z is its logarithm."""
    return -s.p.Y / np.exp(s.Z[s.L]) / s.n


# --- δ --------------------------------------------------------------------------------------------

FLOOR = 1e-6  # a smaller σ' is replaced by this


def _elementwise_softmax(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """G times the diagonal of the Jacobian."""
    if _elementwise(s, l):
        return right
    z = s.Z[l]
    return np.asarray(G * (z * (1 - z) if s.p.sigma[l] == "softmax" else 1 - np.exp(z)))


def _no_sum(s: State, l: int, G: Floats, right: Floats) -> Floats:
    if _elementwise(s, l):
        return right
    return G * s.Z[l] if s.p.sigma[l] == "softmax" else G


def _from_output(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """1 − z² for tanh', z(1 − z) for sigmoid': right, except where z is rounded to ±1 or 1."""
    z = s.Z[l]
    if s.p.sigma[l] == "tanh":
        return np.asarray(G * (1 - z * z))
    return G * (z * (1 - z)) if s.p.sigma[l] == "sigmoid" else right


def _output_form_at_the_input(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """1 − z² for tanh', z(1 − z) for sigmoid', at z = A_l."""
    a = s.A[l]
    if s.p.sigma[l] == "tanh":
        return np.asarray(G * (1 - a * a))
    return G * (a * (1 - a)) if s.p.sigma[l] == "sigmoid" else right


def _factor_forgotten(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """The factor 1 − z alone, for z(1 − z) and for (1 − z)(1 + z)."""
    return G * (1 - s.Z[l]) if s.p.sigma[l] in ("tanh", "sigmoid") else right


def _handed_past(right: Step) -> Step:
    """∂L/∂Z_{l+1}, instead of δ_{l+1}, taken through W_{l+1}ᵀ."""

    def wrong(s: State, l: int) -> Floats:
        m = l + 1
        G = s.loss().gradient(s.Z[m], s.p.Y) if m == s.L else s.delta[m + 1] @ s.p.weights(m + 1).T
        return G @ s.p.weights(m).T

    return wrong


@_with_elementwise_sigma
def _as_if_sigmoid(s: State, l: int, G: Floats, right: Floats) -> Floats:
    return right if s.p.sigma[l] == "sigmoid" else G * s.Z[l] * (1 - s.Z[l])


@_with_elementwise_sigma
def _value_for_derivative(s: State, l: int, G: Floats, right: Floats) -> Floats:
    return G * s.sigma(l)(s.A[l])


@_with_elementwise_sigma
def _twice(s: State, l: int, G: Floats, right: Floats) -> Floats:
    return s.sigma(l).vjp(s.A[l], right)


@_with_elementwise_sigma
def _floored(s: State, l: int, G: Floats, right: Floats) -> Floats:
    D = s.sigma(l).derivative(s.A[l])
    return np.where(np.abs(D) < FLOOR, G * s.p.dtype.type(FLOOR), right)


def _kink(side: int) -> OfDelta:
    """σ' at a kink from one side; +1 is the right side."""

    @_with_elementwise_sigma
    def wrong(s: State, l: int, G: Floats, right: Floats) -> Floats:
        A = s.A[l]
        at = np.isin(A, np.array(ACTIVATIONS[s.p.sigma[l]].breaks, s.p.dtype))
        beside = np.nextafter(A, A.dtype.type(side * np.inf))
        least = np.finfo(A.dtype).smallest_normal
        beside = np.where(A == 0, A.dtype.type(side) * least, beside)
        return np.where(at, G * s.sigma(l).derivative(beside), right)

    return wrong


def _one_element(s: State, l: int, G: Floats, right: Floats) -> Floats:
    """The largest element of the middle layer's δ is slightly off."""
    if l != (s.L + 1) // 2:
        return right
    M = right.copy()
    i = np.unravel_index(np.abs(M).argmax(), M.shape)
    M[i] *= 1 + 1e-12 if s.p.dtype == np.float64 else 1 + 1e-5
    return M


def _copied_row(s: State, l: int, G: Floats, right: Floats) -> Floats:
    return np.vstack([right[-1:], right[1:]])


def _last_row_zero(s: State, l: int, G: Floats, right: Floats) -> Floats:
    return np.vstack([right[:-1], np.zeros_like(right[-1:])]) if s.n > 1 else right


def _shared(right: Step) -> Step:
    """One buffer for all δ of one shape: an earlier δ holds what was written last."""

    def wrong(s: State, l: int, G: Floats) -> Floats:
        M = right(s, l, G)
        for m, other in s.delta.items():
            if other.shape == M.shape:
                s.delta[m] = M
        return M

    return wrong


def _last_written(s: State, l: int) -> Floats:
    """The δ of a lower layer that has replaced δ_l. Raises KeyError if none has."""
    for m, M in s.delta.items():
        if m < l and M.shape == s.delta[l].shape and np.array_equal(M, s.delta[l]) and M.any():
            return M
    raise KeyError(l)


# --- ∂L/∂W ----------------------------------------------------------------------------------------

# the limit of the norm, that of an element, the weight decay, and the size below which an element becomes 0
NORM, CLIP, DECAY, SMALL = 0.125, 0.0625, 0.01, 1e-3


def _bias_row(f: OfLayer) -> Mapping[str, Wrap]:
    """f(s, l, ∂L/∂W_l) for the gradient of the bias."""
    return _layer("dW", lambda s, l, M: np.vstack([M[:-1], f(s, l, M)]) if s.p.bias else M)


def _clipped(s: State, M: Floats) -> Floats:
    return np.clip(M, -s.p.dtype.type(CLIP), s.p.dtype.type(CLIP))


def _norm_clipped(s: State, l: int, M: Floats) -> Floats:
    scale = max(float(np.abs(M).max()), np.finfo(float).tiny)
    norm = scale * float(np.linalg.norm(M.astype(float) / scale))
    return M * s.p.dtype.type(NORM / norm) if norm > NORM else M


def _means(s: State, l: int, M: Floats) -> Floats:
    Z, D = s.before(l), s.delta[l]
    return np.outer(Z.mean(axis=0), D.mean(axis=0)) * s.n


def _without_last_example(M: Floats) -> Floats:
    return M[:-1] if len(M) > 1 else M


def _backwards(right: Step) -> Step:
    """∂L/∂W_l and ∂L/∂W_{L+1−l} swapped, where their shapes fit."""

    def wrong(s: State, l: int) -> Floats:
        M, m = right(s, l), s.L + 1 - l
        other = s.dW.get(m)
        if other is None or m == l or other.shape != M.shape:
            return M
        s.dW[m] = M
        return other

    return wrong


def _reordered(s: State, l: int, M: Floats) -> Floats:
    """The same sum, from the last example to the first in every second pair of runs."""
    if s.runs % 4 < 2:
        return M
    Z, D = s.before(l)[::-1], s.delta[l][::-1]
    sums = np.add.accumulate(Z[:, :, None] * D[:, None, :], axis=0)
    return np.asarray(sums[-1])


# --- arithmetic -----------------------------------------------------------------------------------


def _half(M: Floats) -> Floats:
    return M.astype(np.float16)


def _in_single(s: State, l: int, M: Floats) -> Floats:
    return np.asarray(s.before(l).astype("float32") @ s.p.W[l].astype("float32"))


def tf32(M: Floats) -> Floats:
    """M as a TF32 unit reads it: 11 bits of float32's 24, to nearest."""
    bits = np.ascontiguousarray(M, "float32").view("uint32")
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view("float32")


def _in_tf32(s: State, l: int, M: Floats) -> Floats:
    return tf32(s.before(l)) @ tf32(s.p.W[l]) if s.p.dtype == np.float32 else M


def _half_sums(s: State, l: int, M: Floats) -> Floats:
    """Σ_k z_ik w_kj with each partial sum rounded to float16."""
    total = np.zeros(M.shape, np.float16)
    for k in range(s.before(l).shape[1]):
        product = np.outer(s.before(l)[:, k], s.p.W[l][k]).astype(np.float16)
        total = (total + product).astype(np.float16)
    return total


def _flushed(s: State, l: int, M: Floats) -> Floats:
    return np.where(np.abs(M) < np.finfo(M.dtype).smallest_normal, M.dtype.type(0), M)


def _noisy(s: State, l: int, M: Floats) -> Floats:
    noise = np.random.default_rng([l, s.runs]).normal(size=M.shape)
    return np.asarray(M * (1 + 1e-9 * noise).astype(M.dtype))


def _dropout(s: State, l: int, M: Floats) -> Floats:
    if l == s.L:
        return M
    kept = np.random.default_rng([l, s.runs]).random(M.shape) < 0.8
    return np.asarray(M * kept / M.dtype.type(0.8))


# --- state ----------------------------------------------------------------------------------------


def _stale_dW(s: State, l: int, M: Floats) -> Floats:
    return s.earlier().before(l).T @ s.delta[l] if l > 1 else M


def _stale_G(s: State, l: int, M: Floats) -> Floats:
    return s.earlier().delta[l + 1] @ s.p.weights(l + 1).T


def _accumulated(s: State, l: int, M: Floats) -> Floats:
    return M + s.past.dW[l] if s.past is not None else M


def _updated_weights(s: State, l: int, M: Floats) -> Floats:
    new = STEPS["W_new"](s, l + 1)
    return s.delta[l + 1] @ (new[:-1] if s.p.bias else new).T


def _in_place(right: Step) -> Step:
    """σ(A, out=A): what is stored as A_l is Z_l."""

    def wrong(s: State, l: int) -> Floats:
        s.A[l] = right(s, l)
        return s.A[l].copy()

    return wrong


# --- forward --------------------------------------------------------------------------------------


def _without_bias(s: State, l: int, M: Floats) -> Floats:
    return s.Z[l - 1] @ s.p.weights(l)


def _softmax_over_batch(s: State, l: int, M: Floats) -> Floats:
    return M if _elementwise(s, l) else s.sigma(l)(np.ascontiguousarray(s.A[l].T)).T


def _clipped_output(s: State, l: int, M: Floats) -> Floats:
    probabilities = l == s.L and s.p.sigma[l] in ("softmax", "sigmoid")
    return np.clip(M, 1e-7, 1 - 1e-7) if probabilities else M


def _unshifted(s: State, l: int, M: Floats) -> Floats:
    """exp of the numbers themselves, which overflows."""
    if _elementwise(s, l):
        return M
    with np.errstate(all="ignore"):
        e = np.exp(s.A[l])
        S = e.sum(axis=1, keepdims=True)
        return np.asarray(e / S if s.p.sigma[l] == "softmax" else s.A[l] - np.log(S))


def _lost(P: Floats, Q: Floats, right: Floats, tile: int) -> Floats:
    """PQ without the terms beyond the last whole tile."""
    k = P.shape[1]
    kept = k // tile * tile
    return P[:, :kept] @ Q[:kept] if k > tile and kept < k else right


def _terms_lost(tile: int) -> Mapping[str, Wrap]:
    return {
        **_layer("A", lambda s, l, M: _lost(s.before(l), s.p.W[l], M, tile)),
        **_G(lambda s, l, M: _lost(s.delta[l + 1], s.p.weights(l + 1).T, M, tile)),
        **_layer("dW", lambda s, l, M: _lost(s.before(l).T, s.delta[l], M, tile)),
    }


def _columns_lost(s: State, l: int, M: Floats) -> Floats:
    """0 in the columns beyond the last whole tile of 64."""
    return np.where(np.arange(M.shape[1]) >= max(64, M.shape[1] // 64 * 64), 0, M)


OTHER = {"gelu": "gelu_tanh", "gelu_tanh": "gelu", "silu": "hardswish", "sigmoid": "hardsigmoid"}


def _approximated(s: State, l: int) -> str:
    return OTHER.get(s.p.sigma[l], s.p.sigma[l])


def _first(s: State, l: int) -> str:
    return s.p.sigma[1] if l < s.L else s.p.sigma[l]


def _of_layer(s: State, l: int, m: int) -> str:
    """The name of σ_m in layer l; σ_l where there is no layer m, or its σ is row-wise."""
    other = s.p.sigma.get(m, s.p.sigma[l])
    return s.p.sigma[l] if other in ROW_WISE else other


# fmt: off
ROWS: tuple[Fault, ...] = (
    # name, what, shows, where, gate, wrong, equals, hint

    # the loss and its gradient
    Fault("mean-missing", "the 1/n of the loss is missing in its gradient", "delta", "L", "step",
          _loss_gradient(lambda s, G: G * s.n),
          "n · (the right δ_{l})", "Divide ∂L/∂Z_L by n, the number of examples."),
    Fault("mean-twice", "it is divided by n twice", "delta", "L", "step",
          _loss_gradient(lambda s, G: G / s.n),
          "(the right δ_{l})/n", "Divide by n once: the loss's gradient already has its 1/n."),
    Fault("mean-over-outputs", "the mean is taken over examples and outputs; the notes divide by n alone", "delta", "L", "step",
          _loss_gradient(lambda s, G: G / s.Z[s.L].shape[1]),
          "(the right δ_{l})/d_L", "Divide by n, not by n·d_L (torch's reduction='mean' divides by both)."),
    Fault("factor-two-missing", "the factor 2 of the squared error is missing", "delta", "L", "step",
          _loss_gradient(lambda s, G: G / 2),
          "(the right δ_{l})/2", "The derivative of (z − y)² is 2(z − y): keep the 2, or halve the loss as well."),
    Fault("factor-two-extra", "there is a factor 2 too many", "delta", "L", "step",
          _loss_gradient(lambda s, G: 2 * G),
          "2 · (the right δ_{l})", "Only the squared error has a 2, and once."),
    Fault("sign-flipped", "the sign is the other one: y − z for z − y", "delta", "L", "step",
          _loss_gradient(lambda s, G: -G),
          "−(the right δ_{l})", "∂L/∂Z_L has z − y, and the update subtracts."),
    Fault("targets-broadcast", "Y is broadcast against Z_L: (n,) − (n, 1) is n×n", "delta", "L", "step",
          _loss_gradient(_broadcast),
          "2(Z_L − mean of Y)/n ⊙ σ'_L(A_L)", "Give Y the shape of Z_L, n×d_L."),
    Fault("targets-shifted", "each example is held against the target of another", "delta", "L", "step",
          _loss_gradient(_with_targets(lambda s: np.roll(s.p.Y, 1, axis=0))),
          "∂L/∂Z_L with y_{{i−1}} for y_i", "Shuffle X and Y with the same permutation."),
    Fault("targets-rounded", "the targets are rounded to 0 and 1", "delta", "L", "step",
          _loss_gradient(_with_loss(*CROSS_ENTROPIES)(_with_targets(lambda s: np.round(s.p.Y)))),
          "∂L/∂Z_L with the targets rounded", "Take Y as it is: soft labels are not class numbers."),
    Fault("targets-smoothed", "the targets are smoothed", "delta", "L", "step",
          _loss_gradient(_with_loss(*CROSS_ENTROPIES)(lambda s, G: smoothed(s, SMOOTH))),
          "∂L/∂Z_L with (1 − ε)Y + ε/d_L for Y", "Take Y as it is; label smoothing belongs in the data."),
    Fault("targets-in-half", "the targets pass through float16", "delta", "L", "step",
          _loss_gradient(_with_targets(lambda s: _half(s.p.Y).astype(s.p.dtype))),
          "∂L/∂Z_L with Y rounded to 11 bits", "Keep Y in the network's dtype."),
    Fault("probabilities-clipped", "probabilities are clipped to [1e-7, 1 − 1e-7] before the loss", "delta", "L", "step",
          _loss_gradient(_with_loss("cross_entropy", "binary_cross_entropy")(lambda s, G: at_clipped_outputs(s, 1e-7))),
          "∂L/∂Z_L at clipped outputs", "Differentiate the logarithm of the softmax or sigmoid instead of clipping."),
    Fault("classes-clipped", "probabilities below 1e-7 are clipped, and have no gradient", "delta", "L", "step",
          _loss_gradient(_classes_clipped(1e-7)),
          "∂L/∂Z_L with 0 where z is below 1e-7", "Differentiate the logarithm of the softmax instead of clipping."),
    Fault("classes-clipped-late", "probabilities below 1e-12 are clipped, and have no gradient", "delta", "L", "step",
          _loss_gradient(_classes_clipped(1e-12)),
          "∂L/∂Z_L with 0 where z is below 1e-12", "Differentiate the logarithm of the softmax instead of clipping."),
    Fault("logarithm-floored", "the logarithm is of z + 1e-20", "delta", "L", "step",
          _loss_gradient(_logarithm_floored),
          "−Y/(Z_L + 1e-20)/n taken through σ'_L", "Differentiate the logarithm of the softmax instead of adding a constant."),
    Fault("fused-under-another-loss", "Z_L − Y is δ_L of a cross entropy, not of this loss", "delta", "L", "step",
          _delta(_outputs_minus_targets),
          "(Z_L − Y)/n", "Take ∂L/∂Z_L of the loss there is, and multiply by σ'_L(A_L)."),
    Fault("fused-and-unfused", "Z_L − Y is already δ_L, and σ'_L is applied to it once more", "delta", "L", "step",
          _loss_gradient(_fused_then_again),
          "(Z_L − Y)/n taken through σ'_L", "Use either −Y/Z_L with σ'_L, or Z_L − Y without it."),
    Fault("probability-for-logarithm", "the gradient in a probability is used for its logarithm", "delta", "L", "step",
          _loss_gradient(_probability_gradient),
          "−Y/exp(Z_L)/n taken through σ'_L", "With log_softmax outputs ∂L/∂Z_L is −Y/n."),
    Fault("loss-halved", "there is a factor 1/2 that the gradient does not have", "loss", "L", "step",
          _value(lambda s, v: v / 2), "L/2", "The notes' loss has no 1/2."),
    Fault("loss-over-outputs", "the loss is divided by n·d_L; the notes divide by n", "loss", "L", "step",
          _value(lambda s, v: v / s.Z[s.L].shape[1]), "L/d_L", "Divide by n alone."),
    Fault("loss-not-averaged", "the loss is a sum over the batch; the notes take the mean", "loss", "L", "step",
          _value(lambda s, v: v * s.n), "n·L", "Divide by n."),

    # σ'
    Fault("derivative-missing", "σ' is missing", "delta", "any", "step",
          _delta(lambda s, l, G, right: G),
          "{G}", "Multiply elementwise by σ'_l(A_l)."),
    Fault("derivative-missing-at-output", "σ'_L is missing at the output", "delta", "L", "step",
          _delta(lambda s, l, G, right: G if l == s.L else right),
          "{G}", "δ_L is ∂L/∂Z_L ⊙ σ'_L(A_L)."),
    Fault("derivative-at-the-output", "the derivative is taken at the output instead of the pre-activation", "delta", "any", "step",
          _at(lambda s, l: s.Z[l]),
          "{G} ⊙ σ'_{l}(Z_{l})", "Take σ'_l at A_l; Z_l is σ_l(A_l)."),
    Fault("derivative-at-the-next-layer", "the derivative is taken at the next layer's pre-activation", "delta", "<L", "step",
          _at(lambda s, l: s.A[l + 1]),
          "{G} ⊙ σ'_{l}(A_{m})", "Use A_l for δ_l: an index is one too high."),
    Fault("derivative-at-the-previous-layer", "the derivative is taken at the previous layer's pre-activation", "delta", "any", "step",
          _at(lambda s, l: s.A[l - 1]),
          "{G} ⊙ σ'_{l}(A_{k})", "Use A_l for δ_l: an index is one too low."),
    Fault("derivative-of-the-next-layer", "the next layer's σ' is used", "delta", "<L", "step",
          _with_sigma(lambda s, l: _of_layer(s, l, l + 1), "delta"),
          "{G} ⊙ σ'_{m}(A_{l})", "Use σ'_l for δ_l."),
    Fault("derivative-of-the-previous-layer", "the previous layer's σ' is used", "delta", "any", "step",
          _with_sigma(lambda s, l: _of_layer(s, l, l - 1), "delta"),
          "{G} ⊙ σ'_{k}(A_{l})", "Use σ'_l for δ_l."),
    Fault("derivative-of-the-first-layer", "σ'_1 is used in every hidden layer", "delta", "<L", "step",
          _with_sigma(_first, "delta"),
          "{G} ⊙ σ'_1(A_{l})", "Each layer has its own σ'_l."),
    Fault("value-for-derivative", "σ is used where σ' belongs", "delta", "any", "step",
          _delta(_value_for_derivative),
          "{G} ⊙ σ_{l}(A_{l})", "Multiply by the derivative, not by the value."),
    Fault("derivative-twice", "σ' is multiplied in twice", "delta", "any", "step",
          _delta(_twice),
          "{G} ⊙ σ'_{l}(A_{l}) ⊙ σ'_{l}(A_{l})", "Multiply by σ'_l(A_l) once."),
    Fault("derivative-of-sigmoid", "z(1 − z) is the derivative of sigmoid alone", "delta", "any", "step",
          _delta(_as_if_sigmoid),
          "{G} ⊙ Z_{l} ⊙ (1 − Z_{l})", "Use the derivative of the activation that the layer has."),
    Fault("derivative-from-the-output", "σ' is formed from the output (1 − z², z(1 − z)) and lost where z is rounded", "delta", "any", "step",
          _delta(_from_output),
          "{G} ⊙ σ'_{l} formed from Z_{l}", "Form σ' from A_l: 1/cosh²(a), or σ(a)σ(−a)."),
    Fault("output-form-at-the-input", "σ' has its form in the output (z(1 − z), 1 − z²), and is given the pre-activation", "delta", "any", "step",
          _delta(_output_form_at_the_input),
          "{G} ⊙ A_{l} ⊙ (1 − A_{l}), or (1 − A_{l}²) of tanh", "Give that form Z_l, or take σ'_l at A_l."),
    Fault("derivative-factor-forgotten", "a factor of σ' is missing: 1 − z for z(1 − z), or for 1 − z²", "delta", "any", "step",
          _delta(_factor_forgotten),
          "{G} ⊙ (1 − Z_{l})", "sigmoid' is z(1 − z), and tanh' is (1 − z)(1 + z)."),
    Fault("derivative-floored", "σ' is kept from falling below 1e-6", "delta", "any", "step",
          _delta(_floored),
          "{G} ⊙ max(σ'_{l}(A_{l}), 1e-6)", "Let σ' vanish where it does."),
    Fault("kink-from-the-right", "at a kink σ' is taken from the right (A ≥ 0 for A > 0)", "delta", "any", "step",
          _delta(_kink(+1)),
          "{G} ⊙ σ'_{l}(A_{l}), from the right at a kink", "Compare with > where the convention has >, or say which value σ' has there."),
    Fault("kink-from-the-left", "at a kink σ' is taken from the left", "delta", "any", "step",
          _delta(_kink(-1)),
          "{G} ⊙ σ'_{l}(A_{l}), from the left at a kink", "Say which value σ' has at its kink, and keep to it."),
    Fault("softmax-elementwise", "softmax is differentiated as if it were elementwise", "delta", "any", "step",
          _delta(_elementwise_softmax),
          "{G} ⊙ the diagonal of the Jacobian", "Each output of a softmax depends on the whole row: multiply by the full Jacobian, s ⊙ (G − Σ G ⊙ s)."),
    Fault("softmax-sum-missing", "the sum over the row is missing in softmax's derivative", "delta", "any", "step",
          _delta(_no_sum),
          "the first term of {G} times the Jacobian", "softmax: s ⊙ (G − Σ G ⊙ s); log_softmax: G − s Σ G."),

    # the way back
    Fault("sign-flipped-below", "the sign is turned around in the hidden layers", "delta", "<L", "step",
          _G(lambda s, l, M: -M),
          "−{G} ⊙ σ'_{l}(A_{l})", "δ_l has the sign of δ_{l+1} W_{l+1}ᵀ: subtract in the update alone."),
    Fault("delta-never-computed", "it was never computed, or never stored", "delta", "<L", "step",
          _delta(lambda s, l, G, right: np.zeros_like(right) if l < s.L else right),
          "0", "Look at the bounds of the loop: it runs from L − 1 down to 1, and 1 is included.",
          looks={"delta": lambda s, l: np.zeros_like(s.delta[l])}),
    Fault("weights-of-this-layer", "W_l is used where W_{l+1} belongs (as the notes print it)", "delta", "<L", "step",
          _G(lambda s, l, M: s.delta[l + 1] @ s.p.weights(l).T),
          "(δ_{m} W_{l}ᵀ) ⊙ σ'_{l}(A_{l})", "δ_l comes back through the next layer's weights, W_{l+1}."),
    Fault("weights-not-transposed", "W_{l+1} is not transposed", "delta", "<L", "step",
          _G(lambda s, l, M: s.delta[l + 1] @ s.p.weights(l + 1)),
          "(δ_{m} W_{m}) ⊙ σ'_{l}(A_{l})", "Multiply by W_{l+1}ᵀ."),
    Fault("weights-updated-first", "W_{l+1} is updated before δ_l is taken through it", "delta", "<L", "step",
          _G(_updated_weights),
          "(δ_{m} (W_{m} − α ∂L/∂W_{m})ᵀ) ⊙ σ'_{l}(A_{l})", "Compute every δ_l first, then update."),
    Fault("constant-unit-propagated", "the constant unit's column is kept and another one dropped", "delta", "<L", "step",
          _G(lambda s, l, M: (s.delta[l + 1] @ s.p.W[l + 1].T)[:, 1:] if s.p.bias else M),
          "(δ_{m} W̃_{m}ᵀ without its first column) ⊙ σ'_{l}(A_{l})", "The bias row of W_{l+1} leads to the constant unit: drop that column."),
    Fault("delta-not-handed-on", "∂L/∂Z_{l+1} is handed on, and not δ_{l+1}: the next layer's σ' is left out below it", "delta", "<L", "step",
          {"G": _handed_past},
          "(∂L/∂Z_{m} W_{m}ᵀ) ⊙ σ'_{l}(A_{l})", "Hand on δ_{m}, with its σ', to the layer below."),
    Fault("weights-missing", "δ_{l+1} is not taken through W_{l+1}ᵀ", "delta", "<L", "step",
          _G(lambda s, l, M: s.delta[l + 1]),
          "δ_{m} ⊙ σ'_{l}(A_{l})", "Multiply δ_{l+1} by W_{l+1}ᵀ first."),
    Fault("delta-averaged", "the mean over the batch is taken", "delta", "any", "step",
          _delta(lambda s, l, G, right: np.broadcast_to(right.mean(axis=0), right.shape)),
          "the mean of the right δ_{l} over the examples, in every row", "Keep a row of δ_l for each example; the sum over them is in Z_{l−1}ᵀ δ_l."),
    Fault("delta-clipped", "it is clipped", "delta", "any", "step",
          _delta(lambda s, l, G, right: _clipped(s, right)),
          "the right δ_{l}, clipped to ±c", "Clip gradients, if at all, after they are complete, and not in a check."),
    Fault("delta-in-half", "it is kept in float16", "delta", "any", "step",
          _delta(lambda s, l, G, right: _half(right)),
          "the right δ_{l}, rounded to float16", "Keep δ_l in the network's dtype."),
    Fault("delta-last-example-lost", "the last example has δ = 0", "delta", "any", "step",
          _delta(_last_row_zero),
          "the right δ_{l} with its last row 0", "Loop to n, not to n − 1."),
    Fault("delta-row-copied", "the first example has the last one's", "delta", "any", "step",
          _delta(_copied_row),
          "the right δ_{l} with its last row in place of the first", "An index runs round: −1 is the last row."),
    Fault("delta-one-element", "one element is off by very little", "delta", "any", "step",
          _delta(_one_element),
          "the right δ_{l}, but for one element", "Look at that element alone."),
    Fault("delta-buffer-shared", "one buffer is used for several layers, and overwritten", "delta", ">1", "step",
          {"delta": _shared},
          "δ of a layer before", "Give each δ_l memory of its own.",
          looks={"delta": _last_written}),

    # ∂L/∂W
    Fault("gradient-transposed", "it is transposed", "dW", "any", "step",
          _layer("dW", lambda s, l, M: M.T),
          "(Z_{k}ᵀ δ_{l})ᵀ = δ_{l}ᵀ Z_{k}", "∂L/∂W_l is Z_{l−1}ᵀ δ_l, shaped like W_l."),
    Fault("gradient-from-A", "A_{l−1} is used where Z_{l−1} belongs", "dW", ">1", "step",
          _layer("dW", lambda s, l, M: s.p.operand(s.A[l - 1]).T @ s.delta[l] if l > 1 else M),
          "A_{k}ᵀ δ_{l}", "What W_l is multiplied by is Z_{l−1}."),
    Fault("gradient-from-this-layers-Z", "Z_l is used where Z_{l−1} belongs", "dW", "any", "step",
          _layer("dW", lambda s, l, M: s.p.operand(s.Z[l]).T @ s.delta[l]),
          "Z_{l}ᵀ δ_{l}", "An index is one too high: Z_{l−1}."),
    Fault("gradient-of-the-next-layer", "it is the next layer's", "dW", "<L", "step",
          _layer("dW", lambda s, l, M: s.before(l + 1).T @ s.delta[l + 1] if l < s.L else M),
          "Z_{l}ᵀ δ_{m}", "Store ∂L/∂W_l under l: an index is off by one."),
    Fault("gradient-from-the-next-delta", "δ_{l+1} is used where δ_l belongs", "dW", "<L", "step",
          _layer("dW", lambda s, l, M: s.before(l).T @ s.delta[l + 1]),
          "Z_{k}ᵀ δ_{m}", "Use δ_l for ∂L/∂W_l."),
    Fault("gradient-sign-flipped", "the sign is turned around", "dW", "any", "step",
          _layer("dW", lambda s, l, M: -M),
          "−Z_{k}ᵀ δ_{l}", "Return the gradient itself; the update subtracts it."),
    Fault("gradient-never-computed", "it was never computed, or never stored", "dW", "any", "step",
          _layer("dW", lambda s, l, M: np.zeros_like(M)),
          "0", "Look at the bounds of the loop: every layer from 1 to L has a gradient."),
    Fault("gradient-averaged", "the mean over the batch is taken; the loss's 1/n is in δ already", "dW", "any", "step",
          _layer("dW", lambda s, l, M: M / s.n),
          "Z_{k}ᵀ δ_{l}/n", "Sum over the examples: Z_{l−1}ᵀ δ_l."),
    Fault("gradient-of-means", "the means over the batch are multiplied, not the products averaged", "dW", "any", "step",
          _layer("dW", _means),
          "n mean(Z_{k})ᵀ mean(δ_{l})", "Multiply first, then sum: Z_{l−1}ᵀ δ_l."),
    Fault("gradient-last-example-dropped", "the last example is left out", "dW", "any", "step",
          _layer("dW", lambda s, l, M: _without_last_example(s.before(l)).T @ _without_last_example(s.delta[l])),
          "Z_{k}ᵀ δ_{l} without the last example", "Loop to n, not to n − 1."),
    Fault("gradient-first-example-twice", "the first example is counted twice", "dW", "any", "step",
          _layer("dW", lambda s, l, M: M + s.before(l)[:1].T @ s.delta[l][:1]),
          "Z_{k}ᵀ δ_{l} with the first example twice", "Start the sum at zero, or the loop at the second example."),
    Fault("bias-gradient-missing", "the bias has no gradient", "dW", "any", "step",
          _bias_row(lambda s, l, M: np.zeros_like(M[-1:])),
          "Z̃_{k}ᵀ δ_{l} with 0 in the bias row", "∂L/∂b_l is the sum of δ_l over the examples."),
    Fault("weights-averaged-bias-summed", "the weights' gradient is averaged over the batch, and the bias's is not", "dW", "any", "step",
          _layer("dW", lambda s, l, M: np.vstack([M[:-1] / s.n, M[-1:]]) if s.p.bias else M),
          "Z̃_{k}ᵀ δ_{l} with all rows but the bias's divided by n", "Sum over the examples in both: the 1/n is in δ."),
    Fault("bias-gradient-averaged", "the bias's gradient is averaged over the batch", "dW", "any", "step",
          _bias_row(lambda s, l, M: M[-1:] / s.n),
          "Z̃_{k}ᵀ δ_{l} with its bias row divided by n", "∂L/∂b_l is the sum of δ_l over the examples: the 1/n is in δ."),
    Fault("bias-gradient-not-summed", "the bias's gradient is that of one example", "dW", "any", "step",
          _bias_row(lambda s, l, M: s.delta[l][:1]),
          "Z̃_{k}ᵀ δ_{l} with the first row of δ_{l} for the bias", "Sum δ_l over the examples."),
    Fault("bias-gradient-over-units", "the bias's gradient is summed over the units", "dW", "any", "step",
          _bias_row(lambda s, l, M: np.full_like(M[-1:], s.delta[l].sum())),
          "Z̃_{k}ᵀ δ_{l} with the sum of all of δ_{l} for each bias", "Sum δ_l over axis 0 alone."),
    Fault("gradient-clipped", "it is clipped elementwise", "dW", "any", "step",
          _layer("dW", lambda s, l, M: _clipped(s, M)),
          "Z_{k}ᵀ δ_{l}, clipped to ±c", "A gradient check wants the gradient itself: clip in the optimiser."),
    Fault("gradient-norm-clipped", "its norm is clipped", "dW", "any", "step",
          _layer("dW", _norm_clipped),
          "Z_{k}ᵀ δ_{l}, scaled to a norm", "A gradient check wants the gradient itself: clip in the optimiser."),
    Fault("gradient-decayed", "weight decay is added", "dW", "any", "step",
          _layer("dW", lambda s, l, M: M + s.p.dtype.type(DECAY) * s.p.W[l]),
          "Z_{k}ᵀ δ_{l} + λ W_{l}", "Weight decay belongs in the loss or the optimiser, not here."),
    Fault("gradient-small-zeroed", "small elements are set to 0", "dW", "any", "step",
          _layer("dW", lambda s, l, M: np.where(np.abs(M) < SMALL, M.dtype.type(0), M)),
          "Z_{k}ᵀ δ_{l} with 0 for what is small", "Leave small gradients as they are."),
    Fault("gradient-stored-backwards", "the layers are stored in the order they were computed, from the last", "dW", "any", "step",
          {"dW": _backwards},
          "∂L/∂W of the layer counted from the other end", "Insert at the front, or reverse the list.",
          looks={"dW": lambda s, l: s.before(s.L + 1 - l).T @ s.delta[s.L + 1 - l]}),

    # the update
    Fault("update-sign", "α ∂L/∂W is added, not subtracted", "W_new", "any", "step",
          _layer("W_new", lambda s, l, M: 2 * s.p.W[l] - M),
          "W_{l} + α ∂L/∂W_{l}", "Descend: subtract."),
    Fault("update-twice", "the step is twice as long", "W_new", "any", "step",
          _layer("W_new", lambda s, l, M: 2 * M - s.p.W[l]),
          "W_{l} − 2α ∂L/∂W_{l}", "Update once."),
    Fault("update-over-n", "the step is divided by n once more", "W_new", "any", "step",
          _layer("W_new", lambda s, l, M: s.p.W[l] + (M - s.p.W[l]) / s.n),
          "W_{l} − (α/n) ∂L/∂W_{l}", "The 1/n is in the loss."),
    Fault("update-output-layer-missing", "the output layer is not updated", "W_new", "L", "step",
          _layer("W_new", lambda s, l, M: s.p.W[l] if l == s.L else M),
          "W_{l}", "Update every layer, 1 to L."),
    Fault("update-missing", "no layer is updated: the new weights are the old ones", "W_new", "any", "step",
          _layer("W_new", lambda s, l, M: s.p.W[l]),
          "W_{l}", "Subtract α ∂L/∂W_l, and keep the result."),
    Fault("update-in-half", "α is in float16", "W_new", "any", "step",
          _layer("W_new", lambda s, l, M: s.p.W[l] - s.p.dtype.type(np.float16(s.p.alpha)) * s.dW[l]),
          "W_{l} − α ∂L/∂W_{l} with α rounded to 11 bits", "Keep α in the network's dtype."),

    # forward
    Fault("terms-lost", "terms of the product beyond a multiple of 128 are lost", "A", "any", "step",
          _terms_lost(128),
          "Z_{k} W_{l} over the first whole tiles of 128 terms alone", "Handle the rest of a dimension that is no multiple of the tile.",
          or_in="dW"),  # its terms are the examples of the batch
    Fault("terms-lost-in-small-tiles", "terms of the product beyond a multiple of 32 are lost", "A", "any", "step",
          _terms_lost(32),
          "Z_{k} W_{l} over the first whole tiles of 32 terms alone", "Handle the rest of a dimension that is no multiple of the tile."),
    Fault("columns-lost", "columns of the product beyond a multiple of 64 are 0", "A", "any", "step",
          {**_layer("A", _columns_lost), **_G(_columns_lost), **_layer("dW", _columns_lost)},
          "Z_{k} W_{l} with 0 in its last columns", "Handle the rest of a dimension that is no multiple of the tile."),
    Fault("weights-transposed-forward", "W_l is transposed", "A", "any", "step",
          _layer("A", lambda s, l, M: s.Z[l - 1] @ s.p.weights(l).T + (s.p.W[l][-1] if s.p.bias else 0)),
          "Z_{k} W_{l}ᵀ", "A_l = Z_{l−1} W_l, for W_l of shape d_{l−1}×d_l."),
    Fault("weights-of-the-next-layer-forward", "the next layer's weights are used", "A", "<L", "step",
          _layer("A", lambda s, l, M: s.before(l) @ s.p.W[l + 1]),
          "Z_{k} W_{m}", "Use W_l in layer l."),
    Fault("bias-missing", "the bias is missing", "A", "any", "step",
          _layer("A", _without_bias),
          "Z_{k} W_{l} without b_{l}", "Append the constant unit, or add b_l."),
    Fault("bias-twice", "the bias is added twice", "A", "any", "step",
          _layer("A", lambda s, l, M: M + s.p.W[l][-1] if s.p.bias else M),
          "Z_{k} W_{l} + 2b_{l}", "Either absorb b into W or add it."),
    Fault("activation-missing", "σ is missing", "Z", "any", "step",
          _layer("Z", lambda s, l, M: s.A[l].copy()),
          "A_{l}", "Z_l = σ_l(A_l)."),
    Fault("activation-missing-at-output", "σ_L is missing at the output", "Z", "L", "step",
          _layer("Z", lambda s, l, M: s.A[l].copy() if l == s.L else M),
          "A_{l}", "Z_L = σ_L(A_L)."),
    Fault("activation-twice", "σ is applied twice", "Z", "any", "step",
          _layer("Z", lambda s, l, M: s.sigma(l)(M)),
          "σ_{l}(σ_{l}(A_{l}))", "Apply σ_l once: a loss that takes logits applies it itself."),
    Fault("activation-of-the-first-layer", "σ_1 is used in every hidden layer", "Z", "<L", "step",
          _with_sigma(_first, "Z"),
          "σ_1(A_{l})", "Each layer has its own σ_l."),
    Fault("activation-approximated", "another function of nearly the same shape is used for σ and σ'", "Z", "any", "step",
          _with_sigma(_approximated, "Z", "delta"),
          "an approximation of σ_{l}(A_{l})", "Say which form is meant: gelu has two, approximate='none' and 'tanh'."),
    Fault("softmax-over-the-batch", "softmax is taken over the examples, not over the outputs", "Z", "any", "step",
          _layer("Z", _softmax_over_batch),
          "σ_{l} of each column of A_{l}", "Normalise each row: axis=1."),
    Fault("softmax-unshifted", "the maximum of the row is not subtracted: exp overflows", "Z", "any", "step",
          _layer("Z", _unshifted),
          "exp(A_{l}) and its sums, of numbers that overflow", "Subtract the maximum of each row before exp; softmax does not change."),
    Fault("pre-activation-clipped", "A is clipped to ±20 before σ", "Z", "any", "step",
          _layer("Z", lambda s, l, M: s.sigma(l)(np.clip(s.A[l], -20, 20))),
          "σ_{l}(A_{l} clipped to ±20)", "Use a form of σ that does not overflow, instead of clipping."),
    Fault("output-clipped", "outputs are clipped to [1e-7, 1 − 1e-7]", "Z", "L", "step",
          _layer("Z", _clipped_output),
          "σ_{l}(A_{l}), clipped to [1e-7, 1 − 1e-7]", "Do not clip what is returned."),
    Fault("activation-in-place", "A is overwritten by Z: σ works in place", "A", "any", "step",
          {"Z": _in_place},
          "σ_{l}(A_{l})", "Keep A_l: δ_l needs it.",
          looks={"A": lambda s, l: STEPS["Z"](_with_A(s, l, STEPS["A"](s, l)), l)}),

    # arithmetic
    Fault("float32-inside", "the product is computed in float32", "A", "any", "step",
          _layer("A", _in_single),
          "Z_{k} W_{l} in float32", "Look for an array that was made without a dtype, or a cast."),
    Fault("tf32", "the operands are rounded to TF32 (11 bits)", "A", "any", "step",
          _layer("A", _in_tf32),
          "Z_{k} W_{l} with operands of 11 bits", "Switch TF32 off: allow_tf32 = False, or precision 'highest'."),
    Fault("float16-sums", "sums are accumulated in float16", "A", "any", "step",
          _layer("A", _half_sums),
          "Z_{k} W_{l} summed in float16", "Accumulate in float32 at least."),
    Fault("subnormals-flushed", "subnormal numbers are flushed to 0", "Z", "any", "step",
          _layer("Z", _flushed),
          "σ_{l}(A_{l}) with 0 for subnormal numbers", "Switch flush-to-zero off (-ffast-math, DAZ)."),
    Fault("rounded-up", "each sum is rounded up, not to nearest", "A", "any", "exact",
          _layer("A", lambda s, l, M: np.nextafter(M, M.dtype.type(np.inf))),
          "the float above Z_{k} W_{l}", "Round to nearest."),
    Fault("noise", "there is something random in it, other in every run", "A", "any", "repeat",
          _layer("A", _noisy),
          "Z_{k} W_{l} and noise", "Take nothing from a random generator in a pass."),
    Fault("dropout-left-on", "dropout is on", "Z", "<L", "repeat",
          _layer("Z", _dropout),
          "σ_{l}(A_{l}) with units dropped", "Switch to evaluation: model.eval()."),
    Fault("sum-order-varies", "sums are taken in another order in every run", "dW", "any", "repeat",
          _layer("dW", _reordered),
          "Z_{k}ᵀ δ_{l} to the last bits", "Use deterministic kernels; or say deterministic = False, and it is shown, not failed."),
    Fault("one-example-differs", "one example alone is treated differently: squeeze took its batch axis away", "delta", "L", "row",
          _loss_gradient(lambda s, G: G / s.Z[s.L].shape[1] if s.n == 1 else G),
          "(the right δ_{l})/d_L where n = 1", "Keep the batch axis: no squeeze() without an axis."),

    # state
    Fault("A-of-the-batch-before", "A is that of the batch before", "delta", "any", "repeat",
          _at(lambda s, l: s.earlier().A[l]),
          "{G} ⊙ σ'_{l}(A_{l} of the batch before)", "Run FORWARD-PASS on the batch that BACKWARDPROP gets."),
    Fault("Z-of-the-batch-before", "Z is that of the batch before", "dW", ">1", "repeat",
          _layer("dW", _stale_dW),
          "(Z_{k} of the batch before)ᵀ δ_{l}", "Run FORWARD-PASS on the batch that BACKWARDPROP gets."),
    Fault("delta-of-the-batch-before", "δ_{l+1} is that of the batch before", "delta", "<L", "repeat",
          _G(_stale_G),
          "(δ_{m} of the batch before · W_{m}ᵀ) ⊙ σ'_{l}(A_{l})", "Compute δ_{l+1} anew for every batch."),
    Fault("gradient-accumulated", "it is added to that of the batch before", "dW", "any", "repeat",
          _layer("dW", _accumulated),
          "Z_{k}ᵀ δ_{l} plus that of the batch before", "Set gradients to 0 first: zero_grad()."),
)
# fmt: on


FAULTS: Mapping[str, Fault] = {f.name: f for f in ROWS}


def fault(name: str) -> Fault:
    """The row of that name. Raises FaultError, with the nearest name."""
    if name in FAULTS:
        return FAULTS[name]
    near = difflib.get_close_matches(name, FAULTS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FaultError(f"unknown fault {name!r}.{hint} `conformance faults --list` has them all.")
