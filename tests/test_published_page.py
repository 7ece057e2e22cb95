"""A published checkpoint on the page, from a hub on this machine that holds the small networks."""

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from chromium import ARTEFACTS, explorer, opened
from fake_hub import FakeHub, encoder_file, network_file, saved
from playwright.sync_api import expect

from mrsampler import checkpoints, hub
from mrsampler.ui import choices, samplers, session

FOLDER = "weblzw/daclip-uir-ViT-B-32-irsde/main"


def contents(folder):
    network, encoder = saved(network_file(), folder / "n"), saved(encoder_file(), folder / "e")
    return {f"{FOLDER}/universal-ir.pth": network, f"{FOLDER}/daclip_ViT-B-32.pt": encoder}


def options():
    return choices.networks()["groups"][0]["options"]


def test_a_checkpoint_that_cannot_be_had_is_grey_with_the_reason_under_the_menu(monkeypatch):
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: name == "bundled")
    monkeypatch.setattr(hub, "unavailable", lambda name: f"{name} is nowhere")
    assert {o["value"]: o["disabled"] for o in options()} == {"bundled": False, "daclip-uir": True}
    assert choices.networks()["detail"] == "daclip-uir is nowhere."
    monkeypatch.setattr(hub, "unavailable", lambda name: None)
    assert not any(option["disabled"] for option in options())
    assert choices.networks()["detail"] == ""


def test_what_is_at_hand_is_offered_without_asking_the_hub(monkeypatch):
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: True)
    monkeypatch.setattr(hub, "unavailable", lambda name: pytest.fail("asked"))
    assert not any(option["disabled"] for option in options())


def test_a_pick_that_cannot_be_loaded_gets_a_sentence(monkeypatch):
    def load(checkpoint):
        raise hub.UnavailableError(f"{checkpoint} went away")

    monkeypatch.setattr(samplers, "load", load)
    with pytest.raises(gr.Error, match="daclip-uir went away"):
        samplers.ready("daclip-uir")


def test_visitors_who_come_at_once_have_a_checkpoint_read_once(monkeypatch):
    read = []

    def load(checkpoint, device):
        read.append(checkpoint)
        time.sleep(0.2)
        return object()

    monkeypatch.setattr(session.restorer, "load", load)
    monkeypatch.setattr(session, "_loaded", {})
    with ThreadPoolExecutor() as threads:
        loaded = list(threads.map(session.load, ["daclip-uir"] * 3 + ["bundled"]))
    assert sorted(read) == ["bundled", "daclip-uir"]
    assert len(set(map(id, loaded[:3]))) == 1 and loaded[3] is not loaded[0]


def test_what_could_not_be_read_is_tried_again(monkeypatch):
    answers = iter([hub.UnavailableError("went away"), object()])

    def load(checkpoint, device):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    monkeypatch.setattr(session.restorer, "load", load)
    monkeypatch.setattr(session, "_loaded", {})
    with pytest.raises(hub.UnavailableError):
        session.load("daclip-uir")
    assert session.load("daclip-uir") is session.load("daclip-uir")


LINK = "?task=rainy&sampler=mrs-ode-d-2&nfe=2&baseline=posterior&baseline_nfe=3"


def ready(page):
    """The race of few evaluations that the link sets is there, and the menu of checkpoints."""
    number = page.get_by_label("number input for Baseline NFE", exact=True)
    expect(number).to_have_value("3", timeout=60_000)  # the link has been read
    page.wait_for_function("document.body.dataset.run === 'idle'", timeout=60_000)
    page.get_by_role("button", name="Advanced").click()


@pytest.mark.browser
def test_it_is_grey_while_the_hub_has_it_not_then_fetched_when_picked_and_raced(browser, tmp_path):
    fake = FakeHub()
    environment = {
        "HF_ENDPOINT": fake.url,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    }
    log = ARTEFACTS / "published.log"
    with explorer(log, **environment) as url, opened(browser, url + LINK, ready) as page:
        menu = page.locator("#menu-checkpoint")
        grey = menu.locator("option[value='daclip-uir']")
        expect(grey).to_be_disabled()
        reason = re.compile(
            r"universal-ir\.pth cannot be fetched.*put into .*/daclip-uir", re.DOTALL
        )
        detail = page.locator("#menu-checkpoint-detail")
        detail.scroll_into_view_if_needed()
        expect(detail).to_be_visible()
        expect(detail).to_have_text(reason)
        page.screenshot(path=ARTEFACTS / "checkpoint-grey.png")

    fake.files = contents(tmp_path)
    # Another explorer: the answer of the hub is kept for a minute.
    with (
        contextlib.closing(fake),
        explorer(log, **environment) as url,
        opened(browser, url + LINK, ready) as page,
    ):
        menu = page.locator("#menu-checkpoint")
        grey = menu.locator("option[value='daclip-uir']")
        expect(grey).to_be_enabled(timeout=20_000)
        menu.select_option("daclip-uir")
        told = page.get_by_text("What to undo is detected by the model.")
        expect(told).to_be_visible(timeout=60_000)
        assert [name for name, _ in fake.downloads()] == ["universal-ir.pth", "daclip_ViT-B-32.pt"]

        page.get_by_label("256", exact=True).check()
        page.locator("#run").click()
        page.wait_for_function(
            "['finished', 'failed'].includes(document.body.dataset.run)", timeout=120_000
        )
        assert page.evaluate("document.body.dataset.run") == "finished"
        rows = page.locator(".results tbody tr")
        expect(rows.nth(1)).to_have_text(
            re.compile(r"MR Sampler ODE d-2.*\b2\b", re.DOTALL), use_inner_text=True
        )
        assert menu.input_value() == "daclip-uir"
        page.screenshot(path=ARTEFACTS / "checkpoint-raced.png", full_page=True)
