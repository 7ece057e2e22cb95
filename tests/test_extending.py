"""What one more solver costs: a file, in a copy of the package, that nothing else names."""

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

from mrsampler.solvers.interface import Solver


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


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the package with one file more for each kind of extension."""
    root = tmp_path_factory.mktemp("extended")
    package = Path(mrsampler.__file__).parent
    shutil.copytree(package, root / "mrsampler", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "mrsampler" / "solvers" / "toy.py").write_text(TOY_SOLVER)
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
from mrsampler.ui import choices
print(json.dumps(choices.solvers(MeanRevertingSDE())))
""",
    )
    text = "Toy sde-1: stays where it is \u00b7 1 NFE a step"
    assert last["heading"] == "Toys", "a family that is not known stands last"
    assert last["options"] == [{"value": "toy", "label": "Toy sde-1", "text": text}]
