"""The stream of Steps: what it carries, and what it never does."""

import math
from itertools import pairwise

import pytest
import torch
from models import Counting, Mixture, mixture_run

from mrsampler import SOLVERS, Denoiser, MeanRevertingSDE, race, sample, trajectory

PROCESS = MeanRevertingSDE()
ZERO_START = MeanRevertingSDE(zero_start=True)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def steps_of(denoiser, mu, **settings):
    return list(trajectory(denoiser, mu, **{"process": PROCESS} | settings))


def test_the_first_step_is_the_start_before_any_network_call():
    denoiser, mu, x_T = mixture_run(PROCESS)
    step = next(trajectory(denoiser, mu, process=PROCESS, x_T=x_T))
    assert torch.equal(step.x, x_T)
    assert (step.index, step.nfe, step.x0) == (0, 0, None)
    assert (step.t, step.lam) == (100.0, PROCESS.lam(100.0))
    assert denoiser.network.count == 0


@every_solver
def test_steps_are_numbered_and_carry_their_time_and_shape(solver):
    denoiser, mu, x_T = mixture_run(PROCESS)
    steps = steps_of(denoiser, mu, solver=solver, nfe=6, x_T=x_T, generator=seeded())
    assert [step.index for step in steps] == list(range(len(steps)))
    assert steps[-1].t == 0.0
    for before, after in pairwise(steps):
        assert after.t < before.t and after.lam > before.lam
        assert after.nfe > before.nfe
        assert after.seconds >= before.seconds >= 0
        assert after.lam == PROCESS.lam(after.t)
        for x in (after.x, after.x0):
            assert x.shape == mu.shape and x.dtype == torch.float64 and torch.isfinite(x).all()


@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
@every_solver
def test_x0_is_the_prediction_made_at_the_step_before(solver, target):
    denoiser, mu, x_T = mixture_run(PROCESS, target=target)
    # Unit strides, where posterior-published, too, starts each step where the last one ended.
    settings = {"nfe": 100 * SOLVERS[solver].evaluations, "spacing": "uniform-t"}
    steps = steps_of(denoiser, mu, solver=solver, x_T=x_T, generator=seeded(), **settings)
    assert len(steps) == 101
    mixture, called = denoiser.network.network, {t for _, t, _, _ in denoiser.network.calls}
    for before, after in pairwise(steps):
        assert before.t in called
        t = before.t
        exact = mu + mixture.data(before.x - mu, PROCESS.alpha(t), PROCESS.sigma(t))
        # A noise network's output is divided by alpha, at least 0.005.
        torch.testing.assert_close(after.x0, exact, rtol=0, atol=1e-12)


def test_by_default_x_T_is_mu_plus_sigma_inf_noise():
    denoiser, mu, _ = mixture_run(PROCESS)
    step = next(trajectory(denoiser, mu, process=PROCESS, generator=seeded(5)))
    noise = torch.randn(mu.shape, dtype=mu.dtype, generator=seeded(5))
    torch.testing.assert_close(step.x, mu + 50 / 255 * noise, rtol=0, atol=1e-15)


@every_solver
@pytest.mark.parametrize("given", [False, True])
def test_noise_is_asked_for_by_step_once_and_only_where_it_is_needed(solver, given):
    denoiser, mu, x_T = mixture_run(PROCESS)
    asked = []

    def noise(index, shape):
        assert shape == mu.shape
        asked.append(index)
        return torch.full(shape, 0.01 * index)

    settings = {"x_T": x_T} if given else {}
    steps = steps_of(denoiser, mu, solver=solver, nfe=8, noise=noise, **settings)
    if not given:
        assert torch.equal(steps[0].x, mu)  # index 0 is the draw behind x_T, here 0
    draws = range(1, len(steps)) if SOLVERS[solver].stochastic else []
    assert asked == ([] if given else [0]) + list(draws)
    assert steps[-1].x.dtype == torch.float64


@pytest.mark.parametrize("solver", ["euler-maruyama", "mrs-sde-d-2", "posterior"])
def test_noise_of_another_type_is_brought_to_that_of_mu(solver):
    mu = torch.rand(4, 2, generator=seeded())
    for step in trajectory(
        Denoiser(lambda x, mu, t: x),
        mu,
        process=PROCESS,
        solver=solver,
        nfe=3,
        noise=lambda index, shape: torch.ones(shape, dtype=torch.float64),
    ):
        assert step.x.dtype == torch.float32


@every_solver
def test_one_seed_gives_the_same_bits_and_another_does_not(solver):
    mixture = Mixture(PROCESS)
    denoiser = Denoiser(lambda x, mu, t: mixture(x.double(), mu.double(), t).float())
    mu = torch.rand(4, 2, generator=seeded())

    def bits(seed):
        steps = steps_of(denoiser, mu, solver=solver, nfe=7, generator=seeded(seed))
        return torch.stack([step.x for step in steps])

    assert torch.equal(bits(1), bits(1))
    assert not torch.equal(bits(1), bits(2))


