"""The worker, a process of its own: it evaluates the user's functions. Nothing is judged here.

Started as `python -m …worker FOLDER ROLE`: it reads FOLDER/spec.json and appends a message (messages.py) to
FOLDER/ROLE.jsonl for each fact, so that what was known before a crash is known after it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from conformance.commands.activation import messages
from conformance.commands.activation.autodiff import Framework, Functions, autodiff_evidence
from conformance.commands.activation.behaviour import Observation, behaviour, values, warned
from conformance.commands.activation.branches import Branch, Search, branches, local_branches
from conformance.commands.activation.curve import curve
from conformance.commands.activation.definitions import definition
from conformance.commands.activation.findings import NAMES
from conformance.commands.activation.lifted import Function, Lifted, UnsupportedError
from conformance.commands.activation.messages import Emit
from conformance.commands.activation.numbers import PerNumber, takes_numbers
from conformance.commands.activation.points import domain_of, points, special
from conformance.commands.activation.spec import Spec
from conformance.commands.activation.wider import WiderError, wider_by_hand
from conformance.model.problem import Floats
from conformance.tools.load import load, user_lines
from conformance.tools.orphan import end_with
from conformance.tools.trouble import RefusedError

__all__ = ["StoppedError", "functions_of", "main", "run_role"]

DTYPES = ("float64", "float32")
UNJUDGEABLE = ("not-an-array", "wrong-shape", "wrong-dtype", "not-elementwise", "not-deterministic")


@contextmanager
def _calling(function: str) -> Iterator[None]:
    """Marks an exception that is raised within as raised by that function."""
    try:
        yield
    except Exception as e:
        e.raised_by = function  # type: ignore[attr-defined]
        raise


def grids(domain: tuple[float, float], at: list[float]) -> messages.Points:
    """The points of each dtype; bfloat16's are those of float32 that it can represent."""
    found = {d: points(d, _within(domain, d), at) for d in DTYPES}
    bits = found["float32"].view(np.uint32) & np.uint32(0xFFFF0000)
    cut = np.unique(bits.view(np.float32))
    wide = cut.astype(np.float64)
    cut = cut[np.isfinite(cut) & (wide >= domain[0]) & (wide <= domain[1])]
    return messages.Points(found["float64"], found["float32"], cut)


def _within(domain: tuple[float, float], dtype: str) -> tuple[float, float]:
    whole = domain_of(dtype)
    return max(domain[0], whole[0]), min(domain[1], whole[1])


def numpy_evidence(spec: Spec, functions: dict[str, Function], emit: Emit) -> list[Branch] | None:
    """Emit everything about σ and σ' as NumPy functions; functions of one number become functions of arrays.

    Returns the branch points of σ; None if it cannot be judged at all.
    """
    given: dict[str, Function] = {
        f: functions[f] for f in ("sigma", "derivative") if f in functions
    }
    if "sigma" in given and (wider := wider_by_hand(given["sigma"], given.get("derivative"))):
        emit(wider)
        return None
    behave = [_behaves(function, given, spec, emit) for function in given]
    if not all(behave):
        return None
    functions.update(given)
    exact, g = functions["truth" if "truth" in functions else "sigma"], given.get("derivative")
    of_sigma = _branches("truth", exact, spec.domain, emit)
    at = [b.at for b in of_sigma.found] + [*spec.kinks]
    if g is not None:
        search = _branches("derivative", g, spec.domain, emit)
        at += [b.at for b in search.found]
        if not search.unsearched:  # it may have other branches in float32
            within = _within(spec.domain, "float32")
            search = _branches("derivative", _seeing_float32(g), within, emit, listed=False)
            at += [b.at for b in search.found]
    all_points = grids(spec.domain, sorted(set(at)))
    x = all_points.by_dtype()
    if of_sigma.unsearched:
        of_sigma = _at_points(exact, of_sigma, x, emit)
    emit(all_points)
    held = [d for d in DTYPES if d in x and spec.asks(d)]  # a domain may lie beyond float32
    for dtype in held:
        for function, f in given.items():
            emit(messages.Stage(f"calling {NAMES[function]} on {len(x[dtype])} points of {dtype}"))
            with _calling(function):
                y, ends = values(f, x[dtype]), values(f, special(dtype))
            emit(messages.Values(function, dtype, y, ends))
    for function, f in given.items():
        for dtype in held[:1]:
            emit(messages.Observed(function, warned(f, x[dtype])))
    for dtype in x:
        emit(messages.Stage(f"certifying σ on {len(x[dtype])} points of {dtype}"))
        if not _certified(emit, "truth", dtype, exact, x[dtype]):
            return None
    if "sigma" in given and "truth" in functions:
        for dtype in held:
            _certified(emit, "sigma", dtype, given["sigma"], x[dtype])
    if g is not None:
        for dtype in held:
            emit(messages.Stage(f"certifying σ' on {len(x[dtype])} points of {dtype}"))
            if not _certified(emit, "derivative", dtype, g, x[dtype]):
                break
        _lookalikes(emit, exact, g, x[held[0]] if held else all_points.float64)
    return of_sigma.found


