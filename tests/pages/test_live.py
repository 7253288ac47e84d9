"""docs/live.md: the videos that its figures are measured on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_edge.live.sources import open_source

live = pytest.importorskip("pages.live", reason="no scikit-image or matplotlib for portraits")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to make videos with")
def test_the_measured_video_is_ten_seconds_of_720p(tmp_path: Path) -> None:
    info = open_source(live.one_face(tmp_path / "one.mp4")).info
    assert (info.width, info.height, info.fps, info.frames) == (1280, 720, 30, 300)


def test_the_tracker_is_measured_with_eight_faces() -> None:
    assert live._tracker().value > 0
