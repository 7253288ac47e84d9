"""Pictures from untrusted files: what they become, and what is refused."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import made_pictures
import numpy as np
import numpy.typing as npt
import pytest
from made_pictures import chunk, segment, tiff

from fer_edge.errors import InputError
from fer_edge.images import reading as images
from fer_edge.images.reading import decode_image, read_image

Image = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 64, 48
SUFFIXES = (".jpg", ".png", ".webp", ".bmp")
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]
UPRIGHT = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH, 1) // 16
SMOOTH: Image = (UPRIGHT + np.array([0, 20, 40], np.uint32)).astype(np.uint8)


def encoded(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], suffix: str) -> bytes:
    options = LOSSLESS if suffix == ".webp" else []
    done, data = cv2.imencode(suffix, pixels, options)
    assert done
    return data.tobytes()


def quadrants() -> Image:
    """Blue and green over red and white: no two of the eight orientations look the same."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:24, :32] = (255, 0, 0)
    pixels[:24, 32:] = (0, 255, 0)
    pixels[24:, :32] = (0, 0, 255)
    pixels[24:, 32:] = (255, 255, 255)
    return pixels


def corners(image: Image) -> str:
    """Name the colours of the quadrants, row by row."""
    names = {(1, 0, 0): "B", (0, 1, 0): "G", (0, 0, 1): "R", (1, 1, 1): "W"}
    height, width = image.shape[:2]
    rows, columns = (height // 4, height * 3 // 4), (width // 4, width * 3 // 4)
    found = [tuple((image[y, x] > 127).astype(int).tolist()) for y in rows for x in columns]
    return "".join(names[colour] for colour in found)


def jpeg_with_exif(orientation: int) -> bytes:
    return made_pictures.jpeg_with_exif(encoded(quadrants(), ".jpg"), tiff(orientation))


def png_with_exif(orientation: int) -> bytes:
    return made_pictures.png_with_exif(encoded(quadrants(), ".png"), tiff(orientation))


def webp_with_exif(orientation: int) -> bytes:
    webp = encoded(quadrants(), ".webp")
    return made_pictures.webp_with_exif(webp, (WIDTH, HEIGHT), tiff(orientation))


def png(size: tuple[int, int], kind: tuple[int, int], rows: bytes, extra: bytes = b"") -> bytes:
    """Write ``rows``, each with its filter byte, as ``kind``: bits per sample, colour type."""
    header = struct.pack(">IIBBBBB", *size, *kind, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def flat_cmyk_jpeg(levels: tuple[int, int, int, int]) -> bytes:
    """Write 8 x 8 pixels of one colour as a baseline JPEG of four components.

    Every DC size category has a code of four bits, and the only AC code, of one, ends the block.
    """

    quantisation = segment(0xDB, b"\0" + bytes([1]) * 64)
    frame = struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(4))
    dc = segment(0xC4, b"\x00" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
    ac = segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    scan = segment(0xDA, b"\4" + b"".join(bytes([i, 0]) for i in range(4)) + bytes([0, 63, 0]))
    bits = ""
    for level in levels:
        value = 8 * (level - 128)
        size = abs(value).bit_length()
        magnitude = value if value > 0 else value + (1 << size) - 1
        bits += f"{size:04b}" + (f"{magnitude:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    tables = quantisation + segment(0xC0, frame) + dc + ac
    return b"\xff\xd8" + tables + scan + packed + b"\xff\xd9"


# Pixels


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_is_read_as_bgr(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"face{suffix}"
    path.write_bytes(encoded(SMOOTH, suffix))
    image = read_image(path)
    tolerance = 6 if suffix == ".jpg" else 0
    assert np.abs(image.astype(int) - SMOOTH.astype(int)).max() <= tolerance


def test_the_result_is_a_contiguous_array_of_its_own() -> None:
    image = decode_image(jpeg_with_exif(6), "face.jpg")
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert image.dtype == np.uint8


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "gesicht äöü.png"
    path.write_bytes(encoded(SMOOTH, ".png"))
    assert read_image(str(path)).shape == SMOOTH.shape


def test_the_format_is_told_by_the_bytes_not_by_the_name(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(encoded(SMOOTH, ".png"))
    np.testing.assert_array_equal(read_image(path), SMOOTH)


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(encoded(SMOOTH, ".png"))
    link = tmp_path / "link"
    link.symlink_to("face.png")
    np.testing.assert_array_equal(read_image(link), SMOOTH)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    # TIFF 6.0, page 36: where row 0 and column 0 of the stored picture belong
    list(enumerate(["BGRW", "GBWR", "WRGB", "RWBG", "BRGW", "RBWG", "WGRB", "GWBR"], start=1)),
)
@pytest.mark.parametrize("with_exif", [jpeg_with_exif, png_with_exif, webp_with_exif])
def test_rotation_in_exif_is_applied(
    with_exif: Callable[[int], bytes], orientation: int, expected: str
) -> None:
    image = decode_image(with_exif(orientation), "face")
    assert corners(image) == expected


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_gray_becomes_three_equal_channels(suffix: str) -> None:
    image = decode_image(encoded(np.full((8, 8), 77, np.uint8), suffix), "face")
    np.testing.assert_array_equal(image, np.full((8, 8, 3), 77, np.uint8))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (255, 255),
        (256, 64),
        (1023, 255),
        (1024, 64),
        (4095, 255),
        (4096, 64),
        (16383, 255),
        (0x42FF, 0x42),
        (0xFEFF, 0xFE),
        (0xFFFF, 0xFF),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_eight_by_what_they_hold(
    suffix: str, value: int, expected: int
) -> None:
    pixels = np.full((2, 2, 3), value, np.uint16)
    assert set(decode_image(encoded(pixels, suffix), "face").ravel().tolist()) == {expected}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png((2, 1), (8, 4), bytes([0, 100, 255, 200, 0])), [[100] * 3, [200] * 3]),
        (png((2, 1), (8, 6), bytes([0, 1, 2, 3, 255, 4, 5, 6, 0])), [[3, 2, 1], [6, 5, 4]]),
    ],
    ids=["gray and alpha", "RGBA"],
)
def test_a_transparent_pixel_keeps_its_stored_colour(data: bytes, expected: list[object]) -> None:
    assert decode_image(data, "face.png").tolist() == [expected]


@pytest.mark.parametrize("transparency", [b"", chunk(b"tRNS", b"\xff\0")])
def test_a_palette_is_looked_up(transparency: bytes) -> None:
    extra = chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])) + transparency
    image = decode_image(png((2, 1), (8, 3), bytes([0, 0, 1]), extra), "face.png")
    assert image.tolist() == [[[3, 2, 1], [6, 5, 4]]]


