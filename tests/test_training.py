"""Training: a few steps of a tiny network on three synthetic photos."""

import itertools
import json
import math
import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mrsampler import TASKS, MeanRevertingSDE, checkpoints, degrade
from mrsampler.networks import IRSDEUNet, LightDenoiser, Reader
from mrsampler.networks.light_denoiser import USUAL_SPREAD, turned
from mrsampler.training import TrainConfig, data, loop, losses, train
from mrsampler.training import config as settings
from mrsampler.training.config import PARTS
from mrsampler.training.data import PHOTOS_IN_A_ROW, Batch, DegradedCrops, batch, read_photos
from mrsampler.training.distributed import Distributed
from mrsampler.training.optimisers import Muon, optimisers, orthogonal

PROCESS = MeanRevertingSDE()
SHAPE = {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}
BLURRED = TASKS.index("motion-blurry")


def tiny(tasks=TASKS, target="data", **changes):
    torch.manual_seed(0)
    blurred = [i for i, task in enumerate(tasks) if task == "motion-blurry"]
    shape = SHAPE | changes
    return LightDenoiser(
        PROCESS, {**shape, "num_tasks": len(tasks), "blurred": blurred}, **shape, target=target
    )


def saved(path, tasks=TASKS, target="data", **changes):
    """A checkpoint of an untrained network, as what `start` takes."""
    network = tiny(tasks, target, **changes)
    card = {
        "architecture": "light-denoiser",
        "config": network.config,
        "target": target,
        "process": {},
        "tasks": list(tasks),
    }
    checkpoints.save(path.with_suffix(".safetensors"), network, card)
    return str(path)


def weights(name):
    return checkpoints.read(name).denoiser.network.state_dict()


def moved(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def picture(seed, height=72, width=80):
    """Shading, a disc and grain, (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 80
    shade = 110 + 60 * np.sin(4 * x + 3 * y + seed) + 50 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05)
    return (shade[..., None] + random.normal(0, 8, (height, width, 3))).clip(0, 255).astype("uint8")


def damaged(photo, task, generator, other_forms=0.5, *, window=256):
    """What stands in for `drawing.draw`: the photo's corner, damaged in the usual form."""
    x0 = photo[:, : min(window, *photo.shape[1:]), : min(window, *photo.shape[1:])]
    severity = float(torch.rand((), generator=generator))
    return x0, degrade(x0.float() / 255, task, severity, generator), severity, "usual"


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    monkeypatch.setattr(data, "draw", damaged)


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
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    return TrainConfig(
        images=(folder,),
        out=tmp_path / "out" / "tiny",
        start=saved(tmp_path / "start"),
        part="reader",
        minutes=20 / 60,
        batch=2,
        crop=32,
        workers=0,
        device="cpu",
        save_every=1000,
    )


@pytest.fixture
def seen(monkeypatch):
    """Every loss of the run."""
    values = []

    def recorded(original):
        def recording(*given, **named):
            loss = original(*given, **named)
            values.append(loss.item())
            return loss

        return recording

    for name in ("joint_loss", "reader_loss", "light_loss"):
        monkeypatch.setattr(loop, name, recorded(getattr(loop, name)))
    return values


def state_of(config):
    return torch.load(config.out.with_name(config.out.name + ".state.pt"), weights_only=True)


# --- a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_run_makes_a_checkpoint_its_card_and_a_state(config, seen, part):
    path = train(replace(config, part=part))
    assert path == config.out.with_name("tiny.safetensors")
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "tiny.json",
        "tiny.safetensors",
        "tiny.state.pt",
    ]
    assert len(seen) == 20 and all(math.isfinite(loss) for loss in seen)
    checkpoint = checkpoints.read(path)
    assert checkpoint.tasks == TASKS and checkpoint.denoiser.target == "data"
    assert checkpoint.process.alpha(50) == MeanRevertingSDE().alpha(50)
    card = checkpoint.card
    training = card["training"]
    assert (training["steps"], training["crops_seen"], training["photos"]) == (20, 40, 3)
    assert training["settings"]["part"] == part and training["settings"]["crop"] == 32
    assert card["parameters"] == sum(p.numel() for p in checkpoint.denoiser.network.parameters())
    # Nothing of the machine it was trained on.
    assert str(config.images[0]) not in json.dumps(card)
    assert str(config.out) not in json.dumps(card)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_trains_all_of_its_own_and_nothing_else(config, part):
    path = train(replace(config, part=part, batch=8, learning_rate=0.02))
    before, after = weights(config.start), weights(path)
    changed = moved(before, after)
    own = {
        name
        for name in before
        if part in ("both", "reader" if name.startswith("reader.") else "light")
    }
    assert changed <= own
    # All but the outer kernels of tasks that no crop was of, and the blur's two scalars, which move
    # by less than float16 shows; crops of 32 pixels tell no blur, windows of 72 do.
    still = {n for n in own - changed if ".of." not in n and "deconvolution.log" not in n}
    assert still == set()


