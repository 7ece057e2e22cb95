"""The page in headless Chromium: its servers, and a page that is opened ready.

Loading a page anew takes four times as long in a browser that has never seen it, and a second more
in a new tab. So the tests of a module share one browser with its cache, and one after the other the
same tab: `opened` gives it a page of its own, and leaves it empty.

Needs Chromium (`CHROMIUM`, or `chromium` on the PATH). Without one these tests are skipped, loudly;
with MRSAMPLER_REQUIRE_BROWSER set they fail. Screenshots go to tests/artefacts.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import sync_playwright

from mrsampler.bench.page import FLAGS, MissingError, find_chromium
from mrsampler.ui import theme as looks
from mrsampler.ui.parts.components import SERVED, web

ROOT = Path(__file__).parents[1]
ARTEFACTS = Path(__file__).parent / "artefacts"

ASKED = re.compile("/queue/join|/run/|/call/")
"""The requests that make the server work."""

UNEXPLAINED = """tab => [...document.querySelectorAll(`#${tab} :is(input, select, button)`)]
  .filter((e) => e.offsetParent && !e.matches('.cell, [type=file]'))  // they say themselves
  .filter((e) => !e.closest('[title]') && !e.getAttribute('aria-describedby'))
  .filter((e) => !e.closest('.block')?.querySelector('[class*=info]'))
  .map((e) => e.outerHTML.slice(0, 200))"""
"""The controls of a tab without a line of help: neither under their label nor as a title."""

SETTLED = """{
  const ask = window.fetch.bind(window), streams = new Set();
  let owed = 0;
  window.settled = () => owed === 0 && [...streams].every((stream) => !stream.told);
  const hear = async (response) => {
    const stream = { told: false };
    streams.add(stream);
    try {
      let line = '';
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        const lines = (line + text).split('\\n');
        line = lines.pop();
        for (const { msg, event_id } of lines.filter(Boolean).map((l) => JSON.parse(l.slice(5)))) {
          if (event_id) stream.told = true;
          if (msg === 'process_completed') owed -= 1;
        }
      }
    } catch {}  // gradio aborts a stream that has ended
    streams.delete(stream);
  };
  window.fetch = async (...call) => {
    const url = String(call[0]?.url ?? call[0]), joins = url.includes('/queue/join');
    if (joins) owed += 1;
    try {
      const response = await ask(...call);
      if (joins && !response.ok) owed -= 1;
      if (url.includes('/queue/data')) hear(response.clone());
      return response;
    } catch (error) {
      if (joins) owed -= 1;
      throw error;
    }
  };
}"""
"""Counts what gradio asked for and heard. Where the last answer overtakes the receipt of its
question, gradio opens one more stream, which has nothing to tell and stays: that is no debt."""


def found():
    """The path of a Chromium; without one the test is skipped, or fails where that is asked for."""
    try:
        return find_chromium()
    except MissingError as missing:
        reason = f"THE PAGE WAS NOT TESTED IN A BROWSER: {missing}"
        if os.environ.get("MRSAMPLER_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextlib.contextmanager
def launched(executable, profile, **options):
    """A browser with a cache of its own, as Playwright's BrowserContext."""
    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=executable, args=FLAGS, **options
        )
        browser.add_init_script(SETTLED)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, url, ready, width=1440, height=1000, still=False):
    """The page at `url`, when `ready(page)` has returned. `still`: with reduced motion.

    Fails at the end if it asked another host or erred.
    """
    page = next((tab for tab in browser.pages if tab.url == "about:blank"), None)
    page = page or browser.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(reduced_motion="reduce" if still else "no-preference")
    page.mouse.move(0, 0)
    foreign, errors = [], []
    local = (url.partition("?")[0], "data:", "blob:")

    def ask(request):
        if not request.url.startswith(local):
            foreign.append(request.url)

    ears = {
        "request": ask,
        "console": lambda m: errors.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: errors.append(str(error)),
    }
    for event, hear in ears.items():
        page.on(event, hear)
    try:
        page.goto(url)
        ready(page)
        yield page
    finally:
        for event, hear in ears.items():
            page.remove_listener(event, hear)
        page.unroute_all()
        page.goto("about:blank")
    assert foreign == [], "the page asked another host"
    assert errors == [], "the page's console has errors"


def settled(page):
    """Waits until the page has heard all that it asked the server for.

    What is asked for just when the stream of the answers before is closed gradio may never answer.
    """
    page.wait_for_function("window.settled()", timeout=60_000)


@contextlib.contextmanager
def noted(page, event):
    """The addresses of what the page sends while this is open: "request", or "response"."""
    urls = []

    def note(sent):
        urls.append(sent.url)

    page.on(event, note)
    try:
        yield urls
    finally:
        page.remove_listener(event, note)


@contextlib.contextmanager
def explorer(log, **environment):
    """The address of `python app.py` on a free port; what it says goes to the file `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port)} | environment
    url = f"http://127.0.0.1:{port}/"
    ARTEFACTS.mkdir(exist_ok=True)
    with log.open("w") as file:
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
        try:
            deadline = time.monotonic() + 120
            while True:
                assert app.poll() is None, log.read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                assert time.monotonic() < deadline, "the app did not answer within two minutes"
                time.sleep(0.1)
            yield url
        finally:
            app.terminate()
            app.wait(20)


@contextlib.contextmanager
def served(label, build):
    """The address of a page that has this tab alone, from a server in this process."""
    gr.set_static_paths(SERVED)
    with gr.Blocks(fill_width=True, analytics_enabled=False) as demo:
        gr.HTML(**web("parts/header"))
        with gr.Tab(label):
            build(demo)
    _, url, _ = demo.queue().launch(
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        show_error=True,
        theme=looks.theme(),
        head=looks.head(),
        footer_links=[],
    )
    try:
        yield url
    finally:
        demo.close()
