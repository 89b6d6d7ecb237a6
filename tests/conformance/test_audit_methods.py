"""What an equation may declare: its right values, every slip that has a name, and what is refused."""

# ruff: noqa: E501   an equation is a line

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from conformance.commands.audit.apart import audit_file
from conformance.commands.audit.equations import Equation
from conformance.commands.audit.methods import METHODS, NUMBERS, method_named
from conformance.commands.audit.own import AuditError
from conformance.commands.audit.run import entry
from conformance.commands.audit.settings import Setting, right_of, settings
from conformance.commands.audit.slips import SLIPS, slips
from conformance.commands.audit.values import COLUMNS, is_name
from conformance.commands.main import main

DECLARED = [name for name in METHODS if name]


def verdict(method: str, equals: str, form: Callable[[Any], Any], **more: Any) -> dict[str, Any]:
    row = Equation(id="x", latex="x", printed=form, equals=equals, method=method, **more)
    found: dict[str, Any] = entry(row)["verdict"]
    return found


def words(found: dict[str, Any]) -> str:
    return "; ".join(filter(None, (found[k] for k in ("words", "elsewhere", "cause", "why"))))


# ---- what is right, written down a second time as people write it ----------------------------------------


def through_batch_norm(n: Any) -> Any:
    """∂L/∂A_l in one expression, as implementations have it."""
    G, l = n.dL_dN[n.l] * n.gamma[n.l], n.l
    A_hat, root = n.A_hat[l], np.sqrt(n.var[l] + n.epsilon)
    return (n.n * G - G.sum(axis=0) - A_hat * (G * A_hat).sum(axis=0)) / (n.n * root)


def by_the_paper(n: Any) -> Any:
    """∂L/∂A_l from ∂L/∂Â_l, ∂L/∂var_l and ∂L/∂μ_l (Ioffe and Szegedy)."""
    l, m = n.l, n.n
    return (
        n.dL_dA_hat[l] / np.sqrt(n.var[l] + n.epsilon)
        + n.dL_dvar[l] * 2 * (n.A[l] - n.mu[l]) / m
        + n.dL_dmu[l] / m
    )


