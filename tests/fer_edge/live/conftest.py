"""What tests of videos share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from portrait_videos import crossing, write_video

from fer_edge import FaceAnalyzer, Predictor


@pytest.fixture(autouse=True, scope="session")
def _quiet_decoders() -> None:
    """FFmpeg says on standard error what tests do to files on purpose."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of ffmpeg, which makes the videos."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg to make videos with: apt-get install ffmpeg, or make system")
    return program


@pytest.fixture
def analyzer(model_directory: Path) -> Iterator[FaceAnalyzer]:
    with Predictor(model_directory) as predictor:
        yield FaceAnalyzer(predictor)


@pytest.fixture(scope="session")
def crossing_video(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads that cross, 4 seconds at 10 frames a second, with sound."""
    folder = tmp_path_factory.mktemp("video")
    silent = write_video(folder / "silent.mp4", [f for f, _ in crossing(10)], 10)
    sound = ["-f", "lavfi", "-i", "sine=440:duration=4", "-c:v", "copy", "-c:a", "aac"]
    path = folder / "crossing.mp4"
    command = [ffmpeg, "-y", "-loglevel", "error", "-i", str(silent), *sound, str(path)]
    subprocess.run(command, check=True)
    return path
