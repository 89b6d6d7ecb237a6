"""`make screens` finds what is wrong with a page: each mistake planted, and none in a right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from screens import look

RIGHT = (
    "<!doctype html><title>t</title><p id='here'>x <a href='#here'>up</a> <a href='b.html'>b</a>"
)
pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("", []),
        ("<script>null.x</script>", ["error: Cannot read properties of null (reading 'x')"]),
        ("<img src='http://127.0.0.1:9/x.png'>", ["asks for http://127.0.0.1:9/x.png"]),
        ("<div style='width: 900px'>x</div>", ["900 pixels wide where there are 400"]),
        ("<a href='gone.html'>x</a>", ["a link to gone.html, which is not there"]),
        ("<a href='folder/'>x</a>", ["a link to folder, which is not there"]),
        ("<a href='#gone'>x</a>", ["a link to #gone, which is not in the page"]),
    ],
)
def test_a_page(planted: str, said: list[str], chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()  # with no index.html in it
    (tmp_path / "b.html").write_text("b", encoding="utf-8")
    page = tmp_path / "a.html"
    page.write_text(f"{RIGHT}<style>body {{ margin: 0 }}</style>{planted}", encoding="utf-8")
    assert look(chromium, page, tmp_path / "a") == said
    pictures = {p.name for p in tmp_path.iterdir() if p.suffix in (".png", ".pdf")}
    both = {f"a-{w}-{s}.png" for w in ("wide", "narrow") for s in ("light", "dark")}
    assert pictures == both | {"a.pdf"}
