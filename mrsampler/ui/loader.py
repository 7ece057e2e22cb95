"""An end to the timer of gradio's page loader, which goes on when the loader is gone."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# In gradio 6.31 it asks for every frame of the screen for ever: 5 % of a core, on the machine of
# whoever has the page open, and while a race runs on the cores that the network needs. Gradio's
# modules take the function that asks for a frame once, as they load: before them, here, it is
# replaced by one that gives a timer's callback ten calls a second and no frame. A callback that
# looks otherwise, as of another version, gets its frame as ever.
SCRIPT = rb"""<script>{
  const frame = window.requestAnimationFrame.bind(window);
  const timer = /^\(\)=>\{\w+\(\w+,\(performance\.now\(\)-/;
  window.requestAnimationFrame = (call) =>
    timer.test(Function.prototype.toString.call(call)) ? setTimeout(call, 100) : frame(call);
}</script>"""


class QuietLoader:
    """ASGI middleware that puts SCRIPT first into the page's <head>."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) != "/":
            await self.app(scope, receive, send)
            return
        began: list[Message] = []
        body = b""

        async def whole(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                began.append(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            start, given = began[0], body.replace(b"<head>", b"<head>" + SCRIPT, 1)
            headers = [(n, v) for n, v in start["headers"] if n.lower() != b"content-length"]
            headers.append((b"content-length", str(len(given)).encode()))
            await send({**start, "headers": headers})
            await send({**message, "body": given})

        await self.app(scope, receive, whole)
