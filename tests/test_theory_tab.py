"""The How it works tab: its plots are the library's own numbers, and its formulas are drawn."""

import json
import math
import re
from itertools import pairwise, product

import gradio as gr
import plotly.graph_objects as go
import pytest
import torch
from chromium import ARTEFACTS, opened, served
from playwright.sync_api import expect

from mrsampler import SPACINGS, Denoiser, GOUBridge, convergence, load, photo, sample
from mrsampler.examples import examples
from mrsampler.problem import photo_problem
from mrsampler.ui import page as whole_page
from mrsampler.ui.theory import tab as theory
from mrsampler.ui.theory.figures import (
    COLOURS,
    PLOTS,
    PROCESSES,
    Choice,
    amplification,
    history,
    paths,
    response,
    schedule,
    spacings,
    weights,
)

CHOICES = [
    Choice(process, equation, prediction, order)
    for process, (equation, most), prediction in product(
        PROCESSES, (("ODE", 3), ("SDE", 2)), ("data", "noise")
    )
    for order in range(1, most + 1)
]


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_of_every_choice_is_a_plotly_figure_in_plain_json(name):
    for choice in CHOICES:
        for nfe in (1, 8, 30):
            figure, sentence = PLOTS[name](
                Choice(choice.process, choice.equation, choice.prediction, choice.order, nfe)
            )
            assert sentence.endswith(".")
            json.dumps(figure, allow_nan=False)
        if choice.order == 2:
            go.Figure(figure["data"], figure["layout"])  # raises for what plotly does not know


def test_the_published_schedule_is_the_one_of_the_paper():
    figure, sentence = schedule(Choice())
    alpha, sigma, lam = (trace["y"] for trace in figure["data"])
    assert [alpha[0], alpha[50], alpha[100]] == pytest.approx([0.999936, 0.360803, 0.005], abs=1e-6)
    assert sigma[100] == pytest.approx(50 / 255 * math.sqrt(1 - 0.005**2))
    assert lam == pytest.approx([math.log(a / s) for a, s in zip(alpha, sigma, strict=True)])
    assert "\u03b1 from 0.9999 to 0.005" in sentence


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: f"{c.process}-{c.solver}")
def test_the_coefficients_shown_are_those_that_the_solver_uses(choice):
    """A network that answers 1 at one evaluation and 0 at all others shows what its weight is."""
    process, found = PROCESSES[choice.process], []
    zero = torch.zeros(1, 1, dtype=torch.float64)
    for one in range(choice.nfe):
        calls = iter(range(choice.nfe))

        def network(x, mu, t, calls=calls, one=one):
            return torch.full_like(x, float(next(calls) == one))

        end = sample(
            Denoiser(network, choice.prediction),
            zero,
            process=process,
            solver=choice.solver,
            nfe=choice.nfe,
            spacing=[node.t for node in choice.nodes],
            x_T=zero.clone(),
            noise=lambda step, shape: torch.zeros(shape),
            denoise_final=False,
        )
        found.append(end.item())
    assert response(choice.table(choice.prediction)) == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_the_bars_are_the_coefficients_of_each_step():
    choice = Choice(order=3, nfe=6)
    figure, sentence = history(choice)
    *bars, carried = figure["data"]
    table = choice.table("data")
    assert [len(step.history) for step in table] == [1, 2, 3, 3, 2, 1], "the last steps trust fewer"
    for past, bar in enumerate(bars):
        wanted = [s.history[past] if past < len(s.history) else None for s in table]
        assert [v is None for v in bar["y"]] == [v is None for v in wanted]
        assert [v for v in bar["y"] if v is not None] == pytest.approx(
            [v for v in wanted if v is not None], rel=1e-4
        )
    assert carried["y"] == pytest.approx([step.y for step in table], rel=1e-4)
    assert sentence.startswith("mrs-ode-d-3, step 4:")


def test_the_steps_shown_fall_as_the_library_places_them():
    choice = Choice(nfe=5, spacing="uniform-t")
    figure, sentence = spacings(choice)
    assert [trace["name"] for trace in figure["data"]] == [n for n in SPACINGS for _ in "tl"]
    shown = {(t["name"], t["xaxis"]): t["x"] for t in figure["data"]}
    assert shown["uniform-t", "x"] == pytest.approx([100, 80, 60, 40, 20, 0])
    gaps = [b - a for a, b in pairwise(shown["uniform-lambda", "x2"])]
    assert gaps == pytest.approx([gaps[0]] * 5, rel=1e-3)
    longest = max(b - a for a, b in pairwise(shown["uniform-t", "x2"]))
    assert f"the longest {longest:.2f}" in sentence


