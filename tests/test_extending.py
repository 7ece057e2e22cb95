"""One more solver or process is one more file: here in a copy of the package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mrsampler

TOY_SOLVER = '''
"""Stays where it is."""

from mrsampler.solvers.interface import Solver, State


def stay(model, y, nodes, noise):
    for s, t in zip(nodes, nodes[1:]):
        predicted = model(y, s)
        yield State(y, t, predicted)


SOLVERS = {
    "toy": Solver(
        "Toy", "stays where it is", "Toys", order=0, run=stay, variant="sde-1", stochastic=True
    )
}
'''

TOY_PROCESS = '''
"""A mean-reverting process whose noise level alone is named."""

from mrsampler.processes.base import Parameter, View
from mrsampler.processes.mean_reverting import MeanRevertingSDE


class Toy(MeanRevertingSDE):
    """alpha falls exponentially to 0.01."""

    kind = label = "toy"
    parameters = (Parameter("level", float, 0.5, "Level", "of the noise", low=0),)
    view = View(extent=2.5, settings={"level": 0.3})

    def __init__(self, level: float = 0.5):
        super().__init__(level, "constant", eps=0.01)
        self.level = level


PROCESS = Toy
'''


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the package with one file more for each kind of extension."""
    root = tmp_path_factory.mktemp("extended")
    package = Path(mrsampler.__file__).parent
    shutil.copytree(package, root / "mrsampler", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "mrsampler" / "solvers" / "toy.py").write_text(TOY_SOLVER)
    (root / "mrsampler" / "processes" / "toy.py").write_text(TOY_PROCESS)
    return root


def answer(root: Path, code: str):
    """What a program in the copy prints, read as JSON."""
    run = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_solver_is_one_file_and_is_in_the_list_and_in_the_pages_menu(extended):
    (listed,) = answer(
        extended,
        """
from mrsampler import cli
import contextlib, io
out = io.StringIO()
with contextlib.redirect_stdout(out):
    cli.main(["list", "solvers", "--json"])
print(json.dumps([s for s in json.loads(out.getvalue())["solvers"] if s["name"] == "toy"]))
""",
    )
    assert (listed["label"], listed["words"]) == ("Toy sde-1", "Toy, stochastic")
    *_, last = answer(
        extended,
        """
from mrsampler import MeanRevertingSDE
from mrsampler.ui.parts import choices
print(json.dumps(choices.solvers(MeanRevertingSDE())))
""",
    )
    text = "Toy sde-1: stays where it is \u00b7 1 NFE a step"
    assert last["heading"] == "Toys", "a family that is not known stands last"
    assert last["options"] == [{"value": "toy", "label": "Toy sde-1", "text": text}]


def test_a_process_is_one_file_and_the_playground_theory_bench_and_cards_have_it(extended):
    found = answer(
        extended,
        """
import tempfile
from pathlib import Path
from mrsampler import checkpoints
from mrsampler.bench import order
from mrsampler.networks import LightDenoiser
from mrsampler.processes import make, to_card
from mrsampler.ui.playground import tab as playground
from mrsampler.ui.theory import figures
said = playground.simulate({"process": "toy", "particles": 20, "mu": [0.5, 0.0]})
small, toy = {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}, make("toy", level=0.7)
network = LightDenoiser(toy, small | {"num_tasks": 1}, **small)
card = {"architecture": "light-denoiser", "config": network.config, "target": "data"}
card |= {"tasks": ["noisy"], "process": to_card(toy)}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "own.safetensors"
    checkpoints.save(path, network, card)
    written, read = checkpoints.read_card(path)["process"], checkpoints.read(path).process
print(json.dumps({
    "view": playground.VIEW["toy"], "half": said["half"][-1], "count": said["count"],
    "level": playground.PROCESSES["toy"].level, "theory": "toy" in figures.PROCESSES,
    "bench": "toy" in order.PROCESSES, "card": written, "read": [read.kind, read.level],
}))
""",
    )
    assert (found["view"], found["half"], found["count"], found["level"]) == (2.5, 2.5, 20, 0.3)
    assert found["theory"] and found["bench"]
    assert found["card"] == {"kind": "toy", "level": 0.7} and found["read"] == ["toy", 0.7]