@pytest.mark.parametrize("part", PARTS)
def test_training_lowers_the_loss(config, seen, part):
    rate = {"both": 0.005, "reader": 0.01, "light": 0.005}[part]
    train(replace(config, part=part, minutes=200 / 60, batch=8, learning_rate=rate))
    assert np.mean(seen[-50:]) < np.mean(seen[:50])


def test_trained_together_the_reader_learns_what_it_does_alone(config):
    crops = next(loop.Training(config).batches()).to(torch.device("cpu"))
    network = tiny()
    losses.reader_loss(network, crops).backward()
    alone = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)
    losses.joint_loss(network, crops, noises=2).backward()
    for name, parameter in network.named_parameters():
        if name in alone:
            # Sums of products in another order: a hundred roundings of the largest entry.
            bound = 100 * torch.finfo(torch.float32).eps * float(alone[name].abs().max())
            assert torch.allclose(parameter.grad, alone[name], rtol=0, atol=bound), name
    assert any(p.grad is not None for p in network.light.parameters())


def test_the_light_part_needs_a_checkpoint_with_a_reader(config):
    with pytest.raises(ValueError, match="needs a checkpoint with a trained reader"):
        train(replace(config, part="light", start=None))
    with pytest.raises(ValueError, match="no kernels of a task's own"):
        train(replace(config, part="light", only=("noisy",)))
    assert not config.out.parent.exists()


def test_without_a_start_the_bundled_kind_is_trained(folder):
    network, tasks, process = loop._begun(TrainConfig((folder,), folder / "out"))
    assert tasks == TASKS and process.alpha(50) == PROCESS.alpha(50)
    assert network.config["reader"] == Reader(blurred=[BLURRED]).config


def test_another_denoiser_is_trained_over_the_same_reader(config, tmp_path):
    reader = train(replace(config, minutes=3 / 60))
    start = replace(config, start=str(reader), part="light", minutes=3 / 60)
    other = train(replace(start, out=tmp_path / "noise", target="noise"))
    checkpoint = checkpoints.read(other)
    assert checkpoint.denoiser.target == checkpoint.denoiser.network.target == "noise"
    changed = moved(weights(reader), weights(other))
    assert changed and not any(name.startswith("reader.") for name in changed)


def test_a_run_begins_with_the_weights_of_another_checkpoint(config, tmp_path):
    path = train(config)
    still = replace(config, start=str(path), minutes=2 / 60, learning_rate=1e-12)
    again = train(replace(still, out=tmp_path / "again"))
    one, other = weights(path), weights(again)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6)
    with pytest.raises(FileNotFoundError):
        train(replace(config, out=tmp_path / "none", start=str(tmp_path / "none")))


def test_another_architecture_cannot_be_begun_with(config, tmp_path):
    network = IRSDEUNet(
        nf=32, ch_mult=(1,), context_dim=None, use_degra_context=False, use_image_context=False
    )
    card = {"architecture": "irsde-unet", "config": network.config, "target": "noise"}
    card |= {"process": {}, "tasks": ["noisy"]}
    checkpoints.save(tmp_path / "other.safetensors", network, card)
    with pytest.raises(ValueError, match="of another architecture: it cannot be trained here"):
        train(replace(config, start=str(tmp_path / "other")))


def test_two_runs_of_one_seed_are_the_same(config, seen, tmp_path):
    train(replace(config, minutes=5 / 60))
    train(replace(config, minutes=5 / 60, out=tmp_path / "again"))
    assert seen[:5] == seen[5:]
    train(replace(config, minutes=5 / 60, out=tmp_path / "other", seed=1))
    assert seen[10:] != seen[:5]


def test_the_quality_of_photos_held_out_stands_on_the_card(config, tmp_path, folder):
    start = saved(tmp_path / "two", ("noisy", "hazy"))
    path = train(replace(config, start=start, minutes=2 / 60, valid=folder))
    rows = checkpoints.read_card(path)["held_out"]
    assert [row["task"] for row in rows] == ["noisy", "hazy"]
    assert all(5 < row["degraded"] < 60 and row["one"] > 5 for row in rows)


