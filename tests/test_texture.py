"""The texture of a result: mixed after a run, and repeated as it is."""

import shlex
from types import SimpleNamespace

import gradio as gr
import pytest
from chromium import ARTEFACTS, opened, served, settled
from PIL import Image
from playwright.sync_api import expect

from mrsampler import cli
from mrsampler.run import Run
from mrsampler.ui import session
from mrsampler.ui.parts import choices
from mrsampler.ui.restore import samplers, tab

VISITOR = SimpleNamespace(session_hash="texture")
SMALL = {"nfe": 2, "baseline_nfe": 2, "size": 64, "spacing": "blend", "checkpoint": "bundled-light"}


def values(**other):
    return choices.opening().to_json() | SMALL | {"example": 0, "upload": None} | other


@pytest.fixture
def ran():
    """The last update of a finished run."""
    *_, last = tab.run(values(), VISITOR)
    yield last
    tab.forget(SimpleNamespace(session_hash="texture"))


def pixels(path):
    with Image.open(path) as picture:
        return picture.tobytes()


@pytest.mark.parametrize("texture", [0.0, 0.35])
def test_another_texture_after_a_run_is_what_the_copied_texts_make(
    ran, tmp_path, monkeypatch, texture
):
    sample = pixels(ran[3])
    (_, after), download, taken = tab.mix(texture, VISITOR)
    mixed = pixels(download)
    assert after == download and mixed != sample
    example = choices.examples()[0].path
    monkeypatch.chdir(tmp_path)
    exec(taken["python"].replace(f"assets/examples/{example.name}", str(example)), {})
    assert pixels("restored.png") == mixed
    words = shlex.split(taken["command"].replace(f"assets/examples/{example.name}", str(example)))
    assert f"--texture {texture}" in taken["command"] and cli.main(words[3:]) == 0
    assert pixels("restored.png") == mixed
    assert f"texture={texture}" in taken["query"]
    assert pixels(tab.mix(1.0, VISITOR)[1]) == sample


def test_a_run_with_a_texture_is_the_one_that_is_mixed_after_it(ran):
    *_, last = tab.run(values(texture=0.35), VISITOR)
    assert pixels(last[3]) == pixels(tab.mix(0.35, VISITOR)[1])


def test_without_what_it_is_mixed_from_the_result_stays(ran):
    tab.MEMORY.run("texture").sample = None
    assert tab.mix(0.5, VISITOR) == (gr.skip(), gr.skip(), gr.skip())


def test_a_network_without_an_estimate_has_no_texture():
    bundled = session.load("bundled")
    assert samplers.texture(bundled)["interactive"] is False
    sentence = "bundled makes no estimate: its texture is 1 alone"
    with pytest.raises(ValueError, match=sentence):
        bundled.check("noisy", texture=0.5)
    *_, (last, *_) = tab.run(values(checkpoint="bundled", texture=0.5), VISITOR)
    assert (last["state"], last["say"]) == ("refused", sentence)
    query = {"texture": "0.5", "checkpoint": "bundled"}
    asked, refused = Run.from_query(query, Run(), lambda run: samplers.offered(bundled, run))
    assert (asked.texture, refused) == (1, ["texture=0.5"])


# --- in a browser


@pytest.mark.browser
def test_moving_it_after_a_run_shows_the_new_mix_at_once(browser, monkeypatch):
    monkeypatch.setattr(tab, "recording", lambda: "")
    query = "checkpoint=bundled-light&nfe=2&baseline_nfe=2&side=256&texture=0.5"

    def ready(page):
        page.wait_for_function("window.Plotly")
        expect(page.locator("#menu-checkpoint")).to_have_value("bundled-light", timeout=30_000)

    with (
        served("Restore", tab.build) as url,
        opened(browser, f"{url}?{query}", ready) as page,
    ):
        settled(page)
        page.locator("#run").click()
        page.wait_for_selector("body[data-outcome=there]", timeout=60_000)
        settled(page)
        box = page.get_by_label("number input for Texture", exact=True)
        expect(box).to_have_value("0.5")
        after = page.locator("#slider img").last
        half = after.get_attribute("src")
        box.fill("0")
        box.blur()
        expect(after).not_to_have_attribute("src", half, timeout=20_000)
        settled(page)
        assert page.evaluate("document.body.dataset.run") == "finished"
        page.screenshot(path=ARTEFACTS / "texture.png", full_page=True)
        page.get_by_role("button", name="Advanced").click()
        page.locator("#menu-checkpoint").select_option("bundled")
        expect(box).to_be_disabled()
        expect(
            page.get_by_text("bundled makes no estimate to mix the sample with.")
        ).to_be_visible()
