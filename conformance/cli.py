"""The command line: run, list, show, report."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from conformance.cases import FAMILIES, PROFILES, CaseError, cases, find, select
from conformance.implementations import IMPLEMENTATIONS
from conformance.results import (
    VERDICTS,
    Results,
    ResultsError,
    read,
    try_to_write,
    write_atomically,
    write_results,
)

__all__ = ["main"]


class Refusal(click.ClickException):
    """Exit code 2, and one sentence."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """On standard error."""
        click.echo(f"conformance: {self.message}", err=True)


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with what was asked for, in one sentence, with exit code 2."""
    from conformance.runner import RunError

    try:
        yield
    except (CaseError, ResultsError, RunError) as e:
        raise Refusal(str(e)) from e


class _ExitCodes(click.Group):
    """1 is for what deviates alone: click exits with 1 where nobody reads, and at Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and see what it printed out of the door."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt) as e:
            raise Refusal("interrupted; nothing was written.") from e
        except OSError as e:
            # or the interpreter tries to print it again when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise Refusal(f"cannot write to standard output: {e.strerror or e}.") from e


@click.group(cls=_ExitCodes, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refbp", prog_name="conformance")
def main() -> None:
    """Is this backpropagation right? Every quantity of every layer, judged against certified truth.

    Exit codes: 0, all that ran conforms; 1, something deviates; 2, the tool could not do its job.
    """


def _outputs(what: str) -> Callable[[Any], Any]:
    """The options --report and --json of a command that makes both."""

    def decorate(command: Any) -> Any:
        path = click.Path(path_type=Path)
        as_json = click.option(
            "--json", "json_path", type=path, metavar="F.json", help=f"Write the {what}."
        )
        as_html = click.option(
            "--report", type=path, metavar="F.html", help="Write the HTML report."
        )
        return as_html(as_json(command))

    return decorate


def _may_be_written(report: Path | None, json_path: Path | None, what: str) -> None:
    """Refuse before a minute's work, not after."""
    if report and json_path and report.resolve() == json_path.resolve():
        raise ResultsError(f"cannot write {report}: the report and the {what} have one name.")
    for path in (report, json_path):
        _must_be_writable(path)


@main.command()
@click.option(
    "--profile", default="standard", metavar="P", help=f"{', '.join(PROFILES)} (default standard)."
)
@click.option(
    "--implementation",
    "implementations",
    multiple=True,
    metavar="NAME",
    help="Run this one (repeatable); if it cannot run here, that is exit code 2.",
)
@click.option(
    "--select",
    "wanted",
    default="",
    metavar="F=V,…",
    help="Only these cases: 'activation=tanh,depth=3'.",
)
@_outputs("results")
@click.option(
    "--jobs",
    type=click.IntRange(0, 256),
    default=None,
    help="Worker processes; one a core by default, 0 for none.",
)
def run(
    profile: str,
    implementations: tuple[str, ...],
    wanted: str,
    report: Path | None,
    json_path: Path | None,
    jobs: int | None,
) -> None:
    """Run the implementations on a profile of cases and judge every quantity of every layer."""
    from conformance.runner import run as run_profile

    gc.disable()  # results are a tree of a million values and no cycle
    with _refusing():
        _may_be_written(report, json_path, "results")
        with _progress() as progress:
            results = run_profile(profile, implementations, wanted, jobs, progress)
        if json_path:
            write_results(json_path, results)
        if report:
            _write_report(report, results)
    _print_summary(results)
    for kind, path in (("report", report), ("results", json_path)):
        if path:
            click.echo(f"{kind}: {path}")
    sys.exit(results["summary"]["exit_code"])


