"""Where the networks run: on all cores of the CPU in one thread, or on a GPU that is lent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")
Steps = Callable[..., Iterator[T]]

try:
    import spaces
except ImportError:
    spaces = None

_NETWORK = ThreadPoolExecutor(1, thread_name_prefix="network")
_END: Any = object()


def gpu(steps: Steps[T], *, ahead: bool = False) -> Steps[T]:
    """A generator function whose work is a network's, to be run where that is done.

    On ZeroGPU, where the package `spaces` is present, a GPU is lent to it for as long as it runs,
    in a process of its own: what goes in and comes out must be picklable. Elsewhere it runs in the
    one thread that `share_cores` has given them to, whoever asks for the next step. With `ahead`
    that is made while the one before is looked at, not when it is asked for: gradio takes a while
    to hand one on, and the cores would wait. Closed, it ends once the step under way is made, and
    nobody waits for that.
    """
    if spaces:
        return spaces.GPU(duration=120)(steps)

    @functools.wraps(steps)
    def elsewhere(*args: Any, **settings: Any) -> Iterator[T]:
        running = steps(*args, **settings)
        due = None
        try:
            while True:
                due = due or _NETWORK.submit(next, running, _END)
                if (step := due.result()) is _END:
                    return
                due = _NETWORK.submit(next, running, _END) if ahead else None
                yield step
        finally:
            if due:
                due.cancel()
            closed = _NETWORK.submit(running.close)  # type: ignore[attr-defined]
            if not ahead:
                closed.result()

    return elsewhere


def crosses_processes() -> bool:
    """Whether `gpu` functions run in another process, where an event set here is not seen."""
    return spaces is not None


def share_cores() -> None:
    """Gives this process's cores to the networks' thread; every other is left with one.

    OpenMP keeps a team of threads for each thread that works with one. Where all of them are more
    than the cores, they go to sleep at the end of every operation instead of waiting for the next:
    called from a server's thread, while the main thread had a team as well, the bundled network
    took 1.4 times as long on two cores. To be called before torch has worked in this thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # here, and in all threads to come
    _NETWORK.submit(_take, threads).result()


def _take(threads: int) -> None:
    torch.get_num_threads()  # from now on torch leaves this thread's number alone
    threadpool_limits(threads, "openmp")
