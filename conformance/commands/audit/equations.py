"""The equations of the notes, a row each: the errata, and the equations that are right.

A row has what is printed as a function of a `Net`, and what that must equal. Whether it does is not written
here: running it says so (`run.py`). An erratum's two forms and its place are taken from `refbp/errata.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.commands.audit.net import ColumnSigma, Net
from conformance.commands.audit.notes import PRINTED
from conformance.commands.audit.places import Place
from conformance.commands.audit.right import Matrix, Number
from conformance.commands.audit.settings import plain_sigma
from conformance.commands.audit.values import Value
from refbp.algorithm import backward_prop
from refbp.errata import ERRATA, hadamard
from refbp.types import InputError, Layers

__all__ = ["NOTES", "Equation", "Form", "Right"]

Form = Callable[[Net], object]
"""An equation: what it returns is compared, whatever it is."""
Right = Callable[[Place], Value | None]
"""The right value; None where there is none."""


@dataclass(frozen=True)
class Equation:
    """One row. `equals` names a right value or computes one; `only` is the condition for it to be tried.

    `layer` is how the equation writes its layer where `equals` does not say: "l", every layer, or "L".
    `corrected` is tried as `printed` is. `method` is a row of `METHODS`, and `given` has those of its numbers
    that the equation fixes. `notation` says how an equation is meant that is no claim about numbers. `shown`
    is the function whose source text is shown, and `place` its file and line.
    """

    id: str
    latex: str
    printed: Form
    equals: str | Right
    only: str = ""
    prints: tuple[str, ...] = ()
    where: str = ""
    corrected_latex: str = ""
    corrected: Form | None = None
    source: tuple[str, str] = ("", "")
    erratum: str = ""
    note: str = ""
    layer: str = ""
    method: str = ""
    given: tuple[tuple[str, float], ...] = ()
    notation: str = ""
    place: str = ""
    shown: Callable[..., object] | None = field(default=None, compare=False)


def _erratum(
    name: str,
    arguments: Callable[[Net], tuple[object, ...]],
    equals: str | Right,
    prints: tuple[str, ...],
    after: Callable[[Net, Any], object] = lambda net, value: value,
    only: str = "",
) -> Equation:
    """A row of `refbp.ERRATA`. Both of its forms take `arguments`, and what `after` makes of what they return
    is compared."""
    e = ERRATA[name]

    def printed(net: Net) -> object:
        return after(net, e.printed(*arguments(net)))

    def corrected(net: Net) -> object:
        return after(net, e.corrected(*arguments(net)))

    return Equation(
        name, e.printed_form, printed, equals, only, prints, e.where,
        e.corrected_form, corrected, e.source, erratum=name, shown=e.printed,
    )  # fmt: skip


def _right(
    name: str,
    prints: tuple[str, ...],
    form: Form,
    equals: str | Right,
    source: tuple[str, str],
    only: str = "",
    note: str = "",
) -> Equation:
    """A row that is no erratum; its LaTeX is that of the first place where it is printed."""
    latex, where = PRINTED[prints[0]].latex, PRINTED[prints[0]].where
    return Equation(
        name, latex, form, equals, only, prints, where, source=source, note=note, shown=form
    )


STEP_1 = "the squared error"
"""The condition of an equation with the notes' own loss written out; the others are tried with every loss."""

_ALGORITHM, _SINGLE = "refbp/algorithm.py", "refbp/single_example.py"
_a_LINE = (_SINGLE, "a[l] = W[l] @ z[l - 1]")
_z_LINE = (_SINGLE, "z[l] = sigma[l](a[l])")
_A_LINE = (_ALGORITHM, "A[l] = Z[l - 1] @ W[l]")
_Z_LINE = (_ALGORITHM, "Z[l] = sigma[l](A[l])")
_LINK_LINE = (_SINGLE, "return (W_l.T @ link) * sigma_before.derivative(a_before)")
_WEIGHT_LINE = (_SINGLE, "return link @ z_before.T")


# ---- Step 0 ------------------------------------------------------------------------------------


def network(net: Net) -> Matrix:
    """h(x) = σ_L(W_L … σ_1(W_1 x))."""
    c = net.columns
    h = c.x
    for l in range(1, net.L + 1):
        h = c.sigma[l](c.W[l] @ h)
    return h


