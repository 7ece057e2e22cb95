"""Takes the README's picture, and the page in every width, theme and state.

    python tools/make_screenshots.py [FOLDER]

Needs requirements-dev.txt, Chromium (`CHROMIUM`, or `chromium` on the PATH) and an explorer running
on http://127.0.0.1:7860. Writes assets/explorer.png; with FOLDER also opening, mid-run and finished
at 1440 and 390 pixels, light and dark.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ADDRESS = "http://127.0.0.1:7860/"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def opened(browser, width: int, theme: str) -> Page:
    """The page, once its recorded race has played."""
    page = browser.new_page(viewport={"width": width, "height": 1000 if width > 500 else 844})
    page.goto(f"{ADDRESS}?__theme={theme}")
    page.wait_for_function("document.querySelector('.scrub')?.disabled === false", timeout=60_000)
    page.wait_for_timeout(500)
    return page


def run_to(page: Page, nfe: int) -> None:
    """Runs the page's defaults until the baseline has made `nfe` evaluations."""
    page.locator("#run").click()
    reached = "+(document.querySelector('[data-panel=b] .count em')?.textContent || 0)"
    page.wait_for_function(
        f"document.body.dataset.run !== 'idle' && {reached} >= {nfe} && {reached} < 100",
        timeout=120_000,
    )


def finish(page: Page) -> None:
    """Waits for the race's end and for the plot and the pictures to settle."""
    page.wait_for_function("document.body.dataset.run === 'finished'", timeout=240_000)
    page.wait_for_timeout(2500)


def main(folder: Path | None) -> None:
    """Takes them all."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = opened(browser, 1440, "light")
        run_to(page, 20)
        finish(page)
        page.screenshot(path=Path(__file__).parents[1] / "assets" / "explorer.png", full_page=True)
        page.close()
        for width in (1440, 390) if folder else ():
            for theme in ("light", "dark"):
                page = opened(browser, width, theme)
                page.screenshot(path=folder / f"{width}-{theme}-opening.png", full_page=True)
                run_to(page, 20)
                page.screenshot(path=folder / f"{width}-{theme}-running.png", full_page=True)
                finish(page)
                page.screenshot(path=folder / f"{width}-{theme}-finished.png", full_page=True)
                page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
