"""The forms in which each task's damage comes, and the pairs that training draws of them."""

import math
import shutil
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mrsampler
from mrsampler.degradations import HELD_OUT, REGISTRY, TASKS, USUAL, degrade, drawing, noise
from mrsampler.degradations.drawing import draw

OTHERS = [(task, form) for task in TASKS for form in REGISTRY[task].forms if form != USUAL]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(height=96, width=96):
    """A scene of large and small shapes, soft texture, and a bright upper part; (3, H, W)."""
    rough = F.interpolate(
        torch.rand(1, 3, height // 6, width // 6, generator=seeded(1)),
        (height, width),
        mode="bicubic",
    )[0]
    sky = torch.linspace(0.35, 0, height)[:, None]
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    disc = 0.3 * ((x - 0.6) ** 2 + (y - 0.6) ** 2 < 0.05)
    return (0.15 + 0.35 * rough + sky + disc).clamp(0.03, 0.95)


def psnr(a, b):
    return -10 * math.log10((a - b).square().mean().item() + 1e-12)


# --- the registry


def test_a_task_has_its_usual_form_first():
    for name, task in REGISTRY.items():
        assert task.name == name and next(iter(task.forms)) == USUAL
        assert not task.forms[USUAL].held_out


@pytest.mark.parametrize("task", TASKS)
def test_one_form_of_a_task_is_held_out_and_the_others_are_trained_on(task):
    forms = REGISTRY[task].forms
    held_out = [form for form in forms if forms[form].held_out]
    assert len(held_out) == 1
    assert set(forms) == {USUAL, *held_out, *REGISTRY[task].other_forms}


def test_held_out_stands_for_each_tasks_own_form_of_that_kind():
    image = photo(40, 50)
    expected = degrade(image, "noisy", 0.5, seeded(), form="raw")
    assert torch.equal(degrade(image, "noisy", 0.5, seeded(), form=HELD_OUT), expected)


def test_a_form_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"hazy has no form 'raw'; choose from usual, sky, .*"):
        degrade(photo(), "hazy", 0.5, seeded(), form="raw")


