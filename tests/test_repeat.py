"""A run of the page repeated elsewhere: as Python, as a command, by a link, from its downloads."""

import hashlib
import io
import json
import math
import shlex
import threading
import types
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from mrsampler import cli, photo
from mrsampler.examples import examples
from mrsampler.run import LINKED, Run
from mrsampler.size import OWN, result
from mrsampler.solvers import BudgetError
from mrsampler.ui import hardware, session
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.frames import ByteImage, within
from mrsampler.ui.parts.quality import Judge, Quality, lesson
from mrsampler.ui.restore import downloads, link, live, memory, samplers, tab
from mrsampler.ui.restore.figures import Line, pinned, unpinned
from mrsampler.ui.restore.live import Entrant, Still, distances
from mrsampler.ui.restore.memory import Memory, RunResult, digest
from mrsampler.ui.restore.tab import takeaway, why

PHOTO = str(examples()[1].path)
SEED, SIDE = 7, 96
ASKED = Run(
    photo=PHOTO,
    damage=given.CLEAN,
    task="noisy",
    severity=0.35,
    solver="mrs-sde-d-2",
    nfe=3,
    spacing="blend",
    baseline="posterior",
    baseline_nfe=4,
    seed=SEED,
    size=SIDE,
)
ENTRANTS = samplers.entrants(ASKED)


def run(clean, path=PHOTO, name="run 1", until=math.inf):
    """A run as the page makes it, and the picture that can be downloaded after it.

    The visitor presses Stop once the first sampler has made `until` evaluations.
    """
    stop = threading.Event()
    asked = replace(ASKED, photo=path, damage=given.CLEAN if clean else given.DAMAGED)
    source = photo.read(path)
    shown = session.subject(source, asked)
    digests = {"photo": digest(source.rgb), "degraded": digest(shown.degraded)}
    kept = RunResult(name, asked, ENTRANTS, digests)
    with pytest.MonkeyPatch.context() as patch:
        if until < math.inf:
            # The next step is made when it is asked for, not ahead: stopped, it is always there.
            patch.setattr(live, "_race", hardware.gpu(live._race.__wrapped__))
        for moment in live.race(asked, shown, ENTRANTS, stop):
            kept.add(moment.stills)
            kept.figures = moment.figures
            if moment.results[0].nfe >= until:
                stop.set()
    kept.end(moment.results)
    picture = result(shown.source, shown.small, "noisy", moment.results[0].image)
    kept.digests["restored"] = hashlib.sha256(picture.tobytes()).hexdigest()
    return kept, picture


@pytest.fixture(scope="module")
def made():
    return run(clean=True)


@pytest.fixture(scope="module")
def made_of_a_damaged_one():
    return run(clean=False)


@pytest.fixture(params=["made", "made_of_a_damaged_one"], ids=["clean", "damaged"])
def either(request):
    return request.getfixturevalue(request.param)


def test_the_copied_python_makes_the_same_pixels(either, tmp_path, monkeypatch):
    kept, picture = either
    monkeypatch.chdir(tmp_path)
    exec(compile(kept.python, "copied", "exec"), {})
    with Image.open(tmp_path / "restored.png") as again:
        assert again.tobytes() == picture.tobytes()


def test_the_copied_command_makes_the_same_pixels(either, tmp_path, monkeypatch):
    kept, picture = either
    monkeypatch.chdir(tmp_path)
    words = shlex.split(kept.command)
    assert words[:3] == ["python", "-m", "mrsampler"]
    assert cli.main(words[3:]) == 0
    with Image.open(tmp_path / "restored.png") as again:
        assert again.tobytes() == picture.tobytes()


@pytest.mark.parametrize("clean", [True, False])
def test_of_a_stopped_run_the_python_stops_there_and_no_command_is_given(
    clean, tmp_path, monkeypatch
):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", math.inf)
    kept, picture = run(clean, until=2)
    assert kept.stopped == {"a": 2, "b": 2}
    monkeypatch.chdir(tmp_path)
    exec(compile(kept.python, "copied", "exec"), {})
    with Image.open(tmp_path / "restored.png") as again:
        assert again.tobytes() == picture.tobytes()
    told = takeaway(kept)
    assert told["command"] is None and told["stopped"] == 2
    record = json.loads(json.dumps(downloads.record(kept), allow_nan=False))
    assert record["state"] == "stopped" and record["command"] is None
    assert [sampler["stopped_at_nfe"] for sampler in record["samplers"]] == [2, 2]
    assert record["sha256"]["restored"] == hashlib.sha256(picture.tobytes()).hexdigest()


