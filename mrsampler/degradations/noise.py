"""Noisy: additive white Gaussian noise, the standard test of denoisers; and photos' own noise."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import coarse, onset, uniform
from .jpeg import saved, through_file, unsharp
from .light import from_linear, to_linear
from .task import USUAL, Form, Task

MAX_SIGMA = 50 / 255
WORST_FILE, BEST_FILE = 60, 97  # the encoder's quality
FAINTEST = 0.25  # of the usual noise's deviation: most cameras' is fainter
FEWEST_PHOTONS = 6.0  # at white, where light alone makes noise as strong as the usual at severity 1
MOST_PHOTONS = 1e6
BILINEAR = (
    ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25)),  # red and blue, at one pixel of four
    ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0)),  # green, at every other
)


def noise(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] plus noise of standard deviation severity * 50/255, clipped."""
    grain = torch.randn(image.shape, generator=generator)
    return (image + severity * MAX_SIGMA * grain).clamp(0, 1)


def grain(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """The noise that photos come with: no pixel's is its own.

    It is up to a pixel coarse and grows with the light, as photons' does; a share of it is grey, as
    all of a film's; then the photo becomes a JPEG file. Its standard deviation is `noise`'s in a
    middle grey before that.
    """
    spread, light, grey, quality = torch.rand(4, generator=generator).tolist()
    *own, shared = torch.randn(4, *image.shape[1:], generator=generator)
    grain = (1 - grey) ** 0.5 * torch.stack(own) + grey**0.5 * shared
    grain = coarse(grain, spread)
    gain = torch.lerp(torch.ones_like(image), (2 * image).sqrt(), light)
    noisy = (image + severity * MAX_SIGMA * gain * grain).clamp(0, 1)
    worst = BEST_FILE + (WORST_FILE - BEST_FILE) * onset(severity)
    return through_file(noisy, round(worst + (BEST_FILE - worst) * quality))


def camera(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """What a camera's own development leaves: fine grain in grey, blotches in colour, any strength.

    Measured on twelve pairs of photos of one scene: deviations of 3 to 7.5 of 255; grey grain is as
    its neighbour by 0.3 to 0.7, by 0 to 0.35 two pixels on; colour by 0.9, 0.7, 0.4 and 0.1 at 1,
    2, 4 and 8 pixels, and from a third of the grey's strength to as strong.
    """
    strength, fine, second, blotch, colour, fade, middle, sharp = uniform(
        generator,
        (-1, 0.15),  # a power of 1 / FAINTEST
        (0.2, 1.0),  # pixels
        (0, 0.45),  # the share of grey grain that is twice as coarse
        (0.3, 4.0),  # pixels
        (0.05, 0.9),  # of the grey's deviation
        (-0.6, 0.6),  # stronger in the light, or in the dark
        (0, 0.7),  # weaker in both than between
        (-0.6, 0.6),
    )
    _, height, width = image.shape
    white = torch.randn(5, height, width, generator=generator)
    grey = (1 - second) ** 0.5 * coarse(white[:1], fine)
    grey = grey + second**0.5 * coarse(white[1:2], 1.2 + fine)
    tints = coarse(white[2:], blotch)
    tints = 1.2 * colour * (tints - tints.mean(0))
    luma = image.mean(0)
    gain = (1 + fade * (2 * luma - 1)) * (1 - middle * (2 * luma - 1).square())
    sigma = severity * MAX_SIGMA * FAINTEST ** max(0.0, -strength) * 1.25
    noisy = (image + sigma * gain * (grey + tints)).clamp(0, 1)
    return saved(unsharp(noisy, max(0.0, sharp) * onset(severity), 0.8), severity, generator, 70)


def sensor(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Photons counted one by one, each colour with the gain that makes white white."""
    read, red, blue = uniform(generator, (0, 3), (1.0, 2.2), (1.0, 2.2))
    photons = min(MOST_PHOTONS, 1.4 * FEWEST_PHOTONS / max(severity, 1e-4) ** 2)
    per_colour = photons / torch.tensor([red, 1.0, blue])[:, None, None]
    counts = torch.poisson(to_linear(image) * per_colour, generator=generator)
    # the amplifier's noise is worth up to three photons of a well of a hundred
    dark = read * (photons / 100) ** 0.5 * torch.randn(image.shape, generator=generator)
    light = (counts + dark) / per_colour
    return saved(from_linear(light.clamp(0, 1)), severity, generator)


def bayer(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Noise of a sensor that sees one colour a pixel, the others interpolated from around.

    Red and blue come out coarser than green; the colour matrix mixes the three.
    """
    share, red, blue, matrix, strength = uniform(
        generator, (0.02, 0.4), (1.0, 2.2), (1.0, 2.2), (0.0, 0.6), (-1, 0.3)
    )
    light = to_linear(image)
    sigma = 1.5 * severity * MAX_SIGMA * FAINTEST ** max(0.0, -strength)
    deviation = sigma * (light * (1 - share) + share * 0.5).sqrt()
    deviation = deviation * torch.tensor([red, 1.0, blue]).sqrt()[:, None, None]
    mosaic = deviation * torch.randn(image.shape, generator=generator) * _sites(image)
    spread = _interpolated(mosaic)
    mixed = spread + matrix * (spread - spread.mean(0))
    return saved(from_linear((light + mixed).clamp(0, 1)), severity, generator)


def blotches(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Colour in spots of 1 to 7 pixels, as a phone leaves at night, and some fine grain."""
    spread, fine, uneven = uniform(generator, (0.4, 2.0), (0.1, 0.8), (0, 0.8))
    white = torch.randn(6, *image.shape[1:], generator=generator)
    spots = coarse(white[:3], 2**spread)
    spots = 1.2 * (spots - 0.8 * spots.mean(0))
    grain = spots + fine * (coarse(white[3:4], 0.5) + 0.3 * white[3:])
    gain = 1 - uneven * image.mean(0)
    noisy = image + 0.7 * severity * MAX_SIGMA * gain * grain
    return saved(noisy.clamp(0, 1), severity, generator)


def film(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Film's grain, scanned: clumps of 0.5 to 2 pixels, mostly grey, strongest between the ends."""
    spread, colour, skew, clumps = uniform(generator, (0.5, 2.0), (0, 0.5), (0.5, 1.5), (0, 0.6))
    white = torch.randn(5, *image.shape[1:], generator=generator)
    grey = coarse(white[:1], spread) + clumps * coarse(white[1:2], 2 * spread)
    grain = (1 - colour) * grey / (1 + clumps**2) ** 0.5 + colour * coarse(white[2:], spread)
    level = image.mean(0) ** skew
    gain = 0.35 + 2.6 * level * (1 - level)
    noisy = image + 1.1 * severity * MAX_SIGMA * gain * grain
    return saved(noisy.clamp(0, 1), severity, generator)


def residue(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Noise that a denoiser took away in part, and fine texture with it; mostly a JPEG file."""
    spread, most, sharp, colour = uniform(generator, (0, 0.8), (0.5, 1.6), (-0.5, 0.8), (0.5, 1))
    sigma = 1.3 * severity * MAX_SIGMA
    white = torch.randn(4, *image.shape[1:], generator=generator)
    noisy = image + sigma * coarse(0.8 * white[:3] + 0.6 * white[3], spread)
    threshold = most * sigma
    luma = noisy.mean(0, keepdim=True)
    tints = noisy - luma
    for width in (0.7, 1.6):
        smooth = _smooth(luma, width)
        detail = luma - smooth
        luma = smooth + detail.sign() * (detail.abs() - threshold * 0.5 / width).clamp_min(0)
    share = colour * onset(severity)
    tints = torch.lerp(tints, _smooth(tints, 2.0), share)
    kept = unsharp((luma + tints).clamp(0, 1), max(0.0, sharp) * onset(severity), 1.0)
    return saved(kept, severity, generator)


def raw(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A raw file developed: mosaic, noise, the demosaicing of Malvar et al., 2004, tone, JPEG.

    Held out. Here the photo itself is seen through the mosaic, not its noise alone.
    """
    read, red, blue, curve, sharp, quality, bits = uniform(
        generator, (0, 2.5), (1.3, 2.3), (1.2, 2.0), (0, 0.5), (0, 0.6), (75, 96), (9, 13)
    )
    curve *= onset(severity)
    balance = torch.tensor([red, 1.0, blue])[:, None, None]
    scene = to_linear(_from_tone(image, curve)) / balance
    photons = min(MOST_PHOTONS, 2.0 * FEWEST_PHOTONS / max(severity, 1e-4) ** 2)
    well = photons * scene
    white = torch.randn(image.shape, generator=generator)
    counts = well + (well + (read * (photons / 100) ** 0.5) ** 2).sqrt() * white
    levels = 2 ** int(bits)
    seen = (counts / photons * levels).round() / levels * _sites(image)
    demosaiced = torch.lerp(scene, _malvar(seen.sum(0)), onset(severity)) * balance
    developed = _to_tone(from_linear(demosaiced.clamp(0, 1)), curve)
    crisp = unsharp(developed, sharp * onset(severity), 0.9)
    return through_file(crisp, round(97 - (97 - quality) * onset(severity)))


def _smooth(planes: Tensor, spread: float) -> Tensor:
    """(C, H, W) blurred by a Gaussian of `spread` pixels, at most 2."""
    weight = torch.exp(-0.5 * (torch.arange(-5.0, 6.0) / spread).square())
    weight = weight / weight.sum()
    padded = F.pad(planes[:, None], (5, 5, 5, 5), mode="reflect")
    across = F.conv2d(padded, weight.view(1, 1, 1, -1))
    return F.conv2d(across, weight.view(1, 1, -1, 1))[:, 0]


def _sites(image: Tensor) -> Tensor:
    """Where an RGGB sensor has each colour's pixels, (3, H, W)."""
    sites = torch.zeros_like(image)
    sites[0, ::2, ::2] = sites[2, 1::2, 1::2] = 1
    sites[1, ::2, 1::2] = sites[1, 1::2, ::2] = 1
    return sites


def _interpolated(mosaic: Tensor) -> Tensor:
    """(3, H, W), zero where a colour has no pixel, interpolated bilinearly."""
    around, cross = (torch.tensor(kernel) for kernel in BILINEAR)
    weight = torch.stack([around, cross, around])[:, None]
    padded = F.pad(mosaic[None], (2, 2, 2, 2), mode="reflect")
    return F.conv2d(padded, weight, groups=3)[0, :, 1:-1, 1:-1]


def _malvar(mosaic: Tensor) -> Tensor:
    """RGGB values (H, W) -> (3, H, W) by the linear filters of Malvar, He & Cutler, 2004."""
    height, width = mosaic.shape
    padded = F.pad(mosaic[None, None], (2, 2, 2, 2), mode="reflect")
    green, along, across, diagonal = F.conv2d(padded, _filters())[0]
    even_row = (torch.arange(height) % 2 == 0)[:, None].expand(height, width)
    even_column = (torch.arange(width) % 2 == 0).expand(height, width)
    red_site, blue_site = even_row & even_column, ~even_row & ~even_column
    # beside a green pixel the reds lie in its row where that row is even, in its column elsewhere
    red = torch.where(even_row, along, across)
    blue = torch.where(even_row, across, along)
    return torch.stack(
        [
            torch.where(red_site, mosaic, torch.where(blue_site, diagonal, red)),
            torch.where(red_site | blue_site, green, mosaic),
            torch.where(blue_site, mosaic, torch.where(red_site, diagonal, blue)),
        ]
    )


def _filters() -> Tensor:
    """(4, 1, 5, 5): green at red; red at green, in its row and in its column; red at blue."""
    green = torch.tensor(
        [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
    )
    along = torch.tensor(
        [
            [0, 0, 0.5, 0, 0],
            [0, -1, 0, -1, 0],
            [-1, 4, 5, 4, -1],
            [0, -1, 0, -1, 0],
            [0, 0, 0.5, 0, 0],
        ]
    )
    diagonal = torch.tensor(
        [
            [0, 0, -1.5, 0, 0],
            [0, 2, 0, 2, 0],
            [-1.5, 0, 6, 0, -1.5],
            [0, 2, 0, 2, 0],
            [0, 0, -1.5, 0, 0],
        ]
    )
    return torch.stack([green, along, along.T, diagonal])[:, None] / 8


def _to_tone(image: Tensor, curve: float) -> Tensor:
    """Contrast that a camera adds: between the identity (0) and the smoothstep (1)."""
    return torch.lerp(image, image.square() * (3 - 2 * image), curve)


def _from_tone(image: Tensor, curve: float) -> Tensor:
    """The inverse of `_to_tone` by Newton's method; its slope is not 0 for curves below 1."""
    value = image
    for _ in range(6):
        slope = 1 + curve * (6 * value * (1 - value) - 1)
        value = (value - (_to_tone(value, curve) - image) / slope).clamp(0, 1)
    return value


TASK = Task(
    "noisy",
    {
        USUAL: Form(noise, "white Gaussian noise"),
        "grain": Form(grain, "grain up to a pixel coarse, stronger in the light, as a JPEG file"),
        "camera": Form(camera, "a camera's fine grain and blotches of colour, faint ones too"),
        "sensor": Form(sensor, "photons counted, stronger in some colours"),
        "bayer": Form(bayer, "a Bayer sensor's noise, interpolated"),
        "blotches": Form(blotches, "spots of colour and fine grain"),
        "film": Form(film, "a film's grain, scanned"),
        "residue": Form(residue, "what a denoiser left"),
        "raw": Form(raw, "a noisy raw file developed", held_out=True),
    },
    local=True,
)
