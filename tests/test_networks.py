"""The bundled network: a reader, run once a photo, and a light denoiser, run at every step."""

import math
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mrsampler import Denoiser, MeanRevertingSDE
from mrsampler.networks import LightDenoiser, Reader, build
from mrsampler.networks.blocks import pad_to_multiple
from mrsampler.networks.light_denoiser import OPPONENT, USUAL_SPREAD, turned

PROCESS = MeanRevertingSDE()
READER = {"channels": (8, 12, 16), "blocks": (1, 1, 1), "embedding": 16, "blurred": (0,)}
LIGHT = {"channels": (8, 12, 16), "blocks": (1, 1, 1), "embedding": 16}


def small(seed=0, **settings):
    """A small network with random weights everywhere, so that no path is closed by a zero."""
    torch.manual_seed(seed)
    network = LightDenoiser(PROCESS, READER, **LIGHT | settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def exact(network):
    """A network in double precision, its basis of colours too."""
    network.double().basis = torch.tensor(OPPONENT, dtype=torch.float64)
    return network


def pair(batch, height, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(0)
    return LightDenoiser(PROCESS, {"blurred": (0,)}).eval()


# --- what it computes


class Written:
    """E_hat as DESIGN.md writes it, in double precision, from the parts' own outputs."""

    def __init__(self, network, mu, task):
        self.network, self.mu, self.task = network, mu, task
        self.r, self.d, *self.levels = network.of_photo(mu, task).values()

    def __call__(self, x, t):
        """E_hat, and F's part of it, (B, 3, H, W) in RGB."""
        alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
        s, d, basis = sigma / alpha, self.d, self.network.basis
        y = x - self.mu
        z = torch.einsum("kc,bchw->bkhw", basis, (y - alpha * self.r) / alpha)
        given = pad_to_multiple(z / (d**2 + s**2).sqrt(), self.network.multiple)
        log_s = torch.full((len(x),), math.log(s), dtype=x.dtype)
        f = self.network.light(given, log_s, self.task, self.levels)
        f = f[..., : x.shape[-2], : x.shape[-1]]
        if self.network.target == "noise":  # eps = F, and z = E + s eps
            e = z - s * f
        else:
            e = d**2 / (d**2 + s**2) * z + s * d / (d**2 + s**2).sqrt() * f
        return torch.einsum("kc,bkhw->bchw", basis, e)


@pytest.mark.parametrize("target", ["data", "noise"])
@pytest.mark.parametrize("t", [0.0, 3.5, 50.0, 100.0])
def test_e_hat_is_the_written_formula(target, t):
    network = exact(small(target=target))
    _, mu = (v.double() for v in pair(2, 33, 48))
    task = torch.tensor([3, 7])
    with torch.no_grad():
        written = Written(network, mu, task)
        noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)).double()
        x = mu + PROCESS.alpha(t) * 0.1 * noise.roll(1, 0) + PROCESS.sigma(t) * noise
        denoiser = Denoiser(network, target)
        told = denoiser(x, mu, t, task=task)
        schedule = PROCESS.alpha(t), PROCESS.sigma(t), PROCESS.sigma_inf
        data = denoiser.data(told, x - mu, mu, *schedule)
        expected = written.r + written(x, t)
    # Of noise, eps = z / s - E / s is multiplied by s again: at T that is 39 roundings of z's.
    torch.testing.assert_close(data, expected, rtol=0, atol=1e-11)
    assert (expected - written.r).std() > 1e-3


def test_with_f_zero_it_is_the_posterior_mean_of_a_gaussian_rest():
    network = exact(small())
    torch.nn.init.zeros_(network.light.head.weight)
    torch.nn.init.zeros_(network.light.head.bias)
    x, mu = (v.double() for v in pair(1, 32, 32))
    with torch.no_grad():
        r, d, *_ = network.of_photo(mu, 3).values()
        for t in (1.0, 30.0, 60.0, 100.0):
            alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
            # y = alpha (r + E) + sigma eps with E ~ N(0, d^2) in each pixel and channel.
            gain = alpha * d**2 / (alpha**2 * d**2 + sigma**2)
            rest = turned(x - mu - alpha * r, network.basis)
            expected = mu + r + turned(gain * rest, network.basis.T)
            torch.testing.assert_close(network(x, mu, t, 3), expected, rtol=0, atol=1e-12)