def layers(net: Net) -> Matrix:
    """z_l = σ_l(W_l z_{l-1})."""
    c, l = net.columns, net.l
    return c.sigma[l](c.W[l] @ c.z[l - 1])


def products(net: Net) -> Matrix:
    """a_l = W_l z_{l-1}."""
    c, l = net.columns, net.l
    return c.W[l] @ c.z[l - 1]


def transitions(net: Net) -> Matrix:
    """z_l = σ_l(a_l)."""
    c, l = net.columns, net.l
    return c.sigma[l](c.a[l])


def shapes(net: Net) -> list[int]:
    """The shapes of X and W_l."""
    return [*net.X.shape, *net.W[net.l].shape]


def due_shapes(at: Place) -> Value:
    """n×d, and d_{l-1}×d_l."""
    right = at.net.right
    d = [right.Z[0].shape[1], *(right.A[l].shape[1] for l in right.W)]
    return Value("n, d, d_{l−1}, d_l", [at.setting.n, d[0], d[at.l - 1], d[at.l]])


# ---- FORWARD-PASS ------------------------------------------------------------------------------


def forward_procedure(net: Net) -> list[int]:
    """W = {W_1, …, W_L}, X ∈ R^{n×d}: how many, and the shape."""
    return [len(net.W), *net.X.shape]


def given(at: Place) -> Value:
    """L, n and d, which is the width that W_1 takes."""
    return Value("L, n, d", [at.setting.L, at.setting.n, len(at.net.right.W[1])])


def forward_input(net: Net) -> Matrix:
    """Z_0 ← X."""
    return net.X


def forward_loop(net: Net) -> list[int]:
    """l = 1 : L."""
    return list(range(1, net.L + 1))


def upward(at: Place) -> Value:
    """The layers in the order in which each has its Z_{l-1}."""
    return Value("l", _in_order(set(at.net.right.W), {0}, -1))


def _in_order(layers: set[int], ready: set[int], needs: int) -> list[int]:
    """The layers in an order in which each comes after the one so many layers away, or has it ready."""
    order: list[int] = []
    while len(order) < len(layers):
        order.append(next(l for l in layers.difference(order) if l + needs in ready.union(order)))
    return order


def forward_products(net: Net) -> Matrix:
    """A_l ← Z_{l-1} W_l."""
    return net.Z[net.l - 1] @ net.W[net.l]


def forward_transitions(net: Net) -> Matrix:
    """Z_l ← σ_l(A_l)."""
    return net.sigma[net.l](net.A[net.l])


def _all_returned(at: Place) -> Value:
    """{A_1, …, A_L} and {Z_0, …, Z_L}."""
    right = at.net.right
    named = {f"A_{l}": M for l, M in right.A.items()} | {f"Z_{l}": M for l, M in right.Z.items()}
    return Value("what BACKWARDPROP takes", named)


def _by_name(net: Net, returned: Matrix | tuple[dict[int, Matrix], ...]) -> dict[str, Matrix]:
    """Z_L alone, or A and Z, by their names."""
    if isinstance(returned, tuple):
        pairs = zip("AZ", returned, strict=True)
        return {f"{name}_{l}": M for name, layers in pairs for l, M in layers.items()}
    return {f"Z_{net.L}": returned}


# ---- Steps 1 and 2 -----------------------------------------------------------------------------


def output(net: Net) -> Matrix:
    """h(x) = z_4, for the network's L instead of 4."""
    return net.columns.z[net.L]


def h(at: Place) -> Value:
    """h(x), the network as a whole."""
    right = at.net.right
    Z = right.X
    for l in right.W:
        Z = right.activate(l, Z @ right.W[l])
    return Value("h(x)", Z.T)


def squared_error(net: Net) -> Number:
    """(1/n) Σ_i (z_i − y_i)², for targets as (n, d_L)."""
    Z, Y = net.Z[net.L], net.Y
    return ((Z - Y) ** 2).sum() / net.n  # type: ignore[no-any-return]


def update_rule(net: Net) -> Matrix:
    """W_l ← W_l − α ∂L/∂W_l."""
    return net.W[net.l] - net.alpha * net.dL_dW[net.l]


# ---- Steps 2a to 2c ----------------------------------------------------------------------------


