"""The declared order of every ODE solver, where the exact solution is known."""

import pytest
import torch

from mrsampler.bench.accuracy import ode_solvers
from mrsampler.bench.order import DENSITIES, PROCESSES, error, order, plot, slope, start
from mrsampler.solvers import SOLVERS


@pytest.fixture(scope="module")
def problems():
    """Each solved exactly once."""
    return {
        (density, process, spacing): start(density, PROCESSES[process], spacing)
        for density in DENSITIES
        for process in PROCESSES
        for spacing in ("uniform-lambda", "uniform-t")
    }


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("solver", ode_solvers())
def test_the_error_falls_by_at_least_the_declared_order(solver, density, process, problems):
    declared = SOLVERS[solver].order
    problem = problems[density, process, SOLVERS[solver].spacing]
    coarse, fine = (error(problem, solver, nfe) for nfe in (160, 320))
    # 0.15: at 160 evaluations the leading term of the error is not yet alone.
    assert slope(coarse, fine) >= declared - 0.15
    assert fine < {1: 0.1, 2: 1e-3, 3: 1e-4, 4: 1e-6}[declared]


def test_an_order_declared_too_high_would_be_found():
    problem = start("mixture", PROCESSES["VP"], "uniform-lambda")
    published, exact = (
        slope(*(error(problem, solver, nfe) for nfe in (160, 320)))
        for solver in ("mrs-ode-d-3-published", "mrs-ode-d-3")
    )
    # Halving the third coefficient, as published, costs an order.
    assert published < 2.3 < 2.85 < exact


def test_the_solutions_are_those_of_the_closed_form_on_a_gaussian(problems):
    # The PF-ODE keeps the quantiles: y_t = alpha_t m + sqrt(v_t / v_T) (y_T - alpha_T m).
    (mean,), _, spread = DENSITIES["gaussian"]
    for name, process in PROCESSES.items():
        problem = problems["gaussian", name, "uniform-lambda"]

        def variance(t, process=process):
            return (process.alpha(t) * spread) ** 2 + process.sigma(t) ** 2

        m, t = torch.tensor(mean, dtype=torch.float64), process.t_min
        ratio = (variance(t) / variance(process.t_max)) ** 0.5
        start = problem.x_T - process.alpha(process.t_max) * m
        expected = process.alpha(t) * m + ratio * start
        torch.testing.assert_close(problem.solution, expected, rtol=0, atol=1e-10)


def test_the_bench_has_a_row_for_every_case_and_draws_it(tmp_path):
    rows = list(order(["mrs-ode-d-1", "ddim", "heun"], nfes=(10, 20)))
    assert len(rows) == 3 * len(DENSITIES) * len(PROCESSES)
    for row in rows:
        assert row["measured"] == slope(row["10"], row["20"])
    plot(rows, tmp_path / "order.svg")
    drawn = (tmp_path / "order.svg").read_text()
    assert drawn.startswith("<?xml") and drawn.count('<g id="axes_') == 3