@every_solver
def test_without_a_generator_torchs_own_seed_decides(solver):
    denoiser, mu, _ = mixture_run(PROCESS)

    def run(seed):
        torch.manual_seed(seed)
        return sample(denoiser, mu, process=PROCESS, solver=solver, nfe=4)

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


@pytest.mark.parametrize("solver", [name for name, s in SOLVERS.items() if s.stochastic])
def test_a_stochastic_solver_draws_anew_from_the_same_start(solver):
    denoiser, mu, x_T = mixture_run(PROCESS)
    a, b = (
        sample(denoiser, mu, process=PROCESS, solver=solver, nfe=5, x_T=x_T, generator=seeded(i))
        for i in (0, 1)
    )
    assert not torch.equal(a, b)


@every_solver
def test_nothing_is_computed_ahead_of_what_is_asked_for(solver):
    denoiser, mu, x_T = mixture_run(PROCESS)
    network = denoiser.network
    stream = trajectory(
        denoiser, mu, process=PROCESS, solver=solver, nfe=6, x_T=x_T, generator=seeded()
    )
    assert network.count == 0
    for step in stream:
        assert network.count == step.nfe
    assert network.count == step.nfe


@every_solver
@pytest.mark.parametrize("after", [0, 1, 3])
def test_closing_stops_before_the_next_network_call(solver, after):
    denoiser, mu, x_T = mixture_run(PROCESS)
    stream = trajectory(
        denoiser, mu, process=PROCESS, solver=solver, nfe=20, x_T=x_T, generator=seeded()
    )
    for _ in range(after + 1):
        step = next(stream)
    stream.close()
    assert denoiser.network.count == step.nfe
    assert next(stream, None) is None
    assert denoiser.network.count == step.nfe


@every_solver
def test_a_yielded_tensor_is_never_written_to_again(solver):
    for target in ("noise", "data", "velocity"):
        denoiser, mu, x_T = mixture_run(PROCESS, target=target)
        before = mu.clone(), x_T.clone()
        kept = []
        for step in trajectory(
            denoiser, mu, process=PROCESS, solver=solver, nfe=8, x_T=x_T, generator=seeded()
        ):
            kept.append((step, step.x.clone(), None if step.x0 is None else step.x0.clone()))
        for step, x, x0 in kept:
            assert torch.equal(step.x, x)
            assert x0 is None or torch.equal(step.x0, x0)
        assert torch.equal(mu, before[0]) and torch.equal(x_T, before[1])
        places = [
            tensor.data_ptr()
            for step, _, _ in kept
            for tensor in (step.x, step.x0)
            if tensor is not None
        ]
        assert len(set(places)) == len(places)


@every_solver
def test_a_networks_output_is_never_written_to(solver):
    outputs = []

    def network(x, mu, t):
        output = mixture(x, mu, t)
        outputs.append((output, output.clone()))
        return output

    mixture = Mixture(PROCESS)
    _, mu, x_T = mixture_run(PROCESS)
    sample(
        Denoiser(network), mu, process=PROCESS, solver=solver, nfe=6, x_T=x_T, generator=seeded()
    )
    assert all(torch.equal(output, kept) for output, kept in outputs)


def test_conditioning_reaches_the_network_at_every_call():
    denoiser, mu, x_T = mixture_run(PROCESS)
    steps_of(denoiser, mu, nfe=3, x_T=x_T, conditioning={"task": 4, "strength": 0.5})
    assert [call[3] for call in denoiser.network.calls] == [{"task": 4, "strength": 0.5}] * 3


def test_the_networks_see_times_as_floats_within_0_and_T():
    denoiser, mu, x_T = mixture_run(PROCESS)
    steps_of(denoiser, mu, nfe=5, x_T=x_T)
    times = [call[1] for call in denoiser.network.calls]
    assert all(type(t) is float and 0 <= t <= 100 for t in times)
    assert times[0] == 100.0


def test_gradients_are_off_inside_and_the_callers_mode_is_untouched():
    modes = []
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def network(x, mu, t):
        modes.append(torch.is_grad_enabled())
        return x * weight

    mu = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    for step in trajectory(Denoiser(network), mu, process=PROCESS, nfe=3):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
    assert modes == [False] * 3
    with torch.no_grad():
        for _ in trajectory(Denoiser(network), mu, process=PROCESS, nfe=2):
            assert not torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_type_that_comes_in_goes_out(dtype):
    mu = torch.rand(2, 3, 4, 4, generator=seeded()).to(dtype)
    for step in trajectory(Denoiser(lambda x, mu, t: x), mu, process=PROCESS, nfe=4):
        assert step.x.dtype == dtype and step.x.shape == mu.shape


