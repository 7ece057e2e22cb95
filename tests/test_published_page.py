"""A published checkpoint on the page, from a hub on this machine that holds the small networks."""

import contextlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from chromium import ARTEFACTS, explorer, opened
from fake_hub import FakeHub, encoder_file, network_file, saved
from playwright.sync_api import expect

from mrsampler import checkpoints, hub, restorer
from mrsampler.ui import api, session
from mrsampler.ui.parts import choices, networks
from mrsampler.ui.restore import link

FOLDER = "weblzw/daclip-uir-ViT-B-32-irsde/main"


def contents(folder):
    network, encoder = saved(network_file(), folder / "n"), saved(encoder_file(), folder / "e")
    return {f"{FOLDER}/universal-ir.pth": network, f"{FOLDER}/daclip_ViT-B-32.pt": encoder}


GREY = dict.fromkeys(checkpoints.names(), False) | {"daclip-uir": True}


def options():
    return choices.networks()["groups"][0]["options"]


def test_a_checkpoint_that_cannot_be_had_is_grey_with_the_reason_under_the_menu(monkeypatch):
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: name != "daclip-uir")
    monkeypatch.setattr(hub, "unavailable", lambda name: f"{name} is nowhere")
    assert {o["value"]: o["disabled"] for o in options()} == GREY
    assert choices.networks()["detail"] == "daclip-uir is nowhere."
    monkeypatch.setattr(hub, "unavailable", lambda name: None)
    assert not any(option["disabled"] for option in options())
    assert choices.networks()["detail"] == ""


def test_what_is_at_hand_is_offered_without_asking_the_hub(monkeypatch):
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: True)
    monkeypatch.setattr(hub, "unavailable", lambda name: pytest.fail("asked"))
    assert not any(option["disabled"] for option in options())


def test_the_menu_falls_back_to_the_default_on_every_device(monkeypatch):
    for device in (None, "cpu", "cuda"):
        monkeypatch.setattr(session, "device", device)
        assert choices.networks()["fallback"] == checkpoints.DEFAULT == "bundled"


def test_the_menu_says_what_each_network_predicts():
    labels = {option["value"]: option["label"] for option in options()}
    assert labels["bundled"] == "bundled: predicts residual"
    assert labels["bundled-light"] == "bundled-light: predicts data"


def test_a_damaged_card_is_grey_and_leaves_the_others(monkeypatch, tmp_path):
    (tmp_path / "mine.json").write_text("{")
    (tmp_path / "mine.safetensors").write_bytes(b"")
    monkeypatch.setattr(checkpoints, "_HOMES", (*checkpoints._HOMES, tmp_path))
    monkeypatch.setattr(hub, "unavailable", lambda name: None)
    assert {o["value"]: o["disabled"] for o in options()}["mine"]
    assert "the card mine.json is damaged" in choices.networks()["detail"]


def reading(monkeypatch, load):
    """`load` in place of the library's, and nothing read yet."""
    monkeypatch.setattr(session.restorer, "load", load)
    monkeypatch.setattr(session, "_readings", {})


@pytest.mark.parametrize("error", [hub.UnavailableError, ValueError, OSError, MemoryError])
def test_a_pick_that_cannot_be_loaded_is_grey_from_then_on_with_the_reason(monkeypatch, error):
    def load(checkpoint, device):
        raise error(f"{checkpoint} went away")

    warned = []
    reading(monkeypatch, load)
    monkeypatch.setattr(networks.gr, "Warning", warned.append)
    *_, (line, menu) = networks.ready("daclip-uir")
    assert line is None and warned == ["daclip-uir went away."] == [menu["detail"]]
    grey = {option["value"]: option["disabled"] for option in menu["groups"][0]["options"]}
    assert grey == GREY and menu["fallback"] == "bundled"


def test_a_visitor_names_no_checkpoint_of_his_own(monkeypatch):
    reading(monkeypatch, lambda checkpoint, device: pytest.fail("read"))
    for name in ("../secret.safetensors", "daclip-uir@other"):
        with pytest.raises(gr.Error, match="There is no checkpoint"):
            session.load(name)