def test_training_leaves_the_callers_number_of_threads_alone(config):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(replace(config, minutes=1 / 60))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"part": "all"}, "unknown part 'all'; choose from both, reader, light"),
        ({"target": "velocity"}, "unknown target 'velocity'; choose from data, noise"),
        ({"favour": ("sunny",)}, "unknown task 'sunny'; choose from"),
        ({"only": ("sunny",)}, "unknown task 'sunny'; choose from"),
        ({"crop": 30}, "crop must be even and from 32 to 256, got 30"),
        ({"crop": 258}, "crop must be even and from 32 to 256, got 258"),
        ({"crop": 33}, "crop must be even and from 32 to 256, got 33"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_the_work(config, seen, changes, words):
    with pytest.raises(ValueError, match=words):
        train(replace(config, **changes))
    assert seen == [] and not config.out.parent.exists()


# --- stopped, and gone on with -------------------------------------------------------------------


def test_a_run_resumes_where_it_stopped(config, seen):
    train(config)
    before = state_of(config)
    assert before["progress"]["step"] == 20
    train(config)  # its budget is spent
    assert state_of(config)["progress"]["step"] == 20 and len(seen) == 20
    train(replace(config, minutes=26 / 60))
    after = state_of(config)
    assert after["progress"]["step"] == 26 and len(seen) == 26
    assert after["progress"]["seconds"] == pytest.approx(26)
    card = json.loads(config.out.with_name("tiny.json").read_text())
    assert card["training"]["steps"] == 26
    # Weights and the optimisers' moments go on from where they were. A step of Muon moves no weight
    # by more than its size times the largest singular value that it leaves, 1.2.
    name = "reader.down.0.weight"
    drift = (after["network"][name] - before["network"][name]).abs().max()
    size = 2 * config.learning_rate * 0.2 * (8 * 2 * 2) ** 0.5
    assert 0 < drift < 6 * 1.2 * size * 26 / 300 * 1.01
    assert after["optimisers"][0]["state"][0]["step"] == 26
    for state in (before, after):
        kernels = state["optimisers"][1]["state"].values()  # of the tasks there have been so far
        assert any(kernel["momentum"].any() for kernel in kernels)


def test_an_interrupted_run_keeps_its_last_save_and_resumes_from_it(config, monkeypatch):
    original, calls = loop.reader_loss, itertools.count(1)

    def interrupted(*given):
        if next(calls) == 15:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(loop, "reader_loss", interrupted)
    config = replace(config, save_every=6 / 60)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    step = state_of(config)["progress"]["step"]
    assert 6 < step <= 14
    card = checkpoints.read(config.out.with_name("tiny.safetensors")).card
    assert card["training"]["steps"] == step
    monkeypatch.setattr(loop, "reader_loss", original)
    train(config)
    progress = state_of(config)["progress"]
    assert progress["seconds"] >= 20 and progress["step"] > step


def test_a_state_cut_short_in_writing_leaves_the_one_before(config, monkeypatch):
    train(config)

    def cut_short(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="no space"):
        train(replace(config, minutes=25 / 60))
    assert state_of(config)["progress"]["step"] == 20


@pytest.mark.parametrize("first", [21, 25], ids=lambda step: f"from step {step}")
def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(config, monkeypatch, first):
    train(config)
    before = config.out.with_name("tiny.safetensors").read_bytes()
    original, steps = loop.reader_loss, itertools.count(21)
    monkeypatch.setattr(
        loop,
        "reader_loss",
        lambda *given: original(*given) * (math.nan if next(steps) >= first else 1),
    )
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        train(replace(config, minutes=30 / 60))
    assert config.out.with_name("tiny.safetensors").read_bytes() == before
    assert state_of(config)["progress"]["step"] == 20


def test_a_damaged_state_is_said_so_and_left_alone(config):
    train(replace(config, minutes=2 / 60))
    path = config.out.with_name("tiny.state.pt")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"tiny\.state\.pt is damaged"):
        train(config)
    assert path.stat().st_size == 300


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"part": "light"}, "is of part 'reader', not 'light'"),
        ({"target": "noise"}, "is of target 'data', not 'noise'"),
    ],
)
def test_a_state_of_another_part_or_target_is_not_gone_on_with(config, changes, words):
    train(replace(config, minutes=2 / 60))
    with pytest.raises(ValueError, match=words):
        train(replace(config, **changes))
    train(replace(config, minutes=3 / 60))
    assert state_of(config)["progress"]["step"] == 3


def test_a_state_of_another_network_or_of_other_tasks_is_not_gone_on_with(config, tmp_path):
    train(replace(config, minutes=2 / 60))
    wider = saved(tmp_path / "wider", embedding=16)
    with pytest.raises(ValueError, match="of another network, cannot resume"):
        train(replace(config, start=wider))
    other = saved(tmp_path / "other", TASKS[:1] + TASKS[:0:-1])
    with pytest.raises(ValueError, match=r"is of tasks \['motion-blurry', 'hazy'"):
        train(replace(config, start=other))


# --- tasks by name -------------------------------------------------------------------------------

FEW = ("rainy", "noisy", "hazy")


