"""The published architectures: their names and shapes, and their recorded outputs to rounding."""

import math

import pytest
import torch
import torch.nn.functional as F
from published import encoder, made, names_and_shapes, recorded, relative_error, unet
from torch import nn

from mrsampler.networks import DACLIPImageEncoder, IRSDEUNet
from mrsampler.networks.irsde_unet import Attention, ChannelNorm, LinearAttention

# Rounding is 6e-6 on a CPU; without the degradation's context the output moves by 7e-5.
CLOSE = 3e-5
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request):
    # Otherwise a GPU multiplies float32 with 10 bits.
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield request.param


def evaluate(network, device, batch=slice(None), t=None):
    recording = recorded("universal_ir_tiny")[2]
    names = ("xt", "mu", "t", "degradation_context", "image_context")
    given = [recording[name][batch].to(device) for name in names]
    if t is not None:
        given[2] = t
    network = network.to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        return network(*given).cpu()


def test_the_u_net_returns_what_was_recorded(device):
    recording = recorded("universal_ir_tiny")[2]
    assert relative_error(evaluate(unet(), device), recording["out"]) < CLOSE


def test_the_u_net_takes_t_as_a_number_too(device):
    recording = recorded("universal_ir_tiny")[2]
    out = evaluate(unet(), device, slice(1), recording["t_scalar"].item())
    assert relative_error(out, recording["out_scalar"]) < CLOSE


def deviation(value, expected):
    """Root mean square, over that of what was expected: a single pixel of random weights says less.

    The small network's reach 4 in 100.
    """
    value, expected = value.double().cpu(), expected.double().cpu()
    return ((value - expected).norm() / expected.norm()).item()


def test_the_u_net_returns_it_under_autocast_to_2_in_100(device):
    recording = recorded("universal_ir_tiny")[2]
    with torch.autocast(device, IRSDEUNet.AUTOCAST):
        out = evaluate(unet(), device)
        scalar = evaluate(unet(), device, slice(1), recording["t_scalar"].item())
    assert out.dtype == torch.float32
    assert 1e-4 < deviation(out, recording["out"]) < 2e-2  # it was rounded at all
    assert deviation(scalar, recording["out_scalar"]) < 2e-2


@pytest.mark.parametrize("size", [(16, 16), (48, 32), (37, 61), (64, 80), (17, 100)])
def test_at_any_size_float32_is_float64_to_rounding_and_autocast_to_2_in_100(size, device):
    generator = torch.Generator().manual_seed(0)
    x, mu = torch.rand(2, 1, 3, *size, generator=generator).to(device)
    contexts = torch.randn(2, 1, 48, generator=generator).to(device)
    network = unet().to(device)
    with torch.no_grad():
        out = network(x, mu, 40.0, *contexts)
        with torch.autocast(device, IRSDEUNet.AUTOCAST):
            rounded = network(x, mu, 40.0, *contexts)
        exact = network.double()(x.double(), mu.double(), 40.0, *contexts.double())
    assert out.shape == x.shape and relative_error(out, exact) < 1e-5
    assert deviation(rounded, exact) < 2e-2


def test_the_published_sizes_network_stays_within_1_in_100_under_autocast(device):
    """With random weights, and with few of its multiply-adds kept in float32."""
    torch.manual_seed(0)
    network = IRSDEUNet().eval().requires_grad_(False).to(device)
    x, mu = torch.rand(2, 1, 3, 32, 32, device=device)
    contexts = torch.randn(2, 1, 512, device=device)
    exact = network(x, mu, 40.0, *contexts)
    cost = {torch.float32: 0, torch.bfloat16: 0}

    def count(layer, given, output):
        channels = 1 if isinstance(layer, nn.Conv2d) else -1
        cost[output.dtype] += output.numel() // output.shape[channels] * layer.weight.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.autocast(device, IRSDEUNet.AUTOCAST):
        rounded = network(x, mu, 40.0, *contexts)
    assert 1e-4 < deviation(rounded, exact) < 1e-2
    assert cost[torch.float32] < 0.25 * sum(cost.values())


def test_sizes_that_do_not_divide_are_reflected_to_ones_that_do():
    generator = torch.Generator().manual_seed(0)
    x, mu = torch.rand(2, 1, 3, 40, 50, generator=generator)
    contexts = torch.randn(2, 1, 48, generator=generator)
    network = unet()
    whole = [F.pad(image, (0, 14, 0, 8), mode="reflect") for image in (x, mu)]
    out = network(x, mu, 40.0, *contexts)
    torch.testing.assert_close(out, network(*whole, 40.0, *contexts)[..., :40, :50])


def test_the_u_nets_rows_of_a_batch_know_nothing_of_each_other():
    network, (_, _, recording) = unet(), recorded("universal_ir_tiny")
    out = evaluate(network, "cpu", slice(1, 2))
    assert relative_error(out, recording["out"][1:]) < CLOSE


def test_a_context_that_is_missing_or_too_much_is_refused():
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"was made for degradation_context=True.*got False"):
        unet()(x, x, 1.0)
    alone = IRSDEUNet(
        nf=32, ch_mult=(1, 2), context_dim=None, use_degra_context=False, use_image_context=False
    )
    assert alone(x, x, 1.0).shape == x.shape
    with pytest.raises(ValueError, match=r"image_context=False; got True, False"):
        alone(x, x, 1.0, torch.zeros(1, 48))


def test_both_contexts_reach_the_output():
    network, x = unet(), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    contexts = torch.zeros(2, 1, 48)
    out = network(x, x, 30.0, *contexts)
    for which in range(2):
        changed = contexts.clone()
        changed[which, :, ::2] = 5.0
        assert relative_error(network(x, x, 30.0, *changed), out) > CLOSE


