"""The page of a network: one small, safe, readable file, whatever the results hold."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_function_report import AXE, HOSTILE, _judged, synthetic

from conformance.commands.module.report import render
from conformance.commands.module.screen import describe


def row(path: str, verdict: str = "conforms", **more: Any) -> dict[str, Any]:
    return {
        "path": path, "kind": "Linear", "shapes": {"input": "4x3", "y": "4x2"},
        "quantities": [_judged("y", "ordinary"), _judged("∂weight", "redrawn", verdict)],
        "sets": 2, "wrong": int(verdict == "deviates"), "verdict": verdict, "reason": "",
        "mistake": "", "advice": "",
    } | more  # fmt: skip


def results() -> Any:
    """Results with everything in them, and names that attack."""
    return {
        "format": 1, "module": f"my.py:{HOSTILE[0]}", "mode": "train", "loss": HOSTILE[1],
        "dtype": "float64", "inputs": {"input": "4x3", HOSTILE[2]: "4x3"},
        "families": [
            {"name": "ordinary", "why": "normal numbers", "status": "judged", "reason": ""},
            {"name": "tile-129", "why": "129", "status": "not there", "reason": HOSTILE[3]},
            {"name": "zeros", "why": "0/0", "status": "error", "reason": HOSTILE[1]},
        ],
        "layers": [
            row(""), row(HOSTILE[2], "deviates", mistake=HOSTILE[0], advice=HOSTILE[3]),
            row("encoder.layers.1.norm", "inaccurate", kind=HOSTILE[1]),
            row("drop", "error", reason=HOSTILE[3], quantities=[], sets=0),
            row("", kind="shared parameters"),
        ],
        "whole": synthetic(), "smallest": {"input": "1x3"}, "shows": "ordinary",
        "verdict": "deviates", "exit_code": 1, "message": HOSTILE[2], "command": HOSTILE[0],
        "again": HOSTILE[1],
    }  # fmt: skip


def test_hostile_text_is_text() -> None:
    page = render(results())
    for attack in ("<script>alert", "<img src=x", "\u202e", "\x1b", "\x00", "{{", "]]><!--"):
        assert attack not in page.replace("{{ 7*7 }}", ""), attack
    assert page == render(results())
    assert len(page) < 100_000


def test_a_family_that_was_refused_is_no_family_that_was_not_tried() -> None:
    assert render(results()).count("not tried: ") == 1  # of the two that were not judged


def test_the_screen_has_a_line_a_layer() -> None:
    text = describe(results())
    assert text.count("Linear") >= 2
    assert "(shared parameters)" in text
    assert "not judged: " in text


def test_needs_no_framework() -> None:
    code = (
        "import sys; import conformance.commands.module.report\n"
        "print([m for m in ('flint', 'numpy', 'torch', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1280, "dark")])
def test_fits_its_window_and_axe_finds_nothing(
    chromium: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "module.html"
    path.write_text(render(results()), encoding="utf-8")
    p = chromium.new_page(viewport={"width": width, "height": 2000}, color_scheme=scheme)
    said: list[str] = []
    p.on("pageerror", lambda e: said.append(str(e)))
    p.goto(path.as_uri())
    assert p.evaluate("document.documentElement.scrollWidth") <= width
    spec = find_spec("axe_playwright_python")
    if spec is None:
        pytest.skip("no axe: pip install '.[dev]'")
    folder = next(iter(spec.submodule_search_locations or ()))
    p.evaluate((Path(folder) / "axe.min.js").read_text(encoding="utf-8"))
    assert p.evaluate(AXE) == []
    assert said == []
    p.close()
