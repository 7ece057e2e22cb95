"""The Restore tab and what frames it, in headless Chromium, over the real app and network."""

import re

import numpy as np
import pytest
from chromium import ARTEFACTS, ASKED, ROOT, explorer, noted, opened, settled
from PIL import Image
from playwright.sync_api import expect

from mrsampler import SOLVERS, MeanRevertingSDE, load
from mrsampler.ui.parts import choices

pytestmark = pytest.mark.browser
NOWHERE = "http://127.0.0.1:9"  # the discard port: whatever asks the internet fails


@pytest.fixture(scope="module")
def address(executable):
    """A running explorer, without a route to the internet for its own requests."""
    nobody = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost"}
    with explorer(ARTEFACTS / "app.log", PYTHONUNBUFFERED="1", **nobody) as url:
        yield url


def ready(page):
    page.wait_for_selector("#run", timeout=60_000)
    page.wait_for_function("window.Plotly", timeout=60_000)
    if "?__theme" in page.url and "&" not in page.url:  # no link: the recorded race has begun
        page.wait_for_selector(".badge:not([hidden])", timeout=60_000)


def visit(browser, address, theme="light", link="", **window):
    """The page, opened and ready, by a link's query if there is one."""
    return opened(browser, f"{address}?__theme={theme}{link and '&' + link}", ready, **window)


@pytest.fixture
def page(browser, address):
    with visit(browser, address) as page:
        yield page


def slide(page, label, value):
    """Sets a slider through its number box."""
    box = page.get_by_label(f"number input for {label}", exact=True)
    box.fill(str(value))
    box.press("Enter")


def choose_example(page, index):
    shown = page.locator("[data-panel=degraded] img").get_attribute("src")
    page.locator(f"button[data-index='{index}']").click()
    page.wait_for_function(
        "was => document.querySelector('[data-panel=degraded] img').src !== was"
        " && document.body.dataset.run === 'idle'",
        arg=shown,
    )


def wait_for_state(page, *states, timeout=120_000):
    page.wait_for_function(
        "states => states.includes(document.body.dataset.run)", arg=list(states), timeout=timeout
    )
    if not {"running", "waiting"} & set(states):  # it has ended
        settled(page)


def count(page, panel):
    text = page.locator(f"[data-panel={panel}] .count em").text_content(timeout=60_000)
    return int(text)


def words_of(page):
    """What the race says of itself."""
    return page.locator(".stage .words")


def wait_for_recording(page):
    page.wait_for_function("document.querySelector('.scrub').disabled === false", timeout=30_000)


WATCH = """() => {
  window.seen = { a: new Set(), b: new Set(), points: [], removed: 0, states: new Set() };
  for (const key of ['a', 'b']) {
    const image = document.querySelector(`[data-panel=${key}] img`);
    new MutationObserver(() => window.seen[key].add(image.src)).observe(image, {attributes: true});
  }
  new MutationObserver((changes) => changes.forEach((c) => c.removedNodes.forEach((n) => {
    if (n.nodeName === 'IMG') window.seen.removed++;
  }))).observe(document.querySelector('.panels'), {childList: true, subtree: true});
  window.watcher = setInterval(() => {
    window.seen.states.add(document.body.dataset.run);
    const data = document.querySelector('.plot').data || [];
    window.seen.points.push(data.slice(0, 2).map((trace) => trace.x.length));
  }, 30);
}"""


def test_a_recorded_race_plays_until_the_first_run(page):
    expect(page.locator(".badge")).to_be_visible(timeout=20_000)
    wait_for_recording(page)
    assert count(page, "b") == 100
    expect(page.locator(".legend .a")).to_be_visible()
    expect(page.get_by_role("button", name="Pin: ")).to_have_count(0)
    page.screenshot(path=ARTEFACTS / "opening.png", full_page=True)


def test_with_reduced_motion_the_recorded_race_is_there_at_once_and_can_be_looked_at(
    browser, address
):
    with visit(browser, address, still=True) as page:
        wait_for_recording(page)
        assert count(page, "b") == 100
        page.wait_for_function("document.querySelector('.plot.curve').data")
        assert dot(page, ".curve", "b", 3)


def test_a_race_streams_both_samplers_and_their_trajectories(page):
    choose_example(page, 1)
    slide(page, "NFE", 24)  # a quick machine tells of four moments a second only
    slide(page, "Baseline NFE", 30)
    before = page.locator("[data-panel=a] .frame").bounding_box()
    page.evaluate(WATCH)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    seen = page.evaluate("""() => {
      clearInterval(window.watcher);
      const s = window.seen;
      return { a: s.a.size, b: s.b.size, points: s.points, removed: s.removed };
    }""")
    assert seen["a"] >= 5, "the MR Sampler's panel changed fewer than five times"
    assert seen["b"] >= 5, "the baseline's panel changed fewer than five times"
    assert seen["removed"] == 0, "an image was replaced instead of updated: it flickers"
    final = page.evaluate("document.querySelector('.plot').data.map(t => t.x.length)")
    assert final[:2] == [25, 31], "x_T and one point an evaluation"
    run = [drawn for drawn in seen["points"] if len(drawn) == 2]
    grown = run[run.index(min(run, key=sum)) :]  # before it, the recorded race's
    assert grown == sorted(grown) and len({b for a, b in grown}) >= 3
    assert (count(page, "a"), count(page, "b")) == (24, 30)
    rows = page.locator(".results tbody tr")
    expect(rows).to_have_count(3)
    ours = re.compile(r"MR Sampler ODE d-2.*\b24\b.*\d\.\d\d", re.DOTALL)
    expect(rows.nth(1)).to_have_text(ours, use_inner_text=True, timeout=20_000)
    expect(page.locator("#outcome")).to_be_visible()
    assert page.locator("#slider img").count() >= 2
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name="Download the restored PNG").click()
    assert download.value.suggested_filename == "restored-noisy.png"
    expect(page.locator(".take .note")).to_have_text("Downloaded.")
    box = page.locator("[data-panel=a] .frame").bounding_box()
    assert (box["width"], box["height"]) == (before["width"], before["height"])
    page.screenshot(path=ARTEFACTS / "finished.png", full_page=True)


