"""conformance run, list, show and report."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cases import own as own_networks
from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import PROFILES, cases, find, select
from conformance.commands import settings
from conformance.commands.command import (
    echo,
    echo_document,
    ending_in_order,
    hand_over,
    main,
    may_be_written,
    must_be_writable,
    must_differ,
    must_not_replace,
    must_not_replace_code,
    outputs,
    progress_shown,
)
from conformance.commands.diff.baseline import Held, must_be_of, read_baseline
from conformance.commands.diff.baseline import write_baseline as save
from conformance.commands.settings import apply
from conformance.implementations import IMPLEMENTATIONS
from conformance.model.results import Results
from conformance.model.results_file import read, read_trials, write_results
from conformance.report import ci
from conformance.report.screen import screen
from conformance.tools.files import FileError, write_atomically
from conformance.tools.journal import Journal
from conformance.tools.memory import size_of
from conformance.tools.plain import plain
from conformance.tools.trouble import RefusedError

if TYPE_CHECKING:
    from conformance.judge.runner import Kept

__all__ = ["answer"]

html_dir = click.option(
    "--html-dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the HTML report as separate files, for servers that forbid inline script and style.",
)

strict_option = click.option(
    "--strict/--no-strict", help="What is inaccurate, by losing digits, is exit code 1."
)


def ci_options(command: Callable[..., int]) -> Callable[..., int]:
    """--junit, --summary, --baseline and --write-baseline."""
    path = click.Path(path_type=Path)
    for name, metavar, help_ in (
        ("--write-baseline", "F.json", "Write the verdicts as they are, for --baseline."),
        ("--baseline", "F.json", "Exit code 1 only for what is worse than in this file."),
        ("--summary", "F.md", "Write a summary in Markdown; on GitHub, annotations too."),
        ("--junit", "F.xml", "Write JUnit's XML."),
    ):
        command = click.option(name, type=path, metavar=metavar, help=help_)(command)
    return command


def network_options(command: Callable[..., int]) -> Callable[..., int]:
    """--network and --data."""
    for option in (
        click.option(
            "--data",
            "arrays",
            type=click.Path(path_type=Path),
            metavar="F.npz",
            help="Of it on these X and Y, and W1, W2, …, where given.",
        ),
        click.option(
            "--network",
            "networks",
            multiple=True,
            metavar="TEXT",
            help="A network instead: '4-3-1: relu, sigmoid + binary_cross_entropy' (repeatable).",
        ),
    ):
        command = option(command)
    return command


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
    "--require",
    "required",
    multiple=True,
    metavar="NAME",
    help="Of all that are run, this one must (repeatable); if it cannot, that is exit code 2.",
)
@click.option(
    "--select",
    "wanted",
    default="",
    metavar="F=V,…",
    help="Only these cases: 'activation=tanh,depth=3'.",
)
@network_options
@outputs("results")
@html_dir
@click.option(
    "--faults",
    "trials",
    type=click.Path(path_type=Path),
    metavar="F.json",
    help="Put what `conformance faults --json` found into the results and the report.",
)
@strict_option
@ci_options
@click.option(
    "--jobs",
    type=click.IntRange(0, 256),
    default=None,
    help="Worker processes; one a core by default, 0 for none.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86400),
    default=300.0,
    metavar="SECONDS",
    help="What takes longer for a case is ended (300), or thrice as long to start; not with --jobs 0.",
)
@click.option(
    "--memory",
    default="",
    metavar="SIZE",
    help="A worker that takes more, such as 2GiB, is ended, as with --timeout; not with --jobs 0.",
)
@click.option(
    "--scheduler",
    default="",
    metavar="tcp://HOST:PORT",
    help="Judge on the workers of this scheduler of dask.distributed, which is trusted as a shell is.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run that was interrupted: with what is in F.json.journal, beside --json.",
)
@click.option(
    "--shard",
    "shard",
    default="",
    metavar="I/N",
    help="Part I of N of the run alone; `conformance merge` puts the --json of all together.",
)
@apply
def run(
    profile: str,
    implementations: tuple[str, ...],
    required: tuple[str, ...],
    wanted: str,
    networks: tuple[str, ...],
    arrays: Path | None,
    report: Path | None,
    json_path: Path | None,
    folder: Path | None,
    trials: Path | None,
    strict: bool,
    jobs: int | None,
    junit: Path | None,
    summary: Path | None,
    baseline: Path | None,
    write_baseline: Path | None,
    timeout: float,
    memory: str,
    scheduler: str,
    resume: bool,
    shard: str,
    parts: tuple[Path, ...] = (),
) -> int:
    """Run the implementations on a profile of cases and judge every quantity of every layer.

    What the command line does not say, [tool.conformance] in pyproject.toml may: profile, select,
    implementations, require, strict, baseline.
    """
    from conformance.judge.parts import part_of
    from conformance.judge.runner import run as run_profile

    gc.disable()  # a million values without a cycle: collections would take time and find nothing
    may_be_written(report, json_path, "results")
    for path in (junit, summary, write_baseline):
        must_be_writable(path)
    _must_be_a_folder(folder)
    outputs_ = (report, json_path, _journal(json_path), junit, summary, write_baseline)
    must_differ(outputs_, folder)
    must_not_replace([p for p in (baseline, trials, arrays, settings.FILE) if p], outputs_)
    must_not_replace_code([*implementations, *required], outputs_)
    must_not_replace(parts, outputs_)
    part = part_of(shard) if shard else None
    if part and (arrays or trials or baseline or write_baseline):
        raise RefusedError(
            "--shard is a part of a run: give --data not at all, and the others to merge."
        )
    known = read_baseline(baseline) if baseline else None
    if known:
        must_be_of(known, "own" if networks else profile, wanted)
    planted = read_trials(trials) if trials else None
    own = _own(networks, arrays, wanted)
    with _kept(None if parts else json_path, resume) as kept:
        with progress_shown() as progress:
            results = run_profile(
                profile, implementations, wanted, jobs, progress, required, own, timeout, kept, part,
                [read(p) for p in parts], size_of(memory) if memory else None, scheduler,
            )  # fmt: skip
        if "part" in results:
            results["part"]["networks"] = list(networks)
        if planted:
            results["faults"] = planted
        named = [*implementations, *required]
        held = None if known is None else Held.of(known, results, baseline or Path(), named)
        told, worse = (held.message, held.worse) if held else ("", None)
        hand_over(
            lambda: echo("\n".join(screen(results))),
            "\n".join([answer(results), *([plain(told)] if told else [])]),
            ("results", json_path, lambda path: write_results(path, results)),
            ("report", report, lambda path: write_report(path, results)),
            ("report", folder, lambda path: _write_folder(path, results)),
            ("JUnit", junit, lambda path: write_atomically(path, ci.junit(results, strict, worse))),
            ("summary", summary, lambda path: _add(path, ci.markdown(results, told))),
            ("baseline", write_baseline, lambda path: save(path, results)),
        )
        if kept:
            kept.journal.remove()
    if summary and os.environ.get("GITHUB_ACTIONS") == "true":
        for line in ci.github_annotations(results, worse):
            echo_document(f"{line}\n")  # commands that are meant: the text in them is quoted
    return held.exit_code if held else exit_code(results, strict)


@main.command()
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@outputs("results")
@html_dir
@strict_option
@ci_options
def merge(parts: tuple[Path, ...], **options: Any) -> int:
    """Put the PARTS of a run (`run --shard I/N --json`) together, to what one run gives.

    A part that is not given is exit code 2.
    """
    from conformance.judge.parts import NO_PART

    first = read(parts[0])
    of = first.get("part")
    if of is None:
        raise RefusedError(NO_PART.format(1))
    words = {
        "profile": of["profile"], "implementations": tuple(of["implementations"]),
        "required": tuple(of["require"]), "networks": tuple(of["networks"]),
        "wanted": first["profile"]["select"],
    }  # fmt: skip
    others = {
        "arrays": None,
        "trials": None,
        "jobs": None,
        "timeout": 300.0,
        "memory": "",
        "scheduler": "",
        "resume": False,
        "shard": "",
    }
    assert run.callback is not None
    code: int = run.callback(**words, **others, **options, parts=parts)
    return code


def _add(path: Path, text: str) -> None:
    """Write a summary; GitHub's own file of a step may have others before it."""
    own = os.environ.get("GITHUB_STEP_SUMMARY")
    before = path.read_text("utf-8") if own and path == Path(own) and path.is_file() else ""
    write_atomically(path, f"{before}{text}")


