"""Photo in, photo out."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import mrsampler
from mrsampler import SOLVERS, TASKS, Denoiser, MeanRevertingSDE, checkpoints, degrade
from mrsampler.checkpoints import Checkpoint
from mrsampler.networks import LightDenoiser
from mrsampler.photo import PhotoError, read
from mrsampler.restorer import Restorer, _finite, load
from mrsampler.trajectory import Step

PROCESS = MeanRevertingSDE()
# The solvers that a mean-reverting checkpoint can be sampled with, each with evaluations enough.
NFES = {
    name: max(4, solver.cost(1)) if not solver.adaptive else 500
    for name, solver in SOLVERS.items()
    if isinstance(PROCESS, solver.processes)
}


class Recorder:
    """A network that finds every photo to be `shift` too dark, and keeps what it was asked."""

    def __init__(self, shift=0.1):
        self.shift, self.calls = shift, []

    def __call__(self, x, mu, t, task):
        self.calls.append((tuple(x.shape), x.dtype, t, task))
        return mu + self.shift  # target "data"


def restorer(network, target="data", tasks=TASKS):
    checkpoint = Checkpoint("test", Denoiser(network, target), PROCESS, tasks, {})
    return Restorer(checkpoint, torch.device("cpu"))


def picture(width=60, height=44, mode="RGB"):
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 3, y * 4, (x + y) * 2], -1).clip(0, 190).astype(np.uint8)
    image = Image.fromarray(rgb).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(((x + y) % 256).astype(np.uint8)))
    return image


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_one_seed_starts_every_sampler_from_the_same_place():
    made = restorer(Recorder())
    image = read(picture()).rgb
    starts = [
        next(made.trajectory(image, "noisy", seed=3, solver=solver, nfe=nfe)).x
        for solver, nfe in NFES.items()
    ]
    assert all(torch.equal(start, starts[0]) for start in starts)
    other = next(made.trajectory(image, "noisy", seed=4)).x
    assert not torch.equal(other, starts[0])
    default = next(made.trajectory(image, "noisy")).x
    assert torch.equal(default, next(made.trajectory(image, "noisy", seed=0)).x)


@pytest.mark.parametrize("solver", NFES)
def test_one_seed_gives_the_same_pixels_whatever_torchs_own_seed(solver):
    made, images = restorer(Recorder()), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        images.append(made.restore(picture(), "noisy", seed=7, solver=solver, nfe=NFES[solver]))
    assert np.array_equal(*map(np.array, images))


def test_the_noise_in_x_T_is_not_the_noise_of_a_photo_degraded_with_the_same_seed():
    clean = torch.full((3, 64, 64), 0.5)
    degraded = degrade(clean, "noisy", 0.5, torch.Generator().manual_seed(5))
    start = next(restorer(lambda x, mu, t, task: mu).trajectory(degraded, "noisy", seed=5)).x[0]
    both = torch.stack([(degraded - clean).flatten(), (start - degraded).flatten()])
    # Of 12,288 independent pairs the correlation has a standard deviation of 0.009.
    assert abs(torch.corrcoef(both)[0, 1].item()) < 0.04


def test_a_run_leaves_torchs_own_random_state_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    restorer(Recorder()).restore(picture(), "noisy", solver="posterior", nfe=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_steps_hold_a_batch_of_one_and_end_where_the_network_says():
    image = read(picture()).rgb
    steps = list(restorer(Recorder(0.1)).trajectory(image, "hazy", nfe=5))
    assert len(steps) == 6
    assert all(step.x.shape == (1, 3, 44, 60) for step in steps)
    # What is left at t = 0: the start's deviation, and the published alpha_0 of 0.999936.
    torch.testing.assert_close(steps[-1].x[0], image + 0.1, rtol=0, atol=0.02)
    torch.testing.assert_close(steps[-1].x0[0], image + 0.1, rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_network_is_told_the_task_by_its_place_in_the_checkpoints_list(task):
    network = Recorder()
    restorer(network).restore(picture(), task, nfe=2)
    assert [call[3] for call in network.calls] == [TASKS.index(task)] * 2
    network = Recorder()
    restorer(network, tasks=("else", task)).restore(picture(), task, nfe=1)
    assert network.calls[0][3] == 1


def test_an_unknown_task_is_refused_with_those_there_are():
    made = restorer(Recorder(), tasks=("noisy", "hazy"))
    assert made.tasks == ("noisy", "hazy") and made.process is PROCESS
    for call in (made.restore, lambda image, task: made.trajectory(read(image).rgb, task)):
        with pytest.raises(
            ValueError, match="does not know the task 'rainy'; choose from noisy, hazy"
        ):
            call(picture(), "rainy")


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 40), (1, 3, 40, 40), (4, 40, 40)])
def test_an_image_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected an image \(3, H, W\)"):
        restorer(Recorder()).trajectory(torch.zeros(shape), "noisy")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("task", ["low-light", "hazy"])
@pytest.mark.parametrize("size", ["own", 40])
def test_a_restored_photo_has_the_size_the_mode_and_the_alpha_it_came_with(mode, task, size):
    network, source = Recorder(), picture(mode=mode)
    back = restorer(network).restore(source, task, size=size, nfe=3)
    assert back.size == source.size and back.mode == mode
    if mode in ("RGBA", "LA"):
        assert np.array_equal(np.array(back.getchannel("A")), np.array(source.getchannel("A")))
    expected = (44, 60) if size == "own" else (32, 44)  # no side under 32
    assert {call[0] for call in network.calls} == {(1, 3, *expected)}
    change = np.array(back.convert("RGB"), float) - np.array(source.convert("RGB"), float)
    assert change.mean() == pytest.approx(0.1 * 255, abs=2)


def test_what_is_a_matter_of_pixels_is_restored_at_the_photos_own_size_by_tiles():
    network, source = Recorder(), picture(1500, 64)
    back = restorer(network).restore(source, "noisy", nfe=3)
    assert back.size == source.size
    # Two tiles of at most 1024, that overlap by the 192 pixels which the network is not asked for.
    assert [call[0] for call in network.calls] == [(1, 3, 64, 880), (1, 3, 64, 876)] * 3
    change = np.array(back, float) - np.array(source, float)
    assert change.mean() == pytest.approx(0.1 * 255, abs=2)


@pytest.mark.parametrize("size, seen", [("own", (384, 512)), (200, (150, 200)), (4000, (600, 800))])
def test_what_is_smooth_or_large_is_found_small_and_the_photo_keeps_its_detail(size, seen):
    network = Recorder()
    pixels = torch.randint(40, 200, (600, 800, 3), generator=torch.Generator().manual_seed(0))
    source = Image.fromarray(pixels.numpy().astype(np.uint8))
    back = restorer(network).restore(source, "hazy", size=size, nfe=10)
    assert {call[0] for call in network.calls} == {(1, 3, *seen)}
    change = np.array(back, float) - np.array(source, float)
    # Every pixel is noise, of a spread of 46, which no small copy knows. What is left of the run's
    # own noise at t = 0 is of 50/255 sqrt(1 - 0.999936^2) = 0.6/255.
    assert change.mean() == pytest.approx(0.1 * 255, abs=0.5)
    assert change.std() < 2


@pytest.mark.parametrize("size", ["full", 512.0, None])
def test_a_size_is_own_or_a_number_of_pixels(size):
    with pytest.raises(ValueError, match="size must be 'own' or a whole number of pixels"):
        restorer(Recorder()).restore(picture(), "noisy", size=size)


def test_what_fits_into_one_tile_is_evaluated_whole():
    network, heard = Recorder(), []
    image = torch.rand(3, 64, 1024, generator=torch.Generator().manual_seed(0))
    made = restorer(network)
    for _ in made.trajectory(image, "noisy", nfe=2, on_tile=heard.append):
        pass
    assert [call[0] for call in network.calls] == [(1, 3, 64, 1024)] * 2 and heard == []


def test_the_steps_of_a_photo_in_tiles_are_those_of_the_whole():
    image = torch.rand(3, 500, 722, generator=torch.Generator().manual_seed(0))
    heard, network = [], Recorder()
    settings = {"seed": 3, "solver": "mrs-sde-d-2", "nfe": 4}
    whole = list(restorer(Recorder()).trajectory(image, "snowy", **settings))
    by_tiles = list(
        restorer(network).trajectory(image, "snowy", tile=480, on_tile=heard.append, **settings)
    )
    assert len(network.calls) == 4 * 2 * 3 and {call[3] for call in network.calls} == {8}
    assert heard[:6] == pytest.approx([i / 6 for i in range(1, 7)]) and heard[5::6] == [1, 2, 3, 4]
    assert torch.equal(by_tiles[0].x, whole[0].x)
    for one, other in zip(by_tiles, whole, strict=True):
        assert (one.nfe, one.t) == (other.nfe, other.t)
        # Weights that sum to one in float32.
        torch.testing.assert_close(one.x, other.x, rtol=0, atol=1e-6)


def test_a_tile_that_the_network_cannot_be_laid_out_in_is_refused():
    with pytest.raises(ValueError, match="tile must be a multiple of 16, and at least 480"):
        restorer(Recorder()).trajectory(torch.zeros(3, 500, 400), "noisy", tile=200)


def test_a_colour_profile_and_an_orientation_are_heeded():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(), icc_profile=b"a profile", exif=exif)
    back = restorer(Recorder()).restore(read(data), "noisy", nfe=1)
    assert back.size == (44, 60) and back.info["icc_profile"] == b"a profile"


def test_a_path_is_read_and_what_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "a.png"
    picture().save(path)
    made = restorer(Recorder())
    assert made.restore(path, "noisy", nfe=1).size == (60, 44)
    assert made.restore(str(path), "noisy", nfe=1).size == (60, 44)
    path.write_text("no picture")
    with pytest.raises(PhotoError, match="not a picture"):
        made.restore(path, "noisy")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_returns_what_is_not_finite_makes_no_picture(value):
    made = restorer(lambda x, mu, t, task: torch.full_like(x, value))
    with pytest.raises(FloatingPointError, match="not finite"):
        made.restore(picture(), "noisy", nfe=3)


def test_settings_reach_the_sampler_and_wrong_ones_are_refused():
    network = Recorder()
    made = restorer(network)
    made.restore(picture(), "noisy", nfe=7, solver="posterior", spacing="uniform-t")
    assert len(network.calls) == 7
    with pytest.raises(ValueError, match="unknown solver"):
        made.restore(picture(), "noisy", solver="magic")
    with pytest.raises(ValueError, match="largest_side must be at least 32"):
        made.restore(picture(), "noisy", size=10)


def test_the_photo_given_is_not_changed():
    source = read(picture())
    before = source.rgb.clone()
    restorer(Recorder()).restore(source, "noisy", nfe=2)
    assert torch.equal(source.rgb, before)


def light(target="data"):
    """The bundled kind, small, with random weights everywhere."""
    torch.manual_seed(0)
    shape = {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}
    network = LightDenoiser(PROCESS, shape, **shape, target=target)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def test_a_saved_network_is_loaded_and_restores(tmp_path):
    network = light()
    card = {
        "architecture": "light-denoiser",
        "config": network.config,
        "target": "data",
        "process": {},
        "tasks": list(TASKS),
    }
    checkpoints.save(tmp_path / "mine.safetensors", network, card)
    made = load(tmp_path / "mine.safetensors", device="cpu")
    assert made.tasks == TASKS and made.device == torch.device("cpu")
    assert made.restore(picture(), "noisy", nfe=2).size == (60, 44)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load(tmp_path / "yours")


# --- what a network reads once


def test_a_reading_is_the_photo_that_the_network_takes_for_the_mean_and_how_sure_it_is():
    made, image = restorer(light()), read(picture()).rgb
    reading = made.reading(image, "noisy")
    told = made.denoiser.network.of_photo(image[None], TASKS.index("noisy"))
    # Laid out otherwise in memory, and rounded otherwise.
    torch.testing.assert_close(reading.estimate, image[None] + told["estimate"], rtol=0, atol=1e-5)
    torch.testing.assert_close(reading.spread, told["spread"], rtol=1e-4, atol=0)
    torch.testing.assert_close(reading.basis @ reading.basis.T, torch.eye(3), rtol=0, atol=1e-6)


def test_a_network_that_reads_nothing_has_no_reading():
    assert restorer(Recorder()).reading(read(picture()).rgb, "noisy") is None


def test_a_reading_is_refused_what_a_run_is():
    made, image = restorer(light(), tasks=("noisy",)), read(picture()).rgb
    with pytest.raises(ValueError, match="does not know the task 'hazy'"):
        made.reading(image, "hazy")
    with pytest.raises(ValueError, match=r"expected an image \(3, H, W\)"):
        made.reading(image[None], "noisy")


def test_a_photo_is_read_once_for_all_of_a_run_and_of_a_race():
    network, read_photos = light(), []
    of_photo = network.of_photo
    network.of_photo = lambda mu, task: read_photos.append(task) or of_photo(mu, task)
    made, image = restorer(network), read(picture()).rgb
    list(made.trajectory(image, "noisy", nfe=4))
    list(made.race(image, "noisy", [{"solver": "mrs-ode-d-2"}, {"solver": "posterior"}], nfe=3))
    made.restore(picture(), "noisy", nfe=3, texture=0.5)
    assert read_photos == [TASKS.index("noisy")] * 3


@pytest.mark.parametrize("target", ["data", "noise"])
def test_texture_moves_between_the_estimate_and_the_sample(target):
    made, source = restorer(light(target), target), read(picture())
    run = {"nfe": 3, "seed": 1}
    for step in made.trajectory(source.rgb, "noisy", **run):
        sample = step.x
    estimate = made.reading(source.rgb, "noisy").estimate

    def pixels(texture):
        return np.array(made.restore(source, "noisy", texture=texture, **run), int)

    for texture in (0.0, 0.3, 1.0):
        between = estimate + texture * (sample - estimate)
        # In float32 a value halfway between two of 8 bits may be rounded to either.
        off = np.abs(pixels(texture) - np.array(source.image(between[0]), int))
        assert off.max() <= 1 and off.mean() < 1e-3
    assert np.abs(pixels(0) - pixels(1)).mean() > 5
    assert np.array_equal(pixels(1), np.array(made.restore(source, "noisy", **run)))


@pytest.mark.parametrize("texture", [-0.01, 1.01, math.nan])
def test_a_texture_outside_0_to_1_is_refused(texture):
    with pytest.raises(ValueError, match=r"texture must lie in \[0, 1\]"):
        restorer(light()).restore(picture(), "noisy", texture=texture)


def test_of_a_network_without_an_estimate_no_texture_but_1_can_be_had():
    network = Recorder()
    with pytest.raises(ValueError, match="test makes no estimate: its texture is 1 alone"):
        restorer(network).restore(picture(), "noisy", texture=0.5)
    assert network.calls == [], "refused before the work"
    restorer(network).restore(picture(), "noisy", nfe=1, texture=1)


def test_grain_is_white_noise_of_the_spread_in_colours_of_the_basis():
    made = restorer(light())
    reading = made.reading(read(picture()).rgb, "noisy")
    noise = torch.randn(500, *reading.spread.shape[1:], generator=torch.Generator().manual_seed(0))
    grain = reading.grain(noise)
    # In the basis its standard deviation is the spread: of 500 draws known to 3.2 %; 5 of those.
    spread = torch.einsum("kc,bchw->bkhw", reading.basis, grain).square().mean(0).sqrt()
    assert ((spread / reading.spread[0]).log().abs() < 0.16).float().mean() > 0.999
    assert grain.mean().abs() < 0.01 * spread.mean()


def test_load_and_restorer_are_at_the_top_of_the_package():
    assert mrsampler.load is load and mrsampler.Restorer is Restorer


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_bright_photo_is_finite_in_every_type_and_a_spoilt_pixel_is_not(dtype):
    bright = torch.ones(1, 3, 256, 256, dtype=dtype)  # adds up to more than a float16 can hold

    def steps():
        yield Step(0, 1.0, 0.0, bright, None, 0, 0.0)

    assert next(_finite(steps())).x is bright
    for spoilt in (math.nan, math.inf, -math.inf):
        bright[0, 1, 7, 9] = spoilt
        with pytest.raises(FloatingPointError, match="not finite"):
            next(_finite(steps()))
