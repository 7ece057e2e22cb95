"""The page's own components: HTML, CSS and JavaScript from web/, as gradio components."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import orjson
import plotly

WEB = Path(__file__).parent / "web"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def served(path: Path) -> str:
    """The relative URL of a file named in `gr.set_static_paths`."""
    return f"gradio_api/file={quote(str(path))}"


def web(name: str, *scripts: str) -> dict[str, Any]:
    """The keyword arguments of gr.HTML for web/NAME.html, .css and .js.

    More `scripts` of web/ run after its own, in one scope with it.
    """
    parts = {"html_template": ".html", "css_template": ".css", "js_on_load": ".js"}
    found = {
        argument: path.read_text(encoding="utf-8")
        for argument, suffix in parts.items()
        if (path := WEB / f"{name}{suffix}").exists()
    }
    if scripts:
        more = [(WEB / f"{script}.js").read_text(encoding="utf-8") for script in scripts]
        found["js_on_load"] = "\n".join([found["js_on_load"], *more])
    return {"apply_default_css": False, "padding": False, **found}


def panel(name: str, *scripts: str, value: Any = None, **options: Any) -> gr.HTML:
    """`web` as a component whose value is JSON text: what fills it comes `as_text`.

    Gradio compares, clones and makes reactive every number of a nested value, which takes three
    times as long as drawing them.
    """
    return gr.HTML(_text(value), **options, **web(name, *scripts))


def as_text(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose first output is a panel's: its dicts as JSON text, skips as they are."""

    def outputs(given: Any) -> Any:
        return (_text(given[0]), *given[1:]) if isinstance(given, tuple) else _text(given)

    @functools.wraps(handler)
    def whole(*args: Any) -> Any:
        return outputs(handler(*args))

    @functools.wraps(handler)
    def streaming(*args: Any) -> Iterator[Any]:
        for given in handler(*args):
            yield outputs(given)

    return streaming if inspect.isgeneratorfunction(handler) else whole


def _text(value: Any) -> Any:
    """What is not finite is null there."""
    if value is None or "__type__" in value:
        return value
    return orjson.dumps(value).decode()


def menu(title: str, info: str, value: str, **state: Any) -> gr.HTML:
    """A native menu with headings, which a gr.Dropdown has not.

    Its events are `input`; `opened`, once it is on the page; and `linked`, once it has what a link
    `asked` for. Its select's id is "menu-" and the title, or the `name` if that is another's.
    `state` is what gr.update may change later: groups, detail (a line under it), disabled, and
    fallback, which is picked while the visitor has picked nothing or what is no longer listed.
    """
    return gr.HTML(value, title=title, info=info, **({"disabled": False} | state), **web("menu"))


def arrival_line(menu: str) -> gr.HTML:
    """Shows how far a checkpoint is, as `arrival` of ui.session tells it, while the menu is at it.

    `menu` is the id of the checkpoints' menu.
    """
    return gr.HTML(None, menu=menu, elem_classes="arrival-line", **web("arrival"))


def photo_drop() -> gr.HTML:
    """A drop zone whose value is the untouched upload, a dict that `files.uploaded` checks."""
    return gr.HTML(**web("drop"))


SEND = (
    "(file) => { if (!file) return; const link = document.createElement('a'); "
    "link.href = file.url; link.download = file.orig_name; link.click(); }"
)
"""Script for the `change` of a hidden gr.File: downloads what it holds.

At the `success` of what fills it the browser may not have the file yet.
"""