def test_one_bit_becomes_black_and_white() -> None:
    image = decode_image(png((2, 1), (1, 0), bytes([0, 0x40])), "face.png")
    assert image.tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((10, 20, 30, 255), (30, 20, 10)), ((255, 255, 255, 100), (100, 100, 100))],
    ids=["no black ink", "black ink alone"],
)
def test_cmyk_is_taken_as_inverted(
    levels: tuple[int, int, int, int], expected: tuple[int, int, int]
) -> None:
    image = decode_image(flat_cmyk_jpeg(levels), "face.jpg")
    assert np.abs(image.astype(int) - np.array(expected)).max() <= 2


def test_a_bmp_stored_from_the_top_stands_upright() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, -2, 1, 24, 0, 0, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + header + bytes(range(24))
    assert decode_image(data, "face.bmp").ravel().tolist() == list(range(24))


# Files that cannot be read


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.touch()
    with pytest.raises(InputError, match="has 0 bytes"):
        read_image(path)


def test_a_file_of_very_many_bytes_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("the file was opened"))
    with pytest.raises(InputError, match=r"268,435,457 bytes; the most is 268,435,456"):
        read_image(path)


def test_bytes_beyond_the_bound_are_refused_before_they_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(quadrants(), ".png")
    monkeypatch.setattr(images, "MAX_BYTES", len(data) - 1)
    monkeypatch.setattr(images, "picture_size", lambda *_: pytest.fail("they were looked at"))
    with pytest.raises(InputError, match=rf"a frame has {len(data):,} bytes"):
        decode_image(data, "a frame")


# Bytes that cannot be decoded


