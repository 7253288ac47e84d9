"""Picture files put together byte by byte."""

from __future__ import annotations

import struct
import zlib

EXIF_PREFIX = b"Exif\0\0"


def tiff(orientation: int, order: str = "<", kind: str = "H") -> bytes:
    """The TIFF header and directory of EXIF, with an orientation alone."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    field = struct.pack(order + kind, orientation).ljust(4, b"\0")
    number = {"H": 3, "I": 4, "B": 1}[kind]
    entry = struct.pack(f"{order}HHI", 0x0112, number, 1) + field
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def segment(code: int, payload: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, code, len(payload) + 2) + payload


def jpeg_with(jpeg: bytes, segments: bytes) -> bytes:
    """A JPEG with more segments at its start."""
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_with_exif(jpeg: bytes, block: bytes) -> bytes:
    """A JPEG with an EXIF block."""
    return jpeg_with(jpeg, segment(0xE1, EXIF_PREFIX + block))


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


def png_with_exif(png: bytes, block: bytes) -> bytes:
    """A PNG with an EXIF block."""
    return png[:33] + chunk(b"eXIf", block) + png[33:]


def riff(chunks: bytes) -> bytes:
    """A WebP of these chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def webp_chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)


def extended(width: int, height: int) -> bytes:
    """The chunk that gives a WebP a canvas."""
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return webp_chunk(b"VP8X", bytes([8, 0, 0, 0]) + sides)


def webp_with_exif(webp: bytes, size: tuple[int, int], block: bytes) -> bytes:
    """A plain WebP of this width and height with an EXIF block."""
    return riff(extended(*size) + webp[12:] + webp_chunk(b"EXIF", block))
