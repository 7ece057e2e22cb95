"""A repository of the hub on this machine: what huggingface_hub asks of it, over HTTP."""

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from published import recorded

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves `files`, contents by "repository/revision/name", and keeps the requests it had.

    The next download is cut off after `cut` bytes, if that is set. Every answer has the `status`,
    and comes after `hangs` seconds. While `on` is not set, a download of what ends in `held` stops
    half way.
    """

    def __init__(self):
        self.files, self.requests, self.cut = {}, [], None
        self.status, self.hangs, self.held, self.on = None, 0.0, "", threading.Event()
        self.on.set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body):
                first = int(re.sub(r"\D", "", self.headers.get("Range", "0").split("-")[0]) or 0)
                name = self.path.lstrip("/").replace("/resolve/", "/").replace(COMMIT, "main")
                if "/resolve/" in self.path:  # the client asks for more, on its own account
                    hub.requests.append((self.command, name, first))
                time.sleep(hub.hangs)
                if hub.status is not None:
                    self.send_response(hub.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = hub.files.get(name)
                if content is None:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if first else 200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content) - first))
                if first:
                    whole = len(content)
                    self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
                self.end_headers()
                if body and hub.cut is not None:
                    self.wfile.write(content[first : first + hub.cut])
                    hub.cut, self.close_connection = None, True
                elif body:
                    half = first + (len(content) - first) // 2
                    self.wfile.write(content[first:half])
                    if name.endswith(hub.held):
                        hub.on.wait()
                    self.wfile.write(content[half:])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def downloads(self):
        return [
            (name.split("/")[-1], first) for kind, name, first in self.requests if kind == "GET"
        ]

    def close(self):
        self.on.set()
        self.server.shutdown()
        self.server.server_close()


def network_file():
    """What universal-ir.pth is: a state dict, here with data parallelism's prefix."""
    return {f"module.{name}": value for name, value in recorded("universal_ir_tiny")[1].items()}


def encoder_file():
    """What daclip_ViT-B-32.pt is: a training state with the text tower and the tower twice."""
    weights = recorded("daclip_tiny")[1]
    twice = {n.removeprefix("clip."): w for n, w in weights.items() if n.startswith("clip.visual.")}
    text = {
        "clip.positional_embedding": torch.zeros(77, 8),
        "clip.text_projection": torch.zeros(8, 48),
        "clip.logit_scale": torch.tensor(1.0),
        "clip.token_embedding.weight": torch.zeros(100, 8),
        "clip.transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "clip.ln_final.weight": torch.zeros(8),
        "logit_scale": torch.tensor(1.0),
    }
    state = {f"module.{name}": value for name, value in (weights | twice | text).items()}
    return {"epoch": 30, "name": "daclip", "state_dict": state}


def saved(content, path):
    """`content` as torch saves it, in bytes."""
    torch.save(content, path)
    return path.read_bytes()
