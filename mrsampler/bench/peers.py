"""What else one can install, beside this: classical and learned methods on the same photos.

Each is at its best: of a few settings, the one with the highest mean PSNR over these very photos,
and told what it asks for, the noise's deviation or which pixels are missing, where ours is not.
Source of each: its docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrsampler.bench.yardstick import Yardstick
from mrsampler.degradations import USUAL, degrade
from mrsampler.extras import need
from mrsampler.restorer import Restorer

Pair = tuple[Tensor, Tensor]  # damaged and true, (3, H, W) in [0, 1]
NOISY, SIGMA = "noisy", "sigma"
SIGMAS = (15, 25, 50)  # of 255: the deviations at which denoisers are compared
MAX_SIGMA = 50  # of 255: the usual noise's at severity 1


class Peer(NamedTuple):
    """A method of others: restore(damaged, true, setting) -> (3, H, W).

    `told` is what it learns of the truth, and `settings` those of which the best is taken.
    """

    name: str
    tasks: tuple[str, ...]
    restore: Callable[[Tensor, Tensor, float], Tensor]
    settings: tuple[float, ...]
    told: str = ""


class Case(NamedTuple):
    """Photos damaged in one way. `sigma` is the deviation of their noise, where it is known."""

    name: str
    task: str
    pairs: list[Pair]
    sigma: float | None = None


def ffdnet(damaged: Tensor, _: Tensor, sigma: float) -> Tensor:
    """FFDNet (Zhang, Zuo & Zhang, TIP 2018), by its IPOL code; sigma of 255."""
    with torch.no_grad():
        return _ffdnet()(damaged[None], torch.tensor([sigma / 255]))[0]


@cache
def _ffdnet() -> torch.nn.Module:
    network = need("peers", "ffdnet").FFDNet(num_input_channels=3)
    network.load()  # by torch.load, which reads weights alone
    return network.eval()


def total_variation(damaged: Tensor, _: Tensor, weight: float) -> Tensor:
    """Chambolle (2004), by scikit-image."""
    restoration = need("peers", "skimage.restoration")
    smooth = restoration.denoise_tv_chambolle(_pixels(damaged), weight=weight, channel_axis=-1)
    return _tensor(smooth)


def nonlocal_means(damaged: Tensor, _: Tensor, strength: float) -> Tensor:
    """Buades, Coll & Morel (2005), by OpenCV, grey and colour alike."""
    cv2 = need("peers", "cv2")
    return _tensor(cv2.fastNlMeansDenoisingColored(_bytes(damaged), None, strength, strength) / 255)


def bilateral(damaged: Tensor, _: Tensor, tolerance: float) -> Tensor:
    """Tomasi & Manduchi (1998), by OpenCV, over 5 pixels."""
    return _tensor(need("peers", "cv2").bilateralFilter(_pixels(damaged), 5, tolerance, 2.0))


def median(damaged: Tensor, _: Tensor, side: float) -> Tensor:
    """The median of a square, by OpenCV."""
    return _tensor(need("peers", "cv2").medianBlur(_bytes(damaged), int(side)) / 255)


def sharpened(damaged: Tensor, _: Tensor, amount: float) -> Tensor:
    """An unsharp mask of radius 2, by OpenCV."""
    blurred = need("peers", "cv2").GaussianBlur(_pixels(damaged), (0, 0), 2.0)
    return damaged + amount * (damaged - _tensor(blurred))


def telea(damaged: Tensor, true: Tensor, radius: float) -> Tensor:
    """Telea (2004), by OpenCV, told which pixels are painted over."""
    cv2 = need("peers", "cv2")
    mask = ((damaged - true).abs().amax(0) > 1e-6).byte().numpy()
    return _tensor(cv2.inpaint(_bytes(damaged), mask, radius, cv2.INPAINT_TELEA) / 255)


def dark_channel(damaged: Tensor, _: Tensor, strength: float) -> Tensor:
    """The dark channel prior (He, Sun & Tang, CVPR 2009), refined by a guided filter."""
    side = 15

    def darkest(x: Tensor) -> Tensor:
        return -F.max_pool2d(-x.amin(0, keepdim=True), side, 1, side // 2)

    dark = darkest(damaged).flatten()
    haziest = dark.topk(max(1, len(dark) // 1000)).indices
    light = damaged.flatten(1)[:, haziest].mean(1)[:, None, None].clamp(min=0.05)
    transmission = 1 - strength * darkest(damaged / light)
    refined = _guided(damaged.mean(0, keepdim=True), transmission).clamp(0.1, 1)
    return light + (damaged - light) / refined


def _guided(guide: Tensor, values: Tensor) -> Tensor:
    """`values` (1, H, W) with the edges of `guide` (He, Sun & Tang, ECCV 2010), over 41 pixels."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 41, 1, 20, count_include_pad=False)

    slope = (mean(guide * values) - mean(guide) * mean(values)) / (
        mean(guide.square()) - mean(guide).square() + 1e-3
    )
    return mean(slope) * guide + mean(mean(values) - mean(slope) * mean(guide))


