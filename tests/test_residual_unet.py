"""The network of `bundled`: its shapes, its size, and what it is before training."""

from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mrsampler.networks import ARCHITECTURES, ResidualUNet


def small(seed=0):
    """A small network with random weights everywhere, so that no path is closed by a zero."""
    torch.manual_seed(seed)
    network = ResidualUNet(channels=(8, 12, 16), blocks=(1, 1, 1), embedding=16, blurred=(0,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def pair(batch, height, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, batch, 3, height, width, generator=generator).unbind()


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(0)
    return ResidualUNet(blurred=(0,)).eval()


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
        torch.testing.assert_close(
            network(x, mu, torch.full((3,), 41.5), torch.full((3,), 7)), alike, rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            network(x, mu, torch.tensor(41.5), torch.tensor(7)), alike, rtol=0, atol=1e-6
        )
        times, tasks = torch.tensor([0.0, 50.0, 100.0]), torch.tensor([4, 9, 4])
        mixed = network(x, mu, times, tasks)
        for i in range(3):
            alone = network(x[i : i + 1], mu[i : i + 1], times[i].item(), tasks[i].item())
            torch.testing.assert_close(mixed[i : i + 1], alone, rtol=0, atol=1e-5)


def test_it_heeds_x_mu_t_and_the_task():
    network = small()
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        base = network(x, mu, 50.0, 3)
        for other in (
            network(x + 0.1, mu, 50.0, 3),
            network(x, mu + 0.1, 50.0, 3),
            network(x, mu, 51.0, 3),
            network(x, mu, 50.0, 4),
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


def test_before_training_it_predicts_zero(full):
    x, mu = pair(2, 48, 32)
    with torch.no_grad():
        assert (full(x, mu, 70.0, 1) == 0).all()


def test_its_output_is_in_units_of_its_scale():
    network = small()
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        base = network(mu, mu, 50.0, 3)  # x - mu = 0: the scale enters at the output alone
        network.scale *= 2
        torch.testing.assert_close(network(mu, mu, 50.0, 3), 2 * base)
    assert x.shape == base.shape


def test_it_has_at_most_four_million_parameters(full):
    assert sum(p.numel() for p in full.parameters()) <= 4_000_000


def test_it_costs_at_most_five_billion_multiply_accumulates_at_256_pixels(full):
    x, mu = pair(1, 256, 256)
    for task in (0, 3):
        with torch.no_grad():
            told = full.of_photo(mu, task)  # once a photo, for two billion more
            with FlopCounterMode(display=False) as counter:
                full(x, mu, 50.0, task, **told)
        # The counter counts a multiplication and an addition apart.
        assert 0.5e9 < counter.get_total_flops() / 2 <= 5e9


def test_its_config_makes_the_same_network_again():
    network = small()
    again = ARCHITECTURES["residual-unet"](**network.config)
    again.load_state_dict(network.state_dict(), strict=True)
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        assert torch.equal(again.eval()(x, mu, 5.0, 2), network(x, mu, 5.0, 2))


def test_gradients_reach_every_weight():
    network = small()
    x, mu = pair(2, 64, 64)  # smaller ones have no blur to be read
    network(x, mu, torch.tensor([3.0, 90.0]), torch.tensor([0, 1])).square().mean().backward()
    elsewhere = tuple(f".of.{task}." for task in range(2, 10))
    for name, parameter in network.named_parameters():
        if any(place in name for place in elsewhere):
            assert parameter.grad is None, f"{name} is of a task that the batch has none of"
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_each_task_has_the_outermost_kernels_for_itself_and_shares_the_deeper_ones():
    network = small()
    own = {name for name, _ in network.named_parameters() if ".of.9." in name}
    for part in ("stem", "encoder.0.0.conv1", "encoder.0.0.conv2", "decoder.0.0.conv1", "head"):
        assert f"{part}.of.9.weight" in own
    assert all(name.startswith(("stem", "head", "encoder.0", "decoder.0")) for name in own)
    x, mu = pair(1, 32, 32)
    with torch.no_grad():
        before = [network(x, mu, 50.0, task) for task in range(10)]
        for name in own:
            network.get_parameter(name).mul_(2)
        after = [network(x, mu, 50.0, task) for task in range(10)]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 9 + [False]


def test_of_a_part_it_can_be_told_the_statistics_of_the_whole():
    network = small()
    x, mu = pair(1, 64, 64)
    part = (slice(None), slice(None), slice(0, 32), slice(0, 32))
    with torch.no_grad():
        own = network(x[part], mu[part], 50.0, 3)
        assert torch.equal(own, network(x[part], mu[part], 50.0, 3, network.statistics(mu[part])))
        assert not torch.allclose(own, network(x[part], mu[part], 50.0, 3, network.statistics(mu)))


@pytest.mark.parametrize("task", [0, 3, torch.tensor([0, 3]), torch.tensor([3, 0])])
def test_what_it_takes_over_the_photo_may_be_given_and_is_else_taken_of_mu(task):
    network = small()
    x, mu = pair(2, 64, 80)
    with torch.no_grad():
        told = network.of_photo(mu, task)
        assert torch.equal(network(x, mu, 50.0, task, **told), network(x, mu, 50.0, task))
        blurred = torch.as_tensor(task).expand(2) == 0
        sharp = told["sharp"]
        other = told | {"sharp": torch.where(blurred[:, None, None, None], sharp.flip(-1), sharp)}
        changed = (network(x, mu, 50.0, task, **other) - network(x, mu, 50.0, task)).abs()
    assert (changed.amax((1, 2, 3)) > 1e-3).tolist() == blurred.tolist()


def test_only_of_the_tasks_that_are_blurred_is_a_blur_undone():
    network = small()
    _, mu = pair(3, 64, 64)
    with torch.no_grad():
        sharp = network.sharp(mu, torch.tensor([3, 0, 9]))
        assert torch.equal(sharp[[0, 2]], mu[[0, 2]])
        torch.testing.assert_close(sharp[1:2], network.deconvolution(mu[1:2]), rtol=0, atol=1e-6)
        assert network.sharp(mu, 3) is mu
    assert not hasattr(ResidualUNet(channels=(8,), blocks=(1,)), "deconvolution")


def test_as_a_reader_it_estimates_what_it_does_at_T_of_mu_itself():
    network = small()
    _, mu = pair(2, 64, 72)
    with torch.no_grad():
        reader = network.reader().eval()
        for task in (0, 3):  # the first is blurred
            expected = network(mu, mu, 100.0, task)
            estimate = reader(mu, task).estimate
            # Sums of another order, some twenty convolutions deep.
            torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-4)
