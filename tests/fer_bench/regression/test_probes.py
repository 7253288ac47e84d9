"""Pictures that need no data set."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fer_bench.regression.probes import RECORDED, drawn_face, probes


def test_drawings_are_the_same_everywhere() -> None:
    """Recorded answers would mean nothing otherwise."""
    drawn = np.stack([drawn_face(seed) for seed in range(20)])
    assert (drawn.shape, drawn.dtype) == ((20, 96, 96, 3), np.uint8)
    assert (
        hashlib.sha256(drawn.tobytes()).hexdigest()
        == "d329b4d5d0bcb5637150b5d1b7823363c5aa7d1a8a17a150474da1c8edbd7d59"
    )


def test_drawings_are_coloured_and_differ() -> None:
    drawn = [face.astype(int) for face in probes().values() if face.shape == (96, 96, 3)]
    assert len({face.tobytes() for face in drawn}) == len(drawn) == 64
    gaps = [np.abs(face[:, :, 0] - face[:, :, 2]).mean() for face in drawn]
    assert np.mean(gaps) > 20


def test_the_recorded_probes_come_first() -> None:
    pytest.importorskip("skimage", reason="no scikit-image, whose portraits are used")
    first = list(probes())[:RECORDED]
    assert first[: RECORDED // 2] == [f"drawing-{number:03d}" for number in range(8)]
    assert first[RECORDED // 2 :] == ["astronaut", *(f"lfw-{number:03d}" for number in range(7))]


def test_without_scikit_image_the_drawings_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert len(probes()) == 64
