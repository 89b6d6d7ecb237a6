"""What `make oldest` counts as wrong, with environments that are not made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import oldest

HARDSWISH = ("torch-cpu", "kinks/hardswish/L1/n7/float32")
TANH = ("torch-cpu", "typical/tanh/L2/n7/float64")


@pytest.mark.parametrize(
    ("code", "deviates", "ends"),
    [
        (0, [], 0),
        (1, [HARDSWISH], 0),
        (1, [TANH], 1),
        (1, [HARDSWISH, TANH], 1),
        (1, [("refbp", HARDSWISH[1])], 1),
        (2, [], 2),
        (-9, [], 2),
    ],
)
def test_the_oldest_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, deviates: Any, ends: int
) -> None:
    assert run(monkeypatch, tmp_path, code, deviates, []) == ends


def test_what_is_known_of_the_oldest_is_not_of_another_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, 1, [HARDSWISH], ["/usr/bin/python3.13"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["oldest: as it should be", "/usr/bin/python3.13: deviates"]


def test_an_environment_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(oldest, "FOLDER", tmp_path)
    monkeypatch.setattr(oldest, "UV", ["false"])
    assert oldest.main([]) == 2
    assert "oldest: could not be tried" in capsys.readouterr().out


def test_what_is_installed() -> None:
    (lowest,) = oldest.installs("oldest")
    assert lowest[:2] == ["--resolution", "lowest-direct"]
    hashed, torch, itself = oldest.installs("python3.13")
    assert "--require-hashes" in hashed
    assert torch[0].startswith("torch==")
    assert itself == ["--no-deps", str(oldest.ROOT)]


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, code: int, deviates: Any, pythons: list[str]
) -> int:
    """`main` where every run ends with `code` and finds what deviates."""
    monkeypatch.setattr(oldest, "FOLDER", folder)

    def ran(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        if "--json" not in words:
            return subprocess.CompletedProcess(command, 0)
        path = Path(words[words.index("--json") + 1])
        path.parent.mkdir(parents=True, exist_ok=True)
        results = [{"implementation": i, "case": c, "verdict": "deviates"} for i, c in deviates]
        results.append(
            {"implementation": "refbp", "case": "typical/relu/L1", "verdict": "conforms"}
        )
        path.write_text(json.dumps({"results": results}), encoding="utf-8")
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", ran)
    return oldest.main(pythons)