@pytest.fixture
def inserted(monkeypatch):
    """A registry with a task in its middle that no checkpoint knows."""
    tasks = (*TASKS[:4], "foggy", *TASKS[4:])
    for module in (settings, loop):
        monkeypatch.setattr(module, "TASKS", tasks)

    def marked(photo, task, generator, other_forms=0.5, *, window=256):
        mu = torch.full(photo.shape, tasks.index(task) / 16)
        return photo, mu, 0.5, "usual"

    monkeypatch.setattr(data, "draw", marked)
    return tasks


def test_what_is_trained_on_are_the_tasks_of_the_card_in_its_order(
    config, inserted, tmp_path, monkeypatch
):
    batches, original = [], loop.reader_loss
    monkeypatch.setattr(
        loop, "reader_loss", lambda net, given: batches.append(given) or original(net, given)
    )
    path = train(replace(config, start=saved(tmp_path / "few", FEW), favour=("hazy",)))
    checkpoint = checkpoints.read(path)
    assert checkpoint.tasks == FEW
    assert checkpoint.denoiser.network.config["reader"]["num_tasks"] == 3
    drawn = set()
    for given in batches:
        for number, mu in zip(given.task.tolist(), given.mu, strict=True):
            assert mu[0, 0, 0] == inserted.index(FEW[number]) / 16
            drawn.add(FEW[number])
    assert drawn == set(FEW)


def test_of_one_task_alone_the_kernels_are_those_of_its_place_on_the_card(config, tmp_path):
    start = saved(tmp_path / "few", FEW)
    first = train(replace(config, start=start, minutes=2 / 60))
    only = replace(config, start=str(first), out=tmp_path / "own", only=("noisy",))
    before, after = weights(first), weights(train(only))
    own = {name for name in before if ".of.1." in name}
    assert moved(before, after) == own and len(own) == 12  # stem, head, two blocks of two


@pytest.mark.parametrize("option", ["only", "favour"])
def test_a_task_that_the_checkpoint_does_not_know_is_refused(config, inserted, tmp_path, option):
    start = saved(tmp_path / "few", FEW)
    with pytest.raises(ValueError, match="few does not know 'foggy'; choose from rainy, noisy"):
        train(replace(config, start=start, **{option: ("foggy",)}))


def test_a_task_of_the_checkpoint_that_is_not_known_here_is_refused(config, tmp_path):
    start = saved(tmp_path / "odd", ("noisy", "scratched"))
    with pytest.raises(ValueError, match="odd is of 'scratched', which cannot be drawn here"):
        train(replace(config, start=start))


# --- what the parts are taught -------------------------------------------------------------------


def a_batch(x0, mu, task=3):
    """Without windows: of tasks that are not blurred."""
    statistics = Reader.statistics(mu)
    return Batch(x0, mu, torch.full((len(mu),), task), statistics, [])


def noise_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_crops_loss_is_a_matter_of_decibels():
    off = torch.tensor([0.0, losses.FLOOR, 0.1])[:, None, None, None].expand(3, 3, 8, 8)
    expected = [0.0, 0.5 * math.log(2), 0.5 * math.log1p((0.1 / losses.FLOOR) ** 2)]
    torch.testing.assert_close(losses.decibels(off), torch.tensor(expected))
    # Ten times the error is 20 dB more, whatever it is: log 10 in these units.
    ten = (losses.decibels(10 * off) - losses.decibels(off))[2]
    assert ten == pytest.approx(math.log(10), abs=1e-2)


def test_the_readers_loss_is_that_of_its_estimate():
    mu = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x0 = mu + torch.tensor([0.01, 0.1])[:, None, None, None]
    expected = sum(0.5 * math.log1p((off / losses.FLOOR) ** 2) for off in (0.01, 0.1)) / 2
    # An untrained one estimates 0.
    assert losses.reader_loss(tiny(), a_batch(x0, mu)).item() == pytest.approx(expected, rel=1e-3)