def run_briefly(page, nfe=4, baseline_nfe=6):
    choose_example(page, 1)
    slide(page, "NFE", nfe)
    slide(page, "Baseline NFE", baseline_nfe)
    page.locator("#run").click()
    wait_for_state(page, "finished")


@pytest.fixture(scope="module")
def finished_race(browser, address):
    with visit(browser, address) as page:
        run_briefly(page)
        yield page


@pytest.fixture
def raced(finished_race):
    """A page after a race of 4 and 6 NFE, for tests that only look at it, as it was at its end."""
    page = finished_race
    page.bring_to_front()
    page.mouse.move(0, 0)
    for part in ("[data-view=x]", "[data-dims='2']", "[data-against=nfe]", "[data-metric=psnr]"):
        page.locator(part).click()
    page.locator(".scrub").fill("6")
    page.wait_for_function("""() => {
      const [space, curve] = document.querySelectorAll('.plot');
      return space.data?.[0].type === 'scatter'
        && curve.layout?.xaxis.title.text.includes('NFE')
        && curve.layout.yaxis.title.text.includes('PSNR');
    }""")
    return page


def marks(page):
    """Where the dots of both plots are: those of the frame that is looked at."""
    return page.locator(".now circle:not(.ahead)").evaluate_all(
        "all => all.map(c => [c.getAttribute('cx'), c.getAttribute('cy')].join())"
    )


def test_the_scrubber_moves_panels_and_plots_without_a_run(raced):
    with noted(raced, "request") as asked:
        last = raced.locator("[data-panel=b] img").get_attribute("src")
        seen = set()
        for value in (*range(7), *range(6, -1, -1), *range(7)):
            raced.locator(".scrub").fill(str(value))
            assert (count(raced, "a"), count(raced, "b")) == (min(value, 4), value)
            seen.add(tuple(marks(raced)))
        assert len(seen) == 7, "the marks in the plots do not follow"
        assert len(marks(raced)) == 2 + 2 * 2, "one a sampler in each plot, the curve has two axes"
        raced.locator(".scrub").fill("2")
        assert raced.locator("[data-panel=b] img").get_attribute("src") != last
        raced.locator("[data-view=x0]").click()
        predicted = raced.locator("[data-panel=b] img").get_attribute("src")
        raced.locator("[data-view=x]").click()
        assert raced.locator("[data-panel=b] img").get_attribute("src") != predicted
        raced.locator("[data-dims='3']").click()
        raced.wait_for_function("document.querySelector('.plot').data?.[0].type === 'scatter3d'")
    # The finished pictures may still be on their way; a run would join the queue.
    assert [url for url in asked if re.search("/(queue|call|run)/", url)] == []


def test_in_space_the_current_points_are_large_and_what_lies_ahead_is_pale(raced):
    raced.locator("[data-dims='3']").click()
    raced.wait_for_function("document.querySelector('.plot').data?.[0].type === 'scatter3d'")
    current = """document.querySelector('.plot').data.slice(0, 2)
      .map(({ marker: { size } }) => size.indexOf(Math.max(...size)))"""
    for value in range(6, -1, -1):
        raced.locator(".scrub").fill(str(value))
        raced.wait_for_function(f"({current}).join() === '{min(value, 4)},{value}'")
    colours = raced.evaluate("""document.querySelector('.plot').data.slice(0, 2)
      .flatMap(t => [...t.line.color, ...t.marker.color.slice(1)])""")
    assert all(re.fullmatch(r"rgb\(\d+,\d+,\d+\)", colour) for colour in colours), "WebGL adds up"
    raced.screenshot(path=ARTEFACTS / "space.png", full_page=True)


MARKED = """() => [...document.querySelectorAll('.canvas')].map((canvas) => {
  const middle = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return [x + width / 2, y + height / 2];
  };
  return {
    marks: [...canvas.querySelectorAll('.now circle')].map(middle),
    dots: [...canvas.querySelectorAll('.points path')].map(middle),
  };
})"""


@pytest.mark.parametrize(
    "shown", ["metric=psnr", "metric=to_sample", "against=plane", "against=seconds"]
)
def test_the_marks_stand_where_plotly_draws_the_points(raced, shown):
    raced.locator(f"[data-{shown}]").click()
    raced.locator(".scrub").fill("3")
    raced.wait_for_timeout(500)  # plotly draws in several turns
    for plot in raced.evaluate(MARKED):
        assert len(plot["marks"]) > 2
        for mark in plot["marks"]:
            assert np.abs(np.subtract(plot["dots"], mark)).max(1).min() < 1