def gamma(damaged: Tensor, _: Tensor, level: float) -> Tensor:
    """The power that brings the photo's mean to `level`."""
    low, high = 0.05, 5.0
    for _step in range(40):  # the mean falls as the power grows
        middle = (low * high) ** 0.5
        low, high = (middle, high) if (damaged**middle).mean() > level else (low, middle)
    return damaged**low


def equalised(damaged: Tensor, _: Tensor, clip: float) -> Tensor:
    """CLAHE (Zuiderveld, 1994) of the lightness, by OpenCV."""
    cv2 = need("peers", "cv2")
    lab = cv2.cvtColor(_bytes(damaged), cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip, (8, 8)).apply(lab[..., 0])
    return _tensor(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) / 255)


WEIGHTS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3)
WEATHER = ("rainy", "snowy", "raindrop")
PEERS = (
    Peer("FFDNet", (NOISY,), ffdnet, (2, 4, 6, 8, 10, 15, 20, 25, 35, 50, 65, 75), SIGMA),
    Peer("non-local means", (NOISY,), nonlocal_means, (1, 2, 3, 4, 6, 10, 15, 25, 40, 60)),
    Peer("total variation", (NOISY, "jpeg-compressed", *WEATHER), total_variation, WEIGHTS),
    Peer("bilateral", ("jpeg-compressed",), bilateral, (0.015, 0.03, 0.06, 0.1, 0.2, 0.4)),
    Peer("median", WEATHER, median, (3, 5, 7, 9)),
    Peer("unsharp mask", ("motion-blurry",), sharpened, (0.05, 0.1, 0.2, 0.3, 0.6, 1.0, 2.0)),
    Peer("Telea", ("uncompleted",), telea, (1, 2, 3, 5, 8, 12, 18, 27), "the mask"),
    Peer("dark channel", ("hazy",), dark_channel, (0.3, 0.5, 0.7, 0.85, 0.95)),
    Peer("gamma", ("low-light", "shadowed"), gamma, (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)),
    Peer("CLAHE", ("low-light", "hazy", "shadowed"), equalised, (0.5, 1, 2, 4, 8, 16, 32, 64)),
)


def peers_of(case: Case) -> list[Peer]:
    """Those for a case's task: FFDNet is told the noise's deviation, or tries several."""
    known = [peer for peer in PEERS if case.task in peer.tasks]
    if case.sigma is None:
        return [peer._replace(told="") if peer.told == SIGMA else peer for peer in known]
    return [peer._replace(settings=(case.sigma,)) if peer.told == SIGMA else peer for peer in known]


def cases(
    photos: Sequence[Tensor], tasks: Sequence[str], severity: float, form: str
) -> Iterator[Case]:
    """Clean photos damaged by each task, photo i by seed i; and noise at the usual three sigmas."""

    def damaged(task: str, severity: float, form: str) -> list[Pair]:
        seeds = [torch.Generator().manual_seed(seed) for seed in range(len(photos))]
        return [
            (degrade(photo, task, severity, seed, form=form), photo)
            for photo, seed in zip(photos, seeds, strict=True)
        ]

    for task in tasks:
        if task == NOISY and form == USUAL:
            for sigma in SIGMAS:
                pairs = damaged(task, sigma / MAX_SIGMA, USUAL)
                yield Case(f"noise of sigma {sigma}", task, pairs, float(sigma))
        else:
            yield Case(task, task, damaged(task, severity, form))


def compared(restorer: Restorer, case: Case, sampler: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row each for the input, one evaluation, the sampler and each peer, with their measures.

    Row: case, method, told (what it learns of the truth), setting (of a peer: the best), psnr,
    ssim, alex, vgg, swd. Raises MissingExtraError where a peer's package is not installed.
    """
    truths = [true for _, true in case.pairs]
    yardstick = Yardstick(truths)

    def row(method: str, images: Sequence[Tensor], **more: Any) -> dict[str, Any]:
        return {"case": case.name, "method": method, **more} | yardstick(
            [image.clamp(0, 1) for image in images]
        )

    yield row("input", [damaged for damaged, _ in case.pairs])
    ones, samples = zip(
        *(_ours(restorer, x, case.task, seed, sampler) for seed, (x, _) in enumerate(case.pairs)),
        strict=True,
    )
    yield row("ours, 1 evaluation", ones)
    yield row(f"ours, {sampler['solver']}", samples)
    for peer in peers_of(case):
        tried = [
            row(peer.name, [peer.restore(*pair, setting) for pair in case.pairs], setting=setting)
            for setting in peer.settings
        ]
        yield max(tried, key=lambda found: found["psnr"]) | {"told": peer.told}


def _ours(
    restorer: Restorer, damaged: Tensor, task: str, seed: int, sampler: dict[str, Any]
) -> Pair:
    """After one evaluation and after all."""
    _, first, *rest = restorer.trajectory(damaged, task, seed=seed, **sampler)
    assert first.x0 is not None
    return first.x0[0].cpu(), (rest[-1] if rest else first).x[0].cpu()


def _pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).contiguous().numpy()


def _bytes(image: Tensor) -> np.ndarray:
    return (_pixels(image).clip(0, 1) * 255).round().astype(np.uint8)


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float()