def test_the_bars_are_in_the_colour_of_the_prediction():
    for prediction, colour in COLOURS.items():
        first, *_ = history(Choice(prediction=prediction))[0]["data"]
        assert first["marker"]["color"] == colour


def test_the_five_sdes_of_the_text_are_those_of_the_code():
    (mean_reverting, vp, ve, bridge, flow), t, d = PROCESSES.values(), 0.3, 1e-6
    beta = 0.1 + t * (20 - 0.1)
    assert mean_reverting.diffusion(30.5) == pytest.approx(
        (mean_reverting.sigma_inf * math.sqrt(2 * mean_reverting.drift(30.5))) ** 2
    )
    assert (vp.drift(t), vp.diffusion(t)) == pytest.approx((beta / 2, beta))
    slope = (ve.sigma(t + d) ** 2 - ve.sigma(t - d) ** 2) / (2 * d)
    assert (ve.drift(t), ve.diffusion(t)) == pytest.approx((0, slope), rel=1e-6)
    left = -math.log(mean_reverting.eps) * (1 - 0.5)  # of a constant theta, half way
    constant = GOUBridge(schedule="constant")
    theta = -math.log(constant.eps) / 100
    assert constant.drift(50) == pytest.approx(theta / math.tanh(left))
    assert bridge.diffusion(50.5) == pytest.approx(
        2 * bridge.sigma_inf**2 * bridge._free.rate(50.5)
    )
    assert (flow.drift(t), flow.diffusion(t)) == pytest.approx(
        (1 / (1 - t), 2 * flow.scale**2 * t / (1 - t))
    )
    first = theory.sections()[0]
    for name in (
        *("mean-reverting", "variance-preserving", "variance-exploding"),
        *("GOU bridge", "flow matching"),
    ):
        assert f"**{name}** SDE" in first


def test_a_negative_number_has_a_minus_and_a_name_its_hyphen():
    assert PLOTS["schedule"](Choice())[1].endswith("to \u22123.67.")
    for choice in CHOICES:
        assert PLOTS["history"](choice)[1].startswith(f"{choice.solver}, step ")
        for plot in PLOTS.values():
            assert not re.search(r"(^|\s)-\d", plot(choice)[1])


def test_the_weights_are_those_of_the_exact_solution_and_average_to_one():
    for choice in (Choice(), Choice(equation="SDE")):
        h = max(t.lam - s.lam for s, t in pairwise(choice.nodes))
        for trace, c in zip(
            weights(choice)[0]["data"], (1, -2 if choice.stochastic else -1), strict=True
        ):
            y = trace["y"]
            assert y[0] / y[-1] == pytest.approx(math.exp(c * h), rel=1e-3)
            # Simpson's rule over 50 intervals, exact to 1e-5 at such h.
            mean = (y[0] + y[-1] + 4 * sum(y[1:-1:2]) + 2 * sum(y[2:-1:2])) / 150
            assert mean == pytest.approx(1, abs=1e-3)


def test_the_flows_paths_end_in_the_data_and_never_cross():
    for process in PROCESSES:
        sde, ode = paths(Choice(process))[0]["data"]
        for trace, count in ((sde, 4), (ode, 12)):
            breaks = [i for i, v in enumerate(trace["y"]) if v is None]
            assert len(breaks) == count
            ends = [trace["y"][i - 1] for i in breaks]
            assert all(min(abs(end + 0.7), abs(end - 0.6)) < 0.25 for end in ends)
            assert {end > 0 for end in ends} == {True, False}, "both modes are reached"
        steps = breaks[0]
        rows = [ode["y"][i : i + steps] for i in range(0, len(ode["y"]), steps + 1)]
        for moment in zip(*rows, strict=True):
            assert list(moment) == sorted(moment)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("equation", ["ODE", "SDE"])
def test_at_order_1_the_datas_weights_are_an_averages_and_the_noises_grow(process, equation):
    for nfe, spacing in product((1, 5, 30), SPACINGS):
        choice = Choice(process, equation, "data", 1, nfe, spacing)
        data, noise = (response(choice.table(kind)) for kind in ("data", "noise"))
        assert min(data) >= 0 and sum(data) <= 1 + 1e-12
        if equation == "ODE":  # alpha_0 (sigma_s/alpha_s - sigma_t/alpha_t)
            rho = [n.sigma / n.alpha for n in choice.nodes]
            exact = [choice.nodes[-1].alpha * (s - t) for s, t in pairwise(rho)]
            assert [-e for e in noise] == pytest.approx(exact, rel=1e-9)


