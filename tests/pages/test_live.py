"""docs/live.md: how its figures are laid out, and the videos that they are measured on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_edge.live.sources import open_source

live = pytest.importorskip("pages.live", reason="no scikit-image or matplotlib for portraits")
Figure = live.Figure


def test_a_goal_is_a_bound_from_above_or_from_below() -> None:
    assert Figure("a", 2.0, "ms", 2.5).is_reached
    assert not Figure("a", 3.0, "ms", 2.5).is_reached
    assert Figure("a", 5.1, "x", 5.0, at_least=True).is_reached
    assert not Figure("a", 4.9, "x", 5.0, at_least=True).is_reached
    assert Figure("a", 1e9, "ms").is_reached


def test_the_table_says_what_was_missed() -> None:
    figures = [Figure("fast", 1, "ms", 2.0), Figure("slow", 9, "ms", 2.0), Figure("told", 3, "s")]
    lines = live.table(figures).splitlines()
    assert lines[2:] == [
        "| fast | 1 ms | at most 2 ms | yes |",
        "| slow | 9 ms | at most 2 ms | **no** |",
        "| told | 3 s |  |  |",
    ]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to make videos with")
def test_the_measured_video_is_ten_seconds_of_720p(tmp_path: Path) -> None:
    info = open_source(live.one_face(tmp_path / "one.mp4")).info
    assert (info.width, info.height, info.fps, info.frames) == (1280, 720, 30, 300)


def test_the_tracker_is_measured_with_eight_faces() -> None:
    assert live._tracker().value > 0