def weight_chain(net: Net) -> Matrix:
    """∂L/∂W_l = ∂L/∂a_l ∂a_l/∂W_l: summed over the index of a_l, which both have."""
    c, l = net.columns, net.l
    return np.tensordot(c.link[l][:, 0], c.da_dW[l], axes=1)


def last_weight_gradient(net: Net) -> Matrix:
    """∂L/∂W_L = [2(z_L − y) ⊙ σ'_L(a_L)] z_{L-1}ᵀ."""
    c, L = net.columns, net.L
    return hadamard(2 * (c.z[L] - c.y), c.sigma[L].derivative(c.a[L])) @ c.z[L - 1].T


def right_last_weight_gradient(net: Net) -> Matrix:
    """∂L/∂W_L = [2/n (z_L − y) ⊙ σ'_L(a_L)] z_{L-1}ᵀ."""
    return last_weight_gradient(net) / net.n


def jacobians(net: Net) -> Matrix:
    """∂a_l/∂a_{l-1} = ∂a_l/∂z_{l-1} ∂z_{l-1}/∂a_{l-1}."""
    c, l = net.columns, net.l
    return c.da_dz[l] @ c.dz_da[l - 1]


def gradients_below(net: Net) -> dict[str, Matrix]:
    """Every ∂L/∂W_j with j ≤ l from ∂L/∂a_l: summed over the index of a_l."""
    link = net.columns.link[net.l][:, 0]
    return {
        f"∂L/∂W_{j}": np.tensordot(link, net.right.reach(net.l, j), axes=1)
        for j in range(1, net.l + 1)
    }


def due_below(at: Place) -> Value | None:
    """∂L/∂W_j for j ≤ l, for one example."""
    if at.setting.n > 1:
        return None
    dL_dW = at.net.right.dL_dW
    return Value("∂L/∂W_j", {f"∂L/∂W_{j}": dL_dW[j].T for j in range(1, at.l + 1)})


def linked(at: Place) -> Value:
    """The l whose ∂L/∂a_{l-1} is one of the links ∂L/∂a_1, …, ∂L/∂a_L."""
    return Value("l", [l for l in at.net.right.delta if l - 1 in at.net.right.delta])


# ---- BACKWARDPROP ------------------------------------------------------------------------------


def link_name(net: Net) -> Matrix:
    """δ_l = ∂L/∂a_l: the δ_l of BACKWARDPROP, as refbp corrects it."""
    return _backward(net)[0][net.l]


def _backward(net: Net) -> tuple[Layers, Layers]:
    W, A, Z = (dict(layers) for layers in (net.W, net.A, net.Z))
    return backward_prop(W, A, Z, net.Y, net.sigma, net.loss)


def backward_gradient(net: Net) -> Matrix:
    """∂L/∂W_{l+1} ← Z_lᵀ δ_{l+1}."""
    return net.Z[net.l].T @ net.delta[net.l + 1]


def downward(at: Place) -> Value:
    """The layers in the order in which each has its δ_{l+1}."""
    return Value("l", _in_order(set(range(1, at.setting.L)), {at.setting.L}, 1))


def first_gradient(net: Net) -> Matrix:
    """∂L/∂W_1 ← Z_0ᵀ δ_1."""
    return net.Z[0].T @ net.delta[1]


def backward_returns(net: Net) -> dict[str, Matrix]:
    """{∂L/∂W_1, …, ∂L/∂W_L}: what lines 4 and 7 have assigned, the loop counting down."""
    assigned = {l + 1: net.Z[l].T @ net.delta[l + 1] for l in range(net.L - 1, 0, -1)}
    assigned[1] = net.Z[0].T @ net.delta[1]
    return {f"∂L/∂W_{l}": assigned[l] for l in range(1, net.L + 1)}


def every_gradient(at: Place) -> Value:
    """∂L/∂W_l for every l."""
    return Value("every ∂L/∂W", {f"∂L/∂W_{l}": M for l, M in at.net.right.dL_dW.items()})


# ---- arguments of errata ------------------------------------------------------------------------


def _in_rn(net: Net) -> Matrix:
    """y ∈ R^n. Raises `InputError` where there is more than one target an example."""
    Y = net.Y
    if Y.shape[1] > 1:
        raise InputError(f"y ∈ R^n has {net.n} numbers, and there are {Y.size} targets.")
    return Y[:, 0]


