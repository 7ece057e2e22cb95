"""The ratio of convergence: by hand, in closed form, and along every solver's trajectory."""

import math

import pytest
import torch
from models import mixture_run

from mrsampler import SOLVERS, VESDE, VPSDE, MeanRevertingSDE, Step, convergence, trajectory
from mrsampler.stability import QUANTILES, radius

PROCESS = MeanRevertingSDE()
PROCESSES = [PROCESS, MeanRevertingSDE(zero_start=True), VPSDE(), VESDE()]
every_prediction = pytest.mark.parametrize("prediction", ["noise", "data"])


def tensor(*values):
    return torch.tensor([values], dtype=torch.float64)


def steps_with(data, lams, mu, process=PROCESS):
    """Steps at these lambdas, whose evaluations returned these x_0; x is made for eps = 1."""
    nodes = [(0.0 if lam == math.inf else process.time(lam), lam) for lam in lams]
    steps = []
    for i, (t, lam) in enumerate(nodes):
        x0 = data[min(i, len(data) - 1)]
        x = process.perturb(x0, mu, t, torch.ones_like(mu))
        steps.append(Step(i, t, lam, x, data[i - 1] if i else None, i, 0.0))
    return steps


def made_by(solver, prediction, process, steps=8, **settings):
    """What a run of the mixture gives: mu, its Steps and its records."""
    denoiser, mu, x_T = mixture_run(process)
    nfe = 2000 if SOLVERS[solver].adaptive else SOLVERS[solver].cost(steps)
    stream = trajectory(denoiser, mu, process=process, solver=solver, nfe=nfe, x_T=x_T, **settings)
    steps = list(stream)
    return mu, steps, list(convergence(steps, prediction, process=process, mu=mu))


# --- the radius ----------------------------------------------------------------------------------


def test_the_radius_by_hand():
    # |f| gap / |f - earlier|: 3 * 0.5 / 1, 3 * 0.5 / 6, and none of the change's sign.
    f, earlier = tensor(3.0, 3.0, -3.0, 1.0), tensor(2.0, -3.0, -4.0, 3.0)
    torch.testing.assert_close(radius(f, earlier, 0.5), tensor(1.5, 0.25, 1.5, 0.25))


