"""docs/activations.md lists every finding, and what it says of them is what findings.py says."""

from __future__ import annotations

from pathlib import Path

from conformance.commands.activation.findings import KINDS

DOC = Path(__file__).parents[2] / "docs" / "activations.md"


def rows() -> list[str]:
    return [
        f"| `{name}` | {k.severity} | {k.title}: {k.explanation} |" for name, k in KINDS.items()
    ]


def test_every_finding_is_listed() -> None:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    start = lines.index("|---|---|---|", lines.index("| finding | severity | what it means |")) + 1
    assert lines[start : start + len(KINDS)] == [r.replace("'|", "' |") for r in rows()]
    assert not lines[start + len(KINDS)].startswith("|")


def test_the_forms_it_counts() -> None:
    import sys

    sys.path.insert(0, str(DOC.parents[1] / "tests" / "conformance" / "activation"))
    from test_lifted import FORMS

    assert f"lists {len(FORMS)} forms" in " ".join(DOC.read_text(encoding="utf-8").split())