def test_the_plot_of_a_running_race_answers_the_pointer(page):
    choose_example(page, 1)
    slide(page, "NFE", 100)
    slide(page, "Baseline NFE", 100)
    page.locator("#run").click()
    wait_for_state(page, "running")
    page.wait_for_function("document.querySelector('.plot').data?.[1].x.length > 2")
    page.mouse.move(*dot(page, ".plot:not(.curve)", "b", 1))
    expect(page.locator(".plot:not(.curve) .hovertext")).to_contain_text("NFE 1")
    assert page.locator("body").get_attribute("data-run") == "running"
    page.locator("#stop").click()
    wait_for_state(page, "stopped")


def ticks(page):
    return page.locator(".curve .ytick text").all_text_contents()


def test_a_zoom_is_ruled_by_its_own_steps_and_undone_by_a_double_click(raced):
    whole = ticks(raced)
    assert len(whole) >= 2
    box = raced.locator(".curve .nsewdrag").first.bounding_box()
    middle, top = box["x"] + box["width"] / 2, box["y"] + 0.45 * box["height"]
    raced.mouse.move(middle, top)
    raced.mouse.down()
    raced.mouse.move(middle + 40, top + 30, steps=4)
    raced.mouse.up()
    raced.wait_for_timeout(300)
    zoomed = ticks(raced)
    assert len(zoomed) >= 2 and zoomed != whole
    raced.mouse.dblclick(middle, top)
    expect(raced.locator(".curve .ytick text")).to_have_text(whole)


def dot(page, plot, name, index):
    """Where a line's point is on the screen."""
    page.locator(plot).scroll_into_view_if_needed()
    return page.evaluate(
        """([plot, name, index]) => {
          const groups = [...document.querySelectorAll(`${plot} .scatterlayer .trace`)];
          const { data } = document.querySelector(`.plot${plot.replace('.plot', '')}`);
          const group = groups[data.findIndex((trace) => trace.name === name)];
          const point = group.querySelectorAll('.points path')[index];
          const { x, y, width, height } = point.getBoundingClientRect();
          return [x + width / 2, y + height / 2];
        }""",
        [plot, name, index],
    )


def test_what_is_pointed_at_in_one_plot_is_ringed_in_the_other(raced):
    flat, curve = ".plot:not(.curve)", ".curve"
    for plot, index, other, rings in ((flat, 3, curve, 2), (curve, 2, flat, 1)):
        place = dot(raced, plot, "b", index)
        raced.mouse.move(*place)
        raced.mouse.move(place[0] + 1, place[1])
        expect(raced.locator(f"{other} + .now .pointed")).to_have_count(rings)
        ring = raced.locator(f"{other} + .now .pointed").first.bounding_box()
        there = dot(raced, other, "b", {flat: 3, curve: 2}[other])  # NFE 3 in both
        assert ring["x"] + ring["width"] / 2 == pytest.approx(there[0], abs=1.5)
        assert ring["y"] + ring["height"] / 2 == pytest.approx(there[1], abs=1.5)
        expect(raced.locator(f"{plot} .pointed")).to_have_count(0)
        raced.mouse.move(5, 5)
        expect(raced.locator(".pointed")).to_have_count(0)


def lines(page, plot):
    """A plot's traces: name, axis, and the NFE of each point."""
    return page.locator(plot).evaluate("""plot => plot.data.filter(t => t.customdata)
      .map(t => [t.name, t.yaxis, t.customdata.map(note => note[0])])""")


def test_the_curves_show_distortion_and_perception_with_a_ring_for_the_sample(raced):
    ours, theirs, whole = [1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 6, 6], [1, 2, 3, 4, 6, 6]
    both = [["a", "y", ours], ["b", "y", theirs], ["a", "y2", ours], ["b", "y2", whole]]
    curve = ".curve"
    assert lines(raced, curve) == both
    raced.locator("[data-against=seconds]").click()
    raced.wait_for_function(
        "document.querySelector('.curve').layout.xaxis.title.text.includes('seconds')"
    )
    assert lines(raced, curve) == both
    raced.locator("[data-against=plane]").click()
    raced.wait_for_function(
        "document.querySelector('.curve').layout.xaxis.title.text.includes('PSNR')"
    )
    assert [(name, nfes) for name, _, nfes in lines(raced, curve)] == [("a", ours), ("b", whole)]
    raced.locator("[data-against=nfe]").click()
    raced.locator("[data-metric=to_sample]").click()
    raced.wait_for_function(
        "document.querySelector('.curve').layout.yaxis.title.text.includes('sample')"
    )
    assert lines(raced, curve) == [["a", "y", ours[:-1]], ["b", "y", whole[:-1]]]
    far = raced.locator(curve).evaluate("p => p.data[1].y")
    assert far[-1] < far[0]


@pytest.mark.parametrize("plot", [".plot:not(.curve)", ".curve"])
def test_a_click_on_a_point_shows_its_frame(raced, plot):
    index = {".curve": 2}.get(plot, 3)  # the curve has no point at x_T
    box = dot(raced, plot, "b", index)
    raced.mouse.move(*box)
    raced.mouse.click(*box)
    expect(raced.locator("[data-panel=b] .count em")).to_have_text("3")
    assert count(raced, "a") == 3


