"""The audit: tries every equation in every network and layer that it is about, and makes the document.

What an equation returns is compared with the right value (`compare.py`), and all of its tries together give
its verdict (`verdict.py`).
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

import refbp
from conformance.commands.audit import conditions
from conformance.commands.audit.compare import OUTCOMES, Tried, compare, kind_of, shape_of
from conformance.commands.audit.document import Document, Entry, Evidence, Numbers, Source
from conformance.commands.audit.equations import NOTES, Equation, Form
from conformance.commands.audit.methods import METHODS, method_named
from conformance.commands.audit.named import MissingError, UsageError, nearest
from conformance.commands.audit.net import Net
from conformance.commands.audit.notes import PRINTED
from conformance.commands.audit.places import Index, Place
from conformance.commands.audit.right import Matrix
from conformance.commands.audit.settings import SETTINGS, settings
from conformance.commands.audit.symbols import warning
from conformance.commands.audit.values import NAMES, Value, index_of, is_name, value
from conformance.commands.audit.verdict import KINDS, Verdict, judge, not_judged
from conformance.report.formulas import formula
from conformance.tools.load import user_lines
from refbp.errata import ERRATA

__all__ = ["audit_notes", "described", "document", "entry", "source_line", "tries"]

LARGEST = 64  # a matrix of more numbers is not shown


# ---- one try -----------------------------------------------------------------------------------


def tries(row: Equation, form: Form | None = None) -> list[Tried]:
    """Every try of a row as it is printed, or of another form of it."""
    return [_try(form or row.printed, at, due) for at, due in _places(row)]


def _index(row: Equation) -> Index:
    """How a row writes its layer: l, L or a number."""
    named = isinstance(row.equals, str) and not row.layer
    return Index(index_of(str(row.equals)).base if named else row.layer or "L")


def _places(row: Equation) -> list[tuple[Place, Value]]:
    """The places that a row is about, with the right value of each."""
    only = [c for name in conditions.split(row.only) if (c := conditions.read(name))]
    index = _index(row)
    places = []
    for setting in settings(method_named(row.method) or "", row.given):
        layers = range(1, setting.L + 1) if index.base == "l" else [index.of(Place(setting, 0))]
        for at in (Place(setting, l) for l in layers if l <= setting.L):
            due = value(row.equals, at) if isinstance(row.equals, str) else row.equals(at)
            if due is not None and all(c.holds(at) for c in only):
                places.append((at, due))
    return places


def _try(form: Form, at: Place, due: Value) -> Tried:
    """Run an equation once, in this process. Whatever it raises or returns is an outcome."""
    net = at.net
    try:
        with (
            redirect_stdout(sys.stderr),
            warnings.catch_warnings(action="ignore"),
            np.errstate(all="ignore"),
        ):
            got = form(net)
    except (KeyboardInterrupt, ImportError, MemoryError):  # not the equation's fault
        raise
    except BaseException as e:
        outcome = _of_exception(e)
        where = "" if outcome in ("shapes", "missing") else _where(e)
        return Tried(at, outcome, None, due, f"{_message(e)}{where}", read=_numbers_of(net))
    if isinstance(got, np.ndarray):
        got = got.copy()  # the equation may return the same array again, and have written to it
    return compare(at, got, due)._replace(read=_numbers_of(net), symbols=frozenset(net.seen))


def _numbers_of(net: Net) -> dict[str, Matrix]:
    return {symbol: M for symbol, M in net.seen.items() if M is not None}


# NumPy raises ValueError for shapes that do not fit as for much else: its message alone tells them apart
_SHAPE_WORDS = ("shape", "dimension", "broadcast", "matmul", "size ", "align", "reshape")


def _of_exception(e: BaseException) -> str:
    if isinstance(e, MissingError):
        return "missing"
    if isinstance(e, refbp.InputError) or (
        isinstance(e, ValueError) and any(word in str(e) for word in _SHAPE_WORDS)
    ):
        return "shapes"
    return "raises"


def _message(e: BaseException) -> str:
    """An exception in a line. It may be of any class, and its text may fail too."""
    try:
        text = " ".join(str(e).split())
    except Exception:
        text = "an error that cannot be printed"
    product = re.search(r"matmul: .*\(size (\d+) is different from (\d+)\)", text)
    if product:
        return (
            f"a product of matrices does not fit: {product[2]} columns, and then {product[1]} rows."
        )
    if isinstance(e, (UsageError, refbp.InputError)):
        return text
    return f"{type(e).__name__}: {text[:300]}" if text else type(e).__name__


def _where(e: BaseException) -> str:
    lines = user_lines(e)
    return f" ({lines[-1]})" if lines else ""


# ---- as a document -----------------------------------------------------------------------------


def audit_notes() -> Document:
    """The audit of the course notes."""
    return document("the course notes", [entry(row) for row in NOTES.values()], exits=False)


def document(of: str, entries: list[Entry], exits: bool) -> Document:
    """The whole audit. `exits`: whether an equation that does not hold changes the exit code."""
    counts = Counter(e["verdict"]["kind"] for e in entries)
    return {
        "format": "conformance-audit/1",
        "of": of,
        "exit_code": _exit_code(totals(entries)) if exits else 0,
        "counts": {kind: counts[kind] for kind in KINDS if counts[kind]},
        "totals": totals(entries),
        "versions": {"refbp": refbp.__version__, "numpy": np.__version__},
        "networks": [{"name": s.name, "words": s.words} for s in SETTINGS],
        "equations": entries,
    }


TOTALS = ("wrong", "notational", "holds", "not judged")


def totals(entries: Sequence[Entry]) -> dict[str, int]:
    """How many equations are wrong, only notation, hold, or could not be judged."""
    counts = Counter(map(total_of, entries))
    return {total: counts[total] for total in TOTALS}


def total_of(e: Entry) -> str:
    """Which of `TOTALS` it counts among: an equation that says how it is meant is notation, not wrong."""
    kind = e["verdict"]["kind"]
    if kind == "not-judged":
        return "not judged"
    return "holds" if kind == "holds" else "notational" if e["notation"] else "wrong"


def _exit_code(counts: Mapping[str, int]) -> int:
    """1, an equation is wrong; else 2, one could not be judged; else 0."""
    return 1 if counts["wrong"] else 2 if counts["not judged"] else 0


def entry(row: Equation) -> Entry:
    """One equation of the document: run, and judged."""
    why = _problem(row)
    tried: list[Tried] = []
    if not why:
        try:
            tried = tries(row)
        except (ImportError, MemoryError) as e:
            why = f"it could not be run here: {_message(e)}{_where(e)}."
    why = why or ("" if tried else _nowhere(row))
    verdict = not_judged(_in(row, why)) if why else judge(tried, _index(row))
    return {
        **described(row),
        "equals": _equals(row, tried),
        "warning": warning(row.latex, tried)
        if row.place
        else "",  # the notes' are transcribed by us
        "verdict": vars(verdict),
        "tries": _counts(tried),
        "evidence": _evidence(tried, verdict),
        "corrected_holds": _corrected(row),
    }


def described(row: Equation) -> Entry:
    """One equation of the document before it is run."""
    erratum = ERRATA.get(row.erratum)
    return {
        "id": row.id,
        "where": row.where,
        "latex": row.latex,
        "printed": [PRINTED[key]._asdict() for key in row.prints],
        "transcription": _text(row.shown or row.printed),
        "equals": _equals(row, []),
        "only": row.only,
        "method": method_named(row.method) or row.method,
        "notation": row.notation,
        "warning": "",
        "verdict": vars(not_judged("")),
        "tries": _counts([]),
        "evidence": [],
        "corrected_latex": row.corrected_latex,
        "corrected_holds": None,
        "source": source_line(*row.source),
        "erratum": None
        if erratum is None
        else {"id": row.erratum, "verdict": erratum.verdict, "holds": erratum.holds},
        "note": row.note or _about_its_latex(row),
    }


def _in(row: Equation, why: str) -> str:
    """The reason, after the file and line of the equation where they are known."""
    return f"{row.place}: {why}" if row.place else why


def _about_its_latex(row: Equation) -> str:
    """A note where the LaTeX is missing, or is more than `report.formulas` can typeset."""
    if not row.latex.strip():
        return 'It has no LaTeX: what latex=r"…" gives is shown as printed.'
    broken = [latex for latex in (row.latex, row.corrected_latex) if latex and not formula(latex)]
    if broken:
        return "Its LaTeX is shown as it is written: not all of it is known here."
    return ""


# ---- why a row cannot be judged --------------------------------------------------------------------


def _problem(row: Equation) -> str:
    """Why a row cannot be judged at all; "" where it can."""
    unknown = [name for name in conditions.split(row.only) if conditions.read(name) is None]
    if trouble := _no_function(row.printed):
        return trouble
    if trouble := _no_method(row):
        return trouble
    if isinstance(row.equals, str) and not is_name(row.equals):
        return (
            f"equals={row.equals!r} names no right value; expected one of {', '.join(NAMES)}, "
            f"with l, L or a number for the layer.{nearest(row.equals, NAMES)}"
        )
    if unknown:
        known = conditions.names()
        return (
            f"only={row.only!r} has {unknown[0]!r}, which is no condition; expected one of, or several "
            f"joined by and: {'; '.join(known)}.{nearest(unknown[0], known)}"
        )
    return ""


def _no_method(row: Equation) -> str:
    """What is wrong with the method that is declared, or with its numbers; "" if nothing is."""
    name = method_named(row.method)
    if name is None:
        known = [m for m in METHODS if m]
        return (
            f"method={row.method!r} is no method; expected one of {'; '.join(known)}, or none."
            f"{nearest(row.method, known)}"
        )
    numbers = METHODS[name].numbers
    for key, number in row.given:
        if key not in numbers:
            has = ", ".join(numbers) or "none"
            return f"given has {key!r}; expected of the numbers of method={name!r}: {has}."
        fits = isinstance(number, int) and 0 < number < 1000 if key == "t" else 0 < number < 1
        if not fits:
            expected = "a whole number, 1 to 999" if key == "t" else "a number between 0 and 1"
            return f"given has {key} = {number!r}; expected {expected}."
    quantity = str(row.equals).rpartition("_")[0] or str(row.equals)
    having = [m for m, method in METHODS.items() if quantity in method.gives]
    if having and name not in having:
        return (
            f"equals={row.equals!r} is there for an equation that declares its method; expected "
            f"{' or '.join(f'method={m!r}' for m in having)}."
        )
    return ""


def _no_function(form: object) -> str:
    """What it is, if it is no function of one parameter; "" if it is."""
    if not callable(form) or isinstance(form, type):
        return f"it is {kind_of(form)}; expected a function of one network."
    try:
        inspect.signature(form).bind(None)
    except TypeError:
        takes = str(inspect.signature(form))
        return f"its function takes {takes}; expected one parameter, net."
    except ValueError:  # a built-in function does not say what it takes
        return ""
    return ""


def _nowhere(row: Equation) -> str:
    """Why there is no place to try it in."""
    most = max(s.L for s in SETTINGS)
    within = f", where only={row.only!r}" if row.only else ""
    of = f", by method={row.method!r}" if row.method else ""
    return (
        f"no network here has a right value equals={row.equals!r}{within}{of}; the networks have 1 to {most} "
        "layers, and a derivative of a vector there is for n = 1 alone."
    )


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
    """How often it was tried, in how many networks, and how often with each outcome."""
    outcomes = Counter(t.outcome for t in tried)
    networks = len({t.at.setting for t in tried})
    return {"all": len(tried), "networks": networks} | {
        k: outcomes[k] for k in OUTCOMES if outcomes[k]
    }


def _evidence(tried: Sequence[Tried], verdict: Verdict) -> list[Evidence]:
    """The smallest try with each wrong outcome, the first two of them: the silent outcome comes first.

    Where the verdict names a factor, a try that is wrong by a factor is preferred.
    """
    smallest = []
    for outcome in ("wrong", "shapes", "incomplete", "missing", "no-numbers", "raises"):
        those = [t for t in tried if t.outcome == outcome]
        if those:
            by_factor = [t for t in those if t.factor is not None] if verdict.factor else []
            smallest.append(_shown(min(by_factor or those, key=_size)))
    return smallest[:2]


def _size(t: Tried) -> tuple[bool, int, int]:
    """How much there is to read; a single number comes last, as it does not show what is wrong."""
    right = t.due.right
    several = list(right.values()) if isinstance(right, Mapping) else [right]
    numbers = sum(np.size(M) for M in (*t.read.values(), *several))
    return sum(np.size(M) for M in several) <= len(several), t.at.setting.L, numbers


def _shown(t: Tried) -> Evidence:
    return {
        "network": t.at.setting.name,
        "words": t.at.setting.words,
        "layer": t.at.l,
        "outcome": t.outcome,
        "message": t.message,
        "factor": t.factor,
        "read": [{"name": name, "numbers": _numbers(M)} for name, M in t.read.items()],
        "value": t.due.symbol,
        "got": _numbers(t.got),
        "right": _numbers(t.due.right),
    }


def _numbers(M: object) -> Numbers:
    """What an equation returned, or should, for JSON: a list of rows, or {name: numbers}; NaN as "nan"."""
    if M is None:
        return None
    if isinstance(M, dict):
        named = {f"new W_{k}" if isinstance(k, int) else str(k): v for k, v in M.items()}
        return {k: _numbers(v) for k, v in list(named.items())[:LARGEST]}
    if isinstance(M, (list, tuple, range)) and all(isinstance(x, int) for x in M):
        return [int(x) for x in M[:LARGEST]]
    try:
        array = np.asarray(M)
        if np.iscomplexobj(array):
            return "complex numbers"
        array = array.astype(float)
    except Exception:  # it may be anything
        return kind_of(M)
    if array.size > LARGEST:
        return f"{shape_of(array.shape)}, too many to show"
    return _rounded(array.tolist())


def _rounded(x: float | list[float]) -> Numbers:
    """To twelve significant digits."""
    if isinstance(x, list):
        return [_rounded(y) for y in x]
    return float(f"{x:.12g}") if np.isfinite(x) else str(x)


def _text(function: object) -> str:
    """The source text of a function; "" where there is none."""
    try:
        return inspect.cleandoc("\n" + inspect.getsource(function))  # type: ignore[arg-type]
    except Exception:
        return ""


def source_line(file: str, text: str) -> Source | None:
    """The line of a file of refbp that holds `text`; None where no file is named, or no line holds it.

    It is searched for, since a line number that is written down goes stale.
    """
    if not file:
        return None
    path = Path(refbp.__file__).parents[1] / file
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text in line:
            return {"file": file, "line": number, "text": text}
    return None
