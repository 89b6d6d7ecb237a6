"""What runs in a process of its own: the user's functions, evaluated. Nothing is judged here.

Started as `python -m …worker FOLDER ROLE`: it reads FOLDER/spec.json and appends a line of JSON to
FOLDER/ROLE.jsonl for each thing found out, so that what was known before a crash is known after it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from conformance.commands.activation import evidence
from conformance.commands.activation.autodiff import Framework, autodiff_evidence
from conformance.commands.activation.behaviour import behaviour, values, warned
from conformance.commands.activation.branches import Branch, Search, branches, local_branches
from conformance.commands.activation.curve import Curve, curve
from conformance.commands.activation.definitions import definition
from conformance.commands.activation.facts import NETWORKS
from conformance.commands.activation.findings import NAMES
from conformance.commands.activation.lifted import Lifted, UnsupportedError
from conformance.commands.activation.points import domain_of, points, special
from conformance.tools.load import LoadError, load, user_lines
from conformance.tools.orphan import end_with

__all__ = ["Emit", "main", "numpy_evidence", "run_role"]

Emit = Callable[..., None]
Functions = Callable[[], dict[str, Any]]
DTYPES = ("float64", "float32")
UNJUDGEABLE = ("not-an-array", "wrong-shape", "wrong-dtype", "not-elementwise", "not-deterministic")


@contextmanager
def _of(role: str) -> Iterator[None]:
    """What is raised within is said of that function."""
    try:
        yield
    except Exception as e:
        e.of = role  # type: ignore[attr-defined]
        raise


def grids(domain: tuple[float, float], at: list[float]) -> dict[str, Any]:
    """The points of each dtype; bfloat16's are those of float32 that it can hold."""
    found = {d: points(d, _within(domain, d), at) for d in DTYPES}
    bits = found["float32"].view(np.uint32) & np.uint32(0xFFFF0000)
    cut = np.unique(bits.view(np.float32))
    wide = cut.astype(np.float64)
    found["bfloat16"] = cut[np.isfinite(cut) & (wide >= domain[0]) & (wide <= domain[1])]
    return found


def _within(domain: tuple[float, float], dtype: str) -> tuple[float, float]:
    whole = domain_of(dtype)
    return max(domain[0], whole[0]), min(domain[1], whole[1])


def numpy_evidence(
    spec: dict[str, Any], functions: dict[str, Any], emit: Emit
) -> list[Branch] | None:
    """Everything about σ and σ' as NumPy functions; `functions` has those that were given, by role.

    Returns the branch points of σ; None where it cannot be judged at all.
    """
    low, high = (float.fromhex(x) for x in spec["domain"])
    domain = (low, high)
    given = {role: functions[role] for role in ("sigma", "derivative") if role in functions}
    stopped = False
    for role, f in given.items():
        emit("stage", text=f"calling {NAMES[role]}")
        with _of(role):
            found = behaviour(f, domain)
        emit("behaviour", function=role, found=found)
        stopped |= any(o["kind"] in UNJUDGEABLE for o in found)
    if stopped:
        return None
    exact = functions.get("truth", functions.get("sigma"))
    of_sigma = _branches("truth", exact, domain, emit)
    at = [b.at for b in of_sigma.found] + [float.fromhex(k) for k in spec["kinks"]]
    if (g := given.get("derivative")) is not None:
        search = _branches("derivative", g, domain, emit)
        at += [b.at for b in search.found]
        if not search.unsearched:  # it may have other branches in float32
            in_float32 = (lambda x: g(_in_float32(x))), _within(domain, "float32")
            at += [b.at for b in _branches("derivative", *in_float32, emit, "float32").found]
    x = grids(domain, sorted(set(at)))
    if of_sigma.unsearched:
        of_sigma = _at_points(exact, of_sigma, x, emit)
    emit("points", **{name: evidence.packed(a) for name, a in x.items()})
    held = [d for d in DTYPES if len(x[d])]  # a domain may lie beyond float32
    for dtype in held:
        for role, f in given.items():
            emit("stage", text=f"calling {NAMES[role]} on {len(x[dtype])} points of {dtype}")
            with _of(role):
                y, ends = values(f, x[dtype]), values(f, special(dtype))
            emit(
                "values", function=role, dtype=dtype, y=evidence.packed(y), ends=evidence.packed(ends),
            )  # fmt: skip
    for role, f in given.items():
        emit("warnings", function=role, found=warned(f, x["float64"]))
    for dtype in [d for d in x if len(x[d])]:
        emit("stage", text=f"certifying σ on {len(x[dtype])} points of {dtype}")
        if not _certified(emit, "truth", dtype, exact, x[dtype], True):
            return None
    if "sigma" in given and "truth" in functions:
        for dtype in held:
            _certified(emit, "sigma", dtype, given["sigma"], x[dtype], False)
    if "derivative" in given:
        for dtype in held:
            emit("stage", text=f"certifying σ' on {len(x[dtype])} points of {dtype}")
            if not _certified(emit, "derivative", dtype, given["derivative"], x[dtype], False):
                break
        _lookalikes(emit, exact, given["derivative"], x["float64"])
    return of_sigma.found