def test_a_run_stopped_after_its_first_sampler_is_done_is_repeated_whole(monkeypatch):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", math.inf)
    kept, _ = run(True, until=3)
    assert kept.stopped == {"b": 3}
    assert "break" not in kept.python
    assert takeaway(kept)["command"] and takeaway(kept)["stopped"] is None
    assert downloads.record(kept)["state"] == "stopped"


def page_run(path, task, size=OWN, severity=0.35, clean=True):
    """The page's own generator, to its end: its words, the file to download and the takeaway."""
    asked = replace(
        ASKED, solver="mrs-ode-d-1", nfe=2, baseline_nfe=2, task=task, severity=severity, size=size
    )
    request = types.SimpleNamespace(session_hash="visitor")
    upload = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    values = asked.to_json() | {"example": 0, "upload": upload}
    values["damage"] = given.CLEAN if clean else given.DAMAGED
    updates = list(tab.run(values, request))
    return [update[0]["say"] for update in updates], updates[-1][3], updates[-1][4]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A photo larger than what is shown of a run."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    with Image.open(PHOTO) as small:
        small.resize((640, 300), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    ("task", "size"), [("hazy", OWN), ("noisy", OWN), ("hazy", 256), ("noisy", 256)]
)
def test_the_result_has_the_photos_own_size_and_is_repeated(
    large, tmp_path, monkeypatch, task, size, clean
):
    said, download, told = page_run(large, task, size, clean=clean)
    monkeypatch.chdir(tmp_path)
    for name in ("python", "command"):
        text = told[name].replace("large.png", str(large))
        if name == "python":
            exec(compile(text, "copied", "exec"), {})
        else:
            assert cli.main([*shlex.split(text)[3:], "--device", "cpu"]) == 0
        with Image.open("restored.png") as again, Image.open(download) as first:
            assert first.size == (640, 300) and again.tobytes() == first.tobytes()
    alone = [word for word in said if "at its own 640 \u00d7 300: 2 of 2 NFE" in word]
    assert len(alone) == (task == "noisy" and size == OWN)
    if size == OWN:
        assert "Shown and measured at 512 \u00d7 240; the result has the photo's own" in said[-1]


def test_stopped_while_it_restores_the_photo_itself_the_shown_result_is_scaled_back(
    large, tmp_path, monkeypatch
):
    own_size = tab.own_size

    def stopping(*args):
        for update in own_size(*args):
            tab.RUNS.stop(types.SimpleNamespace(session_hash="visitor"))
            yield update

    monkeypatch.setattr(tab, "own_size", stopping)
    said, download, told = page_run(large, "noisy")
    assert said[-1].startswith("Stopped") and told["command"] is None
    monkeypatch.chdir(tmp_path)
    exec(compile(told["python"].replace("large.png", str(large)), "copied", "exec"), {})
    with Image.open("restored.png") as again, Image.open(download) as first:
        assert first.size == (640, 300) and again.tobytes() == first.tobytes()


def test_a_photo_too_large_for_the_page_is_refused_with_what_helps(monkeypatch):
    monkeypatch.setattr(session, "MOST_MEGAPIXELS", 0.01)
    source = photo.read(PHOTO)
    for damage, task in ((True, "hazy"), (False, "noisy")):
        with pytest.raises(gr.Error, match=r"up to 0\.01 megapixels here.*choose a size in pixels"):
            mode = given.CLEAN if damage else given.DAMAGED
            session.subject(source, Run(damage=mode, task=task))
    assert session.subject(source, Run(task="hazy")).source is source


def test_a_failure_advises_what_the_page_offers():
    spent = BudgetError("RK45 spent its 20 evaluations: raise nfe or tolerance")
    assert why(spent).endswith("its 20 evaluations. Give it more NFE, or race another sampler.")
    assert why(ValueError("no such")) == (
        "The run failed: no such. Another setting or photo may work."
    )


def test_names_that_would_break_out_of_the_text_are_quoted(made):
    name = 'it\'s "mine"; rm -rf $HOME.jpg'
    odd = Run(photo=name, device="cpu")
    assert shlex.split(odd.to_command())[4] == name
    assert repr(name) in odd.to_python()
    compile(odd.to_python(), "copied", "exec")
    assert "--device cpu" in odd.to_command() and ", 'cpu')" in odd.to_python()


