"""Other people's weight files: read for what they hold, or refused with what is wrong."""

import gc

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mrsampler import state_dict

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def linear():
    return nn.Linear(3, 2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"params": {f"module.{name}": v for name, v in weights.items()}},
        lambda weights: {"model": {f"_orig_mod.{name}": v for name, v in weights.items()}},
        lambda weights: {f"module._orig_mod.{name}": v for name, v in weights.items()},
        lambda weights: {f"netG.{name}": v for name, v in weights.items()},
        lambda weights: {"state_dict": {f"model.{n}": v for n, v in weights.items()}, "loops": {}},
        lambda weights: {"ema": {"state_dict": weights}, "step": torch.tensor(3)},
        lambda weights: {"ema": {"decay": 0.9}, "model_state_dict": weights},
    ],
    ids=[
        "bare",
        "data parallel",
        "training state",
        "both",
        "compiled",
        "compiled and parallel",
        "generator",
        "lightning",
        "average",
        "no average",
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_what_training_wraps_around_the_weights_is_taken_off(tmp_path, wrap, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(WEIGHTS), path)
    read = state_dict.read(path)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_of_several_sets_the_averaged_one_is_taken_and_said_to_be(tmp_path):
    other = {name: value + 1 for name, value in WEIGHTS.items()}
    torch.save({"params": other, "params_ema": WEIGHTS}, tmp_path / "both.pth")
    with pytest.warns(UserWarning, match=r"weights under params_ema are taken, not params$"):
        read = state_dict.read(tmp_path / "both.pth")
    assert torch.equal(read["weight"], WEIGHTS["weight"])


def test_the_old_format_and_safetensors_are_read_too(tmp_path):
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(WEIGHTS, tmp_path / "new.safetensors")
    for name in ("old.pth", "new.safetensors"):
        assert torch.equal(state_dict.read(tmp_path / name)["weight"], WEIGHTS["weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_a_file_cut_short_anywhere_is_refused_by_name(tmp_path, suffix, share):
    path = tmp_path / f"weights{suffix}"
    many = {f"layer{i}": torch.randn(100) for i in range(10)}
    (save_file if suffix == ".safetensors" else torch.save)(many, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=rf"weights{suffix} is damaged, cut short"):
        state_dict.read(path)


def test_a_single_flipped_bit_is_found(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"layer": torch.zeros(10_000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["layer"].any()  # torch does not look
    with pytest.raises(ValueError, match="does not match its checksum"):
        state_dict.read(path)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>" * 20, b"\x80\x02}q\x00."])
def test_what_is_no_file_of_weights_is_refused(tmp_path, content):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"page\.pth (is damaged|holds no weights)"):
        state_dict.read(path)


@pytest.mark.parametrize(
    "content, why",
    [
        ({}, "holds no weights by name"),
        ([torch.zeros(2)], "holds no weights by name"),
        ({"net": {"weight": 1}, "epoch": 3}, "holds no weights by name, but net, epoch"),
        ({"weight": torch.zeros(2), "epoch": 3}, "holds more than weights by name: epoch"),
        ({"weight": torch.eye(2).to_sparse()}, "holds sparse weights: weight"),
        (
            {"model.weight": torch.zeros(2), "netG.weight": torch.zeros(2)},
            r"holds more than one network: model\.weight, netG\.weight",
        ),
    ],
)
def test_other_content_is_refused(tmp_path, content, why):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=why):
        state_dict.read(tmp_path / "other.pt")


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_a_file_is_run(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save(WEIGHTS | {"trap": Trap(sprung)}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"holds more than tensors: (_?io\.)?open, which would"):
        state_dict.read(tmp_path / "trap.pth")
    assert not sprung.exists()


def test_a_whole_network_in_a_file_is_refused_without_advice_to_run_it(tmp_path):
    torch.save(linear(), tmp_path / "network.pth")
    with pytest.raises(ValueError) as raised:
        state_dict.read(tmp_path / "network.pth")
    why = str(raised.value)
    assert "network.pth holds more than tensors: torch.nn.modules.linear.Linear" in why
    assert why.endswith("save the network's state_dict() alone")
    assert not any(word in why for word in ("\x1b", "weights_only", "safe_globals", "trust"))


def test_a_damaged_file_behind_a_link_is_named_with_what_the_link_leads_to(tmp_path):
    (tmp_path / "blob").write_bytes(b"cut")
    (tmp_path / "weights.pth").symlink_to(tmp_path / "blob")
    with pytest.raises(ValueError, match=r"weights\.pth is damaged.*; delete .*/blob and get it"):
        state_dict.read(tmp_path / "weights.pth")


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_no_file_is_left_open_and_a_network_outlives_its_file(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS, path)
    network = linear()
    state_dict.fill(network, state_dict.read(path))
    gc.collect()
    path.write_bytes(b"")
    assert torch.equal(network.weight, WEIGHTS["weight"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.pth"):
        state_dict.read(tmp_path / "nowhere.pth")


def test_a_network_takes_all_weights_in_float32():
    network = linear()
    state_dict.fill(network, {name: value.half() for name, value in WEIGHTS.items()})
    assert torch.equal(network.weight, WEIGHTS["weight"]) and network.weight.dtype == torch.float32


@pytest.mark.parametrize(
    "weights, why",
    [
        ({"weight": WEIGHTS["weight"]}, "1 of its 2 weights are missing: bias"),
        (
            WEIGHTS | {"bias": torch.zeros(5)},
            r"are of another shape: bias \(5,\) instead of \(2,\)",
        ),
        (WEIGHTS | {"scale": torch.zeros(1)}, "1 more belong to something else: scale"),
        ({}, "2 of its 2 weights are missing: weight, bias"),
        (
            {f"x{i}": torch.zeros(1) for i in range(8)},
            "2 of .* missing: weight, bias; 8 more .*: x0, x1, x2, x3, x4 and 3 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed_and_none_is_taken(weights, why):
    network = linear()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=why):
        state_dict.fill(network, weights)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
