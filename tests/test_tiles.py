"""A photo evaluated by tiles is the photo evaluated whole."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

import mrsampler as mrs
from mrsampler import TASKS, Denoiser, MeanRevertingSDE, degrade, photo
from mrsampler.examples import examples
from mrsampler.networks import LightDenoiser
from mrsampler.tiles import OVERLAP_CELLS, TiledDenoiser, part, read_by_tiles

PROCESS = MeanRevertingSDE()
# A side of two tiles, sides of many that no cell divides, and sides a pixel around a limit.
SIZES = [(41, 83), (100, 63), (65, 257), (96, 97), (191, 190)]


class Local:
    """A network that sees `radius` pixels around each, and zeros beyond what it is given."""

    multiple = 1

    def __init__(self, radius: int):
        self.radius = radius
        generator = torch.Generator().manual_seed(0)
        side = 2 * radius + 1
        self.kernel = torch.randn(3, 6, side, side, generator=generator, dtype=torch.float64)
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, x, mu, t):
        self.calls.append(tuple(x.shape))
        return F.conv2d(torch.cat([x, mu], 1), self.kernel, padding=self.radius) + t


class Unet(LightDenoiser):
    """The bundled kind, untrained, and of one level so small that it sees 9 pixels around each.

    To read, it sees as many where its reader has no block at that level, else 13.
    """

    def __init__(self, channels=(8,), reader_blocks=0):
        torch.manual_seed(0)
        shape = {"channels": channels, "embedding": 8}
        reader = {**shape, "blocks": (reader_blocks,) * len(channels), "blurred": (0,)}
        super().__init__(PROCESS, reader, **shape, blocks=(1,) * len(channels))
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        self.double().requires_grad_(False)
        self.told = []

    def forward(self, x, mu, t, task, **reading):
        self.told.append(reading)
        return super().forward(x, mu, t, task, **reading)


def pair(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """x and mu, (2, B, 3, H, W)."""
    shape = (2, batch, 3, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def tiled(network, mu, tile, target="velocity", **settings):
    return TiledDenoiser(Denoiser(network, target), mu, tile=tile, **settings)


def test_a_residual_network_goes_by_the_same_in_tiles():
    mu = torch.zeros(1, 3, 40, 40)
    by_tiles = TiledDenoiser(Denoiser(Local(0), "residual", 0.02), mu, tile=40)
    assert (by_tiles.target, by_tiles.sigma_data) == ("residual", 0.02)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", ["noise", "data", "velocity"])
def test_a_network_that_looks_no_further_than_a_third_of_the_overlap_returns_the_whole_s(
    size, target
):
    network, (x, mu) = Local(OVERLAP_CELLS // 3), pair(*size)
    whole = network(x, mu, 3.0)
    torch.testing.assert_close(
        tiled(network, mu, 40, target)(x, mu, 3.0), whole, rtol=0, atol=1e-12
    )
    # One that looks further does see the tiles' edges: the bound is no accident.
    far = Local(OVERLAP_CELLS // 3 + 1)
    assert (tiled(far, mu, 40)(x, mu, 3.0) - far(x, mu, 3.0)).abs().max() > 1e-6


def test_one_tile_fades_evenly_into_the_next():
    tile, mu = iter((0.0, 1.0)), torch.zeros(1, 3, 32, 720)
    blended = tiled(lambda x, mu, t: torch.full_like(x, next(tile)), mu, 480)(mu, mu, 0.0)
    share = blended[0, 0, 0]  # of the right tile, along a row
    assert share[0] == 0 and share[-1] == 1 and (share.diff() >= 0).all()
    torch.testing.assert_close(share + share.flip(0), torch.ones(720))


@pytest.mark.parametrize("size", SIZES)
def test_a_pixel_lies_in_the_cells_that_it_lies_in_in_the_whole_photo(size):
    network, (x, mu) = Unet(), pair(*size, batch=2)
    for task in (0, 3):  # with and without a blur to undo
        whole = network(x, mu, 40.0, task)
        assert whole.std() > 0.1
        told = network.of_photo(mu, task)
        by_tiles = tiled(network, mu, 64, "data")(x, mu, 40.0, task=task, **told)
        torch.testing.assert_close(by_tiles, whole, rtol=0, atol=1e-12)


def test_of_what_is_told_of_each_pixel_a_tile_is_told_its_own():
    network, (x, mu) = Unet(), pair(100, 130)
    reading = {"estimate": mu, "spread": torch.rand_like(mu), "level_0": mu[..., ::2, ::2] - 0.5}
    reading["level_0"] = reading["level_0"].repeat(1, 3, 1, 1)[:, :8]
    tiled(network, mu, 64, "data")(x, mu, 80.0, task=0, **reading)
    first, *_, last = network.told
    assert len(network.told) > 4 and first.keys() == last.keys() == reading.keys()
    for name, whole in reading.items():
        (height, width), (bottom, right) = (told[name].shape[-2:] for told in (first, last))
        assert torch.equal(first[name], whole[..., :height, :width])
        assert torch.equal(last[name], whole[..., -bottom:, -right:])
    assert [n // 2 for n in first["estimate"].shape[2:]] == list(first["level_0"].shape[2:])


ODD = [(33, 40), (40, 100), (100, 257), (257, 33)]


@pytest.mark.parametrize("size", ODD)
def test_the_parts_of_a_reading_laid_side_by_side_are_the_reading(size):
    network, (_, mu) = Unet((8, 8, 8, 8)), pair(*size)
    told = {"task": 3, "of_all": torch.rand(1, 33), **network.of_photo(mu, 3)}
    cuts = [[0, 16, 32, side] for side in size]  # where all levels have a pixel
    rows = []
    for down in pairwise(cuts[0]):
        parts = [
            part(told, mu, (..., slice(*down), slice(*across))) for across in pairwise(cuts[1])
        ]
        assert all(one["task"] == 3 and one["of_all"] is told["of_all"] for one in parts)
        rows.append({n: torch.cat([one[n] for one in parts], -1) for n in told if told_of(n)})
    for name in filter(told_of, told):
        assert torch.equal(torch.cat([row[name] for row in rows], -2), told[name]), name


def told_of(name):
    """Whether it is told of each pixel."""
    return name not in ("task", "of_all")


@pytest.mark.parametrize("size", ODD)
def test_a_part_of_a_reading_has_the_shapes_of_the_parts_own_reading(size):
    network, (x, mu) = Unet((8, 8, 8, 8)), pair(*size)
    crop = (..., slice(16, size[0]), slice(0, 32))
    told = part(network.of_photo(mu, 3), mu, crop)
    own = network.of_photo(mu[crop], 3)
    assert {n: v.shape for n, v in told.items()} == {n: v.shape for n, v in own.items()}
    assert network(x[crop], mu[crop], 50.0, 3, **told).shape == x[crop].shape


# --- a photo read by tiles


@pytest.mark.parametrize("size", [*SIZES, (30, 40)])
@pytest.mark.parametrize("task", [0, 3])  # with and without a blur to undo
def test_a_reader_that_looks_no_further_than_a_third_of_the_overlap_reads_the_whole_s(size, task):
    network, (_, mu) = Unet(), pair(*size)
    whole, by_tiles = network.of_photo(mu, task), read_by_tiles(network, mu, task, 64)
    assert whole.keys() == by_tiles.keys() == {"estimate", "spread", "level_0"}
    for name, value in whole.items():
        torch.testing.assert_close(by_tiles[name], value, rtol=0, atol=1e-12)


def test_one_that_looks_further_differs_by_what_it_sees_there():
    network, (_, mu) = Unet((8, 8), reader_blocks=1), pair(60, 400)
    whole, by_tiles = network.of_photo(mu, 3), read_by_tiles(network, mu, 3, 120)
    assert whole.keys() == by_tiles.keys() == {"estimate", "spread", "level_0", "level_1"}
    for name, value in whole.items():
        off = (by_tiles[name] - value).abs().max() / value.std()
        # A cell or two further than the fading begins, seen with random weights.
        assert by_tiles[name].shape == value.shape and off < 0.05, name


def test_no_tile_that_is_read_is_larger_than_asked():
    network, (_, mu) = Unet(), pair(100, 257)
    seen, of_photo = [], network.of_photo
    network.of_photo = lambda mu, *given, **whole: (
        seen.append(mu.shape) or of_photo(mu, *given, **whole)
    )
    read_by_tiles(network, mu, 3, 64)
    assert len(seen) > 4 and max(max(shape[-2:]) for shape in seen) <= 64


@pytest.mark.parametrize("size", [(188, 250), (96, 64), (64, 65), (2, 94), (33, 24)])
@pytest.mark.parametrize("tile", [30, 40, 80])
@pytest.mark.parametrize("cell", [1, 2])
def test_no_tile_is_larger_than_asked_and_neighbours_overlap(size, tile, cell):
    class Network:
        multiple = cell

        def __call__(self, x, mu, t):
            seen.append(mu)
            return torch.ones_like(x)

    seen = []
    size, tile, overlap = [cell * n - cell // 2 for n in size], cell * tile, cell * OVERLAP_CELLS
    mu = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij")).float()[None]
    blended = tiled(Network(), mu, tile)(mu, mu, 1.0)
    # Weights that sum to one, in float32.
    torch.testing.assert_close(blended, torch.ones_like(mu), rtol=0, atol=3e-7)
    for axis in (0, 1):
        spans = sorted({(int(one[0, axis].min()), int(one[0, axis].max()) + 1) for one in seen})
        assert spans[0][0] == 0 and spans[-1][1] == size[axis]
        assert all(start % cell == 0 and stop - start <= tile for start, stop in spans)
        overlaps = [before[1] - after[0] for before, after in pairwise(spans)]
        assert min(overlaps, default=overlap) >= overlap
        # No more of them than a side of that length needs.
        assert len(spans) == max(1, math.ceil((size[axis] - overlap) / (tile - overlap)))


@pytest.mark.parametrize("solver", ["mrs-ode-d-2", "mrs-sde-d-2", "heun"])
def test_a_trajectory_over_tiles_is_the_whole_photo_s(solver):
    network, (_, mu) = Unet(), pair(90, 131)
    run = {"process": PROCESS, "solver": solver, "nfe": 6}

    def steps(denoiser, conditioning):
        generator = torch.Generator().manual_seed(5)
        return list(
            mrs.trajectory(denoiser, mu, generator=generator, conditioning=conditioning, **run)
        )

    told = {"task": 2, **network.of_photo(mu, 2)}
    whole = steps(Denoiser(network, "data"), told)
    by_tiles = steps(tiled(network, mu, 64, "data"), told)
    assert [step.nfe for step in by_tiles] == [step.nfe for step in whole]
    assert torch.equal(by_tiles[0].x, whole[0].x)
    for one, other in zip(by_tiles, whole, strict=True):
        # Rounding, which an untrained network's trajectory enlarges.
        torch.testing.assert_close(one.x, other.x, rtol=1e-9, atol=1e-9)


def test_on_tile_hears_what_is_spent_of_the_evaluations():
    heard, (x, mu) = [], pair(60, 60)
    denoiser = tiled(Local(1), mu, 40, on_tile=heard.append)
    for _ in range(2):
        denoiser(x, mu, 1.0)
    assert heard == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]


def test_what_on_tile_raises_ends_the_run_between_two_tiles():
    class StoppedError(Exception):
        pass

    def stop(spent):
        if spent >= 1.5:
            raise StoppedError

    network, (_, mu) = Local(1), pair(60, 60)
    denoiser = tiled(network, mu, 40, on_tile=stop)
    reached = []
    with pytest.raises(StoppedError):
        for step in mrs.trajectory(denoiser, mu, process=PROCESS, nfe=5):
            reached.append(step.nfe)
    assert reached == [0, 1] and len(network.calls) == 6


@pytest.mark.parametrize(
    "tile, network, words",
    [
        (101, Unet(), "a multiple of 2, and at least 60; got 101"),
        (58, Unet(), "a multiple of 2, and at least 60; got 58"),
        (520, len, "a multiple of 16, and at least 480; got 520"),
        (464, len, "a multiple of 16, and at least 480; got 464"),
    ],
)
def test_a_tile_that_cuts_a_cell_or_is_shorter_than_two_overlaps_is_refused(tile, network, words):
    with pytest.raises(ValueError, match=f"tile must be {words}"):
        tiled(network, torch.zeros(1, 3, 40, 40), tile)


def test_an_output_of_another_shape_is_refused():
    _, mu = pair(60, 60)
    with pytest.raises(ValueError, match="the network returned"):
        tiled(lambda x, mu, t: x[:, :, :1], mu, 480)(mu, mu, 1.0)


# --- the bundled network


@pytest.fixture(scope="module")
def bundled():
    return mrs.load("bundled", "cpu")


@pytest.fixture(scope="module")
def wide() -> torch.Tensor:
    """A photo of three tiles in a row."""
    rgb = photo.resize(photo.read(examples()[0].path).rgb, (896, 598))
    return rgb[:, 150:246]


def restored(bundled, image, task, **settings):
    for step in bundled.trajectory(image, task, nfe=3, **settings):
        x = step.x
    return x


def jump(x: torch.Tensor, borders: list[int]) -> float:
    """By how much, in 1/255, the jumps across columns of pixels exceed those one pixel beside."""
    across = 255 * x.diff(dim=-1).abs().mean((0, 1, 2))
    return sum((across[c - 1] - (across[c - 2] + across[c]) / 2).item() for c in borders) / len(
        borders
    )


@pytest.mark.parametrize("task", TASKS)
def test_no_seam_shows_between_tiles(bundled, wide, task):
    degraded = degrade(wide, task, 0.5, torch.Generator().manual_seed(0))
    whole = restored(bundled, degraded, task)
    by_tiles = restored(bundled, degraded, task, tile=480)
    assert not torch.equal(by_tiles, whole)
    # The tiles are [0, 464), [208, 672) and [432, 896): their edges, and where they fade halfway.
    borders = [208, 336, 464, 432, 552, 672]
    # The photo has jumps of its own, most of all where JPEG cut it into blocks.
    assert jump(by_tiles, borders) - jump(whole, borders) < 0.5
    # And no tile differs as a whole: one 8-bit step at most in any pixel.
    assert (by_tiles - whole).abs().max() < 1 / 255


def test_tiles_restored_apart_would_show_seams(bundled, wide):
    degraded = degrade(wide, "low-light", 0.5, torch.Generator().manual_seed(0))
    x_T = next(bundled.trajectory(degraded, "low-light")).x
    borders = [160, 320, 480]
    apart = [
        restored(bundled, image, "low-light", x_T=start.clone())
        for image, start in zip(
            degraded.tensor_split(borders, -1), x_T.tensor_split(borders, -1), strict=True
        )
    ]
    whole = restored(bundled, degraded, "low-light")
    assert jump(torch.cat(apart, -1), borders) - jump(whole, borders) > 2