def test_its_error_fades_with_sigma_and_at_sigma_0_it_returns_x():
    network = exact(small())
    network.process = process = MeanRevertingSDE(zero_start=True)
    _, mu = (v.double() for v in pair(1, 32, 32))
    rest, noise = torch.randn(2, *mu.shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        told = network.of_photo(mu, 3)
        truth = mu + told["estimate"] + turned(told["spread"] * rest, network.basis.T)
        assert (network(truth, mu, 0.0, 3, **told) - truth).abs().max() < 1e-12
        shares = []
        for t in (0.01, 0.1, 1.0, 10.0):
            x = process.perturb(truth, mu, t, noise)
            error = (network(x, mu, t, 3, **told) - truth).square().mean().sqrt()
            shares.append(float(error * process.alpha(t) / process.sigma(t)))
    # E_hat - E = s (d^2 eps - s E) / (d^2 + s^2) + s d F / sqrt(d^2 + s^2): of |eps|, |E| / 2d and
    # |F|, each of order 1, times s.
    assert all(0.3 < share < 4 for share in shares)


def test_at_T_it_says_about_the_readers_estimate_whatever_x_is():
    network = small()
    network.light.requires_grad_(False)
    network.light.head.weight.zero_(), network.light.head.bias.zero_()
    _, mu = pair(1, 32, 32)
    with torch.no_grad():
        told = network.of_photo(mu, 3)
        x = PROCESS.prior(mu, torch.randn(mu.shape, generator=torch.Generator().manual_seed(0)))
        off = network(x, mu, PROCESS.T, 3, **told) - (mu + told["estimate"])
    # What is left of noise is d^2 / s of it, at s = 39; d is at most 0.6 and noise below 5.
    s = PROCESS.sigma(PROCESS.T) / PROCESS.alpha(PROCESS.T)
    assert s == pytest.approx(39, abs=0.5)
    most = told["spread"].max() ** 2 / s
    assert off.square().mean().sqrt() < most and off.abs().max() < 5 * most


def test_before_training_it_is_gauss_with_no_estimate_and_the_usual_spread(full):
    x, mu = pair(2, 48, 32)
    with torch.no_grad():
        told = full.of_photo(mu, 1)
        assert (told["estimate"] == 0).all()
        assert torch.equal(told["spread"], torch.full_like(mu, USUAL_SPREAD))
        alpha, sigma = PROCESS.alpha(70.0), PROCESS.sigma(70.0)
        gain = alpha * USUAL_SPREAD**2 / (alpha**2 * USUAL_SPREAD**2 + sigma**2)
        expected = mu + gain * (x - mu)
        torch.testing.assert_close(full(x, mu, 70.0, 1), expected, rtol=0, atol=1e-6)


# --- what it takes


@pytest.mark.parametrize("size", [(32, 32), (33, 32), (37, 61), (32, 127), (96, 40), (7, 200)])
def test_any_height_and_width_comes_back_as_it_went_in(full, size):
    x, mu = pair(1, *size)
    with torch.no_grad():
        for network in (full, small()):
            output = network(x, mu, 50.0, 3)
            assert output.shape == x.shape and output.dtype == torch.float32
            assert torch.isfinite(output).all()


@pytest.mark.parametrize("row, column", [(0, 0), (32, 32), (0, 32), (16, 16)])
def test_what_changes_in_x_changes_in_the_output_at_the_same_place(row, column):
    network = small()
    x, mu = pair(1, 33, 33)  # padded inside, by 7
    poked = x.clone()
    poked[..., row, column] += 3
    with torch.no_grad():
        change = (network(poked, mu, 50.0, 3) - network(x, mu, 50.0, 3)).abs().sum(1)[0]
    # In the middle of what changes, which a border cuts to one side.
    weight = change.square() / change.square().sum()
    assert (weight.sum(1) @ torch.arange(33.0) - row).abs() < 5
    assert (weight.sum(0) @ torch.arange(33.0) - column).abs() < 5


def test_t_and_task_may_be_numbers_or_one_an_image():
    network = small()
    x, mu = pair(3, 32, 40)
    with torch.no_grad():
        alike = network(x, mu, 41.5, 7)
        for t in (torch.full((3,), 41.5), torch.tensor(41.5)):
            for task in (torch.full((3,), 7), torch.tensor(7)):
                torch.testing.assert_close(network(x, mu, t, task), alike, rtol=0, atol=1e-5)


def test_each_of_a_mixed_batch_is_what_it_is_alone():
    network = small()
    x, mu = pair(3, 64, 64)
    times, tasks = torch.tensor([0.0, 50.0, 100.0]), torch.tensor([4, 0, 9])
    with torch.no_grad():
        mixed = network(x, mu, times, tasks)
        for i in range(3):
            alone = network(x[i : i + 1], mu[i : i + 1], times[i].item(), tasks[i].item())
            # Sums in another order, a dozen layers deep.
            torch.testing.assert_close(mixed[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_a_time_outside_the_process_is_refused():
    x, mu = pair(1, 32, 32)
    with pytest.raises(ValueError, match=r"t must lie in \[0, 100\]"):
        small()(x, mu, 100.5, 3)


def test_it_heeds_x_mu_t_and_the_task():
    network = small()
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        base = network(x, mu, 50.0, 3)
        told = network.of_photo(mu, 3)
        for other in (
            network(x + 0.1, mu, 50.0, 3),
            network(x, mu + 0.1, 50.0, 3),
            network(x, mu, 51.0, 3),
            network(x, mu, 50.0, 4),
            network(x, mu, 50.0, 4, **told),  # the light part too is told it
        ):
            assert (other - base).abs().max() > 1e-4


def test_all_ten_tasks_are_known_and_an_eleventh_is_not():
    network = small()
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        outputs = [network(x, mu, 50.0, task) for task in range(10)]
    assert all(not torch.equal(a, b) for a, b in pairwise(outputs))
    with pytest.raises(IndexError):
        network(x, mu, 50.0, 10)


# --- the reading


@pytest.mark.parametrize("task", [0, 3, torch.tensor([0, 3]), torch.tensor([3, 0])])
def test_a_photo_read_once_gives_what_reading_at_each_call_gives(task):
    network = small()
    x, mu = pair(2, 64, 80)
    with torch.no_grad():
        told = network.of_photo(mu, task)
        for t in (2.0, 50.0, 100.0):
            assert torch.equal(network(x, mu, t, task, **told), network(x, mu, t, task))


def test_a_reading_is_of_the_photos_size_and_of_half_a_quarter_and_so_on():
    _, mu = pair(2, 33, 50)
    told = small().of_photo(mu, 3)
    shapes = {name: tuple(value.shape) for name, value in told.items()}
    assert shapes == {
        "estimate": (2, 3, 33, 50),
        "spread": (2, 3, 33, 50),
        "level_0": (2, 8, 20, 28),  # of 40 x 56, the next multiples of 8
        "level_1": (2, 12, 10, 14),
        "level_2": (2, 16, 5, 7),
    }


@pytest.mark.parametrize("task", [0, 3, torch.tensor([0, 3])])
def test_what_is_taken_over_the_whole_may_be_given_and_is_else_taken_of_mu(task):
    network = small()
    _, mu = pair(2, 64, 80)
    with torch.no_grad():
        told, whole = network.of_photo(mu, task), network.whole(mu, task)
        for name, value in network.of_photo(mu, task, **whole).items():
            assert torch.equal(value, told[name])
        blurred = (torch.as_tensor(task).expand(2) == 0)[:, None, None, None]
        flipped = torch.where(blurred, whole["sharp"].flip(-1), whole["sharp"])
        for other in ({"sharp": flipped}, {"statistics": whole["statistics"] + 0.1}):
            changed = network.of_photo(mu, task, **whole | other)["estimate"] - told["estimate"]
            reached = blurred.flatten() if "sharp" in other else torch.tensor([True, True])
            assert ((changed.abs().amax((1, 2, 3)) > 1e-4) == reached).all()


def test_the_statistics_of_a_photo_of_few_levels_are_what_they_are_by_hand():
    mu = torch.empty(1, 3, 128, 128)
    mu[..., :64, :], mu[..., 64:, :] = 0.2, 0.6
    mu[:, 2] = 0.5
    mean, spread, levels = Reader.statistics(mu)[0].split([3, 3, 27])
    torch.testing.assert_close(mean, torch.tensor([0.4, 0.4, 0.5]))
    # Half the pixels 0.2 above, half 0.2 below; unbiased, of 16,384.
    torch.testing.assert_close(spread, torch.tensor([0.2, 0.2, 0.0]), rtol=1e-3, atol=1e-6)
    red, _, blue = levels.view(3, 9)
    torch.testing.assert_close(red[:4], torch.full((4,), 0.2))
    torch.testing.assert_close(red[5:], torch.full((4,), 0.6))
    assert (blue == 0.5).all()


def test_a_change_of_the_whole_is_one_multiplication_away():
    network = small()
    _, mu = pair(1, 32, 32)
    with torch.no_grad():
        for layer in (network.reader.straight, *network.reader.head.of):
            layer.weight.zero_(), layer.bias.zero_()
        network.reader.straight.bias.copy_(torch.tensor([0.5, 0.0, -0.5, 0.0, 1.0, 0.0]))
        estimate = network.of_photo(mu, 3)["estimate"]
    gain = torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    offset = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    expected = 0.2 * (gain * (4 * mu - 2) + offset)
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-6)


def test_the_spread_keeps_within_0_001_and_0_6():
    network = small()
    _, mu = pair(1, 32, 32)
    with torch.no_grad():
        for bias, limit in ((-100.0, 0.001), (100.0, 0.6)):
            network.briefing.spread.bias.fill_(bias)
            spread = network.of_photo(mu, 3)["spread"]
            torch.testing.assert_close(spread, torch.full_like(mu, limit), rtol=1e-5, atol=0)


def test_the_basis_of_colours_is_orthonormal_and_begins_with_grey():
    basis = exact(small()).basis
    torch.testing.assert_close(basis @ basis.T, torch.eye(3).double())
    grey = torch.full((1, 3, 2, 2), 0.3).double()
    of_grey = turned(grey, basis)
    torch.testing.assert_close(of_grey[:, 0], grey[:, 0] * 3**0.5)
    assert of_grey[:, 1:].abs().max() < 1e-15
    _, mu = pair(1, 8, 8)
    back = turned(turned(mu.double(), basis), basis.T)
    torch.testing.assert_close(back, mu.double())


def test_only_of_the_tasks_that_are_blurred_is_a_blur_undone():
    reader = small().reader
    _, mu = pair(3, 64, 64)
    with torch.no_grad():
        sharp = reader.sharp(mu, torch.tensor([3, 0, 9]))
        assert torch.equal(sharp[[0, 2]], mu[[0, 2]])
        torch.testing.assert_close(sharp[1:2], reader.deconvolution(mu[1:2]), rtol=0, atol=1e-6)
        assert reader.sharp(mu, 3) is mu
    assert not hasattr(Reader(channels=(8,), blocks=(1,)), "deconvolution")


# --- its size, and how it is made and taught


def test_it_has_at_most_five_and_a_half_million_parameters(full):
    assert sum(p.numel() for p in full.parameters()) <= 5_500_000


def gmac(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e9  # a multiplication and an addition are counted apart


def test_a_step_costs_at_most_one_billion_multiply_accumulates_at_256_pixels(full):
    x, mu = pair(1, 256, 256)
    with torch.no_grad():
        told = full.of_photo(mu, 3)
    assert 0.3 < gmac(lambda: full(x, mu, 50.0, 3, **told)) <= 1.0


def test_to_read_a_photo_costs_as_much_as_a_few_steps(full):
    _, mu = pair(1, 256, 256)
    for task, most in ((3, 5), (0, 7)):  # without and with a blur to undo
        assert 1 < gmac(lambda task=task: full.of_photo(mu, task)) <= most


def test_its_config_makes_the_same_network_again():
    for target in ("data", "noise"):
        network = small(target=target)
        again = build("light-denoiser", network.config, PROCESS, target)
        again.load_state_dict(network.state_dict(), strict=True)
        x, mu = pair(1, 32, 32)
        with torch.no_grad():
            assert torch.equal(again.eval()(x, mu, 5.0, 2), network(x, mu, 5.0, 2))


@pytest.mark.parametrize(
    "architecture, config, error",
    [
        ("resnet", {}, KeyError),
        ("light-denoiser", {}, TypeError),
        ("light-denoiser", {"reader": {"width": 3}}, TypeError),
        ("light-denoiser", {"reader": READER, "channels": (8, 12)}, ValueError),
    ],
)
def test_settings_that_no_network_takes_are_refused(architecture, config, error):
    with pytest.raises(error):
        build(architecture, config, PROCESS, "data")


def test_gradients_reach_every_weight_of_the_tasks_in_a_batch():
    network = small()
    x, mu = pair(2, 64, 64)  # smaller ones have no blur to be read
    network(x, mu, torch.tensor([3.0, 90.0]), torch.tensor([0, 1])).square().mean().backward()
    elsewhere = tuple(f".of.{task}." for task in range(2, 10))
    for name, parameter in network.named_parameters():
        if any(place in name for place in elsewhere):
            assert parameter.grad is None, f"{name} is of a task that the batch has none of"
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_how_the_spread_is_used_teaches_nothing_of_how_large_it_is():
    network = small()
    _, mu = pair(1, 32, 32)
    told = network.of_photo(mu, 3)
    sum(level.sum() for name, level in told.items() if name.startswith("level")).backward()
    assert network.briefing.spread.weight.grad is None
    assert network.briefing.look.weight.grad.any()


def test_each_task_has_the_readers_outermost_kernels_for_itself_and_shares_all_else():
    network = small()
    own = {name for name, _ in network.named_parameters() if ".of.9." in name}
    for part in ("stem", "encoder.0.0.conv1", "encoder.0.0.conv2", "decoder.0.0.conv1", "head"):
        assert f"reader.{part}.of.9.weight" in own
    first = ("reader.stem", "reader.head", "reader.encoder.0", "reader.decoder.0")
    assert all(name.startswith(first) for name in own)
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        before = [network(x, mu, 50.0, task) for task in range(10)]
        for name in own:
            network.get_parameter(name).mul_(2)
        after = [network(x, mu, 50.0, task) for task in range(10)]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 9 + [False]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (3, 3), (1, 16)])
def test_padding_reaches_the_next_multiple_and_leaves_the_picture_where_it_was(size):
    x = torch.rand(1, 3, *size)
    padded = pad_to_multiple(x, 16)
    assert padded.shape[-2] % 16 == 0 and padded.shape[-1] % 16 == 0
    assert all(p - s < 16 for p, s in zip(padded.shape[-2:], size, strict=True))
    assert torch.equal(padded[..., : size[0], : size[1]], x)


def test_padding_reflects():
    x = torch.arange(20.0).reshape(1, 1, 1, 20).expand(1, 1, 16, 20)
    assert pad_to_multiple(x, 16)[0, 0, 0, 20:23].tolist() == [18.0, 17.0, 16.0]