def test_step_before_a_run_starts_one_held_at_x_T_and_each_press_is_a_step(page):
    choose_example(page, 1)
    slide(page, "NFE", 100)  # long enough to look at while it runs
    slide(page, "Baseline NFE", 100)
    page.get_by_role("button", name="One step on").click()
    page.wait_for_function(
        "+document.querySelector('.scrub').max >= 4 && document.body.dataset.run === 'running'",
        timeout=60_000,
    )
    assert count(page, "b") == 0
    expect(page.locator(".held")).to_be_visible()
    for nfe in (1, 2):
        page.get_by_role("button", name="One step on: 1 NFE each").click()
        assert count(page, "b") == nfe
    page.keyboard.press("ArrowRight")
    assert count(page, "b") == 3
    page.keyboard.press("ArrowLeft")
    assert count(page, "b") == 2
    page.screenshot(path=ARTEFACTS / "held.png")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")  # plays on, to what is newest
    newest = "+document.querySelector('[data-panel=b] em').textContent === +scrub.max"
    page.wait_for_function(f"(scrub => {newest})(document.querySelector('.scrub'))")
    expect(page.locator(".held")).to_be_hidden()
    page.locator("#stop").click()
    wait_for_state(page, "stopped")
    page.wait_for_function(f"(scrub => {newest})(document.querySelector('.scrub'))")
    reached = count(page, "b")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")  # from the start again
    page.wait_for_function(f"+document.querySelector('[data-panel=b] em').textContent < {reached}")


def test_a_pinned_line_stays_while_settings_change_and_leaves_with_its_photo(page):
    run_briefly(page, 3, 4)
    page.get_by_role("button", name="Pin: MR Sampler ODE d-2, 3 NFE").click()
    expect(page.locator(".legend .p1")).to_contain_text("MR Sampler ODE d-2 \u00b7 3 NFE")
    pick(page, "Sampler", "euler")
    slide(page, "NFE", 4)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    assert {name for name, *_ in lines(page, ".plot:not(.curve)")} == {"p1", "a", "b"}
    assert lines(page, ".curve")[0] == ["p1", "y", [1, 2, 3, 3]]
    slide(page, "NFE", 1)
    slide(page, "Baseline NFE", 1)
    page.locator("#run").click()
    wait_for_state(page, "running", "waiting")
    wait_for_state(page, "finished")
    ahead = page.locator(".plot:not(.curve) + .now .ahead")
    expect(ahead).to_have_count(0)
    page.locator(".scrub").fill("0")
    expect(ahead).to_have_count(1 + 1 + 3)  # two short lines of this race, and the pinned one
    page.screenshot(path=ARTEFACTS / "pinned.png", full_page=True)
    choose_example(page, 2)
    expect(words_of(page)).to_contain_text("Lines pinned on another photo are hidden")
    expect(page.locator(".legend .p1")).to_have_count(0)
    choose_example(page, 1)
    expect(page.locator(".legend .p1")).to_be_visible()
    with page.expect_response(ASKED):
        page.get_by_role("button", name="\u00d7: MR Sampler ODE d-2, 3 NFE").click()
    expect(page.locator(".legend .p1")).to_have_count(0)


def test_a_run_can_be_taken_away_and_its_link_opens_its_settings(page, address, browser, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pick(page, "Sampler", "heun")
    run_briefly(page, 4, 3)
    for kind, start in (("webp", b"RIFF"), ("npz", b"PK"), ("json", b"{")):
        with page.expect_download(timeout=30_000) as download:
            page.locator(f"[data-kind={kind}]").click()
        assert download.value.suggested_filename == f"race-noisy.{kind}"
        download.value.save_as(tmp_path / kind)
        assert (tmp_path / kind).read_bytes().startswith(start)

    def copied(name):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(".take .note")).to_contain_text("Copied.")
        return page.evaluate("navigator.clipboard.readText()")

    assert "solver='heun'" in copied("Python")
    assert "--solver heun --nfe 4" in copied("command")
    link = copied("link")
    assert link.startswith(f"{address}?")
    query = link.split("?")[1].replace("spacing=blend", "spacing=karras") + "&severity=3"
    with visit(browser, address, link=query) as other:
        expect(other.locator(".toast-body")).to_contain_text("severity=3", timeout=20_000)
        expect(other.get_by_label("Sampler", exact=True)).to_have_value("heun")
        expect(other.get_by_label("number input for NFE", exact=True)).to_have_value("4")
        expect(other.get_by_label("number input for Baseline NFE", exact=True)).to_have_value("3")
        expect(other.locator("button[data-index='1']").first).to_have_attribute(
            "aria-pressed", "true"
        )
        other.get_by_role("button", name="Advanced").click()
        expect(other.get_by_label("Spacing", exact=True)).to_have_value("karras")


def test_what_changed_before_the_advanced_controls_were_opened_is_in_them(page):
    slide(page, "NFE", 77)
    expect(detail(page, "Sampler")).to_contain_text(": 77 steps")
    more = page.get_by_role("button", name="Advanced")
    expect(page.get_by_label("Spacing", exact=True)).to_be_hidden()
    more.click()
    expect(more).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_label("Spacing", exact=True)).to_have_value("blend")


