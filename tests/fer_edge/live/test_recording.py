"""Everything that is written of a video, and what an interruption leaves."""

from __future__ import annotations

import io
import itertools
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from portrait_videos import crossing

from fer_edge import FaceAnalyzer, InputError, TrackedFrame
from fer_edge.live.recording import Outputs, record
from fer_edge.live.sources import Frame, FrameSource, SourceInfo, open_source


def everything(folder: Path) -> Outputs:
    return Outputs(folder / "o.mp4", folder / "o.csv", folder / "o.json", folder / "o.png")


def camera() -> FrameSource:
    """A live source that waits for nobody, and has no end."""

    def frames() -> Generator[Frame, None, None]:
        for index in itertools.count():
            yield Frame(index, index / 10, np.full((120, 160, 3), 90, np.uint8))
            time.sleep(0.005)

    return FrameSource(SourceInfo("camera", live=True, fps=10), frames())


def interrupt(frame: TrackedFrame) -> None:
    if frame.index >= 3:
        raise KeyboardInterrupt


@pytest.mark.usefixtures("ffmpeg")
def test_everything_is_written_and_the_summary_given(
    analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    seen: list[int] = []
    head = record(
        analyzer.track(crossing(5)),
        everything(tmp_path / "out"),
        on_frame=lambda frame: seen.append(frame.index),
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["o.csv", "o.json", "o.mp4", "o.png"]
    assert seen == list(range(20))
    result = json.loads((tmp_path / "out" / "o.json").read_text())
    assert {name: result[name] for name in head} == head
    assert open_source(tmp_path / "out" / "o.mp4").info.frames >= 90  # 4 s at the usual 30 a second


def test_the_result_can_go_to_a_stream(analyzer: FaceAnalyzer) -> None:
    stream = io.StringIO()
    record(analyzer.track(crossing(5, 1)), Outputs(json=stream))
    assert len(json.loads(stream.getvalue())["frames"]) == 5


@pytest.mark.usefixtures("ffmpeg")
def test_ctrl_c_leaves_nothing_of_a_file(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    tracking = analyzer.track(crossing(5))
    with pytest.raises(KeyboardInterrupt):
        record(tracking, everything(tmp_path / "out"), on_frame=interrupt)
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.usefixtures("ffmpeg")
def test_ctrl_c_ends_a_recording_of_a_camera(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    head = record(analyzer.track(camera()), everything(out), on_frame=interrupt)
    assert head["source"]["frames"] > 0
    assert sorted(os.listdir(out)) == ["o.csv", "o.json", "o.mp4", "o.png"]
    assert len(list(open_source(out / "o.mp4"))) > 0


def test_it_stops_when_it_is_time(analyzer: FaceAnalyzer) -> None:
    times: list[float] = []
    record(
        analyzer.track(camera()),
        Outputs(),
        seconds=2.0,
        on_frame=lambda frame: times.append(frame.time),
    )
    assert times[-1] >= 2.0
    assert all(at < 2.0 for at in times[:-1])


@pytest.mark.parametrize("kind", ["video", "csv", "json", "timeline"])
def test_no_output_replaces_the_video_that_is_read(
    analyzer: FaceAnalyzer, crossing_video: Path, kind: str
) -> None:
    before = crossing_video.read_bytes()
    outputs = Outputs(**{kind: crossing_video.parent / "." / crossing_video.name})
    with pytest.raises(InputError, match="is the video that is read"):
        record(analyzer.track(crossing_video), outputs)
    assert crossing_video.read_bytes() == before


def test_two_outputs_have_two_names(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    outputs = Outputs(csv=tmp_path / "out" / "a", json=tmp_path / "out" / "a")
    with pytest.raises(InputError, match="named for two outputs"):
        record(analyzer.track(crossing(5, 1)), outputs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("video", "o.gif", r"o\.gif ends in \.gif, and MP4 is what is written; end it in \.mp4"),
        ("timeline", "o.jpg", r"o\.jpg ends in \.jpg, and PNG is what is written"),
    ],
)
def test_an_output_is_named_as_what_it_is(
    analyzer: FaceAnalyzer, tmp_path: Path, kind: str, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        record(analyzer.track(crossing(5, 1)), Outputs(**{kind: tmp_path / name}))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("kind", ["video", "csv", "json", "timeline"])
def test_an_output_that_cannot_be_written_is_told_before_the_first_frame(
    analyzer: FaceAnalyzer, tmp_path: Path, kind: str
) -> None:
    seen: list[int] = []
    with pytest.raises(IsADirectoryError):
        record(
            analyzer.track(crossing(5, 1)),
            Outputs(**{kind: tmp_path}),
            on_frame=lambda frame: seen.append(frame.index),
        )
    assert seen == []


def test_the_result_counts_the_frames_that_were_followed(
    analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    out = tmp_path / "o.json"
    head = record(analyzer.track(crossing(10)), Outputs(json=out), seconds=1.0)
    assert head["source"]["frames"] == len(json.loads(out.read_text())["frames"]) == 11