def test_float32_follows_float64():
    mixture = Mixture(PROCESS)
    single = Denoiser(lambda x, mu, t: mixture(x.double(), mu.double(), t).float())
    _, mu, x_T = mixture_run(PROCESS)
    exact = sample(Denoiser(mixture), mu, process=PROCESS, x_T=x_T)
    computed = sample(single, mu.float(), process=PROCESS, x_T=x_T.float())
    torch.testing.assert_close(computed.double(), exact, rtol=0, atol=1e-5)


# --- the end where sigma_0 = 0 -------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize("nfe", [1, 2, 9])
def test_with_zero_start_the_last_step_returns_the_prediction_itself(solver, nfe):
    denoiser, mu, x_T = mixture_run(ZERO_START)
    if solver == "posterior-published":
        nfe = max(nfe, 2)  # alone, one unit step ends at t = 99
    nfe = max(nfe, SOLVERS[solver].evaluations)
    steps = list(
        trajectory(
            denoiser, mu, process=ZERO_START, solver=solver, nfe=nfe, x_T=x_T, generator=seeded()
        )
    )
    assert torch.equal(steps[-1].x, steps[-1].x0)
    assert (steps[-1].t, steps[-1].lam) == (0.0, math.inf)
    assert denoiser.network.count == steps[-1].nfe <= nfe
    # The networks were never trained at t = 0, where there is nothing to predict.
    assert min(t for _, t, _, _ in denoiser.network.calls) >= 1.0


# --- errors, at the call -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, error, text",
    [
        ({"solver": "magic"}, ValueError, "unknown solver 'magic'; choose from .*mrs-ode-d-2"),
        ({"spacing": "cosy"}, ValueError, "unknown spacing 'cosy'"),
        ({"nfe": 0}, ValueError, "mrs-ode-d-2 needs at least 1"),
        ({"nfe": -1}, ValueError, "nfe=-1"),
        ({"mu": torch.zeros(2, 2, dtype=torch.int64)}, TypeError, "floating-point"),
        ({"mu": [0.5]}, TypeError, "floating-point"),
        ({"mu": torch.tensor([[0.0, math.nan]])}, ValueError, "not finite"),
        ({"mu": torch.tensor([[0.0, math.inf]])}, ValueError, "not finite"),
        ({"x_T": torch.zeros(2, 3)}, ValueError, r"x_T must match mu: \(2, 3\)"),
        ({"x_T": torch.zeros(2, 2, dtype=torch.float64)}, ValueError, "float64"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_settings_are_refused_at_the_call_not_at_the_first_step(settings, error, text):
    network = Counting(lambda x, mu, t: x)
    settings = {"mu": torch.zeros(2, 2), "process": PROCESS} | settings
    mu = settings.pop("mu")
    with pytest.raises(error, match=text):
        trajectory(Denoiser(network), mu, **settings)
    assert network.count == 0


def test_an_error_in_the_network_reaches_the_caller():
    def network(x, mu, t):
        raise RuntimeError("out of memory")

    stream = trajectory(Denoiser(network), torch.zeros(1, 2), process=PROCESS)
    next(stream)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(stream)


def test_sample_is_the_last_step():
    denoiser, mu, x_T = mixture_run(PROCESS)
    last = steps_of(denoiser, mu, nfe=5, x_T=x_T)[-1]
    assert torch.equal(sample(denoiser, mu, process=PROCESS, nfe=5, x_T=x_T), last.x)


# --- the race ------------------------------------------------------------------------------------


def racers(*nfes):
    denoisers, runs = [], []
    for nfe in nfes:
        denoiser, mu, x_T = mixture_run(PROCESS)
        denoisers.append(denoiser)
        runs.append(trajectory(denoiser, mu, process=PROCESS, nfe=nfe, x_T=x_T))
    return denoisers, runs


def test_a_race_advances_both_a_step_a_tick_and_the_finished_one_keeps_its_last():
    denoisers, runs = racers(2, 5)
    ticks = []
    for tick in race(*runs):
        assert [d.network.count for d in denoisers] == [step.nfe for step in tick]
        ticks.append(tick)
    assert [tuple(step.index for step in tick) for tick in ticks] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (2, 5),
    ]
    assert ticks[-1][0] is ticks[2][0]
    assert torch.equal(ticks[0][0].x, ticks[0][1].x)


def test_closing_a_race_closes_both():
    denoisers, runs = racers(5, 5)
    contest = race(*runs)
    next(contest)
    next(contest)
    contest.close()
    assert [next(run, None) for run in runs] == [None, None]
    assert [d.network.count for d in denoisers] == [1, 1]


def test_an_error_in_one_racer_closes_the_other():
    def failing(x, mu, t):
        raise RuntimeError("out of memory")

    denoisers, runs = racers(5)
    _, mu, _ = mixture_run(PROCESS)
    contest = race(*runs, trajectory(Denoiser(failing), mu, process=PROCESS))
    next(contest)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(contest)
    assert next(runs[0], None) is None
    assert denoisers[0].network.count == 1
