"""The Playground tab: what the browser is told, what is refused, and the tab in a browser."""

import base64
import json
import math
import re

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from chromium import ARTEFACTS, UNEXPLAINED, launched, noted, opened, served
from playwright.sync_api import expect

from mrsampler import SOLVERS
from mrsampler.particles import FRAMES
from mrsampler.playground import DENSITIES
from mrsampler.run import RefusedError
from mrsampler.ui import page as whole_page
from mrsampler.ui.parts import choices
from mrsampler.ui.playground import tab as playground
from mrsampler.ui.playground.tab import (
    ACROSS,
    DEFAULTS,
    DRAWN,
    LESSONS,
    MOST_POINTS,
    PROCESSES,
    SIDE,
    errors,
    read,
    rivals,
    simulate,
)


def answer(**settings):
    told = simulate(DEFAULTS | settings)
    assert "error" not in told, told
    return told


def positions(told, who):
    """(frames, n, 2) as the browser decodes them; nan for a particle that is nowhere."""
    raw = np.frombuffer(base64.b64decode(told[who]["x"]), "<i2").reshape(-1, told["count"], 2)
    return np.where(raw == -32768, np.nan, raw / 32767 * told["reach"])


def lesson(title):
    return next(x for x in LESSONS if x.title == title).whole


def test_the_particles_are_those_of_the_library_to_a_ten_thousandth_of_the_picture():
    told, some = answer(nfe=6), read(DEFAULTS | {"nfe": 6}).particles
    steps = list(some.steps("mrs-ode-d-2", 6, spacing="blend"))
    half_a_unit = told["reach"] / 32767 / 2
    for who, runs in (("sampler", steps), ("exact", some.flow)):
        exact = torch.stack([step.x for step in runs]).numpy()
        np.testing.assert_allclose(positions(told, who), exact, atol=1.01 * half_a_unit)
    assert half_a_unit < 1e-4 * told["half"][-1] * 2
    assert told["sampler"]["nfe"] == [0, 1, 2, 3, 4, 5, 6]


def test_both_start_at_one_x_T_and_their_clock_is_time():
    told = answer(nfe=9, spacing="uniform-t")
    np.testing.assert_array_equal(positions(told, "sampler")[0], positions(told, "exact")[0])
    at, times = told["sampler"]["at"], told["t"]
    assert (at[0], at[-1], len(times)) == (0, FRAMES, FRAMES + 1)
    assert np.interp(at, range(FRAMES + 1), times) == pytest.approx(np.linspace(100, 0, 10))


@pytest.mark.parametrize("process", PROCESSES)
def test_every_solver_of_every_process_has_an_answer_in_plain_json(process):
    for solver in choices.offered(PROCESSES[process]):
        for nfe in {choices.bounds(solver, PROCESSES[process])[0], 13}:
            told = simulate(
                {"density": "two Gaussians", "process": process, "solver": solver, "nfe": nfe}
                | {"particles": 20}
            )
            assert told.keys() >= {"say", "fields"}, (solver, nfe, told)
            json.dumps(told, allow_nan=False)


def test_the_fields_are_the_density_and_the_score_of_each_moment():
    told = answer(density="two Gaussians")
    fields, some = told["fields"], read(DEFAULTS | {"density": "two Gaussians"}).particles
    assert fields["count"] == len(told["t"][:: fields["every"]]) == len(fields["half"])
    pictures = np.frombuffer(base64.b64decode(fields["pictures"]), np.uint8)
    last = pictures.reshape(-1, SIDE, SIDE)[-1]
    row, column = np.unravel_index(last.argmax(), last.shape)
    # Rows come from above: the larger mode, at (0.75, 0.75), is above and to the right.
    pixel = 2 * fields["half"][-1] / SIDE
    assert (column + 0.5) * pixel - fields["half"][-1] == pytest.approx(0.75, abs=pixel)
    assert fields["half"][-1] - (row + 0.5) * pixel == pytest.approx(0.75, abs=pixel)
    arrows = np.frombuffer(base64.b64decode(fields["arrows"]), np.int8)
    arrows = arrows.reshape(-1, ACROSS, ACROSS, 2)[10].astype(float)
    t, half = told["t"][10 * fields["every"]], fields["half"][10]
    for row, column in ((2, 3), (12, 9)):
        x = (torch.tensor([[column, row]]).double() + 0.5) * 2 * half / ACROSS - half
        y = x - some.anchor[:1]
        alpha, sigma = some.process.alpha(t), some.process.sigma(t)
        score = (alpha * some.mixture.data(y, alpha, sigma) - y)[0].numpy()  # up to a factor
        arrow = arrows[row, column]
        cosine = arrow @ score / np.linalg.norm(arrow) / np.linalg.norm(score)
        # An arrow is rounded to 1/127: within about a degree where it is not short.
        assert cosine > math.cos(math.radians(3)), (arrow, score)


