"""Where the steps fall."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from mrsampler import SPACINGS, VESDE, VPSDE, MeanRevertingSDE
from mrsampler.timesteps import DATA, explicit, node, timesteps

PROCESS = MeanRevertingSDE()
ZERO_START = MeanRevertingSDE(zero_start=True)
PROCESSES = [
    PROCESS,
    ZERO_START,
    VPSDE(),
    VPSDE("cosine"),
    VPSDE.from_alphas_cumprod(DDPMScheduler().alphas_cumprod),
    VESDE(),
]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)
every_spacing = pytest.mark.parametrize("spacing", [*SPACINGS, "karras:3"])


@pytest.mark.parametrize("denoise_final", [None, True, False])
@every_process
@every_spacing
def test_a_grid_falls_from_T_to_its_end_in_the_steps_asked_for(spacing, process, denoise_final):
    to_data = process.lam(0.0) == math.inf if denoise_final is None else denoise_final
    for steps in (1, 2, 7, 100, 333):
        nodes = timesteps(process, steps, spacing, denoise_final=denoise_final)
        assert len(nodes) == steps + 1
        # By its definition "leading" begins a stride below T.
        assert nodes[0].t == process.T or (spacing == "leading" and nodes[0].t < process.T)
        assert all(a.lam < b.lam for a, b in pairwise(nodes))
        assert all(a.t > b.t for a, b in pairwise(nodes[: steps if to_data else None]))
        if to_data:
            assert nodes.pop() == DATA == (0.0, 1.0, 0.0, math.inf)
            assert nodes[-1].t >= process.t_min  # below it no network was trained
        else:
            assert nodes[-1].t == process.t_min
        for n in nodes:
            assert n[1:] == (process.alpha(n.t), process.sigma(n.t), process.lam(n.t))
            assert all(type(value) is float and math.isfinite(value) for value in n)


@every_process
@pytest.mark.parametrize("spacing", ["uniform-t", "uniform-lambda", "blend", "karras", "leading"])
def test_the_last_evaluation_before_sigma_0_is_at_t_min(spacing, process):
    for steps in (2, 7, 100):
        assert timesteps(process, steps, spacing, denoise_final=True)[-2].t == process.t_min
    single = [n.t for n in timesteps(process, 1, spacing, denoise_final=True)]
    # A single step has but one evaluation, at the start; that of "leading" is at its smallest time.
    assert single == [process.t_min if spacing == "leading" else process.T, 0.0]


# --- the definitions -----------------------------------------------------------------------------


@pytest.mark.parametrize("denoise_final", [True, False])
@every_process
@pytest.mark.parametrize("spacing", ["uniform-t", "uniform-lambda"])
def test_the_uniform_ones_are_uniform(spacing, process, denoise_final):
    value = {"uniform-t": lambda n: n.t, "uniform-lambda": lambda n: n.lam}[spacing]
    nodes = timesteps(process, 9, spacing, denoise_final=denoise_final)
    values = [value(n) for n in (nodes[:-1] if denoise_final else nodes)]
    np.testing.assert_allclose(np.diff(values), np.diff(values).mean(), rtol=1e-8)


def test_uniform_t_at_100_steps_lands_on_the_published_grid_exactly():
    assert [n.t for n in timesteps(PROCESS, 100, "uniform-t")] == list(range(100, -1, -1))
    assert [n.t for n in timesteps(ZERO_START, 100, "uniform-t")] == list(range(100, -1, -1))


def test_the_default_spacing_is_uniform_lambda():
    assert timesteps(PROCESS, 5) == timesteps(PROCESS, 5, "uniform-lambda")


@pytest.mark.parametrize("denoise_final", [True, False])
@every_process
def test_blend_is_the_mean_of_the_two_in_lambda(process, denoise_final):
    grids = [
        np.array([n.lam for n in timesteps(process, 8, name, denoise_final=denoise_final)])
        for name in ("blend", "uniform-t", "uniform-lambda")
    ]
    if denoise_final:
        grids = [grid[:-1] for grid in grids]
    np.testing.assert_allclose(grids[0], (grids[1] + grids[2]) / 2, rtol=0, atol=1e-8)


@pytest.mark.parametrize("spacing, rho", [("karras", 7), ("karras:3", 3), ("karras:0.8", 0.8)])
@every_process
def test_karras_is_edms_formula_in_sigma_over_alpha(process, spacing, rho):
    # EDM, eq. 5: sigma_i of N, i = 0 ... N - 1, from sigma_max to sigma_min, and then 0.
    high, low = (math.exp(-process.lam(t)) for t in (process.T, process.t_min))
    n, i = 10, np.arange(10)
    sigmas = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    with_zero = timesteps(process, n, spacing, denoise_final=True)
    np.testing.assert_allclose([n.sigma / n.alpha for n in with_zero[:-1]], sigmas, rtol=1e-9)
    without = timesteps(process, n - 1, spacing, denoise_final=False)
    np.testing.assert_allclose([n.sigma / n.alpha for n in without], sigmas, rtol=1e-9)


@pytest.mark.parametrize("rho", ["1e9", "1e20"])
def test_karras_with_a_large_rho_is_uniform_in_lambda(rho):
    # (sigma/alpha)^(1/rho) tends to 1 - lambda/rho, off by 1e-8 of itself at the most.
    lams = [n.lam for n in timesteps(PROCESS, 10, f"karras:{rho}")]
    uniform = [n.lam for n in timesteps(PROCESS, 10, "uniform-lambda")]
    np.testing.assert_allclose(lams, uniform, rtol=0, atol=1e-7)


@every_process
def test_trailing_counts_down_to_0_and_its_last_step_is_to_sigma_0(process):
    # Lin et al.: T, T - T/S, ..., T/S for S steps.
    times = [n.t for n in timesteps(process, 8, "trailing", denoise_final=True)]
    np.testing.assert_allclose(times[:-1], process.T * np.arange(8, 0, -1) / 8, rtol=1e-14)
    # A run that ends at t_min has nowhere to trail from.
    ending = [
        timesteps(process, 8, name, denoise_final=False) for name in ("trailing", "uniform-t")
    ]
    assert ending[0] == ending[1]


def test_trailing_does_not_go_below_t_min():
    times = [n.t for n in timesteps(ZERO_START, 200, "trailing")]
    assert times[-2:] == [1.0, 0.0]


def test_leading_counts_up_from_the_smallest_time():
    # Lin et al.: 1, 1 + T'/S, 1 + 2 T'/S, ... for t = 1 ... T; T itself is never reached.
    times = [n.t for n in timesteps(PROCESS, 3, "leading")]
    np.testing.assert_allclose(times, [67, 34, 1, 0], rtol=1e-14, atol=0)
    times = [n.t for n in timesteps(ZERO_START, 3, "leading")]
    np.testing.assert_allclose(times, [67, 34, 1, 0], rtol=1e-14, atol=0)
    times = [n.t for n in timesteps(VPSDE(), 2, "leading", denoise_final=False)]
    low = 1e-3 + 0.999 / 100  # the run ends at t_min: a hundredth of the way above
    np.testing.assert_allclose(times, [(1 + low) / 2, low, 1e-3], rtol=1e-14)


# --- a spacing of one's own ----------------------------------------------------------------------


def test_a_function_places_the_steps():
    seen = []

    def quadratic(span, steps):
        seen.append((span.process, span.first, span.last, span.to_data, span.lams))
        return [span.first * (1 - i / steps) ** 2 for i in range(steps)]

    nodes = timesteps(PROCESS, 4, quadratic)
    assert [n.t for n in nodes] == [100.0, 56.25, 25.0, 6.25, 0.0]
    assert seen == [(PROCESS, 100.0, 0.0, False, (PROCESS.lam(100.0), PROCESS.lam(0.0)))]
    timesteps(ZERO_START, 4, quadratic)
    assert seen[1][1:4] == (100.0, 1.0, True)


@pytest.mark.parametrize(
    "place",
    [
        lambda span, steps: [span.first] * steps,
        lambda span, steps: [100.0, 20.0, 50.0],
        lambda span, steps: [100.0, 50.0, 0.0],  # where the run ends: nothing to step over
        lambda span, steps: [100.0, 50.0],
        lambda span, steps: [100.0, 50.0, 20.0, 10.0],
        lambda span, steps: [],
    ],
)
def test_a_function_whose_times_do_not_fall_or_are_too_few_is_an_error(place):
    with pytest.raises(ValueError, match="does not give 3 times that fall from 100 to above 0"):
        timesteps(PROCESS, 3, place)


def test_a_function_whose_times_leave_the_process_is_an_error():
    with pytest.raises(ValueError, match="t must lie in"):
        timesteps(PROCESS, 2, lambda span, steps: [101.0, 50.0])


@pytest.mark.parametrize("t", [50, np.float64(50), np.int64(50)])
def test_a_node_is_of_python_floats_whatever_its_time_came_as(t):
    assert node(PROCESS, t) == node(PROCESS, 50.0)
    assert all(type(value) is float for value in node(PROCESS, t))


# --- explicit times ------------------------------------------------------------------------------


def test_explicit_times_are_taken_as_they_are():
    nodes = explicit(PROCESS, [90, 30.5, 10])
    assert [n.t for n in nodes] == [90.0, 30.5, 10.0]
    assert nodes[1][1:] == (PROCESS.alpha(30.5), PROCESS.sigma(30.5), PROCESS.lam(30.5))
    assert all(type(value) is float for n in nodes for value in n)
    assert explicit(PROCESS, np.array([90, 30.5, 10])) == nodes


def test_explicit_times_end_at_the_data_where_asked_or_where_they_say_so():
    assert explicit(PROCESS, [90, 10], denoise_final=True)[1:] == [
        explicit(PROCESS, [90, 10])[1],
        DATA,
    ]
    assert explicit(PROCESS, [90], denoise_final=True)[-1] == DATA
    assert explicit(PROCESS, [90, 0])[-1].sigma > 0
    for denoise_final in (None, True):
        nodes = explicit(VPSDE(), [0.9, 0.1, 0.0], denoise_final=denoise_final)
        assert len(nodes) == 3 and nodes[-1] == DATA
    assert explicit(VPSDE(), [0.9, 0.1])[-1].t == 0.1


@pytest.mark.parametrize("times", [[], [50.0], [10.0, 90.0], [90.0, 90.0], [90.0, 10.0, 20.0]])
def test_explicit_times_that_do_not_fall_are_an_error(times):
    with pytest.raises(ValueError, match="times must fall, at least two of them"):
        explicit(PROCESS, times)


@pytest.mark.parametrize("times", [[100.5, 0.0], [90.0, -1.0], [math.nan, 0.0], [math.inf, 0.0]])
def test_explicit_times_outside_the_process_are_an_error(times):
    with pytest.raises(ValueError, match="t must lie in"):
        explicit(PROCESS, times)


# --- lambda_min ----------------------------------------------------------------------------------


@every_process
@every_spacing
def test_lambda_min_is_where_the_run_starts(spacing, process):
    low = process.lam(process.T) + 1.5
    for denoise_final in (True, False):
        nodes = timesteps(process, 6, spacing, lambda_min=low, denoise_final=denoise_final)
        assert len(nodes) == 7 and all(a.lam < b.lam for a, b in pairwise(nodes))
        if spacing != "leading":
            assert nodes[0].lam == pytest.approx(low, abs=1e-8)
        assert min(n.lam for n in nodes) > low - 1e-8


@every_process
def test_a_lambda_min_below_the_process_changes_nothing(process):
    for low in (-math.inf, process.lam(process.T) - 1, process.lam(process.T)):
        assert timesteps(process, 4, lambda_min=low) == timesteps(process, 4)


def test_lambda_min_starts_where_diffusers_lambda_min_clipped_does():
    # There, at the noisiest whole time whose lambda is not below it.
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1
    )
    scheduler.set_timesteps(10)
    process = VPSDE.from_alphas_cumprod(scheduler.alphas_cumprod)
    assert process.lam(process.T) < -8
    first = timesteps(process, 10, "uniform-t", lambda_min=-5.1)[0].t
    assert math.floor(first) == scheduler.timesteps[0] < process.T


@every_process
def test_a_lambda_min_that_leaves_nothing_is_an_error(process):
    for low in (process.lam(process.t_min), 100.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="leaves nothing of the process"):
            timesteps(process, 4, lambda_min=low)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", ["cosy", "", "uniform-t:3", "leading:", "Karras", "karras7"])
def test_an_unknown_spacing_is_an_error_that_lists_them(spacing):
    with pytest.raises(ValueError, match=r"unknown spacing .*choose from .*karras.*leading"):
        timesteps(PROCESS, 5, spacing)


@pytest.mark.parametrize("rho", ["0", "-1", "nan", "inf", "-inf", "seven", "7:7", "", "1e-3"])
def test_a_rho_that_is_not_positive_or_no_number_is_an_error(rho):
    with pytest.raises(ValueError, match=r"rho must be|has no number after the colon"):
        timesteps(PROCESS, 5, f"karras:{rho}")


def test_no_step_at_all_is_an_error():
    for steps in (0, -3):
        with pytest.raises(ValueError, match="at least 1 step"):
            timesteps(PROCESS, steps)


@every_spacing
def test_a_process_of_one_unit_has_no_room_for_two_steps_above_t_min(spacing):
    # With zero_start and num_steps=1, t_min is T.
    short = MeanRevertingSDE(num_steps=1, zero_start=True)
    assert [n.t for n in timesteps(short, 1, spacing)] == [1.0, 0.0]
    with pytest.raises(ValueError, match="does not give 2 times that fall from 1 to above 0"):
        timesteps(short, 2, spacing)
