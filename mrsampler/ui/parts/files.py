"""Files for one visitor, in gradio's cache: what is not discarded is deleted there by age."""

from __future__ import annotations

import contextlib
import io
import secrets
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from mrsampler.photo import PhotoError


def save(picture: Image.Image, name: str) -> str:
    """The picture as NAME.png; its path."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return save_bytes(buffer.getvalue(), f"{name}.png")


def save_bytes(content: bytes, name: str) -> str:
    """The content as a file NAME, in a folder that no other visitor can guess; its path."""
    folder = Path(gr.utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    return str(folder / name)


def uploaded(value: Any) -> str | None:
    """The path of an upload in gradio's terms, a dict; None for nothing ("" is a browser's null).

    Raises PhotoError for what gradio has not checked to be an upload of its own: without `meta` it
    does not look.
    """
    if not value:
        return None
    if not isinstance(value, dict) or value.get("meta") != {"_type": "gradio.FileData"}:
        raise PhotoError("A photo must be an uploaded file.")
    return value["path"]


def discard(path: str) -> None:
    """Removes a file that was saved here, with its folder; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        Path(path).unlink()
        Path(path).parent.rmdir()
