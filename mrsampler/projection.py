"""Live PCA of several trajectories in one plane that drifts but never jumps."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrsampler.extras import need

# Products are summed in float32 within a block, in float64 over the blocks. In whatever order, that
# is off by about sqrt(256) roundings, 1e-6 of the increments' lengths, in a block, and less in all.
_BLOCK = 256
_CHUNK = 16


@dataclass(frozen=True)
class Projection:
    """`points[name]` is (n, dimensions), in image units times sqrt(pixels); `share[i]` the part
    of all the frames' variance that coordinate i shows."""

    points: dict[str, NDArray[np.float64]]
    share: NDArray[np.float64]


class TrajectoryPCA:
    """Exact PCA of frames that arrive one by one.

    The frames, of d values each, are few: the n x n Gram matrix holds all that PCA needs. The late
    frames of a trajectory lie close together and would drown in rounding, so the products are taken
    of each frame's increment over the one before it in its trajectory (the first's over `anchor`,
    mu) and summed up in float64. Those of the frames since the last fit are taken at once when they
    are asked for, in one pass over all frames: O(n d), of which reading memory is the cost.
    Each fit is turned, mirrored and shifted onto the one before it (orthogonal Procrustes), in two
    and in three dimensions separately.

    Source: dual PCA, Schoelkopf et al., Kernel PCA (1997); Schoenemann, orthogonal Procrustes
    (1966).
    """

    def __init__(self, anchor: Tensor):
        self._anchor = anchor.detach().flatten().float()
        self._length = self._anchor.numel()
        self._increments: list[Tensor] = []  # in chunks of _CHUNK, so that growing copies nothing
        self._paths = np.zeros((8, 8))  # row i: the increments that add up to frame i
        self._products = np.zeros((0, 0))  # of the increments, as far as they have been taken
        self._names: list[str] = []
        self._latest: dict[str, tuple[int, Tensor]] = {}
        self._fit: tuple[int, NDArray[np.float64], float] | None = None
        self._last: dict[int, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, frame: Tensor) -> None:
        """Appends a frame, of the anchor's number of values, to trajectory `name`.

        Raises ValueError for another size or a value that is not finite.
        """
        if frame.numel() != self._length:
            raise ValueError(f"a frame of {frame.numel()} values, expected {self._length}")
        n = len(self._names)
        values = frame.detach().flatten().to(self._anchor)
        if not math.isfinite(values.sum().item()):
            raise ValueError("a frame with values that are not finite")
        if n == len(self._paths):
            self._paths = np.pad(self._paths, (0, n))
        if n % _CHUNK == 0:
            blocks = -(-self._length // _BLOCK)
            self._increments.append(self._anchor.new_zeros(_CHUNK, blocks, _BLOCK))
        before, previous = self._latest.get(name, (None, self._anchor))
        newest = self._increments[-1][n % _CHUNK]
        torch.sub(values, previous, out=newest.flatten()[: self._length])
        if before is not None:
            self._paths[n] = self._paths[before]
        self._paths[n, n] = 1
        self._names.append(name)
        self._latest[name] = n, values

    def project(self, dimensions: int = 2) -> Projection:
        """All frames in the plane (or space) of the largest variance.

        Coordinates that the frames do not span are 0. Raises ValueError unless `dimensions` is 2
        or 3.
        """
        if dimensions not in (2, 3):
            raise ValueError(f"dimensions must be 2 or 3, got {dimensions}")
        n = len(self._names)
        if self._fit is None or self._fit[0] != n:
            self._fit = n, *self._principal()
        _, points, variance = self._fit
        points = self._align(points[:, :dimensions].copy())
        spread = ((points - points.mean(0)) ** 2).sum(0) if n else np.zeros(dimensions)
        share = spread / variance if variance > 0 else np.zeros(dimensions)
        names = np.array(self._names, dtype=object)
        return Projection({k: points[names == k] for k in dict.fromkeys(self._names)}, share)

    def _principal(self) -> tuple[NDArray[np.float64], float]:
        """All frames on the three directions of the largest variance; all the variance there is."""
        kernel_pca = need("page", "sklearn.decomposition").KernelPCA

        n = len(self._names)
        points = np.zeros((n, 3))
        if n < 2:
            return points, 0.0
        self._multiply()
        paths = self._paths[:n, :n]
        gram = paths @ self._products @ paths.T
        with warnings.catch_warnings():
            # A rank below 3 leaves eigenvalues of +-rounding, dropped below.
            warnings.simplefilter("ignore")
            pca = kernel_pca(min(n, 3), kernel="precomputed", eigen_solver="dense")
            found = np.nan_to_num(pca.fit_transform(gram))
        points[:, : found.shape[1]] = found
        return points, np.trace(gram) - gram.sum() / n

    def _multiply(self) -> None:
        """Takes the products of the increments that are new with all."""
        n, known = len(self._names), len(self._products)
        new = torch.stack([self._increments[i // _CHUNK][i % _CHUNK] for i in range(known, n)])
        by_block = new.permute(1, 2, 0)
        sums = [
            (chunk.transpose(0, 1) @ by_block).sum(0, dtype=torch.float64)
            for chunk in self._increments
        ]
        columns = torch.cat(sums)[:n].cpu().numpy()
        self._products = np.pad(self._products, (0, n - known))
        self._products[:, known:] = columns
        self._products[known:] = columns.T

    def _align(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`points` turned, mirrored and shifted so that the earlier ones move least."""
        dimensions = points.shape[1]
        last = self._last.get(dimensions)
        if last is not None and len(last) > 1:
            known = points[: len(last)]
            u, _, vt = np.linalg.svd((known - known.mean(0)).T @ (last - last.mean(0)))
            points = (points - known.mean(0)) @ (u @ vt) + last.mean(0)
        self._last[dimensions] = points
        return points
