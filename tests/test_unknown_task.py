"""A task that the chosen network does not know: refused in one sentence, grey on the page."""

from concurrent.futures import Future
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from chromium import ARTEFACTS, opened, served, settled
from playwright.sync_api import expect

from mrsampler import Denoiser, MeanRevertingSDE
from mrsampler.checkpoints import Checkpoint
from mrsampler.degradations import TASKS
from mrsampler.restorer import Restorer
from mrsampler.ui import api, session
from mrsampler.ui.compare import tab as compare
from mrsampler.ui.parts import choices
from mrsampler.ui.restore import tab as restore
from mrsampler.ui.stability import tab as stability

KNOWN = ("hazy", "noisy")
SENTENCE = "few does not know the task 'rainy'; choose from hazy, noisy"


def restorer(tasks=KNOWN, name="few"):
    def network(x, mu, t, task):
        return mu + 0.1

    card = Checkpoint(name, Denoiser(network, "data"), MeanRevertingSDE(), tasks, {})
    return Restorer(card, torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def readings():
    """Every network of the session knows two tasks, but for one that knows all."""
    with pytest.MonkeyPatch.context() as patch:
        found = {"bundled": Future(), "all": Future()}
        found["bundled"].set_result(restorer())
        found["all"].set_result(restorer(TASKS, "all"))
        patch.setattr(session, "_readings", found)
        patch.setattr(choices.checkpoints, "offered", lambda: list(found))
        patch.setattr(choices, "_target", lambda name: "data")
        patch.setattr(restore, "recording", lambda: "")
        yield


def values(**other):
    return choices.opening().to_json() | {"example": 0, "upload": None, "task": "rainy"} | other


def test_the_library_refuses_it_before_the_network_is_called():
    for made in (restorer().trajectory, restorer().reading):
        with pytest.raises(ValueError, match=SENTENCE):
            made(torch.rand(3, 32, 32), "rainy")
    with pytest.raises(ValueError, match=SENTENCE):
        restorer().check("rainy", nfe=2)


def test_the_page_refuses_it_in_the_same_words():
    visitor = SimpleNamespace(session_hash="ann")
    *_, (last, *_) = restore.run(values(), visitor)
    assert (last["state"], last["say"]) == ("refused", SENTENCE)
    grid = {"size": 64, "solvers": ["ddim"], "nfes": "2", "spacing": "usual", "with_rmse": False}
    with pytest.raises(gr.Error, match=SENTENCE):
        compare.asked("ann", values(**grid))
    with pytest.raises(gr.Error, match=SENTENCE):
        list(stability.run(values(size=64, solver="SDE, order 2"), visitor))


def test_the_api_refuses_it_in_the_same_words():
    photo = {"path": "photo.png", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(gr.Error, match=SENTENCE):
        next(api.restore(photo, task="rainy"))


def test_the_menu_has_it_in_grey_with_the_reason():
    (group,) = choices.tasks(restorer())["groups"]
    grey = {option["value"]: option["text"] for option in group["options"] if "disabled" in option}
    assert set(grey) == set(TASKS) - set(KNOWN)
    assert grey["rainy"] == "rainy: few does not know it"
    (group,) = choices.tasks(restorer(TASKS))["groups"]
    assert not any("disabled" in option for option in group["options"])


# --- in a browser


@pytest.fixture(scope="module")
def page(browser):
    def ready(page):
        page.wait_for_selector("#menu-restore-task")
        page.wait_for_function("window.Plotly")

    with (
        served("Restore", restore.build) as url,
        opened(browser, f"{url}?task=noisy&side=256", ready) as page,
    ):
        yield page


@pytest.mark.browser
def test_on_the_page_it_is_grey_until_a_network_that_knows_it_is_chosen(page):
    menu, detail = page.locator("#menu-restore-task"), page.locator("#menu-restore-task-detail")
    expect(menu).to_have_value("noisy")
    expect(menu.locator("option[value=hazy]")).to_be_enabled()
    expect(menu.locator("option[value=rainy]")).to_be_disabled()
    # An example whose damage it does not know stays that example's: it says why it cannot run.
    rainy = next(i for i, e in enumerate(choices.examples()) if e.task == "rainy")
    page.locator(f"button[data-index='{rainy}']").click()
    expect(menu).to_have_value("rainy")
    expect(detail).to_have_text("few does not know this task: choose another, or another network.")
    settled(page)
    page.screenshot(path=ARTEFACTS / "task-grey.png")
    page.locator("#run").click()
    expect(page.locator(".stage .words")).to_have_text(SENTENCE)
    page.get_by_role("button", name="Advanced").click()
    page.locator("#menu-checkpoint").select_option("all")
    expect(menu.locator("option[value=rainy]")).to_be_enabled()
    expect(detail).to_be_hidden()
    expect(menu).to_have_value("rainy")


@pytest.mark.browser
def test_an_example_brings_its_task_as_often_as_it_is_picked(page):
    menu, degraded = page.locator("#menu-restore-task"), page.locator("[data-panel=degraded] img")
    first, other = (choices.examples()[i].task for i in (0, 1))
    for _ in range(2):
        for index, task in ((1, other), (0, first)):
            before = degraded.get_attribute("src")
            page.locator(f"button[data-index='{index}']").click()
            expect(menu).to_have_value(task)
            expect(degraded).not_to_have_attribute("src", before)
        usual = degraded.get_attribute("src")
        menu.select_option("noisy")
        expect(degraded).not_to_have_attribute("src", usual)
    page.locator("button[data-index='0']").click()
    expect(degraded).to_have_attribute("src", usual)  # with the task that the example brings
