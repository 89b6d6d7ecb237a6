"""A wheel builds, needs NumPy alone, and works where there is nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest

import refbp

ROOT = Path(refbp.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files and NumPy's, in a folder each."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as z:
        z.extractall(folder / "refbp")
    (folder / "numpy").mkdir()
    site = Path(np.__file__).parents[1]
    for part in ("numpy", "numpy.libs"):
        if (site / part).exists():
            (folder / "numpy" / part).symlink_to(site / part)
    return folder


def test_the_wheel_needs_numpy_alone(wheel: Path) -> None:
    assert wheel.name == f"refbp-{refbp.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as z:
        info = f"refbp-{refbp.__version__}.dist-info"
        metadata = Parser().parsestr(z.read(f"{info}/METADATA").decode("utf-8"))
        scripts = z.read(f"{info}/entry_points.txt").decode("utf-8")
        names = set(z.namelist())
    needs = metadata.get_all("Requires-Dist") or []
    assert [r for r in needs if "extra ==" not in r] == ["numpy>=1.26"]
    assert set(metadata.get_all("Provides-Extra") or []) >= {"conformance", "torch", "jax", "test"}
    for extra, package in (("conformance", "python-flint"), ("torch", "torch"), ("jax", "jax")):
        assert any(r.startswith(package) and f"extra == '{extra}'" in r for r in needs), extra
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "conformance = conformance.__main__:main" in scripts
    assert {n for n in names if "/licenses/" in n} == {
        f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE",
    }  # fmt: skip
    assert not metadata.get_all("Project-URL")  # there is none yet


def test_the_wheel_holds_all_that_is_not_python_too(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        names = {n for n in z.namelist() if ".dist-info/" not in n}
    assert names >= {
        "refbp/py.typed", "conformance/py.typed", "conformance/judge/accuracy.toml",
        "conformance/judge/known_differences.toml", "conformance/report/report.css",
        "conformance/report/report.js",
    }  # fmt: skip
    templates = {p.name for p in (ROOT / "conformance/report/templates").iterdir()}
    assert {f"conformance/report/templates/{t}" for t in templates} <= names
    assert len(templates) > 5
    source = {
        str(p.relative_to(ROOT))
        for package in ("refbp", "conformance")
        for p in (ROOT / package).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert names == source


PROGRAMME = """
import sys
sys.path[:0] = sys.argv[1:]
import refbp, numpy as np
assert refbp.__file__.startswith(sys.argv[1]), refbp.__file__
for name in ("torch", "jax", "flint", "click", "jinja2", "scipy"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{name} can be imported: this test would show nothing")
rng = np.random.default_rng(0)
for dtype in ("float64", "float32"):
    W = {1: rng.normal(size=(3, 4)).astype(dtype), 2: rng.normal(size=(4, 2)).astype(dtype)}
    X, Y = rng.normal(size=(5, 3)).astype(dtype), np.eye(2, dtype=dtype)[[0, 1, 0, 1, 1]]
    sigma = {1: refbp.activation("gelu"), 2: refbp.activation("softmax")}
    loss = refbp.loss("cross_entropy")
    A, Z = refbp.forward_pass(W, X, sigma)
    delta, dL_dW = refbp.backward_prop(W, A, Z, Y, sigma, loss)
    after = refbp.update(W, dL_dW, 0.5)
    assert {M.dtype.name for M in (*Z.values(), *delta.values(), *after.values())} == {dtype}
    _, Z_after = refbp.forward_pass(after, X, sigma)
    assert loss(Z_after[2], Y) < loss(Z[2], Y)
    np.testing.assert_allclose(delta[2], (Z[2] - Y) / 5, rtol=1e-3, atol=1e-6)
print("right", len(refbp.ACTIVATIONS))
"""


def test_where_there_is_only_numpy_refbp_works(unpacked: Path) -> None:
    """-S: no site-packages at all; -I: no environment and no current folder either."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", PROGRAMME, unpacked / "refbp", unpacked / "numpy"],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, cwd=unpacked,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == f"right {len(refbp.ACTIVATIONS)}\n"


def test_where_there_is_only_numpy_conformance_says_what_it_lacks(unpacked: Path) -> None:
    """In one sentence, and with exit code 2: 1 would say that something deviates."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; from conformance.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, unpacked / "refbp", unpacked / "numpy"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "conformance: click is not installed: pip install 'refbp[conformance]'.\n",
    )


def test_the_versions_agree() -> None:
    from importlib.metadata import version

    assert version("refbp") == refbp.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert refbp.__version__ in changes
