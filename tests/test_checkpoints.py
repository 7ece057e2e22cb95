"""Weights on disk and back, or a precise refusal."""

import json

import published
import pytest
import torch
from published import recorded, relative_error
from safetensors.torch import load_file, save_file

import mrsampler as mrs
from mrsampler import TASKS, MeanRevertingSDE, checkpoints
from mrsampler.networks import IRSDEUNet, LightDenoiser

SMALL = {"channels": (8, 12), "blocks": (1, 1), "embedding": 16}


def network(seed=0, **settings):
    torch.manual_seed(seed)
    made = LightDenoiser(MeanRevertingSDE(), SMALL, **SMALL | settings)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def card(of, **changes):
    return {
        "architecture": "light-denoiser",
        "config": of.config,
        "target": "data",
        "process": {"max_sigma": 50 / 255, "schedule": "cosine", "num_steps": 100},
        "tasks": list(TASKS),
    } | changes


@pytest.fixture
def saved(tmp_path):
    of = network()
    path = tmp_path / "mine.safetensors"
    checkpoints.save(path, of, card(of))
    return path, of


@pytest.mark.parametrize("target", ["data", "noise"])
def test_a_network_comes_back_with_the_process_and_the_target_it_goes_by(tmp_path, target):
    process = {"max_sigma": 30 / 255, "schedule": "linear", "num_steps": 50}
    of, path = network(), tmp_path / "mine.safetensors"
    checkpoints.save(path, of, card(of, target=target, process=process))
    back = checkpoints.read(path)
    assert back.process.sigma_inf == pytest.approx(30 / 255) and back.process.T == 50
    assert back.denoiser.network.process is back.process
    assert back.denoiser.network.target == back.denoiser.target == target


def test_a_residual_network_goes_by_a_sigma_data_that_the_card_says(tmp_path):
    path, of = tmp_path / "mine.safetensors", IRSDEUNet(**SINGLE_TASK)
    said = card(of, architecture="irsde-unet", target="residual", sigma_data=0.02)
    checkpoints.save(path, of, said)
    denoiser = mrs.load(path, "cpu").denoiser
    assert (denoiser.target, denoiser.sigma_data) == ("residual", 0.02)
    del said["sigma_data"]
    checkpoints.save(path, of, said)
    with pytest.raises(ValueError, match="needs a sigma_data > 0"):
        checkpoints.read(path)


def rewrite(path, **changes):
    card_path = path.with_suffix(".json")
    card_path.write_text(json.dumps(json.loads(card_path.read_text()) | changes))


def test_a_checkpoint_comes_back_to_half_precision(saved):
    path, of = saved
    assert {weights.dtype for weights in load_file(path).values()} == {torch.float16}
    back = checkpoints.read(path)
    for name, value in of.state_dict().items():
        # Half precision has 11 bits; below 6.1e-5 its steps stay 6e-8.
        got = back.denoiser.network.state_dict()[name]
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, value, rtol=2**-11, atol=3e-8)
    assert (back.name, back.denoiser.target, back.tasks) == ("mine", "data", TASKS)
    assert back.process.sigma_inf == pytest.approx(50 / 255) and back.process.T == 100
    assert back.card["config"]["channels"] == [8, 12]


def test_what_is_read_is_ready_to_be_called_and_not_to_be_trained(saved):
    path, of = saved
    read = checkpoints.read(path).denoiser.network
    assert not read.training and not any(p.requires_grad for p in read.parameters())
    x, mu = torch.rand(2, 1, 3, 32, 32)
    expected = of(x, mu, 20.0, 3)
    # Weights are off by 2^-12 of themselves, two dozen layers deep.
    torch.testing.assert_close(read(x, mu, 20.0, 3), expected, rtol=0, atol=5e-3)


def test_only_whole_files_are_ever_in_place_and_nothing_else_is_left(saved):
    path, of = saved
    checkpoints.save(path, of, card(of, target="noise"))
    assert sorted(p.name for p in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]
    assert checkpoints.read(path).denoiser.target == "noise"


def test_a_save_cut_short_leaves_the_old_weights(saved, monkeypatch):
    path, of = saved
    before = path.read_bytes()

    def cut_short(weights, target):
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_file", cut_short)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(path, network(1), card(of))
    assert path.read_bytes() == before
    checkpoints.read(path)


def test_the_suffix_may_be_left_out(saved):
    path, _ = saved
    assert checkpoints.read(path.with_suffix("")).name == "mine"
    assert checkpoints.read(str(path)).name == "mine"


