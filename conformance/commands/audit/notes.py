r"""What the course notes print, in their order: every displayed equation, every rule that stands in a line
of Steps 2a to 2c, those of Step 0 and 2 that the procedures rest on, every line of both procedures.

Each has a key, a place and its LaTeX as printed. A row of `equations.py` names the keys that it judges, and
a test sees that every key is named by exactly one row.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PRINTED", "Printed"]


class Printed(NamedTuple):
    """One equation or line as it is printed. `how` is displayed, in the text, or a line of a procedure."""

    where: str
    how: str
    latex: str


_DISPLAYED, _INLINE, _LINE = "displayed", "in the text", "line"
_LW = r"\frac{\partial \mathcal{L}}{\partial \mathbf{W}_%s}"
_La = r"\frac{\partial \mathcal{L}}{\partial \mathbf{a}_%s}"
_aW = r"\frac{\partial \mathbf{a}_%s}{\partial \mathbf{W}_%s}"
_aa = r"\frac{\partial \mathbf{a}_%s}{\partial \mathbf{a}_%s}"
_Lw = r"\frac{\partial \mathcal{L}}{\partial \mathbf{w}_%s}"
_aw = r"\frac{\partial \mathbf{a}_%s}{\partial \mathbf{w}_%s}"

PRINTED: dict[str, Printed] = {
    # ---- Step 0
    "0-network": Printed(
        "Step 0",
        _DISPLAYED,
        r"h(\mathbf{x}) = \sigma_L(\mathbf{W}_L \sigma_{L-1}(\mathbf{W}_{L-1} \cdots "
        r"\sigma_2(\mathbf{W}_2 \sigma_1(\mathbf{W}_1 \mathbf{x})) \cdots))",
    ),
    "0-bias": Printed(
        "Step 0",
        _INLINE,
        r"\text{Assume } \mathbf{b} \text{ has been absorbed by } \mathbf{W}",
    ),
    "0-layers": Printed(
        "Step 0",
        _DISPLAYED,
        r"\begin{aligned}\mathbf{z}_0 &= \mathbf{x} \\ "
        r"\mathbf{z}_1 &= \sigma_1(\mathbf{W}_1 \mathbf{z}_0) \\ "
        r"\mathbf{z}_2 &= \sigma_2(\mathbf{W}_2 \mathbf{z}_1) \\ "
        r"\mathbf{z}_3 &= \sigma_3(\mathbf{W}_3 \mathbf{z}_2) \\ "
        r"\mathbf{z}_4 &= \sigma_4(\mathbf{W}_4 \mathbf{z}_3)\end{aligned}",
    ),
    "0-products": Printed(
        "Step 0",
        _DISPLAYED,
        r"\begin{aligned}\mathbf{a}_1 &= \mathbf{W}_1 \mathbf{z}_0 \\ "
        r"\mathbf{a}_2 &= \mathbf{W}_2 \mathbf{z}_1 \\ "
        r"\mathbf{a}_3 &= \mathbf{W}_3 \mathbf{z}_2 \\ "
        r"\mathbf{a}_4 &= \mathbf{W}_4 \mathbf{z}_3\end{aligned}",
    ),
    # ---- Key Points, which stand within Step 0
    "key-order": Printed(
        "Key Points",
        _INLINE,
        r"\text{update } \mathbf{W}_l \text{ with } "
        + _LW % "l"
        + r" \text{, starting from the last layer's to the first's}",
    ),
    "key-weight-gradient": Printed(
        "Key Points", _INLINE, _LW % "l" + " = " + _La % "l" + r" \odot " + _aW % ("l", "l")
    ),
    "key-chain": Printed(
        "Key Points",
        _INLINE,
        _La % "{l-1}" + " = " + _La % "l" + r" \odot " + _aa % ("l", "{l-1}"),
    ),
    **{
        f"0-z{l}": Printed(
            "Step 0", _DISPLAYED, rf"\mathbf{{z}}_{l} = \sigma_{l}(\mathbf{{a}}_{l})"
        )
        for l in (1, 2, 3, 4)
    },
    "0-shape-X": Printed("Step 0", _INLINE, r"\mathbf{X} \in \mathbb{R}^{n \times d}"),
    "0-shape-W": Printed(
        "Step 0",
        _INLINE,
        r"\mathbf{W}_1 \in \mathbb{R}^{d \times d_1}, "
        r"\mathbf{W}_2 \in \mathbb{R}^{d_1 \times d_2}, \dots, "
        r"\mathbf{W}_L \in \mathbb{R}^{d_{L-1} \times d_L}",
    ),
    "0-looks-like": Printed(
        "Step 0",
        _INLINE,
        r"\mathbf{a}_l = \mathbf{W}_l \mathbf{z}_{l-1} \text{ looks like } "
        r"\mathbf{A}_l = \mathbf{Z}_{l-1} \mathbf{W}_l",
    ),
    # ---- FORWARD-PASS
    "forward-1": Printed(
        "FORWARD-PASS, line 1",
        _LINE,
        r"\text{procedure FORWARD-PASS}(\mathbf{W} = \{\mathbf{W}_1, \dots, \mathbf{W}_L\}, "
        r"\mathbf{X} \in \mathbb{R}^{n \times d})",
    ),
    "forward-2": Printed("FORWARD-PASS, line 2", _LINE, r"\mathbf{Z}_0 \leftarrow \mathbf{X}"),
    "forward-3": Printed("FORWARD-PASS, line 3", _LINE, r"\text{for } l = 1 : L \text{ do}"),
    "forward-4": Printed(
        "FORWARD-PASS, line 4", _LINE, r"\mathbf{A}_l \leftarrow \mathbf{Z}_{l-1} \mathbf{W}_l"
    ),
    "forward-5": Printed(
        "FORWARD-PASS, line 5", _LINE, r"\mathbf{Z}_l \leftarrow \sigma_l(\mathbf{A}_l)"
    ),
    "forward-6": Printed("FORWARD-PASS, line 6", _LINE, r"\text{end for}"),
    "forward-7": Printed("FORWARD-PASS, line 7", _LINE, r"\text{return } \mathbf{Z}_L"),
    "forward-8": Printed("FORWARD-PASS, line 8", _LINE, r"\text{end procedure}"),
    # ---- Step 1
    "1-output": Printed("Step 1", _INLINE, r"h(\mathbf{x}) = \mathbf{z}_4"),
    "1-loss": Printed(
        "Step 1",
        _DISPLAYED,
        r"\mathcal{L} = \frac{1}{n} \sum_{i=1}^n (h(\mathbf{x}_i) - y_i)^2",
    ),
    # ---- Step 2
    "2-update": Printed(
        "Step 2", _INLINE, r"\mathbf{W}_l \leftarrow \mathbf{W}_l - \alpha " + _LW % "l"
    ),
    # ---- Step 2a
    "2a-z": Printed("Step 2a", _INLINE, r"\mathbf{z}_4 = \sigma_4(\mathbf{a}_4)"),
    "2a-a": Printed("Step 2a", _INLINE, r"\mathbf{a}_4 = \mathbf{W}_4 \mathbf{z}_3"),
    "2a-chain": Printed("Step 2a", _INLINE, _LW % 4 + " = " + _La % 4 + " " + _aW % (4, 4)),
    "2a-last-chain": Printed(
        "Step 2a",
        _INLINE,
        _La % 4 + r" = \frac{\partial \mathcal{L}}{\partial \mathbf{z}_4} \odot "
        r"\frac{\partial \mathbf{z}_4}{\partial \mathbf{a}_4}",
    ),
    "2a-last-link": Printed(
        "Step 2a", _INLINE, _La % 4 + r" = 2(\mathbf{z}_4 - y) \odot \sigma'_4(\mathbf{a}_4)"
    ),
    "2a-da-dW": Printed("Step 2a", _INLINE, _aW % (4, 4) + r" = \mathbf{z}_3^\top"),
    "2a-gradient": Printed(
        "Step 2a",
        _INLINE,
        _LW % 4 + r" = [2(\mathbf{z}_4 - y) \odot \sigma'_4(\mathbf{a}_4)] \mathbf{z}_3^\top",
    ),
    # ---- Step 2b
    "2b-weight-chain": Printed(
        "Step 2b", _DISPLAYED, _LW % 3 + " = " + _La % 3 + " " + _aW % (3, 3)
    ),
    "2b-link-chain": Printed(
        "Step 2b", _DISPLAYED, _La % 3 + " = " + _La % 4 + r" \odot " + _aa % (4, 3)
    ),
    "2b-jacobians": Printed(
        "Step 2b",
        _INLINE,
        _aa % (4, 3) + r" = \frac{\partial \mathbf{a}_4}{\partial \mathbf{z}_3} "
        r"\frac{\partial \mathbf{z}_3}{\partial \mathbf{a}_3}",
    ),
    "2b-a": Printed("Step 2b", _INLINE, r"\mathbf{a}_4 = \mathbf{W}_4 \mathbf{z}_3"),
    "2b-z": Printed("Step 2b", _INLINE, r"\mathbf{z}_3 = \sigma_3(\mathbf{a}_3)"),
    "2b-da-da": Printed(
        "Step 2b", _INLINE, _aa % (4, 3) + r" = \mathbf{W}_4 \sigma'_3(\mathbf{a}_3)"
    ),
    "2b-link": Printed(
        "Step 2b",
        _DISPLAYED,
        _La % 3 + " = " + _La % 4 + r" \odot \mathbf{W}_4 \sigma'_3(\mathbf{a}_3)",
    ),
    "2b-gradient": Printed(
        "Step 2b",
        _DISPLAYED,
        _LW % 3
        + r" = \left["
        + _La % 4
        + r" \odot \mathbf{W}_4 \sigma'_3(\mathbf{a}_3) \right] \mathbf{z}_2^\top",
    ),
    # ---- Step 2c
    "2c-below": Printed(
        "Step 2c",
        _INLINE,
        _La % "l"
        + r" \text{ are useful for calculating the gradients } "
        + _Lw % "j"
        + r" \text{ for } j \leq l",
    ),
    "2c-weight-chain": Printed(
        "Step 2c", _INLINE, _Lw % "l" + " = " + _La % "l" + " " + _aw % ("l", "l")
    ),
    "2c-layers": Printed("Step 2c", _INLINE, r"\text{for all but the last layer}"),
    "2c-link-chain": Printed(
        "Step 2c", _INLINE, _La % "{l-1}" + " = " + _La % "l" + r" \odot " + _aa % ("l", "{l-1}")
    ),
    "2c-da-dW": Printed("Step 2c", _INLINE, _aw % ("l", "l") + r" = \mathbf{z}_{l-1}^\top"),
    "2c-da-da": Printed(
        "Step 2c",
        _INLINE,
        _aa % ("l", "{l-1}") + r" = \mathbf{W}_l \sigma'_{l-1}(\mathbf{a}_{l-1})",
    ),
    "2c-update": Printed("Step 2c", _INLINE, r"\mathbf{W}_l = \mathbf{W}_l - \alpha " + _Lw % "l"),
    # ---- BACKWARDPROP
    "link-name": Printed("Pseudocode", _INLINE, r"\delta_l = " + _La % "l"),
    "backward-1": Printed(
        "BACKWARDPROP, line 1",
        _LINE,
        r"\text{procedure BACKWARDPROP}(\mathbf{W}, \{\mathbf{A}_1, \dots, \mathbf{A}_L\}, "
        r"\{\mathbf{Z}_0, \dots, \mathbf{Z}_L\}, \mathbf{y} \in \mathbb{R}^n)",
    ),
    "backward-2": Printed(
        "BACKWARDPROP, line 2",
        _LINE,
        r"\delta_L \leftarrow \frac{\partial \mathcal{L}}{\partial \mathbf{Z}_L} \odot "
        r"\sigma'_L(\mathbf{A}_L)",
    ),
    "backward-3": Printed("BACKWARDPROP, line 3", _LINE, r"\text{for } l = (L - 1) : 1 \text{ do}"),
    "backward-4": Printed(
        "BACKWARDPROP, line 4",
        _LINE,
        _Lw % "{l+1}" + r" \leftarrow \mathbf{Z}_l^\top \delta_{l+1}",
    ),
    "backward-5": Printed(
        "BACKWARDPROP, line 5",
        _LINE,
        r"\delta_l \leftarrow (\delta_{l+1} \mathbf{W}_l^\top) \odot \sigma'_l(\mathbf{A}_l)",
    ),
    "backward-6": Printed("BACKWARDPROP, line 6", _LINE, r"\text{end for}"),
    "backward-7": Printed(
        "BACKWARDPROP, line 7", _LINE, _Lw % "1" + r" \leftarrow \mathbf{Z}_0^\top \delta_1"
    ),
    "backward-8": Printed(
        "BACKWARDPROP, line 8",
        _LINE,
        r"\text{return } \left\{ " + _Lw % "1" + r", \dots, " + _Lw % "L" + r" \right\}",
    ),
    "backward-9": Printed("BACKWARDPROP, line 9", _LINE, r"\text{end procedure}"),
}
"""Every printed item by its key, in the order of the notes."""
