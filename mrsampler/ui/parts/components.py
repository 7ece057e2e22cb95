"""The page's own components: HTML, CSS and JavaScript of a folder, as gradio components."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import orjson
import plotly

HERE = Path(__file__).parents[1]
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
MODULES = sorted(HERE.glob("*/*.js"))
SERVED = [PLOTLY, *MODULES]
"""The scripts, as they are: the browser loads what it needs by the modules' imports."""

_MOUNT = """\
import(new URL({module}, document.baseURI)).then(({{ default: mount }}) =>
  mount({{ element, props, trigger, watch, upload, server }}), console.error);
// The events it triggers: {events}.
"""


def served(path: Path) -> str:
    """The relative URL of a file named in `gr.set_static_paths`."""
    return f"gradio_api/file={quote(str(path))}"


def text(name: str) -> str:
    """A text beside the tabs' modules, as "theory/theory.md"."""
    return (HERE / name).read_text(encoding="utf-8")


def style(name: str) -> str:
    """A style sheet as a `head`: gradio rewrites what is given to it as css."""
    return f"<style>{text(name)}</style>"


def web(name: str | Path, *events: str) -> dict[str, Any]:
    """The keyword arguments of gr.HTML for NAME.html, .css and .js, as "restore/stage", or a path.

    The script is a module whose default export is called with what gradio gives to scripts; gradio
    has to be told the `events` that it triggers.
    """
    found = {
        argument: path.read_text(encoding="utf-8")
        for argument, suffix in (("html_template", ".html"), ("css_template", ".css"))
        if (path := HERE / f"{name}{suffix}").exists()
    }
    if (module := HERE / f"{name}.js").exists():
        named = ", ".join(f"'{event}'" for event in events)
        found["js_on_load"] = _MOUNT.format(module=json.dumps(served(module)), events=named)
    return {"apply_default_css": False, "padding": False, **found}


def panel(name: str | Path, *events: str, value: Any = None, **options: Any) -> gr.HTML:
    """`web` as a component whose value is JSON text: what fills it comes `as_text`.

    Gradio compares, clones and makes reactive every number of a nested value, which takes three
    times as long as drawing them.
    """
    return gr.HTML(_text(value), plotly=served(PLOTLY), **options, **web(name, *events))


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

    Its events are `input`; `opened`, once it is on the page; and `linked`, once it has what it was
    `asked` for: a value, or a list of it and a number that makes it another asking. Its select's id
    is "menu-" and the title, or the `name` if that is another's. `state` is what gr.update may
    change later: info, groups, detail (a line under it), disabled, and fallback, which is picked
    while the visitor has picked nothing or what is no longer listed; nor, unless the menu `keeps`
    it, what is grey by now.
    """
    module = web("parts/menu", "input", "opened", "linked")
    return gr.HTML(value, title=title, info=info, **({"disabled": False} | state), **module)


def arrival_line(menu: str) -> gr.HTML:
    """Shows how far a checkpoint is, as `arrival` of ui.session tells it, while the menu is at it.

    `menu` is the id of the checkpoints' menu.
    """
    return gr.HTML(None, menu=menu, elem_classes="arrival-line", **web("parts/arrival"))


def photo_drop() -> gr.HTML:
    """A drop zone whose value is the untouched upload, a dict that `files.uploaded` checks."""
    return gr.HTML(**web("parts/drop", "photo"))


SEND = (
    "(file) => { if (!file) return; const link = document.createElement('a'); "
    "link.href = file.url; link.download = file.orig_name; link.click(); }"
)
"""Script for the `change` of a hidden gr.File: downloads what it holds.

At the `success` of what fills it the browser may not have the file yet.
"""


def tell(tab: str, what: str) -> str:
    """Script that tells a tab's modules something: "asked" of a run, or "failed"."""
    return f"document.querySelector('{tab}').dispatchEvent(new CustomEvent('{what}'))"
