"""The trajectory plot: both samplers' lines wander through one plane toward one star."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mrsampler.projection import TrajectoryPCA
from mrsampler.trajectory import Step
from mrsampler.ui.parts.charts import GREY, GRID, INK

_HOVER = (
    "%{meta}<br>NFE %{customdata[0]}<br>t = %{customdata[1]:.2f}<br>"
    "\u03bb = %{customdata[2]:.2f}%{customdata[3]}<extra></extra>"
)


# Where a label may stand: beside its mark, in the order of preference. In pixels, at least: how far
# off it begins, half its height, the width of a letter, and the plot's own size on a phone.
_SIDES = {
    "bottom center": (0, -1),
    "top center": (0, 1),
    "middle left": (-1, 0),
    "middle right": (1, 0),
    "bottom left": (-1, -1),
    "bottom right": (1, -1),
    "top left": (-1, 1),
    "top right": (1, 1),
}
_OFF, _HALF, _LETTER, _PLOT = 8.0, 8.0, 6.6, 300.0


@dataclass(frozen=True)
class Line:
    """A sampler in the plot."""

    key: str
    label: str
    colour: str


class TrajectoryPlot:
    """The projection of a race as plotly figures, in 2-D and 3-D, on equal axes that never jump."""

    def __init__(self, lines: tuple[Line, ...], degraded: Tensor, truth: Tensor | None):
        self._lines = lines
        self._pca = TrajectoryPCA(degraded)
        self._pca.add("degraded", degraded)
        if truth is not None:
            self._pca.add("truth", truth)
        self._notes: dict[str, list[tuple[int, float, float, str]]] = {
            line.key: [] for line in lines
        }
        self._reach: dict[int, NDArray[np.float64]] = {}
        self._sides = {"x_T": "middle left", "degraded": "top center", "truth": "bottom center"}

    def add(self, key: str, step: Step, psnr: float | None) -> None:
        """A sampler's new step; its x_t becomes a point."""
        self._pca.add(key, step.x)
        quality = "" if psnr is None else f"<br>PSNR {psnr:.1f} dB"
        self._notes[key].append((step.nfe, step.t, step.lam, quality))

    def figure(self, dimensions: int) -> dict[str, Any]:
        """A plotly figure, one trace a sampler, named by its key, and one of landmarks.

        A plain dict: `plotly.graph_objects.Figure` of it would cost 20 ms an update to validate.
        """
        projection = self._pca.project(dimensions)
        points = projection.points
        # What is pinned lies beneath.
        lines = [*self._lines[2:], *self._lines[:2]]
        traces = [self._trace(line, points[line.key], dimensions) for line in lines]
        axes = self._axes(np.concatenate(list(points.values())), projection.share)
        traces.append(self._landmarks(points, dimensions, axes))
        layout: dict[str, Any] = {
            "uirevision": "keep",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": INK, "size": 12},
            "showlegend": False,
            "hovermode": "closest",
        }
        if dimensions == 2:
            layout |= axes | {"margin": {"l": 44, "r": 12, "t": 12, "b": 44}}
            layout["yaxis"]["scaleanchor"] = "x"
        else:
            eye = {"x": 1.6, "y": 1.6, "z": 1.0}
            scene = axes | {"uirevision": "keep", "aspectmode": "cube", "camera": {"eye": eye}}
            layout |= {"scene": scene, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}
        return {"data": traces, "layout": layout}

    def _trace(self, line: Line, xyz: NDArray[np.float64], dimensions: int) -> dict[str, Any]:
        small, large = (6, 13) if dimensions == 2 else (3, 7)
        return {
            "type": "scatter" if dimensions == 2 else "scatter3d",
            "mode": "lines+markers",
            "name": line.key,
            "meta": line.label,
            **_coordinates(xyz),
            "line": {"width": 2 if dimensions == 2 else 4} | _line_colour(line),
            "marker": {
                "size": [small] * (len(xyz) - 1) + [large],
                "opacity": 1,
                "line": {"width": 0},
            }
            | _fading(line, len(xyz)),
            "customdata": [list(note) for note in self._notes[line.key]],
            "hovertemplate": _HOVER,
        }

    def _landmarks(
        self, points: dict[str, NDArray[np.float64]], dimensions: int, axes: dict[str, Any]
    ) -> dict[str, Any]:
        start = points[self._lines[0].key][:1]
        if dimensions == 2:
            marks = {"x_T": start, **points}
            pixel = max(np.ptp(axes[name]["range"]) for name in ("xaxis", "yaxis")) / _PLOT
            for name, letters in (("x_T", 2), ("degraded", 10), ("truth", 12)):
                if name in marks:
                    others = [_dense(xy) for other, xy in marks.items() if other != name]
                    self._sides[name] = free_side(
                        self._sides[name], marks[name][0], np.concatenate(others), letters, pixel
                    )
        sides = self._sides
        places = [("x<sub>T</sub>", start, "circle-open", INK, 9, sides["x_T"])]
        places.append(
            ("degraded \u03bc", points["degraded"], "square", GREY, 11, sides["degraded"])
        )
        if "truth" in points:
            star = "star" if dimensions == 2 else "diamond"
            places.append(("ground truth", points["truth"], star, INK, 15, sides["truth"]))
        scale = 1 if dimensions == 2 else 0.5
        return {
            "type": "scatter" if dimensions == 2 else "scatter3d",
            "mode": "markers+text",
            "name": "landmarks",
            **_coordinates(np.concatenate([place[1] for place in places])),
            "text": [place[0] for place in places],
            "textposition": [place[5] for place in places],
            "textfont": {"color": INK, "size": 12},
            "marker": {
                "symbol": [place[2] for place in places],
                "color": [place[3] for place in places],
                "size": [place[4] * scale for place in places],
                "line": {"width": 0 if dimensions == 3 else 1.5, "color": INK},
            },
            "hovertemplate": "%{text}<extra></extra>",
        }

    def _axes(self, points: NDArray[np.float64], share: NDArray[np.float64]) -> dict[str, Any]:
        """Equal axes about the points: they grow at once and shrink slowly, so nothing jumps."""
        dimensions = points.shape[1]
        low, high = points.min(0), points.max(0)
        if dimensions in self._reach:
            low += 0.9 * np.minimum(0, self._reach[dimensions][0] - low)
            high += 0.9 * np.maximum(0, self._reach[dimensions][1] - high)
        self._reach[dimensions] = np.stack([low, high])
        middle = (low + high) / 2
        half = max(1.0, float((high - low).max()) * 0.56)
        axes: dict[str, Any] = {}
        for i in range(dimensions):
            spread = float((high - low)[i]) * 0.62 + half * 0.1 if dimensions == 2 else half
            of = " of variance" if dimensions == 2 else ""
            axes["xyz"[i] + "axis"] = {
                "title": {"text": f"PC {i + 1} \u00b7 {100 * share[i]:.0f} %{of}"},
                "range": [float(middle[i] - spread), float(middle[i] + spread)],
                "color": INK,
                "gridcolor": GRID,
                "zeroline": False,
                "showticklabels": False,
                **(
                    {"showbackground": False, "showspikes": False}
                    if dimensions == 3
                    else {"dtick": _step(half / 2)}
                ),
            }
        return axes


