"""The verdict on an equation, found by running it: where it is right, where not, and how it is wrong.

An equation is asked in every network that it is about, and there for every layer l that it is about. What
it gives is compared with the right value: equal to 1e-9 of the largest entry, which is far above rounding
and far below any slip. The verdict is read off the pattern of right and wrong.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import refbp
from conformance.audit.conditions import (
    CONDITIONS,
    FACTORS,
    ONE_UNIT,
    Place,
    explaining,
    holds_in,
    named,
    split,
)
from conformance.audit.equations import NOTES, Equation
from conformance.audit.notes import PRINTED
from conformance.audit.settings import SETTINGS, MissingError
from conformance.audit.values import NAMES, Value, is_name, per_layer, value
from conformance.load import user_lines
from refbp.errata import ERRATA

__all__ = ["KINDS", "Tried", "Verdict", "audit_notes", "judge", "source_line", "tries"]

TOLERANCE = 1e-9
LARGEST = 64  # numbers of a matrix that are shown

KINDS = {
    "holds": "holds",
    "holds-only": "holds only for",
    "factor": "wrong by the factor",
    "shapes": "shapes do not fit",
    "incomplete": "leaves something out",
    "wrong": "silently wrong",
    "raises": "raises",
    "no-numbers": "gives no numbers",
    "not-judged": "not judged",
}
"""Every kind of verdict, and how it begins."""

OUTCOMES = {
    "right": "right",
    "wrong": "silently wrong",
    "shapes": "shapes do not fit",
    "missing": "asks for what there is not",
    "incomplete": "leaves something out",
    "no-numbers": "gives no numbers",
    "raises": "raises",
}
"""What one try can be."""


class Tried(NamedTuple):
    """One equation in one place: what came out, beside what is right."""

    at: Place
    outcome: str
    got: Any
    due: Value
    message: str = ""
    factor: float | None = None
    read: dict[str, Any] = {}  # noqa: RUF012   what the equation read, by symbol


@dataclass(frozen=True)
class Verdict:
    """What the tries of one equation come to: the kind, in words, and what it is elsewhere.

    `condition` is where it is right and `silent` where it is wrong though the shapes fit, both "" where no
    words were found; `why` says what is wrong with user code.
    """

    kind: str
    words: str
    elsewhere: str = ""
    condition: str = ""
    silent: str = ""
    factor: str = ""
    why: str = ""


# ---- one try -----------------------------------------------------------------------------------


def tries(row: Equation, form: Callable[[Any], Any] | None = None) -> list[Tried]:
    """Every try of a row, or of another form of it."""
    return [_try(form or row.printed, at, due) for at, due in _asked(row)]


def _asked(row: Equation) -> list[tuple[Place, Value]]:
    """The places that a row is about, with the right value of each."""
    only = split(row.only)
    each = row.per_layer if row.per_layer is not None else _is_per_layer(row.equals)
    found = []
    for setting in SETTINGS:
        for l in range(1, setting.L + 1) if each else (setting.L,):
            at = Place(setting, l)
            due = value(row.equals, at) if isinstance(row.equals, str) else row.equals(at)
            if due is not None and holds_in(only, at):
                found.append((at, due))
    return found


def _is_per_layer(equals: Any) -> bool:
    return isinstance(equals, str) and per_layer(equals)


def _try(form: Callable[[Any], Any], at: Place, due: Value) -> Tried:
    """Run it in this process. Whatever it raises or returns is an outcome."""
    net = at.net
    try:
        with (
            redirect_stdout(sys.stderr),
            warnings.catch_warnings(action="ignore"),
            np.errstate(all="ignore"),
        ):
            got = form(net)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        outcome = _of_exception(e)
        where = "" if outcome in ("shapes", "missing") else _where(e)
        return Tried(at, outcome, None, due, f"{_said(e)}{where}", read=net.seen)
    return _compare(at, got, due)._replace(read=net.seen)


_SHAPE_WORDS = ("shape", "dimension", "broadcast", "matmul", "size ", "align", "reshape")


def _of_exception(e: BaseException) -> str:
    if isinstance(e, MissingError):
        return "missing"
    if isinstance(e, refbp.InputError) or (
        isinstance(e, ValueError) and any(word in str(e) for word in _SHAPE_WORDS)
    ):
        return "shapes"
    return "raises"


def _said(e: BaseException) -> str:
    """What it raised, in a line."""
    try:
        text = " ".join(str(e).split())
    except Exception:
        text = "an error that cannot be printed"
    product = re.search(r"matmul: .*\(size (\d+) is different from (\d+)\)", text)
    if product:
        return (
            f"a product of matrices does not fit: {product[2]} columns, and then {product[1]} rows."
        )
    known = isinstance(e, (MissingError, refbp.InputError))
    return text[:300] if known else f"{type(e).__name__}: {text[:300]}"


def _where(e: BaseException) -> str:
    lines = user_lines(e)
    return f" ({lines[-1]})" if lines else ""


def _compare(at: Place, got: Any, due: Value) -> Tried:
    """What was returned beside what is right."""
    if isinstance(due.right, list):
        same = _listed(got) == due.right
        return Tried(at, "right" if same else "wrong", got, due)
    if isinstance(due.right, dict):
        return _compare_named(at, got, due)
    outcome, message, factor = _matrix(got, due.right)
    return Tried(at, outcome, got, due, message, factor)


def _listed(got: Any) -> Any:
    return list(got) if isinstance(got, (list, tuple, range)) else got


def _compare_named(at: Place, got: Any, due: Value) -> Tried:
    """Several matrices by their names or layers."""
    if not isinstance(got, dict):
        return Tried(at, "no-numbers", got, due, f"it returns {_kind(got)}; expected a dict.")
    absent = [name for name in due.right if name not in got]
    found = [_matrix(got[name], M) for name, M in due.right.items() if name in got]
    for outcome, message, _ in found:
        if outcome != "right":
            return Tried(at, outcome, got, due, message)
    if absent:
        names = ", ".join(str(name) for name in absent)
        return Tried(at, "incomplete", got, due, f"it leaves out {names}.")
    return Tried(at, "right", got, due)


def _kind(got: Any) -> str:
    """What it is, in words."""
    return "None" if got is None else f"a {type(got).__name__}"


def _matrix(got: Any, right: Any) -> tuple[str, str, float | None]:
    """(outcome, message, factor) of one matrix or number."""
    M = _real(got)
    if M is None:
        return "no-numbers", f"it returns {_kind(got)}; expected real numbers.", None
    if right.shape == () and M.size == 1:
        M = M.reshape(())
    if M.shape != right.shape:
        return "shapes", f"it gives {_shape(M.shape)}; expected {_shape(right.shape)}.", None
    if not np.isfinite(M).all():
        return "no-numbers", "it gives NaN or infinity; expected finite numbers.", None
    return _numbers(M.astype(float), right)


def _real(got: Any) -> Any:
    """An array of real numbers; None where it is none."""
    try:
        M = np.asarray("nothing" if got is None else got)
        M = M.astype(float) if M.dtype.kind == "O" else M
    except Exception:
        return None
    return M if M.dtype.kind in "biuf" else None


def _shape(shape: tuple[int, ...]) -> str:
    """2×3, or words where there are no two sides."""
    if not shape:
        return "one number"
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers in a row"


def _numbers(M: Any, right: Any) -> tuple[str, str, float | None]:
    scale = np.abs(right).max()
    if np.abs(M - right).max() <= TOLERANCE * scale:
        return "right", "", 1.0
    factor = float((M * right).sum() / (right * right).sum()) if scale else 0.0
    fits = np.abs(M - factor * right).max() <= TOLERANCE * np.abs(M).max()
    return "wrong", "", factor if fits and factor else None


# ---- the verdict -------------------------------------------------------------------------------


def judge(row: Equation, tried: Sequence[Tried]) -> Verdict:
    """The verdict that the tries come to."""
    if not tried:
        return Verdict("not-judged", "not judged", why=f"no network is of the kind {row.only!r}.")
    outcomes = Counter(t.outcome for t in tried)
    if outcomes["right"] == len(tried):
        return Verdict("holds", "holds")
    for kind in ("raises", "no-numbers"):
        if outcomes[kind]:
            return _failing(kind, tried)
    condition = _condition(row, tried, "right")
    factor = _factor(tried)
    if factor:
        elsewhere = f"right for {condition}" if condition else ""
        return Verdict("factor", f"wrong by the factor {factor}", elsewhere, condition, "", factor)
    wrong = [t for t in tried if t.outcome != "right"]
    silent = _condition(row, wrong, "wrong")
    elsewhere = _elsewhere({t.outcome for t in wrong}, silent)
    if outcomes["right"]:
        return _partly(row, tried, condition, elsewhere, silent)
    kind = next(k for k in ("incomplete", "shapes", "wrong", "missing") if outcomes[k])
    kind = "shapes" if kind == "missing" else kind
    told = f"silently wrong for {silent}" if silent else elsewhere if outcomes["wrong"] else ""
    return Verdict(kind, KINDS[kind], told if kind == "shapes" else "", "", silent)


def _partly(
    row: Equation, tried: Sequence[Tried], condition: str, elsewhere: str, silent: str
) -> Verdict:
    """Right in some tries. A layer of one unit is no test of shapes: any product fits there."""
    if condition in [named(c, row.layer) for c in ONE_UNIT] and "silently" not in elsewhere:
        return Verdict("shapes", KINDS["shapes"], f"right for {condition}", condition, silent)
    right = sum(t.outcome == "right" for t in tried)
    told = condition or f"some networks, {right} of {len(tried)} tries"
    return Verdict("holds-only", f"holds only for {told}", elsewhere, condition, silent)


def _elsewhere(outcomes: set[str], silent: str) -> str:
    """What it is where it is not right."""
    others = " or ".join(OUTCOMES[k] for k in OUTCOMES if k in outcomes - {"wrong"})
    if "wrong" not in outcomes:
        return f"else {others}"
    if not others:
        return "else silently wrong"
    return (
        f"silently wrong for {silent}, else {others}"
        if silent
        else f"else silently wrong or {others}"
    )


def _failing(kind: str, tried: Sequence[Tried]) -> Verdict:
    """User code that raises, or gives no numbers: the first, and how often."""
    bad = [t for t in tried if t.outcome == kind]
    return Verdict(kind, KINDS[kind], why=f"{len(bad)} of {len(tried)} times: {bad[0].message}")


def _condition(row: Equation, tried: Sequence[Tried], outcome: str) -> str:
    """Where the outcome is that one, in words; "" where it is everywhere, nowhere, or no words fit."""
    held = {t.at: t.outcome == outcome for t in tried}
    if len(set(held.values())) < 2:
        return ""
    return explaining(held, row.layer)


def _factor(tried: Sequence[Tried]) -> str:
    """The factor that every try is wrong by: a number, or n and the like."""
    if any(t.factor is None for t in tried):
        return ""
    factors = [t.factor for t in tried if t.factor is not None]
    if np.ptp(factors) <= TOLERANCE * abs(factors[0]):
        return f"{factors[0]:.6g}".replace("-", "−")
    return next((name for name, of in FACTORS.items() if _is(of, tried)), "")


def _is(of: Callable[[Place], float], tried: Sequence[Tried]) -> bool:
    return all(np.isclose(t.factor or 0, of(t.at), rtol=1e-8, atol=0) for t in tried)


# ---- as a document -----------------------------------------------------------------------------


def audit_notes() -> dict[str, Any]:
    """The audit of the course notes, as `docs/audit.md` describes it."""
    return document("the course notes", [entry(row) for row in NOTES.values()], exits=False)


def document(of: str, entries: list[dict[str, Any]], exits: bool) -> dict[str, Any]:
    """The whole audit. `exits` says whether what does not hold is an error."""
    counts = Counter(e["verdict"]["kind"] for e in entries)
    return {
        "format": "conformance-audit/1",
        "of": of,
        "exit_code": _exit_code(counts) if exits else 0,
        "counts": {kind: counts[kind] for kind in KINDS if counts[kind]},
        "versions": {"refbp": refbp.__version__, "numpy": np.__version__},
        "networks": [{"name": s.name, "words": s.words} for s in SETTINGS],
        "equations": entries,
    }


def _exit_code(counts: Counter[str]) -> int:
    """1, an equation does not hold; else 2, one could not be judged; else 0."""
    if any(counts[k] for k in KINDS if k not in ("holds", "not-judged")):
        return 1
    return 2 if counts["not-judged"] else 0


def entry(row: Equation) -> dict[str, Any]:
    """One equation of the document."""
    problem = _problem(row)
    tried = [] if problem else tries(row)
    verdict = problem or judge(row, tried)
    erratum = ERRATA.get(row.erratum)
    return {
        "id": row.id,
        "where": row.where,
        "latex": row.latex,
        "printed": [PRINTED[key]._asdict() for key in row.prints],
        "transcription": _text(row.shown or row.printed),
        "equals": _equals(row, tried),
        "only": row.only,
        "verdict": vars(verdict),
        "tries": _counts(tried),
        "evidence": _evidence(tried),
        "corrected_latex": row.corrected_latex,
        "corrected_holds": _corrected(row),
        "source": source_line(*row.source),
        "erratum": erratum
        and {"id": row.erratum, "verdict": erratum.verdict, "holds": erratum.holds},
        "note": row.note,
    }


def _problem(row: Equation) -> Verdict | None:
    """Why a row cannot be judged at all."""
    unknown = [c for c in split(row.only) if c not in CONDITIONS]
    if not callable(row.printed):
        why = f"it is {_kind(row.printed)}; expected a function of one network."
    elif isinstance(row.equals, str) and not is_name(row.equals):
        why = f"there is no right value named {row.equals!r}; expected one of {', '.join(NAMES)}."
    elif unknown:
        known = ", ".join(CONDITIONS)
        why = f"no condition is named {unknown[0]!r}; expected one or more of: {known}."
    else:
        return None
    return Verdict("not-judged", "not judged", why=why)


def _corrected(row: Equation) -> dict[str, int] | None:
    """In how many tries the corrected form is right."""
    if row.corrected is None:
        return None
    tried = tries(row, row.corrected)
    return {"right": sum(t.outcome == "right" for t in tried), "tries": len(tried)}


def _equals(row: Equation, tried: Sequence[Tried]) -> str:
    if isinstance(row.equals, str):
        return row.equals
    return tried[0].due.symbol if tried else ""


def _counts(tried: Sequence[Tried]) -> dict[str, int]:
    """Outcome -> how often; and in how many networks it was tried."""
    outcomes = Counter(t.outcome for t in tried)
    networks = len({t.at.setting for t in tried})
    return {"all": len(tried), "networks": networks} | {
        k: outcomes[k] for k in OUTCOMES if outcomes[k]
    }


def _evidence(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The smallest try of each way to be wrong, the silent one first."""
    found = []
    for outcome in ("wrong", "shapes", "incomplete", "missing", "no-numbers", "raises"):
        of = [t for t in tried if t.outcome == outcome]
        if of:
            found.append(_shown(min(of, key=_size)))
    return found[:2]


