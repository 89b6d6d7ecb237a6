"""Losing digits is not a mistake, and no mistake is a loss of digits: naive formulas are `inaccurate` with
the stable form named, faults and small relative errors stay `deviates`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from conformance.cases import Case, find
from conformance.faults.loop import STEPS, Loop, State
from conformance.implementations import NotRunError, given
from conformance.judge import Subject
from conformance.problem import Floats, Problem, Trace
from conformance.results import Result
from conformance.runner import judged_by

Steps = Mapping[str, Callable[..., Any]]


@cache
def subject(case: str | Case) -> Subject:
    return Subject(find(case) if isinstance(case, str) else case)


class Mine:
    """refbp's lines with some replaced, in one dtype where it knows no other."""

    name, description = "mine", "replaced"

    def __init__(self, steps: Steps, only: str = "", without: tuple[str, ...] = ()) -> None:
        self.steps, self.only, self.without = steps, only, without
        self.loop = Loop({**STEPS, **steps})

    def run(self, p: Problem) -> Trace:
        if self.only and p.dtype != self.only:
            raise NotRunError(f"{self.only} alone")
        left_out: dict[str, Any] = {q: {} for q in self.without if q != "loss"}
        left_out |= {"loss": None} if "loss" in self.without else {}
        with np.errstate(all="ignore"):
            return replace(self.loop.run(p), **left_out)


def judged(case: str | Case, steps: Steps, **how: Any) -> Result:
    impl: Any = Mine(steps, **how)
    with given({"mine": impl}):
        return judged_by(subject(case), "mine", impl)


# --- naive formulas -------------------------------------------------------------------------------


def on(name: str, f: Callable[[Floats], Floats]) -> Steps:
    """σ by f, where a layer has that σ."""

    def step(s: State, l: int) -> Any:
        return f(s.A[l]) if s.p.sigma[l] == name else STEPS["Z"](s, l)

    return {"Z": step}


def _elu(a: Floats, scale: float = 1.0, alpha: float = 1.0) -> Floats:
    t = a.dtype.type
    return np.where(a > 0, t(scale) * a, t(scale * alpha) * (np.exp(a) - 1))


def _tanh(a: Floats) -> Floats:
    p, q = np.exp(a), np.exp(-a)
    return np.asarray((p - q) / (p + q))


def _rows(a: Floats) -> Floats:
    return np.asarray(np.exp(a) / np.exp(a).sum(axis=1, keepdims=True))


NAIVE: Mapping[str, tuple[Callable[[Floats], Floats], str]] = {
    "elu": (_elu, "np.expm1(a)"),
    "celu": (_elu, "np.expm1(a)"),
    "selu": (lambda a: _elu(a, 1.0507009873554805, 1.6732632423543772), "np.expm1(a)"),
    "softplus": (lambda a: np.log(1 + np.exp(a)), "log1p"),
    "logsigmoid": (lambda a: -np.log(1 + np.exp(-a)), "log1p"),
    "mish": (lambda a: a * np.tanh(np.log(1 + np.exp(a))), "log1p"),
    "tanh": (_tanh, "np.tanh(a)"),
    "log_softmax": (lambda a: np.log(_rows(a)), "max of the row"),
}
