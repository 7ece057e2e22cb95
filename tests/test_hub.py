"""The published checkpoint, from a hub on this machine that holds the small reference networks."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_hub import COMMIT, FakeHub, encoder_file, network_file, saved
from PIL import Image
from published import recorded, relative_error

import mrsampler as mrs
from mrsampler import SOLVERS, TASKS, MeanRevertingSDE, checkpoints, hub
from mrsampler.processes import from_card

REPOSITORY = "weblzw/daclip-uir-ViT-B-32-irsde"
NETWORK, ENCODER = "universal-ir.pth", "daclip_ViT-B-32.pt"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The two files, in bytes."""
    folder = tmp_path_factory.mktemp("files")
    return {
        NETWORK: saved(network_file(), folder / "network"),
        ENCODER: saved(encoder_file(), folder / "encoder"),
    }


def home(monkeypatch, path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(path / "hub"))


@pytest.fixture
def served(contents, tmp_path, monkeypatch):
    """A hub that has both files, and an empty folder to fetch them to."""
    from huggingface_hub import constants

    fake = FakeHub()
    fake.files = {f"{REPOSITORY}/main/{name}": content for name, content in contents.items()}
    template = f"{fake.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    home(monkeypatch, tmp_path / "home")
    yield fake
    fake.close()


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No hub at all: nothing listens on port 9 here."""
    from huggingface_hub import constants

    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    home(monkeypatch, tmp_path / "home")


def test_the_published_checkpoint_is_what_its_authors_trained():
    published = hub.PUBLISHED["daclip-uir"]
    assert (published.repository, published.revision) == (REPOSITORY, "main")
    assert (published.network, published.encoder) == (NETWORK, ENCODER)
    process = from_card(published.process)
    assert process.sigma_inf == pytest.approx(50 / 255) and process.zero_start
    assert (process.T, process.eps, process.schedule) == (100, 0.005, "cosine")
    assert published.tasks == TASKS and published.target == "noise"


def test_it_is_fetched_converted_and_returns_what_was_recorded(served):
    checkpoint = checkpoints.read("daclip-uir")
    _, _, recording = recorded("universal_ir_tiny")
    given = [recording[n] for n in ("xt", "mu", "t", "degradation_context", "image_context")]
    assert relative_error(checkpoint.denoiser.network(*given), recording["out"]) < 3e-5
    assert checkpoint.denoiser.target == "noise" and checkpoint.tasks == TASKS
    assert checkpoint.process.zero_start
    assert checkpoint.encoder.config == recorded("daclip_tiny")[0] | {"heads": 1}
    assert [name for name, _ in served.downloads()] == [NETWORK, ENCODER]


def test_what_has_been_converted_is_never_fetched_again(served):
    first = checkpoints.read("daclip-uir")
    folder = hub.folder("daclip-uir")
    assert {"daclip-uir.json", "daclip-uir.safetensors", "daclip-uir.encoder.safetensors"} <= {
        path.name for path in folder.iterdir()
    }
    (folder / NETWORK).unlink()
    (folder / ENCODER).unlink()
    served.requests.clear()
    again = checkpoints.read("daclip-uir")
    assert served.requests == []
    for name, value in first.denoiser.network.state_dict().items():
        assert torch.equal(again.denoiser.network.state_dict()[name], value)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], value)
    assert hub.folder("daclip-uir") / "daclip-uir.safetensors" == checkpoints._locate("daclip-uir")
    card = checkpoints.read_card("daclip-uir")
    commits = {NETWORK: COMMIT, ENCODER: COMMIT}
    assert card["source"] == {"repository": REPOSITORY, "revision": "main", "commits": commits}


def test_asked_for_twice_at_once_it_is_fetched_once(served):
    with ThreadPoolExecutor() as threads:
        read = list(threads.map(checkpoints.read, ["daclip-uir"] * 3))
    assert [name for name, _ in served.downloads()] == [NETWORK, ENCODER]
    weights = [each.denoiser.network.final_conv.weight for each in read]
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


def test_an_interrupted_download_goes_on_where_it_stopped(served, contents, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    served.cut = 100_000
    hub.fetch("daclip-uir")
    parts = [first for name, first in served.downloads() if name == NETWORK]
    assert parts == [0, 100_000]
    assert (hub.folder("daclip-uir") / NETWORK).read_bytes() == contents[NETWORK]


def test_a_fetch_can_be_followed_to_the_byte_over_all_files(served, contents, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    served.on.clear()
    total, half = sum(map(len, contents.values())), len(contents[NETWORK]) // 2
    with ThreadPoolExecutor() as threads:
        fetch = threads.submit(hub.fetch, "daclip-uir")
        soon(lambda: (p := hub.progress("daclip-uir")) and p.done > half - 10_000)
        told = hub.progress("daclip-uir")
        assert told.total == total and told.done <= half
        served.on.set()
        fetch.result()
    assert told.done == total and hub.progress("daclip-uir") is None


def test_of_a_file_that_is_there_already_nothing_is_counted(served, contents):
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(contents[NETWORK])
    served.on.clear()
    with ThreadPoolExecutor() as threads:
        fetch = threads.submit(hub.fetch, "daclip-uir")
        soon(lambda: hub.progress("daclip-uir"))
        assert hub.progress("daclip-uir").total == len(contents[ENCODER])
        served.on.set()
        fetch.result()


def test_of_two_bars_of_a_file_the_longer_one_counts():
    progress = hub.Progress({"a": 100, "b": 50})
    arrived, written = (progress.bars("a")(total=100, disable=True) for _ in range(2))
    arrived.update(30)
    written.update(10)
    assert progress.done == 30
    written.update(90)
    arrived.update(20)  # compressed: fewer bytes than the file has
    assert progress.done == 100
    resumed = progress.bars("b")(total=50, initial=20, disable=True)
    assert progress.done == 120
    resumed.update(500)
    assert progress.done == progress.total == 150


def test_a_fetch_that_fails_is_no_longer_under_way(served):
    served.files[f"{REPOSITORY}/main/{ENCODER}"] = b""
    del served.files[f"{REPOSITORY}/main/{NETWORK}"]
    with pytest.raises(hub.UnavailableError, match=NETWORK):
        hub.fetch("daclip-uir")
    assert hub.progress("daclip-uir") is None


@pytest.mark.parametrize("room", [100_000, 2_000_000], ids=["encoder", "network"])
def test_on_a_full_disk_converting_says_so_and_leaves_nothing_behind(served, contents, room):
    import resource

    hub.fetch("daclip-uir")
    folder = hub.folder("daclip-uir")
    there = sorted(path.name for path in folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))  # as real as a full disk
    try:
        with pytest.raises(OSError) as raised:
            checkpoints.read("daclip-uir")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    where = folder / "daclip-uir.safetensors"
    assert str(raised.value) == f"{where} cannot be written: {os.strerror(27)}"
    assert sorted(set(there) | {".lock"}) == sorted(path.name for path in folder.iterdir())
    assert checkpoints.read("daclip-uir").encoder is not None


def test_without_a_network_one_sentence_names_the_file_the_repository_and_the_folder(offline):
    with pytest.raises(hub.UnavailableError) as raised:
        checkpoints.read("daclip-uir")
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence == hub.unavailable("daclip-uir")
    for part in (NETWORK, REPOSITORY, str(hub.folder("daclip-uir"))):
        assert part in sentence
    assert isinstance(raised.value, FileNotFoundError)
    assert hub.folder("daclip-uir").is_dir(), "where the sentence says to put it"
    assert not checkpoints.at_hand("daclip-uir") and checkpoints.at_hand("bundled")


def test_without_a_network_a_copy_put_there_by_hand_is_used(offline, contents):
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(contents[NETWORK])
    assert checkpoints.offered()[-1] == "daclip-uir" != checkpoints.names()[-1]
    assert ENCODER in hub.unavailable("daclip-uir")
    (folder / ENCODER).write_bytes(contents[ENCODER])
    assert hub.unavailable("daclip-uir") is None
    assert checkpoints.read("daclip-uir").name == "daclip-uir"


def test_where_the_hub_can_be_reached_it_is_available_and_nothing_is_fetched(served):
    assert hub.unavailable("daclip-uir") is None
    assert served.downloads() == []
    assert {kind for kind, *_ in served.requests} == {"HEAD"}


def test_a_file_that_the_repository_no_longer_has_is_named(served):
    del served.files[f"{REPOSITORY}/main/{ENCODER}"]
    assert ENCODER in hub.unavailable("daclip-uir")
    with pytest.raises(hub.UnavailableError, match=ENCODER):
        checkpoints.read("daclip-uir")


@pytest.mark.parametrize("damage", ["cut", "bit", "page"])
def test_a_damaged_file_is_named_and_leaves_no_checkpoint(served, contents, damage):
    content = contents[ENCODER]
    bit = bytearray(content)
    bit[len(bit) // 2] ^= 1
    damaged = {"cut": content[:-1000], "bit": bytes(bit), "page": b"<html></html>"}[damage]
    served.files[f"{REPOSITORY}/main/{ENCODER}"] = damaged
    with pytest.raises(ValueError, match=rf"{ENCODER} is damaged, cut short"):
        checkpoints.read("daclip-uir")
    folder = hub.folder("daclip-uir")
    assert not list(folder.glob("*.safetensors")) and not list(folder.glob("*.json"))
    # As the sentence says: deleted, it is fetched again.
    served.files[f"{REPOSITORY}/main/{ENCODER}"] = content
    (folder / ENCODER).unlink()
    assert checkpoints.read("daclip-uir").encoder is not None


def test_a_foreign_file_is_refused_with_what_is_missing(served, tmp_path):
    state = network_file()
    for name in ("module.init_conv.weight", "module.downs.0.0.mlp.1.bias"):
        foreign = {key: value for key, value in state.items() if key != name}
        served.files[f"{REPOSITORY}/main/{NETWORK}"] = saved(foreign, tmp_path / "foreign")
        with pytest.raises(ValueError, match=name.removeprefix("module.")):
            checkpoints.read("daclip-uir")
        shutil.rmtree(hub.folder("daclip-uir"))


CONVERTED = ("daclip-uir.json", "daclip-uir.safetensors", "daclip-uir.encoder.safetensors")


def lost(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def emptied(path):
    path.write_text("{}")


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.parametrize("damage", [lost, cut, flipped, emptied])
def test_a_damaged_conversion_is_made_again_from_the_files_beside_it(served, name, damage):
    whole = checkpoints.read("daclip-uir")
    folder = hub.folder("daclip-uir")
    served.requests.clear()
    damage(folder / name)
    if damage is not flipped:
        assert not checkpoints.at_hand("daclip-uir")
    again = checkpoints.read("daclip-uir")
    assert checkpoints.at_hand("daclip-uir") and served.requests == []
    for a, b in (
        (whole.denoiser.network, again.denoiser.network),
        (whole.encoder, again.encoder),
        (checkpoints.read("daclip-uir").encoder, again.encoder),
    ):
        weights = b.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in a.state_dict().items())


def test_a_damaged_conversion_that_cannot_be_made_again_names_the_folder_to_delete(served):
    checkpoints.read("daclip-uir")
    folder = hub.folder("daclip-uir")
    (folder / NETWORK).unlink()
    flipped(folder / "daclip-uir.safetensors")
    served.files.clear()
    with pytest.raises(hub.UnavailableError, match=rf"is damaged: delete the folder {folder} and"):
        checkpoints.read("daclip-uir")


def test_time_steps_fitted_since_outlive_a_conversion_made_again(served):
    checkpoints.read("daclip-uir")
    checkpoints.add_to_card("daclip-uir", {"timesteps": {"ddim": {"3": [100.0, 50.0, 0.0]}}})
    cut(hub.folder("daclip-uir") / "daclip-uir.safetensors")
    assert checkpoints.read("daclip-uir").card["timesteps"]["ddim"]["3"] == [100.0, 50.0, 0.0]
    assert checkpoints.at_hand("daclip-uir")


def test_the_revision_can_be_said(served, contents):
    for name, content in contents.items():
        served.files[f"{REPOSITORY}/v1.0/{name}"] = content
    del served.files[f"{REPOSITORY}/main/{NETWORK}"]
    assert hub.unavailable("daclip-uir@v1.0") is None
    checkpoint = checkpoints.read("daclip-uir@v1.0")
    assert checkpoint.name == "daclip-uir@v1.0" == checkpoints.read("daclip-uir@v1.0").name
    assert checkpoint.card["source"]["revision"] == "v1.0"
    assert checkpoints.at_hand("daclip-uir@v1.0") and not checkpoints.at_hand("daclip-uir")
    for name in ("daclip-uir@", "daclip-uir@../main", "bundled@main"):
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            checkpoints.read(name)


def test_a_copy_put_there_by_hand_is_of_no_known_commit(served, contents):
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(contents[NETWORK])
    assert hub.fetch("daclip-uir").commits == {NETWORK: None, ENCODER: COMMIT}
    # What is put in the place of a downloaded one, too.
    later = time.time() + 100
    os.utime(folder / ENCODER, (later, later))
    assert hub.fetch("daclip-uir").commits == {NETWORK: None, ENCODER: None}


def test_a_copy_in_hugging_faces_own_cache_is_used_without_a_network(served, monkeypatch):
    from huggingface_hub import constants, hf_hub_download

    for name in (NETWORK, ENCODER):
        hf_hub_download(REPOSITORY, name, cache_dir=constants.HF_HUB_CACHE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.unavailable("daclip-uir") is None
    checkpoint = checkpoints.read("daclip-uir")
    assert checkpoint.card["source"]["commits"] == {NETWORK: COMMIT, ENCODER: COMMIT}
    assert not (hub.folder("daclip-uir") / NETWORK).exists(), "a copy of a copy"


def test_in_a_folder_that_cannot_be_written_to_it_is_read_into_memory(
    offline, contents, monkeypatch
):
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)

    def refuse(*given, **options):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("huggingface_hub.utils.WeakFileLock", refuse)
    checkpoint = checkpoints.read("daclip-uir")
    assert checkpoint.name == "daclip-uir" and checkpoint.encoder is not None
    assert sorted(path.name for path in folder.iterdir()) == sorted(contents)


def test_a_home_that_cannot_be_gets_a_sentence(served, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    home(monkeypatch, tmp_path / "file" / "below")
    with pytest.raises(hub.UnavailableError) as raised:
        checkpoints.read("daclip-uir")
    why = str(raised.value)
    assert why == hub.unavailable("daclip-uir")
    assert f"{tmp_path / 'file'} cannot be written to" in why and "HF_HOME" in why


def test_the_hub_is_asked_at_most_once_a_minute_whatever_it_answers(served, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(hub.unavailable, ["daclip-uir"] * 5)) == [None] * 5
    assert len(served.requests) == 2
    now[0] += 59
    served.files.clear()
    assert hub.unavailable("daclip-uir") is None and len(served.requests) == 2
    now[0] += 2  # the old answer, while the next is asked for
    assert hub.unavailable("daclip-uir") is None
    soon(lambda: hub.unavailable("daclip-uir") is not None)
    now[0] += 59
    assert NETWORK in hub.unavailable("daclip-uir") and len(served.requests) == 3


def soon(true):
    """Waits for what another thread does."""
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("never")


def test_a_hub_that_hangs_is_waited_for_by_the_first_visitor_alone(served, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(hub, "_SECONDS", 1.0)
    served.hangs = 1.5
    assert "the hub does not answer" in hub.unavailable("daclip-uir")
    now[0] += 100
    began = time.perf_counter()
    assert "the hub does not answer" in hub.unavailable("daclip-uir")
    assert time.perf_counter() - began < 0.5


def test_a_file_put_there_by_hand_is_noticed_at_once(offline, contents):
    assert hub.unavailable("daclip-uir")
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert hub.unavailable("daclip-uir") is None


@pytest.mark.parametrize(
    "status, why",
    [
        (401, "it is not there, or not for everyone"),
        (404, "the hub has no such file"),
        (429, "the hub is asked too often"),
        (503, "the hub answers 503"),
    ],
)
def test_what_the_hub_answers_is_said_in_few_words(served, status, why):
    served.status = status
    assert f"({why}); a downloaded copy" in hub.unavailable("daclip-uir")


def test_no_hub_and_offline_mode_are_told_apart(offline, monkeypatch):
    from huggingface_hub import constants

    with pytest.raises(hub.UnavailableError, match=r"\(the hub cannot be reached\)"):
        hub.fetch("daclip-uir")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub.UnavailableError, match=r"\(HF_HUB_OFFLINE is set\)"):
        hub.fetch("daclip-uir")


def test_a_long_reason_is_cut_between_words():
    assert hub._why(ValueError("long words " * 100)).endswith(" long words ...")


def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def restorer(contents, tmp_path_factory):
    """What mrs.load makes of the small files, put into the folder by hand.

    The network's outputs made 50 times smaller: noise of about 1, as a trained one returns it.
    """
    state = network_file()
    for name in ("module.final_conv.weight", "module.final_conv.bias"):
        state[name] = state[name] / 50
    contents = contents | {NETWORK: saved(state, tmp_path_factory.mktemp("files") / "network")}
    with pytest.MonkeyPatch.context() as patch:
        home(patch, tmp_path_factory.mktemp("home"))
        folder = hub.folder("daclip-uir")
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        yield mrs.load("daclip-uir", device="cpu")


def cost(solver):
    """Evaluations enough to go from x_T to sigma = 0."""
    return 500 if solver.adaptive else max(2, solver.cost(1, to_data=True))


@pytest.mark.parametrize(
    "solver", [n for n, s in SOLVERS.items() if isinstance(MeanRevertingSDE(), s.processes)]
)
def test_every_solver_restores_with_it(restorer, solver):
    options = {"tolerance": 1.0} if SOLVERS[solver].adaptive else {}
    nfe = cost(SOLVERS[solver])
    restored = restorer.restore(photo(), "rainy", solver=solver, nfe=nfe, **options)
    assert restored.size == (40, 32)


def test_the_tasks_name_changes_nothing_for_it_detects_the_damage(restorer):
    assert restorer.task_note == "detected by the model" and restorer.tasks == TASKS
    pictures = [np.array(restorer.restore(photo(), task, nfe=1)) for task in TASKS]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_what_it_sees_in_the_photo_reaches_the_network(restorer):
    """The first prediction, computed apart from the restorer."""
    image = mrs.degrade(torch.rand(3, 48, 40), "noisy", 0.5, torch.Generator().manual_seed(0))
    start, first = list(restorer.trajectory(image, "noisy", solver="ddim", nfe=2))[:2]
    contexts = restorer.conditioning(image, "noisy")
    noise = restorer.checkpoint.denoiser.network(start.x, image[None], 100.0, **contexts)
    process = restorer.process
    sigma, alpha = process.sigma(100.0), process.alpha(100.0)
    expected = image + (start.x - image - sigma * noise) / alpha
    # Divided by alpha_T = 0.005: rounding of about 1e-5 in the noise.
    scale = expected.abs().max().item()
    torch.testing.assert_close(first.x0, expected, rtol=0, atol=1e-4 * scale)


def test_a_race_that_shares_evaluations_is_the_race_that_does_not(restorer):
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    entrants = [{"solver": "mrs-ode-d-2", "nfe": 2}, {"solver": "posterior", "nfe": 4}]
    apart = list(restorer.race(image, "hazy", entrants, seed=3))
    calls = []
    network = restorer.checkpoint.denoiser.network
    handle = network.register_forward_hook(lambda _, given, output: calls.append(len(output)))
    restorer.batches = True
    try:
        together = list(restorer.race(image, "hazy", entrants, seed=3))
    finally:
        restorer.batches = False
        handle.remove()
    assert calls == [2, 2, 1, 1] and len(together) == len(apart) == 5
    for a, b in zip(together, apart, strict=True):
        for left, right in zip(a, b, strict=True):
            assert left.nfe == right.nfe
            assert relative_error(left.x, right.x) < 1e-4


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path):
    network = mrs.networks.IRSDEUNet(
        nf=32, ch_mult=(1, 2), context_dim=None, use_degra_context=False, use_image_context=False
    )
    torch.save(network.state_dict(), tmp_path / "deraining.pth")
    loaded = mrs.load(tmp_path / "deraining.pth", architecture="irsde-unet", max_sigma=10)
    assert loaded.process.sigma_inf == pytest.approx(10 / 255)
    assert loaded.task_note and loaded.restore(photo(), "rainy", nfe=2).size == (40, 32)
    with pytest.raises(ValueError, match="max_sigma: only for a file without a card"):
        mrs.load("bundled", max_sigma=10)
