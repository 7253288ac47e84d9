"""Sizes, rotations and completeness from a picture's bytes alone."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable

import cv2
import made_pictures
import numpy as np
import pytest
from made_pictures import EXIF_PREFIX, chunk, extended, riff, segment, tiff, webp_chunk

from fer_edge.errors import InputError
from fer_edge.images.header import FORMATS, PictureSize, check_complete, orientation, picture_size

WIDTH, HEIGHT = 64, 48
LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]
LOSSY = [cv2.IMWRITE_WEBP_QUALITY, 80]
PROGRESSIVE = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
SLOW_SECONDS = 1.0


def encoded(suffix: str, options: list[int] | None = None) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    done, data = cv2.imencode(suffix, pixels, options or [])
    assert done
    return data.tobytes()


FILES = {
    "jpeg": encoded(".jpg"),
    "progressive-jpeg": encoded(".jpg", PROGRESSIVE),
    "png": encoded(".png"),
    "lossless-webp": encoded(".webp", LOSSLESS),
    "lossy-webp": encoded(".webp", LOSSY),
    "bmp": encoded(".bmp"),
    "tiff": encoded(".tiff"),
}
every_file = pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())


def jpeg_with(segments: bytes) -> bytes:
    return made_pictures.jpeg_with(FILES["jpeg"], segments)


def jpeg_with_exif(block: bytes) -> bytes:
    return made_pictures.jpeg_with_exif(FILES["jpeg"], block)


def png_with_exif(block: bytes) -> bytes:
    return made_pictures.png_with_exif(FILES["png"], block)


def webp_with_exif(block: bytes) -> bytes:
    return made_pictures.webp_with_exif(FILES["lossless-webp"], (WIDTH, HEIGHT), block)


def bmp(
    bits: int, data: bytes, *, compression: int = 0, packed: int = 0, extra: bytes = b""
) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 4, -2, 1, bits, compression, packed, 0, 0, 0, 0)
    pixels = 14 + len(header) + len(extra)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, pixels) + header + extra + data


def core_bmp(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack("<IHHHH", 12, width, height, 1, 24)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + data


# Sizes


@every_file
def test_size_is_that_of_the_encoded_picture(data: bytes) -> None:
    assert picture_size(data) == PictureSize(WIDTH, HEIGHT)


def test_size_of_a_jpeg_is_not_that_of_its_thumbnail() -> None:
    done, thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))
    assert done
    assert picture_size(jpeg_with_exif(tiff(1) + thumbnail.tobytes())) == (WIDTH, HEIGHT)


def test_stray_and_fill_bytes_between_jpeg_segments_are_stepped_over() -> None:
    assert picture_size(jpeg_with(segment(0xE1, b"") + b"\0stray\xff\xff")) == (WIDTH, HEIGHT)


def test_size_of_an_extended_webp_is_its_canvas() -> None:
    assert picture_size(riff(extended(70_000, 3))) == (70_000, 3)


def test_size_of_a_bmp_stored_from_the_top_is_positive() -> None:
    assert picture_size(bmp(24, bytes(24))) == (4, 2)


def test_size_of_an_os2_bmp_is_read() -> None:
    assert picture_size(core_bmp(4, 2, bytes(24))) == (4, 2)


@pytest.mark.parametrize("at", [(16, ">I"), (20, ">I")], ids=["width", "height"])
def test_a_side_of_zero_is_refused(at: tuple[int, str]) -> None:
    data = bytearray(FILES["png"])
    struct.pack_into(at[1], data, at[0], 0)
    with pytest.raises(InputError, match=r"its header says .*\b0\b.* pixels"):
        picture_size(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8\xff\xd9", "holds no picture data"),
        (b"\xff\xd8" + segment(0xE0, b"") + b"\xff\xda\0\2", "size is not given"),
        (b"\xff\xd8" + segment(0xE0, b"") * 70_000, "more than 65536 segments"),
        (FILES["png"][:8] + chunk(b"IDAT", bytes(13)), "IHDR"),
        (riff(b"ABCD" + bytes(20)), "first chunk"),
        (riff(webp_chunk(b"VP8L", bytes(20))), "wrong signature"),
        (riff(webp_chunk(b"VP8 ", bytes(20))), "key frame"),
        (b"BM" + bytes(8) + struct.pack("<II", 100, 16) + bytes(90), "unknown kind"),
        (b"BM" + bytes(8) + struct.pack("<II", 20, 40) + bytes(90), "inside its header"),
    ],
)
def test_a_damaged_header_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        picture_size(data)


@every_file
def test_a_header_that_is_cut_off_is_refused(data: bytes) -> None:
    for length in range(1, 18):
        with pytest.raises(InputError):
            picture_size(data[:length])


# What is not one of the formats


def test_no_bytes_are_refused_as_such() -> None:
    with pytest.raises(InputError, match=r"face\.jpg has 0 bytes"):
        picture_size(b"", "face.jpg")


def test_what_is_no_picture_is_refused_with_its_first_bytes() -> None:
    with pytest.raises(InputError, match=r"not a picture: it begins with b'emotion,'"):
        picture_size(b"emotion,pixels,Usage")


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"GIF89a", "GIF"),
        (b"II+\0", "BigTIFF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"%PDF-1.7", "PDF"),
        (b"<!doctype html>", "web page"),
    ],
)
def test_a_format_that_is_not_read_is_named(start: bytes, name: str) -> None:
    with pytest.raises(InputError, match=name):
        picture_size(start + bytes(40))


@pytest.mark.parametrize("data", [b"", b"text", b"GIF89a"])
def test_every_refusal_lists_the_formats_that_are_read(data: bytes) -> None:
    with pytest.raises(InputError, match="JPEG, PNG, WebP, BMP and TIFF are read"):
        picture_size(data)


def test_the_formats_are_listed() -> None:
    assert FORMATS == ("JPEG", "PNG", "WebP", "BMP", "TIFF")


# Completeness


@every_file
def test_a_whole_file_is_complete(data: bytes) -> None:
    check_complete(data)


@every_file
def test_bytes_after_the_end_are_fine(data: bytes) -> None:
    check_complete(data + b"\xff\xd8 trailing bytes of a camera \xff")


@every_file
def test_a_file_cut_off_anywhere_is_refused(data: bytes) -> None:
    lengths = np.linspace(1, len(data) - 1, 200).astype(int)
    for length in [*lengths.tolist(), len(data) - 2, len(data) - 1]:
        with pytest.raises(InputError):
            check_complete(data[:length])


def test_the_refusal_of_a_truncated_file_says_where_and_what_to_do() -> None:
    with pytest.raises(InputError, match=r"face\.jpg is a damaged or truncated JPEG.*download"):
        check_complete(FILES["jpeg"][:-1], "face.jpg")


def test_the_end_marker_of_a_thumbnail_does_not_complete_a_jpeg() -> None:
    whole = jpeg_with_exif(tiff(1) + FILES["jpeg"])
    with pytest.raises(InputError, match="end before the end marker"):
        check_complete(whole[:-2])


def test_the_end_marker_of_a_second_picture_does_not_complete_a_jpeg() -> None:
    with pytest.raises(InputError, match="another picture begins"):
        check_complete(FILES["jpeg"][:-2] + FILES["jpeg"])


def test_the_end_marker_is_found_across_the_windows_of_the_search() -> None:
    head = FILES["jpeg"][:-2]
    scan = head.index(b"\xff\xda")
    (length,) = struct.unpack_from(">H", head, scan + 2)
    for shift in (-1, 0, 1):
        filling = (scan + 2 + length) + (1 << 20) - len(head) + shift
        check_complete(head + bytes(filling) + b"\xff\xd9")


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    with pytest.raises(InputError, match="more than 100 scans"):
        check_complete(FILES["jpeg"][:-2] + b"\xff\xda" * 100 + b"\xff\xd9")


def test_a_png_whose_checksum_is_wrong_is_refused() -> None:
    data = bytearray(FILES["png"])
    data[data.index(b"IDAT") + 100] ^= 1
    with pytest.raises(InputError, match=r"checksum of its b'IDAT' chunk"):
        check_complete(bytes(data))


def test_a_png_without_picture_data_is_refused() -> None:
    with pytest.raises(InputError, match="no IDAT"):
        check_complete(FILES["png"][:33] + chunk(b"IEND", b""))


def test_an_optional_png_chunk_with_a_wrong_checksum_is_fine() -> None:
    check_complete(FILES["png"][:33] + chunk(b"tEXt", b"a\0b")[:-4] + bytes(4) + FILES["png"][33:])


def test_a_png_of_very_many_chunks_is_refused() -> None:
    with pytest.raises(InputError, match="more than 262144 chunks"):
        check_complete(FILES["png"][:33] + chunk(b"tEXt", b"") * 263_000)


def test_a_webp_without_picture_data_is_refused() -> None:
    with pytest.raises(InputError, match="no picture data"):
        check_complete(riff(extended(WIDTH, HEIGHT)))


def test_a_webp_chunk_longer_than_the_file_is_refused() -> None:
    with pytest.raises(InputError, match="chunks need"):
        check_complete(riff(b"VP8L" + struct.pack("<I", 1000) + b"\x2f" + bytes(20)))


def test_the_file_size_in_a_bmp_is_not_relied_on() -> None:
    check_complete(FILES["bmp"][:2] + bytes(4) + FILES["bmp"][6:])


def test_a_packed_bmp_is_as_long_as_its_header_says() -> None:
    with pytest.raises(InputError, match="should have 1078"):
        check_complete(bmp(8, bytes(23), compression=1, packed=24, extra=bytes(1000)))


def test_a_bmp_whose_channels_would_be_swapped_is_refused() -> None:
    masks = struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)
    with pytest.raises(InputError, match="colour masks"):
        check_complete(bmp(32, bytes(32), compression=3, extra=masks))


def test_a_bmp_with_the_usual_masks_is_complete() -> None:
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    check_complete(bmp(32, bytes(32), compression=3, extra=masks))


# Rotation


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("with_exif", [jpeg_with_exif, png_with_exif, webp_with_exif])
def test_orientation_is_read(with_exif: Callable[[bytes], bytes], order: str, value: int) -> None:
    assert orientation(with_exif(tiff(value, order))) == value


def test_orientation_as_a_long_is_read() -> None:
    assert orientation(jpeg_with_exif(tiff(6, kind="I"))) == 6


def test_orientation_behind_xmp_is_read() -> None:
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    exif = segment(0xE1, EXIF_PREFIX + tiff(6))
    assert orientation(jpeg_with(xmp + exif)) == 6


def test_the_first_of_two_exif_blocks_counts() -> None:
    blocks = segment(0xE1, EXIF_PREFIX + tiff(6)) + segment(0xE1, EXIF_PREFIX + tiff(3))
    assert orientation(jpeg_with(blocks)) == 6


def test_orientation_of_a_webp_with_the_prefix_of_jpeg_is_read() -> None:
    assert orientation(webp_with_exif(EXIF_PREFIX + tiff(6))) == 6


@every_file
def test_without_exif_a_picture_stands_as_it_is_stored(data: bytes) -> None:
    assert orientation(data) == 1


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"XX*\0" + tiff(6)[4:],
        b"II*\0\xff\xff\xff\xff",
        tiff(6)[:-12],
        tiff(0),
        tiff(9),
        tiff(6, kind="B"),
    ],
)
def test_exif_that_cannot_be_read_leaves_the_picture_as_it_is_stored(block: bytes) -> None:
    assert orientation(jpeg_with_exif(block)) == 1


# Hostile bytes


@pytest.mark.parametrize(
    "filling",
    [b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xe0\0\2", b"\0\0\0\0tEXt\0\0\0\0", b"JUNK\0\0\0\0"],
)
@pytest.mark.parametrize("name", ["jpeg", "png", "lossless-webp"])
def test_time_grows_no_faster_than_the_bytes(name: str, filling: bytes) -> None:
    head = {"jpeg": b"\xff\xd8\xff", "png": FILES["png"][:33], "lossless-webp": b""}[name]
    body = filling * ((1 << 20) // len(filling))
    data = riff(extended(8, 8) + body) if name == "lossless-webp" else head + body
    begin = time.process_time()
    with pytest.raises(InputError):
        check_complete(data)
    assert time.process_time() - begin < SLOW_SECONDS


def test_messages_hold_no_more_of_the_bytes_than_the_start() -> None:
    with pytest.raises(InputError) as caught:
        picture_size(b"A" * 10_000)
    assert re.search("A{9}", str(caught.value)) is None
