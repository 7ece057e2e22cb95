"""The stream of Steps: what it carries, and what it never does."""

import math
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from models import Counting, Mixture, mixture_run

from mrsampler import (
    SOLVERS,
    VESDE,
    VPSDE,
    Denoiser,
    MeanRevertingSDE,
    race,
    sample,
    trajectory,
)
from mrsampler.denoiser import Thresholding

PROCESS = MeanRevertingSDE()
ZERO_START = MeanRevertingSDE(zero_start=True)
DEFINED = [name for name, solver in SOLVERS.items() if isinstance(PROCESS, solver.processes)]
every_solver = pytest.mark.parametrize("solver", DEFINED)
# Those that take their steps from the grid, which the options below are about.
ON_A_GRID = [name for name in DEFINED if not SOLVERS[name].own_nodes]
every_solver_on_a_grid = pytest.mark.parametrize("solver", ON_A_GRID)


def budget(solver, steps, to_data=False):
    """The nfe of so many steps; ample, where the solver chooses how many."""
    return 2000 if SOLVERS[solver].adaptive else SOLVERS[solver].cost(steps, to_data)


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
    steps = steps_of(
        denoiser, mu, solver=solver, nfe=budget(solver, 6), x_T=x_T, generator=seeded()
    )
    assert [step.index for step in steps] == list(range(len(steps)))
    assert steps[-1].t == 0.0
    for before, after in pairwise(steps):
        assert after.t < before.t and after.lam > before.lam
        assert after.nfe > before.nfe
        assert after.seconds >= before.seconds >= 0
        assert after.lam == PROCESS.lam(after.t)
        for x in (after.x, after.x0):
            assert x.shape == mu.shape and x.dtype == torch.float64 and torch.isfinite(x).all()