def test_a_format_that_opencv_knows_and_we_do_not_is_refused() -> None:
    with pytest.raises(InputError, match="is not a picture"):
        decode_image(encoded(SMOOTH, ".ppm"), "face.ppm")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_stands_upright(orientation: int) -> None:
    stored = encoded(np.arange(8 * 12, dtype=np.uint8).reshape(8, 12), ".tiff")
    order = "<" if stored.startswith(b"II") else ">"
    turned = bytearray(stored)
    (directory,) = struct.unpack_from(f"{order}I", stored, 4)
    (count,) = struct.unpack_from(f"{order}H", stored, directory)
    entries = [stored[at : at + 12] for at in range(directory + 2, directory + 2 + 12 * count, 12)]
    entries.append(struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0))
    struct.pack_into(f"{order}I", turned, 4, len(turned))
    turned += struct.pack(f"{order}H", len(entries))
    turned += b"".join(sorted(entries, key=lambda one: struct.unpack_from(f"{order}H", one)))
    turned += bytes(4)
    image = decode_image(bytes(turned), "face.tiff")[:, :, 0]
    assert image.shape == ((8, 12) if orientation < 5 else (12, 8))
    corner = {1: 0, 2: 11, 3: 95, 4: 84, 5: 0, 6: 84, 7: 95, 8: 11}[orientation]
    assert image[0, 0] == corner


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(InputError, match="pixels of type float32; expected whole numbers"):
        decode_image(encoded(np.zeros((8, 8, 3), np.float32), ".tiff"), "depth.tiff")


@pytest.mark.parametrize(
    "address",
    [
        *("https://example.org/face.jpg", "rtsp://camera/1", "data:image/png;base64,iVBORw0KGgo="),
        Path("https://example.org/face.jpg"),
    ],
)
def test_an_address_is_told_from_a_path(address: str | Path) -> None:
    with pytest.raises(InputError, match="is an address; download the picture"):
        read_image(address)


@pytest.mark.parametrize("value", [None, b"face.jpg", np.zeros((8, 8), np.uint8)])
def test_what_is_no_path_is_told(value: Any) -> None:
    with pytest.raises(InputError, match="expected the path of a picture, not"):
        read_image(value)


@pytest.mark.parametrize(
    ("width", "height"), [(10_001, 10_000), (65_501, 1), (1, 65_501), (2**31 - 1, 2**31 - 1)]
)
def test_a_bomb_is_refused_by_its_header(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match=rf"{width} x {height} pixels.*100,000,000.*65,500"):
        decode_image(png((width, height), (8, 2), b""), "bomb.png")


def test_the_longest_side_is_decoded() -> None:
    assert decode_image(png((65_500, 1), (1, 0), bytes(1 + 8188)), "line.png").shape == (
        1,
        65_500,
        3,
    )


@pytest.mark.parametrize(
    "data",
    [
        png((WIDTH, HEIGHT), (8, 2), bytes(100)),
        png((WIDTH, HEIGHT), (7, 2), bytes(100)),
        png((WIDTH, HEIGHT), (8, 3), bytes((WIDTH + 1) * HEIGHT)),
        encoded(SMOOTH, ".jpg").replace(b"\xff\xc0", b"\xff\xc3"),
    ],
    ids=["too few rows", "depth of 7 bits", "no palette", "lossless JPEG"],
)
def test_what_opencv_cannot_decode_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"face cannot be decoded.*save it as JPEG or PNG"):
        decode_image(data, "face")


def test_an_error_of_opencv_becomes_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error("out of memory")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(InputError, match=r"cannot be decoded \(out of memory\)"):
        decode_image(encoded(SMOOTH, ".png"), "face.png")


def test_a_picture_of_another_size_than_its_header_says_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = np.zeros((WIDTH, HEIGHT, 3), np.uint8)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: other)
    with pytest.raises(InputError, match="says 64 x 48 pixels, and 48 x 64 were decoded"):
        decode_image(encoded(SMOOTH, ".png"), "face.png")


def test_a_jpeg_with_two_headers_is_refused() -> None:
    data = encoded(SMOOTH, ".jpg")
    start = data.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", data, start + 2)
    first = bytearray(data[start : start + 2 + length])
    struct.pack_into(">HH", first, 5, 8, 8)
    with pytest.raises(InputError):
        decode_image(data[:start] + bytes(first) + data[start:], "face.jpg")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_makes_no_noise(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError):
        decode_image(encoded(quadrants(), suffix)[:-9], "face")
    assert capfd.readouterr() == ("", "")