def test_particles_that_are_nowhere_or_far_away_are_clipped_and_counted():
    packed = playground._packed(torch.tensor([[[math.nan, 1.0], [1e300, -math.inf]]]), 8.0)
    raw = np.frombuffer(base64.b64decode(packed), "<i2").tolist()
    assert raw == [-32768, 4096, 32767, -32767]
    told = answer(**lesson("Overshoot"))
    lost = (np.abs(positions(told, "sampler")[-1]) > told["half"][-1]).any(1).sum()
    assert told["say"].startswith(f"{lost} of 300 particles have left the picture")


def test_the_camera_shows_nearly_all_of_the_exact_particles_at_every_moment():
    for process in PROCESSES:
        told = answer(process=process, solver="mrs-sde-d-2", mu=[0.5, 0.0])
        inside = np.abs(positions(told, "exact")).max(2) < np.array(told["half"])[:, None]
        assert inside.mean(1).min() > 0.95, process


def test_an_adaptive_solver_with_too_few_evaluations_keeps_what_it_reached():
    told = answer(solver="rk45", nfe=20)
    assert told["say"].startswith("RK45 at tolerance 0.0001 spent its 20 evaluations")
    assert 1 < len(told["sampler"]["at"]) < 20 and told["sampler"]["at"][-1] < FRAMES


def test_a_published_solver_is_told_to_cover_part_of_the_way():
    assert "8 of the 100 units" in answer(solver="euler-published")["say"]
    assert "units" not in answer(solver="euler-published", nfe=100)["say"]


def test_a_stochastic_solver_is_set_beside_exact_paths_of_its_own():
    told = answer(solver="mrs-sde-d-2", nfe=30)
    assert told["paired"] is False
    assert "energy distance" in told["sampler"]["score"]
    assert told["exact"]["note"] == "forward paths, played backwards"


# --- what the ready-made scenes claim ----------------------------------------------------------


def test_a_single_evaluation_takes_every_particle_to_the_mean_where_there_is_no_data():
    end = positions(answer(**lesson("Only one")), "sampler")[-1]
    assert np.linalg.norm(end, axis=1).max() < 0.3, "the ring's radius is 0.9"


def test_steps_equal_in_t_overshoot_and_lowering_the_order_stops_it():
    scene = read(DEFAULTS | lesson("Overshoot"))
    some, times = scene.particles, [100 - 20 * i for i in range(6)]
    gaps = np.diff([some.process.lam(t) for t in times])
    assert gaps[-1] > 1.8 * gaps[:-1].max(), "the last step is by far the longest"
    wild = some.errors("mrs-ode-d-3", (5,), **scene.settings)[0].error
    tame = some.errors("mrs-ode-d-3", (5,), **(scene.settings | {"lower_order_final": True}))
    assert wild > 3 * tame[0].error


def test_fresh_noise_takes_particles_elsewhere_and_fills_the_same_density():
    scene = read(DEFAULTS | lesson("Fresh noise"))
    *_, last = scene.particles.steps(scene.solver, scene.nfe, **scene.settings)
    assert scene.particles.error(last.x, stochastic=True) < scene.particles.chance
    assert scene.particles.error(last.x, stochastic=False) > 0.5