def test_seconds_are_of_the_sampler_and_not_of_whoever_takes_its_steps(monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(import_module("mrsampler.trajectory"), "time", clock)

    def network(x, mu, t):
        now[0] += 1
        return mu

    seconds = []
    for step in trajectory(Denoiser(network, "data"), torch.zeros(2, 3), process=PROCESS, nfe=3):
        seconds.append(step.seconds)
        now[0] += 100
    assert seconds == [0, 1, 2, 3]


@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
@every_solver
def test_x0_is_the_prediction_made_at_the_step_before(solver, target):
    denoiser, mu, x_T = mixture_run(PROCESS, target=target)
    # Unit strides, where posterior-published, too, starts each step where the last one ended.
    settings = {"nfe": budget(solver, 100), "spacing": "uniform-t"}
    steps = steps_of(denoiser, mu, solver=solver, x_T=x_T, generator=seeded(), **settings)
    assert len(steps) == 101 or SOLVERS[solver].adaptive
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
    steps = steps_of(denoiser, mu, solver=solver, nfe=budget(solver, 8), noise=noise, **settings)
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
        steps = steps_of(denoiser, mu, solver=solver, nfe=budget(solver, 7), generator=seeded(seed))
        return torch.stack([step.x for step in steps])

    assert torch.equal(bits(1), bits(1))
    assert not torch.equal(bits(1), bits(2))


@every_solver
def test_without_a_generator_torchs_own_seed_decides(solver):
    denoiser, mu, _ = mixture_run(PROCESS)

    def run(seed):
        torch.manual_seed(seed)
        return sample(denoiser, mu, process=PROCESS, solver=solver, nfe=budget(solver, 4))

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


@pytest.mark.parametrize("solver", [name for name in DEFINED if SOLVERS[name].stochastic])
def test_a_stochastic_solver_draws_anew_from_the_same_start(solver):
    denoiser, mu, x_T = mixture_run(PROCESS)
    a, b = (
        sample(
            denoiser,
            mu,
            process=PROCESS,
            solver=solver,
            nfe=budget(solver, 5),
            x_T=x_T,
            generator=seeded(i),
        )
        for i in (0, 1)
    )
    assert not torch.equal(a, b)


@every_solver
def test_nothing_is_computed_ahead_of_what_is_asked_for(solver):
    denoiser, mu, x_T = mixture_run(PROCESS)
    network = denoiser.network
    stream = trajectory(
        denoiser,
        mu,
        process=PROCESS,
        solver=solver,
        nfe=budget(solver, 6),
        x_T=x_T,
        generator=seeded(),
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
        denoiser,
        mu,
        process=PROCESS,
        solver=solver,
        nfe=budget(solver, 20),
        x_T=x_T,
        generator=seeded(),
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
            denoiser,
            mu,
            process=PROCESS,
            solver=solver,
            nfe=budget(solver, 8),
            x_T=x_T,
            generator=seeded(),
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
        Denoiser(network),
        mu,
        process=PROCESS,
        solver=solver,
        nfe=budget(solver, 6),
        x_T=x_T,
        generator=seeded(),
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


@pytest.mark.parametrize("process", [ZERO_START, VPSDE(), VPSDE("cosine"), VESDE()], ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 5])
@every_solver_on_a_grid
def test_where_sigma_0_is_0_the_last_step_returns_the_prediction_itself(solver, steps, process):
    denoiser, mu, x_T = mixture_run(process)
    nfe = budget(solver, steps, to_data=True)
    if SOLVERS[solver].adaptive:
        nfe = 1 if steps == 1 else nfe
    taken = steps_of(
        denoiser, mu, process=process, solver=solver, nfe=nfe, x_T=x_T, generator=seeded()
    )
    assert torch.equal(taken[-1].x, taken[-1].x0)
    assert (taken[-1].t, taken[-1].lam) == (0.0, math.inf)
    assert len(taken) == steps + 1 or SOLVERS[solver].adaptive
    assert denoiser.network.count == taken[-1].nfe <= nfe
    # Nothing was trained below t_min: t = 1 of 100 with zero_start.
    times = [t for _, t, _, _ in denoiser.network.calls]
    assert min(times) >= process.t_min
    assert times[-1] == (process.t_min if steps > 1 else process.T)


@every_solver_on_a_grid
def test_denoise_final_returns_the_predicted_x0_and_is_counted_in_nfe(solver):
    endings = {}
    for denoise_final in (None, False, True):
        denoiser, mu, x_T = mixture_run(PROCESS)
        nfe = budget(solver, 4, to_data=denoise_final is True)
        steps = steps_of(
            denoiser,
            mu,
            solver=solver,
            nfe=nfe,
            x_T=x_T,
            generator=seeded(),
            denoise_final=denoise_final,
        )
        assert denoiser.network.count == steps[-1].nfe <= nfe
        if not SOLVERS[solver].adaptive:
            assert len(steps) == 5 and steps[-1].nfe == nfe
        endings[denoise_final] = steps[-1]
    # The default process has sigma_0 > 0: it ends there, at t = 0, unless told to go on.
    assert torch.equal(endings[None].x, endings[False].x)
    assert not torch.equal(endings[False].x, endings[False].x0)
    assert (endings[False].t, endings[False].lam) == (0.0, PROCESS.lam(0.0))
    assert torch.equal(endings[True].x, endings[True].x0)
    assert (endings[True].t, endings[True].lam) == (0.0, math.inf)


@pytest.mark.parametrize(("solver", "lowered"), [("mrs-ode-d-2", False), ("mrs-ode-d-3", True)])
def test_the_step_before_the_one_to_sigma_0_may_be_of_second_order(solver, lowered):
    denoiser, mu, x_T = mixture_run(ZERO_START)

    def end(lower):
        settings = {"nfe": 5, "x_T": x_T, "lower_order_final": lower}
        return sample(denoiser, mu, process=ZERO_START, solver=solver, **settings)

    assert torch.equal(end(True), end(False)) != lowered


@pytest.mark.parametrize("process", [ZERO_START, VPSDE(), VESDE()], ids=repr)
@every_solver_on_a_grid
def test_without_denoise_final_a_run_ends_at_t_min(solver, process):
    denoiser, mu, x_T = mixture_run(process)
    last = steps_of(
        denoiser,
        mu,
        process=process,
        solver=solver,
        nfe=budget(solver, 4),
        x_T=x_T,
        generator=seeded(),
        denoise_final=False,
    )[-1]
    assert (last.t, last.lam) == (process.t_min, process.lam(process.t_min))
    assert not torch.equal(last.x, last.x0)


@pytest.mark.parametrize("spacing", ["uniform-t", "leading", "uniform-lambda"])
@pytest.mark.parametrize("solver", [name for name in DEFINED if SOLVERS[name].own_nodes])
def test_a_solver_with_nodes_of_its_own_starts_at_T_whatever_the_spacing(solver, spacing):
    for process in (PROCESS, ZERO_START):
        denoiser, mu, x_T = mixture_run(process)
        settings = {"spacing": spacing, "nfe": 10, "x_T": x_T, "generator": seeded()}
        steps = steps_of(denoiser, mu, process=process, solver=solver, **settings)
        assert (steps[0].t, steps[0].lam) == (100.0, process.lam(100.0))
        assert [step.t for step in steps] == [100, 99, 88, 77, 66, 55, 44, 33, 22, 11, 0]
        assert min(t for _, t, _, _ in denoiser.network.calls) >= 1.0


# --- the grid and the range ----------------------------------------------------------------------


@every_solver_on_a_grid
def test_explicit_times_are_where_the_steps_are(solver):
    # Of an adaptive solver only the ends can be given.
    times = [95.0, 3.0] if SOLVERS[solver].adaptive else [95.0, 60.0, 20.5, 3.0]
    denoiser, mu, x_T = mixture_run(PROCESS)
    settings = {"spacing": times, "nfe": budget(solver, 3), "x_T": x_T, "generator": seeded()}
    steps = steps_of(denoiser, mu, solver=solver, **settings)
    assert (steps[0].t, steps[-1].t) == (95.0, 3.0)
    if not SOLVERS[solver].adaptive:
        assert [step.t for step in steps] == times
    # With denoise_final one more, to sigma = 0.
    settings |= {"nfe": budget(solver, 4, to_data=True), "denoise_final": True}
    steps = steps_of(denoiser, mu, solver=solver, **settings)
    assert (steps[-1].lam, steps[-2].t) == (math.inf, 3.0)
    assert torch.equal(steps[-1].x, steps[-1].x0)


@pytest.mark.parametrize(
    "solver", [name for name in ON_A_GRID if not SOLVERS[name].adaptive]
)  # an adaptive one takes two times and any nfe
def test_explicit_times_that_cost_more_than_nfe_are_an_error_that_says_how_many(solver):
    denoiser, mu, _ = mixture_run(PROCESS)
    cost = SOLVERS[solver].cost(4)
    with pytest.raises(ValueError) as error:
        trajectory(
            denoiser,
            mu,
            process=PROCESS,
            solver=solver,
            nfe=cost - 1,
            spacing=[100.0, 60.0, 30.0, 10.0, 0.0],
        )
    assert str(error.value) == (
        f"{solver} needs {cost} evaluations for these times, got nfe={cost - 1}"
    )


def test_explicit_times_may_end_early_and_may_end_at_the_data():
    denoiser, mu, x_T = mixture_run(VPSDE())
    early = steps_of(denoiser, mu, process=VPSDE(), spacing=[0.9, 0.5, 0.2], x_T=x_T)
    assert [step.t for step in early] == [0.9, 0.5, 0.2]
    assert torch.equal(early[0].x, x_T)
    data = steps_of(denoiser, mu, process=VPSDE(), spacing=[0.9, 0.5, 0.0], x_T=x_T)
    assert torch.equal(data[-1].x, data[-1].x0)


def test_a_function_places_the_steps():
    denoiser, mu, x_T = mixture_run(PROCESS)

    def halving(span, steps):
        return [span.first / 2**i for i in range(steps)]

    steps = steps_of(denoiser, mu, spacing=halving, nfe=4, x_T=x_T)
    assert [step.t for step in steps] == [100.0, 50.0, 25.0, 12.5, 0.0]


def test_lambda_min_is_where_the_run_starts():
    process = VPSDE("cosine")
    denoiser, mu, x_T = mixture_run(process)
    steps = steps_of(denoiser, mu, process=process, nfe=5, lambda_min=-3.0, x_T=x_T)
    assert steps[0].lam == pytest.approx(-3.0, abs=1e-8)
    assert torch.equal(steps[0].x, x_T)
    assert min(step.lam for step in steps) == steps[0].lam


@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
@pytest.mark.parametrize("denoise_final", [False, True])
@every_solver_on_a_grid
def test_thresholding_keeps_every_predicted_x0_in_range(solver, denoise_final, target):
    # A mu near the edge of [0, 1] and a network that points outwards.
    mu = torch.full((2, 3, 4), 0.95, dtype=torch.float64)
    output = {"data": 1.4, "noise": -0.3, "velocity": -0.3}[target]
    denoiser = Denoiser(lambda x, mu, t: torch.full_like(x, output), target)
    settings = {
        "solver": solver,
        "nfe": budget(solver, 4, denoise_final),
        "denoise_final": denoise_final,
        "generator": seeded(),
    }
    beyond = max(step.x0.max().item() for step in steps_of(denoiser, mu, **settings)[1:])
    assert beyond > 1.05
    steps = steps_of(denoiser, mu, thresholding=Thresholding(), **settings)[1:]
    for step in steps:
        # mu + (x_0 - mu) rounds by 1.1e-16.
        assert step.x0.min() >= -1e-15 and step.x0.max() <= 1 + 1e-15
    if denoise_final:
        assert torch.equal(steps[-1].x, steps[-1].x0)


def test_thresholding_changes_nothing_that_is_in_range():
    results = []
    for thresholding in (None, Thresholding(centre=0.0, half_width=100.0)):
        for solver in ("mrs-ode-d-2", "mrs-ode-n-2"):
            denoiser, mu, x_T = mixture_run(PROCESS)
            settings = {"solver": solver, "x_T": x_T, "thresholding": thresholding}
            results.append(sample(denoiser, mu, process=PROCESS, **settings))
    # eps goes through D and back, whose rounding grows by 1/sigma, at most 450.
    torch.testing.assert_close(results[:2], results[2:], rtol=0, atol=1e-12)


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


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_option_that_the_solver_does_not_take_is_an_error_that_names_those_it_does(solver):
    takes = ", ".join(sorted(SOLVERS[solver].options)) or "none"
    process = PROCESS if solver in DEFINED else VESDE()
    with pytest.raises(ValueError) as error:
        trajectory(
            Denoiser(lambda x, mu, t: x),
            torch.zeros(1, 2),
            process=process,
            solver=solver,
            nfe=100,
            flavour=3,
        )
    assert str(error.value) == f"{solver} takes no option 'flavour', only: {takes}"


@pytest.mark.parametrize("process", [PROCESS, VPSDE(), VESDE()], ids=repr)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_process_that_the_solver_is_not_defined_on_is_an_error_that_names_those_it_is(
    solver, process
):
    denoiser, mu = Denoiser(lambda x, mu, t: x), torch.zeros(1, 2)
    kinds = SOLVERS[solver].processes
    if isinstance(process, kinds):
        trajectory(denoiser, mu, process=process, solver=solver, nfe=100)
        return
    names = " or ".join(kind.__name__ for kind in kinds)
    with pytest.raises(ValueError) as error:
        trajectory(denoiser, mu, process=process, solver=solver, nfe=100)
    assert str(error.value) == f"{solver} is defined on {names}, not on {process!r}"


@pytest.mark.parametrize(
    "times, text",
    [
        ([50.0], "times must fall"),
        ([], "times must fall"),
        ([10.0, 50.0], "times must fall"),
        ([101.0, 0.0], "t must lie in"),
        ([50.0, -1.0], "t must lie in"),
    ],
)
def test_bad_times_are_refused_at_the_call(times, text):
    with pytest.raises(ValueError, match=text):
        trajectory(Denoiser(lambda x, mu, t: x), torch.zeros(1, 2), process=PROCESS, spacing=times)


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


# --- a setting that would have no effect is refused ----------------------------------------------


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"spacing": [100.0, 50.0, 0.0], "lambda_min": 1.0}, "lambda_min is for a named spacing"),
        ({"solver": "posterior-published", "lambda_min": 1.0}, "takes its own steps"),
        ({"solver": "posterior-published", "denoise_final": True}, "takes its own steps"),
        ({"solver": "posterior-published", "spacing": [90.0, 10.0, 0.0]}, "takes its own steps"),
        ({"solver": "rk45", "spacing": [100.0, 50.0, 0.0], "nfe": 99}, "takes its own steps"),
        ({"solver": "rk45", "budget": 5, "nfe": 99}, "takes no option 'budget', only: tolerance"),
        ({"final_order": 1}, "takes no option 'final_order', only: none"),
        ({"solver": "ddim", "eta": 1.5}, "eta must be from 0 to 1, got 1.5"),
        ({"solver": "ddim", "eta": "much"}, "eta must be from 0 to 1, got 'much'"),
        ({"solver": "rk45", "tolerance": math.nan, "nfe": 99}, "tolerance must be positive"),
        ({"solver": "dpm-solver-2", "solver_type": "bh1"}, "solver_type must be one of published"),
    ],
    ids=str,
)
def test_a_setting_that_would_have_no_effect_is_refused_at_the_call(settings, words):
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match=words):
        trajectory(denoiser, mu, process=PROCESS, x_T=x_T, **settings)
    assert denoiser.network.count == 0


def test_times_that_end_at_sigma_0_return_the_prediction_and_nothing_else():
    process = MeanRevertingSDE(zero_start=True)
    denoiser, mu, x_T = mixture_run(process)
    settings = {"process": process, "x_T": x_T, "spacing": [100.0, 40.0, 0.0]}
    with pytest.raises(ValueError, match="end at sigma = 0"):
        trajectory(denoiser, mu, denoise_final=False, **settings)


@pytest.mark.parametrize("settings", [{"lambda_min": 0.5}, {"spacing": [0.6, 0.3, 0.1, 0.01]}])
def test_on_VE_a_run_that_starts_below_T_starts_with_the_noise_of_that_time(settings):
    process = VESDE()
    mu = torch.zeros(2, 3, dtype=torch.float64)
    denoiser = Denoiser(lambda x, mu, t: x, "noise")
    draw = torch.ones_like(mu)
    first = next(
        trajectory(denoiser, mu, process=process, noise=lambda index, shape: draw, **settings)
    )
    assert first.t < 1
    torch.testing.assert_close(first.x, process.sigma(first.t) * draw)
