"""The core works where `pip install mrsampler` has brought no page, no hub and no bench."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# By the names they are imported under; what these need themselves is left where it is.
NOT_CORE = (
    "gradio",
    "plotly",
    "orjson",
    "threadpoolctl",
    "sklearn",
    "huggingface_hub",
    "matplotlib",
    "diffusers",
    "playwright",
)
BLOCKED = f"""
import sys

class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {NOT_CORE}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked)
"""


def alone(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-c", f"{BLOCKED}\n{code}"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_core_lists_degrades_and_restores_without_the_page(tmp_path):
    run = alone(
        """
import torch
import mrsampler as mrs
from PIL import Image
from mrsampler import cli
photo = Image.effect_noise((48, 40), 60).convert("RGB")
photo.save("photo.png")
assert cli.main(["list"]) == 0
assert cli.main(["degrade", "photo.png", "--task", "noisy", "--out", "noisy.png"]) == 0
assert cli.main(["restore", "noisy.png", "--task", "noisy", "--nfe", "2", "--device", "cpu",
                 "--out", "restored.png"]) == 0
steps = list(mrs.load("bundled", "cpu").trajectory(torch.rand(3, 32, 32), "noisy", nfe=1))
assert len(steps) == 2
from mrsampler import optimise, training
from mrsampler.bench import accuracy, order, prediction, quality, speedup
""",
        tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert {"noisy.png", "restored.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "daclip-uir" in run.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["serve"], 'gradio is not installed; it comes with: pip install "mrsampler[page]"'),
        (
            ["restore", "photo.png", "--task", "noisy", "--checkpoint", "daclip-uir"],
            'huggingface_hub is not installed; it comes with: pip install "mrsampler[hub]"',
        ),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence_with_what_to_install(command, sentence, tmp_path):
    (tmp_path / "photo.png").touch()
    run = alone(f"from mrsampler import cli\nsys.exit(cli.main({command!r}))", tmp_path)
    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("mrsampler: error: ") and line.endswith(sentence)


def test_the_live_projection_says_what_it_needs(tmp_path):
    run = alone(
        """
import torch
import mrsampler as mrs
frames = mrs.TrajectoryPCA(torch.zeros(3, 4, 4))
for i in range(3):
    frames.add("a", torch.rand(3, 4, 4))
frames.project(2)
""",
        tmp_path,
    )
    assert run.stderr.splitlines()[-1].endswith('pip install "mrsampler[page]"')


def test_the_extras_and_the_core_are_disjoint_and_the_core_pins_no_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {line.partition(">=")[0] for line in project["dependencies"]}
    assert core == {"torch", "numpy", "scipy", "safetensors", "pillow", "tqdm"}
    assert not [line for line in project["dependencies"] if "==" in line]
    assert set(project["optional-dependencies"]) == {"page", "train", "hub", "bench", "peers"}
    for extra in project["optional-dependencies"].values():
        assert not core & {line.partition(">=")[0] for line in extra}


def test_a_type_checker_reads_the_packages_types():
    assert (ROOT / "mrsampler" / "py.typed").is_file()