def test_a_task_is_added_by_one_file_and_stands_in_order_of_its_name(tmp_path):
    package = tmp_path / "mrsampler"
    here = Path(mrsampler.__file__).parent
    shutil.copytree(here, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "degradations" / "inverted.py").write_text(
        "from .task import USUAL, Form, Task\n\n\n"
        "def inverted(image, severity, generator):\n"
        "    return image + severity * (1 - 2 * image)\n\n\n"
        'TASK = Task("inverted", {USUAL: Form(inverted, "a negative")}, local=True)\n'
    )
    program = (
        "import torch, mrsampler as mrs; print(*mrs.TASKS); "
        "print(mrs.degrade(torch.full((3, 32, 32), 0.25), 'inverted', 1.0).unique().item())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said == [*TASKS[:2], "inverted", *TASKS[2:], "0.75"]


# --- every form


@pytest.mark.parametrize(("task", "form"), OTHERS)
def test_a_form_keeps_the_contract_and_is_drawn_from_the_seed_alone(task, form):
    image = photo(33, 95)
    before = image.clone()
    for severity in (0, 0.5, 1):
        damaged = degrade(image, task, severity, seeded(), form=form)
        assert damaged.shape == image.shape and damaged.dtype == image.dtype
        assert damaged.isfinite().all() and damaged.min() >= 0 and damaged.max() <= 1
    assert torch.equal(image, before)
    state = torch.get_rng_state()
    assert torch.equal(degrade(image, task, 1, seeded(), form=form), damaged)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(degrade(image, task, 1, seeded(1), form=form), damaged)
    assert not torch.equal(degrade(image, task, 1, seeded()), damaged)


@pytest.mark.parametrize(("task", "form"), OTHERS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_pictures_stay_finite(task, form, value):
    damaged = degrade(torch.full((3, 32, 40), value), task, 1.0, seeded(), form=form)
    assert damaged.isfinite().all() and damaged.min() >= 0 and damaged.max() <= 1


@pytest.mark.parametrize(("task", "form"), OTHERS)
def test_more_severity_is_more_damage_and_severity_0_next_to_none(task, form):
    image = photo()
    means = [
        np.mean([psnr(degrade(image, task, s, seeded(k), form=form), image) for k in range(8)])
        for s in (0, 0.15, 0.4, 0.7, 1)
    ]
    assert all(low > high for low, high in pairwise(means)), means
    # A file's losses stay; and one line or word.
    assert means[0] > (15 if task == "uncompleted" else 30)


def test_demosaicing_gives_grey_back_and_a_ramp_within_the_filters_reach():
    grey = torch.full((12, 12), 0.4)
    torch.testing.assert_close(noise._malvar(grey), grey.expand(3, -1, -1))
    ramp = torch.linspace(0, 1, 24).expand(20, 24)
    inside = noise._malvar(ramp)[:, 2:-2, 2:-2]
    # Filters whose weights are even about their centre keep what is linear.
    torch.testing.assert_close(inside, ramp[2:-2, 2:-2].expand(3, -1, -1))


def test_a_cameras_noise_covers_what_was_measured_of_real_ones():
    # Twelve pairs: deviations of 2.6 to 6.5 of 255, grey grain as its neighbour by 0.26 to 0.70,
    # colour by 0.86 to 0.91 and from 0.35 to 1.36 of the grey's strength.
    image = torch.full((3, 128, 128), 0.5)
    deviation, fine, colour, share = [], [], [], []
    for seed in range(40):
        off = degrade(image, "noisy", 0.12, seeded(seed), form="camera") - 0.5
        grey, tint = off.mean(0), off[0] - off[1]
        deviation.append(255 * off[1].std().item())
        fine.append((grey[:, 1:] * grey[:, :-1]).mean().item() / grey.square().mean().item())
        colour.append((tint[:, 1:] * tint[:, :-1]).mean().item() / tint.square().mean().item())
        share.append((tint.std() / grey.std()).item())
    assert min(deviation) < 2.6 and max(deviation) > 6.5
    assert min(fine) < 0.26 and max(fine) > 0.65
    assert min(colour) < 0.86 and max(colour) > 0.91
    assert min(share) < 0.35 and max(share) > 1.2


# --- training's pairs


def pairs(count, task="noisy", other_forms=0.5, side=300):
    large = (photo(side, side + 40) * 255).round().byte()
    generator = seeded(7)
    return [draw(large, task, generator, other_forms, window=48) for _ in range(count)]


def test_a_pair_is_the_photos_bytes_and_its_damage_from_the_seed_alone():
    large = (photo(200, 240) * 255).round().byte()
    first, again = (draw(large, "hazy", seeded(3), 0.5, window=64) for _ in range(2))
    assert first.x0.dtype == torch.uint8 and first.x0.shape == first.mu.shape == (3, 64, 64)
    assert first.mu.min() >= 0 and first.mu.max() <= 1
    assert torch.equal(first.x0, again.x0) and torch.equal(first.mu, again.mu)
    assert first[2:] == again[2:]


@pytest.mark.parametrize("task", TASKS)
def test_the_held_out_form_is_never_drawn(task, monkeypatch):
    forms = []

    def spied(image, task, severity, generator, form):
        forms.append(form)
        return image

    monkeypatch.setattr(drawing.degradations, "degrade", spied)
    pairs(300, task, 1.0)
    assert set(forms) == set(REGISTRY[task].other_forms)


def test_some_pairs_are_clean_and_some_nearly():
    drawn = pairs(600)
    clean = [pair for pair in drawn if pair.form == "clean"]
    assert all(torch.equal((pair.mu * 255).round().byte(), pair.x0) for pair in clean)
    assert all(pair.severity == 0 for pair in clean)
    # 4 standard deviations of 600 draws: 0.032 at 4 %; 0.05 at 13.
    assert abs(len(clean) / 600 - drawing.CLEAN) < 0.032
    hardly = sum(0 < pair.severity < drawing.HARDLY for pair in drawn) / 600
    others = (1 - 0.12) * (0.5 * 0.05 + 0.5 * 0.005)  # a uniform draw below 0.05, a mean of two
    assert abs(hardly - drawing.NEARLY_CLEAN - others) < 0.05
    assert max(pair.severity for pair in drawn) > 0.9


def test_half_of_the_damaged_pairs_are_rounded_to_8_bits_and_half_in_other_forms():
    drawn = [pair for pair in pairs(600) if pair.form != "clean"]
    usual = [pair for pair in drawn if pair.form == USUAL]
    whole = [torch.equal((pair.mu * 255).round() / 255, pair.mu) for pair in usual]
    assert abs(np.mean(whole) - 0.5) < 0.13  # 4 standard deviations of 250 draws
    assert abs(len(usual) / len(drawn) - 0.5) < 0.09
    assert len(Counter(pair.form for pair in drawn)) == 1 + len(REGISTRY["noisy"].other_forms)


def test_a_photo_is_worked_at_scales_from_the_window_to_its_own():
    # Stripes of 12 pixels: at a sixth of the size, 2; the period says the scale.
    stripes = ((torch.arange(288) // 6) % 2 * 255).byte().expand(3, 288, 288)
    generator, periods = seeded(), []
    for _ in range(60):
        x0 = draw(stripes, "noisy", generator, 0.0, window=48).x0[0, 0].float()
        spectrum = torch.fft.rfft(x0 - x0.mean()).abs()
        periods.append(48 / int(spectrum.argmax()))
    assert min(periods) < 3 and max(periods) > 9


def test_a_photo_smaller_than_the_window_is_damaged_at_its_own_size():
    small = (photo(40, 60) * 255).round().byte()
    assert draw(small, "snowy", seeded(), 0.5).x0.shape == (3, 40, 40)