def _size(t: Tried) -> tuple[bool, int, int]:
    """How much there is to read. One number is too few to see what is wrong."""
    right = t.due.right
    several = list(right.values()) if isinstance(right, dict) else [right]
    numbers = sum(np.size(M) for M in (*t.read.values(), *several))
    return sum(np.size(M) for M in several) <= len(several), t.at.setting.L, numbers


def _shown(t: Tried) -> dict[str, Any]:
    return {
        "network": t.at.setting.name,
        "words": t.at.setting.words,
        "layer": t.at.l,
        "outcome": t.outcome,
        "message": t.message,
        "factor": t.factor,
        "read": _named(t.read),
        "value": t.due.symbol,
        "got": _plain(t.got),
        "right": _plain(t.due.right),
    }


def _named(read: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "numbers": _plain(M)} for name, M in read.items()]


def _plain(M: Any) -> Any:
    """Numbers for JSON: a list of rows; NaN by its name; {name: numbers} where there are several."""
    if M is None:
        return None
    if isinstance(M, dict):
        named = {f"new W_{k}" if isinstance(k, int) else str(k): v for k, v in M.items()}
        return {k: _plain(v) for k, v in list(named.items())[:LARGEST]}
    if isinstance(M, (list, tuple, range)) and all(isinstance(x, int) for x in M):
        return [int(x) for x in M][:LARGEST]
    try:
        array = np.asarray(M, dtype=float)
    except Exception:
        return f"{_kind(M)}"
    if array.size > LARGEST:
        return f"{_shape(array.shape)}, too many to show"
    return _rounded(array.tolist())


def _rounded(x: Any) -> Any:
    """To twelve significant digits."""
    if isinstance(x, list):
        return [_rounded(y) for y in x]
    return float(f"{x:.12g}") if np.isfinite(x) else str(x)


def _text(function: Any) -> str:
    """The function as it is written."""
    try:
        return inspect.cleandoc("\n" + inspect.getsource(function))
    except Exception:
        return ""


def source_line(file: str, text: str) -> dict[str, Any] | None:
    """Where the text stands now: found by searching, so that it cannot go stale. None where it does not."""
    if not file:
        return None
    path = Path(refbp.__file__).parents[1] / file
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text in line:
            return {"file": file, "line": number, "text": text}
    return None