def test_channel_norm_makes_each_pixels_channels_of_mean_0_and_variance_1():
    x = torch.randn(2, 32, 4, 5, generator=torch.Generator().manual_seed(0)) * 7 + 3
    norm = ChannelNorm(32)
    norm.g.data *= 2
    out = norm(x) / 2
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 4, 5), rtol=0, atol=1e-5)
    # Short of 1 by the 1e-5 that is added to a variance of about 49.
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(2, 4, 5), rtol=0, atol=1e-5)


def test_linear_attention_is_its_formula():
    torch.manual_seed(0)
    attention, x = LinearAttention(16, heads=2).double(), torch.randn(1, 16, 3, 5).double()
    q, k, v = attention.to_qkv(x).reshape(3, 2, 32, 15)
    expected = torch.zeros(2, 32, 15).double()
    for head in range(2):
        queries, keys = q[head].softmax(0) / math.sqrt(32), k[head].softmax(1)
        for n in range(15):
            for m in range(15):
                expected[head, :, n] += queries[:, n] @ keys[:, m] * v[head, :, m] / 15
    torch.testing.assert_close(attention(x), attention.to_out(expected.reshape(1, 64, 3, 5)))


def test_attention_is_its_formula_and_over_one_token_that_tokens_value():
    torch.manual_seed(0)
    attention = Attention(64, 48, heads=2).double()
    x, contexts = torch.randn(1, 7, 64).double(), torch.randn(1, 5, 48).double()
    for context in (contexts, contexts[:, :1]):
        out = []
        for head in range(2):
            rows = slice(32 * head, 32 * head + 32)
            q = x[0] @ attention.to_q.weight[rows].T
            k = context[0] @ attention.to_k.weight[rows].T
            v = context[0] @ attention.to_v.weight[rows].T
            out.append((q @ k.T / math.sqrt(32)).softmax(-1) @ v)
        expected = attention.to_out(torch.cat(out, -1)[None])
        torch.testing.assert_close(attention(x, context).expand(1, 7, 64), expected)


def test_the_default_u_net_has_the_published_files_names_and_shapes():
    with torch.device("meta"):
        network = IRSDEUNet()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == names_and_shapes("universal_ir_keys")
    assert sum(value.numel() for value in network.parameters()) == 48_975_747


def test_the_default_encoder_has_the_published_files_names_and_shapes():
    with torch.device("meta"):
        network = DACLIPImageEncoder()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    published = names_and_shapes("daclip_vit_b_32_image_keys")
    # The file names the image tower twice.
    twice = {name: shape for name, shape in published.items() if name.startswith("visual.")}
    assert shapes == {name: published[name] for name in published if name not in twice}
    assert twice.items() <= {name.removeprefix("clip."): s for name, s in shapes.items()}.items()


@pytest.mark.parametrize(
    "kind, name",
    [(IRSDEUNet, "universal_ir_keys"), (DACLIPImageEncoder, "daclip_vit_b_32_image_keys")],
)
def test_the_published_settings_are_read_off_the_shapes(kind, name):
    shapes = names_and_shapes(name)
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with torch.device("meta"):
        assert kind.infer_config(weights) == kind().config


def test_the_settings_of_other_u_nets_are_read_off_theirs():
    single_task = {
        "in_nc": 3,
        "out_nc": 3,
        "nf": 64,
        "ch_mult": [2, 4, 8, 16],
        "context_dim": None,
        "use_degra_context": False,
        "use_image_context": False,
    }
    image_only = single_task | {"context_dim": 32, "use_image_context": True}
    degradation_only = single_task | {"context_dim": 16, "use_degra_context": True}
    three_levels = single_task | {"nf": 32, "ch_mult": [1, 2, 2]}
    for config in (single_task, image_only, degradation_only, three_levels):
        with torch.device("meta"):
            weights = IRSDEUNet(**config).state_dict()
        assert IRSDEUNet.infer_config(weights) == config
    assert IRSDEUNet.infer_config(recorded("universal_ir_tiny")[1]) == unet().config


@pytest.mark.parametrize("kind", [IRSDEUNet, DACLIPImageEncoder])
def test_what_is_no_such_file_lacks_named_weights(kind):
    with pytest.raises(ValueError, match=r"lacks .*conv1?\.weight, .*; it holds weight"):
        kind.infer_config({"weight": torch.zeros(3)})


def test_the_encoder_returns_what_was_recorded(device):
    recording = recorded("daclip_tiny")[2]
    network = encoder().to(device)
    with torch.no_grad():
        shown, wrong = network(recording["image"].to(device))
    assert relative_error(shown.cpu(), recording["image_features"]) < CLOSE
    assert relative_error(wrong.cpu(), recording["degradation_features"]) < CLOSE
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        shown, wrong = network(recording["image"].to(device))
    assert relative_error(shown.cpu(), recording["image_features"]) < 2e-2
    assert relative_error(wrong.cpu(), recording["degradation_features"]) < 2e-2


def test_before_training_the_controller_changes_nothing():
    config = recorded("daclip_tiny")[0]
    torch.manual_seed(0)
    network = DACLIPImageEncoder(**config).eval()
    image = torch.randn(1, 3, 64, 64)
    shown, _ = network(image)
    with torch.no_grad():
        network.visual_control.conv1.weight.zero_()
    torch.testing.assert_close(network(image)[0], shown)
    assert made(DACLIPImageEncoder, "daclip_tiny").config == config
