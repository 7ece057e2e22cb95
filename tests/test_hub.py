"""The published checkpoint, from a hub on this machine that holds the small reference networks."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fake_hub import FakeHub, encoder_file, network_file, saved
from PIL import Image
from published import recorded, relative_error

import mrsampler as mrs
from mrsampler import SOLVERS, TASKS, MeanRevertingSDE, checkpoints, hub

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
    process = MeanRevertingSDE(**published.process)
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
    assert card["source"] == {"repository": REPOSITORY, "revision": "main"}


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


def test_a_conversion_cut_short_is_made_again(served):
    checkpoints.read("daclip-uir")
    folder = hub.folder("daclip-uir")
    (folder / "daclip-uir.json").unlink()
    assert checkpoints.read("daclip-uir").name == "daclip-uir"
    assert json.loads((folder / "daclip-uir.json").read_text())["architecture"] == "irsde-unet"
    (folder / "daclip-uir.safetensors").unlink()
    assert checkpoints.read("daclip-uir").name == "daclip-uir"


def test_an_encoder_lost_from_the_folder_is_missed_by_name(served):
    checkpoints.read("daclip-uir")
    (hub.folder("daclip-uir") / "daclip-uir.encoder.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"daclip-uir\.encoder\.safetensors is missing"):
        checkpoints.read("daclip-uir")


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