class Right(nn.Module):
    """In the light part's place: F as it should be, and `off` beside it; D is the rest E.

    `off` is in units of what E_hat is to get from F: d s / sqrt(d^2 + s^2).
    """

    def __init__(self, rest, d, target, off=0.0):
        super().__init__()
        self.rest, self.d, self.target, self.off = rest, d, target, off

    def forward(self, given, log_s, task, levels):
        s = log_s.exp()[:, None, None, None]
        rest = self.rest.repeat_interleave(len(given) // len(self.rest), 0)
        total = (self.d**2 + s**2).sqrt()
        z = given * total
        if self.target == "noise":
            return (z - rest) / s + self.off * self.d / total
        return (rest - self.d**2 / total**2 * z) * total / (s * self.d) + self.off


def light_loss(rest, d, target="data", off=0.0, noises=8):
    """Of an untrained reader, whose estimate is 0, and a spread d everywhere; and the network."""
    network = tiny(target=target).double()
    mu = torch.full_like(rest, 0.5)
    x0 = mu + turned(rest, network.basis.T)
    with torch.no_grad():
        network.briefing.spread.bias.fill_(math.log(d / USUAL_SPREAD))
    network.light = Right(turned(x0 - mu, network.basis), d, target, off)
    torch.manual_seed(0)
    return losses.light_loss(network, a_batch(x0, mu), noises), network


@pytest.mark.parametrize("target", ["data", "noise"])
@pytest.mark.parametrize("off", [0.0, 0.3, -2.0])
def test_the_light_loss_is_least_for_the_right_f_and_counts_what_f_does_to_e(target, off):
    d = 0.05
    rest = d * noise_of(2, 3, 16, 16).double()
    loss, _ = light_loss(rest, d, target, off)
    likelihood = math.log(d) + 0.5 * (rest / d).square().mean()
    huber = 2 * losses.OUTLIER**2 * (math.sqrt(1 + (off / losses.OUTLIER) ** 2) - 1)
    # The basis of colours is of float32: z is off by 1e-7, which is up to 1e-4 over s = 0.002.
    assert loss.item() - likelihood.item() == pytest.approx(huber, abs=1e-3)


def test_the_spread_is_right_where_the_likelihood_is_least():
    signs = noise_of(2, 3, 16, 16).sign().double()
    size = 0.04  # E^2 is d^2 on average, exactly
    by_d = {
        d: light_loss(size * signs, d)[0].item() for d in (0.02, 0.03, 0.039, 0.04, 0.041, 0.06)
    }
    assert min(by_d, key=by_d.get) == size
    for d, value in by_d.items():
        assert value == pytest.approx(math.log(d) + size**2 / (2 * d**2), abs=1e-3)
    slopes = []
    for d in (0.03, 0.04, 0.06):
        loss, network = light_loss(size * signs, d)
        loss.backward()
        slopes.append(network.briefing.spread.bias.grad.sum().item())
    # By log d: 1 - E^2 / d^2.
    expected = [1 - (size / d) ** 2 for d in (0.03, 0.04, 0.06)]
    assert slopes == pytest.approx(expected, abs=1e-4)


def test_an_outlier_counts_for_the_spread_no_more_than_20_of_it():
    rest = torch.full((1, 3, 8, 8), 1.0).double()
    loss, network = light_loss(rest, 0.01)
    loss.backward()
    assert not network.briefing.spread.bias.grad.sum() < 0, "1 / 0.01 is beyond: it pulls no more"


def test_the_light_loss_leaves_the_reader_alone():
    network = tiny()
    mu, x0 = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    losses.light_loss(network, a_batch(x0, mu), 2).backward()
    for name, parameter in network.named_parameters():
        assert not name.startswith("reader.") or parameter.grad is None, name
    assert network.light.head.weight.grad.any() and network.briefing.spread.weight.grad.any()


def test_log_s_covers_its_range_nine_in_ten_where_e_shows_through():
    torch.manual_seed(0)
    s = losses.drawn_log_s(1000).exp().sort().values
    assert losses.LEAST_S <= s[0] < 1.01 * losses.LEAST_S
    assert 0.97 * losses.MOST_S < s[-1] <= losses.MOST_S
    assert (s < losses.MIDDLE_S).sum() == 900
    # One in each of the equal parts of log s, on either side.
    for part in (s[:900], s[900:]):
        steps = part.log().diff()
        assert steps.max() < 2 * (part[-1] / part[0]).log() / (len(part) - 1)
    # All that the process goes through, from t = 0 to T.
    s_of = [PROCESS.sigma(t) / PROCESS.alpha(t) for t in (0.0, PROCESS.T)]
    assert s_of[0] < 6 * losses.LEAST_S and s_of[1] == pytest.approx(losses.MOST_S, rel=0.01)


def test_any_log_s_comes_to_any_place_in_a_batch():
    firsts = torch.stack([losses.drawn_log_s(8)[0] for _ in range(200)]).exp()
    assert firsts.min() < 0.01 and firsts.max() > losses.MIDDLE_S


def test_small_errors_count_squared_and_large_ones_by_their_size():
    small, large = torch.tensor([0.01, -0.1]), torch.tensor([400.0, -4000.0])
    torch.testing.assert_close(losses.pseudo_huber(small), small.square(), rtol=1e-3, atol=1e-6)
    expected = 2 * losses.OUTLIER * large.abs()
    torch.testing.assert_close(losses.pseudo_huber(large), expected, rtol=0.02, atol=0)


# --- blur, read and undone -----------------------------------------------------------------------


def blurred_windows(count=3, side=96):
    """Photos with edges, and the same blurred, (count, 3, side, side)."""
    x0 = torch.stack(
        [torch.from_numpy(picture(seed)).permute(2, 0, 1) / 255 for seed in range(count)]
    )
    x0 = nn.functional.interpolate(x0.float(), (side, side))
    generator = torch.Generator().manual_seed(0)
    return x0, torch.stack([degrade(x, "motion-blurry", 0.6, generator) for x in x0])


def blurred_batch(side=96, crop=32, corner=(16, 40)):
    """Two crops of blurred windows, and one of another task."""
    x0, mu = blurred_windows(side=side)
    rows, columns = (slice(start, start + crop) for start in corner)
    clean, damaged_ = x0[..., rows, columns], mu[..., rows, columns]
    windows = [(i, corner, x0[i], mu[i]) for i in (0, 1)]
    tasks = torch.tensor([BLURRED, BLURRED, 4])
    return Batch(clean, damaged_, tasks, Reader.statistics(mu), windows), mu


def test_a_blur_is_read_from_the_window_undone_in_the_crop_and_learnt():
    network = tiny()
    given, mu = blurred_batch()
    sharp, loss = losses.sharpened(network, given)
    assert torch.equal(sharp[2], given.mu[2])
    undone = network.reader.deconvolution(mu[:2])[..., 16:48, 40:72]
    torch.testing.assert_close(sharp[:2], undone, rtol=0, atol=1e-5)
    loss.backward()
    learns = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    own = "reader.deconvolution."
    assert learns == {n for n, _ in network.named_parameters() if n.startswith(own)}


def test_the_right_kernel_has_the_least_loss(monkeypatch):
    network = tiny()
    given, _mu = blurred_batch()
    deconvolution = network.reader.deconvolution
    point = torch.zeros(1, 33, 33)
    point[:, 16, 16] = 1
    truths = iter([deconvolution.true_kernel(w[2][None], w[3][None]) for w in given.windows])
    values = []
    for kernel in (lambda mu: next(truths), lambda mu: point):
        monkeypatch.setattr(deconvolution, "kernel", kernel)
        values.append(losses.sharpened(network, given)[1].item())
    assert values[0] + 0.3 < values[1]  # two of the three crops are blurred


def test_without_a_window_or_in_one_too_small_to_tell_nothing_is_undone():
    network = tiny()
    small, _ = blurred_batch(side=63, corner=(0, 0))
    for given in (small, small._replace(windows=[])):
        sharp, loss = losses.sharpened(network, given)
        assert sharp is given.mu and loss == 0


def test_a_window_without_edges_does_no_harm():
    network = tiny()
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 64, 64), level)
        windows = [(0, (0, 0), flat[0], flat[0])]
        given = Batch(flat, flat, torch.tensor([BLURRED]), Reader.statistics(flat), windows)
        _, loss = losses.sharpened(network, given)
        network.zero_grad()
        loss.backward()
        grads = [p.grad for p in network.reader.deconvolution.parameters()]
        assert loss.isfinite() and all(grad.isfinite().all() for grad in grads)