def pick(page, label, value):
    """Picks a solver, and waits until the others have followed."""
    with page.expect_response(ASKED):
        page.get_by_label(label, exact=True).select_option(value)


def detail(page, label):
    """The line under a menu."""
    return page.locator(f"#menu-{label.lower()}-detail")


def test_the_solver_menus_are_grouped_by_family_with_what_a_step_costs(page):
    families = dict.fromkeys(
        s.family for s in SOLVERS.values() if issubclass(MeanRevertingSDE, s.processes)
    )
    for label in ("Sampler", "Baseline"):
        menu = page.get_by_label(label, exact=True)
        headings = menu.locator("optgroup").evaluate_all("all => all.map(g => g.label)")
        assert headings == list(families)
        assert "Langevin" not in headings, "it is not defined on this process"
        texts = menu.locator("option").all_text_contents()
        assert "Heun: Heun for the PF-ODE, in \u03c3/\u03b1 \u00b7 2 NFE a step" in texts
        assert all(re.search(r"NFE a step$|chooses its steps$", text) for text in texts)
    expect(detail(page, "Sampler")).to_have_text(re.compile("order 2. 1 NFE a step: 8 steps.$"))
    expect(detail(page, "Baseline")).to_contain_text("On uniform-t, its usual spacing.")


def test_no_nfe_can_be_set_that_a_solver_cannot_have(page):
    box = page.get_by_label("number input for NFE", exact=True)
    slide(page, "NFE", 2)
    pick(page, "Sampler", "pndm")
    expect(box).to_have_value("4")
    expect(box).to_have_attribute("min", "4")
    expect(detail(page, "Sampler")).to_have_text(re.compile("4, 4, 4, then 1 NFE a step: 1 step.$"))
    pick(page, "Sampler", "heun")  # 2 again, as it was set
    expect(box).to_have_value("2")
    slide(page, "NFE", 9)
    expect(detail(page, "Sampler")).to_have_text(
        re.compile("2 NFE a step: 4 steps, 1 NFE left over.$")
    )
    pick(page, "Sampler", "rk45")
    expect(box).to_have_attribute("max", "200")
    expect(box).to_have_value("200")
    pick(page, "Sampler", "mrs-sde-d-2")
    expect(box).to_have_value("9")
    expect(box).to_have_attribute("max", "100")


def test_the_solver_is_picked_by_keyboard(page):
    menu = page.get_by_label("Sampler", exact=True)
    menu.focus()
    page.keyboard.type("heu")
    expect(menu).to_have_value("heun")
    page.keyboard.press("ArrowDown")
    told = choices.explained("adams-moulton-3", choices.NFE, MeanRevertingSDE())
    expect(detail(page, "Sampler")).to_have_text(told)  # the server has answered
    expect(menu).to_have_value("adams-moulton-3")
    expect(menu.locator("xpath=following-sibling::span")).to_have_text("Adams\u2013Moulton 3")


def test_the_spacings_are_those_that_the_run_can_take(page):
    page.get_by_role("button", name="Advanced").click()
    restorer, menu = load(), page.get_by_label("Spacing", exact=True)

    def listed():
        return menu.locator("option").evaluate_all("all => all.map(option => option.value)")

    for nfe in (8, 9, 77):
        slide(page, "NFE", nfe)
        expect(detail(page, "Sampler")).to_contain_text(f": {nfe} steps")
        expect(menu.locator("option")).to_have_count(len(restorer.spacings("mrs-ode-d-2", nfe)))
        assert listed() == list(restorer.spacings("mrs-ode-d-2", nfe))
    menu.select_option("karras")
    expect(detail(page, "Spacing")).to_contain_text("\u03c1")
    pick(page, "Sampler", "posterior-published")
    expect(menu).to_be_disabled()
    expect(detail(page, "Spacing")).to_have_text(
        "No effect: Posterior, published always takes unit steps."
    )
    pick(page, "Sampler", "rk45")
    expect(detail(page, "Spacing")).to_have_text("No effect: RK45 chooses its own steps.")
    pick(page, "Sampler", "heun")
    expect(menu).to_be_enabled()
    expect(menu).to_have_value("karras")


def test_a_spacing_picked_before_a_late_answer_stays(page):
    choose_example(page, 1)
    page.get_by_role("button", name="Advanced").click()
    menu, held = page.get_by_label("Spacing", exact=True), []
    expect(menu).to_have_value("optimised")
    page.route(ASKED, lambda route: held.append(route))
    with page.expect_request(ASKED):
        slide(page, "NFE", 77)
    menu.select_option("karras")
    assert held, "nothing was asked"
    for route in held.copy():
        route.continue_()
    page.unroute(ASKED)
    expect(menu.locator("option")).to_have_count(len(load().spacings("mrs-ode-d-2", 77)))
    expect(menu).to_have_value("karras")
    slide(page, "NFE", 2)
    slide(page, "Baseline NFE", 2)
    expect(detail(page, "Sampler")).to_contain_text(": 2 steps")
    page.locator("#run").click()
    wait_for_state(page, "finished")
    expect(page.locator(".results")).to_contain_text("mrs-ode-d-2, karras")


