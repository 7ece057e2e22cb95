"""Motion-blurry: the camera wanders while the shutter is open; and other ways to be blurred."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import fractal_noise, onset, reduced_size, resize, uniform
from .jpeg import saved, through_file
from .light import from_linear, to_linear
from .raster import splat
from .task import USUAL, Form, Task

MAX_LENGTH = 21  # of the path, in pixels of a 256-pixel short side
MAX_RADIUS = 4.5  # of a disc out of focus, likewise
STEPS = 64


def trajectory(length: float, generator: torch.Generator) -> Tensor:
    """Camera path in pixels around its mean, (n, 2), n growing with `length`.

    A walk with inertia, shake and an occasional jolt, after Boracchi & Foi, 2012, as used by
    DeblurGAN (Kupyn et al., 2018).
    """
    heading, bend, jolt, moment = uniform(
        generator, (0, 2 * math.pi), (-1.4, 1.4), (-1.3, 1.3), (0.1, 0.9)
    )
    shake = torch.randn(2, STEPS, generator=generator)
    time = torch.linspace(0, 1, STEPS)
    angle = heading + bend * time + 0.09 * shake[0].cumsum(0) + jolt * (time > moment)
    speed = (1 + 0.12 * shake[1].cumsum(0)).abs() + 0.1
    step = speed[:, None] * torch.stack([angle.sin(), angle.cos()], 1)
    path = step.cumsum(0) * (length / speed.sum())
    samples = max(STEPS, 2 * math.ceil(length))
    path = F.interpolate(path.T[None], samples, mode="linear", align_corners=True)[0].T
    return path - path.mean(0)


def kernel(length: float, generator: torch.Generator) -> Tensor:
    """Point-spread function of one trajectory, (2r + 1, 2r + 1), non-negative, sum 1."""
    path = trajectory(length, generator)
    radius = math.ceil(path.abs().max().item())
    size = 2 * radius + 1
    deposit = torch.full((len(path),), 1 / len(path))
    return splat(path[:, 0] + radius, path[:, 1] + radius, deposit, size, size)


def fast_length(least: int) -> int:
    """The next 2^a 3^b 5^c, which the FFT likes."""
    size = least
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def motion_blur(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] convolved with a camera trajectory, borders reflected.

    The average is taken in linear light, as a shutter does. Severity 1 is the long end of GoPro
    (Nah et al., 2017).
    """
    psf = kernel(MAX_LENGTH * severity**1.5 * min(image.shape[1:]) / 256, generator)
    if len(psf) == 1:
        return image
    return from_linear(_convolved(to_linear(image), psf).clamp(0, 1))


