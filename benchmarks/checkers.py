"""Which checker catches what: gradient checkers and `check_activation` on activations known to be wrong.

    python benchmarks/checkers.py [--write | --seed N]

Every activation of tests/conformance/activation/wrong.py, and every one of right.py for the false
alarms, is handed to each checker as its documentation says, with its default tolerances, on one vector
of standard-normal float64: the input that its users would take. Without --write the tables are
printed; with it they are put between the markers of docs/checkers.md.

Nothing here decides what ought to come out: the exit status is 0 unless something raised.
"""

# ruff: noqa: E402   the environment first
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # sums in the same order every time
os.environ["JAX_ENABLE_X64"] = "1"  # read when JAX is imported

import argparse
import logging
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import autograd.extend
import autograd.test_util
import jax
import numpy as np
import torch
from jax.test_util import check_grads as jax_check_grads
from numpy.typing import NDArray
from torch.autograd.gradcheck import GradcheckError

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT / "tests" / "conformance" / "activation"
DOC = ROOT / "docs" / "checkers.md"
BEGIN, END = "<!-- begin: benchmarks/checkers.py -->", "<!-- end: benchmarks/checkers.py -->"
if str(ZOO) not in sys.path:
    sys.path.insert(0, str(ZOO))  # no package: its modules import each other by their bare names

from closeness import closeness_table
from right import RIGHT
from wrong import WRONG

from conformance.commands.activation.asserting import check_activation
from conformance.commands.activation.findings import KINDS

SEED, LENGTH = 20, 100
PASSES, LISTED = "passes", "listed warning"

Array = NDArray[Any]
Function = Callable[..., Any]


class Outcome(NamedTuple):
    """What a checker did, in the words of the table, and whether that counts as catching it."""

    text: str
    caught: bool


class Line(NamedTuple):
    """One activation and what each checker did with it."""

    name: str
    group: str
    outcomes: Mapping[str, Outcome]


def sample() -> Array:
    """The input of every gradient checker, made anew each time: some of what is checked writes to it."""
    return np.random.default_rng(SEED).standard_normal(LENGTH)


# --- the checkers ---------------------------------------------------------------------------------------


def gradcheck(sigma: Function, prime: Function, **options: Any) -> bool:
    """torch's, on the custom Function of its tutorial on NumPy extensions."""

    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.as_tensor(sigma(x.detach().numpy()))

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            (x,) = ctx.saved_tensors
            return upstream[0] * torch.as_tensor(prime(x.detach().numpy()))

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    x = torch.from_numpy(sample()).requires_grad_()
    return bool(torch.autograd.gradcheck(Custom.apply, (x,), **options))


def gradcheck_fast(sigma: Function, prime: Function) -> bool:
    """The same with one random projection instead of the whole Jacobian."""
    return gradcheck(sigma, prime, fast_mode=True)


def jax_grads(sigma: Function, prime: Function) -> bool:
    """JAX's, through custom_vjp and pure_callback; reverse mode only, for a VJP is all that is written."""

    def on_host(f: Function, x: Any) -> Any:
        return jax.pure_callback(
            lambda x: f(np.asarray(x)), jax.ShapeDtypeStruct(x.shape, x.dtype), x
        )

    @jax.custom_vjp
    def custom(x: Any) -> Any:
        return on_host(sigma, x)

    custom.defvjp(
        lambda x: (on_host(sigma, x), x), lambda x, upstream: (upstream * on_host(prime, x),)
    )
    jax_check_grads(custom, (jax.numpy.asarray(sample()),), order=1, modes=["rev"])
    return True


def autograd_grads(sigma: Function, prime: Function) -> bool:
    """HIPS/autograd's, through primitive and defvjp; first order, for σ' itself has no derivative."""
    np.random.seed(SEED)  # noqa: NPY002   what the library draws its direction from
    custom = autograd.extend.primitive(lambda x: sigma(x))
    autograd.extend.defvjp(custom, lambda answer, x: lambda upstream: upstream * prime(x))
    autograd.test_util.check_grads(custom, modes=["rev"], order=1)(sample())
    return True


OURS = "check_activation"
GRADIENT: Mapping[str, tuple[Callable[[Function, Function], bool], type[Exception]]] = {
    "gradcheck": (gradcheck, GradcheckError),
    "gradcheck, fast": (gradcheck_fast, GradcheckError),
    "JAX": (jax_grads, AssertionError),
    "autograd": (autograd_grads, AssertionError),
}
"""Each with what it raises where it finds a difference; whatever else is raised is named in the table."""

