"""A tab of its own is one folder: what the parts give to the smallest that there can be."""

from pathlib import Path

import pytest
import toy
from chromium import opened, served
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(executable):
    with served("Toy", toy.build) as url:
        yield url


@pytest.fixture
def page(browser, address):
    with opened(browser, address, lambda page: page.wait_for_selector("#toy-run")) as page:
        page.wait_for_selector("#toy[data-run]", timeout=60_000)  # its module is there
        yield page


def test_its_python_script_and_html_are_less_than_sixty_lines():
    files = [file for file in Path(toy.__file__).parent.iterdir() if file.is_file()]
    assert {file.suffix for file in files} == {".py", ".js", ".html"}
    assert sum(len(file.read_text().splitlines()) for file in files) < 60


def test_another_photo_is_shown_and_a_run_goes_through_its_states(page):
    page.locator("button[data-index='1']").click()
    status, tab = page.locator("#toy p[role=status]"), page.locator("#toy")
    expect(status).to_have_text("Ready.")
    page.locator("#toy-run").click()
    expect(tab).to_have_attribute("data-run", "running")
    assert page.evaluate("document.querySelector('#toy-knobs').inert"), "locked while it runs"
    expect(status).to_have_text("Done.", timeout=30_000)
    expect(tab).to_have_attribute("data-run", "finished")
    assert not page.evaluate("document.querySelector('#toy-knobs').inert")


def test_stop_ends_it_and_a_failure_is_said(page):
    page.locator("#toy-run").click()
    expect(page.locator("#toy p[role=status]")).to_contain_text("Step ", timeout=30_000)
    page.locator("#toy-stop").click()
    expect(page.locator("#toy p[role=status]")).to_contain_text("Stopped at")
    severity = page.get_by_label("number input for Severity", exact=True)
    severity.fill("1")
    severity.press("Enter")
    page.locator("#toy-run").click()
    expect(page.locator("#toy p[role=status]")).to_have_text("It is too dark.")
    expect(page.locator("#toy")).to_have_attribute("data-run", "failed")