RIGHT: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("weight decay", "J", lambda n: n.loss(n.Z[n.L], n.Y) + n.lam / 2 * sum((M**2).sum() for M in n.W.values())),
    ("weight decay", "dJ_dW_l", lambda n: n.dL_dW[n.l] + n.lam * n.W[n.l]),
    ("weight decay", "W_new_l", lambda n: (1 - n.alpha * n.lam) * n.W[n.l] - n.alpha * n.dL_dW[n.l]),
    ("weight decay", "w_new_l", lambda n: (1 - n.alpha * n.lam) * n.columns.W[n.l] - n.alpha * n.columns.dL_dW[n.l]),
    ("weight decay", "dL_dW_l", lambda n: n.Z[n.l - 1].T @ n.delta[n.l]),
    ("momentum", "v_new_l", lambda n: n.beta * n.v[n.l] + n.dL_dW[n.l]),
    ("momentum", "W_new_l", lambda n: n.W[n.l] - n.alpha * n.v_new[n.l]),
    ("momentum", "delta_L", lambda n: n.sigma[n.L].vjp(n.A[n.L], n.dL_dZ[n.L])),
    ("momentum, α in the velocity", "v_new_l", lambda n: n.beta * n.v[n.l] - n.alpha * n.dL_dW[n.l]),
    ("momentum, α in the velocity", "W_new_l", lambda n: n.W[n.l] + n.v_new[n.l]),
    ("momentum, averaged", "v_new_l", lambda n: n.beta * n.v[n.l] + (1 - n.beta) * n.dL_dW[n.l]),
    ("momentum, averaged", "W_new_l", lambda n: n.W[n.l] - n.alpha * n.v_new[n.l]),
    ("Nesterov", "W_new_l", lambda n: n.W[n.l] - n.alpha * (n.dL_dW[n.l] + n.beta * n.v_new[n.l])),
    ("Adam", "m_new_l", lambda n: n.beta1 * n.m[n.l] + (1 - n.beta1) * n.dL_dW[n.l]),
    ("Adam", "v_new_l", lambda n: n.beta2 * n.v[n.l] + (1 - n.beta2) * n.dL_dW[n.l] ** 2),
    ("Adam", "m_hat_l", lambda n: n.m_new[n.l] / (1 - n.beta1**n.t)),
    ("Adam", "v_hat_l", lambda n: n.v_new[n.l] / (1 - n.beta2**n.t)),
    ("Adam", "W_new_l", lambda n: n.W[n.l] - n.alpha * n.m_hat[n.l] / (n.v_hat[n.l] ** 0.5 + n.epsilon)),
    ("AdamW", "W_new_l", lambda n: n.W[n.l] - n.alpha * (n.m_hat[n.l] / (n.v_hat[n.l] ** 0.5 + n.epsilon) + n.lam * n.W[n.l])),
    ("batch norm", "mu_l", lambda n: n.A[n.l].sum(axis=0) / n.n),
    ("batch norm", "var_l", lambda n: n.A[n.l].var(axis=0)),
    ("batch norm", "A_hat_l", lambda n: (n.A[n.l] - n.mu[n.l]) / (n.var[n.l] + n.epsilon) ** 0.5),
    ("batch norm", "N_l", lambda n: n.gamma[n.l] * n.A_hat[n.l] + n.beta[n.l]),
    ("batch norm", "Z_l", lambda n: n.sigma[n.l](n.N[n.l])),
    ("batch norm", "dL_dN_l", lambda n: n.sigma[n.l].vjp(n.N[n.l], n.dL_dZ[n.l])),
    ("batch norm", "dL_dA_hat_l", lambda n: n.dL_dN[n.l] * n.gamma[n.l]),
    ("batch norm", "dL_dgamma_l", lambda n: (n.dL_dN[n.l] * n.A_hat[n.l]).sum(axis=0)),
    ("batch norm", "dL_dbeta_l", lambda n: n.dL_dN[n.l].sum(axis=0)),
    ("batch norm", "dL_dvar_l", lambda n: -0.5 * (n.dL_dA_hat[n.l] * (n.A[n.l] - n.mu[n.l])).sum(axis=0) * (n.var[n.l] + n.epsilon) ** -1.5),
    ("batch norm", "dL_dmu_l", lambda n: -n.dL_dA_hat[n.l].sum(axis=0) / (n.var[n.l] + n.epsilon) ** 0.5),
    ("batch norm", "delta_l", through_batch_norm),
    ("batch norm", "delta_l", by_the_paper),
    ("batch norm", "dL_dW_l", lambda n: n.Z[n.l - 1].T @ n.delta[n.l]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "equals", "form"), RIGHT)
def test_what_is_right_holds(method: str, equals: str, form: Callable[[Any], Any]) -> None:
    assert words(verdict(method, equals, form)) == "holds"


def test_every_right_value_of_a_method_is_written_down_a_second_time() -> None:
    written = {(m, equals.removesuffix("_l")) for m, equals, _ in RIGHT}
    for method in DECLARED:
        for name in METHODS[method].gives:
            other = "momentum" if method == "Nesterov" else "Adam" if method == "AdamW" else method
            assert {(method, name), (other, name)} & written, (method, name)


# ---- every slip has its name ------------------------------------------------------------------------------


def slipping(slip: Any, columns: bool = False) -> Callable[[Any], Any]:
    """An equation that makes the slip: computed from what it may read."""

    class Reading:
        """`Right` as an equation reads it; what none may read is taken from the right values."""

        def __init__(self, net: Any) -> None:
            self.net = net

        def __getattr__(self, name: str) -> Any:
            return getattr(self.net.right if name in ("loss", "lam", "W_new") else self.net, name)

    def form(net: Any) -> Any:
        M = np.asarray(slip(Reading(net), net.l))
        return M.T if columns else M

    return form


NAMED = [
    (method, quantity, said)
    for (method, quantity), rows in SLIPS.items()
    for said in rows
    if method
]


@pytest.mark.parametrize(("method", "quantity", "said"), NAMED)
def test_a_slip_is_caught_and_named(method: str, quantity: str, said: str) -> None:
    equals = quantity if quantity == "J" else f"{quantity}_l"
    only = "n > 1" if said.startswith("λ/n") else ""  # with one example it is right
    found = verdict(method, equals, slipping(SLIPS[method, quantity][said]), only=only)
    assert found["kind"] in ("wrong", "holds-only"), words(found)
    assert found["cause"] == said