def test_annealed_langevin_finds_the_modes_weights_and_one_level_does_not():
    shares = [
        int(re.match(r"(\d+) % of the particles", answer(**lesson(title))["say"])[1])
        for title in ("Langevin, annealed", "Langevin, one level")
    ]
    assert abs(shares[0] - 80) < 15 < 20 < abs(shares[1] - 80)


def test_eight_evaluations_end_near_the_exact_flow():
    told = answer(**lesson("Eight evaluations"))
    assert told["sampler"]["label"] == "MR Sampler ODE d-2"
    gap = positions(told, "sampler")[-1] - positions(told, "exact")[-1]
    rms = np.sqrt((gap**2).sum(1).mean())
    assert told["sampler"]["score"] == f"RMS distance to exact {rms:.2g}"
    assert rms < 0.1


@pytest.mark.parametrize("index", range(len(LESSONS)))
def test_every_scene_sets_every_knob(index):
    whole = LESSONS[index].whole
    assert set(whole) == set(DEFAULTS) - {"points", "seed"}
    read(DEFAULTS | whole)
    updates = playground._learn(type("Event", (), {"index": index}))
    assert len(updates) == len(playground.KNOBS)  # without the seed, with Langevin's column


# --- the error against NFE -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "expected"),
    [
        ("mrs-ode-d-2", ["mrs-ode-n-2", "ddim"]),
        ("mrs-ode-n-3", ["mrs-ode-d-3", "mrs-ode-d-2"]),
        ("mrs-sde-d-1", ["mrs-sde-n-1", "mrs-sde-d-2"]),
        ("mrs-ode-d-3-published", ["mrs-ode-n-3-published", "mrs-ode-d-2"]),
        ("unipc-bh2-d-2", ["unipc-bh2-n-2", "mrs-ode-d-2"]),
        ("ddim", ["mrs-ode-d-2", "mrs-ode-n-2"]),
        ("heun", ["mrs-ode-d-2", "ddim"]),
        ("posterior", ["mrs-sde-d-2", "euler-maruyama"]),
        ("langevin", ["mrs-sde-d-2", "posterior"]),
    ],
)
def test_a_solver_is_set_beside_its_twin_and_a_usual_one(solver, expected):
    assert rivals(solver) == expected
    assert {SOLVERS[name].stochastic for name in expected} == {SOLVERS[solver].stochastic}


def test_the_errors_are_measured_and_drawn():
    told = errors(DEFAULTS | {"nfe": 8})
    figure = go.Figure(told["figure"]["data"], told["figure"]["layout"])
    assert [trace.name for trace in figure.data] == [
        "MR Sampler ODE d-2",
        "MR Sampler ODE n-2",
        "DDIM",
    ]
    some = read(DEFAULTS).particles
    measured = some.errors("mrs-ode-d-2", (8,), spacing="blend")[0]
    drawn = dict(zip(figure.data[0].x, figure.data[0].y, strict=True))
    assert drawn[8] == pytest.approx(measured.error)
    assert (
        f"At 8 NFE, RMS distance to exact: MR Sampler ODE d-2 {measured.error:.2g}" in told["say"]
    )


def test_the_errors_of_a_stochastic_solver_come_with_what_exact_samples_score():
    told = errors(DEFAULTS | {"solver": "mrs-sde-d-2", "nfe": 50})
    assert told["figure"]["layout"]["annotations"][0]["text"] == "exact samples"
    assert (
        told["figure"]["layout"]["shapes"][1]["y0"]
        == read(DEFAULTS | {"solver": "mrs-sde-d-2"}).particles.chance
    )


def test_the_errors_of_langevin_at_one_level_are_its_own():
    walk = errors(DEFAULTS | lesson("Langevin, one level"))
    annealed = errors(DEFAULTS | lesson("Langevin, annealed"))
    first, second = (told["figure"]["data"][0]["y"][-1] for told in (walk, annealed))
    assert first > 3 * second