def _must_be_writable(path: Path | None) -> None:
    """A file that is there to be replaced, or a folder to put one in."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise ResultsError(f"cannot write {path}: it is a folder; expected the name of a file.")
        if path.exists() and not path.is_file():
            raise ResultsError(f"cannot write {path}: it is no file, and would be replaced by one.")
    except OSError as e:
        raise ResultsError(f"cannot write {path}: {e.strerror}.") from e
    if not path.parent.is_dir():
        raise ResultsError(f"cannot write {path}: there is no folder {path.parent}.")
    try_to_write(path)


def _write_report(path: Path, results: Results) -> None:
    from conformance.report import render

    write_atomically(path, render(results))


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on a terminal; elsewhere a line at each tenth."""
    if sys.stderr.isatty():
        with click.progressbar(length=1, label="judging", file=sys.stderr, show_pos=True) as bar:

            def advance(done: int, total: int, case: str) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            yield advance
        return
    tenths = [0]

    def line(done: int, total: int, case: str) -> None:
        if total and done * 10 // total > tenths[0]:
            tenths[0] = done * 10 // total
            click.echo(f"{done:,} of {total:,} results", err=True)

    yield line


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be; numbers to the right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        cells = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def _print_summary(results: Results) -> None:
    """The verdict, a row an implementation, the worst ratio of each gate, and what deviates."""
    summary, p = results["summary"], results["profile"]
    worst = {(w["implementation"], w["gate"]): w["ratio"] for w in summary["worst"]}
    gates = sorted({w["gate"] for w in summary["worst"]} - {"repeat"})
    shown = list(reversed(VERDICTS))
    rows = [["implementation", *shown, *(f"worst {g}" for g in gates)]]
    for impl in results["implementations"]:
        counts = summary["verdicts"][impl["name"]]
        if impl["status"] != "ran":
            continue
        ratios = [f"{worst.get((impl['name'], g), ''):}" for g in gates]
        rows.append([impl["name"], *(str(counts[v] or "·") for v in shown), *ratios])
    which = f"{p['name']}: {p['select']}" if p["select"] else p["name"]
    click.echo(f"\n{p['cases']:,} cases ({which}); worst: error over tolerance\n")
    if len(rows) > 1:
        _table(rows)
    for impl in results["implementations"]:
        if impl["status"] != "ran":
            click.echo(f"{impl['name']}: {impl['status']}: {impl['reason']}")
    bad = [r for r in results["results"] if r["verdict"] in ("deviates", "error", "undecided")]
    for r in bad[:5]:
        click.echo(f"\n{r['verdict']}: {r['implementation']} on {r['case']}\n  {r['message']}")
        click.echo(f"  conformance show '{r['case']}' --implementation {r['implementation']}")
    if len(bad) > 5:
        click.echo(f"\nand {len(bad) - 5} more.")
    for d in results["known_differences"]:
        if d["status"] == "stale":
            click.echo(
                f"\nstale: the known difference {d['id']} did not show; remove its row, or find out why."
            )
    click.echo(f"\n{summary['verdict']}: {summary['message']}")


@main.command("list")
@click.option(
    "--profile", default="standard", metavar="P", help=f"{', '.join(PROFILES)} (default standard)."
)
@click.option("--select", "wanted", default="", metavar="F=V,…", help="Only these cases.")
@click.option("--ids", is_flag=True, help="Every case's id, one a line.")
def list_(profile: str, wanted: str, ids: bool) -> None:
    """What there is: implementations, profiles, families and cases."""
    with _refusing():
        chosen = select(cases(profile), wanted)
    if ids:
        click.echo("\n".join(c.id for c in chosen))
        return
    click.echo("implementations")
    for name, row in IMPLEMENTATIONS.items():
        click.echo(f"  {name:13} {row.description}")
    click.echo("\nprofiles")
    for name, what in PROFILES.items():
        click.echo(f"  {name:13} {len(cases(name)):6,}  {what}")
    counts = Counter(c.family for c in chosen)
    click.echo(
        f"\nfamilies of {profile}{': ' + wanted if wanted else ''} ({len(chosen):,} cases; --ids lists them)"
    )
    for name, family in FAMILIES.items():
        if counts[name]:
            click.echo(f"  {name:17} {counts[name]:6,}  {family.why}")


@main.command()
@click.argument("case")
@click.option(
    "--implementation", "name", default="refbp", metavar="NAME", help="Which one (default refbp)."
)
def show(case: str, name: str) -> None:
    """Every layer's error against its tolerance for one CASE, run now, and how to see it again."""
    from conformance.runner import RunError, _names, judged, started
    from conformance.show import describe

    with _refusing():
        found = find(case)
        _names([name])
        status = started(name).row
        if started(name).ready is None:
            raise RunError(f"{name} is {status['status']}: {status['reason']}")
        (result,) = judged(found, [name])
        click.echo(describe(found, result))
    sys.exit(
        {"conforms": 0, "known-difference": 0, "undecided": 2, "not-run": 2}.get(
            result["verdict"], 1
        )
    )


class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.5
    """X=D, two numbers."""

    name = "X=D"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """The two."""
        try:
            at, _, derivative = str(value).partition("=")
            return float(at), float(derivative)
        except ValueError:
            self.fail(f"{value!r} is not X=DERIVATIVE, such as 0=0.5.", param, ctx)


