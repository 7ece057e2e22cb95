"""Paint of one exact colour: found, shown to the network in white, and nothing else touched."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mrsampler import degrade, load
from mrsampler.metrics import psnr
from mrsampler.painted import grown, kept, painted, shown, whitened
from mrsampler.photo import Photo
from mrsampler.size import is_painted, result


def picture(height=96, width=128, seed=0):
    """Smooth colours under a little grain, (3, height, width), far from every ink below."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")[0]
    grain = torch.randn(3, height, width, generator=generator)
    return (0.3 + 0.4 * smooth + 0.01 * grain).clamp(0, 1)


INKS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "red": (1.0, 0.0, 0.1)}


def lines(height=96, width=128):
    """Two crossing strokes of three pixels, (height, width) bool."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[30:33, 8:-8], mask[8:-8, 60:63] = True, True
    return mask


def under(image, mask, ink):
    return torch.where(mask, torch.tensor(INKS[ink])[:, None, None], image)


@pytest.mark.parametrize("ink", INKS)
def test_strokes_of_one_colour_are_found_to_the_pixel(ink):
    mask = lines()
    assert torch.equal(painted(under(picture(), mask, ink)), mask)


def test_strokes_of_two_colours_are_found_together():
    first = lines()
    second = first.flip(0) & ~grown(first, 4)
    image = under(under(picture(), first, "black"), second, "red")
    assert torch.equal(painted(image), first | second)


def test_a_photo_alone_a_sky_and_a_soft_edge_are_no_paint():
    sky = picture()
    sky[:, :40] = 1.0
    veiled = picture()
    veiled[:, lines()] = 0.5 * veiled[:, lines()] + 0.5  # half covered: no exact colour
    flat = torch.full((3, 64, 64), 0.5)
    for image in (picture(), sky, veiled, flat):
        assert painted(image) is None
        assert shown(image) is image


def test_strokes_before_a_sky_are_found_without_the_sky():
    image = under(picture(), lines(), "black")
    image[:, 66:] = 1.0
    expected = lines()
    expected[66:] = False
    assert torch.equal(painted(image), expected)


def test_coloured_strokes_are_shown_in_white_with_the_pixel_around_them():
    image, mask = under(picture(), lines(), "red"), lines()
    white = shown(image)
    around = grown(mask, 1)
    assert (white[:, around] == 1).all()
    assert torch.equal(white[:, ~around], image[:, ~around])


def test_white_strokes_are_shown_as_they_are():
    image = under(picture(), lines(), "white")
    assert whitened(image, lines()) is image


# --- what comes back


def test_what_was_not_painted_over_comes_back_untouched():
    image, mask = under(picture(), lines(), "black"), lines()
    restored = picture() + 0.01  # a network that changes everything a little
    back = kept(image, image, restored)
    far = ~grown(mask, 4)
    assert torch.equal(back[:, far], image[:, far])
    torch.testing.assert_close(back[:, mask], restored[:, mask])


def test_between_the_two_is_a_soft_edge():
    image = under(picture(), lines(), "black")
    weight = (kept(image, image, image + 0.01) - image)[0] / 0.01
    across = weight[30 - 6 : 32, 100]  # towards the middle of a stroke
    assert across[0] == 0 and across[-1] == pytest.approx(1, abs=1e-4)
    assert (across.diff() > -1e-4).all() and ((across > 0.1) & (across < 0.9)).any()


def test_where_much_else_was_changed_paint_was_not_all_and_all_is_kept():
    image = under(picture(), lines(), "black")
    restored = picture()
    restored[:, 60:90, 70:120] += 0.2
    assert kept(image, image, restored) is restored
    assert kept(picture(), picture(), restored) is restored  # nor is there paint here


def test_of_a_photo_larger_than_what_the_network_saw_the_strokes_are_found_there():
    large = under(
        picture(192, 256), lines(96, 128).repeat_interleave(2, 0).repeat_interleave(2, 1), "red"
    )
    small = F.interpolate(large[None], (96, 128), mode="area")[0]
    back = kept(large, small, picture(192, 256) + 0.01)
    far = ~grown((large != picture(192, 256)).any(0), 8)
    assert torch.equal(back[:, far], large[:, far])


def test_only_of_the_task_that_is_painted_is_anything_kept():
    image = under(picture(), lines(), "black")
    source = Photo(image, (128, 96))
    restored = picture() + 0.01
    assert is_painted("uncompleted") and not is_painted("rainy") and not is_painted("a stranger's")
    for task, same in (("uncompleted", True), ("rainy", False)):
        back = torch.from_numpy(np.array(result(source, source, task, restored))).float()
        corner = (image[:, :4, :4].permute(1, 2, 0) * 255).round()
        assert ((back[:4, :4] - corner).abs().max() == 0) == same


def test_the_bundled_network_fills_hard_edged_strokes_of_any_colour_as_it_does_white_ones():
    restorer = load("bundled", "cpu")
    truth = picture(96, 96)
    gains = {}
    for ink in INKS:
        damaged = under(truth, lines(96, 96), ink)
        *_, step = restorer.trajectory(damaged, "uncompleted", nfe=1)
        gains[ink] = psnr(step.x0[0], truth) - psnr(damaged, truth)
    assert min(gains.values()) > 8, gains


def test_a_reading_is_of_what_the_network_is_shown():
    restorer = load("bundled-light", "cpu")
    damaged = under(picture(64, 64), lines(64, 64), "red")
    reading, white = (restorer.reading(x, "uncompleted") for x in (damaged, shown(damaged)))
    assert torch.equal(reading.estimate, white.estimate)


def test_the_usual_strokes_of_the_task_are_found():
    photo = picture()
    damaged = degrade(photo, "uncompleted", 0.5, torch.Generator().manual_seed(0))
    mask = painted(damaged)
    off = (damaged - photo).abs().amax(0)
    covered = (damaged.amin(0) > 1 - 1e-3) & (off > 0.1)
    assert (mask & covered).sum() > 0.98 * covered.sum() and not (mask & (off == 0)).any()
