"""Any photo in, the same kind out; and a sentence for what is no photo."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from mrsampler import photo
from mrsampler.photo import Photo, PhotoError, read, resize, to_pil, to_uint8

WIDTH, HEIGHT = 48, 40


def colours(width=WIDTH, height=HEIGHT):
    """A smooth colour picture, (H, W, 3) uint8, no two corners alike."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [x * 255 // (width - 1), y * 255 // (height - 1), 255 - (x + y) * 255 // (width + height)],
        axis=-1,
    ).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb_of(source):
    return read(source).rgb


def as_tensor(array):
    return torch.from_numpy(np.array(array, dtype=np.float32)).permute(2, 0, 1) / 255


COLOUR = Image.fromarray(colours())
GREY = COLOUR.convert("L")


# --- modes ---------------------------------------------------------------------------------------


def test_rgb_is_read_as_it_is():
    got = read(encoded(COLOUR))
    assert torch.equal(got.rgb, as_tensor(COLOUR))
    assert got.rgb.dtype == torch.float32 and got.rgb.is_contiguous()
    assert got.size == (WIDTH, HEIGHT)
    assert (got.alpha, got.profile, got.grey) == (None, None, False)


def test_a_file_its_path_its_bytes_and_the_open_image_read_the_same(tmp_path):
    path = tmp_path / "a photo.png"
    COLOUR.save(path)
    results = [rgb_of(s) for s in (path, str(path), path.read_bytes(), Image.open(path), COLOUR)]
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_is_read_as_three_equal_channels_and_comes_back_grey(mode):
    source = GREY.convert(mode)
    got = read(encoded(source))
    assert got.grey and got.alpha is None
    expected = as_tensor(source.convert("RGB"))
    assert torch.equal(got.rgb, expected)
    assert got.image(got.rgb).mode == "L"
    assert np.array_equal(np.array(got.image(got.rgb)), np.array(source.convert("L")))


def test_grey_with_alpha_keeps_both():
    source = GREY.copy()
    source.putalpha(Image.fromarray(colours()[..., 1]))
    got = read(encoded(source))
    assert got.grey and np.array_equal(got.alpha.numpy(), colours()[..., 1])
    back = got.image(got.rgb)
    assert back.mode == "LA" and np.array_equal(np.array(back), np.array(source))


def test_alpha_is_kept_and_does_not_darken_the_colours():
    source = COLOUR.copy()
    source.putalpha(Image.fromarray(colours()[..., 0]))
    got = read(encoded(source))
    assert torch.equal(got.rgb, as_tensor(COLOUR))
    back = got.image(got.rgb)
    assert back.mode == "RGBA" and np.array_equal(np.array(back), np.array(source))


def test_an_alpha_that_hides_nothing_is_dropped():
    source = COLOUR.copy()
    source.putalpha(255)
    got = read(encoded(source))
    assert got.alpha is None and got.image(got.rgb).mode == "RGB"


def test_a_palette_is_read_by_its_colours():
    source = COLOUR.quantize(32)
    got = read(encoded(source))
    assert torch.equal(got.rgb, as_tensor(source.convert("RGB")))
    assert got.alpha is None and got.image(got.rgb).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour_keeps_it(kind):
    source = COLOUR.quantize(32)
    transparent = np.array(source) == 5
    assert 0 < transparent.sum() < transparent.size
    got = read(encoded(source, kind, transparency=5))
    assert np.array_equal(got.alpha.numpy() == 0, transparent)
    assert got.image(got.rgb).mode == "RGBA"


@pytest.mark.parametrize("source", [COLOUR, GREY], ids=["RGB", "L"])
def test_a_transparent_colour_in_a_png_without_alpha_keeps_its_place(source):
    first = source.getpixel((0, 0))
    got = read(encoded(source, transparency=first))
    expected = (np.array(source) == first).reshape(HEIGHT, WIDTH, -1).all(-1)
    assert np.array_equal(got.alpha.numpy() == 0, expected)
    assert got.grey == (source is GREY)


def test_16_bit_grey_is_read_over_its_whole_range():
    levels = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    for kind in ("PNG", "TIFF"):
        got = read(encoded(Image.fromarray(levels), kind))
        assert got.grey
        np.testing.assert_allclose(got.rgb[1].numpy(), levels / 65535, atol=1e-6)
    assert got.image(got.rgb).mode == "L"