def test_where_two_slips_give_the_same_both_are_named() -> None:
    halved = slipping(SLIPS["weight decay", "dJ_dW"]["λ/2 W_l stands for λ W_l"])
    assert verdict("weight decay", "dJ_dW_l", halved, only="n = 2")["cause"] == (
        "λ/2 W_l stands for λ W_l, or λ/n W_l stands for λ W_l"
    )


def _adam(n: Any, G: Any) -> tuple[Any, Any]:
    b1, b2 = n.beta1, n.beta2
    return b1 * n.m[n.l] + (1 - b1) * G, b2 * n.v[n.l] + (1 - b2) * G**2


def _folded(n: Any) -> Any:
    """As the paper on Adam makes it quicker, and TensorFlow 1 does it."""
    m, v = _adam(n, n.dL_dW[n.l])
    rate = n.alpha * np.sqrt(1 - n.beta2**n.t) / (1 - n.beta1**n.t)
    return n.W[n.l] - rate * m / (np.sqrt(v) + n.epsilon)


def _coupled(n: Any) -> Any:
    m, v = _adam(n, n.dL_dW[n.l] + n.lam * n.W[n.l])
    m, v = m / (1 - n.beta1**n.t), v / (1 - n.beta2**n.t)
    return n.W[n.l] - n.alpha * m / (np.sqrt(v) + n.epsilon)


@pytest.mark.parametrize(
    ("method", "form", "said"),
    [
        ("Adam", _folded, "ε is added before the bias correction"),
        ("AdamW", _coupled, "λ W_l is added to the gradient, as of λ/2 ‖W_l‖² in Adam"),
    ],
)
def test_what_goes_by_the_name_of_adam_is_named(method: str, form: Any, said: str) -> None:
    assert verdict(method, "W_new_l", form)["cause"] == said


def test_a_slip_in_columns_is_named_too() -> None:
    said = "λ is missing: W_l is added whole"
    form = slipping(SLIPS["weight decay", "W_new"][said], columns=True)
    assert verdict("weight decay", "w_new_l", form)["cause"] == said


@pytest.mark.parametrize(("equals", "only", "form"), [
    ("delta_L", "", lambda n: n.dL_dZ[n.L] * n.sigma[n.L].derivative(n.A[n.L])),
    ("delta_L", "softmax with cross-entropy", lambda n: n.dL_dZ[n.L] * n.Z[n.L] * (1 - n.Z[n.L])),
    ("link_L", "", lambda n: n.columns.dL_dz[n.L] * n.columns.sigma[n.L].derivative(n.columns.a[n.L])),
    ("dz_da_L", "softmax", lambda n: np.diag((n.Z[n.L] * (1 - n.Z[n.L]))[0])),
    ("dz_da_L", "softmax", lambda n: n.Z[n.L] * (1 - n.Z[n.L])),
])  # fmt: skip
def test_the_diagonal_of_softmax_is_named(equals: str, only: str, form: Any) -> None:
    assert verdict("", equals, form, only=only)["cause"].startswith(
        "of softmax's Jacobian the diagonal alone is taken"
    )


def test_no_slip_is_right_everywhere_nor_another_slip() -> None:
    """Else a name would be taken for what is right, or for another name."""
    for (method, quantity), rows in SLIPS.items():
        places = [(right_of(s), l) for s in settings(method) for l in range(1, s.L + 1) if s.n > 2][
            :40
        ]
        if quantity == "dz_da":
            continue
        values = {"right": [np.ravel(_right(r, quantity, l)) for r, l in places]}
        values |= {said: [np.ravel(of(r, l)) for r, l in places] for said, of in rows.items()}
        names = list(values)
        for i, one in enumerate(names):
            for two in names[i + 1 :]:
                alike = all(
                    np.allclose(a, b, rtol=1e-7)
                    for a, b in zip(values[one], values[two], strict=True)
                )
                assert not alike, (method, quantity, one, two)