CHECKERS = (OURS, *GRADIENT)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of overflowing activations, and without JAX's log of a callback that raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def by_gradient(name: str, sigma: Function, prime: Function) -> Outcome:
    """What a gradient checker does. Every exception counts: its user would see that something is wrong."""
    run, failure = GRADIENT[name]
    try:
        with quietly():
            agrees = run(sigma, prime)
    except failure:
        return Outcome("caught", True)
    except Exception as e:
        return Outcome(f"raises {type(e).__name__}", True)
    return Outcome(PASSES, False) if agrees else Outcome("caught", True)


def found(
    sigma: Function, prime: Function, kinks: Mapping[float, float] | None = None
) -> tuple[str, dict[str, set[str]]]:
    """The verdict of `check_activation`, and the names of its findings by severity, without networks."""
    with quietly():
        answer = check_activation(sigma, prime, kinks=kinks, network=False)
    kinds: dict[str, set[str]] = {s: set() for s in ("error", "inaccurate", "warning", "note")}
    for finding in answer["findings"]:
        kinds[finding["severity"]].add(finding["kind"])
    return answer["verdict"], kinds


def ours_on_wrong(name: str) -> Outcome:
    """An error counts, whichever it is; digits lost or a warning only if they are what is due.

    Stricter than it is with the others: naive formulas deserve warnings of their own, which would
    otherwise be taken for having noticed what is wrong.
    """
    row = WRONG[name]
    verdict, kinds = found(_function(row.sigma), _function(row.prime), row.kinks)
    for severity in ("error", "inaccurate", "warning"):
        if row.finding in kinds[severity]:
            return Outcome(f"{severity}: {row.finding}", True)
    if verdict == row.verdict and row.finding in kinds["note"]:
        return Outcome(f"{verdict}: {row.finding}", True)
    if verdict == "wrong":
        return Outcome(f"error: {_names(kinds['error'])}, not {row.finding}", True)
    if mild := kinds["inaccurate"] | kinds["warning"]:
        return Outcome(f"passes, with a warning of something else: {_names(mild)}", False)
    return Outcome(PASSES if verdict == "right" else verdict, False)


def ours_on_right(name: str) -> Outcome:
    """Here `caught` is a false verdict; warnings that right.py does not list are named."""
    row = RIGHT[name]
    verdict, kinds = found(row.sigma, row.prime)
    if verdict not in ("right", "inaccurate"):
        return Outcome(f"{verdict}: {_names(kinds['error'])}", True)
    mild = kinds["inaccurate"] | kinds["warning"]
    if unlisted := mild - set(row.warnings):
        return Outcome(f"warning: {_names(unlisted)}", False)
    return Outcome(LISTED if mild else PASSES, False)


def _names(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kinds))


def _function(f: Function | None) -> Function:
    """For the type alone: a gradient checker needs both."""
    assert f is not None, "every row of WRONG has σ and σ'"
    return f


# --- the rows -------------------------------------------------------------------------------------------

GROUPS: Mapping[str, frozenset[str]] = {
    "The derivative itself": frozenset({"wrong-derivative", "wrong-value"}),
    "Kinks and jumps": frozenset(
        {"outside-clarke", "convention", "undeclared-kink", "no-such-kink", "jump", "many-branches"}
    ),
    "Range and rounding": frozenset(
        k for k in KINDS if k.startswith(("overflow", "far-", "nan-", "cancellation", "inaccurate"))
    )
    | {"tail"},
    "Form": frozenset(),  # all else
}


def group(finding: str) -> str:
    """What is wrong, roughly."""
    return next((g for g, kinds in GROUPS.items() if finding in kinds), "Form")


def wrong_line(name: str) -> Line:
    """One wrong activation under every checker."""
    row = WRONG[name]
    sigma, prime = _function(row.sigma), _function(row.prime)
    outcomes = {checker: by_gradient(checker, sigma, prime) for checker in GRADIENT}
    return Line(name, group(row.finding), {OURS: ours_on_wrong(name), **outcomes})


def right_line(name: str) -> Line:
    """One right activation under every checker."""
    row = RIGHT[name]
    outcomes = {checker: by_gradient(checker, row.sigma, row.prime) for checker in GRADIENT}
    return Line(name, "", {OURS: ours_on_right(name), **outcomes})


