"""The course notes' forward and backward propagation, line by line, in NumPy.

`refbp.algorithm` is the heart: FORWARD-PASS, BACKWARDPROP and the update. Notation, shapes and the
numbering of layers are stated there, once.
"""

from refbp.activations import ACTIVATIONS, Elementwise, RowWise, activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.bias import absorb, split, with_constant_unit, with_constant_units, with_ones
from refbp.errata import ERRATA, Erratum
from refbp.losses import LOSSES, Loss, loss
from refbp.network import Network, Trace
from refbp.training import History, sgd
from refbp.types import AlphaError, InputError

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "ERRATA",
    "LOSSES",
    "AlphaError",
    "Elementwise",
    "Erratum",
    "History",
    "InputError",
    "Loss",
    "Network",
    "RowWise",
    "Trace",
    "absorb",
    "activation",
    "backward_prop",
    "forward_pass",
    "loss",
    "sgd",
    "split",
    "update",
    "with_constant_unit",
    "with_constant_units",
    "with_ones",
]
