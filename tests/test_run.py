"""The description of a run: what it refuses, in which words, and the forms it is written in."""

import argparse

import pytest

from mrsampler import cli
from mrsampler.examples import examples
from mrsampler.run import OPTIONS, SETTINGS, RefusedError, Run, reason

EXAMPLE = f"assets/examples/{examples()[1].file}"
ODD = Run(
    photo=EXAMPLE,
    damage="clean",
    task="hazy",
    severity=0.35,
    solver="mrs-sde-d-2",
    nfe=7,
    spacing="karras:5",
    baseline="ddim",
    baseline_nfe=9,
    seed=2**53,
    texture=0.25,
    size=384,
    checkpoint="daclip-uir",
    device="cpu",
)
REFUSED = {
    "damage": ("half", "damage must be one of clean, done; got 'half'."),
    "task": (None, "noisy, raindrop, rainy, shadowed, snowy, uncompleted; got nothing."),
    "severity": (float("nan"), "severity must be a number from 0 to 1; got nan."),
    "solver": ("x" * 200, "got '" + "x" * 80 + "'."),
    "nfe": (2.5, "nfe must be a whole number from 1 to 10000; got 2.5."),
    "spacing": ("100,ten,0", "or times as in 100,60,30,0; got '100,ten,0'."),
    "baseline": (["ddim"], "got a list."),
    "baseline_nfe": (True, "baseline_nfe must be a whole number from 1 to 10000; got True."),
    "texture": (1.01, "texture must be a number from 0 to 1; got 1.01."),
    "seed": (-1, "seed must be a whole number from 0 to 9007199254740992; got -1."),
    "size": ("31", "size must be own or a whole number from 32; got '31'."),
    "checkpoint": ({"path": "/srv/secret"}, "which is fetched once; got a dict."),
    "device": (1, "got 1."),
    "photo": (b"me.jpg", "got a bytes."),
}


def test_the_odd_run_differs_from_the_default_in_every_setting():
    assert all(getattr(ODD, name) != setting.default for name, setting in SETTINGS.items())
    assert set(REFUSED) == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_no_run_can_have_is_refused_by_name_and_value(name):
    value, sentence = REFUSED[name]
    for make in (Run, lambda **values: Run.from_json(values)):
        with pytest.raises(RefusedError) as refused:
            make(**{name: value})
        assert str(refused.value).startswith(f"{name} must be ")
        assert str(refused.value).endswith(sentence)


@pytest.mark.parametrize(("name", "text", "value"), [("nfe", "8", 8), ("severity", "1", 1.0)])
def test_a_number_may_come_as_its_text(name, text, value):
    assert getattr(Run(**{name: text}), name) == value


@pytest.mark.parametrize("text", ["8.0", "1e3", "nan", "", "9" * 5000])
def test_a_text_that_is_no_whole_number_is_none(text):
    with pytest.raises(RefusedError):
        Run(nfe=text)


def test_every_setting_has_a_label_and_one_line_of_help_that_fits():
    for setting in SETTINGS.values():
        assert setting.label and setting.help.endswith(".") and len(setting.help) < 80, setting.name


def test_it_comes_back_from_json_and_what_is_no_setting_is_refused():
    assert Run.from_json(ODD.to_json()) == ODD
    with pytest.raises(RefusedError, match="A run has no setting 'colour'"):
        Run.from_json({"colour": "red"})


def test_it_comes_back_from_a_link_but_for_its_device():
    query = dict(pair.split("=") for pair in ODD.to_query().replace("%3A", ":").split("&"))
    back, refused = Run.from_query(query, Run(device="cpu"))
    assert (back, refused) == (ODD, [])


def test_a_link_of_before_is_read():
    back, refused = Run.from_query({"sampler": "ddim", "side": "256", "utm": "x"}, Run())
    assert (back.solver, back.size, refused) == ("ddim", 256, [])


def test_it_comes_back_from_its_command_line_but_for_the_baseline():
    args = cli.parser().parse_args(["restore", *ODD.to_argv()])
    back = {name: getattr(args, name) for name in OPTIONS}
    assert back == {name: getattr(ODD, name) for name in OPTIONS}


def test_the_command_line_refuses_in_the_same_words():
    for name in set(OPTIONS) - {"device", "checkpoint", "task"}:
        value, _ = REFUSED[name]
        with pytest.raises((cli.CommandError, argparse.ArgumentTypeError)) as refused:
            cli.parser().parse_args(["restore", "x", "--task", "noisy", f"--{name}={value}"])
        with pytest.raises(RefusedError) as same:
            Run(**{name: str(value)})
        assert str(refused.value) == f"argument --{name}: {same.value}"


def test_a_reason_names_no_file():
    assert reason(OSError(28, "No space left", "/srv/secret")) == "No space left"
    assert reason(MemoryError()) == "MemoryError"