# --- the optimisers ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 8, 32), (4, 32, 8), (1, 24, 60)])
def test_orthogonal_makes_singular_values_near_1_and_keeps_the_directions(shape):
    made = noise_of(*shape)
    result = orthogonal(made)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.65 and values.max() < 1.25  # where five of Jordan's steps end
    u, _, v = torch.linalg.svd(made, full_matrices=False)
    # Only the singular values are changed: between its own vectors the result is diagonal.
    inner = u.mT @ result @ v.mT
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-4


def test_orthogonal_of_nothing_is_nothing():
    assert (orthogonal(torch.zeros(2, 4, 6)) == 0).all()


def test_muons_step_moves_the_kernels_inside_and_adamw_all_else():
    network = tiny().to(memory_format=torch.channels_last)
    adam, muon = optimisers(network, 1e-3)
    assert isinstance(muon, Muon) and adam.defaults["lr"] == 1e-3 and muon.defaults["lr"] == 2e-3
    names = {id(p): name for name, p in network.named_parameters()}
    own, others = ({names[id(p)] for p in o.param_groups[0]["params"]} for o in (muon, adam))
    assert own.isdisjoint(others) and own | others == set(names.values())
    outer = ("stem", "head", "deconvolution", "briefing")
    for name in own:
        assert network.get_parameter(name).ndim == 4 and not any(word in name for word in outer)
    assert {"reader.down.0.weight", "light.encoder.0.0.conv1.of.0.weight"} <= own
    assert {"reader.stem.of.3.weight", "light.head.weight", "reader.task.weight"} <= others
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for name in own:
        p = network.get_parameter(name)
        p.grad = torch.randn_like(p) if ".of.2." not in name else None
    muon.step()
    after = network.state_dict()
    # Of a task that the batch had none of, nothing moves: not even by momentum.
    assert moved(before, after) == {name for name in own if ".of.2." not in name}
    name = "reader.down.0.weight"  # 8 x 32: RMS of singular values near 1 is 1 / sqrt(32)
    step = (after[name] - before[name]).square().mean().sqrt()
    assert step == pytest.approx(2e-3 * 0.2, rel=0.3)