def test_the_json_holds_what_repeats_the_run_and_the_digests_that_prove_it(made):
    kept, picture = made
    record = json.loads(json.dumps(downloads.record(kept), allow_nan=False))
    assert Run.from_json(record["settings"]) == kept.asked
    assert record["settings"]["seed"] == SEED and record["settings"]["severity"] == 0.35
    assert [s["solver"] for s in record["samplers"]] == ["mrs-sde-d-2", "posterior"]
    assert [step["nfe"] for step in record["samplers"][0]["steps"]] == [0, 1, 2, 3]
    assert record["samplers"][0]["steps"][0]["t"] == 100
    assert record["sha256"]["restored"] == hashlib.sha256(picture.tobytes()).hexdigest()
    assert record["state"] == "finished" and "stopped" not in record["settings"]
    assert [sampler["stopped_at_nfe"] for sampler in record["samplers"]] == [None, None]
    truth = photo.read(PHOTO).rgb
    pixels = photo.to_pil(truth).tobytes()
    assert record["sha256"]["photo"] == hashlib.sha256(pixels).hexdigest()


def test_a_number_that_json_cannot_hold_is_null():
    assert downloads._finite({"lam": math.inf, "of_x": {"psnr": math.inf, "ssim": 1.0}}) == {
        "lam": None,
        "of_x": {"psnr": None, "ssim": 1.0},
    }


def test_the_npz_holds_the_frames_their_times_and_where_they_are_in_the_plot(made):
    kept, _ = made
    with np.load(io.BytesIO(downloads.arrays(kept))) as held:
        for key, steps in (("a", 4), ("b", 5)):
            x, span = held[f"x_{key}"], held[f"x_range_{key}"]
            assert x.shape == (steps, 64, 96, 3) and x.dtype == np.uint8
            assert held[f"t_{key}"].tolist() == [s.t for s in kept.stills[key]]
            assert held[f"lambda_{key}"].tolist() == [s.lam for s in kept.stills[key]]
            low, high = span[0]
            start = kept.stills[key][0].x.image.permute(1, 2, 0).numpy()
            assert np.allclose(x[0] / 255 * (high - low) + low, start, atol=1e-5)
            assert held[f"x0_{key}"].shape == (steps - 1, 64, 96, 3)
            assert held[f"x0_step_{key}"].tolist() == list(range(1, steps))
            for n in (2, 3):
                trace = next(t for t in kept.figures[str(n)]["data"] if t["name"] == key)
                assert held[f"projection_{n}d_{key}"][:, 1].tolist() == trace["y"]
        assert json.loads(str(held["record"]))["settings"]["task"] == "noisy"


def test_the_animation_shows_both_samplers_a_frame_a_tick_and_rests_on_the_last(made):
    kept, _ = made
    with Image.open(io.BytesIO(downloads.animation(kept))) as film:
        assert (film.format, film.n_frames) == ("WEBP", 5)
        width, height = film.size
        assert width == 2 * 96 + 3 * downloads.GAP and height > 64
        durations = []
        for index in range(film.n_frames):
            film.seek(index)
            film.load()
            durations.append(film.info["duration"])
        assert durations == [downloads.A_FRAME] * 4 + [downloads.THE_LAST]
        last = np.asarray(film.convert("RGB"), dtype=np.float64)
    top = downloads.STRIP
    shown = last[top : top + 64, downloads.GAP : downloads.GAP + 96]
    sample = kept.stills["a"][-1].x.image.clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(shown - sample).mean() < 12, "lossy, but this picture"


def test_a_kept_frame_is_its_own_to_half_a_step_of_its_range():
    image = 0.5 + 0.3 * torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0))
    kept = ByteImage.of(image)
    assert kept.pixels.dtype == torch.uint8
    # Half a step, and float32 rounding.
    assert (kept.image - image).abs().max() <= 0.501 * (kept.high - kept.low) / 255
    flat = ByteImage.of(torch.full((3, 4, 4), 0.25))
    assert torch.equal(flat.image, torch.full((3, 4, 4), 0.25))


