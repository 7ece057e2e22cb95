"""The multistep solvers: DPM-Solver, UniPC and DEIS, against diffusers and each other."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from diffusers import (
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from diffusers_runs import assert_same_path, betas, diffusers_run
from models import Mixture, mixture_run
from scipy.integrate import quad

from mrsampler import SOLVERS, VESDE, VPSDE, Denoiser, MeanRevertingSDE, sample, trajectory
from mrsampler.denoiser import Thresholding
from mrsampler.solvers import deis, dpm_multistep, unipc
from mrsampler.solvers.interface import Solver
from mrsampler.solvers.mr import coefficients, halved_third, mr_sampler
from mrsampler.timesteps import explicit, timesteps

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*algorithm_types dpmsolver:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

MEAN_REVERTING = MeanRevertingSDE()
# diffusers' default table of 1000 betas.
VP = VPSDE.from_alphas_cumprod(DPMSolverMultistepScheduler().alphas_cumprod)
PROCESSES = {"VP": VP, "mean-reverting": MEAN_REVERTING}


def start(process, steps, dtype=torch.float32, **mixture):
    """A network, mu, x_T and the draws of a run of 64 images of two pixels, in this precision.

    Of a network in single precision the arithmetic is double all the same: as smooth as can be.
    On three images the noise-predicting UniPC of order 3 would differ from diffusers by 1.5e-5 half
    way, where ours and theirs are each 1e-5 from the path in double precision, by rounding alone:
    on so many it was at most 0.85e-5 over twelve seeds.
    """
    generator = torch.Generator().manual_seed(0)
    exact = Mixture(process, **mixture)
    mu = torch.rand(64, 2, 1, 1, generator=generator, dtype=torch.float64)
    if not isinstance(process, MeanRevertingSDE):
        mu = torch.zeros_like(mu)
    draws = torch.randn(steps + 1, *mu.shape, generator=generator, dtype=torch.float64)
    x_T = process.prior(mu, draws[0])

    def network(x, mu, t):
        output = exact(x.double().flatten(1), mu.double().flatten(1), t)
        return output.reshape(x.shape).to(dtype)

    return network, mu.to(dtype), x_T.to(dtype), draws.to(dtype)


def our_run(solver, network, process, mu, x_T, draws, steps, **settings):
    """x after every step, from the public trajectory()."""
    stream = trajectory(
        Denoiser(network),
        mu,
        process=process,
        solver=solver,
        nfe=steps,
        x_T=x_T,
        noise=lambda index, shape: draws[index],
        **{"denoise_final": False, **settings},
    )
    return [step.x for step in stream]


@pytest.fixture
def register(monkeypatch):
    """Runs a combination that has no name of its own through the public trajectory()."""

    def add(run, **fields):
        given = frozenset({"final_order"})
        solver = Solver("", "", "", order=1, run=run, given=given, **fields)
        monkeypatch.setitem(SOLVERS, "combination", solver)
        return "combination"

    return add


# --- against diffusers ---------------------------------------------------------------------------


SINGLE, DOUBLE = (torch.float32, 1e-5), (torch.float64, 1e-12)


def compare(
    scheduler,
    solver,
    process,
    steps,
    spacing="uniform-t",
    precision=SINGLE,
    mixture=None,
    **settings,
):
    """Asserts that both take the same path, on our grid. A precision: a type and a tolerance."""
    dtype, tolerance = precision
    network, mu, x_T, draws = start(process, steps, dtype, **mixture or {})
    nodes = timesteps(process, steps, spacing, denoise_final=False)
    theirs = diffusers_run(scheduler, network, mu, x_T, draws, nodes, process)
    ours = our_run(
        solver,
        network,
        process,
        mu,
        x_T,
        draws,
        steps,
        spacing=spacing,
        lower_order_final=scheduler.config.lower_order_final,
        **settings,
    )
    assert_same_path(ours, theirs, mu, tolerance)


both_processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
two_spacings = pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
# Where diffusers lowers the last orders of DPM-Solver and DEIS, only in runs of under 15 steps.
both_ends = pytest.mark.parametrize("lower_order_final, steps", [(True, 10), (False, 20)])

ALGORITHMS = {
    "dpmsolver": {"prediction": "noise", "stochastic": False},
    "dpmsolver++": {"prediction": "data", "stochastic": False},
    "sde-dpmsolver": {"prediction": "noise", "stochastic": True},
    "sde-dpmsolver++": {"prediction": "data", "stochastic": True},
}


def dpm_scheduler(process, algorithm, order, rule, kind=DPMSolverMultistepScheduler, **config):
    return kind(
        trained_betas=betas(process),
        algorithm_type=algorithm,
        solver_order=order,
        solver_type=rule,
        final_sigmas_type="sigma_min",
        **config,
    )


@two_spacings
@both_ends
@both_processes
@pytest.mark.parametrize("rule", ["midpoint", "heun"])
@pytest.mark.parametrize(
    "algorithm, order",
    # SDEs of order 3: diffusers has none for the noise; for the data see SignMended.
    [(name, order) for name in ALGORITHMS for order in (1, 2, 3) if order < 3 or name[:3] != "sde"],
)
def test_dpm_solver_takes_the_path_of_diffusers(
    register, algorithm, order, rule, process, lower_order_final, steps, spacing
):
    moments = dpm_multistep.midpoint if rule == "midpoint" else halved_third
    kind = ALGORITHMS[algorithm]
    solver = register(
        partial(mr_sampler, order=order, moments=moments, **kind), stochastic=kind["stochastic"]
    )
    scheduler = dpm_scheduler(process, algorithm, order, rule, lower_order_final=lower_order_final)
    compare(scheduler, solver, process, steps, spacing)


@both_processes
@pytest.mark.parametrize(
    "solver, algorithm, order, rule",
    [
        ("dpm-solver++-2m", "dpmsolver++", 2, "midpoint"),
        ("dpm-solver++-3m", "dpmsolver++", 3, "midpoint"),
        ("dpm-solver-2m", "dpmsolver", 2, "midpoint"),
        ("dpm-solver-3m", "dpmsolver", 3, "midpoint"),
        ("dpm-solver++-sde-2m", "sde-dpmsolver++", 2, "midpoint"),
        ("dpm-solver-sde-2m", "sde-dpmsolver", 2, "midpoint"),
        ("mrs-ode-d-1", "dpmsolver++", 1, "heun"),
        ("mrs-ode-n-1", "dpmsolver", 1, "heun"),
        ("mrs-ode-d-2", "dpmsolver++", 2, "heun"),
        ("mrs-ode-n-2", "dpmsolver", 2, "heun"),
        ("mrs-sde-d-1", "sde-dpmsolver++", 1, "heun"),
        ("mrs-sde-n-1", "sde-dpmsolver", 1, "heun"),
        ("mrs-sde-d-2", "sde-dpmsolver++", 2, "heun"),
        ("mrs-sde-n-2", "sde-dpmsolver", 2, "heun"),
        ("mrs-ode-d-3-published", "dpmsolver++", 3, "heun"),
        ("mrs-ode-n-3-published", "dpmsolver", 3, "heun"),
    ],
)
def test_the_named_dpm_solvers_are_those_of_diffusers(solver, algorithm, order, rule, process):
    compare(dpm_scheduler(process, algorithm, order, rule), solver, process, 10)


class SignMended(DPMSolverMultistepScheduler):
    """The third coefficient of sde-dpmsolver++ with + 1/2 where diffusers has - 1/2.

    (1 - e^{-2h} - 2h) / (2h)^2 + 1/2 = 2h phi_3(-2h) vanishes with h; theirs tends to -1.
    """

    def multistep_dpm_solver_third_order_update(self, model_output_list, sample=None, noise=None):
        x = super().multistep_dpm_solver_third_order_update(
            model_output_list, sample=sample, noise=noise
        )
        sigmas = self.sigmas[self.step_index - 2 : self.step_index + 2]
        oldest, middle, newest, end = (-sigmas.log()).tolist()
        f2, f1, f0 = model_output_list
        second = (f0 - f1) / (newest - middle) - (f1 - f2) / (middle - oldest)
        alpha, _ = self._sigma_to_alpha_sigma_t(sigmas[-1])
        return x + alpha * second * (end - newest) ** 2 / (newest - oldest)


@both_processes
def test_the_sde_of_order_3_is_that_of_diffusers_with_one_sign_mended(register, process):
    kind = ALGORITHMS["sde-dpmsolver++"]
    run = partial(mr_sampler, order=3, moments=halved_third, **kind)
    scheduler = dpm_scheduler(
        process, "sde-dpmsolver++", 3, "heun", kind=SignMended, lower_order_final=False
    )
    compare(scheduler, register(run, stochastic=True), process, 20)


@pytest.mark.parametrize("precision", [SINGLE, DOUBLE], ids=["single", "double"])
@two_spacings
@pytest.mark.parametrize("lower_order_final", [True, False])
@both_processes
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("letter", ["n", "d"])
@pytest.mark.parametrize("b", ["bh1", "bh2"])
def test_unipc_takes_the_path_of_diffusers(
    b, letter, order, process, lower_order_final, spacing, precision
):
    scheduler = UniPCMultistepScheduler(
        trained_betas=betas(process),
        solver_type=b,
        predict_x0=letter == "d",
        solver_order=order,
        lower_order_final=lower_order_final,
    )
    compare(scheduler, f"unipc-{b}-{letter}-{order}", process, 20, spacing, precision)


@pytest.mark.parametrize("precision", [SINGLE, DOUBLE], ids=["single", "double"])
@two_spacings
@both_ends
@both_processes
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_takes_the_path_of_diffusers(
    register, order, process, lower_order_final, steps, spacing, precision
):
    solver = register(partial(deis.deis, order=order, variable=deis.log_rho))
    scheduler = DEISMultistepScheduler(
        trained_betas=betas(process), solver_order=order, lower_order_final=lower_order_final
    )
    compare(scheduler, solver, process, steps, spacing, precision)


@pytest.mark.parametrize(
    "solver, scheduler",
    [
        ("dpm-solver++-2m", DPMSolverMultistepScheduler(final_sigmas_type="sigma_min")),
        ("unipc-bh2-d-2", UniPCMultistepScheduler(final_sigmas_type="sigma_min")),
        ("deis-2", DEISMultistepScheduler()),
    ],
)
@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_the_times_of_a_scheduler_of_diffusers_can_be_given_as_they_are(solver, scheduler, spacing):
    scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing=spacing)
    scheduler.set_timesteps(10)
    times = [*scheduler.timesteps.tolist(), 0]
    network, mu, x_T, draws = start(VP, 10)
    nodes = explicit(VP, times)
    theirs = diffusers_run(scheduler, network, mu, x_T, draws, nodes, VP, own_grid=True)
    ours = our_run(solver, network, VP, mu, x_T, draws, 10, spacing=times)
    # diffusers' coefficients are in single precision here.
    assert_same_path(ours, theirs, mu, 1e-4)


@pytest.mark.parametrize(
    "solver, scheduler_class",
    [
        ("dpm-solver++-2m", DPMSolverMultistepScheduler),
        ("unipc-bh2-d-2", UniPCMultistepScheduler),
    ],
)
def test_the_last_step_to_sigma_0_is_that_of_diffusers(solver, scheduler_class):
    scheduler = scheduler_class(trained_betas=betas(VP), final_sigmas_type="zero")
    network, mu, x_T, draws = start(VP, 10)
    nodes = timesteps(VP, 10, "uniform-t", denoise_final=True)
    theirs = diffusers_run(scheduler, network, mu, x_T, draws, nodes, VP)
    # Of order 2, diffusers lowers none but the step to sigma 0.
    settings = {"spacing": "uniform-t", "denoise_final": True, "lower_order_final": False}
    ours = our_run(solver, network, VP, mu, x_T, draws, 10, **settings)
    assert_same_path(ours, theirs, mu)


@pytest.mark.parametrize(
    "solver, algorithm", [("dpm-solver++-2m", "dpmsolver++"), ("dpm-solver-2m", "dpmsolver")]
)
def test_dynamic_thresholding_is_that_of_diffusers(solver, algorithm):
    scheduler = dpm_scheduler(
        VP,
        algorithm,
        2,
        "midpoint",
        thresholding=True,
        dynamic_thresholding_ratio=0.7,
        sample_max_value=1.5,
    )
    # Pixels up to 2, for thresholding to have work to do.
    far = {"means": ((1.75, 0.5), (-1.25, 1.5), (0.25, -2.0))}
    thresholding = Thresholding(0.7, 1.5, centre=0, half_width=1)
    compare(scheduler, solver, VP, 10, mixture=far, thresholding=thresholding)
    with pytest.raises(AssertionError, match="step"):
        compare(scheduler, solver, VP, 10, mixture=far)


# --- identities ----------------------------------------------------------------------------------


def path(solver, process, steps, **settings):
    """x after every step of a run in double precision."""
    network, mu, x_T, draws = start(process, steps, torch.float64)
    return our_run(solver, network, process, mu, x_T, draws, steps, **settings)


@both_ends
@two_spacings
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("process", [MEAN_REVERTING, VP, VPSDE("cosine"), VESDE()], ids=repr)
def test_deis_in_log_rho_is_the_mr_sampler_of_the_same_order(
    register, process, order, spacing, lower_order_final, steps
):
    settings = {"spacing": spacing, "lower_order_final": lower_order_final}
    solver = register(partial(deis.deis, order=order, variable=deis.log_rho))
    ours = path(solver, process, steps, **settings)
    for a, b in zip(ours, path(f"mrs-ode-n-{order}", process, steps, **settings), strict=True):
        assert (a - b).norm() <= 1e-10 * b.norm()


@pytest.mark.parametrize("spacing", ["uniform-t", "karras"])
def test_without_its_corrector_unipc_of_order_3_has_the_weights_of_the_mr_sampler(spacing):
    nodes = timesteps(MEAN_REVERTING, 8, spacing)
    for prediction in ("noise", "data"):
        for i in range(2, 8):
            s, t, evaluated = nodes[i], nodes[i + 1], nodes[i::-1][:3]
            exact = coefficients(s, t, evaluated, prediction)
            for b in (unipc.bh1, unipc.bh2):
                assert coefficients(s, t, evaluated, prediction, moments=b) == exact


def test_without_its_corrector_unipc_bh2_of_order_2_is_dpm_solver_2m(register):
    for letter, prediction in (("n", "noise"), ("d", "data")):
        steps = {"prediction": prediction, "stochastic": False, "order": 2}
        predictor = register(partial(mr_sampler, moments=unipc.bh2, **steps))
        name = {"n": "dpm-solver-2m", "d": "dpm-solver++-2m"}[letter]
        ours, theirs = (path(solver, MEAN_REVERTING, 9) for solver in (predictor, name))
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# --- what each does on its own -------------------------------------------------------------------


def test_unipc_shows_the_predicted_sample_at_which_the_network_is_called():
    denoiser, mu, x_T = mixture_run(MEAN_REVERTING)
    steps = list(
        trajectory(denoiser, mu, process=MEAN_REVERTING, solver="unipc-bh2-d-3", nfe=7, x_T=x_T)
    )
    assert denoiser.network.count == steps[-1].nfe == 7
    for step, (seen, t, *_) in zip(steps, denoiser.network.calls, strict=False):
        assert t == step.t
        assert torch.equal(seen, step.x)


@pytest.mark.parametrize("process", [MEAN_REVERTING, VPSDE(), VESDE()], ids=repr)
@pytest.mark.parametrize("spacing", ["uniform-t", "uniform-lambda"])
@pytest.mark.parametrize("i", [3, 6])
def test_the_weights_of_deis_are_the_integrals_of_lagrange_polynomials_in_t(process, spacing, i):
    nodes = timesteps(process, 7, spacing, denoise_final=False)
    s, t, evaluated = nodes[i], nodes[i + 1], nodes[i::-1][:3]
    weights = deis.coefficients(process, s, t, evaluated, deis.time).history
    # Where a table has its kinks.
    kinks = [process.lam(float(n)) for n in range(int(process.T)) if t.t < n < s.t]
    for j, own in enumerate(evaluated):

        def integrand(lam, j=j, own=own):
            others = (node for k, node in enumerate(evaluated) if k != j)
            at = process.time(lam)
            return -math.exp(t.lam - lam) * math.prod((at - o.t) / (own.t - o.t) for o in others)

        pieces = pairwise([s.lam, *reversed(kinks), t.lam])
        exact = t.sigma * sum(quad(integrand, *piece, epsrel=1e-12)[0] for piece in pieces)
        assert weights[j] == pytest.approx(exact, rel=1e-9, abs=1e-9 * t.sigma)


@pytest.mark.parametrize(
    "process, order",
    [(MeanRevertingSDE(schedule="constant"), 3), (VPSDE(), 3), (MEAN_REVERTING, 2)],
    ids=["smooth table", "smooth", "table with kinks"],
)
def test_deis_in_t_of_order_3_is_of_that_order_where_the_schedule_is_smooth(process, order):
    network, mu, x_T, _ = start(process, 1, torch.float64)
    exact, coarse, fine = (
        sample(
            Denoiser(network),
            mu,
            process=process,
            solver=solver,
            nfe=nfe,
            x_T=x_T,
            denoise_final=False,
            lower_order_final=False,
        )
        for solver, nfe in (("mrs-ode-d-3", 3000), ("deis-t-3", 160), ("deis-t-3", 320))
    )
    slope = math.log2((coarse - exact).norm() / (fine - exact).norm())
    assert order - 0.15 <= slope < order + 0.6


def test_the_registry_has_them_under_their_families():
    families = {
        "DPM-Solver": {
            "dpm-solver++-2m",
            "dpm-solver++-3m",
            "dpm-solver-2m",
            "dpm-solver-3m",
            "dpm-solver++-sde-2m",
            "dpm-solver-sde-2m",
        },
        "UniPC": {f"unipc-{b}-{p}" for b in ("bh1-n", "bh1-d", "bh2-n", "bh2-d") for p in "123"},
        "DEIS": {"deis-2", "deis-3", "deis-t-2", "deis-t-3"},
        "MR Sampler": {"mrs-ode-d-3-published", "mrs-ode-n-3-published"},
    }
    for family, names in families.items():
        for name in names:
            solver = SOLVERS[name]
            assert (solver.family, solver.evaluations) == (family, 1)
            assert solver.stochastic == ("sde" in name)