def _last_two(net: Net) -> tuple[Matrix, Matrix, Matrix, ColumnSigma]:
    """W_4, ∂L/∂a_4, a_3 and σ_3, for the network's L instead of 4."""
    c, L = net.columns, net.L
    return c.W[L], c.link[L], c.a[L - 1], c.sigma[L - 1]


# ---- the rows, in the order of the notes ---------------------------------------------------------

# fmt: off
_ROWS = (
    _right("network", ("0-network",), network, "z_L", _z_LINE),
    _erratum("bias-absorbed", lambda net: (dict(net.W), net.X, plain_sigma(net.right)), "Z_L", ("0-bias",),
        only="a bias"),
    _right("layers", ("0-layers",), layers, "z_l", _z_LINE),
    _right("products", ("0-products", "2a-a", "2b-a"), products, "a_l", _a_LINE),
    _erratum("update-order",
        lambda net: (
            *(dict(layers) for layers in (net.W, net.A, net.Z)), net.Y, net.sigma, net.loss, net.alpha),
        "W_new", ("key-order",)),
    _erratum("weight-gradient", lambda net: (net.columns.link[net.l], net.columns.z[net.l - 1]), "dL_dw_l",
        ("key-weight-gradient",), only="n = 1"),
    _erratum("chain-rule", lambda net: (net.columns.link[net.l], net.columns.da_da[net.l]), "link_{l-1}",
        ("key-chain", "2b-link-chain", "2c-link-chain"), only="n = 1"),
    replace(
        _right("transitions", ("0-z1", "0-z2", "0-z3", "0-z4", "2a-z", "2b-z"), transitions, "z_l",
            _z_LINE),
        latex=r"\mathbf{z}_l = \sigma_l(\mathbf{a}_l)"),
    replace(
        _right("shapes", ("0-shape-W", "0-shape-X"), shapes, due_shapes, _A_LINE),
        layer="l"),
    _erratum("weights-of-one-example", lambda net: (net.W[net.l], net.columns.z[net.l - 1]), "a_l",
        ("0-looks-like",)),
    _right("forward-procedure", ("forward-1", "forward-8"), forward_procedure, given,
        (_ALGORITHM, "def forward_pass("), note="It uses every σ_l without being handed them."),
    _right("forward-input", ("forward-2",), forward_input, "Z_0", (_ALGORITHM, "Z: Layers = {0: X}")),
    _right("forward-loop", ("forward-3", "forward-6"), forward_loop, upward,
        (_ALGORITHM, "for l in range(1, L + 1):")),
    _right("forward-products", ("forward-4",), forward_products, "A_l", _A_LINE),
    _right("forward-transitions", ("forward-5",), forward_transitions, "Z_l", _Z_LINE),
    _erratum("forward-returns", lambda net: (dict(net.W), net.X, net.sigma), _all_returned, ("forward-7",),
        after=_by_name),
    _right("output", ("1-output",), output, h, _z_LINE),
    _erratum("loss-of-one-output", lambda net: (net.Z[net.L], net.Y), "loss", ("1-loss",), only=STEP_1),
    _right("update-rule", ("2-update", "2c-update"), update_rule, "W_new_l",
        (_ALGORITHM, "return {l: W[l] - alpha * dL_dW[l] for l in W}")),
    _right("weight-chain", ("2a-chain", "2b-weight-chain", "2c-weight-chain"), weight_chain, "dL_dw_l",
        _WEIGHT_LINE, only="n = 1",
        note="∂a_l/∂W_l has three indices; the product is the sum over the index of a_l."),
    replace(
        _erratum("chain-rule", lambda net: (net.columns.dL_dz[net.L], net.columns.dz_da[net.L]), "link_L",
            ("2a-last-chain",), only="n = 1"),
        id="last-chain-rule", where="Step 2a, the link of the last layer",
        latex=PRINTED["2a-last-chain"].latex,
        corrected_latex=r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_L} = "
            r"\left(\frac{\partial \mathbf{z}_L}{\partial \mathbf{a}_L}\right)^\top "
            r"\frac{\partial \mathcal{L}}{\partial \mathbf{z}_L}",
        source=(_ALGORITHM, "delta[L] = sigma[L].vjp(A[L], loss.gradient(Z[L], Y))"),
        note="∂z_L/∂a_L is a d_L×d_L matrix. Read as the column σ'_L(a_L), it is the next equation."),
    _erratum("link-of-the-mean", lambda net: (net.Z[net.L], net.Y, net.A[net.L], net.sigma[net.L]),
        "delta_L", ("2a-last-link",), only=f"{STEP_1} and elementwise σ_L"),
    replace(
        _erratum("da-dW", lambda net: (net.columns.a[net.l].shape[0], net.columns.z[net.l - 1]), "da_dW_l",
            ("2a-da-dW", "2c-da-dW"), after=lambda net, M: M[0] if M.ndim == 3 and len(M) == 1 else M,
            only="n = 1"),
        notation="shorthand for a derivative with three indices, whose entries are those of z_{l−1} or 0"),
    replace(
        _right("last-weight-gradient", ("2a-gradient",), last_weight_gradient, "dL_dw_L",
            ("refbp/losses.py", "return 2 * (Z - Y) / len(Z)"), only=f"{STEP_1} and elementwise σ_L"),
        corrected=right_last_weight_gradient,
        corrected_latex=r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_4} = "
            r"\left[\frac{2}{n}(\mathbf{z}_4 - y) \odot \sigma'_4(\mathbf{a}_4)\right] \mathbf{z}_3^\top",
        note="It follows from the link above, and has its factor; several examples stand side by side."),
    _right("jacobians", ("2b-jacobians",), jacobians, "da_da_l", _LINK_LINE, only="n = 1"),
    _erratum("da-da",
        lambda net: (net.columns.W[net.l], net.columns.a[net.l - 1], net.columns.sigma[net.l - 1]),
        "da_da_l", ("2b-da-da", "2c-da-da"), only="n = 1"),
    _erratum("link", _last_two, "link_{L-1}", ("2b-link",)),
    _erratum("weight-gradient-below",
        lambda net: (*_last_two(net)[:3], net.columns.z[net.L - 2], _last_two(net)[3]), "dL_dw_{L-1}",
        ("2b-gradient",)),
    replace(
        _right("gradients-below", ("2c-below",), gradients_below, due_below, _LINK_LINE),
        layer="l"),
    _erratum("layers-with-a-link", lambda net: (net.L,), linked, ("2c-layers",)),
    _right("link-name", ("link-name",), link_name, "delta_l",
        (_ALGORITHM, "delta[l] = sigma[l].vjp(A[l], delta[l + 1] @ W[l + 1].T)"),
        note="A definition: what is run is that the procedure, corrected, computes what it names."),
    replace(
        _erratum("targets-in-rn", lambda net: (net.Z[net.L], _in_rn(net)), "loss",
            ("backward-1", "backward-9"), only=STEP_1),
        corrected=squared_error,
        note="y ∈ R^n is run as NumPy has it, an array of shape (n,). σ and L are used without being "
            "handed over."),
    _erratum("row-wise-link", lambda net: (net.A[net.L], net.dL_dZ[net.L], net.sigma[net.L]), "delta_L",
        ("backward-2",)),
    replace(
        _erratum("loop", lambda net: (net.L,), downward, ("backward-3", "backward-6")),
        notation="the colon counts down here, and up in FORWARD-PASS"),
    _right("backward-gradient", ("backward-4",), backward_gradient, "dL_dW_{l+1}",
        (_ALGORITHM, "dL_dW[l + 1] = Z[l].T @ delta[l + 1]")),
    _erratum("delta-weights",
        lambda net: (net.W, net.l, net.delta[net.l + 1], net.A[net.l], net.sigma[net.l]), "delta_l",
        ("backward-5",), only="l < L"),
    _right("first-gradient", ("backward-7",), first_gradient, "dL_dW_1",
        (_ALGORITHM, "dL_dW[1] = Z[0].T @ delta[1]")),
    _right("backward-returns", ("backward-8",), backward_returns, every_gradient,
        (_ALGORITHM, "return delta, dL_dW"),
        note="The loop is read as counting down, as the erratum loop has it."),
)
# fmt: on


NOTES: dict[str, Equation] = {row.id: row for row in _ROWS}
"""Every row by its id, in the order of the notes."""