def _behaves(function: str, given: dict[str, Function], spec: Spec, emit: Emit) -> bool:
    """Whether what a function returns can be judged at all."""
    emit(messages.Stage(f"calling {NAMES[function]}"))
    with _calling(function):
        try:
            found = behaviour(given[function], spec.domain, spec.dtype)
        except TypeError as e:
            if not takes_numbers(e):
                raise
            given[function] = PerNumber(given[function])
            found = behaviour(given[function], spec.domain, spec.dtype)
            found.append(Observation("takes-numbers", "float64", str(e), "an array like x"))
    emit(messages.Observed(function, found))
    return not any(o.kind in UNJUDGEABLE for o in found)


def _at_points(exact: Function, of: Search, x: Mapping[str, Floats], emit: Emit) -> Search:
    """The search, with those of the points added that are branch points: for a σ with too many to find all of
    them."""
    emit(messages.Stage("looking for branch points among the points"))
    every = np.unique(np.concatenate([a.astype(np.float64) for a in x.values()]))
    there = np.any([(low <= every) & (every <= high) for low, high in of.unsearched], axis=0)
    there &= ~np.isin(every, [b.at for b in of.found])
    more = local_branches(exact, every[there].tolist())
    found = sorted([*of.found, *more], key=lambda b: b.at)
    emit(messages.Branches("truth", found))
    return Search(found, of.unsearched)


def _lookalikes(emit: Emit, exact: Function, g: Function, x: Floats) -> None:
    """Emit the curves that a wrong derivative is compared with, at points where most values are."""
    body = x[(np.abs(x) < 8) & (np.abs(x) > 1e-3)][::4]
    try:
        at = curve(exact, body)
        emit(
            messages.Lookalikes(
                x=body,
                truth=at,
                of_output=curve(exact, at.value.hi).first.hi,
                mirrored=curve(exact, -body).first.hi,
                given=values(g, body),
                given_of_output=values(g, at.value.hi),
            )
        )
    except Exception:
        return  # only the explanation of a wrong derivative is lost


def _branches(
    function: str, f: Function, domain: tuple[float, float], emit: Emit, listed: bool = True
) -> Search:
    """The branch points, and where more may be. The branch points are emitted only if `listed`."""
    if not domain[0] < domain[1]:
        return Search([], [])
    emit(messages.Stage(f"looking for the branch points of {NAMES[function]}"))
    try:
        search = branches(f, domain)
    except Exception as e:
        if listed:
            emit(messages.Unsupported(function, _why(e)))
        return Search([], [])
    if listed:
        emit(messages.Branches(function, search.found))
    if search.unsearched:
        emit(messages.Unsearched(function, search.unsearched))
    return search


def _seeing_float32(g: Function) -> Function:
    """g, which sees balls as numbers of float32."""
    if isinstance(g, np.vectorize):
        return g

    @wraps(g)
    def seeing(x: Any) -> Any:
        return g(Lifted(x.backend, x.data, "float32") if isinstance(x, Lifted) else x)

    return seeing


def _why(e: Exception) -> str:
    """Why a function cannot be evaluated on balls: our own sentence, or the exception and its place."""
    if isinstance(e, UnsupportedError):
        return str(e)
    where = user_lines(e)
    return f"{type(e).__name__}: {e}" + (f" ({where[-1]})" if where else "")


def _certified(emit: Emit, function: str, dtype: str, f: Function, x: Floats) -> bool:
    """Certify f on balls at x, and return whether that was possible. For the definition of σ, the derivative
    is certified too."""
    try:
        # σ is one function; its σ' may have a formula for each dtype
        seen_as = dtype if function == "derivative" else "float64"
        found = curve(f, x.astype(np.float64), function == "truth", seen_as)
    except Exception as e:
        emit(messages.Unsupported(function, _why(e)))
        return False
    emit(messages.Certified(function, dtype, found))
    return True


# --- the process --------------------------------------------------------------------------------------


def _emitter(path: Path) -> Emit:
    file = path.open("a", encoding="utf-8")

    def emit(message: messages.Message) -> None:
        file.write(messages.encode(message) + "\n")
        file.flush()

    return emit


