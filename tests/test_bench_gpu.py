"""`bench gpu` on the device that there is."""

import json

import pytest
import torch

from mrsampler import cli
from mrsampler.bench.gpu import device_costs
from mrsampler.networks import IRSDEUNet

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def tiny():
    return IRSDEUNet(nf=32, ch_mult=(1, 2), context_dim=8, use_image_context=False)


@pytest.mark.parametrize("device", DEVICES)
def test_each_side_has_a_row_of_what_can_be_measured_there(device):
    network, calls = tiny(), []
    network.register_forward_hook(lambda _, given, output: calls.append(tuple(output.shape)))
    rows = list(device_costs(torch.device(device), [32, 48], nfe=3, repeats=2, network=network))
    assert [row["side"] for row in rows] == [32, 48]
    measured = {"side", "eager", "autocast", "pair", "own", "frames"}
    measured |= {"graph", "peak"} if device == "cuda" else set()
    for row in rows:
        assert row.keys() == measured and all(value > 0 for value in row.values())
        assert row["own"] < 1
    assert {(1, 3, 32, 32), (2, 3, 32, 32), (1, 3, 48, 48)} <= set(calls)


def test_without_a_gpu_it_measures_the_cpu_and_says_so(capsys, tmp_path):
    options = ["--device", "cpu", "--sides", "32", "--nfe", "1", "--repeats", "1"]
    assert cli.main(["bench", "gpu", *options, "--out", str(tmp_path / "costs.json")]) == 0
    printed = capsys.readouterr().out
    assert "Measured on the CPU, not a GPU with CUDA: small settings, no graph" in printed
    cells = [cell.strip() for cell in printed.splitlines()[4].strip("|").split("|")]
    assert cells[0] == "32" and float(cells[1]) > 0
    assert cells[3] == cells[7] == ""  # no graph, no count of its memory
    written = json.loads((tmp_path / "costs.json").read_text())
    assert written["settings"]["parameters"] == 48_975_747
    assert written["settings"]["nfe"] == 1 and len(written["rows"]) == 1


@pytest.mark.parametrize(
    "options, why", [(["--sides", "16"], "from 32"), (["--device", "cuda:9"], "no device 'cuda:9'")]
)
def test_settings_that_cannot_be_are_refused_in_one_line(capsys, options, why):
    assert cli.main(["bench", "gpu", *options]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1
