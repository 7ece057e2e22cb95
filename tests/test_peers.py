"""`mrsampler bench peers`: what else one can install, each at its best, beside the network."""

import json

import pytest
import torch
from PIL import Image

from mrsampler import MeanRevertingSDE, checkpoints, cli, degrade, load
from mrsampler.bench import peers
from mrsampler.bench.peers import Case, Peer, cases, compared, peers_of
from mrsampler.metrics import psnr
from mrsampler.networks import LightDenoiser


def picture(side=64):
    """Slow waves of colour with one edge, (3, side, side)."""
    y, x = torch.meshgrid(torch.linspace(0, 3, side), torch.linspace(0, 3, side), indexing="ij")
    waves = torch.stack([(x + y).sin(), (x - y).cos(), (2 * x).sin()])
    return 0.5 + 0.2 * waves + 0.2 * (x > 1.5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gain(peer, damaged, true, setting):
    """In dB."""
    return psnr(peer(damaged, true, setting), true) - psnr(damaged, true)


# --- each does what it is for


@pytest.mark.parametrize(
    "peer, setting, least",
    [
        (peers.ffdnet, 25, 8),
        (peers.total_variation, 0.1, 6),
        (peers.nonlocal_means, 15, 4),
        (peers.bilateral, 0.3, 3),
        (peers.median, 5, 5),
    ],
)
def test_noise_of_25_of_255_is_reduced(peer, setting, least):
    true = picture()
    noisy = degrade(true, "noisy", 0.5, seeded())
    assert gain(peer, noisy, true, setting) > least


def test_ffdnet_told_a_wrong_deviation_is_worse():
    true = picture()
    noisy = degrade(true, "noisy", 0.5, seeded())
    right = gain(peers.ffdnet, noisy, true, 25)
    assert right > gain(peers.ffdnet, noisy, true, 6) + 3


def test_telea_fills_what_is_painted_over_and_leaves_the_rest():
    true = picture()
    damaged = true.clone()
    damaged[:, 20:26, 10:50] = 1
    filled = peers.telea(damaged, true, 3)
    kept = (damaged == true).all(0)
    # In 8 bits: half of 1/255.
    assert (filled - true)[:, kept].abs().max() <= 0.5 / 255 + 1e-6
    assert psnr(filled, true) > psnr(damaged, true) + 15


def test_an_unsharp_mask_undoes_some_of_a_blur():
    true = picture()
    blurred = torch.nn.functional.avg_pool2d(true[None], 5, 1, 2, count_include_pad=False)[0]
    assert gain(peers.sharpened, blurred, true, 0.6) > 0.3


def test_the_dark_channel_lifts_an_even_haze():
    # What it asks for: some channel dark everywhere, and a sky that shows the haze's own light.
    true = picture(128) * torch.tensor([1.0, 0.9, 0.1])[:, None, None]
    true[:, :20] = 0.95
    hazy = 0.5 * true + 0.5 * 0.95
    assert gain(peers.dark_channel, hazy, true, 0.95) > 5


@pytest.mark.parametrize("level", [0.3, 0.5])
def test_gamma_brings_the_mean_to_the_level(level):
    dark = picture() ** 3
    assert peers.gamma(dark, dark, level).mean().item() == pytest.approx(level, abs=1e-3)


def test_clahe_widens_the_contrast_of_a_dull_photo():
    dull = 0.4 + 0.1 * picture()
    assert peers.equalised(dull, dull, 4).std() > 1.3 * dull.std()


# --- what is measured


def test_noise_is_measured_at_three_deviations_and_told_to_ffdnet():
    photos = [torch.full((3, 64, 64), 0.5)]
    found = list(cases(photos, ["noisy"], 0.5, "usual"))
    assert [case.sigma for case in found] == [15, 25, 50]
    for case in found:
        off = (case.pairs[0][0] - photos[0]).std().item() * 255
        # 12,288 draws know it to 0.64 %; of 50 a hundredth is clipped at 0 and 1, which takes 1 %.
        assert off == pytest.approx(case.sigma, rel=0.04)
        ffdnet = next(peer for peer in peers_of(case) if peer.name == "FFDNet")
        assert ffdnet.settings == (case.sigma,)


def test_without_a_known_deviation_ffdnet_is_tried_at_several():
    ffdnet = next(p for p in peers_of(Case("camera", "noisy", [])) if p.name == "FFDNet")
    assert len(ffdnet.settings) > 4 and ffdnet.told == ""


def test_other_damage_is_that_of_degrade_photo_i_by_seed_i():
    photos = [picture(), picture().flip(-1)]
    (case,) = cases(photos, ["rainy"], 0.4, "usual")
    for seed, (photo, (damaged, true)) in enumerate(zip(photos, case.pairs, strict=True)):
        assert torch.equal(true, photo)
        assert torch.equal(damaged, degrade(photo, "rainy", 0.4, seeded(seed)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    shape = {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}
    network = LightDenoiser(MeanRevertingSDE(), shape, **shape)
    card = {"architecture": "light-denoiser", "config": network.config, "target": "data"}
    path = tmp_path_factory.mktemp("peers") / "tiny.safetensors"
    checkpoints.save(path, network, card | {"process": {}, "tasks": ["noisy", "rainy"]})
    return path


RUN = {"solver": "mrs-ode-d-2", "nfe": 2}


def test_a_peer_is_shown_at_its_best_setting(checkpoint, monkeypatch):
    def off_by(damaged, true, setting):
        return true + setting

    monkeypatch.setattr(peers, "PEERS", (Peer("oracle", ("rainy",), off_by, (0.2, 0.01, -0.1)),))
    case = Case("rain", "rainy", [(picture() * 0.5, picture().clamp(0.1, 0.9))])
    *_, row = compared(load(checkpoint, "cpu"), case, RUN)
    assert (row["method"], row["setting"]) == ("oracle", 0.01)
    assert row["psnr"] == pytest.approx(40, abs=0.01)


def test_the_rows_are_the_input_ours_and_the_peers(checkpoint):
    true = picture()
    case = Case("noise", "noisy", [(degrade(true, "noisy", 0.5, seeded()), true)], 25.0)
    rows = list(compared(load(checkpoint, "cpu"), case, RUN))
    assert [row["method"] for row in rows] == [
        *("input", "ours, 1 evaluation", "ours, mrs-ode-d-2"),
        *("FFDNet", "non-local means", "total variation"),
    ]
    assert rows[0]["psnr"] == pytest.approx(psnr(case.pairs[0][0], true))
    # Before training the estimate is the input itself.
    assert rows[1]["psnr"] == pytest.approx(rows[0]["psnr"], abs=0.1)


# --- the command


def test_it_prints_a_table_and_writes_it(checkpoint, tmp_path, capsys):
    for i in range(2):
        pixels = (picture() * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    out = tmp_path / "peers.json"
    argv = f"bench peers --images {tmp_path} --photos 1 --tasks rainy --nfe 1 --out {out}"
    assert cli.main([*argv.split(), "--checkpoint", str(checkpoint)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["settings"]["photos"] == 1
    assert [row["case"] for row in written["rows"]] == ["rainy"] * len(written["rows"])
    for row in written["rows"]:
        assert f"{row['psnr']:.2f}" in printed and row["method"] in printed


def test_pairs_of_photos_are_measured_as_a_cameras_noise(checkpoint, tmp_path, capsys):
    for ending, factor in (("gt", 1.0), ("lq", 0.9)):
        pixels = (picture(48) * factor * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"one_{ending}.png")
    argv = f"bench peers --pairs {tmp_path} --nfe 1 --checkpoint {checkpoint}"
    assert cli.main(argv.split()) == 0
    assert "a camera's noise" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, words",
    [
        ("--pairs nowhere", "nowhere: there is no such folder"),
        ("--pairs {here}", "holds no pair"),
        ("--tasks sunny", "has no task sunny"),
        ("--tasks hazy", "has no task hazy"),
        ("--form raw --tasks rainy", "no task has a form 'raw'"),
    ],
)
def test_bad_input_is_one_line(checkpoint, tmp_path, argv, words, capsys):
    given = argv.format(here=tmp_path).split()
    assert cli.main(["bench", "peers", *given, "--checkpoint", str(checkpoint)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
