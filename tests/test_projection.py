"""The live PCA: exact, in digits that late frames need, and steady from fit to fit."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from mrsampler.projection import TrajectoryPCA

SHAPE = (3, 64, 64)
# Products are summed in float32, 256 at a time: sqrt(256) roundings, in whatever order.
ROUNDING = math.sqrt(256) * torch.finfo(torch.float32).eps / 2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def restoration(frames=14, seed=0):
    """mu, and frames as a sampler makes them: far apart at first, in the end nearly the same.

    The last ones differ by about 1e-3 of their distance to mu.
    """
    generator = seeded(seed)
    mu = torch.rand(SHAPE, generator=generator)
    clean = mu + 0.15 * torch.randn(SHAPE, generator=generator)
    directions = torch.randn(4, *SHAPE, generator=generator)
    made = []
    for i in range(frames):
        amount = 0.15 * 10 ** (-3 * i / (frames - 1))
        weights = torch.randn(4, generator=generator) * torch.tensor([1.0, 0.5, 0.25, 0.12])
        made.append(clean + amount * torch.einsum("k,kchw->chw", weights, directions))
    return mu, made


def fitted(mu, frames, dimensions=2, name="a"):
    pca = TrajectoryPCA(mu)
    for frame in frames:
        pca.add(name, frame)
    return pca.project(dimensions)


def reference(frames, dimensions):
    return PCA(dimensions, svd_solver="full").fit(torch.stack(frames).flatten(1).double().numpy())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("only_late", [False, True])
def test_it_is_the_pca_of_scikit_learn_up_to_a_rotation(dimensions, only_late):
    mu, frames = restoration()
    # The late frames alone: all of their spread lies within 1e-3 to 1e-2 of their distance to mu.
    frames = frames[9:] if only_late else frames
    projection = fitted(mu, frames, dimensions)
    fit = reference(frames, dimensions)
    expected = pdist(fit.transform(torch.stack(frames).flatten(1).double().numpy()))
    computed = pdist(projection.points["a"])
    np.testing.assert_allclose(computed, expected, rtol=0, atol=ROUNDING * expected.max())
    expected = fit.explained_variance_ratio_
    np.testing.assert_allclose(projection.share, expected, rtol=0, atol=2 * ROUNDING)


def test_points_are_grouped_by_name_in_the_order_they_came():
    mu, frames = restoration(6)
    pca = TrajectoryPCA(mu)
    for i, frame in enumerate(frames):
        pca.add("ours" if i % 2 else "theirs", frame)
    assert len(pca) == 6
    points = pca.project().points
    assert list(points) == ["theirs", "ours"]
    together = fitted(mu, frames).points["a"]
    # Grouped otherwise, other products are rounded.
    atol = ROUNDING * pdist(together).max()
    np.testing.assert_allclose(points["theirs"], together[::2], rtol=0, atol=atol)
    np.testing.assert_allclose(points["ours"], together[1::2], rtol=0, atol=atol)


def test_distances_are_those_of_the_frames_where_the_plane_holds_them_all():
    mu = torch.zeros(SHAPE)
    one, other = torch.zeros(2, *SHAPE)
    one[0, 0, 0], other[2, 5, 7] = 3.0, 4.0
    points = fitted(mu, [mu, one, other]).points["a"]
    np.testing.assert_allclose(sorted(pdist(points)), [3, 4, 5], rtol=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_each_fit_moves_the_earlier_points_as_little_as_a_rigid_motion_can(dimensions):
    mu, frames = restoration(20)
    live, shown = TrajectoryPCA(mu), None
    atol = ROUNDING * pdist(fitted(mu, frames).points["a"]).max()
    for n, frame in enumerate(frames, 1):
        live.add("a", frame)
        points = live.project(dimensions).points["a"]
        fresh = fitted(mu, frames[:n], dimensions).points["a"]
        np.testing.assert_allclose(pdist(points), pdist(fresh), rtol=0, atol=atol)
        if shown is not None and len(shown) > 1:
            # The best rigid motion of the fresh fit, by the singular values alone: sum |a|^2 +
            # sum |b|^2 - 2 sum s.
            a, b = fresh[: len(shown)], shown
            a, b = a - a.mean(0), b - b.mean(0)
            overlap = np.linalg.svd(a.T @ b, compute_uv=False).sum()
            least = (a**2).sum() + (b**2).sum() - 2 * overlap
            moved = ((points[: len(shown)] - shown) ** 2).sum()
            assert moved == pytest.approx(least, rel=1e-6, abs=1e-6 * (b**2).sum())
        shown = points


def test_a_mirrored_or_turned_fit_is_never_seen():
    # One far frame after another: the axes of the fresh fits swap and flip, the shown ones do not.
    generator = seeded(3)
    mu = torch.zeros(SHAPE)
    pca, shown = TrajectoryPCA(mu), None
    for i in range(16):
        pca.add("a", torch.randn(SHAPE, generator=generator) * (1 + i % 5))
        points = pca.project().points["a"]
        if shown is not None and len(shown) > 2:
            before, after = (
                shown - shown.mean(0),
                points[: len(shown)] - points[: len(shown)].mean(0),
            )
            assert (before * after).sum() > 0
        shown = points


def test_the_plane_and_the_space_are_aligned_each_on_their_own():
    mu, frames = restoration(9)
    alone, both = TrajectoryPCA(mu), TrajectoryPCA(mu)
    for frame in frames:
        alone.add("a", frame)
        both.add("a", frame)
        plane = both.project(2).points["a"]
        both.project(3)
        np.testing.assert_array_equal(plane, alone.project(2).points["a"])


def test_projecting_twice_moves_nothing():
    mu, frames = restoration(7)
    pca = TrajectoryPCA(mu)
    for frame in frames:
        pca.add("a", frame)
    first, second = pca.project(), pca.project()
    np.testing.assert_allclose(first.points["a"], second.points["a"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fewer_than_three_frames_are_padded_with_zeros(dimensions):
    mu, frames = restoration(4)
    empty = TrajectoryPCA(mu).project(dimensions)
    assert empty.points == {} and (empty.share == 0).all()
    single = fitted(mu, frames[:1], dimensions)
    assert single.points["a"].shape == (1, dimensions) and (single.points["a"] == 0).all()
    pair = fitted(mu, frames[:2], dimensions)
    length = (frames[0] - frames[1]).double().norm().item()
    assert pdist(pair.points["a"])[0] == pytest.approx(length, rel=ROUNDING)
    np.testing.assert_allclose(pair.share, [1.0] + [0.0] * (dimensions - 1), atol=1e-9)
    assert np.abs(pair.points["a"][:, 1:]).max() <= 1e-6 * length


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_shares_are_of_the_coordinates_as_displayed(dimensions):
    mu, frames = restoration(12)
    pca = TrajectoryPCA(mu)
    for n, frame in enumerate(frames, 1):
        pca.add("a", frame)
        projection = pca.project(dimensions)
        points = projection.points["a"]
        stack = torch.stack(frames[:n]).flatten(1).double()
        total = (stack - stack.mean(0)).square().sum().item()
        if n > 1:
            displayed = ((points - points.mean(0)) ** 2).sum(0) / total
            np.testing.assert_allclose(projection.share, displayed, rtol=2 * ROUNDING, atol=1e-9)
        assert 0 <= projection.share.sum() <= 1 + 1e-6


def test_frames_that_are_all_the_same_are_one_point():
    mu, frames = restoration(2)
    projection = fitted(mu, [frames[0]] * 5)
    assert np.abs(projection.points["a"]).max() < 1e-3 and np.isfinite(projection.share).all()


def test_a_batch_dimension_and_other_types_are_taken_as_they_come():
    mu, frames = restoration(5)
    plain = fitted(mu, frames).points["a"]
    batched = fitted(mu[None], [frame[None].double() for frame in frames]).points["a"]
    np.testing.assert_allclose(pdist(batched), pdist(plain), rtol=1e-5)


def test_the_anchor_and_the_frames_are_left_alone_and_may_be_changed_afterwards():
    mu, frames = restoration(4)
    kept = [frame.clone() for frame in frames]
    pca = TrajectoryPCA(mu)
    for frame in frames:
        pca.add("a", frame)
    assert all(torch.equal(a, b) for a, b in zip(frames, kept, strict=True))
    for frame in frames:
        frame.zero_()
    np.testing.assert_array_equal(pca.project().points["a"], fitted(mu, kept).points["a"])


def test_what_cannot_be_projected_is_refused_and_leaves_no_trace():
    mu, frames = restoration(5)
    pca = TrajectoryPCA(mu)
    pca.add("a", frames[0])
    with pytest.raises(ValueError, match="3 values, expected 12288"):
        pca.add("a", torch.zeros(3))
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            pca.add("a", torch.full(SHAPE, value))
    assert len(pca) == 1
    for frame in frames[1:]:
        pca.add("a", frame)
    np.testing.assert_array_equal(pca.project().points["a"], fitted(mu, frames).points["a"])
    for dimensions in (1, 4, 0):
        with pytest.raises(ValueError, match="must be 2 or 3"):
            pca.project(dimensions)