def _at_points(exact: Any, of: Search, x: dict[str, Any], emit: Emit) -> Search:
    """With the branch points among the points, where there are too many to find all."""
    emit("stage", text="looking for branch points among the points")
    every = np.unique(np.concatenate([a.astype(np.float64) for a in x.values()]))
    there = np.any([(low <= every) & (every <= high) for low, high in of.unsearched], axis=0)
    there &= ~np.isin(every, [b.at for b in of.found])
    more = local_branches(exact, every[there].tolist())
    found = sorted([*of.found, *more], key=lambda b: b.at)
    emit("branches", function="truth", found=[evidence.packed_branch(b) for b in found])
    return Search(found, of.unsearched)


def _in_float32(x: Any) -> Any:
    """x, told to be float32."""
    return Lifted(x.backend, x.data, "float32")


def _lookalikes(emit: Emit, exact: Any, g: Any, x: Any) -> None:
    """What a wrong derivative is compared with: σ' at σ(x), and the given one at σ(x) and at −x."""
    body = x[(np.abs(x) < 8) & (np.abs(x) > 1e-3)][::4]
    try:
        at = curve(exact, body)
        emit(
            "lookalikes", x=evidence.packed(body), truth=evidence.packed_curve(at),
            of_output=evidence.packed(curve(exact, at.value.hi).first.hi),
            mirrored=evidence.packed(curve(exact, -body).first.hi),
            given=evidence.packed(values(g, body)), given_of_output=evidence.packed(values(g, at.value.hi)),
        )  # fmt: skip
    except Exception:
        return  # it is only an explanation that is lost


def _branches(
    role: str, f: Any, domain: tuple[float, float], emit: Emit, dtype: str = "float64"
) -> Search:
    """The branch points; and said: what they are in float64, and where more may be."""
    if not domain[0] < domain[1]:
        return Search([], [])
    emit("stage", text=f"looking for the branch points of {NAMES[role]}")
    try:
        search = branches(f, domain)
    except Exception as e:
        if dtype == "float64":
            emit("unsupported", function=role, text=_why(e))
        return Search([], [])
    if dtype == "float64":
        found = [evidence.packed_branch(b) for b in search.found]
        emit("branches", function=role, found=found)
    if search.unsearched:
        where = [[low.hex(), high.hex()] for low, high in search.unsearched]
        emit("unsearched", function=role, where=where)
    return search


def _why(e: Exception) -> str:
    """Why it cannot be evaluated on balls: our own sentence, or what was raised, and where."""
    if isinstance(e, UnsupportedError):
        return str(e)
    where = user_lines(e)
    return f"{type(e).__name__}: {e}" + (f" ({where[-1]})" if where else "")


def _certified(emit: Emit, role: str, dtype: str, f: Any, x: Any, derivative: bool) -> bool:
    try:
        # σ is one function; its σ' may have a formula for each dtype
        told = dtype if role == "derivative" else "float64"
        found: Curve = curve(f, x.astype(np.float64), derivative, told)
    except Exception as e:
        emit("unsupported", function=role, text=_why(e))
        return False
    emit("curve", function=role, dtype=dtype, **evidence.packed_curve(found))
    return True


# --- the process --------------------------------------------------------------------------------------


