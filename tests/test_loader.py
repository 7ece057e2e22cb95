"""What is put into the page's HTML on its way, over a small app."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mrsampler.ui.loader import SCRIPT, QuietLoader

PAGE = "<html><head><title>x</title></head><body><head></body></html>"


def whole(request):
    return HTMLResponse(PAGE)


def in_parts(request):
    return StreamingResponse(iter([PAGE[:8], PAGE[8:30], PAGE[30:]]), media_type="text/html")


@pytest.mark.parametrize("answer", [whole, in_parts])
@pytest.mark.parametrize("root", ["", "/explorer"])
def test_the_page_begins_with_the_script_and_nothing_else_does(answer, root):
    routes = [Route("/", answer), Route("/other", answer)]
    app = Starlette(routes=routes, middleware=[Middleware(QuietLoader)])
    client = TestClient(app, root_path=root)
    got = client.get("/")
    assert got.text == PAGE.replace("<head>", "<head>" + SCRIPT.decode(), 1)
    assert int(got.headers["content-length"]) == len(got.content)
    assert client.get("/other").text == PAGE
    assert client.get("/missing").status_code == 404