def _right(right: Any, quantity: str, l: int) -> Any:
    return right.J if quantity == "J" else getattr(right, quantity)[l]


def test_a_slip_of_the_plain_network_is_looked_for_with_an_optimizer_too() -> None:
    assert [said for said, _ in slips("Adam", "delta")] == [said for said, _ in slips("", "delta")]
    assert not any("softmax" in said for said, _ in slips("batch norm", "delta"))
    assert not list(slips("", "A"))


# ---- the numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", DECLARED)
def test_the_networks_of_a_method_hide_nothing(method: str) -> None:
    """No right value is 0 all over, and every number takes several values."""
    there = settings(method)
    assert len(there) > 20
    for name in METHODS[method].numbers:
        assert len({s.declared[name] for s in there}) == len(NUMBERS[name])  # type: ignore[arg-type]
    for setting in there:
        right: Any = right_of(setting)
        for name in (*METHODS[method].gives, "W_new", "delta"):
            if name in ("J", "dL_dmu"):
                continue
            assert all(np.abs(M).max() > 1e-6 for M in getattr(right, name).values()), (
                setting,
                name,
            )


def test_a_number_that_the_notes_fix_is_declared() -> None:
    def form(net: Any) -> Any:
        return 0.9 * net.v[net.l] + net.dL_dW[net.l]

    assert verdict("momentum", "v_new_l", form)["kind"] != "holds"
    assert verdict("momentum", "v_new_l", form, given=(("beta", 0.9),))["kind"] == "holds"
    half = verdict("momentum", "v_new_l", form, given=(("beta", 0.5),))
    assert half["kind"] != "holds"


def test_without_a_bias_and_for_batch_norm_with_a_batch() -> None:
    assert not any(s.bias for m in DECLARED for s in settings(m))
    assert min(s.n for s in settings("batch norm")) == 2
    assert {s.method for s in settings("Adam")} == {"Adam"}
    assert isinstance(settings("")[0], Setting)


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "equals", "given", "said"), [
    ("momentun", "W_new_l", (), "method='momentun' is no method; expected one of weight decay; momentum; "),
    ("momentun", "W_new_l", (), "Did you mean 'momentum'?"),
    ("", "v_new_l", (), "equals='v_new_l' is there for an equation that declares its method; expected method='momentum' or "),
    ("weight decay", "m_hat_l", (), "equals='m_hat_l' is there for an equation that declares its method; expected method='Adam' or method='AdamW'."),
    ("momentum", "v_new_l", (("lam", 0.1),), "given has 'lam'; expected of the numbers of method='momentum': beta."),
    ("momentum", "v_new_l", (("beta", 0),), "given has beta = 0; expected a number between 0 and 1."),
    ("momentum", "v_new_l", (("beta", float("nan")),), "given has beta = nan; expected a number between 0 and 1."),
    ("Adam", "m_hat_l", (("t", 2.5),), "given has t = 2.5; expected a whole number, 1 to 999."),
    ("", "W_new_l", (("beta", 0.9),), "given has 'beta'; expected of the numbers of method='': none."),
    ("batch norm", "dL_db_l", (), "no network here has a right value equals='dL_db_l', by method='batch norm'"),
])  # fmt: skip
def test_what_cannot_be_declared(method: str, equals: str, given: Any, said: str) -> None:
    found = verdict(method, equals, lambda net: net.W[net.l], given=given)
    assert found["kind"] == "not-judged"
    assert said in found["why"]


def test_what_is_read_undeclared_is_told() -> None:
    why = verdict("", "W_new_l", lambda n: n.W[n.l] - n.alpha * n.v_new[n.l])["why"]
    assert (
        "net.v_new is there for an equation that declares its method; expected method='momentum' or"
        in why
    )
    why = verdict("momentum", "W_new_l", lambda n: n.velocity[n.l])["why"]
    assert "net has no velocity; there are A, alpha, beta, columns" in why
    assert "v_new" in why


def test_names() -> None:
    assert method_named("adam") == method_named(" Adam ") == "Adam"
    assert method_named("no") is None
    assert is_name("v_hat_l")
    assert is_name("dJ_dW_L")
    assert not is_name("v_hat")
    assert "w_new" in COLUMNS