@pytest.mark.parametrize("top", [1, 200, 255, 256])
def test_a_dark_16_bit_picture_stays_dark(top):
    levels = np.full((HEIGHT, WIDTH), top, dtype=np.uint16)
    got = read(encoded(Image.fromarray(levels)))
    assert got.rgb.max().item() == pytest.approx(top / 65535, abs=1e-6)


def test_floating_point_tiff_in_0_to_1_or_in_8_bit_values():
    levels = np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    for scale in (1, 255):
        got = read(encoded(Image.fromarray(levels * scale), "TIFF"))
        assert got.grey
        np.testing.assert_allclose(got.rgb[0].numpy(), levels, atol=1e-6)


def test_floating_point_values_that_are_not_finite_do_not_spoil_the_rest():
    levels = np.full((HEIGHT, WIDTH), 0.25, dtype=np.float32)
    levels[3, 4], levels[5, 6], levels[7, 8] = np.nan, np.inf, 0.75
    got = read(encoded(Image.fromarray(levels), "TIFF")).rgb
    assert torch.isfinite(got).all() and got.min() >= 0 and got.max() <= 1
    assert got[0, 0, 0].item() == pytest.approx(0.25) and got[0, 7, 8].item() == pytest.approx(0.75)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    options = {"quality": 95} if kind == "JPEG" else {}
    got = read(encoded(COLOUR.convert("CMYK"), kind, **options))
    # Without a profile: the plain complement; a JPEG's own loss is a few levels.
    assert (got.rgb - as_tensor(COLOUR)).abs().mean() < 0.02
    assert not got.grey and got.image(got.rgb).mode == "RGB"


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_an_open_image_in_another_colour_space_becomes_rgb(mode):
    got = read(COLOUR.convert(mode))
    # The way there and back rounds twice to 8 bits.
    assert (got.rgb - as_tensor(COLOUR)).abs().mean() < 0.02
    assert not got.grey and got.image(got.rgb).mode == "RGB"


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    got = rgb_of(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert torch.equal(got[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]))


# --- orientation and profile ---------------------------------------------------------------------