# --- the tables -----------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """As it may stand in a Markdown table."""
    return text.replace("|", "\\|")


def table_row(first: str, rest: Iterable[object]) -> str:
    return "| " + " | ".join([cell(first), *(cell(str(r)) for r in rest)]) + " |"


def header(first: str) -> list[str]:
    return [table_row(first, CHECKERS), "|---" * (len(CHECKERS) + 1) + "|"]


def counts(lines: list[Line]) -> list[str]:
    """How many each caught, and how many of those by an exception that is no comparison."""
    shown = []
    for checker in CHECKERS:
        caught = [line.outcomes[checker] for line in lines if line.outcomes[checker].caught]
        raised = sum(o.text.startswith("raises ") for o in caught)
        shown.append(f"{len(caught)}" + (f" ({raised} raised)" if raised else ""))
    return shown


def wrong_table(lines: list[Line]) -> list[str]:
    """A row for each wrong activation, in groups, and the totals."""
    text = header("wrong activation")
    for title in GROUPS:
        rows = [line for line in lines if line.group == title]
        text.append(table_row(f"**{title}**", [""] * len(CHECKERS)))
        text += [table_row(r.name, (r.outcomes[c].text for c in CHECKERS)) for r in rows]
    for title in GROUPS:
        rows = [line for line in lines if line.group == title]
        text.append(table_row(f"**Caught of {len(rows)}: {title.lower()}**", counts(rows)))
    text.append(table_row(f"**Caught of all {len(lines)}**", counts(lines)))
    return text


def right_table(lines: list[Line]) -> list[str]:
    """A row for each right activation, and the totals."""
    text = header("right activation")
    text += [table_row(r.name, (r.outcomes[c].text for c in CHECKERS)) for r in lines]
    text.append(table_row(f"**False alarms of {len(lines)}**", counts(lines)))
    texts = [line.outcomes[OURS].text for line in lines]
    for title, start in (("with listed warnings alone", LISTED), ("with others", "warning:")):
        number = sum(text.startswith(start) for text in texts)
        text.append(table_row(f"**Right, {title}**", [number, *["0"] * len(GRADIENT)]))
    return text


def versions() -> str:
    """What the tables depend on."""
    packages = ("refbp", "numpy", "scipy", "torch", "jax", "autograd")
    each = [f"{p} {version(p).partition('+')[0]}" for p in packages]
    return ", ".join([f"Python {platform.python_version()}", *each])


def generated(wrong: list[Line], right: list[Line]) -> str:
    """What stands between the markers."""
    return "\n".join(
        [
            f"Versions: {versions()}. Seed {SEED}, {LENGTH} elements.",
            "",
            "## Wrong ones",
            "",
            *wrong_table(wrong),
            "",
            "## Right ones",
            "",
            *right_table(right),
            "",
            "## Functions",
            "",
            *closeness_table(),
        ]
    )


def documented() -> dict[str, dict[str, dict[str, str]]]:
    """The tables of docs/checkers.md, as {'wrong' or 'right': {activation: {checker: text}}}; 'function' has
    the styles of tests."""
    tables: dict[str, dict[str, dict[str, str]]] = {}
    current: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in DOC.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].splitlines():
        if not line.startswith("| "):
            continue
        first, *rest = (part.replace("\\|", "|") for part in line[2:-2].split(" | "))
        if first == "function" or first.endswith(" activation"):
            current, columns = tables.setdefault(first.removesuffix(" activation"), {}), rest
        elif not first.startswith("**"):
            current[first] = dict(zip(columns, rest, strict=True))
    return tables


def write(text: str) -> None:
    """Put the tables between the markers of the document."""
    before, begin, rest = DOC.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(
            f"{DOC} lacks the markers {BEGIN} and {END}; put them where the tables go."
        )
    DOC.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run every checker on every activation; print, or write the document."""
    global SEED
    parser = argparse.ArgumentParser(description="Which checker catches which wrong activation.")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help=f"write {DOC.relative_to(ROOT)}")
    either.add_argument("--seed", type=int, default=SEED, help="draw another input; %(default)s")
    options = parser.parse_args()
    SEED = options.seed
    wrong = [wrong_line(name) for name in WRONG]
    right = [right_line(name) for name in RIGHT]
    text = generated(wrong, right)
    if options.write:
        write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