FILE = """
from conformance import equation

@equation(id="velocity", latex=r"\\beta v_l + \\nabla_{W_l} L", equals="v_new_l", method="Momentum", given={"beta": 0.9})
def velocity(net):
    return 0.9 * net.v[net.l] - net.dL_dW[net.l]

@equation(id="shorthand", latex="x", equals="dL_dW_l", notation="one column of it")
def shorthand(net):
    return net.delta[net.l]
"""


WRITTEN = """
from conformance import equation

@equation(id="decay", latex="x", equals="W_new_l", method="weight decay")
def decay(net):
    return net.W[net.l] - net.alpha * (net.dL_dW[net.l] + net.W[net.l])

@equation(id="momentum", latex="x", equals="W_new_l", method="momentum")
def momentum(net):
    return net.W[net.l] + net.alpha * (net.beta * net.v[net.l] + net.dL_dW[net.l])

@equation(id="adam", latex="x", equals="W_new_l", method="Adam")
def adam(net):
    g = net.Z[net.l - 1].T @ net.delta[net.l]
    m = net.beta1 * net.m[net.l] + (1 - net.beta1) * g
    v = net.beta2 * net.v[net.l] + (1 - net.beta2) * g**2
    return net.W[net.l] - net.alpha * m / (v**0.5 + net.epsilon)

@equation(id="norm", latex="x", equals="delta_l", method="batch norm")
def norm(net):
    l, G = net.l, net.dL_dN[net.l] * net.gamma[net.l]
    root = (net.var[l] + net.epsilon) ** 0.5
    A_hat = (net.A[l] - net.mu[l]) / root
    return (G - A_hat * (G * A_hat).mean(axis=0)) / root

@equation(id="softmax", latex="x", equals="delta_L", only="softmax with cross-entropy")
def softmax(net):
    P = net.Z[net.L]
    return net.dL_dZ[net.L] * P * (1 - P)
"""


def test_what_a_lecturer_gets_wrong_is_named_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(WRITTEN, encoding="utf-8")
    done = CliRunner().invoke(main, ["audit", str(path)])
    assert done.exit_code == 1
    *_, last = done.output.splitlines()
    assert done.output.splitlines()[:5] == [
        "decay     silently wrong; λ is missing: W_l is added whole",
        "momentum  silently wrong; the step has the wrong sign",
        "adam      silently wrong; the bias correction is missing",
        "norm      silently wrong; the mean's term is missing",
        "softmax   silently wrong; of softmax's Jacobian the diagonal alone is taken",
    ]
    assert last == "own.py: 5 wrong, of 5 equations, run on 58 networks"


def test_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(FILE, encoding="utf-8")
    found = audit_file(path)
    velocity, shorthand = found["equations"]
    assert velocity["verdict"]["cause"] == "the gradient has the wrong sign"
    assert velocity["method"] == "momentum"
    assert found["totals"] == {"wrong": 1, "notational": 1, "holds": 0, "not judged": 0}
    assert shorthand["notation"] == "one column of it"
    assert found["exit_code"] == 1
    path.write_text(FILE.replace("- net.dL_dW", "+ net.dL_dW"), encoding="utf-8")
    assert audit_file(path)["exit_code"] == 0  # what is notation alone is not wrong
    path.write_text(FILE.replace('{"beta": 0.9}', "[0.9]"), encoding="utf-8")
    with pytest.raises(AuditError, match=r"given is \[0\.9\]; expected numbers by name"):
        audit_file(path)


def test_the_documentation_has_every_method_and_its_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    for name in DECLARED:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert METHODS[name].rule in row
        written = [f"net.{a}`" for a in METHODS[name].numbers]
        written += [f"net.{a}[l]`" for a in METHODS[name].state]
        written += [f"`{g}`" if g == "J" else f"`{g}_l`" for g in METHODS[name].gives]
        assert [w for w in written if w not in row] == []
    shown = re.findall(
        r"^\| ([a-z A-Z]+), `(\w+)` \| .* \| silently wrong; (.*) \|$", page, re.MULTILINE
    )
    assert len(shown) >= 6
    for method, equals, said in shown:
        assert said in SLIPS[method, equals.removesuffix("_l")]
