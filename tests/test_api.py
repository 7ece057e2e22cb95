"""The page's endpoints, through gradio_client and as MCP tools, against the real app."""

import ast
import asyncio
import base64
import csv
import io

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from PIL import Image, ImageCms

import mrsampler as mrs
from mrsampler import photo
from mrsampler.examples import examples
from mrsampler.particles import Particles
from mrsampler.playground import DENSITIES
from mrsampler.ui import session
from mrsampler.ui.compare import tab as compare
from mrsampler.ui.page import build

PHOTO = examples()[1].path


@pytest.fixture(scope="module")
def client():
    demo = build()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, mcp_server=True)
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
        ({"task": "sunny"}, "bundled does not know the task 'sunny'; choose from motion-blurry"),
        ({"solver": "magic"}, "solver must be one of mrs-ode-d-1"),
        ({"solver": ["heun"]}, "solver must be one of mrs-ode-d-1"),
        ({"solver": "langevin"}, "langevin is defined on "),
        ({"solver": "heun", "nfe": 1}, "heun needs at least 2 evaluations"),
        ({"solver": "rk45", "nfe": 20}, "RK45 at tolerance .* spent its 20 evaluations"),
        ({"spacing": "odd"}, "spacing must be one of .*uniform-t.*karras:RHO"),
        ({"spacing": 5}, "spacing must be one of "),
        ({"spacing": "karras:steep"}, "has no number after the colon"),
        ({"spacing": "optimised", "nfe": 999}, "bundled has no optimised times"),
        ({"nfe": 0}, "nfe must be a whole number from 1 to 1000"),
        ({"nfe": "many"}, "nfe must be a whole number from 1 to 1000"),
        ({"nfe": 2.5}, "nfe must be a whole number from 1 to 1000; got 2.5"),
        ({"seed": 1.7}, "seed must be a whole number from 0 to .*; got 1.7"),
        ({"size": "256.5"}, "size must be own or a whole number from 32 to 1024; got '256.5'"),
        ({"texture": 1.5}, "texture must be a number from 0 to 1; got 1.5"),
        ({"texture": 0.5, "checkpoint": "bundled-noise", "nfe": 1}, "makes no estimate"),
        ({"size": "9000"}, "size must be own or a whole number from 32 to 1024"),
        ({"checkpoint": "../secret"}, "There is no checkpoint '../secret' here"),
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
        "size",
        "texture",
    ]
    assert parameters["size"]["parameter_default"] == "own"
    assert parameters["nfe"]["parameter_default"] == 10
    assert "Network evaluations" in str(parameters["nfe"])


def test_every_endpoint_documents_every_parameter_and_result(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/restore", "/degrade", "/compare", "/playground"]
    for endpoint in endpoints.values():
        for part in endpoint["parameters"] + endpoint["returns"]:
            assert part["label"].isidentifier() and len(part["python_type"]["description"]) > 5, (
                part
            )


def test_degrade_does_the_damage_of_the_library(client, small):
    path = client.predict(
        handle_file(str(small)), task="rainy", severity=0.7, seed=5, api_name="/degrade"
    )
    clean = photo.read(small).rgb
    damaged = mrs.degrade(clean, "rainy", 0.7, torch.Generator().manual_seed(5))
    assert np.array_equal(np.array(Image.open(path)), photo.to_uint8(damaged).numpy())


def compared(client, photo, solvers, nfes, **settings):
    job = client.submit(handle_file(str(photo)), solvers, nfes, api_name="/compare", **settings)
    job.result()
    return job.outputs()


def test_compare_reports_runs_as_they_end_and_closes_with_the_sheet_and_the_table(client, small):
    outputs = compared(client, small, ["mrs-ode-d-2", "heun"], [1, 2], with_rmse=True, seed=3)
    counts = [len(report["rows"]) for _, _, report in outputs]
    assert counts[0] == 0 and counts == sorted(counts) and 0 < counts[len(counts) // 2] <= 3
    sheet, table, report = outputs[-1]
    assert report["state"] == "finished"
    runs = [(row["solver"], row["asked"]) for row in report["rows"]]
    assert runs == [("mrs-ode-d-2", 1), ("mrs-ode-d-2", 2), ("heun", 2)]  # heun needs two
    assert all(row["psnr"] > 5 and row["rmse"] >= 0 for row in report["rows"])
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["psnr"]) for row in rows] == [row["psnr"] for row in report["rows"]]
    assert Image.open(sheet).format == "PNG"


def test_compare_leaves_nothing_of_a_program_behind(client, small):
    compared(client, small, ["ddim"], [1])
    assert not any(name.startswith("program-") for name in compare.CACHE._results)


