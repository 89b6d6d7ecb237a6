"""The files for Slurm and Kubernetes: they parse, they call what there is, and the page shows them.

`python tests/meta/test_cluster_files.py --write` puts them into docs/cluster.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.commands.main import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cluster.md"
SLURM, KUBERNETES = ROOT / "docs" / "slurm.sh", ROOT / "docs" / "kubernetes.yml"


def documents() -> dict[tuple[str, str], Any]:
    """Each by its kind and name."""
    found = list(yaml.safe_load_all(KUBERNETES.read_text("utf-8")))
    return {(d["kind"], d["metadata"]["name"]): d for d in found}


def pods() -> list[Any]:
    return [d["spec"]["template"] for d in documents().values() if "template" in d["spec"]]


def test_the_script_parses() -> None:
    assert subprocess.run(["bash", "-n", SLURM]).returncode == 0
    assert re.findall(r"^#SBATCH (--[\w-]+)=", SLURM.read_text("utf-8"), re.MULTILINE)


STUB = """#!/bin/bash
echo "$(basename "$0") $*" >>"$SAID"
case "$(basename "$0") $1" in
  "dask scheduler") echo {} >"${*: -1}"; exec sleep 60 ;;
  srun*) exec sleep 60 ;;
  conformance*) until [ "$(wc -l <"$SAID")" = 3 ]; do sleep 0.1; done ;;
esac
"""


def test_the_script_starts_a_scheduler_and_workers_and_ends_them(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("dask", "srun", "conformance"):
        (tmp_path / "bin" / name).write_text(STUB)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin" / "activate").write_text(f'PATH="{tmp_path}/bin:$PATH"\n')
    said = tmp_path / "said"
    done = subprocess.run(
        ["bash", SLURM, "--implementation", "my.py:Mine"], timeout=30, capture_output=True, text=True,
        env={**os.environ, "VENV": str(tmp_path), "SLURM_JOB_ID": "20005", "SAID": str(said)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *others, last = sorted(said.read_text().splitlines(), key=lambda line: "conformance" in line)
    address = re.search(r"tcp://\S+:20005\b", last)
    assert address is not None
    assert last.endswith("--resume --implementation my.py:Mine")
    assert sorted(line.partition(" --")[0] for line in others) == [
        "dask scheduler", f"srun dask worker {address[0]}",
    ]  # fmt: skip


def test_every_option_is_one() -> None:
    command = main.get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    options = {o for p in command.params for o in p.opts}
    words = SLURM.read_text("utf-8").partition("\nconformance run ")[2].split()
    (job,) = [d for (kind, _), d in documents().items() if kind == "Job"]
    words += job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {w for w in words if w.startswith("--")} <= options


def test_what_one_document_names_is_in_another() -> None:
    labels = [pod["metadata"]["labels"]["app"] for pod in pods()]
    for (kind, _), d in documents().items():
        selector = d["spec"].get("selector", d["spec"].get("podSelector", {}))
        app = selector.get("app") or selector.get("matchLabels", {}).get("app")
        assert kind == "Job" or app in labels
        for source in d["spec"].get("ingress", []):
            assert {f["podSelector"]["matchLabels"]["app"] for f in source["from"]} <= {*labels}
    ((_, service),) = [key for key in documents() if key[0] == "Service"]
    (port,) = documents()["Service", service]["spec"]["ports"]
    args = [c["args"] for pod in pods() for c in pod["spec"]["containers"]]
    assert sum(f"tcp://{service}:{port['port']}" in of for of in args) == 2
    assert sum(str(port["port"]) in of for of in args) == 1
    assert len({c["image"] for pod in pods() for c in pod["spec"]["containers"]}) == 1


def page() -> str:
    """The page with each of the files as it is, in the block that begins with its name."""
    text = PAGE.read_text("utf-8")
    for path in (SLURM, KUBERNETES):
        name = path.relative_to(ROOT).as_posix()
        block = re.compile(rf"(```(?:bash|yaml)\n# {re.escape(name)}\n).*?(```\n)", re.DOTALL)
        inside = path.read_text("utf-8")
        assert len(block.findall(text)) == 1, name
        text = block.sub(lambda m, inside=inside: m[1] + inside + m[2], text)  # type: ignore[misc]
    return text


def test_the_page_shows_the_files_as_they_are() -> None:
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("path", [SLURM, KUBERNETES], ids=lambda p: p.name)
def test_they_are_short(path: Path) -> None:
    assert all(len(line) <= 120 for line in path.read_text("utf-8").splitlines())


if __name__ == "__main__":
    assert sys.argv[1:] == ["--write"], __doc__
    PAGE.write_text(page(), encoding="utf-8")