@pytest.mark.parametrize("solver", ["rk45", "pndm", "euler-published"])
def test_solvers_with_evaluations_of_their_own_have_errors_too(solver):
    told = errors(DEFAULTS | {"solver": solver, "nfe": 50, "particles": 20})
    json.dumps(told, allow_nan=False)
    assert told["figure"]["data"][0]["x"]


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"solver": "magic"}, "The solver must be one of"),
        ({"solver": ["heun"]}, "The solver must be one of"),
        ({"solver": "langevin"}, "The solver must be one of"),  # it needs VE
        ({"process": "subtle"}, "The process must be one of"),
        ({"density": {}}, "The density must be one of"),
        ({"nfe": 0}, "The NFE of MR Sampler ODE d-2 must be a whole number from 1 to 100; got 0"),
        ({"nfe": None}, "The NFE of"),
        ({"nfe": math.nan}, "The NFE of"),
        ({"nfe": "eight"}, "The NFE of"),
        ({"nfe": True}, "The NFE of"),
        ({"solver": "pndm", "nfe": 3}, "The NFE of PNDM must be a whole number from 4"),
        ({"mu": [2.0, 0.0]}, "Each coordinate of \u03bc"),
        ({"mu": [math.nan, 0.0]}, "Each coordinate of \u03bc"),
        ({"mu": "here"}, "\u03bc must be two numbers"),
        ({"particles": 100_000}, "The number of particles must be a whole number from"),
        ({"seed": -1}, "The seed must be a whole number from 0"),
        ({"seed": 1.7}, "The seed must be a whole number from 0 to 9007199254740992; got 1.7"),
        ({"nfe": 2.5}, "must be a whole number from 1 to 100; got 2.5"),
        ({"step_size": math.inf}, "The step size must be a number from"),
        ({"per_level": 0}, "The updates a level must be a whole number from"),
        ({"spacing": "odd"}, "The spacing must be one of"),
        ({"density": DRAWN, "points": []}, f"Draw 1 to {MOST_POINTS} points"),
        ({"density": DRAWN, "points": [[0, 0]] * (MOST_POINTS + 1)}, "Draw 1 to"),
        ({"density": DRAWN, "points": [[0, 9]]}, "Each coordinate of A point"),
        ({"density": DRAWN, "points": [[0]]}, "A point must be two numbers"),
        ({"density": DRAWN, "points": "many"}, "Draw 1 to"),
    ],
    ids=str,
)
def test_what_the_page_does_not_offer_gets_a_sentence(settings, sentence):
    with pytest.raises(RefusedError, match=re.escape(sentence)):
        read(DEFAULTS | settings)
    for asked in (simulate, errors):
        assert sentence in asked(DEFAULTS | settings)["error"]


def test_settings_that_are_no_object_get_a_sentence():
    assert simulate([1, 2])["error"] == "The settings must be an object."


def test_as_many_points_as_there_can_be_are_a_density():
    drawn = [[math.cos(i), math.sin(i)] for i in range(MOST_POINTS)]
    assert answer(density=DRAWN, points=drawn)["count"] == 300


def test_where_a_process_has_not_the_solver_the_knobs_fall_back():
    menu, nfe, spacing, langevin = playground.settled("mean-reverting", "langevin", 100)
    assert menu["fallback"] == "mrs-ode-d-2" and langevin["visible"] is False
    assert "langevin" not in json.dumps(menu["groups"])
    assert (nfe["minimum"], nfe["maximum"], spacing["disabled"]) == (1, 100, False)


def test_the_page_has_the_tab():
    tabs = [c for c in whole_page.build().config["components"] if c["type"] == "tabitem"]
    assert "Playground" in [tab["props"]["label"] for tab in tabs]


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(executable):
    """The tab on a page of its own."""
    with served("Playground", playground.build) as url:
        yield url


@pytest.fixture(scope="module")
def browser(executable, tmp_path_factory):
    """One with a touch screen."""
    profile = tmp_path_factory.mktemp("profile")
    with launched(executable, profile, has_touch=True) as browser:
        yield browser


def ready(page):
    page.wait_for_selector(".playground[data-state=ready]", timeout=60_000)


