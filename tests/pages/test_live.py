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


def test_a_picture_is_measured_from_the_file_to_the_emotion(tmp_path: Path) -> None:
    figures = live.picture(tmp_path)
    decode, detect, classify, whole = (figure.value for figure in figures)
    assert min(decode, detect, classify) > 0
    header, _, row, *_ = live.readme_lines(figures).splitlines()
    assert header.split(" | ")[1:] == ["decode", "detect", "classify", "all in one call |"]
    assert row.startswith("| JPEG of 640 x 480 with one face | ")
    assert f"{whole:.2g} ms" in row