def test_the_default_spacing_follows_the_nfe_until_one_is_picked(page):
    choose_example(page, 1)
    page.get_by_role("button", name="Advanced").click()
    menu = page.get_by_label("Spacing", exact=True)
    for nfe, value in ((77, "blend"), (8, "optimised"), (77, "blend")):
        slide(page, "NFE", nfe)
        expect(menu).to_have_value(value)
        expect(menu.locator("xpath=following-sibling::span")).to_have_text(value)
    pick(page, "Sampler", "euler")
    slide(page, "NFE", 2)
    slide(page, "Baseline NFE", 2)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    expect(page.locator(".results")).to_contain_text("euler, blend")


def test_arrow_keys_ask_the_server_once_and_run_takes_the_last_pick(page):
    choose_example(page, 1)
    slide(page, "NFE", 2)
    slide(page, "Baseline NFE", 2)
    expect(detail(page, "Baseline")).to_contain_text(": 2 steps")
    menu = page.get_by_label("Sampler", exact=True)
    with noted(page, "request") as sent:
        menu.select_option("euler")
        menu.focus()
        for _ in range(4):
            page.keyboard.press("ArrowUp")
        told = choices.explained(menu.input_value(), 2, MeanRevertingSDE())
        expect(detail(page, "Sampler")).to_have_text(told)
    assert len([url for url in sent if ASKED.search(url)]) == 1
    menu.select_option("heun")
    page.locator("#run").click()
    wait_for_state(page, "finished")
    expect(page.locator("[data-panel=a] b")).to_have_text("Heun")
    expect(page.locator("#menu-sampler-detail")).to_have_attribute("aria-live", "polite")


def test_a_sampler_that_leaves_some_nfe_is_done(page):
    choose_example(page, 1)
    pick(page, "Sampler", "heun")
    pick(page, "Baseline", "euler-published")
    slide(page, "NFE", 5)
    slide(page, "Baseline NFE", 3)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    for panel, counted in (("a", "4 / 5 NFE"), ("b", "3 / 3 NFE")):
        expect(page.locator(f"[data-panel={panel}] .count")).to_have_text(
            re.compile(f"^{counted}.*done$")
        )
    expect(page.locator("[data-panel=a] b")).to_have_text("Heun")
    expect(page.locator(".results")).to_contain_text("heun, ")
    step = page.locator("button.step")
    for index, costs in (
        (0, "Heun 2 NFE, Euler, published 1 NFE"),
        (2, "Euler, published 1 NFE"),
        (3, ""),
    ):
        page.locator(".scrub").fill(str(index))
        said = f"One step on{': ' * bool(costs)}{costs}"
        expect(step).to_have_attribute("aria-label", said)


def test_an_adaptive_sampler_with_too_few_nfe_says_what_it_needs(page):
    choose_example(page, 1)
    pick(page, "Sampler", "rk45")
    expect(page.get_by_label("number input for NFE", exact=True)).to_have_value("200")
    slide(page, "NFE", 20)
    slide(page, "Baseline NFE", 2)
    page.locator("#run").click()
    wait_for_state(page, "failed")
    expect(words_of(page)).to_have_text(
        re.compile("RK45 at tolerance 0.0001 spent its 20.*Give it more NFE, or race another")
    )
    expect(page.locator(".toast-body")).to_have_count(0)  # it is said once
    expect(page.locator(".stage")).to_have_attribute("data-state", "failed")
    expect(page.locator("[data-panel=b] .count")).to_have_text(re.compile("^2 / 2 NFE.*done$"))
    page.screenshot(path=ARTEFACTS / "failed.png", full_page=True)


SCRUBBED = """() => {
  const scrub = document.querySelector('.scrub');
  const image = document.querySelector('[data-panel=a] img');
  return [...Array(+scrub.max + 1).keys()].map((index) => {
    scrub.value = index;
    scrub.dispatchEvent(new Event('input', { bubbles: true }));
    return image.src;
  });
}"""


def test_every_frame_has_a_picture_while_a_race_runs_and_its_own_once_it_is_over(page):
    choose_example(page, 1)
    slide(page, "NFE", 40)
    page.locator("#run").click()
    page.wait_for_function(
        "+document.querySelector('.scrub').max >= 20 && document.body.dataset.run === 'running'",
        timeout=60_000,
    )
    running = page.evaluate(SCRUBBED)
    assert all(source.startswith("data:image/jpeg") for source in running)
    wait_for_state(page, "finished")
    page.wait_for_selector("body[data-outcome=there]", timeout=60_000)
    sources = page.evaluate(SCRUBBED)[:41]
    assert len(set(sources)) == 41 and all(s.startswith("data:image/jpeg") for s in sources)