@pytest.mark.parametrize("name", ["model-v1.5", "bundled", "a.b.c"])
def test_a_name_with_dots_is_found_by_path_and_by_name(tmp_path, monkeypatch, name):
    of = network()
    checkpoints.save(tmp_path / f"{name}.safetensors", of, card(of))
    assert checkpoints.read(tmp_path / name).name == name
    assert checkpoints.read(tmp_path / f"{name}.safetensors").name == name
    monkeypatch.setattr(checkpoints, "_HOMES", (tmp_path,))
    assert checkpoints.names() == [name]
    assert checkpoints.read(name).name == name
    assert checkpoints.read(f"{name}.safetensors").name == name


def test_one_name_is_never_taken_for_another(tmp_path, monkeypatch):
    of = network()
    checkpoints.save(tmp_path / "model.safetensors", of, card(of))
    monkeypatch.setattr(checkpoints, "_HOMES", (tmp_path,))
    for name in ("model.v2", "model.pt", "mode", "model.json"):
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            checkpoints.read(name)


def test_the_default_is_the_first_of_the_names(tmp_path, monkeypatch):
    of = network()
    for name in ("zebra", "bundled", "ant"):
        checkpoints.save(tmp_path / f"{name}.safetensors", of, card(of))
    monkeypatch.setattr(checkpoints, "_HOMES", (tmp_path,))
    assert checkpoints.names() == ["bundled", "ant", "zebra"]


def test_the_bundled_ones_keep_to_the_size_that_each_is_allowed():
    for name, most, size in (
        ("bundled", 4e6, 8e6),
        ("bundled-noise", 4e6, 8e6),
        ("bundled-light", 5.5e6, 11.1e6),
    ):
        weights = checkpoints.read(name).denoiser.network.parameters()
        assert sum(weight.numel() for weight in weights) <= most
        assert checkpoints._locate(name).stat().st_size <= size


def test_a_missing_checkpoint_is_named_with_those_there_are(tmp_path, monkeypatch):
    of = network()
    checkpoints.save(tmp_path / "bundled.safetensors", of, card(of))
    monkeypatch.setattr(checkpoints, "_HOMES", (tmp_path,))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'nothing'.*bundled"):
        checkpoints.read("nothing")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        checkpoints.read(tmp_path / "nowhere.safetensors")


def test_weights_without_a_card_say_which_is_missing(saved):
    path, _ = saved
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no card: mine\.json is missing"):
        checkpoints.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"card"', "{}", "\x00\x01"])
def test_a_card_that_is_no_card_is_refused(saved, text):
    path, _ = saved
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"the card mine\.json (cannot be used|is damaged)"):
        checkpoints.read(path)


def test_a_card_that_is_not_text_is_refused(saved):
    path, _ = saved
    path.with_suffix(".json").write_bytes(b"\xff\xfe\x80card")
    with pytest.raises(ValueError, match=r"the card mine\.json (cannot be used|is damaged)"):
        checkpoints.read(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "transformer"},
        {"architecture": ["light-denoiser"]},
        {"config": {"width": 3}},
        {"config": [1, 2]},
        {"config": {"channels": [8], "blocks": [1, 1]}},
        {"config": {"reader": {"channels": [8], "blocks": [1, 1]}}},
        {"config": {"reader": SMALL, "channels": [8], "blocks": [1]}},
        {"process": {"schedule": "cubic"}},
        {"process": {"speed": 1}},
        {"process": None},
        {"target": "score"},
        {"target": None},
        {"tasks": None},
        {"tasks": 3},
    ],
    ids=str,
)
def test_a_card_that_says_what_cannot_be_is_refused_and_named(saved, changes):
    path, _ = saved
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=r"mine"):
        checkpoints.read(path)


@pytest.mark.parametrize("key", ["architecture", "config", "target", "process", "tasks"])
def test_a_card_that_lacks_something_names_it(saved, key):
    path, _ = saved
    card_path = path.with_suffix(".json")
    content = json.loads(card_path.read_text())
    del content[key]
    card_path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=key):
        checkpoints.read(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_weights_are_refused(saved, damage):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "noise": b"\x07" * 5000}[damage]
    )
    with pytest.raises(ValueError, match=r"mine\.safetensors does not hold the weights"):
        checkpoints.read(path)