STORED_AS = {  # EXIF orientation: how a picture that is upright is stored
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_every_exif_orientation_is_turned_upright(orientation):
    turn = STORED_AS[orientation]
    stored = COLOUR if turn is None else COLOUR.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read(encoded(stored, exif=exif))
    assert got.size == (WIDTH, HEIGHT)
    assert torch.equal(got.rgb, as_tensor(COLOUR))


def test_alpha_is_turned_with_the_picture():
    upright = COLOUR.copy()
    upright.putalpha(Image.fromarray(colours()[..., 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    got = read(encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=exif))
    assert np.array_equal(got.alpha.numpy(), colours()[..., 0])


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_colour_profile_is_kept(orientation):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read(encoded(COLOUR, icc_profile=profile, exif=exif))
    assert got.profile == profile
    saved = encoded(got.image(got.rgb))
    with Image.open(io.BytesIO(saved)) as again:
        assert again.info["icc_profile"] == profile
        assert again.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    "profile",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"no profile"],
    ids=["of RGB", "broken"],
)
def test_a_profile_of_another_colour_space_does_not_survive_the_change_to_rgb(profile):
    got = read(encoded(COLOUR.convert("CMYK"), "TIFF", icc_profile=profile))
    assert got.profile is None
    # It cannot be gone by: the plain complement is taken, as without one.
    assert (got.rgb - as_tensor(COLOUR)).abs().mean() < 0.02


# --- files that are no photos --------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file\n" * 20, bytes(1000)])
def test_what_is_no_picture_is_said_so(tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(PhotoError, match="not a picture that can be read"):
            read(source)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_a_file_cut_short_is_said_so(kind):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(PhotoError):
        read(content[: len(content) // 2])


def test_a_damaged_file_is_said_so():
    content = bytearray(encoded(COLOUR))
    start = content.index(b"IDAT") + 10
    content[start : start + 40] = bytes(40)
    with pytest.raises(PhotoError, match="damaged or cut short"):
        read(bytes(content))


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def png_header(width, height):
    """A PNG that says it is this large and holds next to nothing."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100)))


@pytest.mark.parametrize("width, height", [(8001, 8000), (9400, 9400), (30000, 30000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_more_than_64_megapixels_are_refused_from_the_header_alone(width, height, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it is decoded"))
    with pytest.raises(PhotoError, match="more than 64 megapixels"):
        read(png_header(width, height))


def test_the_limits_themselves_are_allowed(monkeypatch):
    monkeypatch.setattr(photo, "MAX_PIXELS", 32 * 50)
    assert read(encoded(Image.new("RGB", (32, 50)))).size == (32, 50)
    with pytest.raises(PhotoError, match="megapixels"):
        read(encoded(Image.new("RGB", (33, 50))))


@pytest.mark.parametrize("size", [(31, 100), (100, 31), (1, 1)])
def test_a_side_under_32_pixels_is_refused_with_its_size(size):
    with pytest.raises(PhotoError, match=f"{size[0]} x {size[1]} pixels.*at least 32"):
        read(encoded(Image.new("RGB", size)))


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, largest, expected",
    [
        ((40, 48), 512, (40, 48)),  # never up
        ((512, 512), 512, (512, 512)),
        ((400, 800), 200, (100, 200)),
        ((800, 400), 200, (200, 100)),
        ((640, 64), 320, (320, 32)),  # the short side stops at 32 ...
        ((1000, 40), 200, (800, 32)),  # ... and then the long one stays longer
        ((999, 333), 100, (100, 33)),
        ((33, 32), 32, (33, 32)),
    ],
)
def test_within_scales_down_to_the_largest_side(shape, largest, expected):
    result = Photo(torch.rand(3, *shape), (shape[1], shape[0])).within(largest).rgb
    assert tuple(result.shape) == (3, *expected)
    assert result.min() >= 0 and result.max() <= 1


def test_within_refuses_a_largest_side_no_photo_can_have():
    with pytest.raises(ValueError, match="at least 32, got 31"):
        Photo(torch.rand(3, 40, 40), (40, 40)).within(31)


def test_a_picture_over_32_times_as_long_as_wide_is_refused():
    # Its short side cannot go under 32 pixels, so no largest side would bound it.
    read(encoded(Image.new("RGB", (1024, 32))))
    with pytest.raises(PhotoError, match="32 times as long"):
        read(encoded(Image.new("RGB", (1056, 32))))


def test_a_format_that_would_start_other_programs_is_no_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40)).save(buffer, "EPS")
    with pytest.raises(PhotoError, match="not a picture that can be read"):
        read(buffer.getvalue())


def test_resizing_to_the_same_size_changes_nothing():
    rgb = torch.rand(3, 40, 48)
    assert torch.equal(resize(rgb, (48, 40)), rgb)


def test_resizing_keeps_a_ramp_a_ramp_and_averages_what_it_cannot_show():
    ramp = torch.linspace(0, 1, 256).expand(3, 64, 256)
    small = resize(ramp, (64, 16))
    expected = (torch.arange(64) * 4 + 1.5) / 255
    torch.testing.assert_close(small[0, 8, 2:-2], expected[2:-2], rtol=0, atol=2e-3)
    checkers = torch.arange(128).remainder(2).float().expand(3, 128, 128)
    assert (resize(checkers, (32, 32)) - 0.5).abs().max() < 0.05


def test_the_result_is_given_back_at_the_photos_own_size():
    source = read(encoded(Image.fromarray(colours(200, 120))))
    back = source.image(source.within(100).rgb)
    assert back.size == (200, 120)
    assert np.abs(np.array(back).astype(int) - colours(200, 120)).mean() < 3


def test_pictures_are_clipped_and_rounded_not_wrapped():
    values = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 0.5, 1.0, 1.7])
    row = to_uint8(values.expand(3, 1, -1))
    assert row.shape == (1, 7, 3) and row.dtype == torch.uint8
    assert row[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255]
    assert to_pil(values.expand(3, 1, -1)).getpixel((6, 0)) == (255, 255, 255)


def test_every_8_bit_value_makes_the_round_trip():
    levels = np.arange(256, dtype=np.uint8).repeat(6).reshape(48, 32)
    source = read(encoded(Image.fromarray(np.stack([levels] * 3, -1))))
    assert np.array_equal(np.array(source.image(source.rgb)), np.stack([levels] * 3, -1))
    assert isinstance(source, Photo)