def test_all_who_wait_for_a_checkpoint_hear_how_far_it_is(monkeypatch):
    done = threading.Event()

    def load(checkpoint, device):
        assert done.wait(20)
        return object()

    reading(monkeypatch, load)
    progress = hub.Progress({"file": 905_000_000})
    monkeypatch.setattr(hub, "progress", {"daclip-uir": progress}.get)
    first, second = session.arrival("daclip-uir"), session.arrival("daclip-uir")
    assert next(first).says == "Fetching daclip-uir, this once: 0 of 905\u00a0MB."
    progress.bars("file")(initial=312_000_000, disable=True)
    progress.began -= 100
    said = "Fetching daclip-uir, this once: 312 of 905\u00a0MB, about 3 min left."
    assert next(first).says == next(second).says == said
    assert next(second).share == pytest.approx(312 / 905)
    first.close()  # one leaves: the other goes on
    progress.bars("file")(initial=905_000_000, disable=True)
    assert next(second).says == "Making daclip-uir ready: some seconds more."
    assert not session.loaded("daclip-uir") and session.under_way("daclip-uir")
    done.set()
    assert all(far.share is None for far in second)
    assert session.loaded("daclip-uir") and not session.under_way("daclip-uir")
    assert list(session.arrival("daclip-uir")) == []


def test_visitors_who_come_at_once_have_a_checkpoint_read_once(monkeypatch):
    read = []

    def load(checkpoint, device):
        read.append(checkpoint)
        time.sleep(0.2)
        return object()

    reading(monkeypatch, load)
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

    reading(monkeypatch, load)
    with pytest.raises(hub.UnavailableError):
        session.load("daclip-uir")
    assert session.load("daclip-uir") is session.load("daclip-uir")


def test_a_link_may_ask_for_a_checkpoint_that_is_not_here_yet(monkeypatch):
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: name != "daclip-uir")
    bundled = restorer.load("bundled", "cpu")
    reading(monkeypatch, lambda checkpoint, device: bundled)
    linked, refused = link.read({"checkpoint": "daclip-uir", "nfe": "7"})
    assert (linked.checkpoint, linked.nfe, refused) == ("daclip-uir", 7, [])
    assert not session.under_way("daclip-uir"), "reading a link fetches nothing"


def test_a_program_hears_how_far_a_fetch_is(monkeypatch):
    monkeypatch.setattr(api, "arrival", lambda name: iter([session.Arrival(name, 1, 2)]))
    photo = {"path": "photo.png", "meta": {"_type": "gradio.FileData"}}
    _, report = next(api.restore(photo, checkpoint="daclip-uir"))
    assert report == {"state": "fetching", "done": 1, "total": 2}
    *_, report = next(api.compare(photo, ["ddim"], [2], checkpoint="daclip-uir"))
    assert report == {"state": "fetching", "say": "daclip-uir", "rows": []}


LINK = "?task=rainy&sampler=mrs-ode-d-2&nfe=2&baseline=posterior&baseline_nfe=3&side=256"
LINKED = f"{LINK}&checkpoint=daclip-uir"


def ready(page):
    """The race of few evaluations that the link sets is there, and the menu of checkpoints."""
    number = page.get_by_label("number input for Baseline NFE", exact=True)
    expect(number).to_have_value("3", timeout=60_000)  # the link has been read
    page.wait_for_function("document.body.dataset.run === 'idle'", timeout=60_000)
    page.get_by_role("button", name="Advanced").click()


def goes_to(page, tab, network):
    """The tab, and its menu of checkpoints by the id."""
    page.get_by_role("tab", name=tab).click()
    menu = page.locator(network)
    if tab == "Compare":
        page.locator("#compare").get_by_text("Advanced").click()
    return menu


@pytest.fixture
def published(tmp_path):
    """A hub without its files, and the environment of an explorer that asks it."""
    with contextlib.closing(FakeHub()) as fake:
        yield (
            fake,
            {
                "HF_ENDPOINT": fake.url,
                "HF_HOME": str(tmp_path / "home"),
                "NO_PROXY": "127.0.0.1,localhost",
                "HF_HUB_DOWNLOAD_TIMEOUT": "120",  # so long may a download be held
                "OMP_NUM_THREADS": "1",
            },
        )


MENUS = {"Compare": "#menu-network", "Stability": "#menu-expanded-network"}
LOG = ARTEFACTS / "published.log"


