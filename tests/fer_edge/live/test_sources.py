"""Videos as people have them: rates that vary, turned, cut off, damaged, of no known kind."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from forked import in_a_child
from portrait_videos import write_video

from fer_edge.errors import ConfigurationError, EngineError, InputError
from fer_edge.live.sources import open_source, source_named, without_secrets

Image = npt.NDArray[np.uint8]


def shades(count: int, size: tuple[int, int] = (64, 48)) -> list[Image]:
    """Frames whose left half gets lighter and whose right half is dark."""
    frames = []
    for number in range(count):
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        frame[:, : size[0] // 2] = 10 + 200 * number // count
        frames.append(frame)
    return frames


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True)


@pytest.fixture
def plain(ffmpeg: str, tmp_path: Path) -> Path:
    return write_video(tmp_path / "plain.mp4", shades(60), 30, "-movflags", "+faststart")


def test_a_file_tells_its_size_rate_and_length(plain: Path) -> None:
    source = open_source(plain)
    info = source.info
    assert (info.width, info.height, info.fps, info.frames) == (64, 48, 30, 60)
    assert (info.name, info.live) == (str(plain), False)
    frames = list(source)
    assert (source.read, source.complete) == (60, True)
    assert frames[-1].time == pytest.approx(59 / 30)
    lightness = [frame.pixels[:, :20].mean() for frame in frames]
    assert lightness == sorted(lightness)


def test_a_rate_that_varies_has_its_true_times(plain: Path, tmp_path: Path) -> None:
    varying = tmp_path / "varying.mkv"
    # the second half is four times as slow
    late = "setpts='if(lt(N,30),N,30+4*(N-30))/30/TB'"
    run("ffmpeg", "-loglevel", "error", "-i", plain, "-vf", late, "-fps_mode", "vfr", varying)
    times = [frame.time for frame in open_source(varying)]
    steps = np.diff(times)
    assert steps[:28] == pytest.approx(1 / 30, abs=0.002)
    assert steps[-20:] == pytest.approx(4 / 30, abs=0.002)


def test_a_phone_that_was_turned_gives_upright_frames(plain: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    options = ["-display_rotation", "90", "-i", plain, "-c", "copy"]
    done = subprocess.run(
        ["ffmpeg", "-loglevel", "error", *map(str, options), str(turned)], check=False
    )
    if done.returncode:  # ffmpeg before 6 writes the tag instead
        tag = ["-i", plain, "-c", "copy", "-metadata:s:v:0", "rotate=270"]
        run("ffmpeg", "-y", "-loglevel", "error", *tag, turned)
    source = open_source(turned)
    last = list(source)[-1].pixels
    assert last.shape == (64, 48, 3)
    assert (source.info.width, source.info.height) == (48, 64)
    upper, lower = last[:20].mean(), last[-20:].mean()
    assert abs(upper - lower) > 100, "left and right have become above and below"


def test_a_size_that_changes_in_the_midst_is_read_on(ffmpeg: str, tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{n}.ts", shades(10, size), 10, "-f", "mpegts")
        for n, size in enumerate([(64, 48), (96, 80)])
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = open_source(joined)
    sizes = {frame.pixels.shape[1::-1] for frame in source}
    assert source.read >= 18
    assert (64, 48) in sizes


def test_a_file_that_was_cut_off_ends_early_and_is_not_complete(
    plain: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.mp4"
    data = plain.read_bytes()
    half.write_bytes(data[: len(data) // 2])
    source = open_source(half)
    list(source)
    assert 5 < source.read < 50
    assert not source.complete


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no video at all\n" * 100, id="text"),
        pytest.param(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 400, id="header alone"),
    ],
)
def test_what_is_no_video_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"broken\.mp4 has no frame that can be decoded.*ffmpeg -i .*broken\.mp4"
    ):
        open_source(path)


def test_an_unknown_codec_is_such_an_error(plain: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.mp4"
    strange.write_bytes(plain.read_bytes().replace(b"avc1", b"xyz9").replace(b"avcC", b"xyzC"))
    with pytest.raises(InputError, match="codec that this OpenCV does not know"):
        open_source(strange)


def test_sound_alone_is_no_video(ffmpeg: str, tmp_path: Path) -> None:
    sound = tmp_path / "sound.m4a"
    run(ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", "sine=440:duration=1", sound)
    with pytest.raises(InputError, match="no frame that can be decoded"):
        open_source(sound)


def test_paths_that_are_no_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; give one video file"):
        open_source(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        open_source(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="is a device, pipe or socket"):
        open_source("/dev/null")
    with pytest.raises(InputError, match=r"https://a\.b/c\.mp4 is an address; .*camera --source"):
        open_source(Path("https://a.b/c.mp4"))
    with pytest.raises(InputError, match=r"expected a video file.*not float"):
        open_source(0.5)  # type: ignore[arg-type]


def test_a_negative_number_is_no_camera() -> None:
    with pytest.raises(
        InputError, match="expected the number of a camera, 0 for the first, not -1"
    ):
        open_source(source_named("-1"))


@pytest.mark.parametrize(("text", "source"), [("0", 0), ("-1", -1), ("a.mp4", "a.mp4"), ("-", "-")])
def test_a_number_in_words_of_a_command_is_a_camera(text: str, source: int | str) -> None:
    assert source_named(text) == source


@pytest.mark.filterwarnings("ignore")
def test_a_camera_that_is_not_there_is_missing_hardware() -> None:
    with pytest.raises(EngineError, match="camera 987 cannot be opened") as caught:
        open_source(987)
    assert caught.value.exit_code == 3


def test_a_pipeline_without_gstreamer_names_the_opencv_that_has_it() -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(EngineError, match=r"JetPack's OpenCV.*python3-opencv") as caught:
        open_source("videotestsrc ! videoconvert ! appsink")
    assert caught.value.exit_code == 3


def test_where_nothing_answers_the_error_shows_no_password() -> None:
    with pytest.raises(EngineError, match="nothing answers") as caught:
        open_source("rtsp://admin:s3cret@127.0.0.1:9/stream?token=t0ken")
    said = str(caught.value)
    assert "rtsp://***@127.0.0.1:9/stream" in said
    assert "s3cret" not in said
    assert "t0ken" not in said
    assert "admin" not in said


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("rtsp://u:p@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:p%40x@cam:554/1", "rtsp://***@cam:554/1"),
        ("http://cam/?password=abc&x=1", "http://cam/?password=***&x=1"),
        ("http://cam/?access_token=abc", "http://cam/?access_token=***"),
        (
            "rtspsrc location=rtsp://cam/1 user-id=me user-pw=abc ! decodebin ! appsink",
            "rtspsrc location=rtsp://cam/1 user-id=*** user-pw=*** ! decodebin ! appsink",
        ),
        ("rtsp://cam:554/a@b", "rtsp://cam:554/a@b"),
    ],
)
def test_names_hold_no_secrets(secret: str, shown: str) -> None:
    assert without_secrets(secret) == shown


def test_in_a_child_of_fork_an_open_video_is_an_error(plain: Path) -> None:
    source = open_source(plain)
    outcome = in_a_child(lambda: next(iter(source)))
    assert outcome.startswith("EngineError: this FrameSource was made before the process forked")
    assert in_a_child(source.stop) == "None"
    with pytest.raises(ConfigurationError, match="cannot be pickled or copied"):
        pickle.dumps(source)


def test_a_video_that_git_lfs_did_not_fetch_is_told(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git lfs pull"):
        open_source(path)


@pytest.mark.parametrize("one", [np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3)), b"\x00\x00"])
def test_one_picture_is_no_source(one: object) -> None:
    with pytest.raises(InputError, match=r"not (ndarray|bytes)\. analyze takes one picture"):
        open_source(one)  # type: ignore[arg-type]


def test_frames_without_times_are_told_how_to_get_them() -> None:
    with pytest.raises(InputError, match=r"item 0 is ndarray\. Frames alone become pairs with"):
        next(iter(open_source([np.zeros((9, 9, 3), np.uint8)])))  # type: ignore[list-item]
