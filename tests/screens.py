"""Look at a built site as its readers would: `python tests/screens.py SITE PICTURES`.

Opens every page of SITE in the system's Chromium from the file, wide and narrow, light and dark, and
on paper; writes pictures; and follows every link. Exit code 1, with a line a finding: a page with an
error on its console, one that asks for anything from elsewhere, one that is wider than a phone, a
link that leads nowhere. 2: no Chromium, so nothing was looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

WIDTHS = {"wide": 1280, "narrow": 400}
SCHEMES = ("light", "dark")
PLACES = (
    """[...document.querySelectorAll("a[href^='#']")].map(a => a.getAttribute("href").slice(1))"""
)
BY_ID = "id => !id || !!document.getElementById(id)"  # '#' alone is the top
SCREENS = 3  # of a long page: so many heights of a screen
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), ""
)


@contextmanager
def opened() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


def look(browser: Any, path: Path, stem: Path) -> list[str]:
    """What is wrong with this page; its pictures beside `stem`."""
    found: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            found.append(f"asks for {request.url}")

    def failed(error: Any) -> None:
        found.append(f"error: {error}")

    for width, pixels in WIDTHS.items():
        for scheme in SCHEMES:
            screen = {"width": pixels, "height": 900}
            page = browser.new_page(viewport=screen, color_scheme=scheme, reduced_motion="reduce")
            page.on("pageerror", failed)
            page.on("request", asked)
            page.goto(path.as_uri())
            height = page.evaluate("document.documentElement.scrollHeight")
            area = {"x": 0, "y": 0, "width": pixels, "height": min(height, 900 * SCREENS)}
            page.screenshot(path=f"{stem}-{width}-{scheme}.png", full_page=True, clip=area)
            across = page.evaluate("document.documentElement.scrollWidth")
            if across > pixels:
                found.append(f"{across} pixels wide where there are {pixels}")
            if (width, scheme) == ("wide", "light"):
                page.pdf(path=f"{stem}.pdf", print_background=True)
                found += dead(page, path)
            page.close()
    return sorted(set(found))


def look_at_all(site: Path, pictures: Path, pages: list[Path]) -> list[str]:
    """What is wrong with these pages, in a browser of their own."""
    with opened() as browser:
        return [
            f"{path}: {finding}"
            for path in pages
            for finding in look(
                browser,
                path.resolve(),
                pictures / "-".join(path.relative_to(site).with_suffix("").parts),
            )
        ]


def dead(page: Any, path: Path) -> list[str]:
    """The links to files that are not there, and to places that are not in this page."""
    found = []
    for href in page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"):
        parts = urlsplit(href)
        if parts.scheme != "file":
            continue
        target = Path(unquote(parts.path))
        if not target.exists() or (target.is_dir() and not (target / "index.html").exists()):
            found.append(f"a link to {target.name or target}, which is not there")
    for place in page.evaluate(PLACES):
        if not re.search("[=:&]", place) and not page.evaluate(BY_ID, unquote(place)):
            found.append(f"a link to #{place}, which is not in the page")
    return found


def main(site: Path, pictures: Path) -> int:
    if not CHROMIUM:
        print(
            "not run: no Chromium on the PATH. Install one, for example: apt-get install chromium"
        )
        return 2
    pages = sorted(p for p in site.rglob("*.html") if p.name != "404.html")
    if not pages:
        print(f"no page in {site}: make docs")
        return 1
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    browsers = os.cpu_count() or 1
    with ProcessPoolExecutor(browsers) as pool:
        shares = [pages[i::browsers] for i in range(browsers)]
        told = [x for xs in pool.map(partial(look_at_all, site, pictures), shares) for x in xs]
    wrong = len(told)
    print(*sorted(told), sep="\n", end="\n" * bool(told))
    print(
        f"{len(pages)} pages, {len(list(pictures.iterdir()))} pictures in {pictures}, {wrong} findings"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