def _step(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten up to `most`."""
    decade = 10 ** math.floor(math.log10(most))
    return max(n * decade for n in (1, 2, 5) if n * decade <= most * (1 + 1e-9))


def free_side(
    now: str, mark: NDArray[np.float64], others: NDArray[np.float64], letters: int, pixel: float
) -> str:
    """The side of a mark where a label of so many letters is struck by none of the other points.

    It stays where it is `now` for as long as it can, so that it does not hop; where no side is
    free, the freest. `mark` (2,), `others` (n, 2), `pixel` in their unit.
    """
    half = np.array([letters * _LETTER / 2, _HALF])

    def room(side: str) -> float:
        middle = mark + np.array(_SIDES[side]) * (half + _OFF) * pixel
        return float((np.abs(others - middle) / pixel - half).max(axis=1).min())

    if room(now) > 0:
        return now
    free = [side for side in _SIDES if room(side) > 0]
    return free[0] if free else max(_SIDES, key=room)


def _dense(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """With points on the line between each two, which strikes a label as well."""
    if len(points) < 2:
        return points
    shares = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    between = points[:-1] + shares * (points[1:] - points[:-1])
    return np.concatenate([between.reshape(-1, points.shape[1]), points[-1:]])


def pinned(figures: dict[str, Any], key: str, line: Line) -> dict[str, Any]:
    """The figures with sampler `key`'s line drawn once more, as `line`, around the one there is."""

    def again(trace: dict[str, Any]) -> dict[str, Any]:
        marker = trace["marker"] | _fading(line, len(trace["x"]))
        marker["size"] = [size * 1.8 for size in trace["marker"]["size"]]
        width = {"width": 3 * trace["line"]["width"]}
        names = {"name": line.key, "meta": line.label}
        return trace | names | {"marker": marker, "line": width | _line_colour(line)}

    return {
        n: figure
        | {"data": [again(t) for t in figure["data"] if t["name"] == key] + figure["data"]}
        for n, figure in figures.items()
    }


def unpinned(figures: dict[str, Any], key: str) -> dict[str, Any]:
    """The figures without line `key`."""
    return {
        n: figure | {"data": [trace for trace in figure["data"] if trace["name"] != key]}
        for n, figure in figures.items()
    }


def _line_colour(line: Line) -> dict[str, str]:
    return {"color": _rgba(line.colour, 0.45)}


def _fading(line: Line, n: int) -> dict[str, list[str]]:
    """From pale (x_T) to full colour (now)."""
    shades = np.linspace(0.3, 1, n) if n > 1 else np.ones(1)
    return {"color": [_rgba(line.colour, shade) for shade in shades]}


def _rgba(colour: str, opacity: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{opacity:.2f})"


def _coordinates(points: NDArray[np.float64]) -> dict[str, list[float]]:
    return {"xyz"[i]: points[:, i].round(3).tolist() for i in range(points.shape[1])}