class _Domain(click.ParamType):  # type: ignore[type-arg]
    """LOW:HIGH."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """The two."""
        if isinstance(value, tuple):
            return value
        low, _, high = str(value).partition(":")
        try:
            return float(low or "-inf"), float(high or "inf")
        except ValueError:
            self.fail(f"{value!r} is not LOW:HIGH, such as -50:50.", param, ctx)


@main.command(context_settings={"ignore_unknown_options": False})
@click.argument("sigma", default="", metavar="[SIGMA]")
@click.argument("derivative", default="", metavar="[SIGMA_PRIME]")
@click.option("--prime", default="", metavar="F.py:NAME", help="σ', where σ itself is not given.")
@click.option(
    "--truth", default="", metavar="F.py:NAME", help="A definition of σ in NumPy, or a known name."
)
@click.option(
    "--torch",
    default="",
    metavar="F.py:NAME",
    help="Your torch version: Function, module or function.",
)
@click.option(
    "--jax",
    default="",
    metavar="F.py:NAME",
    help="Your JAX version: custom_vjp, custom_jvp or function.",
)
@click.option(
    "--autodiff/--no-autodiff",
    default=None,
    help="Compare torch's and JAX's autodiff of σ (on, where they are installed).",
)
@click.option(
    "--kink", "kinks", multiple=True, type=_Pair(), help="Declare a kink and σ' there (repeatable)."
)
@click.option(
    "--domain",
    type=_Domain(),
    default=":",
    metavar="LOW:HIGH",
    help="Judge σ on these arguments alone.",
)
@click.option("--strict", is_flag=True, help="Warnings make the verdict wrong.")
@click.option(
    "--network/--no-network",
    default=True,
    help="Also judge whole networks with it (on by default).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.5, 3600),
    default=20.0,
    help="Seconds for each process (20).",
)
@_outputs("findings")
def activation(
    sigma: str,
    derivative: str,
    prime: str,
    truth: str,
    torch: str,
    jax: str,
    autodiff: bool | None,
    kinks: tuple[tuple[float, float], ...],
    domain: tuple[float, float],
    strict: bool,
    network: bool,
    timeout: float,
    report: Path | None,
    json_path: Path | None,
) -> None:
    """Whether SIGMA_PRIME is the derivative of SIGMA: everywhere, with proof. Both are FILE.py:NAME, NumPy.

    Exit codes: 0, right; 1, wrong; 2, could not be judged.
    """
    from conformance.activation.check import CheckError, check, specification
    from conformance.activation.load import LoadError
    from conformance.activation.terminal import describe
    from conformance.results import write_json

    try:
        _may_be_written(report, json_path, "findings")
        for path in (report, json_path):
            given = (s.rpartition(":")[0] for s in (sigma, derivative, prime, truth, torch, jax))
            if path and any(Path(g).resolve() == path.resolve() for g in given if g):
                raise ResultsError(f"cannot write {path}: it is the file under test.")
        if len({at for at, _ in kinks}) < len(kinks):
            raise CheckError("a kink is stated twice with --kink.")
        if derivative and prime:
            raise CheckError("σ' is given twice: as SIGMA_PRIME and with --prime.")
        spec = specification(
            sigma, derivative or prime, truth, torch, jax, dict(kinks), domain, timeout, network
        )
        with _ending_in_order():
            found = check(spec, _frameworks(autodiff), strict)
        if json_path:
            write_json(json_path, found)
        if report:
            from conformance.activation.report import render as render_activation

            write_atomically(report, render_activation(found))
    except (CheckError, LoadError, ResultsError) as e:
        raise Refusal(str(e)) from e
    click.echo(describe(found))
    for kind, path in (("report", report), ("findings", json_path)):
        if path:
            click.echo(f"{kind}: {path}")
    sys.exit(found["exit_code"])


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Told to end, end as at Ctrl-C: the workers and their folder go first."""
    numbers = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {n: signal.signal(n, lambda number, frame: sys.exit(128 + number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _frameworks(wanted: bool | None) -> list[str]:
    """Those whose autodiff is compared: all that are installed, unless it is not wanted."""
    from importlib.util import find_spec

    there = [name for name in ("torch", "jax") if find_spec(name) is not None]
    if wanted and not there:
        raise Refusal("--autodiff: neither torch nor jax is installed. pip install torch, or jax.")
    return there if wanted is not False else []


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    required=True,
    metavar="F.html",
    help="Where to write it.",
)
def report(results: Path, html: Path) -> None:
    """Render the HTML report of a RESULTS file again; needs no framework."""
    with _refusing():
        found = read(results)
        _must_be_writable(html)
        try:
            _write_report(html, found)
        except ResultsError:
            raise
        except Exception as e:
            raise ResultsError(
                f"cannot read {results}: it is not as schema version {found['schema_version']} has it "
                f"({type(e).__name__}: {e})."
            ) from e
    click.echo(f"report: {html}")
