"""GStreamer pipelines, under the system's OpenCV, which is built with GStreamer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SYSTEM_PYTHON = Path("/usr/bin/python3")


def run(code: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run code with the system's Python and its OpenCV, and our sources."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [str(SYSTEM_PYTHON), "-c", code]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.fixture(scope="module", autouse=True)
def _needs_gstreamer(root: Path) -> None:
    if not (root / "fer_edge").is_dir():
        pytest.skip("no sources beside these tests for the system's Python to import")
    code = "import cv2; assert cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)"
    if (
        not SYSTEM_PYTHON.exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", code], check=False, capture_output=True).returncode
    ):
        pytest.skip("the system has no OpenCV with GStreamer: apt-get install python3-opencv")


def test_a_pipeline_gives_frames_and_is_started_again_at_its_end(root: Path) -> None:
    done = run(
        "from fer_edge.live.sources import open_source\n"
        "pipeline = 'videotestsrc num-buffers=5 ! video/x-raw,width=160,height=120 '\\\n"
        "    '! videoconvert ! video/x-raw,format=BGR ! appsink'\n"
        "source = open_source(pipeline)\n"
        "print(source.info.live)\n"
        "frames = iter(source)\n"
        "seen = [next(frames) for _ in range(7)]\n"
        "print([frame.session for frame in seen], seen[0].pixels.shape)\n"
        "frames.close()\n",
        root,
    )
    assert done.stdout.splitlines() == ["True", "[0, 0, 0, 0, 0, 1, 1] (120, 160, 3)"], done.stderr


def test_a_pipeline_that_does_not_start_is_an_error_without_its_password(root: Path) -> None:
    done = run(
        "from fer_edge import EngineError\n"
        "from fer_edge.live.sources import open_source\n"
        "try:\n"
        "    open_source('rtspsrc location=rtsp://me:s3cret@127.0.0.1:9/x ! nosuch ! appsink')\n"
        "except EngineError as problem:\n"
        "    print(problem.exit_code, problem)\n",
        root,
    )
    assert done.stdout.startswith("3 the GStreamer pipeline does not start"), done.stderr
    assert "gst-launch-1.0" in done.stdout
    assert "s3cret" not in done.stdout