def visit(browser, address, theme="light", still=True, **window):
    return opened(browser, f"{address}?__theme={theme}", ready, still=still, **window)


@pytest.fixture
def page(browser, address):
    with visit(browser, address) as page:
        yield page


def answers(page):
    return int(page.locator(".playground").get_attribute("data-shown"))


def wait_for_answer(page, since):
    page.wait_for_function(
        "since => +document.querySelector('.playground').dataset.shown > since", arg=since
    )


def learn(page, title):
    since = answers(page)
    page.get_by_role("button", name=title).click()
    wait_for_answer(page, since)


def seek(page, value):
    page.locator(".scrub").fill(str(value))


def ink(page, panel):
    """How many pixels of a panel are of its particles' colour."""
    return page.evaluate(
        """async (panel) => {
          await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
          const canvas = document.querySelector(`.${panel} canvas`), { width } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, width);
          const [r, g, b] = panel === 'sampler' ? [0, 114, 178] : [23, 25, 29];
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            const off = [r, g, b].reduce((sum, v, k) => sum + Math.abs(data[i + k] - v), 0);
            count += off < 30 && data[i + 3] > 200;
          }
          return count;
        }""",
        panel,
    )


def middle(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_particles_are_there_with_density_numbers_and_the_errors(page):
    # With reduced motion nothing moves until it is asked to: the end is shown.
    assert float(page.locator(".scrub").input_value()) == FRAMES
    assert ink(page, "sampler") > 1000 and ink(page, "exact") > 1000
    expect(page.locator(".sampler b")).to_have_text("MR Sampler ODE d-2")
    expect(page.locator(".sampler .count")).to_have_text("8 / 8 NFE")
    expect(page.locator(".say")).to_contain_text("After 8 evaluations the particles are 0.0")
    page.wait_for_function("document.querySelector('#playground-chart .chart').data?.length === 3")
    expect(page.locator("#playground-error p")).to_contain_text("At 8 NFE, RMS distance to exact")
    page.screenshot(path=ARTEFACTS / "playground.png", full_page=True)


def test_the_errors_are_drawn_though_they_come_before_what_draws_them(browser, address):
    page, held = browser.new_page(), []
    page.route("**/plotly.min.js", lambda route: held.append(route))
    page.goto(address)
    ready(page)
    expect(page.locator("#playground-error p")).to_contain_text("At 8 NFE", timeout=30_000)
    assert held, "the library is not asked for"
    for route in held:
        route.continue_()
    drawn = "document.querySelector('#playground-chart .chart')?.data?.length === 3"
    page.wait_for_function(drawn, timeout=20_000)
    page.close()


FRAMES_LATER = """count => new Promise((done) => {
  const next = () => (count-- > 0 ? requestAnimationFrame(next) : done());
  next();
})"""


def test_the_animation_plays_pauses_and_ends(browser, address):
    with visit(browser, address, still=False) as page:
        scrub = "+document.querySelector('.scrub').value"
        page.wait_for_function(f"{scrub} > 5")
        page.locator(".play").click()
        at = page.evaluate(scrub)
        page.evaluate(FRAMES_LATER, 10)
        assert page.evaluate(scrub) == at < FRAMES
        expect(page.get_by_role("button", name="Play")).to_be_visible()
        seek(page, FRAMES - 8)
        page.locator(".play").click()
        page.wait_for_function(f"{scrub} === {FRAMES}", timeout=20_000)
        expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_scrubbing_moves_both_panels_and_asks_nobody(page):
    page.wait_for_function("document.querySelector('#playground-chart .chart').data?.length === 3")
    with noted(page, "request") as sent:
        for value, nfe, t in ((0, 0, "t = 100"), (FRAMES, 8, "t = 0.00")):
            seek(page, value)
            expect(page.locator(".sampler .count")).to_have_text(f"{nfe} / 8 NFE")
            expect(page.locator(".exact .count")).to_contain_text(t)
        seek(page, 0)
        for nfe in (1, 2):  # a step of the solver at a time
            page.locator("button.step").click()
            expect(page.locator(".sampler .count")).to_have_text(f"{nfe} / 8 NFE")
        page.locator("button.back").click()
        expect(page.locator(".sampler .count")).to_have_text("1 / 8 NFE")
        page.locator(".scrub").press("ArrowRight")
    assert sent == []


def test_mu_is_dragged_and_the_particles_follow(page):
    since, (x, y) = answers(page), middle(page, ".mu")
    panel = page.locator(".sampler .frame").bounding_box()
    seek(page, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, 11):
        page.mouse.move(x - 25 * i, y - 15 * i)
    page.mouse.up()
    wait_for_answer(page, since)
    moved = middle(page, ".mu")
    assert moved == pytest.approx((x - 250, y - 150), abs=2)
    wanted = 0.8 - 250 / panel["width"] * 3.6
    page.wait_for_function(
        """wanted => {
          const [, x] = document.querySelector('.mu').ariaLabel.match(/at (-?[\\d.]+),/);
          return Math.abs(x - wanted) < 0.03;
        }""",
        arg=wanted,
    )
    expect(page.locator(".lessons [aria-pressed=true]")).to_have_count(0)


def test_mu_is_moved_by_keyboard_and_cannot_leave_its_range(page):
    since, handle = answers(page), page.locator(".mu")
    handle.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    wait_for_answer(page, since)
    expect(handle).to_have_attribute("aria-label", re.compile("at 0.55, -0.55:"))
    x, y = middle(page, ".mu")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3000, y, steps=3)
    page.mouse.up()
    expect(handle).to_have_attribute("aria-label", re.compile("at 1.40, "))
    expect(page.locator(".playground")).to_have_attribute("data-state", "ready")


