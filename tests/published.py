"""The reference networks: small ones of the published architectures, with what they return."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from mrsampler import state_dict
from mrsampler.networks import DACLIPImageEncoder, IRSDEUNet

REFERENCE = Path(__file__).parent / "reference"


@cache
def recorded(name):
    """A recorded network's config, its weights, and its inputs and outputs."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    config = json.loads(str(arrays.pop("config")))
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    weights = {key[2:]: value for key, value in tensors.items() if key.startswith("w:")}
    return config, weights, {key: v for key, v in tensors.items() if not key.startswith("w:")}


def made(kind, name):
    config, weights, _ = recorded(name)
    network = kind(**config).eval().requires_grad_(False)
    state_dict.fill(network, weights)
    return network


def unet():
    return made(IRSDEUNet, "universal_ir_tiny")


def encoder():
    return made(DACLIPImageEncoder, "daclip_tiny")


def names_and_shapes(name):
    """Every parameter of a published file, by name, with its shape."""
    shapes = json.loads((REFERENCE / f"{name}.json").read_text())
    return {key: tuple(shape) for key, shape in shapes.items()}


def relative_error(value, expected):
    """The largest error, over the largest of what was expected."""
    return ((value.double() - expected.double()).abs().max() / expected.abs().max()).item()
