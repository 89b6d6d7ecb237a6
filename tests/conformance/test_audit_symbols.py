"""The warning where the LaTeX of an equation and its code differ in their symbols: seldom, and not for nothing."""

# ruff: noqa: E501   an equation is a line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.commands.audit.apart import audit_file
from conformance.commands.audit.equations import Equation
from conformance.commands.audit.formats import as_markdown, as_text
from conformance.commands.audit.run import entry
from conformance.report.audit import render

ROOT = Path(__file__).parents[2]


def warned(latex: str, form: Callable[[Any], Any], equals: str, **more: str) -> str:
    row = Equation(id="x", latex=latex, printed=form, equals=equals, place="own.py:1", **more)  # type: ignore[arg-type]
    return entry(row)["warning"]


def link(n: Any) -> Any:
    return (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l].derivative(n.A[n.l])


def gradient(n: Any) -> Any:
    return n.Z[n.l - 1].T @ n.delta[n.l]


def squared(n: Any) -> Any:
    return 2 / n.n * (n.Z[n.L] - n.Y) * n.sigma[n.L].derivative(n.A[n.L])


def of_one_output(n: Any) -> Any:
    return ((n.columns.z[n.L] - n.columns.y) ** 2).sum() / n.n


AGREE: list[tuple[str, Callable[[Any], Any], str]] = [
    (r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{A}_l)", link, "delta_l"),
    (r"\delta^{(l)} = (\delta^{(l+1)} W^{(l+1)\top}) \odot \sigma'(A^{(l)})", link, "delta_l"),
    (r"\delta^{[l]} \leftarrow \left( \delta^{[l+1]} {W^{[l+1]}}^T \right) \circ \sigma'(a^{[l]})", link, "delta_l"),
    (r"\frac{\partial \mathcal{L}}{\partial \mathbf{A}_l} = \frac{\partial L}{\partial A_{l+1}} W_{l+1}^T \sigma'(A_l)", link, "delta_l"),
    (r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = \mathbf{Z}_{l-1}^\top \delta_l", gradient, "dL_dW_l"),
    (r"\nabla_{\mathbf{W}_\ell} L = \boldsymbol{z}_{\ell-1}^T \boldsymbol\delta_\ell", gradient, "dL_dW_l"),
    (r"\mathbf{Z}_{l-1}^\top \delta_l", gradient, "dL_dW_l"),
    (r"\delta_L = \frac{2}{n} (\mathbf{Z}_L - \mathbf{Y}) \odot \sigma'_L(\mathbf{A}_L)", squared, "delta_L"),
    (r"\delta_L = \frac{\partial L}{\partial Z_L} \odot \sigma'(A_L) = \frac{2}{n} (Z_L - Y) \odot \sigma'(A_L)", squared, "delta_L"),
    (r"\mathcal{L} = \frac{1}{n} \sum_{i=1}^n (h(\mathbf{x}_i) - y_i)^2", of_one_output, "loss"),
    (r"\mathbf{W}_l \leftarrow \mathbf{W}_l - \alpha \frac{\partial \mathcal{L}}{\partial \mathbf{W}_l}", lambda n: n.W[n.l] - n.alpha * n.dL_dW[n.l], "W_new_l"),
    (r"W_l := W_l - \eta \nabla_{W_l} L", lambda n: n.W[n.l] - n.alpha * n.dL_dW[n.l], "W_new_l"),
    (r"\mathbf{z}_l = \sigma_l(\mathbf{W}_l \mathbf{z}_{l-1})", lambda n: n.columns.sigma[n.l](n.columns.W[n.l] @ n.columns.z[n.l - 1]), "z_l"),
    (r"Z_1 = \sigma(X W_1)", lambda n: n.sigma[1](n.X @ n.W[1]), "Z_1"),
    ("x", gradient, "dL_dW_l"),
    ("", gradient, "dL_dW_l"),
    (r"\frac{", gradient, "dL_dW_l"),
]  # fmt: skip


@pytest.mark.parametrize(("latex", "form", "equals"), AGREE)
def test_what_agrees_is_let_be(latex: str, form: Any, equals: str) -> None:
    if latex == "x":  # a letter of its own: X is Z_0
        assert warned(latex, form, equals)
        return
    assert warned(latex, form, equals) == ""


W_L = r"\delta_l = (\delta_{l+1} \mathbf{W}_l^\top) \odot \sigma'_l(\mathbf{A}_l)"
AT_Z = r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{Z}_l)"
STEP = r"\mathbf{W}_l - \frac{\partial \mathcal{L}}{\partial \mathbf{W}_l}"
DECAYED = r"\mathbf{W}_l - \alpha \frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} - \alpha\lambda \mathbf{W}_l"


@pytest.mark.parametrize(("latex", "form", "equals", "method", "said"), [
    (W_L, link, "delta_l", "", "its LaTeX has W_l, which its code does not read; its code reads W_{l+1}, which its LaTeX has not"),
    (AT_Z, link, "delta_l", "", "its LaTeX has Z_l, which its code does not read; its code reads A_l, which its LaTeX has not"),
    (STEP, lambda n: n.W[n.l] - n.alpha * n.dL_dW[n.l], "W_new_l", "", "its code reads α, which its LaTeX has not"),
    (DECAYED, lambda n: n.W[n.l] - n.alpha * n.dL_dW[n.l], "W_new_l", "weight decay", "its LaTeX has λ, which its code does not read"),
    (r"\beta v_l + \nabla_{W_l} L", lambda n: n.beta * n.v[n.l] + n.dL_dW[n.l], "v_new_l", "momentum", ""),
    (r"\nabla_{W_l} L", lambda n: n.beta * n.v[n.l] + n.dL_dW[n.l], "v_new_l", "momentum", "its code reads v_l and β, which its LaTeX has not"),
    (r"W_l - \alpha \hat{m}_l / (\sqrt{\hat{v}_l} + \epsilon)", lambda n: n.W[n.l] - n.alpha * n.m_hat[n.l] / (n.v_hat[n.l] ** 0.5 + n.epsilon), "W_new_l", "Adam", ""),
    (r"\gamma \hat{x}_i + \beta", lambda n: n.gamma[n.l] * n.A_hat[n.l] + n.beta[n.l], "N_l", "batch norm", ""),
])  # fmt: skip
def test_what_differs_is_said(latex: str, form: Any, equals: str, method: str, said: str) -> None:
    assert warned(latex, form, equals, method=method) == said


def test_it_does_not_change_a_verdict() -> None:
    row = Equation(
        id="x", latex=W_L, printed=link, equals="delta_l", only="l < L", place="own.py:1"
    )
    assert entry(row)["verdict"]["kind"] == "holds"


def test_a_code_that_fails_gets_none() -> None:
    assert warned(W_L, lambda n: n.W[n.l] / "x", "delta_l") == ""


def test_it_is_in_every_document(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from conformance import equation\n"
        f'@equation(id="e", latex=r"{W_L}", equals="delta_l", only="l < L")\n'
        "def f(n): return (n.delta[n.l + 1] @ n.W[n.l + 1].T) * n.sigma[n.l].derivative(n.A[n.l])\n",
        encoding="utf-8",
    )
    audit = audit_file(path)
    assert "\ne: its LaTeX has W_l, which its code does not read;" in as_text(audit)
    assert "its LaTeX has W" in as_markdown(audit)
    assert "Its LaTeX has W<sub>l</sub>" in render(audit)


def test_the_example_has_none() -> None:
    found = audit_file(ROOT / "examples" / "my_notes.py")
    assert [e["warning"] for e in found["equations"]] == ["", ""]
