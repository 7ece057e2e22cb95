"""The page's endpoint /restore, through gradio_client against the real app."""

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageCms

from mrsampler.examples import examples
from mrsampler.ui.page import build

PHOTO = examples()[1].path


@pytest.fixture(scope="module")
def client():
    demo = build()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(url, verbose=False)
    demo.close()


@pytest.fixture
def small(tmp_path):
    Image.open(PHOTO).resize((64, 64)).save(tmp_path / "small.png")
    return tmp_path / "small.png"


def restore(client, photo=PHOTO, **settings):
    job = client.submit(handle_file(str(photo)), api_name="/restore", **settings)
    job.result()
    return job.outputs()


def test_it_streams_a_report_for_every_evaluation_and_ends_with_the_photo(client, tmp_path):
    small = tmp_path / "small.png"
    picture = Image.open(PHOTO).resize((96, 64))
    picture.putalpha(Image.linear_gradient("L").resize((96, 64)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(small, icc_profile=profile)
    outputs = restore(client, small, task="noisy", solver="mrs-ode-d-2", nfe=3, seed=7)
    reports = [report for _, report in outputs]
    assert [r["nfe"] for r in reports if r["state"] == "running"] == [0, 1, 2, 3]
    assert reports[0]["t"] == 100 and reports[-1]["t"] == 0
    assert reports[-1]["state"] == "finished"
    with Image.open(outputs[-1][0]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (96, 64))
        assert picture.info["icc_profile"] == profile
        assert picture.getchannel("A").tobytes() == Image.open(small).getchannel("A").tobytes()


def test_the_same_seed_gives_the_same_pixels(client, small):
    settings = {"task": "noisy", "solver": "posterior", "nfe": 2}
    first, second, other = (
        Image.open(restore(client, small, seed=seed, **settings)[-1][0]).tobytes()
        for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"task": "sunny"}, "task must be one of motion-blurry"),
        ({"solver": "magic"}, "solver must be one of mrs-ode-d-1"),
        ({"solver": ["heun"]}, "solver must be one of mrs-ode-d-1"),
        ({"solver": "langevin"}, "langevin is not defined on the process of checkpoint bundled"),
        ({"solver": "heun", "nfe": 1}, "heun needs at least 2 evaluations"),
        ({"solver": "rk45", "nfe": 20}, "RK45 at tolerance .* spent its 20 evaluations"),
        ({"spacing": "odd"}, "spacing must be one of .*uniform-t.*karras:RHO"),
        ({"spacing": 5}, "spacing must be one of "),
        ({"spacing": "karras:steep"}, "has no number after the colon"),
        ({"spacing": "optimised", "nfe": 999}, "bundled has no optimised times"),
        ({"nfe": 0}, "nfe must be from 1 to 1000"),
        ({"nfe": "many"}, "nfe must be from 1 to 1000"),
        ({"largest_side": 9000}, "largest_side must be from 32 to 1024"),
        ({"checkpoint": "../secret"}, "checkpoint must be one of"),
    ],
)
def test_a_setting_out_of_range_gets_a_sentence(client, small, settings, sentence):
    with pytest.raises(AppError, match=sentence):
        restore(client, small, **settings)


def test_a_solver_of_several_evaluations_a_step_reports_what_it_spent(client, small):
    outputs = restore(client, small, solver="heun", nfe=5, spacing="karras:5")
    running = [report["nfe"] for _, report in outputs if report["state"] == "running"]
    assert running == [0, 2, 4]


def test_a_file_that_is_no_picture_gets_a_sentence(client, tmp_path):
    fake = tmp_path / "fake.png"
    fake.write_text("no picture", encoding="utf-8")
    with pytest.raises(AppError, match="not a picture that can be read"):
        restore(client, fake)


@pytest.mark.parametrize("image", [{"path": str(PHOTO)}, {"path": "/etc/passwd"}, None, "photo"])
def test_only_an_upload_is_read_and_nothing_else_on_the_server(client, image):
    url = f"{client.src}gradio_api/call/restore"
    call = httpx.post(url, json={"data": [image, "noisy", "mrs-ode-d-2", 1]}).json()
    answer = httpx.get(f"{url}/{call['event_id']}").text
    assert "event: error" in answer and "event: complete" not in answer
    assert str(PHOTO) not in answer and "passwd" not in answer


def test_its_parameters_are_named_and_documented(client):
    endpoint = client.view_api(return_format="dict")["named_endpoints"]["/restore"]
    parameters = {p["parameter_name"]: p for p in endpoint["parameters"]}
    assert list(parameters) == [
        "image",
        "task",
        "solver",
        "nfe",
        "seed",
        "spacing",
        "checkpoint",
        "largest_side",
    ]
    assert parameters["nfe"]["parameter_default"] == 10
    assert "Network evaluations" in str(parameters["nfe"])
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/restore"]