def test_what_is_kept_and_streamed_is_at_most_512_pixels_a_side():
    assert within(torch.rand(3, 700, 2048)).shape == (3, 175, 512)
    small = torch.rand(3, 30, 40)
    assert within(small) is small


def test_the_distance_to_the_sample_falls_to_what_the_last_step_adds(made):
    stills = made[0].stills["a"]
    first, *rest = distances(stills)
    assert first is None, "nothing is predicted at x_T"
    sample = stills[-1].x.image.clamp(0, 1)
    expected = 255 * (stills[1].x0.image - sample).square().mean().sqrt().item()
    assert rest[0] == pytest.approx(expected)
    assert rest[-1] < rest[0]
    assert distances([]) == []


EARLY = (1, 28.0, 0.30)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        ([(8, 26.5, 0.22), (8, 26.0, 0.20)], "33% closer to the truth's. The early prediction"),
        ([(8, 26.0, 0.40)], "moved away from the truth's: this was a loss, no trade."),
        ([(8, 26.0, 0.29)], "came no closer to the truth's."),
    ],
)
def test_a_falling_psnr_is_called_a_trade_only_where_the_texture_gained(later, says):
    course = [(nfe, Quality(psnr, 0.5, swd)) for nfe, psnr, swd in [EARLY, *later]]
    sentence = lesson("Heun", course)
    assert sentence.startswith("Heun: from 1 to 8 NFE the PSNR fell by 2.0 dB") and says in sentence


@pytest.mark.parametrize("later", [[], [(8, 27.9, 0.10)], [(8, 29.0, 0.10)]])
def test_a_psnr_that_did_not_fall_needs_no_explanation(later):
    course = [(nfe, Quality(psnr, 0.5, swd)) for nfe, psnr, swd in [EARLY, *later]]
    assert lesson("Heun", course) is None


def test_without_a_truth_nothing_is_said_of_the_trade():
    assert lesson("Heun", [(1, None), (8, None)]) is None


def test_blur_costs_perception_and_noise_costs_distortion_first():
    truth = photo.read(PHOTO).within(128).rgb
    blurred = torch.nn.functional.avg_pool2d(truth[None], 5, 1, 2, count_include_pad=False)[0]
    judge = Judge(truth)
    assert judge(truth).ssim == pytest.approx(1) and judge(truth).swd == pytest.approx(0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    error = judge(blurred).psnr
    level = 10 ** (-error / 20)  # white noise of the same PSNR
    noisy = truth + level * torch.randn(truth.shape, generator=generator)
    assert judge(noisy).psnr == pytest.approx(error, abs=0.5)
    assert judge(noisy).swd != pytest.approx(judge(blurred).swd, rel=0.1)


def test_a_link_brings_the_same_settings_back(made):
    query = dict(pair.split("=") for pair in made[0].asked.to_query().split("&"))
    assert set(query) == set(LINKED)
    linked, refused = link.read(query | {"size": "384"})
    assert refused == [] and linked.example == 1
    assert replace(linked, photo=PHOTO) == replace(ASKED, size=384)


def test_a_link_to_a_photo_of_ones_own_says_that_it_is_not_in_it(made):
    own = Run(photo="me.jpg", task="hazy", size=384)
    assert "me.jpg" not in own.to_query(), "a file's name is the visitor's own"
    linked, refused = link.read(dict(pair.split("=") for pair in own.to_query().split("&")))
    assert linked.example is None and not linked.clean and linked.task == "hazy" and refused == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("photo", "../../etc/passwd"),
        ("task", "sunny"),
        ("severity", "2"),
        ("severity", "nan"),
        ("sampler", "<script>"),
        ("nfe", "0"),
        ("nfe", "1e9"),
        ("spacing", "optimise"),
        ("baseline_nfe", "many"),
        ("seed", "-1"),
        ("checkpoint", "../secret"),
        ("side", "100000"),
    ],
)
def test_what_a_link_may_not_ask_for_is_left_out_and_named(key, value):
    usual, refused = link.read({})
    assert refused == []
    assert link.read({key: value}) == (usual, [f"{key}={value}"])


# ---- memory


def still(key, index, side=32, whole=True):
    frame = ByteImage.of(torch.rand(3, side, side, generator=torch.Generator().manual_seed(index)))
    return Still(
        key,
        index,
        index,
        9.0 - index,
        index,
        0.1,
        frame,
        frame if whole and index else None,
        None,
        None,
        False,
    )