def test_what_is_not_to_be_trained_has_no_optimiser():
    network = tiny()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("stem.of.1." in name)
    (adam,) = optimisers(network, 1e-3)
    assert len(adam.param_groups[0]["params"]) == 2


# --- several processes ---------------------------------------------------------------------------


def one_of_two(rank, config, port):
    """Trains 20 steps as one of two processes and leaves its network and losses in a file."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    data.draw = damaged
    ticks, seen = itertools.count(), []
    # The second's clock runs slower: they must stop together all the same.
    pace = (1.0, 0.5)[rank]
    loop.time = SimpleNamespace(perf_counter=lambda: pace * next(ticks))
    training = loop.Training(config)
    original = training.loss
    training.loss = lambda *given: seen.append(original(*given)) or seen[-1]
    training.run()
    content = {"network": training.network.state_dict(), "losses": [v.item() for v in seen]}
    torch.save(content, config.out.with_name(f"process{rank}.pt"))


def test_two_processes_train_one_network_on_crops_of_their_own(folder, tmp_path):
    run = {"minutes": 20 / 60, "batch": 2, "crop": 32, "workers": 0, "save_every": 1000}
    start = saved(tmp_path / "start")
    config = TrainConfig((folder,), tmp_path / "both", start=start, device="cpu", **run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (config, port), nprocs=2)
    one, two = (torch.load(tmp_path / f"process{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(one["losses"]) == len(two["losses"]) == 20 and one["losses"] != two["losses"]
    assert not moved(one["network"], two["network"])
    changed = moved(weights(start), one["network"])
    assert "reader.down.0.weight" in changed
    assert sum(name.startswith("reader.stem.of.") for name in changed) >= 4
    assert json.loads((tmp_path / "both.json").read_text())["training"]["crops_seen"] == 80


def test_several_processes_on_a_gpu_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="on a CPU only"):
        Distributed(torch.device("cuda"))


# --- the data ------------------------------------------------------------------------------------


def stream(folder, start=0, tasks=TASKS, blurred=(BLURRED,), **changes):
    config = TrainConfig((folder,), folder, crop=32, **changes)
    return DegradedCrops(read_photos((folder,), 32), config, tasks, blurred, start)


def crops(folder, count, start=0, tasks=TASKS, blurred=(BLURRED,), **changes):
    return list(itertools.islice(stream(folder, start, tasks, blurred, **changes), count))


def same(one, other):
    return all(
        torch.equal(a.x0, b.x0) and torch.equal(a.mu, b.mu) and a.task == b.task
        for a, b in zip(one, other, strict=True)
    )


def test_the_stream_of_crops_is_decided_by_the_seed(folder):
    first = crops(folder, 8)
    assert same(first, crops(folder, 8))
    assert not same(first, crops(folder, 8, seed=1))


def test_a_resumed_run_sees_other_crops(folder):
    assert not same(crops(folder, 4), crops(folder, 4, start=20))


def test_crops_are_pictures_of_the_size_asked_for(folder):
    for crop in crops(folder, 40):
        assert crop.x0.shape == crop.mu.shape == (3, 32, 32)
        assert crop.x0.dtype == torch.uint8 and len(crop.x0.unique()) > 20
        assert crop.mu.dtype == torch.float16 and crop.mu.min() >= 0 and crop.mu.max() <= 1
        assert 0 <= crop.task < len(TASKS)


def test_photos_of_one_task_come_in_a_row(folder):
    tasks = [crop.task for crop in crops(folder, 400)]  # two crops a photo
    rows = [tasks[i : i + 2 * PHOTOS_IN_A_ROW] for i in range(0, 400, 2 * PHOTOS_IN_A_ROW)]
    assert all(len(set(row)) == 1 for row in rows) and len(set(tasks)) == 10


def test_favoured_tasks_turn_up_twice_as_often(folder):
    drawn = crops(folder, 1200, crops_per_photo=1, favour=("rainy", "hazy"))
    favoured = sum(TASKS[crop.task] in ("rainy", "hazy") for crop in drawn) / 1200
    assert abs(favoured - 4 / 12) < 0.11  # 4 standard deviations of 600 / 2 draws


def test_only_one_tasks_crops_are_drawn(folder):
    drawn = crops(folder, 40, only=("snowy",))
    assert {crop.task for crop in drawn} == {TASKS.index("snowy")}


def test_what_is_drawn_is_asked_by_the_tasks_name_with_the_share_of_other_forms(
    folder, monkeypatch
):
    asked = []

    def draw(photo, task, generator, other_forms=0.5, *, window=256):
        asked.append((task, other_forms, window))
        return photo, photo.float() / 510 + TASKS.index(task) / 100, 0.5, "usual"

    monkeypatch.setattr(data, "draw", draw)
    few = ("snowy", "hazy")
    for crop in crops(folder, 20, tasks=few, blurred=(), crops_per_photo=1, forms=0.7):
        # A float16 below 1 is rounded by 2^-12 at most: a sixteenth of a grey level.
        expected = crop.x0 / 510 + TASKS.index(few[crop.task]) / 100
        torch.testing.assert_close(crop.mu.float(), expected, rtol=0, atol=2**-12)
    assert {task for task, _, _ in asked} == set(few)
    assert {rest for _, *rest in map(tuple, asked) for rest in [tuple(rest)]} == {(0.7, 256)}


def test_a_crop_lies_in_its_window_at_an_even_place_and_is_told_of_the_whole(folder):
    drawn = crops(folder, 60, only=("motion-blurry",))
    corners = set()
    for crop in drawn:
        x0, mu = crop.window
        top, left = crop.corner
        assert top % 2 == left % 2 == 0 and x0.shape == mu.shape == (3, 72, 72)
        at = (..., slice(top, top + 32), slice(left, left + 32))
        assert torch.equal(crop.x0, x0[at]) and torch.equal(crop.mu, mu[at])
        # mu is rounded to float16 after: by 2^-12 a pixel, and so in the mean and the quantiles.
        expected = Reader.statistics(mu[None].float())[0]
        torch.testing.assert_close(crop.statistics, expected, rtol=0, atol=5e-4)
        corners |= {top, left}
    assert min(corners) == 0 and max(corners) == 40, "to either edge"


def test_only_of_what_is_blurred_the_window_comes_too(folder):
    drawn = crops(folder, 200)
    assert {crop.task for crop in drawn if crop.window is not None} == {BLURRED}
    assert all(crop.window is not None for crop in drawn if crop.task == BLURRED)


def test_a_batch_is_in_order_of_task_and_knows_whose_the_windows_are(folder):
    drawn = crops(folder, 24, crops_per_photo=1, favour=("motion-blurry",) * 5)
    made = batch(drawn)
    assert made.task.tolist() == sorted(crop.task for crop in drawn)
    assert len(made.task.unique()) > 1 and len(made.windows) > 1
    for x0, mu, task, statistics in zip(*made[:4], strict=True):
        assert any(
            torch.equal(x0, c.x0)
            and torch.equal(mu, c.mu)
            and task == c.task
            and torch.equal(statistics, c.statistics)
            for c in drawn
        )
    for place, (top, left), _, mu in made.windows:
        assert made.task[place] == BLURRED
        assert torch.equal(made.mu[place], mu[:, top : top + 32, left : left + 32])


def test_on_a_device_a_batch_is_float32_in_0_to_1_and_its_tasks_stay_behind(folder):
    made = batch(crops(folder, 8, favour=("motion-blurry",) * 20))
    there = made.to(torch.device("cpu"))
    torch.testing.assert_close(there.x0, made.x0 / 255)
    torch.testing.assert_close(there.mu, made.mu.float())
    assert there.x0.is_contiguous(memory_format=torch.channels_last)
    assert there.task is made.task
    for (_, corner, x0, mu), (_, same_corner, was, was_mu) in zip(
        there.windows, made.windows, strict=True
    ):
        assert corner == same_corner
        torch.testing.assert_close(x0, was / 255)
        torch.testing.assert_close(mu, was_mu.float())


def test_photos_too_small_and_files_that_are_none_are_left_out(folder):
    Image.new("RGB", (20, 200)).save(folder / "thin.png")
    (folder / "notes.txt").write_text("not a photo")
    Image.fromarray(picture(9)).convert("L").save(folder / "GREY.JPG")
    photos = read_photos((folder,), 32)
    assert [tuple(p.shape) for p in photos] == [(3, 72, 80)] * 4
    assert all(p.dtype == torch.uint8 for p in photos)


def test_photos_of_several_folders_are_read(folder, tmp_path):
    (tmp_path / "more").mkdir()
    Image.fromarray(picture(7)).save(tmp_path / "more" / "7.png")
    assert len(read_photos((folder, tmp_path / "more"), 32)) == 4


def test_folders_without_usable_photos_are_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="no photo of at least 100 x 100"):
        read_photos((folder,), 100)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no photo"):
        read_photos((tmp_path / "empty",), 32)
