"""Live PCA of several trajectories in one plane that drifts but never jumps."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Products are summed in float32 within a block, in float64 over the blocks: within 1e-8 of exact,
# and faster than with shorter ones.
_BLOCK = 16384
_CHUNK = 16


@dataclass(frozen=True)
class Projection:
    """`points[name]` is (n, dimensions), in image units times sqrt(pixels); `share[i]` the part
    of all the frames' variance that coordinate i shows."""

    points: dict[str, NDArray[np.float64]]
    share: NDArray[np.float64]


class TrajectoryPCA:
    """Exact PCA of frames that arrive one by one.

    The frames, of d values each, are few: the n x n Gram matrix holds all that PCA needs, and one
    more frame is one more row of it, O(n d). The late frames of a trajectory lie close together and
    would drown in rounding, so the products are taken of each frame's increment over the one before
    it in its trajectory (the first's over `anchor`, mu) and summed up in float64.
    Each fit is turned, mirrored and shifted onto the one before it (orthogonal Procrustes), in two
    and in three dimensions separately.

    Source: dual PCA, Schoelkopf et al., Kernel PCA (1997); Schoenemann, orthogonal Procrustes
    (1966).
    """

    def __init__(self, anchor: Tensor):
        self._anchor = anchor.detach().flatten().float()
        self._length = self._anchor.numel()
        self._increments: list[Tensor] = []  # in chunks of _CHUNK, so that growing copies nothing
        self._products = np.zeros((8, 8))  # of the increments
        self._paths = np.zeros((8, 8))  # row i: the increments that add up to frame i
        self._names: list[str] = []
        self._latest: dict[str, tuple[int, Tensor]] = {}
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
        if n == len(self._products):
            self._products = np.pad(self._products, (0, n))
            self._paths = np.pad(self._paths, (0, n))
        values = frame.detach().flatten().to(self._anchor)
        before, previous = self._latest.get(name, (None, self._anchor))
        if n % _CHUNK == 0:
            blocks = -(-self._length // _BLOCK)
            self._increments.append(self._anchor.new_zeros(_CHUNK, blocks, _BLOCK))
        newest = self._increments[-1][n % _CHUNK]
        torch.sub(values, previous, out=newest.flatten()[: self._length])
        sums = [
            torch.stack([chunk[:, i] @ block for i, block in enumerate(newest)], 1)
            for chunk in self._increments
        ]
        row = torch.cat(sums)[: n + 1].sum(1, dtype=torch.float64).cpu().numpy()
        if not np.isfinite(row).all():
            raise ValueError("a frame with values that are not finite")
        self._products[n, : n + 1] = self._products[: n + 1, n] = row
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
        # Here, so that the library can be imported, and a network trained, without scikit-learn.
        from sklearn.decomposition import KernelPCA

        n = len(self._names)
        points = np.zeros((n, dimensions))
        variance = 0.0
        if n > 1:
            paths = self._paths[:n, :n]
            gram = paths @ self._products[:n, :n] @ paths.T
            with warnings.catch_warnings():
                # A rank below `dimensions` leaves eigenvalues of +-rounding, dropped below.
                warnings.simplefilter("ignore")
                pca = KernelPCA(min(n, dimensions), kernel="precomputed", eigen_solver="dense")
                found = np.nan_to_num(pca.fit_transform(gram))
            points[:, : found.shape[1]] = found
            variance = np.trace(gram) - gram.sum() / n
        points = self._align(points)
        spread = ((points - points.mean(0)) ** 2).sum(0) if n else np.zeros(dimensions)
        share = spread / variance if variance > 0 else np.zeros(dimensions)
        names = np.array(self._names, dtype=object)
        return Projection({k: points[names == k] for k in dict.fromkeys(self._names)}, share)

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