def kept_run(name="run 1", subject="s", steps=9, side=32):
    kept = RunResult(name, Run(photo="x.png"), ENTRANTS, {"photo": "p", "degraded": subject})
    for key in "ab":
        kept.add([still(key, i, side, whole=i % 2 == 0) for i in range(steps)])
    return kept


def test_a_run_over_its_cap_keeps_every_other_frame_with_both_ends(monkeypatch):
    monkeypatch.setattr(memory, "PER_RUN", 20 * 3 * 32 * 32)
    kept = kept_run(steps=33)
    assert kept.size <= memory.PER_RUN
    for key in "ab":
        indices = [s.index for s in kept.stills[key]]
        assert indices[0] == 0 and indices[-1] == 32 and indices == sorted(indices)


def test_three_lines_are_pinned_each_in_a_colour_and_a_fourth_is_not():
    store = Memory()
    store.keep("visitor", kept_run())
    pins = [store.pin("visitor", "a") for _ in range(3)]
    assert [pin.key for pin in pins] == ["p1", "p2", "p3"]
    assert store.pin("visitor", "a") is None
    store.unpin("visitor", "p2")
    assert store.pin("visitor", "b").key == "p2"
    assert [s.nfe for s in pins[0].stills] == [0, 2, 4, 6, 8], "x_T, what was measured, and the end"


def test_lines_on_another_photo_are_hidden_and_give_way():
    store = Memory()
    store.keep("visitor", kept_run(subject="cat"))
    for _ in range(3):
        store.pin("visitor", "a")
    store.keep("visitor", kept_run(subject="dog"))
    assert store.pins("visitor", "dog") == [] and store.others("visitor", "dog")
    assert len(store.pins("visitor", "cat")) == 3 and not store.others("visitor", "cat")
    assert store.pin("visitor", "b").key == "p1"
    assert [pin.key for pin in store.pins("visitor", "cat")] == ["p2", "p3"]


def test_a_visitors_runs_are_their_own_and_go_with_them():
    store = Memory()
    store.keep("one", kept_run())
    assert store.run("two") is None and store.pin("two", "a") is None
    assert store.pins("two", "s") == []
    store.forget("one")
    assert store.run("one") is None


def test_beyond_the_cap_for_all_those_longest_away_are_forgotten(monkeypatch):
    monkeypatch.setattr(memory, "FOR_ALL", int(2.5 * kept_run().size))
    store = Memory()
    for name in ("first", "second", "third"):
        store.keep(name, kept_run(name))
        assert store.run(name).name == name
    assert store.run("first") is None
    assert store.run("third").name == "third"


def test_pinned_lines_are_drawn_in_one_basis_with_the_next_runs(made):
    kept, _ = made
    pin = kept.pin("a", "p1")
    shown = session.subject(photo.read(PHOTO), ASKED)
    entrants = [Entrant("a", "DDIM", "ddim", 2, "blend"), ENTRANTS[1]]
    restorer = session.load("bundled")
    last = list(
        live.LiveRace(
            restorer, shown.degraded, shown.truth, "noisy", entrants, SEED, [pin]
        ).moments()
    )[-1]
    traces = {trace["name"]: trace for trace in last.figures["2"]["data"]}
    assert list(traces) == ["p1", "a", "b", "landmarks"], "what is pinned lies beneath"
    assert traces["p1"]["meta"] == "MR Sampler SDE d-2"
    start = np.array([traces["a"]["x"][0], traces["a"]["y"][0]])
    same = np.array([traces["p1"]["x"][0], traces["p1"]["y"][0]])
    away = np.array([traces["a"]["x"][-1], traces["a"]["y"][-1]])
    # One x_T, up to the 8 bits in which the pinned one was kept.
    assert np.abs(same - start).max() < 0.01 * np.abs(away - start).max()


def test_a_pin_is_drawn_at_once_around_its_line_and_taken_away_again(made):
    figures = made[0].figures
    more = pinned(figures, "a", Line("p1", "MR", "#CC79A7"))
    for n in ("2", "3"):
        first, *others = more[n]["data"]
        original = next(t for t in figures[n]["data"] if t["name"] == "a")
        assert first["name"] == "p1" and first["x"] == original["x"]
        assert first["line"]["width"] > original["line"]["width"]
        assert others == figures[n]["data"]
    assert unpinned(more, "p1") == figures