def _convolved(light: Tensor, psf: Tensor) -> Tensor:
    """(C, H, W) convolved with (2r + 1, 2r + 1), borders reflected."""
    height, width = light.shape[1:]
    radius = psf.shape[0] // 2
    if radius == 0:
        return light
    light = F.pad(light[None], (radius,) * 4, mode="reflect")[0]
    size = [fast_length(side + 2 * radius) for side in (height, width)]
    spectrum = torch.fft.rfft2(light, s=size) * torch.fft.rfft2(psf, s=size)
    # circular wrap-around touches only the first 2 * radius rows and columns
    blurred = torch.fft.irfft2(spectrum, s=size)
    return blurred[:, 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def _wander(length: float, bend: float, generator: torch.Generator) -> Tensor:
    """Camera path of this length around its mean, (n, 2), its times equally spaced.

    A sum of a few slow waves, so that it is slow, and dwells, where it turns; `bend` is from 0, a
    line, to 1, loops.
    """
    waves = torch.randn(2, 4, 2, generator=generator)
    heading = 2 * math.pi * torch.rand((), generator=generator)
    samples = max(STEPS, 3 * math.ceil(length))
    time = torch.linspace(0, 1, samples)
    order = torch.arange(1, 5.0)
    phase = 2 * math.pi * (time[:, None] * 0.6 * order + waves[0, :, 0])
    shake = (phase.sin() / order**1.5) @ torch.stack([waves[1, :, 0], waves[1, :, 1]], 1)
    line = (time - 0.5)[:, None] * torch.stack([heading.sin(), heading.cos()])
    path = (1 - bend) * line + bend * shake
    travelled = path.diff(dim=0).norm(dim=1).sum().clamp_min(1e-6)
    path = path * (length / travelled)
    return path - path.mean(0)


def _spread(path: Tensor) -> Tensor:
    """Point-spread function of a path (n, 2) around 0, (2r + 1, 2r + 1), sum 1."""
    radius = math.ceil(path.abs().max().item())
    size = 2 * radius + 1
    deposit = torch.full((len(path),), 1 / len(path))
    return splat(path[:, 0] + radius, path[:, 1] + radius, deposit, size, size)


def _disc(radius: float, rim: float, blades: float, turn: float) -> Tensor:
    """Point-spread function of a lens out of focus, sum 1: a disc, or its iris's polygon."""
    reach = math.ceil(radius) + 1
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
    distance = (y.square() + x.square()).sqrt()
    edge = distance
    if blades >= 5:
        sector = 2 * math.pi / int(blades)
        off = (torch.atan2(y, x) + turn) % sector - sector / 2
        edge = distance * off.cos() / math.cos(sector / 2)
    inside = (radius + 0.5 - edge).clamp(0, 1) * (1 + rim * (distance / max(radius, 1)) ** 4)
    return inside / inside.sum()


def _scene(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Linear light; in half of the draws what is nearly white was brighter than a file holds."""
    (lamps,) = uniform(generator, (-5, 5))
    glow = ((image.amin(0) - 0.8) / 0.2).clamp(0, 1).square()
    height, width = glow.shape
    coarse = F.adaptive_avg_pool2d(glow[None], reduced_size(height, width, 12))[0]
    around = resize(coarse, height, width)
    glow = (glow - 2 * around).clamp_min(0)  # a lamp or a gleam, not a white sky
    return to_linear(image) * (1 + max(0.0, lamps) * onset(severity) * glow)


def _developed(light: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A photo of this light: a little grain in two thirds of the draws, then mostly a JPEG file."""
    (sigma,) = uniform(generator, (-2, 4))
    grain = torch.randn(light.shape, generator=generator)
    photo = from_linear(light.clamp(0, 1)) + max(0.0, sigma) / 255 * onset(severity) * grain
    return saved(photo.clamp(0, 1), severity, generator)


def _length(image: Tensor, severity: float, more: float) -> float:
    """In pixels: the usual one at `more` = 0, e^more of that else."""
    return MAX_LENGTH * severity**1.5 * math.exp(more) * min(image.shape[1:]) / 256


def curved(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A path of any length that bends, loops and dwells."""
    more, bend = uniform(generator, (-0.8, 0.8), (0.3, 1))
    path = _wander(_length(image, severity, more), bend, generator)
    light = _convolved(_scene(image, severity, generator), _spread(path))
    return _developed(light, severity, generator)


def straight(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A line of any length and heading, as of a panned camera or a window of a train."""
    more, bend, lag = uniform(generator, (-0.9, 0.6), (0, 0.08), (-0.5, 0.5))
    path = _wander(_length(image, severity, more), bend, generator)
    time = torch.linspace(0, 1, len(path))
    pace = (time + lag * time * (1 - time)) * (len(path) - 1)  # gathers speed, or loses it
    low = pace.floor().long().clamp(0, len(path) - 2)
    path = torch.lerp(path[low], path[low + 1], (pace - low)[:, None])
    light = _convolved(_scene(image, severity, generator), _spread(path - path.mean(0)))
    return _developed(light, severity, generator)


def turned(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A camera that rolls, zooms or drives on while it is open: sharp in one place, if in any."""
    _, height, width = image.shape
    more, y, x, turn = uniform(generator, (-0.5, 0.7), (-0.2, 1.2), (-0.2, 1.2), (0, 2 * math.pi))
    length = _length(image, severity, more)  # at half of the short side from the centre
    rate = 2 * length / min(height, width)
    motion = torch.polar(torch.tensor(rate), torch.tensor(turn))  # zooms by its real part
    centre = torch.complex(torch.tensor(x * width), torch.tensor(y * height))
    farthest = max(
        abs(complex(x * width - a, y * height - b)) for a in (0, width) for b in (0, height)
    )
    doublings = min(7, math.ceil(math.log2(max(2.0, rate * farthest))))
    light = _scene(image, severity, generator)
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
    )
    place = torch.complex(columns, rows) - centre
    for k in range(doublings):
        # the mean of 2^k moments becomes that of 2^(k + 1), half of them before, half after
        step = motion * 2.0 ** (k - doublings - 1)
        light = (
            _moved(light, place * step.exp() + centre) + _moved(light, place / step.exp() + centre)
        ) / 2
    return _developed(light, severity, generator)


def uneven(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """What is near, or an object alone, or all but the object moves across the picture."""
    _, height, width = image.shape
    more, far, bend, other, share = uniform(
        generator, (-0.3, 0.9), (-0.6, 0.6), (0, 0.6), (0, 1), (-0.6, 0.6)
    )
    near = _wander(_length(image, severity, more), bend, generator)
    # a third each: the object alone, all but it, both by as much more as it is nearer
    behind = near * abs(far) if other > 2 / 3 else near * 0
    if other < 1 / 3:
        near, behind = behind, near
    field = fractal_noise(*reduced_size(height, width, 64), generator, cells=2, octaves=2)
    object = (4 * (resize(field, height, width, "bicubic") - share)).clamp(-0.5, 0.5) + 0.5
    light = _scene(image, severity, generator)
    moved = _convolved(torch.cat([light * object, object[None]]), _spread(near))
    rest = _convolved(light, _spread(behind))
    return _developed(moved[:3] + (1 - moved[3:]) * rest, severity, generator)


def defocused(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Out of focus: a disc or an iris's polygon, in half of the draws of two sizes by depth."""
    _, height, width = image.shape
    more, rim, blades, turn, other, share = uniform(
        generator, (-0.6, 0.5), (-0.4, 0.8), (2, 9), (0, 6.3), (-1, 1), (-0.8, 0.8)
    )
    radius = MAX_RADIUS * severity**1.3 * math.exp(more) * min(height, width) / 256
    light = _scene(image, severity, generator)
    blurred = _convolved(light, _disc(radius, rim, blades, turn))
    if other > 0:
        field = fractal_noise(*reduced_size(height, width, 64), generator, cells=2, octaves=2)
        near = torch.sigmoid(3 * (resize(field, height, width) - share))
        sharper = _convolved(light, _disc(radius * other, rim, blades, turn))
        blurred = torch.lerp(blurred, sharper, near)
    return _developed(blurred, severity, generator)


def handheld(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A hand's tremor, shift and roll, read row after row: held out.

    The path is an Ornstein-Uhlenbeck process beside a tremor of some hertz; each row is open as
    long, but begins later (a rolling shutter), and is where the mean of its own poses puts it.
    """
    _, height, width = image.shape
    more, readout, roll, hertz, quality, sigma = uniform(
        generator, (-0.2, 1.0), (0.1, 0.8), (0, 1), (0.5, 2.5), (65, 96), (0, 3)
    )
    length = _length(image, severity, more)
    fine = 64
    walk = torch.randn(3, 2 * fine, generator=generator).cumsum(1) / fine**0.5
    time = torch.linspace(0, 2, 2 * fine)
    phases = 2 * math.pi * torch.rand(3, 1, generator=generator)
    pose = walk + 0.4 * (2 * math.pi * hertz * time + phases).sin()
    exposed = max(24, min(64, math.ceil(1.5 * length)))
    moments = torch.linspace(0, 1, exposed)
    starts = readout * torch.linspace(0, 1, height)
    at = (starts[:, None] + moments) / 2 * (2 * fine - 1)
    low = at.floor().long()
    poses = torch.lerp(pose[:, low], pose[:, low + 1], at - low)  # (3, rows, moments)
    travelled = (poses[:2, 0].diff(dim=1)).norm(dim=0).sum().clamp_min(1e-6)
    poses = (poses - poses.mean(2, keepdim=True)) * length / travelled
    angle = roll * poses[2] / (0.5 * min(height, width))
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij"
    )
    scene, light = to_linear(image), torch.zeros_like(image)
    for k in range(exposed):
        turn, down, right = angle[:, k, None], poses[0, :, k, None], poses[1, :, k, None]
        x = columns + right - turn * (rows - height / 2)
        y = rows + down + turn * (columns - width / 2)
        light += _moved(scene, torch.complex(x, y)) / exposed
    grain = sigma / 255 * onset(severity) * torch.randn(image.shape, generator=generator)
    photo = (from_linear(light.clamp(0, 1)) + grain).clamp(0, 1)
    return through_file(photo, round(97 - (97 - quality) * onset(severity)))


def _moved(light: Tensor, place: Tensor) -> Tensor:
    """(3, H, W) read at complex places x + iy in pixels, (H, W); beyond the borders reflected."""
    _, height, width = light.shape
    grid = torch.stack([place.real * (2 / width) - 1, place.imag * (2 / height) - 1], -1)
    return F.grid_sample(light[None], grid[None], padding_mode="reflection", align_corners=False)[0]


TASK = Task(
    "motion-blurry",
    {
        USUAL: Form(motion_blur, "a camera that wanders"),
        "curved": Form(curved, "a path of any length that bends and dwells"),
        "straight": Form(straight, "a straight line of any length"),
        "turned": Form(turned, "a camera that turns, zooms or drives on"),
        "uneven": Form(uneven, "an object that moves, or all behind it"),
        "defocused": Form(defocused, "out of focus"),
        "handheld": Form(handheld, "a hand's tremor under a rolling shutter", held_out=True),
    },
    local=False,
)
