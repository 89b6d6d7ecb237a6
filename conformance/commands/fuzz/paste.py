"""A problem as Python code to paste, with every float exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from conformance.model.problem import Floats, Problem

__all__ = ["pasted"]


def pasted(p: Problem, names: Sequence[str]) -> str:
    """Code that judges the problem again. Python reads the `repr` of a float as the same float."""
    return "\n".join(_lines(p, names))


def _lines(p: Problem, names: Sequence[str]) -> Iterator[str]:
    yield "from numpy import array, inf, nan  # noqa: F401"
    yield "from conformance import Problem, check_problem"
    yield "problem = Problem("
    yield f"    W={{{', '.join(f'{l}: {_array(M)}' for l, M in p.W.items())}}},"
    yield f"    X={_array(p.X)},"
    yield f"    Y={_array(p.Y)},"
    yield f"    sigma={dict(p.sigma)!r}, loss={p.loss!r}, bias={p.bias!r}, alpha={p.alpha!r},"
    yield ")"
    if any(name.startswith("legal:") for name in names):
        yield "from conformance.commands.fuzz.legal import LEGAL"
        judged = f"[i for i in LEGAL if i.name in {list(names)!r}]"
    else:
        judged = repr(list(names))
    yield f"print(check_problem(problem, {judged})['summary']['message'])"


def _array(M: Floats) -> str:
    if len(M) > 1 and (M[:1] == M).all():  # equal examples
        return f"array({M[:1].tolist()!r} * {len(M)}, {M.dtype.name!r})"
    return f"array({np.asarray(M, np.float64).tolist()!r}, {M.dtype.name!r})"
