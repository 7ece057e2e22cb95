"""A network as a GPU runs it fastest: in half precision where that is harmless, from CUDA graphs.

What a small evaluation costs on a GPU is mostly the launching of its few hundred kernels; a graph
records them once for a shape and launches them as one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Network = Callable[..., Tensor]
Capture = Callable[[Callable[[], Tensor], torch.device], tuple[Callable[[], None], Tensor]]

MOST_GRAPHS = 4
"""Each holds the memory of an evaluation of its shape."""
_MOST_SHAPES = 64


def accelerated(network: Network, device: torch.device) -> Network:
    """The network as its device runs it: itself, unless that is a GPU."""
    if device.type != "cuda":
        return network
    dtype = getattr(network, "AUTOCAST", None)
    return Graphed(network if dtype is None else Autocast(network, device.type, dtype))


class Wrapped:
    """A network called in another way; what else it can do it still does."""

    def __init__(self, network: Network):
        self.network = network

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.network, name)


class Autocast(Wrapped):
    """A network under torch.autocast of a device type ("cuda", "cpu")."""

    def __init__(self, network: Network, device_type: str, dtype: torch.dtype):
        super().__init__(network)
        self.device_type, self.dtype = device_type, dtype

    def __call__(self, x: Tensor, mu: Tensor, t: float | Tensor, **conditioning: Any) -> Tensor:
        # Each weight is used once: there is nothing to cache.
        with torch.autocast(self.device_type, self.dtype, cache_enabled=False):
            return self.network(x, mu, t, **conditioning)


class Graphed(Wrapped):
    """A network whose evaluations are replayed from a graph, one for each shape of its arguments.

    And for each value of those that are whole numbers: they may choose what is computed, as a task
    its kernels. The first call of a shape runs as it is, the second is recorded, unless `record`
    did so before. The last 4 graphs are kept. A shape whose recording fails runs as it is from then
    on, unless 64 others come between.
    """

    def __init__(self, network: Network, capture: Capture | None = None):
        super().__init__(network)
        self._capture = capture or capture_cuda
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()
        self._recordable: OrderedDict[Any, bool] = OrderedDict()  # shapes seen, without a graph
        self._lock = threading.Lock()

    def __call__(self, x: Tensor, mu: Tensor, t: float | Tensor, **conditioning: Any) -> Tensor:
        t = t if isinstance(t, Tensor) else float(t)  # a whole number is not to be its own graph
        given = {"x": x, "mu": mu, "t": t, **conditioning}
        key = _kinds(given)
        with self._lock, torch.no_grad():
            graph = self._graph(key, given) if key in self._graphs or self._seen(key) else None
            if graph is not None:
                return graph(given)
        return self.network(**given)

    def record(self, **given: Any) -> None:
        """Makes the graph of calls with such arguments now, unless there is one."""
        with self._lock, torch.no_grad():
            self._graph(_kinds(given), given)

    def _seen(self, key: Any) -> bool:
        if key in self._recordable:
            return True
        self._remember(key, True)
        return False

    def _remember(self, key: Any, recordable: bool) -> None:
        self._recordable[key] = recordable
        self._recordable.move_to_end(key)
        if len(self._recordable) > _MOST_SHAPES:
            self._recordable.popitem(last=False)

    def _graph(self, key: Any, given: dict[str, Any]) -> _Graph | None:
        if key not in self._graphs:
            if not self._recordable.get(key, True):
                self._remember(key, False)
                return None
            try:
                self._graphs[key] = _Graph(self.network, given, self._capture)
            except RuntimeError:
                self._remember(key, False)  # eager is slower, not wrong
                return None
            if len(self._graphs) > MOST_GRAPHS:
                self._remember(self._graphs.popitem(last=False)[0], True)
        self._graphs.move_to_end(key)
        return self._graphs[key]


class _Graph:
    """One recording: the places that it reads its arguments from, and writes its output to."""

    def __init__(self, network: Network, given: dict[str, Any], capture: Capture):
        device = given["x"].device
        self._places = {name: _place(value, device) for name, value in given.items()}
        self._held: dict[str, tuple[Tensor, int]] = {}
        self._replay, self._output = capture(lambda: network(**self._places), device)

    def __call__(self, given: dict[str, Any]) -> Tensor:
        for name, value in given.items():
            place = self._places[name]
            if isinstance(value, float):
                place.fill_(value)
            elif isinstance(value, Tensor) and not self._holds(name, value):
                place.copy_(value)
        self._replay()
        return self._output.clone()

    def _holds(self, name: str, value: Tensor) -> bool:
        """Whether the place has the value from before: mu and the contexts stay all run long."""
        if name == "x" or value.is_inference():
            return False
        held = self._held.get(name)
        self._held[name] = value, value._version
        return held is not None and held[0] is value and held[1] == value._version


def _kinds(given: dict[str, Any]) -> Any:
    """What a graph is tied to: not the values of tensors and of floats."""

    def kind(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.shape, value.dtype, value.device
        return float if isinstance(value, float) else value

    return tuple((name, kind(value)) for name, value in given.items())


def _place(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        # As the weights lie in memory, whatever layout the first argument has come in.
        layout = torch.channels_last if value.ndim == 4 else torch.preserve_format
        return value.clone(memory_format=layout)
    if isinstance(value, float):
        return torch.full((), value, dtype=torch.float32, device=device)
    return value


def capture_cuda(
    run: Callable[[], Tensor], device: torch.device
) -> tuple[Callable[[], None], Tensor]:
    """Records run() as a CUDA graph: what replays it, and the tensor that then has the output.

    Raises RuntimeError where something in it cannot be recorded.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()  # what is set up on a first use must not be recorded
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            output = run()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay, output
