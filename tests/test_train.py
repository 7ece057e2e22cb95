"""Training: a few steps of a tiny network on three synthetic photos."""

import itertools
import json
import math
import os
import socket
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mrsampler import TASKS, MeanRevertingSDE, checkpoints, degrade, train
from mrsampler.degradations.drawing import draw
from mrsampler.denoiser import Denoiser
from mrsampler.networks import ResidualUNet
from mrsampler.train import PHOTOS_IN_A_ROW, DegradedCrops, TrainConfig, read_photos

TINY = {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}


def picture(seed, height=72, width=80):
    """Shading, a disc and texture, (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 80
    shade = 110 + 60 * np.sin(4 * x + 3 * y + seed) + 50 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05)
    return (shade[..., None] + random.normal(0, 8, (height, width, 3))).clip(0, 255).astype("uint8")


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    for seed in range(3):
        Image.fromarray(picture(seed)).save(images / f"{seed}.png")
    return images


@pytest.fixture
def config(folder, tmp_path, monkeypatch):
    """20 steps: a clock that says every step takes one second, and a budget of 20."""
    ticks = itertools.count()
    monkeypatch.setattr(train, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    tiny = partial(ResidualUNet, **TINY)
    tiny.statistics = ResidualUNet.statistics
    monkeypatch.setattr(train, "ResidualUNet", tiny)
    return TrainConfig(
        images=folder,
        out=tmp_path / "out" / "tiny",
        minutes=20 / 60,
        batch=2,
        crop=32,
        workers=0,
        device="cpu",
        save_every=1000,
    )


@pytest.fixture
def losses(monkeypatch):
    """Every loss of the run."""
    seen = []

    def recording(*arguments):
        loss = original(*arguments)
        seen.append(loss.item())
        return loss

    original = train._loss
    monkeypatch.setattr(train, "_loss", recording)
    return seen


def state_of(config):
    return torch.load(config.out.with_name(config.out.name + ".state.pt"), weights_only=True)


def test_a_run_makes_a_checkpoint_its_card_and_a_state(config, losses):
    path = train.train(config)
    assert path == config.out.with_name("tiny.safetensors")
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "tiny.json",
        "tiny.safetensors",
        "tiny.state.pt",
    ]
    assert len(losses) == 20 and all(math.isfinite(loss) and loss > 0 for loss in losses)
    checkpoint = checkpoints.read(path)
    assert checkpoint.tasks == TASKS and checkpoint.denoiser.target == "residual"
    assert checkpoint.process.alpha(50) == MeanRevertingSDE().alpha(50)
    training = checkpoint.card["training"]
    assert (training["steps"], training["crops_seen"], training["photos"]) == (20, 40, 3)
    # Nothing of the machine it was trained on.
    assert str(config.images) not in json.dumps(checkpoint.card)
    assert str(config.out) not in json.dumps(checkpoint.card)
    assert any(value.any() for value in checkpoint.denoiser.network.head.parameters())


def test_training_lowers_the_loss(config, losses):
    train.train(replace(config, minutes=200 / 60, batch=8, learning_rate=0.02))
    assert np.mean(losses[-50:]) < np.mean(losses[:50])


def test_times_are_drawn_from_earliest_on(config, monkeypatch):
    times = []

    def perturb(self, x0, mu, t, noise):
        times.extend((t / self.T).tolist())
        return original(self, x0, mu, t, noise)

    original = MeanRevertingSDE.perturb
    monkeypatch.setattr(MeanRevertingSDE, "perturb", perturb)
    train.train(config)
    assert len(times) == 40 and min(times) < 0.3 and max(times) > 0.9
    times.clear()
    train.train(replace(config, earliest=0.9, out=config.out.with_name("late")))
    assert len(times) == 40 and min(times) >= 0.9 and max(times) <= 1


def test_any_time_comes_to_any_place_in_a_batch_which_is_in_order_of_task():
    process, firsts = MeanRevertingSDE(), []

    def forward(x, mu, t, task, statistics, given):
        assert given is sharp, "the network is shown something else"
        firsts.append(float(t[0]) / process.T)
        return x

    x0, mu, sharp = torch.rand(3, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for _ in range(60):
        train._loss(
            forward, process, [x0, mu, torch.zeros(16), torch.zeros(16, 6), sharp], "residual"
        )
    # Were they in order, the first would always be below 1/8.
    assert min(firsts) < 0.25 and max(firsts) > 0.75


def test_a_task_that_there_is_not_cannot_be_favoured(config):
    with pytest.raises(ValueError, match="unknown task 'sunny'"):
        train.train(replace(config, favour=("sunny",)))


def test_favoured_tasks_turn_up_twice_as_often(folder):
    tasks = [t for _, _, t, _ in crops(folder, 1200, crops_per_photo=1, favour=("rainy", "hazy"))]
    favoured = sum(TASKS[task] in ("rainy", "hazy") for task in tasks) / 1200
    assert abs(favoured - 4 / 12) < 0.11  # 4 standard deviations of 300 draws


def test_with_only_one_task_its_own_kernels_are_trained_and_nothing_else(config, tmp_path):
    train.train(replace(config, minutes=2 / 60))
    start, out = str(config.out.with_name("tiny.safetensors")), tmp_path / "own"
    path = train.train(replace(config, start=start, out=out, only=("noisy",)))
    before, after = (checkpoints.read(str(p)).denoiser.network.state_dict() for p in (start, path))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    own = {name for name in before if f".of.{TASKS.index('noisy')}." in name}
    assert moved == own and len(own) == 12  # weight and bias: stem, head, two blocks of two


def test_only_one_tasks_crops_are_drawn(folder):
    assert {t for _, _, t, _ in crops(folder, 40, only=("snowy",))} == {TASKS.index("snowy")}
    with pytest.raises(ValueError, match="unknown task 'sunny'"):
        train.train(TrainConfig(folder, folder / "out", only=("sunny",)))


def test_a_share_of_the_photos_is_damaged_in_other_forms(folder, monkeypatch):
    shares = []

    def spied(photo, task, generator, other_forms):
        shares.append((task, other_forms))
        return draw(photo, task, generator, other_forms)

    monkeypatch.setattr(train, "draw", spied)
    crops(folder, 8, forms=0.75, only=("noisy",))
    assert set(shares) == {("noisy", 0.75)}


def test_two_runs_of_one_seed_are_the_same(config, losses, tmp_path):
    train.train(replace(config, minutes=5 / 60))
    train.train(replace(config, minutes=5 / 60, out=tmp_path / "again"))
    assert losses[:5] == losses[5:]
    train.train(replace(config, minutes=5 / 60, out=tmp_path / "other", seed=1))
    assert losses[10:] != losses[:5]


def test_a_run_resumes_where_it_stopped(config, losses):
    train.train(config)
    before = state_of(config)
    assert before["progress"]["step"] == 20
    train.train(config)  # its budget is spent
    assert state_of(config)["progress"]["step"] == 20 and len(losses) == 20
    train.train(replace(config, minutes=26 / 60))
    after = state_of(config)
    assert after["progress"]["step"] == 26 and len(losses) == 26
    assert after["progress"]["seconds"] == pytest.approx(26)
    card = json.loads(config.out.with_name("tiny.json").read_text())
    assert card["training"]["steps"] == 26
    # Weights and the optimizers' moments go on from where they were.
    name = "down.0.weight"
    drift = (after["network"][name] - before["network"][name]).abs().max()
    assert 0 < drift < 6 * 1.1 * config.learning_rate * 20 / 300
    assert after["optimizers"][0]["state"][0]["step"] == 26
    for state in (before, after):
        kernels = state["optimizers"][1]["state"].values()  # of the tasks there have been so far
        assert any(kernel["momentum_buffer"].any() for kernel in kernels)


def test_an_interrupted_run_keeps_its_last_save_and_resumes_from_it(config, monkeypatch):
    original, calls = train._loss, itertools.count(1)

    def interrupted(*arguments):
        if next(calls) == 15:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(train, "_loss", interrupted)
    config = replace(config, save_every=6 / 60)
    with pytest.raises(KeyboardInterrupt):
        train.train(config)
    saved = state_of(config)["progress"]["step"]
    assert 6 < saved <= 14
    assert (
        checkpoints.read(config.out.with_name("tiny.safetensors")).card["training"]["steps"]
        == saved
    )
    monkeypatch.setattr(train, "_loss", original)
    train.train(config)
    progress = state_of(config)["progress"]
    assert progress["seconds"] >= 20 and progress["step"] > saved


def test_a_state_cut_short_in_writing_leaves_the_one_before(config, monkeypatch):
    train.train(config)

    def cut_short(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="no space"):
        train.train(replace(config, minutes=25 / 60))
    assert state_of(config)["progress"]["step"] == 20


@pytest.mark.parametrize("first", [21, 25], ids=lambda step: f"from step {step}")
def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(config, monkeypatch, first):
    train.train(config)
    before = config.out.with_name("tiny.safetensors").read_bytes()
    original, steps = train._loss, itertools.count(21)
    monkeypatch.setattr(
        train,
        "_loss",
        lambda *arguments: original(*arguments) * (math.nan if next(steps) >= first else 1),
    )
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        train.train(replace(config, minutes=30 / 60))
    assert config.out.with_name("tiny.safetensors").read_bytes() == before
    assert state_of(config)["progress"]["step"] == 20


@pytest.mark.parametrize("target", ["score", ""])
def test_a_target_that_cannot_be_trained_is_refused_before_the_work(config, losses, target):
    with pytest.raises(ValueError, match="target"):
        train.train(replace(config, target=target))
    assert losses == [] and not config.out.parent.exists()


def test_a_state_of_another_target_is_not_gone_on_with(config):
    config = replace(config, target="velocity")
    train.train(replace(config, minutes=2 / 60))
    path = config.out.with_name("tiny.state.pt")
    with pytest.raises(ValueError, match="target"):
        train.train(replace(config, target="noise"))
    # A state from before targets were written down is of velocity.
    state = state_of(config)
    state.pop("target", None)
    torch.save(state, path)
    with pytest.raises(ValueError, match="target"):
        train.train(replace(config, target="noise"))
    train.train(replace(config, minutes=3 / 60))
    assert state_of(config)["progress"]["step"] == 3


def test_a_damaged_state_is_said_so_and_left_alone(config):
    train.train(replace(config, minutes=2 / 60))
    path = config.out.with_name("tiny.state.pt")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"tiny\.state\.pt"):
        train.train(config)
    assert path.stat().st_size == 300


def test_a_noise_target_is_trained_as_one(config):
    path = train.train(replace(config, minutes=3 / 60, target="noise"))
    assert checkpoints.read(path).denoiser.target == "noise"


class Exact(torch.nn.Module):
    """Returns exactly what a Denoiser of this target takes a network to return."""

    scale = 0.2

    def __init__(self, process, x0, target):
        super().__init__()
        self.process, self.x0, self.target = process, x0, target

    def forward(self, x, mu, t, task, statistics, sharp=None):
        alpha, sigma = (
            value.float()[:, None, None, None]
            for value in (self.process.alpha(t), self.process.sigma(t))
        )
        data, s = self.x0 - mu, self.process.sigma_inf
        noise = (x - mu - alpha * data) / sigma
        return {
            "noise": noise,
            "velocity": alpha * s * noise - sigma / s * data,
            # What it goes by is 0.012; its noise is capped where sigma is below a tenth of that.
            "residual": data - alpha * 0.012**2 / sigma.clamp_min(0.0012) * noise,
        }[self.target]


@pytest.mark.parametrize(
    "target, other", [("velocity", "noise"), ("noise", "residual"), ("residual", "velocity")]
)
def test_the_loss_is_least_for_what_the_denoiser_expects_of_the_network(target, other):
    process = MeanRevertingSDE()
    x0, mu = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def loss(returned):
        torch.manual_seed(0)
        network = Exact(process, x0, returned)
        batch = [x0, mu, torch.zeros(4), torch.zeros(4, 6), mu]
        return train._loss(network, process, batch, target).item()

    # Rounding alone is left: of float32, where sigma is small.
    assert abs(loss(target)) < 1e-4 < 0.05 < loss(other)


def test_a_noise_networks_loss_is_of_the_picture_that_its_output_stands_for():
    process = MeanRevertingSDE()
    x0, mu = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    off = 0.02  # in the picture, at every t

    class Off(Exact):
        def forward(self, x, mu, t, task, statistics, sharp=None):
            alpha, sigma = (
                value.float()[:, None, None, None]
                for value in (self.process.alpha(t), self.process.sigma(t))
            )
            return super().forward(x, mu, t, task, statistics, sharp) + off * alpha / sigma

    batch = [x0, mu, torch.zeros(4), torch.zeros(4, 6), mu]
    loss = train._loss(Off(process, x0, "noise"), process, batch, "noise").item()
    assert loss == pytest.approx(0.5 * math.log1p((off / train.FLOOR) ** 2), rel=1e-3)


def blurred_pair(count=3, side=96):
    """Photos with edges, and the same blurred."""
    x0 = torch.stack(
        [torch.from_numpy(picture(seed)).permute(2, 0, 1) / 255 for seed in range(count)]
    )
    x0 = torch.nn.functional.interpolate(x0.float(), (side, side))
    generator = torch.Generator().manual_seed(0)
    return x0, torch.stack([degrade(x, "motion-blurry", 0.6, generator) for x in x0])


def test_where_a_task_is_blurred_the_network_is_shown_it_undone_and_learns_to():
    torch.manual_seed(0)
    network = ResidualUNet(**TINY, blurred=(0,))
    x0, mu = blurred_pair()
    tasks = torch.tensor([0, 0, 4])
    sharp, loss = train._deconvolved(network, x0, mu, tasks)
    assert torch.equal(sharp[2], mu[2])
    torch.testing.assert_close(sharp[:2], network.deconvolution(mu[:2]), rtol=0, atol=1e-5)
    loss.backward()
    learns = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert learns == {n for n, _ in network.named_parameters() if n.startswith("deconvolution")}


def test_the_right_kernel_has_the_least_loss(monkeypatch):
    network = ResidualUNet(**TINY, blurred=(0,))
    x0, mu = blurred_pair()
    tasks = torch.zeros(3, dtype=torch.long)
    point = torch.zeros(3, 33, 33)
    point[:, 16, 16] = 1
    losses = []
    for kernel in (network.deconvolution.true_kernel(x0, mu), point):
        monkeypatch.setattr(network.deconvolution, "kernel", lambda mu, kernel=kernel: kernel)
        losses.append(train._deconvolved(network, x0, mu, tasks)[1].item())
    assert losses[0] + 0.5 < losses[1]


def test_without_a_blurred_task_or_in_a_crop_too_small_to_tell_it_nothing_is_undone():
    network = ResidualUNet(**TINY, blurred=(0,))
    for tasks, side in ((torch.tensor([3, 4]), 64), (torch.tensor([0, 4]), 63)):
        x0, mu = torch.rand(2, 2, 3, side, side)
        sharp, loss = train._deconvolved(network, x0, mu, tasks)
        assert sharp is mu and loss == 0


def test_a_crop_without_edges_does_no_harm():
    network = ResidualUNet(**TINY, blurred=(0,))
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 64, 64), level)
        _, loss = train._deconvolved(network, flat, flat, torch.tensor([0]))
        network.zero_grad()
        loss.backward()
        grads = [p.grad for p in network.deconvolution.parameters()]
        assert loss.isfinite() and all(grad.isfinite().all() for grad in grads)


def test_training_teaches_to_read_the_blur(config):
    config = replace(config, crop=64, favour=("motion-blurry",) * 40)
    at_first = checkpoints.read(train.train(replace(config, minutes=1 / 60)))
    later = checkpoints.read(train.train(replace(config, out=config.out.with_name("later"))))
    for name, value in later.denoiser.network.deconvolution.named_parameters():
        before = at_first.denoiser.network.deconvolution.get_parameter(name)
        if value.ndim == 4:  # the two scalars move by less than float16 shows
            assert not torch.equal(value, before), name


def test_a_state_of_another_network_cannot_be_gone_on_from(config, monkeypatch):
    train.train(config)
    monkeypatch.setattr(train, "ResidualUNet", partial(ResidualUNet, **TINY | {"embedding": 16}))
    train.ResidualUNet.statistics = ResidualUNet.statistics
    with pytest.raises(ValueError, match="of another network"):
        train.train(config)


class Mean(torch.nn.Module):
    """The velocity at T of a teacher whose estimate is `mean`, wherever x_t is."""

    def __init__(self, process, mean):
        super().__init__()
        self.process, self.mean = process, mean

    def forward(self, x, mu, t, task, statistics, sharp=None):
        alpha, sigma, s = self.process.alpha(t), self.process.sigma(t), self.process.sigma_inf
        return (alpha * (x - mu) - (self.mean - mu)) * s / sigma


def test_texture_draws_the_truth_towards_the_teachers_mean_and_leaves_the_rest():
    process = MeanRevertingSDE()
    x0, mu, mean = torch.rand(3, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = [x0, mu, torch.tensor([3, 4]), torch.rand(2, 6)]
    teacher = Denoiser(Mean(process, mean), "velocity")
    toned = train._toned_down(teacher, process, batch, 0.25)
    torch.testing.assert_close(toned[0], mean + 0.25 * (x0 - mean), rtol=0, atol=1e-5)
    assert all(one is other for one, other in zip(toned[1:], batch[1:], strict=True))


def test_a_run_of_less_texture_says_so_in_its_card_and_can_be_gone_on_with(config):
    train.train(replace(config, minutes=3 / 60))
    path = train.train(replace(config, minutes=6 / 60, texture=0.5))
    training = checkpoints.read(path).card["training"]
    assert training["settings"]["texture"] == 0.5 and training["steps"] == 6


def test_a_noise_network_of_less_texture_needs_a_teacher(config, tmp_path):
    noise = replace(config, minutes=2 / 60, target="noise", texture=0.5)
    with pytest.raises(ValueError, match="teacher"):
        train.train(noise)
    teacher = train.train(replace(config, minutes=2 / 60, out=tmp_path / "teacher"))
    path = train.train(replace(noise, teacher=str(teacher)))
    assert checkpoints.read(path).denoiser.target == "noise"


def test_a_run_begins_with_the_weights_of_another_checkpoint(config, losses, tmp_path):
    path = train.train(config)
    still = replace(config, start=str(path), minutes=2 / 60, learning_rate=1e-12)
    again = train.train(replace(still, out=tmp_path / "again"))
    one, other = (checkpoints.read(p).denoiser.network.state_dict() for p in (path, again))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6)
    with pytest.raises(FileNotFoundError):
        train.train(replace(config, out=tmp_path / "none", start=str(tmp_path / "none")))


def test_a_wider_network_begins_as_the_same_function(config):
    path = train.train(replace(config, minutes=100 / 60, learning_rate=0.02))
    still = replace(config, start=str(path), minutes=2 / 60, learning_rate=1e-12, widen=True)
    wider = train.train(replace(still, out=config.out.with_name("wide")))
    one, other = (checkpoints.read(p).denoiser.network for p in (path, wider))
    assert other.config["channels"] == [16, 16]
    x, mu = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = one(x, mu, 50.0, 3)
        # What float16, in which weights are kept, rounds off each: 2^-12, and again of its halves.
        atol = 2e-3 * expected.abs().max().item()
        torch.testing.assert_close(other(x, mu, 50.0, 3), expected, rtol=0, atol=atol)
    assert expected.abs().max() > 0.01
    again = replace(config, start=str(wider), minutes=2 / 60, out=config.out.with_name("on"))
    assert checkpoints.read(train.train(again)).denoiser.network.config["channels"] == [16, 16]


AROUND = ("stem", "head", "deconvolution")


def test_muons_step_moves_the_kernels_themselves(config):
    torch.manual_seed(0)
    network = ResidualUNet(**TINY).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adam, muon = train._optimizers(network, 1e-3)
    x, mu = torch.rand(2, 1, 3, 32, 32)
    torch.nn.init.normal_(network.head.of[3].weight)
    network(x, mu, 50.0, 3).square().sum().backward()
    muon.step()
    moved = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    kernels = {n for n, v in before.items() if v.ndim == 4 and not n.startswith(AROUND)}
    kernels -= {n for n in kernels if ".of." in n and ".of.0." not in n and ".of.3." not in n}
    kernels -= {n for n in kernels if "coder.0" in n and ".of.0." in n}  # task 3's alone moves
    # At the very start the blocks' second kernels are 0 and pass no gradient to the first.
    assert {n for n in kernels if "conv1" not in n} <= moved <= kernels | {"head.of.3.weight"}
    assert sum(len(g["params"]) for o in (adam, muon) for g in o.param_groups) == len(
        list(network.parameters())
    )


def one_of_two(rank, config, port):
    """Trains 20 steps as one of two processes and leaves its network and losses in a file."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    ticks, seen, made = itertools.count(), [], []

    def loss(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    class Tiny(ResidualUNet):
        def __init__(self, **settings):
            super().__init__(**TINY | settings)
            made.append(self)

    original, train._loss, train.ResidualUNet = train._loss, loss, Tiny
    # The second's clock runs slower: they must stop together all the same.
    pace = (1.0, 0.5)[rank]
    train.time = SimpleNamespace(perf_counter=lambda: pace * next(ticks))
    train.train(config)
    content = {"network": made[0].state_dict(), "losses": [value.item() for value in seen]}
    torch.save(content, config.out.with_name(f"process{rank}.pt"))


def test_two_processes_train_one_network_on_crops_of_their_own(folder, tmp_path):
    settings = {"minutes": 20 / 60, "batch": 2, "crop": 32, "workers": 0, "save_every": 1000}
    config = TrainConfig(images=folder, out=tmp_path / "both", device="cpu", **settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (config, port), nprocs=2)
    one, two = (torch.load(tmp_path / f"process{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(one["losses"]) == len(two["losses"]) == 20 and one["losses"] != two["losses"]
    assert all(torch.equal(two["network"][name], value) for name, value in one["network"].items())
    fresh = torch.manual_seed(0) and ResidualUNet(**TINY).state_dict()
    moved = [name for name, value in fresh.items() if not torch.equal(one["network"][name], value)]
    assert "down.0.weight" in moved and sum(name.startswith("stem.of.") for name in moved) >= 4
    assert json.loads((tmp_path / "both.json").read_text())["training"]["crops_seen"] == 80


def test_several_processes_on_a_gpu_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="on a CPU only"):
        train._Crew(torch.device("cuda"))


# --- the data ------------------------------------------------------------------------------------


def crops(folder, count, **settings):
    config = TrainConfig(images=folder, out=folder, crop=32, **settings)
    return list(itertools.islice(DegradedCrops(read_photos(folder, 32), config, 0), count))


def same(one, other):
    return all(
        all(torch.equal(a[i], b[i]) for i in (0, 1, 3)) and a[2] == b[2]
        for a, b in zip(one, other, strict=True)
    )


def test_the_stream_of_crops_is_decided_by_the_seed(folder):
    first = crops(folder, 8)
    assert same(first, crops(folder, 8))
    assert not same(first, crops(folder, 8, seed=1))


def test_a_resumed_run_sees_other_crops(folder):
    config = TrainConfig(images=folder, out=folder, crop=32)
    photos = read_photos(folder, 32)
    one, other = (list(itertools.islice(DegradedCrops(photos, config, s), 4)) for s in (0, 20))
    assert not same(one, other)


def test_crops_are_pictures_of_the_size_asked_for(folder):
    for x0, mu, task, _ in crops(folder, 40):
        assert x0.shape == mu.shape == (3, 32, 32)
        assert x0.dtype == torch.uint8 and len(x0.unique()) > 20
        assert mu.dtype == torch.float16 and mu.min() >= 0 and mu.max() <= 1
        assert 0 <= task < len(TASKS)


def test_photos_of_one_task_come_in_a_row(folder):
    tasks = [task for _, _, task, _ in crops(folder, 400)]  # two crops a photo
    rows = [tasks[i : i + 2 * PHOTOS_IN_A_ROW] for i in range(0, 400, 2 * PHOTOS_IN_A_ROW)]
    assert all(len(set(row)) == 1 for row in rows) and len(set(tasks)) == 10


def test_a_batch_is_in_order_of_task(folder):
    drawn = crops(folder, 12, crops_per_photo=1)
    x0, mu, tasks, statistics = train._batch(drawn)
    assert len(tasks.unique()) > 1 and tasks.tolist() == sorted(task for _, _, task, _ in drawn)
    for row in zip(x0, mu, tasks, statistics, strict=True):
        assert any(same([row], [crop]) for crop in drawn)


def test_every_task_and_every_photo_turns_up(folder):
    tasks = {task for _, _, task, _ in crops(folder, 300, crops_per_photo=1)}
    assert tasks == set(range(len(TASKS)))


def test_a_crop_is_of_a_pair_that_was_drawn_for_the_task_it_says(folder, monkeypatch):
    drawn = []

    def spied(photo, task, generator, other_forms):
        drawn.append((task, draw(photo, task, generator, other_forms)))
        return drawn[-1][1]

    monkeypatch.setattr(train, "draw", spied)
    for x0, mu, task, statistics in crops(folder, 20, crops_per_photo=1):
        name, pair = drawn.pop(0)
        assert TASKS[task] == name
        places = itertools.product(range(pair.x0.shape[1] - 31), repeat=2)
        top, left = next(
            (i, j) for i, j in places if torch.equal(pair.x0[:, i : i + 32, j : j + 32], x0)
        )
        assert torch.equal(mu, pair.mu[:, top : top + 32, left : left + 32].half())
        assert torch.equal(statistics, ResidualUNet.statistics(pair.mu[None])[0])


def test_photos_too_small_and_files_that_are_none_are_left_out(folder):
    Image.new("RGB", (20, 200)).save(folder / "thin.png")
    (folder / "notes.txt").write_text("not a photo")
    Image.fromarray(picture(9)).convert("L").save(folder / "GREY.JPG")
    photos = read_photos(folder, 32)
    assert [tuple(p.shape) for p in photos] == [(3, 72, 80)] * 4
    assert all(p.dtype == torch.uint8 for p in photos)


def test_a_folder_without_usable_photos_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="no photo of at least 100 x 100"):
        read_photos(folder, 100)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no photo"):
        read_photos(tmp_path / "empty", 32)


def test_training_leaves_the_callers_number_of_threads_alone(config):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train.train(replace(config, minutes=1 / 60))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
