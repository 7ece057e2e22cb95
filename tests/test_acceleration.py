"""Replayed evaluations are the network's own; what cannot be recorded runs as it is.

Without a GPU a recording is played by calling the network on the places that it reads from: all but
the CUDA graph itself is the same code.
"""

import copy

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mrsampler import TASKS, Denoiser, MeanRevertingSDE
from mrsampler.acceleration import MOST_GRAPHS, Autocast, Graphed, accelerated
from mrsampler.checkpoints import Checkpoint
from mrsampler.networks import IRSDEUNet, LightDenoiser
from mrsampler.restorer import Restorer


class Unread(TorchFunctionMode):
    """Forbids what would wait for a value: a GPU that records has none to tell."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (Tensor.tolist, Tensor.item, Tensor.unique_consecutive, torch.unique):
            raise RuntimeError("operation not permitted when stream is capturing")
        return function(*args, **(kwargs or {}))


class Player:
    """Records by running once, replays by running again; counts both."""

    def __init__(self):
        self.recorded, self.replayed = 0, 0

    def __call__(self, run, device):
        self.recorded += 1
        with Unread():
            output = run().clone()

        def replay():
            self.replayed += 1
            with Unread():
                output.copy_(run())

        return replay, output


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.device(request.param)


def graphed(network, device):
    """CUDA graphs on a GPU, played ones elsewhere."""
    return Graphed(network) if device.type == "cuda" else Graphed(network, Player())


def unet(device):
    torch.manual_seed(0)
    network = IRSDEUNet(nf=32, ch_mult=(1, 2), context_dim=8, use_image_context=False)
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def light(device):
    torch.manual_seed(0)
    shape = {"channels": (8, 12), "blocks": (1, 1), "embedding": 16}
    network = LightDenoiser(MeanRevertingSDE(), shape, **shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def tiny():
    checkpoint = Checkpoint("tiny", Denoiser(light("cpu"), "data"), MeanRevertingSDE(), TASKS, {})
    return Restorer(checkpoint, torch.device("cpu"))


def images(device, seed=0, size=(24, 40), batch=1):
    generator = torch.Generator().manual_seed(seed)
    x, mu = torch.rand(2, batch, 3, *size, generator=generator).to(device)
    return [image.to(memory_format=torch.channels_last) for image in (x, mu)]


def test_every_evaluation_of_a_run_is_the_networks_own(device):
    network = unet(device)
    fast = graphed(network, device)
    _, mu = images(device)
    context = torch.randn(1, 8, device=device)
    for step in range(5):
        x, _ = images(device, seed=step)
        out = fast(x, mu, 100.0 - step, degradation_context=context)
        expected = network(x, mu, 100.0 - step, degradation_context=context)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_another_photo_or_the_same_tensor_with_other_values_is_noticed(device):
    network = unet(device)
    fast = graphed(network, device)
    x, mu = images(device)
    context = torch.randn(1, 8, device=device)

    def check():
        out = fast(x, mu, 50.0, degradation_context=context)
        expected = network(x, mu, 50.0, degradation_context=context)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)

    for _ in range(3):
        check()
    mu.mul_(0.5)
    check()
    mu = images(device, seed=7)[1]
    check()
    context = torch.randn(1, 8, device=device)
    check()
    with torch.inference_mode():
        mu = images(device, seed=8)[1]
        check()
        mu.mul_(0.5)
        check()


def test_a_recording_is_of_any_time_and_of_one_task_whose_kernels_it_has():
    player = Player()
    network = light("cpu")
    fast = Graphed(network, player)
    x, mu = images("cpu")
    for task in (3, 5, 3):
        told = network.of_photo(mu, task)
        for t in (90.0, 60.0, 30.0, 0.0):
            expected = network(x, mu, t, task=task, **told)
            torch.testing.assert_close(fast(x, mu, t, task=task, **told), expected)
    # The first call of each task runs as it is, the second is recorded.
    assert (player.recorded, player.replayed) == (2, 10)


def test_what_was_returned_is_not_written_to_again(device):
    fast = graphed(unet(device), device)
    x, mu = images(device)
    context = torch.randn(1, 8, device=device)
    outputs = [fast(x + i, mu, 50.0, degradation_context=context) for i in range(4)]
    kept = [output.clone() for output in outputs]
    fast(x - 1, mu, 20.0, degradation_context=context)
    assert all(torch.equal(a, b) for a, b in zip(outputs, kept, strict=True))
    assert not torch.equal(outputs[2], outputs[3])


def test_a_single_evaluation_is_not_recorded_and_a_second_is():
    player = Player()
    fast = Graphed(light("cpu"), player)
    x, mu = images("cpu")
    fast(x, mu, 50.0, task=1)
    assert player.recorded == 0
    fast(x, mu, 40.0, task=1)
    assert (player.recorded, player.replayed) == (1, 1)


def test_each_shape_has_its_recording_and_only_the_last_few_are_kept():
    player = Player()
    fast = Graphed(lambda x, mu, t: x * t, player)
    sizes = [(8, 8 + i) for i in range(MOST_GRAPHS + 1)]
    for size in sizes * 2:
        x, mu = images("cpu", size=size)
        assert torch.equal(fast(x, mu, 2.0), 2 * x)
    assert player.recorded == len(sizes)
    x, mu = images("cpu", size=sizes[-1])
    fast(x, mu, 2.0)
    assert player.recorded == len(sizes)
    x, mu = images("cpu", size=sizes[0])
    fast(x, mu, 2.0)
    assert player.recorded == len(sizes) + 1


def test_where_recording_fails_the_network_runs_as_it_is_and_is_not_asked_again():
    attempts = []

    def failing(run, device):
        attempts.append(device)
        raise RuntimeError("operation not permitted when stream is capturing")

    fast = Graphed(lambda x, mu, t: x * t, failing)
    x, mu = images("cpu")
    for t in range(1, 6):
        assert torch.equal(fast(x, mu, float(t)), x * t)
    assert attempts == [x.device]


def test_shapes_that_cannot_be_recorded_are_remembered_though_not_without_end():
    attempts = []

    def failing(run, device):
        attempts.append(device)
        raise RuntimeError("operation not permitted when stream is capturing")

    fast = Graphed(lambda x, mu, t: x * t, failing)
    for _ in range(3):
        for wider in range(MOST_GRAPHS + 2):
            x, mu = images("cpu", size=(8, 8 + wider))
            fast(x, mu, 2.0)
            fast(x, mu, 2.0)
    assert len(attempts) == MOST_GRAPHS + 2
    for wider in range(200):
        x = torch.zeros(1, 3, 1, 1 + wider)
        fast(x, x, 2.0)
    assert len(fast._recordable) == 64


def test_a_graph_recorded_before_the_first_call_serves_it():
    player = Player()
    fast = Graphed(lambda x, mu, t: x * t, player)
    x, mu = images("cpu")
    for _ in range(2):
        fast.record(x=x, mu=mu, t=100.0)
    assert (player.recorded, player.replayed) == (1, 0)
    assert torch.equal(fast(x, mu, 3.0), 3 * x)
    assert (player.recorded, player.replayed) == (1, 1)


@pytest.mark.parametrize("batches", [False, True])
def test_after_warming_up_neither_a_run_nor_a_race_records_anything(batches):
    restorer = tiny()
    restorer.warm(torch.rand(3, 32, 40), "rainy", together=2)  # nothing to do
    player = Player()
    restorer.denoiser = restorer.denoiser.over(Graphed(restorer.denoiser.network, player))
    restorer.batches = batches
    image = torch.rand(3, 32, 40)
    entrants = [{"solver": "mrs-ode-d-2", "nfe": 3}, {"solver": "posterior", "nfe": 4}]
    restorer.warm(image, "rainy", together=len(entrants) if batches else 1)
    recorded = 2 if batches else 1
    assert (player.recorded, player.replayed) == (recorded, 0)
    list(restorer.race(image, "rainy", entrants, seed=3))
    list(restorer.trajectory(image, "rainy", nfe=2))
    restorer.warm(image, "rainy", together=len(entrants) if batches else 1)
    assert player.recorded == recorded and player.replayed == (4 if batches else 7) + 2


def test_an_image_evaluated_by_tiles_is_left_to_its_first_evaluation():
    restorer, player = tiny(), Player()
    restorer.denoiser = restorer.denoiser.over(Graphed(restorer.denoiser.network, player))
    restorer.warm(torch.rand(3, 32, 1100), "rainy")
    assert player.recorded == 0


def test_an_error_of_the_network_is_the_callers(device):
    network = unet(device)
    fast = graphed(network, device)
    x, mu = images(device)
    for _ in range(3):
        with pytest.raises(ValueError, match="was made for degradation_context=True"):
            fast(x, mu, 1.0)


def test_under_autocast_the_output_stays_float32s_to_2_in_100(device):
    network = unet(device)
    x, mu = images(device)
    context = torch.randn(1, 8, device=device)
    expected = network(x, mu, 30.0, context)
    out = Autocast(network, device.type, IRSDEUNet.AUTOCAST)(
        x, mu, 30.0, degradation_context=context
    )
    error = (out - expected).abs().max() / expected.abs().max()
    assert 0 < error < 2e-2 and out.dtype == torch.float32


def test_a_cpu_runs_a_network_as_it_is_and_a_gpu_from_graphs():
    network = unet("cpu")
    assert accelerated(network, torch.device("cpu")) is network
    fast = accelerated(network, torch.device("cuda"))
    assert isinstance(fast, Graphed) and isinstance(fast.network, Autocast)
    assert (fast.network.dtype, fast.network.device_type) == (torch.bfloat16, "cuda")
    small = light("cpu")
    assert accelerated(small, torch.device("cuda")).network is small  # bfloat16 was not measured


def test_a_wrapped_network_still_says_what_it_needs():
    network = light("cpu")
    fast = accelerated(network, torch.device("cuda"))
    assert fast.multiple == network.multiple
    mu = images("cpu")[1]
    assert torch.equal(fast.of_photo(mu, 3)["spread"], network.of_photo(mu, 3)["spread"])
    assert copy.deepcopy(Autocast(network, "cpu", torch.bfloat16)).multiple == network.multiple
