"""The one reader of images: every kind converted by value, everything else refused by name."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from vlp.data import images
from vlp.data.images import image_bytes, image_size, read_rgb


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=2, height=1, *more: bytes, mode=2, pixels=b"\0\x01\x02\x03\x04\x05\x06") -> bytes:
    """Return the bytes of a PNG file; RGB, one row, unless told otherwise."""
    header = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def encoded(image: Image.Image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path):
    def read(content: bytes, **options):
        (tmp_path / "image.png").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an error is enough
            return read_rgb(tmp_path / "image.png", **options)

    return read


@pytest.fixture
def refusal(read, tmp_path):
    def refusal(content: bytes, **options) -> str:
        with pytest.raises(ValueError) as error:
            read(content, **options)
        start = f"{tmp_path / 'image.png'}: found "
        assert str(error.value).startswith(start)
        return str(error.value).removeprefix(start)

    return refusal


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGB", (2, 1), (10, 20, 30)), (10, 20, 30)),
        (Image.new("RGBA", (2, 1), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (2, 1), (10, 20, 30, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 1), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (2, 1), (100, 255)), (100, 100, 100)),
        (Image.new("L", (2, 1), 100), (100, 100, 100)),
        (Image.new("1", (2, 1), 1), (255, 255, 255)),
        (Image.new("RGB", (2, 1), (10, 20, 30)).quantize(2), (10, 20, 30)),
        (Image.fromarray(np.full((1, 2), 0x80FF, np.uint16)), (128, 128, 128)),
    ],
    ids=["RGB", "opaque", "transparent", "translucent", "grey with alpha", "grey", "bit", "palette", "16 bit"],
)
def test_every_kind_becomes_rgb(read, image, expected):
    pixels = np.asarray(read(encoded(image)))
    assert pixels.shape == (1, 2, 3)
    assert [tuple(pixel) for pixel in pixels[0].tolist()] == [expected] * 2


def test_a_transparent_colour_of_a_palette_is_white(read):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert np.asarray(read(encoded(image, transparency=bytes([0, 255]))))[0].tolist() == [[255] * 3, [40, 50, 60]]


def test_cmyk_of_a_jpeg_becomes_rgb(read):
    image = read(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(image)[4, 4].tolist()
    assert red > 250
    assert max(green, blue) < 5


def test_a_jpeg_under_the_name_of_a_png_is_read(read):  # as in NLVR2
    assert read(encoded(Image.new("RGB", (8, 8), (200, 100, 50)), "JPEG")).size == (8, 8)


def test_an_orientation_is_not_applied(read):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read(encoded(Image.new("RGB", (4, 2)), "JPEG", exif=exif)).size == (4, 2)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no PNG or JPEG image (it begins with b'')"),
        (b"hello there", "no PNG or JPEG image (it begins with b'hello th')"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG or JPEG image (it begins with b'<svg xml')"),
        (encoded(Image.new("RGB", (2, 1)), "GIF"), "no PNG or JPEG image (it begins with b'GIF87a"),
        (encoded(Image.new("RGB", (2, 1)), "TIFF"), "no PNG or JPEG image (it begins with b'II*"),
        (png()[:20], "no readable image ("),
        (encoded(Image.effect_noise((64, 64), 50))[:500], "no readable image (image file is truncated)"),
        (png(0, 0), r"no PNG or JPEG image (it begins with b'\x89PNG"),
        (png(pixels=b"\0"), "no readable image ("),
        (png(30_000, 30_000), "no readable image (Image size (900000000 pixels) exceeds limit"),
        (png(2**31 - 1, 2**31 - 1), "no readable image (Image size (4611686014132420609 pixels) exceeds limit"),
        (png(9_000, 9_000), "9000 x 9000 pixels, over 67,108,864 in all"),
        (png(10_000, 10_000), "no readable image (Image size (100000000 pixels) exceeds limit"),
    ],
    ids=[
        "empty",
        "text",
        "svg",
        "gif",
        "tiff",
        "header",
        "truncated",
        "nothing",
        "few",
        "bomb",
        "larger",
        "large",
        "warned",
    ],
)
def test_what_is_no_image_of_ours_is_refused(refusal, content, found):
    told = refusal(content)
    assert told.startswith(found)
    assert told.endswith(", expected one PNG or JPEG image")


def test_a_text_chunk_that_unpacks_to_much_is_refused(refusal):
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 100_000_000))
    assert refusal(png(2, 1, bomb)).startswith("no readable image (Decompressed data too large")


def test_an_animation_is_refused(refusal):
    frames = [Image.new("RGB", (2, 1), (value, 0, 0)) for value in (1, 2, 3)]
    animation = encoded(frames[0], save_all=True, append_images=frames[1:])
    assert refusal(animation) == "an animation of 3 frames, expected one PNG or JPEG image"


def test_the_size_asked_for_is_named(refusal, read):
    assert refusal(png(), size=(400, 100)) == "2 x 1 pixels, expected 400 x 100 pixels"
    assert read(png(), size=(2, 1)).getpixel((1, 0)) == (4, 5, 6)


def test_the_formats_asked_for_are_named(refusal):
    jpeg = encoded(Image.new("RGB", (8, 8)), "JPEG")
    assert refusal(jpeg, formats=("PNG",)).endswith("expected one PNG image")


FRAMES = [Image.new("RGB", (2, 1), (value, 0, 0)) for value in (1, 2)]


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (encoded(Image.new("RGB", (9, 5)), "JPEG", exif=Image.Exif(), icc_profile=b"x" * 70), (9, 5)),
        (encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]), (2, 1)),
        (png(2, 1, chunk(b"tEXt", b"Comment\0words")), (2, 1)),
        (encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]), None),
    ],
    ids=["JPEG", "MPO", "PNG", "animation"],
)
def test_no_beginning_of_an_image_states_another_size(content, size):
    for most in range(len(content) + 1):
        try:
            found = image_size(content[:most], "it")
        except ValueError:
            found = None
        assert found in (None, size)
    assert found == size


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path, monkeypatch):
    (tmp_path / "image.png").write_bytes(png())
    monkeypatch.setattr(images, "LARGEST_FILE", 50)
    with pytest.raises(ValueError) as error:
        read_rgb(tmp_path / "image.png")
    assert str(error.value) == f"{tmp_path / 'image.png'}: found {len(png())} bytes, expected an image of at most 50"
    assert image_bytes(tmp_path / "image.png", 20) == png()[:20]


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    for path, found in ((tmp_path, "a folder"), (tmp_path / "gone.png", "no file")):
        with pytest.raises(ValueError) as error:
            read_rgb(path)
        assert str(error.value) == f"{path}: found {found}, expected one PNG or JPEG image"