@contextmanager
def _kept(json_path: Path | None, resume: bool) -> Iterator[Kept | None]:
    """The journal beside the results file. Raises FileError where another run is writing it."""
    from conformance.judge.runner import Kept

    if json_path is None:
        if resume:
            raise RefusedError("--resume needs --json F.json, beside which F.json.journal is.")
        yield None
        return
    path = _journal(json_path)
    assert path is not None
    with ending_in_order(), Journal(path) as journal:
        yield Kept(journal, resume)


def _journal(json_path: Path | None) -> Path | None:
    return json_path and json_path.with_name(f"{json_path.name}.journal")


def _own(networks: Sequence[str], arrays: Path | None, wanted: str) -> list[Case]:
    """The cases of networks of somebody's own. Raises CaseError and ProblemError."""
    from conformance.cases.checked import checked

    if not networks:
        if arrays is not None:
            raise RefusedError("--data needs a --network, such as '4-3-1: relu, sigmoid'.")
        return []
    given = None if arrays is None else own_networks.read_arrays(arrays)
    found = []
    for text in networks:
        network = own_networks.read_network(text)
        of = (
            own_networks.problems(network)
            if given is None
            else own_networks.from_arrays(network, given)
        )
        found += [Case.of(checked(p), close=len(p.X) <= 7) for p in of]
    different = list({c.id: c for c in found}.values())
    return select(different, wanted) if wanted else different


