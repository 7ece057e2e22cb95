"""The three targets and the conversions between them."""

import math

import pytest
import torch

from mrsampler import Denoiser, MeanRevertingSDE
from mrsampler.denoiser import Thresholding, velocity

TARGETS = ("noise", "data", "velocity", "residual")
PROCESS = MeanRevertingSDE()
SIGMA_DATA = 0.7


def draw(seed=0):
    """mu, D and eps, (5, 4) float64."""
    return torch.randn(
        3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).unbind()


def raw_output(target, mu, data, noise, alpha, sigma, scale):
    """What an exact network of this target returns, from the definitions alone."""
    return {
        "noise": noise,
        "data": mu + data,
        "velocity": alpha * scale * noise - (sigma / scale) * data,
        "residual": data - alpha * SIGMA_DATA**2 / sigma * noise,
    }[target]


@pytest.mark.parametrize("t", [0.0, 3.7, 50.0, 100.0])
@pytest.mark.parametrize("target", TARGETS)
def test_data_and_noise_are_recovered_from_every_target(target, t):
    mu, data, noise = draw()
    alpha, sigma, scale = PROCESS.alpha(t), PROCESS.sigma(t), PROCESS.sigma_inf
    y = alpha * data + sigma * noise
    output = raw_output(target, mu, data, noise, alpha, sigma, scale)
    before = output.clone(), y.clone()
    denoiser = Denoiser(lambda x, mu, t: output, target, SIGMA_DATA)
    # eps from D divides by sigma, D from eps by alpha: rounding grows by that much.
    torch.testing.assert_close(
        denoiser.data(output, y, mu, alpha, sigma, scale), data, rtol=1e-12, atol=1e-15 / alpha
    )
    torch.testing.assert_close(
        denoiser.noise(output, y, mu, alpha, sigma, scale), noise, rtol=1e-12, atol=1e-15 / sigma
    )
    assert torch.equal(output, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize("target", TARGETS)
def test_any_output_and_any_y_give_a_data_and_a_noise_that_make_up_y(target):
    mu, output, y = draw(1)
    denoiser = Denoiser(lambda x, mu, t: output, target, SIGMA_DATA)
    for t in (0.5, 50.0, 99.5):
        alpha, sigma, scale = PROCESS.alpha(t), PROCESS.sigma(t), PROCESS.sigma_inf
        data = denoiser.data(output, y, mu, alpha, sigma, scale)
        noise = denoiser.noise(output, y, mu, alpha, sigma, scale)
        torch.testing.assert_close(alpha * data + sigma * noise, y, rtol=1e-12, atol=1e-12)
        again = raw_output(target, mu, data, noise, alpha, sigma, scale)
        torch.testing.assert_close(again, output, rtol=1e-12, atol=1e-12)


def test_the_velocity_is_the_derivative_of_y_in_the_angle():
    _, data, noise = draw(2)
    scale, phi, step = PROCESS.sigma_inf, 0.7, 1e-5

    def y(angle):
        return math.cos(angle) * data + scale * math.sin(angle) * noise

    slope = (y(phi + step) - y(phi - step)) / (2 * step)
    v = velocity(
        data,
        noise,
        torch.tensor(math.cos(phi), dtype=torch.float64),
        torch.tensor(scale * math.sin(phi), dtype=torch.float64),
        scale,
    )
    # phi-derivative of y: -sin D + scale cos eps. A central difference errs by step^2 / 6.
    torch.testing.assert_close(v, slope, rtol=0, atol=1e-9)


def test_an_unknown_target_or_a_network_that_cannot_be_called_is_an_error():
    with pytest.raises(ValueError, match="unknown target 'score'"):
        Denoiser(lambda x, mu, t: x, "score")
    with pytest.raises(TypeError, match="must be callable, got str"):
        Denoiser("network")


def test_a_residual_network_is_told_what_gauss_knows():
    """Of D normal about r with deviation d, and y, its data is the mean of D given y."""
    d, alpha, sigma = 0.3, 0.8, 0.5
    r, y = draw(2)[:2]
    denoiser = Denoiser(lambda x, mu, t: r, "residual", d)
    gain = alpha * d**2 / (alpha**2 * d**2 + sigma**2)
    data = denoiser.data(r, y, torch.zeros_like(y), alpha, sigma, 1.0)
    torch.testing.assert_close(data, r + gain * (y - alpha * r), rtol=1e-12, atol=1e-12)
    # Where there is no noise y says all.
    data = denoiser.data(r, y, torch.zeros_like(y), alpha, 0.0, 1.0)
    torch.testing.assert_close(data, y / alpha, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma_data", [None, 0.0, -1.0, math.inf, math.nan])
def test_a_residual_without_its_sigma_data_is_refused(sigma_data):
    with pytest.raises(ValueError, match="needs a sigma_data > 0"):
        Denoiser(lambda x, mu, t: x, "residual", sigma_data)


@pytest.mark.parametrize("target", TARGETS)
def test_another_network_takes_the_place_of_one_and_predicts_the_same(target):
    one, other = (lambda x, mu, t: x), (lambda x, mu, t: -x)
    made = Denoiser(one, target, SIGMA_DATA).over(other)
    assert (made.network, made.target, made.sigma_data) == (other, target, SIGMA_DATA)


def test_an_output_of_another_shape_is_an_error_that_names_both():
    denoiser = Denoiser(lambda x, mu, t: x[:, :1])
    with pytest.raises(ValueError, match=r"\(2, 1\) for x of \(2, 3\)"):
        denoiser(torch.zeros(2, 3), torch.zeros(2, 3), 1.0)


def test_the_network_is_given_x_mu_t_and_the_conditioning():
    seen = []

    def network(x, mu, t, task):
        seen.append((x, mu, t, task))
        return x

    x, mu = torch.ones(1, 2), torch.zeros(1, 2)
    Denoiser(network)(x, mu, 7.5, task=3)
    assert seen[0][0] is x and seen[0][1] is mu and seen[0][2:] == (7.5, 3)


def test_the_default_target_is_noise():
    assert Denoiser(lambda x, mu, t: x).target == "noise"


def test_a_bfloat16_networks_output_is_brought_to_the_type_of_x():
    denoiser = Denoiser(lambda x, mu, t: x.bfloat16())
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(1, 2, dtype=dtype)
        assert denoiser(x, x, 1.0).dtype == dtype


def test_a_velocity_is_undefined_where_sigma_inf_is_infinite():
    one = torch.ones(1)
    with pytest.raises(ValueError, match="velocity is undefined"):
        velocity(one, one, one, one, math.inf)


# --- thresholding --------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.5, 0.9, 0.995, 1.0])
@pytest.mark.parametrize("maximum", [1.0, 1.5, math.inf])
@pytest.mark.parametrize("centre, half_width", [(0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("shape", [(4, 1), (4, 7), (4, 3, 8, 8)])
def test_thresholding_is_its_definition(ratio, maximum, centre, half_width, shape):
    x0 = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x0 = centre + 1.2 * half_width * x0
    before = x0.clone()
    result = Thresholding(ratio, maximum, centre, half_width)(x0)
    for image, thresholded in zip(x0, result, strict=True):
        u = (image - centre) / half_width
        s = max(1.0, min(torch.quantile(u.abs(), ratio).item(), maximum))
        expected = centre + half_width * u.clamp(-s, s) / s
        torch.testing.assert_close(thresholded, expected, rtol=0, atol=1e-14)
    assert result.min() >= centre - half_width and result.max() <= centre + half_width
    assert torch.equal(x0, before)


def test_thresholding_by_hand():
    # |u| = 0, 1, 2, 3, 4: the 0.75 quantile is 3, so u/3 within [-1, 1] around 0.5 with 0.5.
    x0 = torch.tensor([[0.5, 1.0, -0.5, 2.0, -1.5]], dtype=torch.float64)
    expected = torch.tensor([[0.5, 2 / 3, 1 / 6, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(Thresholding(0.75, maximum=10.0)(x0), expected)
    # A maximum of 1, the default, is plain clamping.
    assert torch.equal(Thresholding()(x0), x0.clamp(0, 1))


def test_thresholding_treats_each_image_of_a_batch_alone():
    x0 = torch.tensor([[0.2, 0.8], [0.2, 4.0]])
    both = Thresholding(1.0, maximum=100.0)(x0)
    torch.testing.assert_close(both[0], x0[0])
    assert both[1].tolist() == pytest.approx([0.5 - 0.3 / 7, 1.0])


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 0.0},
        {"ratio": 1.01},
        {"ratio": math.nan},
        {"maximum": 0.99},
        {"maximum": math.nan},
        {"half_width": 0.0},
        {"half_width": -1.0},
    ],
    ids=str,
)
def test_a_thresholding_parameter_out_of_range_is_an_error(settings):
    with pytest.raises(ValueError, match="expected 0 < ratio <= 1 <= maximum"):
        Thresholding(**settings)(torch.zeros(1, 2))