def test_the_caption_tells_the_largest_of_both():
    figure, sentence = amplification(Choice())
    noise, data = (max(trace["y"]) for trace in figure["data"])
    assert noise > 10 > 1 > data
    assert f"at most {noise:.3g} to" in sentence and f"and {data:.3g} where" in sentence


def test_over_the_bundled_network_the_radius_shrinks_for_the_noise_and_not_for_the_data():
    problem = photo_problem(load(), [photo.read(e.path).rgb for e in examples()[:3]])
    steps = problem.trajectory(solver="mrs-ode-d-2", nfe=12)
    given = {"process": problem.process, "mu": problem.mu}
    data, noise = (
        [step.radius / step.gap for step in convergence(steps, kind, **given)]
        for kind in ("data", "noise")
    )
    assert min(data) > 10 * noise[-1], "far above the steps, to the end"
    assert noise == sorted(noise, reverse=True)
    *_, last = convergence(steps, "noise", **given)
    assert 0.5 < last.fraction < 0.95, "some pixels are beyond it, and most are not"


def test_the_theory_has_a_part_for_every_plot_and_all_its_formulas_close():
    parts = theory.sections()
    assert len(parts) == len(PLOTS)
    for part in parts:
        bare = re.sub(r"\$\$.+?\$\$", "", part, flags=re.DOTALL)
        assert "$$" not in bare and bare.count("$") % 2 == 0
        assert part.count("{") == part.count("}")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("odd", "ODE", "data", 2, 8, "blend"), "The process must be one of"),
        (("VP", "PDE", "data", 2, 8, "blend"), "The equation must be one of"),
        (("VP", "ODE", ["data"], 2, 8, "blend"), "The prediction must be one of"),
        (("VP", "ODE", "data", 4, 8, "blend"), "The order must be"),
        (("VP", "ODE", "data", 1.5, 8, "blend"), "The order must be a whole"),
        (("VP", "ODE", "data", 2, None, "blend"), "The steps must be"),
        (("VP", "ODE", "data", 2, math.nan, "blend"), "The steps must be"),
        (("VP", "ODE", "data", 2, 10_000, "blend"), "The steps must be"),
        (("VP", "ODE", "data", 2, 8, "odd"), "The spacing must be one of"),
    ],
)
def test_what_the_page_does_not_offer_gets_a_sentence(values, sentence):
    with pytest.raises(gr.Error, match=sentence):
        theory.chosen(*values)


def test_an_sde_has_no_third_order():
    *_, order = theory.shown("VP", "SDE", "data", 3, 8, "blend")
    assert (order["maximum"], order["value"]) == (2, 2)


def test_the_page_has_the_tab():
    tabs = [c for c in whole_page.build().config["components"] if c["type"] == "tabitem"]
    assert "How it works" in [tab["props"]["label"] for tab in tabs]


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(executable):
    """The tab on a page of its own."""
    with served("How it works", theory.build) as url:
        yield url


def ready(page):
    page.wait_for_function("document.querySelectorAll('.theory-plot .js-plotly-plot').length === 6")
    page.wait_for_selector(".katex")


def visit(browser, address, theme="light", **window):
    return opened(browser, f"{address}?__theme={theme}", ready, **window)


def test_all_formulas_are_drawn_and_all_plots_follow_what_is_chosen(browser, address):
    with visit(browser, address) as page:
        display = sum(part.count("$$") // 2 for part in theory.sections())
        expect(page.locator(".katex-display")).to_have_count(display)
        expect(page.locator(".katex-error")).to_have_count(0)
        assert "$" not in page.locator("#theory").inner_text()
        assert page.locator("math").count() >= display, "for those who cannot see them"
        says = page.locator(".theory-says")
        page.get_by_label("SDE", exact=True).check()
        expect(says.nth(4)).to_contain_text("mrs-sde-d-2, step 5")
        page.get_by_label("noise", exact=True).check()
        expect(says.nth(4)).to_contain_text("mrs-sde-n-2")
        page.get_by_label("VP", exact=True).check()
        expect(says.nth(0)).to_contain_text("From t = 0 to 1")
        box = page.get_by_label("number input for Steps (NFE)", exact=True)
        box.fill("3")
        box.press("Enter")
        expect(says.nth(3)).to_contain_text("3 steps, blend")
        page.wait_for_function("document.querySelectorAll('.chart')[4].data[0].x.length === 3")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_its_window_in_both_themes(browser, address, width, theme):
    with visit(browser, address, theme, width=width, height=900) as page:
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "the tab scrolls sideways"
        cut = page.locator(".theory-text :is(.katex-display, table)").evaluate_all(
            "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.innerText)"
        )
        assert cut == [], "a formula is wider than its column"
        page.screenshot(path=ARTEFACTS / f"theory-{width}-{theme}.png", full_page=True)