def test_points_are_drawn_taken_back_and_cleared(page):
    learn(page, "Draw your own")
    page.locator("[data-pen=clear]").click()
    expect(page.locator(".exact .empty")).to_be_visible()
    expect(page.locator(".play")).to_be_disabled()
    page.screenshot(path=ARTEFACTS / "playground-empty.png", full_page=True)
    since, (x, y) = answers(page), middle(page, ".exact canvas")
    page.mouse.move(x - 100, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=20)
    page.mouse.up()
    wait_for_answer(page, since)
    expect(page.locator(".say")).to_contain_text("After 8 evaluations")
    page.screenshot(path=ARTEFACTS / "playground-drawn.png", full_page=True)
    page.locator("[data-pen=undo]").click()
    expect(page.locator(".exact .empty")).to_be_visible()
    page.touchscreen.tap(x, y)
    expect(page.locator(".playground")).to_have_attribute("data-state", "ready")


def test_points_are_drawn_by_keyboard_and_no_more_than_there_can_be(page):
    learn(page, "Draw your own")
    page.locator("[data-pen=clear]").click()
    since = answers(page)
    page.locator(".sampler canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    wait_for_answer(page, since)
    expect(page.locator(".playground")).to_have_attribute("data-state", "ready")
    since, (x, y) = answers(page), middle(page, ".exact canvas")
    page.mouse.move(x - 200, y - 200)
    page.mouse.down()
    for row in range(12):
        page.mouse.move(x + (200 if row % 2 == 0 else -200), y - 200 + 30 * row, steps=25)
    expect(page.locator(".say")).to_contain_text(f"{MOST_POINTS} points are the most")
    page.mouse.up()
    wait_for_answer(page, since)
    expect(page.locator(".playground")).to_have_attribute("data-state", "ready")


def test_knobs_are_heard_and_the_latest_setting_wins(page):
    box = page.get_by_label("number input for Evaluations (NFE)", exact=True)
    for nfe in (3, 30, 12):
        box.fill(str(nfe))
        box.press("Enter")
    expect(page.locator(".sampler .count")).to_have_text("12 / 12 NFE")
    page.get_by_label("Particle solver", exact=True).select_option("mrs-sde-d-2")
    expect(page.locator(".sampler b")).to_have_text("MR Sampler SDE d-2")
    expect(page.locator("[data-layer=gap]")).to_be_disabled()
    names = page.locator(".densities input").evaluate_all("all => all.map(i => i.value)")
    assert names == [*DENSITIES, DRAWN]
    page.get_by_label("two moons", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("spiral", exact=True)).to_be_checked()
    expect(page.locator("#menu-particle-solver-detail")).to_contain_text(": 12 steps")
    page.get_by_label("VP", exact=True).check()
    expect(page.locator(".mu")).to_be_hidden()


def test_a_scene_sets_the_knobs_and_stays_chosen(page):
    learn(page, "Langevin, one level")
    solver = page.get_by_label("Particle solver", exact=True)
    expect(solver).to_have_value("langevin")
    expect(page.get_by_label("VE", exact=True)).to_be_checked()
    expect(page.get_by_label("two Gaussians", exact=True)).to_be_checked()
    expect(page.get_by_label("Annealed")).not_to_be_checked()
    page.wait_for_timeout(1200)
    chosen = page.locator(".lessons [aria-pressed=true]")
    expect(chosen).to_have_text("Langevin, one level")
    expect(page.locator(".say")).to_contain_text("in the mode that holds 80 %")
    page.get_by_label("Annealed").check()
    expect(chosen).to_have_count(0)
    # Where the process has not the solver another takes its place, until it has again.
    page.get_by_label("mean-reverting", exact=True).check()
    expect(page.locator(".sampler b")).to_have_text("MR Sampler ODE d-2")
    page.get_by_label("VE", exact=True).check()
    expect(page.locator(".sampler b")).to_have_text("Langevin")
    expect(page.get_by_label("number input for Step size", exact=True)).to_be_visible()
    learn(page, "Overshoot")
    expect(solver).to_have_value("mrs-ode-d-3")
    expect(page.get_by_label("Step size")).to_have_count(0)
    expect(page.locator(".say")).to_contain_text("have left the picture")
    page.wait_for_timeout(1200)
    expect(chosen).to_have_text("Overshoot")
    page.screenshot(path=ARTEFACTS / "playground-overshoot.png", full_page=True)


def test_every_control_says_what_it_does(page):
    page.locator("#playground .label-wrap").click()
    expect(page.get_by_label("Playground seed")).to_be_visible()
    assert page.evaluate(UNEXPLAINED, "playground") == []


def test_what_cannot_run_is_said_and_the_picture_stays(page):
    page.get_by_role("button", name="Advanced").click()
    box = page.get_by_label("Playground seed", exact=True)
    box.fill("")
    box.press("Enter")
    expect(page.locator(".say")).to_have_text(
        "The seed must be a whole number from 0 to 9007199254740992; got nothing."
    )
    # The errors stay those of the picture that stays.
    page.wait_for_function("document.querySelector('#playground-chart .chart').data?.length === 3")
    expect(page.locator("#playground-error")).not_to_have_class(re.compile("stale"))
    page.screenshot(path=ARTEFACTS / "playground-failed.png", full_page=True)
    assert ink(page, "exact") > 1000
    box.fill("3")
    box.press("Enter")
    expect(page.locator(".say")).to_contain_text("After 8 evaluations")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_its_window_in_both_themes(browser, address, width, theme):
    with visit(browser, address, theme, width=width, height=900) as page:
        page.wait_for_function("document.querySelector('#playground-chart .chart').data?.length")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "the tab scrolls sideways"
        sides = [page.locator(f".{panel} .frame").bounding_box() for panel in ("sampler", "exact")]
        assert sides[0]["width"] == sides[1]["width"] and sides[0]["y"] == sides[1]["y"]
        page.screenshot(path=ARTEFACTS / f"playground-{width}-{theme}.png", full_page=True)
        if width == 390:  # the panels stay in sight while the knobs below them move
            page.get_by_label("number input for Evaluations (NFE)").scroll_into_view_if_needed()
            before = page.evaluate("window.scrollY")
            assert page.evaluate("scrollBy({ top: 200, behavior: 'instant' }), scrollY") > before
            box = page.locator(".sampler .frame").bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] < 400
