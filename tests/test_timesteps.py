"""Where the steps fall."""

import math
from itertools import pairwise

import numpy as np
import pytest

from mrsampler import SPACINGS, MeanRevertingSDE
from mrsampler.timesteps import timesteps

PROCESS = MeanRevertingSDE()
ZERO_START = MeanRevertingSDE(zero_start=True)


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 333])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_grid_runs_from_T_down_to_0_in_the_steps_asked_for(spacing, steps):
    for process in (PROCESS, ZERO_START):
        nodes = timesteps(process, steps, spacing)
        times = [n.t for n in nodes]
        assert len(nodes) == steps + 1
        assert times[-1] == 0.0
        # By its definition "leading" begins a stride below T.
        assert times[0] == 100.0 or (spacing == "leading" and times[0] < 100)
        assert all(a > b for a, b in pairwise(times))
        for n in nodes:
            assert (n.alpha, n.sigma, n.lam) == (
                process.alpha(n.t),
                process.sigma(n.t),
                process.lam(n.t),
            )
            assert all(type(value) is float for value in n)


def test_uniform_t_is_uniform_in_t():
    times = [n.t for n in timesteps(PROCESS, 8, "uniform-t")]
    np.testing.assert_allclose(times, np.linspace(100, 0, 9), rtol=0, atol=1e-12)


def test_uniform_t_at_100_steps_lands_on_the_published_grid_exactly():
    assert [n.t for n in timesteps(PROCESS, 100, "uniform-t")] == list(range(100, -1, -1))
    assert [n.t for n in timesteps(ZERO_START, 100, "uniform-t")] == list(range(100, -1, -1))


def test_uniform_lambda_is_uniform_in_lambda():
    lam = [n.lam for n in timesteps(PROCESS, 9, "uniform-lambda")]
    np.testing.assert_allclose(
        lam, np.linspace(PROCESS.lam(100), PROCESS.lam(0), 10), rtol=0, atol=1e-9
    )


def test_the_default_spacing_is_uniform_lambda():
    assert timesteps(PROCESS, 5) == timesteps(PROCESS, 5, "uniform-lambda")


@pytest.mark.parametrize("spacing", ["uniform-t", "uniform-lambda"])
def test_with_zero_start_the_grid_ends_at_t_min_and_then_takes_one_step_to_sigma_0(spacing):
    nodes = timesteps(ZERO_START, 6, spacing)
    assert nodes[-2].t == ZERO_START.t_min == 1.0
    assert (nodes[-1].t, nodes[-1].alpha, nodes[-1].sigma) == (0.0, 1.0, 0.0)
    assert nodes[-1].lam == math.inf
    inner = [n.t if spacing == "uniform-t" else n.lam for n in nodes[:-1]]
    np.testing.assert_allclose(np.diff(inner), np.diff(inner).mean(), rtol=1e-9)
    assert [n.t for n in timesteps(ZERO_START, 1, spacing)] == [100.0, 0.0]


def test_an_unknown_spacing_or_no_step_at_all_is_an_error():
    with pytest.raises(ValueError, match="unknown spacing 'cosy'"):
        timesteps(PROCESS, 5, "cosy")
    for steps in (0, -3):
        with pytest.raises(ValueError, match="at least 1 step"):
            timesteps(PROCESS, steps)
