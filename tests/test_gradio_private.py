"""What the page uses of gradio's own parts is still there, and does what it did."""

import asyncio

from mrsampler.ui import page


def test_a_page_at_rest_looks_for_work_seldom(monkeypatch):
    queue = page.build()._queue
    looks = []
    monkeypatch.setattr(type(queue), "__len__", lambda self: looks.append(self) or 0)

    async def rest():
        looking = asyncio.create_task(queue.start_processing())
        await asyncio.sleep(0.5)
        looking.cancel()

    asyncio.run(rest())
    assert 1 <= len(looks) <= 0.5 / page.LOOK_EVERY + 2  # gradio's own: about 400
