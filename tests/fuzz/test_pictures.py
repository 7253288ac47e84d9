"""Any bytes, any path, any array: a picture or an error of ours."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fer_edge import Face, FerEdgeError, InputError, Predictor, cut_face
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.backends import Backend, BackendOptions, EngineInfo
from fer_edge.images.header import check_complete, orientation, picture_size
from fer_edge.images.pixels import check_crop
from fer_edge.images.reading import decode_image, read_image

FUZZ = settings(settings.get_profile("fuzz"))


def _encoded() -> list[bytes]:
    """Small files of every format and kind that is read."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (17, 23, 3), np.uint8)
    kinds: list[tuple[str, np.ndarray, list[int]]] = [
        (".jpg", color, []),
        (".jpg", color, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".jpg", color[:, :, 0], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        (".png", color, []),
        (".png", color[:, :, 0], [cv2.IMWRITE_PNG_BILEVEL, 1]),
        (".png", color.astype(np.uint16) * 257, []),
        (".png", np.dstack([color, color[:, :, 0]]), []),
        (".webp", color, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        (".webp", np.dstack([color, color[:, :, 0]]), [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".bmp", color, []),
        (".bmp", color[:, :, 0], []),
        (".tiff", color, []),
    ]
    files = [cv2.imencode(suffix, pixels, flags)[1].tobytes() for suffix, pixels, flags in kinds]
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return [*files, files[0][:2] + segment + files[0][2:]]


FILES = _encoded()
SIZES = st.sampled_from(
    [0, 1, 7, 8, 255, 4096, 10_000, 65_500, 65_535, 100_000, 2**31 - 1, 2**32 - 1]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture file with some bytes changed, cut out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case 2:
                data[at:at] = draw(st.binary(max_size=40))
            case 3:
                data[at : at + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", draw(SIZES))
            case _:
                del data[at:]
    return bytes(data)


def png(header: bytes, body: bytes) -> bytes:
    """A PNG file with right checksums."""
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        data += struct.pack(">I", len(content)) + name + content + checksum
    return data


@st.composite
def bombs(draw: st.DrawFn) -> bytes:
    """A PNG whose header and checksum are right, and whose size is any."""
    width, height, depth, kind = draw(SIZES), draw(SIZES), draw(st.sampled_from([1, 8, 16])), 0
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return png(header, zlib.compress(bytes(draw(st.integers(0, 5000)))))


@FUZZ
@given(st.one_of(damaged(), st.binary(max_size=200), bombs()))
def test_any_bytes_become_a_picture_or_an_error(survive: Any, data: bytes) -> None:
    for function in (picture_size, check_complete, orientation):
        survive(function, data)
    image = survive(decode_image, data, "the file")
    if isinstance(image, np.ndarray):
        assert image.dtype == np.uint8
        assert image.ndim == 3
    else:
        assert isinstance(image, InputError)


@pytest.mark.parametrize("side", [100_000, 65_501, 2**31 - 1])
def test_a_huge_header_is_refused_before_anything_is_decoded(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = png(header, zlib.compress(bytes(1000)))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match=f"{side} x {side} pixels"):
        decode_image(data, "bomb.png")


@FUZZ
@given(st.one_of(st.text(max_size=300), st.binary(max_size=300), st.text("/.\0~x", max_size=5000)))
def test_any_path_is_read_or_refused(survive: Any, path: str | bytes) -> None:
    found = survive(read_image, path)
    assert isinstance(found, (np.ndarray, InputError))


class Answering(Backend):
    """A backend without an engine."""

    def __init__(self) -> None:
        self.spec = ModelSpec(NetworkSpec("none"), InputSpec(48, 48))
        self.engine = EngineInfo("none", "0", "none", "fp32", None)

    def infer(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (48, 48, 1)
        answer = np.full((len(batch), 7), 1 / 7, np.float32)
        return answer, answer.copy()

    def close(self) -> None:
        pass


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 255), max_size=3),
    st.builds(np.zeros, hnp.array_shapes(max_dims=4, min_side=0, max_side=64), st.just(np.uint8)),
    st.sampled_from([Path("no such file"), b"no such file", object(), BackendOptions()]),
)


@FUZZ
@given(ANYTHING)
def test_any_object_is_a_crop_or_an_error(survive: Any, crop: Any) -> None:
    with Predictor(backend=Answering()) as fer:
        answer = survive(fer.predict, crop)
        assert isinstance(answer, InputError) or answer.confidence > 0
        survive(fer.predict_tensor, crop)


@FUZZ
@given(
    hnp.arrays(
        st.one_of(hnp.scalar_dtypes(), st.just(np.dtype(np.uint8))),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=16),
    )
)
def test_any_array_is_a_crop_or_an_error(survive: Any, crop: np.ndarray) -> None:
    with Predictor(backend=Answering()) as fer:
        for function in (check_crop, fer.predict, fer.predict_tensor):
            survive(function, crop)


@FUZZ
@given(st.lists(ANYTHING, max_size=4))
def test_any_batch_names_the_crop_at_fault(survive: Any, crops: list[Any]) -> None:
    with Predictor(backend=Answering()) as fer:
        answers = survive(fer.predict_batch, crops)
    if isinstance(answers, InputError):
        assert answers.index is not None
        assert 0 <= answers.index < len(crops)


@FUZZ
@given(st.lists(ANYTHING, max_size=12), st.integers(-1, 9), st.sampled_from(["raise", "yield"]))
def test_any_stream_is_answered_in_order_or_ends_at_the_crop_at_fault(
    survive: Any, crops: list[Any], batch: int, errors: str
) -> None:
    with Predictor(backend=Answering()) as fer:
        answers: list[Any] = []
        stream = survive(fer.predict_stream, crops, batch=batch, errors=errors)
        if isinstance(stream, FerEdgeError):
            return
        ended = survive(answers.extend, stream)
    refused = [n for n, answer in enumerate(answers) if isinstance(answer, InputError)]
    assert [answers[n].index for n in refused] == refused
    if isinstance(ended, InputError):
        assert errors == "raise"
        assert ended.index == len(answers)
    else:
        assert ended is None
        assert len(answers) == len(crops)


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.floats(-50, 50))


@FUZZ
@given(
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=60),
    st.lists(NUMBERS, min_size=3, max_size=5),
    st.floats(),
    st.booleans(),
)
def test_any_box_cuts_a_crop_or_is_refused(
    survive: Any, shape: tuple[int, ...], box: list[float], margin: float, square: bool
) -> None:
    frame = np.zeros(shape, np.uint8)
    crop = survive(cut_face, frame, box, margin=margin, square=square)
    assert isinstance(crop, FerEdgeError) or crop.size


@FUZZ
@given(st.lists(NUMBERS, min_size=4, max_size=4), st.floats())
def test_any_face_is_one_or_is_refused(survive: Any, box: list[Any], score: float) -> None:
    with suppress(ValueError):  # a caller's slip, not data
        survive(Face, tuple(box), score)
