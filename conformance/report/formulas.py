"""The notes' equations as MathML. latex2mathml passes on what it does not know: a test looks."""

from __future__ import annotations

from latex2mathml.converter import convert
from markupsafe import Markup

__all__ = ["FORMULAS", "mathml"]

FORMULAS = {
    "A": r"\mathbf{A}_l = \mathbf{Z}_{l-1} \mathbf{W}_l",
    "Z": r"\mathbf{Z}_l = \sigma_l(\mathbf{A}_l)",
    "delta_L": r"\delta_L = \frac{\partial \mathcal{L}}{\partial \mathbf{Z}_L}"
    r" \odot \sigma'_L(\mathbf{A}_L)",
    "delta_l": r"\delta_l = (\delta_{l+1} \mathbf{W}_{l+1}^\top) \odot \sigma'_l(\mathbf{A}_l)",
    "dW": r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_l} = \mathbf{Z}_{l-1}^\top \delta_l",
    "W_new": r"\mathbf{W}_l \leftarrow \mathbf{W}_l"
    r" - \alpha \frac{\partial \mathcal{L}}{\partial \mathbf{W}_l}",
    "input": r"\mathbf{Z}_0 = \mathbf{X} \in \mathbb{R}^{n \times d}",
    "link": r"\delta_l = \frac{\partial \mathcal{L}}{\partial \mathbf{A}_l}",
    "ratio": r"\text{ratio} = \frac{|\text{value} - \text{truth}|}{\text{tolerance}}",
    "sigma": r"\sigma'_l",
    "W": r"\mathbf{W}_{l+1}",
}


def mathml(name: str) -> Markup:
    """One formula, with fractions as large as on a line of their own."""
    math = convert(FORMULAS[name])
    opening = '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
    return Markup(math.replace(opening, '<math displaystyle="true">'))