def _limit(spec: Spec, role: str) -> None:
    """Limit this process: its memory, and its time, at the end of which it prints where it was."""
    faulthandler.enable()
    until = float(os.environ.get("CONFORMANCE_DEADLINE", time.time() + spec.timeout))
    # 0.3 s before the parent process kills this one
    faulthandler.dump_traceback_later(max(0.2, until - time.time() - 0.3), exit=True)
    if role == "numpy" and not recorded_of(spec.given) and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (spec.memory, spec.memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class StoppedError(Exception):
    """There will be no points: the first worker ended without any."""


def wait_for_points(folder: Path) -> messages.Points:
    """The points, once the first worker has found them. Raises StoppedError."""
    while not (folder / "points.json").exists():
        if (folder / "stop").exists():
            raise StoppedError
        time.sleep(0.01)
    return messages.from_json(messages.Points, (folder / "points.json").read_text(encoding="utf-8"))


ROLES = {
    "numpy": ("sigma", "derivative", "truth"),
    "torch": ("sigma", "torch", "truth"),
    "jax": ("sigma", "jax", "truth"),
}
"""The functions that each worker loads, and the one whose forward pass is the definition of σ."""


def recorded_of(given: Iterable[str]) -> str:
    """The framework whose version of σ is its definition, since no other is given; "" for none."""
    named = {*given}
    return "" if named & {"sigma", "truth"} else "torch" if "torch" in named else "jax"


def functions_of(given: Mapping[str, str | Function], folder: str = "") -> dict[str, Function]:
    """The functions: those given by name are loaded, the others are taken as they are.

    Raises LoadError, or whatever importing their files raises.
    """
    found: dict[str, Function] = {}
    for function, f in given.items():
        if not isinstance(f, str):
            found[function] = f
        else:
            found[function] = (
                definition(f) if function == "truth" and ":" not in f else load(f, folder)
            )
    return found


def _framework(role: str) -> Framework:
    """A framework, imported only if it runs."""
    if role == "torch":
        from conformance.commands.activation.torch_ import Torch

        return Torch()
    from conformance.commands.activation.jax_ import Jax

    return Jax()


@dataclass
class _Role:
    """One worker's work, and how far it has come."""

    spec: Spec
    role: str
    load: Callable[[], Functions]
    grids: Callable[[], messages.Points]
    emit: Emit
    stage: str = messages.LOADING

    def functions(self) -> dict[str, Function]:
        """The functions, loaded, and the definition of σ where it is recorded."""
        found = dict(self.load())
        if self.spec.dtype == "float32":
            numpy = found.keys() & {"sigma", "derivative", "truth"}
            found |= {name: _seeing_float32(found[name]) for name in numpy}
        if framework := recorded_of(found):
            from conformance.commands.activation.traced import definition_of

            found["truth"] = definition_of(framework, found[framework])
        # the user's file may have set NumPy's treatment of errors, which our arithmetic would follow
        np.seterr(all="ignore")
        self.stage = messages.EVALUATING
        return found

    def run(self) -> None:
        """Do all of the work. Raises whatever user code raises, and WiderError."""
        if self.role != "numpy":
            autodiff_evidence(
                _framework(self.role),
                self.spec,
                self.functions,
                lambda: self.grids().by_dtype(),
                self.emit,
            )
            return
        of = numpy_evidence(self.spec, given := self.functions(), self.emit)
        if of is not None and self.spec.network:
            from conformance.commands.activation.network import numpy_networks

            self.stage = messages.NETWORKS
            self.emit(messages.Stage(messages.NETWORKS))
            numpy_networks(self.spec, given, of, self.emit)


def run_role(
    spec: Spec,
    role: str,
    load: Callable[[], Functions],
    grids: Callable[[], messages.Points],
    emit: Emit,
) -> None:
    """Run one role, from loading its functions to the last message about them; an exception becomes a message
    too."""
    work = _Role(spec, role, load, grids, emit)
    try:
        with np.errstate(all="ignore"):  # `warned` looks for warnings
            work.run()
    except StoppedError:
        emit(messages.Done())
    except WiderError as e:
        emit(e.wider)
        emit(messages.Done())
    except RefusedError as e:
        emit(messages.Problem("refused", str(e), []))
    except BaseException as e:
        # in the user's own process, which handles it
        if isinstance(e, KeyboardInterrupt) and role not in sys.argv:
            raise
        emit(_raised(e, work.stage))
    else:
        emit(messages.Done())


def _raised(e: BaseException, stage: str) -> messages.Problem:
    """The message for an exception: by which function, where in the user's own files, and in which stage it
    was raised."""
    kind = type(e).__name__
    try:
        text = f"SystemExit: {e.code}" if isinstance(e, SystemExit) else f"{kind}: {str(e).strip()}"
    except Exception:
        text = f"{kind}, whose message cannot be read"
    function = getattr(e, "raised_by", "")
    return messages.Problem("raised", text[:2000], user_lines(e), stage, kind, function)


def main(folder: Path, role: str) -> None:
    """Run one role in this process, with its limits set."""
    spec = messages.from_json(Spec, (folder / "spec.json").read_text(encoding="utf-8"))
    end_with(os.getppid())
    emit = _emitter(folder / f"{role}.jsonl")
    _limit(spec, role)
    loaded = (*ROLES[role], recorded_of(spec.given))
    given = {f: spec.given[f] for f in loaded if f in spec.given}
    run_role(
        spec, role, lambda: functions_of(given, spec.folder), lambda: wait_for_points(folder), emit
    )


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # even if the user's file left threads running
