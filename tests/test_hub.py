"""The published checkpoint, from a hub on this machine that holds the small reference networks."""

import json
import shutil

import pytest
import torch
from fake_hub import FakeHub, encoder_file, network_file, saved
from published import recorded, relative_error

from mrsampler import TASKS, MeanRevertingSDE, checkpoints, hub

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
    assert not hub.folder("daclip-uir").exists()


def test_without_a_network_a_copy_put_there_by_hand_is_used(offline, contents):
    folder = hub.folder("daclip-uir")
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(contents[NETWORK])
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