def test_stop_ends_a_long_run_within_two_evaluations(page, tmp_path):
    # So large a photo that a step takes longer than the quarter of a second between two updates,
    # on a quick machine, too: what the page shows at the click is what there is.
    Image.effect_noise((512, 512), 50).convert("RGB").save(tmp_path / "large.png")
    page.set_input_files("input[type=file]", tmp_path / "large.png")
    page.wait_for_function("document.querySelector('[data-panel=truth].unknown')", timeout=20_000)
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("512", exact=True).check()
    slide(page, "NFE", 100)
    page.locator("#run").click()
    page.wait_for_function(
        "+(document.querySelector('[data-panel=a] .count em')?.textContent || 0) >= 7"
        " && document.body.dataset.run === 'running'",
        timeout=60_000,
    )
    at_click = page.evaluate("""() => {
      const reached = +document.querySelector('[data-panel=a] .count em').textContent;
      document.querySelector('#stop').click();
      return reached;
    }""")
    wait_for_state(page, "stopped", timeout=30_000)
    # The click's own way to the server is the time of part of an evaluation.
    assert count(page, "a") <= at_click + 2
    expect(words_of(page)).to_contain_text("Stopped")
    expect(page.locator("#run")).to_be_visible()
    assert page.locator("[data-panel=a] img").get_attribute("src").startswith("data:image/jpeg")
    page.wait_for_selector("body[data-outcome=there]", timeout=60_000)
    reached = count(page, "a")
    expect(page.locator(".take .note")).to_contain_text(f"Stopped at {reached} NFE")
    # Of the sixth and the ninth all is measured, and of where it was stopped.
    page.wait_for_function(
        """reached => document.querySelector('.curve').data?.find((t) => t.name === 'a')
        .customdata.at(-1)[0] === reached""",
        arg=reached,
    )
    expect(page.get_by_role("button", name="command", exact=True)).to_be_disabled()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Python", exact=True).click()
    expect(page.locator(".take .note")).to_contain_text("Copied.")
    assert f"step.nfe == {reached}" in page.evaluate("navigator.clipboard.readText()")
    page.screenshot(path=ARTEFACTS / "stopped.png", full_page=True)


def test_run_takes_back_what_was_said_of_the_recorded_race_at_once(page):
    wait_for_recording(page)
    page.evaluate("""() => {
      const words = document.querySelector('.stage .words');
      const badge = document.querySelector('.badge');
      window.said = [];
      new MutationObserver(() => window.said.push([words.textContent, badge.hidden]))
        .observe(words, { childList: true });
    }""")
    slide(page, "NFE", 1)
    slide(page, "Baseline NFE", 1)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    assert page.evaluate("window.said[0]") == ["Starting…", True]


def test_a_running_race_keeps_what_is_below_it_in_its_place(page):
    run_briefly(page)
    page.wait_for_selector("body[data-outcome=there]", timeout=60_000)
    page.locator("#slider img").last.wait_for()
    slide(page, "Baseline NFE", 100)
    where = """() => [...document.querySelectorAll('.frame, .scrubber, .legend, .plots, #outcome')]
      .map((e) => Math.round(e.getBoundingClientRect().top + window.scrollY)).join()"""
    page.evaluate(f"""() => {{
      window.places = new Set();
      const look = () => {{ window.places.add(({where})()); requestAnimationFrame(look); }};
      look();
    }}""")
    height = page.evaluate("document.documentElement.scrollHeight")
    page.locator("#run").click()
    page.wait_for_function(
        "+(document.querySelector('[data-panel=b] .count em')?.textContent || 0) >= 5"
        " && document.body.dataset.run === 'running'"
    )
    page.wait_for_function(
        "document.querySelector('.plot').data?.[1].x.length > 5"
        " && document.body.dataset.run === 'running'",
        timeout=60_000,
    )
    expect(page.locator("body")).to_have_attribute("data-outcome", "old")
    assert page.evaluate("document.querySelector('#outcome').inert"), "it is of the run before"
    assert page.evaluate("document.documentElement.scrollHeight") >= height
    assert len(page.evaluate("[...window.places]")) == 1, "something has jumped"
    page.screenshot(path=ARTEFACTS / "running.png", full_page=True)
    page.locator("#stop").click()
    wait_for_state(page, "stopped")


def test_one_who_waits_sees_the_place_in_the_line_and_the_photo(page, address, browser):
    slide(page, "NFE", 100)
    page.locator("#run").click()
    wait_for_state(page, "running")
    with visit(browser, address) as other:
        choose_example(other, 2)
        shown = "getComputedStyle(document.querySelector('.a .frame'), '::before').backgroundImage"
        assert "data:image/jpeg" in other.evaluate(shown), "a fresh photo's panels are blank"
        pick(other, "Baseline", "heun")
        other.locator("#run").click()
        wait_for_state(other, "waiting")
        expect(words_of(other)).to_contain_text("1 visitor is ahead of you")
        expect(other.locator("[data-panel=b] b")).to_have_text("Heun")
        expect(other.locator(".badge")).to_be_hidden()
        expect(other.locator("#stop")).to_be_visible()
        assert "data:image/jpeg" in other.evaluate(shown)
        other.screenshot(path=ARTEFACTS / "waiting.png", full_page=True)
        other.locator("#stop").click()
        wait_for_state(other, "stopped")
        expect(words_of(other)).to_have_text("Stopped before it began.")
    page.locator("#stop").click()
    wait_for_state(page, "stopped")


def test_a_run_that_cannot_start_says_why_once_and_leaves_the_one_before(page):
    run_briefly(page)
    seed = page.get_by_label("Seed", exact=True)
    seed.fill("-5")
    page.locator("#run").click()
    expect(page.locator(".stage")).to_have_attribute("data-state", "refused", timeout=20_000)
    expect(words_of(page)).to_have_text(
        "seed must be a whole number from 0 to 9007199254740992; got -5."
    )
    expect(page.locator(".toast-body")).to_have_count(0)
    assert (count(page, "a"), count(page, "b")) == (4, 6)
    assert "Traceback" not in (ARTEFACTS / "app.log").read_text(encoding="utf-8")
    page.screenshot(path=ARTEFACTS / "refused.png", full_page=True)