def exit_code(results: Results, strict: bool) -> int:
    """The summary's exit code; with `strict`, 1 if something is inaccurate and nothing is worse."""
    lossy = any(of["inaccurate"] for of in results["summary"]["verdicts"].values())
    return results["summary"]["exit_code"] or int(strict and lossy)


def write_report(path: Path, results: Results) -> None:
    """Write the report as one file."""
    from conformance.report import render

    write_atomically(path, render(results))


def _must_be_a_folder(path: Path | None) -> None:
    """Make the folder for the report's files if need be. Raises FileError if they cannot be written there."""
    if path is None:
        return
    try:
        path.mkdir(exist_ok=True)
    except OSError as e:
        raise FileError(f"cannot write to the folder {path}: {e.strerror or e}.") from e
    must_be_writable(path / "index.html")


def _write_folder(folder: Path, results: Results) -> None:
    from conformance.report import render_files

    for name, text in render_files(results).items():
        write_atomically(folder / name, text)


def answer(results: Results) -> str:
    """The last line: the verdict and its message."""
    return "\n" + plain(f"{results['summary']['verdict']}: {results['summary']['message']}")


@main.command("list")
@click.option(
    "--profile", default="standard", metavar="P", help=f"{', '.join(PROFILES)} (default standard)."
)
@click.option("--select", "wanted", default="", metavar="F=V,…", help="Only these cases.")
@click.option("--ids", is_flag=True, help="Every case's id, one a line.")
def list_(profile: str, wanted: str, ids: bool) -> None:
    """What there is: implementations, profiles, families and cases."""
    chosen = select(cases(profile), wanted)
    if ids:
        echo("\n".join(c.id for c in chosen))
        return
    echo("implementations")
    for name, row in IMPLEMENTATIONS.items():
        echo(f"  {name:13} {row.description}")
    echo("\nprofiles")
    for name, what in PROFILES.items():
        echo(f"  {name:13} {len(cases(name)):6,}  {what}")
    counts = Counter(c.family for c in chosen)
    echo(
        f"\nfamilies of {profile}{': ' + wanted if wanted else ''} ({len(chosen):,} cases; --ids lists them)"
    )
    for name, family in FAMILIES.items():
        if counts[name]:
            echo(f"  {name:17} {counts[name]:6,}  {family.why}")


@main.command()
@click.argument("case")
@click.option(
    "--implementation", "name", default="refbp", metavar="NAME", help="Which one (default refbp)."
)
@network_options
@strict_option
def show(case: str, name: str, networks: tuple[str, ...], arrays: Path | None, strict: bool) -> int:
    """Every layer's error against its tolerance for one CASE, run now, and how to see it again."""
    from conformance.commands.show import shown
    from conformance.judge.runner import _names, made_for

    _names([name])
    own = _own(networks, arrays, "")
    if not own and case.startswith("own/"):
        own = made_for(name)
    result, text = shown(name, find(case, own))
    echo(text)
    codes = {"conforms": 0, "known-difference": 0, "inaccurate": int(strict), "deviates": 1}
    return codes.get(result["verdict"], 2)


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="F.html", help="Write it as one file."
)
@html_dir
def report(results: Path, html: Path | None, folder: Path | None) -> None:
    """Render the HTML report of a RESULTS file again; needs no framework."""
    if not html and not folder:
        raise click.UsageError("where to? Expected --html F.html, --html-dir DIR, or both.")
    must_not_replace([results], [html])
    found = read(results)
    must_be_writable(html)
    _must_be_a_folder(folder)
    if html:
        write_report(html, found)
    if folder:
        _write_folder(folder, found)
    for path in filter(None, (html, folder)):
        echo(f"report: {path}")