@pytest.mark.browser
def test_it_is_grey_with_the_reason_while_the_hub_has_it_not_even_by_a_link(browser, published):
    _, environment = published
    why = re.compile(r"universal-ir\.pth cannot be fetched.*put into .*/daclip-uir", re.DOTALL)
    with explorer(LOG, **environment) as url, opened(browser, url + LINKED, ready) as page:
        expect(page.locator(".toast-body")).to_have_text(why)
        menu = page.locator("#menu-checkpoint")
        expect(menu.locator("option[value='daclip-uir']")).to_be_disabled()
        expect(menu).to_have_value("bundled")
        detail = page.locator("#menu-checkpoint-detail")
        detail.scroll_into_view_if_needed()
        expect(detail).to_be_visible()
        expect(detail).to_have_text(why)
        expect(page.locator("#runbar .arrival")).to_be_hidden()
        page.screenshot(path=ARTEFACTS / "checkpoint-grey.png")
        for tab, name in MENUS.items():
            menu = goes_to(page, tab, name)
            expect(menu.locator("option[value='daclip-uir']")).to_be_disabled()
            expect(page.locator(f"{name}-detail")).to_have_text(why)


@pytest.mark.browser
def test_it_is_fetched_once_for_all_who_see_how_far_it_is_and_then_raced(
    browser, published, tmp_path
):
    fake, environment = published
    files = contents(tmp_path)
    fake.files = files | {f"{FOLDER}/daclip_ViT-B-32.pt": b"damaged"}
    with explorer(LOG, **environment) as url:
        with opened(browser, url + LINK, ready) as page:
            menu = page.locator("#menu-checkpoint")
            menu.select_option("daclip-uir")
            why = re.compile(r"daclip_ViT-B-32\.pt is damaged, cut short")
            expect(page.locator("#menu-checkpoint-detail")).to_have_text(why, timeout=30_000)
            expect(menu).to_have_value("bundled")
        (tmp_path / "home/mrsampler/daclip-uir/daclip_ViT-B-32.pt").unlink()
        fake.files, fake.held = files, "daclip_ViT-B-32.pt"
        fake.on.clear()
        with (
            opened(browser, url + LINKED, ready) as page,
            opened(browser, url + LINK, ready) as other,
        ):
            far = re.compile(r"^Fetching daclip-uir, this once: 0\.\d of 0\.9\sMB\.$")
            expect(page.locator("#runbar .arrival")).to_have_text(far, timeout=30_000)
            page.screenshot(path=ARTEFACTS / "checkpoint-fetched.png")
            for tab, name in MENUS.items():
                goes_to(other, tab, name).select_option("daclip-uir")
                bar = f"#{tab.lower()}-runbar .arrival"
                expect(other.locator(bar)).to_have_text(far)
            other.locator(MENUS["Stability"]).select_option("bundled")
            expect(other.locator(bar)).to_be_hidden()

            goes_to(other, "Compare", MENUS["Compare"])
            for run, said, of in (
                ("#run", ".stage .words", page),
                ("#compare-run", ".compare .say", other),
            ):
                of.locator(run).click()
                expect(of.locator(said)).to_have_text(far)
                of.locator(run.replace("run", "stop")).click()
                stopped = "Stopped before it began; daclip-uir goes on being fetched for the next."
                expect(of.locator(said)).to_have_text(stopped)
            page.locator("#run").click()
            expect(page.locator(".stage .words")).to_have_text(far)
            fake.on.set()
            page.wait_for_function(
                "['finished', 'failed'].includes(document.body.dataset.run)", timeout=120_000
            )
            assert page.evaluate("document.body.dataset.run") == "finished"
            row = page.locator(".results tbody tr").nth(1)
            raced = re.compile(r"MR Sampler ODE d-2.*\b2\b", re.DOTALL)
            # The word comes before the measures.
            expect(row).to_have_text(raced, use_inner_text=True, timeout=60_000)
            expect(page.get_by_text("What to undo is detected by the model.")).to_be_visible()
            expect(page.locator("#menu-checkpoint")).to_have_value("daclip-uir")
            page.screenshot(path=ARTEFACTS / "checkpoint-raced.png", full_page=True)
            expect(other.locator("#compare-cost")).to_contain_text("20 runs")
            names = ["universal-ir.pth", *["daclip_ViT-B-32.pt"] * 2]  # the damaged one, too
            assert [name for name, _ in fake.downloads()] == names
