"""The video that is written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.live.sources import open_source
from fer_edge.live.video_file import VideoFile

Image = npt.NDArray[np.uint8]


def gray(level: int, size: tuple[int, int] = (64, 48)) -> Image:
    return np.full((size[1], size[0], 3), level, np.uint8)


def levels(path: Path) -> list[int]:
    return [round(float(frame.pixels.mean())) for frame in open_source(path)]


def streams(path: Path) -> dict[str, dict[str, Any]]:
    command = ["ffprobe", "-loglevel", "error", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}


@pytest.mark.usefixtures("ffmpeg")
class TestThroughFfmpeg:
    def test_has_every_frame_at_its_time(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10) as video:
            for number in range(20):
                video.write(gray(10 * number), number / 10)
        assert levels(path) == pytest.approx([10 * number for number in range(20)], abs=4)
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_of_a_rate_that_varies_it_makes_a_constant_one(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10) as video:
            for level, time in ((0, 5.0), (80, 5.3), (160, 5.35), (240, 5.5)):
                video.write(gray(level), time)
        assert levels(path) == pytest.approx([0, 0, 0, 160, 160, 240], abs=5)

    def test_its_index_comes_first(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10) as video:
            for number in range(30):
                video.write(gray(number), number / 10)
        data = path.read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")
        assert b"moof" not in data

    def test_odd_sides_are_filled_up(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10) as video:
            video.write(gray(100, (63, 47)), 0)
        assert open_source(path).info.width == 64

    def test_frames_of_another_size_are_scaled(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10) as video:
            video.write(gray(50), 0)
            video.write(gray(200, (100, 90)), 0.1)
        assert levels(path) == pytest.approx([50, 200], abs=4)

    def test_takes_the_sound_over(self, tmp_path: Path, crossing_video: Path) -> None:
        path = tmp_path / "out.mp4"
        with VideoFile(path, fps=10, sound_of=crossing_video) as video:
            for number in range(40):
                video.write(gray(number), number / 10)
        found = streams(path)
        assert found["audio"]["codec_name"] == "aac"
        assert float(found["audio"]["duration"]) == pytest.approx(4, abs=0.3)
        assert float(found["video"]["duration"]) == pytest.approx(4, abs=0.01)

    def test_an_error_leaves_nothing_and_keeps_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        path.write_bytes(b"before")

        def interrupted() -> None:
            with VideoFile(path, fps=10) as video:
                video.write(gray(1), 0)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert os.listdir(tmp_path) == ["out.mp4"]
        assert path.read_bytes() == b"before"

    def test_without_a_frame_there_is_no_file(self, tmp_path: Path) -> None:
        with VideoFile(tmp_path / "out.mp4", fps=10):
            pass
        assert os.listdir(tmp_path) == []

    def test_a_live_one_plays_after_its_process_was_killed(
        self, tmp_path: Path, root: Path
    ) -> None:
        path = tmp_path / "live.mp4"
        code = (
            "import numpy as np, os, pathlib, signal, sys, time\n"
            "from fer_edge.live.video_file import VideoFile\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "video = VideoFile(path, fps=10, live=True)\n"
            "noise = np.random.default_rng(0)\n"
            "for n in range(80):\n"
            "    video.write(noise.integers(0, 255, (48, 64, 3)).astype(np.uint8), n / 10)\n"
            "while path.stat().st_size < 20000: time.sleep(0.05)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, cwd=root)
        assert done.returncode == -signal.SIGKILL
        assert len(levels(path)) >= 20

    def test_on_a_full_disk_it_says_so_and_the_file_so_far_plays(
        self, tmp_path: Path, root: Path
    ) -> None:
        """A limit on the size of files stands for the disk: the same code, another error."""
        path = tmp_path / "out.mp4"

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

        code = (
            "import numpy as np, pathlib, sys, signal\n"
            "from fer_edge.live.video_file import VideoFile\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "noise = np.random.default_rng(0).integers(0, 255, (400, 96, 128, 3), np.uint8)\n"
            "try:\n"
            "    with VideoFile(pathlib.Path(sys.argv[1]), fps=10) as video:\n"
            "        for n, frame in enumerate(noise):\n"
            "            video.write(frame, n / 10)\n"
            "except OSError as problem:\n"
            "    print(problem.strerror, problem.filename)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=limited,
            cwd=root,
        )
        assert "the video cannot be written" in done.stdout
        assert str(path) in done.stdout
        assert len(levels(path)) >= 10
        assert os.listdir(tmp_path) == ["out.mp4"]


def test_without_ffmpeg_opencv_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    path = tmp_path / "out.mp4"
    with VideoFile(path, fps=10) as video:
        for number in range(12):
            video.write(gray(20 * number), number / 10)
    capture = cv2.VideoCapture(str(path))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in {b"mp4v", b"FMP4"}
    capture.release()
    assert levels(path) == pytest.approx([20 * number for number in range(12)], abs=6)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        VideoFile(tmp_path / "out.mp4")


def test_a_folder_in_its_place_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        VideoFile(tmp_path)