@pytest.mark.parametrize("damage", ["shape", "missing", "extra"])
def test_weights_of_another_architecture_are_refused_whole(saved, damage):
    path, of = saved
    weights = load_file(path)
    if damage == "shape":
        checkpoints.save(path, network(channels=(8, 16)), card(of))
    elif damage == "missing":
        weights.pop("reader.straight.bias")
        save_file(weights, path)
    else:
        save_file(weights | {"tail.bias": torch.zeros(3)}, path)
    named = {"shape": "of another shape", "missing": "reader.straight.bias", "extra": "tail.bias"}[
        damage
    ]
    with pytest.raises(ValueError, match=f"does not hold the weights.*{named}"):
        checkpoints.read(path)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_loaded_whatever_its_name(saved, tmp_path):
    path, of = saved
    sprung = tmp_path / "sprung"
    torch.save({"weights": of.state_dict(), "trap": Trap(sprung)}, path)
    with pytest.raises(ValueError, match="does not hold the weights"):
        checkpoints.read(path)
    torch.save({"trap": Trap(sprung)}, tmp_path / "other.pt")
    with pytest.raises((FileNotFoundError, ValueError)):
        checkpoints.read(tmp_path / "other.pt")
    assert not sprung.exists()


def test_the_bundled_checkpoint_if_any_can_be_read():
    for name in checkpoints.names():
        assert checkpoints.read(name).tasks == TASKS


SINGLE_TASK = {
    "nf": 32,
    "ch_mult": (1, 2),
    "context_dim": None,
    "use_degra_context": False,
    "use_image_context": False,
}


@pytest.fixture
def adopted(tmp_path):
    """A single-task network in a file as its authors keep it, without a card."""
    torch.manual_seed(0)
    of = IRSDEUNet(**SINGLE_TASK)
    torch.save({f"module.{n}": value for n, value in of.state_dict().items()}, tmp_path / "ir.pth")
    return tmp_path / "ir.pth", of


def test_a_file_without_a_card_is_adopted_with_settings_read_off_its_shapes(adopted):
    path, of = adopted
    checkpoint = checkpoints.adopt(path, architecture="irsde-unet", max_sigma=10)
    back = checkpoint.denoiser.network
    assert back.config == of.config and not back.training
    for name, value in of.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    assert (checkpoint.name, checkpoint.denoiser.target) == ("ir", "noise")
    assert checkpoint.tasks == TASKS and checkpoint.encoder is None
    process = checkpoint.process
    assert process.sigma_inf == pytest.approx(10 / 255) and process.zero_start
    assert (process.schedule, process.T) == ("cosine", 100)


def test_what_the_shapes_do_not_say_can_be_said(adopted):
    checkpoint = checkpoints.adopt(
        adopted[0],
        architecture="irsde-unet",
        target="data",
        tasks=["rainy"],
        schedule="linear",
        num_steps=50,
        zero_start=False,
    )
    assert (checkpoint.denoiser.target, checkpoint.tasks) == ("data", ("rainy",))
    assert (checkpoint.process.schedule, checkpoint.process.T) == ("linear", 50)
    assert not checkpoint.process.zero_start


@pytest.mark.parametrize(
    "settings, why",
    [
        ({"architecture": "resnet"}, "unknown architecture 'resnet'; choose from irsde-unet"),
        ({"sigma": 3}, "the mean-reverting process takes no 'sigma'"),
        ({"schedule": "cubic"}, "unknown schedule 'cubic'"),
        ({"target": "score"}, "unknown target 'score'"),
        ({"encoder": "daclip.pt"}, "takes no contexts: leave encoder= out"),
    ],
)
def test_settings_that_do_not_fit_a_file_are_refused(adopted, settings, why):
    with pytest.raises(ValueError, match=why):
        checkpoints.adopt(adopted[0], **{"architecture": "irsde-unet"} | settings)


def test_a_network_with_contexts_needs_the_encoder_that_makes_them(tmp_path):
    network, encoder = tmp_path / "network.pth", tmp_path / "encoder.pt"
    torch.save(recorded("universal_ir_tiny")[1], network)
    torch.save(recorded("daclip_tiny")[1], encoder)
    with pytest.raises(ValueError, match="takes contexts of 48 numbers: give their encoder= file"):
        checkpoints.adopt(network, architecture="irsde-unet")
    checkpoint = checkpoints.adopt(network, architecture="irsde-unet", encoder=encoder)
    assert checkpoint.encoder.config["output_dim"] == 48 and not checkpoint.encoder.training
    other = recorded("daclip_tiny")[1].copy()
    for name in ("clip.visual.proj", "visual_control.proj"):
        other[name] = other[name][:, :40]
    torch.save(other, encoder)
    with pytest.raises(ValueError, match=r"makes contexts of 40 numbers, .* takes 48"):
        checkpoints.adopt(network, architecture="irsde-unet", encoder=encoder)


def without(prefix):
    return lambda weights: {n: w for n, w in weights.items() if not n.startswith(prefix)}