def test_playground_moves_the_particles_of_the_library(client):
    report = client.predict(
        "ring", "VP", "mrs-ode-n-2", 6, particles=40, seed=2, api_name="/playground"
    )
    process = mrs.VPSDE()
    particles = Particles(DENSITIES["ring"], process, count=40, seed=2)
    steps = list(particles.steps("mrs-ode-n-2", 6, spacing="blend"))
    assert report["nfe"] == [step.nfe for step in steps]
    np.testing.assert_allclose(report["x"], torch.stack([s.x for s in steps]), rtol=1e-12)
    assert report["error"] == pytest.approx(particles.error(steps[-1].x, False))
    assert np.shape(report["exact"]) == (40, 2)


def test_playground_says_of_a_stochastic_solver_that_it_has_no_exact_partner(client):
    report = client.predict(solver="mrs-sde-d-2", particles=20, api_name="/playground")
    assert report["exact"] is None and report["measure"] == "energy distance"


@pytest.mark.parametrize(
    ("endpoint", "settings", "sentence"),
    [
        ("/degrade", {"severity": 2}, "severity must be a number from 0 to 1; got 2"),
        ("/degrade", {"task": "sunny"}, "Unknown task 'sunny'; the tasks are motion-blurry"),
        ("/degrade", {"seed": 1.7}, "seed must be a whole number from 0 to .*; got 1.7"),
        ("/degrade", {"size": "99.5"}, "size must be own or a whole number from 32 to 2048"),
        ("/compare", {"solvers": ["ddim"], "nfes": [2.5]}, "NFEs are whole numbers"),
        (
            "/compare",
            {"solvers": ["ddim"], "nfes": [1], "seed": 1.7},
            "seed must be a whole number",
        ),
        ("/compare", {"solvers": ["ddim"], "nfes": [1], "largest_side": 99.5}, "a whole number"),
        ("/compare", {"solvers": ["magic"], "nfes": [1]}, "'magic' is no sampler"),
        ("/compare", {"solvers": "ddim", "nfes": [1]}, "samplers must be a list"),
        ("/compare", {"solvers": ["ddim"], "nfes": 4}, "nfes must be a list"),
        ("/compare", {"solvers": ["ddim"], "nfes": [0]}, "whole numbers from 1 to 100"),
        ("/compare", {"solvers": ["heun"], "nfes": [1]}, "No sampler can have one of these"),
        ("/compare", {"solvers": ["ddim"], "nfes": [1], "seed": -1}, "seed must be"),
        ("/playground", {"density": "cube"}, "The density must be one of two Gaussians"),
        ("/playground", {"mu": [9, 0]}, "must be a number from -1.4 to 1.4"),
        ("/playground", {"nfe": 0}, "The NFE of"),
        (
            "/playground",
            {"nfe": 2.5},
            "The NFE of .* must be a whole number from 1 to 100; got 2.5",
        ),
        ("/playground", {"seed": 1.7}, "The seed must be a whole number"),
        ("/playground", {"particles": 20.5}, "The number of particles must be a whole number"),
    ],
)
def test_what_another_endpoint_cannot_do_gets_a_sentence(
    client, small, endpoint, settings, sentence
):
    given = {} if endpoint == "/playground" else {"image": handle_file(str(small))}
    with pytest.raises(AppError, match=sentence):
        client.predict(**given, **settings, api_name=endpoint)


def test_a_full_line_refuses_an_endpoint_as_it_does_the_page(client, small, monkeypatch):
    monkeypatch.setattr(session.QUEUE, "limit", 1)
    with session.QUEUE.turn(), session.QUEUE.turn():
        for endpoint, settings in (
            ("/restore", {"nfe": 1}),
            ("/compare", {"solvers": ["ddim"], "nfes": [1]}),
        ):
            with pytest.raises(AppError, match=r"The line is full \(1 waiting\)"):
                client.predict(handle_file(str(small)), **settings, api_name=endpoint)


def test_the_endpoints_are_mcp_tools(client, small):
    picture = f"data:image/png;base64,{base64.b64encode(small.read_bytes()).decode()}"

    async def talk():
        async with (
            streamablehttp_client(f"{client.src}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name.split("_")[-1]: tool for tool in (await session.list_tools()).tools}
            asked = (
                ("restore", {"image": picture, "nfe": 2}),
                ("playground", {"density": "ring", "nfe": 3, "particles": 20}),
                ("restore", {"image": picture, "nfe": 0}),
            )
            return tools, [await session.call_tool(tools[name].name, args) for name, args in asked]

    tools, (restored, moved, refused) = asyncio.run(talk())
    assert set(tools) == {"restore", "degrade", "compare", "playground"}
    assert "Network evaluations" in tools["restore"].inputSchema["properties"]["nfe"]["description"]
    # gradio hands a stream's last word over as one text, the picture in it as a link.
    file, report = ast.literal_eval(restored.content[0].text)
    assert report["state"] == "finished"
    assert Image.open(io.BytesIO(httpx.get(file["url"]).content)).size == (64, 64)
    assert ast.literal_eval(moved.content[0].text)["nfe"] == [0, 1, 2, 3]
    assert (
        refused.isError and "nfe must be a whole number from 1 to 1000" in refused.content[0].text
    )