def test_a_prediction_that_does_not_change_bears_any_step_even_where_it_is_0():
    f = tensor(2.0, 0.0, 0.0)
    assert radius(f, tensor(2.0, 0.0, 1.0), 0.5).tolist() == [[math.inf, math.inf, 0.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_bears_no_step(bad):
    good = tensor(1.0)
    for f, earlier in ((good * bad, good), (good, good * bad), (good * bad, good * bad)):
        assert radius(f, earlier, 0.5).item() == 0


@pytest.mark.parametrize("rate", [2.0, -1.0, 0.1])
def test_the_radius_of_an_exponential_is_that_of_its_first_two_taylor_coefficients(rate):
    # f = e^{rate lambda}: |c_0 / c_1| = 1/|rate|. From a difference over a gap g it is
    # g / |1 - e^{-rate g}|, whose limit that is: the backward difference errs by rate g / 2.
    for gap in (1.0, 0.1, 1e-3):
        f, earlier = tensor(math.exp(rate * 0.7)), tensor(math.exp(rate * (0.7 - gap)))
        estimate = radius(f, earlier, gap).item()
        assert estimate == pytest.approx(gap / abs(math.expm1(-rate * gap)), rel=1e-10)
    assert estimate == pytest.approx(1 / abs(rate), rel=abs(rate) * gap)


# --- which evaluations and which gaps ------------------------------------------------------------


def test_a_trajectory_by_hand():
    # x_0 as evaluated at steps 0, 1, 2; lambda -1, 0, 2, 3: gaps 1, 2, 1.
    mu = tensor(0.0, 0.0, 0.0)
    data = [tensor(1.0, 4.0, 2.0), tensor(2.0, 3.0, 2.0), tensor(3.0, 1.0, 1.0)]
    steps = steps_with(data, [-1, 0, 2, 3], mu)
    first, second = convergence(steps, "data", process=PROCESS, mu=mu)
    # Step 2 has gap 2, evaluations 0 and 1 that are 1 apart: R = (2 * 1/1, 3 * 1/1, infinite).
    # The first pixel fails: R must exceed the gap.
    assert (first.index, first.t, first.lam, first.gap) == (2, steps[2].t, 2, 2)
    assert first.holds.tolist() == [[False, True, True]]
    assert first.fraction == 2 / 3
    assert (first.radius, first.quantiles[0], first.quantiles[-1]) == (3.0, 2.0, math.inf)
    # Step 3 has gap 1, evaluations 1 and 2 that are 2 apart: R = (3 * 2/1, 1 * 2/2, 1 * 2/1).
    assert (second.index, second.gap) == (3, 1)
    assert second.holds.tolist() == [[True, False, True]]
    assert (second.radius, second.quantiles[0], second.quantiles[-1]) == (2.0, 1.0, 6.0)


def test_the_condition_is_the_posters_inequality():
    generator = torch.Generator().manual_seed(0)
    data = [torch.randn(1, 500, dtype=torch.float64, generator=generator) for _ in range(5)]
    lams = [-1.5, -1.0, 0.5, 0.75, 3.0, 3.1]
    mu = torch.zeros(1, 500, dtype=torch.float64)
    records = list(convergence(steps_with(data, lams, mu), "data", process=PROCESS, mu=mu))
    assert [record.index for record in records] == [2, 3, 4, 5]
    for record in records:
        i = record.index
        ratio = (lams[i] - lams[i - 1]) / (lams[i - 1] - lams[i - 2])
        expected = ratio < (data[i - 1] / (data[i - 1] - data[i - 2])).abs()
        assert torch.equal(record.holds, expected)
        assert 0 < record.fraction < 1 and record.fraction == expected.double().mean().item()


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_noise_is_that_of_the_step_where_the_prediction_was_made(process):
    # Steps made with eps = 1 everywhere: constant, so it bears any step, whatever x_0 does.
    generator = torch.Generator().manual_seed(0)
    mu = torch.rand(1, 20, dtype=torch.float64, generator=generator)
    data = [torch.rand(1, 20, dtype=torch.float64, generator=generator) for _ in range(4)]
    low = process.lam(process.T) + 1
    steps = steps_with(data, [low, low + 0.5, low + 2, low + 2.25], mu, process)
    for record in convergence(steps, "noise", process=process, mu=mu):
        # eps = (x - mu - alpha (x_0 - mu))/sigma, rounded: changes of 1e-16/sigma, not exactly 0.
        assert record.quantiles[0] > 1e12 and record.fraction == 1
    assert any(r.fraction < 1 for r in convergence(steps, "data", process=process, mu=mu))


@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
def test_the_noise_is_the_networks_own_whatever_its_target(target):
    denoiser, mu, x_T = mixture_run(PROCESS, target=target)
    steps = list(trajectory(denoiser, mu, process=PROCESS, nfe=6, x_T=x_T))
    mixture = denoiser.network.network
    noise = []
    for step in steps[:-1]:
        y, alpha, sigma = step.x - mu, PROCESS.alpha(step.t), PROCESS.sigma(step.t)
        noise.append((y - alpha * mixture.data(y, alpha, sigma)) / sigma)
    lams = [step.lam for step in steps]
    for record in convergence(steps, "noise", process=PROCESS, mu=mu):
        i = record.index
        expected = radius(noise[i - 1], noise[i - 2], lams[i - 1] - lams[i - 2])
        # Of 8 pixels the outer quantiles are the extremes.
        extremes = expected.min().item(), expected.max().item()
        assert (record.quantiles[0], record.quantiles[-1]) == pytest.approx(extremes, rel=1e-6)
        assert record.fraction == (expected > record.gap).double().mean().item()


def test_data_is_x0_and_not_x0_less_mu():
    # The same D, x - mu around two anchors: R of x_0 = mu + D differs, that of eps does not.
    differences = [tensor(0.1, -0.3), tensor(0.2, -0.2)]
    lams, noise = [-1, 0, 2.5], [tensor(1.0, 2.0), tensor(0.5, 2.2), tensor(0.0, 0.0)]
    records = []
    for anchor in (0.0, 0.5):
        mu = tensor(anchor, anchor)
        x = [
            PROCESS.perturb(mu + d, mu, PROCESS.time(lam), eps)
            for d, lam, eps in zip([*differences, differences[1]], lams, noise, strict=True)
        ]
        steps = [
            Step(i, PROCESS.time(lam), lam, x[i], mu + differences[i - 1] if i else None, i, 0.0)
            for i, lam in enumerate(lams)
        ]
        for prediction in ("data", "noise"):
            records.append(next(convergence(steps, prediction, process=PROCESS, mu=mu)))
    (data, eps), (data_shifted, eps_shifted) = records[:2], records[2:]
    # |0.2 / 0.1| and |-0.2 / 0.1| against |0.7 / 0.1| and |0.3 / 0.1|; the gap is 2.5.
    assert (data.quantiles[0], data.quantiles[-1]) == pytest.approx((2, 2))
    assert (data_shifted.quantiles[0], data_shifted.quantiles[-1]) == pytest.approx((3, 7))
    assert (data.fraction, data_shifted.fraction) == (0, 1)
    # |0.5 / 0.5| and |2.2 / 0.2|.
    assert (eps.quantiles[0], eps.quantiles[-1]) == pytest.approx((1, 11))
    assert eps_shifted.quantiles == pytest.approx(eps.quantiles)


def test_the_quantiles_are_those_of_the_pixels():
    # R = 1, 2, ..., 101 (f = 1 and a change of 1/R over a gap of 1), in disorder.
    values = torch.arange(1, 102, dtype=torch.float64)
    values = values[torch.randperm(101, generator=torch.Generator().manual_seed(0))][None]
    mu, one = torch.zeros_like(values), torch.ones_like(values)
    steps = steps_with([one - 1 / values, one], [-1, 0, 1.5], mu)
    (record,) = convergence(steps, "data", process=PROCESS, mu=mu)
    expected = [1 + 100 * q for q in QUANTILES]
    assert record.quantiles == pytest.approx(expected, rel=1e-10)
    assert record.radius == pytest.approx(51, rel=1e-10)
    assert record.fraction == 100 / 101


# --- along a run ---------------------------------------------------------------------------------


@every_prediction
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solvers_trajectory_has_a_record_of_each_step_but_the_first(solver, prediction):
    generator = torch.Generator().manual_seed(0)
    process = PROCESS if isinstance(PROCESS, SOLVERS[solver].processes) else VESDE()
    mu, steps, records = made_by(solver, prediction, process, generator=generator)
    steps = [step for step in steps if step.lam < math.inf]
    assert [record.index for record in records] == [step.index for step in steps[2:]]
    for record, before, step in zip(records, steps[1:-1], steps[2:], strict=True):
        assert (record.t, record.lam, record.gap) == (step.t, step.lam, step.lam - before.lam)
        assert record.holds.shape == mu.shape and record.holds.dtype == torch.bool
        assert record.fraction == record.holds.double().mean().item()
        assert list(record.quantiles) == sorted(record.quantiles)  # which nan would break
        assert record.quantiles[0] >= 0


@every_prediction
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
def test_a_step_to_sigma_0_has_none_and_is_never_nan(process, prediction, spacing):
    _, steps, records = made_by("mrs-ode-d-2", prediction, process, spacing=spacing)
    finite = [step.index for step in steps if step.lam < math.inf]
    assert [record.index for record in records] == finite[2:]
    # The default process alone ends above sigma 0.
    assert len(finite) == len(steps) - (process is not PROCESS)
    assert all(math.isfinite(record.gap) and record.radius >= 0 for record in records)


def test_unequal_steps_converge_less_where_the_gap_grows():
    # The same evaluations, a step from the last of them that is half or ten times as long as the
    # gap between them.
    mu = tensor(0.0)
    data = [tensor(1.0), tensor(1.5)]  # R = 3 gaps
    for ratio, fraction in ((0.5, 1), (2.9, 1), (3.1, 0)):
        steps = steps_with(data, [-1, 0, ratio], mu)
        assert next(convergence(steps, "data", process=PROCESS, mu=mu)).fraction == fraction


@every_prediction
def test_a_run_of_one_step_has_none(prediction):
    for steps, expected in ((1, 0), (2, 1)):
        assert len(made_by("mrs-ode-d-2", prediction, PROCESS, steps=steps)[2]) == expected


def test_it_takes_a_step_at_a_time_and_no_more():
    denoiser, mu, x_T = mixture_run(PROCESS)
    stream = trajectory(denoiser, mu, process=PROCESS, nfe=6, x_T=x_T)
    records = convergence(stream, "noise", process=PROCESS, mu=mu)
    assert denoiser.network.count == 0
    for expected in (2, 3, 4, 5, 6):
        assert next(records).index == denoiser.network.count == expected
    assert next(records, None) is None


def test_a_steps_tensors_are_not_written_to_and_no_gradient_is_kept():
    denoiser, mu, x_T = mixture_run(PROCESS)
    steps = list(trajectory(denoiser, mu, process=PROCESS, nfe=5, x_T=x_T))
    before = [(step.x.clone(), None if step.x0 is None else step.x0.clone()) for step in steps]
    for prediction in ("noise", "data"):
        list(convergence(steps, prediction, process=PROCESS, mu=mu.requires_grad_()))
    for step, (x, x0) in zip(steps, before, strict=True):
        assert torch.equal(step.x, x) and (x0 is None or torch.equal(step.x0, x0))


def test_an_unknown_prediction_is_an_error_at_the_call():
    with pytest.raises(ValueError, match="unknown prediction 'velocity'; choose from noise, data"):
        convergence([], "velocity", process=PROCESS, mu=tensor(0.0))
