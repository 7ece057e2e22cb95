"""The command line, run in-process with a tiny untrained network on CPU."""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tqdm
from fake_hub import encoder_file, network_file
from PIL import Image, ImageCms

import mrsampler as mrs
from mrsampler import checkpoints, cli, examples, folder, hub, photo, restorer, training
from mrsampler.cli import clean, files
from mrsampler.cli import train as train_command
from mrsampler.networks import IRSDEUNet, LightDenoiser
from mrsampler.processes import PROCESSES
from mrsampler.solvers import SOLVERS

COMMANDS = [
    [],
    ["restore"],
    ["degrade"],
    ["bench"],
    ["bench", "quality"],
    ["train"],
    ["list"],
    ["serve"],
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """A network whose output depends on its input, so that another task or seed shows."""
    torch.manual_seed(0)
    shape = {"channels": (8, 8), "blocks": (1, 1), "embedding": 16}
    network = LightDenoiser(mrs.MeanRevertingSDE(), shape, **shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    process = {"max_sigma": 50 / 255, "schedule": "cosine", "num_steps": 100, "eps": 0.005}
    card = {
        "architecture": "light-denoiser",
        "config": network.config,
        "target": "data",
        "process": process,
        "tasks": list(mrs.TASKS),
    }
    checkpoints.save(path, network, card)
    return str(path)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Grows by one with each call of a network."""
    made: list[str] = []
    forward = LightDenoiser.forward

    def counted(self, *args, **kwargs):
        made.append("call")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LightDenoiser, "forward", counted)
    return made


def picture(width: int = 48, height: int = 40, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with a photo, a text that calls itself one, and half a photo."""
    monkeypatch.chdir(tmp_path)
    picture().save("photo.png")
    Path("text.png").write_text("no picture")
    Path("half.png").write_bytes(Path("photo.png").read_bytes()[:900])
    picture(16, 16).save("small.png")
    Path("empty").mkdir()
    return tmp_path


def names(where: Path) -> set[str]:
    return {path.name for path in where.iterdir()}


def refused(capsys, *argv: str) -> str:
    """The one line with which the command refuses; it must leave nothing on stdout."""
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mrsampler: error: ")
    assert err.count("\n") == 1 and err.endswith("\n")
    return err


# --- help and errors


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: mrsampler") and err == ""


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_help_tells_every_option_and_its_default(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    parser = cli.parser()
    for word in command:
        parser = next(
            action.choices[word]
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
        )
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
        if action.default not in (None, False, argparse.SUPPRESS):
            assert f"(default: {action.default})" in text, action.dest


@pytest.mark.parametrize(
    "argv, words",
    [
        ("", "COMMAND"),
        ("nonsense", "'nonsense'"),
        ("restore", "INPUT, --task"),
        ("restore photo.png", "--task"),
        ("restore photo.png --task noisy --nfe 0", "--nfe: nfe must be a whole number from 1"),
        ("restore photo.png --task noisy --nfe ten", "--nfe"),
        ("restore photo.png --task noisy --nf 3", "--nf"),
        ("restore photo.png --task noisy --seed -1", "--seed"),
        ("restore photo.png --task noisy --size 31", "--size: size must be own or a whole"),
        ("restore photo.png --task noisy --size whole", "from 32; got 'whole'"),
        ("restore photo.png --task nosy", "'nosy'; choose from motion-blurry, hazy"),
        ("restore photo.png --task noisy --solver magic", "solver must be one of mrs-ode-d-1"),
        (
            "restore photo.png --task noisy --spacing magic",
            "spacing must be one of optimised, uniform-l",
        ),
        ("restore photo.png --task noisy --spacing karras:x", "no number after the colon"),
        ("restore photo.png --task noisy --spacing karras:0", "rho must be positive"),
        (
            "restore photo.png --task noisy --spacing blend:2",
            "times as in 100,60,30,0; got 'blend:2'",
        ),
        ("restore photo.png --task noisy --spacing 100,ten,0", "times as in 100,60,30,0; got"),
        ("restore photo.png --task noisy --spacing 100,,0", "times as in 100,60,30,0; got"),
        ("restore photo.png --task noisy --spacing inf,0", "times as in 100,60,30,0; got"),
        ("restore photo.png --task noisy --spacing 0,100", "times must fall"),
        ("restore photo.png --task noisy --spacing 100,100", "times must fall"),
        ("restore photo.png --task noisy --spacing 200,0", "t must lie in [0, 100]"),
        ("restore photo.png --task noisy --spacing 100,50,0 --nfe 1", "needs 2 evaluations"),
        ("restore photo.png --task noisy --device abacus", "'abacus'"),
        ("restore photo.png --task noisy --device cpu:7", "'cpu:7'"),
        ("restore photo.png --task noisy --device cuda:99", "'cuda:99'"),
        ("restore photo.png --task noisy --checkpoint nowhere", "no checkpoint 'nowhere'"),
        ("restore photo.png --task noisy --checkpoint photo.png", "no checkpoint 'photo.png'"),
        ("restore photo.png --task noisy --recursive", "--recursive is for a folder"),
        ("restore missing.png --task noisy", "missing.png: there is no such file"),
        ("restore text.png --task noisy", "text.png: This file is not a picture"),
        ("restore half.png --task noisy", "half.png: This picture is damaged"),
        ("restore small.png --task noisy", "small.png: This picture is 16 x 16 pixels"),
        ("restore photo.png --task noisy --out result.bmp", "result.bmp: expected a file that"),
        ("restore photo.png --task noisy --out result", "result: expected a file that"),
        ("restore photo.png --task noisy --out nowhere/", "nowhere/: expected a file that"),
        ("restore photo.png --task noisy --out nowhere/a.png", "there is no folder nowhere"),
        ("restore photo.png --task noisy --out text.png/a.png", "there is no folder text.png"),
        ("restore photo.png --task noisy --out photo.png", "is the input itself"),
        ("restore photo.png --task noisy --out ../{here}/photo.png", "is the input itself"),
        ("restore photo.png --task noisy --out .", "is the input itself"),
        ("restore . --task noisy", "with --out"),
        ("restore . --task noisy --out .", "is the input itself"),
        ("restore . --task noisy --out photo.png", "photo.png is a file"),
        ("restore . --task noisy --out photo.png/results", "cannot make the folder"),
        ("restore . --task nosy --out results", "'nosy'; choose from"),
        ("restore empty --task noisy --out results", "empty holds no picture"),
        ("degrade photo.png", "--task"),
        ("degrade photo.png --task nosy", "'nosy'; choose from motion-blurry, hazy"),
        ("degrade photo.png --task noisy --severity 2", "severity must be a number from 0 to"),
        ("degrade photo.png --task noisy --severity nan", "--severity"),
        ("degrade photo.png --task noisy --out photo.png", "is the input itself"),
        ("degrade photo.png --task noisy --out nowhere/a.png", "there is no folder nowhere"),
        ("degrade photo.png half.png --task noisy", "one photo at a time"),
        ("degrade photo.png --task hazy --form raw", "hazy has no form 'raw'; choose from usual,"),
        ("degrade photo.png --task hazy --forms", "--forms is for a --contact-sheet"),
        ("degrade --contact-sheet sheet.png photo.png --form sky", "--form does not go"),
        ("degrade --contact-sheet sheet.png photo.png --out=", "--out does not go"),
        ("degrade missing.png --task noisy", "missing.png: there is no such file"),
        ("degrade empty --task noisy", "empty is a folder"),
        ("degrade --contact-sheet photo.png small.png photo.png", "small.png"),
        ("degrade --contact-sheet photo.png photo.png", "is the input itself"),
        ("degrade --contact-sheet sheet.png photo.png --task noisy", "--task does not go"),
        ("bench accuracy --solvers posterior", "no ODE solver that follows a grid: posterior"),
        ("bench accuracy --images nowhere", "nowhere: there is no such folder"),
        ("bench order --plot order.pdf", "order.pdf: expected a file that ends in .png or .svg"),
        ("bench overhead --out table.txt", "table.txt"),
        ("optimise --solvers rk45", "no ODE solver that follows a grid: rk45"),
        ("optimise --images nowhere", "nowhere: there is no such folder"),
        ("optimise --checkpoint nothing", "no checkpoint 'nothing'"),
        ("optimise --solvers pndm --nfe 3", "pndm needs at least 4 evaluations"),
        ("bench accuracy --solvers pndm --nfe 3", "pndm needs at least 4 evaluations"),
        ("restore photo.png --task noisy --set speed=3", "expected NAME=VALUE with a NAME of eta"),
        ("restore photo.png --task noisy --set eta=2", "eta: expected a number from 0 to 1"),
        ("restore photo.png --task noisy --set denoise_final=1", "expected true or false, got '1'"),
        ("restore photo.png --task noisy --set eta=0.5", "mrs-ode-d-2 takes no option 'eta'"),
        ("bench", "NAME"),
        ("bench speed", "'speed'"),
        ("bench quality --images nowhere", "nowhere: there is no such folder"),
        ("bench quality --images empty", "empty holds no picture"),
        ("bench quality --images . --out table.txt", "table.txt"),
        ("bench quality --images . --out nowhere/table.csv", "there is no folder nowhere"),
        ("bench quality --images . --solver magic", "'magic'"),
        ("bench quality --images . --spacing magic", "'magic'"),
        ("bench quality --images . --spacing 100,ten", "times as in 100,60,30,0; got"),
        ("bench quality --images . --tasks sunny", "has no task sunny"),
        ("bench quality --images . --card --form raw", "no --tasks, no --form"),
        ("bench quality --card", "the card is of photos kept from training: give their --images"),
        ("bench quality --images . --form raw --tasks hazy", "no form 'raw' of hazy; see list"),
        ("bench quality --images . --card --tasks hazy", "no --tasks, no --form"),
        ("bench quality --images .", "half.png: This picture is damaged"),
        ("train --images nowhere --out new", "nowhere: there is no such folder"),
        ("train --images empty --out new", "holds no photo"),
        ("train --images empty --out photo.png/new", "cannot make the folder"),
        ("train --images . --out new --minutes 0", "--minutes"),
        ("train --images . --out new --target velocity", "--target"),
        ("train --images . --out new --part all", "--part"),
        ("train --images . --out new --crop 20", "--crop"),
        ("train --images . --out new --crop 65", "crop must be even and from 32 to 256, got 65"),
        ("train --images . empty nowhere --out new", "nowhere: there is no such folder"),
        ("train --images . --out new --part light", "needs a checkpoint with a trained reader"),
        ("train --images . --out new --only sunny", "unknown task 'sunny'; choose from"),
        ("list colours", "'colours'"),
        ("serve --port 99999", "--port"),
        ("serve --max-queue 0", "--max-queue"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(argv, words, here, checkpoint, calls, capsys):
    before = names(here)
    arguments = argv.format(here=here.name).split()
    if {"restore", "quality"} & set(arguments) and "--checkpoint" not in arguments:
        arguments += ["--checkpoint", checkpoint]
    assert words in refused(capsys, *arguments)
    assert names(here) == before, "left something behind"
    assert not calls, "evaluated the network before it checked"


def test_a_reason_of_several_lines_is_one(here, capsys):
    assert "two lines.png: there is" in refused(
        capsys, "degrade", "two\nlines.png", "--task", "noisy"
    )


def test_a_damaged_checkpoint_is_one_line(here, checkpoint, capsys):
    for part in (".safetensors", ".json"):
        for suffix in (".safetensors", ".json"):
            data = Path(checkpoint).with_suffix(suffix).read_bytes()
            Path("mine" + suffix).write_bytes(data[: len(data) // 2] if suffix == part else data)
        line = refused(
            capsys, "restore", "photo.png", "--task", "noisy", "--checkpoint", "mine.safetensors"
        )
        assert f"mine{part}" in line


def test_as_a_program(here):
    def run(*argv: str) -> subprocess.CompletedProcess:
        root = Path(mrs.__file__).parents[1]
        return subprocess.run(
            [sys.executable, "-m", "mrsampler", *argv],
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    result = run("degrade", "missing.png", "--task", "noisy")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "mrsampler: error: missing.png: there is no such file\n"
    lines = run("list", "tasks").stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(mrs.TASKS)
    assert "  raw       a noisy raw file developed, held out" in lines


def test_stopping_leaves_nothing_and_says_so(here, checkpoint, monkeypatch, capsys):
    before = names(here)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(LightDenoiser, "forward", interrupted)
    argv = ["restore", "photo.png", "--task", "noisy", "--checkpoint", checkpoint]
    assert cli.main(argv) == 130
    assert capsys.readouterr() == ("", "mrsampler: stopped\n")
    assert names(here) == before


@pytest.mark.parametrize("interrupt", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_result(here, checkpoint, monkeypatch, capsys, interrupt):
    Path("result.png").write_text("an older result")
    before = names(here)

    def fails(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half a pic")
        raise interrupt

    monkeypatch.setattr(Image.Image, "save", fails)
    argv = ["restore", "photo.png", "--task", "noisy", "--checkpoint", checkpoint]
    code = cli.main([*argv, "--nfe", "1", "--out", "result.png"])
    err = capsys.readouterr().err
    if isinstance(interrupt, OSError):
        assert code == 2
        assert err == "mrsampler: error: cannot write result.png: No space left on device\n"
    else:
        assert code == 130
    assert Path("result.png").read_text() == "an older result"
    assert names(here) == before


# --- restore


@pytest.fixture
def restore(checkpoint, capsys):
    """Runs `restore` with the tiny checkpoint; returns the exit code, stdout and stderr."""

    def run(source: str, *options: str, task: str = "noisy", nfe: int = 2) -> tuple[int, str, str]:
        fixed = ["--task", task, "--nfe", str(nfe), "--checkpoint", checkpoint, "--device", "cpu"]
        code = cli.main(["restore", source, *fixed, *options])
        return code, *capsys.readouterr()

    return run


def test_restores_what_the_library_restores(here, restore, checkpoint):
    code, out, err = restore("photo.png", "--seed", "5", "--solver", "posterior", nfe=3)
    assert (code, err) == (0, "")
    assert out.startswith("wrote photo-restored.png: 48 x 40, 3 NFE in ") and out.count("\n") == 1
    expected = restorer.load(checkpoint, "cpu").restore(
        "photo.png", "noisy", seed=5, solver="posterior", nfe=3
    )
    np.testing.assert_array_equal(pixels("photo-restored.png"), np.array(expected))


def test_seed_and_settings_reach_the_sampler(here, restore):
    results = {}
    for name, options in {
        "a": ["--seed", "1"],
        "b": ["--seed", "1"],
        "seed": ["--seed", "2"],
        "spacing": ["--seed", "1", "--spacing", "uniform-t"],
        "solver": ["--seed", "1", "--solver", "euler"],
    }.items():
        assert restore("photo.png", *options, "--out", f"{name}.png", nfe=4)[0] == 0
        results[name] = pixels(f"{name}.png")
    assert restore("photo.png", "--seed", "1", "--out", "task.png", task="hazy", nfe=4)[0] == 0
    results["task"] = pixels("task.png")
    first = results.pop("a")
    np.testing.assert_array_equal(first, results.pop("b"))
    for name, other in results.items():
        assert (first != other).any(), name


@pytest.mark.parametrize(
    "text, spacing", [("100,60,30.5,0", [100, 60, 30.5, 0]), ("karras:3", "karras:3")]
)
def test_spacing_takes_times_and_a_parameter(here, restore, checkpoint, text, spacing):
    code, out, err = restore("photo.png", "--spacing", text, nfe=4)
    assert (code, err) == (0, "")
    assert f"{3 if isinstance(spacing, list) else 4} NFE" in out
    expected = restorer.load(checkpoint, "cpu").restore(
        "photo.png", "noisy", spacing=spacing, nfe=4
    )
    np.testing.assert_array_equal(pixels("photo-restored.png"), np.array(expected))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_keeps_size_alpha_and_profile(here, restore, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = Image.linear_gradient("L").resize((61, 37))
    source = picture(61, 37)
    source.putalpha(alpha)
    source.save("source.png", icc_profile=profile)
    assert restore("source.png", "--out", f"result{suffix}")[0] == 0
    with Image.open(f"result{suffix}") as result:
        assert result.format == {".png": "PNG", ".webp": "WEBP", ".tiff": "TIFF"}[suffix]
        assert (result.size, result.mode) == ((61, 37), "RGBA")
        assert result.info["icc_profile"] == profile
        np.testing.assert_array_equal(np.array(result.getchannel("A")), np.array(alpha))
    restore("source.png", "--out", "other.png")
    np.testing.assert_array_equal(pixels(f"result{suffix}"), pixels("other.png"))


def test_jpeg_lays_transparency_on_white_and_says_so(here, restore):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("RGBA", "LA"):
        source = picture().convert(mode)
        source.putalpha(Image.new("L", source.size, 0))
        source.save("source.png", icc_profile=profile)
        out = restore("source.png", "--out", "result.jpg")[1]
        assert "laid on white" in out
        with Image.open("result.jpg") as result:
            assert (result.format, result.mode) == ("JPEG", {"RGBA": "RGB", "LA": "L"}[mode])
            assert result.info["icc_profile"] == profile
            assert np.array(result).min() >= 254
    assert "white" not in restore("photo.png", "--out", "opaque.jpg")[1]


def test_says_when_it_scaled_down(here, restore):
    picture(120, 60).save("wide.png")
    out = restore("wide.png", "--size", "64")[1]
    assert "120 x 60" in out and "restored at 64 x 32" in out
    assert pixels("wide-restored.png").shape == (60, 120, 3)
    assert "restored at" not in restore("wide.png")[1]


def test_a_photo_of_any_size_is_restored_at_its_own_by_tiles(here, restore, checkpoint, calls):
    picture(1200, 60).save("wide.png")
    code, out, err = restore("wide.png")
    assert (code, err) == (0, "")
    assert "1200 x 60, 2 NFE" in out and "restored at" not in out
    assert len(calls) == 2 * 2
    expected = restorer.load(checkpoint, "cpu").restore("wide.png", "noisy", nfe=2)
    np.testing.assert_array_equal(pixels("wide-restored.png"), np.array(expected))


def test_what_a_long_run_will_take_is_told_after_its_first_tile(here, restore, monkeypatch):
    """On a clock that goes on by 4 seconds a call of the network: 2 evaluations are of 4 calls."""
    now, forward = [0.0], LightDenoiser.forward

    def slow(self, *args, **kwargs):
        now[0] += 4
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LightDenoiser, "forward", slow)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    picture(1200, 60).save("wide.png")
    assert restore("wide.png")[2] == "wide.png, 1200 x 60: about 12 s to go\n"
    # Within one tile: 4 seconds are left after the first evaluation, too few for a word.
    assert restore("photo.png")[2] == ""


def test_a_clean_photo_is_damaged_at_its_own_size_and_its_detail_comes_back(
    here, restore, checkpoint
):
    picture(900, 600).save("large.png")
    out = restore("large.png", "--severity", "0.5", task="hazy")[1]
    assert "900 x 600" in out and "restored at 512 x 341" in out
    source = photo.read("large.png")
    hazy = mrs.degrade(source.rgb, "hazy", 0.5, torch.Generator().manual_seed(0))
    made = restorer.load(checkpoint, "cpu")
    expected = made.restore(replace(source, rgb=hazy), "hazy", nfe=2)
    np.testing.assert_array_equal(pixels("large-restored.png"), np.array(expected))


@pytest.mark.parametrize("source", ["wide.png", "wide"])
def test_the_bar_moves_with_each_tile(here, restore, monkeypatch, source):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Eager(tqdm.tqdm):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings, mininterval=0, miniters=0)

    Path("wide").mkdir()
    picture(1200, 60).save("wide/wide.png")
    picture(1200, 60).save("wide.png")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(tqdm, "tqdm", Eager)
    assert restore(source, "--out", "empty")[0] == 0
    shown = dict.fromkeys(re.findall(r"([\d.]+)/2 NFE", terminal.getvalue()))
    assert [spent for spent in shown if spent != "0"] == ["0.5", "1", "1.5", "2"]


def test_stopping_ends_a_run_between_two_tiles(here, restore, checkpoint, monkeypatch, capsys):
    forward, made = LightDenoiser.forward, []

    def interrupted(self, *args, **kwargs):
        made.append("call")
        if len(made) == 3:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    picture(1200, 60).save("wide.png")
    before = names(here)
    monkeypatch.setattr(LightDenoiser, "forward", interrupted)
    assert restore("wide.png") == (130, "", "mrsampler: stopped\n")
    assert names(here) == before and len(made) == 3


def test_out_that_is_a_folder_takes_the_stem(here, restore):
    assert restore("photo.png", "--out", "empty")[0] == 0
    assert names(here / "empty") == {"photo.png"}


def test_a_network_gone_wrong_is_one_line(here, restore, monkeypatch):
    monkeypatch.setattr(LightDenoiser, "forward", lambda self, x, *args, **kwargs: x * torch.nan)
    code, out, err = restore("photo.png")
    assert (code, out) == (2, "")
    assert "not finite" in err and err.count("\n") == 1
    assert not Path("photo-restored.png").exists()


# --- restore a folder


@pytest.fixture
def photos(here) -> Path:
    """Two photos of one stem, one below, a damaged one in between, and what is no picture."""
    source = here / "in"
    (source / "sub").mkdir(parents=True)
    picture(seed=1).save(source / "a.jpg")
    picture(seed=2).save(source / "a.png")
    (source / "b.png").write_text("no picture")
    picture(seed=3).save(source / "c.webp")
    picture(seed=4).save(source / "sub" / "d.bmp")
    (source / "notes.txt").write_text("no picture either")
    (source / "._c.webp").write_text("not a photo, though called one")
    return source


def test_folder_goes_on_after_a_bad_file_and_lists_it(photos, restore):
    code, out, err = restore("in", "--out", "new/out")
    assert code == 1
    assert names(Path("new/out")) == {"a.jpg.png", "a.png.png", "c.png"}
    assert "3 restored to new/out, 0 skipped" in out and "1 failed" in out
    assert err == f"failed {Path('in/b.png')}: This file is not a picture that can be read.\n"
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["wrote", "wrote", "failed", "wrote", "3"]
    # The network is untrained, but not so much that one photo turns into another.
    for name, source in (("a.jpg.png", "a.jpg"), ("a.png.png", "a.png"), ("c.png", "c.webp")):
        restore(f"in/{source}", "--out", "single.png")
        np.testing.assert_array_equal(pixels(f"new/out/{name}"), pixels("single.png"))


def test_folder_skips_what_is_done(photos, restore, calls):
    (photos / "b.png").unlink()
    assert restore("in", "--out", "out", nfe=3)[0] == 0
    assert len(calls) == 9
    Path("out/c.png").unlink()
    code, out, _ = restore("in", "--out", "out", nfe=3)
    assert code == 0
    assert len(calls) == 12
    assert "1 restored to out, 2 skipped" in out
    _, out, _ = restore("in", "--out", "out", "--overwrite", nfe=3)
    assert len(calls) == 21
    assert "3 restored to out, 0 skipped" in out


def test_folder_recursive_keeps_the_structure_and_leaves_its_results_out(photos, restore):
    restore("in", "--out", "in/out", "--recursive")
    found = {str(path.relative_to("in/out")) for path in Path("in/out").rglob("*.png")}
    assert found == {"a.jpg.png", "a.png.png", "c.png", os.path.join("sub", "d.png")}
    out = restore("in", "--out", "in/out", "--recursive")[1]
    assert "0 restored to in/out, 4 skipped" in out


def test_folder_never_overwrites_its_pictures(here, restore, capsys):
    Path("in/in").mkdir(parents=True)
    for path in ("in/photo.png", "in/in/photo.png"):
        picture().save(path)
    code, out, err = restore("in", "--out", ".", "--recursive", "--overwrite")
    assert (code, out) == (2, "")
    assert "would overwrite" in err
    np.testing.assert_array_equal(pixels("in/photo.png"), np.array(picture()))


def test_folder_stops_at_a_full_disk_and_can_be_continued(photos, restore, monkeypatch):
    (photos / "b.png").unlink()
    write = Image.Image.save

    def full(self, path, *args, **kwargs):
        if len(names(Path("out"))) == 1:
            raise OSError(28, "No space left on device")
        write(self, path, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", full)
    code, _, err = restore("in", "--out", "out")
    assert code == 2
    assert (
        err == f"mrsampler: error: cannot write {Path('out/a.png.png')}: No space left on device\n"
    )
    monkeypatch.setattr(Image.Image, "save", write)
    code, out, _ = restore("in", "--out", "out")
    assert code == 0 and "2 restored to out, 1 skipped" in out
    assert names(Path("out")) == {"a.jpg.png", "a.png.png", "c.png"}


def test_result_names_never_clash():
    root = Path("in")
    sources = [root / name for name in ("a.jpg", "a.png", "a.jpg.bmp", "B.tif", "b.webp", "c.gif")]
    chosen = [path.name for path in folder.targets(sources, root, Path("out"))]
    assert chosen == [
        "a.jpg.png",
        "a.png.png",
        "a.jpg.bmp.png",
        "B.tif.png",
        "b.webp.png",
        "c.png",
    ]


# --- degrade


def test_degrade_is_the_library_s(here, capsys):
    argv = ["degrade", "photo.png", "--task", "rainy", "--severity", "0.7", "--seed", "3"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == "wrote photo-rainy.png: 48 x 40, rainy at severity 0.7\n"
    clean = photo.read("photo.png").rgb
    expected = mrs.degrade(clean, "rainy", 0.7, torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(pixels("photo-rainy.png"), photo.to_uint8(expected).numpy())
    assert cli.main([*argv[:-1], "4", "--out", "other.png"]) == 0
    assert (pixels("other.png") != pixels("photo-rainy.png")).any()
    assert cli.main([*argv, "--form", "streaks", "--out", "streaks.png"]) == 0
    expected = mrs.degrade(clean, "rainy", 0.7, torch.Generator().manual_seed(3), form="streaks")
    np.testing.assert_array_equal(pixels("streaks.png"), photo.to_uint8(expected).numpy())


def test_degrade_keeps_alpha_and_profile_and_can_be_restored(here, restore):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = picture()
    source.putalpha(Image.linear_gradient("L").resize(source.size))
    source.save("source.png", icc_profile=profile)
    assert cli.main(["degrade", "source.png", "--task", "noisy", "--out", "bad.webp"]) == 0
    assert restore("bad.webp", "--out", "good.png")[0] == 0
    with Image.open("good.png") as good:
        assert good.size == source.size
        assert good.info["icc_profile"] == profile
        np.testing.assert_array_equal(np.array(good.getchannel("A")), np.array(source)[..., 3])


def test_contact_sheet(here, capsys, monkeypatch):
    from mrsampler.degradations import contact_sheet

    asked = []

    def sheet(photos, severities, seed, forms):
        asked.append((len(photos), severities, seed, forms))
        return Image.new("RGB", (60, 50))

    monkeypatch.setattr(contact_sheet, "contact_sheet", sheet)
    picture(seed=1).save("other.jpg")
    argv = ["degrade", "--contact-sheet", "sheet.png", "photo.png", "other.jpg", "--seed", "2"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == "wrote sheet.png: 60 x 50\n"
    assert cli.main([*argv, "--severity", "1"]) == 0
    assert cli.main([*argv, "--forms"]) == 0
    every = (0.2, 0.5, 1.0)
    assert asked == [(2, every, 2, False), (2, (1.0,), 2, False), (2, every, 2, True)]


# --- a checkpoint of one's own


@pytest.fixture
def own(here) -> list[str]:
    """The options of a single-task network in a file without a card."""
    torch.manual_seed(0)
    alone = {"context_dim": None, "use_degra_context": False, "use_image_context": False}
    network = IRSDEUNet(nf=32, ch_mult=(1, 2), **alone)
    torch.save(network.state_dict(), "own.pth")
    return ["--checkpoint", "own.pth", "--architecture", "irsde-unet"]


def test_a_checkpoint_of_ones_own_restores_with_what_is_said_of_it(own):
    run = ["restore", "photo.png", "--task", "rainy", "--nfe", "2", *own]
    for name, *said in (
        ("default.png",),
        ("50.png", "--max-sigma", "50", "--zero-start", "true", "--target", "noise"),
        ("10.png", "--max-sigma", "10"),
        ("linear.png", "--schedule", "linear"),
        ("start.png", "--zero-start", "false"),
        ("velocity.png", "--target", "velocity"),
        ("steps.png", "--num-steps", "30"),
        ("eps.png", "--eps", "0.02"),
        ("bare.png", "--process-set", "max_sigma=10"),
    ):
        assert cli.main([*run, *said, "--out", name]) == 0
    default = pixels(Path("default.png"))
    assert np.array_equal(default, pixels(Path("50.png")))
    assert np.array_equal(pixels(Path("10.png")), pixels(Path("bare.png")))
    for name in ("10.png", "linear.png", "start.png", "velocity.png", "steps.png", "eps.png"):
        assert not np.array_equal(default, pixels(Path(name))), name


def test_a_checkpoint_of_ones_own_has_the_tasks_that_are_said(own, capsys):
    run = ["restore", "photo.png", "--nfe", "2", *own, "--trained-on", "rainy", "my-own"]
    for task in ("rainy", "my-own"):
        assert cli.main([*run, "--task", task, "--out", f"{task}.png"]) == 0
    capsys.readouterr()
    line = refused(capsys, *run, "--task", "snowy")
    assert "does not know the task 'snowy'; choose from rainy, my-own" in line


def test_a_network_of_ones_own_that_takes_contexts_restores_with_their_encoder(here, capsys):
    torch.save(network_file(), "network.pth")
    torch.save(encoder_file(), "encoder.pt")
    run = ["restore", "photo.png", "--task", "rainy", "--nfe", "1", "--checkpoint", "network.pth"]
    run += ["--architecture", "irsde-unet", "--encoder", "encoder.pt"]
    for heads in "12":
        assert cli.main([*run, "--encoder-heads", heads, "--out", f"{heads}.png"]) == 0
    assert not np.array_equal(pixels(Path("1.png")), pixels(Path("2.png")))
    capsys.readouterr()
    line = refused(capsys, *run, "--encoder-heads", "7")
    assert "encoder.pt holds no DACLIPImageEncoder" in line


def test_what_is_wrong_with_a_checkpoint_of_ones_own_is_said_in_options(own, crops, capsys):
    run = ["restore", "photo.png", "--task", "rainy"]
    line = refused(capsys, *run, "--checkpoint", "own.pth")
    assert "own.pth has no card: say with --architecture what it is, one of irsde-unet" in line
    line = refused(capsys, *run, *own, "--encoder", "own.pth")
    assert "takes no contexts: leave --encoder out" in line
    assert "unknown process 'brigde'; choose from" in refused(
        capsys, *run, *own, "--process", "brigde"
    )
    other = ["--process", "VE", "--process-set", "speed=1"]
    assert "the VE process takes no 'speed', only: sigma_min" in refused(capsys, *run, *own, *other)
    assert "expected NAME=VALUE" in refused(capsys, *run, *own, "--process-set", "speed")
    for option, text in (("--num-steps", "0"), ("--eps", "0")):
        assert f"{option}: expected" in refused(capsys, *run, *own, option, text)
    assert "eps" in refused(capsys, *run, *own, "--eps", "2")
    line = refused(capsys, *run, "--max-sigma", "10")
    assert "max_sigma: only for a file without a card, with --architecture" in line
    assert "own.pth has no card to write to" in refused(capsys, "optimise", *crops, *own)
    quality = ["bench", "quality", "--images", "clean", "--card", *own]
    assert "own.pth has no card to write to" in refused(capsys, *quality)


# --- bench


@pytest.fixture
def crops(here) -> list[str]:
    """The options of a problem of two small photos."""
    Path("clean").mkdir()
    for i in range(2):
        picture(seed=i).save(f"clean/{i}.png")
    return ["--images", "clean", "--photos", "2", "--side", "32"]


def test_bench_accuracy_ranks_solvers_by_their_best_spacing(crops, checkpoint, capsys):
    argv = ["bench", "accuracy", *crops, "--solvers", "ddim", "heun", "--nfe", "1", "4"]
    assert cli.main([*argv, "--checkpoint", checkpoint, "--out", "table.csv"]) == 0
    out = capsys.readouterr().out
    assert "mixture: RMSE in 1/1000" in out and "tiny: RMSE in 1/255" in out
    written = [line.split(",") for line in Path("table.csv").read_text().splitlines()]
    assert written[0] == ["problem", "solver", "spacing", "nfe", "rmse"]
    # Heun cannot spend a single evaluation.
    assert len(written) == 1 + 2 * len(mrs.SPACINGS) * 3
    rmse = {tuple(row[:4]): float(row[4]) for row in written[1:]}
    for problem in ("mixture", "tiny"):
        runs = {key: value for key, value in rmse.items() if key[0] == problem and key[3] == "4"}
        _, solver, spacing, _ = min(runs, key=runs.__getitem__)
        assert f"best at 4: {solver}, {spacing}" in out


def test_bench_overhead_prints_the_ratio_of_each_pair(capsys):
    assert cli.main(["bench", "overhead", "--repeats", "1", "--threads", "1"]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[1].strip(), int(row[2])) for row in rows] == [
        (solver, side) for solver in ("dpm-solver++-2m", "unipc-bh2-d-2") for side in (256, 1024)
    ]
    for row in rows:
        # Whole microseconds are printed, of at least a hundred.
        assert float(row[5]) == pytest.approx(float(row[3]) / float(row[4]), abs=0.02)


def test_optimise_writes_times_into_the_card_goes_on_and_restore_takes_them(
    crops, checkpoint, capsys, tmp_path
):
    for suffix in (".safetensors", ".json"):
        source = Path(checkpoint).with_suffix(suffix)
        (tmp_path / f"mine{suffix}").write_bytes(source.read_bytes())
    solver = "mrs-ode-d-1"
    argv = ["optimise", *crops, "--solvers", solver, "--rounds", "1", "--checkpoint", "mine"]
    assert cli.main([*argv, "--nfe", "2"]) == 0
    assert "wrote mine.json" in capsys.readouterr().out
    assert cli.main([*argv, "--nfe", "2", "3", "--valid", "clean"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if solver in line]
    assert len(lines) == 1, "2 was in the card already"
    card = json.loads(Path("mine.json").read_text())
    assert card["architecture"] == "light-denoiser", "the rest of the card is kept"
    assert [len(times) for times in card["timesteps"][solver].values()] == [3, 4]
    assert [row["nfe"] for row in card["timesteps_measured"]] == [2, 3]
    for row in card["timesteps_measured"]:
        assert row["optimised"] <= row["hand_made"] + 0.001, "these photos are those fitted on"
    Path("others").mkdir()
    picture(seed=5).save("others/5.png")
    assert cli.main([*argv, "--nfe", "3", "--valid", "others", "--overwrite"]) == 0
    card = json.loads(Path("mine.json").read_text())
    counts = [(row["photos"], row["measured_on"]) for row in card["timesteps_measured"]]
    assert counts == [(2, 2), (2, 1)]
    assert cli.main([*argv, "--nfe", "3"]) == 0
    assert "mine has them all" in capsys.readouterr().out

    run = ["restore", "photo.png", "--task", "noisy", "--checkpoint", "mine", "--solver", solver]
    times = ",".join(map(str, card["timesteps"][solver]["3"]))
    for name, spacing in (("a.png", "optimised"), ("b.png", times)):
        assert cli.main([*run, "--nfe", "3", "--spacing", spacing, "--out", name]) == 0
    assert np.array_equal(pixels(Path("a.png")), pixels(Path("b.png")))
    capsys.readouterr()
    line = refused(capsys, *run, "--nfe", "9", "--spacing", "optimised")
    assert "no optimised times for mrs-ode-d-1 at nfe=9: only at nfe 2, 3" in line


def test_settings_of_the_sampler_reach_it(here, checkpoint):
    run = ["restore", "photo.png", "--task", "noisy", "--checkpoint", checkpoint, "--nfe", "4"]
    for name, *settings in (
        ("ddim.png", "--solver", "ddim"),
        ("eta.png", "--solver", "ddim", "--set", "eta=1"),
        ("posterior.png", "--solver", "posterior"),
        ("denoised.png", "--set", "denoise_final=true", "--set", "lower_order_final=false"),
    ):
        assert cli.main([*run, *settings, "--out", name]) == 0
    eta, posterior = pixels(Path("eta.png")).astype(int), pixels(Path("posterior.png")).astype(int)
    assert abs(eta - posterior).max() <= 1, "DDIM with eta = 1 is the posterior sampler"
    assert not np.array_equal(eta, pixels(Path("ddim.png")))
    assert not np.array_equal(pixels(Path("denoised.png")), pixels(Path("ddim.png")))


def copied(checkpoint):
    """A copy that a test may change."""
    for suffix in (".json", ".safetensors"):
        Path("mine" + suffix).write_bytes(Path(checkpoint).with_suffix(suffix).read_bytes())
    return "mine.safetensors"


def test_bench_quality_prints_and_writes_the_table(here, checkpoint, capsys, calls):
    Path("clean").mkdir()
    for i in range(3):
        picture(seed=i).save(f"clean/{i}.png")
    argv = ["bench", "quality", "--images", "clean", "--checkpoint", checkpoint, "--nfe", "2"]
    assert cli.main([*argv, "--photos", "2", "--out", "table.csv"]) == 0
    assert len(calls) == len(mrs.TASKS) * 2 * 2
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1, "columns do not line up"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row[0] for row in cells[2:]] == [*mrs.TASKS, "mean"]
    for _, degraded, _, restored, gain, *_ in cells[2:]:
        assert float(gain) == pytest.approx(float(restored) - float(degraded), abs=0.011)
    written = Path("table.csv").read_text().splitlines()
    assert written[0] == (
        "task,degraded,one,restored,gain,one_swd,restored_swd,one_alex,restored_alex,one_vgg,"
        "restored_vgg,worse"
    )
    assert all(0 < float(cell) < 5 for line in written[1:] for cell in line.split(",")[5:11])
    assert [line.split(",")[0] for line in written[1:]] == [*mrs.TASKS, "mean"]
    degraded = [float(line.split(",")[1]) for line in written[1:]]
    assert degraded[-1] == pytest.approx(sum(degraded[:-1]) / 10)
    worse = [float(line.split(",")[11]) for line in written[1:]]
    assert worse[-1] == sum(worse[:-1]) > 0, "the untrained network spoils nothing?"

    assert cli.main([*argv, "--photos", "1", "--severity", "1", "--out", "table.json"]) == 0
    table = json.loads(Path("table.json").read_text())
    assert table["settings"]["photos"] == 1 and table["settings"]["severity"] == 1
    assert [row["task"] for row in table["rows"]] == [*mrs.TASKS, "mean"]
    assert table["settings"]["spacing"] == "uniform-lambda"

    once = [*argv, "--photos", "1", "--severity", "1", "--out", "times.json"]
    assert cli.main([*once, "--spacing", "100,2,0"]) == 0
    times = json.loads(Path("times.json").read_text())
    assert times["settings"]["spacing"] == [100, 2, 0]
    for row, other in zip(times["rows"], table["rows"], strict=True):
        assert row["degraded"] == other["degraded"] and row["restored"] != other["restored"]


def test_bench_quality_says_whether_the_field_can_be_solved_and_writes_the_card(
    here, checkpoint, capsys, calls
):
    Path("clean").mkdir()
    picture(48, 32).save("clean/a.png")
    mine = copied(checkpoint)
    argv = ["bench", "quality", "--images", "clean", "--checkpoint", mine, "--nfe", "50"]
    assert cli.main([*argv, "--field", "--card"]) == 0
    assert len(calls) == len(mrs.TASKS) * (50 + 50 + 200)
    assert "50 to 200" in capsys.readouterr().out
    card = json.loads(Path(mine).with_suffix(".json").read_text())
    assert [row["task"] for row in card["held_out"]] == list(mrs.TASKS)
    assert card["held_out_settings"]["photos"] == 1
    for row in card["held_out"]:
        assert row["at_50"] == row["restored"], "the same run"
        assert 0 < row["apart"] < 255
    mrs.load(mine)


def test_bench_quality_of_another_form_is_of_the_tasks_that_have_it(here, checkpoint, capsys):
    Path("clean").mkdir()
    picture(48, 32).save("clean/a.png")
    argv = ["bench", "quality", "--images", "clean", "--checkpoint", checkpoint, "--nfe", "1"]
    tables = []
    for own in ([], ["--form", "camera"], ["--form", "held-out"]):
        assert cli.main([*argv, "--tasks", "noisy", "hazy", *own, "--out", "table.json"]) == 0
        tables.append(json.loads(Path("table.json").read_text()))
    rows = [{row["task"]: row["degraded"] for row in table["rows"]} for table in tables]
    assert list(rows[0]) == list(rows[2]) == ["noisy", "hazy", "mean"]
    assert list(rows[1]) == ["noisy", "mean"]
    assert len({row["noisy"] for row in rows}) == 3 and rows[0]["hazy"] != rows[2]["hazy"]
    assert [table["settings"].get("form") for table in tables] == [None, "camera", "held-out"]
    capsys.readouterr()


@pytest.mark.parametrize("bench", ["quality", "speedup --seeds 1", "prediction --nfe 2"])
def test_a_bench_without_a_folder_is_of_the_page_s_clean_examples(
    here, checkpoint, monkeypatch, bench
):
    first, *rest = examples.examples()
    listed = (replace(first, damaged=True), *rest)
    monkeypatch.setattr(examples, "examples", lambda: listed)
    seen, read = [], clean.read

    def spied(pictures, largest_side):
        seen.extend(pictures)
        return read(pictures, largest_side)

    monkeypatch.setattr(clean, "read", spied)
    own = ["--checkpoints" if bench.startswith("prediction") else "--checkpoint", checkpoint]
    argv = ["bench", *bench.split(), "--photos", "10", "--largest-side", "32", "--tasks", "noisy"]
    if bench.startswith("speedup"):
        argv += ["--solvers", "mrs-ode-d-1", "--posterior", "20", "--spacings", "uniform-t"]
    assert cli.main([*argv, *own]) == 0
    assert seen == sorted(example.path for example in rest)


@pytest.mark.parametrize("bench", ["order", "speedup", "prediction"])
def test_a_plot_that_could_not_be_drawn_is_refused_before_anything_is_measured(
    here, capsys, calls, monkeypatch, bench
):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    said = refused(capsys, "bench", bench, "--plot", "figure.png")
    assert '--plot needs matplotlib: pip install "mrsampler[bench]"' in said
    assert calls == []


def test_bench_quality_of_a_run_that_ends_early_is_one_line(here, checkpoint, capsys):
    Path("clean").mkdir()
    picture().save("clean/a.png")
    argv = ["bench", "quality", "--images", "clean", "--checkpoint", checkpoint, "--solver", "rk45"]
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("mrsampler: error: ") and "10 evaluations" in err
    assert err.count("\n") == 1


def test_bench_refuses_a_checkpoint_of_other_tasks(here, checkpoint, capsys):
    Path("clean").mkdir()
    picture().save("clean/a.png")
    card = json.loads(Path(checkpoint).with_suffix(".json").read_text())
    copied(checkpoint)
    Path("mine.json").write_text(json.dumps(card | {"tasks": ["noisy", "scratched"]}))
    line = refused(capsys, "bench", "quality", "--images", "clean", "--checkpoint", "mine")
    assert "scratched" in line and "noisy" not in line


# --- train


def test_train_has_every_field_of_its_config_with_its_default():
    args = cli.parser().parse_args(["train", "--images", "photos", "--out", "runs/new.safetensors"])
    config = train_command.config_of(args)
    assert (config.images, config.out) == ((Path("photos"),), Path("runs/new"))
    given = set(vars(args)) - {"command"}
    assert given == {field.name for field in fields(training.TrainConfig)}
    for field in fields(training.TrainConfig):
        if field.default is not MISSING:
            value = getattr(config, field.name)
            assert value == field.default and type(value) is type(field.default), field.name


def test_train_options_reach_the_config(here, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(training, "train", lambda config: asked.append(config) or Path("new.x"))
    argv = ["train", "--images", "empty", ".", "--out", "runs/new", "--learning-rate", "2e-4"]
    argv += ["--crops-per-photo", "3", "--target", "noise", "--device", "cpu", "--minutes", "0.5"]
    argv += ["--part", "light", "--from", "before", "--noises", "6", "--favour", "hazy", "rainy"]
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == "wrote new.x\n"
    (config,) = asked
    assert (config.learning_rate, config.crops_per_photo, config.minutes) == (2e-4, 3, 0.5)
    assert (config.target, config.device) == ("noise", "cpu")
    assert (config.part, config.start, config.noises) == ("light", "before", 6)
    assert config.images == (Path("empty"), Path()) and config.favour == ("hazy", "rainy")


# --- list


def test_list_json(capsys):
    assert cli.main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["tasks", "processes", "solvers", "spacings", "checkpoints"]
    for entry in listed["processes"]:
        known = PROCESSES[entry["name"]].parameters
        assert [p["default"] for p in entry["parameters"]] == [p.default for p in known]
    assert [task["name"] for task in listed["tasks"]] == list(mrs.TASKS)
    assert len(listed["tasks"]) == 10
    for solver in listed["solvers"]:
        known = SOLVERS[solver["name"]]
        for key in ("family", "label", "words", "order", "stochastic", "prediction", "evaluations"):
            assert solver[key] == getattr(known, key)
        assert solver["description"] == known.summary
        assert solver["first"] == list(known.first)
    assert {solver["name"] for solver in listed["solvers"]} == set(SOLVERS)
    assert {spacing["name"] for spacing in listed["spacings"]} == {*mrs.SPACINGS, "optimised"}
    for spacing in listed["spacings"]:
        if spacing["name"] != "optimised":
            assert spacing["description"] == mrs.SPACINGS[spacing["name"]].summary


def test_list_checkpoints_tells_a_damaged_one(tmp_path, checkpoint, monkeypatch, capsys):
    for suffix in (".safetensors", ".json"):
        data = Path(checkpoint).with_suffix(suffix).read_bytes()
        (tmp_path / "good").with_suffix(suffix).write_bytes(data)
    card = json.loads((tmp_path / "good.json").read_text())
    card |= {"parameters": 1234567, "training": {"minutes": 5.5}}
    (tmp_path / "good.json").write_text(json.dumps(card))
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "broken.safetensors").write_text("")
    monkeypatch.setattr(checkpoints, "_HOMES", (tmp_path,))
    assert cli.main(["list", "checkpoints", "--json"]) == 0
    broken, good, *_ = json.loads(capsys.readouterr().out)["checkpoints"]
    assert broken["name"] == "broken" and "broken.json" in broken["error"]
    assert good == {
        "name": "good",
        "target": "data",
        "parameters": 1234567,
        "minutes trained": 5.5,
    }
    assert cli.main(["list", "checkpoints"]) == 0
    assert "1,234,567" in capsys.readouterr().out


def test_list_checkpoints_has_the_published_ones_and_whether_they_are_here(
    tmp_path, monkeypatch, capsys
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "_ask", lambda *given: pytest.fail("asked the hub"))
    assert cli.main(["list", "checkpoints", "--json"]) == 0
    *_, listed = json.loads(capsys.readouterr().out)["checkpoints"]
    assert (listed["name"], listed["target"]) == ("daclip-uir", "noise")
    assert listed["from"] == "weblzw/daclip-uir-ViT-B-32-irsde, fetched when first used"
    monkeypatch.setattr(checkpoints, "at_hand", lambda name: True)
    monkeypatch.setattr(checkpoints, "read_card", lambda name: {"parameters": 48_975_747})
    assert cli.main(["list", "checkpoints"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("daclip-uir") and line.endswith("irsde, on this machine")
    assert "48,975,747" in line


def test_list_a_section(capsys):
    assert cli.main(["list", "spacings"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "description"]
    assert [line.split()[0] for line in lines] == [*mrs.SPACINGS, "optimised"]
    assert "equal steps in t" in lines[1]
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for name in (*mrs.TASKS, *SOLVERS, *mrs.SPACINGS):
        assert name in out


def test_list_solvers_stands_under_their_families(capsys):
    assert cli.main(["list", "solvers"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    columns = ["name", "order", "stochastic", "evaluations a step", "description"]
    assert re.split(" {2,}", head.strip()) == columns
    family, seen, found = "", [], {}
    for line in lines:
        if line.startswith("  "):
            name, rest = line.split(maxsplit=1)
            found[name] = rest
            assert SOLVERS[name].family == family
            assert line.endswith(f"  {SOLVERS[name].summary}")
        else:
            family = line
            seen.append(line)
    assert set(found) == set(SOLVERS)
    assert len(seen) == len(set(seen)) == len({solver.family for solver in SOLVERS.values()})
    assert found["pndm"].split("  ")[0] == "2" and " 4, 4, 4, then 1 " in found["pndm"]
    assert found["euler-published"].startswith("none ")


# --- serve


@pytest.fixture
def page(monkeypatch) -> types.ModuleType:
    """Stands in for the page; `launched` holds what it was asked."""
    module = types.ModuleType("mrsampler.ui.page")
    module.launched = []
    module.launch = lambda **settings: module.launched.append(settings)
    monkeypatch.setitem(sys.modules, "mrsampler.ui", types.ModuleType("mrsampler.ui"))
    monkeypatch.setitem(sys.modules, "mrsampler.ui.page", module)
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_serve_takes_its_address_from_options_then_environment(page, monkeypatch):
    assert cli.main(["serve"]) == 0
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8000")
    assert cli.main(["serve"]) == 0
    argv = ["serve", "--host", "localhost", "--port", "9000", "--device", "cpu", "--share"]
    assert cli.main(argv) == 0
    assert page.launched == [
        {"host": "127.0.0.1", "port": 7860, "device": None, "share": False},
        {"host": "0.0.0.0", "port": 8000, "device": None, "share": False},
        {"host": "localhost", "port": 9000, "device": "cpu", "share": True},
    ]


def test_serve_limits_the_line_and_offers_tools_where_asked(page):
    assert cli.main(["serve", "--max-queue", "5", "--mcp"]) == 0
    assert page.launched[0]["max_queue"] == 5 and page.launched[0]["mcp_server"] is True


def test_serve_refuses_a_port_in_use_and_a_nonsense_one(page, monkeypatch, capsys):
    def in_use(**settings):
        raise OSError("Cannot find empty port in range: 7860-7860.")

    page.launch = in_use
    assert "127.0.0.1:7860 (is it in use?)" in refused(capsys, "serve")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "http")
    assert "--port" in refused(capsys, "serve")


def test_defaults_are_the_library_s():
    args = cli.parser().parse_args(["restore", "photo.png", "--task", "noisy"])
    defaults = mrs.trajectory.__kwdefaults__
    assert {name: getattr(args, name) for name in ("solver", "nfe", "spacing")} == {
        name: defaults[name] for name in ("solver", "nfe", "spacing")
    }
    assert args.size == restorer.Restorer.restore.__kwdefaults__["size"]
    assert args.checkpoint == checkpoints.DEFAULT