def swapped(name, *shape):
    return lambda weights: weights | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    "change, why",
    [
        (
            lambda weights: {"head.weight": torch.zeros(2)},
            r"lacks init_conv\.weight, final_conv\.weight; it holds head\.weight$",
        ),
        (without("downs.1."), r"lacks downs\.1\.3\.weight; it holds .* and \d+ more$"),
        (without("ups.0.0.mlp"), r"2 of its 87 weights are missing: ups\.0\.0\.mlp\.1\.weight, "),
        (swapped("init_conv.weight", 3), r"of no possible shape: init_conv\.weight \(3,\)$"),
        (
            swapped("init_conv.weight", 0, 6, 7, 7),
            r"possible shape: init_conv\.weight \(0, 6, 7, 7",
        ),
        (swapped("downs.x.3.weight", 3), r"1 more belong to something else: downs\.x\.3\.weight$"),
        (
            swapped("downs.99.3.weight", 3, 3),
            r"lacks downs\.2\.3\.weight, .* and 92 more; it holds",
        ),
        (
            swapped("init_conv.weight", 32, 3, 7, 7),
            "takes 3 channels, so not those of x and mu: a network that is told nothing of the",
        ),
    ],
)
def test_a_file_of_another_network_is_refused_with_what_it_lacks(tmp_path, change, why):
    torch.save(change(IRSDEUNet(**SINGLE_TASK).state_dict()), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other\.pth holds no IRSDEUNet: .*{why}"):
        checkpoints.adopt(tmp_path / "other.pth", architecture="irsde-unet")


@pytest.mark.parametrize("channels", [(1, 1), (3, 6), (4, 3)])
def test_a_network_of_other_pictures_than_photos_is_refused_at_once(tmp_path, channels):
    takes, returns = channels
    network = IRSDEUNet(in_nc=takes, out_nc=returns, **SINGLE_TASK)
    torch.save(network.state_dict(), tmp_path / "grey.pth")
    with pytest.raises(
        ValueError, match=f"takes pictures of {takes} channels and returns {returns}"
    ):
        checkpoints.adopt(tmp_path / "grey.pth", architecture="irsde-unet")


def test_the_encoders_heads_can_be_said_and_it_then_returns_what_was_recorded(tmp_path):
    network, encoder = tmp_path / "network.pth", tmp_path / "encoder.pt"
    torch.save(recorded("universal_ir_tiny")[1], network)
    config, weights, recording = recorded("daclip_tiny")
    torch.save(weights, encoder)
    loaded = mrs.load(
        network, "cpu", architecture="irsde-unet", encoder=encoder, encoder_heads=config["heads"]
    )
    shown, wrong = loaded.checkpoint.encoder(recording["image"])
    assert relative_error(shown, recording["image_features"]) < 3e-5
    assert relative_error(wrong, recording["degradation_features"]) < 3e-5
    with pytest.raises(ValueError, match=r"encoder\.pt holds no DACLIP.*: 5 heads cannot share"):
        checkpoints.adopt(network, architecture="irsde-unet", encoder=encoder, encoder_heads=5)


def test_nothing_of_the_published_networks_is_drawn_at_random_to_be_thrown_away(adopted):
    before = torch.get_rng_state()
    checkpoints.adopt(adopted[0], architecture="irsde-unet")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_single_task_may_be_given_as_a_name(adopted):
    checkpoint = checkpoints.adopt(adopted[0], architecture="irsde-unet", tasks="rainy")
    assert checkpoint.tasks == ("rainy",)


def test_a_file_without_a_card_is_told_from_one_that_is_not_there(adopted):
    with pytest.raises(ValueError, match=r"has no card: say with architecture=.*irsde-unet"):
        checkpoints.read(adopted[0])
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.pth"):
        checkpoints.adopt(adopted[0].with_name("nothing.pth"), architecture="irsde-unet")


def test_a_checkpoint_with_an_encoder_comes_back_with_it(tmp_path):
    network, encoder = IRSDEUNet(**recorded("universal_ir_tiny")[0]), published.encoder()
    said = card(network, architecture="irsde-unet", target="noise")
    said["encoder"] = {"architecture": "daclip", "config": encoder.config}
    checkpoints.save(tmp_path / "mine.safetensors", network, said, encoder, torch.float32)
    back = checkpoints.read(tmp_path / "mine").encoder
    assert back.config == encoder.config and not back.training
    for name, value in encoder.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    said["encoder"] = {"architecture": "resnet", "config": {}}
    rewrite(tmp_path / "mine.safetensors", encoder=said["encoder"])
    with pytest.raises(ValueError, match=r"mine\.json cannot be used.*resnet"):
        checkpoints.read(tmp_path / "mine")