def _emitter(path: Path) -> Emit:
    file = path.open("a", encoding="utf-8")

    def emit(event: str, **more: Any) -> None:
        file.write(json.dumps({"event": event, **more}) + "\n")
        file.flush()

    return emit


def _limit(spec: dict[str, Any], role: str) -> None:
    """No more memory than that, and where it was when time ran out."""
    faulthandler.enable()
    until = float(os.environ.get("CONFORMANCE_DEADLINE", time.time() + spec["timeout"]))
    faulthandler.dump_traceback_later(max(0.2, until - time.time() - 0.3), exit=True)
    if role == "numpy" and sys.platform != "win32":
        import resource

        most = int(spec["memory"])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class StoppedError(Exception):
    """There will be no points: the first worker ended without."""


def wait_for_points(folder: Path) -> dict[str, Any]:
    """The points, once the first worker has found them; too late for this process ends it, and is said."""
    while not (folder / "points.json").exists():
        if (folder / "stop").exists():
            raise StoppedError
        time.sleep(0.01)
    found = json.loads((folder / "points.json").read_text(encoding="utf-8"))
    return {name: evidence.array(a) for name, a in found.items()}


def _functions(spec: dict[str, Any], roles: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for role in roles:
        if spec.get(role):
            is_name = role == "truth" and ":" not in spec[role]
            found[role] = definition(spec[role]) if is_name else load(spec[role], spec["folder"])
    return found


ROLES = {
    "numpy": ("sigma", "derivative", "truth"),
    "torch": ("sigma", "torch", "truth"),
    "jax": ("sigma", "jax", "truth"),
}


def _framework(role: str) -> Framework:
    """Imported only where it runs."""
    if role == "torch":
        from conformance.commands.activation.torch_ import Torch

        return Torch()
    from conformance.commands.activation.jax_ import Jax

    return Jax()


def run_role(
    spec: dict[str, Any],
    role: str,
    functions: Functions,
    grids: Callable[[], dict[str, Any]],
    emit: Emit,
) -> None:
    """One role, from its functions to what is said of them; what is raised is said as well."""
    stage = ["loading"]

    def loaded() -> dict[str, Any]:
        found = functions()
        # whatever the user's file asked for: it would be our arithmetic too
        np.seterr(all="ignore")
        stage[0] = "evaluating"
        return found

    try:
        with np.errstate(all="ignore"):  # warnings are looked for apart
            _play(spec, role, loaded, grids, emit, stage)
    except StoppedError:
        emit("done")
    except LoadError as e:
        emit("refused", text=str(e))
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt) and role not in sys.argv:  # in the user's own process
            raise
        _say(emit, role, stage[0], e)
    else:
        emit("done")


def _play(
    spec: dict[str, Any],
    role: str,
    functions: Functions,
    grids: Callable[[], dict[str, Any]],
    emit: Emit,
    stage: list[str],
) -> None:
    if role != "numpy":
        autodiff_evidence(_framework(role), spec, functions, grids, emit)
        return
    of = numpy_evidence(spec, given := functions(), emit)
    if of is not None and spec["network"]:
        from conformance.commands.activation.network import numpy_networks

        stage[0] = NETWORKS
        emit("stage", text=stage[0])
        numpy_networks(spec, given, of, emit)


def _say(emit: Emit, role: str, stage: str, e: BaseException) -> None:
    """What was raised, of which function, where in the user's own files, and while doing what."""
    kind = type(e).__name__
    try:
        text = f"SystemExit: {e.code}" if isinstance(e, SystemExit) else f"{kind}: {str(e).strip()}"
    except Exception:
        text = f"{kind}, whose message cannot be read"
    of = getattr(e, "of", role)
    emit("raised", text=text[:2000], lines=user_lines(e), kind=kind, of=of, stage=stage)


def main(folder: Path, role: str) -> None:
    """One role in this process, its limits set."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    end_with(os.getppid())
    emit = _emitter(folder / f"{role}.jsonl")
    _limit(spec, role)

    def grids() -> dict[str, Any]:
        return wait_for_points(folder)

    run_role(spec, role, lambda: _functions(spec, ROLES[role]), grids, emit)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever the user's file left running
