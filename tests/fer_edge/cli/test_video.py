"""fer-edge video and fer-edge camera."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from portrait_videos import crossing, write_video

from fer_edge import LABELS
from fer_edge.cli import main
from fer_edge.live.sources import open_source

Run = Callable[..., int]


@pytest.fixture
def run(model_directory: Path) -> Run:
    """Run a command with the tiny model."""

    def run(command: str, *arguments: object) -> int:
        return main([command, "--model", str(model_directory), *map(str, arguments)])

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads that cross, 4 seconds at 10 frames a second."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg to make videos with: apt-get install ffmpeg, or make system")
    path = tmp_path_factory.mktemp("video") / "crossing.mp4"
    return write_video(path, [f for f, _ in crossing(10)], 10, "-movflags", "+faststart")


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def test_the_result_is_what_the_contract_says(run: Run, video: Path, tmp_path: Path) -> None:
    assert run("video", video, "--json", tmp_path / "out.json") == 0
    result = read(tmp_path / "out.json")
    assert list(result) == ["schema", "source", "wall_s", "tracks", "frames"]
    assert result["schema"] == "fer-edge-video/1"
    assert result["source"] == {
        "path": str(video),
        "frames": 40,
        "fps": 10,
        "duration_s": 4.0,
        "width": 480,
        "height": 270,
        "complete": True,
    }
    assert result["wall_s"] > 0
    assert [track["id"] for track in result["tracks"]] == [1, 2]
    for track in result["tracks"]:
        assert list(track) == ["id", "start_s", "end_s", "frames", "share"]
        assert 0 <= track["start_s"] < track["end_s"] <= 3.9
        assert list(track["share"]) == list(LABELS)
        assert sum(track["share"].values()) == pytest.approx(1)
    assert [frame["index"] for frame in result["frames"]] == list(range(40))
    assert [frame["time_s"] for frame in result["frames"]] == [n / 10 for n in range(40)]
    faces = [face for frame in result["frames"] for face in frame["faces"]]
    assert sum(track["frames"] for track in result["tracks"]) == len(faces)
    for face in faces:
        assert list(face) == ["track", "box", "emotion", "confidence", "probabilities", "smoothed"]
        assert len(face["box"]) == 4
        assert face["probabilities"][face["emotion"]] == face["confidence"]
        assert list(face["smoothed"]) == ["emotion", "probabilities"]


def test_the_csv_holds_the_same(run: Run, video: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "out.json", tmp_path / "out.csv"
    assert run("video", video, "--json", out, "--csv", table) == 0
    expected = [
        (frame["index"], frame["time_s"], face)
        for frame in read(out)["frames"]
        for face in frame["faces"]
    ]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(expected)
    for row, (index, time, face) in zip(rows, expected, strict=True):
        assert (int(row["index"]), float(row["time_s"])) == (index, time)
        assert int(row["track"]) == face["track"]
        assert [int(row[f"box_{side}"]) for side in "xywh"] == face["box"]
        assert row["emotion"] == face["emotion"]
        assert row["smoothed_emotion"] == face["smoothed"]["emotion"]
        for label in LABELS:
            assert float(row[f"probabilities_{label}"]) == face["probabilities"][label]


def test_the_annotated_video_and_the_timeline_are_written(
    run: Run, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, timeline = tmp_path / "new" / "out.mp4", tmp_path / "line.png"
    assert run("video", video, "--out", out, "--timeline", timeline) == 0
    plain = [frame.pixels for frame in open_source(video)]
    drawn = [frame.pixels for frame in open_source(out)]
    assert len(drawn) == len(plain)
    assert all(np.abs(a.astype(int) - b).max() > 60 for a, b in zip(plain, drawn, strict=True))
    assert cv2.imread(str(timeline)).shape[1] == 1600
    said = capsys.readouterr().out
    assert "40 frames, 4.0 s, 480 x 270" in said
    assert "person 1: 0.0 to " in said
    assert "person 2: 0.0 to " in said
    assert os.listdir(out.parent) == ["out.mp4"]


def test_json_on_standard_output_is_alone_there(
    run: Run, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("video", video, "--json", "-") == 0
    assert len(json.loads(capsys.readouterr().out)["frames"]) == 40


def test_a_video_without_a_face_has_no_tracks(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], video: Path
) -> None:
    wall = [np.full((600, 800, 3), 90, np.uint8)] * 5
    path = write_video(tmp_path / "wall.mp4", wall, 10)
    out = tmp_path / "out.json"
    assert run("video", path, "--json", out, "--timeline", tmp_path / "line.png") == 0
    assert read(out)["tracks"] == []
    assert len(read(out)["frames"]) == 5
    hint = "no face found in a copy of 640 x 480 pixels; to find smaller faces: --max-side 800"
    assert hint in capsys.readouterr().out


def test_a_cut_off_video_gives_what_it_had_and_a_warning(
    run: Run, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.mp4"
    half.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert run("video", half, "--json", tmp_path / "out.json") == 0
    result = read(tmp_path / "out.json")
    assert result["source"]["complete"] is False
    assert 0 < len(result["frames"]) == result["source"]["frames"] < 38
    assert "of 40 frames: it is cut off or damaged" in capsys.readouterr().err


def test_what_is_no_video_is_exit_code_2_and_nothing_is_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    names = ("out.mp4", "out.csv", "out.json", "line.png")
    mp4, rows, result, line = (tmp_path / name for name in names)
    command = ["video", bad, "--out", mp4, "--csv", rows, "--json", result, "--timeline", line]
    assert run(*command) == 2
    assert capsys.readouterr().err.count("no frame that can be decoded") == 1
    assert not any(path.exists() for path in (mp4, rows, result, line))


@pytest.mark.parametrize("option", ["--out", "--csv", "--json", "--timeline"])
def test_an_output_that_is_a_folder_is_exit_code_2(
    run: Run, video: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert run("video", video, option, folder) == 2
    assert str(folder) in capsys.readouterr().err
    assert os.listdir(folder) == []


def test_without_ffmpeg_one_line_says_what_is_missing(
    run: Run,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert run("video", video, "--out", tmp_path / "out.mp4") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "ffmpeg is not installed" in line
    assert open_source(tmp_path / "out.mp4").info.frames == 40


def test_a_camera_that_is_not_there_is_exit_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("camera", "--source", "987", "--out", tmp_path / "out.mp4") == 3
    assert "camera 987 cannot be opened" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf"])
def test_seconds_are_a_number_above_0(seconds: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["camera", f"--seconds={seconds}"])
    assert stopped.value.code == 2


def test_passwords_are_not_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("camera", "--source", "rtsp://admin:s3cret@127.0.0.1:9/1") == 3
    streams = capsys.readouterr()
    assert "s3cret" not in streams.out + streams.err
    assert "rtsp://***@127.0.0.1:9/1" in streams.err


def test_a_pipeline_without_gstreamer_is_exit_code_3(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    assert run("camera", "--source", "videotestsrc ! videoconvert ! appsink") == 3
    assert "python3-opencv" in capsys.readouterr().err


def test_a_file_can_stand_for_a_camera(
    run: Run, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("camera", "--source", video, "--seconds", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{video}: reading; Ctrl-C stops"
    assert any(" s  person 1: " in line for line in lines)
    assert any(line.startswith(f"{video}: ") and " frames, " in line for line in lines[1:])
