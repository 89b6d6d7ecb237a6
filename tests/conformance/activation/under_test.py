"""Functions for the workers to load: right, wrong, and badly behaved."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np


def silu(x: Any) -> Any:
    return x / (1 + np.exp(-x))


def silu_prime(x: Any) -> Any:
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)


def twice(x: Any) -> Any:
    return 2 * silu_prime(x)


def endless(x: Any) -> Any:
    while True:
        x = x + 1


def hanging(x: Any) -> Any:
    time.sleep(3600)
    return x


def leaving(x: Any) -> Any:
    os._exit(0)


def exiting(x: Any) -> Any:
    sys.exit("goodbye")


def crashing(x: Any) -> Any:
    import ctypes

    return ctypes.string_at(0)


def greedy(x: Any) -> Any:
    return np.zeros(10**12) + x


def printing(x: Any) -> Any:
    print("<script>alert(1)</script> from σ'")
    return silu_prime(x)


def raising(x: Any) -> Any:
    raise RuntimeError("out of <b>luck</b>")


def unknown(x: Any) -> Any:
    return np.i0(x)


class Holder:
    function = staticmethod(silu)


number = 3