def test_every_kind_of_control_shows_the_keyboard_where_it_is(page):
    wait_for_recording(page)
    page.keyboard.press("Tab")  # from here on it is the keyboard's
    for control in (
        page.get_by_label("range slider for NFE", exact=True),
        page.get_by_label("number input for NFE", exact=True),
        page.get_by_label("Seed", exact=True),
        page.get_by_label("already damaged"),
        page.get_by_label("Sampler", exact=True),
        page.get_by_label("Task", exact=True),
        page.get_by_role("button", name="New seed"),
        page.locator("#run"),
        page.locator(".scrub"),
        page.get_by_role("tab", name="Compare"),
        page.locator("button.theme"),
    ):
        control.focus()
        expect(control).to_have_css("outline-style", "solid")
        expect(control).to_have_css("outline-width", "2px")
    page.get_by_role("tab", name="Stability").click()
    page.get_by_label("Solver", exact=True).focus()
    box = page.locator("#stability .wrap-inner:has(input:focus)")
    assert box.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_every_button_says_what_it_changes(page):
    mute = page.locator("#restore button:visible, button.theme").evaluate_all(
        "all => all.filter(b => !b.title && !b.dataset.title)"  # plotly's, which draws it itself
        ".map(b => b.outerHTML.slice(0, 120))"
    )
    assert mute == []


def test_on_a_phone_the_race_comes_soon_and_the_tabs_keep_their_order(address, browser):
    with visit(browser, address, width=390, height=844) as page:
        for label in ("Severity", "Baseline NFE"):
            expect(page.get_by_label(f"number input for {label}", exact=True)).to_be_hidden()
        for label in ("Task", "Sampler", "number input for NFE"):
            expect(page.get_by_label(label, exact=True)).to_be_visible()
        assert page.locator(".panels").bounding_box()["y"] < 760, "the race begins out of sight"
        page.get_by_role("button", name="Advanced").click()
        expect(page.get_by_label("number input for Baseline NFE", exact=True)).to_be_visible()
        tabs = page.locator(".tabs").first.get_by_role("tab")
        before = tabs.all_text_contents()
        page.get_by_role("tab", name="How it works").click()
        expect(page.locator("#theory")).to_be_visible()
        assert tabs.all_text_contents() == before and before[-1] == "About"
        expect(page.get_by_role("button", name="More tabs")).to_be_hidden()


def test_a_file_that_is_no_picture_gets_a_sentence_and_the_page_goes_on(page, tmp_path):
    fake = tmp_path / "holiday.png"
    fake.write_text("this is no picture", encoding="utf-8")
    page.set_input_files("input[type=file]", fake)
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text("not a picture that can be read", timeout=20_000)
    page.screenshot(path=ARTEFACTS / "bad-file.png", full_page=True)
    choose_example(page, 2)
    slide(page, "NFE", 1)
    slide(page, "Baseline NFE", 1)
    page.locator("#run").click()
    wait_for_state(page, "finished")


def test_a_photo_of_ones_own_is_taken_as_damaged_and_has_no_score(page):
    page.set_input_files("input[type=file]", ROOT / "assets" / "examples" / "noisy.jpg")
    page.wait_for_function("document.querySelector('[data-panel=truth].unknown')", timeout=20_000)
    slide(page, "NFE", 2)
    slide(page, "Baseline NFE", 2)
    page.locator("#run").click()
    wait_for_state(page, "finished")
    results = page.locator(".results")
    expect(results).to_contain_text("unknown", use_inner_text=True)
    page.set_viewport_size({"width": 390, "height": 800})
    assert results.evaluate("(e) => e.getBoundingClientRect().right <= window.innerWidth")
    assert page.locator("[data-panel=a] .score").inner_text().strip() == ""
    # Without a truth the curve shows what needs none.
    expect(page.locator("[data-metric=psnr]")).to_be_hidden()
    assert lines(page, ".curve") == [["a", "y", [1, 2]], ["b", "y", [1, 2]]]


def test_run_pressed_right_after_choosing_a_photo_keeps_its_race(page):
    wait_for_recording(page)
    page.locator("button[data-index='3']").click()
    page.locator("#run").click()
    page.wait_for_function(
        "+(document.querySelector('[data-panel=b] .count em')?.textContent || 0) >= 5"
        " && document.body.dataset.run === 'running'",
        timeout=60_000,
    )
    assert page.evaluate("document.querySelector('#knobs').inert"), "the controls are not locked"
    page.locator("#stop").click()
    wait_for_state(page, "stopped")
    frames = int(page.locator(".scrub").get_attribute("max"))
    page.locator(".scrub").fill("0")
    assert (frames >= 5, count(page, "b")) == (True, 0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_fits_its_window_in_both_themes(address, browser, width, theme):
    with visit(browser, address, theme, width=width, height=900) as page:
        expect(page.locator(".badge")).to_be_visible(timeout=20_000)
        wait_for_recording(page)
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "the page scrolls sideways"
        run = page.locator("#run").bounding_box()
        assert run["y"] + run["height"] <= 900, "Run is out of sight"
        page.screenshot(path=ARTEFACTS / f"page-{width}-{theme}.png", full_page=True)
